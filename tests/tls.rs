//! TLS on the wire: which certificate a name gets, what is agreed on, who is refused and how, and what one connection
//! may reach. Clients are rustls, OpenSSL and curl.

use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, NamedGroup, ProtocolVersion};
use tests::client::{Answer, get};
use tests::gateway::{GatewayPlan, GatewayProcess, long, said};
use tests::origin::Origin;
use tests::tls::{Authority, Client, ClientPlan, Pair, Refused, client_params};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// More than any program here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A gateway with a host for every policy.
struct Site {
    gateway: GatewayProcess,
    /// Signs servers.
    authority: Authority,
    /// Signs clients.
    clients: Authority,
    /// The certificate of every name that has one of its own.
    names: Pair,
    wildcard: Pair,
    address: Pair,
    default: Pair,
    _origin: Origin,
}

/// Hosts, and the options that each asks for; `-`: the default ones.
const HOSTS: [(&str, &str); 12] = [
    ("lax.test", "-"),
    ("same.test", "-"),
    ("a.wild.test", "-"),
    ("bare.test", "-"),
    ("new.test", "new"),
    ("curve.test", "curve"),
    ("strict.test", "strict"),
    ("http1.test", "http1"),
    ("request.test", "request"),
    ("any.test", "any"),
    ("given.test", "given"),
    ("verified.test", "verified"),
];

impl Site {
    async fn start() -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let origin = Origin::start("app").await;
        let plan = GatewayPlan::new().argument("--accessLog.format=json");
        let named: Vec<&str> = HOSTS
            .iter()
            .map(|(host, _)| *host)
            .filter(|host| !["a.wild.test", "bare.test", "strict.test"].contains(host))
            .collect();
        let names = authority.server(&named);
        let wildcard = authority.server(&["*.wild.test"]);
        let address = authority.server(&["127.0.0.1"]);
        let default = authority.server(&["default.test"]);
        let folder = plan.path("tls");
        std::fs::create_dir(&folder).expect("the folder can be written to");
        let authority_file = folder.join("clients.pem");
        std::fs::write(&authority_file, clients.pem()).expect("the folder can be written to");
        let files = format!("caFiles: [ '{}' ]", authority_file.display());
        let routers: String = HOSTS
            .iter()
            .map(|(host, options)| {
                let tls = if *options == "-" { "{}".to_owned() } else { format!("{{ options: {options} }}") };
                let name = host.split('.').next().unwrap_or_default();
                format!("    {name}: {{ rule: Host(`{host}`), service: app, tls: {tls} }}\n")
            })
            .collect();
        let url = origin.url();
        let routes = format!(
            "http:
  routers:
{routers}    plain: {{ rule: Host(`plain.test`), service: app }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: '{url}' }} ] }} }}
tls:
  certificates: [ {names_pair}, {wildcard_pair}, {address_pair} ]
  stores: {{ default: {{ defaultCertificate: {default_pair} }} }}
  options:
    new: {{ minVersion: VersionTLS13 }}
    curve: {{ curvePreferences: [ CurveP384 ] }}
    strict: {{ sniStrict: true }}
    http1: {{ alpnProtocols: [ http/1.1 ] }}
    request: {{ clientAuth: {{ clientAuthType: RequestClientCert }} }}
    any: {{ clientAuth: {{ clientAuthType: RequireAnyClientCert }} }}
    given: {{ clientAuth: {{ clientAuthType: VerifyClientCertIfGiven, {files} }} }}
    verified: {{ clientAuth: {{ clientAuthType: RequireAndVerifyClientCert, {files} }} }}
",
            names_pair = names.written(&folder, "names"),
            wildcard_pair = wildcard.written(&folder, "wildcard"),
            address_pair = address.written(&folder, "address"),
            default_pair = default.written(&folder, "default"),
        );
        let gateway = plan.routes(&routes).start().await;
        Self { gateway, authority, clients, names, wildcard, address, default, _origin: origin }
    }

    fn plan(&self) -> ClientPlan {
        ClientPlan::new(&self.authority)
    }

    async fn ask(&self, client: &Client, host: &str) -> Answer {
        client.ask(self.gateway.web(), get(host, "/")).await.expect("an answer")
    }

    /// Runs `openssl s_client` against the gateway, sends `input`, and gives all that it says.
    async fn openssl(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("openssl");
        command.arg("s_client").arg("-connect").arg(self.gateway.web().to_string()).args(arguments);
        run(command, input).await
    }
}

async fn run(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the program is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input.as_bytes()).await.expect("the program reads");
    drop(stdin);
    let output =
        timeout(LIMIT, child.wait_with_output()).await.expect("it ends").expect("it can be waited for");
    said(&output)
}

#[tokio::test]
async fn every_name_gets_its_certificate() {
    let site = Site::start().await;
    let client = ClientPlan::anybody().build();
    for (name, expected) in [
        ("lax.test", &site.names),
        ("LAX.test", &site.names),
        ("a.wild.test", &site.wildcard),
        ("other.wild.test", &site.wildcard),
        ("a.b.wild.test", &site.default),
        ("wild.test", &site.default),
        ("bare.test", &site.default),
        ("nobody.test", &site.default),
        // No name is sent for an address.
        ("127.0.0.1", &site.address),
        ("192.0.2.1", &site.address),
    ] {
        let connection = client.connect(site.gateway.web(), name).await.expect("a connection");
        assert!(connection.certificate() == expected.chain[0], "{name}");
    }
    let refusal = client.refusal(site.gateway.web(), "strict.test").await;
    assert_eq!(refusal, Some(Refused::Alert(AlertDescription::UnrecognisedName)));
    // A certificate that is trusted, at a host that is routed; and hosts that are not.
    let client = site.plan().build();
    assert_eq!(site.ask(&client, "lax.test").await.status, 200);
    let mut connection =
        client.connect(site.gateway.web(), "lax.test").await.expect("a connection").http().await;
    let connection = connection.as_mut().expect("it speaks HTTP");
    let missing = connection.ask(get("plain.test", "/")).await.expect("an answer");
    assert_eq!((missing.status, missing.text().as_str()), (404, "404 page not found\n"));
}

#[tokio::test]
async fn versions_groups_and_protocols_are_agreed_on_or_refused_by_an_alert() {
    let site = Site::start().await;
    let web = site.gateway.web();
    let alert = |alert| Some(Refused::Alert(alert));
    let modern = site.plan().alpn(&["h2", "http/1.1"]).build();
    let connection = modern.connect(web, "lax.test").await.expect("a connection");
    assert_eq!(connection.version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(connection.group(), Some(NamedGroup::X25519MLKEM768), "safe from tomorrow's computers");
    assert_eq!(connection.protocol(), "h2");
    let old = site.plan().versions(&[&TLS12]).build();
    assert_eq!(
        old.connect(web, "lax.test").await.expect("a connection").version(),
        Some(ProtocolVersion::TLSv1_2)
    );
    assert_eq!(old.refusal(web, "new.test").await, alert(AlertDescription::ProtocolVersion));
    assert_eq!(site.plan().versions(&[&TLS13]).build().refusal(web, "new.test").await, None);
    let connection = modern.connect(web, "curve.test").await.expect("a connection");
    assert_eq!(connection.group(), Some(NamedGroup::secp384r1));
    let x25519 = site.plan().groups(&[kx_group::X25519]).build();
    assert_eq!(x25519.refusal(web, "lax.test").await, None);
    assert_eq!(x25519.refusal(web, "curve.test").await, alert(AlertDescription::HandshakeFailure));
    for (offered, host, expected) in [
        (&["h2", "http/1.1"][..], "lax.test", Ok("h2")),
        (&["http/1.1", "h2"], "lax.test", Ok("h2")),
        (&["http/1.1"], "lax.test", Ok("http/1.1")),
        (&[], "lax.test", Ok("")),
        (&["h2", "http/1.1"], "http1.test", Ok("http/1.1")),
        (&["h2"], "http1.test", Err(())),
        (&["imap"], "lax.test", Err(())),
    ] {
        let client = site.plan().alpn(offered).build();
        let agreed = client.connect(web, host).await;
        match (agreed, expected) {
            (Ok(connection), Ok(expected)) => {
                assert_eq!(connection.protocol(), expected, "{offered:?} {host}");
                let mut http = connection.http().await.expect("it speaks HTTP");
                assert_eq!(http.ask(get(host, "/")).await.expect("an answer").status, 200);
            }
            (Err(refused), Err(())) => {
                assert_eq!(refused, Refused::Alert(AlertDescription::NoApplicationProtocol));
            }
            (agreed, _) => panic!("{offered:?} {host}: {agreed:?}"),
        }
    }
    // What only OpenSSL still offers.
    let obsolete = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-servername", "lax.test"];
    let said = site.openssl(&obsolete, "").await;
    assert!(said.contains("alert protocol version"), "{said}");
    let weak = ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0", "-servername", "lax.test"];
    let said = site.openssl(&weak, "").await;
    assert!(said.contains("alert handshake failure"), "{said}");
    let said = site.openssl(&["-servername", "lax.test", "-groups", "P-256", "-brief"], "").await;
    assert!(said.contains("CONNECTION ESTABLISHED") && said.contains("Protocol version: TLSv1.3"), "{said}");
}

#[tokio::test]
async fn curl_speaks_both_versions_of_http() {
    let site = Site::start().await;
    let folder = site.gateway.plan().path("tls");
    std::fs::write(folder.join("servers.pem"), site.authority.pem()).expect("the folder can be written to");
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", flag, "--output", "/dev/null"])
            .args(["--write-out", "%{http_version} %{http_code}"])
            .arg("--cacert")
            .arg(folder.join("servers.pem"))
            .arg("--connect-to")
            .arg(format!("lax.test:443:{}", site.gateway.web()))
            .arg("https://lax.test/");
        assert_eq!(run(command, "").await, expected);
    }
}

#[tokio::test]
async fn client_certificates_are_judged_as_the_mode_says() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Outcome {
        Served,
        Refused(AlertDescription),
    }
    use AlertDescription as Alert;
    use Outcome::{Refused as No, Served};
    let site = Site::start().await;
    let good = site.clients.client("good");
    let stranger = Authority::new("strangers").client("stranger");
    let signed = |name: &str, change: fn(&mut CertificateParams)| {
        let mut params = client_params(name);
        change(&mut params);
        site.clients.sign(params)
    };
    let expired = signed("expired", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = signed("early", |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let purpose = signed("purpose", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let pairs = [None, Some(&good), Some(&stranger), Some(&expired), Some(&early), Some(&purpose)];
    let any = [Served; 6];
    let required = [No(Alert::CertificateRequired), Served, Served, Served, Served, Served];
    let judged = |none| {
        let time = No(Alert::CertificateExpired);
        [none, Served, No(Alert::UnknownCA), time, time, No(Alert::UnsupportedCertificate)]
    };
    for (host, expected) in [
        ("lax.test", any),
        ("request.test", any),
        ("any.test", required),
        ("given.test", judged(Served)),
        ("verified.test", judged(No(Alert::CertificateRequired))),
    ] {
        for (position, (pair, expected)) in pairs.into_iter().zip(expected).enumerate() {
            for protocols in [&["http/1.1"][..], &["h2"]] {
                let plan = site.plan().alpn(protocols);
                let plan = if let Some(pair) = pair { plan.pair(pair) } else { plan };
                let client = plan.build();
                let outcome = match client.refusal(site.gateway.web(), host).await {
                    None => Served,
                    Some(Refused::Alert(alert)) => No(alert),
                    Some(Refused::Other(reason)) => panic!("{host} {position} {protocols:?}: {reason}"),
                };
                assert_eq!(outcome, expected, "{host} {position} {protocols:?}");
                if outcome == Served {
                    assert_eq!(site.ask(&client, host).await.status, 200);
                }
            }
        }
    }
    // In TLS 1.2 the refusal is part of the handshake.
    let old = site.plan().versions(&[&TLS12]);
    let refused =
        old.clone().build().connect(site.gateway.web(), "verified.test").await.expect_err("no certificate");
    assert!(matches!(refused, Refused::Alert(_)), "{refused:?}");
    assert_eq!(site.ask(&old.pair(&good).build(), "verified.test").await.status, 200);
    tests::eventually("the client's name is logged", LIMIT, || async {
        let expected = r#""TLSClientSubject":"CN=good,O=Tests","TLSVersion":"1.2""#;
        let log = site.gateway.stdout();
        tests::wait::holds(log.contains(expected), log)
    })
    .await;
}

#[tokio::test]
async fn a_connection_reaches_hosts_of_equal_options_alone() {
    let site = Site::start().await;
    let good = site.clients.client("good");
    for protocols in [&["http/1.1"][..], &["h2"]] {
        let client = site.plan().alpn(protocols).pair(&good).build();
        for (name, host, status) in [
            ("lax.test", "same.test", 200),
            ("lax.test", "verified.test", 421),
            ("lax.test", "given.test", 421),
            ("lax.test", "new.test", 421),
            ("verified.test", "verified.test", 200),
            ("verified.test", "lax.test", 421),
            ("verified.test", "nobody.test", 404),
        ] {
            let connection = client.connect(site.gateway.web(), name).await.expect("a connection");
            let mut http = connection.http().await.expect("it speaks HTTP");
            for _ in 0..2 {
                let answer = http.ask(get(host, "/")).await.expect("an answer");
                assert_eq!(answer.status, status, "{name} {host} {protocols:?}");
                if status == 421 {
                    assert_eq!(answer.text(), "Misdirected Request\n");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_goes_on_under_its_own_name_and_policy_alone() {
    let site = Site::start().await;
    let folder = site.gateway.plan().path("tls");
    let good = site.clients.client("good");
    let (chain, key) = good.write(&folder, "good");
    let session = folder.join("session.pem").display().to_string();
    let pair = ["-cert", &chain.display().to_string(), "-key", &key.display().to_string()].map(str::to_owned);
    for version in ["-tls1_2", "-tls1_3"] {
        for (host, again, expected) in [
            ("lax.test", "lax.test", "Reused, TLSv1."),
            ("lax.test", "same.test", "New, TLSv1."),
            ("lax.test", "verified.test", "New, TLSv1."),
            ("verified.test", "verified.test", "Reused, TLSv1."),
            ("verified.test", "given.test", "New, TLSv1."),
        ] {
            let connect = async |name: &str, flag: &str| {
                let mut arguments = vec![version, "-servername", name, flag, &session, "-ign_eof"];
                arguments.extend(pair.iter().map(String::as_str));
                let ask = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
                site.openssl(&arguments, &ask).await
            };
            let first = connect(host, "-sess_out").await;
            assert!(first.contains("New, TLSv1.") && first.contains("HTTP/1.1 200"), "{first}");
            let second = connect(again, "-sess_in").await;
            assert!(second.contains(expected), "{version} {host} {again}: {second}");
            assert!(second.contains("HTTP/1.1 200"), "{second}");
        }
    }
}

#[tokio::test]
async fn what_was_agreed_on_is_logged_and_counted() {
    let site = Site::start().await;
    let client = site.plan().alpn(&["h2"]).build();
    let answer = site.ask(&client, "lax.test").await;
    let headers = &answer.json()["headers"];
    for (name, expected) in [("x-forwarded-proto", "https"), ("x-forwarded-port", "443")] {
        let found = headers.as_array().expect("fields").iter().find(|field| field[0] == name);
        assert_eq!(found.map(|field| field[1].as_str()), Some(Some(expected)), "{name}");
    }
    let _ = client.refusal(site.gateway.web(), "strict.test").await;
    let metrics = site.gateway.admin_get("/metrics").await.text();
    let tls = r#"tls_cipher="TLS_AES_256_GCM_SHA384",tls_version="1.3""#;
    for expected in [
        format!(r#"traefik_entrypoint_requests_tls_total{{entrypoint="web",{tls}}} 1"#),
        format!(r#"traefik_service_requests_tls_total{{service="app@file",{tls}}} 1"#),
        r#"hearthgate_tls_handshakes_total{entrypoint="web",result="full"} 1"#.to_owned(),
        r#"hearthgate_tls_handshakes_total{entrypoint="web",result="unknown_name"} 1"#.to_owned(),
    ] {
        assert!(metrics.contains(&format!("{expected}\n")), "{expected}\n{metrics}");
    }
    let log = tests::eventually("the request is logged", LIMIT, || async {
        let log = site.gateway.stdout();
        tests::wait::holds(log.contains("\"TLSVersion\""), log.clone()).map(|()| log)
    })
    .await;
    let expected = r#""TLSCipher":"TLS_AES_256_GCM_SHA384","TLSVersion":"1.3""#;
    assert!(log.contains(expected) && log.contains(r#""RequestScheme":"https""#), "{log}");
}

/// Memory of a process that is its own, in KiB.
fn memory(pid: Pid) -> usize {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("there is a sum");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn an_idle_connection_costs_at_most_16_kibibytes() {
    if !long() {
        // What the allocator keeps for later outweighs a few connections.
        return;
    }
    let site = Site::start().await;
    let client = site.plan().alpn(&["http/1.1"]).build();
    let web = site.gateway.web();
    let open = async |count: usize| {
        let mut open = Vec::with_capacity(count);
        for _ in 0..count {
            let connection = client.connect(web, "lax.test").await.expect("a connection");
            let mut http = connection.http().await.expect("it speaks HTTP");
            assert_eq!(http.ask(get("lax.test", "/")).await.expect("an answer").status, 200);
            open.push(http);
        }
        open
    };
    // What is there once for all connections is there after these.
    let first = open(500).await;
    let before = memory(site.gateway.pid());
    let second = open(2000).await;
    let each = memory(site.gateway.pid()).saturating_sub(before) as f64 / second.len() as f64;
    assert!(each <= 16.0, "{each:.1} KiB for each connection");
    drop((first, second));
}

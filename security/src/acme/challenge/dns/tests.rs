//! Providers against servers that speak their language, hooks for real.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use config::install::acme::Propagation as PropagationSettings;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use super::providers::PROVIDERS;
use super::*;

fn settings(provider: &str, credentials: &[(&str, &str)]) -> DnsChallenge {
    let credentials =
        credentials.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())));
    DnsChallenge {
        provider: provider.to_owned(),
        resolvers: Vec::new(),
        propagation: PropagationSettings { disable_checks: true, ..Default::default() },
        credentials: credentials.collect(),
    }
}

fn nothing(_: &str) -> Option<Secret<String>> {
    None
}

fn refusal(settings: &DnsChallenge, environment: Lookup<'_>) -> String {
    let error = build(settings, environment).expect_err("it cannot be built");
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// A value that each variable accepts.
fn sample(name: &str, folder: &std::path::Path) -> String {
    match name {
        "ACME_DNS_API_BASE" | "HTTPREQ_ENDPOINT" | "CPANEL_BASE_URL" | "PDNS_API_URL" => "http://127.0.0.1:1".into(),
        "GCE_SERVICE_ACCOUNT" => json!({
            "project_id": "p", "client_email": "a@p.example", "private_key": "k", "token_uri": "https://t.example"
        })
        .to_string(),
        "HUAWEICLOUD_REGION" => "eu-west-1".into(),
        "HURRICANE_TOKENS" => "example.org:hurricane-token".into(),
        "OVH_ENDPOINT" => "ovh-eu".into(),
        "RFC2136_NAMESERVER" => "127.0.0.1".into(),
        "RFC2136_TSIG_ALGORITHM" => "hmac-sha256.".into(),
        "RFC2136_TSIG_KEY" => "key-name".into(),
        "RFC2136_TSIG_SECRET" => "c2VjcmV0LXNlY3JldC1zZWNyZXQ=".into(),
        "TRANSIP_PRIVATE_KEY_PATH" => {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("keys can be made");
            let file = folder.join("transip.pem");
            std::fs::write(&file, key.serialize_pem()).unwrap();
            file.display().to_string()
        }
        other => format!("value-of-{}", other.to_ascii_lowercase()),
    }
}

#[tokio::test]
async fn each_provider_is_built_from_its_variables_and_names_the_ones_that_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = "";
    for provider in PROVIDERS {
        assert!(last < provider.code, "{} is out of order", provider.code);
        last = provider.code;
        let required: Vec<_> = provider.variables.iter().filter(|variable| variable.required).collect();
        let without = settings(provider.code, &[]);
        if !required.is_empty() {
            let text = refusal(&without, &nothing);
            for variable in &required {
                assert!(text.contains(&variable.names.join(" or ")), "{}: {text}", provider.code);
            }
        }
        let mut values: BTreeMap<&str, String> = required
            .iter()
            .map(|variable| (variable.names[0], sample(variable.names[0], folder.path())))
            .collect();
        // Those where one of several is enough.
        match provider.code {
            "cloudflare" => values.insert("CLOUDFLARE_DNS_API_TOKEN", "token-of-cloudflare".into()),
            "cloudns" => values.insert("CLOUDNS_AUTH_ID", "12345".into()),
            "joker" => values.insert("JOKER_API_KEY", "key-of-joker".into()),
            _ => None,
        };
        let environment = |name: &str| values.get(name).cloned().map(Secret::new);
        match build(&without, &environment) {
            Ok(solver) => {
                assert_eq!(solver.shared.traits.code, provider.code);
                let shown = format!("{solver:?}");
                for variable in provider.variables.iter().filter(|variable| variable.secret) {
                    let value = variable.names.iter().find_map(|name| values.get(name));
                    assert!(!value.is_some_and(|value| shown.contains(value.as_str())), "{}", provider.code);
                }
            }
            // A made-up key is no key; what matters is that nothing of it is told.
            Err(BuildDnsError::Value { variable, reason }) if provider.code == "gcloud" => {
                assert!(variable == "GCE_SERVICE_ACCOUNT" && !reason.contains("private_key\":"), "{reason}");
            }
            Err(error) => panic!("{}: {error}", provider.code),
        }
    }
}

#[test]
fn what_cannot_be_built_is_told_with_a_way_out_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "from-a-file\n").unwrap();
    let file = file.to_str().unwrap();
    let check = |provider: &str, credentials: &[(&str, &str)], expected: &str| {
        let text = refusal(&settings(provider, credentials), &nothing);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    };
    check("cloudfare", &[], "did you mean \"cloudflare\"?");
    check("cloudfare", &[], "`exec` runs a program of yours");
    check("manual", &[], "nobody can do in a server");
    check("desec", &[("DESEC_TOKEN", "hunter2"), ("DESEC_TOKEN_FILE", file)], "one of them has to go");
    check("desec", &[("DESEC_TOKEN_FILE", "/nowhere/at/all")], "cannot read /nowhere/at/all: No such file");
    check("desec", &[("DESEC_TOKN", "hunter2")], "did you mean DESEC_TOKEN?");
    check("hetzner", &[("HETZNER_API_KEY", "hunter2")], "make an API token there");
    check(
        "inwx",
        &[("INWX_USERNAME", "u"), ("INWX_PASSWORD", "hunter2"), ("INWX_SHARED_SECRET", "x")],
        "second factor",
    );
    check("cloudflare", &[("CF_API_KEY", "hunter2")], "needs CF_API_EMAIL or CLOUDFLARE_EMAIL");
    check("desec", &[("DESEC_TOKEN", "hunter2"), ("DESEC_TTL", "soon")], "not a number of seconds");
    check(
        "ovh",
        &[
            ("OVH_ENDPOINT", "ovh-mars"),
            ("OVH_APPLICATION_KEY", "hunter2hunter2"),
            ("OVH_APPLICATION_SECRET", "hunter2hunter2"),
            ("OVH_CONSUMER_KEY", "hunter2hunter2"),
        ],
        "ovh-eu, ovh-us",
    );
    check(
        "rfc2136",
        &[
            ("RFC2136_NAMESERVER", "127.0.0.1"),
            ("RFC2136_TSIG_KEY", "k"),
            ("RFC2136_TSIG_SECRET", "hunter2!"),
            ("RFC2136_TSIG_ALGORITHM", "hmac-sha256"),
        ],
        "RFC2136_TSIG_SECRET: not base64",
    );
    check(
        "rfc2136",
        &[
            ("RFC2136_NAMESERVER", "127.0.0.1"),
            ("RFC2136_TSIG_KEY", "k"),
            ("RFC2136_TSIG_SECRET", "aHVudGVy"),
            ("RFC2136_TSIG_ALGORITHM", "rot13"),
        ],
        "RFC2136_TSIG_ALGORITHM: not hmac-sha256",
    );
    let mut wrong = settings("desec", &[("DESEC_TOKEN", "hunter2")]);
    wrong.resolvers = vec!["dns.example".into()];
    assert!(refusal(&wrong, &nothing).contains("\"dns.example\" is not an address"));
}

#[test]
fn credentials_of_a_resolver_come_before_the_environment_and_files_lose_their_last_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "from-a-file\r\n").unwrap();
    let own: BTreeMap<String, Secret<String>> =
        [("A".to_owned(), Secret::new("own".to_owned()))].into_iter().collect();
    let path = file.display().to_string();
    let environment = move |name: &str| match name {
        "A_FILE" | "B_FILE" => Some(Secret::new(path.clone())),
        "C" => Some(Secret::new("plain\n".to_owned())),
        "D" => Some(Secret::default()),
        _ => None,
    };
    let sources = settings::Sources { credentials: &own, environment: &environment };
    let check = |name: &str, expected: Option<&str>| {
        assert_eq!(sources.value(name).unwrap().as_deref(), expected, "{name}");
    };
    check("A", Some("own"));
    check("B", Some("from-a-file"));
    check("C", Some("plain"));
    check("D", None);
}

#[test]
fn texts_of_others_are_stripped_of_secrets_and_line_ends() {
    let mut scrubber = settings::Scrubber::default();
    scrubber.add("to/ken=1");
    scrubber.add("ab");
    let text = "Failed to send request to https://x.example/?token=to%2Fken%3D1&txt=v\nto/ken=1 ab";
    let clean = scrubber.clean(text);
    assert_eq!(clean, "Failed to send request to https://x.example/?token=***&txt=v *** ab");
    assert!(scrubber.clean(&"x".repeat(10_000)).len() < 600);
}

#[test]
fn the_list_of_providers_is_written_down() {
    let mut text = String::from(
        "# DNS providers\n\n\
         What `dnsChallenge.provider` may be, by lego's codes, with lego's variables. A variable in parentheses is \
         optional; names with \"or\" between them mean the same. Each is read from `dnsChallenge.credentials` of the \
         resolver, then from the environment, each also as `<NAME>_FILE`.\n\n\
         `<PREFIX>TTL`, `<PREFIX>PROPAGATION_TIMEOUT`, `<PREFIX>POLLING_INTERVAL` and `<PREFIX>HTTP_TIMEOUT` are seconds. \
         `LEGO_DISABLE_CNAME_SUPPORT=true` leaves aliases alone.\n\n\
         | code | provider | variables | prefix | limit, interval, TTL |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for provider in PROVIDERS {
        let variables: Vec<String> = provider
            .variables
            .iter()
            .map(|variable| {
                let names: Vec<_> = variable.names.iter().map(|name| format!("`{name}`")).collect();
                let names = names.join(" or ");
                if variable.required { names } else { format!("({names})") }
            })
            .collect();
        let (limit, interval) = provider.timing;
        text.push_str(&format!(
            "| `{}` | {} | {} | `{}` | {limit}, {interval}, {} |\n",
            provider.code,
            provider.name,
            variables.join(", "),
            provider.prefix,
            provider.ttl,
        ));
    }
    text.push_str(
        "\n`cloudflare` needs a token, or the global key with its account's address. `cloudns` needs one of its \
         identifiers, `joker` a key or an account.\n\n\
         `exec` runs `<EXEC_PATH> present|cleanup _acme-challenge.<name>. <value>` with `PATH`, `HOME`, `LANG`, `TZ` and \
         what `credentials` hold. `httpreq` posts `{\"fqdn\", \"value\"}` to `<HTTPREQ_ENDPOINT>/present` and `/cleanup`.\n",
    );
    let written = include_str!("dns-providers.md");
    if written != text {
        let file = std::env::temp_dir().join("dns-providers.md");
        std::fs::write(&file, &text).unwrap();
        panic!("dns-providers.md is not what the table says; {} is", file.display());
    }
}

/// Answers every request with what `answer` says, and hands on what it was asked.
async fn server<F>(answer: F) -> (SocketAddr, Arc<Mutex<Vec<(String, String, Value)>>>)
where
    F: Fn(&str, &str, usize) -> (u16, Value) + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                async move {
                    let (head, body) = request.into_parts();
                    let path = head.uri.to_string();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let mut fields: Value = serde_json::from_slice(&body).unwrap_or_default();
                    for name in ["authorization", "x-auth-email", "x-auth-key", "x-api-user", "x-api-key"] {
                        if let Some(value) = head.headers.get(name) {
                            fields[name] = value.to_str().unwrap().into();
                        }
                    }
                    let number = {
                        let mut seen = seen.lock();
                        seen.push((head.method.to_string(), path.clone(), fields));
                        seen.len()
                    };
                    let (status, body) = answer(head.method.as_str(), &path, number);
                    let response =
                        Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
                    Ok::<_, std::convert::Infallible>(response.unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, asked)
}

/// A DNS server that knows no aliases and one zone, `app.test`.
async fn zone_server() -> SocketAddr {
    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::rdata::SOA;
    use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
            let query = question.queries[0].clone();
            let zone = Name::from_ascii("app.test.").unwrap();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.message_type = MessageType::Response;
            answer.metadata.response_code = ResponseCode::NoError;
            if query.name() == &zone && query.query_type() == RecordType::SOA {
                let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 1);
                answer.answers.push(Record::from_rdata(zone, 1, RData::SOA(soa)));
            }
            answer.queries.push(query);
            let _ = socket.send_to(&answer.to_vec().unwrap(), peer).await;
        }
    });
    address
}

fn with_zone(mut settings: DnsChallenge, dns: SocketAddr) -> DnsChallenge {
    settings.resolvers = vec![dns.to_string()];
    settings
}

#[tokio::test]
async fn httpreq_posts_the_record_and_cleans_up_what_failed_half_way() {
    let (address, asked) = server(|_, path, _| match path {
        "/hook/present" => (502, json!("gone, password was hunter2hunter2")),
        _ => (200, json!({})),
    })
    .await;
    let endpoint = format!("http://{address}/hook/");
    let credentials = [
        ("HTTPREQ_ENDPOINT", endpoint.as_str()),
        ("HTTPREQ_USERNAME", "user"),
        ("HTTPREQ_PASSWORD", "hunter2hunter2"),
    ];
    let dns = zone_server().await;
    let solver = build(&with_zone(settings("httpreq", &credentials), dns), &nothing).unwrap();
    let error = solver.present("*.App.test", "value").await.unwrap_err().to_string();
    assert!(error.contains("502") && error.contains("***") && !error.contains("hunter2"), "{error}");
    let body = json!({
        "fqdn": "_acme-challenge.app.test.", "value": "value", "authorization": "Basic dXNlcjpodW50ZXIyaHVudGVyMg=="
    });
    let expected =
        ["/hook/present", "/hook/cleanup"].map(|path| ("POST".to_owned(), path.to_owned(), body.clone()));
    assert_eq!(*asked.lock(), expected);
    // Nothing is there, so there is nothing to remove.
    solver.clean_up("app.test", "value").await.unwrap();
    assert_eq!(asked.lock().len(), 2);
}

#[tokio::test]
async fn a_record_that_could_not_be_removed_is_removed_by_the_next_attempt() {
    let failures = AtomicUsize::new(0);
    let (address, asked) = server(move |_, path, _| match path {
        "/cleanup" if failures.fetch_add(1, Ordering::Relaxed) == 0 => (500, json!({})),
        _ => (200, json!({})),
    })
    .await;
    let endpoint = format!("http://{address}");
    let dns = zone_server().await;
    let solver =
        build(&with_zone(settings("httpreq", &[("HTTPREQ_ENDPOINT", &endpoint)]), dns), &nothing).unwrap();
    solver.present("app.test", "one").await.unwrap();
    solver.clean_up("app.test", "one").await.unwrap_err();
    solver.present("app.test", "two").await.unwrap();
    solver.clean_up("app.test", "two").await.unwrap();
    let asked: Vec<_> = asked
        .lock()
        .iter()
        .map(|(_, path, body)| format!("{path} {}", body["value"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(asked, ["/present one", "/cleanup one", "/cleanup one", "/present two", "/cleanup two"]);
}

#[tokio::test]
async fn exec_runs_the_program_with_what_it_may_see_and_ends_it_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.display().to_string()
    };
    let seen = folder.path().join("seen");
    let good = script(
        "good",
        &format!("#!/bin/sh\necho \"$@\" >> {0}\nenv | cut -d= -f1 | sort >> {0}\n", seen.display()),
    );
    let bad = script("bad", "#!/bin/sh\necho the-token-in-the-output\nexit 7\n");
    let slow = script("slow", "#!/bin/sh\nsleep 600 &\nwait\n");
    let environment = |name: &str| match name {
        "PATH" => Some(Secret::new("/usr/bin:/bin".to_owned())),
        "AWS_SECRET_ACCESS_KEY" => Some(Secret::new("not yours".to_owned())),
        _ => None,
    };
    let dns = zone_server().await;
    let solver = |program: &str| {
        let credentials = [("EXEC_PATH", program), ("MY_TOKEN", "the-token")];
        build(&with_zone(settings("exec", &credentials), dns), &environment).unwrap()
    };
    let hook = solver(&good);
    hook.present("app.test", "-value").await.unwrap();
    hook.clean_up("app.test", "-value").await.unwrap();
    let seen = std::fs::read_to_string(seen).unwrap();
    let lines: Vec<_> =
        seen.lines().filter(|line| !matches!(*line, "_" | "PWD" | "SHLVL" | "OLDPWD")).collect();
    let expected = ["present _acme-challenge.app.test. -value", "MY_TOKEN", "PATH"];
    let expected = [expected, ["cleanup _acme-challenge.app.test. -value", "MY_TOKEN", "PATH"]].concat();
    assert_eq!(lines, expected);
    let error = solver(&bad).present("app.test", "v").await.unwrap_err().to_string();
    assert!(error.contains("exit status: 7") && !error.contains("token"), "{error}");
    let error = solver("/nowhere/hook").present("app.test", "v").await.unwrap_err().to_string();
    assert!(error.contains("cannot run /nowhere/hook"), "{error}");
    let record = TxtRecord { domain: "a".into(), name: "b".into(), zone: String::new(), value: "v".into() };
    let limit = Duration::from_millis(200);
    let exec = exec::Exec {
        program: slow.into(),
        environment: vec![("PATH".into(), Secret::new("/usr/bin:/bin".into()))],
        limit,
        scrubber: settings::Scrubber::default(),
    };
    let error = exec.present(&record).await.unwrap_err().to_string();
    assert!(error.contains("was killed"), "{error}");
}

#[tokio::test]
async fn cloudflare_reads_zones_with_one_token_and_writes_records_with_the_other() {
    let (address, asked) = server(|method, path, _| match (method, path) {
        ("GET", "/v4/zones?name=app.test") => (200, json!({ "success": true, "result": [{ "id": "z1" }] })),
        ("POST", _) => (
            400,
            json!({ "success": false, "errors": [{ "code": 81058, "message": "An identical record already exists." }] }),
        ),
        ("GET", _) => (200, json!({ "success": true, "result": [
            { "id": "r1", "content": "\"other\"" }, { "id": "r2", "content": "\"value\"" }, { "id": "r3", "content": "value" }
        ] })),
        _ => (200, json!({ "success": true, "result": {} })),
    })
    .await;
    let base = format!("http://{address}/v4");
    let credentials = [
        ("CF_DNS_API_TOKEN", "records-token"),
        ("CF_ZONE_API_TOKEN", "zones-token"),
        ("CLOUDFLARE_BASE_URL", base.as_str()),
    ];
    let dns = zone_server().await;
    let solver = build(&with_zone(settings("cloudflare", &credentials), dns), &nothing).unwrap();
    solver.present("app.test", "value").await.unwrap();
    solver.clean_up("app.test", "value").await.unwrap();
    let asked: Vec<_> = asked
        .lock()
        .iter()
        .map(|(method, path, body)| {
            let content = body["content"].as_str().unwrap_or_default();
            format!("{method} {path} {} {content}", body["authorization"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        asked,
        [
            "GET /v4/zones?name=app.test Bearer zones-token ",
            "POST /v4/zones/z1/dns_records Bearer records-token \"value\"",
            "GET /v4/zones?name=app.test Bearer zones-token ",
            "GET /v4/zones/z1/dns_records?type=TXT&per_page=100&name=_acme-challenge.app.test Bearer records-token ",
            "DELETE /v4/zones/z1/dns_records/r2 Bearer records-token ",
            "DELETE /v4/zones/z1/dns_records/r3 Bearer records-token ",
        ]
    );
}

#[tokio::test]
async fn acme_dns_registers_once_and_says_which_alias_is_needed() {
    let (address, asked) = server(|_, path, _| match path {
        "/register" => (
            201,
            json!({ "fulldomain": "f00.auth.example", "subdomain": "f00", "username": "u", "password": "p", "allowfrom": [] }),
        ),
        _ => (200, json!({ "txt": "value" })),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("accounts.json");
    let base = format!("http://{address}");
    let path = storage.display().to_string();
    let credentials = [("ACME_DNS_API_BASE", base.as_str()), ("ACME_DNS_STORAGE_PATH", path.as_str())];
    let solver = build(&settings("acme-dns", &credentials), &nothing).unwrap();
    let error = solver.present("app.test", "value").await.unwrap_err().to_string();
    assert!(error.contains("_acme-challenge.app.test. CNAME f00.auth.example."), "{error}");
    assert_eq!(std::fs::metadata(&storage).unwrap().permissions().mode() & 0o777, 0o600);
    let stored: Value = serde_json::from_slice(&std::fs::read(&storage).unwrap()).unwrap();
    let account = json!({
        "fulldomain": "f00.auth.example", "subdomain": "f00", "username": "u", "password": "p", "server_url": base
    });
    assert_eq!(stored, json!({ "app.test": account }));
    // Known now, also to another process, and to lego.
    let solver = build(&settings("acme-dns", &credentials), &nothing).unwrap();
    solver.present("*.app.test", "value").await.unwrap();
    solver.clean_up("*.app.test", "value").await.unwrap();
    let update = json!({ "subdomain": "f00", "txt": "value", "x-api-user": "u", "x-api-key": "p" });
    assert_eq!(asked.lock()[1..], [("POST".to_owned(), "/update".to_owned(), update)]);
}

//! Certificates from a real ACME server: issued, renewed, kept through crashes, taken over from Traefik.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tests::client::get;
use tests::dns::NameServer;
use tests::gateway::{GatewayPlan, GatewayProcess, run, said};
use tests::origin::Origin;
use tests::pebble::{Pebble, PebbleOptions, PebbleVersion};
use tests::relay::Relay;
use tests::tls::{Client, ClientPlan, pem};
use tests::wait::{eventually, free_port, holds};

/// An order takes a second; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

const HTTP: &str = "httpChallenge.entryPoint=web";
const TLS: &str = "tlsChallenge=true";

/// A gateway with resolver `le` at this server, and a router with TLS for each host.
fn plan(pebble: &Pebble, directory: &str, challenge: &str, hosts: &[&str]) -> GatewayPlan {
    let routers: Vec<_> = hosts.iter().map(|host| (format!("Host(`{host}`)"), "le")).collect();
    let plan = GatewayPlan::new().entry_point("websecure").routes(&routes(&routers, "http://127.0.0.1:9"));
    resolver(plan, "le", pebble, directory, challenge)
}

/// Routers with TLS (rule and resolver) to one server.
fn routes(routers: &[(String, &str)], server: &str) -> String {
    let routers: String = routers
        .iter()
        .enumerate()
        .map(|(index, (rule, resolver))| {
            format!(
                "    r{index}: {{ rule: '{rule}', service: app, entryPoints: [websecure], tls: {{ certResolver: {resolver} }} }}\n"
            )
        })
        .collect();
    format!(
        "http:\n  routers:\n{routers}  services:\n    app: {{ loadBalancer: {{ servers: [ {{ url: '{server}' }} ] }} }}\n"
    )
}

/// A resolver at this server; all of a gateway share a file.
fn resolver(plan: GatewayPlan, name: &str, pebble: &Pebble, directory: &str, challenge: &str) -> GatewayPlan {
    let settings = [
        format!("caServer={directory}"),
        format!("caCertificates={}", pebble.ca_file().display()),
        format!("storage={}", plan.path("acme.json").display()),
        "keyType=EC256".to_owned(),
        "email=admin@example.com".to_owned(),
        challenge.to_owned(),
    ];
    settings
        .iter()
        .fold(plan, |plan, setting| plan.argument(format!("--certificatesResolvers.{name}.acme.{setting}")))
}

/// Waits until a name has a certificate that the client believes; its serial number.
async fn issued(gateway: &GatewayProcess, client: &Client, name: &str) -> String {
    let websecure = gateway.address("websecure");
    eventually(&format!("{name} has a certificate"), LIMIT, || async {
        let connection = client
            .connect(websecure, name)
            .await
            .map_err(|refused| format!("{refused:?}\n{}", gateway.log()))?;
        Ok(serial(&connection.certificate()))
    })
    .await
}

fn serial(certificate: &CertificateDer<'_>) -> String {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).expect("it is a certificate");
    parsed.tbs_certificate.serial.to_str_radix(16)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("it is there");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn start(pebble: &Pebble, plan: GatewayPlan) -> GatewayProcess {
    let gateway = plan.start().await;
    pebble.validate_at(gateway.address("web"), gateway.address("websecure"));
    gateway
}

#[tokio::test]
async fn names_are_proved_over_http_and_tls_and_their_certificates_are_kept() {
    let dns = NameServer::start().await;
    let checks = [(PebbleVersion::Packaged, HTTP), (PebbleVersion::Current, TLS)];
    for (version, challenge) in checks {
        let pebble = Pebble::start(version, PebbleOptions::new(dns.address())).await;
        let client = pebble.client().await;
        let gateway =
            start(&pebble, plan(&pebble, &pebble.directory(), challenge, &["app.test", "other.test"])).await;
        let first = issued(&gateway, &client, "app.test").await;
        let other = issued(&gateway, &client, "other.test").await;
        assert_ne!(first, other, "a router has its own");
        let (http, tls) = pebble.validations();
        assert_eq!((http > 0, tls > 0), (challenge == HTTP, challenge == TLS));

        let file = gateway.plan().path("acme.json");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let stored = eventually("both are kept", LIMIT, || async {
            let stored = json(&file);
            holds(stored["le"]["Certificates"].as_array().is_some_and(|list| list.len() == 2), &stored)?;
            Ok(stored)
        })
        .await;
        assert_eq!(stored["le"]["Account"]["Email"], "admin@example.com");
        assert!(stored["le"]["Account"]["Registration"]["uri"].as_str().unwrap().starts_with("https://"));
        assert_eq!(stored["le"]["Certificates"][0]["Store"], "default");

        // The next start has them at once, and asks for nothing.
        let gateway = start(&pebble, gateway.kill().await).await;
        assert_eq!(issued(&gateway, &client, "app.test").await, first);
        assert_eq!(issued(&gateway, &client, "other.test").await, other);
        assert_eq!(pebble.logged("Issued certificate"), 2);
    }
}

/// Waits until a file in the gateway's folder says something.
async fn says(plan: &GatewayPlan, file: &str, text: &str) {
    let path = plan.path(file);
    eventually(&format!("{file} says {text}"), LIMIT, || async {
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        holds(content.contains(text), content.len())
    })
    .await;
}

/// Moments of an order at which the process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The account's key is there, and the account is not.
    AccountBegun,
    /// The account is registered and kept.
    AccountKept,
    /// The order is made, and nothing is proved.
    OrderKept,
    /// The server is looking at the challenge.
    Validating,
    /// The server has issued the certificate.
    Issued,
}

#[tokio::test]
async fn a_gateway_that_is_killed_in_an_order_loses_no_account_and_gets_no_second_certificate() {
    let dns = NameServer::start().await;
    for moment in
        [Moment::AccountBegun, Moment::AccountKept, Moment::OrderKept, Moment::Validating, Moment::Issued]
    {
        let pebble = Pebble::start(PebbleVersion::Current, PebbleOptions::new(dns.address())).await;
        let client = pebble.client().await;
        let mut gateway = plan(&pebble, &pebble.directory(), HTTP, &["app.test"]).spawn();
        match moment {
            Moment::AccountBegun => says(gateway.plan(), "state/acme-state.json", "account_key").await,
            Moment::AccountKept => says(gateway.plan(), "acme.json", "Registration").await,
            Moment::OrderKept => says(gateway.plan(), "state/acme-state.json", "PRIVATE KEY").await,
            Moment::Validating => {
                eventually("the server looks", LIMIT, || async {
                    holds(pebble.validations().0 > 0, gateway.log())
                })
                .await;
            }
            Moment::Issued => {
                gateway.ready().await;
                pebble.validate_at(gateway.address("web"), gateway.address("websecure"));
                eventually("the server has issued", LIMIT, || async {
                    holds(pebble.logged("Issued certificate") > 0, gateway.log())
                })
                .await;
            }
        }
        let gateway = start(&pebble, gateway.kill().await).await;
        let served = issued(&gateway, &client, "app.test").await;
        eventually("nothing is left of the order", LIMIT, || async {
            let state = json(&gateway.plan().path("state/acme-state.json"));
            holds(state["resolvers"]["le"]["orders"] == json!({}), state)
        })
        .await;
        let gateway = start(&pebble, gateway.kill().await).await;
        assert_eq!(issued(&gateway, &client, "app.test").await, served, "{moment:?}");
        assert_eq!(pebble.logged("Issued certificate"), 1, "{moment:?}: {}", pebble.log());
        assert_eq!(pebble.logged("There are now 2 accounts"), 0, "{moment:?}: {}", pebble.log());
        // Before that, the server may have an order whose place it has not told yet: nothing is ever issued for it.
        if matches!(moment, Moment::OrderKept | Moment::Validating | Moment::Issued) {
            assert_eq!(pebble.logged("There are now 2 orders"), 0, "{moment:?}: {}", pebble.log());
        }
    }
}

#[tokio::test]
async fn a_file_of_traefiks_is_taken_over_with_its_account_and_certificates() {
    let dns = NameServer::start().await;
    let pebble = Pebble::start(PebbleVersion::Packaged, PebbleOptions::new(dns.address())).await;
    let client = pebble.client().await;
    // Whoever registered it before: an account with a key as Traefik has it.
    let before = start(&pebble, plan(&pebble, &pebble.directory(), TLS, &["old.test"])).await;
    let old = issued(&before, &client, "old.test").await;
    says(before.plan(), "acme.json", "\"certificate\"").await;
    let mut file = json(&before.plan().path("acme.json"));
    let account = file["le"]["Account"]["Registration"]["uri"].clone();
    file["le"]["Account"]["KeyType"] = json!("4096");
    file["le"]["Certificates"][0]["domain"]["sans"] = Value::Null;
    file["elsewhere"] = json!({ "Account": null, "Certificates": null, "Comment": [1, 2.5] });

    let plan = plan(&pebble, &pebble.directory(), TLS, &["old.test", "new.test"]);
    plan.write("acme.json", &file.to_string());
    std::fs::set_permissions(plan.path("acme.json"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = start(&pebble, plan).await;
    assert_eq!(issued(&gateway, &client, "old.test").await, old, "it is served as it was");
    issued(&gateway, &client, "new.test").await;
    let stored = eventually("the new one is kept", LIMIT, || async {
        let stored = json(&gateway.plan().path("acme.json"));
        holds(stored["le"]["Certificates"].as_array().is_some_and(|list| list.len() == 2), &stored)?;
        Ok(stored)
    })
    .await;
    assert_eq!(stored["le"]["Account"]["Registration"]["uri"], account);
    assert_eq!(stored["le"]["Account"]["PrivateKey"], file["le"]["Account"]["PrivateKey"]);
    assert_eq!(stored["le"]["Account"]["KeyType"], "4096");
    assert_eq!(stored["elsewhere"], file["elsewhere"]);
    assert_eq!(pebble.logged("There are now 2 accounts"), 0, "{}", pebble.log());
    assert_eq!(pebble.logged("Issued certificate"), 2);
}

#[tokio::test]
async fn a_third_of_bad_nonces_a_profile_another_chain_and_an_external_account_are_no_obstacle() {
    let dns = NameServer::start().await;
    let mut options = PebbleOptions::new(dns.address());
    options.bad_nonces = 30;
    options.alternate_roots = 1;
    options.retry_after = Some((1, 1));
    options.profiles.insert("short".to_owned(), Duration::from_secs(3600));
    options.external_accounts.insert(
        "kid-1".to_owned(),
        "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W".to_owned(),
    );
    let pebble = Pebble::start(PebbleVersion::Current, options).await;
    let root = pebble.root(1).await;
    let (_, parsed) = x509_parser::parse_x509_certificate(&root).expect("it is a certificate");
    let name =
        parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap().to_owned();
    let resolver = |text: &str| format!("--certificatesResolvers.le.acme.{text}");
    let plan = plan(&pebble, &pebble.directory(), HTTP, &["a.test", "b.test"])
        .argument(resolver("profile=short"))
        .argument(resolver(&format!("preferredChain={name}")))
        .argument(resolver("eab.kid=kid-1"))
        .argument(resolver(
            "eab.hmacEncoded=zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
        ));
    let gateway = start(&pebble, plan).await;
    // It trusts the other root alone.
    let client = ClientPlan::trusting(root.clone()).build();
    for host in ["a.test", "b.test"] {
        issued(&gateway, &client, host).await;
    }
    let connection =
        client.connect(gateway.address("websecure"), "a.test").await.expect("it has a certificate");
    let leaf = connection.certificate();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).expect("it is a certificate");
    let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert!((3500..=3700).contains(&life), "the profile's lifetime, not {life} s");
    assert!(!gateway.log().contains("zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"));
}

#[tokio::test]
async fn renewal_information_that_lies_in_the_past_renews_at_once() {
    let dns = NameServer::start().await;
    let pebble = Pebble::start(PebbleVersion::Current, PebbleOptions::new(dns.address())).await;
    let client = pebble.client().await;
    let gateway = start(&pebble, plan(&pebble, &pebble.directory(), TLS, &["app.test"])).await;
    let first = issued(&gateway, &client, "app.test").await;
    let connection = client.connect(gateway.address("websecure"), "app.test").await.expect("it has one");
    let window =
        json!({ "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } });
    pebble.set_renewal_info(&pem(&connection.certificate()), &window.to_string()).await;
    says(gateway.plan(), "acme.json", "\"certificate\"").await;
    let gateway = start(&pebble, gateway.kill().await).await;
    eventually("it is renewed", LIMIT, || async {
        let serial = issued(&gateway, &client, "app.test").await;
        holds(serial != first, gateway.log())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_renewed_by_command_and_open_connections_stay() {
    let dns = NameServer::start().await;
    let pebble = Pebble::start(PebbleVersion::Packaged, PebbleOptions::new(dns.address())).await;
    let client = pebble.client().await;
    let origin = Origin::start("app").await;
    let plan = plan(&pebble, &pebble.directory(), TLS, &["app.test"]);
    plan.write("routes.yml", &routes(&[("Host(`app.test`)".to_owned(), "le")], &origin.url()));
    let gateway = start(&pebble, plan).await;
    let first = issued(&gateway, &client, "app.test").await;
    // Of a client of its own: a session that goes on would show the certificate that it began with.
    let visitor = pebble.client().await;
    let connection = visitor.connect(gateway.address("websecure"), "app.test").await.expect("it has one");
    let mut open = connection.http().await.expect("it speaks HTTP");
    assert_eq!(open.ask(get("app.test", "/")).await.expect("an answer").status, 200);

    let admin = format!("--admin=unix:{}", gateway.plan().admin_socket().display());
    let nobody = format!("--stateDir={}", gateway.plan().path("elsewhere").display());
    let refused = run(&["certificates", "renew", "app.test", &admin, &nobody]).await;
    assert_eq!(refused.status.code(), Some(1), "without the token: {}", said(&refused));
    let unknown = gateway.run(&["certificates", "renew", "other.test"]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
    let renew = gateway.run(&["certificates", "renew", "app.test"]).await;
    assert_eq!(renew.status.code(), Some(0), "{}", said(&renew));
    let second = eventually("another one is served", LIMIT, || async {
        let serial = issued(&gateway, &client, "app.test").await;
        holds(serial != first, gateway.log())?;
        Ok(serial)
    })
    .await;
    assert_eq!(open.ask(get("app.test", "/")).await.expect("an answer").status, 200, "it was not touched");

    let text = said(&gateway.run(&["certificates", "list"]).await);
    assert!(text.contains("app.test  until ") && text.contains("  le  valid"), "{text}");
    let listed = gateway.run(&["certificates", "list", "--format=json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    let of_le: Vec<_> =
        listed.as_array().expect("a list").iter().filter(|one| one["resolver"] == "le").collect();
    assert_eq!(of_le.len(), 1, "{listed}");
    assert_eq!(of_le[0]["serialNumber"], second, "{listed}");
    assert_eq!(pebble.logged("Issued certificate"), 2, "{}", pebble.log());
}

#[tokio::test]
async fn resolvers_and_routers_that_race_for_a_name_order_it_once() {
    let dns = NameServer::start().await;
    let pebble = Pebble::start(PebbleVersion::Packaged, PebbleOptions::new(dns.address())).await;
    let client = pebble.client().await;
    let routers = [
        ("Host(`app.test`)", "le"),
        ("Host(`app.test`) && PathPrefix(`/api`)", "other"),
        ("Host(`app.test`) && PathPrefix(`/page`)", "le"),
        ("Host(`one.test`)", "le"),
        ("Host(`two.test`)", "other"),
    ]
    .map(|(rule, resolver)| (rule.to_owned(), resolver));
    let plan = GatewayPlan::new().entry_point("websecure").routes(&routes(&routers, "http://127.0.0.1:9"));
    let plan = resolver(plan, "le", &pebble, &pebble.directory(), HTTP);
    let plan = resolver(plan, "other", &pebble, &pebble.directory(), TLS);
    let gateway = start(&pebble, plan).await;
    for name in ["app.test", "one.test", "two.test"] {
        issued(&gateway, &client, name).await;
    }
    // Once nobody wants anything any more, nothing will be ordered.
    eventually("all have what they want", LIMIT, || async {
        let listed = gateway.admin_json("/api/certificates").await;
        let wanted: Vec<_> =
            listed.as_array().into_iter().flatten().filter(|one| one["resolver"].is_string()).collect();
        holds(wanted.len() == 3 && wanted.iter().all(|one| one["state"] == "valid"), &listed)
    })
    .await;
    assert_eq!(pebble.logged("There are now 3 orders"), 1, "{}", pebble.log());
    assert_eq!(pebble.logged("There are now 4 orders"), 0, "{}", pebble.log());
    assert_eq!(pebble.logged("Issued certificate"), 3, "{}", pebble.log());
    let stored = json(&gateway.plan().path("acme.json"));
    for name in ["le", "other"] {
        assert!(stored[name]["Account"]["Registration"]["uri"].is_string(), "{name}");
    }
}

/// The part of the report of `/ready` about the resolver.
async fn readiness(gateway: &GatewayProcess) -> String {
    gateway.admin_get("/ready").await.text()
}

#[tokio::test]
async fn a_resolver_whose_file_cannot_be_used_stands_still_and_a_server_that_is_away_is_waited_for() {
    let dns = NameServer::start().await;
    let pebble = Pebble::start(PebbleVersion::Packaged, PebbleOptions::new(dns.address())).await;
    let client = pebble.client().await;
    for (content, mode, words) in
        [("{}", 0o640, "permissions 640 for"), ("{ \"le\": { \"Acc", 0o600, "is torn")]
    {
        let plan = plan(&pebble, &pebble.directory(), HTTP, &["app.test"]);
        let file = plan.path("acme.json");
        plan.write("acme.json", content);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let gateway = plan.start().await;
        eventually("it says why", LIMIT, || async {
            let problems = gateway.admin_get("/api/problems").await.text();
            holds(problems.contains(words) && problems.contains("stands still"), problems)?;
            let ready = readiness(&gateway).await;
            holds(ready.contains("degraded") && ready.contains("certificate resolver le"), ready)
        })
        .await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content, "it is left as it is");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(pebble.logged("There are now 1 accounts"), 0);
    }

    // Away: nobody listens there. Then somebody does.
    let port = free_port();
    let gateway =
        start(&pebble, plan(&pebble, &format!("https://localhost:{port}/dir"), HTTP, &["app.test"])).await;
    eventually("it says why", LIMIT, || async {
        let ready = readiness(&gateway).await;
        holds(ready.contains("cannot be reached"), ready)
    })
    .await;
    let relay = Relay::start_at(SocketAddr::from(([127, 0, 0, 1], port))).await;
    relay.lead_to(pebble.address());
    issued(&gateway, &client, "app.test").await;
}

//! DNS-01 with a real DNS server and a real ACME server: records are set by signed updates, seen at the authoritative
//! servers, removed; wildcards and delegated names get their certificates, each resolver with credentials of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use config::install::acme::{DnsChallenge, Propagation};
use config::secret::Secret;
use security::acme::challenge::dns::{DnsSolver, build};
use tests::dns::{DELEGATED_KEY, Key, NameServer, ZONE_KEY};
use tests::eventually;
use tests::gateway::GatewayPlan;
use tests::origin::Origin;
use tests::pebble::{Pebble, PebbleOptions, PebbleVersion};

/// Two programs start, and an order waits for DNS.
const ISSUED_LIMIT: Duration = Duration::from_secs(60);

fn solver(servers: &[&NameServer], key: Key, more: &[(&str, &str)]) -> DnsSolver {
    let nameserver = servers[0].address().to_string();
    let mut credentials: BTreeMap<String, Secret<String>> = BTreeMap::new();
    for (name, value) in [
        ("RFC2136_NAMESERVER", nameserver.as_str()),
        ("RFC2136_TSIG_KEY", key.name),
        ("RFC2136_TSIG_SECRET", key.secret),
        ("RFC2136_TSIG_ALGORITHM", "hmac-sha256."),
        ("RFC2136_POLLING_INTERVAL", "1"),
    ]
    .into_iter()
    .chain(more.iter().copied())
    {
        credentials.insert(name.to_owned(), Secret::new(value.to_owned()));
    }
    let settings = DnsChallenge {
        provider: "rfc2136".to_owned(),
        resolvers: servers.iter().map(|server| server.address().to_string()).collect(),
        propagation: Propagation::default(),
        credentials,
    };
    build(&settings, &|_| None).expect("the settings are whole")
}

#[tokio::test]
async fn values_side_by_side_are_set_seen_and_removed_and_those_of_others_stay() {
    let dns = NameServer::start().await;
    dns.change(ZONE_KEY, "add _acme-challenge.app.test 1 TXT others").await;
    let solver = solver(&[&dns], ZONE_KEY, &[]);
    for (name, value) in [("app.test", "one"), ("*.app.test", "two")] {
        solver.present(name, value).await.expect("it is set");
        solver.wait_until_visible(name, value).await.expect("it is seen");
    }
    assert_eq!(dns.texts("_acme-challenge.app.test").await, ["one", "others", "two"]);
    solver.clean_up("app.test", "one").await.expect("it is removed");
    solver.clean_up("*.app.test", "two").await.expect("it is removed");
    assert_eq!(dns.texts("_acme-challenge.app.test").await, ["others"]);
}

#[tokio::test]
async fn an_alias_leads_to_the_zone_where_the_record_belongs() {
    let dns = NameServer::start().await;
    dns.change(ZONE_KEY, "add _acme-challenge.other.test 1 CNAME hop.test.").await;
    dns.change(ZONE_KEY, "add hop.test 1 CNAME other.challenges.example.").await;
    dns.change(ZONE_KEY, "add _acme-challenge.circle.test 1 CNAME circle2.test.").await;
    dns.change(ZONE_KEY, "add circle2.test 1 CNAME _acme-challenge.circle.test.").await;
    let delegated = solver(&[&dns], DELEGATED_KEY, &[]);
    delegated.present("other.test", "value").await.expect("it is set");
    delegated.wait_until_visible("other.test", "value").await.expect("it is seen");
    assert_eq!(dns.texts("other.challenges.example").await, ["value"]);
    delegated.clean_up("other.test", "value").await.expect("it is removed");
    assert_eq!(dns.texts("other.challenges.example").await, [""; 0]);
    // The key of the other zone is refused, and is told in words.
    let refused = solver(&[&dns], ZONE_KEY, &[]).present("other.test", "value").await;
    let refused = refused.expect_err("the key does not fit").to_string();
    assert!(refused.contains("rfc2136: present failed") && !refused.contains(ZONE_KEY.secret), "{refused}");
    let circle = delegated.present("circle.test", "value").await.expect_err("it is a circle").to_string();
    assert!(circle.contains("_acme-challenge.circle.test"), "{circle}");
    let plain = [("LEGO_DISABLE_CNAME_SUPPORT", "true")];
    let here = solver(&[&dns], ZONE_KEY, &plain).present("other.test", "value").await;
    here.expect("it is sent to where the alias is");
    assert_eq!(dns.logged("attempt to add non-CNAME alongside CNAME ignored"), 1, "{}", dns.log());
}

#[tokio::test]
async fn all_servers_of_a_zone_have_to_have_the_record() {
    let [first, second] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    let servers = [first, second];
    let (leader, follower) =
        tokio::join!(NameServer::start_at(first, &servers), NameServer::start_at(second, &servers));
    let short = [("RFC2136_PROPAGATION_TIMEOUT", "2")];
    let hasty = solver(&[&leader, &follower], ZONE_KEY, &short);
    hasty.present("app.test", "value").await.expect("it is set");
    let error = hasty.wait_until_visible("app.test", "value").await.expect_err("one lags behind").to_string();
    assert!(error.contains("ns2.test does not have it") && !error.contains("ns1.test"), "{error}");
    hasty.clean_up("app.test", "value").await.expect("it is removed");
    let patient = solver(&[&leader, &follower], ZONE_KEY, &[]);
    patient.present("app.test", "value").await.expect("it is set");
    let (seen, ()) = tokio::join!(
        patient.wait_until_visible("app.test", "value"),
        follower.change(ZONE_KEY, "add _acme-challenge.app.test 1 TXT value"),
    );
    seen.expect("it is seen");
}

#[tokio::test]
async fn a_wildcard_with_its_parent_and_a_delegated_name_get_certificates_with_keys_of_their_own() {
    let dns = NameServer::start().await;
    dns.change(ZONE_KEY, "add _acme-challenge.other.test 1 CNAME other.challenges.example.").await;
    let pebble = Pebble::start(PebbleVersion::Current, PebbleOptions::new(dns.address())).await;
    let origin = Origin::start("app").await;
    let plan = GatewayPlan::new().entry_point("websecure");
    let folder = plan.path("");
    let resolver = |name: &str, key: Key| {
        format!(
            "  {name}:
    acme:
      caServer: {directory}
      caCertificates: [{ca}]
      storage: {folder}/{name}.json
      keyType: EC256
      dnsChallenge:
        provider: rfc2136
        resolvers: ['{server}']
        credentials: {{RFC2136_TSIG_KEY: {key}, RFC2136_TSIG_SECRET: '{secret}'}}
",
            directory = pebble.directory(),
            ca = pebble.ca_file().display(),
            folder = folder.display(),
            server = dns.address(),
            key = key.name,
            secret = key.secret,
        )
    };
    plan.write(
        "hearthgate.yml",
        &format!(
            "certificatesResolvers:\n{}{}",
            resolver("zone", ZONE_KEY),
            resolver("delegated", DELEGATED_KEY)
        ),
    );
    let config = plan.path("hearthgate.yml");
    let gateway = plan
        .argument(format!("--configFile={}", config.display()))
        .variable("RFC2136_NAMESERVER", dns.address().to_string())
        .variable("RFC2136_TSIG_ALGORITHM", "hmac-sha256")
        .variable("RFC2136_POLLING_INTERVAL", "1")
        .routes(&format!(
            "http:
  routers:
    app:
      rule: HostRegexp(`^(.+[.])?app[.]test$`)
      service: app
      tls: {{ certResolver: zone, domains: [ {{ main: app.test, sans: ['*.app.test'] }} ] }}
    other:
      rule: Host(`other.test`)
      service: app
      tls: {{ certResolver: delegated }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: 'http://{}' }} ] }} }}
",
            origin.address()
        ))
        .start()
        .await;
    let client = pebble.client().await;
    let secure = gateway.address("websecure");
    for name in ["app.test", "below.app.test", "other.test"] {
        eventually(&format!("{name} has a certificate"), ISSUED_LIMIT, || async {
            let answer = client.ask(secure, tests::client::get(name, "/")).await;
            let answer = answer.map_err(|error| format!("{error:?}\n{}", gateway.log()))?;
            tests::wait::holds(answer.status == 200, answer.status)
        })
        .await;
    }
    // One certificate for the wildcard and its parent: two values, side by side for a while.
    assert_eq!(pebble.logged("Issued certificate"), 2, "{}", pebble.log());
    for (name, values) in [("_acme-challenge.app.test", 2), ("other.challenges.example", 1)] {
        assert_eq!(dns.logged(&format!("adding an RR at '{name}' TXT")), values, "{}", dns.log());
        let nothing: [&str; 0] = [];
        eventually(&format!("{name} is empty"), ISSUED_LIMIT, || async {
            let texts = dns.texts(name).await;
            tests::wait::holds(texts == nothing, texts)
        })
        .await;
    }
    let log = gateway.log();
    for key in [ZONE_KEY, DELEGATED_KEY] {
        assert!(!log.contains(key.secret), "a secret is in the log");
    }
}

//! DNS-01 with a real DNS server and a real ACME server.

use tests::dns::{DELEGATED_KEY, NameServer, ZONE_KEY};
use tests::pebble::{Pebble, PebbleOptions, PebbleVersion};

#[tokio::test]
async fn the_parts_are_real() {
    let dns = NameServer::start().await;
    assert_eq!(dns.ask("app.test", "A").await, ["127.0.0.1"]);
    dns.change(ZONE_KEY, "add _acme-challenge.app.test 1 TXT one").await;
    dns.change(ZONE_KEY, "add _acme-challenge.other.test 1 CNAME other.challenges.example.").await;
    dns.change(DELEGATED_KEY, "add other.challenges.example 1 TXT two").await;
    assert_eq!(dns.texts("_acme-challenge.app.test").await, ["one"]);
    assert_eq!(dns.texts("_acme-challenge.other.test").await, ["two"]);
    for version in [PebbleVersion::Packaged, PebbleVersion::Current] {
        let pebble = Pebble::start(version, PebbleOptions::new(dns.address())).await;
        assert!(pebble.root(0).await.contains("BEGIN CERTIFICATE"), "{version:?}");
        let directory = pebble.ask("GET", "/dir").await.json();
        let information = directory.get("renewalInfo").is_some();
        assert_eq!(information, version == PebbleVersion::Current, "{directory}");
    }
}

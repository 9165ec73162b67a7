//! Tables of guests: what is routed, and what is told.

use config::problem::Origin;

use super::*;

fn table(text: &str) -> FileRouting {
    parse_table(text, Path::new("guests.yml")).unwrap_or_else(|problem| panic!("{problem}"))
}

/// One guest among a good neighbour: its problems, as text.
fn check(guest: &str, expected: &[&str]) {
    let text = format!(
        "zones:\n  apps: {{ cidr: 10.30.0.0/24, middlewares: [sso@file] }}\n  v6: {{ cidr: 'fd00::/64, 10.40.0.0/24' }}\n  \
         broken: {{ cidr: 10.30.0.0/99 }}\nguests:\n  - {{ name: good, zone: apps, host: good.test, server: \"http://10.30.0.11\" }}\n  - {guest}\n"
    );
    let found = table(&text);
    let problems: Vec<String> = found
        .problems
        .iter()
        .filter(|problem| !problem.subject.contains("zone"))
        .map(ToString::to_string)
        .collect();
    assert!(found.routing.http.routers.contains_key("good"), "the neighbour of {guest}");
    assert_eq!(problems.len(), expected.len(), "{guest}: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{guest}: {problem}");
    }
    let routed = found.routing.http.routers.len() > 1;
    assert_eq!(routed, expected.is_empty(), "{guest}");
}

#[test]
fn a_guest_that_is_wrong_costs_itself_and_says_why() {
    for (guest, expected) in [
        ("{ name: a, zone: apps, host: a.test, server: \"http://10.30.0.12:8096\" }", &[][..]),
        (
            "{ name: a, zone: apps, host: [a.test, b.test], servers: [\"http://10.30.0.12\", { url: \"https://10.30.0.13\", weight: 2 }] }",
            &[],
        ),
        ("{ name: a, zone: v6, host: a.test, server: \"http://[fd00::5]:80\", healthCheck: /health }", &[]),
        (
            "{ name: a, zone: v6, host: a.test, server: \"http://10.40.0.5\", healthCheck: { path: /h, interval: 5s }, tls: {}, entryPoints: [lan] }",
            &[],
        ),
        (
            "{ name: a, zone: apps, host: a.test, server: \"http://10.31.0.12\" }",
            &["its server 10.31.0.12 lies outside zone `apps` (10.30.0.0/24); it is not routed"],
        ),
        (
            "{ name: a, zone: apps, host: a.test, servers: [\"http://10.30.0.12\", \"http://10.31.0.12\"] }",
            &["10.31.0.12 lies outside"],
        ),
        (
            "{ name: a, zone: apps, host: a.test, server: \"http://guest.lan\" }",
            &["`guest.lan` is not an address"],
        ),
        ("{ name: a, zone: apps, host: a.test, server: 10.30.0.12 }", &["does not begin with `http://`"]),
        (
            "{ name: a, zone: apps, host: a.test, server: \"ftp://10.30.0.12\" }",
            &["does not begin with `http://`"],
        ),
        (
            "{ name: a, zone: appz, host: a.test, server: \"http://10.30.0.12\" }",
            &["unknown zone `appz`; did you mean `apps`?"],
        ),
        ("{ name: a, host: a.test, server: \"http://10.30.0.12\" }", &["it has no `zone`"]),
        (
            "{ name: a, zone: broken, host: a.test, server: \"http://10.30.0.12\" }",
            &["the range of zone `broken` is wrong; it is not routed"],
        ),
        (
            "{ name: good, zone: apps, host: a.test, server: \"http://10.30.0.12\" }",
            &["the name is taken by a guest above"],
        ),
        ("{ zone: apps, host: a.test, server: \"http://10.30.0.12\" }", &["it has no `name`"]),
        (
            "{ name: a@b, zone: apps, host: a.test, server: \"http://10.30.0.12\" }",
            &["a name cannot hold `@`"],
        ),
        ("{ name: a, zone: apps, server: \"http://10.30.0.12\" }", &["it has no `host`"]),
        (
            "{ name: a, zone: apps, host: \"x`) || Host(`y\", server: \"http://10.30.0.12\" }",
            &["is not a host name"],
        ),
        (
            "{ name: a, zone: apps, host: { a: b }, server: \"http://10.30.0.12\" }",
            &["`host` is a host name or a list of them"],
        ),
        ("{ name: a, zone: apps, host: a.test }", &["it has no `server`"]),
        (
            "{ name: a, zone: apps, host: a.test, server: \"http://10.30.0.12\", healthCheck: health }",
            &["`healthCheck` is a path or a block"],
        ),
        (
            "{ name: a, zone: apps, host: a.test, server: \"http://10.30.0.12\", midlewares: [x] }",
            &["midlewares"],
        ),
        (
            "{ name: a, zone: nowhere, host: a.test, server: \"http://x\" }",
            &["unknown zone `nowhere`", "`x` is not an address"],
        ),
        ("just-a-word", &["a block is expected"]),
    ] {
        check(guest, expected);
    }
}

#[test]
fn a_guest_becomes_a_router_and_a_service_of_its_name() {
    let found = table(
        "zones: { secure: { cidr: 10.20.0.0/24, middlewares: [lan-or-sso@file] } }\n\
         guests:\n  - name: vault\n    zone: secure\n    host: [vault.example.com, vault.lan]\n    server: https://10.20.0.10:8000\n    \
         preset: vaultwarden\n    middlewares: [extra@file]\n    entryPoints: [websecure]\n    tls: { certResolver: le }\n    \
         healthCheck: /alive\n    skipVerify: true\n    pin: abcd\n",
    );
    assert_eq!(found.problems, []);
    let router = &found.routing.http.routers["vault"];
    assert_eq!(router.origin, Origin::file("guests.yml", 3, 5));
    let router = &router.value;
    assert_eq!(router.rule, "Host(`vault.example.com`) || Host(`vault.lan`)");
    assert_eq!(router.middlewares, ["lan-or-sso@file", "extra@file"]);
    assert_eq!((router.service.as_str(), router.preset.as_str()), ("vault", "vaultwarden"));
    assert_eq!(router.entry_points, ["websecure"]);
    assert_eq!(router.tls.as_ref().map(|tls| tls.cert_resolver.as_str()), Some("le"));
    let balancer = found.routing.http.services["vault"].value.load_balancer.as_ref().unwrap();
    assert_eq!(balancer.servers[0].url, "https://10.20.0.10:8000");
    assert_eq!(balancer.servers[0].pin, "abcd");
    assert_eq!(balancer.health_check.as_ref().map(|check| check.path.as_str()), Some("/alive"));
    assert!(balancer.tls.as_ref().is_some_and(|tls| tls.skip_verify) && balancer.pass_host_header);
}

#[test]
fn the_table_itself_may_be_wrong() {
    for (text, expected) in [
        ("guests: 7\n", "a list is expected"),
        ("gests: []\n", "unknown key `gests`; did you mean `guests`?"),
        ("zones: [a]\n", "a block is expected"),
        ("zones: { a: {} }\n", "it has no `cidr`"),
        ("zones: { a: { cidr: 10.0.0.0/8, cidrs: x } }\n", "cidrs"),
        ("- a\n", "the table is a block with `zones` and `guests`"),
    ] {
        let problems = table(text).problems;
        assert!(problems.len() == 1 && problems[0].to_string().contains(expected), "{text}: {problems:?}");
    }
    assert!(parse_table("guests: [oh\n", Path::new("guests.yml")).is_err());
    assert_eq!(table("").problems, []);
}

#[tokio::test]
async fn an_inline_table_is_sent_once_and_reloads_are_answered() {
    use tokio::sync::{mpsc, oneshot};
    let text = "zones: { apps: { cidr: 10.30.0.0/24 } }\nguests: [{ name: a, zone: apps, host: a.test, server: \"http://10.30.0.12\" }]\n";
    let node = parse_yaml(text, Path::new("install.yml")).unwrap();
    let provider =
        Box::new(TableProvider::new(install::TableProvider::Inline(node), std::sync::Arc::new(|_| None)));
    let (updates, mut received) = mpsc::channel(4);
    let (reloads, receiver) = mpsc::channel(4);
    let task = tokio::spawn(provider.run(ProviderChannels { updates, reloads: receiver }));
    assert!(received.recv().await.unwrap().routing.http.routers.contains_key("a"));
    let (sender, done) = oneshot::channel();
    reloads.send(sender).await.unwrap();
    done.await.unwrap();
    drop(received);
    task.await.unwrap();
}

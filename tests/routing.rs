//! Which server answers: hosts, rules, priorities, weights, the table of guests, what nobody serves.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::client::{ask_for, get};
use tests::gateway::{GatewayPlan, GatewayProcess};
use tests::load::{Load, LoadPlan};
use tests::origin::Origin;

/// Who answered, by the JSON that an [`Origin`] sends.
async fn server(gateway: &GatewayProcess, host: &str, target: &str) -> String {
    let answer = ask_for(gateway.web(), host, target).await.expect("an answer");
    assert_eq!(answer.status, 200, "{host}{target}: {}", answer.text());
    answer.json()["server"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_host_has_its_server_and_an_unknown_one_has_none() {
    let (blog, shop) = (Origin::start("blog").await, Origin::start("shop").await);
    let gateway = GatewayPlan::new()
        .routes(&format!(
            "http:
  routers:
    blog: {{ rule: Host(`blog.test`), service: blog }}
    shop: {{ rule: 'Host(`shop.test`) || Host(`*.shop.test`)', service: shop }}
  services:
    blog: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
    shop: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
",
            blog.url(),
            shop.url()
        ))
        .start()
        .await;

    assert_eq!(server(&gateway, "blog.test", "/").await, "blog");
    assert_eq!(server(&gateway, "BLOG.test:8080", "/").await, "blog");
    assert_eq!(server(&gateway, "shop.test", "/a/b?c=d").await, "shop");
    assert_eq!(server(&gateway, "eu.shop.test", "/").await, "shop");

    let nobody = ask_for(gateway.web(), "nobody.test", "/").await.expect("an answer");
    assert_eq!((nobody.status, nobody.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(nobody.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(nobody.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn the_longer_rule_goes_first_unless_a_priority_is_written() {
    let (page, api, beta) =
        (Origin::start("page").await, Origin::start("api").await, Origin::start("beta").await);
    let gateway = GatewayPlan::new()
        .routes(&format!(
            "http:
  routers:
    page: {{ rule: Host(`app.test`), service: page }}
    api: {{ rule: 'Host(`app.test`) && PathPrefix(`/api`)', service: api }}
    beta: {{ rule: 'Header(`X-Beta`, `1`)', service: beta, priority: 1000 }}
  services:
    page: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
    api: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
    beta: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
",
            page.url(),
            api.url(),
            beta.url()
        ))
        .start()
        .await;

    assert_eq!(server(&gateway, "app.test", "/").await, "page");
    assert_eq!(server(&gateway, "app.test", "/api/v1").await, "api");
    // A prefix is compared byte by byte, as in Traefik.
    assert_eq!(server(&gateway, "app.test", "/apiary").await, "api");
    let mut request = get("app.test", "/api/v1");
    request.headers_mut().insert("x-beta", http::HeaderValue::from_static("1"));
    let answer = tests::client::ask(gateway.web(), request).await.expect("an answer");
    assert_eq!(answer.json()["server"], "beta");
}

#[tokio::test]
async fn weights_are_kept_exactly() {
    let (heavy, light) = (Origin::start("heavy").await, Origin::start("light").await);
    let gateway = GatewayPlan::new()
        .routes(&format!(
            "http:
  routers:
    app: {{ rule: Host(`app.test`), service: app }}
  services:
    app:
      loadBalancer:
        servers:
          - {{ url: '{}', weight: 3 }}
          - {{ url: '{}', weight: 1 }}
",
            heavy.url(),
            light.url()
        ))
        .start()
        .await;

    for round in 0..5 {
        let mut answers = BTreeMap::new();
        for _request in 0..4 {
            *answers.entry(server(&gateway, "app.test", "/").await).or_insert(0) += 1;
        }
        let expected = BTreeMap::from([("heavy".to_owned(), 3), ("light".to_owned(), 1)]);
        assert_eq!(answers, expected, "round {round}");
    }
}

#[tokio::test]
async fn a_guest_of_the_table_is_routed_and_one_outside_its_zone_is_not() {
    let tv = Origin::start("tv").await;
    let plan = GatewayPlan::new();
    plan.write(
        "table.yml",
        &format!(
            "zones:
  apps: {{ cidr: 127.0.0.0/8 }}
  secure: {{ cidr: 10.20.0.0/24 }}
guests:
  - {{ name: tv, zone: apps, host: [tv.test, tv.lan], server: '{0}' }}
  - {{ name: vault, zone: secure, host: vault.test, server: '{0}' }}
",
            tv.url()
        ),
    );
    let table = plan.path("table.yml");
    let gateway = plan.argument(format!("--providers.table.filename={}", table.display())).start().await;

    assert_eq!(server(&gateway, "tv.test", "/").await, "tv");
    assert_eq!(server(&gateway, "tv.lan", "/").await, "tv");
    gateway.answers("vault.test", "/", 404, Duration::from_secs(1)).await;
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(problems.contains("vault") && problems.contains("10.20.0.0/24"), "{problems}");
    let routers = gateway.admin_json("/api/http/routers").await.to_string();
    assert!(routers.contains("tv@table") && !routers.contains("vault@table"), "{routers}");

    // The table is watched like any other file.
    let both = format!(
        "zones:
  apps: {{ cidr: 127.0.0.0/8 }}
guests:
  - {{ name: vault, zone: apps, host: vault.test, server: '{}' }}
",
        tv.url()
    );
    gateway.plan().write("table.yml", &both);
    gateway.answers("vault.test", "/", 200, Duration::from_secs(5)).await;
    gateway.answers("tv.test", "/", 404, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_builtin_page_shows_the_visitor_and_why_it_was_believed() {
    let gateway = GatewayPlan::new()
        .routes("http: { routers: { me: { rule: Host(`me.test`), service: whoami@internal } } }")
        .start()
        .await;
    let answer = ask_for(gateway.web(), "me.test", "/").await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("127.0.0.1"), "{}", answer.text());
}

#[tokio::test]
async fn a_thousand_routes_cost_a_request_no_error() {
    let origin = Origin::start("one").await;
    let mut routes = String::from("http:\n  routers:\n");
    for number in 0..1_000 {
        routes += &format!("    r{number}: {{ rule: Host(`h{number}.test`), service: one }}\n");
    }
    routes += &format!(
        "  services:\n    one: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}\n",
        origin.url()
    );
    let gateway = GatewayPlan::new().routes(&routes).start().await;
    let pages = (0..1_000).step_by(37).map(|number| (format!("h{number}.test"), "/".to_owned())).collect();
    let load = Load::start(LoadPlan {
        address: gateway.web().into(),
        pages,
        connections: 4,
        pause: Duration::from_millis(2),
        limit: Duration::from_secs(2),
    });
    load.finish().await.assert_flawless(100);
}

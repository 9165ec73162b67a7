//! Containers of a real engine: started, stopped, relabelled, replicated, on several networks, by Compose, forty at once.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::client::ask_for;
use tests::docker::Docker;
use tests::eventually;
use tests::gateway::{GatewayPlan, GatewayProcess, long};
use tests::load::{Load, LoadPlan};
use tests::wait::holds;

/// What the product promises for a start and for a stop.
const PROMISE: Duration = Duration::from_secs(1);

/// A generous limit where no promise is measured.
const SOON: Duration = Duration::from_secs(15);

const ENABLE: (&str, &str) = ("traefik.enable", "true");

async fn watching(docker: &Docker) -> GatewayProcess {
    GatewayPlan::new().docker(&docker.endpoint(), &docker.constraint()).start().await
}

/// The label that routes a host.
fn rule(router: &str, host: &str) -> (String, String) {
    (format!("traefik.http.routers.{router}.rule"), format!("Host(`{host}`)"))
}

#[tokio::test]
async fn a_container_is_served_within_a_second_of_its_start_and_refused_within_a_second_of_its_stop() {
    let docker = Docker::machine_alone().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("blog", "blog.test");
    let blog = docker.create("blog", &[ENABLE, (&key, &value)], &[]).await;

    blog.start().await;
    let answer = gateway.answers("blog.test", "/", 200, PROMISE).await;
    assert_eq!(answer.text(), "blog\n");

    // It works for a while, as containers do.
    let load = Load::start(LoadPlan {
        address: gateway.web().into(),
        pages: vec![("blog.test".into(), "/".into())],
        connections: 2,
        pause: Duration::from_millis(20),
        limit: Duration::from_secs(3),
    });
    load.finish().await.assert_flawless(100);

    blog.stop().await;
    let answer = gateway.answers("blog.test", "/", 503, PROMISE).await;
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
    assert!(!answer.text().contains("blog"), "the client learns nothing: {}", answer.text());
    let explained = gateway.admin_get("/api/explain?url=http://blog.test/").await.text();
    let reason = format!("container `{}` is ", docker.name("blog"));
    assert!(explained.contains("blog@docker") && explained.contains(&reason), "{explained}");

    // It comes back with the same name and another address.
    blog.start().await;
    gateway.answers("blog.test", "/", 200, Duration::from_secs(3)).await;

    // Removed means gone.
    blog.remove().await;
    gateway.answers("blog.test", "/", 404, SOON).await;
}

#[tokio::test]
async fn a_dead_replica_leaves_its_requests_to_the_others() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "app.test");
    let one = docker
        .start(
            "one",
            &[ENABLE, (&key, &value), ("traefik.http.services.app.loadbalancer.server.port", "80")],
            &[],
        )
        .await;
    let _two = docker
        .start(
            "two",
            &[ENABLE, (&key, &value), ("traefik.http.services.app.loadbalancer.server.port", "80")],
            &[],
        )
        .await;
    replicas(&gateway, "app.test", &["one", "two"]).await;

    one.stop().await;
    replicas(&gateway, "app.test", &["two"]).await;
    for _request in 0..20 {
        assert_eq!(ask_for(gateway.web(), "app.test", "/").await.expect("an answer").text(), "two\n");
    }
}

/// Waits until exactly these answer for a host.
async fn replicas(gateway: &GatewayProcess, host: &str, names: &[&str]) {
    let expected: BTreeSet<String> = names.iter().map(|name| format!("{name}\n")).collect();
    let web = gateway.web();
    eventually(&format!("{host} is served by {names:?}"), SOON, || async {
        let mut seen = BTreeSet::new();
        for _request in 0..2 * names.len() {
            let answer = ask_for(web, host, "/").await?;
            holds(answer.status == 200, (answer.status, answer.text()))?;
            seen.insert(answer.text());
        }
        holds(seen == expected, seen)
    })
    .await;
}

#[tokio::test]
async fn replicas_take_turns() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "app.test");
    let service = ("traefik.http.services.app.loadbalancer.server.port", "80");
    let _first = docker.start("first", &[ENABLE, (&key, &value), service], &[]).await;
    let _second = docker.start("second", &[ENABLE, (&key, &value), service], &[]).await;
    replicas(&gateway, "app.test", &["first", "second"]).await;
    let mut answers = Vec::new();
    for _request in 0..10 {
        answers.push(ask_for(gateway.web(), "app.test", "/").await.expect("an answer").text());
    }
    assert_eq!(answers.iter().filter(|answer| *answer == "first\n").count(), 5, "{answers:?}");
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(!problems.contains("app"), "two equal definitions are no problem: {problems}");
}

#[tokio::test]
async fn a_container_is_relabelled_by_creating_it_anew() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "old.test");
    let before = docker.start("app", &[ENABLE, (&key, &value)], &[]).await;
    gateway.answers("old.test", "/", 200, SOON).await;
    before.remove().await;
    let (key, value) = rule("app", "new.test");
    let _after = docker.start("app", &[ENABLE, (&key, &value)], &[]).await;
    gateway.answers("new.test", "/", 200, SOON).await;
    gateway.answers("old.test", "/", 404, SOON).await;
}

#[tokio::test]
async fn the_network_named_by_a_label_is_used_and_an_unknown_one_is_a_problem() {
    let docker = Docker::machine().await;
    let (front, back) = (docker.network("front").await, docker.network("back").await);
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "app.test");
    let app = docker
        .create("app", &[ENABLE, (&key, &value), ("traefik.docker.network", &back)], &["--network", &front])
        .await;
    docker.run(&["network", "connect", &back, app.name()]).await;
    app.start().await;
    gateway.answers("app.test", "/", 200, SOON).await;
    let address = app.inspect().await["NetworkSettings"]["Networks"][&back]["IPAddress"].clone();
    let address = address.as_str().expect("it is on both networks");
    let services = gateway.admin_json("/api/http/services").await.to_string();
    assert!(services.contains(&format!("http://{address}:80")), "{address}: {services}");

    // Taken off one network while it runs.
    docker.run(&["network", "disconnect", &back, app.name()]).await;
    let front_address = app.inspect().await["NetworkSettings"]["Networks"][&front]["IPAddress"].clone();
    let front_address = front_address.as_str().expect("it is on the other one").to_owned();
    eventually("the other network is used, or it is said why not", SOON, || async {
        let services = gateway.admin_json("/api/http/services").await.to_string();
        let problems = gateway.admin_json("/api/problems").await.to_string();
        holds(services.contains(&front_address) || problems.contains(&back), (services, problems))
    })
    .await;
}

#[tokio::test]
async fn what_is_not_enabled_is_not_routed() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (off, off_rule) = rule("off", "off.test");
    let (silent, silent_rule) = rule("silent", "silent.test");
    let (on, on_rule) = rule("on", "on.test");
    let _off = docker.start("off", &[("traefik.enable", "false"), (&off, &off_rule)], &[]).await;
    let _silent = docker.start("silent", &[(&silent, &silent_rule)], &[]).await;
    let _on = docker.start("on", &[ENABLE, (&on, &on_rule)], &[]).await;
    gateway.answers("on.test", "/", 200, SOON).await;
    gateway.answers("off.test", "/", 404, SOON).await;
    gateway.answers("silent.test", "/", 404, SOON).await;
}

#[tokio::test]
async fn an_unhealthy_container_is_refused_until_it_is_well() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "app.test");
    let app = docker
        .start(
            "app",
            &[ENABLE, (&key, &value)],
            &["--health-cmd", "test -e /well", "--health-interval", "1s", "--health-retries", "1"],
        )
        .await;
    gateway.answers("app.test", "/", 503, SOON).await;
    app.shell("touch /well").await;
    gateway.answers("app.test", "/", 200, SOON).await;
    app.shell("rm /well").await;
    let refused = gateway.answers("app.test", "/", 503, SOON).await;
    assert!(refused.headers.contains_key("retry-after"));
    let explained = gateway.admin_get("/api/explain?url=http://app.test/").await.text();
    assert!(explained.contains("unhealthy"), "{explained}");
}

#[tokio::test]
async fn one_broken_label_costs_one_router_and_says_where() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (good, good_rule) = rule("good", "good.test");
    let (fine, fine_rule) = rule("fine", "fine.test");
    let _mixed = docker
        .start(
            "mixed",
            &[
                ENABLE,
                (&good, &good_rule),
                ("traefik.http.routers.bad.rule", "Host(`bad.test`"),
                ("traefik.http.routers.good.service", "mixed"),
                ("traefik.http.routers.bad.service", "mixed"),
                ("traefik.http.services.mixed.loadbalancer.server.port", "80"),
            ],
            &[],
        )
        .await;
    let _out_of_range = docker
        .start(
            "range",
            &[
                ENABLE,
                ("traefik.http.routers.range.rule", "Host(`range.test`)"),
                ("traefik.http.services.range.loadbalancer.server.port", "70000"),
            ],
            &[],
        )
        .await;
    let _neighbour = docker.start("neighbour", &[ENABLE, (&fine, &fine_rule)], &[]).await;

    gateway.answers("fine.test", "/", 200, SOON).await;
    gateway.answers("good.test", "/", 200, SOON).await;
    gateway.answers("bad.test", "/", 404, SOON).await;
    let range = ask_for(gateway.web(), "range.test", "/").await.expect("an answer");
    assert_ne!(range.status, 200, "a port out of range leads nowhere");
    let problems = gateway.admin_json("/api/problems").await.to_string();
    for told in [docker.name("mixed"), "bad".into(), docker.name("range"), "70000".into()] {
        assert!(problems.contains(&told), "{told}: {problems}");
    }
}

#[tokio::test]
async fn of_two_different_definitions_of_one_router_the_older_containers_stays() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "first.test");
    let _first = docker.start("first", &[ENABLE, (&key, &value)], &[]).await;
    gateway.answers("first.test", "/", 200, SOON).await;
    let (key, value) = rule("app", "second.test");
    let _second = docker.start("second", &[ENABLE, (&key, &value)], &[]).await;
    eventually("the clash is a problem", SOON, || async {
        let problems = gateway.admin_json("/api/problems").await.to_string();
        holds(problems.contains(&docker.name("second")), problems)
    })
    .await;
    gateway.answers("first.test", "/", 200, SOON).await;
    gateway.answers("second.test", "/", 404, SOON).await;
}

#[tokio::test]
async fn a_compose_project_is_served_while_it_is_up() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("compose.yml");
    let (_, group) = docker
        .group_label()
        .split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .expect("a label");
    let compose = format!(
        "version: '3.8'
services:
  web:
    image: {image}
    labels:
      hearthgate-tests.group: {group}
      traefik.enable: 'true'
      traefik.http.routers.compose-web.rule: Host(`web.test`)
  api:
    image: {image}
    networks: [default, back]
    labels:
      - hearthgate-tests.group={group}
      - traefik.enable=true
      - traefik.http.routers.compose-api.rule=Host(`web.test`) && PathPrefix(`/cgi-bin`)
networks:
  back: {{}}
",
        image = tests::docker::SERVER_IMAGE
    );
    std::fs::write(&file, compose).expect("the temporary folder can be written to");

    let project = docker.compose_up("compose", &file).await;
    gateway.answers("web.test", "/", 200, SOON).await;
    let environment = gateway.answers("web.test", "/cgi-bin/env", 200, SOON).await.text();
    assert!(environment.contains("HTTP_X_FORWARDED_HOST=web.test"), "{environment}");
    // The implicit service is named after service and project, as in Traefik.
    let services = gateway.admin_json("/api/http/services").await.to_string();
    assert!(services.contains(&format!("web-{}@docker", project.to_lowercase())), "{services}");

    docker.compose(&project, &file, &["up", "-d", "--scale", "web=3"]).await;
    eventually("three replicas", SOON, || async {
        let services = gateway.admin_json("/api/http/services").await;
        let all = services.as_array().cloned().unwrap_or_default();
        let servers = all
            .iter()
            .find(|service| service["name"].as_str().is_some_and(|name| name.starts_with("web-")))
            .and_then(|service| service["loadBalancer"]["servers"].as_array().map(Vec::len));
        holds(servers == Some(3), services)
    })
    .await;
    docker.compose(&project, &file, &["stop", "-t", "1", "web"]).await;
    gateway.answers("web.test", "/", 503, SOON).await;
    gateway.answers("web.test", "/cgi-bin/env", 200, SOON).await;
    docker.compose(&project, &file, &["down", "-t", "1"]).await;
    gateway.answers("web.test", "/", 404, SOON).await;
}

#[tokio::test]
async fn many_containers_started_at_once_are_all_served() {
    let count = if long() { 200 } else { 40 };
    let docker = Docker::machine_alone().await;
    let gateway = watching(&docker).await;
    let parts: Vec<_> = (0..count).map(|number| format!("n{number}")).collect();
    let mut names = Vec::new();
    for part in &parts {
        let (key, value) = rule(part, &format!("{part}.test"));
        names.push(docker.create(part, &[ENABLE, (&key, &value)], &[]).await.name().to_owned());
    }
    let mut start = vec!["start"];
    start.extend(names.iter().map(String::as_str));
    docker.run(&start).await;
    let web = gateway.web();
    for part in &parts {
        let host = format!("{part}.test");
        eventually(&format!("{host} is served"), SOON, || async {
            let answer = ask_for(web, &host, "/").await?;
            holds(
                answer.status == 200 && answer.text() == format!("{part}\n"),
                (answer.status, answer.text()),
            )
        })
        .await;
    }

    let mut kill = vec!["kill"];
    kill.extend(names.iter().map(String::as_str));
    docker.run(&kill).await;
    for part in &parts {
        gateway.answers(&format!("{part}.test"), "/", 503, SOON).await;
    }
}

#[tokio::test]
async fn sighup_does_not_disturb_containers() {
    let docker = Docker::machine().await;
    let gateway = watching(&docker).await;
    let (key, value) = rule("app", "app.test");
    let _app = docker.start("app", &[ENABLE, (&key, &value)], &[]).await;
    gateway.answers("app.test", "/", 200, SOON).await;
    let load = Load::start(LoadPlan {
        address: gateway.web().into(),
        pages: vec![("app.test".into(), "/".into())],
        connections: 4,
        pause: Duration::from_millis(10),
        limit: Duration::from_secs(10),
    });
    for _reload in 0..5 {
        gateway.signal(Signal::SIGHUP);
        assert_eq!(gateway.reload().await.status, 200);
    }
    load.stop().await.assert_flawless(5);
}

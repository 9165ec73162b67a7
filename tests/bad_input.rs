//! What is wrong outside costs only itself: engines that talk nonsense or not at all, labels out of measure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tests::client::{Address, ask, request};
use tests::docker::{Docker, MACHINE_SOCKET, SERVER_IMAGE};
use tests::eventually;
use tests::gateway::GatewayPlan;
use tests::origin::{Afterwards, Origin, RawOrigin};
use tests::wait::holds;

/// A provider has ten seconds for its first answer before the gateway is ready without it.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_engine_that_talks_nonsense_is_a_problem_and_files_are_served() {
    let origin = Origin::start("app").await;
    let html = "<html>403</html>";
    let answers = [
        format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{html}",
            html.len()
        ),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"no\": \"list\"}"
            .to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[{\"Id\":7}".to_owned(),
        "not HTTP at all\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        let engine = RawOrigin::start(answer.clone(), Afterwards::Close).await;
        let endpoint = format!("tcp://{}", engine.address());
        let gateway = GatewayPlan::new()
            .app(&origin.url())
            .argument(format!("--providers.docker.endpoint={endpoint}"))
            .start()
            .await;
        gateway.answers("app.test", "/", 200, SOON).await;
        eventually("the engine is a problem", SOON, || async {
            let problems = gateway.admin_json("/api/problems").await.to_string();
            holds(problems.to_lowercase().contains("docker"), (&answer, problems))
        })
        .await;
    }
}

#[tokio::test]
async fn an_engine_that_is_silent_does_not_hold_the_start_up() {
    let origin = Origin::start("app").await;
    // It accepts connections by its backlog, and never reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");
    let gateway = GatewayPlan::new()
        .app(&origin.url())
        .argument(format!("--providers.docker.endpoint=tcp://{address}"))
        .spawn();
    let mut gateway = gateway;
    eventually("files are served although the engine is silent", SOON, || {
        let gateway = &gateway;
        async move {
            let answer = tests::client::ask_for(gateway.try_web()?, "app.test", "/").await?;
            holds(answer.status == 200, answer.status)
        }
    })
    .await;
    gateway.ready().await;
    let ready = gateway.admin_get("/ready").await;
    assert!(ready.text().contains("degraded"), "{}", ready.text());
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_a_problem_until_it_is() {
    let origin = Origin::start("app").await;
    let plan = GatewayPlan::new().app(&origin.url());
    let socket = plan.path("docker.sock");
    let gateway =
        plan.argument(format!("--providers.docker.endpoint=unix://{}", socket.display())).start().await;
    gateway.answers("app.test", "/", 200, SOON).await;
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(problems.contains("docker.sock"), "{problems}");
    std::os::unix::fs::symlink(MACHINE_SOCKET, &socket).expect("the folder can be written to");
    eventually("the problem goes when the engine comes", SOON, || async {
        let problems = gateway.admin_json("/api/problems").await.to_string();
        holds(!problems.contains("docker.sock"), problems)
    })
    .await;
}

#[tokio::test]
async fn a_label_of_a_megabyte_costs_only_its_own_container() {
    let docker = Docker::machine().await;
    let gateway = GatewayPlan::new().docker(&docker.endpoint(), &docker.constraint()).start().await;
    let name = docker.adopt("huge");
    let group = docker.group_label();
    let (group, value) = group.split_once('=').expect("a label");
    let huge = format!("Host(`{}`)", "x".repeat(1 << 20));
    // Too long for a command line: by the engine's own API.
    let body = json!({
        "Image": SERVER_IMAGE,
        "Labels": {
            group: value,
            "traefik.enable": "true",
            "traefik.http.routers.huge.rule": huge,
        },
    });
    let mut create =
        request("POST", "docker", &format!("/containers/create?name={name}"), Bytes::from(body.to_string()));
    create.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    let created = ask(Address::Unix(MACHINE_SOCKET.into()), create).await.expect("an answer");
    assert_eq!(created.status, 201, "{}", created.text());
    docker.run(&["start", &name]).await;
    let _fine = docker
        .start(
            "fine",
            &[("traefik.enable", "true"), ("traefik.http.routers.fine.rule", "Host(`fine.test`)")],
            &[],
        )
        .await;
    gateway.answers("fine.test", "/", 200, SOON).await;
    let problems = gateway.admin_get("/api/problems").await;
    assert!(problems.text().contains(&name), "it is said whose label it is");
    assert!(problems.body.len() < 200_000, "a problem does not repeat a megabyte: {}", problems.body.len());
}

#[tokio::test]
async fn unknown_keys_wrong_types_and_lists_with_an_index_cost_their_own_item() {
    let origin = Origin::start("app").await;
    let gateway = GatewayPlan::new().app(&origin.url()).start().await;
    let routes = format!(
        "http:
  routers:
    good: {{ rule: Host(`good.test`), service: good }}
    unknown: {{ rule: Host(`unknown.test`), service: good, rool: x }}
    wrong: {{ rule: [1, 2], service: good }}
    broken: {{ rule: 'Host(`broken.test`', service: good }}
    missing: {{ rule: Host(`missing.test`), service: nowhere }}
    unserved: {{ rule: Host(`unserved.test`), service: good, middlewares: [nowhere] }}
  services:
    good: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
",
        origin.url()
    );
    gateway.plan().write("routes.yml", &routes);
    gateway.answers("good.test", "/", 200, SOON).await;
    for (host, status) in [
        ("unknown.test", 404),
        ("wrong.test", 404),
        ("broken.test", 404),
        ("missing.test", 503),
        ("unserved.test", 503),
    ] {
        gateway.answers(host, "/", status, SOON).await;
    }
    let problems = gateway.admin_json("/api/problems").await.to_string();
    for told in ["rool", "wrong", "broken", "nowhere", "routes.yml"] {
        assert!(problems.contains(told), "{told}: {problems}");
    }
}

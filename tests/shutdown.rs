//! How it starts and how it ends: exit codes, signals, open requests.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use nix::sys::signal::Signal;
use tests::client::{Connection, ask_for, get, websocket};
use tests::eventually;
use tests::gateway::{GatewayPlan, run, said};
use tests::origin::Origin;
use tests::wait::holds;
use tokio_tungstenite::tungstenite::Message;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sigterm_ends_an_idle_gateway_at_once_and_with_zero() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new().app(&origin.url()).start().await;
    gateway.answers("app.test", "/", 200, SOON).await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exit(SOON).await.code(), Some(0));
    assert!(!gateway.plan().admin_socket().exists(), "its sockets are gone");
}

#[tokio::test]
async fn an_open_answer_ends_by_itself_after_sigterm() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new().app(&origin.url()).start().await;
    let web = gateway.web();
    let mut connection = Connection::open(web).await.expect("a connection");
    let mut body = connection.send(get("app.test", "/hold")).await.expect("a head").into_body();
    let first = body.frame().await.expect("a frame").expect("a frame");
    assert_eq!(first.into_data().expect("data"), "begin ");

    gateway.signal(Signal::SIGTERM);
    // Nobody new is let in, and a balancer in front is told.
    let admin = gateway.admin();
    eventually("it is not ready", SOON, || async {
        let status = ask_for(&admin, "localhost", "/ready").await.map(|answer| answer.status);
        holds(status == Ok(503) || status.is_err(), status)
    })
    .await;
    eventually("it does not accept", SOON, || async {
        let answer = ask_for(web, "app.test", "/").await;
        holds(answer.is_err(), answer)
    })
    .await;

    origin.release();
    let rest = body.collect().await.expect("the rest of the answer").to_bytes();
    assert_eq!(rest, "end");
    assert_eq!(gateway.exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn what_does_not_end_within_its_grace_is_cut_and_the_exit_is_clean() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new()
        .app(&origin.url())
        .argument("--entryPoints.web.transport.lifeCycle.graceTimeOut=1s")
        .start()
        .await;
    let mut connection = Connection::open(gateway.web()).await.expect("a connection");
    let body = connection.send(get("app.test", "/hold")).await.expect("a head").into_body();
    let mut socket = websocket(gateway.web(), "app.test", "/ws").await.expect("an open WebSocket");
    socket.send(Message::text("here")).await.expect("it takes a message");
    assert_eq!(socket.next().await.expect("it is open").expect("an echo"), Message::text("here"));

    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exit(Duration::from_secs(8)).await.code(), Some(0));
    assert!(body.collect().await.is_err(), "a cut answer does not look whole");
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new().app(&origin.url()).start().await;
    let mut connection = Connection::open(gateway.web()).await.expect("a connection");
    let _open = connection.send(get("app.test", "/hold")).await.expect("a head");
    gateway.signal(Signal::SIGTERM);
    let admin = gateway.admin();
    eventually("it drains", SOON, || async {
        let status = ask_for(&admin, "localhost", "/ready").await.map(|answer| answer.status);
        holds(status == Ok(503), status)
    })
    .await;
    gateway.signal(Signal::SIGTERM);
    // Well before the nine seconds of grace.
    gateway.exit(SOON).await;
}

#[tokio::test]
async fn it_accepts_for_a_while_after_sigterm_when_told_to() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new()
        .app(&origin.url())
        .argument("--entryPoints.web.transport.lifeCycle.requestAcceptGraceTimeout=2s")
        .start()
        .await;
    let web = gateway.web();
    gateway.signal(Signal::SIGTERM);
    let admin = gateway.admin();
    eventually("it is not ready", SOON, || async {
        let status = ask_for(&admin, "localhost", "/ready").await.map(|answer| answer.status);
        holds(status == Ok(503), status)
    })
    .await;
    let answer = ask_for(web, "app.test", "/").await.expect("still an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.exit(Duration::from_secs(8)).await.code(), Some(0));
}

#[tokio::test]
async fn a_restart_on_the_same_port_right_after_sigkill_works() {
    let origin = Origin::start("app").await;
    let mut gateway = GatewayPlan::new().app(&origin.url()).start().await;
    let web = gateway.web();
    let mut connection = Connection::open(web).await.expect("a connection");
    let _open = connection.send(get("app.test", "/hold")).await.expect("a head");
    gateway.signal(Signal::SIGKILL);
    gateway.exit(SOON).await;
    let again = GatewayPlan::new()
        .app(&origin.url())
        .argument(format!("--entryPoints.web.address={web}"))
        .start()
        .await;
    assert_eq!(again.web(), web);
    again.answers("app.test", "/", 200, SOON).await;
}

#[tokio::test]
async fn a_taken_address_is_exit_1_and_bad_settings_are_exit_2() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address");
    let plan = GatewayPlan::new();
    let folder = plan.path("");
    let folder = folder.to_str().expect("temporary paths are text");
    let admin = format!("--admin.address=unix:{folder}/other.sock");
    let state = format!("--stateDir={folder}/state");

    let output = run(&[&format!("--entryPoints.web.address={taken}"), &admin, &state]).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("web") && text.contains(&taken.to_string()), "{text}");

    plan.write("typo.yml", "entryPoint:\n  web:\n    address: ':0'\n");
    plan.write("wrong.yml", "entryPoints:\n  web:\n    address: [1, 2]\n");
    plan.write("broken.yml", "entryPoints:\n  web: { address: ':0'\n");
    for (file, told) in [
        ("typo.yml", "entryPoints"),
        ("wrong.yml", "3:"),
        ("broken.yml", "broken.yml"),
        ("none.yml", "none.yml"),
    ] {
        let path = plan.path(file);
        let output = run(&[&format!("--configFile={}", path.display())]).await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{file}: {text}");
        assert!(text.contains(told), "{file}: {text}");
    }
}

#[tokio::test]
async fn version_says_what_it_is() {
    let output = run(&["version"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).to_lowercase().contains("hearthgate"));
}

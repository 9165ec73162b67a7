//! An engine that goes away and comes back: no request to a running container fails, and what changed meanwhile is seen.

use std::time::Duration;

use tests::docker::{Docker, Engine};
use tests::eventually;
use tests::gateway::GatewayPlan;
use tests::load::{Load, LoadPlan};
use tests::wait::holds;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_engine_that_is_killed_or_restarted_costs_no_request() {
    let engine = Engine::start().await;
    let docker = Docker::at(engine.socket()).await;
    let gateway = GatewayPlan::new().docker(&docker.endpoint(), &docker.constraint()).start().await;
    let enable = ("traefik.enable", "true");
    let stays = docker
        .start("stays", &[enable, ("traefik.http.routers.stays.rule", "Host(`stays.test`)")], &[])
        .await;
    gateway.answers("stays.test", "/", 200, SOON).await;
    let load = Load::start(LoadPlan {
        address: gateway.web().into(),
        pages: vec![("stays.test".into(), "/".into())],
        connections: 4,
        pause: Duration::from_millis(20),
        limit: Duration::from_secs(120),
    });

    // It dies without a word.
    engine.kill().await;
    eventually("the loss is a problem", SOON, || async {
        let problems = gateway.admin_json("/api/problems").await.to_string();
        holds(problems.to_lowercase().contains("docker"), problems)
    })
    .await;
    let ready = gateway.admin_get("/ready").await;
    assert_eq!(ready.status, 200, "degraded is ready: {}", ready.text());
    assert!(ready.text().contains("degraded"), "{}", ready.text());

    engine.resume().await;
    let comes = docker
        .start("comes", &[enable, ("traefik.http.routers.comes.rule", "Host(`comes.test`)")], &[])
        .await;
    gateway.answers("comes.test", "/", 200, SOON).await;
    eventually("the problem is gone", SOON, || async {
        let ready = gateway.admin_get("/ready").await.text();
        holds(!ready.contains("degraded"), ready)
    })
    .await;

    // It says good-bye, and its containers go on.
    engine.terminate().await;
    engine.resume().await;
    comes.stop().await;
    gateway.answers("comes.test", "/", 503, SOON).await;
    gateway.answers("stays.test", "/", 200, SOON).await;

    // The traffic went on all the time.
    let answered = load.answered();
    eventually("the traffic still flows", SOON, || async {
        holds(load.answered() > answered + 50, load.answered())
    })
    .await;
    load.stop().await.assert_flawless(200);
    drop(stays);
}

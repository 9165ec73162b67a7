//! Many changes under constant load: nobody else notices.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tests::client::websocket;
use tests::gateway::{GatewayPlan, long};
use tests::load::{Load, LoadPlan};
use tests::origin::Origin;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Between two changes: 200 of them in 20 seconds.
const EVERY: Duration = Duration::from_millis(100);

const SOON: Duration = Duration::from_secs(10);

/// `stays.test` in every version, and one more router that is a different one each time.
fn routes(version: usize, stays: &Origin, other: &Origin) -> String {
    format!(
        "http:
  routers:
    stays: {{ rule: Host(`stays.test`), service: stays }}
    changes: {{ rule: 'Host(`v{version}.test`) || Host(`changes.test`)', service: changes{} }}
  services:
    stays: {{ loadBalancer: {{ servers: [ {{ url: '{1}' }} ] }} }}
    changes0: {{ loadBalancer: {{ servers: [ {{ url: '{1}' }} ] }} }}
    changes1: {{ loadBalancer: {{ servers: [ {{ url: '{2}' }}, {{ url: '{1}' }} ] }} }}
",
        version % 2,
        stays.url(),
        other.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_in_twenty_seconds_cut_nobody() {
    let changes = if long() { 2_000 } else { 200 };
    let (stays, other) = (Origin::start("stays").await, Origin::start("other").await);
    let gateway = GatewayPlan::new()
        .routes(&routes(0, &stays, &other))
        .argument("--providers.providersThrottleDuration=0s")
        .start()
        .await;
    gateway.answers("stays.test", "/", 200, SOON).await;
    let before = gateway.reload().await.json()["version"].as_u64();

    let mut sockets = Vec::new();
    for number in 0..50 {
        let host = if number % 2 == 0 { "stays.test" } else { "changes.test" };
        sockets.push(websocket(gateway.web(), host, "/ws").await.expect("an open WebSocket"));
    }
    let load = Load::start(LoadPlan {
        address: gateway.web().into(),
        pages: vec![("stays.test".into(), "/".into()), ("changes.test".into(), "/".into())],
        connections: 8,
        pause: Duration::from_millis(10),
        limit: Duration::from_secs(600),
    });

    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for version in 1..=changes {
        ticks.tick().await;
        gateway.plan().write("routes.new", &routes(version, &stays, &other));
        std::fs::rename(gateway.plan().path("routes.new"), gateway.plan().path("routes.yml"))
            .expect("one folder");
        // Each socket is used during the changes, not only after them.
        let socket = &mut sockets[version % 50];
        socket.send(Message::text(version.to_string())).await.expect("it is open");
        let echo = timeout(SOON, socket.next()).await.expect("an echo in time").expect("it is open");
        assert_eq!(echo.expect("a message"), Message::text(version.to_string()));
    }
    // The last version is in force.
    gateway.answers(&format!("v{changes}.test"), "/", 200, SOON).await;
    load.stop().await.assert_flawless(changes as u64);
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket
            .send(Message::text("still here"))
            .await
            .unwrap_or_else(|error| panic!("socket {number}: {error}"));
        let echo = timeout(SOON, socket.next()).await.expect("an echo in time").expect("it is open");
        assert_eq!(echo.expect("a message"), Message::text("still here"), "socket {number}");
    }
    // Changes were published one by one, not only the last of them.
    let now = gateway.reload().await.json()["version"].as_u64();
    let published = now.zip(before).map(|(now, before)| now - before);
    assert!(published.is_some_and(|count| count >= changes as u64 / 2), "from {before:?} to {now:?}");
}

//! Many changes under constant load: nobody else notices.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tests::client::{Stream, ask_for, websocket};
use tests::gateway::long;
use tests::in_process::TestGateway;
use tests::load::{Load, LoadPlan};
use tests::origin::Origin;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
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
    // A provider without a watcher in front of it, so that each change is published and none is folded into the next.
    let gateway = TestGateway::start(&routes(0, &stays, &other), &[]).await;
    let before = gateway.running().snapshot().load().version;

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
        gateway.say(&routes(version, &stays, &other)).await;
        // The change is in force for the next request.
        let answer = ask_for(gateway.web(), &format!("v{version}.test"), "/").await.expect("an answer");
        assert_eq!(answer.status, 200, "version {version}");
        // Each socket is used during the changes, not only after them.
        echo(&mut sockets[version % 50], &version.to_string()).await;
    }
    load.stop().await.assert_flawless(changes as u64);
    for socket in &mut sockets {
        echo(socket, "still here").await;
    }
    let published = gateway.running().snapshot().load().version - before;
    assert!(published >= changes as u64, "{published} versions were published");
}

/// Sends a text, and waits for it to come back.
async fn echo(socket: &mut WebSocketStream<Box<dyn Stream>>, text: &str) {
    socket.send(Message::text(text)).await.expect("it is open");
    let echo = timeout(SOON, socket.next()).await.expect("an echo in time").expect("it is open");
    assert_eq!(echo.expect("a message"), Message::text(text));
}

//! UDP routers on the wire, in front of a real DNS server and of servers that say who they are.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::app::BoundAddress;
use tests::client::ask_for;
use tests::dns::NameServer;
use tests::eventually;
use tests::in_process::TestGateway;
use tests::wait::holds;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);

/// Answers each datagram with its name and who it thinks has sent it.
struct Speaker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Speaker {
    async fn start(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(async move {
            let mut datagram = vec![0; 65_535];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let answer = format!("{name} {} {length}", from.port());
                let _ = socket.send_to(answer.as_bytes(), from).await;
            }
        });
        Self { address, task }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn gateway(routes: &str, timeout: &str) -> (TestGateway, SocketAddr) {
    let timeout = format!("--entryPoints.dns.udp.timeout={timeout}");
    let gateway = TestGateway::start(routes, &["--entryPoints.dns.address=127.0.0.1:0/udp", &timeout]).await;
    let address = match gateway.running().address("dns") {
        Some(BoundAddress::Udp(address)) => *address,
        other => panic!("dns listens on UDP: {other:?}"),
    };
    (gateway, address)
}

fn routes(services: &str) -> String {
    format!("udp:\n  routers: {{r: {{service: s}}}}\n  services: {{{services}}}\n")
}

fn servers(addresses: &[SocketAddr]) -> String {
    let servers: Vec<_> = addresses.iter().map(|address| format!("{{address: '{address}'}}")).collect();
    format!("loadBalancer: {{servers: [{}]}}", servers.join(", "))
}

/// A client with a flow of its own.
struct Client(UdpSocket);

impl Client {
    async fn new(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
        // Answers from anywhere else are not heard.
        socket.connect(address).await.expect("an address can be connected to");
        Self(socket)
    }

    /// What the server answers; asked again and again, as datagrams get lost.
    async fn ask(&self, datagram: &[u8]) -> String {
        eventually("there is an answer", LIMIT, || async {
            let mut answer = vec![0; 1024];
            self.0.send(datagram).await.map_err(|error| error.to_string())?;
            let read = tokio::time::timeout(Duration::from_secs(1), self.0.recv(&mut answer)).await;
            let length = read.map_err(|elapsed| elapsed.to_string())?.map_err(|error| error.to_string())?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
        .await
    }
}

#[tokio::test]
async fn dig_asks_a_name_server_through_a_udp_router() {
    let server = NameServer::start().await;
    let (gateway, address) =
        gateway(&routes(&format!("s: {{{}}}", servers(&[server.address()]))), "3s").await;
    let dig = |name: &'static str| async move {
        let answer = Command::new("dig")
            .args(["+short", "+notcp", "+ignore", "+time=5", "+tries=2", "@127.0.0.1", "-p"])
            .args([&address.port().to_string(), name, "A"])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    };
    let asked = (0..8).map(|_| dig("blog.test"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer, "127.0.0.1");
    }
    let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await.unwrap().text();
    let line = r#"hearthgate_udp_flows_total{entrypoint="dns",router="r@test",result="served"} 8"#;
    assert!(metrics.contains(line), "{line} in {metrics}");
}

#[tokio::test]
async fn each_client_has_its_flow_and_keeps_its_server() {
    let (one, two) = (Speaker::start("one").await, Speaker::start("two").await);
    let weighted = format!(
        "s: {{weighted: {{services: [{{name: a, weight: 1}}, {{name: b, weight: 1}}]}}}}, a: {{{}}}, b: {{{}}}",
        servers(&[one.address]),
        servers(&[two.address])
    );
    let (gateway, address) = gateway(&routes(&weighted), "1h").await;
    let (first, second) = (Client::new(address).await, Client::new(address).await);
    let (heard, other) = (first.ask(b"hello").await, second.ask(b"hello").await);
    assert_ne!(heard, other);
    assert_ne!(heard.split(' ').next(), other.split(' ').next(), "the round goes on with each flow");
    for _ in 0..3 {
        assert_eq!(first.ask(b"hello").await, heard, "the same server sees the same address");
    }
    // The largest datagram that fits.
    let large = first.ask(&vec![0; 60_000]).await;
    assert!(large.ends_with(" 60000"), "{large}");
    // A new router is for new flows.
    let three = Speaker::start("three").await;
    gateway.say(&routes(&format!("s: {{{}}}", servers(&[three.address])))).await;
    assert_eq!(first.ask(b"hello").await, heard);
    assert!(Client::new(address).await.ask(b"hello").await.starts_with("three "));
    assert_eq!(gateway.shutdown().await, 0, "flows that are owed no answer do not keep it");
}

#[tokio::test]
async fn a_silent_flow_ends_and_a_server_that_is_away_is_left() {
    let server = Speaker::start("here").await;
    let (gateway, address) =
        gateway(&routes(&format!("s: {{{}}}", servers(&[server.address]))), "50ms").await;
    let client = Client::new(address).await;
    let heard = client.ask(b"hello").await;
    let open = || async {
        let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await?.text();
        let line = r#"hearthgate_open_udp_flows{entrypoint="dns",router="r@test"} 0"#;
        holds(metrics.contains(line), "open still")
    };
    eventually("the flow ends", LIMIT, open).await;
    let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await.unwrap().text();
    let open =
        |entry_point: &str| metrics.contains(&format!(r#"open_connections{{entrypoint="{entry_point}""#));
    assert!(open("web") && !open("dns"), "flows are no connections: {metrics}");
    assert_ne!(client.ask(b"hello").await, heard, "another flow, from another address");
    // Nobody listens at one of two: who meets it finds the other with the next datagram.
    let away = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    gateway.say(&routes(&format!("s: {{{}}}", servers(&[away, server.address])))).await;
    for _ in 0..4 {
        assert!(Client::new(address).await.ask(b"hello").await.starts_with("here "));
    }
    gateway.say(&routes("s: {loadBalancer: {servers: []}}")).await;
    let unheard = Client::new(address).await;
    unheard.0.send(b"hello").await.unwrap();
    eventually("the datagram is counted", LIMIT, || async {
        let metrics = ask_for(gateway.admin(), "localhost", "/metrics").await?.text();
        holds(metrics.contains(r#"router="r@test",result="unavailable"}"#), metrics)
    })
    .await;
}

//! Wire behaviour of the hot path: a proxy in this process, scripted servers behind it, and bytes.

mod faults;
mod http2;
mod lifecycle;
mod requests;
mod tls;
mod transports;
mod upgrades;
mod upstream_tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::Origin;
use config::install::{EntryPoint, Install};
use config::name::{EntryPointName, RouterName};
use config::routing::tls::RouterTls;
use config::routing::{
    InternalService, Observability, Router, Routing, Scheme, Server, Service, Standing, Target,
};
use config::rule;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::context::Workarounds;
use super::entry_point::Listener;
use super::{Proxy, ProxyConfig};
use crate::internal::{InternalRequest, InternalServices};
use crate::snapshot::{EntryPointId, Snapshot, SnapshotWriter, border, compile};
use crate::telemetry::{AccessRecord, Handshake, Recorder, StreamProtocol, StreamRecord};
use crate::test_support;

/// More than anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What a record said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recorded {
    status: u16,
    origin_status: u16,
    reason: String,
    router: String,
    client: String,
    target: String,
    retries: u32,
    request_body_bytes: u64,
    response_body_bytes: u64,
    grpc_status: Option<u16>,
    upgraded: bool,
    request_id: String,
}

/// Keeps all records.
#[derive(Debug, Default)]
struct Records {
    all: Mutex<Vec<Recorded>>,
    handshakes: Mutex<Vec<Handshake>>,
}

impl Recorder for Records {
    fn record(&self, record: &AccessRecord<'_>) {
        self.all.lock().push(Recorded {
            status: record.status,
            origin_status: record.origin_status,
            reason: record.reason.to_owned(),
            router: record.route.map_or_else(String::new, |route| route.name.to_string()),
            client: record.client.to_string(),
            target: record.target.to_owned(),
            retries: record.retries,
            request_body_bytes: record.request_body_bytes,
            response_body_bytes: record.response_body_bytes,
            grpc_status: record.grpc_status,
            upgraded: record.upgraded,
            request_id: record.request_id.to_owned(),
        });
    }

    fn connection_opened(&self, _entry_point: EntryPointId) {}

    fn connection_closed(&self, _entry_point: EntryPointId) {}

    fn stream(&self, _record: &StreamRecord<'_>) {}

    fn stream_opened(&self, _entry_point: EntryPointId, _protocol: StreamProtocol, _router: &RouterName) {}

    fn stream_closed(&self, _entry_point: EntryPointId, _protocol: StreamProtocol, _router: &RouterName) {}

    fn handshake(&self, _entry_point: EntryPointId, result: Handshake) {
        self.handshakes.lock().push(result);
    }
}

/// Says who it thinks the client is.
#[derive(Debug)]
struct Whoami;

#[async_trait::async_trait]
impl InternalServices for Whoami {
    async fn answer(&self, request: InternalRequest<'_>) -> http::Response<Bytes> {
        http::Response::new(Bytes::from(format!("{}: {}", request.client, request.client_reason)))
    }
}

/// A proxy that serves; ends when dropped.
struct TestProxy {
    proxy: Arc<Proxy>,
    address: SocketAddr,
    records: Arc<Records>,
    writer: SnapshotWriter,
    install: Install,
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.proxy.stop();
    }
}

/// How a test wants its proxy.
struct Setup {
    routing: Routing,
    entry_point: EntryPoint,
    challenges: Vec<EntryPointName>,
    workarounds: Workarounds,
}

impl Setup {
    fn new() -> Self {
        let install = test_support::install(&["web"], std::path::Path::new("/nonexistent"));
        Self {
            routing: Routing::default(),
            entry_point: install.entry_points.into_iter().next().unwrap(),
            challenges: Vec::new(),
            workarounds: Workarounds::ALL,
        }
    }

    /// Routes `rule` to these servers: `http://127.0.0.1:1`, `h2c://…`.
    fn route(mut self, name: &str, rule: &str, servers: &[String]) -> Self {
        let service = Service {
            name: format!("{name}@test").as_str().into(),
            servers: servers.iter().map(|url| server(url)).collect(),
            down: servers.is_empty().then(|| Arc::from("container `blog` is stopped")),
            pass_host_header: true,
            transport: Arc::default(),
            origin: Origin::Gateway,
        };
        let target = Target::Service(service.name.clone());
        self.routing.services.insert(service.name.clone(), service);
        self.router(name, rule, target)
    }

    fn router(mut self, name: &str, rule: &str, target: Target) -> Self {
        let rule = rule::parse(rule).unwrap();
        let router = Router {
            name: format!("{name}@test").as_str().into(),
            priority: rule.default_priority(),
            rule,
            precedence: 0,
            entry_points: vec!["web".into()],
            tls: None,
            middlewares: Vec::new(),
            target,
            standing: Standing::Up,
            recursion_guard: false,
            observability: Observability::default(),
            origin: Origin::Gateway,
        };
        self.routing.routers.insert(router.name.clone(), router);
        self
    }

    /// The router of this name serves TLS connections.
    fn tls(mut self, name: &str) -> Self {
        let router =
            self.routing.routers.get_mut(&RouterName::from(format!("{name}@test").as_str())).unwrap();
        let tls = RouterTls { options: "default".into(), resolver: None, domains: Vec::new() };
        router.tls = Some(tls);
        self
    }

    fn internal(self, name: &str, rule: &str, service: InternalService) -> Self {
        self.router(name, rule, Target::Internal(service))
    }

    fn with(mut self, change: impl FnOnce(&mut EntryPoint)) -> Self {
        change(&mut self.entry_point);
        self
    }

    fn without(mut self, change: impl FnOnce(&mut Workarounds)) -> Self {
        change(&mut self.workarounds);
        self
    }

    fn serve(self) -> TestProxy {
        let mut install = test_support::install(&["web"], std::path::Path::new("/nonexistent"));
        install.entry_points = vec![self.entry_point];
        let (mut writer, snapshot) = border(Snapshot::empty());
        writer.publish(Arc::new(compile::compile(&install, parts(self.routing), &writer.current())));
        let records = Arc::new(Records::default());
        let config = ProxyConfig {
            entry_points: install.entry_points.clone(),
            challenge_entry_points: self.challenges,
            snapshot,
            telemetry: Arc::clone(&records) as _,
            internal: Arc::new(Whoami),
            server_name: "gate".to_owned(),
            worker_threads: 1,
        };
        let proxy = Proxy::with_workarounds(config, self.workarounds);
        let listener = Listener::bind(EntryPointId(0), &install.entry_points[0]).unwrap();
        let address = listener.local_addr().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        proxy.serve(vec![listener]);
        TestProxy { proxy, address, records, writer, install }
    }
}

fn parts(routing: Routing) -> compile::Parts {
    compile::Parts { routing, ..compile::Parts::default() }
}

/// A server of a URL.
fn server(url: &str) -> Server {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, prefix) =
        rest.split_once('/').map_or((rest, ""), |(authority, _)| (authority, &rest[authority.len()..]));
    let (host, port) = authority.rsplit_once(':').unwrap();
    Server {
        url: Arc::from(url),
        scheme: match scheme {
            "http" => Scheme::Http,
            "h2c" => Scheme::H2c,
            _ => Scheme::Https,
        },
        host: Arc::from(host),
        port: port.parse().unwrap(),
        weight: 1,
        path_prefix: Arc::from(prefix),
        pin: None,
    }
}

impl TestProxy {
    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Sends these bytes on a connection of their own and reads one whole answer.
    async fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(request).await;
        client.reply().await
    }

    /// The records, once there are so many.
    async fn records(&self, count: usize) -> Vec<Recorded> {
        eventually(|| {
            let all = self.records.all.lock();
            (all.len() >= count).then(|| all.clone())
        })
        .await
    }
}

/// Waits for a condition.
async fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the condition holds in time")
}

/// A client that sees bytes.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// More bytes; false at the end.
    async fn fill(&mut self) -> bool {
        self.read.reserve(64 * 1024);
        let read = self.stream.read_buf(&mut self.read);
        let read = tokio::time::timeout(LIMIT, read).await.expect("an answer in time").unwrap_or(0);
        read > 0
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.fill().await,
                "the connection ended within a head: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// One answer to anything but HEAD.
    async fn reply(&mut self) -> Reply {
        let head = self.head().await;
        let reply = Reply { head, body: Vec::new() };
        let bodiless = matches!(reply.status(), 101 | 204 | 304) || reply.status() < 200;
        let body = if bodiless {
            Vec::new()
        } else if let Some(length) = reply.field("content-length") {
            self.exactly(length.parse().unwrap()).await
        } else if reply.field("transfer-encoding").is_some() {
            self.chunks().await
        } else {
            self.rest().await
        };
        Reply { body, ..reply }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.fill().await, "the connection ended within a body");
        }
        self.read.drain(..length).collect()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert!(self.fill().await, "the connection ended within a line");
        }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line().await, 16).unwrap();
            body.extend(self.exactly(length).await);
            assert_eq!(self.line().await, "");
            if length == 0 {
                return body;
            }
        }
    }

    /// Everything to the end of the connection.
    async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.read)
    }

    /// The other side closes without another byte.
    async fn is_closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest().await), "");
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A server that speaks HTTP/1 from a script: one call for each request, given its raw head and body.
struct TestServer {
    address: SocketAddr,
    /// Raw heads of all requests.
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::AbortHandle,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Answers each request with what `answer` makes of its head and body.
    async fn start(answer: impl Fn(&str, &[u8]) -> String + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        let (address, task) = listen(move |mut client| {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            async move {
                loop {
                    while find(&client.read, b"\r\n\r\n").is_none() {
                        if !client.fill().await {
                            return;
                        }
                    }
                    let head = client.head().await;
                    seen.lock().push(head.clone());
                    let request = Reply { head: head.clone(), body: Vec::new() };
                    let body = if let Some(length) = request.field("content-length") {
                        client.exactly(length.parse().unwrap()).await
                    } else if request.field("transfer-encoding").is_some() {
                        client.chunks().await
                    } else {
                        Vec::new()
                    };
                    let answer = answer(&head, &body);
                    client.send(&answer).await;
                    if answer.to_ascii_lowercase().contains("connection: close") {
                        return;
                    }
                }
            }
        })
        .await;
        Self { address, heads, task }
    }

    /// Answers 200 with this body.
    async fn text(body: &'static str) -> Self {
        Self::start(move |_, _| ok(body)).await
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn last_head(&self) -> String {
        self.heads.lock().last().cloned().unwrap_or_default()
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Serves each connection with `serve`.
async fn listen<F>(serve: impl Fn(Client) -> F + Send + 'static) -> (SocketAddr, tokio::task::AbortHandle)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            connections.spawn(serve(Client { stream, read: Vec::new() }));
        }
    });
    (address, task.abort_handle())
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The fields of a raw head, names in lower case.
fn fields(head: &str) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in head.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        fields.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    fields
}

//! Servers to put behind the gateway: one that shows what it was asked and has a page for every kind of answer, and one
//! that speaks in raw bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// A server that speaks HTTP/1.1, HTTP/2 with prior knowledge and WebSocket on one port.
///
/// | path | answer |
/// | --- | --- |
/// | `/hold` | head and `begin `, then nothing until [`Origin::release`], then `end` |
/// | `/events` | server-sent events: `data: hello` at once, then one for each [`Origin::emit`] |
/// | `/trailers` | a body, and trailers `grpc-status: 0`, `x-checksum: 42` |
/// | `/bytes/N` | N bytes in pieces |
/// | `/status/N` | that status |
/// | `/ws` | a WebSocket that sends back what it gets |
/// | any other | the request as JSON: `server, method, target, version, headers [[name, value]], body_bytes` |
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    connections: AtomicUsize,
    requests: AtomicUsize,
    released: watch::Sender<bool>,
    events: broadcast::Sender<String>,
}

impl Origin {
    /// Starts it; `name` is how its answers say who answered.
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            name: name.into(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            released: watch::channel(false).0,
            events: broadcast::channel(64).0,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, for HTTP/2 with prior knowledge.
    pub fn h2c_url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// Connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Requests it has seen.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Lets all answers of `/hold` end, now and later.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Sends an event to all who read `/events`.
    pub fn emit(&self, data: &str) {
        let _ = self.shared.events.send(data.into());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// Tells HTTP/2 by its preface.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut first = [0; 3];
    while let Ok(count) = stream.peek(&mut first).await {
        if count == 0 || count == first.len() || !b"PRI".starts_with(&first[..count]) {
            break;
        }
    }
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A client that goes away is no error of a test's server.
    if &first == b"PRI" {
        let _ =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/hold" => Response::new(streamed(self.hold())),
            "/events" => {
                let mut response = Response::new(streamed(self.events()));
                response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
                response
            }
            "/trailers" => trailers(),
            "/ws" => websocket(request),
            path => {
                if let Some(count) = path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
                    return Response::new(streamed(bytes(count)));
                }
                let status = path.strip_prefix("/status/").and_then(|status| status.parse().ok());
                let mut response = self.echo(request).await;
                *response.status_mut() = status.unwrap_or(StatusCode::OK);
                response
            }
        }
    }

    /// The first piece, and the last once released.
    fn hold(&self) -> impl Stream<Item = Frame<Bytes>> + Send + 'static {
        let mut released = self.released.subscribe();
        let last = stream::once(async move {
            // The sender is gone when the test is: then the answer may end as well.
            let _ = released.wait_for(|released| *released).await;
            data("end")
        });
        stream::once(async { data("begin ") }).chain(last)
    }

    fn events(&self) -> impl Stream<Item = Frame<Bytes>> + Send + 'static {
        let later = stream::unfold(self.events.subscribe(), |mut events| async move {
            let event = events.recv().await.ok()?;
            Some((data(format!("data: {event}\n\n")), events))
        });
        stream::once(async { data("data: hello\n\n") }).chain(later)
    }

    async fn echo(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, mut body) = request.into_parts();
        let mut body_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            body_bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        let headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| [name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into()])
            .collect();
        let seen = serde_json::json!({
            "server": self.name,
            "method": head.method.as_str(),
            "target": head.uri.to_string(),
            "version": format!("{:?}", head.version),
            "headers": headers,
            "body_bytes": body_bytes,
        });
        let mut response = Response::new(Full::from(seen.to_string()).boxed_unsync());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        response
    }
}

fn data(text: impl Into<Bytes>) -> Frame<Bytes> {
    Frame::data(text.into())
}

fn streamed(frames: impl Stream<Item = Frame<Bytes>> + Send + 'static) -> AnswerBody {
    StreamBody::new(frames.map(Ok)).boxed_unsync()
}

fn trailers() -> Response<AnswerBody> {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from_static("0"));
    fields.insert("x-checksum", HeaderValue::from_static("42"));
    let mut response = Response::new(streamed(stream::iter([data("message"), Frame::trailers(fields)])));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status, x-checksum"));
    response
}

fn bytes(count: usize) -> impl Stream<Item = Frame<Bytes>> + Send + 'static {
    const PIECE: usize = 16 * 1024;
    let pieces = (0..count).step_by(PIECE).map(move |start| data(vec![b'x'; PIECE.min(count - start)]));
    stream::iter(pieces)
}

fn websocket(mut request: Request<Incoming>) -> Response<AnswerBody> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        let mut response = Response::new(Full::from("not a WebSocket").boxed_unsync());
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return response;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is a field value");
    headers.insert("sec-websocket-accept", accept);
    response
}

/// A server in raw bytes: records each head that it reads, and answers each with the same bytes.
#[derive(Debug)]
pub struct RawOrigin {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

/// What a [`RawOrigin`] does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It closes the connection.
    Close,
    /// It waits for the next head.
    Wait,
}

impl RawOrigin {
    /// Starts one that answers every head with `answer`.
    pub async fn start(answer: impl Into<Vec<u8>>, afterwards: Afterwards) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<[u8]> = answer.into().into();
        let recorded = Arc::clone(&heads);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _peer)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&answer), afterwards, Arc::clone(&recorded)));
            }
        });
        Self { address, heads, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads read so far, each with its empty line.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(
    mut stream: TcpStream,
    answer: Arc<[u8]>,
    afterwards: Afterwards,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_count) => continue,
            }
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        heads.lock().push(String::from_utf8_lossy(&head).into_owned());
        if stream.write_all(&answer).await.is_err() || afterwards == Afterwards::Close {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

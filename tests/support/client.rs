//! Clients: one that asks a question, one that keeps its connection, one that sees the bytes, one for WebSockets.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;

/// No test waits longer than this for one answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Any error of a body that a test sends.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_path_buf())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Stream for T {}

/// Opens a connection.
pub async fn connect(address: &Address) -> Result<Box<dyn Stream>, String> {
    let opened: std::io::Result<Box<dyn Stream>> = match address {
        Address::Tcp(address) => TcpStream::connect(address).await.map(|stream| {
            // A test that measures time does not want to measure Nagle's.
            let _ = stream.set_nodelay(true);
            Box::new(stream) as Box<dyn Stream>
        }),
        Address::Unix(path) => {
            UnixStream::connect(path).await.map(|stream| Box::new(stream) as Box<dyn Stream>)
        }
    };
    opened.map_err(|error| format!("connect to {address:?}: {error}"))
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers, if there were any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` where it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A field, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A request without a body.
pub fn get(host: &str, target: &str) -> Request<Full<Bytes>> {
    request("GET", host, target, Bytes::new())
}

/// A request.
pub fn request(method: &str, host: &str, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", host)
        .body(Full::new(body.into()))
        .expect("a test's request is well formed")
}

/// Asks over a connection of its own.
pub async fn ask<B>(address: impl Into<Address>, request: Request<B>) -> Result<Answer, String>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    Connection::open(address).await?.ask(request).await
}

/// Asks for a page over a connection of its own.
pub async fn ask_for(address: impl Into<Address>, host: &str, target: &str) -> Result<Answer, String> {
    ask(address, get(host, target)).await
}

/// Asks over HTTP/2 with prior knowledge.
pub async fn ask_h2c<B>(address: impl Into<Address>, request: Request<B>) -> Result<Answer, String>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    Http2Connection::over(connect(&address.into()).await?, "http").await?.ask(request).await
}

/// A connection that speaks HTTP/2.
#[derive(Debug)]
pub struct Http2Connection<B> {
    sender: http2::SendRequest<B>,
    scheme: &'static str,
    driver: tokio::task::JoinHandle<()>,
}

impl<B> Http2Connection<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    /// Speaks HTTP/2 over what is open already.
    pub async fn over(stream: Box<dyn Stream>, scheme: &'static str) -> Result<Self, String> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP/2 handshake: {error:?}"))?;
        let driver = tokio::spawn(async move {
            // Its errors reach the request that meets them.
            let _ = connection.await;
        });
        Ok(Self { sender, scheme, driver })
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&mut self, request: Request<B>) -> Result<Answer, String> {
        // Over HTTP/2 the host is the authority.
        let (mut head, body) = request.into_parts();
        if let Some(host) = head.headers.remove("host") {
            let host = host.to_str().map_err(|error| error.to_string())?;
            let uri = format!("{}://{host}{}", self.scheme, head.uri);
            head.uri = uri.parse().map_err(|error| format!("{error}"))?;
        }
        within(async {
            let response = self
                .sender
                .send_request(Request::from_parts(head, body))
                .await
                .map_err(|error| format!("no answer: {error:?}"))?;
            collect(response).await
        })
        .await
    }
}

impl<B> Drop for Http2Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Connection<B> {
    sender: http1::SendRequest<B>,
    driver: tokio::task::JoinHandle<()>,
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    /// Opens it.
    pub async fn open(address: impl Into<Address>) -> Result<Self, String> {
        Self::over(connect(&address.into()).await?).await
    }

    /// Speaks HTTP/1.1 over what is open already.
    pub async fn over(stream: Box<dyn Stream>) -> Result<Self, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("HTTP/1.1 handshake: {error:?}"))?;
        let driver = tokio::spawn(async move {
            // Its errors reach the request that meets them.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender, driver })
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&mut self, request: Request<B>) -> Result<Answer, String> {
        within(async { collect(self.send(request).await?).await }).await
    }

    /// Asks, and gives the answer once its head is here.
    pub async fn send(
        &mut self,
        request: Request<B>,
    ) -> Result<http::Response<hyper::body::Incoming>, String> {
        within(async {
            self.sender.send_request(request).await.map_err(|error| format!("no answer: {error:?}"))
        })
        .await
    }

    /// Like [`Self::ask`]; gives the request back if the connection had ended before it was sent.
    pub async fn try_ask(&mut self, request: Request<B>) -> Result<Result<Answer, String>, Request<B>> {
        if self.sender.ready().await.is_err() {
            return Err(request);
        }
        let answer = timeout(ANSWER_LIMIT, async {
            match self.sender.try_send_request(request).await {
                Ok(response) => Ok(collect(response).await),
                Err(mut error) => match error.take_message() {
                    Some(request) => Err(request),
                    None => Ok(Err(format!("no answer: {:?}", error.error()))),
                },
            }
        });
        answer.await.unwrap_or_else(|_elapsed| Ok(Err(format!("no answer within {ANSWER_LIMIT:?}"))))
    }

    /// The other side has closed it, or said that it will.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads a whole answer.
pub async fn collect(response: http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body =
        body.collect().await.map_err(|error| format!("status {}, body cut: {error:?}", head.status))?;
    let trailers = body.trailers().cloned();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers })
}

async fn within<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(ANSWER_LIMIT, answer)
        .await
        .unwrap_or_else(|_elapsed| Err(format!("no answer within {ANSWER_LIMIT:?}")))
}

/// A client that sends bytes and sees bytes.
#[derive(Debug)]
pub struct RawClient {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

/// An answer as bytes.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// Status line and fields, without the empty line.
    pub head: String,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The status; 0 where the first line is not a status line.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// A field, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        field(&self.head, name).unwrap_or_default()
    }
}

impl RawClient {
    /// Opens a connection.
    pub async fn connect(address: impl Into<Address>) -> Self {
        Self::over(connect(&address.into()).await.expect("the address listens"))
    }

    /// Sends and sees what is under another protocol.
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the connection takes the bytes");
        self.stream.flush().await.expect("the connection takes the bytes");
    }

    /// Sends bytes; an error where the other side has closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends no more, and still reads.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads up to and without the next empty line.
    pub async fn read_head(&mut self) -> Result<String, String> {
        within(async {
            loop {
                if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                    self.unread.drain(..end + 4);
                    return Ok(head);
                }
                if self.more().await? == 0 {
                    return Err(format!("closed within a head: {:?}", String::from_utf8_lossy(&self.unread)));
                }
            }
        })
        .await
    }

    /// Reads a whole answer to a request other than HEAD.
    pub async fn read_answer(&mut self) -> Result<RawAnswer, String> {
        let head = self.read_head().await?;
        let body = if let Some(length) = field(&head, "content-length") {
            let length = length.parse().map_err(|error| format!("content-length {length}: {error}"))?;
            self.read_exactly(length).await?
        } else if field(&head, "transfer-encoding").is_some() {
            self.read_chunks().await?
        } else if [" 204", " 304", " 100", " 101"].iter().any(|status| head.contains(status)) {
            Vec::new()
        } else {
            self.read_to_end().await?
        };
        Ok(RawAnswer { head, body })
    }

    /// Reads exactly so many bytes.
    pub async fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, String> {
        within(async {
            while self.unread.len() < length {
                if self.more().await? == 0 {
                    return Err(format!("closed after {} of {length} bytes", self.unread.len()));
                }
            }
            Ok(self.unread.drain(..length).collect())
        })
        .await
    }

    /// Reads until the other side closes.
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, String> {
        within(async {
            while self.more().await? > 0 {}
            Ok(std::mem::take(&mut self.unread))
        })
        .await
    }

    /// Waits for the other side to close; a reset counts. False if it is still open after `limit`.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        timeout(limit, async { while self.more().await.is_ok_and(|count| count > 0) {} }).await.is_ok()
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await?;
            let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|error| format!("chunk length {line:?}: {error}"))?;
            if length == 0 {
                // Trailers end with an empty line.
                while !self.read_line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.read_exactly(length).await?);
            self.read_exactly(2).await?;
        }
    }

    async fn read_line(&mut self) -> Result<String, String> {
        within(async {
            loop {
                if let Some(end) = find(&self.unread, b"\r\n") {
                    let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                    self.unread.drain(..end + 2);
                    return Ok(line);
                }
                if self.more().await? == 0 {
                    return Err("closed within a line".into());
                }
            }
        })
        .await
    }

    async fn more(&mut self) -> Result<usize, String> {
        self.stream.read_buf(&mut self.unread).await.map_err(|error| format!("read: {error}"))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Opens a WebSocket.
pub async fn websocket(
    address: impl Into<Address>,
    host: &str,
    target: &str,
) -> Result<WebSocketStream<Box<dyn Stream>>, String> {
    within(async {
        let stream = connect(&address.into()).await?;
        let url = format!("ws://{host}{target}");
        let (socket, _response) = tokio_tungstenite::client_async(url, stream)
            .await
            .map_err(|error| format!("no WebSocket: {error}"))?;
        Ok(socket)
    })
    .await
}

//! A small client of the admin API, over TCP or the Unix socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use config::install::{Install, ListenAddress};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::arguments::{Arguments, Opt};
use super::offline::block_on;
use super::{chain, load_install};
use crate::control::admin::token_path;

/// How long one place may take to answer. A reload waits for its providers.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Where state lies when nothing is configured.
const DEFAULT_STATE_DIR: &str = "/var/lib/hearthgate";

/// The option that all commands share which talk to the running gateway.
pub(super) const fn admin_option() -> Opt {
    Opt { names: &["--admin"], takes_value: true }
}

/// Where the admin listener may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp(String),
    Unix(PathBuf),
}

/// Talks to the running gateway.
#[derive(Debug)]
pub(super) struct Client {
    /// In the order in which they are tried.
    places: Vec<Place>,
    host: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("the gateway is not reachable: {0}")]
pub(super) struct Unreachable(String);

impl Answer {
    /// What the gateway says is wrong.
    pub(super) fn complaint(&self) -> String {
        let detail = serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|value| value["detail"].as_str().map(ToOwned::to_owned));
        match detail {
            Some(detail) => format!("the gateway answers {}: {detail}", self.status),
            None => format!("the gateway answers {}", self.status),
        }
    }

    /// The body as JSON; `Null` if it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// For the gateway that `--admin` names, or else the one of this configuration. A configuration that cannot
    /// be loaded leaves the default places: a health check must not depend on it.
    pub(super) fn of(arguments: &Arguments) -> Result<Self, String> {
        let install = load_install(&arguments.install).ok().map(|loaded| loaded.install);
        let state_dir = match &install {
            Some(install) => install.state_dir.clone(),
            None => PathBuf::from(DEFAULT_STATE_DIR),
        };
        let places = match arguments.value("--admin") {
            None | Some("auto") => places(install.as_ref(), &state_dir),
            Some(address) => vec![place(address)?],
        };
        let host = install.as_ref().and_then(|install| install.admin.allowed_hosts.first());
        let token = match install.as_ref().and_then(|install| install.admin.token.as_ref()) {
            Some(token) => Some(token.expose().clone()),
            // Without the right to read it, reading still works where it is open.
            None => std::fs::read_to_string(token_path(&state_dir)).ok().map(|token| token.trim().to_owned()),
        };
        Ok(Self { places, host: host.map_or_else(|| "localhost".to_owned(), |host| bracketed(host)), token })
    }

    /// Reads; the first place that answers counts.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Unreachable> {
        self.call(Method::GET, path, Bytes::new(), |_| true)
    }

    /// Reads; the first place whose answer is a success counts, else the last answer.
    pub(super) fn get_success(&self, path: &str) -> Result<Answer, Unreachable> {
        self.call(Method::GET, path, Bytes::new(), |answer| answer.status == 200)
    }

    /// Changes something.
    pub(super) fn post(&self, path: &str) -> Result<Answer, Unreachable> {
        self.call(Method::POST, path, Bytes::new(), |_| true)
    }

    /// Changes something that the body names.
    pub(super) fn post_json(&self, path: &str, body: &Value) -> Result<Answer, Unreachable> {
        self.call(Method::POST, path, Bytes::from(body.to_string()), |_| true)
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        counts: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, Unreachable> {
        let asked = block_on(async {
            let mut failures = Vec::new();
            let mut answered = None;
            for place in &self.places {
                match tokio::time::timeout(TIMEOUT, self.ask(place, &method, path, body.clone())).await {
                    Ok(Ok(answer)) if counts(&answer) => return Ok(answer),
                    Ok(Ok(answer)) => answered = Some(answer),
                    Ok(Err(error)) => failures.push(format!("{}: {}", place.name(), chain(&*error))),
                    Err(_) => failures.push(format!("{}: no answer in time", place.name())),
                }
            }
            answered.ok_or_else(|| Unreachable(failures.join("; ")))
        });
        asked.map_err(Unreachable)?
    }

    async fn ask(
        &self,
        place: &Place,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body))?;
        match place {
            Place::Tcp(address) => send(tokio::net::TcpStream::connect(address).await?, request).await,
            Place::Unix(path) => send(tokio::net::UnixStream::connect(path).await?, request).await,
        }
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end first although the answer is whole.
        _ = connection => exchange.await,
    }
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.clone(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// The configured address, the default one, and the socket that the listener moves to when that is taken.
fn places(install: Option<&Install>, state_dir: &Path) -> Vec<Place> {
    let configured = install.map(|install| match &install.admin.address {
        ListenAddress::AnyAddress { port } => Place::Tcp(format!("127.0.0.1:{port}")),
        ListenAddress::Address(address) => Place::Tcp(reachable(*address).to_string()),
        ListenAddress::Unix { path, .. } => Place::Unix(path.clone()),
    });
    let was_set = install.is_some_and(|install| install.admin.address_was_set);
    let defaults = [Place::Tcp("127.0.0.1:8080".to_owned()), Place::Unix(state_dir.join("admin.sock"))];
    let mut places: Vec<Place> = configured.into_iter().collect();
    if !was_set {
        places.extend(defaults.into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>());
    }
    places
}

/// An address that was written with `--admin`.
fn place(address: &str) -> Result<Place, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Place::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
    }
    let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    match address.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => Ok(Place::Tcp(format!("127.0.0.1:{port}"))),
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(Place::Tcp(address.to_owned())),
        Some(_) | None => Err(format!(
            "`{address}` is not an address; write `127.0.0.1:8080` or `unix:/run/hearthgate/admin.sock`"
        )),
    }
}

/// Where a listener on all addresses can be reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (address, expected) in [
            ("127.0.0.1:8080", Ok(Place::Tcp("127.0.0.1:8080".to_owned()))),
            (":8080", Ok(Place::Tcp("127.0.0.1:8080".to_owned()))),
            ("http://gateway:8080/", Ok(Place::Tcp("gateway:8080".to_owned()))),
            ("[::1]:8080", Ok(Place::Tcp("[::1]:8080".to_owned()))),
            ("unix:/run/a.sock", Ok(Place::Unix(PathBuf::from("/run/a.sock")))),
            ("unix:///run/a.sock", Ok(Place::Unix(PathBuf::from("/run/a.sock")))),
            ("gateway", Err(())),
        ] {
            assert_eq!(place(address).map_err(|_| ()), expected, "{address}");
        }
    }

    #[test]
    fn without_a_configuration_the_default_places_are_tried() {
        assert_eq!(
            places(None, Path::new("/state")),
            [Place::Tcp("127.0.0.1:8080".to_owned()), Place::Unix(PathBuf::from("/state/admin.sock"))]
        );
    }
}

//! `api@internal`, `ping@internal` and their like: the handlers of the admin API behind ordinary routers, with
//! what those routers add (middlewares, other entry points).

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use config::install::acme::CHALLENGE_PATH;
use config::routing::InternalService;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};

use super::AdminState;
use super::answer::{Answer, problem, text};
use crate::internal::{InternalRequest, InternalServices};

/// Answers for our own services.
#[derive(Debug, Clone)]
pub struct AdminServices(Arc<AdminState>);

impl AdminServices {
    /// The same state as the admin listener's.
    pub fn new(state: Arc<AdminState>) -> Self {
        Self(state)
    }
}

#[async_trait]
impl InternalServices for AdminServices {
    async fn answer(&self, request: InternalRequest<'_>) -> Response<Bytes> {
        let state = &self.0;
        let head = request.head;
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        let answer = match request.service {
            InternalService::Noop => {
                text(StatusCode::IM_A_TEAPOT, "text/plain; charset=utf-8", "I'm a teapot\n")
            }
            InternalService::Whoami => whoami(&request),
            _ if !reads => {
                let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "this service only reads");
                refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                refusal
            }
            InternalService::Ping => state.ping(),
            InternalService::Prometheus => state.metrics(&head.headers),
            InternalService::AcmeHttp => state.challenge(head.uri.path()),
            // Ours beside Traefik's read API (problems, explain, reload) stay on the admin listener.
            InternalService::Api => state.read_api(&head.uri, &head.headers).unwrap_or_else(not_found),
            InternalService::Dashboard => {
                if head.uri.path().starts_with("/api/") {
                    not_found()
                } else {
                    state.read_api(&head.uri, &head.headers).unwrap_or_else(not_found)
                }
            }
        };
        if head.method == Method::HEAD { answer.map(|_| Bytes::new()) } else { answer }
    }
}

impl AdminState {
    /// What proves a name to the ACME server, for routers elsewhere than on the challenge's own entry point: there, the
    /// hot path has answered already.
    fn challenge(&self, path: &str) -> Answer {
        let snapshot = self.snapshot.load();
        let proof = path.strip_prefix(CHALLENGE_PATH).and_then(|token| snapshot.challenges.http.get(token));
        let answer = |proof: &Arc<str>| text(StatusCode::OK, "text/plain; charset=utf-8", proof.to_string());
        proof.map_or_else(not_found, answer)
    }
}

fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
}

/// What the gateway saw: the visitor's address, why it was believed, and the request as a server would get it.
fn whoami(request: &InternalRequest<'_>) -> Answer {
    let head = request.head;
    let version = match head.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let mut page = String::new();
    let peer = request.peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
    // Writing to a string does not fail.
    let _ = writeln!(page, "Client: {}", request.client);
    let _ = writeln!(page, "Why: {}", request.client_reason);
    let _ = writeln!(page, "Peer: {peer}");
    let _ = match request.tls {
        None => writeln!(page, "TLS: no"),
        Some(tls) if tls.client_subject.is_empty() => {
            writeln!(page, "TLS: {}, {}", tls.version, tls.cipher)
        }
        Some(tls) => {
            writeln!(page, "TLS: {}, {}, client {}", tls.version, tls.cipher, tls.client_subject)
        }
    };
    let _ = writeln!(page);
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let _ = writeln!(page, "{} {target} {version}", head.method);
    if let Some(authority) = head.uri.authority().filter(|_| !head.headers.contains_key(header::HOST)) {
        let _ = writeln!(page, "host: {authority}");
    }
    let mut fields: Vec<_> = head.headers.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in fields {
        let _ = writeln!(page, "{name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug());
    }
    text(StatusCode::OK, "text/plain; charset=utf-8", page)
}

//! Middlewares: what a route does to a request and its answer. They see request heads, never sockets.

mod redirect_scheme;

use bytes::Bytes;
use config::routing::middleware::Middleware as Settings;
use http::{Method, Response};

pub use self::redirect_scheme::RedirectScheme;

/// A middleware, built from its settings. What is not built yet makes its routers answer 503 with the reason, unless
/// leaving it out lets nothing more through (decided in `config::routing::validate`).
#[derive(Debug, Clone)]
pub enum Middleware {
    /// `redirectScheme`.
    RedirectScheme(RedirectScheme),
}

/// What a middleware sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// It came over TLS, or a trusted proxy says that it did.
    pub https: bool,
    /// The host without port and brackets; empty where there is none.
    pub host: &'a str,
    /// The port, where one was named.
    pub port: Option<u16>,
    /// Canonical path, as it would be forwarded.
    pub path: &'a str,
    /// Canonical query.
    pub query: Option<&'a str>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on to the next middleware, and behind the last to its service.
    Continue,
    /// It is answered here.
    Respond(Response<Bytes>),
}

impl Middleware {
    /// Builds it.
    pub fn new(settings: &Settings) -> Self {
        match settings {
            Settings::RedirectScheme(settings) => Self::RedirectScheme(RedirectScheme::new(settings)),
        }
    }

    /// What it does with a request.
    pub fn handle(&self, asked: &Asked<'_>) -> Outcome {
        match self {
            Self::RedirectScheme(redirect) => redirect.handle(asked),
        }
    }
}

//! The one list of answers that we make ourselves, in place of a server's: status, a short fixed sentence, and
//! a reason for log and metrics. The client never learns a cause, path or address.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// An answer in place of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The head is not a request we pass on (security.md section 5). Closes.
    BadRequest(&'static str),
    /// The head did not arrive in time. Closes.
    HeadTimeout,
    /// The head is too large or has too many fields. Closes.
    HeadTooLarge,
    /// CONNECT, TRACE. Closes.
    MethodNotAllowed,
    /// `Expect` with anything but `100-continue`.
    ExpectationFailed,
    /// No router matches: Traefik's `404 page not found`.
    NoRoute,
    /// The request has been through this router before.
    Loop,
    /// A service without a server: stopped, starting, unhealthy, or none at all. The reason goes to the log and
    /// to `explain`; the client gets a fixed sentence and `Retry-After`.
    NoServer {
        /// Why, for the log.
        reason: Arc<str>,
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// The route needs something that could not be built.
    RouteUnavailable {
        /// Why, for the log.
        reason: Arc<str>,
    },
    /// The server refused, reset, or answered nonsense.
    BadGateway(&'static str),
    /// The server did not answer in time.
    GatewayTimeout(&'static str),
    /// `noop@internal`.
    Teapot,
    /// Draining: no new work.
    Draining,
}

impl Rejection {
    /// What the client sees.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Loop => StatusCode::BAD_REQUEST,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoServer { .. } | Self::RouteUnavailable { .. } | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Teapot => StatusCode::IM_A_TEAPOT,
        }
    }
}

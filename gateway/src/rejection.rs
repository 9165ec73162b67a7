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
    /// The request target is too long. Closes.
    TargetTooLong,
    /// A version of HTTP that we do not speak. Closes.
    VersionNotSupported,
    /// CONNECT, TRACE. Closes.
    MethodNotAllowed,
    /// `Expect` with anything but `100-continue`.
    ExpectationFailed,
    /// The client stopped sending its body. Closes.
    BodyTimeout,
    /// No router matches: Traefik's `404 page not found`.
    NoRoute,
    /// The request has been through this router before.
    Loop,
    /// The connection was made under other TLS options than the host asks for.
    Misdirected,
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
    /// Something of ours failed.
    Internal(&'static str),
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
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoServer { .. } | Self::RouteUnavailable { .. } | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Teapot => StatusCode::IM_A_TEAPOT,
        }
    }

    /// The sentence that the client reads, as plain text. Where Traefik has one, it is Traefik's.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "Bad Request",
            Self::HeadTimeout | Self::BodyTimeout => "Request Timeout",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::TargetTooLong => "URI Too Long",
            Self::VersionNotSupported => "HTTP Version Not Supported",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::ExpectationFailed => "Expectation Failed",
            Self::NoRoute => "404 page not found\n",
            Self::Misdirected => "Misdirected Request\n",
            Self::Loop => "Bad Request: this request has been here before\n",
            Self::NoServer { .. } => "no available server\n",
            Self::RouteUnavailable { .. } | Self::Draining => "Service Unavailable",
            Self::BadGateway(_) => "Bad Gateway",
            Self::GatewayTimeout(_) => "Gateway Timeout",
            Self::Internal(_) => "Internal Server Error",
            Self::Teapot => "I'm a teapot",
        }
    }

    /// Why, for log and metrics.
    pub fn reason(&self) -> &str {
        match self {
            Self::BadRequest(reason)
            | Self::BadGateway(reason)
            | Self::GatewayTimeout(reason)
            | Self::Internal(reason) => reason,
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::VersionNotSupported => "http_version",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ExpectationFailed => "expectation_failed",
            Self::NoRoute => "no_route",
            Self::Loop => "loop",
            Self::Misdirected => "misdirected",
            Self::NoServer { reason, .. } | Self::RouteUnavailable { reason } => reason,
            Self::Teapot => "noop",
            Self::Draining => "draining",
        }
    }

    /// For `Retry-After`, where coming back soon makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoServer { retry_after, .. } => Some(*retry_after),
            Self::Draining => Some(Duration::from_secs(1)),
            Self::BadRequest(_)
            | Self::HeadTimeout
            | Self::HeadTooLarge
            | Self::TargetTooLong
            | Self::VersionNotSupported
            | Self::MethodNotAllowed
            | Self::ExpectationFailed
            | Self::BodyTimeout
            | Self::NoRoute
            | Self::Loop
            | Self::Misdirected
            | Self::RouteUnavailable { .. }
            | Self::BadGateway(_)
            | Self::GatewayTimeout(_)
            | Self::Internal(_)
            | Self::Teapot => None,
        }
    }

    /// The connection is closed after it: what follows on it cannot be trusted.
    pub fn closes(&self) -> bool {
        match self {
            Self::BadRequest(_)
            | Self::HeadTimeout
            | Self::HeadTooLarge
            | Self::TargetTooLong
            | Self::VersionNotSupported
            | Self::MethodNotAllowed
            | Self::ExpectationFailed
            | Self::BodyTimeout
            | Self::Draining => true,
            Self::NoRoute
            | Self::Loop
            | Self::Misdirected
            | Self::NoServer { .. }
            | Self::RouteUnavailable { .. }
            | Self::BadGateway(_)
            | Self::GatewayTimeout(_)
            | Self::Internal(_)
            | Self::Teapot => false,
        }
    }
}

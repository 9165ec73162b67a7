//! Options of middlewares about how much, and what happens when a server fails: rates, requests in flight, buffers, breakers, retries.

use serde::{Deserialize, Serialize};

use super::super::value::{is_default, milliseconds, seconds, show_secret};
use super::access::{RawClientTls, RawIpStrategy};
use crate::document::{GoDuration, stand_alone};
use crate::secret::Secret;

/// `rateLimit`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRateLimit {
    /// Requests a period; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub average: i64,
    /// The period.
    pub period: GoDuration,
    /// At one time.
    pub burst: i64,
    /// Who is counted.
    #[serde(skip_serializing_if = "is_default")]
    pub source_criterion: Option<RawSourceCriterion>,
    /// Shared between gateways.
    #[serde(skip_serializing_if = "is_default")]
    pub redis: Option<RawRedis>,
}

impl Default for RawRateLimit {
    fn default() -> Self {
        Self { average: 0, period: seconds(1), burst: 1, source_criterion: None, redis: None }
    }
}

/// `sourceCriterion`: who is counted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawSourceCriterion {
    /// By address.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub ip_strategy: Option<RawIpStrategy>,
    /// By header.
    #[serde(skip_serializing_if = "is_default")]
    pub request_header_name: String,
    /// By host.
    #[serde(skip_serializing_if = "is_default")]
    pub request_host: bool,
}

/// `rateLimit.redis`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRedis {
    /// `host:port`.
    #[serde(skip_serializing_if = "is_default")]
    pub endpoints: Vec<String>,
    /// TLS towards it.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<RawClientTls>,
    /// User name.
    #[serde(skip_serializing_if = "is_default")]
    pub username: String,
    /// Password.
    #[serde(serialize_with = "show_secret", skip_serializing_if = "is_default")]
    pub password: Secret<String>,
    /// Database number.
    #[serde(skip_serializing_if = "is_default")]
    pub db: i64,
    /// Connections.
    #[serde(skip_serializing_if = "is_default")]
    pub pool_size: i64,
    /// Connections kept idle.
    #[serde(skip_serializing_if = "is_default")]
    pub min_idle_conns: i64,
    /// Connections at most.
    #[serde(skip_serializing_if = "is_default")]
    pub max_active_conns: i64,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub read_timeout: Option<GoDuration>,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub write_timeout: Option<GoDuration>,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Option<GoDuration>,
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            endpoints: vec!["localhost:6379".to_owned()],
            tls: None,
            username: String::new(),
            password: Secret::default(),
            db: 0,
            pool_size: 0,
            min_idle_conns: 0,
            max_active_conns: 0,
            read_timeout: Some(seconds(3)),
            write_timeout: Some(seconds(3)),
            dial_timeout: Some(seconds(5)),
        }
    }
}

/// `inFlightReq`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawInFlightReq {
    /// How many.
    #[serde(skip_serializing_if = "is_default")]
    pub amount: i64,
    /// Who is counted.
    #[serde(skip_serializing_if = "is_default")]
    pub source_criterion: Option<RawSourceCriterion>,
}

/// `buffering`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawBuffering {
    /// Larger bodies are refused; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_request_body_bytes: i64,
    /// Beyond it, on disk.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_request_body_bytes: i64,
    /// Larger answers are an error; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_response_body_bytes: i64,
    /// Beyond it, on disk.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_response_body_bytes: i64,
    /// When to try again.
    #[serde(skip_serializing_if = "is_default")]
    pub retry_expression: String,
}

impl Default for RawBuffering {
    fn default() -> Self {
        Self {
            max_request_body_bytes: 0,
            mem_request_body_bytes: 1_048_576,
            max_response_body_bytes: 0,
            mem_response_body_bytes: 1_048_576,
            retry_expression: String::new(),
        }
    }
}

/// `circuitBreaker`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCircuitBreaker {
    /// When to pause.
    #[serde(skip_serializing_if = "is_default")]
    pub expression: String,
    /// Between looks.
    #[serde(skip_serializing_if = "is_default")]
    pub check_period: GoDuration,
    /// Pause.
    #[serde(skip_serializing_if = "is_default")]
    pub fallback_duration: GoDuration,
    /// Slow start after it.
    #[serde(skip_serializing_if = "is_default")]
    pub recovery_duration: GoDuration,
    /// Status during the pause.
    #[serde(skip_serializing_if = "is_default")]
    pub response_code: i64,
}

impl Default for RawCircuitBreaker {
    fn default() -> Self {
        Self {
            expression: String::new(),
            check_period: milliseconds(100),
            fallback_duration: seconds(10),
            recovery_duration: seconds(10),
            response_code: 503,
        }
    }
}

/// `retry`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRetry {
    /// Tries in all.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: i64,
    /// Wait before the second.
    #[serde(skip_serializing_if = "is_default")]
    pub initial_interval: GoDuration,
    /// No new try after it; 0 = none.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: GoDuration,
    /// Larger bodies are not sent again.
    #[serde(skip_serializing_if = "is_default")]
    pub max_request_body_bytes: Option<i64>,
    /// Codes that count as failure.
    #[serde(skip_serializing_if = "is_default")]
    pub status: Vec<String>,
    /// Only codes count.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_retry_on_network_error: bool,
    /// POST and the like too.
    #[serde(skip_serializing_if = "is_default")]
    pub retry_non_idempotent_method: bool,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self {
            attempts: 0,
            initial_interval: GoDuration::default(),
            timeout: GoDuration::default(),
            max_request_body_bytes: Some(2_097_152),
            status: Vec::new(),
            disable_retry_on_network_error: false,
            retry_non_idempotent_method: false,
        }
    }
}

//! HTTP services.

use serde::{Deserialize, Serialize};

use super::value::{is_default, milliseconds, seconds, show_headers};
use crate::document::{GoDuration, TextMap, stand_alone};

/// An HTTP service as written: one of these types.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawService {
    /// Servers.
    #[serde(skip_serializing_if = "is_default")]
    pub load_balancer: Option<RawLoadBalancer>,
    /// Other services, by the client's address.
    #[serde(skip_serializing_if = "is_default")]
    pub highest_random_weight: Option<RawHighestRandomWeight>,
    /// Other services, by weight.
    #[serde(skip_serializing_if = "is_default")]
    pub weighted: Option<RawWeighted>,
    /// One service, copies to others.
    #[serde(skip_serializing_if = "is_default")]
    pub mirroring: Option<RawMirroring>,
    /// One service, another when it fails.
    #[serde(skip_serializing_if = "is_default")]
    pub failover: Option<RawFailover>,
    /// In front of it for every router, after the router's own.
    #[serde(skip_serializing_if = "is_default")]
    pub middlewares: Vec<String>,
    /// Hearthgate: with `labelScope: container`, other containers may use it.
    #[serde(skip_serializing_if = "is_default")]
    pub export: bool,
}

/// Servers of an HTTP service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawLoadBalancer {
    /// Affinity.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub sticky: Option<RawSticky>,
    /// Addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub servers: Vec<RawServer>,
    /// `wrr`, `p2c`, `hrw`, `leasttime`.
    pub strategy: String,
    /// Active health check.
    #[serde(skip_serializing_if = "is_default")]
    pub health_check: Option<RawHealthCheck>,
    /// Passive health check.
    #[serde(skip_serializing_if = "is_default")]
    pub passive_health_check: Option<RawPassiveHealthCheck>,
    /// Forward the client's Host.
    pub pass_host_header: bool,
    /// How the response is passed on.
    pub response_forwarding: RawResponseForwarding,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub servers_transport: String,
    /// Hearthgate: HTTPS servers without a named transport.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<RawServerTls>,
    /// Labels only: the one server of the container, before its address is known.
    #[serde(skip_serializing)]
    pub server: Option<RawLabelServer>,
}

impl Default for RawLoadBalancer {
    fn default() -> Self {
        Self {
            sticky: None,
            servers: Vec::new(),
            strategy: "wrr".to_owned(),
            health_check: None,
            passive_health_check: None,
            pass_host_header: true,
            response_forwarding: RawResponseForwarding::default(),
            servers_transport: String::new(),
            tls: None,
            server: None,
        }
    }
}

/// A server of an HTTP service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawServer {
    /// `http://10.0.0.1:80`.
    #[serde(skip_serializing_if = "is_default")]
    pub url: String,
    /// Share of requests; 1 when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub weight: Option<i64>,
    /// Put the URL's path in front of the request's.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_path: bool,
    /// Kubernetes only.
    #[serde(skip_serializing_if = "is_default")]
    pub fenced: bool,
    /// Hearthgate: digest of the one certificate that it may show.
    #[serde(skip_serializing_if = "is_default")]
    pub pin: String,
}

/// Labels only: what a container says about its one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawLabelServer {
    /// Its port; empty: the lowest exposed one.
    pub port: String,
    /// `http`, `https`, `h2c`; empty: `http`.
    pub scheme: String,
    /// The whole URL; excludes port and scheme.
    pub url: String,
    /// Share of requests; 1 when not set.
    pub weight: Option<i64>,
    /// Put the URL's path in front of the request's.
    pub preserve_path: bool,
    /// Hearthgate: digest of the one certificate that it may show.
    pub pin: String,
}

/// What a container's labels ask of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedServer {
    /// This URL, whatever the container's address.
    Url(String),
    /// The container's address with this scheme.
    Address {
        /// `http`, `https`, `h2c`.
        scheme: String,
        /// This port, or the lowest exposed one.
        port: Option<u16>,
    },
}

impl RawLoadBalancer {
    /// What the labels ask of the container's address. The error is a message for the user.
    pub fn wanted_server(&self) -> Result<WantedServer, String> {
        let Some(server) = &self.server else {
            return Ok(WantedServer::Address { scheme: "http".to_owned(), port: None });
        };
        if !server.url.is_empty() {
            if !server.port.is_empty() || !server.scheme.is_empty() {
                return Err("`loadbalancer.server.url` excludes `.port` and `.scheme`".to_owned());
            }
            return Ok(WantedServer::Url(server.url.clone()));
        }
        let scheme = if server.scheme.is_empty() { "http" } else { server.scheme.as_str() };
        if !["http", "https", "h2c"].contains(&scheme) {
            return Err(format!("unknown scheme `{scheme}`; known are `http`, `https`, `h2c`"));
        }
        Ok(WantedServer::Address { scheme: scheme.to_owned(), port: wanted_port(&server.port)? })
    }

    /// Puts these URLs in place of what the labels asked for; none for a container that does not run.
    pub fn place_servers(&mut self, urls: impl IntoIterator<Item = String>) {
        let server = self.server.take().unwrap_or_default();
        self.servers = urls
            .into_iter()
            .map(|url| RawServer {
                url,
                weight: server.weight,
                preserve_path: server.preserve_path,
                fenced: false,
                pin: server.pin.clone(),
            })
            .collect();
    }
}

/// A port as labels write it; none where nothing is written. The error is a message for the user.
pub fn wanted_port(written: &str) -> Result<Option<u16>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    match written.parse::<u16>() {
        Ok(port) if port > 0 && !written.starts_with('+') => Ok(Some(port)),
        Ok(_) | Err(_) => Err(format!("`{written}` is not a port from 1 to 65535")),
    }
}

/// Hearthgate: `tls` of a load balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawServerTls {
    /// Take any certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub skip_verify: bool,
    /// Authority that its certificate must come from.
    #[serde(skip_serializing_if = "is_default")]
    pub ca_file: String,
}

/// `responseForwarding`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawResponseForwarding {
    /// Every part is passed on at once here, which is what a negative value asks for.
    pub flush_interval: GoDuration,
}

impl Default for RawResponseForwarding {
    fn default() -> Self {
        Self { flush_interval: milliseconds(100) }
    }
}

/// `sticky`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawSticky {
    /// The cookie that carries it.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub cookie: Option<RawCookie>,
}

/// `sticky.cookie`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCookie {
    /// Its name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Attribute.
    #[serde(skip_serializing_if = "is_default")]
    pub secure: bool,
    /// Attribute.
    #[serde(skip_serializing_if = "is_default")]
    pub http_only: bool,
    /// Attribute.
    #[serde(skip_serializing_if = "is_default")]
    pub same_site: String,
    /// Attribute, seconds.
    #[serde(skip_serializing_if = "is_default")]
    pub max_age: i64,
    /// Attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Attribute.
    #[serde(skip_serializing_if = "is_default")]
    pub domain: String,
}

impl Default for RawCookie {
    fn default() -> Self {
        Self {
            name: String::new(),
            secure: false,
            http_only: false,
            same_site: String::new(),
            max_age: 0,
            path: Some("/".to_owned()),
            domain: String::new(),
        }
    }
}

/// `healthCheck` of servers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawHealthCheck {
    /// The server's when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub scheme: String,
    /// `http` or `grpc`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: String,
    /// What is asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub path: String,
    /// GET when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub method: String,
    /// 0: any 2xx or 3xx.
    #[serde(skip_serializing_if = "is_default")]
    pub status: i64,
    /// The server's when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub port: i64,
    /// Between checks.
    pub interval: GoDuration,
    /// Between checks of a server that is down.
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy_interval: Option<GoDuration>,
    /// Of one check.
    pub timeout: GoDuration,
    /// Host of the check.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: String,
    /// Go where a redirect points.
    pub follow_redirects: bool,
    /// Headers of the check.
    #[serde(serialize_with = "show_headers", skip_serializing_if = "is_default")]
    pub headers: TextMap,
}

impl Default for RawHealthCheck {
    fn default() -> Self {
        Self {
            scheme: String::new(),
            mode: "http".to_owned(),
            path: String::new(),
            method: String::new(),
            status: 0,
            port: 0,
            interval: seconds(30),
            unhealthy_interval: None,
            timeout: seconds(5),
            hostname: String::new(),
            follow_redirects: true,
            headers: TextMap::default(),
        }
    }
}

/// `passiveHealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawPassiveHealthCheck {
    /// Failures are counted within it, and it is how long a server is out.
    pub failure_window: GoDuration,
    /// That many take the server out.
    pub max_failed_attempts: i64,
}

impl Default for RawPassiveHealthCheck {
    fn default() -> Self {
        Self { failure_window: seconds(10), max_failed_attempts: 1 }
    }
}

/// `weighted`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawWeighted {
    /// Children.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<RawWeightedService>,
    /// Affinity.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub sticky: Option<RawSticky>,
    /// Carries the children's state upwards.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<RawEmpty>,
}

/// A child of `weighted` or `highestRandomWeight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawWeightedService {
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// 1 when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub weight: Option<i64>,
}

/// `highestRandomWeight`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawHighestRandomWeight {
    /// Children.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<RawWeightedService>,
    /// Carries the children's state upwards.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<RawEmpty>,
}

/// A block that is only there or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawEmpty {}

/// `mirroring`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawMirroring {
    /// Whose answer counts, as referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// Mirror bodies too.
    pub mirror_body: bool,
    /// Larger bodies are not mirrored; -1 = no limit.
    pub max_body_size: i64,
    /// Who gets copies.
    #[serde(skip_serializing_if = "is_default")]
    pub mirrors: Vec<RawMirror>,
    /// Carries the main service's state upwards.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<RawEmpty>,
}

impl Default for RawMirroring {
    fn default() -> Self {
        Self {
            service: String::new(),
            mirror_body: true,
            max_body_size: -1,
            mirrors: Vec::new(),
            health_check: None,
        }
    }
}

/// `mirroring.mirrors[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawMirror {
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Share of requests.
    #[serde(skip_serializing_if = "is_default")]
    pub percent: i64,
}

/// `failover`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawFailover {
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub fallback: String,
    /// Carries the children's state upwards.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<RawEmpty>,
    /// Answers that count as failure.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: Option<RawFailoverErrors>,
}

/// `failover.errors`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawFailoverErrors {
    /// Codes and ranges.
    #[serde(skip_serializing_if = "is_default")]
    pub status: Vec<String>,
    /// Larger bodies are refused (413); -1 = no limit.
    pub max_request_body_bytes: i64,
}

impl Default for RawFailoverErrors {
    fn default() -> Self {
        Self { status: Vec::new(), max_request_body_bytes: -1 }
    }
}

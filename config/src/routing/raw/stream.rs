//! TCP and UDP items.

use serde::{Deserialize, Serialize};

use super::value::{is_default, milliseconds, seconds};
use super::{RawCertificate, RawRouterTls, RawSpiffe, RawWeightedService, wanted_port};
use crate::document::{GoDuration, stand_alone};

/// A TCP router as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpRouter {
    /// Where it listens; empty: the default entry points.
    #[serde(skip_serializing_if = "is_default")]
    pub entry_points: Vec<String>,
    /// In order, as referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub middlewares: Vec<String>,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// What it matches.
    #[serde(skip_serializing_if = "is_default")]
    pub rule: String,
    /// Deprecated.
    #[serde(skip_serializing_if = "is_default")]
    pub rule_syntax: String,
    /// 0 = length of the rule.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i64,
    /// TLS is ended here, or passed through.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub tls: Option<RawRouterTls>,
}

/// A TCP service as written: one of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpService {
    /// Servers.
    #[serde(skip_serializing_if = "is_default")]
    pub load_balancer: Option<RawTcpLoadBalancer>,
    /// Other services.
    #[serde(skip_serializing_if = "is_default")]
    pub weighted: Option<RawStreamWeighted>,
}

/// Servers of a TCP service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpLoadBalancer {
    /// PROXY protocol towards servers (deprecated here).
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub proxy_protocol: Option<RawProxyProtocol>,
    /// Addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub servers: Vec<RawTcpServer>,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub servers_transport: String,
    /// Milliseconds (deprecated here).
    #[serde(skip_serializing_if = "is_default")]
    pub termination_delay: Option<i64>,
    /// Active health check.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<RawTcpHealthCheck>,
    /// Labels only: the one server of the container, before its address is known.
    #[serde(skip_serializing)]
    pub server: Option<RawTcpLabelServer>,
}

impl RawTcpLoadBalancer {
    /// The port that the labels ask for. The error is a message for the user.
    pub fn wanted_port(&self) -> Result<Option<u16>, String> {
        wanted_port(self.server.as_ref().map_or("", |server| server.port.as_str()))
    }

    /// Puts these addresses (`host:port`) in place of what the labels asked for.
    pub fn place_servers(&mut self, addresses: impl IntoIterator<Item = String>) {
        let tls = self.server.take().is_some_and(|server| server.tls);
        self.servers = addresses.into_iter().map(|address| RawTcpServer { address, tls }).collect();
    }
}

/// A TCP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpServer {
    /// `host:port`.
    #[serde(skip_serializing_if = "is_default")]
    pub address: String,
    /// TLS towards it.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: bool,
}

/// Labels only: what a container says about its one TCP or UDP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpLabelServer {
    /// Its port; empty: the lowest exposed one.
    pub port: String,
    /// TLS towards it.
    pub tls: bool,
}

/// `proxyProtocol` towards servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawProxyProtocol {
    /// 1 or 2.
    pub version: i64,
}

impl Default for RawProxyProtocol {
    fn default() -> Self {
        Self { version: 2 }
    }
}

/// Active health check of TCP servers.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpHealthCheck {
    /// Another port than the server's.
    #[serde(skip_serializing_if = "is_default")]
    pub port: i64,
    /// What is sent.
    #[serde(skip_serializing_if = "is_default")]
    pub send: String,
    /// What must come back.
    #[serde(skip_serializing_if = "is_default")]
    pub expect: String,
    /// Between checks.
    pub interval: GoDuration,
    /// Between checks of a server that is down.
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy_interval: Option<GoDuration>,
    /// Of one check.
    pub timeout: GoDuration,
}

impl Default for RawTcpHealthCheck {
    fn default() -> Self {
        Self {
            port: 0,
            send: String::new(),
            expect: String::new(),
            interval: seconds(30),
            unhealthy_interval: None,
            timeout: seconds(5),
        }
    }
}

/// `weighted` of a TCP or UDP service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawStreamWeighted {
    /// Children.
    #[serde(skip_serializing_if = "is_default")]
    pub services: Vec<RawWeightedService>,
    /// Carries the children's state upwards.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub health_check: Option<super::RawEmpty>,
}

/// A TCP middleware as written: one of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpMiddleware {
    /// Connections of one client.
    #[serde(skip_serializing_if = "is_default")]
    pub in_flight_conn: Option<RawInFlightConn>,
    /// Deprecated twin of `ipAllowList`.
    #[serde(skip_serializing_if = "is_default")]
    pub ip_white_list: Option<RawTcpIpAllowList>,
    /// Clients that may pass.
    #[serde(skip_serializing_if = "is_default")]
    pub ip_allow_list: Option<RawTcpIpAllowList>,
}

/// `inFlightConn`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawInFlightConn {
    /// How many.
    #[serde(skip_serializing_if = "is_default")]
    pub amount: i64,
}

/// `ipAllowList` for TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpIpAllowList {
    /// Addresses and ranges.
    #[serde(skip_serializing_if = "is_default")]
    pub source_range: Vec<String>,
}

/// `tcp.serversTransports.<name>`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpServersTransport {
    /// Between keep-alive probes.
    pub dial_keep_alive: GoDuration,
    /// To connect.
    pub dial_timeout: GoDuration,
    /// PROXY protocol towards servers.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub proxy_protocol: Option<RawProxyProtocol>,
    /// How long one half may stay open alone.
    pub termination_delay: GoDuration,
    /// TLS towards servers.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<RawTcpClientTls>,
}

impl Default for RawTcpServersTransport {
    fn default() -> Self {
        Self {
            dial_keep_alive: seconds(15),
            dial_timeout: seconds(30),
            proxy_protocol: None,
            termination_delay: milliseconds(100),
            tls: None,
        }
    }
}

/// `tls` of a TCP transport.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTcpClientTls {
    /// Name to send and to verify.
    #[serde(skip_serializing_if = "is_default")]
    pub server_name: String,
    /// Take any certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
    /// Paths or PEM texts.
    #[serde(rename = "rootCAs", skip_serializing_if = "is_default")]
    pub root_cas: Vec<String>,
    /// Client pairs.
    #[serde(skip_serializing_if = "is_default")]
    pub certificates: Vec<RawCertificate>,
    /// URI that the server's certificate must carry.
    #[serde(rename = "peerCertURI", skip_serializing_if = "is_default")]
    pub peer_cert_uri: String,
    /// SPIFFE identities.
    #[serde(skip_serializing_if = "is_default")]
    pub spiffe: Option<RawSpiffe>,
}

/// A UDP router as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawUdpRouter {
    /// Where it listens; empty: all UDP entry points.
    #[serde(skip_serializing_if = "is_default")]
    pub entry_points: Vec<String>,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
}

/// A UDP service as written: one of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawUdpService {
    /// Servers.
    #[serde(skip_serializing_if = "is_default")]
    pub load_balancer: Option<RawUdpLoadBalancer>,
    /// Other services.
    #[serde(skip_serializing_if = "is_default")]
    pub weighted: Option<RawStreamWeighted>,
}

/// Servers of a UDP service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawUdpLoadBalancer {
    /// Addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub servers: Vec<RawUdpServer>,
    /// Labels only: the one server of the container, before its address is known.
    #[serde(skip_serializing)]
    pub server: Option<RawUdpLabelServer>,
}

impl RawUdpLoadBalancer {
    /// The port that the labels ask for. The error is a message for the user.
    pub fn wanted_port(&self) -> Result<Option<u16>, String> {
        wanted_port(self.server.as_ref().map_or("", |server| server.port.as_str()))
    }

    /// Puts these addresses (`host:port`) in place of what the labels asked for.
    pub fn place_servers(&mut self, addresses: impl IntoIterator<Item = String>) {
        self.server = None;
        self.servers = addresses.into_iter().map(|address| RawUdpServer { address }).collect();
    }
}

/// A UDP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawUdpServer {
    /// `host:port`.
    #[serde(skip_serializing_if = "is_default")]
    pub address: String,
}

/// Labels only: what a container says about its one UDP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawUdpLabelServer {
    /// Its port; empty: the lowest exposed one.
    pub port: String,
}

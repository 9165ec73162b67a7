//! Routing settings as written: the one shape that files, labels and the static table decode into.
//!
//! Every key of Traefik v3 is known here, and ours; what is not served yet is told apart in
//! [`super::validate`], never silently. Keys are camelCase as in Traefik. Serialised, a value has the shape of
//! Traefik's read API: absent when empty, and secrets as `***` with a short digest.

mod middleware;
mod service;
mod stream;
mod tls;
mod value;

pub use middleware::*;
pub use service::*;
pub use stream::*;
pub use tls::*;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::document::stand_alone;
use crate::problem::Origin;

pub(crate) use value::is_default;

/// All routing settings of one provider; names not yet qualified.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawRouting {
    /// Key `http`.
    pub http: RawHttp,
    /// Key `tcp`.
    pub tcp: RawTcp,
    /// Key `udp`.
    pub udp: RawUdp,
    /// Key `tls`.
    pub tls: RawTls,
}

/// Items of one kind, by name as written.
pub type Items<T> = BTreeMap<String, Defined<T>>;

/// Key `http`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawHttp {
    /// Key `routers`.
    pub routers: Items<RawRouter>,
    /// Key `services`.
    pub services: Items<RawService>,
    /// Key `middlewares`.
    pub middlewares: Items<RawMiddleware>,
    /// Key `serversTransports`.
    pub servers_transports: Items<RawServersTransport>,
}

/// Key `tcp`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawTcp {
    /// Key `routers`.
    pub routers: Items<RawTcpRouter>,
    /// Key `services`.
    pub services: Items<RawTcpService>,
    /// Key `middlewares`.
    pub middlewares: Items<RawTcpMiddleware>,
    /// Key `serversTransports`.
    pub servers_transports: Items<RawTcpServersTransport>,
}

/// Key `udp`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawUdp {
    /// Key `routers`.
    pub routers: Items<RawUdpRouter>,
    /// Key `services`.
    pub services: Items<RawUdpService>,
}

/// Key `tls`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawTls {
    /// Key `certificates`.
    pub certificates: Vec<Defined<RawCertificate>>,
    /// Key `options`.
    pub options: Items<RawTlsOptions>,
    /// Key `stores`.
    pub stores: Items<RawTlsStore>,
}

/// An item with its place and state. Clones share it, until one of them is changed and becomes a copy: what passes
/// from provider to snapshot without a change is moved by its pointer alone, and known again by it.
#[derive(Debug)]
pub struct Defined<T>(Arc<Definition<T>>);

/// What a [`Defined`] holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition<T> {
    /// As written.
    pub value: T,
    /// Where.
    pub origin: Origin,
    /// Whether what it stands for is there (its container runs).
    pub standing: Standing,
    /// Seconds since 1970 at which its container was made; 0 for files and the table. Where two containers
    /// define one name differently, the older one's definition stays.
    pub since: i64,
    /// How far it reaches.
    pub scope: Scope,
}

/// How far an item reaches (`providers.docker.labelScope`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Scope {
    /// As in Traefik: its name is known to the whole provider.
    #[default]
    Shared,
    /// Its name is known to its container alone.
    Container {
        /// The container's identifier, shortened as it appears in names.
        id: Arc<str>,
    },
}

impl<T> Defined<T> {
    /// An item of a file, of the table, or of a running container whose age does not matter.
    pub fn new(value: T, origin: Origin) -> Self {
        Self(Arc::new(Definition { value, origin, standing: Standing::Up, since: 0, scope: Scope::Shared }))
    }

    /// The same item, written otherwise.
    #[must_use]
    pub fn with_value(&self, value: T) -> Self {
        let Definition { value: _, origin, standing, since, scope } = &**self;
        let (origin, standing, scope) = (origin.clone(), standing.clone(), scope.clone());
        Self(Arc::new(Definition { value, origin, standing, since: *since, scope }))
    }

    /// Whether both are the one item, and not just equal.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Shares the item.
impl<T> Clone for Defined<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Defined<T> {
    type Target = Definition<T>;

    fn deref(&self) -> &Definition<T> {
        &self.0
    }
}

/// A shared item is copied first.
impl<T: Clone> DerefMut for Defined<T> {
    fn deref_mut(&mut self) -> &mut Definition<T> {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Defined<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || *self.0 == *other.0
    }
}

impl RawRouting {
    /// Marks every item of one container with its state, its age and how far it reaches. With
    /// [`Scope::Container`] names become `name@docker:<id>`, but for services and middlewares that say
    /// `export`.
    pub fn stamp(&mut self, standing: &Standing, since: i64, scope: &Scope) {
        fn all<T: Clone>(
            items: &mut Items<T>,
            standing: &Standing,
            since: i64,
            scope: &Scope,
            exported: impl Fn(&T) -> bool,
        ) {
            *items = std::mem::take(items)
                .into_iter()
                .map(|(name, mut item)| {
                    let name = match scope {
                        Scope::Container { id } if !exported(&item.value) => format!("{name}@docker:{id}"),
                        Scope::Container { .. } | Scope::Shared => name,
                    };
                    item.standing = standing.clone();
                    item.since = since;
                    item.scope = scope.clone();
                    (name, item)
                })
                .collect();
        }
        all(&mut self.http.routers, standing, since, scope, |_| false);
        all(&mut self.http.services, standing, since, scope, |service| service.export);
        all(&mut self.http.middlewares, standing, since, scope, |middleware| middleware.export);
        all(&mut self.tcp.routers, standing, since, scope, |_| false);
        all(&mut self.tcp.services, standing, since, scope, |_| false);
        all(&mut self.tcp.middlewares, standing, since, scope, |_| false);
        all(&mut self.udp.routers, standing, since, scope, |_| false);
        all(&mut self.udp.services, standing, since, scope, |_| false);
    }
}

/// An HTTP router as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRouter {
    /// Where it listens; empty: the default entry points.
    #[serde(skip_serializing_if = "is_default")]
    pub entry_points: Vec<String>,
    /// In order, as referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub middlewares: Vec<String>,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// What it matches; empty in labels: the default rule.
    #[serde(skip_serializing_if = "is_default")]
    pub rule: String,
    /// Routers in front of this one (layers).
    #[serde(skip_serializing_if = "is_default")]
    pub parent_refs: Vec<String>,
    /// Deprecated: `v2` means the old matchers.
    #[serde(skip_serializing_if = "is_default")]
    pub rule_syntax: String,
    /// 0 = length of the rule.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i64,
    /// Serves TLS connections only when there.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub tls: Option<RawRouterTls>,
    /// What is recorded.
    #[serde(skip_serializing_if = "is_default")]
    pub observability: Option<RawObservability>,
    /// Hearthgate: the app contract in one word.
    #[serde(skip_serializing_if = "is_default")]
    pub preset: String,
    /// Hearthgate: `allow` lets reserved escapes pass on a guarded host (security.md section 4).
    #[serde(skip_serializing_if = "is_default")]
    pub encoded_characters: String,
    /// The rule was made from the default rule: such routers refuse requests that have been through them.
    #[serde(skip)]
    pub default_rule: bool,
}

/// TLS block of a router or of an entry point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRouterTls {
    /// TCP: forward the TLS stream untouched.
    #[serde(skip_serializing_if = "is_default")]
    pub passthrough: bool,
    /// Name of a `tls.options` item.
    #[serde(skip_serializing_if = "is_default")]
    pub options: String,
    /// Name of a certificate resolver.
    #[serde(skip_serializing_if = "is_default")]
    pub cert_resolver: String,
    /// Names of the certificate, in place of those of the rule.
    #[serde(skip_serializing_if = "is_default")]
    pub domains: Vec<RawDomain>,
}

/// Names of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawDomain {
    /// Main name.
    #[serde(skip_serializing_if = "is_default")]
    pub main: String,
    /// Further names.
    #[serde(skip_serializing_if = "is_default")]
    pub sans: Vec<String>,
}

/// What is recorded of a router's requests; what is not set is the entry point's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawObservability {
    /// Access log.
    #[serde(skip_serializing_if = "is_default")]
    pub access_logs: Option<bool>,
    /// Metrics.
    #[serde(skip_serializing_if = "is_default")]
    pub metrics: Option<bool>,
    /// Tracing.
    #[serde(skip_serializing_if = "is_default")]
    pub tracing: Option<bool>,
    /// `minimal` or `detailed`.
    #[serde(skip_serializing_if = "is_default")]
    pub trace_verbosity: String,
}

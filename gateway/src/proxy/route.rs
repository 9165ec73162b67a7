//! What is asked, in canonical form, and the router that serves it.

use std::borrow::Cow;
use std::sync::Arc;

use config::routing::InternalService;
use config::routing::tls::TlsVersion;
use http::Version;
use http::header::{self, HeaderName};
use http::request::Parts;
use security::canonical::{self, Host, PathOptions};

use super::context::{Connection, TlsInfo};
use super::identity::Identity;
use super::response::Answer;
use crate::middleware::{Asked, Outcome};
use crate::rejection::Rejection;
use crate::snapshot::route_table::RequestView;
use crate::snapshot::service::{RETRY_AFTER, Service};
use crate::snapshot::tls::TlsPolicy;
use crate::snapshot::{Destination, Route, Snapshot};

/// Routers with the default rule mark their requests with it.
pub(super) const RECURSION_GUARD: HeaderName = HeaderName::from_static("x-traefik-router");

/// What a request comes to.
#[derive(Debug)]
pub(super) struct Found {
    /// The router, where one matches.
    pub(super) route: Option<Arc<Route>>,
    /// The canonical target, where it differs from what was sent.
    pub(super) target: Option<String>,
    /// Where it goes.
    pub(super) destination: Result<Chosen, Rejection>,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Chosen {
    Service(Arc<Service>),
    Internal(InternalService),
    /// A middleware answers.
    Answer(Answer),
}

/// Finds the router and what it leads to. `Err`: what is asked has no canonical form.
pub(super) fn find(
    snapshot: &Snapshot,
    connection: &Connection,
    identity: &Identity,
    request: &Parts,
    raw_target: &[u8],
) -> Result<Found, Rejection> {
    let entry_point = &connection.entry_point;
    let target =
        canonical::split_target(raw_target).map_err(|refusal| Rejection::BadRequest(refusal.reason()))?;
    let host = asked_host(request, target.authority)?;
    let options = PathOptions {
        sanitize: entry_point.http.sanitize_path,
        refused_encoded: &entry_point.http.refused_encoded_characters,
    };
    let path =
        canonical::path(target.path, options).map_err(|refusal| Rejection::BadRequest(refusal.reason()))?;
    let query = target.query.map(|query| canonical::query(query, entry_point.http.encode_query_semicolons));
    let view = RequestView {
        method: &request.method,
        host: host.name(),
        host_with_dot: host.name_with_dot(),
        path: path.routing(),
        query: query.as_deref(),
        headers: &request.headers,
        client: identity.compared(),
    };
    let route = snapshot.routes.find(entry_point.id, connection.tls.is_some(), &view);
    let asked = Asked {
        method: &request.method,
        https: forwarded_proto(request).unwrap_or_else(|| connection.tls.is_some()),
        host: host.name(),
        port: host.port(),
        path: path.forwarded(),
        query: query.as_deref(),
    };
    let destination = match route {
        Some(route) if is_misdirected(connection, route) => Err(Rejection::Misdirected),
        Some(route) => choose(route, request, &asked),
        None => Err(Rejection::NoRoute),
    };
    let as_sent = target.authority.is_none() && path.is_as_sent() && !matches!(query, Some(Cow::Owned(_)));
    let target = (!as_sent).then(|| match &query {
        Some(query) => format!("{}?{query}", path.forwarded()),
        None => path.forwarded().to_owned(),
    });
    Ok(Found { route: route.cloned(), target, destination })
}

/// A connection that was made for one host must not reach another that asks for more: a client certificate, a newer
/// version. Where the very options of the connection have changed since, it goes on as long as it satisfies them.
fn is_misdirected(connection: &Connection, route: &Route) -> bool {
    match (&connection.tls, &route.tls) {
        (Some(tls), Some(wanted)) => {
            let follows_a_change = || tls.policy.name == wanted.name && satisfies(tls, wanted);
            !tls.policy.allows(wanted) && !follows_a_change()
        }
        (None, _) | (_, None) => false,
    }
}

/// Whether the options under which a connection was made let in only those whom `wanted` lets in.
fn satisfies(tls: &TlsInfo, wanted: &TlsPolicy) -> bool {
    let (Ok(made), Ok(wanted)) = (&tls.policy.settings, &wanted.settings) else {
        return false;
    };
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let version = versions.iter().find(|(name, _)| *name == tls.version).map(|(_, version)| *version);
    let (lowest, highest) = (wanted.options.min_version, wanted.options.max_version);
    made.options.client_auth == wanted.options.client_auth
        && made.client_roots == wanted.client_roots
        && version.is_some_and(|version| (lowest..=highest).contains(&version))
}

/// The scheme that the identity stage found and wrote into the head.
fn forwarded_proto(request: &Parts) -> Option<bool> {
    request.headers.get("x-forwarded-proto").map(|proto| proto == "https")
}

fn choose(route: &Arc<Route>, request: &Parts, asked: &Asked<'_>) -> Result<Chosen, Rejection> {
    if let Some(guard) = &route.recursion_guard
        && request.headers.get_all(RECURSION_GUARD).iter().any(|value| value == guard)
    {
        return Err(Rejection::Loop);
    }
    if let Some(reason) = &route.down {
        return Err(no_server(reason));
    }
    // Where one of them is missing, none is asked.
    let usable = !matches!(route.destination, Destination::Unavailable(_));
    for middleware in route.middlewares.iter().filter(|_| usable) {
        match middleware.handle(asked) {
            Outcome::Continue => {}
            Outcome::Respond(response) => return Ok(Chosen::Answer(response.into())),
        }
    }
    match &route.destination {
        Destination::Service(service) => match &service.down {
            Some(reason) => Err(no_server(reason)),
            None => Ok(Chosen::Service(Arc::clone(service))),
        },
        Destination::Internal(InternalService::Noop) => Err(Rejection::Teapot),
        Destination::Internal(service) => Ok(Chosen::Internal(*service)),
        Destination::Unavailable(reason) => Err(Rejection::RouteUnavailable { reason: Arc::clone(reason) }),
    }
}

/// 503 with this reason.
pub(super) fn no_server(reason: &Arc<str>) -> Rejection {
    Rejection::NoServer { reason: Arc::clone(reason), retry_after: RETRY_AFTER }
}

/// The one host of a request. An authority in the target must agree with `Host`.
fn asked_host<'a>(request: &'a Parts, authority: Option<&'a [u8]>) -> Result<Host<'a>, Rejection> {
    let refuse = |refusal: canonical::HostRefusal| Rejection::BadRequest(refusal.reason());
    let mut fields = request.headers.get_all(header::HOST).iter();
    let field = fields.next().map(|field| canonical::host(field.as_bytes()).map_err(refuse)).transpose()?;
    if fields.next().is_some() {
        return Err(Rejection::BadRequest("host_twice"));
    }
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes()).or(authority);
    let authority = authority.map(|authority| canonical::host(authority).map_err(refuse)).transpose()?;
    match (field, authority) {
        (Some(field), Some(authority)) if field != authority => Err(Rejection::BadRequest("host_mismatch")),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) if request.version == Version::HTTP_10 => Ok(Host::NONE),
        (None, None) => Err(Rejection::BadRequest("host_missing")),
    }
}

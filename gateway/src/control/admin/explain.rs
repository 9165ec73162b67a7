//! "What would happen to this request, and why": the same stages as on the hot path, on a snapshot, with every
//! step named. For `GET /api/explain` and `hearthgate explain`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use config::Install;
use config::install::{ClientIpMode, EntryPoint, ListenAddress, TrustedProxy};
use config::routing::Target;
use config::rule::TcpConnection;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use security::canonical::{self, PathOptions};
use security::client_ip::{self, Source, TrustedProxies};
use serde::{Deserialize, Serialize};

use super::traefik::parse_query;
use crate::middleware::{self, Asked, Middleware};
use crate::snapshot::route_table::{Considered, Outcome, RequestView};
use crate::snapshot::stream::{TcpRoute, TcpTls};
use crate::snapshot::tls::TlsPolicy;
use crate::snapshot::{Destination, EntryPointId, EntryPointRoutes, Route, Snapshot};

/// Routers that are named beside the winner.
const NEAR_MISSES: usize = 5;

/// A request that might be sent.
#[derive(Debug, Clone)]
pub struct Question {
    /// Absolute: `https://blog.example.com/path?query`.
    pub url: String,
    /// GET where none is given.
    pub method: Method,
    /// Header fields beside `Host`.
    pub headers: HeaderMap,
    /// The TCP peer.
    pub from: IpAddr,
    /// The entry point; none: the one that the URL's scheme and port lead to.
    pub entry_point: Option<String>,
}

/// The question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No URL, or none of this kind.
    #[error("`{0}` is not an absolute http or https URL, such as `https://blog.example.com/`")]
    Url(String),
    /// Not a method.
    #[error("`{0}` is not a method")]
    Method(String),
    /// Not a header field.
    #[error("`{0}` is not a header field, such as `X-Name: value`")]
    Header(String),
    /// Not an address.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// No such entry point.
    #[error("there is no entry point `{0}`")]
    EntryPoint(String),
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// As asked.
    pub url: String,
    /// As asked.
    pub method: String,
    /// Where it would arrive, and why there.
    pub entry_point: EntryPointView,
    /// Who it would come from; absent where it would be refused before that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientView>,
    /// How its TLS would be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsView>,
    /// The TCP router whose its connection would be, before any request is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_router: Option<TcpRouterView>,
    /// Who would serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterView>,
    /// Routers that match as well but are asked later.
    pub shadowed: Vec<RouterView>,
    /// Routers that do not match, nearest first, each with the condition that fails.
    pub near_misses: Vec<NearMiss>,
    /// In order, those of the entry point first.
    pub middlewares: Vec<String>,
    /// Where it would go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceView>,
    /// The answer, where it would be ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<OwnAnswer>,
}

/// Where a request arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPointView {
    /// Its name.
    pub name: String,
    /// Over TLS.
    pub tls: bool,
    /// Why this one.
    pub reason: String,
}

/// The believed client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its address.
    pub address: IpAddr,
    /// The TCP peer.
    pub peer: IpAddr,
    /// Why it is believed.
    pub reason: String,
}

/// How TLS would be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsView {
    /// The name that a client would ask for; empty for an address.
    pub server_name: String,
    /// The TLS options of that name.
    pub options: String,
    /// Why the handshake would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A TCP router that takes a whole connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouterView {
    /// The router.
    #[serde(flatten)]
    pub router: RouterView,
    /// `plain`, `passthrough` or `terminated`.
    pub tls: String,
    /// Where the connection goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Why it would be closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterView {
    /// Its qualified name.
    pub name: String,
    /// As written.
    pub rule: String,
    /// As computed.
    pub priority: i64,
}

/// A router that does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The router.
    #[serde(flatten)]
    pub router: RouterView,
    /// The first condition that fails.
    pub failed: String,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Its qualified name.
    pub name: String,
    /// Servers that take their turn.
    pub servers: Vec<ServerView>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// As written.
    pub url: String,
    /// Its share.
    pub weight: u32,
}

/// An answer of the gateway's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAnswer {
    /// Status; 0 where there is no answer at all.
    pub status: u16,
    /// Why.
    pub reason: String,
}

impl Question {
    /// A plain GET from this machine.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: Method::GET,
            headers: HeaderMap::new(),
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            entry_point: None,
        }
    }

    /// From the parameters `url`, `method`, `header` (any number), `from` and `entryPoint`.
    pub fn from_query(query: &str) -> Result<Self, AskError> {
        let mut question = Self::new("");
        for (name, value) in parse_query(query) {
            match &*name {
                "url" => question.url = value.into_owned(),
                "method" => question.set_method(&value)?,
                "header" => question.add_header(&value)?,
                "from" => question.set_from(&value)?,
                "entryPoint" => question.entry_point = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(question)
    }

    /// Sets the method.
    pub fn set_method(&mut self, method: &str) -> Result<(), AskError> {
        self.method = Method::from_str(method).map_err(|_| AskError::Method(method.to_owned()))?;
        Ok(())
    }

    /// Adds `Name: value`.
    pub fn add_header(&mut self, field: &str) -> Result<(), AskError> {
        let parse = || {
            let (name, value) = field.split_once(':')?;
            let name = HeaderName::from_str(name.trim()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        };
        let (name, value) = parse().ok_or_else(|| AskError::Header(field.to_owned()))?;
        self.headers.append(name, value);
        Ok(())
    }

    /// Sets the TCP peer.
    pub fn set_from(&mut self, address: &str) -> Result<(), AskError> {
        self.from = address.parse().map_err(|_| AskError::Address(address.to_owned()))?;
        Ok(())
    }

    /// The scheme that a proxy in front claims.
    fn forwarded_proto(&self) -> Option<bool> {
        let last = self.headers.get_all("x-forwarded-proto").iter().next_back()?.to_str().ok()?;
        match last.rsplit(',').next()?.trim() {
            proto if proto.eq_ignore_ascii_case("https") => Some(true),
            proto if proto.eq_ignore_ascii_case("http") => Some(false),
            _ => None,
        }
    }

    /// The same question as parameters, for a running gateway.
    pub fn to_query(&self) -> String {
        let mut query = format!("url={}&method={}&from={}", encode(&self.url), self.method, self.from);
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            query.push_str(&format!("&header={}", encode(&format!("{name}: {value}"))));
        }
        if let Some(entry_point) = &self.entry_point {
            query.push_str(&format!("&entryPoint={}", encode(entry_point)));
        }
        query
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Takes `question` through the stages.
pub fn explain(install: &Install, snapshot: &Snapshot, question: &Question) -> Result<Explanation, AskError> {
    let url = Url::parse(&question.url)?;
    let candidates = candidates(install, question, &url)?;
    let (chosen, reason) = match candidates.first() {
        Some((position, reason)) => (*position, (*reason).to_owned()),
        None => {
            let entry_point = EntryPointView {
                name: String::new(),
                tls: url.tls,
                reason: "the gateway has no entry point".to_owned(),
            };
            return Ok(Explanation::refused(question, entry_point, 0, "nothing listens".to_owned()));
        }
    };
    // Where only the scheme is known, the entry point that has a router for the request is the likely one.
    let mut first = None;
    for (position, reason) in &candidates {
        let explanation = at_entry_point(install, snapshot, question, &url, *position, reason);
        if explanation.has_route() {
            return Ok(explanation);
        }
        first.get_or_insert(explanation);
    }
    Ok(first.unwrap_or_else(|| at_entry_point(install, snapshot, question, &url, chosen, &reason)))
}

/// Entry points that the request may arrive at, likeliest first.
fn candidates(
    install: &Install,
    question: &Question,
    url: &Url<'_>,
) -> Result<Vec<(usize, &'static str)>, AskError> {
    let over_tcp = |(_, entry_point): &(usize, &EntryPoint)| entry_point.udp.is_none();
    let all = || install.entry_points.iter().enumerate().filter(over_tcp);
    if let Some(name) = &question.entry_point {
        return match all().find(|(_, entry_point)| entry_point.name.as_str() == name) {
            Some((position, _)) => Ok(vec![(position, "as asked")]),
            None => Err(AskError::EntryPoint(name.clone())),
        };
    }
    let port = url.port.unwrap_or(if url.tls { 443 } else { 80 });
    let by_port: Vec<_> = all()
        .filter(|(_, entry_point)| listens_on(entry_point, port))
        .map(|(position, _)| (position, "it listens on the URL's port"))
        .collect();
    if !by_port.is_empty() {
        return Ok(by_port);
    }
    Ok(all()
        .map(|(position, _)| {
            (position, "no entry point listens on the URL's port; this one has the best router for it")
        })
        .collect())
}

fn listens_on(entry_point: &EntryPoint, port: u16) -> bool {
    match &entry_point.address {
        ListenAddress::AnyAddress { port: listening } => *listening == port,
        ListenAddress::Address(address) => address.port() == port,
        ListenAddress::Unix { .. } => false,
    }
}

fn at_entry_point(
    install: &Install,
    snapshot: &Snapshot,
    question: &Question,
    url: &Url<'_>,
    position: usize,
    reason: &str,
) -> Explanation {
    let settings = &install.entry_points[position];
    let entry_point =
        EntryPointView { name: settings.name.to_string(), tls: url.tls, reason: reason.to_owned() };
    let refused = |detail: String| Explanation::refused(question, entry_point.clone(), 400, detail);

    // A `Host` header that was asked for wins over the URL's, as with curl.
    let host_field =
        question.headers.get(header::HOST).map_or(url.authority.as_bytes(), HeaderValue::as_bytes);
    let host = match canonical::host(host_field) {
        Ok(host) => host,
        Err(refusal) => return refused(refusal.to_string()),
    };
    let target = match canonical::split_target(url.target.as_bytes()) {
        Ok(target) => target,
        Err(refusal) => return refused(refusal.to_string()),
    };
    let options = PathOptions {
        sanitize: settings.http.sanitize_path,
        refused_encoded: &settings.http.refused_encoded_characters,
    };
    let path = match canonical::path(target.path, options) {
        Ok(path) => path,
        Err(refusal) => return refused(refusal.to_string()),
    };
    let query = target.query.map(|query| canonical::query(query, settings.http.encode_query_semicolons));
    let (client, is_trusted) = match client(settings, question) {
        Ok(client) => client,
        Err(refusal) => return refused(refusal),
    };

    let view = RequestView {
        method: &question.method,
        host: host.name(),
        host_with_dot: host.name_with_dot(),
        path: path.routing(),
        query: query.as_deref(),
        headers: &question.headers,
        client: client.address,
    };
    let routes = snapshot.routes.entry_points.get(position);
    let (tls, tcp_router) =
        routes.map_or((None, None), |routes| before_the_request(routes, url, client.address));
    if tcp_router.is_some() {
        let taken = Explanation::new(question, entry_point);
        return Explanation { client: Some(client), tls: tls.map(|(view, _)| view), tcp_router, ..taken };
    }
    let considered = routes.map_or_else(Vec::new, |routes| {
        let table = if url.tls { &routes.tls } else { &routes.plain };
        table.explain(&view, NEAR_MISSES + 1)
    });
    let mut explanation = Explanation::new(question, entry_point);
    explanation.client = Some(client);
    let mut winner: Option<Arc<Route>> = None;
    for Considered { route, outcome } in considered {
        match outcome {
            Outcome::Wins => {
                let asked = Asked {
                    method: &question.method,
                    https: question.forwarded_proto().filter(|_| is_trusted).unwrap_or(url.tls),
                    host: host.name(),
                    port: host.port(),
                    path: path.forwarded(),
                    query: query.as_deref(),
                };
                explanation.serve(snapshot, &route, &asked);
                winner = Some(route);
            }
            Outcome::Shadowed => explanation.shadowed.push(RouterView::of(&route)),
            Outcome::Misses { failed } => {
                explanation.near_misses.push(NearMiss { router: RouterView::of(&route), failed });
            }
        }
    }
    explanation.forget_other_hosts();
    if let Some((view, policy)) = tls {
        let misdirected =
            winner.as_ref().and_then(|route| route.tls.as_ref()).filter(|other| !policy.allows(other));
        if let Some(reason) = &view.refused {
            explanation.answer =
                Some(OwnAnswer { status: 0, reason: format!("the TLS handshake is refused: {reason}") });
        } else if let Some(other) = misdirected {
            let reason = format!("its host asks for TLS options `{}`, the name for others", other.name);
            explanation.answer = Some(OwnAnswer { status: 421, reason });
        }
        explanation.tls = Some(view);
    }
    if explanation.router.is_none() && explanation.answer.is_none() {
        let other = snapshot.routes.find(EntryPointId(position), !url.tls, &view);
        let reason = match other {
            Some(route) if url.tls => format!("no router matches; router `{}` would without TLS", route.name),
            Some(route) => format!("no router matches; router `{}` would with TLS", route.name),
            None => "no router matches".to_owned(),
        };
        explanation.answer = Some(OwnAnswer { status: 404, reason });
    }
    explanation
}

/// The client, and whether its peer is a trusted proxy.
/// What happens to the connection before a request is read: the TLS options of the name, and the TCP router that
/// takes it whole.
fn before_the_request(
    routes: &EntryPointRoutes,
    url: &Url<'_>,
    client: IpAddr,
) -> (Option<(TlsView, Arc<TlsPolicy>)>, Option<TcpRouterView>) {
    if !url.tls {
        let asked = TcpConnection { server_name: "", protocols: &[], client };
        return (None, routes.tcp.find_plain(&asked).map(|route| TcpRouterView::of(route)));
    }
    // A client asks for no name where it was given an address.
    let host = canonical::host(url.authority.as_bytes()).ok();
    let server_name =
        host.as_ref().map(|host| host.name()).filter(|name| name.parse::<IpAddr>().is_err()).unwrap_or("");
    let own = routes.server_names.find(server_name);
    let asked = TcpConnection { server_name, protocols: &["h2", "http/1.1"], client };
    let taken = match own {
        Some(_) => None,
        None => routes
            .tcp
            .find_tls(&asked)
            .filter(|route| !(route.rule.is_catch_all() && routes.tls.serves_any_host())),
    };
    let policy = match taken.map(|route| &route.tls) {
        Some(TcpTls::Terminate(policy)) => Some(policy),
        Some(TcpTls::Passthrough | TcpTls::None) => None,
        None => Some(own.unwrap_or_else(|| routes.server_names.default_policy())),
    };
    let view = policy.map(|policy| {
        let view = TlsView {
            server_name: server_name.to_owned(),
            options: policy.name.to_string(),
            refused: policy.settings.as_ref().err().map(ToString::to_string),
        };
        (view, Arc::clone(policy))
    });
    (view, taken.map(|route| TcpRouterView::of(route)))
}

fn client(settings: &EntryPoint, question: &Question) -> Result<(ClientView, bool), String> {
    let source = match settings.client_ip.mode {
        ClientIpMode::Peer | ClientIpMode::ProxyProtocol => Source::Peer,
        ClientIpMode::XForwardedFor { depth } => Source::XForwardedFor { depth },
    };
    let mut unresolved = false;
    let ranges = settings.client_ip.trusted.iter().filter_map(|trusted| match trusted {
        TrustedProxy::Range(range) => Some(*range),
        TrustedProxy::Host(_) => {
            unresolved = true;
            None
        }
    });
    let trusted = TrustedProxies::new(ranges, settings.client_ip.trust_everyone);
    let fields = question.headers.get_all("x-forwarded-for");
    let fields: Vec<&[u8]> = fields.iter().map(HeaderValue::as_bytes).collect();
    let client = client_ip::client(Some(question.from), source, &trusted, fields.into_iter())
        .map_err(|refusal| refusal.to_string())?;
    let mut reason = client.basis.explain().to_owned();
    if unresolved && !client.basis.peer_is_trusted() {
        reason.push_str(" (trusted proxies given as host names are not looked up here)");
    }
    let is_trusted = client.basis.peer_is_trusted();
    Ok((ClientView { address: client.address, peer: question.from, reason }, is_trusted))
}

/// The answer of the first middleware that gives one.
fn answer_of(middlewares: &[Middleware], asked: &Asked<'_>) -> Option<OwnAnswer> {
    middlewares.iter().find_map(|middleware| match middleware.handle(asked) {
        middleware::Outcome::Continue => None,
        middleware::Outcome::Respond(response) => {
            let location = response.headers().get(header::LOCATION).and_then(|url| url.to_str().ok());
            let reason = location.map_or_else(
                || "a middleware answers".to_owned(),
                |url| format!("a middleware redirects to {url}"),
            );
            Some(OwnAnswer { status: response.status().as_u16(), reason })
        }
    })
}

impl TcpRouterView {
    fn of(route: &TcpRoute) -> Self {
        let closed = route.service.as_ref().err().or(route.down.as_ref()).map(ToString::to_string);
        Self {
            router: RouterView {
                name: route.name.to_string(),
                rule: route.rule.text().to_owned(),
                priority: route.priority,
            },
            tls: match route.tls {
                TcpTls::None => "plain",
                TcpTls::Passthrough => "passthrough",
                TcpTls::Terminate(_) => "terminated",
            }
            .to_owned(),
            service: route.service.as_ref().ok().map(|service| service.name.to_string()),
            closed,
        }
    }
}

impl RouterView {
    fn of(route: &Route) -> Self {
        Self { name: route.name.to_string(), rule: route.rule.to_string(), priority: route.priority }
    }
}

impl Explanation {
    fn new(question: &Question, entry_point: EntryPointView) -> Self {
        Self {
            url: question.url.clone(),
            method: question.method.to_string(),
            entry_point,
            client: None,
            tls: None,
            tcp_router: None,
            router: None,
            shadowed: Vec::new(),
            near_misses: Vec::new(),
            middlewares: Vec::new(),
            service: None,
            answer: None,
        }
    }

    fn refused(question: &Question, entry_point: EntryPointView, status: u16, reason: String) -> Self {
        Self { answer: Some(OwnAnswer { status, reason }), ..Self::new(question, entry_point) }
    }

    /// Fills in what the winner does with the request.
    fn serve(&mut self, snapshot: &Snapshot, route: &Route, asked: &Asked<'_>) {
        self.router = Some(RouterView::of(route));
        let settings = snapshot.routing.routers.get(&route.name);
        if let Some(settings) = settings {
            self.middlewares = settings.middlewares.iter().map(ToString::to_string).collect();
        }
        let unavailable = |reason: &str| Some(OwnAnswer { status: 503, reason: reason.to_owned() });
        match &route.destination {
            Destination::Service(service) => {
                let settings = snapshot.routing.services.get(&service.name);
                let servers: Vec<ServerView> = settings
                    .map(|settings| {
                        settings
                            .servers
                            .iter()
                            .map(|server| ServerView { url: server.url.to_string(), weight: server.weight })
                            .collect()
                    })
                    .unwrap_or_default();
                if let Some(reason) = service.down.as_deref() {
                    self.answer = unavailable(reason);
                } else if servers.is_empty() {
                    self.answer = unavailable("the service has no server");
                }
                self.service = Some(ServiceView { name: service.name.to_string(), servers });
            }
            Destination::Internal(_) => {
                let name = match settings.map(|settings| &settings.target) {
                    Some(Target::Internal(service)) => internal_name(*service).to_owned(),
                    Some(Target::Service(_) | Target::Unavailable(_)) | None => "internal".to_owned(),
                };
                self.service = Some(ServiceView { name, servers: Vec::new() });
            }
            Destination::Unavailable(reason) => self.answer = unavailable(reason),
        }
        if let Some(reason) = &route.down {
            self.answer = unavailable(reason);
        } else if !matches!(route.destination, Destination::Unavailable(_)) {
            self.answer = answer_of(&route.middlewares, asked).or_else(|| self.answer.take());
        }
    }

    /// Routers of other hosts are worth a word only where there is nothing nearer.
    fn forget_other_hosts(&mut self) {
        let is_of_host = |miss: &NearMiss| !miss.failed.starts_with("Host");
        if self.router.is_some() || self.near_misses.iter().any(is_of_host) {
            self.near_misses.retain(is_of_host);
        }
    }

    /// Whether some router would serve it.
    pub fn has_route(&self) -> bool {
        self.router.is_some() || self.tcp_router.is_some()
    }
}

fn internal_name(service: config::routing::InternalService) -> &'static str {
    use config::routing::InternalService::{AcmeHttp, Api, Dashboard, Noop, Ping, Prometheus, Whoami};
    match service {
        AcmeHttp => "acme-http@internal",
        Api => "api@internal",
        Dashboard => "dashboard@internal",
        Noop => "noop@internal",
        Ping => "ping@internal",
        Prometheus => "prometheus@internal",
        Whoami => "whoami@internal",
    }
}

/// For people: one step a line.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EntryPointView { name, tls, reason } = &self.entry_point;
        writeln!(f, "request      {} {}", self.method, self.url)?;
        writeln!(f, "entry point  {name} ({}; {reason})", if *tls { "TLS" } else { "plain" })?;
        if let Some(client) = &self.client {
            writeln!(f, "client       {} ({})", client.address, client.reason)?;
        }
        if let Some(tls) = &self.tls {
            let name = if tls.server_name.is_empty() { "no name" } else { &tls.server_name };
            writeln!(f, "TLS options  {} (for {name})", tls.options)?;
        }
        if let Some(TcpRouterView { router, tls, service, closed }) = &self.tcp_router {
            writeln!(f, "TCP router   {} (priority {}; TLS: {tls})", router.name, router.priority)?;
            writeln!(f, "             {}", router.rule)?;
            if let Some(service) = service {
                writeln!(f, "service      {service}")?;
            }
            if let Some(reason) = closed {
                writeln!(f, "closed       {reason}")?;
            }
            return Ok(());
        }
        match &self.router {
            Some(router) => {
                writeln!(f, "router       {} (priority {})", router.name, router.priority)?;
                writeln!(f, "             {}", router.rule)?;
            }
            None => writeln!(f, "router       none")?,
        }
        for router in &self.shadowed {
            writeln!(f, "matches too  {} (priority {}): {}", router.name, router.priority, router.rule)?;
        }
        for miss in &self.near_misses {
            writeln!(f, "near miss    {}: {} fails", miss.router.name, miss.failed)?;
        }
        if self.router.is_some() {
            let middlewares =
                if self.middlewares.is_empty() { "none".to_owned() } else { self.middlewares.join(", ") };
            writeln!(f, "middlewares  {middlewares}")?;
        }
        if let Some(service) = &self.service {
            writeln!(f, "service      {}", service.name)?;
            for server in &service.servers {
                writeln!(f, "server       {} (weight {})", server.url, server.weight)?;
            }
        }
        if let Some(answer) = &self.answer {
            match answer.status {
                0 => writeln!(f, "answer       none ({})", answer.reason)?,
                status => writeln!(f, "answer       {status} ({})", answer.reason)?,
            }
        }
        Ok(())
    }
}

/// The parts of an absolute URL that matter here.
#[derive(Debug)]
struct Url<'a> {
    tls: bool,
    authority: &'a str,
    port: Option<u16>,
    /// Path and query; never empty.
    target: String,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, AskError> {
        let bad = || AskError::Url(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(bad()),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if authority.is_empty() {
            return Err(bad());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => Some(port.parse().map_err(|_| bad())?),
            Some(_) | None => None,
        };
        Ok(Self { tls, authority, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_a_client_would() {
        for (text, expected) in [
            ("http://a.example", Some((false, "a.example", None, "/"))),
            ("HTTPS://a.example:8443/x?y=1#z", Some((true, "a.example:8443", Some(8443), "/x?y=1"))),
            ("http://[::1]/", Some((false, "[::1]", None, "/"))),
            ("http://[::1]:80?q", Some((false, "[::1]:80", Some(80), "/?q"))),
            ("ws://user:pass@a/", Some((false, "a", None, "/"))),
            ("a.example/x", None),
            ("ftp://a/", None),
            ("http:///x", None),
            ("http://a:x/", None),
        ] {
            let found = Url::parse(text).ok();
            let found = found.as_ref().map(|url| (url.tls, url.authority, url.port, url.target.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_question_survives_its_way_to_a_running_gateway() {
        let mut question = Question::new("https://a.example/ü?a=1&b=2");
        question.set_method("POST").unwrap();
        question.add_header("X-Name: a & b").unwrap();
        question.set_from("2001:db8::1").unwrap();
        question.entry_point = Some("web".to_owned());
        let again = Question::from_query(&question.to_query()).unwrap();
        assert_eq!(
            (&again.url, &again.method, &again.headers, again.from, &again.entry_point),
            (&question.url, &question.method, &question.headers, question.from, &question.entry_point)
        );
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        for (query, expected) in [
            ("method=A%20B", AskError::Method("A B".to_owned())),
            ("header=x", AskError::Header("x".to_owned())),
            ("from=here", AskError::Address("here".to_owned())),
        ] {
            assert_eq!(Question::from_query(query).unwrap_err(), expected);
        }
    }
}

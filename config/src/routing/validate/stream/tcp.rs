//! TCP routers and services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::transports::{self, Interned, Transports};
use super::super::{Context, Fault, MAX_USER_PRIORITY, Referrer, Users, names, scope, tls};
use super::middlewares::{self, Middlewares};
use super::{State, States, bind, nowhere, servers, weighted};
use crate::document::GoDuration;
use crate::name::{MiddlewareName, RouterName, ServiceName};
use crate::problem::Problem;
use crate::routing::merge::Merged;
use crate::routing::raw::{Defined, RawTcpHealthCheck, RawTcpLoadBalancer, RawTcpRouter, RawTcpService};
use crate::routing::stream::{
    StreamTls, TcpHealthCheck, TcpRouter, TcpServer, TcpService, TcpServiceKind, TcpTransport,
};
use crate::routing::tls::Tls;
use crate::routing::{InStep, Listed, Routing, Status};
use crate::rule::{self, TcpRule};

/// What becomes of connections of a router that cannot do what it should.
const CLOSED: &str = "the router closes connections";

/// Validates all of TCP.
pub(super) fn build(
    previous: &Routing,
    merged: &Merged,
    context: &Context,
    routing: &mut Routing,
    problems: &mut Vec<Problem>,
) {
    let middlewares = middlewares::judge(merged, problems);
    let states = services(merged, context, problems);
    let refused = scope::refused_tcp(merged);
    let mut before = InStep::new(&previous.tcp.routers);
    let mut users = Users::default();
    for (name, item) in &merged.tcp_routers {
        let judge = Judge { merged, context, tls: &routing.tls, middlewares: &middlewares, states: &states };
        let findings =
            Findings { disabled: refused.get(name).cloned().into_iter().collect(), ..Findings::default() };
        let (router, listed) = judge.router(name, item, before.get(name), findings, &mut users, problems);
        routing.listing.tcp_routers.insert(name.clone(), listed);
        routing.tcp.routers.extend(router.map(|router| (name.clone(), router)));
    }
    for (name, item) in &merged.tcp_middlewares {
        let (status, errors) = match middlewares.get(name) {
            Some(Err(fault)) => (Status::Disabled, vec![fault.listed()]),
            Some(Ok(_)) | None => (Status::Enabled, Vec::new()),
        };
        let used_by = names(users.middlewares.get(name));
        let entry = super::super::listed(item.clone(), status, errors, used_by);
        routing.listing.tcp_middlewares.insert(name.clone(), entry);
    }
    routing.tcp.middlewares =
        middlewares.into_iter().filter_map(|(name, middleware)| Some((name, middleware.ok()?))).collect();
    routing.tcp.services =
        super::keep(&merged.tcp_services, states, &users, &mut routing.listing.tcp_services);
}

/// What a router is judged by.
struct Judge<'a> {
    merged: &'a Merged,
    context: &'a Context,
    tls: &'a Tls,
    middlewares: &'a Middlewares,
    states: &'a States<TcpService>,
}

/// What was found out about a router.
#[derive(Default)]
struct Findings {
    /// It is left out.
    disabled: Vec<Fault>,
    /// It closes connections.
    closing: Vec<Fault>,
    /// It works, not as written.
    warnings: Vec<Fault>,
}

impl Judge<'_> {
    fn router(
        &self,
        name: &RouterName,
        item: &Defined<RawTcpRouter>,
        previous: Option<&TcpRouter>,
        mut findings: Findings,
        users: &mut Users,
        problems: &mut Vec<Problem>,
    ) -> (Option<TcpRouter>, Listed<RawTcpRouter>) {
        let raw = &item.value;
        let referrer = Referrer::new(name.provider(), &item.scope);
        let (entry_points, unknown) = bind(self.context, &raw.entry_points, false);
        findings.warnings.extend(unknown);
        if entry_points.is_empty() {
            findings.disabled.push(nowhere(self.context, false));
        }
        if raw.priority > MAX_USER_PRIORITY {
            let text = format!(
                "the router priority {} exceeds the max user-defined priority {MAX_USER_PRIORITY}",
                raw.priority
            );
            findings.disabled.push(Fault::new(text, "give a smaller number"));
        }
        let rule = parse(raw, previous, &mut findings);
        let tls = self.router_tls(raw, rule.as_ref(), referrer, &mut findings);
        let middlewares = self.router_middlewares(name, raw, referrer, users, &mut findings);
        let service = self.service(name, raw, referrer, users, &mut findings);

        let Findings { disabled, closing, warnings } = findings;
        let subject = format!("TCP router `{}`", name.name());
        problems.extend(disabled.iter().map(|fault| fault.error(&item.origin, &subject)));
        problems.extend(closing.iter().map(|fault| {
            let text = format!("{}: {CLOSED}", fault.text);
            Fault { text, hint: fault.hint.clone() }.error(&item.origin, &subject)
        }));
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));

        let priority = match (raw.priority, &rule) {
            (0, Some(rule)) => rule.default_priority(),
            (0, None) => i64::try_from(raw.rule.len()).unwrap_or(i64::MAX),
            (priority, _) => priority,
        };
        let serves = disabled.is_empty();
        let status = match (serves && closing.is_empty(), warnings.is_empty()) {
            (false, _) => Status::Disabled,
            (true, false) => Status::Warning,
            (true, true) => Status::Enabled,
        };
        let errors = [&disabled, &closing, &warnings].into_iter().flatten().map(Fault::listed).collect();
        let using = match serves {
            true => entry_points.iter().map(ToString::to_string).collect(),
            false => Vec::new(),
        };
        let listed_item = item.with_value(RawTcpRouter { priority, ..raw.clone() });
        let listed = Listed { priority, ..super::super::listed(listed_item, status, errors, using) };
        let (Some(rule), true) = (rule, serves) else { return (None, listed) };
        let service = match (closing.first(), service) {
            (None, Some(service)) => Ok(service),
            (Some(fault), _) => Err(Arc::from(fault.text.as_str())),
            (None, None) => Err(Arc::from("the service is missing on the router")),
        };
        let router = TcpRouter {
            name: name.clone(),
            rule,
            priority,
            precedence: self.context.rank(referrer.provider),
            entry_points,
            tls,
            middlewares,
            service,
            standing: item.standing.clone(),
            origin: item.origin.clone(),
        };
        (Some(router), listed)
    }

    fn router_tls(
        &self,
        raw: &RawTcpRouter,
        rule: Option<&TcpRule>,
        referrer: Referrer<'_>,
        findings: &mut Findings,
    ) -> StreamTls {
        let hosts = rule.map(TcpRule::hosts).unwrap_or_default();
        let Some(block) = &raw.tls else {
            if !hosts.is_empty() {
                findings.disabled.push(Fault::new(
                    format!("invalid rule: {:?} , has HostSNI matcher, but no TLS on router", raw.rule),
                    "only TLS tells a name: set `tls`, or write ``HostSNI(`*`)``",
                ));
            }
            return StreamTls::None;
        };
        if block.passthrough {
            if !block.options.is_empty() || !block.cert_resolver.is_empty() || !block.domains.is_empty() {
                findings.warnings.push(Fault::new(
                    "`tls.options`, `certResolver` and `domains` mean nothing with `passthrough`",
                    "the server ends TLS with its own certificate: take them away",
                ));
            }
            return StreamTls::Passthrough;
        }
        let tls::router::Judged { tls, unknown, refused, warnings } = tls::router::judge(
            block,
            referrer,
            (raw.rule.as_str(), hosts.as_slice()),
            self.merged,
            self.context,
            self.tls,
        );
        findings.disabled.extend(unknown);
        findings.closing.extend(refused);
        findings.warnings.extend(warnings);
        StreamTls::Terminate(tls)
    }

    fn router_middlewares(
        &self,
        name: &RouterName,
        raw: &RawTcpRouter,
        referrer: Referrer<'_>,
        users: &mut Users,
        findings: &mut Findings,
    ) -> Vec<MiddlewareName> {
        let mut names = Vec::with_capacity(raw.middlewares.len());
        for reference in &raw.middlewares {
            let middleware = match middlewares::find(self.merged, referrer, reference) {
                Ok(middleware) => middleware,
                Err(fault) => {
                    findings.closing.push(fault);
                    continue;
                }
            };
            users.middlewares.entry(middleware.clone()).or_default().push(name.clone());
            match self.middlewares.get(&middleware) {
                Some(Err(fault)) => {
                    let text = format!("middleware \"{middleware}\": {}", fault.text);
                    findings.closing.push(Fault { text, hint: fault.hint.clone() });
                }
                Some(Ok(_)) | None => names.push(middleware),
            }
        }
        names
    }

    /// Where connections go; none when a finding says why they cannot.
    fn service(
        &self,
        name: &RouterName,
        raw: &RawTcpRouter,
        referrer: Referrer<'_>,
        users: &mut Users,
        findings: &mut Findings,
    ) -> Option<ServiceName> {
        match super::target(self.states, referrer, &raw.service, "the service is missing on the router") {
            Ok(service) => {
                users.services.entry(service.clone()).or_default().push(name.clone());
                match super::usable(self.states, &service) {
                    Ok(()) => return Some(service),
                    Err(fault) => findings.closing.push(fault),
                }
            }
            Err(fault) => findings.closing.push(fault),
        }
        None
    }
}

/// The router's rule, unless a finding says what is wrong with it. `previous` is the router of that name that was
/// built last time.
fn parse(raw: &RawTcpRouter, previous: Option<&TcpRouter>, findings: &mut Findings) -> Option<TcpRule> {
    if raw.rule_syntax.eq_ignore_ascii_case("v2") {
        findings.disabled.push(Fault::new(
            "`ruleSyntax: v2` is not served",
            "write the rule in the syntax of version 3 and take `ruleSyntax` away: one argument a matcher, joined \
             with `||`",
        ));
        return None;
    }
    if raw.rule.is_empty() {
        findings.disabled.push(Fault::new("empty rule", "set `rule`, as in ``HostSNI(`*`)``"));
        return None;
    }
    // A rule follows from its text alone.
    let kept = previous.map(|router| &router.rule).filter(|rule| rule.text() == raw.rule);
    match kept.map_or_else(|| rule::parse_tcp(&raw.rule), |rule| Ok(rule.clone())) {
        Ok(rule) => Some(rule),
        Err(error) => {
            let text = format!("invalid rule: {:?}, {error}", raw.rule);
            findings.disabled.push(Fault { text, hint: error.hint });
            None
        }
    }
}

fn services(merged: &Merged, context: &Context, problems: &mut Vec<Problem>) -> States<TcpService> {
    let transports = transports::tcp(merged, &context.tcp_servers_transport, problems);
    let mut interned = Interned::default();
    let mut states = States::default();
    for (name, item) in &merged.tcp_services {
        let mut warnings = Vec::new();
        let service = service(name, item, &transports, &mut interned, &mut warnings);
        states.insert(name.clone(), State { scope: item.scope.clone(), service, warnings });
    }
    let parents = merged.tcp_services.iter().filter_map(|(name, item)| {
        let State { scope, service, .. } = states.get(name)?;
        let referrer = Referrer::new(name.provider(), scope);
        let weighted = item.value.weighted.as_ref().filter(|_| service.is_ok())?;
        Some((name.clone(), weighted::children(weighted, referrer, &states)))
    });
    super::adopt(parents.collect::<BTreeMap<_, _>>(), &mut states, |service, children| {
        service.kind = TcpServiceKind::Weighted(children);
    });
    super::report(&merged.tcp_services, &states, "TCP service", problems);
    states
}

fn service(
    name: &ServiceName,
    item: &Defined<RawTcpService>,
    transports: &Transports<'_, TcpTransport>,
    interned: &mut Interned<TcpTransport>,
    warnings: &mut Vec<Fault>,
) -> Result<TcpService, Fault> {
    // Every type is named here, so that a new one cannot be forgotten.
    let RawTcpService { load_balancer, weighted } = &item.value;
    let (kind, written) = match (load_balancer, weighted) {
        (Some(load_balancer), None) => {
            let referrer = Referrer::new(name.provider(), &item.scope);
            let transport = transport(load_balancer, referrer, transports, warnings)?;
            let servers = servers(load_balancer, &transport, warnings);
            let health_check = load_balancer.health_check.as_ref().map(|raw| health_check(raw, warnings));
            let transport = interned.share(transport);
            (TcpServiceKind::Servers { servers, health_check, transport }, load_balancer.servers.len())
        }
        // Its children are found once all services are known.
        (None, Some(weighted)) => (TcpServiceKind::Weighted(Vec::new()), weighted.services.len()),
        (None, None) => return Err(super::no_type(name.as_str())),
        (Some(_), Some(_)) => return Err(super::several_types()),
    };
    let left = match &kind {
        TcpServiceKind::Servers { servers, .. } => servers.len(),
        TcpServiceKind::Weighted(_) => written,
    };
    let down = super::down(&item.standing, written, left);
    Ok(TcpService { name: name.clone(), kind, down, origin: item.origin.clone() })
}

/// The good servers, ordered by address, none twice.
fn servers(raw: &RawTcpLoadBalancer, transport: &TcpTransport, warnings: &mut Vec<Fault>) -> Vec<TcpServer> {
    let mut servers = Vec::with_capacity(raw.servers.len());
    for server in &raw.servers {
        match servers::address(&server.address) {
            Ok((host, port)) => servers.push(TcpServer {
                address: Arc::from(server.address.as_str()),
                host: Arc::from(host),
                port,
                tls: server.tls,
            }),
            Err(fault) => warnings.push(fault),
        }
    }
    if transport.tls.skip_verify
        && servers.iter().any(|server| server.tls)
        && !raw.servers_transport.is_empty()
    {
        let text = "certificates of its servers are not verified (`insecureSkipVerify`)";
        warnings.push(Fault::new(text, "name who signed them in `rootCAs` of the transport"));
    }
    // Stable: of two servers with one address the first stays.
    servers.sort_by(|a, b| a.address.cmp(&b.address));
    servers.dedup_by(|a, b| a.address == b.address);
    servers
}

/// The transport, with what the load balancer itself says of it: an old way, and only without a named one.
fn transport(
    raw: &RawTcpLoadBalancer,
    referrer: Referrer<'_>,
    transports: &Transports<'_, TcpTransport>,
    warnings: &mut Vec<Fault>,
) -> Result<Arc<TcpTransport>, Fault> {
    let (transport, named) = transports.find(referrer, &raw.servers_transport)?;
    let RawTcpLoadBalancer { proxy_protocol, termination_delay, .. } = raw;
    if proxy_protocol.is_none() && termination_delay.is_none() {
        return Ok(transport);
    }
    if let Some(named) = named {
        let text = format!(
            "`proxyProtocol` and `terminationDelay` of a load balancer mean nothing beside servers transport \
             \"{named}\""
        );
        warnings.push(Fault::new(text, "write them into the transport"));
        return Ok(transport);
    }
    warnings.push(Fault::new(
        "`proxyProtocol` and `terminationDelay` of a load balancer are deprecated",
        "write them into an item of `tcp.serversTransports`",
    ));
    let mut own = (*transport).clone();
    if let Some(raw) = proxy_protocol {
        own.proxy_protocol = Some(transports::proxy_version(raw)?);
    }
    if let Some(milliseconds) = termination_delay {
        let delay = GoDuration::from_nanoseconds(milliseconds.saturating_mul(1_000_000));
        own.termination_delay = transports::termination_delay_of(delay);
    }
    Ok(Arc::new(own))
}

fn health_check(raw: &RawTcpHealthCheck, warnings: &mut Vec<Fault>) -> TcpHealthCheck {
    // Every key is named here, so that a new one cannot be forgotten.
    let RawTcpHealthCheck { port, send, expect, interval, unhealthy_interval, timeout } = raw;
    let default = RawTcpHealthCheck::default();
    let mut time = |key: &str, written: GoDuration, default: GoDuration| {
        written.limit().unwrap_or_else(|| {
            let text = format!("`healthCheck.{key}` must be more than nothing: {default} holds");
            warnings.push(Fault::new(text, "write a time, or take it away"));
            default.or_zero()
        })
    };
    let interval = time("interval", *interval, default.interval);
    let check = TcpHealthCheck {
        port: u16::try_from(*port).ok().filter(|port| *port > 0),
        send: send.as_bytes().into(),
        expect: expect.as_bytes().into(),
        interval,
        unhealthy_interval: unhealthy_interval
            .map_or(interval, |written| time("unhealthyInterval", written, interval.into())),
        timeout: time("timeout", *timeout, default.timeout),
    };
    if check.port.is_none() && *port != 0 {
        let text = format!("`healthCheck.port: {port}` is not a port from 1 to 65535: the server's holds");
        warnings.push(Fault::new(text, "write the port that is asked, or take it away"));
    }
    check
}

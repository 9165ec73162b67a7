//! What the gateway routes by itself: Traefik's internal routers, services and middlewares, and the page that
//! greets where nothing was configured.

use super::{Context, MAX_USER_PRIORITY};
use crate::install::acme::CHALLENGE_PATH;
use crate::install::{EntryPoint, Redirection};
use crate::name::{MiddlewareName, RouterName, ServiceName};
use crate::problem::Origin;
use crate::routing::InternalService;
use crate::routing::middleware::RedirectScheme;
use crate::routing::raw::{
    Defined, RawMiddleware, RawRedirectRegex, RawRedirectScheme, RawRouter, RawStripPrefix,
};

/// Any host, but not none.
const EVERY_HOST: &str = "HostRegexp(`^.+$`)";

/// Router and service that answer ACME servers.
const CHALLENGE: &str = "acme-http@internal";

/// Hosts that the greeting page answers: names of this machine and bare addresses. Host names belong to
/// containers, whose 503 must not be covered when they stop.
const GREETED_HOSTS: &str =
    r"Host(`localhost`) || HostRegexp(`^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f.]*:[0-9a-f:.]+)$`)";

/// Routers that exist by themselves.
pub(super) fn routers(context: &Context) -> Vec<(RouterName, Defined<RawRouter>)> {
    let mut routers = Vec::new();
    let mut add =
        |name: &str, entry_points: Vec<String>, rule: String, priority: i64, middlewares: &[&str]| {
            let service = format!("{name}@internal");
            let router = RawRouter {
                entry_points,
                middlewares: middlewares.iter().map(|&name| name.to_owned()).collect(),
                service: service.clone(),
                rule,
                priority,
                ..RawRouter::default()
            };
            routers.push((RouterName::from(service), Defined::new(router, Origin::Gateway)));
        };
    if let Some(ping) = context.ping.as_ref().filter(|ping| !ping.manual_routing) {
        add("ping", vec![ping.entry_point.to_string()], "PathPrefix(`/ping`)".to_owned(), i64::MAX, &[]);
    }
    if let Some(prometheus) = context.metrics.prometheus.as_ref().filter(|metrics| !metrics.manual_routing) {
        let entry_points = vec![prometheus.entry_point.to_string()];
        add("prometheus", entry_points, "PathPrefix(`/metrics`)".to_owned(), i64::MAX, &[]);
    }
    if let Some(api) = context.api.as_ref().filter(|api| api.insecure) {
        let entry_points = vec!["traefik".to_owned()];
        let rule = format!("PathPrefix(`{}/api`)", api.base_path);
        add("api", entry_points.clone(), rule, i64::MAX - 1, &[]);
        if api.dashboard {
            let middlewares = ["dashboard_redirect@internal", "dashboard_stripprefix@internal"];
            let rule = format!("PathPrefix(`{}/`)", api.base_path);
            add("dashboard", entry_points, rule, i64::MAX - 2, &middlewares);
        }
    }
    // Shows what the hot path does before it looks for a router. Where routers may answer too, there is none.
    let challenged: Vec<_> = context
        .entry_points
        .iter()
        .filter(|entry_point| !entry_point.acme_by_pass && has_challenge(context, entry_point))
        .map(|entry_point| entry_point.name.to_string())
        .collect();
    if !challenged.is_empty() {
        add("acme-http", challenged, format!("PathPrefix(`{CHALLENGE_PATH}`)"), i64::MAX, &[]);
    }
    if context.is_default {
        add("whoami", Vec::new(), GREETED_HOSTS.to_owned(), -MAX_USER_PRIORITY, &[]);
    }
    routers.extend(context.entry_points.iter().filter_map(redirection_router));
    routers
}

/// Whether a certificate resolver has its HTTP challenge there.
fn has_challenge(context: &Context, entry_point: &EntryPoint) -> bool {
    context.certificate_resolvers.iter().any(|resolver| resolver.http.as_ref() == Some(&entry_point.name))
}

/// Whether a router takes nothing over from its entry points: an ACME server is answered before their middlewares, and
/// asks without TLS.
pub(super) fn stands_alone(router: &RouterName) -> bool {
    router.as_str() == CHALLENGE
}

/// What an entry point does that sends its requests to another.
fn redirection_router(from: &EntryPoint) -> Option<(RouterName, Defined<RawRouter>)> {
    let redirection = from.redirection.as_ref()?;
    let name = redirection_name(from, redirection);
    let rule = match from.acme_by_pass {
        false => EVERY_HOST.to_owned(),
        true => format!("{EVERY_HOST} && !PathPrefix(`{CHALLENGE_PATH}`)"),
    };
    let router = RawRouter {
        entry_points: vec![from.name.to_string()],
        middlewares: vec![format!("redirect-{name}@internal")],
        service: "noop@internal".to_owned(),
        rule,
        priority: redirection.priority,
        ..RawRouter::default()
    };
    Some((RouterName::from(format!("{name}@internal")), Defined::new(router, Origin::Gateway)))
}

/// Services that are on.
pub(super) fn services(context: &Context) -> Vec<(ServiceName, InternalService)> {
    let mut services = vec![(ServiceName::from("noop@internal"), InternalService::Noop)];
    if let Some(api) = &context.api {
        services.push((ServiceName::from("api@internal"), InternalService::Api));
        if api.dashboard {
            services.push((ServiceName::from("dashboard@internal"), InternalService::Dashboard));
        }
    }
    if context.ping.is_some() {
        services.push((ServiceName::from("ping@internal"), InternalService::Ping));
    }
    if context.metrics.prometheus.is_some() {
        services.push((ServiceName::from("prometheus@internal"), InternalService::Prometheus));
    }
    if context.certificate_resolvers.iter().any(|resolver| resolver.http.is_some()) {
        services.push((ServiceName::from(CHALLENGE), InternalService::AcmeHttp));
    }
    if context.is_default {
        services.push((ServiceName::from("whoami@internal"), InternalService::Whoami));
    }
    services
}

/// The service of that name if it is on, or which key turns it on; none for a name that is not one of them.
pub(super) fn service(context: &Context, name: &str) -> Option<Result<InternalService, &'static str>> {
    let on = services(context).into_iter().find(|(service, _)| service.as_str() == name);
    if let Some((_, service)) = on {
        return Some(Ok(service));
    }
    match name {
        "api@internal" => Some(Err("set `api: {}` in the install configuration")),
        "dashboard@internal" => Some(Err("set `api.dashboard: true` in the install configuration")),
        "ping@internal" => Some(Err("set `ping: {}` in the install configuration")),
        "prometheus@internal" => Some(Err("set `metrics.prometheus: {}` in the install configuration")),
        CHALLENGE => Some(Err("give a certificate resolver an `httpChallenge`")),
        "whoami@internal" => Some(Ok(InternalService::Whoami)),
        _ => None,
    }
}

/// Redirections of entry points.
pub(super) fn redirections(context: &Context) -> impl Iterator<Item = (MiddlewareName, RedirectScheme)> {
    context.entry_points.iter().filter_map(|entry_point| {
        let redirection = entry_point.redirection.as_ref()?;
        let name = format!("redirect-{}@internal", redirection_name(entry_point, redirection));
        Some((MiddlewareName::from(name), RedirectScheme::of_entry_point(redirection)?))
    })
}

/// `<from>-to-<to>`, with `-` in place of what is neither letter nor digit, as in Traefik.
fn redirection_name(from: &EntryPoint, redirection: &Redirection) -> String {
    let name = format!("{}-to-{}", from.name, redirection.to);
    let words: Vec<_> = name.split(|letter: char| !letter.is_alphanumeric()).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Middlewares of the gateway's own routers: redirections, and what Traefik shows in front of its dashboard, which
/// does their work itself.
pub(super) fn middlewares(context: &Context) -> Vec<(MiddlewareName, RawMiddleware)> {
    let mut middlewares: Vec<_> = redirections(context)
        .map(|(name, redirect)| {
            let redirect = RawRedirectScheme {
                scheme: redirect.scheme.as_str().to_owned(),
                port: redirect.port.unwrap_or_else(|| redirect.scheme.default_port()).to_string(),
                permanent: redirect.permanent,
            };
            (name, RawMiddleware { redirect_scheme: Some(redirect), ..RawMiddleware::default() })
        })
        .collect();
    let Some(api) = context.api.as_ref().filter(|api| api.insecure && api.dashboard) else {
        return middlewares;
    };
    let redirect = RawRedirectRegex {
        regex: format!(r"^(http:\/\/(\[[\w:.]+\]|[\w\._-]+)(:\d+)?){}\/$", api.base_path),
        replacement: format!("${{1}}{}/dashboard/", api.base_path),
        permanent: true,
    };
    let strip = RawStripPrefix {
        prefixes: ["/dashboard/", "/dashboard"].map(|path| format!("{}{path}", api.base_path)).to_vec(),
        force_slash: None,
    };
    middlewares.extend([
        (
            MiddlewareName::from("dashboard_redirect@internal"),
            RawMiddleware { redirect_regex: Some(redirect), ..RawMiddleware::default() },
        ),
        (
            MiddlewareName::from("dashboard_stripprefix@internal"),
            RawMiddleware { strip_prefix: Some(strip), ..RawMiddleware::default() },
        ),
    ]);
    middlewares
}

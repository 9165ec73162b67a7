//! What the gateway routes by itself: Traefik's internal routers, services and middlewares, and the page that
//! greets where nothing was configured.

use super::{Context, MAX_USER_PRIORITY};
use crate::name::{MiddlewareName, RouterName, ServiceName};
use crate::problem::Origin;
use crate::routing::InternalService;
use crate::routing::raw::{Defined, RawMiddleware, RawRedirectRegex, RawRouter, RawStripPrefix};

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
    if context.is_default {
        add("whoami", Vec::new(), GREETED_HOSTS.to_owned(), -MAX_USER_PRIORITY, &[]);
    }
    routers
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
        "whoami@internal" => Some(Ok(InternalService::Whoami)),
        _ => None,
    }
}

/// Middlewares that Traefik shows in front of its dashboard; the dashboard does their work itself.
pub(super) fn middlewares(context: &Context) -> Vec<(MiddlewareName, RawMiddleware)> {
    let Some(api) = context.api.as_ref().filter(|api| api.insecure && api.dashboard) else {
        return Vec::new();
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
    vec![
        (
            MiddlewareName::from("dashboard_redirect@internal"),
            RawMiddleware { redirect_regex: Some(redirect), ..RawMiddleware::default() },
        ),
        (
            MiddlewareName::from("dashboard_stripprefix@internal"),
            RawMiddleware { strip_prefix: Some(strip), ..RawMiddleware::default() },
        ),
    ]
}

//! Services: servers checked one by one, how they are reached, and what follows from what is not served yet.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::middlewares::{self, Effect, Effects, Usable};
use super::transports::{self, Interned, Transports};
use super::{Context, Fault, Referrer, Users, internal, listed, names};
use crate::name::ServiceName;
use crate::problem::{Origin, Problem};
use crate::routing::merge::Merged;
use crate::routing::raw::{self, Defined, RawLoadBalancer, RawServer, RawServerTls, RawService, Scope};
use crate::routing::tls::Pem;
use crate::routing::transport::Transport;
use crate::routing::{Routing, Scheme, Server, Service, Standing, Status};

/// What a service comes to.
#[derive(Debug)]
pub(super) struct State {
    /// How far it reaches.
    pub(super) scope: Scope,
    /// Containers other than its own may use it.
    pub(super) export: bool,
    /// The service, or why what uses it answers 503.
    pub(super) service: Result<Service, Fault>,
    /// What it does without.
    pub(super) warnings: Vec<Fault>,
}

/// By qualified name.
pub(super) type States = HashMap<ServiceName, Box<State>, RandomState>;

/// Judges every service; each that does not work as written is a problem.
pub(super) fn judge(
    merged: &Merged,
    context: &Context,
    effects: &Effects,
    problems: &mut Vec<Problem>,
) -> States {
    let transports = transports::http(merged, &context.servers_transport, problems);
    let mut interned = Interned::default();
    let mut state = |(name, item): (&ServiceName, &Defined<RawService>)| {
        let subject = || format!("service `{}`", name.name());
        let mut warnings = Vec::new();
        let service = service(merged, effects, name, item, &transports, &mut warnings).map(|mut service| {
            service.transport = interned.share(service.transport);
            service
        });
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject())));
        if let Err(fault) = &service {
            problems.push(fault.error(&item.origin, &subject()));
        }
        let (scope, export) = (item.scope.clone(), item.value.export);
        (name.clone(), Box::new(State { scope, export, service, warnings }))
    };
    merged.services.iter().map(&mut state).collect()
}

fn service(
    merged: &Merged,
    effects: &Effects,
    name: &ServiceName,
    item: &Defined<RawService>,
    transports: &Transports<'_, Transport>,
    warnings: &mut Vec<Fault>,
) -> Result<Service, Fault> {
    // Every type is named here, so that a new one cannot be forgotten.
    let RawService {
        load_balancer,
        highest_random_weight,
        weighted,
        mirroring,
        failover,
        middlewares,
        export: _,
    } = &item.value;
    let composite: Vec<&str> = [
        (highest_random_weight.is_some(), "highestRandomWeight"),
        (weighted.is_some(), "weighted"),
        (mirroring.is_some(), "mirroring"),
        (failover.is_some(), "failover"),
    ]
    .into_iter()
    .filter_map(|(there, kind)| there.then_some(kind))
    .collect();
    let referrer = Referrer::new(name.provider(), &item.scope);
    let load_balancer = match (load_balancer, composite.as_slice()) {
        (Some(load_balancer), []) => load_balancer,
        (None, []) => {
            return Err(Fault::new(
                format!("the service \"{name}\" does not have any type defined"),
                "give it `loadBalancer: { servers: [{ url: \"http://10.0.0.1:80\" }] }`",
            ));
        }
        (None, [kind]) => {
            return Err(Fault::new(
                format!("services of type `{kind}` are not served yet"),
                "let routers name one of its services directly meanwhile; those that use it answer 503",
            ));
        }
        (_, [..]) => {
            return Err(Fault::new(
                "cannot create service: multi-types service not supported, consider declaring two different \
                 pieces of service instead",
                "routers that use it answer 503",
            ));
        }
    };
    let mine = middlewares::join(middlewares.iter().map(|reference| {
        match middlewares::find(merged, referrer, reference) {
            Ok(name) => effects.get(&name).cloned().unwrap_or_else(|| Effect::Usable(Usable::default())),
            Err(fault) => Effect::Unavailable(fault),
        }
    }));
    match mine {
        Effect::Usable(Usable { served, left_out }) => {
            if !served.is_empty() {
                return Err(Fault::new(
                    "`middlewares` of services are not served yet",
                    "name them at the routers meanwhile; those that use the service answer 503",
                ));
            }
            warnings.extend(left_out);
        }
        Effect::Unavailable(fault) => return Err(fault),
    }
    let servers = servers(load_balancer, warnings);
    settings(load_balancer, warnings)?;
    let transport = transport(load_balancer, transports, referrer, &servers, warnings)?;
    let down = servers.is_empty().then(|| match &item.standing {
        Standing::Down(reason) => Arc::clone(reason),
        Standing::Up if load_balancer.servers.is_empty() => Arc::from("the service has no server"),
        Standing::Up => Arc::from("no server of the service is valid"),
    });
    Ok(Service {
        name: name.clone(),
        servers,
        down,
        pass_host_header: load_balancer.pass_host_header,
        transport,
        origin: item.origin.clone(),
    })
}

/// The good servers, ordered by URL, no URL twice.
fn servers(load_balancer: &RawLoadBalancer, warnings: &mut Vec<Fault>) -> Vec<Server> {
    let mut servers = Vec::with_capacity(load_balancer.servers.len());
    for raw in &load_balancer.servers {
        match server(raw, warnings) {
            Ok(server) => servers.extend(server),
            Err(fault) => warnings.push(fault),
        }
        if raw.fenced {
            warnings.push(Fault::new("`fenced` means nothing outside of Kubernetes", "take it away"));
        }
    }
    // Stable: of two servers with one URL the first stays.
    servers.sort_by(|a, b| a.url.cmp(&b.url));
    servers.dedup_by(|a, b| a.url == b.url);
    servers
}

/// A server as the hot path wants it; none for one that takes no share.
fn server(raw: &RawServer, warnings: &mut Vec<Fault>) -> Result<Option<Server>, Fault> {
    let wrong = |why: &str| {
        Fault::new(
            format!("server `{}` is left out: {why}", without_userinfo(&raw.url)),
            "write `http://host:port`, `https://host:port` or `h2c://host:port`",
        )
    };
    let (scheme, rest) = raw.url.split_once("://").ok_or_else(|| wrong("it is no absolute URL"))?;
    let known = [("http", Scheme::Http, 80), ("https", Scheme::Https, 443), ("h2c", Scheme::H2c, 80)];
    let found = known.into_iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
    let (_, scheme, default_port) =
        found.ok_or_else(|| wrong("its scheme is not `http`, `https` or `h2c`"))?;
    if raw.url.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return Err(wrong("it holds a blank, a control character or a backslash"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(wrong("user names and passwords do not belong into it"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("`]` is missing"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("what stands in brackets is no IPv6 address"));
            }
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(wrong("only a port may follow the brackets")),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(fits) {
        return Err(wrong("its host is missing or holds a character that no host has"));
    }
    let port = match port {
        None | Some("") => default_port,
        Some(port) => match raw::wanted_port(port) {
            Ok(port) => port.unwrap_or(default_port),
            Err(_) => return Err(wrong("its port is not a number from 1 to 65535")),
        },
    };
    let weight = match raw.weight.unwrap_or(1) {
        weight if weight <= 0 => return Ok(None),
        weight => u32::try_from(weight).unwrap_or(u32::MAX),
    };
    let pin = match (raw.pin.as_str(), scheme) {
        ("", _) => None,
        (pin, Scheme::Https) => match parse_pin(pin) {
            Some(pin) => Some(pin),
            None => {
                let text = format!("server `{}` is left out: its `pin` is no SHA-256 digest", raw.url);
                let hint = "write the 64 hexadecimal digits of `openssl x509 -noout -fingerprint -sha256 -in cert.pem`";
                return Err(Fault::new(text, hint));
            }
        },
        (_, Scheme::Http | Scheme::H2c) => {
            let text = "`pin` means nothing: the server is not `https`";
            warnings.push(Fault::new(text, "take it away, or write `https://`"));
            None
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path_prefix = if raw.preserve_path { path.trim_end_matches('/') } else { "" };
    Ok(Some(Server {
        url: Arc::from(raw.url.as_str()),
        scheme,
        host: Arc::from(host),
        port,
        weight,
        path_prefix: Arc::from(path_prefix),
        pin,
    }))
}

/// SHA-256 in hexadecimal digits, with colons between bytes or without.
fn parse_pin(written: &str) -> Option<[u8; 32]> {
    let mut pin = [0; 32];
    let mut digits = written.trim().bytes().filter(|byte| *byte != b':');
    for byte in &mut pin {
        let mut digit = || char::from(digits.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit()? * 16 + digit()?;
    }
    digits.next().is_none().then_some(pin)
}

/// A URL for a message: what stands before `@` may be a password.
fn without_userinfo(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}

/// Everything beside the servers and how they are reached.
fn settings(load_balancer: &RawLoadBalancer, warnings: &mut Vec<Fault>) -> Result<(), Fault> {
    let without = "the service is served without it meanwhile";
    let mut left_out = |there: bool, what: &str| {
        if there {
            warnings.push(Fault::new(format!("`{what}` is not served yet"), without));
        }
    };
    left_out(load_balancer.sticky.as_ref().is_some_and(|sticky| sticky.cookie.is_some()), "sticky.cookie");
    left_out(load_balancer.health_check.is_some(), "healthCheck");
    left_out(load_balancer.passive_health_check.is_some(), "passiveHealthCheck");
    match load_balancer.strategy.as_str() {
        "" | "wrr" => Ok(()),
        strategy @ ("p2c" | "hrw" | "leasttime") => {
            let text = format!("strategy `{strategy}` is not served yet");
            warnings.push(Fault::new(text, "requests are shared by weight (`wrr`) meanwhile"));
            Ok(())
        }
        strategy => {
            let text = format!("unsupported load-balancer strategy \"{strategy}\"");
            Err(Fault::new(text, "known are `wrr`, `p2c`, `hrw` and `leasttime`"))
        }
    }
}

/// How the servers are reached: the named transport or the default one, with what the service says itself.
fn transport(
    load_balancer: &RawLoadBalancer,
    transports: &Transports<'_, Transport>,
    referrer: Referrer<'_>,
    servers: &[Server],
    warnings: &mut Vec<Fault>,
) -> Result<Arc<Transport>, Fault> {
    let (mut transport, named) = transports.find(referrer, &load_balancer.servers_transport)?;
    let https = servers.iter().any(|server| server.scheme == Scheme::Https);
    let mut skips = named.filter(|_| transport.tls.skip_verify).map(|name| {
        (format!("`insecureSkipVerify` of servers transport \"{name}\""), "name who signed it in `rootCAs`")
    });
    if let Some(RawServerTls { skip_verify, ca_file }) = &load_balancer.tls
        && (*skip_verify || !ca_file.is_empty())
    {
        if !https && !servers.is_empty() {
            let text = "`tls` of the load balancer means nothing: none of its servers is `https`";
            warnings.push(Fault::new(text, "take it away, or write `https://`"));
        }
        let tls = &mut Arc::make_mut(&mut transport).tls;
        if !ca_file.is_empty() {
            tls.roots = vec![Pem::new(ca_file)];
        }
        if *skip_verify {
            tls.skip_verify = true;
            skips = Some(("`tls.skipVerify`".to_owned(), "name who signed it in `tls.caFile`"));
        }
    }
    // Whatever is signed by anybody, a pinned server shows the one certificate.
    let pinned = |server: &Server| server.scheme != Scheme::Https || server.pin.is_some();
    if let Some((key, instead)) = skips.filter(|_| !servers.iter().all(pinned)) {
        let text = format!("certificates of its servers are not verified ({key})");
        warnings.push(Fault::new(text, format!("set the server's `pin`, or {instead}")));
    }
    Ok(transport)
}

/// Lists every service and keeps the good ones.
pub(super) fn list(
    merged: &Merged,
    context: &Context,
    mut states: States,
    users: &Users,
    routing: &mut Routing,
) {
    let mut good = Vec::with_capacity(merged.services.len());
    let mut list = |(name, item): (&ServiceName, &Defined<RawService>)| {
        let State { service, warnings, .. } = *states.remove(name)?;
        let mut errors: Vec<_> = warnings.iter().map(Fault::listed).collect();
        let status = match service {
            Ok(service) => {
                good.push((name.clone(), service));
                if errors.is_empty() { Status::Enabled } else { Status::Warning }
            }
            Err(fault) => {
                errors.insert(0, fault.listed());
                Status::Disabled
            }
        };
        let used_by = names(users.services.get(name));
        Some((name.clone(), listed(item.clone(), status, errors, used_by)))
    };
    routing.listing.services = merged.services.iter().filter_map(&mut list).collect();
    routing.services = good.into_iter().collect();
    for (name, _) in internal::services(context) {
        let used_by = names(users.services.get(&name));
        let item = Defined::new(RawService::default(), Origin::Gateway);
        let entry = listed(item, Status::Enabled, Vec::new(), used_by);
        routing.listing.services.insert(name, entry);
    }
}

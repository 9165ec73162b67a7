//! One item (router, service, middleware), decoded for itself: what is wrong with it costs it and no other.

use std::fmt;

use serde::de::DeserializeOwned;

use super::raw::{Defined, RawLoadBalancer, RawRouter, RawRouting, RawService};
use crate::document::{DecodeError, Node, Style, decode};
use crate::problem::{Origin, Problem, did_you_mean};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    HttpRouter,
    HttpService,
    HttpMiddleware,
    TcpRouter,
    TcpService,
    TcpMiddleware,
    UdpRouter,
    UdpService,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::HttpRouter,
        Self::HttpService,
        Self::HttpMiddleware,
        Self::TcpRouter,
        Self::TcpService,
        Self::TcpMiddleware,
        Self::UdpRouter,
        Self::UdpService,
    ];

    /// Its two keys: `http` and `routers`.
    pub(super) fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::HttpRouter => ("http", "routers"),
            Self::HttpService => ("http", "services"),
            Self::HttpMiddleware => ("http", "middlewares"),
            Self::TcpRouter => ("tcp", "routers"),
            Self::TcpService => ("tcp", "services"),
            Self::TcpMiddleware => ("tcp", "middlewares"),
            Self::UdpRouter => ("udp", "routers"),
            Self::UdpService => ("udp", "services"),
        }
    }

    /// The kind under two keys, which are compared without case.
    pub(super) fn of(section: &str, items: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let keys = kind.keys();
            keys.0.eq_ignore_ascii_case(section) && keys.1.eq_ignore_ascii_case(items)
        })
    }

    /// The kind of a section whose second key was probably meant.
    pub(super) fn guess(section: &str, items: &str) -> Option<Self> {
        Self::of(section, did_you_mean(items, ["routers", "services", "middlewares"])?)
    }

    /// As a problem's subject: `` router `blog` ``.
    pub(super) fn subject(self, name: &str) -> String {
        format!("{self} `{name}`")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpRouter => "router",
            Self::HttpService => "service",
            Self::HttpMiddleware => "middleware",
            Self::TcpRouter => "TCP router",
            Self::TcpService => "TCP service",
            Self::TcpMiddleware => "TCP middleware",
            Self::UdpRouter => "UDP router",
            Self::UdpService => "UDP service",
        })
    }
}

/// Decodes an item and puts it in its place. Warnings are about items that stay.
pub(super) fn add(
    routing: &mut RawRouting,
    kind: Kind,
    name: &str,
    node: &Node,
    style: Style,
    origin: &Origin,
) -> Result<Vec<Problem>, Vec<DecodeError>> {
    fn value<T: DeserializeOwned>(
        node: &Node,
        style: Style,
        origin: &Origin,
    ) -> Result<Defined<T>, Vec<DecodeError>> {
        decode(node, style).map(|value| Defined::new(value, origin.clone()))
    }

    let name_error = |message: String, hint: &str| {
        vec![DecodeError {
            origin: origin.clone(),
            path: String::new(),
            message,
            hint: Some(hint.to_owned()),
        }]
    };
    if name.is_empty() {
        return Err(name_error(format!("a {kind} has no name"), "give it one"));
    }
    if name.contains('@') {
        return Err(name_error(
            "`@` is not allowed in a name: it stands before the provider in references".to_owned(),
            "leave `@` and what follows it away; it is added by itself",
        ));
    }
    let mut warnings = Vec::new();
    let mut warn = |message: &str, hint: &str| {
        warnings.push(Problem::warning(origin.clone(), kind.subject(name), message).with_hint(hint));
    };
    let name = name.to_owned();
    match kind {
        Kind::HttpRouter => {
            let mut router: Defined<RawRouter> = value(node, style, origin)?;
            if style == Style::Text && !router.value.parent_refs.is_empty() {
                warn(
                    "`parentRefs` cannot be set by a label and is left out",
                    "write the layers of routers in a routing file",
                );
                router.value.parent_refs.clear();
            }
            routing.http.routers.insert(name, router);
        }
        Kind::HttpService => {
            let mut service: Defined<RawService> = value(node, style, origin)?;
            match style {
                Style::Text => {
                    if strip_composite(&mut service.value) {
                        warn(
                            "`weighted`, `mirroring`, `failover` and `highestRandomWeight` cannot be set by a \
                             label and are left out",
                            "write such a service in a routing file",
                        );
                    }
                    label_service(&service.value).map_err(|(path, message, hint)| {
                        vec![DecodeError {
                            origin: origin.clone(),
                            path: path.to_owned(),
                            message: message.to_owned(),
                            hint: Some(hint.to_owned()),
                        }]
                    })?;
                }
                Style::File => {
                    let label_form =
                        service.value.load_balancer.as_ref().is_some_and(|lb| lb.server.is_some());
                    refuse_label_form(label_form, node, origin)?;
                }
            }
            routing.http.services.insert(name, service);
        }
        Kind::HttpMiddleware => {
            routing.http.middlewares.insert(name, value(node, style, origin)?);
        }
        Kind::TcpRouter => {
            routing.tcp.routers.insert(name, value(node, style, origin)?);
        }
        Kind::TcpService => {
            let service: Defined<super::raw::RawTcpService> = value(node, style, origin)?;
            let lb = service.value.load_balancer.as_ref();
            if style == Style::File {
                refuse_label_form(lb.is_some_and(|lb| lb.server.is_some()), node, origin)?;
            } else {
                refuse_file_form(lb.is_some(), lb.is_some_and(|lb| !lb.servers.is_empty()), origin)?;
            }
            routing.tcp.services.insert(name, service);
        }
        Kind::TcpMiddleware => {
            routing.tcp.middlewares.insert(name, value(node, style, origin)?);
        }
        Kind::UdpRouter => {
            routing.udp.routers.insert(name, value(node, style, origin)?);
        }
        Kind::UdpService => {
            let service: Defined<super::raw::RawUdpService> = value(node, style, origin)?;
            let lb = service.value.load_balancer.as_ref();
            if style == Style::File {
                refuse_label_form(lb.is_some_and(|lb| lb.server.is_some()), node, origin)?;
            } else {
                refuse_file_form(lb.is_some(), lb.is_some_and(|lb| !lb.servers.is_empty()), origin)?;
            }
            routing.udp.services.insert(name, service);
        }
    }
    Ok(warnings)
}

/// Takes an item away again.
pub(super) fn remove(routing: &mut RawRouting, kind: Kind, name: &str) {
    match kind {
        Kind::HttpRouter => drop(routing.http.routers.remove(name)),
        Kind::HttpService => drop(routing.http.services.remove(name)),
        Kind::HttpMiddleware => drop(routing.http.middlewares.remove(name)),
        Kind::TcpRouter => drop(routing.tcp.routers.remove(name)),
        Kind::TcpService => drop(routing.tcp.services.remove(name)),
        Kind::TcpMiddleware => drop(routing.tcp.middlewares.remove(name)),
        Kind::UdpRouter => drop(routing.udp.routers.remove(name)),
        Kind::UdpService => drop(routing.udp.services.remove(name)),
    }
}

/// Takes away what labels cannot say; true if there was any.
fn strip_composite(service: &mut RawService) -> bool {
    let RawService { load_balancer, middlewares, export, .. } = service.clone();
    let plain = RawService { load_balancer, middlewares, export, ..RawService::default() };
    std::mem::replace(service, plain.clone()) != plain
}

type Refusal = (&'static str, &'static str, &'static str);

const NO_LOAD_BALANCER: Refusal =
    ("", "load-balancer is not defined", "set `loadbalancer.server.port`, or leave the service away");
const NO_SERVERS: Refusal = (
    "loadBalancer.servers",
    "field not found, node: servers",
    "a container is one server: set `loadbalancer.server.port` or `loadbalancer.server.url`",
);

fn label_service(service: &RawService) -> Result<(), Refusal> {
    let Some(RawLoadBalancer { servers, .. }) = &service.load_balancer else {
        return Err(NO_LOAD_BALANCER);
    };
    if servers.is_empty() { Ok(()) } else { Err(NO_SERVERS) }
}

fn refuse_file_form(load_balancer: bool, servers: bool, origin: &Origin) -> Result<(), Vec<DecodeError>> {
    let (path, message, hint) = match (load_balancer, servers) {
        (false, _) => NO_LOAD_BALANCER,
        (true, true) => NO_SERVERS,
        (true, false) => return Ok(()),
    };
    Err(vec![DecodeError {
        origin: origin.clone(),
        path: path.to_owned(),
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    }])
}

fn refuse_label_form(present: bool, node: &Node, origin: &Origin) -> Result<(), Vec<DecodeError>> {
    if !present {
        return Ok(());
    }
    let place = node.get("loadBalancer").and_then(|lb| {
        lb.entries()
            .iter()
            .find(|(key, _)| key.text.eq_ignore_ascii_case("server"))
            .map(|(key, _)| &key.origin)
    });
    Err(vec![DecodeError {
        origin: place.unwrap_or(origin).clone(),
        path: "loadBalancer.server".to_owned(),
        message: "`server` is the form of labels".to_owned(),
        hint: Some("write a list: `servers: [{ url: \"http://10.0.0.1:80\" }]`".to_owned()),
    }])
}

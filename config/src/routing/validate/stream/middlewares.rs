//! TCP middlewares. A bad one is never left out: connections of what uses it are closed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{Fault, Referrer};
use crate::name::MiddlewareName;
use crate::problem::Problem;
use crate::routing::merge::Merged;
use crate::routing::raw::{RawInFlightConn, RawTcpIpAllowList, RawTcpMiddleware};
use crate::routing::stream::TcpMiddleware;
use crate::rule::fold_mapped;

/// By qualified name.
pub(super) type Middlewares = BTreeMap<MiddlewareName, Result<TcpMiddleware, Fault>>;

/// Judges every middleware; each that does not work as written is a problem.
pub(super) fn judge(merged: &Merged, problems: &mut Vec<Problem>) -> Middlewares {
    let mut middlewares = Middlewares::new();
    for (name, item) in &merged.tcp_middlewares {
        let subject = format!("TCP middleware `{}`", name.name());
        let mut warnings = Vec::new();
        let middleware = middleware(&item.value, &mut warnings);
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));
        if let Err(fault) = &middleware {
            let text = format!("{}: connections of routers that use it are closed", fault.text);
            problems.push(Fault { text, hint: fault.hint.clone() }.error(&item.origin, &subject));
        }
        middlewares.insert(name.clone(), middleware);
    }
    middlewares
}

/// The middleware that a reference means.
pub(super) fn find(
    merged: &Merged,
    referrer: Referrer<'_>,
    reference: &str,
) -> Result<MiddlewareName, Fault> {
    let known = |name: &str| merged.tcp_middlewares.get(name).map(|item| (&item.scope, false));
    let all = merged.tcp_middlewares.keys().map(MiddlewareName::as_str);
    referrer.resolve("middleware", reference, known, all).map(MiddlewareName::from)
}

fn middleware(raw: &RawTcpMiddleware, warnings: &mut Vec<Fault>) -> Result<TcpMiddleware, Fault> {
    // Every type is named here, so that a new one cannot be forgotten.
    let RawTcpMiddleware { in_flight_conn, ip_white_list, ip_allow_list } = raw;
    match (in_flight_conn, ip_white_list, ip_allow_list) {
        (Some(in_flight), None, None) => in_flight_connections(in_flight),
        (None, Some(list), None) => {
            warnings.push(Fault::new("`ipWhiteList` is deprecated", "write `ipAllowList`"));
            allow_list(list)
        }
        (None, None, Some(list)) => allow_list(list),
        (None, None, None) => Err(Fault::new(
            "invalid middleware type or middleware does not exist",
            "give it one type, such as `ipAllowList`",
        )),
        (_, _, _) => Err(Fault::new(
            "cannot create middleware: multi-types middleware not supported, consider declaring two different \
             pieces of middleware instead",
            "give each one type",
        )),
    }
}

fn in_flight_connections(RawInFlightConn { amount }: &RawInFlightConn) -> Result<TcpMiddleware, Fault> {
    match u32::try_from(*amount) {
        Ok(amount) if amount > 0 => Ok(TcpMiddleware::InFlightConn(amount)),
        Ok(_) | Err(_) => Err(Fault::new(
            format!("`inFlightConn.amount: {amount}` lets no connection pass"),
            "write how many connections a client may have at a time",
        )),
    }
}

fn allow_list(RawTcpIpAllowList { source_range }: &RawTcpIpAllowList) -> Result<TcpMiddleware, Fault> {
    if source_range.is_empty() {
        return Err(Fault::new("sourceRange is empty, IPAllowLister not created", "set `sourceRange`"));
    }
    let range = |written: &String| {
        let written = written.trim();
        let range = written.parse::<IpNet>().or_else(|_| written.parse::<IpAddr>().map(IpNet::from));
        range.map(|range| fold_mapped(range).trunc()).map_err(|_| {
            Fault::new(
                format!("cannot parse CIDRs {source_range:?}: parsing CIDR trusted IPs {written}: invalid CIDR address"),
                "write addresses (192.0.2.1) and ranges (192.0.2.0/24, 2001:db8::/32)",
            )
        })
    };
    source_range.iter().map(range).collect::<Result<_, _>>().map(TcpMiddleware::IpAllowList)
}

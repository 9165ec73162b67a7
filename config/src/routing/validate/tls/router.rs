//! The TLS block of a router: its options, and the certificates that its resolver is asked for.

use std::sync::Arc;

use super::super::{Context, Fault, Referrer};
use super::{DEFAULT, domains};
use crate::name::{TlsOptionsName, split_reference};
use crate::problem::{Origin, Problem};
use crate::routing::merge::Merged;
use crate::routing::raw::RawRouterTls;
use crate::routing::tls::{RouterTls, Tls};

/// What the TLS block of a router comes to.
pub(in super::super) struct Judged {
    /// What is in force.
    pub(in super::super) tls: RouterTls,
    /// The options do not exist: the router is left out.
    pub(in super::super) unknown: Option<Fault>,
    /// The options cannot be used: handshakes for the router's hosts are refused.
    pub(in super::super) refused: Option<Fault>,
    /// What it does without.
    pub(in super::super) warnings: Vec<Fault>,
}

/// Judges a block. `hosts` are the names in the router's rule, which is `rule`.
pub(in super::super) fn judge(
    block: &RawRouterTls,
    referrer: Referrer<'_>,
    (rule, hosts): (&str, &[String]),
    merged: &Merged,
    context: &Context,
    tls: &Tls,
) -> Judged {
    // Whether it is passed through is a question to the kind of router.
    let RawRouterTls { passthrough: _, options, cert_resolver, domains } = block;
    let (name, unknown) = match find_options(options, referrer, merged) {
        Ok(name) => (name, None),
        Err(fault) => (TlsOptionsName::from(DEFAULT), Some(fault)),
    };
    let mut judged = Judged {
        tls: RouterTls { options: name, resolver: None, domains: Vec::new() },
        unknown,
        refused: None,
        warnings: Vec::new(),
    };
    let options = &judged.tls.options;
    if let Some(Err(reason)) = tls.options.get(options) {
        let text = format!("TLS options `{options}` cannot be used: {reason}");
        judged.refused = Some(Fault::new(text, "mend the options: meanwhile handshakes are refused"));
    }
    if hosts.is_empty() && options.as_str() != DEFAULT {
        judged.warnings.push(Fault::new(
            format!("no domain found in rule {rule}, the TLS option {options} cannot be applied"),
            "options are chosen by the name that a client asks for: add it to the rule",
        ));
    }
    if cert_resolver.is_empty() {
        return judged;
    }
    let resolver = match context.resolver(cert_resolver) {
        Ok(resolver) => resolver,
        Err(fault) => {
            let text = format!("Router uses a {}", fault.text);
            judged.warnings.push(Fault { text, hint: fault.hint });
            return judged;
        }
    };
    judged.tls.resolver = Some(Arc::clone(&resolver.name));
    let (names, faults) = match domains.as_slice() {
        [] => domains::of_names(hosts, resolver.dns),
        blocks => domains::of_blocks(blocks.iter(), resolver.dns),
    };
    if names.is_empty() && faults.is_empty() {
        judged.warnings.push(Fault::new(
            format!(
                "no name for the certificate resolver `{}` in rule {rule}: nothing is asked for",
                resolver.name
            ),
            "set `tls.domains`, or add a host to the rule",
        ));
    }
    judged.warnings.extend(faults);
    judged.tls.domains = names;
    judged
}

/// The set of options that a reference means.
fn find_options(reference: &str, referrer: Referrer<'_>, merged: &Merged) -> Result<TlsOptionsName, Fault> {
    if ["", DEFAULT].contains(&reference) {
        return Ok(TlsOptionsName::from(DEFAULT));
    }
    let known = |name: &str| merged.tls_options.get(name).map(|item| (&item.scope, true));
    let all = merged.tls_options.keys().map(String::as_str);
    referrer.resolve("TLS options", reference, known, all).map(TlsOptionsName::from).map_err(|fault| {
        let name = match split_reference(reference) {
            (_, Some(_)) => reference.to_owned(),
            (_, None) => format!("{reference}@{}", referrer.provider),
        };
        Fault { text: format!("unknown TLS options: {name}"), hint: fault.hint }
    })
}

/// What an entry point adds to its routers is told once, and not of each of them.
pub(in super::super) fn entry_points(context: &Context, problems: &mut Vec<Problem>) {
    for entry_point in &context.entry_points {
        let Some(block) = &entry_point.http.tls else { continue };
        if block.cert_resolver.is_empty() {
            continue;
        }
        let faults = match context.resolver(&block.cert_resolver) {
            Ok(resolver) => domains::of_blocks(block.domains.iter(), resolver.dns).1,
            Err(fault) => vec![fault],
        };
        let subject = format!("entry point `{}`", entry_point.name);
        problems.extend(faults.into_iter().map(|fault| {
            let text = format!("`http.tls`: {}", fault.text);
            Fault { text, hint: fault.hint }.warning(&Origin::Gateway, &subject)
        }));
    }
}

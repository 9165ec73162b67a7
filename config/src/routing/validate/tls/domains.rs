//! Names of certificates: in one form, each asked for once, and none that its resolver could not prove.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::Fault;
use crate::routing::raw::RawDomain;
use crate::routing::tls::Domain;

/// Longest name, and longest label of one.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// One certificate for each block. `dns` says whether the resolver can prove wildcards.
pub(in super::super) fn of_blocks<'a>(
    blocks: impl Iterator<Item = &'a RawDomain>,
    dns: bool,
) -> (Vec<Domain>, Vec<Fault>) {
    let names = |block: &'a RawDomain| {
        std::iter::once(&block.main).chain(&block.sans).filter(|name| !name.is_empty()).map(String::as_str)
    };
    certificates(blocks.map(|block| names(block).collect()), dns)
}

/// One certificate with all of these names.
pub(in super::super) fn of_names(names: &[String], dns: bool) -> (Vec<Domain>, Vec<Fault>) {
    certificates(std::iter::once(names.iter().map(String::as_str).collect()), dns)
}

/// One certificate for each list, but for names that another one has or whose wildcard covers them.
fn certificates<'a>(lists: impl Iterator<Item = Vec<&'a str>>, dns: bool) -> (Vec<Domain>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut good = |name: &&str| match canonical(name).and_then(|canonical| allowed(name, canonical, dns)) {
        Ok(name) => Some(name),
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    let lists: Vec<Vec<String>> = lists.map(|names| names.iter().filter_map(&mut good).collect()).collect();
    let wildcards: HashSet<&str> = lists.iter().flatten().filter_map(|name| name.strip_prefix('*')).collect();
    let covered = |name: &str| name.find('.').is_some_and(|dot| dot > 0 && wildcards.contains(&name[dot..]));
    let mut seen = HashSet::new();
    let mut domains = Vec::with_capacity(lists.len());
    for names in &lists {
        let mut left = names
            .iter()
            .filter(|name| name.starts_with('*') || !covered(name))
            .filter(|name| seen.insert(name.as_str()))
            .map(|name| Arc::from(name.as_str()));
        if let Some(main) = left.next() {
            domains.push(Domain { main, sans: left.collect() });
        }
    }
    (domains, faults)
}

/// ASCII, lower case, no trailing dot.
fn canonical(written: &str) -> Result<String, Fault> {
    let wrong = || {
        Fault::new(
            format!("`{written}` is no name that a certificate can have: it is not asked for"),
            "write a host name, or `*.` and a host name",
        )
    };
    let name = written.trim();
    let name = name.strip_suffix('.').unwrap_or(name);
    // The wildcard is no label that could be converted.
    let (wildcard, rest) = match name.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", name),
    };
    // `*.*` has a text of its own.
    if rest.starts_with('*') && !wildcard.is_empty() {
        return Ok(format!("{wildcard}{rest}"));
    }
    let rest = idna::domain_to_ascii(rest).map_err(|_| wrong())?;
    let fits = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // An IPv6 address is the one name with colons.
    let is_name = rest.split('.').all(fits) || rest.parse::<std::net::Ipv6Addr>().is_ok();
    if !is_name || wildcard.len() + rest.len() > LONGEST_NAME {
        return Err(wrong());
    }
    Ok(format!("{wildcard}{rest}"))
}

/// Whether a resolver can prove the name.
fn allowed(written: &str, canonical: String, dns: bool) -> Result<String, Fault> {
    let Some(parent) = canonical.strip_prefix("*.") else { return Ok(canonical) };
    let text = |why: &str| {
        format!("unable to generate a wildcard certificate in ACME provider for domain {written:?} : {why}")
    };
    if parent.starts_with('*') {
        return Err(Fault::new(
            text("ACME does not allow '*.*' wildcard domain"),
            "name one level, as in `*.example.com`",
        ));
    }
    if !dns {
        return Err(Fault::new(
            text("ACME needs a DNSChallenge"),
            "set `dnsChallenge` for the certificate resolver, or name each host",
        ));
    }
    Ok(canonical)
}

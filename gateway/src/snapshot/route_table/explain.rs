//! Why a request goes where it goes: the winner, what it shadows, and the nearest misses.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use config::problem::did_you_mean;
use config::rule::{Expression, Matcher, RequiredHost};

use super::condition::{Test, parent};
use super::{Considered, Outcome, Ranked, RequestView, RouteTable};

/// Most alternatives of a failed `||` that are written out.
const MAX_ALTERNATIVES: usize = 3;

pub(super) fn explain(table: &RouteTable, request: &RequestView<'_>, limit: usize) -> Vec<Considered> {
    let mut considered: Vec<Considered> = Vec::new();
    let mut misses = Vec::new();
    let similar_host = did_you_mean(request.host, table.hosts.keys().map(|host| &**host));
    for ranked in &table.ranked {
        match failure(ranked.rule.expression(), request) {
            None => considered.push(Considered {
                route: Arc::clone(&ranked.route),
                outcome: if considered.is_empty() { Outcome::Wins } else { Outcome::Shadowed },
            }),
            Some(failed) => misses.push((nearness(ranked, request, similar_host), ranked, failed)),
        }
    }
    // Stable: between equally near ones the rank decides.
    misses.sort_by_key(|(nearness, ..)| Reverse(*nearness));
    considered.extend(misses.into_iter().map(|(_, ranked, failed)| Considered {
        route: Arc::clone(&ranked.route),
        outcome: Outcome::Misses { failed },
    }));
    considered.truncate(limit);
    considered
}

/// The first condition that keeps the expression from holding, as text; none if it holds.
fn failure(expression: &Expression, request: &RequestView<'_>) -> Option<String> {
    match expression {
        Expression::And(operands) => operands.iter().find_map(|operand| failure(operand, request)),
        Expression::Or(operands) => {
            let failures: Option<Vec<String>> =
                operands.iter().map(|operand| failure(operand, request)).collect();
            failures.map(|mut failures| {
                if failures.len() > MAX_ALTERNATIVES {
                    failures.truncate(MAX_ALTERNATIVES);
                    failures.push("…".to_owned());
                }
                failures.join(" || ")
            })
        }
        Expression::Not(operand) => failure(operand, request).is_none().then(|| expression.to_string()),
        Expression::Matcher(matcher) => (!Test::compile(matcher).holds(request)).then(|| matcher.to_string()),
    }
}

/// How near a router that does not match came: first by host, then by how much of the rest holds.
fn nearness(ranked: &Ranked, request: &RequestView<'_>, similar_host: Option<&str>) -> (usize, usize) {
    let host = match ranked.rule.required_hosts() {
        Some(required) => host_nearness(&required, request.host, similar_host),
        None => 2,
    };
    let mut holding = 0;
    ranked.rule.expression().visit(false, &mut |matcher: &Matcher, negated| {
        holding += usize::from(Test::compile(matcher).holds(request) != negated);
    });
    (host, holding)
}

fn host_nearness(required: &BTreeSet<RequiredHost>, host: &str, similar_host: Option<&str>) -> usize {
    let best = required.iter().map(|required| match required {
        RequiredHost::Exact(required) if **required == *host => 4,
        RequiredHost::Wildcard(suffix) if parent(host) == Some(&**suffix) => 4,
        RequiredHost::Exact(required) if Some(&**required) == similar_host => 3,
        RequiredHost::Exact(required) if parent(host).is_some() && parent(required) == parent(host) => 1,
        RequiredHost::Exact(_) | RequiredHost::Wildcard(_) => 0,
    });
    best.max().unwrap_or(0)
}

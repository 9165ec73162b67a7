//! HTTP routers: entry points and what they add, rule, priority, and where a request goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::middlewares::{self, Effect, Effects, Served, Usable};
use super::services::States;
use super::{Context, Fault, MAX_USER_PRIORITY, Referrer, Users, internal, listed, scope, tls};
use crate::install::EntryPoint;
use crate::name::{EntryPointName, MiddlewareName, RouterName, ServiceName, split_reference};
use crate::problem::{Origin, Problem, did_you_mean};
use crate::routing::merge::Merged;
use crate::routing::raw::{Defined, RawObservability, RawRouter, Scope};
use crate::routing::tls::{RouterTls, Tls};
use crate::routing::{InStep, Listed, Observability, Router, Routing, Standing, Status, Target};
use crate::rule::{self, Rule};

/// Builds and lists every router; each that does not work as written is a problem.
pub(super) fn build(
    previous: &Routing,
    merged: &Merged,
    context: &Context,
    effects: &Effects,
    states: &States,
    routing: &mut Routing,
    problems: &mut Vec<Problem>,
) -> Users {
    let refused = scope::refused(merged.routers.iter());
    let parents = parents(merged);
    let mut builder = Builder {
        previous: InStep::new(&previous.routers),
        merged,
        context,
        effects,
        served: &routing.middlewares,
        states,
        tls: &routing.tls,
        parents: &parents,
        users: Users {
            services: HashMap::with_capacity_and_hasher(merged.services.len(), RandomState::default()),
            ..Users::default()
        },
        listing: Vec::with_capacity(merged.routers.len()),
        routers: Vec::with_capacity(merged.routers.len()),
        problems,
    };
    for (name, item) in internal::routers(context) {
        builder.add(&name, &item, None);
    }
    for (name, item) in &merged.routers {
        builder.add(name, item, refused.get(name));
    }
    let Builder { mut users, listing, routers, .. } = builder;
    routing.listing.routers = listing.into_iter().collect();
    routing.routers = routers.into_iter().collect();
    tls::conflicts::settle(routing, &mut users, problems);
    conflicts(routing, problems);
    users
}

/// Routers that others name as a layer in front of them.
fn parents(merged: &Merged) -> HashSet<String> {
    let mut parents = HashSet::new();
    for (name, item) in &merged.routers {
        for reference in &item.value.parent_refs {
            parents.insert(match split_reference(reference) {
                (_, Some(_)) => reference.clone(),
                (_, None) => format!("{reference}@{}", name.provider()),
            });
        }
    }
    parents
}

struct Builder<'a> {
    previous: InStep<'a, RouterName, Router>,
    merged: &'a Merged,
    context: &'a Context,
    effects: &'a Effects,
    served: &'a Served,
    states: &'a States,
    tls: &'a Tls,
    parents: &'a HashSet<String>,
    users: Users,
    listing: Vec<(RouterName, Listed<RawRouter>)>,
    routers: Vec<(RouterName, Router)>,
    problems: &'a mut Vec<Problem>,
}

/// A router on entry points that add the same to it.
struct Part {
    name: RouterName,
    raw: RawRouter,
    entry_points: Vec<EntryPointName>,
    /// Middlewares at the front that the entry point added.
    added_middlewares: usize,
    /// Middlewares that are served, in order.
    served: Vec<MiddlewareName>,
    observability: Observability,
}

/// What was found out about a router.
#[derive(Default)]
struct Findings {
    /// It is left out.
    disabled: Vec<Fault>,
    /// Its TLS handshakes are refused.
    refused: Vec<Fault>,
    /// It answers 503.
    unavailable: Vec<Fault>,
    /// It works, not as written.
    warnings: Vec<Fault>,
    /// The same, where the problem is another item's.
    notes: Vec<Fault>,
    /// It works as written, which may not be what was meant.
    doubts: Vec<Fault>,
}

impl Builder<'_> {
    fn add(&mut self, name: &RouterName, item: &Defined<RawRouter>, refused: Option<&Fault>) {
        let (parts, unknown) = split(self.context, name, &item.value);
        for mut part in parts {
            let mut findings = Findings { warnings: unknown.clone(), ..Findings::default() };
            findings.disabled.extend(refused.cloned());
            if part.name != *name && self.merged.routers.contains_key(&part.name) {
                let text =
                    format!("its copy for one entry point would be named like router \"{}\"", part.name);
                findings.disabled.push(Fault::new(text, "give one of the two another name"));
                self.report(name, &item.origin, &findings);
                continue;
            }
            let rule = rule(&part.raw, self.previous.get(&part.name), &mut findings);
            self.settings(name, &part, &mut findings);
            let tls = self.tls(name, item, &part, rule.as_ref(), &mut findings);
            let target = self.target(name, item, &part, &mut findings);
            part.served = self.middlewares(name, item, &part, &mut findings);
            self.report(name, &item.origin, &findings);
            self.finish(name, item, part, (rule, tls, target), &findings);
        }
    }

    /// Everything but rule, TLS, middlewares and service.
    fn settings(&self, name: &RouterName, part: &Part, findings: &mut Findings) {
        let raw = &part.raw;
        if part.entry_points.is_empty() {
            let known: Vec<_> = self.context.entry_points.iter().map(|entry| entry.name.as_str()).collect();
            findings.disabled.push(Fault::new(
                "no valid entryPoint for this router",
                format!("there are `{}`", known.join("`, `")),
            ));
        }
        if raw.priority > MAX_USER_PRIORITY && name.provider() != "internal" {
            findings.disabled.push(Fault::new(
                format!(
                    "the router priority {} exceeds the max user-defined priority {MAX_USER_PRIORITY}",
                    raw.priority
                ),
                "give a smaller number",
            ));
        }
        if !raw.parent_refs.is_empty() {
            findings.disabled.push(Fault::new(
                "`parentRefs` (layers of routers) are not served yet",
                "write one router with the rule and the middlewares of both layers meanwhile",
            ));
        }
        if !raw.preset.is_empty() {
            findings.warnings.push(Fault::new(
                format!("preset `{}` is not served yet", raw.preset),
                "the router is served without it meanwhile",
            ));
        }
        if !["", "allow"].contains(&raw.encoded_characters.as_str()) {
            findings.warnings.push(Fault::new(
                format!("`encodedCharacters: {}` means nothing", raw.encoded_characters),
                "the only value is `allow`",
            ));
        }
        if let Some(observability) = &raw.observability {
            if observability.tracing == Some(true) || observability.trace_verbosity == "detailed" {
                findings.warnings.push(Fault::new(
                    "`observability.tracing` is not served yet",
                    "the router is served without traces meanwhile",
                ));
            }
            if !["", "minimal", "detailed"].contains(&observability.trace_verbosity.as_str()) {
                findings.warnings.push(Fault::new(
                    format!(
                        "`observability.traceVerbosity: {}` means nothing",
                        observability.trace_verbosity
                    ),
                    "write `minimal` or `detailed`",
                ));
            }
        }
    }

    /// What is in force of the router's TLS block, or of its entry point's.
    fn tls(
        &self,
        name: &RouterName,
        item: &Defined<RawRouter>,
        part: &Part,
        rule: Option<&Rule>,
        findings: &mut Findings,
    ) -> Option<RouterTls> {
        let block = part.raw.tls.as_ref()?;
        let own = item.value.tls.is_some();
        if own && block.passthrough {
            findings.disabled.push(Fault::new(
                "`tls.passthrough` leaves TLS to the server, which a router that reads requests cannot do",
                "write a TCP router, or take `passthrough` away",
            ));
        }
        // What an entry point adds is the operator's, and within every router's reach.
        let scope = if own { &item.scope } else { &Scope::Shared };
        let referrer = Referrer::new(name.provider(), scope);
        let hosts = rule.map(Rule::hosts).unwrap_or_default();
        let rule = (part.raw.rule.as_str(), hosts.as_slice());
        let tls::router::Judged { tls, unknown, refused, warnings } =
            tls::router::judge(block, referrer, rule, self.merged, self.context, self.tls);
        findings.disabled.extend(unknown);
        findings.refused.extend(refused);
        // It is nothing that the writer of the router could change, and is told of the entry point.
        if own {
            findings.warnings.extend(warnings)
        } else {
            findings.notes.extend(warnings)
        }
        Some(tls)
    }

    fn middlewares(
        &mut self,
        name: &RouterName,
        item: &Defined<RawRouter>,
        part: &Part,
        findings: &mut Findings,
    ) -> Vec<MiddlewareName> {
        let mut all = Vec::new();
        for (at, reference) in part.raw.middlewares.iter().enumerate() {
            // What an entry point adds is the operator's, and within every router's reach.
            let scope = if at < part.added_middlewares { &Scope::Shared } else { &item.scope };
            let referrer = Referrer::new(name.provider(), scope);
            if name.provider() == "internal" && reference.ends_with("@internal") {
                let internal = MiddlewareName::from(reference.as_str());
                self.users.middlewares.entry(internal.clone()).or_default().push(part.name.clone());
                // Those of the dashboard are shown only: it does their work itself.
                all.extend(self.served.contains_key(&internal).then_some(internal));
                continue;
            }
            let middleware = match middlewares::find(self.merged, referrer, reference) {
                Ok(middleware) => middleware,
                Err(fault) => {
                    findings.unavailable.push(fault);
                    continue;
                }
            };
            self.users.middlewares.entry(middleware.clone()).or_default().push(part.name.clone());
            let about = |fault: &Fault| {
                let text = format!("middleware \"{middleware}\": {}", fault.text);
                Fault::new(text, "take it out of `middlewares` where that is safe")
            };
            match self.effects.get(&middleware) {
                Some(Effect::Usable(Usable { served, left_out })) => {
                    all.extend(served.iter().cloned());
                    findings.notes.extend(left_out.as_ref().map(about));
                }
                Some(Effect::Unavailable(fault)) => findings.unavailable.push(about(fault)),
                None => {}
            }
        }
        all
    }

    /// Where a request goes; none when a finding says why it cannot.
    fn target(
        &mut self,
        name: &RouterName,
        item: &Defined<RawRouter>,
        part: &Part,
        findings: &mut Findings,
    ) -> Option<Target> {
        let reference = part.raw.service.as_str();
        if self.parents.contains(name.as_str()) {
            findings.unavailable.push(Fault::new(
                "layers of routers (`parentRefs`) are not served yet, and this one is in front of others",
                "write one router with the rule and the middlewares of both layers meanwhile",
            ));
            return None;
        }
        if reference.is_empty() {
            if part.raw.parent_refs.is_empty() {
                let fault = Fault::new("the service is missing on the router", "set `service`");
                findings.unavailable.push(fault);
            }
            return None;
        }
        if split_reference(reference).1 == Some("internal") {
            return self.internal_target(reference, item, part, findings);
        }
        let known = |name: &str| self.states.get(name).map(|state| (&state.scope, state.export));
        let all = self.merged.services.keys().map(ServiceName::as_str);
        let referrer = Referrer::new(name.provider(), &item.scope);
        let service = match referrer.resolve("the service", reference, known, all) {
            Ok(service) => ServiceName::from(service),
            Err(fault) => {
                findings.unavailable.push(fault);
                return None;
            }
        };
        self.users.services.entry(service.clone()).or_default().push(part.name.clone());
        match self.states.get(&service).map(|state| &state.service) {
            Some(Err(fault)) => {
                let text = match fault.text.contains(service.as_str()) {
                    true => fault.text.clone(),
                    false => format!("service \"{service}\": {}", fault.text),
                };
                findings.unavailable.push(Fault { text, hint: fault.hint.clone() });
                None
            }
            Some(Ok(_)) | None => Some(Target::Service(service)),
        }
    }

    fn internal_target(
        &mut self,
        reference: &str,
        item: &Defined<RawRouter>,
        part: &Part,
        findings: &mut Findings,
    ) -> Option<Target> {
        if item.scope != Scope::Shared {
            let text = format!("the service \"{reference}\" is out of reach with `labelScope: container`");
            findings.unavailable.push(Fault::new(text, "write the router in a routing file"));
            return None;
        }
        match internal::service(self.context, reference) {
            Some(Ok(service)) => {
                let name = ServiceName::from(reference);
                self.users.services.entry(name).or_default().push(part.name.clone());
                Some(Target::Internal(service))
            }
            off => {
                let hint = match off {
                    Some(Err(hint)) => hint,
                    Some(Ok(_)) | None => {
                        "there are `acme-http`, `api`, `dashboard`, `noop`, `ping`, `prometheus` and `whoami`"
                    }
                };
                let text = format!("the service \"{reference}\" does not exist");
                findings.unavailable.push(Fault::new(text, hint));
                None
            }
        }
    }

    fn report(&mut self, name: &RouterName, origin: &Origin, findings: &Findings) {
        let Findings { disabled, refused, unavailable, warnings, notes: _, doubts } = findings;
        if [disabled, refused, unavailable, warnings, doubts].into_iter().all(Vec::is_empty) {
            return;
        }
        let subject = format!("router `{}`", name.name());
        for fault in disabled.iter().chain(refused) {
            self.problems.push(fault.error(origin, &subject));
        }
        for fault in unavailable {
            let text = format!("{}: the router answers 503", fault.text);
            self.problems.push(Fault { text, hint: fault.hint.clone() }.error(origin, &subject));
        }
        for fault in warnings.iter().chain(doubts) {
            self.problems.push(fault.warning(origin, &subject));
        }
    }

    fn finish(
        &mut self,
        name: &RouterName,
        item: &Defined<RawRouter>,
        part: Part,
        (rule, tls, target): (Option<Rule>, Option<RouterTls>, Option<Target>),
        findings: &Findings,
    ) {
        let Part { name: part_name, mut raw, entry_points, served, observability, .. } = part;
        let priority = match (raw.priority, &rule) {
            (0, Some(rule)) => rule.default_priority(),
            (0, None) => i64::try_from(raw.rule.len()).unwrap_or(i64::MAX),
            (priority, _) => priority,
        };
        let serves = findings.disabled.is_empty();
        let answers = findings.refused.is_empty() && findings.unavailable.is_empty();
        let status = if !serves || !answers {
            Status::Disabled
        } else if findings.warnings.is_empty() && findings.notes.is_empty() {
            Status::Enabled
        } else {
            Status::Warning
        };
        let Findings { disabled, refused, unavailable, warnings, notes, doubts: _ } = findings;
        let errors = [disabled, refused, unavailable, warnings, notes];
        let errors = errors.into_iter().flatten().map(Fault::listed).collect();
        let default_rule = raw.default_rule;
        raw.priority = priority;
        let verbosity = raw.observability.take().map(|written| written.trace_verbosity).unwrap_or_default();
        raw.observability = Some(RawObservability {
            access_logs: Some(observability.access_logs),
            metrics: Some(observability.metrics),
            tracing: Some(observability.tracing),
            trace_verbosity: if verbosity.is_empty() { "minimal".to_owned() } else { verbosity },
        });
        let using = if serves { entry_points.iter().map(ToString::to_string).collect() } else { Vec::new() };
        let entry = listed(item.with_value(raw), status, errors, using);
        self.listing.push((part_name.clone(), Listed { priority, ..entry }));
        let (Some(rule), true) = (rule, serves) else { return };
        // A request that comes over another name's handshake meets what its own would have met.
        let target = match (refused.first().or_else(|| unavailable.first()), target) {
            (None, Some(target)) => target,
            (Some(fault), _) => Target::Unavailable(Arc::from(fault.text.as_str())),
            (None, None) => Target::Unavailable(Arc::from("the service is missing on the router")),
        };
        let provider = Referrer::new(name.provider(), &item.scope).provider;
        let router = Router {
            name: part_name.clone(),
            rule,
            priority,
            precedence: self.context.rank(provider),
            entry_points,
            tls,
            // What is left out is not here; what cannot be left out made the target unavailable.
            middlewares: served,
            target,
            standing: item.standing.clone(),
            recursion_guard: default_rule,
            observability,
            origin: item.origin.clone(),
        };
        self.routers.push((part_name, router));
    }
}

/// The router's rule, unless a finding says what is wrong with it. `previous` is the router of that name that was
/// built last time.
fn rule(raw: &RawRouter, previous: Option<&Router>, findings: &mut Findings) -> Option<Rule> {
    if raw.rule_syntax.eq_ignore_ascii_case("v2") {
        findings.disabled.push(Fault::new(
            "`ruleSyntax: v2` is not served",
            "write the rule in the syntax of version 3 and take `ruleSyntax` away: one argument a matcher, joined \
             with `||`; `HostRegexp` and `PathRegexp` take plain regular expressions",
        ));
        return None;
    }
    if raw.rule.is_empty() {
        findings.disabled.push(Fault::new("empty rule", "set `rule`, as in ``Host(`app.example.com`)``"));
        return None;
    }
    // A rule follows from its text alone.
    let kept = previous.map(|router| &router.rule).filter(|rule| rule.text() == raw.rule);
    match kept.map_or_else(|| rule::parse(&raw.rule), |rule| Ok(rule.clone())) {
        Ok(rule) => {
            findings.doubts.extend(rule.suspicions().iter().map(|doubt| {
                Fault::new(format!("rule, column {}: {}", doubt.column, doubt.message), &*doubt.hint)
            }));
            Some(rule)
        }
        Err(error) => {
            let place = format!("column {} of the rule", error.column);
            let hint = error.hint.map_or_else(|| place.clone(), |hint| format!("{hint} ({place})"));
            findings.disabled.push(Fault::new(error.message, hint));
            None
        }
    }
}

/// Splits a router by what its entry points add to it, as Traefik does, and says which of them do not exist.
fn split(context: &Context, name: &RouterName, raw: &RawRouter) -> (Vec<Part>, Vec<Fault>) {
    let written = raw.entry_points.iter().map(String::as_str);
    let defaults = context.entry_points.iter().filter(|entry| entry.is_default && entry.udp.is_none());
    let defaults = defaults.map(|entry_point| entry_point.name.as_str());
    let mut wanted: Vec<&str> =
        if raw.entry_points.is_empty() { defaults.collect() } else { written.collect() };
    if wanted.len() > 1 {
        let mut seen = HashSet::<_, RandomState>::default();
        wanted.retain(|name| seen.insert(*name));
    }
    let mut parts = Vec::new();
    let mut unknown = Vec::new();
    let mut rest = Part {
        name: name.clone(),
        raw: RawRouter { entry_points: Vec::new(), ..raw.clone() },
        entry_points: Vec::new(),
        added_middlewares: 0,
        served: Vec::new(),
        observability: observe(Observability::default(), raw),
    };
    for &wish in &wanted {
        match context.entry_point(wish) {
            None => {
                let known = context.entry_points.iter().map(|entry_point| entry_point.name.as_str());
                let hint = did_you_mean(wish, known).map(|near| format!("did you mean `{near}`?"));
                unknown.push(Fault { text: format!("entryPoint \"{wish}\" doesn't exist"), hint });
                rest.raw.entry_points.push(wish.to_owned());
            }
            Some(entry_point) if adds(entry_point) && !internal::stands_alone(name) => {
                let part_name = match wanted.len() {
                    1 => name.clone(),
                    _ => RouterName::from(format!("{wish}-{name}")),
                };
                parts.push(on(entry_point, part_name, raw));
            }
            Some(entry_point) => {
                rest.raw.entry_points.push(wish.to_owned());
                rest.entry_points.push(entry_point.name.clone());
            }
        }
    }
    // Entry points that do not exist make no router of their own beside copies.
    if !rest.entry_points.is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    (parts, unknown)
}

/// Whether an entry point has defaults that routers take over.
fn adds(entry_point: &EntryPoint) -> bool {
    entry_point.http.tls.is_some()
        || !entry_point.http.middlewares.is_empty()
        || !entry_point.http.refused_encoded_characters.is_empty()
        || entry_point.observability != Observability::default()
}

fn on(entry_point: &EntryPoint, name: RouterName, raw: &RawRouter) -> Part {
    let added = &entry_point.http.middlewares;
    Part {
        name,
        raw: RawRouter {
            entry_points: vec![entry_point.name.to_string()],
            middlewares: added.iter().chain(&raw.middlewares).cloned().collect(),
            tls: raw.tls.clone().or_else(|| entry_point.http.tls.clone()),
            ..raw.clone()
        },
        entry_points: vec![entry_point.name.clone()],
        added_middlewares: added.len(),
        served: Vec::new(),
        observability: observe(entry_point.observability, raw),
    }
}

fn observe(defaults: Observability, raw: &RawRouter) -> Observability {
    let Some(written) = &raw.observability else { return defaults };
    Observability {
        access_logs: written.access_logs.unwrap_or(defaults.access_logs),
        metrics: written.metrics.unwrap_or(defaults.metrics),
        tracing: written.tracing.unwrap_or(defaults.tracing),
    }
}

/// Running containers whose routers cannot be told apart by rule and priority.
fn conflicts(routing: &Routing, problems: &mut Vec<Problem>) {
    let mut first: HashMap<(&EntryPointName, bool, &str, i64), &Router, RandomState> =
        HashMap::with_capacity_and_hasher(routing.routers.len(), RandomState::default());
    let mut found: BTreeMap<(&str, &str), (&Router, &Router)> = BTreeMap::new();
    // By name: of equal ones the first in byte order is asked first.
    for router in routing.routers.values().filter(|router| router.standing == Standing::Up) {
        let Origin::Container { id, .. } = &router.origin else { continue };
        for entry_point in &router.entry_points {
            let key = (entry_point, router.tls.is_some(), router.rule.text(), router.priority);
            let earlier = *first.entry(key).or_insert(router);
            if let Origin::Container { id: other, .. } = &earlier.origin
                && other != id
            {
                found.insert((router.name.as_str(), earlier.name.as_str()), (router, earlier));
            }
        }
    }
    for (router, earlier) in found.into_values() {
        let message = format!(
            "route conflict: router `{}` of {} has the same rule and priority and is asked first",
            earlier.name, earlier.origin
        );
        let subject = format!("router `{}`", router.name.name());
        let problem = Problem::warning(router.origin.clone(), subject, message);
        problems
            .push(problem.with_hint("change one of the rules, or give the one that is meant a `priority`"));
    }
}

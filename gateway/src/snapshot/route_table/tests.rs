//! The HTTP and priority cases of the reference tables, through the whole path of a request: raw method, target
//! and fields -> canonical host, path and query -> route table.

use std::net::{IpAddr, SocketAddr};

use config::name::RouterName;
use config::routing::{InternalService, Observability};
use config::rule;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use security::canonical::{self, Host, PathOptions};
use serde::Deserialize;

use super::*;
use crate::snapshot::Destination;

#[derive(Deserialize)]
struct Case {
    id: u32,
    rule: String,
    #[serde(flatten)]
    request: RawRequest,
    /// What Traefik does.
    traefik: String,
    /// What we do, where we are stricter; `why` says why.
    ours: Option<String>,
    why: Option<String>,
}

#[derive(Deserialize)]
struct PriorityCase {
    id: String,
    routers: Vec<CaseRouter>,
    #[serde(flatten)]
    request: RawRequest,
    winner: String,
}

#[derive(Deserialize)]
struct CaseRouter {
    name: String,
    rule: String,
    priority: Option<i64>,
    provider: String,
}

/// A request as a client sends it, and the settings of the entry point that it reaches.
#[derive(Deserialize)]
struct RawRequest {
    method: String,
    target: String,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    peer: Option<SocketAddr>,
    #[serde(default)]
    encode_query_semicolons: bool,
    #[serde(default = "default_true")]
    sanitize_path: bool,
}

fn default_true() -> bool {
    true
}

fn get(target: &str, host: &str) -> RawRequest {
    RawRequest {
        method: "GET".to_owned(),
        target: target.to_owned(),
        host: Some(host.to_owned()),
        headers: Vec::new(),
        peer: None,
        encode_query_semicolons: false,
        sanitize_path: true,
    }
}

/// What the proxy does with a request before and while it looks for a route. An error is a 400.
fn with_view<T>(raw: &RawRequest, see: impl FnOnce(&RequestView<'_>) -> T) -> Result<T, String> {
    if raw.method.is_empty() || !raw.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Err("method".to_owned());
    }
    let method = Method::from_bytes(raw.method.as_bytes()).map_err(|_| "method")?;
    let target = canonical::split_target(raw.target.as_bytes()).map_err(|refusal| refusal.to_string())?;
    let host = match &raw.host {
        Some(field) => canonical::host(field.as_bytes()).map_err(|refusal| refusal.to_string())?,
        None => Host::NONE,
    };
    if let Some(authority) = target.authority
        && canonical::host(authority).map_err(|refusal| refusal.to_string())? != host
    {
        return Err("the URL and the host disagree".to_owned());
    }
    let options = PathOptions { sanitize: raw.sanitize_path, ..PathOptions::default() };
    let path = canonical::path(target.path, options).map_err(|refusal| refusal.to_string())?;
    let query = target.query.map(|query| canonical::query(query, raw.encode_query_semicolons));
    let mut headers = HeaderMap::new();
    for (name, value) in &raw.headers {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    Ok(see(&RequestView {
        method: &method,
        host: host.name(),
        host_with_dot: host.name_with_dot(),
        path: path.routing(),
        query: query.as_deref(),
        headers: &headers,
        client: raw.peer.map_or_else(|| IpAddr::from([192, 0, 2, 1]), |peer| peer.ip()),
    }))
}

fn route(name: &str, rule: &str, priority: Option<i64>, down: Option<&str>) -> Option<(Rule, Arc<Route>)> {
    let rule = rule::parse(rule).ok()?;
    let route = Route {
        name: RouterName::from(name),
        rule: Arc::from(rule.text()),
        priority: priority.unwrap_or_else(|| rule.default_priority()),
        down: down.map(Arc::from),
        middlewares: Box::default(),
        destination: Destination::Internal(InternalService::Noop),
        recursion_guard: None,
        tls: None,
        observability: Observability::default(),
    };
    Some((rule, Arc::new(route)))
}

/// A table of routers `(name, rule)`; a rule that is invalid costs its own router.
fn table(routers: &[(&str, &str)]) -> RouteTable {
    RouteTable::build(
        routers
            .iter()
            .filter_map(|(name, rule)| route(name, rule, None, None))
            .map(|(rule, route)| RouteEntry { rule, precedence: 0, route })
            .collect(),
    )
}

fn winner(table: &RouteTable, request: &RawRequest) -> Option<String> {
    with_view(request, |view| table.find(view).map(|route| route.name.to_string())).unwrap()
}

#[test]
fn every_http_case_of_the_reference_holds() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("http_cases.json")).unwrap();
    assert_eq!(cases.len(), 194);
    for case in &cases {
        assert_eq!(case.ours.is_some(), case.why.is_some(), "{}: a deviation has a reason", case.id);
        let expected = case.ours.as_ref().unwrap_or(&case.traefik);
        let outcome = match route("r", &case.rule, None, None) {
            None => "rule invalid",
            Some(_) => {
                match with_view(&case.request, |view| table(&[("r", &case.rule)]).find(view).is_some()) {
                    Err(_) => "400",
                    Ok(true) => "match",
                    Ok(false) => "no match",
                }
            }
        };
        assert_eq!(outcome, expected, "case {}: {}", case.id, case.rule);
    }
}

#[test]
fn every_priority_case_of_the_reference_holds() {
    let cases: Vec<PriorityCase> = serde_json::from_str(include_str!("priority_cases.json")).unwrap();
    assert_eq!(cases.len(), 14);
    for case in &cases {
        for backwards in [false, true] {
            let mut entries: Vec<RouteEntry> = case
                .routers
                .iter()
                .filter_map(|router| {
                    let (rule, route) = route(&router.name, &router.rule, router.priority, None)?;
                    let precedence = ["docker", "file"]
                        .iter()
                        .position(|provider| *provider == router.provider)
                        .unwrap_or(9);
                    Some(RouteEntry { rule, precedence, route })
                })
                .collect();
            if backwards {
                entries.reverse();
            }
            let table = RouteTable::build(entries);
            assert_eq!(winner(&table, &case.request).as_deref(), Some(&*case.winner), "{}", case.id);
        }
    }
}

#[test]
fn between_equals_the_name_decides_in_byte_order() {
    let table = table(&[("b@docker", "Host(`a`)"), ("a@docker", "Host(`a`)"), ("B@docker", "Host(`a`)")]);
    assert_eq!(winner(&table, &get("/", "a")).as_deref(), Some("B@docker"));
}

#[test]
fn a_stopped_container_is_asked_after_every_other() {
    let entries = [
        ("stopped", "Host(`a`) && PathPrefix(`/`)", Some(900), Some("container is stopped")),
        ("catch-all", "PathPrefix(`/page`)", Some(-5), None),
        ("stopped-too", "Host(`a`)", Some(901), Some("container is stopped")),
    ]
    .into_iter()
    .filter_map(|(name, rule, priority, down)| route(name, rule, priority, down))
    .map(|(rule, route)| RouteEntry { rule, precedence: 0, route })
    .collect();
    let table = RouteTable::build(entries);
    assert_eq!(winner(&table, &get("/page", "a")).as_deref(), Some("catch-all"));
    assert_eq!(winner(&table, &get("/", "a")).as_deref(), Some("stopped-too"));
    assert_eq!(winner(&table, &get("/", "b")), None);
}

#[test]
fn exact_hosts_wildcards_and_rules_for_any_host_compete_by_rank() {
    let table = table(&[
        ("exact", "Host(`a.example.com`)"),
        ("wildcard", "Host(`*.example.com`) && PathPrefix(`/long-enough`)"),
        ("any", "PathPrefix(`/long-enough/to-be-first-by-some-bytes-more-than-those`)"),
        ("both", "Host(`b.example.com`) || Host(`*.example.com`)"),
    ]);
    for (host, path, expected) in [
        ("a.example.com", "/long-enough/to-be-first-by-some-bytes-more-than-those", Some("any")),
        ("a.example.com", "/long-enough", Some("wildcard")),
        ("a.example.com", "/", Some("both")),
        ("b.example.com", "/", Some("both")),
        ("x.y.example.com", "/", None),
        ("example.com", "/", None),
    ] {
        assert_eq!(winner(&table, &get(path, host)).as_deref(), expected, "{host}{path}");
    }
}

#[test]
fn a_rule_with_very_many_hosts_is_still_a_rule() {
    let hosts: Vec<String> = (0..40).map(|index| format!("Host(`h{index}.test`)")).collect();
    let rule =
        format!("({} || Host(`*.wild.test`) || Path(`/open`)) && !Path(`/closed`)", hosts.join(" || "));
    let table = table(&[("r", &rule)]);
    for (host, path, expected) in [
        ("h0.test", "/", true),
        ("h39.test", "/x", true),
        ("h40.test", "/", false),
        ("a.wild.test", "/", true),
        ("wild.test", "/", false),
        ("other.test", "/open", true),
        ("h1.test", "/closed", false),
    ] {
        assert_eq!(winner(&table, &get(path, host)).is_some(), expected, "{host}{path}");
    }
}

#[test]
fn explain_names_the_winner_what_it_shadows_and_the_nearest_misses() {
    let table = table(&[
        ("api", "Host(`a.example.com`) && PathPrefix(`/api`) && Method(`POST`)"),
        ("app", "Host(`a.example.com`) && PathPrefix(`/`)"),
        ("all", "Host(`a.example.com`)"),
        ("other", "Host(`unrelated.test`) || Host(`b.test`)"),
        ("near", "Host(`b.example.com`)"),
        ("not", "Host(`a.example.com`) && !PathPrefix(`/api`) && HostRegexp(`^a`)"),
    ]);
    let explained = with_view(&get("/api/x", "a.example.com"), |view| table.explain(view, 5)).unwrap();
    let outcome = |name: &str| {
        explained.iter().find(|considered| considered.route.name.as_str() == name).map(|found| &found.outcome)
    };
    let names: Vec<&str> = explained.iter().map(|considered| considered.route.name.as_str()).collect();
    assert_eq!(names, ["app", "all", "not", "api", "near"]);
    assert_eq!(outcome("app"), Some(&Outcome::Wins));
    assert_eq!(outcome("all"), Some(&Outcome::Shadowed));
    assert_eq!(outcome("api"), Some(&Outcome::Misses { failed: "Method(`POST`)".to_owned() }));
    assert_eq!(outcome("not"), Some(&Outcome::Misses { failed: "!PathPrefix(`/api`)".to_owned() }));
    assert_eq!(outcome("near"), Some(&Outcome::Misses { failed: "Host(`b.example.com`)".to_owned() }));

    let typo = with_view(&get("/", "unrelatd.test"), |view| table.explain(view, 1)).unwrap();
    assert_eq!(typo[0].route.name.as_str(), "other");
    assert_eq!(
        typo[0].outcome,
        Outcome::Misses { failed: "Host(`unrelated.test`) || Host(`b.test`)".to_owned() }
    );
}

/// Rules, hosts and paths of a small world, so that they meet often.
fn any_rule() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "Host(`a.test`)",
        "Host(`b.test`)",
        "Host(`*.test`)",
        "Host(`*`)",
        "HostRegexp(`^a`)",
        "Path(`/x`)",
        "PathPrefix(`/`)",
        "Method(`POST`)",
        "Query(`q`, `1`)",
        "ClientIP(`192.0.2.0/24`)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..12)
                .prop_map(|operands| format!("({})", operands.join(" || "))),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|operands| format!("({})", operands.join(" && "))),
            inner.prop_map(|operand| format!("!{operand}")),
        ]
    })
}

proptest! {
    /// The maps and the order of tests are for speed only: asking every rule in turn gives the same answer.
    #[test]
    fn the_table_finds_what_asking_every_rule_finds(
        rules in prop::collection::vec(any_rule(), 1..8),
        host in prop::sample::select(vec!["a.test", "b.test", "c.test", "a.b.test", "test"]),
        target in prop::sample::select(vec!["/", "/x", "/x?q=1"]),
    ) {
        let names: Vec<String> = (0..rules.len()).map(|index| format!("r{index}")).collect();
        let routers: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(rules.iter().map(String::as_str)).collect();
        let table = table(&routers);
        prop_assert_eq!(table.ranked.len(), rules.len());
        let (found, explained, plain) = with_view(&get(target, host), |view| {
            let plain = table.ranked.iter().find(|ranked| {
                ranked.rule.expression().evaluate(&mut |matcher| condition::Test::compile(matcher).holds(view))
            });
            let name = |route: &Arc<Route>| route.name.to_string();
            let explained = table.explain(view, 1).into_iter().next();
            (
                table.find(view).map(name),
                explained.filter(|first| first.outcome == Outcome::Wins).map(|first| name(&first.route)),
                plain.map(|ranked| name(&ranked.route)),
            )
        }).unwrap();
        prop_assert_eq!(&found, &plain);
        prop_assert_eq!(&explained, &plain);
    }
}

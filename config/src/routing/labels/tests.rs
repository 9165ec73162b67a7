//! Labels as on containers, and what they decode to. The cases stand in `cases.txt`, their outcome in a snapshot.

use std::fmt::Write as _;

use super::*;
use crate::routing::raw::RawLoadBalancer;

/// A case: title, labels, Traefik's outcome.
struct Case {
    title: String,
    labels: Vec<(String, String)>,
    traefik: String,
}

fn cases(text: &str) -> Vec<Case> {
    let blocks = text.split("\n\n").filter(|block| !block.starts_with('#'));
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let title = lines.next().expect("a case has a title").to_owned();
            let mut case = Case { title, labels: Vec::new(), traefik: String::new() };
            for line in lines {
                if let Some(outcome) = line.strip_prefix("=> ") {
                    outcome.clone_into(&mut case.traefik);
                } else {
                    let (key, value) = line.split_once('=').expect("a label has a value");
                    let key = if key.starts_with("http.") || key == "http" {
                        format!("traefik.{key}")
                    } else {
                        key.to_owned()
                    };
                    case.labels.push((key, value.to_owned()));
                }
            }
            case
        })
        .collect()
}

fn decoded(labels: &[(String, String)]) -> LabelRouting {
    decode_labels(
        labels.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        &["traefik.".to_owned()],
        &Origin::container("blog", "0123456789ab"),
    )
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("it has a JSON form")
}

fn described(output: &LabelRouting) -> String {
    let LabelRouting { routing, options, left_out, problems } = output;
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "  {words}").expect("a string takes everything");
    if *options != ContainerOptions::default() {
        line(format!("{options:?}"));
    }
    for (name, item) in &routing.http.routers {
        line(format!("router {name} {}", json(&item.value)));
    }
    for (name, item) in &routing.http.services {
        line(format!("service {name} {}", json(&item.value)));
        let server = item.value.load_balancer.as_ref().and_then(|lb: &RawLoadBalancer| lb.server.as_ref());
        if let Some(server) = server {
            line(format!("  {server:?}"));
        }
    }
    for (name, item) in &routing.http.middlewares {
        line(format!("middleware {name} {}", json(&item.value)));
    }
    for (name, item) in &routing.tcp.routers {
        line(format!("TCP router {name} {}", json(&item.value)));
    }
    for (name, item) in &routing.tcp.services {
        line(format!("TCP service {name} {}", json(&item.value)));
        let server = item.value.load_balancer.as_ref().and_then(|lb| lb.server.as_ref());
        line(format!("  {server:?}"));
    }
    for (name, item) in &routing.tcp.middlewares {
        line(format!("TCP middleware {name} {}", json(&item.value)));
    }
    for (name, item) in &routing.udp.routers {
        line(format!("UDP router {name} {}", json(&item.value)));
    }
    for (name, item) in &routing.udp.services {
        line(format!("UDP service {name} {}", json(&item.value)));
        let server = item.value.load_balancer.as_ref().and_then(|lb| lb.server.as_ref());
        line(format!("  {server:?}"));
    }
    for (name, item) in &routing.tls.stores {
        line(format!("TLS store {name} {}", json(&item.value)));
    }
    if *left_out != LeftOut::default() {
        for (kind, names) in [
            ("routers", &left_out.http_routers),
            ("services", &left_out.http_services),
            ("middlewares", &left_out.http_middlewares),
            ("TCP routers", &left_out.tcp_routers),
            ("TCP services", &left_out.tcp_services),
            ("TCP middlewares", &left_out.tcp_middlewares),
            ("UDP routers", &left_out.udp_routers),
            ("UDP services", &left_out.udp_services),
        ] {
            if !names.is_empty() {
                line(format!("left out: {kind} {}", names.join(", ")));
            }
        }
    }
    for problem in problems {
        line(problem.to_string());
    }
    text
}

#[test]
fn labels_decode_as_in_traefik_and_a_bad_one_costs_its_own_item() {
    let mut text = String::new();
    for case in cases(include_str!("cases.txt")) {
        let Case { title, labels, traefik } = &case;
        writeln!(text, "{title}\n  [Traefik: {traefik}]\n{}", described(&decoded(labels))).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_giant_label_costs_its_own_item() {
    let labels = [
        ("traefik.http.routers.a.rule".to_owned(), "x".repeat(1 << 20)),
        (format!("traefik.http.routers.{}.rule", "b".repeat(1 << 20)), "Host(`b`)".to_owned()),
        ("traefik.http.routers.c.rule".to_owned(), "Host(`c`)".to_owned()),
    ];
    let output = decoded(&labels);
    assert_eq!(output.routing.http.routers.keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(output.left_out.http_routers, ["", "a"], "a name that is too long is no name");
    assert_eq!(output.problems.len(), 2);
    assert!(output.problems.iter().all(|problem| problem.to_string().len() < 400));
}

#[test]
fn other_prefixes_are_read_in_their_order() {
    let labels = [("edge.http.routers.a.rule", "Host(`edge`)"), ("traefik.http.routers.a.rule", "Host(`t`)")];
    for (prefixes, rule) in [
        (vec!["edge.", "traefik."], Some("Host(`edge`)")),
        (vec!["traefik.", "edge."], Some("Host(`t`)")),
        (vec!["traefik."], Some("Host(`t`)")),
        (vec!["other."], None),
    ] {
        let prefixes: Vec<_> = prefixes.into_iter().map(str::to_owned).collect();
        let output = decode_labels(labels, &prefixes, &Origin::container("blog", "0123456789ab"));
        let found = output.routing.http.routers.get("a").map(|router| router.value.rule.as_str());
        assert_eq!(found, rule, "{prefixes:?}");
    }
}

/// The value that Traefik's API would show at `path`, whose keys are compared without case.
fn leaf(mut value: &serde_json::Value, path: &str) -> Option<String> {
    for key in path.replace("[0]", ".0").split('.') {
        value = match value {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            other => other
                .as_object()?
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value)?,
        };
    }
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(match value {
        serde_json::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(other),
    })
}

#[test]
fn every_option_of_every_item_decodes() {
    for line in include_str!("options.txt").lines().filter(|line| !line.starts_with('#')) {
        let (path, rest) = line.split_once(' ').expect("a path and a value");
        let (value, expected) = rest.split_once(" -> ").unwrap_or((rest, rest));
        let output = decoded(&[(format!("traefik.{path}"), value.to_owned())]);
        assert_eq!(output.problems, [], "{line}");
        let routing = &output.routing;
        let shown = [
            routing.http.routers.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.http.services.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.http.middlewares.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.tcp.routers.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.tcp.services.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.tcp.middlewares.get("x").map(|item| serde_json::to_value(&item.value)),
            routing.udp.routers.get("x").map(|item| serde_json::to_value(&item.value)),
        ];
        let shown = shown.into_iter().flatten().next().expect("the item is there").unwrap();
        let path = path.splitn(4, '.').nth(3).unwrap();
        let found = leaf(&shown, path).unwrap_or_else(|| panic!("{line}: not in {shown}"));
        // A digest stands behind the stars.
        let found = found.split(", ").map(|part| part.split_inclusive("***").next().unwrap());
        assert_eq!(found.collect::<Vec<_>>().join(", "), expected, "{line}");
    }
}

#[test]
fn label_sets_in_the_wild_decode_without_a_problem() {
    let mut count = 0;
    for case in cases(include_str!("snippets.txt")) {
        let labels: Vec<_> =
            case.labels.into_iter().map(|(key, value)| (key, value.replace("$$", "$"))).collect();
        let output = decoded(&labels);
        assert_eq!(output.problems, [], "{}", case.title);
        assert_eq!(output.left_out, LeftOut::default(), "{}", case.title);
        count += 1;
    }
    assert_eq!(count, 30);
}

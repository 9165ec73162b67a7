//! Joining fragments and providers.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::problem::{Origin, Severity};
use crate::routing::raw::{RawAddPrefix, RawLoadBalancer, RawServer, Scope};

fn container(name: &str, since: i64, up: bool) -> impl Fn(&mut RawRouting) {
    let origin = Origin::container(name, format!("{name}0000"));
    let standing = if up { Standing::Up } else { Standing::Down(Arc::from("container stopped")) };
    move |routing| {
        routing.stamp(&standing, since, &Scope::Shared);
        for item in routing.http.routers.values_mut() {
            item.origin = origin.clone();
        }
        for item in routing.http.services.values_mut() {
            item.origin = origin.clone();
        }
        for item in routing.http.middlewares.values_mut() {
            item.origin = origin.clone();
        }
    }
}

/// A container that defines router, service and middleware `x`.
fn fragment(name: &str, since: i64, up: bool, rule: &str, url: &str, sticky: bool) -> RawRouting {
    let mut routing = RawRouting::default();
    let router = RawRouter { rule: rule.to_owned(), ..RawRouter::default() };
    routing.http.routers.insert("x".to_owned(), Defined::new(router, Origin::Gateway));
    let server = RawServer { url: url.to_owned(), ..RawServer::default() };
    let load_balancer = RawLoadBalancer {
        servers: if up { vec![server] } else { Vec::new() },
        pass_host_header: !sticky,
        ..RawLoadBalancer::default()
    };
    let service = RawService { load_balancer: Some(load_balancer), ..RawService::default() };
    routing.http.services.insert("x".to_owned(), Defined::new(service, Origin::Gateway));
    let add_prefix = Some(RawAddPrefix { prefix: rule.to_owned() });
    let middleware = RawMiddleware { add_prefix, ..RawMiddleware::default() };
    routing.http.middlewares.insert("x".to_owned(), Defined::new(middleware, Origin::Gateway));
    container(name, since, up)(&mut routing);
    routing
}

fn urls(routing: &RawRouting) -> Vec<&str> {
    let servers = &routing.http.services["x"].value.load_balancer.as_ref().unwrap().servers;
    servers.iter().map(|server| server.url.as_str()).collect()
}

#[test]
fn replicas_become_one_service_without_doubled_addresses() {
    let (routing, problems) = combine(
        vec![
            fragment("c", 3, true, "Host(`a`)", "http://10.0.0.3:80", false),
            fragment("a", 1, true, "Host(`a`)", "http://10.0.0.1:80", false),
            fragment("b", 2, true, "Host(`a`)", "http://10.0.0.1:80", false),
        ],
        Rule::Containers,
    );
    assert_eq!(urls(&routing), ["http://10.0.0.1:80", "http://10.0.0.3:80"]);
    assert_eq!(problems, []);
}

#[test]
fn a_replica_that_does_not_run_adds_no_server_and_takes_nothing_away() {
    let (routing, problems) = combine(
        vec![
            fragment("a", 1, false, "Host(`a`)", "http://10.0.0.1:80", false),
            fragment("b", 2, true, "Host(`a`)", "http://10.0.0.2:80", false),
        ],
        Rule::Containers,
    );
    assert_eq!(urls(&routing), ["http://10.0.0.2:80"]);
    assert_eq!(routing.http.routers["x"].standing, Standing::Up);
    assert_eq!(problems, []);
}

#[test]
fn of_two_definitions_the_older_containers_stays() {
    let (routing, problems) = combine(
        vec![
            fragment("newer", 2, true, "Host(`b`)", "http://10.0.0.2:80", true),
            fragment("older", 1, true, "Host(`a`)", "http://10.0.0.1:80", false),
        ],
        Rule::Containers,
    );
    assert_eq!(routing.http.routers["x"].value.rule, "Host(`a`)");
    assert_eq!(urls(&routing), ["http://10.0.0.1:80"]);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let end = "defined differently by the older container `older`; this one is left out; \
               give it another name, or make the labels of both containers equal";
    assert_eq!(
        texts,
        [
            format!("container `newer`: error: middleware `x`: {end}"),
            format!("container `newer`: error: router `x`: {end}"),
            format!("container `newer`: error: service `x`: {end}"),
        ]
    );
}

#[test]
fn a_running_containers_definition_stays_although_an_older_one_was_stopped() {
    let (routing, problems) = combine(
        vec![
            fragment("older", 1, false, "Host(`a`)", "http://10.0.0.1:80", false),
            fragment("newer", 2, true, "Host(`b`)", "http://10.0.0.2:80", false),
        ],
        Rule::Containers,
    );
    assert_eq!(routing.http.routers["x"].value.rule, "Host(`b`)");
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
    assert_eq!(problems.len(), 2, "router and middleware; the service differs in nothing but its servers");
}

#[test]
fn the_first_file_in_name_order_wins() {
    let file = |path: &str, rule: &str| {
        let mut routing = RawRouting::default();
        let router = RawRouter { rule: rule.to_owned(), ..RawRouter::default() };
        let origin = Origin::file(path, 3, 5);
        routing.http.routers.insert("x".to_owned(), Defined::new(router, origin));
        routing
    };
    let (routing, problems) =
        combine(vec![file("d/b.yml", "Host(`b`)"), file("d/a.yml", "Host(`a`)")], Rule::Files);
    assert_eq!(routing.http.routers["x"].value.rule, "Host(`a`)");
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["d/b.yml:3:5: warning: router `x`: already defined at d/a.yml:3:5, which comes first; this one is \
             left out; give it another name, or remove one of the two"]
    );
}

#[test]
fn names_carry_their_provider_and_two_defaults_are_none() {
    let provider = |name: &str| {
        let mut routing = fragment(name, 1, true, "Host(`a`)", "http://10.0.0.1:80", false);
        let options = Defined::new(RawTlsOptions::default(), Origin::file(format!("{name}.yml"), 1, 1));
        routing.tls.options.insert("default".to_owned(), options.clone());
        routing.tls.options.insert("modern".to_owned(), options);
        (ProviderName::from(name), routing)
    };
    let (merged, problems) = qualify(vec![provider("table"), provider("file")]);
    let names: Vec<_> = merged.routers.keys().map(RouterName::as_str).collect();
    assert_eq!(names, ["x@file", "x@table"]);
    assert_eq!(merged.tls_options.keys().collect::<Vec<_>>(), ["modern@file", "modern@table"]);
    assert_eq!(problems.len(), 2);
    let (merged, problems) = qualify(vec![provider("file")]);
    assert!(merged.tls_options.contains_key("default"));
    assert_eq!(problems, []);
}

fn fragments() -> impl Strategy<Value = Vec<RawRouting>> {
    let one = (0_i64..3, any::<bool>(), 0_u8..2, 0_u8..3, any::<bool>());
    prop::collection::vec(one, 0..7).prop_map(|containers| {
        containers
            .into_iter()
            .enumerate()
            .map(|(index, (since, up, rule, address, sticky))| {
                let (rule, url) = (format!("Host(`{rule}`)"), format!("http://10.0.0.{address}:80"));
                fragment(&format!("c{index}"), since, up, &rule, &url, sticky)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn order_never_matters((ordered, shuffled) in fragments().prop_flat_map(|fragments| {
        (Just(fragments.clone()), Just(fragments).prop_shuffle())
    })) {
        prop_assert_eq!(combine(ordered.clone(), Rule::Containers), combine(shuffled.clone(), Rule::Containers));
        prop_assert_eq!(combine(ordered, Rule::Files), combine(shuffled, Rule::Files));
    }
}

//! Tables of containers and what becomes of them: `cases/*.txt`. A case is a title (`== …`), settings of the
//! container (`@…`), labels, and after `=>` the outcome.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use config::install::DockerEndpoint;
use config::routing::Standing;
use serde::Serialize;

use super::*;
use crate::docker::container::{Health, Network, NetworkMode, Port};

/// Settings as Traefik has them.
fn settings() -> install::DockerProvider {
    install::DockerProvider {
        endpoint: DockerEndpoint::Unix(PathBuf::from("/var/run/docker.sock")),
        exposed_by_default: true,
        network: None,
        default_rule: "Host(`{{ normalize .Name }}`)".to_owned(),
        constraints: None,
        allow_empty_services: false,
        use_bind_port_ip: false,
        watch: true,
        label_prefixes: vec!["traefik.".to_owned()],
        label_scope: LabelScope::Shared,
        implied: false,
    }
}

fn network(address: &str) -> Network {
    Network {
        ipv4: address.parse().ok(),
        ipv6: address.parse().ok(),
        gateway: Some("172.99.0.1".parse().unwrap()),
    }
}

fn networks(text: &str) -> BTreeMap<String, Network> {
    text.split_whitespace()
        .map(|item| item.split_once('=').unwrap_or((item, "172.99.0.2")))
        .map(|(name, address)| (name.to_owned(), network(address)))
        .collect()
}

fn ports(text: &str) -> Vec<Port> {
    text.split_whitespace()
        .map(|item| match item.split_once('=') {
            None => Port { private: item.parse().unwrap(), published: None },
            Some((private, published)) => {
                let published: std::net::SocketAddr = published.parse().unwrap();
                Port {
                    private: private.parse().unwrap(),
                    published: Some((published.ip(), published.port())),
                }
            }
        })
        .collect()
}

fn container(id: &str, name: &str) -> Container {
    Container {
        id: id.repeat(64),
        name: name.to_owned(),
        labels: [("com.docker.compose.service", "svc"), ("com.docker.compose.project", "proj")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        created: 100,
        state: State::Running,
        health: Health::Unchecked,
        mode: NetworkMode::Own,
        networks: networks("proj_default=172.18.0.2"),
        ports: ports("80"),
    }
}

/// One case as text: what goes in, and what comes out.
fn outcome(input: &[&str]) -> String {
    let mut settings = settings();
    let mut surroundings = Surroundings::default();
    let mut subject = container("c", "proj_svc_1");
    let mut others = Vec::new();
    let mut replicas = Vec::new();
    for line in input {
        let Some(directive) = line.strip_prefix('@') else {
            let (key, value) = line.split_once('=').unwrap();
            subject.labels.insert(key.to_owned(), value.to_owned());
            continue;
        };
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            "setting" => match rest.split_once('=').unwrap() {
                ("exposed", value) => settings.exposed_by_default = value == "true",
                ("constraints", value) => settings.constraints = Some(value.to_owned()),
                ("empty", value) => settings.allow_empty_services = value == "true",
                ("bind", value) => settings.use_bind_port_ip = value == "true",
                ("network", value) => settings.network = Some(value.to_owned()),
                ("rule", value) => value.clone_into(&mut settings.default_rule),
                ("scope", _) => settings.label_scope = LabelScope::Container,
                (other, _) => panic!("unknown setting {other}"),
            },
            "plain" => {
                subject.labels.clear();
                rest.clone_into(&mut subject.name);
            }
            "state" => subject.state = State::Not(rest.to_owned()),
            "health" => {
                subject.health = match rest {
                    "healthy" => Health::Healthy,
                    "starting" => Health::Starting,
                    _ => Health::Unhealthy,
                }
            }
            "ports" => subject.ports = ports(rest),
            "networks" => subject.networks = networks(rest),
            "mode" => {
                subject.mode = match rest.strip_prefix("container:") {
                    Some(other) => NetworkMode::Container(other.to_owned()),
                    None => NetworkMode::Host,
                }
            }
            "own" => {
                let mut own = container("0", "gateway");
                own.labels = [("traefik.enable".to_owned(), "false".to_owned())].into();
                own.networks = networks(rest);
                surroundings.own_id = Some(own.id.clone());
                others.push(own);
            }
            "host" => surroundings.host = Some(rest.to_owned()),
            "other" => {
                let (name, rest) = rest.split_once(' ').unwrap();
                let (net, port) = rest.split_once(" port=").unwrap();
                let mut other = container("e", name);
                other.labels = [("traefik.enable".to_owned(), "false".to_owned())].into();
                other.networks = networks(net);
                other.ports = ports(port);
                others.push(other);
            }
            "replica" => replicas.push(rest.to_owned()),
            other => panic!("unknown directive {other}"),
        }
    }
    for (number, address) in replicas.iter().enumerate() {
        let name = format!("proj_svc_{}", number + 2);
        let networks = networks(&format!("proj_default={address}"));
        let id = format!("{number}").repeat(64);
        others.push(Container { id, name, networks, state: State::Running, ..subject.clone() });
    }
    others.push(subject);
    let environment = |name: &str| (name == "ZONE").then(|| "lan".to_owned());
    let labels = Labels::new(settings, Arc::new(environment));
    let (routing, problems) = labels.routing(&others, &surroundings);
    describe(&routing, &problems)
}

fn describe(routing: &RawRouting, problems: &[Problem]) -> String {
    let mut out = String::new();
    let standing = |standing: &Standing| match standing {
        Standing::Up => String::new(),
        Standing::Down(reason) => format!(" DOWN {reason}"),
    };
    let rest = |value: &dyn erased::Json, without: &[&str]| value.json(without);
    for (name, router) in &routing.http.routers {
        let (value, down) = (&router.value, standing(&router.standing));
        let guard = if value.default_rule { " (default rule)" } else { "" };
        let rest = rest(value, &["rule", "service"]);
        writeln!(out, "router {name}: {}{guard} -> {}{rest}{down}", value.rule, value.service).unwrap();
    }
    for (name, service) in &routing.http.services {
        let servers = service.value.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        let servers: Vec<&str> = servers.map(|server| server.url.as_str()).collect();
        let mut balancer = service.value.load_balancer.clone().unwrap_or_default();
        balancer.servers.clear();
        let rest = if balancer == RawLoadBalancer::default() {
            String::new()
        } else {
            rest(&balancer, &["strategy", "passHostHeader", "responseForwarding"])
        };
        writeln!(out, "service {name}: [{}]{rest}{}", servers.join(" "), standing(&service.standing))
            .unwrap();
    }
    for (name, middleware) in &routing.http.middlewares {
        writeln!(out, "middleware {name}:{}", rest(&middleware.value, &[])).unwrap();
    }
    for (name, router) in &routing.tcp.routers {
        let (value, down) = (&router.value, standing(&router.standing));
        let rest = rest(value, &["rule", "service"]);
        writeln!(out, "tcp router {name}: {} -> {}{rest}{down}", value.rule, value.service).unwrap();
    }
    for (name, service) in &routing.tcp.services {
        let servers = service.value.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        let tls = |tls: bool| if tls { "+tls" } else { "" };
        let servers: Vec<_> =
            servers.map(|server| format!("{}{}", server.address, tls(server.tls))).collect();
        let mut balancer = service.value.load_balancer.clone().unwrap_or_default();
        balancer.servers.clear();
        let (rest, down) = (rest(&balancer, &[]), standing(&service.standing));
        writeln!(out, "tcp service {name}: [{}]{rest}{down}", servers.join(" ")).unwrap();
    }
    for (name, router) in &routing.udp.routers {
        let (value, down) = (&router.value, standing(&router.standing));
        writeln!(out, "udp router {name}: {:?} -> {}{down}", value.entry_points, value.service).unwrap();
    }
    for (name, service) in &routing.udp.services {
        let servers = service.value.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        let servers: Vec<&str> = servers.map(|server| server.address.as_str()).collect();
        let down = standing(&service.standing);
        writeln!(out, "udp service {name}: [{}]{down}", servers.join(" ")).unwrap();
    }
    for problem in problems {
        writeln!(out, "problem {problem}").unwrap();
    }
    if out.is_empty() {
        out.push_str("nothing\n");
    }
    out
}

/// What is left of a value when these keys are taken away, as JSON with a space before it; nothing if empty.
mod erased {
    use super::Serialize;

    pub(super) trait Json {
        fn json(&self, without: &[&str]) -> String;
    }

    impl<T: Serialize> Json for T {
        fn json(&self, without: &[&str]) -> String {
            let mut value = serde_json::to_value(self).unwrap();
            if let Some(map) = value.as_object_mut() {
                map.retain(|key, _| !without.contains(&key.as_str()));
                if map.is_empty() {
                    return String::new();
                }
            }
            format!(" {value}")
        }
    }
}

fn check(table: &str) {
    let mut actual = String::new();
    for (number, case) in table.split("\n== ").enumerate() {
        if number == 0 {
            actual.push_str(case.trim_end());
            actual.push('\n');
            continue;
        }
        let input = case.split_once("\n=>\n").map_or(case, |(input, _)| input).trim_end();
        let lines: Vec<&str> = input.lines().skip(1).collect();
        write!(actual, "\n== {input}\n=>\n{}", outcome(&lines)).unwrap();
    }
    assert!(actual.trim_end() == table.trim_end(), "the table now says:\n{actual}<<<");
}

#[test]
fn labels_decode_as_the_reference_says() {
    check(include_str!("cases/decode.txt"));
}

#[test]
fn routers_and_services_of_a_container_find_each_other() {
    check(include_str!("cases/wiring.txt"));
}

#[test]
fn containers_are_chosen_named_and_found() {
    check(include_str!("cases/containers.txt"));
}

#[test]
fn a_container_with_a_label_of_a_megabyte_is_left_out_and_its_neighbour_is_not() {
    let mut huge = container("a", "huge");
    huge.labels.insert("traefik.http.routers.a.rule".to_owned(), "x".repeat(1 << 20));
    let mut foreign = container("b", "foreign");
    foreign.labels.insert("org.example.manual".to_owned(), "x".repeat(1 << 20));
    foreign.labels.insert("traefik.http.routers.b.rule".to_owned(), "Host(`b`)".to_owned());
    let labels = Labels::new(settings(), Arc::new(|_| None));
    let (routing, problems) = labels.routing(&[huge, foreign], &Surroundings::default());
    assert_eq!(routing.http.routers.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("more than the 262144 that are read"), "{}", problems[0]);
}

#[test]
fn of_two_definitions_the_older_containers_stays_whatever_the_order() {
    let mut old = container("b", "old");
    old.created = 10;
    old.labels = [("traefik.http.routers.web.rule".to_owned(), "Host(`old`)".to_owned())].into();
    let mut new = container("a", "new");
    new.created = 20;
    new.labels = [("traefik.http.routers.web.rule".to_owned(), "Host(`new`)".to_owned())].into();
    let labels = Labels::new(settings(), Arc::new(|_| None));
    for containers in [[old.clone(), new.clone()], [new, old]] {
        let (routing, problems) = labels.routing(&containers, &Surroundings::default());
        assert_eq!(routing.http.routers["web"].value.rule, "Host(`old`)");
        assert!(problems.iter().any(|problem| problem.subject.contains("web")), "{problems:?}");
    }
}

#[test]
fn what_is_kept_from_list_to_list_changes_nothing_about_the_outcome() {
    let labels = Labels::new(settings(), Arc::new(|_| None));
    let mut surroundings = Surroundings::default();
    let mut made = Made::default();
    let (plain, mut joined, gateway) =
        (container("a", "plain"), container("b", "joined"), container("c", "gateway"));
    joined.labels.clear();
    joined.mode = NetworkMode::Container(plain.id.clone());
    let mut containers = vec![plain, joined, gateway];
    let changes: [fn(&mut Vec<Container>, &mut Surroundings); 8] = [
        |_, _| {},
        |containers, _| containers[0].networks = networks("proj_default=172.18.0.9"),
        |containers, _| containers[1].state = State::Not("exited".to_owned()),
        |_, surroundings| surroundings.own_id = Some("c".repeat(64)),
        |containers, _| containers[2].networks = networks("elsewhere=172.19.0.2"),
        |containers, _| drop(containers.remove(0)),
        |containers, _| containers.push(container("a", "plain")),
        |_, surroundings| surroundings.host = Some("10.0.0.1".to_owned()),
    ];
    for (step, change) in changes.into_iter().enumerate() {
        change(&mut containers, &mut surroundings);
        let kept = labels.routing_after(&mut made, &containers, &surroundings);
        assert_eq!(kept, labels.routing(&containers, &surroundings), "step {step}");
    }
    let (before, _) = labels.routing_after(&mut made, &containers, &surroundings);
    let (after, _) = labels.routing_after(&mut made, &containers, &surroundings);
    let router = |routing: &RawRouting| routing.http.routers["svc-proj"].clone();
    assert!(router(&before).is_same(&router(&after)), "what did not change is the item of before");
}

//! Routing files: what is taken, what is left out, and where it says so.

use super::*;

fn read(name: &str, text: &str) -> Result<FileRouting, Box<Problem>> {
    parse_file(text, Path::new(name), &|name| (name == "DOMAIN").then(|| "example.com".to_owned()))
}

fn check(text: &str, expected: &[&str]) -> FileRouting {
    let output = read("routes.yml", text).expect("the file parses");
    let found: Vec<_> = output.problems.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{text}");
    output
}

#[test]
fn yaml_and_toml_decode_alike() {
    let yaml = "http:\n  routers:\n    Blog:\n      Rule: Host(`a`)\n      entrypoints: [web]\n      tls: {}\n  services:\n    s:\n      loadbalancer:\n        servers: [{ url: 'http://10.0.0.1' }]\n        passHostHeader: false\n";
    let toml = "[http.routers.Blog]\nrule = 'Host(`a`)'\nentryPoints = ['web']\n[http.routers.Blog.tls]\n[http.Services.s.loadBalancer]\npassHostHeader = false\n[[http.Services.s.loadBalancer.servers]]\nurl = 'http://10.0.0.1'\n";
    let (yaml, toml) = (read("a.yml", yaml).unwrap(), read("a.toml", toml).unwrap());
    assert_eq!((yaml.problems, toml.problems), (vec![], vec![]));
    let (yaml, toml) = (yaml.routing.http, toml.routing.http);
    assert_eq!(yaml.routers["Blog"].value, toml.routers["Blog"].value);
    assert_eq!(yaml.services["s"].value, toml.services["s"].value);
    assert_eq!(yaml.routers["Blog"].value.tls, Some(crate::routing::raw::RawRouterTls::default()));
}

#[test]
fn a_bad_item_costs_itself_and_names_its_place() {
    let output = check(
        "http:\n  routers:\n    a: { rule: Host(`a`), service: s }\n    b: { rule: Host(`b`), middlewars: [x] }\n    c: { priority: high }\n    d@file: { rule: Host(`d`) }\n  services:\n    s: { loadBalancer: { server: { port: 80 } } }\n    t: { loadBalancer: { servers: [{ url: 'http://a' }] } }\n  middleware: {}\n  middlewares: []\nhttpp: {}\n",
        &[
            "routes.yml:4:27: error: router `b`: unknown key `middlewars`; did you mean `middlewares`?",
            "routes.yml:5:20: error: router `c`: `priority`: expected a whole number, found `high`",
            "routes.yml:6:5: error: router `d@file`: `@` is not allowed in a name: it stands before the provider in references; leave `@` and what follows it away; it is added by itself",
            "routes.yml:8:26: error: service `s`: `server` is the form of labels; write a list: `servers: [{ url: \"http://10.0.0.1:80\" }]`",
            "routes.yml:10:3: error: unknown key `http.middleware`; did you mean `middlewares`?",
            "routes.yml:12:1: error: unknown key `httpp`; did you mean `http`?",
        ],
    );
    assert_eq!(output.routing.http.routers.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(output.routing.http.services.keys().collect::<Vec<_>>(), ["t"]);
}

#[test]
fn a_file_may_hold_the_install_configuration_too() {
    let output = check(
        "entryPoints: { web: { address: ':80' } }\nProviders: { file: { filename: x } }\nlog: { level: debug }\nhttp: { routers: { a: { rule: Host(`a`) } } }\n",
        &[],
    );
    assert_eq!(output.routing.http.routers.len(), 1);
}

#[test]
fn empty_files_and_sections_are_nothing() {
    for text in [
        "",
        "{}",
        "# nothing\n",
        "http:\n",
        "http: {}\ntcp:\n  routers: {}\ntls: { certificates: [] }\nudp:\n",
    ] {
        assert_eq!(check(text, &[]).routing, RawRouting::default(), "{text}");
    }
}

#[test]
fn what_is_no_block_of_settings_is_told() {
    check("http: 3\n", &["routes.yml:1:7: error: http: expected a block of settings"]);
    check(
        "tls: { certificates: { a: b } }\n",
        &[
            "routes.yml:1:22: error: `tls.certificates`: expected a list; write `- certFile: …` and `keyFile: …`",
        ],
    );
}

#[test]
fn a_file_that_does_not_parse_is_an_error_as_a_whole() {
    for (name, text, place) in [
        ("a.yml", "http:\n  routers: [\n", "a.yml:"),
        ("a.toml", "[http\n", "a.toml:1:"),
        ("a.yml", "http: {{ readFile \"x\" }}\n", "a.yml:1:"),
    ] {
        let problem = read(name, text).expect_err(text);
        assert!(problem.to_string().starts_with(place), "{problem}");
    }
}

#[test]
fn templates_ask_the_environment() {
    let output = check("http: { routers: { a: { rule: 'Host(`blog.{{ env \"DOMAIN\" }}`)' } } }\n", &[]);
    assert_eq!(output.routing.http.routers["a"].value.rule, "Host(`blog.example.com`)");
}

#[test]
fn tls_items_decode_each_for_itself() {
    let output = check(
        "tls:\n  certificates:\n    - { certFile: a.pem, keyFile: a.key }\n    - { certFle: b.pem }\n  options:\n    modern: { minVersion: VersionTLS13, clientAuth: { caFiles: [ca.pem], clientAuthType: RequireAndVerifyClientCert } }\n    bad: { sniStrict: perhaps }\n  stores:\n    default: { defaultCertificate: { certFile: a.pem, keyFile: a.key } }\n",
        &[
            "routes.yml:4:9: error: TLS certificate: unknown key `certFle`; did you mean `certFile`?",
            "routes.yml:7:23: error: TLS options `bad`: `sniStrict`: expected `true` or `false`, found `perhaps`",
        ],
    );
    let tls = output.routing.tls;
    assert_eq!((tls.certificates.len(), tls.options.len(), tls.stores.len()), (1, 1, 1));
}

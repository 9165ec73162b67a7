//! Files, variables and flags in, settings and problems out.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::load::{Disk, Files, Loaded, load};
use super::*;

mod certificates;
mod entry_points;

/// Files by path, with their modes.
#[derive(Default)]
struct Drawer(BTreeMap<String, (String, u32)>);

impl Files for Drawer {
    fn read(&self, path: &Path) -> io::Result<String> {
        let path = path.to_str().unwrap();
        self.0.get(path).map(|(text, _)| text.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        self.0.get(path.to_str().unwrap()).map(|(_, mode)| *mode)
    }
}

/// A configuration under construction.
#[derive(Default)]
struct Given {
    files: Drawer,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

fn given() -> Given {
    Given::default()
}

impl Given {
    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.0.insert(path.to_owned(), (text.to_owned(), 0o100_600));
        self
    }

    fn open_file(mut self, path: &str, text: &str) -> Self {
        self.files.0.insert(path.to_owned(), (text.to_owned(), 0o100_644));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.to_owned());
        self
    }

    fn load(self) -> Result<Loaded, String> {
        load(&self.arguments, self.variables, &self.files).map_err(|error| text(&error.problems))
    }

    fn install(self) -> Install {
        self.load().unwrap().install
    }

    fn problems(self) -> String {
        text(&self.load().unwrap().problems)
    }

    fn refusal(self) -> String {
        self.load().unwrap_err()
    }
}

fn text(problems: &[crate::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn yml(text: &str) -> Given {
    given().file("hearthgate.yml", text)
}

fn addresses(install: &Install) -> Vec<String> {
    install
        .entry_points
        .iter()
        .map(|entry_point| {
            format!("{} {:?} {}", entry_point.name, entry_point.address, entry_point.is_default)
        })
        .collect()
}

#[test]
fn with_no_configuration_at_all_the_default_starts() {
    // What the image sets says nothing about what to serve.
    for given in [
        given(),
        given()
            .variable("HEARTHGATE_USER", "65532")
            .variable("TRAEFIK_VERSION", "3")
            .variable("PATH", "/bin"),
        given().flag("--log.level=DEBUG"),
    ] {
        let install = given.install();
        assert!(install.is_default);
        assert_eq!(
            addresses(&install),
            ["web AnyAddress { port: 80 } true", "websecure AnyAddress { port: 443 } true"]
        );
        let ports: Vec<_> =
            install.entry_points.iter().map(|entry_point| entry_point.fallback_port).collect();
        assert_eq!(ports, [Some(8000), Some(8443)]);
        assert!(install.entry_points[1].http.tls.is_some());
        let docker = install.providers.docker.unwrap();
        assert!(docker.implied && !docker.exposed_by_default);
        assert_eq!(install.access_log.unwrap().format, AccessLogFormat::Json);
        assert_eq!(install.admin.address, ListenAddress::Address(([127, 0, 0, 1], 8080).into()));
    }
}

#[test]
fn a_configuration_without_entry_points_gets_the_one_of_traefik() {
    let install = given().flag("--providers.docker").install();
    assert_eq!(addresses(&install), ["http AnyAddress { port: 80 } true"]);
    assert!(!install.is_default);
    let docker = install.providers.docker.unwrap();
    assert!(docker.exposed_by_default && !docker.implied);
    assert!(install.access_log.is_none());
}

#[test]
fn flags_win_over_our_variables_over_traefiks_over_the_file() {
    let file = "log: {level: DEBUG}\nentryPoints:\n  webSecure:\n    address: ':443'\n";
    let given = || yml(file);
    let level = |given: Given| given.install().log.level;
    assert_eq!(level(given()), "debug");
    assert_eq!(level(given().variable("TRAEFIK_LOG_LEVEL", "INFO")), "info");
    let both = || given().variable("HEARTHGATE_LOG_LEVEL", "warn").variable("TRAEFIK_LOG_LEVEL", "INFO");
    assert_eq!(level(both()), "warn");
    assert_eq!(level(both().flag("--Log.Level=trace")), "trace");
    // The file's spelling of a name stays.
    let install = given().variable("TRAEFIK_ENTRYPOINTS_WEBSECURE_ASDEFAULT", "true").install();
    assert_eq!(addresses(&install), ["webSecure AnyAddress { port: 443 } true"]);
}

#[test]
fn flags_are_read_in_every_form() {
    let install = given()
        .flag("-entryPoints.web.Address=:80")
        .flag("--ENTRYPOINTS.lan.address")
        .flag("127.0.0.1:81")
        .flag("--api.insecure")
        .flag("--ping")
        .flag("--entrypoints.web.forwardedheaders.trustedips=10.0.0.1")
        .flag("--entrypoints.web.forwardedheaders.trustedips=10.0.0.2,proxy")
        .flag("--providers.docker=false")
        .install();
    assert_eq!(
        addresses(&install),
        [
            "lan Address(127.0.0.1:81) true",
            "web AnyAddress { port: 80 } true",
            "traefik AnyAddress { port: 8080 } false"
        ]
    );
    assert_eq!(install.entry_points[1].client_ip.trusted.len(), 3);
    assert!(install.providers.docker.is_none() && install.ping.is_some());
}

#[test]
fn the_first_file_of_the_usual_places_is_read() {
    let level = |given: Given| given.install().log.level;
    let traefik = || given().file("/etc/traefik/traefik.toml", "[log]\nlevel = 'warn'\n[api]\n");
    assert_eq!(level(traefik()), "warn");
    let home = given()
        .variable("HOME", "/home/u")
        .file("/home/u/.config/traefik.yml", "log: {level: info}\nping: {}");
    assert_eq!(level(home), "info");
    assert_eq!(level(traefik().file("hearthgate.yaml", "log: {level: debug}\napi: {}")), "debug");
    let named = traefik().file("other.yml", "log: {level: trace}\nping: {}");
    assert_eq!(level(named.flag("--configFile=other.yml")), "trace");
    let named = traefik().file("other.yml", "log: {level: trace}\nping: {}");
    assert_eq!(level(named.variable("TRAEFIK_CONFIGFILE", "other.yml")), "trace");
    insta::assert_snapshot!(traefik().flag("--configfile=missing.yml").refusal(), @r"flag `--configfile`: error: the install file `missing.yml` cannot be read: entity not found");
    insta::assert_snapshot!(given().flag("--configfile=a.json").file("a.json", "{}").refusal(), @r"a.json: error: the format of the install file is not known; let its name end in `.yml`, `.yaml` or `.toml`");
}

#[test]
fn one_file_may_be_install_and_routing_file() {
    let text =
        "[http.routers.a]\nrule = 'Host(`a`)'\n[tls]\n[TCP]\n[providers.file]\nfilename = 'both.toml'\n";
    let install = given().file("both.toml", text).flag("--configFile=both.toml").install();
    assert_eq!(install.providers.file.unwrap().source, FileSource::File("both.toml".into()));
}

#[test]
fn secrets_come_from_files_too() {
    let token = "0123456789abcdef0123456789abcdef";
    let exposed = |given: Given| given.install().admin.token.map(|token| token.expose().clone());
    let with_file = || given().file("/run/token", &format!("{token}\n"));
    assert_eq!(exposed(with_file().flag("--admin.tokenFile=/run/token")).as_deref(), Some(token));
    assert_eq!(
        exposed(with_file().variable("HEARTHGATE_ADMIN_TOKEN_FILE", "/run/token")).as_deref(),
        Some(token)
    );
    assert_eq!(exposed(given().variable("HEARTHGATE_ADMIN_TOKEN", token)).as_deref(), Some(token));
    let both = with_file()
        .variable("HEARTHGATE_ADMIN_TOKEN_FILE", "/run/token")
        .variable("HEARTHGATE_ADMIN_TOKEN", "x");
    insta::assert_snapshot!(both.refusal(), @r"variable `HEARTHGATE_ADMIN_TOKEN_FILE`: error: `HEARTHGATE_ADMIN_TOKEN` sets the same; set one of the two");
    let both = with_file().flag("--admin.tokenFile=/run/token").variable("HEARTHGATE_ADMIN_TOKEN", "x");
    insta::assert_snapshot!(both.refusal(), @r"flag `--admin.tokenFile`: error: option `admin.tokenFile`: `admin.token` is set too; set one of the two");
    let open = given().open_file("/run/token", token).flag("--admin.tokenfile=/run/token").flag("--api");
    insta::assert_snapshot!(open.problems(), @r"flag `--admin.tokenfile`: warning: file `/run/token`: others may read this secret; run `chmod 600 /run/token`");
    insta::assert_snapshot!(given().variable("HEARTHGATE_ADMIN_TOKEN_FILE", "/none").refusal(), @r"variable `HEARTHGATE_ADMIN_TOKEN_FILE`: error: the file `/none` cannot be read: entity not found");
    insta::assert_snapshot!(given().flag("--admin.address=:9000").flag("--admin.token=short").refusal(), @r"flag `--admin.token`: error: option `admin.token`: is shorter than 32 bytes, and the admin listener is open to others; write a longer one, as `openssl rand -hex 32` makes it");
    // `providers.file` is a section, and no twin of anything.
    let install = given().variable("TRAEFIK_PROVIDERS_FILE_DIRECTORY", "/routes").install();
    assert_eq!(install.providers.file.unwrap().source, FileSource::Directory("/routes".into()));
}

#[test]
fn what_is_wrong_in_a_file_is_said_at_once_with_its_place() {
    let text = "entryPoint: {}\nentryPoints:\n  web:\n    address: ':99999'\n    http: {tsl: {}}\n  lan:\n    address: ':80'\n    transport: {lifeCycle: {graceTimeOut: soon}}\nproviders:\n  docker: {exposedByDefault: maybe, swarmMode: true}\npilot: {token: x}\nlog: {level: DEBUG}\n";
    insta::assert_snapshot!(yml(text).refusal(), @r"
    hearthgate.yml:1:1: error: option `entryPoint`: unknown key `entryPoint`; did you mean `entryPoints`?
    hearthgate.yml:5:12: error: option `entryPoints.web.http.tsl`: unknown key `tsl`; did you mean `tls`?
    hearthgate.yml:8:43: error: option `entryPoints.lan.transport.lifeCycle.graceTimeOut`: `soon` is not a duration; write seconds, or as in `1h30m`, `10s`, `500ms`
    hearthgate.yml:10:30: error: option `providers.docker.exposedByDefault`: expected `true` or `false`, found `maybe`
    hearthgate.yml:10:37: error: option `providers.docker.swarmMode`: unknown key `swarmMode`; Swarm is not served: label the containers
    hearthgate.yml:11:1: error: option `pilot`: unknown key `pilot`; it was removed from Traefik: delete it
    ");
    let text = "entryPoints:\n  web:\n    address: ':99999'\n    http: {underscoreHeadersStrategy: drop}\n    forwardedHeaders: {trustedIPs: [10.0.0.0/99, 1.2.3, ok]}\n  none: {}\nproviders:\n  file: {}\n  docker: {labelScope: shred}\n  table: {filname: x}\nlog: {level: DEBG}\nuser: '1:x'\nadmin: {address: nowhere}\naccessLog: {format: jsn, filters: {statusCodes: [4xx]}}\napi: {basePath: x}\n";
    insta::assert_snapshot!(yml(text).refusal(), @r#"
    hearthgate.yml:3:14: error: option `entryPoints.web.address`: `99999` is not a port; write a number from 1 to 65535
    hearthgate.yml:4:39: error: option `entryPoints.web.http.underscoreHeadersStrategy`: `drop` is not known; write one of `keep`, `delete`, `reject`
    hearthgate.yml:5:36: error: option `entryPoints.web.forwardedHeaders.trustedIPs`: `1.2.3` is no address, range or host name; write it as `10.0.0.1`, `10.0.0.0/8` or `cloudflared`
    hearthgate.yml:5:36: error: option `entryPoints.web.forwardedHeaders.trustedIPs`: `10.0.0.0/99` is no address, range or host name; write it as `10.0.0.1`, `10.0.0.0/8` or `cloudflared`
    hearthgate.yml:6:9: error: option `entryPoints.none`: has no address; write `address: ":80"`
    hearthgate.yml:8:9: error: option `providers.file`: names neither a file nor a directory; set `filename` or `directory`
    hearthgate.yml:9:24: error: option `providers.docker.labelScope`: `shred` is not known; did you mean `shared`?
    hearthgate.yml:10:11: error: option `providers.table.filname`: unknown key `filname`; did you mean `filename`?
    hearthgate.yml:11:14: error: option `log.level`: `DEBG` is not known; did you mean `debug`?
    hearthgate.yml:12:7: error: option `user`: `1:x` is no user; write a number (`65532`), two (`65532:65532`), or a name
    hearthgate.yml:13:18: error: option `admin.address`: `nowhere` has no port; write it as `:80`, `127.0.0.1:80` or `[::1]:80`
    hearthgate.yml:14:21: error: option `accessLog.format`: `jsn` is not known; did you mean `json`?
    hearthgate.yml:14:49: error: option `accessLog.filters.statusCodes`: `4xx` is no status or range; write it as `404` or `500-599`
    hearthgate.yml:15:17: error: option `api.basePath`: `x` does not begin with `/`
    "#);
    insta::assert_snapshot!(yml("a: 1\na: 2").refusal(), @r"hearthgate.yml:2:1: error: key `a` is set twice, first in line 1");
    let wrong = given()
        .flag("serve")
        .flag("--entrypoint.web.address=:80")
        .flag("--ping.entrypoint..x=1")
        .variable("TRAEFIK_ENTRYPOINTS_WEB_ADRESS", ":80")
        .variable("HEARTHGATE_PROVIDER_DOCKER", "true")
        .variable("TRAEFIK_FOO", "1");
    insta::assert_snapshot!(wrong.refusal(), @r"
    flag `--entrypoint.web.address`: error: unknown key `entrypoint`; did you mean `entryPoints`?
    flag `--ping.entrypoint..x`: error: invalid element: an empty name between two dots
    flag `serve`: error: is neither a command nor a flag; write flags as `--entryPoints.web.address=:80`
    variable `TRAEFIK_ENTRYPOINTS_WEB_ADRESS`: error: unknown key `adress` below `entryPoints.web`; did you mean `ADDRESS`?
    ");
    insta::assert_snapshot!(given().variable("HEARTHGATE_PROVIDER_DOCKER", "true").problems(), @r"variable `HEARTHGATE_PROVIDER_DOCKER`: warning: unknown key `provider`; did you mean `PROVIDERS`?");
}

#[test]
fn what_is_not_served_is_a_problem_and_the_rest_starts() {
    let text = r"
entryPoints:
  web:
    address: ':80'
    http: {redirections: {entryPoint: {to: websecure}}}
    clientIP: cloudflared
    security: {crowdsec: false, geo: {}}
    limits: {connections: 5, headFields: 0}
  websecure:
    address: ':443'
    http: {tls: {certResolver: le}}
    http3: {}
    forwardedHeaders: {insecure: true}
  dns: {address: ':53/udp'}
providers:
  swarm: {}
  http: {endpoint: 'http://x'}
  docker: {endpoint: 'ssh://me@host'}
certificatesResolvers: {le: {acme: {email: a@b, tlsChallenge: {}}}}
tracing: {otlp: {}}
serversTransport: {insecureSkipVerify: true}
metrics: {datadog: {}, prometheus: {entryPoint: metrics}}
global: {checkNewVersion: true, sendAnonymousUsage: false}
experimental:
  plugins:
    bouncer: {moduleName: github.com/maxlerebourg/crowdsec-bouncer-traefik-plugin, version: v1.3.5}
    geoblock: {moduleName: github.com/PascalMinder/geoblock, version: v0.2.8}
    real: {moduleName: github.com/soulbalz/traefik-real-ip, version: v1.0.3}
    other: {moduleName: example.com/other, version: v1}
crowdsec: {lapiUrl: 'http://crowdsec:8080', apiKey: x}
core: {defaultRuleSyntax: v2}
";
    insta::assert_snapshot!(yml(text).problems(), @r#"
    hearthgate.yml:6:15: error: option `entryPoints.web.clientIP`: mode `cloudflared` is not served yet: the client is the peer; `xForwardedFor` with `trustedIPs` is
    hearthgate.yml:7:5: error: option `entryPoints.web.security`: is not served yet: nothing is refused by it
    hearthgate.yml:8:14: error: option `entryPoints.web.limits.connections`: is not served yet
    hearthgate.yml:12:5: error: option `entryPoints.websecure.http3`: HTTP/3 is not served; remove it; HTTP/2 serves the same clients
    hearthgate.yml:13:34: warning: option `entryPoints.websecure.forwardedHeaders.insecure`: whoever reaches this entry point can claim any client address; name the proxies in `trustedIPs`
    hearthgate.yml:16:3: error: option `providers.swarm`: Swarm is not served; label the containers and use `providers.docker`
    hearthgate.yml:17:3: error: option `providers.http`: is not served; have the settings written to a file for `providers.file`
    hearthgate.yml:18:22: error: option `providers.docker.endpoint`: Docker is not reached over SSH; forward its socket with `ssh -L`, or offer it by TCP with TLS
    hearthgate.yml:20:1: error: option `tracing`: is not served yet
    hearthgate.yml:21:40: warning: option `serversTransport.insecureSkipVerify`: any certificate of any server is taken: whoever is in between can read and change all; name the roots of your servers in `rootCAs`
    hearthgate.yml:22:11: error: option `metrics.datadog`: is not served; use `metrics.prometheus`
    hearthgate.yml:22:49: error: option `metrics.prometheus.entryPoint`: entryPoint "metrics" doesn't exist
    hearthgate.yml:27:5: error: plug-in `geoblock`: plug-ins are not run; use the middleware `geo` in its place
    hearthgate.yml:28:5: error: plug-in `real`: plug-ins are not run; use `entryPoints.<name>.clientIP` in its place
    hearthgate.yml:29:5: error: plug-in `other`: plug-ins are not run; remove it; routers that use it answer 503
    hearthgate.yml:30:1: error: option `crowdsec`: is not served yet: no client is refused by it
    hearthgate.yml:31:27: error: option `core.defaultRuleSyntax`: rules of Traefik v2 are not served; write the rules as in Traefik v3
    "#);
    let install = yml(text).install();
    let resolvers: Vec<_> = install.certificate_resolvers.iter().map(|resolver| &*resolver.name).collect();
    assert_eq!(resolvers, ["le"]);
    assert_eq!(
        addresses(&install),
        [
            "dns AnyAddress { port: 53 } false",
            "web AnyAddress { port: 80 } true",
            "websecure AnyAddress { port: 443 } true"
        ]
    );
    assert!(install.providers.docker.is_none());
}

#[test]
fn the_client_is_believed_as_written() {
    let client_ip = |text: &str| {
        let install = yml(&format!("entryPoints: {{web: {{address: ':80', {text}}}}}")).install();
        let ClientIp { mode, trusted, trust_everyone, append_forwarded_for } =
            &install.entry_points[0].client_ip;
        format!("{mode:?} {trusted:?} {trust_everyone} {append_forwarded_for}")
    };
    for (text, expected) in [
        ("", "Peer [] false false"),
        ("clientIP: peer", "Peer [] false false"),
        (
            "forwardedHeaders: {trustedIPs: [10.0.0.1]}",
            "XForwardedFor { depth: 0 } [Range(10.0.0.1/32)] false false",
        ),
        (
            "forwardedHeaders: {trustedIPs: '10.0.0.0/8, Proxy'}",
            "XForwardedFor { depth: 0 } [Range(10.0.0.0/8), Host(\"proxy\")] false false",
        ),
        (
            "forwardedHeaders: {trustedIPs: ['::ffff:10.0.0.7/104']}",
            "XForwardedFor { depth: 0 } [Range(10.0.0.0/8)] false false",
        ),
        ("forwardedHeaders: {insecure: true}", "XForwardedFor { depth: 1 } [] true false"),
        ("forwardedHeaders: {notAppendXForwardedFor: false}", "Peer [] false true"),
        (
            "clientIP: {mode: xforwardedfor, trustedIPs: [fd00::/8], depth: 2}",
            "XForwardedFor { depth: 2 } [Range(fd00::/8)] false false",
        ),
    ] {
        assert_eq!(client_ip(text), expected, "{text}");
    }
}

#[test]
fn defaults_and_times_of_entry_points() {
    let entry_point = |text: &str| {
        let install = yml(&format!("entryPoints: {{web: {{address: ':80', {text}}}}}")).install();
        install.entry_points.into_iter().next().unwrap()
    };
    let plain = entry_point("");
    assert_eq!(plain.transport.keep_alive, Some(Duration::from_secs(120)));
    assert_eq!(plain.transport.grace, Duration::from_secs(9));
    assert_eq!((plain.limits.head_bytes, plain.limits.requests_per_connection), (Some(32 << 10), Some(1000)));
    assert_eq!((plain.h2c, plain.max_concurrent_streams), (true, 100));
    assert_eq!(plain.http.underscore_headers, UnderscoreHeaders::Delete);
    let written = entry_point(
        "transport: {respondingTimeouts: {readTimeout: 0, writeTimeout: 5, idleTimeout: 1m}, lifeCycle: {graceTimeOut: 500ms, requestAcceptGraceTimeout: 3}, keepAliveMaxRequests: 7}, http: {maxHeaderBytes: 1048576, sanitizePath: false, encodedCharacters: {allowEncodedSlash: false}}, http2: {h2c: false, maxConcurrentStreams: 250}",
    );
    let second = Duration::from_secs(1);
    assert_eq!(
        written.transport,
        Transport {
            read_idle: None,
            write_idle: Some(5 * second),
            keep_alive: Some(60 * second),
            accept_grace: 3 * second,
            grace: second / 2,
        }
    );
    assert_eq!((written.limits.head_bytes, written.limits.requests_per_connection), (Some(1 << 20), Some(7)));
    assert_eq!(written.http.refused_encoded_characters, b"/");
    assert_eq!(
        (written.h2c, written.max_concurrent_streams, written.http.sanitize_path),
        (false, 250, false)
    );
    let ours = entry_point(
        "limits: {headBytes: 0, headTimeout: 5s, requestsPerConnection: 0, bodyIdle: 7, writeIdle: 0}",
    );
    assert_eq!((ours.limits.head_bytes, ours.limits.requests_per_connection), (None, None));
    assert_eq!((ours.transport.read_idle, ours.transport.write_idle), (Some(7 * second), None));
}

#[test]
fn the_docker_client_s_variables_win_over_the_endpoint() {
    let endpoint = |given: Given| {
        let given = given.flag("--providers.docker.endpoint=tcp://socket-proxy:2375");
        format!("{:?}", given.install().providers.docker.unwrap().endpoint)
    };
    assert_eq!(endpoint(given()), "Http(\"socket-proxy:2375\")");
    assert_eq!(endpoint(given().variable("DOCKER_HOST", "unix:///x.sock")), "Unix(\"/x.sock\")");
    let tls = given()
        .variable("DOCKER_HOST", "tcp://engine")
        .variable("DOCKER_TLS_VERIFY", "1")
        .variable("DOCKER_CERT_PATH", "/c");
    assert_eq!(
        endpoint(tls),
        "Https { address: \"engine:2376\", ca: Some(\"/c/ca.pem\"), cert: Some(\"/c/cert.pem\"), key: Some(\"/c/key.pem\") }"
    );
    let default = given().flag("--providers.docker").install().providers.docker.unwrap().endpoint;
    assert_eq!(format!("{default:?}"), "Unix(\"/var/run/docker.sock\")");
}

#[test]
fn the_table_is_inline_or_a_file() {
    let inline = yml("providers: {table: {zones: {a: {cidr: 10.0.0.0/8}}, guests: []}}").install();
    assert!(matches!(inline.providers.table, Some(TableProvider::Inline(_))));
    let file = yml("providers: {table: {filename: guests.yml}}").install();
    assert!(
        matches!(file.providers.table, Some(TableProvider::File(path)) if path == Path::new("guests.yml"))
    );
}

#[test]
fn lists_are_written_with_commas_and_with_indexes() {
    let install = given()
        .variable("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80")
        .variable("TRAEFIK_ENTRYPOINTS_WEB_HTTP_TLS_DOMAINS_0_MAIN", "example.com")
        .variable("TRAEFIK_ENTRYPOINTS_WEB_HTTP_TLS_DOMAINS[0]_SANS", "*.example.com, b.test")
        .variable("traefik_entrypoints_web_asdefault", "true")
        .flag("--entrypoints.web.http.middlewares[0]=a@file")
        .flag("--entrypoints.web.http.middlewares[1]=b@file")
        .variable("HEARTHGATE_PROVIDERS_TABLE_FILENAME", "guests.yml")
        .install();
    let http = &install.entry_points[0].http;
    assert_eq!(http.middlewares, ["a@file", "b@file"]);
    let domain = &http.tls.as_ref().unwrap().domains[0];
    assert_eq!((domain.main.as_str(), domain.sans.len()), ("example.com", 2));
    assert!(install.providers.table.is_some());
}

#[test]
fn two_entry_points_do_not_share_an_address() {
    let two = given().flag("--entrypoints.a.address=:80").flag("--entrypoints.b.address=:80/tcp");
    insta::assert_snapshot!(two.refusal(), @r"flag `--entrypoints.b.address`: error: option `entryPoints.b.address`: entry point `a` listens on the same address; give each an address of its own");
    let hidden = given().flag("--entrypoints.a.address=:8080").flag("--api.insecure");
    insta::assert_snapshot!(hidden.refusal(), @r"flag `--entrypoints.a.address`: error: option `entryPoints.traefik.address`: entry point `a` listens on the same address; give each an address of its own");
}

#[test]
fn a_default_rule_that_cannot_be_filled_in_is_told_at_once() {
    let rule = given().flag("--providers.docker.defaultrule=Host(`{{ regexFind .Name }}`)");
    insta::assert_snapshot!(rule.problems(), @r"flag `--providers.docker.defaultrule`: error: option `providers.docker.defaultRule`: template call `regexFind` is not known, in column 10: routers without a rule are left out; these are: coalesce, default, env, index, lower, normalize, print, printf, quote, replace, trim, trimPrefix, trimSuffix, upper");
}

proptest! {
    #[test]
    fn no_configuration_makes_the_loader_panic(
        flags in proptest::collection::vec("-{0,2}(entrypoints|providers|api|ping|admin|user|log|crowdsec|x)(\\.(a|docker|file|table|address|clientip|http|tls|domains|endpoint|level|token)(\\[[0-9]?\\])?){0,4}(=(true|false|:80|10|unix:/x|a,b|\\PC{0,6}))?", 0..6),
        variables in proptest::collection::vec(("(TRAEFIK|HEARTHGATE)(_(ENTRYPOINTS|PROVIDERS|DOCKER|FILE|ADMIN|TOKEN|WEB|0|ADDRESS|HTTP|TLS|DOMAINS)?){0,6}", "(true|:80||\\PC{0,6})"), 0..6),
        file in "(\\PC{0,30}|(entryPoints|providers|api|log): ?(\\{(web|docker|file): (\\{address: \\PC{0,6}\\}|x|\\[\\])\\}|true|\\[1\\]|))",
    ) {
        let mut given = yml(&file);
        given.arguments = flags;
        given.variables = variables;
        let _ = given.load();
    }
}

#[test]
fn every_key_of_traefik_is_known() {
    check_flags(include_str!("testdata/traefik-keys.txt"));
}

#[test]
fn the_flags_of_common_compose_files_are_accepted() {
    check_flags(include_str!("testdata/compose-flags.txt"));
}

fn check_flags(list: &str) {
    let mut checked = 0;
    for flag in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let given = given().flag("--entrypoints.x.address=:8000").flag("--entrypoints.traefik.address=:8001");
        assert_eq!(given.flag(flag).load().err(), None, "{flag}");
        checked += 1;
    }
    assert!(checked > 10);
}

#[test]
fn the_disk_is_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yml");
    std::fs::write(&path, "log: {level: warn}\nping: {}\n").unwrap();
    let loaded = load(&[format!("--configFile={}", path.display())], [], &Disk).unwrap();
    assert_eq!(loaded.install.log.level, "warn");
    assert_eq!(Disk.mode(&path).unwrap() & 0o700, 0o600);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(load(&[format!("--configFile={}", path.display())], [], &Disk).is_err());
    assert!(load(&[format!("--configFile={}", folder.path().display())], [], &Disk).is_err());
}

//! Access-log lines and metrics as files and scrapers see them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Install;
use config::install::{
    AccessLog as Settings, AccessLogFilters, AccessLogFormat, FieldMode, FieldModes, Prometheus,
};
use config::problem::Origin;
use config::routing::{InternalService, Observability, Routing, Scheme, Server};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use regex::Regex;
use serde_json::Value;

use super::log_line::LineFormat;
use super::*;
use crate::snapshot::{Destination, Routes};
use crate::test_support;

/// 2026-11-21T15:53:03.592Z.
const STARTED: Duration = Duration::from_millis(1_795_276_383_592);

/// A request that a test changes to its needs.
struct Sample {
    peer: Option<SocketAddr>,
    client: IpAddr,
    request: http::request::Parts,
    host: String,
    target: String,
    route: Option<Arc<Route>>,
    service: Option<Arc<Service>>,
    status: u16,
    tls: Option<TlsDetails<'static>>,
    retries: u32,
    duration: Duration,
    grpc_status: Option<u16>,
    reason: String,
    request_id: String,
}

impl Sample {
    fn new() -> Self {
        let (mut request, ()) = http::Request::new(()).into_parts();
        request.headers.insert("user-agent", HeaderValue::from_static("curl/7.88.1"));
        request.headers.insert("authorization", HeaderValue::from_static("Bearer canary"));
        request.headers.insert("cookie", HeaderValue::from_static("session=canary"));
        let service = service("app@file", "http://10.0.0.1:8080", Scheme::Http, "10.0.0.1", 8080);
        Self {
            peer: Some(SocketAddr::from(([203, 0, 113, 7], 40000))),
            client: IpAddr::from([203, 0, 113, 7]),
            request,
            host: "app.example.org".to_owned(),
            target: "/a?b=c".to_owned(),
            route: Some(route("app@file", Destination::Service(Arc::clone(&service)))),
            service: Some(service),
            status: 404,
            tls: None,
            retries: 0,
            duration: Duration::from_micros(3250),
            grpc_status: None,
            reason: String::new(),
            request_id: String::new(),
        }
    }

    fn header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.request.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).expect("a test gives what a header field may hold"),
        );
        self
    }

    fn with<R>(&self, use_record: impl FnOnce(&AccessRecord<'_>) -> R) -> R {
        let headers = HeaderMap::new();
        use_record(&AccessRecord {
            entry_point: EntryPointId(0),
            tls: self.tls,
            peer: self.peer,
            client: self.client,
            request: Some(&self.request),
            host: &self.host,
            target: &self.target,
            request_body_bytes: 0,
            route: self.route.as_ref(),
            service: self.service.as_ref(),
            upstream: self.service.as_ref().and_then(|service| service.servers().first()),
            origin_status: self.status,
            origin_body_bytes: 19,
            status: self.status,
            response_body_bytes: 19,
            response_headers: Some(&headers),
            retries: self.retries,
            started: UNIX_EPOCH + STARTED,
            duration: self.duration,
            origin_duration: Duration::from_micros(3000),
            grpc_status: self.grpc_status,
            upgraded: false,
            reason: &self.reason,
            request_id: &self.request_id,
        })
    }

    fn line(&self, settings: &Settings) -> String {
        let format = LineFormat::new(&install(), settings);
        let mut line = Vec::new();
        self.with(|record| format.write(&mut line, record, 7));
        let line = String::from_utf8(line).expect("a log is valid UTF-8");
        assert!(line.len() <= 8192, "{} bytes", line.len());
        assert!(!line.chars().any(char::is_control), "{line:?}");
        line
    }
}

fn service(name: &str, url: &str, scheme: Scheme, host: &str, port: u16) -> Arc<Service> {
    Arc::new(Service::new(
        &config::routing::Service {
            name: name.into(),
            servers: vec![Server {
                url: url.into(),
                scheme,
                host: host.into(),
                port,
                weight: 1,
                path_prefix: "".into(),
                pin: None,
            }],
            down: None,
            pass_host_header: true,
            transport: std::sync::Arc::default(),
            origin: Origin::Gateway,
        },
        Ok(Arc::default()),
        None,
    ))
}

fn route(name: &str, destination: Destination) -> Arc<Route> {
    Arc::new(Route {
        name: name.into(),
        rule: "Host(`app.example.org`)".into(),
        priority: 23,
        down: None,
        middlewares: Box::default(),
        destination,
        recursion_guard: None,
        tls: None,
        observability: Observability::default(),
    })
}

fn install() -> Install {
    test_support::install(&["web"], std::path::Path::new("unused"))
}

fn settings(format: AccessLogFormat) -> Settings {
    Settings {
        file_path: None,
        format,
        filters: AccessLogFilters::default(),
        fields: FieldModes::default(),
        headers: FieldModes { default: FieldMode::Drop, names: std::collections::BTreeMap::new() },
        keep_query: true,
        add_internals: false,
    }
}

fn common() -> Settings {
    settings(AccessLogFormat::Common)
}

fn json() -> Settings {
    settings(AccessLogFormat::Json)
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn the_common_line_is_traefiks() {
    assert_eq!(
        Sample::new().line(&common()),
        r#"203.0.113.7 - - [21/Nov/2026:15:53:03 +0000] "GET /a?b=c HTTP/1.1" 404 19 "-" "curl/7.88.1" 7 "app@file" "http://10.0.0.1:8080" 3ms"#
    );
    assert_eq!(
        Sample::new().line(&settings(AccessLogFormat::GenericClf)),
        r#"203.0.113.7 - - [21/Nov/2026:15:53:03 +0000] "GET /a?b=c HTTP/1.1" 404 19 "-" "curl/7.88.1""#
    );
}

#[test]
fn our_own_answers_say_why_behind_what_parsers_read() {
    let mut sample = Sample::new();
    (sample.route, sample.service) = (None, None);
    sample.reason = "no router matches \"x\"".to_owned();
    sample.request_id = "0af7".to_owned();
    assert_eq!(
        sample.line(&common()),
        r#"203.0.113.7 - - [21/Nov/2026:15:53:03 +0000] "GET /a?b=c HTTP/1.1" 404 19 "-" "curl/7.88.1" 7 "-" "-" 3ms id=0af7 reason="no router matches \x22x\x22""#
    );
}

#[test]
fn the_json_line_has_traefiks_fields_in_traefiks_order() {
    assert_eq!(
        Sample::new().line(&json()),
        concat!(
            r#"{"ClientAddr":"203.0.113.7:40000","ClientHost":"203.0.113.7","ClientPort":"40000","ClientUsername":"-","#,
            r#""DownstreamContentSize":19,"DownstreamStatus":404,"Duration":3250000,"OriginContentSize":19,"#,
            r#""OriginDuration":3000000,"OriginStatus":404,"Overhead":250000,"RequestAddr":"app.example.org","#,
            r#""RequestContentSize":0,"RequestCount":7,"RequestHost":"app.example.org","RequestMethod":"GET","#,
            r#""RequestPath":"/a?b=c","RequestPort":"-","RequestProtocol":"HTTP/1.1","RequestScheme":"http","#,
            r#""RetryAttempts":0,"RouterName":"app@file","ServiceAddr":"10.0.0.1:8080","ServiceName":"app@file","#,
            r#""ServiceURL":"http://10.0.0.1:8080","StartLocal":"2026-11-21T15:53:03.592Z","#,
            r#""StartUTC":"2026-11-21T15:53:03.592Z","entryPointName":"web","level":"info","msg":"","#,
            r#""request_User-Agent":"curl/7.88.1","time":"2026-11-21T15:53:03Z"}"#
        )
    );
}

#[test]
fn the_believed_client_is_the_one_that_is_named() {
    let mut sample = Sample::new();
    sample.client = "::ffff:198.51.100.9".parse().unwrap();
    let line = sample.line(&common());
    assert!(line.starts_with("198.51.100.9 - - ["), "{line}");
    let line = parsed(&sample.line(&json()));
    assert_eq!(line["ClientHost"], "198.51.100.9");
    assert_eq!(line["ClientAddr"], "198.51.100.9:40000");
    assert_eq!(line["PeerAddr"], "203.0.113.7:40000");
    sample.client = "2001:db8::7".parse().unwrap();
    let line = parsed(&sample.line(&json()));
    assert_eq!(line["ClientHost"], "2001:db8::7");
    assert_eq!(line["ClientAddr"], "[2001:db8::7]:40000");
}

#[test]
fn a_line_of_a_head_that_could_not_be_read_still_names_the_client() {
    let install = install();
    let mut line = Vec::new();
    let sample = Sample::new();
    sample.with(|record| {
        let record = AccessRecord {
            request: None,
            host: "",
            target: "",
            route: None,
            service: None,
            upstream: None,
            ..*record
        };
        LineFormat::new(&install, &common()).write(&mut line, &record, 1);
    });
    assert_eq!(
        String::from_utf8(line).unwrap(),
        r#"203.0.113.7 - - [21/Nov/2026:15:53:03 +0000] "UNKNOWN - HTTP/1.1" 404 19 "-" "-" 1 "-" "-" 3ms"#
    );
}

/// What CrowdSec's parser takes for a line of Traefik's, told by its verdict on recorded lines.
fn crowdsec_pattern() -> Regex {
    Regex::new(concat!(
        r#"(?P<client>[0-9A-Fa-f:.]+) - [a-zA-Z0-9.@\-+_%]+ \[\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4}\] "#,
        r#""\b\w+\b (?P<path>.*?) HTTP/[0-9.]+" (?P<status>[0-9-]+) [0-9-]+ "[^"]*" "(?P<agent>[^"]*)" \d+ "#,
        r#""(?:[a-zA-Z0-9._-]+(?:@[a-zA-Z0-9.-]+)?|-)" "#,
        r#""(?:[A-Za-z]+://[0-9A-Za-z][0-9A-Za-z.-]*(?::\d+)?(?:/[^" ]*)?|-)" [0-9.]+ms"#
    ))
    .unwrap()
}

#[test]
fn the_pattern_of_these_tests_judges_as_crowdsec_does() {
    let samples: Value = serde_json::from_str(include_str!("testdata/crowdsec_lines.json")).unwrap();
    let pattern = crowdsec_pattern();
    for sample in samples["samples"].as_array().unwrap() {
        let line = sample["line"].as_str().unwrap();
        assert_eq!(pattern.is_match(line), sample["parsed"].as_bool().unwrap(), "{}: {line}", sample["case"]);
    }
}

/// Everything that a client or a label can put into a line.
fn odd_samples() -> Vec<(&'static str, Sample)> {
    let mut samples = Vec::new();
    let odd: [(&str, &[u8]); 7] = [
        ("a quote", b"x\"y"),
        ("a backslash", b"x\\\"y"),
        ("an escape sequence", b"\x80\x9b2Jx"),
        ("bytes outside UTF-8", b"\xff\xfe\xc3"),
        ("letters outside ASCII", "ü\u{2028}".as_bytes()),
        ("a whole line", b"9.9.9.9 - - [21/Nov/2026:15:53:03 +0000] \"GET /f HTTP/1.1\" 404 3 \"-\" \"-\" 1 \"a@b\" \"-\" 1ms"),
        ("a long value", &[b'"'; 9000]),
    ];
    for (case, value) in odd {
        samples.push((case, Sample::new().header("user-agent", value)));
        samples.push((case, Sample::new().header("referer", value)));
        let mut sample = Sample::new();
        sample.target = format!("/{}", String::from_utf8_lossy(value));
        sample.host = String::from_utf8_lossy(value).into_owned();
        sample.reason = String::from_utf8_lossy(value).into_owned();
        sample.request_id = String::from_utf8_lossy(value).into_owned();
        samples.push((case, sample));
        let mut sample = Sample::new();
        let name = format!("{}@docker", String::from_utf8_lossy(value));
        let url = format!("http://{}", String::from_utf8_lossy(value));
        let service = service(&name, &url, Scheme::Http, &String::from_utf8_lossy(value), 80);
        sample.route = Some(route(&name, Destination::Service(Arc::clone(&service))));
        sample.service = Some(service);
        samples.push((case, sample));
    }
    let mut add = |case, change: &dyn Fn(&mut Sample)| {
        let mut sample = Sample::new();
        change(&mut sample);
        samples.push((case, sample));
    };
    // Text of ours and of labels may hold what a header field may not.
    add("line ends in names", &|sample| {
        sample.target = "/a\r\nb\0\x1b[2J".to_owned();
        sample.reason = "a\r\nb\0\x1b[2J\u{85}".to_owned();
        sample.request_id = "a b\nc".to_owned();
        sample.route = Some(route("a\nb@docker", Destination::Unavailable("x".into())));
    });
    add("a method that is no word", &|sample| {
        sample.request.method = Method::from_bytes(b"M-SEARCH").unwrap()
    });
    add("HTTP/2", &|sample| sample.request.version = Version::HTTP_2);
    add("a server on IPv6", &|sample| {
        sample.service = Some(service("app@file", "http://[fd00::5]:80", Scheme::Http, "fd00::5", 80));
    });
    add("a server name with an underscore", &|sample| {
        sample.service = Some(service("app@file", "http://my_app:80", Scheme::Http, "my_app", 80));
    });
    add("a server with h2c", &|sample| {
        sample.service = Some(service("app@file", "h2c://app:80", Scheme::H2c, "app", 80));
    });
    add("a router without a provider", &|sample| {
        sample.route = Some(route("app", Destination::Unavailable("x".into())));
    });
    add("a client on a Unix socket", &|sample| sample.peer = None);
    add("no user agent", &|sample| {
        sample.request.headers.remove("user-agent");
    });
    samples
}

#[test]
fn crowdsec_sees_one_event_a_line_whatever_the_bytes() {
    let pattern = crowdsec_pattern();
    let mut kept = common();
    kept.headers.names.insert("referer".to_owned(), FieldMode::Keep);
    for (case, sample) in odd_samples() {
        let line = sample.line(&kept);
        let events: Vec<_> = pattern.captures_iter(&line).collect();
        assert_eq!(events.len(), 1, "{case}: {line}");
        assert_eq!(&events[0]["client"], "203.0.113.7", "{case}: {line}");
        assert_eq!(&events[0]["status"], "404", "{case}: {line}");
        assert!(line.is_ascii(), "{case}: {line}");

        let line = sample.line(&json());
        let event = parsed(&line);
        assert_eq!(event["ClientHost"], "203.0.113.7", "{case}: {line}");
        assert_eq!(event["DownstreamStatus"], 404, "{case}: {line}");
        // A router's name that the parser does not take hides the line; then it is left out.
        if let Some(name) = event.get("RouterName").and_then(Value::as_str) {
            assert!(name.contains('@') && !name.contains(char::is_whitespace), "{case}: {line}");
        }
    }
}

#[test]
fn fields_and_headers_are_kept_dropped_and_redacted_as_configured() {
    let sample = Sample::new().header("x-many", b"one").header("referer", b"http://r/");
    let mut settings = json();
    settings.fields.names.insert("clientport".to_owned(), FieldMode::Drop);
    settings.headers.default = FieldMode::Keep;
    for (name, mode) in
        [("authorization", FieldMode::Redact), ("cookie", FieldMode::Drop), ("user-agent", FieldMode::Redact)]
    {
        settings.headers.names.insert(name.to_owned(), mode);
    }
    let line = parsed(&sample.line(&settings));
    assert_eq!(line.get("ClientPort"), None);
    assert_eq!(line["ClientHost"], "203.0.113.7");
    assert_eq!(line["request_X-Many"], "one");
    assert_eq!(line["request_Authorization"], "REDACTED");
    assert_eq!(line["request_User-Agent"], "REDACTED");
    assert_eq!(line.get("request_Cookie"), None);

    let mut settings = json();
    settings.fields.default = FieldMode::Drop;
    settings.fields.names.insert("clienthost".to_owned(), FieldMode::Keep);
    settings.headers.names.insert("user-agent".to_owned(), FieldMode::Drop);
    assert_eq!(sample.line(&settings), r#"{"ClientHost":"203.0.113.7"}"#);

    let mut settings = common();
    settings.headers.names.insert("referer".to_owned(), FieldMode::Keep);
    assert!(sample.line(&settings).contains(r#""http://r/" "curl/7.88.1""#));
    settings.headers.names.insert("user-agent".to_owned(), FieldMode::Drop);
    assert!(sample.line(&settings).contains(r#""http://r/" "-""#));
}

#[test]
fn no_secret_and_no_query_is_written_unless_asked_for() {
    let mut settings = json();
    settings.keep_query = false;
    for settings in [settings.clone(), Settings { format: AccessLogFormat::Common, ..settings }] {
        let line = Sample::new().line(&settings);
        assert!(!line.contains("canary") && !line.contains("b=c"), "{line}");
    }
}

#[test]
fn a_line_is_kept_if_any_filter_matches() {
    fn check(filters: AccessLogFilters, status: u16, retries: u32, millis: u64, expected: bool) {
        let mut sample = Sample::new();
        (sample.status, sample.retries, sample.duration) = (status, retries, Duration::from_millis(millis));
        let passes = sample.with(|record| access_log::passes(&filters, record));
        assert_eq!(passes, expected, "{filters:?} {status} {retries} {millis}");
    }
    let codes = AccessLogFilters { status_codes: vec![(200, 200), (500, 599)], ..Default::default() };
    let slow = AccessLogFilters { min_duration: Some(Duration::from_millis(10)), ..codes.clone() };
    let retried = AccessLogFilters { retry_attempts: true, ..Default::default() };
    check(AccessLogFilters::default(), 404, 0, 1, true);
    check(codes.clone(), 200, 0, 1, true);
    check(codes.clone(), 502, 0, 1, true);
    check(codes, 404, 0, 1, false);
    check(slow.clone(), 404, 0, 10, true);
    check(slow, 404, 0, 9, false);
    check(retried.clone(), 200, 1, 1, true);
    check(retried, 200, 0, 1, false);
}

/// A gateway's telemetry that counts everything and logs to a file.
fn telemetry(directory: &std::path::Path) -> (Arc<Telemetry>, std::path::PathBuf) {
    let path = directory.join("access.log");
    let mut install = install();
    install.access_log = Some(Settings { file_path: Some(path.clone()), ..json() });
    install.metrics.prometheus = Some(Prometheus {
        entry_point: "traefik".into(),
        manual_routing: false,
        buckets: vec![0.1, 0.3, 1.2, 5.0],
        entry_points_labels: true,
        routers_labels: true,
        services_labels: true,
    });
    let (telemetry, problems) = Telemetry::new(&install);
    assert!(problems.is_empty(), "{problems:?}");
    (telemetry, path)
}

/// A snapshot that has the sample's router and service, or nothing.
fn snapshot(version: u64, with_app: bool) -> Snapshot {
    let mut routing = Routing::default();
    if with_app {
        let service = config::routing::Service {
            name: "app@file".into(),
            servers: vec![Server {
                url: "http://10.0.0.1:8080".into(),
                scheme: Scheme::Http,
                host: "10.0.0.1".into(),
                port: 8080,
                weight: 1,
                path_prefix: "".into(),
                pin: None,
            }],
            down: None,
            pass_host_header: true,
            transport: std::sync::Arc::default(),
            origin: Origin::Gateway,
        };
        routing.services.insert(service.name.clone(), service);
        let router = config::routing::Router {
            name: "app@file".into(),
            rule: config::rule::parse("Host(`app.example.org`)").unwrap(),
            priority: 23,
            precedence: 0,
            entry_points: vec!["web".into()],
            tls: None,
            middlewares: Vec::new(),
            target: config::routing::Target::Service("app@file".into()),
            standing: config::routing::Standing::Up,
            recursion_guard: false,
            observability: Observability::default(),
            origin: Origin::Gateway,
        };
        routing.routers.insert(router.name.clone(), router);
    }
    Snapshot {
        version,
        input_refused: false,
        routes: Arc::new(Routes::default()),
        routing: Arc::new(routing),
        problems: vec![Problem::warning(Origin::Gateway, "x", "y")].into(),
        providers: vec![crate::snapshot::ProviderState { name: "file".into(), answered: true, stale: None }]
            .into(),
        ..Snapshot::empty()
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + STARTED
}

#[test]
fn every_certificate_that_is_served_says_when_it_expires() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, _) = telemetry(directory.path());
    let certificate = |from| Arc::new(security::certificate::Certificate::generate(from).unwrap());
    let (one, default) = (certificate(now()), certificate(now() + Duration::from_secs(60)));
    // A pair that is both listed and the default one shows once.
    let listed = vec![Arc::clone(&one), Arc::clone(&default)];
    let store = security::certificate_store::CertificateStore::new(listed, Arc::clone(&default), now());
    let snapshot = Snapshot { certificates: Arc::new(store), ..Snapshot::empty() };
    let text = telemetry.render(&snapshot, Exposition::Prometheus);
    for (certificate, life) in [(&one, 0), (&default, 60)] {
        let expected = format!(
            "traefik_tls_certs_not_after{{cn=\"HEARTHGATE DEFAULT CERT\",serial=\"{}\",sans=\"{}\"}} {}",
            certificate.serial_decimal,
            certificate.names[0],
            STARTED.as_secs() + 365 * 86_400 + life,
        );
        assert_eq!(text.lines().filter(|line| *line == expected).count(), 1, "{expected}: {text}");
    }
}

#[test]
fn metrics_have_traefiks_names_and_labels() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, _) = telemetry(directory.path());
    let snapshot = snapshot(3, true);
    telemetry.published(&snapshot, now());
    telemetry.connection_opened(EntryPointId(0));
    telemetry.connection_opened(EntryPointId(0));
    telemetry.connection_closed(EntryPointId(0));
    let mut sample = Sample::new();
    sample.with(|record| telemetry.record(record));
    sample.with(|record| telemetry.record(record));
    sample.retries = 2;
    sample.duration = Duration::from_secs(1);
    sample.request.method = Method::from_bytes(b"MADE-UP").unwrap();
    sample.with(|record| telemetry.record(record));
    (sample.route, sample.service) = (None, None);
    sample.retries = 0;
    sample.reason = "no router matches".to_owned();
    sample.with(|record| telemetry.record(record));

    let text = telemetry.render(&snapshot, Exposition::Prometheus);
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    insta::assert_snapshot!("prometheus", text.replace(version, "version=\"VERSION\""));
    let text = telemetry.render(&snapshot, Exposition::OpenMetrics);
    assert!(text.contains("# TYPE traefik_config_reloads counter\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn what_tls_agreed_on_is_logged_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, _) = telemetry(directory.path());
    let mut sample = Sample::new();
    sample.with(|record| telemetry.record(record));
    let cipher = "TLS_AES_128_GCM_SHA256";
    sample.tls = Some(TlsDetails { version: "1.3", cipher, client_subject: "CN=\"me\",O=Tests" });
    sample.with(|record| telemetry.record(record));
    telemetry.handshake(EntryPointId(0), Handshake::Full);
    telemetry.handshake(EntryPointId(0), Handshake::UnknownName);
    let line = parsed(&sample.line(&json()));
    assert_eq!(line["RequestScheme"], "https");
    assert_eq!(line["TLSVersion"], "1.3");
    assert_eq!(line["TLSCipher"], cipher);
    assert_eq!(line["TLSClientSubject"], "CN=\"me\",O=Tests");
    let text = telemetry.render(&snapshot(1, true), Exposition::Prometheus);
    for expected in [
        r#"traefik_entrypoint_requests_tls_total{entrypoint="web",tls_cipher="C",tls_version="1.3"} 1"#,
        r#"traefik_router_requests_tls_total{router="app@file",service="app@file",tls_cipher="C",tls_version="1.3"} 1"#,
        r#"traefik_service_requests_tls_total{service="app@file",tls_cipher="C",tls_version="1.3"} 1"#,
        r#"traefik_entrypoint_requests_total{code="404",entrypoint="web",method="GET",protocol="http"} 2"#,
        r#"hearthgate_tls_handshakes_total{entrypoint="web",result="full"} 1"#,
        r#"hearthgate_tls_handshakes_total{entrypoint="web",result="unknown_name"} 1"#,
    ] {
        let expected = expected.replace("\"C\"", &format!("{cipher:?}"));
        assert!(text.contains(&format!("{expected}\n")), "{expected}\n{text}");
    }
}

#[test]
fn what_a_request_speaks_is_told_apart() {
    fn check(headers: &[(&'static str, &'static str)], grpc_status: Option<u16>, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let (telemetry, _) = telemetry(directory.path());
        let mut sample = Sample::new();
        sample.status = 200;
        sample.grpc_status = grpc_status;
        for (name, value) in headers {
            sample = sample.header(name, value.as_bytes());
        }
        sample.with(|record| telemetry.record(record));
        let text = telemetry.render(&snapshot(1, true), Exposition::Prometheus);
        let expected = format!("traefik_entrypoint_requests_total{{{expected}}} 1\n");
        assert!(text.contains(&expected), "{expected}{text}");
    }
    check(&[], None, r#"code="200",entrypoint="web",method="GET",protocol="http""#);
    check(
        &[("upgrade", "WebSocket")],
        None,
        r#"code="200",entrypoint="web",method="GET",protocol="websocket""#,
    );
    check(
        &[("accept", "text/event-stream")],
        None,
        r#"code="200",entrypoint="web",method="GET",protocol="sse""#,
    );
    let grpc = ("content-type", "application/grpc+proto");
    check(&[grpc], Some(14), r#"code="14",entrypoint="web",method="GET",protocol="grpc""#);
    check(&[grpc], None, r#"code="200",entrypoint="web",method="GET",protocol="grpc""#);
    let web = ("content-type", "application/grpc-web");
    check(&[web], Some(0), r#"code="0",entrypoint="web",method="GET",protocol="grpc-web""#);
}

#[test]
fn series_of_what_is_gone_vanish_after_one_more_scrape() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, _) = telemetry(directory.path());
    let sample = Sample::new();
    let shown = |text: &str| text.contains("service=\"app@file\"");
    telemetry.published(&snapshot(1, true), now());
    sample.with(|record| telemetry.record(record));
    let gone = snapshot(2, false);
    telemetry.published(&gone, now());
    assert!(shown(&telemetry.render(&gone, Exposition::Prometheus)), "its last value is shown once more");
    assert!(!shown(&telemetry.render(&gone, Exposition::Prometheus)));
    // The same thread counts anew when it is back.
    let back = snapshot(3, true);
    telemetry.published(&back, now());
    sample.with(|record| telemetry.record(record));
    let text = telemetry.render(&back, Exposition::Prometheus);
    let expected =
        r#"traefik_service_requests_total{code="404",method="GET",protocol="http",service="app@file"} 1"#;
    assert!(text.contains(expected), "{text}");
    // Nobody scrapes: two publications without it are enough.
    telemetry.published(&snapshot(4, false), now());
    let last = snapshot(5, false);
    telemetry.published(&last, now());
    assert!(!shown(&telemetry.render(&last, Exposition::Prometheus)));
}

#[test]
fn a_failed_reload_shows() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, _) = telemetry(directory.path());
    let snapshot = snapshot(1, false);
    telemetry.published(&snapshot, now());
    let line = |text: &str| {
        text.lines().find(|line| line.starts_with("traefik_config_last_reload_success ")).unwrap().to_owned()
    };
    assert_eq!(
        line(&telemetry.render(&snapshot, Exposition::Prometheus)),
        "traefik_config_last_reload_success 1795276383"
    );
    telemetry.reload_failed();
    assert_eq!(
        line(&telemetry.render(&snapshot, Exposition::Prometheus)),
        "traefik_config_last_reload_success 0"
    );
}

#[test]
fn requests_to_the_gateway_itself_are_neither_logged_nor_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, path) = telemetry(directory.path());
    let mut sample = Sample::new();
    sample.route = Some(route("api@internal", Destination::Internal(InternalService::Api)));
    sample.service = None;
    sample.with(|record| telemetry.record(record));
    let (mut silent, other) = (Sample::new(), Sample::new());
    let mut quiet = Arc::into_inner(route("quiet@file", Destination::Unavailable("x".into()))).unwrap();
    quiet.observability = Observability { access_logs: false, metrics: false, tracing: false };
    silent.route = Some(Arc::new(quiet));
    silent.with(|record| telemetry.record(record));
    other.with(|record| telemetry.record(record));
    telemetry.flush(Duration::from_secs(30));
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(parsed(text.lines().next().unwrap())["RouterName"], "app@file");
    let text = telemetry.render(&snapshot(1, true), Exposition::Prometheus);
    assert!(!text.contains("api@internal") && !text.contains("quiet@file"), "{text}");
    assert!(text.contains(
        r#"traefik_entrypoint_requests_total{code="404",entrypoint="web",method="GET",protocol="http"} 1"#
    ));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_a_problem_and_no_end() {
    let mut install = install();
    let path = std::path::PathBuf::from("/proc/nowhere/access.log");
    install.access_log = Some(Settings { file_path: Some(path), ..json() });
    let (_, problems) = Telemetry::new(&install);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("cannot open /proc/nowhere/access.log"), "{}", problems[0]);
}

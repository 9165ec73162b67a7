//! TLS as written -> what is in force, and what is said about the rest.

use proptest::prelude::*;

use super::super::tests::{PLAIN, container, context, docker, file, routers};
use super::super::{Context, route};
use super::*;
use crate::name::ProviderName;
use crate::routing::raw::RawRouting;
use crate::routing::{Standing, Status};

/// Entry points `web` and `websecure`, resolver `le` without a DNS challenge and `dns` with one.
fn resolvers() -> Context {
    context(&[PLAIN.as_slice(), &["--certificatesResolvers.dns.acme.dnsChallenge.provider=exec"]].concat())
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.severity, problem.message)).collect()
}

/// What is in force of one set of options, in what differs from the default one, and what is said about it.
fn check(written: &str, expected: Result<TlsOptions, &str>, said: &[&str]) {
    let (routing, problems) =
        route(vec![file(&format!("tls: {{ options: {{ o: {written} }} }}\n"))], &resolvers());
    let found = routing.tls.options.get("o@file").unwrap().clone();
    let expected_text = expected.as_ref().err().copied();
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(**found, expected, "{written}"),
        (found, _) => assert_eq!(found.as_ref().err().map(|reason| &**reason), expected_text, "{written}"),
    }
    let said: Vec<_> = expected_text
        .map(|reason| format!("error: {reason}: handshakes for hosts that ask for it are refused"))
        .into_iter()
        .chain(said.iter().map(|text| format!("warning: {text}")))
        .collect();
    assert_eq!(messages(&problems), said, "{written}");
    assert_eq!(routing.tls.options.get("default"), Some(&Ok(Arc::default())), "{written}");
}

#[test]
fn versions_suites_and_curves_are_those_that_were_written_or_none() {
    let default = TlsOptions::default;
    check("{}", Ok(default()), &[]);
    check(
        "{ minVersion: VersionTLS13 }",
        Ok(TlsOptions { min_version: TlsVersion::Tls13, ..default() }),
        &[],
    );
    check(
        "{ maxVersion: VersionTLS12 }",
        Ok(TlsOptions { max_version: TlsVersion::Tls12, ..default() }),
        &[],
    );
    check(
        "{ minVersion: VersionTLS10 }",
        Ok(default()),
        &["`minVersion: VersionTLS10` is not spoken, `VersionTLS12` is used"],
    );
    check("{ minVersion: TLS13 }", Err("unknown TLS version: `minVersion: TLS13`"), &[]);
    check(
        "{ minVersion: VersionTLS13, maxVersion: VersionTLS12 }",
        Err("`minVersion` is above `maxVersion`"),
        &[],
    );
    check(
        "{ cipherSuites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305] }",
        Ok(TlsOptions {
            cipher_suites: vec![
                crate::routing::tls::CipherSuite::RsaAes256,
                crate::routing::tls::CipherSuite::EcdsaChaCha20,
            ],
            ..default()
        }),
        &[],
    );
    check(
        "{ cipherSuites: [TLS_AES_128_GCM_SHA256] }",
        Ok(TlsOptions { min_version: TlsVersion::Tls13, ..default() }),
        &["cipher suites of TLS 1.3 cannot be chosen, all are offered: TLS_AES_128_GCM_SHA256"],
    );
    check(
        "{ maxVersion: VersionTLS12, cipherSuites: [TLS_AES_128_GCM_SHA256] }",
        Err("no version of TLS is left that could be spoken"),
        &["cipher suites of TLS 1.3 cannot be chosen, all are offered: TLS_AES_128_GCM_SHA256"],
    );
    check(
        "{ cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA] }",
        Ok(TlsOptions { cipher_suites: vec![crate::routing::tls::CipherSuite::RsaAes128], ..default() }),
        &["cipher suites without forward secrecy or with CBC are not spoken: TLS_RSA_WITH_AES_128_CBC_SHA"],
    );
    check(
        "{ cipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA] }",
        Err("invalid CipherSuite: TLS_RSA_WITH_AES_128_CBC_SHA"),
        &[],
    );
    check("{ cipherSuites: [ROT13] }", Err("invalid CipherSuite: ROT13"), &[]);
    check(
        "{ curvePreferences: [X25519MLKEM768, x25519, secp256r1, CurveP256, CurveP521] }",
        Ok(TlsOptions {
            curves: vec![
                crate::routing::tls::Curve::X25519MlKem768,
                crate::routing::tls::Curve::X25519,
                crate::routing::tls::Curve::P256,
                crate::routing::tls::Curve::P521,
            ],
            ..default()
        }),
        &[],
    );
    check("{ curvePreferences: [P257] }", Err("invalid CurveID in curvePreferences: P257"), &[]);
    check(
        "{ preferServerCipherSuites: true, disableSessionTickets: true, sniStrict: true }",
        Ok(TlsOptions { session_tickets: false, sni_strict: true, ..default() }),
        &["`preferServerCipherSuites` has no effect"],
    );
    check(
        "{ alpnProtocols: [http/1.1, acme-tls/1, postgresql, http/1.1] }",
        Ok(TlsOptions { alpn: vec!["http/1.1".into(), "postgresql".into()], ..default() }),
        &[],
    );
    check("{ alpnProtocols: [''] }", Err("invalid ALPN protocol"), &[]);
}

#[test]
fn client_certificates_have_traefiks_five_modes() {
    let roots = || vec![Pem::new("ca.pem")];
    for (written, expected) in [
        ("{}", Ok(ClientAuth::None)),
        ("{ caFiles: [ca.pem] }", Ok(ClientAuth::RequireAndVerify(roots()))),
        ("{ clientAuthType: NoClientCert, caFiles: [ca.pem] }", Ok(ClientAuth::None)),
        ("{ clientAuthType: RequestClientCert }", Ok(ClientAuth::Request)),
        ("{ clientAuthType: RequireAnyClientCert }", Ok(ClientAuth::RequireAny)),
        (
            "{ clientAuthType: VerifyClientCertIfGiven, caFiles: [ca.pem] }",
            Ok(ClientAuth::VerifyIfGiven(roots())),
        ),
        (
            "{ clientAuthType: RequireAndVerifyClientCert, caFiles: [ca.pem] }",
            Ok(ClientAuth::RequireAndVerify(roots())),
        ),
        (
            "{ clientAuthType: VerifyClientCertIfGiven }",
            Err("invalid clientAuthType: VerifyClientCertIfGiven, CAFiles is required"),
        ),
        (
            "{ clientAuthType: RequireAndVerifyClientCert }",
            Err("invalid clientAuthType: RequireAndVerifyClientCert, CAFiles is required"),
        ),
        ("{ clientAuthType: requireAny, caFiles: [ca.pem] }", Err("unknown client auth type \"requireAny\"")),
    ] {
        let expected = expected.map(|client_auth| TlsOptions { client_auth, ..TlsOptions::default() });
        check(&format!("{{ clientAuth: {written} }}"), expected, &[]);
    }
}

#[test]
fn default_options_of_two_providers_are_refused_and_not_replaced_by_laxer_ones() {
    let options = || file("tls: { options: { default: { sniStrict: true } } }\n").1;
    let (routing, problems) = route(
        vec![(ProviderName::from("file"), options()), (ProviderName::from("table"), options())],
        &resolvers(),
    );
    assert!(routing.tls.options.get("default").is_some_and(Result::is_err));
    // Both were written at one place here.
    assert_eq!(problems.len(), 1, "{problems:?}");
}

/// The certificates that are in force, the default one, and what is said.
fn certificates_of(text: &str) -> String {
    let (routing, problems) = route(vec![file(text)], &resolvers());
    let mut found: Vec<_> =
        routing.tls.certificates.iter().map(|pair| format!("{:?} {:?}", pair.chain, pair.key)).collect();
    found.push(match &routing.tls.default_certificate {
        DefaultCertificate::Generated => "default: generated".to_owned(),
        DefaultCertificate::Pair(pair) => format!("default: {:?} {:?}", pair.chain, pair.key),
        DefaultCertificate::Resolver { resolver, domain, .. } => {
            format!(
                "default: {resolver} {}",
                domain.names().map(|name| &**name).collect::<Vec<_>>().join(" ")
            )
        }
    });
    found.extend(problems.iter().map(ToString::to_string));
    found.join("\n")
}

#[test]
fn certificates_are_pairs_and_each_is_taken_once() {
    insta::assert_snapshot!(certificates_of(
        "tls:
  certificates:
    - { certFile: a.pem, keyFile: a.key }
    - { certFile: a.pem, keyFile: a.key, stores: [default] }
    - { certFile: \"-----BEGIN CERTIFICATE-----\", keyFile: \"-----BEGIN PRIVATE KEY-----\" }
    - { certFile: b.pem }
    - { keyFile: b.key }
    - { certFile: c.pem, keyFile: c.key, stores: [default, other] }
    - { certFile: d.pem, keyFile: d.key, stores: [other] }
  stores:
    default: { defaultCertificate: { certFile: e.pem, keyFile: e.key }, defaultGeneratedCert: { resolver: le } }
    other: {}
"
    ));
}

#[test]
fn the_default_certificate_may_come_from_a_resolver() {
    for (written, expected) in [
        (
            "{ defaultGeneratedCert: { resolver: le, domain: { main: Example.com., sans: [www.example.com] } } }",
            "default: le example.com www.example.com",
        ),
        (
            "{ defaultGeneratedCert: { resolver: dns, domain: { main: '*.example.com', sans: [a.example.com, example.com] } } }",
            "default: dns *.example.com example.com",
        ),
        (
            "{ defaultGeneratedCert: { resolver: lee, domain: { main: example.com } } }",
            "default: generated
routes.yml:1:18: error: TLS store `default`: `defaultGeneratedCert`: nonexistent certificate resolver: `lee`; did you mean `le`?",
        ),
        (
            "{ defaultGeneratedCert: { resolver: le } }",
            "default: generated
routes.yml:1:18: error: TLS store `default`: `defaultGeneratedCert`: it names no domain; set `domain: { main: example.com }`",
        ),
        (
            "{ defaultGeneratedCert: { resolver: le, domain: { main: '*.example.com' } } }",
            "default: generated
routes.yml:1:18: error: TLS store `default`: `defaultGeneratedCert`: unable to generate a wildcard certificate in ACME provider for domain \"*.example.com\" : ACME needs a DNSChallenge; set `dnsChallenge` for the certificate resolver, or name each host",
        ),
        (
            "{ defaultCertificate: { certFile: a.pem } }",
            "default: generated
routes.yml:1:18: error: TLS store `default`: `defaultCertificate`: `keyFile` is missing; a certificate is a pair: `{ certFile: cert.pem, keyFile: key.pem }`",
        ),
    ] {
        assert_eq!(certificates_of(&format!("tls: {{ stores: {{ default: {written} }} }}\n")), expected);
    }
}

/// The names that a router's resolver is asked for, and what is said of it.
fn check_domains(router: &str, expected: &[&[&str]], said: &[&str]) {
    let (routing, problems) = route(vec![routers(&format!("a: {{ {router}, service: s }}"))], &resolvers());
    let tls = routing.routers["a@file"].tls.as_ref().unwrap();
    let found: Vec<Vec<_>> =
        tls.domains.iter().map(|domain| domain.names().map(|name| &**name).collect()).collect();
    assert_eq!(found, expected, "{router}");
    assert_eq!(messages(&problems), said, "{router}");
    let status = if said.is_empty() { Status::Enabled } else { Status::Warning };
    assert_eq!(routing.listing.routers["a@file"].status, status, "{router}");
}

#[test]
fn a_router_wants_the_names_of_its_rule_or_those_that_it_lists() {
    let wildcard = "warning: unable to generate a wildcard certificate in ACME provider for domain \"*.a.com\" : \
                    ACME needs a DNSChallenge";
    let every = "warning: unable to generate a wildcard certificate in ACME provider for domain \"*.*.com\" : \
                 ACME does not allow '*.*' wildcard domain";
    let rule = "rule: 'Host(`b.com`) && PathPrefix(`/x`) || Host(`A.com`) || Host(`b.com`)'";
    check_domains(&format!("{rule}, tls: {{ certResolver: le }}"), &[&["b.com", "a.com"]], &[]);
    check_domains(&format!("{rule}, tls: {{}}"), &[], &[]);
    check_domains(
        &format!(
            "{rule}, tls: {{ certResolver: le, domains: [{{ main: c.com, sans: [d.com] }}, {{ main: e.com }}] }}"
        ),
        &[&["c.com", "d.com"], &["e.com"]],
        &[],
    );
    check_domains(
        "rule: 'HostRegexp(`.+`)', tls: { certResolver: le }",
        &[],
        &[
            "warning: no name for the certificate resolver `le` in rule HostRegexp(`.+`): nothing is asked for",
        ],
    );
    check_domains(
        "rule: 'Host(`x.com`)', tls: { certResolver: nope }",
        &[],
        &["warning: Router uses a nonexistent certificate resolver: `nope`"],
    );
    for (resolver, domains, expected, said) in [
        (
            "dns",
            "[{ main: '*.a.com', sans: [a.com, x.a.com, x.y.a.com] }]",
            &[&["*.a.com", "a.com", "x.y.a.com"][..]][..],
            &[][..],
        ),
        (
            "dns",
            "[{ main: x.a.com }, { main: b.com, sans: [x.a.com, '*.a.com'] }]",
            &[&["b.com", "*.a.com"]],
            &[],
        ),
        ("le", "[{ main: '*.a.com', sans: [x.a.com] }]", &[&["x.a.com"]], &[wildcard]),
        ("dns", "[{ main: '*.*.com' }]", &[], &[every]),
        ("le", "[{ main: Bücher.Example. }, { main: bücher.example }]", &[&["xn--bcher-kva.example"]], &[]),
        ("le", "[{ sans: [a.com, '', b.com] }]", &[&["a.com", "b.com"]], &[]),
        (
            "le",
            "[{ main: 'a b.com', sans: ['*', a..b, 'https://a.com', 'a.com:443', b.com] }]",
            &[&["b.com"]],
            &[
                "warning: `*` is no name that a certificate can have: it is not asked for",
                "warning: `a b.com` is no name that a certificate can have: it is not asked for",
                "warning: `a..b` is no name that a certificate can have: it is not asked for",
                "warning: `a.com:443` is no name that a certificate can have: it is not asked for",
                "warning: `https://a.com` is no name that a certificate can have: it is not asked for",
            ],
        ),
    ] {
        let router =
            format!("rule: 'Host(`x.com`)', tls: {{ certResolver: {resolver}, domains: {domains} }}");
        check_domains(&router, expected, said);
    }
}

#[test]
fn what_an_entry_point_adds_is_told_once() {
    let flags = [
        "--entryPoints.websecure.http.tls.certResolver=le",
        "--entryPoints.websecure.http.tls.domains[0].main=*.a.com",
        "--entryPoints.websecure.http.tls.domains[0].sans=a.com",
    ];
    let router =
        |name: &str| format!("{name}: {{ rule: 'Host(`{name}`)', service: s, entryPoints: [websecure] }}");
    let (routing, problems) = route(
        vec![routers(&format!(
            "{}\n{}\nown: {{ rule: 'Host(`own`)', service: s, entryPoints: [websecure], tls: {{}} }}",
            router("x"),
            router("y")
        ))],
        &context(&[PLAIN.as_slice(), &flags].concat()),
    );
    let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
    assert_eq!(subjects, ["entry point `websecure`"]);
    for name in ["x@file", "y@file"] {
        let tls = routing.routers[name].tls.as_ref().unwrap();
        assert_eq!((tls.resolver.as_deref(), tls.domains.len()), (Some("le"), 1), "{name}");
        assert_eq!(routing.listing.routers[name].status, Status::Warning, "{name}");
    }
    let own = routing.routers["own@file"].tls.as_ref().unwrap();
    assert_eq!((own.resolver.as_deref(), own.domains.len()), (None, 0), "its own block replaces the other");
}

/// Routers with TLS, the options in force of each, and how they are listed.
fn options_in_force(providers: Vec<(ProviderName, RawRouting)>) -> String {
    let (routing, problems) = route(providers, &resolvers());
    let mut lines: Vec<_> = routing
        .routers
        .values()
        .map(|router| {
            let entry_points: Vec<_> = router.entry_points.iter().map(|name| name.as_str()).collect();
            let listed = &routing.listing.routers[&router.name];
            assert_eq!(listed.used_by, entry_points);
            format!(
                "{} on {}: {} ({}) {:?}",
                router.name,
                entry_points.join(","),
                router.tls.as_ref().map_or("none", |tls| tls.options.as_str()),
                listed.status.as_str(),
                router.target,
            )
        })
        .collect();
    assert!(
        routing
            .listing
            .routers
            .keys()
            .filter(|name| !routing.routers.contains_key(*name))
            .all(|name| { routing.listing.routers[name].status == Status::Disabled })
    );
    lines.extend(
        routing
            .listing
            .services
            .iter()
            .filter(|(_, listed)| !listed.used_by.is_empty())
            .map(|(name, listed)| format!("{name} is used by {}", listed.used_by.join(", "))),
    );
    lines.extend(problems.iter().map(ToString::to_string));
    lines.join("\n")
}

fn with_options(text: &str) -> (ProviderName, RawRouting) {
    let (provider, mut routing) = routers(text);
    routing.tls = file(
        "tls: { options: { strict: { minVersion: VersionTLS13 }, mutual: { clientAuth: { clientAuthType: RequireAnyClientCert } }, bad: { cipherSuites: [x] } } }\n",
    )
    .1
    .tls;
    (provider, routing)
}

#[test]
fn routers_of_one_host_that_disagree_get_the_default_options() {
    insta::assert_snapshot!(options_in_force(vec![with_options(
        "alone: { rule: 'Host(`alone`)', service: s, tls: { options: strict } }
         both: { rule: 'Host(`both`) && PathPrefix(`/a`)', service: s, entryPoints: [websecure], tls: { options: strict } }
         both2: { rule: 'Host(`both`)', service: s, tls: { options: mutual } }
         chain: { rule: 'Host(`both`) || Host(`next`)', service: s, entryPoints: [websecure], tls: { options: strict } }
         next: { rule: 'Host(`next`) && PathPrefix(`/x`)', service: s, entryPoints: [websecure], tls: { options: strict } }
         plain: { rule: 'Host(`alone`)', service: s }
         same: { rule: 'Host(`alone`) && Path(`/`)', service: s, tls: { options: strict@file } }
         none: { rule: 'PathPrefix(`/`)', service: s, tls: { options: strict } }"
    )]));
}

#[test]
fn options_that_are_unknown_or_unusable_are_never_replaced() {
    insta::assert_snapshot!(options_in_force(vec![with_options(
        "bad: { rule: 'Host(`bad`)', service: s, tls: { options: bad } }
         good: { rule: 'Host(`bad`) && Path(`/`)', service: s, tls: { options: strict } }
         unknown: { rule: 'Host(`u`)', service: s, tls: { options: strct } }
         pass: { rule: 'Host(`p`)', service: s, tls: { passthrough: true } }"
    )]));
}

#[test]
fn a_stopped_containers_router_changes_no_options_of_others() {
    let labels = |options: &'static str| {
        vec![("traefik.http.routers.r.rule", "Host(`x`)"), ("traefik.http.routers.r.tls.options", options)]
    };
    let mut stopped = container("old", 1, &labels("default"));
    stopped.stamp(&Standing::Down("stopped".into()), 1, &Default::default());
    let mut router = stopped.http.routers.remove("r").unwrap();
    router.value.service = "s@file".to_owned();
    stopped.http.routers.insert("stopped".to_owned(), router);
    let (routing, _) = route(
        vec![
            docker(vec![stopped]),
            with_options("a: { rule: 'Host(`x`)', service: s, tls: { options: mutual } }"),
        ],
        &resolvers(),
    );
    let options: Vec<_> = routing
        .routers
        .values()
        .map(|router| (router.name.as_str(), router.tls.as_ref().unwrap().options.as_str()))
        .collect();
    assert_eq!(options, [("a@file", "mutual@file"), ("stopped@docker", "mutual@file")]);
}

proptest! {
    #[test]
    fn a_name_that_is_asked_for_is_in_one_form_whatever_was_written(
        names in prop::collection::vec("[*a-cA-Cäß._ -]{0,12}|\\PC{0,8}", 0..6),
        dns: bool,
    ) {
        let (domains, faults) = domains::of_names(&names, dns);
        let found: Vec<String> =
            domains.iter().flat_map(crate::routing::tls::Domain::names).map(ToString::to_string).collect();
        prop_assert!(found.len() + faults.len() <= names.len());
        for name in &found {
            prop_assert!(name.is_ascii() && !name.ends_with('.') && *name == name.to_ascii_lowercase());
            prop_assert!(dns || !name.starts_with('*'));
        }
        let (again, more) = domains::of_names(&found, dns);
        prop_assert_eq!((again, more.len()), (domains, 0));
    }
}

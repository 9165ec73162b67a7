//! Which policy a server name asks for.

use std::path::PathBuf;

use config::routing::tls::{ClientAuth, Pem, TlsVersion};

use super::*;
use crate::snapshot::files::File;
use crate::test_support;

fn tls(options: &[(&str, TlsOptions)]) -> Tls {
    let options = options.iter().map(|(name, options)| ((*name).into(), Ok(Arc::new(options.clone()))));
    Tls { options: options.collect(), ..Tls::default() }
}

fn strict() -> TlsOptions {
    TlsOptions { min_version: TlsVersion::Tls13, ..TlsOptions::default() }
}

fn mutual(path: &str) -> TlsOptions {
    let roots = vec![Pem::File(PathBuf::from(path))];
    TlsOptions { client_auth: ClientAuth::RequireAndVerify(roots), ..TlsOptions::default() }
}

fn files(contents: &[(&str, Result<String, &str>)]) -> Files {
    let file = |text: &String| File { bytes: text.as_bytes().into(), mode: 0o600 };
    let contents = contents.iter().map(|(path, content)| {
        (PathBuf::from(path), content.as_ref().map(file).map_err(|error| Arc::from(*error)))
    });
    Files::new(contents.collect())
}

#[test]
fn an_unchanged_policy_is_the_same_value_and_a_changed_one_is_not() {
    let none = Files::default();
    let first = Policies::compile(&tls(&[("strict@file", strict())]), &none, &Policies::default());
    let same = Policies::compile(&tls(&[("strict@file", strict())]), &none, &first);
    let (default, name) = ("default".into(), "strict@file".into());
    assert!(Arc::ptr_eq(&first.get(&name), &same.get(&name)));
    assert!(Arc::ptr_eq(&first.get(&default), &same.get(&default)));
    assert!(!first.get(&name).allows(&first.get(&default)));
    let changed = Policies::compile(
        &tls(&[("strict@file", TlsOptions::default()), ("default", strict())]),
        &none,
        &same,
    );
    assert!(!Arc::ptr_eq(&same.get(&name), &changed.get(&name)));
    assert!(!Arc::ptr_eq(&same.get(&default), &changed.get(&default)));
    assert!(changed.get(&name).allows(&same.get(&default)), "the same options, whatever their name");
    assert!(same.get(&"none@file".into()).settings.is_err());
}

#[test]
fn a_ca_file_that_cannot_be_used_refuses_and_never_means_anyone() {
    let clock = test_support::clock().now();
    let (ca, key) = test_support::pair(&["ca.test"], clock, clock + test_support::DAY);
    let tls = tls(&[("mutual@file", mutual("/ca.pem"))]);
    let of = |content: Option<Result<String, &str>>, previous: &Policies| {
        let files = content.map_or_else(Files::default, |content| files(&[("/ca.pem", content)]));
        Policies::compile(&tls, &files, previous)
    };
    let reason = |content: Option<Result<String, &str>>| {
        let policy = of(content, &Policies::default()).get(&"mutual@file".into());
        policy.settings.as_ref().err().map(ToString::to_string)
    };
    assert_eq!(reason(None).as_deref(), Some("CA file /ca.pem: it was not read"));
    assert_eq!(reason(Some(Err("does not exist"))).as_deref(), Some("CA file /ca.pem: does not exist"));
    assert_eq!(
        reason(Some(Ok(String::new()))).as_deref(),
        Some("CA file /ca.pem: there is no certificate in it")
    );
    assert_eq!(reason(Some(Ok(key))).as_deref(), Some("CA file /ca.pem: there is no certificate in it"));
    let torn = ca[..ca.len() / 2].to_owned();
    assert_eq!(reason(Some(Ok(torn))).as_deref(), Some("CA file /ca.pem: it is not valid PEM"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    assert_eq!(
        reason(Some(Ok(garbage))).as_deref(),
        Some("CA file /ca.pem: a certificate in it cannot be parsed")
    );
    let first = of(Some(Ok(ca.clone())), &Policies::default());
    let policy = first.get(&"mutual@file".into());
    assert_eq!(policy.settings.as_ref().unwrap().client_roots.len(), 1);
    // The file may be written again as it was.
    assert!(Arc::ptr_eq(&policy, &of(Some(Ok(ca.clone())), &first).get(&"mutual@file".into())));
    assert!(!Arc::ptr_eq(&policy, &of(Some(Ok(format!("{ca}{ca}"))), &first).get(&"mutual@file".into())));
}

#[test]
fn a_host_with_several_policies_gets_the_default_one_or_the_one_that_refuses() {
    let none = Files::default();
    let strict = Arc::new(TlsPolicy::new("strict@file".into(), Ok(Arc::new(strict())), &none));
    let refused = Arc::new(TlsPolicy::new("bad@file".into(), Err("unknown suite".into()), &none));
    let default = Arc::new(TlsPolicy::new("default".into(), Ok(Arc::default()), &none));
    let names = ServerNames::new(
        [
            ("a.test", &strict),
            ("b.test", &strict),
            ("b.test", &default),
            ("c.test", &strict),
            ("c.test", &refused),
            ("c.test", &default),
            ("*.d.test", &strict),
            ("x.d.test", &default),
        ]
        .map(|(host, policy)| (host, Arc::clone(policy))),
        Arc::clone(&default),
    );
    let find = |name: &str| names.find(name).map(|policy| policy.name.to_string());
    for (name, expected) in [
        ("a.test", Some("strict@file")),
        ("b.test", Some("default")),
        ("c.test", Some("bad@file")),
        ("y.d.test", Some("strict@file")),
        ("x.d.test", Some("default")),
        ("d.test", None),
        ("z.y.d.test", None),
        ("other.test", None),
        ("", None),
    ] {
        assert_eq!(find(name).as_deref(), expected, "{name}");
    }
}

//! Which certificate a name gets.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::certificate::tests::{certificate, day};

fn store(certificates: &[&Arc<Certificate>], now: u64) -> CertificateStore {
    let default = Arc::new(Certificate::generate(day(0)).unwrap());
    CertificateStore::new(certificates.iter().map(|one| Arc::clone(one)).collect(), default, day(now))
}

fn of(names: &[&str], from: u64, to: u64) -> Arc<Certificate> {
    Arc::new(certificate(names, from, to))
}

fn check(certificates: &[&Arc<Certificate>], now: u64, name: &str, expected: Option<&Arc<Certificate>>) {
    let store = store(certificates, now);
    let names = |found: Option<&Arc<Certificate>>| found.map(|found| (found.names.clone(), found.not_after));
    assert_eq!(names(store.find(name)), names(expected), "{name} on day {now}");
    let backwards: Vec<_> = certificates.iter().rev().copied().collect();
    assert_eq!(names(self::store(&backwards, now).find(name)), names(expected), "order never matters");
}

#[test]
fn a_name_gets_the_certificate_that_traefik_would_give_it() {
    let exact = of(&["app.test"], 0, 100);
    let wildcard = of(&["*.test", "test"], 0, 100);
    check(&[&exact, &wildcard], 50, "app.test", Some(&exact));
    check(&[&exact, &wildcard], 50, "other.test", Some(&wildcard));
    check(&[&exact, &wildcard], 50, "test", Some(&wildcard));
    check(&[&exact, &wildcard], 50, "a.b.test", None);
    check(&[&exact, &wildcard], 50, "", None);
    // The joined names, in reverse order: `app.test,z.test` before `app.test`.
    let more = of(&["z.test", "app.test"], 0, 90);
    check(&[&exact, &more], 50, "app.test", Some(&more));
    // The same names: the one that is valid for longer.
    let renewed = of(&["app.test"], 20, 120);
    check(&[&exact, &renewed], 50, "app.test", Some(&renewed));
}

#[test]
fn one_that_is_not_valid_never_wins_over_one_that_is() {
    let old = of(&["app.test", "z.test"], 0, 40);
    let valid = of(&["app.test"], 0, 100);
    let wildcard = of(&["*.test"], 0, 100);
    let later = of(&["app.test", "zz.test"], 60, 100);
    check(&[&old, &valid], 39, "app.test", Some(&old));
    check(&[&old, &valid], 40, "app.test", Some(&valid));
    check(&[&old, &wildcard], 50, "app.test", Some(&wildcard));
    check(&[&later, &valid], 50, "app.test", Some(&valid));
    check(&[&later, &valid], 60, "app.test", Some(&later));
    check(&[&old], 50, "app.test", Some(&old));
    let all = [&old, &valid, &later];
    let until = |now| store(&all, now).holds_until();
    assert_eq!([0, 40, 60, 100].map(until), [Some(day(40)), Some(day(60)), Some(day(100)), None]);
}

#[test]
fn a_client_without_a_name_is_known_by_the_address_it_came_to() {
    let certificate = of(&["10.0.0.1", "2001:db8::1", "app.test"], 0, 100);
    let store = store(&[&certificate], 1);
    let find = |address: &str| store.find_address(address.parse().unwrap()).is_some();
    assert!(find("10.0.0.1") && find("::ffff:10.0.0.1") && find("2001:db8::1"));
    assert!(!find("10.0.0.2"));
}

#[test]
fn a_store_says_what_it_covers_and_whom_it_serves() {
    let old = of(&["app.test"], 0, 40);
    let renewed = of(&["app.test"], 0, 100);
    let wildcard = of(&["*.lan.test"], 0, 100);
    let default = Arc::new(certificate(&["*.default.test"], 0, 100));
    let all = [&old, &renewed, &wildcard].map(Arc::clone);
    let store = CertificateStore::new(all.into(), Arc::clone(&default), day(50));
    for (name, covered) in [
        ("app.test", true),
        ("nas.lan.test", true),
        ("*.lan.test", true),
        ("*.test", false),
        ("lan.test", false),
        ("a.default.test", true),
    ] {
        assert_eq!(store.covers(name), covered, "{name}");
    }
    assert!(store.find("a.default.test").is_none(), "the default one is what is left");
    let served = [&old, &renewed, &wildcard, &default].map(|certificate| store.serves(certificate));
    assert_eq!(served, [false, true, true, true]);
    assert!(CertificateStore::default().default_certificate().is_none());
}

const NAMES: [&str; 8] = ["a.x", "b.x", "*.x", "x", "a.a.x", "*.a.x", "b.a.x", "10.0.0.1"];

/// One for each set of up to two names and each life, so that no key is made within the property.
static POOL: LazyLock<Vec<Arc<Certificate>>> = LazyLock::new(|| {
    let mut pool = Vec::new();
    for (index, one) in NAMES.iter().enumerate() {
        for other in &NAMES[index..] {
            for (from, to) in [(0, 10), (0, 20), (5, 20), (15, 30)] {
                pool.push(of(&[one, other], from, to));
            }
        }
    }
    pool
});

/// What the rules say, word by word.
fn model(certificates: &[Arc<Certificate>], name: &str, now: SystemTime) -> Option<[u8; 32]> {
    let rank = |certificate: &Arc<Certificate>| {
        let exact = certificate.names.iter().any(|known| **known == *name);
        (exact || certificate.covers(name)).then(|| {
            let joined = certificate.names.join(",");
            let valid = certificate.not_before <= now && now < certificate.not_after;
            (valid, exact, joined, certificate.not_after, certificate.fingerprint)
        })
    };
    certificates.iter().filter_map(rank).max().map(|(.., fingerprint)| fingerprint)
}

proptest! {
    #[test]
    fn any_set_of_certificates_is_searched_as_the_rules_say(
        chosen in prop::collection::vec(0..144_usize, 0..12),
        now in 0..35_u64,
        name in prop::sample::select(vec!["a.x", "b.x", "c.x", "x", "a.a.x", "c.a.x", "y.c.a.x", "10.0.0.1", "z", ""]),
    ) {
        let chosen: Vec<_> = chosen.into_iter().map(|index| Arc::clone(&POOL[index])).collect();
        let store = CertificateStore::new(chosen.clone(), Arc::clone(&POOL[0]), day(now));
        prop_assert_eq!(store.find(name).map(|found| found.fingerprint), model(&chosen, name, day(now)));
    }
}

//! What is read from a certificate, and what is refused.

use std::net::IpAddr;

use rcgen::{CertifiedIssuer, SanType};

use super::*;

/// A day of 2026.
pub(crate) fn day(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((20_454 + day) * 86_400)
}

/// One for these names, valid from one day to another.
pub(crate) fn certificate(names: &[&str], from: u64, to: u64) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let (chain, key) = pem(params(names, from, to), &key);
    Certificate::from_pem(chain.as_bytes(), key.as_bytes(), CertificateSource::Text).unwrap()
}

fn params(names: &[&str], from: u64, to: u64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = day(from).into();
    params.not_after = day(to).into();
    params
}

fn pem(params: CertificateParams, key: &KeyPair) -> (String, String) {
    (params.self_signed(key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_certificate_says_what_people_and_names_need_to_know() {
    let mut issuer = params(&[], 0, 300);
    issuer.distinguished_name.push(DnType::CommonName, "R3");
    issuer.distinguished_name.push(DnType::OrganizationName, "Let's Test");
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut leaf = params(&["B.Test", "*.a.test", "10.0.0.1", "b.test"], 10, 100);
    leaf.distinguished_name.push(DnType::CommonName, "b.test");
    leaf.serial_number = Some(rcgen::SerialNumber::from(0x0102_03ff_u64));
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let chain = format!("{}{}", leaf.pem(), issuer.pem());
    let source = CertificateSource::Resolver("le".into());
    let found =
        Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), source.clone()).unwrap();
    let names: Vec<&str> = found.names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["*.a.test", "10.0.0.1", "b.test"]);
    assert_eq!(
        (&*found.common_name, &*found.issuer, &*found.issuer_organisation),
        ("b.test", "R3", "Let's Test")
    );
    assert_eq!((&*found.serial, &*found.serial_decimal), ("10203ff", "16909311"));
    assert_eq!((found.not_before, found.not_after), (day(10), day(100)));
    assert_eq!((found.key_type, found.key_bits, &*found.signature_algorithm), ("ECDSA", 384, "ECDSA-SHA256"));
    assert_eq!(found.source, source);
    assert_eq!(found.chain_pem().replace('\n', ""), chain.replace(['\r', '\n'], ""));
    assert_eq!(found.key_pem.expose().replace('\n', ""), key.serialize_pem().replace(['\r', '\n'], ""));
    assert!(!format!("{found:?}").contains("PRIVATE"));
    let again = Certificate::from_pem(
        found.chain_pem().as_bytes(),
        found.key_pem.expose().as_bytes(),
        CertificateSource::Text,
    );
    assert_eq!(again.unwrap().fingerprint, found.fingerprint, "what is written can be read");
}

#[test]
fn the_common_name_is_a_name_only_where_there_is_no_other() {
    let key = KeyPair::generate().unwrap();
    for (sans, expected) in [(&[][..], "old.test"), (&["new.test"][..], "new.test")] {
        let mut params = params(sans, 0, 10);
        params.distinguished_name.push(DnType::CommonName, "Old.test");
        let (chain, key) = pem(params, &key);
        let found = Certificate::from_pem(chain.as_bytes(), key.as_bytes(), CertificateSource::Text).unwrap();
        assert_eq!(&*found.names, [Box::from(expected)]);
    }
}

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    let (chain, key) = pem(params(&["a.test"], 0, 10), &KeyPair::generate().unwrap());
    let other = KeyPair::generate().unwrap().serialize_pem();
    let mut nul = params(&[], 0, 10);
    nul.subject_alt_names = vec![SanType::DnsName("good.test\0.evil.test".try_into().unwrap())];
    let (nul, nul_key) = pem(nul, &KeyPair::generate().unwrap());
    let torn = &chain[..chain.len() / 2];
    let torn_key = &key[..key.len() / 2];
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (chain, key, expected) in [
        ("", &*key, "there is no certificate in it"),
        (&key, &key, "there is no certificate in it"),
        (&chain, &chain, "there is no private key in it"),
        (torn, &key, "it is not valid PEM"),
        (&chain, torn_key, "it is not valid PEM"),
        (garbage, &key, "its first certificate cannot be parsed"),
        (&chain, no_key, "its key cannot be used"),
        (&chain, &other, "certificate and key do not belong together"),
        (&nul, &nul_key, "one of its names contains a NUL character"),
    ] {
        let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes(), CertificateSource::Text);
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_certificate_that_is_made_at_the_start_is_known_by_its_name() {
    let made = Certificate::generate(day(0)).unwrap();
    assert_eq!((&*made.common_name, made.key_type, made.key_bits), (GENERATED_NAME, "ECDSA", 256));
    assert_eq!((made.not_before, made.not_after), (day(0), day(365)));
    assert!(made.names[0].ends_with(".hearthgate.default"), "{:?}", made.names);
    assert_ne!(made.fingerprint, Certificate::generate(day(0)).unwrap().fingerprint);
    assert!(made.names[0].parse::<IpAddr>().is_err());
}

#[test]
fn a_wildcard_covers_one_label_and_itself() {
    let certificate = certificate(&["a.test", "*.b.test"], 0, 10);
    for (name, covered) in [
        ("a.test", true),
        ("x.a.test", false),
        ("b.test", false),
        ("x.b.test", true),
        ("y.x.b.test", false),
        ("*.b.test", true),
        ("*.x.b.test", false),
        ("*.a.test", false),
        ("", false),
    ] {
        assert_eq!(certificate.covers(name), covered, "{name}");
    }
}

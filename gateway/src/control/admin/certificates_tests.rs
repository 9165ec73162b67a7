//! Certificates as the admin API shows them.

use std::time::Duration;

use config::routing::tls::Domain;
use security::acme::Failure;
use security::certificate_store::CertificateStore;

use super::*;

fn generated(source: CertificateSource, now: SystemTime) -> Arc<Certificate> {
    let certificate = Certificate::generate(now).unwrap();
    Arc::new(Certificate { source, ..certificate })
}

#[test]
fn what_is_there_and_what_is_wanted_is_listed_with_its_state() {
    let now = UNIX_EPOCH + Duration::from_secs(1_795_276_800);
    let resolved = generated(CertificateSource::Resolver("le".into()), now);
    let default = generated(CertificateSource::Generated, now);
    let of = |name: &str, phase, failure| OrderState {
        resolver: "le".into(),
        domain: Domain { main: name.into(), sans: Vec::new() },
        phase,
        failure,
        next: Some(now + Duration::from_secs(60)),
    };
    let failure = Failure { reason: "no address".into(), at: now, attempts: 2 };
    let snapshot = Snapshot {
        certificates: Arc::new(CertificateStore::new(vec![Arc::clone(&resolved)], Arc::clone(&default), now)),
        orders: vec![
            of(&resolved.names[0], Phase::Valid, None),
            of("missing.test", Phase::BackingOff, Some(failure)),
        ]
        .into(),
        ..Snapshot::empty()
    };
    let listed = all(&snapshot, now);
    assert_eq!(listed.len(), 3);
    let by_id =
        |certificate: &Certificate| listed.iter().find(|view| view["id"] == *id(certificate)).unwrap();
    let valid = by_id(&resolved);
    assert_eq!(
        (&valid["state"], &valid["status"], &valid["resolver"]),
        (&json!("valid"), &json!("enabled"), &json!("le"))
    );
    assert_eq!((&valid["served"], &valid["default"]), (&json!(true), &json!(false)));
    assert_eq!((&valid["keyType"], &valid["keySize"]), (&json!("ECDSA"), &json!(256)));
    assert_eq!(by_id(&default)["default"], true);
    let missing = &listed[2];
    assert_eq!(
        *missing,
        json!({
            "commonName": "missing.test", "sans": ["missing.test"], "status": "disabled", "resolver": "le",
            "state": "backingOff", "nextTry": "2026-11-21T16:01:00Z", "reason": "no address",
            "failedAt": "2026-11-21T16:00:00Z", "attempts": 2,
        })
    );
    let late = now + Duration::from_secs(350 * 86_400);
    assert_eq!(all(&snapshot, late)[0]["status"], "warning");
    assert!(!listed.iter().any(|view| view.to_string().contains("PRIVATE KEY")));
    assert!(find(&snapshot, &resolved.names[0]).is_some());
    assert!(find(&snapshot, "other.test").is_none());
}

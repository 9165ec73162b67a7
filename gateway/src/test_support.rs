//! Values for unit tests.

use std::time::{Duration, SystemTime};

use config::install::load::{Disk, load};
use config::install::{Install, ListenAddress};

use crate::control::Clock;

/// The time that tests live in: 2026-11-21.
pub(crate) fn clock() -> Clock {
    Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_276_800))
}

/// Days of seconds.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A pair (chain and key, PEM) for these names, valid from one moment to another.
pub(crate) fn pair(names: &[&str], from: SystemTime, to: SystemTime) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).expect("a test's names are valid");
    params.not_before = from.into();
    params.not_after = to.into();
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let chain = params.self_signed(&key).expect("it can sign itself");
    (chain.pem(), key.serialize_pem())
}

/// An install configuration with the product's own defaults: these entry points on free ports of 127.0.0.1, no provider,
/// and nothing written to disk outside `state_dir`.
pub(crate) fn install(entry_points: &[&str], state_dir: &std::path::Path) -> Install {
    let mut arguments: Vec<_> =
        entry_points.iter().map(|name| format!("--entryPoints.{name}.address=127.0.0.1:0")).collect();
    arguments.push(format!("--stateDir={}", state_dir.display()));
    let loaded = load(&arguments, [], &Disk).expect("the arguments are right");
    let mut install = loaded.install;
    // Loaded by name; tests know them by position.
    install
        .entry_points
        .sort_by_key(|entry_point| entry_points.iter().position(|name| *name == entry_point.name.as_str()));
    // As if it had its default place, but on a free port.
    install.admin.address = ListenAddress::Address(([127, 0, 0, 1], 0).into());
    install.admin.allowed_hosts = vec!["localhost".to_owned()];
    install
}

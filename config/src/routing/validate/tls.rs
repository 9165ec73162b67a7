//! TLS options, certificates and stores: known, and not served yet.

use crate::problem::Problem;
use crate::routing::merge::Merged;

/// Says so of each.
pub(super) fn report(merged: &Merged, problems: &mut Vec<Problem>) {
    let hint = "TLS connections are not accepted yet: let them end in front of the gateway meanwhile";
    let mut report = |origin: &crate::Origin, subject: String, what: &str| {
        let problem = Problem::warning(origin.clone(), subject, format!("{what} not served yet"));
        problems.push(problem.with_hint(hint));
    };
    for certificate in &merged.certificates {
        report(&certificate.origin, "TLS certificate".to_owned(), "TLS certificates are");
    }
    for (name, options) in &merged.tls_options {
        report(&options.origin, format!("TLS options `{name}`"), "TLS options are");
    }
    for (name, store) in &merged.tls_stores {
        report(&store.origin, format!("TLS store `{name}`"), "TLS stores are");
    }
}

//! Names that are being ordered, over all resolvers: two never order the same.

use std::sync::Arc;

use config::routing::tls::Domain;
use parking_lot::Mutex;

/// The names that are being ordered.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Arc<str>>>);

/// Names that are ours as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    ledger: Arc<Ledger>,
    names: Vec<Arc<str>>,
}

impl Ledger {
    /// Takes the names of a certificate; nothing if somebody is ordering one of them.
    pub(super) fn claim(self: &Arc<Self>, domain: &Domain) -> Option<Claim> {
        let mut taken = self.0.lock();
        let names: Vec<_> = domain.names().cloned().collect();
        let meets = |one: &str, other: &str| covers(one, other) || covers(other, one);
        if names.iter().any(|name| taken.iter().any(|taken| meets(name, taken))) {
            return None;
        }
        taken.extend(names.iter().cloned());
        Some(Claim { ledger: Arc::clone(self), names })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ledger.0.lock().retain(|taken| !self.names.contains(taken));
    }
}

/// Whether a certificate for `pattern` serves `name`: the same, or a wildcard one label above it.
pub(super) fn covers(pattern: &str, name: &str) -> bool {
    pattern == name
        || pattern.strip_prefix("*.").is_some_and(|parent| {
            name.split_once('.').is_some_and(|(first, rest)| first != "*" && rest == parent)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(names: &str) -> Domain {
        let mut names = names.split(' ').map(Arc::from);
        Domain { main: names.next().unwrap(), sans: names.collect() }
    }

    #[test]
    fn two_never_order_the_same_and_a_wildcard_is_the_same_as_its_children() {
        let ledger = Arc::new(Ledger::default());
        let check = |held: &str, asked: &str, granted: bool| {
            let _held = ledger.claim(&domain(held)).unwrap();
            assert_eq!(ledger.claim(&domain(asked)).is_some(), granted, "{asked} while {held}");
        };
        check("a.test", "b.test", true);
        check("a.test b.test", "b.test c.test", false);
        check("*.a.test", "x.a.test", false);
        check("x.a.test", "*.a.test", false);
        check("*.a.test", "a.test", true);
        check("*.a.test", "x.y.a.test", true);
        assert!(ledger.claim(&domain("a.test")).is_some(), "all are given back");
    }
}

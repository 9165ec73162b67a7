//! Two maps walked side by side.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

/// Looks up in a map what is asked for mostly in its order, as when the last routing is compared with the next one:
/// each look-up then costs one comparison, where the map's own costs a dozen. Any other order is found as well.
#[derive(Debug)]
pub struct InStep<'a, K, V> {
    map: &'a BTreeMap<K, V>,
    /// What comes after the key that was asked for last.
    ahead: Peekable<Range<'a, K, V>>,
}

impl<'a, K: Ord, V> InStep<'a, K, V> {
    /// Starts at the beginning of the map.
    pub fn new(map: &'a BTreeMap<K, V>) -> Self {
        Self { map, ahead: map.range(..).peekable() }
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &K) -> Option<&'a V> {
        if self.ahead.peek().is_none_or(|(next, _)| *next != key) {
            self.ahead = self.map.range(key..).peekable();
        }
        self.ahead.next_if(|(next, _)| *next == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_in_any_order_and_no_other() {
        let map: BTreeMap<u8, u8> = [1, 3, 5, 7].into_iter().map(|key| (key, key * 10)).collect();
        let mut in_step = InStep::new(&map);
        for key in [1, 3, 4, 5, 7, 8, 0, 1, 7, 3, 3, 5] {
            assert_eq!(in_step.get(&key), map.get(&key), "{key}");
        }
    }
}

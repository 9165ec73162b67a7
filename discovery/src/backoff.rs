//! Retry delays: at once, then longer and longer up to a ceiling. Pure; the jitter is passed in.

use std::time::Duration;

/// How long to wait before the next try.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    tries: u32,
}

impl Backoff {
    /// The first retry comes at once, the second after about `first`, then twice as long each time up to
    /// `ceiling`.
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, tries: 0 }
    }

    /// The delay before the next try. `jitter` lies in `0.0..1.0`; a delay is shortened by up to a quarter of
    /// it, so that several gateways do not come back in step.
    pub fn next_delay(&mut self, jitter: f64) -> Duration {
        let tries = self.tries;
        self.tries = self.tries.saturating_add(1);
        if tries == 0 {
            return Duration::ZERO;
        }
        let factor = 1u32.checked_shl(tries - 1).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(factor).min(self.ceiling);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
    }

    /// All is well: the next retry comes at once again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A jitter for [`Backoff::next_delay`], different in each process and at each call.
pub(crate) fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_comes_at_once_and_the_delays_double_up_to_the_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
        let delays: Vec<u128> = (0..7).map(|_| backoff.next_delay(0.0).as_millis()).collect();
        assert_eq!(delays, [0, 250, 500, 1000, 2000, 3000, 3000]);
        backoff.reset();
        assert_eq!(backoff.next_delay(0.9), Duration::ZERO);
    }

    #[test]
    fn jitter_only_shortens_and_endless_retries_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_millis(400), Duration::from_secs(3));
        for _ in 0..1_000 {
            let delay = backoff.next_delay(jitter());
            assert!(delay <= Duration::from_secs(3), "{delay:?}");
        }
        assert_eq!(backoff.next_delay(1.0), Duration::from_millis(2250));
    }
}

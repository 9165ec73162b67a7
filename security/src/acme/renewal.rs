//! When a certificate is renewed, and how long a failure is waited out. Pure: clock and jitter are passed in.

use std::time::{Duration, SystemTime};

use crate::certificate::Certificate;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_secs(60);

/// The longest.
const CEILING: Duration = Duration::from_secs(24 * 60 * 60);

/// What a server that says "too many" and not for how long is given at least.
const RATE_LIMITED: Duration = Duration::from_secs(60 * 60);

/// Longer than this nobody's `Retry-After` is believed.
pub(super) const LONGEST_ADVICE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The window in which a server wants a certificate renewed (RFC 9773).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

/// When a certificate is to be renewed: at a random point of the server's window, else when two thirds of its life are
/// over. `jitter` lies in `0.0..1.0` and is the certificate's own, so that a restart changes nothing.
/// `expected_life` is for certificates whose own dates make no sense.
pub(super) fn renew_at(
    certificate: &Certificate,
    window: Option<Window>,
    expected_life: Duration,
    jitter: f64,
) -> SystemTime {
    let jitter = jitter.clamp(0.0, 1.0);
    if let Some(Window { start, end }) = window
        && let Ok(length) = end.duration_since(start)
    {
        return start + length.mul_f64(jitter);
    }
    let life = certificate.not_after.duration_since(certificate.not_before);
    let life = life.ok().filter(|life| !life.is_zero()).unwrap_or(expected_life);
    // Up to a fiftieth of the life earlier, so that what was issued together is not renewed together.
    certificate.not_before + life.mul_f64(2.0 / 3.0) - life.mul_f64(jitter / 50.0)
}

/// A number in `0.0..1.0` that belongs to a certificate.
pub(super) fn own_jitter(certificate: &Certificate) -> f64 {
    let [first, second, third, fourth, ..] = certificate.fingerprint;
    f64::from(u32::from_be_bytes([first, second, third, fourth])) / (f64::from(u32::MAX) + 1.0)
}

/// How long a name set waits after its `attempts`-th failure in a row.
pub(super) fn back_off(attempts: u32, advice: Advice, jitter: f64) -> Duration {
    let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let full = FIRST.saturating_mul(factor).min(CEILING);
    let own = full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0);
    match advice {
        Advice::None => own,
        Advice::Wait(advised) => own.max(advised.min(LONGEST_ADVICE)),
        Advice::TooMany(Some(advised)) => advised.clamp(Duration::from_secs(1), LONGEST_ADVICE),
        Advice::TooMany(None) => own.max(RATE_LIMITED),
    }
}

/// What the server said about when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing.
    None,
    /// Not before that.
    Wait(Duration),
    /// Too many requests: as long as it says, if it does.
    TooMany(Option<Duration>),
}

/// How long the whole resolver waits when its server cannot be reached for the `attempts`-th time in a row. Short at
/// first: a server that restarts is back in a moment, and it costs it nothing.
pub(super) fn server_away(attempts: u32, advice: Option<Duration>, jitter: f64) -> Duration {
    let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let full = Duration::from_secs(5).saturating_mul(factor).min(Duration::from_secs(15 * 60));
    let own = full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0);
    own.max(advice.unwrap_or_default().min(LONGEST_ADVICE))
}

/// Days before the end at which an unrenewed certificate is told of, and how many are left, if it is one of them.
pub(super) fn alarm(left: Duration) -> Option<u64> {
    let days = left.as_secs() / (24 * 60 * 60);
    [1, 3, 7, 21].into_iter().find(|limit| days < *limit)
}

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod tests;

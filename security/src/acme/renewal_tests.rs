//! Tables of renewal times and delays.

use std::sync::Arc;

use super::*;
use crate::certificate::CertificateSource;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(days: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * (20_000 + days)
}

fn certificate(not_before: SystemTime, not_after: SystemTime) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    parameters.not_before = not_before.into();
    parameters.not_after = not_after.into();
    let made = parameters.self_signed(&key).unwrap();
    let source = CertificateSource::Resolver(Arc::from("le"));
    Certificate::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes(), source).unwrap()
}

#[test]
fn without_a_window_two_thirds_of_the_life_are_waited_and_a_little_less() {
    let check = |from: u32, to: u32, jitter: f64, expected_day: f64| {
        let certificate = certificate(at(from), at(to));
        let renew = renew_at(&certificate, None, DAY * 90, jitter);
        let days = renew.duration_since(at(0)).unwrap().as_secs_f64() / DAY.as_secs_f64();
        assert!((days - expected_day).abs() < 0.01, "{from}..{to}, {jitter}: {days}");
    };
    check(0, 90, 0.0, 60.0);
    check(0, 90, 1.0, 58.2);
    check(0, 6, 0.0, 4.0);
    check(100, 190, 0.0, 160.0);
    // Dates that make no sense: the life that is expected.
    check(10, 10, 0.0, 70.0);
}

#[test]
fn a_window_is_kept_to_wherever_it_lies() {
    let certificate = certificate(at(0), at(90));
    let check = |start: u32, end: u32, jitter: f64, expected: SystemTime| {
        let window = Window { start: at(start), end: at(end) };
        assert_eq!(renew_at(&certificate, Some(window), DAY * 90, jitter), expected);
    };
    check(70, 72, 0.0, at(70));
    check(70, 72, 0.5, at(71));
    // In the past: at once. The certificate is to be replaced, whatever its own dates say.
    check(1, 2, 0.5, at(1) + DAY / 2);
    // Turned around: as if there were none.
    let turned = Window { start: at(72), end: at(70) };
    assert_eq!(renew_at(&certificate, Some(turned), DAY * 90, 0.0), renew_at(&certificate, None, DAY, 0.0));
}

#[test]
fn failures_are_waited_out_longer_and_longer_and_advice_is_kept_to() {
    let check = |attempts: u32, advice: Advice, expected: u64| {
        assert_eq!(back_off(attempts, advice, 0.0).as_secs(), expected, "{attempts}, {advice:?}");
    };
    for (attempts, expected) in
        [(1, 60), (2, 120), (3, 240), (10, 30_720), (11, 61_440), (12, 86_400), (500, 86_400)]
    {
        check(attempts, Advice::None, expected);
    }
    check(1, Advice::Wait(Duration::from_secs(300)), 300);
    check(4, Advice::Wait(Duration::from_secs(300)), 480);
    check(1, Advice::TooMany(Some(Duration::from_secs(7200))), 7200);
    check(9, Advice::TooMany(Some(Duration::from_secs(5))), 5);
    check(1, Advice::TooMany(None), 3600);
    check(1, Advice::TooMany(Some(DAY * 900)), 7 * 86_400);
    assert_eq!(back_off(1, Advice::None, 1.0).as_secs(), 45);
}

#[test]
fn a_server_that_is_away_is_asked_again_soon_and_then_less_often() {
    let seconds = |attempts, advice| server_away(attempts, advice, 0.0).as_secs();
    assert_eq!([1, 2, 3, 8, 100].map(|attempts| seconds(attempts, None)), [5, 10, 20, 640, 900]);
    assert_eq!(seconds(1, Some(Duration::from_secs(120))), 120);
}

#[test]
fn alarms_come_at_21_7_3_and_1_days() {
    let day = |days: u64| alarm(DAY * u32::try_from(days).unwrap() + DAY / 2);
    assert_eq!(
        [30, 21, 20, 7, 6, 3, 2, 1, 0].map(day),
        [None, None, Some(21), Some(21), Some(7), Some(7), Some(3), Some(3), Some(1)]
    );
}

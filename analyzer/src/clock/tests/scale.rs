use super::super::{Sample, Scale};

/// Samples without brackets.
fn scale(samples: &[(i64, i64)]) -> Scale {
    Scale::new(samples.iter().map(|&(from, to)| Sample { from, to, bracket: 0 }).collect())
}

#[test]
fn between_and_beyond_samples_the_map_is_straight() {
    // RAW runs 10 us a second slower in the first second, and then 20.
    let raw = scale(&[
        (3_000_000_000, 2_999_970_000),
        (1_000_000_000, 1_000_000_000),
        (2_000_000_000, 1_999_990_000),
    ]);
    for (mono, expected) in [
        (0, 10_000),
        (1_000_000_000, 1_000_000_000),
        (1_500_000_000, 1_499_995_000),
        (2_500_000_000, 2_499_980_000),
        (4_000_000_000, 3_999_950_000),
    ] {
        assert_eq!(raw.forward(mono), expected);
        assert_eq!(raw.back(expected), mono);
    }
}

#[test]
fn large_times_keep_their_nanoseconds() {
    let start = 10_000_000_000_000_000;
    let raw = scale(&[(start, start + 7), (start + 1_000_000_000, start + 1_000_000_007)]);
    assert_eq!(raw.forward(start + 123_456_789), start + 123_456_796);
}

#[test]
fn with_one_sample_clocks_run_alike_and_with_none_they_are_the_same() {
    assert_eq!(scale(&[(100, 40)]).forward(1_000), 940);
    assert_eq!(scale(&[(100, 40)]).back(940), 1_000);
    assert_eq!(scale(&[]).forward(1_000), 1_000);
    assert_eq!(scale(&[(100, 40)]).error(), None);
    assert_eq!(scale(&[]).error(), None);
}

#[test]
fn the_error_is_half_the_bracket_and_what_a_change_of_rate_does_between_samples() {
    let second = 1_000_000_000;
    let sample = |i: i64, gained: i64| Sample { from: i * second, to: i * second + gained, bracket: 200 };
    let steady = Scale::new(vec![sample(0, 0), sample(1, 5_000), sample(2, 10_000)]);
    assert!((steady.error().unwrap() - 100.0).abs() < 0.1);
    let slewed = Scale::new(vec![sample(0, 0), sample(1, 5_000), sample(2, 17_000)]);
    assert!((slewed.error().unwrap() - 7_100.0).abs() < 0.1);
}

#[test]
fn no_samples_make_it_fail() {
    let extreme = scale(&[(i64::MIN, i64::MAX), (0, 0), (i64::MAX, i64::MIN)]);
    for time in [i64::MIN, -1, 0, 1, i64::MAX] {
        let _ = (extreme.forward(time), extreme.back(time));
    }
    assert_eq!(scale(&[(0, 0), (1, i64::MAX)]).forward(i64::MAX), i64::MAX);
}

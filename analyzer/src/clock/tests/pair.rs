use super::super::{Direction, Message, Offset, Pair, Quality, Reason, Sample, Scale, Stability, Wall};
use super::random::contains;
use super::simulation::{Clock, Dice, Network, Run, SECOND};

/// What a run's messages say, by unslewed clocks.
fn offset(run: &Run) -> Offset {
    run.pair().offset(Stability::RAW, &Wall::default()).unwrap()
}

/// A minute with so many messages a second to B, and back.
fn minute(clock: Clock, rates: [f64; 2]) -> Run {
    Run::new(&mut Dice(1), clock, Network::LAN, 60.0 * SECOND, rates)
}

/// Whether the interval contains the truth all the time.
fn holds(run: &Run, offset: &Offset) -> bool {
    run.moments(1000).all(|t| contains(&offset.at(Clock::a(t)), run.clock.b(t) - Clock::a(t)))
}

#[test]
fn hosts_that_share_a_clock_are_found_to() {
    let mut pair = Pair::default();
    for i in 0..1000 {
        let sent = 5_000_000_000 + i * 10_000_000;
        pair.add(Direction::Forward, Message { sent, received: sent + 20_000 + i % 7 * 1_000 });
        pair.add(
            Direction::Reverse,
            Message { sent: sent + 40_000, received: sent + 55_000 + i % 5 * 1_000 },
        );
    }
    let at = pair.offset(Stability::RAW, &Wall::default()).unwrap().at(10_000_000_000);
    assert!(contains(&at, 0) && at.value.abs() < 3_000 && at.width().unwrap() < 37_000, "{at:?}");
}

#[test]
fn the_interval_is_as_wide_as_the_least_round_trip() {
    let run = minute(Clock::constant(18e-6), [200.0; 2]);
    let width = offset(&run).width().unwrap();
    assert!((80_000..85_000).contains(&width), "{width}");
}

#[test]
fn samples_of_raw_undo_the_slewing_of_monotonic() {
    // NTP slews host B's MONOTONIC, whose RAW is 18 ppm fast, by 20 ppm to either side.
    let slew = |clock: Clock, i: i32| clock.slews(f64::from(i) * 7.3 * SECOND, f64::from(i % 3 - 1) * 20e-6);
    let (slewed, raw) = ((0..40).fold(Clock::constant(0.0), slew), Clock::constant(18e-6));
    let run = Run::new(&mut Dice(1), slewed, Network::LAN, 300.0 * SECOND, [50.0; 2]);
    let sample = |i: i32| f64::from(i) * SECOND;
    let sample = |i| Sample { from: run.clock.b(sample(i)), to: raw.b(sample(i)), bracket: 100 };
    let map = Scale::new((0..=300).map(sample).collect());
    let same = Scale::new([0, 1].map(|i| Sample { from: i, to: i, bracket: 0 }).to_vec());
    let stability = Stability::of(&same, &map);
    assert!(stability.reading < 50_000.0 && stability.slew == 0.0, "{stability:?}");
    let mut pair = Pair::default();
    for (direction, message) in &run.messages {
        pair.add(
            *direction,
            match direction {
                Direction::Forward => Message { received: map.forward(message.received), ..*message },
                Direction::Reverse => Message { sent: map.forward(message.sent), ..*message },
            },
        );
    }
    let offset = pair.offset(stability, &Wall::default()).unwrap();
    assert!(run.moments(1000).all(|t| contains(&offset.at(Clock::a(t)), raw.b(t) - Clock::a(t))));
    let worst =
        run.moments(1000).map(|t| raw.error(t, offset.at(Clock::a(t)).value).abs()).fold(0.0, f64::max);
    assert!(worst < 2_500.0, "{worst} ns");
    assert_eq!(Stability::of(&Scale::default(), &map), Stability::SLEWED);
}

#[test]
fn messages_in_one_direction_tell_the_skew_and_one_bound() {
    for (rates, bounded) in [([200.0, 0.0], (false, true)), ([0.0, 200.0], (true, false))] {
        let run = minute(Clock::constant(18e-6), rates);
        let offset = offset(&run);
        assert_eq!((offset.quality(), offset.width()), (Quality::OneWay, None));
        let at = offset.at(Clock::a(30.0 * SECOND));
        assert_eq!((at.low.is_some(), at.high.is_some()), bounded);
        assert!((offset.skew(Clock::a(30.0 * SECOND)) - 18e-6).abs() < 1e-9);
        assert!(holds(&run, &offset));
        // No delay is told from the least.
        assert!((run.clock.error(30.0 * SECOND, at.value).abs() - 40e3).abs() < 100.0);
    }
}

#[test]
fn wall_clocks_help_where_messages_go_in_one_direction_or_not_at_all() {
    let run = minute(Clock::constant(18e-6), [200.0, 0.0]);
    let wall = |read: &dyn Fn(f64) -> i64, wrong: i64| {
        let at = |i: i32| read(f64::from(i) * SECOND);
        let samples =
            (0..60).map(|i| Sample { from: at(i), to: Clock::a(f64::from(i) * SECOND) + wrong, bracket: 0 });
        Scale::new(samples.collect())
    };
    let wall = Wall { a: wall(&Clock::a, 0), b: wall(&|t| run.clock.b(t), 300_000), error: Some(1_000_000) };
    for (pair, quality) in [(run.pair(), Quality::OneWay), (Pair::default(), Quality::ClockOnly)] {
        let offset = pair.offset(Stability::RAW, &wall).unwrap();
        assert_eq!(offset.quality(), quality);
        assert!(holds(&run, &offset));
        let error = run.clock.error(30.0 * SECOND, offset.at(Clock::a(30.0 * SECOND)).value);
        assert!((-300_010.0..0.0).contains(&error), "{error}");
    }
    let unknown =
        Pair::default().offset(Stability::RAW, &Wall { error: None, ..wall }).unwrap().at(Clock::a(SECOND));
    assert_eq!((unknown.low, unknown.high), (None, None));
    assert!(Pair::default().offset(Stability::RAW, &Wall::default()).is_none());
}

#[test]
fn steps_and_pauses_are_found() {
    let steady = || Clock::constant(18e-6);
    for (clock, step) in [
        (steady().steps(20.0 * SECOND, 2e6), 2e6),
        (steady().steps(20.0 * SECOND, 3.0 * SECOND), 3.0 * SECOND),
        (steady().pauses(20.0 * SECOND, 0.1 * SECOND), -0.1 * SECOND),
    ] {
        let run = minute(clock, [50.0; 2]);
        let offset = offset(&run);
        let [found] = offset.breaks() else { panic!("{:?}", offset.breaks()) };
        assert!((found.step as f64 - step).abs() < 30e3, "{found:?} for {step}");
        let (after, before) = (found.after - Clock::a(0.0), found.before - Clock::a(0.0));
        assert!(19_800_000_000 < after && after < before && before < 20_200_000_000, "{found:?}");
        assert!(holds(&run, &offset));
    }
}

#[test]
fn a_mismatched_message_costs_the_time_around_it() {
    let run = minute(Clock::constant(18e-6), [50.0; 2]);
    let mut pair = run.pair();
    let at = 30.0 * SECOND;
    pair.add(Direction::Forward, Message { sent: Clock::a(at), received: run.clock.b(at) - 1_000_000_000 });
    let offset = pair.offset(Stability::RAW, &Wall::default()).unwrap();
    assert_eq!(offset.breaks().len(), 1);
    assert!(run.moments(1000).all(|t| run.clock.error(t, offset.at(Clock::a(t)).value).abs() < 10e3));
    assert!(offset.at(Clock::a(20.0 * SECOND)).width().unwrap() < 100_000);
}

#[test]
fn messages_that_fit_no_clock_are_called_so() {
    let mut pair = Pair::default();
    let mut dice = Dice(3);
    for i in 0..2_000 {
        let sent = i * 1_000_000;
        let direction = if i % 2 == 0 { Direction::Forward } else { Direction::Reverse };
        pair.add(direction, Message { sent, received: sent + dice.between(-1e9, 1e9) as i64 });
    }
    let offset = pair.offset(Stability::RAW, &Wall::default()).unwrap();
    assert_eq!(offset.quality(), Quality::Approximate(Reason::NoFit));
}

#[test]
fn many_messages_are_kept_as_few_without_loss() {
    let run = Run::new(&mut Dice(1), Clock::constant(18e-6), Network::LAN, 60.0 * SECOND, [3_000.0; 2]);
    let few = Run::new(&mut Dice(1), Clock::constant(18e-6), Network::LAN, 60.0 * SECOND, [100.0; 2]);
    let (many, few) = (offset(&run), offset(&few));
    assert!(holds(&run, &many));
    assert!(many.width() < few.width() && many.width().unwrap() < 82_000, "{:?}", many.width());
}

#[test]
fn no_messages_make_it_fail() {
    let extremes = [i64::MIN, -1, 0, 1, i64::MAX];
    let messages =
        || extremes.iter().flat_map(|sent| extremes.map(|received| Message { sent: *sent, received }));
    for first in messages() {
        for second in messages() {
            let mut pair = Pair::default();
            pair.add(Direction::Forward, first);
            pair.add(Direction::Reverse, second);
            pair.add(Direction::Forward, second);
            let offset = pair.offset(Stability::RAW, &Wall::default()).unwrap();
            for time in extremes {
                let _ = (offset.at(time), offset.to_a(time), offset.to_b(time), offset.skew(time));
            }
        }
    }
}

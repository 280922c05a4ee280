//! The interval contains the truth in random runs.

use super::super::{Direction, Estimate, Message, Offset, Quality, Stability, Wall};
use super::simulation::{Clock, Dice, Network, Run, SECOND};

/// What a run's clock does, beside running too fast or too slow.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Wander,
    Slew,
    Step,
    Pause,
}

/// All that can happen.
const FAULTS: [Fault; 5] = [Fault::None, Fault::Wander, Fault::Slew, Fault::Step, Fault::Pause];

/// A run of random length, traffic and network, and what its clock may do.
fn random(dice: &mut Dice) -> (Fault, Run, Stability) {
    let fault = FAULTS[dice.bits() as usize % FAULTS.len()];
    let length = dice.magnitude(1.0, 600.0) * SECOND;
    let slew = if fault == Fault::Slew { dice.magnitude(1e-6, 5e-4) } else { 0.0 };
    let stability = Stability { slew, ..Stability::RAW };
    let is_break = matches!(fault, Fault::Step | Fault::Pause);
    let enough = if is_break { 40.0 } else { 1.5 };
    let mut rates = [0; 2].map(|_| dice.magnitude(enough, 300.0) / length * SECOND);
    // A break is seen only where messages go both ways.
    if !is_break && dice.part() < 0.1 {
        rates[dice.bits() as usize % 2] = 0.0;
    }
    let network = Network {
        least: [0; 2].map(|_| dice.magnitude(5e3, 2e7)),
        jitter: [0; 2].map(|_| dice.magnitude(1e3, 5e6)),
        spikes: dice.between(0.0, 0.1),
    };
    let clock = random_clock(dice, fault, length, stability);
    (fault, Run::new(dice, clock, network, length, rates), stability)
}

/// A clock that does what its stability allows, at the limits of it.
fn random_clock(dice: &mut Dice, fault: Fault, length: f64, stability: Stability) -> Clock {
    let skew = dice.between(-1e-4, 1e-4);
    let mut clock = Clock::constant(skew);
    let middle = dice.between(0.3, 0.7) * length;
    let size = dice.magnitude(0.5, 100.0) * SECOND;
    match fault {
        Fault::None => return clock,
        Fault::Step => return clock.steps(middle, size),
        Fault::Pause => return clock.pauses(middle, 0.1 * size.min(length)),
        Fault::Wander | Fault::Slew => {}
    }
    let often = length * dice.magnitude(0.01, 1.0);
    let mut t = 0.0;
    while t < length {
        let sign = if dice.bits().is_multiple_of(2) { 1.0 } else { -1.0 };
        let limit = dice.between(0.5, 1.5).min(1.0) * sign;
        clock = match fault {
            Fault::Slew => clock.slews(t, skew + stability.slew * limit),
            _ => clock.wanders(t, stability.wander * limit),
        };
        t += dice.exponential(often);
    }
    clock
}

/// A time at which a run's interval does not contain the truth, on either clock.
fn missed(run: &Run, offset: &Offset) -> Option<f64> {
    let beyond = [-0.1, -0.001, 1.001, 1.1].into_iter().map(|part| part * run.length);
    run.moments(100).chain(beyond).find(|t| {
        let (a, b) = (Clock::a(*t), run.clock.b(*t));
        let truths = [(offset.at(a), b - a), (offset.to_b(a), b), (offset.to_a(b), a)];
        !truths.iter().all(|(estimate, truth)| contains(estimate, *truth))
    })
}

/// Whether a value is in an interval; both clocks are read to the ns.
pub(super) fn contains(estimate: &Estimate, truth: i64) -> bool {
    estimate.low.is_none_or(|low| low <= truth + 1) && estimate.high.is_none_or(|high| high >= truth - 1)
}

/// Messages that arrive before they were sent, by the estimate.
fn inversions(run: &Run, offset: &Offset) -> usize {
    let late = |(direction, message): &&(Direction, Message)| match direction {
        Direction::Forward => offset.to_b(message.sent).value > message.received + 2,
        Direction::Reverse => offset.to_b(message.received).value < message.sent - 2,
    };
    run.messages.iter().filter(late).count()
}

#[test]
fn the_interval_contains_the_truth_in_10000_random_runs_and_no_message_arrives_before_it_was_sent() {
    let mut approximate = 0;
    for seed in 0..10_000 {
        let (fault, run, stability) = random(&mut Dice(seed));
        let Some(offset) = run.pair().offset(stability, &Wall::default()) else {
            panic!("seed {seed}: nothing")
        };
        assert_eq!(missed(&run, &offset), None, "seed {seed}, {fault:?}: the truth is outside then");
        if let Quality::Approximate(_) = offset.quality() {
            approximate += 1;
        } else {
            assert_eq!(inversions(&run, &offset), 0, "seed {seed}, {fault:?}");
        }
    }
    assert!(approximate < 20, "{approximate} are approximate");
}

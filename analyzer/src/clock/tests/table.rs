//! Errors and widths in the scenarios by which methods were compared, beside other methods on the same messages.

use super::super::{Quality, Stability, Wall};
use super::reference::{Bounds, Line};
use super::simulation::{Clock, Dice, Network, Run, SECOND, US};

/// Runs of each scenario.
const SEEDS: u64 = 9;

/// The length of a window, ns.
const WINDOW: f64 = 10.0 * SECOND;

/// A scenario, and the best that any method had reached in a run of it before this module was written: mean, 99th
/// percentile and largest error, us.
struct Scenario {
    name: &'static str,
    make: fn(&mut Dice) -> Run,
    stability: Stability,
    best: [f64; 3],
}

/// All scenarios.
fn scenarios() -> [Scenario; 6] {
    let scenario = |name, make, stability, best| Scenario { name, make, stability, best };
    [
        scenario(
            "60 s, 200/s, constant 18 ppm",
            |d| steady(d, Network::LAN, 200.0),
            Stability::RAW,
            [0.00, 0.01, 0.01],
        ),
        scenario("60 s, 1/s (ping)", |d| steady(d, Network::LAN, 1.0), Stability::RAW, [0.19, 0.39, 0.39]),
        scenario("300 s, 50/s, temperature", warming, Stability::RAW, [0.13, 0.59, 0.85]),
        scenario("300 s, 50/s, NTP slewing", slewing, Stability::SLEWED, [3.4, 22.0, 24.0]),
        scenario(
            "60 s, 200/s, jitter 500 and 60 us",
            |d| steady(d, Network { jitter: [500e3, 60e3], ..Network::LAN }, 200.0),
            Stability::RAW,
            [0.0; 3],
        ),
        scenario(
            "60 s, 200/s, least 40 and 90 us",
            |d| steady(d, Network { least: [40e3, 90e3], ..Network::LAN }, 200.0),
            Stability::RAW,
            [25.0; 3],
        ),
    ]
}

/// A minute of a clock with constant skew.
fn steady(dice: &mut Dice, network: Network, rate: f64) -> Run {
    Run::new(dice, Clock::constant(18e-6), network, 60.0 * SECOND, [rate; 2])
}

/// Five minutes, in which temperature walks: each 10 s the skew takes another direction.
fn warming(dice: &mut Dice) -> Run {
    let wander =
        |clock: Clock, i: i32| clock.wanders(f64::from(i) * 10.0 * SECOND, dice.between(-1e-8, 1e-8));
    let clock = (0..30).fold(Clock::constant(18e-6), wander);
    Run::new(dice, clock, Network::LAN, 300.0 * SECOND, [50.0; 2])
}

/// Five minutes, in which NTP slews by 20 ppm to either side for some seconds.
fn slewing(dice: &mut Dice) -> Run {
    let mut clock = Clock::constant(18e-6);
    let mut t = 0.0;
    while t < 300.0 * SECOND {
        let slew = [-20e-6, 0.0, 20e-6][dice.bits() as usize % 3];
        clock = clock.slews(t, 18e-6 + slew);
        t += dice.between(5.0, 30.0) * SECOND;
    }
    Run::new(dice, clock, Network::LAN, 300.0 * SECOND, [50.0; 2])
}

/// Mean, 99th percentile and maximum, us, of errors in ns.
fn summary(errors: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut errors: Vec<f64> = errors.map(|error| error.abs() / US).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let count = errors.len();
    [errors.iter().sum::<f64>() / count as f64, errors[count * 99 / 100], errors[count - 1]]
}

/// What a method makes of a run.
#[derive(Clone, Copy)]
struct Measured {
    /// Mean, 99th percentile and largest error of the estimate, us.
    errors: [f64; 3],
    /// Mean width of its bounds, us.
    width: f64,
    /// Part of the time at which the truth is within them.
    inside: f64,
}

/// Low bound, estimate and high bound by time, each relative to the truth, ns.
fn measured(run: &Run, relative: impl Fn(f64) -> [f64; 3]) -> Measured {
    let all: Vec<[f64; 3]> = run.moments(1000).map(relative).collect();
    let part = |count: usize| count as f64 / all.len() as f64;
    Measured {
        errors: summary(all.iter().map(|at| at[1])),
        width: summary(all.iter().map(|at| at[2] - at[0]))[0],
        // Clocks are read to the ns.
        inside: part(all.iter().filter(|at| at[0].min(at[2]) <= 2.0 && at[0].max(at[2]) >= -2.0).count()),
    }
}

/// A straight line for the whole run.
fn one_line(run: &Run) -> Measured {
    let line = Bounds::of(run, 0.0, run.length).largest_margin();
    measured(run, |t| [line.at(t) - run.clock.at(t); 3])
}

/// A straight line for each 10 s.
fn windows(run: &Run) -> Measured {
    let count = (run.length / WINDOW) as usize;
    let line = |i: usize| Bounds::of(run, i as f64 * WINDOW, (i + 1) as f64 * WINDOW).largest_margin();
    let lines: Vec<Line> = (0..count).map(line).collect();
    measured(run, |t| [lines[((t / WINDOW) as usize).min(count - 1)].at(t) - run.clock.at(t); 3])
}

/// Trace Compass; not a number where it fails.
fn trace_compass(run: &Run) -> Measured {
    let lines = Bounds::of(run, 0.0, run.length).trace_compass();
    let lines = lines.unwrap_or([Line { offset: f64::NAN, skew: f64::NAN }; 3]);
    measured(run, |t| lines.map(|line| line.at(t) - run.clock.at(t)))
}

/// This module.
fn ours(run: &Run, stability: Stability) -> Measured {
    let offset = run.pair().offset(stability, &Wall::default()).unwrap();
    assert_eq!(offset.quality(), Quality::Accurate);
    measured(run, |t| {
        let at = offset.at(Clock::a(t));
        [at.low.unwrap(), at.value, at.high.unwrap()].map(|offset| run.clock.error(t, offset))
    })
}

/// The medians over runs.
fn medians(runs: &[Measured]) -> Measured {
    let median = |value: &dyn Fn(&Measured) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Measured {
        errors: [0, 1, 2].map(|i| median(&|measured| measured.errors[i])),
        width: median(&|measured| measured.width),
        inside: median(&|measured| measured.inside),
    }
}

/// A method's cells of the table.
fn shown(measured: &Measured) -> String {
    let [mean, p99, largest] = measured.errors;
    format!(
        "{mean:>7.2} /{p99:>7.2} /{largest:>7.2} {:>6.0} {:>4.0}%",
        measured.width,
        100.0 * measured.inside
    )
}

#[test]
fn errors_are_as_small_as_any_methods_and_the_interval_holds_the_truth() {
    println!("error in us, mean / p99 / max; width in us; truth inside; medians of {SEEDS} runs");
    println!("{:<34} {:^24} {:^24} {:^37} {:^37}", "", "one line", "each 10 s", "Trace Compass", "ours");
    for scenario in scenarios() {
        let run = |seed| (scenario.make)(&mut Dice(seed));
        let of = |method: &dyn Fn(&Run) -> Measured| {
            medians(&(0..SEEDS).map(|seed| method(&run(seed))).collect::<Vec<_>>())
        };
        let (line, windows, compass) = (of(&one_line), of(&windows), of(&trace_compass));
        let ours = of(&|run| ours(run, scenario.stability));
        let [line_shown, windows_shown] = [&line, &windows].map(|m| shown(m)[..25].to_string());
        println!("{:<34} {line_shown} {windows_shown} {} {}", scenario.name, shown(&compass), shown(&ours));
        assert_eq!(ours.inside, 1.0, "{}", scenario.name);
        for (i, error) in ours.errors.into_iter().enumerate() {
            let best = scenario.best[i].max(line.errors[i].min(windows.errors[i]) * 1.1);
            assert!(error < best + 0.005, "{}: {error}, where {best} was reached", scenario.name);
        }
    }
}

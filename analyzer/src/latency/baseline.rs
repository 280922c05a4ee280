//! Whether two distributions differ by more than chance.
//!
//! Of each quantile the interval is taken that holds the true one in 99 of 100 samples, whatever the distribution is: the
//! number of times below it is binomial, so that its ends are order statistics (David and Nagaraja, Order Statistics, 7.1),
//! here by the normal approximation of the binomial. Two quantiles differ by more than chance where their intervals do not
//! touch, which by chance alone is rarer than once in 3,000 comparisons. Times that follow each other closely are alike
//! (a burst waits together), and are counted as if they were not: with few bursts, look at `--interval` too.

use super::distribution::{Distribution, rank};

/// Standard deviations to both sides that hold 99 % of a normal distribution.
const DEVIATIONS: f64 = 2.576;

/// What became of a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Longer, by more than chance.
    Longer,
    /// Shorter, by more than chance.
    Shorter,
    /// What differs may be chance.
    Chance,
    /// There are too few times to tell.
    TooFew,
}

impl Verdict {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Longer => "longer",
            Self::Shorter => "shorter",
            Self::Chance => "chance",
            Self::TooFew => "too few",
        }
    }
}

/// What became of the quantile of a share since a baseline.
pub fn compare(now: &Distribution, before: &Distribution, share: f64) -> Verdict {
    match (interval(now, share), interval(before, share)) {
        (Some((lower, _)), Some((_, upper))) if lower > upper => Verdict::Longer,
        (Some((_, upper)), Some((lower, _))) if upper < lower => Verdict::Shorter,
        (Some(_), Some(_)) => Verdict::Chance,
        _ => Verdict::TooFew,
    }
}

/// The interval that the quantile of a share lies in, ns; none where there are too few times.
fn interval(times: &Distribution, share: f64) -> Option<(u64, u64)> {
    let count = times.count as f64;
    let spread = DEVIATIONS * (count * share * (1.0 - share)).sqrt();
    let lower = (count * share - spread).floor();
    let upper = (count * share + spread).ceil() + 1.0;
    if lower < 1.0 || upper > count {
        return None;
    }
    let [lower, upper] = times.at_ranks([lower, upper].map(|at| rank(at / count, times.count)));
    Some((lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many times, spread evenly from a shortest one over 1 ms.
    fn spread(count: u64, shortest: u64) -> Distribution {
        let mut all = Distribution::default();
        (0..count).for_each(|i| all.add(shortest + i * 1_000_000 / count));
        all
    }

    #[test]
    fn what_is_alike_differs_by_chance() {
        let (one, other) = (spread(5000, 10_000), spread(3000, 12_000));
        assert_eq!(compare(&one, &other, 0.5), Verdict::Chance);
        assert_eq!(compare(&one, &other, 0.99), Verdict::Chance);
    }

    #[test]
    fn what_moved_differs_by_more() {
        let (now, before) = (spread(5000, 310_000), spread(5000, 10_000));
        assert_eq!(compare(&now, &before, 0.5), Verdict::Longer);
        assert_eq!(compare(&before, &now, 0.99), Verdict::Shorter);
    }

    #[test]
    fn few_times_tell_a_median_but_no_p99() {
        let (now, before) = (spread(200, 900_000), spread(200, 10_000));
        assert_eq!(compare(&now, &before, 0.5), Verdict::Longer);
        assert_eq!(compare(&now, &before, 0.99), Verdict::TooFew);
        assert_eq!(compare(&spread(9, 0), &before, 0.5), Verdict::TooFew);
    }
}

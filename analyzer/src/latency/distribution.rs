//! A distribution of times in bounded memory: exact while there are few, within a thousandth then.

use hdrhistogram::Histogram;

/// Times that are kept one by one. Of more, three significant digits are kept.
pub const EXACT: usize = 4096;
/// Significant digits of what is not kept one by one: a time is known within 0.1 %.
const DIGITS: u8 = 3;
/// Rows of a histogram by powers of two, microseconds: 64 bits of nanoseconds hold 55 bits of microseconds.
const POWERS: usize = 56;

/// Times, ns.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// All together.
    pub sum: u128,
    /// What quantiles are found in.
    values: Values,
    /// How many by the bits of their microseconds: 0, 1, 2 to 3, 4 to 7, ...
    powers: [u64; POWERS],
}

/// Where times are kept.
#[derive(Clone, Debug)]
enum Values {
    /// One by one, in any order.
    Single(Vec<u64>),
    /// Counted by value, rounded.
    Rounded(Box<Histogram<u32>>),
}

impl Default for Distribution {
    fn default() -> Self {
        let values = Values::Single(Vec::new());
        Self { count: 0, min: u64::MAX, max: 0, sum: 0, values, powers: [0; POWERS] }
    }
}

impl Distribution {
    /// Adds a time.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        (self.min, self.max) = (self.min.min(ns), self.max.max(ns));
        self.sum += u128::from(ns);
        self.powers[power(ns)] += 1;
        match &mut self.values {
            Values::Single(values) if values.len() < EXACT => values.push(ns),
            Values::Single(values) => {
                let mut rounded = rounded(values);
                record(&mut rounded, ns);
                self.values = Values::Rounded(Box::new(rounded));
            }
            Values::Rounded(values) => record(values, ns),
        }
    }

    /// Whether quantiles are exact, and not rounded to three significant digits.
    pub fn is_exact(&self) -> bool {
        matches!(self.values, Values::Single(_))
    }

    /// The times that a given share of all is not longer than: that of the rank `share * count`, rounded up.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let ranks = shares.map(|share| rank(share, self.count));
        self.at_ranks(ranks)
    }

    /// The times of ranks, from 1.
    pub fn at_ranks<const N: usize>(&self, ranks: [u64; N]) -> [u64; N] {
        match &self.values {
            Values::Single(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                ranks.map(|rank| sorted.get(rank.saturating_sub(1) as usize).copied().unwrap_or(self.max))
            }
            Values::Rounded(values) => ranks.map(|rank| {
                let share = (rank as f64 - 0.5) / self.count as f64;
                values.value_at_quantile(share).clamp(self.min, self.max)
            }),
        }
    }

    /// The mean, ns; 0 where there is none.
    pub fn mean(&self) -> u64 {
        u64::try_from(self.sum / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }

    /// Rows of a histogram by powers of two: from and to, microseconds, and how many; up to the last that has some.
    pub fn powers(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let rows = self.powers.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        self.powers.iter().take(rows).enumerate().map(|(bits, count)| match bits {
            0 => (0, 1, *count),
            bits => (1 << bits, (1 << (bits + 1)) - 1, *count),
        })
    }
}

/// The rank of a share of so many, from 1.
pub fn rank(share: f64, count: u64) -> u64 {
    // A share such as 0.999 is no exact number: what is a whole rank but for that is that rank.
    let rank = share * count as f64;
    let whole = rank.round();
    let rank = if (rank - whole).abs() < 1e-6 { whole } else { rank.ceil() };
    (rank as u64).clamp(1, count.max(1))
}

/// The row of a histogram by powers of two that a time is in: 0 and 1 us are in the first.
fn power(ns: u64) -> usize {
    (ns / 1000).checked_ilog2().map_or(0, |bits| bits as usize)
}

/// A histogram that grows with its values, and has these.
fn rounded(values: &[u64]) -> Histogram<u32> {
    let mut histogram = Histogram::new(DIGITS).unwrap_or_else(|_| unreachable!("3 is a number of digits"));
    histogram.auto(true);
    values.iter().for_each(|ns| record(&mut histogram, *ns));
    histogram
}

/// Adds a time to a histogram, which grows for it.
fn record(histogram: &mut Histogram<u32>, ns: u64) {
    // It fails only where an address has fewer bits than a histogram of all 64-bit numbers has rows.
    if histogram.record(ns).is_err() {
        histogram.saturating_record(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times from 1 us to `count` us, each once, in an order that is not theirs.
    fn one_each(count: u64) -> Distribution {
        let mut all = Distribution::default();
        (0..count).for_each(|i| all.add((i * 7919 % count + 1) * 1000));
        all
    }

    #[test]
    fn a_few_are_exact() {
        let all = one_each(1000);
        assert!(all.is_exact());
        assert_eq!(
            all.quantiles([0.5, 0.9, 0.99, 0.999, 1.0]),
            [500_000, 900_000, 990_000, 999_000, 1_000_000]
        );
        assert_eq!((all.min, all.max, all.mean()), (1000, 1_000_000, 500_500));
    }

    #[test]
    fn many_are_within_a_thousandth() {
        let all = one_each(100_000);
        assert!(!all.is_exact());
        for (share, exact) in [(0.5, 50_000_000), (0.9, 90_000_000), (0.99, 99_000_000), (0.999, 99_900_000)]
        {
            let [found] = all.quantiles([share]);
            assert!(found.abs_diff(exact) <= exact / 1000, "p{share}: {found}, not {exact}");
        }
        assert_eq!((all.min, all.max), (1000, 100_000_000));
    }

    #[test]
    fn powers_of_two_are_those_of_bcc() {
        let mut all = Distribution::default();
        [0, 999, 1000, 1999, 2000, 3999, 4000, 1_024_000].into_iter().for_each(|ns| all.add(ns));
        let rows: Vec<_> = all.powers().collect();
        assert_eq!(rows[..3], [(0, 1, 4), (2, 3, 2), (4, 7, 1)]);
        assert_eq!(rows.last(), Some(&(1024, 2047, 1)));
    }

    #[test]
    fn the_longest_time_that_there_is_has_its_place() {
        let mut all = Distribution::default();
        (0..=EXACT).for_each(|_| all.add(u64::MAX));
        assert_eq!(all.quantiles([0.5]), [u64::MAX]);
        assert_eq!(all.powers().last().map(|row| row.2), Some(EXACT as u64 + 1));
    }
}

//! One clock of a host in terms of another: MONOTONIC to RAW, RAW to REALTIME.

/// Both clocks at one moment, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// The clock that is known.
    pub from: i64,
    /// The clock that is wanted.
    pub to: i64,
    /// Width of the bracket in which both were read: twice the error.
    pub bracket: u64,
}

/// A map between two clocks by samples of both: straight between neighbours, and beyond the first and last with the
/// slope there. With one sample both clocks run alike; with none they are the same.
#[derive(Clone, Debug, Default)]
pub struct Scale {
    /// By `from`, without repetitions.
    samples: Vec<Sample>,
}

/// The host's wall clocks as a source of offset, for where there are too few messages.
#[derive(Clone, Debug, Default)]
pub struct Wall {
    /// RAW to REALTIME of host A.
    pub a: Scale,
    /// RAW to REALTIME of host B.
    pub b: Scale,
    /// By how much both wall clocks together are wrong at most, ns (`maxerror` of adjtimex(2)), where it is known.
    pub error: Option<u64>,
}

impl Scale {
    /// A map by samples in any order.
    pub fn new(mut samples: Vec<Sample>) -> Self {
        samples.sort_unstable();
        samples.dedup_by_key(|sample| sample.from);
        Self { samples }
    }

    /// The wanted clock when the known one shows `from`.
    pub fn forward(&self, from: i64) -> i64 {
        along(&self.samples, from, |s| (s.from, s.to))
    }

    /// The known clock when the wanted one shows `to`.
    pub fn back(&self, to: i64) -> i64 {
        along(&self.samples, to, |s| (s.to, s.from))
    }

    /// The largest error of a time between the samples, ns, as far as they show: half the widest bracket, and what a
    /// change of rate between neighbours can do within one stretch. `None` with fewer than two samples: then what
    /// makes the clocks run differently (NTP's slewing of MONOTONIC) is not undone, see [`super::Stability::SLEWED`].
    pub fn error(&self) -> Option<f64> {
        let bracket = self.samples.iter().map(|s| s.bracket).max()? as f64 / 2.0;
        let rates = self.samples.array_windows().map(rate);
        let bends = rates.clone().zip(rates.skip(1)).map(|(first, second)| bend([first, second]));
        (self.samples.len() > 1).then(|| bracket + bends.fold(0.0, f64::max))
    }

    /// The known clock at the samples.
    pub fn moments(&self) -> impl ExactSizeIterator<Item = i64> {
        self.samples.iter().map(|s| s.from)
    }
}

impl Wall {
    /// Whether there are samples of both hosts.
    pub fn is_known(&self) -> bool {
        !self.a.samples.is_empty() && !self.b.samples.is_empty()
    }

    /// B's clock minus A's when A's shows `a`, by what both take for the time of day.
    pub fn offset(&self, a: i64) -> i64 {
        saturated(i128::from(self.b.back(self.a.forward(a))) - i128::from(a))
    }
}

/// The value at `x` on the path through the samples' points, whose first values ascend.
fn along(samples: &[Sample], x: i64, point: impl Fn(&Sample) -> (i64, i64)) -> i64 {
    let after = samples.partition_point(|s| point(s).0 <= x).min(samples.len().saturating_sub(1)).max(1);
    let Some(before) = samples.get(after - 1).map(&point) else { return x };
    let same_rate = i128::from(before.1) + i128::from(x) - i128::from(before.0);
    let drift = samples.get(after).map(point).map_or(0.0, |after| {
        let length = difference(after.0, before.0).max(1.0);
        difference(x, before.0) / length * (difference(after.1, before.1) - length)
    });
    saturated(same_rate.saturating_add(drift.round() as i128))
}

/// How much faster the wanted clock ran between two samples, and how long, ns.
fn rate([before, after]: &[Sample; 2]) -> (f64, f64) {
    let length = difference(after.from, before.from);
    (difference(after.to, before.to) / length - 1.0, length)
}

/// What the change of rate between two stretches amounts to over the longer one, ns.
fn bend([first, second]: [(f64, f64); 2]) -> f64 {
    (first.0 - second.0).abs() * first.1.max(second.1)
}

/// `a - b`.
pub(super) fn difference(a: i64, b: i64) -> f64 {
    (i128::from(a) - i128::from(b)) as f64
}

/// As a time in ns; what is too large for one is the largest there is.
pub(super) fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

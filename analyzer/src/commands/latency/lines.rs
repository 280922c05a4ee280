//! Lines of the answer: a distribution each, as plain data.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::args::Latency;
use crate::knowledge::Knowledge;
use crate::latency::Distribution;
use crate::latency::Question;
use crate::latency::baseline::{Verdict, compare};
use crate::latency::legs::{Group, Key, Leg, Times};
use crate::latency::model::Model;
use crate::names::Name;

/// Shares of the quantiles that are shown.
const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// The times of a leg, of what is counted by, and of an interval. All times are ns.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The stage where it begins; null: the first that the packet was seen at.
    pub from: Option<String>,
    /// The stage where it ends; null: the last of the model.
    pub to: Option<String>,
    /// When the interval begins, ns of CLOCK_MONOTONIC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// What it is counted by.
    #[serde(flatten)]
    pub key: PlainKey,
    /// How many.
    pub count: u64,
    /// How many are left out, as they are shorter than was asked for.
    pub shorter: u64,
    /// The times.
    #[serde(flatten)]
    pub quantiles: Option<Quantiles>,
    /// Share of the time of all legs of the model, percent; null for the whole way.
    pub share: Option<f64>,
    /// From when on it is abnormal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitAnswer>,
    /// Rows by powers of two: from and to, microseconds, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<(u64, u64, u64)>,
    /// What the baseline says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Change>,
}

/// Quantiles of a distribution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// The shortest.
    pub min: u64,
    /// Half of all are not longer.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: u64,
    /// All together.
    pub sum: u64,
    /// Whether the quantiles are exact, and not rounded to three significant digits.
    pub exact: bool,
}

impl Quantiles {
    /// Those of a distribution, if it has any.
    fn of(times: &Distribution) -> Option<Self> {
        let [p50, p90, p99, p99_9] = times.quantiles(SHARES);
        (times.count > 0).then(|| Self {
            min: times.min,
            p50,
            p90,
            p99,
            p99_9,
            max: times.max,
            mean: times.mean(),
            sum: u64::try_from(times.sum).unwrap_or(u64::MAX),
            exact: times.is_exact(),
        })
    }
}

/// From when on a time is abnormal.
#[derive(Debug, Serialize)]
pub struct LimitAnswer {
    /// The limit, ns.
    pub ns: u64,
    /// Where it comes from.
    pub source: String,
    /// How many are as long or longer.
    pub abnormal: u64,
}

/// What became of a leg since the baseline.
#[derive(Debug, Serialize)]
pub struct Change {
    /// How many there were; 0: the leg is not in the baseline.
    pub count: u64,
    /// Half of all were not longer, ns.
    pub p50: Option<u64>,
    /// What became of it.
    pub p50_verdict: Option<&'static str>,
    /// 99 of 100.
    pub p99: Option<u64>,
    /// What became of it.
    pub p99_verdict: Option<&'static str>,
}

/// What a line is counted by, beside its leg.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum PlainKey {
    /// Nothing else.
    All {},
    /// A device.
    Dev {
        /// Its name.
        dev: Option<String>,
        /// Its namespace, inode.
        netns: Option<u32>,
    },
    /// A namespace, inode.
    Netns {
        /// Its inode.
        netns: Option<u32>,
    },
    /// A CPU.
    Cpu {
        /// Its number.
        cpu: u16,
    },
    /// A queue of a device.
    Queue {
        /// The device.
        dev: Option<String>,
        /// Its namespace, inode.
        netns: Option<u32>,
        /// `skb->queue_mapping`.
        queue: Option<u16>,
    },
    /// A task.
    Task {
        /// Its name; null where none sends or reads.
        comm: Option<String>,
    },
    /// Addresses and ports.
    Flow {
        /// As text.
        flow: String,
    },
    /// Two probes.
    Probes {
        /// Where the leg begins.
        from_probe: String,
        /// Where it ends.
        to_probe: String,
    },
    /// All others, where there was no room.
    Others {
        /// Always true.
        others: bool,
    },
}

impl PlainKey {
    /// A key without the capture.
    fn of(key: &Key<'_>, probes: &[String]) -> Self {
        let text = |name: Name<'_>| name.is_some().then(|| name.text().to_owned());
        let known = |inode: u32| Some(inode).filter(|inode| *inode != 0);
        let probe = |number: u16| probes.get(usize::from(number)).cloned().unwrap_or_default();
        match *key {
            Key::All => Self::All {},
            Key::Dev(at) => Self::Dev { dev: text(at.dev), netns: known(at.netns) },
            Key::Netns(inode) => Self::Netns { netns: known(inode) },
            Key::Cpu(cpu) => Self::Cpu { cpu },
            Key::Queue(at, queue) => Self::Queue { dev: text(at.dev), netns: known(at.netns), queue },
            Key::Task(comm) => Self::Task { comm: text(comm) },
            Key::Flow(flow) => Self::Flow { flow: flow.to_string() },
            Key::Probes(from, to) => Self::Probes { from_probe: probe(from), to_probe: probe(to) },
            Key::Others => Self::Others { others: true },
        }
    }
}

/// How lines are shown.
pub struct Shown<'s> {
    /// What was asked.
    pub args: &'s Latency,
    /// Names of the probes that are asked for.
    pub probes: &'s [String],
    /// When the capture began, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// What the baseline says.
    pub before: Option<&'s Compared>,
}

/// Distributions of the baseline by model and leg.
pub struct Compared(HashMap<(u8, Leg), Distribution>);

impl Compared {
    /// Those that were found.
    pub fn new(legs: Vec<(Group<'_>, Times)>) -> Self {
        Self(legs.into_iter().map(|(group, times)| ((group.model, group.leg), times.all)).collect())
    }

    /// What became of a leg.
    fn change(&self, group: &Group<'_>, now: &Distribution) -> Change {
        let Some(before) = self.0.get(&(group.model, group.leg)).filter(|before| before.count > 0) else {
            return Change { count: 0, p50: None, p50_verdict: None, p99: None, p99_verdict: None };
        };
        let [p50, p99] = before.quantiles([0.5, 0.99]);
        let verdict = |share| Some(Verdict::name(compare(now, before, share)));
        Change {
            count: before.count,
            p50: Some(p50),
            p50_verdict: verdict(0.5),
            p99: Some(p99),
            p99_verdict: verdict(0.99),
        }
    }
}

/// Lines by model: in the order of the way, then of time, then those that took the longest together.
pub fn of(
    question: &Question,
    knowledge: &Knowledge,
    legs: Vec<(Group<'_>, Times)>,
    shown: &Shown<'_>,
) -> Vec<Vec<Line>> {
    let mut by_model: Vec<Vec<(Group<'_>, Times)>> = question.models.iter().map(|_| Vec::new()).collect();
    legs.into_iter().for_each(|(group, times)| by_model[usize::from(group.model)].push((group, times)));
    let models = question.models.iter().zip(by_model);
    models.map(|(model, legs)| of_model(model, question, knowledge, legs, shown)).collect()
}

/// Lines of a model.
fn of_model(
    model: &Model,
    question: &Question,
    knowledge: &Knowledge,
    mut legs: Vec<(Group<'_>, Times)>,
    shown: &Shown<'_>,
) -> Vec<Line> {
    let between = |group: &Group<'_>| group.leg != Leg::Whole;
    let all: u128 = legs.iter().filter(|(group, _)| between(group)).map(|(_, times)| times.all.sum).sum();
    // One leg is the whole way.
    let different: BTreeSet<Leg> =
        legs.iter().map(|(group, _)| group.leg).filter(|leg| *leg != Leg::Whole).collect();
    legs.retain(|(group, _)| between(group) || different.len() > 1);
    legs.sort_by(|(a, of_a), (b, of_b)| {
        let place = (a.leg, a.interval, a.key == Key::Others).cmp(&(b.leg, b.interval, b.key == Key::Others));
        place.then(of_b.all.sum.cmp(&of_a.all.sum)).then(a.key.cmp(&b.key))
    });
    let limit =
        shown.args.filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut lines: Vec<Line> = Vec::new();
    let mut of_same = (None, 0);
    for (group, times) in &legs {
        let place = Some((group.leg, group.interval));
        of_same = if of_same.0 == place { (place, of_same.1 + 1) } else { (place, 1) };
        if of_same.1 > limit {
            continue;
        }
        let share = between(group).then(|| times.all.sum as f64 * 100.0 / all.max(1) as f64);
        lines.push(Line { share, ..line(model, question, knowledge, (group, times), shown) });
    }
    lines
}

/// The line of a group.
fn line(
    model: &Model,
    question: &Question,
    knowledge: &Knowledge,
    (group, times): (&Group<'_>, &Times),
    shown: &Shown<'_>,
) -> Line {
    let name = |stage: u8| Some(model.stages[usize::from(stage)].name.clone());
    let (from, to) = match group.leg {
        Leg::Between(from, to) => (name(from), name(to)),
        Leg::Whole => (None, None),
    };
    let limit = model.limit(group.leg, knowledge).map(|limit| LimitAnswer {
        ns: limit.us.saturating_mul(1000),
        source: limit.source.clone(),
        abnormal: times.abnormal,
    });
    let wants_histogram = shown.args.hist.is_some();
    Line {
        from,
        to,
        interval: question
            .interval
            .filter(|_| group.key != Key::Others)
            .map(|length| shown.start + group.interval.saturating_mul(length)),
        key: PlainKey::of(&group.key, shown.probes),
        count: times.all.count,
        shorter: times.shorter,
        quantiles: Quantiles::of(&times.all),
        share: None,
        limit,
        histogram: if wants_histogram { times.all.powers().collect() } else { Vec::new() },
        baseline: shown.before.map(|before| before.change(group, &times.all)),
    }
}

//! The answer of `ntana latency` as plain data, and its records.

use std::io::Write;

use anyhow::Result;
use ntc::catalog;
use serde::Serialize;

use super::lines::{Line, PlainKey};
use super::text;
use crate::answer::{Answer, Head, Labels, LifeAnswer, Table, optional};
use crate::args::{HistogramStyle, Latency, LatencyBy};
use crate::latency::model::{Model, Stage};
use crate::latency::{Counted, Ends, Question, Slow};

/// The answer about a capture.
#[derive(Debug, Serialize)]
pub struct LatencyAnswer<'a> {
    /// Host, time range, what is missing.
    pub head: Head,
    /// The models that were asked for.
    pub models: Vec<ModelAnswer>,
    /// Whether there were more lines than there is room for; the others are counted together.
    pub lines_at_least: bool,
    /// The slowest packets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<SlowAnswer<'a>>,
    /// How it is shown.
    #[serde(skip)]
    pub shown: Shown,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// What lines are counted by.
    pub by: Option<LatencyBy>,
    /// How histograms are shown.
    pub hist: Option<HistogramStyle>,
    /// What a record of CSV is.
    pub records: Records,
}

/// What a record of CSV is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// A line, or a count of what has no times, which `end` tells.
    Lines,
    /// The same, with what the baseline says.
    Compared,
    /// A slow packet.
    Slow,
}

impl Shown {
    /// As the user wants it.
    pub fn of(args: &Latency) -> Self {
        let records = match (args.worst, &args.baseline) {
            (1.., _) => Records::Slow,
            (0, Some(_)) => Records::Compared,
            (0, None) => Records::Lines,
        };
        Self { by: args.by, hist: args.hist, records }
    }
}

/// What was found of a model.
#[derive(Debug, Serialize)]
pub struct ModelAnswer {
    /// Its name.
    pub model: String,
    /// What it measures.
    pub what: String,
    /// Distributions.
    pub legs: Vec<Line>,
    /// By stage, packets that went no further.
    pub ends: Vec<EndsAnswer>,
    /// Passes of which only the last stage was seen.
    pub unbegun: u64,
    /// Passes during which events were lost; they are in no distribution.
    pub touched_by_loss: u64,
    /// Whether packets that await their reply found no room.
    pub unanswered_at_least: bool,
    /// Stages that were not recorded.
    pub not_recorded: Missing,
    /// Whether it can be measured in this capture.
    pub measurable: bool,
}

/// Packets that went no further than a stage.
#[derive(Debug, Serialize)]
pub struct EndsAnswer {
    /// The stage; null: no reply was found.
    pub stage: Option<String>,
    /// The packet was dropped.
    pub dropped: u64,
    /// The capture ended, or nothing was seen of it for long.
    pub open: u64,
    /// It ended otherwise, or went another way.
    pub elsewhere: u64,
}

impl EndsAnswer {
    /// Those of a stage, if there are any.
    fn of(stage: Option<&str>, ends: Ends) -> Option<Self> {
        let Ends { dropped, open, elsewhere } = ends;
        (ends.all() > 0).then(|| Self { stage: stage.map(str::to_owned), dropped, open, elsewhere })
    }
}

/// Stages that were not recorded.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// Their names.
    pub stages: Vec<String>,
    /// Probes that would have recorded them, those of one stage next to each other.
    pub probes: Vec<String>,
    /// The smallest profile of the recorder that has a probe of each.
    pub profile: Option<&'static str>,
    /// Those of the stages that the kernel has no probe of.
    pub not_in_kernel: Vec<String>,
}

impl Missing {
    /// Those of a model.
    pub fn of(model: &Model) -> Self {
        let (mut stages, mut probes, mut not_in_kernel) = (Vec::new(), Vec::new(), Vec::new());
        for stage in model.missing() {
            match stage.offered.is_empty() {
                true => not_in_kernel.push(stage.name.clone()),
                false => stages.push(stage.name.clone()),
            }
            probes.extend(
                stage.offered.iter().filter(|probe| !probes.contains(*probe)).cloned().collect::<Vec<_>>(),
            );
        }
        Self { stages, probes, profile: profile(model), not_in_kernel }
    }

    /// Why a model cannot be measured.
    pub fn sentence(&self, model: &str) -> String {
        let Self { stages, probes, not_in_kernel, .. } = self;
        let kernel = match not_in_kernel.as_slice() {
            [] => String::new(),
            names => format!("; the recorded kernel has no probe of {}", names.join(", ")),
        };
        if stages.is_empty() {
            return format!("{model} cannot be measured here{kernel}");
        }
        format!(
            "{model} cannot be measured here: {} was not recorded, which `ntrec capture --probe {}` does{kernel}",
            stages.join(", "),
            probes.join(",")
        )
    }
}

/// The smallest profile of the recorder that has a probe of each stage that was not recorded, where one has.
fn profile(model: &Model) -> Option<&'static str> {
    let of_probe = |probe: &String| Some(catalog::by_name(probe)?.profile);
    let of_stage = |stage: &Stage| stage.offered.iter().filter_map(of_probe).min();
    let stages = model.missing().filter(|stage| !stage.offered.is_empty());
    let all: Vec<_> = stages.map(of_stage).collect::<Option<_>>()?;
    all.into_iter().max().map(catalog::Profile::name)
}

/// A slow packet.
#[derive(Debug, Serialize)]
pub struct SlowAnswer<'a> {
    /// How long it took, ns.
    pub ns: u64,
    /// The model.
    pub model: String,
    /// Where that began.
    pub from: String,
    /// Where it ended.
    pub to: String,
    /// When it began, ns of CLOCK_MONOTONIC.
    pub begin: u64,
    /// When it ended.
    pub end: u64,
    /// Its life.
    pub life: LifeAnswer<'a>,
}

impl<'a> SlowAnswer<'a> {
    /// A slow packet with its life.
    pub fn new(model: &Model, slow: &Slow<'_>, life: LifeAnswer<'a>) -> Self {
        let name = |stage: u8| model.stages[usize::from(stage)].name.clone();
        Self {
            ns: slow.ns,
            model: model.name.clone(),
            from: name(slow.from.stage),
            to: name(slow.to.stage),
            begin: slow.from.seen.ts,
            end: slow.to.seen.ts,
            life: LifeAnswer { latency: true, ..life },
        }
    }
}

/// What all captures have.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// Captures.
    pub captures: u64,
    /// Legs that were counted.
    pub legs: u64,
}

/// Models with their lines.
pub fn models(question: &Question, counted: Vec<Counted>, lines: Vec<Vec<Line>>) -> Vec<ModelAnswer> {
    let all = question.models.iter().zip(counted).zip(lines);
    all.map(|((model, counted), legs)| of_model(model, &counted, legs)).collect()
}

/// A model with its lines.
fn of_model(model: &Model, counted: &Counted, legs: Vec<Line>) -> ModelAnswer {
    let ends = model.stages.iter().zip(&counted.ends);
    let ends = ends.filter_map(|(stage, ends)| EndsAnswer::of(Some(&stage.name), *ends));
    ModelAnswer {
        model: model.name.clone(),
        what: model.what.clone(),
        legs,
        ends: ends.chain(EndsAnswer::of(None, counted.unanswered)).collect(),
        unbegun: counted.unbegun,
        touched_by_loss: counted.touched_by_loss,
        unanswered_at_least: counted.cut,
        not_recorded: Missing::of(model),
        measurable: model.can_be_measured(),
    }
}

impl LatencyAnswer<'_> {
    /// Legs that were counted, each whole way apart.
    pub fn legs(&self) -> u64 {
        let lines = self.models.iter().flat_map(|model| &model.legs);
        lines.filter(|line| line.from.is_some()).map(|line| line.count).sum()
    }
}

/// What the baseline says, in CSV.
const BASELINE: [&str; 5] = ["baseline_count", "baseline_p50", "p50_verdict", "baseline_p99", "p99_verdict"];

/// The names of the columns of CSV.
pub fn columns(shown: Shown) -> Vec<&'static str> {
    let before = ["host", "model", "from", "to", "interval"];
    let times =
        ["count", "shorter", "min", "p50", "p90", "p99", "p99_9", "max", "mean", "sum", "exact", "share"];
    let after = ["limit", "abnormal", "end", "others"];
    let lines = before.into_iter().chain(keys(shown.by).iter().copied()).chain(times).chain(after);
    match shown.records {
        Records::Lines => lines.collect(),
        Records::Compared => lines.chain(BASELINE).collect(),
        Records::Slow => {
            vec!["host", "model", "from", "to", "ns", "begin", "end", "skb", "flow", "outcome"]
        }
    }
}

/// The columns of what lines are counted by.
fn keys(by: Option<LatencyBy>) -> &'static [&'static str] {
    match by {
        None => &[],
        Some(LatencyBy::Dev) => &["dev", "netns"],
        Some(LatencyBy::Netns) => &["netns"],
        Some(LatencyBy::Cpu) => &["cpu"],
        Some(LatencyBy::Queue) => &["dev", "netns", "queue"],
        Some(LatencyBy::Comm) => &["comm"],
        Some(LatencyBy::Flow) => &["flow"],
        Some(LatencyBy::Probe) => &["from_probe", "to_probe"],
    }
}

impl PlainKey {
    /// Its fields in CSV.
    fn fields(&self, by: Option<LatencyBy>) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self {
            Self::All {} | Self::Others { .. } => vec![String::new(); keys(by).len()],
            Self::Dev { dev, netns } => vec![text(dev), optional(*netns)],
            Self::Netns { netns } => vec![optional(*netns)],
            Self::Cpu { cpu } => vec![cpu.to_string()],
            Self::Queue { dev, netns, queue } => vec![text(dev), optional(*netns), optional(*queue)],
            Self::Task { comm } => vec![text(comm)],
            Self::Flow { flow } => vec![flow.clone()],
            Self::Probes { from_probe, to_probe } => vec![from_probe.clone(), to_probe.clone()],
        }
    }
}

impl Answer for LatencyAnswer<'_> {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        text::write(self, labels, out)
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        if self.shown.records == Records::Slow {
            return self.worst.iter().try_for_each(|slow| slow.record(labels, table));
        }
        self.models.iter().try_for_each(|model| {
            model.legs.iter().try_for_each(|line| self.record(model, line, labels, table))?;
            self.other_records(model, labels, table)
        })
    }
}

impl LatencyAnswer<'_> {
    /// The record of a line.
    fn record(&self, model: &ModelAnswer, line: &Line, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let before = [
            labels.host.clone(),
            model.model.clone(),
            text(&line.from),
            text(&line.to),
            optional(line.interval),
        ];
        let of = |value: fn(&super::lines::Quantiles) -> u64| optional(line.quantiles.as_ref().map(value));
        let times = [
            line.count.to_string(),
            line.shorter.to_string(),
            of(|q| q.min),
            of(|q| q.p50),
            of(|q| q.p90),
            of(|q| q.p99),
            of(|q| q.p99_9),
            of(|q| q.max),
            of(|q| q.mean),
            of(|q| q.sum),
            optional(line.quantiles.map(|q| q.exact)),
            optional(line.share.map(|share| format!("{share:.3}"))),
        ];
        let limit = line.limit.as_ref();
        let after = [optional(limit.map(|l| l.ns)), optional(limit.map(|l| l.abnormal)), String::new()];
        let others = matches!(line.key, PlainKey::Others { .. }).to_string();
        let baseline = line.baseline.iter().flat_map(|change| {
            let text = |text: Option<&'static str>| text.unwrap_or_default().to_owned();
            let (p50, p99) = (optional(change.p50), optional(change.p99));
            [change.count.to_string(), p50, text(change.p50_verdict), p99, text(change.p99_verdict)]
        });
        let fields = before.into_iter().chain(line.key.fields(self.shown.by)).chain(times).chain(after);
        table.record(fields.chain([others]).chain(baseline))
    }

    /// The records of what has no times.
    fn other_records(&self, model: &ModelAnswer, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        let baseline = if self.shown.records == Records::Compared { BASELINE.len() } else { 0 };
        let mut record = |stage: &str, why: &str, count: u64| {
            let before = [labels.host.as_str(), &model.model, stage, "", ""].map(str::to_owned);
            let between = vec![String::new(); keys(self.shown.by).len()];
            let times = [count.to_string()].into_iter().chain(vec![String::new(); 13]);
            let after = [why.to_owned(), "false".to_owned()].into_iter().chain(vec![String::new(); baseline]);
            if count == 0 {
                Ok(())
            } else {
                table.record(before.into_iter().chain(between).chain(times).chain(after))
            }
        };
        for ends in &model.ends {
            let stage = ends.stage.as_deref().unwrap_or_default();
            let unanswered = if ends.stage.is_none() { "unanswered-" } else { "" };
            for (why, count) in
                [("dropped", ends.dropped), ("open", ends.open), ("elsewhere", ends.elsewhere)]
            {
                record(stage, &format!("{unanswered}{why}"), count)?;
            }
        }
        record("", "unbegun", model.unbegun)?;
        record("", "touched_by_loss", model.touched_by_loss)
    }
}

impl SlowAnswer<'_> {
    /// Its record.
    fn record(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        let numbers = [self.ns, self.begin, self.end].map(|number| number.to_string());
        let before = [labels.host.clone(), self.model.clone(), self.from.clone(), self.to.clone()];
        let life = [self.life.skb.clone(), self.life.flow.clone(), self.life.outcome.kind.to_owned()];
        table.record(before.into_iter().chain(numbers).chain(life))
    }
}

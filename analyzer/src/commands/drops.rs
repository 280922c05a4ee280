//! `ntana drops`: drops by reason and place, flow, device or stack.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use ahash::AHashMap;
use anyhow::{Result, bail};
use serde::{Serialize, Serializer};

use super::exit_code;
use crate::answer::render;
use crate::answer::{Answer, Head, Labels, Output, Table, optional};
use crate::args::{self, By};
use crate::event::{Effect, Flow, Snapshot};
use crate::knowledge::{Knowledge, Severity, function_of};
use crate::lifecycle::{self, Keep, Lives};
use crate::names::{Name, Names};
use crate::numbers::{Count, counted, grouped, percent};
use crate::scan::Scan;
use crate::source::{Source, for_each_source};

/// Lines that are counted at most; drops of further ones are counted together.
const MAX_LINES: usize = 64 << 10;

/// What a line counts; nothing in the line of all that came when there were too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct LineKey<'a> {
    /// Whether it counts all others.
    others: bool,
    /// Drop reason.
    reason: Name<'a>,
    /// Function, device or stack.
    place: Name<'a>,
    /// Namespace of a device.
    netns: u32,
    /// Flow.
    flow: Flow<'a>,
}

/// Drops of one kind.
#[derive(Clone, Debug, Serialize)]
struct Line {
    /// How bad they are.
    severity: Severity,
    /// Drop reason; none where lines were too many and these are all others.
    reason: Option<String>,
    /// What they are counted by.
    #[serde(flatten)]
    key: Key,
    /// How many.
    count: u64,
    /// Share of all that are shown, percent.
    share: f64,
    /// First, ns of CLOCK_MONOTONIC.
    first: u64,
    /// Last.
    last: u64,
}

/// What drops are counted by, beside the reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
enum Key {
    /// Those that came when there were too many lines.
    Others {
        /// Always true.
        others: bool,
    },
    /// Nothing else.
    Reason {},
    /// The function that dropped.
    Function {
        /// Its name.
        function: Option<String>,
    },
    /// A stack of the kernel.
    Stack {
        /// Folded, innermost first.
        stack: Option<String>,
    },
    /// A device.
    Device {
        /// Its name.
        dev: Option<String>,
        /// Its namespace, inode.
        netns: Option<u32>,
    },
    /// Addresses and ports.
    Flow {
        /// As text.
        flow: String,
    },
}

/// Drops of one capture.
#[derive(Debug, Serialize)]
struct Drops {
    /// Host, time range, what is missing.
    head: Head,
    /// Drops that are shown.
    drops: u64,
    /// Drops of healthy traffic that are left out.
    left_out: u64,
    /// Different lines, of which `lines` has the first.
    #[serde(flatten, serialize_with = "different")]
    different: Count,
    /// By the key that was asked for, most frequent first.
    lines: Vec<Line>,
    /// The key that was asked for.
    #[serde(skip)]
    by: By,
}

/// The members `different` and `different_at_least` (serde).
fn different<S: Serializer>(count: &Count, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    count.members("different", "different_at_least", serializer)
}

/// Drops of all captures.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// Drops.
    drops: u64,
}

/// Runs the command.
pub fn run(args: &args::Drops, out: &mut dyn Write) -> Result<ExitCode> {
    if !args.filter.outcome.is_empty() {
        bail!("--outcome is about lives, and all of these are dropped: use `ntana trace`");
    }
    if !args.filter.table.is_empty() || !args.filter.chain.is_empty() {
        bail!(
            "--table and --chain are about lives, a drop itself has none: use `ntana trace` or `ntana diag`"
        );
    }
    let knowledge = Knowledge::load(&args.input.rules)?;
    let mut output = Output::begin(args.input.format, &columns(args.by), out)?;
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, &knowledge, args)?;
        totals.captures += 1;
        totals.drops += answer.drops;
        output.capture(&answer, &source.labels())
    })?;
    let Totals { captures, drops } = totals;
    output.finish(&totals, &format!("{} in {}", counted(drops, "drop"), counted(captures, "capture")))?;
    Ok(exit_code(all))
}

/// Counts while events come.
struct Counting<'a> {
    /// The capture's names.
    names: &'a Names,
    /// The tables.
    knowledge: &'a Knowledge,
    /// Lines with the severity, count, first and last time.
    lines: AHashMap<LineKey<'a>, (Severity, u64, u64, u64)>,
    /// Severities by reason and location.
    severities: AHashMap<(&'a str, Name<'a>), Severity>,
    /// Drops that are left out.
    left_out: u64,
}

impl<'a> Counting<'a> {
    /// Has counted nothing yet.
    fn new(names: &'a Names, knowledge: &'a Knowledge) -> Self {
        let (lines, severities) = (AHashMap::default(), AHashMap::default());
        Self { names, knowledge, lines, severities, left_out: 0 }
    }

    /// Counts a drop.
    fn add(&mut self, event: &Snapshot<'a>, flow: Flow<'a>, args: &args::Drops) {
        let knowledge = self.knowledge;
        let reason = knowledge.reason(event);
        let known = self.severities.entry((reason, event.location));
        let severity = *known.or_insert_with(|| knowledge.drop(reason, event.location.text()).severity);
        if severity == Severity::Normal && !args.all {
            self.left_out += 1;
            return;
        }
        let mut key = self.key_of(event, flow, args.by);
        if self.lines.len() >= MAX_LINES && !self.lines.contains_key(&key) {
            key = LineKey { others: true, ..LineKey::default() };
        }
        let line = self.lines.entry(key).or_insert((severity, 0, event.ts, event.ts));
        line.0 = line.0.max(severity);
        line.1 += 1;
        line.3 = line.3.max(event.ts);
    }

    /// What a drop is counted by.
    fn key_of(&self, event: &Snapshot<'a>, flow: Flow<'a>, by: By) -> LineKey<'a> {
        let key = LineKey { reason: event.reason, ..LineKey::default() };
        match by {
            By::Reason => key,
            By::Location => LineKey { place: self.names.name(function_of(event.location.text())), ..key },
            By::Stack => LineKey { place: event.stack, ..key },
            By::Dev => LineKey { place: event.at.dev, netns: event.at.netns, ..key },
            By::Flow => LineKey { flow, ..key },
        }
    }
}

/// Counts the drops of a capture.
fn answer(source: &Source, knowledge: &Knowledge, args: &args::Drops) -> Result<Drops> {
    let Counting { lines: counted, left_out, .. } = count(source, knowledge, args)?;
    let drops = counted.values().map(|l| l.1).sum();
    let others = counted.keys().any(|key| key.others);
    let different = Count::new(counted.len() as u64, others);
    let mut lines: Vec<Line> = counted
        .into_iter()
        .map(|(key, (severity, count, first, last))| Line {
            severity,
            reason: known(key.reason),
            key: plain(&key, args.by),
            count,
            share: percent(count, drops),
            first,
            last,
        })
        .collect();
    lines.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.reason, &a.key).cmp(&(&b.reason, &b.key))));
    lines.truncate(args.filter.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX)));
    Ok(Drops { head: source.head(), drops, left_out, different, lines, by: args.by })
}

/// A key as plain data.
fn plain(key: &LineKey<'_>, by: By) -> Key {
    match by {
        _ if key.others => Key::Others { others: true },
        By::Reason => Key::Reason {},
        By::Location => Key::Function { function: known(key.place) },
        By::Stack => Key::Stack { stack: known(key.place) },
        By::Dev => Key::Device { dev: known(key.place), netns: Some(key.netns).filter(|inode| *inode != 0) },
        By::Flow => Key::Flow { flow: key.flow.to_string() },
    }
}

/// A text, unless there is none.
fn known(text: Name<'_>) -> Option<String> {
    text.is_some().then(|| text.text().to_owned())
}

/// Counts while events come. Lives are rebuilt for the flow of drops without a header, and for `--outcome`-free
/// filters on it.
fn count<'a>(source: &'a Source, knowledge: &'a Knowledge, args: &args::Drops) -> Result<Counting<'a>> {
    let filter = &source.filter;
    let mut counting = Counting::new(&source.names, knowledge);
    let mut lives = Lives::new(&source.names, knowledge, &source.losses, Keep::Summary);
    let columns = lifecycle::COLUMNS.into_iter().chain(filter.columns());
    Scan::new(columns, filter.range()).for_each(source, |event| {
        if matches!(event.effect, Effect::Drop | Effect::HardwareDrop) {
            let known = lives.flow_at(event.skb).unwrap_or_default();
            if filter.event(event, &known) {
                let flow = if event.has_addresses() { event.flow() } else { known };
                counting.add(&Snapshot::of(event), flow, args);
            }
        }
        lives.push(event, &mut |_| {});
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counting)
}

/// The names of the columns of CSV.
fn columns(by: By) -> Vec<&'static str> {
    let keys: &[&str] = match by {
        By::Reason => &[],
        By::Location => &["function"],
        By::Stack => &["stack"],
        By::Dev => &["dev", "netns"],
        By::Flow => &["flow"],
    };
    let (before, after) = (["host", "severity", "reason"], ["count", "share", "first", "last", "others"]);
    before.into_iter().chain(keys.iter().copied()).chain(after).collect()
}

impl Answer for Drops {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        if !self.lines.is_empty() {
            let header = format!(
                "{:>10} {:>6}  {:<8} {:<15} {:<15} {:<28} {}",
                "DROPS",
                "SHARE",
                "SEVERITY",
                "FIRST",
                "LAST",
                "REASON",
                title(self.by)
            );
            writeln!(out, "{}", header.trim_end())?;
        }
        self.lines.iter().try_for_each(|line| write_line(line, labels, out))?;
        let hidden = self.different.value.saturating_sub(self.lines.len() as u64);
        let hidden = match Count::new(hidden, self.different.at_least) {
            Count { value: 0, .. } => String::new(),
            count => format!("; {} not shown (--limit)", count.of("line")),
        };
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!("; {} of healthy traffic left out (--all shows them)", grouped(n)),
        };
        Ok(writeln!(out, "{}{hidden}{left_out}", counted(self.drops, "drop"))?)
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        self.lines.iter().try_for_each(|line| {
            let before = [&labels.host, line.severity.name(), line.reason.as_deref().unwrap_or_default()];
            let after = [line.count.to_string(), format!("{:.3}", line.share)];
            let times = [line.first.to_string(), line.last.to_string()];
            let others = matches!(line.key, Key::Others { .. }).to_string();
            before.into_iter().try_for_each(|field| table.field(field))?;
            line.key.fields(self.by).iter().try_for_each(|field| table.field(field))?;
            after.iter().chain(&times).chain([&others]).try_for_each(|field| table.field(field))?;
            table.end_record()
        })
    }
}

impl Key {
    /// Its fields in CSV.
    fn fields(&self, by: By) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self {
            Self::Others { .. } => vec![String::new(); columns(by).len() - columns(By::Reason).len()],
            Self::Reason {} => Vec::new(),
            Self::Function { function } => vec![text(function)],
            Self::Stack { stack } => vec![text(stack)],
            Self::Device { dev, netns } => vec![text(dev), optional(*netns)],
            Self::Flow { flow } => vec![flow.clone()],
        }
    }

    /// As people read it.
    fn show(&self, labels: &Labels) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        match self {
            Self::Others { .. } => "all others".into(),
            Self::Reason {} => String::new(),
            Self::Function { function } => or_dash(function),
            Self::Stack { stack } => {
                render::stack(stack.as_deref().unwrap_or_default()).collect::<Vec<_>>().join(" < ")
            }
            Self::Device { dev, netns } => labels.device(dev.as_deref(), *netns),
            Self::Flow { flow } => flow.clone(),
        }
    }
}

/// The title of the column of what drops are counted by.
fn title(by: By) -> &'static str {
    match by {
        By::Location => "FUNCTION",
        By::Reason => "",
        By::Stack => "STACK",
        By::Dev => "DEVICE",
        By::Flow => "FLOW",
    }
}

/// Writes a line of the table.
fn write_line(line: &Line, labels: &Labels, out: &mut dyn Write) -> Result<()> {
    let (first, last) = (labels.times.show(line.first), labels.times.show(line.last));
    let (count, severity) = (grouped(line.count), line.severity.name());
    let reason = match line.key {
        Key::Others { .. } => "(too many lines)",
        _ => line.reason.as_deref().unwrap_or("-"),
    };
    let text = format!(
        "{count:>10} {:>5.1}%  {severity:<8} {first:<15} {last:<15} {reason:<28} {}",
        line.share,
        line.key.show(labels)
    );
    Ok(writeln!(out, "{}", text.trim_end())?)
}

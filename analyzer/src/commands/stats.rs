//! `ntana stats`: events and their bytes, counted by the values of any columns, and by time.

use std::io::Write;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::process::ExitCode;

use ahash::AHashMap;
use anyhow::{Context, Result, bail};
use ntc::schema::Type;
use ntc::{ColumnId, Value};
use serde::{Serialize, Serializer};

use super::{column, exit_code};
use crate::address::Addr;
use crate::answer::{self, Answer, Head, Labels, Output, Table, optional};
use crate::args;
use crate::event::{Effect, Event, Flow};
use crate::lifecycle;
use crate::loss::Losses;
use crate::names::Name;
use crate::numbers::{Count, counted, grouped, percent};
use crate::scan::Scan;
use crate::source::{Source, for_each_source};

/// Groups that are counted at most; events of further ones are counted together.
const MAX_GROUPS: usize = 64 << 10;

/// A value that events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Cell<'a> {
    /// No value.
    Null,
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// A text.
    Text(Name<'a>),
    /// An address of a packet, socket or neighbour.
    Address(Addr),
}

/// What events are counted by.
struct Key {
    /// Columns.
    columns: Vec<ColumnId>,
    /// Length of an interval, ns, where they are counted by time, too.
    interval: Option<NonZeroU64>,
    /// When the first interval begins, ns of CLOCK_MONOTONIC.
    start: u64,
}

/// What was counted of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Events.
    events: u64,
    /// Sum of their lengths, bytes; none where no event has a length.
    bytes: Option<u64>,
}

/// A group of events.
#[derive(Clone, Debug, Serialize)]
struct Line {
    /// When its interval begins, ns of CLOCK_MONOTONIC.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u64>,
    /// Whether events were lost in its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    touched_by_loss: Option<bool>,
    /// The values that its events have in the columns.
    #[serde(flatten)]
    values: answer::Row<'static>,
    /// Whether these are all events that came when there were too many groups.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    others: bool,
    /// How many.
    events: u64,
    /// Share of all that were counted, percent.
    share: f64,
    /// Sum of their lengths, bytes.
    bytes: Option<u64>,
}

/// Events of one capture.
#[derive(Debug, Serialize)]
struct Stats {
    /// Host, time range, what is missing.
    head: Head,
    /// Events that were counted.
    events: u64,
    /// Sum of their lengths, bytes.
    bytes: Option<u64>,
    /// Rows that the recorder wrote of its own: samples of clocks, and losses.
    left_out: u64,
    /// Different groups, of which `groups` has the first.
    #[serde(flatten, serialize_with = "different")]
    different: Count,
    /// By time, and then the most frequent first.
    groups: Vec<Line>,
    /// The columns that were asked for.
    #[serde(skip)]
    columns: Vec<ColumnId>,
}

/// The members `different` and `different_at_least` (serde).
fn different<S: Serializer>(count: &Count, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    count.members("different", "different_at_least", serializer)
}

/// Events of all captures.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// Events.
    events: u64,
    /// Bytes.
    bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: &args::Stats, out: &mut dyn Write) -> Result<ExitCode> {
    if !args.filter.outcome.is_empty() {
        bail!("--outcome is about lives, not events: use `ntana trace`");
    }
    let columns = columns(args)?;
    let interval = interval(args)?;
    let mut output = Output::begin(args.input.format, &names(&columns), out)?;
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let key = Key { columns: columns.clone(), interval, start: source.head().start };
        let answer = answer(source, key)?;
        totals.captures += 1;
        totals.events += answer.events;
        totals.bytes = sum(totals.bytes, answer.bytes);
        output.capture(&answer, &source.labels())
    })?;
    let Totals { captures, events, bytes } = totals;
    let line = format!("{}{} in {}", counted(events, "event"), of_bytes(bytes), counted(captures, "capture"));
    output.finish(&totals, &line)?;
    Ok(exit_code(all))
}

/// The columns to count by; the probe where nothing was asked for.
fn columns(args: &args::Stats) -> Result<Vec<ColumnId>> {
    if args.by.is_empty() && args.interval.is_none() {
        return Ok(vec![ColumnId::Probe]);
    }
    let mut columns: Vec<ColumnId> = Vec::new();
    for name in &args.by {
        let id = column(name)?;
        if id.column().kind == Type::Bytes {
            bail!("the column `{name}` holds raw bytes, by which nothing is counted");
        }
        if !columns.contains(&id) {
            columns.push(id);
        }
    }
    Ok(columns)
}

/// The length of an interval, ns.
fn interval(args: &args::Stats) -> Result<Option<NonZeroU64>> {
    let Some(asked) = args.interval else { return Ok(None) };
    let ns = u64::try_from(asked.as_nanos()).ok().and_then(NonZeroU64::new);
    Ok(Some(ns.context("--interval 0 is no interval: give a time such as 1s")?))
}

/// The names of the columns of CSV.
fn names(columns: &[ColumnId]) -> Vec<&'static str> {
    let keys = columns.iter().map(|column| column.name());
    let after = ["events", "share", "bytes", "touched_by_loss", "others"];
    ["host", "interval"].into_iter().chain(keys).chain(after).collect()
}

/// A sum of which parts may not be known.
fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (known, None) | (None, known) => known,
    }
}

impl Key {
    /// The values of an event, the number of its interval first where there are intervals.
    fn read<'a>(&self, event: &Event<'_, 'a>, cells: &mut Vec<Cell<'a>>) {
        cells.clear();
        cells.extend(self.interval.map(|ns| Cell::Number(event.ts.saturating_sub(self.start) / ns)));
        cells.extend(self.columns.iter().map(|id| Cell::of(event, *id)));
    }

    /// The columns that are read.
    fn scanned(&self) -> impl Iterator<Item = ColumnId> {
        self.columns.iter().copied().chain([ColumnId::Len])
    }

    /// First and last moment of the interval of a group.
    fn span(&self, cells: &[Cell<'_>]) -> Option<(u64, u64)> {
        let (Some(ns), Some(Cell::Number(number))) = (self.interval, cells.first()) else { return None };
        let first = self.start.saturating_add(number.saturating_mul(ns.get()));
        Some((first, first.saturating_add(ns.get() - 1)))
    }

    /// A group as plain data.
    fn line(&self, cells: &[Cell<'_>], sums: Sums, all: u64, losses: &Losses) -> Line {
        let span = self.span(cells);
        let values = &cells[usize::from(span.is_some())..];
        let mut row = answer::Row::default();
        self.columns.iter().zip(values).for_each(|(column, cell)| cell.put(column.name(), &mut row));
        Line {
            interval: span.map(|(first, _)| first),
            touched_by_loss: span.map(|(first, last)| losses.overlap(first, last)),
            values: row,
            ..Line::of(sums, all)
        }
    }
}

impl<'a> Cell<'a> {
    /// The value of a column.
    fn of(event: &Event<'_, 'a>, id: ColumnId) -> Self {
        match id {
            ColumnId::Saddr => Self::address(event.saddr()),
            ColumnId::Daddr => Self::address(event.daddr()),
            _ if id.column().kind == Type::Text => Self::text(event.name(id)),
            _ => Self::number(event.value(id)),
        }
    }

    /// An address, if there is one.
    fn address(address: Addr) -> Self {
        if address.is_none() { Self::Null } else { Self::Address(address) }
    }

    /// A text, if there is one.
    fn text(name: Name<'a>) -> Self {
        if name.is_none() { Self::Null } else { Self::Text(name) }
    }

    /// A number, if there is one.
    fn number(value: Option<Value<'_>>) -> Self {
        match value {
            Some(Value::Unsigned(number)) => Self::Number(number),
            Some(Value::Signed(number)) => Self::Signed(number),
            Some(Value::Bool(truth)) => Self::Number(truth.into()),
            Some(Value::Text(_) | Value::Bytes(_)) | None => Self::Null,
        }
    }

    /// Adds it to a row.
    fn put(self, column: &'static str, row: &mut answer::Row<'static>) {
        match self {
            Self::Null => {}
            Self::Number(number) => row.put_number(column, number),
            Self::Signed(number) => row.put_signed(column, number),
            Self::Text(name) => row.put_text(column, name.text().to_owned()),
            Self::Address(address) => row.put_text(column, address.to_string()),
        }
    }
}

impl Sums {
    /// Adds an event.
    fn add(&mut self, event: &Event<'_, '_>) {
        self.events += 1;
        self.bytes = sum(self.bytes, event.u32(ColumnId::Len).map(u64::from));
    }
}

impl Line {
    /// The line of sums, without a key.
    fn of(sums: Sums, all: u64) -> Self {
        Self {
            interval: None,
            touched_by_loss: None,
            values: answer::Row::default(),
            others: false,
            events: sums.events,
            share: percent(sums.events, all),
            bytes: sums.bytes,
        }
    }
}

/// Counts while events come.
#[derive(Default)]
struct Counting<'a> {
    /// Groups by their values.
    groups: AHashMap<Box<[Cell<'a>]>, Sums>,
    /// Events that came when there were too many groups.
    others: Sums,
    /// All events.
    all: Sums,
    /// The recorder's own rows.
    left_out: u64,
}

impl<'a> Counting<'a> {
    /// Counts an event.
    fn add(&mut self, event: &Event<'_, 'a>, cells: &[Cell<'a>]) {
        self.all.add(event);
        let full = self.groups.len() >= MAX_GROUPS;
        match self.groups.get_mut(cells) {
            Some(group) => group.add(event),
            None if full => self.others.add(event),
            None => self.groups.entry(cells.into()).or_default().add(event),
        }
    }
}

/// Counts the events of a capture that pass the filter.
fn count<'a>(source: &'a Source, key: &Key) -> Result<Counting<'a>> {
    let filter = &source.filter;
    let (mut counting, mut cells) = (Counting::default(), Vec::new());
    // Those of lives are the ones that filters look at.
    let filtered = lifecycle::COLUMNS.into_iter().filter(|_| !filter.takes_all());
    let columns = key.scanned().chain(filtered).chain(filter.columns());
    Scan::new(columns, filter.range()).for_each(source, |event| {
        if filter.event(event, &Flow::default()) {
            if matches!(event.effect, Effect::Clock | Effect::Loss) {
                counting.left_out += 1;
            } else {
                key.read(event, &mut cells);
                counting.add(event, &cells);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counting)
}

/// Answers for a capture.
fn answer(source: &Source, key: Key) -> Result<Stats> {
    let Counting { groups, others, all, left_out } = count(source, &key)?;
    let more = others.events > 0;
    let different = Count::new(groups.len() as u64 + u64::from(more), more);
    let mut sorted: Vec<(Box<[Cell<'_>]>, Sums)> = groups.into_iter().collect();
    let by_time = usize::from(key.interval.is_some());
    sorted.sort_unstable_by(|(a, x), (b, y)| {
        a[..by_time].cmp(&b[..by_time]).then(y.events.cmp(&x.events)).then_with(|| a.cmp(b))
    });
    let limit = source.filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let lines = sorted.iter().map(|(cells, sums)| key.line(cells, *sums, all.events, &source.losses));
    let others = more.then(|| Line { others: true, ..Line::of(others, all.events) });
    Ok(Stats {
        head: source.head(),
        events: all.events,
        bytes: all.bytes,
        left_out,
        different,
        groups: lines.chain(others).take(limit).collect(),
        columns: key.columns,
    })
}

/// A sum of bytes, for people: `, 1,024 bytes`.
fn of_bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", {}", counted(bytes, "byte")))
}

impl Stats {
    /// The title of each column of the text, and its cells: time and values.
    fn keys(&self, labels: &Labels) -> Vec<Vec<String>> {
        let by_time = self.groups.iter().any(|line| line.interval.is_some());
        let time = |line: &Line| line.interval.map_or_else(String::new, |at| labels.times.show(at));
        let time = by_time.then(|| titled("FROM", self.groups.iter().map(time)));
        let values = self.columns.iter().map(|column| {
            let cells = self.groups.iter().map(|line| line.show(*column, labels));
            titled(&column.name().to_uppercase(), cells)
        });
        time.into_iter().chain(values).collect()
    }

    /// What the last line says beside the sums.
    fn remarks(&self) -> String {
        let hidden = self.different.value.saturating_sub(self.groups.len() as u64);
        let hidden = match Count::new(hidden, self.different.at_least) {
            Count { value: 0, .. } => String::new(),
            count => format!("; {} not shown (--limit)", count.of("group")),
        };
        match self.left_out {
            0 => hidden,
            n => format!(
                "{hidden}; {} of the recorder's own left out (kinds clock and loss)",
                counted(n, "row")
            ),
        }
    }
}

/// A column of the text: its title and its cells, all of one width.
fn titled(title: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    let column: Vec<String> = std::iter::once(title.to_owned()).chain(cells).collect();
    let width = column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    column.iter().map(|cell| format!("{cell:<width$}")).collect()
}

impl Line {
    /// Its value of a column as people read it.
    fn show(&self, column: ColumnId, labels: &Labels) -> String {
        match (self.values.get(column.name()), column) {
            _ if self.others => "(others)".into(),
            (None, _) => "-".into(),
            (Some(answer::Value::Number(inode)), ColumnId::Netns) => {
                u32::try_from(*inode).map_or_else(|_| inode.to_string(), |inode| labels.netns(inode))
            }
            (Some(value), _) => value.to_string(),
        }
    }

    /// Its sums as people read them.
    fn sums(&self) -> String {
        let bytes = self.bytes.map_or_else(|| "-".to_owned(), grouped);
        format!("{:>12} {:>5.1}% {bytes:>15}", grouped(self.events), self.share)
    }
}

impl Answer for Stats {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        let sums = self.groups.iter().map(Line::sums);
        let title = format!("{:>12} {:>6} {:>15}", "EVENTS", "SHARE", "BYTES");
        let keys = self.keys(labels);
        let lossy = self.groups.iter().map(|line| line.touched_by_loss == Some(true));
        let lines = std::iter::once(title).chain(sums).zip(std::iter::once(false).chain(lossy));
        for (at, (sums, lossy)) in lines.enumerate().filter(|_| !self.groups.is_empty()) {
            let cells: Vec<&str> = keys.iter().map(|column| column[at].as_str()).collect();
            let lossy = if lossy { "  ! events were lost" } else { "" };
            writeln!(out, "{}", format!("{sums}  {}{lossy}", cells.join("  ")).trim_end())?;
        }
        let (events, bytes) = (counted(self.events, "event"), of_bytes(self.bytes));
        Ok(writeln!(out, "{events}{bytes}{}", self.remarks())?)
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        self.groups.iter().try_for_each(|line| {
            table.field(&labels.host)?;
            table.field(&optional(line.interval))?;
            self.columns
                .iter()
                .try_for_each(|column| table.field(&optional(line.values.get(column.name()))))?;
            let (share, loss) = (format!("{:.3}", line.share), optional(line.touched_by_loss));
            let sums = [line.events.to_string(), share, optional(line.bytes), loss, line.others.to_string()];
            sums.iter().try_for_each(|field| table.field(field))?;
            table.end_record()
        })
    }
}

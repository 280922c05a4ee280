//! `ntana drops`: drops by reason and place, flow, device or stack.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::exit_code;
use super::json::Document;
use crate::args::{self, By, Format};
use crate::event::{Event, Flow, Hook};
use crate::knowledge::{Knowledge, Severity, function_of};
use crate::lifecycle::{Keep, Lives};
use crate::numbers::{counted, grouped, percent};
use crate::render;
use crate::source::{Head, Source, for_each_source, netns_name};
use crate::symbol::Sym;

/// Lines that are counted at most; drops of further ones are counted together.
const MAX_LINES: usize = 64 << 10;

/// What a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LineKey {
    /// Drop reason.
    reason: Sym,
    /// Function, device or stack.
    place: Sym,
    /// Namespace of a device.
    netns: u32,
    /// Flow.
    flow: Flow,
}

/// The key of drops that came when there were too many lines.
const REST: LineKey = LineKey { reason: Sym::TOO_MANY, place: Sym::NONE, netns: 0, flow: NO_FLOW };
/// No flow.
const NO_FLOW: Flow = Flow {
    src: crate::address::Addr::NONE,
    dst: crate::address::Addr::NONE,
    sport: 0,
    dport: 0,
    l4: Sym::NONE,
};

/// Drops of one kind.
#[derive(Clone, Debug, Serialize)]
struct Line {
    /// How bad they are.
    severity: Severity,
    /// Drop reason.
    reason: Sym,
    /// What they are counted by.
    what: String,
    /// How many.
    count: u64,
    /// Share of all that are shown, percent.
    share: f64,
    /// First, ns of CLOCK_MONOTONIC.
    first: u64,
    /// Last.
    last: u64,
}

/// Drops of one capture.
#[derive(Debug, Serialize)]
struct Answer {
    /// Host, time range, what is missing.
    head: Head,
    /// Drops that are shown.
    drops: u64,
    /// Drops of healthy traffic that are left out.
    left_out: u64,
    /// By the key that was asked for, most frequent first.
    lines: Vec<Line>,
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
    match args.input.format {
        Format::Text => text(args, &knowledge, out),
        Format::Json => json(args, &knowledge, out),
    }
    .map(exit_code)
}

/// Answers in text.
fn text(args: &args::Drops, knowledge: &Knowledge, out: &mut dyn Write) -> Result<bool> {
    let mut total = (0, 0);
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, knowledge, args)?;
        total = (total.0 + 1, total.1 + answer.drops);
        show(&answer, source, args.by, out)
    })?;
    if total.0 > 1 {
        writeln!(out, "all: {} in {}", counted(total.1, "drop"), counted(total.0, "capture"))?;
    }
    Ok(all)
}

/// Answers in JSON.
fn json(args: &args::Drops, knowledge: &Knowledge, out: &mut dyn Write) -> Result<bool> {
    let mut document = Document::begin(out)?;
    let mut total = 0;
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, knowledge, args)?;
        total += answer.drops;
        document.capture(&answer)
    })?;
    document.end("drops", &total)?;
    Ok(all)
}

/// Counts while events come.
#[derive(Default)]
struct Counting {
    /// Lines with the severity, count, first and last time.
    lines: FxHashMap<LineKey, (Severity, u64, u64, u64)>,
    /// Severities by reason and location.
    severities: FxHashMap<(Sym, Sym), Severity>,
    /// Drops that are left out.
    left_out: u64,
}

impl Counting {
    /// Counts a drop.
    fn add(&mut self, event: &Event, flow: Flow, knowledge: &Knowledge, args: &args::Drops) {
        let reason = knowledge.reason(event);
        let known = self.severities.entry((reason, event.location));
        let severity = *known.or_insert_with(|| knowledge.drop(reason, event.location).severity);
        if severity == Severity::Normal && !args.all {
            self.left_out += 1;
            return;
        }
        let mut key = key_of(event, flow, args.by);
        if self.lines.len() >= MAX_LINES && !self.lines.contains_key(&key) {
            key = REST;
        }
        let line = self.lines.entry(key).or_insert((severity, 0, event.ts, event.ts));
        line.0 = line.0.max(severity);
        line.1 += 1;
        line.3 = line.3.max(event.ts);
    }
}

/// What a drop is counted by.
fn key_of(event: &Event, flow: Flow, by: By) -> LineKey {
    let key = LineKey { reason: event.reason, place: Sym::NONE, netns: 0, flow: NO_FLOW };
    match by {
        By::Reason => key,
        By::Location => LineKey { place: Sym::new(function_of(event.location.text())), ..key },
        By::Stack => LineKey { place: event.stack, ..key },
        By::Dev => LineKey { place: event.dev, netns: event.netns, ..key },
        By::Flow => LineKey { flow, ..key },
    }
}

/// Counts the drops of a capture.
fn answer(source: &mut Source, knowledge: &Knowledge, args: &args::Drops) -> Result<Answer> {
    let head = source.head();
    let counting = count(source, knowledge, args)?;
    let drops = counting.lines.values().map(|l| l.1).sum();
    let mut lines: Vec<Line> = counting
        .lines
        .into_iter()
        .map(|(key, (severity, count, first, last))| Line {
            severity,
            reason: key.reason,
            what: what(&key, args.by, source),
            count,
            share: percent(count, drops),
            first,
            last,
        })
        .collect();
    lines.sort_by(|a, b| {
        b.count.cmp(&a.count).then_with(|| (a.reason.text(), &a.what).cmp(&(b.reason.text(), &b.what)))
    });
    lines.truncate(args.filter.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX)));
    Ok(Answer { head, drops, left_out: counting.left_out, lines })
}

/// Counts while events come. Lives are rebuilt for the flow of drops without a header, and for `--outcome`-free
/// filters on it.
fn count(source: &mut Source, knowledge: &Knowledge, args: &args::Drops) -> Result<Counting> {
    let Source { capture, times, filter, losses, .. } = source;
    let mut counting = Counting::default();
    let mut lives = Lives::new(knowledge, losses, Keep::Summary);
    crate::stream::for_each_event(capture, &crate::event::columns(), filter.range(), |event| {
        times.learn(event);
        if event.hook() == Hook::Drop {
            let known = lives.flow_at(event.skb).unwrap_or_default();
            if filter.event(event, &known) {
                let flow = if event.has_addresses() { event.flow() } else { known };
                counting.add(event, flow, knowledge, args);
            }
        }
        lives.push(event, &mut |_| {});
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counting)
}

/// What a line counts, as text.
fn what(key: &LineKey, by: By, source: &Source) -> String {
    match by {
        _ if *key == REST => "all others".into(),
        By::Reason => String::new(),
        By::Location => key.place.or_dash().to_owned(),
        By::Stack => render::stack(key.place).collect::<Vec<_>>().join(" < "),
        By::Dev if key.netns == 0 => key.place.or_dash().to_owned(),
        By::Dev => format!("{} (netns {})", key.place.or_dash(), netns_name(&source.capture, key.netns)),
        By::Flow => key.flow.to_string(),
    }
}

/// Writes an answer as text.
fn show(answer: &Answer, source: &Source, by: By, out: &mut dyn Write) -> Result<()> {
    answer.head.text(out)?;
    if !answer.lines.is_empty() {
        let name = match by {
            By::Location => "FUNCTION",
            By::Reason => "",
            By::Stack => "STACK",
            By::Dev => "DEVICE",
            By::Flow => "FLOW",
        };
        let header = format!(
            "{:>10} {:>6}  {:<8} {:<15} {:<15} {:<28} {name}",
            "DROPS", "SHARE", "SEVERITY", "FIRST", "LAST", "REASON"
        );
        writeln!(out, "{}", header.trim_end())?;
    }
    for line in &answer.lines {
        write_line(line, source, out)?;
    }
    let left_out = match answer.left_out {
        0 => String::new(),
        n => format!("; {} of healthy traffic left out (--all shows them)", grouped(n)),
    };
    Ok(writeln!(out, "{}{left_out}", counted(answer.drops, "drop"))?)
}

/// Writes a line of the table.
fn write_line(line: &Line, source: &Source, out: &mut dyn Write) -> Result<()> {
    let severity = match line.severity {
        Severity::Normal => "normal",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let (first, last) = (source.times.show(line.first), source.times.show(line.last));
    let (count, reason) = (grouped(line.count), line.reason.or_dash());
    let text = format!(
        "{count:>10} {:>5.1}%  {severity:<8} {first:<15} {last:<15} {reason:<28} {}",
        line.share, line.what
    );
    Ok(writeln!(out, "{}", text.trim_end())?)
}

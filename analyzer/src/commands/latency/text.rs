//! The answer of `ntana latency` for people.

use std::io::Write;

use anyhow::Result;

use super::answer::{EndsAnswer, LatencyAnswer, Missing, ModelAnswer, SlowAnswer};
use super::lines::{Line, PlainKey, Quantiles};
use crate::answer::{Answer, Labels};
use crate::args::HistogramStyle;
use crate::numbers::{counted, grouped};
use crate::times::span;

/// What the tables show.
const LEGEND: &str =
    "from each stage to the next that a packet was seen at; SHARE: of the time of all of these legs";
/// Characters of the longest bar of a histogram of BCC.
const STARS: usize = 40;
/// The same of bpftrace.
const AT_SIGNS: usize = 52;
/// Rows of a histogram of nettrace at least.
const NETTRACE_ROWS: usize = 9;

/// Writes the answer, behind its head.
pub fn write(answer: &LatencyAnswer<'_>, labels: &Labels, out: &mut dyn Write) -> Result<()> {
    let (found, others): (Vec<_>, Vec<_>) = answer.models.iter().partition(|model| model.has_something());
    if !found.is_empty() {
        writeln!(out, "  {LEGEND}")?;
    }
    for model in found {
        writeln!(out)?;
        self::model(model, answer, labels, out)?;
    }
    if answer.lines_at_least {
        writeln!(out, "\nthere were too many lines: what found no room is counted in `all others`")?;
    }
    if !others.is_empty() {
        writeln!(out)?;
    }
    others.iter().try_for_each(|model| writeln!(out, "{}", nothing(model)))?;
    slowest(&answer.worst, labels, out)
}

impl ModelAnswer {
    /// Whether anything of it was seen.
    fn has_something(&self) -> bool {
        !self.legs.is_empty() || self.touched_by_loss > 0
    }
}

/// The line on a model of which there is nothing.
fn nothing(model: &ModelAnswer) -> String {
    match model.measurable {
        true => format!("{}: no packet passed two of its stages", model.model),
        false => format!("{}: {}", model.model, not_recorded(&model.not_recorded)),
    }
}

/// Writes what was found of a model.
fn model(
    model: &ModelAnswer,
    answer: &LatencyAnswer<'_>,
    labels: &Labels,
    out: &mut dyn Write,
) -> Result<()> {
    match model.what.as_str() {
        "" => writeln!(out, "{}", model.model)?,
        what => writeln!(out, "{}: {what}", model.model)?,
    }
    let width = model.legs.iter().map(|line| leg(line).chars().count()).max().unwrap_or(0).max(8);
    writeln!(out, "{}", heading(model, answer, width))?;
    for line in &model.legs {
        writeln!(out, "{}", row(line, labels, width).trim_end())?;
        remarks(line, out)?;
    }
    let style = answer.shown.hist.map(|style| (style, labels));
    if let Some((style, labels)) = style {
        model.legs.iter().try_for_each(|line| histogram(line, style, labels, out))?;
    }
    notes(model, out)
}

/// The names of the columns.
fn heading(model: &ModelAnswer, answer: &LatencyAnswer<'_>, width: usize) -> String {
    let has_interval = model.legs.iter().any(|line| line.interval.is_some());
    let interval = if has_interval { format!("  {:<15}", "FROM") } else { String::new() };
    let titles = ["P50", "P90", "P99", "P99.9", "MAX"].map(|title| format!("{title:>9}")).concat();
    let by =
        answer.shown.by.map_or(String::new(), |by| format!("  {}", format!("{by:?}").to_ascii_uppercase()));
    format!("  {:<width$}{interval} {:>10}{titles}  SHARE{by}", "LEG", "COUNT").trim_end().to_owned()
}

/// A line of the table.
fn row(line: &Line, labels: &Labels, width: usize) -> String {
    let interval = line.interval.map_or(String::new(), |at| format!("  {:<15}", labels.times.show(at)));
    let times = match &line.quantiles {
        Some(Quantiles { p50, p90, p99, p99_9, max, .. }) => {
            [p50, p90, p99, p99_9, max].map(|ns| format!("{:>9}", span(*ns))).concat()
        }
        None => format!("{:>9}", "-").repeat(5),
    };
    let share = line.share.map_or(String::new(), |share| format!("{share:.1}%"));
    let count = grouped(line.count);
    format!("  {:<width$}{interval} {count:>10}{times} {share:>6}  {}", leg(line), line.key.show(labels))
}

/// The leg of a line.
fn leg(line: &Line) -> String {
    match (&line.from, &line.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        _ => "whole way".to_owned(),
    }
}

/// Writes what else there is to say of a line.
fn remarks(line: &Line, out: &mut dyn Write) -> Result<()> {
    if let Some(limit) = line.limit.as_ref().filter(|limit| limit.abnormal > 0) {
        let (count, limit_of) = (grouped(limit.abnormal), span(limit.ns));
        writeln!(out, "    ABNORMAL: {count} took {limit_of} or longer, the limit ({})", limit.source)?;
    }
    if line.shorter > 0 {
        writeln!(out, "    {} shorter ones left out (--min)", grouped(line.shorter))?;
    }
    let Some(change) = &line.baseline else { return Ok(()) };
    let (Some(old), Some(old_99), Some(now)) = (change.p50, change.p99, &line.quantiles) else {
        return Ok(writeln!(out, "    baseline: no packet passed these two stages")?);
    };
    let of = |name: &str, old: u64, new: u64, verdict: Option<&str>| {
        let percent = (new as f64 / old.max(1) as f64 - 1.0) * 100.0;
        let verdict = match verdict.unwrap_or_default() {
            "chance" => "may be chance".to_owned(),
            "too few" => "too few to tell".to_owned(),
            verdict => format!("{verdict}, more than chance"),
        };
        format!("{name} was {} ({percent:+.0}%: {verdict})", span(old))
    };
    let (p50, p99) =
        (of("p50", old, now.p50, change.p50_verdict), of("p99", old_99, now.p99, change.p99_verdict));
    Ok(writeln!(out, "    baseline: {} legs, {p50}, {p99}", grouped(change.count))?)
}

impl PlainKey {
    /// As people read it.
    fn show(&self, labels: &Labels) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        match self {
            Self::All {} => String::new(),
            Self::Dev { dev, netns } => labels.device(dev.as_deref(), *netns),
            Self::Netns { netns } => netns.map_or_else(|| "-".into(), |inode| labels.netns(inode)),
            Self::Cpu { cpu } => format!("cpu {cpu}"),
            Self::Queue { dev, netns, queue } => {
                format!("{} queue {}", labels.device(dev.as_deref(), *netns), queue.unwrap_or(0))
            }
            Self::Task { comm } => or_dash(comm),
            Self::Flow { flow } => flow.clone(),
            Self::Probes { from_probe, to_probe } => format!("{from_probe} -> {to_probe}"),
            Self::Others { .. } => "all others".into(),
        }
    }
}

/// Writes what has no times, and why.
fn notes(model: &ModelAnswer, out: &mut dyn Write) -> Result<()> {
    for ends in &model.ends {
        let begin = match &ends.stage {
            Some(stage) => format!("went no further than {stage}"),
            None => "not answered".to_owned(),
        };
        writeln!(out, "  {begin}: {}", why(ends))?;
    }
    if model.unbegun > 0 {
        let count = counted(model.unbegun, "packet");
        writeln!(out, "  {count} seen at the end only: begun before the capture, or where no probe was")?;
    }
    if model.touched_by_loss > 0 {
        let count = counted(model.touched_by_loss, "packet");
        writeln!(out, "  {count} left out, as events were lost meanwhile")?;
    }
    if model.unanswered_at_least {
        writeln!(out, "  more awaited their answer than there is room for: all counts are at least these")?;
    }
    if !model.not_recorded.is_empty() {
        writeln!(out, "  {}", not_recorded(&model.not_recorded))?;
    }
    Ok(())
}

/// Why packets went no further.
fn why(ends: &EndsAnswer) -> String {
    let parts = [
        (ends.dropped, "dropped"),
        (ends.open, "open when the capture ended, or not seen for long"),
        (ends.elsewhere, "ended otherwise or went another way"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, why)| format!("{} {why}", grouped(*count))).collect::<Vec<_>>().join(", ")
}

impl Missing {
    /// Whether every stage was recorded.
    fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.not_in_kernel.is_empty()
    }
}

/// Which stages were not recorded, and what records them.
fn not_recorded(missing: &Missing) -> String {
    let Missing { stages, probes, profile, not_in_kernel } = missing;
    let wanted = match profile {
        Some(profile) => format!("--profile {profile}"),
        None => format!("--probe {}", probes.join(",")),
    };
    let recorded = format!("not recorded: {} (ntrec capture {wanted})", stages.join(", "));
    let absent = format!("not in this kernel: {}", not_in_kernel.join(", "));
    match (stages.is_empty(), not_in_kernel.is_empty()) {
        (false, true) => recorded,
        (true, _) => absent,
        (false, false) => format!("{recorded}; {absent}"),
    }
}

/// Writes the histogram of a line.
fn histogram(line: &Line, style: HistogramStyle, labels: &Labels, out: &mut dyn Write) -> Result<()> {
    let most = line.histogram.iter().map(|row| row.2).max().unwrap_or(0).max(1);
    let key = line.key.show(labels);
    let title = format!("{}{}{key}", leg(line), if key.is_empty() { "" } else { ", " });
    writeln!(out, "\n{title}")?;
    match style {
        HistogramStyle::Bcc => {
            writeln!(out, "     {:<19} : count     distribution", "usecs")?;
            line.histogram.iter().try_for_each(|(from, to, count)| {
                let bar = "*".repeat(bar(*count, most, STARS));
                writeln!(out, "{from:>10} -> {to:<10} : {count:<8} |{bar:<STARS$}|")
            })?;
        }
        HistogramStyle::Bpftrace => {
            let first = line.histogram.iter().position(|row| row.2 > 0).unwrap_or(0);
            line.histogram.iter().skip(first).try_for_each(|(from, to, count)| {
                let (bar, range) =
                    ("@".repeat(bar(*count, most, AT_SIGNS)), format!("[{}, {})", unit(*from), unit(to + 1)));
                writeln!(out, "{range:<15} {count:>8} |{bar:<AT_SIGNS$}|")
            })?;
        }
        HistogramStyle::Nettrace => {
            let all = line.count.max(1);
            writeln!(out, "latency distribution: {:>14}", line.count)?;
            let rows = line.histogram.len().max(NETTRACE_ROWS);
            (0..rows).try_for_each(|at| {
                let empty = (if at == 0 { 0 } else { 1 << at }, (1 << (at + 1)) - 1, 0);
                let (from, to, count) = line.histogram.get(at).copied().unwrap_or(empty);
                // It cuts off what is behind the fourth digit.
                let share = u128::from(count) * 10_000 / u128::from(all);
                writeln!(out, "{from:>22} - {to:>7}us: {count:<8} {}.{:04}", share / 10_000, share % 10_000)
            })?;
        }
    }
    Ok(())
}

/// The length of a bar.
fn bar(count: u64, most: u64, longest: usize) -> usize {
    (u128::from(count) * longest as u128 / u128::from(most)) as usize
}

/// A number as bpftrace shortens it: 1K is 1024.
fn unit(number: u64) -> String {
    match number {
        0..0x400 => number.to_string(),
        0x400..0x10_0000 => format!("{}K", number >> 10),
        0x10_0000..0x4000_0000 => format!("{}M", number >> 20),
        _ => format!("{}G", number >> 30),
    }
}

/// Writes the slowest packets.
fn slowest(worst: &[SlowAnswer<'_>], labels: &Labels, out: &mut dyn Write) -> Result<()> {
    for (number, slow) in worst.iter().enumerate() {
        let SlowAnswer { ns, model, from, to, .. } = slow;
        let of = if *model == format!("{from} -> {to}") { String::new() } else { format!(" ({model})") };
        let (begin, end) = (labels.times.show(slow.begin), labels.times.show(slow.end));
        writeln!(out, "\n{}. {} from {from} at {begin} to {to} at {end}{of}", number + 1, span(*ns))?;
        slow.life.text(labels, out)?;
    }
    Ok(())
}

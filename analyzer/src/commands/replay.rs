//! `ntana replay`: the events as they came, one line each; those of several hosts in the order of the wall clock.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ntc::ColumnId;
use serde::Serialize;

use super::{column, exit_code, rows};
use crate::answer::{EventAnswer, Headed, Output, Style};
use crate::args::{self, Format};
use crate::captures;
use crate::event::{Event, Flow};
use crate::lifecycle;
use crate::numbers::counted;
use crate::scan::Scan;
use crate::source::Source;

/// Events of all captures.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// How many events were shown.
    events: u64,
}

/// Runs the command.
pub fn run(args: &args::Replay, out: &mut dyn Write) -> Result<ExitCode> {
    if !args.filter.outcome.is_empty() {
        bail!("--outcome is about lives, not events: use `ntana trace`");
    }
    let columns = columns(args)?;
    let (sources, all) = captures::open(&args.input, &args.filter);
    let (labels, several) = (captures::labels(&sources), sources.len() > 1);
    let mut output = Output::begin(args.input.format, &EventAnswer::names(&columns), out)?;
    for (source, labels) in sources.iter().zip(&labels) {
        output.capture(&Headed { head: source.head() }, labels)?;
    }
    output.begin_common_list("events")?;
    let style = Style { detail: args.detail, packet: true, host: several };
    let mut totals = Totals { captures: sources.len() as u64, events: 0 };
    let result = for_each_event(&sources, &columns, |index, event| {
        let (Some(source), Some(labels)) = (sources.get(index), labels.get(index)) else { return Ok(()) };
        totals.events += 1;
        let answer = rows::answer(event, &columns, &source.times, style);
        let host = several.then_some(labels.host.as_str());
        output.item(&EventAnswer { host, ..answer }, labels)
    });
    let Totals { captures, events } = totals;
    output.finish(&totals, &format!("{} in {}", counted(events, "event"), counted(captures, "capture")))?;
    result?;
    Ok(exit_code(all))
}

/// The columns to show: text needs all of them.
fn columns(args: &args::Replay) -> Result<Vec<ColumnId>> {
    if args.columns.is_empty() {
        return Ok(ColumnId::ALL.to_vec());
    }
    if args.input.format == Format::Text {
        bail!("--columns is about JSON and CSV: give --format json or csv with it");
    }
    args.columns.iter().map(|name| column(name)).collect()
}

/// Calls `each` for the events that pass the filter, with the index of their capture, up to the filter's limit.
fn for_each_event(
    sources: &[Source],
    columns: &[ColumnId],
    mut each: impl FnMut(usize, &Event<'_, '_>) -> Result<()>,
) -> Result<()> {
    let mut left = sources.first().and_then(|source| source.filter.limit).unwrap_or(u64::MAX);
    let scan = |source: &Source| {
        // Those of lives are the ones that filters look at. Raw bytes are not shown.
        let of_lives = lifecycle::COLUMNS.into_iter().filter(|_| !source.filter.takes_all());
        let shown = columns.iter().copied().filter(|id| *id != ColumnId::Header);
        Scan::new(shown.chain(of_lives).chain(source.filter.columns()), source.filter.range())
    };
    let scans: Vec<Scan> = sources.iter().map(scan).collect();
    let mut show = |index: usize, event: &Event<'_, '_>| {
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if sources[index].filter.event(event, &Flow::default()) {
            left -= 1;
            each(index, event)?;
        }
        Ok(ControlFlow::Continue(()))
    };
    match (sources, &scans[..]) {
        ([source], [scan]) => scan.for_each(source, |event| show(0, event)),
        _ => Scan::for_each_merged(&scans.iter().zip(sources).collect::<Vec<_>>(), show),
    }
}

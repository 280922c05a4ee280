//! `ntana replay`: the events as they came, one line each.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ntc::ColumnId;
use serde::Serialize;

use super::{exit_code, rows};
use crate::answer::{EventAnswer, Headed, Output, Style};
use crate::args;
use crate::event::{Event, Flow};
use crate::scan::Scan;
use crate::source::{Source, for_each_source};

/// Events of all captures.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// How many were shown.
    events: u64,
}

/// Runs the command.
pub fn run(args: &args::Replay, out: &mut dyn Write) -> Result<ExitCode> {
    if !args.filter.outcome.is_empty() {
        bail!("--outcome is about lives, not events: use `ntana trace`");
    }
    let mut output = Output::begin(args.input.format, &EventAnswer::columns(), out)?;
    let style = Style { detail: args.detail, packet: true, host: false };
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let labels = source.labels();
        output.begin_list(&Headed { head: source.head() }, &labels, "events")?;
        let result = for_each_event(source, |event| {
            totals.events += 1;
            output.item(&rows::answer(event, &source.times, style), &labels)
        });
        output.end_list("")?;
        result
    })?;
    output.finish(&totals, "")?;
    Ok(exit_code(all))
}

/// Calls `each` for the events that pass the filter, up to its limit.
fn for_each_event(source: &Source, mut each: impl FnMut(&Event<'_, '_>) -> Result<()>) -> Result<()> {
    let mut left = source.filter.limit.unwrap_or(u64::MAX);
    Scan::new(ColumnId::ALL, source.filter.range()).for_each(source, |event| {
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if source.filter.event(event, &Flow::default()) {
            left -= 1;
            each(event)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

//! `ntana replay`: the events as they came, one line each.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use super::{exit_code, rows};
use crate::answer::{EventAnswer, Headed, Output, Style};
use crate::args;
use crate::event::{Event, Flow};
use crate::source::{Source, for_each_source};
use crate::times::Times;

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
        let result = for_each_event(source, |event, times| {
            totals.events += 1;
            output.item(&rows::answer(event, times, style), &labels)
        });
        output.end_list("")?;
        result
    })?;
    output.finish(&totals, "")?;
    Ok(exit_code(all))
}

/// Calls `each` for the events that pass the filter, up to its limit.
fn for_each_event(source: &mut Source, mut each: impl FnMut(&Event, &Times) -> Result<()>) -> Result<()> {
    let Source { capture, times, filter, .. } = source;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    crate::stream::for_each_event(capture, &crate::event::columns(), filter.range(), |event| {
        times.learn(event);
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if filter.event(event, &Flow::default()) {
            left -= 1;
            each(event, times)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

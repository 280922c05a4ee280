//! `ntana replay`: the events as they came, one line each.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ntc::Capture;
use serde::Serialize;

use super::exit_code;
use super::json::Document;
use crate::args::{self, Format};
use crate::event::{Event, Flow};
use crate::render;
use crate::source::{Source, for_each_source};
use crate::times::Times;

/// An event with its time as text.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// Time as text.
    pub time: String,
    /// The event.
    #[serde(flatten)]
    pub event: &'a Event,
}

/// Runs the command.
pub fn run(args: &args::Replay, out: &mut dyn Write) -> Result<ExitCode> {
    if !args.filter.outcome.is_empty() {
        bail!("--outcome is about lives, not events: use `ntana trace`");
    }
    match args.input.format {
        Format::Text => text(args, out),
        Format::Json => json(args, out),
    }
    .map(exit_code)
}

/// Shows events as text.
fn text(args: &args::Replay, out: &mut dyn Write) -> Result<bool> {
    for_each_source(&args.input, &args.filter, |source| {
        source.head().text(out)?;
        for_each_event(source, |event, times, capture| {
            let detail = if args.detail { detail(event, capture) } else { String::new() };
            let (time, probe) = (times.show(event.ts), render::probe(event));
            let (packet, remarks) = (render::packet(event), render::remarks(event));
            writeln!(out, "[{time}] {detail}[{probe:<20}] {packet}{remarks}")?;
            Ok(())
        })
    })
}

/// The prefix of `--detail`, with the packet's address.
fn detail(event: &Event, capture: &Capture) -> String {
    format!("[{:016x}]{}", event.skb, render::detail(event, capture))
}

/// Shows events as JSON.
fn json(args: &args::Replay, out: &mut dyn Write) -> Result<bool> {
    let mut document = Document::begin(out)?;
    let mut shown = 0_u64;
    let all = for_each_source(&args.input, &args.filter, |source| {
        document.begin_list(&source.head(), "events")?;
        for_each_event(source, |event, times, _| {
            shown += 1;
            document.item(&Shown { time: times.show(event.ts), event })
        })?;
        document.end_list()
    })?;
    document.end("events", &shown)?;
    Ok(all)
}

/// Calls `each` for the events that pass the filter, up to its limit.
fn for_each_event(
    source: &mut Source,
    mut each: impl FnMut(&Event, &Times, &Capture) -> Result<()>,
) -> Result<()> {
    let Source { capture, times, filter, .. } = source;
    let mut left = filter.limit.unwrap_or(u64::MAX);
    crate::stream::for_each_event(capture, &crate::event::columns(), filter.range(), |event| {
        times.learn(event);
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if filter.event(event, &Flow::default()) {
            left -= 1;
            each(event, times, capture)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

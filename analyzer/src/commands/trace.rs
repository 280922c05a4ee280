//! `ntana trace`: lives of packets, with their events, in nettrace's manner.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use ntc::Capture;
use serde::Serialize;

use super::exit_code;
use super::json::Document;
use super::replay::Shown;
use crate::args::{self, Format};
use crate::event::Flow;
use crate::knowledge::Knowledge;
use crate::lifecycle::{Evidence, Hop, Keep, Life, Lives, Outcome, Tally};
use crate::numbers::{counted, grouped};
use crate::render;
use crate::source::{Head, Source, for_each_source};
use crate::times::{Times, span};

/// A life as JSON.
#[derive(Debug, Serialize)]
struct LifeJson<'a> {
    /// Address of its `sk_buff`.
    skb: String,
    /// Who talks to whom.
    flow: Flow,
    /// First event, ns of CLOCK_MONOTONIC.
    start: u64,
    /// Last event.
    end: u64,
    /// How it ended.
    outcome: Outcome,
    /// What proves that it was delivered.
    evidence: Evidence,
    /// Devices on its way.
    hops: &'a [Hop],
    /// Whether events were lost meanwhile.
    touched_by_loss: bool,
    /// Its events.
    events: Vec<Shown<'a>>,
}

/// Runs the command.
pub fn run(args: &args::Trace, out: &mut dyn Write) -> Result<ExitCode> {
    let knowledge = Knowledge::load(&args.input.rules)?;
    match args.input.format {
        Format::Text => text(args, &knowledge, out),
        Format::Json => json(args, &knowledge, out),
    }
    .map(exit_code)
}

/// Shows lives as text.
fn text(args: &args::Trace, knowledge: &Knowledge, out: &mut dyn Write) -> Result<bool> {
    for_each_source(&args.input, &args.filter, |source| {
        source.head().text(out)?;
        let (shown, tally) = for_each_life(source, knowledge, |life, times, capture| {
            write_life(life, times, capture, args, out)
        })?;
        writeln!(out, "\n{}", summary(shown, &tally))?;
        Ok(())
    })
}

/// The last line.
fn summary(shown: u64, tally: &Tally) -> String {
    let lives = if shown == 1 { "1 life".to_owned() } else { format!("{} lives", grouped(shown)) };
    match tally.orphans {
        0 => format!("{lives} shown"),
        orphans => format!("{lives} shown; {} belong to no life", counted(orphans, "packet event")),
    }
}

/// Writes a life with its events.
fn write_life(
    life: &Life,
    times: &Times,
    capture: &Capture,
    args: &args::Trace,
    out: &mut dyn Write,
) -> Result<()> {
    let loss = if life.touched_by_loss { "  (events were lost meanwhile)" } else { "" };
    writeln!(out, "\n*** {}{loss} ***", render::life(life))?;
    let mut before = life.start;
    for event in &life.events {
        let detail = if args.detail { render::detail(event, capture) } else { String::new() };
        let (time, probe) = (times.show(event.ts), render::probe(event));
        let (packet, remarks) = (render::packet(event), render::remarks(event));
        let latency = match args.latency {
            true => format!(" +{}", span(event.ts.saturating_sub(before))),
            false => String::new(),
        };
        before = event.ts;
        writeln!(out, "[{time}] {detail}[{probe:<20}] {packet}{remarks}{latency}")?;
        render::stack(event.stack).try_for_each(|frame| writeln!(out, "    {frame}"))?;
    }
    if args.latency {
        writeln!(out, "total latency: {}", span(life.end - life.start))?;
    }
    Ok(())
}

/// Shows lives as JSON.
fn json(args: &args::Trace, knowledge: &Knowledge, out: &mut dyn Write) -> Result<bool> {
    let mut document = Document::begin(out)?;
    let mut total = 0;
    let all = for_each_source(&args.input, &args.filter, |source| {
        let head: Head = source.head();
        document.begin_list(&head, "lives")?;
        let (shown, _) =
            for_each_life(source, knowledge, |life, times, _| document.item(&life_json(life, times)))?;
        total += shown;
        document.end_list()
    })?;
    document.end("lives", &total)?;
    Ok(all)
}

/// A life as JSON.
fn life_json<'a>(life: &'a Life, times: &Times) -> LifeJson<'a> {
    LifeJson {
        skb: format!("{:016x}", life.skb),
        flow: life.flow,
        start: life.start,
        end: life.end,
        outcome: life.outcome,
        evidence: life.evidence,
        hops: &life.hops,
        touched_by_loss: life.touched_by_loss,
        events: life.events.iter().map(|event| Shown { time: times.show(event.ts), event }).collect(),
    }
}

/// Calls `each` for the lives that pass the filter, up to its limit; returns how many they were.
fn for_each_life(
    source: &mut Source,
    knowledge: &Knowledge,
    mut each: impl FnMut(&Life, &Times, &Capture) -> Result<()>,
) -> Result<(u64, Tally)> {
    let Source { capture, times, filter, losses, .. } = source;
    let mut lives = Lives::new(knowledge, losses, Keep::Events).with_filter(|e, flow| filter.event(e, flow));
    let limit = filter.limit.unwrap_or(u64::MAX);
    let mut shown = 0;
    let mut result = Ok(());
    let mut show = |life: &Life, times: &Times| {
        if filter.life(life) && shown < limit && result.is_ok() {
            shown += 1;
            result = each(life, times, capture);
        }
        shown >= limit || result.is_err()
    };
    let mut full = false;
    crate::stream::for_each_event(capture, &crate::event::columns(), filter.range(), |event| {
        times.learn(event);
        lives.push(event, &mut |life| full |= show(life, times));
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    lives.finish(&mut |life| {
        show(life, times);
    });
    result?;
    Ok((shown, lives.tally()))
}

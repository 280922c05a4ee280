//! `ntana trace`: lives of packets, with their events, in nettrace's manner.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use ntc::ColumnId;
use serde::Serialize;

use super::{exit_code, rows};
use crate::answer::{Headed, LifeAnswer, Output, Style};
use crate::args;
use crate::knowledge::Knowledge;
use crate::lifecycle::{self, Keep, Life, Lives, Tally};
use crate::numbers::{counted, grouped};
use crate::scan::{RowCache, Scan};
use crate::source::{Source, for_each_source};

/// Lives of all captures.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// How many were shown.
    lives: u64,
}

/// Runs the command.
pub fn run(args: &args::Trace, out: &mut dyn Write) -> Result<ExitCode> {
    let knowledge = Knowledge::load(&args.input.rules)?;
    let mut output = Output::begin(args.input.format, &LifeAnswer::columns(), out)?;
    let style = Style { detail: args.detail, ..Style::default() };
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let (labels, before) = (source.labels(), totals.lives);
        output.begin_list(&Headed { head: source.head() }, &labels, "lives")?;
        let mut cache = RowCache::new(source, &ColumnId::ALL);
        let result = for_each_life(source, &knowledge, |life| {
            totals.lives += 1;
            let life = rows::life(life, &mut cache, &source.times, style)?;
            output.item(&LifeAnswer { number: totals.lives, latency: args.latency, ..life }, &labels)
        });
        let orphans = result.as_ref().map_or(0, |tally| tally.orphans);
        output.end_list(&summary(totals.lives - before, orphans))?;
        result.map(|_| ())
    })?;
    output.finish(&totals, &lives(totals.lives))?;
    Ok(exit_code(all))
}

/// The line after the lives of a capture.
fn summary(shown: u64, orphans: u64) -> String {
    match orphans {
        0 => format!("\n{} shown", lives(shown)),
        orphans => {
            format!("\n{} shown; {} belong to no life", lives(shown), counted(orphans, "packet event"))
        }
    }
}

/// How many lives.
fn lives(count: u64) -> String {
    if count == 1 { "1 life".to_owned() } else { format!("{} lives", grouped(count)) }
}

/// Calls `each` for the lives that pass the filter, up to its limit.
fn for_each_life(
    source: &Source,
    knowledge: &Knowledge,
    mut each: impl FnMut(&Life<'_>) -> Result<()>,
) -> Result<Tally> {
    let Source { names, losses, filter, .. } = source;
    let mut lives =
        Lives::new(names, knowledge, losses, Keep::Rows).with_filter(|event, flow| filter.event(event, flow));
    let limit = filter.limit.unwrap_or(u64::MAX);
    let (mut shown, mut result) = (0, Ok(()));
    let mut show = |life: &Life<'_>| {
        if filter.life(life) && shown < limit && result.is_ok() {
            shown += 1;
            result = each(life);
        }
        shown >= limit || result.is_err()
    };
    let columns = lifecycle::COLUMNS.into_iter().chain(filter.columns());
    let mut full = false;
    Scan::new(columns, filter.range()).for_each(source, |event| {
        lives.push(event, &mut |life| full |= show(life));
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    lives.finish(&mut |life| {
        show(life);
    });
    result?;
    Ok(lives.tally())
}

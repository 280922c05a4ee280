//! What went wrong: observations of trouble, grouped by root cause, ranked.
//!
//! `observe` turns events and lives into observations, `group` gathers them by cause and victim, [`finding`] is
//! what comes out.

pub mod finding;
mod group;
mod observe;
mod stale;

use std::ops::ControlFlow;

use anyhow::Result;

pub use finding::{Device, Example, Finding, Share, listed, shares};
pub use observe::{COLUMNS, Observer};

use crate::knowledge::Knowledge;
use crate::lifecycle::{self, Counts, Keep, Life, Lives, Tally};
use crate::scan::Scan;
use crate::source::Source;

/// Rebuilds lives and watches them: what was counted of those that pass the filter, and what went wrong, worst first.
pub fn diagnose<'a>(source: &'a Source, knowledge: &'a Knowledge) -> Result<(Tally, Vec<Finding>)> {
    let Source { names, losses, filter, .. } = source;
    let all = filter.takes_all();
    let mut lives = Lives::new(names, knowledge, losses, Keep::Summary)
        .with_filter(move |event, flow| all || filter.event(event, flow));
    let mut observer = Observer::new(names, knowledge);
    let mut matching = Counts::default();
    let mut done = |life: &Life<'a>, observer: &mut Observer<'a>| {
        if filter.life(life) {
            matching.add(&life.outcome);
            observer.life(life);
        }
    };
    let columns = lifecycle::COLUMNS.into_iter().chain(COLUMNS).chain(filter.columns());
    Scan::new(columns, filter.range()).for_each(source, |event| {
        lives.push(event, &mut |life| done(life, &mut observer));
        if all || filter.event(event, &lives.flow_at(event.skb).unwrap_or_default()) {
            observer.event(event, &lives);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    lives.finish(&mut |life| done(life, &mut observer));
    let tally = Tally { outcomes: matching, ..lives.tally() };
    Ok((tally, observer.findings(losses)))
}

#[cfg(test)]
mod tests;

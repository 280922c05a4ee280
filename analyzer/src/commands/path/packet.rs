//! The answer about one packet: where it was, and what became of it.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::answer::Shown;
use crate::answer::{Answer, Labels, Table, optional};
use crate::journey::hosts::Moment;
use crate::journey::leg::Leg;
use crate::journey::verdict::Judge;
use crate::lifecycle::Crossing;
use crate::times::span;

/// Columns of CSV: a record a stage.
pub const COLUMNS: [&str; 11] =
    ["packet", "flow", "verdict", "ambiguous", "host", "stage", "dev", "time", "ts", "since_ns", "bound_ns"];

/// A packet's journey.
#[derive(Debug, Serialize)]
pub struct PacketAnswer {
    /// Its number among those that are shown.
    pub packet: u64,
    /// Who talks to whom, by its first header.
    pub flow: String,
    /// What became of it.
    pub verdict: &'static str,
    /// Whether it may have been another behind a network.
    pub ambiguous: bool,
    /// Where it was, in order.
    pub stages: Vec<StageAnswer>,
}

/// A packet at a place.
#[derive(Debug, Serialize)]
pub struct StageAnswer {
    /// The host.
    pub host: String,
    /// in: it came into the host; out: it left it; else its outcome there.
    pub stage: String,
    /// The device.
    pub dev: Option<String>,
    /// Time as text.
    pub time: String,
    /// ns of the host's CLOCK_MONOTONIC.
    pub ts: u64,
    /// ns since the stage before, as the clocks are estimated.
    pub since: Option<i64>,
    /// By how much that may be off, ns; 0 within a host.
    pub bound: Option<u64>,
}

/// A stage, and when it was on the common clock.
struct Stage {
    /// The host's number.
    host: usize,
    /// When.
    at: Moment,
    /// What is shown.
    shown: StageAnswer,
}

impl PacketAnswer {
    /// Of a journey: its legs.
    pub fn new(number: u64, way: &[usize], judge: &Judge<'_, '_>, shown: &Shown<'_>) -> Self {
        let mut stages: Vec<StageAnswer> = Vec::new();
        let mut before: Option<(usize, Moment)> = None;
        for stage in way.iter().flat_map(|leg| stages_of(&judge.legs[*leg], judge, shown)) {
            let since = before.map(|(host, at)| (host, stage.at.since(&at), stage.at.ns - at.ns));
            let bound = |(host, (least, most), _): (usize, (i64, i64), i64)| match host == stage.host {
                true => 0,
                false => most.saturating_sub(least).unsigned_abs() / 2,
            };
            before = Some((stage.host, stage.at));
            stages.push(StageAnswer {
                since: since.map(|(_, _, ns)| ns),
                bound: since.map(bound),
                ..stage.shown
            });
        }
        let root = way[0];
        Self {
            packet: number,
            flow: judge.legs[root].flow.to_string(),
            verdict: judge.verdict(root).name(),
            ambiguous: way.iter().any(|leg| judge.joined.ambiguous[*leg]),
            stages,
        }
    }
}

/// Where a packet was in a host.
fn stages_of(leg: &Leg<'_>, judge: &Judge<'_, '_>, shown: &Shown<'_>) -> Vec<Stage> {
    let stage = |ts: u64, stage: String, dev: &str| Stage {
        host: leg.host,
        at: judge.hosts.moment(leg.host, ts),
        shown: StageAnswer {
            host: shown.host(Some(leg.host)),
            stage,
            dev: (!dev.is_empty()).then(|| dev.to_owned()),
            time: shown.labels[leg.host].times.show(ts),
            ts,
            since: None,
            bound: None,
        },
    };
    let at =
        |crossing: &Crossing<'_>, name: &str| stage(crossing.ts, name.to_owned(), crossing.at.dev.text());
    let mut stages: Vec<Stage> = leg.entered.iter().map(|entered| at(entered, "in")).collect();
    match &leg.left {
        Some(left) => stages.push(at(left, "out")),
        None => stages.push(stage(leg.end, leg.outcome.to_string(), "")),
    }
    stages
}

impl Answer for PacketAnswer {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        let time = self.stages.first().map_or("", |stage| &stage.time);
        writeln!(out, "\n[{time}] {}", self.flow)?;
        for (number, stage) in self.stages.iter().enumerate() {
            let since = stage.since.map_or_else(String::new, |ns| {
                let sign = if ns < 0 { '-' } else { '+' };
                format!(" ({sign}{})", span(ns.unsigned_abs()))
            });
            let bound = stage.bound.filter(|bound| *bound > 0).map(|bound| format!(" +- {}", span(bound)));
            let dev = stage.dev.as_deref().unwrap_or_default();
            let what = format!("{} {dev}", stage.stage);
            let (host, ts) = (&stage.host, stage.ts);
            writeln!(out, "  [{number}] {host}  {what}  ts={ts}{since}{}", bound.unwrap_or_default())?;
        }
        let ambiguous = if self.ambiguous { " (may have been another of its flow)" } else { "" };
        writeln!(out, "  STATUS: {}{ambiguous}", self.verdict)?;
        Ok(())
    }

    fn records(&self, _: &Labels, table: &mut Table<'_>) -> Result<()> {
        for stage in &self.stages {
            table.record([
                self.packet.to_string(),
                self.flow.clone(),
                self.verdict.to_owned(),
                self.ambiguous.to_string(),
                stage.host.clone(),
                stage.stage.clone(),
                stage.dev.clone().unwrap_or_default(),
                stage.time.clone(),
                stage.ts.to_string(),
                optional(stage.since),
                optional(stage.bound),
            ])?;
        }
        Ok(())
    }
}

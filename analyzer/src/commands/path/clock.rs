//! The answer about a host: its capture, and its clock against that of the first one.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::answer::{Answer, Head, Labels, Table};
use crate::clock::{Quality, Reason};
use crate::journey::hosts::{Hosts, REFERENCE};
use crate::numbers::{counted, grouped};
use crate::times::span;

/// A capture, and its clock.
#[derive(Debug, Serialize)]
pub struct HostAnswer {
    /// Host, time range, what is missing.
    pub head: Head,
    /// Its clock against that of the first capture; none of the first.
    pub clock: Option<ClockAnswer>,
}

/// A clock against another.
#[derive(Debug, Serialize)]
pub struct ClockAnswer {
    /// The host with the other clock.
    pub reference: String,
    /// How well it is known: accurate, approximate, one_way, clock_only, absent.
    pub quality: &'static str,
    /// What is wrong with it, if anything is.
    pub reason: Option<String>,
    /// This clock minus the other in the middle of the packets that tell it, ns of both CLOCK_MONOTONIC_RAW.
    pub offset: Option<i64>,
    /// The truth is not less, ns.
    pub low: Option<i64>,
    /// The truth is not more, ns.
    pub high: Option<i64>,
    /// By how much it runs faster, 1e-6.
    pub skew_ppm: Option<f64>,
    /// Packets that went directly from the other host to this one, and told it.
    pub there: u64,
    /// Those from this one to the other.
    pub back: u64,
}

impl ClockAnswer {
    /// Of a host's clock.
    pub fn of(host: usize, hosts: &Hosts, names: &[Labels]) -> Option<Self> {
        let (quality, reason) = words(hosts.clocks.quality(REFERENCE, host));
        let told = hosts.told(host);
        let of = |from, to| hosts.messages.get(&(from, to)).map_or(0, |messages| messages.count);
        (host != REFERENCE).then(|| Self {
            reference: names[REFERENCE].host.clone(),
            quality,
            reason,
            offset: told.map(|told| told.offset),
            low: told.and_then(|told| told.low),
            high: told.and_then(|told| told.high),
            skew_ppm: told.map(|told| told.skew * 1e6),
            there: of(REFERENCE, host),
            back: of(host, REFERENCE),
        })
    }

    /// As a sentence.
    fn sentence(&self) -> String {
        let Some(offset) = self.offset else {
            return format!("clock: nothing compares it with that of {}", self.reference);
        };
        let bound = self.low.zip(self.high).map(|(low, high)| high.saturating_sub(low).unsigned_abs() / 2);
        let bound = bound.map_or_else(|| "unknown".to_owned(), span);
        let sign = if offset < 0 { '-' } else { '+' };
        let faster = |skew: f64| if skew < 0.0 { "slower" } else { "faster" };
        let skew = self.skew_ppm;
        let skew = skew.map_or_else(String::new, |ppm| format!(", {:.2} ppm {}", ppm.abs(), faster(ppm)));
        let by = match self.there + self.back {
            0 => "by way of other hosts".to_owned(),
            _ => format!("by {} there and {} back", counted(self.there, "packet"), grouped(self.back)),
        };
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "clock: {sign}{} +- {bound} against {}{skew}; {}{reason}, {by}",
            span(offset.unsigned_abs()),
            self.reference,
            self.quality,
        )
    }
}

/// A quality in words, and what is wrong.
fn words(quality: Quality) -> (&'static str, Option<String>) {
    match quality {
        Quality::Accurate => ("accurate", None),
        Quality::Approximate(Reason::NoFit) => {
            ("approximate", Some("no clock that is steady fits these packets".to_owned()))
        }
        Quality::Approximate(Reason::Inversions(count)) => {
            ("approximate", Some(format!("{} came before they were sent", counted(count as u64, "packet"))))
        }
        Quality::OneWay => ("one_way", Some("packets in one direction only".to_owned())),
        Quality::ClockOnly => ("clock_only", Some("wall clocks only".to_owned())),
        Quality::Absent => ("absent", None),
    }
}

impl Answer for HostAnswer {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        if let Some(clock) = &self.clock {
            writeln!(out, "  {}", clock.sentence())?;
        }
        Ok(())
    }

    fn records(&self, _: &Labels, _: &mut Table<'_>) -> Result<()> {
        Ok(())
    }
}

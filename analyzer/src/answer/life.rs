//! A packet's life as `ntana trace` shows it.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::io::Write;

use anyhow::Result;
use ntc::ColumnId;
use serde::Serialize;

use super::render;
use super::{Answer, EventAnswer, Labels, Table};
use crate::lifecycle::Evidence;
use crate::times::span;

/// A text that may not be known.
type Text<'a> = Option<Cow<'a, str>>;

/// A life with its events.
#[derive(Clone, Debug, Serialize)]
pub struct LifeAnswer<'a> {
    /// Its number in the answer, from 1.
    #[serde(skip)]
    pub number: u64,
    /// Address of its `sk_buff`, hexadecimal.
    pub skb: String,
    /// Who talks to whom.
    pub flow: String,
    /// The packet that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin<'a>>,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// How it ended.
    pub outcome: Ending<'a>,
    /// What proves that it was delivered.
    pub evidence: Evidence,
    /// Devices on its way.
    pub hops: Vec<Device<'a>>,
    /// Whether events were lost meanwhile.
    pub touched_by_loss: bool,
    /// Its events.
    pub events: Vec<EventAnswer<'a>>,
    /// Whether times between events are shown to people.
    #[serde(skip)]
    pub latency: bool,
}

/// The packet that another was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin<'a> {
    /// Address of its `sk_buff`, hexadecimal.
    pub skb: String,
    /// What of it the other is: clone, copy, segment, fragment.
    pub relation: Cow<'a, str>,
}

/// A device on a packet's way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device<'a> {
    /// Namespace, inode.
    pub netns: Option<u32>,
    /// Index of the device.
    pub ifindex: Option<u32>,
    /// Its name.
    pub dev: Text<'a>,
}

/// How a life ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ending<'a> {
    /// Outcome: dropped, delivered, transmitted, consumed, reused, open, unknown.
    pub kind: &'static str,
    /// Why it was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Text<'a>,
    /// Where it was dropped or consumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Text<'a>,
    /// The probe that proves its delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// The device that transmitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Text<'a>,
}

impl Display for Ending<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let or_dash = |text: &Text<'_>| text.as_deref().unwrap_or("-").to_owned();
        let location = or_dash(&self.location);
        match self.kind {
            "dropped" => write!(f, "DROPPED {} at {location}", or_dash(&self.reason)),
            "delivered" => write!(f, "DELIVERED ({})", self.evidence.unwrap_or_default()),
            "transmitted" => write!(f, "TRANSMITTED by {}", or_dash(&self.dev)),
            "consumed" => write!(f, "CONSUMED at {location}"),
            "reused" => f.write_str("REUSED (end not observed)"),
            "open" => f.write_str("OPEN (capture ended)"),
            _ => f.write_str("UNKNOWN (events were lost)"),
        }
    }
}

impl LifeAnswer<'_> {
    /// The names of the columns of its records: what its life is, and its events.
    pub fn columns() -> Vec<&'static str> {
        let own = ["life", "flow", "outcome", "outcome_reason", "outcome_location", "outcome_evidence"];
        let more = ["outcome_dev", "touched_by_loss"];
        own.into_iter()
            .chain(more)
            .chain(EventAnswer::names(&ColumnId::ALL))
            .chain(["verdict_hook"])
            .collect()
    }

    /// Its first line.
    fn title(&self) -> String {
        let origin = match &self.origin {
            Some(Origin { skb, relation }) => format!("  ({relation} of {skb})"),
            None => String::new(),
        };
        let loss = if self.touched_by_loss { "  (events were lost meanwhile)" } else { "" };
        format!("*** {} {}{origin}  {}{loss} ***", self.skb, self.flow, self.outcome)
    }
}

impl Answer for LifeAnswer<'_> {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "\n{}", self.title())?;
        let mut before = self.start;
        for event in &self.events {
            let ts = event.row.number("ts").unwrap_or(before);
            let latency = match self.latency {
                true => format!(" +{}", span(ts.saturating_sub(before))),
                false => String::new(),
            };
            before = ts;
            writeln!(out, "{}{latency}", event.line(labels))?;
            let stack = event.row.text("stack").unwrap_or_default();
            render::stack(stack).try_for_each(|frame| writeln!(out, "    {frame}"))?;
        }
        if self.latency {
            writeln!(out, "total latency: {}", span(self.end.saturating_sub(self.start)))?;
        }
        Ok(())
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        let number = self.number.to_string();
        let Ending { kind, reason, location, evidence, dev } = &self.outcome;
        let loss = self.touched_by_loss.to_string();
        let [reason, location, dev] = [reason, location, dev].map(|text| text.as_deref().unwrap_or_default());
        let own = [&number, &self.flow, *kind, reason, location, evidence.unwrap_or_default(), dev, &loss];
        self.events.iter().try_for_each(|event| {
            own.iter().try_for_each(|field| table.field(field))?;
            event.fields(labels, table)?;
            table.field(event.verdict_hook.unwrap_or_default())?;
            table.end_record()
        })
    }
}

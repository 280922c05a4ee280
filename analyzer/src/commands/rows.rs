//! Events and lives as plain data: the one place where the answers of `replay` and `trace` meet the analysis.

use std::borrow::Cow;

use anyhow::Result;
use ntc::{ColumnId, Value};

use crate::answer::{self, Device, Ending, EventAnswer, LifeAnswer, Origin, Style};
use crate::event::Event;
use crate::lifecycle::{Hop, Life, Outcome};
use crate::names::Name;
use crate::scan::RowCache;
use crate::times::Times;

/// These columns of an event as an answer.
pub fn answer<'a>(
    event: &Event<'_, '_>,
    columns: &'a [ColumnId],
    times: &Times,
    style: Style,
) -> EventAnswer<'a> {
    let (time, row) = (times.show(event.ts), row(event, columns));
    EventAnswer { time, host: None, row, columns, verdict_hook: None, style }
}

/// A life as an answer; its rows are read where they stand.
pub fn life<'a>(
    life: &Life<'a>,
    rows: &mut RowCache<'_>,
    times: &Times,
    style: Style,
) -> Result<LifeAnswer<'a>> {
    let mut events = Vec::with_capacity(life.rows.len());
    for row in &life.rows {
        let event = answer(&rows.event(row.id)?, &ColumnId::ALL, times, style);
        events.push(EventAnswer { verdict_hook: row.by.is_some().then(|| row.by.text()), ..event });
    }
    Ok(LifeAnswer {
        number: 0,
        skb: format!("{:016x}", life.skb),
        flow: life.flow.to_string(),
        origin: life.origin.map(|(parent, relation)| Origin {
            skb: format!("{parent:016x}"),
            relation: relation.text().into(),
        }),
        start: life.start,
        end: life.end,
        outcome: ending(&life.outcome),
        evidence: life.evidence,
        hops: life.hops.iter().map(hop).collect(),
        touched_by_loss: life.touched_by_loss,
        events,
        latency: false,
    })
}

/// A device on a way.
fn hop<'a>(hop: &Hop<'a>) -> Device<'a> {
    let known = |number: u32| Some(number).filter(|number| *number != 0);
    Device { netns: known(hop.at.netns), ifindex: known(hop.at.ifindex), dev: known_text(hop.at.dev) }
}

/// How a life ended.
fn ending<'a>(outcome: &Outcome<'a>) -> Ending<'a> {
    let end = Ending { kind: outcome.kind().name(), ..Ending::default() };
    match *outcome {
        Outcome::Dropped { reason, location } => {
            Ending { reason: known_text(reason), location: known_text(location), ..end }
        }
        Outcome::Delivered { evidence } => Ending { evidence: Some(evidence), ..end },
        Outcome::Transmitted { dev } => Ending { dev: known_text(dev), ..end },
        Outcome::Consumed { location } => Ending { location: known_text(location), ..end },
        Outcome::Reused | Outcome::Open | Outcome::Unknown => end,
    }
}

/// A text, unless there is none.
fn known_text(text: Name<'_>) -> Option<Cow<'_, str>> {
    text.is_some().then(|| Cow::Borrowed(text.text()))
}

/// The columns of an event that have a value; raw bytes are left out.
fn row(event: &Event<'_, '_>, columns: &[ColumnId]) -> answer::Row<'static> {
    let mut row = answer::Row::default();
    for id in columns.iter().copied() {
        match event.value(id) {
            Some(Value::Unsigned(value)) => row.put_number(id.name(), value),
            Some(Value::Signed(value)) => row.put_signed(id.name(), value),
            Some(Value::Bool(value)) => row.put_number(id.name(), value),
            Some(Value::Text(text)) => row.put_text(id.name(), text.to_owned()),
            Some(Value::Bytes(_)) | None => {}
        }
    }
    row
}

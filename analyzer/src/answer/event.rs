//! An event as `ntana replay` and `ntana trace` show it.

use std::io::Write;

use anyhow::Result;
use ntc::ColumnId;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::render;
use super::{Answer, Labels, Row, Table};

/// How lines of events are shown to people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether device, CPU, task and namespace stand before each.
    pub detail: bool,
    /// Whether the packet's address stands before those.
    pub packet: bool,
    /// Whether the host stands before those.
    pub host: bool,
}

/// An event of a capture.
#[derive(Clone, Debug)]
pub struct EventAnswer<'a> {
    /// Its time as text.
    pub time: String,
    /// Its host, where the answer is about several.
    pub host: Option<&'a str>,
    /// Its columns.
    pub row: Row<'a>,
    /// The columns that were asked for.
    pub columns: &'a [ColumnId],
    /// Which of netfilter's hook functions gave the verdict, where the life tells.
    pub verdict_hook: Option<&'a str>,
    /// How it is shown to people.
    pub style: Style,
}

impl EventAnswer<'_> {
    /// The names of the columns of its records.
    pub fn names(columns: &[ColumnId]) -> Vec<&'static str> {
        ["host", "time"].into_iter().chain(columns.iter().map(|column| column.name())).collect()
    }

    /// Its line, without an end.
    pub fn line(&self, labels: &Labels) -> String {
        let host = if self.style.host { format!("[{}]", labels.host) } else { String::new() };
        let packet = match self.style.packet && self.style.detail {
            true => format!("[{:016x}]", self.row.number("skb").unwrap_or(0)),
            false => String::new(),
        };
        let detail = if self.style.detail { render::detail(&self.row, labels) } else { String::new() };
        let (probe, shown) = (render::probe(&self.row), render::packet(&self.row));
        let remarks = render::remarks(&self.row, self.verdict_hook);
        format!("[{}] {host}{packet}{detail}[{probe:<20}] {shown}{remarks}", self.time)
    }

    /// Adds its fields to a record.
    pub fn fields(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        table.field(&labels.host)?;
        table.field(&self.time)?;
        self.columns.iter().try_for_each(|column| match self.row.get(column.name()) {
            Some(value) => table.field(&value.to_string()),
            None => table.field(""),
        })
    }
}

impl Serialize for EventAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        if let Some(host) = self.host {
            map.serialize_entry("host", host)?;
        }
        self.row.values().try_for_each(|(column, value)| map.serialize_entry(column, value))?;
        if let Some(function) = self.verdict_hook {
            map.serialize_entry("verdict_hook", function)?;
        }
        map.end()
    }
}

impl Answer for EventAnswer<'_> {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        Ok(writeln!(out, "{}", self.line(labels))?)
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        self.fields(labels, table)?;
        table.end_record()
    }
}

//! Tables: what a capture says, as rows and columns of Arrow. SQL asks them.
//!
//! [`TableId`] has their names, columns and meanings; [`build`] makes the rows of those that are wanted. `events` is the
//! capture itself, and is not built: a closed capture is a Parquet file.

mod capture;
mod clocks;
mod finding;
mod life;
mod node;
mod rows;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use ntc::Value;
use ntc::catalog::Direction;
use ntc::schema::Type;

use crate::knowledge::Knowledge;
use crate::names::Name;
use crate::source::Source;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What columns of captures hold.
    Of(Type),
    /// A moment of the wall clock: ns since 1970 (UTC).
    Time,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.name(),
            Self::Time => "time",
        }
    }

    /// Its type in Arrow.
    fn data_type(self) -> DataType {
        match self {
            Self::Of(Type::U8) => DataType::UInt8,
            Self::Of(Type::U16) => DataType::UInt16,
            Self::Of(Type::U32) => DataType::UInt32,
            Self::Of(Type::U64) => DataType::UInt64,
            Self::Of(Type::I64) => DataType::Int64,
            Self::Of(Type::Bool) => DataType::Boolean,
            Self::Of(Type::Text) => DataType::Utf8,
            Self::Of(Type::Bytes) => DataType::Binary,
            Self::Time => DataType::Timestamp(TimeUnit::Nanosecond, None),
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, with its unit.
    pub doc: &'static str,
}

/// A column of a type that captures have.
const fn column(name: &'static str, kind: Type, doc: &'static str) -> Column {
    Column { name, kind: Kind::Of(kind), doc }
}

/// A column of wall-clock times.
const fn time(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Time, doc }
}

/// Columns that every table begins with: of which capture a row is.
pub const OF_CAPTURE: [Column; 2] = [
    column("host", Type::Text, "name of the recorded host; the file where the capture has none"),
    column("file", Type::Text, "path of the capture, as it was given"),
];

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableId {
    /// Rows of captures.
    Events,
    /// Ways of packets through a host.
    Lives,
    /// Where packets were seen.
    Sightings,
    /// What went wrong.
    Findings,
    /// The captures themselves.
    Captures,
    /// Network interfaces.
    Interfaces,
    /// What was recorded.
    Probes,
    /// Events that were lost.
    Losses,
    /// Samples of clocks.
    Clocks,
}

impl TableId {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Events,
        Self::Lives,
        Self::Sightings,
        Self::Findings,
        Self::Captures,
        Self::Interfaces,
        Self::Probes,
        Self::Losses,
        Self::Clocks,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Lives => "lives",
            Self::Sightings => "sightings",
            Self::Findings => "findings",
            Self::Captures => "captures",
            Self::Interfaces => "interfaces",
            Self::Probes => "probes",
            Self::Losses => "losses",
            Self::Clocks => "clocks",
        }
    }

    /// The table of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// What a row of it is.
    pub fn doc(self) -> &'static str {
        match self {
            Self::Events => "a row of the capture, as FORMAT.md describes it",
            Self::Lives => "one packet's way through the host, from its first event to its end",
            Self::Sightings => {
                "an event of a life: where the packet was seen, and how long after the step before"
            }
            Self::Findings => "what `ntana diag` finds: a cause, and what follows from it",
            Self::Captures => "a capture: host, kernel, time, how many events it has and how many were lost",
            Self::Interfaces => "a network interface, since it was first seen under its name",
            Self::Probes => "a probe of the recording: how it was attached, or why not, and what it counted",
            Self::Losses => "events of one probe that were lost on one CPU, and when",
            Self::Clocks => "a sample of another clock against CLOCK_MONOTONIC",
        }
    }

    /// Its columns behind [`OF_CAPTURE`].
    pub fn own_columns(self) -> Vec<Column> {
        match self {
            Self::Events => ntc::schema::COLUMNS.iter().map(|c| column(c.name, c.kind, c.doc)).collect(),
            Self::Lives => life::LIVES.to_vec(),
            Self::Sightings => life::SIGHTINGS.to_vec(),
            Self::Findings => finding::COLUMNS.to_vec(),
            Self::Captures => capture::COLUMNS.to_vec(),
            Self::Interfaces => node::INTERFACES.to_vec(),
            Self::Probes => node::PROBES.to_vec(),
            Self::Losses => clocks::LOSSES.to_vec(),
            Self::Clocks => clocks::CLOCKS.to_vec(),
        }
    }

    /// All its columns.
    pub fn columns(self) -> Vec<Column> {
        OF_CAPTURE.into_iter().chain(self.own_columns()).collect()
    }

    /// The Arrow schema of the rows that [`build`] makes: without [`OF_CAPTURE`], which is the same in all of them.
    pub fn schema(self) -> Schema {
        let field = |column: &Column| Field::new(column.name, column.kind.data_type(), true);
        Schema::new(self.own_columns().iter().map(field).collect::<Vec<_>>())
    }
}

/// What takes the rows of tables, some at a time.
pub type Sink<'s> = dyn FnMut(TableId, &RecordBatch) -> Result<()> + 's;

/// Makes the rows of the tables that are wanted of a capture. `events` is none of them.
///
/// # Errors
///
/// When the capture cannot be read, or the rows are not taken.
pub fn build(source: &Source, knowledge: &Knowledge, wanted: &[TableId], sink: &mut Sink<'_>) -> Result<()> {
    // Clocks are learnt while rows are read, and times of the metadata are shown by what was learnt.
    if wanted.iter().any(|table| matches!(table, TableId::Losses | TableId::Clocks)) {
        clocks::build(source, wanted, sink)?;
    }
    if wanted.iter().any(|table| matches!(table, TableId::Lives | TableId::Sightings)) {
        life::build(source, knowledge, wanted, sink)?;
    }
    if wanted.contains(&TableId::Findings) {
        finding::build(source, knowledge, sink)?;
    }
    if wanted.contains(&TableId::Interfaces) {
        node::build_interfaces(source, sink)?;
    }
    if wanted.contains(&TableId::Probes) {
        node::build_probes(source, sink)?;
    }
    if wanted.contains(&TableId::Captures) {
        capture::build(source, sink)?;
    }
    Ok(())
}

/// A number that is known.
fn number<'a>(value: impl Into<u64>) -> Option<Value<'a>> {
    Some(Value::Unsigned(value.into()))
}

/// A truth.
fn truth<'a>(value: bool) -> Option<Value<'a>> {
    Some(Value::Bool(value))
}

/// A text, unless it is empty.
fn text(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then_some(Value::Text(text))
}

/// A text of the capture, if there is one.
fn name(name: Name<'_>) -> Option<Value<'_>> {
    text(name.text())
}

/// Which way a stage leads a packet, if it is one way.
fn direction<'a>(direction: Direction) -> Option<Value<'a>> {
    match direction {
        Direction::In | Direction::Entry => text("in"),
        Direction::Out => text("out"),
        Direction::Any => None,
    }
}

/// The wall clock at a time of CLOCK_MONOTONIC, if it is known.
fn wall<'a>(source: &Source, ts: u64) -> Option<Value<'a>> {
    source.times.realtime(ts).map(Value::Signed)
}

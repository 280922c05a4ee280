//! Rows of a table, handed over some at a time.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Int64Builder, StringBuilder, TimestampNanosecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use ntc::Value;
use ntc::schema::Type;

use super::{Kind, Sink, TableId};

/// Rows that are handed over at once.
const BATCH: usize = 32 << 10;
/// Bytes of text that are handed over at once, about.
const BATCH_BYTES: usize = 16 << 20;

/// Rows of a table that are being made.
pub(super) struct Rows {
    /// The table.
    table: TableId,
    /// Its schema.
    schema: SchemaRef,
    /// Its columns.
    columns: Vec<Builder>,
    /// Rows since some were handed over.
    rows: usize,
    /// Bytes of their texts.
    bytes: usize,
}

impl Rows {
    /// No rows yet.
    pub(super) fn new(table: TableId) -> Self {
        let columns = table.own_columns().iter().map(|column| Builder::new(column.kind)).collect();
        Self { table, schema: Arc::new(table.schema()), columns, rows: 0, bytes: 0 }
    }

    /// No rows yet, if the table is wanted.
    pub(super) fn if_wanted(table: TableId, wanted: &[TableId]) -> Option<Self> {
        wanted.contains(&table).then(|| Self::new(table))
    }

    /// Adds a row: a value for each column.
    pub(super) fn add(&mut self, row: &[Option<Value<'_>>], sink: &mut Sink<'_>) -> Result<()> {
        debug_assert_eq!(row.len(), self.columns.len(), "a row of {:?}", self.table);
        for (column, value) in self.columns.iter_mut().zip(row) {
            self.bytes += if let Some(Value::Text(text)) = value { text.len() } else { 0 };
            column.add(*value);
        }
        self.rows += 1;
        if self.rows >= BATCH || self.bytes >= BATCH_BYTES { self.hand_over(sink) } else { Ok(()) }
    }

    /// Hands over the rest; a table without a row is handed over, too.
    pub(super) fn finish(mut self, sink: &mut Sink<'_>) -> Result<()> {
        self.hand_over(sink)
    }

    /// Hands over the rows so far.
    fn hand_over(&mut self, sink: &mut Sink<'_>) -> Result<()> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)?;
        (self.rows, self.bytes) = (0, 0);
        sink(self.table, &batch)
    }
}

/// A column that is being made.
enum Builder {
    /// Truths.
    Bool(BooleanBuilder),
    /// Numbers.
    U8(UInt8Builder),
    /// Numbers.
    U16(UInt16Builder),
    /// Numbers.
    U32(UInt32Builder),
    /// Numbers.
    U64(UInt64Builder),
    /// Numbers that may be negative.
    I64(Int64Builder),
    /// Texts.
    Text(StringBuilder),
    /// Raw bytes.
    Bytes(BinaryBuilder),
    /// Moments of the wall clock.
    Time(TimestampNanosecondBuilder),
}

impl Builder {
    /// A column without values.
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Of(Type::Bool) => Self::Bool(BooleanBuilder::new()),
            Kind::Of(Type::U8) => Self::U8(UInt8Builder::new()),
            Kind::Of(Type::U16) => Self::U16(UInt16Builder::new()),
            Kind::Of(Type::U32) => Self::U32(UInt32Builder::new()),
            Kind::Of(Type::U64) => Self::U64(UInt64Builder::new()),
            Kind::Of(Type::I64) => Self::I64(Int64Builder::new()),
            Kind::Of(Type::Text) => Self::Text(StringBuilder::new()),
            Kind::Of(Type::Bytes) => Self::Bytes(BinaryBuilder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new()),
        }
    }

    /// Adds a value; one of another type is none.
    fn add(&mut self, value: Option<Value<'_>>) {
        match self {
            Self::Bool(column) => {
                column.append_option(if let Some(Value::Bool(b)) = value { Some(b) } else { None })
            }
            Self::U8(column) => column.append_option(unsigned(value)),
            Self::U16(column) => column.append_option(unsigned(value)),
            Self::U32(column) => column.append_option(unsigned(value)),
            Self::U64(column) => column.append_option(unsigned(value)),
            Self::I64(column) => column.append_option(signed(value)),
            Self::Text(column) => {
                column.append_option(if let Some(Value::Text(t)) = value { Some(t) } else { None })
            }
            Self::Bytes(column) => {
                column.append_option(if let Some(Value::Bytes(b)) = value { Some(b) } else { None })
            }
            Self::Time(column) => column.append_option(signed(value)),
        }
    }

    /// Its values so far; it is empty again.
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(column) => Arc::new(column.finish()),
            Self::U8(column) => Arc::new(column.finish()),
            Self::U16(column) => Arc::new(column.finish()),
            Self::U32(column) => Arc::new(column.finish()),
            Self::U64(column) => Arc::new(column.finish()),
            Self::I64(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Bytes(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
        }
    }
}

/// An unsigned number that the type holds.
fn unsigned<T: TryFrom<u64>>(value: Option<Value<'_>>) -> Option<T> {
    if let Some(Value::Unsigned(number)) = value { T::try_from(number).ok() } else { None }
}

/// A signed number.
fn signed(value: Option<Value<'_>>) -> Option<i64> {
    if let Some(Value::Signed(number)) = value { Some(number) } else { None }
}

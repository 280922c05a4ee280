//! The row builder: values are put column by column, and a row pays only for the values it has.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use crate::columns::{ColumnId, Value};
use crate::error::Error;
use crate::reading::nulls;
use crate::schema::{self, Type};

/// A dictionary with more entries than this is emptied by [`Rows::finish`].
const DICTIONARY_ENTRIES: usize = 65_536;
/// A dictionary with more bytes of text than this is emptied by [`Rows::finish`].
const DICTIONARY_BYTES: usize = 16 << 20;

/// Which rows of a column have no value.
///
/// Nulls are noted as ranges, and only when the next value comes.
#[derive(Debug, Default)]
struct Gaps(Vec<(usize, usize)>);

impl Gaps {
    /// Notes that the rows from `start` to before `end` have no value.
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if start < end {
            self.0.push((start, end));
        }
    }

    /// Takes the ranges as Arrow's bitmap of `rows` rows.
    fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut bits = vec![0xff_u8; rows.div_ceil(8)];
        for (start, end) in self.0.drain(..) {
            clear(&mut bits, start, end.min(rows));
        }
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)))
    }
}

/// Clears the bits from `start` to before `end`, whole bytes at once where it can.
fn clear(bits: &mut [u8], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        if at.is_multiple_of(8) && end - at >= 8 {
            bits[at / 8] = 0;
            at += 8;
        } else {
            bits[at / 8] &= !(1 << (at % 8));
            at += 1;
        }
    }
}

/// A column of numbers or truth values that is being filled.
#[derive(Debug, Default)]
pub struct Column<T> {
    /// Values up to the last row that has one; skipped rows repeat the one before, so that they part no runs.
    values: Vec<T>,
    /// The skipped rows.
    gaps: Gaps,
}

impl<T: Copy + Default> Column<T> {
    /// Sets the value of `row`, which is the newest row; a second value replaces the first.
    #[inline]
    pub fn put(&mut self, row: usize, value: T) {
        if row != self.values.len() {
            self.seek(row);
        }
        self.values.push(value);
    }

    /// Makes `row` the next to be pushed.
    #[inline]
    fn seek(&mut self, row: usize) {
        self.gaps.add(self.values.len(), row);
        let before = self.values.last().copied().unwrap_or_default();
        if row == self.values.len() + 1 {
            self.values.push(before);
        } else {
            self.values.resize(row, before);
        }
    }

    /// Takes the values and the bitmap of `rows` rows, or nothing where no row has a value.
    fn take(&mut self, rows: usize) -> Option<(Vec<T>, Option<NullBuffer>)> {
        if self.values.is_empty() {
            return None;
        }
        self.seek(rows);
        // A fresh vector of the same room: the old one becomes Arrow's buffer without a copy.
        let values = mem::replace(&mut self.values, Vec::with_capacity(rows));
        Some((values, self.gaps.take(rows)))
    }
}

impl<T: Copy + Default + TryFrom<u64> + TryFrom<i64>> Column<T> {
    /// Sets the value of `row` if it is a number that fits.
    fn put_number(&mut self, row: usize, value: Value<'_>) -> Option<()> {
        let number = match value {
            Value::Unsigned(number) => T::try_from(number).ok()?,
            Value::Signed(number) => T::try_from(number).ok()?,
            _ => return None,
        };
        self.put(row, number);
        Some(())
    }
}

impl<T: Copy + Default + ArrowNativeType> Column<T> {
    /// Takes the column as an Arrow array of `rows` rows.
    fn array<A: ArrowPrimitiveType<Native = T>>(&mut self, kind: Type, rows: usize) -> ArrayRef {
        let Some((values, nulls)) = self.take(rows) else { return nulls::array(kind, rows) };
        Arc::new(PrimitiveArray::<A>::new(ScalarBuffer::from(values), nulls))
    }
}

impl Column<bool> {
    /// Sets the value of `row` if it is one of truth.
    fn put_bool(&mut self, row: usize, value: Value<'_>) -> Option<()> {
        let Value::Bool(value) = value else { return None };
        self.put(row, value);
        Some(())
    }

    /// Takes the column as an Arrow array of `rows` rows.
    fn bools(&mut self, rows: usize) -> ArrayRef {
        let Some((values, nulls)) = self.take(rows) else { return nulls::array(Type::Bool, rows) };
        Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
    }
}

/// A column of text that is being filled: keys into a dictionary that stays from batch to batch.
#[derive(Debug, Default)]
pub struct Text {
    /// The key of each row.
    keys: Column<i32>,
    /// The keys by text. The default hasher is keyed by random bits, as names and addresses come from outside.
    index: HashMap<Box<str>, i32, ahash::RandomState>,
    /// The texts by key, one behind the other.
    bytes: Vec<u8>,
    /// Where each text begins, and the end of the last.
    offsets: Vec<i32>,
    /// The dictionary as an array, as long as nothing was added.
    values: Option<ArrayRef>,
}

impl Text {
    /// The key of a text. It stays valid until [`Rows::generation`] changes.
    pub fn intern(&mut self, text: &str) -> i32 {
        if let Some(key) = self.index.get(text) {
            return *key;
        }
        let key = self.index.len() as i32;
        self.index.insert(text.into(), key);
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
        self.values = None;
        key
    }

    /// Sets the value of `row`, which is the newest row, by its key.
    #[inline]
    pub fn put(&mut self, row: usize, key: i32) {
        self.keys.put(row, key);
    }

    /// Sets the value of `row`, which is the newest row.
    pub fn put_str(&mut self, row: usize, text: &str) {
        let key = self.intern(text);
        self.put(row, key);
    }

    /// Sets the value of `row` if it is text.
    fn put_text(&mut self, row: usize, value: Value<'_>) -> Option<()> {
        let Value::Text(text) = value else { return None };
        self.put_str(row, text);
        Some(())
    }

    /// Takes the column as an Arrow array of `rows` rows.
    fn array(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let Some((keys, nulls)) = self.keys.take(rows) else {
            return Ok(nulls::array(Type::Text, rows));
        };
        let keys = PrimitiveArray::<Int32Type>::new(ScalarBuffer::from(keys), nulls);
        Ok(Arc::new(DictionaryArray::try_new(keys, self.values()?)?))
    }

    /// The dictionary as an Arrow array.
    fn values(&mut self) -> Result<ArrayRef, ArrowError> {
        if let Some(values) = &self.values {
            return Ok(values.clone());
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        let values = StringArray::try_new(offsets, Buffer::from_slice_ref(&self.bytes), None)?;
        Ok(self.values.insert(Arc::new(values)).clone())
    }

    /// Empties a dictionary that grew too large, and says whether it did.
    fn shrink(&mut self) -> bool {
        let large = self.index.len() > DICTIONARY_ENTRIES || self.bytes.len() > DICTIONARY_BYTES;
        if large {
            *self = Self { keys: mem::take(&mut self.keys), ..Self::default() };
        }
        large
    }
}

/// A column of raw bytes that is being filled.
#[derive(Debug, Default)]
pub struct Bytes {
    /// The values, one behind the other.
    bytes: Vec<u8>,
    /// Where each row's value ends.
    ends: Column<i32>,
}

impl Bytes {
    /// Sets the value of `row`, which is the newest row.
    pub fn put(&mut self, row: usize, value: &[u8]) {
        self.seek(row);
        self.bytes.extend_from_slice(value);
        self.ends.values.push(self.bytes.len() as i32);
    }

    /// Sets the value of `row` if it is raw bytes.
    fn put_bytes(&mut self, row: usize, value: Value<'_>) -> Option<()> {
        let Value::Bytes(bytes) = value else { return None };
        self.put(row, bytes);
        Some(())
    }

    /// Makes `row` the next to be pushed: skipped rows end where they begin.
    fn seek(&mut self, row: usize) {
        self.ends.gaps.add(self.ends.values.len(), row);
        self.ends.values.truncate(row);
        let end = self.ends.values.last().copied().unwrap_or(0);
        self.bytes.truncate(end as usize);
        self.ends.values.resize(row, end);
    }

    /// Takes the column as an Arrow array of `rows` rows.
    fn array(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.ends.values.is_empty() {
            return Ok(nulls::array(Type::Bytes, rows));
        }
        self.seek(rows);
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        offsets.append(&mut self.ends.values);
        let room = self.bytes.len();
        let bytes = mem::replace(&mut self.bytes, Vec::with_capacity(room));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), self.ends.gaps.take(rows))?))
    }
}

include!(concat!(env!("OUT_DIR"), "/rows.rs"));

impl Rows {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a row and returns its index, by which values are put.
    #[expect(clippy::should_implement_trait, reason = "a builder, nothing to iterate over")]
    pub fn next(&mut self) -> usize {
        self.begun += 1;
        self.begun - 1
    }

    /// Rows begun since the last [`Rows::finish`].
    pub fn len(&self) -> usize {
        self.begun
    }

    /// Whether no row was begun since the last [`Rows::finish`].
    pub fn is_empty(&self) -> bool {
        self.begun == 0
    }

    /// Changes whenever dictionaries were emptied: keys from [`Text::intern`] must then be asked for again.
    pub fn generation(&self) -> u64 {
        self.emptied
    }

    /// Sets the value of `row`, which is the newest row, in a column that is known by its id only.
    pub fn put(&mut self, row: usize, column: ColumnId, value: Value<'_>) -> Result<(), Error> {
        let what = || format!("column {} cannot hold {value:?}", column.name());
        self.put_by_id(row, column, value).ok_or_else(|| Error::Schema { what: what() })
    }

    /// Takes the rows as a batch. Room and dictionaries are kept for the next ones.
    pub fn finish(&mut self) -> Result<RecordBatch, Error> {
        let batch = self.batch().map_err(|e| Error::Schema { what: e.to_string() });
        let texts = self.texts();
        // Every dictionary is looked at: `any` alone would stop at the first that was emptied.
        if texts.into_iter().map(Text::shrink).filter(|emptied| *emptied).count() > 0 {
            self.emptied += 1;
        }
        batch
    }

    /// Takes the rows as a batch.
    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = mem::take(&mut self.begun);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema::schema(), self.arrays(rows)?, &options)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;
    use crate::columns::Batch;

    /// A value of the column's type that no other column has.
    fn distinct(column: ColumnId, text: &str) -> Value<'_> {
        let number = column as u64 + 1;
        match column.column().kind {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::Unsigned(number),
            Type::I64 => Value::Signed(-(number as i64)),
            Type::Bool => Value::Bool(true),
            Type::Text => Value::Text(text),
            Type::Bytes => Value::Bytes(text.as_bytes()),
        }
    }

    #[test]
    fn what_is_put_into_a_field_is_in_the_column_of_its_name() {
        let mut rows = Rows::new();
        for column in ColumnId::ALL {
            let row = rows.next();
            for required in [ColumnId::Ts, ColumnId::Cpu, ColumnId::Kind] {
                rows.put(row, required, distinct(required, "required")).unwrap();
            }
            rows.put(row, column, distinct(column, column.name())).unwrap();
        }
        let batch = Batch::new(rows.finish().unwrap());
        for (row, column) in ColumnId::ALL.into_iter().enumerate() {
            assert_eq!(batch.value(column, row), Some(distinct(column, column.name())), "{column:?}");
            let others =
                ColumnId::ALL.into_iter().filter(|other| *other != column && !other.column().required);
            others.for_each(|other| assert_eq!(batch.value(other, row), None, "{other:?} in row {row}"));
            assert_eq!(batch.record().schema().field(row).name(), column.name());
        }
    }

    #[test]
    fn fields_have_the_names_of_the_columns() {
        let mut rows = Rows::new();
        let row = rows.next();
        rows.ts.put(row, 1);
        rows.cpu.put(row, 2);
        rows.kind.put_str(row, "pkt");
        rows.ttl.put(row, 3);
        rows.tcp_seq.put(row, 4);
        rows.tcp_ack.put(row, 5);
        rows.ret.put(row, -6);
        rows.more_frags.put(row, true);
        rows.header.put(row, b"seven");
        let batch = rows.finish().unwrap();
        let u32 = |name: &str| batch[name].as_primitive::<UInt32Type>().value(0);
        assert_eq!((u32("tcp_seq"), u32("tcp_ack")), (4, 5));
        assert_eq!(batch["ts"].as_primitive::<UInt64Type>().value(0), 1);
        assert_eq!(batch["cpu"].as_primitive::<UInt16Type>().value(0), 2);
        assert_eq!(batch["ttl"].as_primitive::<UInt8Type>().value(0), 3);
        assert_eq!(batch["ret"].as_primitive::<Int64Type>().value(0), -6);
        assert!(batch["more_frags"].as_boolean().value(0));
        assert_eq!(batch["header"].as_binary::<i32>().value(0), b"seven");
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        let mut rows = Rows::new();
        let row = rows.next();
        let refused = rows.put(row, ColumnId::Ttl, Value::Unsigned(256)).unwrap_err();
        assert_eq!(refused.to_string(), "rows do not fit the schema: column ttl cannot hold Unsigned(256)");
        assert!(rows.put(row, ColumnId::Dev, Value::Unsigned(1)).is_err());
        assert!(rows.put(row, ColumnId::Ret, Value::Unsigned(1)).is_ok());
    }
}

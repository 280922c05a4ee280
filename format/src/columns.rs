//! Typed access to the columns of a batch by their ids. Nothing here trusts the batch: a value that cannot be is absent.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Int32Array, Int64Array, PrimitiveArray,
    RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};

use crate::schema::{self, COLUMNS, Column, Type};

include!(concat!(env!("OUT_DIR"), "/columns.rs"));

impl ColumnId {
    /// What the schema says about it.
    pub fn column(self) -> &'static Column {
        &COLUMNS[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.column().name
    }

    /// The column of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }
}

/// A value of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// An unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

/// Some columns of some rows.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns in the order they were asked for.
    record: RecordBatch,
    /// By id: those that are there with the type of the schema and have a value at all.
    columns: Box<[Option<ArrayRef>]>,
}

impl Batch {
    /// Finds the columns by their names. One of another type than the schema says counts as absent.
    pub fn new(record: RecordBatch) -> Self {
        let find = |id: ColumnId| {
            let array = record.column_by_name(id.name())?;
            let typed = *array.data_type() == schema::data_type(id.column().kind);
            (typed && array.null_count() < array.len()).then(|| array.clone())
        };
        let columns = ColumnId::ALL.into_iter().map(find).collect();
        Self { record, columns }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.record.num_rows()
    }

    /// The columns as they were asked for.
    pub fn record(&self) -> &RecordBatch {
        &self.record
    }

    /// A column that has a value at all.
    fn array(&self, column: ColumnId) -> Option<&ArrayRef> {
        self.columns.get(column as usize)?.as_ref()
    }

    /// A column of 8-bit numbers; like all of these, nothing where it is absent, of another type, or null in all rows.
    pub fn u8(&self, column: ColumnId) -> Option<&UInt8Array> {
        self.array(column)?.as_primitive_opt()
    }

    /// A column of 16-bit numbers.
    pub fn u16(&self, column: ColumnId) -> Option<&UInt16Array> {
        self.array(column)?.as_primitive_opt()
    }

    /// A column of 32-bit numbers.
    pub fn u32(&self, column: ColumnId) -> Option<&UInt32Array> {
        self.array(column)?.as_primitive_opt()
    }

    /// A column of 64-bit numbers.
    pub fn u64(&self, column: ColumnId) -> Option<&UInt64Array> {
        self.array(column)?.as_primitive_opt()
    }

    /// A column of signed numbers.
    pub fn i64(&self, column: ColumnId) -> Option<&Int64Array> {
        self.array(column)?.as_primitive_opt()
    }

    /// A column of truth values.
    pub fn bool(&self, column: ColumnId) -> Option<&BooleanArray> {
        self.array(column)?.as_boolean_opt()
    }

    /// A column of unsigned numbers of any width.
    pub fn unsigned(&self, column: ColumnId) -> Unsigned<'_> {
        match column.column().kind {
            Type::U8 => self.u8(column).map_or(Unsigned::Absent, Unsigned::U8),
            Type::U16 => self.u16(column).map_or(Unsigned::Absent, Unsigned::U16),
            Type::U32 => self.u32(column).map_or(Unsigned::Absent, Unsigned::U32),
            Type::U64 => self.u64(column).map_or(Unsigned::Absent, Unsigned::U64),
            _ => Unsigned::Absent,
        }
    }

    /// A column of text.
    pub fn text(&self, column: ColumnId) -> Option<TextColumn<'_>> {
        let array = self.array(column)?.as_dictionary_opt::<Int32Type>()?;
        Some(TextColumn { keys: array.keys(), values: array.values().as_string_opt()? })
    }

    /// A column of raw bytes.
    pub fn bytes(&self, column: ColumnId) -> Option<BytesColumn<'_>> {
        self.array(column)?.as_binary_opt().map(BytesColumn)
    }

    /// The value of a row, if there is one.
    pub fn value(&self, column: ColumnId, row: usize) -> Option<Value<'_>> {
        match column.column().kind {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                self.unsigned(column).get(row).map(Value::Unsigned)
            }
            Type::I64 => number(self.i64(column)?, row).map(Value::Signed),
            Type::Bool => {
                let array = self.bool(column).filter(|array| has(*array, row))?;
                Some(Value::Bool(array.value(row)))
            }
            Type::Text => self.text(column)?.get(row).map(Value::Text),
            Type::Bytes => self.bytes(column)?.get(row).map(Value::Bytes),
        }
    }
}

/// A column of unsigned numbers.
#[derive(Clone, Copy, Debug)]
pub enum Unsigned<'a> {
    /// No row has a value.
    Absent,
    /// Of 8 bits.
    U8(&'a UInt8Array),
    /// Of 16 bits.
    U16(&'a UInt16Array),
    /// Of 32 bits.
    U32(&'a UInt32Array),
    /// Of 64 bits.
    U64(&'a UInt64Array),
}

impl Unsigned<'_> {
    /// The value of a row, if there is one.
    #[inline]
    pub fn get(&self, row: usize) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::U8(array) => number(array, row).map(u64::from),
            Self::U16(array) => number(array, row).map(u64::from),
            Self::U32(array) => number(array, row).map(u64::from),
            Self::U64(array) => number(array, row),
        }
    }
}

/// A column of text: keys into a dictionary.
#[derive(Clone, Copy, Debug)]
pub struct TextColumn<'a> {
    /// The key of each row.
    keys: &'a Int32Array,
    /// The texts.
    values: &'a StringArray,
}

impl<'a> TextColumn<'a> {
    /// The key of a row: an index into [`TextColumn::values`].
    #[inline]
    pub fn key(&self, row: usize) -> Option<usize> {
        let key = usize::try_from(number(self.keys, row)?).ok()?;
        (key < self.values.len()).then_some(key)
    }

    /// The key of each row, as they stand in the batch: any of them may be wrong.
    pub fn keys(&self) -> &'a Int32Array {
        self.keys
    }

    /// The dictionary. No key needs to point at all of it.
    pub fn values(&self) -> &'a StringArray {
        self.values
    }

    /// The text of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let key = self.key(row).filter(|key| has(self.values, *key))?;
        Some(self.values.value(key))
    }
}

/// A column of raw bytes.
#[derive(Clone, Copy, Debug)]
pub struct BytesColumn<'a>(&'a BinaryArray);

impl<'a> BytesColumn<'a> {
    /// The column as it stands in the batch.
    pub fn array(&self) -> &'a BinaryArray {
        self.0
    }

    /// The bytes of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        has(self.0, row).then(|| self.0.value(row))
    }
}

/// Whether there is such a row, and it has a value.
#[inline]
fn has(array: &impl Array, row: usize) -> bool {
    row < array.len() && array.is_valid(row)
}

/// A number of a row.
#[inline]
fn number<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    has(array, row).then(|| array.value(row))
}

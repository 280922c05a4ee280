//! What the tests share: made-up rows, temporary captures.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{BinaryBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, RecordBatch};
use ntc::schema::{self, COLUMNS, Column, Type};
use ntc::{Capture, ColumnId, Metadata, Options, Writer};

/// Random numbers (xorshift).
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// How a column's values of one batch are spread.
struct Spread {
    /// Of 100 rows so many have no value.
    nulls: u64,
    /// So many different values.
    distinct: u64,
    /// So often a value repeats.
    repeat: u64,
}

impl Spread {
    /// A random one.
    fn new(random: &mut Random) -> Self {
        let pick = |random: &mut Random, of: &[u64]| of[random.below(of.len() as u64) as usize];
        Self {
            nulls: pick(random, &[0, 0, 1, 50, 99, 100]),
            distinct: pick(random, &[1, 2, 5, 1000, u64::MAX]),
            repeat: pick(random, &[1, 1, 5, 300]),
        }
    }

    /// Values for `rows` rows.
    fn values(&self, rows: usize, random: &mut Random) -> Vec<Option<u64>> {
        let mut values = Vec::new();
        while values.len() < rows {
            let value = (random.below(100) >= self.nulls).then(|| random.below(self.distinct));
            values.extend(vec![value; self.repeat as usize]);
        }
        values.truncate(rows);
        values
    }
}

/// A batch of random rows, with all types, many and few nulls, many and few different values.
pub fn batch(seed: u64, first_row: u64, rows: usize) -> RecordBatch {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let arrays = COLUMNS.iter().map(|column| array(column, first_row, rows, &mut random)).collect();
    RecordBatch::try_new(schema::schema(), arrays).unwrap()
}

/// One column of it; times grow.
fn array(column: &Column, first_row: u64, rows: usize, random: &mut Random) -> ArrayRef {
    let mut spread = Spread::new(random);
    if column.required {
        spread.nulls = 0;
    }
    let mut values = spread.values(rows, random);
    if column.name == "ts" {
        values = (0..rows as u64).map(|row| Some((first_row + row) * 1000 + random.below(1000))).collect();
    }
    typed(column, &values)
}

/// A batch in which every column has a value in every row, always the same.
pub fn constant_batch(rows: usize) -> RecordBatch {
    let arrays = COLUMNS.iter().map(|column| typed(column, &vec![Some(1); rows])).collect();
    RecordBatch::try_new(schema::schema(), arrays).unwrap()
}

/// Values as an array of a column's type.
fn typed(column: &Column, values: &[Option<u64>]) -> ArrayRef {
    match column.kind {
        Type::U8 => numbers::<UInt8Type>(values, |v| v as u8),
        Type::U16 => numbers::<UInt16Type>(values, |v| v as u16),
        Type::U32 => numbers::<UInt32Type>(values, |v| v as u32),
        Type::U64 => numbers::<UInt64Type>(values, |v| v),
        Type::I64 => numbers::<Int64Type>(values, |v| v as i64),
        Type::Bool => Arc::new(values.iter().map(|v| v.map(|v| v % 2 == 1)).collect::<BooleanArray>()),
        Type::Text => texts(values),
        Type::Bytes => binary(values),
    }
}

/// Numbers as an array.
fn numbers<A: ArrowPrimitiveType>(values: &[Option<u64>], cast: fn(u64) -> A::Native) -> ArrayRef {
    Arc::new(values.iter().map(|v| v.map(cast)).collect::<PrimitiveArray<A>>())
}

/// Texts as an array.
fn texts(values: &[Option<u64>]) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    values.iter().for_each(|v| builder.append_option(v.map(|v| format!("text {}", v % 5000))));
    Arc::new(builder.finish())
}

/// Bytes as an array.
fn binary(values: &[Option<u64>]) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.iter().for_each(|v| builder.append_option(v.map(|v| v.to_le_bytes().repeat((v % 9) as usize))));
    Arc::new(builder.finish())
}

/// Options for small captures: no room reserved, rows go to the journal at once.
pub fn options(group_rows: usize) -> Options {
    Options { reserve: 0, group_rows, journal_age: Duration::ZERO, ..Options::default() }
}

/// Metadata that is not empty.
pub fn metadata() -> Metadata {
    Metadata {
        recorder: "ntrec 0.1.0".to_owned(),
        command: vec!["ntrec".to_owned(), "capture".to_owned()],
        host: ntc::Host { name: "node1".to_owned(), cpus: 2, ..ntc::Host::default() },
        started: 1,
        ..Metadata::default()
    }
}

/// A folder for one test and the path of a capture in it.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.ntc");
    (folder, path)
}

/// The bytes of a closed capture of so many batches of so many rows.
pub fn closed(batches: u64, rows: usize, group_rows: usize) -> Vec<u8> {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(group_rows), false).unwrap();
    for at in 0..batches {
        writer.write(&batch(at + 1, at * rows as u64, rows)).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

/// All rows of a capture as one batch.
pub fn all(capture: &Capture) -> RecordBatch {
    let read = |group| capture.read(group, &ColumnId::ALL).unwrap().record().clone();
    join(&(0..capture.groups().len()).map(read).collect::<Vec<_>>())
}

/// Several batches as one.
pub fn join(batches: &[RecordBatch]) -> RecordBatch {
    let batches: Vec<_> = batches
        .iter()
        .map(|b| RecordBatch::try_new(schema::schema(), b.columns().to_vec()).unwrap())
        .collect();
    arrow_select::concat::concat_batches(&schema::schema(), &batches).unwrap()
}

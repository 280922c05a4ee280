//! Captures that another program wrote anew: other types, other encodings, other row groups.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use common::{all, batch, metadata, place};
use ntc::{Capture, ColumnId, State, Value};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

/// Names and arrays.
type Columns = Vec<(String, ArrayRef)>;

/// A batch's columns.
fn columns(batch: &RecordBatch) -> Columns {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.zip(batch.columns().iter().cloned()).collect()
}

/// A column with another array in its place.
fn replaced(batch: &RecordBatch, name: &str, array: ArrayRef) -> Columns {
    let swap = |(own, old): (String, ArrayRef)| if own == name { (own, array.clone()) } else { (own, old) };
    columns(batch).into_iter().map(swap).collect()
}

/// Writes columns as another program would, with the metadata of a capture or without.
fn write(path: &Path, columns: Columns, key: Option<&str>, properties: fn() -> WriterProperties) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties())).unwrap();
    writer.write(&batch).unwrap();
    if let Some(json) = key {
        writer.append_key_value_metadata(KeyValue::new("ntc".to_owned(), json.to_owned()));
    }
    writer.close().unwrap();
}

/// Small row groups, compressed by zstd.
fn small() -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    WriterProperties::builder().set_compression(zstd).set_max_row_group_row_count(Some(300)).build()
}

/// One row group, compressed by snappy, without dictionaries or statistics.
fn bare() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .build()
}

/// The metadata of a capture as JSON.
fn json() -> String {
    serde_json::to_string(&metadata()).unwrap()
}

/// Writes columns and opens them.
fn opened(
    columns: Columns,
    properties: fn() -> WriterProperties,
) -> (tempfile::TempDir, Result<Capture, ntc::Error>) {
    let (folder, path) = place();
    write(&path, columns, Some(&json()), properties);
    (folder, Capture::open(&path))
}

/// What is said of a file that cannot be a capture.
fn refusal(columns: Columns) -> String {
    let (_folder, capture) = opened(columns, small);
    let message = capture.unwrap_err().to_string();
    message.split_once(": ").unwrap().1.to_owned()
}

/// Whether two batches have the same values, whatever the order of their dictionaries.
fn assert_same(read: &RecordBatch, expected: &RecordBatch) {
    let (read, expected) = (ntc::Batch::new(read.clone()), ntc::Batch::new(expected.clone()));
    assert_eq!(read.rows(), expected.rows());
    for column in ColumnId::ALL {
        for row in 0..read.rows() {
            assert_eq!(read.value(column, row), expected.value(column, row), "{column:?} in row {row}");
        }
    }
}

#[test]
fn the_same_values_come_back() {
    let rows = batch(11, 0, 1000);
    for properties in [small, bare] {
        let (_folder, capture) = opened(columns(&rows), properties);
        let capture = capture.unwrap();
        assert_eq!((*capture.state(), capture.rows(), capture.notes().len()), (State::Closed, 1000, 0));
        assert_eq!(capture.metadata().host.name, "node1");
        let times = rows["ts"].as_primitive::<UInt64Type>();
        let (first, last) = (capture.groups()[0], capture.groups().last().unwrap());
        assert_eq!((first.first_ts, last.last_ts), (times.value(0), times.value(999)));
        assert_same(&all(&capture), &rows);
    }
}

#[test]
fn other_types_are_read_where_nothing_is_lost() {
    let rows = batch(12, 0, 700);
    let plain = |array: &ArrayRef| -> ArrayRef {
        let texts = array.as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
        Arc::new(texts.into_iter().collect::<StringArray>())
    };
    let changed = columns(&rows).into_iter().map(|(name, array)| match name.as_str() {
        "kind" | "dev" | "saddr" => (name, plain(&array)),
        "cpu" => {
            let wide: UInt64Array =
                array.as_primitive::<UInt16Type>().iter().map(|n| n.map(u64::from)).collect();
            (name, Arc::new(wide) as ArrayRef)
        }
        "tcp_seq" => {
            let signed: Int64Array =
                array.as_primitive::<UInt32Type>().iter().map(|n| n.map(i64::from)).collect();
            (name, Arc::new(signed) as ArrayRef)
        }
        _ => (name, array),
    });
    let mut changed: Columns = changed.collect();
    changed.reverse();
    changed.push(("of_tomorrow".to_owned(), Arc::new(Float64Array::from(vec![1.5; 700]))));
    let (_folder, capture) = opened(changed, small);
    assert_same(&all(&capture.unwrap()), &rows);
}

#[test]
fn a_row_group_that_is_too_large_is_read_in_slices() {
    let rows = batch(13, 0, 200_000);
    let few: Columns = columns(&rows)
        .into_iter()
        .filter(|(name, _)| ["ts", "cpu", "kind"].contains(&name.as_str()))
        .collect();
    let (_folder, capture) = opened(few, bare);
    let capture = capture.unwrap();
    assert_eq!(capture.groups().iter().map(|group| group.rows).collect::<Vec<_>>(), [131_072, 68_928]);
    assert_eq!(capture.groups()[1].first_row, 131_072);
    assert!(capture.groups()[0].last_ts < capture.groups()[1].first_ts);
    let read = capture.read(1, &[ColumnId::Ts, ColumnId::Skb]).unwrap();
    let last = rows["ts"].as_primitive::<UInt64Type>().value(199_999);
    assert_eq!(read.value(ColumnId::Ts, 68_927), Some(Value::Unsigned(last)));
    assert_eq!(read.value(ColumnId::Skb, 0), None);
    let part = capture.read_rows(1, 68_900..68_928, &[ColumnId::Ts]).unwrap();
    assert_eq!((part.rows(), part.value(ColumnId::Ts, 27)), (28, Some(Value::Unsigned(last))));
}

#[test]
fn what_cannot_be_a_capture_is_one_sentence() {
    let rows = batch(14, 0, 400);
    let without: Columns = columns(&rows).into_iter().filter(|(name, _)| name != "kind").collect();
    let said = "cannot be read as a capture: the column ";
    assert_eq!(refusal(without), format!("{said}kind, which every row needs, is missing"));
    let halves: ArrayRef = Arc::new(Float32Array::from(vec![1.0; 400]));
    assert_eq!(
        refusal(replaced(&rows, "len", halves)),
        format!("{said}len has the type Float32, from which no u32 can be made")
    );
    let text: ArrayRef = Arc::new(StringArray::from(vec!["now"; 400]));
    let message = refusal(replaced(&rows, "ts", text));
    assert!(
        message.starts_with(&format!("{said}ts has the type")) && message.ends_with("no u64 can be made"),
        "{message}"
    );
}

#[test]
fn whole_numbers_that_were_written_as_floats_are_read() {
    let rows = batch(20, 0, 400);
    let float = |row: u32| match row % 4 {
        0 => None,
        1 => Some(f64::NAN),
        _ => Some(f64::from(u32::MAX - row)),
    };
    let floats: ArrayRef = Arc::new((0..400).map(float).collect::<Float64Array>());
    let (_folder, capture) = opened(replaced(&rows, "len", floats), bare);
    let read = capture.unwrap().read(0, &[ColumnId::Len]).unwrap();
    for row in 0..400 {
        let number = (row % 4 > 1).then(|| Value::Unsigned(u64::from(u32::MAX - row)));
        assert_eq!(read.value(ColumnId::Len, row as usize), number, "row {row}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_told_when_it_is_read() {
    let rows = batch(15, 0, 400);
    let of_floats = |float: f64| Arc::new(Float64Array::from(vec![float; 400])) as ArrayRef;
    let rounded = "the value 18446612687300000000 as Float64, which may have been rounded: write it anew as a whole number \
                   (pandas: dtype_backend='pyarrow')";
    for (column, array, what) in [
        (
            ColumnId::Len,
            Arc::new(Int64Array::from(vec![-1; 400])) as ArrayRef,
            "the value -1, which no u32 can be",
        ),
        (ColumnId::Len, of_floats(1.5), "the value 1.5, which no u32 can be"),
        (ColumnId::Ttl, of_floats(256.0), "the value 256, which no u8 can be"),
        (ColumnId::Skb, of_floats(18_446_612_687_300_000_000.0), rounded),
    ] {
        let (_folder, capture) = opened(replaced(&rows, column.name(), array), small);
        let capture = capture.unwrap();
        assert!(capture.read(0, &[ColumnId::Ts]).is_ok());
        let message = capture.read(0, &[column]).unwrap_err().to_string();
        assert!(message.ends_with(&format!("the column {} has {what}", column.name())), "{message}");
    }
}

#[test]
fn rows_that_are_not_in_the_order_of_time_are_told() {
    let rows = batch(16, 0, 900);
    let back: UInt64Array = rows["ts"].as_primitive::<UInt64Type>().iter().rev().collect();
    let (_folder, capture) = opened(replaced(&rows, "ts", Arc::new(back)), small);
    let capture = capture.unwrap();
    assert!(
        capture.notes()[0].contains("not in the order of time (row 300 is earlier"),
        "{:?}",
        capture.notes()
    );
}

#[test]
fn the_key_decides() {
    let (_folder, path) = place();
    let message = |path: &PathBuf| Capture::open(path).unwrap_err().to_string();
    write(&path, columns(&batch(17, 0, 20)), None, small);
    assert!(
        message(&path).contains("not a capture: it is a Parquet file without the key ntc"),
        "{}",
        message(&path)
    );
    write(&path, columns(&batch(17, 0, 20)), Some("{"), small);
    assert!(message(&path).contains("the key ntc: metadata: "), "{}", message(&path));
    write(&path, columns(&batch(17, 0, 20)), Some(r#"{"format": 3}"#), small);
    assert!(
        message(&path).ends_with("format 3 is newer than this build reads (up to 2); update ntana"),
        "{}",
        message(&path)
    );
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let (_folder, path) = place();
    write(&path, columns(&batch(18, 0, 120)), Some(&json()), small);
    let bytes = std::fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(47) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        ntc::exercise(&[&[0], damaged.as_slice()].concat());
        ntc::exercise(&[&[0], &bytes[..at]].concat());
    }
}

#[test]
fn a_rewritten_capture_becomes_one_of_ours() {
    let rows = batch(19, 0, 500);
    let (folder, capture) = opened(columns(&rows), bare);
    let path = capture.unwrap().path().to_owned();
    let to = folder.path().join("ours.ntc");
    assert_eq!(ntc::repair(&path, &to).unwrap().rows, 500);
    assert_same(&all(&Capture::open(&to).unwrap()), &rows);
}

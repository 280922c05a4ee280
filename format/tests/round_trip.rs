//! What was written is read, whatever the rows and wherever row groups end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs::File;
use std::time::Duration;

use arrow_array::{Array, RecordBatch};
use common::{all, batch, join, metadata, options, place};
use ntc::{Capture, ColumnId, Options, Rows, State, Value, Writer};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use proptest::prelude::*;

/// Writes batches to a closed capture and opens it.
fn written(batches: &[RecordBatch], group_rows: usize) -> (tempfile::TempDir, Capture) {
    let (folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(group_rows), false).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    let finished = writer.finish().unwrap();
    assert_eq!(finished.bytes, std::fs::metadata(&path).unwrap().len());
    (folder, Capture::open(&path).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_come_back(
        seed in 1_u64..1_000_000,
        sizes in prop::collection::vec(1_usize..700, 1..5),
        group_rows in 1_usize..900,
    ) {
        let mut first = 0;
        let batches: Vec<_> = sizes.iter().enumerate().map(|(at, rows)| {
            first += *rows as u64;
            batch(seed + at as u64, first - *rows as u64, *rows)
        }).collect();
        // Row groups of a few rows are many: keep the test quick.
        let (_folder, capture) = written(&batches, group_rows.max(40));
        let expected = join(&batches);
        let read = all(&capture);
        prop_assert_eq!(read.columns(), expected.columns());
        prop_assert_eq!(capture.rows(), expected.num_rows() as u64);
        prop_assert_eq!(*capture.state(), State::Closed);
        prop_assert!(capture.notes().is_empty(), "{:?}", capture.notes());
    }
}

#[test]
fn another_parquet_reader_sees_the_same() {
    let batches = [batch(7, 0, 5000), batch(8, 5000, 3000)];
    let (_folder, capture) = written(&batches, 3000);
    let file = File::open(capture.path()).unwrap();
    let options = ArrowReaderOptions::new().with_schema(ntc::schema::schema());
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let json = reader.metadata().file_metadata().key_value_metadata().unwrap()[0].value.clone().unwrap();
    assert_eq!(serde_json::from_str::<ntc::Metadata>(&json).unwrap(), *capture.metadata());
    let read: Vec<_> = reader.with_batch_size(100_000).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(join(&read).columns(), join(&batches).columns());
}

#[test]
fn another_parquet_reader_sees_the_types() {
    let (_folder, capture) = written(&[batch(7, 0, 10)], 3000);
    let file = File::open(capture.path()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    for field in reader.schema().fields() {
        let column = ColumnId::from_name(field.name()).unwrap().column();
        let expected = match ntc::schema::schema().field_with_name(field.name()).unwrap().data_type().clone()
        {
            arrow_schema::DataType::Dictionary(_, text) => *text,
            other => other,
        };
        assert_eq!(*field.data_type(), expected, "{}", field.name());
        assert_eq!(field.is_nullable(), !column.required, "{}", field.name());
    }
}

#[test]
fn metadata_and_spans_come_back() {
    let (_folder, capture) = written(&[batch(1, 0, 1000)], 300);
    let groups = capture.groups();
    assert_eq!(groups.iter().map(|g| g.rows).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert_eq!(groups.iter().map(|g| g.first_row).collect::<Vec<_>>(), [0, 300, 600, 900]);
    assert!(groups.windows(2).all(|pair| pair[0].last_ts < pair[1].first_ts));
    let mut expected = metadata();
    (expected.format, expected.minor) = (ntc::schema::FORMAT_MAJOR, ntc::schema::FORMAT_MINOR);
    expected.totals.rows = 1000;
    // What the writer counts; all or nothing.
    expected.totals.kinds.clone_from(&capture.metadata().totals.kinds);
    assert!([0, 1000].contains(&expected.totals.kinds.values().sum::<u64>()));
    assert_eq!(*capture.metadata(), expected);
}

#[test]
fn a_capture_without_rows_is_one() {
    let (_folder, capture) = written(&[], 300);
    assert_eq!((capture.rows(), capture.groups().len()), (0, 0));
    assert_eq!(*capture.state(), State::Closed);
    let file = File::open(capture.path()).unwrap();
    assert_eq!(ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().num_row_groups(), 0);
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let rows = batch(3, 0, 500);
    let (_folder, capture) = written(std::slice::from_ref(&rows), 1000);
    let columns = [ColumnId::Header, ColumnId::Ts, ColumnId::MoreFrags, ColumnId::Ts];
    let read = capture.read(0, &columns).unwrap().record().clone();
    assert_eq!(read.column(0), rows.column_by_name("header").unwrap());
    assert_eq!(read.column(1), rows.column_by_name("ts").unwrap());
    assert_eq!(read.column(2), rows.column_by_name("more_frags").unwrap());
    assert_eq!(read.column(3), rows.column_by_name("ts").unwrap());
    assert_eq!(capture.read(0, &[]).unwrap().rows(), 500);
}

#[test]
fn some_rows_are_those_of_the_whole() {
    let rows = batch(3, 0, 500);
    let (_folder, capture) = written(std::slice::from_ref(&rows), 1000);
    for part in [0..500, 0..1, 123..321, 499..500, 7..7] {
        let read = capture.read_rows(0, part.clone(), &ColumnId::ALL).unwrap();
        assert_eq!(read.record().columns(), rows.slice(part.start, part.len()).columns(), "{part:?}");
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    let (_folder, capture) = written(&[batch(3, 0, 500)], 1000);
    assert_eq!(capture.read(1, &[ColumnId::Ts]).unwrap_err().to_string(), "there is no row group 1");
    let beyond = capture.read_rows(0, 400..501, &[ColumnId::Ts]).unwrap_err();
    assert_eq!(beyond.to_string(), "there is no range of rows 400..501 in row group 0");
}

#[test]
fn rows_of_another_schema_are_refused() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(100), false).unwrap();
    let rows = batch(3, 0, 5);
    let few = rows.project(&[0, 1]).unwrap();
    let message = writer.write(&few).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("rows do not fit the schema: 2 columns instead of {}", ntc::schema::COLUMNS.len())
    );
    writer.write(&rows).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 5);
}

#[test]
fn the_builder_fills_every_column() {
    let mut rows = Rows::new();
    rows.finish().unwrap();
    for _ in 0..3 {
        let row = rows.next();
        rows.ts.put(row, 1);
        rows.cpu.put(row, 0);
        rows.kind.put_str(row, "pkt");
    }
    let batch = rows.finish().unwrap();
    let (_folder, capture) = written(std::slice::from_ref(&batch), 1000);
    assert_eq!(all(&capture).columns(), batch.columns());
}

#[test]
fn absent_values_are_null() {
    let mut rows = Rows::new();
    for at in 0..20 {
        let row = rows.next();
        rows.ts.put(row, at);
        rows.cpu.put(row, 0);
        rows.kind.put_str(row, "pkt");
        if at % 5 == 2 {
            rows.len.put(row, at as u32);
            rows.header.put(row, &[at as u8; 3]);
            rows.dev.put_str(row, "eth0");
            rows.more_frags.put(row, true);
        }
    }
    let batch = rows.finish().unwrap();
    for name in ["len", "header", "dev", "more_frags"] {
        let column = batch.column_by_name(name).unwrap();
        let valid: Vec<_> = (0..20).filter(|row| column.is_valid(*row)).collect();
        assert_eq!(valid, [2, 7, 12, 17], "{name}");
    }
    assert_eq!(batch.column_by_name("sk").unwrap().null_count(), 20);
    let (_folder, capture) = written(std::slice::from_ref(&batch), 1000);
    assert_eq!(all(&capture).columns(), batch.columns());
}

#[test]
fn a_second_value_replaces_the_first() {
    let mut rows = Rows::new();
    let row = rows.next();
    rows.ts.put(row, 1);
    rows.ts.put(row, 2);
    rows.cpu.put(row, 0);
    rows.kind.put_str(row, "pkt");
    rows.header.put(row, b"first");
    rows.header.put(row, b"second");
    let batch = rows.finish().unwrap();
    let (_folder, capture) = written(&[batch], 10);
    let read = capture.read(0, &[ColumnId::Ts, ColumnId::Header]).unwrap();
    assert_eq!(read.value(ColumnId::Ts, 0), Some(Value::Unsigned(2)));
    assert_eq!(read.value(ColumnId::Header, 0), Some(Value::Bytes(b"second")));
}

#[test]
fn a_large_dictionary_is_emptied_and_says_so() {
    let mut rows = Rows::new();
    let mut batches = Vec::new();
    let generation = rows.generation();
    for part in 0..2 {
        for at in 0..40_000 {
            let row = rows.next();
            rows.ts.put(row, at);
            rows.cpu.put(row, 0);
            rows.kind.put_str(row, "pkt");
            rows.saddr.put_str(row, &format!("10.{part}.{}.{}", at / 256, at % 256));
        }
        batches.push(rows.finish().unwrap());
    }
    assert_eq!(rows.generation(), generation + 1);
    assert_eq!(rows.saddr.intern("10.0.0.0"), 0);
    let (_folder, capture) = written(&batches, 50_000);
    assert_eq!(all(&capture).columns(), join(&batches).columns());
}

#[test]
fn an_old_row_group_ends_by_its_age() {
    let (_folder, path) = place();
    let options = Options { group_age: Duration::from_millis(20), ..options(1000) };
    let mut writer = Writer::create(&path, metadata(), options, false).unwrap();
    writer.write(&batch(1, 0, 10)).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    writer.tick().unwrap();
    writer.write(&batch(2, 10, 10)).unwrap();
    writer.finish().unwrap();
    assert_eq!(Capture::open(&path).unwrap().groups().len(), 2);
}

#[test]
fn the_limit_of_row_groups_is_told_once() {
    let (_folder, path) = place();
    let options = Options { journal_age: Duration::MAX, ..options(1) };
    let mut writer = Writer::create(&path, metadata(), options, false).unwrap();
    let rows = common::constant_batch(1);
    let mut told = 0;
    for _ in 0..60_000 {
        match writer.write(&rows) {
            Err(error) if error.is_full() => told += 1,
            other => other.unwrap(),
        }
        if told == 1 && writer.rows().is_multiple_of(7) {
            break;
        }
    }
    assert_eq!(told, 1);
    let rows = writer.finish().unwrap().rows;
    let capture = Capture::open(&path).unwrap();
    assert!(capture.rows() == rows && capture.groups().len() < 32_767, "{}", capture.groups().len());
}

#[test]
fn files_are_private_and_kept() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = place();
    let create = |overwrite| Writer::create(&path, metadata(), options(100), overwrite);
    drop(create(false).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let message = create(false).unwrap_err().to_string();
    assert!(
        message.ends_with("already exists; choose another name, or allow it to be overwritten"),
        "{message}"
    );
    create(true).unwrap().finish().unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(folder.path().join("host.ntc.journal"), "old").unwrap();
    assert!(create(false).unwrap_err().to_string().contains("host.ntc.journal already exists"));
    assert!(!path.exists());
    create(true).unwrap().finish().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_folder_is_named() {
    let path = std::path::Path::new("/nonexistent/host.ntc");
    let message = Writer::create(path, metadata(), Options::default(), false).unwrap_err().to_string();
    assert!(message.starts_with("/nonexistent/host.ntc: creating it: No such file"), "{message}");
}

//! Makes a capture of so many rows of another, for the benchmark: its rows again and again, each time later and at
//! other addresses. What it says of its probes' events is that of whole repetitions.
//!
//! `cargo run --release -p ntc --example repeat -- IN OUT ROWS`

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, UInt64Type};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use ntc::{Batch, Capture, ColumnId, Metadata, Options, Writer, schema};

/// How far the addresses of two repetitions lie apart: more than a machine has memory.
const APART: u64 = 1 << 40;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to, rows] = args.as_slice() else { return Err("usage: repeat IN OUT ROWS".into()) };
    let rows = rows.to_str().and_then(|rows| rows.parse().ok()).ok_or("ROWS is not a number")?;
    println!("{} rows", repeat(from, &PathBuf::from(to), rows)?);
    Ok(())
}

/// Writes the rows of `from` as often as needed for `rows` of them, and no more; returns how many it wrote.
fn repeat(from: &OsStr, to: &Path, rows: u64) -> Result<u64, Box<dyn Error>> {
    let capture = Capture::open(Path::new(from))?;
    let times = rows.div_ceil(capture.rows().max(1));
    let length = Length::of(&capture)?;
    let metadata = metadata(capture.metadata(), times, length.time);
    let mut writer = Writer::create(to, metadata, Options::default(), true)?;
    let mut left = rows;
    for time in 0..times {
        for (at, group) in capture.groups().iter().enumerate() {
            let taken = group.rows.min(left);
            let batch = capture.read_rows(at, 0..taken as usize, &ColumnId::ALL)?;
            writer.write(&shifted(&batch, time, &length)?)?;
            left -= taken;
        }
    }
    Ok(writer.finish()?.rows)
}

/// What a capture's length is added to, for each repetition.
struct Length {
    /// Nanoseconds from the first row to the first row of the next repetition.
    time: u64,
    /// Events of each CPU, lost ones too.
    events: Vec<u64>,
}

impl Length {
    /// The length of a whole capture.
    fn of(capture: &Capture) -> Result<Self, ntc::Error> {
        let first = capture.groups().iter().map(|group| group.first_ts).min();
        let last = capture.groups().iter().map(|group| group.last_ts).max();
        let mut ends: Vec<(u64, u64)> = vec![];
        for group in 0..capture.groups().len() {
            let batch = capture.read(group, &[ColumnId::Cpu, ColumnId::Seq])?;
            let (cpus, seqs) = (batch.unsigned(ColumnId::Cpu), batch.unsigned(ColumnId::Seq));
            for (cpu, seq) in (0..batch.rows()).filter_map(|row| Some((cpus.get(row)?, seqs.get(row)?))) {
                let cpu = cpu as usize;
                ends.resize(ends.len().max(cpu + 1), (u64::MAX, 0));
                ends[cpu] = (ends[cpu].0.min(seq), ends[cpu].1.max(seq));
            }
        }
        let events = ends.iter().map(|(first, last)| (last + 1).saturating_sub(*first)).collect();
        Ok(Self { time: last.unwrap_or(0) - first.unwrap_or(0) + 1_000_000, events })
    }
}

/// The metadata of a capture that is so many times as long.
fn metadata(of: &Metadata, times: u64, time: u64) -> Metadata {
    let mut metadata = of.clone();
    if let Some(stopped) = &mut metadata.stopped {
        stopped.at += time * (times - 1);
    }
    for count in &mut metadata.totals.counts {
        count.counted *= times;
        count.recorded *= times;
        count.lost *= times;
        count.missed *= times;
    }
    metadata
}

/// The rows of repetition `time`.
fn shifted(batch: &Batch, time: u64, length: &Length) -> Result<RecordBatch, Box<dyn Error>> {
    let mut columns = batch.record().columns().to_vec();
    let mut replace = |column: ColumnId, by: &dyn Fn(&ArrayRef) -> ArrayRef| {
        columns[column as usize] = by(&columns[column as usize]);
    };
    replace(ColumnId::Ts, &|ts| each::<UInt64Type>(ts, |_, ts| ts + time * length.time));
    for address in [ColumnId::Skb, ColumnId::Head, ColumnId::Sk] {
        replace(address, &|at| {
            each::<UInt64Type>(at, |_, at| if at == 0 { 0 } else { at.wrapping_add(time * APART) })
        });
    }
    let cpus = batch.unsigned(ColumnId::Cpu);
    let events = |row| cpus.get(row).and_then(|cpu| length.events.get(cpu as usize)).copied().unwrap_or(0);
    replace(ColumnId::Seq, &|seq| each::<UInt64Type>(seq, |row, seq| seq + time * events(row)));
    let names = batch.text(ColumnId::Name);
    // Clocks go on, too; a clock's frequency and the size of a loss stay.
    let is_clock = |row| names.and_then(|names| names.get(row)).is_some_and(|name| name != "ADJ_FREQ");
    replace(ColumnId::Value, &|value| {
        each::<Int64Type>(
            value,
            |row, value| if is_clock(row) { value + (time * length.time) as i64 } else { value },
        )
    });
    Ok(RecordBatch::try_new(schema::schema(), columns)?)
}

/// A column with something done to each value that is there.
fn each<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    change: impl Fn(usize, T::Native) -> T::Native,
) -> ArrayRef {
    let values = column.as_primitive::<T>().iter().enumerate();
    Arc::new(values.map(|(row, value)| value.map(|value| change(row, value))).collect::<PrimitiveArray<T>>())
}

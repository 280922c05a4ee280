//! Reads a capture with our decoder and with the `parquet` crate's, all columns, and prints how their times compare: those
//! of the CPU, so that what else the machine does slows neither.
//!
//! `cargo run --release -p ntc --example decode -- FILE [TIMES]`

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use ntc::{Capture, ColumnId};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().ok_or("usage: decode FILE [TIMES]")?;
    let times = args.next().and_then(|times| times.to_str()?.parse().ok()).unwrap_or(9);
    let path = Path::new(&path);
    let rows = Capture::open(path)?.rows();
    let (mut ours, mut plain, mut keyed) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..times {
        ours = ours.min(timed(|| with_ours(path))?);
        plain = plain.min(timed(|| with_the_crate(path, false))?);
        keyed = keyed.min(timed(|| with_the_crate(path, true))?);
    }
    let per_million = |time: Duration| time.as_secs_f64() / rows as f64 * 1e6;
    println!("{rows} rows, all columns, the best of {times}");
    println!("ours:                       {:.3} s per million rows", per_million(ours));
    println!("parquet, text as strings:   {:.3} s per million rows", per_million(plain));
    println!("parquet, text by dictionary: {:.3} s per million rows", per_million(keyed));
    // The benchmark reads this as the last word.
    println!(
        "ours is faster than the faster one, times: {:.2}",
        plain.min(keyed).as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

/// How long a reading takes this thread.
fn timed(read: impl Fn() -> Result<u64, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
    let begun = now()?;
    read()?;
    Ok(now()?.saturating_sub(begun))
}

/// Reads all columns with our decoder.
fn with_ours(path: &Path) -> Result<u64, Box<dyn Error>> {
    let capture = Capture::open(path)?;
    let mut rows = 0;
    for group in 0..capture.groups().len() {
        rows += capture.read(group, &ColumnId::ALL)?.rows() as u64;
    }
    Ok(rows)
}

/// Reads all columns with the crate's, text as strings or with its dictionaries as ours does; each row group by itself, as
/// ours does.
fn with_the_crate(path: &Path, keyed: bool) -> Result<u64, Box<dyn Error>> {
    let file = File::open(path)?;
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut footer = ArrowReaderMetadata::load(&file, options())?;
    if keyed {
        let known = ntc::schema::schema();
        let fields = footer.schema().fields().iter();
        let fields: Vec<_> =
            fields.map(|field| known.field_with_name(field.name()).unwrap_or(field).clone()).collect();
        let schema = arrow_schema::Schema::new(fields).into();
        footer = ArrowReaderMetadata::try_new(footer.metadata().clone(), options().with_schema(schema))?;
    }
    let mut rows = 0;
    for group in 0..footer.metadata().num_row_groups() {
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, footer.clone())
            .with_row_groups(vec![group])
            .with_batch_size(footer.metadata().row_group(group).num_rows() as usize);
        for batch in reader.build()? {
            rows += batch?.num_rows() as u64;
        }
    }
    Ok(rows)
}

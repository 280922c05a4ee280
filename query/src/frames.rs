//! Tables as frames of Polars.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow_array::RecordBatch;
use ntana::knowledge::Knowledge;
use ntana::source::Source;
use ntana::tables::{self, Column, Kind, OF_CAPTURE, TableId};
use ntc::State;
use ntc::schema::Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use polars::io::HiveOptions;
use polars::prelude::{
    DataType, Expr, LazyFrame, NULL, PlRefPath, ScanArgsParquet, Schema, TimeUnit, UnionArgs, col, concat,
    lit,
};
use tempfile::TempDir;

use crate::signals;

/// The tables that a query names, of all captures.
pub(crate) struct Frames {
    /// By name.
    pub(crate) tables: BTreeMap<TableId, LazyFrame>,
    /// Files that go with it.
    _folder: TempDir,
}

/// Which rows of which table stand in which file.
struct Part {
    /// The table.
    table: TableId,
    /// A Parquet file.
    file: PathBuf,
    /// Name of the host.
    host: String,
    /// The capture.
    capture: String,
}

impl Frames {
    /// Makes the tables.
    pub(crate) fn new(wanted: &[TableId], sources: &[Source], knowledge: &Knowledge) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for tables")?;
        signals::remove_when_ended(folder.path()).context("waiting for signals")?;
        let mut parts = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            let own = folder.path().join(at.to_string());
            std::fs::create_dir(&own).with_context(|| format!("creating {}", own.display()))?;
            let files = files(wanted, source, knowledge, &own);
            let files = files.with_context(|| source.path.display().to_string())?;
            parts.extend(files.into_iter().map(|(table, file)| part(source, table, file)));
        }
        let table = |table: &TableId| Ok((*table, union(*table, &parts)?));
        Ok(Self { tables: wanted.iter().map(table).collect::<Result<_>>()?, _folder: folder })
    }
}

/// Where rows of a table of a capture stand.
fn part(source: &Source, table: TableId, file: PathBuf) -> Part {
    let labels = source.labels();
    Part { table, file, host: labels.host, capture: labels.file }
}

/// The files in which the tables of a capture stand; those that are made, in a folder.
fn files(
    wanted: &[TableId],
    source: &Source,
    knowledge: &Knowledge,
    folder: &Path,
) -> Result<Vec<(TableId, PathBuf)>> {
    let mut made: BTreeMap<TableId, ArrowWriter<File>> = BTreeMap::new();
    let path = |table: TableId| folder.join(table.name());
    let mut sink = |table: TableId, batch: &RecordBatch| -> Result<()> {
        let writer = match made.entry(table) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(writer(&path(table), batch)?),
        };
        Ok(writer.write(batch)?)
    };
    let own: Vec<TableId> = wanted.iter().copied().filter(|table| *table != TableId::Events).collect();
    tables::build(source, knowledge, &own, &mut sink)?;
    for writer in made.into_values() {
        writer.close()?;
    }
    let events = wanted.contains(&TableId::Events).then(|| closed(source, &path(TableId::Events)));
    let events = events.transpose()?.map(|file| (TableId::Events, file));
    Ok(own.into_iter().map(|table| (table, path(table))).chain(events).collect())
}

/// What writes a table into a file.
fn writer(path: &Path, batch: &RecordBatch) -> Result<ArrowWriter<File>> {
    let file = File::create_new(path).with_context(|| format!("creating {}", path.display()))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    Ok(ArrowWriter::try_new(file, batch.schema(), Some(properties))?)
}

/// The closed capture of a source: the file itself, or one that is made of it.
fn closed(source: &Source, copy: &Path) -> Result<PathBuf> {
    if *source.capture.state() == State::Closed {
        return source.path.canonicalize().with_context(|| source.path.display().to_string());
    }
    ntc::repair(&source.path, copy)?;
    Ok(copy.to_owned())
}

/// The rows of a table of all captures.
fn union(table: TableId, parts: &[Part]) -> Result<LazyFrame> {
    let frames = parts.iter().filter(|part| part.table == table).map(scan).collect::<Result<Vec<_>>>()?;
    Ok(concat(frames, UnionArgs::default())?)
}

/// The rows of a table of one capture, with the columns that every capture has.
fn scan(part: &Part) -> Result<LazyFrame> {
    let Some(path) = part.file.to_str() else {
        bail!("{}: a path that is not UTF-8 cannot be asked", part.file.display());
    };
    let args = ScanArgsParquet {
        glob: false,
        hive_options: HiveOptions::new_disabled(),
        ..ScanArgsParquet::default()
    };
    let mut frame = LazyFrame::scan_parquet(PlRefPath::new(path), args)?;
    let found = frame.collect_schema()?;
    let given = [("host", &part.host), ("file", &part.capture)];
    let given = given.map(|(name, text)| lit(text.as_str()).alias(name));
    let own = part.table.own_columns();
    let missing = own.iter().filter(|column| !found.contains(column.name));
    let missing = missing.map(|column| lit(NULL).cast(data_type(column.kind)).alias(column.name));
    // Only beside a table's rows have literals as many values as it has rows.
    let whole = frame.with_columns(given.into_iter().chain(missing).collect::<Vec<_>>());
    let columns = OF_CAPTURE.iter().chain(&own).map(|column| select(column, &found));
    Ok(whole.select(columns.collect::<Vec<_>>()))
}

/// A column as SQL has it.
fn select(column: &Column, found: &Schema) -> Expr {
    let wanted = data_type(column.kind);
    match found.get(column.name) {
        Some(found) if *found != wanted => col(column.name).cast(wanted),
        _ => col(column.name),
    }
}

/// The type of a column in SQL. Small numbers are signed ones of 64 bits, so that sums and differences are right; 64 bits are
/// left as they are, so that a range of time is asked of row groups before they are read.
fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Of(Type::U8 | Type::U16 | Type::U32 | Type::I64) => DataType::Int64,
        Kind::Of(Type::U64) => DataType::UInt64,
        Kind::Of(Type::Bool) => DataType::Boolean,
        Kind::Of(Type::Text) => DataType::String,
        Kind::Of(Type::Bytes) => DataType::Binary,
        Kind::Time => DataType::Datetime(TimeUnit::Nanoseconds, None),
    }
}

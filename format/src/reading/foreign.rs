//! Captures that another program wrote anew, sorted, filtered or merged: plain Parquet files whose metadata has the key
//! `ntc`. They are read through the `parquet` crate.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::columns::ColumnId;
use crate::durability::checkpoint::MAGIC;
use crate::durability::log::PARQUET;
use crate::error::Error;
use crate::json;
use crate::metadata::{METADATA_KEY, Metadata};
use crate::reading::group::Group;
use crate::reading::nulls;
use crate::reading::source::Source;
use crate::reading::widen;
use crate::schema::{self, FORMAT_MAJOR};

/// Rows that are read at once: a larger row group is read in slices.
const SLICE_ROWS: usize = 1 << 17;
/// Bytes of one column of a row group that are read, as the footer tells them, before and after compression.
const MAX_CHUNK: i64 = 256 << 20;
/// Bytes of all columns of a row group that are read at once.
const MAX_CHUNKS: i64 = 512 << 20;
/// Slices that are accepted.
const MAX_SLICES: usize = 1 << 20;

/// Some rows of a row group.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// The row group.
    group: usize,
    /// Its first row there.
    start: usize,
    /// Its rows.
    rows: usize,
}

/// A capture that another program wrote.
#[derive(Debug)]
pub struct Foreign {
    /// Its path, for messages.
    path: PathBuf,
    /// Its bytes.
    bytes: Shared,
    /// Its footer, and the types to read it as.
    footer: ArrowReaderMetadata,
    /// What is read at once.
    slices: Vec<Slice>,
    /// By id: where each column is in the file.
    columns: Vec<Option<usize>>,
}

/// What opening one yields.
pub struct Opened {
    /// The file.
    pub file: Foreign,
    /// What it says about itself.
    pub metadata: Metadata,
    /// What is read at once.
    pub groups: Vec<Group>,
    /// What is to be known of it, in sentences.
    pub notes: Vec<String>,
}

/// Whether a file is Parquet and not one that our writer began or closed.
pub fn is_foreign(source: &Source) -> io::Result<bool> {
    let ours = (PARQUET.len() + MAGIC.len()) as u64;
    if source.len() < ours + 8 {
        return Ok(false);
    }
    let start = source.read(0, ours)?;
    let end = source.read(source.len() - 4, 4)?;
    Ok(start.starts_with(&PARQUET) && !start.ends_with(&MAGIC) && end == PARQUET)
}

/// Opens one.
pub fn open(path: &Path, source: Arc<Source>) -> Result<Opened, Error> {
    let bytes = Shared(source);
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let natural = guarded(path, || ArrowReaderMetadata::load(&bytes, options()))?;
    let metadata = metadata(path, &natural)?;
    let columns = columns(path, natural.schema())?;
    let read_as =
        Arc::new(Schema::new(natural.schema().fields().iter().map(|f| read_as(f)).collect::<Vec<_>>()));
    let footer = guarded(path, || {
        ArrowReaderMetadata::try_new(natural.metadata().clone(), options().with_schema(read_as))
    })?;
    let slices = slices(path, footer.metadata().row_groups())?;
    let file = Foreign { path: path.to_owned(), bytes, footer, slices, columns };
    let groups = file.groups()?;
    let notes = disorder(&groups).into_iter().collect();
    Ok(Opened { file, metadata, groups, notes })
}

/// What the file says about the capture that its rows are of.
fn metadata(path: &Path, footer: &ArrowReaderMetadata) -> Result<Metadata, Error> {
    let pairs = footer.metadata().file_metadata().key_value_metadata();
    let value = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == METADATA_KEY)
        .and_then(|pair| pair.value.as_ref());
    let Some(value) = value else {
        let what = "it is a Parquet file without the key ntc in its metadata; whoever writes a capture anew has to keep \
                    that key (see FORMAT.md)";
        return Err(Error::NotACapture { path: path.to_owned(), what: what.to_owned() });
    };
    let metadata =
        json::read(value.as_bytes()).map_err(|what| Error::unusable(path, format!("the key ntc: {what}")))?;
    if metadata.format > FORMAT_MAJOR {
        return Err(Error::Newer { path: path.to_owned(), found: metadata.format, newest: FORMAT_MAJOR });
    }
    Ok(metadata)
}

/// Where the columns are. A required one that is missing, or one of an impossible type, is an error.
fn columns(path: &Path, schema: &Schema) -> Result<Vec<Option<usize>>, Error> {
    let find = |id: ColumnId| {
        let column = id.column();
        let found = schema.fields().iter().position(|field| field.name() == column.name);
        match found.map(|at| schema.field(at).data_type()) {
            None if column.required => Err(Error::unusable(
                path,
                format!("the column {}, which every row needs, is missing", column.name),
            )),
            Some(found) if !widen::is_possible(found, column.kind) => {
                let what = format!(
                    "the column {} has the type {found}, from which no {} can be made",
                    column.name,
                    column.kind.name()
                );
                Err(Error::unusable(path, what))
            }
            _ => Ok(found),
        }
    };
    ColumnId::ALL.into_iter().map(find).collect()
}

/// How a column is read: text with a dictionary, so that one that repeats is not stored again for each row.
fn read_as(field: &Field) -> Field {
    match field.data_type() {
        DataType::Utf8 => field.clone().with_data_type(schema::data_type(schema::Type::Text)),
        _ => field.clone(),
    }
}

/// What is read at once.
fn slices(path: &Path, groups: &[RowGroupMetaData]) -> Result<Vec<Slice>, Error> {
    let mut slices = Vec::new();
    for (group, meta) in groups.iter().enumerate() {
        let rows = usize::try_from(meta.num_rows()).unwrap_or(0);
        if rows.div_ceil(SLICE_ROWS) > MAX_SLICES - slices.len() {
            return Err(Error::unusable(path, "it has more rows than a capture can have".to_owned()));
        }
        let slice = |start| Slice { group, start, rows: SLICE_ROWS.min(rows - start) };
        slices.extend((0..rows).step_by(SLICE_ROWS).map(slice));
    }
    Ok(slices)
}

/// A sentence if row groups do not follow each other in time.
fn disorder(groups: &[Group]) -> Option<String> {
    let late = groups.windows(2).find(|pair| pair[1].first_ts < pair[0].first_ts)?;
    Some(format!(
        "its rows are not in the order of time (row {} is earlier than what stands before it), and what depends on it is \
         wrong: write it anew with ORDER BY ts",
        late[1].first_row
    ))
}

impl Foreign {
    /// The slices, with their times.
    fn groups(&self) -> Result<Vec<Group>, Error> {
        let mut first_row = 0;
        let group = |(at, slice): (usize, &Slice)| {
            let (first_ts, last_ts) = self.span(at)?;
            let rows = slice.rows as u64;
            first_row += rows;
            Ok(Group { rows, first_row: first_row - rows, first_ts, last_ts, journal: false })
        };
        self.slices.iter().enumerate().map(group).collect()
    }

    /// Least and greatest time of a slice: by the footer, or by the rows themselves where it does not tell.
    fn span(&self, at: usize) -> Result<(u64, u64), Error> {
        let slice = &self.slices[at];
        let group = self.footer.metadata().row_group(slice.group);
        let ts = self.columns[ColumnId::Ts as usize].and_then(|column| group.columns().get(column));
        if slice.rows == group.num_rows() as usize
            && let Some(Statistics::Int64(range)) = ts.and_then(|ts| ts.statistics())
            && let (Some(least), Some(greatest)) = (range.min_opt(), range.max_opt())
        {
            return Ok((*least as u64, *greatest as u64));
        }
        let arrays = self.read(at, 0..slice.rows, &[ColumnId::Ts])?;
        let times = arrays.first().and_then(|array| array.as_primitive_opt::<UInt64Type>());
        let times = times.map_or(&[][..], |times| times.values());
        Ok(times.iter().fold((u64::MAX, 0), |(first, last), ts| (first.min(*ts), last.max(*ts))))
    }

    /// Reads columns of some rows of a slice, in the order given.
    pub fn read(&self, at: usize, rows: Range<usize>, columns: &[ColumnId]) -> Result<Vec<ArrayRef>, Error> {
        let whole = self.slices[at];
        let slice = Slice { start: whole.start + rows.start, rows: rows.len(), ..whole };
        let mut wanted: Vec<ColumnId> =
            columns.iter().copied().filter(|id| self.columns[*id as usize].is_some()).collect();
        wanted.sort_unstable_by_key(|id| self.columns[*id as usize]);
        wanted.dedup();
        let found = if wanted.is_empty() { Vec::new() } else { self.arrays(slice, &wanted)? };
        let array = |id: &ColumnId| match wanted.iter().position(|other| other == id) {
            Some(at) => self.typed(*id, &found[at]),
            None => Ok(nulls::array(id.column().kind, slice.rows)),
        };
        columns.iter().map(array).collect()
    }

    /// Reads columns that the file has, in its order, as it has them.
    fn arrays(&self, slice: Slice, columns: &[ColumnId]) -> Result<Vec<ArrayRef>, Error> {
        let roots: Vec<usize> = columns.iter().filter_map(|id| self.columns[*id as usize]).collect();
        self.check(slice.group, &roots)?;
        let batch = guarded(&self.path, || {
            self.reader(slice, roots)?.next().transpose().map_err(ParquetError::from)
        })?;
        match batch.filter(|batch| batch.num_rows() == slice.rows && batch.num_columns() == columns.len()) {
            Some(batch) => Ok(batch.columns().to_vec()),
            None => Err(Error::unusable(
                &self.path,
                format!("row group {} has other rows than its footer says", slice.group),
            )),
        }
    }

    /// A reader of some rows and columns.
    fn reader(&self, slice: Slice, roots: Vec<usize>) -> Result<ParquetRecordBatchReader, ParquetError> {
        let columns = ProjectionMask::roots(self.footer.parquet_schema(), roots);
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.footer.clone())
            .with_row_groups(vec![slice.group])
            .with_projection(columns)
            .with_offset(slice.start)
            .with_limit(slice.rows)
            .with_batch_size(slice.rows)
            .build()
    }

    /// Checks what memory will be taken for.
    fn check(&self, group: usize, roots: &[usize]) -> Result<(), Error> {
        let group = self.footer.metadata().row_group(group);
        let chunk = |root: &usize| {
            let chunk = group.columns().get(*root)?;
            Some((chunk.column_path().string(), chunk.compressed_size().max(chunk.uncompressed_size())))
        };
        let large = too_large(roots.iter().filter_map(chunk));
        large.map_or(Ok(()), |what| Err(Error::unusable(&self.path, what)))
    }

    /// A column in the type of the schema.
    fn typed(&self, id: ColumnId, array: &ArrayRef) -> Result<ArrayRef, Error> {
        let column = id.column();
        if column.required && array.null_count() > 0 {
            return Err(Error::unusable(&self.path, format!("the column {} lacks values", column.name)));
        }
        widen::array(array, column.kind)
            .map_err(|what| Error::unusable(&self.path, format!("the column {} has {what}", column.name)))
    }
}

/// A sentence if columns, by their names and bytes, are too large to be read at once.
fn too_large(chunks: impl Iterator<Item = (String, i64)>) -> Option<String> {
    let mut all = 0_i64;
    for (name, bytes) in chunks {
        all = all.saturating_add(bytes.max(0));
        if bytes > MAX_CHUNK {
            return Some(format!("column {name} has too large a row group; write it anew with smaller ones"));
        }
    }
    (all > MAX_CHUNKS).then(|| {
        format!("the columns of a row group have {} MiB together; write it anew with smaller ones", all >> 20)
    })
}

thread_local! {
    /// Whether this thread is within [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls the library, whose refusals become ours. It is not written to withstand forged files in all places: where it
/// panics, the file is refused like any other, and nothing is printed.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                print(info)
            }
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    match result {
        Ok(result) => result.map_err(|error| Error::unusable(path, error.to_string())),
        Err(_) => Err(Error::unusable(path, "its bytes are malformed".to_owned())),
    }
}

/// The bytes of a file, for the library.
#[derive(Clone, Debug)]
struct Shared(Arc<Source>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(Cursor { source: self.0.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.0.read(start, length as u64)?.into())
    }
}

/// A place in a file from which is read on.
#[derive(Debug)]
struct Cursor {
    /// The file.
    source: Arc<Source>,
    /// The place.
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.source.len().saturating_sub(self.at);
        let bytes = self.source.read(self.at, rest.min(buffer.len() as u64))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_bounded_alone_and_together() {
        let large = |sizes: &[i64]| too_large(sizes.iter().map(|mib| ("header".to_owned(), mib << 20)));
        assert_eq!(large(&[256, 200, 56]), None);
        let alone = large(&[1, 257]).unwrap();
        assert_eq!(alone, "column header has too large a row group; write it anew with smaller ones");
        let together = large(&[256, 200, 57]).unwrap();
        assert_eq!(
            together,
            "the columns of a row group have 513 MiB together; write it anew with smaller ones"
        );
        assert!(large(&[i64::MIN >> 20, 200, 200, 200]).is_some());
    }

    #[test]
    fn a_panic_of_the_library_is_a_refusal_and_prints_nothing() {
        if std::env::var_os("NTC_ALONE").is_some() {
            let refused =
                guarded(Path::new("a.ntc"), || -> Result<(), ParquetError> { panic!("of parquet") });
            let message = refused.unwrap_err().to_string();
            assert_eq!(message, "a.ntc: cannot be read as a capture: its bytes are malformed");
            let other = catch_unwind(|| panic!("of ours"));
            assert!(other.is_err());
            return;
        }
        let name = "reading::foreign::tests::a_panic_of_the_library_is_a_refusal_and_prints_nothing";
        let alone = harness::own(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("NTC_ALONE", "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&alone.stderr);
        assert!(alone.status.success() && printed.contains("of ours"), "{printed}");
        assert!(!printed.contains("of parquet"), "{printed}");
    }
}

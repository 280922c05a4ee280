//! Encodes row groups: columns, compression, page heads.

use std::{fmt, io, mem};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use zstd::bulk::Compressor;

use crate::encoding::chunk::{Encoded, Encoder};
use crate::encoding::layout::{self, Chunk, Page};
use crate::error::Error;
use crate::schema::{self, Column, Type};

/// Compression level of checkpoints, and of pages when there is no time to lose.
pub const LEVEL: i32 = 1;
/// Compression level of pages else: a sixth smaller on mixed traffic.
pub const CALM_LEVEL: i32 = 3;
/// The most rows of a row group that is written or read.
pub const MAX_ROWS: usize = 1 << 19;
/// Pages smaller than this are not worth a try to compress.
const TINY: usize = 64;

/// Which rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many.
    pub rows: u64,
    /// Least time among them.
    pub first_ts: u64,
    /// Greatest time among them.
    pub last_ts: u64,
}

impl Span {
    /// No rows.
    pub const EMPTY: Self = Self { rows: 0, first_ts: u64::MAX, last_ts: 0 };
}

/// The row group that is being filled.
pub struct Group {
    /// One encoder for each column.
    columns: Vec<Encoder>,
    /// The rows so far.
    span: Span,
    /// The compressor, kept because making one costs more than a small page.
    compressor: Compressor<'static>,
    /// Whether columns without values get pages: Parquet wants them, our journal does not.
    complete: bool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("span", &self.span).finish_non_exhaustive()
    }
}

impl Group {
    /// No rows yet.
    pub fn new(complete: bool) -> io::Result<Self> {
        let columns = schema::COLUMNS.iter().map(Encoder::new).collect();
        Ok(Self { columns, span: Span::EMPTY, compressor: Compressor::new(LEVEL)?, complete })
    }

    /// The rows so far.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Bytes that text and raw bytes take before compression, roughly.
    pub fn weight(&self) -> usize {
        self.columns.iter().map(Encoder::weight).sum()
    }

    /// Appends a batch that [`check`] found good.
    pub fn append(&mut self, batch: &RecordBatch) {
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.append(array);
        }
        let times = batch.column(0).as_primitive::<UInt64Type>().values();
        self.span.rows += times.len() as u64;
        self.span.first_ts = times.iter().copied().fold(self.span.first_ts, u64::min);
        self.span.last_ts = times.iter().copied().fold(self.span.last_ts, u64::max);
    }

    /// Takes the rows as the bytes of a row group, compressed at a level, and says where each column lies in them.
    pub fn finish(&mut self, level: i32) -> io::Result<(Vec<u8>, Vec<Chunk>)> {
        self.compressor.set_compression_level(level)?;
        let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
        let span = mem::replace(&mut self.span, Span::EMPTY);
        for column in &mut self.columns {
            let encoded = column.finish();
            if self.complete || (encoded.nulls as u64) < span.rows {
                chunks.push(put(
                    column.column(),
                    span.rows as u32,
                    encoded,
                    &mut self.compressor,
                    &mut bytes,
                )?);
            }
        }
        if let Some(time) = chunks.first_mut() {
            time.range = Some((span.first_ts, span.last_ts));
        }
        Ok((bytes, chunks))
    }
}

/// Appends a column's pages.
fn put(
    column: &Column,
    rows: u32,
    encoded: Encoded,
    zstd: &mut Compressor<'_>,
    out: &mut Vec<u8>,
) -> io::Result<Chunk> {
    let Encoded { dictionary, data, encoding, nulls, range } = encoded;
    let sizes = [data.len(), dictionary.as_ref().map_or(0, |(page, _)| page.len())];
    // Compression is chosen for a whole column, as Parquet names the codec there.
    let mut bodies = vec![data];
    let entries = dictionary.as_ref().map(|(_, entries)| *entries as u32);
    bodies.extend(dictionary.map(|(page, _)| page));
    let small = compress(&bodies, zstd)?;
    let chosen = small.as_ref().unwrap_or(&bodies);
    let dictionary = entries.map(|entries| {
        let head = |page: &Page, out: &mut Vec<u8>| layout::dictionary_head(page, out);
        put_page(&chosen[1], sizes[1], entries, head, out)
    });
    let head = |page: &Page, out: &mut Vec<u8>| layout::data_head(page, encoding, out);
    let data = put_page(&chosen[0], sizes[0], rows, head, out);
    Ok(Chunk {
        name: column.name.to_owned(),
        kind: column.kind,
        required: column.required,
        encoding,
        zstd: small.is_some(),
        nulls: nulls as u32,
        range,
        dictionary,
        data,
    })
}

/// The bodies compressed, where that saves a twentieth or more.
fn compress(bodies: &[Vec<u8>], zstd: &mut Compressor<'_>) -> io::Result<Option<Vec<Vec<u8>>>> {
    let before: usize = bodies.iter().map(Vec::len).sum();
    if before < TINY {
        return Ok(None);
    }
    let small = bodies.iter().map(|body| zstd.compress(body)).collect::<io::Result<Vec<_>>>()?;
    let after: usize = small.iter().map(Vec::len).sum();
    Ok((after + before / 20 < before).then_some(small))
}

/// Appends a page with its head.
fn put_page(
    body: &[u8],
    plain: usize,
    values: u32,
    head: impl Fn(&Page, &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Page {
    let start = out.len() as u32;
    let crc = crc32fast::hash(body);
    let mut page =
        Page { head: start, stored: body.len() as u32, plain: plain as u32, crc, values, ..Page::default() };
    head(&page, out);
    page.body = out.len() as u32;
    out.extend(body);
    page
}

/// Whether a batch has the columns of the schema, in its order, with a value wherever one is required.
pub fn check(batch: &RecordBatch) -> Result<(), Error> {
    let bad = |what: String| Err(Error::Schema { what });
    if batch.num_columns() != schema::COLUMNS.len() {
        return bad(format!("{} columns instead of {}", batch.num_columns(), schema::COLUMNS.len()));
    }
    let expected = schema::schema();
    for ((column, field), array) in schema::COLUMNS.iter().zip(expected.fields()).zip(batch.columns()) {
        if array.data_type() != field.data_type() {
            return bad(format!("column {} has type {}", column.name, array.data_type()));
        }
        if column.required && array.null_count() > 0 || has_null_text(column.kind, array) {
            return bad(format!("column {} lacks a value", column.name));
        }
    }
    Ok(())
}

/// Whether a dictionary has a null among its texts, to which a row might refer.
fn has_null_text(kind: Type, array: &ArrayRef) -> bool {
    kind == Type::Text
        && array.null_count() < array.len()
        && array.as_any_dictionary().values().null_count() > 0
}

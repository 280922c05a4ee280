//! Holds our decoder against the `parquet` crate's: both read the same bytes of one column. For the fuzz target, and for
//! the test that runs its corpus.

use std::path::Path;
use std::sync::Arc;

use crate::columns::{Batch, ColumnId};
use crate::durability::checkpoint::{self, Head, Kind, Payload};
use crate::durability::log::PARQUET;
use crate::encoding::bits;
use crate::encoding::layout::{self, Chunk, Encoding, Extent, Page};
use crate::encoding::runs;
use crate::metadata::{METADATA_KEY, Metadata};
use crate::reading::foreign;
use crate::reading::reader::{self, Capture};
use crate::reading::source::Source;
use crate::schema::COLUMNS;

/// Rows at most: what a fuzzer finds with many it finds with few.
const MAX_ROWS: u16 = 4096;

/// Bytes of an input before the pages.
const HEAD: usize = 8;

/// A column with its pages, as the bytes of an input say.
pub struct Input<'a> {
    /// The column.
    pub column: ColumnId,
    /// How its data page is encoded.
    pub encoding: Encoding,
    /// Rows.
    pub rows: u16,
    /// Entries of the dictionary.
    pub entries: u16,
    /// The dictionary page.
    pub dictionary: &'a [u8],
    /// The data page.
    pub data: &'a [u8],
}

impl<'a> Input<'a> {
    /// The input of some bytes.
    pub fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let head: [u8; HEAD] = bits::take(&mut bytes, HEAD)?.try_into().ok()?;
        let [column, encoding, a, b, c, d, e, f] = head;
        let encodings = [Encoding::Plain, Encoding::Delta, Encoding::Dictionary];
        let len = usize::from(u16::from_le_bytes([e, f])).min(bytes.len());
        let (dictionary, data) = bytes.split_at(len);
        Some(Self {
            column: ColumnId::ALL[usize::from(column) % ColumnId::ALL.len()],
            encoding: encodings[usize::from(encoding) % encodings.len()],
            rows: u16::from_le_bytes([a, b]).clamp(1, MAX_ROWS),
            entries: u16::from_le_bytes([c, d]),
            dictionary,
            data,
        })
    }

    /// Its bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> Vec<u8> {
        let encoding = match self.encoding {
            Encoding::Plain => 0,
            Encoding::Delta => 1,
            Encoding::Dictionary => 2,
        };
        let numbers = [self.rows, self.entries, self.dictionary.len() as u16];
        let head =
            [self.column as u8, encoding].into_iter().chain(numbers.into_iter().flat_map(u16::to_le_bytes));
        head.chain(self.dictionary.iter().chain(self.data).copied()).collect()
    }

    /// Rows without a value, as the definition levels say; none where they are malformed.
    fn nulls(&self) -> u32 {
        let mut data = self.data;
        let levels = bits::take(&mut data, 4).and_then(|len| {
            let len = u32::from_le_bytes(len.try_into().ok()?);
            runs::decode_levels(bits::take(&mut data, len as usize)?, self.rows.into())
        });
        let set = levels.filter(|_| !self.column.column().required).map(|levels| levels.count_set_bits());
        set.map_or(0, |set| u32::from(self.rows) - set as u32)
    }

    /// Its pages as a row group, and where they lie in it.
    fn pages(&self) -> (Vec<u8>, Chunk) {
        let mut out = Vec::new();
        let dictionary = (self.encoding == Encoding::Dictionary).then(|| {
            let page = page(self.dictionary, self.entries, &out);
            append(page, self.dictionary, layout::dictionary_head, &mut out)
        });
        let data = page(self.data, self.rows, &out);
        let head = |page: &Page, out: &mut Vec<u8>| layout::data_head(page, self.encoding, out);
        let data = append(data, self.data, head, &mut out);
        let (column, nulls) = (self.column.column(), self.nulls());
        let chunk = Chunk {
            name: column.name.to_owned(),
            kind: column.kind,
            required: column.required,
            encoding: self.encoding,
            zstd: false,
            nulls,
            range: None,
            dictionary,
            data,
        };
        (out, chunk)
    }

    /// A file that is both: our checkpoints stand in it, and Parquet's footer ends it.
    fn file(&self) -> Option<Vec<u8>> {
        let (pages, chunk) = self.pages();
        let json = serde_json::to_vec(&Metadata::default()).ok()?;
        let mut out = PARQUET.to_vec();
        let mut start = Head { position: out.len() as u64, ..Head::new(Kind::Start, 1) };
        checkpoint::put(&mut start, &Payload { chunks: Vec::new(), metadata: json.clone() }, &mut out)
            .ok()?;
        let extent = Extent { start: out.len() as u64, len: pages.len() as u64, rows: self.rows.into() };
        out.extend(pages);
        let (position, previous) = (out.len() as u64, start.position);
        let mut head = Head { position, previous, group: extent.clone(), ..Head::new(Kind::Group, 1) };
        let payload = Payload { chunks: vec![chunk.clone()], metadata: Vec::new() };
        checkpoint::put(&mut head, &payload, &mut out).ok()?;
        let footer = out.len();
        layout::footer_begin(extent.rows, 1, &mut out);
        layout::row_group(&extent, &in_every_column(&chunk), &mut out);
        layout::footer_end(METADATA_KEY, &json, &mut out);
        let len = (out.len() - footer) as u32;
        out.extend(len.to_le_bytes());
        out.extend(PARQUET);
        Some(out)
    }
}

/// A page that is not compressed, and stands at the end of what there is.
fn page(body: &[u8], values: u16, out: &[u8]) -> Page {
    let len = body.len() as u32;
    Page {
        head: out.len() as u32,
        stored: len,
        plain: len,
        crc: crc32fast::hash(body),
        values: values.into(),
        ..Page::default()
    }
}

/// Appends a page with its head.
fn append(mut page: Page, body: &[u8], head: impl Fn(&Page, &mut Vec<u8>), out: &mut Vec<u8>) -> Page {
    head(&page, out);
    page.body = out.len() as u32;
    out.extend(body);
    page
}

/// Parquet's footer names every column of the schema. Only the one is read, so that all may have its pages; times have to
/// have a range.
fn in_every_column(chunk: &Chunk) -> Vec<Chunk> {
    let of = |column: &crate::schema::Column| Chunk {
        name: column.name.to_owned(),
        kind: column.kind,
        required: column.required,
        range: (column.name == ColumnId::Ts.name()).then_some((0, 0)),
        ..chunk.clone()
    };
    COLUMNS.iter().map(of).collect()
}

/// What each decoder reads of a column; nothing where it refuses.
#[derive(Debug)]
pub struct Read {
    /// Ours.
    pub ours: Option<Batch>,
    /// The crate's.
    pub theirs: Option<Batch>,
}

/// Has both decoders read an input.
pub fn read(input: &Input<'_>) -> Option<Read> {
    let (columns, rows) = ([input.column], usize::from(input.rows));
    let file = input.file()?;
    let ours = Capture::from_bytes(file.clone()).and_then(|capture| capture.read(0, &columns));
    let theirs = foreign::open(Path::new("<memory>"), Arc::new(Source::memory(file)))
        .and_then(|opened| opened.file.read(0, 0..rows, &columns))
        .and_then(|arrays| reader::batch(&columns, arrays, rows));
    Some(Read { ours: ours.ok(), theirs: theirs.ok() })
}

/// Has both decoders read some bytes.
///
/// # Panics
///
/// When both read them and not the same.
pub fn compare(bytes: &[u8]) {
    let Some(input) = Input::parse(bytes) else { return };
    let Some(Read { ours: Some(ours), theirs: Some(theirs) }) = read(&input) else { return };
    for row in 0..usize::from(input.rows) {
        let (ours, theirs) = (ours.value(input.column, row), theirs.value(input.column, row));
        assert_eq!(ours, theirs, "row {row} of {:?}", input.column);
    }
}

#[cfg(test)]
mod tests;

//! Where the pages of a row group lie: as our checkpoints say it, and as Parquet's footer does.

use std::ops::Range;

use crate::encoding::bits;
use crate::encoding::thrift::{self, Struct};
use crate::schema::{self, Column, TYPES, Type};

/// Who wrote the file, in Parquet's words.
const CREATED_BY: &str = concat!("ntc version ", env!("CARGO_PKG_VERSION"));

/// How values are encoded, by Parquet's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Values one behind the other.
    Plain = 0,
    /// `DELTA_BINARY_PACKED`.
    Delta = 5,
    /// Indices into the dictionary page.
    Dictionary = 8,
}

/// Where one page lies and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Where its head begins, counted from the row group's first byte.
    pub head: u32,
    /// Where its body begins, counted so too.
    pub body: u32,
    /// Bytes of the body as stored.
    pub stored: u32,
    /// Bytes of the body when decompressed.
    pub plain: u32,
    /// CRC-32 of the body as stored.
    pub crc: u32,
    /// Values in it; those of a data page include nulls.
    pub values: u32,
}

/// One column of one row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Whether every row has a value, so that no definition levels are stored.
    pub required: bool,
    /// How the data page is encoded.
    pub encoding: Encoding,
    /// Whether the pages are compressed by zstd.
    pub zstd: bool,
    /// Rows without a value.
    pub nulls: u32,
    /// Least and greatest value, where they are known.
    pub range: Option<(u64, u64)>,
    /// The dictionary, where there is one.
    pub dictionary: Option<Page>,
    /// The values or indices.
    pub data: Page,
}

/// One row group: where it lies and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of its first byte.
    pub start: u64,
    /// Its bytes.
    pub len: u64,
    /// Its rows.
    pub rows: u64,
}

impl Page {
    /// Where the body lies in the row group.
    pub fn range(&self) -> Range<usize> {
        self.body as usize..self.body as usize + self.stored as usize
    }

    /// Bytes of head and body as stored.
    fn total(&self) -> u64 {
        u64::from(self.body - self.head) + u64::from(self.stored)
    }

    /// Bytes of head and decompressed body.
    fn total_plain(&self) -> u64 {
        u64::from(self.body - self.head) + u64::from(self.plain)
    }

    /// Appends the page as six numbers.
    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.head, self.body, self.stored, self.plain, self.crc, self.values] {
            bits::put_varint(out, number.into());
        }
    }

    /// Takes a page from the front, if its head lies before its body.
    fn take(input: &mut &[u8]) -> Option<Self> {
        let mut number = || u32::try_from(bits::varint(input)?).ok();
        let page = Self {
            head: number()?,
            body: number()?,
            stored: number()?,
            plain: number()?,
            crc: number()?,
            values: number()?,
        };
        (page.head <= page.body).then_some(page)
    }
}

impl Chunk {
    /// Appends the chunk as a checkpoint holds it.
    pub fn put(&self, out: &mut Vec<u8>) {
        thrift::bytes(out, self.name.as_bytes());
        let flags = [self.required, self.zstd, self.dictionary.is_some(), self.range.is_some()];
        let flags = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
        out.extend([self.kind as u8, self.encoding as u8, flags]);
        bits::put_varint(out, self.nulls.into());
        if let Some((least, greatest)) = self.range {
            bits::put_varint(out, least);
            bits::put_varint(out, greatest);
        }
        if let Some(dictionary) = self.dictionary {
            dictionary.put(out);
        }
        self.data.put(out);
    }

    /// Takes a chunk from the front.
    pub fn take(input: &mut &[u8]) -> Option<Self> {
        let len = usize::try_from(bits::varint(input)?).ok()?;
        let name = str::from_utf8(bits::take(input, len)?).ok()?.to_owned();
        let [kind, encoding, flags] = bits::take(input, 3)?.try_into().ok()?;
        let flag = |bit: u8| flags >> bit & 1 == 1;
        Some(Self {
            name,
            kind: *TYPES.get(usize::from(kind))?,
            encoding: encoding_of(encoding)?,
            required: flag(0),
            zstd: flag(1),
            nulls: u32::try_from(bits::varint(input)?).ok()?,
            range: if flag(3) { Some((bits::varint(input)?, bits::varint(input)?)) } else { None },
            dictionary: if flag(2) { Some(Page::take(input)?) } else { None },
            data: Page::take(input)?,
        })
    }

    /// Where the chunk begins, counted from the row group's first byte.
    fn start(&self) -> u32 {
        self.dictionary.map_or(self.data.head, |page| page.head)
    }

    /// Bytes of both pages, by a count of one.
    fn sum(&self, count: fn(&Page) -> u64) -> i64 {
        (self.dictionary.as_ref().map_or(0, count) + count(&self.data)) as i64
    }

    /// Writes Parquet's `ColumnChunk`, in a row group that begins at `base`.
    fn write(&self, base: u64, out: &mut Vec<u8>) {
        let mut chunk = Struct::new(out);
        chunk.i64(2, (base + u64::from(self.start())) as i64);
        let mut meta = chunk.nested(3);
        meta.i32(1, physical(self.kind));
        let encodings = meta.list(2, thrift::I32, 2);
        bits::put_zigzag(encodings, RLE.into());
        bits::put_zigzag(encodings, self.encoding as i64);
        thrift::bytes(meta.list(3, thrift::BINARY, 1), self.name.as_bytes());
        meta.i32(4, if self.zstd { ZSTD } else { UNCOMPRESSED });
        meta.i64(5, self.data.values.into());
        meta.i64(6, self.sum(Page::total_plain));
        meta.i64(7, self.sum(Page::total));
        meta.i64(9, (base + u64::from(self.data.head)) as i64);
        if let Some(dictionary) = self.dictionary {
            meta.i64(11, (base + u64::from(dictionary.head)) as i64);
        }
        self.write_statistics(meta.nested(12));
        meta.end();
        chunk.end();
    }

    /// Writes Parquet's `Statistics`.
    fn write_statistics(&self, mut statistics: Struct<'_>) {
        statistics.i64(3, self.nulls.into());
        if let Some((least, greatest)) = self.range {
            let bytes = physical_bytes(self.kind);
            statistics.bytes(5, &greatest.to_le_bytes()[..bytes]);
            statistics.bytes(6, &least.to_le_bytes()[..bytes]);
        }
        statistics.end();
    }
}

/// The encoding of a number.
fn encoding_of(number: u8) -> Option<Encoding> {
    [Encoding::Plain, Encoding::Delta, Encoding::Dictionary].into_iter().find(|e| *e as u8 == number)
}

/// Parquet's encoding `RLE`, which definition levels have.
const RLE: i32 = 3;
/// Parquet's codec of chunks that compression does not shrink.
const UNCOMPRESSED: i32 = 0;
/// Parquet's codec of all others.
const ZSTD: i32 = 6;

/// Parquet's physical type.
fn physical(kind: Type) -> i32 {
    match kind {
        Type::Bool => 0,
        Type::U8 | Type::U16 | Type::U32 => 1,
        Type::U64 | Type::I64 => 2,
        Type::Text | Type::Bytes => 6,
    }
}

/// Bytes of a number of that physical type.
pub fn physical_bytes(kind: Type) -> usize {
    if physical(kind) == 2 { 8 } else { 4 }
}

/// Writes the head of a dictionary page.
pub fn dictionary_head(page: &Page, out: &mut Vec<u8>) {
    let mut head = Struct::new(out);
    page_sizes(&mut head, 2, page);
    let mut dictionary = head.nested(7);
    dictionary.i32(1, page.values as i32);
    dictionary.i32(2, Encoding::Plain as i32);
    dictionary.end();
    head.end();
}

/// Writes the head of a data page.
pub fn data_head(page: &Page, encoding: Encoding, out: &mut Vec<u8>) {
    let mut head = Struct::new(out);
    page_sizes(&mut head, 0, page);
    let mut data = head.nested(5);
    data.i32(1, page.values as i32);
    data.i32(2, encoding as i32);
    data.i32(3, RLE);
    data.i32(4, RLE);
    data.end();
    head.end();
}

/// Writes what heads of all kinds of pages begin with.
fn page_sizes(head: &mut Struct<'_>, kind: i32, page: &Page) {
    head.i32(1, kind);
    head.i32(2, page.plain as i32);
    head.i32(3, page.stored as i32);
    head.i32(4, page.crc as i32);
}

/// Writes Parquet's `RowGroup`.
pub fn row_group(extent: &Extent, chunks: &[Chunk], out: &mut Vec<u8>) {
    let mut group = Struct::new(out);
    let columns = group.list(1, thrift::STRUCT, chunks.len());
    chunks.iter().for_each(|chunk| chunk.write(extent.start, columns));
    group.i64(2, chunks.iter().map(|chunk| chunk.sum(Page::total_plain)).sum());
    group.i64(3, extent.rows as i64);
    group.i64(5, extent.start as i64);
    group.i64(6, chunks.iter().map(|chunk| chunk.sum(Page::total)).sum());
    group.end();
}

/// Begins Parquet's footer: all before the row groups, of which there are `groups` with `rows` rows.
///
/// The row groups follow one by one, as they do not fit into memory together, and then [`footer_end`].
pub fn footer_begin(rows: u64, groups: usize, out: &mut Vec<u8>) {
    let mut footer = Struct::new(out);
    footer.i32(1, 1);
    let elements = footer.list(2, thrift::STRUCT, schema::COLUMNS.len() + 1);
    let mut root = Struct::new(elements);
    root.bytes(4, b"schema");
    root.i32(5, schema::COLUMNS.len() as i32);
    root.end();
    schema::COLUMNS.iter().for_each(|column| element(column, elements));
    footer.i64(3, rows as i64);
    footer.list(4, thrift::STRUCT, groups);
}

/// Ends Parquet's footer, after the row groups: our metadata under its key, and the columns' order.
pub fn footer_end(key: &str, value: &[u8], out: &mut Vec<u8>) {
    // The list of row groups was field 4; the difference to it is what the head of the next field holds.
    let mut footer = Struct::after(4, out);
    let mut entry = Struct::new(footer.list(5, thrift::STRUCT, 1));
    entry.bytes(1, key.as_bytes());
    entry.bytes(2, value);
    entry.end();
    footer.bytes(6, CREATED_BY.as_bytes());
    let orders = footer.list(7, thrift::STRUCT, schema::COLUMNS.len());
    for _ in schema::COLUMNS {
        // A union with the empty structure `TypeDefinedOrder`: without it readers ignore the statistics.
        let mut order = Struct::new(orders);
        order.nested(1).end();
        order.end();
    }
    footer.end();
}

/// Writes a column's `SchemaElement`, with both the old and the new way to name its type.
fn element(column: &Column, out: &mut Vec<u8>) {
    let mut element = Struct::new(out);
    element.i32(1, physical(column.kind));
    element.i32(3, i32::from(!column.required));
    element.bytes(4, column.name.as_bytes());
    if let Some((converted, bits)) = logical(column.kind) {
        element.i32(6, converted);
        let mut union = element.nested(10);
        if bits == 0 {
            union.nested(1).end();
        } else {
            let mut integer = union.nested(10);
            integer.i8(1, bits);
            integer.bool(2, column.kind == Type::I64);
            integer.end();
        }
        union.end();
    }
    element.end();
}

/// Parquet's `ConvertedType`, and the bits of an integer or zero for text.
fn logical(kind: Type) -> Option<(i32, i8)> {
    match kind {
        Type::Text => Some((0, 0)),
        Type::U8 => Some((11, 8)),
        Type::U16 => Some((12, 16)),
        Type::U32 => Some((13, 32)),
        Type::U64 => Some((14, 64)),
        Type::I64 => Some((18, 64)),
        Type::Bool | Type::Bytes => None,
    }
}

//! Encodes one column of one row group.
//!
//! Own code instead of the `parquet` crate, which hashes every value of every row: measured on the flood of
//! `examples/encode.rs` 0.51 CPU-seconds per million rows. Here a value that equals the one before costs a
//! comparison, and a text that comes with a dictionary key costs no hash either.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_buffer::NullBuffer;

use crate::encoding::bits;
use crate::encoding::delta::Deltas;
use crate::encoding::layout::{self, Encoding};
use crate::encoding::levels::Levels;
use crate::encoding::runs::Runs;
use crate::schema::{Column, Layout, Type};

/// A map whose hasher is keyed by random bits, as the values come from the network.
type Map<K> = HashMap<K, u32, ahash::RandomState>;

/// Rows that are looked at one by one.
const FEW: usize = 8;
/// Numbers whose index is found without the map. A power of two.
const RECENT: usize = 256;

/// One column of the row group that is being filled.
#[derive(Debug)]
pub struct Encoder {
    /// Which column.
    column: &'static Column,
    /// Rows so far.
    rows: usize,
    /// Rows that have a value.
    present: usize,
    /// Which rows have a value.
    levels: Levels,
    /// The values.
    values: Values,
}

/// The values of a column, by the way they are encoded.
#[derive(Debug)]
enum Values {
    /// Numbers in a dictionary.
    Numbers(Numbers),
    /// Text in a dictionary.
    Texts(Box<Texts>),
    /// Numbers as differences.
    Deltas(Deltas),
    /// Bytes, each value after its length.
    Bytes(Vec<u8>),
    /// Truth values.
    Bools(Vec<u64>),
}

/// What an encoded column consists of, before compression.
#[derive(Debug)]
pub struct Encoded {
    /// The dictionary page and how many values it has.
    pub dictionary: Option<(Vec<u8>, usize)>,
    /// The data page.
    pub data: Vec<u8>,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Rows without a value.
    pub nulls: usize,
    /// Least and greatest value, where they are known.
    pub range: Option<(u64, u64)>,
}

impl Encoder {
    /// An encoder for a column.
    pub fn new(column: &'static Column) -> Self {
        let wide = layout::physical_bytes(column.kind) == 8;
        let values = match (column.kind, column.layout) {
            (Type::Text, _) => Values::Texts(Box::default()),
            (Type::Bytes, _) => Values::Bytes(Vec::new()),
            (Type::Bool, _) => Values::Bools(Vec::new()),
            (_, Layout::Delta) => Values::Deltas(Deltas::new(wide)),
            _ => Values::Numbers(Numbers::default()),
        };
        Self { column, rows: 0, present: 0, levels: Levels::default(), values }
    }

    /// The column.
    pub fn column(&self) -> &'static Column {
        self.column
    }

    /// Appends the values of a batch. Its type must be the column's.
    pub fn append(&mut self, array: &ArrayRef) {
        let present = array.len() - array.null_count();
        if !self.column.required {
            self.levels.append(array.logical_nulls().as_ref(), array.len());
        }
        if present > 0 {
            self.values.append(self.column.kind, array);
        }
        self.present += present;
        self.rows += array.len();
    }

    /// Bytes that the values take before compression, roughly.
    pub fn weight(&self) -> usize {
        match &self.values {
            Values::Texts(texts) => texts.page.len(),
            Values::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// Takes what was appended in its encoded form.
    pub fn finish(&mut self) -> Encoded {
        let mut data = self.finish_levels();
        let (rows, present) = (mem::take(&mut self.rows), mem::take(&mut self.present));
        let mut encoded = Encoded {
            dictionary: None,
            data: Vec::new(),
            encoding: Encoding::Plain,
            nulls: rows - present,
            range: None,
        };
        if present > 0 {
            self.values.finish(self.column.kind, &mut data, &mut encoded);
        }
        Encoded { data, ..encoded }
    }

    /// Takes the definition levels, as a data page begins with them.
    fn finish_levels(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        if !self.column.required {
            data.extend([0; 4]);
            self.levels.finish(&mut data);
            let len = data.len() as u32 - 4;
            data[..4].copy_from_slice(&len.to_le_bytes());
        }
        data
    }
}

impl Values {
    /// Appends the values of a batch, of which there are some.
    fn append(&mut self, kind: Type, array: &ArrayRef) {
        match self {
            Self::Numbers(numbers) => each_run(kind, array, |value, count| numbers.push(value, count)),
            Self::Texts(texts) => texts.append(array),
            Self::Deltas(deltas) => {
                each_run(kind, array, |value, count| (0..count).for_each(|_| deltas.push(value)));
            }
            Self::Bytes(bytes) => append_bytes(bytes, array.as_binary()),
            Self::Bools(bools) => bools.extend(array.as_boolean().iter().flatten().map(u64::from)),
        }
    }

    /// Takes the values: appends the data page's to `data`, the rest goes to `encoded`.
    fn finish(&mut self, kind: Type, data: &mut Vec<u8>, encoded: &mut Encoded) {
        match self {
            Self::Numbers(numbers) => numbers.finish(kind, data, encoded),
            Self::Texts(texts) => texts.finish(data, encoded),
            Self::Bytes(bytes) => data.append(bytes),
            Self::Bools(bools) => finish_bools(bools, data),
            Self::Deltas(deltas) => {
                encoded.encoding = Encoding::Delta;
                deltas.finish(data);
            }
        }
    }
}

/// Calls `each` with every number of a batch and how often it repeats.
fn each_run(kind: Type, array: &ArrayRef, each: impl FnMut(u64, usize)) {
    let nulls = array.nulls();
    match kind {
        Type::U8 => runs(array.as_primitive::<UInt8Type>().values(), nulls, u64::from, each),
        Type::U16 => runs(array.as_primitive::<UInt16Type>().values(), nulls, u64::from, each),
        Type::U32 => runs(array.as_primitive::<UInt32Type>().values(), nulls, u64::from, each),
        Type::U64 => runs(array.as_primitive::<UInt64Type>().values(), nulls, |v| v, each),
        Type::I64 => runs(array.as_primitive::<Int64Type>().values(), nulls, |v| v as u64, each),
        // Encoder::new gives these types other encoders.
        Type::Bool | Type::Text | Type::Bytes => {}
    }
}

/// Calls `each` with every value that is there and how often it repeats.
fn runs<T: Copy + PartialEq>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    number: impl Fn(T) -> u64,
    mut each: impl FnMut(u64, usize),
) {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let mut row = 0;
    while let Some(first) = values.get(row) {
        // Rows without a value mostly repeat the one before ([`crate::Rows`] sees to it), so that gaps part no runs.
        let count = repeats(&values[row..], *first);
        let present = nulls.map_or(count, |nulls| present(nulls, row, count));
        if present > 0 {
            each(number(*first), present);
        }
        row += count;
    }
}

/// How many of the `count` rows from `start` on have a value.
#[inline]
fn present(nulls: &NullBuffer, start: usize, count: usize) -> usize {
    if count <= FEW {
        (start..start + count).map(|row| usize::from(nulls.is_valid(row))).sum()
    } else {
        nulls.inner().slice(start, count).count_set_bits()
    }
}

/// How often a value stands at the beginning.
#[inline]
fn repeats<T: Copy + PartialEq>(values: &[T], first: T) -> usize {
    let few = values.iter().take(FEW).take_while(|value| **value == first).count();
    if few < FEW { few } else { few + many_repeats(&values[few..], first) }
}

/// How often a value stands at the beginning of what may be a long run.
fn many_repeats<T: Copy + PartialEq>(values: &[T], first: T) -> usize {
    // Whole blocks are compared at once: most columns hardly ever change.
    let same = |block: &&[T; 32]| block.iter().fold(true, |same, value| same & (*value == first));
    let whole = 32 * values.as_chunks::<32>().0.iter().take_while(same).count();
    whole + values[whole..].iter().take_while(|value| **value == first).count()
}

/// Appends binary values, each after its length.
fn append_bytes(out: &mut Vec<u8>, array: &BinaryArray) {
    for value in array.iter().flatten() {
        out.extend((value.len() as u32).to_le_bytes());
        out.extend(value);
    }
}

/// Takes truth values, one bit each.
fn finish_bools(bools: &mut Vec<u64>, data: &mut Vec<u8>) {
    bools.resize(bools.len().next_multiple_of(8), 0);
    bits::pack(bools, 1, data);
    bools.clear();
}

/// Appends the indices of a data page, their width first.
fn finish_indices(indices: &mut Runs, entries: usize, data: &mut Vec<u8>) {
    // Zero bits would do for a single entry, but not every reader expects that.
    let width = bits::width(entries.saturating_sub(1) as u64).max(1);
    data.push(width as u8);
    indices.encode(width, data);
    indices.clear();
}

/// Numbers in a dictionary.
#[derive(Debug, Default)]
struct Numbers {
    /// The index of each number.
    index: Map<u64>,
    /// The numbers by index.
    entries: Vec<u64>,
    /// Numbers met lately and their indices, by a hash of the number: most come again soon.
    recent: Vec<Option<(u64, u32)>>,
    /// An index for each value.
    indices: Runs,
}

impl Numbers {
    /// Appends a number that repeats.
    #[inline]
    fn push(&mut self, value: u64, count: usize) {
        let index = self.index_of(value);
        self.indices.push(index, count);
    }

    /// The index of a number, a new one if need be.
    #[inline]
    fn index_of(&mut self, value: u64) -> u32 {
        let slot = (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % RECENT;
        match self.recent.get(slot) {
            Some(Some((recent, index))) if *recent == value => *index,
            _ => self.look_up(slot, value),
        }
    }

    /// The index of a number that was not met lately.
    fn look_up(&mut self, slot: usize, value: u64) -> u32 {
        let index = *self.index.entry(value).or_insert_with(|| {
            self.entries.push(value);
            self.entries.len() as u32 - 1
        });
        self.recent.resize(RECENT, None);
        self.recent[slot] = Some((value, index));
        index
    }

    /// Takes the values: as a dictionary, or plainly where that hardly saves anything.
    fn finish(&mut self, kind: Type, data: &mut Vec<u8>, encoded: &mut Encoded) {
        let bytes = layout::physical_bytes(kind);
        let put = |out: &mut Vec<u8>, value: u64| out.extend(&value.to_le_bytes()[..bytes]);
        encoded.range = self.range(kind);
        if self.entries.len() * 2 > self.indices.len() && self.entries.len() > 64 {
            self.indices.iter().for_each(|index| put(data, self.entries[index as usize]));
        } else {
            let mut page = Vec::with_capacity(self.entries.len() * bytes);
            self.entries.iter().for_each(|value| put(&mut page, *value));
            encoded.dictionary = Some((page, self.entries.len()));
            encoded.encoding = Encoding::Dictionary;
            finish_indices(&mut self.indices, self.entries.len(), data);
        }
        self.clear();
    }

    /// Least and greatest number.
    fn range(&self, kind: Type) -> Option<(u64, u64)> {
        let order = |value: &u64| if kind == Type::I64 { value ^ 1 << 63 } else { *value };
        let least = self.entries.iter().copied().min_by_key(order)?;
        Some((least, self.entries.iter().copied().max_by_key(order)?))
    }

    /// Empties everything and keeps its room.
    fn clear(&mut self) {
        self.index.clear();
        self.entries.clear();
        self.indices.clear();
        self.recent.clear();
    }
}

/// Text in a dictionary.
#[derive(Debug, Default)]
struct Texts {
    /// The index of each text.
    index: Map<Box<str>>,
    /// The texts by index, each after its length.
    page: Vec<u8>,
    /// The dictionary of the last batch.
    source: Option<ArrayRef>,
    /// The index here of each key there, as far as they were looked up.
    known: Vec<u32>,
    /// An index for each value.
    indices: Runs,
}

/// Marks a key in [`Texts::known`] that was not looked up.
const UNKNOWN: u32 = u32::MAX;

impl Texts {
    /// Appends the texts of a batch.
    fn append(&mut self, array: &ArrayRef) {
        let array = array.as_dictionary::<Int32Type>();
        self.use_source(array.values());
        let (keys, nulls) = (array.keys().values(), array.nulls());
        runs(
            keys,
            nulls,
            |key| key as u64,
            |key, count| {
                let index = self.index_of(key as usize);
                self.indices.push(index, count);
            },
        );
    }

    /// Goes over to another dictionary. The same one is recognised by its address, which stays taken as long as
    /// it is kept here.
    fn use_source(&mut self, values: &ArrayRef) {
        if self.source.as_ref().is_none_or(|source| !Arc::ptr_eq(source, values)) {
            self.known.clear();
            self.known.resize(values.len(), UNKNOWN);
            self.source = Some(values.clone());
        }
    }

    /// The index of a key of the batch's dictionary.
    fn index_of(&mut self, key: usize) -> u32 {
        if self.known[key] == UNKNOWN {
            self.known[key] = self.look_up(key);
        }
        self.known[key]
    }

    /// The index of a key's text, a new one if need be.
    fn look_up(&mut self, key: usize) -> u32 {
        let Some(source) = &self.source else { return 0 };
        let text = source.as_string::<i32>().value(key);
        if let Some(index) = self.index.get(text) {
            return *index;
        }
        let index = self.index.len() as u32;
        self.index.insert(text.into(), index);
        self.page.extend((text.len() as u32).to_le_bytes());
        self.page.extend(text.as_bytes());
        index
    }

    /// Takes the values.
    fn finish(&mut self, data: &mut Vec<u8>, encoded: &mut Encoded) {
        encoded.dictionary = Some((mem::take(&mut self.page), self.index.len()));
        encoded.encoding = Encoding::Dictionary;
        finish_indices(&mut self.indices, self.index.len(), data);
        self.index.clear();
        self.known.clear();
        self.source = None;
    }
}

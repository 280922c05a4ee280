//! Decodes the columns of a row group. Nothing here trusts its input: what is not as [`crate::encoding::chunk`] writes it
//! yields nothing.

use std::sync::Arc;

use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::encoding::bits;
use crate::encoding::delta;
use crate::encoding::layout::{self, Chunk, Encoding};
use crate::encoding::runs;
use crate::schema::Type;

/// The pages of a column, decompressed.
pub struct Pages {
    /// The dictionary, empty where there is none.
    pub dictionary: Vec<u8>,
    /// The data page.
    pub data: Vec<u8>,
}

/// The values of a data page that are still encoded.
struct Values<'a> {
    /// What the checkpoint says about the column.
    chunk: &'a Chunk,
    /// Rows of the row group.
    rows: usize,
    /// Which of them have a value; all where this is absent.
    nulls: Option<NullBuffer>,
    /// The dictionary page.
    dictionary: &'a [u8],
    /// The encoded values.
    bytes: &'a [u8],
}

/// Decodes a column of `rows` rows, at least one of which has a value.
pub fn column(chunk: &Chunk, rows: usize, pages: &Pages) -> Option<ArrayRef> {
    let mut bytes = pages.data.as_slice();
    let nulls = if chunk.required { None } else { levels(&mut bytes, rows)? };
    let missing = nulls.as_ref().map_or(0, NullBuffer::null_count);
    if missing != chunk.nulls as usize || missing >= rows {
        return None;
    }
    let values = Values { chunk, rows, nulls, dictionary: &pages.dictionary, bytes };
    match chunk.kind {
        Type::U8 => values.numbers::<UInt8Type>(|n| n as u8),
        Type::U16 => values.numbers::<UInt16Type>(|n| n as u16),
        Type::U32 => values.numbers::<UInt32Type>(|n| n as u32),
        Type::U64 => values.numbers::<UInt64Type>(|n| n),
        Type::I64 => values.numbers::<Int64Type>(|n| n as i64),
        Type::Bool => values.bools(),
        Type::Text => values.texts(),
        Type::Bytes => values.binary(),
    }
}

/// Takes the definition levels, which a data page begins with.
fn levels(data: &mut &[u8], rows: usize) -> Option<Option<NullBuffer>> {
    let len = u32::from_le_bytes(bits::take(data, 4)?.try_into().ok()?);
    let nulls = NullBuffer::new(runs::decode_levels(bits::take(data, len as usize)?, rows)?);
    Some((nulls.null_count() > 0).then_some(nulls))
}

impl Values<'_> {
    /// How many values there are.
    fn present(&self) -> usize {
        self.rows - self.nulls.as_ref().map_or(0, NullBuffer::null_count)
    }

    /// Decodes numbers.
    fn numbers<A: ArrowPrimitiveType>(self, cast: fn(u64) -> A::Native) -> Option<ArrayRef> {
        let values = match self.chunk.encoding {
            Encoding::Plain => self.plain(self.bytes, self.present())?.map(cast).collect(),
            Encoding::Delta => delta::decode(self.bytes, self.present())?.into_iter().map(cast).collect(),
            Encoding::Dictionary => {
                let table: Vec<_> = self.plain(self.dictionary, self.entries())?.map(cast).collect();
                self.indices()?.into_iter().map(|index| table[index as usize]).collect()
            }
        };
        let values = ScalarBuffer::from(self.spread(values));
        Some(Arc::new(PrimitiveArray::<A>::try_new(values, self.nulls).ok()?))
    }

    /// The first `count` numbers that stand one behind the other.
    fn plain<'b>(&self, bytes: &'b [u8], count: usize) -> Option<impl Iterator<Item = u64> + use<'b>> {
        let width = layout::physical_bytes(self.chunk.kind);
        let bytes = bytes.get(..count.checked_mul(width)?)?;
        Some(bytes.chunks_exact(width).map(move |bytes| {
            let mut number = [0; 8];
            number[..width].copy_from_slice(bytes);
            u64::from_le_bytes(number)
        }))
    }

    /// Entries of the dictionary.
    fn entries(&self) -> usize {
        self.chunk.dictionary.map_or(0, |page| page.values as usize)
    }

    /// The indices into the dictionary, all within it.
    fn indices(&self) -> Option<Vec<u32>> {
        let (width, bytes) = self.bytes.split_first()?;
        if !(1..=32).contains(width) {
            return None;
        }
        let indices = runs::decode(bytes, u32::from(*width), self.present())?;
        let greatest = indices.iter().copied().max().unwrap_or(0);
        ((greatest as usize) < self.entries()).then_some(indices)
    }

    /// Gives each value its row.
    fn spread<T: Copy + Default>(&self, values: Vec<T>) -> Vec<T> {
        let Some(nulls) = &self.nulls else { return values };
        let mut spread = vec![T::default(); self.rows];
        let mut rest = values.as_slice();
        for (start, end) in nulls.valid_slices() {
            let (head, tail) = rest.split_at(end - start);
            spread[start..end].copy_from_slice(head);
            rest = tail;
        }
        spread
    }

    /// Decodes truth values.
    fn bools(self) -> Option<ArrayRef> {
        if self.chunk.encoding != Encoding::Plain {
            return None;
        }
        let bytes = bits::take(&mut &*self.bytes, self.present().div_ceil(8))?;
        let values: Vec<bool> = BooleanBuffer::new(Buffer::from(bytes), 0, self.present()).iter().collect();
        Some(Arc::new(BooleanArray::new(BooleanBuffer::from(self.spread(values)), self.nulls)))
    }

    /// Decodes text.
    fn texts(self) -> Option<ArrayRef> {
        if self.chunk.encoding != Encoding::Dictionary {
            return None;
        }
        let (offsets, bytes) = lengths(self.dictionary, self.entries())?;
        let texts = StringArray::try_new(offsets, bytes.into(), None).ok()?;
        let keys = self.spread(self.indices()?).into_iter().map(|index| index as i32).collect::<Vec<_>>();
        let keys = PrimitiveArray::<Int32Type>::try_new(keys.into(), self.nulls).ok()?;
        Some(Arc::new(DictionaryArray::try_new(keys, Arc::new(texts)).ok()?))
    }

    /// Decodes raw bytes.
    fn binary(self) -> Option<ArrayRef> {
        if self.chunk.encoding != Encoding::Plain {
            return None;
        }
        let (ends, bytes) = lengths(self.bytes, self.present())?;
        let Some(nulls) = self.nulls else {
            return Some(Arc::new(BinaryArray::try_new(ends, bytes.into(), None).ok()?));
        };
        let mut offsets = vec![0];
        let (mut ends, mut end) = (ends.iter().skip(1), 0);
        for valid in &nulls {
            end = if valid { *ends.next()? } else { end };
            offsets.push(end);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Some(Arc::new(BinaryArray::try_new(offsets, bytes.into(), Some(nulls)).ok()?))
    }
}

/// Splits `count` values, each after its length, into Arrow's offsets and bytes.
fn lengths(mut input: &[u8], count: usize) -> Option<(OffsetBuffer<i32>, Vec<u8>)> {
    let input = &mut input;
    let mut bytes = Vec::with_capacity(input.len());
    let mut offsets = Vec::with_capacity(count + 1);
    offsets.push(0);
    for _ in 0..count {
        let len = u32::from_le_bytes(bits::take(input, 4)?.try_into().ok()?);
        bytes.extend(bits::take(input, len as usize)?);
        // Pages are bounded far below what an offset can hold.
        offsets.push(bytes.len() as i32);
    }
    Some((OffsetBuffer::new(ScalarBuffer::from(offsets)), bytes))
}

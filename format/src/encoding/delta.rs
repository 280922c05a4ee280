//! Parquet's `DELTA_BINARY_PACKED`: differences to the value before, packed in blocks of 128.

use crate::encoding::bits;

/// Values of a block.
const BLOCK: usize = 128;
/// Values that share a width.
const MINI: usize = 32;

/// Numbers that are being encoded.
#[derive(Debug, Default)]
pub struct Deltas {
    /// Whether differences wrap at 64 bits, not at 32.
    wide: bool,
    /// How many numbers there are.
    len: usize,
    /// The first number.
    first: i64,
    /// The last number.
    last: i64,
    /// Differences that wait for a block.
    block: Vec<i64>,
    /// Whole blocks.
    blocks: Vec<u8>,
}

impl Deltas {
    /// No numbers yet, of 64 or of 32 bits.
    pub fn new(wide: bool) -> Self {
        Self { wide, ..Self::default() }
    }

    /// Appends a number.
    #[inline]
    pub fn push(&mut self, value: u64) {
        let value = if self.wide { value as i64 } else { i64::from(value as i32) };
        if self.len == 0 {
            self.first = value;
        } else {
            self.block.push(self.difference(value, self.last));
        }
        self.len += 1;
        self.last = value;
        if self.block.len() == BLOCK {
            self.flush();
        }
    }

    /// Appends the encoded numbers to `out` and begins anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.flush();
        for number in [BLOCK, BLOCK / MINI, self.len] {
            bits::put_varint(out, number as u64);
        }
        bits::put_zigzag(out, self.first);
        out.append(&mut self.blocks);
        self.len = 0;
    }

    /// The difference of two numbers, at the width at which readers add it again.
    fn difference(&self, a: i64, b: i64) -> i64 {
        if self.wide { a.wrapping_sub(b) } else { i64::from((a as i32).wrapping_sub(b as i32)) }
    }

    /// Encodes the differences that wait.
    fn flush(&mut self) {
        let Some(least) = self.block.iter().copied().min() else { return };
        let mut rest = [0; BLOCK];
        for (rest, difference) in rest.iter_mut().zip(&self.block) {
            *rest = self.unsigned(difference.wrapping_sub(least));
        }
        let used = self.block.len().div_ceil(MINI);
        let widths: Vec<u32> =
            rest.chunks(MINI).map(|mini| bits::width(mini.iter().fold(0, |a, b| a | b))).collect();
        bits::put_zigzag(&mut self.blocks, least);
        self.blocks.extend(widths.iter().map(|width| *width as u8));
        for (mini, width) in rest.chunks(MINI).zip(widths).take(used) {
            bits::pack(mini, width, &mut self.blocks);
        }
        self.block.clear();
    }

    /// A difference above the least one, as the bits that are packed.
    fn unsigned(&self, above: i64) -> u64 {
        if self.wide { above as u64 } else { u64::from(above as u32) }
    }
}

/// Decodes `count` numbers; nothing where the input is not such a sequence. Numbers of 32 bits come out right
/// in their lower 32 bits.
pub fn decode(mut input: &[u8], count: usize) -> Option<Vec<u64>> {
    let input = &mut input;
    let block = usize::try_from(bits::varint(input)?).ok()?;
    let minis = usize::try_from(bits::varint(input)?).ok()?;
    let len = bits::varint(input)?;
    let first = bits::zigzag(input)?;
    if block != BLOCK || minis != BLOCK / MINI || len != count as u64 {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    values.push(first as u64);
    while values.len() < count {
        decode_block(input, count, &mut values)?;
    }
    values.truncate(count);
    Some(values)
}

/// Decodes one block to the end of `values`, at most until they are `count`.
fn decode_block(input: &mut &[u8], count: usize, values: &mut Vec<u64>) -> Option<()> {
    let least = bits::zigzag(input)? as u64;
    let widths = bits::take(input, BLOCK / MINI)?;
    let mut last = *values.last()?;
    for width in widths {
        let left = (count - values.len()).min(MINI);
        if left == 0 {
            break;
        }
        let width = u32::from(*width);
        let packed = bits::take(input, width as usize * MINI / 8)?;
        if width > 64 {
            return None;
        }
        values.extend(bits::unpack(packed, width, left).map(|above| {
            last = last.wrapping_add(least).wrapping_add(above);
            last
        }));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wide_numbers_come_back(values in prop::collection::vec(any::<u64>(), 1..400)) {
            let mut deltas = Deltas::new(true);
            values.iter().for_each(|value| deltas.push(*value));
            let mut bytes = Vec::new();
            deltas.finish(&mut bytes);
            prop_assert_eq!(decode(&bytes, values.len()), Some(values));
        }

        #[test]
        fn narrow_numbers_come_back(values in prop::collection::vec(any::<u32>(), 1..400)) {
            let mut deltas = Deltas::new(false);
            values.iter().for_each(|value| deltas.push((*value).into()));
            let mut bytes = Vec::new();
            deltas.finish(&mut bytes);
            let decoded: Option<Vec<u32>> =
                decode(&bytes, values.len()).map(|d| d.iter().map(|n| *n as u32).collect());
            prop_assert_eq!(decoded, Some(values));
        }

        #[test]
        fn any_input_is_survived(input in prop::collection::vec(any::<u8>(), 0..80)) {
            decode(&input, 100);
        }
    }
}

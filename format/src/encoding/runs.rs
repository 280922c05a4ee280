//! Parquet's hybrid of run lengths and bit packing, used for dictionary indices and definition levels.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

use crate::encoding::bits::{self, Packer};

/// Values that are packed at once.
const PACKED: usize = 4096;

/// A sequence of small numbers, kept as runs: most columns of a capture change rarely.
#[derive(Debug, Default)]
pub struct Runs {
    /// Value and how often it repeats.
    runs: Vec<(u32, u32)>,
    /// How many numbers there are.
    len: usize,
}

impl Runs {
    /// Appends `count` times `value`.
    #[inline]
    pub fn push(&mut self, value: u32, count: usize) {
        self.len += count;
        match self.runs.last_mut() {
            Some((last, repeats)) if *last == value => *repeats += count as u32,
            _ => self.runs.push((value, count as u32)),
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Empties the sequence and keeps its room.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.len = 0;
    }

    /// The numbers, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count as usize))
    }

    /// Appends the encoded sequence to `out`.
    pub fn encode(&self, width: u32, out: &mut Vec<u8>) {
        let mut encoder = Encoder::new(width, out);
        for (value, count) in &self.runs {
            encoder.run(u64::from(*value), *count as usize);
        }
        encoder.flush();
    }
}

/// From how many repeats on a run of its own takes less room than packing: its head of a byte, the value in
/// whole bytes, and the head of the packed values after it.
fn worth(width: u32) -> usize {
    (8 * (2 + width.div_ceil(8))).div_ceil(width) as usize + 1
}

/// The state of encoding one sequence.
struct Encoder<'a> {
    /// Bits of a value.
    width: u32,
    /// See [`worth`].
    worth: usize,
    /// Values that wait, packed: whole words, and the bits after them.
    packed: Vec<u8>,
    /// See `packed`.
    packer: Packer,
    /// How many values wait.
    waiting: usize,
    /// Where it goes.
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Nothing is encoded yet.
    fn new(width: u32, out: &'a mut Vec<u8>) -> Self {
        let packed = Vec::with_capacity(PACKED * width as usize / 8);
        Self { width, worth: worth(width), packed, packer: Packer::default(), waiting: 0, out }
    }

    /// Encodes a run, or lets it wait to be packed.
    #[inline]
    fn run(&mut self, value: u64, count: usize) {
        // Packed values come in eights: the run first completes those that wait.
        let fill = (8 - self.waiting % 8) % 8;
        if count < fill + self.worth {
            return self.pack(value, count);
        }
        self.pack(value, fill);
        self.flush();
        bits::put_varint(self.out, (count as u64 - fill as u64) << 1);
        self.out.extend_from_slice(&value.to_le_bytes()[..self.width.div_ceil(8) as usize]);
    }

    /// Lets values wait; a full lot of them is written.
    #[inline]
    fn pack(&mut self, value: u64, count: usize) {
        let width = self.width;
        for _ in 0..count {
            self.packer.push(value, width, &mut self.packed);
        }
        self.waiting += count;
        if self.waiting >= PACKED && self.waiting.is_multiple_of(8) {
            self.flush();
        }
    }

    /// Writes the values that wait. Only the last ones of a sequence are padded.
    fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let eights = self.waiting.div_ceil(8);
        self.packer.finish(&mut self.packed);
        self.packed.resize(eights * self.width as usize, 0);
        bits::put_varint(self.out, (eights as u64) << 1 | 1);
        self.out.append(&mut self.packed);
        self.waiting = 0;
    }
}

/// A part of an encoded sequence.
enum Part<'a> {
    /// A value and how often it repeats.
    Run(u32, usize),
    /// Packed values, and how many of them count.
    Packed(&'a [u8], usize),
}

/// Takes the next part of at most `left` numbers.
fn part<'a>(input: &mut &'a [u8], width: u32, left: usize) -> Option<Part<'a>> {
    let head = bits::varint(input)?;
    let count = usize::try_from(head >> 1).ok()?;
    if head & 1 == 0 {
        let value = bits::take(input, width.div_ceil(8) as usize)?;
        let value = value.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        return (count > 0).then_some(Part::Run(value, count.min(left)));
    }
    let packed = bits::take(input, count.checked_mul(width as usize)?)?;
    (count > 0).then_some(Part::Packed(packed, count.checked_mul(8)?.min(left)))
}

/// Decodes `count` numbers of at most 32 bits; nothing where the input is not such a sequence.
pub fn decode(mut input: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let left = count - numbers.len();
        match part(&mut input, width, left)? {
            Part::Run(value, count) => numbers.resize(numbers.len() + count, value),
            Part::Packed(packed, count) => {
                numbers.extend(bits::unpack(packed, width, count).map(|n| n as u32))
            }
        }
    }
    Some(numbers)
}

/// Decodes `count` definition levels as a bitmap of the rows that have a value.
pub fn decode_levels(mut input: &[u8], count: usize) -> Option<BooleanBuffer> {
    let mut bits = BooleanBufferBuilder::new(count);
    while bits.len() < count {
        let left = count - bits.len();
        match part(&mut input, 1, left)? {
            Part::Run(value @ (0 | 1), count) => bits.append_n(count, value == 1),
            Part::Run(..) => return None,
            Part::Packed(packed, count) => bits.append_packed_range(0..count, packed),
        }
    }
    Some(bits.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The numbers as runs.
    fn runs(numbers: &[u32]) -> Runs {
        let mut runs = Runs::default();
        numbers.iter().for_each(|n| runs.push(*n, 1));
        runs
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            parts in prop::collection::vec((0_u32..1000, 1_usize..60), 0..80),
            spare in 0_u32..20,
        ) {
            let numbers: Vec<u32> = parts.iter().flat_map(|(n, count)| vec![*n; *count]).collect();
            let mut bytes = Vec::new();
            runs(&numbers).encode(10 + spare, &mut bytes);
            prop_assert_eq!(decode(&bytes, 10 + spare, numbers.len()), Some(numbers.clone()));
            prop_assert_eq!(runs(&numbers).iter().collect::<Vec<_>>(), numbers);
        }

        #[test]
        fn levels_are_decoded_to_a_bitmap(parts in prop::collection::vec((0_u32..2, 1_usize..60), 0..80)) {
            let numbers: Vec<u32> = parts.iter().flat_map(|(n, count)| vec![*n; *count]).collect();
            let mut bytes = Vec::new();
            runs(&numbers).encode(1, &mut bytes);
            let bitmap = decode_levels(&bytes, numbers.len()).unwrap();
            prop_assert_eq!(bitmap.iter().map(u32::from).collect::<Vec<_>>(), numbers);
        }

        #[test]
        fn any_input_is_survived(input in prop::collection::vec(any::<u8>(), 0..50), width in 1_u32..33) {
            if let Some(numbers) = decode(&input, width, 100) {
                prop_assert_eq!(numbers.len(), 100);
            }
        }
    }
}

//! Definition levels: a bit for each row, set where the row has a value.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

use crate::encoding::bits;

/// Rows of a byte.
const BYTE: usize = 8;
/// From how many equal bytes on a run takes less room than the packed bits: its head of one byte or two, its value,
/// and the head of the packed bits after it.
const WORTH: usize = 5;

/// Definition levels that are being collected.
#[derive(Debug)]
pub struct Levels(BooleanBufferBuilder);

impl Default for Levels {
    fn default() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }
}

impl Levels {
    /// Appends those of an array's rows.
    pub fn append(&mut self, nulls: Option<&NullBuffer>, rows: usize) {
        match nulls {
            Some(nulls) => self.0.append_buffer(nulls.inner()),
            None => self.0.append_n(rows, true),
        }
    }

    /// Takes the levels as Parquet's hybrid of run lengths and bit packing.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut bytes = self.0.as_slice();
        let mut left = self.0.len();
        while left > 0 {
            let same = repeats(bytes);
            if same >= WORTH {
                let rows = left.min(same * BYTE);
                bits::put_varint(out, (rows as u64) * 2);
                out.push(bytes[0] & 1);
                bytes = &bytes[same..];
                left -= rows;
            } else {
                let packed = mixed(bytes);
                bits::put_varint(out, (packed as u64) * 2 + 1);
                out.extend_from_slice(&bytes[..packed]);
                bytes = &bytes[packed..];
                left = left.saturating_sub(packed * BYTE);
            }
        }
        self.0.truncate(0);
    }
}

/// How many bytes at the beginning are all zeros, or all ones.
fn repeats(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(first @ (0 | 0xff)) => bytes.iter().take_while(|byte| *byte == first).count(),
        _ => 0,
    }
}

/// How many bytes stand before the next ones that are worth a run.
fn mixed(bytes: &[u8]) -> usize {
    (0..bytes.len()).find(|at| repeats(&bytes[*at..]) >= WORTH).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::runs::decode_levels;

    proptest! {
        #[test]
        fn levels_come_back(parts in prop::collection::vec((any::<bool>(), 1_usize..300), 0..40)) {
            let rows: Vec<bool> = parts.iter().flat_map(|(level, count)| vec![*level; *count]).collect();
            let mut levels = Levels::default();
            for part in rows.chunks(77) {
                levels.append(Some(&NullBuffer::from(part)), part.len());
            }
            let mut bytes = Vec::new();
            levels.finish(&mut bytes);
            let bitmap = decode_levels(&bytes, rows.len()).unwrap();
            prop_assert_eq!(bitmap.iter().collect::<Vec<_>>(), rows);
        }
    }
}

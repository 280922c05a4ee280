//! Bit packing, variable-length numbers: what Parquet's integer encodings share.

/// Packs values of `width` bits, lowest bits first. Their number must be a multiple of eight, so that whole
/// bytes come out.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    out.reserve(values.len() * width as usize / 8);
    if width <= 32 { pack_narrow(values, width, out) } else { pack_wide(values, width, out) }
}

/// Packs values of at most 32 bits.
fn pack_narrow(values: &[u64], width: u32, out: &mut Vec<u8>) {
    let mut packer = Packer::default();
    values.iter().for_each(|value| packer.push(*value, width, out));
    packer.finish(out);
}

/// Packs values of any width.
fn pack_wide(values: &[u64], width: u32, out: &mut Vec<u8>) {
    let (mut word, mut filled) = (0_u128, 0);
    for value in values {
        word |= u128::from(*value) << filled;
        filled += width;
        if filled >= 64 {
            out.extend((word as u64).to_le_bytes());
            word >>= 64;
            filled -= 64;
        }
    }
    out.extend(&(word as u64).to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Packs values of at most 32 bits one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packer {
    /// Bits that wait, lowest first.
    word: u64,
    /// How many they are, always fewer than 32.
    filled: u32,
}

impl Packer {
    /// Appends the lowest `width` bits of a value; the others must be zero.
    #[inline]
    pub fn push(&mut self, value: u64, width: u32, out: &mut Vec<u8>) {
        self.word |= value << self.filled;
        self.filled += width;
        if self.filled >= 32 {
            out.extend_from_slice(&(self.word as u32).to_le_bytes());
            self.word >>= 32;
            self.filled -= 32;
        }
    }

    /// Appends the bits that wait, filled up to a whole byte.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.word.to_le_bytes()[..self.filled.div_ceil(8) as usize]);
        *self = Self::default();
    }
}

/// The values of `width` bits that [`pack`] wrote, `count` of them; zeros beyond the end.
pub fn unpack(bytes: &[u8], width: u32, count: usize) -> impl Iterator<Item = u64> {
    let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
    (0..count).map(move |at| {
        let bit = at * width as usize;
        // A word that begins anywhere within a byte holds 57 bits of it for sure.
        match bytes.get(bit / 8..bit / 8 + 8) {
            Some(word) if width <= 57 => word_of(word) >> (bit % 8) & mask,
            _ => wide(bytes, bit) & mask,
        }
    })
}

/// Eight bytes as a number.
fn word_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// The 64 bits that begin at bit `at`, zeros beyond the end.
#[cold]
fn wide(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 16];
    let rest = bytes.get(at / 8..).unwrap_or_default();
    let len = rest.len().min(16);
    word[..len].copy_from_slice(&rest[..len]);
    (u128::from_le_bytes(word) >> (at % 8)) as u64
}

/// Bits that a number needs.
pub fn width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Takes a number of variable length from the front.
pub fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a signed number of variable length from the front.
pub fn zigzag(input: &mut &[u8]) -> Option<i64> {
    let value = varint(input)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Takes `len` bytes from the front.
pub fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(head)
}

/// Appends an unsigned number of variable length, seven bits a byte.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number of variable length.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

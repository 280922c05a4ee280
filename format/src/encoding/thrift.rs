//! Writes Thrift's compact protocol, as far as Parquet's page headers and footer need it.

use crate::encoding::bits;

/// Thrift's number for a 32-bit integer, also used for enums.
pub const I32: u8 = 5;
/// Thrift's number for a string or bytes.
pub const BINARY: u8 = 8;
/// Thrift's number for a structure.
pub const STRUCT: u8 = 12;

/// A structure that is being written. Fields must come in the order of their ids; [`Struct::end`] closes it.
pub struct Struct<'a> {
    /// Where it goes.
    out: &'a mut Vec<u8>,
    /// Id of the field before, as ids are stored as differences.
    last: u8,
}

impl<'a> Struct<'a> {
    /// Begins a structure.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    /// Goes on with a structure whose last field was `id`.
    pub fn after(id: u8, out: &'a mut Vec<u8>) -> Self {
        Self { out, last: id }
    }

    /// Writes a field's head. Ids never differ by more than 15 here, which the short form holds.
    fn field(&mut self, id: u8, kind: u8) {
        self.out.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    /// A truth value.
    pub fn bool(&mut self, id: u8, value: bool) {
        self.field(id, if value { 1 } else { 2 });
    }

    /// A number of 8 bits.
    pub fn i8(&mut self, id: u8, value: i8) {
        self.field(id, 3);
        self.out.extend(value.to_le_bytes());
    }

    /// A number of 32 bits.
    pub fn i32(&mut self, id: u8, value: i32) {
        self.field(id, I32);
        bits::put_zigzag(self.out, value.into());
    }

    /// A number of 64 bits.
    pub fn i64(&mut self, id: u8, value: i64) {
        self.field(id, 6);
        bits::put_zigzag(self.out, value);
    }

    /// Bytes or text.
    pub fn bytes(&mut self, id: u8, value: &[u8]) {
        self.field(id, BINARY);
        bytes(self.out, value);
    }

    /// The head of a list. Its elements must follow, through [`Struct::out`].
    pub fn list(&mut self, id: u8, kind: u8, len: usize) -> &mut Vec<u8> {
        self.field(id, 9);
        if len < 15 {
            self.out.push((len as u8) << 4 | kind);
        } else {
            self.out.push(0xf0 | kind);
            bits::put_varint(self.out, len as u64);
        }
        self.out
    }

    /// Begins a structure inside this one.
    pub fn nested(&mut self, id: u8) -> Struct<'_> {
        self.field(id, STRUCT);
        Struct::new(self.out)
    }

    /// Ends the structure.
    pub fn end(self) {
        self.out.push(0);
    }
}

/// Bytes or text as an element of a list.
pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    bits::put_varint(out, value.len() as u64);
    out.extend(value);
}

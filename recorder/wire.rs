//! Bytes of the ring buffer -> a record and its parts. The layout comes from `bpf/event.h` by way of BTF.

use std::mem::size_of;

use crate::bpf::types::{call_part, free_part, hooks_part, netfilter_part, part, record, sock_part};

/// Room for a header and a stack, as `bpf/event.h` lays them out.
const HEADER_SHORT: usize = 64;
/// The most bytes of a header.
pub const HEADER_LONG: usize = 128;

const _: () = assert!(size_of::<record>() == 136, "struct record changed: update parse()");
const _: () = assert!(size_of::<free_part>() == 16, "struct free_part changed: update parse()");
const _: () = assert!(size_of::<sock_part>() == 136, "struct sock_part changed: update parse()");

const _: () = assert!(size_of::<call_part>() == 16, "struct call_part changed: update parse()");
const _: () = assert!(size_of::<netfilter_part>() == 208, "struct netfilter_part changed: update parse()");
const _: () = assert!(size_of::<hooks_part>() == 136, "struct hooks_part changed: update parse()");

/// One event as a hook recorded it.
pub struct Wire<'a> {
    /// The fixed part.
    pub record: &'a record,
    /// Why and where a packet ended.
    pub free: Option<&'a free_part>,
    /// The socket or neighbour.
    pub sock: Option<&'a sock_part>,
    /// The call that returns, or the packet that was made.
    pub call: Option<&'a call_part>,
    /// A verdict of netfilter.
    pub netfilter: Option<&'a netfilter_part>,
    /// The functions that netfilter called.
    pub hooks: Option<&'a hooks_part>,
    /// Bytes from the network header on.
    pub header: &'a [u8],
    /// Addresses of the kernel stack, innermost first, eight bytes each.
    pub stack: &'a [u8],
}

/// Plain integers without padding, for which any bytes are a value.
trait Plain: Copy {}
impl Plain for record {}
impl Plain for free_part {}
impl Plain for sock_part {}
impl Plain for call_part {}
impl Plain for netfilter_part {}
impl Plain for hooks_part {}

/// Looks at the value at the front of `input`, which begins at a multiple of eight bytes as records do.
fn take<'a, T: Plain>(input: &mut &'a [u8]) -> Option<&'a T> {
    let (head, rest) = input.split_at_checked(size_of::<T>())?;
    *input = rest;
    let value = head.as_ptr().cast::<T>();
    // SAFETY: `head` has the size and alignment of T, and T is made of integers only, so any bits are valid.
    value.is_aligned().then(|| unsafe { &*value })
}

/// Takes `room` bytes off the front of `input` and returns the first `valid` of them.
fn take_bytes<'a>(input: &mut &'a [u8], room: usize, valid: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(room)?;
    *input = rest;
    head.get(..valid)
}

/// When the event happened, without parsing the rest.
pub fn timestamp(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |head| u64::from_ne_bytes(*head))
}

/// Takes a record apart; `None` if it is not one of ours.
///
/// The record of rare hooks has room for every part, present or not, in the order of [`part`].
pub fn parse(mut bytes: &[u8]) -> Option<Wire<'_>> {
    let record: &record = take(&mut bytes)?;
    let has = |p: part| u32::from(record.parts) & p.0 != 0;
    let call = if has(part::PART_CALL) { Some(take(&mut bytes)?) } else { None };
    let netfilter = if has(part::PART_NETFILTER) { Some(take(&mut bytes)?) } else { None };
    let hooks = if has(part::PART_HOOKS) { Some(take(&mut bytes)?) } else { None };
    let full = bytes.len() > HEADER_LONG + size_of::<sock_part>();
    let free = if full || has(part::PART_FREE) { Some(take(&mut bytes)?) } else { None };
    let sock = if full || has(part::PART_SOCK) { Some(take(&mut bytes)?) } else { None };
    let valid = usize::from(record.header_len);
    let header = if has(part::PART_HEADER_LONG) {
        take_bytes(&mut bytes, HEADER_LONG, valid)?
    } else if has(part::PART_HEADER_SHORT) {
        take_bytes(&mut bytes, HEADER_SHORT, valid)?
    } else {
        &[]
    };
    let stack = bytes.get(..usize::from(record.frames) * 8).unwrap_or_default();
    Some(Wire {
        free: free.filter(|_| has(part::PART_FREE)),
        sock: sock.filter(|_| has(part::PART_SOCK)),
        call,
        netfilter,
        hooks,
        header,
        stack,
        record,
    })
}

/// Words as the bytes that they are in memory.
pub fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: the words are initialised, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// A NUL-terminated name of the kernel; bytes that are not UTF-8 become `?`.
pub fn name(bytes: &[i8]) -> String {
    let text = bytes.iter().take_while(|&&b| b != 0).map(|&b| b as u8);
    text.map(|b| if b.is_ascii_graphic() || b == b' ' { b as char } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_short_is_refused() {
        let room = [0_u64; 17];
        assert!(parse(&bytes_of(&room)[..135]).is_none());
        assert!(parse(bytes_of(&room)).is_some());
    }

    #[test]
    fn parts_are_found_in_order() {
        let mut room = [0_u64; 19];
        // The word in which `parts` is.
        let at = std::mem::offset_of!(record, parts);
        room[at / 8] = u64::from(part::PART_FREE.0) << (at % 8 * 8);
        room[17] = 7;
        let wire = parse(bytes_of(&room)).unwrap();
        assert_eq!(wire.free.unwrap().location, 7);
        assert!(wire.sock.is_none() && wire.header.is_empty() && wire.stack.is_empty());
    }

    #[test]
    fn names_end_at_the_nul_and_hold_no_control_characters() {
        let mut bytes = [0_i8; 16];
        bytes[..4].copy_from_slice(&[b'e' as i8, 27, b't' as i8, b'0' as i8]);
        assert_eq!(name(&bytes), "e?t0");
    }
}

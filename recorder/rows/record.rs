//! Bytes of the ring buffer -> a record and its parts. The layout comes from `bpf/event.h` by way of BTF.

use std::mem::size_of;

use crate::bpf::types::{call_part, free_part, hooks_part, limits, netfilter_part, part, record, sock_part};

/// Bytes of a short header.
const HEADER_SHORT: usize = limits::HEADER_SHORT.0 as usize;
/// The most bytes of a header.
pub const HEADER_LONG: usize = limits::HEADER_LONG.0 as usize;
/// Bytes of a stack.
const STACK: usize = limits::STACK_DEPTH.0 as usize * size_of::<u64>();

/// One event as a BPF program recorded it.
pub struct Record<'a> {
    /// The fixed part.
    pub fixed: &'a record,
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

/// Takes a part off the front of `input` that is there, or for which there is room; the outer option is `None` if it
/// is cut short.
fn take_if<'a, T: Plain>(input: &mut &'a [u8], room: bool, is_there: bool) -> Option<Option<&'a T>> {
    if !room && !is_there {
        return Some(None);
    }
    take(input).map(|found| is_there.then_some(found))
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
/// The parts stand in the order of [`part`]. A record with `PART_ROOM` has room for those up to the stack, present or not.
pub fn parse(mut bytes: &[u8]) -> Option<Record<'_>> {
    let input = &mut bytes;
    let fixed: &record = take(input)?;
    let has = |p: part| u32::from(fixed.parts) & p.0 != 0;
    let room = has(part::PART_ROOM);
    let free = take_if(input, room, has(part::PART_FREE))?;
    let sock = take_if(input, room, has(part::PART_SOCK))?;
    let valid = usize::from(fixed.header_len);
    let header = if room || has(part::PART_HEADER_LONG) {
        take_bytes(input, HEADER_LONG, if has(part::PART_HEADER_LONG) { valid } else { 0 })?
    } else if has(part::PART_HEADER_SHORT) {
        take_bytes(input, HEADER_SHORT, valid)?
    } else {
        &[]
    };
    let frames = if has(part::PART_STACK) { usize::from(fixed.frames) } else { 0 };
    let stack = if room || frames > 0 { take_bytes(input, STACK, frames * size_of::<u64>())? } else { &[] };
    let call = take_if(input, false, has(part::PART_CALL))?;
    let netfilter = take_if(input, false, has(part::PART_NETFILTER))?;
    let hooks = take_if(input, false, has(part::PART_HOOKS))?;
    Some(Record { fixed, free, sock, call, netfilter, hooks, header, stack })
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
    use std::mem::offset_of;

    use super::*;
    use crate::bpf::types::{
        bare_record, call_record, free_record, full_record, hooks_record, long_record, netfilter_record,
        short_record, sock_record, trace_record,
    };

    /// Where the parts of a record begin: free, sock, header, stack, call, netfilter, hooks.
    type Places = [Option<usize>; 7];

    /// Where [`parse`] finds the parts in a record of `size` bytes that says to have these, each full.
    fn places(parts: part, size: usize) -> Places {
        assert_eq!(size % size_of::<u64>(), 0);
        let mut room = vec![0_u64; size / size_of::<u64>()];
        let mut set = |at: usize, value: u64| room[at / 8] |= value << (at % 8 * 8);
        set(offset_of!(record, parts), parts.0.into());
        let short = parts.0 & part::PART_HEADER_SHORT.0 != 0;
        set(offset_of!(record, header_len), if short { HEADER_SHORT } else { HEADER_LONG } as u64);
        set(offset_of!(record, frames), u64::from(limits::STACK_DEPTH.0));
        let bytes = bytes_of(&room);
        assert!(parse(&bytes[..size - 1]).is_none(), "a record cut short is refused");
        let found = parse(bytes).unwrap();
        let at = |found: *const u8| Some(found.addr() - bytes.as_ptr().addr());
        let bytes_at = |found: &[u8]| if found.is_empty() { None } else { at(found.as_ptr()) };
        [
            found.free.and_then(|p| at((&raw const *p).cast())),
            found.sock.and_then(|p| at((&raw const *p).cast())),
            bytes_at(found.header),
            bytes_at(found.stack),
            found.call.and_then(|p| at((&raw const *p).cast())),
            found.netfilter.and_then(|p| at((&raw const *p).cast())),
            found.hooks.and_then(|p| at((&raw const *p).cast())),
        ]
    }

    #[test]
    fn the_parts_of_every_record_are_where_the_kernel_has_put_them() {
        use part as p;
        const NONE: Places = [None; 7];
        let some = |places: &[(usize, usize)]| {
            let mut all = NONE;
            places.iter().for_each(|(which, at)| all[*which] = Some(*at));
            all
        };
        let records: [(u32, usize, Places); 10] = [
            (0, size_of::<bare_record>(), NONE),
            (
                p::PART_HEADER_SHORT.0,
                size_of::<short_record>(),
                some(&[(2, offset_of!(short_record, header))]),
            ),
            (p::PART_HEADER_LONG.0, size_of::<long_record>(), some(&[(2, offset_of!(long_record, header))])),
            (p::PART_FREE.0, size_of::<free_record>(), some(&[(0, offset_of!(free_record, free))])),
            (p::PART_SOCK.0, size_of::<sock_record>(), some(&[(1, offset_of!(sock_record, sock))])),
            (p::PART_CALL.0, size_of::<call_record>(), some(&[(4, offset_of!(call_record, call))])),
            (
                p::PART_CALL.0 | p::PART_NETFILTER.0,
                size_of::<netfilter_record>(),
                some(&[
                    (4, offset_of!(netfilter_record, call)),
                    (5, offset_of!(netfilter_record, netfilter)),
                ]),
            ),
            (
                p::PART_NETFILTER.0,
                size_of::<trace_record>(),
                some(&[(5, offset_of!(trace_record, netfilter))]),
            ),
            (
                p::PART_CALL.0 | p::PART_NETFILTER.0 | p::PART_HOOKS.0,
                size_of::<hooks_record>(),
                some(&[
                    (4, offset_of!(hooks_record, call)),
                    (5, offset_of!(hooks_record, netfilter)),
                    (6, offset_of!(hooks_record, hooks)),
                ]),
            ),
            (p::PART_ROOM.0, size_of::<full_record>(), NONE),
        ];
        for (parts, size, expected) in records {
            assert_eq!(places(part(parts), size), expected, "{parts:#x}");
        }
    }

    #[test]
    fn a_record_with_room_has_any_of_the_first_parts() {
        let full = [
            (part::PART_FREE.0, offset_of!(full_record, free)),
            (part::PART_SOCK.0, offset_of!(full_record, sock)),
            (part::PART_HEADER_LONG.0, offset_of!(full_record, header)),
            (part::PART_STACK.0, offset_of!(full_record, stack)),
        ];
        for choice in 0..1 << full.len() {
            let (mut parts, mut expected) = (part::PART_ROOM.0, [None; 7]);
            for (n, (bit, at)) in full.iter().enumerate().filter(|(n, _)| choice >> n & 1 != 0) {
                parts |= bit;
                expected[n] = Some(*at);
            }
            assert_eq!(places(part(parts), size_of::<full_record>()), expected, "{parts:#x}");
        }
    }

    #[test]
    fn names_end_at_the_nul_and_hold_no_control_characters() {
        let mut bytes = [0_i8; 16];
        bytes[..4].copy_from_slice(&[b'e' as i8, 27, b't' as i8, b'0' as i8]);
        assert_eq!(name(&bytes), "e?t0");
    }
}

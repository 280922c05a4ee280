//! The columns of sockets and neighbours.

use std::net::IpAddr;

use ntc::{Rows, schema::kind};
use words::flag_letters;

use super::dictionary_keys::DictionaryKeys;
use crate::bpf::types::sock_part;
use crate::kernel::enums::{CA_STATES, Enums, NUD_STATES};

/// The socket's state and buffers, or the neighbour.
pub fn put(to: (&mut Rows, &mut DictionaryKeys), row: usize, row_kind: &str, enums: &Enums, s: &sock_part) {
    let (rows, keys) = to;
    if s.family == 0 {
        return;
    }
    rows.family.put_str(row, family(s.family));
    if row_kind == kind::NEIGH {
        let key = keys.address(rows, address(s.family, &s.daddr)).1;
        rows.daddr.put(row, key);
        rows.old_state.put_str(row, state(&NUD_STATES, s.old_state));
        rows.new_state.put_str(row, state(&NUD_STATES, s.new_state));
        return;
    }
    put_buffers(rows, row, s);
    if s.has_tcp != 0 || s.has_states != 0 {
        put_states(rows, row, enums, s);
    }
    if s.has_tcp != 0 {
        put_tcp(rows, row, s);
    }
}

/// Local side as source, remote side as destination.
pub fn put_sides(rows: &mut Rows, keys: &mut DictionaryKeys, row: usize, s: &sock_part) {
    if s.family != 2 && s.family != 10 {
        return;
    }
    let (local, remote) = (address(s.family, &s.saddr), address(s.family, &s.daddr));
    let (source, destination) = (keys.address(rows, local).0, keys.address(rows, remote).1);
    rows.saddr.put(row, source);
    rows.daddr.put(row, destination);
    // A raw socket keeps its protocol where others keep their port.
    if matches!(s.protocol as u8, 6 | 17 | 132 | 136) {
        rows.sport.put(row, s.sport);
        rows.dport.put(row, s.dport);
    }
    let l4 = keys.l4(rows, s.protocol as u8);
    rows.l4.put(row, l4);
}

/// Queues and buffers of a socket.
fn put_buffers(rows: &mut Rows, row: usize, s: &sock_part) {
    rows.rmem.put(row, s.rmem);
    rows.rcvbuf.put(row, s.rcvbuf);
    rows.wmem.put(row, s.wmem);
    rows.sndbuf.put(row, s.sndbuf);
    if s.max_backlog != 0 {
        rows.backlog.put(row, s.backlog);
        rows.max_backlog.put(row, s.max_backlog);
    }
}

/// The TCP state, and the one before where the event is a change.
fn put_states(rows: &mut Rows, row: usize, enums: &Enums, s: &sock_part) {
    let name = |value: u8| enums.tcp.get(&value.into()).map_or("", String::as_str);
    if s.has_states != 0 {
        rows.old_state.put_str(row, name(s.old_state));
    }
    rows.new_state.put_str(row, name(s.new_state));
    let congestion = CA_STATES.get(usize::from(s.ca_state)).filter(|_| s.has_tcp != 0);
    if let Some(congestion) = congestion {
        rows.ca_state.put_str(row, congestion);
    }
}

/// Writes the TCP fields of a socket.
fn put_tcp(rows: &mut Rows, row: usize, s: &sock_part) {
    rows.snd_nxt.put(row, s.snd_nxt);
    rows.snd_una.put(row, s.snd_una);
    rows.rcv_nxt.put(row, s.rcv_nxt);
    rows.snd_cwnd.put(row, s.snd_cwnd);
    rows.ssthresh.put(row, s.ssthresh);
    rows.snd_wnd.put(row, s.snd_wnd);
    rows.rcv_wnd.put(row, s.rcv_wnd);
    rows.srtt.put(row, s.srtt);
    if s.min_rtt != 0 {
        rows.min_rtt.put(row, s.min_rtt);
    }
    rows.packets_out.put(row, s.packets_out);
    rows.retrans_out.put(row, s.retrans_out);
    rows.lost_out.put(row, s.lost_out);
    rows.sacked_out.put(row, s.sacked_out);
    rows.total_retrans.put(row, s.total_retrans);
    if s.has_seq != 0 {
        rows.tcp_seq.put(row, s.seq);
        rows.tcp_flags.put_str(row, &flag_letters(s.tcp_flags));
    }
}

/// The address of a socket.
fn address(family: u16, bytes: &[u8; 16]) -> IpAddr {
    match bytes.first_chunk::<4>() {
        Some(four) if family == 2 => IpAddr::from(*four),
        _ => IpAddr::from(*bytes),
    }
}

/// The name of an address family (include/linux/socket.h).
fn family(number: u16) -> &'static str {
    match number {
        1 => "unix",
        2 => "inet",
        10 => "inet6",
        16 => "netlink",
        17 => "packet",
        40 => "vsock",
        _ => "other",
    }
}

/// The name of a state.
fn state(names: &[(u32, &'static str)], value: u8) -> &'static str {
    names.iter().find(|(number, _)| *number == u32::from(value)).map_or("MIXED", |(_, name)| name)
}

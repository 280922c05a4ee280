//! Rows of a capture as lines of text.

use std::fmt::Write as _;
use std::net::IpAddr;

use ntc::catalog::{self, Level, Type};

use super::{Labels, Row, Rule};

/// What a packet is and carries: `UDP: 10.0.0.1:5 -> 10.0.0.2:6 len 128`.
pub fn packet(row: &Row<'_>) -> String {
    let mut out = String::new();
    let protocol = row.text("l4").or(row.text("protocol"));
    if row.text("kind") == Some("neigh") {
        let _ = write!(out, "neighbour {}", row.text("daddr").unwrap_or("-"));
    } else if has_addresses(row) {
        let (src, dst) = (end(row, "saddr", "sport"), end(row, "daddr", "dport"));
        let _ = write!(out, "{}: {src} -> {dst}", protocol.unwrap_or("-").to_ascii_uppercase());
        out.push_str(&tcp(row));
        out.push_str(&icmp(row));
    } else if let Some(protocol) = row.text("protocol") {
        out.push_str(&protocol.to_ascii_uppercase());
    }
    if let Some(len) = row.number("len") {
        let _ = write!(out, " len {len}");
    }
    out.trim_start().to_owned()
}

/// Whether a row has the address of a packet or a socket.
fn has_addresses(row: &Row<'_>) -> bool {
    let is_unspecified = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    ["saddr", "daddr"].into_iter().filter_map(|column| row.text(column)).any(|text| !is_unspecified(text))
}

/// An address with its port, in brackets where that is needed.
fn end(row: &Row<'_>, addr: &str, port: &str) -> String {
    match (row.text(addr).unwrap_or("-"), row.number(port)) {
        (addr, None) => addr.to_owned(),
        (addr, Some(port)) if addr.contains(':') => format!("[{addr}]:{port}"),
        (addr, Some(port)) => format!("{addr}:{port}"),
    }
}

/// TCP's part of a line.
fn tcp(row: &Row<'_>) -> String {
    match (row.text("tcp_flags"), row.number("tcp_seq")) {
        (Some(flags), Some(seq)) => {
            format!(" seq {seq}, ack {}, flags {flags}", row.number("tcp_ack").unwrap_or(0))
        }
        _ => String::new(),
    }
}

/// ICMP's part of a line.
fn icmp(row: &Row<'_>) -> String {
    // Of errors that this host sends, type and code are those of the answer.
    let (Some(kind), false) = (row.number("icmp_type"), row.text("kind") == Some("icmp")) else {
        return String::new();
    };
    match (row.text("l4"), kind) {
        (Some("icmp"), 8) | (Some("icmp6"), 128) => echo(row, "ping request"),
        (Some("icmp"), 0) | (Some("icmp6"), 129) => echo(row, "ping reply"),
        (Some("icmp" | "icmp6"), kind) => format!(" type {kind}/{}", or_dash(row, "icmp_code")),
        _ => String::new(),
    }
}

/// An echo message.
fn echo(row: &Row<'_>, what: &str) -> String {
    format!(" {what}, id {}, seq {}", or_dash(row, "icmp_id"), or_dash(row, "icmp_seq"))
}

/// What else happened: reason, location, state, return value, between stars.
pub fn remarks(row: &Row<'_>, verdict_hook: Option<&str>) -> String {
    let mut parts = Vec::new();
    if row.text("kind") == Some("icmp") {
        let (kind, code) = (or_dash(row, "icmp_type"), or_dash(row, "icmp_code"));
        parts.push(format!("answered with ICMP {kind}/{code}"));
    }
    if let Some(reason) = row.text("reason").filter(|_| row.text("probe") != Some("consume_skb")) {
        parts.push(format!("reason: {reason}"));
    }
    parts.extend(row.text("location").map(str::to_owned));
    match (row.text("old_state"), row.text("new_state")) {
        (Some(old), Some(new)) => parts.push(format!("{old} -> {new}")),
        (None, Some(new)) => parts.push(format!("state: {new}")),
        _ => {}
    }
    parts.extend(outcome(row, verdict_hook));
    if let Some(size) = row.number("rcvbuf") {
        parts.push(format!("rmem {} of {size}", row.number("rmem").unwrap_or(0)));
    }
    if let Some(value) = row.signed("value") {
        parts.push(format!("{} {value}", row.text("name").unwrap_or_default()).trim().to_owned());
    }
    if parts.is_empty() { String::new() } else { format!(" *{}*", parts.join(", ")) }
}

/// What a function returned, decided or made of a packet.
fn outcome(row: &Row<'_>, verdict_hook: Option<&str>) -> Option<String> {
    match row.text("kind") {
        Some("ret") => Some(returned(row)),
        Some("nf") => {
            let (rule, verdict) = (Rule::of(row, verdict_hook), row.text("verdict"));
            Some(format!(
                "{rule}: {}{}",
                verdict.unwrap_or("-"),
                rule.verdict_hooks(verdict.unwrap_or_default())
            ))
        }
        Some("link") => {
            let (relation, child) = (or_dash(row, "relation"), row.number("child"));
            let other = child.filter(|child| Some(*child) != row.number("skb"));
            Some(other.map_or(relation.clone(), |child| format!("{relation} {child:016x}")))
        }
        _ => row.signed("ret").filter(|ret| *ret != 0).map(|ret| format!("return: {ret}")),
    }
}

/// A return value, with its name and what it means where that is more than all is well.
fn returned(row: &Row<'_>) -> String {
    let Some(ret) = row.signed("ret") else { return "returned".to_owned() };
    let returns = catalog::by_name(probe(row)).and_then(|entry| entry.returns);
    let pointer = returns.is_some_and(|returns| returns.kind == Type::Pointer) && ret < -4095;
    let value = if pointer { format!("{ret:016x}") } else { ret.to_string() };
    let Some(meaning) = returns.and_then(|returns| returns.meaning(ret)) else {
        return format!("return: {value}");
    };
    let name = if meaning.name.is_empty() { String::new() } else { format!(" {}", meaning.name) };
    let means = if meaning.level > Level::Info { format!(" ({})", meaning.means) } else { String::new() };
    format!("return: {value}{name}{means}")
}

/// The probe, or the kind of rows without one.
pub fn probe<'a>(row: &'a Row<'_>) -> &'a str {
    row.text("probe").or(row.text("kind")).unwrap_or_default()
}

/// The prefix of `--detail`: `[dev][cpu][comm-pid][netns]`.
pub fn detail(row: &Row<'_>, labels: &Labels) -> String {
    let inode = row.number("netns").and_then(|inode| u32::try_from(inode).ok());
    let netns = inode.map_or_else(|| "-".to_owned(), |inode| labels.netns(inode));
    let (dev, comm, pid) = (or_dash(row, "dev"), or_dash(row, "comm"), or_dash(row, "pid"));
    format!("[{dev:<6}][cpu:{:<3}][{comm}-{pid}][ns:{netns}] ", row.number("cpu").unwrap_or(0))
}

/// A value, or a dash for none.
fn or_dash(row: &Row<'_>, column: &str) -> String {
    row.get(column).map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// The frames of a stack.
pub fn stack(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(';').filter(|frame| !frame.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet between two hosts.
    fn packet_of(l4: &'static str) -> Row<'static> {
        let mut row = Row::default();
        row.put_text("kind", "pkt");
        row.put_number("len", 84_u32);
        row.put_text("saddr", "10.77.1.2");
        row.put_text("daddr", "10.77.2.2");
        row.put_text("l4", l4);
        row
    }

    #[test]
    fn packets_are_shown_by_protocol() {
        let mut udp = packet_of("udp");
        udp.put_number("sport", 40001_u16);
        udp.put_number("dport", 5999_u16);
        assert_eq!(packet(&udp), "UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 84");
        let mut tcp = packet_of("tcp");
        tcp.put_number("tcp_seq", 7_u32);
        tcp.put_number("tcp_ack", 9_u32);
        tcp.put_text("tcp_flags", "SA");
        assert_eq!(packet(&tcp), "TCP: 10.77.1.2 -> 10.77.2.2 seq 7, ack 9, flags SA len 84");
        let mut ping = packet_of("icmp");
        ping.put_number("icmp_type", 8_u8);
        ping.put_number("icmp_code", 0_u8);
        ping.put_number("icmp_id", 5_u16);
        ping.put_number("icmp_seq", 0_u16);
        assert_eq!(packet(&ping), "ICMP: 10.77.1.2 -> 10.77.2.2 ping request, id 5, seq 0 len 84");
        let mut arp = Row::default();
        arp.put_text("protocol", "arp");
        assert_eq!(packet(&arp), "ARP");
    }

    #[test]
    fn drops_say_why_and_where() {
        let mut drop = Row::default();
        drop.put_text("kind", "free");
        drop.put_text("probe", "kfree_skb");
        drop.put_text("reason", "NETFILTER_DROP");
        drop.put_text("location", "nft_do_chain+0x1");
        assert_eq!(remarks(&drop, None), " *reason: NETFILTER_DROP, nft_do_chain+0x1*");
        assert_eq!(remarks(&Row::default(), None), "");
    }
}

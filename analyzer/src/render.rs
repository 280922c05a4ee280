//! Events and lives as lines of text.

use std::fmt::Write as _;

use ntc::Capture;
use ntc::catalog::{self, Level, Type};

use crate::address::with_port;
use crate::event::{Event, Hook, NO_ICMP, NO_NUMBER, NO_RETURN};
use crate::lifecycle::Life;
use crate::rule::Rule;
use crate::source::netns_name;
use crate::symbol::Sym;

/// What a packet is and carries: `UDP: 10.0.0.1:5 -> 10.0.0.2:6 len 128`.
pub fn packet(event: &Event) -> String {
    let mut out = String::new();
    if event.hook() == Hook::Neighbour {
        let _ = write!(out, "neighbour {}", event.daddr);
    } else if event.has_addresses() {
        let name = if event.l4.is_some() { event.l4 } else { event.protocol };
        let (src, dst) = (with_port(event.saddr, event.sport), with_port(event.daddr, event.dport));
        let _ = write!(out, "{}: {src} -> {dst}", name.or_dash().to_ascii_uppercase());
        out.push_str(&tcp(event));
        out.push_str(&icmp(event));
    } else if event.protocol.is_some() {
        out.push_str(&event.protocol.text().to_ascii_uppercase());
    }
    if event.len != 0 {
        let _ = write!(out, " len {}", event.len);
    }
    out.trim_start().to_owned()
}

/// TCP's part of a line.
fn tcp(event: &Event) -> String {
    if event.tcp_flags.is_none() || event.tcp_seq == NO_NUMBER {
        return String::new();
    }
    let ack = if event.tcp_ack == NO_NUMBER { 0 } else { event.tcp_ack };
    format!(" seq {}, ack {ack}, flags {}", event.tcp_seq, event.tcp_flags)
}

/// ICMP's part of a line.
fn icmp(event: &Event) -> String {
    let is_icmp = event.l4 == Sym::ICMP || event.l4 == Sym::ICMP6;
    if event.icmp_type == NO_ICMP || !is_icmp || event.hook() == Hook::IcmpSend {
        return String::new();
    }
    match (event.l4, event.icmp_type) {
        (Sym::ICMP, 8) | (Sym::ICMP6, 128) => echo(event, "ping request"),
        (Sym::ICMP, 0) | (Sym::ICMP6, 129) => echo(event, "ping reply"),
        (_, kind) => format!(" type {kind}/{}", event.icmp_code),
    }
}

/// An echo message.
fn echo(event: &Event, what: &str) -> String {
    format!(" {what}, id {}, seq {}", event.icmp_id, event.icmp_seq)
}

/// What else happened: reason, location, state, return value, between stars.
pub fn remarks(event: &Event) -> String {
    let mut parts = Vec::new();
    match event.hook() {
        Hook::Drop | Hook::SendReset if event.reason.is_some() => {
            parts.push(format!("reason: {}", event.reason))
        }
        Hook::IcmpSend => parts.push(format!("answered with ICMP {}/{}", event.icmp_type, event.icmp_code)),
        _ => {}
    }
    if event.location.is_some() {
        parts.push(event.location.text().to_owned());
    }
    if event.old_state.is_some() && event.new_state.is_some() {
        parts.push(format!("{} -> {}", event.old_state, event.new_state));
    } else if event.new_state.is_some() {
        parts.push(format!("state: {}", event.new_state));
    }
    match event.hook() {
        Hook::Return => parts.push(returned(event)),
        Hook::Verdict | Hook::Step => {
            let rule = Rule::of(event);
            parts.push(format!("{rule}: {}{}", event.says.or_dash(), rule.givers(event.says)));
        }
        Hook::Link if event.other == event.skb => parts.push(event.says.to_string()),
        Hook::Link => parts.push(format!("{} {:016x}", event.says, event.other)),
        _ if event.ret != NO_RETURN && event.ret != 0 => parts.push(format!("return: {}", event.ret)),
        _ => {}
    }
    if event.rcvbuf != 0 {
        parts.push(format!("rmem {} of {}", event.rmem, event.rcvbuf));
    }
    if event.value != NO_RETURN {
        parts.push(format!("{} {}", event.name, event.value).trim().to_owned());
    }
    if parts.is_empty() { String::new() } else { format!(" *{}*", parts.join(", ")) }
}

/// A return value, with its name and what it means where that is more than all is well.
fn returned(event: &Event) -> String {
    let returns = catalog::by_name(event.probe.text()).and_then(|entry| entry.returns);
    let pointer = returns.is_some_and(|returns| returns.kind == Type::Pointer) && event.ret < -4095;
    let value = if pointer { format!("{:016x}", event.ret) } else { event.ret.to_string() };
    let Some(meaning) = returns.and_then(|returns| returns.meaning(event.ret)) else {
        return format!("return: {value}");
    };
    let name = if meaning.name.is_empty() { String::new() } else { format!(" {}", meaning.name) };
    let means = if meaning.level > Level::Info { format!(" ({})", meaning.means) } else { String::new() };
    format!("return: {value}{name}{means}")
}

/// The probe, or the kind of rows without one.
pub fn probe(event: &Event) -> Sym {
    if event.probe.is_some() { event.probe } else { event.kind }
}

/// The prefix of `--detail`: `[dev][cpu][comm-pid][netns]`.
pub fn detail(event: &Event, capture: &Capture) -> String {
    let pid = if event.pid == NO_NUMBER { "-".to_owned() } else { event.pid.to_string() };
    let netns = if event.netns == 0 { "-".to_owned() } else { netns_name(capture, event.netns) };
    let (dev, comm) = (event.dev.or_dash(), event.comm.or_dash());
    format!("[{dev:<6}][cpu:{:<3}][{comm}-{pid}][ns:{netns}] ", event.cpu)
}

/// The frames of a stack, one a line.
pub fn stack(folded: Sym) -> impl Iterator<Item = &'static str> {
    folded.text().split(';').filter(|frame| !frame.is_empty())
}

/// The first line of a life: `ffff8881092cd500 udp a:1 -> b:2  DROPPED ...`.
pub fn life(life: &Life) -> String {
    let origin = life.origin.map_or(String::new(), |(parent, what)| format!("  ({what} of {parent:016x})"));
    format!("{:016x} {}{origin}  {}", life.skb, life.flow, life.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Addr;

    /// A packet between two hosts.
    fn packet_of(l4: Sym) -> Event {
        Event {
            saddr: Addr::from_text("10.77.1.2"),
            daddr: Addr::from_text("10.77.2.2"),
            l4,
            len: 84,
            ..Event::EMPTY
        }
    }

    #[test]
    fn packets_are_shown_by_protocol() {
        let udp = Event { sport: 40001, dport: 5999, ..packet_of(Sym::UDP) };
        assert_eq!(packet(&udp), "UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 84");
        let tcp = Event { tcp_seq: 7, tcp_ack: 9, tcp_flags: Sym::new("SA"), ..packet_of(Sym::TCP) };
        assert_eq!(packet(&tcp), "TCP: 10.77.1.2 -> 10.77.2.2 seq 7, ack 9, flags SA len 84");
        let ping = Event { icmp_type: 8, icmp_code: 0, icmp_id: 5, icmp_seq: 3, ..packet_of(Sym::ICMP) };
        assert_eq!(packet(&ping), "ICMP: 10.77.1.2 -> 10.77.2.2 ping request, id 5, seq 3 len 84");
        assert_eq!(packet(&Event { protocol: Sym::ARP, ..Event::EMPTY }), "ARP");
    }

    #[test]
    fn drops_say_why_and_where() {
        let drop = Event {
            probe: Sym::new("kfree_skb"),
            reason: Sym::new("NETFILTER_DROP"),
            location: Sym::new("nft_do_chain+0x1"),
            ..Event::EMPTY
        };
        assert_eq!(remarks(&drop), " *reason: NETFILTER_DROP, nft_do_chain+0x1*");
        assert_eq!(remarks(&Event::EMPTY), "");
    }
}

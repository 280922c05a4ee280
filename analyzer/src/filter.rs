//! The user's filters, resolved to values that are compared with events and lives.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use ntc::Capture;
use words::{Flags, Network, Range};

use crate::address::Addr;
use crate::args::FilterArgs;
use crate::event::{Event, Flow, Hook};
use crate::lifecycle::{Life, OutcomeKind};
use crate::symbol::Sym;
use crate::times::Times;

/// All filters of a command, for one capture. An empty list lets everything pass.
#[derive(Debug, Default)]
pub struct Filter {
    /// Networks of either end.
    addr: Vec<Network>,
    /// Networks of the source.
    src: Vec<Network>,
    /// Networks of the destination.
    dst: Vec<Network>,
    /// Ports of either end.
    port: Vec<Range>,
    /// Ports of the source.
    sport: Vec<Range>,
    /// Ports of the destination.
    dport: Vec<Range>,
    /// Protocols.
    proto: Vec<Sym>,
    /// Devices.
    dev: Vec<Sym>,
    /// Namespaces, inodes.
    netns: Vec<u32>,
    /// Processes.
    pid: Vec<u32>,
    /// Names of tasks.
    comm: Vec<Sym>,
    /// Lengths.
    len: Vec<Range>,
    /// TCP flags.
    tcp_flags: Option<Flags>,
    /// Probes.
    probe: Vec<Sym>,
    /// Reasons.
    reason: Vec<Sym>,
    /// Tables of netfilter.
    table: Vec<Sym>,
    /// Chains of nftables.
    chain: Vec<Sym>,
    /// Outcomes.
    outcome: Vec<OutcomeKind>,
    /// Packets.
    skb: Vec<u64>,
    /// Range of time.
    range: Option<RangeInclusive<u64>>,
    /// Answers to show at most.
    pub limit: Option<u64>,
}

impl Filter {
    /// Resolves filters for a capture.
    pub fn new(args: &FilterArgs, capture: &Capture, times: &Times) -> Result<Self> {
        Ok(Self {
            addr: args.addr.clone(),
            src: args.src.clone(),
            dst: args.dst.clone(),
            port: args.port.clone(),
            sport: args.sport.clone(),
            dport: args.dport.clone(),
            proto: symbols(&args.proto, ToString::to_string),
            dev: symbols(&args.dev, ToString::to_string),
            len: args.len.clone(),
            tcp_flags: args.tcp_flags,
            netns: each(&args.netns, |t| netns(t, capture))?,
            pid: args.pid.clone(),
            comm: symbols(&args.comm, Clone::clone),
            probe: each(&args.probe, |t| probe(t, capture))?,
            reason: symbols(&args.reason, |text| reason_name(text)),
            table: symbols(&args.table, Clone::clone),
            chain: symbols(&args.chain, Clone::clone),
            outcome: each(&args.outcome, outcome)?,
            skb: args.skb.clone(),
            range: range(args, times)?,
            limit: args.limit,
        })
    }

    /// The range of time.
    pub fn range(&self) -> RangeInclusive<u64> {
        self.range.clone().unwrap_or(0..=u64::MAX)
    }

    /// Whether an event passes. `flow` is that of its packet, for events that carry no header.
    pub fn event(&self, event: &Event, flow: &Flow) -> bool {
        let own = if event.has_addresses() { &event.flow() } else { flow };
        self.flow(own, event.hook())
            && passes(&self.proto, |p| *p == event.l4 || *p == event.protocol || *p == own.l4)
            && passes(&self.dev, |d| *d == event.dev)
            && passes(&self.netns, |n| *n == event.netns)
            && self.task(event)
            && passes(&self.len, |r| event.len != 0 && r.contains(event.len))
            && self.tcp_flags.is_none_or(|flags| flags.any_of(event.tcp_flags.text()))
            && passes(&self.probe, |p| *p == event.probe)
            && passes(&self.reason, |r| *r == event.reason)
            && passes(&self.table, |t| *t == event.nf_table)
            && passes(&self.chain, |c| *c == event.nf_chain)
            && passes(&self.skb, |s| *s == event.skb)
    }

    /// Whether the task passes. In other contexts the current task has nothing to do with the packet.
    fn task(&self, event: &Event) -> bool {
        let own = self.pid.is_empty() && self.comm.is_empty() || event.ctx == Sym::TASK;
        own && passes(&self.pid, |p| *p == event.pid) && passes(&self.comm, |c| *c == event.comm)
    }

    /// Whether the ends pass. A socket's row stands for both directions.
    fn flow(&self, flow: &Flow, hook: Hook) -> bool {
        let both = matches!(
            hook,
            Hook::DataReady
                | Hook::SetState
                | Hook::TcpProbe
                | Hook::Retransmit
                | Hook::SendReset
                | Hook::ReceiveReset
        );
        self.ends(flow) || both && self.ends(&flow.reversed())
    }

    /// Whether both ends pass.
    fn ends(&self, flow: &Flow) -> bool {
        let port = |range: Range, port: u16| has_ports(flow.l4) && range.contains(port.into());
        passes(&self.addr, |n| lies_in(*n, flow.src) || lies_in(*n, flow.dst))
            && passes(&self.src, |n| lies_in(*n, flow.src))
            && passes(&self.dst, |n| lies_in(*n, flow.dst))
            && passes(&self.port, |r| port(*r, flow.sport) || port(*r, flow.dport))
            && passes(&self.sport, |r| port(*r, flow.sport))
            && passes(&self.dport, |r| port(*r, flow.dport))
    }

    /// Whether a life passes, of which an event did or did not.
    pub fn life(&self, life: &Life) -> bool {
        life.matched && passes(&self.outcome, |o| *o == life.outcome.kind())
    }
}

/// Whether a list is empty or one of it fits.
fn passes<T>(list: &[T], fits: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

/// Whether an address is one of a network.
fn lies_in(network: Network, addr: Addr) -> bool {
    addr.ip().is_some_and(|ip| network.contains(ip))
}

/// Whether a protocol has ports: those that the recorder compares.
fn has_ports(l4: Sym) -> bool {
    ["tcp", "udp", "sctp", "udplite"].contains(&l4.text())
}

/// Resolves every text of a list.
fn each<T>(texts: &[String], resolve: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    texts.iter().map(|t| resolve(t)).collect()
}

/// The symbols of words.
fn symbols<T>(words: &[T], spelled: impl Fn(&T) -> String) -> Vec<Sym> {
    words.iter().map(|word| Sym::new(&spelled(word))).collect()
}

/// A reason without the kernel's prefix, in capitals.
fn reason_name(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    upper.strip_prefix("SKB_DROP_REASON_").unwrap_or(&upper).to_owned()
}

/// A namespace by name or inode.
fn netns(text: &str, capture: &Capture) -> Result<u32> {
    if let Ok(inode) = text.parse() {
        return Ok(inode);
    }
    let names = &capture.metadata().host.netns_names;
    let known = || names.values().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = names.iter().find(|(_, name)| *name == text).map(|(inode, _)| *inode);
    found.with_context(|| format!("there is no namespace `{text}` in the capture; it names: {}", known()))
}

/// A probe that the capture may have.
fn probe(text: &str, capture: &Capture) -> Result<Sym> {
    let probes = &capture.metadata().probes;
    if !probes.is_empty() && !probes.iter().any(|p| p.name == text) && !Hook::names().any(|n| n == text) {
        bail!("there is no probe `{text}`; `ntana info` lists those of a capture");
    }
    Ok(Sym::new(text))
}

/// An outcome by name.
fn outcome(text: &str) -> Result<OutcomeKind> {
    let found = OutcomeKind::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    let names: Vec<&str> = OutcomeKind::ALL.iter().map(|(_, name)| *name).collect();
    found.map(|(kind, _)| *kind).with_context(|| format!("`{text}` is not an outcome: {}", names.join(", ")))
}

/// The range of time.
fn range(args: &FilterArgs, times: &Times) -> Result<Option<RangeInclusive<u64>>> {
    if args.since.is_none() && args.until.is_none() {
        return Ok(None);
    }
    let bound = |text: &Option<String>, open: u64| text.as_ref().map_or(Ok(open), |t| times.parse(t));
    Ok(Some(bound(&args.since, 0)?..=bound(&args.until, u64::MAX)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Addr;

    /// A range of ports.
    fn ports(text: &str) -> Range {
        Range::ports(text).unwrap()
    }

    /// A UDP packet.
    fn packet() -> Event {
        Event {
            saddr: Addr::from_text("10.77.1.2"),
            daddr: Addr::from_text("10.77.2.2"),
            sport: 40001,
            dport: 53,
            l4: Sym::UDP,
            dev: Sym::new("veth0"),
            ..Event::EMPTY
        }
    }

    /// Whether the packet passes a filter.
    fn passes_filter(change: impl Fn(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.event(&packet(), &Flow::default())
    }

    #[test]
    fn every_filter_must_match() {
        assert!(passes_filter(|_| {}));
        assert!(passes_filter(|f| f.addr = vec!["10.77.2.0/24".parse().unwrap()]));
        assert!(!passes_filter(|f| f.src = vec!["10.77.2.0/24".parse().unwrap()]));
        assert!(passes_filter(|f| f.port = vec![ports("50-60")]));
        assert!(!passes_filter(|f| f.sport = vec![ports("53")]));
        assert!(!passes_filter(|f| {
            f.proto = vec![Sym::UDP];
            f.dev = vec![Sym::new("eth9")];
        }));
        assert!(!passes_filter(|f| f.table = vec![Sym::new("filter")]));
        assert!(!passes_filter(|f| f.chain = vec![Sym::new("refused")]));
    }

    #[test]
    fn events_without_header_have_their_packets_flow() {
        let filter = Filter { dport: vec![ports("53")], ..Filter::default() };
        assert!(filter.event(&Event::EMPTY, &packet().flow()));
        assert!(!filter.event(&Event::EMPTY, &Flow::default()));
    }

    #[test]
    fn unknown_values_are_refused_with_the_known_ones() {
        let message = |e: anyhow::Error| e.to_string();
        assert!(message(outcome("lost").unwrap_err()).contains("dropped, delivered"));
        assert_eq!(reason_name("skb_drop_reason_no_socket"), "NO_SOCKET");
    }
}

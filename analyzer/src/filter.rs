//! The user's filters, resolved to values that are compared with events and lives.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use ntc::{Batch, Capture, ColumnId, catalog};
use words::{Flags, Network, Range};

use crate::address::Addr;
use crate::args::FilterArgs;
use crate::event::{Context as Where, Event, Flow};
use crate::expression::Asked;
use crate::lifecycle::{Life, OutcomeKind};
use crate::names::Name;
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
    proto: Vec<String>,
    /// Devices.
    dev: Vec<String>,
    /// Namespaces, inodes.
    netns: Vec<u32>,
    /// Processes.
    pid: Vec<u32>,
    /// Names of tasks.
    comm: Vec<String>,
    /// Lengths.
    len: Vec<Range>,
    /// TCP flags.
    tcp_flags: Option<Flags>,
    /// Probes.
    probe: Vec<String>,
    /// Reasons.
    reason: Vec<String>,
    /// Tables of netfilter.
    table: Vec<String>,
    /// Chains of nftables.
    chain: Vec<String>,
    /// Outcomes.
    outcome: Vec<OutcomeKind>,
    /// Packets.
    skb: Vec<u64>,
    /// Range of time.
    range: Option<RangeInclusive<u64>>,
    /// What is asked of packets by an expression.
    asked: Option<Asked>,
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
            proto: texts(&args.proto, ToString::to_string),
            dev: texts(&args.dev, ToString::to_string),
            len: args.len.clone(),
            tcp_flags: args.tcp_flags,
            netns: each(&args.netns, |t| netns(t, capture))?,
            pid: args.pid.clone(),
            comm: texts(&args.comm, Clone::clone),
            probe: each(&args.probe, |t| probe(t, capture))?,
            reason: texts(&args.reason, |text| reason_name(text)),
            table: texts(&args.table, Clone::clone),
            chain: texts(&args.chain, Clone::clone),
            outcome: each(&args.outcome, outcome)?,
            skb: args.skb.clone(),
            range: range(args, times)?,
            asked: args.expression.clone(),
            limit: args.limit,
        })
    }

    /// The range of time.
    pub fn range(&self) -> RangeInclusive<u64> {
        self.range.clone().unwrap_or(0..=u64::MAX)
    }

    /// The columns that it looks at beside those of lives.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> {
        let asked = self.asked.iter().flat_map(|_| Asked::COLUMNS);
        (!self.comm.is_empty()).then_some(ColumnId::Comm).into_iter().chain(asked)
    }

    /// Which rows of a row group fit the expression, if there is one: [`Event::fits`] has the answer.
    pub fn mask(&self, batch: &Batch) -> Option<Vec<bool>> {
        self.asked.as_ref().map(|asked| asked.mask(batch))
    }

    /// Whether every event passes: most questions are about all of a capture.
    pub fn takes_all(&self) -> bool {
        let ends = self.addr.is_empty() && self.src.is_empty() && self.dst.is_empty();
        let ports = self.port.is_empty() && self.sport.is_empty() && self.dport.is_empty();
        let place = self.dev.is_empty() && self.netns.is_empty();
        let task = self.pid.is_empty() && self.comm.is_empty();
        let header = self.proto.is_empty() && self.len.is_empty() && self.tcp_flags.is_none();
        let packet = header && self.skb.is_empty() && self.asked.is_none();
        let what = self.probe.is_empty() && self.reason.is_empty();
        let rule = self.table.is_empty() && self.chain.is_empty();
        ends && ports && place && task && packet && what && rule
    }

    /// Whether an event passes. `flow` is that of its packet, for events that carry no header.
    pub fn event(&self, event: &Event<'_, '_>, flow: &Flow<'_>) -> bool {
        let own = if event.has_addresses() { &event.flow() } else { flow };
        let is = |id: ColumnId| move |text: &String| event.name(id) == text.as_str();
        let is_l4 = |text: &String| own.l4 == text.as_str();
        event.fits()
            && self.flow(own, event.about.two_way)
            && passes(&self.proto, |p| is(ColumnId::L4)(p) || is(ColumnId::Protocol)(p) || is_l4(p))
            && passes(&self.dev, is(ColumnId::Dev))
            && passes(&self.netns, |n| event.u32(ColumnId::Netns) == Some(*n))
            && self.task(event)
            && passes(&self.len, |r| event.u32(ColumnId::Len).is_some_and(|len| r.contains(len)))
            && self.tcp_flags.is_none_or(|flags| flags.any_of(event.name(ColumnId::TcpFlags).text()))
            && passes(&self.probe, is(ColumnId::Probe))
            && passes(&self.reason, is(ColumnId::Reason))
            && passes(&self.table, is(ColumnId::Table))
            && passes(&self.chain, is(ColumnId::Chain))
            && passes(&self.skb, |s| *s == event.skb)
    }

    /// Whether the task passes. In other contexts the current task has nothing to do with the packet.
    fn task(&self, event: &Event<'_, '_>) -> bool {
        let any = self.pid.is_empty() && self.comm.is_empty();
        let own = any || event.context() == Where::Task;
        own && passes(&self.pid, |p| event.u32(ColumnId::Pid) == Some(*p))
            && passes(&self.comm, |c| event.name(ColumnId::Comm) == c.as_str())
    }

    /// Whether the ends pass. A socket's row stands for both directions.
    fn flow(&self, flow: &Flow<'_>, two_way: bool) -> bool {
        self.ends(flow) || two_way && self.ends(&flow.reversed())
    }

    /// Whether both ends pass.
    fn ends(&self, flow: &Flow<'_>) -> bool {
        let port = |range: Range, port: Option<u16>| {
            has_ports(flow.l4) && port.is_some_and(|port| range.contains(port.into()))
        };
        // As in the recorder: those of IP, not those that ARP tells of.
        let lies_in = |network: Network, addr: Addr| flow.l4 != "arp" && lies_in(network, addr);
        passes(&self.addr, |n| lies_in(*n, flow.src) || lies_in(*n, flow.dst))
            && passes(&self.src, |n| lies_in(*n, flow.src))
            && passes(&self.dst, |n| lies_in(*n, flow.dst))
            && passes(&self.port, |r| port(*r, flow.sport) || port(*r, flow.dport))
            && passes(&self.sport, |r| port(*r, flow.sport))
            && passes(&self.dport, |r| port(*r, flow.dport))
    }

    /// Whether a life passes, of which an event did or did not.
    pub fn life(&self, life: &Life<'_>) -> bool {
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
fn has_ports(l4: Name<'_>) -> bool {
    ["tcp", "udp", "sctp", "udplite"].contains(&l4.text())
}

/// Resolves every text of a list.
fn each<T>(texts: &[String], resolve: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    texts.iter().map(|t| resolve(t)).collect()
}

/// Words as they are spelled in captures.
fn texts<T>(words: &[T], spelled: impl Fn(&T) -> String) -> Vec<String> {
    words.iter().map(spelled).collect()
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
fn probe(text: &str, capture: &Capture) -> Result<String> {
    let probes = &capture.metadata().probes;
    if !probes.is_empty() && !probes.iter().any(|p| p.name == text) && catalog::by_name(text).is_none() {
        bail!("there is no probe `{text}`; `ntana info` lists those of a capture");
    }
    Ok(text.to_owned())
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
    use crate::script::Script;

    /// A range of ports.
    fn ports(text: &str) -> Range {
        Range::ports(text).unwrap()
    }

    /// Whether a UDP packet passes a filter.
    fn passes_filter(change: impl Fn(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        let packet = Script::new("1 7 net_dev_queue veth0 flow=10.77.1.2:40001>10.77.2.2:53");
        filter.event(&packet.block().event(0), &Flow::default())
    }

    #[test]
    fn every_filter_must_match() {
        assert!(passes_filter(|_| {}));
        assert!(passes_filter(|f| f.addr = vec!["10.77.2.0/24".parse().unwrap()]));
        assert!(!passes_filter(|f| f.src = vec!["10.77.2.0/24".parse().unwrap()]));
        assert!(passes_filter(|f| f.port = vec![ports("50-60")]));
        assert!(!passes_filter(|f| f.sport = vec![ports("53")]));
        assert!(!passes_filter(|f| {
            f.proto = vec!["udp".into()];
            f.dev = vec!["eth9".into()];
        }));
        assert!(!passes_filter(|f| f.table = vec!["filter".into()]));
        assert!(!passes_filter(|f| f.chain = vec!["refused".into()]));
    }

    #[test]
    fn events_without_header_have_their_packets_flow() {
        let filter = Filter { dport: vec![ports("53")], ..Filter::default() };
        let packet = Script::new("1 7 net_dev_queue veth0 flow=10.77.1.2:40001>10.77.2.2:53");
        let bare = Script::new("1 7 net_dev_xmit veth0");
        assert!(filter.event(&bare.block().event(0), &packet.block().event(0).flow()));
        assert!(!filter.event(&bare.block().event(0), &Flow::default()));
    }

    #[test]
    fn a_zero_port_is_a_port() {
        let filter = Filter { sport: vec![ports("0")], ..Filter::default() };
        for (flow, passes) in [("10.0.0.1:0>10.0.0.2:9", true), ("10.0.0.1>10.0.0.2", false)] {
            let packet = Script::new(&format!("1 7 net_dev_queue veth0 flow={flow}"));
            assert_eq!(filter.event(&packet.block().event(0), &Flow::default()), passes);
        }
    }

    #[test]
    fn unknown_values_are_refused_with_the_known_ones() {
        let message = |e: anyhow::Error| e.to_string();
        assert!(message(outcome("lost").unwrap_err()).contains("dropped, delivered"));
        assert_eq!(reason_name("skb_drop_reason_no_socket"), "NO_SOCKET");
    }
}

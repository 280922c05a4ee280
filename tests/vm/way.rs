//! Ways of packets, put so that they do not depend on the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde_json::Value;

/// Functions that give the packet to whoever waits for it, on whichever processor: it may be gone when they return.
const HANDING_OVER: [&str; 1] = ["__udp_enqueue_schedule_skb"];

/// Functions by which a packet waits for its neighbour's address, or finds it no longer sure: that depends on the time since
/// the neighbour was heard.
pub const RESOLVING: [&str; 2] = ["__neigh_event_send", "neigh_resolve_output"];

/// What a packet passed. When a function that sends it returns, the packet may have gone through the next host, or may even
/// be gone, depending on where the softirq ran; so only those returns are steps that follow their call at once, and none of
/// [`HANDING_OVER`]. Those that [resolve](RESOLVING) a neighbour's address are left out, and so is the call by which a packet
/// began as a clone: TCP sends clones of the segments in its queue, which have neither device nor socket, so that a recorder
/// with `--netns` has no such call, and beside one without it a clone would take as many steps as what is sent as it is
/// (`__tcp_transmit_skb`), and the moment decide between them.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Functions and tracepoints in their order, each with the device, or with what was decided, linked or returned.
    pub steps: Vec<String>,
}

impl Way {
    /// The way of a life.
    pub fn of(life: &Value) -> Self {
        let (mut steps, mut called) = (Vec::new(), "");
        for event in events(life).skip(usize::from(begins_as(life, "clone"))) {
            let probe = text(event, "probe");
            if RESOLVING.contains(&probe) {
                continue;
            }
            match (is_return(event), called == probe && !HANDING_OVER.contains(&probe)) {
                (true, false) => {}
                (true, true) => steps.push(returned(event)),
                (false, _) => steps.push(step(event)),
            }
            called = if is_return(event) { "" } else { probe };
        }
        Self { steps }
    }

    /// The way up to TCP: what TCP does with a segment depends on whether a process has its socket just then.
    pub fn until_tcp(mut self) -> Self {
        let tcp = self.steps.iter().position(|step| name(step) == "tcp_v4_rcv");
        self.steps.truncate(tcp.map_or(self.steps.len(), |tcp| tcp + 1));
        self
    }
}

impl Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Of the ways with the most different steps, the one that was taken most often. How often is no matter between ways of other
/// steps, such as those of a request and its answer.
pub fn typical(ways: impl Iterator<Item = Way>) -> Way {
    let mut taken: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    ways.for_each(|way| *taken.entry(way.steps).or_default() += 1);
    let rank = |(steps, times): &(Vec<String>, u32)| {
        let different: BTreeSet<String> = steps.iter().cloned().collect();
        (different.len(), different, *times)
    };
    let most = taken.into_iter().max_by_key(rank);
    most.map(|(steps, _)| Way { steps }).unwrap_or_default()
}

/// The probe of a line.
fn name(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// The events of a life.
pub fn events(life: &Value) -> impl Iterator<Item = &Value> {
    life["events"].as_array().into_iter().flatten()
}

/// Whether a packet passed a probe.
pub fn passes(life: &Value, probe: &str) -> bool {
    events(life).any(|event| event["probe"].as_str() == Some(probe))
}

/// Whether a packet is the child of another by this relation.
pub fn begins_as(life: &Value, relation: &str) -> bool {
    events(life).next().is_some_and(|event| event["relation"] == relation)
}

/// A text of an event.
fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_default()
}

/// The verdict of an event, or what of its packet another one is.
fn said(event: &Value) -> &str {
    let verdict = text(event, "verdict");
    if verdict.is_empty() { text(event, "relation") } else { verdict }
}

/// Whether an event is what a function returned, and nothing else.
fn is_return(event: &Value) -> bool {
    text(event, "hook").is_empty() && said(event).is_empty() && event["ret"].is_i64()
}

/// What was returned.
fn returned(event: &Value) -> String {
    let probe = text(event, "probe");
    match event["ret"].as_i64() {
        Some(value) if (-4095..=65_536).contains(&value) => format!("{probe} returns {value}"),
        // Addresses differ from run to run.
        _ => format!("{probe} returns a pointer"),
    }
}

/// A step: the probe and the device, or what was decided or linked.
fn step(event: &Value) -> String {
    let probe = text(event, "probe");
    if !text(event, "hook").is_empty() {
        // The process id differs from run to run.
        let table = text(event, "table");
        let table = if table.starts_with("ntrec-") { "ntrec" } else { table };
        let rule = event["handle"].as_u64().map_or_else(String::new, |handle| format!(" handle {handle}"));
        let (chain, hook, verdict) = (text(event, "chain"), text(event, "hook"), text(event, "verdict"));
        return format!("{probe} {table} {chain}{rule} {hook}: {verdict}");
    }
    let more = if said(event).is_empty() { text(event, "dev") } else { said(event) };
    format!("{probe} {more}").trim_end().to_owned()
}

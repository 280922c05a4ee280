//! A finding: one root cause, with everything that is known about it, as plain data.

use serde::Serialize;

use crate::event::Flow;
use crate::knowledge::Severity;
use crate::rule::Rule;
use crate::symbol::Sym;

/// Something and how often it was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share<T> {
    /// What.
    pub what: T,
    /// How often.
    pub count: u64,
}

/// A device in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Where {
    /// Device.
    pub dev: Sym,
    /// Namespace, inode; 0: unknown.
    pub netns: u32,
}

/// A life to look at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Address of its `sk_buff`, as `ntana trace --skb` takes it.
    #[serde(serialize_with = "hex")]
    pub skb: u64,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Its flow.
    pub flow: Flow,
}

/// An address of the kernel as text (serde).
fn hex<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

/// One root cause and what it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Root cause.
    pub cause: Sym,
    /// What is wrong, one line.
    pub title: String,
    /// What it is about: an address and port, a device, a flow.
    pub about: String,
    /// Packets that it hit.
    pub packets: u64,
    /// Whether `packets` counts dropped packets; otherwise what the evidence counts.
    pub are_drops: bool,
    /// Flows that it hit.
    pub flows: u64,
    /// Whether there were more flows than were counted.
    pub more_flows: bool,
    /// First time, ns of CLOCK_MONOTONIC.
    pub first: u64,
    /// Last time.
    pub last: u64,
    /// Functions that dropped, most frequent first.
    pub locations: Vec<Share<Sym>>,
    /// Drop or reset reasons.
    pub reasons: Vec<Share<Sym>>,
    /// The rules that dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Share<Rule>>,
    /// Devices and namespaces.
    pub devices: Vec<Share<Where>>,
    /// The flows that were hit most.
    pub top_flows: Vec<Share<Flow>>,
    /// What it means.
    pub means: String,
    /// What to do.
    pub advice: String,
    /// Kernel counters that count it.
    pub counters: String,
    /// What was seen, and how often.
    pub evidence: Vec<Share<String>>,
    /// Figures: how full buffers were.
    pub figures: Vec<String>,
    /// Stack of an example, folded.
    pub stack: Sym,
    /// Lives to look at.
    pub examples: Vec<Example>,
    /// Whether events were lost while it happened.
    pub touched_by_loss: bool,
}

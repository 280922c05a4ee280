//! A finding: one root cause, with everything that is known about it, as plain data.

use serde::{Serialize, Serializer};

use crate::answer::Rule;
use crate::knowledge::Severity;
use crate::numbers::{Count, grouped};

/// Something and how often it was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share<T> {
    /// What.
    pub what: T,
    /// How often.
    pub count: u64,
}

/// A device in a namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// Device.
    pub dev: String,
    /// Namespace, inode.
    pub netns: Option<u32>,
}

/// A life to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Address of its `sk_buff`, as `ntana trace --skb` takes it.
    #[serde(serialize_with = "hex")]
    pub skb: u64,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Its flow.
    pub flow: String,
}

/// An address of the kernel as text (serde).
fn hex<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

/// One root cause and what it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Root cause.
    pub cause: String,
    /// What is wrong, one line.
    pub title: String,
    /// What it is about: an address and port, a device, a flow.
    pub about: String,
    /// Packets that it hit.
    #[serde(flatten, serialize_with = "packets")]
    pub packets: Count,
    /// Whether `packets` counts dropped packets; otherwise what the evidence counts.
    pub are_drops: bool,
    /// Flows that it hit.
    #[serde(flatten, serialize_with = "flows")]
    pub flows: Count,
    /// Addresses and ports that these packets were sent to.
    #[serde(flatten, serialize_with = "destinations")]
    pub destinations: Count,
    /// First time, ns of CLOCK_MONOTONIC.
    pub first: u64,
    /// Last time.
    pub last: u64,
    /// Functions that dropped, most frequent first.
    pub locations: Vec<Share<String>>,
    /// Drop or reset reasons.
    pub reasons: Vec<Share<String>>,
    /// The rules that dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Share<Rule<'static>>>,
    /// Devices and namespaces.
    pub devices: Vec<Share<Device>>,
    /// The flows that were hit most.
    pub top_flows: Vec<Share<String>>,
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
    pub stack: Option<String>,
    /// Lives to look at.
    pub examples: Vec<Example>,
    /// Whether events were lost while it happened.
    pub touched_by_loss: bool,
}

/// The members `packets` and `packets_at_least` (serde).
fn packets<S: Serializer>(count: &Count, serializer: S) -> Result<S::Ok, S::Error> {
    count.members("packets", "packets_at_least", serializer)
}

/// The members `flows` and `flows_at_least` (serde).
fn flows<S: Serializer>(count: &Count, serializer: S) -> Result<S::Ok, S::Error> {
    count.members("flows", "flows_at_least", serializer)
}

/// The members `destinations` and `destinations_at_least` (serde).
fn destinations<S: Serializer>(count: &Count, serializer: S) -> Result<S::Ok, S::Error> {
    count.members("destinations", "destinations_at_least", serializer)
}

/// Things and how often they were seen.
pub fn listed(all: &[Share<impl ToString>]) -> String {
    shares(all, |what| what.to_string())
}

/// Things and how often they were seen: `a (3); b (1)`.
pub fn shares<T>(all: &[Share<T>], show: impl Fn(&T) -> String) -> String {
    let each = all.iter().map(|share| format!("{} ({})", show(&share.what), grouped(share.count)));
    each.collect::<Vec<_>>().join("; ")
}

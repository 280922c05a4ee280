//! What a capture says about itself: host, kernel, command line, probes, enums, totals.
//!
//! Stored as JSON, in the Parquet key `ntc` of a closed file and in its last checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The Parquet key under which [`Metadata`] stands in a closed file.
pub const METADATA_KEY: &str = "ntc";

/// Everything about a capture that is not an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Major version of the format, see [`crate::schema::FORMAT_MAJOR`].
    pub format: u32,
    /// Minor version of the format, see [`crate::schema::FORMAT_MINOR`].
    pub minor: u32,
    /// The recorder's name and version.
    pub recorder: String,
    /// The recorder's command line, one argument an entry.
    pub command: Vec<String>,
    /// The host that was recorded.
    pub host: Host,
    /// Filters in force, as the user wrote them: `addr` -> `10.0.0.0/8`.
    pub filters: BTreeMap<String, String>,
    /// Every probe of the profile, attached or not.
    pub probes: Vec<Probe>,
    /// The recording kernel's enums: `skb_drop_reason` -> value -> name. Values of subsystems carry
    /// their number in the upper 16 bits, as the kernel does.
    pub enums: BTreeMap<String, BTreeMap<u32, String>>,
    /// Interfaces by namespace, in the order they were first seen.
    pub interfaces: Vec<Interface>,
    /// Modules of the kernel that were loaded while recording: what packets did in their functions is not in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub late_modules: Vec<String>,
    /// How many payload bytes `payload_hash` covers, see [`crate::schema::FINGERPRINT_BYTES`]. Absent (0) where an older recorder
    /// took as many of 32 as it saw: such a hash may differ between hosts.
    #[serde(skip_serializing_if = "is_zero")]
    pub fingerprint_bytes: u32,
    /// The first and the last sample of the clocks; one each second stands in the table.
    pub clocks: Vec<ClockSample>,
    /// When recording began, ns of CLOCK_MONOTONIC.
    pub started: u64,
    /// When it ended, and why; absent in a file whose recorder did not finish.
    pub stopped: Option<Stopped>,
    /// Events counted, recorded and lost.
    pub totals: Totals,
}

/// Whether a number says nothing.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The host that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its name (`uname -n`).
    pub name: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Machine architecture (`uname -m`).
    pub machine: String,
    /// CPUs that were online.
    pub cpus: u32,
    /// The network namespace of the recorder, inode.
    pub netns: u32,
    /// Named namespaces: inode -> name under /run/netns.
    pub netns_names: BTreeMap<u32, String>,
}

/// A probe of the profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Its name, as in the column `probe`.
    pub name: String,
    /// How it is attached, by the name that `--backend` takes; empty where it is not.
    pub backend: String,
    /// How its arguments were resolved from BTF: `skb=0 location=1 reason=2`.
    pub arguments: String,
    /// Why it is not attached.
    pub error: Option<String>,
    /// Whether it is a function that this kernel does not have, or not as one: built without, inlined, or in a module
    /// that was not loaded. Then no packet can have passed it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// Whether its returns are recorded, too. An older recorder did not say it:
    /// [`crate::catalog::Probe::has_return`] is what it would have recorded then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns: Option<bool>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Inode of its namespace.
    pub netns: u32,
    /// Its index there.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// When it was first seen under this name, ns of CLOCK_MONOTONIC.
    pub since: u64,
}

/// One bracketed sample of the host's clocks, all in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockSample {
    /// CLOCK_MONOTONIC, the middle of the bracket.
    pub monotonic: u64,
    /// CLOCK_MONOTONIC_RAW.
    pub raw: u64,
    /// CLOCK_REALTIME, ns since 1970 (UTC).
    pub realtime: i64,
    /// CLOCK_BOOTTIME.
    pub boottime: u64,
    /// CLOCK_TAI.
    pub tai: i64,
    /// Width of the bracket around CLOCK_REALTIME, ns: twice the error bound.
    pub bracket: u64,
}

/// How a recording ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stopped {
    /// When, ns of CLOCK_MONOTONIC.
    pub at: u64,
    /// Why: `SIGINT`, `--duration`, `disk full`, ...
    pub why: String,
}

/// Events counted where they happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Rows in the table, clock and loss rows included.
    pub rows: u64,
    /// Rows by kind; empty in a file that is not closed, and in those of older recorders.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, u64>,
    /// Per probe and CPU, only where anything was counted.
    pub counts: Vec<Count>,
}

/// One probe's events on one CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Count {
    /// The probe.
    pub probe: String,
    /// The CPU; absent for losses that the kernel counts for all CPUs together.
    pub cpu: Option<u32>,
    /// Events that the probe counted in the kernel after filtering.
    pub counted: u64,
    /// Events that stand in the file.
    pub recorded: u64,
    /// Events for which the ring buffer had no room.
    pub lost: u64,
    /// Runs that the kernel refused because the program was already running on that CPU.
    pub missed: u64,
}

impl Totals {
    /// Events recorded from the kernel, over all probes and CPUs.
    pub fn recorded(&self) -> u64 {
        self.counts.iter().map(|c| c.recorded).sum()
    }

    /// Events lost, over all probes and CPUs, refused runs included.
    pub fn lost(&self) -> u64 {
        self.counts.iter().map(|c| c.lost + c.missed).sum()
    }
}

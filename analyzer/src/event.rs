//! One event as the analysis sees it.
//!
//! `decode` makes events of columns; `hook` says what their probes mean.

mod decode;
mod hook;

pub use decode::{Decoder, columns};
pub use hook::Hook;

use serde::{Serialize, Serializer};

use crate::address::Addr;
use crate::symbol::Sym;

/// Marks a number of an event that the capture does not have.
pub const NO_NUMBER: u32 = u32::MAX;
/// Marks a return value that the capture does not have.
pub const NO_RETURN: i64 = i64::MIN;
/// Marks an ICMP type or code that the capture does not have.
pub const NO_ICMP: u8 = u8::MAX;

/// One row of a capture. What the capture does not have is zero, [`Sym::NONE`], [`Addr::NONE`] or a `NO_` constant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// CPU.
    pub cpu: u16,
    /// Kind of the row.
    #[serde(skip)]
    pub kind: Sym,
    /// Probe.
    #[serde(skip_serializing_if = "no_text")]
    pub probe: Sym,
    /// Address of the packet.
    #[serde(skip_serializing_if = "is_zero_64", serialize_with = "hex")]
    pub skb: u64,
    /// Address of the socket.
    #[serde(skip_serializing_if = "is_zero_64", serialize_with = "hex")]
    pub sk: u64,
    /// Process of the current task.
    #[serde(skip_serializing_if = "is_no_number")]
    pub pid: u32,
    /// Name of the current task.
    #[serde(skip_serializing_if = "no_text")]
    pub comm: Sym,
    /// task, softirq, hardirq.
    #[serde(skip_serializing_if = "no_text")]
    pub ctx: Sym,
    /// Network namespace, inode.
    #[serde(skip_serializing_if = "is_zero")]
    pub netns: u32,
    /// Device, index.
    #[serde(skip_serializing_if = "is_zero")]
    pub ifindex: u32,
    /// Device, name.
    #[serde(skip_serializing_if = "no_text")]
    pub dev: Sym,
    /// Device it was received on, index.
    #[serde(skip_serializing_if = "is_zero")]
    pub iif: u32,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub len: u32,
    /// Segments of a GSO packet.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub gso_segs: u16,
    /// Protocol above the link.
    #[serde(skip_serializing_if = "no_text")]
    pub protocol: Sym,
    /// Source address; of sockets the local one.
    #[serde(skip_serializing_if = "no_address")]
    pub saddr: Addr,
    /// Destination address; of sockets the remote one, of neighbours theirs.
    #[serde(skip_serializing_if = "no_address")]
    pub daddr: Addr,
    /// Protocol above IP.
    #[serde(skip_serializing_if = "no_text")]
    pub l4: Sym,
    /// Source port.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub sport: u16,
    /// Destination port.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub dport: u16,
    /// IP identification.
    #[serde(skip_serializing_if = "is_no_number")]
    pub ip_id: u32,
    /// TTL.
    #[serde(skip_serializing_if = "is_zero_8")]
    pub ttl: u8,
    /// TCP sequence number.
    #[serde(skip_serializing_if = "is_no_number")]
    pub tcp_seq: u32,
    /// TCP acknowledgment number.
    #[serde(skip_serializing_if = "is_no_number")]
    pub tcp_ack: u32,
    /// TCP flags as letters.
    #[serde(skip_serializing_if = "no_text")]
    pub tcp_flags: Sym,
    /// TCP window.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub tcp_win: u16,
    /// ICMP type.
    #[serde(skip_serializing_if = "is_no_icmp")]
    pub icmp_type: u8,
    /// ICMP code.
    #[serde(skip_serializing_if = "is_no_icmp")]
    pub icmp_code: u8,
    /// ICMP echo identifier.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub icmp_id: u16,
    /// ICMP echo sequence number.
    #[serde(skip_serializing_if = "is_zero_16")]
    pub icmp_seq: u16,
    /// Tunnel that the packet carries.
    #[serde(skip_serializing_if = "no_text")]
    pub tunnel: Sym,
    /// Drop or reset reason.
    #[serde(skip_serializing_if = "no_text")]
    pub reason: Sym,
    /// Function that freed it.
    #[serde(skip_serializing_if = "no_text")]
    pub location: Sym,
    /// Kernel stack, folded.
    #[serde(skip_serializing_if = "no_text")]
    pub stack: Sym,
    /// Return value.
    #[serde(skip_serializing_if = "is_no_return")]
    pub ret: i64,
    /// Value of clock and loss rows.
    #[serde(skip_serializing_if = "is_no_return")]
    pub value: i64,
    /// Address family of a socket.
    #[serde(skip_serializing_if = "no_text")]
    pub family: Sym,
    /// State before.
    #[serde(skip_serializing_if = "no_text")]
    pub old_state: Sym,
    /// State after.
    #[serde(skip_serializing_if = "no_text")]
    pub new_state: Sym,
    /// Bytes queued for receiving.
    #[serde(skip_serializing_if = "is_zero")]
    pub rmem: u32,
    /// Receive buffer, bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub rcvbuf: u32,
    /// Connections that wait to be accepted, where it is a listener's.
    #[serde(skip_serializing_if = "is_zero")]
    pub backlog: u32,
    /// The most that may wait; 0 where it is no listener.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_backlog: u32,
    /// Clock or table.
    #[serde(skip_serializing_if = "no_text")]
    pub name: Sym,
    /// Number of the event on its CPU.
    #[serde(skip)]
    pub seq: u64,
    /// Returns: the call, see [`Event::call`]. Links: address of the other packet.
    #[serde(skip_serializing_if = "is_zero_64", serialize_with = "hex")]
    pub other: u64,
    /// A verdict of netfilter, or what the other packet of a link is.
    #[serde(skip_serializing_if = "no_text")]
    pub says: Sym,
    /// Hook of netfilter.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_hook: Sym,
    /// Table of netfilter.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_table: Sym,
    /// Chain of netfilter.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_chain: Sym,
    /// Handle of the rule that is traced.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub nf_handle: u64,
    /// What is traced: rule, return or policy.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_step: Sym,
    /// The functions that netfilter called there, `a;b`.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_hooks: Sym,
    /// Which of them gave the verdict, where the life tells: no column.
    #[serde(skip_serializing_if = "no_text")]
    pub nf_by: Sym,
}

impl Event {
    /// An event without anything.
    pub const EMPTY: Self = Self {
        ts: 0,
        cpu: 0,
        kind: Sym::NONE,
        probe: Sym::NONE,
        skb: 0,
        sk: 0,
        pid: NO_NUMBER,
        comm: Sym::NONE,
        ctx: Sym::NONE,
        netns: 0,
        ifindex: 0,
        dev: Sym::NONE,
        iif: 0,
        len: 0,
        gso_segs: 0,
        protocol: Sym::NONE,
        saddr: Addr::NONE,
        daddr: Addr::NONE,
        l4: Sym::NONE,
        sport: 0,
        dport: 0,
        ip_id: NO_NUMBER,
        ttl: 0,
        tcp_seq: NO_NUMBER,
        tcp_ack: NO_NUMBER,
        tcp_flags: Sym::NONE,
        tcp_win: 0,
        icmp_type: NO_ICMP,
        icmp_code: NO_ICMP,
        icmp_id: 0,
        icmp_seq: 0,
        tunnel: Sym::NONE,
        reason: Sym::NONE,
        location: Sym::NONE,
        stack: Sym::NONE,
        ret: NO_RETURN,
        value: NO_RETURN,
        family: Sym::NONE,
        old_state: Sym::NONE,
        new_state: Sym::NONE,
        rmem: 0,
        rcvbuf: 0,
        backlog: 0,
        max_backlog: 0,
        name: Sym::NONE,
        seq: 0,
        other: 0,
        says: Sym::NONE,
        nf_hook: Sym::NONE,
        nf_table: Sym::NONE,
        nf_chain: Sym::NONE,
        nf_handle: 0,
        nf_step: Sym::NONE,
        nf_hooks: Sym::NONE,
        nf_by: Sym::NONE,
    };

    /// What the probe says.
    pub fn hook(&self) -> Hook {
        match Hook::of(self.probe) {
            Hook::Other => Hook::of_kind(self.kind),
            known => known,
        }
    }

    /// How the return of a call names it: CPU and number.
    pub fn call(&self) -> u64 {
        u64::from(self.cpu) << 48 | self.seq & 0xffff_ffff_ffff
    }

    /// Whether the event has a decoded packet or socket address.
    pub fn has_addresses(&self) -> bool {
        let known = |address: Addr| !address.is_none() && !address.is_unspecified();
        known(self.saddr) || known(self.daddr)
    }

    /// Who talks to whom.
    pub fn flow(&self) -> Flow {
        let l4 = if self.l4.is_none() { self.protocol } else { self.l4 };
        Flow { src: self.saddr, dst: self.daddr, sport: self.sport, dport: self.dport, l4 }
    }
}

/// Who talks to whom: addresses, ports, protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Protocol above IP, or above the link where it is not IP.
    pub l4: Sym,
}

impl Flow {
    /// The other direction.
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, l4: self.l4 }
    }

    /// The direction that is the same for both directions.
    pub fn either_way(self) -> Self {
        self.min(self.reversed())
    }

    /// Whether nothing is known.
    pub fn is_none(self) -> bool {
        self.src.is_none() && self.dst.is_none()
    }
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_none() {
            return f.write_str("unknown flow");
        }
        let (src, dst) = (
            crate::address::with_port(self.src, self.sport),
            crate::address::with_port(self.dst, self.dport),
        );
        if self.l4.is_some() {
            write!(f, "{} ", self.l4)?;
        }
        write!(f, "{src} -> {dst}")
    }
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address of the kernel as text.
fn hex<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

/// Whether there is no number (serde).
fn is_zero_64(value: &u64) -> bool {
    *value == 0
}

/// Whether there is no number (serde).
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Whether there is no number (serde).
fn is_zero_16(value: &u16) -> bool {
    *value == 0
}

/// Whether there is no number (serde).
fn is_zero_8(value: &u8) -> bool {
    *value == 0
}

/// Whether there is no number (serde).
fn is_no_number(value: &u32) -> bool {
    *value == NO_NUMBER
}

/// Whether there is no ICMP type or code (serde).
fn is_no_icmp(value: &u8) -> bool {
    *value == NO_ICMP
}

/// Whether there is no return value (serde).
fn is_no_return(value: &i64) -> bool {
    *value == NO_RETURN
}

/// Whether there is no text (serde).
fn no_text(value: &Sym) -> bool {
    value.is_none()
}

/// Whether there is no address (serde).
fn no_address(value: &Addr) -> bool {
    value.is_none()
}

//! One event as the analysis sees it, and how columns become events.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use arrow_schema::DataType;
use serde::{Serialize, Serializer};

use crate::address::Addr;
use crate::symbol::Sym;

/// Marks a number of an event that the capture does not have.
pub const NO_NUMBER: u32 = u32::MAX;
/// Marks a return value that the capture does not have.
pub const NO_RETURN: i64 = i64::MIN;
/// Marks an ICMP type or code that the capture does not have.
pub const NO_ICMP: u8 = u8::MAX;

/// What a probe says about a packet or a socket. Several probes may say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A probe that this build knows nothing about.
    Other,
    /// The packet is handed to a device's queue.
    Queue,
    /// The driver gets the packet.
    Start,
    /// The driver took (or refused) the packet.
    Sent,
    /// A driver hands the packet to the stack.
    RxEntry,
    /// The packet is put into a CPU's backlog.
    RxBacklog,
    /// The protocols get the packet.
    Receive,
    /// A process copies the packet's data.
    Copy,
    /// The packet is dropped.
    Drop,
    /// The packet is freed after use.
    Consume,
    /// A socket has something to read.
    DataReady,
    /// A socket changes its state.
    SetState,
    /// A socket's receive buffer is full.
    ReceiveFull,
    /// A protocol's or socket's buffer limit is exceeded.
    BufferLimit,
    /// An established TCP connection gets a segment.
    TcpProbe,
    /// TCP sends a segment again.
    Retransmit,
    /// TCP answers a SYN again.
    RetransmitSynack,
    /// TCP sends a reset.
    SendReset,
    /// TCP gets a reset.
    ReceiveReset,
    /// TCP found a wrong checksum.
    BadChecksum,
    /// An ICMP error is sent.
    IcmpSend,
    /// A neighbour entry changes.
    Neighbour,
    /// A queueing discipline has taken the packet, and may have freed it before this is told.
    Enqueued,
    /// A function is called with the packet.
    Call,
    /// A function returns.
    Return,
    /// Netfilter gives a verdict.
    Verdict,
    /// A rule of nftables, the end of a chain or its policy is traced.
    Step,
    /// Another packet is made of it, or it goes up in another.
    Link,
    /// A function frees the packet, for whatever reason.
    End,
    /// A sample of another clock.
    Clock,
    /// Events were lost.
    Loss,
}

/// The probes that this build knows, each with what it says.
const HOOKS: &[(&str, Hook)] = &[
    ("net_dev_queue", Hook::Queue),
    ("net_dev_start_xmit", Hook::Start),
    ("net_dev_xmit", Hook::Sent),
    ("netif_rx_entry", Hook::RxEntry),
    ("netif_rx_ni_entry", Hook::RxEntry),
    ("napi_gro_receive_entry", Hook::RxEntry),
    ("napi_gro_frags_entry", Hook::RxEntry),
    ("netif_receive_skb_entry", Hook::RxEntry),
    ("netif_receive_skb_list_entry", Hook::RxEntry),
    ("netif_rx", Hook::RxBacklog),
    ("netif_receive_skb", Hook::Receive),
    ("skb_copy_datagram_iovec", Hook::Copy),
    ("kfree_skb", Hook::Drop),
    ("consume_skb", Hook::Consume),
    ("sk_data_ready", Hook::DataReady),
    ("inet_sock_set_state", Hook::SetState),
    ("sock_rcvqueue_full", Hook::ReceiveFull),
    ("sock_exceed_buf_limit", Hook::BufferLimit),
    ("tcp_probe", Hook::TcpProbe),
    ("tcp_retransmit_skb", Hook::Retransmit),
    ("tcp_retransmit_synack", Hook::RetransmitSynack),
    ("tcp_send_reset", Hook::SendReset),
    ("tcp_receive_reset", Hook::ReceiveReset),
    ("tcp_bad_csum", Hook::BadChecksum),
    ("icmp_send", Hook::IcmpSend),
    ("neigh_update", Hook::Neighbour),
    ("neigh_update_done", Hook::Neighbour),
    ("neigh_timer_handler", Hook::Neighbour),
    ("neigh_event_send_done", Hook::Neighbour),
    ("neigh_event_send_dead", Hook::Neighbour),
    ("neigh_cleanup_and_release", Hook::Other),
    ("nft_trace_notify", Hook::Step),
    ("qdisc_enqueue", Hook::Enqueued),
    ("clock", Hook::Clock),
    ("loss", Hook::Loss),
];

impl Hook {
    /// The names of the known probes, in the order of their symbols.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        HOOKS.iter().map(|(name, _)| *name)
    }

    /// What a function says, by the kind of the row.
    fn of_kind(kind: Sym) -> Self {
        match kind {
            Sym::PKT => Self::Call,
            Sym::RET => Self::Return,
            Sym::NF => Self::Verdict,
            Sym::LINK => Self::Link,
            Sym::FREE => Self::End,
            _ => Self::Other,
        }
    }

    /// What a probe says.
    pub fn of(probe: Sym) -> Self {
        let place = probe.place().wrapping_sub(Sym::FIRST_PROBE);
        HOOKS.get(place as usize).map_or(Self::Other, |(_, hook)| *hook)
    }
}

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
    pub backlog: u32,
    /// The most that may wait; 0 where it is no listener.
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

/// How a column's values get into events.
#[derive(Clone, Copy)]
enum Setter {
    /// Unsigned numbers.
    Number(fn(&mut Event, u64)),
    /// Signed numbers.
    Signed(fn(&mut Event, i64)),
    /// Text.
    Text(fn(&mut Event, Sym)),
    /// Addresses.
    Address(fn(&mut Event, Addr)),
}

use Setter::{Address, Number, Signed, Text};

/// The columns that events have, and where each goes.
const FIELDS: &[(&str, Setter)] = &[
    ("ts", Number(|e, v| e.ts = v)),
    ("cpu", Number(|e, v| e.cpu = v as u16)),
    ("kind", Text(|e, v| e.kind = v)),
    ("probe", Text(|e, v| e.probe = v)),
    ("skb", Number(|e, v| e.skb = v)),
    ("sk", Number(|e, v| e.sk = v)),
    ("pid", Number(|e, v| e.pid = v as u32)),
    ("comm", Text(|e, v| e.comm = v)),
    ("ctx", Text(|e, v| e.ctx = v)),
    ("netns", Number(|e, v| e.netns = v as u32)),
    ("ifindex", Number(|e, v| e.ifindex = v as u32)),
    ("dev", Text(|e, v| e.dev = v)),
    ("iif", Number(|e, v| e.iif = v as u32)),
    ("len", Number(|e, v| e.len = v as u32)),
    ("gso_segs", Number(|e, v| e.gso_segs = v as u16)),
    ("protocol", Text(|e, v| e.protocol = v)),
    ("saddr", Address(|e, v| e.saddr = v)),
    ("daddr", Address(|e, v| e.daddr = v)),
    ("l4", Text(|e, v| e.l4 = v)),
    ("sport", Number(|e, v| e.sport = v as u16)),
    ("dport", Number(|e, v| e.dport = v as u16)),
    ("ip_id", Number(|e, v| e.ip_id = v as u32)),
    ("ttl", Number(|e, v| e.ttl = v as u8)),
    ("tcp_seq", Number(|e, v| e.tcp_seq = v as u32)),
    ("tcp_ack", Number(|e, v| e.tcp_ack = v as u32)),
    ("tcp_flags", Text(|e, v| e.tcp_flags = v)),
    ("tcp_win", Number(|e, v| e.tcp_win = v as u16)),
    ("icmp_type", Number(|e, v| e.icmp_type = v as u8)),
    ("icmp_code", Number(|e, v| e.icmp_code = v as u8)),
    ("icmp_id", Number(|e, v| e.icmp_id = v as u16)),
    ("icmp_seq", Number(|e, v| e.icmp_seq = v as u16)),
    ("tunnel", Text(|e, v| e.tunnel = v)),
    ("reason", Text(|e, v| e.reason = v)),
    ("location", Text(|e, v| e.location = v)),
    ("stack", Text(|e, v| e.stack = v)),
    ("ret", Signed(|e, v| e.ret = v)),
    ("value", Signed(|e, v| e.value = v)),
    ("family", Text(|e, v| e.family = v)),
    ("old_state", Text(|e, v| e.old_state = v)),
    ("new_state", Text(|e, v| e.new_state = v)),
    ("rmem", Number(|e, v| e.rmem = v as u32)),
    ("rcvbuf", Number(|e, v| e.rcvbuf = v as u32)),
    ("backlog", Number(|e, v| e.backlog = v as u32)),
    ("max_backlog", Number(|e, v| e.max_backlog = v as u32)),
    ("name", Text(|e, v| e.name = v)),
    ("seq", Number(|e, v| e.seq = v)),
    ("entry", Number(|e, v| e.other = v)),
    ("child", Number(|e, v| e.other = v)),
    ("relation", Text(|e, v| e.says = v)),
    ("verdict", Text(|e, v| e.says = v)),
    ("hook", Text(|e, v| e.nf_hook = v)),
    ("table", Text(|e, v| e.nf_table = v)),
    ("chain", Text(|e, v| e.nf_chain = v)),
    ("hooks", Text(|e, v| e.nf_hooks = v)),
    ("handle", Number(|e, v| e.nf_handle = v)),
    ("step", Text(|e, v| e.nf_step = v)),
];

/// The names of all columns that events have.
pub fn columns() -> Vec<&'static str> {
    FIELDS.iter().map(|(name, _)| *name).collect()
}

/// One column with its dictionary translated.
enum Source<'a> {
    /// Unsigned numbers.
    Number(&'a dyn Array, fn(&mut Event, u64)),
    /// Signed numbers.
    Signed(&'a PrimitiveArray<Int64Type>, fn(&mut Event, i64)),
    /// Keys and the symbols they stand for.
    Text(&'a PrimitiveArray<Int32Type>, Vec<Sym>, fn(&mut Event, Sym)),
    /// Keys and the addresses they stand for.
    Address(&'a PrimitiveArray<Int32Type>, Vec<Addr>, fn(&mut Event, Addr)),
}

/// A batch whose dictionaries are translated, so that its rows become events without looking at text.
pub struct Decoder<'a> {
    /// The columns that have a value at all.
    sources: Vec<Source<'a>>,
    /// Rows of the batch.
    rows: usize,
}

impl<'a> Decoder<'a> {
    /// Translates the dictionaries of a batch.
    pub fn new(batch: &'a RecordBatch) -> Self {
        let sources = FIELDS
            .iter()
            .filter_map(|(name, setter)| source(batch.column_by_name(name)?.as_ref(), *setter))
            .collect();
        Self { sources, rows: batch.num_rows() }
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The events of some rows.
    pub fn events(&self, rows: Range<usize>) -> Vec<Event> {
        let mut events = vec![Event::EMPTY; rows.len()];
        for source in &self.sources {
            source.fill(&rows, &mut events);
        }
        events
    }
}

/// The source for a column, unless all its values are null or it has another type than its name says.
fn source(array: &dyn Array, setter: Setter) -> Option<Source<'_>> {
    if array.null_count() == array.len() {
        return None;
    }
    match setter {
        Number(set) => Some(Source::Number(array, set)),
        Signed(set) => Some(Source::Signed(array.as_primitive_opt()?, set)),
        Text(set) => dictionary(array, Sym::new).map(|(keys, values)| Source::Text(keys, values, set)),
        Address(set) => {
            dictionary(array, Addr::from_text).map(|(keys, values)| Source::Address(keys, values, set))
        }
    }
}

/// The keys of a text column and what its values stand for.
fn dictionary<T>(
    array: &dyn Array,
    translate: fn(&str) -> T,
) -> Option<(&PrimitiveArray<Int32Type>, Vec<T>)> {
    let dictionary = array.as_dictionary_opt::<Int32Type>()?;
    let texts = dictionary.values().as_string_opt::<i32>()?;
    Some((dictionary.keys(), texts.iter().map(|text| translate(text.unwrap_or_default())).collect()))
}

impl Source<'_> {
    /// Puts the column's values of some rows into events.
    fn fill(&self, rows: &Range<usize>, events: &mut [Event]) {
        match self {
            Self::Number(array, set) => fill_number(*array, rows, events, *set),
            Self::Signed(array, set) => fill(array, rows, events, set),
            Self::Text(keys, texts, set) => fill(keys, rows, events, |e, key| {
                set(e, texts.get(key as usize).copied().unwrap_or_default());
            }),
            Self::Address(keys, addresses, set) => fill(keys, rows, events, |e, key| {
                set(e, addresses.get(key as usize).copied().unwrap_or_default());
            }),
        }
    }
}

/// Puts a column of unsigned numbers of any width into events.
fn fill_number(array: &dyn Array, rows: &Range<usize>, events: &mut [Event], set: fn(&mut Event, u64)) {
    match array.data_type() {
        DataType::UInt8 => fill(array.as_primitive::<UInt8Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt16 => fill(array.as_primitive::<UInt16Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt32 => fill(array.as_primitive::<UInt32Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt64 => fill(array.as_primitive::<UInt64Type>(), rows, events, set),
        _ => {}
    }
}

/// Puts the values of a column that are not null into events.
fn fill<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    rows: &Range<usize>,
    events: &mut [Event],
    set: impl Fn(&mut Event, T::Native),
) {
    let values = array.values().get(rows.clone()).unwrap_or_default();
    let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) else {
        events.iter_mut().zip(values).for_each(|(event, value)| set(event, *value));
        return;
    };
    for row in nulls.slice(rows.start, rows.len()).valid_indices() {
        set(&mut events[row], values[row]);
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

//! The list of the columns.
//!
//! It stands in a file of its own because the build reads it too (`build/columns.rs`): the row builder's fields and
//! [`crate::columns::ColumnId`] are made from it.

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Unsigned 8 bit.
    U8,
    /// Unsigned 16 bit.
    U16,
    /// Unsigned 32 bit.
    U32,
    /// Unsigned 64 bit.
    U64,
    /// Signed 64 bit.
    I64,
    /// True or false.
    Bool,
    /// UTF-8 text, dictionary-encoded.
    Text,
    /// Raw bytes.
    Bytes,
}

impl Type {
    /// Its name in `FORMAT.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

/// How Parquet lays out a column's values (chosen by measurement on floods and mixed traffic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A dictionary page and indices: few distinct values, or values that repeat. Numbers of which more than half
    /// differ are laid out plainly all the same.
    Dictionary,
    /// `DELTA_BINARY_PACKED`: values that grow or vary little.
    Delta,
    /// Plain values, left to zstd.
    Plain,
}

/// One column of the table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the Parquet schema.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// How its values are laid out.
    pub layout: Layout,
    /// Whether every row has a value.
    pub required: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
}

/// A column that may be null.
const fn opt(name: &'static str, kind: Type, layout: Layout, doc: &'static str) -> Column {
    Column { name, kind, layout, required: false, doc }
}

/// A column that every row has.
const fn req(name: &'static str, kind: Type, layout: Layout, doc: &'static str) -> Column {
    Column { name, kind, layout, required: true, doc }
}

use Layout::{Delta, Dictionary, Plain};
use Type::{Bool, Bytes, I64, Text, U8, U16, U32, U64};

/// All columns in file order. The position of a column here is its position in the file.
pub const COLUMNS: &[Column] = &[
    req("ts", U64, Delta, "time of the event, ns of CLOCK_MONOTONIC on the recorded host"),
    req("cpu", U16, Dictionary, "CPU on which it happened"),
    opt("seq", U64, Delta, "per-CPU counter of kernel events; a gap is an exact position of loss"),
    req("kind", Text, Dictionary, "pkt, ret, free, link, nf, sock, tcp, icmp, neigh, clock or loss"),
    opt("probe", Text, Dictionary, "kernel tracepoint or function that fired"),
    opt("pid", U32, Dictionary, "process of the current task (in ctx `task` only the packet's own)"),
    opt("tid", U32, Dictionary, "thread of the current task"),
    opt("comm", Text, Dictionary, "name of the current task"),
    opt("ctx", Text, Dictionary, "task or softirq (interrupts too)"),
    opt("skb", U64, Dictionary, "address of the struct sk_buff"),
    opt("head", U64, Dictionary, "skb->head, the packet's data buffer"),
    opt("sk", U64, Dictionary, "address of the struct sock"),
    opt("netns", U32, Dictionary, "inode of the network namespace"),
    opt("ifindex", U32, Dictionary, "index of skb->dev in its namespace"),
    opt("dev", Text, Dictionary, "name of skb->dev at that moment"),
    opt(
        "iif",
        U32,
        Dictionary,
        "skb->skb_iif: index of the device it was received on; null where not received",
    ),
    opt("len", U32, Dictionary, "skb->len, bytes"),
    opt("data_len", U32, Dictionary, "skb->data_len, bytes in fragments; null where 0"),
    opt("gso_size", U16, Dictionary, "payload bytes per segment of a GSO packet"),
    opt("gso_segs", U16, Dictionary, "segments of a GSO packet"),
    opt("mark", U32, Dictionary, "skb->mark; null where 0"),
    opt("hash", U32, Dictionary, "skb->hash; null where 0"),
    opt("queue", U16, Dictionary, "skb->queue_mapping; null where 0"),
    opt("protocol", Text, Dictionary, "ethertype as pcap-filter names it (ip, ip6, arp), else 0x88cc"),
    opt(
        "header",
        Bytes,
        Plain,
        "raw bytes from the network header; null where unchanged since the last row of the same skb",
    ),
    opt("saddr", Text, Dictionary, "source address"),
    opt("daddr", Text, Dictionary, "destination address"),
    opt("l4", Text, Dictionary, "tcp, udp, icmp, icmp6, sctp, ..., else the IP protocol number"),
    opt("sport", U16, Dictionary, "source port"),
    opt("dport", U16, Dictionary, "destination port"),
    opt("ip_id", U32, Delta, "IPv4 identification, or that of the IPv6 fragment header"),
    opt("ttl", U8, Dictionary, "TTL or hop limit"),
    opt("tos", U8, Dictionary, "type of service or traffic class"),
    opt("frag_off", U16, Dictionary, "fragment offset in bytes; null where not a fragment"),
    opt("more_frags", Bool, Plain, "more fragments follow; null where not a fragment"),
    opt("tcp_seq", U32, Delta, "TCP sequence number"),
    opt("tcp_ack", U32, Delta, "TCP acknowledgment number"),
    opt("tcp_flags", Text, Dictionary, "letters of FSRPAUEC that are set, in this order"),
    opt("tcp_win", U16, Dictionary, "TCP window field, unscaled"),
    opt("tcp_tsval", U32, Delta, "TCP timestamp value"),
    opt("tcp_tsecr", U32, Delta, "TCP timestamp echo reply"),
    opt("icmp_type", U8, Dictionary, "ICMP or ICMPv6 type"),
    opt("icmp_code", U8, Dictionary, "ICMP or ICMPv6 code"),
    opt("icmp_id", U16, Dictionary, "identifier of echo messages"),
    opt("icmp_seq", U16, Delta, "sequence number of echo messages"),
    opt(
        "tunnel",
        Text,
        Dictionary,
        "vxlan, geneve, wireguard, gre, ipip, sit or ip6tnl where the packet carries one",
    ),
    opt("tunnel_id", U32, Dictionary, "VNI or GRE key"),
    opt(
        "payload_hash",
        U64,
        Dictionary,
        "hash of the first 32 bytes of a UDP or ICMP payload, or of all if it is shorter; the same on all hosts",
    ),
    opt("reason", Text, Dictionary, "drop reason or reset reason, by the recording kernel's own enum"),
    opt("location", Text, Dictionary, "function+offset that freed the packet"),
    opt("stack", Text, Dictionary, "folded kernel stack, innermost first: a+0x1;b+0x2"),
    opt("ret", I64, Dictionary, "return value (net_dev_xmit: rc), or the tracepoint's error"),
    opt("family", Text, Dictionary, "address family of the socket: inet, inet6, unix, ..."),
    opt("old_state", Text, Dictionary, "TCP or neighbour state before"),
    opt("new_state", Text, Dictionary, "TCP or neighbour state after, or at the event"),
    opt("ca_state", Text, Dictionary, "TCP congestion state: Open, Disorder, CWR, Recovery, Loss"),
    opt("snd_nxt", U32, Delta, "next sequence to be sent"),
    opt("snd_una", U32, Delta, "first unacknowledged sequence"),
    opt("rcv_nxt", U32, Delta, "next sequence expected"),
    opt("snd_cwnd", U32, Dictionary, "congestion window, segments"),
    opt("ssthresh", U32, Dictionary, "slow start threshold, segments"),
    opt("snd_wnd", U32, Dictionary, "peer's receive window, bytes"),
    opt("rcv_wnd", U32, Dictionary, "own receive window, bytes"),
    opt("srtt", U32, Dictionary, "smoothed round-trip time, us"),
    opt("packets_out", U32, Dictionary, "segments in flight"),
    opt("retrans_out", U32, Dictionary, "retransmitted segments in flight"),
    opt("lost_out", U32, Dictionary, "segments considered lost"),
    opt("sacked_out", U32, Dictionary, "segments acknowledged selectively"),
    opt("total_retrans", U32, Dictionary, "retransmissions of the connection so far"),
    opt("rmem", U32, Dictionary, "sk_rmem_alloc, bytes queued for receiving"),
    opt("rcvbuf", U32, Dictionary, "sk_rcvbuf, bytes"),
    opt("wmem", U32, Dictionary, "sk_wmem_queued, bytes queued for sending"),
    opt("sndbuf", U32, Dictionary, "sk_sndbuf, bytes"),
    opt("backlog", U32, Dictionary, "sk_ack_backlog of a listener, connections"),
    opt("max_backlog", U32, Dictionary, "sk_max_ack_backlog of a listener, connections"),
    opt("name", Text, Dictionary, "clock rows: REALTIME, BOOTTIME, TAI, RAW, ADJ_FREQ"),
    opt("value", I64, Delta, "clock rows: ns (ADJ_FREQ: 2^-16 ppm); loss rows: events lost"),
    opt(
        "span",
        U64,
        Dictionary,
        "clock rows: width of the bracket, ns; loss rows: the ns before ts they fell in",
    ),
    opt("entry", U64, Delta, "ret and nf rows: cpu << 48 | seq of the row of the call that returns"),
    opt("child", U64, Dictionary, "link rows: address of the other struct sk_buff"),
    opt(
        "relation",
        Text,
        Dictionary,
        "link rows: what of skb the child is: clone, copy, segment, fragment; merge: skb goes on in the child; encapsulation: in a tunnel",
    ),
    opt("verdict", Text, Dictionary, "nf rows: NF_ACCEPT, NF_DROP, ..."),
    opt("hook", Text, Dictionary, "nf rows: PRE_ROUTING, INPUT, FORWARD, OUTPUT, POST_ROUTING, INGRESS, ..."),
    opt("table", Text, Dictionary, "nf rows: the table, where the function has one"),
    opt("chain", Text, Dictionary, "nf rows: the chain of nftables in full"),
    opt(
        "hooks",
        Text,
        Dictionary,
        "nf rows of nf_hook_slow: the functions called there, in order, a;b; ... at the end where there are more",
    ),
    opt("handle", U64, Dictionary, "nf rows of nft_trace_notify: the rule's handle, as nft -a shows it"),
    opt(
        "step",
        Text,
        Dictionary,
        "nf rows of nft_trace_notify: rule, return (from a chain) or policy (at the end of a base chain)",
    ),
    opt("rtt", U32, Dictionary, "round-trip time that this acknowledgment measured, us"),
    opt("min_rtt", U32, Dictionary, "least round-trip time of the connection lately, us"),
];

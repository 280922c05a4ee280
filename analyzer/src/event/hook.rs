//! What each probe says.

use crate::symbol::Sym;

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
    pub(super) fn of_kind(kind: Sym) -> Self {
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

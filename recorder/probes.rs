//! The tracepoints of the profile `net`: what each records and which arguments it reads.

use crate::bpf::types::{probe, role};

/// One tracepoint.
#[derive(Debug)]
pub struct Tracepoint {
    /// Its number on the wire.
    pub id: probe,
    /// Its name, as in the column `probe`.
    pub name: &'static str,
    /// The kind of its rows, see [`ntc::schema::kind`].
    pub kind: &'static str,
    /// Arguments without which it says nothing.
    pub needs: &'static [role],
}

use ntc::schema::kind::{FREE, ICMP, NEIGH, PKT, SOCK, TCP};

/// What a tracepoint of packets needs.
const SKB: &[role] = &[role::ROLE_SKB];
/// What a tracepoint of sockets needs.
const SK: &[role] = &[role::ROLE_SK];
/// What a tracepoint of neighbours needs.
const N: &[role] = &[role::ROLE_NEIGH];

/// A row of the table.
const fn row(id: probe, name: &'static str, kind: &'static str, needs: &'static [role]) -> Tracepoint {
    Tracepoint { id, name, kind, needs }
}

/// Every tracepoint of the profile, in the order of `enum probe`.
pub const TRACEPOINTS: [Tracepoint; probe::PROBE_MAX.0 as usize] = [
    row(probe::NET_DEV_QUEUE, "net_dev_queue", PKT, SKB),
    row(probe::QDISC_ENQUEUE, "qdisc_enqueue", PKT, SKB),
    row(probe::QDISC_DEQUEUE, "qdisc_dequeue", PKT, SKB),
    row(probe::NET_DEV_START_XMIT, "net_dev_start_xmit", PKT, SKB),
    row(probe::NET_DEV_XMIT, "net_dev_xmit", PKT, SKB),
    row(probe::NETIF_RX, "netif_rx", PKT, SKB),
    row(probe::NETIF_RX_ENTRY, "netif_rx_entry", PKT, SKB),
    row(probe::NETIF_RECEIVE_SKB, "netif_receive_skb", PKT, SKB),
    row(probe::NETIF_RECEIVE_SKB_ENTRY, "netif_receive_skb_entry", PKT, SKB),
    row(probe::NETIF_RECEIVE_SKB_LIST_ENTRY, "netif_receive_skb_list_entry", PKT, SKB),
    row(probe::NAPI_GRO_RECEIVE_ENTRY, "napi_gro_receive_entry", PKT, SKB),
    row(probe::NAPI_GRO_FRAGS_ENTRY, "napi_gro_frags_entry", PKT, SKB),
    row(probe::KFREE_SKB, "kfree_skb", FREE, SKB),
    row(probe::CONSUME_SKB, "consume_skb", FREE, SKB),
    row(probe::SKB_COPY_DATAGRAM_IOVEC, "skb_copy_datagram_iovec", PKT, SKB),
    row(probe::SK_DATA_READY, "sk_data_ready", SOCK, SK),
    row(probe::INET_SOCK_SET_STATE, "inet_sock_set_state", SOCK, SK),
    row(probe::SOCK_RCVQUEUE_FULL, "sock_rcvqueue_full", SOCK, SK),
    row(probe::SOCK_EXCEED_BUF_LIMIT, "sock_exceed_buf_limit", SOCK, SK),
    row(probe::TCP_RETRANSMIT_SKB, "tcp_retransmit_skb", TCP, SK),
    row(probe::TCP_RETRANSMIT_SYNACK, "tcp_retransmit_synack", TCP, SK),
    row(probe::TCP_SEND_RESET, "tcp_send_reset", TCP, SK),
    row(probe::TCP_RECEIVE_RESET, "tcp_receive_reset", TCP, SK),
    row(probe::TCP_DESTROY_SOCK, "tcp_destroy_sock", TCP, SK),
    row(probe::TCP_PROBE, "tcp_probe", TCP, SK),
    row(probe::TCP_BAD_CSUM, "tcp_bad_csum", TCP, SKB),
    row(probe::TCP_CONG_STATE_SET, "tcp_cong_state_set", TCP, SK),
    row(probe::ICMP_SEND, "icmp_send", ICMP, SKB),
    row(probe::NEIGH_CREATE, "neigh_create", NEIGH, N),
    row(probe::NEIGH_UPDATE, "neigh_update", NEIGH, N),
    row(probe::NEIGH_UPDATE_DONE, "neigh_update_done", NEIGH, N),
    row(probe::NEIGH_TIMER_HANDLER, "neigh_timer_handler", NEIGH, N),
    row(probe::NEIGH_EVENT_SEND_DONE, "neigh_event_send_done", NEIGH, N),
    row(probe::NEIGH_EVENT_SEND_DEAD, "neigh_event_send_dead", NEIGH, N),
    row(probe::NEIGH_CLEANUP_AND_RELEASE, "neigh_cleanup_and_release", NEIGH, N),
];

/// The tracepoint of a name.
pub fn by_name(name: &str) -> Option<&'static Tracepoint> {
    TRACEPOINTS.iter().find(|t| t.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_wire() {
        for (position, tracepoint) in TRACEPOINTS.iter().enumerate() {
            assert_eq!(tracepoint.id.0 as usize, position, "{}", tracepoint.name);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Kernel event -> ring buffer. One short program a tracepoint; what each probe means
 * is in the header files by concern: event.h (the wire), packet (headers),
 * filter and pcap (what starts to be followed), follow (to its end), record
 * (the parts of an event), emit (whole events), function (kernel functions, by
 * whatever backend), netfilter (what they say of rules).
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "event.h"
#include "compat.bpf.h"
#include "packet.bpf.h"
#include "pcap.bpf.h"
#include "filter.bpf.h"
#include "record.bpf.h"
#include "follow.bpf.h"
#include "emit.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * A delivery ends with its softirq: what a timer or a tasklet does later is not
 * the packet's. They are rarer than the ends of softirqs; but before 6.4 a
 * tasklet cannot be seen (tcp_tasklet_func is one).
 */
SEC("tp_btf/softirq_exit")
int on_softirq_exit(__u64 *ctx)
{
	if (ctx[0] == NET_RX_SOFTIRQ)
		mark_received(0);
	return 0;
}

SEC("tp_btf/timer_expire_entry")
int on_timer_expire_entry(__u64 *ctx)
{
	mark_received(0);
	return 0;
}

SEC("tp_btf/tasklet_entry")
int on_tasklet_entry(__u64 *ctx)
{
	mark_received(0);
	return 0;
}

/* Since 6.9 tasklets become work that softirqs do. */
SEC("tp_btf/workqueue_execute_start")
int on_workqueue_execute_start(__u64 *ctx)
{
	mark_received(0);
	return 0;
}

/* A packet with its headers: the hooks of the transmit and receive paths. */
static __always_inline int packet(__u64 *ctx, enum probe probe, enum stage stage, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, probe, ROLE_SKB);
	bool receiving = stage >= STAGE_DRIVER, pass = true;
	struct packet p;

	if (is_stopped() || !skb)
		return 0;
	read_packet(&p, ctx, skb, receiving, how);
	if (filter.asks) {
		pass = follow(&p, probe, stage, how);
		if (stage == STAGE_STACK)
			mark_received(pass ? (__u64)skb : 0);
	}
	if (pass)
		emit_packet(&p, probe, how);
	return 0;
}

static __always_inline int on_packet(__u64 *ctx, enum probe probe, enum stage stage)
{
	return is_typed(probe) ? packet(ctx, probe, stage, TYPED)
			       : packet(ctx, probe, stage, UNTYPED);
}

/* A packet without its headers: they may be gone, or are known. */
static __always_inline int on_bare_packet(__u64 *ctx, enum probe probe, enum role ret)
{
	struct sk_buff *skb = (void *)argument(ctx, probe, ROLE_SKB);
	__u64 key = (__u64)skb;
	struct bare_record *e;

	if (is_stopped() || !skb || !is_followed(key))
		return 0;
	e = begin(probe, sizeof(*e));
	if (!e)
		return 0;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	e->r.skb = key;
	e->r.has_ret = has_argument(probe, ret);
	if (e->r.has_ret)
		e->r.ret = (__s32)argument(ctx, probe, ret);
	submit(&e->r);
	return 0;
}

/* An event of a socket alone. */
static __always_inline int sock_event(__u64 *ctx, enum probe probe, enum access how)
{
	struct sock *sk = (void *)argument(ctx, probe, ROLE_SK);
	struct sock_record *e;

	if (is_stopped() || !sk || !passes_sock(ctx, probe, sk, how))
		return 0;
	e = begin(probe, sizeof(*e));
	if (!e)
		return 0;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	__builtin_memset(&e->sock, 0, sizeof(e->sock));
	e->r.sk = (__u64)sk;
	e->r.netns = netns_of_sock(&sk->__sk_common, how);
	e->r.skb = argument(ctx, probe, ROLE_SKB);
	fill_addresses(&e->sock, &sk->__sk_common, how);
	fill_sock(&e->sock, sk, how);
	e->r.parts = PART_SOCK;
	if (probe == INET_SOCK_SET_STATE) {
		e->sock.old_state = argument(ctx, probe, ROLE_FIRST);
		e->sock.new_state = argument(ctx, probe, ROLE_SECOND);
		e->sock.has_states = true;
	} else if (probe == TCP_CONG_STATE_SET) {
		e->sock.ca_state = argument(ctx, probe, ROLE_FIRST);
	} else if (has_argument(probe, ROLE_FIRST)) {
		e->r.ret = (__s32)argument(ctx, probe, ROLE_FIRST);
		e->r.has_ret = true;
	}
	submit(&e->r);
	return 0;
}

static __always_inline int on_sock(__u64 *ctx, enum probe probe)
{
	return is_typed(probe) ? sock_event(ctx, probe, TYPED) : sock_event(ctx, probe, UNTYPED);
}

/* What of a filter no neighbour can pass. */
#define NOT_OF_NEIGHBOURS ~(ASK_DEV | ASK_NETNS | ASK_MATCH)

/*
 * A neighbour entry: its address stands for daddr, its NUD state for new_state.
 * neigh_create comes before the entry has its device and key; they are
 * arguments of their own there.
 */
static __always_inline int neigh_event(__u64 *ctx, enum probe probe, enum access how)
{
	struct neighbour *n = (void *)argument(ctx, probe, ROLE_NEIGH);
	const void *key = (void *)argument(ctx, probe, ROLE_KEY);
	struct net_device *dev = (void *)argument(ctx, probe, ROLE_DEV);
	const struct neigh_table *table;
	struct sock_record *e;
	__u8 state;

	if (is_stopped() || !n)
		return 0;
	if (!has_argument(probe, ROLE_DEV))
		dev = get_pointer(&n->dev, how);
	if (!dev)
		return 0;
	if (filter.asks && (!may_start(probe) || asks(NOT_OF_NEIGHBOURS) || !on_device(dev) ||
			    (asks(ASK_NETNS) && !has_number(&filter.netns, netns_of(dev, how)))))
		return 0;
	e = begin(probe, sizeof(*e));
	if (!e)
		return 0;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	__builtin_memset(&e->sock, 0, sizeof(e->sock));
	fill_device(&e->r, dev, how);
	table = get_pointer(&n->tbl, how);
	e->sock.family = get32(&table->family, how);
	if (!has_argument(probe, ROLE_KEY))
		key = n->primary_key;
	bpf_probe_read_kernel(e->sock.daddr, e->sock.family == AF_INET6 ? 16 : 4, key);
	state = get8(&n->nud_state, how);
	e->sock.old_state = state;
	e->sock.new_state = state;
	e->sock.has_states = true;
	if (probe == NEIGH_UPDATE)
		e->sock.new_state = argument(ctx, probe, ROLE_FIRST);
	e->r.parts = PART_SOCK;
	submit(&e->r);
	return 0;
}

static __always_inline int on_neigh(__u64 *ctx, enum probe probe)
{
	return is_typed(probe) ? neigh_event(ctx, probe, TYPED) : neigh_event(ctx, probe, UNTYPED);
}

SEC("tp_btf/net_dev_queue")
int on_net_dev_queue(__u64 *ctx)
{
	return on_packet(ctx, NET_DEV_QUEUE, STAGE_QUEUED);
}

/* The queue has it already, and may have freed it: only its address is safe. */
SEC("tp_btf/qdisc_enqueue")
int on_qdisc_enqueue(__u64 *ctx)
{
	return on_bare_packet(ctx, QDISC_ENQUEUE, ROLE_FIRST);
}

/* The first packet of those that are taken at once; none if there was none. */
SEC("tp_btf/qdisc_dequeue")
int on_qdisc_dequeue(__u64 *ctx)
{
	return on_packet(ctx, QDISC_DEQUEUE, STAGE_QUEUED);
}

SEC("tp_btf/net_dev_start_xmit")
int on_net_dev_start_xmit(__u64 *ctx)
{
	return on_packet(ctx, NET_DEV_START_XMIT, STAGE_QUEUED);
}

/* The driver owns the skb now and may have freed it: only its address is safe. */
static __always_inline int net_dev_xmit(__u64 *ctx, enum access how)
{
	__u64 key = argument(ctx, NET_DEV_XMIT, ROLE_SKB);
	struct net_device *dev = (void *)argument(ctx, NET_DEV_XMIT, ROLE_DEV);
	struct bare_record *e;
	struct track *t;

	if (is_stopped() || !key)
		return 0;
	if (filter.asks) {
		t = track_of(key);
		if (!t)
			return 0;
		if (t->stage == STAGE_QUEUED)
			t->stage = STAGE_SENT;
	}
	e = begin(NET_DEV_XMIT, sizeof(*e));
	if (!e)
		return 0;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	e->r.skb = key;
	e->r.ret = (__s32)argument(ctx, NET_DEV_XMIT, ROLE_FIRST);
	e->r.has_ret = true;
	e->r.len = argument(ctx, NET_DEV_XMIT, ROLE_SECOND);
	fill_device(&e->r, dev, how);
	submit(&e->r);
	return 0;
}

SEC("tp_btf/net_dev_xmit")
int on_net_dev_xmit(__u64 *ctx)
{
	return is_typed(NET_DEV_XMIT) ? net_dev_xmit(ctx, TYPED) : net_dev_xmit(ctx, UNTYPED);
}

SEC("tp_btf/netif_rx")
int on_netif_rx(__u64 *ctx)
{
	return on_packet(ctx, NETIF_RX, STAGE_DRIVER);
}

SEC("tp_btf/netif_rx_entry")
int on_netif_rx_entry(__u64 *ctx)
{
	return on_packet(ctx, NETIF_RX_ENTRY, STAGE_DRIVER);
}

SEC("tp_btf/netif_receive_skb")
int on_netif_receive_skb(__u64 *ctx)
{
	return on_packet(ctx, NETIF_RECEIVE_SKB, STAGE_STACK);
}

SEC("tp_btf/netif_receive_skb_entry")
int on_netif_receive_skb_entry(__u64 *ctx)
{
	return on_packet(ctx, NETIF_RECEIVE_SKB_ENTRY, STAGE_DRIVER);
}

SEC("tp_btf/netif_receive_skb_list_entry")
int on_netif_receive_skb_list_entry(__u64 *ctx)
{
	return on_packet(ctx, NETIF_RECEIVE_SKB_LIST_ENTRY, STAGE_DRIVER);
}

SEC("tp_btf/napi_gro_receive_entry")
int on_napi_gro_receive_entry(__u64 *ctx)
{
	return on_packet(ctx, NAPI_GRO_RECEIVE_ENTRY, STAGE_DRIVER);
}

SEC("tp_btf/napi_gro_frags_entry")
int on_napi_gro_frags_entry(__u64 *ctx)
{
	return on_packet(ctx, NAPI_GRO_FRAGS_ENTRY, STAGE_DRIVER);
}

/* A drop, or what the kernel calls one: the analyzer knows the difference. */
static __always_inline int kfree_skb(__u64 *ctx, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, KFREE_SKB, ROLE_SKB);
	__u64 key = (__u64)skb;
	struct full_record *e;
	struct packet p;

	if (is_stopped() || !skb)
		return 0;
	read_packet(&p, ctx, skb, false, how);
	if (!passes_once(&p, KFREE_SKB, how))
		return 0;
	if (filter.asks)
		bpf_map_delete_elem(&tracked, &key);
	e = begin_full(ctx, KFREE_SKB);
	if (!e)
		return 0;
	fill_full_packet(e, &p, how);
	e->r.parts &= ~PART_SOCK;
	e->free.location = argument(ctx, KFREE_SKB, ROLE_LOCATION);
	e->free.reason = argument(ctx, KFREE_SKB, ROLE_REASON);
	e->free.has_reason = has_argument(KFREE_SKB, ROLE_REASON);
	submit(&e->r);
	return 0;
}

SEC("tp_btf/kfree_skb")
int on_kfree_skb(__u64 *ctx)
{
	return is_typed(KFREE_SKB) ? kfree_skb(ctx, TYPED) : kfree_skb(ctx, UNTYPED);
}

static __always_inline int consume_skb(__u64 *ctx, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, CONSUME_SKB, ROLE_SKB);
	__u64 key = (__u64)skb;
	struct free_record *e;

	if (is_stopped() || !skb || !is_followed(key))
		return 0;
	if (filter.asks)
		bpf_map_delete_elem(&tracked, &key);
	e = begin(CONSUME_SKB, sizeof(*e));
	if (!e)
		return 0;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	fill_skb(&e->r, skb, how);
	__builtin_memset(&e->free, 0, sizeof(e->free));
	e->free.location = argument(ctx, CONSUME_SKB, ROLE_LOCATION);
	e->r.parts = PART_FREE;
	submit(&e->r);
	return 0;
}

SEC("tp_btf/consume_skb")
int on_consume_skb(__u64 *ctx)
{
	return is_typed(CONSUME_SKB) ? consume_skb(ctx, TYPED) : consume_skb(ctx, UNTYPED);
}

SEC("tp_btf/skb_copy_datagram_iovec")
int on_skb_copy_datagram_iovec(__u64 *ctx)
{
	return on_bare_packet(ctx, SKB_COPY_DATAGRAM_IOVEC, ROLE_FIRST);
}

SEC("tp_btf/sk_data_ready")
int on_sk_data_ready(__u64 *ctx)
{
	return on_sock(ctx, SK_DATA_READY);
}

SEC("tp_btf/inet_sock_set_state")
int on_inet_sock_set_state(__u64 *ctx)
{
	return on_sock(ctx, INET_SOCK_SET_STATE);
}

SEC("tp_btf/sock_rcvqueue_full")
int on_sock_rcvqueue_full(__u64 *ctx)
{
	return on_sock(ctx, SOCK_RCVQUEUE_FULL);
}

SEC("tp_btf/sock_exceed_buf_limit")
int on_sock_exceed_buf_limit(__u64 *ctx)
{
	return on_sock(ctx, SOCK_EXCEED_BUF_LIMIT);
}

SEC("tp_btf/tcp_receive_reset")
int on_tcp_receive_reset(__u64 *ctx)
{
	return on_sock(ctx, TCP_RECEIVE_RESET);
}

SEC("tp_btf/tcp_destroy_sock")
int on_tcp_destroy_sock(__u64 *ctx)
{
	return on_sock(ctx, TCP_DESTROY_SOCK);
}

SEC("tp_btf/tcp_probe")
int on_tcp_probe(__u64 *ctx)
{
	return on_sock(ctx, TCP_PROBE);
}

SEC("tp_btf/tcp_cong_state_set")
int on_tcp_cong_state_set(__u64 *ctx)
{
	return on_sock(ctx, TCP_CONG_STATE_SET);
}

/* The segment waits in the retransmission queue without headers: its control block has them. */
static __always_inline int tcp_retransmit_skb(__u64 *ctx, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, TCP_RETRANSMIT_SKB, ROLE_SKB);
	struct sock *sk = (void *)argument(ctx, TCP_RETRANSMIT_SKB, ROLE_SK);
	struct full_record *e;
	struct tcp_skb_cb *cb;

	if (is_stopped() || !sk || !skb || !passes_sock(ctx, TCP_RETRANSMIT_SKB, sk, how))
		return 0;
	e = begin_full(ctx, TCP_RETRANSMIT_SKB);
	if (!e)
		return 0;
	fill_full_sock(e, sk, how);
	e->r.skb = (__u64)skb;
	e->r.len = get32(&skb->len, how);
	cb = (void *)skb->cb;
	e->sock.seq = BPF_CORE_READ(cb, seq);
	e->sock.tcp_flags = BPF_CORE_READ(cb, tcp_flags);
	e->sock.has_seq = true;
	e->r.ret = (__s32)argument(ctx, TCP_RETRANSMIT_SKB, ROLE_FIRST);
	e->r.has_ret = has_argument(TCP_RETRANSMIT_SKB, ROLE_FIRST);
	submit(&e->r);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int on_tcp_retransmit_skb(__u64 *ctx)
{
	return is_typed(TCP_RETRANSMIT_SKB) ? tcp_retransmit_skb(ctx, TYPED)
					    : tcp_retransmit_skb(ctx, UNTYPED);
}

/* The request socket carries the addresses; its listener may have none. */
static __always_inline int tcp_retransmit_synack(__u64 *ctx, enum access how)
{
	struct sock *sk = (void *)argument(ctx, TCP_RETRANSMIT_SYNACK, ROLE_SK);
	struct request_sock *req = (void *)argument(ctx, TCP_RETRANSMIT_SYNACK, ROLE_REQUEST);
	struct full_record *e;

	if (is_stopped() || !sk || !req)
		return 0;
	if (filter.asks && !(may_start(TCP_RETRANSMIT_SYNACK) &&
			     match_socket(ctx, &req->__req_common, IPPROTO_TCP, how)))
		return 0;
	e = begin_full(ctx, TCP_RETRANSMIT_SYNACK);
	if (!e)
		return 0;
	e->r.sk = (__u64)sk;
	e->r.netns = netns_of_sock(&sk->__sk_common, how);
	fill_addresses(&e->sock, &req->__req_common, how);
	fill_sock(&e->sock, sk, how);
	submit(&e->r);
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int on_tcp_retransmit_synack(__u64 *ctx)
{
	return is_typed(TCP_RETRANSMIT_SYNACK) ? tcp_retransmit_synack(ctx, TYPED)
					       : tcp_retransmit_synack(ctx, UNTYPED);
}

static __always_inline void fill_reset(struct full_record *e, __u64 *ctx)
{
	e->free.reason = argument(ctx, TCP_SEND_RESET, ROLE_REASON);
	e->free.has_reason = has_argument(TCP_SEND_RESET, ROLE_REASON);
}

/* A packet is answered with RST; its socket may be gone, or never have been. */
static __always_inline int reset_of_packet(__u64 *ctx, struct sk_buff *skb, struct sock *sk,
					   enum access how)
{
	struct full_record *e;
	struct packet p;

	read_packet(&p, ctx, skb, false, how);
	if (!passes_once(&p, TCP_SEND_RESET, how))
		return 0;
	e = begin_full(ctx, TCP_SEND_RESET);
	if (!e)
		return 0;
	fill_full_packet(e, &p, how);
	if (sk)
		fill_full_sock(e, sk, how);
	fill_reset(e, ctx);
	submit(&e->r);
	return 0;
}

/* The local side ends the connection with RST. */
static __always_inline int reset_by_sock(__u64 *ctx, struct sock *sk, enum access how)
{
	struct full_record *e;

	if (!passes_sock(ctx, TCP_SEND_RESET, sk, how))
		return 0;
	e = begin_full(ctx, TCP_SEND_RESET);
	if (!e)
		return 0;
	fill_full_sock(e, sk, how);
	fill_reset(e, ctx);
	submit(&e->r);
	return 0;
}

static __always_inline int tcp_send_reset(__u64 *ctx, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, TCP_SEND_RESET, ROLE_SKB);
	struct sock *sk = (void *)argument(ctx, TCP_SEND_RESET, ROLE_SK);

	if (is_stopped())
		return 0;
	if (skb)
		return reset_of_packet(ctx, skb, sk, how);
	if (sk)
		return reset_by_sock(ctx, sk, how);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int on_tcp_send_reset(__u64 *ctx)
{
	return is_typed(TCP_SEND_RESET) ? tcp_send_reset(ctx, TYPED) : tcp_send_reset(ctx, UNTYPED);
}

static __always_inline int full_packet(__u64 *ctx, enum probe probe, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, probe, ROLE_SKB);
	struct full_record *e;
	struct packet p;

	if (is_stopped() || !skb)
		return 0;
	read_packet(&p, ctx, skb, false, how);
	/* A driver that reports a drop may have set no network header: its packet begins with the frame's. */
	if (probe == DEVLINK_TRAP_REPORT && !get16(&skb->network_header, how))
		skip_link(&p);
	if (!passes_once(&p, probe, how))
		return 0;
	e = begin_full(ctx, probe);
	if (!e)
		return 0;
	fill_full_packet(e, &p, how);
	submit(&e->r);
	return 0;
}

static __always_inline int on_full_packet(__u64 *ctx, enum probe probe)
{
	return is_typed(probe) ? full_packet(ctx, probe, TYPED) : full_packet(ctx, probe, UNTYPED);
}

SEC("tp_btf/tcp_bad_csum")
int on_tcp_bad_csum(__u64 *ctx)
{
	return on_full_packet(ctx, TCP_BAD_CSUM);
}

SEC("tp_btf/devlink_trap_report")
int on_devlink_trap_report(__u64 *ctx)
{
	return on_full_packet(ctx, DEVLINK_TRAP_REPORT);
}

/* The packet is the one that the ICMP error is about. */
static __always_inline int icmp_send(__u64 *ctx, enum access how)
{
	struct sk_buff *skb = (void *)argument(ctx, ICMP_SEND, ROLE_SKB);
	struct full_record *e;
	struct packet p;

	if (is_stopped() || !skb)
		return 0;
	read_packet(&p, ctx, skb, false, how);
	if (!passes_once(&p, ICMP_SEND, how))
		return 0;
	e = begin_full(ctx, ICMP_SEND);
	if (!e)
		return 0;
	fill_full_packet(e, &p, how);
	e->free.icmp_type = argument(ctx, ICMP_SEND, ROLE_FIRST);
	e->free.icmp_code = argument(ctx, ICMP_SEND, ROLE_SECOND);
	submit(&e->r);
	return 0;
}

SEC("tp_btf/icmp_send")
int on_icmp_send(__u64 *ctx)
{
	return is_typed(ICMP_SEND) ? icmp_send(ctx, TYPED) : icmp_send(ctx, UNTYPED);
}

SEC("tp_btf/neigh_create")
int on_neigh_create(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_CREATE);
}

SEC("tp_btf/neigh_update")
int on_neigh_update(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_UPDATE);
}

SEC("tp_btf/neigh_update_done")
int on_neigh_update_done(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_UPDATE_DONE);
}

SEC("tp_btf/neigh_timer_handler")
int on_neigh_timer_handler(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_TIMER_HANDLER);
}

SEC("tp_btf/neigh_event_send_done")
int on_neigh_event_send_done(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_EVENT_SEND_DONE);
}

SEC("tp_btf/neigh_event_send_dead")
int on_neigh_event_send_dead(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_EVENT_SEND_DEAD);
}

SEC("tp_btf/neigh_cleanup_and_release")
int on_neigh_cleanup_and_release(__u64 *ctx)
{
	return on_neigh(ctx, NEIGH_CLEANUP_AND_RELEASE);
}

#include "netfilter.bpf.h"
#include "function.bpf.h"

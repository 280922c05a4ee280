/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Filling a record: reserve exactly what the event needs, copy, submit. */
#ifndef NTREC_RECORD_BPF_H
#define NTREC_RECORD_BPF_H

/* The sizes that are reserved, one for each set of parts. */
struct bare_record {
	struct record r;
};
struct short_record {
	struct record r;
	__u8 header[HEADER_SHORT] __attribute__((aligned(8)));
};
struct long_record {
	struct record r;
	__u8 header[HEADER_LONG] __attribute__((aligned(8)));
};
struct free_record {
	struct record r;
	struct free_part free;
};
struct sock_record {
	struct record r;
	struct sock_part sock;
};
struct full_record {
	struct record r;
	struct free_part free;
	struct sock_part sock;
	__u8 header[HEADER_LONG] __attribute__((aligned(8)));
	__u64 stack[STACK_DEPTH];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 << 20); /* --buffer-size sets it */
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpu_states SEC(".maps");

/* Packets that matched the filters, by skb address. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct track);
} tracked SEC(".maps");

const volatile __u8 arguments[PROBE_MAX][ROLE_MAX] = {};
const volatile __u8 with_stack[PROBE_MAX] = {};
const volatile __u32 self_tgid = 0; /* the recorder is not its own subject */
const volatile __u64 wake_from = 0; /* bytes in the buffer at which the reader is woken */
const volatile __u64 max_events = 0; /* --max-events; 0: none */

__u32 stopped = 0;
__u64 taken = 0; /* events so far, counted only with --max-events */

/* User space learns the layout of the wire from these types' BTF. */
struct record layout_record = {};
struct free_part layout_free = {};
struct sock_part layout_sock = {};
enum probe layout_probe = 0;
enum role layout_role = 0;
enum part layout_part = 0;
enum context layout_context = 0;

static __always_inline __u64 argument(__u64 *ctx, enum probe probe, enum role role)
{
	return load_argument(ctx, arguments[probe][role]);
}

static __always_inline bool has_argument(enum probe probe, enum role role)
{
	return arguments[probe][role] != NO_ARGUMENT;
}

static __always_inline struct cpu_state *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpu_states, &zero);
}

/* Whether the limit of --max-events has room for one more. */
static __always_inline bool within_limit(void)
{
	if (!max_events)
		return true;
	if (__sync_fetch_and_add(&taken, 1) < max_events)
		return true;
	stopped = 1;
	return false;
}

/*
 * Numbers the event and reserves its bytes. Whoever gets NULL has lost the
 * event, and that is counted here.
 */
static __always_inline void *begin(enum probe probe, __u64 size, __u64 ts)
{
	struct cpu_state *cpu = this_cpu();
	struct record *r;
	__u64 seq;

	if (!cpu || !within_limit())
		return NULL;
	__sync_fetch_and_add(&cpu->counted[probe], 1);
	seq = __sync_fetch_and_add(&cpu->seq, 1);
	r = bpf_ringbuf_reserve(&events, size, 0);
	if (!r) {
		__sync_fetch_and_add(&cpu->lost[probe], 1);
		return NULL;
	}
	r->ts = ts;
	r->seq = seq;
	r->probe = probe;
	return r;
}

static __always_inline void fill_task(struct record *r, const void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	r->pid = id >> 32;
	r->tid = id;
	r->cpu = bpf_get_smp_processor_id();
	r->ctx = context(ctx);
	bpf_get_current_comm(r->comm, sizeof(r->comm));
}

static __always_inline void clear_skb(struct record *r)
{
	r->skb = r->head = r->sk = 0;
	r->ret = 0;
	__builtin_memset(r->dev, 0, sizeof(r->dev));
	r->netns = r->ifindex = r->iif = r->len = r->data_len = r->mark = r->hash = 0;
	r->protocol = r->queue = r->gso_size = r->gso_segs = 0;
	r->parts = r->header_len = r->frames = r->has_ret = 0;
}

static __always_inline void fill_device(struct record *r, const struct net_device *dev)
{
	if (!dev)
		return;
	r->ifindex = dev->ifindex;
	r->netns = dev->nd_net.net->ns.inum;
	bpf_probe_read_kernel(r->dev, sizeof(r->dev), dev->name);
}

static __always_inline void fill_skb(struct record *r, struct sk_buff *skb)
{
	struct skb_shared_info *shared;
	__u16 gso[2] = {};

	r->skb = (__u64)skb;
	r->head = (__u64)skb->head;
	r->sk = (__u64)skb->sk;
	r->iif = skb->skb_iif;
	r->len = skb->len;
	r->data_len = skb->data_len;
	r->mark = skb->mark;
	r->hash = skb->hash;
	r->protocol = skb->protocol;
	r->queue = skb->queue_mapping;
	fill_device(r, skb->dev);
	shared = (void *)skb->head + skb->end;
	bpf_probe_read_kernel(gso, sizeof(gso), &shared->gso_size);
	r->gso_size = gso[0];
	r->gso_segs = gso[1];
}

static __always_inline void fill_stack(struct full_record *e, __u64 *ctx, enum probe probe)
{
	long bytes;

	if (!with_stack[probe])
		return;
	bytes = bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
	if (bytes <= 0)
		return;
	e->r.frames = bytes / sizeof(__u64);
	e->r.parts |= PART_STACK;
}

static __always_inline void fill_long_header(__u8 *to, struct record *r, const struct packet *p)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 8), p->header, HEADER_SHORT);
	r->header_len = HEADER_SHORT;
	r->parts |= PART_HEADER_LONG;
	if (p->available <= HEADER_SHORT)
		r->header_len = p->available;
	else if (!bpf_probe_read_kernel(to + HEADER_SHORT, HEADER_LONG - HEADER_SHORT,
					p->network + HEADER_SHORT))
		r->header_len = p->available < HEADER_LONG ? p->available : HEADER_LONG;
}

static __always_inline void fill_addresses(struct sock_part *s, const struct sock_common *c)
{
	s->family = c->skc_family;
	s->sport = c->skc_num;
	if (!s->sport) /* a socket that closes has given its port back */
		s->sport =
			__builtin_bswap16(BPF_CORE_READ((const struct inet_sock *)c, inet_sport));
	s->dport = __builtin_bswap16(c->skc_dport);
	if (s->family == AF_INET6) {
		bpf_probe_read_kernel(s->saddr, 16, &c->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(s->daddr, 16, &c->skc_v6_daddr);
	} else {
		*(__u32 *)s->saddr = c->skc_rcv_saddr;
		*(__u32 *)s->daddr = c->skc_daddr;
	}
}

static __always_inline void fill_tcp(struct sock_part *s, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (!tp)
		return;
	s->has_tcp = true;
	s->ca_state = BPF_CORE_READ_BITFIELD(&tp->inet_conn, icsk_ca_state);
	s->snd_nxt = tp->snd_nxt;
	s->snd_una = tp->snd_una;
	s->rcv_nxt = tp->rcv_nxt;
	s->snd_cwnd = tp->snd_cwnd;
	s->ssthresh = tp->snd_ssthresh;
	s->snd_wnd = tp->snd_wnd;
	s->rcv_wnd = tp->rcv_wnd;
	s->srtt = tp->srtt_us >> 3;
	s->packets_out = tp->packets_out;
	s->retrans_out = tp->retrans_out;
	s->lost_out = tp->lost_out;
	s->sacked_out = tp->sacked_out;
	s->total_retrans = tp->total_retrans;
}

static __always_inline void fill_sock(struct sock_part *s, struct sock *sk)
{
	s->protocol = sk->sk_protocol;
	s->new_state = sk->__sk_common.skc_state;
	s->rmem = sk->sk_backlog.rmem_alloc.counter;
	s->rcvbuf = sk->sk_rcvbuf;
	s->wmem = sk->sk_wmem_queued;
	s->sndbuf = sk->sk_sndbuf;
	s->backlog = sk->sk_ack_backlog;
	s->max_backlog = sk->sk_max_ack_backlog;
	fill_tcp(s, sk);
}

static __always_inline __u32 sock_netns(const struct sock *sk)
{
	return sk->__sk_common.skc_net.net->ns.inum;
}

/*
 * Wakes the reader when the buffer has filled past the mark; below it a timer
 * does. Every 16th event looks, which a quarter of the buffer has room for.
 */
static __always_inline void submit(struct record *r)
{
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (wake_from && !(r->seq & 15) &&
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_from)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(r, flags);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Filling a record: reserve exactly what the event needs, copy, submit. */
#ifndef NTREC_RECORD_BPF_H
#define NTREC_RECORD_BPF_H

/* The sizes that are reserved, one for each set of parts, which stand in the order of enum part. */
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
struct call_record {
	struct record r;
	struct call_part call;
};
struct netfilter_record {
	struct record r;
	struct call_part call;
	struct netfilter_part netfilter;
};
struct trace_record {
	struct record r;
	struct netfilter_part netfilter;
};
struct hooks_record {
	struct record r;
	struct call_part call;
	struct netfilter_part netfilter;
	struct hooks_part hooks;
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

/*
 * Which addresses, by their hash, ever were in `tracked`: for all others, on a
 * busy node nearly all, this saves the look into it.
 */
#define ADDRESSES (1 << 16)
__u8 once_tracked[ADDRESSES] = {};

const volatile struct setup setups[PROBES] = {};
const volatile __u8 with_hooks = 0; /* --hooks */
const volatile __u8 has_fetch = 1; /* atomic operations that return a value: 5.12 */
const volatile __u32 self_tgid = 0; /* the recorder is not its own subject */
const volatile __u64 wake_from = 0; /* bytes in the buffer at which the reader is woken */
const volatile __u64 max_events = 0; /* --max-events; 0: none */
const volatile __u64 interval = 0; /* ns between events by --rate-limit; 0: none */

__u32 stopped = 0;
bool has_received = false; /* a packet that the filters let pass was received */
__u64 taken = 0; /* events so far, counted only with --max-events */

/* User space learns the layout of the wire from these types' BTF. */
struct record layout_record = {};
struct free_part layout_free = {};
struct sock_part layout_sock = {};
struct call_part layout_call = {};
struct netfilter_part layout_netfilter = {};
struct hooks_part layout_hooks = {};
enum probe layout_probe = 0;
enum role layout_role = 0;
enum part layout_part = 0;
enum context layout_context = 0;
enum form layout_form = 0;
enum link layout_link = 0;
enum netfilter layout_netfilter_kind = 0;
enum probe_flag layout_probe_flag = 0;
enum ask layout_ask = 0;
enum limits layout_limits = 0;
enum constant layout_constant = 0;
struct bare_record layout_bare_record = {};
struct short_record layout_short_record = {};
struct long_record layout_long_record = {};
struct free_record layout_free_record = {};
struct sock_record layout_sock_record = {};
struct call_record layout_call_record = {};
struct netfilter_record layout_netfilter_record = {};
struct trace_record layout_trace_record = {};
struct hooks_record layout_hooks_record = {};
struct full_record layout_full_record = {};

static __always_inline __u8 *once_tracked_at(__u64 skb)
{
	__u32 hash = (low_half((void *)skb) >> 3) * 2654435761U; /* 2^32 over the golden ratio */

	return &once_tracked[hash >> 16];
}

static __always_inline void track(__u64 skb, const struct track *t)
{
	*once_tracked_at(skb) = 1;
	bpf_map_update_elem(&tracked, &skb, t, BPF_ANY);
}

static __always_inline struct track *track_of(__u64 skb)
{
	return *once_tracked_at(skb) ? bpf_map_lookup_elem(&tracked, &skb) : NULL;
}

static __always_inline __u64 argument(__u64 *ctx, enum probe probe, enum role role)
{
	return load_argument(ctx, setups[probe].arguments[role]);
}

static __always_inline bool is_typed(enum probe probe)
{
	return setups[probe].flags & PROBE_TYPED;
}

static __always_inline bool has_argument(enum probe probe, enum role role)
{
	return setups[probe].arguments[role] != NO_ARGUMENT;
}

/* An index of the tables: the verifier forgets a check once the number is on the stack. */
static __always_inline __u32 bounded(__u32 probe)
{
	asm volatile("%0 &= %1" : "+r"(probe) : "i"(PROBES - 1));
	return probe;
}

static __always_inline struct cpu_state *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpu_states, &zero);
}

/* Whether the limit of --max-events has room for one more. */
static __always_inline bool within_limit(void)
{
	__u64 before, fetched;

	if (!max_events)
		return true;
	before = *(volatile __u64 *)&taken;
	fetched = __sync_fetch_and_add(&taken, 1);
	if ((has_fetch ? fetched : before) < max_events)
		return true;
	stopped = 1;
	return false;
}

/*
 * The number of this CPU's next event. Where the kernel has no atomic fetch,
 * user space takes that bit off the instruction, and two events may have the
 * same number if an interrupt comes between these two lines.
 */
static __always_inline __u64 next_seq(struct cpu_state *cpu)
{
	__u64 before = *(volatile __u64 *)&cpu->seq;
	__u64 seq = __sync_fetch_and_add(&cpu->seq, 1);

	return has_fetch ? seq : before;
}

#define BURST 100000000ULL /* ns whose events may come at once */

/* A bucket of tokens, kept as the time at which the next one is there. */
static __always_inline bool within_rate(struct cpu_state *cpu, __u64 ts)
{
	if (!interval)
		return true;
	if (cpu->due > ts + BURST)
		return false;
	cpu->due = (cpu->due > ts ? cpu->due : ts) + interval;
	return true;
}

/*
 * Numbers the event and reserves its bytes. Whoever gets NULL has lost the
 * event, and that is counted here.
 */
static __always_inline void *begin(__u32 probe, __u64 size)
{
	struct cpu_state *cpu = this_cpu();
	__u64 ts = bpf_ktime_get_ns();
	struct record *r = NULL;
	bool allowed;
	__u64 seq;

	if (!cpu || probe >= PROBES)
		return NULL;
	allowed = within_rate(cpu, ts);
	if (allowed && !within_limit())
		return NULL;
	__sync_fetch_and_add(&cpu->counted[bounded(probe)], 1);
	seq = next_seq(cpu);
	if (allowed)
		r = bpf_ringbuf_reserve(&events, size, 0);
	else
		__sync_fetch_and_add(&cpu->left_out, 1);
	if (!r) {
		__sync_fetch_and_add(&cpu->lost[bounded(probe)], 1);
		return NULL;
	}
	r->ts = ts;
	r->seq = seq;
	r->probe = probe;
	return r;
}

static __always_inline void fill_task(struct record *r, const void *ctx)
{
	struct task_struct *task;
	__u64 id;

	r->cpu = bpf_get_smp_processor_id();
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		task = bpf_get_current_task_btf();
		r->pid = task->tgid;
		r->tid = task->pid;
		r->ctx = context_of(ctx, task, TYPED);
		read_name(r->comm, task->comm, TYPED);
		return;
	}
	id = bpf_get_current_pid_tgid();
	r->pid = id >> 32;
	r->tid = id;
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
	r->form = r->parts = r->header_len = r->frames = r->has_ret = 0;
}

/*
 * In TCP's trees of segments another segment stands where the device was
 * (rbnode): it is in no network namespace, whose numbers begin here
 * (include/linux/proc_ns.h, PROC_DYNAMIC_FIRST and those before it).
 */
#define FIRST_NAMESPACE 0xefff0000

static __always_inline void fill_device(struct record *r, const struct net_device *dev,
					enum access how)
{
	__u32 netns = dev ? netns_of(dev, how) : 0;

	if (netns < FIRST_NAMESPACE)
		return;
	r->netns = netns;
	r->ifindex = get32(&dev->ifindex, how);
	read_name(r->dev, dev->name, how);
}

static __always_inline void fill_skb(struct record *r, struct sk_buff *skb, enum access how)
{
	const void *head = get_pointer(&skb->head, how);
	struct skb_shared_info *shared = (void *)head + get32(&skb->end, how);
	const struct net_device *dev = device_of(skb, how);
	__u16 gso[2];

	r->skb = (__u64)skb;
	r->head = (__u64)head;
	r->sk = (__u64)get_pointer(&skb->sk, how);
	r->iif = get32(&skb->skb_iif, how);
	r->len = get32(&skb->len, how);
	r->data_len = get32(&skb->data_len, how);
	r->mark = get32(&skb->mark, how);
	r->hash = get32(&skb->hash, how);
	r->protocol = get16(&skb->protocol, how);
	r->queue = get16(&skb->queue_mapping, how);
	if (dev)
		fill_device(r, dev, how);
	else
		r->netns = packet_netns(skb, dev, how);
	read_pair(gso, &shared->gso_size, how);
	r->gso_size = gso[0];
	r->gso_segs = gso[1];
}

static __always_inline void fill_stack(struct full_record *e, void *ctx, __u32 probe)
{
	long bytes;

	if (!(setups[probe].flags & PROBE_STACK))
		return;
	bytes = bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
	if (bytes <= 0)
		return;
	e->r.frames = bytes / sizeof(__u64);
	e->r.parts |= PART_STACK;
}

static __always_inline void fill_long_header(__u8 *to, struct record *r, struct packet *p,
					     enum access how)
{
	read_whole_header(p, how);
	__builtin_memcpy(__builtin_assume_aligned(to, 8), p->header, HEADER_SHORT);
	r->header_len = HEADER_SHORT;
	r->parts |= PART_HEADER_LONG;
	if (p->available <= HEADER_SHORT)
		r->header_len = p->available;
	else if (!bpf_probe_read_kernel(to + HEADER_SHORT, HEADER_LONG - HEADER_SHORT,
					p->network + HEADER_SHORT))
		r->header_len = p->available < HEADER_LONG ? p->available : HEADER_LONG;
}

static __always_inline void fill_addresses(struct sock_part *s, const struct sock_common *c,
					   enum access how)
{
	s->family = get16(&c->skc_family, how);
	s->sport = local_port(c, how);
	s->dport = __builtin_bswap16(get16(&c->skc_dport, how));
	if (s->family == AF_INET6) {
		bpf_probe_read_kernel(s->saddr, 16, &c->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(s->daddr, 16, &c->skc_v6_daddr);
	} else {
		*(__u32 *)s->saddr = get32(&c->skc_rcv_saddr, how);
		*(__u32 *)s->daddr = get32(&c->skc_daddr, how);
	}
}

static __always_inline bool is_full_tcp(const struct sock_part *s)
{
	enum { TCP_NEW_SYN_RECV = 12, TCP_TIME_WAIT = 6 };

	return s->protocol == IPPROTO_TCP && (s->family == AF_INET || s->family == AF_INET6) &&
	       s->new_state != TCP_NEW_SYN_RECV && s->new_state != TCP_TIME_WAIT;
}

static __always_inline void fill_tcp(struct sock_part *s, struct tcp_sock *tp, enum access how)
{
	s->has_tcp = true;
	if (how == TYPED)
		s->ca_state = BPF_CORE_READ_BITFIELD(&tp->inet_conn, icsk_ca_state);
	else
		s->ca_state = BPF_CORE_READ_BITFIELD_PROBED(&tp->inet_conn, icsk_ca_state);
	s->snd_nxt = get32(&tp->snd_nxt, how);
	s->snd_una = get32(&tp->snd_una, how);
	s->rcv_nxt = get32(&tp->rcv_nxt, how);
	s->snd_cwnd = get32(&tp->snd_cwnd, how);
	s->ssthresh = get32(&tp->snd_ssthresh, how);
	s->snd_wnd = get32(&tp->snd_wnd, how);
	s->rcv_wnd = get32(&tp->rcv_wnd, how);
	s->srtt = get32(&tp->srtt_us, how) >> 3;
	s->packets_out = get32(&tp->packets_out, how);
	s->retrans_out = get32(&tp->retrans_out, how);
	s->lost_out = get32(&tp->lost_out, how);
	s->sacked_out = get32(&tp->sacked_out, how);
	s->total_retrans = get32(&tp->total_retrans, how);
	s->min_rtt = get32(&tp->rtt_min.s[0].v, how);
	if (s->min_rtt == ~0U)
		s->min_rtt = 0; /* as tcp_init_sock() leaves it */
}

static __always_inline void fill_sock(struct sock_part *s, struct sock *sk, enum access how)
{
	struct tcp_sock *tp;

	s->protocol = get16(&sk->sk_protocol, how);
	s->new_state = get8(&sk->__sk_common.skc_state, how);
	s->rmem = get32(&sk->sk_backlog.rmem_alloc.counter, how);
	s->rcvbuf = get32(&sk->sk_rcvbuf, how);
	s->wmem = get32(&sk->sk_wmem_queued, how);
	s->sndbuf = get32(&sk->sk_sndbuf, how);
	s->backlog = get32(&sk->sk_ack_backlog, how);
	s->max_backlog = get32(&sk->sk_max_ack_backlog, how);
	if (how == UNTYPED) {
		if (is_full_tcp(s))
			fill_tcp(s, (void *)sk, how);
		return;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		fill_tcp(s, tp, how);
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

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel functions. Which ones, where their arguments are and what they do to
 * packets is the table `functions`, filled by user space from its catalog and
 * BTF. Here is one program for each way of being called:
 *
 *   fentry, fexit     a copy for each function, its number written into it
 *   kprobe.multi      one for all, the number in the cookie
 *   kprobe            one for all, attached to each; until 5.15 without a cookie,
 *                     so that the number is looked up by the function's address
 */
#ifndef NTREC_FUNCTION_BPF_H
#define NTREC_FUNCTION_BPF_H

/* A pending call: what its return must know of it. */
struct call {
	__u64 skb;
	__u64 sk;
	__u64 entry; /* the id of its own event */
	__u64 other; /* the second packet, struct nf_hook_state * or xt_table * */
	__u64 chain; /* struct nft_chain *, nf_hook_entries *, or xt_table * */
	__u32 id;
	__u32 first; /* nf_hook_slow: the entry that it begins with */
};

/*
 * Calls by their frame: an address on the stack that only this call has. It is
 * unique however calls nest, and where idle CPUs share a task.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

/* Numbers of functions by address, for kprobes without a cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROBES);
	__type(key, __u64);
	__type(value, __u32);
} numbers_by_address SEC(".maps");

/* What each program knows of the call that it sees. */
struct invocation {
	void *ctx;
	__u64 frame;
	__u32 id;
	enum access how;
};

/* Its index in the tables. */
static __always_inline __u32 slot(const struct invocation *i)
{
	return bounded(i->id);
}

static __always_inline __u64 parameter(const struct invocation *i, enum role role)
{
	__u8 position = setups[slot(i)].arguments[role];

	return i->how == TYPED ? load_argument(i->ctx, position) : load_register(i->ctx, position);
}

/* The packet that the function is called with, however it is given. */
static __always_inline struct sk_buff *packet_of(const struct invocation *i)
{
	__u64 at;

	if (setups[slot(i)].arguments[ROLE_SKB_REF] != NO_ARGUMENT) {
		at = parameter(i, ROLE_SKB_REF);
		return get_pointer((void *)at, UNTYPED);
	}
	if (setups[slot(i)].arguments[ROLE_PKTINFO] != NO_ARGUMENT)
		return packet_of_info((void *)parameter(i, ROLE_PKTINFO));
	if (setups[slot(i)].arguments[ROLE_TRACEINFO] != NO_ARGUMENT)
		return packet_of_trace((void *)parameter(i, ROLE_TRACEINFO));
	return (void *)parameter(i, ROLE_SKB);
}

static __always_inline struct sock *socket_of(const struct invocation *i)
{
	if (setups[slot(i)].arguments[ROLE_SOCKET] != NO_ARGUMENT) {
		const struct socket *socket = (void *)parameter(i, ROLE_SOCKET);

		return get_pointer(&socket->sk, UNTYPED);
	}
	return (void *)parameter(i, ROLE_SK);
}

/* Remembers what the return needs and can no longer find in its registers. */
static __always_inline void remember(const struct invocation *i, struct call *call)
{
	__u8 netfilter = setups[slot(i)].netfilter;
	__u64 frame = i->frame;

	if (!(setups[slot(i)].flags & PROBE_RETURNS))
		return;
	call->id = i->id;
	if (netfilter == NETFILTER_XTABLES) {
		call->other = parameter(i, ROLE_STATE);
		call->chain = parameter(i, ROLE_TABLE);
	} else if (netfilter == NETFILTER_NFTABLES) {
		call->other = parameter(i, ROLE_PKTINFO);
		call->chain = parameter(i, ROLE_CHAIN);
	} else if (netfilter == NETFILTER_HOOK) {
		call->other = parameter(i, ROLE_STATE);
		call->chain = parameter(i, ROLE_ENTRIES);
		call->first = parameter(i, ROLE_FIRST);
	} else if (setups[slot(i)].link >= LINK_IF_ZERO) {
		call->other = parameter(i, ROLE_SKB2);
	}
	bpf_map_update_elem(&calls, &frame, call, BPF_ANY);
}

/* Until IP has made its header, a sent segment has none: its socket and control block tell. */
static __always_inline bool lacks_header(const struct packet *p, const struct invocation *i)
{
	return !p->protocol && !(setups[slot(i)].flags & PROBE_RECEIVES);
}

static __always_inline bool follow_call(struct packet *p, const struct invocation *i)
{
	__u64 key = (__u64)p->skb;
	struct track *t = track_of(key);
	bool ends = setups[slot(i)].flags & PROBE_ENDS;

	if (t && ends)
		bpf_map_delete_elem(&tracked, &key);
	else if (t)
		t->head = p->head;
	if (t || ends)
		return t;
	return start_tracking(p, slot(i), 0, i->how);
}

/* By sequence numbers, or else by SACK. What the kernel takes from time stamps is not seen. */
static __always_inline void fill_rtt(const struct invocation *i, struct record *r)
{
	__s64 rtt = parameter(i, ROLE_SECOND);

	if (rtt < 0)
		rtt = parameter(i, ROLE_THIRD);
	if (rtt < 0)
		return;
	r->ret = rtt;
	r->has_ret = true;
}

/* A segment that has no header yet: packet and socket. */
static __always_inline __u64 emit_segment(const struct invocation *i, struct sk_buff *skb,
					  struct sock *sk)
{
	struct sock_record *e = begin(i->id, sizeof(*e));
	const struct tcp_skb_cb *cb = (void *)skb->cb;
	__u64 id;

	if (!e)
		return 0;
	fill_task(&e->r, i->ctx);
	clear_skb(&e->r);
	__builtin_memset(&e->sock, 0, sizeof(e->sock));
	if (skb)
		fill_skb(&e->r, skb, i->how);
	e->r.sk = (__u64)sk;
	e->r.netns = netns_of_sock(&sk->__sk_common, i->how);
	fill_addresses(&e->sock, &sk->__sk_common, i->how);
	fill_sock(&e->sock, sk, i->how);
	if (skb && e->sock.protocol == IPPROTO_TCP) {
		e->sock.seq = BPF_CORE_READ(cb, seq);
		e->sock.tcp_flags = BPF_CORE_READ(cb, tcp_flags);
		e->sock.has_seq = true;
	}
	if (setups[slot(i)].flags & PROBE_RTT)
		fill_rtt(i, &e->r);
	e->r.parts = PART_SOCK;
	id = event_id(&e->r);
	submit(&e->r);
	return id;
}

static __always_inline __u64 emit_with_stack(const struct invocation *i, struct packet *p)
{
	struct full_record *e = begin_full(i->ctx, i->id);
	__u64 id;

	if (!e)
		return 0;
	fill_full_packet(e, p, i->how);
	e->r.parts &= ~(PART_SOCK | PART_FREE);
	id = event_id(&e->r);
	submit(&e->r);
	return id;
}

/* A step of nftables' rules. Those of the recorder's own table say nothing. */
static __always_inline void emit_step(const struct invocation *i, const struct packet *p)
{
	struct nft_step step = {
		.info = (void *)parameter(i, ROLE_TRACEINFO),
		.verdict = (void *)parameter(i, ROLE_VERDICT),
		.rule = (void *)parameter(i, ROLE_RULE),
	};
	const struct nft_pktinfo *pkt = (void *)parameter(i, ROLE_PKTINFO);
	struct trace_record *e;

	if (!complete_step(&step, &pkt) || is_own_table(step.base))
		return;
	e = begin(i->id, sizeof(*e));
	if (!e)
		return;
	fill_task(&e->r, i->ctx);
	clear_skb(&e->r);
	clear_netfilter(&e->netfilter);
	e->r.skb = (__u64)p->skb;
	fill_place(&e->netfilter, state_of(pkt));
	fill_step(&e->netfilter, &step);
	e->r.ret = step.code;
	e->r.has_ret = true;
	if (step.code != NF_STOLEN) /* whoever stole it may have freed it */
		fill_skb(&e->r, p->skb, i->how);
	e->r.parts = PART_NETFILTER;
	submit(&e->r);
}

/* One packet came of another, or goes on in another, or under other headers. */
static __always_inline void emit_link(const struct invocation *i, __u64 parent, __u64 child)
{
	struct track *t = track_of(parent);
	struct call_record *e;
	struct track copy;

	if (!child || child >= -4095ULL)
		return;
	if (t && child != parent) {
		copy = *t;
		track(child, &copy);
	}
	e = begin(i->id, sizeof(*e));
	if (!e)
		return;
	fill_task(&e->r, i->ctx);
	clear_skb(&e->r);
	e->r.form = FORM_LINK;
	e->r.skb = parent;
	e->call.entry = 0;
	e->call.child = child;
	e->r.parts = PART_CALL;
	submit(&e->r);
}

#define MOST_SEGMENTS 64 /* of a packet of 64 KiB at an MSS of 1 KiB */

/* Packets that follow each other by skb->next came of one. */
static __always_inline void emit_list(const struct invocation *i, __u64 parent,
				      const struct sk_buff *child)
{
	for (int n = 0; n < MOST_SEGMENTS && child; n++) {
		emit_link(i, parent, (__u64)child);
		child = get_pointer(&child->next, UNTYPED);
	}
}

/* The parts of a datagram that its sender has put together as fragments: ip_append_data. */
static __always_inline void emit_frag_list(const struct invocation *i, const struct sk_buff *skb)
{
	const struct skb_shared_info *shared =
		get_pointer(&skb->head, i->how) + get32(&skb->end, i->how);

	emit_list(i, (__u64)skb, get_pointer(&shared->frag_list, UNTYPED));
}

static __always_inline void on_packet_call(const struct invocation *i, struct packet *p,
					   struct call *call)
{
	if (filter.asks && !follow_call(p, i))
		return;
	if (setups[slot(i)].netfilter == NETFILTER_TRACE)
		emit_step(i, p);
	else if (setups[slot(i)].flags & PROBE_STACK)
		call->entry = emit_with_stack(i, p);
	else
		call->entry = emit_packet(p, i->id, i->how);
	remember(i, call);
	if (setups[slot(i)].link == LINK_FRAG_LIST)
		emit_frag_list(i, p->skb);
	else if (setups[slot(i)].link == LINK_ITSELF)
		emit_link(i, (__u64)p->skb, (__u64)p->skb);
}

/* A socket, or a packet of which only its socket tells. */
static __always_inline void on_socket_call(const struct invocation *i, struct sk_buff *skb,
					   struct sock *sk, struct call *call)
{
	if (!(skb && is_followed((__u64)skb)) && !passes_sock(i->ctx, slot(i), sk, i->how))
		return;
	call->entry = emit_segment(i, skb, sk);
	remember(i, call);
}

static __always_inline int on_call(const struct invocation *i)
{
	struct sock *sk = NULL;
	struct call call = {};
	struct sk_buff *skb;
	struct packet p;

	if (is_stopped() || i->id >= PROBES)
		return 0;
	skb = packet_of(i);
	if (skb)
		read_packet(&p, i->ctx, skb, setups[slot(i)].flags & PROBE_RECEIVES, i->how);
	if (!skb || lacks_header(&p, i))
		sk = socket_of(i);
	if (!sk && skb && lacks_header(&p, i))
		sk = get_pointer(&skb->sk, i->how);
	call.skb = (__u64)skb;
	call.sk = skb ? 0 : (__u64)sk;
	if (sk)
		on_socket_call(i, skb, sk, &call);
	else if (skb)
		on_packet_call(i, &p, &call);
	return 0;
}

static __always_inline void emit_links(const struct invocation *i, const struct call *call,
				       __u64 ret)
{
	switch (setups[slot(i)].link) {
	case LINK_RETURN:
		emit_link(i, call->skb, ret);
		break;
	case LINK_IF_ZERO:
	case LINK_IF_TRUE:
		if (!(__u8)ret == (setups[slot(i)].link == LINK_IF_ZERO))
			emit_link(i, call->other, call->skb);
		break;
	case LINK_LIST:
		if (ret < -4095ULL)
			emit_list(i, call->skb, (void *)ret);
		break;
	}
}

static __always_inline void fill_netfilter(struct netfilter_part *n, const struct call *call,
					   __u8 netfilter)
{
	const struct xt_table *table = (void *)call->chain;

	clear_netfilter(n);
	if (netfilter == NETFILTER_NFTABLES)
		fill_place(n, state_of((void *)call->other));
	else
		fill_place(n, (void *)call->other);
	if (netfilter == NETFILTER_XTABLES && bpf_core_field_exists(table->name))
		bpf_probe_read_kernel_str(n->table, sizeof(table->name), table->name);
	else if (netfilter == NETFILTER_NFTABLES)
		fill_chain(n, (void *)call->chain);
}

static __always_inline void fill_return(const struct invocation *i, struct record *r,
					struct call_part *part, const struct call *call, __u64 ret)
{
	fill_task(r, i->ctx);
	clear_skb(r);
	r->form = FORM_RETURN;
	r->skb = call->skb;
	r->sk = call->sk;
	r->ret = ret;
	r->has_ret = true;
	part->entry = call->entry;
	part->child = 0;
}

static __always_inline void emit_return(const struct invocation *i, const struct call *call,
					__u64 ret)
{
	struct call_record *e = begin(i->id, sizeof(*e));

	if (!e)
		return;
	fill_return(i, &e->r, &e->call, call, ret);
	e->r.parts = PART_CALL;
	submit(&e->r);
}

static __always_inline void emit_hooks(const struct invocation *i, const struct call *call,
				       __u64 ret)
{
	struct hooks_record *e = begin(i->id, sizeof(*e));

	if (!e)
		return;
	fill_return(i, &e->r, &e->call, call, ret);
	fill_netfilter(&e->netfilter, call, NETFILTER_HOOK);
	fill_hooks(&e->hooks, (void *)call->chain, call->first);
	e->r.parts = PART_CALL | PART_NETFILTER | PART_HOOKS;
	submit(&e->r);
}

static __always_inline void emit_verdict(const struct invocation *i, const struct call *call,
					 __u64 ret)
{
	struct netfilter_record *e = begin(i->id, sizeof(*e));

	if (!e)
		return;
	fill_return(i, &e->r, &e->call, call, ret);
	fill_netfilter(&e->netfilter, call, setups[slot(i)].netfilter);
	e->r.parts = PART_CALL | PART_NETFILTER;
	submit(&e->r);
}

static __always_inline int on_return(struct invocation *i, __u64 ret)
{
	__u64 frame = i->frame;
	struct call *found = bpf_map_lookup_elem(&calls, &frame);
	struct call call;

	if (!found)
		return 0;
	call = *found;
	/* Left by a call whose return the kernel missed, or of the function that tail-called this one. */
	if (i->id < PROBES && i->id != call.id)
		return 0;
	bpf_map_delete_elem(&calls, &frame);
	i->id = call.id;
	if (is_stopped() || i->id >= PROBES)
		return 0;
	if (with_hooks && setups[slot(i)].arguments[ROLE_ENTRIES] != NO_ARGUMENT)
		emit_hooks(i, &call, ret);
	else if (setups[slot(i)].netfilter)
		emit_verdict(i, &call, ret);
	else
		emit_return(i, &call, ret);
	emit_links(i, &call, ret);
	return 0;
}

/*
 * The programs. The number of a copy is written into this instruction; as long
 * as it is not, the program does nothing.
 */
static __always_inline __u32 own_number(void)
{
	__u32 number;

	asm volatile("%0 = %1" : "=r"(number) : "i"(NUMBER_HERE));
	return number;
}

/* Both trampoline programs of a call are given the same context. */
SEC("fentry/bpf_fentry_test1")
int function_fentry(__u64 *ctx)
{
	struct invocation i = {.ctx = ctx, .frame = (__u64)ctx, .id = own_number(), .how = TYPED};

	return i.id < PROBES ? on_call(&i) : 0;
}

SEC("fexit/bpf_fentry_test1")
int function_fexit(__u64 *ctx)
{
	struct invocation i = {.ctx = ctx, .frame = (__u64)ctx, .id = own_number(), .how = TYPED};

	if (i.id >= PROBES)
		return 0;
	return on_return(&i, load_argument(ctx, setups[slot(&i)].arguments[ROLE_RETURN]));
}

static __always_inline bool has_cookie(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_attach_cookie);
}

/* Without a cookie: by the address, which ip is behind if the probe is a breakpoint. */
static __always_inline __u32 number_of(const struct registers *ctx)
{
	__u64 address = ctx->ip;
	__u32 *number;

	if (has_cookie())
		return bpf_get_attach_cookie((void *)ctx);
	number = bpf_map_lookup_elem(&numbers_by_address, &address);
	if (!number) {
		address -= BREAKPOINT_LEN;
		number = bpf_map_lookup_elem(&numbers_by_address, &address);
	}
	return number ? *number : PROBES;
}

static __always_inline int on_kprobe(struct registers *ctx)
{
	struct invocation i = {.ctx = ctx, .frame = ctx->sp, .id = number_of(ctx), .how = UNTYPED};

	return i.id < PROBES ? on_call(&i) : 0;
}

/*
 * At the return the stack pointer is above the address that the call pushed. Of
 * which function it is nothing but a cookie tells.
 */
static __always_inline int on_kretprobe(struct registers *ctx)
{
	struct invocation i = {
		.ctx = ctx,
		.frame = ctx->sp - CALL_PUSHES,
		.id = has_cookie() ? bpf_get_attach_cookie((void *)ctx) : PROBES,
		.how = UNTYPED,
	};

	return on_return(&i, returned(ctx));
}

SEC("kprobe.multi")
int function_kprobe_multi(struct registers *ctx)
{
	return on_kprobe(ctx);
}

SEC("kretprobe.multi")
int function_kretprobe_multi(struct registers *ctx)
{
	return on_kretprobe(ctx);
}

SEC("kprobe")
int function_kprobe(struct registers *ctx)
{
	return on_kprobe(ctx);
}

SEC("kretprobe")
int function_kretprobe(struct registers *ctx)
{
	return on_kretprobe(ctx);
}

#endif

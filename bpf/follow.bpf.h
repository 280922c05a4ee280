/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which packets and sockets are recorded: from where one fits the filters, by
 * its address, to its end.
 */
#ifndef NTREC_FOLLOW_BPF_H
#define NTREC_FOLLOW_BPF_H

static __always_inline bool is_stopped(void)
{
	return stopped;
}

/*
 * Address reuse: a freed skb's address is soon another packet's, and most deliveries end
 * without a tracepoint. Where a packet can begin, an address that was already
 * followed is asked the filters again:
 * - a packet that this stack made (never received: skb_iif is 0) after the old
 *   one was received, or queued on the device where the old one began;
 * - a packet fresh from a driver (skb_iif is still 0) after the old one was
 *   received, or after one that was to be sent and had another buffer.
 */
static __always_inline bool is_reused(const struct track *t, const struct packet *p,
				      enum stage stage, enum access how)
{
	if (get32(&p->skb->skb_iif, how))
		return false;
	if (stage == STAGE_QUEUED)
		return t->stage >= STAGE_DRIVER || t->queued_on == packet_ifindex(p, how);
	return t->stage == STAGE_STACK || (t->stage < STAGE_DRIVER && t->head != p->head);
}

/* Whether a packet or socket is recorded at this probe for its own sake (--match). */
static __always_inline bool may_start(__u32 probe)
{
	return setups[probe].flags & PROBE_STARTS;
}

static __always_inline bool start_tracking(struct packet *p, __u32 probe, enum stage stage,
					   enum access how)
{
	struct track fresh = {.head = p->head, .stage = stage};

	if (!may_start(probe) || !match_packet(p, how))
		return false;
	if (stage == STAGE_QUEUED)
		fresh.queued_on = packet_ifindex(p, how);
	track((__u64)p->skb, &fresh);
	return true;
}

static __always_inline bool follow(struct packet *p, enum probe probe, enum stage stage,
				   enum access how)
{
	__u64 key = (__u64)p->skb;
	struct track *t = track_of(key);
	bool may_begin = probe == NET_DEV_QUEUE || stage != STAGE_QUEUED;

	if (t && !(may_begin && is_reused(t, p, stage, how))) {
		t->stage = stage;
		t->head = p->head;
		return true;
	}
	if (t)
		bpf_map_delete_elem(&tracked, &key);
	return start_tracking(p, probe, stage, how);
}

static __always_inline bool is_followed(__u64 skb)
{
	return !filter.asks || (skb && track_of(skb));
}

/*
 * Whether a followed address has become that of a packet that no probe has seen
 * yet: the old one was received, this one is a socket's that is to be sent.
 */
static __always_inline bool is_another(const struct track *t, const struct packet *p,
				       enum access how)
{
	return t->stage == STAGE_STACK && !get32(&p->skb->skb_iif, how) &&
	       get_pointer(&p->skb->sk, how);
}

/* A packet that may be gone after this event: it is not worth following. */
static __always_inline bool passes_once(struct packet *p, enum probe probe, enum access how)
{
	struct track *t;

	if (!filter.asks)
		return true;
	t = track_of((__u64)p->skb);
	return (t && !is_another(t, p, how)) || (may_start(probe) && match_packet(p, how));
}

/* Which packet this CPU is delivering: its socket's events belong to it. */
static __always_inline void mark_received(__u64 skb)
{
	struct cpu_state *cpu;

	if (!skb && !has_received)
		return;
	if (!has_received)
		has_received = true;
	cpu = this_cpu();
	if (cpu)
		cpu->received = skb;
}

/* Whether this CPU delivers a followed packet. */
static __always_inline bool delivers(const void *ctx)
{
	struct cpu_state *cpu = this_cpu();

	return cpu && cpu->received && context(ctx) == CTX_SOFTIRQ;
}

static __always_inline bool passes_sock(const void *ctx, __u32 probe, struct sock *sk,
					enum access how)
{
	if (!filter.asks || (has_received && delivers(ctx)))
		return true;
	return may_start(probe) &&
	       match_socket(ctx, &sk->__sk_common, get16(&sk->sk_protocol, how), how);
}

#endif

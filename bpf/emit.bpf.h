/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whole events of a packet, or of packet, socket, cause and stack together.
 */
#ifndef NTREC_EMIT_BPF_H
#define NTREC_EMIT_BPF_H

/* Cpu and number of an event, by which its return refers to it. */
static __always_inline __u64 event_id(const struct record *r)
{
	return (__u64)r->cpu << 48 | (r->seq & 0xffffffffffffULL);
}

/* Records a packet; returns the event's id, or 0 if it was lost. */
static __always_inline __u64 emit_packet(struct packet *p, __u32 probe, enum access how)
{
	struct short_record *brief;
	struct long_record *e;
	__u64 id;

	read_whole_header(p, how);
	if (wants_long_header(p)) {
		e = begin(probe, sizeof(*e));
		if (!e)
			return 0;
		fill_task(&e->r, p->ctx);
		clear_skb(&e->r);
		fill_skb(&e->r, p->skb, how);
		fill_long_header(e->header, &e->r, p, how);
		id = event_id(&e->r);
		submit(&e->r);
		return id;
	}
	brief = begin(probe, sizeof(*brief));
	if (!brief)
		return 0;
	fill_task(&brief->r, p->ctx);
	clear_skb(&brief->r);
	fill_skb(&brief->r, p->skb, how);
	__builtin_memcpy(brief->header, p->header, HEADER_SHORT);
	brief->r.parts = PART_HEADER_SHORT;
	brief->r.header_len = p->available < HEADER_SHORT ? p->available : HEADER_SHORT;
	id = event_id(&brief->r);
	submit(&brief->r);
	return id;
}

/* The rare hooks record all that there is: packet, socket, cause, stack. */
static __always_inline struct full_record *begin_full(void *ctx, __u32 probe)
{
	struct full_record *e = begin(probe, sizeof(*e));

	if (!e)
		return NULL;
	fill_task(&e->r, ctx);
	clear_skb(&e->r);
	__builtin_memset(&e->free, 0, sizeof(e->free));
	__builtin_memset(&e->sock, 0, sizeof(e->sock));
	e->r.parts = PART_ROOM | PART_FREE | PART_SOCK | PART_HEADER_LONG;
	fill_stack(e, ctx, probe);
	return e;
}

static __always_inline void fill_full_packet(struct full_record *e, struct packet *p,
					     enum access how)
{
	fill_skb(&e->r, p->skb, how);
	fill_long_header(e->header, &e->r, p, how);
}

static __always_inline void fill_full_sock(struct full_record *e, struct sock *sk, enum access how)
{
	e->r.sk = (__u64)sk;
	e->r.netns = netns_of_sock(&sk->__sk_common, how);
	fill_addresses(&e->sock, &sk->__sk_common, how);
	fill_sock(&e->sock, sk, how);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What netfilter knows of a verdict: place, table, chain, rule, hook functions.
 * The types of nftables are those of a module: a kernel describes them from 5.11
 * on, and as long as the module is loaded.
 */
#ifndef NTREC_NETFILTER_BPF_H
#define NTREC_NETFILTER_BPF_H

#define MOST_RULES 512 /* of a chain, behind the one that is traced */

const volatile char own_tables[NAME_LEN] = {}; /* prefix of the recorder's own tables */

static __always_inline struct sk_buff *packet_of_info(const struct nft_pktinfo *info)
{
	return bpf_core_field_exists(info->skb) ? get_pointer(&info->skb, UNTYPED) : NULL;
}

static __always_inline struct sk_buff *packet_of_trace(const struct nft_traceinfo___6_3 *info)
{
	return bpf_core_field_exists(info->pkt) ? packet_of_info(get_pointer(&info->pkt, UNTYPED))
						: NULL;
}

static __always_inline const struct nf_hook_state *state_of(const struct nft_pktinfo *info)
{
	const struct nft_pktinfo___5_12 *old = (void *)info;

	if (bpf_core_field_exists(info->state))
		return get_pointer(&info->state, UNTYPED);
	if (bpf_core_field_exists(old->xt.state))
		return get_pointer(&old->xt.state, UNTYPED);
	return NULL;
}

static __always_inline void clear_netfilter(struct netfilter_part *n)
{
	n->table[0] = n->chain[0] = 0;
	n->handle = 0;
	n->step = NFT_TRACETYPE_UNSPEC;
}

/* The hook, and the family of what calls it. */
static __always_inline void fill_place(struct netfilter_part *n, const struct nf_hook_state *state)
{
	n->hook = get8(&state->hook, UNTYPED);
	n->pf = n->family = get8(&state->pf, UNTYPED);
}

static __always_inline void fill_chain(struct netfilter_part *n, const struct nft_chain *chain)
{
	const struct nft_table *table = NULL;

	if (!bpf_core_field_exists(chain->table) || !bpf_core_field_exists(table->name))
		return;
	table = get_pointer(&chain->table, UNTYPED);
	n->family = BPF_CORE_READ_BITFIELD_PROBED(table, family);
	bpf_probe_read_kernel_str(n->chain, sizeof(n->chain), get_pointer(&chain->name, UNTYPED));
	bpf_probe_read_kernel_str(n->table, sizeof(n->table), get_pointer(&table->name, UNTYPED));
}

/* From `first` on. Whoever called nf_hook_slow holds the lock under which they live (rcu_read_lock). */
static __always_inline void fill_hooks(struct hooks_part *h, const struct nf_hook_entries *entries,
				       __u32 first)
{
	const struct nf_hook_entry *entry = entries->hooks + (__u16)first;
	__u32 count = get16(&entries->num_hook_entries, UNTYPED);

	__builtin_memset(h, 0, sizeof(*h));
	h->count = count > first ? count - first : 0;
	for (int n = 0; n < MOST_HOOKS && n < h->count; n++)
		h->functions[n] = get64(&entry[n].hook, UNTYPED);
}

/* A step of the rules that a packet is traced through, as nft_trace_notify is called with it. */
struct nft_step {
	const struct nft_traceinfo *info;
	const struct nft_verdict *verdict;
	const void *rule;
	const struct nft_chain *base;
	const struct nft_chain *chain; /* NULL: its rules are too many to find out */
	__s32 code; /* of the verdict; NFT_* are negative */
	__u8 type;
};

/* The chain that a rule is in: its last rule knows (nft_trace_get_chain). */
static __always_inline const struct nft_chain *chain_of(const struct nft_rule_dp *rule)
{
	const struct nft_rule_dp_last *last;

	for (int n = 0; n < MOST_RULES; n++) {
		if (BPF_CORE_READ_BITFIELD_PROBED(rule, is_last)) {
			last = (void *)rule;
			return get_pointer(&last->chain, UNTYPED);
		}
		rule = (void *)rule + bpf_core_type_size(struct nft_rule_dp) +
		       BPF_CORE_READ_BITFIELD_PROBED(rule, dlen);
	}
	return NULL;
}

static __always_inline void find_chain(struct nft_step *s)
{
	const struct nft_traceinfo___6_3 *old = (void *)s->info;
	const struct nft_rule_dp_last *last = NULL;

	if (bpf_core_field_exists(old->chain))
		s->chain = get_pointer(&old->chain, UNTYPED);
	else if (!s->rule)
		s->chain = s->base;
	else if (bpf_core_field_exists(last->chain))
		s->chain = chain_of(s->rule);
}

/* Finds what is not among the arguments; false where the kernel describes none of it. */
static __always_inline bool complete_step(struct nft_step *s, const struct nft_pktinfo **pkt)
{
	const struct nft_traceinfo___6_3 *old = (void *)s->info;
	const struct nft_base_chain *base = NULL;

	if (!bpf_core_field_exists(s->info->basechain) || !bpf_core_field_exists(base->policy))
		return false;
	if (bpf_core_field_exists(old->verdict)) {
		*pkt = get_pointer(&old->pkt, UNTYPED);
		s->verdict = get_pointer(&old->verdict, UNTYPED);
		s->rule = get_pointer(&old->rule, UNTYPED);
	}
	base = get_pointer(&s->info->basechain, UNTYPED);
	s->base = &base->chain;
	s->type = BPF_CORE_READ_BITFIELD_PROBED(s->info, type);
	s->code = get32(&s->verdict->code, UNTYPED);
	if (s->type == NFT_TRACETYPE_POLICY)
		s->code = get8(&base->policy, UNTYPED);
	else if (s->code >= 0)
		s->code &= NF_VERDICT_MASK;
	find_chain(s);
	return true;
}

/* No rule gave a policy, or the end of a chain. */
static __always_inline __u64 handle_of(const struct nft_step *s)
{
	const struct nft_rule_dp *rule = s->rule;
	const struct nft_rule *old = s->rule;

	if (!rule || s->type == NFT_TRACETYPE_POLICY ||
	    (s->type == NFT_TRACETYPE_RETURN && s->code == NFT_CONTINUE))
		return 0;
	if (bpf_core_type_exists(struct nft_rule_dp))
		return BPF_CORE_READ_BITFIELD_PROBED(rule, handle);
	if (bpf_core_type_exists(struct nft_rule))
		return BPF_CORE_READ_BITFIELD_PROBED(old, handle);
	return 0;
}

static __always_inline void fill_step(struct netfilter_part *n, const struct nft_step *s)
{
	fill_chain(n, s->chain ? s->chain : s->base);
	if (!s->chain)
		n->chain[0] = 0;
	n->handle = handle_of(s);
	n->step = s->type;
	/* From 6.7 on the kernel takes what leaves a chain for rules, too. */
	if (s->code == NFT_RETURN || (s->code == NFT_CONTINUE && !n->handle))
		n->step = NFT_TRACETYPE_RETURN;
}

static __always_inline bool is_own_table(const struct nft_chain *chain)
{
	char name[sizeof(own_tables)] = "";
	const struct nft_table *table = get_pointer(&chain->table, UNTYPED);

	bpf_probe_read_kernel_str(name, sizeof(name), get_pointer(&table->name, UNTYPED));
	for (int n = 0; n < sizeof(name) && own_tables[n]; n++)
		if (name[n] != own_tables[n])
			return false;
	return true;
}

#endif

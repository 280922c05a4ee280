/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet at a hook: where its network header is, and what the filters ask of it. */
#ifndef NTREC_PACKET_BPF_H
#define NTREC_PACKET_BPF_H

/* Ports of UDP tunnels, whose inner headers are worth the long form. */
#define PORT_VXLAN 4789
#define PORT_VXLAN_LINUX 8472
#define PORT_GENEVE 6081

struct packet {
	const void *ctx;
	struct sk_buff *skb;
	struct net_device *dev;
	const void *network;
	__u64 head;
	__u32 available; /* linear bytes from the network header on */
	__u32 len;
	__u16 protocol; /* host byte order */
	bool has_header; /* read_header() was here */
	__u8 header[HEADER_SHORT] __attribute__((aligned(8))); /* copied in words */
};

static __always_inline __u16 be16(const __u8 *p)
{
	return (__u16)(p[0] << 8 | p[1]);
}

/*
 * A received packet's data starts at the network header before
 * __netif_receive_skb_core sets it; elsewhere the header is where skb says.
 */
static __always_inline const void *network_header(const struct sk_buff *skb, const void *head,
						  bool receiving, enum access how)
{
	__u16 offset = get16(&skb->network_header, how);

	if (receiving || !offset)
		return get_pointer(&skb->data, how);
	return head + offset;
}

static __always_inline __u32 netns_of(const struct net_device *dev, enum access how)
{
	const struct net *net = get_pointer(&dev->nd_net.net, how);

	return get32(&net->ns.inum, how);
}

/* Finds the packet. Most are of no interest: what only some need is read later. */
static __always_inline void read_packet(struct packet *p, const void *ctx, struct sk_buff *skb,
					bool receiving, enum access how)
{
	const void *head = get_pointer(&skb->head, how), *end = head + get32(&skb->tail, how);

	p->ctx = ctx;
	p->skb = skb;
	p->dev = get_pointer(&skb->dev, how);
	p->head = (__u64)head;
	p->len = get32(&skb->len, how);
	p->protocol = __builtin_bswap16(get16(&skb->protocol, how));
	p->network = network_header(skb, head, receiving, how);
	p->available = p->network < end ? end - p->network : 0;
	p->has_header = false;
}

static __always_inline void read_header(struct packet *p)
{
	if (p->has_header)
		return;
	p->has_header = true;
	if (p->available > 0xffff ||
	    bpf_probe_read_kernel(p->header, sizeof(p->header), p->network))
		p->available = 0;
}

static __always_inline __u32 packet_ifindex(const struct packet *p, enum access how)
{
	return p->dev ? get32(&p->dev->ifindex, how) : 0;
}

static __always_inline __u32 packet_netns(const struct packet *p, enum access how)
{
	return p->dev ? netns_of(p->dev, how) : 0;
}

/* Without the filters' parser: only what constant offsets tell. */
static __always_inline bool wants_long_header(const struct packet *p)
{
	const __u8 *h = p->header;
	__u16 dport;

	if (p->available <= HEADER_SHORT)
		return false;
	if (h[0] != 0x45)
		return h[0] >> 4 == 4 || h[0] >> 4 == 6;
	if (h[9] == IPPROTO_TCP)
		return 20 + (h[32] >> 4) * 4 > HEADER_SHORT;
	if (h[9] != IPPROTO_UDP)
		return h[9] != 1;
	dport = be16(h + 22);
	return dport == PORT_VXLAN || dport == PORT_GENEVE || dport == PORT_VXLAN_LINUX;
}

#endif

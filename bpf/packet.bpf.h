/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet at a probe: where its network header is, and what the filters ask of it. */
#ifndef NTREC_PACKET_BPF_H
#define NTREC_PACKET_BPF_H

struct packet {
	const void *ctx;
	struct sk_buff *skb;
	struct net_device *dev;
	const void *network;
	__u64 head;
	__u32 available; /* linear bytes from the network header on */
	__u32 len;
	__u16 protocol; /* host byte order */
	__u8 words; /* of the header that read_header() has read */
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

static __always_inline __u32 netns_of_sock(const struct sock_common *c, enum access how)
{
	const struct net *net = get_pointer(&c->skc_net.net, how);

	return get32(&net->ns.inum, how);
}

/*
 * A packet's device. In the queue of a UDP socket a number stands in its place
 * (struct udp_dev_scratch), whose upper byte is a bool: kernel addresses are
 * negative. Reading where it seems to lead costs a fault each time. The
 * compiler would calculate with the pointer, which the verifier refuses.
 */
static __always_inline struct net_device *device_of(const struct sk_buff *skb, enum access how)
{
	struct net_device *dev = get_pointer(&skb->dev, how);

	asm volatile("if %0 s< 0 goto +1\n\t%0 = 0" : "+r"(dev));
	return dev;
}

/* Finds the packet. Most are of no interest: what only some need is read later. */
static __always_inline void read_packet(struct packet *p, const void *ctx, struct sk_buff *skb,
					bool receiving, enum access how)
{
	const void *head = get_pointer(&skb->head, how), *end = head + get32(&skb->tail, how);

	p->ctx = ctx;
	p->skb = skb;
	p->dev = device_of(skb, how);
	p->head = (__u64)head;
	p->len = get32(&skb->len, how);
	p->protocol = __builtin_bswap16(get16(&skb->protocol, how));
	p->network = network_header(skb, head, receiving, how);
	p->available = p->network < end ? end - p->network : 0;
	p->words = 0;
}

#define LINK_LEN 14 /* bytes of an Ethernet header */

/* What was found is the frame's header. */
static __always_inline void skip_link(struct packet *p)
{
	p->network += LINK_LEN;
	p->available = p->available > LINK_LEN ? p->available - LINK_LEN : 0;
}

/* How many words the short header has, and how many tell IPv4's flow. */
#define WORDS (HEADER_SHORT / 8)
#define WORDS_OF_FLOW 3

static __always_inline void read_header(struct packet *p, __u8 words, enum access how)
{
	if (p->words >= words)
		return;
	p->words = words;
	if (p->available > 0xffff || !read_words((__u64 *)p->header, p->network, words, how))
		p->available = 0;
}

/* Puts what a piece begins with behind the `at` bytes of the header that are there. */
static __always_inline void join(struct packet *p, __u32 at, const struct piece *piece)
{
	__u32 len = piece->len;

	barrier_var(len); /* older verifiers forget a bound that another copy has */
	if (len > HEADER_SHORT - at)
		len = HEADER_SHORT - at;
	if (bpf_probe_read_kernel(p->header + at, len, piece->at))
		return;
	p->network = piece->at - at;
	p->available = at + piece->len;
}

/* Where a linear part ends whose payload is in pages: before or behind IP's header, and that of UDP or of an echo. */
#define ENDS (1ULL << 0 | 1ULL << 20 | 1ULL << 28 | 1ULL << 40 | 1ULL << 48)

static __always_inline void join_pages(struct packet *p)
{
	const struct sk_buff *skb = p->skb;
	struct piece piece;

	if (p->network + p->available != (void *)p->head + BPF_CORE_READ(skb, tail))
		return;
	first_piece(skb, &piece);
	if (!piece.len)
		return;
	switch (p->available) { /* each its own: the verifier wants the stack's offsets to be constants */
	case 0:
		join(p, 0, &piece);
		break;
	case 20:
		join(p, 20, &piece);
		break;
	case 28:
		join(p, 28, &piece);
		break;
	case 40:
		join(p, 40, &piece);
		break;
	case 48:
		join(p, 48, &piece);
		break;
	}
}

/* For a record, once the filters are through: bytes before the ends of a linear part are in `header` only. */
static __always_inline void read_whole_header(struct packet *p, enum access how)
{
	read_header(p, WORDS, how);
	if (__builtin_expect(p->available < HEADER_SHORT, 0) && ENDS >> p->available & 1 &&
	    get32(&p->skb->data_len, how))
		join_pages(p);
}

static __always_inline __u32 packet_ifindex(const struct packet *p, enum access how)
{
	return p->dev ? get32(&p->dev->ifindex, how) : 0;
}

/* Until it has a device, a packet that is sent is where its socket is. */
static __always_inline __u32 packet_netns(const struct sk_buff *skb, const struct net_device *dev,
					  enum access how)
{
	const struct sock *sk;

	if (dev)
		return netns_of(dev, how);
	sk = get_pointer(&skb->sk, how);
	return sk ? netns_of_sock(&sk->__sk_common, how) : 0;
}

/* IPv6 extension headers that may stand before the transport's: RFC 8200, section 4. */
static __always_inline bool is_extension(__u8 next)
{
	return next == 0 || next == 43 || next == 44 || next == 60;
}

/* Where IPv6's payload begins, and which it is; 0 in a later fragment, or where there is no telling. */
static __always_inline __u32 skip_extensions(const struct packet *p, __u8 *next)
{
	__u8 extension[4];
	__u32 at = 40;

	for (int i = 0; i < 4 && is_extension(*next); i++) {
		if (bpf_probe_read_kernel(extension, sizeof(extension), p->network + at))
			return 0;
		if (*next == 44 && be16(extension + 2) & 0xfff8) { /* a later fragment */
			*next = extension[0];
			return 0;
		}
		at += *next == 44 ? 8 : (extension[1] + 1) * 8;
		*next = extension[0];
	}
	return at;
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

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Capture filters: which packets and sockets start to be followed. */
#ifndef NTREC_FILTER_BPF_H
#define NTREC_FILTER_BPF_H

const volatile struct filter filter = {};

/* Whether the filters ask for any of these (enum ask). */
static __always_inline bool asks(__u32 any)
{
	return filter.asks & any;
}

/* The fields of a packet or socket that filters compare. */
struct flow {
	__u64 src[2];
	__u64 dst[2];
	__u32 l4; /* NO_L4 where there is none */
	__u16 sport;
	__u16 dport;
	__u8 has_addresses;
	__u8 has_ports;
	__u8 tcp_flags;
};
#define NO_L4 0x100

/* What of a packet filters ask for. */
#define ADDRESSES_ASKED (ASK_SRC | ASK_DST | ASK_ADDR)
#define PORTS_ASKED (ASK_SPORT | ASK_DPORT | ASK_PORT)
#define HEADER_ASKED (ADDRESSES_ASKED | PORTS_ASKED | ASK_PROTO | ASK_TCP_FLAGS | ASK_EXPRESSION)

static __always_inline void map_v4(__u64 to[2], __u32 address)
{
	to[0] = 0;
	to[1] = (__u64)address << 32 | 0xffff0000ULL; /* ::ffff:a.b.c.d, network byte order */
}

static __always_inline bool is_v4(const __u64 address[2])
{
	return !address[0] && (__u32)address[1] == 0xffff0000;
}

/* IPv4 is in no prefix shorter than that of all mapped addresses: ::/0 is IPv6. */
static __always_inline bool in_prefix(const volatile struct prefix *p, const __u64 address[2])
{
	if (is_v4(address) && (__u32)p->mask[1] != 0xffffffff)
		return false;
	return (address[0] & p->mask[0]) == p->addr[0] && (address[1] & p->mask[1]) == p->addr[1];
}

static __always_inline bool in_prefixes(const volatile struct prefixes *set, const __u64 address[2])
{
	for (int i = 0; i < FILTER_MAX; i++) {
		if (i >= set->n)
			break;
		if (in_prefix(&set->list[i], address))
			return true;
	}
	return false;
}

static __always_inline bool in_ranges(const volatile struct ranges *set, __u32 value)
{
	for (int i = 0; i < FILTER_MAX; i++) {
		if (i >= set->n)
			break;
		if (value >= set->list[i].from && value <= set->list[i].to)
			return true;
	}
	return false;
}

static __always_inline bool has_number(const volatile struct numbers *set, __u32 value)
{
	for (int i = 0; i < FILTER_MAX; i++) {
		if (i >= set->n)
			break;
		if (value == set->list[i])
			return true;
	}
	return false;
}

static __always_inline bool on_device(const struct net_device *dev)
{
	__u64 name[NAME_LEN / 8] = {};

	if (!asks(ASK_DEV))
		return true;
	if (!dev || bpf_probe_read_kernel_str(name, sizeof(name), dev->name) < 0)
		return false;
	for (int i = 0; i < FILTER_MAX; i++) {
		if (i >= filter.dev.n)
			break;
		if (name[0] == filter.dev.list[i][0] && name[1] == filter.dev.list[i][1])
			return true;
	}
	return false;
}

/* SCTP and UDP-Lite have their ports in the same place. */
static __always_inline bool carries_ports(__u32 l4)
{
	return l4 == IPPROTO_TCP || l4 == IPPROTO_UDP || l4 == 132 || l4 == 136;
}

static __always_inline void take_ports(struct flow *f, const __u8 *l4)
{
	f->sport = be16(l4);
	f->dport = be16(l4 + 2);
	f->has_ports = true;
	if (f->l4 == IPPROTO_TCP)
		f->tcp_flags = l4[13];
}

/* The header of the transport, `offset` behind that of the network. */
static __always_inline void read_ports(struct flow *f, const struct packet *p, __u32 offset)
{
	__u8 bytes[14] = {};

	if (!carries_ports(f->l4))
		return;
	if (!bpf_probe_read_kernel(bytes, sizeof(bytes), p->network + offset))
		take_ports(f, bytes);
}

static __always_inline void parse_v4(struct flow *f, const struct packet *p)
{
	const __u8 *h = p->header;

	if (p->available < 20 || h[0] >> 4 != 4)
		return;
	if (asks(ADDRESSES_ASKED)) {
		map_v4(f->src, *(__u32 *)(h + 12));
		map_v4(f->dst, *(__u32 *)(h + 16));
		f->has_addresses = true;
	}
	f->l4 = h[9];
	if (be16(h + 6) & 0x1fff) /* later fragments have no ports */
		return;
	if (h[0] != 0x45)
		read_ports(f, p, (h[0] & 0xf) * 4);
	else if (carries_ports(f->l4))
		take_ports(f, h + 20);
}

static __always_inline void parse_v6(struct flow *f, const struct packet *p)
{
	const __u8 *h = p->header;
	__u8 next = h[6];
	__u32 at;

	if (p->available < 40 || h[0] >> 4 != 6)
		return;
	__builtin_memcpy(f->src, h + 8, 16);
	__builtin_memcpy(f->dst, h + 24, 16);
	f->has_addresses = true;
	at = skip_extensions(p, &next);
	if (!is_extension(next))
		f->l4 = next;
	if (at)
		read_ports(f, p, at);
}

static __always_inline bool match_addresses(const struct flow *f)
{
	if (!asks(ADDRESSES_ASKED))
		return true;
	return f->has_addresses && (!asks(ASK_SRC) || in_prefixes(&filter.src, f->src)) &&
	       (!asks(ASK_DST) || in_prefixes(&filter.dst, f->dst)) &&
	       (!asks(ASK_ADDR) || in_prefixes(&filter.addr, f->src) ||
		in_prefixes(&filter.addr, f->dst));
}

static __always_inline bool match_ports(const struct flow *f)
{
	if (!asks(PORTS_ASKED))
		return true;
	return f->has_ports && (!asks(ASK_SPORT) || in_ranges(&filter.sport, f->sport)) &&
	       (!asks(ASK_DPORT) || in_ranges(&filter.dport, f->dport)) &&
	       (!asks(ASK_PORT) || in_ranges(&filter.port, f->sport) ||
		in_ranges(&filter.port, f->dport));
}

static __always_inline bool match_protocol(__u16 ethertype, __u32 l4)
{
	if (!asks(ASK_PROTO))
		return true;
	return has_number(&filter.ethertype, ethertype) || has_number(&filter.l4, l4);
}

/* The current task is the packet's own only in task context. */
static __always_inline bool match_pid(const void *ctx)
{
	if (!asks(ASK_PID))
		return true;
	return context(ctx) == CTX_TASK &&
	       has_number(&filter.pid, bpf_get_current_pid_tgid() >> 32);
}

static __always_inline bool match_packet(struct packet *p, enum access how)
{
	struct flow f = {.l4 = NO_L4};

	if (!on_device(p->dev) ||
	    (asks(ASK_NETNS) && !has_number(&filter.netns, packet_netns(p->skb, p->dev, how))) ||
	    (asks(ASK_LEN) && !in_ranges(&filter.len, p->len)) || !match_pid(p->ctx))
		return false;
	if (!asks(HEADER_ASKED))
		return true;
	if (p->protocol == ETH_P_IP && !asks(ASK_TCP_FLAGS | ASK_EXPRESSION))
		read_header(p, WORDS_OF_FLOW, how);
	else
		read_header(p, WORDS, how);
	if (p->protocol == ETH_P_IP)
		parse_v4(&f, p);
	else if (p->protocol == ETH_P_IPV6)
		parse_v6(&f, p);
	return match_protocol(p->protocol, f.l4) && match_addresses(&f) && match_ports(&f) &&
	       (!asks(ASK_TCP_FLAGS) || f.tcp_flags & filter.tcp_flags) && match_pcap(p, how);
}

#define BITS(from, n) (((1ULL << (n)) - 1) << (from))

/*
 * An expression is asked about the header that a socket's packets have, as far
 * as all of them have the same: protocol, addresses, ports. Of the link's header
 * that is the protocol; whether they have a VLAN's tag is not known.
 */
static __always_inline bool match_flow(const struct flow *f)
{
	__u8 h[48] __attribute__((aligned(8))) = {}; /* IPv6 and the ports */
	struct frame frame = {.start = h, .available = sizeof(h), .link_len = LINK_LEN};
	bool v4 = is_v4(f->src) || is_v4(f->dst);
	__u16 ports[2] = {__builtin_bswap16(f->sport), __builtin_bswap16(f->dport)};

	if (!asks(ASK_EXPRESSION))
		return true;
	if (pcap_inner || pcap_vlan)
		return false;
	if (v4) {
		__u32 addresses[2] = {f->src[1] >> 32, f->dst[1] >> 32};

		frame.protocol = ETH_P_IP;
		h[0] = 0x45;
		h[9] = f->l4;
		__builtin_memcpy(h + 12, addresses, 8);
		__builtin_memcpy(h + 20, ports, 4);
		frame.known = BITS(0, 1) | BITS(6, 2) | BITS(9, 1) | BITS(12, 8);
		frame.known |= f->has_ports ? BITS(20, 4) : 0;
	} else {
		frame.protocol = ETH_P_IPV6;
		h[0] = 0x60;
		h[6] = f->l4;
		__builtin_memcpy(h + 8, f->src, 16);
		__builtin_memcpy(h + 24, f->dst, 16);
		__builtin_memcpy(h + 40, ports, 4);
		frame.known = BITS(0, 1) | BITS(6, 1) | BITS(8, 32);
		frame.known |= f->has_ports ? BITS(40, 4) : 0;
	}
	return run_pcap(&frame, NULL, UNTYPED);
}

static __always_inline void swap_sides(struct flow *f)
{
	__u64 low = f->src[0], high = f->src[1];
	__u16 port = f->sport;

	f->src[0] = f->dst[0];
	f->src[1] = f->dst[1];
	f->dst[0] = low;
	f->dst[1] = high;
	f->sport = f->dport;
	f->dport = port;
}

/* A socket that closes has given its port back; this one it keeps. */
static __always_inline __u16 local_port(const struct sock_common *c, enum access how)
{
	__u16 port = get16(&c->skc_num, how);

	return port ?: __builtin_bswap16(BPF_CORE_READ((const struct inet_sock *)c, inet_sport));
}

static __always_inline void read_socket(struct flow *f, const struct sock_common *c, bool six,
					enum access how)
{
	if (asks(ADDRESSES_ASKED | ASK_EXPRESSION) && six) {
		bpf_probe_read_kernel(f->src, 16, &c->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(f->dst, 16, &c->skc_v6_daddr);
	} else if (asks(ADDRESSES_ASKED | ASK_EXPRESSION)) {
		map_v4(f->src, get32(&c->skc_rcv_saddr, how));
		map_v4(f->dst, get32(&c->skc_daddr, how));
	}
	f->has_ports = asks(PORTS_ASKED | ASK_EXPRESSION) && carries_ports(f->l4);
	if (f->has_ports) {
		f->sport = local_port(c, how);
		f->dport = __builtin_bswap16(get16(&c->skc_dport, how));
	}
}

static __always_inline bool match_direction(const struct flow *f)
{
	return match_addresses(f) && match_ports(f) && match_flow(f);
}

/* A socket has no device, length or flags: only its followed packets pass those filters. */
static __always_inline bool match_socket(const void *ctx, const struct sock_common *c,
					 __u32 protocol, enum access how)
{
	bool six = get16(&c->skc_family, how) == AF_INET6;
	struct flow f = {.l4 = protocol, .has_addresses = true};

	if (asks(ASK_DEV | ASK_LEN | ASK_TCP_FLAGS))
		return false;
	if ((asks(ASK_NETNS) && !has_number(&filter.netns, netns_of_sock(c, how))) ||
	    !match_pid(ctx))
		return false;
	if (!match_protocol(six ? ETH_P_IPV6 : ETH_P_IP, protocol))
		return false;
	read_socket(&f, c, six, how);
#pragma clang loop unroll(disable)
	for (int direction = 0; direction < 2; direction++) {
		if (match_direction(&f))
			return true;
		swap_sides(&f);
	}
	return false;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A pcap-filter expression: libpcap makes a classic BPF program of it, and user
 * space puts that into read-only data. So the verifier follows this one program
 * through the interpreter with all its constants known, and drops the
 * interpreter where there is none. User space has checked the program: known
 * instructions, and jumps that go forward to one of them.
 *
 * The program is one for Ethernet, whatever the device is: it is given a header
 * of 14 bytes with the packet's protocol, and with addresses where they are known.
 */
#ifndef NTREC_PCAP_BPF_H
#define NTREC_PCAP_BPF_H

struct sock_filter { /* uapi/linux/filter.h */
	__u16 code;
	__u8 jt;
	__u8 jf;
	__u32 k;
};

const volatile struct sock_filter pcap[PCAP_MAX] = {};
const volatile __u32 pcap_len = 0; /* 0: no expression */
const volatile __u8 pcap_link = 0; /* it asks for more of the link's header than the protocol */
const volatile __u8 pcap_vlan = 0; /* it asks for VLAN tags, which are else taken off */
const volatile __u8 pcap_inner = 0; /* --inner: the packet in the tunnel */

/* uapi/linux/bpf_common.h: the parts of a classic instruction's code. */
enum {
	BPF_LD,
	BPF_LDX,
	BPF_ST,
	BPF_STX,
	BPF_ALU,
	BPF_JMP,
	BPF_RET,
	BPF_MISC,
	BPF_CLASS = 0x07,
};
enum {
	BPF_IMM = 0x00,
	BPF_ABS = 0x20,
	BPF_IND = 0x40,
	BPF_MEM = 0x60,
	BPF_LEN = 0x80,
	BPF_MSH = 0xa0,
	BPF_MODE = 0xe0,
};
enum {
	BPF_ADD = 0x00,
	BPF_SUB = 0x10,
	BPF_MUL = 0x20,
	BPF_DIV = 0x30,
	BPF_OR = 0x40,
	BPF_AND = 0x50,
	BPF_LSH = 0x60,
	BPF_RSH = 0x70,
	BPF_NEG = 0x80,
	BPF_MOD = 0x90,
	BPF_XOR = 0xa0,
	BPF_OP = 0xf0,
};
enum {
	BPF_JA = 0x00,
	BPF_JEQ = 0x10,
	BPF_JGT = 0x20,
	BPF_JGE = 0x30,
	BPF_JSET = 0x40,
};
#define BPF_X 0x08 /* the operand is X, not k */
#define BPF_A 0x10 /* A is returned, not k */
#define BPF_TXA 0x80

/* What a program looks at. */
struct frame {
	const void *mac; /* addresses; NULL where they are not known */
	const void *start; /* the network header */
	__u64 available;
	__u64 known; /* which of the first 64; ALL_KNOWN unless the header is made up */
	__u32 len; /* of the whole frame */
	__u32 tag; /* of the VLAN: protocol and number; 0: none */
	__u16 protocol; /* of what starts there */
	__u16 link_len; /* 14; 18 with a tag */
	bool has_addresses;
};
#define ALL_KNOWN ~0ULL
#define ADDRESSES_LEN 12
#define TAG_LEN 4

/* The link's header, and as much of the next one as a load can take with it. */
struct ethernet {
	__u8 bytes[LINK_LEN + TAG_LEN + 4] __attribute__((aligned(8)));
};

/* Classic BPF's registers; its memory is apart, so that these stay registers here. */
struct machine {
	__u32 a;
	__u32 x;
};

static __always_inline bool is_known(const struct frame *f, __u64 at, __u64 size)
{
	__u64 wanted = (1ULL << size) - 1;

	return f->known == ALL_KNOWN || (f->known >> at & wanted) == wanted;
}

/* What the link's header says of the next one. */
static __always_inline __u16 link_type(const struct frame *f)
{
	return f->link_len == LINK_LEN ? f->protocol : f->tag >> 16;
}

/* 4, 2 or 1 bytes in network order. A program that loads what is not there matches nothing. */
static __always_inline bool load_bytes(const struct frame *f, const struct ethernet *eth,
				       __u16 code, __u64 at, __u32 *value, enum access how)
{
	__u64 size = 4 >> (code >> 3 & 3);

	if (at < f->link_len) {
		if (at == ADDRESSES_LEN && size == 2) {
			*value = link_type(f);
			return true;
		}
		if (!eth || (at < ADDRESSES_LEN && !f->has_addresses) ||
		    at + size > f->link_len + f->available)
			return false;
		return read_number(value, eth->bytes + at, size, UNTYPED);
	}
	at -= f->link_len;
	if (at > 0xffff || at + size > f->available || !is_known(f, at, size))
		return false;
	return read_number(value, f->start + at, size, how);
}

/* What the classes LD and LDX put into A and X. */
static __always_inline bool load(const struct frame *f, const struct ethernet *eth,
				 const struct machine *m, const __u32 *memory,
				 const struct sock_filter *i, __u32 *value, enum access how)
{
	switch (i->code & BPF_MODE) {
	case BPF_IMM:
		*value = i->k;
		return true;
	case BPF_ABS:
		return load_bytes(f, eth, i->code, i->k, value, how);
	case BPF_IND:
		return load_bytes(f, eth, i->code, (__u64)m->x + i->k, value, how);
	case BPF_MEM:
		*value = memory[i->k & (MEMWORDS - 1)];
		return true;
	case BPF_LEN:
		*value = f->len;
		return f->known == ALL_KNOWN;
	default: /* BPF_MSH: the length of an IPv4 header */
		if (!load_bytes(f, eth, i->code, i->k, value, how))
			return false;
		*value = (*value & 0xf) * 4;
		return true;
	}
}

static __always_inline bool calculate(__u8 operation, __u32 *a, __u32 operand)
{
	switch (operation) {
	case BPF_ADD:
		*a += operand;
		break;
	case BPF_SUB:
		*a -= operand;
		break;
	case BPF_MUL:
		*a *= operand;
		break;
	case BPF_DIV:
		if (!operand)
			return false;
		*a /= operand;
		break;
	case BPF_MOD:
		if (!operand)
			return false;
		*a %= operand;
		break;
	case BPF_OR:
		*a |= operand;
		break;
	case BPF_AND:
		*a &= operand;
		break;
	case BPF_XOR:
		*a ^= operand;
		break;
	case BPF_LSH:
		*a = operand < 32 ? *a << operand : 0;
		break;
	case BPF_RSH:
		*a = operand < 32 ? *a >> operand : 0;
		break;
	case BPF_NEG:
		*a = -*a;
		break;
	}
	return true;
}

static __always_inline __u32 jump(const struct sock_filter *i, __u32 a, __u32 operand)
{
	switch (i->code & BPF_OP) {
	case BPF_JEQ:
		return a == operand ? i->jt : i->jf;
	case BPF_JGT:
		return a > operand ? i->jt : i->jf;
	case BPF_JGE:
		return a >= operand ? i->jt : i->jf;
	case BPF_JSET:
		return a & operand ? i->jt : i->jf;
	default: /* BPF_JA */
		return i->k;
	}
}

/*
 * Inlined at each place that filters: until 6.4 a fault in a typed load of a
 * program with functions of its own takes the kernel down (search_extable).
 */
static __always_inline bool run_pcap(const struct frame *f, const struct ethernet *eth,
				     enum access how)
{
	__u32 memory[MEMWORDS] = {}, at = 0, value;
	struct machine m = {};

	for (int steps = 0; steps < PCAP_MAX; steps++) {
		struct sock_filter i;

		if (at >= PCAP_MAX)
			return false;
		i.code = pcap[at].code;
		i.jt = pcap[at].jt;
		i.jf = pcap[at].jf;
		i.k = pcap[at].k;
		at++;
		value = i.code & BPF_X ? m.x : i.k;
		switch (i.code & BPF_CLASS) {
		case BPF_LD:
			if (!load(f, eth, &m, memory, &i, &m.a, how))
				return false;
			break;
		case BPF_LDX:
			if (!load(f, eth, &m, memory, &i, &m.x, how))
				return false;
			break;
		case BPF_ST:
			memory[i.k & (MEMWORDS - 1)] = m.a;
			break;
		case BPF_STX:
			memory[i.k & (MEMWORDS - 1)] = m.x;
			break;
		case BPF_ALU:
			if (!calculate(i.code & BPF_OP, &m.a, value))
				return false;
			break;
		case BPF_JMP:
			at += jump(&i, m.a, value);
			break;
		case BPF_RET:
			return i.code & BPF_A ? m.a : i.k;
		case BPF_MISC:
			if (i.code & BPF_TXA)
				m.a = m.x;
			else
				m.x = m.a;
			break;
		}
	}
	return false;
}

/* What a tunnel carries: where it is, from the network header on, and what. */
struct inner {
	__u32 at; /* 0: nothing that is known */
	__u16 protocol;
};

/*
 * ERSPAN in GRE. Type I has no header of its own and no number in GRE's, type II
 * has 8 bytes, type III 12 and, as the last bit says, 8 more.
 */
static __always_inline __u32 erspan_header(const __u8 *gre, const void *header)
{
	__u8 last = 0;

	if (be16(gre + 2) == ETH_P_ERSPAN)
		return gre[0] & 0x10 ? 8 : 0;
	bpf_probe_read_kernel(&last, sizeof(last), header + 11);
	return last & 1 ? 20 : 12;
}

/* GRE: a checksum, a key and a number may follow, 4 bytes each. RFC 2890. */
static __always_inline void enter_gre(struct inner *in, const __u8 *h, const void *header)
{
	__u32 optional = !!(h[0] & 0x80) + !!(h[0] & 0x20) + !!(h[0] & 0x10);

	in->protocol = be16(h + 2);
	in->at += 4 + 4 * optional;
	if (in->protocol != ETH_P_ERSPAN && in->protocol != ETH_P_ERSPAN2)
		return;
	in->at += erspan_header(h, header + 4 + 4 * optional);
	in->protocol = ETH_P_TEB;
}

/* UDP and what is in it: VXLAN (RFC 7348) or Geneve (RFC 8926). */
static __always_inline void enter_udp(struct inner *in, const __u8 *h)
{
	switch (be16(h + 2)) {
	case PORT_VXLAN:
	case PORT_VXLAN_LINUX:
		in->protocol = ETH_P_TEB;
		in->at += 8 + 8;
		break;
	case PORT_GENEVE:
		in->protocol = be16(h + 10);
		in->at += 8 + 8 + (h[8] & 0x3f) * 4;
		break;
	}
}

/* Where the tunnel's header is, and which protocol it has; 0 if there is none. */
static __always_inline __u32 find_tunnel(const struct packet *p, __u8 *protocol)
{
	const __u8 *h = p->header;

	if (p->available < 40)
		return 0;
	if (p->protocol == ETH_P_IPV6) {
		*protocol = h[6];
		return skip_extensions(p, protocol);
	}
	*protocol = h[9];
	return p->protocol == ETH_P_IP && !(be16(h + 6) & 0x1fff) ? (h[0] & 0xf) * 4 : 0;
}

static __always_inline void find_inner(struct inner *in, const struct packet *p)
{
	__u8 protocol = 0, bytes[16] = {};
	__u32 tunnel = find_tunnel(p, &protocol);

	in->at = tunnel;
	in->protocol = 0;
	if (!tunnel)
		return;
	if (protocol == IPPROTO_IPIP) {
		in->protocol = ETH_P_IP;
	} else if (protocol == IPPROTO_IPV6) {
		in->protocol = ETH_P_IPV6;
	} else if (!bpf_probe_read_kernel(bytes, sizeof(bytes), p->network + tunnel)) {
		if (protocol == IPPROTO_GRE)
			enter_gre(in, bytes, p->network + tunnel);
		else if (protocol == IPPROTO_UDP)
			enter_udp(in, bytes);
	}
	if (in->protocol != ETH_P_IP && in->protocol != ETH_P_IPV6 && in->protocol != ETH_P_TEB)
		in->at = 0;
}

static __always_inline bool is_vlan(__u16 protocol)
{
	return protocol == ETH_P_8021Q || protocol == ETH_P_8021AD;
}

/* Takes a VLAN's tag off that is the first of the bytes. */
static __always_inline bool untag(struct frame *f)
{
	__u16 tag[2] = {};

	if (bpf_probe_read_kernel(tag, sizeof(tag), f->start))
		return false;
	f->tag = (__u32)f->protocol << 16 | __builtin_bswap16(tag[0]);
	f->protocol = __builtin_bswap16(tag[1]);
	f->start += TAG_LEN;
	return true;
}

/* The frame in a tunnel. */
static __always_inline bool find_inner_frame(struct frame *f, const struct packet *p)
{
	struct inner in;
	__u16 protocol = 0;

	find_inner(&in, p);
	if (!in.at)
		return false;
	f->start = p->network + in.at;
	f->protocol = in.protocol;
	if (in.protocol != ETH_P_TEB)
		return true;
	f->mac = f->start;
	f->start += LINK_LEN;
	if (bpf_probe_read_kernel(&protocol, sizeof(protocol), f->mac + ADDRESSES_LEN))
		return false;
	f->protocol = __builtin_bswap16(protocol);
	return !is_vlan(f->protocol) || untag(f);
}

/* The link's header, if there is nothing but tags between it and the network header. */
static __always_inline const void *mac_header(const struct packet *p, enum access how)
{
	__u16 offset = get16(&p->skb->mac_header, how);
	const void *mac = (const void *)p->head + offset;
	__u64 gap = p->network - mac;

	if (offset == NO_MAC_HEADER || gap < LINK_LEN || (gap - LINK_LEN) % TAG_LEN ||
	    gap > LINK_LEN + 2 * TAG_LEN)
		return NULL;
	return mac;
}

/*
 * The packet's own frame. Its tag is beside it, or the first of its bytes: then
 * the network header of one that was received is there, of one that is sent
 * behind all tags.
 */
static __always_inline bool find_frame(struct frame *f, const struct packet *p, enum access how)
{
	bool tagged = is_vlan(p->protocol);

	f->protocol = p->protocol;
	if (pcap_link || tagged)
		f->mac = mac_header(p, how);
	if (pcap_vlan || tagged)
		f->tag = vlan_tag(p->skb, how);
	if (!tagged)
		return true;
	if (f->mac)
		f->start = f->mac + LINK_LEN;
	return f->tag || untag(f);
}

/* Asks for addresses without a look whether they are known: what is at NULL cannot be read. */
static __always_inline void fill_link(struct ethernet *eth, struct frame *f)
{
	__u16 *types = (__u16 *)(eth->bytes + ADDRESSES_LEN);

	f->has_addresses = !bpf_probe_read_kernel(eth->bytes, ADDRESSES_LEN, f->mac);
	if (f->link_len != LINK_LEN) {
		*types++ = __builtin_bswap16(f->tag >> 16);
		*types++ = __builtin_bswap16(f->tag);
	}
	*types++ = __builtin_bswap16(f->protocol);
	bpf_probe_read_kernel(types, 4, f->start);
}

static __always_inline bool match_pcap(const struct packet *p, enum access how)
{
	struct frame f = {.start = p->network, .known = ALL_KNOWN, .link_len = LINK_LEN};
	struct ethernet eth = {};
	__s64 before;

	if (!pcap_len)
		return true;
	if (!(pcap_inner ? find_inner_frame(&f, p) : find_frame(&f, p, how)))
		return false;
	before = f.start - p->network;
	if (before > (__s64)p->available)
		return false;
	f.available = p->available - before;
	if (pcap_vlan && f.tag)
		f.link_len += TAG_LEN;
	f.len = f.link_len + p->len - (__u32)(f.start - get_pointer(&p->skb->data, UNTYPED));
	if (pcap_link)
		fill_link(&eth, &f);
	return run_pcap(&f, &eth, how);
}

#endif

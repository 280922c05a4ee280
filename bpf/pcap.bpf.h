/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A pcap-filter expression: libpcap makes a classic BPF program of it, and user
 * space puts that into read-only data. So the verifier follows this one program
 * through the interpreter with all its constants known, and drops the
 * interpreter where there is none. User space has checked the program: known
 * instructions, and jumps that go forward to one of them.
 */
#ifndef NTREC_PCAP_BPF_H
#define NTREC_PCAP_BPF_H

struct sock_filter { /* uapi/linux/filter.h */
	__u16 code;
	__u8 jt;
	__u8 jf;
	__u32 k;
};

#define PCAP_MAX 512 /* instructions of a program */

const volatile struct sock_filter pcap[PCAP_MAX] = {};
const volatile __u32 pcap_len = 0; /* 0: no expression */
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
struct bytes {
	const void *start; /* the network header */
	__u64 available;
	__u64 known; /* which of the first 64; ALL_KNOWN unless the header is made up */
	__u32 len; /* of the whole packet */
};
#define ALL_KNOWN ~0ULL

/* Classic BPF's registers; its memory is apart, so that these stay registers here. */
struct machine {
	__u32 a;
	__u32 x;
};
#define MEMWORDS 4 /* user space numbers those that are used from 0 */

static __always_inline bool is_known(const struct bytes *b, __u64 at, __u64 size)
{
	__u64 wanted = (1ULL << size) - 1;

	return b->known == ALL_KNOWN || (b->known >> at & wanted) == wanted;
}

/* 4, 2 or 1 bytes in network order. A program that loads what is not there matches nothing. */
static __always_inline bool load_bytes(const struct bytes *b, __u16 code, __u64 at, __u32 *value)
{
	__u64 size = 4 >> (code >> 3 & 3);
	__u32 word = 0;

	if (at > 0xffff || at + size > b->available || !is_known(b, at, size))
		return false;
	if (bpf_probe_read_kernel(&word, size, b->start + at))
		return false;
	*value = __builtin_bswap32(word) >> (32 - 8 * size);
	return true;
}

/* What the classes LD and LDX put into A and X. */
static __always_inline bool load(const struct bytes *b, const struct machine *m,
				 const __u32 *memory, const struct sock_filter *i, __u32 *value)
{
	switch (i->code & BPF_MODE) {
	case BPF_IMM:
		*value = i->k;
		return true;
	case BPF_ABS:
		return load_bytes(b, i->code, i->k, value);
	case BPF_IND:
		return load_bytes(b, i->code, (__u64)m->x + i->k, value);
	case BPF_MEM:
		*value = memory[i->k & (MEMWORDS - 1)];
		return true;
	case BPF_LEN:
		*value = b->len;
		return b->known == ALL_KNOWN;
	default: /* BPF_MSH: the length of an IPv4 header */
		if (!load_bytes(b, i->code, i->k, value))
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
static __always_inline bool run_pcap(const struct bytes *b)
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
			if (!load(b, &m, memory, &i, &m.a))
				return false;
			break;
		case BPF_LDX:
			if (!load(b, &m, memory, &i, &m.x))
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

/* Bytes of a tunnel's header before the packet in it; 0 if it carries something else. */
static __always_inline __u32 before_inner(__u16 ethertype, __u32 header)
{
	if (ethertype == ETH_P_TEB)
		return header + 14;
	return ethertype == ETH_P_IP || ethertype == ETH_P_IPV6 ? header : 0;
}

/* GRE: a checksum, a key and a number may follow, 4 bytes each. RFC 2890. */
static __always_inline __u32 gre_header(const __u8 *h)
{
	__u32 optional = !!(h[0] & 0x80) + !!(h[0] & 0x20) + !!(h[0] & 0x10);

	return before_inner(be16(h + 2), 4 + 4 * optional);
}

/* UDP and what is in it: VXLAN (RFC 7348) or Geneve (RFC 8926). */
static __always_inline __u32 udp_header(const __u8 *h)
{
	switch (be16(h + 2)) {
	case PORT_VXLAN:
	case PORT_VXLAN_LINUX:
		return 8 + 8 + 14;
	case PORT_GENEVE:
		return before_inner(be16(h + 10), 8 + 8 + (h[8] & 0x3f) * 4);
	}
	return 0;
}

/* Where the packet in a tunnel is, from the network header on; 0 if this is no tunnel's. */
static __always_inline __u32 inner_offset(const struct packet *p)
{
	const __u8 *h = p->header;
	bool six = h[0] >> 4 == 6;
	__u32 outer = six ? 40 : (h[0] & 0xf) * 4, tunnel;
	__u8 protocol = six ? h[6] : h[9], bytes[16] = {};

	if (p->available < 40 || (!six && be16(h + 6) & 0x1fff))
		return 0;
	if (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6)
		return outer;
	if (bpf_probe_read_kernel(bytes, sizeof(bytes), p->network + outer))
		return 0;
	tunnel = protocol == IPPROTO_GRE   ? gre_header(bytes)
		 : protocol == IPPROTO_UDP ? udp_header(bytes)
					   : 0;
	return tunnel ? outer + tunnel : 0;
}

static __always_inline bool match_pcap(const struct packet *p)
{
	struct bytes b = {.start = p->network, .available = p->available, .known = ALL_KNOWN};
	__u32 inner;

	if (!pcap_len)
		return true;
	b.len = p->len - (__u32)(p->network - get_pointer(&p->skb->data, UNTYPED));
	if (pcap_inner) {
		inner = inner_offset(p);
		if (!inner || inner > p->available)
			return false;
		b.start += inner;
		b.available -= inner;
		b.len -= inner;
	}
	return run_pcap(&b);
}

#endif

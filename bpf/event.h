/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire record: what a probe puts into the ring buffer. This is its only
 * definition; the build makes the Rust types from it (recorder/rows/record.rs).
 *
 * A record is the fixed part followed by the parts named in `parts`, in the
 * order of enum part. Nothing is decoded here: addresses are addresses, enums
 * are numbers of this kernel.
 */
#ifndef NTREC_EVENT_H
#define NTREC_EVENT_H

enum limits {
	NAME_LEN = 16, /* IFNAMSIZ and TASK_COMM_LEN */
	STACK_DEPTH = 32, /* frames kept of a kernel stack */
	HEADER_SHORT = 64, /* bytes from the network header: TCP or UDP over IPv4, with options */
	HEADER_LONG = 128, /* IPv6, long options, tunnels */
	TABLE_LEN = 64, /* of a table's name: XT_TABLE_MAXNAMELEN is 32, nftables' have no bound */
	CHAIN_LEN = 128, /* NFT_CHAIN_MAXNAMELEN */
	MOST_HOOKS = 16, /* functions kept of one netfilter hook */
	PROBES = 1024, /* tracepoints and functions of one capture */
	FILTER_MAX = 8, /* entries of each list of a filter */
	PCAP_MAX = 512, /* instructions of a filter expression */
	MEMWORDS = 4, /* words of memory of an expression, numbered from 0 by user space */
};

/* Numbers that both sides must know. */
enum constant {
	NO_ARGUMENT = 0xff, /* the place of an argument that is not there */
	NUMBER_HERE = 0x4e545245, /* an instruction into which a copy's number is written */
	RDONLY_CAST = 0x7fffffff, /* stands for the id of bpf_rdonly_cast in a call */
	PORT_VXLAN = 4789, /* of UDP tunnels, whose inner headers are worth the long form */
	PORT_VXLAN_LINUX = 8472,
	PORT_GENEVE = 6081,
};

/*
 * enum probe: every tracepoint of the catalog by its name in capitals, in its
 * order, made by the build. Numbers from PROBE_MAX on are kernel functions,
 * which user space chooses.
 */
#include "probes.h"

/* What an argument of a tracepoint or function is to us; its position comes from BTF. */
enum role {
	ROLE_SKB,
	ROLE_SK,
	ROLE_REASON,
	ROLE_LOCATION, /* void *: where a packet is freed */
	ROLE_KEY, /* void *: a neighbour's address */
	ROLE_CHAIN, /* void *: struct nft_chain */
	ROLE_NEIGH,
	ROLE_DEV,
	ROLE_REQUEST,
	ROLE_FIRST, /* the first integer that has no other role */
	ROLE_SECOND, /* the second one */
	ROLE_THIRD,
	ROLE_SKB2, /* the second packet */
	ROLE_SKB_REF, /* struct sk_buff ** */
	ROLE_PKTINFO, /* struct nft_pktinfo * */
	ROLE_SOCKET, /* struct socket * */
	ROLE_STATE, /* struct nf_hook_state * */
	ROLE_TABLE, /* struct xt_table *, or void * (5.16) */
	ROLE_ENTRIES, /* struct nf_hook_entries * */
	ROLE_TRACEINFO, /* struct nft_traceinfo * */
	ROLE_VERDICT, /* struct nft_verdict * */
	ROLE_RULE, /* struct nft_rule_dp * */
	ROLE_RETURN, /* behind the last argument: what fexit is given */
	ROLE_MAX,
};

/* Parts that follow the fixed part, lowest bit first. */
enum part {
	PART_FREE = 1,
	PART_SOCK = 2,
	PART_HEADER_SHORT = 4,
	PART_HEADER_LONG = 8,
	PART_STACK = 16,
	PART_CALL = 32,
	PART_NETFILTER = 64,
	PART_HOOKS = 128,
	PART_ROOM = 256, /* no part: there is room for all up to the stack */
};

/* What an event of a function is. */
enum form {
	FORM_ENTRY, /* of a tracepoint, too */
	FORM_RETURN,
	FORM_LINK,
};

/* What is done at a probe, as far as a program must know. */
enum probe_flag {
	PROBE_RETURNS = 1, /* the function's return is recorded */
	PROBE_STARTS = 2, /* a packet may start to match here */
	PROBE_ENDS = 4, /* the packet ends here */
	PROBE_RECEIVES = 8, /* skb->data is the network header */
	PROBE_TYPED = 16, /* a tracepoint: tp_btf; else raw_tp */
	PROBE_STACK = 32, /* with the kernel's stack */
	PROBE_RTT = 64, /* the second and third integer are RTTs, us; negative: none */
};

/* How a function makes another packet of one: where the child is. */
enum link {
	LINK_NONE,
	LINK_RETURN, /* the return value */
	LINK_LIST, /* the return value, and its next ones */
	LINK_IF_ZERO, /* the second packet is the parent of the first, if 0 is returned */
	LINK_IF_TRUE, /* the same, if something else is */
	LINK_FRAG_LIST, /* at the call: those that wait in the packet's frag_list */
	LINK_ITSELF, /* at the call: the packet, under other headers from here on */
};

/* Which verdict of netfilter a function gives. */
enum netfilter {
	NETFILTER_NONE,
	NETFILTER_HOOK, /* nf_hook_slow, and the functions that it calls */
	NETFILTER_XTABLES, /* ipt_do_table and its kin */
	NETFILTER_NFTABLES, /* nft_do_chain */
	NETFILTER_TRACE, /* nft_trace_notify: at its call, not at its return */
};

/* What the programs know of a probe, in half a cache line. */
struct setup {
	__u8 arguments[ROLE_MAX]; /* where each is; NO_ARGUMENT */
	__u8 flags; /* enum probe_flag */
	__u8 link; /* enum link */
	__u8 netfilter; /* enum netfilter */
	__u8 pad[6];
};
_Static_assert(sizeof(struct setup) == 32, "two in a cache line");

enum context {
	CTX_TASK,
	CTX_SOFTIRQ,
};

struct record {
	__u64 ts; /* CLOCK_MONOTONIC, ns; taken once the packet has passed the filters */
	__u64 seq; /* counts the kernel's events on this CPU, lost ones too */
	__u64 skb;
	__u64 head;
	__u64 sk;
	__s64 ret; /* the probe's integer: return value, error, length; see has_ret */
	__u32 pid;
	__u32 tid;
	char comm[NAME_LEN];
	char dev[NAME_LEN];
	__u32 netns;
	__u32 ifindex;
	__u32 iif;
	__u32 len;
	__u32 data_len;
	__u32 mark;
	__u32 hash;
	__u16 protocol; /* network byte order */
	__u16 queue;
	__u16 gso_size;
	__u16 gso_segs;
	__u16 cpu;
	__u16 probe; /* enum probe, or a function's number */
	__u16 parts; /* enum part */
	__u8 form; /* enum form */
	__u8 ctx; /* enum context */
	__u8 header_len; /* valid bytes of the header part */
	__u8 frames; /* valid frames of the stack part */
	__u8 has_ret;
	__u8 pad;
};

/* kfree_skb, consume_skb, resets, ICMP errors: why and where. */
struct free_part {
	__u64 location;
	__u32 reason; /* skb_drop_reason or sk_rst_reason */
	__u8 icmp_type; /* icmp_send only */
	__u8 icmp_code;
	__u8 has_reason;
	__u8 pad;
};

/* A socket, or a neighbour (then only family, daddr and the states). */
struct sock_part {
	__u8 saddr[16]
		__attribute__((aligned(8))); /* the local side; IPv4 in the first four bytes */
	__u8 daddr[16];
	__u16 sport; /* host byte order */
	__u16 dport;
	__u16 family; /* AF_INET, ... */
	__u16 protocol; /* IPPROTO_TCP, ... */
	__u8 old_state;
	__u8 new_state;
	__u8 ca_state;
	__u8 has_tcp; /* the fields from snd_nxt on are valid */
	__u8 has_states; /* old_state is valid too */
	__u8 tcp_flags; /* of the segment that is sent again */
	__u8 has_seq;
	__u8 pad;
	__u32 seq;
	__u32 rmem;
	__u32 rcvbuf;
	__u32 wmem;
	__u32 sndbuf;
	__u32 backlog;
	__u32 max_backlog;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 snd_cwnd;
	__u32 ssthresh;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 srtt;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 total_retrans;
	__u32 min_rtt; /* us; 0 where none was measured */
	__u32 pad2;
};

/* A function's return, or a packet that was made of another. */
struct call_part {
	__u64 entry; /* of a return: cpu << 48 | seq of the call's own event */
	__u64 child; /* of a link: the other packet */
};

/* A verdict of netfilter, given at a function's return, or a step of nftables' rules. */
struct netfilter_part {
	char table[TABLE_LEN];
	char chain[CHAIN_LEN];
	__u64 handle; /* of the rule; 0: none */
	__u8 pf; /* of the hook: NFPROTO_IPV4, ... */
	__u8 hook; /* NF_INET_PRE_ROUTING, ... */
	__u8 family; /* of the table, or that of the hook */
	__u8 step; /* enum nft_trace_types */
	__u8 pad[4];
};

/* The functions that nf_hook_slow calls one after the other. */
struct hooks_part {
	__u64 functions[MOST_HOOKS];
	__u32 count; /* of all, those without room too */
	__u32 pad;
};

_Static_assert(sizeof(struct record) == 136, "no implicit padding on the wire");
_Static_assert(sizeof(struct free_part) == 16, "no implicit padding on the wire");
_Static_assert(sizeof(struct sock_part) == 136, "no implicit padding on the wire");
_Static_assert(sizeof(struct call_part) == 16, "no implicit padding on the wire");
_Static_assert(sizeof(struct netfilter_part) == 208, "no implicit padding on the wire");
_Static_assert(sizeof(struct hooks_part) == 136, "no implicit padding on the wire");

/* Capture filters; a list is looked at if it is asked for. */

/* An address with its prefix; IPv4 as ::ffff:a.b.c.d. */
struct prefix {
	__u64 addr[2];
	__u64 mask[2];
};

struct prefixes {
	struct prefix list[FILTER_MAX];
	__u32 n;
	__u32 pad;
};

struct range {
	__u32 from;
	__u32 to;
};

struct ranges {
	struct range list[FILTER_MAX];
	__u32 n;
};

struct numbers {
	__u32 list[FILTER_MAX];
	__u32 n;
};

struct names {
	__u64 list[FILTER_MAX][NAME_LEN / 8];
	__u32 n;
	__u32 pad;
};

/* What the filters ask for. */
enum ask {
	ASK_SRC = 1,
	ASK_DST = 2,
	ASK_ADDR = 4,
	ASK_SPORT = 8,
	ASK_DPORT = 16,
	ASK_PORT = 32,
	ASK_PROTO = 64,
	ASK_DEV = 128,
	ASK_NETNS = 256,
	ASK_PID = 512,
	ASK_LEN = 1024,
	ASK_TCP_FLAGS = 2048,
	ASK_EXPRESSION = 4096,
	ASK_MATCH = 8192, /* nothing but where a packet may start to match */
};

struct filter {
	__u32 asks; /* enum ask; 0: there is no filter */
	__u32 tcp_flags; /* any of these */
	struct prefixes src, dst, addr;
	struct names dev;
	struct ranges sport, dport, port, len;
	struct numbers ethertype; /* host byte order */
	struct numbers l4; /* IP protocol numbers */
	struct numbers netns, pid;
};

/* Per-CPU counters; `seq` numbers the events of this CPU. */
struct cpu_state {
	__u64 seq;
	__u64 received; /* address of the matched packet that this CPU delivers now */
	__u64 due; /* when the next event is due by --rate-limit, ns */
	__u64 left_out; /* events beyond --rate-limit; `lost` has them too */
	__u64 counted[PROBES];
	__u64 lost[PROBES];
};

/* Where a packet that matched was last seen, to tell its address's next user. */
struct track {
	__u64 head;
	__u32 queued_on; /* ifindex of its first net_dev_queue on this stack */
	__u32 stage; /* enum stage */
};

enum stage {
	STAGE_QUEUED = 1, /* net_dev_queue, net_dev_start_xmit */
	STAGE_SENT, /* net_dev_xmit */
	STAGE_DRIVER, /* handed over by a driver */
	STAGE_STACK, /* netif_receive_skb and deeper */
};

#endif

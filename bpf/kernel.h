/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's types, cut down to the fields that the hooks read. CO-RE finds
 * their places on the kernel at hand, so no vmlinux.h of one kernel is needed.
 */
#ifndef NTREC_KERNEL_H
#define NTREC_KERNEL_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef signed short __s16;
typedef unsigned int __u32;
typedef signed int __s32;
typedef unsigned long long __u64;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
	BPF_ANY = 0,
};
enum {
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};
enum {
	BPF_RB_AVAIL_DATA = 0,
};

/* uapi/linux/in.h, socket.h, if_ether.h, icmp.h */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_IPIP 4
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define IPPROTO_GRE 47
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_TEB 0x6558 /* Ethernet in a tunnel */
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_P_ERSPAN 0x88BE /* types I and II */
#define ETH_P_ERSPAN2 0x22EB /* type III */

/* linux/skbuff.h: what mac_header is where there is none */
#define NO_MAC_HEADER 0xffff

/* linux/interrupt.h */
#define NET_RX_SOFTIRQ 3

/* uapi/linux/netfilter.h, uapi/linux/netfilter/nf_tables.h */
#define NF_STOLEN 2
#define NF_VERDICT_MASK 0xff
#define NFT_CONTINUE -1
#define NFT_RETURN -5
enum nft_trace_types {
	NFT_TRACETYPE_UNSPEC,
	NFT_TRACETYPE_POLICY,
	NFT_TRACETYPE_RETURN,
	NFT_TRACETYPE_RULE,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct pt_regs {
	__u64 orig_ax;
};

struct task_struct {
	void *stack;
	unsigned int flags;
	int pid;
	int tgid;
	char comm[16];
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	int sk_rcvbuf;
	int sk_sndbuf;
	int sk_wmem_queued;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	__u16 sk_protocol;
};

struct inet_sock {
	__be16 inet_sport;
};

struct inet_connection_sock {
	__u8 icsk_ca_state : 5;
};

struct minmax_sample {
	__u32 t;
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 srtt_us;
	struct minmax rtt_min;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 total_retrans;
};

struct request_sock {
	struct sock_common __req_common;
};

struct tcp_skb_cb {
	__u32 seq;
	__u8 tcp_flags;
};

struct socket {
	struct sock *sk;
};

struct nf_hook_state {
	__u8 hook;
	__u8 pf;
};

struct nf_hook_entry {
	void *hook;
	void *priv;
};

struct nf_hook_entries {
	__u16 num_hook_entries;
	struct nf_hook_entry hooks[];
};

struct xt_table {
	char name[32];
};

struct nft_table {
	__u16 family : 6;
	char *name;
};

struct nft_chain {
	struct nft_table *table;
	char *name;
};

struct nft_pktinfo {
	struct sk_buff *skb;
	const struct nf_hook_state *state;
};

/* Until 5.13 nft_pktinfo held what xtables are given. */
struct xt_action_param {
	const struct nf_hook_state *state;
};
struct nft_pktinfo___5_12 {
	struct xt_action_param xt;
};

struct nft_base_chain {
	__u8 policy;
	struct nft_chain chain;
};

struct nft_verdict {
	__u32 code;
};

/*
 * The rules of a chain stand one behind the other, each with its expressions (dlen);
 * the last is none, but names the chain (6.4).
 */
struct nft_rule_dp {
	__u64 is_last : 1;
	__u64 dlen : 12;
	__u64 handle : 42;
};
struct nft_rule_dp_last {
	const struct nft_chain *chain;
};

/* Until 5.16 traced rules were these. */
struct nft_rule {
	__u64 handle : 42;
};

struct nft_traceinfo {
	enum nft_trace_types type : 8;
	const struct nft_base_chain *basechain;
};

/* Until 6.3 it held all that is traced. */
struct nft_traceinfo___6_3 {
	const struct nft_pktinfo *pkt;
	const struct nft_chain *chain;
	const void *rule;
	const struct nft_verdict *verdict;
};

struct page {
};

/* skb_frag_t until 6.9 */
struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

/* skb_frag_t since 6.9 */
struct skb_frag {
	unsigned long netmem;
	unsigned int len;
	unsigned int offset;
};

struct skb_shared_info {
	__u8 nr_frags;
	unsigned short gso_size;
	unsigned short gso_segs;
	struct sk_buff *frag_list;
	struct bio_vec frags[1];
};

struct sk_buff {
	struct sk_buff *next;
	struct net_device *dev;
	struct sock *sk;
	char cb[48];
	unsigned int len;
	unsigned int data_len;
	__u16 queue_mapping;
	int skb_iif;
	__u32 hash;
	__u32 mark;
	__u8 vlan_present : 1; /* until 6.2 */
	__be16 vlan_proto;
	__u16 vlan_tci;
	__be16 protocol;
	__u16 network_header;
	__u16 mac_header;
	unsigned int tail;
	unsigned int end;
	unsigned char *head;
	unsigned char *data;
};

struct neigh_table {
	int family;
};

struct neighbour {
	struct neigh_table *tbl;
	__u8 nud_state;
	struct net_device *dev;
	__u8 primary_key[0];
};

/* Begins with 65 bytes: whatever is taken for one can be read by words (read_words()). */
struct new_utsname {
	char sysname[65];
};

#pragma clang attribute pop

#endif

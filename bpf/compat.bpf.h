/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where kernels differ. The rest of the code never mentions a version. */
#ifndef NTREC_COMPAT_BPF_H
#define NTREC_COMPAT_BPF_H

/* Helpers that not every kernel has; CO-RE finds out which do. */
enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158, /* 5.11 */
	BPF_FUNC_get_attach_cookie = 174, /* 5.15 */
	BPF_FUNC_task_pt_regs = 175, /* 5.15 */
};

/*
 * How a pointer may be read: the kernel knows the type of what tracepoints and
 * fentry hand over, so that its fields are loads; a kprobe's registers are
 * numbers, whose memory only a helper may read.
 */
enum access {
	TYPED,
	UNTYPED,
};

static __always_inline __u64 get64(const void *field, enum access how)
{
	__u64 value = 0;

	if (how == TYPED)
		return *(const __u64 *)field;
	bpf_probe_read_kernel(&value, sizeof(value), field);
	return value;
}

static __always_inline void *get_pointer(const void *field, enum access how)
{
	return (void *)get64(field, how);
}

static __always_inline __u32 get32(const void *field, enum access how)
{
	__u32 value = 0;

	if (how == TYPED)
		return *(const __u32 *)field;
	bpf_probe_read_kernel(&value, sizeof(value), field);
	return value;
}

static __always_inline __u16 get16(const void *field, enum access how)
{
	__u16 value = 0;

	if (how == TYPED)
		return *(const __u16 *)field;
	bpf_probe_read_kernel(&value, sizeof(value), field);
	return value;
}

static __always_inline __u8 get8(const volatile void *field, enum access how)
{
	__u8 value = 0;

	if (how == TYPED)
		return *(const __u8 *)field;
	bpf_probe_read_kernel(&value, sizeof(value), (const void *)field);
	return value;
}

/* A name as tasks and devices have it; what is typed needs no helper. */
static __always_inline void read_name(char *to, const char *from, enum access how)
{
	if (how == UNTYPED) {
		bpf_probe_read_kernel(to, NAME_LEN, from);
		return;
	}
	((__u64 *)to)[0] = get64(from, how);
	((__u64 *)to)[1] = get64(from + 8, how);
}

/*
 * Memory of no type, such as headers. Since 6.2 a typed program may say of which
 * type it is, and then loads are enough (bpf_rdonly_cast). User space makes this
 * the call of that function: were it a symbol, a weak one too, libbpf would ask
 * for BTF of the running kernel's own.
 */
const volatile __u8 can_cast = 0;
static const void *(*const rdonly_cast)(const void *, __u32) = (void *)RDONLY_CAST;

static __always_inline bool is_plain(enum access how)
{
	return how == TYPED && can_cast;
}

static __always_inline const void *plain(const void *p)
{
	return rdonly_cast(p, bpf_core_type_id_kernel(struct new_utsname));
}

/* Copies 8 * `n` bytes, 64 at most; returns whether it could. */
static __always_inline bool read_words(__u64 *to, const void *from, __u32 n, enum access how)
{
	const __u64 *words;

	if (!is_plain(how))
		return !bpf_probe_read_kernel(to, n * sizeof(*to), from);
	words = plain(from);
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < n; i++)
		to[i] = words[i];
	return true;
}

/* Two numbers of 16 bits, one behind the other. */
static __always_inline void read_pair(__u16 *to, const void *from, enum access how)
{
	__u32 both = 0;

	if (is_plain(how))
		both = *(const __u32 *)plain(from);
	else
		bpf_probe_read_kernel(&both, sizeof(both), from);
	__builtin_memcpy(to, &both, sizeof(both));
}

/* 4, 2 or 1 bytes in network order; returns whether it could. */
static __always_inline bool read_number(__u32 *value, const void *from, __u32 size, enum access how)
{
	__u32 word = 0;

	if (is_plain(how) && size == 4)
		word = *(const __u32 *)plain(from);
	else if (is_plain(how) && size == 2)
		word = *(const __u16 *)plain(from);
	else if (is_plain(how))
		word = *(const __u8 *)plain(from);
	else if (bpf_probe_read_kernel(&word, size, from))
		return false;
	*value = __builtin_bswap32(word) >> (32 - 8 * size);
	return true;
}

/* Bytes of a packet that lie in a page. */
struct piece {
	const void *at;
	__u32 len;
};

#define NET_IOV 1 /* of skb_frag.netmem: memory of a device (include/net/netmem.h) */
#define PAGE_SHIFT 12

/* arch/x86: where the array of all pages and the mapping of all memory begin; KASLR moves them. */
extern const void vmemmap_base __ksym __weak;
extern const void page_offset_base __ksym __weak;

static __always_inline __u64 read_piece(struct piece *piece, const struct skb_shared_info *shared)
{
	const struct bio_vec *vec = shared->frags;
	const struct skb_frag *frag = (void *)vec;

	if (bpf_core_field_exists(frag->netmem)) {
		piece->len = BPF_CORE_READ(frag, len);
		piece->at = (void *)(__u64)BPF_CORE_READ(frag, offset);
		return BPF_CORE_READ(frag, netmem);
	}
	piece->len = BPF_CORE_READ(vec, bv_len);
	piece->at = (void *)(__u64)BPF_CORE_READ(vec, bv_offset);
	return (__u64)BPF_CORE_READ(vec, bv_page);
}

/*
 * What of a packet comes behind its linear part: drivers may leave all but the
 * headers in pages, and so do senders that do not copy (splice, zerocopy). A
 * page's address is page_address()'s of x86-64 with KASLR; 0 bytes elsewhere,
 * and where the kernel does not tell its variables (CONFIG_KALLSYMS_ALL).
 */
static __always_inline void first_piece(const struct sk_buff *skb, struct piece *piece)
{
	const struct skb_shared_info *shared = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end);
	__u64 pages = 0, memory = 0, page;

	piece->len = 0;
	if (!&vmemmap_base || !&page_offset_base || !BPF_CORE_READ(shared, nr_frags) ||
	    bpf_probe_read_kernel(&pages, sizeof(pages), &vmemmap_base) ||
	    bpf_probe_read_kernel(&memory, sizeof(memory), &page_offset_base))
		return;
	page = read_piece(piece, shared);
	if (page & NET_IOV) {
		piece->len = 0;
		return;
	}
	page = (page - pages) / bpf_core_type_size(struct page);
	piece->at += memory + (page << PAGE_SHIFT);
}

/*
 * The VLAN's tag beside a packet: its protocol and its number; 0 if there is none.
 * Until 6.2 a bit says whether there is one, and the rest may be an old one's.
 */
static __always_inline __u32 vlan_tag(const struct sk_buff *skb, enum access how)
{
	__u64 present = 1;

	if (bpf_core_field_exists(skb->vlan_present))
		present = how == TYPED ? BPF_CORE_READ_BITFIELD(skb, vlan_present)
				       : BPF_CORE_READ_BITFIELD_PROBED(skb, vlan_present);
	if (!present)
		return 0;
	return (__u32)__builtin_bswap16(get16(&skb->vlan_proto, how)) << 16 |
	       get16(&skb->vlan_tci, how);
}

/*
 * Which context a probe runs in. The preempt count would say it, but kernels
 * without CONFIG_KALLSYMS_ALL hide the variable from BPF. The stack says it
 * too: a tracepoint's arguments lie on the stack in use, and softirqs run on a
 * stack of their own (do_softirq_own_stack) unless ksoftirqd runs them.
 * Interrupts share that stack; no probe of ours is called by one as a rule. An
 * interrupt that comes while the task is in user space stays on the task's
 * stack: there the entry's registers tell, which hold no system call's number
 * (x86: orig_ax is -1).
 */
#define THREAD_SIZE (16 << 10) /* x86-64 and arm64 */
#define PF_KTHREAD 0x00200000

static __always_inline bool is_ksoftirqd(const struct task_struct *task, enum access how)
{
	union {
		__u32 word;
		char letters[4];
	} comm;

	if (!(get32(&task->flags, how) & PF_KTHREAD))
		return false;
	comm.word = get32(task->comm, how);
	return comm.letters[0] == 'k' && comm.letters[1] == 's' && comm.letters[2] == 'o' &&
	       comm.letters[3] == 'f';
}

/* Until 5.15 the registers' place at the end of the task's stack has to be calculated. */
static __always_inline bool interrupted_user_space(struct task_struct *task, const char *stack,
						   enum access how)
{
	const struct pt_regs *regs = NULL;
	__u64 orig_ax = 0;

	if (get32(&task->flags, how) & PF_KTHREAD || !bpf_core_field_exists(regs->orig_ax))
		return false;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		regs = (void *)bpf_task_pt_regs(task);
		return regs->orig_ax == -1ULL;
	}
	regs = (void *)(stack + THREAD_SIZE - bpf_core_type_size(struct pt_regs));
	bpf_probe_read_kernel(&orig_ax, sizeof(orig_ax), &regs->orig_ax);
	return orig_ax == -1ULL;
}

/* The verifier lets nobody calculate with the address of a context or packet, but with half of it. */
static __always_inline __u32 low_half(const void *pointer)
{
	__u64 half;

	asm volatile("r0 = %1\n\tw0 = w0\n\t%0 = r0" : "=r"(half) : "r"(pointer) : "r0");
	return half;
}

static __always_inline __u8 context_of(const void *ctx, struct task_struct *task, enum access how)
{
	const char *stack = get_pointer(&task->stack, how);
	__u32 above = low_half(ctx) - (__u32)(__u64)stack;

	if (above >= THREAD_SIZE || is_ksoftirqd(task, how) ||
	    interrupted_user_space(task, stack, how))
		return CTX_SOFTIRQ;
	return CTX_TASK;
}

static __always_inline __u8 context(const void *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return context_of(ctx, bpf_get_current_task_btf(), TYPED);
	return context_of(ctx, (void *)bpf_get_current_task(), UNTYPED);
}

/*
 * Arguments of a tracepoint or fentry. kfree_skb has had three signatures, others have
 * grown too, so the position is looked up in BTF by user space and stands in
 * read-only data. Each load is an instruction of its own: the compiler would
 * merge them into one at a computed offset, which the verifier refuses.
 */
static __always_inline __u64 load_argument(__u64 *ctx, __u8 position)
{
	__u64 value = 0;

	switch (position) {
	case 0:
		asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(value) : "r"(ctx));
		break;
	case 1:
		asm volatile("%0 = *(u64 *)(%1 + 8)" : "=r"(value) : "r"(ctx));
		break;
	case 2:
		asm volatile("%0 = *(u64 *)(%1 + 16)" : "=r"(value) : "r"(ctx));
		break;
	case 3:
		asm volatile("%0 = *(u64 *)(%1 + 24)" : "=r"(value) : "r"(ctx));
		break;
	case 4:
		asm volatile("%0 = *(u64 *)(%1 + 32)" : "=r"(value) : "r"(ctx));
		break;
	case 5:
		asm volatile("%0 = *(u64 *)(%1 + 40)" : "=r"(value) : "r"(ctx));
		break;
	case 6:
		asm volatile("%0 = *(u64 *)(%1 + 48)" : "=r"(value) : "r"(ctx));
		break;
	case 7:
		asm volatile("%0 = *(u64 *)(%1 + 56)" : "=r"(value) : "r"(ctx));
		break;
	case 8:
		asm volatile("%0 = *(u64 *)(%1 + 64)" : "=r"(value) : "r"(ctx));
		break;
	case 9:
		asm volatile("%0 = *(u64 *)(%1 + 72)" : "=r"(value) : "r"(ctx));
		break;
	case 10:
		asm volatile("%0 = *(u64 *)(%1 + 80)" : "=r"(value) : "r"(ctx));
		break;
	}
	return value;
}

/*
 * The registers that a kprobe is given: struct pt_regs, which is part of the
 * kernel's user interface (arch/x86, arch/arm64 uapi/asm/ptrace.h).
 */
#if defined(__TARGET_ARCH_x86)
struct registers {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	__u64 orig_ax, ip, cs, flags, sp, ss;
};
#define CALL_PUSHES 8 /* the return address */
#define BREAKPOINT_LEN 1 /* how far behind the function's address ip is */
#elif defined(__TARGET_ARCH_arm64)
struct registers {
	__u64 regs[31], sp, ip, pstate;
};
#define CALL_PUSHES 0
#define BREAKPOINT_LEN 0
#endif

/* As load_argument(): each register is loaded by an instruction of its own. */
static __always_inline __u64 load_register(const struct registers *r, __u8 position)
{
	__u64 value = 0;

	switch (position) {
#if defined(__TARGET_ARCH_x86)
	case 0:
		asm volatile("%0 = *(u64 *)(%1 + 112)" : "=r"(value) : "r"(r));
		break;
	case 1:
		asm volatile("%0 = *(u64 *)(%1 + 104)" : "=r"(value) : "r"(r));
		break;
	case 2:
		asm volatile("%0 = *(u64 *)(%1 + 96)" : "=r"(value) : "r"(r));
		break;
	case 3:
		asm volatile("%0 = *(u64 *)(%1 + 88)" : "=r"(value) : "r"(r));
		break;
	case 4:
		asm volatile("%0 = *(u64 *)(%1 + 72)" : "=r"(value) : "r"(r));
		break;
	case 5:
		asm volatile("%0 = *(u64 *)(%1 + 64)" : "=r"(value) : "r"(r));
		break;
#elif defined(__TARGET_ARCH_arm64)
	case 0:
		asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(value) : "r"(r));
		break;
	case 1:
		asm volatile("%0 = *(u64 *)(%1 + 8)" : "=r"(value) : "r"(r));
		break;
	case 2:
		asm volatile("%0 = *(u64 *)(%1 + 16)" : "=r"(value) : "r"(r));
		break;
	case 3:
		asm volatile("%0 = *(u64 *)(%1 + 24)" : "=r"(value) : "r"(r));
		break;
	case 4:
		asm volatile("%0 = *(u64 *)(%1 + 32)" : "=r"(value) : "r"(r));
		break;
	case 5:
		asm volatile("%0 = *(u64 *)(%1 + 40)" : "=r"(value) : "r"(r));
		break;
#endif
	}
	return value;
}

static __always_inline __u64 returned(const struct registers *r)
{
#if defined(__TARGET_ARCH_x86)
	return r->ax;
#else
	return r->regs[0];
#endif
}

#endif

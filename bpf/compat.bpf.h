/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where kernels differ. The rest of the code never mentions a version. */
#ifndef NTREC_COMPAT_BPF_H
#define NTREC_COMPAT_BPF_H

/*
 * Which context a hook runs in. The preempt count would say it, but kernels
 * without CONFIG_KALLSYMS_ALL hide the variable from BPF. The stack says it
 * too: a tracepoint's arguments lie on the stack in use, and softirqs run on a
 * stack of their own (do_softirq_own_stack) unless ksoftirqd runs them.
 * Interrupts share that stack; no hook of ours is called by one as a rule. An
 * interrupt that comes while the task is in user space stays on the task's
 * stack: there the entry's registers tell, which hold no system call's number
 * (x86: orig_ax is -1).
 */
#define THREAD_SIZE (16 << 10) /* x86-64 and arm64 */
#define PF_KTHREAD 0x00200000

static __always_inline bool is_ksoftirqd(const struct task_struct *task)
{
	const char *c = task->comm;

	return task->flags & PF_KTHREAD && c[0] == 'k' && c[1] == 's' && c[2] == 'o' && c[3] == 'f';
}

static __always_inline bool interrupted_user_space(struct task_struct *task)
{
	const struct pt_regs *regs;

	if (task->flags & PF_KTHREAD || !bpf_core_field_exists(regs->orig_ax))
		return false;
	regs = (void *)bpf_task_pt_regs(task);
	return regs->orig_ax == -1ULL;
}

static __always_inline __u8 context(const void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 above = (__u64)ctx - (__u64)task->stack;

	if (above >= THREAD_SIZE || is_ksoftirqd(task) || interrupted_user_space(task))
		return CTX_SOFTIRQ;
	return CTX_TASK;
}

/*
 * Arguments of a tracepoint. kfree_skb has had three signatures, others have
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
	}
	return value;
}

#endif

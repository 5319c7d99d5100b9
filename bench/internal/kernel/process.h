// Shared by the programs of LossTrace and of package witness: the number of the running process.

#define PID_LEVELS 33 // MAX_PID_NS_LEVEL in include/linux/pid_namespace.h, and the initial one

// The inode of the PID namespace whose process numbers are reported. Set once, before loading.
const volatile __u32 pid_namespace;

// The members of the kernel's structures that are read here. When a program is loaded, it is
// adapted to the running kernel's layout (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	unsigned int flags;
	int exit_code;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
};

#pragma clang attribute pop

// The process that most recently ran a program on this CPU: its number in the initial PID namespace
// and, in the upper half, in pid_namespace.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} latest SEC(".maps");

// find_process returns the number of the running process in the PID namespace pid_namespace, or 0
// if the process has none there.
static __always_inline __u32 find_process(void)
{
	const struct task_struct *task = bpf_get_current_task_btf();
	const struct pid *pid = task->group_leader->thread_pid;
	__u32 level = pid->level;

	for (__u32 i = 0; i < PID_LEVELS && i <= level; i++) {
		const struct upid *number = (const void *)pid +
					    bpf_core_field_offset(struct pid, numbers) +
					    i * bpf_core_type_size(struct upid);

		if (BPF_CORE_READ(number, ns, ns.inum) == pid_namespace)
			return BPF_CORE_READ(number, nr);
	}
	return 0;
}

// process is like find_process. It remembers the latest process, because to find a number takes
// several reads of kernel memory.
static __always_inline __u32 process(void)
{
	__u32 tgid = bpf_get_current_task_btf()->tgid, key = 0;
	__u64 *known = bpf_map_lookup_elem(&latest, &key), both;

	if (!known)
		return 0;
	both = *(volatile __u64 *)known;
	if ((__u32)both != tgid) {
		both = (__u64)find_process() << 32 | tgid;
		*(volatile __u64 *)known = both;
	}
	return both >> 32;
}

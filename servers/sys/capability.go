package sys

import "golang.org/x/sys/unix"

// Holds reports whether the calling thread has every one of the capabilities (unix.CAP_…) in its
// effective set. They are worth something in the thread's own user namespace only: what belongs to
// the whole machine also takes InInitialUserNamespace.
func Holds(capabilities ...int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range capabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// initialUserNamespace is the fixed inode of the first user namespace: PROC_USER_INIT_INO in
// include/linux/proc_ns.h.
const initialUserNamespace = 0xEFFFFFFD

// InInitialUserNamespace reports whether the calling thread is in the user namespace that the
// machine booted with.
func InInitialUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/user", &st) == nil && st.Ino == initialUserNamespace
}

// MissingForBPF names what the calling thread lacks of the capabilities that eBPF programs take, to
// trace the kernel or to select a socket (capabilities(7)). CAP_SYS_ADMIN stands for both.
//
// The type sk_reuseport alone takes CAP_BPF only (is_net_admin_prog_type in kernel/bpf/syscall.c).
// But without CAP_PERFMON the verifier also follows what a processor might do speculatively; on
// Linux 6.18 that ends, for a program with a loop, with a bug of its own ("REG INVARIANTS
// VIOLATION", EFAULT) and a warning in the kernel's log. It must not come to that.
func MissingForBPF() []string {
	if !InInitialUserNamespace() { // the capabilities of another one do not count
		return []string{"CAP_BPF", "CAP_PERFMON in the initial user namespace"}
	}
	if Holds(unix.CAP_SYS_ADMIN) {
		return nil
	}
	var missing []string
	if !Holds(unix.CAP_BPF) {
		missing = append(missing, "CAP_BPF")
	}
	if !Holds(unix.CAP_PERFMON) {
		missing = append(missing, "CAP_PERFMON")
	}
	return missing
}

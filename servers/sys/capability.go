package sys

import "golang.org/x/sys/unix"

// Holds reports whether the calling thread has all of the capabilities (unix.CAP_…) in its
// effective set. They are valid only in the thread's own user namespace. An operation on the whole
// machine also requires that InInitialUserNamespace is true.
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

// initialUserNamespace is the fixed inode number of the first user namespace: PROC_USER_INIT_INO in
// include/linux/proc_ns.h.
const initialUserNamespace = 0xEFFFFFFD

// InInitialUserNamespace reports whether the calling thread is in the user namespace that the
// machine booted with.
func InInitialUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/user", &st) == nil && st.Ino == initialUserNamespace
}

// MissingForBPF returns the capabilities that the calling thread lacks for loading eBPF programs
// that trace the kernel or select a socket (capabilities(7)): CAP_BPF and CAP_PERFMON.
// CAP_SYS_ADMIN includes both.
//
// A program of type sk_reuseport needs only CAP_BPF (is_net_admin_prog_type in
// kernel/bpf/syscall.c). Without CAP_PERFMON, however, the verifier also follows speculative
// execution. On Linux 6.18, for a program with a loop, this triggers a verifier bug ("REG
// INVARIANTS VIOLATION", EFAULT), and the kernel logs a warning. Requiring both capabilities avoids
// the bug.
func MissingForBPF() []string {
	if !InInitialUserNamespace() { // capabilities in another namespace do not help
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

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

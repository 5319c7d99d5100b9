package selector

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// permitted is nil, or an error that names the capabilities the calling thread lacks for loading the programs. Asking
// first is not only kinder: see missingCapabilities.
func permitted(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("needs %s; run as root: %w", strings.Join(missing, " and "), unix.EPERM)
}

// explain adds to a refusal that it was not for want of a capability.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("refused although every capability is held, by a seccomp filter or a security module: %w", err)
	}
	return err
}

// missingCapabilities names what the calling thread lacks for loading the programs (capabilities(7)).
//
// The type sk_reuseport needs CAP_BPF only (is_net_admin_prog_type in kernel/bpf/syscall.c). But without CAP_PERFMON the
// verifier also follows what a processor might do speculatively; on Linux 6.18 that ends, for weighted and least-loaded,
// with a bug of its own ("REG INVARIANTS VIOLATION", EFAULT) and a warning in the kernel's log. It must not come to that.
func missingCapabilities() []string {
	if !sys.InInitialUserNamespace() { // what another one's root holds does not count
		return []string{"CAP_BPF", "CAP_PERFMON in the initial user namespace"}
	}
	if sys.Holds(unix.CAP_SYS_ADMIN) {
		return nil // stands for both
	}
	var missing []string
	if !sys.Holds(unix.CAP_BPF) {
		missing = append(missing, "CAP_BPF")
	}
	if !sys.Holds(unix.CAP_PERFMON) {
		missing = append(missing, "CAP_PERFMON")
	}
	return missing
}

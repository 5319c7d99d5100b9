package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	readOnlyHint = "run the container with --security-opt systempaths=unconfined; in Podman, " +
		"unmask=/proc/sys; in Kubernetes, privileged: true (see docs/containers.md)"
	deniedHint = "if AppArmor forbids it, run the container with " +
		"--security-opt apparmor=unconfined (see docs/containers.md)"
)

// WriteSysctl writes a sysctl of the calling thread's network namespace, such as
// "net.core.somaxconn". The error wraps fs.ErrNotExist if the kernel does not have that sysctl. In
// most containers /proc/sys is read-only, or AppArmor denies writes to it; the error is then a
// Refusal.
func WriteSysctl(name, value string) error {
	path, err := sysctlPath(name)
	if err != nil {
		return err
	}
	err = os.WriteFile(path, []byte(value), 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		err = &Refusal{Err: err, Hint: readOnlyHint}
	case errors.Is(err, fs.ErrPermission):
		err = &Refusal{Err: err, Hint: deniedHint}
	}
	return fmt.Errorf("sysctl %s=%s: %w", name, value, err)
}

// sysctlPath returns the file of a sysctl. It accepts only names in net.*, because only those
// belong to a network namespace.
func sysctlPath(name string) (string, error) {
	if !strings.HasPrefix(name, "net.") || strings.Contains(name, "/") ||
		strings.Contains(name, "..") {
		return "", fmt.Errorf("sysctl %q: not one of a network namespace: want net.*", name)
	}
	return "/proc/sys/" + strings.ReplaceAll(name, ".", "/"), nil
}

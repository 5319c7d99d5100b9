package netlab

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// A Refusal is an error of the kernel with its likely reason and a remedy. Most of these errors
// occur in containers: docs/containers.md lists the options that each feature needs there.
type Refusal struct {
	Err  error
	Why  string // "" if no reason is known
	Hint string // what the user can do; "" if no remedy is known
}

func (r *Refusal) Error() string {
	text := r.Err.Error()
	if r.Why != "" {
		text += ": " + r.Why
	}
	if r.Hint != "" {
		text += "; " + r.Hint
	}
	return text
}

func (r *Refusal) Unwrap() error { return r.Err }

const (
	// RootHint is the hint for a root user who lacks the capabilities that labs need.
	RootHint = "in a container, add --cap-add SYS_ADMIN --cap-add NET_ADMIN " +
		"(see docs/containers.md)"

	seccompHint = "run the container with --security-opt seccomp=unconfined, or as root with " +
		"--cap-add SYS_ADMIN --cap-add NET_ADMIN (see docs/containers.md)"
)

// ExplainNamespace explains an error from making a user namespace, or another namespace outside a
// user namespace. It uses /proc and the capabilities of this thread.
func ExplainNamespace(err error) *Refusal {
	return explainNamespace(err, caller{os.DirFS("/proc"), os.Geteuid() == 0, sys.Holds})
}

// A caller is a process that the kernel did not allow to make a namespace.
type caller struct {
	proc  fs.FS // the caller's /proc
	root  bool
	holds func(capabilities ...int) bool
}

func explainNamespace(err error, c caller) *Refusal {
	r := &Refusal{Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		r.Why = "too many namespaces, or nested too deeply"
		r.Hint = "see the sysctls user.max_*_namespaces"
		for _, kind := range []string{"user", "net", "pid"} {
			limit := "user.max_" + kind + "_namespaces"
			if readSetting(c.proc, limit) == "0" {
				r.Why, r.Hint = limit+"=0", "run as root, or raise the sysctl "+limit
				break
			}
		}
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		r.Why, r.Hint = "the kernel was built without such namespaces", "run as root"
	case errors.Is(err, fs.ErrPermission): // EPERM or EACCES
		r.Why, r.Hint = c.forbidden()
	}
	return r
}

// forbidden returns the reason that the caller may not make user namespaces, and a remedy.
func (c caller) forbidden() (why, hint string) {
	setting, restricted := forbiddingSetting(c.proc)
	switch {
	case c.root && !c.holds(unix.CAP_SETFCAP):
		why = "root needs CAP_SETFCAP to map its own id (user_namespaces(7))"
	case restricted:
		why, hint = setting.String(), setting.hint
	case readSeccomp(c.proc) == "2":
		why, hint = "a seccomp filter is in force", seccompHint
	default:
		why, hint = "missing CAP_SYS_ADMIN, a chroot, or a security module", "run as root"
	}
	if c.root { // with these capabilities it needs no user namespace
		hint = RootHint
		if c.holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
			hint = "root does not need a user namespace"
		}
	}
	return why, hint
}

// UserNamespacesForbidden returns the sysctl, as "kernel.name=value", by which the distribution
// denies user namespaces to ordinary users, or "" if it allows them.
func UserNamespacesForbidden() string {
	if setting, forbids := forbiddingSetting(os.DirFS("/proc")); forbids {
		return setting.String()
	}
	return ""
}

// userNamespaceSetting is a sysctl by which a distribution denies user namespaces to ordinary
// users.
type userNamespaceSetting struct{ name, forbids, hint string }

func (s userNamespaceSetting) String() string { return s.name + "=" + s.forbids }

var userNamespaceSettings = [...]userNamespaceSetting{
	{"kernel.apparmor_restrict_unprivileged_userns", "1", // Ubuntu, from 23.10
		"run as root, give this binary an AppArmor profile with the rule userns, " +
			"or set the sysctl to 0"},
	{"kernel.unprivileged_userns_clone", "0", // Debian, Arch
		"run as root, or set the sysctl to 1"},
}

func forbiddingSetting(proc fs.FS) (setting userNamespaceSetting, forbids bool) {
	for _, s := range userNamespaceSettings {
		if readSetting(proc, s.name) == s.forbids {
			return s, true
		}
	}
	return userNamespaceSetting{}, false
}

// readSetting returns the value of a sysctl; "" if it does not exist.
func readSetting(proc fs.FS, name string) string {
	text, _ := fs.ReadFile(proc, "sys/"+strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(string(text))
}

// readSeccomp returns the seccomp mode of this process: 0 none, 1 strict, 2 filter
// (proc_pid_status(5)).
func readSeccomp(proc fs.FS) string {
	text, _ := fs.ReadFile(proc, "self/status")
	for line := range strings.Lines(string(text)) {
		if mode, found := strings.CutPrefix(line, "Seccomp:"); found {
			return strings.TrimSpace(mode)
		}
	}
	return ""
}

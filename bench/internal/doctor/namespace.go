package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
)

func probeNetNamespace() Result {
	if err := netlab.Private(func() error { return nil }); err != nil {
		return no(err.Error(), "run as root, or where user namespaces are allowed (see "+UserNamespace+")")
	}
	return yes("made one, with lo up")
}

// probePIDNamespace leaves its thread unable to make threads of its own process, which is why it
// must be a throwaway one.
func probePIDNamespace() Result {
	if err := unix.Unshare(unix.CLONE_NEWPID); err != nil {
		why, hint := explainRefusal(err, os.DirFS("/proc"))
		return no("unshare(CLONE_NEWPID): "+why, hint)
	}
	return yes("made one")
}

func probeUserNamespace(ctx context.Context, options Options) Result {
	if len(options.UserNamespaceChild) == 0 {
		return unknown("no child command was given to try it with", "")
	}
	results, err := runInUserNamespace(ctx, options.UserNamespaceChild, []string{NetNamespace})
	var refused *fs.PathError // what os/exec returns for clone(2), and for a command that is not there
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unknown(err.Error(), "")
	case errors.As(err, &refused):
		why, hint := explainRefusal(refused.Err, os.DirFS("/proc"))
		return no("clone(CLONE_NEWUSER|CLONE_NEWNET): "+why, hint)
	case err != nil:
		return unknown(err.Error(), "")
	case len(results) != 1:
		return unknown("the child ran in one, but reported nothing", "")
	case results[0].Status != Yes: // AppArmor lets the namespace be made and then withholds its capabilities
		why, hint := explainRefusal(unix.EPERM, os.DirFS("/proc"))
		return no(joinDetail("made one, but without power in it: "+results[0].Detail, why), hint)
	}
	if os.Geteuid() == 0 {
		return yes("made one, with a network namespace in it%s", forUsersOtherThanRoot(os.DirFS("/proc")))
	}
	return yes("made one, with a network namespace in it")
}

// maxChildOutput bounds what is read from a child.
const maxChildOutput = 1 << 20

// runInUserNamespace starts argv in new user and network namespaces, as root there, asks it on
// standard input for the probes named, and returns its answers. The child is killed when ctx ends
// or when this process dies.
func runInUserNamespace(ctx context.Context, argv, names []string) ([]Result, error) {
	request, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	var output, complaint limitedBuffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stdout, cmd.Stderr = &output, &complaint
	cmd.WaitDelay = 100 * time.Millisecond
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is the death of the thread that started the child
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return nil, withComplaint(fmt.Errorf("child in a user namespace: %w", err), complaint.String())
	}
	if output.Len() == 0 {
		return nil, nil
	}
	var results []Result
	if err := json.Unmarshal(output.Bytes(), &results); err != nil {
		return nil, fmt.Errorf("child in a user namespace: its answer: %w", err)
	}
	return results, nil
}

// withComplaint adds the first line of what the child wrote to its standard error.
func withComplaint(err error, complaint string) error {
	line, _, _ := strings.Cut(strings.TrimSpace(complaint), "\n")
	if line == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, line)
}

// limitedBuffer keeps the first maxChildOutput bytes and lets the rest go.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxChildOutput-b.Len())])
	return len(p), nil
}

// ServeNamespace is the whole of the child that Options.UserNamespaceChild names: it reads from in
// a JSON list of probe names, runs those probes, and writes to out a JSON list of their results. It
// starts no children. Called elsewhere it is harmless: the probes make private network namespaces
// or report that they may not.
func ServeNamespace(ctx context.Context, in io.Reader, out io.Writer) error {
	var names []string
	if err := json.NewDecoder(io.LimitReader(in, maxChildOutput)).Decode(&names); err != nil {
		return fmt.Errorf("list of probes: %w", err)
	}
	results := []Result{}
	if len(names) > 0 {
		results = Examine(ctx, Options{Only: names})
	}
	return json.NewEncoder(out).Encode(results)
}

// explainRefusal says why the kernel would not make a namespace, as far as /proc (given as proc)
// tells, and what to do.
func explainRefusal(err error, proc fs.FS) (why, hint string) {
	for _, limit := range []string{"max_user_namespaces", "max_net_namespaces", "max_pid_namespaces"} {
		if errors.Is(err, unix.ENOSPC) && readSetting(proc, "sys/user/"+limit) == "0" {
			return fmt.Sprintf("%v: user.%s=0", err, limit), "run as root, or raise the sysctl user." + limit
		}
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return fmt.Sprintf("%v: too many namespaces, or nested too deeply", err), "see the sysctls user.max_*_namespaces"
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Sprintf("%v: the kernel was built without them", err), "run as root"
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err.Error(), ""
	}
	for _, setting := range userNamespaceSettings {
		if readSetting(proc, "sys/kernel/"+setting.name) == setting.forbids {
			return fmt.Sprintf("%v: %s", err, setting), setting.hint
		}
	}
	if readSeccomp(proc) == "2" {
		return fmt.Sprintf("%v: a seccomp filter is in force, as in a container", err),
			"run the container with --privileged, or with --security-opt seccomp=unconfined"
	}
	return fmt.Sprintf("%v: missing CAP_SYS_ADMIN, a chroot, or a security module", err), "run as root"
}

// userNamespaceSetting is a sysctl under kernel. by which a distribution keeps user namespaces from
// ordinary users.
type userNamespaceSetting struct{ name, forbids, hint string }

func (s userNamespaceSetting) String() string { return "kernel." + s.name + "=" + s.forbids }

var userNamespaceSettings = [...]userNamespaceSetting{
	{"apparmor_restrict_unprivileged_userns", "1", // Ubuntu, from 23.10
		"run as root, give this binary an AppArmor profile with the rule userns, or set the sysctl to 0"},
	{"unprivileged_userns_clone", "0", // Debian, Arch
		"run as root, or set the sysctl to 1"},
}

// forUsersOtherThanRoot warns that what root could do an ordinary user could not; "" if nothing
// says so.
func forUsersOtherThanRoot(proc fs.FS) string {
	for _, setting := range userNamespaceSettings {
		if readSetting(proc, "sys/kernel/"+setting.name) == setting.forbids {
			return fmt.Sprintf(" (as root; %s forbids it to others)", setting)
		}
	}
	return ""
}

// readSetting returns the value of a sysctl, "" if it is absent.
func readSetting(proc fs.FS, path string) string {
	text, _ := fs.ReadFile(proc, path)
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

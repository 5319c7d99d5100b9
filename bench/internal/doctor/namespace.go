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
		if os.Geteuid() == 0 {
			return no(err.Error(), netlab.RootHint)
		}
		return no(err.Error(),
			"run as root, or where user namespaces are allowed (see "+UserNamespace+")")
	}
	return yes("made one, with lo up")
}

// probePIDNamespace leaves its thread unable to create threads. So it must run on a thread that
// ends with the probe.
func probePIDNamespace() Result {
	if err := unix.Unshare(unix.CLONE_NEWPID); err != nil {
		return refusedNamespace("unshare(CLONE_NEWPID)", err)
	}
	return yes("made one")
}

func refusedNamespace(what string, err error) Result {
	r := netlab.ExplainNamespace(err)
	return no(joinDetail(what+": "+r.Err.Error(), r.Why), r.Hint)
}

// probeSysctl sets a sysctl to the value that every lab sets.
func probeSysctl() Result {
	const name, value = "net.core.somaxconn", "65535"
	err := netlab.WriteSysctl(name, value)
	var refused *netlab.Refusal
	switch {
	case errors.As(err, &refused):
		return no(refused.Err.Error(), refused.Hint)
	case err != nil:
		return no(err.Error(), "")
	}
	return yes("set %s=%s", name, value)
}

func probeUserNamespace(ctx context.Context, options Options) Result {
	if len(options.UserNamespaceChild) == 0 {
		return unknown("no child command was given to try it with", "")
	}
	results, err := runInUserNamespace(ctx, options.UserNamespaceChild, []string{NetNamespace})
	var refused *fs.PathError // from os/exec if clone(2) failed or the command is missing
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unknown(err.Error(), "")
	case errors.As(err, &refused):
		return refusedNamespace("clone(CLONE_NEWUSER|CLONE_NEWNET)", refused.Err)
	case err != nil:
		return unknown(err.Error(), "")
	case len(results) != 1:
		return unknown("the child ran in one, but reported nothing", "")
	case results[0].Status != Yes:
		// AppArmor may allow the namespace but deny capabilities in it.
		return refusedNamespace("made one, but without power in it: "+results[0].Detail, unix.EPERM)
	}
	if setting := netlab.UserNamespacesForbidden(); setting != "" && os.Geteuid() == 0 {
		return yes("made one, with a network namespace in it (as root; %s forbids it to others)",
			setting)
	}
	return yes("made one, with a network namespace in it")
}

// maxChildOutput bounds the bytes read from a child.
const maxChildOutput = 1 << 20

// runInUserNamespace runs argv as root in new user and network namespaces. It writes the names of
// the probes to the child's standard input, and returns the child's results. The child is killed
// when ctx is done or this process dies.
func runInUserNamespace(ctx context.Context, argv, names []string) ([]Result, error) {
	request, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	var output, stderr limitedBuffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stdout, cmd.Stderr = &output, &stderr
	cmd.WaitDelay = 100 * time.Millisecond
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started the child ends
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return nil, withStderr(fmt.Errorf("child in a user namespace: %w", err), stderr.String())
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

// withStderr adds the first line of the child's standard error to err.
func withStderr(err error, stderr string) error {
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	if line == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, line)
}

// limitedBuffer keeps the first maxChildOutput bytes and discards the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxChildOutput-b.Len())])
	return len(p), nil
}

// ServeNamespace runs the child that Options.UserNamespaceChild names. It reads a JSON list of
// probe names from in, runs those probes, and writes a JSON list of their results to out. It starts
// no children. It is harmless in any process: the probes make private network namespaces, or report
// that they may not.
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

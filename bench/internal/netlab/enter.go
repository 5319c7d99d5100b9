package netlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// enteredEnv marks a process that Enter has started in a user namespace.
const enteredEnv = "REUSEPORT_BENCH_USERNS"

// Entered reports whether Enter has started this process, in a user namespace.
func Entered() bool { return os.Getenv(enteredEnv) != "" }

// AsRoot reports whether the process can make labs without Enter: it holds CAP_SYS_ADMIN and
// CAP_NET_ADMIN, and Enter has not started it in a user namespace.
func AsRoot() bool {
	return !Entered() && sys.Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
}

// Enter lets an ordinary user make labs. It runs this command again inside a new user namespace.
// There the command is root over the namespaces that it makes, and has no privileges outside. Enter
// waits until that process exits and returns its exit status, with entered true. If this is
// unnecessary, or this process is already in such a namespace, Enter returns at once, with entered
// false.
//
// The inner process has its own process group, so no signal from the terminal reaches it. When ctx
// ends, Enter sends it SIGTERM, once. If SIGTERM kills the process because it does not handle
// signals yet, Enter returns the cause of ctx.
func Enter(ctx context.Context) (status int, entered bool, err error) {
	if AsRoot() || Entered() {
		return 0, false, nil
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), enteredEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Setpgid:     true,
		Pdeathsig:   unix.SIGKILL,
	}
	ended := make(chan error)
	go func() {
		// Pdeathsig refers to the thread that starts the child, so keep this thread until the child
		// has exited.
		runtime.LockOSThread()
		ended <- cmd.Run()
	}()
	err = <-ended
	state := cmd.ProcessState
	switch {
	case state == nil && ctx.Err() != nil:
		return 0, true, context.Cause(ctx)
	case state == nil:
		return 0, true, fmt.Errorf("user namespace: %w", ExplainNamespace(err))
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !ws.Signaled():
		return state.ExitCode(), true, nil
	case ctx.Err() != nil:
		return 0, true, context.Cause(ctx)
	}
	return 128 + int(ws.Signal()), true, nil
}

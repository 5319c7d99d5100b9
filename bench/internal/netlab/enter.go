package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// enteredEnv marks a process that Enter has put into a user namespace.
const enteredEnv = "REUSEPORT_BENCH_USERNS"

// Entered says that Enter has started this process, in a user namespace.
func Entered() bool { return os.Getenv(enteredEnv) != "" }

// AsRoot reports whether the process can make labs without Enter: it holds CAP_SYS_ADMIN and
// CAP_NET_ADMIN, and not because of Enter.
func AsRoot() bool {
	return !Entered() && sys.Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
}

// Enter makes labs possible for an ordinary user: it runs this very command again inside a new
// user namespace, where it is root over the namespaces it makes and nobody outside, waits for it,
// and returns its exit status with entered true. Where it is not needed, or has been done already,
// it returns entered false at once.
//
// The inner process has a process group of its own. SIGINT and SIGTERM that reach the outer one
// are handed on, once each, so that one Ctrl-C counts as one.
func Enter() (status int, entered bool, err error) {
	if AsRoot() || Entered() {
		return 0, false, nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
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
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)

	// Pdeathsig is bound to the thread that starts the child; this one lives until the child has ended.
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return 0, true, fmt.Errorf("user namespace: %w; run as root, or see 'doctor' for what forbids it", err)
	}
	for {
		select {
		case s := <-signals:
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return 0, true, fmt.Errorf("hand on %v: %w", s, err)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, true, fmt.Errorf("run in a user namespace: %w", err)
			}
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				return 128 + int(ws.Signal()), true, nil
			}
			return cmd.ProcessState.ExitCode(), true, nil
		}
	}
}

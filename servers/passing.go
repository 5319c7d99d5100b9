package servers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Passing is how a worker's successor comes by its listening socket.
type Passing string

// The ways to pass a listening socket on.
const (
	// NotPassed: each worker binds its own, and a shared one is inherited from the parent at fork(2), as prefork servers have it.
	NotPassed Passing = ""
	// ByActivation: a supervisor, which is the parent, holds the sockets for good and gives them to each worker at
	// execve(2), by systemd's convention: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)).
	ByActivation Passing = "activation"
	// ByMessage: a worker asks its predecessor, to which it is not related, for the socket over a Unix socket and gets it as
	// SCM_RIGHTS (unix(7)). HAProxy's expose-fd listeners and -x, and Meta's Zero Downtime Release, do it so.
	ByMessage Passing = "message"
	// ByUpgrade, with HTTP only: the predecessor starts its successor and passes it the socket, by cloudflare/tableflip.
	ByUpgrade Passing = "upgrade"
)

// environment variables of a worker.
const (
	// envAdopt is the address at which a worker that another one started asks for its pipes and its journal.
	envAdopt = "REUSEPORT_BENCH_ADOPT"

	envListenPID   = "LISTEN_PID"
	envListenFDs   = "LISTEN_FDS"
	envListenNames = "LISTEN_FDNAMES"
)

// activationNames are the names of a worker's descriptors from 3 on.
var activationNames = []string{"control", "events", "journal", "listener"}

// activationEnvironment is what a supervisor puts into the environment of a worker, but for LISTEN_PID, which nobody knows
// before the fork; see becomeActivated.
func activationEnvironment() []string {
	return []string{envListenFDs + "=" + strconv.Itoa(len(activationNames)), envListenNames + "=" + strings.Join(activationNames, ":")}
}

// becomeActivated does what a service manager does between fork and exec: it names the process that the sockets
// are for, and becomes the service. It returns only with an error.
func becomeActivated() error {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, envListenPID+"=") })
	env = append(env, envListenPID+"="+strconv.Itoa(os.Getpid()))
	return fmt.Errorf("exec the activated worker: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// activated is the listener that the service manager passed, as a descriptor of its own.
func (w *worker) activated() (int, error) {
	w.inherited = activation.Files(true) // kept: the garbage collector would close them, the pipes among them
	for _, f := range w.inherited {
		if f.Name() == "listener" {
			return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		}
	}
	return -1, fmt.Errorf("no listener was passed; %s=%q", envListenNames, os.Getenv(envListenNames))
}

// passTimeout bounds the wait of either side of a Unix socket for the other.
const passTimeout = 5 * time.Second

// offer is a Unix socket at which a descriptor can be asked for, in the abstract namespace: it belongs to the thread's
// network namespace, and leaves no file. The caller closes it.
func offer(name string) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("unix socket: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}); err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		return -1, fmt.Errorf("unix socket @%s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	return fd, nil
}

// handOver gives descriptors to the next who asks at an offer, if there is one.
func handOver(offer int, fds ...int) error {
	asking, _, err := unix.Accept4(offer, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return nil
	case err != nil:
		return fmt.Errorf("hand over: accept: %w", err)
	}
	err = give(asking, fds...)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		err = nil // who asked is gone
	}
	return errors.Join(err, unix.Close(asking))
}

// give sends descriptors to the other end of a Unix socket.
func give(to int, fds ...int) error {
	if err := unix.Sendmsg(to, []byte{byte(len(fds))}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("hand over: sendmsg: %w", err)
	}
	return nil
}

// take asks at an offer for n descriptors. They are the caller's.
func take(name string, n int) (fds []int, err error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("unix socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(s)) }()
	limit := unix.NsecToTimeval(int64(passTimeout))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: "@" + name}); err != nil {
		return nil, fmt.Errorf("ask for a socket at @%s: %w", name, err)
	}
	data, space := make([]byte, 1), make([]byte, unix.CmsgSpace(4*n))
	_, size, _, _, err := unix.Recvmsg(s, data, space, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("ask for a socket at @%s: %w", name, err)
	}
	messages, err := unix.ParseSocketControlMessage(space[:size])
	if err == nil && len(messages) == 1 {
		fds, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil || len(fds) != n {
		return fds, errors.Join(fmt.Errorf("asked at @%s for %d descriptors and got %d", name, n, len(fds)), err)
	}
	return fds, nil
}

// takeListener gets the listener from the predecessor.
func takeListener(from string) (int, error) {
	fds, err := take(from, 1)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

package servers

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// Handover is how a worker's successor comes by its listening socket.
type Handover string

// The ways to pass a listening socket on.
const (
	// NoHandover: each worker binds its own, and a shared one is inherited from the parent at fork(2), as prefork servers have it.
	NoHandover Handover = ""
	// SocketActivation: a supervisor, which is the parent, holds the sockets for good and gives them to each worker at
	// execve(2), by systemd's convention: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)).
	SocketActivation Handover = "socket-activation"
	// SCMRights: a worker asks its predecessor, to which it is not related, for the socket over a Unix socket and gets it as
	// SCM_RIGHTS (unix(7)). HAProxy's expose-fd listeners and -x, and Meta's Zero Downtime Release, do it so.
	SCMRights Handover = "scm-rights"
	// Tableflip, with HTTP only: the predecessor starts its successor and passes it the socket, by cloudflare/tableflip.
	Tableflip Handover = "tableflip"
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

// takeListener gets the listener from the predecessor.
func takeListener(from string) (int, error) {
	fds, err := socket.Ask(from, 1, passTimeout)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

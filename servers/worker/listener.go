package worker

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

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
)

// listen gets the worker its listener, and puts that under its group's selection.
func (w *worker) listen() (err error) {
	switch {
	case w.cfg.Handover == vocabulary.SocketActivation:
		w.listener, err = w.activated()
	case w.cfg.Handover == vocabulary.Tableflip && os.Getenv(servers.EnvAdopt) != "":
		return nil // it is passed to net/http; see newHTTP
	case w.cfg.From != "":
		w.listener, err = takeListener(w.cfg.From)
	case w.cfg.Inherited:
		w.listener = servers.FDListener
		unix.CloseOnExec(servers.FDListener)
	default:
		err = w.bind()
	}
	if err != nil {
		return err
	}
	if w.cfg.Offer != "" {
		if w.offer, err = socket.Offer(w.cfg.Offer); err != nil {
			return err
		}
	}
	if w.listenerInode, err = socket.Inode(w.listener); err != nil || w.cfg.Sockets == vocabulary.SocketsShared {
		return err
	}
	if w.cfg.Selected {
		fds := []int{servers.FDSelector, servers.FDSelector + 1, servers.FDSelector + 2}
		w.member, err = selector.Join(fds, w.cfg.Slot, w.listener)
		return err
	}
	return attachments[w.cfg.Selection](w)
}

// attachments put a worker's own socket under the selectors that are no eBPF program.
var attachments = map[vocabulary.Selector]func(*worker) error{
	vocabulary.SelectorHash: func(*worker) error { return nil },
	vocabulary.SelectorCPU: func(w *worker) error {
		return selector.AttachCPU(w.listener, w.cfg.Members)
	},
	vocabulary.SelectorCPUFixed: func(w *worker) error {
		return selector.AttachCPU(w.listener, w.cfg.Workers)
	},
	vocabulary.SelectorIncomingCPU: func(w *worker) error {
		err := unix.SetsockoptInt(w.listener, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, w.cfg.CPU)
		if err != nil {
			return fmt.Errorf("SO_INCOMING_CPU %d: %w", w.cfg.CPU, err)
		}
		return nil
	},
}

// bindRetry is how long a worker that finds its address taken waits before it tries again: a usual
// figure in start scripts and supervisors. bindLimit is when it gives up; its parent will have done
// so before.
const (
	bindRetry = 10 * time.Millisecond
	bindLimit = 30 * time.Second
)

// bind makes the worker's own socket listen. Without SO_REUSEPORT it must wait until the one before
// is gone. The first wait is a random part of bindRetry: a supervisor's tries know nothing of the
// instant at which the old process closes, while a parked worker always begins just before it.
func (w *worker) bind() (err error) {
	wait := time.Duration(w.works.random.Float64() * float64(bindRetry))
	for until := w.clock.Now().Add(bindLimit); ; {
		w.listener, err = w.listenIn(w.cfg.Network)
		now := w.clock.Now()
		if w.cfg.Sockets != vocabulary.SocketsExclusive || !errors.Is(err, unix.EADDRINUSE) || now > until {
			return err
		}
		clock.BlockUntil(now.Add(wait))
		wait = bindRetry
	}
}

// listenIn makes a listener in the network namespace at a path; "": in that of the process.
func (w *worker) listenIn(network string) (fd int, err error) {
	if network == "" {
		return w.cfg.Listen(w.cfg.Address)
	}
	fd = -1
	// A socket stays in the namespace that it was made in, and what it accepts is there too.
	err = sys.OnOwnThread(func() error {
		ns, err := unix.Open(network, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("network namespace %s: %w", network, err)
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", network, err)
		}
		fd, err = w.cfg.Listen(w.cfg.Address)
		return err
	})
	return fd, err
}

// becomeActivated does what a service manager does between fork and exec: it names the process that
// the sockets are for, and becomes the service. It returns only with an error.
func becomeActivated() error {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, servers.EnvListenPID+"=") })
	env = append(env, servers.EnvListenPID+"="+strconv.Itoa(os.Getpid()))
	return fmt.Errorf("exec the activated worker: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// activated is the listener that the service manager passed, as the only descriptor of it: closing
// that closes the worker's share of the socket.
func (w *worker) activated() (int, error) {
	w.inherited = activation.Files(true) // kept: the garbage collector would close them, the pipes among them
	for _, f := range w.inherited {
		if f.Name() == servers.ListenerName {
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			return fd, errors.Join(err, f.Close())
		}
	}
	return -1, fmt.Errorf("no listener was passed; %s=%q", servers.EnvListenNames, os.Getenv(servers.EnvListenNames))
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

// closeListener closes the worker's listener and says between which instants that happened.
func (w *worker) closeListener(close func() error) error {
	from := w.clock.Now()
	if err := close(); err != nil {
		return fmt.Errorf("worker %d: close listener: %w", w.cfg.ID, err)
	}
	at := w.clock.Now()
	w.listener = -1
	if w.offer >= 0 { // whoever asks now is too late
		if err := unix.Close(w.offer); err != nil {
			return fmt.Errorf("worker %d: close offer: %w", w.cfg.ID, err)
		}
		w.offer = -1
	}
	return w.say(servers.Event{Event: servers.EventClosed, From: from, At: at})
}

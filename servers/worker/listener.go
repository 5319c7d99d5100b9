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

// listen opens or receives the worker's listener and attaches it to the group's selector.
func (w *worker) listen() (err error) {
	switch {
	case w.cfg.Handover == vocabulary.SocketActivation:
		w.listener, err = w.activated()
	case w.cfg.Handover == vocabulary.Tableflip && os.Getenv(servers.EnvAdopt) != "":
		return nil // net/http gets the listener; see newHTTP
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
	w.listenerInode, err = socket.Inode(w.listener)
	if err != nil || w.cfg.Sockets == vocabulary.SocketsShared {
		return err
	}
	if w.cfg.Selected {
		fds := []int{servers.FDSelector, servers.FDSelector + 1, servers.FDSelector + 2}
		w.member, err = selector.Join(fds, w.cfg.Slot, w.listener)
		return err
	}
	return attachments[w.cfg.Selection](w)
}

// attachments has, for each selector that is not an eBPF program, the function that attaches a
// worker's own socket to it.
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

// bindRetry is the time between two tries to bind an address that is taken. Start scripts and
// supervisors often use this value. bindLimit is the time for which a worker keeps trying; its
// parent gives up earlier.
const (
	bindRetry = 10 * time.Millisecond
	bindLimit = 30 * time.Second
)

// bind makes the worker's own socket listen. Without SO_REUSEPORT it must wait until the
// predecessor's socket is closed. The first wait is a random part of bindRetry: a supervisor's
// tries are not synchronised with the instant at which the predecessor closes its socket, but a
// parked worker always starts just before that instant.
func (w *worker) bind() (err error) {
	wait := time.Duration(w.works.random.Float64() * float64(bindRetry))
	for until := w.clock.Now().Add(bindLimit); ; {
		w.listener, err = w.listenIn(w.cfg.Network)
		now := w.clock.Now()
		retry := w.cfg.Sockets == vocabulary.SocketsExclusive && errors.Is(err, unix.EADDRINUSE)
		if !retry || now > until {
			return err
		}
		clock.BlockUntil(now.Add(wait))
		wait = bindRetry
	}
}

// listenIn makes a listener in the network namespace at that path, or in the process's own if the
// path is empty.
func (w *worker) listenIn(network string) (fd int, err error) {
	if network == "" {
		return w.cfg.Listen(w.cfg.Address)
	}
	fd = -1
	// A socket stays in the namespace in which it was made, and so do the connections it accepts.
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

// becomeActivated does what a service manager does between fork and exec: it sets LISTEN_PID and
// executes the service. It returns only on error.
func becomeActivated() error {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, servers.EnvListenPID+"=")
	})
	env = append(env, servers.EnvListenPID+"="+strconv.Itoa(os.Getpid()))
	return fmt.Errorf("exec the activated worker: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// activated returns the listener that the service manager passed. The worker has no other
// descriptor of the socket, so closing this one closes the worker's share.
func (w *worker) activated() (int, error) {
	// Keep the files. Otherwise the garbage collector would close them, including the pipes.
	w.inherited = activation.Files(true)
	for _, f := range w.inherited {
		if f.Name() == servers.ListenerName {
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			return fd, errors.Join(err, f.Close())
		}
	}
	return -1, fmt.Errorf("no listener was passed: want %s in %s=%q",
		servers.ListenerName, servers.EnvListenNames, os.Getenv(servers.EnvListenNames))
}

// passTimeout is the time for which either side of a Unix socket waits for the other side.
const passTimeout = 5 * time.Second

// takeListener asks the predecessor for its listener.
func takeListener(from string) (int, error) {
	fds, err := socket.Ask(from, nil, 1, passTimeout)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// closeListener closes the worker's listener and reports the instants before and after that.
func (w *worker) closeListener(close func() error) error {
	from := w.clock.Now()
	if err := close(); err != nil {
		return fmt.Errorf("worker %d: close listener: %w", w.cfg.ID, err)
	}
	at := w.clock.Now()
	w.listener = -1
	if w.offer >= 0 { // from now on no successor can ask
		if err := unix.Close(w.offer); err != nil {
			return fmt.Errorf("worker %d: close offer: %w", w.cfg.ID, err)
		}
		w.offer = -1
	}
	return w.send(servers.Event{Event: servers.EventClosed, From: from, At: at})
}

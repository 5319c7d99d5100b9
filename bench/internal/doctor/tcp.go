package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/loopback"
)

// queuedForProbe is the number of connections in a listener's queue when a probe closes the
// listener.
const queuedForProbe = 16

// A migration counts the connections that were queued at a listener when it was closed, by outcome.
// The heir is the listener to which the kernel should move these connections.
type migration struct {
	queued   int  // connections queued before the close
	accepted int  // connections that the heir accepted after the close
	served   int  // clients that got an answer from the heir
	reset    int  // clients that got a reset
	silent   int  // clients that got nothing
	woken    bool // whether epoll reported the heir after the close
}

// closeAndWatch closes the listener old, whose queue holds the clients' connections, and returns
// their outcomes. The queue of heir must be empty.
func closeAndWatch(s *loopback.Sockets, old, heir int, clients []int) (migration, error) {
	m := migration{queued: len(clients)}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return m, fmt.Errorf("epoll_create1: %w", err)
	}
	s.Own(epoll)
	// Watch heir edge-triggered, as Go's poller does. The queue of heir is empty now, so only a
	// wake-up after the close can make heir ready.
	interest := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(heir)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, heir, &interest); err != nil {
		return m, fmt.Errorf("epoll_ctl: %w", err)
	}
	s.CloseSocket(old)
	if m.woken, err = loopback.Wait(epoll, unix.POLLIN, loopback.Patience); err != nil {
		return m, fmt.Errorf("poll: %w", err)
	}
	accepted, err := s.Accept(len(clients), heir)
	if err != nil {
		return m, err
	}
	m.accepted = len(accepted[0])
	m.served, m.reset, m.silent = answer(clients, accepted[0])
	return m, nil
}

// answer sends one byte from the server's side of each connection. It counts the clients that get
// the byte, that get a reset, and that get nothing within Patience.
func answer(clients, connections []int) (served, reset, silent int) {
	for _, connection := range connections {
		unix.Write(connection, []byte{1}) // if this fails, the client gets no byte
	}
	end := time.Now().Add(loopback.Patience)
	for _, client := range clients {
		var word [1]byte
		ready, _ := loopback.Wait(client, unix.POLLIN, time.Until(end))
		n, err := unix.Read(client, word[:])
		switch {
		case n == 1:
			served++
		case ready && errors.Is(err, unix.ECONNRESET):
			reset++
		default:
			silent++
		}
	}
	return served, reset, silent
}

const migrateSysctl = "/proc/sys/net/ipv4/tcp_migrate_req"

// migrateBySysctl sets net.ipv4.tcp_migrate_req in the calling thread's namespace. Then it queues
// connections at a listener, adds an heir to the listener's group, closes the listener, and returns
// the outcomes of the connections.
func migrateBySysctl(setting string) (migration, error) {
	if err := os.WriteFile(migrateSysctl, []byte(setting), 0); err != nil {
		return migration{}, err
	}
	var s loopback.Sockets
	defer s.Close()
	old, err := s.Listen()
	if err != nil {
		return migration{}, err
	}
	clients, err := s.Queue(queuedForProbe, old) // all at old: there is no heir yet
	if err != nil {
		return migration{}, err
	}
	heir, err := s.Listen()
	if err != nil {
		return migration{}, err
	}
	return closeAndWatch(&s, old, heir, clients)
}

func probeMigrateReq() Result {
	m, err := migrateBySysctl("1")
	return judgeMigration(m, err)
}

// judgeMigration returns a probe's result for a migration by the sysctl or by the eBPF program.
func judgeMigration(m migration, err error) Result {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return no("this kernel has no net.ipv4.tcp_migrate_req",
			"use Linux 5.14 or later, or drain before closing")
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return no(err.Error(), "see "+NetSysctl)
	case err != nil:
		return unknown(err.Error(), "")
	case m.served == m.queued:
		return yes("%d of %d queued connections survived the close", m.served, m.queued)
	}
	detail := fmt.Sprintf("%d of %d queued connections survived the close, %d were reset, "+
		"%d got no answer", m.served, m.queued, m.reset, m.silent)
	return no(detail, "drain before closing")
}

func probeMigrationWakes() Result {
	m, err := migrateBySysctl("1")
	return judgeWaking(m, err)
}

func judgeWaking(m migration, err error) Result {
	switch {
	case err != nil || m.accepted == 0:
		return unknown("nothing migrated (see "+TCPMigrateReq+")", "")
	case !m.woken:
		detail := fmt.Sprintf("%d connections migrated and epoll did not report them: each waits "+
			"until another connection arrives", m.accepted)
		return no(detail, "update to a kernel with "+
			`"call sk_data_ready() after listener migration" (mainline 3864c6ba1e04, 2026)`)
	}
	return yes("epoll reports a listener that inherits connections")
}

func probeQueueDepth() Result {
	var s loopback.Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		return unknown(err.Error(), "")
	}
	const n = 3
	if _, err := s.Queue(n, listener); err != nil { // waits until loopback.QueueDepth returns n
		return no(err.Error(), "")
	}
	return yes("%d waiting connections were counted", n)
}

// probeEpollExclusive checks that the kernel supports EPOLLEXCLUSIVE. A kernel that does rejects
// its combination with EPOLLONESHOT (epoll_ctl(2), EINVAL); an older kernel ignores the flag.
func probeEpollExclusive() Result {
	var s loopback.Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		return unknown(err.Error(), "")
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return unknown("epoll_create1: "+err.Error(), "")
	}
	s.Own(epoll)
	const events = unix.EPOLLIN | unix.EPOLLEXCLUSIVE
	wrong := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(listener)}
	err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, listener, &wrong)
	if !errors.Is(err, unix.EINVAL) {
		return no("epoll ignores the flag", "use Linux 4.5 or later")
	}
	right := unix.EpollEvent{Events: events, Fd: int32(listener)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, listener, &right); err != nil {
		return no("epoll_ctl: "+err.Error(), "use Linux 4.5 or later")
	}
	if _, err := s.Queue(1, listener); err != nil {
		return unknown(err.Error(), "")
	}
	if woken, err := loopback.Wait(epoll, unix.POLLIN, loopback.Patience); err != nil || !woken {
		return no("registered, but a connection was not reported", "")
	}
	return yes("a connection was reported to the exclusive waiter")
}

// probeIncomingCPU sets SO_INCOMING_CPU of two listeners of a group to two CPUs, and connects from
// each of these CPUs: on loopback the CPU that sends a SYN also receives it. Kernels before 6.2
// accept the option but ignore it in a group.
func probeIncomingCPU() Result {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		return unknown(err.Error(), "")
	}
	if len(cpus) < 2 {
		return unknown("needs two CPUs to tell", "")
	}
	var s loopback.Sockets
	defer s.Close()
	var listeners [2]int
	for i := range listeners {
		if listeners[i], err = s.Listen(); err != nil {
			return unknown(err.Error(), "")
		}
		err := unix.SetsockoptInt(listeners[i], unix.SOL_SOCKET, unix.SO_INCOMING_CPU, cpus[i])
		if err != nil {
			return no("SO_INCOMING_CPU: "+err.Error(), "")
		}
	}
	const n = 8
	const went = "%d of %d connections went to the listener of the CPU they came in on"
	for i := range listeners {
		var alone unix.CPUSet
		alone.Set(cpus[i])
		if err := unix.SchedSetaffinity(0, &alone); err != nil { // the thread ends after the probe
			return unknown("sched_setaffinity: "+err.Error(), "")
		}
		if _, err := s.Connect(n, s.Address); err != nil {
			return unknown(err.Error(), "")
		}
		accepted, err := s.Accept(n, listeners[:]...)
		if err != nil {
			return unknown(err.Error(), "")
		}
		if got := len(accepted[i]); got != n {
			return no(fmt.Sprintf(went, got, n), "use Linux 6.2 or later, or the eBPF selector")
		}
	}
	return yes(went, 2*n, 2*n)
}

func probeMPTCP() Result {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		return no("socket(IPPROTO_MPTCP): "+err.Error(), "")
	}
	unix.Close(socket)
	return yes("on by default in a new network namespace")
}

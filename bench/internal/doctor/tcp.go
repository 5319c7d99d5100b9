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

// queuedForProbe is how many connections wait in the queue when a probe closes their listener.
const queuedForProbe = 16

// A migration is what became of the connections queued at a listener that was closed.
type migration struct {
	queued   int  // before the close
	accepted int  // by the heir, after it
	served   int  // clients that heard from the heir
	reset    int  // clients that were reset
	silent   int  // clients that heard nothing
	woken    bool // epoll reported the heir after the close
}

// closeAndWatch closes old, in whose queue the clients wait, and watches what heir gets of them.
// heir's queue must be empty.
func closeAndWatch(s *loopback.Sockets, old, heir int, clients []int) (migration, error) {
	m := migration{queued: len(clients)}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return m, fmt.Errorf("epoll_create1: %w", err)
	}
	s.Own(epoll)
	// Edge-triggered, as in Go's poller, and registered before the close: only a wake-up can make
	// it ready then.
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
	m.served, m.reset, m.silent = hear(clients, accepted[0])
	return m, nil
}

// hear has the server's side of each connection say one byte, and counts the clients that get it,
// that get a reset, and that get nothing while Patience lasts.
func hear(clients, connections []int) (served, reset, silent int) {
	for _, connection := range connections {
		unix.Write(connection, []byte{1}) // a failure shows at the client
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

// migrateBySysctl sets net.ipv4.tcp_migrate_req in the calling thread's namespace, closes the only
// listener of a group after another has joined it, and says what became of the connections in its
// queue.
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
	clients, err := s.Queue(queuedForProbe, old) // before the heir exists, so that all are with old
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

// judgeMigration gives the verdict for the sysctl and for the eBPF program alike.
func judgeMigration(m migration, err error) Result {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return no("this kernel has no net.ipv4.tcp_migrate_req", "use Linux 5.14 or later, or drain before closing")
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return no(err.Error(), "see "+NetSysctl)
	case err != nil:
		return unknown(err.Error(), "")
	case m.served == m.queued:
		return yes("%d of %d queued connections survived the close", m.served, m.queued)
	}
	return no(fmt.Sprintf("%d of %d queued connections survived the close, %d were reset, %d got no answer",
		m.served, m.queued, m.reset, m.silent), "drain before closing")
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
		return no(fmt.Sprintf("%d connections arrived and epoll did not say so: each waits for the next one to arrive", m.accepted),
			"update the kernel to one with \"call sk_data_ready() after listener migration\" (mainline 3864c6ba1e04, 2026)")
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
	if _, err := s.Queue(n, listener); err != nil { // waits for loopback.QueueDepth to say n
		return no(err.Error(), "")
	}
	return yes("%d waiting connections were counted", n)
}

// probeEpollExclusive makes sure that the kernel knows the flag, and does not just ignore it: one
// that does refuses to combine it with EPOLLONESHOT (epoll_ctl(2), EINVAL).
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
	wrong := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT, Fd: int32(listener)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, listener, &wrong); !errors.Is(err, unix.EINVAL) {
		return no("epoll ignores the flag", "use Linux 4.5 or later")
	}
	right := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(listener)}
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

// probeIncomingCPU gives two listeners of a group a CPU each, and connects from one CPU after the
// other: on loopback the SYN is received on the CPU that sent it. Kernels before 6.2 accept the
// option, and pay no attention in a group.
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
		if err := unix.SetsockoptInt(listeners[i], unix.SOL_SOCKET, unix.SO_INCOMING_CPU, cpus[i]); err != nil {
			return no("SO_INCOMING_CPU: "+err.Error(), "")
		}
	}
	const n = 8
	for i := range listeners {
		var alone unix.CPUSet
		alone.Set(cpus[i])
		if err := unix.SchedSetaffinity(0, &alone); err != nil { // the thread is a throwaway one
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
			return no(fmt.Sprintf("%d of %d connections went to the listener of the CPU they came in on", got, n),
				"use Linux 6.2 or later, or the eBPF selector")
		}
	}
	return yes("%d of %d connections went to the listener of the CPU they came in on", 2*n, 2*n)
}

func probeMPTCP() Result {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		return no("socket(IPPROTO_MPTCP): "+err.Error(), "")
	}
	unix.Close(socket)
	return yes("on by default in a new network namespace")
}

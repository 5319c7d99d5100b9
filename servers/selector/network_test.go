package selector

import (
	"errors"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// patience is the limit of every wait. The awaited events normally take microseconds.
const patience = 5 * time.Second

// network is a private network namespace with only lo. A socket stays in the namespace in which it
// was made, so only making sockets and starting children must happen on the namespace's thread.
type network struct {
	do    chan func()
	ended chan struct{}
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		testkit.Skip(t, "needs %v", missing)
	}
	n := &network{do: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(n.ended)
		_ = sys.OnOwnThread(func() error {
			err := unix.Unshare(unix.CLONE_NEWNET)
			if err == nil {
				var lo netlink.Link
				if lo, err = netlink.LinkByName("lo"); err == nil {
					err = netlink.LinkSetUp(lo)
				}
			}
			ready <- err
			for f := range n.do {
				f()
			}
			return nil
		})
	}()
	err := <-ready
	t.Cleanup(func() { close(n.do); <-n.ended })
	if err != nil {
		testkit.Skip(t, "private network: %v", err)
	}
	return n
}

// run calls f on the namespace's thread.
func (n *network) run(f func()) {
	done := make(chan struct{})
	n.do <- func() { f(); close(done) }
	<-done
}

// socket returns a blocking TCP socket. The test closes it.
func (n *network) socket(t *testing.T) int {
	t.Helper()
	var fd int
	var err error
	n.run(func() { fd, err = tcpSocket(unix.IPPROTO_TCP) })
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func tcpSocket(protocol int) (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
}

var address = unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 8080}

// listen returns a non-blocking listener of the group.
func (n *network) listen(t *testing.T) int {
	t.Helper()
	fd := n.socket(t)
	if err := listen(fd); err != nil {
		t.Fatal(err)
	}
	return fd
}

func listen(fd int) error {
	return errors.Join(
		unix.SetNonblock(fd, true),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &address),
		unix.Listen(fd, 4096))
}

// connect returns a connected client. The test closes it.
func (n *network) connect(t *testing.T) int {
	t.Helper()
	fd := n.socket(t)
	// Because of SO_LINGER, closing the socket sends a reset, which leaves no TIME_WAIT behind. The
	// send timeout also limits a blocking connect (socket(7)).
	limit := unix.NsecToTimeval(int64(patience))
	if err := errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Connect(fd, &address)
		if err == nil || errors.Is(err, unix.EISCONN) {
			return fd
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EALREADY) {
			t.Fatalf("connect: %v", err)
		}
	}
}

// readable waits until one of the descriptors can be read, and returns its index, or -1 after the
// limit. It ignores negative descriptors (poll(2)).
func readable(t *testing.T, limit time.Duration, fds ...int) int {
	t.Helper()
	polled := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		polled[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for end := time.Now().Add(limit); ; {
		n, err := unix.Poll(polled, int(max(time.Until(end), 0)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatalf("poll: %v", err)
		}
		for i := range polled {
			if n > 0 && polled[i].Revents != 0 {
				return i
			}
		}
		if n == 0 {
			return -1
		}
	}
}

// testGroup is a selector and its SO_REUSEPORT group. Everything is in this process: a worker is
// just a listener and a member.
type testGroup struct {
	*network
	t         *testing.T
	selector  *Selector
	listeners []int // descriptors by slot; -1: none
	members   []*Member
}

// newTestGroup returns a selector with n workers in slots 0 to n-1. The workers have joined and are
// listed with the given weights, or with weight 1 if there are none.
func newTestGroup(t *testing.T, cfg Config, n int, weights ...uint32) *testGroup {
	t.Helper()
	g := &testGroup{
		network: newNetwork(t), t: t,
		listeners: make([]int, cfg.Slots), members: make([]*Member, cfg.Slots),
	}
	for i := range g.listeners {
		g.listeners[i] = -1
	}
	var err error
	if g.selector, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for slot := range g.members {
			g.kill(slot)
		}
		if err := g.selector.Close(); err != nil {
			t.Error(err)
		}
	})
	for slot := range n {
		g.join(slot)
		weight := uint32(1)
		if slot < len(weights) {
			weight = weights[slot]
		}
		g.add(slot, weight)
	}
	return g
}

func (g *testGroup) fds() []int {
	var fds []int
	for _, f := range g.selector.Files() {
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

func (g *testGroup) join(slot int) {
	g.t.Helper()
	g.listeners[slot] = g.listen(g.t)
	var err error
	if g.members[slot], err = Join(g.fds(), slot, g.listeners[slot]); err != nil {
		g.t.Fatal(err)
	}
}

func (g *testGroup) add(slot int, weight uint32) {
	g.t.Helper()
	if err := g.selector.Add(slot, weight); err != nil {
		g.t.Fatal(err)
	}
}

// kill ends a worker as SIGKILL does: its listener is closed, its mapping is gone, and it publishes
// nothing more.
func (g *testGroup) kill(slot int) {
	if g.listeners[slot] >= 0 {
		unix.Close(g.listeners[slot])
		g.listeners[slot] = -1
	}
	if g.members[slot] != nil {
		if err := g.members[slot].Close(); err != nil {
			g.t.Error(err)
		}
		g.members[slot] = nil
	}
}

// slot returns the shared state of a slot. Tests change it to simulate events.
func (g *testGroup) slot(slot int) *selectorSlot {
	return (*selectorSlot)(&g.selector.state.Slots[slot])
}

// queue makes one connection, leaves it in the queue of the worker that got it, and returns the
// worker's slot. The client is closed when the test ends.
func (g *testGroup) queue() int {
	g.t.Helper()
	before := g.selector.Stats()
	client := g.connect(g.t)
	g.t.Cleanup(func() { unix.Close(client) })
	for slot, after := range g.selector.Stats().Slots {
		if after.Assigned != before.Slots[slot].Assigned {
			return slot
		}
	}
	g.t.Fatal("a connection was assigned to no slot")
	return -1
}

// serve makes one connection, which the selected worker accepts and closes, and returns the
// worker's slot.
func (g *testGroup) serve() int {
	g.t.Helper()
	client := g.connect(g.t)
	defer unix.Close(client)
	slot := readable(g.t, patience, g.listeners...)
	if slot < 0 {
		g.t.Fatal("a connection is in no queue")
	}
	g.accept(slot)
	return slot
}

// accept accepts and closes one connection from a worker's queue.
func (g *testGroup) accept(slot int) {
	g.t.Helper()
	fd, _, err := unix.Accept4(g.listeners[slot], unix.SOCK_CLOEXEC)
	if err != nil {
		g.t.Fatalf("accept at slot %d: %v", slot, err)
	}
	unix.Close(fd)
	if g.members[slot] != nil {
		g.members[slot].Accepted()
	}
}

// serveMany makes n connections, one after another, and counts them by slot.
func (g *testGroup) serveMany(n int) []int {
	g.t.Helper()
	served := make([]int, len(g.listeners))
	for range n {
		served[g.serve()]++
	}
	return served
}

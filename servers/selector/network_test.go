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

// patience bounds every wait. What is waited for takes microseconds.
const patience = 5 * time.Second

// network is a private network namespace with nothing but lo. A socket keeps the namespace that it
// was made in, so only making sockets, and starting children, has to be done on its thread.
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

// socket makes a TCP socket, blocking, which the test closes.
func (n *network) socket(t *testing.T) int {
	t.Helper()
	var fd int
	var err error
	n.run(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP) })
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

var address = unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 8080}

// listen makes a non-blocking listener of the group.
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

// connect makes a client, which is connected when it returns and which the test closes.
func (n *network) connect(t *testing.T) int {
	t.Helper()
	fd := n.socket(t)
	// A reset at the end leaves no TIME_WAIT behind; the limit of a blocking connect is that of
	// sending (socket(7)).
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

// readable waits until one of the descriptors can be read, and returns its index. Those below 0 are
// passed over (poll(2)).
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

// rig is a selector and a group under it. Everything is in this process: a worker is no more than a
// listener and a member.
type rig struct {
	*network
	t         *testing.T
	selector  *Selector
	listeners []int // by slot; -1 where there is none
	members   []*Member
}

// newRig makes a selector with n workers in slots 0 to n-1, joined and listed with weight 1, or as
// weights say.
func newRig(t *testing.T, cfg Config, n int, weights ...uint32) *rig {
	t.Helper()
	r := &rig{network: newNetwork(t), t: t, listeners: make([]int, cfg.Slots), members: make([]*Member, cfg.Slots)}
	for i := range r.listeners {
		r.listeners[i] = -1
	}
	var err error
	if r.selector, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for slot := range r.members {
			r.kill(slot)
		}
		if err := r.selector.Close(); err != nil {
			t.Error(err)
		}
	})
	for slot := range n {
		r.join(slot)
		weight := uint32(1)
		if slot < len(weights) {
			weight = weights[slot]
		}
		r.add(slot, weight)
	}
	return r
}

func (r *rig) fds() []int {
	var fds []int
	for _, f := range r.selector.Files() {
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

func (r *rig) join(slot int) {
	r.t.Helper()
	r.listeners[slot] = r.listen(r.t)
	var err error
	if r.members[slot], err = Join(r.fds(), slot, r.listeners[slot]); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) add(slot int, weight uint32) {
	r.t.Helper()
	if err := r.selector.Add(slot, weight); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends a worker as SIGKILL does: its listener is closed, its mapping is gone, and it says
// nothing.
func (r *rig) kill(slot int) {
	if r.listeners[slot] >= 0 {
		unix.Close(r.listeners[slot])
		r.listeners[slot] = -1
	}
	if r.members[slot] != nil {
		if err := r.members[slot].Close(); err != nil {
			r.t.Error(err)
		}
		r.members[slot] = nil
	}
}

// slot is the shared state of a slot, for what the test wants to have happened.
func (r *rig) slot(slot int) *selectorSlot { return (*selectorSlot)(&r.selector.state.Slots[slot]) }

// queue makes one connection and leaves it in the queue of the worker that got it, whose slot it
// returns. The client is closed at the end of the test.
func (r *rig) queue() int {
	r.t.Helper()
	before := r.selector.Stats()
	client := r.connect(r.t)
	r.t.Cleanup(func() { unix.Close(client) })
	for slot, after := range r.selector.Stats().Slots {
		if after.Assigned != before.Slots[slot].Assigned {
			return slot
		}
	}
	r.t.Fatal("a connection was assigned to nobody")
	return -1
}

// serve makes one connection, and has the worker that got it accept and close it. It returns its
// slot.
func (r *rig) serve() int {
	r.t.Helper()
	client := r.connect(r.t)
	defer unix.Close(client)
	slot := readable(r.t, patience, r.listeners...)
	if slot < 0 {
		r.t.Fatal("a connection is in nobody's queue")
	}
	r.accept(slot)
	return slot
}

// accept takes one connection from the worker's queue.
func (r *rig) accept(slot int) {
	r.t.Helper()
	fd, _, err := unix.Accept4(r.listeners[slot], unix.SOCK_CLOEXEC)
	if err != nil {
		r.t.Fatalf("accept at slot %d: %v", slot, err)
	}
	unix.Close(fd)
	if r.members[slot] != nil {
		r.members[slot].Accepted()
	}
}

// serveMany counts who gets n connections, one after the other.
func (r *rig) serveMany(n int) []int {
	r.t.Helper()
	served := make([]int, len(r.listeners))
	for range n {
		served[r.serve()]++
	}
	return served
}

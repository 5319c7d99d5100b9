package servers_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// TestKernelHandover checks every way to pass a socket on: the successors serve from their
// predecessors' socket, no request is lost, and the parent holds the shared socket only with socket
// activation.
func TestKernelHandover(t *testing.T) {
	const (
		loop, http        = vocabulary.ServerLoop, vocabulary.ServerHTTP
		epoll, netpoll    = vocabulary.AcceptEpoll, vocabulary.AcceptNetpoll
		shared, reuseport = vocabulary.SocketsShared, vocabulary.SocketsReuseport
		activation        = vocabulary.SocketActivation
		rights            = vocabulary.SCMRights
		tableflip         = vocabulary.Tableflip
	)
	modes := map[vocabulary.Handover]vocabulary.StopMode{
		activation: vocabulary.StopInherit,
		rights:     vocabulary.StopHandoff,
		tableflip:  vocabulary.StopDrain,
	}
	for _, c := range []struct {
		kind     vocabulary.ServerKind
		accept   vocabulary.AcceptMode
		sockets  vocabulary.Sockets
		handover vocabulary.Handover
	}{
		{loop, epoll, shared, activation},
		{loop, epoll, reuseport, activation},
		{loop, vocabulary.AcceptBlocking, shared, activation},
		{loop, epoll, shared, rights},
		{loop, epoll, reuseport, rights},
		{loop, vocabulary.AcceptBlocking, shared, rights},
		{loop, vocabulary.AcceptEpollExclusive, shared, rights},
		{loop, vocabulary.AcceptEpollEdge, reuseport, rights},
		{http, netpoll, shared, activation},
		{http, netpoll, reuseport, activation},
		{http, netpoll, shared, rights},
		{http, netpoll, reuseport, rights},
		{http, netpoll, shared, tableflip},
		{http, netpoll, reuseport, tableflip},
	} {
		name := fmt.Sprintf("%s/%s/%s/%s", c.kind, c.accept, c.sockets, c.handover)
		t.Run(name, func(t *testing.T) {
			g := newTestGroup(t, Config{
				Kind: c.kind, Accept: c.accept, Sockets: c.sockets, Handover: c.handover,
				Workers: 2,
			})
			gen := g.generation()
			first := inodes(t, g, gen)
			stop := g.keepAsking(2)
			for range 3 {
				next := g.generation()
				if got := inodes(t, g, next); !slices.Equal(got, first) {
					t.Errorf("generation %d listens on sockets %v, want %v, those of the first",
						next.Number, got, first)
				}
				g.stop(gen.Workers, modes[c.handover])
				gen = next
			}
			if asked := stop(); asked < 10 {
				t.Errorf("%d requests were answered, want at least 10", asked)
			}
			want := c.sockets == shared && c.handover == activation
			if got := g.HoldsShared(); got != want {
				t.Errorf("the parent holds the shared socket: %t, want %t", got, want)
			}
			for range 10 {
				if w, err := g.ask(); err != nil || !slices.Contains(ids(gen.Workers), w) {
					t.Errorf("worker %d answers, want one of %v, error %v",
						w, ids(gen.Workers), err)
				}
			}
			if err := g.Finish(t.Context()); err != nil {
				t.Error(err)
			}
			for _, w := range g.Workers() {
				if err := w.Err(); err != nil {
					t.Errorf("worker %d: %v", w.ID, err)
				}
			}
		})
	}
}

// inodes returns the inodes of the sockets that a generation listens on.
func inodes(t *testing.T, g *testGroup, gen *Generation) []uint64 {
	t.Helper()
	if g.config.Sockets == vocabulary.SocketsShared {
		var all []uint64
		for _, w := range gen.Workers {
			all = append(all, socketsOf(t, w)...)
		}
		if !slices.Contains(all, g.Listener()) {
			t.Errorf("generation %d has sockets %v, want the shared socket %d among them",
				gen.Number, all, g.Listener())
		}
		return []uint64{g.Listener()}
	}
	var all []uint64
	for _, w := range gen.Workers {
		all = append(all, w.Listener())
	}
	return all
}

// socketsOf returns the inodes of the sockets that a worker has open.
func socketsOf(t *testing.T, w *Worker) []uint64 {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", w.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for _, e := range entries {
		var inode uint64
		if link, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err == nil {
				all = append(all, inode)
			}
		}
	}
	return all
}

// keepAsking sends requests from n goroutines until stop is called. stop returns the number of
// answered requests. A request that is not answered fails the test.
func (g *testGroup) keepAsking(n int) (stop func() int64) {
	var asked atomic.Int64
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := g.ask(); err != nil {
					g.t.Errorf("after %d answers: %v", asked.Load(), err)
					return
				}
				asked.Add(1)
			}
		})
	}
	return func() int64 {
		close(done)
		wait.Wait()
		return asked.Load()
	}
}

// TestKernelAdoptedDies checks that an adopted worker, which its predecessor started, can be
// killed, and that the parent notices and reports its death.
func TestKernelAdoptedDies(t *testing.T) {
	g := newTestGroup(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport,
		Handover: vocabulary.Tableflip, Workers: 1,
	})
	first := g.generation()
	second := g.generation()
	g.stop(first.Workers, vocabulary.StopTableflip)
	w := second.Workers[0]
	if err := unix.Kill(w.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, w.Exited(), "the killed worker to exit")
	if err := w.Err(); !errorHas(err, "exited without being told to") {
		t.Errorf("error %v, want that it exited without being told to", err)
	}
	if l := w.Life(); l.Told != 0 || l.Gone < l.Ready || l.Closed != l.Gone {
		t.Errorf("%+v; want that it was not told, and closed its listener by its exit", l)
	}
	if cpu, own := w.Process().CPU(); own {
		t.Errorf("CPU time %v is known, so the process was not adopted", cpu)
	}
}

// TestKernelNoPredecessor checks that a worker without a predecessor binds its own socket.
func TestKernelNoPredecessor(t *testing.T) {
	both := []vocabulary.Sockets{vocabulary.SocketsShared, vocabulary.SocketsReuseport}
	for _, sockets := range both {
		t.Run(string(sockets), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Sockets: sockets, Handover: vocabulary.SCMRights, Workers: 1,
			})
			gen := g.generation()
			g.stop(gen.Workers, vocabulary.StopKill)
			if w, err := g.ask(); err == nil {
				t.Fatalf("worker %d answers after the only worker was killed", w)
			}
			w, err := g.StartWorker(t.Context(), 1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			g.want("the successor", g.answers(3), map[int]int{w.ID: 3})
		})
	}
}

// TestKernelOfferSurvives checks that a successor that connects to the predecessor's offer and then
// exits does not disturb the predecessor or the next successor.
func TestKernelOfferSurvives(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		t.Run(string(kind), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Kind: kind, Sockets: vocabulary.SocketsShared, Handover: vocabulary.SCMRights,
				Workers: 1,
			})
			gen := g.generation()
			for range 5 {
				s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				offer := &unix.SockaddrUnix{Name: "@" + g.OfferName(gen.Workers[0])}
				if err := unix.Connect(s, offer); err != nil {
					t.Fatal(err)
				}
				if err := unix.Close(s); err != nil {
					t.Fatal(err)
				}
				g.answers(2)
			}
			next := g.generation()
			g.stop(gen.Workers, vocabulary.StopHandoff)
			g.want("the successor", g.answers(3), map[int]int{next.Workers[0].ID: 3})
		})
	}
}

package servers_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// Whichever way a socket is passed on, its successors serve from it and no request is lost on the
// way, although the parent does not have it.
func TestKernelHandover(t *testing.T) {
	modes := map[vocabulary.Handover]vocabulary.StopMode{vocabulary.SocketActivation: vocabulary.StopInherit, vocabulary.SCMRights: vocabulary.StopHandoff, vocabulary.Tableflip: vocabulary.StopDrain}
	for _, c := range []struct {
		kind     vocabulary.ServerKind
		accept   vocabulary.AcceptMode
		sockets  vocabulary.Sockets
		handover vocabulary.Handover
	}{
		{vocabulary.ServerLoop, vocabulary.AcceptEpoll, vocabulary.SocketsShared, vocabulary.SocketActivation}, {vocabulary.ServerLoop, vocabulary.AcceptEpoll, vocabulary.SocketsReuseport, vocabulary.SocketActivation}, {vocabulary.ServerLoop, vocabulary.AcceptBlocking, vocabulary.SocketsShared, vocabulary.SocketActivation},
		{vocabulary.ServerLoop, vocabulary.AcceptEpoll, vocabulary.SocketsShared, vocabulary.SCMRights}, {vocabulary.ServerLoop, vocabulary.AcceptEpoll, vocabulary.SocketsReuseport, vocabulary.SCMRights}, {vocabulary.ServerLoop, vocabulary.AcceptBlocking, vocabulary.SocketsShared, vocabulary.SCMRights},
		{vocabulary.ServerLoop, vocabulary.AcceptEpollExclusive, vocabulary.SocketsShared, vocabulary.SCMRights}, {vocabulary.ServerLoop, vocabulary.AcceptEpollEdge, vocabulary.SocketsReuseport, vocabulary.SCMRights},
		{vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsShared, vocabulary.SocketActivation}, {vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsReuseport, vocabulary.SocketActivation},
		{vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsShared, vocabulary.SCMRights}, {vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsReuseport, vocabulary.SCMRights},
		{vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsShared, vocabulary.Tableflip}, {vocabulary.ServerHTTP, vocabulary.AcceptNetpoll, vocabulary.SocketsReuseport, vocabulary.Tableflip},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s/%s", c.kind, c.accept, c.sockets, c.handover), func(t *testing.T) {
			r := newRig(t, Config{Kind: c.kind, Accept: c.accept, Sockets: c.sockets, Handover: c.handover, Workers: 2})
			gen := r.generation()
			first := inodes(t, r, gen)
			stop := r.keepAsking(2)
			for range 3 {
				next := r.generation()
				if got := inodes(t, r, next); !slices.Equal(got, first) {
					t.Errorf("generation %d listens at sockets %v, not at those of the first, %v", next.Number, got, first)
				}
				r.stop(gen.Workers, modes[c.handover])
				gen = next
			}
			if asked := stop(); asked < 10 {
				t.Errorf("only %d requests", asked)
			}
			if held := r.HoldsShared(); held != (c.sockets == vocabulary.SocketsShared && c.handover == vocabulary.SocketActivation) {
				t.Errorf("the parent holds the shared socket: %v", held)
			}
			for range 10 {
				if w, err := r.ask(); err != nil || !slices.ContainsFunc(gen.Workers, func(g *Worker) bool { return g.ID == w }) {
					t.Errorf("worker %d answers, error %v", w, err)
				}
			}
			if err := r.Finish(t.Context()); err != nil {
				t.Error(err)
			}
			for _, w := range r.Workers() {
				if err := w.Err(); err != nil {
					t.Errorf("worker %d: %v", w.ID, err)
				}
			}
		})
	}
}

// inodes are the sockets that a generation listens at.
func inodes(t *testing.T, r *rig, gen *Generation) []uint64 {
	t.Helper()
	if r.config.Sockets == vocabulary.SocketsShared {
		var all []uint64
		for _, w := range gen.Workers {
			all = append(all, socketsOf(t, w)...)
		}
		if !slices.Contains(all, r.Listener()) {
			t.Errorf("no worker of generation %d has the shared socket %d among %v", gen.Number, r.Listener(), all)
		}
		return []uint64{r.Listener()}
	}
	var all []uint64
	for _, w := range gen.Workers {
		all = append(all, w.Listener())
	}
	return all
}

// socketsOf are the inodes of the sockets that a worker has open.
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

// keepAsking sends requests from n goroutines until the result, which says how many were answered,
// is called. One that is not answered fails the test.
func (r *rig) keepAsking(n int) (stop func() int64) {
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
				if _, err := r.ask(); err != nil {
					r.t.Errorf("after %d answers: %v", asked.Load(), err)
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

// An adopted worker is a process like any other: it can be killed, it is missed when it dies, and
// its exit is noticed.
func TestKernelAdoptedDies(t *testing.T) {
	r := newRig(t, Config{Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Handover: vocabulary.Tableflip, Workers: 1})
	first := r.generation()
	second := r.generation()
	r.stop(first.Workers, vocabulary.StopTableflip)
	w := second.Workers[0]
	if err := unix.Kill(w.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, w.Exited(), "the end of the killed worker")
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "exited without being told to") {
		t.Errorf("error %v", err)
	}
	if cpu, own := w.Process().CPU(); own {
		t.Errorf("it used %v, as its parent knows: it was not adopted", cpu)
	}
}

// Who has nobody to get the socket from binds it.
func TestKernelNobodyPasses(t *testing.T) {
	for _, sockets := range []vocabulary.Sockets{vocabulary.SocketsShared, vocabulary.SocketsReuseport} {
		t.Run(string(sockets), func(t *testing.T) {
			r := newRig(t, Config{Sockets: sockets, Handover: vocabulary.SCMRights, Workers: 1})
			gen := r.generation()
			r.stop(gen.Workers, vocabulary.StopKill)
			if w, err := r.ask(); err == nil {
				t.Fatalf("worker %d answers after the only one was killed: who holds the socket?", w)
			}
			w, err := r.StartWorker(t.Context(), 1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			r.want("the successor", r.answers(3), map[int]int{w.ID: 3})
		})
	}
}

// A successor that asks and then dies does not hold up its predecessor, and neither does one that
// asks for nothing.
func TestKernelOfferSurvives(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, Config{Kind: kind, Sockets: vocabulary.SocketsShared, Handover: vocabulary.SCMRights, Workers: 1})
			gen := r.generation()
			for range 5 {
				s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.Connect(s, &unix.SockaddrUnix{Name: "@" + r.OfferName(gen.Workers[0])}); err != nil {
					t.Fatal(err)
				}
				if err := unix.Close(s); err != nil {
					t.Fatal(err)
				}
				r.answers(2)
			}
			next := r.generation()
			r.stop(gen.Workers, vocabulary.StopHandoff)
			r.want("the successor", r.answers(3), map[int]int{next.Workers[0].ID: 3})
		})
	}
}

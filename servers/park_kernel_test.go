package servers_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// park parks processes. An error fails the test.
func (g *testGroup) park(indexes ...int) []*Worker {
	g.t.Helper()
	if err := errors.Join(g.Park(indexes...), g.AwaitParked(g.t.Context())); err != nil {
		g.t.Fatal(err)
	}
	return g.Parked()
}

// ids returns the workers' IDs.
func ids(workers []*Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.ID)
	}
	return all
}

// TestKernelParked checks that a parked process serves nothing, that it becomes the next worker
// with its index in every stop mode, selector and accept mode, and that it then serves.
func TestKernelParked(t *testing.T) {
	type setup struct {
		name string
		cfg  Config
		stop vocabulary.StopMode
	}
	both := []vocabulary.Sockets{vocabulary.SocketsShared, vocabulary.SocketsReuseport}
	var all []setup
	for _, kind := range vocabulary.WorkerKinds() {
		for _, mode := range vocabulary.StopModes() {
			parks := !mode.Rebinds && mode.Handover != vocabulary.Tableflip
			if !mode.Kind.Allows(kind.Name) || !parks {
				continue
			}
			for _, sockets := range both {
				if mode.Sockets.Allows(sockets) {
					all = append(all, setup{
						string(kind.Name) + "/" + string(sockets) + "/" + string(mode.Name),
						Config{
							Kind: kind.Name, Sockets: sockets, Handover: mode.Handover,
							ListedOnly: mode.Unlists,
						},
						mode.Name,
					})
				}
			}
		}
	}
	for _, s := range vocabulary.Selectors() {
		if s.Sockets.Allows(vocabulary.SocketsReuseport) {
			all = append(all, setup{
				"selector/" + string(s.Name),
				Config{Sockets: vocabulary.SocketsReuseport, Selection: s.Name},
				vocabulary.StopDrain,
			})
		}
	}
	for _, a := range []vocabulary.AcceptMode{
		vocabulary.AcceptEpollExclusive, vocabulary.AcceptEpollEdge, vocabulary.AcceptBlocking,
	} {
		all = append(all, setup{
			"accept/" + string(a),
			Config{Sockets: vocabulary.SocketsShared, Accept: a, Handover: vocabulary.SCMRights},
			vocabulary.StopHandoff,
		})
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			s.cfg.Workers, s.cfg.Grace = 2, 2*time.Second
			g := newTestGroup(t, s.cfg)
			old := g.generation()
			parked := g.park(0, 1)
			for id := range g.answers(8) {
				if !slices.Contains(ids(old.Workers), id) {
					t.Errorf("worker %d answers, want only %v", id, ids(old.Workers))
				}
			}
			g.starts = 0 // no more processes can be started
			next := g.generation()
			if diff := cmp.Diff(ids(next.Workers), []int{2, 3}); diff != "" {
				t.Errorf("IDs of the new workers (-got +want):\n%s", diff)
			}
			if !slices.Equal(next.Workers, parked) {
				t.Error("the new workers are not the parked processes")
			}
			g.stop(old.Workers, s.stop)
			for id := range g.answers(8) {
				if !slices.Contains(ids(next.Workers), id) {
					t.Errorf("worker %d answers, want only %v", id, ids(next.Workers))
				}
			}
			for _, w := range next.Workers {
				if at := w.ParkedAt(); at == 0 || at > w.ReadyAt() {
					t.Errorf("worker %d: parked at %d, ready at %d", w.ID, at, w.ReadyAt())
				}
				// Life counts from when the process became a worker.
				if l := w.Life(); l.Started < w.ParkedAt() || l.Started > l.Ready || l.Told != 0 {
					t.Errorf("worker %d: %+v, parked at %d", w.ID, l, w.ParkedAt())
				}
			}
			g.stop(next.Workers, s.stop)
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

// TestKernelParkedRebinds checks that a parked process binds the group's only address once its
// predecessor has closed it.
func TestKernelParkedRebinds(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsExclusive, Workers: 1})
	old := g.generation()
	g.park(0)
	next, err := g.Launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.want("the old worker", g.answers(3), map[int]int{0: 3})
	g.stop(old.Workers, vocabulary.StopBindAfterClose)
	if err := g.Await(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	g.want("the new worker", g.answers(3), map[int]int{1: 3})
	if next.Workers[0].ParkedAt() == 0 {
		t.Error("the new worker was not parked")
	}
}

// TestKernelParkedByIndex checks that a worker takes over only a parked process with its own index,
// and that more processes can be parked after that.
func TestKernelParkedByIndex(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 2, Pin: []int{5, 2}})
	g.generation()
	g.park(1, 1)
	start := func(index int) *Worker {
		t.Helper()
		w, err := g.StartWorker(t.Context(), 1, index, 0)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := start(0); w.ParkedAt() != 0 || w.ID != 2 {
		t.Errorf("worker %d with index 0 was parked, want worker 2, not parked", w.ID)
	}
	if n := len(g.Parked()); n != 2 {
		t.Errorf("%d processes are parked, want 2", n)
	}
	for want := range 2 {
		if w := start(1); w.ParkedAt() == 0 || w.ID != 3+want {
			t.Errorf("worker %d with index 1 was not parked, want worker %d, parked", w.ID, 3+want)
		}
	}
	if w := start(1); w.ParkedAt() != 0 {
		t.Errorf("worker %d was parked, but no parked process was left", w.ID)
	}
	if g.park(0); len(g.Parked()) != 1 {
		t.Errorf("%d processes are parked, want the one parked last", len(g.Parked()))
	}
	// The CPUs that each process was started on, in start order.
	if diff := cmp.Diff(g.cpus, [][]int{{5}, {2}, {2}, {2}, {5}, {2}, {5}}); diff != "" {
		t.Errorf("CPUs that processes were started on (-got +want):\n%s", diff)
	}
}

// TestKernelTakenOverEarly checks that a process does not count as parked if a worker took over the
// process while it was still starting.
func TestKernelTakenOverEarly(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	g.generation()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(startGate, gate)
	if err := g.Park(0); err != nil {
		t.Fatal(err)
	}
	parked := g.Parked()[0]
	w, err := g.LaunchWorker(t.Context(), 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0); err != nil { // lets the process start
		t.Fatal(err)
	}
	if err := g.AwaitWorker(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if w != parked || w.ParkedAt() != 0 {
		t.Errorf("worker %d was parked at %d, want 0 and the parked process", w.ID, w.ParkedAt())
	}
}

// TestKernelParkedAreEnded checks that Close kills parked processes and leaves nothing behind.
func TestKernelParkedAreEnded(t *testing.T) {
	before := descriptors(t, os.Getpid())
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsShared, Workers: 2})
	g.generation()
	parked := g.park(0, 1, 1)
	if err := unix.Kill(parked[1].PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range parked {
		within(t, 5*time.Second, w.Exited(), "a parked process to exit")
	}
	if diff := cmp.Diff(descriptors(t, os.Getpid()), before); diff != "" {
		t.Errorf("descriptors (-after +before):\n%s", diff)
	}
}

// TestKernelParkedOrphan checks that a parked process exits when it reads EOF from its control
// pipe.
func TestKernelParkedOrphan(t *testing.T) {
	handovers := []vocabulary.Handover{vocabulary.NoHandover, vocabulary.SocketActivation}
	for _, handover := range handovers {
		g := newTestGroup(t, Config{
			Sockets: vocabulary.SocketsShared, Handover: handover, Workers: 1,
		})
		g.generation()
		parked := g.park(0)
		if err := parked[0].Process().CloseControl(); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, parked[0].Exited(), "a parked process without a parent to exit")
	}
}

// TestKernelParkedDies checks that starting a worker fails if its parked process has died, that the
// error says so, and that nothing is left of the process.
func TestKernelParkedDies(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	g.generation()
	parked := g.park(0)[0]
	if err := unix.Kill(parked.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, parked.Exited(), "the killed process to exit")
	_, err := g.StartWorker(t.Context(), 1, 0, 0)
	if !errorHas(err, "worker 1: ", "broken pipe") {
		t.Errorf("error %v, want a broken pipe of worker 1", err)
	}
	if n := len(g.Parked()); n != 0 {
		t.Errorf("%d processes are parked, want 0", n)
	}
	if w, err := g.StartWorker(t.Context(), 1, 0, 0); err != nil || w.ParkedAt() != 0 {
		t.Errorf("the next worker was parked, or failed: %v", err)
	}
}

// TestKernelNotParked checks that Park refuses workers that cannot be parked.
func TestKernelNotParked(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		index int
		want  string
	}{
		{"tableflip", Config{
			Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsShared,
			Handover: vocabulary.Tableflip,
		}, 0, "cannot be parked"},
		{"acceptor", Config{
			Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptor,
		}, 0, "cannot be parked"},
		{"an index without a worker", Config{
			Sockets: vocabulary.SocketsReuseport, Handover: vocabulary.SocketActivation,
		}, 1, "its socket would listen too early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Workers = 1
			g := newTestGroup(t, test.cfg)
			g.generation()
			if err := g.Park(test.index); !errorHas(err, test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if n := len(g.Parked()); n != 0 {
				t.Errorf("%d processes are parked, want 0", n)
			}
		})
	}
}

// TestKernelParkFails checks that Park reports a process that cannot be started, and keeps the
// processes started before it.
func TestKernelParkFails(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	g.generation()
	g.starts = 1
	if err := g.Park(0, 0); !errorHas(err, "index 0: start: no more starts") {
		t.Errorf("error %v, want that of the second start", err)
	}
	if n := len(g.Parked()); n != 1 {
		t.Errorf("%d processes are parked, want 1", n)
	}
	g.starts = -1
}

// TestKernelParkedFails checks that, if a process fails before it is parked, the error includes the
// standard error of the process.
func TestKernelParkedFails(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	g.generation()
	g.command = func() *exec.Cmd {
		return exec.Command("/bin/sh", "-c", "echo out of luck >&2; exit 1")
	}
	err := errors.Join(g.Park(0), g.AwaitParked(t.Context()))
	if !errorHas(err, "index 0", "out of luck") {
		t.Errorf("error %v, want that of index 0 with its standard error", err)
	}
}

package servers_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// park parks processes and fails the test if they cannot be.
func (r *rig) park(indexes ...int) []*Worker {
	r.t.Helper()
	if err := errors.Join(r.Park(indexes...), r.AwaitParked(r.t.Context())); err != nil {
		r.t.Fatal(err)
	}
	return r.Parked()
}

// ids are the workers' IDs.
func ids(workers []*Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.ID)
	}
	return all
}

// A parked process serves nobody, becomes the next worker with its index however its predecessor
// ends and passes its socket on, and is that worker's own from then on.
func TestKernelParked(t *testing.T) {
	type setup struct {
		name string
		cfg  Config
		stop vocabulary.StopMode
	}
	var all []setup
	for _, kind := range vocabulary.ServerKinds() {
		for _, mode := range vocabulary.StopModes() {
			if !mode.Kind.Allows(kind.Name) || mode.Rebinds || mode.Handover == vocabulary.Tableflip {
				continue
			}
			for _, sockets := range []vocabulary.Sockets{vocabulary.SocketsShared, vocabulary.SocketsReuseport} {
				if mode.Sockets.Allows(sockets) {
					all = append(all, setup{
						string(kind.Name) + "/" + string(sockets) + "/" + string(mode.Name),
						Config{Kind: kind.Name, Sockets: sockets, Handover: mode.Handover, ListedOnly: mode.Unlists},
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
				Config{Sockets: vocabulary.SocketsReuseport, Selection: s.Name}, vocabulary.StopDrain,
			})
		}
	}
	for _, a := range []vocabulary.AcceptMode{vocabulary.AcceptEpollExclusive, vocabulary.AcceptEpollEdge, vocabulary.AcceptBlocking} {
		all = append(all, setup{
			"accept/" + string(a),
			Config{Sockets: vocabulary.SocketsShared, Accept: a, Handover: vocabulary.SCMRights}, vocabulary.StopHandoff,
		})
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			s.cfg.Workers, s.cfg.Grace = 2, 2*time.Second
			r := newRig(t, s.cfg)
			old := r.generation()
			parked := r.park(0, 1)
			for id := range r.answers(8) {
				if !slices.Contains(ids(old.Workers), id) {
					t.Errorf("worker %d answers while there is but %v", id, ids(old.Workers))
				}
			}
			r.starts = 0 // no process more
			next := r.generation()
			if diff := cmp.Diff(ids(next.Workers), []int{2, 3}); diff != "" || !slices.Equal(next.Workers, parked) {
				t.Errorf("the workers are not those that were parked; their IDs (-got +want):\n%s", diff)
			}
			r.stop(old.Workers, s.stop)
			for id := range r.answers(8) {
				if !slices.Contains(ids(next.Workers), id) {
					t.Errorf("worker %d answers when %v are left", id, ids(next.Workers))
				}
			}
			for _, w := range next.Workers {
				if at := w.ParkedAt(); at == 0 || at > w.ReadyAt() {
					t.Errorf("worker %d was parked at %d and ready at %d", w.ID, at, w.ReadyAt())
				}
			}
			r.stop(next.Workers, s.stop)
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

// A parked process tries to bind the one address there is when its predecessor is about to leave.
func TestKernelParkedRebinds(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsExclusive, Workers: 1})
	old := r.generation()
	r.park(0)
	next, err := r.Launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.want("the old worker", r.answers(3), map[int]int{0: 3})
	r.stop(old.Workers, vocabulary.StopBindAfterClose)
	if err := r.Await(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	r.want("the new worker", r.answers(3), map[int]int{1: 3})
	if next.Workers[0].ParkedAt() == 0 {
		t.Error("the new worker was not parked")
	}
}

// A worker takes over a process of its own index, or none. More can be parked then.
func TestKernelParkedByIndex(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 2, Pin: []int{5, 2}})
	r.generation()
	r.park(1, 1)
	start := func(index int) *Worker {
		t.Helper()
		w, err := r.StartWorker(t.Context(), 1, index, 0)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := start(0); w.ParkedAt() != 0 || w.ID != 2 {
		t.Errorf("worker %d of index 0 was parked", w.ID)
	}
	if n := len(r.Parked()); n != 2 {
		t.Errorf("%d are parked, want both", n)
	}
	for want := range 2 {
		if w := start(1); w.ParkedAt() == 0 || w.ID != 3+want {
			t.Errorf("worker %d of index 1 was not parked", w.ID)
		}
	}
	if w := start(1); w.ParkedAt() != 0 {
		t.Errorf("worker %d was parked when nothing was left", w.ID)
	}
	if r.park(0); len(r.Parked()) != 1 {
		t.Errorf("%d are parked, want the one that came later", len(r.Parked()))
	}
	// Of every process, in order of their start.
	if diff := cmp.Diff(r.cpus, [][]int{{5}, {2}, {2}, {2}, {5}, {2}, {5}}); diff != "" {
		t.Errorf("CPUs that processes were started on (-got +want):\n%s", diff)
	}
}

// A process that is still being started when a worker takes it over was not parked.
func TestKernelTakenOverEarly(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	r.generation()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(startGate, gate)
	if err := r.Park(0); err != nil {
		t.Fatal(err)
	}
	parked := r.Parked()[0]
	w, err := r.LaunchWorker(t.Context(), 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0); err != nil { // opens it for both sides
		t.Fatal(err)
	}
	if err := r.AwaitWorker(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if w != parked || w.ParkedAt() != 0 {
		t.Errorf("worker %d was parked at %d, before it was taken over", w.ID, w.ParkedAt())
	}
}

// Nothing is left of processes that no worker has taken over, nor of the group.
func TestKernelParkedAreEnded(t *testing.T) {
	before := descriptors(t, os.Getpid())
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Workers: 2})
	r.generation()
	parked := r.park(0, 1, 1)
	if err := unix.Kill(parked[1].PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range parked {
		within(t, time.Second, w.Exited(), "a parked process to be gone")
	}
	if diff := cmp.Diff(descriptors(t, os.Getpid()), before); diff != "" {
		t.Errorf("descriptors (-after +before):\n%s", diff)
	}
}

// A parked process whose control pipe ends, exits.
func TestKernelParkedOrphan(t *testing.T) {
	for _, handover := range []vocabulary.Handover{vocabulary.NoHandover, vocabulary.SocketActivation} {
		r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Handover: handover, Workers: 1})
		r.generation()
		parked := r.park(0)
		if err := parked[0].Process().CloseControl(); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, parked[0].Exited(), "a parked process, whose parent has gone, to exit")
	}
}

// A worker cannot take over a process that has died, and the error says so. Nothing of it is left.
func TestKernelParkedDies(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	r.generation()
	parked := r.park(0)[0]
	if err := unix.Kill(parked.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, parked.Exited(), "the end of the killed process")
	_, err := r.StartWorker(t.Context(), 1, 0, 0)
	if err == nil || !strings.Contains(err.Error(), "worker 1: ") || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("error %v", err)
	}
	if n := len(r.Parked()); n != 0 {
		t.Errorf("%d are parked", n)
	}
	if w, err := r.StartWorker(t.Context(), 1, 0, 0); err != nil || w.ParkedAt() != 0 {
		t.Errorf("the next one: %v", err)
	}
}

// What cannot be parked is refused.
func TestKernelNotParked(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		index int
		want  string
	}{
		{"tableflip", Config{
			Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsShared, Handover: vocabulary.Tableflip,
		}, 0, "cannot be parked"},
		{"acceptor", Config{
			Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptor,
		}, 0, "cannot be parked"},
		{"a socket that nobody has", Config{
			Sockets: vocabulary.SocketsReuseport, Handover: vocabulary.SocketActivation,
		}, 1, "its socket would listen too early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Workers = 1
			r := newRig(t, test.cfg)
			r.generation()
			if err := r.Park(test.index); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if n := len(r.Parked()); n != 0 {
				t.Errorf("%d are parked", n)
			}
		})
	}
}

// A process that cannot be started is not parked, and those before it are.
func TestKernelParkFails(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	r.generation()
	r.starts = 1
	if err := r.Park(0, 0); err == nil || !strings.Contains(err.Error(), "index 0: start: no more") {
		t.Errorf("error %v", err)
	}
	if n := len(r.Parked()); n != 1 {
		t.Errorf("%d are parked, want 1", n)
	}
	r.starts = -1
}

// A process that fails before it is parked says why.
func TestKernelParkedFails(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	r.generation()
	r.command = func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "echo out of luck >&2; exit 1") }
	err := errors.Join(r.Park(0), r.AwaitParked(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "index 0") || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("error %v", err)
	}
}

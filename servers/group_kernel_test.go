package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/testkit"
	"reuseport-bench/servers/worker"
)

// childWorker, as the only argument, makes the test binary a worker.
const childWorker = "worker"

// startGate is the environment variable with the FIFO that holds up the start of a worker.
const startGate = "REUSEPORT_BENCH_TEST_GATE"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childWorker {
		if gate := os.Getenv(startGate); gate != "" {
			_, _ = os.ReadFile(gate) // waits until somebody writes to it
		}
		if err := worker.Main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// rig is a group of real processes in the test's own network.
type rig struct {
	*Group
	t      *testing.T
	config Config
	target netip.AddrPort
	starts int     // processes that may still be started; negative: any number
	cpus   [][]int // that each process was to be started on
	// command, where it is not nil, replaces that of a worker.
	command func() *exec.Cmd
	noted   map[int][]journal.Record // what the journals said, by worker
}

// newRig prepares a group of workers, 4 if the configuration leaves it open, that listen on the
// loopback interface.
func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, starts: -1, target: freePort(t), noted: map[int][]journal.Record{}}
	cfg.Address, cfg.Backlog = r.target, 128
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Kind == "" {
		cfg.Kind = vocabulary.ServerLoop
	}
	r.config = cfg
	r.Group, err = NewGroup(cfg, Env{
		Command: func() *exec.Cmd {
			if r.command != nil {
				return r.command()
			}
			c := exec.Command("/proc/self/exe", childWorker)
			c.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
			return c
		},
		Start: func(c *exec.Cmd, cpus []int) error {
			if r.starts == 0 {
				return errors.New("no more")
			}
			r.starts--
			r.cpus = append(r.cpus, cpus)
			return c.Start()
		},
		Do:       func(f func() error) error { return f() },
		Account:  func(w *Worker, n journal.Record) { r.noted[w.ID] = append(r.noted[w.ID], n) },
		Clock:    clk,
		HalfOpen: func() (map[uint64]int, error) { return nil, nil },
	})
	if errors.Is(err, unix.EPERM) {
		testkit.Skip(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// freePort is a loopback address that nobody listens at, and that stays taken for all who do not
// set SO_REUSEADDR.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (r *rig) generation() *Generation {
	r.t.Helper()
	gen, err := r.StartGeneration(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return gen
}

// stop stops workers and fails the test if they do not.
func (r *rig) stop(workers []*Worker, mode vocabulary.StopMode) {
	r.t.Helper()
	if _, _, err := r.Stop(r.t.Context(), workers, mode); err != nil {
		r.t.Fatal(err)
	}
}

// ask sends one request and returns the ID of the worker that answered it.
func (r *rig) ask() (int, error) {
	c, err := net.Dial("tcp", r.target.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return strconv.Atoi(response.Header.Get("Worker"))
}

// answers sends n requests, one after the other, and counts them by the worker that answered.
func (r *rig) answers(n int) map[int]int {
	r.t.Helper()
	by := map[int]int{}
	for range n {
		w, err := r.ask()
		if err != nil {
			r.t.Fatal(err)
		}
		by[w]++
	}
	return by
}

func (r *rig) want(what string, got, want map[int]int) {
	r.t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		r.t.Errorf("%s: answers by worker (-got +want):\n%s", what, diff)
	}
}

// Two commands that a busy worker reads at once are both obeyed.
func TestKernelCommandsTogether(t *testing.T) {
	for _, accept := range []vocabulary.AcceptMode{vocabulary.AcceptEpoll, vocabulary.AcceptBlocking} {
		t.Run(string(accept), func(t *testing.T) {
			r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Accept: accept, Workers: 1})
			w := r.generation().Workers[0]
			r.want("before", r.answers(2), map[int]int{w.ID: 2})
			w.ExpectStop(vocabulary.StopClose)
			if err := w.Process().Send(Command{BusyLoop: time.Millisecond}, Command{Stop: vocabulary.StopClose}); err != nil {
				t.Fatal(err)
			}
			within(t, 5*time.Second, w.Closed(), "the worker to close its listener")
			within(t, 5*time.Second, w.Exited(), "the worker to exit")
			if mode := w.Closing().Mode; mode != vocabulary.StopClose {
				t.Errorf("it ended by %q", mode)
			}
		})
	}
}

// within waits for a channel to be closed.
func within(t *testing.T, limit time.Duration, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("waited %v for %s", limit, what)
	}
}

// Workers that are interrupted again and again while they wait in accept, serve or have just read
// the command, go on.
func TestKernelBlockingIsInterrupted(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptBlocking, Workers: 2, Work: Work{Sleep: 300 * time.Microsecond}})
	gen := r.generation()
	for range 50 {
		if err := BusyLoop(gen.Workers, time.Microsecond); err != nil {
			t.Fatal(err)
		}
		r.answers(2)
	}
	r.stop(gen.Workers, vocabulary.StopHandoff)
}

// O_NONBLOCK is everybody's who inherited the socket: a worker that leaves must not change it under
// its successor.
func TestKernelHandoffKeepsBlocking(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptBlocking, Workers: 2})
	old := r.generation()
	r.answers(4)
	r.generation()
	r.stop(old.Workers, vocabulary.StopHandoff)
	if !r.HoldsShared() {
		t.Fatal("the parent should still hold the socket")
	}
	flags, err := unix.FcntlInt(uintptr(r.Shared()), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.O_NONBLOCK != 0 {
		t.Error("the successors' socket does not block any more")
	}
	if by := r.answers(4); by[2]+by[3] != 4 {
		t.Errorf("answers by worker %v, want them of the successors", by)
	}
}

// An acceptor goes on without a worker that was killed, whose turns are then everybody's, and
// without one that is stopped, whose turns wait for it.
func TestKernelAcceptorOutlivesWorkers(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptor})
	gen := r.generation()
	r.want("all", r.answers(8), map[int]int{0: 2, 1: 2, 2: 2, 3: 2})
	r.stop(gen.Workers[1:2], vocabulary.StopKill)
	r.want("without 1", r.answers(30), map[int]int{0: 10, 2: 10, 3: 10})

	if err := Signal(gen.Workers[2:3], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 30)
	var wait sync.WaitGroup
	for range 30 {
		wait.Go(func() {
			w, err := r.ask()
			if err != nil {
				t.Error(err)
			}
			answered <- w
		})
	}
	by := map[int]int{}
	for range 20 {
		by[<-answered]++
	}
	r.want("while 2 is stopped", by, map[int]int{0: 10, 3: 10})
	if err := Signal(gen.Workers[2:3], unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	r.want("when 2 goes on", map[int]int{<-answered: 1, <-answered: 1}, map[int]int{2: 1})

	r.stop([]*Worker{gen.Workers[0], gen.Workers[2], gen.Workers[3]}, vocabulary.StopDrain)
	if err := r.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	within(t, 5*time.Second, r.Acceptor().Exited(), "the acceptor to exit")
	for _, w := range r.Workers() {
		if w.Err() != nil {
			t.Errorf("worker %d: %v", w.ID, w.Err())
		}
	}
}

// An acceptor that waits for acknowledgements gives a worker that is stopped one connection, and
// goes on without one that was killed.
func TestKernelAcknowledged(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck})
	gen := r.generation()
	r.want("all", r.answers(8), map[int]int{0: 2, 1: 2, 2: 2, 3: 2})
	r.stop(gen.Workers[1:2], vocabulary.StopKill)
	r.want("without 1", r.answers(30), map[int]int{0: 10, 2: 10, 3: 10})

	if err := Signal(gen.Workers[2:3], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 30
	answered := make(chan int, n)
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			w, err := r.ask()
			if err != nil {
				t.Error(err)
			}
			answered <- w
		})
	}
	by := map[int]int{}
	for range n - 1 {
		by[<-answered]++
	}
	if by[2] > 0 || by[0] == 0 || by[3] == 0 {
		t.Errorf("answers by worker while 2 is stopped: %v", by)
	}
	if err := Signal(gen.Workers[2:3], unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	r.want("when 2 goes on", map[int]int{<-answered: 1}, map[int]int{2: 1})
	// It is free again.
	r.want("and then", r.answers(30), map[int]int{0: 10, 2: 10, 3: 10})
}

// With every worker stopped, connections wait in the accept queue, and are passed on when the
// workers go on, although the acceptor has been told to stop meanwhile.
func TestKernelAcknowledgedStop(t *testing.T) {
	r := newRig(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck, Workers: 1,
		Grace: 4 * time.Second,
	})
	gen := r.generation()
	if err := Signal(gen.Workers, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 5
	clients := make([]net.Conn, n)
	for i := range clients {
		c, err := net.Dial("tcp", r.target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	r.Acceptor().ExpectStop(vocabulary.StopDrain)
	if err := r.Acceptor().Process().Send(Command{Stop: vocabulary.StopDrain}); err != nil {
		t.Fatal(err)
	}
	if err := Signal(gen.Workers, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			continue
		}
		response.Body.Close()
	}
	within(t, 5*time.Second, r.Acceptor().Exited(), "the acceptor to exit")
}

// An acceptor that waits for workers which stand still gives up when the grace that it is told of
// is half over, not its own.
func TestKernelAcknowledgedGrace(t *testing.T) {
	r := newRig(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck, Workers: 1,
		Grace: time.Minute,
	})
	gen := r.generation()
	if err := Signal(gen.Workers, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the worker is given one, the other waits
		c, err := net.Dial("tcp", r.target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.Acceptor().ExpectStop(vocabulary.StopDrain)
	for _, c := range []Command{{Stop: vocabulary.StopDrain}, {Grace: 100 * time.Millisecond}} {
		if err := r.Acceptor().Process().Send(c); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 10*time.Second, r.Acceptor().Exited(), "the acceptor to exit")
	if err := Signal(gen.Workers, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// modes are the ways to accept and to select, each with the sockets that a worker and an acceptor
// have open.
var modes = []struct {
	name              string
	cfg               Config
	sockets, acceptor int
}{
	{"epoll shared", Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptEpoll}, 1, 0},
	{"blocking shared", Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptBlocking}, 1, 0},
	{"acceptor", Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptor}, 1, 5},
	{"acceptor with acknowledgements", Config{Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck}, 1, 5},
	{"epoll reuseport", Config{Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptEpoll}, 1, 0},
	{"blocking reuseport", Config{Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptBlocking}, 1, 0},
	{"round-robin", Config{Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptEpoll, Selection: vocabulary.SelectorRoundRobin}, 1, 0},
	{"http shared", Config{Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptNetpoll}, 1, 0},
	{"http round-robin", Config{Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptNetpoll, Selection: vocabulary.SelectorRoundRobin}, 1, 0},
}

// A worker has its own sockets and no others, and the parent none but the shared one. Whose control
// pipe ends, exits.
func TestKernelInheritanceAndOrphans(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			before := sockets(t, os.Getpid())
			r := newRig(t, m.cfg)
			gen := r.generation()
			for _, w := range r.Workers() {
				want := m.sockets
				if w.Acceptor {
					want = m.acceptor
				}
				if got := sockets(t, w.PID()); len(got) != want {
					t.Errorf("worker %d has the sockets %v, want %d", w.ID, got, want)
				}
			}
			want := len(before)
			if m.cfg.Sockets == vocabulary.SocketsShared {
				want++
			}
			if got := sockets(t, os.Getpid()); len(got) != want {
				t.Errorf("the parent has the sockets %v; before it had %v", got, before)
			}
			if len(r.answers(4)) == 0 || len(gen.Workers) != 4 {
				t.Errorf("%d workers", len(gen.Workers))
			}
			for _, w := range r.Workers() {
				if err := w.Process().CloseControl(); err != nil {
					t.Fatal(err)
				}
				within(t, 5*time.Second, w.Exited(), fmt.Sprintf("worker %d, whose parent has gone, to exit", w.ID))
			}
		})
	}
}

// sockets are what a process has open of them.
func sockets(t *testing.T, pid int) (all []string) {
	t.Helper()
	for _, link := range descriptors(t, pid) {
		if strings.HasPrefix(link, "socket:") {
			all = append(all, link)
		}
	}
	return all
}

// descriptors are what a process has open, but not the poller of the Go runtime, which comes when
// it is needed.
func descriptors(t *testing.T, pid int) (all []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		link, err := os.Readlink(dir + "/" + e.Name())
		if err == nil && link != "anon_inode:[eventpoll]" && link != "anon_inode:[eventfd]" { // else: that of ReadDir
			all = append(all, link)
		}
	}
	slices.Sort(all)
	return all
}

// Worker i is started on CPU Pin[i % len(Pin)] alone.
func TestKernelPin(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 3, Pin: []int{5, 2}})
	r.generation()
	if diff := cmp.Diff(r.cpus, [][]int{{5}, {2}, {5}}); diff != "" {
		t.Errorf("CPUs that workers were started on (-got +want):\n%s", diff)
	}
}

// A generation that could not be started in full leaves nothing behind, and the next one can be
// started.
func TestKernelFailedGeneration(t *testing.T) {
	for _, m := range modes {
		processes := 4
		if m.acceptor > 0 {
			processes++
		}
		for _, starts := range []int{0, 2, processes - 1} {
			t.Run(fmt.Sprintf("%s after %d", m.name, starts), func(t *testing.T) {
				before := descriptors(t, os.Getpid())
				r := newRig(t, m.cfg)
				r.starts = starts
				if gen, err := r.StartGeneration(t.Context()); err == nil {
					t.Fatalf("generation %v was started", gen)
				}
				for _, w := range r.Workers() {
					within(t, time.Second, w.Exited(), "what was started to be gone")
				}
				r.starts = -1
				gen := r.generation()
				answers := r.answers(8)
				for _, w := range gen.Workers {
					delete(answers, w.ID)
				}
				if len(answers) > 0 {
					t.Errorf("answers by %v, who are not of the new generation", answers)
				}
				r.stop(gen.Workers, vocabulary.StopDrain)
				if err := errors.Join(r.Finish(t.Context()), r.Close()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(descriptors(t, os.Getpid()), before); diff != "" {
					t.Errorf("descriptors (-after +before):\n%s", diff)
				}
			})
		}
	}
}

// With MayBeTaken a worker whose address is another's ends and says why, and the others serve;
// without, nothing of the generation runs.
func TestTakenAddress(t *testing.T) {
	for _, mayBe := range []bool{true, false} {
		t.Run(fmt.Sprint(mayBe), func(t *testing.T) {
			r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 2, PortPerIndex: true, MayBeTaken: mayBe})
			next := netip.AddrPortFrom(r.target.Addr(), r.target.Port()+1)
			stranger, err := net.Listen("tcp4", next.String())
			if err != nil {
				t.Skipf("the next port is taken: %v", err)
			}
			defer stranger.Close()
			gen, err := r.StartGeneration(t.Context())
			if !mayBe {
				if err == nil || !strings.Contains(err.Error(), "worker 1") || !strings.Contains(err.Error(), "address already in use") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all := r.Workers()
			if len(gen.Workers) != 1 || gen.Workers[0].ID != 0 || len(all) != 2 || all[0].BindError() != 0 || all[1].BindError() != unix.EADDRINUSE {
				t.Errorf("%d of %d workers; bind errors %v, %v", len(gen.Workers), len(all), all[0].BindError(), all[1].BindError())
			}
			if by := r.answers(3); by[0] != 3 {
				t.Errorf("answers by worker %v", by)
			}
			r.stop(gen.Workers, vocabulary.StopDrain)
		})
	}
}

// Where nobody can have his address, there is no generation.
func TestTakenAddresses(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 2, MayBeTaken: true})
	stranger, err := net.Listen("tcp4", r.target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := r.StartGeneration(t.Context()); err == nil || !strings.Contains(err.Error(), "no worker could bind") {
		t.Errorf("error %v", err)
	}
}

// A worker that gets no connection sleeps, and Go's monitor thread in it as well, which would wake
// up 100 times a second. An answer does not keep either awake for good.
func TestKernelIdleWorkersSleep(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptEpoll, Workers: 2})
	g := r.generation()
	r.answers(8)
	time.Sleep(300 * time.Millisecond)
	before := timeslices(t, g.Workers)
	time.Sleep(500 * time.Millisecond)
	if n := timeslices(t, g.Workers) - before; n > 20 {
		t.Errorf("two idle workers were put on a CPU %d times in half a second, want hardly ever", n)
	}
}

// timeslices is how often the threads of the workers were put on a CPU
// (/proc/PID/task/TID/schedstat).
func timeslices(t *testing.T, workers []*Worker) (n int) {
	t.Helper()
	for _, w := range workers {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.PID()))
		if err != nil || len(files) == 0 {
			t.Skipf("no schedstat of worker %d", w.ID)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has ended
			}
			var run, wait, slices int
			if _, err := fmt.Sscan(string(text), &run, &wait, &slices); err != nil {
				t.Fatal(err)
			}
			n += slices
		}
	}
	return n
}

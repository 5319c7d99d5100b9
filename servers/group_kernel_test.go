package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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

// childWorker is the argument that makes the test binary run as a worker.
const childWorker = "worker"

// startGate is the environment variable that holds the path of a FIFO. A worker does not start
// until a writer has opened and closed the FIFO.
const startGate = "REUSEPORT_BENCH_TEST_GATE"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childWorker {
		if gate := os.Getenv(startGate); gate != "" {
			_, _ = os.ReadFile(gate) // returns when a writer has closed the FIFO
		}
		if err := worker.Main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testGroup is a group of real processes in the test's own network.
type testGroup struct {
	*Group
	t      *testing.T
	config Config
	target netip.AddrPort
	starts int     // number of processes that may still be started; negative: any
	cpus   [][]int // CPUs that each process was started on
	// command, if not nil, replaces the worker's command.
	command func() *exec.Cmd
	records map[int][]journal.Record // from the journals, by worker
}

// newTestGroup returns a group of workers that listen on the loopback interface: 4 workers of kind
// loop, unless the configuration says otherwise.
func newTestGroup(t *testing.T, cfg Config) *testGroup {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	g := &testGroup{t: t, starts: -1, target: freePort(t), records: map[int][]journal.Record{}}
	cfg.Address, cfg.Backlog = g.target, 128
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Kind == "" {
		cfg.Kind = vocabulary.ServerLoop
	}
	g.config = cfg
	g.Group, err = NewGroup(cfg, Env{
		Command: func() *exec.Cmd {
			if g.command != nil {
				return g.command()
			}
			c := exec.Command("/proc/self/exe", childWorker)
			c.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
			return c
		},
		Start: func(c *exec.Cmd, cpus []int) error {
			if g.starts == 0 {
				return errors.New("no more starts")
			}
			g.starts--
			g.cpus = append(g.cpus, cpus)
			return c.Start()
		},
		Do: func(f func() error) error { return f() },
		Account: func(w *Worker, r journal.Record) {
			g.records[w.ID] = append(g.records[w.ID], r)
		},
		Clock:    clk,
		HalfOpen: func() (map[uint64]int, error) { return nil, nil },
	})
	if errors.Is(err, unix.EPERM) {
		testkit.Skip(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return g
}

// freePort returns a loopback address at which no socket listens.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (g *testGroup) generation() *Generation {
	g.t.Helper()
	gen, err := g.StartGeneration(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	return gen
}

// stop stops workers. An error fails the test.
func (g *testGroup) stop(workers []*Worker, mode vocabulary.StopMode) {
	g.t.Helper()
	if _, _, err := g.Stop(g.t.Context(), workers, mode); err != nil {
		g.t.Fatal(err)
	}
}

// ask sends one request and returns the ID of the worker that answers it.
func (g *testGroup) ask() (int, error) {
	c, err := net.Dial("tcp", g.target.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c, closingRequest); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return strconv.Atoi(response.Header.Get("Worker"))
}

const closingRequest = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// answers sends n requests, one after another, and counts the answers by worker.
func (g *testGroup) answers(n int) map[int]int {
	g.t.Helper()
	by := map[int]int{}
	for range n {
		w, err := g.ask()
		if err != nil {
			g.t.Fatal(err)
		}
		by[w]++
	}
	return by
}

func (g *testGroup) want(what string, got, want map[int]int) {
	g.t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		g.t.Errorf("%s: answers by worker (-got +want):\n%s", what, diff)
	}
}

// TestKernelCommandsTogether checks that a worker obeys two commands that it reads at once.
func TestKernelCommandsTogether(t *testing.T) {
	modes := []vocabulary.AcceptMode{vocabulary.AcceptEpoll, vocabulary.AcceptBlocking}
	for _, accept := range modes {
		t.Run(string(accept), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Sockets: vocabulary.SocketsReuseport, Accept: accept, Workers: 1,
			})
			w := g.generation().Workers[0]
			g.want("before", g.answers(2), map[int]int{w.ID: 2})
			w.ExpectStop(vocabulary.StopClose)
			busy, stop := Command{BusyLoop: time.Millisecond}, Command{Stop: vocabulary.StopClose}
			if err := w.Process().Send(busy, stop); err != nil {
				t.Fatal(err)
			}
			within(t, 5*time.Second, w.Closed(), "the worker to close its listener")
			within(t, 5*time.Second, w.Exited(), "the worker to exit")
			if mode := w.Closing().Mode; mode != vocabulary.StopClose {
				t.Errorf("stopped by %q, want close", mode)
			}
		})
	}
}

// within fails the test if a channel is not closed within the limit.
func within(t *testing.T, limit time.Duration, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("waited %v for %s", limit, what)
	}
}

// TestKernelBlockingIsInterrupted checks that workers keep serving although commands interrupt them
// at any time: in accept, while they serve, or just after they read a command.
func TestKernelBlockingIsInterrupted(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptBlocking, Workers: 2,
		Work: Work{Sleep: 300 * time.Microsecond},
	})
	gen := g.generation()
	for range 50 {
		if err := BusyLoop(gen.Workers, time.Microsecond); err != nil {
			t.Fatal(err)
		}
		g.answers(2)
	}
	g.stop(gen.Workers, vocabulary.StopHandoff)
}

// TestKernelHandoffKeepsBlocking checks that a worker that stops does not change O_NONBLOCK. The
// flag belongs to the open file description, which the worker's successors share.
func TestKernelHandoffKeepsBlocking(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptBlocking, Workers: 2,
	})
	old := g.generation()
	g.answers(4)
	g.generation()
	g.stop(old.Workers, vocabulary.StopHandoff)
	if !g.HoldsShared() {
		t.Fatal("the parent should still hold the socket")
	}
	flags, err := unix.FcntlInt(uintptr(g.Shared()), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.O_NONBLOCK != 0 {
		t.Error("the successors' socket has become non-blocking")
	}
	if by := g.answers(4); by[2]+by[3] != 4 {
		t.Errorf("answers by worker %v, want them from 2 and 3", by)
	}
}

// TestKernelAcceptorOutlivesWorkers checks that an acceptor gives a killed worker's turns to the
// other workers, but still passes connections to a worker suspended by SIGSTOP.
func TestKernelAcceptorOutlivesWorkers(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptor,
	})
	gen := g.generation()
	g.want("all", g.answers(8), map[int]int{0: 2, 1: 2, 2: 2, 3: 2})
	g.stop(gen.Workers[1:2], vocabulary.StopKill)
	g.want("without 1", g.answers(30), map[int]int{0: 10, 2: 10, 3: 10})

	if err := Signal(gen.Workers[2:3], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 30)
	var wait sync.WaitGroup
	for range 30 {
		wait.Go(func() {
			w, err := g.ask()
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
	g.want("while 2 is stopped", by, map[int]int{0: 10, 3: 10})
	if err := Signal(gen.Workers[2:3], unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	g.want("after 2 continues", map[int]int{<-answered: 1, <-answered: 1}, map[int]int{2: 1})

	g.stop([]*Worker{gen.Workers[0], gen.Workers[2], gen.Workers[3]}, vocabulary.StopDrain)
	if err := g.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	within(t, 5*time.Second, g.Acceptor().Exited(), "the acceptor to exit")
	for _, w := range g.Workers() {
		if w.Err() != nil {
			t.Errorf("worker %d: %v", w.ID, w.Err())
		}
	}
}

// TestKernelAcknowledged checks that an acceptor with acknowledgements passes only one connection
// to a worker suspended by SIGSTOP, and keeps serving after a worker was killed.
func TestKernelAcknowledged(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck,
	})
	gen := g.generation()
	g.want("all", g.answers(8), map[int]int{0: 2, 1: 2, 2: 2, 3: 2})
	g.stop(gen.Workers[1:2], vocabulary.StopKill)
	g.want("without 1", g.answers(30), map[int]int{0: 10, 2: 10, 3: 10})

	if err := Signal(gen.Workers[2:3], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 30
	answered := make(chan int, n)
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			w, err := g.ask()
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
	g.want("after 2 continues", map[int]int{<-answered: 1}, map[int]int{2: 1})
	g.want("with 2 free again", g.answers(30), map[int]int{0: 10, 2: 10, 3: 10})
}

// TestKernelAcknowledgedStop checks that an acceptor passes on the connections that wait in its
// accept queue while SIGSTOP suspends every worker. It must do so once the workers continue, even
// if it has got its own stop command meanwhile.
func TestKernelAcknowledgedStop(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck, Workers: 1,
		Grace: 4 * time.Second,
	})
	gen := g.generation()
	if err := Signal(gen.Workers, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const n = 5
	clients := make([]net.Conn, n)
	for i := range clients {
		c, err := net.Dial("tcp", g.target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, closingRequest); err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	g.Acceptor().ExpectStop(vocabulary.StopDrain)
	if err := g.Acceptor().Process().Send(Command{Stop: vocabulary.StopDrain}); err != nil {
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
	within(t, 5*time.Second, g.Acceptor().Exited(), "the acceptor to exit")
}

// TestKernelAcknowledgedGrace checks that an acceptor whose workers are suspended gives up after
// half of the grace in its last command, not half of Config.Grace.
func TestKernelAcknowledgedGrace(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsShared, Accept: vocabulary.AcceptAcceptorAck, Workers: 1,
		Grace: time.Minute,
	})
	gen := g.generation()
	if err := Signal(gen.Workers, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one is passed to the worker, the other waits
		c, err := net.Dial("tcp", g.target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	g.Acceptor().ExpectStop(vocabulary.StopDrain)
	for _, c := range []Command{{Stop: vocabulary.StopDrain}, {Grace: 100 * time.Millisecond}} {
		if err := g.Acceptor().Process().Send(c); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 10*time.Second, g.Acceptor().Exited(), "the acceptor to exit")
	if err := Signal(gen.Workers, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// modes are the combinations of accept mode and selector, with the numbers of sockets that a worker
// and an acceptor have open in each.
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

// TestKernelInheritanceAndOrphans checks that a worker has only its own sockets open and the parent
// only the shared one, and that a worker exits when it reads EOF from its control pipe.
func TestKernelInheritanceAndOrphans(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			before := sockets(t, os.Getpid())
			g := newTestGroup(t, m.cfg)
			gen := g.generation()
			for _, w := range g.Workers() {
				want := m.sockets
				if w.Acceptor {
					want = m.acceptor
				}
				if got := sockets(t, w.PID()); len(got) != want {
					t.Errorf("worker %d has sockets %v, want %d", w.ID, got, want)
				}
			}
			want := len(before)
			if m.cfg.Sockets == vocabulary.SocketsShared {
				want++
			}
			if got := sockets(t, os.Getpid()); len(got) != want {
				t.Errorf("the parent has sockets %v, want %d; it had %v", got, want, before)
			}
			if len(g.answers(4)) == 0 || len(gen.Workers) != 4 {
				t.Errorf("the generation has %d workers, want 4 that answer", len(gen.Workers))
			}
			for _, w := range g.Workers() {
				if err := w.Process().CloseControl(); err != nil {
					t.Fatal(err)
				}
				orphan := fmt.Sprintf("worker %d without a parent to exit", w.ID)
				within(t, 5*time.Second, w.Exited(), orphan)
			}
		})
	}
}

// sockets returns the sockets that a process has open.
func sockets(t *testing.T, pid int) (all []string) {
	t.Helper()
	for _, link := range descriptors(t, pid) {
		if strings.HasPrefix(link, "socket:") {
			all = append(all, link)
		}
	}
	return all
}

// descriptors returns the files that a process has open. It omits the Go runtime's poller, which is
// opened on first use.
func descriptors(t *testing.T, pid int) (all []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		link, err := os.Readlink(dir + "/" + e.Name())
		poller := link == "anon_inode:[eventpoll]" || link == "anon_inode:[eventfd]"
		if err == nil && !poller { // Readlink fails for the descriptor that ReadDir used
			all = append(all, link)
		}
	}
	slices.Sort(all)
	return all
}

// TestKernelPin checks that worker i is started on CPU Pin[i % len(Pin)] only.
func TestKernelPin(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 3, Pin: []int{5, 2}})
	g.generation()
	if diff := cmp.Diff(g.cpus, [][]int{{5}, {2}, {5}}); diff != "" {
		t.Errorf("CPUs that workers were started on (-got +want):\n%s", diff)
	}
}

// TestKernelFailedGeneration checks that a generation of which one worker could not be started
// leaves nothing behind, and that the next generation can be started.
func TestKernelFailedGeneration(t *testing.T) {
	for _, m := range modes {
		processes := 4
		if m.acceptor > 0 {
			processes++
		}
		for _, starts := range []int{0, 2, processes - 1} {
			t.Run(fmt.Sprintf("%s after %d", m.name, starts), func(t *testing.T) {
				before := descriptors(t, os.Getpid())
				g := newTestGroup(t, m.cfg)
				g.starts = starts
				if gen, err := g.StartGeneration(t.Context()); err == nil {
					t.Fatalf("generation %v was started", gen)
				}
				for _, w := range g.Workers() {
					within(t, 5*time.Second, w.Exited(), "the started workers to exit")
				}
				g.starts = -1
				gen := g.generation()
				answers := g.answers(8)
				for _, w := range gen.Workers {
					delete(answers, w.ID)
				}
				if len(answers) > 0 {
					t.Errorf("answers by %v, which are not of the new generation", answers)
				}
				g.stop(gen.Workers, vocabulary.StopDrain)
				if err := errors.Join(g.Finish(t.Context()), g.Close()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(descriptors(t, os.Getpid()), before); diff != "" {
					t.Errorf("descriptors (-after +before):\n%s", diff)
				}
			})
		}
	}
}

// TestTakenAddress checks that with MayBeTaken a worker whose address is taken exits and reports
// this error, while the other workers serve. Without MayBeTaken the generation fails.
func TestTakenAddress(t *testing.T) {
	for _, mayBe := range []bool{true, false} {
		t.Run(fmt.Sprint(mayBe), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Sockets: vocabulary.SocketsReuseport, Workers: 2,
				PortPerIndex: true, MayBeTaken: mayBe,
			})
			next := netip.AddrPortFrom(g.target.Addr(), g.target.Port()+1)
			stranger, err := net.Listen("tcp4", next.String())
			if err != nil {
				t.Skipf("the next port is taken: %v", err)
			}
			defer stranger.Close()
			gen, err := g.StartGeneration(t.Context())
			if !mayBe {
				if !errorHas(err, "worker 1", "address already in use") {
					t.Errorf("error %v, want that of worker 1", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all := g.Workers()
			if len(gen.Workers) != 1 || gen.Workers[0].ID != 0 || len(all) != 2 {
				t.Fatalf("%d of %d workers serve, want worker 0 of 2", len(gen.Workers), len(all))
			}
			if a, b := all[0].BindError(), all[1].BindError(); a != 0 || b != unix.EADDRINUSE {
				t.Errorf("bind errors %v and %v, want 0 and EADDRINUSE", a, b)
			}
			if by := g.answers(3); by[0] != 3 {
				t.Errorf("answers by worker %v, want 3 from worker 0", by)
			}
			g.stop(gen.Workers, vocabulary.StopDrain)
		})
	}
}

// errorHas reports whether err is not nil and its text contains all parts.
func errorHas(err error, parts ...string) bool {
	return err != nil && !slices.ContainsFunc(parts, func(part string) bool {
		return !strings.Contains(err.Error(), part)
	})
}

// TestTakenAddresses checks that a generation fails if no worker can bind its address.
func TestTakenAddresses(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 2, MayBeTaken: true})
	stranger, err := net.Listen("tcp4", g.target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := g.StartGeneration(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
}

// TestKernelIdleWorkersSleep checks that every thread of an idle worker sleeps, including Go's
// monitor thread, which would otherwise wake up 100 times a second. The threads must also go back
// to sleep after the worker has answered a request.
func TestKernelIdleWorkersSleep(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsReuseport, Accept: vocabulary.AcceptEpoll, Workers: 2,
	})
	gen := g.generation()
	g.answers(8)
	time.Sleep(300 * time.Millisecond)
	before := timeslices(t, gen.Workers)
	time.Sleep(500 * time.Millisecond)
	if n := timeslices(t, gen.Workers) - before; n > 20 {
		t.Errorf("two idle workers got %d time slices in half a second, want at most 20", n)
	}
}

// timeslices returns the number of times that the workers' threads were given a CPU
// (/proc/PID/task/TID/schedstat).
func timeslices(t *testing.T, workers []*Worker) (n int) {
	t.Helper()
	for _, w := range workers {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.PID()))
		if err != nil || len(files) == 0 {
			t.Skipf("worker %d has no schedstat", w.ID)
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

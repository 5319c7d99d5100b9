package servers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// A testPod is a group whose only worker is adopted.
type testPod struct {
	*testGroup
	w       *Worker
	process *exec.Cmd
	status  <-chan error // what waiting for the process returns
	clock   *clock.Clock
}

// podAddress is where an adopted worker listens, in its own network.
var podAddress = netip.MustParseAddrPort("127.0.0.1:8080")

// newAdopter returns an Adopter, which is closed when the test ends.
func newAdopter(t *testing.T) *Adopter {
	t.Helper()
	testkit.RequireRoot(t)
	dir, err := os.MkdirTemp("", "adopt") // t.TempDir returns longer paths
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAdopter(filepath.Join(dir, "adopt.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	return a
}

// startContainer starts a worker's process as the runtime of a container does: as PID 1 of a PID
// namespace, in a network namespace of its own, and with no environment but its own.
func startContainer(t *testing.T, a *Adopter) (c *exec.Cmd, status <-chan error) {
	t.Helper()
	c = exec.Command("/proc/self/exe", childWorker)
	c.Env = append(a.Environment(7), EnvPod+"=web-1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET}
	var said strings.Builder
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(ended)
		result <- c.Wait()
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the process wrote: %s", said.String())
		}
	})
	return c, result
}

// accept returns the next process that asks.
func accept(t *testing.T, a *Adopter) *Applicant {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	applicant, err := a.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return applicant
}

// adopt starts a container and makes it the worker of a new group.
func adopt(t *testing.T, cfg Config) *testPod {
	t.Helper()
	p, applicant := newPod(t, cfg)
	p.adopt(applicant)
	return p
}

// newPod starts a container, which asks to become a worker, and makes a group.
func newPod(t *testing.T, cfg Config) (*testPod, *Applicant) {
	t.Helper()
	a := newAdopter(t)
	cfg.Sockets, cfg.Workers = vocabulary.SocketsExclusive, 1
	p := &testPod{testGroup: newTestGroup(t, cfg)}
	var err error
	if p.clock, err = clock.New(); err != nil {
		t.Fatal(err)
	}
	began := p.clock.Now()
	p.process, p.status = startContainer(t, a)
	applicant := accept(t, a)
	if pid := p.process.Process.Pid; applicant.PID != pid || applicant.Pod != "web-1" ||
		applicant.Generation != 7 || applicant.Asked < began {
		t.Errorf("got %+v; want process %d of pod web-1, generation 7", applicant, pid)
	}
	err = p.in(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, applicant
}

// adopt makes the container the group's worker.
func (p *testPod) adopt(a *Applicant) {
	p.t.Helper()
	var err error
	p.w, err = p.AdoptWorker(p.t.Context(), a.Generation, 0, a, Placement{Address: podAddress})
	if err == nil {
		err = p.AwaitWorker(p.t.Context(), p.w)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// in calls f in the pod's network.
func (p *testPod) in(f func() error) error {
	return sys.OnOwnThread(func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.process.Process.Pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// request sends a request on a new connection, which is closed afterwards. The returned channel
// gets the error of reading the response, or nil.
func (p *testPod) request() <-chan error {
	p.t.Helper()
	var conn net.Conn
	err := p.in(func() (err error) {
		conn, err = net.Dial("tcp", podAddress.String())
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte(closingRequest)); err != nil {
		p.t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- readResponse(conn) }()
	return answered
}

// serve sends n requests one after another, and then one that it leaves in progress.
func (p *testPod) serve(n int) <-chan error {
	p.t.Helper()
	for range n {
		if err := <-p.request(); err != nil {
			p.t.Fatal(err)
		}
	}
	last := p.request()
	p.awaitRecords(journal.PerRequest*n + 2)
	return last
}

// awaitRecords waits until the journal has n records.
func (p *testPod) awaitRecords(n int) {
	p.t.Helper()
	for until := time.Now().Add(10 * time.Second); p.Unread(p.w) < n; {
		if time.Now().After(until) {
			p.t.Fatalf("the journal has %d records, want %d", p.Unread(p.w), n)
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *testPod) signal(s unix.Signal) (at clock.Instant) {
	p.t.Helper()
	at = p.clock.Now()
	if err := p.process.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return at
}

// wantRecords closes the group and checks that its journal has the records of n connections, the
// last of which was not answered if cut is 1.
func (p *testPod) wantRecords(n, cut int) {
	p.t.Helper()
	if err := p.Close(); err != nil {
		p.t.Fatal(err)
	}
	r := p.kinds(p.w)
	if r[journal.Accepted] != n || r[journal.Requested] != n || r[journal.Answered] != n-cut ||
		r[journal.Ended] != n-cut || p.w.Missed() != 0 {
		p.t.Errorf("%d missed, records %v; want %d connections, %d of them not ended",
			p.w.Missed(), r, n, cut)
	}
}

// TestKernelAdoptedTerm checks that an adopted worker that gets SIGTERM is stopped in TermMode,
// finishes its request, and loses no record.
func TestKernelAdoptedTerm(t *testing.T) {
	for _, c := range []struct {
		kind   vocabulary.ServerKind
		accept vocabulary.AcceptMode
	}{
		{vocabulary.ServerLoop, vocabulary.AcceptEpoll},
		{vocabulary.ServerLoop, vocabulary.AcceptBlocking},
		{vocabulary.ServerHTTP, vocabulary.AcceptNetpoll},
	} {
		t.Run(string(c.kind)+" "+string(c.accept), func(t *testing.T) {
			t.Parallel()
			p := adopt(t, Config{
				Kind: c.kind, Accept: c.accept, TermMode: vocabulary.StopDrain,
				Grace: time.Minute, Work: Work{Sleep: 500 * time.Millisecond},
			})
			last := p.serve(1)
			sent := p.signal(unix.SIGTERM)
			if err := <-last; err != nil {
				t.Errorf("the request in progress: %v", err)
			}
			within(t, 10*time.Second, p.w.Exited(), "the worker to exit")
			life, closing := p.w.Life(), p.w.Closing()
			if at := p.w.TermAt(); at < sent || life.Told != at || closing.From < at ||
				closing.To < closing.From || life.Started == 0 || life.Started > life.Ready {
				t.Errorf("SIGTERM sent at %d, got at %d; life %+v, %+v", sent, at, life, closing)
			}
			if closing.Mode != vocabulary.StopDrain || p.w.Err() != nil {
				t.Errorf("stopped by %q, error %v", closing.Mode, p.w.Err())
			}
			if err := <-p.status; err != nil {
				t.Errorf("the process ended with %v", err)
			}
			if cpu, ok := p.w.CPU(); !ok || cpu <= 0 {
				t.Errorf("its CPU time is %v, %t", cpu, ok)
			}
			p.wantRecords(2, 0)
			// A worker reports SIGTERM while it works on a request, and not when it has finished.
			early := p.w.TermAt().Add(20 * time.Millisecond)
			for _, r := range p.records[p.w.ID] {
				if r.Kind == journal.Answered && r.Conn == 1 && r.At < early {
					t.Errorf("SIGTERM sent at %d, got at %d; response at %d", sent, p.w.TermAt(),
						r.At)
				}
			}
		})
	}
}

// TestKernelTermBeforeAdoption checks that SIGTERM stops a process that waits to be adopted once it
// is a worker.
func TestKernelTermBeforeAdoption(t *testing.T) {
	p, applicant := newPod(t, Config{
		Kind: vocabulary.ServerLoop, Accept: vocabulary.AcceptBlocking,
	})
	sent := p.signal(unix.SIGTERM)
	p.adopt(applicant)
	within(t, 10*time.Second, p.w.Exited(), "the worker to exit")
	if at := p.w.TermAt(); at < sent || p.w.Err() != nil {
		t.Errorf("SIGTERM sent at %d, got at %d, error %v", sent, at, p.w.Err())
	}
	if err := <-p.status; err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// TestKernelAdoptedKilled checks that SIGKILL from others is an error, unless SIGTERM or Expect
// came before, and that no record is lost.
func TestKernelAdoptedKilled(t *testing.T) {
	for _, c := range []struct {
		name         string
		term, expect bool
		err          string
	}{
		{name: "unexpected", err: "exited without being told to"},
		{name: "expected", expect: true},
		{name: "after SIGTERM", term: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := adopt(t, Config{
				Kind: vocabulary.ServerHTTP, Grace: time.Minute, Work: Work{Sleep: time.Minute},
			})
			last := p.serve(0)
			told := p.clock.Now()
			if c.expect {
				p.w.Expect()
			}
			if c.term {
				told = p.signal(unix.SIGTERM)
				within(t, 10*time.Second, p.w.Closed(), "the worker to close its listener")
			}
			killed := p.signal(unix.SIGKILL)
			within(t, 10*time.Second, p.w.Exited(), "the worker to exit")
			if err := <-last; err == nil {
				t.Error("a request that takes a minute was answered")
			}
			got := ""
			if err := p.w.Err(); err != nil {
				got = err.Error()
			}
			life, closing := p.w.Life(), p.w.Closing()
			if got != c.err || life.Gone < killed {
				t.Errorf("error %q, want %q; killed at %d, gone at %d", got, c.err, killed,
					life.Gone)
			}
			mode := vocabulary.StopKill
			if c.term {
				mode = vocabulary.StopClose
			}
			isTold := life.Told >= told && life.Told <= killed && closing.From >= life.Told
			if closing.Mode != mode || isTold != (c.term || c.expect) {
				t.Errorf("told at %d, killed at %d; life %+v, %+v", told, killed, life, closing)
			}
			p.wantRecords(1, 1)
		})
	}
}

// TestKernelAdoptedEnd checks that End and Close end adopted workers, and that a worker obeys two
// commands that it reads at once.
func TestKernelAdoptedEnd(t *testing.T) {
	t.Run("End", func(t *testing.T) {
		t.Parallel()
		p := adopt(t, Config{Kind: vocabulary.ServerLoop})
		if err := p.End(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
		if err := <-p.status; err != nil || p.w.Err() != nil || p.w.TermAt() != 0 {
			t.Errorf("the process ended with %v, error %v, SIGTERM at %d", err, p.w.Err(),
				p.w.TermAt())
		}
	})
	t.Run("Close", func(t *testing.T) {
		t.Parallel()
		p := adopt(t, Config{Kind: vocabulary.ServerHTTP})
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-p.status; err == nil || !strings.Contains(err.Error(), "signal: killed") {
			t.Errorf("the process ended with %v, want SIGKILL", err)
		}
	})
	t.Run("two commands", func(t *testing.T) {
		t.Parallel()
		p := adopt(t, Config{Kind: vocabulary.ServerLoop})
		p.w.ExpectStop(vocabulary.StopClose)
		busy, stop := Command{BusyLoop: time.Millisecond}, Command{Stop: vocabulary.StopClose}
		if err := p.w.Process().Send(busy, stop); err != nil {
			t.Fatal(err)
		}
		within(t, 10*time.Second, p.w.Exited(), "the worker to exit")
	})
}

// TestKernelNotAdopted checks what happens to processes that do not become workers.
func TestKernelNotAdopted(t *testing.T) {
	a := newAdopter(t)
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsExclusive, Workers: 1})
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, err := a.Accept(ctx); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}

	// A process that is refused exits. Accept works after a call that was cancelled.
	_, refused := startContainer(t, a)
	if err := accept(t, a).Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; err == nil || err.Error() != "exit status 1" {
		t.Errorf("the refused process ended with %v", err)
	}

	// A process may exit before it is adopted.
	killed, status := startContainer(t, a)
	applicant := accept(t, a)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-status
	w, err := g.AdoptWorker(t.Context(), 0, 0, applicant, Placement{Address: podAddress})
	if w != nil || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got worker %v, error %v", w, err)
	}
	if n := len(g.Workers()); n != 0 {
		t.Errorf("the group has %d workers", n)
	}
}

package servers_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/journal"
)

// kinds counts the records of a worker's journal by kind.
func (g *testGroup) kinds(w *Worker) (n [journal.Ended + 1]int) {
	for _, record := range g.records[w.ID] {
		n[record.Kind]++
	}
	return n
}

// TestKernelJournalsAreReadLast checks that journals are read when the group is closed and not
// earlier, including those of killed and stopped workers.
func TestKernelJournalsAreReadLast(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 3, Requests: 100})
	gen := g.generation()
	by := g.answers(60)
	g.stop(gen.Workers[:1], vocabulary.StopKill)
	within(t, 5*time.Second, gen.Workers[0].Exited(), "the killed worker to exit")
	if err := Signal(gen.Workers[1:2], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if len(g.records) > 0 || g.EarlyReads() > 0 {
		t.Errorf("journals of %d workers were read while they served", len(g.records))
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range gen.Workers {
		if n := g.kinds(w); n[journal.Accepted] != by[w.ID] || n[journal.Requested] != by[w.ID] {
			t.Errorf("worker %d answered %d; its journal has records %v", w.ID, by[w.ID], n)
		}
	}
	if g.EarlyReads() != 0 {
		t.Errorf("%d early reads, want 0", g.EarlyReads())
	}
}

// TestKernelFullJournalIsReadEarly checks that a journal is read before it is full, so that no
// record is lost.
func TestKernelFullJournalIsReadEarly(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		t.Run(string(kind), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Kind: kind, Sockets: vocabulary.SocketsReuseport, Workers: 1, Requests: 1,
			})
			w := g.generation().Workers[0]
			const requests = 10_000 // with two records each, more than twice the journal's room
			g.repeat(requests)
			g.stop([]*Worker{w}, vocabulary.StopDrain)
			if err := errors.Join(g.Finish(t.Context()), g.Close()); err != nil {
				t.Fatal(err)
			}
			n, missed := g.kinds(w), w.Missed()
			if n[journal.Requested] != requests || n[journal.Answered] != requests || missed != 0 {
				t.Errorf("%d missed; %d requests, records %v", missed, requests, n)
			}
			if early := g.EarlyReads(); early < 2 || early > 4 {
				t.Errorf("%d early reads, want 2 to 4", early)
			}
		})
	}
}

// TestKernelEndedJournalsAreReadEarly checks that the journals of workers that have exited are read
// as soon as their total size exceeds the budget.
func TestKernelEndedJournalsAreReadEarly(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	g.SetJournalBudget(2000)
	for range 3 {
		gen := g.generation()
		g.repeat(500)
		g.stop(gen.Workers, vocabulary.StopDrain)
		within(t, 5*time.Second, gen.Workers[0].Exited(), "a stopped worker to exit")
	}
	if g.EarlyReads() != 1 || len(g.records) != 2 {
		t.Errorf("%d early reads, of %d workers; want 1, of 2", g.EarlyReads(), len(g.records))
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range g.Workers() {
		if n := g.kinds(w); n[journal.Answered] != 500 || w.Missed() != 0 {
			t.Errorf("worker %d: %d missed, records %v", w.ID, w.Missed(), n)
		}
	}
}

// TestKernelDrainTakesResetConnections checks that a draining worker survives connections that
// clients have reset in its accept queue, and records all of them.
func TestKernelDrainTakesResetConnections(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		t.Run(string(kind), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Kind: kind, Sockets: vocabulary.SocketsReuseport, Workers: 1,
			})
			w := g.generation().Workers[0]
			if err := Signal([]*Worker{w}, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			const n = 100
			for range n {
				c, err := net.Dial("tcp", g.target.String())
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
					t.Fatal(err)
				}
			}
			w.ExpectStop(vocabulary.StopDrain)
			err := w.Process().Send(Command{Stop: vocabulary.StopDrain})
			if err := errors.Join(err, Signal([]*Worker{w}, unix.SIGCONT)); err != nil {
				t.Fatal(err)
			}
			within(t, 5*time.Second, w.Exited(), "the worker to exit")
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			r := g.kinds(w)
			if r[journal.Accepted] != n || r[journal.Ended] != n {
				t.Errorf("%d accepted and %d ended; want %d each", r[journal.Accepted],
					r[journal.Ended], n)
			}
		})
	}
}

// repeat sends n requests on one connection.
func (g *testGroup) repeat(n int) {
	g.t.Helper()
	c, err := net.Dial("tcp", g.target.String())
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range n {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			g.t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			g.t.Fatal(err)
		}
	}
}

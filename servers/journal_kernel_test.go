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
	. "reuseport-bench/servers"
	"reuseport-bench/servers/journal"
)

// kinds counts what a worker's journal said.
func (r *rig) kinds(w *Worker) (n [journal.Ended + 1]int) {
	for _, record := range r.noted[w.ID] {
		n[record.Kind]++
	}
	return n
}

// A journal is read when the group is closed, not before: also that of a worker that was killed, or
// is stopped.
func TestKernelJournalsAreReadLast(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 3, Requests: 100})
	gen := r.generation()
	by := r.answers(60)
	r.stop(gen.Workers[:1], vocabulary.StopKill)
	within(t, 5*time.Second, gen.Workers[0].Exited(), "the killed worker to end")
	if err := Signal(gen.Workers[1:2], unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if len(r.noted) > 0 || r.EarlyReads() > 0 {
		t.Errorf("journals of %d workers were read while they served", len(r.noted))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range gen.Workers {
		if n := r.kinds(w); n[journal.Accepted] != by[w.ID] || n[journal.Requested] != by[w.ID] {
			t.Errorf("worker %d answered %d; its journal: %v", w.ID, by[w.ID], n)
		}
	}
	if r.EarlyReads() != 0 {
		t.Errorf("%d early reads", r.EarlyReads())
	}
}

// A journal that fills up is read before it is full, and nothing is missed.
func TestKernelFullJournalIsReadEarly(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, Config{Kind: kind, Sockets: vocabulary.SocketsReuseport, Workers: 1, Requests: 1})
			w := r.generation().Workers[0]
			const requests = 10_000 // two records each: more than twice what the journal has room for
			r.repeat(requests)
			r.stop([]*Worker{w}, vocabulary.StopDrain)
			if err := errors.Join(r.Finish(t.Context()), r.Close()); err != nil {
				t.Fatal(err)
			}
			n := r.kinds(w)
			if n[journal.Requested] != requests || n[journal.Answered] != requests || w.Missed() != 0 {
				t.Errorf("%d missed, of %d requests: %v", w.Missed(), requests, n)
			}
			if early := r.EarlyReads(); early < 2 || early > 4 {
				t.Errorf("%d early reads, want some", early)
			}
		})
	}
}

// Journals of workers that have exited are read when they hold too much together.
func TestKernelEndedJournalsAreReadEarly(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	r.SetJournalBudget(2000)
	for range 3 {
		gen := r.generation()
		r.repeat(500)
		r.stop(gen.Workers, vocabulary.StopDrain)
		within(t, 5*time.Second, gen.Workers[0].Exited(), "a stopped worker to end")
	}
	if r.EarlyReads() != 1 || len(r.noted) != 2 {
		t.Errorf("%d early reads, of %d workers; want one of two", r.EarlyReads(), len(r.noted))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range r.Workers() {
		if n := r.kinds(w); n[journal.Answered] != 500 || w.Missed() != 0 {
			t.Errorf("worker %d: %d missed, noted %v", w.ID, w.Missed(), n)
		}
	}
}

// repeat sends n requests on one connection.
func (r *rig) repeat(n int) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.target.String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range n {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			r.t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
}

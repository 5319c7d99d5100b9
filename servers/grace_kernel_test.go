package servers_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/journal"
)

// asked sends a request on a connection of its own, and returns a channel that gets what comes of
// it.
func (r *rig) asked() <-chan error {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.target.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	send(r.t, conn)
	answered := make(chan error, 1)
	go func() { answered <- answer(conn) }()
	return answered
}

func send(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// answer reads a response, and returns why there is none.
func answer(conn net.Conn) error {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// requested waits until the worker has noted that many requests.
func (r *rig) requested(w *Worker, n int) {
	r.t.Helper()
	for until := time.Now().Add(5 * time.Second); r.Unread(w) < 2*n; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			r.t.Fatalf("worker %d has noted %d records, want %d", w.ID, r.Unread(w), 2*n)
		}
	}
}

// A worker that is told to stop finishes what it has within its grace, and closes what is left
// then. A loop is busy with one request at a time, and that it finishes always.
func TestKernelGrace(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		for _, grace := range []time.Duration{20 * time.Millisecond, 10 * time.Second} {
			t.Run(string(kind)+" "+grace.String(), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, Config{
					Kind: kind, Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: grace,
					Work: Work{Sleep: 200 * time.Millisecond},
				})
				w := r.generation().Workers[0]
				answered := r.asked()
				r.requested(w, 1)
				r.stop([]*Worker{w}, vocabulary.StopClose)
				if err := r.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				cut := kind == vocabulary.ServerHTTP && grace < time.Second
				if err := <-answered; (err != nil) != cut {
					t.Errorf("the request under way: %v; is it to be cut off: %t", err, cut)
				}
				if mode := w.Closing().Mode; mode != vocabulary.StopClose || w.Err() != nil {
					t.Errorf("ended by %q, %v", mode, w.Err())
				}
			})
		}
	}
}

// A worker that is too busy to notice that it is to stop is killed when its grace is over. That is
// no error: it is what a supervisor does.
func TestKernelBusyIsKilled(t *testing.T) {
	r := newRig(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: time.Millisecond,
	})
	w := r.generation().Workers[0]
	r.answers(1)
	if err := BusyLoop([]*Worker{w}, time.Minute); err != nil {
		t.Fatal(err)
	}
	r.stop([]*Worker{w}, vocabulary.StopClose)
	within(t, 5*time.Second, w.Exited(), "the busy worker to end")
	if mode := w.Closing().Mode; mode != vocabulary.StopKill || w.Err() != nil {
		t.Errorf("ended by %q, %v; want it killed, and no error", mode, w.Err())
	}
}

// A worker that is killed when it has closed its listener did not close it by being killed.
func TestKernelKilledAfterClose(t *testing.T) {
	r := newRig(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 1,
		Grace: time.Minute, Work: Work{Sleep: time.Minute},
	})
	w := r.generation().Workers[0]
	answered := r.asked()
	r.requested(w, 1)
	r.stop([]*Worker{w}, vocabulary.StopClose)
	closing := w.Closing()
	r.stop([]*Worker{w}, vocabulary.StopKill)
	within(t, 5*time.Second, w.Exited(), "the killed worker to end")
	if got := w.Closing(); got != closing || got.Mode != vocabulary.StopClose {
		t.Errorf("it closed its listener at %+v, and later at %+v", closing, got)
	}
	if err := <-answered; err == nil {
		t.Error("a request of a minute was answered")
	}
}

// A worker that drains its queue has no more than its grace for that: what waits then is reset.
func TestKernelDrainEnds(t *testing.T) {
	r := newRig(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: 100 * time.Millisecond,
		Work: Work{Sleep: 80 * time.Millisecond},
	})
	w := r.generation().Workers[0]
	var answered []<-chan error
	for range 8 { // more than half a second
		answered = append(answered, r.asked())
	}
	r.stop([]*Worker{w}, vocabulary.StopDrain)
	served := 0
	for _, a := range answered {
		if err := <-a; err == nil {
			served++
		}
	}
	if served == 0 || served == len(answered) {
		t.Errorf("%d of %d were served", served, len(answered))
	}
}

// At the end of the trial workers have only a little time left, also those that were told to stop
// before. They note how their connections end.
func TestKernelEndHurries(t *testing.T) {
	r := newRig(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 2,
		Grace: time.Minute, Work: Work{Sleep: time.Minute},
	})
	workers := r.generation().Workers
	answered := []<-chan error{r.asked(), r.asked(), r.asked(), r.asked()}
	for r.Unread(workers[0])+r.Unread(workers[1]) < 2*len(answered) {
		time.Sleep(time.Millisecond)
	}
	r.stop(workers[:1], vocabulary.StopClose) // its listener is closed, and it goes on
	if err := r.End(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, a := range answered {
		if err := <-a; err == nil {
			t.Error("a request of a minute was answered")
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if ended := r.kinds(workers[0])[journal.Ended] + r.kinds(workers[1])[journal.Ended]; ended != len(answered) {
		t.Errorf("the ends of %d connections were noted, want %d", ended, len(answered))
	}
}

// A wait for listeners to be closed ends with its context.
func TestKernelStopIsInterrupted(t *testing.T) {
	r := newRig(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: time.Minute,
	})
	w := r.generation().Workers[0]
	if err := BusyLoop([]*Worker{w}, time.Minute); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, enough)
	defer cancel()
	if _, _, err := r.Stop(ctx, []*Worker{w}, vocabulary.StopClose); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}

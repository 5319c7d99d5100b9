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

// startRequest sends a request on a new connection. The returned channel gets the error of reading
// the response, or nil.
func (g *testGroup) startRequest() <-chan error {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.target.String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	send(g.t, conn)
	answered := make(chan error, 1)
	go func() { answered <- readResponse(conn) }()
	return answered
}

func send(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// readResponse reads a response, or returns an error if there is none.
func readResponse(conn net.Conn) error {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// awaitRequests waits until the worker has recorded n requests.
func (g *testGroup) awaitRequests(w *Worker, n int) {
	g.t.Helper()
	for until := time.Now().Add(5 * time.Second); g.Unread(w) < 2*n; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			g.t.Fatalf("worker %d has recorded %d records, want %d", w.ID, g.Unread(w), 2*n)
		}
	}
}

// TestKernelGrace checks that a stopped worker finishes its requests within its grace and then
// closes the connections that are left. A worker of kind loop works on one request at a time and
// always finishes that request.
func TestKernelGrace(t *testing.T) {
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		for _, grace := range []time.Duration{20 * time.Millisecond, 10 * time.Second} {
			t.Run(string(kind)+" "+grace.String(), func(t *testing.T) {
				t.Parallel()
				cut := kind == vocabulary.ServerHTTP && grace < time.Second
				work := Work{Sleep: 200 * time.Millisecond}
				if cut {
					work.Sleep = time.Minute // the request is in progress whenever the stop comes
				}
				g := newTestGroup(t, Config{
					Kind: kind, Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: grace,
					Work: work,
				})
				w := g.generation().Workers[0]
				answered := g.startRequest()
				g.awaitRequests(w, 1)
				g.stop([]*Worker{w}, vocabulary.StopClose)
				if err := g.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := <-answered; (err != nil) != cut {
					t.Errorf("request in progress: error %v, want it cut off: %t", err, cut)
				}
				if mode := w.Closing().Mode; mode != vocabulary.StopClose || w.Err() != nil {
					t.Errorf("stopped by %q, error %v", mode, w.Err())
				}
			})
		}
	}
}

// TestKernelBusyIsKilled checks that a worker too busy to notice a stop command is killed after its
// grace, and that this is not an error: a supervisor would do the same.
func TestKernelBusyIsKilled(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: time.Millisecond,
	})
	w := g.generation().Workers[0]
	g.answers(1)
	if err := BusyLoop([]*Worker{w}, time.Minute); err != nil {
		t.Fatal(err)
	}
	g.stop([]*Worker{w}, vocabulary.StopClose)
	within(t, 5*time.Second, w.Exited(), "the busy worker to exit")
	if mode := w.Closing().Mode; mode != vocabulary.StopKill || w.Err() != nil {
		t.Errorf("stopped by %q, error %v; want a kill and no error", mode, w.Err())
	}
}

// TestKernelKilledAfterClose checks that killing a worker does not change the record of how its
// listener was closed before.
func TestKernelKilledAfterClose(t *testing.T) {
	g := newTestGroup(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 1,
		Grace: time.Minute, Work: Work{Sleep: time.Minute},
	})
	w := g.generation().Workers[0]
	answered := g.startRequest()
	g.awaitRequests(w, 1)
	g.stop([]*Worker{w}, vocabulary.StopClose)
	closing := w.Closing()
	g.stop([]*Worker{w}, vocabulary.StopKill)
	within(t, 5*time.Second, w.Exited(), "the killed worker to exit")
	if got := w.Closing(); got != closing || got.Mode != vocabulary.StopClose {
		t.Errorf("Closing is %+v after the stop, %+v after the kill", closing, got)
	}
	if err := <-answered; err == nil {
		t.Error("a request that takes a minute was answered")
	}
}

// TestKernelDrainEnds checks that a worker stops draining its accept queue when its grace ends, and
// resets the connections that are left.
func TestKernelDrainEnds(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: 100 * time.Millisecond,
		Work: Work{Sleep: 80 * time.Millisecond},
	})
	w := g.generation().Workers[0]
	var answered []<-chan error
	for range 40 { // serving all takes more than three seconds
		answered = append(answered, g.startRequest())
	}
	g.stop([]*Worker{w}, vocabulary.StopDrain)
	served := 0
	for _, a := range answered {
		if err := <-a; err == nil {
			served++
		}
	}
	if served == 0 || served == len(answered) {
		t.Errorf("%d of %d requests were served, want some but not all", served, len(answered))
	}
}

// TestKernelEndShortensGrace checks that End limits the grace of all workers, including those
// stopped earlier, and that the workers record how their connections end.
func TestKernelEndShortensGrace(t *testing.T) {
	g := newTestGroup(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 2,
		Grace: time.Minute, Work: Work{Sleep: time.Minute},
	})
	workers := g.generation().Workers
	var answered []<-chan error
	for range 4 {
		answered = append(answered, g.startRequest())
	}
	for g.Unread(workers[0])+g.Unread(workers[1]) < 2*len(answered) {
		time.Sleep(time.Millisecond)
	}
	g.stop(workers[:1], vocabulary.StopClose) // closes its listener; the process still runs
	if err := g.End(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, a := range answered {
		if err := <-a; err == nil {
			t.Error("a request that takes a minute was answered")
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	ended := g.kinds(workers[0])[journal.Ended] + g.kinds(workers[1])[journal.Ended]
	if ended != len(answered) {
		t.Errorf("the journals have %d ends of connections, want %d", ended, len(answered))
	}
}

// TestKernelStopIsInterrupted checks that Stop returns when its context is cancelled.
func TestKernelStopIsInterrupted(t *testing.T) {
	g := newTestGroup(t, Config{
		Sockets: vocabulary.SocketsReuseport, Workers: 1, Grace: time.Minute,
	})
	w := g.generation().Workers[0]
	if err := BusyLoop([]*Worker{w}, time.Minute); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, enough)
	defer cancel()
	if _, _, err := g.Stop(ctx, []*Worker{w}, vocabulary.StopClose); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}

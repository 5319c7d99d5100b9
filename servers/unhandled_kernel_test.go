package servers_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/journal"
)

// TestKernelUnhandled checks that no handler gets a request that net/http reads after Shutdown has
// begun, and that the journal distinguishes such a request from one that a handler got.
func TestKernelUnhandled(t *testing.T) {
	g := newTestGroup(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 1,
		Grace: time.Minute, Work: Work{Sleep: time.Minute},
	})
	w := g.generation().Workers[0]
	late, err := net.Dial("tcp", g.target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	handled := g.startRequest()
	for g.Unread(w) < 3 { // two accepted connections and one request
		time.Sleep(time.Millisecond)
	}
	g.stop([]*Worker{w}, vocabulary.StopShutdown)
	send(t, late)
	g.awaitRequests(w, 2)
	if err := g.End(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if errLate, errHandled := readResponse(late), <-handled; errLate == nil || errHandled == nil {
		t.Errorf("errors %v and %v, want neither request answered", errLate, errHandled)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	var ends []journal.End
	for _, record := range g.records[w.ID] {
		if record.Kind == journal.Ended {
			ends = append(ends, record.End)
		}
	}
	slices.Sort(ends)
	want := []journal.End{journal.EndUnanswered, journal.EndUnhandled}
	if !slices.Equal(ends, want) {
		t.Errorf("ends of the connections: got %v, want %v", ends, want)
	}
}

package servers_test

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
	"reuseport-bench/servers/journal"
)

// What a net/http server reads after its Shutdown has begun is given to no handler, and the journal
// says so. What it had given to one is another matter.
func TestKernelUnhandled(t *testing.T) {
	r := newRig(t, Config{
		Kind: vocabulary.ServerHTTP, Sockets: vocabulary.SocketsReuseport, Workers: 1,
		Grace: 300 * time.Millisecond, Work: Work{Sleep: 5 * time.Second},
	})
	w := r.generation().Workers[0]
	late, err := net.Dial("tcp", r.target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	handled := r.asked()
	for r.Unread(w) < 3 { // both were accepted, and one was read
		time.Sleep(time.Millisecond)
	}
	r.stop([]*Worker{w}, vocabulary.StopShutdown)
	send(t, late)
	if errLate, errHandled := answer(late), <-handled; errLate == nil || errHandled == nil {
		t.Errorf("answered: %v, %v", errLate, errHandled)
	}
	if err := errors.Join(r.Finish(t.Context()), r.Close()); err != nil {
		t.Fatal(err)
	}
	var ends []journal.End
	for _, record := range r.noted[w.ID] {
		if record.Kind == journal.Ended {
			ends = append(ends, record.End)
		}
	}
	slices.Sort(ends)
	if want := []journal.End{journal.EndUnanswered, journal.EndUnhandled}; !slices.Equal(ends, want) {
		t.Errorf("the connections ended by %v, want %v", ends, want)
	}
}

package servers_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// asks opens n connections and sends a request on each, one after the other.
func (r *rig) asks(n int) (clients []net.Conn) {
	r.t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.target.String())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			r.t.Fatal(err)
		}
		const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
		if _, err := c.Write([]byte(request)); err != nil {
			r.t.Fatal(err)
		}
		clients = append(clients, c)
	}
	return clients
}

// outcomes counts which connections are answered, and which are reset.
func (r *rig) outcomes(clients []net.Conn) (answered, reset int) {
	r.t.Helper()
	for _, c := range clients {
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		switch {
		case err == nil:
			response.Body.Close()
			answered++
		case errors.Is(err, unix.ECONNRESET):
			reset++
		default:
			r.t.Errorf("neither answered nor reset: %v", err)
		}
	}
	return answered, reset
}

// Of a socket that joins the group nobody accepts. What the kernel gives it waits until it is
// dropped, and is reset then; after that all is as before.
func TestKernelJoin(t *testing.T) {
	const n = 40
	r := newRig(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	w := r.generation().Workers[0]
	if _, err := r.Join(); err != nil {
		t.Fatal(err)
	}
	if held := r.Held(); len(held) != 1 || held[0] == w.Listener() {
		t.Errorf("held: %v; worker %d has %d", held, w.ID, w.Listener())
	}
	clients := r.asks(n)
	dropped, err := r.DropSocket(0)
	if err != nil {
		t.Fatal(err)
	}
	if !dropped.Last || dropped.To < dropped.From || len(r.Held()) != 0 {
		t.Errorf("dropped: %+v; held: %v", dropped, r.Held())
	}
	// Each has half a chance: all on one side once in 2^39.
	answered, reset := r.outcomes(clients)
	if answered == 0 || reset == 0 || answered+reset != n {
		t.Errorf("%d answered and %d reset of %d", answered, reset, n)
	}
	r.want("afterwards", r.answers(n), map[int]int{w.ID: n})
	if _, err := r.DropSocket(0); err == nil {
		t.Error("no error when there is nothing to drop")
	}
}

// A socket that the supervisor gave to a worker lives on in that one alone when it is dropped, and
// in the supervisor alone when the worker dies.
func TestKernelDropSocket(t *testing.T) {
	for _, drops := range []bool{false, true} {
		r := newRig(t, Config{
			Sockets: vocabulary.SocketsReuseport, Handover: vocabulary.SocketActivation, Workers: 1,
		})
		gen := r.generation()
		w := gen.Workers[0]
		if all := socketsOf(t, w); !slices.Equal(all, []uint64{w.Listener()}) {
			t.Errorf("the worker has the sockets %v, want %d once", all, w.Listener())
		}
		if drops {
			dropped, err := r.DropSocket(0)
			if err != nil || dropped.Last || dropped.Listener != w.Listener() {
				t.Errorf("dropped %+v, error %v; worker %d has it", dropped, err, w.ID)
			}
		}
		r.want("before it dies", r.answers(3), map[int]int{w.ID: 3})
		r.stop(gen.Workers, vocabulary.StopKill)
		c, err := net.Dial("tcp", r.target.String())
		if refused := errors.Is(err, unix.ECONNREFUSED); refused != drops || refused != (c == nil) {
			t.Errorf("dropped: %t; a connection after the worker's death: %v", drops, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

// Sockets that are not of a group cannot be joined.
func TestKernelNoJoin(t *testing.T) {
	r := newRig(t, Config{Sockets: vocabulary.SocketsShared, Workers: 1})
	if _, err := r.Join(); err == nil {
		t.Error("a socket joined one that is shared")
	}
}

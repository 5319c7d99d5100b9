package servers_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// asks opens n connections, one after another, and sends a request on each.
func (g *testGroup) asks(n int) (clients []net.Conn) {
	g.t.Helper()
	for range n {
		c, err := net.Dial("tcp", g.target.String())
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			g.t.Fatal(err)
		}
		if _, err := io.WriteString(c, closingRequest); err != nil {
			g.t.Fatal(err)
		}
		clients = append(clients, c)
	}
	return clients
}

// outcomes returns the number of connections that are answered, and of those that are reset.
func (g *testGroup) outcomes(clients []net.Conn) (answered, reset int) {
	g.t.Helper()
	for _, c := range clients {
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		switch {
		case err == nil:
			response.Body.Close()
			answered++
		case errors.Is(err, unix.ECONNRESET):
			reset++
		default:
			g.t.Errorf("neither answered nor reset: %v", err)
		}
	}
	return answered, reset
}

// TestKernelJoin checks that connections to a joined socket wait until the socket is dropped and
// are then reset, and that the worker gets all connections made after that.
func TestKernelJoin(t *testing.T) {
	const n = 40
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsReuseport, Workers: 1})
	w := g.generation().Workers[0]
	if _, err := g.Join(); err != nil {
		t.Fatal(err)
	}
	if held := g.Held(); len(held) != 1 || held[0] == w.Listener() {
		t.Errorf("Held is %v, want one socket other than worker %d's, %d", held, w.ID, w.Listener())
	}
	clients := g.asks(n)
	dropped, err := g.DropSocket(0)
	if err != nil {
		t.Fatal(err)
	}
	if !dropped.Last || dropped.To < dropped.From || len(g.Held()) != 0 {
		t.Errorf("dropped %+v, want Last; Held is %v, want none", dropped, g.Held())
	}
	// Each connection goes to either socket with the same probability, so all go to the same one
	// only once in 2^39 runs.
	answered, reset := g.outcomes(clients)
	if answered == 0 || reset == 0 || answered+reset != n {
		t.Errorf("%d answered and %d reset of %d, want some of both", answered, reset, n)
	}
	g.want("afterwards", g.answers(n), map[int]int{w.ID: n})
	if _, err := g.DropSocket(0); err == nil {
		t.Error("DropSocket without a socket: no error")
	}
}

// TestKernelDropSocket checks that a dropped socket stays open in the worker that has it, and that
// a socket that is not dropped stays open in the parent when the worker dies.
func TestKernelDropSocket(t *testing.T) {
	for _, drops := range []bool{false, true} {
		g := newTestGroup(t, Config{
			Sockets: vocabulary.SocketsReuseport, Handover: vocabulary.SocketActivation, Workers: 1,
		})
		gen := g.generation()
		w := gen.Workers[0]
		if all := socketsOf(t, w); !slices.Equal(all, []uint64{w.Listener()}) {
			t.Errorf("the worker has sockets %v, want only %d", all, w.Listener())
		}
		if drops {
			dropped, err := g.DropSocket(0)
			if err != nil || dropped.Last || dropped.Listener != w.Listener() {
				t.Errorf("dropped %+v, error %v; want socket %d, not Last",
					dropped, err, w.Listener())
			}
		}
		g.want("before it dies", g.answers(3), map[int]int{w.ID: 3})
		g.stop(gen.Workers, vocabulary.StopKill)
		c, err := net.Dial("tcp", g.target.String())
		if refused := errors.Is(err, unix.ECONNREFUSED); refused != drops || refused != (c == nil) {
			t.Errorf("dropped: %t; connect after the worker's death: %v", drops, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

// TestKernelNoJoin checks that a socket cannot join a group with a shared socket.
func TestKernelNoJoin(t *testing.T) {
	g := newTestGroup(t, Config{Sockets: vocabulary.SocketsShared, Workers: 1})
	if _, err := g.Join(); err == nil {
		t.Error("a socket joined a group with a shared socket")
	}
}

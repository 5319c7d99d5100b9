package witness

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/testkit"
)

// A play is a listener and one connection to it.
type play struct {
	*loopback.Sockets
	listener, server, client int // descriptors; server is -1 until accept
	from                     netip.AddrPort
}

func (p *play) accept() error {
	all, err := p.Accept(1, p.listener)
	if err == nil && len(all[0]) == 0 {
		err = errors.New("nothing to accept")
	}
	if err == nil {
		p.server = all[0][0]
	}
	return err
}

func (p *play) send(n int) error {
	_, err := unix.Write(p.client, make([]byte, n))
	return err
}

func (p *play) read(n int) error {
	if _, err := loopback.Wait(p.server, unix.POLLIN, loopback.Patience); err != nil {
		return err
	}
	_, err := unix.Read(p.server, make([]byte, n))
	return err
}

func (p *play) answer(n int) error {
	_, err := unix.Write(p.server, make([]byte, n))
	return err
}

func (p *play) awaitRequest() error {
	_, err := loopback.Wait(p.server, unix.POLLIN, loopback.Patience)
	return err
}

// awaitTimeout returns when the kernel has given up on the connection, after its retransmission
// timeout of 200 ms.
func (p *play) awaitTimeout() error {
	_, err := loopback.Wait(p.server, 0, 10*time.Second)
	return err
}

// The methods below take pointers, because some descriptors exist only by the time the methods are
// called.

func (p *play) close(fd *int) error {
	p.CloseSocket(*fd)
	return nil
}

func (p *play) shutDown(fd *int) error { return unix.Shutdown(*fd, unix.SHUT_WR) }

// abandonEarly makes the kernel give up at the first retransmission timeout of an answer that is
// not acknowledged.
func (p *play) abandonEarly() error {
	return unix.SetsockoptInt(p.server, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1)
}

func (p *play) linger(fd *int) error {
	return unix.SetsockoptLinger(*fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

var plays = []struct {
	name string
	do   func(p *play) error
	want SocketEnd
}{
	{"closed", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(27), p.answer(41), p.close(&p.server))
	}, SocketEnd{Way: Closed, Received: 27, Sent: 41, Acknowledged: 41, Accepted: true}},
	{"closed after the client", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(27), p.answer(41),
			p.shutDown(&p.client), p.read(1), p.close(&p.server))
	}, SocketEnd{
		Way: Closed, State: tcpLastAck, Received: 27, Sent: 41, Acknowledged: 41, Accepted: true,
		PeerClosed: true,
	}},
	{"closed unread", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.awaitRequest(), p.close(&p.server))
	}, SocketEnd{Way: ClosedUnread, State: 1, Received: 27, Unread: 27, Accepted: true}},
	{"closed with a part unread", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(9), p.close(&p.server))
	}, SocketEnd{Way: ClosedUnread, State: 1, Received: 27, Unread: 18, Accepted: true}},
	{"aborted", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(27), p.linger(&p.server),
			p.close(&p.server))
	}, SocketEnd{Way: Aborted, State: 1, Received: 27, Accepted: true}},
	{"shut down", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(27), p.answer(41),
			p.shutDown(&p.server))
	}, SocketEnd{Way: ShutDown, Received: 27, Sent: 41, Acknowledged: 41, Accepted: true}},
	{"shut down, and closed with late data", func(p *play) error {
		return errors.Join(p.accept(), p.shutDown(&p.server), p.send(27),
			p.awaitRequest(), p.close(&p.server))
	}, SocketEnd{Way: ClosedUnread, State: 5, Received: 27, Unread: 27, Accepted: true}},
	{"shut down after the client, and closed", func(p *play) error {
		return errors.Join(p.accept(), p.shutDown(&p.client), p.read(1),
			p.shutDown(&p.server), p.close(&p.server))
	}, SocketEnd{Way: ShutDown, State: tcpLastAck, Accepted: true, PeerClosed: true}},
	{"reset by the client", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(9), p.linger(&p.client),
			p.close(&p.client), p.close(&p.server))
	}, SocketEnd{Way: ResetByPeer, State: 1, Received: 27, Unread: 18, Accepted: true}},
	{"reset by the client, and read", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.linger(&p.client), p.close(&p.client),
			p.read(27), p.close(&p.server))
	}, SocketEnd{Way: ResetByPeer, State: 1, Received: 27, Accepted: true}},
	{"reset by the client in the queue", func(p *play) error {
		return errors.Join(p.send(27), p.linger(&p.client), p.close(&p.client),
			p.close(&p.listener))
	}, SocketEnd{Way: ResetByPeer, State: 1, Received: 27, Unread: 27}},
	{"reset by the client in the queue, and accepted", func(p *play) error {
		return errors.Join(p.send(27), p.linger(&p.client), p.close(&p.client), p.accept(),
			p.close(&p.server))
	}, SocketEnd{Way: ResetByPeer, State: 1, Received: 27, Unread: 27, Accepted: true}},
	{"closed, and reset because of late data", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(27), p.answer(41), p.close(&p.server),
			p.linger(&p.client), p.close(&p.client))
	}, SocketEnd{Way: Closed, Received: 27, Sent: 41, Acknowledged: 41, Accepted: true}},
	{"listener closed", func(p *play) error {
		return errors.Join(p.send(27), p.close(&p.listener))
	}, SocketEnd{Way: ListenerClosed, State: 1, Received: 27, Unread: 27}},
	{"timed out", func(p *play) error {
		lo, err := netlink.LinkByName("lo")
		return errors.Join(err, p.accept(), p.abandonEarly(), netlink.LinkSetDown(lo), p.answer(41),
			p.awaitTimeout(), p.close(&p.server), netlink.LinkSetUp(lo))
	}, SocketEnd{Way: TimedOut, State: 1, Accepted: true, Sent: 41}},
	{"still queued", func(p *play) error { return p.send(27) },
		SocketEnd{Way: StillQueued, State: 1, Received: 27, Unread: 27}},
	{"still open", func(p *play) error {
		return errors.Join(p.accept(), p.send(27), p.read(9))
	}, SocketEnd{Way: StillOpen, State: 1, Received: 27, Unread: 18, Accepted: true}},
	{"peeked at", func(p *play) error {
		_, _, err := unix.Recvfrom(p.client, make([]byte, 1), unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		err = errors.Join(p.accept(), p.send(27), p.awaitRequest())
		_, _, peekErr := unix.Recvfrom(p.server, make([]byte, 9), unix.MSG_PEEK)
		return errors.Join(err, peekErr)
	}, SocketEnd{Way: StillOpen, State: 1, Received: 27, Unread: 27, Accepted: true}},
}

// TestKernelWays ends connections in every possible way, and checks what a trace reports.
func TestKernelWays(t *testing.T) {
	testkit.RequireRoot(t)
	for i, test := range plays {
		for _, before := range []bool{true, false} {
			if !before && i > 0 {
				continue // the option has no effect once the connection exists
			}
			t.Run(fmt.Sprintf("%s/listener before: %v", test.name, before), func(t *testing.T) {
				got, p, begin, end := watchPlay(t, test.do, before)
				if len(got) != 1 {
					t.Fatalf("got %d ends, want 1: %+v", len(got), got)
				}
				e := got[0]
				reads := e.Read() > 0
				closes := !slices.Contains([]Way{StillOpen, StillQueued}, e.Way)
				want := test.want
				if want.State == 0 { // the client's kernel may acknowledge a FIN late
					want.State = e.State
				}
				want.Client, want.Server, want.Known = p.from, p.Address, KnowsAll
				if reads {
					want.Reader = os.Getpid()
				}
				if closes && test.name != "reset by the client in the queue" {
					want.Closer = os.Getpid()
				}
				ignored := []string{"Cookie", "Born", "FirstRead", "Closed", "Ended", "ResetLater"}
				diff := cmp.Diff(e, want, cmpopts.IgnoreFields(SocketEnd{}, ignored...),
					cmpopts.EquateComparable(netip.AddrPort{}))
				if diff != "" {
					t.Errorf("(-got +want):\n%s", diff)
				}
				if e.Cookie == 0 {
					t.Error("no cookie")
				}
				for what, at := range map[string]struct {
					at    clock.Instant
					known bool
				}{
					"born": {e.Born, true}, "read": {e.FirstRead, reads},
					"closed": {e.Closed, want.Closer != 0},
				} {
					if known := at.at != 0; known != at.known ||
						known && (at.at < begin || at.at > end) {
						t.Errorf("%s at %d; the play was from %d to %d", what, at.at, begin, end)
					}
				}
			})
		}
	}
}

// watchPlay traces what f does with one connection. before reports whether the listener is made
// before the trace starts.
func watchPlay(t *testing.T, f func(*play) error, before bool) (
	ends []SocketEnd, p *play, begin, end clock.Instant,
) {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	p = &play{Sockets: &loopback.Sockets{}, server: -1}
	err = netlab.Private(func() (err error) {
		defer p.Close()
		listen := func() (err error) {
			p.listener, err = p.Listen()
			return err
		}
		if before {
			err = listen()
		}
		if err != nil {
			return err
		}
		w, err := start(Options{Do: do, Connections: 1, Types: kernelTypes})
		if err != nil {
			return err
		}
		begin = clk.Now()
		if !before {
			err = listen()
		}
		if err == nil {
			err = p.begin()
		}
		if err == nil {
			err = f(p)
		}
		end = clk.Now()
		a, stopErr := w.Stop()
		for _, e := range a.Equations() {
			if e.Name == passiveOpens && e.Residual() != 0 {
				stopErr = errors.Join(stopErr, fmt.Errorf("%+v", e))
			}
		}
		ends = a.Ends
		return errors.Join(err, stopErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ends, p, begin, end
}

// begin makes the connection, which then waits in the accept queue.
func (p *play) begin() error {
	clients, err := p.Queue(1, p.listener)
	if err != nil {
		return err
	}
	p.client = clients[0]
	name, err := unix.Getsockname(p.client)
	if err == nil {
		p.from = socket.AddrPort(name)
	}
	return err
}

// TestKernelFamilies checks that connections of both families are seen, including IPv4 connections
// to an IPv6 socket, with and without a trace.
func TestKernelFamilies(t *testing.T) {
	testkit.RequireRoot(t)
	for _, test := range []struct{ name, listen, to string }{
		{"IPv4", "127.0.0.1", "127.0.0.1"},
		{"IPv6", "::1", "::1"},
		{"IPv4 at an IPv6 listener", "::", "127.0.0.1"},
	} {
		for _, begin := range []func(Options) (*Witness, error){
			start,
			func(o Options) (*Witness, error) { return startObituaries(o, unix.EPERM) },
		} {
			t.Run(test.name, func(t *testing.T) {
				err := netlab.Private(func() error {
					at := netip.AddrPortFrom(netip.MustParseAddr(test.listen), 4711)
					listener, err := socket.Listen(at, socket.ListenOptions{
						Backlog: 1, DualStack: at.Addr().IsUnspecified(),
					})
					if err != nil {
						return err
					}
					defer unix.Close(listener)
					w, err := begin(Options{
						Do: do, Port: at.Port(), Families: []int{unix.AF_INET, unix.AF_INET6},
						Connections: 1, Types: kernelTypes,
					})
					if err != nil {
						return err
					}
					to := netip.AddrPortFrom(netip.MustParseAddr(test.to), at.Port())
					client, err := socket.Open(to.Addr())
					if err != nil {
						return err
					}
					err = socket.Connect(client, to)
					if !errors.Is(err, unix.EINPROGRESS) && err != nil {
						return err
					}
					_, err = loopback.Wait(client, unix.POLLOUT, loopback.Patience)
					name, nameErr := unix.Getsockname(client)
					server, _, acceptErr := socket.Accept(listener)
					err = errors.Join(err, nameErr, acceptErr, unix.Close(server),
						unix.Close(client))
					time.Sleep(10 * time.Millisecond) // until the obituary has arrived
					a, stopErr := w.Stop()
					if err := errors.Join(err, stopErr); err != nil {
						return err
					}
					if len(a.Ends) != 1 {
						return fmt.Errorf("got %d ends, want 1: %+v", len(a.Ends), a.Ends)
					}
					e := a.Ends[0]
					if e.Server != to || e.Client != socket.AddrPort(name) || e.Way != Closed {
						t.Errorf("got %v, %v, %v; want %v, %v, closed",
							e.Server, e.Client, e.Way, to, socket.AddrPort(name))
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestKernelMultipathListener checks that the end of a listener of Multipath TCP, which Go's
// net.Listen makes, does not look like a connection.
func TestKernelMultipathListener(t *testing.T) {
	testkit.RequireRoot(t)
	err := netlab.Private(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err != nil {
			testkit.Skip(t, "no socket of Multipath TCP: %v", err)
		}
		w, err := start(Options{Do: do, Connections: 1, Types: kernelTypes})
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		at := &unix.SockaddrInet4{Port: 4711, Addr: [4]byte{127, 0, 0, 1}}
		err = errors.Join(unix.Bind(fd, at), unix.Listen(fd, 1), unix.Close(fd))
		a, stopErr := w.Stop()
		if err := errors.Join(err, stopErr); err != nil {
			return err
		}
		for _, e := range a.Equations() {
			if e.Residual() != 0 {
				t.Errorf("%+v, want as many", e)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKernelEarlierConnections checks that connections from before the start are left out, even if
// they end later, with and without a trace.
func TestKernelEarlierConnections(t *testing.T) {
	testkit.RequireRoot(t)
	for name, begin := range map[string]func(Options) (*Witness, error){
		"trace":      start,
		"obituaries": func(o Options) (*Witness, error) { return startObituaries(o, unix.EPERM) },
	} {
		t.Run(name, func(t *testing.T) {
			var a *Account
			var later *play
			err := netlab.Private(func() error {
				all := &loopback.Sockets{}
				defer all.Close()
				listener, err := all.Listen()
				if err != nil {
					return err
				}
				address, err := unix.Getsockname(listener)
				if err != nil {
					return err
				}
				earlier := &play{Sockets: all, listener: listener, server: -1}
				later = &play{Sockets: all, listener: listener, server: -1}
				if err := errors.Join(earlier.begin(), earlier.accept()); err != nil {
					return err
				}
				w, err := begin(Options{
					Do: do, Port: socket.AddrPort(address).Port(), Families: []int{unix.AF_INET},
					Connections: 2, Types: kernelTypes,
				})
				if err != nil {
					return err
				}
				err = errors.Join(later.begin(), later.accept())
				for _, p := range []*play{earlier, later} {
					err = errors.Join(err, p.close(&p.server), p.close(&p.client))
				}
				time.Sleep(10 * time.Millisecond) // until the obituaries have arrived
				var stopErr error
				a, stopErr = w.Stop()
				return errors.Join(err, stopErr)
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Ends) != 1 || a.Ends[0].Client != later.from {
				t.Errorf("got %+v, want one end, of the client %v", a.Ends, later.from)
			}
			for _, e := range a.Equations() {
				if e.Name == passiveOpens && e.Residual() != 0 {
					t.Errorf("%+v, want as many", e)
				}
			}
		})
	}
}

// TestKernelMissedBirth checks that a connection whose birth the trace missed is reported if the
// trace sees that the connection is read or closed, and that its client is not reported.
func TestKernelMissedBirth(t *testing.T) {
	testkit.RequireRoot(t)
	for name, end := range map[string]func(*play) error{
		"read": func(p *play) error {
			return errors.Join(p.send(27), p.read(27), p.close(&p.server), p.close(&p.client))
		},
		"closed": func(p *play) error {
			return errors.Join(p.close(&p.server), p.close(&p.client))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &play{Sockets: &loopback.Sockets{}, server: -1}
			var ends []SocketEnd
			err := netlab.Private(func() (err error) {
				defer p.Close()
				if p.listener, err = p.Listen(); err != nil {
					return err
				}
				w, err := start(Options{Do: do, Connections: 1, Types: kernelTypes})
				if err != nil {
					return err
				}
				// As if connections had arrived on the client's port, too, before it was free.
				everyPort := slices.Repeat([]uint64{math.MaxUint64}, 1024)
				err = w.trace.collection.Variables[endsVarPorts].Set(everyPort)
				err = errors.Join(err, p.begin(), p.accept())
				lives := w.trace.collection.Maps[endsMapLives]
				var socket uint64
				if nextErr := lives.NextKey(nil, &socket); nextErr != nil {
					err = errors.Join(err, nextErr)
				} else {
					err = errors.Join(err, lives.Delete(socket), end(p))
				}
				a, stopErr := w.Stop()
				ends = a.Ends
				return errors.Join(err, stopErr)
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(ends) != 1 || ends[0].Client != p.from || ends[0].Born == 0 {
				t.Errorf("got %+v, want one end, of the client %v", ends, p.from)
			}
		})
	}
}

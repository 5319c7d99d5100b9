package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/testkit"
)

// States and flags of TCP (include/net/tcp_states.h; RFC 9293, 3.1).
const (
	tcpSynSent  = 2
	tcpTimeWait = 6
	tcpClose    = 7

	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10
)

var (
	localIPv4 = netip.MustParseAddrPort("127.0.0.1:0")
	localIPv6 = netip.MustParseAddrPort("[::1]:0")
	anyIPv6   = netip.MustParseAddrPort("[::]:0")
)

// kernelTypes is shared by all traces, so that the kernel's types are read only once, as in a run.
var kernelTypes = btf.NewCache()

// needLossTrace skips the test unless every tracepoint can be traced.
func needLossTrace(t *testing.T) {
	t.Helper()
	trace, err := NewLossTrace(LossTraceOptions{Namespaces: []uint32{1}})
	if errors.Is(err, unix.EPERM) || errors.Is(err, ErrNotSupported) {
		testkit.Skip(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	if missing := trace.Missing(); len(missing) > 0 {
		testkit.Skip(t, "this kernel lacks %v", missing)
	}
}

// networkInode returns the inode of the calling thread's network namespace.
func networkInode() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, err
	}
	return uint32(st.Ino), nil
}

// lossRecord is the size of an event in the ring: a header (BPF_RINGBUF_HDR_SZ in
// include/uapi/linux/bpf.h) and struct event.
const lossRecord = 8 + 72

// recordLosses returns the events reported while f runs. After f it waits until there are n events,
// because segments may arrive late on a busy machine. Without Namespaces and Servers it traces the
// calling thread's namespace.
func recordLosses(o LossTraceOptions, n int, f func() error) ([]LossEvent, error) {
	if len(o.Namespaces) == 0 && len(o.Servers) == 0 {
		here, err := networkInode()
		if err != nil {
			return nil, err
		}
		o.Namespaces = []uint32{here}
	}
	o.Types = kernelTypes
	trace, err := NewLossTrace(o)
	if err != nil {
		return nil, err
	}
	failed := f()
	end := time.Now().Add(10 * time.Second)
	for ; failed == nil && time.Now().Before(end); unix.Poll(nil, 1) {
		if trace.reader.AvailableBytes() >= n*lossRecord {
			break
		}
	}
	events, err := readRest(trace)
	if drops, dropsErr := trace.Drops(); drops != 0 || dropsErr != nil {
		err = errors.Join(err, dropsErr, fmt.Errorf("%d events found no room", drops))
	}
	return events, errors.Join(failed, err)
}

// readRest closes the trace and returns the events left in the ring.
func readRest(trace *LossTrace) (events []LossEvent, err error) {
	done := make(chan error, 1)
	go func() { done <- trace.Read(func(e LossEvent) { events = append(events, e) }) }()
	for trace.reading.TryLock() { // until Read holds it, so that Close comes after Read
		trace.reading.Unlock()
		unix.Poll(nil, 1)
	}
	err = trace.Close()
	return events, errors.Join(err, <-done)
}

// wantLosses compares events. It ignores the fields that the test cannot predict: At, Sequence, and
// the PID of events with a segment.
func wantLosses(t *testing.T, want, got []LossEvent) {
	t.Helper()
	sorted := func(events []LossEvent) []LossEvent {
		events = slices.Clone(events)
		for i := range events {
			if e := &events[i]; e.Flags != 0 {
				e.PID = 0
			}
			events[i].At, events[i].Sequence = 0, 0
		}
		slices.SortFunc(events, func(a, b LossEvent) int {
			if a.Kind != b.Kind {
				return int(a.Kind) - int(b.Kind)
			}
			return a.Source.Compare(b.Source)
		})
		return events
	}
	byValue := cmpopts.EquateComparable(netip.AddrPort{})
	if diff := cmp.Diff(sorted(want), sorted(got), byValue); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, e := range got {
		if (e.Flags == 0) != (e.Sequence == 0) {
			t.Errorf("%+v: want flags and a sequence number, or neither", e)
		}
	}
}

// bound makes a socket that is bound to the address. It returns the address with the port that the
// kernel chose.
func (s *testSockets) bound(address netip.AddrPort) (int, netip.AddrPort, error) {
	fd, err := socket.Open(address.Addr())
	if err != nil {
		return -1, address, fmt.Errorf("socket: %w", err)
	}
	s.Own(fd)
	if err := socket.Bind(fd, address); err != nil {
		return -1, address, fmt.Errorf("bind %v: %w", address, err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, address, fmt.Errorf("getsockname: %w", err)
	}
	return fd, socket.AddrPort(name), nil
}

// dial starts n connections, and returns the clients and their addresses.
func (s *testSockets) dial(
	n int, from, to netip.AddrPort,
) (clients []int, addresses []netip.AddrPort, err error) {
	for range n {
		client, address, err := s.bound(from)
		if err != nil {
			return nil, nil, err
		}
		err = unix.Connect(client, socket.Sockaddr(to))
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return nil, nil, fmt.Errorf("connect: %w", err)
		}
		clients, addresses = append(clients, client), append(addresses, address)
	}
	return clients, addresses, nil
}

// listenAt makes a listener and waits until n connections are in its queue.
func (s *testSockets) listenAt(
	address netip.AddrPort, n int, from, to netip.Addr,
) (listener int, at netip.AddrPort, clients []netip.AddrPort, err error) {
	if listener, at, err = s.bound(address); err != nil {
		return
	}
	if err = unix.Listen(listener, 64); err != nil {
		return
	}
	_, clients, err = s.dial(n, netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, at.Port()))
	if err != nil {
		return
	}
	for end := time.Now().Add(10 * time.Second); ; unix.Poll(nil, 1) {
		var queued int
		if queued, _, err = loopback.QueueDepth(listener); err != nil || queued == n {
			return
		} else if time.Now().After(end) {
			err = fmt.Errorf("%d of %d connections are queued", queued, n)
			return
		}
	}
}

// lost returns one copy of e for each source.
func lost(e LossEvent, sources []netip.AddrPort) (events []LossEvent) {
	for _, e.Source = range sources {
		events = append(events, e)
	}
	return events
}

func TestKernelLossTraceQueued(t *testing.T) {
	const n = 5
	needLossTrace(t)
	for _, test := range []struct {
		name           string
		listen, client netip.AddrPort
	}{
		{"IPv4", localIPv4, localIPv4},
		{"IPv6", localIPv6, localIPv6},
		{"IPv4 at an IPv6 listener", anyIPv6, localIPv4},
	} {
		t.Run(test.name, func(t *testing.T) {
			inNetwork(t, func() error {
				var s testSockets
				defer s.Close()
				client := test.client.Addr()
				listener, at, clients, err := s.listenAt(test.listen, n, client, client)
				if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
					t.Logf("not tested: %v", err)
					return nil
				} else if err != nil {
					return err
				}
				inode, err := socket.Inode(listener)
				if err != nil {
					return err
				}
				clk, err := clock.New()
				if err != nil {
					return err
				}
				begin := clk.Now()
				got, err := recordLosses(LossTraceOptions{}, n+1, func() error {
					s.CloseSocket(listener)
					return nil
				})
				if err != nil {
					return err
				}
				end := clk.Now()
				want := lost(LossEvent{
					Kind: ResetSent, Reason: "tcp_state",
					Destination: netip.AddrPortFrom(client, at.Port()),
					State:       tcpClose, PID: os.Getpid(),
				}, clients)
				wantLosses(t, append(want, LossEvent{
					Kind: ListenerClosed, Destination: at, Socket: inode, State: tcpListen,
					PID: os.Getpid(),
				}), got)
				if len(got) > 0 && got[0].Kind != ListenerClosed {
					t.Errorf("the first event is %v, want listener closed", got[0].Kind)
				}
				for _, e := range got {
					if at := clock.Instant(e.At); at < begin || at > end {
						t.Errorf("event at %d, want one between %d and %d", e.At, begin, end)
					}
				}
				return nil
			})
		})
	}
}

func TestKernelLossTraceHalfOpen(t *testing.T) {
	const n = 3
	needLossTrace(t)
	for _, survivor := range []bool{false, true} {
		t.Run(fmt.Sprintf("survivor=%v", survivor), func(t *testing.T) {
			inNetwork(t, func() error {
				var s testSockets
				defer s.Close()
				clients, listeners, err := s.halfOpen(n, 1)
				if err != nil {
					return err
				}
				at := netip.AddrPortFrom(localIPv4.Addr(), s.Address.Port())
				closed, err := socket.Inode(listeners[0])
				if err != nil {
					return err
				}
				reset := LossEvent{
					Kind: ResetSent, Reason: "no_socket", Destination: at, Flags: flagACK | flagPSH,
				}
				if survivor {
					listener, err := s.Listen()
					if err != nil {
						return err
					}
					if reset.Socket, err = socket.Inode(listener); err != nil {
						return err
					}
					reset.Reason, reset.State = "tcp_flags", tcpListen
				}
				var sources []netip.AddrPort
				for _, client := range clients {
					name, err := unix.Getsockname(client)
					if err != nil {
						return err
					}
					port := uint16(name.(*unix.SockaddrInet4).Port)
					sources = append(sources, netip.AddrPortFrom(localIPv4.Addr(), port))
				}
				got, err := recordLosses(LossTraceOptions{}, n+1, func() error {
					s.CloseSocket(listeners[0])
					if err := letIn(clients, nil); err != nil {
						return err
					}
					return awaitEnd(clients)
				})
				if err != nil {
					return err
				}
				wantLosses(t, append(lost(reset, sources), LossEvent{
					Kind: ListenerClosed, Destination: at, Socket: closed, State: tcpListen,
					PID: os.Getpid(),
				}), got)
				return nil
			})
		})
	}
}

// awaitEnd waits until the connection of each client has ended, by a reset for example.
func awaitEnd(clients []int) error {
	for _, client := range clients {
		if ended, err := loopback.Wait(client, unix.POLLHUP, 10*time.Second); err != nil || !ended {
			return fmt.Errorf("the connection did not end: %w", errors.Join(err, unix.ETIMEDOUT))
		}
	}
	return nil
}

func TestKernelLossTraceRefused(t *testing.T) {
	const n = 4
	needLossTrace(t)
	for _, from := range []netip.AddrPort{localIPv4, localIPv6} {
		t.Run(from.Addr().String(), func(t *testing.T) {
			inNetwork(t, func() error {
				var s testSockets
				defer s.Close()
				_, at, err := s.bound(from) // keeps the port, so that no other socket gets it
				if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
					t.Logf("not tested: %v", err)
					return nil
				} else if err != nil {
					return err
				}
				var sources []netip.AddrPort
				got, err := recordLosses(LossTraceOptions{}, n, func() (err error) {
					sources, err = s.refused(n, from, at)
					return err
				})
				if err != nil {
					return err
				}
				wantLosses(t, lost(refusal(at), sources), got)
				return nil
			})
		})
	}
}

// refusal returns the event of a SYN to an address without a listener.
func refusal(at netip.AddrPort) LossEvent {
	return LossEvent{Kind: ResetSent, Reason: "no_socket", Destination: at, Flags: flagSYN}
}

// refused dials an address without a listener n times, and waits for the resets.
func (s *testSockets) refused(n int, from, to netip.AddrPort) ([]netip.AddrPort, error) {
	clients, sources, err := s.dial(n, from, to)
	if err != nil {
		return nil, err
	}
	return sources, awaitEnd(clients)
}

// untilRepeated is the time after which a client repeats a lost SYN, which would cause another
// event (TCP_TIMEOUT_INIT in include/net/tcp.h).
const untilRepeated = time.Second

func TestKernelLossTraceFirewall(t *testing.T) {
	const n = 4
	needLossTrace(t)
	for name, hook := range map[string]*nftables.ChainHook{
		"input": nftables.ChainHookInput, "output": nftables.ChainHookOutput,
	} {
		t.Run(name, func(t *testing.T) {
			inNetwork(t, func() error {
				var s testSockets
				defer s.Close()
				_, at, _, err := s.listenAt(localIPv4, 0, netip.Addr{}, netip.Addr{})
				if err != nil {
					return err
				}
				if err := addDrop(hook, at.Port()); err != nil {
					return err
				}
				want := LossEvent{
					Kind: SegmentDropped, Reason: "netfilter_drop", Destination: at, Flags: flagSYN,
				}
				var clients []int
				var sources []netip.AddrPort
				var begin time.Time
				got, err := recordLosses(LossTraceOptions{}, n, func() (err error) {
					begin = time.Now()
					clients, sources, err = s.dial(n, localIPv4, at)
					return err
				})
				if err != nil {
					return err
				}
				if spent := time.Since(begin); spent > untilRepeated {
					t.Logf("not tested: it took %v, so SYNs may have been repeated", spent)
					return nil
				}
				wanted := lost(want, sources)
				if hook == nftables.ChainHookOutput { // the segment still has the client's socket
					for i := range wanted {
						if wanted[i].Socket, err = socket.Inode(clients[i]); err != nil {
							return err
						}
						wanted[i].State = tcpSynSent
					}
				}
				wantLosses(t, wanted, got)
				return nil
			})
		})
	}
}

// addDrop adds a rule to the calling thread's namespace that drops TCP segments to the port.
func addDrop(hook *nftables.ChainHook, port uint16) error {
	connection, err := nftables.New()
	if err != nil {
		return err
	}
	table := connection.AddTable(&nftables.Table{Name: "losses", Family: nftables.TableFamilyIPv4})
	chain := connection.AddChain(&nftables.Chain{
		Name: "drop", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	connection.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		// destination port
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return connection.Flush()
}

// TestKernelLossTraceFilter checks that the event of a final ACK that a listener's filter drops
// (holdBack) names the listener.
func TestKernelLossTraceFilter(t *testing.T) {
	const n = 3
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		listener, at, _, err := s.listenAt(localIPv4, 0, netip.Addr{}, netip.Addr{})
		if err != nil {
			return err
		}
		if err := holdBack(listener); err != nil {
			return err
		}
		want := LossEvent{
			Kind: SegmentDropped, Reason: "socket_filter", Destination: at, Flags: flagACK,
			State: tcpListen,
		}
		if want.Socket, err = socket.Inode(listener); err != nil {
			return err
		}
		var sources []netip.AddrPort
		got, err := recordLosses(LossTraceOptions{}, n, func() error {
			var clients []int
			if clients, sources, err = s.dial(n, localIPv4, at); err != nil {
				return err
			}
			for _, client := range clients {
				ready, err := loopback.Wait(client, unix.POLLOUT, 10*time.Second)
				if err != nil || !ready {
					return fmt.Errorf("connect: %w", errors.Join(err, unix.ETIMEDOUT))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		wantLosses(t, lost(want, sources), got)
		return nil
	})
}

// TestKernelLossTraceOverflow checks that a SYN that meets a full queue causes no event. If a new
// kernel changes this, the documentation of LossTrace must change, too.
func TestKernelLossTraceOverflow(t *testing.T) {
	const n = 6
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		listener, at, _, err := s.listenAt(localIPv4, 0, netip.Addr{}, netip.Addr{})
		if err != nil {
			return err
		}
		if err := unix.Listen(listener, 0); err != nil { // a queue for one connection
			return err
		}
		got, err := recordLosses(LossTraceOptions{}, 0, func() error {
			_, _, err := s.dial(n, localIPv4, at)
			return err
		})
		if err != nil {
			return err
		}
		counters, err := ReadCounters("/proc/thread-self/net")
		if err != nil {
			return err
		}
		if overflows := counters["TcpExtListenOverflows"]; overflows == 0 {
			t.Error("the queue did not overflow")
		}
		wantLosses(t, nil, got)
		return nil
	})
}

// TestKernelLossTraceOverflowACK checks that a final ACK that meets a full queue causes an event.
// It holds the ACKs back until the queue has room for only one connection.
func TestKernelLossTraceOverflowACK(t *testing.T) {
	const n = 3
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		clients, listeners, err := s.halfOpen(n, 1)
		if err != nil {
			return err
		}
		if err := unix.Listen(listeners[0], 0); err != nil {
			return err
		}
		var begin time.Time
		got, err := recordLosses(LossTraceOptions{}, n-1, func() error {
			begin = time.Now()
			return letIn(clients, listeners)
		})
		if err != nil {
			return err
		}
		inode, err := socket.Inode(listeners[0])
		if err != nil {
			return err
		}
		const untilRepeated = 200 * time.Millisecond // TCP_RTO_MIN in include/net/tcp.h
		if spent := time.Since(begin); spent > untilRepeated {
			t.Logf("not tested: it took %v, so data may have been repeated", spent)
			return nil
		}
		if len(got) != n-1 {
			t.Errorf("got %d events, want %d", len(got), n-1)
		}
		for _, e := range got {
			if e.Kind != SegmentDropped || e.Reason != "tcp_listen_overflow" ||
				e.Socket != inode || e.State != tcpListen {
				t.Errorf("got %+v, want a drop by listener %d for overflow", e, inode)
			}
		}
		return nil
	})
}

// TestKernelLossTraceLinger checks that an event has a Socket if the server resets an accepted
// connection, and none if the connection was not accepted yet.
func TestKernelLossTraceLinger(t *testing.T) {
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		local := localIPv4.Addr()
		listener, at, clients, err := s.listenAt(localIPv4, 1, local, local)
		if err != nil {
			return err
		}
		accepted, err := s.Accept(1, listener)
		if err != nil || len(accepted[0]) != 1 {
			return fmt.Errorf("accept: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		server := accepted[0][0]
		inode, err := socket.Inode(server)
		if err != nil {
			return err
		}
		linger := &unix.Linger{Onoff: 1}
		err = unix.SetsockoptLinger(server, unix.SOL_SOCKET, unix.SO_LINGER, linger)
		if err != nil {
			return err
		}
		got, err := recordLosses(LossTraceOptions{}, 1, func() error {
			s.CloseSocket(server)
			return nil
		})
		if err != nil {
			return err
		}
		wantLosses(t, []LossEvent{{
			Kind: ResetSent, Reason: "tcp_state", Source: clients[0], Destination: at,
			Socket: inode, State: tcpClose, PID: os.Getpid(),
		}}, got)
		return nil
	})
}

func TestKernelLossTraceNamespaces(t *testing.T) {
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		_, at, err := s.bound(localIPv4)
		if err != nil {
			return err
		}
		var sources []netip.AddrPort
		got, err := recordLosses(LossTraceOptions{}, 1, func() error {
			err := netlab.Private(loseQueue)
			if err != nil {
				return err
			}
			if err := netlab.Private(func() error { return refuseAndFilter(at) }); err != nil {
				return err
			}
			sources, err = s.refused(1, localIPv4, at)
			return err
		})
		if err != nil {
			return err
		}
		wantLosses(t, lost(refusal(at), sources), got)
		return nil
	})
}

// loseQueue closes a listener that has one connection in its queue.
func loseQueue() error {
	var s testSockets
	defer s.Close()
	local := localIPv4.Addr()
	listener, _, _, err := s.listenAt(localIPv4, 1, local, local)
	if err == nil {
		s.CloseSocket(listener)
	}
	return err
}

// refuseAndFilter sends two SYNs to the address. The first is refused, the firewall drops the
// second.
func refuseAndFilter(at netip.AddrPort) error {
	var s testSockets
	defer s.Close()
	if _, err := s.refused(1, localIPv4, at); err != nil {
		return err
	}
	if err := addDrop(nftables.ChainHookInput, at.Port()); err != nil {
		return err
	}
	_, _, err := s.dial(1, localIPv4, at)
	return err
}

// TestKernelLossTraceServers checks that, without Namespaces, only addresses decide which events
// are reported.
func TestKernelLossTraceServers(t *testing.T) {
	const n = 3
	needLossTrace(t)
	for _, test := range []struct {
		name     string
		address  netip.Addr // address of the server whose losses are reported
		reported bool
	}{
		{"its own", localIPv4.Addr(), true},
		{"any", netip.IPv6Unspecified(), true},
		{"another server's", netip.MustParseAddr("127.0.0.2"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inNetwork(t, func() error {
				var s testSockets
				defer s.Close()
				_, other, err := s.bound(localIPv4)
				if err != nil {
					return err
				}
				local := localIPv4.Addr()
				listener, at, clients, err := s.listenAt(localIPv4, n, local, local)
				if err != nil {
					return err
				}
				inode, err := socket.Inode(listener)
				if err != nil {
					return err
				}
				expected := 0
				if test.reported {
					expected = 1 + n + n + 1
				}
				var sources []netip.AddrPort
				server := netip.AddrPortFrom(test.address, at.Port())
				o := LossTraceOptions{Servers: []netip.AddrPort{server}}
				got, err := recordLosses(o, expected, func() error {
					if _, err := s.refused(n, localIPv4, other); err != nil {
						return err
					}
					s.CloseSocket(listener)
					if sources, err = s.refused(n, localIPv4, at); err != nil {
						return err
					}
					if err := addDrop(nftables.ChainHookInput, at.Port()); err != nil {
						return err
					}
					_, dropped, err := s.dial(1, localIPv4, at)
					sources = append(sources, dropped...)
					return err
				})
				if err != nil {
					return err
				}
				var want []LossEvent
				if test.reported {
					want = append(want, LossEvent{
						Kind: ListenerClosed, Destination: at, Socket: inode, State: tcpListen,
						PID: os.Getpid(),
					})
					want = append(want, lost(LossEvent{
						Kind: ResetSent, Reason: "tcp_state", Destination: at, State: tcpClose,
						PID: os.Getpid(),
					}, clients)...)
					want = append(want, lost(refusal(at), sources[:n])...)
					want = append(want, lost(LossEvent{
						Kind: SegmentDropped, Reason: "netfilter_drop", Destination: at,
						Flags: flagSYN,
					}, sources[n:])...)
				}
				wantLosses(t, want, got)
				return nil
			})
		})
	}
}

// withPage calls f in a private network, with an address without a listener and with a trace whose
// ring is one page long. f must close the trace.
func withPage(
	t *testing.T, f func(s *testSockets, at netip.AddrPort, trace *LossTrace) error,
) {
	t.Helper()
	needLossTrace(t)
	inNetwork(t, func() error {
		here, err := networkInode()
		if err != nil {
			return err
		}
		var s testSockets
		defer s.Close()
		_, at, err := s.bound(localIPv4)
		if err != nil {
			return err
		}
		trace, err := NewLossTrace(LossTraceOptions{
			Namespaces: []uint32{here}, BufferBytes: os.Getpagesize(),
		})
		if err != nil {
			return err
		}
		return f(&s, at, trace)
	})
}

// TestKernelLossTraceDrops checks that events that find no room in the ring are counted.
func TestKernelLossTraceDrops(t *testing.T) {
	const n = 150
	withPage(t, func(s *testSockets, at netip.AddrPort, trace *LossTrace) error {
		_, failed := s.refused(n, localIPv4, at)
		before, err := trace.Drops()
		if err != nil {
			t.Error(err)
		}
		got, err := readRest(trace)
		if err := errors.Join(failed, err); err != nil {
			return err
		}
		after, err := trace.Drops()
		// The ring is never quite full (__bpf_ringbuf_reserve in kernel/bpf/ringbuf.c).
		room := (os.Getpagesize() - 1) / lossRecord
		if len(got) != room || before != uint64(n-room) || after != before || err != nil {
			t.Errorf("got %d events, %d and in the end %d without room, %v; want %d, %d",
				len(got), before, after, err, room, n-room)
		}
		return trace.Close() // a second call: readRest has closed the trace
	})
}

// TestKernelLossTraceSleeps checks that the reader sleeps until the ring is half full.
func TestKernelLossTraceSleeps(t *testing.T) {
	withPage(t, func(s *testSockets, at netip.AddrPort, trace *LossTrace) error {
		half := os.Getpagesize() / lossRecord / 2
		read, done := make(chan LossEvent, 2*half), make(chan error, 1)
		go func() { done <- trace.Read(func(e LossEvent) { read <- e }) }()
		_, failed := s.refused(half-5, localIPv4, at)
		unix.Poll(nil, 20) // enough time for the reader to wake up, if it were woken
		if n := len(read); n > 0 {
			t.Errorf("read %d of %d events in a ring with room for %d; want none",
				n, half-5, 2*half)
		}
		_, err := s.refused(10, localIPv4, at)
		if err = errors.Join(failed, err); err == nil {
			<-read
		}
		return errors.Join(err, trace.Close(), <-done)
	})
}

// TestKernelLossTraceClose checks that Close waits until a Read in progress has delivered every
// event.
func TestKernelLossTraceClose(t *testing.T) {
	n := os.Getpagesize()/lossRecord - 1 // more than half the ring
	withPage(t, func(s *testSockets, at netip.AddrPort, trace *LossTrace) error {
		_, failed := s.refused(n, localIPv4, at)
		read, closed := 0, make(chan error, 1)
		err := trace.Read(func(LossEvent) {
			if read++; read > 1 {
				return
			}
			go func() { closed <- trace.Close() }()
			for stopped := false; !stopped; unix.Poll(nil, 1) {
				trace.state.Lock()
				stopped = trace.closed
				trace.state.Unlock()
			}
		})
		if read != n {
			t.Errorf("read %d events, want %d", read, n)
		}
		return errors.Join(failed, err, <-closed)
	})
}

func TestKernelLossTraceProcess(t *testing.T) {
	needLossTrace(t)
	for _, test := range []struct {
		name  string
		flags uintptr
	}{{"this namespace", 0}, {"a child namespace", unix.CLONE_NEWPID}} {
		t.Run(test.name, func(t *testing.T) {
			inNetwork(t, func() error {
				var child int
				got, err := recordLosses(LossTraceOptions{}, 2, func() error {
					cmd := exec.Command("/proc/self/exe", childLoseQueue)
					var stderr bytes.Buffer
					cmd.Stderr = &stderr
					cmd.SysProcAttr = &syscall.SysProcAttr{
						Cloneflags: test.flags, Pdeathsig: unix.SIGKILL,
					}
					err := cmd.Run()
					if cmd.Process != nil {
						child = cmd.Process.Pid
					}
					if err != nil {
						return fmt.Errorf("%w: %s", err, stderr.String())
					}
					return nil
				})
				if err != nil {
					return err
				}
				if len(got) != 2 || got[0].Kind != ListenerClosed || got[1].Kind != ResetSent ||
					got[0].PID != child || got[1].PID != child {
					t.Errorf("got %+v, want a closed listener and a reset, by process %d",
						got, child)
				}
				return nil
			})
		})
	}
}

// serveOrderly serves one connection and closes it without a loss. first determines which end
// closes first: "client", "server", "server, unread" (the server never reads the client's FIN), or
// "half" (the client closes only its sending direction).
func (s *testSockets) serveOrderly(listener int, first string) error {
	clients, err := s.Connect(1, s.Address)
	if err != nil {
		return err
	}
	accepted, err := s.Accept(1, listener)
	if err != nil || len(accepted[0]) != 1 {
		return fmt.Errorf("accept: %w", errors.Join(err, unix.ETIMEDOUT))
	}
	client, server := clients[0], accepted[0][0]
	// receive reads until it has want bytes; if want is 0, it reads EOF.
	receive := func(socket, want int) {
		if ready, e := loopback.Wait(socket, unix.POLLIN, 10*time.Second); e != nil || !ready {
			err = errors.Join(err, e, unix.ETIMEDOUT)
		} else if n, e := unix.Read(socket, make([]byte, 8)); e != nil || n != want {
			err = errors.Join(err, fmt.Errorf("read %d bytes, want %d: %w", n, want, e))
		}
	}
	for _, direction := range [][2]int{{client, server}, {server, client}} {
		if _, e := unix.Write(direction[0], []byte{1}); e != nil {
			return e
		}
		receive(direction[1], 1)
	}
	switch first {
	case "client": // the server's FIN meets a socket in TIME_WAIT
		s.CloseSocket(client)
		receive(server, 0)
		err = errors.Join(err, unix.SetsockoptInt(server, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1))
		s.CloseSocket(server)
	case "server":
		s.CloseSocket(server)
		receive(client, 0)
		s.CloseSocket(client)
	case "server, unread": // the client's FIN stays in the socket's queue
		s.CloseSocket(server)
		s.CloseSocket(client)
	case "half":
		err = errors.Join(err, unix.Shutdown(client, unix.SHUT_WR))
		receive(server, 0)
		s.CloseSocket(server)
		receive(client, 0)
		s.CloseSocket(client)
	}
	return err
}

func TestKernelLossTraceOrderly(t *testing.T) {
	const n = 50
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		listener, err := s.Listen()
		if err != nil {
			return err
		}
		got, err := recordLosses(LossTraceOptions{}, 0, func() error {
			for range n {
				for _, first := range []string{"client", "server", "server, unread", "half"} {
					if err := s.serveOrderly(listener, first); err != nil {
						return fmt.Errorf("%s first: %w", first, err)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		wantLosses(t, nil, got)
		return nil
	})
}

// TestKernelLossTraceUnread checks the event of a server that closes a connection with unread data,
// which resets the connection.
func TestKernelLossTraceUnread(t *testing.T) {
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		listener, err := s.Listen()
		if err != nil {
			return err
		}
		clients, err := s.Connect(1, s.Address)
		if err != nil {
			return err
		}
		accepted, err := s.Accept(1, listener)
		if err != nil || len(accepted[0]) != 1 {
			return fmt.Errorf("accept: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		server := accepted[0][0]
		if _, err := unix.Write(clients[0], []byte{1}); err != nil {
			return err
		}
		want := LossEvent{
			Kind: ResetSent, Reason: "tcp_abort_on_close", State: tcpClose, PID: os.Getpid(),
		}
		if want.Socket, err = socket.Inode(server); err != nil {
			return err
		}
		client, err := unix.Getsockname(clients[0])
		if err != nil {
			return err
		}
		port := uint16(client.(*unix.SockaddrInet4).Port)
		want.Source = netip.AddrPortFrom(localIPv4.Addr(), port)
		want.Destination = netip.AddrPortFrom(localIPv4.Addr(), s.Address.Port())
		got, err := recordLosses(LossTraceOptions{}, 1, func() error {
			s.CloseSocket(server)
			return nil
		})
		if err != nil {
			return err
		}
		wantLosses(t, []LossEvent{want}, got)
		return nil
	})
}

// TestKernelLossTraceStrayReset checks that a RST that belongs to no connection causes no event.
// The same segment with ACK instead of RST is answered with a reset.
func TestKernelLossTraceStrayReset(t *testing.T) {
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		_, from, err := s.bound(localIPv4)
		if err != nil {
			return err
		}
		_, to, err := s.bound(localIPv4)
		if err != nil {
			return err
		}
		got, err := recordLosses(LossTraceOptions{}, 1, func() error {
			return errors.Join(sendSegment(from, to, flagRST), sendSegment(from, to, flagACK))
		})
		if err != nil {
			return err
		}
		wantLosses(t, []LossEvent{{
			Kind: ResetSent, Reason: "no_socket", Source: from, Destination: to, Flags: flagACK,
		}}, got)
		return nil
	})
}

// TestKernelLossTraceTimeWait sends a SYN to a socket in TIME_WAIT whose listener is gone. The
// kernel answers with an ACK. The client is gone, too, so the ACK is answered with a reset.
func TestKernelLossTraceTimeWait(t *testing.T) {
	needLossTrace(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		listener, at, _, err := s.listenAt(localIPv4, 0, netip.Addr{}, netip.Addr{})
		if err != nil {
			return err
		}
		dialed, clients, err := s.dial(1, localIPv4, at)
		if err != nil {
			return err
		}
		client := dialed[0]
		accepted, err := s.Accept(1, listener)
		if err != nil || len(accepted[0]) != 1 {
			return fmt.Errorf("accept: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		s.CloseSocket(accepted[0][0])
		if ready, err := loopback.Wait(client, unix.POLLIN, 10*time.Second); err != nil || !ready {
			return fmt.Errorf("the server's FIN: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		s.CloseSocket(client)
		s.CloseSocket(listener)
		got, err := recordLosses(LossTraceOptions{}, 2, func() error {
			return sendSegment(clients[0], at, flagSYN)
		})
		if err != nil {
			return err
		}
		wantLosses(t, []LossEvent{
			{
				Kind: SegmentDropped, Reason: "not_specified", Source: clients[0], Destination: at,
				Flags: flagSYN, State: tcpTimeWait,
			},
			{
				Kind: ResetSent, Reason: "no_socket", Source: at, Destination: clients[0],
				Flags: flagACK,
			},
		}, got)
		return nil
	})
}

// sendSegment sends a TCP header without data. Both addresses must be 127.0.0.1.
func sendSegment(from, to netip.AddrPort, flags byte) error {
	const sequence = 7
	header := binary.BigEndian.AppendUint16(nil, from.Port())
	header = binary.BigEndian.AppendUint16(header, to.Port())
	header = binary.BigEndian.AppendUint32(header, sequence)
	header = append(header, 0, 0, 0, 0, 5<<4, flags, 0, 0, 0, 0, 0, 0)
	// The checksum covers this pseudo-header, too (RFC 9293, 3.1).
	pseudo := []byte{127, 0, 0, 1, 127, 0, 0, 1, 0, unix.IPPROTO_TCP, 0, byte(len(header))}
	summed := slices.Concat(pseudo, header)
	var total uint32
	for i := 0; i < len(summed); i += 2 {
		total += uint32(binary.BigEndian.Uint16(summed[i:]))
	}
	binary.BigEndian.PutUint16(header[16:], ^uint16(total>>16+total&0xffff))
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	// The socket is connected to an address that sends nothing, so it gets no copies of segments
	// (raw(7)). Otherwise closing it would drop the copies, and the drops would be reported as
	// losses.
	if err := unix.Connect(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 8}}); err != nil {
		return err
	}
	return unix.Sendto(socket, header, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func TestKernelLossTraceCapabilities(t *testing.T) {
	needLossTrace(t)
	err := testkit.WithCapabilities(func() error {
		trace, err := NewLossTrace(LossTraceOptions{Namespaces: []uint32{1}})
		if err == nil {
			trace.Close()
		}
		return err
	})
	const want = "needs CAP_BPF and CAP_PERFMON"
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want EPERM and %q", err, want)
	}
}

func TestKernelLossTraceOptions(t *testing.T) {
	needLossTrace(t)
	for _, o := range []LossTraceOptions{
		{},
		{Namespaces: []uint32{1}, BufferBytes: -1},
		{Namespaces: []uint32{1}, BufferBytes: 5000},
	} {
		if trace, err := NewLossTrace(o); err == nil {
			trace.Close()
			t.Errorf("%+v: no error", o)
		}
	}
}

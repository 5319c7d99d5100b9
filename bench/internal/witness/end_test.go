package witness

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
)

var (
	testServer = netip.MustParseAddrPort("127.0.0.1:80")
	testClient = netip.MustParseAddrPort("127.0.0.2:1024")
)

// TestObituary checks what can be derived from a message of the kernel alone, and from the message
// together with the client's record. The messages are from Linux 6.18, for a request of 27 bytes
// and an answer of 41 bytes.
func TestObituary(t *testing.T) {
	sent, reset := ClientEnd{Sent: 27}, ClientEnd{Sent: 27, Reset: true}
	for _, test := range []struct {
		name   string
		c      kernel.Connection
		client ClientEnd
		want   SocketEnd
	}{
		{"served, server first",
			kernel.Connection{Unread: 1, Received: 28, Acknowledged: 42, Sent: 41}, sent,
			SocketEnd{Way: Closed, Received: 27, Sent: 41, Acknowledged: 41, PeerClosed: true}},
		{"served, client first",
			kernel.Connection{Received: 28, Acknowledged: 42, Sent: 41}, sent,
			SocketEnd{Way: Closed, Received: 27, Sent: 41, Acknowledged: 41, PeerClosed: true}},
		{"closed unread", kernel.Connection{Unread: 27, Received: 27}, sent,
			SocketEnd{Way: ClosedUnread, Received: 27, Unread: 27}},
		{"closed unread after the client", kernel.Connection{Unread: 28, Received: 28}, sent,
			SocketEnd{Way: ClosedUnread, Received: 27, Unread: 27, PeerClosed: true}},
		{"read, closed unanswered",
			kernel.Connection{Unread: 1, Received: 28, Acknowledged: 1}, sent,
			SocketEnd{Way: Closed, Received: 27, PeerClosed: true}},
		{"reset by the client", kernel.Connection{Unread: 27, Received: 27}, reset,
			SocketEnd{Received: 27, Unread: 27}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.c.Local, test.c.Peer = testServer, testClient
			got, ok := obituary(test.c)
			got.Complete(test.client)
			want := test.want
			want.Server, want.Client, want.Accepted = testServer, testClient, true
			want.Known = KnowsClient | KnowsAccepted | KnowsBytes | KnowsFIN
			if want.Way != UnknownWay {
				want.Known |= KnowsWay
			}
			diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{}))
			if !ok || diff != "" {
				t.Errorf("%v (-got +want):\n%s", ok, diff)
			}
		})
	}
	thrown, _ := obituary(kernel.Connection{Local: testServer, Peer: testClient})
	if thrown.Known.Has(KnowsAccepted) {
		t.Errorf("a socket without a byte: %+v", thrown)
	}
	nobody := netip.AddrPortFrom(testClient.Addr(), 0)
	got, ok := obituary(kernel.Connection{Local: testServer, Peer: nobody})
	if !ok || got.Way != Reset || got.Known != KnowsWay {
		t.Errorf("an emptied socket: %+v, %v", got, ok)
	}
	listener := kernel.Connection{Local: testServer, Peer: netip.MustParseAddrPort("0.0.0.0:0")}
	if _, ok := obituary(listener); ok {
		t.Error("a listener passes for a connection")
	}
}

// TestUnended checks what can be derived from sock_diag's report of connections that have not
// ended.
func TestUnended(t *testing.T) {
	for _, test := range []struct {
		state      uint8
		inode      uint64
		want       Way
		accepted   bool
		peerClosed bool
	}{
		{tcpEstablished, 0, StillQueued, false, false},
		{tcpCloseWait, 0, StillQueued, false, true},
		{tcpEstablished, 5, StillOpen, true, false},
		{tcpCloseWait, 5, StillOpen, true, true},
		{tcpFinWait2, 5, ShutDown, true, false},
		{tcpFinWait1, 0, Closed, true, false},
		{tcpLastAck, 0, Closed, true, true},
		{tcpClosing, 0, Closed, true, true},
	} {
		e := unended(kernel.Connection{
			State: test.state, Inode: test.inode, Received: 28, Unread: 28,
		})
		if e.Way != test.want || e.Accepted != test.accepted || e.PeerClosed != test.peerClosed {
			t.Errorf("state %d, inode %d: %+v", test.state, test.inode, e)
		}
		bytes := uint64(28)
		if test.peerClosed {
			bytes = 27
		}
		if e.Received != bytes || e.Unread != bytes {
			t.Errorf("state %d: received %d, unread %d; want %d",
				test.state, e.Received, e.Unread, bytes)
		}
	}
}

func TestProgress(t *testing.T) {
	second := Request{Begin: 27, End: 54, Before: 41}
	accepted := func(unread, sent uint64) SocketEnd {
		return SocketEnd{Known: KnowsAll, Accepted: true, Received: 54, Unread: unread, Sent: sent}
	}
	for _, test := range []struct {
		e       SocketEnd
		r       Request
		want    Progress
		unknown bool
	}{
		{e: SocketEnd{Known: KnowsAll, Received: 27, Unread: 27}, want: NotAccepted},
		{e: accepted(27, 41), r: second, want: Unread},
		{e: accepted(26, 41), r: second, want: PartRead},
		{e: accepted(0, 41), r: second, want: ReadWhole},
		{e: accepted(0, 42), r: second, want: Answering},
		{e: SocketEnd{Known: KnowsWay, Way: Reset}, unknown: true},
		{
			e:       SocketEnd{Known: KnowsClient | KnowsBytes | KnowsAccepted, Accepted: true},
			unknown: true,
		},
	} {
		got, known := test.e.Progress(test.r)
		if got != test.want || known == test.unknown {
			t.Errorf("%+v: got %v, %v; want %v", test.e, got, known, test.want)
		}
	}
}

func TestEquations(t *testing.T) {
	a := Account{
		Births: 5,
		Ends: []SocketEnd{
			{Known: KnowsAll, Way: ClosedUnread}, {Known: KnowsAll, Way: Closed},
			{Known: KnowsBytes, Way: ClosedUnread}, // KnowsWay is not set
		},
		Lost:  2,
		Moved: kernel.Counters{"TcpPassiveOpens": 6, "TcpExtTCPAbortOnClose": 1},
	}
	want := []Equation{
		{"TcpPassiveOpens", 6, 5}, {"TcpExtTCPAbortOnClose", 1, 1}, {"births", 5, 5},
	}
	got := a.Equations()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatalf("(-got +want):\n%s", diff)
	}
	if got[0].Residual() != 1 || got[1].Residual() != 0 {
		t.Errorf("residuals %d and %d, want 1 and 0", got[0].Residual(), got[1].Residual())
	}
	delete(a.Moved, "TcpExtTCPAbortOnClose")
	a.Untraced = unix.EPERM.Error()
	if got := a.Equations(); len(got) != 1 {
		t.Errorf("without a trace, and a counter of closes with unread data: %v", got)
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int]uint32{
		-1: minRing, 0: minRing, 8000: minRing, 9000: 2 * minRing, 1 << 30: maxRing,
	} {
		if got := ringSize(n); got != want {
			t.Errorf("ring for %d ends: %d bytes, want %d", n, got, want)
		}
	}
	for n, want := range map[int]uint32{-1: slack, 500: 500 + slack, 1 << 30: maxLives} {
		if got := tableSize(n); got != want {
			t.Errorf("table for %d connections: %d entries, want %d", n, got, want)
		}
	}
	for _, test := range []struct {
		room int
		o    Options
		want time.Duration
	}{
		{2000, Options{Connections: 900, Rate: 1000}, 0},
		{300, Options{Connections: 10_000, Rate: 1500}, 100 * time.Millisecond},
		{300, Options{Connections: 10_000, Rate: 1}, time.Second},
		{300, Options{Connections: 10_000_000, Rate: 1e6}, 2 * time.Millisecond},
		{300, Options{Connections: 3000}, 50 * time.Millisecond},
	} {
		if got := readPeriod(test.room, test.o); got != test.want {
			t.Errorf("room for %d, %+v: every %v, want %v", test.room, test.o, got, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Reset.String(); got != "reset by the server" {
		t.Errorf("Reset is %q", got)
	}
	if got := Way(99).String(); got != "Way(99)" {
		t.Errorf("Way(99) is %q", got)
	}
	if got := Answering.String(); got != "answered, at least in part" {
		t.Errorf("Answering is %q", got)
	}
}

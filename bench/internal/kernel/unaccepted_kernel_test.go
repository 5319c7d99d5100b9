package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/servers/socket"
)

// TestKernelUnaccepted makes four connections. One is accepted, and the client of another closes
// it. All but the accepted one wait until the listener is closed.
func TestKernelUnaccepted(t *testing.T) {
	var s loopback.Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := s.Queue(4, listener)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(1, listener); err != nil {
		t.Fatal(err)
	}
	var want []netip.AddrPort // all clients but the first, whose connection was accepted
	for _, client := range clients[1:] {
		name, err := unix.Getsockname(client)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, socket.AddrPort(name))
	}
	s.CloseSocket(clients[3])
	read := func() []netip.AddrPort {
		t.Helper()
		all, err := Unaccepted(s.Address.Port(), unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, netip.AddrPort.Compare)
		return all
	}
	slices.SortFunc(want, netip.AddrPort.Compare)
	if diff := cmp.Diff(read(), want, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("unaccepted (-got +want):\n%s", diff)
	}
	s.CloseSocket(listener)
	if got := read(); len(got) != 0 {
		t.Errorf("after the listener closed, %v still wait", got)
	}
}

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

// Of four connections one is accepted, and one's client has gone: all but the first still wait,
// until the listener is closed.
func TestKernelUnaccepted(t *testing.T) {
	var r loopback.Sockets
	defer r.Close()
	listener, err := r.Listen()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := r.Queue(4, listener)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Accept(1, listener); err != nil {
		t.Fatal(err)
	}
	var want []netip.AddrPort // the first in the queue was the first to be accepted
	for _, client := range clients[1:] {
		name, err := unix.Getsockname(client)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, socket.AddrPort(name))
	}
	r.CloseSocket(clients[3])
	read := func() []netip.AddrPort {
		t.Helper()
		all, err := Unaccepted(r.Address.Port(), unix.AF_INET)
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
	r.CloseSocket(listener)
	if got := read(); len(got) != 0 {
		t.Errorf("without a listener %v wait", got)
	}
}

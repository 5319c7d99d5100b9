package worker

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
)

// TestKernelTurn checks that turn reports an empty accept queue only if the batch of events is not
// full and has no event of the listener.
func TestKernelTurn(t *testing.T) {
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	s, err := selector.New(selector.Config{Kind: selector.LeastLoaded, Slots: 1})
	if errors.Is(err, unix.EPERM) && os.Getenv("REQUIRE_KERNEL") != "1" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg := servers.Config{Sockets: vocabulary.SocketsReuseport, Backlog: 16}
	l, err := cfg.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	name, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, f := range s.Files() {
		fds = append(fds, int(f.Fd()))
	}
	member, err := selector.Join(fds, 0, l)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	if err := s.Add(0, 1); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", socket.AddrPort(name).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	turns := &loop{worker: &worker{member: member, clock: clk, listener: l}}
	events := make([]unix.EpollEvent, 3)
	for _, tt := range []struct {
		name   string
		events []unix.EpollEvent
		want   int64
	}{
		{"a full batch", events, 1},
		{"with the listener", []unix.EpollEvent{{Fd: int32(l)}, {}, {}}[:2], 1},
		{"without the listener", events[:2], 0},
	} {
		turns.turn(tt.events)
		if got := s.Stats().Slots[0].Waiting; got != tt.want {
			t.Errorf("%s: %d connections wait, want %d", tt.name, got, tt.want)
		}
	}
}

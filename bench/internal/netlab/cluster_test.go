package netlab

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNextAddress(t *testing.T) {
	n := &node{
		pods: netip.MustParsePrefix("198.18.10.0/29"), last: netip.MustParseAddr("198.18.10.0"),
	}
	used := map[netip.Addr]*Pod{
		netip.MustParseAddr("198.18.10.2"): {}, netip.MustParseAddr("198.18.10.6"): {},
	}
	var got []string
	for range 6 {
		addr, ok := n.next(used)
		if !ok {
			t.Fatal("no address left")
		}
		n.last = addr
		got = append(got, addr.String()[len("198.18.10."):])
	}
	if want := "1 3 4 5 1 3"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for range 4 {
		addr, _ := n.next(used)
		used[addr] = &Pod{}
	}
	if addr, ok := n.next(used); ok {
		t.Errorf("got %v from a range without a free address", addr)
	}
}

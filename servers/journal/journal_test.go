package journal

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/wire"
)

// both maps one journal twice, as the worker's and the parent's process do.
func both(t *testing.T) (worker, parent *Journal) {
	t.Helper()
	parent, f, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	worker, err = Map(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(worker.Close(), parent.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return worker, parent
}

func TestRoundTrip(t *testing.T) {
	worker, parent := both(t)
	want := []Record{
		{At: 1, Conn: 1<<32 - 1, Kind: Accepted, Peer: netip.MustParseAddrPort("127.64.0.1:10000")},
		{At: 2, Conn: 7, Kind: Accepted, Peer: netip.MustParseAddrPort("[2001:2:0:1::9]:59999")},
		{At: 3, Conn: 7, Kind: Requested, Attempt: wire.Attempt{Process: 65535, Sequence: 1 << 62}, Identified: true},
		{At: 3, Conn: 7, Kind: Requested, Attempt: wire.Attempt{Sequence: 5, Try: wire.MaxTry}, Identified: true},
		{At: 4, Conn: 7, Kind: Answered},
		{At: 5, Conn: 7, Kind: Ended, End: EndPeerReset, Errno: unix.ECONNRESET},
	}
	for _, r := range want {
		worker.Append(r)
	}
	var got []Record
	if missed := parent.Drain(func(r Record) { got = append(got, r) }); missed != 0 {
		t.Errorf("%d missed", missed)
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// The ring goes round many times without a loss while it is emptied, and counts what it has no room
// for.
func TestWrapsAndCountsWhatItMisses(t *testing.T) {
	worker, parent := both(t)
	next := clock.Instant(0)
	take := func(r Record) {
		if r.At != next {
			t.Fatalf("got record %d, want %d", r.At, next)
		}
		next++
	}
	for i := range clock.Instant(3 * ringRecords) {
		worker.Append(Record{At: i, Kind: Ended})
		if i%1000 == 0 {
			parent.Drain(take)
		}
	}
	if missed := parent.Drain(take); missed != 0 || next != 3*ringRecords {
		t.Fatalf("%d records, %d missed; want %d and none", next, missed, 3*ringRecords)
	}
	for range ringRecords + 5 {
		worker.Append(Record{Kind: Ended})
	}
	n := 0
	if missed := parent.Drain(func(Record) { n++ }); n != ringRecords || missed != 5 {
		t.Errorf("%d records, %d missed; want %d and 5", n, missed, ringRecords)
	}
}

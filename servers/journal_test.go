package servers

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

// newJournals maps one journal twice, as the worker's and the parent's process do.
func newJournals(t *testing.T) (worker, parent *journal) {
	t.Helper()
	parent, f, err := createJournal()
	if err != nil {
		t.Fatal(err)
	}
	worker, err = mapJournal(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(worker.close(), parent.close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return worker, parent
}

func TestJournalRoundTrip(t *testing.T) {
	worker, parent := newJournals(t)
	want := []Record{
		{At: 1, Conn: 1<<32 - 1, Kind: RecordAccept, Peer: netip.MustParseAddrPort("127.64.0.1:10000")},
		{At: 2, Conn: 7, Kind: RecordAccept, Peer: netip.MustParseAddrPort("[2001:2:0:1::9]:59999")},
		{At: 3, Conn: 7, Kind: RecordRequest, Attempt: wire.Attempt{Process: 65535, Sequence: 1 << 62}, Identified: true},
		{At: 3, Conn: 7, Kind: RecordRequest, Attempt: wire.Attempt{Sequence: 5, Try: wire.MaxTry}, Identified: true},
		{At: 4, Conn: 7, Kind: RecordResponse},
		{At: 5, Conn: 7, Kind: RecordEnd, End: EndPeerReset, Errno: unix.ECONNRESET},
	}
	for _, r := range want {
		worker.append(r)
	}
	var got []Record
	if missed := parent.drain(func(r Record) { got = append(got, r) }); missed != 0 {
		t.Errorf("%d missed", missed)
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// The ring goes round many times without a loss while it is emptied, and counts what it has no room for.
func TestJournalWrapsAndCountsWhatItMisses(t *testing.T) {
	worker, parent := newJournals(t)
	next := clock.Instant(0)
	take := func(r Record) {
		if r.At != next {
			t.Fatalf("got record %d, want %d", r.At, next)
		}
		next++
	}
	for i := range clock.Instant(3 * journalRecords) {
		worker.append(Record{At: i, Kind: RecordEnd})
		if i%1000 == 0 {
			parent.drain(take)
		}
	}
	if missed := parent.drain(take); missed != 0 || next != 3*journalRecords {
		t.Fatalf("%d records, %d missed; want %d and none", next, missed, 3*journalRecords)
	}
	for range journalRecords + 5 {
		worker.append(Record{Kind: RecordEnd})
	}
	n := 0
	if missed := parent.drain(func(Record) { n++ }); n != journalRecords || missed != 5 {
		t.Errorf("%d records, %d missed; want %d and 5", n, missed, journalRecords)
	}
}

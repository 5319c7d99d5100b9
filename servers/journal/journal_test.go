package journal

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/wire"
)

// both maps a journal twice, as the worker and its parent do.
func both(t *testing.T, mark int) (worker, parent *Journal) {
	t.Helper()
	parent, f, err := Create(mark)
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
	worker, parent := both(t, 100)
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
		t.Errorf("%d records missed, want 0", missed)
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// TestWrapsAndCountsWhatItMisses checks that a ring of any size loses no record over many wraps
// while it is drained, and that it counts the records that it drops when it is full.
func TestWrapsAndCountsWhatItMisses(t *testing.T) {
	for _, mark := range []int{1, 300, chunk, 3 * chunk} {
		t.Run(strconv.Itoa(mark), func(t *testing.T) {
			worker, parent := both(t, mark)
			room := clock.Instant(worker.records)
			next := clock.Instant(0)
			take := func(r Record) {
				if r.At != next {
					t.Fatalf("got record %d, want %d", r.At, next)
				}
				next++
			}
			for i := range 3 * room {
				worker.Append(Record{At: i, Kind: Ended})
				if i%(room*2/3) == 0 {
					parent.Drain(take)
				}
			}
			if missed := parent.Drain(take); missed != 0 || next != 3*room {
				t.Fatalf("%d records, %d missed; want %d and 0", next, missed, 3*room)
			}
			for range room + 5 {
				worker.Append(Record{Kind: Ended})
			}
			n := clock.Instant(0)
			if missed := parent.Drain(func(Record) { n++ }); n != room || missed != 5 {
				t.Errorf("%d records, %d missed; want %d and 5", n, missed, room)
			}
		})
	}
}

// TestAsks checks that a worker asks for a read once when it reaches the mark, and again only after
// its parent has read the journal.
func TestAsks(t *testing.T) {
	worker, parent := both(t, 10)
	var asked []int
	for i := range 100 {
		if worker.Append(Record{Kind: Ended}) {
			asked = append(asked, i)
		}
		if i == 49 {
			if n := parent.Unread(); n != 50 {
				t.Errorf("%d unread, want 50", n)
			}
			parent.Drain(func(Record) {})
		}
	}
	if diff := cmp.Diff(asked, []int{9, 59}); diff != "" {
		t.Errorf("asked at (got -, want +):\n%s", diff)
	}
}

// TestReleasesMemory checks that drained records take no memory.
func TestReleasesMemory(t *testing.T) {
	parent, f, err := Create(4 * chunk)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := Map(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	empty := blocks()
	for range 2 * chunk {
		worker.Append(Record{Kind: Ended})
	}
	full := blocks()
	parent.Drain(func(Record) {})
	if read := blocks(); full-empty < 2*chunk*recordSize/512 || read-empty > (full-empty)/100 {
		t.Errorf("blocks: %d empty, %d full, %d drained", empty, full, read)
	}
	if err := errors.Join(worker.Close(), parent.Close(), f.Close()); err != nil {
		t.Error(err)
	}
}

package selector

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

func now(t *testing.T) int64 {
	t.Helper()
	ns, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// spread holds one time per batch of selections, the batch's mean time of one run, in increasing
// order.
type spread []time.Duration

func (s spread) String() string {
	median, low, high := s[len(s)/2], s[0], s[len(s)-1]
	return fmt.Sprintf("%4d ns a run (%d to %d)",
		median.Nanoseconds(), low.Nanoseconds(), high.Nanoseconds())
}

func TestKernelCapabilities(t *testing.T) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		testkit.Skip(t, "needs %v", missing)
	}
	for _, test := range []struct {
		name         string
		capabilities []int
		want         string // "" if Join succeeds
	}{
		{"none", nil, "needs CAP_BPF and CAP_PERFMON"},
		{"CAP_BPF", []int{unix.CAP_BPF}, "needs CAP_PERFMON"},
		{"both", []int{unix.CAP_BPF, unix.CAP_PERFMON}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, kind := range []Kind{RoundRobin, Weighted, LeastLoaded} {
				err := testkit.WithCapabilities(func() error {
					s, err := New(Config{Kind: kind, Slots: 4})
					if err != nil {
						return err
					}
					return s.Close()
				}, test.capabilities...)
				if test.want == "" {
					if err != nil {
						t.Errorf("%s: %v", kind, err)
					}
					continue
				}
				if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got error %v, want EPERM and %q", kind, err, test.want)
				}
			}
		})
	}
}

func TestKernelJoinNeedsNoCapability(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 1}, 0)
	listener := g.listen(t)
	g.listeners[0] = listener
	err := testkit.WithCapabilities(func() (err error) {
		g.members[0], err = Join(g.fds(), 0, listener)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	g.add(0, 1)
	if got := g.queue(); got != 0 {
		t.Errorf("got slot %d, want 0", got)
	}
	if err := testkit.WithCapabilities(g.members[0].Leave); err != nil {
		t.Error(err)
	}
}

func TestKernelErrors(t *testing.T) {
	g := newTestGroup(t, Config{Kind: Weighted, Slots: 2}, 1)
	spare := g.listen(t)
	defer unix.Close(spare)
	silent := g.socket(t)
	defer unix.Close(silent)
	join := func(slot, listener int) error {
		_, err := Join(g.fds(), slot, listener)
		return err
	}
	for _, test := range []struct {
		name string
		got  error
		want string
	}{
		{"add twice", g.selector.Add(0, 1), "add slot 0: it is already listed"},
		{"add below", g.selector.Add(-1, 1), "slot -1: must be 0 to 1"},
		{"add above", g.selector.Add(2, 1), "slot 2: must be 0 to 1"},
		{"weight 0", g.selector.Add(1, 0), "weight 0: must be 1 to 1024"},
		{"weight too high", g.selector.Add(1, MaxWeight+1), "weight 1025"},
		{"remove above", g.selector.Remove(2), "slot 2: must be 0 to 1"},
		{"join a taken slot", join(0, spare), "join slot 0: another listener holds it"},
		{"join twice", join(1, g.listeners[0]), "already in a slot"},
		{"join the same slot twice", join(0, g.listeners[0]), "join slot 0: another listener holds it"},
		{"join above", join(2, spare), "join slot 2: must be 0 to 1"},
		{"join below", join(-1, spare), "join slot -1: must be 0 to 1"},
		{"join a socket that does not listen", join(1, silent), "SO_ATTACH_REUSEPORT_EBPF"},
		{"join descriptor -1", join(1, -1), "bad file descriptor"},
		{"too few descriptors", func() error { _, err := Join([]int{0}, 1, spare); return err }(), "got 1 descriptors, want 3"},
	} {
		if test.got == nil || !strings.Contains(test.got.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.name, test.got, test.want)
		}
	}
	if got := g.serve(); got != 0 {
		t.Errorf("after the errors slot %d serves, want 0", got)
	}
	if err := g.selector.Remove(1); err != nil {
		t.Errorf("remove a slot that is not listed: %v", err)
	}
}

func TestKernelRefusesMPTCP(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 1}, 0)
	var fd int
	var err error
	g.run(func() { fd, err = tcpSocket(unix.IPPROTO_MPTCP) })
	if err != nil {
		t.Skipf("no MPTCP: %v", err) // some kernels lack it, so skip even with REQUIRE_KERNEL
	}
	defer unix.Close(fd)
	if err := listen(fd); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(g.fds(), 0, fd); err == nil {
		t.Error("joined an MPTCP listener")
	}
}

func TestKernelClosed(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 1}, 1)
	for range 2 {
		if err := g.selector.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := g.selector.Add(0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
	if diff := cmp.Diff(g.selector.Stats(), Stats{}); diff != "" {
		t.Errorf("stats after close: got − want +\n%s", diff)
	}
	if _, _, err := g.selector.Cost(); err == nil {
		t.Error("cost after close: no error")
	}
	if got := g.serve(); got != 0 { // the program stays attached
		t.Errorf("got slot %d, want 0", got)
	}
	m := g.members[0]
	g.kill(0)
	if err := m.Close(); err != nil {
		t.Errorf("second close of the member: %v", err)
	}
}

func TestKernelRoundRobin(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 8}, 5)
	var got, want []int
	for i := range 100 {
		got, want = append(got, g.serve()), append(want, i%5)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("order: got − want +\n%s", diff)
	}
	stats := g.selector.Stats()
	for slot, s := range stats.Slots[:5] {
		if s.Assigned != 20 || s.Accepted != 20 || s.Waiting != 0 {
			t.Errorf("slot %d: got %+v, want 20 assigned, 20 accepted, none waiting", slot, s)
		}
	}
	stats.Slots, stats.Strays = nil, 0
	if diff := cmp.Diff(stats, Stats{Selected: 100}); diff != "" {
		t.Errorf("stats: got − want +\n%s", diff)
	}
}

// TestKernelStrays checks that segments that belong to no connection take no turn in round-robin.
func TestKernelStrays(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 2}, 2)
	const n = 50
	for i := range n {
		client := g.connect(t)
		slot := readable(t, patience, g.listeners...)
		if slot != i%2 {
			t.Fatalf("connection %d: got slot %d, want %d", i, slot, i%2)
		}
		conn, _, err := unix.Accept4(g.listeners[slot], unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		// A socket in repair mode (TCP_REPAIR in tcp.h) is closed without sending anything. So the
		// peer's next segment belongs to no connection.
		if err := unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
			t.Fatalf("TCP_REPAIR: %v", err)
		}
		unix.Close(conn)
		if _, err := unix.Write(client, []byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Read(client, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("the stray segment got no reset: %v", err)
		}
		unix.Close(client)
	}
	stats := g.selector.Stats()
	if stats.Strays < n || stats.Selected != n {
		t.Errorf("got %d strays and %d selected, want at least %d and exactly %d",
			stats.Strays, stats.Selected, n, n)
	}
}

// wantBinomial checks that a count is within 4.5 standard deviations of the mean of a binomial
// distribution. A correct selector fails once in 150,000 seeds, but Config.Seed is fixed, so a test
// that has passed will pass again.
func wantBinomial(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-mean) > 4.5*sd {
		t.Errorf("%s: got %d of %d, want %.0f ± %.0f", what, got, n, mean, 4.5*sd)
	}
}

func TestKernelWeighted(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		g := newTestGroup(t, Config{Kind: Weighted, Slots: 2, Seed: seed}, 2, 90, 10)
		const n = 2000
		served := g.serveMany(n)
		wantBinomial(t, "the heavier worker", served[0], n, 0.9)
		// Count how often the worker changes from one connection to the next, to distinguish draws
		// from a pattern such as nine and one.
		changes, last := 0, 0
		for range n {
			slot := g.serve()
			if slot != last {
				changes++
			}
			last = slot
		}
		wantBinomial(t, "changes", changes, n, 2*0.9*0.1)
	}
}

// TestKernelWeightedPositions checks that weighted can choose every position of the list, for lists
// of every length.
func TestKernelWeightedPositions(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 16, 17, 64} {
		weights := make([]uint32, n)
		total := 0
		for i := range weights {
			weights[i] = uint32(1 + i%3)
			total += 1 + i%3
		}
		g := newTestGroup(t, Config{Kind: Weighted, Slots: n, Seed: uint64(n)}, n, weights...)
		rounds := 30 * n
		for slot, got := range g.serveMany(rounds) {
			share := float64(weights[slot]) / float64(total)
			wantBinomial(t, fmt.Sprintf("slot %d of %d", slot, n), got, rounds, share)
		}
	}
}

func TestKernelSeed(t *testing.T) {
	draw := func(seed uint64) (slots []int) {
		g := newTestGroup(t, Config{Kind: Weighted, Slots: 4, Seed: seed}, 4)
		for range 32 {
			slots = append(slots, g.serve())
		}
		return slots
	}
	one := draw(1)
	if diff := cmp.Diff(draw(1), one); diff != "" {
		t.Errorf("the same seed: got − want +\n%s", diff)
	}
	if slices.Equal(draw(2), one) {
		t.Error("another seed draws the same")
	}
}

func TestKernelLeastLoadedSharesEvenly(t *testing.T) {
	// One worker is loaded. Rotation by position would favour the worker after it.
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 4}, 4)
	g.members[0].Begin()
	if diff := cmp.Diff(g.serveMany(99), []int{0, 33, 33, 33}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
	g.members[0].Done()
	if got := g.serve(); got != 0 {
		t.Errorf("after Done: got slot %d, want 0", got)
	}
}

func TestKernelLeastLoadedCountsQueue(t *testing.T) {
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 3, Stuck: time.Hour}, 3)
	for range 3 {
		g.members[2].Begin()
	}
	var got []int
	for range 9 {
		got = append(got, g.queue())
	}
	// Two workers get connections until they have as much load as the third. Then all three are
	// equal.
	slices.Sort(got[:6])
	slices.Sort(got[6:])
	if diff := cmp.Diff(got, []int{0, 0, 0, 1, 1, 1, 0, 1, 2}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

func TestKernelLeastLoadedQueueLimit(t *testing.T) {
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 2, QueueLimit: 3, Stuck: time.Hour}, 2)
	for range 100 {
		g.members[1].Begin()
	}
	var got []int
	for range 5 {
		got = append(got, g.queue())
	}
	if diff := cmp.Diff(got, []int{0, 0, 0, 1, 1}); diff != "" {
		t.Errorf("worker 0 is idle but full at 3: got − want +\n%s", diff)
	}
	if got := g.selector.Stats().Overloaded; got != 0 {
		t.Errorf("got %d overloaded, want 0", got)
	}
	if got := g.queue(); got != 1 { // its third connection: now both workers are full
		t.Errorf("got slot %d, want 1", got)
	}
	if got := g.queue(); got != 0 {
		t.Errorf("all full: got slot %d, want 0, the least loaded", got)
	}
	if got := g.selector.Stats().Overloaded; got != 1 {
		t.Errorf("got %d overloaded, want 1", got)
	}
}

func TestKernelLeastLoadedStuck(t *testing.T) {
	const stuck, long = 10 * time.Second, int64(time.Minute)
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 2, Stuck: stuck}, 2)
	if got, want := g.members[0].Beat(), stuck/2; got != want {
		t.Errorf("beat: got %v, want %v", got, want)
	}
	for range 10 {
		g.members[1].Begin()
	}
	first := g.queue()
	if first != 0 {
		t.Fatalf("got slot %d, want 0", first)
	}
	since := g.slot(0).WaitingSince
	if age := now(t) - int64(since); age < 0 || age > int64(patience) {
		t.Errorf("waiting for %v already", time.Duration(age))
	}
	if got := g.queue(); got != 0 {
		t.Errorf("waiting, but not for long: got slot %d, want 0", got)
	}
	if got := g.slot(0).WaitingSince; got != since {
		t.Error("the second waiting connection reset WaitingSince")
	}
	// An idle worker may wait for any time. It is stuck only if something waits in its queue.
	g.slot(0).WaitingSince -= uint64(long)
	if got := g.queue(); got != 0 {
		t.Errorf("waiting for long, but the loop turns: got slot %d, want 0", got)
	}
	g.members[0].Turn(now(t) - long)
	if got := g.queue(); got != 1 {
		t.Errorf("stuck: got slot %d, want 1", got)
	}
	g.members[0].Turn(now(t))
	if got := g.queue(); got != 0 {
		t.Errorf("the loop turns again: got slot %d, want 0", got)
	}
	g.members[0].Turn(now(t) - long)
	g.members[0].Idle()
	if got := g.queue(); got != 0 {
		t.Errorf("the loop does not turn, but nothing waits: got slot %d, want 0", got)
	}
	if got := g.queue(); got != 0 {
		t.Errorf("the loop does not turn, but the queue is new: got slot %d, want 0", got)
	}
}

func TestKernelLeastLoadedOfMany(t *testing.T) {
	const n, free = 64, 48
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: n, Seed: 1}, n)
	for slot := free; slot < n; slot++ {
		for range 1000 {
			g.members[slot].Begin()
		}
	}
	const rounds = 600
	served := g.serveMany(rounds)
	loaded := 0
	for slot, got := range served {
		if slot >= free {
			loaded += got
		} else if got == 0 {
			t.Errorf("slot %d is free, but got 0 of %d", slot, rounds)
		}
	}
	// The probability that all 8 drawn workers are loaded is (1/4)^8.
	if loaded > 1 {
		t.Errorf("loaded workers got %d of %d", loaded, rounds)
	}
}

// TestKernelLeastLoadedLooksTwice checks that eight more workers are drawn if all of the first
// eight are to be avoided.
func TestKernelLeastLoadedLooksTwice(t *testing.T) {
	const n, good = 32, 4
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: n, Seed: 1, QueueLimit: 1}, n)
	for slot := good; slot < n; slot++ {
		g.slot(slot).Assigned = 5
	}
	const rounds = 400
	g.serveMany(rounds)
	// 1 − (7/8)^16 = 0.88; with 8 looks it would be 0.66.
	wantBinomial(t, "overloaded", int(g.selector.Stats().Overloaded), rounds, math.Pow(7./8, 16))
}

func TestKernelDrift(t *testing.T) {
	const decay = time.Second
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 2, Decay: decay}, 2)
	waiting := func() int64 { return g.slot(0).waiting() }
	start := now(t)
	m := g.members[0]

	m.Turn(start)
	g.slot(0).Assigned += 9 // handshakes that will not complete
	m.Turn(start + int64(decay) - 1)
	if got := waiting(); got != 9 {
		t.Errorf("before the decay time: got %d waiting, want 9", got)
	}
	var got []int64
	for i := range int64(5) {
		m.Turn(start + (i+1)*int64(decay))
		got = append(got, waiting())
	}
	if diff := cmp.Diff(got, []int64{4, 2, 1, 0, 0}); diff != "" {
		t.Errorf("decay: got − want +\n%s", diff)
	}

	g.slot(0).Assigned += 9
	m.Turn(start + 6*int64(decay) - 1)
	m.Accepted()
	m.Turn(start + 6*int64(decay)) // the worker accepts, so nothing is written off
	m.Turn(start + 7*int64(decay) - 1)
	if got := waiting(); got != 8 {
		t.Errorf("after an accept: got %d waiting, want 8", got)
	}
	m.Idle()
	if got := waiting(); got != 0 {
		t.Errorf("idle: got %d waiting, want 0", got)
	}
	for range 5 { // connections that were not assigned, such as migrated ones
		m.Accepted()
	}
	m.Turn(start + 8*int64(decay))
	if got := waiting(); got != 0 {
		t.Errorf("accepted more than assigned: got %d waiting, want 0", got)
	}

	// Connections that will never arrive keep a worker from its share until they are written off.
	g.slot(0).Assigned += 3
	if diff := cmp.Diff(g.serveMany(6), []int{0, 6}); diff != "" {
		t.Errorf("with connections that will never come: got − want +\n%s", diff)
	}
	m.Idle()
	if diff := cmp.Diff(g.serveMany(6), []int{3, 3}); diff != "" {
		t.Errorf("written off: got − want +\n%s", diff)
	}
}

var kinds = []Kind{RoundRobin, Weighted, LeastLoaded}

func TestKernelMembership(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			g := newTestGroup(t, Config{Kind: kind, Slots: 4, Seed: 1}, 0)
			some := func(served []int) (slots []int) {
				for slot, n := range served {
					if n > 0 {
						slots = append(slots, slot)
					}
				}
				return slots
			}
			expect := func(when string, want ...int) {
				t.Helper()
				if diff := cmp.Diff(some(g.serveMany(40)), want); diff != "" {
					t.Errorf("%s: got − want +\n%s", when, diff)
				}
			}
			g.join(0)
			g.join(1)
			g.serveMany(4) // no slot is listed: the kernel's hash chooses
			if got := g.selector.Stats(); got.NobodyListed != 4 || got.Selected != 0 {
				t.Errorf("no slot listed: got %+v", got)
			}
			g.add(1, 1)
			expect("one listed, two listening", 1)
			g.add(0, 1)
			expect("both", 0, 1)
			g.join(2)
			expect("a third has joined but is not listed", 0, 1)
			g.add(2, 1)
			expect("three", 0, 1, 2)
			if err := g.selector.Remove(0); err != nil {
				t.Error(err)
			}
			expect("the first was removed but still listens", 1, 2)
			if err := g.members[1].Leave(); err != nil {
				t.Error(err)
			}
			expect("the second left but is still listed", 2)
			g.kill(2)
			g.add(0, 1)
			expect("the third died but is still listed", 0)
			got := g.selector.Stats()
			if got.AllGone != 0 || got.Stale == 0 || got.NobodyListed != 4 {
				t.Errorf("stale entries: got %+v", got)
			}
			g.kill(0)
			before := g.selector.Stats()
			g.serveMany(4) // the only listener is that of the worker that called Leave
			after := g.selector.Stats()
			if after.AllGone-before.AllGone != 4 || after.Selected != before.Selected {
				t.Errorf("all gone: got %+v, before %+v", after, before)
			}
			g.join(2) // a successor joins a slot that is still listed
			expect("a successor of the third", 2)
			for _, slot := range []int{0, 1, 2, 2} {
				if err := g.selector.Remove(slot); err != nil {
					t.Error(err)
				}
			}
			before = g.selector.Stats()
			g.serveMany(4)
			if got := g.selector.Stats().NobodyListed - before.NobodyListed; got != 4 {
				t.Errorf("all removed: got %d with no slot listed, want 4", got)
			}
		})
	}
}

// TestKernelStaleRoundRobin checks that the turns of a dead worker are shared evenly by the others.
func TestKernelStaleRoundRobin(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 4}, 4)
	g.kill(1)
	if diff := cmp.Diff(g.serveMany(30), []int{10, 0, 10, 10}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

func TestKernelStaleLeastLoaded(t *testing.T) {
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 4}, 4)
	g.kill(1)
	g.kill(2)
	if diff := cmp.Diff(g.serveMany(30), []int{15, 0, 0, 15}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

// TestKernelStaleWeighted checks that weighted finds workers with low weights, which draws alone
// would hardly ever choose.
func TestKernelStaleWeighted(t *testing.T) {
	g := newTestGroup(t, Config{Kind: Weighted, Slots: 4, Seed: 1}, 4, MaxWeight, 1, 1, 1)
	g.kill(0)
	g.serveMany(50)
	if got := g.selector.Stats(); got.AllGone != 0 || got.Selected != 50 || got.Stale == 0 {
		t.Errorf("got %+v, want 50 selected, and stale tries", got)
	}
}

// TestKernelListInUseStays checks that the list in use is never changed, because a program may be
// reading it.
func TestKernelListInUseStays(t *testing.T) {
	g := newTestGroup(t, Config{Kind: Weighted, Slots: 3}, 2)
	for _, change := range []func() error{
		func() error { return g.selector.Add(2, 7) },
		func() error { return g.selector.Remove(0) },
		func() error { return g.selector.Remove(1) },
	} {
		used := &g.selector.state.Lists[g.selector.state.Current]
		before := *used
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if *used != before {
			t.Errorf("the list in use was changed")
		}
		if now := &g.selector.state.Lists[g.selector.state.Current]; now == used {
			t.Errorf("the new list is not in use")
		}
	}
}

// TestKernelSuccessorStartsAnew checks that a worker does not take over the load and the queue that
// its predecessor left in the slot.
func TestKernelSuccessorStartsAnew(t *testing.T) {
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 2, QueueLimit: 5}, 2)
	old := g.members[0]
	for range 7 {
		old.Begin()
	}
	g.slot(0).Assigned += 50
	g.slot(0).Turn = 0
	if err := g.selector.Remove(0); err != nil {
		t.Fatal(err)
	}
	if err := old.Leave(); err != nil {
		t.Fatal(err)
	}
	unix.Close(g.listeners[0])
	g.members[0] = nil
	g.join(0)
	g.add(0, 1)
	got := g.selector.Stats().Slots[0]
	if diff := cmp.Diff(got, SlotStats{Assigned: 50}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
	if age := now(t) - int64(g.slot(0).Turn); age > int64(patience) {
		t.Errorf("last turn %v ago", time.Duration(age))
	}
	// The predecessor still finishes its connections and must not change its successor's slot.
	old.Done()
	old.Accepted()
	old.Turn(1)
	old.Idle()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g.selector.Stats().Slots[0], got); diff != "" {
		t.Errorf("after the old worker's end: got − want +\n%s", diff)
	}
	if diff := cmp.Diff(g.serveMany(10), []int{5, 5}); diff != "" {
		t.Errorf("served: got − want +\n%s", diff)
	}
}

// TestKernelChangesUnderLoad checks that no connection falls back to the kernel's hash while the
// list keeps changing.
func TestKernelChangesUnderLoad(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			g := newTestGroup(t, Config{Kind: kind, Slots: 8, Seed: 1}, 8)
			stop, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				for {
					for slot := 2; slot < 8; slot++ {
						err := g.selector.Remove(slot)
						if err == nil {
							err = g.selector.Add(slot, uint32(slot))
						}
						if err != nil {
							ended <- err
							return
						}
					}
					select {
					case <-stop:
						ended <- nil
						return
					default:
					}
				}
			}()
			g.serveMany(500)
			close(stop)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			got := g.selector.Stats()
			got.Slots, got.Strays = nil, 0
			if diff := cmp.Diff(got, Stats{Selected: 500}); diff != "" {
				t.Errorf("got − want +\n%s", diff)
			}
		})
	}
}

// pin calls f on a thread that runs on the given processor only.
func pin(t *testing.T, cpu int, f func()) {
	t.Helper()
	err := sys.OnOwnThread(func() error {
		var set unix.CPUSet
		set.Set(cpu)
		err := unix.SchedSetaffinity(0, &set)
		if err == nil {
			f()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKernelAttachCPU relies on lo, where the processor that sends a SYN also processes it.
func TestKernelAttachCPU(t *testing.T) {
	g := newTestGroup(t, Config{Kind: RoundRobin, Slots: 3}, 0)
	g.listeners = []int{g.listen(t), g.listen(t), g.listen(t)}
	const n = 2
	err := testkit.WithCapabilities(func() error { return AttachCPU(g.listeners[2], n) })
	if err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	check := func(listenerAt [n]int) {
		t.Helper()
		for cpu := range runtime.NumCPU() {
			if !all.IsSet(cpu) {
				continue
			}
			client := make([]int, 8)
			for i := range client {
				client[i] = g.socket(t)
			}
			pin(t, cpu, func() {
				for _, c := range client {
					err = errors.Join(err, unix.Connect(c, &address))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range client {
				got, want := readable(t, patience, g.listeners...), listenerAt[cpu%n]
				if got != want {
					t.Fatalf("CPU %d: got listener %d, want %d", cpu, got, want)
				}
				g.accept(got)
				unix.Close(c)
			}
		}
	}
	check([n]int{0, 1})
	unix.Close(g.listeners[0])
	g.listeners[0] = -1
	check([n]int{2, 1}) // the last socket has moved into the position of the closed one

	if err := AttachCPU(g.listeners[1], 0); err == nil {
		t.Error("CPU % 0: no error")
	}
}

// TestKernelEmpty checks that Empty leaves every connection to the kernel's hash and counts none.
func TestKernelEmpty(t *testing.T) {
	g := newTestGroup(t, Config{Kind: Empty, Slots: 4}, 4)
	const n = 64
	served, workers, sum := g.serveMany(n), 0, 0
	for _, s := range served {
		if sum += s; s > 0 {
			workers++
		}
	}
	if sum != n || workers < 2 { // the hash gives all to one of four workers once in 4^63 runs
		t.Errorf("slots served %v, want %d in total by more than one slot", served, n)
	}
	stats := g.selector.Stats()
	stats.Slots = nil
	if diff := cmp.Diff(stats, Stats{}); diff != "" {
		t.Errorf("stats: got − want +\n%s", diff)
	}
}

// TestKernelCost logs the time that a selection takes, and checks only that the time is counted.
// The time of the empty program is what the kernel needs to run and time any program.
func TestKernelCost(t *testing.T) {
	enabled, err := EnableCost()
	if err != nil {
		testkit.Skip(t, "%v", err)
	}
	t.Cleanup(func() {
		if err := enabled.Close(); err != nil {
			t.Error(err)
		}
	})
	const paced = time.Millisecond
	report := func(what string, g *testGroup) {
		t.Helper()
		t.Logf("%-26s without pauses %v; 1000/s %v", what, g.cost(0), g.cost(paced))
	}
	for _, kind := range append([]Kind{Empty, ByHash}, kinds...) {
		for _, n := range []int{4, 256} {
			group := newTestGroup(t, Config{Kind: kind, Slots: n, Seed: 1}, n)
			report(fmt.Sprintf("%s, %d slots", kind, n), group)
		}
	}
	g := newTestGroup(t, Config{Kind: Empty, Slots: 4}, 4)
	g.replace(asm.Instructions{asm.FnKtimeGetCoarseNs.Call()})
	report("a helper: the clock", g)
	g.replace(asm.Instructions{ // the program reads no socket, since the slot is out of range
		asm.StoreImm(asm.R10, -4, MaxSlots, asm.Word),
		asm.LoadMapPtr(asm.R2, g.fds()[1]),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(),
	})
	report("a helper: select, which fails", g)
}

// cost makes batches of connections, each after a pause, and returns the times of the selections.
func (g *testGroup) cost(pause time.Duration) (s spread) {
	g.t.Helper()
	batches, connections := 15, uint64(128)
	if pause > 0 {
		batches, connections = 5, 32
	}
	for range batches {
		before, took, err := g.selector.Cost()
		if err != nil {
			g.t.Fatal(err)
		}
		for range connections {
			time.Sleep(pause)
			unix.Close(g.connect(g.t))
		}
		after, total, err := g.selector.Cost()
		if err != nil {
			g.t.Fatal(err)
		}
		if after-before < connections {
			g.t.Fatalf("%d runs counted, want at least %d", after-before, connections)
		}
		s = append(s, (total-took)/time.Duration(after-before))
		g.drain()
	}
	slices.Sort(s)
	return s
}

// drain accepts and closes all connections that wait in the queues.
func (g *testGroup) drain() {
	g.t.Helper()
	for slot, listener := range g.listeners {
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EAGAIN) {
				break
			} else if err != nil {
				g.t.Fatal(err)
			}
			unix.Close(fd)
			g.members[slot].Accepted()
		}
		g.members[slot].Idle()
	}
}

// replace attaches another program, which selects nothing, instead of the selector's.
func (g *testGroup) replace(body asm.Instructions) {
	g.t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SkReuseport, License: "Dual MIT/GPL", Instructions: append(body, returnPass...),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	const option = unix.SO_ATTACH_REUSEPORT_EBPF
	err = unix.SetsockoptInt(g.listeners[0], unix.SOL_SOCKET, option, program.FD())
	if err != nil {
		g.t.Fatal(err)
	}
	err = g.selector.program.Close()
	g.selector.program = program // so that the group closes it
	if err != nil {
		g.t.Fatal(err)
	}
}

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

// spread is the mean time of a run in each of several batches, from the least to the greatest.
type spread []time.Duration

func (s spread) String() string {
	return fmt.Sprintf("%4d ns a run (%d to %d)", s[len(s)/2].Nanoseconds(), s[0].Nanoseconds(), s[len(s)-1].Nanoseconds())
}

func TestKernelCapabilities(t *testing.T) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		testkit.Skip(t, "needs %v", missing)
	}
	for _, test := range []struct {
		name         string
		capabilities []int
		want         string // "" if it works
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
				switch {
				case test.want == "" && err != nil:
					t.Errorf("%s: %v", kind, err)
				case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, unix.EPERM)):
					t.Errorf("%s: got error %v, want EPERM and %q", kind, err, test.want)
				}
			}
		})
	}
}

func TestKernelJoinNeedsNoCapability(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 1}, 0)
	listener := r.listen(t)
	r.listeners[0] = listener
	err := testkit.WithCapabilities(func() (err error) {
		r.members[0], err = Join(r.fds(), 0, listener)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.add(0, 1)
	if got := r.queue(); got != 0 {
		t.Errorf("got slot %d, want 0", got)
	}
	if err := testkit.WithCapabilities(r.members[0].Leave); err != nil {
		t.Error(err)
	}
}

func TestKernelErrors(t *testing.T) {
	r := newRig(t, Config{Kind: Weighted, Slots: 2}, 1)
	spare := r.listen(t)
	defer unix.Close(spare)
	deaf := r.socket(t)
	defer unix.Close(deaf)
	join := func(slot, listener int) error {
		_, err := Join(r.fds(), slot, listener)
		return err
	}
	for _, test := range []struct {
		name string
		got  error
		want string
	}{
		{"add twice", r.selector.Add(0, 1), "add slot 0: it is listed already"},
		{"add below", r.selector.Add(-1, 1), "slot -1: must be 0 to 1"},
		{"add above", r.selector.Add(2, 1), "slot 2: must be 0 to 1"},
		{"no weight", r.selector.Add(1, 0), "weight 0: must be 1 to 1024"},
		{"too much weight", r.selector.Add(1, MaxWeight+1), "weight 1025"},
		{"remove above", r.selector.Remove(2), "slot 2: must be 0 to 1"},
		{"join a taken slot", join(0, spare), "join slot 0: another listener holds it"},
		{"join twice", join(1, r.listeners[0]), "in a slot already"},
		{"join the same slot twice", join(0, r.listeners[0]), "join slot 0: another listener holds it"},
		{"join above", join(2, spare), "join slot 2: must be 0 to 1"},
		{"join below", join(-1, spare), "join slot -1: must be 0 to 1"},
		{"join what does not listen", join(1, deaf), "SO_ATTACH_REUSEPORT_EBPF"},
		{"join nothing", join(1, -1), "bad file descriptor"},
		{"too few descriptors", func() error { _, err := Join([]int{0}, 1, spare); return err }(), "1 descriptors instead of 3"},
	} {
		if test.got == nil || !strings.Contains(test.got.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.name, test.got, test.want)
		}
	}
	if got := r.serve(); got != 0 {
		t.Errorf("after all that slot %d serves, want 0", got)
	}
	if err := r.selector.Remove(1); err != nil {
		t.Errorf("remove what is not listed: %v", err)
	}
}

func TestKernelRefusesMPTCP(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 1}, 0)
	var fd int
	var err error
	r.run(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP) })
	if err != nil {
		t.Skipf("no MPTCP: %v", err) // not of the kernels that this is for, necessarily
	}
	defer unix.Close(fd)
	if err := listen(fd); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(r.fds(), 0, fd); err == nil {
		t.Error("joined an MPTCP listener")
	}
}

func TestKernelClosed(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 1}, 1)
	for range 2 {
		if err := r.selector.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := r.selector.Add(0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
	if diff := cmp.Diff(r.selector.Stats(), Stats{}); diff != "" {
		t.Errorf("stats after close: got − want +\n%s", diff)
	}
	if _, _, err := r.selector.Cost(); err == nil {
		t.Error("cost after close: no error")
	}
	if got := r.serve(); got != 0 { // what is attached works on
		t.Errorf("got slot %d, want 0", got)
	}
	m := r.members[0]
	r.kill(0)
	if err := m.Close(); err != nil {
		t.Errorf("close twice: %v", err)
	}
}

func TestKernelRoundRobin(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 8}, 5)
	var got, want []int
	for i := range 100 {
		got, want = append(got, r.serve()), append(want, i%5)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("order: got − want +\n%s", diff)
	}
	stats := r.selector.Stats()
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

// Segments that belong to no connection must not take anybody's turn.
func TestKernelStrays(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 2}, 2)
	const n = 50
	for i := range n {
		client := r.connect(t)
		slot := readable(t, patience, r.listeners...)
		if slot != i%2 {
			t.Fatalf("connection %d: got slot %d, want %d", i, slot, i%2)
		}
		conn, _, err := unix.Accept4(r.listeners[slot], unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		// In repair mode (TCP_REPAIR in tcp.h) a socket goes without a word, so that what the peer
		// sends next meets nobody.
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
	stats := r.selector.Stats()
	if stats.Strays < n || stats.Selected != n {
		t.Errorf("got %d strays, %d selected; want at least %d, and %d", stats.Strays, stats.Selected, n, n)
	}
}

// wantBinomial holds a count to mean ± 4.5 standard deviations of a binomial distribution: beyond
// once in 150,000. The draws follow from Config.Seed, so a test that passed will pass.
func wantBinomial(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-mean) > 4.5*sd {
		t.Errorf("%s: got %d of %d, want %.0f ± %.0f", what, got, n, mean, 4.5*sd)
	}
}

func TestKernelWeighted(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		r := newRig(t, Config{Kind: Weighted, Slots: 2, Seed: seed}, 2, 90, 10)
		const n = 2000
		served := r.serveMany(n)
		wantBinomial(t, "the heavy one", served[0], n, 0.9)
		// Runs, to tell a draw from a pattern such as nine and one: changes of worker between
		// neighbours.
		changes, last := 0, 0
		for range n {
			slot := r.serve()
			if slot != last {
				changes++
			}
			last = slot
		}
		wantBinomial(t, "changes", changes, n, 2*0.9*0.1)
	}
}

// Every position of the list must be found, whatever its length.
func TestKernelWeightedPositions(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 16, 17, 64} {
		weights := make([]uint32, n)
		total := 0
		for i := range weights {
			weights[i] = uint32(1 + i%3)
			total += 1 + i%3
		}
		r := newRig(t, Config{Kind: Weighted, Slots: n, Seed: uint64(n)}, n, weights...)
		rounds := 30 * n
		for slot, got := range r.serveMany(rounds) {
			wantBinomial(t, fmt.Sprintf("slot %d of %d", slot, n), got, rounds, float64(weights[slot])/float64(total))
		}
	}
}

func TestKernelSeed(t *testing.T) {
	draw := func(seed uint64) (slots []int) {
		r := newRig(t, Config{Kind: Weighted, Slots: 4, Seed: seed}, 4)
		for range 32 {
			slots = append(slots, r.serve())
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
	// With one worker loaded: rotation by position would favour who comes after it.
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 4}, 4)
	r.members[0].Begin()
	if diff := cmp.Diff(r.serveMany(99), []int{0, 33, 33, 33}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
	r.members[0].Done()
	if got := r.serve(); got != 0 {
		t.Errorf("free again: got slot %d, want 0", got)
	}
}

func TestKernelLeastLoadedCountsWhatWaits(t *testing.T) {
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 3}, 3)
	for range 3 {
		r.members[2].Begin()
	}
	var got []int
	for range 9 {
		got = append(got, r.queue())
	}
	// Two fill up to the load of the third; then all are level.
	slices.Sort(got[:6])
	slices.Sort(got[6:])
	if diff := cmp.Diff(got, []int{0, 0, 0, 1, 1, 1, 0, 1, 2}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

func TestKernelLeastLoadedQueueLimit(t *testing.T) {
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 2, QueueLimit: 3, Stuck: time.Hour}, 2)
	for range 100 {
		r.members[1].Begin()
	}
	var got []int
	for range 5 {
		got = append(got, r.queue())
	}
	if diff := cmp.Diff(got, []int{0, 0, 0, 1, 1}); diff != "" {
		t.Errorf("worker 0 is idle but full at 3: got − want +\n%s", diff)
	}
	if got := r.selector.Stats().Overloaded; got != 0 {
		t.Errorf("got %d overloaded, want 0", got)
	}
	if got := r.queue(); got != 1 { // the third there: now both are full
		t.Errorf("got slot %d, want 1", got)
	}
	if got := r.queue(); got != 0 {
		t.Errorf("all full: got slot %d, want 0, the least loaded", got)
	}
	if got := r.selector.Stats().Overloaded; got != 1 {
		t.Errorf("got %d overloaded, want 1", got)
	}
}

func TestKernelLeastLoadedStuck(t *testing.T) {
	const stuck, long = time.Second, int64(time.Minute)
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 2, Stuck: stuck}, 2)
	if got, want := r.members[0].Beat(), stuck/2; got != want {
		t.Errorf("beat: got %v, want %v", got, want)
	}
	for range 10 {
		r.members[1].Begin()
	}
	first := r.queue()
	if first != 0 {
		t.Fatalf("got slot %d, want 0", first)
	}
	since := r.slot(0).WaitingSince
	if age := now(t) - int64(since); age < 0 || age > int64(patience) {
		t.Errorf("waiting since %v ago", time.Duration(age))
	}
	if got := r.queue(); got != 0 {
		t.Errorf("got slot %d, want 0: it waits, but not for long", got)
	}
	if got := r.slot(0).WaitingSince; got != since {
		t.Error("the second connection to wait set back the clock of the first")
	}
	// An idle worker may rest as long as it likes: only with something waiting is it late.
	r.slot(0).WaitingSince -= uint64(long)
	if got := r.queue(); got != 0 {
		t.Errorf("waiting for long, but turning: got slot %d, want 0", got)
	}
	r.members[0].Turn(now(t) - long)
	if got := r.queue(); got != 1 {
		t.Errorf("stuck: got slot %d, want 1", got)
	}
	r.members[0].Turn(now(t))
	if got := r.queue(); got != 0 {
		t.Errorf("turning again: got slot %d, want 0", got)
	}
	r.members[0].Turn(now(t) - long)
	r.members[0].Idle()
	if got := r.queue(); got != 0 {
		t.Errorf("not turning, but with nothing to do: got slot %d, want 0", got)
	}
	if got := r.queue(); got != 0 {
		t.Errorf("not turning, but what waits has just come: got slot %d, want 0", got)
	}
}

func TestKernelLeastLoadedOfMany(t *testing.T) {
	const n, free = 64, 48
	r := newRig(t, Config{Kind: LeastLoaded, Slots: n, Seed: 1}, n)
	for slot := free; slot < n; slot++ {
		for range 1000 {
			r.members[slot].Begin()
		}
	}
	const rounds = 600
	served := r.serveMany(rounds)
	loaded := 0
	for slot, got := range served {
		if slot >= free {
			loaded += got
		} else if got == 0 {
			t.Errorf("slot %d, free, got none of %d", slot, rounds)
		}
	}
	// All of 8 draws are loaded ones with a probability of (1/4)^8.
	if loaded > 1 {
		t.Errorf("loaded workers got %d of %d", loaded, rounds)
	}
}

// Where all of the first eight are to be avoided, eight more are looked at.
func TestKernelLeastLoadedLooksTwice(t *testing.T) {
	const n, good = 32, 4
	r := newRig(t, Config{Kind: LeastLoaded, Slots: n, Seed: 1, QueueLimit: 1}, n)
	for slot := good; slot < n; slot++ {
		r.slot(slot).Assigned = 5
	}
	const rounds = 400
	r.serveMany(rounds)
	// 1 − (7/8)^16 = 0.88; with 8 looks it would be 0.66.
	wantBinomial(t, "overloaded", int(r.selector.Stats().Overloaded), rounds, math.Pow(7./8, 16))
}

func TestKernelDrift(t *testing.T) {
	const decay = time.Second
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 2, Decay: decay}, 2)
	waiting := func() int64 { return r.slot(0).waiting() }
	start := now(t)
	m := r.members[0]

	m.Turn(start)
	r.slot(0).Assigned += 9 // handshakes that will not complete
	m.Turn(start + int64(decay) - 1)
	if got := waiting(); got != 9 {
		t.Errorf("before the time: got %d waiting, want 9", got)
	}
	var got []int64
	for i := range int64(5) {
		m.Turn(start + (i+1)*int64(decay))
		got = append(got, waiting())
	}
	if diff := cmp.Diff(got, []int64{4, 2, 1, 0, 0}); diff != "" {
		t.Errorf("decay: got − want +\n%s", diff)
	}

	r.slot(0).Assigned += 9
	m.Turn(start + 6*int64(decay) - 1)
	m.Accepted()
	m.Turn(start + 6*int64(decay)) // it accepts, so what waits is real
	m.Turn(start + 7*int64(decay) - 1)
	if got := waiting(); got != 8 {
		t.Errorf("after an accept: got %d waiting, want 8", got)
	}
	m.Idle()
	if got := waiting(); got != 0 {
		t.Errorf("idle: got %d waiting, want 0", got)
	}
	for range 5 { // what was not assigned, such as migrated connections
		m.Accepted()
	}
	m.Turn(start + 8*int64(decay))
	if got := waiting(); got != 0 {
		t.Errorf("accepted more than assigned: got %d waiting, want 0", got)
	}

	// And it matters: a phantom keeps a worker from its share until it is settled.
	r.slot(0).Assigned += 3
	if diff := cmp.Diff(r.serveMany(6), []int{0, 6}); diff != "" {
		t.Errorf("with phantoms: got − want +\n%s", diff)
	}
	m.Idle()
	if diff := cmp.Diff(r.serveMany(6), []int{3, 3}); diff != "" {
		t.Errorf("settled: got − want +\n%s", diff)
	}
}

var kinds = []Kind{RoundRobin, Weighted, LeastLoaded}

func TestKernelMembership(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, Config{Kind: kind, Slots: 4, Seed: 1}, 0)
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
				if diff := cmp.Diff(some(r.serveMany(40)), want); diff != "" {
					t.Errorf("%s: got − want +\n%s", when, diff)
				}
			}
			r.join(0)
			r.join(1)
			r.serveMany(4) // nobody is listed: the hash serves
			if got := r.selector.Stats(); got.NobodyListed != 4 || got.Selected != 0 {
				t.Errorf("nobody listed: got %+v", got)
			}
			r.add(1, 1)
			expect("one listed, two listening", 1)
			r.add(0, 1)
			expect("both", 0, 1)
			r.join(2)
			expect("a third has joined but is not listed", 0, 1)
			r.add(2, 1)
			expect("three", 0, 1, 2)
			if err := r.selector.Remove(0); err != nil {
				t.Error(err)
			}
			expect("the first was removed but listens", 1, 2)
			if err := r.members[1].Leave(); err != nil {
				t.Error(err)
			}
			expect("the second left but is listed", 2)
			r.kill(2)
			r.add(0, 1)
			expect("the third died but is listed", 0)
			if got := r.selector.Stats(); got.AllGone != 0 || got.Stale == 0 || got.NobodyListed != 4 {
				t.Errorf("stale entries: got %+v", got)
			}
			r.kill(0)
			before := r.selector.Stats()
			r.serveMany(4) // only the one that left listens
			if after := r.selector.Stats(); after.AllGone-before.AllGone != 4 || after.Selected != before.Selected {
				t.Errorf("all gone: got %+v, before %+v", after, before)
			}
			r.join(2) // a successor in a slot that is still listed
			expect("a successor of the dead", 2)
			if err := errors.Join(r.selector.Remove(0), r.selector.Remove(1), r.selector.Remove(2), r.selector.Remove(2)); err != nil {
				t.Error(err)
			}
			before = r.selector.Stats()
			r.serveMany(4)
			if got := r.selector.Stats().NobodyListed - before.NobodyListed; got != 4 {
				t.Errorf("nobody listed at last: got %d, want 4", got)
			}
		})
	}
}

// The turns of the dead fall to the living evenly.
func TestKernelStaleRoundRobin(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 4}, 4)
	r.kill(1)
	if diff := cmp.Diff(r.serveMany(30), []int{10, 0, 10, 10}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

func TestKernelStaleLeastLoaded(t *testing.T) {
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 4}, 4)
	r.kill(1)
	r.kill(2)
	if diff := cmp.Diff(r.serveMany(30), []int{15, 0, 0, 15}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
}

// Draws alone would hardly ever find the light ones.
func TestKernelStaleWeighted(t *testing.T) {
	r := newRig(t, Config{Kind: Weighted, Slots: 4, Seed: 1}, 4, MaxWeight, 1, 1, 1)
	r.kill(0)
	r.serveMany(50)
	if got := r.selector.Stats(); got.AllGone != 0 || got.Selected != 50 || got.Stale == 0 {
		t.Errorf("got %+v, want 50 selected after tries in vain", got)
	}
}

// A program may be reading the list in use.
func TestKernelListInUseStays(t *testing.T) {
	r := newRig(t, Config{Kind: Weighted, Slots: 3}, 2)
	for _, change := range []func() error{
		func() error { return r.selector.Add(2, 7) },
		func() error { return r.selector.Remove(0) },
		func() error { return r.selector.Remove(1) },
	} {
		used := &r.selector.state.Lists[r.selector.state.Current]
		before := *used
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if *used != before {
			t.Errorf("the list in use was changed")
		}
		if now := &r.selector.state.Lists[r.selector.state.Current]; now == used {
			t.Errorf("the new list is not in use")
		}
	}
}

// What a worker left behind must not be its successor's.
func TestKernelSuccessorStartsAnew(t *testing.T) {
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 2, QueueLimit: 5}, 2)
	old := r.members[0]
	for range 7 {
		old.Begin()
	}
	r.slot(0).Assigned += 50
	r.slot(0).Turn = 0
	if err := r.selector.Remove(0); err != nil {
		t.Fatal(err)
	}
	if err := old.Leave(); err != nil {
		t.Fatal(err)
	}
	unix.Close(r.listeners[0])
	r.members[0] = nil
	r.join(0)
	r.add(0, 1)
	got := r.selector.Stats().Slots[0]
	if diff := cmp.Diff(got, SlotStats{Assigned: 50}); diff != "" {
		t.Errorf("got − want +\n%s", diff)
	}
	if age := now(t) - int64(r.slot(0).Turn); age > int64(patience) {
		t.Errorf("last turn %v ago", time.Duration(age))
	}
	// The old worker finishes what it had, in silence, and must not touch its successor's slot.
	old.Done()
	old.Accepted()
	old.Turn(1)
	old.Idle()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.selector.Stats().Slots[0], got); diff != "" {
		t.Errorf("after the old one's end: got − want +\n%s", diff)
	}
	if diff := cmp.Diff(r.serveMany(10), []int{5, 5}); diff != "" {
		t.Errorf("served: got − want +\n%s", diff)
	}
}

// While the list changes all the time, every connection goes to somebody who is always listed or
// just changing.
func TestKernelChangesUnderLoad(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, Config{Kind: kind, Slots: 8, Seed: 1}, 8)
			stop, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				for {
					for slot := 2; slot < 8; slot++ {
						if err := errors.Join(r.selector.Remove(slot), r.selector.Add(slot, uint32(slot))); err != nil {
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
			r.serveMany(500)
			close(stop)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			got := r.selector.Stats()
			got.Slots, got.Strays = nil, 0
			if diff := cmp.Diff(got, Stats{Selected: 500}); diff != "" {
				t.Errorf("got − want +\n%s", diff)
			}
		})
	}
}

// pin calls f on a thread that runs on one processor only.
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

// On lo a SYN is processed by the processor that sent it.
func TestKernelAttachCPU(t *testing.T) {
	r := newRig(t, Config{Kind: RoundRobin, Slots: 3}, 0)
	r.listeners = []int{r.listen(t), r.listen(t), r.listen(t)}
	const n = 2
	err := testkit.WithCapabilities(func() error { return AttachCPU(r.listeners[2], n) })
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
				client[i] = r.socket(t)
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
				if got, want := readable(t, patience, r.listeners...), listenerAt[cpu%n]; got != want {
					t.Fatalf("CPU %d: got listener %d, want %d", cpu, got, want)
				} else {
					r.accept(got)
				}
				unix.Close(c)
			}
		}
	}
	check([n]int{0, 1})
	unix.Close(r.listeners[0])
	r.listeners[0] = -1
	check([n]int{2, 1}) // the last one moved into its place

	if err := AttachCPU(r.listeners[1], 0); err == nil {
		t.Error("CPU % 0: no error")
	}
}

// The stand-in leaves every connection to the kernel's hash, and counts none.
func TestKernelEmpty(t *testing.T) {
	r := newRig(t, Config{Kind: Empty, Slots: 4}, 4)
	const n = 64
	served, workers, sum := r.serveMany(n), 0, 0
	for _, s := range served {
		if sum += s; s > 0 {
			workers++
		}
	}
	if sum != n || workers < 2 { // all at one of four: once in 4^63
		t.Errorf("slots served %v, want %d in all, and not by one alone", served, n)
	}
	stats := r.selector.Stats()
	stats.Slots = nil
	if diff := cmp.Diff(stats, Stats{}); diff != "" {
		t.Errorf("stats: got − want +\n%s", diff)
	}
}

// TestKernelCost reports what a selection takes, and asserts only that it is counted. What an empty
// program takes is the kernel's: to run any program, and to time it.
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
	report := func(what string, r *rig) {
		t.Helper()
		t.Logf("%-26s one after the other %v; 1000/s %v", what, r.cost(0), r.cost(paced))
	}
	for _, kind := range append([]Kind{Empty, ByHash}, kinds...) {
		for _, n := range []int{4, 256} {
			report(fmt.Sprintf("%s, %d slots", kind, n), newRig(t, Config{Kind: kind, Slots: n, Seed: 1}, n))
		}
	}
	r := newRig(t, Config{Kind: Empty, Slots: 4}, 4)
	r.replace(asm.Instructions{asm.FnKtimeGetCoarseNs.Call()})
	report("a helper: the clock", r)
	r.replace(asm.Instructions{ // the slot is out of range, so that no socket is looked at
		asm.StoreImm(asm.R10, -4, MaxSlots, asm.Word),
		asm.LoadMapPtr(asm.R2, r.fds()[1]),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(),
	})
	report("a helper: select, in vain", r)
}

// cost makes batches of connections, each after a pause, and measures what selecting takes.
func (r *rig) cost(pause time.Duration) (s spread) {
	r.t.Helper()
	batches, connections := 15, uint64(128)
	if pause > 0 {
		batches, connections = 5, 32
	}
	for range batches {
		before, took, err := r.selector.Cost()
		if err != nil {
			r.t.Fatal(err)
		}
		for range connections {
			time.Sleep(pause)
			unix.Close(r.connect(r.t))
		}
		after, total, err := r.selector.Cost()
		if err != nil {
			r.t.Fatal(err)
		}
		if after-before < connections {
			r.t.Fatalf("%d runs counted, want at least %d", after-before, connections)
		}
		s = append(s, (total-took)/time.Duration(after-before))
		r.drain()
	}
	slices.Sort(s)
	return s
}

// drain accepts and closes everything that waits.
func (r *rig) drain() {
	r.t.Helper()
	for slot, listener := range r.listeners {
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EAGAIN) {
				break
			} else if err != nil {
				r.t.Fatal(err)
			}
			unix.Close(fd)
			r.members[slot].Accepted()
		}
		r.members[slot].Idle()
	}
}

// replace puts another program, which selects nobody, in the place of the selector's.
func (r *rig) replace(body asm.Instructions) {
	r.t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SkReuseport, License: "Dual MIT/GPL", Instructions: append(body, returnPass...),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := unix.SetsockoptInt(r.listeners[0], unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program.FD()); err != nil {
		r.t.Fatal(err)
	}
	err = r.selector.program.Close()
	r.selector.program = program // the rig closes it
	if err != nil {
		r.t.Fatal(err)
	}
}

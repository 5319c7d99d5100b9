package harness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
)

// tolerant lets everything pass that a scenario may ask to tolerate.
var tolerant = scenarios.Setup{Validity: scenarios.Validity{LagFloor: 1e12, StepLag: 1e12, Steal: 1, RunQueue: 1}}

// judged is what the harness makes of closed books: the trial's counts, its steps and its verdict.
func judged(b *books, n int, steps []*fired) *results.Trial {
	m := measure(b, &judge{closings: []closing{{worker: 7, from: 0, to: int64(n) * ms, queue: true}}}, nil, int64(n)*ms, steps)
	neverSent := m.neverSent()
	r := &results.Trial{
		Attempts: int64(n), LostByCause: map[string]int64{}, NeverSent: &neverSent, LocalErrors: b.localErrors,
		OfferedPerSecond: 1000,
	}
	for _, v := range m.verdicts {
		if v.cause != "" {
			r.Lost++
			r.LostByCause[v.cause]++
		}
	}
	r.Dropped = r.Lost - r.LostByCause[cause.Client]
	for k := range steps {
		r.Steps = append(r.Steps, m.step(k))
	}
	r.InvalidReasons = judgeValidity(tolerant, 1, r)
	r.Valid = len(r.InvalidReasons) == 0
	return r
}

// What the load itself fails at is counted as such, spoils the trial where it could have been lost to a step,
// and is in no figure of the servers'.
func TestLoadFailures(t *testing.T) {
	const n = 2000 // a step each at 1000 and 1500 ms
	reset := account{results.ClassReset, results.PhaseWait, 0, "", 0}
	aborted := account{results.ClassAborted, results.PhaseWait, 1, "a", 0}
	local := account{results.ClassLocal, results.PhaseConnect, 0, "", 0}
	for _, tt := range []struct {
		name      string
		at        map[int]account
		neverSent []int
		want      []string // what each reason says
		perStep   []int64  // never sent
	}{
		{"nothing", nil, nil, nil, []int64{0, 0}},
		{"aborts, which are on purpose", map[int]account{100: aborted, 1102: aborted, 1600: aborted}, nil, nil, []int64{0, 0}},
		{"one never sent, in a step's window", nil, []int{1000},
			[]string{"never sent 1 attempt due in a step's window (first: step 0, replace)"}, []int64{1, 0}},
		{"some, in the second's", nil, []int{1500, 1501, 1999},
			[]string{"never sent 3 attempts due in a step's window (first: step 1, replace)"}, []int64{0, 3}},
		{"in both", nil, []int{1499, 1500},
			[]string{"never sent 2 attempts due in a step's window (first: step 0, replace)"}, []int64{1, 1}},
		{"0.1 % before the first step", nil, []int{0, 999}, nil, []int64{0, 0}},
		{"more than that", nil, []int{0, 1, 999},
			[]string{"never sent 3 of 2000 attempts outside any step's window, over a share of 0.001"}, []int64{0, 0}},
		{"of either kind", nil, []int{0, 1, 2, 1000},
			[]string{"never sent 1 attempt due in", "never sent 3 of 2000 attempts outside"}, []int64{1, 0}},
		{"a local error, long before a step", map[int]account{10: local}, nil,
			[]string{"1 attempt failed in the load process itself (EMFILE 1)"}, []int64{0, 0}},
		{"local errors in a window", map[int]account{1010: local, 1011: local, 1600: local}, nil,
			[]string{"3 attempts failed in the load process itself (EMFILE 3)"}, []int64{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBooks(t, n)
			missing := map[int]bool{}
			for _, i := range tt.neverSent {
				missing[i] = true
			}
			own := int64(len(tt.neverSent))
			for i := range n {
				a, ok := tt.at[i]
				switch {
				case missing[i]:
					continue
				case ok:
					own++
				case i == 1100 || i == 1101:
					a = reset // what the servers lose
				default:
					a = served
				}
				b.tell(i, a)
			}
			b.close()
			got := judged(b, n, []*fired{step(1000, stepReplace), step(1500, stepReplace)})
			if len(got.InvalidReasons) != len(tt.want) {
				t.Fatalf("%d reasons, want %d: %q", len(got.InvalidReasons), len(tt.want), got.InvalidReasons)
			}
			for i, want := range tt.want {
				if !strings.Contains(got.InvalidReasons[i], want) {
					t.Errorf("reason %q lacks %q", got.InvalidReasons[i], want)
				}
			}
			if *got.NeverSent != int64(len(tt.neverSent)) || got.LostByCause[cause.Client] != own || got.Lost != own+2 || got.Dropped != 2 {
				t.Errorf("%d never sent, %d by client of %d lost, %d dropped; want %d, %d of %d, 2",
					*got.NeverSent, got.LostByCause[cause.Client], got.Lost, got.Dropped, len(tt.neverSent), own, own+2)
			}
			for k, want := range tt.perStep {
				if n := *got.Steps[k].NeverSent; n != want {
					t.Errorf("step %d: %d never sent, want %d", k, n, want)
				}
			}
			// The load's failures change nothing of what the step cost.
			first := got.Steps[0]
			if *first.Dropped != 2 || first.OutageNS != 2*ms || first.LostShare != 1 || *got.Steps[1].Dropped != 0 || got.Steps[1].OutageNS != 0 {
				t.Errorf("the steps dropped %d and %d, outage %d and %d, share %v; want 2 and 0, 2 ms and 0, 1", *first.Dropped, *got.Steps[1].Dropped,
					first.OutageNS, got.Steps[1].OutageNS, first.LostShare)
			}
		})
	}
}

// A local error is counted by its errno, or as another one.
func TestLocalErrorsByErrno(t *testing.T) {
	b := testBooks(t, 3)
	for i, errno := range []unix.Errno{unix.EMFILE, unix.EADDRINUSE, 0} {
		b.sample(&results.Sample{Sequence: uint64(i), Phase: results.PhaseConnect, Class: results.ClassLocal, Errno: int(errno), Worker: -1, Generation: -1})
	}
	b.close()
	if diff := cmp.Diff(b.localErrors, map[string]int64{"EMFILE": 1, "EADDRINUSE": 1, "other": 1}); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	const want = "3 attempts failed in the load process itself (EADDRINUSE 1, EMFILE 1, other 1)"
	if got := judged(b, 3, nil); len(got.InvalidReasons) != 1 || !strings.Contains(got.InvalidReasons[0], want) {
		t.Errorf("reasons %q, want one with %q", got.InvalidReasons, want)
	}
}

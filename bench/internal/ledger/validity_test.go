package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
)

const nsMS = int64(time.Millisecond)

func machineStep(windowMS, steal int64, pressure float64, delay int64) results.Step {
	return results.Step{
		WindowNS: new(windowMS * nsMS), StealNS: &steal,
		Pressure: &pressure, RunQueueDelayNS: &delay,
	}
}

func TestValidity(t *testing.T) {
	limits := scenarios.Validity{
		LagFloor: 500 * time.Microsecond, StepLag: 20 * time.Millisecond,
		Achieved: 0.99, Steal: 0.5, RunQueue: 0.25, Harness: 0.02,
	}
	harness := func(used, standIn int64, servers *int64) results.CPU {
		return results.CPU{
			WatchedNS: new(1000 * nsMS), HarnessNS: new(used * nsMS),
			StandInNS: new(standIn * nsMS), ServersNS: servers,
		}
	}
	tookTime := func(used, beside string) []string {
		return []string{"this program itself took CPU time " +
			"(" + used + " for observing and bookkeeping beside " + beside + "); " +
			"run fewer workers or attempts, or allow more by validity.harness"}
	}
	machine := func(windowMS, steal, delay int64) []results.Step {
		s := machineStep(windowMS, steal, 1, delay)
		s.Do = "replace"
		return []results.Step{machineStep(200, 0, 0, 0), s}
	}
	for _, tt := range []struct {
		name   string
		change func(*results.Trial)
		want   []string
	}{
		{"valid", func(*results.Trial) {}, nil},
		{"too slow", func(t *results.Trial) { t.AchievedPerSecond = 1900 },
			[]string{"the load generator could not keep up (it sent 1900/s of 2000/s); " +
				"lower load.rate"}},
		{"late", func(t *results.Trial) { t.ScheduleLagP99NS = new(2 * nsMS) },
			[]string{"the load generator ran late (p99 2ms, allowed 500µs), " +
				"so this trial says nothing about the servers"}},
		{"late in a step", func(t *results.Trial) {
			t.Steps = []results.Step{{Do: "replace", ScheduleLagMaxNS: new(21 * nsMS)}}
		}, []string{"the load generator ran late after a step " +
			"(21ms in the window of step 1, replace; allowed 20ms), " +
			"so the step's cost is unknown"}},
		{"TIME_WAIT overflow", func(t *results.Trial) {
			t.Kernel = map[string]int64{"TcpExtTCPTimeWaitOverflow": 12}
		}, []string{"more connections ended than the kernel keeps in TIME_WAIT " +
			"(12 too many), so stray resets are possible"}},
		{"a wrong path", func(t *results.Trial) {
			t.Served, t.ErrorAnswers = 0, map[string]int64{"503": 1, "404": 1999}
		}, []string{"the server served no request: it answered with status 404, 503; " +
			"set request.path and request.status"}},
		{"some errors", func(t *results.Trial) {
			t.Served, t.ErrorAnswers = 1, map[string]int64{"503": 1999}
		}, nil},
		{"residual", func(t *results.Trial) { t.Residual = 3 },
			[]string{"the ledger does not balance (residual 3); 'report --ledger' shows the rows"}},
		{"a step's CPU stolen", func(t *results.Trial) { t.Steps = machine(100, 210*nsMS, 0) },
			[]string{"the host took CPU time from the servers " +
				"(210ms of 400ms in the window of step 2, replace, allowed 0.5)"}},
		{"shares within the limits", func(t *results.Trial) { t.Steps = machine(100, 190*nsMS, 24*nsMS) }, nil},
		{"a window too short to judge", func(t *results.Trial) { t.Steps = machine(20, 60*nsMS, 20*nsMS) }, nil},
		{"a neighbour in a step", func(t *results.Trial) { t.Steps = machine(100, 0, 30*nsMS) },
			[]string{"something else kept the workers waiting for a CPU " +
				"(30ms of 100ms in the window of step 2, replace, allowed 0.25); " +
				"end other programs, or wait"}},
		{"the harness, beside busy servers",
			func(t *results.Trial) { t.CPU = harness(32, 1, new(1500*nsMS)) },
			tookTime("31ms", "1.5s of the servers' CPU time, allowed 0.02")},
		{"the harness, within its limit",
			func(t *results.Trial) { t.CPU = harness(29, 0, new(1500*nsMS)) }, nil},
		{"the harness, within its limit beside idle servers",
			func(t *results.Trial) { t.CPU = harness(9, 0, new(10*nsMS)) }, nil},
		{"the harness, beside idle servers",
			func(t *results.Trial) { t.CPU = harness(12, 1, new(10*nsMS)) },
			tookTime("11ms", "1s of one CPU's time, allowed 0.01")},
		{"the harness, beside servers of unknown CPU time",
			func(t *results.Trial) { t.CPU = harness(12, 1, nil) },
			tookTime("11ms", "1s of one CPU's time, allowed 0.01")},
		{"the harness, in a short trial", func(t *results.Trial) {
			t.CPU = harness(2, 0, new(10*nsMS))
			t.CPU.WatchedNS = new(100 * nsMS)
		}, nil},
		{"the harness, in place of a real system",
			func(t *results.Trial) { t.CPU = harness(500, 495, new(10*nsMS)) }, nil},
		{"an older run", func(t *results.Trial) {
			t.CPU = results.CPU{WatchedNS: new(nsMS), ServersNS: new(nsMS)}
		}, nil},
		{"a quota", func(t *results.Trial) { t.CPU = results.CPU{ThrottledNS: new(120 * nsMS)} },
			[]string{"a CPU quota stopped this program and all it had started (for 120ms); " +
				"give it whole CPUs and no quota, see 'doctor'"}},
		{"a quota that was not used up",
			func(t *results.Trial) { t.CPU = results.CPU{ThrottledNS: new(0 * nsMS)} }, nil},
		{"the whole trial", func(t *results.Trial) {
			t.CPU = results.CPU{
				WatchedNS: new(1000 * nsMS), StealNS: new(2500 * nsMS),
				RunQueueDelayNS: new(400 * nsMS),
			}
		}, []string{
			"the host took CPU time from the servers (2.5s of 4s during the trial, allowed 0.5)",
			"something else kept the workers waiting for a CPU " +
				"(400ms of 1s during the trial, allowed 0.25); end other programs, or wait",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trial := &results.Trial{
				OfferedPerSecond: new(2000.), AchievedPerSecond: 2000,
				ResponseNS: &results.Percentiles{P99: 5 * nsMS},
			}
			tt.change(trial)
			if diff := cmp.Diff(Invalid(limits, 4, trial), tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// judgedTrial returns the stored form of a trial during which a listener was being closed all the
// time. The trial is judged by the most lenient limits that a scenario can set.
func judgedTrial(b *Book, steps []Step) *results.Trial {
	duration := b.schedule.At(b.schedule.Len())
	a := b.Close(&Facts{
		Duration: duration, Steps: steps,
		Closings: []Closing{{Worker: 7, To: Time(duration), OwnsQueue: true}},
	})
	r := &results.Trial{}
	a.Fill(r)
	for k := range steps {
		r.Steps = append(r.Steps, a.Step(k))
	}
	lenient := scenarios.Validity{LagFloor: 1e12, StepLag: 1e12, Steal: 1, RunQueue: 1}
	r.InvalidReasons = Invalid(lenient, 1, r)
	return r
}

// Attempts that the load itself failed to send are counted separately, and are not part of the
// servers' figures. They make a trial invalid if a step could have made the servers lose them.
func TestLoadFailures(t *testing.T) {
	const (
		n        = 2000 // the steps are at 1000 and 1500 ms
		inWindow = "never sent attempts due in a step's window "
	)
	reset := account{class: results.ClassReset, phase: results.PhaseWait}
	aborted := account{class: results.ClassAborted, phase: results.PhaseWait, done: 1, server: "a"}
	local := account{class: results.ClassLocal, phase: results.PhaseConnect}
	for _, tt := range []struct {
		name      string
		at        map[int]account
		neverSent []int
		want      []string // a part of each reason
		perStep   []int64  // number of attempts never sent in each step's window
	}{
		{"nothing", nil, nil, nil, []int64{0, 0}},
		{"aborts, which are on purpose",
			map[int]account{100: aborted, 1102: aborted, 1600: aborted}, nil, nil, []int64{0, 0}},
		{"one never sent, in a step's window", nil, []int{1000},
			[]string{inWindow + "(1, the first after step 1, replace)"},
			[]int64{1, 0}},
		{"some, in the second step's window", nil, []int{1500, 1501, 1999},
			[]string{inWindow + "(3, the first after step 2, replace)"},
			[]int64{0, 3}},
		{"in both windows", nil, []int{1499, 1500},
			[]string{inWindow + "(2, the first after step 1, replace)"},
			[]int64{1, 1}},
		{"0.1 % before the first step", nil, []int{0, 999}, nil, []int64{0, 0}},
		{"more than that", nil, []int{0, 1, 999},
			[]string{
				"never sent attempts (3 of 2000 outside any step's window, allowed 0.001 of all)",
			},
			[]int64{0, 0}},
		{"outside and in a window", nil, []int{0, 1, 2, 1000},
			[]string{
				inWindow + "(1, ",
				"never sent attempts (3 of 2000 outside",
			}, []int64{1, 0}},
		{"a local error, long before a step", map[int]account{10: local}, nil,
			[]string{"attempts failed in the load process itself (1: EMFILE 1)"}, []int64{0, 0}},
		{"local errors in a window",
			map[int]account{1010: local, 1011: local, 1600: local}, nil,
			[]string{"attempts failed in the load process itself (3: EMFILE 3)"}, []int64{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, n)
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
					a = reset // an attempt that the servers lose
				default:
					a = served
				}
				enter(b, i, a)
			}
			got := judgedTrial(b, []Step{step(1000*ms, "replace"), step(1500*ms, "replace")})
			if len(got.InvalidReasons) != len(tt.want) {
				t.Fatalf("%d reasons, want %d: %q",
					len(got.InvalidReasons), len(tt.want), got.InvalidReasons)
			}
			for i, want := range tt.want {
				if !strings.Contains(got.InvalidReasons[i], want) {
					t.Errorf("reason %q lacks %q", got.InvalidReasons[i], want)
				}
			}
			type totals struct{ neverSent, byClient, lost, dropped int64 }
			total := totals{*got.NeverSent, got.LostByCause[cause.Client], got.Lost, got.Dropped}
			if want := (totals{int64(len(tt.neverSent)), own, own + 2, 2}); total != want {
				t.Errorf("got %+v, want %+v", total, want)
			}
			for k, want := range tt.perStep {
				if n := *got.Steps[k].NeverSent; n != want {
					t.Errorf("step %d: %d never sent, want %d", k, n, want)
				}
			}
			// The cost of a step does not depend on the load's failures.
			first, second := got.Steps[0], got.Steps[1]
			if *first.Dropped != 2 || *first.OutageNS != 2*nsMS || *first.LostShare != 1 {
				t.Errorf("step 0: %d dropped, outage %d, share %v; want 2, 2 ms, 1",
					*first.Dropped, *first.OutageNS, *first.LostShare)
			}
			if *second.Dropped != 0 || *second.OutageNS != 0 {
				t.Errorf("step 1: %d dropped, outage %d; want 0 and 0",
					*second.Dropped, *second.OutageNS)
			}
		})
	}
}

// Local errors are counted by the name of their errno. An unknown errno counts as "other".
func TestLocalErrorsByErrno(t *testing.T) {
	b := testBook(t, 3)
	for i, errno := range []unix.Errno{unix.EMFILE, unix.EADDRINUSE, 0} {
		b.Sample(&results.Sample{
			Sequence: uint64(i), Phase: results.PhaseConnect, Class: results.ClassLocal,
			Errno: int(errno), Worker: -1, Generation: -1,
		})
	}
	b.Close(&Facts{Duration: time.Second})
	counts := map[string]int64{"EMFILE": 1, "EADDRINUSE": 1, "other": 1}
	if diff := cmp.Diff(b.localErrors, counts); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	const want = "attempts failed in the load process itself (3: EADDRINUSE 1, EMFILE 1, other 1)"
	got := judgedTrial(b, nil).InvalidReasons
	if len(got) != 1 || !strings.Contains(got[0], want) {
		t.Errorf("reasons %q, want one with %q", got, want)
	}
}

package compare

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/resultstest"
)

// A runShape describes the runs of one side.
type runShape struct {
	starts []int // start of each run, in minutes
	blocks int   // per run
	head   bool
	// trial returns the trial of a block. Blocks are numbered over all runs. If trial is nil, each
	// trial is RestartTrial(0).
	trial func(block int) *results.Trial
}

func (s runShape) runs() (runs []*results.Run) {
	for i, start := range s.starts {
		r := resultstest.NewRun()
		r.StartedAt = r.StartedAt.Add(time.Duration(start) * time.Minute)
		r.FinishedAt = new(r.StartedAt.Add(time.Minute))
		r.Environment = results.Environment{
			Kernel: "6.18.44", CPUs: 2, CPUModel: "EPYC", LoadCPUs: []int{0}, ServerCPUs: []int{1},
		}
		if s.head {
			r.Version = "v0.2.0"
		}
		scenario := r.Scenarios[0]
		scenario.SHA256, scenario.Trials = "5f", s.blocks
		scenario.Baseline = resultstest.CloseLabels()
		for _, v := range scenario.Variants {
			for b := range s.blocks {
				t := resultstest.RestartTrial(0)
				if s.trial != nil {
					t = s.trial(i*s.blocks + b)
				}
				t.Block = b
				v.Trials = append(v.Trials, t)
			}
		}
		runs = append(runs, r)
	}
	return runs
}

// timed returns a trial in which all response times are the same.
func timed(ns int64) *results.Trial {
	t := resultstest.RestartTrial(0)
	t.ResponseNS = &results.Percentiles{P50: ns, P90: ns, P99: ns, P999: ns, Max: ns}
	return t
}

// abba returns the starts of n runs per side, in the order base, head, head, base, ….
func abba(n int) (base, head []int) {
	for i := range n {
		first, second := 2*i, 2*i+1
		if i%2 == 1 {
			first, second = second, first
		}
		base, head = append(base, first), append(head, second)
	}
	return base, head
}

func compareRuns(t *testing.T, base, head []*results.Run, o Options) *Comparison {
	t.Helper()
	c, err := Runs(base, head, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAlternate(t *testing.T) {
	for name, test := range map[string]struct {
		base, head []int
		blocks     int
		want       bool
	}{
		"ABBA":                {[]int{0, 3}, []int{1, 2}, 1, true},
		"ABAB":                {[]int{0, 2}, []int{1, 3}, 1, true},
		"BAAB":                {[]int{1, 2}, []int{0, 3}, 1, true},
		"AABB":                {[]int{0, 1}, []int{2, 3}, 1, false},
		"ABBBAA":              {[]int{0, 4, 5}, []int{1, 2, 3}, 1, false},
		"one run each":        {[]int{0}, []int{1}, 1, false},
		"one more on a side":  {[]int{0, 2}, []int{1, 3, 4}, 1, false},
		"more blocks per run": {[]int{0, 3}, []int{1, 2}, 2, false},
	} {
		base := runShape{starts: test.base, blocks: test.blocks}.runs()
		head := runShape{starts: test.head, blocks: test.blocks, head: true}.runs()
		if got := alternate(base, head); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

// If the machine drifts tenfold, only pairs reveal that the head is 10 % slower.
func TestCompareRunsPairs(t *testing.T) {
	b, h := abba(10)
	slow := func(block int) *results.Trial { return timed(int64(1000 * (block + 1))) }
	slower := func(block int) *results.Trial { return timed(int64(1100*(block+1) + block)) }
	base := runShape{starts: b, blocks: 1, trial: slow}.runs()
	head := runShape{starts: h, blocks: 1, head: true, trial: slower}.runs()
	o := Options{Metrics: []string{"response_p50_ns"}}
	c := compareRuns(t, base, head, o)
	if !c.Paired || len(c.Worse()) != 2 || len(c.Unmeasured()) != 0 {
		t.Errorf("paired %t, worse %q, unmeasured %q; want two worse", c.Paired, c.Worse(),
			c.Unmeasured())
	}
	d := c.Scenarios[0].Variants[0].Deltas[0]
	if x := d.Change; x.Center < 1.1 || x.Center > 1.101 || x.N != 10 || !d.Paired {
		t.Errorf("got %+v, want a ratio of 1.1 of 10 pairs", d)
	}
	slices.SortFunc(head, func(a, b *results.Run) int { return a.StartedAt.Compare(b.StartedAt) })
	for i, r := range head { // the same trials, but the head's all ran after the base's
		r.StartedAt = r.StartedAt.Add(time.Duration(100+i) * time.Minute)
	}
	if c := compareRuns(t, base, head, o); c.Paired || len(c.Worse()) != 0 {
		t.Errorf("in a row: paired %t, worse %q; want unpaired, no change", c.Paired, c.Worse())
	}
	want := Side{Version: "v0.2.0", Kernel: "6.18.44", Runs: 10, StartedAt: head[0].StartedAt}
	if got := compareRuns(t, base, head, o).Head; got != want {
		t.Errorf("head: got %+v, want %+v", got, want)
	}
}

// A missing scenario in one run must not shift the pairs of later runs.
func TestCompareRunsPairsPastAMissingScenario(t *testing.T) {
	b, h := abba(10)
	shape := runShape{
		starts: b, blocks: 1,
		trial: func(block int) *results.Trial { return timed(int64(1000 * (block + 1))) },
	}
	base := shape.runs()
	shape.starts, shape.head = h, true
	head := shape.runs()
	base[2].Scenarios[0].Name = "another"
	c := compareRuns(t, base, head, Options{Metrics: []string{"response_p50_ns"}})
	d := c.Scenarios[0].Variants[0].Deltas[0]
	if d.Change.Center != 1 || d.Change.N != 9 || *d.Change.Lo != 1 || *d.Change.Hi != 1 {
		t.Errorf("got %v of %d pairs, want exactly 1 of 9", d, d.Change.N)
	}
}

func TestCompareRunsRefuses(t *testing.T) {
	for allow, test := range map[string]struct {
		change func(*results.Run)
		want   string
	}{
		AllowKernel: {
			func(r *results.Run) { r.Environment.Kernel = "5.10.0" },
			"kernel differs: 6.18.44 and 5.10.0",
		},
		AllowCPUs: {
			func(r *results.Run) { r.Environment.ServerCPUs = []int{0, 1} },
			"2 CPUs (load [0], servers [1]) and 2 CPUs (load [0], servers [0 1])",
		},
		AllowCPUModel: {
			func(r *results.Run) { r.Environment.CPUModel = "Xeon" },
			"cpu_model differs: EPYC and Xeon",
		},
		AllowPrivileged: {
			func(r *results.Run) { r.Environment.Privileged = true },
			"privileged differs: without root and as root",
		},
		AllowScenario: {
			func(r *results.Run) { r.Scenarios[0].SHA256 = "6e" },
			"scenario differs: rolling-restart 5f and rolling-restart 6e",
		},
	} {
		t.Run(allow, func(t *testing.T) {
			base := runShape{starts: []int{0, 1}, blocks: 6}.runs()
			head := runShape{starts: []int{2, 3}, blocks: 6}.runs()
			test.change(head[1])
			_, err := Runs(base, head, Options{})
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("got %v, want ErrRefused", err)
			}
			resultstest.WantError(t, err, test.want, "--allow "+allow)
			others := slices.DeleteFunc(Allowances(), func(a string) bool { return a == allow })
			if _, err := Runs(base, head, Options{Allow: others}); !errors.Is(err, ErrRefused) {
				t.Errorf("with all others allowed: got %v, want ErrRefused", err)
			}
			if _, err := Runs(base, head, Options{Allow: []string{allow}}); err != nil {
				t.Errorf("allowed: %v", err)
			}
			test.change(head[0]) // both runs of the head differ: one error
			if _, err := Runs(base, head, Options{}); strings.Count(fmt.Sprint(err), "\n") != 0 {
				t.Errorf("got the same error twice: %v", err)
			}
		})
	}
}

func TestCompareRunsNothingInCommon(t *testing.T) {
	base := runShape{starts: []int{0}, blocks: 6}.runs()
	head := runShape{starts: []int{1}, blocks: 6}.runs()
	head[0].Scenarios[0].Name = "steady"
	_, err := Runs(base, head, Options{})
	resultstest.WantError(t, err, "no scenario is in both; the base has rolling-restart, the "+
		"head steady")
	if !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	base[0].Scenarios = append(base[0].Scenarios, head[0].Scenarios...)
	_, err = Runs(base, head, Options{Scenarios: []string{"rolling-restart"}})
	resultstest.WantError(t, err, `scenario "rolling-restart" is not in both; the base has `+
		`rolling-restart, steady`)
	c := compareRuns(t, base, head, Options{Scenarios: []string{"steady"}})
	if len(c.Scenarios) != 1 || c.Scenarios[0].Name != "steady" {
		t.Errorf("got %d scenarios", len(c.Scenarios))
	}
	_, err = Runs(base, head, Options{Only: map[string]string{"stop": "crash"}})
	resultstest.WantError(t, err, "no variant has the labels stop=crash")
}

func TestCompareOptionsCheck(t *testing.T) {
	base := runShape{starts: []int{0}, blocks: 6}.runs()
	head := runShape{starts: []int{1}, blocks: 6}.runs()
	for _, test := range []struct {
		o    Options
		want string
	}{
		{
			Options{Metrics: []string{"p99"}},
			`metric "p99" cannot be compared; these can: highest_rate_per_second, `,
		},
		{
			Options{Metrics: slices.Repeat([]string{metrics.Gap}, 5)},
			"5 metrics are chosen to decide; at most 4 may",
		},
		{Options{Thresholds: map[string]float64{"p99": 1}}, `metric "p99" cannot be compared`},
		{
			Options{Thresholds: map[string]float64{metrics.Gap: -1}},
			"threshold gap_ns=-1: must be 0 or more",
		},
		{
			Options{Allow: []string{"weather"}},
			`"weather" cannot be allowed to differ; these can: kernel, cpus, `,
		},
	} {
		_, err := Runs(base, head, test.o)
		resultstest.WantError(t, err, test.want)
		if errors.Is(err, ErrRefused) {
			t.Errorf("%v: is ErrRefused, which is for runs, not options", err)
		}
	}
}

func TestCompareRunsWarns(t *testing.T) {
	base := runShape{starts: []int{0}, blocks: 6}.runs()
	head := runShape{starts: []int{1}, blocks: 6}.runs()
	b, h := base[0], head[0]
	b.Scenarios = append(b.Scenarios, &results.Scenario{Name: "steady"})
	h.Scenarios = append(h.Scenarios, &results.Scenario{Name: "burst"})
	skipped := map[string]string{"stop": "bpf-drain"}
	extra := func(labels map[string]string, reason *string) *results.Variant {
		return &results.Variant{Labels: labels, SkippedReason: reason}
	}
	b.Scenarios[0].Variants = append(b.Scenarios[0].Variants,
		extra(map[string]string{"stop": "kill"}, nil), extra(skipped, nil))
	h.Scenarios[0].Variants = append(h.Scenarios[0].Variants,
		extra(map[string]string{"stop": "migrate"}, nil), extra(skipped, new("needs CAP_BPF")))
	h.Environment.Go, h.Environment.Sysctls = "go1.27", map[string]string{
		"net.core.somaxconn": "128", "net.new": "1",
	}
	b.Environment.Go, b.Environment.Sysctls = "go1.26", map[string]string{
		"net.core.somaxconn": "4096", "net.old": "1",
	}
	h.FinishedAt, b.Warnings = nil, []string{"cut off"}
	c := compareRuns(t, base, head, Options{})
	want := []string{
		"Go differs: go1.26 and go1.27", "cut off",
		"sysctl net.core.somaxconn differs: 4096 and 128",
		"the run started at 2026-03-04T05:07:07Z has not finished",
		"scenario steady is only in the base", "scenario burst is only in the head",
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Errorf("of the runs (-want +got):\n%s", diff)
	}
	want = []string{"stop=migrate is only in the head"}
	if diff := cmp.Diff(want, c.Scenarios[0].Warnings); diff != "" {
		t.Errorf("of the scenario (-want +got):\n%s", diff)
	}
	if len(c.Scenarios) != 1 || len(c.Scenarios[0].Variants) != 2 {
		t.Errorf("got %d scenarios, %d variants", len(c.Scenarios), len(c.Scenarios[0].Variants))
	}
	// A variant that the head no longer measures is an error: a warning would be overlooked.
	want = []string{
		"rolling-restart: stop=kill is only in the base",
		"rolling-restart: stop=bpf-drain was measured in the base and skipped in the head: needs " +
			"CAP_BPF",
	}
	if diff := cmp.Diff(want, c.Unmeasured()); diff != "" {
		t.Errorf("unmeasured (-want +got):\n%s", diff)
	}
}

// The trials of all runs of a side count, except invalid trials.
func TestCompareRunsMerges(t *testing.T) {
	base := runShape{starts: []int{0, 1, 2}, blocks: 4}.runs()
	head := runShape{starts: []int{3, 4}, blocks: 4, trial: func(block int) *results.Trial {
		t := resultstest.RestartTrial(0)
		t.Valid = block != 5
		return t
	}}.runs()
	head[0].Scenarios[0].File = "steady.yaml"
	c := compareRuns(t, base, head, Options{})
	s := c.Scenarios[0]
	if s.File != "steady.yaml" {
		t.Errorf("file %q, want the head's", s.File)
	}
	for _, v := range s.Variants {
		if v.Base != (Measured{Trials: 12, Valid: 12}) ||
			v.Head != (Measured{Trials: 8, Valid: 7}) {
			t.Errorf("%s: got %+v and %+v, want 12 of 12 and 7 of 8", results.LabelString(v.Labels),
				v.Base, v.Head)
		}
		if d := v.Deltas[0]; d.Change.N != 7 || d.Paired {
			t.Errorf("%s: %+v, want 7 trials and no pairs", results.LabelString(v.Labels), d)
		}
	}
	merged := mergeScenario(base, "rolling-restart")
	var blocks []int
	for _, trial := range merged.Variants[0].Trials {
		blocks = append(blocks, trial.Block)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, blocks); diff != "" ||
		merged.Trials != 12 {
		t.Errorf("%d planned; blocks (-want +got):\n%s", merged.Trials, diff)
	}
	if base[1].Scenarios[0].Variants[0].Trials[0].Block != 0 {
		t.Error("the run itself was changed")
	}
}

// Percentiles over several trials come from merged histograms, not from the trials' percentiles.
func TestCompareRunsMergesHistograms(t *testing.T) {
	all := results.NewHistogram()
	base := runShape{starts: []int{0, 1}, blocks: 3, trial: func(block int) *results.Trial {
		t, h := resultstest.RestartTrial(0), results.NewHistogram()
		for i := range int64(1000) {
			ns := 1000 + i*int64(1+block*block*block)
			h.Record(ns)
			all.Record(ns)
		}
		t.Histogram = h.Encode()
		return t
	}}.runs()
	lost, other := base[0].Scenarios[0].Variants[0], resultstest.RestartTrial(0)
	h := results.NewHistogram()
	h.Record(int64(9 * time.Minute))
	other.Valid, other.Histogram = false, h.Encode()
	lost.Trials = append(lost.Trials, other)
	// Both variants have the same histograms.
	head := runShape{starts: []int{5}, blocks: 6}.runs()
	got := compareRuns(t, base, head, Options{}).Scenarios[0].Variants
	want := all.Percentiles()
	for _, v := range got {
		if diff := cmp.Diff(want, v.Base.ResponseNS); diff != "" {
			t.Errorf("%s (-want +got):\n%s", results.LabelString(v.Labels), diff)
		}
		if v.Head.ResponseNS != nil {
			t.Errorf("%s: percentiles without histograms: %+v", results.LabelString(v.Labels),
				v.Head.ResponseNS)
		}
	}
}

func TestCompareRunsUnmeasured(t *testing.T) {
	pairs := func(n int) (base, head []*results.Run) {
		b, h := abba(n)
		return runShape{starts: b, blocks: 1}.runs(), runShape{starts: h, blocks: 1}.runs()
	}
	few, fewHead := pairs(5)
	large, largeHead := pairs(8)
	right, rightHead := pairs(9)
	invalid, invalidHead := pairs(9)
	for i := range 4 {
		invalidHead[i].Scenarios[0].Variants[1].Trials[0].Valid = false
	}
	gapless, gaplessHead := pairs(9)
	for i := range 4 {
		gaplessHead[i].Scenarios[0].Variants[0].Trials[0].Steps = nil
	}
	for name, test := range map[string]struct {
		base, head []*results.Run
		metrics    []string
		want       []string
	}{
		"too few pairs": {few, fewHead, nil, []string{
			"rolling-restart: sockets=reuseport stop=close has 5 pairs of valid trials, and 9 " +
				"are needed",
			"rolling-restart: sockets=reuseport stop=drain has 5 pairs of valid trials, and 9 " +
				"are needed"}},
		"too few trials": {few[:1], fewHead[:1], []string{metrics.Gap}, []string{
			"rolling-restart: sockets=reuseport stop=close has 1 and 1 valid trials, and 6 are " +
				"needed",
			"rolling-restart: sockets=reuseport stop=drain has 1 and 1 valid trials, and 6 are " +
				"needed"}},
		// 2¹⁻ⁿ ≤ 0.032/8 from n = 9 on
		"a family too large": {
			large, largeHead, nil,
			[]string{
				"rolling-restart: with 8 pairs no change can be significant among 8 comparisons; " +
					"9 are needed",
			},
		},
		"a family that fits": {right, rightHead, nil, nil},
		"pairs with an invalid trial": {
			invalid, invalidHead, nil,
			[]string{
				"rolling-restart: sockets=reuseport stop=drain has 5 pairs of valid trials, and " +
					"9 are needed",
			},
		},
		"a metric in a few pairs": {
			gapless, gaplessHead, []string{metrics.Gap},
			[]string{
				"rolling-restart: sockets=reuseport stop=close has gap_ns in 5 pairs, and 6 are " +
					"needed",
			},
		},
		"a missing metric": {right, rightHead, []string{metrics.Jain}, []string{
			"rolling-restart: sockets=reuseport stop=close has no jain",
			"rolling-restart: sockets=reuseport stop=drain has no jain"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := compareRuns(t, test.base, test.head, Options{Metrics: test.metrics})
			if diff := cmp.Diff(test.want, c.Unmeasured()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The smallest p is 2/2ⁿ for pairs and 2/C(2n, n) for trials. For m comparisons it must be below
// 0.032/m. Computed by hand.
func TestReplicatesFor(t *testing.T) {
	for _, test := range []struct{ comparisons, pairs, trials int }{
		{0, 6, 4}, {1, 6, 4}, // 2/2⁶ and 2/70 < 0.032 < 2/20
		{2, 7, 5},    // 2/252 < 0.016 < 2/70
		{8, 9, 6},    // 2/2⁹ and 2/924 < 0.004 < 2/252
		{64, 12, 8},  // 2/2¹² and 2/12870 < 0.0005 < 2/3432
		{100, 13, 8}, // 2/2¹³ < 0.00032 < 2/2¹²
	} {
		pairs := replicatesFor(test.comparisons, true)
		trials := replicatesFor(test.comparisons, false)
		if pairs != test.pairs || trials != test.trials {
			t.Errorf("%d comparisons: got %d pairs, %d trials; want %d, %d", test.comparisons,
				pairs, trials, test.pairs, test.trials)
		}
	}
}

// If a baseline differs from its A/A arm, nothing is decided, not even by a large change.
func TestCompareRunsVoid(t *testing.T) {
	control := resultstest.CloseLabels()
	control[results.LabelArm] = results.ArmControl
	make := func(start int, head bool, ns, controlNS int64) []*results.Run {
		vary := func(ns int64) func(int) *results.Trial {
			return func(b int) *results.Trial { return timed(ns + int64(b)) }
		}
		runs := runShape{starts: []int{start}, blocks: 10, head: head, trial: vary(ns)}.runs()
		again := runShape{starts: []int{start}, blocks: 10, trial: vary(controlNS)}.runs()
		arm := again[0].Scenarios[0].Variants[0]
		arm.Labels = control
		runs[0].Scenarios[0].Variants = append(runs[0].Scenarios[0].Variants, arm)
		return runs
	}
	for name, test := range map[string]struct {
		base, head []*results.Run
		void       string
	}{
		"neither": {make(0, false, 1000, 1001), make(1, true, 2000, 2001), ""},
		"base": {
			make(0, false, 1000, 1500), make(1, true, 2000, 2001),
			"base: the baseline, measured twice, differs from itself: response_p50_ns ratio 1.5 ",
		},
		"head": {
			make(0, false, 1000, 1001), make(1, true, 2000, 1500),
			"head: the baseline, measured twice, differs from itself: response_p50_ns ratio 0.751 ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := compareRuns(t, test.base, test.head, Options{Metrics: []string{"response_p50_ns"}})
			if n := len(c.Scenarios[0].Variants); n != 2 {
				t.Errorf("%d variants compared, want 2: the A/A arm is not one", n)
			}
			if test.void == "" {
				if len(c.Worse()) != 2 || len(c.Unmeasured()) != 0 {
					t.Errorf("worse %q, unmeasured %q", c.Worse(), c.Unmeasured())
				}
				return
			}
			void := c.Scenarios[0].Void
			if len(void) != 1 || !strings.HasPrefix(void[0], test.void) {
				t.Errorf("void %q, want %q", void, test.void)
			}
			if len(c.Worse()) != 0 || len(c.Unmeasured()) != 1 {
				t.Errorf("worse %q, unmeasured %q", c.Worse(), c.Unmeasured())
			}
		})
	}
}

// Options choose the variants, the metrics that decide, and their thresholds.
func TestCompareRunsOptions(t *testing.T) {
	vary := func(ns int64) func(int) *results.Trial {
		return func(b int) *results.Trial { return timed(ns + int64(b)) }
	}
	base := runShape{starts: []int{0}, blocks: 10, trial: vary(1000)}.runs()
	head := runShape{starts: []int{1}, blocks: 10, trial: vary(1200)}.runs()
	c := compareRuns(t, base, head, Options{
		Metrics:    []string{"response_p50_ns", "response_p90_ns"},
		Thresholds: map[string]float64{"response_p90_ns": 0.3},
		Only:       map[string]string{"stop": "drain"},
	})
	worse := c.Worse()
	want := "rolling-restart sockets=reuseport stop=drain: response_p50_ns ratio 1.2 "
	if len(worse) != 1 || !strings.HasPrefix(worse[0], want) {
		t.Errorf("worse %q, want p50 of drain alone", worse)
	}
	if n := len(c.Scenarios[0].Variants); n != 1 {
		t.Errorf("%d variants, want 1", n)
	}
}

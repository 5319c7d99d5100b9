package plan

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/gates/gatestest"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

func mustLoad(t *testing.T, names ...string) []*scenarios.Scenario {
	t.Helper()
	var all []*scenarios.Scenario
	for _, name := range names {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

const planTestScenario = `
name: plan-test
about: A scenario for the plan's golden file.
workers: 3
server: {work: {burn: 50us}, backlog: 64}
load: {rate: 1000/s, duration: 1s}
timeline:
  - {at: 100ms, every: 300ms, do: replace}
  - {at: 150ms, do: stall, for: 20ms}
matrix:
  - {sockets: [reuseport], stop: [close, migrate]}
  - {sockets: [shared], stop: [handoff]}
trials: 3
`

func TestPlanGolden(t *testing.T) {
	s, err := scenarios.Parse("plan-test.yaml", []byte(planTestScenario))
	if err != nil {
		t.Fatal(err)
	}
	machine := Machine{CPUs: []int{0, 1, 2, 3, 6, 7, 9, 11}}
	p, err := New([]*scenarios.Scenario{s}, 42, machine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Describe(&b); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "plan.golden", b.String())
}

func TestPlanIsPure(t *testing.T) {
	order := func(seed uint64, names ...string) []Trial {
		p, err := New(mustLoad(t, names...), seed, Machine{CPUs: []int{0, 1}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Scenarios[0].Trials
	}
	alone := order(7, "restart")
	if diff := cmp.Diff(order(7, "restart", "steady"), alone); diff != "" {
		t.Errorf("another scenario reshuffles this one (-got +want):\n%s", diff)
	}
	if cmp.Equal(order(8, "restart"), alone) {
		t.Error("another seed gives the same order")
	}
}

// New adds the A/A arm to the plan and leaves the scenario unchanged.
func TestPlanKeepsScenario(t *testing.T) {
	const gates = "gates: [{expect: lost_per_attempt < 0.5}]"
	text := strings.Replace(planTestScenario, "trials: 3", gates, 1)
	s, err := scenarios.Parse("plan-test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(s.Variants)
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(p.Scenarios[0].Variants), len(before)+1; got != want {
		t.Errorf("the plan has %d variants, want %d", got, want)
	}
	if diff := cmp.Diff(s.Variants, before); diff != "" {
		t.Errorf("the scenario's variants after New (-got +want):\n%s", diff)
	}
}

// All variants share the memory of one slice of steps. Each variant has the steps that are due
// before its load ends.
func TestPlanSharesSteps(t *testing.T) {
	const text = `
name: plan-test
load: {rate: 10/s, duration: 1s}
timeline:
  - {at: 5ms, every: 10ms, do: add}
  - {at: 0s, every: 20ms, do: add}
  - {at: 250ms, do: stall, for: 1ms}
matrix: [{load.duration: [251ms, 260ms, 1s, 333333333ns]}]
`
	s, err := scenarios.Parse("plan-test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	variants := p.Scenarios[0].Variants
	for i, want := range []int{25 + 13 + 1, 26 + 13 + 1, 100 + 50 + 1, 33 + 17 + 1} {
		got := variants[i].Steps
		if len(got) != want {
			t.Errorf("%s: %d steps, want %d", variants[i].Labels, len(got), want)
		}
		if &got[0] != &variants[0].Steps[0] {
			t.Errorf("%s: the steps are a copy", variants[i].Labels)
		}
		if last := got[len(got)-1].At; last >= variants[i].Duration {
			t.Errorf("%s: a step at %v, after the load", variants[i].Labels, last)
		}
		ordered := slices.IsSortedFunc(got, func(a, b PlannedStep) int { return int(a.At - b.At) })
		if !ordered {
			t.Errorf("%s: the steps are not in order", variants[i].Labels)
		}
	}
}

// A timeline with the maximum number of steps is planned in full. One more step is an error.
func TestPlanMostSteps(t *testing.T) {
	const text = "name: x\nload: {rate: 1/s, duration: %s}\n" +
		"timeline:\n- {at: 0s, every: 20ms, do: add}\n"
	for duration, want := range map[string]int{"400s": 20_000, "400.02s": 0} {
		s, err := scenarios.Parse("f", fmt.Appendf(nil, text, duration))
		if (err == nil) != (want > 0) {
			t.Errorf("%s: got error %v, want an error: %v", duration, err, want == 0)
		}
		if err != nil {
			continue
		}
		p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(p.Scenarios[0].Variants[0].Steps); got != want {
			t.Errorf("%s: %d steps, want %d", duration, got, want)
		}
	}
}

func TestPlanBlocksAreComplete(t *testing.T) {
	p, err := New(mustLoad(t, "restart"), 1, Machine{CPUs: []int{0}}, Options{Trials: 5})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Trial]int{}
	for _, trial := range p.Scenarios[0].Trials {
		seen[trial]++
	}
	trials := len(p.Scenarios[0].Trials)
	if want := 5 * len(p.Scenarios[0].Variants); len(seen) != want || trials != want {
		t.Errorf("%d trials, %d different, want %d", trials, len(seen), want)
	}
}

func TestPlanOptions(t *testing.T) {
	machine := Machine{CPUs: []int{0, 1}}
	unknown := Options{Only: scenarios.Labels{"sockets": "none"}}
	if _, err := New(mustLoad(t, "steady"), 1, machine, unknown); err == nil {
		t.Error("no error for a label that no variant has")
	}
	p, err := New(mustLoad(t, "steady"), 1, machine, Options{
		Only: scenarios.Labels{"sockets": "shared"}, Budget: 3500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, n := len(p.Scenarios[0].Variants), p.Scenarios[0].Blocks(); v != 1 || n != 2 {
		t.Errorf("%d variants, %d blocks; want 1 and 2 (1.45 s each) in 3.5 s", v, n)
	}
}

// A budget reduces the number of planned trials, but not the number of valid trials that gates
// need. Options.Trials reduces both numbers.
func TestPlanMinValid(t *testing.T) {
	const quick = "quick: 1 of 2 trials that gates need; decides nothing"
	gated := planTestScenario + "gates: [{expect: lost == 0}]\n"
	tests := []struct {
		name     string
		options  Options
		blocks   int
		minValid int
		quick    string
	}{
		{"as the scenario says", Options{}, 3, 2, ""},
		{"a budget for all of them", Options{Budget: time.Minute}, 3, 2, ""},
		{"a budget for as many as gates need", Options{Budget: 11 * time.Second}, 2, 2, ""},
		{"a budget for one", Options{Budget: 6 * time.Second}, 1, 2, quick},
		{"a budget for none", Options{Budget: time.Second}, 1, 2, quick},
		{"one is asked for", Options{Trials: 1}, 1, 1, ""},
		{
			"two are asked for, with a budget for one",
			Options{Trials: 2, Budget: time.Second}, 1, 2, quick,
		},
		{"until the gates are decided", Options{Auto: true, AutoBudget: time.Hour}, 12, 2, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := scenarios.Parse("plan-test.yaml", []byte(gated))
			if err != nil {
				t.Fatal(err)
			}
			p, err := New([]*scenarios.Scenario{s}, 42, Machine{CPUs: []int{0, 1}}, test.options)
			if err != nil {
				t.Fatal(err)
			}
			sp := p.Scenarios[0]
			if sp.Blocks() != test.blocks || sp.MinValid != test.minValid {
				t.Errorf("%d blocks and %d valid needed; want %d and %d",
					sp.Blocks(), sp.MinValid, test.blocks, test.minValid)
			}
			if sp.QuickLook() != test.quick {
				t.Errorf("got %q, want %q", sp.QuickLook(), test.quick)
			}
			var b bytes.Buffer
			if err := p.Describe(&b); err != nil {
				t.Fatal(err)
			}
			const lowered = "\n  min_valid 1 instead of 2, because of --trials\n"
			if want := sp.MinValid < 2; strings.Contains(b.String(), lowered) != want {
				t.Errorf("got:\n%s\n%q in it: want %v", b.String(), lowered, want)
			}
			for _, text := range []string{p.Summary(), b.String()} {
				if strings.Contains(text, "quick:") != (test.quick != "") {
					t.Errorf("got:\n%s\nwant %q in it", text, test.quick)
				}
			}
		})
	}
}

// If only one user id can be used, exactly the variants that need several are skipped. The plan has
// the address of the first pod.
func TestPlanSameNodeSharing(t *testing.T) {
	m := Machine{CPUs: []int{0, 1}, Missing: map[string]string{doctor.UserIDs: "one id"}}
	p, err := New(mustLoad(t, "same-node-sharing"), 1, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	type planned struct {
		Target, Skipped string
		MayBeTaken      bool
	}
	got := map[string]planned{}
	for _, v := range p.Scenarios[0].Variants {
		got[v.Labels.String()] = planned{v.Load[0].Target.String(), v.Skipped, v.Servers.MayBeTaken}
	}
	want := map[string]planned{
		"kube.placement=one-node kube.users=one":     {"198.18.10.1:8080", "", false},
		"kube.placement=containers kube.users=one":   {"198.18.10.1:8080", "", false},
		"kube.placement=host-network kube.users=one": {"198.18.0.1:8080", "", false},

		"kube.placement=containers kube.users=each": {
			"198.18.10.1:8080", "user_ids: one id; see 'doctor'", true,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The defaults of a retry policy depend on the attempt's timeout, and the plan shows them.
func TestPlanRetry(t *testing.T) {
	harmless := vocabulary.SafeRetries()
	for _, tt := range []struct {
		setting, shown string
		want           load.Retry
	}{
		{"", "", load.Retry{}},
		{
			", retry: {max: 3}",
			"up to 4 tries, another after refused, unreachable, connect-timeout, unsent, " +
				"unanswered; 200ms for each handshake\n",
			load.Retry{Max: 3, On: harmless, ConnectTimeout: 200 * time.Millisecond},
		},
		{
			", retry: {max: 1, on: refused, backoff: 5ms, max_backoff: 1s, jitter: full, " +
				"budget: 10}",
			"up to 2 tries, another after refused; backoff 5ms, jitter full, at most 1s; " +
				"a budget of 10 tokens, ratio 0.1\n",
			load.Retry{
				Max: 1, On: []vocabulary.RetryCause{"refused"},
				Backoff: 5 * time.Millisecond, MaxBackoff: time.Second,
				Jitter: vocabulary.JitterFull,
				Budget: load.RetryBudget{Tokens: 10, Ratio: 0.1},
			},
		},
		{
			", retry: {max: 1, on: refused+connect-timeout, connect_timeout: 7ms, budget: 4, " +
				"budget_ratio: 0.5}",
			"after refused, connect-timeout; 7ms for each handshake; " +
				"a budget of 4 tokens, ratio 0.5\n",
			load.Retry{
				Max: 1, On: []vocabulary.RetryCause{"refused", "connect-timeout"},
				ConnectTimeout: 7 * time.Millisecond,
				Budget:         load.RetryBudget{Tokens: 4, Ratio: 0.5},
			},
		},
	} {
		text := "name: x\nload: {rate: 100/s, duration: 1s, timeout: 600ms" + tt.setting + "}\n"
		s, err := scenarios.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := p.Scenarios[0].Variants[0].Load[0].Retry
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.setting, diff)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", tt.setting, err)
		}
		shown := described(t, p)
		hasTries := strings.Contains(shown, "tries")
		if hasTries != (tt.shown != "") || !strings.Contains(shown, tt.shown) {
			t.Errorf("%s: got\n%s\nwant %q in it", tt.setting, shown, tt.shown)
		}
	}
}

// A closed loop has one load process, however many CPUs there are. With stages, the highest rate
// determines the number of load processes.
func TestPlanLoops(t *testing.T) {
	machine := Machine{CPUs: []int{0, 1, 2, 3, 4, 5, 6, 7}}
	for _, tt := range []struct {
		load, shown string
		processes   int
		want        load.Shape
	}{
		{"concurrency: 67, duration: 2s",
			"closed loop of 67 clients for 2s: each sends its next attempt when its last one has " +
				"ended, timeout 900ms\n",
			1, load.Shape{Clients: 67, Duration: 2 * time.Second}},
		{"from: 1000/s, stages: [{rate: 20000/s, duration: 1s, ramp: true}, " +
			"{rate: 5000/s, duration: 500ms}, {rate: 2500/s, duration: 500ms, ramp: true}]",
			"a mean of 7437.5 attempts/s for 2s: 1000 to 20000/s for 1s, 5000/s for 500ms, " +
				"5000 to 2500/s for 500ms, timeout 900ms\n",
			2, load.Shape{Rate: 7437.5, Duration: 2 * time.Second, Stages: []load.Stage{
				{From: 1000, Rate: 20_000, Duration: time.Second},
				{From: 5000, Rate: 5000, Duration: time.Second / 2},
				{From: 5000, Rate: 2500, Duration: time.Second / 2},
			}}},
	} {
		text := "name: x\nload: {" + tt.load + "}\ntimeline: [{at: 1900ms, do: add}]\n"
		s, err := scenarios.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New([]*scenarios.Scenario{s}, 1, machine, Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := p.Scenarios[0].Variants[0]
		tt.want.Pace = vocabulary.PaceConstant
		if diff := cmp.Diff(v.Load[0].Shape, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.load, diff)
		}
		if err := v.Load[0].Shape.Validate(); err != nil {
			t.Errorf("%s: %v", tt.load, err)
		}
		if len(v.Load) != tt.processes || v.Duration != 2*time.Second || len(v.Steps) != 1 {
			t.Errorf("%s: %d processes for %v, %d steps; want %d for 2s, 1", tt.load,
				len(v.Load), v.Duration, len(v.Steps), tt.processes)
		}
		if text := described(t, p); !strings.Contains(text, tt.shown) {
			t.Errorf("%s: got\n%s\nwant %q in it", tt.load, text, tt.shown)
		}
	}
}

// FlatOut turns any load into a closed loop with 16 clients for each worker, but at least 64
// clients. The clients are divided among load processes, one for each of the load's CPUs.
func TestFlatOut(t *testing.T) {
	machine := Machine{CPUs: []int{0, 1, 2, 3, 4, 5, 6, 7}}
	p, err := New(mustLoad(t, "capacity"), 1, machine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := p.Scenarios[0].Variants[0]
	for workers, clients := range map[int]int{1: 64, 10: 160} {
		v.Servers.Workers = workers
		busy, err := v.FlatOut(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		want := load.Shape{Pace: vocabulary.PaceConstant, Clients: clients, Duration: time.Second}
		diff := cmp.Diff(busy.Load[0].Shape, want)
		if diff != "" || len(busy.Load) != len(machine.Place().Load) {
			t.Errorf("%d workers: %d processes (-got +want):\n%s", workers, len(busy.Load), diff)
		}
	}
}

func TestAutoNeedsGates(t *testing.T) {
	auto := Options{Auto: true, AutoBudget: time.Minute}
	_, err := New(mustLoad(t, "steady"), 1, Machine{CPUs: []int{0, 1}}, auto)
	if err == nil || !strings.Contains(err.Error(), "steady has no gates") {
		t.Errorf("got error %v, want that steady has no gates", err)
	}
}

// A plan has an A/A arm only if a gate is on a metric that varies from trial to trial.
func TestPlanControlArm(t *testing.T) {
	for expect, want := range map[string]int{"residual == 0": 0, "lost_per_attempt < 0.1": 1} {
		all := withControl(gatestest.Scenario(t, "  - expect: "+expect+"\n"))
		if arms := len(all) - 2; arms != want {
			t.Errorf("%s: %d A/A arms, want %d", expect, arms, want)
		}
	}
}

// The plan fills in the defaults of settings that a scenario omits, so that later stages need no
// defaults.
func TestPlanPodDefaults(t *testing.T) {
	const text = "name: x\nnetwork: cluster\npath: service\nload: {rate: 100/s, duration: 1s}\n"
	s, err := scenarios.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := p.Scenarios[0].Variants[0].Cluster
	if c.Readiness != vocabulary.ReadinessListening || c.MaxSurge != 1 ||
		c.Grace <= 0 || c.Teardown <= 0 || c.ProbePeriod <= 0 {
		t.Errorf("got %+v; want readiness listening, one surge pod, and all times set", c)
	}
}

// With a real Kubernetes, a probe determines readiness, kube-proxy's default applies, and a plan
// has no value for what Kubernetes decides.
func TestPlanRealDefaults(t *testing.T) {
	const text = "name: x\nnetwork: cluster\npath: service\nload: {rate: 100/s, duration: 1s}\n" +
		"stop: close\ntimeline: [{at: 0s, do: rolling-update}]\n" +
		"matrix: [{kube.control: [embedded, real]}]\n"
	s, err := scenarios.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	embedded, kubernetes := p.Scenarios[0].Variants[0], p.Scenarios[0].Variants[1]
	if got := embedded.Cluster.Control; got != vocabulary.ControlEmbedded {
		t.Errorf("the first variant has control plane %q", got)
	}
	c := kubernetes.Cluster
	if c.Control != vocabulary.ControlReal || c.Readiness != vocabulary.ReadinessProbe ||
		c.ProbePeriod != time.Second || c.Teardown != 0 ||
		c.Lags != (kube.Lags{MinSyncPeriod: time.Second}) {
		t.Errorf("got %+v; want readiness by probe each second, a min sync period of 1s, and "+
			"neither lags nor teardown", c)
	}
	if kubernetes.Start != vocabulary.StartCold {
		t.Errorf("workers start %s, want cold", kubernetes.Start)
	}
	if text := described(t, p); strings.Count(text, "net.core.somaxconn") != 1 ||
		!strings.Contains(text, "in every lab, except in pods of a real Kubernetes:\n") {
		t.Errorf("the sysctls are not said to be those of the embedded pods only:\n%s", text)
	}
	s.Variants = s.Variants[1:]
	p, err = New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text := described(t, p); strings.Contains(text, "lab") || strings.Contains(text, "net.") {
		t.Errorf("sysctls are listed that pods of a real Kubernetes do not get:\n%s", text)
	}
	if kubernetes.Takes() <= embedded.Takes() {
		t.Errorf("a trial takes %v, and %v with the embedded control plane; want more",
			kubernetes.Takes(), embedded.Takes())
	}
}

// The grace periods of workers and of pods have defaults. Sysctls that the scenario sets override
// those of the lab.
func TestPlanGraceAndSysctls(t *testing.T) {
	const deletion = "network: cluster\npath: service\nstop: close\n" +
		"timeline: [{at: 0s, do: delete-pod}]\n"
	for _, test := range []struct {
		text         string
		server, pods time.Duration
		want         map[string]string
	}{
		{"", 30 * time.Second, 0, map[string]string{
			"net.core.somaxconn": "65535", "net.ipv4.tcp_migrate_req": "0"}},
		{"server: {grace: 2s}\nsysctl: {somaxconn: 128, syncookies: 0, migrate_req: 1}\n",
			2 * time.Second, 0, map[string]string{
				"net.core.somaxconn": "128", "net.ipv4.tcp_syncookies": "0",
				"net.ipv4.tcp_migrate_req": "1"}},
		{"network: cluster\npath: service\n", 30 * time.Second, 30 * time.Second, nil},
		{deletion + "kube: {pre_stop: 40s}\n", 30 * time.Second, 45 * time.Second, nil},
		{deletion + "kube: {grace: 3s}\n", 30 * time.Second, 3 * time.Second, nil},
	} {
		text := "name: x\nload: {rate: 100/s, duration: 1s}\n" + test.text
		s, err := scenarios.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := p.Scenarios[0].Variants[0]
		pods := time.Duration(0)
		if v.Cluster != nil {
			pods = v.Cluster.Grace
		}
		if v.Servers.Grace != test.server || pods != test.pods {
			t.Errorf("%q: the grace of workers is %v, of pods %v; want %v, %v",
				test.text, v.Servers.Grace, pods, test.server, test.pods)
		}
		set := map[string]string{}
		for _, s := range v.Sysctls {
			if _, twice := set[s.Name]; twice {
				t.Errorf("%q: %s is set twice", test.text, s.Name)
			}
			set[s.Name] = s.Value
		}
		for name, want := range test.want {
			if set[name] != want {
				t.Errorf("%q: %s = %q, want %q", test.text, name, set[name], want)
			}
		}
	}
}

// Every sysctl for which a scenario has a key is set. The key is the last part of the sysctl's
// name, without tcp_.
func TestEverySysctl(t *testing.T) {
	var all scenarios.Sysctl
	fields := reflect.ValueOf(&all).Elem()
	for i := range fields.NumField() {
		fields.Field(i).Set(reflect.ValueOf(new(1)))
	}
	set := ownSysctls(all)
	if len(set) != fields.NumField() {
		t.Errorf("%d of %d sysctls are set", len(set), fields.NumField())
	}
	for i, s := range set {
		key, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("yaml"), ",")
		name := s.Name[strings.LastIndex(s.Name, ".")+1:]
		if strings.TrimPrefix(name, "tcp_") != key {
			t.Errorf("the key of %s is %s", s.Name, key)
		}
	}
}

// asStored returns a run as it is stored before its first trial.
func asStored(p *Plan) *results.Run {
	run := &results.Run{}
	for _, sp := range p.Scenarios {
		s := &results.Scenario{
			Name: sp.Spec.Name, SHA256: sp.Spec.SHA256, MinValid: sp.MinValid,
			Trials: sp.Blocks(), Looks: sp.Looks, BudgetNS: int64(sp.Budget),
		}
		for _, v := range sp.Variants {
			s.Variants = append(s.Variants, &results.Variant{Labels: v.Labels})
		}
		run.Scenarios = append(run.Scenarios, s)
	}
	return run
}

// A resumed run keeps the variants, trials and budget of the interrupted run, even if the options
// do not repeat them.
func TestResume(t *testing.T) {
	machine := Machine{CPUs: []int{0, 1}}
	for name, o := range map[string]Options{
		"as it is": {}, "fewer trials": {Trials: 2}, "quick": {Budget: 20 * time.Second},
		"variants": {Only: scenarios.Labels{"stop": "drain"}},
	} {
		all := mustLoad(t, "restart-matrix", "restart")
		began, err := New(all, 7, machine, o)
		if err != nil {
			t.Fatal(err)
		}
		other := Options{Trials: 5, Only: scenarios.Labels{"a": "b"}, Resume: asStored(began)}
		resumed, err := New(all, 7, machine, other)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := described(t, resumed), described(t, began); got != want {
			t.Errorf("%s: (-began +resumed)\n%s", name, cmp.Diff(want, got))
		}
	}
	auto := mustLoad(t, "ci-restart")
	began, err := New(auto, 7, machine, Options{Auto: true, AutoBudget: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, budget := range []time.Duration{0, 2 * time.Hour} {
		resumed, err := New(auto, 7, machine, Options{AutoBudget: budget, Resume: asStored(began)})
		if err != nil {
			t.Fatal(err)
		}
		s, want := resumed.Scenarios[0], max(budget, time.Hour)
		if s.Budget != want || len(s.Looks) == 0 {
			t.Errorf("looks %v, a budget of %v; want some looks, and %v", s.Looks, s.Budget, want)
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	machine := Machine{CPUs: []int{0, 1}}
	steady := mustLoad(t, "steady")
	for what, edit := range map[string]func(*results.Scenario){
		"is not what it was when": func(s *results.Scenario) { s.SHA256 = "another" },
		"other variants or looks": func(s *results.Scenario) {
			s.Variants[0].Labels = map[string]string{"sockets": "none"}
		},
		"has other variants": func(s *results.Scenario) { s.Variants = nil },
		"variants or looks":  func(s *results.Scenario) { slices.Reverse(s.Variants) },
	} {
		p, err := New(steady, 7, machine, Options{})
		if err != nil {
			t.Fatal(err)
		}
		run := asStored(p)
		edit(run.Scenarios[0])
		_, err = New(steady, 7, machine, Options{Resume: run})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got error %v, want %q in it", err, what)
		}
	}
}

// described returns what Describe prints.
func described(t *testing.T, p *Plan) string {
	t.Helper()
	var b strings.Builder
	if err := p.Describe(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The kept connections are divided among the load processes, and each process has at least one.
// Clients and workers get the limits at which they close connections. Variants with different
// lifetimes have different capacities.
func TestPlanKept(t *testing.T) {
	const text = `
name: plan-test
server: {idle_timeout: 5s, max_requests: 7}
load: {rate: 30000/s, duration: 1s, max_requests: 100, lifetime: 2s, idle_timeout: 1s}
matrix: [{load.connections: [3, 8, reused]}, {load.connections: [3], load.lifetime: [3s]}]
`
	s, err := scenarios.Parse("plan-test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	machine := Machine{CPUs: make([]int, 24)}
	for i := range machine.CPUs {
		machine.CPUs[i] = i
	}
	p, err := New([]*scenarios.Scenario{s}, 1, machine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for i, want := range []struct {
		processes int
		keep      load.Keep
		says      string
	}{
		{3, load.Keep{Count: 3, Lifetime: 2 * time.Second},
			"3 connections kept, opened before the load begins\n"},
		{4, load.Keep{Count: 8, Lifetime: 2 * time.Second},
			"8 connections kept"},
		{4, load.Keep{Lifetime: 2 * time.Second},
			"a worker closes a kept connection after 7 requests, idle for 5s\n"},
		{3, load.Keep{Count: 3, Lifetime: 3 * time.Second}, "the client closes a kept " +
			"connection after 100 requests, at the age of 3s, idle for 1s\n"},
	} {
		want.keep.MaxRequests, want.keep.IdleTimeout = 100, time.Second
		v := p.Scenarios[0].Variants[i]
		if len(v.Load) != want.processes {
			t.Errorf("%s: %d load processes, want %d", v.Labels, len(v.Load), want.processes)
		}
		for _, l := range v.Load {
			diff := cmp.Diff(l.Keep, want.keep)
			if diff != "" || l.Connections != vocabulary.ConnectionsReused {
				t.Errorf("%s: %s, kept (-got +want):\n%s", v.Labels, l.Connections, diff)
			}
		}
		c, all := v.Servers, 30_000+uint64(want.keep.Count)
		if c.IdleTimeout != 5*time.Second || c.MaxRequests != 7 || c.Requests != all {
			t.Errorf("%s: workers with %v, %d requests per connection, %d in all; want 5s, 7, %d",
				v.Labels, c.IdleTimeout, c.MaxRequests, c.Requests, all)
		}
		var b strings.Builder
		if describeLoad(&b, v); !strings.Contains(b.String(), want.says) {
			t.Errorf("%s: got\n%s\nwant %q in it", v.Labels, b.String(), want.says)
		}
		keys[v.ServersKey()] = true
	}
	if len(keys) != 4 {
		t.Errorf("%d kinds of servers and load, want 4", len(keys))
	}
}

// Variants share one capacity if they differ only in how workers listen, in the workers' users or
// in the added round trip.
func TestPlanSameCapacity(t *testing.T) {
	const text = `
name: plan-test
network: veth
load: {rate: 0.5*capacity, duration: 1s}
timeline: [{at: 500ms, do: add}]
matrix:
- {round_trip: [0s, 5ms]}
- {server.listen: [specific], server.defer_accept: [1s]}
- {server.users: [other]}
`
	s, err := scenarios.Parse("plan-test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Scenarios[0].Capacities()); n != 1 {
		t.Errorf("%d capacities, want 1", n)
	}
}

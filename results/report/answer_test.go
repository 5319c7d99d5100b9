package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios/vocabulary"
)

// restartVariant returns a variant of ten trials with four restarts each. lost has the losses of
// the first trials; the remaining trials lose nothing.
func restartVariant(labels map[string]string, lost ...int64) *results.Variant {
	v := &results.Variant{Labels: labels}
	for i := range 10 {
		n := int64(0)
		if i < len(lost) {
			n = lost[i]
		}
		v.Trials = append(v.Trials, reporttest.RestartTrial(i, n, 0, 0, 0))
	}
	return v
}

// steadyVariant returns a variant of eight trials without steps. Their p99 is multiplied by times.
func steadyVariant(labels map[string]string, times int64) *results.Variant {
	v := &results.Variant{Labels: labels}
	for i := range 8 {
		trial := reporttest.RestartTrial(i)
		trial.ResponseNS.P99 *= times
		v.Trials = append(v.Trials, trial)
	}
	return v
}

// searchVariant returns a variant of eight searches for the least preStop, which found the two
// values in turn. The nearest values that failed are 20 ms less.
func searchVariant(labels map[string]string, found ...float64) *results.Variant {
	v := steadyVariant(labels, 1)
	for i, trial := range v.Trials {
		value := found[i%len(found)]
		trial.Search = &results.Search{Setting: "kube.pre_stop", Unit: "ns", Value: new(value),
			Failed: new(value - 20e6)}
	}
	return v
}

// first returns a copy of the variant with only the given number of its trials.
func first(trials int, v *results.Variant) *results.Variant {
	return &results.Variant{Labels: v.Labels, Trials: v.Trials[:trials]}
}

func scenarioOf(baseline map[string]string, variants ...*results.Variant) *results.Scenario {
	s := &results.Scenario{Name: "s", MinValid: 3, Trials: 8, Baseline: baseline,
		Variants: variants}
	summary.FillRun(&results.Run{Scenarios: []*results.Scenario{s}})
	return s
}

func TestAnswers(t *testing.T) {
	labels := reporttest.Labels
	nines := slices.Repeat([]int64{9}, 10)
	shared := labels("sockets", "shared", "load.rate", "500/s")
	short := restartVariant(labels("stop", "close"), 2)
	short.Trials = short.Trials[:2]
	few := scenarioOf(nil, short)
	few.MinValid = 1
	burst := steadyVariant(labels("sockets", "reuseport", "load.rate", "500/s"), 1)
	for _, trial := range burst.Trials {
		trial.Lost, trial.Dropped, trial.Served = 100, 100, trial.Attempts-100
	}
	once := scenarioOf(labels("network", "loopback"),
		first(1, steadyVariant(labels("network", "loopback"), 1)),
		first(1, steadyVariant(labels("accept", "epoll"), 1)),
		first(1, steadyVariant(labels("accept", "blocking"), 1)),
		first(1, steadyVariant(labels("network", "loopback", "selector", "cpu"), 1)))
	once.Trials = 1
	direct := steadyVariant(labels("path", "direct"), 1)
	behind := steadyVariant(labels("path", "service"), 1)
	for _, trial := range behind.Trials {
		trial.Steps = []results.Step{{Do: vocabulary.StepRemove, Endpoints: 2}}
	}
	void := scenarioOf(nil, restartVariant(labels("stop", "close"), 2))
	void.Void = "it differs from itself"
	for _, test := range []struct {
		name     string
		scenario *results.Scenario
		want     []string
	}{
		{"restarts", scenarioOf(nil,
			restartVariant(labels("sockets", "reuseport", "stop", "close"), nines...),
			restartVariant(labels("sockets", "reuseport", "stop", "handoff")),
			restartVariant(labels("sockets", "shared", "stop", "handoff")),
			restartVariant(labels("sockets", "reuseport", "stop", "drain")),
			restartVariant(labels("sockets", "reuseport", "stop", "kill"), nines[1:]...),
		), []string{
			"Handing the socket off to the successor (as HAProxy does) and draining the accept " +
				"queue before closing lost none in 40 restarts each (at most 3 in 40).",
			"Killing the workers and closing the listener lose 2.0 to 2.2 requests per " +
				"restart [1.6, 2.8].",
		}},
		{"told apart by another label", scenarioOf(nil,
			restartVariant(labels("stop", "drain", "sockets", "shared")),
			restartVariant(labels("stop", "close", "sockets", "shared"), nines...),
			restartVariant(labels("stop", "close", "sockets", "reuseport")),
		), []string{
			"Draining the accept queue before closing and closing the listener with a " +
				"SO_REUSEPORT socket each lost none in 40 restarts each (at most 3 in 40).",
			"Closing the listener with one shared socket loses 2.2 requests per restart " +
				"[1.8, 2.8].",
		}},
		{"a search for a setting", scenarioOf(nil,
			searchVariant(labels("kube.endpoint_lag", "100ms"), 110e6, 120e6),
			searchVariant(labels("kube.endpoint_lag", "200ms"), 210e6, 210e6),
		), []string{
			"With endpoint_lag 100ms, nothing was dropped with kube.pre_stop 115ms " +
				"[110ms, 120ms] or more; 90ms to 100ms dropped some.",
			"With endpoint_lag 200ms, nothing was dropped with kube.pre_stop 210ms " +
				"[210ms, 210ms] or more; 190ms dropped some.",
		}},
		{"a condition without a text", once, []string{
			"No request was lost: 0 of 24,000.",
			"In 3 variants, p99 cannot be compared with that of the baseline: there are too few " +
				"trials.",
		}},
		{"losses by step and by request", scenarioOf(nil, direct, behind), []string{
			"Removing a worker with the workers' own address lost none in 48,000 requests.",
			"Removing a worker with a Kubernetes Service lost none in 8 steps.",
		}},
		{"by a label without a phrase", scenarioOf(nil,
			restartVariant(labels("round_trip", "0s")),
			restartVariant(labels("round_trip", "5ms"), nines...),
		), []string{
			"Replacing the workers with round_trip 0s lost none in 40 restarts (at most 3 in 40).",
			"Replacing the workers with round_trip 5ms loses 2.2 requests per restart [1.8, 2.8].",
		}},
		{"new and kept connections alike", scenarioOf(nil,
			restartVariant(labels("load.connections", "new")),
			restartVariant(labels("load.connections", "200")),
		), []string{
			"Replacing the workers on new connections and 200 kept connections lost none in 40 " +
				"restarts each (at most 3 in 40).",
		}},
		{"new and kept connections", scenarioOf(nil,
			restartVariant(labels("load.connections", "new")),
			restartVariant(labels("load.connections", "200"), nines...),
		), []string{
			"Replacing the workers on new connections lost none in 40 restarts (at most 3 in 40).",
			"Replacing the workers on 200 kept connections loses 2.2 requests per restart " +
				"[1.8, 2.8].",
		}},
		{"new connections only", scenarioOf(nil, restartVariant(labels("load.connections", "new"))),
			[]string{"Replacing the workers on new connections lost none in 40 restarts (at most " +
				"3 in 40)."}},
		{"too few restarts", few, []string{
			"Closing the listener lost 2 in 8 restarts: too few to say how many.",
		}},
		{"void", void, nil},
		{"latency, by the rate", scenarioOf(shared,
			steadyVariant(shared, 1),
			steadyVariant(labels("sockets", "reuseport", "load.rate", "500/s"), 2),
			steadyVariant(labels("sockets", "shared", "load.rate", "0.7*capacity"), 3),
			steadyVariant(labels("sockets", "reuseport", "load.rate", "0.7*capacity"), 3),
		), []string{
			"No request was lost: 0 of 192,000.",
			"With a SO_REUSEPORT socket each at 500/s, p99 is 2 [2, 2] times that with one " +
				"shared socket: 1.9 ms against 950 µs.",
			"With a SO_REUSEPORT socket each at 0.7 of capacity, p99 is within 10 % of that " +
				"with one shared socket: 1 [1, 1] times.",
		}},
		{"a small ratio", scenarioOf(shared,
			steadyVariant(shared, 530), steadyVariant(labels("sockets", "reuseport"), 1),
		), []string{
			"No request was lost: 0 of 96,000.",
			"With a SO_REUSEPORT socket each, p99 is 1/530 [1/530, 1/530] of that with one " +
				"shared socket at 500/s: 950 µs against 504 ms.",
		}},
		{"no condition of their own", scenarioOf(
			labels("sockets", "reuseport", "stop", "close"),
			steadyVariant(labels("sockets", "reuseport", "stop", "close"), 1),
			steadyVariant(labels("sockets", "reuseport", "stop", "inherit",
				"server.backlog", "64"), 1),
			steadyVariant(labels("sockets", "shared", "stop", "inherit"), 1),
			steadyVariant(labels("sockets", "reuseport", "stop", "inherit"), 1),
		), []string{
			"No request was lost: 0 of 192,000.",
			"In the other variants, p99 is within 10 % of that with a SO_REUSEPORT socket each: " +
				"1 times.",
		}},
		{"losses without a step", scenarioOf(shared, steadyVariant(shared, 1), burst), []string{
			"With one shared socket, nothing was lost in 48,000 requests.",
			"With a SO_REUSEPORT socket each, 1.7 % of the requests [1.6, 1.8] are lost.",
			"With a SO_REUSEPORT socket each, p99 is within 10 % of that with one shared " +
				"socket: 1 [1, 1] times.",
		}},
		{"few trials", scenarioOf(shared, first(3, steadyVariant(shared, 1)), first(3, burst)),
			[]string{
				"With one shared socket, nothing was lost in 18,000 requests.",
				"With a SO_REUSEPORT socket each, 1.7 % of the requests [1.5, 1.9] are lost.",
				"With a SO_REUSEPORT socket each, p99 cannot be compared with that with one " +
					"shared socket: there are too few trials.",
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, answers(test.scenario)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Conditions select exactly the variants of the group, and contain the labels that these variants
// share.
func TestConditions(t *testing.T) {
	var all []*results.Variant
	for _, stop := range []string{"close", "drain"} {
		for _, wait := range []string{"0s", "1s"} {
			for _, lag := range []string{"10ms", "1s"} {
				if stop == "close" || wait == "1s" {
					labels := reporttest.Labels("stop", stop, "kube.pre_stop", wait,
						"kube.endpoint_lag", lag)
					all = append(all, &results.Variant{Labels: labels})
				}
			}
		}
	}
	n := newNames(&results.Scenario{Variants: all})
	for members := range 1 << len(all) {
		var group []*results.Variant
		for i, v := range all {
			if members>>i&1 == 1 {
				group = append(group, v)
			}
		}
		if len(group) == 0 {
			continue
		}
		found := n.conditions(group, all)
		for i, v := range all {
			selected := false
			for _, c := range found {
				selected = selected || c.selects(v)
			}
			if want := members>>i&1 == 1; selected != want {
				t.Errorf("group %b: conditions %v select %s: %v", members, found, n.of(v), selected)
			}
		}
	}
	drained := n.conditions(all[len(all)-2:], all)
	want := []condition{{"stop": "drain", "kube.pre_stop": "1s"}}
	if diff := cmp.Diff(want, drained); diff != "" {
		t.Errorf("drained (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	labels := reporttest.Labels
	n := newNames(&results.Scenario{Variants: []*results.Variant{
		{Labels: labels("sockets", "shared", "stop", "handoff", "load.rate", "1000/s",
			"load.retry.max", "1", "kube.users", "one")},
		{Labels: labels("sockets", "reuseport", "stop", "close", "load.rate", "2000/s",
			"load.retry.max", "3", "server.users", "each", "kube.users", "one")},
	}})
	got := []string{n.of(n.scenario.Variants[0]), n.of(n.scenario.Variants[1]), n.sharedText()}
	want := []string{
		"shared · handoff · 1000/s · retry.max=1", "reuseport · close · 2000/s · retry.max=3 " +
			"· users=each",
		"All: kube.users=one",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	one := newNames(&results.Scenario{Variants: []*results.Variant{{Labels: labels("stop",
		"close")}}})
	if name, shared := one.of(one.scenario.Variants[0]), one.sharedText(); name != "stop=close" ||
		shared != "" {
		t.Errorf("a variant alone is called %q, and shares %q", name, shared)
	}
}

// The variants have the same order in every table.
func TestOrderOfRows(t *testing.T) {
	text := reporttest.Printed(t, Markdown, reporttest.FinishedRun())
	text, _, _ = strings.Cut(text, "## steady")
	var orders [][]string
	for _, table := range strings.Split(text, "\n\n") {
		var order []string
		for row := range strings.Lines(table) {
			name, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
			name = strings.TrimSpace(name)
			if strings.HasPrefix(row, "| ") && strings.Contains(name, " · ") &&
				!strings.Contains(name, "close") {
				order = append(order, name)
			}
		}
		if len(order) > 0 {
			orders = append(orders, order)
		}
	}
	if len(orders) < 4 {
		t.Fatalf("%d tables in\n%s", len(orders), text)
	}
	for _, order := range orders[1:] {
		if diff := cmp.Diff(orders[0], order); diff != "" {
			t.Errorf("(-first +this):\n%s", diff)
		}
	}
}

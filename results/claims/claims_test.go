package claims

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/resultstest"
	"reuseport-bench/results/summary"
)

// A line of claims.yaml fits on a screen. A text over several lines is read as one line.
func TestClaimsAreWrapped(t *testing.T) {
	const columns = 100
	number := 0
	for line := range strings.Lines(string(claimsYAML)) {
		number++
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
			t.Errorf("claims.yaml:%d: %d columns, want at most %d", number, n, columns)
		}
	}
	for _, r := range Rules() {
		for _, text := range slices.Concat([]string{
			r.Sentence, r.Short, r.ShortCondition, r.Fails, r.Conditional, r.Condition, r.Holds,
			r.Note,
		}, r.Advice.Holds, r.Advice.Fails, r.Advice.Conditional) {
			if text != strings.Join(strings.Fields(text), " ") {
				t.Errorf("%s: line breaks or stray blanks in %q", r.ID, text)
			}
		}
	}
}

// A predicate must be a boolean expression over the required figures.
func TestClaimRulesAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if r.ID == "" || seen[r.ID] {
			t.Errorf("id %q: empty or a duplicate", r.ID)
		}
		seen[r.ID] = true
		one := strings.HasSuffix(r.Sentence, ".") && !strings.Contains(r.Sentence, ". ")
		if r.Scenario == "" || r.Note == "" || !one {
			t.Errorf("%s: needs a scenario, a note and one sentence; has %q, %q, %q", r.ID,
				r.Scenario, r.Note, r.Sentence)
		}
		env := map[string]any{}
		for name, f := range r.Figures {
			if _, ok := metrics.Find(f.Metric); !ok {
				t.Errorf("%s: figure %s: no metric %q", r.ID, name, f.Metric)
			}
			if !f.Optional {
				env[name] = figure{}
			}
		}
		for _, predicate := range []string{r.Fails, r.Conditional, r.Holds} {
			if predicate == "" {
				continue
			}
			if _, err := expr.Compile(predicate, expr.Env(env), expr.AsBool()); err != nil {
				t.Errorf("%s: %s: %v", r.ID, predicate, err)
			}
		}
		// A claim is printed on a line of 100 columns, 19 of which its verdict takes.
		if n := len(r.Short) + len(": ") + len(r.ShortCondition); r.Short == "" || n > 81 {
			t.Errorf("%s: %q, %q: %d characters, want 1 to 81", r.ID, r.Short, r.ShortCondition, n)
		}
		for _, source := range r.Also {
			for name := range source.Labels {
				if _, ok := r.Figures[name]; !ok {
					t.Errorf("%s: by %s: no figure %s", r.ID, source.Scenario, name)
				}
			}
			for name := range env {
				if _, ok := source.Labels[name]; source.Labels != nil && !ok {
					t.Errorf("%s: by %s: figure %s is required", r.ID, source.Scenario, name)
				}
			}
		}
		if (r.Conditional == "") != (r.Condition == "") {
			t.Errorf("%s: conditional and condition need each other", r.ID)
		}
		if decidable := r.Holds != "" || r.Fails != ""; decidable != (len(env) > 0) {
			t.Errorf("%s: predicates and figures need each other", r.ID)
		}
	}
	for _, id := range []string{
		"instant-switch", "close-is-enough", "restart-without", "lb-coordination",
		"hand-on", "drain-first", "migrate-req", "far-clients", "go-shutdown",
		"own-queue-latency", "even-spread", "less-loss", "stalled-worker", "cold-start",
		"independent-of-control-plane", "k8s-endpoint-instant", "k8s-sigterm-after-isolation",
		"terminating-pod-serves",
		"k8s-not-needed", "readiness-probe", "pre-stop-outlasts-rules", "same-node-sharing",
		"pod-move-window", "rules-lag", "dns-ttl",
		"service-shields", "retry-masks",
	} {
		if !seen[id] {
			t.Errorf("claim %s is missing", id)
		}
		delete(seen, id)
	}
	if len(seen) > 0 {
		t.Errorf("claims unknown to this test: %q", slices.Collect(maps.Keys(seen)))
	}
}

// restarts returns a variant of ten trials with four restarts each. lost has the losses of the
// first restart of each trial; trials beyond its end lost nothing.
func restarts(labels map[string]string, lost ...int64) *results.Variant {
	v := &results.Variant{Labels: labels}
	for range 10 {
		v.Trials = append(v.Trials, resultstest.RestartTrial(0, 0, 0, 0))
	}
	for i, n := range lost {
		v.Trials[i] = resultstest.RestartTrial(n, 0, 0, 0)
	}
	return v
}

// runOf returns a summarized run of restart with these variants.
func runOf(variants ...*results.Variant) *results.Run {
	run := &results.Run{Scenarios: []*results.Scenario{
		{Name: "restart", MinValid: 4, Variants: variants},
	}}
	summary.FillRun(run)
	return run
}

func withLabel(v *results.Variant, key, value string) *results.Variant {
	v.Labels = maps.Clone(v.Labels)
	v.Labels[key] = value
	return v
}

// decided returns the verdict and evidence of one claim.
func decided(t *testing.T, id string, run *results.Run) (string, string) {
	t.Helper()
	claims := Decide(run, []string{"restart"})
	i := slices.IndexFunc(claims, func(c results.Claim) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no claim %s", id)
	}
	return claims[i].Verdict, strings.Join(claims[i].Evidence, "\n")
}

// Another scenario decides a claim if the claim's own scenario was not run or does not decide it.
func TestDecideByAnotherScenario(t *testing.T) {
	alone := map[string]string{"sockets": "exclusive", "stop": "bind-after-close", "workers": "1"}
	lossy := func() *results.Run { return runOf(restarts(alone, 5, 6, 5, 4, 5, 6, 5, 4, 5, 5)) }
	own := lossy()
	own.Scenarios[0].Name = "restart-without-reuseport"
	own.Scenarios[0].Variants[0] = restarts(alone)
	both := &results.Run{Scenarios: append(lossy().Scenarios, own.Scenarios...)}
	summary.FillRun(both)
	matrix := runOf(restarts(resultstest.CloseLabels(), 2, 1, 1, 2, 1, 1))
	matrix.Scenarios[0].Name = "restart-matrix"
	for _, test := range []struct {
		name, id string
		run      *results.Run
		verdict  string
		evidence string
	}{
		{"with labels of its own", "restart-without", lossy(), VerdictHolds,
			"by scenario restart\nat workers=1: sockets=exclusive stop=bind-after-close: "},
		{"with the same labels", "close-is-enough", matrix, VerdictFails, "by scenario restart-matrix\n"},
		{"its own comes first", "restart-without", both, VerdictFails, "at workers=1: "},
		{"it does not decide either", "restart-without", runOf(), VerdictNotTested,
			"run scenario restart-without-reuseport"},
	} {
		t.Run(test.name, func(t *testing.T) {
			claims := Decide(test.run, []string{"restart-without-reuseport", "restart"})
			i := slices.IndexFunc(claims, func(c results.Claim) bool { return c.ID == test.id })
			evidence := strings.Join(claims[i].Evidence, "\n")
			if claims[i].Verdict != test.verdict || !strings.HasPrefix(evidence, test.evidence) {
				t.Errorf("got %s, %s; want %s, %s…", claims[i].Verdict, evidence, test.verdict,
					test.evidence)
			}
		})
	}
}

func TestDecideClaims(t *testing.T) {
	lossy := func() *results.Variant {
		return restarts(resultstest.CloseLabels(), 2, 1, 1, 2, 1, 1)
	}
	late := func(n int64) *results.Variant {
		v := lossy()
		for _, trial := range v.Trials {
			trial.LostSentAfterClose = new(n)
		}
		return v
	}
	oneLate := restarts(resultstest.CloseLabels())
	oneLate.Trials[0].LostSentAfterClose = new(int64(1))
	slow := func(v *results.Variant) *results.Variant { return withLabel(v, "load.rate", "500/s") }
	fast := func(v *results.Variant) *results.Variant { return withLabel(v, "load.rate", "2000/s") }
	labels := resultstest.CloseLabels()
	few := func() *results.Variant {
		return &results.Variant{Labels: labels, Trials: restarts(nil, 1).Trials[:3]}
	}
	fewClean := &results.Variant{Labels: labels, Trials: restarts(nil).Trials[:7]}
	skipped := &results.Variant{Labels: labels, SkippedReason: new("needs CAP_BPF")}
	unclosed := restarts(labels)
	for _, trial := range unclosed.Trials {
		trial.LostSentAfterClose = nil
	}

	tests := []struct {
		name, id string
		run      *results.Run
		verdict  string
		evidence []string // texts that it contains
	}{
		{"queued connections are reset", "instant-switch", runOf(lossy()), VerdictConditional,
			[]string{
				"those already in the closing listener's queue are reset\n",
				"sockets=reuseport stop=close: lost_sent_after_close_per_restart none in 40 " +
					"restarts (≤ 0.075)",
				"; reset_at_close_per_restart 0.2 [",
				"; drop_window_ns 100µs [", "; takeover_ns 18ns [",
			}},
		{
			"nothing is lost", "instant-switch", runOf(restarts(resultstest.CloseLabels())),
			VerdictHolds, []string{"none in 40 restarts"},
		},
		{
			"later connections are lost", "instant-switch", runOf(late(1)), VerdictFails,
			[]string{"lost_sent_after_close_per_restart 0.25 ["},
		},
		{
			"one stray loss", "instant-switch", runOf(oneLate), VerdictNotTested,
			[]string{"the figures do not decide"},
		},
		{
			"too few restarts", "instant-switch", runOf(fewClean), VerdictNotTested,
			[]string{"the figures do not decide"},
		},
		{
			"closing not observed", "instant-switch", runOf(unclosed), VerdictNotTested,
			[]string{"has no lost_sent_after_close_per_restart"},
		},

		{"close loses", "close-is-enough", runOf(lossy(), restarts(resultstest.DrainLabels())),
			VerdictFails, []string{
				"sockets=reuseport stop=close: dropped_per_restart 0.2 [",
				"sockets=reuseport stop=drain: dropped_per_restart none in 40 restarts (≤ 0.075)",
			}},
		{"close loses nothing", "close-is-enough",
			runOf(restarts(labels), restarts(resultstest.DrainLabels(), 5)), VerdictHolds, []string{
				"stop=drain: dropped_per_restart 0.125 [",
			}},
		// A close that resets nine clients, in one restart of forty, disproves that closing is
		// enough; only its frequency is unknown.
		{
			"one cluster", "close-is-enough", runOf(restarts(resultstest.CloseLabels(), 9)),
			VerdictFails, []string{"0.225 ["},
		},
		{
			"too few valid", "close-is-enough", runOf(few()), VerdictNotTested,
			[]string{"stop=close has 3 valid trials of 3, and needs 4"},
		},
		{
			"skipped", "close-is-enough", runOf(skipped), VerdictNotTested,
			[]string{"stop=close was skipped: needs CAP_BPF"},
		},
		{"not in the matrix", "close-is-enough", runOf(restarts(resultstest.DrainLabels())),
			VerdictNotTested,
			[]string{"restart was run without a variant sockets=reuseport stop=close"}},
		{
			"not run", "close-is-enough", &results.Run{}, VerdictNotTested,
			[]string{"run scenario restart"},
		},
		{
			"no such scenario", "even-spread", runOf(lossy()), VerdictNotTested,
			[]string{"needs scenario distribution (not in this version)"},
		},
		{
			"no such scenario", "own-queue-latency", &results.Run{}, VerdictNotTested,
			[]string{"needs scenario unequal-work (not in this version)"},
		},

		{"same at both rates", "close-is-enough",
			runOf(slow(lossy()), fast(lossy())), VerdictFails,
			[]string{"at load.rate=500/s: sockets=reuseport stop=close", "at load.rate=2000/s: "}},
		{"another at each rate", "close-is-enough",
			runOf(slow(restarts(resultstest.CloseLabels())), fast(lossy())), VerdictConditional,
			[]string{"holds at load.rate=500/s, fails at load.rate=2000/s\n"}},
		{"only one rate decides", "close-is-enough",
			runOf(slow(few()), fast(lossy())), VerdictFails,
			[]string{
				"at load.rate=500/s: sockets=reuseport stop=close load.rate=500/s has 3 valid " +
					"trials",
			}},
	}
	for _, test := range tests {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			verdict, evidence := decided(t, test.id, test.run)
			if verdict != test.verdict {
				t.Errorf("got %q, want %q; evidence:\n%s", verdict, test.verdict, evidence)
			}
			for _, part := range test.evidence {
				if !strings.Contains(evidence, part) {
					t.Errorf("evidence lacks %q:\n%s", part, evidence)
				}
			}
		})
	}
}

// sharing returns a variant of same-node-sharing with three trials. accepted has the number of
// connections that each worker accepted, or -1 for a worker that could not bind its address.
func sharing(placement, users string, accepted ...int64) *results.Variant {
	v := &results.Variant{Labels: map[string]string{
		"kube.placement": placement, "kube.users": users,
	}}
	for range 3 {
		trial := &results.Trial{Valid: true, Attempts: 900, Served: 900, ControlPlane: "embedded"}
		for _, n := range accepted {
			w := results.Worker{Accepted: max(0, n)}
			if n < 0 {
				w.BindError = "EADDRINUSE"
			}
			trial.Workers = append(trial.Workers, w)
		}
		v.Trials = append(v.Trials, trial)
	}
	return v
}

// The numbers of connections that workers got decide the claims about containers that share a port.
func TestSameNodeSharing(t *testing.T) {
	alone, together := []int64{900, 0, 0}, []int64{290, 300, 310}
	others := []int64{900, -1, -1}
	skipped := func() *results.Variant {
		v := sharing("containers", "each", others...)
		v.Trials, v.SkippedReason = nil, new("needs root")
		return v
	}
	tests := []struct {
		name             string
		pods, containers []int64
		users            *results.Variant
		want, evidence   string
	}{
		{
			"as on Linux", alone, together, sharing("containers", "each", others...),
			VerdictConditional, "workers_listening 1",
		},
		{"without root", alone, together, skipped(), VerdictConditional, "share_min 0.322"},
		{"pods share too", together, together, skipped(), VerdictHolds, "workers_serving 3"},
		{"none share", alone, alone, skipped(), VerdictFails, "share_min 0"},
		{
			"one gets almost nothing", alone, []int64{500, 399, 1}, skipped(), VerdictNotTested,
			"the figures do not decide",
		},
	}
	for _, test := range tests {
		variants := []*results.Variant{
			sharing("one-node", "one", test.pods...),
			sharing("containers", "one", test.containers...),
			sharing("host-network", "one", test.containers...), test.users,
		}
		run := &results.Run{Scenarios: []*results.Scenario{
			{Name: "same-node-sharing", MinValid: 3, Variants: variants},
		}}
		summary.FillRun(run)
		verdict, evidence := decided(t, "same-node-sharing", run)
		if verdict != test.want || !strings.Contains(evidence, test.evidence) {
			t.Errorf("%s: %s, %s; want %s with %q", test.name, verdict, evidence, test.want,
				test.evidence)
		}
	}
}

func TestClaimWithoutRule(t *testing.T) {
	d := (&Rule{Scenario: "steady"}).decideBy(&results.Run{}, []string{"steady"})
	if want := untested("this version has no rule to decide it by"); !cmp.Equal(want, d,
		cmp.AllowUnexported(decision{})) {
		t.Errorf("got %+v, want %+v", d, want)
	}
}

// deletions returns a variant of pod-deletion: ten trials, in each of which four pods were deleted.
// The endpoints followed after lag, and SIGTERM came a millisecond before that for the first of
// them, and after it for the others.
func deletions(preStop string, lag time.Duration, first int) *results.Variant {
	v := &results.Variant{Labels: map[string]string{"kube.pre_stop": preStop}}
	for range 10 {
		tr := resultstest.RestartTrial(0, 0, 0, 0)
		for i := range tr.Steps {
			term := lag + time.Millisecond
			if i < first {
				term = lag - time.Millisecond
			}
			tr.Steps[i].Pods = []results.Pod{{
				DeletedNS: new(int64(0)), TermNS: new(int64(term)), EndpointsNS: new(int64(lag)),
				RulesNS: new(int64(lag + 20*time.Millisecond)),
			}}
		}
		v.Trials = append(v.Trials, tr)
	}
	return v
}

// Two claims are about the order of events in a real Kubernetes.
func TestKubernetesClaims(t *testing.T) {
	tests := []struct {
		name             string
		without, delayed *results.Variant
		instant, after   string
	}{
		{
			"as it is", deletions("0s", 9*time.Millisecond, 1),
			deletions("2s", 9*time.Millisecond, 0), VerdictFails, VerdictConditional,
		},
		{
			"endpoints at once, SIGTERM after them", deletions("0s", 500*time.Microsecond, 0),
			deletions("2s", 500*time.Microsecond, 0), VerdictHolds, VerdictHolds,
		},
		{
			"preStop does not help", deletions("0s", 9*time.Millisecond, 2),
			deletions("2s", 9*time.Millisecond, 2), VerdictFails, VerdictFails,
		},
	}
	for _, test := range tests {
		run := &results.Run{Scenarios: []*results.Scenario{{
			Name: "pod-deletion", MinValid: 4,
			Variants: []*results.Variant{test.without, test.delayed},
		}}}
		summary.FillRun(run)
		verdicts := map[string]string{}
		for _, c := range Decide(run, []string{"pod-deletion"}) {
			verdicts[c.ID] = c.Verdict
		}
		if got := verdicts["k8s-endpoint-instant"]; got != test.instant {
			t.Errorf("%s: at once: %s, want %s", test.name, got, test.instant)
		}
		if got := verdicts["k8s-sigterm-after-isolation"]; got != test.after {
			t.Errorf("%s: after isolation: %s, want %s", test.name, got, test.after)
		}
	}
}

// retried returns a variant of scenario retries with six trials. Each lost atMove attempts at the
// move, and before attempts before it.
func retried(labels map[string]string, atMove, before int64) *results.Variant {
	v := &results.Variant{Labels: labels}
	for range 6 {
		v.Trials = append(v.Trials, &results.Trial{
			Valid: true, Attempts: 1500, Lost: atMove + before, Dropped: atMove + before,
			Steps: []results.Step{{Do: "move-pod", Endpoints: 2, Lost: atMove}},
		})
	}
	summary.Fill(v)
	return v
}

func TestClaimOfRetries(t *testing.T) {
	labels := func(body, tries string) map[string]string {
		l := map[string]string{"load.body": body, "load.retry.max": tries}
		if tries == "3" {
			l["load.retry.backoff"], l["load.retry.jitter"] = "100ms", "full"
		}
		return l
	}
	for _, test := range []struct {
		name                    string
		none, waited, get, post int64
		want                    string
	}{
		{"hidden, except requests that must not be repeated", 80, 2, 0, 20, VerdictConditional},
		{"hidden for all requests", 80, 2, 0, 0, VerdictHolds},
		{"half hidden", 80, 40, 0, 20, VerdictFails},
		{"exactly at the limit", 80, 8, 0, 20, VerdictNotTested},
	} {
		variants := []*results.Variant{
			retried(labels("0", "0"), test.none, 20),
			retried(labels("0", "3"), test.waited, test.get),
			retried(labels("200", "3"), test.waited, test.post),
		}
		run := &results.Run{Scenarios: []*results.Scenario{
			{Name: "retries", MinValid: 3, Variants: variants},
		}}
		if got, evidence := decided(t, "retry-masks", run); got != test.want {
			t.Errorf("%s: %s, want %s:\n%s", test.name, got, test.want, evidence)
		}
	}
}

// The verdicts follow the ledger's order, and no evidence is empty.
func TestClaimsAreAllAnswered(t *testing.T) {
	rules := Rules()
	run := runOf(restarts(resultstest.CloseLabels(), 1))
	for i, c := range Decide(run, []string{"restart"}) {
		if c.ID != rules[i].ID || len(c.Evidence) == 0 || slices.Contains(c.Evidence, "") {
			t.Errorf("%d: %+v, want an answer on %s", i, c, rules[i].ID)
		}
	}
}

// A missing bound must not decide a claim. If it were read as 0, "hi < 1" would hold.
func TestFigureWithoutInterval(t *testing.T) {
	env := map[string]any{"f": newFigure(results.Summary{Center: 1, N: 2})}
	for _, predicate := range []string{
		"f.hi < 1", "f.hi > 1", "f.lo < 1", "f.lo > 1", "f.lo == 0",
	} {
		if evaluate(predicate, env) {
			t.Errorf("%s is true of a figure without an interval", predicate)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, test := range []struct {
		metric  string
		summary results.Summary
		want    string
	}{
		{
			metrics.Takeover,
			results.Summary{
				Center: 44_123_456, Lo: new(40_100_000.), Hi: new(1_234_567_890.), N: 8,
			},
			"takeover_ns 44.1ms [40.1ms, 1.23s] (8 trials)",
		},
		{metrics.Takeover, results.Summary{Center: 7, N: 2}, "takeover_ns 7ns (2 trials)"},
		{metrics.Gap, results.Summary{N: 8}, "gap_ns 0s (8 trials)"},
		{
			metrics.LostPerRestart, results.Summary{Center: 0.123456, N: 80},
			"lost_per_restart 0.123 (80 restarts)",
		},
		{
			metrics.LossWindow,
			results.Summary{Hi: new(18_750.), N: 80, Method: results.MethodRuleOfThree},
			"loss_window_ns none in 80 restarts (≤ 18.8µs)",
		},
	} {
		if got := describe(test.metric, test.summary); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// claims.yaml must not contain verdicts, because they are computed.
func TestNoVerdictInLedger(t *testing.T) {
	if line := regexp.MustCompile(`(?m)^\s*verdict\s*:.*$`).Find(claimsYAML); line != nil {
		t.Errorf("claims.yaml: %s", line)
	}
}

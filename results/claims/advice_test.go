package claims

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/servers/testkit"
)

// An adviceCase gives a claim a verdict that has advice, by a value for each of its figures. The
// figures that are not listed are somewhere between 40 and 60.
type adviceCase struct {
	id, verdict string
	figures     map[string][3]float64 // the figure and the ends of its interval
}

func adviceCases() []adviceCase {
	none := [3]float64{0, 0, 3. / 96}
	few, many := [3]float64{0.26, 0.2, 0.32}, [3]float64{19.4, 18.9, 19.9}
	zero := [3]float64{}
	slow, slower := [3]float64{1e9, 0.99e9, 1.01e9}, [3]float64{5e9, 4.9e9, 5.1e9}
	short, long := [3]float64{23e6, 22e6, 62e6}, [3]float64{65e6, 63e6, 103e6}
	low, high := [3]float64{0.012, 0.011, 0.013}, [3]float64{0.25, 0.24, 0.26}
	one, three := [3]float64{1, 1, 1}, [3]float64{3, 3, 3}
	type figures = map[string][3]float64
	return []adviceCase{
		{"close-is-enough", VerdictHolds, figures{"close": none}},
		{"close-is-enough", VerdictFails, figures{"close": few}},
		{"hand-on", VerdictHolds, figures{"handoff": none, "inherit": none}},
		{"hand-on", VerdictFails, figures{"handoff": few}},
		{"drain-first", VerdictHolds, figures{"drain": none, "close": few}},
		{"drain-first", VerdictFails, figures{"drain": many, "close": few}},
		{"migrate-req", VerdictHolds, figures{"migrate": none, "close": few}},
		{"migrate-req", VerdictFails, figures{"migrate": many, "close": few}},
		{"far-clients", VerdictHolds, figures{"drain": many, "migrate": none, "handoff": none}},
		{"far-clients", VerdictFails, figures{"drain": many, "migrate": many}},
		{"go-shutdown", VerdictHolds, figures{"shutdown": none}},
		{"go-shutdown", VerdictFails, figures{"shutdown": few, "drain": none}},
		{"restart-without", VerdictHolds, figures{
			"without": many, "gap": short, "reload": none, "held": none,
		}},
		{"restart-without", VerdictFails, figures{"without": none}},
		{"lb-coordination", VerdictHolds, figures{
			"reuseport": none, "unannounced": many, "announced": none,
		}},
		{"lb-coordination", VerdictFails, figures{"reuseport": many, "announced": none}},
		{"own-queue-latency", VerdictHolds, figures{"own": short, "shared": long}},
		{"own-queue-latency", VerdictFails, figures{"own": long, "shared": short, "steered": short}},
		{"even-spread", VerdictHolds, figures{
			"p": {0.5, 0.4, 0.6}, "share": {1.05, 1.03, 1.07}, "turns": {1, 1, 1.01},
		}},
		{"even-spread", VerdictFails, figures{
			"p": {1e-4, 1e-5, 1e-3}, "share": {1.5, 1.4, 1.6}, "turns": {1, 1, 1.01},
		}},
		{"less-loss", VerdictHolds, figures{"equal_total": low, "shared": high, "equal_each": low}},
		{"less-loss", VerdictFails, figures{"equal_total": high, "shared": low, "equal_each": high}},
		{"less-loss", VerdictConditional, figures{
			"equal_total": high, "shared": high, "equal_each": low,
		}},
		{"stalled-worker", VerdictHolds, figures{"hash": high, "shared": low, "steered": low}},
		{"stalled-worker", VerdictFails, figures{"hash": low, "shared": high}},
		{"k8s-endpoint-instant", VerdictFails, figures{"endpoints": short, "unrouted": slow}},
		{"cold-start", VerdictHolds, figures{"own": high, "shared": low}},
		{"cold-start", VerdictFails, figures{"own": low, "shared": high}},
		{"cold-start", VerdictConditional, figures{
			"own": high, "shared": low, "price": long, "shared_price": short, "steered": low,
		}},
		{"independent-of-control-plane", VerdictHolds, figures{
			"kernel": zero, "at_once": short, "slow": slow,
		}},
		{"independent-of-control-plane", VerdictConditional, figures{
			"kernel": {0, 0, 2e6}, "at_once": {2e6, 0, 6e6}, "slow": slow, "slower": slower,
			"needed": slow,
		}},
		{"readiness-probe", VerdictHolds, figures{"probe": few, "started": many}},
		{"readiness-probe", VerdictFails, figures{"probe": many, "started": few}},
		{"terminating-pod-serves", VerdictHolds, figures{
			"served": {1700, 1650, 1750}, "lost": zero, "without": {900, 850, 950},
		}},
		{"terminating-pod-serves", VerdictFails, figures{"lost": few, "without": many}},
		{"pre-stop-outlasts-rules", VerdictHolds, figures{"without": many, "delayed": zero, "needed": slow}},
		{"pre-stop-outlasts-rules", VerdictFails, figures{"without": many, "delayed": few, "needed": slow}},
		{"same-node-sharing", VerdictConditional, figures{
			"pods": one, "containers": three, "containers_least": {0.3, 0.3, 0.3},
			"host_network": three, "host_network_least": {0.3, 0.3, 0.3}, "users_listening": one,
		}},
		{"rules-lag", VerdictHolds, figures{
			"at_once": short, "seldom": slow, "lost": many, "lost_at_once": few,
		}},
		{"rules-lag", VerdictConditional, figures{
			"at_once": {1e5, 1e5, 2e5}, "seldom": slow, "lost": many, "lost_at_once": zero,
		}},
		{"dns-ttl", VerdictHolds, figures{"held": slow}},
		{"dns-ttl", VerdictFails, figures{"held": short}},
		{"service-shields", VerdictHolds, figures{"service": zero, "pod": many}},
		{"service-shields", VerdictConditional, figures{
			"service": few, "pod": many, "named": few,
		}},
		{"retry-masks", VerdictHolds, figures{
			"none": many, "waited": zero, "post": low, "get": low,
		}},
		{"retry-masks", VerdictFails, figures{"none": many, "waited": many}},
		{"retry-masks", VerdictConditional, figures{
			"none": many, "waited": zero, "once": few, "post": high, "get": low,
		}},
	}
}

// run returns a run of the claim's own scenario with the case's figures, measured in trials with a
// new connection for each request.
func (c adviceCase) run(rule Rule) *results.Run {
	s := &results.Scenario{Name: rule.Scenario, MinValid: 3, Trials: 6}
	for _, name := range slices.Sorted(maps.Keys(rule.Figures)) {
		f := rule.Figures[name]
		bounds, listed := c.figures[name]
		if !listed && f.Optional {
			continue
		}
		if !listed {
			bounds = [3]float64{50, 40, 60}
		}
		v := s.Variant(f.Labels)
		if v == nil {
			v = served(f.Labels, 1000)
			s.Variants = append(s.Variants, v)
		}
		v.Summary[f.Metric] = summaryOf(f.Metric, bounds)
	}
	return &results.Run{Scenarios: []*results.Scenario{s}}
}

// served returns a variant with six valid trials. In each, 1000 requests were served on so many
// connections, at 500 per second.
func served(labels map[string]string, connections int64) *results.Variant {
	v := &results.Variant{Labels: labels, Summary: map[string]results.Summary{
		metrics.Offered: {Center: 499, N: 6},
	}}
	for range 6 {
		v.Trials = append(v.Trials, &results.Trial{
			Valid: true, Attempts: 1000, Served: 1000,
			Workers: []results.Worker{{Accepted: connections, Served: 1000}},
		})
	}
	return v
}

// summaryOf returns a summary of 6 trials or 96 restarts.
func summaryOf(metric string, bounds [3]float64) results.Summary {
	s := results.Summary{Center: bounds[0], Lo: &bounds[1], Hi: &bounds[2], N: 6}
	if m, _ := metrics.Find(metric); m.OverRestarts {
		if s.N = 96; s.Center == 0 {
			s.Method = results.MethodRuleOfThree
		}
	}
	return s
}

func adviceOn(id string, run *results.Run) (verdict string, advice []string) {
	for _, c := range Decide(run, nil) {
		if c.ID == id {
			return c.Verdict, c.Advice
		}
	}
	return "", nil
}

// The golden file has every sentence of advice.
func TestGoldenAdvice(t *testing.T) {
	var golden strings.Builder
	found := map[string]bool{}
	cases := adviceCases()
	for _, rule := range Rules() {
		for _, c := range cases {
			if c.id != rule.ID {
				continue
			}
			verdict, advice := adviceOn(c.id, c.run(rule))
			if verdict != c.verdict || len(advice) != 1 {
				t.Errorf("%s: %s with advice %q, want %s with one", c.id, verdict, advice,
					c.verdict)
				continue
			}
			found[c.id+verdict] = true
			fmt.Fprintf(&golden, "%s %s\n  %s\n", c.id, verdict, advice[0])
			for _, sentence := range rule.Advice.after(verdict) {
				if start, _, _ := strings.Cut(sentence, "$"); !strings.Contains(advice[0], start) {
					t.Errorf("%s %s: no %q in %s", c.id, verdict, start, advice[0])
				}
			}
		}
		for _, verdict := range []string{VerdictHolds, VerdictFails, VerdictConditional} {
			if (len(rule.Advice.after(verdict)) > 0) != found[rule.ID+verdict] {
				t.Errorf("%s %s: advice and a case need each other", rule.ID, verdict)
			}
		}
	}
	testkit.Golden(t, "advice.txt", golden.String())
}

// Advice goes if a figure that it quotes was not measured or has no interval. The same holds for
// each further sentence.
func TestAdviceNeedsItsFigures(t *testing.T) {
	for _, rule := range Rules() {
		for _, c := range adviceCases() {
			if c.id != rule.ID {
				continue
			}
			for name := range c.figures {
				f := rule.Figures[name]
				for what, spoil := range map[string]func(*results.Variant){
					"missing": func(v *results.Variant) { delete(v.Summary, f.Metric) },
					"no interval": func(v *results.Variant) {
						s := v.Summary[f.Metric]
						s.Lo, s.Hi = nil, nil
						v.Summary[f.Metric] = s
					},
				} {
					run := c.run(rule)
					spoil(run.Scenarios[0].Variant(f.Labels))
					_, advice := adviceOn(c.id, run)
					for i, sentence := range rule.Advice.after(c.verdict) {
						if !strings.Contains(sentence, "${"+name) {
							continue
						}
						start, _, _ := strings.Cut(sentence, "$")
						if text := strings.Join(advice, " "); strings.Contains(text, start) ||
							i == 0 && text != "" {
							t.Errorf("%s %s: figure %s: %s, but advice is %q", c.id, c.verdict,
								name, what, text)
						}
					}
				}
			}
		}
	}
}

// There is no advice about a claim that is undecided or that the run does not touch.
func TestNoAdvice(t *testing.T) {
	wide := func(c adviceCase, rule Rule) *results.Run {
		run := c.run(rule)
		for _, v := range run.Scenarios[0].Variants {
			for metric, s := range v.Summary {
				s.Center, s.Lo, s.Hi = 1e3, new(0.), new(1e12)
				v.Summary[metric] = s
			}
		}
		return run
	}
	few := func(c adviceCase, rule Rule) *results.Run {
		run := c.run(rule)
		run.Scenarios[0].MinValid = 7
		return run
	}
	void := func(c adviceCase, rule Rule) *results.Run {
		run := c.run(rule)
		run.Scenarios[0].Void = "the baseline differs from itself"
		return run
	}
	other := func(c adviceCase, rule Rule) *results.Run {
		run := c.run(rule)
		run.Scenarios[0].Name = "another"
		return run
	}
	for _, rule := range Rules() {
		for _, c := range adviceCases() {
			if c.id != rule.ID {
				continue
			}
			runs := map[string]*results.Run{
				"too few trials": few(c, rule), "another scenario": other(c, rule),
				"void": void(c, rule),
			}
			// Some claims are decided without regard to intervals.
			if c.id != "even-spread" && c.id != "same-node-sharing" {
				runs["wide intervals"] = wide(c, rule)
			}
			for name, run := range runs {
				if verdict, advice := adviceOn(c.id, run); verdict != VerdictNotTested ||
					advice != nil {
					t.Errorf("%s, %s: %s with advice %q", c.id, name, verdict, advice)
				}
			}
		}
	}
}

// Of several settings with the same advice, the worst is quoted. Different advice is given side by
// side.
func TestAdviceAtSettings(t *testing.T) {
	at := func(connections string, bounds [3]float64, rate string) *results.Variant {
		opened := map[string]int64{"new": 1000, "reused": 4}[connections]
		v := served(map[string]string{
			"sockets": "reuseport", "stop": "close", "load.connections": connections,
			"load.rate": rate,
		}, opened)
		v.Summary[metrics.DroppedPerRestart] = summaryOf(metrics.DroppedPerRestart, bounds)
		return v
	}
	run := &results.Run{Scenarios: []*results.Scenario{{Name: "restart-matrix", MinValid: 3,
		Variants: []*results.Variant{
			at("reused", [3]float64{0, 0, 3. / 96}, "0.5*capacity"),
			at("new", [3]float64{0.1, 0.05, 0.2}, "1000/s"),
			at("new", [3]float64{0.3, 0.2, 0.4}, "2000/s"),
			at("new", [3]float64{0.2, 0.1, 0.3}, "3000/s"),
		}}}}
	run.Scenarios[0].Variants[2].Summary[metrics.Offered] = results.Summary{Center: 2001}
	verdict, advice := adviceOn("close-is-enough", run)
	want := []string{
		"Closing the listener on SIGTERM is enough at 0.5 of capacity on kept connections: that " +
			"lost none in 96 restarts (at most 3 in 96 lose any).",
		"Do not stop a worker by merely closing its SO_REUSEPORT listener: the kernel then " +
			"resets the connections that wait in its accept queue. That lost 0.30 [0.20, 0.40] " +
			"requests per restart at 2000 requests per second with a new connection each.",
	}
	if verdict != VerdictConditional || !slices.Equal(advice, want) {
		t.Errorf("%s, %q, want %q", verdict, advice, want)
	}
}

func TestLoadText(t *testing.T) {
	load := func(labels map[string]string, connections int64, offered, clients float64) string {
		v := served(labels, connections)
		delete(v.Summary, metrics.Offered)
		if offered > 0 {
			v.Summary[metrics.Offered] = results.Summary{Center: offered}
		}
		if clients > 0 {
			v.Summary[metrics.Concurrency] = results.Summary{Center: clients}
		}
		rule := FigureRule{Labels: map[string]string{"stop": "close"}}
		return loadText(map[string]measurement{"a": {rule, v, results.Summary{}}})
	}
	type labels = map[string]string
	for want, got := range map[string]string{
		"at 400 requests per second with a new connection each": load(labels{"stop": "close"},
			990, 398.7, 0),
		"with 67 clients on kept connections (workers=4)": load(labels{"workers": "4"}, 67, 0, 67),
		"at 0.9 of capacity with a new connection each": load(labels{"load.rate": "0.9*capacity",
			"load.connections": "new"}, 1000, 812, 0),
		"at 400 requests per second": load(nil, 700, 400, 0), // some were kept
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	differ := map[string]measurement{"a": {variant: served(nil, 1000)}, "b": {
		variant: served(nil, 1000),
	}}
	differ["b"].variant.Summary[metrics.Offered] = results.Summary{Center: 880}
	const want = "at 500 to 880 requests per second with a new connection each"
	if got := loadText(differ); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Sentences of advice name figures, labels and the load. The first says what to do, then ": ", then
// the figures: a screen has only the first part.
func TestAdviceIsSound(t *testing.T) {
	for _, r := range Rules() {
		sources := append([]*Rule{&r}, func() (all []*Rule) {
			for _, source := range r.Also {
				all = append(all, r.from(source))
			}
			return all
		}()...)
		for verdict, predicate := range map[string]string{
			VerdictHolds: r.Holds, VerdictFails: r.Fails, VerdictConditional: r.Conditional,
		} {
			for i, sentence := range r.Advice.after(verdict) {
				words := map[string]bool{}
				text := os.Expand(sentence, func(word string) string {
					words[word] = true
					return "x"
				})
				if predicate == "" || !strings.HasSuffix(text, ".") ||
					i == 0 && (!words["load"] || !strings.Contains(text, ": ") || len(words) < 2) {
					t.Errorf("%s %s: %s", r.ID, verdict, sentence)
				}
				delete(words, "load")
				for word := range words {
					name, key, isLabel := strings.Cut(word, ":")
					if _, ok := r.Figures[name]; !ok {
						t.Errorf("%s %s: no figure %s", r.ID, verdict, name)
					}
					for _, source := range sources {
						f, read := source.Figures[name]
						if _, ok := f.Labels[key]; isLabel && read && !ok {
							t.Errorf("%s %s by %s: %s has no label %s", r.ID, verdict,
								source.Scenario, name, key)
						}
					}
				}
			}
		}
	}
}

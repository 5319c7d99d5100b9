package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/unit"
	"reuseport-bench/servers/testkit"
)

// comparePrinter prints a comparison in one of the formats.
type comparePrinter func(io.Writer, *compare.Comparison) error

// textOf prints a comparison as text in lines of at most width columns.
func textOf(width int) comparePrinter {
	return func(w io.Writer, c *compare.Comparison) error {
		return CompareText(w, c,
			document.Look{Width: width})
	}
}

var comparePrinters = map[string]comparePrinter{
	"text": textOf(100), "markdown": CompareMarkdown, "html": CompareHTML, "json": CompareJSON,
	"github": CompareGitHub, "annotations": CompareAnnotations,
}

func compared(t *testing.T, p comparePrinter, c *compare.Comparison) string {
	t.Helper()
	var out bytes.Buffer
	if err := p(&out, c); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// blockRuns returns the n runs of one side, with one block each. A run starts every minute, in the
// order base, head, head, base.
func blockRuns(
	version string, n int, head bool, trial func(block int) map[string]*results.Trial,
) (runs []*results.Run) {
	for block := range n {
		turn := 2 * block
		if head != (block%2 == 1) {
			turn++
		}
		at := time.Date(2026, 3, 4, 5, turn, 0, 0, time.UTC)
		s := &results.Scenario{
			Name: "rolling-restart", File: "bench/scenarios/rolling-restart.yaml", SHA256: "5f",
			Trials: 1, MinValid: 1,
			Baseline: reporttest.Labels("sockets", "reuseport", "stop", "close"),
		}
		trials := trial(block)
		for _, stop := range []string{"close", "drain"} {
			s.Variants = append(s.Variants,
				&results.Variant{Labels: reporttest.Labels("sockets", "reuseport", "stop", stop),
					Trials: []*results.Trial{trials[stop]}})
		}
		runs = append(runs, &results.Run{
			Program: "reuseport-bench", Version: version, StartedAt: at,
			FinishedAt:  new(at.Add(50 * time.Second)),
			Environment: results.Environment{Kernel: "6.18.44", Go: "go1.26.8", CPUs: 2, LoadCPUs: []int{0}, ServerCPUs: []int{1}},
			Scenarios:   []*results.Scenario{s},
		})
	}
	return runs
}

// slower returns a trial whose response times are longer by percent. lost has the losses of its
// restarts.
func slower(block int, percent int64, lost ...int64) *results.Trial {
	t := reporttest.RestartTrial(block, lost...)
	p := t.ResponseNS
	h := results.NewHistogram()
	for _, x := range []*int64{&p.P50, &p.P90, &p.P99, &p.P999, &p.Max} {
		*x += *x * (percent*10 + int64(block%3)) / 1000
		h.Record(*x)
	}
	t.Histogram, t.Block = h.Encode(), 0
	return t
}

// comparison returns a comparison with everything that a report must handle: a change for the
// worse, one for the better, changes that do not matter, invalid trials, a variant with too few
// valid trials, and warnings.
func comparison(t *testing.T) *compare.Comparison {
	t.Helper()
	base := blockRuns("v0.1.0", 16, false, func(b int) map[string]*results.Trial {
		return map[string]*results.Trial{"close": slower(b, 0, 0, 1, 0, 0, 1),
			"drain": slower(b, 0, 0, 0, 0, 0, 0)}
	})
	head := blockRuns("v0.2.0", 16, true, func(b int) map[string]*results.Trial {
		trials := map[string]*results.Trial{"close": slower(b, 30, 0, 0, 0, 0, 0),
			"drain": slower(b, 1, 0, 0, 0, 0, 0)}
		if b > 2 {
			trials["drain"].Valid, trials["drain"].InvalidReasons = false,
				[]string{"residual is 1, not 0"}
		}
		return trials
	})
	head[0].Environment.Go = "go1.26.9"
	c, err := compare.Runs(base, head, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Base.Name, c.Head.Name = "old", "new"
	return c
}

func TestCompareGolden(t *testing.T) {
	c := comparison(t)
	for _, test := range []struct {
		file  string
		print comparePrinter
	}{
		{"compare.txt", textOf(100)},
		{"compare.md", CompareMarkdown},
		{"compare.html", CompareHTML},
		{"compare.json", CompareJSON},
		{"compare.github.md", CompareGitHub},
		{"compare.annotations.txt", CompareAnnotations},
	} {
		t.Run(test.file,
			func(t *testing.T) { testkit.Golden(t, test.file, compared(t, test.print, c)) })
	}
}

func TestCompareTextKeepsItsWord(t *testing.T) {
	out := compared(t, textOf(100), comparison(t))
	for _, want := range []string{
		"· response_p50 [µs]", "worse", "better", "  ?", "tell; +N:", "≤ 3/80", "16/16 → 3/16",
		"Go differs: go1.26.8 and go1.26.9",
		"gap_ns 1 ms, response_p50_ns 5 %,", "response_p99_ns 10 %. A change is named",
		"sockets=reuseport stop=drain has 3 pairs of valid trials, and 9 are needed",
		"In pairs, by turns, 16 blocks each; 8 comparisons in the family; old → new, " +
			"kernel 6.18.44.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Sides that were offered different rates are compared, and a note says that the rates differ.
func TestCompareUnlike(t *testing.T) {
	trials := func(rate float64) func(int) map[string]*results.Trial {
		return func(block int) map[string]*results.Trial {
			both := map[string]*results.Trial{"close": slower(block, 0, 1),
				"drain": slower(block, 0, 0)}
			both["close"].OfferedPerSecond = &rate
			return both
		}
	}
	c, err := compare.Runs(blockRuns("a", 9, false, trials(2000)),
		blockRuns("b", 9, true, trials(1800)), compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const why = "not like for like: it was offered 1800/s, its counterpart 2000/s"
	for _, format := range []string{"text", "markdown", "json"} {
		p := comparePrinters[format]
		if out := compared(t, p, c); !strings.Contains(strings.Join(strings.Fields(out), " "),
			why) {
			t.Errorf("%s: no %q in\n%s", format, why, out)
		}
	}
}

func TestCompareTextWidth(t *testing.T) {
	nasty := comparison(t)
	long := strings.Repeat("very-long-", 30)
	nasty.Base.Version, nasty.Warnings = long, []string{long + "\x1b[31m"}
	for _, v := range nasty.Scenarios[0].Variants {
		v.Labels[long] = "漢字漢字漢字" + long
		v.Base.ResponseNS.Max = 1 << 62
		for _, d := range v.Deltas {
			d.Base.Center, d.Head.Center, d.Change.Center = 123456789.123, 1e-300, -1e300
			d.Change.Warnings = append(d.Change.Warnings, long)
		}
	}
	for name, c := range map[string]*compare.Comparison{"plain": comparison(t), "nasty": nasty} {
		for _, width := range reporttest.Widths() {
			for number, line := range strings.Split(compared(t, textOf(width), c), "\n") {
				if w := document.DisplayWidth(line); w > width {
					t.Errorf("%s:%d: %d columns instead of %d: %s", name, number+1, w, width, line)
				}
				if strings.ContainsRune(line, '\x1b') {
					t.Errorf("%s:%d: control character: %q", name, number+1, line)
				}
			}
		}
	}
	few := results.Summary{Center: 2. / 3, N: 3, Lo: new(5.63e-6), Hi: new(9.61), TooFew: true}
	if got := spreadText(few, metrics.LostPerRestart, unit.Plain()); got != "2 in 3: too few" {
		t.Errorf("few restarts: got %q", got)
	}
	// If the table were split, one part of it would have metrics without figures.
	if n := strings.Count(compared(t, textOf(100), comparison(t)), "variant, metric"); n != 1 {
		t.Errorf("the table of deltas is in %d parts", n)
	}
}

func TestCompareJSONIsReadBack(t *testing.T) {
	want := comparison(t)
	got := &compare.Comparison{}
	if err := json.Unmarshal([]byte(compared(t, CompareJSON, want)), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(compared(t, textOf(100), want), compared(t, textOf(100), got)); diff != "" {
		t.Errorf("(-made +read):\n%s", diff)
	}
}

// A comparison with almost no content is printed without a panic.
func TestEveryCompareFormatOfLittle(t *testing.T) {
	for name, c := range map[string]*compare.Comparison{
		"nothing":  {},
		"scenario": {Scenarios: []*compare.ScenarioComparison{{Name: "s"}}},
		"bare variant": {Scenarios: []*compare.ScenarioComparison{{Name: "s",
			Variants: []*compare.VariantComparison{{}}}}},
		"bare delta": {Scenarios: []*compare.ScenarioComparison{{Name: "s",
			Variants: []*compare.VariantComparison{{Deltas: []*results.Delta{{}}}}}}},
	} {
		for format, p := range comparePrinters {
			t.Run(name+" "+format, func(t *testing.T) {
				if out := compared(t, p, c); out == "" && format != "annotations" {
					t.Error("printed nothing")
				}
			})
		}
	}
}

func TestCompareWriteErrors(t *testing.T) {
	for format, p := range comparePrinters {
		whole := len(compared(t, p, comparison(t)))
		for _, room := range []int{0, 1, whole / 2, whole - 1} {
			w := reporttest.Failing(room)
			if err := p(&w, comparison(t)); err == nil {
				t.Errorf("%s: no error although only %d of %d bytes were written", format, room,
					whole)
			}
		}
	}
}

func TestChangeText(t *testing.T) {
	delta := func(scale string, center float64, interval ...float64) *results.Delta {
		d := &results.Delta{Scale: scale, Change: results.Summary{Center: center}}
		if len(interval) == 2 {
			d.Change.Lo, d.Change.Hi = &interval[0], &interval[1]
		}
		return d
	}
	one, ms := unit.Plain(), unit.Scale{Name: "ms", Factor: 1e6}
	for _, test := range []struct {
		d    *results.Delta
		in   unit.Scale
		want string
	}{
		{delta(results.ScaleRatio, 1.123, 1.05, 1.2), ms, "+12.3 [+5.0, +20.0] %"},
		{delta(results.ScaleRatio, 0.5, 0.25, 1), one, "-50.0 [-75.0, 0.0] %"},
		{delta(results.ScaleRatio, 25), one, "+2400 %"},
		{delta(results.ScaleRatio, 1.0004, 0.9996, 1.0004), one, "0.0 [0.0, 0.0] %"},
		{delta(results.ScaleDifference, -2.5e6, -3e6, 1e6), ms, "-2.50 [-3.00, +1.00]"},
		{delta(results.ScaleDifference, 0, -0.1, 0.1), one, "0 [-0.100, +0.100]"},
	} {
		if got := changeText(test.d, test.in); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// The distance is that to the farther end: the nearer end would make the figure look too precise.
func TestSpreadText(t *testing.T) {
	for _, test := range []struct {
		s    results.Summary
		want string
	}{
		{results.Summary{N: 7, Lo: new(0.), Hi: new(4.29e-4), Method: results.MethodRuleOfThree}, "≤ 0.000429"},
		{results.Summary{Center: 200, Lo: new(190.), Hi: new(240.)}, "200 ± 20 %"},
		{results.Summary{Center: 200, Lo: new(100.), Hi: new(240.)}, "200 ± 50 %"},
		{results.Summary{Center: 0, Lo: new(0.), Hi: new(0.5)}, "0 ± 0.5"},
		{results.Summary{Center: 200}, "200"},
		{results.Summary{Center: 200, Lo: new(0.), Hi: new(400.)}, "200 ± 100 %"},
		// The distance is 1341 % of the figure, so it is not written as a percentage.
		{results.Summary{Center: 0.667, Lo: new(5.63e-6), Hi: new(9.61)}, "0.667 ± 8.9"},
	} {
		if got := spreadText(test.s, metrics.LostPerAttempt, unit.Plain()); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	none := results.Summary{N: 40, Lo: new(0.), Hi: new(0.075), Method: results.MethodRuleOfThree}
	if got := spreadText(none, metrics.LostPerRestart, unit.Plain()); got != "≤ 3/40" {
		t.Errorf("restarts: got %q, want ≤ 3/40", got)
	}
}

// If a comparison is too large for a job summary, whole scenarios are left out, first those that
// need no attention.
func TestCompareGitHubLimit(t *testing.T) {
	c := comparison(t)
	c.Scenarios[0].Void = nil
	quiet := compare.ScenarioComparison{Warnings: slices.Repeat([]string{strings.Repeat("w ", 500)},
		60)}
	for i := range 30 {
		s := quiet
		s.Name = fmt.Sprintf("quiet-%02d", i)
		c.Scenarios = append(c.Scenarios, &s)
	}
	out := compared(t, CompareGitHub, c)
	if len(out) > maxSummary || len(out) < maxSummary/2 {
		t.Errorf("%d bytes", len(out))
	}
	for want, there := range map[string]bool{
		"\n## rolling-restart\n": true, "\n## quiet-00\n": true, "\n## quiet-29\n": false,
		"left out, because a job summary holds 1 MiB: quiet-29, quiet-28": true,
	} {
		if strings.Contains(out, want) != there {
			t.Errorf("%q there: got %t, want %t", want, !there, there)
		}
	}
}

// The first sentences describe what changed, by how much, and which changes the intervals rule out.
func TestChanges(t *testing.T) {
	delta := func(metric, outcome, scale string, center, lo, hi float64) *results.Delta {
		return &results.Delta{Metric: metric, Outcome: outcome, Scale: scale,
			Change: results.Summary{Center: center, Lo: &lo, Hi: &hi}}
	}
	slower := func(x float64) *results.Delta {
		return delta(metrics.ResponseP50, results.DeltaWorse, results.ScaleRatio, x, x, x)
	}
	same := delta(metrics.ResponseP99, results.DeltaNone, results.ScaleRatio, 1, 0.88, 1.05)
	gap := delta(metrics.Gap, results.DeltaNone, results.ScaleDifference, 0, -3e6, 2e6)
	open := &results.Delta{Metric: metrics.Gap, Outcome: results.DeltaNone,
		Scale: results.ScaleDifference}
	fewer := delta(metrics.DroppedPerRestart, results.DeltaBetter, results.ScaleDifference,
		-0.5, -0.7, -0.3)
	other := delta(metrics.ResponseP50, results.DeltaDiffers, results.ScaleRatio, 1.1, 1.1, 1.1)
	const rest = " The 95 % intervals exclude changes of more than 12 % in response_p99"
	for name, test := range map[string]struct {
		close, drain []*results.Delta
		void         bool
		want         string
	}{
		"worse, in one variant": {[]*results.Delta{slower(1.2), same}, nil, false,
			"Of 2 figures, 1 got worse in new: response_p50 +20.0 % (close). " +
				"The other one shows no difference." + rest + "."},
		"worse, in several": {[]*results.Delta{slower(1.2), same}, []*results.Delta{slower(1.3)},
			false, "Of 3 figures, 2 got worse in new: response_p50 +20.0 % to +30.0 % in " +
				"2 variants. The other one shows no difference." + rest + "."},
		"better, and different": {[]*results.Delta{fewer, other}, nil, false,
			"Of 2 figures, none got worse in new; 1 got better: dropped_per_restart -0.500 " +
				"(close); 1 changed: response_p50 +10.0 % (close)."},
		"no difference": {[]*results.Delta{same, gap}, []*results.Delta{open}, false,
			"No difference between old and new is shown in 3 figures." + rest +
				" and 3 ms in gap. 1 has no such limit: too few trials, or losses in " +
				"clusters."},
		"too few trials": {[]*results.Delta{open}, nil, false, "No difference between old and " +
			"new is shown in 1 figure. No change is excluded: too few trials, or losses in " +
			"clusters."},
		"void": {[]*results.Delta{slower(1.2)}, nil, true, "Void, so nothing follows: restart."},
	} {
		s := &compare.ScenarioComparison{Name: "restart", Variants: []*compare.VariantComparison{
			{Labels: reporttest.Labels("stop", "close"), Deltas: test.close},
			{Labels: reporttest.Labels("stop", "drain"), Deltas: test.drain},
		}}
		if test.void {
			s.Void = []string{"the baseline differs from itself"}
		}
		c := &compare.Comparison{Base: compare.Side{Name: "old"}, Head: compare.Side{Name: "new"},
			Scenarios: []*compare.ScenarioComparison{s}}
		if diff := cmp.Diff(test.want, changes(c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

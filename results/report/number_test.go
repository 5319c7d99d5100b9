package report

import (
	"encoding/json"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

func TestVerdictMark(t *testing.T) {
	for want, d := range map[string]*results.Delta{
		"=":    {Verdict: results.VerdictSame},
		"?":    {Verdict: results.VerdictUnknown},
		"? +7": {Verdict: results.VerdictUnknown, MoreTrials: new(7)},
		"":     {Verdict: results.DeltaWorse},
	} {
		if got := verdictMark(d); got != want {
			t.Errorf("%+v: got %q, want %q", d, got, want)
		}
	}
}

func TestShareOfCapacity(t *testing.T) {
	out := reporttest.Printed(t, Markdown, reporttest.SharesRun())
	for _, want := range []string{
		"| loop | 8/8 | 529ᵃ | 882 |", // has a note
		"| http | 8/8 | 264 | 440 |",  // the occupancy is unknown
		"offered 0.6 of capacity, the workers were occupied 0.44 of the time",
		"| httpᵃ |",
		"not like for like: it was offered 264/s, its counterpart 529/s",
		"Changes that matter are, at least: p50 5 %",
		"=: the same",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// No format for people prints a number in exponent form, a share above 1, or a plural noun after
// "1".
func TestEveryFormatReadsWell(t *testing.T) {
	reports := map[string]string{}
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "interrupted": reporttest.InterruptedRun(),
		"small": reporttest.SmallRun(), "nasty": reporttest.NastyRun(),
		"gated": reporttest.GatedRun(), "shares": reporttest.SharesRun(),
		"few":   reporttest.FewRun(),
		"loops": reporttest.LoopsRun(),
	} {
		for format, p := range map[string]printer{
			"text": Text, "markdown": Markdown, "html": HTML, "github": GitHub,
			"annotations": Annotations, "ledger": Ledger, "losses": Losses, "claims": Claims,
		} {
			reports[name+" as "+format] = reporttest.Printed(t, p, run)
		}
	}
	little := comparison(t)
	for _, v := range little.Scenarios[0].Variants {
		for _, d := range v.Deltas {
			d.Change.N, d.Threshold, d.PAdjusted = 1, 1e-7, 1e-9
			d.Base = results.Summary{Center: 2. / 3, N: 3, Lo: new(5.63e-6), Hi: new(9.61)}
		}
	}
	for name, c := range map[string]*compare.Comparison{"comparison": comparison(t),
		"comparison of little": little} {
		for format, p := range comparePrinters {
			if format != "json" {
				reports[name+" as "+format] = compared(t, p, c)
			}
		}
	}
	for name, text := range reports {
		for _, fault := range reporttest.Faults(text) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	if few := reports["few as text"]; !strings.Contains(few, "0 in 2: too few") ||
		!strings.Contains(few, "4 in 2: too few") || !strings.Contains(few, "p99 150 ms") {
		t.Errorf("the run of few has no few:\n%s", few)
	}
}

// Formats for programs print every digit.
func TestMachineFormatsKeepPrecision(t *testing.T) {
	run := reporttest.SharesRun()
	run.Scenarios[0].Variants[0].Trials[0].Occupancy.Load = 0.1234567890123456
	summary.FillRun(run)
	for format, p := range map[string]printer{"json": JSON} {
		if out := reporttest.Printed(t, p, run); !strings.Contains(out, "0.1234567890123456") {
			t.Errorf("%s lost digits", format)
		}
	}
	var c compare.Comparison
	if err := json.Unmarshal([]byte(compared(t, CompareJSON, comparison(t))), &c); err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Scenarios[0].Variants {
		for _, d := range v.Deltas {
			if d.Verdict == "" || (d.Outcome == results.DeltaNone) == (d.Verdict == d.Outcome) {
				t.Errorf("%s: outcome %q, verdict %q", d.Metric, d.Outcome, d.Verdict)
			}
		}
	}
}

func TestFigure(t *testing.T) {
	ms, one := unit.Scale{Name: "ms", Factor: 1e6}, unit.Plain()
	none := results.Summary{Lo: new(0.), Hi: new(0.0375), N: 80, Method: results.MethodRuleOfThree}
	some := results.Summary{Center: 2.5e6, Lo: new(2e6), Hi: new(3e6)}
	for _, test := range []struct {
		name     string
		summary  results.Summary
		of       unit.Unit
		in       unit.Scale
		interval bool
		want     string
	}{
		{"with interval", some, unit.Nanoseconds, ms, true, "2.5 [2.0, 3.0]"},
		{"narrow interval", results.Summary{Center: 2.5e6, Lo: new(2.45e6), Hi: new(2.55e6)},
			unit.Nanoseconds, ms, true, "2.50 [2.45, 2.55]"},
		{"an end near 0", results.Summary{Center: 2. / 3, Lo: new(5.63e-6), Hi: new(9.61)},
			unit.PerRestart, one, true, "0.67 [0, 9.6]"},
		{"an end below", results.Summary{Center: 0.0219, Lo: new(0.00879), Hi: new(0.0451)},
			unit.PerRestart, one, true, "0.022 [0.0088, 0.045]"},
		{"without", some, unit.Nanoseconds, ms, false, "2.50"},
		{"too few trials", results.Summary{Center: 2.5e6}, unit.Nanoseconds, ms, true, "2.50"},
		{"no loss", none, unit.PerRestart, one, true, "≤ 3/80"},
		{"no loss, as a rate", none, unit.PerAttempt, one, true, "≤ 0.0375"},
		{"tiny p", results.Summary{Center: 1e-9}, unit.Probability, one, false, "< 0.001"},
		{"none in few restarts", results.Summary{N: 2, Lo: new(0.), Hi: new(1.5), Method: results.MethodRuleOfThree, TooFew: true}, unit.PerRestart, one, true, "0 in 2: too few"},
		{"some in few", results.Summary{Center: 4. / 3, N: 3, Lo: new(0.1), Hi: new(9.), TooFew: true}, unit.PerRestart, one, true, "4 in 3: too few"},
		{"few, as a time", results.Summary{Center: 2.5e6, N: 3, TooFew: true}, unit.Nanoseconds, ms, true, "too few"},
		{"a small share", results.Summary{Lo: new(0.), Hi: new(6.25e-5), Method: results.MethodRuleOfThree}, unit.PerAttempt, one, true, "≤ 0.0000625"},
		{"p", results.Summary{Center: 0.03}, unit.Probability, one, false, "0.0300"},
	} {
		if got := figure(test.summary, test.of, test.in, test.interval); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestCPUSet(t *testing.T) {
	for _, test := range []struct {
		cpus []int
		want string
	}{
		{nil, "any"}, {[]int{3}, "3"}, {[]int{0, 1, 2, 5, 7, 8}, "0-2,5,7-8"}, {[]int{2, 0, 1, 1}, "0-2"},
	} {
		if got := cpuSet(test.cpus); got != test.want {
			t.Errorf("%v: got %s, want %s", test.cpus, got, test.want)
		}
	}
}

// If a ledger does not balance, the report says so.
func TestBalance(t *testing.T) {
	trial := &results.Trial{Attempts: 10, Served: 7, LostByCause: map[string]int64{"refused": 2,
		"client": 0}, Residual: 1}
	if got, want := balance([]*results.Trial{trial}), "1 valid trial: 10 attempts ≠ 7 served + 2 "+
		"refused; residual 1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	trial.Served = 8
	if got, want := balance([]*results.Trial{trial, trial}), "2 valid trials: 20 attempts = 16 "+
		"served + 4 refused; residual 2"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

package report

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/summary"
)

func TestVerdictMark(t *testing.T) {
	for want, d := range map[string]*results.Delta{
		"=":    {Verdict: results.VerdictSame},
		"?":    {Verdict: results.VerdictUnknown},
		"? +7": {Verdict: results.VerdictUnknown, MoreTrials: ptr(7)},
		"":     {Verdict: results.DeltaWorse},
	} {
		if got := verdictMark(d); got != want {
			t.Errorf("%+v: got %q, want %q", d, got, want)
		}
	}
}

// sharesRun is of variants that were offered 0.6 of capacities that differ: what they were offered
// differs, too, and the first, of which the occupancy is known, was less occupied than that.
func sharesRun() *results.Run {
	variant := func(kind string, capacity float64, load float64) *results.Variant {
		v := &results.Variant{Labels: labels("server.kind", kind), CapacityPerSecond: &capacity}
		for i := range 8 {
			trial := restartTrial(i)
			trial.OfferedPerSecond, trial.CapacityPerSecond = 0.6*capacity, &capacity
			trial.ResponseNS.Max += int64(i%2) * 12e6 // a wide interval
			if load > 0 {
				trial.Occupancy = &results.Occupancy{MeanNS: 2e6, SDNS: 1e6, Load: load, WaitNS: 1e6, PredictedWaitNS: ptr[int64](9e5)}
			}
			v.Trials = append(v.Trials, trial)
		}
		return v
	}
	run := &results.Run{
		SchemaVersion: results.SchemaVersion, Program: "reuseport-bench", StartedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Environment: results.Environment{CPUs: 1},
		Scenarios: []*results.Scenario{{
			Name: "shares", MinValid: 1, Trials: 8, Baseline: labels("server.kind", "loop"),
			Variants: []*results.Variant{variant("loop", 882, 0.436), variant("http", 440, 0)},
		}},
	}
	summary.FillRun(run)
	return run
}

func TestShareOfCapacity(t *testing.T) {
	out := printed(t, Markdown, sharesRun())
	for _, want := range []string{
		"| server.kind=loop | 8/8 | 529¹ | 882 |", // noted
		"| server.kind=http | 8/8 | 264 | 440 |",  // nothing is known of its occupancy
		"offered 0.6 of capacity, the workers were occupied 0.44 of the time",
		"| server.kind=http¹ |",
		"not like for like: it was offered 264/s, and what it is compared with 529/s",
		"Changes that matter are, at least: p50 5 %",
		"=: the same",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// fewRun has what one trial with two restarts, and 150 ms of schedule lag, make of a report.
func fewRun() *results.Run {
	run := finishedRun()
	s := run.Scenarios[0]
	for i, v := range s.Variants {
		if v.SkippedReason == nil {
			v.Trials = []*results.Trial{restartTrial(0, int64(2*i), 0)}
			v.Trials[0].ScheduleLagP99NS, v.Trials[0].StepsLate, v.Trials[0].Steps[0].Censored = 150e6, 1, true
			v.Trials[0].Lost++
		}
	}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

var (
	exponent = regexp.MustCompile(`[0-9]e[-+][0-9]`)
	bound    = regexp.MustCompile(`≤ ([0-9]+)/([0-9]+)`)
	percent  = regexp.MustCompile(`± ([0-9]+) %`)
	// one counts nouns that reports count; "1 of 10 trials" is right.
	one = regexp.MustCompile(`(^|[^0-9.,:/\]])\b1 ((more|valid|planned|lost) )*(trials|restarts|steps|attempts|blocks|pairs|variants|gates|comparisons|runs|events|` +
		`counts|reasons|scenarios|CPUs|workers|connections)\b`)
)

// No format for people has a number in exponent form, a share above 1 or one of many.
func TestEveryFormatReadsWell(t *testing.T) {
	reports := map[string]string{}
	for name, run := range map[string]*results.Run{
		"finished": finishedRun(), "interrupted": interruptedRun(), "small": smallRun(), "nasty": nastyRun(), "gated": gatedRun(), "shares": sharesRun(), "few": fewRun(),
	} {
		for format, p := range map[string]printer{
			"text": Text, "markdown": Markdown, "html": HTML, "github": GitHub, "annotations": Annotations, "junit": JUnit, "ledger": Ledger, "losses": Losses, "claims": claimsOnly,
		} {
			reports[name+" as "+format] = printed(t, p, run)
		}
	}
	little := comparison(t)
	for _, v := range little.Scenarios[0].Variants {
		for _, d := range v.Deltas {
			d.Change.N, d.Threshold, d.PAdjusted = 1, 1e-7, 1e-9
			d.Base = results.Summary{Center: 2. / 3, N: 3, Lo: ptr(5.63e-6), Hi: ptr(9.61)}
		}
	}
	for name, c := range map[string]*compare.Comparison{"comparison": comparison(t), "comparison of little": little} {
		for format, p := range comparePrinters {
			if format != "json" {
				reports[name+" as "+format] = compared(t, p, c)
			}
		}
	}
	for name, text := range reports {
		text = strings.Join(strings.Fields(text), " ")
		around := func(at []int) string { return text[max(0, at[0]-30):min(len(text), at[1]+30)] }
		for _, found := range []*regexp.Regexp{exponent, one} {
			if at := found.FindStringIndex(text); at != nil {
				t.Errorf("%s: …%s…", name, around(at))
			}
		}
		for _, match := range bound.FindAllStringSubmatch(text, -1) {
			if n, err := strconv.Atoi(match[2]); err != nil || match[1] != "3" || n < 10 {
				t.Errorf("%s: %s", name, match[0])
			}
		}
		for _, match := range percent.FindAllStringSubmatch(text, -1) {
			if len(match[1]) > 2 && match[1] != "100" {
				t.Errorf("%s: %s", name, match[0])
			}
		}
	}
	if few := reports["few as text"]; !strings.Contains(few, "0 in 2: too few") || !strings.Contains(few, "4 in 2: too few") || !strings.Contains(few, "p99 150 ms") {
		t.Errorf("the run of few has no few:\n%s", few)
	}
}

// Programs get every digit.
func TestMachineFormatsKeepPrecision(t *testing.T) {
	run := sharesRun()
	run.Scenarios[0].Variants[0].Trials[0].Occupancy.Load = 0.1234567890123456
	summary.FillRun(run)
	for format, p := range map[string]printer{"csv": CSV, "benchfmt": Benchfmt, "json": JSON} {
		if out := printed(t, p, run); !strings.Contains(out, "0.1234567890123456") {
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

package report

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/summary"
	"reuseport-bench/servers/testkit"
)

// brief returns the screen of a run.
func brief(t *testing.T, run *results.Run, opts Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Brief(&out, run, opts); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBriefGolden(t *testing.T) {
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "gated": reporttest.GatedRun(),
		"stopped": reporttest.StoppedRun(), "interrupted": reporttest.InterruptedRun(),
		"loops": reporttest.LoopsRun(), "few": reporttest.FewRun(),
	} {
		for _, width := range []int{80, 100, 160} {
			if width != 100 && name != "finished" {
				continue
			}
			file := fmt.Sprintf("%s.brief.%d.txt", name, width)
			t.Run(file, func(t *testing.T) {
				testkit.Golden(t, file, brief(t, run, Options{
					Width: width, Path: "results/runs/x", Page: "results/runs/x/report.html",
				}))
			})
		}
	}
}

// The advice of stored runs is in a golden file. Each run has advice about what it measured.
func TestStoredAdvice(t *testing.T) {
	var golden strings.Builder
	for _, name := range []string{"ci", "restart-matrix-1000", "endpoint-lag", "rolling-update"} {
		run, err := stored.Load(filepath.Join("..", "baseline", name))
		if err != nil {
			t.Fatal(err)
		}
		run.Claims = claims.Decide(run, nil)
		fmt.Fprintf(&golden, "%s\n  %s\n", name, strings.Join(adviceOf(run), "\n  "))
	}
	testkit.Golden(t, "advice.txt", golden.String())
}

// A screen has all advice in short, or a line that says where it is. Without advice it has neither.
func TestBriefAdvice(t *testing.T) {
	const pointer, advice = "\ntables, advice  reuseport-bench report --full\n", "advice          "
	screen := func(texts ...string) string {
		run := reporttest.FinishedRun()
		run.Scenarios = run.Scenarios[1:]
		for i := range run.Claims {
			run.Claims[i].Advice = nil
		}
		run.Claims[0].Advice = texts
		out := brief(t, run, Options{})
		if n := strings.Count(out, "\n"); n > ScreenLines {
			t.Errorf("%d lines of %d:\n%s", n, ScreenLines, out)
		}
		return out
	}
	many := slices.Repeat([]string{"Do this: it lost 1 [0, 2] of them."}, 30)
	for name, test := range map[string]struct {
		out           string
		short, points bool
	}{
		"none":     {screen(), false, false},
		"some":     {screen(many[:3]...), true, true},
		"too much": {screen(many...), false, true},
	} {
		short := strings.Count(test.out, advice+"Do this.\n")
		if (short == 3) != test.short || !test.short && strings.Contains(test.out, advice) {
			t.Errorf("%s: %d lines of advice in\n%s", name, short, test.out)
		}
		if strings.Contains(test.out, pointer) != test.points {
			t.Errorf("%s: pointer: want %t in\n%s", name, test.points, test.out)
		}
	}
}

// The tested claims have a line each, or one line with their number if there is no room.
func TestBriefClaims(t *testing.T) {
	l := claimLines{others: 7, tested: []line{
		{"claim holds", "a"}, {"claim fails", "b"}, {"claim in part", "c"}, {"claim holds", "d"},
		{"claim conditional", "e"}, {"claim undecided", "f"},
	}}
	if got := l.first(6); len(got) != 7 || got[5] != l.tested[5] || got[6].word != "claims" {
		t.Errorf("with room: %q", got)
	}
	want := []line{{"claims",
		"2 hold, 2 in part, 1 fails, 1 undecided, 7 not tested: reuseport-bench claims"}}
	if diff := cmp.Diff(l.first(5), want, cmp.AllowUnexported(line{})); diff != "" {
		t.Errorf("without room (-got +want):\n%s", diff)
	}
}

// storedRuns returns the runs that are stored in the repository.
func storedRuns(t *testing.T) map[string]*results.Run {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*/run.json.gz", "*/*/run.json.gz"} {
		some, err := filepath.Glob(filepath.Join("..", "baseline", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	if len(files) < 20 {
		t.Fatalf("%d stored runs were found, and there are more", len(files))
	}
	runs := map[string]*results.Run{}
	for _, file := range files {
		run, err := stored.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		runs[file] = run
	}
	return runs
}

// A trial with several reasons is counted once.
func TestInvalidLines(t *testing.T) {
	s := reporttest.FinishedRun().Scenarios[0]
	s.Variants = s.Variants[:1]
	trials := s.Variants[0].Trials[:6]
	s.Variants[0].Trials = trials
	for i, reasons := range [][]string{
		{"late (by 3 ms)", "busy"}, {"late (by 4 ms)", "busy"}, {"late"}, {"busy", "dead"}, nil,
		{"odd"},
	} {
		trials[i].Valid, trials[i].InvalidReasons = reasons == nil, reasons
	}
	var got []string
	for _, line := range invalidLines(s, "", 9) {
		if line.word == "invalid" {
			got = append(got, line.text)
		}
	}
	want := []string{"3 of 6 trials: late", "1 of 6 trials, and 2 of these: busy",
		"1 of these also: dead", "1 of 6 trials: odd"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// The screen of every stored run has at most 40 lines, at any width of 80 columns or more. It has a
// sentence for each scenario that decided something, and no character that moves the cursor.
func TestBriefFitsAScreen(t *testing.T) {
	for name, run := range storedRuns(t) {
		for _, width := range []int{80, 100, 120, 160} {
			out := brief(t, run, Options{Width: width, Path: filepath.Dir(name)})
			if n := strings.Count(out, "\n"); n > ScreenLines {
				t.Errorf("%s: %d lines at %d columns:\n%s", name, n, width, out)
			}
			textFits(t, name, out, width)
			if !strings.Contains(out, "  - ") || strings.Contains(out, "Nothing is decided") {
				t.Errorf("%s: no sentence at %d columns:\n%s", name, width, out)
			}
			for line := range strings.Lines(out) {
				for _, fault := range reporttest.Faults(line) {
					t.Errorf("%s: %s", name, fault)
				}
			}
		}
	}
}

// If all variants are skipped, the screen says so and why. It does not speak of too few trials.
func TestBriefSkipped(t *testing.T) {
	run := reporttest.FinishedRun()
	for _, v := range run.Scenarios[0].Variants {
		v.Trials, v.Summary, v.SkippedReason = nil, nil, new("nginx is not installed")
	}
	const one = "Nothing was run: every variant is skipped (nginx is not installed)."
	if got := briefSentences(run.Scenarios[0]); len(got) != 1 || got[0] != one {
		t.Errorf("%q, want %q", got, one)
	}
	run.Scenarios[0].Variants[1].SkippedReason = new("needs root")
	const two = "Nothing was run: every variant is skipped, for the reasons below."
	if got := briefSentences(run.Scenarios[0]); len(got) != 1 || got[0] != two {
		t.Errorf("%q, want %q", got, two)
	}
}

// A screen fits the width of any terminal, whatever the run contains. It has escape sequences only
// if Colour is set.
func TestBriefWidth(t *testing.T) {
	escape := regexp.MustCompile("\x1b\\[[0-9]*m")
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "nasty": reporttest.NastyRun(),
		"gated": reporttest.GatedRun(), "watched": reporttest.WatchedRun(),
	} {
		for _, width := range reporttest.Widths() {
			plain := brief(t, run, Options{Width: width})
			textFits(t, name, plain, width)
			coloured := brief(t, run, Options{Width: width, Colour: true})
			if !escape.MatchString(coloured) {
				t.Errorf("%s: no colours in\n%s", name, coloured)
			}
			if diff := cmp.Diff(plain, escape.ReplaceAllString(coloured, "")); diff != "" {
				t.Errorf("%s: colours change the text (-plain +coloured):\n%s", name, diff)
			}
		}
	}
	for name, run := range reporttest.LittleRuns() {
		if out := brief(t, run, Options{}); !strings.Contains(out, "report --full") {
			t.Errorf("%s: nothing leads to the rest:\n%s", name, out)
		}
	}
}

// The screen of a run with many scenarios has a sentence for each, and says where the tables are.
func TestBriefOfMany(t *testing.T) {
	run := reporttest.FinishedRun()
	first := run.Scenarios[0]
	for i := range 12 {
		s := *first
		s.Name = fmt.Sprintf("restart-%d", i)
		run.Scenarios = append(run.Scenarios, &s)
	}
	out := brief(t, run, Options{Width: 80})
	for _, s := range run.Scenarios {
		if !strings.Contains(out, s.Name+": ") {
			t.Errorf("%s is missing:\n%s", s.Name, out)
		}
	}
	if strings.Contains(out, "───") || !strings.Contains(out, "report --full") {
		t.Errorf("tables, or no word on where they are:\n%s", out)
	}
}

// A variant that was not measured has no sentence and no row.
func TestNothingUnmeasured(t *testing.T) {
	run := reporttest.FinishedRun()
	s := run.Scenarios[0]
	for _, trial := range s.Variants[0].Trials { // stop=close, which loses attempts
		trial.Valid, trial.InvalidReasons = false, []string{"late"}
	}
	summary.FillRun(run)
	out := brief(t, run, Options{})
	for _, unwanted := range []string{"Closing the listener loses", "reuseport · close  ",
		"bpf-migrate  "} {
		if strings.Contains(out, unwanted) {
			t.Errorf("%q is of trials that do not count, or were not made:\n%s", unwanted, out)
		}
	}
	for _, want := range []string{
		"Draining the accept queue before closing lost none in 40 restarts (at most 3 in 40).",
		"8 of 21 trials: late", "reuseport · bpf-migrate: needs CAP_BPF",
		"reuseport · close has 0 valid trials and needs 4",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, v := range s.Variants {
		v.Trials = nil
	}
	summary.FillRun(run)
	if lines := answers(s); len(lines) > 0 {
		t.Errorf("without a trial: %q", lines)
	}
}

// The reports say that --trials lowered min_valid, and name the scenario.
func TestLoweredMinValid(t *testing.T) {
	run := reporttest.FinishedRun()
	for _, s := range run.Scenarios {
		s.MinValid, s.ScenarioMinValid = 2, 4
	}
	for _, test := range []struct {
		second int // the second scenario's own min_valid
		want   string
	}{
		{4, "\nmin_valid       2 instead of 4, because of --trials\n"},
		{6, "\nmin_valid       steady: 2 instead of 6, because of --trials\n"},
		{0, "\nmin_valid       rolling-restart: 2 instead of 4, because of --trials\n"},
	} {
		run.Scenarios[1].ScenarioMinValid = test.second
		if out := brief(t, run, Options{}); !strings.Contains(out, test.want) {
			t.Errorf("no %q in\n%s", test.want, out)
		}
	}
	var full bytes.Buffer
	if err := Text(&full, run, Options{}); err != nil {
		t.Fatal(err)
	}
	const want = "2 valid needed (min_valid 2 instead of 4, because of --trials)."
	if strings.Count(full.String(), want) != 1 {
		t.Errorf("want %q once in\n%s", want, &full)
	}
}

// The caption describes the load of the variants, unless their names or shared labels contain it.
func TestLoadText(t *testing.T) {
	for name, test := range map[string]struct {
		rates  []float64
		metric string // the metric with the rates
		label  string // the label of the variants
		want   string
	}{
		"one rate": {[]float64{1999, 2003}, metrics.Offered, "stop", "Load: 2000/s"},
		"several": {
			[]float64{440.4, 882}, metrics.Offered, "stop", "Load: 440 to 880/s",
		},
		"three digits":           {[]float64{1450}, metrics.Offered, "stop", "Load: 1450/s"},
		"a closed loop":          {[]float64{8, 8}, metrics.Concurrency, "stop", "Load: 8 clients"},
		"the names say it":       {[]float64{100, 200}, metrics.Offered, "load.rate", ""},
		"a search for the rate":  {[]float64{100, 200}, metrics.HighestRate, "stop", ""},
		"not known of a variant": {[]float64{100, -1}, metrics.Offered, "stop", ""},
	} {
		s := &results.Scenario{}
		for i, rate := range test.rates {
			v := &results.Variant{Labels: reporttest.Labels(test.label, fmt.Sprint(i)),
				Summary: map[string]results.Summary{}}
			if rate > 0 {
				v.Summary[test.metric] = results.Summary{Center: rate}
			}
			s.Variants = append(s.Variants, v)
		}
		if got := newNames(s).loadText(s.Variants); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

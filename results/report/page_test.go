package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// chartsOf returns the names of the charts on a page.
func chartsOf(page string) (names []string) {
	for _, m := range regexp.MustCompile(`<figure id="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

// A page has a chart for whatever was measured, and no empty frame for the rest.
func TestPageCharts(t *testing.T) {
	page := reporttest.Printed(t, HTML, reporttest.PagedRun())
	want := []string{
		"rolling-restart-dropped", "rolling-restart-causes", "rolling-restart-when",
		"rolling-restart-trial", "rolling-restart-trial-best", "rolling-restart-response",
		"steady-p99", "steady-trial", "steady-response", "steady-spread",
	}
	if got := chartsOf(page); !slices.Equal(got, want) {
		t.Errorf("charts %q, want %q", got, want)
	}
	// Older runs have no windows.
	old := reporttest.Printed(t, HTML, reporttest.FinishedRun())
	if got := chartsOf(old); slices.Contains(got, "rolling-restart-when") ||
		slices.Contains(got, "rolling-restart-trial") || !slices.Contains(got, want[0]) {
		t.Errorf("charts of a run without windows: %q", got)
	}
	for _, outside := range []string{"<script", "http:", "https:", "src=", "url(", "@import"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page is not self-contained: %s", outside)
		}
	}
	for i, figure := range strings.Split(page, "<figure")[1:] {
		from, to := strings.Index(figure, "<svg"), strings.LastIndex(figure, "</svg>")
		decoder := xml.NewDecoder(strings.NewReader(figure[from : to+len("</svg>")]))
		for {
			if _, err := decoder.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("chart %d: %v", i, err)
			}
		}
	}
}

// The answer comes before its proof, and the proof before the tables.
func TestPageOrder(t *testing.T) {
	run := reporttest.PagedRun()
	run.Scenarios = run.Scenarios[:1]
	page := reporttest.Printed(t, HTML, run)
	at := -1
	for _, part := range []string{
		">Replace every worker under load. What does each way of stopping lose?</h1>",
		"lost none in 40 restarts", `id="rolling-restart-dropped"`, `id="rolling-restart-causes"`,
		`id="rolling-restart-when"`, `id="rolling-restart-trial"`, `id="rolling-restart-response"`,
		"Invalid trials", "<summary>All tables of rolling-restart</summary>",
		"one by one</summary>",
		"Where it was measured", "reuseport-bench run rolling-restart --seed 20260304",
		"<pre>name: rolling-restart",
	} {
		next := strings.Index(page, part)
		if next < at {
			t.Errorf("%q is at %d, before what should come earlier, %d", part, next, at)
		}
		at = next
	}
}

// A page of 15 variants with 20 trials each is small enough to be mailed.
func TestPageSize(t *testing.T) {
	run := reporttest.PagedRun()
	s := run.Scenarios[0]
	run.Scenarios = run.Scenarios[:1]
	lossy := s.Variants[0]
	s.Variants = nil
	for i := range 15 {
		v := &results.Variant{Labels: reporttest.Labels("sockets", "reuseport", "stop",
			"a-way-to-stop-"+string(rune('a'+i)))}
		for range 20 {
			v.Trials = append(v.Trials, lossy.Trials[i%len(lossy.Trials)])
		}
		s.Variants = append(s.Variants, v)
	}
	s.Baseline = s.Variants[0].Labels
	summary.FillRun(run)
	const most = 150_000
	if n := len(reporttest.Printed(t, HTML, run)); n > most {
		t.Errorf("the page has %d bytes, more than %d", n, most)
	}
}

// A page lists only so many losses, and says where the others are.
func TestPageLosses(t *testing.T) {
	run := reporttest.PagedRun()
	trial := run.Scenarios[0].Variants[0].Trials[0]
	trial.Losses = slices.Repeat(trial.Losses[:1], 300)
	trial.Lost, trial.Dropped = 300, 300
	other := run.Scenarios[0].Variants[1].Trials[0]
	other.Losses, other.Lost, other.Dropped = trial.Losses, 300, 300
	page := reporttest.Printed(t, HTML, run)
	if !strings.Contains(page, "of the 6") || !strings.Contains(page, "report --losses.") {
		t.Error("the page does not say how to see the other losses")
	}
	// Each variant that lost attempts has its share of the list.
	listed := page[strings.Index(page, "lost attempts, one by one"):]
	listed = listed[:strings.Index(listed, "</table>")]
	n := strings.Count(listed, "<tr>") - 1
	first := strings.Count(listed, "reuseport · close, ")
	if n != maxPageLosses || first != maxPageLosses/2 {
		t.Errorf("%d losses on the page, %d of them of the first variant", n, first)
	}
}

// The command that repeats the run names the scenario's file, wherever it is.
func TestRepeatLine(t *testing.T) {
	run := reporttest.FinishedRun()
	s := run.Scenarios[0]
	for file, want := range map[string]string{
		"": "run rolling-restart --seed", "mine.yaml": "run mine.yaml --seed",
		"./dir/mine.yaml": "run ./dir/mine.yaml --seed",
	} {
		s.File = file
		if got := repeatLine(run, []*results.Scenario{s}); !strings.Contains(got, want) {
			t.Errorf("file %q: got %s, want %s", file, got, want)
		}
	}
}

// Of many variants, charts have the best and the worst, and the page says so.
func TestPageManyVariants(t *testing.T) {
	run := reporttest.PagedRun()
	s := run.Scenarios[0]
	run.Scenarios = run.Scenarios[:1]
	trials := s.Variants[0].Trials
	s.Variants, s.Gates, s.Baseline = nil, nil, nil
	for i := range 100 {
		v := &results.Variant{Labels: reporttest.Labels("stop", fmt.Sprintf("way-%02d", i))}
		for k, t := range trials {
			one := *t
			if k == 0 {
				one.Steps = slices.Clone(t.Steps)
				one.Steps[0].Dropped = new(int64(99 - i))
			}
			v.Trials = append(v.Trials, &one)
		}
		s.Variants = append(s.Variants, v)
	}
	summary.FillRun(run)
	page := reporttest.Printed(t, HTML, run)
	if !strings.Contains(page, "rows for 40 of the 100 variants") {
		t.Error("the page does not say that variants are left out of charts")
	}
	if !strings.Contains(page, "20 variants between the best and the worst are only in") {
		t.Error("the page does not say that curves are left out")
	}
	from := strings.Index(page, `<figure id="rolling-restart-dropped">`)
	svg := page[from : from+strings.Index(page[from:], "</svg>")]
	for name, want := range map[string]bool{
		"way-99": true, "way-80": true, "way-79": false, "way-20": false, "way-19": true,
		"way-00": true,
	} {
		if got := strings.Contains(svg, ">"+name+"<"); got != want {
			t.Errorf("%s has a row: %t, want %t", name, got, want)
		}
	}
}

// What a search found is the figure of its variant. Its trial dropped nothing by definition.
func TestPageSearch(t *testing.T) {
	run := reporttest.PagedRun()
	s := run.Scenarios[0]
	run.Scenarios = run.Scenarios[:1]
	for i, trial := range s.Variants[1].Trials {
		trial.Search = &results.Search{Setting: "kube.pre_stop", Unit: "ns",
			Value: new(float64(i+1) * 100e6)}
	}
	s.Variants, s.Gates = s.Variants[1:2], nil
	summary.FillRun(run)
	page := reporttest.Printed(t, HTML, run)
	if got := chartsOf(page); got[0] != "rolling-restart-found" ||
		slices.Contains(got, "rolling-restart-dropped") {
		t.Errorf("charts %q", got)
	}
	if !strings.Contains(page, "least kube.pre_stop [ms] [95 %]") {
		t.Error("the axis does not say what was searched for")
	}
}

// Each cause has a colour and a shade of its own, on all pages.
func TestCauseColours(t *testing.T) {
	seen := map[chart.Key]string{}
	for _, c := range cause.All() {
		key := keyOf(c.Name)
		key.Name = ""
		if c.Name == cause.Client {
			continue
		}
		if other := seen[key]; other != "" || key.Colour == chart.Grey {
			t.Errorf("%s has the colour of %q", c.Name, other)
		}
		seen[key] = c.Name
	}
}

// A median of 0 is drawn as 0: some trials may have dropped attempts. Only a rate of 0 is an upper
// bound.
func TestMarkOf(t *testing.T) {
	median := results.Summary{Method: results.MethodOrder, Lo: new(0.), Hi: new(2.)}
	if got := markOf(median, unit.Plain(), ""); got.None || got.High != 2 {
		t.Errorf("a median of 0: %+v", got)
	}
	rate := results.Summary{Method: results.MethodRuleOfThree, Lo: new(0.), Hi: new(0.1), N: 30}
	if got := markOf(rate, unit.Plain(), ""); !got.None || got.High != 0.1 {
		t.Errorf("a rate of 0: %+v", got)
	}
	rate.TooFew = true
	if got := markOf(rate, unit.Plain(), ""); !got.None || !math.IsNaN(got.High) {
		t.Errorf("too few restarts: %+v", got)
	}
}

// The client's own failures are neither a panel of the overlay, nor do they change its scale.
func TestOverlayLeavesOutClient(t *testing.T) {
	run := reporttest.PagedRun()
	s := run.Scenarios[0]
	for _, v := range s.Variants {
		for _, t := range v.Trials {
			if t.AroundStops != nil {
				t.AroundStops.Lost = results.Counts{cause.Client: {3: 7}}
			}
		}
	}
	if c := newCharting(s).overlay(); c != nil {
		t.Errorf("client failures: %s", c.Sentence)
	}
	s.Variants[0].Trials[0].AroundStops.Lost[cause.ResetAtClose] = map[int]int64{-3: 2, 12: 1}
	c := newCharting(s).overlay()
	if c == nil || strings.Contains(c.Sentence, "scale of its own") {
		t.Fatalf("got %+v", c)
	}
	want := [][]string{{newNames(s).of(s.Variants[0]), cause.ResetAtClose, "3", "-3", "-2", "13",
		"0"}}
	if diff := cmp.Diff(c.Table.Rows, want); diff != "" {
		t.Error(diff)
	}
}

func TestPercentile(t *testing.T) {
	h := results.NewHistogram()
	for i := range 90 {
		h.Record(int64(i+1) * 1e6)
	}
	for _, test := range []struct {
		dropped int64
		p       float64
		want    string
	}{
		{0, 50, "45.0"}, {0, 99, missing}, {10, 50, "50.0"}, {10, 90, "90.0"},
		{10, 91, droppedTime}, {10, 99, droppedTime},
	} {
		if got := percentile(h, test.dropped, test.p); got != test.want {
			t.Errorf("p%g with %d dropped: got %s, want %s", test.p, test.dropped, got, test.want)
		}
	}
}

// An axis has values of one kind.
func TestSweptKinds(t *testing.T) {
	variants := func(values ...string) (all []*results.Variant) {
		for _, value := range values {
			all = append(all, &results.Variant{Labels: reporttest.Labels("key", value)})
		}
		return all
	}
	for _, test := range []struct {
		values []string
		want   bool
		unit   string
	}{
		{[]string{"0s", "10ms", "1s"}, true, "ms"},
		{[]string{"1000/s", "2000/s", "1_000_000/s"}, true, "1/s"},
		{[]string{"0.5*capacity", "0.8*capacity", "1*capacity"}, true, "× capacity"},
		{[]string{"0", "1", "2"}, true, ""},
		{[]string{"1000/s", "2000/s", "0.5*capacity"}, false, ""},
		{[]string{"1", "2", "two"}, false, ""},
	} {
		var s swept
		if got := s.over("key", variants(test.values...)); got != test.want {
			t.Errorf("%q: got %t, want %t", test.values, got, test.want)
		} else if got && s.inX.Name != test.unit {
			t.Errorf("%q: got the unit %q, want %q", test.values, s.inX.Name, test.unit)
		}
	}
}

// A worker takes the lane of the one that it replaces. A lane has at most two workers at a time.
func TestLanes(t *testing.T) {
	l := &lanes{steps: []results.Step{{AtNS: 100}, {AtNS: 200}}}
	worker := func(started, stopped int64) results.Worker {
		w := results.Worker{StartedNS: new(started)}
		if stopped > 0 {
			w.StopNS = new(stopped)
		}
		return w
	}
	for i, test := range []struct {
		w    results.Worker
		lane int
	}{
		{worker(-50, 110), 0}, {worker(-50, 112), 1}, {worker(-50, 0), 2}, // until the end
		{worker(101, 210), 0}, {worker(102, 0), 1}, {worker(103, 104), 3},
		{worker(201, 0), 0}, {worker(202, 0), 3},
	} {
		if got := l.of(test.w); got != test.lane {
			t.Errorf("worker %d: lane %d, want %d", i, got, test.lane)
		}
	}
	l = &lanes{steps: l.steps[:1]}
	for i, w := range []results.Worker{worker(-50, 110), worker(101, 104), worker(102, 0)} {
		if got, want := l.of(w), []int{0, 0, 1}[i]; got != want {
			t.Errorf("three workers in turn: worker %d in lane %d, want %d", i, got, want)
		}
	}
}

// A trial whose windows are empty, and many workers, are no trouble.
func TestTimelineOdd(t *testing.T) {
	trial := reporttest.PagedRun().Scenarios[0].Variants[0].Trials[0]
	trial.Windows = &results.Windows{}
	if got := medianTrial(&results.Variant{Trials: []*results.Trial{trial}}); got != nil {
		t.Error("a trial without windows is drawn")
	}
	trial.Workers = slices.Repeat([]results.Worker{{StartedNS: new(int64(0))}}, 1024)
	if all, left := timelineWorkers(trial); len(all) != mostLanes || left != 1024-mostLanes {
		t.Errorf("%d workers are drawn, %d left out", len(all), left)
	}
}

// A setting with three values or more is drawn as an axis, and a lag with its outages.
func TestPageSweep(t *testing.T) {
	run := reporttest.FinishedRun()
	s := run.Scenarios[0]
	run.Scenarios = run.Scenarios[:1]
	s.Variants, s.Gates = nil, nil
	for _, lag := range []string{"10ms", "100ms", "1s"} {
		v := &results.Variant{Labels: reporttest.Labels("kube.endpoint_lag", lag)}
		d, err := time.ParseDuration(lag)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			trial := reporttest.RestartTrial(i, 1+int64(d/10e6))
			trial.Steps[0].OutageNS = new(int64(d))
			v.Trials = append(v.Trials, trial)
		}
		s.Variants = append(s.Variants, v)
	}
	s.Baseline = s.Variants[0].Labels
	summary.FillRun(run)
	got := chartsOf(reporttest.Printed(t, HTML, run))
	for _, name := range []string{"rolling-restart-outage", "rolling-restart-sweep"} {
		if !slices.Contains(got, name) {
			t.Errorf("charts %q lack %q", got, name)
		}
	}
	// Two values are no axis.
	s.Variants = s.Variants[:2]
	got = chartsOf(reporttest.Printed(t, HTML, run))
	if slices.Contains(got, "rolling-restart-sweep") {
		t.Errorf("charts of two values: %q", got)
	}
}

// laggingScenario returns a scenario whose outages, of the paths given, are as long as the lag.
func laggingScenario(t *testing.T, paths ...string) *results.Scenario {
	t.Helper()
	s := scenarioOf(nil)
	for _, path := range paths {
		for _, lag := range []string{"10ms", "100ms", "1s"} {
			d, err := time.ParseDuration(lag)
			if err != nil {
				t.Fatal(err)
			}
			v := restartVariant(reporttest.Labels("kube.endpoint_lag", lag, "path", path), 1)
			for _, trial := range v.Trials {
				trial.Steps = []results.Step{{Do: "remove", OutageNS: new(int64(d))}}
			}
			s.Variants = append(s.Variants, v)
		}
	}
	return s
}

// Each setting under which a lag varies has a chart, up to mostSlopes.
func TestLags(t *testing.T) {
	s := laggingScenario(t, "service", "dns")
	charts := newCharting(s).lags()
	if len(charts) != 2 || charts[0].Name != "outage" || charts[1].Name != "outage-2" ||
		!strings.HasSuffix(charts[1].Sentence,
			"adds 1 ± 0 s. The variants are those with path=dns.") {
		t.Fatalf("%d charts: %+v", len(charts), charts)
	}
	if got := len(charts[1].Table.Rows); got != 30 {
		t.Errorf("the second chart has %d points, want 30", got)
	}
	many := newCharting(laggingScenario(t, "a", "b", "c", "d", "e", "f")).lags()
	if len(many) != mostSlopes || !strings.Contains(many[mostSlopes-1].Sentence,
		"2 such lines by other settings are only in the tables.") {
		t.Errorf("%d charts of six settings", len(many))
	}
	// An outage that does not depend on the lag has no chart. Nor has a search: the trials that it
	// found have no outage.
	for _, v := range s.Variants {
		for _, trial := range v.Trials {
			trial.Steps[0].OutageNS = new(int64(70e6))
		}
	}
	if got := newCharting(s).lags(); len(got) != 0 {
		t.Errorf("%d charts of an outage that is always the same", len(got))
	}
	s = laggingScenario(t, "service")
	s.Variants[0].Trials[0].Search = &results.Search{Setting: "kube.pre_stop"}
	if got := newCharting(s).lags(); len(got) != 0 {
		t.Errorf("%d charts of a search", len(got))
	}
}

// The title of a page is a question, whatever the number of scenarios.
func TestQuestion(t *testing.T) {
	named := func(names ...string) (all []*results.Scenario) {
		for _, name := range names {
			all = append(all, &results.Scenario{Name: name, About: "What does " + name + " lose?"})
		}
		return all
	}
	for _, test := range []struct {
		scenarios []*results.Scenario
		want      string
	}{
		{named("a"), "What does a lose?"},
		{[]*results.Scenario{{Name: "a"}}, "What is lost in a?"},
		{named("a", "b", "c"), "What is lost in a, b and c?"},
		{named(slices.Repeat([]string{"a"}, fewScenarios+1)...),
			fmt.Sprintf("What is lost in %d scenarios?", fewScenarios+1)},
	} {
		if got := question(test.scenarios); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Gates are folded away unless one failed, or the scenario is void.
func TestGateSummary(t *testing.T) {
	for _, test := range []struct {
		void, want string
		outcomes   []string
	}{
		{"", "", nil},
		{"", "2 gates passed", []string{results.GatePass, results.GatePass}},
		{"", "1 gate undecided, 1 gate passed", []string{results.GatePass, results.GateUndecided}},
		{"", "", []string{results.GatePass, results.GateFail}},
		{"it differs from itself", "", []string{results.GatePass}},
	} {
		s := &results.Scenario{Void: test.void}
		for _, outcome := range test.outcomes {
			s.Gates = append(s.Gates, results.GateResult{Outcome: outcome})
		}
		if got := gateSummary(s); got != test.want {
			t.Errorf("%q, void %q: got %q, want %q", test.outcomes, test.void, got, test.want)
		}
	}
}

// Restarts that are too few for a bound have no bars, so the page compares response times.
func TestTooFewRestarts(t *testing.T) {
	few := scenarioOf(nil, first(1, restartVariant(reporttest.Labels("stop", "close"))),
		first(1, restartVariant(reporttest.Labels("stop", "drain"))))
	if got := newCharting(few).forest(); got == nil || got.Name != "p99" {
		t.Errorf("too few restarts: %+v", got)
	}
	enough := scenarioOf(nil, restartVariant(reporttest.Labels("stop", "close")),
		restartVariant(reporttest.Labels("stop", "drain"), 1))
	if got := newCharting(enough).forest(); got == nil || !strings.HasPrefix(got.Sentence,
		"1 of 2 variants dropped nothing: it has an open bar from 0 to the upper bound, which is "+
			"3 ÷ restarts. The other variant has a dot, with its 95 % interval.") {
		t.Errorf("enough restarts: %+v", got)
	}
}

// The sentences of a page beyond mostSentences are folded away.
func TestManySentences(t *testing.T) {
	run := reporttest.PagedRun()
	run.Scenarios = run.Scenarios[:1]
	s := run.Scenarios[0]
	s.Variants, s.Gates, s.Baseline = nil, nil, nil
	for i := range mostSentences + 3 {
		lost := slices.Repeat([]int64{int64(1) << i}, 10)
		s.Variants = append(s.Variants, restartVariant(
			reporttest.Labels("round_trip", fmt.Sprintf("%dms", i)), lost...))
	}
	summary.FillRun(run)
	if page := reporttest.Printed(t, HTML, run); !strings.Contains(page,
		"<summary>3 more sentences about rolling-restart</summary>") {
		t.Error("no sentence is folded away")
	}
}

// The name of a scenario in a damaged run cannot lead a chart's file out of its directory.
func TestChartFileNames(t *testing.T) {
	run := reporttest.PagedRun()
	run.Scenarios[0].Name = "../../etc/\x1b[31mpasswd"
	files, err := Charts(run, Options{})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d charts, %v", len(files), err)
	}
	for _, f := range files {
		if !regexp.MustCompile(`^[a-z0-9-]+\.svg$`).MatchString(f.Name) {
			t.Errorf("a chart's file is named %q", f.Name)
		}
	}
}

package report

import (
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/summary"
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
	page := reporttest.Printed(t, HTML, run)
	if !strings.Contains(page, "200 of the ") || !strings.Contains(page, "report --losses") {
		t.Error("200 losses, and a way to see the others, are not on the page")
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

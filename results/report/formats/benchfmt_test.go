package formats

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
	"golang.org/x/perf/benchunit"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/unit"
)

// readBenchfmt reads text as benchstat does. A line that is neither a result nor a unit fails the
// test.
func readBenchfmt(t *testing.T, text string) ([]*benchfmt.Result, benchfmt.UnitMetadataMap) {
	t.Helper()
	var all []*benchfmt.Result
	r := benchfmt.NewReader(strings.NewReader(text), "benchfmt")
	for r.Scan() {
		switch record := r.Result().(type) {
		case *benchfmt.Result:
			all = append(all, record.Clone())
		case *benchfmt.UnitMetadata:
		default:
			t.Fatal(record)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return all, r.Units()
}

// benchstat's reader accepts every line, and finds a result for every valid trial.
func TestBenchfmtReads(t *testing.T) {
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "interrupted": reporttest.InterruptedRun(),
		"small": reporttest.SmallRun(), "nasty": reporttest.NastyRun(),
	} {
		want := 0
		for _, s := range run.Scenarios {
			for _, v := range s.Variants {
				want += len(v.ValidTrials())
			}
		}
		text := reporttest.Printed(t, Benchfmt, run)
		got, _ := readBenchfmt(t, text)
		if len(got) != want || want == 0 {
			t.Errorf("%s: got %d results, want %d", name, len(got), want)
		}
		if lines := strings.Count(text, "\nBenchmark"); lines != want {
			t.Errorf("%s: got %d lines, want %d", name, lines, want)
		}
	}
}

func TestBenchfmtValues(t *testing.T) {
	all, units := readBenchfmt(t, reporttest.Printed(t, Benchfmt, reporttest.FinishedRun()))
	got := map[string][]string{}
	for _, r := range all {
		var values []string
		for _, unit := range []string{
			"lost/restart", "lost/attempt", "gap-sec", "tail-sec", "response-p99-sec",
			"servers-cpu-sec/attempt", "offered/s",
		} {
			if x, ok := r.Value(unit); ok {
				values = append(values, fmt.Sprintf("%.6g %s", x, unit))
			}
		}
		got[r.Name.String()] = append(got[r.Name.String()], strings.Join(values, ", "))
	}
	names := []string{
		"RollingRestart/sockets=reuseport/stop=close",
		"RollingRestart/sockets=reuseport/stop=drain",
		"RollingRestart/sockets=shared/stop=handoff", "Steady",
	}
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"RollingRestart/sockets=reuseport/stop=close": "0.4 lost/restart, " +
			"0.000333333 lost/attempt, 0.0005 gap-sec, 1.2e-06 tail-sec, " +
			"0.00091 response-p99-sec, 2000 offered/s",
		"RollingRestart/sockets=reuseport/stop=drain": "0 lost/restart, 0 lost/attempt, " +
			"0 gap-sec, 1.2e-06 tail-sec, 0.00091 response-p99-sec, 2000 offered/s",
		"Steady": "0 lost/attempt, 0.00091 response-p99-sec, 2000 offered/s",
	} {
		if len(got[name]) != 8 || got[name][0] != want {
			t.Errorf("%s: got %d lines, the first %s, want 8, %s", name, len(got[name]),
				got[name][0], want)
		}
	}
	for unit, want := range map[string]int{
		"lost/restart": -1, "gap-sec": -1, "response-p99-sec": -1, "jain": 1, "offered/s": 0,
	} {
		if better := units.GetBetter(unit); better != want {
			t.Errorf("better of %s: got %d, want %d", unit, better, want)
		}
	}
	if m := units.Get("half-open-lost/held", "better"); m != nil {
		t.Errorf("got a unit that no trial has: %v", m)
	}
}

// Units are base units. The reader does not convert the unit of a 0, so in benchstat "0 gap-ns" and
// "500000 gap-ns" would have different units.
func TestBenchUnits(t *testing.T) {
	for _, m := range benchUnits() {
		_, tidy := benchunit.Tidy(1, m.Bench)
		if tidy != m.Bench || benchunit.ClassOf(m.Bench) != benchunit.Decimal {
			t.Errorf("%s: benchstat converts it to %s", m.Bench, tidy)
		}
		words := strings.FieldsFunc(m.Bench, func(r rune) bool { return r == '-' || r == '/' })
		if slices.Contains(words, "sec") != (m.Unit == unit.Nanoseconds) {
			t.Errorf("%s has the unit %s", m.Name, m.Bench)
		}
	}
	all, _ := readBenchfmt(t, "BenchmarkA 1 0 gap-ns\nBenchmarkA 1 5 gap-ns\n")
	if a, b := all[0].Values[0].Unit, all[1].Values[0].Unit; a == b {
		t.Errorf("the reader now converts 0 gap-ns to %s, like others; nanoseconds would work", a)
	}
}

func TestBenchName(t *testing.T) {
	seen := map[string]string{}
	for _, test := range []struct {
		scenario string
		labels   map[string]string
		want     string
	}{
		{"steady", nil, "BenchmarkSteady"},
		{
			"rolling-restart",
			reporttest.Labels("stop", "close", "accept", "epoll", "sockets", "reuseport"),
			"BenchmarkRollingRestart/sockets=reuseport/stop=close/accept=epoll",
		},
		{"http-2", nil, "BenchmarkHttp%2D2"},
		{"http2", nil, "BenchmarkHttp2"},
		{"a-b-2c", nil, "BenchmarkAB%2D2c"},
		{"9-lives", nil, "Benchmark9Lives"},
		{"s", reporttest.Labels("load.rate", "2000/s"), "BenchmarkS/load.rate=2000%2Fs"},
		{"s", reporttest.Labels("load.rate", "2000%2Fs"), "BenchmarkS/load.rate=2000%252Fs"},
		{"s", reporttest.Labels("load.rate", "0.7*capacity"), "BenchmarkS/load.rate=0.7*capacity"},
		{"s", reporttest.Labels("proxy", "haproxy-2"), "BenchmarkS/proxy=haproxy%2D2"},
		{"s", reporttest.Labels("proxy", "haproxy-2.6"), "BenchmarkS/proxy=haproxy-2.6"},
		{"s", reporttest.Labels("n", "-1"), "BenchmarkS/n=%2D1"},
		{"s", reporttest.Labels("n", "-"), "BenchmarkS/n=-"},
		{"s", reporttest.Labels("n", ""), "BenchmarkS/n="},
		{"s", reporttest.Labels("n", "1"), "BenchmarkS/n=1"},
		{"s", reporttest.Labels("a=b", "c"), "BenchmarkS/a%3Db=c"},
		{"s", reporttest.Labels("a", "b=c"), "BenchmarkS/a=b=c"},
		{"s", reporttest.Labels("/", "a%b"), "BenchmarkS/%2F=a%25b"},
		{
			"s", reporttest.Labels("a", "b c\t\n\u00a0\u2028\xff漢µ\ufffd"),
			"BenchmarkS/a=b%20c%09%0A%C2%A0%E2%80%A8%FF漢µ%EF%BF%BD",
		},
	} {
		got := benchName(test.scenario, test.labels)
		if got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s stands for %s and %s", got, other, test.scenario)
		}
		seen[got] = test.scenario
		all, _ := readBenchfmt(t, got+" 1 1 gap-sec\n")
		if len(all) != 1 {
			t.Errorf("%s: read as %d results", got, len(all))
			continue
		}
		back(t, all[0], test.scenario, test.labels)
	}
}

var capitalOrEscape = regexp.MustCompile(`%[0-9A-F]{2}|[A-Z]`)

// back checks that a benchmark's name can be turned back into the scenario's name and the labels.
// It splits the name with benchstat's own function.
func back(t *testing.T, r *benchfmt.Result, scenario string, want map[string]string) {
	t.Helper()
	base, parts := r.Name.Parts()
	name := capitalOrEscape.ReplaceAllStringFunc(string(base), func(s string) string {
		if s[0] == '%' {
			return s
		}
		return "-" + strings.ToLower(s)
	})
	if got, err := url.PathUnescape(strings.TrimPrefix(name, "-")); err != nil || got != scenario {
		t.Errorf("%s: got scenario %q, %v, want %q", r.Name, got, err, scenario)
	}
	got := map[string]string{}
	for _, part := range parts {
		key, value, _ := strings.Cut(strings.TrimPrefix(string(part), "/"), "=")
		key, err := url.PathUnescape(key)
		if err != nil {
			t.Error(err)
		}
		if got[key], err = url.PathUnescape(value); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", r.Name, diff)
	}
}

// benchstat's -col /stop, -col /load.rate and -filter find the labels. It compares the other
// columns with the baseline's.
func TestBenchfmtProjections(t *testing.T) {
	run := reporttest.FinishedRun()
	s := run.Scenarios[0]
	for _, v := range s.Variants {
		v.Labels = maps.Clone(v.Labels)
		v.Labels["load.rate"] = "2000/s"
	}
	s.Baseline = s.Variants[1].Labels
	all, _ := readBenchfmt(t, reporttest.Printed(t, Benchfmt, run))
	const query = `.name:RollingRestart /load.rate:2000%2Fs kernel:6.18.44 cpus:2 .unit:gap-sec`
	filter, err := benchproc.NewFilter(query)
	if err != nil {
		t.Fatal(err)
	}
	var parser benchproc.ProjectionParser
	columns, err := parser.Parse("/stop", filter)
	if err != nil {
		t.Fatal(err)
	}
	var keys []benchproc.Key
	for _, r := range all {
		if ok, err := filter.Apply(r); err != nil {
			t.Fatal(err)
		} else if ok {
			keys = append(keys, columns.Project(r))
		}
	}
	if want := 8 + 8 + 3; len(keys) != want {
		t.Errorf("got %d results, want %d", len(keys), want)
	}
	benchproc.SortKeys(keys)
	var got []string
	for _, k := range slices.Compact(keys) {
		got = append(got, k.StringValues())
	}
	if want := []string{"drain", "close", "handoff"}; !slices.Equal(got, want) {
		t.Errorf("got columns %q, want %q", got, want)
	}
}

// Newlines in values do not split lines. What no line shows is in a comment.
func TestBenchfmtComments(t *testing.T) {
	run := reporttest.FinishedRun()
	run.Warnings = []string{"two\nBenchmarkLines 1 1 gap-sec"}
	run.Environment.CPUModel = "odd\nseed: 7"
	text := reporttest.Printed(t, Benchfmt, run)
	for _, want := range []string{
		"# reuseport-bench v0.1.0, seed 20260304, started 2026-03-04T05:06:07Z\n",
		"# two BenchmarkLines 1 1 gap-sec\n",
		"\ncpu: odd seed: 7\n",
		"# rolling-restart sockets=reuseport stop=drain, 2 of 10 trials invalid: residual is 1, " +
			"not 0\n",
		"# rolling-restart sockets=shared stop=handoff, gap and outage are lower bounds in 1 " +
			"trial that ended before serving resumed\n",
		"# rolling-restart sockets=reuseport stop=bpf-migrate, skipped: needs CAP_BPF: run as " +
			"root\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	all, _ := readBenchfmt(t, text)
	if got := all[0].GetConfig("seed"); got != "" {
		t.Errorf("seed is configuration: %q; runs that only differ in it are comparable", got)
	}
	if strings.Contains(text, "88.8") {
		t.Error("the output has the response time of an invalid trial")
	}
}

// A trial without figures has no line. A missing value of the environment has no configuration
// line.
func TestBenchfmtOfLittle(t *testing.T) {
	variants := []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}}
	run := &results.Run{Scenarios: []*results.Scenario{{Name: "s", Variants: variants}}}
	text := reporttest.Printed(t, Benchfmt, run)
	for _, absent := range []string{"Benchmark", "kernel:", "cpu:", "cpus:", "go:", "Unit"} {
		if strings.Contains(text, absent) {
			t.Errorf("%q in\n%s", absent, text)
		}
	}
}

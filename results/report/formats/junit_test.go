package formats

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
)

// junitElement describes an element in the schema of Jenkins' xUnit plugin, junit-10.xsd: its
// required and optional attributes, its children, and whether it has text.
type junitElement struct {
	must, may, children []string
	text                bool
}

var junitSchema = map[string]junitElement{
	"": {children: []string{"testsuites"}},
	"testsuites": {
		may:      []string{"name", "time", "tests", "failures", "errors"},
		children: []string{"testsuite"},
	},
	"testsuite": {
		must: []string{"name", "tests", "failures", "errors"},
		// hostname is left out. The schema allows it, but we do not disclose it.
		may: []string{
			"group", "time", "skipped", "timestamp", "id", "package", "file", "log", "url",
			"version",
		},
		children: []string{"properties", "testcase", "system-out", "system-err"},
	},
	"properties": {children: []string{"property"}},
	"property":   {must: []string{"name", "value"}},
	"testcase": {
		// classname is optional in the schema, but Jenkins needs it.
		must: []string{"name", "classname"}, may: []string{"time", "group"},
		children: []string{"skipped", "error", "failure", "system-out", "system-err"},
	},
	"skipped":    {may: []string{"type", "message"}, text: true},
	"error":      {may: []string{"type", "message"}, text: true},
	"failure":    {may: []string{"type", "message"}, text: true},
	"system-out": {text: true},
	"system-err": {text: true},
}

// surefireTime is the schema's pattern for a suite's time, without thousands separators.
var surefireTime = regexp.MustCompile(`^[0-9]+\.[0-9]{3}$`)

// checkJUnit returns an error that lists where a document violates the schema, and the counts that
// differ from the number of elements.
func checkJUnit(document string) error {
	var problems []error
	complain := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format, args...))
	}
	if !utf8.ValidString(document) {
		complain("not UTF-8")
	}
	type open struct {
		name   string
		counts map[string]int // of the elements inside, by name
		attr   map[string]string
	}
	stack := []open{{counts: map[string]int{}}}
	decoder := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(append(problems, err)...)
		}
		parent := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			if !slices.Contains(junitSchema[parent.name].children, name) {
				complain("<%s> in <%s>", name, parent.name)
			}
			attributes := map[string]string{}
			for _, a := range token.Attr {
				attributes[a.Name.Local] = a.Value
				schema := junitSchema[name]
				if !slices.Contains(slices.Concat(schema.must, schema.may), a.Name.Local) {
					complain("<%s %s>", name, a.Name.Local)
				}
				if a.Name.Local == "time" && !surefireTime.MatchString(a.Value) {
					complain("<%s time=%q>", name, a.Value)
				}
			}
			for _, must := range junitSchema[name].must {
				if _, ok := attributes[must]; !ok {
					complain("<%s> without %s", name, must)
				}
			}
			stack = append(stack, open{name, map[string]int{}, attributes})
		case xml.EndElement:
			stack = stack[:len(stack)-1]
			above := stack[len(stack)-1].counts
			for inside, n := range parent.counts {
				above[inside] += n
			}
			above[parent.name]++
			inside := parent.counts
			outcomes := inside["skipped"] + inside["error"] + inside["failure"]
			if parent.name == "testcase" && outcomes > 1 {
				complain("testcase %q has %d outcomes", parent.attr["name"], outcomes)
			}
			for attribute, element := range map[string]string{
				"tests": "testcase", "failures": "failure", "errors": "error",
				"skipped": "skipped",
			} {
				n := inside[element]
				if count, ok := parent.attr[attribute]; ok && count != strconv.Itoa(n) {
					complain("<%s %s=%q> has %d <%s>", parent.name, attribute, count, n, element)
				}
			}
		case xml.CharData:
			if !junitSchema[parent.name].text && len(bytes.TrimSpace(token)) > 0 {
				complain("text in <%s>: %q", parent.name, token)
			}
		}
	}
	if stack[0].counts["testsuites"] != 1 {
		complain("%d <testsuites>", stack[0].counts["testsuites"])
	}
	return errors.Join(problems...)
}

func TestJUnitSchema(t *testing.T) {
	timed := reporttest.FinishedRun()
	for _, s := range timed.Scenarios {
		setWatched(s, 1_234_567_890)
	}
	bare := []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}}
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "interrupted": reporttest.InterruptedRun(),
		"small": reporttest.SmallRun(), "nasty": reporttest.NastyRun(), "timed": timed,
		"nothing": {}, "bare": {Scenarios: []*results.Scenario{{Variants: bare}}},
	} {
		if err := checkJUnit(reporttest.Printed(t, JUnit, run)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkJUnit finds every kind of violation.
func TestCheckJUnit(t *testing.T) {
	good := reporttest.Printed(t, JUnit, reporttest.FinishedRun())
	for old, broken := range map[string]string{
		`<testsuite name="steady"`:            `<testsuite`,
		`tests="6" failures="0" errors="2"`:   `tests="6" failures="0" errors="1"`,
		`skipped="1"`:                         `skipped="0"`,
		` classname="steady"`:                 ``,
		`name="measured" `:                    `name="measured" status="run" `,
		`<skipped`:                            `<stack></stack><skipped`,
		`</properties>`:                       `6.18</properties>`,
		`</testcase>`:                         `<failure></failure></testcase>`,
		`<testsuites name="reuseport-bench" `: `<testsuites name="reuseport-bench" time="1.5s" `,
		`figures: `:                           "figures: \x1b",
		"expected: ":                          "expected: \xff",
	} {
		bad := strings.Replace(good, old, broken, 1)
		if bad == good {
			t.Errorf("no %q in\n%s", old, good)
			continue
		}
		if checkJUnit(bad) == nil {
			t.Errorf("%q instead of %q passes", broken, old)
		}
	}
}

// junitOutcomes returns the cases of all suites, as "classname: name: outcome".
func junitOutcomes(t *testing.T, run *results.Run) []string {
	t.Helper()
	var suites junitSuites
	if err := xml.Unmarshal([]byte(reporttest.Printed(t, JUnit, run)), &suites); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			outcome := "passed"
			switch {
			case c.Failure != nil:
				outcome = "failure " + c.Failure.Type + ": " + c.Failure.Message + " | " +
					c.Failure.Text
			case c.Error != nil:
				outcome = "error " + c.Error.Type + ": " + c.Error.Message + " | " + c.Error.Text
			case c.Skipped != nil:
				outcome = "skipped: " + c.Skipped.Message
			}
			out = append(out, c.Class+": "+c.Name+": "+outcome)
		}
	}
	return out
}

func TestJUnitOutcomes(t *testing.T) {
	run := reporttest.FinishedRun()
	s := run.Scenarios[0]
	s.Gates = append(s.Gates,
		results.GateResult{
			Labels: s.Variants[0].Labels, Expect: "lost == 0", Outcome: results.GateFail,
			Note: "8 valid trials, 20 lost",
		},
		results.GateResult{Expect: "gap_ns < 1ms", Outcome: "pending", Note: "none"})
	few := s.Variants[2]
	few.Trials = append(few.Trials, reporttest.LaggingTrial(3), reporttest.ResidualTrial(4))
	want := []string{
		"rolling-restart: measured [sockets=reuseport stop=close]: passed",
		"rolling-restart: measured [sockets=reuseport stop=drain]: passed",
		"rolling-restart: measured [sockets=shared stop=handoff]: error too-few-valid-trials: " +
			"3 valid trials, 4 needed | 3 valid trials, 4 needed\n" +
			"2 of 5 trials invalid: residual is 1, not 0\n" +
			"1 of 5 trials invalid: schedule lag p99 31.2 ms > 10 % of response p99",
		"rolling-restart: measured [sockets=reuseport stop=bpf-migrate]: skipped: needs CAP_BPF: " +
			"run as root",
		"rolling-restart: lost_by_cause.reset_at_close == 0 [sockets=reuseport stop=drain]: passed",
		"rolling-restart: lost_by_cause.reset_at_close == 0 [sockets=shared stop=handoff]: error " +
			"undecided: 3 valid trials, 4 needed | " +
			"expected: lost_by_cause.reset_at_close == 0\nfigures: 3 valid trials, 4 needed",
		"rolling-restart: lost == 0 [sockets=reuseport stop=close]: failure gate: 8 valid " +
			"trials, 20 lost | expected: lost == 0\nfigures: 8 valid trials, 20 lost",
		`rolling-restart: gap_ns < 1ms: error unknown-outcome: outcome "pending", which this ` +
			"program does not know | expected: gap_ns < 1ms\nfigures: none",
		"steady: measured: passed",
	}
	if diff := cmp.Diff(want, junitOutcomes(t, run)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Gates that were not judged, and variants that were not measured, must not be reported as passed.
func TestJUnitNoFalsePass(t *testing.T) {
	unfinished := reporttest.FinishedRun()
	unfinished.FinishedAt = nil
	first := junitOutcomes(t, unfinished)[0]
	want := "rolling-restart: finished: error interrupted: the run was interrupted, or is still " +
		"running: 21 of 24 planned trials done"
	if !strings.HasPrefix(first, want) {
		t.Errorf("got %s, want %s…", first, want)
	}
	untried := &results.Run{
		FinishedAt: unfinished.FinishedAt,
		Scenarios:  []*results.Scenario{{Name: "s", Variants: []*results.Variant{{}}}},
	}
	got := junitOutcomes(t, untried)[1]
	want = "s: measured: error too-few-valid-trials: 0 valid trials, 1 needed"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s…", got, want)
	}
}

// setWatched sets the time for which the load ran in every trial of the scenario.
func setWatched(s *results.Scenario, ns int64) {
	for _, v := range s.Variants {
		for _, t := range v.Trials {
			t.CPU.WatchedNS = new(ns)
		}
	}
}

// If the time of one trial is unknown, the times of its case, suite and document are left out.
func TestJUnitTime(t *testing.T) {
	times := func(run *results.Run) (suites string, each []string) {
		var got junitSuites
		if err := xml.Unmarshal([]byte(reporttest.Printed(t, JUnit, run)), &got); err != nil {
			t.Fatal(err)
		}
		for _, s := range got.Suites {
			each = append(each, s.Name+" "+s.Time)
			for _, c := range s.Cases {
				if c.Time != "" {
					each = append(each, c.Name+" "+c.Time)
				}
			}
		}
		return got.Time, each
	}
	run := reporttest.FinishedRun()
	setWatched(run.Scenarios[0], 1_250_000_000)
	suites, each := times(run)
	if want := []string{
		"rolling-restart 26.250", "measured [sockets=reuseport stop=close] 10.000",
		"measured [sockets=reuseport stop=drain] 12.500",
		"measured [sockets=shared stop=handoff] 3.750", "steady ",
	}; suites != "" || !slices.Equal(each, want) {
		t.Errorf("got %q, %q, want none, %q", suites, each, want)
	}
	setWatched(run.Scenarios[1], 500_000_000)
	if suites, _ := times(run); suites != "30.250" {
		t.Errorf("got a total of %q, want 30.250", suites)
	}
	run.Scenarios[0].Variants[0].Trials[3].CPU.WatchedNS = nil
	suites, each = times(run)
	want := []string{"rolling-restart ", "measured [sockets=reuseport stop=drain] 12.500"}
	if suites != "" || !slices.Equal(each[:2], want) {
		t.Errorf("one unknown: got %q, %q", suites, each)
	}
}

func TestJUnitText(t *testing.T) {
	run := reporttest.FinishedRun()
	run.Scenarios[0].Gates[1].Note = "\x00\x1b[31m\xff <b>&\"'\ufffe\r\n]]>"
	run.Environment.CPUModel = ""
	run.Warnings = []string{"cut off", "twice"}
	var suites junitSuites
	if err := xml.Unmarshal([]byte(reporttest.Printed(t, JUnit, run)), &suites); err != nil {
		t.Fatal(err)
	}
	s := suites.Suites[0]
	want := "\ufffd\ufffd[31m\ufffd <b>&\"'\ufffd\r\n]]>"
	if got := s.Cases[5].Error; got.Message != want || !strings.HasSuffix(got.Text, want) {
		t.Errorf("got %q and %q, want %q", got.Message, got.Text, want)
	}
	if s.SystemErr != "cut off\ntwice" || s.Timestamp != "2026-03-04T05:06:07Z" {
		t.Errorf("got %q, %q", s.SystemErr, s.Timestamp)
	}
	got := map[string]string{}
	for _, p := range s.Properties {
		got[p.Name] = p.Value
	}
	properties := map[string]string{
		"version": "v0.1.0", "seed": "20260304", "scenario_sha256": "5f", "kernel": "6.18.44",
		"go": "go1.26.8", "cpus": "2", "privileged": "false",
	}
	if !maps.Equal(got, properties) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(properties, got))
	}
}

// An undecided soft gate is a skip; a baseline that differs from itself is an error.
func TestJUnitSoftAndVoid(t *testing.T) {
	run := reporttest.FinishedRun()
	run.Scenarios = run.Scenarios[:1]
	s := run.Scenarios[0]
	s.Variants, s.MinValid = s.Variants[:1], 1
	s.Gates = []results.GateResult{{
		Expect: "response.p50 < 1ms", Outcome: results.GateUndecided, Note: "straddles", Soft: true,
	}}
	s.AA = []*results.Delta{{
		Metric: "response_p50_ns", Scale: results.ScaleRatio, P: 0.5, PAdjusted: 0.5,
		Change: results.Summary{Center: 1.01}, Outcome: results.DeltaNone,
	}}
	want := []string{
		"rolling-restart: measured [sockets=reuseport stop=close]: passed",
		"rolling-restart: response.p50 < 1ms: skipped: straddles",
		"rolling-restart: A/A: the baseline does not differ from itself: passed",
	}
	if diff := cmp.Diff(junitOutcomes(t, run), want); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
	s.Void = "the baseline differs"
	want[2] = "rolling-restart: A/A: the baseline does not differ from itself: error void: the " +
		"baseline differs | the baseline differs\nThe machine did not repeat itself, so the " +
		"gates decide nothing."
	if diff := cmp.Diff(junitOutcomes(t, run), want); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
	if err := checkJUnit(reporttest.Printed(t, JUnit, run)); err != nil {
		t.Error(err)
	}
}

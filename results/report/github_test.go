package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
)

func TestRunVerdict(t *testing.T) {
	good := reporttest.FinishedRun()
	s := good.Scenarios[0]
	s.MinValid, s.Gates = 1, s.Gates[:1]
	good.Scenarios = good.Scenarios[:1]
	bare := reporttest.FinishedRun()
	bare.Scenarios = bare.Scenarios[1:]
	soft := reporttest.FinishedRun()
	soft.Scenarios = soft.Scenarios[:1]
	soft.Scenarios[0].MinValid, soft.Scenarios[0].Gates[1].Soft = 1, true
	for _, test := range []struct {
		run  *results.Run
		want string
	}{
		{good, "✅ 1 gate passed"},
		{bare, "✅ measured; there are no gates"},
		{soft, "✅ no gate failed; 1 soft gate undecided, which is no failure"},
		{reporttest.FinishedRun(), "⚠️ could not measure: 1 variant with too few valid trials, 1 gate undecided"},
		{reporttest.GatedRun(), "⚠️ could not measure: 1 scenario void, 1 variant with too few valid trials, 1 gate undecided; ❌ 1 of 4 gates failed"},
		{reporttest.StoppedRun(), "⚠️ could not measure: 1 scenario stopped, without a valid trial"},
		{reporttest.InterruptedRun(), "⚠️ could not measure: interrupted, or still running: 6 of 24 planned trials done, 3 variants with too few valid trials"},
	} {
		if got := runVerdict(test.run, test.run.Scenarios); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

func TestGitHubLimit(t *testing.T) {
	run := reporttest.GatedRun()
	about := strings.Repeat("word ", 20_000)
	for i := range 14 {
		run.Scenarios = append(run.Scenarios, &results.Scenario{Name: fmt.Sprintf("good-%02d", i),
			About: about})
	}
	run.Scenarios = append(run.Scenarios, &results.Scenario{Name: "bad",
		Gates: []results.GateResult{{Outcome: results.GateFail}}})
	out := reporttest.Printed(t, GitHub, run)
	if len(out) > maxSummary || len(out) < maxSummary/2 {
		t.Errorf("%d bytes", len(out))
	}
	for want, there := range map[string]bool{
		"\n## rolling-restart\n": true, "\n## steady\n": true, "\n## bad\n": true,
		"\n## good-00\n": true, "\n## good-13\n": false,
		"left out, because a job summary holds 1 MiB: good-13, good-12": true,
	} {
		if strings.Contains(out, want) != there {
			t.Errorf("%q there: got %t, want %t", want, !there, there)
		}
	}
	// This scenario alone is too large, and all other scenarios need no attention.
	run.Scenarios[0].About = strings.Repeat(about, 20)
	if out := reporttest.Printed(t, GitHub, run); len(out) > maxSummary ||
		strings.Contains(out, "\n## rolling-restart\n") {
		t.Errorf("%d bytes", len(out))
	}
}

// The expected text is what packages/core/src/command.ts in actions/toolkit writes.
func TestAnnotationEscapes(t *testing.T) {
	a := annotation{annotationError, "a,b:c%.yaml", 7, "x: y,\r\nz", "50 %: a,\r\nb"}
	if got, want := a.String(), "::error file=a%2Cb%3Ac%25.yaml,line=7,title=x%3A y%2C%0D%0Az::50 "+
		"%25: a,%0D%0Ab"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a.file, a.kind = "", annotationWarning
	if got, want := a.String(), "::warning title=x%3A y%2C%0D%0Az::50 %25: a,%0D%0Ab"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Failed gates come before everything else. There are at most ten annotations of each kind, and the
// tenth gives the number of those left out.
func TestAnnotationsLimit(t *testing.T) {
	run := reporttest.GatedRun()
	s := run.Scenarios[0]
	for i := range 12 {
		s.Gates = append(s.Gates,
			results.GateResult{Outcome: results.GateUndecided, Expect: fmt.Sprint("soft ", i), Soft: true},
			results.GateResult{Outcome: results.GateFail, Expect: fmt.Sprint("hard ", i)})
	}
	lines := strings.Split(strings.TrimSuffix(reporttest.Printed(t, Annotations, run), "\n"), "\n")
	if len(lines) != 20 {
		t.Fatalf("%d lines, want 20", len(lines))
	}
	for i, line := range lines {
		if want := []string{"::error ", "::warning "}[i/10]; !strings.HasPrefix(line, want) {
			t.Errorf("line %d: got %q, want %s…", i+1, line, want)
		}
		if i < 10 && !strings.Contains(line, "gate fail") {
			t.Errorf("line %d is no failed gate: %s", i+1, line)
		}
		more := map[int]string{9: "%0A6 errors more", 19: "%0A3 warnings more"}[i]
		if strings.Contains(line, "more; GitHub") != (more != "") || !strings.Contains(line, more) {
			t.Errorf("line %d: got %q, want %q", i+1, line, more)
		}
	}
}

// A run without problems has no annotations.
func TestAnnotationsOfAGoodRun(t *testing.T) {
	run := reporttest.FinishedRun()
	run.Scenarios = run.Scenarios[1:]
	var out bytes.Buffer
	if err := Annotations(&out, run, Options{}); err != nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}

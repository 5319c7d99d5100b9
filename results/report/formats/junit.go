package formats

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// JUnit prints the run as JUnit XML for CI systems, in the dialect of Jenkins, which GitLab and
// others read, too (junit-10.xsd of its xUnit plugin, https://github.com/jenkinsci/xunit-plugin). A
// scenario is a test suite. Its test cases are
//
//   - "measured [labels]" for each variant: skipped with the variant's reason, an error if it has
//     fewer valid trials than the scenario needs;
//   - "expect [labels]" for each gate on each variant: a failure if the gate failed, an error if it
//     is undecided, or a skip if it is also soft;
//   - "A/A: …" if the baseline was measured twice: an error if it differs from itself;
//   - "finished" only if the run did not finish: an error, as its gates were not judged.
//
// The time of a case is the time for which the load ran in the case's trials. The time of a suite
// is the sum over its cases. A time is left out if that of any trial is unknown. A timestamp is the
// start of the run. Characters that XML cannot represent, or that are not printable, become U+FFFD.
func JUnit(w io.Writer, run *results.Run, opts report.Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	suites := junitSuites{Name: run.Program}
	var variants []*results.Variant
	for _, s := range scenarios {
		suite := junitScenario(run, s)
		suites.Tests += suite.Tests
		suites.Failures += suite.Failures
		suites.Errors += suite.Errors
		suites.Suites = append(suites.Suites, suite)
		variants = append(variants, s.Variants...)
	}
	suites.Time = watched(variants)
	text, err := xml.MarshalIndent(suites, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, xml.Header+document.Clean(string(text))+"\n")
	return err
}

// The elements, with their attributes in the order of the schema.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr,omitempty"`
		Time     string       `xml:"time,attr,omitempty"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Time       string          `xml:"time,attr,omitempty"`
		Skipped    int             `xml:"skipped,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		SystemErr  string          `xml:"system-err,omitempty"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Time      string        `xml:"time,attr,omitempty"`
		Class     string        `xml:"classname,attr"`
		Skipped   *junitProblem `xml:"skipped"`
		Error     *junitProblem `xml:"error"`
		Failure   *junitProblem `xml:"failure"`
		SystemOut string        `xml:"system-out,omitempty"`
	}
	// junitProblem repeats everything important in its text, because GitLab shows the text but not
	// the message.
	junitProblem struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func junitScenario(run *results.Run, s *results.Scenario) junitSuite {
	suite := junitSuite{
		Name: s.Name, Time: watched(s.Variants), Properties: junitProperties(run, s),
		SystemErr: strings.Join(run.Warnings, "\n"),
	}
	unfinished := func(kind, what string) {
		suite.Cases = append(suite.Cases, junitCase{
			Name: "finished", Class: s.Name, Error: &junitProblem{kind, what, what},
		})
	}
	if !run.StartedAt.IsZero() {
		suite.Timestamp = run.StartedAt.UTC().Format(time.RFC3339)
	}
	if run.FinishedAt == nil {
		unfinished("interrupted", "the run was interrupted, or is still running: "+
			report.Progress([]*results.Scenario{s})+"; its gates are not judged")
	}
	if s.Stopped != "" {
		unfinished("stopped", s.Stopped)
	}
	for _, v := range s.Variants {
		suite.Cases = append(suite.Cases, measuredCase(s, v))
	}
	for _, g := range s.Gates {
		suite.Cases = append(suite.Cases, gateCase(s, g))
	}
	if len(s.AA) > 0 {
		c := junitCase{
			Name: "A/A: the baseline does not differ from itself", Class: s.Name,
			SystemOut: report.AAText(s.AA),
		}
		if s.Void != "" {
			text := s.Void + "\nThe machine did not repeat itself, so the gates decide nothing."
			c.Error = &junitProblem{"void", s.Void, text}
		}
		suite.Cases = append(suite.Cases, c)
	}
	for _, c := range suite.Cases {
		suite.Tests++
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
	return suite
}

// junitProperties returns the properties of the run that may have influenced a figure, except those
// that identify the machine. It leaves out properties that the run lacks.
func junitProperties(run *results.Run, s *results.Scenario) []junitProperty {
	e := run.Environment
	properties := []junitProperty{
		{"version", run.Version}, {"seed", strconv.FormatUint(run.Seed, 10)},
		{"scenario_sha256", s.SHA256},
		{"kernel", e.Kernel}, {"go", e.Go}, {"cpus", known(e.CPUs)}, {"cpu_model", e.CPUModel},
		{"privileged", strconv.FormatBool(e.Privileged)}, {"haproxy", e.HAProxy},
	}
	return slices.DeleteFunc(properties, func(p junitProperty) bool { return p.Value == "" })
}

// caseName returns the name of a case for the variant with these labels.
func caseName(what string, labels map[string]string) string {
	if len(labels) == 0 {
		return what
	}
	return what + " [" + results.LabelString(labels) + "]"
}

// measuredCase returns the case that says whether the variant has enough valid trials.
func measuredCase(s *results.Scenario, v *results.Variant) junitCase {
	c := junitCase{Name: caseName("measured", v.Labels), Class: s.Name}
	if v.SkippedReason != nil {
		c.Skipped = &junitProblem{Message: *v.SkippedReason}
		return c
	}
	c.Time = watched([]*results.Variant{v})
	valid, need := len(v.ValidTrials()), max(1, s.MinValid)
	why := report.InvalidTexts(v)
	if valid < need {
		what := fmt.Sprintf("%s, %d needed", unit.Plural(valid, "valid trial"), need)
		text := strings.Join(slices.Insert(why, 0, what), "\n")
		c.Error = &junitProblem{"too-few-valid-trials", what, text}
		return c
	}
	c.SystemOut = strings.Join(why, "\n")
	return c
}

// gateCase returns the case for a gate on a variant. An unknown outcome is an error.
func gateCase(s *results.Scenario, g results.GateResult) junitCase {
	c := junitCase{Name: caseName(g.Expect, g.Labels), Class: s.Name}
	text := "expected: " + g.Expect + "\nfigures: " + g.Note
	switch g.Outcome {
	case results.GatePass:
	case results.GateFail:
		c.Failure = &junitProblem{"gate", g.Note, text}
	case results.GateUndecided:
		problem := &junitProblem{results.GateUndecided, g.Note, text}
		if g.Soft {
			problem.Type = "" // a skip has no type
			c.Skipped = problem
		} else {
			c.Error = problem
		}
	default:
		what := fmt.Sprintf("outcome %q, which this program does not know", g.Outcome)
		c.Error = &junitProblem{"unknown-outcome", what, text}
	}
	return c
}

// watched returns the time for which the load ran in the variants' trials, in seconds with the
// three decimals that the schema allows. It returns "" if there are no trials, or if the time of
// one trial is unknown.
func watched(variants []*results.Variant) string {
	var total time.Duration
	trials := 0
	for _, v := range variants {
		for _, t := range v.Trials {
			if t.CPU.WatchedNS == nil {
				return ""
			}
			total += time.Duration(*t.CPU.WatchedNS)
			trials++
		}
	}
	if trials == 0 {
		return ""
	}
	return strconv.FormatFloat(total.Seconds(), 'f', 3, 64)
}

package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// maxAnnotations is the number of annotations of each kind that GitHub shows for a step
// (https://github.com/actions/toolkit/blob/main/docs/problem-matchers.md#limitations).
const maxAnnotations = 10

// The kinds of annotations.
const (
	annotationError   = "error"
	annotationWarning = "warning"
)

// An annotation is a workflow command of GitHub Actions that puts a message at a line of a file
// (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands).
type annotation struct {
	kind  string
	file  string // "": no file
	line  int    // 0: the file's first line
	title string
	text  string
}

// Annotations prints workflow commands of GitHub Actions for the run's gates that did not pass, and
// for what the run could not measure. It prints at most ten errors and ten warnings, because GitHub
// shows no more. If there are more, the tenth gives the number of those left out.
func Annotations(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	var failed, unmeasured, undecided []annotation
	if run.FinishedAt == nil {
		unmeasured = append(unmeasured, annotation{kind: annotationError, title: "not finished",
			text: "interrupted, or still running: " + Progress(scenarios) +
				"; its gates are not judged"})
	}
	for _, s := range scenarios {
		if s.Void != "" {
			unmeasured = append(unmeasured, annotation{annotationError, s.File, 1, s.Name +
				" is void", s.Void})
		}
		if s.Stopped != "" {
			unmeasured = append(unmeasured, annotation{annotationError, s.File, 1, s.Name +
				" was stopped", s.Stopped})
		}
		for _, text := range tooFew(s) {
			unmeasured = append(unmeasured, annotation{annotationError, s.File, 1, s.Name +
				": too few valid trials", text})
		}
		for _, g := range s.Gates {
			a := gateAnnotation(s, g)
			switch g.Outcome {
			case results.GatePass:
			case results.GateFail:
				failed = append(failed, a)
			default:
				undecided = append(undecided, a)
			}
		}
	}
	return writeAnnotations(w, failed, unmeasured, undecided)
}

func gateAnnotation(s *results.Scenario, g results.GateResult) annotation {
	a := annotation{
		kind: annotationError, file: g.File, line: g.Line,
		title: fmt.Sprintf("%s: gate %s", s.Name, g.Outcome),
		text:  fmt.Sprintf("%s: expected %s: %s", results.LabelString(g.Labels), g.Expect, g.Note),
	}
	if a.file == "" {
		a.file = s.File
	}
	if g.Outcome == results.GateUndecided && g.Soft {
		a.kind = annotationWarning
	}
	return a
}

// CompareAnnotations prints workflow commands of GitHub Actions for metrics that got worse, and for
// what could not be compared; see Annotations.
func CompareAnnotations(w io.Writer, c *compare.Comparison) error {
	var worse, unmeasured []annotation
	for _, s := range c.Scenarios {
		at := func(kind, title, text string) annotation {
			return annotation{kind, s.File, 1, s.Name + " " + title, text}
		}
		for _, why := range s.Void {
			unmeasured = append(unmeasured, at(annotationWarning, "is void", why))
		}
		for _, why := range s.Unmeasured {
			unmeasured = append(unmeasured, at(annotationWarning, "could not be compared", why))
		}
		if len(s.Void) > 0 {
			continue
		}
		for _, v := range s.Variants {
			for _, d := range v.Deltas {
				if d.Outcome == results.DeltaWorse {
					worse = append(worse, at(annotationError, "got worse",
						results.LabelString(v.Labels)+": "+d.String()))
				}
			}
		}
	}
	return writeAnnotations(w, worse, unmeasured)
}

// writeAnnotations prints the annotations of all lists. The most important list comes first.
func writeAnnotations(w io.Writer, lists ...[]annotation) error {
	byKind := map[string][]annotation{}
	for _, list := range lists {
		for _, a := range list {
			byKind[a.kind] = append(byKind[a.kind], a)
		}
	}
	var out bytes.Buffer
	for _, kind := range []string{annotationError, annotationWarning} {
		all := byKind[kind]
		shown := all[:min(maxAnnotations, len(all))]
		for i, a := range shown {
			if more := len(all) - len(shown); more > 0 && i == len(shown)-1 {
				a.text += fmt.Sprintf("\n%s more; GitHub shows %d of a step, the report has all",
					unit.Plural(more, kind), maxAnnotations)
			}
			out.WriteString(a.String() + "\n")
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// The escapes are those of GitHub's own toolkit
// (https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts).
var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",",
		"%2C")
)

// String returns the workflow command.
func (a annotation) String() string {
	property := func(value string) string { return document.Clean(escapeProperty.Replace(value)) }
	var properties []string
	if a.file != "" {
		properties = append(properties, "file="+property(a.file),
			"line="+strconv.Itoa(max(1, a.line)))
	}
	properties = append(properties, "title="+property(a.title))
	text := document.Clean(escapeData.Replace(a.text))
	return "::" + a.kind + " " + strings.Join(properties, ",") + "::" + text
}

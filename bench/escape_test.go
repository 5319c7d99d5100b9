package main

import (
	"maps"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
)

// poison contains everything that affects a terminal: C0 and C1 escape sequences, the bell, NUL,
// carriage return, marks that change the writing direction, and a newline.
const poison = "\x1b[31m\x07\x00\u009b32m\u202e\u2066\r::error::\n\x7f\u2028\ufeff"

// poisoned appends poison to every string in a value, including names and map keys.
func poisoned(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poisoned(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poisoned(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poisoned(v.Index(i))
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.Set(entry.Key())
			value.Set(entry.Value())
			poisoned(key)
			poisoned(value)
			v.SetMapIndex(entry.Key(), reflect.Value{})
			defer v.SetMapIndex(key, value) // deferred until the loop has visited all entries
		}
	case reflect.String:
		v.SetString(v.String() + poison)
	}
}

// moves reports whether a terminal does anything with r other than show it or start a new line.
func moves(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// printedRun returns the run in every format.
func printedRun(t *testing.T, run *results.Run) map[string]string {
	t.Helper()
	all := maps.Clone(reportFormats)
	all["ledger"], all["losses"] = report.Ledger, report.Losses
	all["claims"] = report.Claims
	printed := map[string]string{}
	for format, print := range all {
		var out strings.Builder
		if err := print(&out, run, report.Options{}); err != nil {
			t.Errorf("format %s: %v", format, err)
		}
		printed[format] = out.String()
	}
	return printed
}

// poisonedRuns returns runs with poison in every string. Only one of the runs has poison in strings
// that the program interprets, such as outcomes.
func poisonedRuns() map[string]*results.Run {
	all := map[string]*results.Run{}
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "gated": reporttest.GatedRun(),
		"interrupted": reporttest.InterruptedRun(), "shares": reporttest.SharesRun(),
	} {
		meanings := map[*results.GateResult]string{}
		for _, s := range run.Scenarios {
			for i := range s.Gates {
				meanings[&s.Gates[i]] = s.Gates[i].Outcome
			}
		}
		poisoned(reflect.ValueOf(run))
		all[name+", all"] = run
		for gate, outcome := range meanings {
			gate.Outcome = outcome
		}
	}
	all["outcomes"] = reporttest.GatedRun()
	for _, s := range all["outcomes"].Scenarios {
		for i := range s.Gates {
			s.Gates[i].Outcome += poison
		}
	}
	return all
}

// ownCommand matches the GitHub workflow commands that this program writes. It does not match the
// workflow command in poison.
var ownCommand = regexp.MustCompile("^::(error|warning) (file|title)=")

// No string in a run can send control characters to the terminal.
func TestNothingMovesTheCursor(t *testing.T) {
	for name, run := range poisonedRuns() {
		for format, text := range printedRun(t, run) {
			if i := strings.IndexFunc(text, moves); i >= 0 {
				t.Errorf("%s: format %s has %q in it", name, format,
					text[max(0, i-20):min(len(text), i+20)])
			}
			for line := range strings.Lines(text) {
				if format == "annotations" && !ownCommand.MatchString(line) {
					t.Errorf("%s: an annotation of its own: %q", name, line)
				}
			}
		}
	}
	another := reporttest.FinishedRun()
	another.Environment.Kernel = "7"
	empty := &results.Run{Environment: reporttest.FinishedRun().Environment}
	for _, head := range []*results.Run{
		reporttest.FinishedRun(), reporttest.SmallRun(), reporttest.InterruptedRun(), another,
		empty,
	} {
		base := reporttest.FinishedRun()
		poisoned(reflect.ValueOf(base))
		poisoned(reflect.ValueOf(head))
		for format, text := range printedComparison(t, base, head) {
			if i := strings.IndexFunc(text, moves); i >= 0 {
				t.Errorf("compare, format %s, has %q in it", format,
					text[max(0, i-20):min(len(text), i+20)])
			}
		}
	}
}

// printedComparison returns the comparison of two runs in every format, and its message on standard
// error.
func printedComparison(t *testing.T, base, head *results.Run) map[string]string {
	t.Helper()
	printed := map[string]string{}
	c, err := compare.Runs([]*results.Run{base}, []*results.Run{head}, compare.Options{})
	if err != nil {
		printed["error"] = err.Error()
		return printed
	}
	for format, print := range compareFormats(document.Look{}) {
		var out strings.Builder
		if err := print(&out, c); err != nil {
			t.Errorf("compare, format %s: %v", format, err)
		}
		printed[format] = out.String()
	}
	if err := compareVerdict(c); err != nil {
		printed["error"] = err.Error()
	}
	return printed
}

func TestPoisoned(t *testing.T) {
	if strings.ContainsFunc("größe = 1", moves) || !strings.ContainsFunc(poison, moves) ||
		!strings.ContainsFunc(poison, unicode.IsControl) {
		t.Error("moves does not tell text from poison")
	}
	run := reporttest.FinishedRun()
	poisoned(reflect.ValueOf(run))
	v := run.Scenarios[0].Variants[0]
	for _, text := range []string{
		run.Version, run.Scenarios[0].Name, v.Labels["stop"+poison], v.Trials[0].Losses[0].Source,
		run.Claims[0].Evidence[0],
	} {
		if !strings.HasSuffix(text, poison) {
			t.Errorf("%q has no poison in it", text)
		}
	}
}

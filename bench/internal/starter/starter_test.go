package starter

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios"
)

// every calls f for every combination of answers. Numbers are near both ends of their ranges.
func every(f func(Answers)) {
	for _, p := range Programs() {
		for _, r := range Restarts() {
			for _, workers := range []int{1, MaxWorkers} {
				for _, rate := range []float64{1, 400, MaxRate} {
					for _, work := range []time.Duration{1e3, 2e6, MaxWork} {
						f(Answers{p.Name, workers, r.Name, rate, work})
					}
				}
			}
		}
	}
}

// For all answers, the scenario is valid, can be planned, fits a screen, and compares today's way
// with others.
func TestScenario(t *testing.T) {
	machine := plan.Machine{CPUs: []int{0, 1, 2, 3}}
	written := 0
	every(func(a Answers) {
		text, err := a.Scenario("my-service")
		if err != nil {
			if !refused(err) {
				t.Errorf("%+v: %v", a, err)
			}
			return
		}
		written++
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > Columns {
				t.Errorf("%+v: a wide line: %s", a, line)
			}
		}
		for _, text := range []string{text, withGates(t, text)} {
			s, err := scenarios.Parse("my-service.yaml", []byte(text))
			if err != nil {
				t.Errorf("%+v: %v\n%s", a, err, text)
				return
			}
			p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{})
			if err != nil {
				t.Errorf("%+v: %v", a, err)
				return
			}
			if n := len(p.Scenarios[0].Variants); n < 2 {
				t.Errorf("%+v: %d variants, want some to compare", a, n)
			}
			for _, v := range p.Scenarios[0].Variants {
				if v.Skipped != "" || (len(v.Steps) == 0) != (a.Restart == "none") {
					t.Errorf("%+v: %s: skipped %q, %d steps", a, v.Labels, v.Skipped, len(v.Steps))
				}
			}
		}
	})
	if least := len(Programs()) * len(Restarts()); written < least {
		t.Errorf("%d scenarios were written, want at least %d", written, least)
	}
}

// refused reports whether the error is about answers that do not go together.
func refused(err error) bool {
	return strings.Contains(err.Error(), "keeps the workers busier than") ||
		strings.Contains(err.Error(), "behind an acceptor")
}

// withGates returns the text with its gates uncommented.
func withGates(t *testing.T, text string) string {
	t.Helper()
	before, gates, found := strings.Cut(text, "# gates:\n")
	if !found {
		t.Fatal("there are no gates")
	}
	return before + "gates:\n" + strings.ReplaceAll(gates, "# ", "")
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Answers){
		`no kind of program is called "x"`: func(a *Answers) { a.Program = "x" },
		`no way to restart is called "x"`:  func(a *Answers) { a.Restart = "x" },
		"0 workers: must be 1 to 64":       func(a *Answers) { a.Workers = 0 },
		"a rate of 0/s: must be 1/s":       func(a *Answers) { a.Rate = 0 },
		"work of 0s: must be more than 0":  func(a *Answers) { a.Work = 0 },
		"at 2ms a request they serve 1000/s": func(a *Answers) {
			a.Program, a.Rate = "event-loop", 1000
		},
		"at 2ms a request they serve 500/s": func(a *Answers) {
			a.Program, a.Restart, a.Rate = "prefork", "stop-start", 600
		},
		"leave the restart out": func(a *Answers) { a.Program = "node-cluster" },
	} {
		a := Defaults()
		change(&a)
		if _, err := a.Scenario("x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}

// The documents have a row for each program, with settings that a scenario can have.
func TestMarkdown(t *testing.T) {
	table := Markdown()
	if got, want := strings.Count(table, "\n"), 2+len(Programs()); got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	for _, p := range Programs() {
		settings := strings.ReplaceAll(strings.ReplaceAll(p.settings(), "`, `", "\n"), "`", "")
		text := fmt.Sprintf("name: x\nload: {rate: 1/s, duration: 1s}\nsockets: shared\n%s\n",
			settings)
		if _, err := scenarios.Parse("x.yaml", []byte(text)); err != nil {
			t.Errorf("%s: %v\n%s", p.Name, err, text)
		}
	}
}

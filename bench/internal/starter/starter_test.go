package starter

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// every calls f for every combination of programs and restarts with small and large numbers.
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

// For all answers that Scenario accepts, the scenario is valid, can be planned, fits a screen, and
// compares the user's current way to restart with others.
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

// The example gate applies to at least one variant. It does not apply to the user's current way to
// restart if that may lose what the gate counts, because the gate would then fail in the first run.
func TestGateSparesToday(t *testing.T) {
	keepsSocket := []string{"systemd", "handoff", "upgrade", "load-balancer", "none"}
	for _, p := range Programs() {
		for _, r := range Restarts() {
			a := Defaults()
			a.Program, a.Restart = p.Name, r.Name
			text, err := a.Scenario("my-service")
			if err != nil {
				if !refused(err) {
					t.Errorf("%+v: %v", a, err)
				}
				continue
			}
			s, err := scenarios.Parse("my-service.yaml", []byte(withGates(t, text)))
			if err != nil {
				t.Errorf("%+v: %v", a, err)
				continue
			}
			judged := 0
			for _, v := range s.Variants {
				if !results.Includes(v.Labels, s.Gates[0].When) {
					continue
				}
				judged++
				if results.Includes(v.Labels, s.Baseline) && !slices.Contains(keepsSocket, r.Name) {
					t.Errorf("%s, %s: the gate %v judges the baseline %v", p.Name, r.Name,
						s.Gates[0].When, s.Baseline)
				}
			}
			if judged == 0 {
				t.Errorf("%s, %s: the gate %v judges no variant", p.Name, r.Name, s.Gates[0].When)
			}
		}
	}
}

// The description of the load depends on whether a worker serves many requests at a time or one,
// and on whether a request uses a CPU.
func TestLoad(t *testing.T) {
	for program, want := range map[string]string{
		"go":         "1500/s × 5ms is 7.5 requests at a time.",
		"go-cpu":     "1500/s × 5ms uses 7.5 CPUs.",
		"event-loop": "1500/s × 5ms keeps 7.5 of 16 workers busy.",
	} {
		text, err := Answers{program, 16, "reuseport", 1500, 5 * time.Millisecond}.Scenario("x")
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: error %v, want %q in\n%s", program, err, want, text)
		}
	}
}

// The remedies that the error about too much load suggests are accepted.
func TestTooBusy(t *testing.T) {
	for _, program := range []string{"go-cpu", "event-loop", "prefork"} {
		for _, restart := range []string{"reuseport", "stop-start", "load-balancer"} {
			for _, a := range []Answers{
				{program, 4, restart, 1500, 5 * time.Millisecond},
				{program, 4, restart, MaxRate, 5 * time.Millisecond},
				{program, 64, restart, 100, MaxWork},
				{program, 1, restart, 2, MaxWork},
			} {
				_, err := a.Scenario("x")
				if err == nil || !refused(err) {
					t.Errorf("%+v: %v, want a refusal", a, err)
					continue
				}
				for _, m := range regexp.MustCompile(`at (most|least) (\d+)`).
					FindAllStringSubmatch(err.Error(), -1) {
					n, _ := strconv.Atoi(m[2])
					changed := a
					if m[1] == "most" {
						changed.Rate = float64(n)
					} else {
						changed.Workers = n
					}
					if _, again := changed.Scenario("x"); again != nil {
						t.Errorf("%v\nthen: %v", err, again)
					}
				}
			}
		}
	}
}

// refused reports whether the error is about answers that contradict each other.
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
		"use at most 900/s, or at least 3 workers, or shorter work": func(a *Answers) {
			a.Program, a.Rate = "go-cpu", 1001
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

// The table for the documents has a row for each program, and all settings in it are valid in a
// scenario.
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

package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios/vocabulary"
)

// corpus is the directory of recorded trials, made by scripts/record-corpus.sh.
const corpus = "testdata/corpus"

// ownJournals is the reason why the corpus lacks the causes that are found only if nothing but the
// clients' samples is known.
const ownJournals = "every server of the corpus has a journal or a witness"

// noExample lists the causes without an example in the corpus, each with the reason.
var noExample = map[string]string{
	cause.NoRoute: "in a lab, only addresses of pods that have gone have no route, " +
		"and then the cause is stale_endpoint",
	cause.Untranslated: "happens once in some hundreds of commits; not seen in 200",
	cause.Reset:        ownJournals,
	cause.Closed:       ownJournals,
	cause.Unknown:      "no rule explains the loss; a trial with one is a bug",
}

// Judging each trial of the corpus again gives the recorded cause, evidence and step of every
// attempt, and the recorded figures. Closing the same book a second time gives the same verdicts.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	seen := newCoverage()
	for _, path := range files {
		name, _ := filepath.Rel(corpus, path)
		t.Run(strings.TrimSuffix(name, ".jsonl.gz"), func(t *testing.T) {
			r, err := ReadRecording(path)
			if err != nil {
				t.Fatal(err)
			}
			a, err := r.Judge()
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range Changes(r.Verdicts, a.Verdicts()) {
				t.Error(line)
			}
			for _, line := range Changes(r.Verdicts, a.book.Close(r.Facts).Verdicts()) {
				t.Errorf("judged twice: %s", line)
			}
			sameFigures(t, figures(a, r), r.Trial)
			seen.add(r, a)
		})
	}
	seen.check(t)
	t.Logf("%d trials\n%s", len(files), seen)
}

// figures returns a copy of the recorded trial in which the account's figures replace the recorded
// ones.
func figures(a *Account, r *Recording) *results.Trial {
	f := *r.Trial
	f.Evidence, f.Losses, f.Lost = results.Evidence{}, nil, 0
	a.Fill(&f)
	if n := len(r.Trial.Losses); n < len(f.Losses) { // a run lists only some of the losses
		f.LossesOmitted += int64(len(f.Losses) - n)
		f.Losses = f.Losses[:n]
	}
	if was := r.Trial.Fairness; was != nil && was.Requests == nil && f.Fairness != nil {
		// The recording was made before these figures existed.
		f.Fairness.TopShare, f.Fairness.Requests, f.Fairness.BusyTime = 0, nil, nil
	}
	f.Workers = slices.Clone(f.Workers)
	for i := range f.Workers {
		if r.Load.Foreign { // Fill has set the workers of a third-party server
			// Older programs counted every step as a new generation, from 0.
			f.Workers[i].Generation = r.Trial.Workers[i].Generation
			continue
		}
		w := &f.Workers[i]
		w.Accepted, w.Served = a.book.Count(w.ID)
	}
	if r.Load.Foreign && f.Fairness != nil && r.Trial.Fairness != nil {
		f.Fairness.Generation = r.Trial.Fairness.Generation
	}
	if len(f.Equalities) > 0 {
		f.Equalities = a.Equalities(&f)
	}
	if f.Trace != nil {
		trace := *f.Trace
		trace.Agreement = a.Agreement()
		f.Trace = &trace
	}
	f.Steps = slices.Clone(f.Steps)
	for k := range f.Steps {
		f.Steps[k] = stepFigures(a, k, f.Steps[k])
	}
	return &f
}

// stepFigures returns the account's figures of a step. It copies the figures about the machine and
// the pods from the recording.
func stepFigures(a *Account, k int, was results.Step) results.Step {
	s := a.Step(k)
	s.StopNS, s.EndpointsNS, s.RulesNS = was.StopNS, was.EndpointsNS, was.RulesNS
	s.Endpoints, s.Pods = was.Endpoints, was.Pods
	s.LateNS, s.Queued = was.LateNS, was.Queued
	s.WindowNS, s.StealNS = was.WindowNS, was.StealNS
	s.Pressure, s.RunQueueDelayNS = was.Pressure, was.RunQueueDelayNS
	if was.DeadNS != nil {
		dead, _ := a.Dead(k)
		s.DeadNS = new(int64(dead))
	}
	if was.PredictedLost != nil || was.Unpredicted != "" {
		lost, unknown := a.Predict(k)
		if s.Unpredicted = unknown; unknown == "" {
			s.PredictedLost = &lost
		}
	}
	if was.ColdStart != nil {
		s.ColdStart = a.ColdStart(k)
	}
	return s
}

// addedFigures lists figures that the program did not yet compute when the corpus was recorded.
var addedFigures = []string{
	"connect_ns", "first_byte_ns", "retriable", "windows", "around_stops",
}

// sameFigures fails the test if two trials differ in the form in which run.json stores them.
func sameFigures(t *testing.T, got, want *results.Trial) {
	t.Helper()
	read := func(r *results.Trial) (all map[string]any) {
		text, err := json.Marshal(r)
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	now, before := read(got), read(want)
	for _, name := range addedFigures {
		if _, recorded := before[name]; !recorded {
			delete(now, name)
		}
	}
	if d := diff.Diff(now, before); d != "" {
		t.Errorf("figures: got -, recorded +:\n%s", d)
	}
}

// coverage counts the corpus's examples of causes, rules, steps and words.
type coverage struct {
	attempts int
	causes   map[string]map[string]int // lost attempts, by cause and evidence
	rules    map[string]int            // lost attempts, by rule
	steps    map[string]int            // lost attempts, by the kind of step that caused them
	words    map[string]int            // number of trials that use a scenario word, by word
}

func newCoverage() *coverage {
	return &coverage{
		causes: map[string]map[string]int{}, rules: map[string]int{},
		steps: map[string]int{}, words: map[string]int{},
	}
}

func (c *coverage) add(r *Recording, a *Account) {
	c.attempts += a.Attempts()
	for _, v := range a.Verdicts() {
		if v.Cause == "" {
			continue
		}
		if c.causes[v.Cause] == nil {
			c.causes[v.Cause] = map[string]int{}
		}
		c.causes[v.Cause][v.Evidence]++
		c.rules[v.Rule]++
		if v.Step != nil {
			c.steps[string(r.Facts.Steps[*v.Step].Do)]++
		}
	}
	words := map[string]bool{
		fmt.Sprintf("privileged: %v", r.Header.Privileged): true,
		"traced": r.Facts.Trace != nil,
	}
	for _, word := range r.Header.Words {
		words[word] = true
	}
	for _, step := range r.Facts.Steps {
		words["do: "+string(step.Do)] = true
	}
	for word, is := range words {
		if is {
			c.words[word]++
		}
	}
}

// check fails the test if an example is missing in the corpus, or noExample lists a cause that has
// one.
func (c *coverage) check(t *testing.T) {
	t.Helper()
	for _, name := range cause.Names() {
		switch _, excused := noExample[name]; {
		case c.causes[name] == nil && !excused:
			t.Errorf("no attempt was lost by %s; record one (see CONTRIBUTING.md), "+
				"or add the cause to noExample", name)
		case c.causes[name] != nil && excused:
			t.Errorf("there is an example of %s; remove it from noExample", name)
		}
	}
	words := []string{
		"privileged: true", "privileged: false", "traced", "kept", "ports", "retry", "body",
		"processes", "aborts", "resets", "half_open", "time_wait", "dropped_syns", "rejected_syns",
	}
	for prefix, setting := range map[string]string{
		"network": "network", "family": "family", "path": "path", "kind": "server.kind",
		"sockets": "sockets", "accept": "accept", "connections": "load.connections",
		"stop": "stop", "do": "timeline[].do",
	} {
		for _, value := range vocabulary.Values(setting) {
			words = append(words, prefix+": "+value.Name)
		}
	}
	for _, word := range words {
		if c.words[word] == 0 {
			t.Errorf("no trial has %s; record one (see CONTRIBUTING.md)", word)
		}
	}
}

func (c *coverage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d attempts; lost, by cause and evidence:\n%-18s", c.attempts, "")
	for _, evidence := range evidenceNames[1:] {
		fmt.Fprintf(&b, "%9s", evidence)
	}
	for _, name := range slices.Sorted(maps.Keys(c.causes)) {
		fmt.Fprintf(&b, "\n%-18s", name)
		for _, evidence := range evidenceNames[1:] {
			fmt.Fprintf(&b, "%9d", c.causes[name][evidence])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(noExample)) {
		fmt.Fprintf(&b, "\n%-18s  none: %s", name, noExample[name])
	}
	fmt.Fprintf(&b, "\nlost, by rule: %s\nlost, by step: %s\ntrials with: %s",
		counts(c.rules), counts(c.steps), counts(c.words))
	return b.String()
}

// counts returns the counts as text, the largest count first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, of[name])
	}
	return strings.Join(names, ", ")
}

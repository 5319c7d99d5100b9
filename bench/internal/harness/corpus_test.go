package harness

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
)

// corpus is where recorded trials are; scripts/record-corpus.sh records them.
const corpus = "testdata/corpus"

// noExample are the causes that no trial of the corpus has, and why.
var noExample = map[string]string{
	cause.NoRoute:      "without a route are only pods that have gone: stale_endpoint",
	cause.Untranslated: "the kernel does it once in some hundreds of commits; none in 78 steps that scale",
	cause.Unknown:      "a loss that no account explains; a trial that has one is a bug",
}

// Every trial of the corpus is judged as it was when it was recorded: the same cause, evidence and
// step for every attempt, and the same figures.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	seen := newCoverage()
	for _, path := range files {
		name, _ := filepath.Rel(corpus, path)
		t.Run(strings.TrimSuffix(name, ".jsonl.gz"), func(t *testing.T) {
			f, err := readFacts(path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := f.judge()
			if err != nil {
				t.Fatal(err)
			}
			var got []*verdictFact
			for _, i := range slices.Sorted(maps.Keys(m.verdicts)) {
				got = append(got, verdictOf(m, i))
			}
			if d := diff.Diff(got, f.verdicts); d != "" {
				t.Errorf("verdicts: got -, recorded +:\n%s", d)
			}
			sameFigures(t, f.figures(m), f.trialJSON)
			seen.add(f)
		})
	}
	if seen.trials == len(files) { // not where -run chose some
		seen.check(t)
	}
	t.Logf("%d trials\n%s", seen.trials, seen)
}

// sameFigures compares a trial with a recorded one, in the figures that were recorded: one that was
// added since then says nothing.
func sameFigures(t *testing.T, trial any, recorded json.RawMessage) {
	t.Helper()
	var got, want any
	text, err := json.Marshal(trial)
	for _, each := range []struct {
		text []byte
		into *any
	}{{text, &got}, {recorded, &want}} {
		if err == nil {
			err = json.Unmarshal(each.text, each.into)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := diff.Diff(shared(got, want), want); d != "" {
		t.Errorf("figures: got -, recorded +:\n%s", d)
	}
}

// shared is got without the names that want does not have.
func shared(got, want any) any {
	switch want := want.(type) {
	case map[string]any:
		all, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for name, value := range want {
			if _, ok := all[name]; ok {
				out[name] = shared(all[name], value)
			}
		}
		return out
	case []any:
		all, ok := got.([]any)
		if !ok || len(all) != len(want) {
			return got
		}
		out := make([]any, len(all))
		for i := range all {
			out[i] = shared(all[i], want[i])
		}
		return out
	}
	return got
}

// coverage is what there are examples of.
type coverage struct {
	trials   int
	attempts int
	causes   map[string]map[string]int // lost attempts, by cause and evidence
	steps    map[string]int            // lost attempts, by the kind of step that cost them
	words    map[string]int            // trials, by the word of the scenario language
}

func newCoverage() *coverage {
	return &coverage{
		causes: map[string]map[string]int{}, steps: map[string]int{}, words: map[string]int{},
	}
}

func (c *coverage) add(f *factsFile) {
	c.trials++
	c.attempts += int(f.trial.Attempts)
	for _, v := range f.verdicts {
		if v.Cause == "" {
			continue
		}
		if c.causes[v.Cause] == nil {
			c.causes[v.Cause] = map[string]int{}
		}
		c.causes[v.Cause][v.Evidence]++
		if v.Step != nil {
			c.steps[f.steps[*v.Step].Do]++
		}
	}
	s, l := f.setup, f.setup.Load[0]
	words := []string{
		fmt.Sprintf("privileged: %v", f.header.Privileged),
		"network: " + s.Network, "family: " + s.Family, "path: " + s.Path,
		"kind: " + string(s.Kind), "sockets: " + string(s.Sockets), "accept: " + string(s.Accept),
		"connections: " + string(l.Connections),
	}
	steps := map[string]bool{}
	for _, step := range f.steps {
		steps[step.Do] = true
	}
	for do := range steps {
		words = append(words, "do: "+do)
	}
	for name, is := range map[string]bool{
		"stop: " + s.Stop: s.Stop != "",
		"ports":           l.Ports > 0, "retry": l.Retry.Max > 0,
		"body": l.Body > 0, "processes": l.Processes > 1,
		"aborts": l.Aborts > 0, "resets": s.Fault.Resets > 0,
		"half_open": s.Fault.HalfOpen > 0, "time_wait": s.Fault.TimeWait > 0,
		"dropped_syns": s.Fault.DroppedSYNs > 0, "rejected_syns": s.Fault.RejectedSYNs > 0,
		"traced": f.heard(), "inferred": !f.heard(),
	} {
		if is {
			words = append(words, name)
		}
	}
	for _, word := range words {
		c.words[word]++
	}
}

// check says of what there is no example, and should be.
func (c *coverage) check(t *testing.T) {
	t.Helper()
	for _, cause := range cause.Names() {
		switch _, excused := noExample[cause]; {
		case c.causes[cause] == nil && !excused:
			t.Errorf("no attempt was lost by %s; record one (CONTRIBUTING.md), or say why not", cause)
		case c.causes[cause] != nil && excused:
			t.Errorf("there is an example of %s: take it out of noExample", cause)
		}
	}
	for _, evidence := range evidenceNames[1:] {
		known := func(cause string) bool { return c.causes[cause][evidence] > 0 }
		if !slices.ContainsFunc(cause.Names(), known) {
			t.Errorf("no cause is known from the %s", evidence)
		}
	}
	words := []string{
		"privileged: true", "privileged: false", "traced", "inferred",
		"ports", "retry", "body", "processes", "aborts", "resets", "half_open",
		"time_wait", "dropped_syns", "rejected_syns",
	}
	for prefix, choices := range map[string][]scenarios.Choice{
		"network": scenarios.Networks(), "family": scenarios.Families(), "path": scenarios.Paths(),
		"kind": scenarios.ServerKinds(), "sockets": scenarios.SocketsModes(),
		"accept": scenarios.AcceptModes(), "connections": scenarios.ConnectionsModes(),
		"stop": scenarios.Stops(),
	} {
		for _, choice := range choices {
			words = append(words, prefix+": "+choice.Value)
		}
	}
	for _, kind := range scenarios.StepKinds() {
		words = append(words, "do: "+kind.Name)
	}
	for _, word := range words {
		if c.words[word] == 0 {
			t.Errorf("no trial with %s; record one: CONTRIBUTING.md says how", word)
		}
	}
}

func (c *coverage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d attempts; lost, by cause and what it is known from:\n%-18s", c.attempts, "")
	for _, evidence := range evidenceNames[1:] {
		fmt.Fprintf(&b, "%9s", evidence)
	}
	for _, cause := range slices.Sorted(maps.Keys(c.causes)) {
		fmt.Fprintf(&b, "\n%-18s", cause)
		for _, evidence := range evidenceNames[1:] {
			fmt.Fprintf(&b, "%9d", c.causes[cause][evidence])
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(noExample)) {
		fmt.Fprintf(&b, "\n%-18s  none: %s", cause, noExample[cause])
	}
	fmt.Fprintf(&b, "\nlost, by step: %s\ntrials with: %s", counts(c.steps), counts(c.words))
	return b.String()
}

// counts lists the largest first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, of[name])
	}
	return strings.Join(names, ", ")
}

// What cannot be read is refused, and says what to do.
func TestReadFacts(t *testing.T) {
	header := factsHeader{Format: factsFormat, Version: factsVersion}
	other, later := header, header
	other.Format = "a scenario"
	later.Version++
	for name, test := range map[string]struct {
		header factsHeader
		cut    int64  // off the file's end, in bytes
		want   string // in the error; "": none
	}{
		"whole":           {header, 0, ""},
		"another version": {later, 0, "record them again with 'run --keep-facts'"},
		"something else":  {other, 0, "no facts"},
		"cut off":         {header, 100, "ends before its trial"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			keeper := &factsKeeper{trial: &results.Trial{}}
			if err := keeper.save(dir, "facts.jsonl.gz", test.header); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, factsDir, "facts.jsonl.gz")
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, info.Size()-test.cut)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = readFacts(path)
			if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A disk that is full is an error that names the file, and leaves no half of one.
func TestSaveFactsFull(t *testing.T) {
	dir := t.TempDir()
	// What /dev/full is asked to hold does not fit (full(4)).
	if err := os.Mkdir(filepath.Join(dir, factsDir), 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, factsDir, "facts.jsonl.gz")
	if err := os.Symlink("/dev/full", path+".tmp"); err != nil {
		t.Fatal(err)
	}
	err := (&factsKeeper{trial: &results.Trial{}}).save(dir, "facts.jsonl.gz", factsHeader{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want no space left at %s", err, path)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

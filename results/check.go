package results

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"reuseport-bench/results/cause"
	"reuseport-bench/results/jsonfile"
)

// Limits of a run. No run that this program writes exceeds them.
const (
	maxScenarios = 1000
	maxVariants  = 1000 // per scenario; the program writes at most 256 and an A/A arm
	maxInAll     = 10_000
	maxGates     = 200_000 // per run; the program writes at most 256 per variant
	maxTrials    = 200_000 // per run
	maxLabels    = 1000    // per variant
	maxBlocks    = 1000    // per scenario; its file and run --trials have the same limit
)

// variantKey returns a key that is unique among the variants of a run.
func variantKey(scenario string, labels map[string]string) string {
	key, _ := json.Marshal(labels) // sorts the keys; cannot fail on strings
	return scenario + "\x00" + string(key)
}

// wrongAt returns an error that begins with a place in a file. what is a format string that ends
// with advice for the user.
func wrongAt(at place, path, what string, args ...any) error {
	return fmt.Errorf("%v: %s: "+what, slices.Concat([]any{at, path}, args)...)
}

// index records the run's variants. It refuses valid JSON that is not a run: nulls where readers
// dereference a pointer, counts over the limits, duplicate names.
func (l *loader) index(file string, run *Run) error {
	start := place{file, 1}
	if n := len(run.Scenarios); n > maxScenarios {
		return wrongAt(start, "scenarios", "%d of them, and a run has at most %d; %s", n,
			maxScenarios, editedHint)
	}
	names := map[string]bool{}
	for i, s := range run.Scenarios {
		path := fmt.Sprintf("scenarios[%d]", i)
		at := l.places[path]
		switch {
		case s == nil:
			return wrongAt(start, path, "null; %s", editedHint)
		case names[s.Name]:
			return wrongAt(at, path, "scenario %s appears twice; %s", jsonfile.Quote(s.Name),
				twiceHint)
		case s.Trials < 0 || s.Trials > maxBlocks:
			return wrongAt(at, path, "%d trials, and a scenario has at most %d; %s", s.Trials,
				maxBlocks, editedHint)
		case len(s.Variants) > maxVariants:
			return wrongAt(at, path, "%d variants, and a scenario has at most %d; %s",
				len(s.Variants), maxVariants, editedHint)
		case slices.Contains(s.AA, nil):
			return wrongAt(at, path, "aa has a null; %s", editedHint)
		}
		names[s.Name] = true
		for k, v := range s.Variants {
			err := l.indexVariant(s, v, at, fmt.Sprintf("%s.variants[%d]", path, k))
			if err != nil {
				return err
			}
		}
		for _, g := range s.Gates {
			renameArm(g.Labels)
		}
	}
	return nil
}

// indexVariant records one variant. scenario is the place where its scenario begins.
func (l *loader) indexVariant(s *Scenario, v *Variant, scenario place, path string) error {
	if v == nil {
		return wrongAt(scenario, path, "null; %s", editedHint)
	}
	at := l.places[path]
	if n := len(v.Labels); n > maxLabels {
		return wrongAt(at, path, "%d labels, and a variant has at most %d; %s", n, maxLabels,
			editedHint)
	}
	renameArm(v.Labels) // older runs label the A/A arm differently
	key := variantKey(s.Name, v.Labels)
	if _, twice := l.variants[key]; twice {
		return wrongAt(at, path, "variant %s appears twice; %s",
			jsonfile.Quote(LabelString(v.Labels)), twiceHint)
	}
	if l.variants[key] = (variantAt{v, path}); len(l.variants) > maxInAll {
		return wrongAt(at, path, "more than %d variants in all; %s", maxInAll, editedHint)
	}
	if n := slices.Index(v.Trials, nil); n >= 0 {
		return wrongAt(at, fmt.Sprintf("%s.trials[%d]", path, n), "null; %s", editedHint)
	}
	return nil
}

// checkTrials refuses what no version of this program writes: trials that contradict themselves,
// and duplicate trials.
func (l *loader) checkTrials(run *Run) error {
	for i, s := range run.Scenarios {
		for k, v := range s.Variants {
			path := fmt.Sprintf("scenarios[%d].variants[%d]", i, k)
			if err := l.checkVariant(s, v, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkVariant does the work of checkTrials for one variant.
func (l *loader) checkVariant(s *Scenario, v *Variant, path string) error {
	type turn struct{ block, order int }
	seen, usable := map[turn]bool{}, map[int]bool{}
	for n, t := range v.Trials {
		at, path := l.trials[path][n], fmt.Sprintf("%s.trials[%d]", path, n)
		wrong := t.contradiction()
		if wrong == "" && l.unsummed {
			wrong = t.histogramContradiction()
		}
		if wrong != "" {
			return wrongAt(at, path, "%s; %s", wrong, editedHint)
		}
		// A variant may have several trials of a block: an invalid trial is repeated later.
		if seen[turn{t.Block, t.Order}] || t.Usable() && usable[t.Block] {
			return wrongAt(at, path, "block %d of %s, %s appears twice; %s", t.Block+1,
				jsonfile.Quote(s.Name), jsonfile.Quote(LabelString(v.Labels)), twiceHint)
		}
		seen[turn{t.Block, t.Order}] = true
		usable[t.Block] = usable[t.Block] || t.Usable()
	}
	return nil
}

// contradiction describes how the trial contradicts itself, or returns "".
func (t *Trial) contradiction() string {
	if path, found := negative(reflect.ValueOf(t).Elem()); found {
		return path[1:] + " is negative"
	}
	switch {
	case t.Block >= maxBlocks:
		return fmt.Sprintf("block is %d; the largest is %d", t.Block, maxBlocks-1)
	case t.Attempts != t.Served+t.Lost:
		return fmt.Sprintf("%d attempts, of which %d were served and %d lost", t.Attempts, t.Served,
			t.Lost)
	case t.Dropped > t.Lost:
		return fmt.Sprintf("%d of %d lost attempts were dropped", t.Dropped, t.Lost)
	case t.Retriable != nil && *t.Retriable > t.Lost:
		return fmt.Sprintf("%d of %d lost attempts were retriable", *t.Retriable, t.Lost)
	case t.Background != nil && *t.Background > t.Dropped:
		return fmt.Sprintf("%d of %d dropped attempts were lost in the background", *t.Background,
			t.Dropped)
	case t.Unverified > t.Served:
		return fmt.Sprintf("%d of %d served attempts were unverified", t.Unverified, t.Served)
	}
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Lost > t.Lost || s.Dropped != nil && *s.Dropped > s.Lost {
			return fmt.Sprintf("steps[%d] lost more than the trial's %d lost attempts", i, t.Lost)
		}
	}
	byCause, byPhase, rows := int64(0), int64(0), int64(0)
	for name, n := range t.LostByCause {
		if !slices.Contains(cause.Names(), name) {
			return "unknown cause " + jsonfile.Quote(name)
		}
		byCause += n
	}
	for _, n := range t.LostByPhase {
		byPhase += n
	}
	answers := int64(0)
	for _, n := range t.ErrorAnswers {
		answers += n
	}
	for _, row := range t.Ledger {
		rows += row.Attempts
	}
	switch {
	case byCause != t.Lost:
		return fmt.Sprintf("%d attempts were lost, but the causes add up to %d", t.Lost, byCause)
	case byPhase != t.Lost && len(t.LostByPhase) > 0:
		return fmt.Sprintf("%d attempts were lost, but the phases add up to %d", t.Lost, byPhase)
	case answers != t.LostByCause[cause.ErrorAnswer]:
		return fmt.Sprintf("%d attempts were lost by %s, but the statuses add up to %d",
			t.LostByCause[cause.ErrorAnswer], cause.ErrorAnswer, answers)
	case rows != t.Attempts && len(t.Ledger) > 0:
		return fmt.Sprintf("%d attempts, but the ledger has %d", t.Attempts, rows)
	}
	if w := t.Windows; w != nil {
		if wrong := w.contradiction(t); wrong != "" {
			return wrong
		}
	}
	if s := t.AroundStops; s != nil {
		if wrong := s.contradiction(t); wrong != "" {
			return wrong
		}
	}
	return t.listContradiction()
}

// kernelCounts are the fields that hold changes of kernel counters. A change may be negative: it
// compares sums over namespaces or threads, and when one of these ends, its counter is missing from
// the next sum.
var kernelCounts = []string{
	"kernel", "equalities", "syn_retransmits", "overflows", "migrations", "context_switches",
}

// negative returns the path of a negative count in a trial, and whether it found one. It ignores
// times, because instants before the first scheduled attempt are negative.
func negative(v reflect.Value) (path string, found bool) {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return "", v.Int() < 0
	case reflect.Pointer:
		if !v.IsNil() {
			return negative(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if path, found := negative(v.Index(i)); found {
				return fmt.Sprintf("[%d]%s", i, path), true
			}
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			if path, found := negative(entry.Value()); found {
				key := fmt.Sprint(entry.Key())
				return fmt.Sprintf("[%s]%s", jsonfile.Quote(key), path), true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if strings.HasSuffix(name, "_ns") || slices.Contains(kernelCounts, name) {
				continue
			}
			if path, found := negative(v.Field(i)); found {
				return "." + name + path, true
			}
		}
	}
	return "", false
}

// listContradiction does the work of contradiction for the list of losses.
func (t *Trial) listContradiction() string {
	if n := int64(len(t.Losses)); n > t.Attempts {
		return fmt.Sprintf("%d losses are listed, but only %d attempts were made", n, t.Attempts)
	}
	for i, loss := range t.Losses {
		if loss.Step != nil && (*loss.Step < 0 || *loss.Step >= len(t.Steps)) {
			return fmt.Sprintf("losses[%d] names step %d, but there are %d steps", i, *loss.Step,
				len(t.Steps))
		}
	}
	return ""
}

// histogramContradiction does the work of contradiction for the histogram. It is separate because
// decoding the histogram takes longer than all other checks.
func (t *Trial) histogramContradiction() string {
	if t.Histogram == "" {
		return ""
	}
	switch h, err := DecodeHistogram(t.Histogram); {
	case err != nil:
		return "the histogram was not made by this program"
	case h.Count() > t.Attempts:
		return fmt.Sprintf("the histogram counts %d attempts, but there were %d", h.Count(),
			t.Attempts)
	}
	return ""
}

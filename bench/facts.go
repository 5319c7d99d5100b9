package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results"
	"reuseport-bench/results/input"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

// kept holds the recordings of a run, or some of them.
type kept struct {
	dir   string // the run's directory
	files []harness.FactsFile
	whole bool // files has all recordings: neither --scenario nor --trial excluded any
}

// A factsFunc prints the recordings of a run.
type factsFunc func(io.Writer, kept) error

// factsFormats are the formats that need kept facts.
var factsFormats = map[string]factsFunc{"attempts": attemptsCSV, "vegeta": vegetaResults}

// printFacts prints the recordings of the given scenarios and trial. An empty argument means all.
func printFacts(c *cobra.Command, args, scenarios []string, trial string, print factsFunc) error {
	path, err := runPath(c, args)
	if err != nil {
		return usage(err)
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		return usage(fmt.Errorf("%w; name the directory of a run", input.Named(path, err)))
	case !info.IsDir():
		path = filepath.Dir(path)
	}
	files, err := harness.FactsFiles(path)
	if err != nil {
		return usage(err)
	}
	var names, trials []string
	for _, f := range files {
		names, trials = append(names, f.Scenario), append(trials, f.Name)
	}
	names = slices.Compact(names)
	for i, s := range scenarios {
		named := func(name string) bool {
			return vocabulary.ScenarioName(name) == vocabulary.ScenarioName(s)
		}
		n := slices.IndexFunc(names, named)
		if n < 0 {
			return usagef(c, "--scenario %s: the run has no facts of it; %s",
				quoted(s), instead(s, names))
		}
		scenarios[i] = names[n]
	}
	if trial != "" && !slices.Contains(trials, trial) {
		return usagef(c, "--trial %s: the run has no facts of it; %s",
			quoted(trial), instead(trial, trials))
	}
	files = slices.DeleteFunc(files, func(f harness.FactsFile) bool {
		ofThese := slices.ContainsFunc(scenarios, func(s string) bool { return f.Scenario == s })
		return trial != "" && f.Name != trial || len(scenarios) > 0 && !ofThese
	})
	if len(files) == 0 {
		return usagef(c, "--trial %s is of no scenario that --scenario names", quoted(trial))
	}
	return print(c.OutOrStdout(), kept{path, files, trial == "" && len(scenarios) == 0})
}

// judged reads a recording and judges it by the rules of this version.
func judged(f harness.FactsFile) (*ledger.Recording, *ledger.Account, error) {
	r, err := ledger.ReadRecording(f.Path)
	if err != nil {
		return nil, nil, usage(err)
	}
	a, err := r.Judge()
	if err != nil {
		return nil, nil, usage(fmt.Errorf("%s: %w", input.Name(f.Path), err))
	}
	return r, a, nil
}

// attemptsCSV prints a line for each attempt. Instants are in nanoseconds since the first scheduled
// attempt. A field that does not apply is empty.
func attemptsCSV(w io.Writer, k kept) error {
	out := csv.NewWriter(w)
	err := out.Write([]string{
		"trial", "labels", "load_process", "sequence", "scheduled_ns", "sent_ns", "done_ns",
		"worker", "tries",
		"outcome", "phase", "error", "cause", "evidence", "step",
	})
	for _, f := range k.files {
		r, a, judgeErr := judged(f)
		if judgeErr != nil {
			out.Flush() // so that no line is printed only in part
			return judgeErr
		}
		name, labels := document.Clean(f.Name), document.Clean(results.LabelString(r.Header.Labels))
		for row := range a.Rows() {
			outcome := "lost"
			if row.Served {
				outcome = "served"
			}
			sent, done := "", ""
			if row.Tries > 0 {
				sent = strconv.FormatInt(int64(row.Sent), 10)
				done = strconv.FormatInt(int64(row.Done), 10)
			}
			err = errors.Join(err, out.Write([]string{
				name, labels, strconv.Itoa(row.Process), strconv.FormatUint(row.Sequence, 10),
				strconv.FormatInt(int64(row.Scheduled), 10), sent, done,
				orEmpty(row.Worker), strconv.Itoa(row.Tries), outcome, row.Phase, row.Error,
				row.Verdict.Cause, row.Verdict.Evidence.String(), orEmpty(row.Step),
			}))
			if err != nil {
				return err
			}
		}
	}
	out.Flush()
	return errors.Join(err, out.Error())
}

// orEmpty formats n. It returns "" if n is negative.
func orEmpty(n int) string {
	if n < 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// vegetaResults prints one trial in vegeta's own encoding. The trial's clock has no date, so the
// schedule starts at the Unix epoch. Latencies are response times, counted from the scheduled
// instants.
func vegetaResults(w io.Writer, k kept) error {
	if len(k.files) > 1 {
		return usage(fmt.Errorf("--format vegeta is of one trial: choose with --trial %s, or "+
			"another of %d",
			k.files[0].Name, len(k.files)))
	}
	r, a, err := judged(k.files[0])
	if err != nil {
		return err
	}
	method := "GET"
	if slices.Contains(r.Header.Words, "body") {
		method = "POST"
	}
	encode := vegeta.NewEncoder(w)
	for row := range a.Rows() {
		if row.Tries == 0 {
			continue // never sent: vegeta would count it with a latency of zero
		}
		result := vegeta.Result{
			Attack:    k.files[0].Name,
			Seq:       row.Sequence*uint64(r.Load.Processes) + uint64(row.Process),
			Code:      uint16(row.Status),
			Timestamp: time.Unix(0, int64(row.Scheduled)).UTC(),
			Latency:   row.Done.Sub(row.Scheduled),
			Method:    method, URL: "http://" + r.Trial.Target + "/",
		}
		if !row.Served {
			if result.Code < 400 {
				result.Code = 0 // vegeta counts 200 as success even if the response was cut off
			}
			result.Error = fmt.Sprintf("%s: %s (%s)", row.Phase, row.Error, row.Verdict.Cause)
		}
		if err := encode(&result); err != nil {
			return err
		}
	}
	return nil
}

// maxDifferences is the maximum number of differences that are listed for a trial.
const maxDifferences = 20

// rejudgeFacts judges every recording again and lists the attempts whose verdict changed. It fails
// if a verdict changed, if a recording is missing, or if one belongs to another run.
func rejudgeFacts(w io.Writer, k kept) error {
	run, err := stored.Load(k.dir)
	if err != nil {
		return usage(err)
	}
	attempts, differ, trials := 0, 0, 0
	for _, f := range k.files {
		r, a, err := judged(f)
		if err != nil {
			return err
		}
		if err := belongs(r, run, f); err != nil {
			return usage(fmt.Errorf("%s: %w", input.Name(f.Path), err))
		}
		attempts += a.Attempts()
		changes := ledger.Changes(r.Verdicts, a.Verdicts())
		var again results.Trial
		a.Fill(&again)
		if again.Residual != r.Trial.Residual {
			changes = append(changes, fmt.Sprintf("residual %d, was %d", again.Residual,
				r.Trial.Residual))
		}
		if len(changes) == 0 {
			continue
		}
		trials, differ = trials+1, differ+len(changes)
		name := document.Clean(f.Name + " " + results.LabelString(r.Header.Labels))
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
		for _, change := range changes[:min(len(changes), maxDifferences)] {
			if _, err := fmt.Fprintf(w, "  %s\n", document.Clean(change)); err != nil {
				return err
			}
		}
		if more := len(changes) - maxDifferences; more > 0 {
			if _, err := fmt.Fprintf(w, "  and %d more\n", more); err != nil {
				return err
			}
		}
	}
	_, err = fmt.Fprintf(w, "%s of %s judged again: %d come out differently, in %s\n",
		unit.Plural(attempts, "attempt"), unit.Plural(len(k.files), "trial"), differ,
		unit.Plural(trials, "trial"))
	if all := countTrials(run); err == nil && k.whole && len(k.files) < all {
		_, err = fmt.Fprintf(w, "Of %d of the run's %s there are no facts: they were not judged.\n",
			all-len(k.files), unit.Plural(all, "trial"))
		if err == nil && differ == 0 {
			err = &exitError{status: exitNotMeasured}
		}
	}
	if err == nil && differ > 0 {
		err = &exitError{status: exitFailed}
	}
	return err
}

// belongs returns an error if a recording is not of the trial that its file name says, or if it
// disagrees with what the run has stored of that trial.
func belongs(r *ledger.Recording, run *results.Run, f harness.FactsFile) error {
	s := run.Scenario(f.Scenario)
	if s == nil || f.Variant >= len(s.Variants) {
		return errors.New("the run has no such trial")
	}
	v := s.Variants[f.Variant]
	if r.Header.Scenario != f.Scenario || r.Header.Block != f.Block ||
		results.LabelString(r.Header.Labels) != results.LabelString(v.Labels) {
		return fmt.Errorf("these are the facts of another trial: %q, %q, block %d",
			r.Header.Scenario, results.LabelString(r.Header.Labels), r.Header.Block+1)
	}
	for _, t := range v.Trials {
		if t.Block != r.Header.Block || t.Order != r.Header.Order {
			continue
		}
		if !maps.Equal(t.LostByCause, r.Trial.LostByCause) {
			return fmt.Errorf("run.json says that %v were lost, by cause, and these facts "+
				"say otherwise", t.LostByCause)
		}
		return nil
	}
	return errors.New("the run has no such trial")
}

package harness

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results/input"
)

// factsDir is the directory of the recordings within a run directory. factsSuffix is the suffix of
// their file names.
const (
	factsDir    = "facts"
	factsSuffix = ".jsonl.gz"
)

// saveFacts writes a recording into a run directory atomically, so that a file that exists is
// complete.
func saveFacts(dir, name string, r *ledger.Recording) (err error) {
	dir = filepath.Join(dir, factsDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name+".tmp"))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := cmp.Or(r.Write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// factsName returns the name of a trial's recording, without the suffix: scenario, variant, block
// and, for a repeat, the repeat's number.
func factsName(scenario string, variant, block, repeat int) string {
	name := fmt.Sprintf("%s-%02d-%02d", scenario, variant, block)
	if repeat > 0 {
		name += fmt.Sprintf("-repeat%d", repeat)
	}
	return name + factsSuffix
}

// nameOfFacts matches the names that factsName returns, without the suffix.
var nameOfFacts = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.+)-(\d+)-(\d+)(-repeat\d+)?$`)
})

// A FactsFile is the recording of a trial in a run directory.
type FactsFile struct {
	Name     string // scenario, variant and block, as in "steady-00-03"
	Scenario string
	Variant  int // the variant's index in the scenario
	Block    int
	Path     string
}

// FactsFiles returns the recordings of a run directory, sorted by name. It fails if there are none.
func FactsFiles(dir string) ([]FactsFile, error) {
	paths, err := filepath.Glob(filepath.Join(dir, factsDir, "*"+factsSuffix))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: the run has no facts; run it again with --keep-facts",
			input.Name(dir))
	}
	slices.Sort(paths)
	var all []FactsFile
	for _, path := range paths {
		f := FactsFile{Name: strings.TrimSuffix(filepath.Base(path), factsSuffix), Path: path}
		parts := nameOfFacts().FindStringSubmatch(f.Name)
		if parts == nil {
			return nil, fmt.Errorf("%s: not the name of a trial's facts; move the file elsewhere",
				input.Name(path))
		}
		f.Scenario = parts[1]
		// Both parts consist of digits. If the number is out of range, Atoi returns an index that
		// no variant has.
		f.Variant, _ = strconv.Atoi(parts[2])
		f.Block, _ = strconv.Atoi(parts[3])
		all = append(all, f)
	}
	return all, nil
}

// HasFacts reports whether a run directory has facts.
func HasFacts(dir string) bool {
	files, err := FactsFiles(dir)
	return err == nil && len(files) > 0
}

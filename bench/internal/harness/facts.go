package harness

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"reuseport-bench/bench/internal/ledger"
)

// factsDir is the folder of a run directory that recordings are in, and factsSuffix what the name of
// one ends with.
const (
	factsDir    = "facts"
	factsSuffix = ".jsonl.gz"
)

// saveFacts writes a recording into a run directory, in one step: a file that is there is whole.
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

// factsName returns the file of a trial: by scenario, variant and block, the repeat of an invalid one
// with its number.
func factsName(scenario string, variant, block, repeat int) string {
	name := fmt.Sprintf("%s-%02d-%02d", scenario, variant, block)
	if repeat > 0 {
		name += fmt.Sprintf("-repeat%d", repeat)
	}
	return name + factsSuffix
}

// variantAndBlock is what factsName puts behind a scenario's name.
var variantAndBlock = regexp.MustCompile(`-\d+-\d+(-repeat\d+)?$`)

// A FactsFile is the recording of a trial in a run directory.
type FactsFile struct {
	Name     string // scenario, variant and block, as in "steady-00-03"
	Scenario string
	Path     string
}

// FactsFiles returns the recordings of a run directory, by name. It is an error when there is none.
func FactsFiles(dir string) ([]FactsFile, error) {
	paths, err := filepath.Glob(filepath.Join(dir, factsDir, "*"+factsSuffix))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: it has no facts; run it again with --keep-facts", dir)
	}
	slices.Sort(paths)
	var all []FactsFile
	for _, path := range paths {
		f := FactsFile{Name: strings.TrimSuffix(filepath.Base(path), factsSuffix), Path: path}
		f.Scenario = variantAndBlock.ReplaceAllString(f.Name, "")
		all = append(all, f)
	}
	return all, nil
}

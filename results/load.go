package results

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results/input"
)

// Load reads a run: path is a run directory or its RunFile, which may be compressed by gzip and
// then has ".gz" after its name. A run that has not finished is put together from RunFile and
// TrialsFile, without summaries; a last line of TrialsFile that a crash cut off is left out and
// reported in Run.Warnings. Of a finished run, a TrialsFile left beside it is ignored. Package
// stored reads a run with what this program knows beyond the one that wrote it.
//
// Reading is strict: an unknown field, trailing data or another schema version is an error that
// names the file, the place and what to do.
func Load(path string) (*Run, error) {
	file, err := runFile(path)
	if err != nil {
		return nil, err
	}
	content, err := readRun(file)
	if err != nil {
		return nil, err
	}
	run, err := decodeRun(file, content)
	if err != nil {
		return nil, err
	}
	if run.FinishedAt == nil {
		if err := mergeTrials(run, filepath.Join(filepath.Dir(file), TrialsFile)); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// LoadAll reads a run, see Load, or all runs that are directly below a directory, the earliest
// first.
func LoadAll(path string) ([]*Run, error) {
	run, err := Load(path)
	if err == nil {
		return []*Run{run}, nil
	}
	if !errors.Is(err, ErrNoRun) {
		return nil, err
	}
	entries, dirErr := os.ReadDir(path)
	if dirErr != nil {
		return nil, err
	}
	var runs []*Run
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		run, err := Load(filepath.Join(path, e.Name()))
		switch {
		case errors.Is(err, ErrNoRun) || errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			runs = append(runs, run)
		}
	}
	if len(runs) == 0 {
		return nil, err
	}
	slices.SortStableFunc(runs, func(a, b *Run) int { return a.StartedAt.Compare(b.StartedAt) })
	return runs, nil
}

// runFile is the RunFile that path means.
func runFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w at %s; %s", ErrNoRun, path, noRunHint)
	case err != nil:
		return "", err
	case !info.IsDir():
		return path, nil
	}
	file := filepath.Join(path, RunFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(file + compressed); err == nil {
			return file + compressed, nil
		}
		return "", fmt.Errorf("%w in %s: it has no %s; %s", ErrNoRun, path, RunFile, noRunHint)
	}
	return file, nil
}

// compressed ends the name of a RunFile that gzip has compressed, as those are that are kept in a
// repository.
const compressed = ".gz"

// maxRun bounds a RunFile once it is decompressed: a small file may claim to be a huge one.
const maxRun = 1 << 30

// readRun is the content of a RunFile, decompressed.
func readRun(file string) ([]byte, error) {
	f, err := input.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, compressed) {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	content, err := io.ReadAll(input.Limit(r, maxRun))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return content, nil
}

// Latest returns the newest run directory right under parent, by started_at. What is not a
// readable run does not count.
func Latest(parent string) (string, error) {
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var newest time.Time
	var dir string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(parent, e.Name(), RunFile))
		if err != nil {
			continue
		}
		var head struct {
			StartedAt time.Time `json:"started_at"`
		}
		if json.Unmarshal(content, &head) != nil {
			continue
		}
		if dir == "" || head.StartedAt.After(newest) {
			newest, dir = head.StartedAt, filepath.Join(parent, e.Name())
		}
	}
	if dir == "" {
		return "", fmt.Errorf("%w under %s; %s", ErrNoRun, parent, noRunHint)
	}
	return dir, nil
}

// decodeRun reads RunFile's content; file names it in errors.
func decodeRun(file string, content []byte) (*Run, error) {
	// The version first: of another version, unknown fields are only the consequence.
	var head struct {
		SchemaVersion *int `json:"schema_version"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, placed(file, content, err)
	}
	switch {
	case head.SchemaVersion == nil:
		return nil, fmt.Errorf("%s: no schema_version; is it a run of reuseport-bench?", file)
	case *head.SchemaVersion != SchemaVersion:
		return nil, fmt.Errorf("%s: schema_version is %d, this program reads %d; use the program that wrote it, or make a new run",
			file, *head.SchemaVersion, SchemaVersion)
	}
	var run Run
	if err := decodeStrict(content, &run); err != nil {
		return nil, placed(file, content, err)
	}
	if err := run.check(); err != nil {
		return nil, fmt.Errorf("%s: %w; the file was not written by this program, or edited", file, err)
	}
	run.renameArms()
	return &run, nil
}

// decodeStrict decodes exactly one JSON value without unknown fields.
func decodeStrict(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more data after the end of the JSON value")
	}
	return nil
}

// placed adds file and, where the error knows it, the line, and what to make of it.
func placed(file string, content []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var offset int64 = -1
	hint := "if it has fields of a newer reuseport-bench, read it with that"
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
		hint = "the file is damaged or cut off; if this was a copy, copy it again"
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 {
		return fmt.Errorf("%s: %w; %s", file, err, hint)
	}
	at := 1 + bytes.Count(content[:min(offset, int64(len(content)))], []byte("\n"))
	return fmt.Errorf("%s:%d: %w; %s", file, at, err, hint)
}

// check finds what would be valid JSON but no run: nulls where readers follow pointers.
func (r *Run) check() error {
	for i, s := range r.Scenarios {
		if s == nil {
			return fmt.Errorf("scenarios[%d] is null", i)
		}
		for k, v := range s.Variants {
			if v == nil {
				return fmt.Errorf("scenario %s: variants[%d] is null", s.Name, k)
			}
			for n, t := range v.Trials {
				if t == nil {
					return fmt.Errorf("scenario %s, %s: trials[%d] is null", s.Name, LabelString(v.Labels), n)
				}
			}
		}
	}
	return nil
}

// mergeTrials adds the lines of TrialsFile to run. No such file: nothing to add.
func mergeTrials(run *Run, file string) error {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := run.holdsNoTrials(file); err != nil {
		return err
	}
	for number := 1; len(content) > 0; number++ {
		text, rest, complete := bytes.Cut(content, []byte("\n"))
		if !complete {
			run.Warnings = append(run.Warnings, fmt.Sprintf("%s:%d: cut off in mid-line by a crash; that trial is lost", file, number))
			return nil
		}
		var l line
		if err := decodeStrict(text, &l); err != nil {
			return fmt.Errorf("%s:%d: %w; the file is damaged: remove that line, and its trial is lost", file, number, err)
		}
		if err := run.add(l); err != nil {
			return fmt.Errorf("%s:%d: %w; do both files belong to one run?", file, number, err)
		}
		content = rest
	}
	return nil
}

// holdsNoTrials guards against counting trials twice.
func (r *Run) holdsNoTrials(file string) error {
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			if len(v.Trials) > 0 {
				return fmt.Errorf("%s: %s beside it is unfinished and yet holds trials of %s; remove the one that is not wanted",
					file, RunFile, s.Name)
			}
		}
	}
	return nil
}

// renameArms gives the A/A arms of an older run the label that they have today.
func (r *Run) renameArms() {
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			renameArm(v.Labels)
		}
		for _, g := range s.Gates {
			renameArm(g.Labels)
		}
	}
}

// add puts a line's trial where it belongs.
func (r *Run) add(l line) error {
	renameArm(l.Labels)
	s := r.Scenario(l.Scenario)
	if s == nil {
		return fmt.Errorf("scenario %q is not in %s", l.Scenario, RunFile)
	}
	v := s.Variant(l.Labels)
	if v == nil {
		return fmt.Errorf("variant %q of %s is not in %s", LabelString(l.Labels), l.Scenario, RunFile)
	}
	if l.Trial == nil {
		return errors.New("the line has no trial")
	}
	v.Trials = append(v.Trials, l.Trial)
	return nil
}

package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"reuseport-bench/results/input"
	"reuseport-bench/results/jsonfile"
)

// Load reads a run. path is a run directory or its RunFile. A RunFile may be compressed by gzip;
// its name then ends in ".gz". Load reads an unfinished run, which has no summaries, from RunFile
// and TrialsFile. If a crash cut off the last line of TrialsFile, it skips the line and reports it
// in Run.Warnings. For a finished run it ignores TrialsFile. Package stored also brings the run up
// to date with this program.
//
// Reading is strict. These are errors: an unknown field, trailing data, another schema version, a
// checksum that does not match, content that no version of the program writes, and a run that needs
// more than maxMemory. Errors name the file, the place and what to do. Reading takes little memory
// beyond the run's own.
func Load(path string) (*Run, error) {
	// Almost everything that is read is kept, so a collection frees little. Collect at 20 % growth
	// instead of 100 %, to keep the heap small.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	file, err := runFile(path)
	if err != nil {
		return nil, err
	}
	l := newLoader()
	run, err := l.runFile(file)
	if err != nil {
		return nil, err
	}
	if run.FinishedAt == nil {
		if err := l.trialsFile(run, filepath.Join(filepath.Dir(file), TrialsFile)); err != nil {
			return nil, err
		}
	}
	if err := l.checkTrials(run); err != nil {
		return nil, err
	}
	return run, nil
}

// LoadAll reads a run as Load does, or all runs directly below a directory, the earliest first.
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

// runFile returns path if it is a file, or the RunFile in the directory path.
func runFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w at %s; %s", ErrNoRun, input.Name(path), noRunHint())
	case err != nil:
		return "", fmt.Errorf("%w; %s", input.Named(path, err), notRunHint)
	case !info.IsDir():
		return path, nil
	}
	file := filepath.Join(path, RunFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(file + compressed); err == nil {
			return file + compressed, nil
		}
		return "", fmt.Errorf("%w in %s: it has no %s; %s", ErrNoRun, input.Name(path), RunFile,
			noRunHint())
	}
	return file, nil
}

// compressed is the suffix of a RunFile compressed by gzip, like those kept in the repository.
const compressed = ".gz"

// Latest returns the run directory directly below parent with the latest started_at. It skips
// whatever is not a readable run.
func Latest(parent string) (string, error) {
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", input.Named(parent, err)
	}
	var newest time.Time
	var dir string
	for _, e := range entries {
		started, err := startOf(filepath.Join(parent, e.Name(), RunFile))
		if err == nil && (dir == "" || started.After(newest)) {
			newest, dir = started, filepath.Join(parent, e.Name())
		}
	}
	if dir == "" {
		return "", fmt.Errorf("%w under %s; %s", ErrNoRun, input.Name(parent), noRunHint())
	}
	return dir, nil
}

// startOf reads started_at from a RunFile, and stops there.
func startOf(file string) (started time.Time, err error) {
	f, err := input.Open(file)
	if err != nil {
		return started, err
	}
	defer f.Close()
	err = jsonfile.NewDecoder(f, jsonfile.Limits{Bytes: maxBytes}).Member("started_at", &started)
	return started, err
}

// Bounds of a run. For scale: five thousand trials, with 16 steps and 34 workers per trial and
// without windows, are 113 MiB of text and take 162 MiB of memory. Store.Append keeps every run
// within the bounds.
const (
	// maxBytes bounds the text of RunFile, and of TrialsFile.
	maxBytes = 384 << 20
	// maxMemory bounds the memory of the decoded trials and gates.
	maxMemory = 192 << 20
	// maxLine bounds a line of TrialsFile.
	maxLine = 16 << 20
)

// Hints that end error messages.
const (
	notRunHint  = "name the directory of a run, or its " + RunFile
	damagedHint = "the file is damaged or cut off; if this was a copy, copy it again"
	newerHint   = "it is damaged, or of a newer reuseport-bench: copy it again, or use that program"
	editedHint  = "the file was not written by this program, or edited"
	largeHint   = "reuseport-bench writes no run of that size; is it a run?"
	lineHint    = "the file is damaged: to read the rest, remove that line; its trial is lost"
	twiceHint   = "remove one of them"
)

// A loader reads the files of one run.
type loader struct {
	memory *jsonfile.Budget
	// places has the place where each scenario and variant begins, by its path in the run. trials
	// has the places where the trials of a variant begin, by the path of the variant.
	places map[string]place
	trials map[string][]place
	// variants are the run's variants, by variantKey.
	variants map[string]variantAt
	// unsummed: some trials had no checksum, so their histograms are checked, too.
	unsummed bool
}

// A variantAt is a variant with its path in the run.
type variantAt struct {
	*Variant
	path string
}

// A place is a line in a file.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", input.Name(p.file), p.line) }

func newLoader() *loader {
	return &loader{
		memory: jsonfile.NewBudget(maxMemory),
		places: map[string]place{}, trials: map[string][]place{}, variants: map[string]variantAt{},
	}
}

// A storedRun is the content of RunFile.
type storedRun struct {
	// Checksum covers everything else; see jsonfile.Decoder.Checksum. Nil: the file is from an
	// older program.
	Checksum *string `json:"checksum,omitempty"`
	*Run
}

// runFile reads a RunFile, whatever the file is called.
func (l *loader) runFile(file string) (*Run, error) {
	f, err := input.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, notRunHint)
	}
	defer f.Close()
	r, err := input.Decompressed(f)
	if err != nil {
		return nil, fmt.Errorf("%v: %w; %s", place{file, 1}, err, damagedHint)
	}
	d := jsonfile.NewDecoder(r, jsonfile.Limits{Bytes: maxBytes, Memory: l.memory})
	stored := storedRun{Run: &Run{}}
	within := "" // path of the scenario or variant that began last; a trial belongs to it
	begins := func(at jsonfile.Place) {
		within = at.Path
		l.places[within] = place{file, at.Line}
	}
	trial := func(line int) { l.trials[within] = append(l.trials[within], place{file, line}) }
	err = d.Decode(&stored, jsonfile.Start[Scenario](d, begins), jsonfile.Start[Variant](d, begins),
		jsonfile.Part[Trial](d, maxTrials, trial), jsonfile.Part[GateResult](d, maxGates, nil))
	if err := runError(file, stored.SchemaVersion, err); err != nil {
		return nil, err
	}
	if sum, line := d.Checksum(); stored.Checksum != nil && *stored.Checksum != sum {
		return nil, fmt.Errorf("%v: the checksum does not match the content, which has %s: a "+
			"damaged copy, or edited by hand; copy it again, or delete the line \"checksum\" to "+
			"read it as it is", place{file, line}, sum)
	}
	l.unsummed = stored.Checksum == nil
	return stored.Run, l.index(file, stored.Run)
}

// runError returns the first error of the RunFile file, or nil. version is the schema version that
// was read, 0 if there is none. err is a *jsonfile.Error from the decoder, or nil.
func runError(file string, version int, err error) error {
	wrong := &jsonfile.Error{Place: jsonfile.Place{Line: 1}, What: "no schema_version"}
	errors.As(err, &wrong)
	at := place{file, wrong.Line}
	switch {
	case wrong.TooLarge:
		return fmt.Errorf("%v: %w; %s", at, wrong, largeHint)
	case version == 0 && wrong.Syntax:
		return fmt.Errorf("%v: not a run of reuseport-bench, or a damaged one: %w; copy it again, "+
			"or %s", at, wrong, notRunHint)
	case version == 0:
		return fmt.Errorf("%v: not a run of reuseport-bench: %w; %s", at, wrong, notRunHint)
	case version != SchemaVersion: // another version may have other fields, so check it first
		return fmt.Errorf("%v: schema_version is %d, this program reads %d; use the program that "+
			"wrote it, or make a new run", at, version, SchemaVersion)
	case err == nil:
		return nil
	case wrong.Syntax || errors.Unwrap(wrong) != nil: // err wraps a read error
		return fmt.Errorf("%v: %w; %s", at, wrong, damagedHint)
	}
	return fmt.Errorf("%v: %w; %s", at, wrong, newerHint)
}

// A line is one line of TrialsFile.
type line struct {
	// Checksum covers the rest of the line. Nil: the line is from an older program.
	Checksum *string           `json:"checksum,omitempty"`
	Scenario string            `json:"scenario"`
	Labels   map[string]string `json:"labels"`
	Trial    *Trial            `json:"trial"`
}

// trialsFile adds the trials of TrialsFile to run. A missing file adds none.
func (l *loader) trialsFile(run *Run, file string) error {
	f, err := input.Open(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w; to read the run without its trials, remove it", err)
	}
	defer f.Close()
	if err := run.holdsNoTrials(file); err != nil {
		return err
	}
	in := bufio.NewReader(input.Limit(f, maxBytes))
	for at := (place{file, 1}); ; at.line++ {
		text, err := input.Line(in, maxLine)
		var large *input.TooLargeError
		switch {
		case err == io.EOF && len(text) == 0:
			return nil
		case err == io.EOF:
			run.Warnings = append(run.Warnings,
				fmt.Sprintf("%v: cut off in mid-line by a crash; that trial is lost", at))
			return nil
		case errors.As(err, &large):
			return fmt.Errorf("%v: more than %d MiB; %s", at, large.Limit>>20, largeHint)
		case err != nil:
			return fmt.Errorf("%v: cannot be read: %w; %s", at, err, damagedHint)
		}
		if err := l.trialLine(at, bytes.TrimSuffix(text, []byte("\n"))); err != nil {
			return err
		}
	}
}

// trialLine adds a line's trial to its variant.
func (l *loader) trialLine(at place, text []byte) error {
	d := jsonfile.NewDecoder(bytes.NewReader(text),
		jsonfile.Limits{Bytes: maxLine, Memory: l.memory})
	var stored line
	var wrong *jsonfile.Error
	switch err := d.Decode(&stored, jsonfile.Part[Trial](d, 1, nil)); {
	case errors.As(err, &wrong) && wrong.TooLarge:
		return fmt.Errorf("%v: %w; %s", at, err, largeHint)
	case err != nil:
		return fmt.Errorf("%v: %w; %s", at, err, lineHint)
	}
	if sum, _ := d.Checksum(); stored.Checksum != nil && *stored.Checksum != sum {
		return fmt.Errorf("%v: the checksum does not match the line, which has %s: a damaged "+
			"copy, or edited by hand; copy the file again, or remove the line, which loses its "+
			"trial", at, sum)
	}
	l.unsummed = l.unsummed || stored.Checksum == nil
	renameArm(stored.Labels)
	v, known := l.variants[variantKey(stored.Scenario, stored.Labels)]
	switch {
	case stored.Trial == nil:
		return fmt.Errorf("%v: the line has no trial; %s", at, lineHint)
	case !known:
		return fmt.Errorf("%v: %s has no variant %s of a scenario %s; do both files belong to one "+
			"run?", at, RunFile, jsonfile.Quote(LabelString(stored.Labels)),
			jsonfile.Quote(stored.Scenario))
	}
	l.trials[v.path] = append(l.trials[v.path], at)
	v.Trials = append(v.Trials, stored.Trial)
	return nil
}

// holdsNoTrials returns an error if run already has trials: the trials in TrialsFile would then
// count twice.
func (r *Run) holdsNoTrials(file string) error {
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			if len(v.Trials) > 0 {
				return fmt.Errorf("%v: %s beside it is unfinished but already holds trials of %s; "+
					"remove the file you do not want", place{file, 1}, RunFile,
					jsonfile.Quote(s.Name))
			}
		}
	}
	return nil
}

package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/results/command"
	"reuseport-bench/results/unit"
)

// The files of a run directory.
const (
	// RunFile holds the run: without its trials while it is under way, with them once it finished.
	RunFile = "run.json"
	// TrialsFile holds the trials of an unfinished run, one JSON object a line.
	TrialsFile = "trials.jsonl"
)

// ErrNoRun is wrapped by the errors of Load, Open and Latest when there is no run at all.
var ErrNoRun = errors.New("no run")

// noRunHint ends the messages that wrap ErrNoRun.
const noRunHint = `make one with "reuseport-bench run"`

// A Store writes one run directory. Every trial is on disk when Append returns, so whatever ends
// the program costs one trial at most. The caller must Finish or Close it; it is not safe for
// concurrent use, and a lock on TrialsFile keeps a second process out.
type Store struct {
	dir    string
	trials *os.File
	size   int64 // of TrialsFile up to its last complete line
	saved  int   // complete lines
}

// line is one line of TrialsFile.
type line struct {
	Scenario string            `json:"scenario"`
	Labels   map[string]string `json:"labels"`
	Trial    *Trial            `json:"trial"`
}

// Create starts the run directory dir, which must be empty or not exist yet, and writes RunFile
// with everything known of run so far, trials left out.
func Create(dir string, run *Run) (*Store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := Vacant(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	if err := s.openTrials(os.O_CREATE | os.O_EXCL); err != nil {
		return nil, err
	}
	if err := writeRun(dir, withoutTrials(run)); err != nil {
		return nil, errors.Join(err, s.Close(), os.Remove(s.path()))
	}
	return s, nil
}

// Vacant returns an error that says why no run can be begun in dir: it is no directory, it is not
// empty, or nothing may be written there.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("run directory %q is a file; name a new directory, or an empty one", dir)
	case err != nil:
		return fmt.Errorf("run directory: %w", err)
	case slices.ContainsFunc(entries, ofRun):
		return fmt.Errorf("run directory %q has a run already; name a new one, or go on: %s",
			dir, command.Line("run", "--resume", dir))
	case len(entries) > 0:
		return fmt.Errorf("run directory %q is not empty (it has %q); "+
			"name a new directory, or an empty one", dir, entries[0].Name())
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("run directory %q: %w; name another one", dir, err)
	}
	return nil
}

func ofRun(e fs.DirEntry) bool {
	return slices.Contains([]string{RunFile, RunFile + compressed, TrialsFile}, e.Name())
}

// LoadUnfinished reads the run in dir as Load does. A finished run is an error, and so is one
// without scenarios: there is nothing to go on with.
func LoadUnfinished(dir string) (*Run, error) {
	run, err := Load(dir)
	switch {
	case err != nil:
		return nil, err
	case run.FinishedAt != nil:
		return nil, fmt.Errorf("%q: the run has finished; start a new one, or print it: %s", dir,
			command.Line("report", command.Path(dir)))
	case len(run.Scenarios) == 0:
		return nil, fmt.Errorf("%q: the run has no scenarios; start a new one", dir)
	}
	return run, nil
}

// Open goes on with the run in dir, and returns it as LoadUnfinished does. A last line that a crash
// cut off is removed: that trial is to be run again.
func Open(dir string) (*Store, *Run, error) {
	if _, err := LoadUnfinished(dir); err != nil { // before TrialsFile is made
		return nil, nil, err
	}
	s := &Store{dir: dir}
	if err := s.openTrials(os.O_CREATE); err != nil {
		return nil, nil, err
	}
	// Read again under the lock: the file may have grown, or the run been finished.
	run, err := LoadUnfinished(dir)
	if err == nil {
		err = s.dropPartialLine()
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, run, nil
}

// openTrials opens and locks TrialsFile for appending.
func (s *Store) openTrials(flags int) error {
	f, err := os.OpenFile(s.path(), os.O_RDWR|os.O_APPEND|flags, 0o666)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("run directory %q: another run has just begun in it; name a new one",
			s.dir)
	case err != nil:
		return fmt.Errorf("run directory: %w", err)
	}
	// flock(2): released with the last descriptor, so also when the process is killed.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("%s: locked (%w); another process is still working on this run", s.path(), err), f.Close())
	}
	s.trials = f
	return nil
}

// dropPartialLine cuts TrialsFile after its last complete line and counts those.
func (s *Store) dropPartialLine() error {
	content, err := os.ReadFile(s.path())
	if err != nil {
		return err
	}
	s.size = int64(bytes.LastIndexByte(content, '\n') + 1)
	s.saved = bytes.Count(content, []byte("\n"))
	return os.Truncate(s.path(), s.size)
}

func (s *Store) path() string { return filepath.Join(s.dir, TrialsFile) }

// Dir is the run directory.
func (s *Store) Dir() string { return s.dir }

// Append saves one trial, valid or not. It is on disk when Append returns nil. After an error the
// file is as it was before, and Append may be called again.
func (s *Store) Append(scenario string, labels map[string]string, t *Trial) error {
	encoded, err := json.Marshal(line{scenario, labels, t})
	if err != nil {
		return fmt.Errorf("trial of %s, %s: %w", scenario, LabelString(labels), err)
	}
	encoded = append(encoded, '\n')
	_, err = s.trials.Write(encoded)
	if err == nil {
		err = s.trials.Sync()
	}
	if err != nil {
		return fmt.Errorf("%w; saved there before this one: %s; free some space",
			errors.Join(err, os.Truncate(s.path(), s.size)), unit.Plural(s.saved, "trial"))
	}
	s.size += int64(len(encoded))
	s.saved++
	return nil
}

// Finish replaces RunFile by the complete run, which must have FinishedAt, removes TrialsFile and
// closes the store. An interrupted run is closed, not finished: all it has is on disk already.
// When Finish fails the trials are still in TrialsFile, and the store stays open.
func (s *Store) Finish(run *Run) error {
	if run.FinishedAt == nil {
		return fmt.Errorf("%s: a run without finished_at is not finished; Close keeps what it has", s.dir)
	}
	if err := writeRun(s.dir, withTrials(run)); err != nil {
		return fmt.Errorf("%w; saved in %s: %s", err, s.path(), unit.Plural(s.saved, "trial"))
	}
	if err := os.Remove(s.path()); err != nil {
		return fmt.Errorf("the run is complete in %s, but: %w", filepath.Join(s.dir, RunFile), err)
	}
	return errors.Join(syncDir(s.dir), s.Close())
}

// Discard closes the store and removes its files: the directory is as Create found it.
func (s *Store) Discard() error {
	err := removeIfThere(filepath.Join(s.dir, RunFile))
	return errors.Join(err, removeIfThere(s.path()), s.Close())
}

// Close ends writing. Closing twice does nothing.
func (s *Store) Close() error {
	if s.trials == nil {
		return nil
	}
	f := s.trials
	s.trials = nil
	return f.Close()
}

// withoutTrials is a copy of run as it stands in RunFile while under way.
func withoutTrials(run *Run) *Run {
	return copyRun(run, func(v *Variant) { v.Trials, v.Summary = nil, nil })
}

// withTrials is a copy of run in which a variant without trials has an empty list, not null:
// null would mean that the field does not apply.
func withTrials(run *Run) *Run { return copyRun(run, func(*Variant) {}) }

// copyRun copies run down to its variants, applies edit to those, and makes empty what would be
// null.
func copyRun(run *Run, edit func(*Variant)) *Run {
	out := *run
	out.SchemaVersion = SchemaVersion
	out.Scenarios = make([]*Scenario, len(run.Scenarios))
	for i, scenario := range run.Scenarios {
		copied := *scenario
		copied.Variants = make([]*Variant, len(scenario.Variants))
		for k, variant := range scenario.Variants {
			v := *variant
			edit(&v)
			if v.Trials == nil {
				v.Trials = []*Trial{}
			}
			if v.Summary == nil {
				v.Summary = map[string]Summary{}
			}
			copied.Variants[k] = &v
		}
		out.Scenarios[i] = &copied
	}
	return &out
}

// EncodeJSON writes run as RunFile has it. Its schema_version is always this package's.
func EncodeJSON(w io.Writer, run *Run) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(withTrials(run))
}

// writeRun replaces RunFile in one step: readers see the old file or the new one, whole.
func writeRun(dir string, run *Run) (err error) {
	f, err := os.CreateTemp(dir, RunFile+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, RunFile), err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", filepath.Join(dir, RunFile), errors.Join(err, removeIfThere(f.Name())))
		}
	}()
	err = EncodeJSON(f, run)
	if err == nil {
		err = f.Chmod(0o644) // CreateTemp makes it private
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, RunFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes renames, creations and removals in dir survive a crash of the machine (fsync(2)).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

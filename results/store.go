package results

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/results/command"
	"reuseport-bench/results/input"
	"reuseport-bench/results/jsonfile"
	"reuseport-bench/results/unit"
)

// The files in a run directory.
const (
	// RunFile holds the run. It has no trials until the run has finished.
	RunFile = "run.json"
	// TrialsFile holds the trials of an unfinished run, one JSON object per line.
	TrialsFile = "trials.jsonl"
)

// ErrNoRun is wrapped by the errors of Load, Open and Latest when there is no run.
var ErrNoRun = errors.New("no run")

// noRunHint is the end of messages that wrap ErrNoRun.
func noRunHint() string { return fmt.Sprintf("make one with %q", command.Line("run")) }

// A Store writes one run directory. Every trial is on disk when Append returns, so a crash costs at
// most one trial. The caller must call Finish, Discard or Close. A Store is not safe for concurrent
// use. A lock on TrialsFile keeps other processes from writing.
type Store struct {
	dir    string
	trials *os.File
	saved  savedTrials // the complete lines in TrialsFile
	room   room
}

// savedTrials describes the complete lines of a TrialsFile.
type savedTrials struct {
	lines int
	size  int64 // in bytes
}

// Create starts the run directory dir, which must be empty or not exist. It writes RunFile with
// everything known about run so far, except trials.
func Create(dir string, run *Run) (*Store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := Vacant(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, room: newRoom(run)}
	if err := s.openTrials(os.O_CREATE | os.O_EXCL); err != nil {
		return nil, err
	}
	if err := writeRun(dir, withoutTrials(run)); err != nil {
		return nil, errors.Join(err, s.Close(), os.Remove(s.path()))
	}
	return s, nil
}

// Vacant returns an error if no run can start in dir, because it is not a directory, not empty, or
// not writable.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("run directory %q is a file; name a new directory, or an empty one", dir)
	case err != nil:
		return fmt.Errorf("run directory: %w", err)
	case slices.ContainsFunc(entries, ofRun):
		return fmt.Errorf("run directory %q has a run already; name a new one%s", dir, goOn(dir))
	case len(entries) > 0:
		return fmt.Errorf("run directory %q is not empty (it has %q); "+
			"name a new directory, or an empty one", dir, entries[0].Name())
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("run directory %q: %w; name another one", dir, err)
	}
	return nil
}

// goOn returns the advice to resume the run in dir, for the end of a message. It returns "" if the
// run has finished.
func goOn(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, TrialsFile)); err != nil { // Finish has removed it
		return ""
	}
	return ", or go on with that one: " + command.Line("run", "--resume", dir)
}

func ofRun(e fs.DirEntry) bool {
	return slices.Contains([]string{RunFile, RunFile + compressed, TrialsFile}, e.Name())
}

// LoadUnfinished reads the run in dir as Load does. It returns an error if the run cannot be
// resumed, because it has finished or has no scenarios.
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

// Open resumes the run in dir, and returns it as LoadUnfinished does. If a crash cut off the last
// line, Open removes it, and that trial must be run again.
func Open(dir string) (*Store, *Run, error) {
	run, err := LoadUnfinished(dir) // before openTrials creates TrialsFile
	if err != nil {
		return nil, nil, err
	}
	s := &Store{dir: dir, room: newRoom(run)}
	if err := s.openTrials(os.O_CREATE); err != nil {
		return nil, nil, err
	}
	// Read again under the lock: meanwhile, another process may have added trials or finished the
	// run.
	run, err = LoadUnfinished(dir)
	if err == nil {
		err = s.countTrials(run)
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
		return fmt.Errorf("run directory %q: another run has just started in it; name a new one",
			s.dir)
	case err != nil:
		return fmt.Errorf("run directory: %w", err)
	}
	// The kernel releases the lock (flock(2)) when the last descriptor is closed, even if the
	// process is killed.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("%s: locked (%w); another process is still working on this run", s.path(),
			err)
		return errors.Join(err, f.Close())
	}
	s.trials = f
	return nil
}

// countTrials counts the run's trials as saved. It truncates TrialsFile after its last complete
// line.
func (s *Store) countTrials(run *Run) error {
	lines := bufio.NewReader(io.NewSectionReader(s.trials, 0, math.MaxInt64))
	for {
		switch text, err := input.Line(lines, maxLine); {
		case err == io.EOF:
			return errors.Join(s.room.addRun(run), os.Truncate(s.path(), s.saved.size))
		case err != nil:
			return fmt.Errorf("%s: %w", input.Name(s.path()), err)
		default:
			s.saved = savedTrials{s.saved.lines + 1, s.saved.size + int64(len(text))}
		}
	}
}

func (s *Store) path() string { return filepath.Join(s.dir, TrialsFile) }

// Dir returns the run directory.
func (s *Store) Dir() string { return s.dir }

// Append saves one trial, valid or not. The trial is on disk when Append returns nil. After an
// error the file is unchanged, and Append may be called again. If a trial is too large to keep the
// run readable, Append shortens its list of losses, in *t as well.
func (s *Store) Append(scenario string, labels map[string]string, t *Trial) error {
	fail := func(err error) error {
		return fmt.Errorf("trial of %q, %q: %w", scenario, LabelString(labels), err)
	}
	if wrong := t.contradiction(); wrong != "" {
		return fail(fmt.Errorf("%s; that is a bug in reuseport-bench, please report it", wrong))
	}
	takes, err := s.room.fit(t)
	if err != nil {
		return fail(err)
	}
	stored := line{Scenario: scenario, Labels: labels, Trial: t}
	sum, err := jsonfile.Checksum(stored)
	if err != nil {
		return fail(err)
	}
	stored.Checksum = &sum
	var encoded bytes.Buffer
	if err := jsonfile.Encode(&encoded, stored); err != nil {
		return fail(err)
	}
	if err := readable(encoded.Bytes(), takes); err != nil {
		return fail(err)
	}
	encoded.WriteByte('\n')
	_, err = s.trials.Write(encoded.Bytes())
	if err == nil {
		err = s.trials.Sync()
	}
	if err != nil {
		err = errors.Join(err, os.Truncate(s.path(), s.saved.size))
		return fmt.Errorf("%w; saved there before this one: %s; free some space", err,
			unit.Plural(s.saved.lines, "trial"))
	}
	s.saved = savedTrials{s.saved.lines + 1, s.saved.size + int64(encoded.Len())}
	s.room.add(takes)
	return nil
}

// readable returns an error if Load would refuse the trial, as a line of TrialsFile or in RunFile.
func readable(text []byte, takes size) error {
	limits := jsonfile.Limits{Bytes: maxLine, Memory: jsonfile.NewBudget(maxMemory)}
	d := jsonfile.NewDecoder(bytes.NewReader(text), limits)
	err := d.Decode(&line{}, jsonfile.Part[Trial](d, 1, nil))
	if err == nil && takes.text > jsonfile.DefaultPiece {
		err = fmt.Errorf("more than %d MiB", jsonfile.DefaultPiece>>20)
	}
	if err != nil {
		return fmt.Errorf("it could not be read again: %w; plan fewer steps, or workers", err)
	}
	return nil
}

// Finish replaces RunFile with the complete run, which must have FinishedAt, removes TrialsFile and
// closes the store. For an interrupted run, call Close instead: its trials are already on disk. If
// Finish fails, the trials are still in TrialsFile, and the store stays open.
func (s *Store) Finish(run *Run) error {
	if run.FinishedAt == nil {
		return fmt.Errorf("%s: a run without finished_at is not finished; Close keeps its trials",
			s.dir)
	}
	if err := writeRun(s.dir, withTrials(run)); err != nil {
		return fmt.Errorf("%w; saved in %s: %s", err, s.path(), unit.Plural(s.saved.lines, "trial"))
	}
	if err := os.Remove(s.path()); err != nil {
		return fmt.Errorf("the run is complete in %s, but: %w", filepath.Join(s.dir, RunFile), err)
	}
	return errors.Join(syncDir(s.dir), s.Close())
}

// Discard closes the store and removes its files. The directory stays, and is empty.
func (s *Store) Discard() error {
	err := removeIfThere(filepath.Join(s.dir, RunFile))
	return errors.Join(err, removeIfThere(s.path()), s.Close())
}

// Close closes TrialsFile, which releases the lock. Further calls do nothing.
func (s *Store) Close() error {
	if s.trials == nil {
		return nil
	}
	f := s.trials
	s.trials = nil
	return f.Close()
}

// withoutTrials returns a copy of run in the form that RunFile has before the run has finished.
func withoutTrials(run *Run) *Run {
	return copyRun(run, func(v *Variant) { v.Trials, v.Summary = nil, nil })
}

// withTrials returns a copy of run in which variants without trials have an empty list. A null
// would mean that the field does not apply.
func withTrials(run *Run) *Run { return copyRun(run, func(*Variant) {}) }

// copyRun copies run down to its variants and applies edit to the copied variants. It replaces nil
// lists and maps with empty ones.
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

// EncodeJSON writes run in the form of RunFile, with its checksum and the schema_version of this
// package.
func EncodeJSON(w io.Writer, run *Run) error {
	stored := storedRun{Run: withTrials(run)}
	sum, err := jsonfile.Checksum(stored)
	if err != nil {
		return err
	}
	stored.Checksum = &sum
	return jsonfile.EncodeFolded(w, stored, trialDepth)
}

// writeRun replaces RunFile atomically: readers see either the old file or the whole new file. If
// Load could not read the new file, writeRun returns an error and keeps the old file.
func writeRun(dir string, run *Run) (err error) {
	file := filepath.Join(dir, RunFile)
	f, err := os.CreateTemp(dir, RunFile+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", file, errors.Join(err, removeIfThere(f.Name())))
		}
	}()
	out := bufio.NewWriter(f)
	err = cmp.Or(EncodeJSON(out, run), out.Flush())
	if err == nil {
		err = f.Chmod(0o644) // CreateTemp makes the file private
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err = Load(f.Name()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), file); err != nil {
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

// syncDir makes renames, creations and removals in dir durable across a crash of the machine
// (fsync(2)).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package results

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	closeLabels = map[string]string{"sockets": "reuseport", "stop": "close"}
	drainLabels = map[string]string{"sockets": "reuseport", "stop": "drain"}
)

func startedAt() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// newRun returns a run of one scenario with two variants, without trials.
func newRun() *Run {
	return &Run{
		SchemaVersion: SchemaVersion, Program: "reuseport-bench", Version: "v0.1.0", Seed: 42,
		StartedAt: startedAt(),
		Environment: Environment{
			Kernel: "6.18.44", Sysctls: map[string]string{}, Capabilities: map[string]string{},
		},
		Scenarios: []*Scenario{{
			Name: "rolling-restart", Trials: 2, MinValid: 1,
			Variants: []*Variant{{Labels: closeLabels}, {Labels: drainLabels}},
		}},
	}
}

// restartTrial returns a valid trial of 1000 attempts at 2000/s, with one restart per argument.
// Each argument is the number of attempts that the restart lost.
func restartTrial(lost ...int64) *Trial {
	t := &Trial{
		Valid: true, Attempts: 1000, OfferedPerSecond: new(2000.),
		ScheduleLagP99NS:   new(int64(100_000)),
		LostByCause:        map[string]int64{},
		LostSentAfterClose: new(int64(0)),
		ResponseNS:         &Percentiles{P50: 1, P90: 2, P99: 3, P999: 4, Max: 5},
	}
	for i, n := range lost {
		t.Lost, t.Dropped = t.Lost+n, t.Dropped+n
		t.LostByCause["reset_at_close"] += n
		t.Steps = append(t.Steps, Step{
			Do: "replace", Lost: n, GapNS: new(int64(i+1) * 100),
			OutageNS: new(int64(i+1) * 1000), ResolutionNS: new(int64(500)),
			StallNS: new(int64(i+1) * 10), TakeoverNS: new(int64(i+1) * 7),
			TailNS: new(int64(i + 1)),
		})
	}
	t.Served = t.Attempts - t.Lost
	return t
}

// inBlock sets a trial's block and order to n.
func inBlock(n int, t *Trial) *Trial {
	t.Block, t.Order = n, n
	return t
}

// create starts a run in a new directory. It closes the store at the end of the test.
func create(t *testing.T) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "runs", "one"), newRun())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// appendTrial appends a trial as the run's next one.
func appendTrial(t *testing.T, s *Store, labels map[string]string, trial *Trial) {
	t.Helper()
	trial.Block, trial.Order = s.saved.lines, s.saved.lines
	if err := s.Append("rolling-restart", labels, trial); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) *Run {
	t.Helper()
	run, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// files returns the names in dir, sorted.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\nlacks %q", err, part)
		}
	}
}

func TestUnfinishedRunIsReadable(t *testing.T) {
	s := create(t)
	if diff := cmp.Diff([]string{RunFile, TrialsFile}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	appendTrial(t, s, closeLabels, restartTrial(1, 0))
	appendTrial(t, s, drainLabels, restartTrial(0, 0))
	appendTrial(t, s, closeLabels, restartTrial(2, 0))

	want := newRun()
	want.Scenarios[0].Variants[0].Trials = []*Trial{
		restartTrial(1, 0),
		inBlock(2, restartTrial(2, 0)),
	}
	want.Scenarios[0].Variants[1].Trials = []*Trial{inBlock(1, restartTrial(0, 0))}
	for _, v := range want.Scenarios[0].Variants {
		v.Summary = map[string]Summary{}
	}
	for _, path := range []string{s.Dir(), filepath.Join(s.Dir(), RunFile)} {
		if diff := cmp.Diff(want, load(t, path)); diff != "" {
			t.Errorf("Load(%s) (-want +got):\n%s", path, diff)
		}
	}
}

// Create does not write trials that are already in the caller's run. Append adds trials one by one.
func TestCreateLeavesOutTrials(t *testing.T) {
	run := newRun()
	run.Scenarios[0].Variants[0].Trials = []*Trial{restartTrial(1)}
	run.Scenarios[0].Variants[0].Summary = map[string]Summary{
		"gap_ns": {Center: 100, N: 1, Method: MethodNone},
	}
	s, err := Create(t.TempDir(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	appendTrial(t, s, closeLabels, restartTrial(1))
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("got %d trials, want 1", n)
	}
	if v := run.Scenarios[0].Variants[0]; len(v.Trials) != 1 || v.Summary == nil {
		t.Error("Create changed its argument")
	}
}

func TestFinish(t *testing.T) {
	s := create(t)
	run := newRun()
	trial := restartTrial(1, 0)
	appendTrial(t, s, closeLabels, trial)
	run.Scenarios[0].Variants[0].Trials = []*Trial{trial}
	run.FinishedAt = new(startedAt().Add(time.Minute))
	run.Scenarios[0].Variants[0].Summary = map[string]Summary{
		"gap_ns": {Center: 100, N: 1, Method: MethodNone},
	}
	run.Claims = []Claim{{ID: "any", Verdict: "not tested"}}
	if err := s.Finish(run); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{RunFile}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	run.Scenarios[0].Variants[1].Trials = []*Trial{}
	run.Scenarios[0].Variants[1].Summary = map[string]Summary{}
	if diff := cmp.Diff(run, load(t, s.Dir())); diff != "" {
		t.Errorf("(-finished +loaded):\n%s", diff)
	}
	_, _, err := Open(s.Dir())
	wantError(t, err, "has finished")
}

func TestFinishNeedsAnEnd(t *testing.T) {
	s := create(t)
	wantError(t, s.Finish(newRun()), "without finished_at")
}

func TestFinishedRunWinsOverTrialsFile(t *testing.T) {
	s := create(t)
	appendTrial(t, s, closeLabels, restartTrial(1))
	run := newRun()
	run.FinishedAt = new(startedAt())
	run.Scenarios[0].Variants[0].Trials = []*Trial{restartTrial(2), inBlock(1, restartTrial(3))}
	// Leave the directory as after a crash between Finish's rename and its removal.
	if err := writeRun(s.Dir(), withTrials(run)); err != nil {
		t.Fatal(err)
	}
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 2 {
		t.Errorf("got %d trials, want the finished run's 2", n)
	}
}

func TestCreateRefusesUsedDirectories(t *testing.T) {
	s := create(t)
	_, err := Create(s.Dir(), newRun())
	wantError(t, err, s.Dir(), "has a run already", "reuseport-bench run --resume "+s.Dir())
	finished := newRun()
	finished.FinishedAt = new(startedAt())
	if err := s.Finish(finished); err != nil {
		t.Fatal(err)
	}
	if _, err = Create(s.Dir(), newRun()); err == nil || strings.Contains(err.Error(), "--resume") {
		t.Errorf("of a finished run: %v; want no hint to go on with it", err)
	}

	other := t.TempDir()
	file := filepath.Join(other, "file\n")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Create(other, newRun())
	wantError(t, err, other, `is not empty (it has "file\n"); name a new directory`)
	_, err = Create(file, newRun())
	wantError(t, err, "run directory", file)
	wantError(t, Vacant(file), strconv.Quote(file)+" is a file")
}

// Create fails if another run starts in the directory after Vacant has found it empty.
func TestCreateIsExclusive(t *testing.T) {
	s := create(t)
	err := (&Store{dir: s.Dir()}).openTrials(os.O_CREATE | os.O_EXCL)
	wantError(t, err, s.Dir(), "another run has just started in it")
}

func TestDiscard(t *testing.T) {
	s := create(t)
	if err := errors.Join(s.Discard(), s.Discard()); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s.Dir()); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := Create(s.Dir(), newRun()); err != nil {
		t.Errorf("another run in the directory: %v", err)
	}
}

func TestLoadUnfinished(t *testing.T) {
	s := create(t)
	if _, err := LoadUnfinished(s.Dir()); err != nil {
		t.Error(err)
	}
	finished := newRun()
	finished.FinishedAt = new(finished.StartedAt)
	if err := s.Finish(finished); err != nil {
		t.Fatal(err)
	}
	_, err := LoadUnfinished(s.Dir())
	wantError(t, err, s.Dir(), "has finished", "reuseport-bench report "+s.Dir())
	empty := []byte(`{"schema_version": 1}`)
	if err := os.WriteFile(filepath.Join(s.Dir(), RunFile), empty, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = LoadUnfinished(s.Dir())
	wantError(t, err, s.Dir(), "has no scenarios")
}

func TestCreateTakesAnEmptyDirectory(t *testing.T) {
	s, err := Create(t.TempDir(), newRun())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// If run cannot be encoded as JSON, Create leaves no file behind.
func TestCreateCleansUp(t *testing.T) {
	dir := t.TempDir()
	run := newRun()
	run.StartedAt = time.Date(123456, 1, 1, 0, 0, 0, 0, time.UTC) // year out of RFC 3339
	_, err := Create(dir, run)
	wantError(t, err, RunFile)
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestResume(t *testing.T) {
	s := create(t)
	appendTrial(t, s, closeLabels, restartTrial(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, run, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n := len(run.Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("Open: got %d trials, want 1", n)
	}
	appendTrial(t, again, closeLabels, restartTrial(2))
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 2 {
		t.Errorf("after resuming: got %d trials, want 2", n)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	s := create(t)
	_, _, err := Open(s.Dir())
	wantError(t, err, TrialsFile, "another process")
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("%v does not wrap EWOULDBLOCK", err)
	}
}

// damage appends raw bytes to the trials file, as a crash in the middle of a write leaves them.
func damage(t *testing.T, s *Store, raw string) {
	t.Helper()
	f, err := os.OpenFile(s.path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(raw); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedLastLine(t *testing.T) {
	s := create(t)
	appendTrial(t, s, closeLabels, restartTrial(1))
	damage(t, s, `{"scenario":"rolling-restart","labels":{"sock`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run := load(t, s.Dir())
	if len(run.Warnings) != 1 || !strings.Contains(run.Warnings[0], TrialsFile+":2: cut off") {
		t.Errorf("warnings %q", run.Warnings)
	}
	if n := len(run.Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("got %d trials, want 1", n)
	}
	// Open must not append the next trial to the remains of the last.
	again, _, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	appendTrial(t, again, drainLabels, restartTrial(0))
	run = load(t, s.Dir())
	if n := len(run.Scenarios[0].Variants[1].Trials); len(run.Warnings) != 0 || n != 1 {
		t.Errorf("after resuming: warnings %q, %d trials of drain", run.Warnings, n)
	}
}

func TestDamagedTrialsFile(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       []string
	}{
		{"not JSON", "\x00\x00\x00", []string{TrialsFile + ":2:", "damaged"}},
		{
			"unknown field", `{"scenario":"rolling-restart","colour":1}`,
			[]string{TrialsFile + ":2:", `"colour"`},
		},
		{"two values", `{} {}`, []string{TrialsFile + ":2:", "more data after the end"}},
		{
			"no trial",
			`{"scenario":"rolling-restart","labels":{"sockets":"reuseport","stop":"close"}}`,
			[]string{"no trial"},
		},
		{
			"another scenario", `{"scenario":"burst","labels":{},"trial":{}}`,
			[]string{`scenario "burst"`, "one run?"},
		},
		{
			"another variant", `{"scenario":"rolling-restart","labels":{"stop":"kill"},"trial":{}}`,
			[]string{`no variant "stop=kill"`, RunFile},
		},
		{"empty line", ``, []string{TrialsFile + ":2:", "it is empty", "remove that line"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := create(t)
			appendTrial(t, s, closeLabels, restartTrial(1))
			damage(t, s, test.line+"\n")
			_, err := Load(s.Dir())
			wantError(t, err, test.want...)
		})
	}
}

// Load reads a compressed run like any other, and refuses one that was cut short.
func TestLoadCompressed(t *testing.T) {
	s := create(t)
	run := newRun()
	finished := startedAt().Add(time.Minute)
	run.FinishedAt = &finished
	if err := s.Finish(run); err != nil {
		t.Fatal(err)
	}
	want := load(t, s.dir)
	file := filepath.Join(s.dir, RunFile)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".gz", packed.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.dir, file + ".gz"} {
		if diff := cmp.Diff(want, load(t, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if err := os.WriteFile(file+".gz", packed.Bytes()[:packed.Len()/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(s.dir); err == nil || !strings.Contains(err.Error(), RunFile+".gz") {
		t.Errorf("half a file: error %v, want one that names it", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct {
		name, content string
		want          []string
	}{
		{
			"empty", "",
			[]string{
				":1: not a run of reuseport-bench, or a damaged one: it is empty; ",
				"copy it again, or name",
			},
		},
		{
			"cut off", "{\n\"schema_version\": 1,\n\"program\": \"reu",
			[]string{":3: it ends in the middle; ", "copy it again"},
		},
		{
			"not JSON", "hello",
			[]string{":1: not a run of reuseport-bench, or a damaged one: not JSON: invalid char"},
		},
		{
			"binary", "\x7fELF\x02\x01\x01\x00",
			[]string{`:1: not a run of reuseport-bench, or a damaged one: not JSON: `, `\x7f`},
		},
		{
			"another value", `[]`,
			[]string{":1: not a run of reuseport-bench: expected an object, found an array; name"},
		},
		{
			"another object", `{"name":"x"}`,
			[]string{`:1: not a run of reuseport-bench: unknown field "name"`},
		},
		{"empty object", `{}`, []string{":1: not a run of reuseport-bench: no schema_version"}},
		{
			"newer", `{"schema_version":2,"unheard_of":true}`,
			[]string{"schema_version is 2, this program reads 1", "make a new run"},
		},
		{
			"unknown field", `{"schema_version":1,"unheard_of":true}`,
			[]string{`:1: unknown field "unheard_of"`, "of a newer reuseport-bench"},
		},
		{
			"wrong type", "{\"schema_version\":1,\n\"seed\":\"x\"}",
			[]string{":2: seed: expected a whole number, 0 or more, found a string"},
		},
		{"wrong type in a trial", `{"schema_version":1,"scenarios":[{"variants":[{"trials":[{},` +
			"\n\n" + `{"attempts":"7"}]}]}]}`,
			[]string{
				":3: scenarios[0].variants[0].trials[1].attempts: expected a whole number, found",
			}},
		{
			"not a whole number", `{"schema_version":1,"scenarios":[{"trials":1.5}]}`,
			[]string{"scenarios[0].trials: expected a whole number, found 1.5"},
		},
		{
			"a large number", `{"schema_version":1,"seed":1e99}`,
			[]string{"seed: expected a whole number, 0 or more, found 1e99"},
		},
		{
			"not a time", `{"schema_version":1,"started_at":"today"}`,
			[]string{`started_at: expected a time such as "2026-03-04T05:06:07Z", found a string`},
		},
		{"twice", `{"schema_version":1,"seed":1,"seed":1}`, []string{`"seed" appears twice`}},
		{
			"trailing data", `{"schema_version":1} {}`,
			[]string{"more data after the end of the JSON value"},
		},
		{
			"null scenario", `{"schema_version":1,"scenarios":[null]}`,
			[]string{":1: scenarios[0]: null"},
		},
		{
			"null variant", `{"schema_version":1,"scenarios":[{"name":"s","variants":[null]}]}`,
			[]string{":1: scenarios[0].variants[0]: null"},
		},
		{"null trial", `{"schema_version":1,"scenarios":[{"variants":[{"trials":[{},null]}]}]}`,
			[]string{":1: scenarios[0].variants[0].trials[1]: null"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), RunFile)
			if err := os.WriteFile(file, []byte(test.content), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Load(file)
			wantError(t, err, append(test.want, file)...)
		})
	}
}

func TestNoRun(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent")
	_, errAbsent := Load(absent)
	_, errEmpty := Load(dir)
	_, _, errOpen := Open(absent)
	_, errLatest := Latest(dir)
	_, errLatestAbsent := Latest(absent)
	for name, err := range map[string]error{
		absent: errAbsent, dir: errEmpty, "at " + absent: errOpen, "under " + dir: errLatest,
		"under " + absent: errLatestAbsent,
	} {
		wantError(t, err, "no run", name, `make one with "reuseport-bench run"`)
		if !errors.Is(err, ErrNoRun) {
			t.Errorf("%v does not wrap ErrNoRun", err)
		}
	}
}

func TestTwiceCountedTrials(t *testing.T) {
	s := create(t)
	run := newRun()
	run.Scenarios[0].Variants[0].Trials = []*Trial{restartTrial(1)}
	var content bytes.Buffer
	if err := EncodeJSON(&content, run); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), RunFile), content.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Load(s.Dir())
	wantError(t, err, TrialsFile, `unfinished but already holds trials of "rolling-restart"`)
}

// full makes every write of the store fail, as a full disk would.
func full(t *testing.T, s *Store) {
	t.Helper()
	dev, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := s.trials.Close(); err != nil {
		t.Fatal(err)
	}
	s.trials = dev
}

func TestAppendOnFullDisk(t *testing.T) {
	s := create(t)
	appendTrial(t, s, closeLabels, restartTrial(1))
	appendTrial(t, s, closeLabels, restartTrial(2))
	damage(t, s, `{"scena`) // as a partial write leaves it
	full(t, s)
	err := s.Append("rolling-restart", closeLabels, restartTrial(3))
	wantError(t, err, "no space left", "saved there before this one: 2 trials; free some space")
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v does not wrap ENOSPC", err)
	}
	run := load(t, s.Dir())
	if len(run.Warnings) != 0 || len(run.Scenarios[0].Variants[0].Trials) != 2 {
		t.Errorf("on disk: %d trials, warnings %q; want the 2 that were saved",
			len(run.Scenarios[0].Variants[0].Trials), run.Warnings)
	}
}

func TestAppendSaysWhichTrialCannotBeEncoded(t *testing.T) {
	s := create(t)
	err := s.Append("rolling-restart", closeLabels, &Trial{OfferedPerSecond: new(math.NaN())})
	wantError(t, err, "rolling-restart", "stop=close", "NaN")
}

// If Finish fails, the trials must still be on disk.
func TestFinishFails(t *testing.T) {
	s := create(t)
	appendTrial(t, s, closeLabels, restartTrial(1))
	run := newRun()
	run.FinishedAt = new(startedAt())
	run.Scenarios[0].Variants[0].Trials = []*Trial{{OfferedPerSecond: new(math.Inf(1))}}
	wantError(t, s.Finish(run), "Inf", "saved in", TrialsFile+": 1 trial")
	if diff := cmp.Diff([]string{RunFile, TrialsFile}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("got %d trials, want 1", n)
	}
}

func TestLatest(t *testing.T) {
	parent := t.TempDir()
	for i, name := range []string{"b", "c", "a"} { // the first has the latest start
		run := newRun()
		run.StartedAt = startedAt().Add(time.Duration(-i) * time.Hour)
		s, err := Create(filepath.Join(parent, name), run)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"not-a-run", "broken"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	broken := filepath.Join(parent, "broken", RunFile)
	if err := os.WriteFile(broken, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := Latest(parent)
	if want := filepath.Join(parent, "b"); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

// The names are a contract; see README.md.
func TestJSONNames(t *testing.T) {
	run := newRun()
	run.Scenarios[0].Variants[0].Trials = []*Trial{restartTrial(1)}
	run.Scenarios[0].Variants[0].Summary = map[string]Summary{
		"gap_ns": {Center: 100, N: 1, Method: MethodNone},
	}
	var out strings.Builder
	if err := EncodeJSON(&out, run); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"schema_version": 1`, `"finished_at": null`, `"claims": null`,
		`"started_at": "2026-03-04T05:06:07Z"`, `"skipped_reason": null`, `"trials": []`,
		`"summary": {}`, `"lost_sent_after_close":0`, `"service_ns":null`, `"p999":4`,
		`"stop_ns":null`, `"takeover_ns":7`, `"method":"none"`, `"reset_at_close":1`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

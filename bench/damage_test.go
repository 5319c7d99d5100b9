package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/stored"
	"reuseport-bench/scenarios"
)

// A storedRun contains the files of a run.
type storedRun struct {
	runFile, trials []byte // trials is nil unless the run is unfinished
	packed          bool   // whether runFile is compressed
}

func (s *storedRun) write(t *testing.T, dir string) {
	t.Helper()
	name, content := results.RunFile, s.runFile
	if s.packed {
		name += ".gz"
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
		t.Fatal(err)
	}
	if s.trials == nil {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, results.TrialsFile), s.trials, 0o666); err != nil {
		t.Fatal(err)
	}
}

// storedRuns returns the files of three runs: a finished run, a compressed copy of it, and an
// unfinished run.
func storedRuns(t *testing.T) map[string]*storedRun {
	t.Helper()
	read := func(dir, name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	finished := read(saveRun(t, reporttest.SmallRun()), results.RunFile)
	unfinished := saveRun(t, reporttest.InterruptedRun())
	return map[string]*storedRun{
		"finished":   {runFile: finished},
		"compressed": {runFile: compress(finished), packed: true},
		"unfinished": {
			runFile: read(unfinished, results.RunFile),
			trials:  read(unfinished, results.TrialsFile),
		},
	}
}

// compress compresses in memory, which cannot fail.
func compress(content []byte) []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(content)
	_ = w.Close()
	return packed.Bytes()
}

// jsonValue matches a name and value in a JSON object if the value is neither object nor array.
var jsonValue = regexp.MustCompile(`"([a-z0-9_]+)": ?("[^"]*"|-?[0-9.e+-]+|true|false|null)`)

// damages lists ways to damage a text. Those made by byHand first remove the checksums, so that the
// later checks are tested.
var damages = map[string]func(*rand.Rand, []byte) []byte{
	"truncated": func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] },
	"bit flipped": func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	},
	"byte changed": func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(len(b))] += byte(1 + r.IntN(255))
		return b
	},
	"digit changed": func(r *rand.Rand, b []byte) []byte {
		for {
			if i := r.IntN(len(b)); b[i] >= '0' && b[i] <= '9' {
				b[i] = '0' + (b[i]-'0'+byte(1+r.IntN(9)))%10
				return b
			}
		}
	},
	"bytes deleted": func(r *rand.Rand, b []byte) []byte {
		i := r.IntN(len(b))
		return slices.Delete(b, i, min(len(b), i+1+r.IntN(40)))
	},
	"bytes inserted": func(r *rand.Rand, b []byte) []byte {
		junk := make([]byte, 1+r.IntN(20))
		for i := range junk {
			junk[i] = byte(r.Uint32())
		}
		return slices.Insert(b, r.IntN(len(b)), junk...)
	},
	"NULs at the end": func(r *rand.Rand, b []byte) []byte {
		return append(b, make([]byte, 1+r.IntN(4096))...)
	},
	"line doubled": func(r *rand.Rand, b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		i := r.IntN(len(lines) - 1)
		return bytes.Join(slices.Insert(lines, i, lines[i]), nil)
	},
	"lines swapped": func(r *rand.Rand, b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		i, k := r.IntN(len(lines)-1), r.IntN(len(lines)-1)
		lines[i], lines[k] = lines[k], lines[i]
		return bytes.Join(lines, nil)
	},
	"foreign line": func(r *rand.Rand, b []byte) []byte {
		lines := bytes.SplitAfter(b, []byte("\n"))
		foreign := []string{
			"\n",
			"text\n",
			"{}\n",
			"null\n",
			`{"scenario":"other","labels":{},"trial":{}}` + "\n",
			"\x00\x00\n",
			"\x1f\x8b\x08\n",
		}
		return bytes.Join(
			slices.Insert(lines, r.IntN(len(lines)), []byte(foreign[r.IntN(len(foreign))])),
			nil,
		)
	},
	"by hand, a member removed": byHand(func(*rand.Rand, string, string) string { return "" }),
	"by hand, a type changed": byHand(func(r *rand.Rand, name, _ string) string {
		values := []string{`"text"`, "17", "true", "[]", "{}", "[1]", `{"a":1}`, "1.5"}
		return fmt.Sprintf("%q: %s", name, values[r.IntN(len(values))])
	}),
	"by hand, a null": byHand(func(_ *rand.Rand, name, _ string) string {
		return fmt.Sprintf("%q: null", name)
	}),
	"by hand, a negative": byHand(func(r *rand.Rand, name, _ string) string {
		return fmt.Sprintf("%q: -%d", name, 1+r.IntN(1<<30))
	}),
	"by hand, a huge number": byHand(func(r *rand.Rand, name, _ string) string {
		return fmt.Sprintf("%q: %d", name, 1<<62+r.IntN(1<<62))
	}),
	"by hand, an endless number": byHand(func(_ *rand.Rand, name, _ string) string {
		return fmt.Sprintf("%q: 1e9999", name)
	}),
	"by hand, another name": byHand(func(_ *rand.Rand, name, value string) string {
		return fmt.Sprintf("%q: %s", name+"_ns", value)
	}),
	"by hand, escape sequences": byHand(func(_ *rand.Rand, name, _ string) string {
		return fmt.Sprintf(`%q: "\u001b[31m\u009b\u0007\u202e\u0000"`, name)
	}),
	"by hand, a member twice": byHand(func(_ *rand.Rand, name, value string) string {
		return fmt.Sprintf("%q: %s, %q: %s", name, value, name, value)
	}),
}

var checksums = regexp.MustCompile(`"checksum": ?"[^"]*", *`)

// byHand returns a damage that changes one value. The damage first removes the checksums, as the
// error message about a wrong checksum suggests.
func byHand(change func(r *rand.Rand, name, value string) string) func(*rand.Rand, []byte) []byte {
	return func(r *rand.Rand, b []byte) []byte {
		b = checksums.ReplaceAll(b, nil)
		all := jsonValue.FindAllSubmatchIndex(b, -1)
		m := all[r.IntN(len(all))]
		text := change(r, string(b[m[2]:m[3]]), string(b[m[4]:m[5]]))
		end := m[1]
		if text == "" && bytes.HasPrefix(b[end:], []byte(",")) {
			end++
		}
		return slices.Concat(b[:m[0]], []byte(text), b[end:])
	}
}

// A damaged run is either read with its original content or rejected with an error that gives the
// place of the damage and a hint. A run changed by hand is either read with the change or rejected.
// A run that can be read can be printed in every format.
func TestDamagedRuns(t *testing.T) {
	kinds := slices.Sorted(maps.Keys(damages))
	outcomes := map[string]int{}
	refused := 0
	runs := storedRuns(t)
	for _, which := range slices.Sorted(maps.Keys(runs)) {
		whole := t.TempDir()
		runs[which].write(t, whole)
		want, err := results.Load(whole)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 13 {
			for _, kind := range kinds {
				name := fmt.Sprintf("%s, %s, %d", which, kind, round)
				seed := fnv.New64a()
				seed.Write([]byte(name))
				r := rand.New(rand.NewPCG(seed.Sum64(), 0))
				dir := t.TempDir()
				damaged(r, kind, runs[which]).write(t, dir)
				got, err := results.Load(dir)
				switch {
				case err != nil:
					refused++
					outcomes[kind+": refused"]++
					plainMessage(t, name, dir, err)
				case !strings.HasPrefix(kind, "by hand") && !sameTrials(want, got):
					t.Errorf("%s: read as something else (-written +read):\n%s", name,
						cmp.Diff(want, got))
				default:
					outcomes[kind+": read"]++
					printAll(t, name, dir)
				}
			}
		}
	}
	if refused < 500 {
		t.Errorf("%d damaged runs were refused, want 500: %v", refused, outcomes)
	}
	t.Log(outcomes)
}

// damaged returns a copy of a run's files with one of them damaged.
func damaged(r *rand.Rand, kind string, run *storedRun) *storedRun {
	damage := damages[kind]
	ofText := strings.HasPrefix(kind, "by hand") || strings.Contains(kind, "line") ||
		kind == "digit changed"
	bytewise := !ofText && r.IntN(2) == 0
	d := *run
	switch {
	case d.trials != nil && r.IntN(4) > 0:
		d.trials = damage(r, bytes.Clone(d.trials))
	case !d.packed:
		d.runFile = damage(r, bytes.Clone(d.runFile))
	case bytewise:
		d.runFile = damage(r, bytes.Clone(d.runFile))
	default: // damage the content, and compress it again
		unpacked, err := gzip.NewReader(bytes.NewReader(d.runFile))
		if err != nil {
			panic(err)
		}
		content, err := io.ReadAll(unpacked)
		if err != nil {
			panic(err)
		}
		d.runFile = compress(damage(r, content))
	}
	return &d
}

// sameTrials reports whether got has the trials of want. If want is unfinished, got may have fewer
// trials or another order, as after an interruption.
func sameTrials(want, got *results.Run) bool {
	if want.FinishedAt != nil {
		return cmp.Equal(want, got)
	}
	if !cmp.Equal(want, got, cmpopts.IgnoreFields(results.Variant{}, "Trials"),
		cmpopts.IgnoreFields(results.Run{}, "Warnings")) {
		return false
	}
	for i, s := range got.Scenarios {
		for k, v := range s.Variants {
			for _, trial := range v.Trials {
				if !slices.ContainsFunc(want.Scenarios[i].Variants[k].Trials,
					func(w *results.Trial) bool { return cmp.Equal(w, trial) }) {
					return false
				}
			}
		}
	}
	return true
}

// hasPlace matches FILE:LINE of one of the run's files.
var hasPlace = regexp.MustCompile(`(^|/)(run\.json|run\.json\.gz|trials\.jsonl):[1-9][0-9]*: `)

// plainMessage checks that an error message names the place, the mistake and a remedy, and that it
// contains no jargon of Go's libraries.
func plainMessage(t *testing.T, name, dir string, err error) {
	t.Helper()
	message := err.Error()
	if !hasPlace.MatchString(message) || !strings.HasPrefix(message, dir) {
		t.Errorf("%s: the message does not say where: %q", name, message)
	}
	if !strings.Contains(message, "; ") {
		t.Errorf("%s: the message does not say what to do: %q", name, message)
	}
	for _, word := range []string{
		"EOF", "unmarshal", "marshal", "strconv", "Go ", " json: ", "jsontext", "struct", "int64",
		"gzip: ", "flate", "hdr", "%!",
	} {
		if strings.Contains(message, word) {
			t.Errorf("%s: the message has %q in it: %q", name, word, message)
		}
	}
	if i := strings.IndexFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 ||
		len(message) > 600 {
		t.Errorf("%s: the message is of %d bytes, or does not print: %q", name, len(message),
			message)
	}
}

// printAll prints a run in every format, and compares it with itself.
func printAll(t *testing.T, name, dir string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", name, r)
			panic(r)
		}
	}()
	run, err := stored.Load(dir)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if run.FinishedAt != nil {
		run.Claims = claims.Decide(run, scenarios.Names())
	}
	for format, text := range printedRun(t, run) {
		if i := strings.IndexFunc(text, moves); i >= 0 {
			t.Errorf("%s: format %s has %q in it", name, format,
				text[max(0, i-20):min(len(text), i+20)])
		}
	}
	for format, text := range printedComparison(t, run, run) {
		if i := strings.IndexFunc(text, moves); i >= 0 {
			t.Errorf("%s: compare, format %s, has %q in it", name, format,
				text[max(0, i-20):min(len(text), i+20)])
		}
	}
}

// Load either reads a file or rejects it with a plain message. A run that was read can be printed.
func FuzzLoad(f *testing.F) {
	// Small seeds: the fuzzing engine minimizes each input that it finds interesting.
	const head = `{"schema_version":1,"program":"p","version":"v","seed":1,` +
		`"started_at":"2026-03-04T05:06:07Z",%s` +
		`"scenarios":[{"name":"steady","min_valid":1,"trials":2,` +
		`"baseline":{"stop":"close"},"variants":[{"labels":{"stop":"close"},"trials":[%s]}],` +
		`"gates":[{"labels":{"stop":"close"},"expect":"lost == 0","outcome":"fail","line":3}]}]}`
	const trial = `{"valid":true,"attempts":9,"served":8,"lost":1,"dropped":1,` +
		`"lost_by_cause":{"refused":1},"offered_per_second":9,"response_ns":{"p50":1,"p99":2},` +
		`"steps":[{"do":"replace","stop_ns":5,"lost":1,"pods":[{"worker":1}]}],` +
		`"workers":[{"id":1,"accepted":9}],"queues":{"samples":1,"listeners":[{"max":2}]},` +
		`"series":{"window_ns":10,"queues":[{"longest":[1]}],"lost":[1]},` +
		`"kernel":{"TcpOutRsts":1},` +
		`"losses":[{"sequence":3,"cause":"refused","step":0}],` +
		`"ledger":[{"client":"served","attempts":9}]}`
	f.Add(fmt.Appendf(nil, head, `"finished_at":"2026-03-04T05:07:07Z",`, trial), []byte{})
	f.Add(fmt.Appendf(nil, head, "", ""),
		[]byte(`{"scenario":"steady","labels":{"stop":"close"},"trial":`+trial+"}\n"))
	f.Add([]byte(`{"checksum":"sha256:","schema_version":1}`), []byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, runFile, trials []byte) {
		(&storedRun{runFile: runFile, trials: trials}).write(t, dir)
		if _, err := results.Load(dir); err != nil {
			plainMessage(t, "fuzz", dir, err)
			return
		}
		printAll(t, "fuzz", dir)
	})
}

// saveRun stores the run in a directory of its own.
func saveRun(t *testing.T, run *results.Run) (dir string) {
	t.Helper()
	dir = t.TempDir()
	store, err := results.Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for _, trial := range v.Trials {
				if err := store.Append(s.Name, v.Labels, trial); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if run.FinishedAt == nil {
		err = store.Close()
	} else {
		err = store.Finish(run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

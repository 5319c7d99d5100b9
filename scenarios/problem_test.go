package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"reuseport-bench/servers/testkit"
)

// head is the shortest valid scenario, to which tests append other keys.
const head = "name: x\nload: {rate: 100/s, duration: 1s}\n"

// The cases are in testdata/problems, in an archive for each subject: CASE.yaml is a scenario, and
// CASE.problems lists its problems. To add a case, write CASE.yaml; the flag -update adds
// CASE.problems.
func TestParseProblems(t *testing.T) {
	names, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			problemArchive(t, name)
		})
	}
}

func problemArchive(t *testing.T, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, ".problems") {
			wanted[file.Name] = strings.TrimSpace(string(file.Data))
		}
	}
	updated := &txtar.Archive{Comment: archive.Comment}
	for _, file := range archive.Files {
		title, isCase := strings.CutSuffix(file.Name, ".yaml")
		if !isCase {
			continue
		}
		_, err := Parse(file.Name, file.Data)
		got := txtar.File{Name: title + ".problems", Data: fmt.Appendf(nil, "%v\n\n", err)}
		updated.Files = append(updated.Files, file, got)
		want := strings.Split(wanted[got.Name], "\n")
		delete(wanted, got.Name)
		t.Run(title, func(t *testing.T) {
			var problems *Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse: %v, want *Problems", err)
			}
			for _, p := range problems.Problems {
				if p.Line == 0 || p.Hint == "" {
					t.Errorf("%s: has no line, or no hint", p)
				}
			}
			if diff := cmp.Diff(strings.Split(err.Error(), "\n"), want); diff != "" &&
				!testkit.Updating() {
				t.Errorf("problems (-got +want):\n%s", diff)
			}
		})
	}
	if testkit.Updating() {
		text := append(bytes.TrimSpace(txtar.Format(updated)), '\n')
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for unmatched := range wanted {
		t.Errorf("%s has no scenario", unmatched)
	}
}

// These are cases that an archive cannot contain: files that exceed the limits for hostile files,
// and bytes that are not text.
func TestParseLimits(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"not UTF-8", "name: x\nabout: \"\xff\"\n", "f:2: the file is not UTF-8 text; save it as UTF-8"},
		{"file", strings.Repeat("#", maxFileSize+1), "f: the file is larger than 131072 bytes; a scenario fits a page; split it, or name another file"},
		{"depth", head + "about: " + strings.Repeat("[", maxDepth+1), "f:3: lists and mappings are nested more than 20 deep; close the brackets that are open, or indent less"},
		{"about", head + "about: " + strings.Repeat("x", maxAbout+1), "f:3: about: 2001 bytes; at most 2000: a sentence or two"},
		{"expectation", head + "gates: [{expect: lost == " + strings.Repeat("0", maxExpectation) + "}]", "f:3: gates[0].expect: 1008 bytes; at most 1000: write a gate for each part"},
		{"steps", "name: x\nload: {rate: 10/s, duration: 1h}\nstop: close\ntimeline:\n- {at: 0s, " +
			"every: 100ms, do: replace}\n- {at: 55ms, every: 256ms, do: add}\n",
			"f:5: timeline: 50063 steps in a trial; at most 20000: fewer entries, a longer " +
				"every, or a shorter load.duration"},
		{"steps of a variant", "name: x\nload: {rate: 10/s, duration: 1s}\ntimeline: [{at: 1ms, " +
			"every: 50ms, do: add}]\nmatrix: [{load.duration: [1s, 1h]}]\n",
			"f:4: in variant load.duration=1h: timeline: 72000 steps in a trial; at most 20000: " +
				"fewer entries, a longer every, or a shorter load.duration"},
		{"message", head + "stop: " + strings.Repeat("ö", 1000) + "\n",
			"f:3: stop: unknown value \"" + strings.Repeat("ö", 245) +
				"…; allowed: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, " +
				"handoff, tableflip, bind-after-close, lb-drain, shutdown"},
		{"message of several lines", head + "baseline: {sockets: \"a\\nb\"}\n",
			"f:3: baseline: sockets=a b names no variant; the scenario has no matrix, so its " +
				"only variant has no labels"},
		{"list", head + "timeline: [" + strings.Repeat("{}, ", maxListLen+1) + "]\n", "f:3: timeline: 257 entries; at most 256"},
		{"values", head + "matrix: [{workers: [" + strings.Repeat("1, ", maxVariants+1) + "]}]\n", "f:3: matrix[0].workers: 257 values; at most 256"},
		{"keys", head + "baseline: {" + numbered("k%d: 1, ", maxListLen+1) + "}\n", "f:3: baseline: 257 keys; at most 256"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			if diff := cmp.Diff(fmt.Sprint(err), test.want); diff != "" {
				t.Errorf("error (-got +want):\n%s", diff)
			}
		})
	}
}

// numbered returns n copies of format, with the numbers from 0 to n-1.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

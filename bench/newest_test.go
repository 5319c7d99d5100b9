package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"reuseport-bench/results/report/reporttest"
)

// If no run is named, commands use the newest run and print its path. With -o they either write the
// file completely or leave it unchanged.
func TestNewestRunToFile(t *testing.T) {
	p := newProgram(t)
	if err := os.MkdirAll(filepath.Join(p.dir, "results"), 0o777); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(runsDir, "2026-03-04T05-06-07")
	for name, dir := range map[string]string{
		saveRun(t, reporttest.GatedRun()): filepath.Join(p.dir, run),
	} {
		if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name, dir); err != nil {
			t.Fatal(err)
		}
	}
	said := func(status int, args ...string) (stdout, stderr string) {
		t.Helper()
		c := p.command(t.Context(), args...)
		var out, errs bytes.Buffer
		c.Stdout, c.Stderr = &out, &errs
		_ = c.Run()
		if got := c.ProcessState.ExitCode(); got != status {
			t.Errorf("%q: exit status %d, want %d\n%s", args, got, status, errs.String())
		}
		return out.String(), errs.String()
	}
	text, which := said(0, "report")
	if want := "the newest run is " + run + "\n"; which != want {
		t.Errorf("it says %q, want %q", which, want)
	}
	file := filepath.Join(p.dir, "out.txt")
	stdout, stderr := said(0, "report", run, "-o", file)
	if want := "wrote " + file + "\n"; stdout != "" || stderr != want {
		t.Errorf("with -o it prints %q and says %q, want nothing and %q", stdout, stderr, want)
	}
	written, err := os.ReadFile(file)
	if err != nil || string(written) != text {
		t.Errorf("the file has %q, want %q; %v", written, text, err)
	}
	if _, why := said(exitUsage, "report", "nowhere", "-o", file); strings.Contains(why, "wrote") {
		t.Errorf("nothing is written, and it says %s", why)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, written) {
		t.Errorf("after a report that failed the file has %q, want what it had; %v", again, err)
	}
	page := filepath.Join(p.dir, "out.html")
	said(0, "report", run, "-o", page)
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "<html") {
		t.Errorf("out.html is no page: %.80q, %v", html, err)
	}
	_, why := said(exitUsage, "report", run, "-o", p.dir)
	if !strings.Contains(why, "is a directory") {
		t.Errorf("-o of a directory: %s", why)
	}
	for _, dir := range []string{"missing", "out.txt"} {
		path := filepath.Join(p.dir, dir, "x.txt")
		_, why := said(exitUsage, "report", run, "-o", path)
		if !strings.Contains(why, strconv.Quote(path)) || strings.Contains(why, ".tmp") {
			t.Errorf("the error does not name %s: %s", path, why)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// With --json the commands print JSON with the keys that results/README.md lists.
func TestJSON(t *testing.T) {
	p := newProgram(t)
	run, err := filepath.Abs("../results/baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../results/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for args, list := range map[string]string{
		"list --json": "scenarios", "claims RUN --json": "claims", "doctor --json": "probes",
		"version --json": "", "compare RUN RUN --json": "",
	} {
		out, _ := p.command(t.Context(),
			strings.Fields(strings.ReplaceAll(args, "RUN", run))...).Output()
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out, &got); err != nil {
			t.Errorf("%s: %v: %.80q", args, err, out)
			continue
		}
		if strings.HasPrefix(args, "compare") {
			continue // results/compare documents these keys
		}
		objects := []map[string]json.RawMessage{got}
		if list != "" {
			var all []map[string]json.RawMessage
			if err := json.Unmarshal(got[list], &all); err != nil || len(all) == 0 {
				t.Errorf("%s: %s: %d objects, error %v", args, list, len(all), err)
				continue
			}
			objects = append(objects, all...)
		}
		for _, object := range objects {
			for key := range object {
				if !bytes.Contains(readme, []byte("`"+key+"`")) {
					t.Errorf("%s: results/README.md does not name %s", args, key)
				}
			}
		}
	}
}

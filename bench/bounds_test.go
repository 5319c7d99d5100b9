package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/servers/sys"
)

// maxResident is the maximum resident memory of a command that reads a hostile run, in bytes.
const maxResident = 300e6

// hung is the time limit for a command. No command takes more than a few seconds.
const hung = time.Minute

// finished is a command that has exited.
type finished struct {
	stdout, stderr string
	status         int
	resident       int64 // upper bound of the peak resident memory, in bytes
}

// end runs the program with the given standard input and waits until it exits.
func (p *program) end(t *testing.T, stdin io.Reader, args ...string) finished {
	t.Helper()
	// Release memory first: a child's peak includes the memory of its parent, which the child has
	// until its execve(2) (exec_mmap in fs/exec.c).
	debug.FreeOSMemory()
	if err := sys.ReleaseProgram(); err != nil {
		t.Log(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	c := p.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = stdin, &stdout, &stderr
	var exit *exec.ExitError
	if err := c.Run(); ctx.Err() != nil {
		t.Fatalf("%q hangs", args)
	} else if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 // from KiB (getrusage(2))
	return finished{stdout.String(), stderr.String(), c.ProcessState.ExitCode(), peak}
}

// A hostile file is small when compressed by gzip and large when unpacked. It consists of head, a
// text repeated many times, and tail. Each repetition has a different number in it.
type hostile struct {
	head, text string
	times      int
	tail       string
}

// write writes the file in pieces to keep this process small, because a child starts with the
// resident memory of its parent.
func (h hostile) write(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	out.Write(compress([]byte(h.head)))
	if strings.Contains(h.text, "%d") {
		packed := gzip.NewWriter(out)
		for i := range h.times {
			fmt.Fprintf(packed, h.text, i)
		}
		packed.Close()
	} else {
		const member = 1 << 20 // a gzip file may have many members (RFC 1952, 2.2)
		repeat := max(1, member/len(h.text))
		piece := compress([]byte(strings.Repeat(h.text, repeat)))
		for range max(1, h.times/repeat) {
			out.Write(piece)
		}
	}
	out.Write(compress([]byte(h.tail)))
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}

const (
	runHead     = `{"schema_version":1,"scenarios":[`
	variantHead = runHead + `{"name":"s","trials":9,"variants":[{"labels":{},"trials":[`
	trialHead   = variantHead + `{"valid":true,`
)

// Reading a hostile run takes little memory. The error gives the place of the mistake and a hint.
func TestHostileRuns(t *testing.T) {
	const many = 1 << 30 // bytes
	p := newProgram(t)
	for name, file := range map[string]hostile{
		"zeros":             {"", "\x00", many, ""},
		"blanks":            {`{"schema_version":1,`, " ", many, `"scenarios":[]}`},
		"blanks and values": {runHead, strings.Repeat(" ", 100) + "{},", many / 100, ""},
		"a long string":     {`{"schema_version":1,"version":"`, "v", many, `"}`},
		"a long name":       {`{"schema_version":1,"`, "v", many, `":1}`},
		"a long number":     {`{"schema_version":1,"seed":`, "1", many, `}`},
		"nested":            {`{"schema_version":1,"scenarios":`, "[", many, ""},
		"empty scenarios":   {runHead + "{}", ",{}", many / 3, "]}"},
		"empty variants":    {runHead + `{"name":"s","variants":[{}`, ",{}", many / 3, "]}]}"},
		"nulls": {
			runHead + `{"name":"s","variants":[null`, ",null", many / 5, "]}]}",
		},
		"empty trials": {variantHead + "{}", ",{}", many / 3, "]}]}]}"},
		"trials":       {variantHead, `{"order":%d,"block":0},`, 1 << 20, "{}]}]}]}"},
		"empty steps":  {trialHead + `"steps":[{}`, ",{}", many / 3, "]}]}]}]}"},
		"trials of empty steps": {
			variantHead + "{}", `,{"steps":[` + strings.Repeat("{},", 1000) + "{}]}", many / 3000,
			"]}]}]}",
		},
		"numbers": {trialHead + `"series":{"lost":[0`, ",0", many / 2, "]}}]}]}]}"},
		"labels": {
			runHead + `{"name":"s","variants":[{"labels":{`, `"k%d":"",`, 1 << 21, `"k":""}}]}]}`,
		},
		"counters": {trialHead + `"kernel":{`, `"k%d":1,`, 1 << 21, `"k":1}}]}]}]}`},
		"summaries": {
			runHead + `{"name":"s","variants":[{"summary":{`, `"m%d":{},`, 1 << 20, `"m":{}}}]}]}`,
		},
		"gates":    {runHead + `{"name":"s","gates":[{}`, ",{}", many / 3, "]}]}"},
		"warnings": {`{"schema_version":1,"warnings":[""`, `,""`, many / 3, "]}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, results.RunFile+".gz")
			file.write(t, path)
			refuses(t, p, path, "report", dir)
		})
	}
}

// refuses checks that a command rejects a file as bad input, names the line, gives a hint, and uses
// little memory.
func refuses(t *testing.T, p *program, file string, args ...string) {
	t.Helper()
	got := p.end(t, nil, args...)
	if got.resident > maxResident {
		t.Errorf("%q had %d MB resident, want at most %d", args, got.resident/1e6,
			int(maxResident/1e6))
	}
	message, ours := strings.CutPrefix(got.stderr, "reuseport-bench: ")
	if got.status != exitUsage || !ours || got.stdout != "" {
		t.Errorf("%q ended with status %d, standard output %q, and said %q", args, got.status,
			got.stdout, got.stderr)
		return
	}
	plainMessage(t, strings.Join(args, " "), filepath.Dir(file),
		errors.New(strings.TrimSuffix(message, "\n")))
}

// Every command that reads runs refuses hostile files in the same way. This includes uncompressed
// files and the trials of an unfinished run.
func TestHostileFiles(t *testing.T) {
	p := newProgram(t)
	good, unfinished := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "unfinished")
	for dir, which := range map[string]string{good: "finished", unfinished: "unfinished"} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		storedRuns(t)[which].write(t, dir)
	}
	run := filepath.Join(t.TempDir(), results.RunFile)
	if err := os.WriteFile(run, []byte(`{"schema_version": 1,`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	trials := filepath.Join(unfinished, results.TrialsFile)
	lines, err := os.ReadFile(trials)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{run, trials} {
		if err := os.Truncate(file, 10<<30); err != nil { // sparse: uses no disk space
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"report", run}, {"report", filepath.Dir(run)}, {"report", run, "--format", "json"},
		{"claims", run}, {"compare", run, good}, {"compare", good, run},
		{"run", "--resume", filepath.Dir(run)},
	} {
		refuses(t, p, run, args...)
	}
	for _, args := range [][]string{
		{"report", unfinished}, {"compare", good, unfinished}, {"run", "--resume", unfinished},
	} {
		refuses(t, p, trials, args...)
	}
	// Each of these trials is well formed, but there are too many.
	line := lines[:bytes.IndexByte(lines, '\n')+1]
	f, err := os.Create(trials)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 300 {
		if _, err := f.Write(bytes.Repeat(line, 1<<20/len(line))); err != nil {
			t.Fatal(err)
		}
	}
	refuses(t, p, trials, "report", unfinished)
}

// A path that is not a regular file is rejected at once, and the error names it. No process writes
// to the pipes of this test, so reading one would block.
func TestNoFiles(t *testing.T) {
	p := newProgram(t)
	pipe := func(path string) {
		if err := syscall.Mkfifo(path, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) func(string) {
		return func(path string) {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := func(path string) {
		if err := os.Mkdir(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	unfinished := storedRuns(t)["unfinished"]
	for what, make := range map[string]func(string){
		"a named pipe": pipe, "a device": link("/dev/zero"), "a directory": folder,
	} {
		for _, name := range []string{
			results.RunFile, results.RunFile + ".gz", results.TrialsFile, "facts/s-00-00.jsonl.gz",
		} {
			parent := t.TempDir()
			dir := filepath.Join(parent, "run")
			folder(dir)
			commands := [][]string{
				{"report", dir}, {"claims", dir}, {"compare", dir, dir}, {"compare", parent, parent},
				{"run", "--resume", dir},
			}
			switch {
			case name == results.TrialsFile:
				(&storedRun{runFile: unfinished.runFile}).write(t, dir)
			case filepath.Dir(name) == "facts":
				folder(filepath.Join(dir, "facts"))
				commands = [][]string{
					{"report", dir, "--format", "attempts"}, {"report", dir, "--format", "vegeta"},
				}
			}
			make(filepath.Join(dir, name))
			for _, args := range commands {
				got := p.end(t, nil, args...)
				if got.status != exitUsage ||
					!strings.Contains(got.stderr, name+`" is `+what+", not a regular file; ") {
					t.Errorf("%s: %q ended with status %d and %q", what, args, got.status,
						got.stderr)
				}
			}
		}
	}
	// The search for the newest run skips a run that cannot be read.
	pipes := filepath.Join(p.dir, runsDir, "pipe")
	if err := os.MkdirAll(pipes, 0o777); err != nil {
		t.Fatal(err)
	}
	pipe(filepath.Join(pipes, results.RunFile))
	if got := p.end(t, nil, "report"); got.status != exitUsage ||
		!strings.Contains(got.stderr, "no run under "+runsDir) {
		t.Errorf("the newest run is a pipe: status %d, %q", got.status, got.stderr)
	}
}

// An unnamed pipe on standard input is read, because it has a writer.
func TestRunFromPipe(t *testing.T) {
	p := newProgram(t)
	content := storedRuns(t)["finished"].runFile
	texts := map[string][]byte{"as it is": content, "compressed": compress(content)}
	for name, text := range texts {
		got := p.end(t, bytes.NewReader(text), "report", "/dev/stdin", "--format", "json")
		file := filepath.Join(t.TempDir(), results.RunFile)
		if err := os.WriteFile(file, []byte(got.stdout), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := results.Load(file); got.status != 0 || err != nil {
			t.Errorf("%s: status %d, %q; read again: %v", name, got.status, got.stderr, err)
		}
	}
}

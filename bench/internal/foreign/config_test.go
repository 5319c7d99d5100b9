package foreign

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

func TestRender(t *testing.T) {
	vars := Config{
		Address: netip.MustParseAddrPort("[::1]:80"), Workers: 3,
		Vars: map[string]string{"x": "{{port}}", "empty": ""},
	}.variables(7)
	for text, want := range map[string]string{
		"":                                   "",
		"listen {{address}} {{vars.empty}};": "listen [::1]:80 ;",
		"{{host}}|{{ port }}|{{workers}}":    "::1|80|3",
		"{{generation}}{{directory}}/x":      "7/run/server/x",
		// values of variables are not templates
		"{{vars.x}} {}} } {": "{{port}} {}} } {",
	} {
		if got, err := vars.render("f", text); got != want || err != nil {
			t.Errorf("%q: got %q, error %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"a\n  {{prot}}":     "f:2:3: unknown variable {{prot}}; known are {{address}}, ",
		"é{{vars.y}}":       "f:1:2: unknown variable {{vars.y}}; ",
		"{{ if .X }}":       "a file with braces of its own is given by the path of a copy",
		"x {{port\n}}":      `f:1:3: "{{" without "}}" on its line`,
		"{{port}} {{main}}": "f:1:10: unknown variable {{main}}",
	} {
		if got, err := vars.render("f", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, error %v; want %q", text, got, err, want)
		}
	}
}

func TestSet(t *testing.T) {
	vars := Variables{"workers": "2", "vars.x": "a"}
	got, err := vars.set(map[string]string{"workers": "1"})
	if want := (Variables{"workers": "1", "vars.x": "a"}); !cmp.Equal(got, want) || err != nil {
		t.Errorf("got %v, error %v; want %v", got, err, want)
	}
	if vars["workers"] != "2" {
		t.Error("set changed its receiver")
	}
	if _, err := vars.set(map[string]string{"x": "b"}); err == nil {
		t.Error("an unknown variable is no error")
	}
}

func TestWords(t *testing.T) {
	vars := Variables{"directory": "/run/server", "vars.flags": "-a -b"}
	lookup := environment{"PORT": "80"}.lookup
	for _, test := range []struct {
		command Command
		want    []string
	}{
		{Command{Line: "nginx -p {{directory}}/"}, []string{"nginx", "-p", "/run/server/"}},
		{Command{Line: `x {{vars.flags}} "{{vars.flags}}"`}, []string{"x", "-a", "-b", "-a -b"}},
		{Command{Line: `nginx -g 'daemon off; user "a";'`}, []string{"nginx", "-g", `daemon off; user "a";`}},
		{Command{Line: `x -port $PORT ${PORT}1 '$PORT' a\ b ""`}, []string{"x", "-port", "80", "801", "$PORT", "a b", ""}},
		{Command{List: []string{"x y", "{{directory}}", "$PORT;"}}, []string{"x y", "/run/server", "$PORT;"}},
	} {
		got, err := test.command.words(vars, lookup, "start")
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %q, error %v; want %q", test.command, got, err, test.want)
		}
	}
	for _, test := range []struct {
		command Command
		want    string
	}{
		{Command{}, "start: names no program"},
		{Command{Line: "  "}, "start: names no program"},
		{Command{Line: "x", List: []string{"y"}}, "start: has both a line and a list"},
		{Command{Line: "x | y"}, `start: "x | y": "|" is for a shell, and none runs it; quote it`},
		{Command{Line: "cd x && y"}, `"&" is for a shell`},
		{Command{Line: "x > log"}, `">" is for a shell`},
		{Command{Line: "x 'y"}, "a quote, a backslash or a bracket has no end; start a shell: sh -c"},
		{Command{Line: "x $(date)"}, ""},
		{Command{Line: "x -p $PROT"}, "the environment variable $PROT is not set; add it to env"},
		{Command{List: []string{"x", "{{y}}"}}, "start[1]:1:1: unknown variable {{y}}"},
	} {
		got, err := test.command.words(vars, lookup, "start")
		if test.want == "" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %q, error %v; want %q", test.command, got, err, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	valid := Config{
		Start: Command{Line: "server $PORT"}, Files: []File{{Name: "a/b", Text: "{{port}}"}},
		Env: map[string]string{"A": "{{port}}"},
	}
	if err := valid.Check(); err != nil {
		t.Errorf("a valid configuration: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"start: names no program":         func(c *Config) { c.Start = Command{} },
		"files.a/b:1:1: unknown variable": func(c *Config) { c.Files[0].Text = "{{x}}" },
		"files.../x: not a path below":    func(c *Config) { c.Files[0].Name = "../x" },
		"files./x: not a path below":      func(c *Config) { c.Files[0].Name = "/x" },
		"files.a/b: has both a text and":  func(c *Config) { c.Files[0].Copy = "x" },
		"env.A:1:1: unknown variable":     func(c *Config) { c.Env["A"] = "{{x}}" },
		"ready.run: \"a;\"":               func(c *Config) { c.Ready.Run.Line = "a;" },
		"ready: has more than one condition": func(c *Config) {
			c.Ready = Ready{HTTP: "/", Notify: true}
		},
		"ready: listening is true at once": func(c *Config) {
			c.Sockets = vocabulary.SocketsShared
		},
		"sockets: exclusive": func(c *Config) {
			c.Sockets = vocabulary.SocketsExclusive
		},
	} {
		c := valid
		c.Files = slices.Clone(valid.Files)
		c.Env = map[string]string{"A": ""}
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestCheckRestart(t *testing.T) {
	c := Config{PIDFile: "x.pid", Identify: Identify{Generation: "G"}}
	valid := []Action{
		{Signal: 1}, {Signal: 1, To: TargetOldWorkers}, {Run: Command{Line: "kill {{main}} $PORT"}},
		{Start: true}, {Stop: true}, {Write: true},
		{Write: true, Set: map[string]string{"workers": "1"}},
		{Wait: &Condition{Gone: TargetOldMain}}, {Wait: &Condition{PIDFile: true}},
		{Wait: &Condition{Generation: true}},
	}
	if err := c.CheckRestart(valid); err != nil {
		t.Errorf("valid actions: %v", err)
	}
	for want, a := range map[string]Action{
		"action 1: says 0 things to do, want one": {},
		"says 2 things to do, want one":           {Start: true, Stop: true},
		"waits for 0 conditions, want one":        {Wait: &Condition{}},
		"waits for 2 conditions, want one":        {Wait: &Condition{Ready: true, File: "x"}},
		"the server has no pid_file":              {Wait: &Condition{PIDFile: true}},
		"no response header identifies it":        {Wait: &Condition{Generation: true}},
		`unknown target "mian"`:                   {Signal: 1, To: "mian"},
		`unknown target "old"`:                    {Wait: &Condition{Gone: "old"}},
		`set: unknown variable "x"`:               {Write: true, Set: map[string]string{"x": "1"}},
		"run:1:3: unknown variable {{x}}":         {Run: Command{Line: "a {{x}}"}},
		"only waits; add an action":               {Wait: &Condition{File: "x"}},
	} {
		err := Config{}.CheckRestart([]Action{a})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", a, err, want)
		}
	}
}

func TestTrigger(t *testing.T) {
	wait, write, signal := Action{Wait: &Condition{}}, Action{Write: true}, Action{Signal: 1}
	for _, test := range []struct {
		actions []Action
		want    int
	}{
		{nil, -1},
		{[]Action{wait}, -1},
		{[]Action{wait, write, write}, 1},
		{[]Action{write, wait, signal, signal}, 2},
	} {
		if got := trigger(test.actions); got != test.want {
			t.Errorf("trigger of %v: action %d, want %d", test.actions, got, test.want)
		}
	}
}

func TestOutput(t *testing.T) {
	o := &output{}
	reader := func(text string) *pipeOf { return &pipeOf{strings.NewReader(text)} }
	follow(reader("one\n\n  two\r\n\x1b[31mthree"), []*output{o})
	o.close()
	want := []string{"two", "�[31mthree"}
	if diff := cmp.Diff(o.last(2), want); diff != "" {
		t.Errorf("last lines (-got +want):\n%s", diff)
	}
	if got := o.last(9); len(got) != 3 {
		t.Errorf("last 9 lines: %q, want 3", got)
	}
	long := strings.Repeat("x", 3*outputLimit) + "\nend\n"
	follow(reader(long), []*output{o})
	o.close()
	if n := len(o.kept); n < outputLimit || n > 2*outputLimit+32<<10 {
		t.Errorf("kept %d bytes, want about %d", n, outputLimit)
	}
	if got := o.last(1); !slices.Equal(got, []string{"end"}) {
		t.Errorf("the last line is %q", got)
	}
}

type pipeOf struct{ *strings.Reader }

func (pipeOf) Close() error { return nil }

func TestParseStat(t *testing.T) {
	text := "42 (a) b (c) S 7 42 43 0 -1 4194560 1 0 0 0 5 6 7 2 20 0 1 0 12345 0 0 0\n"
	p, alive := parseStat("/proc/42", []byte(text))
	want := Process{PID: 42, Name: "a) b (c", CPU: 200e6, Path: "/proc/42", parent: 7, session: 43,
		threads: 1, began: 12345, reaped: 90e6}
	if !alive || p != want {
		t.Errorf("got %+v, alive %v; want %+v", p, alive, want)
	}
	exiting := strings.NewReplacer(") S ", ") Z ", " 0 1 0 12345", " 0 2 0 12345").Replace(text)
	if _, alive := parseStat("/proc/42", []byte(exiting)); !alive {
		t.Error("a process with another thread is not alive")
	}
	for _, text := range []string{
		"", "42", "42 (x) S 1", strings.Replace(text, ") S ", ") Z ", 1),
	} {
		if p, alive := parseStat("/proc/42", []byte(text)); alive {
			t.Errorf("%q: got %+v, want none", text, p)
		}
	}
}

func TestRoots(t *testing.T) {
	all := []Process{
		{PID: 5, parent: 1}, {PID: 6, parent: 5}, {PID: 7, parent: 6}, {PID: 8, parent: 0},
	}
	got := roots(all)
	if len(got) != 2 || got[0].PID != 5 || got[1].PID != 8 {
		t.Errorf("got %v, want 5 and 8", got)
	}
}

// TestNewestLog checks that the search for a log ends after logEntries files.
func TestNewestLog(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, homeDirectory)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := os.Open(root)
	if err := errors.Join(err, os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	s := &Server{home: &home{root: opened}}
	write("z.log", "the last line\n")
	name, lines := s.newestLog()
	if name != homeDirectory+"/z.log" || !slices.Equal(lines, []string{"the last line"}) {
		t.Errorf("log %q with %q, want z.log", name, lines)
	}
	for i := range logEntries {
		write(strconv.Itoa(i), "")
	}
	if name, _ := s.newestLog(); name != "" {
		t.Errorf("%s was found behind %d files", name, logEntries)
	}
}

// TestSendFails checks that a home forgets a command that it could not send to its agent.
func TestSendFails(t *testing.T) {
	h := &home{commands: map[int]*command{}, conn: &net.UnixConn{}}
	_, err := h.start(t.Context(), launch{args: []string{"x"}, outputs: []*output{{}}})
	if err == nil || len(h.commands) != 0 {
		t.Errorf("error %v, %d commands; want an error and no command", err, len(h.commands))
	}
}

// TestOrigin checks from which processes an answer can come.
func TestOrigin(t *testing.T) {
	h := &home{proc: t.TempDir(), agentID: 2}
	for pid, began := range map[int]int{2: 50, 5: 100, 6: 200, 7: 300} {
		dir := filepath.Join(h.proc, strconv.Itoa(pid))
		stat := fmt.Sprintf("%d (x) S%s %d", pid, strings.Repeat(" 2", 18), began)
		err := errors.Join(os.MkdirAll(dir, 0o755),
			os.WriteFile(dir+"/stat", []byte(stat), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	before := map[id]bool{{5, 100}: true, {6, 1}: true, {8, 1}: true}
	for name, test := range map[string]struct {
		pid        int
		old, fresh bool
	}{
		"old":                 {5, true, false},
		"fresh, with old PID": {6, false, true},
		"fresh":               {7, false, true},
		"old, has exited":     {8, true, false},
		"unknown, has exited": {9, false, false},
		"none":                {0, false, false},
	} {
		if old, fresh := h.origin(test.pid, before); old != test.old || fresh != test.fresh {
			t.Errorf("%s: old %t, fresh %t", name, old, fresh)
		}
	}
}

// TestPoll checks that a condition is polled less often as time passes, and once more at the limit.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		err := poll(t.Context(), 10*time.Second, func() (bool, error) {
			at = append(at, time.Since(began))
			return false, nil
		})
		if !errors.Is(err, errLimit) || time.Since(began) != 10*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		// Every 10 ms in the first 0.2 s, then every 50 ms after 1 s: 20, some 33, and 180 times.
		if n := len(at); n > 240 || at[1] != pollEvery || at[n-2]-at[n-3] != pollMost {
			t.Errorf("%d times: %v", n, at)
		}
	})
}

// TestProven checks which changes prove a restart of a server with two workers. One of them, or one
// listener of two, may have been replaced by the server itself. A process counts only after the
// time settled, because a failed restart may start a process that exits at once.
func TestProven(t *testing.T) {
	const now = clock.Instant(time.Second)
	main := Process{PID: 1, Name: "main", parent: 9}
	one := Process{PID: 2, Name: "worker", parent: 1}
	two := Process{PID: 3, Name: "worker", parent: 1}
	process := func(p Process, isNew bool, age time.Duration) Change {
		return Change{Kind: ChangeProcess, At: now.Add(-age), isNew: isNew, process: p}
	}
	gone := func(p Process) Change { return process(p, false, settled) }
	fresh := func(pid, parent int, name string) Change {
		return process(Process{PID: pid, Name: name, parent: parent}, true, settled)
	}
	opened, closed := Change{Kind: ChangeListener, isNew: true}, Change{Kind: ChangeListener}
	answers := Change{Kind: ChangeGeneration}
	for name, test := range map[string]struct {
		changes []Change
		want    bool
	}{
		"nothing":              {nil, false},
		"one replaced":         {[]Change{gone(one), fresh(4, 1, "worker")}, false},
		"one replaced, answer": {[]Change{gone(one), fresh(4, 1, "worker"), answers}, false},
		"one added":            {[]Change{fresh(4, 1, "worker")}, false},
		"all gone":             {[]Change{gone(one), gone(two)}, true},
		"two added":            {[]Change{fresh(4, 1, "worker"), fresh(5, 1, "worker")}, true},
		"two helpers added":    {[]Change{fresh(4, 1, "sleep"), fresh(5, 1, "sleep")}, false},
		"two grandchildren":    {[]Change{fresh(4, 2, "worker"), fresh(5, 2, "worker")}, false},
		"a helper gone":        {[]Change{gone(Process{PID: 8, Name: "worker", parent: 1})}, false},
		"all just gone": {
			[]Change{process(one, false, settled-1), process(two, false, settled-1)}, false},
		"all just replaced, answer": {
			[]Change{process(one, false, 0), process(two, false, 0), answers}, true},
		"one listener":  {[]Change{opened, closed}, false},
		"all listeners": {[]Change{opened, closed, closed}, true},
		"two listeners": {[]Change{opened, opened}, true},
		"answer":        {[]Change{answers}, true},
		"answer of new": {[]Change{{Kind: ChangeWorker}}, false},
		"pid file":      {[]Change{{Kind: ChangePIDFile}}, true},
	} {
		before := &snapshot{main: main, workers: []Process{one, two},
			listeners: map[uint64]string{1: "", 2: ""}}
		if got := before.proven(test.changes, main, now); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
		if !before.proven(test.changes, one, now) {
			t.Errorf("%s: another main process is no proof", name)
		}
	}
}

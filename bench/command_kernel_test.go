package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// installed skips the test if a program is not installed.
func installed(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
}

// python is the beginning of a scenario with a server in Python, which answers one request after
// the other. It closes its socket when it is told to stop.
const python = `
about: A server of the user's own.
workers: 1
server:
  kind: command
  start: /usr/bin/python3 app.py
  files:
    app.py: |
      import os, socket, time
      from http.server import BaseHTTPRequestHandler, HTTPServer
      class Handler(BaseHTTPRequestHandler):
          def do_GET(self):
              time.sleep(float(os.environ.get("WORK", 0)))
              self.send_response(200)
              self.send_header("Content-Length", "3")
              self.send_header("Worker", str(os.getpid()))
              self.end_headers()
              self.wfile.write(b"ok\n")
          def log_message(self, *args): pass
      class Server(HTTPServer):
          request_queue_size = 1024
          address_family = socket.AF_INET6 if ":" in os.environ["HOST"] else socket.AF_INET
          def server_bind(self):
              self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
              HTTPServer.server_bind(self)
      Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
`

// tried runs a scenario of one variant with a server of the user's own, and returns its last trial.
// It may be invalid.
func tried(t *testing.T, yaml string) *results.Trial {
	t.Helper()
	run, stderr, status := newProgram(t).run(t, "name: own"+yaml+"trials: 1\n"+lenient)
	if status != exitOK && status != exitNotMeasured || run == nil {
		t.Fatalf("exit status %d:\n%s", status, stderr)
	}
	v := run.Scenarios[0].Variants[0]
	if len(v.Trials) == 0 {
		t.Fatalf("no trial:\n%s", stderr)
	}
	tr := lastTrial(v)
	t.Logf("%d attempts, %d served, lost by cause %v, %v", tr.Attempts, tr.Served, tr.LostByCause,
		tr.InvalidReasons)
	return tr
}

// A server that sleeps 5 ms for each request, one after the other, answers at most 200 a second.
func TestKernelCapacityOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	tr := tried(t, python+`  env: {WORK: "0.005"}
load: {rate: 0.5*capacity, duration: 500ms}
`)
	capacity, offered := tr.CapacityPerSecond, tr.OfferedPerSecond
	if capacity == nil || *capacity > 201 || *capacity < 20 {
		t.Fatalf("capacity %v/s, want nearly 200/s", capacity)
	}
	const oneAttempt = 1 / 0.5 // per second
	if got, want := *offered, *capacity/2; got < want-oneAttempt || got > want+oneAttempt {
		t.Errorf("offered %v/s, want half of %v/s", got, *capacity)
	}
}

// app is a server in Python for run --server. With the argument "many", several can listen at the
// same address.
const app = `
import os, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
class Server(HTTPServer):
    request_queue_size = 1024
    def server_bind(self):
        if sys.argv[1:] == ["many"]:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        HTTPServer.server_bind(self)
Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
`

// Run tries a server without a scenario file, and keeps the scenario.
func TestKernelRunServer(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	for _, user := range users(t) {
		t.Run(user.name, func(t *testing.T) {
			p := newProgram(t)
			p.actAs(t, user.credential)
			open(t, p.dir)
			write(t, filepath.Join(p.dir, "app.py"), app)
			c := p.command(t.Context(), "run", "--server", "/usr/bin/python3 app.py many",
				"--every", "200ms", "--rate", "200/s", "--trials", "1", "--out", "run")
			var stderr bytes.Buffer
			c.Stderr = &stderr
			stdout, err := c.Output()
			status := c.ProcessState.ExitCode()
			if status != exitOK && status != exitNotMeasured { // the machine may be busy
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			run, err := results.Load(filepath.Join(p.dir, "run"))
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			s := run.Scenarios[0]
			if tr := lastTrial(s.Variants[0]); len(tr.Steps) == 0 || tr.Served < tr.Attempts/2 {
				t.Errorf("%d steps, %d of %d served: %v", len(tr.Steps), tr.Served, tr.Attempts,
					tr.InvalidReasons)
			}
			kept, err := scenarios.Load(filepath.Join(p.dir, "run", harness.ScenarioFile))
			if err != nil || kept.SHA256 != s.SHA256 || kept.Load.Rate.PerSecond != 200 {
				t.Errorf("the scenario that was kept: %v, %+v", err, kept)
			}
			for _, want := range []string{
				"app.py many, in " + p.dir, "stop the previous one with SIGTERM", "tried once",
				"run run/scenario.yaml",
			} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in\n%s", want, stderr.String())
				}
			}
			if !strings.Contains(string(stdout), "my-python3: What is lost") {
				t.Errorf("no question in\n%s", stdout)
			}
			p.gone(t)
		})
	}
}

// A server that cannot be tried is said to be so before the first trial, and nothing is left.
func TestKernelRunServerFails(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	const python = "/usr/bin/python3 app.py"
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--server", "no-such-server -x"}, exitNotMeasured,
			`"no-such-server -x": no-such-server: not found in PATH; install it`},
		{[]string{"--server", "./missing"}, exitNotMeasured, "missing: not found"},
		{[]string{"--server", "false"}, exitNotMeasured, "false: exit status 1 after"},
		{[]string{"--server", "/usr/bin/python3 -c 'raise SystemExit(\"no config\")'"},
			exitNotMeasured, "its last lines:\n no config"},
		{[]string{"--server", python}, exitNotMeasured, "try --restart stop-start"},
		{[]string{"--server", python + " many", "--path", "/none"}, exitNotMeasured,
			"for /none; most ended with: status 404\nName a path"},
		{[]string{"--server", python + " many", "--restart", "HUP"}, exitNotMeasured,
			"killed by SIGHUP: it does not handle that signal"},
		{[]string{"--server", python + " many", "--restart", "true"}, exitNotMeasured,
			"changed nothing that can be seen"},
		{[]string{"--server", python + " {{prot}}"}, exitUsage, "unknown variable {{prot}}"},
	} {
		t.Run(strings.Join(test.args[1:], " "), func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			open(t, p.dir)
			write(t, filepath.Join(p.dir, "app.py"), app)
			c := p.command(t.Context(), append([]string{"run"}, test.args...)...)
			out, _ := c.CombinedOutput()
			if status := c.ProcessState.ExitCode(); status != test.status {
				t.Errorf("exit status %d, want %d\n%s", status, test.status, out)
			}
			if !strings.Contains(string(out), test.want) {
				t.Errorf("no %q in\n%s", test.want, out)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "results")); err == nil {
				t.Error("a directory for results is left")
			}
			p.gone(t)
		})
	}
}

// open lets every user enter a test's directory.
func open(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

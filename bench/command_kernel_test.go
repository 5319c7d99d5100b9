package main

import (
	"os/exec"
	"testing"

	"reuseport-bench/results"
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

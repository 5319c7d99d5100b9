package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// installed skips the test if a program is not installed.
func installed(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
}

// python is the beginning of a scenario with a server in Python. The server answers one request at
// a time. SIGTERM ends it, which closes its socket.
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

// tried runs a scenario that has one variant, with a third-party server. It returns the last trial
// of that variant, which may be invalid.
func tried(t *testing.T, yaml string) *results.Trial {
	t.Helper()
	run, stderr, status := newProgram(t).run(t, "name: own"+yaml+"trials: 1\n"+lenient)
	if status != exitOK && status != exitNotMeasured || run == nil {
		t.Fatalf("exit status %d:\n%s", status, stderr)
	}
	v := run.Scenarios[0].Variants[0]
	if v.SkippedReason != nil {
		testkit.Skip(t, "%s", *v.SkippedReason)
	}
	if len(v.Trials) == 0 {
		t.Fatalf("no trial:\n%s", stderr)
	}
	tr := lastTrial(v)
	t.Logf("%d attempts, %d served, lost by cause %v, %v", tr.Attempts, tr.Served, tr.LostByCause,
		tr.InvalidReasons)
	return tr
}

// The measured capacity of a server that takes 5 ms for each request, one at a time, is at most 200
// requests per second.
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
	const oneAttempt = 1 / 0.5 // the rate of one attempt in the 0.5 s of load, per second
	if got, want := *offered, *capacity/2; got < want-oneAttempt || got > want+oneAttempt {
		t.Errorf("offered %v/s, want half of %v/s", got, *capacity)
	}
}

// app is a server in Python for run --server. With the argument "many", several instances can
// listen at the same address. With "keep", it keeps connections.
const app = `
import os, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1" if "keep" in sys.argv else "HTTP/1.0"
    def do_GET(self):
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
class Server(ThreadingHTTPServer if "keep" in sys.argv else HTTPServer):
    request_queue_size = 1024
    def server_bind(self):
        if "many" in sys.argv:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        HTTPServer.server_bind(self)
Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
`

// The first example of docs/own-server.md works: gunicorn is started and restarted in both ways.
func TestKernelOwnServerExample(t *testing.T) {
	requireLab(t)
	t.Parallel()
	installed(t, "gunicorn")
	text, err := os.ReadFile("../docs/own-server.md")
	if err != nil {
		t.Fatal(err)
	}
	example := scenarioBlock.FindSubmatch(text)
	if example == nil {
		t.Fatal("docs/own-server.md has no example")
	}
	p := newProgram(t)
	open(t, p.dir)
	write(t, filepath.Join(p.dir, "app.py"), `import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0"), ("Worker", str(os.getpid()))])
    return []
`)
	changed := strings.NewReplacer(
		"/srv/app", p.dir, "duration: 10s", "duration: 1500ms", "trials: 4", "trials: 1",
	).Replace(string(example[1]))
	run, stderr, _ := p.run(t, changed+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if len(v.Trials) == 0 {
			t.Fatalf("%s: no trial:\n%s", v.Labels["restart"], stderr)
		}
		// The stop takes a while, and loses what arrives meanwhile.
		if tr := lastTrial(v); len(tr.Steps) != 1 || tr.Served < tr.Attempts/4 {
			t.Errorf("%s: %d steps, %d of %d served: %v", v.Labels["restart"], len(tr.Steps),
				tr.Served, tr.Attempts, tr.InvalidReasons)
		}
	}
}

// The command run --server needs no scenario file. It stores the scenario that it makes in the run
// directory.
func TestKernelRunServer(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	for i, user := range users(t) {
		server, connections := "/usr/bin/python3 app.py many", "connections: new ones only: the"
		if i == 0 {
			server, connections = server+" keep", "connections: new ones, and "
		}
		t.Run(user.name, func(t *testing.T) {
			p := newProgram(t)
			p.actAs(t, user.credential)
			open(t, p.dir)
			write(t, filepath.Join(p.dir, "app.py"), app)
			c := p.command(t.Context(), "run", "--server", server,
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
				server + ", in " + p.dir, connections, "stop the previous one with SIGTERM",
				"tried once", "run run/scenario.yaml",
			} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in\n%s", want, stderr.String())
				}
			}
			if !strings.Contains(string(stdout), "my-python3: What is lost") {
				t.Errorf("no question in\n%s", stdout)
			}
			if n := len(kept.Variants); i == 0 && (n != 2 ||
				kept.Variants[1].Setup.Load.Connections.Count == 0) || i > 0 && n != 1 {
				t.Errorf("%d variants: %+v", n, kept.Variants)
			}
			p.gone(t)
		})
	}
}

// If the server cannot be started, restarted or requested, run --server reports the error before
// the first trial, and leaves no files or processes.
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

// open lets every user enter the temporary directory of a test.
func open(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// nginx is the beginning of a scenario with nginx, which runs in the foreground.
const nginx = `
about: nginx with two workers.
workers: 2
server:
  kind: command
  start: nginx -p {{directory}}/ -c nginx.conf -e stderr
  identify: {worker: Worker}
  files:
    nginx.conf: |
      daemon off;
      worker_processes {{workers}};
      pid nginx.pid;
      events { worker_connections 1024; }
      http {
        access_log off;
        client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
        scgi_temp_path t5;
        server {
          listen {{address}} backlog=1024;
          location / { add_header Worker $pid always; return 200 "ok\n"; }
        }
      }
  ready: {http: /}
  restarts: {reload: [{signal: HUP}]}
`

// served checks that a trial lost at most the given number of attempts, and served the others.
func served(t *testing.T, tr *results.Trial, lost int64) {
	t.Helper()
	if tr.Lost > lost || tr.Served+tr.Lost != tr.Attempts || tr.Served == 0 {
		t.Errorf("%d of %d served, %d lost, want at most %d: %+v", tr.Served, tr.Attempts, tr.Lost,
			lost, tr.Losses)
	}
}

// A step kills a worker process of nginx, and nginx's master process then starts a new one.
func TestKernelKillOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "nginx")
	t.Parallel()
	tr := tried(t, nginx+`
load: {rate: 300/s, duration: 900ms}
timeline: [{at: 200ms, every: 300ms, do: kill, target: 0}]
`)
	served(t, tr, 6) // the requests that the killed workers were processing
	if len(tr.Steps) != 3 {
		t.Fatalf("%d steps, want 3", len(tr.Steps))
	}
	killed := map[string]bool{}
	for _, s := range tr.Steps {
		if killed[s.Target] = true; s.Do != vocabulary.StepKill ||
			!strings.HasSuffix(s.Target, "(nginx)") {
			t.Errorf("step %s of %s, want kill of a process of nginx", s.Do, s.Target)
		}
	}
	if len(killed) != 3 {
		t.Errorf("killed %v, want three different processes", killed)
	}
}

// While all processes of the server are stopped, clients wait and lose nothing.
func TestKernelStallOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "nginx")
	t.Parallel()
	const stall = 300 * time.Millisecond
	tr := tried(t, nginx+`
load: {rate: 300/s, duration: 900ms, timeout: 5s}
timeline: [{at: 200ms, do: stall, for: 300ms}]
`)
	served(t, tr, 0)
	if len(tr.Steps) != 1 {
		t.Fatalf("%d steps, want 1", len(tr.Steps))
	}
	s := tr.Steps[0]
	if s.ReadyNS == nil || s.StopNS == nil || *s.ReadyNS-*s.StopNS < int64(stall) {
		t.Errorf("stopped at %v, continued at %v, want %v between", s.StopNS, s.ReadyNS, stall)
	}
	if n := strings.Count(s.Target, "(nginx)"); n != 3 {
		t.Errorf("stalled %s, want the master and two workers", s.Target)
	}
	if s.StallNS == nil || *s.StallNS < int64(stall)*9/10 {
		t.Errorf("step %+v, want no response for about %v", s, stall)
	}
}

// Without a header that identifies processes, the report calls them by the PIDs that steps and the
// server itself use.
func TestKernelPIDsOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	tr := tried(t, python+`
load: {rate: 100/s, duration: 600ms, timeout: 5s}
timeline: [{at: 200ms, do: stall, for: 50ms}]
`)
	if tr.Witness == nil || tr.Witness.By != results.ByTrace {
		testkit.Skip(t, "connections are traced only as root: %+v", tr.Witness)
	}
	pid, _, _ := strings.Cut(strings.TrimPrefix(tr.Steps[0].Target, "process "), " ")
	if len(tr.Workers) != 1 || tr.Workers[0].Name != "PID "+pid {
		t.Errorf("processes %+v, want only PID %s, as in the step's target", tr.Workers, pid)
	}
}

// If handshakes are held up while a restart stops the server, their attempts are lost with its
// listener.
func TestKernelHalfOpenOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	tr := tried(t, python+`  fault: {half_open: 5}
  restarts: {stop-start: [{stop: previous}, {start: next}]}
restart: stop-start
load: {rate: 300/s, duration: 1500ms}
timeline: [{at: 200ms, do: restart}]
`)
	if len(tr.Steps) != 1 || tr.Steps[0].ReadyNS == nil {
		t.Fatalf("%d steps, want a restart that ended", len(tr.Steps))
	}
	if tr.Lost < 5 || tr.Served < tr.Attempts/2 {
		t.Errorf("%d of %d lost, want the 5 held handshakes at least", tr.Lost, tr.Attempts)
	}
	if n := tr.LostByCause[resetHalfOpen]; n < 5 {
		t.Errorf("%d lost by reset_half_open, want 5 at least: %v", n, tr.LostByCause)
	}
}

// Attempts whose SYN is dropped time out. All others are served.
func TestKernelDroppedSYNsOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	const dropped = 7
	tr := tried(t, fmt.Sprintf(python+`  fault: {dropped_syns: %d}
load: {rate: 300/s, duration: 600ms, timeout: 650ms} # less than a client takes to repeat a SYN
`, dropped))
	served(t, tr, dropped)
	if tr.Lost != dropped || tr.LostByPhase["connect"] != dropped {
		t.Errorf("%d lost, by phase %v; want %d while connecting", tr.Lost, tr.LostByPhase, dropped)
	}
}

// A third-party server works in every network that has no pods, and also with listening sockets
// that this program opens.
func TestKernelNetworksOfCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	for name, test := range map[string]struct{ yaml, target string }{
		"veth":      {python + "network: veth\n", ":8080"},
		"ipv6":      {python + "family: ipv6\n", "[::1]:8080"},
		"veth-ipv6": {python + "network: veth\nfamily: ipv6\n", "]:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := tried(t, test.yaml+"load: {rate: 300/s, duration: 500ms}\n")
			served(t, tr, 0)
			if !strings.HasSuffix(tr.Target, test.target) {
				t.Errorf("target %s, want %s", tr.Target, test.target)
			}
		})
	}
}

// A process beside the server (server.beside) is reachable for the server: every request needs it.
func TestKernelBesideCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	tr := tried(t, `
about: A service that asks a database for each request.
workers: 1
server:
  kind: command
  start: /usr/bin/python3 service.py
  env: {DATABASE: "{{host}}:5432"}
  files:
    service.py: |
      import os, socket
      from http.server import BaseHTTPRequestHandler, HTTPServer
      host, port = os.environ["DATABASE"].split(":")
      class Handler(BaseHTTPRequestHandler):
          def do_GET(self):
              with socket.create_connection((host, int(port))) as database:
                  answer = database.recv(16)
              self.send_response(200 if answer == b"42" else 500)
              self.send_header("Content-Length", "0")
              self.end_headers()
          def log_message(self, *args): pass
      class Server(HTTPServer):
          request_queue_size = 1024
      Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
  ready: {http: /}
  restarts: {stop-start: [{stop: previous}, {start: next}]}
  beside:
    database:
      start: "/usr/bin/python3 database.py {{host}} {{port}}"
      port: 5432
      files:
        database.py: |
          import socket, sys
          s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
          while True:
              c, _ = s.accept()
              c.sendall(b"42")
              c.close()
restart: stop-start
load: {rate: 200/s, duration: 1500ms}
timeline: [{at: 300ms, do: restart}]
`)
	if len(tr.Steps) != 1 || tr.Served < tr.Attempts/2 || tr.LostByCause["error_answer"] > 0 {
		t.Errorf("%d steps, %d of %d served, lost %v; want one step, and no answer with status 500",
			len(tr.Steps), tr.Served, tr.Attempts, tr.LostByCause)
	}
}

// After the load, the server and the process beside it get their stop signals. A process that
// ignores its signal is killed, and the trial is judged as if it had stopped.
func TestKernelStopsCommand(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	out := t.TempDir()
	for dir := out; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	yaml := strings.Replace(python, "      class Handler", `      import signal
      def stop(n, _):
          open("`+out+`/server", "w").write(signal.Signals(n).name)
          os._exit(0)
      signal.signal(signal.SIGINT, stop)
      class Handler`, 1)
	tr := tried(t, yaml+`  stop: {signal: INT}
  beside:
    deaf:
      start: /usr/bin/python3 -u deaf.py
      ready: {stdout: ready}
      stop: {signal: USR1, grace: 1s}
      files:
        deaf.py: |
          import signal
          def ignore(n, _): open("`+out+`/deaf", "w").write(signal.Signals(n).name)
          signal.signal(signal.SIGUSR1, ignore)
          print("ready")
          while True: signal.pause()
load: {rate: 200/s, duration: 300ms}
`)
	served(t, tr, 0)
	for name, want := range map[string]string{"server": "SIGINT", "deaf": "SIGUSR1"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("signal of %s: %q, %v; want %s", name, got, err, want)
		}
	}
}

// A restart loses nothing if this program passes its listening sockets to the next instance of the
// server before the previous instance ends.
func TestKernelPassedSockets(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	for _, sockets := range []string{"shared", "reuseport"} {
		t.Run(sockets, func(t *testing.T) {
			t.Parallel()
			tr := tried(t, "\nsockets: "+sockets+`
about: A server with sockets that somebody holds for it.
workers: 2
server:
  kind: command
  start: /usr/bin/python3 service.py
  files:
    service.py: |
      import os, selectors, signal, socket
      assert int(os.environ["LISTEN_PID"]) == os.getpid()
      selector = selectors.DefaultSelector()
      for fd in range(3, 3 + int(os.environ["LISTEN_FDS"])):
          listener = socket.socket(fileno=fd)
          listener.setblocking(False)
          selector.register(listener, selectors.EVENT_READ)
      running = True
      def stop(*_):
          global running
          running = False
      signal.signal(signal.SIGTERM, stop)
      with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
          notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
      while running:
          for key, _ in selector.select(0.02):
              try:
                  connection, _ = key.fileobj.accept()
              except BlockingIOError:
                  continue
              with connection:
                  connection.setblocking(True)
                  connection.recv(4096)
                  connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
                      b"Connection: close\r\n\r\nok\n")
  ready: {notify: true}
  restarts: {overlap: [{start: next}, {wait: {ready: next}}, {stop: previous}]}
restart: overlap
load: {rate: 300/s, duration: 900ms}
timeline: [{at: 200ms, every: 400ms, do: restart}]
`)
			served(t, tr, 0)
			if len(tr.Steps) != 2 {
				t.Errorf("%d steps, want 2", len(tr.Steps))
			}
		})
	}
}

// If the server of one variant cannot be started, the run continues with the other variants. After
// two failed trials of that variant, it omits the variant. The same is true if the capacity must be
// measured first.
func TestKernelFailedStart(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	yaml := strings.Replace(python, "app.py\n", `app.py {{vars.option}}
  vars: {option: ""}
`, 1)
	yaml = strings.Replace(yaml, "      class Handler", `      import sys
      if sys.argv[1:]: sys.exit("unknown option " + sys.argv[1])
      class Handler`, 1)
	for _, rate := range []string{"200/s", "0.5*capacity"} {
		t.Run(rate, func(t *testing.T) { failedStart(t, yaml, rate) })
	}
	t.Run("search", func(t *testing.T) {
		run, stderr, status := newProgram(t).run(t, "name: own"+yaml+`
load: {duration: 400ms}
search: {p99: 10s, precision: 0.5}
matrix: [{server.vars.option: [--nonsense, ""]}]
trials: 1
`+lenient)
		if run == nil {
			t.Fatalf("exit status %d\n%s", status, stderr)
		}
		bad, good := run.Scenarios[0].Variants[0], run.Scenarios[0].Variants[1]
		if len(bad.Trials) == 0 || len(good.Trials) == 0 {
			t.Fatalf("no trial of each variant, exit status %d\n%s", status, stderr)
		}
		const reason = "its last lines: unknown option --nonsense"
		if tr := lastTrial(bad); tr.Valid || !strings.Contains(tr.InvalidReasons[0], reason) {
			t.Errorf("valid %v, %q; want %q", tr.Valid, tr.InvalidReasons, reason)
		}
		if tr := lastTrial(good); tr.Search == nil || len(tr.Search.Tries) == 0 {
			t.Errorf("search of the server that starts: %+v", tr.Search)
		}
	})
}

func failedStart(t *testing.T, yaml, rate string) {
	run, stderr, status := newProgram(t).run(t, "name: own"+yaml+`
load: {rate: `+rate+`, duration: 300ms}
matrix: [{server.vars.option: ["", --nonsense]}]
trials: 3
`+lenient)
	if status != exitNotMeasured || !strings.Contains(stderr, "unknown option --nonsense") {
		t.Fatalf("exit status %d, want %d and the server's last words\n%s", status, exitNotMeasured,
			stderr)
	}
	good, bad := run.Scenarios[0].Variants[0], run.Scenarios[0].Variants[1]
	if n := len(good.Trials); n < 3 {
		t.Errorf("%d trials of the server that starts, want 3", n)
	}
	if n := len(bad.Trials); n != 2 {
		t.Errorf("%d trials of the server that does not start, want 2", n)
	}
	const reason = "before it was ready; its last lines: unknown option --nonsense"
	for _, tr := range bad.Trials {
		if tr.Valid || tr.Attempts != 0 || !strings.Contains(tr.InvalidReasons[0], reason) {
			t.Errorf("valid %v, %d attempts, %q; want %q", tr.Valid, tr.Attempts,
				tr.InvalidReasons, reason)
		}
	}
}

// A restart that changes nothing makes the trial invalid, also if the load ends before that is
// certain. The trial still has the step, because its signal may have caused losses.
func TestKernelRestartWithoutChange(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	tr := tried(t, python+`  restart_within: 2s
  restarts: {none: [{signal: WINCH}]}
restart: none
load: {rate: 200/s, duration: 300ms}
timeline: [{at: 100ms, do: restart}]
`)
	reasons := strings.Join(tr.InvalidReasons, "; ")
	if want := "the restart changed nothing that can be seen"; !strings.Contains(reasons, want) {
		t.Errorf("valid %v, %q; want %q", tr.Valid, reasons, want)
	}
	if len(tr.Steps) != 1 || tr.Steps[0].StopNS == nil || tr.Steps[0].ReadyNS != nil {
		t.Errorf("steps %+v, want one with a stop time and no end", tr.Steps)
	}
}

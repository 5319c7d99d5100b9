package foreign

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

// kinds returns the kinds of a restart's changes, without duplicates, in alphabetical order.
func kinds(r *Restart) (all []ChangeKind) {
	for _, c := range r.Changes {
		if !slices.Contains(all, c.Kind) {
			all = append(all, c.Kind)
		}
	}
	slices.Sort(all)
	return all
}

// restart restarts a server and checks the kinds of changes that prove the restart.
func restart(t *testing.T, s *Server, actions []Action, want ...ChangeKind) *Restart {
	t.Helper()
	r, err := s.Restart(t.Context(), actions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kinds(r), want); diff != "" {
		t.Errorf("changes %+v (-got +want):\n%s", r.Changes, diff)
	}
	if r.Trigger == 0 || r.Changed < r.Trigger || r.Over < r.Changed {
		t.Errorf("trigger %v, changed %v, over %v: want them in this order",
			r.Trigger, r.Changed, r.Over)
	}
	return r
}

func wait(c Condition) Action { return Action{Wait: &c, Within: 10 * time.Second} }

// TestKernelRestarts restarts the tests' server in each way that leads to a new process.
func TestKernelRestarts(t *testing.T) {
	t.Parallel()
	overlap := []Action{{Start: true}, wait(Condition{Ready: true}), {Stop: true}}
	dir := t.TempDir()
	// The server's user must be able to write its pid file there.
	err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change  func(*Config)
		actions []Action
		want    []ChangeKind
	}{
		"stop, start": {
			func(*Config) {}, []Action{{Stop: true}, {Start: true}},
			[]ChangeKind{ChangeGeneration, ChangeListener, ChangeProcess},
		},
		"pid file in the working directory": {
			func(c *Config) {
				c.Base, c.Directory = filepath.Split(dir)
				c.Start.Line = "{{directory}}/helper serve background"
				c.Forks, c.PIDFile = true, "server.pid"
			},
			[]Action{{Stop: true}, {Start: true}, wait(Condition{File: "server.pid"}),
				wait(Condition{PIDFile: true})},
			[]ChangeKind{ChangeGeneration, ChangeListener, ChangePIDFile, ChangeProcess},
		},
		"held socket": {
			func(c *Config) { c.Sockets = vocabulary.SocketsShared }, overlap,
			[]ChangeKind{ChangeGeneration, ChangeProcess},
		},
		"held socket, by worker": {
			func(c *Config) {
				c.Sockets, c.Identify.Generation = vocabulary.SocketsShared, ""
			}, overlap,
			[]ChangeKind{ChangeProcess, ChangeWorker},
		},
		"notify": {
			func(c *Config) {
				c.Sockets, c.Ready = vocabulary.SocketsShared, Ready{Notify: true}
				c.Start.Line = "./helper serve notify"
			}, overlap,
			[]ChangeKind{ChangeGeneration, ChangeProcess},
		},
		"stdout": {
			func(c *Config) {
				c.Ready = Ready{Stdout: regexp.MustCompile("^listening")}
			},
			[]Action{{Signal: unix.SIGTERM}, wait(Condition{Gone: TargetOldMain}), {Start: true},
				wait(Condition{Stdout: regexp.MustCompile("^listening")})},
			[]ChangeKind{ChangeGeneration, ChangeListener, ChangeProcess},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := helper("ok")
			cfg.Identify = Identify{Worker: "Worker", Generation: "Generation"}
			test.change(&cfg)
			s := started(t, cfg)
			for i := range 2 {
				before := s.Main()
				r := restart(t, s, test.actions, test.want...)
				if r.Generation != i+2 || r.Before.id() != before.id() ||
					r.Main.id() == before.id() || s.Main().id() != r.Main.id() {
					t.Errorf("restart %+v of %v; want generation %d of another process",
						r, before, i+2)
				}
				closes := slices.Contains(test.want, ChangeListener)
				if closes != (r.Closed != 0) || closes && r.Closed < r.Trigger {
					t.Errorf("trigger %v, closed %v", r.Trigger, r.Closed)
				}
				if len(r.Remaining) > 0 || !r.Replaced {
					t.Errorf("remaining: %v, replaced: %t", r.Remaining, r.Replaced)
				}
			}
			stop(t, s)
		})
	}
}

// TestKernelRestartFails checks the errors of restarts that fail.
func TestKernelRestartFails(t *testing.T) {
	t.Parallel()
	hangup := []Action{{Signal: unix.SIGHUP}}
	// For tests in which processes must have started when the limit expires.
	slower := func(c *Config) { c.RestartWithin = 3 * time.Second }
	next := []Action{{Start: true},
		{Wait: &Condition{Ready: true}, Within: 300 * time.Millisecond}}
	for name, test := range map[string]struct {
		mode    string
		change  func(*Config)
		actions []Action
		want    []string
	}{
		"changes nothing": {
			mode: "hangup", actions: hangup,
			want: []string{"the restart changed nothing that can be seen: after 800ms " +
				"it has the same processes, listeners; its last lines:\n\tlistening at"},
		},
		"changes nothing, by generation": {
			mode: "hangup", actions: hangup,
			change: func(c *Config) { c.Identify.Generation = "Generation" },
			want:   []string{"changed nothing", "listeners, generation in its answers;"},
		},
		// As a server does after a number of requests.
		"replaces one of two workers": {
			mode: "recycles", actions: hangup, change: slower,
			want: []string{"changed nothing", "only this is different: process", "(sleep) is gone",
				"(sleep) is new",
				", which a server may do by itself; if it was the restart, prove it by"},
		},
		"replaces one of two workers, by generation": {
			mode: "recycles", actions: hangup,
			change: func(c *Config) {
				slower(c)
				c.Identify = Identify{Worker: "Worker", Generation: "Generation"}
				c.Files = append(c.Files, File{Name: "generation", Text: "{{generation}}"})
			},
			want: []string{"changed nothing", "only this is different: process"},
		},
		"worker cannot start": {
			mode: "crash-loop", actions: hangup, want: []string{"changed nothing"},
		},
		"signal is not handled": {
			mode: "ok", actions: hangup,
			want: []string{
				"the server has ended: killed by SIGHUP: it does not handle that signal"},
		},
		"answers 500 after it": {
			mode: "breaks", actions: []Action{{Stop: true}, {Start: true}},
			change: slower,
			want:   []string{"is not over within 3s: GET / is answered with 500"},
		},
		"old one is not stopped": {
			mode:    "ok",
			change:  func(c *Config) { c.Sockets = vocabulary.SocketsShared },
			actions: []Action{{Start: true}, wait(Condition{Ready: true})},
			want:    []string{"still runs and was not told to stop; add stop: previous"},
		},
		"run fails": {
			mode: "ok", actions: []Action{{Run: Command{Line: "sh -c 'echo oh no; exit 3'"}}},
			want: []string{"action 1 (run sh -c 'echo oh no; exit 3'): ", "exit status 3: oh no"},
		},
		"run does not end": {
			mode: "ok", actions: []Action{
				{Run: Command{Line: "sleep 100"}, Within: 100 * time.Millisecond}},
			want: []string{"sleep 100: still runs after 100ms"},
		},
		"next does not start": {
			mode: "ok", actions: []Action{{Start: true}}, // the address is in use
			want: []string{"address already in use"},
		},
		"next is not ready, by generation": {
			mode: "first-only", actions: next,
			change: func(c *Config) { c.Identify.Generation = "Generation" },
			want: []string{
				"action 2 (wait): not within 300ms: generation 1 still answers, not 2"},
		},
		"next is not ready, by worker": {
			mode: "first-only", actions: next,
			change: func(c *Config) { c.Identify.Worker = "Worker" },
			want:   []string{"not within 300ms: process", "of an earlier start still answers"},
		},
		"next is not ready, by listener": {
			mode: "first-only", actions: next,
			want: []string{"not within 300ms: nothing of it listens at 127.0.0.1:8080"},
		},
		"wait is too long": {
			mode: "ok", actions: []Action{{Signal: unix.SIGCONT},
				{Wait: &Condition{File: "x.pid"}, Within: 50 * time.Millisecond}},
			want: []string{"action 2 (wait): not within 50ms: file x.pid: no such file"},
		},
		"unknown variable": {
			mode: "ok", actions: []Action{{Write: true, Set: map[string]string{"works": "1"}}},
			want: []string{`set: unknown variable "works"; known are {{address}}, `},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := helper(test.mode)
			cfg.RestartWithin = 800 * time.Millisecond
			if test.change != nil {
				test.change(&cfg)
			}
			s := started(t, cfg)
			r, err := s.Restart(t.Context(), test.actions)
			containsAll(t, err, test.want...)
			if r == nil || r.Trigger == 0 {
				t.Errorf("restart %+v, want one with a trigger", r)
			}
			want := strings.Contains(test.want[0], "changed nothing")
			if got := errors.Is(err, ErrUnchanged); got != want {
				t.Errorf("is ErrUnchanged: %v, want %v", got, want)
			}
		})
	}
}

// TestKernelRestartShrinks checks that a restart is proved even if processes only disappear,
// because a server may be told to run fewer processes.
func TestKernelRestartShrinks(t *testing.T) {
	t.Parallel()
	s := started(t, helper("shrinks"))
	r := restart(t, s, []Action{{Signal: unix.SIGHUP}}, ChangeProcess)
	if what := r.Changes[0].What; !strings.HasSuffix(what, "(sleep) is gone") {
		t.Errorf("change %q", what)
	}
	stop(t, s)
}

// TestKernelRestartReplacesWorkers checks that a restart is proved once all workers are replaced.
func TestKernelRestartReplacesWorkers(t *testing.T) {
	t.Parallel()
	s := started(t, helper("reloads"))
	for range 2 {
		if r := restart(t, s, []Action{{Signal: unix.SIGHUP}}, ChangeProcess); !r.Replaced {
			t.Errorf("remaining: %v", r.Remaining)
		}
	}
}

// TestKernelOverlap checks that a restart is refused while another is under way.
func TestKernelOverlap(t *testing.T) {
	t.Parallel()
	s := started(t, helper("hangup"))
	first := make(chan error)
	began := make(chan struct{})
	go func() {
		close(began)
		_, err := s.Restart(t.Context(), []Action{
			{Run: Command{Line: "sleep 0.3"}}, {Stop: true}, {Start: true}})
		first <- err
	}()
	<-began
	time.Sleep(100 * time.Millisecond)
	if _, err := s.Restart(t.Context(), nil); !errors.Is(err, ErrOverlap) {
		t.Errorf("the second: %v, want %v", err, ErrOverlap)
	}
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
}

// installed skips the test if a program is not installed.
func installed(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
}

const nginxConfig = `worker_processes {{workers}};
pid nginx.pid;
worker_shutdown_timeout 2s;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path tmp/a; proxy_temp_path tmp/b; fastcgi_temp_path tmp/c;
  uwsgi_temp_path tmp/d; scgi_temp_path tmp/e;
  server {
    listen {{address}} {{vars.reuseport}};
    location / {
      add_header Worker $pid always;
      add_header Generation {{vars.said}} always;
      return 200 "ok\n";
    }
  }
  {{vars.broken}}
}
`

func nginx(t *testing.T) Config {
	t.Helper()
	installed(t, "nginx")
	return Config{
		Address: address, Workers: 2,
		Start: Command{Line: "nginx -p {{directory}}/ -c nginx.conf -e logs/error.log"},
		Forks: true, PIDFile: "nginx.pid",
		Files:    []File{{Name: "logs/"}, {Name: "nginx.conf", Text: nginxConfig}},
		Vars:     map[string]string{"reuseport": "", "broken": "", "said": "0"},
		Ready:    Ready{HTTP: "/", Within: 10 * time.Second},
		Stop:     Stop{Signal: unix.SIGQUIT, Grace: 2 * time.Second},
		Identify: Identify{Worker: "Worker"}, RestartWithin: 3 * time.Second,
	}
}

// generations returns the configuration with nginx's answers naming the generation.
func generations(c Config) Config {
	c.Files[1].Text = strings.ReplaceAll(c.Files[1].Text, "{{vars.said}}", "{{generation}}")
	c.Identify.Generation = "Generation"
	return c
}

// TestKernelNginx restarts nginx in every way that nginx offers, and in ways that have no effect
// although every action succeeds.
func TestKernelNginx(t *testing.T) {
	t.Parallel()
	reload := []Action{{Signal: unix.SIGHUP}, wait(Condition{Gone: TargetOldWorkers})}
	t.Run("reload", func(t *testing.T) {
		t.Parallel()
		s := started(t, generations(nginx(t)))
		before := s.Main()
		restart(t, s, reload, ChangeGeneration, ChangeProcess)
		if s.Main().id() != before.id() {
			t.Errorf("the main process changed from %v to %v", before, s.Main())
		}
		r := restart(t, s, []Action{
			{Run: Command{Line: "nginx -p {{directory}}/ -c nginx.conf -e logs/error.log -s reload"}},
			wait(Condition{Generation: true}), wait(Condition{Gone: TargetOldWorkers}),
		}, ChangeGeneration, ChangeProcess)
		if len(r.Remaining) > 0 || !r.Replaced {
			t.Errorf("remaining: %v, replaced: %t", r.Remaining, r.Replaced)
		}
		stop(t, s)
	})
	t.Run("shrink, reuseport", func(t *testing.T) {
		t.Parallel()
		cfg := nginx(t)
		cfg.Vars["reuseport"] = "reuseport"
		s := started(t, cfg)
		if at, _, err := s.Listeners(); len(at) != 2 || err != nil {
			t.Errorf("listeners %v, error %v; want 2", at, err)
		}
		fewer := Action{Write: true, Set: map[string]string{"workers": "1"}}
		restart(t, s, append([]Action{fewer}, reload...),
			ChangeListener, ChangeProcess, ChangeWorker)
		if at, _, err := s.Listeners(); len(at) != 1 || err != nil {
			t.Errorf("listeners %v, error %v; want 1", at, err)
		}
		stop(t, s)
	})
	t.Run("upgrade", func(t *testing.T) {
		t.Parallel()
		cfg := nginx(t)
		s := started(t, cfg)
		old := s.Main()
		restart(t, s, []Action{
			{Signal: unix.SIGUSR2},
			wait(Condition{File: "nginx.pid.oldbin"}),
			wait(Condition{PIDFile: true}),
			{Signal: unix.SIGWINCH, To: TargetOldMain},
			{Signal: unix.SIGQUIT, To: TargetOldMain},
			wait(Condition{Gone: TargetOldMain}),
		}, ChangePIDFile, ChangeProcess, ChangeWorker)
		if s.Main().id() == old.id() || old.alive() {
			t.Errorf("main process %v, before %v; want another, and the old one gone",
				s.Main(), old)
		}
		stop(t, s)
	})
	t.Run("broken file", func(t *testing.T) {
		t.Parallel()
		cfg := nginx(t)
		cfg.RestartWithin = 800 * time.Millisecond
		s := started(t, cfg)
		_, err := s.Restart(t.Context(), []Action{
			{Write: true, Set: map[string]string{"vars.broken": "wrong;"}}, {Signal: unix.SIGHUP},
		})
		containsAll(t, err, "changed nothing", "same processes, listeners, pid file",
			"/run/server/logs/error.log:", `unknown directive "wrong"`)
	})
	t.Run("upgrade in the foreground", func(t *testing.T) {
		t.Parallel()
		cfg := nginx(t)
		cfg.Start.Line += " -g 'daemon off;'"
		cfg.Forks, cfg.RestartWithin = false, 800*time.Millisecond
		s := started(t, cfg)
		_, err := s.Restart(t.Context(), []Action{{Signal: unix.SIGUSR2}})
		containsAll(t, err, "changed nothing", "the changing binary signal is ignored")
		stop(t, s)
	})
	t.Run("stuck worker", func(t *testing.T) {
		t.Parallel()
		// An old worker that cannot quit keeps its listener open, and accepts no connections. The
		// restart is over nevertheless, and lists this worker as remaining. If the worker exits
		// later, its exit does not prove the next restart.
		cfg := nginx(t)
		cfg.Vars["reuseport"] = "reuseport"
		cfg.Identify = Identify{}
		s := started(t, cfg)
		s.cfg.Ready = Ready{Listening: true} // do not send requests: some would never be answered
		var all []Process
		err := poll(t.Context(), 3*time.Second, func() (_ bool, err error) {
			all, err = s.Processes()
			return len(all) == 3, err // the master and two workers
		})
		if err != nil {
			t.Fatal(err)
		}
		stuck := all[2]
		if err := s.Signal(all[2:], unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		r := restart(t, s, []Action{{Signal: unix.SIGHUP}}, ChangeProcess)
		remains := func(p Process) bool { return p.id() == stuck.id() }
		if r.Replaced || !slices.ContainsFunc(r.Remaining, remains) {
			t.Errorf("remaining %v, replaced %t; want also %v", r.Remaining, r.Replaced, stuck)
		}
		if at, _, err := s.Listeners(); len(at) != 2 || err != nil {
			t.Errorf("listeners %v, error %v; want 2", at, err)
		}
		s.cfg.RestartWithin = 800 * time.Millisecond
		goOn := Command{List: []string{"sh", "-c", fmt.Sprintf("kill -CONT %d", stuck.PID)}}
		if _, err := s.Restart(t.Context(), []Action{
			{Run: goOn},
		}); !errors.Is(err, ErrUnchanged) {
			t.Errorf("error %v, want %v", err, ErrUnchanged)
		}
		stop(t, s)
	})
}

const haproxyConfig = `global
  stats socket {{directory}}/admin.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend fe
  bind {{address}}
  http-after-response set-header Worker %pid
  http-request return status 200 content-type text/plain string "ok"
{{vars.more}}
`

// TestKernelHAProxy restarts HAProxy in two ways: through its master process, and by a new HAProxy
// that takes over.
func TestKernelHAProxy(t *testing.T) {
	t.Parallel()
	config := func(t *testing.T, start string) Config {
		installed(t, "haproxy")
		return Config{
			Address: address, Workers: 1, Start: Command{Line: start}, PIDFile: "h.pid",
			Files: []File{{Name: "h.cfg", Text: haproxyConfig}},
			Vars:  map[string]string{"more": ""},
			Ready: Ready{HTTP: "/", Within: 10 * time.Second},
			Stop:  Stop{Grace: 2 * time.Second}, Identify: Identify{Worker: "Worker"},
			RestartWithin: 3 * time.Second,
		}
	}
	t.Run("master", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, "haproxy -Ws -f h.cfg -p h.pid")
		cfg.Ready = Ready{Notify: true}
		s := started(t, cfg)
		// HAProxy ignores SIGUSR2 until it has sent READY=1.
		restart(t, s, []Action{
			{Signal: unix.SIGUSR2}, wait(Condition{Ready: true}),
			wait(Condition{Gone: TargetOldWorkers}),
		}, ChangeProcess, ChangeWorker)
		s.cfg.RestartWithin = 800 * time.Millisecond
		_, err := s.Restart(t.Context(), []Action{
			{Write: true, Set: map[string]string{"vars.more": "wrong"}}, {Signal: unix.SIGUSR2},
		})
		containsAll(t, err, "changed nothing", "unknown keyword 'wrong'")
		stop(t, s)
	})
	for name, more := range map[string]string{
		"successor": "", "successor with sockets": " -x admin.sock",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, "haproxy -D -f h.cfg -p h.pid")
			cfg.Forks = true
			s := started(t, cfg)
			old := s.Main()
			want := []ChangeKind{ChangeListener, ChangePIDFile, ChangeProcess, ChangeWorker}
			if more != "" {
				want = want[1:]
			}
			restart(t, s, []Action{
				{Run: Command{Line: "haproxy -D -f h.cfg -p h.pid" + more + " -sf {{main}}"}},
				wait(Condition{Gone: TargetOldMain}),
			}, want...)
			if old.alive() {
				t.Errorf("the old process %v still runs", old)
			}
			stop(t, s)
		})
	}
}

// nodeServer is a cluster whose primary process replaces its workers at SIGHUP.
const nodeServer = `const cluster = require('cluster'), http = require('http');
if (cluster.isPrimary) {
  for (let i = 0; i < {{workers}}; i++) cluster.fork();
  process.on('SIGHUP', () => {
    for (const old of Object.values(cluster.workers))
      cluster.fork().on('listening', () => old.disconnect());
  });
  process.on('SIGTERM', () => process.exit());
} else {
  http.createServer((request, response) => {
    response.setHeader('Worker', process.pid);
    response.end('ok');
  }).listen({{port}}, '{{host}}');
}
`

// TestKernelNode restarts the workers of a Node cluster. The primary process listens and accepts,
// and is not restarted.
func TestKernelNode(t *testing.T) {
	t.Parallel()
	installed(t, "node")
	s := started(t, Config{
		Address: address, Workers: 1, Start: Command{List: []string{"node", "server.js"}},
		Files:    []File{{Name: "server.js", Text: nodeServer}},
		Ready:    Ready{HTTP: "/", Within: 10 * time.Second},
		Identify: Identify{Worker: "Worker"},
	})
	r := restart(t, s, []Action{{Signal: unix.SIGHUP}, wait(Condition{Gone: TargetOldWorkers})},
		ChangeProcess, ChangeWorker)
	if r.Main.id() != r.Before.id() {
		t.Errorf("the primary changed from %v to %v", r.Before, r.Main)
	}
	stop(t, s)
}

// TestKernelPython restarts a server that handles no signals. SIGHUP kills it, so a restart must
// stop the server and start it again.
func TestKernelPython(t *testing.T) {
	t.Parallel()
	installed(t, "python3")
	cfg := Config{
		Address: address, Workers: 1,
		Start: Command{Line: "python3 -m http.server --bind $HOST $PORT"},
		Ready: Ready{HTTP: "/", Within: 10 * time.Second},
	}
	s := started(t, cfg)
	restart(t, s, []Action{{Stop: true}, {Start: true}}, ChangeListener, ChangeProcess)
	_, err := s.Restart(t.Context(), []Action{{Signal: unix.SIGHUP}})
	containsAll(t, err, "killed by SIGHUP: it does not handle that signal")
}

// TestKernelGunicorn checks the error of a restart by a signal that gunicorn ignores if it runs in
// the foreground.
func TestKernelGunicorn(t *testing.T) {
	t.Parallel()
	installed(t, "gunicorn")
	s := started(t, Config{
		Address: address, Workers: 1, PIDFile: "g.pid",
		Start: Command{Line: "gunicorn -w {{workers}} -b {{address}} -p g.pid app:app"},
		Files: []File{{Name: "app.py", Text: `import os
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '3'), ('Worker', str(os.getpid()))])
    return [b'ok\n']
`}},
		Ready: Ready{HTTP: "/", Within: 10 * time.Second}, Stop: Stop{Grace: 3 * time.Second},
		Identify: Identify{Worker: "Worker"}, RestartWithin: 3 * time.Second,
	})
	restart(t, s, []Action{{Signal: unix.SIGHUP}, wait(Condition{Gone: TargetOldWorkers})},
		ChangeProcess, ChangeWorker)
	s.cfg.RestartWithin = 800 * time.Millisecond
	_, err := s.Restart(t.Context(), []Action{{Signal: unix.SIGWINCH}})
	containsAll(t, err, "changed nothing", "Handling signal: winch")
	stop(t, s)
}

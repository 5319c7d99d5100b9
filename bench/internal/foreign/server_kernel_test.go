package foreign

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/testkit"
)

// TestKernelAsUser runs the other kernel tests of this package again as the user nobody, in a user
// namespace. They must pass both as root and as an ordinary user.
func TestKernelAsUser(t *testing.T) {
	t.Parallel()
	if netlab.Entered() || !netlab.AsRoot() {
		t.Skip("is itself an ordinary user")
	}
	const nobody = 65534
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKernel", "-test.v")
	c.Env = append(os.Environ(), asUser+"=1", "HOME=/nonexistent", "TMPDIR=/tmp")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, failures(string(out)))
	}
	if skipped := strings.Count(string(out), "--- SKIP"); skipped > 1 { // 1: this test itself
		t.Logf("%s", out)
	}
}

// failures returns the output of tests without the lines that say which tests run.
func failures(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "===") && !strings.Contains(line, "--- PASS") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// newLab makes a lab and returns the Env of a server in that lab.
func newLab(t *testing.T) Env {
	t.Helper()
	if !netlab.AsRoot() && !netlab.Entered() {
		testkit.Skip(t, "needs root or a user namespace")
	}
	l, err := netlab.New(t.Context(), netlab.Options{
		Init: func() *exec.Cmd { return exec.Command("/proc/self/exe", roleInit) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	return Env{
		Agent: func() *exec.Cmd { return exec.Command("/proc/self/exe", roleAgent) },
		Start: func(c *exec.Cmd) error { return l.Start(l.Servers(), c, nil) },
		Do:    func(f func() error) error { return l.Do(l.Servers(), f) },
		Clock: c,
	}
}

var address = netip.MustParseAddrPort("127.0.0.1:8080")

// helper returns a configuration that starts this program as a server.
func helper(mode string) Config {
	return Config{
		Address: address, Workers: 2,
		Start: Command{Line: "./helper " + roleServe + " " + mode},
		Files: []File{{Name: "helper", Copy: "/proc/self/exe"}},
		Ready: Ready{HTTP: "/", Within: 10 * time.Second},
		Stop:  Stop{Grace: time.Second},
	}
}

// newServer makes a server in a new lab.
func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(t.Context(), cfg, newLab(t))
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

// started makes a server and starts it.
func started(t *testing.T, cfg Config) *Server {
	t.Helper()
	s := newServer(t, cfg)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// stop stops a server and checks that nothing had to be killed.
func stop(t *testing.T, s *Server) {
	t.Helper()
	ending, err := s.Stop(t.Context())
	if err != nil || len(ending.Killed) > 0 {
		t.Errorf("stop: killed %v, error %v; want neither", ending.Killed, err)
	}
}

// containsAll checks that an error's text has each of the parts.
func containsAll(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// script returns a configuration that starts a shell script in the working directory.
func script(lines ...string) Config {
	cfg := helper("")
	cfg.Files = []File{{Name: "run.sh", Text: "#!/bin/sh\n" + strings.Join(lines, "\n") + "\n"}}
	cfg.Start = Command{List: []string{"./run.sh"}}
	cfg.Ready = Ready{Stdout: regexp.MustCompile("^ready$"), Within: 10 * time.Second}
	return cfg
}

// TestKernelHome checks what a server sees in its home: PIDs of the lab, a user that is not root,
// its own directories, few environment variables, the default timer slack.
func TestKernelHome(t *testing.T) {
	t.Parallel()
	cfg := script(
		`echo pid $$ $(readlink /proc/self/../$$/exe)`,
		`echo uid $(id -u)`,
		`echo pwd $(pwd) $HOME $TMPDIR`,
		`echo run $(touch /run/x /var/log/x $TMPDIR/x && ls -A /run/server)`,
		`echo env $(env | cut -d= -f1 | sort)`,
		`echo slack $(cat /proc/self/timerslack_ns)`,
		`seq 100000 > /var/log/long.log`,
		`echo core $(ulimit -c) $(ulimit -n)`,
		`echo rendered {{address}} {{host}} {{port}} {{workers}} {{generation}} {{vars.color}}`,
		`echo ready`, `exec sleep 100`,
	)
	cfg.Env = map[string]string{"OWN": "{{vars.color}}"}
	cfg.Vars = map[string]string{"color": "blue"}
	cfg.Limits.Files = 300
	s := started(t, cfg)
	pid := strconv.Itoa(s.Main().PID)
	account := s.home.account
	for _, want := range []string{
		"pid " + pid + " /",
		"uid " + strconv.Itoa(account.uid),
		"pwd /run/server /run/server /run/server/tmp",
		"run run.sh tmp",
		"env GENERATION HOME HOST LANG LOGNAME OWN PATH PORT PWD TMPDIR USER WORKERS",
		"core 0 300",
		"slack 50000",
		"rendered 127.0.0.1:8080 127.0.0.1 8080 2 1 blue",
	} {
		if !slices.ContainsFunc(s.output.last(20), func(line string) bool {
			return strings.HasPrefix(line, want)
		}) {
			t.Errorf("no line %q in\n%s", want, strings.Join(s.output.last(20), "\n"))
		}
	}
	if words := s.LastWords(); words[len(words)-1] != "100000" {
		t.Errorf("last words %q do not end with those of the log", words)
	}
	if account.uid == 0 {
		t.Error("the server runs as root")
	}
	if account.nested != netlab.Entered() {
		t.Errorf("nested user namespace: %v, want %v", account.nested, netlab.Entered())
	}
	if _, err := os.Stat("/run/server"); err == nil {
		t.Error("the home is visible outside")
	}
	if name := s.Main().Name; name != "sleep" {
		t.Errorf("the main process is %s, want sleep", name)
	}
	stop(t, s)
}

// TestKernelNamespaces checks that processes belong to the server if they have left its mount, user
// and PID namespaces, also if their parents have exited. Sandboxes such as bwrap do this.
func TestKernelNamespaces(t *testing.T) {
	t.Parallel()
	installed(t, "unshare")
	s := started(t, script(
		`unshare --user --mount sleep 100 &`,
		`sh -c 'unshare --user --mount --pid --fork sleep 200 &'`,
		`while [ $(cat /proc/[0-9]*/comm | grep -c sleep) != 2 ]; do :; done`,
		`echo ready`, `exec sleep 300`,
	))
	var names []string
	err := poll(t.Context(), 10*time.Second, func() (bool, error) {
		names = nil
		all, err := s.Processes()
		for _, p := range except(all, func(p Process) bool { return p.id() == s.Main().id() }) {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		return slices.Equal(names, []string{"sleep", "sleep", "unshare"}), err
	})
	if err != nil {
		t.Errorf("besides the main process: %q, error %v", names, err)
	}
	if ending, err := s.Stop(t.Context()); err != nil || len(ending.Orphans) != 3 {
		t.Errorf("ending %+v, error %v; want three orphans killed", ending, err)
	}
}

// TestKernelFreeze checks that no process of a server runs once Freeze has returned, also if the
// server starts processes all the time.
func TestKernelFreeze(t *testing.T) {
	t.Parallel()
	s := started(t, script(
		`for i in 1 2 3 4 5 6; do (while :; do :; done) & done`,
		`for i in 1 2 3; do (while :; do (:) & wait $!; done) & done`,
		`echo ready`, `exec sleep 100`,
	))
	for range 5 {
		thaw, err := s.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.CPU()
		all, listErr := s.Processes()
		if err := errors.Join(err, listErr); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if !p.stopped() {
				t.Errorf("process %v still runs", p)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if after, err := s.CPU(); err != nil || after != before {
			t.Errorf("CPU time %v, then %v; error %v", before, after, err)
		}
		thaw()
		err = poll(t.Context(), 10*time.Second, func() (bool, error) {
			used, err := s.CPU()
			return used > before, err
		})
		if err != nil {
			t.Errorf("it does not go on: %v", err)
		}
	}
}

// TestKernelGone checks that the kernel tells when processes have exited, and that the end of each
// is awaited.
func TestKernelGone(t *testing.T) {
	t.Parallel()
	s := started(t, script(`sleep 100 &`, `sleep 200 &`, `echo ready`, `exec sleep 300`))
	all, err := s.Processes()
	if err != nil || len(all) != 3 {
		t.Fatalf("processes %v, error %v; want three", all, err)
	}
	files := s.home.pidfds(all)
	if len(files) != len(all) {
		t.Errorf("%d descriptors of %d processes", len(files), len(all))
	}
	if err := closeAll(files); err != nil {
		t.Error(err)
	}
	if err := s.home.awaitGone(t.Context(), all, 20*time.Millisecond); !errors.Is(err, errLimit) {
		t.Errorf("error %v, want %v", err, errLimit)
	}
	for i, p := range all {
		time.AfterFunc(time.Duration(i+1)*20*time.Millisecond, func() {
			_ = signalAll([]Process{p}, unix.SIGKILL)
		})
	}
	if err := s.home.awaitGone(t.Context(), all, killLimit); err != nil || len(living(all)) > 0 {
		t.Errorf("error %v, left %v", err, living(all))
	}
}

// TestKernelAgentKilled checks that the server is not blamed if the agent is killed.
func TestKernelAgentKilled(t *testing.T) {
	t.Parallel()
	const want = "not the server, but this program's process that starts the server's commands " +
		"has ended"
	kill := func(s *Server) {
		if err := s.home.agent.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		<-s.home.ended
	}
	t.Run("beside a server that runs", func(t *testing.T) {
		t.Parallel()
		s := started(t, helper("hangup"))
		kill(s)
		containsAll(t, s.Err(), want, "(signal: killed)")
		if !s.Main().alive() {
			t.Error("the server is no longer seen")
		}
		_, err := s.Restart(t.Context(), []Action{{Signal: unix.SIGHUP}})
		containsAll(t, err, want)
		if _, err := s.Stop(t.Context()); !errors.Is(err, errAgent) {
			t.Errorf("stop: %v", err)
		}
	})
	for name, cfg := range map[string]Config{
		"during a start":   helper("silent"),
		"during ready.run": helper("ok"),
		"during a fork":    helper("silent"),
	} {
		cfg.Ready.Within = 20 * time.Second
		cfg.Forks = name == "during a fork"
		if name == "during ready.run" {
			cfg.Ready = Ready{Run: Command{Line: "sleep 100"}, Within: 20 * time.Second}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, cfg)
			began := time.Now()
			time.AfterFunc(300*time.Millisecond, func() { kill(s) })
			err := s.Start(t.Context())
			containsAll(t, err, want)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestKernelCPU checks that a server's CPU time includes that of its processes whose parents had
// exited, but not that of another server in the same lab.
func TestKernelCPU(t *testing.T) {
	t.Parallel()
	// The orphan's PID is not in its parent's session, and the orphan is gone when Start returns.
	burn := `(setsid sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo ready' &)`
	busy, idle := script(burn, `exec sleep 100`), script(`echo ready`, `exec sleep 100`)
	env := newLab(t)
	used := func(cfg Config, least time.Duration) (cpu time.Duration) {
		cfg.Ready.Within = 30 * time.Second
		s, err := New(t.Context(), cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		err = s.Start(t.Context())
		err = errors.Join(err, poll(t.Context(), 10*time.Second, func() (_ bool, err error) {
			all, listErr := s.Processes()
			cpu, err = s.CPU() // the agent may not yet have waited for the orphan
			return len(all) == 1 && cpu >= least, errors.Join(err, listErr)
		}))
		if err != nil {
			t.Errorf("CPU time %v, want at least %v: %v", cpu, least, err)
		}
		return cpu
	}
	const least = 50 * time.Millisecond // the loop takes some 200 ms
	with, beside := used(busy, least), used(idle, 0)
	if beside > with/2 {
		t.Errorf("with an orphan %v, beside it %v", with, beside)
	}
}

// TestKernelFaults checks the errors of servers that do not start. Each error says what is wrong,
// where, and what to do, and includes the server's last lines of output.
func TestKernelFaults(t *testing.T) {
	t.Parallel()
	short := func(c Config) Config {
		c.Ready.Within = 800 * time.Millisecond
		return c
	}
	with := func(c Config, change func(*Config)) Config {
		change(&c)
		return c
	}
	missing, err := filepath.Abs("missing")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"not found": {
			with(helper(""), func(c *Config) { c.Start.Line = "no-such-server -x" }),
			[]string{"start: no-such-server: not found in PATH; install it"},
		},
		"no such path": {
			with(helper(""), func(c *Config) { c.Start.Line = "./missing"; c.Base = "/nowhere" }),
			[]string{"/nowhere/missing: not found; relative paths start at"},
		},
		"no such path, scenario in the working directory": {
			with(helper(""), func(c *Config) { c.Start.Line = "./missing"; c.Base = "." }),
			[]string{"start: " + missing + ": not found; relative paths start at"},
		},
		"not ours": {
			with(helper(""), func(c *Config) { c.Start.Line = "/etc/shadow" }),
			[]string{"/etc/shadow: user ", "may not execute it or enter its directory: chmod o+x"},
		},
		"no interpreter": {
			with(script(""), func(c *Config) { c.Files[0].Text = "#!/no/such/shell\n" }),
			[]string{"run.sh: its interpreter or loader is missing"},
		},
		"no directory": {
			with(helper("ok"), func(c *Config) { c.Directory = "/no/such/directory" }),
			[]string{"working directory /no/such/directory: no such file"},
		},
		"exits at once": {
			helper("exit"),
			[]string{"./helper serve exit: exit status 1 after", "before it was ready",
				"its last lines:\n\tcannot read its configuration"},
		},
		"never ready": {
			short(helper("silent")),
			[]string{"not ready within 800ms: nothing of it listens at 127.0.0.1:8080",
				"it wrote nothing"},
		},
		"listens elsewhere": {
			short(helper("elsewhere")),
			[]string{"it listens at 127.0.0.1:3000, not at 127.0.0.1:8080; use {{port}} or $PORT",
				"listening at 127.0.0.1:3000"},
		},
		"answers 500": {
			short(helper("error")),
			[]string{`GET / is answered with 500 Internal Server Error ("served by error")`},
		},
		"goes to the background": {
			helper("background"),
			[]string{"the server went to the background; keep it in the foreground",
				"say forks: true and name its pid_file"},
		},
		"stays in the foreground": {
			short(with(helper("ok"), func(c *Config) { c.Forks = true })),
			[]string{"start stays in the foreground", "leave out forks"},
		},
		"forks and is gone": {
			with(script("true"), func(c *Config) { c.Forks = true }),
			[]string{"exited with status 0, but no process of the server is left"},
		},
		"no pid file": {
			short(with(helper("ok"), func(c *Config) { c.PIDFile = "server.pid" })),
			[]string{"pid_file: open /run/server/server.pid: no such file or directory; " +
				"commands run in /run/server"},
		},
		"no notification": {
			short(with(helper("ok"), func(c *Config) { c.Ready = Ready{Notify: true} })),
			[]string{"it has not sent READY=1 to $NOTIFY_SOCKET"},
		},
		"no such line": {
			short(with(helper("ok"), func(c *Config) {
				c.Ready = Ready{Stdout: regexp.MustCompile("^up$")}
			})),
			[]string{`no line of its output matches "^up$"`},
		},
		"run fails": {
			short(with(helper("ok"), func(c *Config) {
				c.Ready = Ready{Run: Command{Line: "sh -c 'echo no; exit 4'"}}
			})),
			[]string{"ready.run: sh -c echo no; exit 4: exit status 4: no"},
		},
		"killed": {
			script("kill -9 $$"),
			[]string{"killed by SIGKILL, which this program did not send; has the kernel run out"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, test.config)
			containsAll(t, s.Start(t.Context()), test.want...)
			if _, err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKernelServes starts a server with each condition that Ready can have.
func TestKernelServes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"http":      func(*Config) {},
		"status":    func(c *Config) { c.Ready.Status = 200 },
		"listening": func(c *Config) { c.Ready = Ready{} },
		"notify": func(c *Config) {
			c.Ready, c.Start.Line = Ready{Notify: true}, "./helper serve notify"
		},
		"stdout": func(c *Config) {
			c.Ready = Ready{Stdout: regexp.MustCompile("^listening at")}
		},
		"run": func(c *Config) { c.Ready = Ready{Run: Command{Line: "true"}} },
		"forks": func(c *Config) {
			c.Start.Line, c.Forks = "./helper serve background", true
		},
		"pid file": func(c *Config) {
			c.Start.Line, c.Forks, c.PIDFile = "./helper serve background", true, "server.pid"
		},
		"shared": func(c *Config) { c.Sockets = vocabulary.SocketsShared },
		"each":   func(c *Config) { c.Sockets = vocabulary.SocketsReuseport },
		"path":   func(c *Config) { searched(t, c) },
		"path, shared": func(c *Config) {
			searched(t, c)
			c.Sockets = vocabulary.SocketsShared
		},
		"root": func(c *Config) { c.User = "root" },
		"IPv6": func(c *Config) { c.Address = netip.MustParseAddrPort("[::1]:8080") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := helper("ok")
			cfg.Identify = Identify{Worker: "Worker"}
			change(&cfg)
			s := started(t, cfg)
			// The server's answers name its PID in the lab's PID namespace.
			a, err := s.ask(t.Context(), "/")
			for range 100 {
				if err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond) // with Ready.Run, the server may not listen yet
				a, err = s.ask(t.Context(), "/")
			}
			if err != nil || a.worker != s.Main().PID {
				t.Errorf("answer of %d, error %v; want of the main process %v",
					a.worker, err, s.Main())
			}
			if err := s.Err(); err != nil {
				t.Error(err)
			}
			want := 1
			if cfg.Sockets == vocabulary.SocketsReuseport {
				want = 2
			}
			if at, _, err := s.Listeners(); len(at) != want || err != nil {
				t.Errorf("listeners %v, error %v; want %d", at, err, want)
			}
			stop(t, s)
		})
	}
}

// searched changes c so that its program must be found in PATH. The first directory in PATH has a
// file with the program's name that nobody may execute.
func searched(t *testing.T, c *Config) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "helper"), nil, 0o644); err != nil {
		t.Error(err)
	}
	c.Start.Line = strings.TrimPrefix(c.Start.Line, "./")
	c.Env = map[string]string{"PATH": dir + ":" + homeDirectory + ":/bin"}
}

// TestKernelMisbehaves checks the errors and limits of servers that become ready and misbehave
// later.
func TestKernelMisbehaves(t *testing.T) {
	t.Parallel()
	eventually := func(t *testing.T, what string, done func() bool) {
		t.Helper()
		err := poll(t.Context(), 10*time.Second, func() (bool, error) { return done(), nil })
		if err != nil {
			t.Errorf("never %s: %v", what, err)
		}
	}
	limits := func(s *Server) string { return strings.Join(s.AtLimits(), "\n") }
	t.Run("dies", func(t *testing.T) {
		t.Parallel()
		s := started(t, helper("dies"))
		if err := s.Signal([]Process{s.Main()}, unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "died", func() bool { return s.Err() != nil })
		containsAll(t, s.Err(), "(helper) ended without being told to: exit status 3",
			"panic: something went wrong")
		_, err := s.Restart(t.Context(), []Action{{Signal: unix.SIGHUP}})
		containsAll(t, err, "ended without being told to")
	})
	t.Run("ignores signals", func(t *testing.T) {
		t.Parallel()
		s := started(t, helper("deaf"))
		ending, err := s.Stop(t.Context())
		if err != nil || len(ending.Killed) != 1 || len(ending.Orphans) != 0 {
			t.Errorf("ending %+v, error %v; want one process killed", ending, err)
		}
	})
	t.Run("leaves children", func(t *testing.T) {
		t.Parallel()
		s := started(t, helper("children"))
		r, err := s.Restart(t.Context(), []Action{{Stop: true}, {Start: true}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Killed) != 1 || r.Killed[0].Name != "sleep" {
			t.Errorf("the restart killed %v, want sleep", r.Killed)
		}
		ending, err := s.Stop(t.Context())
		if err != nil || len(ending.Orphans) != 1 || ending.Orphans[0].Name != "sleep" {
			t.Errorf("ending %+v, error %v; want sleep left behind", ending, err)
		}
		if all, err := s.Processes(); len(all) > 0 || err != nil {
			t.Errorf("processes %v, error %v; want none", all, err)
		}
	})
	t.Run("fills its output", func(t *testing.T) {
		t.Parallel()
		s := started(t, helper("talkative"))
		eventually(t, "wrote all", func() bool {
			return slices.Contains(s.output.last(1), "the last line")
		})
		if got := limits(s); got != "" {
			t.Errorf("limits %q were reached, want none", got)
		}
		s.output.mu.Lock()
		defer s.output.mu.Unlock()
		if n := cap(s.output.kept); n > 4*outputLimit {
			t.Errorf("%d bytes are kept", n)
		}
	})
	t.Run("eats descriptors", func(t *testing.T) {
		t.Parallel()
		cfg := helper("descriptors")
		cfg.Limits.Files = 100
		cfg.Ready = Ready{Stdout: regexp.MustCompile("too many open files")}
		s := started(t, cfg)
		if got := limits(s); !strings.Contains(got, "has open all 100 descriptors") {
			t.Errorf("limits %q do not say so", got)
		}
	})
	t.Run("eats memory", func(t *testing.T) {
		t.Parallel()
		cfg := helper("memory")
		cfg.Limits.Memory = 512 << 20
		cfg.Ready = Ready{Stdout: regexp.MustCompile("mmap: cannot allocate memory")}
		s := started(t, cfg)
		if got := limits(s); !strings.Contains(got, "of the 512 MiB of memory that it may use") {
			t.Errorf("limits %q do not say so", got)
		}
	})
	t.Run("starts processes without end", func(t *testing.T) {
		t.Parallel()
		const limit = 1000
		cfg := script("( while :; do sleep 100 & done ) 2>&1", "echo ready", "exec sleep 100")
		cfg.Limits.Processes, cfg.User = limit, "daemon"
		cfg.Ready.Within, cfg.Stop.Grace = 30*time.Second, 100*time.Millisecond
		s := started(t, cfg)
		all, err := s.Processes()
		if err != nil || len(all) > limit || len(all) < limit/2 {
			t.Errorf("%d processes, error %v; want about %d", len(all), err, limit)
		}
		// In a user namespace, the limit includes the other tests' processes.
		got := limits(s)
		if !s.home.account.nested && !strings.Contains(got, "of the 1000 that its user may have") {
			t.Errorf("limits %q do not say so", got)
		}
		if _, err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if all, err := s.Processes(); len(all) > 0 || err != nil {
			t.Errorf("%d processes are left, error %v", len(all), err)
		}
	})
	t.Run("fills its directory", func(t *testing.T) {
		t.Parallel()
		s := started(t, script("cat /dev/zero > full 2>/dev/null", "echo ready", "exec sleep 100"))
		if got := limits(s); !strings.Contains(got, "/run is full: it holds 256 MiB") {
			t.Errorf("limits %q do not say so", got)
		}
	})
	t.Run("ready.run leaves children", func(t *testing.T) {
		t.Parallel()
		for _, end := range []string{"exit 4", "wait"} {
			cfg := helper("ok")
			cfg.Ready = Ready{Within: 300 * time.Millisecond,
				Run: Command{List: []string{"sh", "-c", "sleep 100 >/dev/null 2>&1 & " + end}}}
			s := newServer(t, cfg)
			containsAll(t, s.Start(t.Context()), "ready.run")
			all, err := s.Processes()
			if err != nil || slices.ContainsFunc(all, func(p Process) bool {
				return p.Name == "sleep" || p.Name == "sh"
			}) {
				t.Errorf("%s: processes %v, error %v; want the server alone", end, all, err)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, helper("silent"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := s.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want canceled", err)
		}
	})
}

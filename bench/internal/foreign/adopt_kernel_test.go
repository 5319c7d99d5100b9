package foreign

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// A container is the first process of a PID namespace and a mount namespace, which runs AgentMain.
type container struct {
	*Server
	process *exec.Cmd
	terms   chan clock.Instant // receives the times at which the agent got SIGTERM
	env     Env
}

// contained starts a server in a container that this package has not started.
func contained(t *testing.T, cfg Config) *container {
	t.Helper()
	testkit.RequireRoot(t)
	env := newLab(t)
	adopter, err := servers.NewAdopter(filepath.Join(t.TempDir(), "adopt.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := adopter.Close(); err != nil {
			t.Error(err)
		}
	})
	process := env.Agent()
	process.Env = append(adopter.Environment(1), servers.EnvPod+"=web-1")
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Setsid: true,
	}
	// The lab's thread cannot start a process in a PID namespace of its own.
	var network *os.File
	err = env.Do(func() (err error) {
		network, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	err = sys.OnOwnThread(func() error {
		if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return process.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have exited
		_ = process.Wait()
	})
	applicant, err := adopter.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &container{process: process, terms: make(chan clock.Instant, 1)}
	env.Terminated = func(at clock.Instant) { c.terms <- at }
	if env.Adopted, err = AdoptAgent(applicant.Adopt); err != nil {
		t.Fatal(err)
	}
	if err := applicant.Close(); err != nil {
		t.Fatal(err)
	}
	env.Agent, env.Start = nil, nil
	c.env = env
	if c.Server, err = New(t.Context(), cfg, env); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKernelAdoptedTerm checks that the first process of a container passes SIGTERM to the server,
// as the server's own signal, and says when it got it.
func TestKernelAdoptedTerm(t *testing.T) {
	t.Parallel()
	cfg := helper("dies") // SIGHUP ends it
	cfg.Stop.Signal = unix.SIGHUP
	c := contained(t, cfg)
	if all, err := c.Processes(); err != nil || len(all) != 1 || all[0].PID != c.Main().PID {
		t.Fatalf("%v, %v; the main process is %v", all, err, c.Main())
	}
	before := c.env.Clock.Now()
	if err := c.process.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-c.terms:
		if now := c.env.Clock.Now(); at < before || at > now {
			t.Errorf("SIGTERM at %v, want between %v and %v", at, before, now)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent does not report SIGTERM")
	}
	if e, err := c.Stop(t.Context()); err != nil || len(e.Killed) > 0 || !c.home.hasPassed() {
		t.Errorf("%+v, %v, passed %v", e, err, c.home.hasPassed())
	}
	if how := c.endingOf(c.Main()); how != ": exit status 3" {
		t.Errorf("the server has ended%s, want exit status 3", how)
	}
	if _, err := c.CPU(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Gone():
	case <-time.After(10 * time.Second):
		t.Error("the container outlives its server")
	}
}

// TestKernelAdoptedForks checks that SIGTERM reaches a server that has gone to the background.
func TestKernelAdoptedForks(t *testing.T) {
	t.Parallel()
	cfg := helper("background")
	cfg.Forks, cfg.PIDFile = true, "server.pid"
	c := contained(t, cfg)
	if err := c.process.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.terms:
	case <-time.After(10 * time.Second):
		t.Fatal("the agent does not report SIGTERM")
	}
	e, err := c.Stop(t.Context())
	if err != nil || len(e.Killed) > 0 || !c.home.hasPassed() {
		t.Errorf("%+v, %v, passed %v", e, err, c.home.hasPassed())
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

// TestKernelAdoptedKilled checks that the end of a container is noticed. What the server has used
// is then unknown.
func TestKernelAdoptedKilled(t *testing.T) {
	t.Parallel()
	c := contained(t, helper("ok"))
	select {
	case <-c.Gone():
		t.Fatal("it is gone")
	default:
	}
	if err := c.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the container is not noticed")
	}
	if used, err := c.CPU(); err == nil {
		t.Errorf("it has used %v, although nothing knows", used)
	}
}

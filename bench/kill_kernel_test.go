package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/command"
)

var kills = flag.Int("kills", 0,
	"how many runs TestKernelKills ends at a random instant, and goes on with: five seconds each")

// killed has a scenario for every kind of lab. The trials are short, and lenient validity keeps
// almost all of them valid.
var killed = map[string]string{
	"loopback": `
load: {rate: 300/s, duration: 500ms}
timeline: [{at: 100ms, every: 150ms, do: replace}]
matrix: [{sockets: [reuseport], stop: [close, drain]}, {sockets: [shared], stop: [handoff]}]
`,
	"stopped": `
load: {rate: 300/s, duration: 500ms}
timeline: [{at: 50ms, do: stall, for: 400ms}]
`,
	"veth": `
network: veth
load: {rate: 300/s, duration: 500ms}
timeline: [{at: 200ms, do: roll}]
stop: migrate
`,
	"service": `
network: cluster
path: service
load: {rate: 300/s, duration: 800ms}
timeline: [{at: 50ms, do: rolling-update}]
stop: close
kube: {pre_stop: 100ms, readiness: probe, probe_period: 20ms}
`,
	"haproxy": `
path: haproxy
haproxy: {checks: fast}
sockets: exclusive
stop: lb-drain
load: {rate: 100/s, duration: 1s}
timeline: [{at: 200ms, do: roll}]
`,
}

// TestKernelKills ends runs at random instants, in every kind of lab, with every signal that ends
// runs, as root and as an ordinary user. Half of the runs have stored a trial by then. It checks
// that nothing is left on the machine, that report accepts the stored trials, and that the
// suggested command completes the run.
//
//	make kill-test KILLS=200
func TestKernelKills(t *testing.T) {
	if *kills == 0 {
		t.Skip("the long form only: -kills N")
	}
	requireLab(t)
	seed := *interruptSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-interrupt-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	who, labs := users(t), slices.Sorted(maps.Keys(killed))
	signals := append([]syscall.Signal{syscall.SIGKILL}, endings...)
	for i := range *kills {
		lab := labs[(i+i/len(signals))%len(labs)]
		user := who[random.IntN(len(who))]
		by := interruption{
			signal: signals[i%len(signals)], trials: random.IntN(2),
			after: time.Duration(random.IntN(2000)) * time.Millisecond,
		}
		name := fmt.Sprintf("%d/%s/%s/%v/%v after trial %d",
			i, user.name, lab, by.signal, by.after, by.trials)
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			p.actAs(t, user.credential)
			before := takeStock(t) // retake it each time: other programs may change the machine
			p.kill(t, "name: "+lab+killed[lab]+"trials: 5"+lenient, by)
			after := takeStock(t)
			// Ignore new sysctls: the kernel may have loaded a module that has some.
			maps.DeleteFunc(after.Sysctls, func(name, _ string) bool {
				return before.Sysctls[name] == ""
			})
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the machine (-before +after):\n%s", diff)
			}
		})
	}
}

// kill starts a run, interrupts it in the way that by describes, and resumes it if anything was
// stored.
func (p *program) kill(t *testing.T, scenario string, by interruption) {
	t.Helper()
	const dir = "-o u't" // a name that is hard to quote
	write(t, filepath.Join(p.dir, "kill.yaml"), scenario)
	c := p.command(t.Context(), "run", "kill.yaml", "--out", dir)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	awaitTrials(t, filepath.Join(p.dir, dir), by.trials)
	time.Sleep(by.after)
	if err := c.Process.Signal(by.signal); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	p.gone(t)
	want := exitInterrupted
	if by.signal == syscall.SIGKILL {
		want = -1 // os/exec's status of a process that a signal ended
	}
	if status := c.ProcessState.ExitCode(); status != want && status != 0 {
		t.Errorf("exit status %d, want %d", status, want)
	}
	if strings.Contains(said.String(), "goroutine") {
		t.Error("it prints a trace")
	}
	defer func() {
		if t.Failed() {
			t.Logf("it said:\n%s", said.String())
		}
	}()
	if _, err := os.Stat(filepath.Join(p.dir, dir, results.RunFile)); err != nil {
		_, err := os.Stat(filepath.Join(p.dir, dir))
		if err == nil && by.signal != syscall.SIGKILL {
			t.Error("the directory is left, without a run")
		}
		return
	}
	p.shell(t, command.Line("report", command.Path(dir)))
	run, err := results.Load(filepath.Join(p.dir, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d trials stored", countTrials(run))
	if run.FinishedAt != nil {
		return
	}
	goOn := command.Line("run", "--resume", dir)
	if _, line, told := strings.Cut(said.String(), "to go on: "); told {
		goOn, _, _ = strings.Cut(line, "\n")
	} else if by.signal != syscall.SIGKILL {
		t.Error("it does not say how to go on")
	}
	p.shell(t, goOn)
	p.gone(t)
	if run, err = results.Load(filepath.Join(p.dir, dir)); err != nil || run.FinishedAt == nil {
		t.Errorf("it went on, and has not finished: %v", err)
	}
}

// shell runs a command line that the program has suggested in a shell.
func (p *program) shell(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := p.command(ctx)
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", line}
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(p.path)+":"+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// A stock is the state of the machine that a lab could change, except for processes.
type stock struct {
	Mounts, Links, Namespaces, Cgroups []string
	Sysctls                            map[string]string // values of the network sysctls by path
}

func takeStock(t *testing.T) (s stock) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s.Mounts = strings.Split(string(mounts), "\n")
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		s.Links = append(s.Links, l.Name)
	}
	if s.Namespaces, err = filepath.Glob("/run/netns/*"); err != nil {
		t.Fatal(err)
	}
	s.Sysctls = map[string]string{}
	_ = filepath.WalkDir("/proc/sys/net", func(path string, _ fs.DirEntry, _ error) error {
		// Skip files that cannot be read, and nf_conntrack_count, which changes with the host's
		// connections.
		if b, err := os.ReadFile(path); err == nil && filepath.Base(path) != "nf_conntrack_count" {
			s.Sysctls[path] = string(b)
		}
		return nil
	})
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			s.Cgroups = append(s.Cgroups, path)
		}
		return nil
	})
	return s
}

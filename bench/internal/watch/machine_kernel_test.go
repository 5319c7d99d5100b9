package watch

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/testkit"
	"reuseport-bench/servers/worker"
)

// childWorker is the argument that makes the test binary run as a worker.
const childWorker = "worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childWorker {
		if worker.Main() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKernelMachineOfParked checks that the CPU time that a process used before it was parked does
// not count when it becomes a worker.
func TestKernelMachineOfParked(t *testing.T) {
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	group, err := servers.NewGroup(servers.Config{
		Kind: vocabulary.ServerLoop, Sockets: vocabulary.SocketsReuseport, Workers: 1,
		Address: netip.MustParseAddrPort("127.0.0.1:0"), Backlog: 1,
	}, servers.Env{
		Command: func() *exec.Cmd { return exec.Command("/proc/self/exe", childWorker) },
		Start:   func(c *exec.Cmd, _ []int) error { return c.Start() },
		Do:      func(f func() error) error { return f() },
		Account: func(*servers.Worker, journal.Record) {},
		Clock:   clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := group.StartGeneration(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(group.Park(0), group.AwaitParked(t.Context())); err != nil {
		t.Fatal(err)
	}
	u := NewMachine(MachineOptions{
		Clock: clk, Workers: group.Workers, Parked: group.Parked, Meter: &Meter{},
	})
	if err := u.Rest(); err != nil {
		t.Fatal(err)
	}
	if !u.hasDelay {
		testkit.Skip(t, "the kernel keeps no scheduler statistics")
	}
	w, err := group.StartWorker(t.Context(), 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := kernel.Schedstat(w.PID())
	if err != nil {
		t.Fatal(err)
	}
	threads, err := u.look(w)
	if err != nil {
		t.Fatal(err)
	}
	var since time.Duration
	for _, s := range threads {
		since += s.Run
	}
	if since <= 0 || since >= all.Run {
		t.Errorf("the worker ran for %v since it was parked; want more than 0 and less than %v",
			since, all.Run)
	}
}

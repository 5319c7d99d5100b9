package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
)

// Two load processes share one schedule. Together they send the attempts that a single process
// would send, each exactly once.
func TestKernelTwoLoadProcesses(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: processes
about: One load process and two.
load: {rate: 1500/s, duration: 600ms, pace: poisson}
matrix: [{load.processes: [1, 2]}]
trials: 2
`+lenient, "--seed", "11")
	attempts := map[int]map[string]int64{}
	for n, list := range trials(run, "load.processes") {
		for _, tr := range list {
			if tr.Lost != 0 {
				t.Errorf("%s processes: %d lost: %v", n, tr.Lost, tr.LostByCause)
			}
			if attempts[tr.Block] == nil {
				attempts[tr.Block] = map[string]int64{}
			}
			attempts[tr.Block][n] = tr.Attempts
		}
	}
	for block, by := range attempts {
		if by["1"] != by["2"] || by["1"] == 0 {
			t.Errorf("block %d: %v attempts; one schedule for both was promised", block, by)
		}
	}
	if attempts[0]["1"] == attempts[1]["1"] {
		t.Errorf("both blocks have %d random arrivals: the seed is the same", attempts[0]["1"])
	}
}

func TestKernelNetworksAndFamilies(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: networks
about: Every network and both families, with restarts.
server: {work: {sleep: 50us}}
load: {rate: 800/s, duration: 700ms}
timeline: [{at: 200ms, every: 250ms, do: replace}]
matrix:
  - {network: [loopback, veth], family: [ipv4, ipv6], sockets: [reuseport], stop: [drain]}
  - {network: [veth], family: [ipv6], sockets: [shared], stop: [handoff]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		for _, tr := range v.Trials {
			if tr.Served < tr.Attempts*9/10 || len(tr.Steps) != 2 {
				t.Errorf("%s: %d of %d served in %d steps", results.LabelString(v.Labels),
					tr.Served, tr.Attempts, len(tr.Steps))
			}
		}
	}
}

// When a worker stops, its last response on a reused connection announces the close. No connection
// is cut off while a request is in flight.
func TestKernelReusedConnections(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: reused
about: Keep-alive connections, without and with restarts.
server: {work: {sleep: 50us}}
load: {rate: 1000/s, duration: 900ms, body: 100}
stop: drain
matrix:
  - {load.connections: [new, reused, mixed]}
timeline: [{at: 200ms, every: 300ms, do: replace}]
trials: 2
`+lenient)
	opened := map[string]int64{}
	for mode, list := range trials(run, "load.connections") {
		for _, tr := range list {
			opened[mode] += tr.Kernel["TcpActiveOpens"]
			if n := tr.LostByCause["closed_by_worker"] + tr.LostByCause["worker_crash"]; n > 0 {
				t.Errorf("%s: %d attempts cut off by a worker: %v", mode, n, tr.Losses)
			}
		}
	}
	// In mode new, each attempt opens a connection; in mode mixed, every other attempt. In mode
	// reused, connections are opened only to replace those that a stopping worker has closed.
	if n := opened["new"]; n != 1800 {
		t.Errorf("new: %d connections for 1800 attempts", n)
	}
	if n := opened["mixed"]; n < 900 || n > 1200 {
		t.Errorf("mixed: %d connections for 1800 attempts, want 900 and a few", n)
	}
	if n := opened["reused"]; n < 2 || n > 600 {
		t.Errorf("reused: %d connections for 1800 attempts, want few", n)
	}
}

// On any machine, a worker that sleeps 2 ms for each request answers at most 500 requests per
// second.
func TestKernelShareOfCapacity(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: share
about: A load that is a share of what the servers can do.
workers: 1
server: {work: {sleep: 2ms}}
load: {duration: 500ms}
matrix:
  - {load.rate: [0.2*capacity, 0.6*capacity]}
trials: 1
`+lenient)
	low, high := run.Scenarios[0].Variants[0], run.Scenarios[0].Variants[1]
	if low.CapacityPerSecond == nil || high.CapacityPerSecond == nil ||
		*low.CapacityPerSecond != *high.CapacityPerSecond {
		t.Fatalf("capacities %v and %v, want the same one", low.CapacityPerSecond,
			high.CapacityPerSecond)
	}
	capacity := *low.CapacityPerSecond
	if capacity > 501 || capacity < 50 {
		t.Errorf("capacity %v/s, want nearly 500/s, which is all there can be", capacity)
	}
	for share, v := range map[float64]*results.Variant{0.2: low, 0.6: high} {
		const oneAttempt = 1 / 0.5 // per second
		if got := *v.Trials[0].OfferedPerSecond; math.Abs(got-share*capacity) > oneAttempt {
			t.Errorf("%v of the capacity of %v/s: offered %v/s", share, capacity, got)
		}
	}
}

func TestKernelPaces(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: paces
about: Every pace.
load: {rate: 1000/s, duration: 500ms}
matrix:
  - {load.pace: [constant, poisson]}
  - {load.pace: [ramp], load.from: [200/s]}
  - {load.pace: [burst], load.burst: [50]}
trials: 1
`+lenient)
	want := map[string]int64{"constant": 500, "ramp": 300, "burst": 500}
	for pace, list := range trials(run, "load.pace") {
		if n := list[0].Attempts; want[pace] != 0 && n != want[pace] {
			t.Errorf("%s: %d attempts, want %d", pace, n, want[pace])
		}
		if list[0].Lost != 0 {
			t.Errorf("%s: %d lost: %v", pace, list[0].Lost, list[0].LostByCause)
		}
	}
}

// In a closed loop the number of attempts in progress is the number of clients. By Little's law
// this number is the mean response time times the attempts served per second. Figures that need a
// schedule are absent.
func TestKernelClosedLoop(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const clients = 8
	run := carriedOut(t, `
name: closed
about: A closed loop, in which the workers stand still for a while.
sockets: shared
server: {work: {sleep: 2ms}}
load: {concurrency: 8, duration: 700ms}
matrix: [{load.connections: [new, reused]}]
timeline: [{at: 200ms, do: stall, for: 100ms}]
trials: 1
`+lenient)
	for mode, list := range trials(run, "load.connections") {
		tr, step := list[0], list[0].Steps[0]
		perSecond, mean := *tr.ServedPerSecond, time.Duration(tr.ResponseNS.Mean)
		t.Logf("%s: %v ± %v at %v/s", mode, mean, time.Duration(tr.ResponseNS.SD), perSecond)
		// An attempt that is in progress when the load ends counts with its whole time, which is
		// long if the machine stops the load or the workers just then. Otherwise the longest time
		// is that of the stall, 0.1 s.
		extra := max(0, float64(tr.ResponseNS.Max)/1e9-0.12) / 0.7 * clients
		if n := perSecond * mean.Seconds(); n < 0.9*clients || n > 1.1*clients+extra {
			t.Errorf("%s: %v at %v/s are %.2f clients, want %d", mode, mean, perSecond, n, clients)
		}
		if perSecond > 1010 { // two workers, 2 ms per request
			t.Errorf("%s: %v/s, and there can be no more than 1000", mode, perSecond)
		}
		if tr.Concurrency != clients || tr.Lost != 0 || tr.Residual != 0 {
			t.Errorf("%s: %d clients, %d lost %v, residual %d", mode, tr.Concurrency, tr.Lost,
				tr.LostByCause, tr.Residual)
		}
		if tr.OfferedPerSecond != nil || tr.ScheduleLagP99NS != nil || step.GapNS != nil ||
			step.OutageNS != nil || step.LostShare != nil || step.ResolutionNS != nil ||
			step.ScheduleLagMaxNS != nil {
			t.Errorf("%s: figures of a schedule: %+v", mode, step)
		}
		if step.StallNS == nil || *step.StallNS < 50e6 {
			t.Errorf("%s: nobody waited for the workers that stood still: %v", mode, step.StallNS)
		}
		if opened := tr.Kernel["TcpActiveOpens"]; mode == "reused" && opened != clients {
			t.Errorf("%d connections, want one for each of %d clients", opened, clients)
		}
	}
}

// Each stage has the number of attempts that its rate requires, whatever the number of load
// processes. Phases follow each other without a gap.
func TestKernelStages(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: stages
about: A ramp and a step.
load:
  from: 100/s
  stages: [{rate: 900/s, duration: 300ms, ramp: true}, {rate: 400/s, duration: 300ms}]
matrix: [{load.processes: [1, 2]}]
trials: 1
`+lenient)
	for n, list := range trials(run, "load.processes") {
		tr := list[0]
		perSecond := *tr.OfferedPerSecond
		if tr.Attempts != 270 || tr.Lost != 0 || perSecond != 450 || len(tr.Stages) != 2 {
			t.Fatalf("%s processes: %d attempts, %d lost, %v/s, stages %v", n, tr.Attempts, tr.Lost,
				perSecond, tr.Stages)
		}
		ramp, flat := tr.Stages[0], tr.Stages[1]
		if ramp.Attempts != 150 || flat.Attempts != 120 || flat.ResponseNS == nil {
			t.Errorf("%s processes: %+v, %+v", n, ramp, flat)
		}
		connect, first, whole := tr.ConnectNS, tr.FirstByteNS, tr.ServiceNS
		if connect == nil || first == nil || connect.P50 <= 0 || connect.P50 >= first.P50 ||
			first.P50 > whole.P50 || first.Max > whole.Max {
			t.Errorf("%s processes: phases %+v, %+v, %+v", n, connect, first, whole)
		}
	}
}

// awaitLoad waits until the program's load process has opened n connections, and returns its PID.
func (p *program) awaitLoad(ctx context.Context, t *testing.T, n int64) (pid int, err error) {
	t.Helper()
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		for _, pid := range p.roles(t)[roleLoad] {
			// The process may end at any time, or may not be in the lab's network yet.
			c, err := kernel.ReadCounters(fmt.Sprintf("/proc/%d/net", pid))
			if err == nil && p.inLab(pid) && c["TcpActiveOpens"] >= n {
				return pid, nil
			}
		}
	}
	return 0, errors.New("no load process came")
}

// inLab reports whether a process is in another network namespace than this one.
func (p *program) inLab(pid int) bool {
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	here, hereErr := os.Readlink("/proc/self/ns/net")
	return err == nil && hereErr == nil && there != here
}

// If the load itself fails, the trial is invalid even with the most lenient validity settings, and
// no figure includes the trial.
func TestKernelLoadFails(t *testing.T) {
	requireLab(t)
	stopped := func(pid int) error {
		err := syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(1500 * time.Millisecond)
		return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
	}
	outOfDescriptors := func(pid int) error {
		var before unix.Rlimit
		err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before)
		limited := unix.Rlimit{Cur: 3, Max: before.Max}
		err = errors.Join(err, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limited, nil))
		time.Sleep(350 * time.Millisecond)
		return errors.Join(err, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil))
	}
	const replace = "stop: drain\ntimeline: [{at: 100ms, do: replace}]"
	for _, test := range []struct {
		name, timeline string
		disturb        func(pid int) error
		reason         string
		local          bool
	}{
		{"stopped, with a step before", replace, stopped,
			"the load generator never sent attempts due in a step's window (%d, the first after " +
				"step 1, replace)", false},
		{"stopped, without steps", "", stopped,
			"the load generator never sent attempts (%d of 900 outside any step's window", false},
		{"out of descriptors", replace, outOfDescriptors,
			"attempts failed in the load process itself (%d: EMFILE %[1]d)", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProgram(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			disturbed := make(chan error, 1)
			go func() {
				pid, err := p.awaitLoad(ctx, t, 300) // past the first step of the schedule
				if err == nil {
					err = test.disturb(pid)
				}
				disturbed <- err
			}()
			run, stderr, status := p.run(t, `
name: failing
about: A load that fails.
load: {rate: 1000/s, duration: 900ms}
trials: 1
`+test.timeline+lenient)
			cancel()
			if err := <-disturbed; err != nil {
				t.Fatal(err)
			}
			if status != 0 {
				t.Fatalf("exit status %d:\n%s", status, stderr)
			}
			v := run.Scenarios[0].Variants[0]
			bad, again := v.Trials[0], lastTrial(v)
			if bad.Valid || !again.Valid {
				t.Fatalf("valid %t, repeated %t; want the first trial invalid: %v", bad.Valid,
					again.Valid, bad.LostByCause)
			}
			k := *bad.NeverSent
			if test.local {
				k = bad.LocalErrors["EMFILE"]
			}
			t.Logf("%d of %d by client: %v", k, bad.LostByCause[cause.Client], bad.InvalidReasons)
			want := fmt.Sprintf(test.reason, k)
			says := func(reason string) bool { return strings.HasPrefix(reason, want) }
			if k == 0 || !slices.ContainsFunc(bad.InvalidReasons, says) {
				t.Errorf("invalid because %q, want %q", bad.InvalidReasons, want)
			}
			if bad.Lost-bad.Dropped < k || bad.Residual != 0 {
				t.Errorf("%d lost, %d dropped, residual %d, by cause %v", bad.Lost, bad.Dropped,
					bad.Residual, bad.LostByCause)
			}
			lost := float64(again.Lost) / float64(again.Attempts)
			if s := v.Summary[metrics.LostPerAttempt]; s.Center != lost {
				t.Errorf("%v lost per attempt; want that of the valid trial, which lost %d",
					s.Center, again.Lost)
			}
		})
	}
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results/unit"
	"reuseport-bench/servers/clock"
)

func probeCPUs() Result {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		return unknown(err.Error(), "")
	}
	detail := fmt.Sprintf("%d usable of %d", len(cpus), runtime.NumCPU())
	if len(cpus) < 2 {
		return no(detail, "give the machine or container a second CPU: with one, the load disturbs the servers")
	}
	if len(cpus) == 2 {
		detail += "; with a third, this program would not share the load's"
	}
	return yes("%s", detail)
}

// probeWholeCPUs looks for a CPU quota: a container that has used it up stands still until the next
// period, as if the machine did.
func probeWholeCPUs() Result {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		return unknown(err.Error(), "")
	}
	return judgeQuota(len(cpus), kernel.ReadTopology(cpus).Quota)
}

// judgeQuota reports whether a CPU quota can stop a program on so many usable CPUs. The quota is in
// CPUs; 0 means no quota.
func judgeQuota(usable int, quota float64) Result {
	switch {
	case quota == 0:
		return yes("no CPU quota")
	case quota >= float64(usable):
		return yes("the quota of %.4g CPUs cannot be used up on %d", quota, usable)
	}
	return no(fmt.Sprintf("a quota of %.4g CPUs on %d", quota, usable),
		"give whole CPUs instead: in Docker --cpuset-cpus without --cpus, in Kubernetes no CPU "+
			"limit or the static CPU manager policy (see docs/containers.md)")
}

// probeTopology tells how the CPUs belong together. All there are can be planned with.
func probeTopology() Result {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		return unknown(err.Error(), "")
	}
	return judgeTopology(kernel.ReadTopology(cpus))
}

func judgeTopology(t kernel.Topology) Result {
	cores, nodes, kinds := t.Count()
	detail := unit.Plural(cores, "physical core")
	if len(kinds) > 1 {
		detail += fmt.Sprintf(" of %d kinds", len(kinds))
	}
	if nodes > 1 {
		detail += fmt.Sprintf(" on %d memory nodes", nodes)
	}
	if t.Virtual != "" {
		detail += ", in a virtual machine"
	}
	if cores < 2 && len(t.CPUs) > 1 {
		return no(detail, "use a machine with a second core: as threads of one core, load and servers slow each other down")
	}
	return yes("%s", detail)
}

// probeGovernor looks whether the CPUs' frequency follows the load: then the first requests after a
// pause are slower, and figures depend on what was before.
func probeGovernor() Result {
	governors := kernel.ReadTopology(nil).Governors
	detail := strings.Join(governors, ", ")
	switch {
	case len(governors) == 0:
		return yes("the kernel does not change the frequency")
	case slices.Equal(governors, []string{"performance"}):
		return yes("governor %s", detail)
	}
	return no("governor "+detail, "cpupower frequency-set --governor performance, as root")
}

// lookFor is how long other programs are watched before anything is measured.
const lookFor = 500 * time.Millisecond

// probeIdleCPUs watches what other programs do on the CPUs of the options.
func probeIdleCPUs(ctx context.Context, options Options) Result {
	cpus := options.CPUs
	if cpus == nil {
		var err error
		if cpus, err = kernel.UsableCPUs(); err != nil {
			return unknown(err.Error(), "")
		}
	}
	a, err := kernel.Watch(ctx, cpus, lookFor)
	if err == nil {
		err = ctx.Err() // it did not watch long enough
	}
	if err != nil {
		return unknown(err.Error(), "")
	}
	return judgeOthers(a)
}

// How much other programs may use, as a share of the CPUs, and how many tasks may want to run, for
// each CPU of the machine, before trials suffer. On two CPUs, beside loops in sessions of their
// own: with one or two of them (1 task a CPU) all of 36 trials counted, and p99 of 'steady' was 2.1
// and 3.7 ms instead of 0.23; with eight (5 a CPU) 15 of 25 were invalid; with twenty (10 a CPU)
// all 18.
const (
	shareNoticed = 0.05
	tasksSome    = 2
	tasksMost    = 4

	// The host's share counts against the servers' CPUs directly (validity.steal).
	stealMost = 0.25
)

// judgeOthers names each thing that takes the CPUs, what trials suffer from it, and what helps.
func judgeOthers(a kernel.Activity) Result {
	if a.CPUs == 0 {
		return unknown("no CPU was watched", "")
	}
	others, steal := a.Others/float64(a.CPUs), a.Steal/float64(a.CPUs)
	tasks := a.Runnable / float64(max(1, a.Online))
	detail := fmt.Sprintf("other programs use %.2g of %s", a.Others, unit.Plural(a.CPUs, "CPU"))
	if others+steal < shareNoticed && a.Stopped == 0 {
		return yes("%s", detail)
	}
	var seen, remedies []string
	if others >= shareNoticed || steal < shareNoticed && a.Stopped == 0 {
		seen, remedies = append(seen, detail+named(a.Programs)), append(remedies, "end them, or wait")
	}
	if steal >= shareNoticed {
		seen = append(seen, fmt.Sprintf("the host takes %.2g of %s", a.Steal, unit.Plural(a.CPUs, "CPU")))
		remedies = append(remedies, "use another machine, or wait")
	}
	if a.Stopped > 0 {
		seen = append(seen, fmt.Sprintf("a CPU quota stopped everything for %v", a.Stopped.Round(time.Millisecond)))
		remedies = append(remedies, "see "+WholeCPUs)
	}
	if tasks >= 1 {
		seen = append(seen, fmt.Sprintf("%.0f tasks want to run", a.Runnable))
	}
	seen = append(seen, fmt.Sprintf("load average %.3g", a.Load))
	effect := "p99 will be longer"
	switch {
	case tasks >= tasksMost || steal >= stealMost:
		effect = "most trials will be invalid"
	case tasks >= tasksSome || steal >= shareNoticed || a.Stopped > 0:
		effect = "some trials will be invalid, and p99 longer"
	}
	return no(strings.Join(seen, ", ")+"; "+effect, strings.Join(remedies, "; "))
}

// named lists up to three of the programs, those that use at least a twentieth of a CPU.
func named(programs []kernel.Program) string {
	var names []string
	for _, p := range programs {
		if p.CPUs >= 0.05 && len(names) < 3 {
			names = append(names, fmt.Sprintf("%s %.2g", p.Name, p.CPUs))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// Surroundings returns what a user should know before a run: what other programs do on this
// machine, if trials will suffer from it. It returns "" if they will not.
func Surroundings(found []Result) string {
	for _, r := range found {
		if r.Name == IdleCPUs && r.Status == No {
			return r.Detail + "; " + r.Hint
		}
	}
	return ""
}

func probePressure() Result {
	some, err := kernel.ReadPressure()
	switch {
	case errors.Is(err, kernel.ErrNotSupported):
		return no(err.Error(), "boot with psi=1, on a kernel built with CONFIG_PSI")
	case err != nil:
		return unknown(err.Error(), "")
	}
	return yes("%v waited for a CPU since boot", some.Round(time.Millisecond))
}

// probeTimer measures how late clock_nanosleep(2) returns from sleeps of 100 µs. The default timer
// slack of 50 µs (prctl(2), PR_SET_TIMERSLACK) is in it, as it will be in a schedule.
func probeTimer() Result {
	const samples, sleep, limit = 200, 100 * time.Microsecond, 250 * time.Millisecond
	late, err := lateness(samples, sleep, limit)
	if err != nil {
		return unknown("clock_nanosleep: "+err.Error(), "")
	}
	return judgeLateness(late)
}

// judgeLateness demands a median below half the schedule's coarsest useful step, 1 ms. The tail is
// the machine's noise rather than a capability: it is told, with a hint, but does not decide.
func judgeLateness(late []time.Duration) Result {
	const bound = 500 * time.Microsecond
	slices.Sort(late)
	p50, p99 := rank(late, 50), rank(late, 99)
	detail := fmt.Sprintf("a sleep of 100 µs ends p50 %v, p99 %v late (%d samples)",
		p50.Round(time.Microsecond), p99.Round(time.Microsecond), len(late))
	if p50 > bound {
		return no(detail, "use a kernel with high-resolution timers (CONFIG_HIGH_RES_TIMERS), or a less busy machine")
	}
	r := yes("%s", detail)
	if p99 > bound {
		r.Hint = "the machine is noisy: expect trials made invalid by schedule lag"
	}
	return r
}

// rank is the nearest-rank percentile of sorted values: the smallest that percent of them do not
// exceed.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

// lateness sleeps on one thread until it has so many samples, or limit has passed; it returns at
// least one.
func lateness(samples int, sleep, limit time.Duration) ([]time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	clk, err := clock.New()
	if err != nil {
		return nil, err
	}
	late := make([]time.Duration, 0, samples)
	begin := clk.Now()
	for len(late) < samples && (len(late) == 0 || clk.Now().Sub(begin) < limit) {
		due := clk.Now().Add(sleep)
		if err := sleepUntil(due); err != nil {
			return nil, err
		}
		late = append(late, clk.Now().Sub(due))
	}
	return late, nil
}

// sleepUntil sleeps to an instant, signals notwithstanding.
func sleepUntil(due clock.Instant) error {
	until := unix.NsecToTimespec(int64(due))
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// probeHAProxyCommand takes one beyond PATH too: package haproxy finds it there.
func probeHAProxyCommand() Result { return probeCommand("haproxy", "haproxy", true) }

func probeNFTablesCommand() Result { return probeCommand("nft", "nftables", false) }

// probeCommand looks for a program on PATH, and beyond it where distributions put what they think
// only root wants.
func probeCommand(name, debianPackage string, beyond bool) Result {
	if path, err := exec.LookPath(name); err == nil {
		return yes("%s", path)
	}
	for _, directory := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(directory, name)); err == nil {
			if beyond {
				return yes("%s", path)
			}
			return no(path+" is not on PATH", "PATH=$PATH:"+directory)
		}
	}
	return no("not found", "apt-get install "+debianPackage)
}

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
	detail := fmt.Sprintf("%d usable", len(cpus))
	if online, err := kernel.OnlineCPUs(); err == nil {
		detail += fmt.Sprintf(" of %d", len(online))
	}
	if len(cpus) < 2 {
		return no(detail, "let this program use a second CPU (taskset, cpuset, or the machine): "+
			"with one, the load disturbs the servers")
	}
	if len(cpus) == 2 {
		detail += "; with a third, this program would not share the load's"
	}
	return yes("%s", detail)
}

// probeWholeCPUs looks for a CPU quota. A container that has exhausted its quota is throttled until
// the next period, as if the machine had stopped.
func probeWholeCPUs() Result {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		return unknown(err.Error(), "")
	}
	return judgeQuota(len(cpus), kernel.ReadTopology(cpus).Quota)
}

// judgeQuota returns Yes unless the quota can throttle a program that may use this many CPUs. The
// quota is in CPUs; 0 means no quota.
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

// probeTopology counts the physical cores and recommends at least two. With fewer, runs are still
// possible.
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
		return no(detail, "use a machine with a second core: as threads of one core, load and "+
			"servers slow each other down")
	}
	return yes("%s", detail)
}

// probeGovernor checks whether the frequency governor adapts the CPUs' frequency to their load. If
// it does, the first requests after a pause are slower, and figures depend on earlier load.
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

// lookFor is the time for which probeIdleCPUs watches other programs.
const lookFor = 500 * time.Millisecond

// probeIdleCPUs measures the share of the CPUs that other programs use.
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
		err = ctx.Err() // if it is not nil, Watch returned early
	}
	if err != nil {
		return unknown(err.Error(), "")
	}
	return judgeOthers(a)
}

// These constants limit how busy the machine may be before trials suffer. They follow from
// measurements on two CPUs beside busy loops, each in its own session. With one loop or two (1
// runnable task per CPU), all 36 trials were valid, but the p99 of the scenario steady was 2.1 or
// 3.7 ms instead of 0.23 ms. With eight loops (5 tasks per CPU), 15 of 25 trials were invalid, and
// with twenty (10 per CPU), all 18.
const (
	// noticedShare is the share of the CPUs that other programs must use for the probe to report
	// them.
	noticedShare = 0.05
	// If the machine has someInvalidTasks or more runnable tasks per CPU, some trials are invalid.
	// With mostInvalidTasks or more, most are.
	someInvalidTasks = 2
	mostInvalidTasks = 4
	// If the hypervisor steals this share of the CPUs or more, most trials are invalid, because
	// validity.steal limits the steal time of the servers' CPUs.
	mostInvalidSteal = 0.25
)

// judgeOthers names everything that takes CPU time, the effect on trials, and remedies. It judges
// only by what currently runs. So it mentions the load average only if it is not falling.
func judgeOthers(a kernel.Activity) Result {
	if a.CPUs == 0 {
		return unknown("no CPU was watched", "")
	}
	others, steal := a.Others/float64(a.CPUs), a.Steal/float64(a.CPUs)
	tasks := a.Runnable / float64(max(1, a.Online))
	detail := fmt.Sprintf("other programs use %.2g of %s", a.Others, unit.Plural(a.CPUs, "CPU"))
	if others+steal < noticedShare && a.Stopped == 0 {
		return yes("%s", detail)
	}
	var seen, remedies []string
	if others >= noticedShare || steal < noticedShare && a.Stopped == 0 {
		seen = append(seen, detail+named(a.Programs))
		remedies = append(remedies, "end them, or wait")
	}
	if steal >= noticedShare {
		seen = append(seen,
			fmt.Sprintf("the host takes %.2g of %s", a.Steal, unit.Plural(a.CPUs, "CPU")))
		remedies = append(remedies, "use another machine, or wait")
	}
	if a.Stopped > 0 {
		stopped := a.Stopped.Round(time.Millisecond)
		seen = append(seen, fmt.Sprintf("a CPU quota stopped everything for %v", stopped))
		remedies = append(remedies, "see "+WholeCPUs)
	}
	if tasks >= 1 {
		seen = append(seen, fmt.Sprintf("%.0f tasks want to run", a.Runnable))
	}
	if a.Load >= a.Load5 { // a falling average counts programs that have ended
		seen = append(seen, fmt.Sprintf("load average %.3g", a.Load))
	}
	effect := "p99 will be longer"
	switch {
	case tasks >= mostInvalidTasks || steal >= mostInvalidSteal:
		effect = "most trials will be invalid"
	case tasks >= someInvalidTasks || steal >= noticedShare || a.Stopped > 0:
		effect = "some trials will be invalid, and p99 longer"
	}
	return no(strings.Join(seen, ", ")+"; "+effect, strings.Join(remedies, "; "))
}

// named lists up to three programs that use at least a twentieth of a CPU each. It returns "" if no
// program does.
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

// Surroundings returns a warning, to be printed before a run, about other programs that keep the
// machine busy. It returns "" if trials will not suffer.
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

// probeTimer measures the delay with which clock_nanosleep(2) returns from sleeps of 100 µs. The
// delay includes the default timer slack of 50 µs (prctl(2), PR_SET_TIMERSLACK), from which the
// load's schedule suffers, too.
func probeTimer() Result {
	const samples, sleep, limit = 200, 100 * time.Microsecond, 250 * time.Millisecond
	late, err := lateness(samples, sleep, limit)
	if err != nil {
		return unknown("clock_nanosleep: "+err.Error(), "")
	}
	return judgeLateness(late)
}

// judgeLateness requires a median of at most 500 µs, half of the coarsest useful interval of a
// schedule. A long tail is noise of the machine: it adds a hint, but the status stays Yes.
func judgeLateness(late []time.Duration) Result {
	const bound = 500 * time.Microsecond
	slices.Sort(late)
	p50, p99 := rank(late, 50), rank(late, 99)
	detail := fmt.Sprintf("a sleep of 100 µs ends p50 %v, p99 %v late (%d samples)",
		p50.Round(time.Microsecond), p99.Round(time.Microsecond), len(late))
	if p50 > bound {
		return no(detail, "use a kernel with high-resolution timers (CONFIG_HIGH_RES_TIMERS), "+
			"or a less busy machine")
	}
	r := yes("%s", detail)
	if p99 > bound {
		r.Hint = "the machine is noisy: expect trials made invalid by schedule lag"
	}
	return r
}

// rank returns the nearest-rank percentile of sorted values: the smallest value such that at least
// percent % of the values do not exceed it.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

// lateness measures the delays of sleeps on one thread until it has the given number of samples or
// the time limit has passed. It returns at least one sample.
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

// sleepUntil sleeps until an instant, even if signals interrupt the sleep.
func sleepUntil(due clock.Instant) error {
	until := unix.NsecToTimespec(int64(due))
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// probeHAProxyCommand accepts an HAProxy outside PATH, because package haproxy finds it there.
func probeHAProxyCommand() Result { return probeCommand("haproxy", "haproxy", true) }

func probeNFTablesCommand() Result { return probeCommand("nft", "nftables", false) }

// probeCommand looks for a program on PATH and in the directories for root's programs, such as
// /usr/sbin. If outsidePATH, a program that is only in the latter counts as found.
func probeCommand(name, debianPackage string, outsidePATH bool) Result {
	if path, err := exec.LookPath(name); err == nil {
		return yes("%s", path)
	}
	for _, directory := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(directory, name)); err == nil {
			if outsidePATH {
				return yes("%s", path)
			}
			return no(path+" is not on PATH", "PATH=$PATH:"+directory)
		}
	}
	return no("not found", "apt-get install "+debianPackage)
}

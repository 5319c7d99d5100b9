package doctor

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
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

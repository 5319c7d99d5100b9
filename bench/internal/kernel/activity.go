package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// Activity describes how busy the CPUs were during a window, apart from this process.
type Activity struct {
	Window time.Duration
	CPUs   int     // number of CPUs watched
	Others float64 // number of these CPUs that other programs used, on average
	Steal  float64 // number of these CPUs that the hypervisor took, on average
	// Runnable is the average number of tasks, over the window, that ran or waited for a CPU on the
	// whole machine. It excludes the calling thread.
	Runnable float64
	Online   int           // CPUs of the machine
	Load     float64       // the machine's load average over the last minute
	Load5    float64       // the load average over the last five minutes
	Stopped  time.Duration // time for which our cgroups were throttled for exhausting CPU quotas
	// Programs are the programs on the whole machine that used CPU time, in descending order of
	// their CPU time. Programs in PID namespaces that this process cannot see are missing.
	Programs []Program
}

// A Program is the CPU use of all processes that have the same name.
type Program struct {
	Name string
	CPUs float64 // average number of CPUs that these processes used
}

// Watch watches the CPUs for the window. If ctx ends first, Watch returns the activity until then
// and no error. The kernel counts CPU time in ticks, usually of 10 ms, so a window of 500 ms has a
// resolution of 2 % of a CPU.
func Watch(ctx context.Context, cpus []int, window time.Duration) (a Activity, err error) {
	began := time.Now()
	before, err := look(cpus)
	if err != nil {
		return a, err
	}
	const looks = 10 // number of samples of the run queue, whose length fluctuates
	ticker := time.NewTicker(max(window/looks, 1))
	defer ticker.Stop()
	var runnable, load, load5 float64
	n := 0
	for ended := false; n < looks && !ended; n++ {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		r, one, five, err := loadAverage()
		if err != nil {
			return a, err
		}
		runnable, load, load5 = runnable+float64(r), one, five
	}
	after, err := look(cpus)
	if err != nil {
		return a, err
	}
	a = after.since(before, time.Since(began))
	a.CPUs, a.Online = len(cpus), after.online
	a.Runnable, a.Load, a.Load5 = runnable/float64(n), load, load5
	return a, nil
}

// A snapshot holds the totals of CPUs and processes at an instant.
type snapshot struct {
	busy, steal time.Duration // of the CPUs watched
	online      int           // CPUs of the machine
	own         time.Duration // CPU time of this process
	stopped     time.Duration // by exhausted CPU quotas
	processes   map[int]process
}

type process struct {
	name string
	used time.Duration // CPU time
}

func look(cpus []int) (s snapshot, err error) {
	file, err := openProc("/proc/stat")
	if err != nil {
		return s, err
	}
	defer file.Close()
	ticks := ticksPerSecond()
	if s.busy, s.steal, s.online, err = parseBusy(file, cpus, ticks); err != nil {
		return s, fmt.Errorf("/proc/stat: %w", err)
	}
	s.own = sys.ProcessCPU()
	ns, _ := Throttled()
	s.stopped = time.Duration(ns)
	s.processes, err = processes(ticks)
	return s, err
}

// since returns the activity between two snapshots. window is the time between them.
func (s snapshot) since(before snapshot, window time.Duration) Activity {
	share := func(d time.Duration) float64 { return max(0, d.Seconds()) / window.Seconds() }
	a := Activity{
		Window: window, Others: share(s.busy - before.busy - (s.own - before.own)),
		Steal: share(s.steal - before.steal), Stopped: s.stopped - before.stopped,
	}
	used := map[string]time.Duration{}
	for pid, p := range s.processes {
		if d := p.used - before.processes[pid].used; d > 0 && pid != os.Getpid() {
			used[p.name] += d
		}
	}
	for name, d := range used {
		a.Programs = append(a.Programs, Program{name, share(d)})
	}
	slices.SortFunc(a.Programs, func(a, b Program) int {
		return cmp.Or(cmp.Compare(b.CPUs, a.CPUs), strings.Compare(a.Name, b.Name))
	})
	return a
}

// parseBusy returns the total time for which the CPUs were busy, and the total time that the
// hypervisor took from them. It also returns the number of online CPUs.
func parseBusy(
	r io.Reader, cpus []int, ticks int64,
) (busy, steal time.Duration, online int, err error) {
	found := 0
	err = eachCPU(r, func(cpu int, columns []string) error {
		online++
		if !slices.Contains(cpus, cpu) {
			return nil
		}
		found++
		// The columns after steal hold the time of guests, which user and nice already include.
		for column, text := range columns[:min(len(columns), stealColumn+1)] {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("cpu%d: %w", cpu, err)
			}
			switch d := ticksToDuration(n, ticks); column {
			case idleColumn, ioWaitColumn:
			case stealColumn:
				steal += d
			default:
				busy += d
			}
		}
		return nil
	})
	if err == nil && found < len(cpus) {
		err = fmt.Errorf("%d of %d CPUs", found, len(cpus))
	}
	return busy, steal, online, err
}

// processes returns the CPU time of every visible process so far.
func processes(ticks int64) (map[int]process, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(name, "stat"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) ||
			errors.Is(err, os.ErrPermission) {
			continue // the process has exited, or /proc hides it (hidepid)
		}
		if err != nil {
			return nil, err
		}
		p, err := parseProcess(string(text), ticks)
		if err != nil {
			return nil, fmt.Errorf("%s/stat: %w", name, err)
		}
		all[pid] = p
	}
	return all, nil
}

// parseProcess parses a process's stat file (proc_pid_stat(5)). It reads the name, which is in
// parentheses and may contain any character, and fields 14 and 15, the user and system time.
func parseProcess(stat string, ticks int64) (p process, err error) {
	const userTime = 14
	from, to := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if from < 0 || to < from {
		return p, errors.New("no name")
	}
	fields := strings.Fields(stat[to+1:]) // the first is field 3 of the file
	if len(fields) <= userTime-3+1 {
		return p, io.ErrUnexpectedEOF
	}
	p.name = stat[from+1 : to]
	for _, text := range fields[userTime-3 : userTime-3+2] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p, err
		}
		p.used += ticksToDuration(n, ticks)
	}
	return p, nil
}

// loadAverage returns the number of runnable tasks, excluding the calling thread, and the load
// averages over the last one and five minutes (proc_loadavg(5)).
func loadAverage() (runnable int, one, five float64, err error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, 0, 0, err
	}
	return parseLoadAverage(string(text))
}

// parseLoadAverage parses "19.03 12.50 8.01 10/512 4711".
func parseLoadAverage(text string) (runnable int, one, five float64, err error) {
	var fifteen float64
	if _, err := fmt.Sscanf(text, "%g %g %g %d/", &one, &five, &fifteen, &runnable); err != nil {
		return 0, 0, 0, fmt.Errorf("/proc/loadavg: %w", err)
	}
	return max(0, runnable-1), one, five, nil
}

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sched holds a thread's scheduler statistics since its start, or the sums over several threads.
type Sched struct {
	Run        time.Duration // time on a CPU; precise, unlike the ticks in /proc/<pid>/stat
	Delay      time.Duration // time waiting for a CPU while runnable ("run-queue delay")
	Timeslices int64         // number of times that the scheduler gave it a CPU
}

// Schedstat returns the sums over the current threads of process pid. The time of threads that have
// exited is missing, so the difference between two readings is a lower bound. Schedstat returns the
// same errors as ThreadSchedstats.
func Schedstat(pid int) (Sched, error) {
	threads, err := ThreadSchedstats(pid)
	var sum Sched
	for _, one := range threads {
		sum.Run += one.Run
		sum.Delay += one.Delay
		sum.Timeslices += one.Timeslices
	}
	return sum, err
}

// ThreadSchedstats returns the scheduler statistics of each current thread of process pid, by
// thread number. The error is ErrNotSupported if the kernel keeps no such statistics
// (CONFIG_SCHED_INFO), and fs.ErrNotExist if the process does not exist. It does not read
// /proc/<pid>/schedstat, which covers the main thread only. Source: fs/proc/base.c,
// proc_pid_schedstat.
func ThreadSchedstats(pid int) (map[int]Sched, error) {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil, err
	}
	each := map[int]Sched{}
	for _, thread := range threads {
		one, err := readSchedstat(filepath.Join(tasks, thread.Name(), "schedstat"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has just exited, or the kernel keeps no statistics
		}
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(thread.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tasks, err)
		}
		each[number] = one
	}
	if len(each) > 0 {
		return each, nil
	}
	if _, err := os.Stat("/proc/thread-self/schedstat"); err != nil {
		return nil, fmt.Errorf("%s/*/schedstat: %w", tasks, ErrNotSupported)
	}
	return nil, fmt.Errorf("process %d has just ended: %w", pid, fs.ErrNotExist)
}

func readSchedstat(path string) (Sched, error) {
	file, err := openProc(path)
	if err != nil {
		return Sched{}, err
	}
	defer file.Close()
	sched, err := parseSchedstat(file)
	if err != nil {
		return Sched{}, fmt.Errorf("%s: %w", path, err)
	}
	return sched, nil
}

// parseSchedstat parses "run delay timeslices", the first two in nanoseconds.
func parseSchedstat(r io.Reader) (Sched, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return Sched{}, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return Sched{}, fmt.Errorf("%d numbers of 3: %w", len(fields), io.ErrUnexpectedEOF)
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return Sched{}, err
		}
	}
	return Sched{
		Run: time.Duration(numbers[0]), Delay: time.Duration(numbers[1]), Timeslices: numbers[2],
	}, nil
}

// ReadPressure returns the total time since boot for which at least one runnable task on the
// machine was waiting for a CPU. This is the total in the "some" line of /proc/pressure/cpu, which
// the kernel counts in microseconds. The error is ErrNotSupported without CONFIG_PSI or with psi=0.
// Source: Documentation/accounting/psi.rst.
func ReadPressure() (time.Duration, error) {
	const path = "/proc/pressure/cpu"
	file, err := openProc(path)
	if err != nil {
		return 0, absent(err)
	}
	defer file.Close()
	some, err := parsePressure(file)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, absent(err))
	}
	return some, nil
}

// absent returns ErrNotSupported, with the text of err, if err means "no such file" or "switched
// off".
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w (%v)", ErrNotSupported, err)
	}
	return err
}

func parsePressure(r io.Reader) (time.Duration, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != "some" {
			continue
		}
		for _, field := range fields[1:] {
			if total, found := strings.CutPrefix(field, "total="); found {
				microseconds, err := strconv.ParseInt(total, 10, 64)
				return time.Duration(microseconds) * time.Microsecond, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf(`no "some" line with a total: %w`, io.ErrUnexpectedEOF)
}

// ReadSteal returns, for each of cpus, the time since boot for which the hypervisor ran something
// else while the CPU had work to do. If cpus is nil, ReadSteal reads every online CPU. The kernel
// counts steal in ticks, usually of 10 ms. It is always 0 on bare metal and under hypervisors that
// do not report it. The error is ErrNotSupported if /proc/stat has no column for steal. An offline
// CPU in cpus is an error, too. Source: fs/proc/stat.c, show_stat.
func ReadSteal(cpus []int) (map[int]time.Duration, error) {
	const path = "/proc/stat"
	file, err := openProc(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	all, err := parseSteal(file, ticksPerSecond())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if cpus == nil {
		return all, nil
	}
	steal := make(map[int]time.Duration, len(cpus))
	for _, cpu := range cpus {
		value, online := all[cpu]
		if !online {
			return nil, fmt.Errorf("%s: no CPU %d", path, cpu)
		}
		steal[cpu] = value
	}
	return steal, nil
}

// Columns of a CPU in /proc/stat, after its name: user nice system idle iowait irq softirq steal …
// (proc_stat(5)).
const (
	idleColumn   = 3
	ioWaitColumn = 4
	stealColumn  = 7
)

// parseSteal returns the column "steal" of each CPU.
func parseSteal(r io.Reader, ticksPerSecond int64) (map[int]time.Duration, error) {
	steal := make(map[int]time.Duration)
	err := eachCPU(r, func(cpu int, columns []string) error {
		if len(columns) <= stealColumn {
			return fmt.Errorf("no steal column: %w", ErrNotSupported)
		}
		ticks, err := strconv.ParseInt(columns[stealColumn], 10, 64)
		if err != nil {
			return fmt.Errorf("cpu%d: steal: %w", cpu, err)
		}
		steal[cpu] = ticksToDuration(ticks, ticksPerSecond)
		return nil
	})
	return steal, err
}

// eachCPU calls f for each line "cpu<n> …", with the CPU and its columns in ticks. It does not use
// a Scanner, which limits the length of lines: another line of the file has a number for each
// interrupt and may be long.
func eachCPU(r io.Reader, f func(cpu int, columns []string) error) error {
	seen := false
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		number, found := strings.CutPrefix(line, "cpu")
		if found && !strings.HasPrefix(number, " ") {
			fields := strings.Fields(number)
			if len(fields) == 0 {
				return fmt.Errorf("a CPU without a number: %w", io.ErrUnexpectedEOF)
			}
			cpu, err := strconv.Atoi(fields[0])
			if err != nil {
				return err
			}
			if err := f(cpu, fields[1:]); err != nil {
				return err
			}
			seen = true
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !seen {
		return fmt.Errorf("no line for a CPU: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// ticksToDuration converts ticks to a duration. If the result would overflow, it returns the
// longest duration, 292 years.
func ticksToDuration(ticks, perSecond int64) time.Duration {
	whole, rest := ticks/perSecond, ticks%perSecond
	if whole >= math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	fraction := time.Duration(rest) * time.Second / time.Duration(perSecond)
	return time.Duration(whole)*time.Second + fraction
}

// ticksPerSecond returns CLK_TCK, the unit of the times in /proc. The kernel gives it to every
// process in the auxiliary vector (getauxval(3), AT_CLKTCK). If the vector cannot be read, it
// returns 100, the value on every architecture that Go supports.
func ticksPerSecond() int64 {
	const atCLKTCK, usual = 17, 100
	vector, err := unix.Auxv()
	if err != nil {
		return usual
	}
	isTicks := func(entry [2]uintptr) bool { return entry[0] == atCLKTCK }
	at := slices.IndexFunc(vector, isTicks)
	if at < 0 || vector[at][1] == 0 {
		return usual
	}
	return int64(vector[at][1])
}

// SetAffinity restricts every thread of process pid, and so all threads that these will start, to
// the CPUs. It ignores threads that exit during the call.
func SetAffinity(pid int, cpus []int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	// During the first pass, a thread that is not yet restricted may start another thread. The
	// second pass finds those.
	for range 2 {
		threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			err = unix.SchedSetaffinity(tid, &set)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("thread %d of process %d: CPUs %v: %w", tid, pid, cpus, err)
			}
		}
	}
	return nil
}

// A Place holds the CPUs on which a thread may run, and the CPU on which it ran last.
type Place struct {
	Allowed []int
	Last    int
}

// Places returns the Place of each thread of process pid, by thread number. It omits threads that
// exit during the call. Sources: sched_getaffinity(2); proc_pid_stat(5), processor.
func Places(pid int) (map[int]Place, error) {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil, err
	}
	places := map[int]Place{}
	for _, thread := range threads {
		number, err := strconv.Atoi(thread.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tasks, err)
		}
		place, err := placeOf(tasks, number)
		switch {
		case errors.Is(err, unix.ESRCH), errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("thread %d: %w", number, err)
		default:
			places[number] = place
		}
	}
	return places, nil
}

func placeOf(tasks string, number int) (p Place, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(number, &set); err != nil {
		return p, err
	}
	for cpu := range 8 * int(unsafe.Sizeof(set)) {
		if set.IsSet(cpu) {
			p.Allowed = append(p.Allowed, cpu)
		}
	}
	stat, err := os.ReadFile(filepath.Join(tasks, strconv.Itoa(number), "stat"))
	if err != nil {
		return p, err
	}
	p.Last, err = parseProcessor(string(stat))
	return p, err
}

// parseProcessor returns field 39 of a thread's stat. Field 2 is the thread's name in parentheses,
// which may contain any character.
func parseProcessor(stat string) (int, error) {
	const processor = 39
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from field 3 on
	if len(fields) <= processor-3 {
		return 0, fmt.Errorf("stat: %d fields: %w", len(fields)+2, io.ErrUnexpectedEOF)
	}
	return strconv.Atoi(fields[processor-3])
}

// SumSteal returns the total time that the hypervisor has taken from the CPUs.
func SumSteal(cpus []int) (time.Duration, error) {
	each, err := ReadSteal(cpus)
	var total time.Duration
	for _, d := range each {
		total += d
	}
	return total, err
}

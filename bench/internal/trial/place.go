package trial

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
)

// garbageRoom is the amount of garbage, in bytes, that a drive may make before the collector runs.
const garbageRoom = 16 << 20

// prepareHarness prepares this process for the drive. It collects garbage, and then stops
// collecting until garbageRoom is used up, so that no collection disturbs the drive. It moves all
// threads of this process to the harness's CPUs. Child processes that are started during the drive
// are given other CPUs. restore undoes all of this, and records the CPUs on which the threads ran.
func (s *stage) prepareHarness() (restore func() error, err error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	limit := debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + garbageRoom)
	percent := debug.SetGCPercent(-1)
	collect := func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
	pid := os.Getpid()
	if err := confineHarness(pid, s.plan.CPUs.Harness); err != nil {
		collect()
		return nil, errors.Join(err, confineHarness(pid, s.plan.Machine.CPUs))
	}
	before, err := kernel.ThreadSchedstats(pid)
	known := err == nil // false: the kernel does not report these statistics
	return func() (err error) {
		collect()
		if known {
			s.seen.threads, err = threadsSince(pid, before)
		}
		return errors.Join(err, confineHarness(pid, s.plan.Machine.CPUs))
	}, nil
}

func confineHarness(pid int, cpus []int) error {
	if err := kernel.SetAffinity(pid, cpus); err != nil {
		return fmt.Errorf("place the harness: %w", err)
	}
	return nil
}

// threadsSince compares the current statistics of a process's threads with before, which are
// earlier ones. For the threads that have run in between, it returns their number, the CPUs on
// which they may run, and the CPUs on which they last ran.
func threadsSince(pid int, before map[int]kernel.Sched) (*results.Threads, error) {
	now, err := kernel.ThreadSchedstats(pid)
	if err != nil {
		return nil, err
	}
	places, err := kernel.Places(pid)
	if err != nil {
		return nil, err
	}
	t := &results.Threads{}
	allowed, ran := map[int]bool{}, map[int]bool{}
	for thread, place := range places {
		if now[thread].Timeslices == before[thread].Timeslices {
			continue // the thread has not run
		}
		t.N++
		ran[place.Last] = true
		for _, cpu := range place.Allowed {
			allowed[cpu] = true
		}
	}
	t.Allowed, t.Ran = slices.Sorted(maps.Keys(allowed)), slices.Sorted(maps.Keys(ran))
	return t, nil
}

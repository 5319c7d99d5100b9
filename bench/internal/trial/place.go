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

// garbageRoom is how much garbage a drive may make before it is collected in spite of all, in
// bytes.
const garbageRoom = 16 << 20

// settle prepares this process for the drive: it collects its garbage and stops collecting, as long
// as there is room, so that no collection falls into it, and moves all its threads to the harness's
// CPUs. What it returns moves them back, and notes where they were meanwhile. Processes that are
// started meanwhile get CPUs of their own.
func (s *stage) settle() (back func() error, err error) {
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
	known := err == nil // else the kernel keeps no such statistics
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

// threadsSince returns where the threads are that have run since.
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
			continue // it has slept all the time
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

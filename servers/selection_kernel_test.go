package servers_test

import (
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// answersFrom counts the answers to n requests from each CPU that may be used, by CPU.
func (r *rig) answersFrom(n int) map[int]map[int]int {
	r.t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		r.t.Fatal(err)
	}
	by := map[int]map[int]int{}
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread ends with its affinity
			var one unix.CPUSet
			one.Set(cpu)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				r.t.Error(err)
				return
			}
			by[cpu] = map[int]int{}
			for range n {
				w, err := r.ask()
				if err != nil {
					r.t.Error(err)
					return
				}
				by[cpu][w]++
			}
		}()
		<-done
	}
	return by
}

// The group's program takes the CPU modulo the number of sockets: of those there are, or of those
// there were at the start. On lo a SYN is processed by the CPU that sent it.
func TestKernelCPUSelector(t *testing.T) {
	const n = 3
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		for selector, sockets := range map[vocabulary.Selector]int{
			vocabulary.SelectorCPU: 2, vocabulary.SelectorCPUFixed: 1,
		} {
			t.Run(string(kind)+"/"+string(selector), func(t *testing.T) {
				r := newRig(t, Config{
					Kind: kind, Sockets: vocabulary.SocketsReuseport, Selection: selector,
					Workers: 1,
				})
				workers := r.generation().Workers
				added, err := r.StartWorker(t.Context(), 0, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				workers = append(workers, added)
				for cpu, by := range r.answersFrom(n) {
					want := map[int]int{workers[cpu%sockets].ID: n}
					if !maps.Equal(by, want) {
						t.Errorf("from CPU %d: answers by worker %v, want %v", cpu, by, want)
					}
				}
				if selector != vocabulary.SelectorCPU {
					return
				}
				// A worker that is told of another number obeys.
				if err := workers[0].Process().Send(Command{Members: 1}); err != nil {
					t.Fatal(err)
				}
				r.eventually("all answers by the first worker", func() bool {
					return !slices.ContainsFunc(slices.Collect(maps.Values(r.answersFrom(n))),
						func(by map[int]int) bool { return by[workers[0].ID] != n })
				})
			})
		}
	}
}

// eventually fails the test unless is becomes true.
func (r *rig) eventually(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// The number of sockets follows every change of the group: generations, single workers, their ends,
// and sockets of the parent's own.
func TestKernelSocketsCounted(t *testing.T) {
	for _, handover := range []vocabulary.Handover{
		vocabulary.NoHandover, vocabulary.SCMRights, vocabulary.SocketActivation,
	} {
		t.Run(string(handover), func(t *testing.T) {
			r := newRig(t, Config{
				Sockets: vocabulary.SocketsReuseport, Selection: vocabulary.SelectorCPU, Workers: 2,
				Handover: handover,
			})
			check := func(what string, want int) {
				t.Helper()
				if got := r.SocketCount(); got != want {
					t.Errorf("%s: %d sockets are counted, want %d", what, got, want)
				}
			}
			first := r.generation()
			check("a generation", 2)
			second := r.generation()
			both := 4
			if handover != vocabulary.NoHandover {
				both = 2
			}
			check("two generations", both)
			r.stop(first.Workers, vocabulary.StopClose)
			check("without the first", 2)
			if _, err := r.Join(); err != nil {
				t.Fatal(err)
			}
			check("with one of the parent's", 3)
			if _, err := r.DropSocket(len(r.Held()) - 1); err != nil {
				t.Fatal(err)
			}
			check("without it", 2)
			r.stop(second.Workers[:1], vocabulary.StopKill)
			left := 1
			if handover == vocabulary.SocketActivation {
				left = 2 // the parent still has it
			}
			check("without one worker", left)
		})
	}
}

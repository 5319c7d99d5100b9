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

// answersFrom sends n requests from each usable CPU and counts the answers, by CPU and worker.
func (g *testGroup) answersFrom(n int) map[int]map[int]int {
	g.t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		g.t.Fatal(err)
	}
	by := map[int]map[int]int{}
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // not unlocked, so the thread ends with the goroutine
			var one unix.CPUSet
			one.Set(cpu)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				g.t.Error(err)
				return
			}
			by[cpu] = map[int]int{}
			for range n {
				w, err := g.ask()
				if err != nil {
					g.t.Error(err)
					return
				}
				by[cpu][w]++
			}
		}()
		<-done
	}
	return by
}

// TestKernelCPUSelector checks that the BPF program selects the socket whose index is c modulo n,
// where c is the CPU that processes the SYN. For the selector "cpu", n is the current number of
// sockets; for "cpu-fixed", n is the initial number. On lo, the CPU that sends a SYN processes it.
func TestKernelCPUSelector(t *testing.T) {
	const n = 3
	for _, kind := range []vocabulary.ServerKind{vocabulary.ServerLoop, vocabulary.ServerHTTP} {
		for selector, sockets := range map[vocabulary.Selector]int{
			vocabulary.SelectorCPU: 2, vocabulary.SelectorCPUFixed: 1,
		} {
			t.Run(string(kind)+"/"+string(selector), func(t *testing.T) {
				g := newTestGroup(t, Config{
					Kind: kind, Sockets: vocabulary.SocketsReuseport, Selection: selector,
					Workers: 1,
				})
				workers := g.generation().Workers
				added, err := g.StartWorker(t.Context(), 0, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				workers = append(workers, added)
				for cpu, by := range g.answersFrom(n) {
					want := map[int]int{workers[cpu%sockets].ID: n}
					if !maps.Equal(by, want) {
						t.Errorf("from CPU %d: answers by worker %v, want %v", cpu, by, want)
					}
				}
				if selector != vocabulary.SelectorCPU {
					return
				}
				// On a command with Members, a worker attaches the program again for that number of
				// sockets.
				if err := workers[0].Process().Send(Command{Members: 1}); err != nil {
					t.Fatal(err)
				}
				g.eventually("all answers come from the first worker", func() bool {
					return !slices.ContainsFunc(slices.Collect(maps.Values(g.answersFrom(n))),
						func(by map[int]int) bool { return by[workers[0].ID] != n })
				})
			})
		}
	}
}

// eventually waits until is() returns true. It fails the test if that takes too long.
func (g *testGroup) eventually(what string, is func() bool) {
	g.t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			g.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// TestKernelSocketsCounted checks that the number of sockets follows every change of the group: new
// generations, single workers, stops and the parent's own sockets.
func TestKernelSocketsCounted(t *testing.T) {
	for _, handover := range []vocabulary.Handover{
		vocabulary.NoHandover, vocabulary.SCMRights, vocabulary.SocketActivation,
	} {
		t.Run(string(handover), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Sockets: vocabulary.SocketsReuseport, Selection: vocabulary.SelectorCPU, Workers: 2,
				Handover: handover,
			})
			check := func(what string, want int) {
				t.Helper()
				if got := g.SocketCount(); got != want {
					t.Errorf("%s: got %d sockets, want %d", what, got, want)
				}
			}
			first := g.generation()
			check("a generation", 2)
			second := g.generation()
			both := 4
			if handover != vocabulary.NoHandover {
				both = 2
			}
			check("two generations", both)
			g.stop(first.Workers, vocabulary.StopClose)
			check("without the first", 2)
			if _, err := g.Join(); err != nil {
				t.Fatal(err)
			}
			check("with a socket of the parent's", 3)
			if _, err := g.DropSocket(len(g.Held()) - 1); err != nil {
				t.Fatal(err)
			}
			check("without it", 2)
			g.stop(second.Workers[:1], vocabulary.StopKill)
			left := 1
			if handover == vocabulary.SocketActivation {
				left = 2 // the parent still holds the killed worker's socket
			}
			check("without one worker", left)
		})
	}
}

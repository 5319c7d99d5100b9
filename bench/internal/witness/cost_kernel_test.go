package witness

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// BenchmarkWitness measures the additional CPU time that a connection takes when it is watched. One
// thread plays both ends, so its CPU time includes everything that the kernel does for either end,
// except the work queue's time for obituaries. Rounds without a witness, with a trace and with
// obituaries take turns.
func BenchmarkWitness(b *testing.B) {
	testkit.RequireRoot(b)
	const each = 1000 // connections in a round
	modes := map[string]func(Options) (*Witness, error){
		"plain": nil, "trace": start,
		"obituaries": func(o Options) (*Witness, error) { return startObituaries(o, unix.EPERM) },
	}
	cpu := map[string][]float64{}
	for range max(1, b.N/each) {
		for name, begin := range modes {
			used, err := round(each, begin)
			if err != nil {
				b.Fatal(err)
			}
			cpu[name] = append(cpu[name], float64(used.Nanoseconds())/each)
		}
	}
	median := func(name string) float64 {
		slices.Sort(cpu[name])
		return cpu[name][len(cpu[name])/2]
	}
	b.ReportMetric(median("plain"), "plain-ns/conn")
	b.ReportMetric(median("trace")-median("plain"), "trace-ns/conn")
	b.ReportMetric(median("obituaries")-median("plain"), "obituaries-ns/conn")
}

// round makes n connections in a new network, watched by the witness that begin starts. It returns
// the CPU time that the connections took.
func round(n int, begin func(Options) (*Witness, error)) (used time.Duration, err error) {
	err = netlab.Private(func() error {
		listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(listener)
		at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		if err := errors.Join(unix.Bind(listener, at), unix.Listen(listener, 16)); err != nil {
			return err
		}
		name, err := unix.Getsockname(listener)
		if err != nil {
			return err
		}
		at.Port = name.(*unix.SockaddrInet4).Port
		var w *Witness
		if begin != nil {
			w, err = begin(Options{
				Do: do, Port: uint16(at.Port), Families: []int{unix.AF_INET}, Connections: n,
				Types: kernelTypes,
			})
			if err != nil {
				return err
			}
		}
		for range n / 10 { // warm-up
			if err := connect(listener, at); err != nil {
				return err
			}
		}
		before := sys.ThreadCPU()
		for range n {
			if err := connect(listener, at); err != nil {
				return err
			}
		}
		used = sys.ThreadCPU() - before
		if w == nil {
			return nil
		}
		if w.before, err = kernel.CountersIn(do); err != nil {
			return err
		}
		seen, err := w.Stop()
		if err == nil && len(seen.Ends)+int(seen.Lost) < n {
			err = errors.New("connections were not seen")
		}
		return err
	})
	return used, err
}

// connect makes a connection, and sends a request and an answer on it. The server's end closes
// first.
func connect(listener int, at unix.Sockaddr) error {
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	if err := unix.Connect(client, at); err != nil {
		return err
	}
	server, _, err := socket.Accept(listener)
	if err != nil {
		return err
	}
	var b [128]byte
	for _, step := range []func() (int, error){
		func() (int, error) { return unix.Write(client, b[:64]) },
		func() (int, error) { return unix.Read(server, b[:]) },
		func() (int, error) { return unix.Write(server, b[:86]) },
		func() (int, error) { return 0, unix.Close(server) },
		func() (int, error) { return unix.Read(client, b[:]) },
		func() (int, error) { return unix.Read(client, b[:]) },
	} {
		if _, err := step(); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPrograms measures the time that the programs of a trace run per connection.
func BenchmarkPrograms(b *testing.B) {
	testkit.RequireRoot(b)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		testkit.Skip(b, "%v", err)
	}
	defer stats.Close()
	const each = 1000
	var programs []*ebpf.Program
	rounds := max(1, b.N/each)
	for range rounds {
		_, err := round(each, func(o Options) (*Witness, error) {
			w, err := start(o)
			if err != nil {
				return nil, err
			}
			for _, p := range w.trace.collection.Programs { // the clones outlive the trace
				kept, err := p.Clone()
				if err != nil {
					return nil, err
				}
				programs = append(programs, kept)
			}
			return w, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	var ran, runs float64
	for _, p := range programs {
		s, err := p.Stats()
		if err != nil {
			b.Fatal(err)
		}
		ran, runs = ran+float64(s.Runtime), runs+float64(s.RunCount)
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
	n := float64(rounds * each * 11 / 10) // including the connections that warm up
	b.ReportMetric(ran/n, "program-ns/conn")
	b.ReportMetric(runs/n, "runs/conn")
}

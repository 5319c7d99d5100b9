package witness

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results/stats"
	"reuseport-bench/scenarios/vocabulary"
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
	programs := map[string][]*ebpf.Program{}
	rounds := max(1, b.N/each)
	for range rounds {
		_, err := round(each, func(o Options) (*Witness, error) {
			w, err := start(o)
			if err != nil {
				return nil, err
			}
			for name, p := range w.trace.collection.Programs { // the clones outlive the trace
				kept, err := p.Clone()
				if err != nil {
					return nil, err
				}
				programs[name] = append(programs[name], kept)
			}
			return w, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	n := float64(rounds * each * 11 / 10) // including the connections that warm up
	for name, copies := range programs {
		var ran, runs float64
		for _, p := range copies {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			ran, runs = ran+float64(s.Runtime), runs+float64(s.RunCount)
			if err := p.Close(); err != nil {
				b.Error(err)
			}
		}
		if runs > n/2 {
			b.ReportMetric(ran/n, name+"-ns/conn")
			b.ReportMetric(runs/n, name+"-runs/conn")
		}
	}
}

// BenchmarkServer measures the CPU time that a connection takes of a loop worker, and of the worker
// and its client together, at 2,000 new connections per second: without a trace, and the ratio with
// a trace to without. It makes b.N blocks of two rounds, and a 95 % interval needs six. The worker
// and the client have a CPU each. What the kernel does with a segment is part of the CPU time of
// the process that sent the segment, so the client's CPU time includes a part of the server's end.
func BenchmarkServer(b *testing.B) {
	testkit.RequireRoot(b)
	if runtime.NumCPU() < 2 {
		testkit.Skip(b, "the worker and the client need a CPU each")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newRig(b, setup{
		kind: vocabulary.ServerLoop, sockets: vocabulary.SocketsShared,
		stop: vocabulary.StopDrain.Row(),
	})
	r.start()
	pid := r.current.Workers[0].PID()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	own := unix.CPUSet{1}
	err := errors.Join(unix.SchedSetaffinity(0, &own), kernel.SetAffinity(pid, []int{1}))
	if err != nil {
		b.Fatal(err)
	}
	var worker, both [2][]float64 // ns per connection, without and with a trace
	var workerRatios, bothRatios []float64
	for i := range b.N {
		for j := range 2 {
			traced := (i + j) % 2
			w, c, err := r.drive(traced == 1)
			if err != nil {
				b.Fatal(err)
			}
			worker[traced] = append(worker[traced], w)
			both[traced] = append(both[traced], w+c)
		}
		workerRatios = append(workerRatios, worker[1][i]/worker[0][i])
		bothRatios = append(bothRatios, both[1][i]/both[0][i])
	}
	report := func(name string, without, ratios []float64) {
		ratio, _ := stats.PairedRatio(ratios, 0.95)
		b.ReportMetric(stats.Median(without, 0.95).Center, name+"-ns/conn")
		b.ReportMetric(ratio.Center, name+"-ratio")
		if ratio.Lo != nil {
			b.ReportMetric(*ratio.Lo, name+"-ratio-low")
			b.ReportMetric(*ratio.Hi, name+"-ratio-high")
		}
	}
	report("worker", worker[0], workerRatios)
	report("both", both[0], bothRatios)
}

// drive makes connections to the worker for a second. It returns the CPU time per connection, in
// nanoseconds, of the worker and of the calling thread. Without a trace it starts and stops one
// before the connections, so that both kinds of rounds begin alike.
func (r *rig) drive(traced bool) (worker, client float64, err error) {
	const n, rate = 2000, 2000
	w, err := Start(Options{
		Do: do, Port: r.target.Port(), Families: []int{unix.AF_INET}, Connections: n,
		Types: kernelTypes,
	})
	if err == nil && !traced {
		_, err = w.Stop()
	}
	if err != nil {
		return 0, 0, err
	}
	at := &unix.SockaddrInet4{Port: int(r.target.Port()), Addr: r.target.Addr().As4()}
	for range n / 10 { // warm-up
		err = errors.Join(err, ask(at))
	}
	pid := r.current.Workers[0].PID()
	before, readErr := kernel.Schedstat(pid)
	err = errors.Join(err, readErr)
	begin, cpu := time.Now(), sys.ThreadCPU()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / rate)
		if rest := time.Until(due); rest > 0 {
			wait := unix.NsecToTimespec(rest.Nanoseconds())
			_ = unix.Nanosleep(&wait, nil) // an early connection changes nothing
		}
		err = errors.Join(err, ask(at))
	}
	cpu = sys.ThreadCPU() - cpu
	after, readErr := kernel.Schedstat(pid)
	err = errors.Join(err, readErr)
	if traced {
		seen, stopErr := w.Stop()
		if err = errors.Join(err, stopErr); err == nil && len(seen.Ends) < n {
			err = errors.New("connections were not seen")
		}
	}
	return float64(after.Run-before.Run) / n, float64(cpu) / n, err
}

// ask makes a connection, sends a request and reads the answer to its end.
func ask(at unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, at); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(request(1, true))); err != nil {
		return err
	}
	var answer [512]byte
	for {
		if n, err := unix.Read(fd, answer[:]); n <= 0 {
			return err
		}
	}
}

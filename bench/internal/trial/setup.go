package trial

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/cluster"
	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/relay"
	"reuseport-bench/bench/internal/watch"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// recordedSysctls are sysctls whose values are recorded in addition to those that the variant sets.
var recordedSysctls = []string{
	"net.ipv4.tcp_syncookies", "net.ipv4.tcp_abort_on_overflow", "net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_synack_retries", "net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_tw_reuse",
	"net.core.rps_default_mask",
}

// A stage is a trial in progress: the lab, its processes, and their observers.
type stage struct {
	plan    *plan.Plan
	variant *plan.Variant
	load    []load.Config
	servers servers.Config
	types   *btf.Cache // Options.KernelTypes
	clock   *clock.Clock
	book    *ledger.Book
	sysctls map[string]string

	lab        *netlab.Lab
	group      *servers.Group
	third      *thirdParties          // nil: the servers are workers of this program
	command    *commandServer         // the only one of third; nil in a cluster
	handshakes *kernel.HalfOpenReader // nil unless the stop mode needs it
	cluster    *cluster.Cluster       // nil: the workers are not in pods
	kubernetes *kubernetes.Cluster    // runs the pods; nil: this program does
	proxy      *haproxy.Process       // nil: no proxy
	relay      *relay.Process         // nil: no packet is delayed, or the kernel delays them
	loads      []*load.Process
	timeline   *timeline
	startTime  time.Duration // from the start of the first generation until it was ready
	confined   bool          // the workers have been moved to the servers' CPUs

	machine  *watch.Machine
	queues   *watch.Queues // nil in a cluster, or if the kernel cannot report them
	meter    watch.Meter   // adds up the CPU time of observing
	selector *watch.Selector
	losses   *watch.Losses // nil: losses are not traced
	seen     readings

	unaccepted *watch.Unaccepted // nil behind a Service

	problems []string // reasons why the trial is invalid
}

// readings holds the measurements that are taken before, during and after the drive.
type readings struct {
	before, after kernel.Counters
	resetsSent    int64 // RSTs, counted while kernel events were recorded
	// atStart and atEnd are the scheduler statistics of each worker's process, including parked
	// processes, before and after the load.
	atStart, atEnd    map[*servers.Worker]kernel.Sched
	loadCPU, proxyCPU time.Duration
	loadDriveCPU      time.Duration // the part of loadCPU used while attempts were under way
	sampleFlushes     int64         // number of times that samples did not fit in memory
	memory            results.Memory
	threads           *results.Threads // of the harness; nil: unknown
	relayAtStart      *kernel.Sched    // nil: unknown
	relay             *results.Relay   // nil: there was no relay, or it failed
	identities        []load.Identities
}

// problem adds a reason why the trial is invalid.
func (s *stage) problem(format string, args ...any) {
	s.problems = append(s.problems, oneLine(fmt.Sprintf(format, args...)))
}

// oneLine replaces the line breaks in a text. A reason must be a single line, but joined errors,
// and errors that quote the output of a server, have several.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, ":\n\t", ": "), "\n", "; ")
}

// setUp makes the lab. In the lab it starts the first generation of workers or the third-party
// server, parks processes for the workers that steps will start, and starts the load processes.
func setUp(
	ctx context.Context, p *plan.Plan, v *plan.Variant, o Options, c *cleanup,
) (*stage, error) {
	s := &stage{
		plan: p, variant: v, load: v.LoadOf(p.Seed, o.Block), servers: v.ServersOf(p.Seed, o.Block),
		types: o.KernelTypes, sysctls: map[string]string{},
	}
	if v.Command != nil {
		s.third = &thirdParties{}
	}
	if v.Cluster != nil && v.Cluster.Control == vocabulary.ControlReal {
		s.servers.TermMode = cmp.Or(v.Stop, vocabulary.StopClose)
	}
	for _, step := range []func() error{
		func() (err error) { s.clock, err = clock.New(); return err },
		func() error { return s.findKubernetes(ctx, o) },
		func() error { return s.makeLab(ctx, o.Roles, c) },
		func() error { return s.startRelay(ctx, o.Roles, c) },
		func() error { return s.openBook(o.KeepFacts) },
		func() error { return s.startWitness(c) },
		func() error { return s.makeCluster(ctx, o.Roles, c) },
		func() error { return s.makeGroup(o.Roles, c) },
		func() error { return s.watchSelector(c) },
		func() error { return s.startWorkers(ctx) },
		func() error { return s.startCommand(ctx, o.Roles, c) },
		func() error { return s.park() },
		func() error { return s.addFaults(c) },
		func() error { return s.startProxy(ctx, c) },
		func() error { return s.startLoad(ctx, o.Roles, c) },
		func() error { return s.group.AwaitParked(ctx) },
		func() error { return s.confine() },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// findKubernetes finds the real Kubernetes of the run, if the variant is to use it.
func (s *stage) findKubernetes(ctx context.Context, o Options) (err error) {
	if s.variant.Cluster == nil || s.variant.Cluster.Control != vocabulary.ControlReal {
		return nil
	}
	if s.kubernetes, err = o.Kubernetes(ctx, s.variant.Cluster.NodeLag); err != nil {
		return err
	}
	sources := s.kubernetes.Sources()
	for i := range s.load {
		s.load[i].Sources = sources
	}
	return nil
}

// makeLab makes the lab of the trial. A real Kubernetes has its own lab, which outlives the trial.
func (s *stage) makeLab(ctx context.Context, roles Roles, c *cleanup) (err error) {
	if s.kubernetes != nil {
		s.lab = s.kubernetes.Lab()
	} else {
		s.lab, err = netlab.New(ctx, netlab.Options{
			Init: roles.Init, Network: s.variant.Network, ReceiveCPUs: s.plan.CPUs.Servers,
			Delay: s.variant.RoundTrip.Delay(),
		})
		if err != nil {
			return err
		}
		c.add(s.lab.Close)
	}
	for _, set := range s.variant.Sysctls {
		if err := setEverywhere(s.lab, set); err != nil {
			return err
		}
		if s.sysctls[set.Name], err = s.lab.Sysctl(s.lab.Servers(), set.Name); err != nil {
			return err
		}
	}
	return s.recordSysctls()
}

// recordSysctls reads the sysctls that every run records.
func (s *stage) recordSysctls() error {
	for _, name := range recordedSysctls {
		value, err := s.lab.Sysctl(s.lab.Servers(), name)
		if err != nil {
			value = "absent" // on an older kernel
		}
		s.sysctls[name] = value
	}
	return nil
}

// setEverywhere sets a sysctl on all hosts of the lab.
func setEverywhere(lab *netlab.Lab, set plan.Sysctl) error {
	for _, h := range lab.Hosts() {
		if err := lab.SetSysctl(h, set.Name, set.Value); err != nil {
			return err
		}
	}
	return nil
}

// openBook opens the book, which joins the load's samples with the workers' journals.
func (s *stage) openBook(keep bool) (err error) {
	first := s.load[0]
	l := ledger.Load{
		Shape: first.Shape, Timeout: first.Timeout, Processes: len(s.load), Sources: first.Sources,
		Ports: first.Ports, Tries: first.Retry.Tries(), Kept: uint64(first.Keep.Count),
		Reuses: first.Connections == vocabulary.ConnectionsReused ||
			first.Connections == vocabulary.ConnectionsMixed,
		Proxied: s.variant.HAProxy != nil, RoundTrip: s.variant.RoundTrip.Whole(),
		Foreign: s.variant.Command != nil,
	}
	if s.variant.Cluster != nil {
		nodes := netlab.AddressesOfCluster().Nodes
		l.Kubelets = nodes[:]
		if s.kubernetes != nil {
			l.Kubelets = append(l.Kubelets, s.kubernetes.Gateways()...)
		}
	}
	if s.book, err = ledger.NewBook(l); err == nil && keep {
		s.book.Keep()
	}
	return err
}

func (s *stage) makeCluster(ctx context.Context, roles Roles, c *cleanup) (err error) {
	if s.variant.Cluster == nil {
		return nil
	}
	o := cluster.Options{
		Lab: s.lab, Clock: s.clock, Plan: s.variant.Cluster, Seed: s.servers.Seed,
		CPUs: s.plan.CPUs.Servers, Sysctls: s.variant.Sysctls,
		// A third-party server gets its own signal in any way but StopKill.
		Stop:    cmp.Or(s.variant.Stop, vocabulary.StopClose),
		Command: s.variant.Command,
	}
	role := roles.Worker
	if s.third != nil {
		role = roles.Agent
	}
	if s.third != nil && s.third.witness != nil {
		o.Watch = s.third.witness.Watch
	}
	if s.kubernetes != nil {
		args := role().Args[1:]
		if s.variant.Cluster.OnePod() {
			args = []string{roles.Hold}
		}
		s.cluster, err = cluster.NewReal(ctx, o, s.kubernetes, args)
	} else {
		s.cluster, err = cluster.New(ctx, o)
	}
	c.add(s.cluster.Close)
	return err
}

func (s *stage) makeGroup(roles Roles, c *cleanup) (err error) {
	env := servers.Env{
		Command:  roles.Worker,
		Start:    s.startWorker,
		Do:       s.onServers,
		HalfOpen: s.halfOpen,
		Account:  func(w *servers.Worker, r journal.Record) { s.book.Record(w.ID, r) },
		Clock:    s.clock,
	}
	if s.cluster != nil {
		env.Place = s.cluster.Place
		if s.third != nil {
			env.ThirdParty = func(w *servers.Worker) (servers.ThirdParty, error) {
				return s.newPodServer(roles, w)
			}
		}
	}
	if s.group, err = servers.NewGroup(s.servers, env); err != nil {
		return err
	}
	c.add(s.group.Close)
	if s.cluster != nil {
		s.cluster.Serve(s.group)
	}
	if s.kubernetes != nil { // before the group is closed
		c.add(func() error { s.cluster.EndAdoption(); return nil })
	}
	if s.variant.Stop == vocabulary.StopBPFDrain {
		if s.handshakes, err = kernel.NewHalfOpenReader(s.types); err != nil {
			return err
		}
		c.add(s.handshakes.Close)
	}
	return nil
}

// onServers runs f in the servers' network namespace.
func (s *stage) onServers(f func() error) error { return s.lab.Do(s.lab.Servers(), f) }

// halfOpen returns the number of half-open connections of each listener on the servers' host.
func (s *stage) halfOpen() (open map[uint64]int, err error) {
	err = s.onServers(func() error {
		open, err = s.handshakes.Read()
		return err
	})
	return open, err
}

// startWorker starts a worker on cpus or, if cpus is empty, on all of the servers' CPUs. Before the
// load begins, it starts loop workers on all CPUs of the machine, because nothing else uses them
// yet. If the servers have only one CPU, this halves the time until hundreds of workers are ready.
// It always starts net/http workers on the servers' CPUs, because Go sets GOMAXPROCS to the number
// of CPUs that a process may use when it starts.
func (s *stage) startWorker(c *exec.Cmd, cpus []int) error {
	all := s.plan.CPUs.Servers
	if !s.confined && s.servers.Kind == vocabulary.ServerLoop {
		all = s.plan.Machine.CPUs
	}
	return s.lab.Starter(s.lab.Servers(), all)(c, cpus)
}

func (s *stage) watchSelector(c *cleanup) (err error) {
	if s.selector, err = watch.StartSelector(s.group.Selector()); err != nil {
		return err
	}
	c.add(func() error { s.selector.Stop(); return nil })
	return nil
}

// startWorkers starts the first generation, and waits until clients can reach it. It does nothing
// with a third-party server that is not in pods.
func (s *stage) startWorkers(ctx context.Context) error {
	if s.third != nil && s.cluster == nil {
		return nil
	}
	began := s.clock.Now()
	first, err := s.startFirst(ctx)
	if err != nil {
		return err
	}
	s.startTime = first.Ready.Sub(began)
	if s.cluster != nil {
		if err := s.cluster.Register(ctx, first.Workers); err != nil {
			return err
		}
		if err := s.cluster.AwaitRules(ctx, first.Workers); err != nil {
			return err
		}
	}
	s.timeline = &timeline{
		variant: s.variant, group: s.group, cluster: s.cluster, clock: s.clock,
		meter: &s.meter, current: first,
	}
	if s.third != nil {
		s.third.usedBefore, err = s.third.cpu()
	}
	return err
}

// startFirst starts the first generation.
func (s *stage) startFirst(ctx context.Context) (*servers.Generation, error) {
	if s.kubernetes == nil {
		return s.group.StartGeneration(ctx)
	}
	if s.variant.Cluster.OnePod() {
		if err := s.cluster.DeployPod(ctx); err != nil {
			return nil, err
		}
		return s.group.StartGeneration(ctx)
	}
	first := s.group.NextGeneration()
	return first, s.cluster.Deploy(ctx, first, s.servers.Workers)
}

// park parks processes for the workers that steps will start, if the variant asks for parked
// processes.
func (s *stage) park() error {
	if s.variant.Start != vocabulary.StartParked || s.third != nil {
		return nil
	}
	s.timeline.parking = &parking{
		group: s.group, limit: max(maxParked, s.servers.Workers), next: s.variant.Starts(),
	}
	return s.timeline.parking.fill()
}

// confine moves loop workers and parked processes, which may have started on any CPU, to the
// servers' CPUs.
func (s *stage) confine() error {
	s.confined = true
	if s.servers.Kind != vocabulary.ServerLoop {
		return nil
	}
	for _, w := range append(s.group.Workers(), s.group.Parked()...) {
		if len(s.servers.Pin) > 0 && !w.Acceptor || w.BindError() != 0 {
			continue // the worker has a CPU of its own, or has exited
		}
		if err := kernel.SetAffinity(w.PID(), s.plan.CPUs.Servers); err != nil {
			return fmt.Errorf("process %d of a worker: %w", w.PID(), err)
		}
	}
	return nil
}

// addFaults adds the variant's faults to the lab.
func (s *stage) addFaults(c *cleanup) error {
	f, target := s.variant.Fault, s.load[0].Target
	if f.HalfOpen > 0 {
		s.timeline.holder = &holder{lab: s.lab, target: target, n: f.HalfOpen}
		c.add(s.timeline.holder.finish)
	}
	drop := func(add func(netip.AddrPort, int) (*netlab.Filter, error), n int) error {
		if n == 0 {
			return nil
		}
		filter, err := add(target, n)
		if err != nil {
			return err
		}
		c.add(filter.Release)
		return nil
	}
	if err := drop(s.lab.DropSYNs, f.DroppedSYNs); err != nil {
		return err
	}
	return drop(s.lab.RejectSYNs, f.RejectedSYNs)
}

func (s *stage) startLoad(ctx context.Context, roles Roles, c *cleanup) error {
	c.add(s.killLoad)
	for _, cfg := range s.load {
		start := func(c *exec.Cmd) error {
			return s.lab.Start(s.lab.Clients(), c, s.plan.CPUs.Load)
		}
		p, err := load.Start(ctx, cfg, roles.Load, start)
		if err != nil {
			return err
		}
		s.loads = append(s.loads, p)
	}
	return nil
}

package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// Roles make the commands of the three child roles, each running this program's binary.
type Roles struct {
	Init, Worker, Load func() *exec.Cmd
}

// lead is the time from the last preparation to the first attempt.
const lead = 20 * time.Millisecond

// recordedSysctls are read back in the lab, beside those that were set.
var recordedSysctls = []string{
	"net.ipv4.tcp_syncookies", "net.ipv4.tcp_abort_on_overflow", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_synack_retries",
	"net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_tw_reuse", "net.core.rps_default_mask",
}

// A trialRun is one trial under way: the lab, the processes in it, and what is known so far.
type trialRun struct {
	plan    *Plan
	variant *VariantPlan
	load    []load.Config
	servers servers.Config
	roles   Roles
	clock   *clock.Clock

	lab   *netlab.Lab
	group *servers.Group
	loads []*load.Process
	books *books
	line  *timeline

	before, after kernel.Counters
	sysctls       map[string]string
	loadCPU       time.Duration
	environment   machineUse
	memory        results.Memory
	startTime     time.Duration // of the first generation
	queues        queueUse
	selections    selections
	// atBegin and atEnd are what the scheduler had done with each worker when the load began and when it had ended; by ID.
	atBegin, atEnd map[int]kernel.Sched
	listener       uint64                 // the inode of a shared socket, or 0
	handshakes     *kernel.HalfOpenReader // nil where nobody asks
	losses         lossWatch
	filter         *netlab.Filter // of a fault, or nil
	resetsSent     int64          // as the kernel counts, for as long as the trace listened
	cluster        *cluster       // nil without a Service
	translations   map[netip.AddrPort]netip.Addr
	proxy          *haproxy.Process // nil without one
	proxyCPU       time.Duration
	problems       []string     // that make the trial invalid
	facts          *factsKeeper // nil unless facts are kept
}

// runTrial carries out one trial in a lab of its own, which is gone when it returns. An error means
// that nothing was measured; a trial that was measured badly is returned as invalid. Its facts go to
// keep; nil: they are not kept.
func runTrial(
	ctx context.Context, p *Plan, v *VariantPlan, block int, roles Roles, keep func(*factsKeeper),
) (_ *results.Trial, sysctls map[string]string, err error) {
	t := &trialRun{plan: p, variant: v, load: v.loadOf(p.Seed, block), servers: v.serversOf(p.Seed, block), roles: roles, sysctls: map[string]string{}}
	if keep != nil {
		t.facts = &factsKeeper{}
	}
	if t.clock, err = clock.New(); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.prepare(ctx); err != nil {
		return nil, nil, err
	}
	if err := t.drive(ctx); err != nil {
		return nil, nil, err
	}
	trial := t.result()
	if keep != nil {
		keep(t.facts)
	}
	return trial, t.sysctls, nil
}

// prepare makes the lab and starts the first generation and the load processes.
func (t *trialRun) prepare(ctx context.Context) (err error) {
	if t.lab, err = netlab.New(ctx, netlab.Options{
		Init: t.roles.Init, Network: netlab.Network(t.variant.Setup.Network), ReceiveCPUs: t.plan.ServerCPUs,
	}); err != nil {
		return err
	}
	host := t.lab.Servers()
	for _, s := range t.variant.Sysctls {
		for _, h := range t.lab.Hosts() {
			if err := t.lab.SetSysctl(h, s.Name, s.Value); err != nil {
				return err
			}
		}
		if t.sysctls[s.Name], err = t.lab.Sysctl(host, s.Name); err != nil {
			return err
		}
	}
	for _, name := range recordedSysctls {
		value, err := t.lab.Sysctl(host, name)
		if err != nil {
			value = "absent" // on an older kernel
		}
		t.sysctls[name] = value
	}
	if t.books, err = newBooks(t.load); err != nil {
		return err
	}
	t.books.proxied = t.variant.Setup.Path == pathHAProxy
	var place func(context.Context, *servers.Worker) (servers.Placement, error)
	if t.variant.Setup.InPods() {
		nodes := netlab.AddressesOfCluster().Nodes
		t.books.kubelets = nodes[:]
		if t.cluster, err = newCluster(ctx, t); err != nil {
			return err
		}
		place = t.cluster.place
	}
	t.group, err = servers.NewGroup(t.servers, servers.Env{
		Place:    place,
		Command:  t.roles.Worker,
		Start:    func(c *exec.Cmd, cpus []int) error { return t.startWorker(c, cpus) },
		Do:       func(f func() error) error { return t.lab.Do(host, f) },
		HalfOpen: t.halfOpen,
		Account:  t.facts.recording(t.books.record),
		Clock:    t.clock,
	})
	if err != nil {
		return err
	}
	if t.cluster != nil {
		t.cluster.group = t.group
	}
	if t.variant.Setup.Stop == string(servers.BPFDrain) {
		if t.handshakes, err = kernel.NewHalfOpenReader(); err != nil {
			return err
		}
	}
	t.listener = t.group.Listener()
	if err := t.selections.start(t.group.Selector()); err != nil {
		return err
	}
	began := t.clock.Now()
	first, err := t.group.StartGeneration(ctx)
	if err != nil {
		return err
	}
	if err := t.confine(); err != nil {
		return err
	}
	t.startTime = first.Ready.Sub(began)
	if err := t.cluster.begin(ctx, first.Workers); err != nil {
		return err
	}
	if t.cluster != nil {
		if err := t.cluster.awaitRules(ctx, first.Workers); err != nil {
			return err
		}
	}
	t.line = &timeline{group: t.group, cluster: t.cluster, stopMode: servers.StopMode(t.variant.Setup.Stop), stalls: t.variant.Setup.Stall, clock: t.clock, current: first}
	if n := t.variant.Setup.Server.Fault.HalfOpen; n > 0 {
		t.line.holder = &holder{lab: t.lab, target: t.load[0].Target, n: n}
	}
	switch f := t.variant.Setup.Server.Fault; {
	case f.DroppedSYNs > 0:
		t.filter, err = t.lab.DropSYNs(t.load[0].Target, f.DroppedSYNs)
	case f.RejectedSYNs > 0:
		t.filter, err = t.lab.RejectSYNs(t.load[0].Target, f.RejectedSYNs)
	}
	if err != nil {
		return err
	}
	if t.books.proxied {
		if err := t.startProxy(ctx); err != nil {
			return err
		}
	}
	for _, cfg := range t.load {
		start := func(c *exec.Cmd) error { return t.lab.Start(t.lab.Clients(), c, t.plan.LoadCPUs) }
		p, err := load.Start(ctx, cfg, t.roles.Load, start)
		if err != nil {
			return err
		}
		t.loads = append(t.loads, p)
	}
	return nil
}

// halfOpen is how many handshakes are under way at each listener on the servers' host.
func (t *trialRun) halfOpen() (open map[uint64]int, err error) {
	err = t.lab.Do(t.lab.Servers(), func() error {
		open, err = t.handshakes.Read()
		return err
	})
	return open, err
}

// startWorker starts a worker on the CPUs that are its own or on all of the servers'. The first generation starts on
// every CPU, since nothing else runs yet: with one CPU for the servers, hundreds of workers are ready in half the time.
// Not net/http's, which make as many Ps as they have CPUs when they start.
func (t *trialRun) startWorker(c *exec.Cmd, cpus []int) error {
	all := t.plan.ServerCPUs
	if t.line == nil && t.servers.Kind == servers.Loop {
		all = t.plan.Machine.CPUs
	}
	return starter(t.lab, t.lab.Servers(), all)(c, cpus)
}

// confine moves workers that started anywhere to the servers' CPUs.
func (t *trialRun) confine() error {
	if t.servers.Kind != servers.Loop {
		return nil
	}
	for _, w := range t.group.Workers() {
		if len(t.servers.Pin) > 0 && !w.Acceptor || w.BindError() != 0 {
			continue // it has its CPU, or needs none any more
		}
		if err := kernel.SetAffinity(w.PID(), t.plan.ServerCPUs); err != nil {
			return fmt.Errorf("worker %d: %w", w.ID, err)
		}
	}
	return nil
}

// starter starts workers on a host of the lab, on the given CPUs where they are not to be on one of their own.
func starter(lab *netlab.Lab, host *netlab.Host, all []int) func(*exec.Cmd, []int) error {
	return func(c *exec.Cmd, cpus []int) error {
		if len(cpus) == 0 {
			cpus = all
		}
		return lab.Start(host, c, cpus)
	}
}

// drive runs load and timeline beside each other, then lets the servers finish.
func (t *trialRun) drive(ctx context.Context) (err error) {
	switch {
	case t.cluster != nil:
		t.losses.result = &results.Trace{Unavailable: "behind a Service workers are in networks of their own, which come and go"}
	case t.variant.Setup.Trace == traceOn:
		if err := t.losses.start(t.lab, t.load[0].Target); err != nil {
			return err
		}
	}
	if t.before, err = t.counters(); err != nil {
		return err
	}
	t.environment = machineUse{clock: t.clock, load: t.plan.LoadCPUs, serve: t.plan.ServerCPUs, workers: t.group.Workers}
	if t.proxy != nil {
		t.environment.mate = t.proxy.PID()
	}
	for _, p := range t.loads {
		t.environment.loadPIDs = append(t.environment.loadPIDs, p.PID())
	}
	if err := t.environment.start(); err != nil {
		return err
	}
	t.atBegin = t.scheds()
	t.queues = queueUse{clock: t.clock, counters: t.counters}
	t.queues.start(func(f func() error) error { return t.lab.Do(t.lab.Servers(), f) }, t.servers.Address.Addr().Is6(), t.variant.Setup.Load.Duration)
	begin := t.clock.Now().Add(lead)
	t.books.start(begin)
	for _, p := range t.loads {
		if err := p.Begin(begin); err != nil {
			return err
		}
	}
	interrupted := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A load process ends by itself; if it does not, the trial is over all the same.
	limit := time.AfterFunc(t.variant.Setup.Load.Duration+t.variant.Setup.Load.Timeout+10*time.Second, func() {
		cancel(errors.New("the load did not end in time"))
	})
	defer limit.Stop()

	steps := make(chan error, 1)
	go func() { steps <- t.line.run(ctx, begin, t.variant.Setup.Load.Duration, t.variant.Firings) }()
	loadErr := t.consume(ctx)
	limit.Stop()
	if loadErr != nil {
		cancel(loadErr)
	}
	if err := <-steps; err != nil && loadErr == nil {
		t.problem("%v", err)
	}
	if loadErr != nil {
		return loadErr
	}
	if interrupted.Err() != nil { // while a step was still under way: what it would have cost is not known
		return context.Cause(interrupted)
	}
	t.environment.end()
	t.queues.end()
	if t.after, err = t.counters(); err != nil {
		return err
	}
	if t.cluster != nil {
		if t.translations, err = t.cluster.translations(); err != nil {
			return err
		}
	}
	return t.finish(ctx)
}

// consume reads the samples of every load process until the last, and waits for the processes.
func (t *trialRun) consume(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		for _, p := range t.loads {
			p.Interrupt()
		}
	})
	defer stop()
	errs := make([]error, len(t.loads))
	cpus := make([]time.Duration, len(t.loads))
	var wait sync.WaitGroup
	for i, p := range t.loads {
		wait.Go(func() {
			err := p.Samples(t.facts.sampling(t.books.sample))
			var waitErr error
			cpus[i], waitErr = p.Wait()
			errs[i] = errors.Join(err, waitErr)
		})
	}
	wait.Wait()
	t.loads = nil
	for _, cpu := range cpus {
		t.loadCPU += cpu
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// finish lets the workers take what is still queued, and ends them.
func (t *trialRun) finish(ctx context.Context) error {
	t.measureMemory()
	t.selections.end()
	if err := t.endProxy(); err != nil {
		return err
	}
	t.atEnd = t.scheds()
	if _, _, err := t.group.Stop(ctx, t.line.current.Workers, servers.Drain); err != nil {
		t.problem("at the end: %v", err)
	}
	if err := t.group.Finish(ctx); err != nil {
		t.problem("at the end: %v", err)
	}
	for _, w := range t.group.Workers() {
		if err := w.Err(); err != nil && w.BindError() == 0 {
			t.problem("worker %d (generation %d): %v", w.ID, w.Generation, err)
		}
	}
	if err := t.group.Close(); err != nil {
		return err
	}
	for _, w := range t.group.Workers() {
		if n := w.Missed(); n > 0 {
			t.problem("worker %d: its journal was full: %d records are missing", w.ID, n)
		}
	}
	if err := t.cluster.end(); err != nil {
		t.problem("%v", err)
	}
	t.books.close()
	if err := t.losses.end(); err != nil {
		return err
	}
	// What the workers' last stop did, the trace has heard too.
	last, err := t.counters()
	t.resetsSent = last.Since(t.before)["TcpOutRsts"]
	return err
}

// scheds is what the scheduler did so far with each worker that is there. Whom the kernel does not tell of is left out.
func (t *trialRun) scheds() map[int]kernel.Sched {
	all := map[int]kernel.Sched{}
	for _, w := range t.group.Workers() {
		if _, exited := w.CPU(); exited {
			continue
		}
		if s, err := kernel.Schedstat(w.PID()); err == nil {
			all[w.ID] = s
		}
	}
	return all
}

// measureMemory looks at the last generation while it is still there. What cannot be read stays unknown.
func (t *trialRun) measureMemory() {
	var largest kernel.Memory
	for _, w := range t.line.current.Workers {
		if m, err := kernel.ReadMemory(w.PID()); err == nil {
			largest.Peak, largest.Proportional = max(largest.Peak, m.Peak), max(largest.Proportional, m.Proportional)
		}
	}
	own, err := kernel.ReadPeak(os.Getpid())
	load := int64(0)
	for _, peak := range t.environment.loadPeaks {
		load += peak
	}
	t.memory = results.Memory{
		LoadBytes: known(load > 0, load), HarnessBytes: known(err == nil, own),
		WorkerBytes: known(largest.Peak > 0, largest.Peak), WorkerProportionalBytes: known(largest.Proportional > 0, largest.Proportional),
	}
}

func (t *trialRun) problem(format string, args ...any) {
	// Joined errors come a line each; a reason is one line.
	t.problems = append(t.problems, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; "))
}

// counters are the sums over the lab's hosts and pods.
func (t *trialRun) counters() (kernel.Counters, error) {
	sum, err := t.cluster.counters()
	if err != nil {
		return nil, err
	}
	for _, h := range t.lab.Hosts() {
		c, err := readCounters(t.lab, h)
		if err != nil {
			return nil, err
		}
		sum.Add(c)
	}
	return sum, nil
}

func readCounters(lab *netlab.Lab, h *netlab.Host) (c kernel.Counters, err error) {
	err = lab.Do(h, func() error {
		c, err = kernel.ReadCounters("/proc/thread-self/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", h.Name, err)
	}
	return c, nil
}

// close ends whatever is still there. It is safe at any point of a trial.
func (t *trialRun) close() error {
	t.environment.end()
	t.queues.end()
	t.selections.end()
	errs := []error{t.losses.end()}
	for _, p := range t.loads {
		errs = append(errs, p.Kill())
	}
	if t.group != nil {
		errs = append(errs, t.group.Close())
	}
	errs = append(errs, t.cluster.end())
	if t.proxy != nil {
		errs = append(errs, t.proxy.Close())
	}
	if t.filter != nil {
		errs = append(errs, t.filter.Release())
	}
	if t.line != nil {
		errs = append(errs, t.line.holder.settle())
	}
	if t.handshakes != nil {
		errs = append(errs, t.handshakes.Close())
	}
	if t.lab != nil {
		errs = append(errs, t.lab.Close())
	}
	return errors.Join(errs...)
}

// closings are the ends of the workers' listeners. A shared socket outlives every worker, and so
// does its queue; what waits in the channel of an acceptor goes with its worker.
func (t *trialRun) closings() []closing {
	var all []closing
	for _, w := range t.group.Workers() {
		if c := w.Closing(); c.Mode != "" && w.BindError() == 0 {
			all = append(all, closing{
				worker: w.ID, from: t.books.since(int64(c.From)), to: t.books.since(int64(c.To)),
				queue: t.takesQueue(w), killed: c.Mode == servers.Kill,
			})
		}
	}
	slices.SortFunc(all, func(a, b closing) int { return cmp.Compare(a.from, b.from) })
	return all
}

// kernelView is nil where the kernel was not asked.
func (t *trialRun) kernelView(j *judge) *kernelView {
	if t.losses.events == nil {
		return nil
	}
	k := &kernelView{watch: &t.losses, books: t.books, closings: j.closings, workers: map[int]int{}}
	for _, w := range t.group.Workers() {
		k.workers[w.PID()] = w.ID
	}
	return k
}

// traceResult is nil where the kernel was not to be asked.
func (t *trialRun) traceResult(m *measured) *results.Trace {
	r := t.losses.result
	if r == nil {
		return nil
	}
	if r.Unavailable == "" && !t.books.proxied {
		r.Unheard = max(0, t.resetsSent-r.Resets)
	}
	for pair, n := range m.agreed {
		r.Agreement = append(r.Agreement, results.Agreement{Inferred: pair[0], Traced: pair[1], Attempts: n})
	}
	slices.SortFunc(r.Agreement, func(a, b results.Agreement) int {
		return cmp.Or(cmp.Compare(a.Inferred, b.Inferred), cmp.Compare(a.Traced, b.Traced))
	})
	return r
}

// takesQueue says that the queue of a worker's listener went with the worker: nobody else had the socket when it was closed.
func (t *trialRun) takesQueue(w *servers.Worker) bool {
	cfg := t.variant.Servers
	switch {
	case cfg.Accept == servers.ByAcceptor:
		return true // its channel's
	case cfg.Handover == servers.SocketActivation, cfg.Sockets == servers.Shared && cfg.Handover == servers.NoHandover:
		return false // the harness holds the sockets for good
	case cfg.Handover == servers.NoHandover:
		return true
	}
	at := w.Closing().To
	for _, other := range t.group.Workers() {
		same := cfg.Sockets == servers.Shared || other.Listener() == w.Listener()
		if c := other.Closing(); other != w && same && other.ReadyAt() != 0 && other.ReadyAt() < at && (c.Mode == "" || c.To > at) {
			return false
		}
	}
	return true
}

// result turns the closed books into a trial with its verdict.
func (t *trialRun) result() *results.Trial {
	moved := t.after.Since(t.before)
	j := &judge{closings: t.closings(), overflows: moved["TcpExtListenOverflows"], proxied: t.books.proxied, held: t.books.held(t.line.fired)}
	if t.cluster != nil {
		j.routes = t.cluster.routes(t.books, t.translations)
	}
	m := measure(t.books, j, t.kernelView(j), int64(t.variant.Setup.Load.Duration), t.line.fired)
	r := &results.Trial{
		LostByCause: map[string]int64{}, LostByPhase: map[string]int64{},
		Attempts:         int64(len(t.books.attempts)),
		Residual:         t.books.strays,
		OfferedPerSecond: float64(len(t.books.attempts)) / t.variant.Setup.Load.Duration.Seconds(),
		TimeoutNS:        int64(t.variant.Setup.Load.Timeout),
		ResponseNS:       m.response.Percentiles(), ServiceNS: m.service.Percentiles(), Histogram: m.response.Encode(),
		Workers: m.workers(t.group.Workers(), t.atBegin, t.atEnd),
		Kernel:  nonZero(moved),
		Ledger:  m.ledger(),
	}
	r.AchievedPerSecond = m.achieved()
	if lag := m.lag.Percentiles(); lag != nil {
		r.ScheduleLagP99NS = lag.P99
	}
	for i, v := range m.verdicts {
		if !v.explained {
			r.Residual++
		}
		if v.cause == "" {
			continue
		}
		r.Lost++
		r.LostByCause[v.cause]++
		r.LostByPhase[t.books.attempts[i].phase.String()]++
		count(&r.Evidence, v.evidence)
	}
	r.Served = r.Attempts - r.Lost
	r.Dropped = r.Lost - r.LostByCause[cause.Client]
	neverSent := m.neverSent()
	r.NeverSent, r.LocalErrors = &neverSent, t.books.localErrors
	r.LostSentAfterClose = m.sentAfterClose()
	if n, ok := moved["TcpExtTCPSynRetrans"]; ok {
		r.SYNRetransmits = &n
	}
	for k := range t.line.fired {
		step := m.step(k)
		from, to := m.window(k)
		t.cluster.instants(t.books, j.routes, t.line.fired[k], from, to, &step)
		t.environment.step(&step, t.books.begin.Add(time.Duration(from)), t.books.begin.Add(time.Duration(to)))
		r.Steps = append(r.Steps, step)
	}
	r.Losses, r.LossesOmitted = m.listed()
	r.StepsLate = t.line.late
	r.Retries = t.books.retries()
	r.Trace = t.traceResult(m)
	r.Target = t.load[0].Target.String()
	if t.cluster != nil {
		r.ControlPlane = controlPlaneEmbedded
	} else if !t.books.proxied {
		r.Equalities = m.equalities(moved, t.resetsSent, r)
	}
	r.Fairness = t.fairness(r.Workers)
	r.Queues = t.queueResult(r.Workers)
	if r.Series = t.queues.series(t.listener, t.group.Workers(), t.before); r.Series != nil {
		r.Series.FromNS = t.books.since(int64(t.queues.began))
		r.Series.Lost = m.lostOverTime(r.Series)
	}
	r.CPU = t.cpu(r.Workers)
	r.Occupancy, r.Selector = t.occupancy(r), t.selections.result
	r.Memory, r.StartNS = t.memory, int64(t.startTime)
	r.InvalidReasons = append(t.problems, judgeValidity(t.variant.Setup, len(t.plan.ServerCPUs), r)...)
	r.Valid = len(r.InvalidReasons) == 0
	t.facts.judged(t, m, r)
	return r
}

func count(e *results.Evidence, kind evidence) {
	switch kind {
	case evidenceKernel:
		e.Kernel++
	case evidenceCounter:
		e.Counter++
	case evidenceWorker:
		e.Worker++
	case evidenceClient:
		e.Client++
	}
}

// nonZero leaves out the hundreds of counters that did not move; the ones that matter stay, for
// there a 0 says something.
func nonZero(moved kernel.Counters) map[string]int64 {
	out := map[string]int64{}
	for name, v := range moved {
		if v != 0 || slices.Contains(shownCounters, name) {
			out[name] = v
		}
	}
	return out
}

var shownCounters = []string{
	"TcpActiveOpens", "TcpPassiveOpens", "TcpOutRsts", "TcpEstabResets", "TcpAttemptFails", "TcpExtListenOverflows", "TcpExtListenDrops",
	"TcpExtTCPMigrateReqSuccess", "TcpExtTCPMigrateReqFailure", "TcpExtTCPTimeWaitOverflow", "TcpExtTCPAbortOnClose", "TcpExtTCPSynRetrans",
}

// fairness is that of the generation that listened longest.
func (t *trialRun) fairness(workers []results.Worker) *results.Fairness {
	longest, generation := time.Duration(-1), 0
	for _, w := range t.group.Workers() {
		if life := w.Closing().To.Sub(w.ReadyAt()); life > longest && !w.Acceptor && w.BindError() == 0 {
			longest, generation = life, w.Generation
		}
	}
	var counts []int64
	var overTime [][]int64
	for _, w := range workers {
		if w.Generation == generation && !w.Acceptor && w.BindError == "" {
			counts = append(counts, w.Accepted)
			overTime = append(overTime, t.books.acceptedOverTime(w.ID))
		}
	}
	f := results.FairnessOf(generation, counts)
	if f != nil {
		f.AddWindows(overTime)
	}
	return f
}

// queueResult is the accept queues as they were seen; each worker's longest goes to the worker too.
func (t *trialRun) queueResult(workers []results.Worker) *results.Queues {
	q := t.queues.result(t.listener, t.group.Workers())
	if q == nil {
		return nil
	}
	for _, l := range q.Listeners {
		for i := range workers {
			if l.Worker != nil && workers[i].ID == *l.Worker {
				workers[i].QueueMax = &l.Max
			}
		}
	}
	return q
}

func (t *trialRun) cpu(workers []results.Worker) results.CPU {
	load, servers := int64(t.loadCPU), int64(0)
	for _, w := range workers {
		if w.CPUNS != nil {
			servers += *w.CPUNS
		}
	}
	use := results.CPU{LoadNS: &load, ServersNS: &servers}
	if t.proxy != nil {
		proxy := int64(t.proxyCPU)
		use.ProxyNS = &proxy
	}
	t.environment.trial(&use)
	return use
}

package plan

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// A Variant is a variant of a scenario, fully resolved: it has the configuration of each process
// and of each step.
type Variant struct {
	Labels scenarios.Labels
	// Skipped is the reason why the variant cannot run on this machine, or "" if it can.
	Skipped string

	Network vocabulary.Network
	Family  vocabulary.Family
	Path    vocabulary.Path // the way in which clients reach the workers
	Servers servers.Config
	Start   vocabulary.Start    // the way in which steps start a worker; "" if no step starts one
	Stop    vocabulary.StopMode // the way in which steps stop a worker
	Stall   vocabulary.Stall    // the way in which steps stall a worker
	Steps   []PlannedStep       // the steps due before the load ends, in order
	Sysctls []Sysctl            // sysctls to set in the lab before anything listens
	Trace   bool                // whether the kernel's resets and drops are traced
	// SampleQueues reports whether the lengths of accept queues are sampled while the load runs.
	SampleQueues bool
	Fault        Fault
	HAProxy      *HAProxy   // nil if the load does not go through HAProxy
	Cluster      *Cluster   // nil if the workers are not in pods
	Command      *Command   // nil if the servers are workers of this program
	RoundTrip    *RoundTrip // nil if the lab adds no round trip

	Duration time.Duration // the duration of the load
	Timeout  time.Duration // the timeout of an attempt
	// Load configures the load processes. It is nil if the rate must be measured first; see At.
	Load []load.Config
	// OfCapacity is the rate as a share of the servers' capacity. It is 0 if the rate is given or
	// searched for, and in a closed loop.
	OfCapacity float64
	Search     *Search // nil if nothing is searched for

	Validity scenarios.Validity

	setup    scenarios.Setup
	machine  Machine
	timeline []PlannedStep
	dir      string
}

// A Sysctl is a setting of the lab's network namespaces.
type Sysctl struct{ Name, Value string }

// A PlannedStep is one occurrence of a step of the timeline.
type PlannedStep struct {
	At time.Duration // time since the first scheduled attempt
	scenarios.Step
}

// Fault holds the faults of known size that the lab adds. The faults that workers and load
// processes make themselves are in their configurations.
type Fault struct {
	HalfOpen     int // number of handshakes kept half-open at each step that stops workers
	DroppedSYNs  int // number of the trial's first connections whose SYN is dropped
	RejectedSYNs int // number of the trial's first connections whose SYN is answered with a RST
	TimeWait     int // maximum number of connections in TIME_WAIT; 0 means enough for any trial
}

// HAProxy configures HAProxy.
type HAProxy struct {
	Checks     vocabulary.HealthChecks
	Redispatch bool
}

// Search configures a search: for the highest rate at which nothing is dropped and the 99th
// percentile of response time stays within P99 or, if Setting is set, for the value of the setting
// nearest to From with which nothing is dropped.
type Search struct {
	P99 time.Duration // 0 means no limit
	// Precision ends the search when the lowest rate that failed is at most this share above the
	// highest rate that passed. For a setting, it is a share of the distance from From to To.
	Precision float64

	Setting  string
	From, To float64 // the ends of the search; nanoseconds for a duration
	Times    bool    // the setting is a duration
	Step     float64 // the difference between two neighbouring values; 0 means none
}

// newSearch returns the search of a setup, or nil if it has none.
func newSearch(of scenarios.Setup) *Search {
	s := of.Search
	p := &Search{P99: s.P99, Precision: cmp.Or(s.Precision, defaultPrecision)}
	switch {
	case s.OfSetting():
		p.Setting, p.Times, p.Step = s.Setting, s.Times(), of.SearchStep()
		p.From, p.To = s.Ends()
	case !s.OfRate():
		return nil
	}
	return p
}

// Resolution is the distance between the last value that failed and the value that is found.
func (s *Search) Resolution() float64 { return max(s.Step, s.Precision*math.Abs(s.To-s.From)) }

// Round returns the value nearest to x that the setting can have and that has few digits.
func (s *Search) Round(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(s.Resolution()/2)))
	if s.Step > 0 {
		unit = s.Step * max(1, math.Round(unit/s.Step))
	}
	return math.Round(x/unit) * unit
}

// Kind says which value of the setting is searched for: the least or the greatest.
func (s *Search) Kind() string {
	if s.To < s.From {
		return "greatest"
	}
	return "least"
}

// Text writes a value of the setting.
func (s *Search) Text(x float64) string {
	if s.Times {
		return time.Duration(x).String()
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// defaultPrecision is the default of Search.Precision.
const defaultPrecision = 0.03

// maxWorkers is the largest number of workers, given directly or per CPU.
const maxWorkers = 1024

// maxAttempts is the maximum number of attempts in a trial whose rate must be measured first.
// Package scenarios has the same maximum for trials with a given rate.
const maxAttempts = 10_000_000

// newVariant resolves a variant. timeline is what steps returned for v's scenario and
// step, and dir is the directory of the scenario's file.
func newVariant(
	v scenarios.Variant, timeline []PlannedStep, machine Machine, dir string,
) (*Variant, error) {
	s, search := v.Setup, newSearch(v.Setup)
	if search != nil && search.Setting != "" {
		s.SetNumber(search.Setting, search.To) // what does not depend on a try is as it is there
	}
	serverCPUs := machine.Place().Servers
	if s.WorkersPerCPU > 0 {
		if s.Workers = s.WorkersPerCPU * len(serverCPUs); s.Workers > maxWorkers {
			return nil, fmt.Errorf("workers_per_cpu %d makes %d workers on %d CPUs; at most %d",
				s.WorkersPerCPU, s.Workers, len(serverCPUs), maxWorkers)
		}
	}
	p := &Variant{
		Labels: v.Labels, Skipped: skipped(s, machine),
		Network: s.Network, Family: s.Family, Path: s.Path, Servers: serversConfig(s, serverCPUs),
		Start: s.Server.Start.When, Stop: s.Stop, Stall: s.Stall,
		Steps: before(s.Load.Lasts(), timeline), Sysctls: sysctls(s),
		Trace: s.Trace == vocabulary.On,
		SampleQueues: s.QueueDepth == vocabulary.DepthSampled ||
			s.Path == vocabulary.PathHAProxy || s.ByCommand() && !s.InPods(),
		Fault: Fault{
			HalfOpen: s.Server.Fault.HalfOpen, DroppedSYNs: s.Server.Fault.DroppedSYNs,
			RejectedSYNs: s.Server.Fault.RejectedSYNs, TimeWait: s.Server.Fault.TimeWait,
		},
		Cluster: newCluster(s), RoundTrip: newRoundTrip(s, machine),
		Duration: s.Load.Lasts(), Timeout: s.Load.Timeout, OfCapacity: s.Load.Rate.OfCapacity,
		Search: search, Validity: validity(s),
		setup: s, machine: machine, timeline: timeline, dir: dir,
	}
	if s.Path == vocabulary.PathHAProxy {
		p.HAProxy = &HAProxy{Checks: s.HAProxy.Checks,
			Redispatch: s.HAProxy.Redispatch == vocabulary.On}
	}
	if s.ByCommand() {
		p.Command = newCommand(s, p.Servers.Address, dir)
		if p.Cluster != nil {
			p.Servers.Grace = p.Cluster.Grace
			p.Command.inPods(p.Cluster.Grace)
		}
		if err := p.Command.check(); err != nil {
			return nil, err
		}
	}
	if p.OfCapacity > 0 || s.Search.OfRate() {
		return p, nil
	}
	return p.resolved(loadProcesses(s.Load, machine))
}

// serversConfig returns the configuration of the workers.
func serversConfig(s scenarios.Setup, serverCPUs []int) servers.Config {
	addresses := netlab.AddressesOf(s.Network, s.Family)
	fault, stop, users := s.Server.Fault, s.Stop.Row(), s.Server.Users
	// If rebind, each worker binds a socket of its own, all to the same address.
	rebind := s.Sockets == vocabulary.SocketsReuseport && stop.Handover == vocabulary.NoHandover
	if s.InPods() {
		users, rebind = s.Kube.Users, s.Kube.Placement.Row().SharesNetwork
	}
	cfg := servers.Config{
		Kind:    s.Server.Kind,
		Sockets: s.Sockets,
		Workers: s.Workers,
		Address: netip.AddrPortFrom(addresses.Servers, ServerPort),
		Backlog: s.Server.Backlog, ListenAt: s.Server.Listens(), DeferAccept: s.Server.DeferAccept,
		Users:  users,
		Accept: s.Accept, Selection: s.Selector, Canary: s.Canary,
		Handover:    stop.Handover,
		MayBeTaken:  users != vocabulary.UsersOne && rebind,
		ListedOnly:  stop.Unlists,
		BPFMigrates: s.Stop == vocabulary.StopBPFMigrate,
		Work:        work(s.Server.Work), Cold: s.Server.Cold,
		Startup:     s.Kube.ContainerStart + s.Server.Startup,
		Grace:       s.Server.Grace,
		IdleTimeout: s.Server.IdleTimeout, MaxRequests: s.Server.MaxRequests,
		Fault: servers.Fault{
			ResetFrom: faultFrom, ResetCount: uint64(fault.Resets),
			ResetEvery: uint64(fault.ResetEvery),
		},
	}
	if s.Path == vocabulary.PathHAProxy {
		cfg.Address = netip.AddrPortFrom(addresses.Servers, backendPort)
		cfg.PortPerIndex = s.Sockets == vocabulary.SocketsExclusive
	}
	if s.ByCommand() {
		cfg.Sockets = vocabulary.SocketsServer // the third-party server opens the sockets
	}
	if s.Pin == vocabulary.PinCPU {
		cfg.Pin = serverCPUs
	}
	return cfg
}

// At returns the variant with the given rate, in attempts per second.
func (v *Variant) At(rate float64) (*Variant, error) {
	p := *v
	p.setup.Load.Rate = scenarios.Rate{PerSecond: rate}
	if n := rate * p.Duration.Seconds(); n < 1 || n > maxAttempts {
		return nil, fmt.Errorf("%s/s for %v is %.0f attempts; at least 1 and at most %d: "+
			"change load.duration", unit.Digits(rate, 4), p.Duration, n, maxAttempts)
	}
	return p.resolved(loadProcesses(p.setup.Load, p.machine))
}

// With returns the variant with a value of the setting that is searched for. The value is a number,
// or nanoseconds for a duration.
func (v *Variant) With(value float64) (*Variant, error) {
	setup := v.setup
	setup.Search = scenarios.Search{}
	setup.SetNumber(v.Search.Setting, value)
	at := scenarios.Variant{Labels: v.Labels, Setup: setup}
	return newVariant(at, v.timeline, v.machine, v.dir)
}

// FlatOut returns the variant with a closed loop of enough clients to keep its servers busy. A
// closed loop with several load processes suits only measurements without a ledger; see
// loadProcesses.
func (v *Variant) FlatOut(duration time.Duration) (*Variant, error) {
	busy := *v
	// With this many clients, even a worker that gets less than its share of connections always has
	// one.
	busy.setup.Load.Concurrency = max(64, 16*v.Servers.Workers)
	busy.setup.Load.Pace, busy.setup.Load.Duration = vocabulary.PaceConstant, duration
	busy.Duration = duration
	return busy.resolved(cmp.Or(v.setup.Load.Processes, len(v.machine.Place().Load)))
}

// OnNewConnections returns the variant with a load that opens a connection for each attempt. Its
// Load is nil: call At or FlatOut.
func (v *Variant) OnNewConnections() *Variant {
	p := *v
	p.setup.Load.Connections = scenarios.Connections{How: vocabulary.ConnectionsNew}
	p.Load = nil
	return &p
}

// resolved returns the variant with the configurations of the given number of load processes. If
// there are fewer kept connections than processes, it uses one process per connection, because each
// process needs one.
func (v *Variant) resolved(processes int) (*Variant, error) {
	p := *v
	if n := p.setup.Load.Connections.Count; n > 0 {
		processes = min(processes, n)
	}
	addresses := netlab.AddressesOf(p.Network, p.Family)
	p.Load = loads(p.setup, addresses, processes)
	tries := uint64(p.Load[0].Shape.Expected()) * p.Load[0].Retry.Tries()
	connections := tries + uint64(p.Load[0].Keep.Count)
	if _, err := load.NewSources(addresses.Sources, connections); err != nil {
		return nil, err
	}
	p.Servers.Requests = connections
	return &p, nil
}

// ratePerProcess is the maximum rate of one load process, in attempts per second, if the scenario
// does not set the number of processes. It is about half of what one core can send.
const ratePerProcess = 8000

// loadProcesses returns the number of load processes: the scenario's setting or, without one, the
// number that the highest rate needs. A closed loop has one process, because the ledger needs the
// attempts of a closed loop in the order in which they were sent.
func loadProcesses(l scenarios.LoadSpec, machine Machine) int {
	switch {
	case l.Concurrency > 0:
		return 1
	case l.Processes > 0:
		return l.Processes
	}
	return min(int(math.Ceil(shape(l).Peak()/ratePerProcess)), len(machine.Place().Load))
}

// shape returns the load's schedule.
func shape(l scenarios.LoadSpec) load.Shape {
	s := load.Shape{
		Pace: l.Pace, Rate: l.Rate.PerSecond, From: l.From.PerSecond, Burst: l.Burst,
		Duration: l.Lasts(), Clients: l.Concurrency,
	}
	if len(l.Stages) == 0 {
		return s
	}
	for i, stage := range l.Stages {
		s.Stages = append(s.Stages, load.Stage{
			From: l.StageFrom(i), Rate: stage.Rate.PerSecond, Duration: stage.Duration,
		})
	}
	s.From, s.Rate = 0, s.Expected()/s.Duration.Seconds()
	return s
}

// loads returns the configurations of n load processes.
func loads(s scenarios.Setup, addresses netlab.Addresses, n int) []load.Config {
	keep := load.Keep{
		Count: s.Load.Connections.Count, MaxRequests: s.Load.MaxRequests,
		Lifetime: s.Load.Lifetime, IdleTimeout: s.Load.IdleTimeout,
	}
	var all []load.Config
	for i := range n {
		all = append(all, load.Config{
			Process: i, Processes: n,
			Target: target(s, addresses), Lookup: lookup(s),
			Shape:       shape(s.Load),
			Timeout:     s.Load.Timeout,
			Retry:       retry(s.Load),
			Connections: s.Load.Connections.How,
			Keep:        keep,
			Body:        s.Load.Body,
			AbortFrom:   faultFrom,
			Aborts:      uint64(s.Load.Aborts),
			Ports:       uint64(s.Load.Ports),
			Sources:     addresses.Sources,
			Request:     request(s.Request),
			Identify:    identify(s.Server.Identify),
		})
	}
	return all
}

// defaultBudgetRatio is the token ratio in the example of gRPC proposal A6, on client retries.
const defaultBudgetRatio = 0.1

// retry returns the clients' retry policy.
func retry(l scenarios.LoadSpec) load.Retry {
	if l.Retry.Max == 0 {
		return load.Retry{}
	}
	r := load.Retry{
		Max: l.Retry.Max, On: l.Retry.Causes(), Jitter: l.Retry.Jitter,
		Backoff: l.Retry.Backoff, MaxBackoff: l.Retry.MaxBackoff,
		ConnectTimeout: l.Retry.ConnectTimeout,
	}
	if r.ConnectTimeout == 0 && slices.Contains(r.On, vocabulary.RetryConnectTimeout) {
		r.ConnectTimeout = l.Timeout / 3
	}
	if l.Retry.Budget > 0 {
		r.Budget = load.RetryBudget{
			Tokens: l.Retry.Budget, Ratio: cmp.Or(l.Retry.BudgetRatio, defaultBudgetRatio),
		}
	}
	return r
}

// faultFrom is the sequence number of the first request to which a fault applies. The first
// requests are spared because the server is still warming up.
const faultFrom = 100

// sysctls returns the sysctls to set in the lab's network namespaces, including those that the
// scenario sets. All other sysctls keep the kernel's defaults for a new namespace.
func sysctls(s scenarios.Setup) []Sysctl {
	migrate, timeWait := "0", "4000000"
	if n := s.Server.Fault.TimeWait; n > 0 {
		timeWait = strconv.Itoa(n)
	}
	if s.Stop == vocabulary.StopMigrate {
		migrate = "1"
	}
	all := []Sysctl{
		// listen(2) limits the backlog to somaxconn. No scenario can set a backlog above 65535.
		{"net.core.somaxconn", "65535"},
		{"net.ipv4.tcp_max_syn_backlog", "65535"},
		{"net.ipv4.tcp_migrate_req", migrate},
		// Above this number of TIME_WAIT sockets, a connection skips the state, and the kernel
		// answers its late segments with a RST (tcp_time_wait in net/ipv4/tcp_minisocks.c).
		{"net.ipv4.tcp_max_tw_buckets", timeWait},
		// The range must not overlap the ports that the load binds itself, or the ports of workers
		// behind a proxy.
		{"net.ipv4.ip_local_port_range", "1024 9000"},
	}
	for _, own := range ownSysctls(s.Sysctl) {
		same := func(other Sysctl) bool { return other.Name == own.Name }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = own
		} else {
			all = append(all, own)
		}
	}
	return all
}

// ownSysctls returns the sysctls that the scenario sets.
func ownSysctls(c scenarios.Sysctl) (all []Sysctl) {
	for _, own := range []struct {
		name  string
		value *int
	}{
		{"net.core.somaxconn", c.Somaxconn},
		{"net.ipv4.tcp_abort_on_overflow", c.AbortOnOverflow},
		{"net.ipv4.tcp_syncookies", c.SYNCookies},
		{"net.ipv4.tcp_max_syn_backlog", c.MaxSYNBacklog},
		{"net.ipv4.tcp_synack_retries", c.SYNACKRetries},
		{"net.ipv4.tcp_syn_retries", c.SYNRetries},
		{"net.ipv4.tcp_migrate_req", c.MigrateReq},
		{"net.ipv4.tcp_fin_timeout", c.FinTimeout},
		{"net.ipv4.tcp_tw_reuse", c.TWReuse},
	} {
		if own.value != nil {
			all = append(all, Sysctl{own.name, strconv.Itoa(*own.value)})
		}
	}
	return all
}

// steps returns the occurrences of the steps of a variant's timeline, in order, until the longest
// load of the scenario ends. All variants with the same Setup.Step share the slice.
func steps(s *scenarios.Scenario, timeline []scenarios.Step) []PlannedStep {
	var end time.Duration
	for _, v := range s.Variants {
		end = max(end, v.Setup.Load.Lasts())
	}
	var all []PlannedStep
	for _, step := range timeline {
		for at := step.At; at < end; at += step.Every {
			all = append(all, PlannedStep{At: at, Step: step})
			if step.Every <= 0 {
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b PlannedStep) int { return cmp.Compare(a.At, b.At) })
	return all
}

// before returns the steps of a timeline that are due before the load ends.
func before(end time.Duration, timeline []PlannedStep) []PlannedStep {
	n, _ := slices.BinarySearchFunc(timeline, end, func(s PlannedStep, end time.Duration) int {
		return cmp.Compare(s.At, end)
	})
	return timeline[:n:n]
}

func work(w scenarios.Work) servers.Work {
	return servers.Work{
		Sleep: w.Sleep, Burn: w.Burn,
		Distribution: w.Distribution, Slow: w.Slow, SlowShare: w.SlowShare,
	}
}

// ServersOf returns the configuration of the servers for the trial in one block. All variants get
// the same seed in a block, so their servers draw the same random numbers.
func (v *Variant) ServersOf(seed uint64, block int) servers.Config {
	cfg := v.Servers
	cfg.Seed = seed + uint64(block)
	return cfg
}

// LoadOf returns the configurations of the load processes for the trial in one block. All variants
// get the same random arrival times in a block.
func (v *Variant) LoadOf(seed uint64, block int) []load.Config {
	all := slices.Clone(v.Load)
	for i := range all {
		all[i].Shape.Seed = seed + uint64(block)
		if l := all[i].Lookup; l != nil {
			own := *l
			own.Seed = seed + uint64(block)<<16
			all[i].Lookup = &own
		}
	}
	return all
}

// Takes returns the expected duration of a trial of the variant.
func (v *Variant) Takes() time.Duration {
	if v.Search != nil && v.Search.Setting == "" {
		overhead := trialOverhead + v.startup()
		return CapacityDuration + overhead + expectedTries*(v.Duration+overhead)
	}
	one := v.takesOnce()
	if v.Search != nil {
		halvings := math.Log2(math.Abs(v.Search.To-v.Search.From) / v.Search.Resolution())
		// Both ends, and each halving; a value that fails is tried twice.
		return time.Duration(float64(one) * (3 + 1.5*math.Ceil(halvings)))
	}
	return one
}

// takesOnce returns the expected duration of one try, or of a trial without a search.
func (v *Variant) takesOnce() time.Duration {
	startup, kube := v.startup(), v.setup.Kube
	d := v.Duration + trialOverhead + startup
	// The load starts only when the rules or names lead to the first pods.
	if v.Cluster != nil && v.Cluster.Path != vocabulary.PathPod {
		d += max(kube.EndpointLag.Typical(), kube.ReadyLag.Typical()) + kube.RulesLag.Typical()
	}
	if v.Cluster != nil && v.Cluster.Control == vocabulary.ControlReal {
		d += realPods
	}
	// The pods that the last step deletes may run for longer than the load.
	if n := len(v.Steps); n > 0 && v.Cluster != nil {
		d += max(0, v.Steps[n-1].At+startup+kube.PreStop-v.Duration)
	}
	return d
}

// startup returns an estimate of the time that the servers take to start.
func (v *Variant) startup() time.Duration {
	if v.Command != nil {
		return commandStart
	}
	return v.Servers.Startup + v.setup.Kube.RelistPeriod
}

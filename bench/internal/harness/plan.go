package harness

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
)

// A Machine is what a plan must know of where it will be carried out.
type Machine struct {
	CPUs []int // usable, ascending
	// Missing says why a capability is not to be had here, by the name of its probe. Nil: all are.
	Missing map[string]string
}

// A Plan is everything a run will do, decided before it begins: a pure function of scenarios, seed
// and machine.
type Plan struct {
	Seed       uint64
	Machine    Machine
	LoadCPUs   []int
	ServerCPUs []int
	Scenarios  []*ScenarioPlan
}

// A ScenarioPlan is a scenario's variants and the order of their trials.
type ScenarioPlan struct {
	Scenario *scenarios.Scenario
	Variants []*VariantPlan
	Trials   []TrialPlan // in order
	// MinValid is how many valid trials of a variant the gates need: the scenario's min_valid, but no
	// more than the trials that were asked for. Options.Budget does not lower it.
	MinValid int
	// Looks are the numbers of blocks at which the gates are looked at, to see whether more are needed; nil: the trials are what
	// they are. Trials are those up to the first of them.
	Looks []int
	// Budget is how long the scenario may take in all while blocks are added.
	Budget time.Duration

	further []TrialPlan // beyond Trials, up to the last look
}

// A VariantPlan is one variant, resolved.
type VariantPlan struct {
	Labels  scenarios.Labels
	Setup   scenarios.Setup
	Servers servers.Config
	Load    []load.Config // one per load process; nil while the rate is not known, see At
	Sysctls []Sysctl
	Firings []Firing
	// Skipped is why the variant cannot be run here; empty when it can.
	Skipped string

	machine Machine
}

// A Sysctl is set in the lab before anything listens.
type Sysctl struct{ Name, Value string }

// A Firing is one occurrence of a step, at an instant from the first scheduled attempt.
type Firing struct {
	At   time.Duration
	Step scenarios.Step
}

// A TrialPlan is one trial to be run.
type TrialPlan struct {
	Variant int // index into ScenarioPlan.Variants
	Block   int
}

// Options of NewPlan. The zero value changes nothing.
type Options struct {
	// Trials replaces the scenarios' number of blocks.
	Trials int
	// Only keeps the variants whose labels include these.
	Only scenarios.Labels
	// Budget, per scenario, reduces the blocks so that it is expected to end within it, but not
	// below one. With fewer than the scenario's gates need, they stay undecided.
	Budget time.Duration
	// Auto adds blocks, at the looks of AutoLooks, until every gate is decided or AutoBudget is used up. A scenario without gates is an
	// error.
	Auto bool
	// AutoBudget is per scenario.
	AutoBudget time.Duration
}

// AutoLooks are the numbers of blocks at which gates are looked at when blocks are added until they are decided. Each look could
// decide wrongly, so each is allowed its share of the error only (Bonferroni): few looks, each half as far again as the one before.
func AutoLooks() []int { return []int{12, 18, 27, 40, 60, 90} }

// serverPort is where workers listen; every lab has all ports to itself.
const serverPort = 8080

// backendPort is where workers listen behind a proxy, which has serverPort; from there on where each has a port of its own.
const backendPort = 9001

// pathHAProxy is the path through HAProxy.
const pathHAProxy = "haproxy"

// handovers are how a listening socket is passed on, for the stop modes that need it.
var handovers = map[servers.StopMode]servers.Handover{
	servers.Inherit: servers.SocketActivation, servers.Handoff: servers.SCMRights, servers.Upgrade: servers.Tableflip,
}

// trialOverhead is what a trial takes beside its load: lab, processes, the last stop.
const trialOverhead = 250 * time.Millisecond

// NewPlan plans the scenarios. It fails when nothing is left to do.
func NewPlan(all []*scenarios.Scenario, seed uint64, m Machine, o Options) (*Plan, error) {
	if len(m.CPUs) == 0 {
		return nil, fmt.Errorf("plan: no CPU is usable")
	}
	p := &Plan{Seed: seed, Machine: m}
	p.LoadCPUs, p.ServerCPUs = splitCPUs(m.CPUs)
	for _, s := range all {
		sp, err := planScenario(s, seed, m, o)
		if err != nil {
			return nil, err
		}
		if len(sp.Variants) > 0 {
			p.Scenarios = append(p.Scenarios, sp)
		}
	}
	if len(p.Scenarios) == 0 {
		return nil, fmt.Errorf("no variant has the labels %q; 'show NAME' lists a scenario's variants", o.Only)
	}
	return p, nil
}

// splitCPUs gives a quarter of the CPUs, at least one, to the load and the rest to the servers. A
// single CPU is shared, and the run says so.
func splitCPUs(cpus []int) (load, servers []int) {
	if len(cpus) == 1 {
		return cpus, cpus
	}
	n := max(1, len(cpus)/4)
	return cpus[:n], cpus[n:]
}

func planScenario(s *scenarios.Scenario, seed uint64, m Machine, o Options) (*ScenarioPlan, error) {
	p := &ScenarioPlan{Scenario: s}
	if o.Auto && len(s.Gates) == 0 {
		return nil, fmt.Errorf("scenario %s has no gates, so nothing says when its trials are enough; give their number", s.Name)
	}
	var block time.Duration
	for _, v := range withAgain(s) {
		if !v.Labels.Includes(o.Only) {
			continue
		}
		vp, err := planVariant(v, m)
		if err != nil {
			return nil, fmt.Errorf("scenario %s, variant %s: %w", s.Name, v.Labels, err)
		}
		vp.Skipped = skipped(v.Setup, m)
		p.Variants = append(p.Variants, vp)
		if vp.Skipped == "" {
			block += vp.Duration()
		}
	}
	trials := cmp.Or(o.Trials, s.Trials)
	p.MinValid = min(s.MinValid, trials)
	if o.Budget > 0 && block > 0 {
		trials = max(1, min(trials, int(o.Budget/block)))
	}
	if o.Auto {
		p.Looks, p.Budget = AutoLooks(), o.AutoBudget
		p.MinValid = min(s.MinValid, p.Looks[0])
		trials = p.Looks[len(p.Looks)-1]
	}
	// One stream per scenario: adding a scenario does not reshuffle the others.
	random := rand.New(rand.NewPCG(seed, nameSeed(s.Name)))
	for b := range trials {
		for _, v := range random.Perm(len(p.Variants)) {
			if p.Variants[v].Skipped == "" {
				p.Trials = append(p.Trials, TrialPlan{Variant: v, Block: b})
			}
		}
	}
	if o.Auto {
		first := slices.IndexFunc(p.Trials, func(t TrialPlan) bool { return t.Block == p.Looks[0] })
		if first >= 0 {
			p.Trials, p.further = p.Trials[:first:first], p.Trials[first:]
		}
		if d := p.Duration(); d > p.Budget {
			return nil, fmt.Errorf("scenario %s: gates are first looked at after %d blocks, which take about %v: the budget of %v is less", s.Name, p.Looks[0], roughly(d), p.Budget)
		}
	}
	return p, nil
}

// withAgain are the scenario's variants, and the baseline once more when gates need to know whether it differs from itself.
func withAgain(s *scenarios.Scenario) []scenarios.Variant {
	all := slices.Clone(s.Variants)
	if len(againMetrics(s)) == 0 {
		return all
	}
	for i, v := range all {
		if v.Labels.Equal(s.Baseline) {
			again := v
			again.Labels = maps.Clone(v.Labels)
			if again.Labels == nil {
				again.Labels = scenarios.Labels{}
			}
			again.Labels[results.LabelArm] = results.ArmAgain
			return slices.Insert(all, i+1, again)
		}
	}
	return all
}

// more is the trials of up to that many more blocks, which are the plan's from now on.
func (p *ScenarioPlan) more(blocks int) []TrialPlan {
	until := p.Blocks() + blocks
	n := slices.IndexFunc(p.further, func(t TrialPlan) bool { return t.Block >= until })
	if n < 0 {
		n = len(p.further)
	}
	added := p.further[:n]
	p.Trials, p.further = append(p.Trials, added...), p.further[n:]
	return added
}

// blockDuration is how long a block is expected to take.
func (p *ScenarioPlan) blockDuration() (d time.Duration) {
	for _, v := range p.Variants {
		if v.Skipped == "" {
			d += v.Duration()
		}
	}
	return d
}

// Alpha is the error probability of one look at the scenario's gates.
func (p *ScenarioPlan) Alpha() float64 {
	if p.Looks == nil {
		return results.Alpha
	}
	return results.Alpha / float64(len(AutoLooks()))
}

// skipped says which capability that the setup needs is missing.
func skipped(s scenarios.Setup, m Machine) string {
	var needed []string
	if s.Stop == string(servers.Migrate) {
		needed = append(needed, kernel.ProbeTCPMigrateReq)
	}
	switch servers.StopMode(s.Stop) {
	case servers.BPFMigrate:
		needed = append(needed, kernel.ProbeSKMigrate, kernel.ProbeSockArray)
	case servers.BPFDrain:
		needed = append(needed, kernel.ProbeSKReuseport, kernel.ProbeSockArray, kernel.ProbeTraceIterTCP)
	}
	if s.Path == pathHAProxy {
		needed = append(needed, kernel.ProbeHAProxyCommand)
	}
	if f := s.Server.Fault; f.HalfOpen > 0 || f.DroppedSYNs > 0 || f.RejectedSYNs > 0 {
		needed = append(needed, kernel.ProbeNFTables)
	}
	if servers.Selection(s.Selector).ByBPF() {
		needed = append(needed, kernel.ProbeSKReuseport, kernel.ProbeSockArray)
	}
	if s.Accept == string(servers.EpollExclusive) {
		needed = append(needed, kernel.ProbeEpollExclusive)
	}
	if s.Selector == string(servers.IncomingCPU) {
		needed = append(needed, kernel.ProbeIncomingCPU)
	}
	if s.InPods() {
		needed = append(needed, kernel.ProbeNFTables, kernel.ProbeConntrack, kernel.ProbeNFTablesCommand)
	}
	if s.Kube.Users == usersEach {
		needed = append(needed, kernel.ProbeUserIDs)
	}
	if s.Network == string(netlab.Veth) || s.Network == string(netlab.Cluster) {
		needed = append(needed, kernel.ProbeVeth)
	}
	for _, probe := range needed {
		if why, missing := m.Missing[probe]; missing {
			return fmt.Sprintf("%s: %s; see 'doctor'", probe, why)
		}
	}
	return ""
}

// nameSeed is FNV-1a of the name.
func nameSeed(name string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func planVariant(v scenarios.Variant, machine Machine) (*VariantPlan, error) {
	s := v.Setup
	_, serverCPUs := splitCPUs(machine.CPUs)
	if s.WorkersPerCPU > 0 {
		if s.Workers = s.WorkersPerCPU * len(serverCPUs); s.Workers > maxWorkers {
			return nil, fmt.Errorf("workers_per_cpu %d makes %d workers on %d CPUs; at most %d", s.WorkersPerCPU, s.Workers, len(serverCPUs), maxWorkers)
		}
	}
	addresses := netlab.AddressesOf(netlab.Network(s.Network), netlab.Family(s.Family))
	p := &VariantPlan{
		Labels: v.Labels,
		Setup:  s,
		Servers: servers.Config{
			Kind:    servers.Kind(s.Server.Kind),
			Sockets: servers.Sockets(s.Sockets),
			Workers: s.Workers,
			Address: netip.AddrPortFrom(addresses.Servers, serverPort),
			Backlog: s.Server.Backlog,
			Accept:  servers.Accept(s.Accept), Selection: servers.Selection(s.Selector), Canary: s.Canary,
			Handover:    handovers[servers.StopMode(s.Stop)],
			MayBeTaken:  s.Kube.Users == usersEach && sharesNetwork(s),
			ListedOnly:  s.Stop == string(servers.BPFMigrate) || s.Stop == string(servers.BPFDrain),
			BPFMigrates: s.Stop == string(servers.BPFMigrate),
			Work:        work(s.Server.Work), Startup: s.Server.Startup, Cold: s.Server.Cold,
			Fault: servers.Fault{ResetFrom: faultFrom, ResetCount: uint64(s.Server.Fault.Resets), ResetEvery: uint64(s.Server.Fault.ResetEvery)},
		},
		Sysctls: sysctls(s),
		Firings: firings(s),
		machine: machine,
	}
	if s.Path == pathHAProxy {
		p.Servers.Address = netip.AddrPortFrom(addresses.Servers, backendPort)
		p.Servers.PortPerIndex = s.Sockets == string(servers.Exclusive)
	}
	if s.Pin == pinCPU {
		p.Servers.Pin = serverCPUs
	}
	if s.Load.Rate.OfCapacity > 0 || s.Search.P99 > 0 {
		return p, nil
	}
	return p.At(s.Load.Rate.PerSecond)
}

// pinCPU is the value of pin that gives every worker one CPU.
const pinCPU = "cpu"

// maxWorkers is the most that a scenario may ask for by number, and so by CPU.
const maxWorkers = 1024

// maxAttempts bounds the schedule of a trial whose rate is a share of the capacity, as scenarios bound it where they
// know the rate.
const maxAttempts = 10_000_000

// At is the variant at that rate, in attempts per second.
func (v *VariantPlan) At(rate float64) (*VariantPlan, error) {
	p := *v
	p.Setup.Load.Rate = scenarios.Rate{PerSecond: rate}
	if n := rate * p.Setup.Load.Duration.Seconds(); n < 1 || n > maxAttempts {
		return nil, fmt.Errorf("%s/s for %v is %.0f attempts; at least 1 and at most %d: change load.duration", results.Digits(rate, 4), p.Setup.Load.Duration, n, maxAttempts)
	}
	addresses := netlab.AddressesOf(netlab.Network(p.Setup.Network), netlab.Family(p.Setup.Family))
	p.Load = loads(p.Setup, addresses, p.machine)
	if _, err := load.NewSources(addresses.Sources, load.NewSchedule(p.Load[0].Shape).Len()*p.Load[0].Retry.Tries()); err != nil {
		return nil, err
	}
	return &p, nil
}

// ratePerProcess is how many attempts per second one load process is given when the scenario leaves
// their number to the machine: about half of what one core sends flat out.
const ratePerProcess = 8000

// loads are the configurations of the load processes.
func loads(s scenarios.Setup, addresses netlab.Addresses, machine Machine) []load.Config {
	n := s.Load.Processes
	if n == 0 {
		cpus, _ := splitCPUs(machine.CPUs)
		n = min(int(math.Ceil(s.Load.Rate.PerSecond/ratePerProcess)), len(cpus))
	}
	var all []load.Config
	for i := range n {
		all = append(all, load.Config{
			Process: i, Processes: n,
			Target: target(s, addresses), Lookup: lookup(s),
			Shape: load.Shape{
				Pace: load.Pace(s.Load.Pace), Rate: s.Load.Rate.PerSecond, From: s.Load.From.PerSecond, Burst: s.Load.Burst,
				Duration: s.Load.Duration,
			},
			Timeout:     s.Load.Timeout,
			Retry:       retry(s.Load),
			Connections: load.Connections(s.Load.Connections),
			Body:        s.Load.Body,
			AbortFrom:   faultFrom,
			Aborts:      uint64(s.Load.Aborts),
			Ports:       uint64(s.Load.Ports),
			Sources:     addresses.Sources,
		})
	}
	return all
}

// defaultBudgetRatio is that of the example in gRPC's proposal A6.
const defaultBudgetRatio = 0.1

// retry is the clients' policy.
func retry(l scenarios.OpenLoad) load.Retry {
	if l.Retry.Max == 0 {
		return load.Retry{}
	}
	r := load.Retry{
		Max: l.Retry.Max, On: l.Retry.Causes(), Jitter: load.Jitter(l.Retry.Jitter),
		Backoff: l.Retry.Backoff, MaxBackoff: l.Retry.MaxBackoff, ConnectTimeout: l.Retry.ConnectTimeout,
	}
	if r.ConnectTimeout == 0 && slices.Contains(r.On, load.RetryConnectTimeout) {
		r.ConnectTimeout = l.Timeout / 3
	}
	if l.Retry.Budget > 0 {
		r.Budget = load.RetryBudget{Tokens: l.Retry.Budget, Ratio: cmp.Or(l.Retry.BudgetRatio, defaultBudgetRatio)}
	}
	return r
}

// target is where the load connects to.
func target(s scenarios.Setup, addresses netlab.Addresses) netip.AddrPort {
	switch s.Path {
	case pathService:
		return serviceAddress()
	case pathPod:
		return firstPodAddress(s)
	}
	return netip.AddrPortFrom(addresses.Servers, serverPort)
}

// faultFrom is the sequence number of the first request that a fault applies to: not the very
// first, which meets a server that is still warming up.
const faultFrom = 100

// sysctls of the lab's network namespace. What is not here is at the kernel's default for a new one.
func sysctls(s scenarios.Setup) []Sysctl {
	migrate, timeWait := "0", "4000000"
	if n := s.Server.Fault.TimeWait; n > 0 {
		timeWait = strconv.Itoa(n)
	}
	if s.Stop == string(servers.Migrate) {
		migrate = "1"
	}
	return []Sysctl{
		// listen(2) cuts its backlog to somaxconn; the scenario's backlog is meant as written.
		{"net.core.somaxconn", "65535"},
		{"net.ipv4.tcp_max_syn_backlog", "65535"},
		{"net.ipv4.tcp_migrate_req", migrate},
		// Past this many TIME_WAIT sockets the kernel skips the state, and late segments meet RSTs
		// (tcp_time_wait in net/ipv4/tcp_minisocks.c).
		{"net.ipv4.tcp_max_tw_buckets", timeWait},
		// Out of the way of the ports that the load binds by itself, and of those that workers listen at.
		{"net.ipv4.ip_local_port_range", "1024 9000"},
	}
}

// firings are the occurrences of the steps before the load ends, in order.
func firings(s scenarios.Setup) []Firing {
	var all []Firing
	for _, step := range s.Timeline {
		for at := step.At; at < s.Load.Duration; at += step.Every {
			all = append(all, Firing{At: at, Step: step})
			if step.Every <= 0 {
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Firing) int { return cmp.Compare(a.At, b.At) })
	return all
}

func work(w scenarios.Work) servers.Work {
	return servers.Work{
		Sleep: w.Sleep, Burn: w.Burn,
		Distribution: servers.Distribution(w.Distribution), Slow: w.Slow, SlowShare: w.SlowShare,
	}
}

// serversOf are the servers of one block's trial: what they draw is the same for every variant of a block.
func (v *VariantPlan) serversOf(seed uint64, block int) servers.Config {
	cfg := v.Servers
	cfg.Seed = seed + uint64(block)
	return cfg
}

// loadOf is the load of one block's trial: random arrivals are the same for every variant of a block.
func (v *VariantPlan) loadOf(seed uint64, block int) []load.Config {
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

// Duration is how long a trial of the variant is expected to take.
func (v *VariantPlan) Duration() time.Duration {
	if v.Setup.Search.P99 > 0 {
		return capacityDuration + trialOverhead + expectedTries*(v.Setup.Load.Duration+trialOverhead)
	}
	d := v.Setup.Load.Duration + trialOverhead + v.Setup.Server.Startup
	if v.Setup.InPods() && v.Setup.Path != pathPod { // until the clients find the first pods
		d += v.Setup.Kube.EndpointLag.Typical() + v.Setup.Kube.RulesLag.Typical()
	}
	// The last pods that are deleted may go on for longer than the load.
	if n := len(v.Firings); n > 0 && v.Setup.InPods() {
		d += max(0, v.Firings[n-1].At+v.Setup.Server.Startup+v.Setup.Kube.PreStop-v.Setup.Load.Duration)
	}
	return d
}

// Restarts is how often the timeline of one trial restarts workers.
func (v *VariantPlan) Restarts() int {
	n := 0
	for _, f := range v.Firings {
		if f.Step.Kind().Restarts {
			n++
		}
	}
	return n
}

// QuickLook says that the scenario has fewer trials than its gates need; "" if it has enough.
func (p *ScenarioPlan) QuickLook() string { return results.QuickLook(p.Blocks(), p.MinValid) }

// Duration is how long the scenario is expected to take, repeats of invalid trials aside.
func (p *ScenarioPlan) Duration() time.Duration {
	d := time.Duration(len(p.capacities())) * capacityRepeats * (capacityDuration + trialOverhead)
	for _, t := range p.Trials {
		d += p.Variants[t.Variant].Duration()
	}
	return d
}

// Blocks is the number of blocks.
func (p *ScenarioPlan) Blocks() int {
	if len(p.Trials) == 0 {
		return 0
	}
	return p.Trials[len(p.Trials)-1].Block + 1
}

// Block is the trials of one block, in order.
func (p *ScenarioPlan) Block(n int) []TrialPlan {
	var block []TrialPlan
	for _, t := range p.Trials {
		if t.Block == n {
			block = append(block, t)
		}
	}
	return block
}

// Repeats is how many invalid trials may be run again.
func (p *ScenarioPlan) Repeats() int { return repeatsOf(len(p.Trials)) }

// repeatsOf is how many of so many planned trials may be run again: three for eight, and at least two.
func repeatsOf(trials int) int { return max(2, trials*3/8) }

// Duration is how long the run is expected to take, repeats of invalid trials aside.
func (p *Plan) Duration() time.Duration {
	var d time.Duration
	for _, s := range p.Scenarios {
		d += s.Duration()
	}
	return d
}

// describeCPUs writes a list of CPUs as the kernel does: 0-3,8.
func describeCPUs(cpus []int) string {
	s := ""
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if s != "" {
			s += ","
		}
		s += strconv.Itoa(cpus[i])
		if j > i {
			s += "-" + strconv.Itoa(cpus[j])
		}
		i = j + 1
	}
	return s
}

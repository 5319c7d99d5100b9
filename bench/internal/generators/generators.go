// Package generators measures load generators against one worker that does nothing but answer:
// ours, the bare system calls beneath it, and other people's. It is what make bench-engine runs.
package generators

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// Config is what Measure needs.
type Config struct {
	Roles trial.Roles
	// Floor makes the command of the load process that is nothing but system calls
	// (load.FloorMain).
	Floor func() *exec.Cmd
	// Tools are other people's load generators, by name: where each is.
	Tools map[string]string
	// Generators and Connections are the names of those to be measured, in this order.
	Generators, Connections []string
	// Repeat is how many rounds are wanted, in each of which every one is measured. Of at most
	// maxRounds times as many those are kept from which the host took the least time.
	Repeat int
	// Duration of one measurement.
	Duration time.Duration
	Machine  plan.Machine
	// Progress is told what is measured next. Nil: nobody is.
	Progress func(string)
}

// Pace is the rate at which generators are compared when they are not flat out, per second.
const Pace = 2000

// The names of our own generators, and of other people's that are known.
const (
	Ours   = "reuseport-bench"
	Floor  = "floor"
	Vegeta = "vegeta"
	Wrk    = "wrk"
	Hey    = "hey"
	H2load = "h2load"
	// Our own as the load of a whole trial, with all that watches one.
	OursInTrial  = "reuseport-bench-in-trial"
	FloorInTrial = "floor-in-trial"
)

// Names returns the generators that can be measured.
func Names() []string {
	return []string{Ours, Floor, Vegeta, Wrk, Hey, H2load, OursInTrial, FloorInTrial}
}

// Connections returns the kinds of connection that they can be measured with.
func Connections() []string {
	return []string{string(vocabulary.ConnectionsNew), string(vocabulary.ConnectionsReused)}
}

// ours reports whether a generator is part of this program, and speaks its protocol.
func ours(name string) bool { return name == Ours || name == Floor || inTrial(name) }

// inTrial reports whether a generator is measured as the load of a trial.
func inTrial(name string) bool { return name == OursInTrial || name == FloorInTrial }

// A Generator is what was measured of one load generator.
type Generator struct {
	Name        string
	Connections string // new or reused
	Runs        []Run
	// Problem is why there is no more; empty: nothing is missing.
	Problem string
}

// Run is one measurement of a generator.
type Run struct {
	Flat  *Flat  // nil in a trial
	Paced *Paced // nil where the generator keeps no rate
	// Stolen is the share of both CPUs' time that the host took, flat out or at the pace, the
	// larger; 0 too where the kernel does not know.
	Stolen float64
}

// Flat is what a generator does flat out.
type Flat struct {
	PerSecond  float64       // responses, as the worker's journal has them
	CPU        time.Duration // of the generator, per response
	WorkerBusy float64       // share of the time that the worker was on its CPU
}

// Paced is what a generator does at Pace.
type Paced struct {
	CPU time.Duration // of the generator, per response
	// Lag is the 99th percentile of the schedule lag; nil where the generator does not tell, as
	// Response.
	Lag      *time.Duration
	Response *results.Percentiles // from the scheduled instant on
}

// InFlight is how many attempts are under way at once when a generator is flat out, and how many
// connections wrk and the like have.
const InFlight = 64

// maxRounds is how many times as many rounds are made as are wanted, when the host takes more than
// maxStolen of the two CPUs' time in one of a round's measurements: then the generators of that
// round did not have the same machine.
const (
	maxRounds = 3
	maxStolen = 0.02
)

// Measure measures load generators in turn against one worker that does nothing but answer, pinned
// to a CPU, each generator pinned to another. rounds is how many there were. Only an error of our
// own generators ends it.
func Measure(ctx context.Context, cfg Config) (all []*Generator, rounds int, err error) {
	for _, connections := range cfg.Connections {
		for _, name := range cfg.Generators {
			if ours(name) || cfg.Tools[name] != "" {
				all = append(all, &Generator{Name: name, Connections: connections})
			}
		}
	}
	quiet := 0
	for ; quiet < cfg.Repeat && rounds < maxRounds*cfg.Repeat; rounds++ {
		if err := measureRound(ctx, cfg, all, rounds); err != nil {
			return nil, rounds, err
		}
		if stolenIn(all, rounds) <= maxStolen {
			quiet++
		}
	}
	keepQuietest(all, cfg.Repeat, rounds)
	return all, rounds, nil
}

// measureRound measures each generator once more, but those that have failed, in random order: a
// host may take more of the first's time.
func measureRound(ctx context.Context, cfg Config, all []*Generator, round int) error {
	place := cfg.Machine.Place()
	for _, i := range rand.Perm(len(all)) {
		e := all[i]
		if e.Problem != "" {
			continue
		}
		if cfg.Progress != nil {
			cfg.Progress(fmt.Sprintf("round %d of %d to %d: %s, %s connections", round+1, cfg.Repeat, maxRounds*cfg.Repeat, e.Name, e.Connections))
		}
		r := &measurement{Config: cfg, engine: e, loadCPUs: place.Load[:1], serverCPUs: place.Servers[:1]}
		run, err := r.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && ours(e.Name):
			return fmt.Errorf("%s, %s connections: %w", e.Name, e.Connections, err)
		case err != nil:
			e.Problem = err.Error()
		default:
			e.Runs = append(e.Runs, run)
		}
	}
	return nil
}

// stolenIn is the largest share that the host took in one of a round's measurements.
func stolenIn(all []*Generator, round int) (most float64) {
	for _, e := range all {
		if round < len(e.Runs) {
			most = max(most, e.Runs[round].Stolen)
		}
	}
	return most
}

// keepQuietest drops all runs but those of the n rounds from which the host took the least, and
// leaves them in order.
func keepQuietest(all []*Generator, n, rounds int) {
	order := make([]int, rounds)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(stolenIn(all, a), stolenIn(all, b)) })
	keep := order[:min(n, rounds)]
	slices.Sort(keep)
	for _, e := range all {
		var kept []Run
		for _, i := range keep {
			if i < len(e.Runs) {
				kept = append(kept, e.Runs[i])
			}
		}
		e.Runs = kept
	}
}

// measurement measures one generator once.
type measurement struct {
	Config
	engine               *Generator
	loadCPUs, serverCPUs []int
}

func (r *measurement) run(ctx context.Context) (run Run, err error) {
	if r.engine.Name == H2load && r.engine.Connections == string(vocabulary.ConnectionsNew) {
		return run, errors.New("it has no way to open a connection for each request")
	}
	if !inTrial(r.engine.Name) {
		flat, err := r.measure(ctx, 0)
		if err != nil {
			return run, fmt.Errorf("flat out: %w", err)
		}
		run.Flat = &Flat{PerSecond: flat.perSecond, CPU: flat.cpu, WorkerBusy: flat.workerBusy}
		run.Stolen = flat.stolen
	}
	if ours(r.engine.Name) || r.engine.Name == Vegeta {
		measure := r.measure
		if inTrial(r.engine.Name) {
			measure = r.measureTrial
		}
		paced, err := measure(ctx, Pace)
		if err != nil {
			return run, fmt.Errorf("at %d/s: %w", Pace, err)
		}
		run.Paced = &Paced{CPU: paced.cpu, Lag: paced.lag, Response: paced.response}
		run.Stolen = max(run.Stolen, paced.stolen)
	}
	return run, nil
}

type figures struct {
	perSecond, workerBusy, stolen float64
	cpu                           time.Duration
	lag                           *time.Duration
	response                      *results.Percentiles
}

// workerScenario is what the worker and our own generators are configured by.
const workerScenario = `
name: bench-engine
workers: 1
server: {kind: loop}
load: {rate: %d/s, duration: %v, processes: 1}
matrix: [{load.connections: [%s]}]
`

// plan plans a trial at the pace.
func (r *measurement) plan() (*plan.Plan, error) {
	text := fmt.Appendf(nil, workerScenario, Pace, r.Duration, r.engine.Connections)
	s, err := scenarios.Parse("bench-engine", text)
	if err != nil {
		return nil, err
	}
	return plan.New([]*scenarios.Scenario{s}, 1, r.Machine, plan.Options{})
}

// load makes the command of the load process.
func (r *measurement) load() func() *exec.Cmd {
	if r.engine.Name == Floor || r.engine.Name == FloorInTrial {
		return r.Floor
	}
	return r.Roles.Load
}

// measureTrial measures a generator that is the load of a trial.
func (r *measurement) measureTrial(ctx context.Context, _ float64) (f figures, err error) {
	p, err := r.plan()
	if err != nil {
		return f, err
	}
	roles := r.Roles
	roles.Load = r.load()
	stolen := r.watchSteal()
	got, err := trial.Run(ctx, p, p.Scenarios[0].Variants[0], trial.Options{Roles: roles})
	if err != nil {
		return f, err
	}
	if got.Lost > 0 || got.CPU.LoadNS == nil || got.ScheduleLagP99NS == nil {
		return f, fmt.Errorf("%d of %d attempts were lost: %v", got.Lost, got.Attempts, got.LostByCause)
	}
	lag := time.Duration(*got.ScheduleLagP99NS)
	return figures{
		cpu: time.Duration(*got.CPU.LoadNS / got.Served), lag: &lag, response: got.ResponseNS, stolen: stolen(),
	}, nil
}

// watchSteal returns what will tell the share of both CPUs' time that the host has taken since now;
// 0 where the kernel does not know.
func (r *measurement) watchSteal() func() float64 {
	cpus := slices.Concat(r.loadCPUs, r.serverCPUs)
	began := time.Now()
	before, errBefore := kernel.SumSteal(cpus)
	return func() float64 {
		after, errAfter := kernel.SumSteal(cpus)
		if errors.Join(errBefore, errAfter) != nil {
			return 0
		}
		return float64(after-before) / float64(time.Since(began)) / float64(len(cpus))
	}
}

// measure runs the generator once, in a lab of its own; rate 0 is flat out.
func (r *measurement) measure(ctx context.Context, rate float64) (f figures, err error) {
	p, err := r.plan()
	if err != nil {
		return f, err
	}
	variant := p.Scenarios[0].Variants[0]
	answered := responses{within: r.Duration}
	// Other people's generators leave ports to the kernel, so they get many.
	sysctls := append(variant.Sysctls, plan.Sysctl{Name: "net.ipv4.ip_local_port_range", Value: "1024 65535"})
	rig, err := trial.NewRig(ctx, trial.RigOptions{
		Init: r.Roles.Init, Worker: r.Roles.Worker, Network: variant.Network, Servers: variant.Servers,
		Sysctls: sysctls, CPUs: r.serverCPUs, Account: answered.record,
	})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	stolen := r.watchSteal()
	var cpu time.Duration
	if ours(r.engine.Name) {
		cpu, err = r.driveOurs(ctx, rig, variant.Load, rate, &f)
	} else {
		cpu, err = r.driveTool(ctx, rig, variant.Load[0].Target, rate)
	}
	if err != nil {
		return f, err
	}
	f.stolen = stolen()
	if err := rig.Group.Close(); err != nil { // the journals to their end
		return f, err
	}
	if answered.n == 0 {
		return f, errors.New("the worker saw no request")
	}
	f.cpu = cpu / time.Duration(answered.n)
	f.perSecond = float64(answered.inTime) / r.Duration.Seconds()
	if busy, ok := rig.Group.Workers()[0].CPU(); ok {
		f.workerBusy = float64(busy) / float64(max(r.Duration, answered.last.Sub(answered.first)))
	}
	return f, nil
}

// responses counts what the worker answered: the same measure for every generator, whatever it says
// of itself.
type responses struct {
	within time.Duration // of the first connection

	mu          sync.Mutex
	n, inTime   int
	first, last clock.Instant // the first connection, the last response
}

func (c *responses) record(_ *servers.Worker, r journal.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Kind {
	case journal.Accepted:
		if c.first == 0 {
			c.first = r.At
		}
	case journal.Answered:
		c.n++
		c.last = r.At
		if r.At.Sub(c.first) <= c.within {
			c.inTime++
		}
	}
}

// driveOurs runs one of the generators that speak our protocol, and returns its CPU time; what its
// samples say is added to f.
func (r *measurement) driveOurs(ctx context.Context, rig *trial.Rig, loads []load.Config, rate float64, f *figures) (cpu time.Duration, err error) {
	cfg := loads[0]
	cfg.Shape.Rate, cfg.Shape.Duration = rate, r.Duration
	if rate == 0 {
		cfg.Shape.Clients = InFlight
	}
	lags, responses, lost := results.NewHistogram(), results.NewHistogram(), 0
	_, cpu, err = rig.Drive(ctx, r.load(), []load.Config{cfg}, r.loadCPUs, func(s *results.Sample) {
		if !s.Served() {
			lost++
			return
		}
		lags.Record(max(0, s.Sent-s.Scheduled))
		responses.Record(s.Done - s.Scheduled)
	})
	if err != nil {
		return 0, err
	}
	if lost > 0 {
		return 0, fmt.Errorf("%d attempts were lost", lost)
	}
	if percentiles := lags.Percentiles(); rate > 0 && percentiles != nil {
		f.lag, f.response = new(time.Duration(percentiles.P99)), responses.Percentiles()
	}
	return cpu, nil
}

// toolLimit is how long a generator may take beyond the time that it was told.
const toolLimit = 10 * time.Second

// driveTool runs somebody else's generator and returns its CPU time. What it prints is not looked
// at.
func (r *measurement) driveTool(ctx context.Context, rig *trial.Rig, target netip.AddrPort, rate float64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Duration+toolLimit)
	defer cancel()
	url := "http://" + target.String() + "/"
	cmd := exec.CommandContext(ctx, r.Tools[r.engine.Name], r.arguments(url, rate)...)
	cmd.WaitDelay = time.Second
	if r.engine.Name == Vegeta {
		cmd.Stdin = strings.NewReader("GET " + url + "\n")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := rig.Lab.Start(rig.Lab.Clients(), cmd, r.loadCPUs); err != nil {
		return 0, err
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// arguments make a tool send for Duration with one thread, where it has a choice.
func (r *measurement) arguments(url string, rate float64) (args []string) {
	isNew := r.engine.Connections == string(vocabulary.ConnectionsNew)
	seconds := strconv.Itoa(int(r.Duration.Seconds()))
	inFlight := strconv.Itoa(InFlight)
	switch r.engine.Name {
	case Vegeta:
		args = []string{"attack", "-duration", r.Duration.String(), "-output", os.DevNull, "-keepalive=" + strconv.FormatBool(!isNew)}
		if rate == 0 {
			return append(args, "-rate", "0", "-max-workers", inFlight)
		}
		return append(args, "-rate", strconv.Itoa(int(rate))+"/1s")
	case Wrk:
		args = []string{"-t", "1", "-c", inFlight, "-d", seconds + "s"}
		if isNew {
			args = append(args, "-H", "Connection: close")
		}
	case Hey:
		args = []string{"-c", inFlight, "-z", seconds + "s"}
		if isNew {
			args = append(args, "-disable-keepalive")
		}
	case H2load:
		args = []string{"--h1", "-t", "1", "-c", inFlight, "-D", seconds}
	}
	return append(args, url)
}

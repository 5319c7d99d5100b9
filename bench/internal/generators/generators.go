// Package generators measures load generators against one worker that does nothing but answer. It
// compares our own generator with third-party generators, and with a bare loop that makes only the
// same system calls. "make bench-engine" runs it.
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

// Config configures Measure.
type Config struct {
	Roles trial.Roles
	// Floor returns the command of a load process that makes the necessary system calls and does
	// nothing else (load.FloorMain).
	Floor func() *exec.Cmd
	// Tools maps the names of third-party load generators to their executables.
	Tools map[string]string
	// Generators and Connections name the generators and the kinds of connection to measure, in
	// this order.
	Generators, Connections []string
	// Repeat is the number of rounds to keep; each round measures every generator once. Up to
	// Repeat × maxRounds rounds are run, and those in which the host stole the least CPU time are
	// kept.
	Repeat int
	// Duration is the length of one measurement.
	Duration time.Duration
	Machine  plan.Machine
	// Progress, if not nil, is called before each measurement, with its description.
	Progress func(string)
}

// Pace is the rate, in attempts per second, at which generators are measured in addition to flat
// out.
const Pace = 2000

// The names of our own and of the known third-party generators.
const (
	Ours   = "reuseport-bench"
	Floor  = "floor"
	Vegeta = "vegeta"
	Wrk    = "wrk"
	Hey    = "hey"
	H2load = "h2load"
	// Our own generators, measured as the load of a whole trial with all its observers.
	OursInTrial  = "reuseport-bench-in-trial"
	FloorInTrial = "floor-in-trial"
)

// Names returns the names of all generators that can be measured.
func Names() []string {
	return []string{Ours, Floor, Vegeta, Wrk, Hey, H2load, OursInTrial, FloorInTrial}
}

// Connections returns the kinds of connection that generators can be measured with.
func Connections() []string {
	return []string{string(vocabulary.ConnectionsNew), string(vocabulary.ConnectionsReused)}
}

// ours reports whether a generator is part of this program and speaks its protocol.
func ours(name string) bool { return name == Ours || name == Floor || inTrial(name) }

// inTrial reports whether a generator is measured as the load of a trial.
func inTrial(name string) bool { return name == OursInTrial || name == FloorInTrial }

// A Generator holds the measurements of one load generator with one kind of connection.
type Generator struct {
	Name        string `json:"name"`
	Connections string `json:"connections"` // new or reused
	Runs        []Run  `json:"runs"`
	// Problem is the reason why the generator's measurements ended early, or "".
	Problem string `json:"problem,omitempty"`
}

// A Run is one measurement of a generator.
type Run struct {
	Flat  *Flat  `json:"flat_out"` // nil in a trial
	Paced *Paced `json:"paced"`    // nil if the generator keeps no rate
	// Stolen is the share of both CPUs' time that the host took: the larger of the share during
	// Flat and the share during Paced. It is also 0 if the kernel does not report it.
	Stolen float64 `json:"stolen_share"`
}

// A Flat is the performance of a generator flat out.
type Flat struct {
	PerSecond  float64       `json:"responses_per_second"` // according to the worker's journal
	CPU        time.Duration `json:"cpu_per_response_ns"`  // of the generator
	WorkerBusy float64       `json:"worker_busy_share"`    // share of the time, on its CPU
}

// A Paced is the performance of a generator at Pace.
type Paced struct {
	CPU time.Duration `json:"cpu_per_response_ns"` // of the generator
	// Lag is the 99th percentile of the schedule lag; nil, like Response, if the generator does
	// not report it.
	Lag      *time.Duration       `json:"schedule_lag_p99_ns"`
	Response *results.Percentiles `json:"response_ns"` // from the scheduled instant
}

// InFlight is the number of concurrent attempts of a generator flat out, and the number of
// connections of wrk and similar tools.
const InFlight = 64

// A round is repeated if the host took more than maxStolen of the two CPUs' time during one of its
// measurements, because its generators were then not measured under equal conditions. At most
// maxRounds times the wanted number of rounds are run.
const (
	maxRounds = 3
	maxStolen = 0.02
)

// Measure measures load generators in turn against one worker that does nothing but answer. The
// worker is pinned to one CPU, each generator to another. rounds is the number of rounds run.
// Measure fails only if one of our own generators fails; if a third-party generator fails, only its
// own measurements end.
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

// measureRound measures once each generator that has not failed yet. The order is random, because
// the host may take more CPU time from whichever is first.
func measureRound(ctx context.Context, cfg Config, all []*Generator, round int) error {
	place := cfg.Machine.Place()
	for _, i := range rand.Perm(len(all)) {
		g := all[i]
		if g.Problem != "" {
			continue
		}
		if cfg.Progress != nil {
			cfg.Progress(fmt.Sprintf("round %d of %d to %d: %s, %s connections",
				round+1, cfg.Repeat, maxRounds*cfg.Repeat, g.Name, g.Connections))
		}
		r := &measurement{
			Config: cfg, generator: g, loadCPUs: place.Load[:1], serverCPUs: place.Servers[:1],
		}
		run, err := r.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && ours(g.Name):
			return fmt.Errorf("%s, %s connections: %w", g.Name, g.Connections, err)
		case err != nil:
			g.Problem = err.Error()
		default:
			g.Runs = append(g.Runs, run)
		}
	}
	return nil
}

// stolenIn returns the largest share of CPU time that the host took in one of a round's
// measurements.
func stolenIn(all []*Generator, round int) (most float64) {
	for _, g := range all {
		if round < len(g.Runs) {
			most = max(most, g.Runs[round].Stolen)
		}
	}
	return most
}

// keepQuietest keeps the runs of the n rounds in which the host took the least CPU time, in their
// original order, and drops all others.
func keepQuietest(all []*Generator, n, rounds int) {
	order := make([]int, rounds)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(stolenIn(all, a), stolenIn(all, b))
	})
	keep := order[:min(n, rounds)]
	slices.Sort(keep)
	for _, g := range all {
		var kept []Run
		for _, i := range keep {
			if i < len(g.Runs) {
				kept = append(kept, g.Runs[i])
			}
		}
		g.Runs = kept
	}
}

// A measurement measures one generator once.
type measurement struct {
	Config
	generator            *Generator
	loadCPUs, serverCPUs []int
}

func (r *measurement) run(ctx context.Context) (run Run, err error) {
	if r.generator.Name == H2load && r.generator.Connections == string(vocabulary.ConnectionsNew) {
		return run, errors.New("it cannot open a connection for each request")
	}
	if !inTrial(r.generator.Name) {
		flat, err := r.measure(ctx, 0)
		if err != nil {
			return run, fmt.Errorf("flat out: %w", err)
		}
		run.Flat = &Flat{PerSecond: flat.perSecond, CPU: flat.cpu, WorkerBusy: flat.workerBusy}
		run.Stolen = flat.stolen
	}
	if ours(r.generator.Name) || r.generator.Name == Vegeta {
		measure := r.measure
		if inTrial(r.generator.Name) {
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

// workerScenario configures the worker and our own generators.
const workerScenario = `
name: bench-engine
workers: 1
server: {kind: loop}
load: {rate: %d/s, duration: %v, processes: 1}
matrix: [{load.connections: [%s]}]
`

// plan returns the plan of a trial at Pace.
func (r *measurement) plan() (*plan.Plan, error) {
	text := fmt.Appendf(nil, workerScenario, Pace, r.Duration, r.generator.Connections)
	s, err := scenarios.Parse("bench-engine", text)
	if err != nil {
		return nil, err
	}
	return plan.New([]*scenarios.Scenario{s}, 1, r.Machine, plan.Options{})
}

// load returns the function that makes the command of the load process.
func (r *measurement) load() func() *exec.Cmd {
	if r.generator.Name == Floor || r.generator.Name == FloorInTrial {
		return r.Floor
	}
	return r.Roles.Load
}

// measureTrial measures a generator as the load of a trial.
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
		return f, fmt.Errorf("%d of %d attempts were lost: %v",
			got.Lost, got.Attempts, got.LostByCause)
	}
	lag := time.Duration(*got.ScheduleLagP99NS)
	return figures{
		cpu: time.Duration(*got.CPU.LoadNS / got.Served), lag: &lag,
		response: got.ResponseNS, stolen: stolen(),
	}, nil
}

// watchSteal returns a function that returns the share of both CPUs' time that the host has taken
// since watchSteal was called, or 0 if the kernel does not report it.
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

// measure runs the generator once, in a lab of its own. If rate is 0, the generator runs flat out.
func (r *measurement) measure(ctx context.Context, rate float64) (f figures, err error) {
	p, err := r.plan()
	if err != nil {
		return f, err
	}
	variant := p.Scenarios[0].Variants[0]
	answered := responses{within: r.Duration}
	// Third-party generators let the kernel choose local ports, so the range must be wide.
	ports := plan.Sysctl{Name: "net.ipv4.ip_local_port_range", Value: "1024 65535"}
	sysctls := append(variant.Sysctls, ports)
	rig, err := trial.NewRig(ctx, trial.RigOptions{
		Roles: r.Roles, Network: variant.Network, Servers: variant.Servers,
		Sysctls: sysctls, CPUs: r.serverCPUs, Account: answered.record,
	})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	stolen := r.watchSteal()
	var cpu time.Duration
	if ours(r.generator.Name) {
		cpu, err = r.driveOurs(ctx, rig, variant.Load, rate, &f)
	} else {
		cpu, err = r.driveTool(ctx, rig, variant.Load[0].Target, rate)
	}
	if err != nil {
		return f, err
	}
	f.stolen = stolen()
	if err := rig.Group.Close(); err != nil { // this reads the journals to their end
		return f, err
	}
	if answered.n == 0 {
		return f, errors.New("the worker answered no request")
	}
	f.cpu = cpu / time.Duration(answered.n)
	f.perSecond = float64(answered.inTime) / r.Duration.Seconds()
	if busy, ok := rig.Group.Workers()[0].CPU(); ok {
		f.workerBusy = float64(busy) / float64(max(r.Duration, answered.last.Sub(answered.first)))
	}
	return f, nil
}

// responses counts the responses in the worker's journal. This measure is the same for every
// generator, and independent of what the generator reports.
type responses struct {
	within time.Duration // inTime counts responses this long after the first accept

	mu          sync.Mutex
	n, inTime   int
	first, last clock.Instant // of the first accept, of the last response
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

// driveOurs runs one of our own generators, adds the figures of its samples to f, and returns its
// CPU time.
func (r *measurement) driveOurs(
	ctx context.Context, rig *trial.Rig, loads []load.Config, rate float64, f *figures,
) (cpu time.Duration, err error) {
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

// toolLimit is the additional time that a third-party generator may take beyond Duration.
const toolLimit = 10 * time.Second

// driveTool runs a third-party generator and returns its CPU time. It ignores the generator's
// output.
func (r *measurement) driveTool(
	ctx context.Context, rig *trial.Rig, target netip.AddrPort, rate float64,
) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Duration+toolLimit)
	defer cancel()
	url := "http://" + target.String() + "/"
	cmd := exec.CommandContext(ctx, r.Tools[r.generator.Name], r.arguments(url, rate)...)
	cmd.WaitDelay = time.Second
	if r.generator.Name == Vegeta {
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

// arguments returns the arguments with which a third-party generator sends for Duration. It uses
// one thread if that can be chosen.
func (r *measurement) arguments(url string, rate float64) (args []string) {
	isNew := r.generator.Connections == string(vocabulary.ConnectionsNew)
	seconds := strconv.Itoa(int(r.Duration.Seconds()))
	inFlight := strconv.Itoa(InFlight)
	switch r.generator.Name {
	case Vegeta:
		args = []string{
			"attack", "-duration", r.Duration.String(), "-output", os.DevNull,
			"-keepalive=" + strconv.FormatBool(!isNew),
		}
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

// Package reporttest makes runs for tests to print.
package reporttest

import (
	"bytes"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/summary"
)

func Labels(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// RestartTrial returns trial i of a variant: 6000 attempts at 2000/s, and a restart for each
// element of lost.
func RestartTrial(i int, lost ...int64) *results.Trial {
	vary := int64(i*37%11) * 1000 // varies the figures, so that intervals have a width
	t := &results.Trial{
		Valid: true, Block: i, Order: i, Attempts: 6000, Served: 6000,
		LostByCause: map[string]int64{}, LostByPhase: map[string]int64{},
		LostSentAfterClose: new(int64(0)), SYNRetransmits: new(int64(0)),
		OfferedPerSecond: new(2000.), AchievedPerSecond: 1999.5, TimeoutNS: 900e6,
		ScheduleLagP99NS: new(130_000 + vary),
		ResponseNS: &results.Percentiles{
			P50: 210_000 + vary, P90: 380_000 + 2*vary, P99: 910_000 + 9*vary, P999: 4_500_000 +
				30*vary, Max: 12_300_000 + 100*vary,
		},
		Fairness: &results.Fairness{
			Generation: 3, Jain: 0.999, MaxOverMean: 1.02, TopShare: 0.51, Chi2P: 0.41,
			Requests: &results.Spread{Jain: 0.9, MaxOverMean: 1.333, TopShare: 0.6667},
			BusyTime: &results.Spread{Jain: 0.8, MaxOverMean: 1.5, TopShare: 0.75},
		},
		Kernel: map[string]int64{"TcpOutRsts": 0, "TcpExtListenDrops": 0},
		Ledger: []results.LedgerRow{{Client: "served", Server: "served", Attempts: 6000,
			Explained: true}},
	}
	for k, n := range lost {
		at := int64(500e6) + int64(k)*200e6
		t.Steps = append(t.Steps, results.Step{
			Do: "replace", Target: "generation 1", AtNS: at, ReadyNS: new(at + 9e6),
			StopNS: new(at + 10e6), ClosedNS: new(at + 10_200_000),
			GapNS: new(n * 500_000), OutageNS: new(n * 700_000), LostShare: new(min(float64(n), 1)),
			ResolutionNS: new(int64(500_000)), ScheduleLagMaxNS: new(int64(0)),
			StallNS: new(8_000_000 + 50*vary), TakeoverNS: new(412_000 + vary),
			TailNS: new(1_200 + vary/10), Lost: n,
		})
		for j := range n {
			lose(t, k, at+10e6+j*500_000)
		}
	}
	return t
}

// lose turns a served attempt into one lost by reset_at_close, at step k.
func lose(t *results.Trial, k int, scheduled int64) {
	t.Lost++
	t.Dropped++
	t.Served--
	t.LostByCause["reset_at_close"]++
	t.LostByPhase["wait"]++
	t.Evidence.Kernel++
	t.Kernel["TcpOutRsts"]++
	t.Ledger[0].Attempts--
	if len(t.Ledger) == 1 {
		t.Ledger = append(t.Ledger, results.LedgerRow{Client: "lost: reset",
			Server: "never accepted", Cause: "reset_at_close", Explained: true})
	}
	t.Ledger[1].Attempts++
	t.Losses = append(t.Losses, results.Loss{
		Sequence: int64(len(t.Losses)), ScheduledNS: scheduled, SentNS: scheduled + 90_000,
		DoneNS: scheduled + 310_000,
		Source: "127.0.3.7:20481", Phase: "wait", Error: "reset", Server: "never accepted",
		Cause: "reset_at_close", Evidence: "kernel", Worker: new(2), Step: new(k),
	})
}

// FinishedRun returns a run with the cases that a report must handle: a variant that loses, one
// that loses nothing, one with invalid trials, one with too few valid trials, one that was skipped,
// and a scenario without steps.
func FinishedRun() *results.Run {
	lossy := &results.Variant{Labels: Labels("sockets", "reuseport", "stop", "close")}
	clean := &results.Variant{Labels: Labels("sockets", "reuseport", "stop", "drain")}
	few := &results.Variant{Labels: Labels("sockets", "shared", "stop", "handoff")}
	skipped := &results.Variant{Labels: Labels("sockets", "reuseport", "stop", "bpf-migrate"),
		SkippedReason: new("needs CAP_BPF: run as root")}
	for i := range 8 {
		lossy.Trials = append(lossy.Trials, RestartTrial(i, 1, 0, int64(i%2), 0, 1))
		clean.Trials = append(clean.Trials, RestartTrial(i, 0, 0, 0, 0, 0))
	}
	clean.Trials = append(clean.Trials, ResidualTrial(8), LaggingTrial(9))
	for i := range 3 {
		few.Trials = append(few.Trials, RestartTrial(i, 0, 0))
	}
	few.Trials[2].Steps[1].Censored = true
	few.Trials[2].LossesOmitted = 12

	steady := &results.Variant{}
	for i := range 8 {
		t := RestartTrial(i)
		t.LostSentAfterClose = nil
		t.Fairness.Chi2P = 1e-9
		steady.Trials = append(steady.Trials, t)
	}

	run := &results.Run{
		SchemaVersion: results.SchemaVersion, Program: "reuseport-bench", Version: "v0.1.0",
		Seed:       20260304,
		StartedAt:  time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		FinishedAt: new(time.Date(2026, 3, 4, 5, 8, 50, 0, time.UTC)),
		Environment: results.Environment{
			Kernel: "6.18.44", Go: "go1.26.8", CPUs: 2, CPUModel: "AMD EPYC 7763 64-Core Processor",
			Sysctls: map[string]string{"net.core.somaxconn": "4096",
				"net.ipv4.tcp_max_tw_buckets": "262144"},
			Capabilities: map[string]string{"user_namespace": "yes", "bpf": "no CAP_BPF"},
			LoadCPUs:     []int{0}, ServerCPUs: []int{1},
		},
		Scenarios: []*results.Scenario{
			{
				Name: "rolling-restart", About: "Replace every worker under load. What does each " +
					"way of stopping lose?",
				SHA256: "5f", Baseline: Labels("sockets", "reuseport", "stop", "close"),
				MinValid: 4, Trials: 8,
				Variants: []*results.Variant{lossy, clean, few, skipped},
				Gates: []results.GateResult{
					{Labels: clean.Labels, Expect: "lost_by_cause.reset_at_close == 0", Outcome: "pass", Note: "0 in 40 restarts"},
					{Labels: few.Labels, Expect: "lost_by_cause.reset_at_close == 0", Outcome: "undecided", Note: "3 valid trials, 4 needed"},
				},
			},
			{Name: "steady", About: "Load, and nothing happens.", MinValid: 4, Trials: 8, Variants: []*results.Variant{steady}},
		},
	}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

// ResidualTrial returns a trial that is invalid because no rule explains one attempt.
func ResidualTrial(i int) *results.Trial {
	t := RestartTrial(i, 0, 0, 0, 0, 0)
	t.Valid, t.InvalidReasons, t.Residual = false, []string{"residual is 1, not 0"}, 1
	t.Ledger[0].Attempts--
	t.Ledger = append(t.Ledger, results.LedgerRow{Client: "served", Server: "never accepted",
		Attempts: 1})
	return t
}

// LaggingTrial returns a trial that is invalid because the generator could not keep up. It has a
// conspicuous figure that no report may print.
func LaggingTrial(i int) *results.Trial {
	t := RestartTrial(i, 3, 3, 3, 3, 3)
	t.Valid, t.InvalidReasons = false, []string{"schedule lag p99 31.2 ms > 10 % of response p99",
		"residual is 1, not 0"}
	t.ResponseNS = &results.Percentiles{P50: 88.8e9, P90: 88.8e9, P99: 88.8e9, P999: 88.8e9,
		Max: 88.8e9}
	return t
}

// InterruptedRun returns FinishedRun as if interrupted after three blocks.
func InterruptedRun() *results.Run {
	run := FinishedRun()
	run.FinishedAt, run.Claims = nil, nil
	run.Warnings = []string{"results/runs/x/trials.jsonl:7: cut off in mid-line by a crash; that " +
		"trial is lost"}
	run.Scenarios = run.Scenarios[:1]
	s := run.Scenarios[0]
	s.Gates = nil
	for i, v := range s.Variants {
		if v.SkippedReason == nil {
			v.Trials = v.Trials[:3-i]
		}
	}
	summary.FillRun(run)
	return run
}

// StoppedRun returns a run from a busy machine with a CPU quota. Its first scenario was stopped,
// because none of its trials was valid.
func StoppedRun() *results.Run {
	run := FinishedRun()
	run.Environment.Machine = &results.Machine{
		Cores: 10, Nodes: 2, Capacities: []int{512, 1024}, QuotaCPUs: new(1.5),
		Governors: []string{"powersave"},
		Virtual:   "QEMU",
	}
	run.Environment.Capabilities["idle_cpus"] = "no: other programs use 1.4 of 2 CPUs (cc1 " +
		"0.92); most trials will be invalid"
	run.Environment.Capabilities["whole_cpus"] = "no: a quota of 1.5 CPUs on 2"
	s := run.Scenarios[0]
	const reason = "a CPU quota stopped this program and all it had started (for 1.2s); give it " +
		"whole CPUs and no quota"
	s.Stopped = "none of 6 trials was valid; no setting helps: a CPU quota stopped this program " +
		"and all it had started " +
		"in 6 of 6 trials"
	for _, v := range s.Variants {
		v.Trials = v.Trials[:min(2, len(v.Trials))]
		for _, t := range v.Trials {
			t.Valid, t.InvalidReasons = false, []string{reason}
			t.CPU.ThrottledNS = new(int64(1.2e9))
		}
	}
	for i := range s.Gates {
		s.Gates[i].Outcome, s.Gates[i].Note = results.GateUndecided, "no valid trial"
	}
	summary.FillRun(run)
	return run
}

// SmallRun returns FinishedRun with only the last trial of each variant.
func SmallRun() *results.Run {
	run := FinishedRun()
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			v.Trials = v.Trials[max(0, len(v.Trials)-1):]
		}
	}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

// ForeignRun returns SmallRun with servers that keep no journal. The connections of one variant
// were traced; for another variant only the clients' side is known.
func ForeignRun() *results.Run {
	run := SmallRun()
	s := run.Scenarios[0]
	traced, alone := s.Variants[0].Trials[0], s.Variants[2].Trials[0]
	traced.Witness = &results.Witness{
		By: results.ByTrace, Connections: traced.Attempts + 20, Strangers: 20,
	}
	traced.Workers = []results.Worker{
		{ID: 0, Name: "PID 811", Accepted: 3400, Served: 3400},
		{ID: 1, Name: "PID 812", Generation: 1, Accepted: 2600, Served: 2600},
	}
	traced.Background = new(int64(1))
	alone.Witness = &results.Witness{ClientOnly: "a proxy is between the clients and the servers"}
	alone.Background = new(int64(0))
	summary.FillRun(run)
	return run
}

// WatchedRun returns SmallRun with records of where the program ran and which resources it used.
func WatchedRun() *results.Run {
	run := SmallRun()
	run.Environment.HarnessCPUs = []int{0}
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				watched(t)
			}
		}
	}
	run.Scenarios[0].Variants[0].Trials[0].EarlyReads = 2
	run.Scenarios[0].Variants[2].Trials[0].Threads.Ran = []int{0, 1}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

func watched(t *results.Trial) {
	t.Threads = &results.Threads{N: 6, Allowed: []int{0}, Ran: []int{0}}
	t.CPU = results.CPU{
		LoadNS: new(int64(700e6)), ServersNS: new(int64(400e6)), WatchedNS: new(int64(3e9)),
		HarnessNS: new(int64(12e6)), WatchNS: new(int64(4e6)),
		StandInNS: new(int64(len(t.Steps)) * 1e6),
	}
	t.Queues = &results.Queues{Source: results.QueuesComputed,
		Listeners: []results.ListenerQueue{{Worker: new(0), Max: 3, Mean: 0.04}}}
	t.Series = &results.Series{WindowNS: 50e6,
		Queues: []results.QueueSeries{{Worker: new(0), First: 10, Longest: []int64{1, 3}}}}
	for k := range t.Steps {
		s := &t.Steps[k]
		s.LateNS, s.Queued = new(int64(40_000*(k+1))), new(int64(k))
		if s.Lost > 0 {
			at := int(s.AtNS / t.Series.WindowNS)
			t.Series.Lost = append(t.Series.Lost, make([]int64, at+1-len(t.Series.Lost))...)
			t.Series.Lost[at] += s.Lost
			t.Series.Counted = append(t.Series.Counted, results.Counted{FromNS: s.AtNS - 5e6,
				ToNS: s.AtNS + 195e6, Overflows: 2, Migrations: 1})
		}
	}
}

// NastyRun returns a run with everything that could make a line too long or disturb a terminal.
func NastyRun() *results.Run {
	run := FinishedRun()
	long := strings.Repeat("very-long-", 30)
	run.Version = long
	run.Warnings = []string{long + long, "two\nlines " + long}
	e := &run.Environment
	e.Kernel, e.CPUModel = long, "漢字 \x1b[31mred\x1b[0m\ttab "+long
	e.CPUs = 64
	e.LoadCPUs, e.ServerCPUs = nil, nil
	for cpu := range 64 {
		if cpu%2 == 0 {
			e.LoadCPUs = append(e.LoadCPUs, cpu)
		} else {
			e.ServerCPUs = append(e.ServerCPUs, cpu)
		}
	}
	for i := range 40 {
		e.Sysctls[long+string(rune('a'+i%26))] = long
		e.Capabilities[long+string(rune('a'+i%26))] = long
	}
	s := run.Scenarios[0]
	s.Name, s.About, s.Stopped = long, strings.Repeat("word ", 100)+long, long
	e.Machine = &results.Machine{Cores: 1 << 62, Nodes: 1 << 62, Governors: []string{long},
		Virtual: "\x1b[31m" + long}
	e.Capabilities["idle_cpus"] = "no: " + long
	for i, v := range s.Variants {
		v.Labels = maps.Clone(v.Labels)
		v.Labels["server.work.sleep"] = "100us"
		v.Labels[long] = "漢字漢字漢字" + long
		v.Labels["i"] = strings.Repeat("x", i)
		for _, t := range v.Trials {
			nastyTrial(t, long)
		}
	}
	s.Gates = append(s.Gates, results.GateResult{Labels: s.Variants[0].Labels, Expect: long,
		Outcome: long, Note: long})
	summary.FillRun(run)
	for _, v := range s.Variants {
		for metric, summary := range v.Summary {
			summary.Warnings = append(summary.Warnings, metric+" "+long)
			v.Summary[metric] = summary
		}
	}
	run.Claims = append(slices.Clone(run.Claims), results.Claim{ID: long, Verdict: long,
		Evidence: []string{long, long}})
	return run
}

func nastyTrial(t *results.Trial, long string) {
	t.InvalidReasons = append(t.InvalidReasons, long)
	t.Attempts, t.Served, t.Lost = 1<<62, 1<<61, 1<<61
	t.Kernel[long] = -1 << 62
	t.OfferedPerSecond = new(123456789.123)
	t.Evidence = results.Evidence{Kernel: 1 << 60, Counter: 1 << 60, Worker: 1 << 60,
		Client: 1 << 60}
	for _, cause := range []string{"reset_half_open", "accept_overflow", "syn_timeout", "refused",
		"closed_by_worker", "worker_crash",
		"no_route", "stale_endpoint", "stale_conntrack", "timeout", "client", "unknown", long} {
		t.LostByCause[cause] = 1 << 60
	}
	t.ResponseNS = &results.Percentiles{P50: 1, P90: 1 << 40, P99: 1 << 50, P999: 1 << 60,
		Max: 1 << 62}
	for k := range t.Steps {
		t.Steps[k].GapNS, t.Steps[k].ResolutionNS = new(1<<62-int64(k)), new(int64(1<<61))
		t.Steps[k].Lost = 1 << 55 >> (7 * k)
	}
	for k := range t.Losses {
		t.Losses[k].Source = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff%" + long + "]:65535"
		t.Losses[k].Error, t.Losses[k].Server, t.Losses[k].Cause = long, long, long
		t.Losses[k].ScheduledNS, t.Losses[k].DoneNS = 1<<62, -1<<62
		t.Losses[k].Worker = new(1 << 60)
	}
	for k := range t.Ledger {
		t.Ledger[k].Client, t.Ledger[k].Attempts = long, 1<<62
	}
}

// SharesRun returns a run whose variants have different capacities and were offered 0.6 of their
// capacity, so their offered rates differ. The occupancy of the first variant is known, and lower
// than 0.6.
func SharesRun() *results.Run {
	variant := func(kind string, capacity float64, load float64) *results.Variant {
		v := &results.Variant{Labels: Labels("server.kind", kind), CapacityPerSecond: &capacity}
		for i := range 8 {
			trial := RestartTrial(i)
			trial.OfferedPerSecond, trial.CapacityPerSecond = new(0.6*capacity), &capacity
			trial.ResponseNS.Max += int64(i%2) * 12e6 // makes the interval wide
			if load > 0 {
				trial.Occupancy = &results.Occupancy{MeanNS: 2e6, SDNS: 1e6, Load: load,
					WaitNS: 1e6, PredictedWaitNS: new(int64(9e5))}
			}
			v.Trials = append(v.Trials, trial)
		}
		return v
	}
	run := &results.Run{
		SchemaVersion: results.SchemaVersion, Program: "reuseport-bench",
		StartedAt:   time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Environment: results.Environment{CPUs: 1},
		Scenarios: []*results.Scenario{{
			Name: "shares", MinValid: 1, Trials: 8, Baseline: Labels("server.kind", "loop"),
			Variants: []*results.Variant{variant("loop", 882, 0.436), variant("http", 440, 0)},
		}},
	}
	summary.FillRun(run)
	return run
}

// LoopsRun returns a run with two scenarios. The first has a closed loop and restarts. The second
// compares a closed loop with an open loop that has stages. Both measured phases.
func LoopsRun() *results.Run {
	run := FinishedRun()
	run.Claims = nil
	restarted, closed, staged := &results.Variant{}, &results.Variant{}, &results.Variant{}
	restarted.Labels = Labels("stop", "close")
	closed.Labels, staged.Labels = Labels("load.concurrency", "67"), Labels("load.pace", "poisson")
	for i := range 8 {
		restarted.Trials = append(restarted.Trials, closedTrial(RestartTrial(i, 1, 0)))
		closed.Trials = append(closed.Trials, closedTrial(RestartTrial(i)))
		t := phased(RestartTrial(i))
		t.Stages = []results.Stage{
			{
				DurationNS: 1e9, FromPerSecond: 1000, ToPerSecond: 1000,
				Attempts: 1000, ResponseNS: t.ResponseNS,
			},
			{
				FromNS: 1e9, DurationNS: 2e9, FromPerSecond: 1000, ToPerSecond: 4000,
				Attempts: 5000, Lost: 4, Dropped: 3, ResponseNS: t.ServiceNS,
			},
		}
		staged.Trials = append(staged.Trials, t)
	}
	run.Scenarios = []*results.Scenario{
		{
			Name: "closed", Baseline: restarted.Labels, MinValid: 4, Trials: 8,
			Variants: []*results.Variant{restarted},
		},
		{
			Name: "both", Baseline: closed.Labels, MinValid: 4, Trials: 8,
			Variants: []*results.Variant{closed, staged},
		},
	}
	summary.FillRun(run)
	return run
}

// closedTrial turns the load of a trial into a closed loop with 67 clients.
func closedTrial(t *results.Trial) *results.Trial {
	t.Concurrency, t.ServedPerSecond = 67, new(1990+float64(t.Block))
	t.OfferedPerSecond, t.ScheduleLagP99NS = nil, nil
	for k := range t.Steps {
		s := &t.Steps[k]
		s.GapNS, s.OutageNS, s.LostShare = nil, nil, nil
		s.ResolutionNS, s.ScheduleLagMaxNS = nil, nil
	}
	return phased(t)
}

// phased adds phases, service time, and the mean and deviation of response time to a trial.
func phased(t *results.Trial) *results.Trial {
	vary := int64(t.Block) * 1000
	of := func(p50, p90, p99 int64) *results.Percentiles {
		return &results.Percentiles{P50: p50 + vary, P90: p90 + vary, P99: p99 + vary}
	}
	t.ConnectNS, t.FirstByteNS = of(40_000, 61_000, 130_000), of(180_000, 350_000, 880_000)
	t.ServiceNS = of(190_000, 360_000, 890_000)
	t.ResponseNS.Mean, t.ResponseNS.SD = 260_000+vary, 170_000+vary
	return t
}

// FewRun returns a run with one trial, two restarts, and 150 ms of schedule lag.
func FewRun() *results.Run {
	run := FinishedRun()
	s := run.Scenarios[0]
	for i, v := range s.Variants {
		if v.SkippedReason == nil {
			v.Trials = []*results.Trial{RestartTrial(0, int64(2*i), 0)}
			v.Trials[0].ScheduleLagP99NS, v.Trials[0].StepsLate,
				v.Trials[0].Steps[0].Censored = new(int64(150e6)), 1, true
			v.Trials[0].Lost++
		}
	}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

// GatedRun returns FinishedRun with gates of every outcome, and with a void scenario.
func GatedRun() *results.Run {
	run := FinishedRun()
	s, steady := run.Scenarios[0], run.Scenarios[1]
	s.File, steady.File = "scenarios/rolling-restart.yaml", "scenarios/steady.yaml"
	s.Gates = append(s.Gates,
		results.GateResult{Labels: s.Variants[0].Labels, Expect: "lost_per_restart <= 0.1",
			Outcome: results.GateFail,
			Note:    "0.500 [0.305, 0.772]", File: s.File, Line: 31},
		results.GateResult{Labels: s.Variants[1].Labels, Expect: "p99 < 1ms",
			Outcome: results.GateUndecided,
			Note:    "100 %: of\nboth", Soft: true, File: s.File, Line: 33},
	)
	steady.Void = "the baseline, measured twice, differs from itself: response_p50_ns ratio 1.2"
	return run
}

// LittleRuns returns runs with almost no content, by name.
func LittleRuns() map[string]*results.Run {
	return map[string]*results.Run{
		"nothing":        {},
		"empty scenario": {Scenarios: []*results.Scenario{{Name: "s"}}},
		"untried variant": {Scenarios: []*results.Scenario{{Name: "s",
			Variants: []*results.Variant{{}}}}},
		"bare trial": {Scenarios: []*results.Scenario{{Name: "s",
			Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}}}}},
		"half a summary": {Scenarios: []*results.Scenario{{Name: "s",
			Variants: []*results.Variant{{
				Summary: map[string]results.Summary{
					metrics.LostPerRestart: {Method: results.MethodRuleOfThree},
					metrics.Gap:            {Lo: new(1.)},
				},
				Trials: []*results.Trial{{
					Valid: true, Steps: []results.Step{{Do: "replace"}}, Losses: []results.Loss{{}},
				}},
			}}}}},
	}
}

// Widths returns the terminal widths for which text is tested, in columns. The last one is the
// width of text in files.
func Widths() []int { return []int{40, 60, 80, 160, 100} }

// Printed returns the run as p prints it, with the zero value of p's options.
func Printed[O any](
	t testing.TB, p func(io.Writer, *results.Run, O) error, run *results.Run,
) string {
	t.Helper()
	var out bytes.Buffer
	var options O
	if err := p(&out, run, options); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A Failing writer fails after the given number of bytes, as a full disk does.
type Failing int

func (f *Failing) Write(p []byte) (int, error) {
	if *f -= Failing(len(p)); *f < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// NeverSend turns n served attempts of a trial into attempts that the load never sent, in the
// window of the trial's first step.
func NeverSend(t *results.Trial, n int64) {
	t.Steps[0].Dropped = new(t.Steps[0].Lost)
	t.Steps[0].Lost += n
	t.Lost, t.Served, t.NeverSent = t.Lost+n, t.Served-n, &n
	t.LostByCause[cause.Client] += n
	t.Ledger[0].Attempts -= n
	t.Ledger = append(t.Ledger, results.LedgerRow{
		Client: "connect: unsent", Server: "never accepted", Cause: cause.Client, Attempts: n,
		Explained: true,
	})
}

// passages returns the patterns of Faults. They are compiled at the first call.
var passages = sync.OnceValue(func() (p struct{ exponent, bound, percent, one *regexp.Regexp }) {
	p.exponent = regexp.MustCompile(`[0-9]e[-+][0-9]`)
	p.bound = regexp.MustCompile(`≤ ([0-9]+)/([0-9]+)`)
	p.percent = regexp.MustCompile(`± ([0-9]+) %`)
	// Match only nouns that reports count; "1 of 10 trials" is correct.
	p.one = regexp.MustCompile(`(^|[^0-9.,:/\]])\b1 ((more|valid|planned|lost) )*` +
		`(trials|restarts|steps|attempts|blocks|pairs|variants|gates|comparisons|runs|events|` +
		`counts|reasons|scenarios|CPUs|workers|connections)\b`)
	return p
})

// Faults returns the passages in a text that do not read well: a number in exponent form, a share
// above 1, a bound from too few restarts, or a plural noun after "1".
func Faults(text string) (faults []string) {
	p := passages()
	text = strings.Join(strings.Fields(text), " ")
	for _, found := range []*regexp.Regexp{p.exponent, p.one} {
		if at := found.FindStringIndex(text); at != nil {
			faults = append(faults, "…"+text[max(0, at[0]-30):min(len(text), at[1]+30)]+"…")
		}
	}
	for _, match := range p.bound.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(match[2]); err != nil || match[1] != "3" || n < 10 {
			faults = append(faults, match[0])
		}
	}
	for _, match := range p.percent.FindAllStringSubmatch(text, -1) {
		if len(match[1]) > 2 && match[1] != "100" {
			faults = append(faults, match[0])
		}
	}
	return faults
}

// PagedRun returns FinishedRun with what the charts of a page need: histograms, windows, the losses
// around stops, and the lives of workers.
func PagedRun() *results.Run {
	run := FinishedRun()
	for _, s := range run.Scenarios {
		s.YAML = "name: " + s.Name + "\nload: {rate: 2000/s, duration: 3s}\n"
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				paged(t)
			}
		}
	}
	return run
}

// paged adds the data of charts to a trial of 3 s.
func paged(t *results.Trial) {
	h := results.NewHistogram()
	for i := range t.Served {
		ns := int64(200_000 + 20*i)
		if i%100 == 0 {
			ns = 900_000 + 600*i
		}
		h.Record(ns)
	}
	t.Histogram = h.Encode()
	w := &results.Windows{Lost: results.Counts{}}
	var times []int64
	for ns := int64(0); ns < 3e9; ns += 30e6 {
		w.EdgesNS, w.Served = append(w.EdgesNS, ns), append(w.Served, 0)
		times = append(times, 200_000+ns%7_000_000/10)
	}
	w.EdgesNS = append(w.EdgesNS, 3e9)
	w.ResponseNS = results.WindowTimes{P50: times, P99: times, Max: times}
	w.Queues = []results.QueueSeries{{Worker: new(0), First: 10, Longest: []int64{1, 3, 2}}}
	w.Machine = &results.MachineWindows{EdgesNS: []int64{0, 1e9, 3e9}, StealNS: []int64{0, 20e6},
		RunQueueDelayNS: []int64{1e6, 0}}
	t.Windows, t.Workers = w, nil
	if len(t.Steps) > 0 {
		t.AroundStops = results.NewAroundStops()
		t.AroundStops.Stops = int64(len(t.Steps))
	}
	for _, l := range t.Losses {
		w.Lost.Add(l.Cause, int(l.ScheduledNS/30e6), 1)
		t.AroundStops.Add(l.Cause, time.Duration(l.ScheduledNS-*t.Steps[*l.Step].StopNS))
	}
	started := new(int64(-50e6))
	for k, s := range t.Steps {
		t.Workers = append(t.Workers, results.Worker{ID: k, Generation: k, Accepted: 1000,
			StartedNS: started, ReadyNS: new(*started + 9e6), StopNS: s.StopNS,
			ClosedNS: s.ClosedNS, GoneNS: new(*s.ClosedNS + 2e6)})
		started = new(s.AtNS)
	}
	t.Workers = append(t.Workers, results.Worker{ID: len(t.Steps), Generation: len(t.Steps),
		Accepted: 3000, StartedNS: started, ReadyNS: new(*started + 9e6)})
	if len(t.Steps) == 0 {
		t.Workers = append(t.Workers, results.Worker{ID: 1, Accepted: 3100, StartedNS: started})
	}
}

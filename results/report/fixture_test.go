package report

import (
	"maps"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/summary"
)

func ptr[T any](x T) *T { return &x }

func labels(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// restartTrial is the i-th trial of a variant: 6000 attempts at 2000/s and a restart for each of lost.
func restartTrial(i int, lost ...int64) *results.Trial {
	vary := int64(i*37%11) * 1000 // so that intervals are not points
	t := &results.Trial{
		Valid: true, Block: i, Order: i, Attempts: 6000, Served: 6000,
		LostByCause: map[string]int64{}, LostByPhase: map[string]int64{},
		LostSentAfterClose: ptr[int64](0), SYNRetransmits: ptr[int64](0),
		OfferedPerSecond: 2000, AchievedPerSecond: 1999.5, TimeoutNS: 900e6, ScheduleLagP99NS: 130_000 + vary,
		ResponseNS: &results.Percentiles{
			P50: 210_000 + vary, P90: 380_000 + 2*vary, P99: 910_000 + 9*vary, P999: 4_500_000 + 30*vary, Max: 12_300_000 + 100*vary,
		},
		Fairness: &results.Fairness{Generation: 3, Jain: 0.999, MaxOverMean: 1.02, Chi2P: 0.41},
		Kernel:   map[string]int64{"TcpOutRsts": 0, "TcpExtListenDrops": 0},
		Ledger:   []results.LedgerRow{{Client: "served", Server: "served", Attempts: 6000, Explained: true}},
	}
	for k, n := range lost {
		at := int64(500e6) + int64(k)*200e6
		t.Steps = append(t.Steps, results.Step{
			Do: "replace", Target: "generation 1", AtNS: at, ReadyNS: ptr(at + 9e6), StopNS: ptr(at + 10e6), ClosedNS: ptr(at + 10_200_000),
			GapNS: n * 500_000, OutageNS: n * 700_000, LostShare: min(float64(n), 1), ResolutionNS: 500_000,
			StallNS: ptr(8_000_000 + 50*vary), TakeoverNS: ptr(412_000 + vary), TailNS: ptr(1_200 + vary/10), Lost: n,
		})
		for j := range n {
			lose(t, k, at+10e6+j*500_000)
		}
	}
	return t
}

// lose turns a served attempt into one reset at close by step k.
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
		t.Ledger = append(t.Ledger, results.LedgerRow{Client: "lost: reset", Server: "never accepted", Cause: "reset_at_close", Explained: true})
	}
	t.Ledger[1].Attempts++
	t.Losses = append(t.Losses, results.Loss{
		Sequence: int64(len(t.Losses)), ScheduledNS: scheduled, SentNS: scheduled + 90_000, DoneNS: scheduled + 310_000,
		Source: "127.0.3.7:20481", Phase: "wait", Error: "reset", Server: "never accepted",
		Cause: "reset_at_close", Evidence: "kernel", Worker: ptr(2), Step: ptr(k),
	})
}

// finishedRun is a run with what a report must cope with: a variant that loses, one that loses nothing, one with invalid
// trials, one with too few valid ones, one skipped; and a scenario without steps.
func finishedRun() *results.Run {
	lossy := &results.Variant{Labels: labels("sockets", "reuseport", "stop", "close")}
	clean := &results.Variant{Labels: labels("sockets", "reuseport", "stop", "drain")}
	few := &results.Variant{Labels: labels("sockets", "shared", "stop", "handoff")}
	skipped := &results.Variant{Labels: labels("sockets", "reuseport", "stop", "bpf-migrate"), SkippedReason: ptr("needs CAP_BPF: run as root")}
	for i := range 8 {
		lossy.Trials = append(lossy.Trials, restartTrial(i, 1, 0, int64(i%2), 0, 1))
		clean.Trials = append(clean.Trials, restartTrial(i, 0, 0, 0, 0, 0))
	}
	clean.Trials = append(clean.Trials, residualTrial(8), laggingTrial(9))
	for i := range 3 {
		few.Trials = append(few.Trials, restartTrial(i, 0, 0))
	}
	few.Trials[2].Steps[1].Censored = true
	few.Trials[2].LossesOmitted = 12

	steady := &results.Variant{}
	for i := range 8 {
		t := restartTrial(i)
		t.LostSentAfterClose = nil
		t.Fairness.Chi2P = 1e-9
		steady.Trials = append(steady.Trials, t)
	}

	run := &results.Run{
		SchemaVersion: results.SchemaVersion, Program: "reuseport-bench", Version: "v0.1.0", Seed: 20260304,
		StartedAt:  time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		FinishedAt: ptr(time.Date(2026, 3, 4, 5, 8, 50, 0, time.UTC)),
		Environment: results.Environment{
			Kernel: "6.18.44", Go: "go1.26.8", CPUs: 2, CPUModel: "AMD EPYC 7763 64-Core Processor",
			Sysctls:      map[string]string{"net.core.somaxconn": "4096", "net.ipv4.tcp_max_tw_buckets": "262144"},
			Capabilities: map[string]string{"user_namespace": "yes", "bpf": "no CAP_BPF"},
			LoadCPUs:     []int{0}, ServerCPUs: []int{1},
		},
		Scenarios: []*results.Scenario{
			{
				Name: "rolling-restart", About: "Replace every worker under load. What does each way of stopping lose?",
				SHA256: "5f", Baseline: labels("sockets", "reuseport", "stop", "close"), MinValid: 4, Trials: 8,
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

// residualTrial is invalid because one attempt is unaccounted for.
func residualTrial(i int) *results.Trial {
	t := restartTrial(i, 0, 0, 0, 0, 0)
	t.Valid, t.InvalidReasons, t.Residual = false, []string{"residual is 1, not 0"}, 1
	t.Ledger[0].Attempts--
	t.Ledger = append(t.Ledger, results.LedgerRow{Client: "served", Server: "never accepted", Attempts: 1})
	return t
}

// laggingTrial is invalid because the generator could not keep up, and has a figure that would show.
func laggingTrial(i int) *results.Trial {
	t := restartTrial(i, 3, 3, 3, 3, 3)
	t.Valid, t.InvalidReasons = false, []string{"schedule lag p99 31.2 ms > 10 % of response p99", "residual is 1, not 0"}
	t.ResponseNS = &results.Percentiles{P50: 88.8e9, P90: 88.8e9, P99: 88.8e9, P999: 88.8e9, Max: 88.8e9}
	return t
}

// interruptedRun is finishedRun, stopped after three blocks.
func interruptedRun() *results.Run {
	run := finishedRun()
	run.FinishedAt, run.Claims = nil, nil
	run.Warnings = []string{"results/runs/x/trials.jsonl:7: cut off in mid-line by a crash; that trial is lost"}
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

// smallRun is finishedRun with the last trial of each variant alone.
func smallRun() *results.Run {
	run := finishedRun()
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			v.Trials = v.Trials[max(0, len(v.Trials)-1):]
		}
	}
	summary.FillRun(run)
	run.Claims = claims.Decide(run, []string{"rolling-restart", "steady"})
	return run
}

// nastyRun has everything that could make a line too long or a terminal misbehave.
func nastyRun() *results.Run {
	run := finishedRun()
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
	s.Name, s.About = long, strings.Repeat("word ", 100)+long
	for i, v := range s.Variants {
		v.Labels = maps.Clone(v.Labels)
		v.Labels["server.work.sleep"] = "100us"
		v.Labels[long] = "漢字漢字漢字" + long
		v.Labels["i"] = strings.Repeat("x", i)
		for _, t := range v.Trials {
			nastyTrial(t, long)
		}
	}
	s.Gates = append(s.Gates, results.GateResult{Labels: s.Variants[0].Labels, Expect: long, Outcome: long, Note: long})
	summary.FillRun(run)
	for _, v := range s.Variants {
		for metric, summary := range v.Summary {
			summary.Warnings = append(summary.Warnings, metric+" "+long)
			v.Summary[metric] = summary
		}
	}
	run.Claims = append(slices.Clone(run.Claims), results.Claim{ID: long, Verdict: long, Evidence: []string{long, long}})
	return run
}

func nastyTrial(t *results.Trial, long string) {
	t.InvalidReasons = append(t.InvalidReasons, long)
	t.Attempts, t.Served, t.Lost = 1<<62, 1<<61, 1<<61
	t.Kernel[long] = -1 << 62
	t.OfferedPerSecond = 123456789.123
	t.Evidence = results.Evidence{Kernel: 1 << 60, Counter: 1 << 60, Worker: 1 << 60, Client: 1 << 60}
	for _, cause := range []string{"reset_half_open", "accept_overflow", "syn_timeout", "refused", "closed_by_worker", "worker_crash",
		"no_route", "stale_endpoint", "stale_conntrack", "timeout", "client", "unknown", long} {
		t.LostByCause[cause] = 1 << 60
	}
	t.ResponseNS = &results.Percentiles{P50: 1, P90: 1 << 40, P99: 1 << 50, P999: 1 << 60, Max: 1 << 62}
	for k := range t.Steps {
		t.Steps[k].GapNS, t.Steps[k].ResolutionNS = 1<<62-int64(k), 1<<61
		t.Steps[k].Lost = 1 << 55 >> (7 * k)
	}
	for k := range t.Losses {
		t.Losses[k].Source = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff%" + long + "]:65535"
		t.Losses[k].Error, t.Losses[k].Server, t.Losses[k].Cause = long, long, long
		t.Losses[k].ScheduledNS, t.Losses[k].DoneNS = 1<<62, -1<<62
		t.Losses[k].Worker = ptr(1 << 60)
	}
	for k := range t.Ledger {
		t.Ledger[k].Client, t.Ledger[k].Attempts = long, 1<<62
	}
}

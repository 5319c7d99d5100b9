package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

// requireSelectors skips a test that needs eBPF selectors if they cannot be loaded.
func requireSelectors(t *testing.T) {
	t.Helper()
	requireLab(t)
	options := probeOptions()
	options.Only = []string{doctor.SKReuseport, doctor.SockArray}
	for _, r := range doctor.Examine(t.Context(), options) {
		if r.Status != doctor.Yes {
			testkit.Skip(t, "%s: %s", r.Name, r.Detail)
		}
	}
}

// byLabels maps labels to trials, for a run with one trial for each variant.
func byLabels(run *results.Run) map[string]*results.Trial {
	all := map[string]*results.Trial{}
	for _, v := range run.Scenarios[0].Variants {
		for _, tr := range v.Trials {
			all[results.LabelString(v.Labels)] = tr
		}
	}
	return all
}

// accepted returns the number of connections that each worker of a generation accepted, by index.
func accepted(tr *results.Trial, generation int) (counts []int64) {
	for _, w := range tr.Workers {
		if w.Generation == generation && !w.Acceptor {
			counts = append(counts, w.Accepted)
		}
	}
	return counts
}

func sum(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// switches returns the number of times that workers were scheduled while the load ran.
func switches(tr *results.Trial) (n int64) {
	for _, w := range tr.Workers {
		if w.ContextSwitches != nil {
			n += *w.ContextSwitches
		}
	}
	return n
}

// inTurn checks that workers took turns: their counts differ by at most one, or more if SYNs were
// retransmitted, because each of these may have taken two turns.
func inTurn(t *testing.T, what string, tr *results.Trial, counts []int64) {
	t.Helper()
	slack := int64(1)
	if tr.SYNRetransmits != nil {
		slack += *tr.SYNRetransmits
	}
	if slices.Max(counts)-slices.Min(counts) > slack {
		t.Errorf("%s: the workers accepted %v, which is not in turn", what, counts)
	}
}

// rare is the probability of each tail outside 4.5 standard deviations of a normal distribution.
const rare = 3.4e-6

// binomial returns an interval for the number of successes in n tries with probability p each. The
// number is below lo with a probability less than tail, and above hi with a probability less than
// tail.
func binomial(n int64, p, tail float64) (lo, hi int64) {
	lgamma := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	density := func(k int64) float64 {
		return math.Exp(lgamma(n) - lgamma(k) - lgamma(n-k) + float64(k)*math.Log(p) +
			float64(n-k)*math.Log1p(-p))
	}
	for below := density(0); below < tail; below += density(lo) {
		lo++
	}
	hi = n
	for above := density(n); above < tail; above += density(hi) {
		hi--
	}
	return lo, hi
}

func TestBinomial(t *testing.T) {
	// In 10 tosses of a fair coin, at most 1 head has the probability 11/1024, at most 2 have
	// 56/1024.
	for tail, want := range map[float64][2]int64{
		0.0005: {0, 10}, 0.005: {1, 9}, 0.02: {2, 8}, 0.1: {3, 7},
	} {
		if lo, hi := binomial(10, 0.5, tail); lo != want[0] || hi != want[1] {
			t.Errorf("tail %v: %d to %d, want %d to %d", tail, lo, hi, want[0], want[1])
		}
	}
}

// windows returns the median of value over the fairness windows of a trial. A pause of the machine
// in one window hardly changes the median.
func windows(tr *results.Trial, value func(results.FairnessWindow) float64) float64 {
	var all []float64
	for _, w := range tr.Fairness.Windows {
		all = append(all, value(w))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

const distributionScenario = `
name: ways
about: Every way to accept and to select.
workers: 4
load: {rate: 800/s, duration: 400ms, processes: 1}
matrix:
  - {sockets: [shared], accept: [epoll, epoll-exclusive, epoll-edge, blocking, acceptor]}
  - {sockets: [reuseport], accept: [epoll, epoll-exclusive, epoll-edge, blocking]}
  - {sockets: [reuseport], selector: [cpu, round-robin, least-loaded]}
  - {sockets: [reuseport], selector: [incoming-cpu], pin: [cpu]}
  - {sockets: [reuseport], selector: [weighted], canary: [0.2]}
  - {sockets: [shared, reuseport], server.kind: [http]}
  - {sockets: [reuseport], server.kind: [http], selector: [round-robin]}
  - {sockets: [reuseport], server.kind: [http], selector: [weighted], canary: [0.1]}
trials: 1
` + punctual

// Each way to distribute connections does what its name says, at a rate at which the workers are
// often idle.
func TestKernelDistribution(t *testing.T) {
	requireSelectors(t)
	run := carriedOut(t, distributionScenario, "--seed", "11")
	const attempts = 320
	for _, v := range run.Scenarios[0].Variants {
		what := results.LabelString(v.Labels)
		if len(v.Trials) != 1 || v.SkippedReason != nil {
			t.Errorf("%s: %d trials", what, len(v.Trials))
			continue
		}
		tr := v.Trials[0]
		counts := accepted(tr, 0)
		t.Logf("%s: accepted %v, Jain %.3f, %d context switches", what, counts, tr.Fairness.Jain,
			switches(tr))
		if tr.Attempts != attempts || tr.Lost != 0 || len(counts) != 4 || sum(counts) != attempts {
			t.Errorf("%s: %d attempts, %d lost: %v; accepted %v", what, tr.Attempts, tr.Lost,
				tr.LostByCause, counts)
		}
		total := int64(0)
		for _, w := range tr.Fairness.Windows {
			total += w.Connections
		}
		if total != sum(counts) {
			t.Errorf("%s: %d connections in the windows, %d in all", what, total, sum(counts))
		}
		queuesOf(t, what, tr, v.Labels["sockets"] == "shared")
		asNamed(t, what, v.Labels, tr, counts, run.Environment.LoadCPUs)
	}
	// A connection wakes one worker with epoll-exclusive, and all idle workers with epoll: about
	// 450 wake-ups against 1600 on a quiet machine, and fewer on a machine that pauses.
	all := byLabels(run)
	one := switches(all["sockets=shared accept=epoll-exclusive"])
	herd := switches(all["sockets=shared accept=epoll"])
	if one < attempts/2 || 10*one > 9*herd {
		t.Errorf("%d context switches with EPOLLEXCLUSIVE, %d without", one, herd)
	}
}

// queuesOf checks that the trial has the length of every listener's queue or, if shared, of the
// only queue.
func queuesOf(t *testing.T, what string, tr *results.Trial, shared bool) {
	t.Helper()
	q := tr.Queues
	if q == nil || q.Source != results.QueuesComputed || q.Unplaced != 0 {
		t.Errorf("%s: queues %+v", what, q)
		return
	}
	want := 4
	if shared {
		want = 1
	}
	if len(q.Listeners) != want {
		t.Errorf("%s: %d listeners, want %d", what, len(q.Listeners), want)
	}
	for i, l := range q.Listeners {
		own := l.Worker != nil && *l.Worker == i && tr.Workers[i].QueueMax != nil &&
			*tr.Workers[i].QueueMax == l.Max
		if shared && l.Worker != nil || !shared && !own {
			t.Errorf("%s: listener %d is %+v of %+v", what, i, l, tr.Workers)
		}
		if l.Max < 0 || l.Mean > float64(l.Max) {
			t.Errorf("%s: listener %d: at most %d, on average %v", what, i, l.Max, l.Mean)
		}
	}
}

// asNamed checks that connections were distributed in the way that labels name.
func asNamed(
	t *testing.T, what string, labels map[string]string, tr *results.Trial, counts []int64,
	loadCPUs []int,
) {
	t.Helper()
	switch way := cmp.Or(labels["selector"], labels["accept"]); {
	case way == "acceptor", way == "round-robin":
		inTurn(t, what, tr, counts)
	case way == "weighted":
		canary, err := strconv.ParseFloat(labels["canary"], 64)
		if err != nil {
			t.Fatal(err)
		}
		// The selector's random numbers depend on the run's seed, so the test always has the same
		// result. The interval has tails of 0.05 % each.
		if lo, hi := binomial(tr.Attempts, canary, 0.0005); counts[3] < lo || counts[3] > hi {
			t.Errorf("%s: the canary accepted %d of %d, want %d to %d", what, counts[3],
				tr.Attempts, lo, hi)
		}
	case way == "cpu":
		// On loopback the kernel handles a SYN on the CPU of the load process that sent it.
		places := map[int]bool{}
		for _, c := range loadCPUs {
			places[c%4] = true
		}
		idle := func(n int64) bool { return n == 0 }
		if got := len(slices.DeleteFunc(slices.Clone(counts), idle)); got > len(places) {
			t.Errorf("%s: %d workers accepted %v; the load runs on the CPUs %v", what, got, counts,
				loadCPUs)
		}
	case way == "blocking" && labels["sockets"] == "shared":
		// Workers are woken in turn. A worker that has been preempted misses its turn. On a quiet
		// machine Jain's index is over 0.99; with epoll it is about 0.6.
		ofWindow := func(w results.FairnessWindow) float64 { return w.Jain }
		jain := max(tr.Fairness.Jain, windows(tr, ofWindow))
		if jain < 0.85 {
			t.Errorf("%s: Jain %.3f; accepted %v", what, jain, counts)
		}
	case way == "epoll-exclusive" && labels["sockets"] == "shared":
		// The first waiter in the list is woken each time. If it has not yet returned to
		// epoll_wait, the next waiter is woken instead. The frequency of this depends on the CPU,
		// which four workers share.
		ofWindow := func(w results.FairnessWindow) float64 { return w.MaxOverMean }
		if ratio := windows(tr, ofWindow); ratio < 1.5 {
			t.Errorf("%s: the busiest worker has %.2f of the mean in the median window; "+
				"accepted %v", what, ratio, counts)
		}
	}
	for _, w := range tr.Workers {
		if w.Acceptor && (w.Accepted != 0 || labels["accept"] != "acceptor") {
			t.Errorf("%s: acceptor %+v", what, w)
		}
	}
	if labels["accept"] == "acceptor" && len(tr.Workers) != 5 {
		t.Errorf("%s: %d processes, want four workers and one acceptor", what, len(tr.Workers))
	}
}

// While the workers are stopped, each attempt adds one connection to a queue. The queue lengths
// computed from samples and journals agree with those that the kernel reports.
func TestKernelQueues(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: queues
about: Every worker is stopped for 300 ms.
workers: 4
load: {rate: 1000/s, duration: 700ms}
timeline: [{at: 200ms, do: stall, for: 300ms}]
queue_depth: sampled
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+punctual)
	for sockets, list := range trials(run, "sockets") {
		tr := list[len(list)-1]
		queuesOf(t, sockets, tr, sockets == "shared")
		// The sum of the maxima: all queues were longest just before the workers continued.
		longest, sampled := int64(0), int64(0)
		for i, l := range tr.Queues.Listeners {
			longest += l.Max
			if l.SampledMax == nil || l.SampledMean == nil || *l.SampledMax > l.Max+2 {
				t.Errorf("%s: listener %d: sampled %v and %v of %d", sockets, i, l.SampledMax,
					l.SampledMean, l.Max)
				continue
			}
			sampled += *l.SampledMax
		}
		s := tr.Steps[0]
		if s.Queued == nil {
			t.Fatalf("%s: the kernel was not asked how many were queued", sockets)
		}
		expected := (*s.ReadyNS - *s.StopNS) / *s.ResolutionNS // about 300
		// At most the attempts due during the measured stall were queued at once. There are fewer
		// if the machine pauses the load.
		limit := *s.StallNS / *s.ResolutionNS + 2
		if sockets == "reuseport" {
			// The sum of the maxima may be larger, because the workers continue at different
			// instants, each when it gets a CPU.
			limit += limit / 2
		}
		t.Logf("%s: %d queued, %d sampled, %d when the workers went on, %d due while they were "+
			"stopped", sockets, longest, sampled, *s.Queued, expected)
		if longest < expected/2 || longest > limit {
			t.Errorf("%s: %d queued at most; %d attempts were due in the stall, want %d to %d",
				sockets, longest, expected, expected/2, limit)
		}
		// The kernel was read just before the workers continued. Until they accept, connections may
		// join the queues, but none leaves them.
		if *s.Queued > longest+2 || *s.Queued < expected/2 {
			t.Errorf("%s: the kernel said %d, of at most %d", sockets, *s.Queued, longest)
		}
		if first := slices.Max(tr.Series.Queues[0].Longest); first != tr.Queues.Listeners[0].Max {
			t.Errorf("%s: the longest window has %d, the queue %d", sockets, first,
				tr.Queues.Listeners[0].Max)
		}
	}
}

// With every selector, new workers get connections after a restart, and connections are lost only
// in the ways that the stop mode explains.
func TestKernelSelectorsAndSteps(t *testing.T) {
	requireSelectors(t)
	t.Parallel()
	run := carriedOut(t, `
name: selectors
about: Every step under every selector.
workers: 4
server: {work: {sleep: 100us}}
load: {rate: 1000/s, duration: 1400ms}
stop: drain
timeline:
  - {at: 100ms, do: add}
  - {at: 300ms, do: remove, target: 0}
  - {at: 500ms, do: kill, target: 0}
  - {at: 700ms, do: roll}
  - {at: 900ms, do: replace}
matrix:
  - {selector: [round-robin, least-loaded]}
  - {selector: [weighted], canary: [0.2]}
trials: 1
`+lenient)
	// late reports whether the workers that a step started had less than 0.1 s to get a connection,
	// because the machine was busy.
	late := func(tr *results.Trial, step int) bool {
		until := int64(1400 * time.Millisecond)
		if next := map[int]int{0: 3, 3: 4}[step]; next > 0 { // the step that stops them
			until = *tr.Steps[next].StopNS
		}
		return *tr.Steps[step].ReadyNS > until-int64(100*time.Millisecond)
	}
	for what, tr := range byLabels(run) {
		t.Logf("%s: %d lost: %v", what, tr.Lost, tr.LostByCause)
		lostOnlyBy(t, what, tr, "reset_at_close", "reset_half_open", "worker_crash")
		if len(tr.Steps) != 5 || len(tr.Workers) != 12 {
			t.Errorf("%s: %d steps, %d workers; want 5 and 12", what, len(tr.Steps),
				len(tr.Workers))
			continue
		}
		// The first workers are 0 to 3. Step 0 adds 4, step 1 removes 0, step 2 kills 1. Step 3
		// replaces 2, 3 and 4 by 5, 6 and 7. Step 4 replaces all workers by 8 to 11.
		steps := map[int]int{4: 0, 5: 3, 6: 3, 7: 3, 8: 4, 9: 4, 10: 4, 11: 4}
		for _, w := range tr.Workers {
			step, started := steps[w.ID]
			if w.Accepted == 0 && !(started && late(tr, step)) {
				t.Errorf("%s: worker %d accepted nothing", what, w.ID)
			}
		}
		for _, i := range []int{0, 3, 4} {
			if s := tr.Steps[i]; s.TakeoverNS == nil && !late(tr, i) {
				t.Errorf("%s: no worker that %s started has answered", what, s.Do)
			}
		}
	}
}

// One of four workers stalls for 600 ms, and the clients' timeout is half as long. When the worker
// continues, it finds the abandoned connections in its queue, so the ledger attributes them to this
// worker.
func TestKernelOneStalled(t *testing.T) {
	requireSelectors(t)
	run := carriedOut(t, `
name: one-stalled
about: One worker of four stands still.
workers: 4
load: {rate: 1200/s, duration: 1s, timeout: 300ms}
timeline: [{at: 150ms, do: stall, target: 1, for: 600ms}]
matrix:
  - {sockets: [reuseport], selector: [hash, least-loaded], stall: [sigstop, spin]}
  - {sockets: [shared], stall: [sigstop, spin]}
trials: 1
`+punctual)
	for what, tr := range byLabels(run) {
		s, lost := tr.Steps[0], int64(0)
		for _, l := range tr.Losses {
			if l.Worker != nil && *l.Worker == 1 {
				lost++
			}
		}
		due := (*s.ReadyNS - *s.StopNS) / *s.ResolutionNS // about 720
		// 360 attempts were due so early that they timed out during the stall.
		tooEarly := (*s.ReadyNS - *s.StopNS - tr.TimeoutNS) / *s.ResolutionNS
		t.Logf("%s: %d lost by the stalled worker, %d in all, of %d due in the stall", what, lost,
			tr.Lost, due)
		if s.Target != "worker 1" || *s.ReadyNS-*s.StopNS < 600e6 {
			t.Errorf("%s: step %+v", what, s)
		}
		lo, hi := int64(0), int64(0)
		switch {
		case strings.Contains(what, "hash"):
			// A quarter of 360 is 90, with a standard deviation of 8. The number is smaller if
			// attempts are sent late, and larger if the worker continues late.
			lo, hi = tooEarly/4-40-int64(sentLate(tr, 1200)/4), due/2
		case strings.Contains(what, "least-loaded"):
			// As soon as a connection waits in this worker's queue, the selector prefers the other
			// workers, unless these are delayed by the machine and have queues, too.
			hi = due / 20
			for _, paused := range []*int64{s.StealNS, s.RunQueueDelayNS} {
				if paused != nil {
					hi += *paused / *s.ResolutionNS / 4
				}
			}
		default:
			// The worker had accepted and not answered at most one attempt, and perhaps a few more
			// whose requests had not arrived yet.
			hi = 5
		}
		if lost < lo || lost > hi {
			t.Errorf("%s: %d lost by the stalled worker, want %d to %d", what, lost, lo, hi)
		}
	}
}

// Workers that block in accept(2) can be restarted.
func TestKernelBlockingRestarts(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: blocking
about: Restarts of workers that wait in accept.
accept: blocking
server: {work: {sleep: 200us}}
load: {rate: 1000/s, duration: 890ms}
timeline: [{at: 150ms, every: 250ms, do: replace}]
matrix:
  - {sockets: [shared], stop: [handoff, kill]}
  - {sockets: [reuseport], stop: [close, drain, kill]}
trials: 1
`+lenient)
	const resetAtClose, halfOpen, crash = "reset_at_close", "reset_half_open", "worker_crash"
	allowed := map[string][]string{
		"sockets=shared stop=handoff": nil, "sockets=shared stop=kill": {crash},
		// Rarely, the kernel drops a SYN without an answer because its listener is just being
		// closed. The loss is attributed to the close.
		"sockets=reuseport stop=close": {resetAtClose, halfOpen, "syn_timeout"},
		"sockets=reuseport stop=drain": {resetAtClose, halfOpen, "syn_timeout"},
		"sockets=reuseport stop=kill":  {resetAtClose, halfOpen, "syn_timeout", crash},
	}
	for what, tr := range byLabels(run) {
		causes, known := allowed[what]
		t.Logf("%s: %v", what, tr.LostByCause)
		lostOnlyBy(t, what, tr, causes...)
		if !known || len(tr.Steps) != 3 || len(tr.Workers) != 8 || tr.Served < tr.Attempts*9/10 {
			t.Errorf("%s: %d of %d served in %d steps by %d workers", what, tr.Served, tr.Attempts,
				len(tr.Steps), len(tr.Workers))
		}
	}
}

// A worker behind an acceptor is killed. The connections that it had are lost, and the other
// workers take over its turns.
func TestKernelKillBehindAcceptor(t *testing.T) {
	requireLab(t)
	run, stderr, _ := newProgram(t).run(t, `
name: behind-acceptor
about: One of four workers behind an acceptor is killed, with connections in its channel.
workers: 4
sockets: shared
accept: acceptor
server: {work: {sleep: 2ms}}
load: {rate: 1500/s, duration: 800ms}
timeline: [{at: 200ms, do: kill, target: 1}]
trials: 1
`+lenient)
	checkTrials(t, run)
	tr := run.Scenarios[0].Variants[0].Trials[0]
	counts := accepted(tr, 0)
	if tr.Lost > tr.Attempts/4 || len(tr.Steps) != 1 || sum(counts) < tr.Served {
		t.Errorf("%d of %d lost: %v; accepted %v\n%s", tr.Lost, tr.Attempts, tr.LostByCause, counts,
			stderr)
	}
	inTurn(t, "survivors", tr, []int64{counts[0], counts[2], counts[3]})
	if counts[1] >= counts[0] {
		t.Errorf("accepted %v; worker 1 was killed before the others ended", counts)
	}
}

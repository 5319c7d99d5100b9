package results

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"

	"reuseport-bench/results/cause"
)

// The metrics that more than this file names. Metrics lists them all.
const (
	MetricDroppedPerRestart    = "dropped_per_restart"
	MetricDropWindow           = "drop_window_ns"
	MetricDroppedPerAttempt    = "dropped_per_attempt"
	MetricLostPerRestart       = "lost_per_restart" // lost for any cause, the load's own failures too
	MetricLossWindow           = "loss_window_ns"
	MetricLostPerAttempt       = "lost_per_attempt"
	MetricSentAfterClose       = "lost_sent_after_close"
	MetricSentAfterClosePer    = "lost_sent_after_close_per_restart"
	MetricResetAtClosePer      = "reset_at_close_per_restart"
	MetricGap                  = "gap_ns"
	MetricOutage               = "outage_ns"
	MetricResolution           = "resolution_ns"
	MetricStall                = "stall_ns"
	MetricLostShare            = "lost_share"       // within the longest outage, 0 to 1
	MetricDroppedPerStep       = "dropped_per_step" // of steps that stop workers or their pods
	MetricLostPerStep          = "lost_per_step"
	MetricStaleNS              = "stale_rules_ns" // behind a Service: from the close of a listener to the rules that send nobody there
	MetricPredictedLost        = "predicted_lost_per_step"
	MetricEndpointsLag         = "endpoints_lag_ns" // from a pod's deletion to its Service's endpoints without it
	MetricRulesLag             = "rules_lag_ns"     // from changed endpoints to the rules of the clients' node
	MetricTermFirst            = "sigterm_first"    // share of the deleted pods that were told to end before the endpoints had changed
	MetricPodReady             = "pod_ready_ns"     // from a new pod's listening to its being ready; negative: it was ready before it listened
	MetricPodRouted            = "pod_routed_ns"    // from a new pod's listening until connections are sent to it
	MetricTakeover             = "takeover_ns"
	MetricTail                 = "tail_ns"
	MetricOffered              = "offered_per_second"
	MetricCapacity             = "capacity_per_second" // of which the load was a share
	MetricJain                 = "jain"
	MetricMaxOverMean          = "max_over_mean"
	MetricChi2P                = "chi2_p"
	MetricScheduleLag          = "schedule_lag_p99_ns"
	MetricLoadCPUPerAttempt    = "load_cpu_per_attempt_ns"
	MetricServersCPUPerAttempt = "servers_cpu_per_attempt_ns"
	MetricSwitches             = "context_switches_per_connection"
	MetricQueueMax             = "queue_max"
	MetricHighestRate          = "highest_rate_per_second" // of a search
	MetricHalfOpenLost         = "half_open_lost"          // share of the handshakes that were held up, 0 to 1
	MetricFirstServed          = "first_served_ns"         // of a cold-start, from ready
	MetricFairShare            = "fair_share_ns"           // of a cold-start, from ready
	MetricNewcomerShare        = "newcomer_share"          // of what was served while it was cold
	MetricNewcomerP50          = "newcomer_p50_ns"
	MetricNewcomerP99          = "newcomer_p99_ns"
	MetricOthersP99            = "others_p99_ns"
	MetricSelection            = "selection_ns"      // of a selector in eBPF, each run
	MetricListening            = "workers_listening" // in a cluster, without steps: workers that could have their address
	MetricServing              = "workers_serving"   // of them, those that got a connection
	MetricShareMax             = "share_max"         // of the connections, the largest that a worker got, 0 to 1
	MetricShareMin             = "share_min"
	MetricLoad                 = "load"                 // share of the time for which workers were occupied
	MetricTries                = "tries_per_attempt"    // where clients try again; 1: nothing was tried again
	MetricMasked               = "masked_per_attempt"   // served only after a try that failed
	MetricRepeated             = "repeated_per_attempt" // read by a server more than once
	MetricMaskedP50            = "masked_p50_ns"        // response time of the masked
	MetricMaskedP99            = "masked_p99_ns"
	MetricWait                 = "wait_mean_ns"
	MetricPredictedWait        = "predicted_wait_mean_ns"
)

// medianMetrics are one value per trial, from (*Trial).Figures, summarized by Median.
var medianMetrics = []string{
	"response_p50_ns", "response_p90_ns", "response_p99_ns", "response_p999_ns", "response_max_ns", "response_mean_ns", "response_sd_ns",
	"service_p50_ns", "service_p90_ns", "service_p99_ns", "service_p999_ns", "service_max_ns", "service_mean_ns", "service_sd_ns",
	MetricGap, MetricOutage, MetricLostShare, MetricDroppedPerStep, MetricLostPerStep, MetricStaleNS, MetricPredictedLost, MetricEndpointsLag, MetricRulesLag, MetricTermFirst, MetricPodReady, MetricPodRouted, MetricResolution, MetricStall, MetricTakeover, MetricTail,
	MetricOffered, MetricCapacity, MetricScheduleLag, MetricJain, MetricMaxOverMean, MetricChi2P,
	MetricLoadCPUPerAttempt, MetricServersCPUPerAttempt, MetricSwitches, MetricQueueMax, MetricHighestRate, MetricSelection, MetricLoad, MetricWait, MetricPredictedWait,
	MetricListening, MetricServing, MetricShareMax, MetricShareMin,
	MetricHalfOpenLost, MetricFirstServed, MetricFairShare, MetricNewcomerShare, MetricNewcomerP50, MetricNewcomerP99, MetricOthersP99,
	MetricTries, MetricMasked, MetricRepeated, MetricMaskedP50, MetricMaskedP99,
}

// Metrics returns the name of every metric that Summarize knows.
func Metrics() []string {
	return append(slices.Clone(medianMetrics), MetricDroppedPerRestart, MetricDropWindow, MetricDroppedPerAttempt,
		MetricLostPerRestart, MetricLossWindow, MetricLostPerAttempt,
		MetricSentAfterClose, MetricSentAfterClosePer, MetricResetAtClosePer)
}

// Counts reports whether the trial's figures count: it is valid and its books balance.
func (t *Trial) Counts() bool { return t.Valid && t.Residual == 0 }

// ValidTrials are the trials whose figures count.
func (v *Variant) ValidTrials() []*Trial {
	var valid []*Trial
	for _, t := range v.Trials {
		if t.Counts() {
			valid = append(valid, t)
		}
	}
	return valid
}

// Invalid is a reason why trials of a variant do not count, and how many it spoilt.
type Invalid struct {
	Reason string // the first trial's
	Varied bool   // the others' differ from it in their numbers
	Trials int
}

// InvalidTrials says how many of the variant's trials do not count, and why, most frequent
// reason first. Reasons that differ only in numbers are one. A trial with two reasons is under both.
func (v *Variant) InvalidTrials() (trials int, reasons []Invalid) {
	for _, t := range v.Trials {
		if t.Counts() {
			continue
		}
		trials++
		counted := map[string]bool{}
		for _, r := range t.Reasons() {
			shape := withoutNumbers(r)
			if counted[shape] {
				continue
			}
			counted[shape] = true
			i := slices.IndexFunc(reasons, func(have Invalid) bool { return withoutNumbers(have.Reason) == shape })
			if i < 0 {
				i = len(reasons)
				reasons = append(reasons, Invalid{Reason: r})
			}
			reasons[i].Trials++
			reasons[i].Varied = reasons[i].Varied || reasons[i].Reason != r
		}
	}
	slices.SortStableFunc(reasons, func(a, b Invalid) int { return b.Trials - a.Trials })
	return trials, reasons
}

// withoutNumbers is reason with every number, and a unit right behind it, replaced.
func withoutNumbers(reason string) string {
	return regexp.MustCompile(`[0-9][0-9.]*[a-zµ]*`).ReplaceAllString(reason, "#")
}

// Reasons are why the trial does not count: InvalidReasons, or what is to be said when there are
// none; nil when it counts.
func (t *Trial) Reasons() []string {
	switch {
	case t.Counts():
		return nil
	case len(t.InvalidReasons) > 0:
		return t.InvalidReasons
	case t.Residual != 0:
		return []string{fmt.Sprintf("residual %d", t.Residual)}
	}
	return []string{"no reason recorded"}
}

// Restarts are the trial's steps that restarted workers.
func (t *Trial) Restarts() []Step {
	return slices.DeleteFunc(slices.Clone(t.Steps), func(s Step) bool { return !s.restarts() })
}

// restarts says whether the step restarted workers.
func (s *Step) restarts() bool {
	return s.Do.Kind().Restarts
}

// StepDropped returns how many attempts step k dropped, and false where that is not known. Older runs did
// not store it: there it follows from the list of losses, unless that was cut short.
func (t *Trial) StepDropped(k int) (n int64, ok bool) {
	s := &t.Steps[k]
	switch {
	case s.Dropped != nil:
		return *s.Dropped, true
	case t.Lost == t.Dropped:
		return s.Lost, true
	case t.LossesOmitted > 0:
		return 0, false
	}
	n = s.Lost
	for _, l := range t.Losses {
		if l.Step != nil && *l.Step == k && l.Cause == cause.Client {
			n--
		}
	}
	return n, true
}

// Unsent returns how many attempts the load did not come to, and false where that is not known. In older
// runs the ledger has their number.
func (t *Trial) Unsent() (n int64, ok bool) {
	if t.NeverSent != nil {
		return *t.NeverSent, true
	}
	for _, row := range t.Ledger {
		if row.Client == PhaseConnect.String()+": "+ClassUnsent.String() {
			n += row.Attempts
		}
	}
	return n, len(t.Ledger) > 0 || t.Lost == t.Dropped
}

// Figures returns the trial's one value for each metric that is one value per trial; a metric it
// does not have is absent.
//
// A trial with several steps pools them: gap_ns, outage_ns, resolution_ns and stall_ns by the
// largest, because one bad switchover is what a user meets; takeover_ns and tail_ns by the median, because they
// describe the way of switching and not an accident. Of several cold-starts the last one counts.
func (t *Trial) Figures() map[string]float64 {
	f := map[string]float64{
		MetricOffered:     t.OfferedPerSecond,
		MetricScheduleLag: float64(t.ScheduleLagP99NS),
	}
	if t.CapacityPerSecond != nil {
		f[MetricCapacity] = *t.CapacityPerSecond
	}
	percentiles := func(name string, p *Percentiles) {
		if p == nil {
			return
		}
		f[name+"_p50_ns"], f[name+"_p90_ns"] = float64(p.P50), float64(p.P90)
		f[name+"_p99_ns"], f[name+"_p999_ns"] = float64(p.P99), float64(p.P999)
		f[name+"_max_ns"] = float64(p.Max)
		if p.Mean > 0 { // runs of before have none
			f[name+"_mean_ns"], f[name+"_sd_ns"] = float64(p.Mean), float64(p.SD)
		}
	}
	percentiles("response", t.ResponseNS)
	percentiles("service", t.ServiceNS)
	t.stepFigures(f)
	if t.Fairness != nil {
		f[MetricJain], f[MetricMaxOverMean], f[MetricChi2P] = t.Fairness.Jain, t.Fairness.MaxOverMean, t.Fairness.Chi2P
	}
	t.workerFigures(f)
	t.sharingFigures(f)
	if t.Selector != nil && t.Selector.Runs > 0 {
		f[MetricSelection] = float64(t.Selector.NSPerRun)
	}
	if o := t.Occupancy; o != nil {
		f[MetricLoad], f[MetricWait] = o.Load, float64(o.WaitNS)
		if o.PredictedWaitNS != nil {
			f[MetricPredictedWait] = float64(*o.PredictedWaitNS)
		}
	}
	if t.Search != nil {
		f[MetricHighestRate] = t.Search.PerSecond
	}
	t.retryFigures(f)
	if t.Attempts > 0 {
		if t.CPU.LoadNS != nil {
			f[MetricLoadCPUPerAttempt] = float64(*t.CPU.LoadNS) / float64(t.Attempts)
		}
		if t.CPU.ServersNS != nil {
			f[MetricServersCPUPerAttempt] = float64(*t.CPU.ServersNS) / float64(t.Attempts)
		}
	}
	return f
}

// retryFigures adds what came of clients' trying again; nothing where they did not.
func (t *Trial) retryFigures(f map[string]float64) {
	r := t.Retries
	if r == nil || t.Attempts == 0 {
		return
	}
	perAttempt := func(n int64) float64 { return float64(n) / float64(t.Attempts) }
	f[MetricTries], f[MetricMasked], f[MetricRepeated] = perAttempt(r.Tries), perAttempt(r.Masked), perAttempt(r.Repeated)
	if r.MaskedNS != nil {
		f[MetricMaskedP50], f[MetricMaskedP99] = float64(r.MaskedNS.P50), float64(r.MaskedNS.P99)
	}
}

// workerFigures adds what the workers, and an acceptor, come to together.
func (t *Trial) workerFigures(f map[string]float64) {
	var switches, accepted int64
	known := len(t.Workers) > 0
	for _, w := range t.Workers {
		accepted += w.Accepted
		if w.BindError != "" {
			continue
		}
		if known = known && w.ContextSwitches != nil; known {
			switches += *w.ContextSwitches
		}
	}
	if known && accepted > 0 {
		f[MetricSwitches] = float64(switches) / float64(accepted)
	}
	if t.Queues != nil {
		longest := int64(0)
		for _, l := range t.Queues.Listeners {
			longest = max(longest, l.Max)
		}
		f[MetricQueueMax] = float64(longest)
	}
}

// sharingFigures adds who got the connections in a cluster where the workers were the same all the time.
func (t *Trial) sharingFigures(f map[string]float64) {
	if t.ControlPlane == "" || len(t.Steps) > 0 {
		return
	}
	var listening, serving, sum int64
	least, most := int64(math.MaxInt64), int64(0)
	for _, w := range t.Workers {
		if sum += w.Accepted; w.BindError == "" {
			listening++
		}
		if w.Accepted > 0 {
			serving++
		}
		least, most = min(least, w.Accepted), max(most, w.Accepted)
	}
	if sum == 0 {
		return
	}
	f[MetricListening], f[MetricServing] = float64(listening), float64(serving)
	f[MetricShareMax], f[MetricShareMin] = float64(most)/float64(sum), float64(least)/float64(sum)
}

// stepFigures adds what the trial's steps pool to.
func (t *Trial) stepFigures(f map[string]float64) {
	var takeovers, tails []float64
	var held, lost int64
	largest := func(metric string, ns int64) { f[metric] = max(f[metric], float64(ns)) }
	t.podFigures(f)
	for _, s := range t.Steps {
		largest(MetricGap, s.GapNS)
		largest(MetricOutage, s.OutageNS)
		largest(MetricResolution, s.ResolutionNS)
		if s.StallNS != nil {
			largest(MetricStall, *s.StallNS)
		}
		if s.TakeoverNS != nil {
			takeovers = append(takeovers, float64(*s.TakeoverNS))
		}
		if s.TailNS != nil {
			tails = append(tails, float64(*s.TailNS))
		}
		if h := s.HalfOpen; h != nil {
			held, lost = held+h.Held, lost+h.Lost
		}
		s.ColdStart.figures(f)
	}
	if held > 0 {
		f[MetricHalfOpenLost] = float64(lost) / float64(held)
	}
	for metric, values := range map[string][]float64{MetricTakeover: takeovers, MetricTail: tails} {
		if len(values) > 0 {
			slices.Sort(values)
			f[metric] = middle(values)
		}
	}
}

// figures adds those of a cold-start; none if it was none.
func (c *ColdStart) figures(f map[string]float64) {
	if c == nil {
		return
	}
	f[MetricNewcomerShare] = c.Share
	if c.FirstServedNS != nil {
		f[MetricFirstServed] = float64(*c.FirstServedNS)
	}
	if c.FairShareNS != nil {
		f[MetricFairShare] = float64(*c.FairShareNS)
	}
	if c.NewcomerNS != nil {
		f[MetricNewcomerP50], f[MetricNewcomerP99] = float64(c.NewcomerNS.P50), float64(c.NewcomerNS.P99)
	}
	if c.OthersNS != nil {
		f[MetricOthersP99] = float64(c.OthersNS.P99)
	}
}

// Summarize fills v.Summary from the trials that count; invalid ones never enter a figure. A
// metric that no such trial has is absent.
//
// The unit of replication is the trial: fresh processes, one value per metric, from (*Trial).Figures. A
// trial's percentile comes from its own merged histogram; over trials the center is the median and the interval
// that of Median. Percentiles are never averaged, and requests of different trials never
// thrown into one histogram: ten thousand requests of one trial share that trial's luck, so they are
// one observation, and an interval over requests would be far too narrow.
//
// Losses are rates, see Rate: dropped_per_restart and lost_per_restart over restarts, dropped_per_attempt and
// lost_per_attempt over trials. Lost is for any cause; dropped leaves out what the load itself failed at, so
// it is what speaks of the servers. drop_window_ns and loss_window_ns are dropped_per_restart and
// lost_per_restart over the offered connections per second, their intervals scaled; they assume one
// connection per attempt. lost_sent_after_close is a plain total and has no interval;
// lost_sent_after_close_per_restart and reset_at_close_per_restart have, with trials as clusters.
func (v *Variant) Summarize() { v.Summary = v.SummaryAt(Confidence) }

// SummaryAt is what Summarize stores, with intervals of another level.
func (v *Variant) SummaryAt(level float64) map[string]Summary {
	s := &summarizer{level: level, summary: map[string]Summary{}}
	if trials := v.ValidTrials(); len(trials) > 0 {
		s.add(trials)
	}
	return s.summary
}

// A summarizer makes the summary of a variant.
type summarizer struct {
	level   float64
	summary map[string]Summary
}

func (z *summarizer) add(trials []*Trial) {
	values := map[string][]float64{}
	for _, t := range trials {
		for metric, value := range t.Figures() {
			values[metric] = append(values[metric], value)
		}
	}
	for metric, xs := range values {
		s := Median(xs, z.level)
		if len(xs) < len(trials) {
			s.warn("this figure is of %d of %s only", len(xs), Plural(len(trials), "valid trial"))
		}
		z.summary[metric] = s
	}
	z.warnLag()
	z.warnOccupancy(trials)
	z.warnCensored(trials)
	z.summarizeLosses(trials)
	z.summarizeRestarts(trials)
}

// A p99 schedule lag past both is mentioned beside the upper percentiles: a share of the response
// time's p99, and nanoseconds.
const (
	lagShare = 0.1
	lagFloor = 500e3
)

// warnLag marks upper percentiles of the response time of which a good part is the generator's own
// delay: the attempt was sent late, and response time counts from the schedule.
func (z *summarizer) warnLag() {
	lag, p99 := z.summary[MetricScheduleLag], z.summary["response_p99_ns"]
	if p99.N == 0 || lag.Center <= max(lagFloor, lagShare*p99.Center) {
		return
	}
	for _, metric := range []string{"response_p99_ns", "response_p999_ns", "response_max_ns"} {
		s := z.summary[metric]
		s.warn("includes schedule lag, p99 %s ms: the machine stood still, or the generator was late", Digits(lag.Center/1e6, 2))
		z.summary[metric] = s
	}
}

// occupancyShare is by how much of the share of capacity that was offered the workers' occupancy
// may differ from it unsaid.
const occupancyShare = 0.1

// warnOccupancy says beside the offered rate and the occupancy where a share of the capacity was
// offered and the workers were occupied for another share of the time. More than all of the time
// they cannot be.
func (z *summarizer) warnOccupancy(trials []*Trial) {
	var offered, occupied, capacity []float64
	for _, t := range trials {
		if t.Occupancy == nil || t.CapacityPerSecond == nil || *t.CapacityPerSecond <= 0 || t.Search != nil {
			continue
		}
		offered = append(offered, t.OfferedPerSecond / *t.CapacityPerSecond)
		occupied, capacity = append(occupied, t.Occupancy.Load), append(capacity, *t.CapacityPerSecond)
	}
	if len(offered) == 0 {
		return
	}
	want, got := Median(offered, z.level).Center, Median(occupied, z.level).Center
	if math.Abs(got-min(1, want)) <= occupancyShare*min(1, want) {
		return
	}
	then := "more"
	if got > want {
		then = "less"
	}
	for _, metric := range []string{MetricOffered, MetricLoad} {
		s := z.summary[metric]
		s.warn("offered %s of capacity, the workers were occupied %s of the time: when capacity was measured, "+
			"%s/s before the trials, each request cost the workers %s time",
			Digits(want, 2), Digits(got, 2), Number(Median(capacity, z.level).Center), then)
		z.summary[metric] = s
	}
}

// warnCensored marks gaps and outages of steps that the trial's end cut short.
func (z *summarizer) warnCensored(trials []*Trial) {
	steps, censored := 0, 0
	for _, t := range trials {
		for _, s := range t.Steps {
			steps++
			if s.Censored {
				censored++
			}
		}
	}
	if censored == 0 {
		return
	}
	for _, metric := range []string{MetricGap, MetricOutage} {
		s := z.summary[metric]
		s.warn("cut off by the trial's end in %d of %s: the true value may be larger", censored, Plural(steps, "step"))
		z.summary[metric] = s
	}
}

func (z *summarizer) summarizeLosses(trials []*Trial) {
	z.perAttempt(trials, MetricLostPerAttempt, "lost")
	z.perAttempt(trials, MetricDroppedPerAttempt, "dropped")
}

func (z *summarizer) perAttempt(trials []*Trial, metric, what string) {
	tallies := talliesOf(trials, metric)
	if len(tallies) == 0 {
		return
	}
	all := trialsOf(tallies)
	s := Rate(all.counts, all.exposure, z.level)
	s.atMostOne()
	if s.Method == MethodRuleOfThree {
		s.warn("nothing %s in %s; the bound takes losses for independent", what, Plural(len(tallies), "trial"))
	}
	z.summary[metric] = s
}

// summarizeRestarts fills what is counted per restart; nothing when there was none.
func (z *summarizer) summarizeRestarts(trials []*Trial) {
	var afterClose, resets []int64
	var restartsAfterClose, restarts []float64
	var lost, dropped int64
	late := 0
	for _, t := range trials {
		late += t.StepsLate
		steps := t.Restarts()
		if len(steps) == 0 {
			continue
		}
		lost, dropped = lost+t.Lost, dropped+t.Dropped
		resets = append(resets, t.LostByCause[cause.ResetAtClose])
		restarts = append(restarts, float64(len(steps)))
		if t.LostSentAfterClose != nil {
			afterClose = append(afterClose, *t.LostSentAfterClose)
			restartsAfterClose = append(restartsAfterClose, float64(len(steps)))
		}
	}
	if len(restarts) == 0 {
		return
	}
	z.perRestart(trials, MetricLostPerRestart, MetricLossWindow, "lost", lost, late)
	z.perRestart(trials, MetricDroppedPerRestart, MetricDropWindow, "dropped", dropped, late)
	z.summary[MetricResetAtClosePer] = ratePerRestart(resets, restarts, z.level)
	if len(afterClose) > 0 {
		z.summary[MetricSentAfterClosePer] = ratePerRestart(afterClose, restartsAfterClose, z.level)
		z.summary[MetricSentAfterClose] = Summary{Center: float64(sum(afterClose)), N: int(sum(restartsAfterClose)), Method: MethodNone}
	}
}

// perRestart fills the metric and its window, of which the trials with restarts counted all.
func (z *summarizer) perRestart(trials []*Trial, metric, window, what string, all int64, late int) {
	tallies := talliesOf(trials, metric)
	if len(tallies) == 0 {
		return
	}
	s := clusteredRate(tallies, z.level)
	s.warnRestarts()
	if late > 0 {
		s.warn("not carried out: %s, because the ones before took until the load had ended", Plural(late, "more step"))
	}
	restarted := slices.DeleteFunc(slices.Clone(trials), func(t *Trial) bool { return len(t.Restarts()) == 0 })
	if n := len(restarted); len(tallies) < n {
		s.warn("only %d of %s have this figure", len(tallies), Plural(n, "valid trial"))
	} else if in := clusters(tallies).count(); all > in {
		s.warn("%s outside any restart: %s", what, Plural(all-in, "more attempt"))
	}
	z.summary[metric] = s
	if offered := z.summary[MetricOffered].Center; offered > 0 {
		z.summary[window] = s.scaled(1e9 / offered)
	}
}

// ratePerRestart is Rate with trials as clusters, their restarts as exposure; N is the restarts.
func ratePerRestart(counts []int64, restarts []float64, level float64) Summary {
	s := Rate(counts, restarts, level)
	s.N = int(sum(restarts))
	s.warnRestarts()
	return s
}

// warnRestarts says that there were too few restarts, or what none lost in N of them shows.
func (s *Summary) warnRestarts() {
	s.markFew()
	switch {
	case s.TooFew:
		s.warn("fewer than %d restarts show too little for an interval", fewRestarts)
	case s.Method == MethodRuleOfThree:
		s.warn("none seen in %d restarts: at most 3/%d restarts with loss (one-sided 95 %%); how many such a restart loses is unknown", s.N, s.N)
	}
}

// warn attaches a footnote.
func (s *Summary) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

func sum[T int64 | float64](xs []T) T {
	var total T
	for _, x := range xs {
		total += x
	}
	return total
}

// Summarize fills the summary of every variant.
func (r *Run) Summarize() {
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			v.Summarize()
		}
	}
}

// Causes returns every cause of loss in the variants' trials that count, sorted.
func (s *Scenario) Causes() []string {
	seen := map[string]bool{}
	for _, v := range s.Variants {
		for _, t := range v.ValidTrials() {
			for cause, n := range t.LostByCause {
				if n != 0 {
					seen[cause] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

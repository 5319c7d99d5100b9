// Package summary computes the figures of variants from the figures of their trials: centers,
// intervals, and warnings.
package summary

import (
	"math"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

// Fill fills v.Summary from the valid trials. A metric that no valid trial has is absent.
//
// The unit of replication is the trial: fresh processes, one value per metric, from
// metrics.Figures. A trial's percentile comes from its own merged histogram. Over trials, the
// center is the median and the interval is that of stats.Median. Percentiles are never averaged,
// and the requests of different trials never share a histogram. The ten thousand requests of one
// trial are not independent, so they are one observation; an interval over requests would be far
// too narrow.
//
// Losses are rates; see stats.Rate. dropped_per_restart and lost_per_restart are over restarts,
// dropped_per_attempt and lost_per_attempt over trials. Lost counts all causes. Dropped leaves out
// the load's own failures, so it describes the servers. drop_window_ns and loss_window_ns are
// dropped_per_restart and lost_per_restart divided by the offered connections per second, with
// scaled intervals. They assume one connection per attempt. A closed loop has neither.
// lost_sent_after_close is a plain total without an interval. lost_sent_after_close_per_restart and
// reset_at_close_per_restart have intervals, with trials as clusters.
func Fill(v *results.Variant) { v.Summary = At(v, stats.Confidence) }

// At returns the summary that Fill stores, but with intervals at this level.
func At(v *results.Variant, level float64) map[string]results.Summary {
	s := &summarizer{level: level, summary: map[string]results.Summary{}}
	if trials := v.ValidTrials(); len(trials) > 0 {
		s.add(trials)
	}
	return s.summary
}

// A summarizer builds the summary of a variant.
type summarizer struct {
	level   float64
	summary map[string]results.Summary
}

func (z *summarizer) add(trials []*results.Trial) {
	values := map[string][]float64{}
	for _, t := range trials {
		for metric, value := range metrics.Figures(t) {
			values[metric] = append(values[metric], value)
		}
	}
	for metric, xs := range values {
		s := stats.Median(xs, z.level)
		if len(xs) < len(trials) {
			s.Warn("only %d of %s have this figure", len(xs),
				unit.Plural(len(trials), "valid trial"))
		}
		z.summary[metric] = s
	}
	z.warnLag()
	z.warnOccupancy(trials)
	z.warnCensored(trials)
	z.summarizeLosses(trials)
	z.summarizeRestarts(trials)
}

// warnLag warns if the p99 schedule lag exceeds this share of an upper percentile of the response
// time.
const lagShare = 0.1

// warnLag warns about upper percentiles of the response time if a large part of them is the
// generator's own delay: response times start when an attempt is due, even if it is sent late.
func (z *summarizer) warnLag() {
	lag := z.summary[metrics.ScheduleLag]
	for _, metric := range []string{metrics.ResponseP99, metrics.ResponseP999,
		metrics.ResponseMax} {
		s := z.summary[metric]
		if s.N == 0 || lag.Center <= lagShare*s.Center {
			continue
		}
		s.Warn("includes schedule lag, p99 %s ms: the machine stood still, or the generator was "+
			"late",
			unit.Digits(lag.Center/1e6, 2))
		z.summary[metric] = s
	}
}

// warnOccupancy warns if the workers' occupancy and the offered share of capacity differ by more
// than this part of the latter.
const occupancyShare = 0.1

// warnOccupancy adds warnings to the offered rate and the occupancy if the workers' occupancy
// differs from the offered share of capacity. Occupancy cannot exceed 1.
func (z *summarizer) warnOccupancy(trials []*results.Trial) {
	var offered, occupied, capacity []float64
	for _, t := range trials {
		if t.Occupancy == nil || t.OfferedPerSecond == nil || t.CapacityPerSecond == nil ||
			*t.CapacityPerSecond <= 0 || t.Search != nil {
			continue
		}
		offered = append(offered, *t.OfferedPerSecond / *t.CapacityPerSecond)
		occupied = append(occupied, t.Occupancy.Load)
		capacity = append(capacity, *t.CapacityPerSecond)
	}
	if len(offered) == 0 {
		return
	}
	want, got := stats.Median(offered, z.level).Center, stats.Median(occupied, z.level).Center
	if math.Abs(got-min(1, want)) <= occupancyShare*min(1, want) {
		return
	}
	then := "more"
	if got > want {
		then = "less"
	}
	for _, metric := range []string{metrics.Offered, metrics.Load} {
		s := z.summary[metric]
		s.Warn("offered %s of capacity, the workers were occupied %s of the time: when capacity "+
			"was measured, %s/s before the trials, each request cost the workers %s time",
			unit.Digits(want, 2), unit.Digits(got, 2),
			unit.Number(stats.Median(capacity, z.level).Center), then)
		z.summary[metric] = s
	}
}

// warnCensored warns about gaps and outages that the trial's end cut off.
func (z *summarizer) warnCensored(trials []*results.Trial) {
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
	for _, metric := range []string{metrics.Gap, metrics.Outage} {
		s := z.summary[metric]
		s.Warn("cut off by the trial's end in %d of %s: the true value may be larger", censored,
			unit.Plural(steps, "step"))
		z.summary[metric] = s
	}
}

func (z *summarizer) summarizeLosses(trials []*results.Trial) {
	z.perAttempt(trials, metrics.LostPerAttempt, "lost")
	z.perAttempt(trials, metrics.DroppedPerAttempt, "dropped")
}

func (z *summarizer) perAttempt(trials []*results.Trial, metric, what string) {
	m, _ := metrics.Find(metric)
	tallies := m.Tallies(trials)
	if len(tallies) == 0 {
		return
	}
	all := ByTrial(tallies)
	s := stats.Rate(all.Counts, all.Exposure, z.level)
	atMostOne(&s)
	if s.Method == results.MethodRuleOfThree {
		s.Warn("nothing %s in %s; the bound assumes independent losses", what,
			unit.Plural(len(tallies), "trial"))
	}
	z.summary[metric] = s
}

// summarizeRestarts fills the figures per restart, if there were restarts.
func (z *summarizer) summarizeRestarts(trials []*results.Trial) {
	var afterClose, resets []int64
	var restartsAfterClose, restarts []float64
	var lost, dropped, allAfterClose int64
	var allRestarts float64
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
			allAfterClose += *t.LostSentAfterClose
			allRestarts += float64(len(steps))
			afterClose = append(afterClose, *t.LostSentAfterClose)
			restartsAfterClose = append(restartsAfterClose, float64(len(steps)))
		}
	}
	if len(restarts) == 0 {
		return
	}
	z.perRestart(trials, metrics.LostPerRestart, metrics.LossWindow, "lost", lost, late)
	z.perRestart(trials, metrics.DroppedPerRestart, metrics.DropWindow, "dropped", dropped, late)
	z.summary[metrics.ResetAtClosePer] = ratePerRestart(resets, restarts, z.level)
	if len(afterClose) > 0 {
		rate := ratePerRestart(afterClose, restartsAfterClose, z.level)
		z.summary[metrics.SentAfterClosePer] = rate
		z.summary[metrics.SentAfterClose] = results.Summary{
			Center: float64(allAfterClose), N: int(allRestarts), Method: results.MethodNone,
		}
	}
}

// perRestart fills a metric of losses per restart, and the metric window derived from it. all is
// the number of attempts lost in all trials with restarts. late is the number of skipped steps.
func (z *summarizer) perRestart(
	trials []*results.Trial, metric, window, what string, all int64, late int,
) {
	m, _ := metrics.Find(metric)
	tallies := m.Tallies(trials)
	if len(tallies) == 0 {
		return
	}
	s := clusteredRate(tallies, z.level)
	warnRestarts(&s)
	if late > 0 {
		s.Warn("skipped: %s, because earlier ones took until the load had ended",
			unit.Plural(late, "more step"))
	}
	restarted := slices.DeleteFunc(slices.Clone(trials), func(t *results.Trial) bool {
		return len(t.Restarts()) == 0
	})
	if n := len(restarted); len(tallies) < n {
		s.Warn("only %d of %s have this figure", len(tallies), unit.Plural(n, "valid trial"))
	} else if in := Clusters(tallies).Count(); all > in {
		s.Warn("%s outside any restart: %s", what, unit.Plural(all-in, "more attempt"))
	}
	z.summary[metric] = s
	if offered := z.summary[metrics.Offered].Center; offered > 0 {
		z.summary[window] = scaled(s, 1e9/offered)
	}
}

// ratePerRestart returns stats.Rate with trials as clusters and their restarts as exposure. N
// counts restarts.
func ratePerRestart(counts []int64, restarts []float64, level float64) results.Summary {
	s := stats.Rate(counts, restarts, level)
	s.N = 0
	for _, n := range restarts {
		s.N += int(n)
	}
	warnRestarts(&s)
	return s
}

// FillRun fills the summary of every variant.
func FillRun(r *results.Run) {
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			Fill(v)
		}
	}
}

// Package summary makes the figures of variants from those of their trials: centers, intervals, and
// what qualifies them.
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

// Fill fills v.Summary from the trials that count; invalid ones never enter a figure. A
// metric that no such trial has is absent.
//
// The unit of replication is the trial: fresh processes, one value per metric, from
// metrics.Figures. A trial's percentile comes from its own merged histogram; over trials the center
// is the median and the interval that of stats.Median. Percentiles are never averaged, and requests
// of different trials never thrown into one histogram: ten thousand requests of one trial share
// that trial's luck, so they are one observation, and an interval over requests would be far too
// narrow.
//
// Losses are rates, see stats.Rate: dropped_per_restart and lost_per_restart over restarts,
// dropped_per_attempt and lost_per_attempt over trials. Lost is for any cause; dropped leaves out
// what the load itself failed at, so it is what speaks of the servers. drop_window_ns and
// loss_window_ns are dropped_per_restart and lost_per_restart over the offered connections per
// second, their intervals scaled; they assume one connection per attempt, and a closed loop has
// none. lost_sent_after_close is
// a plain total and has no interval; lost_sent_after_close_per_restart and
// reset_at_close_per_restart have, with trials as clusters.
func Fill(v *results.Variant) { v.Summary = At(v, stats.Confidence) }

// At returns what Fill stores, with intervals of another level.
func At(v *results.Variant, level float64) map[string]results.Summary {
	s := &summarizer{level: level, summary: map[string]results.Summary{}}
	if trials := v.ValidTrials(); len(trials) > 0 {
		s.add(trials)
	}
	return s.summary
}

// A summarizer makes the summary of a variant.
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
			s.Warn("this figure is of %d of %s only", len(xs), unit.Plural(len(trials), "valid trial"))
		}
		z.summary[metric] = s
	}
	z.warnLag()
	z.warnOccupancy(trials)
	z.warnCensored(trials)
	z.summarizeLosses(trials)
	z.summarizeRestarts(trials)
}

// lagShare is the share of an upper percentile of the response time from which on the p99 schedule
// lag is mentioned beside it.
const lagShare = 0.1

// warnLag marks upper percentiles of the response time of which a good part is the generator's own
// delay: the attempt was sent late, and response time counts from the schedule.
func (z *summarizer) warnLag() {
	lag := z.summary[metrics.ScheduleLag]
	for _, metric := range []string{metrics.ResponseP99, metrics.ResponseP999, metrics.ResponseMax} {
		s := z.summary[metric]
		if s.N == 0 || lag.Center <= lagShare*s.Center {
			continue
		}
		s.Warn("includes schedule lag, p99 %s ms: the machine stood still, or the generator was late", unit.Digits(lag.Center/1e6, 2))
		z.summary[metric] = s
	}
}

// occupancyShare is by how much of the share of capacity that was offered the workers' occupancy
// may differ from it unsaid.
const occupancyShare = 0.1

// warnOccupancy says beside the offered rate and the occupancy where a share of the capacity was
// offered and the workers were occupied for another share of the time. More than all of the time
// they cannot be.
func (z *summarizer) warnOccupancy(trials []*results.Trial) {
	var offered, occupied, capacity []float64
	for _, t := range trials {
		if t.Occupancy == nil || t.OfferedPerSecond == nil || t.CapacityPerSecond == nil ||
			*t.CapacityPerSecond <= 0 || t.Search != nil {
			continue
		}
		offered = append(offered, *t.OfferedPerSecond / *t.CapacityPerSecond)
		occupied, capacity = append(occupied, t.Occupancy.Load), append(capacity, *t.CapacityPerSecond)
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
		s.Warn("offered %s of capacity, the workers were occupied %s of the time: when capacity was measured, "+
			"%s/s before the trials, each request cost the workers %s time",
			unit.Digits(want, 2), unit.Digits(got, 2), unit.Number(stats.Median(capacity, z.level).Center), then)
		z.summary[metric] = s
	}
}

// warnCensored marks gaps and outages of steps that the trial's end cut short.
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
		s.Warn("cut off by the trial's end in %d of %s: the true value may be larger", censored, unit.Plural(steps, "step"))
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
		s.Warn("nothing %s in %s; the bound takes losses for independent", what, unit.Plural(len(tallies), "trial"))
	}
	z.summary[metric] = s
}

// summarizeRestarts fills what is counted per restart; nothing when there was none.
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
			allAfterClose, allRestarts = allAfterClose+*t.LostSentAfterClose, allRestarts+float64(len(steps))
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
		z.summary[metrics.SentAfterClosePer] = ratePerRestart(afterClose, restartsAfterClose, z.level)
		z.summary[metrics.SentAfterClose] = results.Summary{Center: float64(allAfterClose), N: int(allRestarts), Method: results.MethodNone}
	}
}

// perRestart fills the metric and its window, of which the trials with restarts counted all.
func (z *summarizer) perRestart(trials []*results.Trial, metric, window, what string, all int64, late int) {
	m, _ := metrics.Find(metric)
	tallies := m.Tallies(trials)
	if len(tallies) == 0 {
		return
	}
	s := clusteredRate(tallies, z.level)
	warnRestarts(&s)
	if late > 0 {
		s.Warn("not carried out: %s, because the ones before took until the load had ended", unit.Plural(late, "more step"))
	}
	restarted := slices.DeleteFunc(slices.Clone(trials), func(t *results.Trial) bool { return len(t.Restarts()) == 0 })
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

// ratePerRestart is Rate with trials as clusters, their restarts as exposure; N is the restarts.
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

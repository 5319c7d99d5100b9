package summary

import (
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

// fewTrials is below how many trials a rate per restart is over restarts: Student's t has tails of
// no use there.
const fewTrials = 6

// clusteredRate is stats.Rate over trials, the unit of replication: restarts of one trial share
// that trial's luck. Of fewer than six it is over their restarts, and says so.
func clusteredRate(trials []metrics.Tally, level float64) results.Summary {
	fine, coarse := Clusters(trials), ByTrial(trials)
	if len(trials) >= fewTrials {
		s := stats.Rate(coarse.Counts, coarse.Exposure, level)
		s.N = len(fine.Counts)
		return s
	}
	s := stats.Rate(fine.Counts, fine.Exposure, level)
	if len(fine.Counts) > len(trials) && fine.Count() > 0 {
		s.Warn("%s only: the interval takes their restarts for independent", unit.Plural(len(trials), "trial"))
	}
	return s
}

// Counted is the rate of a metric that counts, over trials: what is per restart may be too few,
// what is per attempt is a share.
func Counted(m metrics.Metric, trials []metrics.Tally, level float64) results.Summary {
	s := clusteredRate(trials, level)
	switch m.Unit {
	case unit.PerRestart:
		markFew(&s)
	case unit.PerAttempt:
		atMostOne(&s)
	}
	return s
}

// Clusters are the clusters of all trials as one tally.
func Clusters(trials []metrics.Tally) (all metrics.Tally) {
	for _, t := range trials {
		all.Counts, all.Exposure = append(all.Counts, t.Counts...), append(all.Exposure, t.Exposure...)
	}
	return all
}

// ByTrial is a tally with each trial as one cluster.
func ByTrial(trials []metrics.Tally) (all metrics.Tally) {
	for _, t := range trials {
		all.Counts, all.Exposure = append(all.Counts, t.Count()), append(all.Exposure, t.Units())
	}
	return all
}

// fewRestarts is the number of restarts below which a rate per restart has no interval worth
// reading: none lost in nine still lets one restart in three lose.
const fewRestarts = 10

// markFew sets TooFew of a rate per restart.
func markFew(s *results.Summary) { s.TooFew = s.N < fewRestarts }

// atMostOne bounds the interval of a share.
func atMostOne(s *results.Summary) {
	if s.Hi != nil {
		s.Bound(min(1, *s.Lo), min(1, *s.Hi), s.Confidence, s.Method)
	}
}

// warnRestarts says that there were too few restarts, or what none lost in N of them shows.
func warnRestarts(s *results.Summary) {
	markFew(s)
	switch {
	case s.TooFew:
		s.Warn("fewer than %d restarts show too little for an interval", fewRestarts)
	case s.Method == results.MethodRuleOfThree:
		s.Warn("none seen in %d restarts: at most 3/%d restarts with loss (one-sided 95 %%); how many such a restart loses is unknown", s.N, s.N)
	}
}

// scaled is s in another unit, factor times as large.
func scaled(s results.Summary, factor float64) results.Summary {
	out := s
	out.Center *= factor
	if s.Lo != nil {
		out.Bound(*s.Lo*factor, *s.Hi*factor, s.Confidence, s.Method)
	}
	out.Warnings = slices.Clone(s.Warnings)
	return out
}

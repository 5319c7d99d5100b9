package summary

import (
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

// With fewer than fewTrials trials, a rate per restart is computed over restarts instead of trials,
// because the tails of Student's t are too wide for so few trials.
const fewTrials = 6

// clusteredRate returns stats.Rate with trials as clusters, because the restarts of one trial are
// not independent. With fewer than fewTrials trials it uses restarts as clusters, and warns.
func clusteredRate(trials []metrics.Tally, level float64) results.Summary {
	fine, coarse := Clusters(trials), ByTrial(trials)
	if len(trials) >= fewTrials {
		s := stats.Rate(coarse.Counts, coarse.Exposure, level)
		s.N = len(fine.Counts)
		return s
	}
	s := stats.Rate(fine.Counts, fine.Exposure, level)
	if len(fine.Counts) > len(trials) && fine.Count() > 0 {
		s.Warn("only %s: the interval assumes independent restarts",
			unit.Plural(len(trials), "trial"))
	}
	return s
}

// Counted returns the rate over all trials of a metric that counts events. For rates per restart it
// sets TooFew. For rates per attempt it limits the interval to at most 1.
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

// Clusters returns the clusters of all trials as one tally.
func Clusters(trials []metrics.Tally) (all metrics.Tally) {
	for _, t := range trials {
		all.Counts, all.Exposure = append(all.Counts, t.Counts...),
			append(all.Exposure, t.Exposure...)
	}
	return all
}

// ByTrial returns a tally with each trial as one cluster.
func ByTrial(trials []metrics.Tally) (all metrics.Tally) {
	for _, t := range trials {
		all.Counts, all.Exposure = append(all.Counts, t.Count()), append(all.Exposure, t.Units())
	}
	return all
}

// With fewer than fewRestarts restarts, the interval of a rate per restart says too little: after
// nine restarts without loss, one restart in three may still lose some attempts.
const fewRestarts = 10

// markFew sets TooFew for a rate per restart.
func markFew(s *results.Summary) { s.TooFew = s.N < fewRestarts }

// atMostOne limits the interval of a share to at most 1.
func atMostOne(s *results.Summary) {
	if s.Hi != nil {
		s.Bound(min(1, *s.Lo), min(1, *s.Hi), s.Confidence, s.Method)
	}
}

// warnRestarts warns that there were too few restarts, or says what a number of restarts without
// loss implies.
func warnRestarts(s *results.Summary) {
	markFew(s)
	switch {
	case s.TooFew:
		s.Warn("fewer than %d restarts are too few for an interval", fewRestarts)
	case s.Method == results.MethodRuleOfThree:
		s.Warn("none seen in %d restarts: at most 3/%d restarts with loss (one-sided 95 %%); how "+
			"many such a restart loses is unknown", s.N, s.N)
	}
}

// scaled returns s with its figures multiplied by factor.
func scaled(s results.Summary, factor float64) results.Summary {
	out := s
	out.Center *= factor
	if s.Lo != nil {
		out.Bound(*s.Lo*factor, *s.Hi*factor, s.Confidence, s.Method)
	}
	out.Warnings = slices.Clone(s.Warnings)
	return out
}

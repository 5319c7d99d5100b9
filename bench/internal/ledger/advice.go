package ledger

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// Advice suggests how to get more valid trials. It names validity settings computed from the
// trials. If no setting helps, Advice says so, and names the most common reason for which trials
// are invalid. If that is a failure of the server, Advice quotes the server's last lines instead.
// If all trials are valid, it returns "". limits are the limits by which the trials were judged.
func Advice(limits scenarios.Validity, serverCPUs int, trials []*results.Trial) string {
	// remaining returns the reasons for which trial t is invalid under the limits l. The first
	// elements of InvalidReasons, such as a failed step, do not come from Invalid. They apply under
	// any limits.
	remaining := func(l scenarios.Validity, t *results.Trial) []string {
		failures := max(0, len(t.InvalidReasons)-len(Invalid(limits, serverCPUs, t)))
		return slices.Concat(t.InvalidReasons[:failures], Invalid(l, serverCPUs, t))
	}
	counts := func(l scenarios.Validity) (n int) {
		for _, t := range trials {
			if len(remaining(l, t)) == 0 {
				n++
			}
		}
		return n
	}
	valid := counts(limits)
	if valid == len(trials) {
		return ""
	}
	wider := limits
	wider.LagFloor = enough(limits.LagFloor, trials, func(t *results.Trial) time.Duration {
		if lag, allowed := generatorLag(limits, t); lag > allowed {
			return lag
		}
		return 0
	})
	wider.StepLag = enough(limits.StepLag, trials, func(t *results.Trial) (longest time.Duration) {
		for _, s := range t.Steps {
			if s.ScheduleLagMaxNS != nil {
				longest = max(longest, time.Duration(*s.ScheduleLagMaxNS))
			}
		}
		return longest
	})
	n := counts(wider)
	var others results.ReasonCount
	for _, t := range trials {
		for _, reason := range remaining(wider, t) {
			others.Add(reason)
		}
	}
	reason, of := others.Commonest()
	if n == valid {
		text := fmt.Sprintf("no setting helps: %s in %d of %s",
			results.ShortReason(reason), of, unit.Plural(len(trials), "trial"))
		lines, ofServer := results.OfServer(reason)
		if ofServer {
			text = fmt.Sprintf("%d of %s: %s", of, unit.Plural(len(trials), "trial"),
				results.ShortReason(reason))
		}
		if remedy := results.Remedy(reason); remedy != "" {
			text += "; " + remedy
		}
		if lines != "" {
			text += "; look at its last lines: " + lines
		}
		return text
	}
	var settings []string
	costs := "" // a warning about the wider lag_floor
	withoutLag, withoutStep := wider, wider
	withoutLag.LagFloor, withoutStep.StepLag = limits.LagFloor, limits.StepLag
	for _, s := range []struct {
		name      string
		was, want time.Duration
		without   scenarios.Validity
	}{
		{"lag_floor", limits.LagFloor, wider.LagFloor, withoutLag},
		{"step_lag", limits.StepLag, wider.StepLag, withoutStep},
	} {
		if s.want > s.was && counts(s.without) < n {
			settings = append(settings, s.name+": "+s.want.String())
			if s.name == "lag_floor" {
				costs = fmt.Sprintf("; losses stay exact, latencies include up to %v "+
					"of the load generator's own delay", s.want)
			}
		}
	}
	text := fmt.Sprintf("with validity: {%s} %d of %s would have counted",
		strings.Join(settings, ", "), n, unit.Plural(len(trials), "trial"))
	if of > 0 {
		text += "; the most common other reason: " + results.ShortReason(reason)
	}
	return text + costs
}

// enough returns a limit with one significant digit. It suffices for 90 % of the trials that need a
// limit above was, the current one. If no trial needs a limit above was, enough returns was.
func enough(
	was time.Duration, trials []*results.Trial, needs func(*results.Trial) time.Duration,
) time.Duration {
	var all []time.Duration
	for _, t := range trials {
		if need := needs(t); need > was {
			all = append(all, need)
		}
	}
	if len(all) == 0 {
		return was
	}
	slices.Sort(all)
	need := all[(len(all)*9+9)/10-1]
	digit := time.Duration(math.Pow10(int(math.Floor(math.Log10(float64(need))))))
	for _, steps := range []time.Duration{1, 2, 5, 10} {
		if need <= steps*digit {
			return steps * digit
		}
	}
	return need
}

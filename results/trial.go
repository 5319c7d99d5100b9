package results

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios/vocabulary"
)

// Usable reports whether the trial's figures count: it is valid and its ledger balances.
func (t *Trial) Usable() bool { return t.Valid && t.Residual == 0 }

// ValidTrials are the trials whose figures count.
func (v *Variant) ValidTrials() []*Trial {
	var valid []*Trial
	for _, t := range v.Trials {
		if t.Usable() {
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

// InvalidTrials says how many of the variant's trials do not count, and why, most frequent reason
// first. Reasons that differ only in numbers are one. A trial with two reasons is under both.
func (v *Variant) InvalidTrials() (trials int, reasons []Invalid) {
	known := map[string]int{} // shape → index of the reason
	for _, t := range v.Trials {
		if t.Usable() {
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
			i, ok := known[shape]
			if !ok {
				i = len(reasons)
				known[shape] = i
				reasons = append(reasons, Invalid{Reason: r})
			}
			reasons[i].Trials++
			reasons[i].Varied = reasons[i].Varied || reasons[i].Reason != r
		}
	}
	slices.SortStableFunc(reasons, func(a, b Invalid) int { return b.Trials - a.Trials })
	return trials, reasons
}

// ShortReason returns a reason without what is in parentheses, what follows from it, and what to do
// about it.
func ShortReason(reason string) string {
	reason = parentheses.ReplaceAllString(reason, "")
	for _, rest := range []string{";", ", so ", ", which "} {
		reason, _, _ = strings.Cut(reason, rest)
	}
	return strings.TrimSpace(reason)
}

// Remedy returns what a reason says to do about it, or "".
func Remedy(reason string) string {
	_, remedy, _ := strings.Cut(parentheses.ReplaceAllString(reason, ""), "; ")
	return remedy
}

var parentheses = regexp.MustCompile(` *\([^()]*\)`)

// ReasonCount finds the commonest of many reasons. Those that differ only in numbers are one.
type ReasonCount struct {
	counts map[string]int // by short reason without numbers
	most   string         // a whole reason
	n      int
}

// Add counts a reason.
func (c *ReasonCount) Add(reason string) {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	shape := withoutNumbers(ShortReason(reason))
	if c.counts[shape]++; c.counts[shape] > c.n {
		c.most, c.n = reason, c.counts[shape]
	}
}

// Commonest returns one of the commonest reasons, and how often such were counted.
func (c *ReasonCount) Commonest() (reason string, n int) { return c.most, c.n }

// numbers finds every number, and a unit right behind it.
var numbers = regexp.MustCompile(`[0-9][0-9.]*[a-zµ]*`)

func withoutNumbers(reason string) string { return numbers.ReplaceAllString(reason, "#") }

// Reasons are why the trial does not count: InvalidReasons, or what is to be said when there are
// none; nil when it counts.
func (t *Trial) Reasons() []string {
	switch {
	case t.Usable():
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
	return slices.DeleteFunc(slices.Clone(t.Steps), func(s Step) bool { return !s.Restarts() })
}

// Restarts reports whether the step restarted workers. One whose new workers could not have their
// address did not.
func (s *Step) Restarts() bool {
	return s.Do.Kind().Restarts && s.BindError == ""
}

// HandledTwice returns how many attempts a handler was given more than once, and false in an older
// run, which does not tell.
func (r *Retries) HandledTwice() (n int64, known bool) {
	if r.RepeatedUnhandled == nil {
		return 0, false
	}
	return r.Repeated - *r.RepeatedUnhandled, true
}

// Start returns how the trial's steps started workers, as server.start names it; "": they started
// none. In older runs they started cold.
func (t *Trial) Start() vocabulary.Start {
	switch {
	case t.Starts != nil:
		return t.Starts.Start
	case slices.ContainsFunc(t.Steps, func(s Step) bool { return s.Do.Kind().Starts }):
		return vocabulary.StartCold
	}
	return ""
}

// ReadyAfterNS returns the time from the start of a step until the last worker that it started was
// ready; nil: it started none, or stopped others before all were.
func (s *Step) ReadyAfterNS() *int64 {
	if !s.Do.Kind().Starts || s.ReadyNS == nil || s.StopNS != nil && *s.StopNS < *s.ReadyNS {
		return nil
	}
	return new(*s.ReadyNS - s.AtNS)
}

// StepDropped returns how many attempts step k dropped, and false where that is not known. Older
// runs did not store it: there it follows from the list of losses, unless that was cut short.
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

// Unsent returns how many attempts the load did not come to, and false where that is not known. In
// older runs the ledger has their number.
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

// synRepeatedNS is when a client sends its first SYN again: TCP_TIMEOUT_INIT in include/net/tcp.h.
const synRepeatedNS = 1e9

// PredictedLost returns what a step was to be expected to lose; nil: that is not known. Runs from
// before predicted_lost have the dead time alone, which says it only where clients gave up before
// they sent a second SYN.
func (t *Trial) PredictedLost(s *Step) *float64 {
	recent := s.PredictedLost != nil || s.Unpredicted != ""
	if recent || s.DeadNS == nil || t.OfferedPerSecond == nil || t.TimeoutNS >= synRepeatedNS {
		return s.PredictedLost
	}
	lost := *t.OfferedPerSecond * float64(*s.DeadNS) / 1e9
	return &lost
}

// Unpredicted returns why it is not known what one of the variant's steps was to be expected to
// lose; empty: it is known, or the question does not arise.
func (v *Variant) Unpredicted() string {
	for _, t := range v.ValidTrials() {
		for i := range t.Steps {
			switch s := &t.Steps[i]; {
			case s.Endpoints == 0:
			case s.Unpredicted != "":
				return "not predicted: " + s.Unpredicted
			case s.DeadNS != nil && t.PredictedLost(s) == nil:
				return "not predicted: an older run, whose clients waited until they sent a second SYN"
			}
		}
	}
	return ""
}

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

// ValidTrials returns the trials whose figures count.
func (v *Variant) ValidTrials() []*Trial {
	var valid []*Trial
	for _, t := range v.Trials {
		if t.Usable() {
			valid = append(valid, t)
		}
	}
	return valid
}

// Invalid is a reason why trials of a variant do not count, and the number of trials that have it.
type Invalid struct {
	Reason string // as worded in the first such trial
	Varied bool   // other trials have the same reason with other numbers
	Trials int
}

// InvalidTrials returns the number of the variant's trials that do not count, and the reasons, the
// most frequent first. Reasons that differ only in numbers count as one. A trial with two reasons
// counts for both.
func (v *Variant) InvalidTrials() (trials int, reasons []Invalid) {
	known := map[string]int{} // reason without numbers → index in reasons
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

// lastLines precedes the server's output in a reason. wroteNothing says that there is none.
const (
	lastLines    = "; its last lines: "
	wroteNothing = "; it wrote nothing"
)

// OfServer returns the server's last lines in a reason, and reports whether the reason is about a
// server that failed: it has such lines, or says that the server wrote nothing.
func OfServer(reason string) (lines string, ok bool) {
	_, lines, ok = strings.Cut(reason, lastLines)
	return lines, ok || strings.Contains(reason, wroteNothing)
}

// withoutParentheses returns a reason without its parentheses, and without the server's last lines,
// whose parentheses are the server's own.
func withoutParentheses(reason string) string {
	reason, _, _ = strings.Cut(reason, lastLines)
	return parentheses.ReplaceAllString(reason, "")
}

// ShortReason returns a reason without its parentheses, its consequence (", so …", ", which …") and
// its remedy ("; …").
func ShortReason(reason string) string {
	reason = withoutParentheses(reason)
	for _, rest := range []string{";", ", so ", ", which "} {
		reason, _, _ = strings.Cut(reason, rest)
	}
	return strings.TrimSpace(reason)
}

// Remedy returns the remedy in a reason, or "".
func Remedy(reason string) string {
	_, remedy, _ := strings.Cut(withoutParentheses(reason), "; ")
	return remedy
}

var parentheses = regexp.MustCompile(` *\([^()]*\)`)

// A ReasonCount finds the most frequent of many reasons. Reasons that differ only in numbers count
// as one.
type ReasonCount struct {
	counts map[string]int // by short reason without numbers
	most   string         // the most frequent reason, in full
	n      int            // the count of that reason
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

// Commonest returns the most frequent reason, in its latest wording, and its count.
func (c *ReasonCount) Commonest() (reason string, n int) { return c.most, c.n }

// numbers matches a number, and a unit directly after it.
var numbers = regexp.MustCompile(`[0-9][0-9.]*[a-zµ]*`)

func withoutNumbers(reason string) string { return numbers.ReplaceAllString(reason, "#") }

// Reasons returns the reasons why the trial does not count. If it does not count but InvalidReasons
// is empty, they are a substitute. For a trial that counts, Reasons returns nil.
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

// Restarts returns the trial's steps that restarted workers.
func (t *Trial) Restarts() []Step {
	return slices.DeleteFunc(slices.Clone(t.Steps), func(s Step) bool { return !s.Restarts() })
}

// Restarts reports whether the step restarted workers. If new workers could not bind their address,
// the step restarted none.
func (s *Step) Restarts() bool {
	return s.Do.Kind().Restarts && s.BindError == ""
}

// HandledTwice returns the number of attempts that were given to a handler more than once. known is
// false for an older run, which lacks the number.
func (r *Retries) HandledTwice() (n int64, known bool) {
	if r.RepeatedUnhandled == nil {
		return 0, false
	}
	return r.Repeated - *r.RepeatedUnhandled, true
}

// Start returns the way in which the trial's steps started workers, a value of server.start. It
// returns "" if they started none, and for third-party servers, which start their processes by
// themselves. In older runs all workers started cold.
func (t *Trial) Start() vocabulary.Start {
	switch {
	case t.Witness != nil:
		return ""
	case t.Starts != nil:
		return t.Starts.Start
	case slices.ContainsFunc(t.Steps, func(s Step) bool { return s.Do.Kind().Starts }):
		return vocabulary.StartCold
	}
	return ""
}

// ReadyAfterNS returns the time from the start of a step until all workers that it started were
// ready. It returns nil if the step started none, or stopped other workers before then.
func (s *Step) ReadyAfterNS() *int64 {
	if !s.Do.Kind().Starts || s.ReadyNS == nil || s.StopNS != nil && *s.StopNS < *s.ReadyNS {
		return nil
	}
	return new(*s.ReadyNS - s.AtNS)
}

// StepDropped returns the number of attempts that step k dropped. ok is false if it is unknown.
// Older runs did not store the number; for them, StepDropped counts the list of losses, unless the
// list was cut short.
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

// Unsent returns the number of attempts that the load never reached. ok is false if it is unknown.
// For older runs, the number comes from the ledger.
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

// Causes returns every cause of loss in the scenario's valid trials, sorted.
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

// synRepeatedNS is the time after which a client repeats its first SYN: TCP_TIMEOUT_INIT in
// include/net/tcp.h.
const synRepeatedNS = 1e9

// PredictedLost returns the number of attempts that a step was expected to lose, or nil if it is
// unknown. Older runs stored only the dead time, from which the number follows only if clients
// timed out before they sent a second SYN.
func (t *Trial) PredictedLost(s *Step) *float64 {
	recent := s.PredictedLost != nil || s.Unpredicted != ""
	if recent || s.DeadNS == nil || t.OfferedPerSecond == nil || t.TimeoutNS >= synRepeatedNS {
		return s.PredictedLost
	}
	lost := *t.OfferedPerSecond * float64(*s.DeadNS) / 1e9
	return &lost
}

// Unpredicted returns the reason why a step of the variant has no predicted loss. It returns "" if
// every step has one or needs none.
func (v *Variant) Unpredicted() string {
	for _, t := range v.ValidTrials() {
		for i := range t.Steps {
			switch s := &t.Steps[i]; {
			case s.Endpoints == 0:
			case s.Unpredicted != "":
				return "not predicted: " + s.Unpredicted
			case s.DeadNS != nil && t.PredictedLost(s) == nil:
				return "not predicted: an older run, whose clients waited for a second SYN"
			}
		}
	}
	return ""
}

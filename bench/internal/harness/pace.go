package harness

import (
	"fmt"
	"time"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// A pace estimates the remaining time of a run from the trials so far.
type pace struct {
	of      []tally // by scenario
	invalid int     // number of invalid trials
	reasons results.ReasonCount
	repeats int // number of repeats that may still be added
}

// A tally has the totals of the trials of one scenario, or of all scenarios.
type tally struct {
	left    time.Duration // planned time of the trials to come, including queued repeats
	planned time.Duration // planned time of the trials that have ended
	took    time.Duration // real time of the trials that have ended
	ran     int           // number of trials that have ended
	invalid int           // number of ended trials that are invalid
}

func newPace(p *plan.Plan) (all pace) {
	for _, s := range p.Scenarios {
		all.of = append(all.of, tally{left: s.Duration()})
	}
	return all
}

// add adds planned time to a scenario. A negative d removes time.
func (p *pace) add(scenario int, d time.Duration) {
	p.of[scenario].left = max(0, p.of[scenario].left+d)
}

// ended records the end of a trial, with its planned and its real duration. A nil trial means one
// that ended before the run was resumed.
func (p *pace) ended(scenario int, planned, took time.Duration, trial *results.Trial) {
	p.add(scenario, -planned)
	if trial == nil {
		return
	}
	s := &p.of[scenario]
	s.planned, s.took, s.ran = s.planned+planned, s.took+took, s.ran+1
	if reasons := trial.Reasons(); len(reasons) > 0 {
		s.invalid++
		p.invalid++
		p.reasons.Add(reasons[0])
	}
}

// Left estimates the remaining time of the run, for planned trials and repeats. It assumes that
// trials exceed their planned time by the same factor as so far, and that the same share of them is
// invalid. For a scenario without an ended trial it uses the figures of the other scenarios.
func (p *pace) Left() (left time.Duration) {
	var all tally
	for _, s := range p.of {
		all.planned, all.took = all.planned+s.planned, all.took+s.took
		all.ran, all.invalid = all.ran+s.ran, all.invalid+s.invalid
	}
	for _, s := range p.of {
		by := s
		if s.ran == 0 {
			by = all
		}
		if by.planned == 0 {
			left += s.left
			continue
		}
		expected := time.Duration(float64(s.left) * float64(by.invalid) / float64(by.ran))
		expected = min(expected, time.Duration(p.repeats)*(by.planned/time.Duration(by.ran)))
		left += time.Duration(float64(s.left+expected) * float64(by.took) / float64(by.planned))
	}
	return left
}

// futileBlocks is the number of trials per variant after which a scenario is stopped if none of
// them was valid. One trial would be too few: a disturbance may pass, and invalid trials are
// repeated only at the end of the run.
const futileBlocks = 2

// futile returns the reason that a scenario should be stopped, or "". Trials from before a resume
// count only if they are valid, because the machine may be quieter now.
func (r *runner) futile(sp *plan.Scenario, out *results.Scenario) string {
	if r.cfg.KeepGoing {
		return ""
	}
	variants := 0
	var trials []*results.Trial
	for _, v := range out.Variants {
		if v.SkippedReason == nil {
			variants++
		}
		if len(v.ValidTrials()) > 0 {
			return ""
		}
		trials = append(trials, v.Trials[r.before[v]:]...)
	}
	if len(trials) < futileBlocks*variants {
		return ""
	}
	text := fmt.Sprintf("none of %s was valid", unit.Plural(len(trials), "trial"))
	if limits, same := sp.Validity(); same {
		text += "; " + ledger.Advice(limits, len(r.plan.CPUs.Servers), trials)
	}
	return text
}

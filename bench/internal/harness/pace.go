package harness

import (
	"fmt"
	"time"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// A pace says how long what is left of a run will take, by how its trials went so far.
type pace struct {
	of      []stretch // by scenario
	invalid int       // trials
	reasons results.ReasonCount
	repeats int // that may still be added
}

// A stretch is the trials of one scenario, or of all.
type stretch struct {
	left    time.Duration // of what is still to run, as planned, with the repeats that are queued
	planned time.Duration // of the trials that have ended
	took    time.Duration // they did
	ran     int
	invalid int
}

func newPace(p *plan.Plan) (all pace) {
	for _, s := range p.Scenarios {
		all.of = append(all.of, stretch{left: s.Duration()})
	}
	return all
}

// add plans more time for a scenario; less if d is negative.
func (p *pace) add(scenario int, d time.Duration) {
	p.of[scenario].left = max(0, p.of[scenario].left+d)
}

// ended notes a trial that has ended, how long it was planned to take, and how long it took. A nil
// trial ended before the run was resumed.
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

// Left returns how long the rest will take: what is planned, and the repeats to be expected if as
// many trials are invalid as so far, each as much longer than planned as those that have ended. A
// scenario of which none has ended goes by the others.
func (p *pace) Left() (left time.Duration) {
	var all stretch
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

// futileBlocks is how many trials of each variant without a valid one are enough to stop a
// scenario: one may meet a disturbance that passes, and the repeats come at the end.
const futileBlocks = 2

// futile returns why a scenario should be stopped, or "". Trials from before the run was resumed do
// not count, because the machine may be quieter now; a valid one does.
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

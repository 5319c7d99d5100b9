package metrics

import "reuseport-bench/results"

// A podSteps sums up those steps of a trial that removed pods of a Service.
type podSteps struct {
	steps, lost, dropped, predicted float64
	droppedKnown, predictable       bool
	lostShare                       float64 // of the longest outage
	anyOutage                       bool
}

func podStepsOf(t *results.Trial) podSteps {
	p := podSteps{droppedKnown: true, predictable: true}
	var outage int64
	for k, s := range t.Steps {
		if s.Endpoints == 0 {
			continue
		}
		p.steps++
		p.lost += float64(s.Lost)
		n, ok := t.StepDropped(k)
		p.dropped, p.droppedKnown = p.dropped+float64(n), p.droppedKnown && ok
		if s.OutageNS != nil && s.LostShare != nil && *s.OutageNS >= outage {
			outage, p.lostShare, p.anyOutage = *s.OutageNS, *s.LostShare, true
		}
		predicted := t.PredictedLost(&s)
		if p.predictable = p.predictable && predicted != nil; p.predictable {
			p.predicted += *predicted
		}
	}
	return p
}

func lostPerStep(t *results.Trial) (float64, bool) {
	p := podStepsOf(t)
	return p.lost / p.steps, p.steps > 0
}

func droppedPerStep(t *results.Trial) (float64, bool) {
	p := podStepsOf(t)
	return p.dropped / p.steps, p.steps > 0 && p.droppedKnown
}

func predictedLost(t *results.Trial) (float64, bool) {
	p := podStepsOf(t)
	return p.predicted / p.steps, p.steps > 0 && p.predictable
}

func lostShare(t *results.Trial) (float64, bool) {
	p := podStepsOf(t)
	return p.lostShare, p.anyOutage
}

// podLags are the delays between a trial's pods and their endpoints and rules, in nanoseconds.
type podLags struct {
	endpoints, rules []float64
	ready, routed    []float64
	stale            []float64
	deleted, first   float64 // pods deleted; of these, sent SIGTERM before endpoints changed
}

func podLagsOf(t *results.Trial) *podLags {
	var l podLags
	for _, s := range t.Steps {
		for _, p := range s.Pods {
			l.add(p)
		}
	}
	return &l
}

// add adds the delays of one pod.
func (l *podLags) add(p results.Pod) {
	between := func(into *[]float64, from, to *int64) {
		if from != nil && to != nil {
			*into = append(*into, float64(*to-*from))
		}
	}
	between(&l.rules, p.EndpointsNS, p.RulesNS)
	if p.Started {
		between(&l.ready, p.ListenNS, p.ReadyNS)
		routed := p.RulesNS
		if routed == nil {
			routed = p.EndpointsNS // clients that look up names see endpoints, not rules
		}
		between(&l.routed, p.ListenNS, routed)
		return
	}
	between(&l.endpoints, p.DeletedNS, p.EndpointsNS)
	if p.TermNS != nil && p.DeletedNS != nil {
		l.deleted++
		if p.EndpointsNS == nil || *p.TermNS < *p.EndpointsNS {
			l.first++
		}
	}
	if p.ClosedNS != nil && p.RulesNS != nil && p.Endpoints > 0 {
		l.stale = append(l.stale, max(0, float64(*p.RulesNS-*p.ClosedNS)))
	}
}

// medianLag returns a function that computes the median of a delay over a trial's pods.
func medianLag(of func(*podLags) []float64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) { return median(of(podLagsOf(t))) }
}

// unroutedAfter is not known if the trial ended before the rules had followed a deletion.
func unroutedAfter(t *results.Trial) (longest float64, ok bool) {
	for _, s := range t.Steps {
		for _, p := range s.Pods {
			switch {
			case p.Started || p.DeletedNS == nil:
			case p.RulesNS == nil:
				return 0, false
			default:
				longest, ok = max(longest, float64(*p.RulesNS-*p.DeletedNS)), true
			}
		}
	}
	return longest, ok
}

func servedDeleted(t *results.Trial) (mean float64, ok bool) {
	n, pods := 0., 0.
	for _, s := range t.Steps {
		for _, p := range s.Pods {
			if p.ServedDeleted != nil {
				n, pods = n+float64(*p.ServedDeleted), pods+1
			}
		}
	}
	return n / pods, pods > 0
}

func termFirst(t *results.Trial) (float64, bool) {
	l := podLagsOf(t)
	return l.first / l.deleted, l.deleted > 0
}

package results

import "slices"

// podFigures adds what steps behind a Service cost, and what they should by arithmetic.
func (t *Trial) podFigures(f map[string]float64) {
	var lags podLags
	var lost, dropped, predicted, steps float64
	var outage int64
	known, droppedKnown := true, true
	for k, s := range t.Steps {
		for _, p := range s.Pods {
			lags.add(p)
		}
		if s.Endpoints == 0 {
			continue
		}
		steps++
		lost += float64(s.Lost)
		n, ok := t.StepDropped(k)
		dropped, droppedKnown = dropped+float64(n), droppedKnown && ok
		if s.OutageNS >= outage {
			outage, f[MetricLostShare] = s.OutageNS, s.LostShare
		}
		p := t.predictedLost(s)
		if known = known && p != nil; known {
			predicted += *p
		}
	}
	if steps > 0 {
		f[MetricLostPerStep] = lost / steps
		if droppedKnown {
			f[MetricDroppedPerStep] = dropped / steps
		}
		if known {
			f[MetricPredictedLost] = predicted / steps
		}
	}
	lags.figures(f)
}

// synRepeatedNS is when a client sends its first SYN again: TCP_TIMEOUT_INIT in include/net/tcp.h.
const synRepeatedNS = 1e9

// predictedLost is what a step was to be expected to lose; nil: that is not known. Runs from before
// predicted_lost have the dead time alone, which says it only where clients gave up before they
// sent a second SYN.
func (t *Trial) predictedLost(s Step) *float64 {
	recent := s.PredictedLost != nil || s.Unpredicted != ""
	if recent || s.DeadNS == nil || t.TimeoutNS >= synRepeatedNS {
		return s.PredictedLost
	}
	lost := t.OfferedPerSecond * float64(*s.DeadNS) / 1e9
	return &lost
}

// Unpredicted returns why it is not known what one of the variant's steps was to be expected to
// lose; empty: it is known, or the question does not arise.
func (v *Variant) Unpredicted() string {
	for _, t := range v.ValidTrials() {
		for _, s := range t.Steps {
			switch {
			case s.Endpoints == 0:
			case s.Unpredicted != "":
				return "not predicted: " + s.Unpredicted
			case s.DeadNS != nil && t.predictedLost(s) == nil:
				return "not predicted: an older run, whose clients waited until they sent a second SYN"
			}
		}
	}
	return ""
}

// podLags are how late a trial's endpoints and rules were for its pods, in nanoseconds.
type podLags struct {
	endpoints, rules []float64
	ready, routed    []float64
	stale            []float64
	deleted, first   float64 // pods, and of those whom the endpoints followed after SIGTERM
}

// add adds a pod's lags.
func (l *podLags) add(p Pod) {
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
			routed = p.EndpointsNS // of who is known by name
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

func (l *podLags) figures(f map[string]float64) {
	for metric, values := range map[string][]float64{
		MetricEndpointsLag: l.endpoints, MetricRulesLag: l.rules, MetricPodReady: l.ready, MetricPodRouted: l.routed, MetricStaleNS: l.stale,
	} {
		if len(values) > 0 {
			slices.Sort(values)
			f[metric] = middle(values)
		}
	}
	if l.deleted > 0 {
		f[MetricTermFirst] = l.first / l.deleted
	}
}

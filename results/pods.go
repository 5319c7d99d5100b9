package results

import "slices"

// podFigures adds what steps behind a Service cost, and what they should by arithmetic.
func (t *Trial) podFigures(f map[string]float64) {
	var lags podLags
	var lost, steps float64
	var outage int64
	for _, s := range t.Steps {
		if s.Endpoints == 0 {
			continue
		}
		steps++
		lost += float64(s.Lost)
		if s.OutageNS >= outage {
			outage, f[MetricLostShare] = s.OutageNS, s.LostShare
		}
		lags.step(s, t.OfferedPerSecond)
	}
	if steps > 0 {
		f[MetricLostPerStep] = lost / steps
	}
	lags.figures(f)
}

// podLags are how late a trial's endpoints and rules were for its pods, in nanoseconds.
type podLags struct {
	endpoints, rules []float64
	ready, routed    []float64
	stale            []float64
	predicted        float64 // lost attempts
	followed         float64 // steps that it is of: those that the rules followed within the trial
	deleted, first   float64 // pods, and of those whom the endpoints followed after SIGTERM
}

// step adds a step's pods.
func (l *podLags) step(s Step, perSecond float64) {
	predicted := perSecond * float64(s.NowhereNS) / 1e9
	var closed, followed int
	for _, p := range s.Pods {
		l.add(p)
		if p.Started || p.ClosedNS == nil || p.Endpoints == 0 {
			continue
		}
		closed++
		if p.RulesNS == nil {
			continue
		}
		followed++
		late := max(0, float64(*p.RulesNS-*p.ClosedNS))
		l.stale = append(l.stale, late)
		// Of the attempts that come between the close of its listener and the rules that send nobody there any more, its share.
		predicted += perSecond * late / 1e9 / float64(p.Endpoints)
	}
	if closed > 0 && followed == closed {
		l.predicted += predicted
		l.followed++
	}
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
	if l.followed > 0 {
		f[MetricPredictedLost] = l.predicted / l.followed
	}
}

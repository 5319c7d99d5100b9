package metrics

import (
	"math"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// median sorts values and returns their median. It returns false if there are none.
func median(values []float64) (float64, bool) {
	n := len(values)
	if n == 0 {
		return 0, false
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// known returns the number that x points to. It returns false if x is nil.
func known(x *int64) (float64, bool) {
	if x == nil {
		return 0, false
	}
	return float64(*x), true
}

// largest returns a function that pools the trial's steps by the largest value. The pooled value is
// 0 if all values are negative.
func largest(of func(*results.Step) *int64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (most float64, ok bool) {
		for k := range t.Steps {
			if x := of(&t.Steps[k]); x != nil {
				most, ok = max(most, float64(*x)), true
			}
		}
		return most, ok
	}
}

// medianStep returns a function that pools the trial's steps by the median.
func medianStep(of func(*results.Step) *int64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		var values []float64
		for k := range t.Steps {
			if x := of(&t.Steps[k]); x != nil {
				values = append(values, float64(*x))
			}
		}
		return median(values)
	}
}

// pooled returns a function that reads a figure from the trial's percentiles.
func pooled(
	which func(*results.Trial) *results.Percentiles, figure func(*results.Percentiles) *int64,
) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) { return known(figure(which(t))) }
}

func response(t *results.Trial) *results.Percentiles { return t.ResponseNS }
func service(t *results.Trial) *results.Percentiles  { return t.ServiceNS }

func connect(t *results.Trial) *results.Percentiles   { return t.ConnectNS }
func firstByte(t *results.Trial) *results.Percentiles { return t.FirstByteNS }

func masked(t *results.Trial) *results.Percentiles {
	if t.Retries == nil || t.Attempts == 0 {
		return nil
	}
	return t.Retries.MaskedNS
}

// Each of these functions returns one figure of the percentiles, or nil if p is nil.
func p50(p *results.Percentiles) *int64 {
	if p == nil {
		return nil
	}
	return &p.P50
}

func p90(p *results.Percentiles) *int64 {
	if p == nil {
		return nil
	}
	return &p.P90
}

func p99(p *results.Percentiles) *int64 {
	if p == nil {
		return nil
	}
	return &p.P99
}

func p999(p *results.Percentiles) *int64 {
	if p == nil {
		return nil
	}
	return &p.P999
}

func longest(p *results.Percentiles) *int64 {
	if p == nil {
		return nil
	}
	return &p.Max
}

// mean and deviation return nil for older runs, which did not measure them.
func mean(p *results.Percentiles) *int64 {
	if p == nil || p.Mean <= 0 {
		return nil
	}
	return &p.Mean
}

func deviation(p *results.Percentiles) *int64 {
	if p == nil || p.Mean <= 0 {
		return nil
	}
	return &p.SD
}

// fairness returns a function that reads a figure from the trial's Fairness.
func fairness(of func(*results.Fairness) float64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		if t.Fairness == nil {
			return 0, false
		}
		return of(t.Fairness), true
	}
}

// connectionsTopShare returns the largest share of the connections that one worker got. Older runs
// lack it.
func connectionsTopShare(t *results.Trial) (float64, bool) {
	if t.Fairness == nil || t.Fairness.TopShare == 0 {
		return 0, false
	}
	return t.Fairness.TopShare, true
}

// spread returns a function that reads how evenly something was spread. Older runs lack it.
func spread(
	of func(*results.Fairness) *results.Spread, figure func(*results.Spread) float64,
) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		if t.Fairness == nil || of(t.Fairness) == nil {
			return 0, false
		}
		return figure(of(t.Fairness)), true
	}
}

func requests(f *results.Fairness) *results.Spread { return f.Requests }
func busyTime(f *results.Fairness) *results.Spread { return f.BusyTime }

func jain(s *results.Spread) float64        { return s.Jain }
func maxOverMean(s *results.Spread) float64 { return s.MaxOverMean }
func topShare(s *results.Spread) float64    { return s.TopShare }

// retried returns a function that divides a count of retries by the attempts, and returns false if
// clients do not retry.
func retried(of func(*results.Retries) (int64, bool)) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		if t.Retries == nil || t.Attempts == 0 {
			return 0, false
		}
		n, known := of(t.Retries)
		return float64(n) / float64(t.Attempts), known
	}
}

// cpuPerAttempt returns a function that divides a side's CPU time by the attempts.
func cpuPerAttempt(of func(*results.CPU) *int64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		x, ok := known(of(&t.CPU))
		if !ok || t.Attempts == 0 {
			return 0, false
		}
		return x / float64(t.Attempts), true
	}
}

// lastCold returns a function that reads a figure from the last of the trial's cold starts that has
// that figure.
func lastCold(of func(*results.ColdStart) (float64, bool)) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (last float64, ok bool) {
		for _, s := range t.Steps {
			if s.ColdStart == nil {
				continue
			}
			if x, has := of(s.ColdStart); has {
				last, ok = x, true
			}
		}
		return last, ok
	}
}

// lastColdNS is like lastCold, for a time in nanoseconds.
func lastColdNS(of func(*results.ColdStart) *int64) func(*results.Trial) (float64, bool) {
	return lastCold(func(c *results.ColdStart) (float64, bool) { return known(of(c)) })
}

// sharing describes how the connections were divided among workers.
type sharing struct {
	listening, serving    int64 // numbers of workers
	accepted, least, most int64 // connections: of all workers, and the least and most of one worker
}

// shared returns a function that reads a figure of how the connections were divided. The figure
// exists in a cluster, or if some workers could not bind their address, and only if no step changed
// the workers.
func shared(of func(sharing) float64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		unbound := func(w results.Worker) bool { return w.BindError != "" }
		changed := func(s results.Step) bool { return s.BindError == "" }
		if t.ControlPlane == "" && !slices.ContainsFunc(t.Workers, unbound) ||
			slices.ContainsFunc(t.Steps, changed) {
			return 0, false
		}
		s := sharing{least: math.MaxInt64}
		for _, w := range t.Workers {
			if s.accepted += w.Accepted; w.BindError == "" {
				s.listening++
			}
			if w.Accepted > 0 {
				s.serving++
			}
			s.least, s.most = min(s.least, w.Accepted), max(s.most, w.Accepted)
		}
		if s.accepted == 0 {
			return 0, false
		}
		return of(s), true
	}
}

func highestRate(t *results.Trial) (float64, bool) {
	if t.Search == nil || t.Search.Setting != "" {
		return 0, false
	}
	return t.Search.PerSecond, true
}

// The values of a setting that a search can look for.
const (
	least    = "least"
	greatest = "greatest"
)

// found returns the metric of the values that searches for the least or the greatest value of a
// setting found. u is unit.Nanoseconds if the setting is a duration, and unit.None if it is a
// number.
func found(name, which string, u unit.Unit) Metric {
	m := Metric{
		Name: name, Unit: u, Loop: OpenLoop, Better: Lower, Scale: difference, Threshold: 1,
		Bench: which + "-found",
	}
	kind, in := "number", ""
	if u == unit.Nanoseconds {
		kind, in, m.Threshold, m.Bench = "duration", "ns", 1e6, m.Bench+"-sec"
	}
	if which == greatest {
		m.Better = Higher
	}
	m.Doc = "the " + which + " value of a search's setting with which nothing was dropped, if it " +
		"is a " + kind
	m.Pool = func(t *results.Trial) (float64, bool) {
		s := t.Search
		if s == nil || s.Value == nil || s.Greatest != (which == greatest) || s.Unit != in {
			return 0, false
		}
		return *s.Value, true
	}
	return m
}

func halfOpenLost(t *results.Trial) (float64, bool) {
	var held, lost int64
	for _, s := range t.Steps {
		if h := s.HalfOpen; h != nil {
			held, lost = held+h.Held, lost+h.Lost
		}
	}
	return float64(lost) / float64(held), held > 0
}

// switches returns the context switches of all workers, including an acceptor.
func switches(t *results.Trial) (float64, bool) {
	var sum, accepted int64
	for _, w := range t.Workers {
		accepted += w.Accepted
		switch {
		case w.BindError != "":
		case w.ContextSwitches == nil:
			return 0, false
		default:
			sum += *w.ContextSwitches
		}
	}
	return float64(sum) / float64(accepted), accepted > 0
}

// cpuShare returns a function that reads a CPU time during the load, as a share of one CPU.
func cpuShare(of func(*results.CPU) *int64) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		used, all := of(&t.CPU), t.CPU.WatchedNS
		if used == nil || all == nil || *all == 0 {
			return 0, false
		}
		return float64(*used) / float64(*all), true
	}
}

func queueMax(t *results.Trial) (float64, bool) {
	if t.Queues == nil {
		return 0, false
	}
	longest := int64(0)
	for _, l := range t.Queues.Listeners {
		longest = max(longest, l.Max)
	}
	return float64(longest), true
}

func selection(t *results.Trial) (float64, bool) {
	if t.Selector == nil || t.Selector.Runs == 0 {
		return 0, false
	}
	return float64(t.Selector.NSPerRun), true
}

func occupied(t *results.Trial) (float64, bool) {
	if t.Occupancy == nil {
		return 0, false
	}
	return t.Occupancy.Load, true
}

func meanWait(t *results.Trial) (float64, bool) {
	if t.Occupancy == nil {
		return 0, false
	}
	return float64(t.Occupancy.WaitNS), true
}

func predictedWait(t *results.Trial) (float64, bool) {
	if t.Occupancy == nil {
		return 0, false
	}
	return known(t.Occupancy.PredictedWaitNS)
}

// perSecond returns the rate that x points to. It returns false if x is nil.
func perSecond(x *float64) (float64, bool) {
	if x == nil {
		return 0, false
	}
	return *x, true
}

func concurrency(t *results.Trial) (float64, bool) {
	return float64(t.Concurrency), t.Concurrency > 0
}

func offered(t *results.Trial) (float64, bool)         { return perSecond(t.OfferedPerSecond) }
func servedPerSecond(t *results.Trial) (float64, bool) { return perSecond(t.ServedPerSecond) }
func capacity(t *results.Trial) (float64, bool)        { return perSecond(t.CapacityPerSecond) }
func scheduleLag(t *results.Trial) (float64, bool)     { return known(t.ScheduleLagP99NS) }

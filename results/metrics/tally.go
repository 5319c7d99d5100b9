package metrics

import (
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A Tally has the events that one trial counted, by cluster, and the exposure of each cluster.
type Tally struct {
	Counts   []int64
	Exposure []float64
}

// Count returns the total number of events.
func (t Tally) Count() (n int64) {
	for _, c := range t.Counts {
		n += c
	}
	return n
}

// Units returns the total exposure.
func (t Tally) Units() (units float64) {
	for _, e := range t.Exposure {
		units += e
	}
	return units
}

// Tallies returns the tallies of those trials that have one.
func (m Metric) Tallies(trials []*results.Trial) (all []Tally) {
	for _, t := range trials {
		if one, ok := m.Tally(t); ok {
			all = append(all, one)
		}
	}
	return all
}

func lostPerAttempt(t *results.Trial) (Tally, bool) {
	return Tally{[]int64{t.Lost}, []float64{float64(t.Attempts)}}, t.Attempts > 0
}

func droppedPerAttempt(t *results.Trial) (Tally, bool) {
	return Tally{[]int64{t.Dropped}, []float64{float64(t.Attempts)}}, t.Attempts > 0
}

func resetAtClosePerRestart(t *results.Trial) (Tally, bool) {
	restarts := len(t.Restarts())
	return Tally{[]int64{t.LostByCause[cause.ResetAtClose]}, []float64{float64(restarts)}},
		restarts > 0
}

// perRestart returns a function that counts the losses of each restart of a trial. The function
// returns false if a count is unknown.
func perRestart(of func(*results.Trial, int) (int64, bool)) func(*results.Trial) (Tally, bool) {
	return func(t *results.Trial) (Tally, bool) {
		var all Tally
		for k := range t.Steps {
			if !t.Steps[k].Restarts() {
				continue
			}
			n, ok := of(t, k)
			if !ok {
				return Tally{}, false
			}
			all.Counts, all.Exposure = append(all.Counts, n), append(all.Exposure, 1)
		}
		return all, len(all.Counts) > 0
	}
}

func stepLost(t *results.Trial, k int) (int64, bool) { return t.Steps[k].Lost, true }

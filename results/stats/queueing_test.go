package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The values are computed by hand. The wait is ρ/2(1−ρ) for M/D/1, and ρ/(1−ρ) for M/M/1. Erlang's
// C for two servers at ρ is 2ρ²/(1+ρ), so the wait is ρ²/(1−ρ²) for M/M/2.
func TestWaits(t *testing.T) {
	for _, test := range []struct {
		name      string
		got, want float64
	}{
		{"M/D/1 at 0.7", WaitOwnQueues(0.7, 0), 0.7 / 0.6},
		{"M/M/1 at 0.9", WaitOwnQueues(0.9, 1), 9},
		{"M/M/1 as one queue", WaitOneQueue(1, 0.9, 1), 9},
		{"M/D/1 as one queue", WaitOneQueue(1, 0.7, 0), 0.7 / 0.6},
		{"M/M/2 at 0.5", WaitOneQueue(2, 0.5, 1), 0.25 / 0.75},
		{"M/M/2 at 0.8", WaitOneQueue(2, 0.8, 1), 0.64 / 0.36},
		{"no load", WaitOneQueue(4, 0, 1), 0},
	} {
		if math.Abs(test.got-test.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	if w := WaitOneQueue(4, 1, 0); !math.IsInf(w, 1) {
		t.Errorf("at full load: %v, want infinity", w)
	}
}

// The approximation must be close to a simulation of M/D/4.
func TestWaitOneQueueAgainstSimulation(t *testing.T) {
	for _, rho := range []float64{0.5, 0.7, 0.9} {
		simulated := simulateMDn(4, rho, 400_000)
		if got := WaitOneQueue(4, rho, 0); math.Abs(got-simulated) > 0.12*simulated+0.01 {
			t.Errorf("M/D/4 at %v: %.4f, simulated %.4f", rho, got, simulated)
		}
	}
}

// simulateMDn returns the mean wait of arrivals at servers with service time 1. It uses the
// recursion of Kiefer and Wolfowitz: the server that is free first takes the next arrival.
func simulateMDn(servers int, rho float64, arrivals int) float64 {
	random := rand.New(rand.NewPCG(7, 7))
	free := make([]float64, servers)
	now, waited := 0., 0.
	for range arrivals {
		now += random.ExpFloat64() / (rho * float64(servers))
		first := 0
		for i := range free {
			if free[i] < free[first] {
				first = i
			}
		}
		start := max(now, free[first])
		waited += start - now
		free[first] = start + 1
	}
	return waited / float64(arrivals)
}

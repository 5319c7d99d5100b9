package harness

import (
	"math"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/servers"
)

// occupancy is for how long connections kept a worker, and which wait queueing theory makes of that. Only a loop with a
// connection for each request serves one at a time.
func (t *trialRun) occupancy(r *results.Trial) *results.Occupancy {
	cfg := t.variant.Servers
	if cfg.Kind != servers.Loop || t.load[0].Connections != load.New || r.ResponseNS == nil {
		return nil
	}
	var sum, squares, n float64
	for _, w := range t.books.workers {
		sum, squares, n = sum+w.occupied, squares+w.occupiedSquares, n+float64(w.ended)
	}
	if n == 0 {
		return nil
	}
	mean := sum / n
	sd := math.Sqrt(max(0, squares/n-mean*mean))
	seconds := func(s float64) int64 { return int64(s * float64(time.Second)) }
	o := &results.Occupancy{
		MeanNS: seconds(mean), SDNS: seconds(sd), WaitNS: r.ResponseNS.Mean - seconds(mean),
		Load: sum / (float64(cfg.Workers) * t.variant.Setup.Load.Duration.Seconds()),
	}
	// The formulas are of workers that are all there and serve at the same time, for independent arrivals, with a rule that is
	// known. A stall is not in them, nor are workers that wait for each other's CPU.
	together := cfg.Work.Burn == 0 || len(t.plan.ServerCPUs) >= cfg.Workers
	if t.load[0].Shape.Pace != load.Poisson || len(t.line.fired) > 0 || o.Load >= 1 || !together {
		return o
	}
	waits := 0.
	switch {
	case cfg.Sockets == servers.Shared && cfg.Accept != servers.ByAcceptor:
		waits = results.WaitOneQueue(cfg.Workers, o.Load, sd/mean)
	case cfg.Sockets == servers.Reuseport && cfg.Selection == servers.Hash:
		waits = results.WaitOwnQueues(o.Load, sd/mean)
	default:
		return o
	}
	predicted := seconds(waits * mean)
	o.PredictedWaitNS = &predicted
	return o
}

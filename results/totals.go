package results

// Totals are sums over trials.
type Totals struct {
	Attempts, Served, Lost, Dropped, Residual int64
	LostByCause                               map[string]int64
	Evidence                                  Evidence
}

// Total sums the trials.
func Total(trials []*Trial) Totals {
	sum := Totals{LostByCause: map[string]int64{}}
	for _, t := range trials {
		sum.Attempts += t.Attempts
		sum.Served += t.Served
		sum.Lost += t.Lost
		sum.Dropped += t.Dropped
		sum.Residual += t.Residual
		for cause, n := range t.LostByCause {
			sum.LostByCause[cause] += n
		}
		sum.Evidence.Kernel += t.Evidence.Kernel
		sum.Evidence.Counter += t.Evidence.Counter
		sum.Evidence.Worker += t.Evidence.Worker
		sum.Evidence.Client += t.Evidence.Client
	}
	return sum
}

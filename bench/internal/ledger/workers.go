package ledger

import (
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/stats"
)

// Count returns the number of connections that a worker accepted, and the number of complete
// responses that it wrote.
func (b *Book) Count(worker int) (accepted, served int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.workers[worker]; w != nil {
		return w.accepted, w.served
	}
	return 0, 0
}

// fairness returns the fairness of the generation that listened longest.
func (a *Account) fairness() *results.Fairness {
	if a.foreign != nil {
		return a.foreign.fairness()
	}
	longest, generation := time.Duration(-1), 0
	for _, w := range a.facts.Workers {
		if w.Acceptor || w.BindFailed || w.Ready == nil || w.Closed == nil {
			continue
		}
		if life := w.Closed.Sub(*w.Ready); life > longest {
			longest, generation = life, w.Generation
		}
	}
	var counts, requests []int64
	var busy []time.Duration
	var overTime [][]int64
	for _, w := range a.facts.Workers {
		if w.Generation != generation || w.Acceptor || w.BindFailed {
			continue
		}
		var had workerBook
		if wb := a.book.workers[w.ID]; wb != nil {
			had = *wb
		}
		counts, requests = append(counts, had.accepted), append(requests, had.served)
		busy, overTime = append(busy, had.busy), append(overTime, had.overTime)
	}
	f := stats.Fairness(generation, counts)
	if f != nil {
		f.Requests, f.BusyTime = stats.Spread(requests), stats.Spread(busy)
		f.Windows = stats.FairnessWindows(overTime)
	}
	return f
}

// Occupied returns statistics of the time from accept to end, over all connections that have ended:
// the sum of the times in seconds, the sum of their squares, and the number of connections.
func (a *Account) Occupied() (sum, squares float64, n int64) {
	for _, w := range a.book.workers {
		sum, squares, n = sum+w.occupied, squares+w.occupiedSquares, n+w.ended
	}
	return sum, squares, n
}

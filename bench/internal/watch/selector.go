package watch

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/servers/selector"
)

// A Selector counts the runs of a group's selector, and their time, while the load runs.
type Selector struct {
	selector *selector.Selector // nil: nothing to watch, or stopped
	counting io.Closer          // the kernel's statistics of eBPF programs
	runs     uint64             // number of runs at the start
	total    int64              // their time at the start, in ns
	result   *results.Selector
}

// StartSelector counts the runs of the selector's program, and their time, until Stop. If there is
// no selector, or a capability that the kernel requires is missing, there is no result.
func StartSelector(sel *selector.Selector) (s *Selector, err error) {
	s = &Selector{}
	if sel == nil {
		return s, nil
	}
	s.counting, err = selector.EnableCost()
	switch {
	case errors.Is(err, unix.EPERM):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("statistics of the selector: %w", err)
	}
	runs, total, err := sel.Cost()
	if err != nil {
		return nil, errors.Join(err, s.counting.Close())
	}
	s.selector, s.runs, s.total = sel, runs, int64(total)
	return s, nil
}

// Result returns the figures, or nil if there are none. It is valid after Stop.
func (s *Selector) Result() *results.Selector { return s.result }

// Stop stops counting and keeps the figures. It may be called twice.
func (s *Selector) Stop() {
	if s.selector == nil {
		return
	}
	if runs, total, err := s.selector.Cost(); err == nil && runs > s.runs {
		stats := s.selector.Stats()
		s.result = &results.Selector{
			Runs: int64(runs - s.runs), NSPerRun: (int64(total) - s.total) / int64(runs-s.runs),
			Selected: int64(stats.Selected),
			Fallback: int64(stats.NobodyListed + stats.AllGone),
			Avoided:  int64(stats.Overloaded),
		}
	}
	_ = s.counting.Close() // a descriptor that only enables counting
	s.selector = nil
}

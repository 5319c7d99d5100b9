package harness

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/servers/selector"
)

// selections watches what a group's selector does while the load runs.
type selections struct {
	selector *selector.Selector // nil: there is none, or it is watched no more
	counting io.Closer          // the kernel's statistics of eBPF programs
	runs     uint64             // before
	total    int64              // ns, before
	result   *results.Selector  // once ended; nil without a selector
}

// start begins to count the runs of the selector's program and their time. Without a selector, or without the capability
// that the kernel wants for it, it does nothing.
func (s *selections) start(sel *selector.Selector) (err error) {
	if sel == nil {
		return nil
	}
	s.counting, err = selector.EnableCost()
	switch {
	case errors.Is(err, unix.EPERM):
		return nil
	case err != nil:
		return fmt.Errorf("statistics of the selector: %w", err)
	}
	s.selector = sel
	runs, total, err := sel.Cost()
	s.runs, s.total = runs, int64(total)
	return err
}

// end takes the figures. It is safe twice, and without start.
func (s *selections) end() {
	if s.selector == nil {
		return
	}
	if runs, total, err := s.selector.Cost(); err == nil && runs > s.runs {
		stats := s.selector.Stats()
		s.result = &results.Selector{
			Runs: int64(runs - s.runs), NSPerRun: (int64(total) - s.total) / int64(runs-s.runs),
			Selected: int64(stats.Selected), Fallback: int64(stats.NobodyListed + stats.AllGone), Avoided: int64(stats.Overloaded),
		}
	}
	_ = s.counting.Close() // a file descriptor that only counts
	s.selector = nil
}

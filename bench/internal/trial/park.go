package trial

import (
	"fmt"

	"reuseport-bench/servers"
)

// maxParked is the maximum number of parked processes. If a generation has more workers than that,
// the maximum is the number of its workers.
const maxParked = 64

// A parking parks processes for the workers that steps will start: it starts each process in
// advance, to be used when a step needs it. Its methods must be called from one goroutine.
type parking struct {
	group *servers.Group
	limit int
	next  func() (index int, ok bool) // the index of the worker that the next process is for
}

// fill starts processes until limit processes are parked or preparing to park. On a nil parking it
// does nothing.
func (p *parking) fill() error {
	if p == nil {
		return nil
	}
	for n := len(p.group.Parked()); n < p.limit; n++ {
		index, ok := p.next()
		if !ok {
			return nil
		}
		if err := p.group.Park(index); err != nil {
			return fmt.Errorf("park a process: %w", err)
		}
	}
	return nil
}

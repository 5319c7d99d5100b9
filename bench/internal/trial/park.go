package trial

import (
	"fmt"

	"reuseport-bench/servers"
)

// mostParked bounds how many processes are parked at a time, unless a generation is more.
const mostParked = 64

// A parking parks processes for the workers that steps will start. Its methods belong to one
// goroutine.
type parking struct {
	group *servers.Group
	most  int
	next  func() (index int, ok bool) // of the next worker that no process is parked for
}

// fill starts processes until as many are parked, or about to be, as may be. It does nothing
// without a parking.
func (p *parking) fill() error {
	if p == nil {
		return nil
	}
	for n := len(p.group.Parked()); n < p.most; n++ {
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

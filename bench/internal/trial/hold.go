package trial

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

// A holder holds up handshakes around every stop of workers, for server.fault.half_open.
type holder struct {
	lab    *netlab.Lab
	target netip.AddrPort
	n      int

	current  *netlab.Filter
	released chan error // of the hold before, or nil
}

const (
	// holdFor is how long after the stop signal the client's side of the handshakes is let go: long
	// after any close.
	holdFor = 50 * time.Millisecond
	// holdLimit bounds the wait for as many connections as are to be held up.
	holdLimit = 2 * time.Second
)

// hold returns when the next n connections are half-open. They are until holdFor after letGo.
func (h *holder) hold(ctx context.Context) (held []netip.AddrPort, err error) {
	if err := h.finish(); err != nil {
		return nil, err
	}
	if h.current, err = h.lab.HoldHandshakes(h.target, h.n); err != nil {
		return nil, err
	}
	for until := time.Now().Add(holdLimit); len(held) < h.n && err == nil; {
		time.Sleep(time.Millisecond)
		if held, err = h.current.Hit(); err == nil && len(held) < h.n && (ctx.Err() != nil || time.Now().After(until)) {
			err = fmt.Errorf("only %d of %d handshakes could be held up within %v: raise load.rate, or lower server.fault.half_open", len(held), h.n, holdLimit)
		}
	}
	return held, err
}

// letGo has what is held up go on after holdFor.
func (h *holder) letGo() {
	hold, released := h.current, make(chan error, 1)
	h.current, h.released = nil, released
	time.AfterFunc(holdFor, func() { released <- hold.Release() })
}

// finish waits until what was held up has been let go.
func (h *holder) finish() error {
	switch {
	case h == nil:
		return nil
	case h.current != nil: // the step failed before it stopped anybody
		h.letGo()
	case h.released == nil:
		return nil
	}
	err := <-h.released
	h.released = nil
	return err
}

package trial

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

// A holder implements server.fault.half_open: it holds up handshakes around every stop of workers.
type holder struct {
	lab    *netlab.Lab
	target netip.AddrPort
	n      int

	current  *netlab.Filter
	released chan error // gets the error of the release; nil: none is due
}

const (
	// holdFor is the time from the stop signal to the release of the handshakes: long enough for
	// any close.
	holdFor = 50 * time.Millisecond
	// holdLimit bounds the wait for enough connections to hold up.
	holdLimit = 2 * time.Second
)

// hold holds up the handshakes of the next n connections until letGo releases them. It returns when
// all n connections are half-open.
func (h *holder) hold(ctx context.Context) (held []netip.AddrPort, err error) {
	if err := h.finish(); err != nil {
		return nil, err
	}
	if h.current, err = h.lab.HoldHandshakes(h.target, h.n); err != nil {
		return nil, err
	}
	for until := time.Now().Add(holdLimit); len(held) < h.n && err == nil; {
		time.Sleep(time.Millisecond)
		held, err = h.current.Hit()
		over := ctx.Err() != nil || time.Now().After(until)
		if err == nil && len(held) < h.n && over {
			err = fmt.Errorf("only %d of %d handshakes could be held up within %v: "+
				"raise load.rate, or lower server.fault.half_open", len(held), h.n, holdLimit)
		}
	}
	return held, err
}

// letGo releases the handshakes after holdFor. It does not wait for the release; finish does.
func (h *holder) letGo() {
	hold, released := h.current, make(chan error, 1)
	h.current, h.released = nil, released
	time.AfterFunc(holdFor, func() { released <- hold.Release() })
}

// finish waits until the handshakes have been released.
func (h *holder) finish() error {
	switch {
	case h == nil:
		return nil
	case h.current != nil: // the step failed before it stopped a worker
		h.letGo()
	case h.released == nil:
		return nil
	}
	err := <-h.released
	h.released = nil
	return err
}

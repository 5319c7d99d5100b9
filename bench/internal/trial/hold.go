package trial

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

// A holder implements server.fault.half_open. Whenever workers are stopped, it holds up some
// handshakes (netlab.Lab.HoldHandshakes): their connections stay half-open until after the stop.
type holder struct {
	lab    *netlab.Lab
	target netip.AddrPort
	n      int

	current  *netlab.Filter
	released chan error // receives the result of the release; nil: no release is pending
}

const (
	// holdFor is the time from the stop signal to the release of the handshakes. Every worker
	// closes its listener within this time.
	holdFor = 50 * time.Millisecond
	// holdLimit is the maximum time that hold waits until n handshakes are held up.
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

package witness

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"reuseport-bench/bench/internal/kernel"
)

// A namespace is a network namespace that a Witness watches.
type namespace struct {
	w      *Witness
	do     func(func() error) error // runs a function in the namespace
	before kernel.Counters
	left   sync.Once
	err    error // of leave

	// The following fields are unused with a trace.
	obituaries  *kernel.Obituaries
	unsubscribe chan struct{}   // closed to end the reader of obituaries
	done        chan error      // receives the error of the reader when it ends
	ends        []SocketEnd     // owned by the reader until it returns
	earlier     map[uint64]bool // cookies of connections from before the start
}

// slack is the number of additional sockets for which buffers have room, because
// Options.Connections does not count them: listeners, and connections of probes.
const slack = 1024

// start begins to watch the namespace.
func (n *namespace) start() (err error) {
	if n.w.trace != nil {
		err = n.do(n.w.trace.watch)
	} else {
		err = n.subscribe()
	}
	if err != nil {
		return err
	}
	if n.before, err = kernel.CountersIn(n.do); err != nil {
		return errors.Join(err, n.leave())
	}
	return nil
}

// subscribe begins to receive the namespace's obituaries.
func (n *namespace) subscribe() error {
	o := n.w.o
	n.unsubscribe, n.done = make(chan struct{}), make(chan error, 1)
	n.earlier = map[uint64]bool{}
	err := n.do(func() error {
		// Before the subscription: what ends in between is in no list, and what ends later in both.
		all, err := kernel.Connections(nil, o.Port, o.Families...)
		if err != nil {
			return err
		}
		for _, c := range all {
			n.earlier[c.Cookie] = true
		}
		n.obituaries, err = kernel.NewObituaries(o.Port, o.Connections+slack)
		return err
	})
	if err != nil {
		return err
	}
	go func() { n.done <- n.readObituaries(readPeriod(n.obituaries.Room(), o)) }()
	return nil
}

// readPeriod returns the interval at which obituaries must be read to keep half of the buffer free.
// It returns 0 if the buffer has room for all obituaries, so that they can be read at the end.
func readPeriod(room int, o Options) time.Duration {
	if room >= o.Connections+slack {
		return 0
	}
	rate := cmp.Or(o.Rate, float64(o.Connections))
	const least, most = 2 * time.Millisecond, time.Second
	return min(max(least, time.Duration(float64(room)/2/rate*float64(time.Second))), most)
}

// readObituaries reads obituaries at intervals until unsubscribe is closed.
func (n *namespace) readObituaries(period time.Duration) error {
	var tick <-chan time.Time // stays nil, so never ready, without a period
	if period > 0 {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			if err := n.obituaries.Read(n.note); err != nil {
				return err
			}
		case <-n.unsubscribe:
			return nil
		}
	}
}

// note adds an obituary's connection to the ends.
func (n *namespace) note(c kernel.Connection) {
	if e, ok := obituary(c); ok && !n.earlier[c.Cookie] {
		n.ends = append(n.ends, e)
	}
}

// leave ends the watch, and adds to the Witness what was seen.
func (n *namespace) leave() error {
	n.left.Do(func() {
		a := &Account{}
		if n.obituaries != nil {
			n.err = n.collectAll(a)
		} else {
			n.err = n.do(func() (err error) {
				a.Ends, err = n.w.trace.leave()
				return err
			})
			n.err = errors.Join(n.err, n.count(a))
		}
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		n.w.add(a, n.err)
	})
	return n.err
}

// add adds a namespace's account. The caller holds w.mu.
func (w *Witness) add(a *Account, err error) {
	w.err = errors.Join(w.err, err)
	w.account.Ends = append(w.account.Ends, a.Ends...)
	w.account.Lost += a.Lost
	if w.account.Moved == nil {
		w.account.Moved = kernel.Counters{}
	}
	w.account.Moved.Add(a.Moved)
}

// count sets the account's Moved.
func (n *namespace) count(a *Account) error {
	now, err := kernel.CountersIn(n.do)
	a.Moved = now.Since(n.before)
	return err
}

// settleLimit is the maximum time that leave waits for obituaries, which the kernel sends from a
// work queue.
const settleLimit = 250 * time.Millisecond

// collectAll ends the subscription, and fills the account.
func (n *namespace) collectAll(a *Account) error {
	close(n.unsubscribe)
	err := <-n.done
	for end := time.Now().Add(settleLimit); err == nil; time.Sleep(5 * time.Millisecond) {
		err = n.collect(a)
		opened, counted := a.Moved[passiveOpens]
		if !counted || int64(len(a.Ends))+a.Lost >= opened || time.Now().After(end) {
			break
		}
	}
	return errors.Join(err, n.obituaries.Close())
}

// collect fills the account from what has been seen so far.
func (n *namespace) collect(a *Account) error {
	err := n.obituaries.Read(n.note)
	a.Ends = slices.Clone(n.ends)
	var still []kernel.Connection
	dumpErr := n.do(func() (err error) {
		still, err = kernel.Connections(nil, n.w.o.Port, n.w.o.Families...)
		return err
	})
	for _, c := range still {
		if !n.earlier[c.Cookie] {
			a.Ends = append(a.Ends, unended(c))
		}
	}
	lost, lostErr := n.obituaries.Lost()
	a.Lost = int64(lost)
	return errors.Join(err, dumpErr, lostErr, n.count(a))
}

package witness

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/kernel"
)

// Options describes what a Witness watches.
type Options struct {
	// Do runs a function in the servers' network namespace.
	Do func(func() error) error
	// Port is the port on which the servers listen. Families are the families of their sockets:
	// unix.AF_INET, unix.AF_INET6, or both.
	Port     uint16
	Families []int
	// Connections is the maximum number of connections, and Rate the maximum number of connections
	// in a second. They determine the sizes of the buffers. A Rate of 0 means that all connections
	// may arrive within a second.
	Connections int
	Rate        float64
	// PIDs is the inode of the PID namespace whose numbers the ends have. If it is 0, they have the
	// numbers of this process's PID namespace.
	PIDs uint32
	// Types are this kernel's types. Reading the types takes most of the time of Start, so callers
	// that start several witnesses should share a cache.
	Types *btf.Cache
}

// A Witness watches the connections that servers get after its start. As root it traces
// connections. Where tracing is not possible, it reads the kernel's obituaries of sockets, and at
// the end it lists the connections that still exist. The caller must call Stop.
type Witness struct {
	o           Options
	trace       *trace             // nil if tracing is not possible
	untraced    error              // the reason that tracing is not possible
	obituaries  *kernel.Obituaries // nil with a trace
	unsubscribe chan struct{}      // closed to end the reader of obituaries
	done        chan error         // receives the error of the reader when it ends
	ends        []SocketEnd        // owned by the reader until it returns
	earlier     map[uint64]bool    // without a trace: cookies of connections from before the start
	before      kernel.Counters
}

// An Account holds everything that a Witness saw.
type Account struct {
	// Ends has one entry per connection, in no particular order. With a trace, it has the
	// connections to every port.
	Ends []SocketEnd `json:"ends"`
	// Lost is the number of ends that were lost because a buffer had no room. If it is not 0, the
	// absence of an end proves nothing.
	Lost int64 `json:"lost,omitzero"`
	// Untraced is the reason that connections were not traced; "" if they were.
	Untraced string `json:"untraced,omitzero"`
	// Births is the number of connections that listeners made. It is valid only with a trace.
	Births int64 `json:"births,omitzero"`
	// Moved is the change of each counter of the servers' network namespace while the Witness ran.
	Moved kernel.Counters `json:"moved"`
}

// Start starts a Witness.
func Start(o Options) (*Witness, error) {
	w, err := start(o)
	if err != nil {
		return nil, err
	}
	if w.before, err = kernel.CountersIn(o.Do); err != nil {
		_, stopErr := w.Stop()
		return nil, errors.Join(err, stopErr)
	}
	return w, nil
}

func start(o Options) (*Witness, error) {
	w, untraced := startTrace(o)
	if untraced == nil {
		return w, nil
	}
	w, err := startObituaries(o, untraced)
	if err != nil {
		return nil, fmt.Errorf("%w; and without a trace: %w", untraced, err)
	}
	return w, nil
}

// startTrace starts a Witness with a trace.
func startTrace(o Options) (*Witness, error) {
	t, err := newTrace(o.Connections, o.PIDs, o.Types)
	if err != nil {
		return nil, err
	}
	w := &Witness{o: o, trace: t, done: make(chan error, 1)}
	if err := o.Do(t.watch); err != nil {
		return nil, errors.Join(err, t.close())
	}
	go func() { w.done <- t.read(func(e SocketEnd) { w.ends = append(w.ends, e) }) }()
	return w, nil
}

// slack is the number of additional sockets for which buffers have room, because
// Options.Connections does not count them: listeners, and connections of probes.
const slack = 1024

// startObituaries starts a Witness without a trace. untraced is the reason that there is no trace.
func startObituaries(o Options, untraced error) (*Witness, error) {
	w := &Witness{
		o: o, untraced: untraced, unsubscribe: make(chan struct{}), done: make(chan error, 1),
		earlier: map[uint64]bool{},
	}
	err := o.Do(func() error {
		// Before the subscription: what ends in between is in no list, and what ends later in both.
		all, err := kernel.Connections(nil, o.Port, o.Families...)
		if err != nil {
			return err
		}
		for _, c := range all {
			w.earlier[c.Cookie] = true
		}
		w.obituaries, err = kernel.NewObituaries(o.Port, o.Connections+slack)
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() { w.done <- w.readObituaries(readPeriod(w.obituaries.Room(), o)) }()
	return w, nil
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
func (w *Witness) readObituaries(period time.Duration) error {
	var tick <-chan time.Time // stays nil, so never ready, without a period
	if period > 0 {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			if err := w.obituaries.Read(w.note); err != nil {
				return err
			}
		case <-w.unsubscribe:
			return nil
		}
	}
}

// settleLimit is the maximum time that Stop waits for obituaries, which the kernel sends from a
// work queue.
const settleLimit = 250 * time.Millisecond

// Stop ends the Witness and returns what it saw. The traffic should have stopped before. Without a
// trace, Stop waits for the obituaries of all connections that the kernel has counted, but at most
// for settleLimit.
func (w *Witness) Stop() (*Account, error) {
	a := &Account{}
	if w.trace != nil {
		return a, w.stopTrace(a)
	}
	a.Untraced = w.untraced.Error()
	return a, w.stopObituaries(a)
}

func (w *Witness) stopTrace(a *Account) error {
	var living map[uint64]SocketEnd
	err := w.o.Do(func() (err error) {
		living, err = w.trace.readLiving()
		return err
	})
	if err != nil {
		err = fmt.Errorf("open connections: %w", err)
	}
	err = errors.Join(err, w.trace.stop(), <-w.done, w.trace.close())
	for i := range w.ends {
		delete(living, w.ends[i].Cookie)
	}
	a.Ends = slices.AppendSeq(w.ends, maps.Values(living))
	a.Lost, a.Births = int64(w.trace.lost), int64(w.trace.births)
	return errors.Join(err, w.count(a))
}

// count sets the account's Moved.
func (w *Witness) count(a *Account) error {
	now, err := kernel.CountersIn(w.o.Do)
	a.Moved = now.Since(w.before)
	return err
}

func (w *Witness) stopObituaries(a *Account) error {
	close(w.unsubscribe)
	err := <-w.done
	for end := time.Now().Add(settleLimit); err == nil; time.Sleep(5 * time.Millisecond) {
		err = w.collect(a)
		opened, counted := a.Moved[passiveOpens]
		if !counted || int64(len(a.Ends))+a.Lost >= opened || time.Now().After(end) {
			break
		}
	}
	return errors.Join(err, w.obituaries.Close())
}

// collect fills the account from what the Witness has seen so far.
func (w *Witness) collect(a *Account) error {
	err := w.obituaries.Read(w.note)
	a.Ends = slices.Clone(w.ends)
	var still []kernel.Connection
	dumpErr := w.o.Do(func() (err error) {
		still, err = kernel.Connections(nil, w.o.Port, w.o.Families...)
		return err
	})
	for _, c := range still {
		if !w.earlier[c.Cookie] {
			a.Ends = append(a.Ends, unended(c))
		}
	}
	lost, lostErr := w.obituaries.Lost()
	a.Lost = int64(lost)
	return errors.Join(err, dumpErr, lostErr, w.count(a))
}

// note adds an obituary's connection to the ends.
func (w *Witness) note(c kernel.Connection) {
	if e, ok := obituary(c); ok && !w.earlier[c.Cookie] {
		w.ends = append(w.ends, e)
	}
}

package witness

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/kernel"
)

// Options describes what a Witness watches.
type Options struct {
	// Do runs a function in the servers' network namespace. If it is nil, the Witness watches no
	// namespace until Watch is called.
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
	// Untraced, if not "", is a reason not to trace connections.
	Untraced string
	// Types are this kernel's types. Reading the types takes most of the time of Start, so callers
	// that start several witnesses should share a cache.
	Types *btf.Cache
}

// A Witness watches the connections that servers get after its start. As root it traces
// connections. Where tracing is not possible, it reads the kernel's obituaries of sockets, and at
// the end it lists the connections that still exist. The caller must call Stop.
type Witness struct {
	o        Options
	trace    *trace      // nil if tracing is not possible
	untraced error       // the reason that tracing is not possible
	done     chan error  // with a trace, receives the error of its reader when it ends
	traced   []SocketEnd // owned by the trace's reader until it returns

	mu         sync.Mutex // guards the fields below
	namespaces []*namespace
	account    Account // what the namespaces that are no longer watched add to the account
	err        error   // of these namespaces
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
	// Moved is the change of each counter of the watched network namespaces while the Witness
	// watched them.
	Moved kernel.Counters `json:"moved"`
}

// Start starts a Witness.
func Start(o Options) (*Witness, error) { return start(o) }

func start(o Options) (*Witness, error) {
	untraced := errors.New(o.Untraced)
	if o.Untraced == "" {
		var w *Witness
		if w, untraced = startTrace(o); untraced == nil {
			return w, nil
		}
	}
	w, err := startObituaries(o, untraced)
	if err != nil {
		return nil, fmt.Errorf("%w; and without a trace: %w", untraced, err)
	}
	return w, nil
}

// startTrace starts a Witness with a trace.
func startTrace(o Options) (*Witness, error) {
	t, err := newTrace(o)
	if err != nil {
		return nil, err
	}
	w := &Witness{o: o, trace: t, done: make(chan error, 1)}
	if err := w.watchFirst(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	go func() { w.done <- t.read(func(e SocketEnd) { w.traced = append(w.traced, e) }) }()
	return w, nil
}

// startObituaries starts a Witness without a trace. untraced is the reason that there is no trace.
func startObituaries(o Options, untraced error) (*Witness, error) {
	w := &Witness{o: o, untraced: untraced}
	return w, w.watchFirst()
}

// watchFirst watches the namespace of Options.Do, if there is one.
func (w *Witness) watchFirst() error {
	if w.o.Do == nil {
		return nil
	}
	_, err := w.Watch(w.o.Do)
	return err
}

// Watch adds a network namespace, in which do runs a function. If processes in the namespace can
// make or get connections during the call, the account may disagree with the kernel's counters.
//
// If the namespace ends before Stop, the caller must call leave first, after the namespace's last
// process has exited. Further calls of leave, and those after Stop, do nothing.
func (w *Witness) Watch(do func(func() error) error) (leave func() error, err error) {
	n := &namespace{w: w, do: do}
	if err := n.start(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.namespaces = append(w.namespaces, n)
	return n.leave, nil
}

// Stop ends the Witness and returns what it saw. The traffic should have stopped before. Without a
// trace, Stop waits for the obituaries of all connections that the kernel has counted, but at most
// for settleLimit.
func (w *Witness) Stop() (*Account, error) {
	w.mu.Lock()
	all := slices.Clone(w.namespaces)
	w.mu.Unlock()
	for _, n := range all {
		_ = n.leave() // the error is in w.err, too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.account
	if w.trace != nil {
		return &a, errors.Join(w.err, w.stopTrace(&a))
	}
	a.Untraced = w.untraced.Error()
	return &a, w.err
}

func (w *Witness) stopTrace(a *Account) error {
	living, err := w.trace.held()
	err = errors.Join(err, w.trace.stop(), <-w.done, w.trace.close())
	for _, e := range a.Ends { // listed when their namespaces were left
		living[e.Cookie] = e
	}
	for i := range w.traced {
		delete(living, w.traced[i].Cookie)
	}
	a.Ends = slices.AppendSeq(w.traced, maps.Values(living))
	a.Lost, a.Births = int64(w.trace.lost), int64(w.trace.births)
	return err
}

package watch

import (
	"errors"
	"net/netip"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
)

// Losses records the kernel's resets and dropped segments while a trial runs.
type Losses struct {
	trace  *kernel.LossTrace // nil: not available, so causes are inferred
	server netip.AddrPort
	done   chan error // gets the error of Read when Read returns

	// events holds the events of each client's address, in the order in which they were read.
	events map[netip.AddrPort][]kernel.LossEvent
	result *results.Trace
}

// maxLossEvents is the maximum number of events kept for one trial, at about 100 bytes each.
const maxLossEvents = 1 << 20

// StartLosses records losses of connections to the server in the lab until Stop. If the kernel does
// not permit or support this, nothing is recorded, and there is no error. types has the same
// meaning as in kernel.LossTraceOptions.
func StartLosses(lab *netlab.Lab, server netip.AddrPort, types *btf.Cache) (*Losses, error) {
	l := &Losses{server: server}
	o := kernel.LossTraceOptions{Servers: []netip.AddrPort{server}, Types: types}
	for _, h := range lab.Hosts() {
		inode, err := h.Inode()
		if err != nil {
			return nil, err
		}
		o.Namespaces = append(o.Namespaces, inode)
	}
	var err error
	if l.trace, err = kernel.NewLossTrace(o); err != nil {
		l.result = &results.Trace{Unavailable: err.Error()}
		return l, nil
	}
	l.result = &results.Trace{Missing: l.trace.Missing()}
	l.events = map[netip.AddrPort][]kernel.LossEvent{}
	l.done = make(chan error, 1)
	go func() { l.done <- l.trace.Read(l.take) }()
	return l, nil
}

// NoLosses returns a Losses that records nothing. Its result gives why as the reason.
func NoLosses(why string) *Losses { return &Losses{result: &results.Trace{Unavailable: why}} }

func (l *Losses) take(e kernel.LossEvent) {
	if l.result.Events++; l.result.Events > maxLossEvents {
		l.result.Dropped++
		return
	}
	if e.Kind == kernel.ResetSent {
		l.result.Resets++
	}
	if client, ok := l.client(e); ok {
		l.events[client] = append(l.events[client], e)
	}
}

// client returns the client's address in the connection that an event concerns, and false if the
// event concerns no connection.
func (l *Losses) client(e kernel.LossEvent) (netip.AddrPort, bool) {
	switch l.server {
	case e.Destination:
		return e.Source, e.Source.IsValid()
	case e.Source:
		return e.Destination, true
	}
	return netip.AddrPort{}, false
}

// Stop stops recording. It may be called twice.
func (l *Losses) Stop() error {
	if l.done == nil {
		return nil
	}
	err := l.trace.Close() // delivers the events left in the ring
	err = errors.Join(err, <-l.done)
	l.done = nil
	drops, dropsErr := l.trace.Drops()
	l.result.Dropped += int64(drops)
	return errors.Join(err, dropsErr)
}

// Result returns the summary of the recording. It is valid after Stop.
func (l *Losses) Result() *results.Trace { return l.result }

// Facts returns the events in the ledger's form, or nil if nothing was recorded. at converts an
// instant to a time of the trial. workers maps the PIDs of workers to their IDs.
func (l *Losses) Facts(at func(clock.Instant) ledger.Time, workers map[int]int) *ledger.Trace {
	if l.events == nil {
		return nil
	}
	t := &ledger.Trace{Events: map[netip.AddrPort][]ledger.Event{}}
	for client, events := range l.events {
		for _, e := range events {
			if kind := eventKinds[e.Kind]; kind != "" {
				worker, known := workers[e.PID]
				if !known {
					worker = -1
				}
				t.Events[client] = append(t.Events[client], ledger.Event{
					At: at(clock.Instant(e.At)), Kind: kind, Reason: e.Reason,
					FromServer: e.Destination == l.server,
					Flags:      e.Flags, Socket: e.Socket, Worker: worker,
				})
			}
		}
	}
	return t
}

// eventKinds maps the kinds of event that concern a connection.
var eventKinds = map[kernel.LossKind]ledger.EventKind{
	kernel.ResetSent: ledger.ResetSent, kernel.SegmentDropped: ledger.SegmentDropped,
}

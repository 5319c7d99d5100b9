package harness

import (
	"errors"
	"net/netip"
	"slices"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A lossWatch listens to the kernel while a trial runs: what it resets, which segments it drops.
type lossWatch struct {
	trace  *kernel.LossTrace // nil: it is not to be had, and causes are inferred
	server netip.AddrPort
	done   chan error // of reading

	events map[netip.AddrPort][]kernel.LossEvent // by the client's end of the connection, in the order of their coming
	result *results.Trace
}

// traceOn is the value of trace with which the kernel is asked.
const traceOn = "on"

// maxLossEvents bounds what is kept of one trial's events, about 100 bytes each.
const maxLossEvents = 1 << 20

// start listens from now on, until end. Where the kernel does not allow or offer it nothing is heard, and that is no error.
func (l *lossWatch) start(lab *netlab.Lab, server netip.AddrPort) error {
	l.server = server
	o := kernel.LossTraceOptions{Servers: []netip.AddrPort{server}}
	for _, h := range lab.Hosts() {
		inode, err := h.Inode()
		if err != nil {
			return err
		}
		o.Namespaces = append(o.Namespaces, inode)
	}
	var err error
	if l.trace, err = kernel.NewLossTrace(o); err != nil {
		l.result = &results.Trace{Unavailable: err.Error()}
		return nil
	}
	l.result = &results.Trace{Missing: l.trace.Missing()}
	l.events = map[netip.AddrPort][]kernel.LossEvent{}
	l.done = make(chan error, 1)
	go func() { l.done <- l.trace.Read(l.take) }()
	return nil
}

func (l *lossWatch) take(e kernel.LossEvent) {
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

// client is the client's end of the connection that an event is about.
func (l *lossWatch) client(e kernel.LossEvent) (netip.AddrPort, bool) {
	switch l.server {
	case e.Destination:
		return e.Source, e.Source.IsValid()
	case e.Source:
		return e.Destination, true
	}
	return netip.AddrPort{}, false
}

// end stops listening. It is safe twice, and without start.
func (l *lossWatch) end() error {
	if l.trace == nil || l.done == nil {
		return nil
	}
	err := l.trace.Close() // delivers what is left in the ring
	err = errors.Join(err, <-l.done)
	l.done = nil
	drops, dropsErr := l.trace.Drops()
	l.result.Dropped += int64(drops)
	return errors.Join(err, dropsErr)
}

// reasonQueueFull is the kernel's reason for dropping the last ACK of a handshake whose listener's accept queue is full. A SYN
// that meets such a queue is refused without a word.
const reasonQueueFull = "tcp_listen_overflow"

// A kernelView judges lost attempts by what the kernel said of their connections.
type kernelView struct {
	watch    *lossWatch
	books    *books
	workers  map[int]int // PID → worker
	closings []closing
}

// judge is the cause of a loss with the kernel's word for it, where it has said one; else as it was inferred. The
// event that decided it, if any, comes with it.
func (k *kernelView) judge(i int, a *attempt, inferred judgement) (judgement, *kernel.LossEvent) {
	var reset, dropped *kernel.LossEvent
	events := k.watch.events[k.books.connection(i)]
	for n := range events {
		e := &events[n]
		if at := k.books.since(e.At); at < a.sent-clockSlack || at > a.done+clockSlack {
			continue // of another attempt on this connection, or of its end
		}
		switch {
		case e.Destination != k.watch.server: // the client's own
		case e.Kind == kernel.ResetSent:
			reset = earlier(reset, e)
		case e.Kind == kernel.SegmentDropped:
			dropped = earlier(dropped, e)
		}
	}
	j := inferred
	switch a.class {
	case results.ClassReset, results.ClassEOF:
		if reset == nil || a.class == results.ClassEOF && a.state != neverAccepted {
			return inferred, nil
		}
		j.evidence = evidenceKernel
		if a.state == neverAccepted && !k.books.proxied { // a proxy has accepted it, whatever else
			j.cause, j.worker = k.neverAccepted(a, reset, inferred)
			j.explained = true
		}
		return j, reset
	case results.ClassRefused:
		if reset == nil && dropped == nil {
			return inferred, nil
		}
		j.evidence = evidenceKernel
		if reset == nil { // a firewall's rule has thrown the SYN away, and answered by itself
			reset = dropped
		}
		return j, reset
	case results.ClassTimeout:
		if dropped == nil || a.state != neverAccepted {
			return inferred, nil
		}
		j.evidence = evidenceKernel
		switch {
		case dropped.Reason == reasonQueueFull:
			j.cause = cause.AcceptOverflow
		case a.phase == results.PhaseConnect:
			j.cause = cause.SYNTimeout // and no full queue: of that the kernel says nothing
		}
		return j, dropped
	}
	return inferred, nil
}

// earlier is the first of two events: a client that repeats itself is answered again, and processors do not queue for the ring.
func earlier(a, b *kernel.LossEvent) *kernel.LossEvent {
	if a == nil || b.At < a.At {
		return b
	}
	return a
}

// neverAccepted is why a connection that no worker has heard of was reset, and whose doing it was.
func (k *kernelView) neverAccepted(a *attempt, reset *kernel.LossEvent, inferred judgement) (name string, worker int) {
	if reset.Flags != 0 {
		// An answer to what the client said: the handshake was no longer known.
		return cause.ResetHalfOpen, inferred.worker
	}
	if w, known := k.workers[reset.PID]; known { // by whoever closed the listener, on its own time
		worker = w
	} else {
		worker = inferred.worker
	}
	if reset.Socket == 0 {
		return cause.ResetAtClose, worker
	}
	// It was accepted. Either nobody lived to say so, or who accepts for the workers has closed it.
	if slices.ContainsFunc(k.closings, func(c closing) bool { return c.worker == worker && c.killed && c.overlaps(a) }) {
		return cause.WorkerCrash, worker
	}
	return cause.ClosedByWorker, worker
}

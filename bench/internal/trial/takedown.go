package trial

import (
	"cmp"
	"context"
	"os"
	"slices"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// takeDown lets the workers take what is still queued, ends all processes, and returns what is
// known of the trial.
func (s *stage) takeDown(ctx context.Context) (*ledger.Facts, error) {
	var err error
	if s.seen.after, err = s.counters(); err != nil {
		return nil, err
	}
	if s.cluster != nil {
		if err := s.cluster.ReadTranslations(); err != nil {
			return nil, err
		}
	}
	s.unaccepted.Read()
	s.readMemory()
	s.selector.Stop()
	if err := s.endProxy(); err != nil {
		return nil, err
	}
	s.seen.atEnd = s.scheds()
	relayAtEnd := s.relaySched()
	if err := s.endWorkers(ctx); err != nil {
		return nil, err
	}
	if err := s.endRelay(relayAtEnd); err != nil {
		return nil, err
	}
	if s.cluster != nil {
		if err := s.cluster.Close(); err != nil {
			s.problem("%v", err)
		}
	}
	if s.losses != nil {
		if err := s.losses.Stop(); err != nil {
			return nil, err
		}
	}
	// What the workers' last stop did, the trace has heard too.
	last, err := s.counters()
	if err != nil {
		return nil, err
	}
	s.seen.resetsSent = last.Since(s.seen.before)["TcpOutRsts"]
	return s.facts(), nil
}

// endGrace is how long workers have to finish when the load has ended. No client waits for what
// they still do then.
const endGrace = time.Second

// endWorkers ends all workers, and waits until they and their journals have ended.
func (s *stage) endWorkers(ctx context.Context) error {
	if err := s.group.End(ctx, min(endGrace, s.servers.Grace)); err != nil {
		s.problem("at the end: %v", err)
	}
	for _, w := range s.group.Workers() {
		if err := w.Err(); err != nil && w.BindError() == 0 {
			s.problem("worker %d (generation %d): %v", w.ID, w.Generation, err)
		}
	}
	if err := s.group.Close(); err != nil {
		return err
	}
	for _, w := range s.group.Workers() {
		if n := w.Missed(); n > 0 {
			s.problem("worker %d: its journal was full: %d records are missing", w.ID, n)
		}
	}
	return nil
}

// readMemory looks at the last generation while it is still there. What cannot be read stays
// unknown.
func (s *stage) readMemory() {
	var largest kernel.Memory
	for _, w := range s.line.current.Workers {
		if m, err := kernel.ReadMemory(w.PID()); err == nil {
			largest.Peak, largest.Proportional = max(largest.Peak, m.Peak), max(largest.Proportional, m.Proportional)
		}
	}
	own, err := kernel.ReadPeak(os.Getpid())
	load := s.machine.LoadPeak()
	s.seen.memory = results.Memory{
		LoadBytes: known(load > 0, load), HarnessBytes: known(err == nil, own),
		WorkerBytes:             known(largest.Peak > 0, largest.Peak),
		WorkerProportionalBytes: known(largest.Proportional > 0, largest.Proportional),
		SampleFlushes:           &s.seen.sampleFlushes,
	}
}

// known returns a pointer to v, or nil where it is not known.
func known[T any](is bool, v T) *T {
	if !is {
		return nil
	}
	return &v
}

// facts returns what is known of the trial besides its samples and journals.
func (s *stage) facts() *ledger.Facts {
	f := &ledger.Facts{
		Duration: s.variant.Duration, Moved: s.seen.after.Since(s.seen.before), ResetsSent: s.seen.resetsSent,
		Closings: s.closings(), QueueReadings: s.unaccepted.Facts(s.book.Time),
	}
	workers := map[int]int{} // by PID
	for _, w := range s.group.Workers() {
		workers[w.PID()] = w.ID
		f.Workers = append(f.Workers, ledger.Worker{
			ID: w.ID, Generation: w.Generation, Acceptor: w.Acceptor, BindFailed: w.BindError() != 0, Listener: w.Listener(),
			Ready: s.book.Maybe(w.ReadyAt()), Closed: s.book.Maybe(w.Closing().To),
		})
	}
	for _, step := range s.line.steps {
		f.Steps = append(f.Steps, step.fact(s.book))
	}
	if s.losses != nil {
		f.Trace = s.losses.Facts(s.book.Time, workers)
	}
	if s.cluster != nil {
		f.Routes = s.cluster.Routes(s.book, s.load[0].Ports > 0)
	}
	return f
}

// fact returns the step as the ledger wants it.
func (s *step) fact(at *ledger.Book) ledger.Step {
	return ledger.Step{
		Do: s.Do, Target: s.what, For: s.For, At: at.Time(s.at),
		Ready: at.Maybe(s.ready), Trigger: at.Maybe(s.trigger), Began: at.Maybe(s.began), Closed: at.Maybe(s.closed),
		Stopped: ids(s.stopped), Started: ids(s.started), Held: s.held, Serving: s.serving,
	}
}

func ids(workers []*servers.Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.ID)
	}
	return all
}

// closings returns the ends of the workers' listeners, and of the sockets that the supervisor
// dropped. A shared socket outlives every worker, and so does its queue; what waits in the channel
// of an acceptor goes with its worker.
func (s *stage) closings() []ledger.Closing {
	var all []ledger.Closing
	for _, w := range s.group.Workers() {
		if c := w.Closing(); c.Mode != "" && w.BindError() == 0 {
			all = append(all, ledger.Closing{
				Worker: w.ID, From: s.book.Time(c.From), To: s.book.Time(c.To),
				OwnsQueue: s.ownsQueue(w), Killed: c.Mode == vocabulary.StopKill,
			})
		}
	}
	for _, step := range s.line.steps {
		if d := step.dropped; d != nil && d.Last {
			all = append(all, ledger.Closing{
				Worker: -1, From: s.book.Time(d.From), To: s.book.Time(d.To), OwnsQueue: true,
			})
		}
	}
	slices.SortFunc(all, func(a, b ledger.Closing) int { return cmp.Compare(a.From, b.From) })
	return all
}

// ownsQueue reports whether the queue of a worker's listener ended with the worker: no other
// process had the socket when it was closed.
func (s *stage) ownsQueue(w *servers.Worker) bool {
	cfg := s.servers
	switch {
	case cfg.Accept.Row().Passes:
		return true // its channel's
	case cfg.Handover == vocabulary.SocketActivation && !s.wasDropped(w),
		cfg.Sockets == vocabulary.SocketsShared && cfg.Handover == vocabulary.NoHandover:
		return false // the harness holds the socket
	case cfg.Handover == vocabulary.NoHandover:
		return true
	}
	at := w.Closing().To
	for _, other := range s.group.Workers() {
		same := cfg.Sockets == vocabulary.SocketsShared || other.Listener() == w.Listener()
		c := other.Closing()
		if other != w && same && other.ReadyAt() != 0 && other.ReadyAt() < at && (c.Mode == "" || c.To > at) {
			return false
		}
	}
	return true
}

// wasDropped reports whether the harness had closed its own copy of a worker's socket before the
// worker did.
func (s *stage) wasDropped(w *servers.Worker) bool {
	return slices.ContainsFunc(s.line.steps, func(done *step) bool {
		d := done.dropped
		return d != nil && d.Listener == w.Listener() && d.To < w.Closing().To
	})
}

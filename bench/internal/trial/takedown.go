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

// takeDown lets the workers accept the connections that are still queued, ends all processes, and
// returns the facts of the trial.
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
	if err := s.endCommand(ctx); err != nil {
		return nil, err
	}
	s.seen.atEnd = s.scheds()
	if err := s.undeploy(ctx); err != nil {
		return nil, err
	}
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
	// The trace includes the resets that occur while the last workers stop, so the counters must
	// include these resets, too.
	last, err := s.counters()
	if err != nil {
		return nil, err
	}
	s.seen.resetsSent = last.Since(s.seen.before)["TcpOutRsts"]
	return s.facts(), nil
}

// undeploy begins to delete the pods of a real Kubernetes. It returns an error if a part of that
// Kubernetes has failed meanwhile. If all workers are in one pod, the pod is deleted only after
// they have exited.
func (s *stage) undeploy(ctx context.Context) error {
	if s.kubernetes == nil {
		return nil
	}
	if err := s.cluster.Failed(); err != nil {
		return err
	}
	if s.variant.Cluster.OnePod() {
		return nil
	}
	return s.cluster.Undeploy(ctx)
}

// endGrace is the maximum grace period when workers are stopped after the load. No client waits for
// a response then.
const endGrace = time.Second

// endWorkers stops all workers, and waits until their processes have exited and their journals have
// been read.
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

// readMemory reads the memory use of this process, of the load, and of the last generation, whose
// workers must still be running. A figure that cannot be read is stored as unknown.
func (s *stage) readMemory() {
	var largest kernel.Memory
	for _, w := range s.timeline.current.Workers {
		if m, err := kernel.ReadMemory(w.PID()); err == nil {
			largest.Peak = max(largest.Peak, m.Peak)
			largest.Proportional = max(largest.Proportional, m.Proportional)
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

// known returns a pointer to v, or nil if v is not known.
func known[T any](is bool, v T) *T {
	if !is {
		return nil
	}
	return &v
}

// facts returns the facts of the trial: everything but its samples and journals.
func (s *stage) facts() *ledger.Facts {
	f := &ledger.Facts{
		Duration:      s.variant.Duration,
		Moved:         s.seen.after.Since(s.seen.before),
		ResetsSent:    s.seen.resetsSent,
		Closings:      s.closings(),
		QueueReadings: s.unaccepted.Facts(s.book.Time),
	}
	workers := map[int]int{} // by PID
	for _, w := range s.group.Workers() {
		workers[w.PID()] = w.ID
		fact := ledger.Worker{
			ID: w.ID, Generation: w.Generation, Acceptor: w.Acceptor,
			BindFailed: w.BindError() != 0, Listener: w.Listener(),
			Ready: s.book.Maybe(w.ReadyAt()), Closed: s.book.Maybe(w.Closing().To),
		}
		if s.third != nil {
			fact.Pod = s.group.Address(w).Addr()
		}
		f.Workers = append(f.Workers, fact)
	}
	for _, step := range s.timeline.steps {
		f.Steps = append(f.Steps, step.fact(s.book))
	}
	if s.third != nil {
		f.Witness, f.Unwitnessed = s.third.account, s.third.unwitnessed
		f.Identities = s.seen.identities
	}
	if s.losses != nil {
		f.Trace = s.losses.Facts(s.book.Time, workers)
	}
	if s.cluster != nil {
		f.Routes = s.cluster.Routes(s.book, s.load[0].Ports > 0)
	}
	return f
}

// fact returns the step in the ledger's form.
func (s *step) fact(at *ledger.Book) ledger.Step {
	return ledger.Step{
		Do: s.Do, Target: s.what, For: s.For, At: at.Time(s.at),
		Ready: at.Maybe(s.ready), Trigger: at.Maybe(s.trigger),
		Began: at.Maybe(s.began), Closed: at.Maybe(s.closed), Over: at.Maybe(s.over),
		Stopped: ids(s.stopped), Started: ids(s.started),
		Held: s.heldHandshakes, Serving: s.serving,
	}
}

func ids(workers []*servers.Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.ID)
	}
	return all
}

// closings returns a Closing for each listener that was closed by its worker, by the supervisor (a
// dropped socket), or in a restart of a third-party server. A shared socket and its accept queue
// outlive every worker. If an acceptor passes connections to a worker, those still in the channel
// between them end with the worker.
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
	for _, step := range s.timeline.steps {
		if d := step.dropped; d != nil && d.Last {
			all = append(all, ledger.Closing{
				Worker: -1, From: s.book.Time(d.From), To: s.book.Time(d.To), OwnsQueue: true,
			})
		}
		if step.Do == vocabulary.StepRestart && step.trigger != 0 && step.closed != 0 {
			all = append(all, ledger.Closing{
				Worker: -1, From: s.book.Time(step.trigger), To: s.book.Time(step.closed),
				OwnsQueue: true,
			})
		}
	}
	slices.SortFunc(all, func(a, b ledger.Closing) int { return cmp.Compare(a.From, b.From) })
	return all
}

// ownsQueue reports whether the queue of a worker's listener ended with the worker, because no
// other process had the socket when the worker closed it.
func (s *stage) ownsQueue(w *servers.Worker) bool {
	cfg := s.servers
	switch {
	case cfg.Accept.Row().Passes:
		return true // its queue is the channel from the acceptor
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
		ready := other.ReadyAt() != 0 && other.ReadyAt() < at
		if other != w && same && ready && (c.Mode == "" || c.To > at) {
			return false
		}
	}
	return true
}

// wasDropped reports whether the harness closed its own copy of a worker's socket before the worker
// did.
func (s *stage) wasDropped(w *servers.Worker) bool {
	return slices.ContainsFunc(s.timeline.steps, func(done *step) bool {
		d := done.dropped
		return d != nil && d.Listener == w.Listener() && d.To < w.Closing().To
	})
}

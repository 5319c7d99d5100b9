package harness

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// A factsKeeper copies what a trial's books are told while the trial runs, and describes the rest
// once it was judged. Nil keeps nothing and costs nothing. Each attempt takes 1.2 kB.
type factsKeeper struct {
	mu      sync.Mutex
	samples []results.Sample
	records []workerRecord
	begin   int64
	lines   []factsLine // but samples, records and the trial
	last    []factsLine // the verdicts
	trial   *results.Trial
}

// An accountFunc is told of a worker's record; see servers.Env.
type accountFunc func(*servers.Worker, journal.Record)

type workerRecord struct {
	worker int
	journal.Record
}

// sampling returns a function that keeps a sample and hands it on.
func (k *factsKeeper) sampling(next func(*results.Sample)) func(*results.Sample) {
	if k == nil {
		return next
	}
	return func(s *results.Sample) {
		k.mu.Lock()
		defer k.mu.Unlock()
		copied := *s
		copied.Failed = slices.Clone(s.Failed) // the reader uses it again
		k.samples = append(k.samples, copied)
		next(s)
	}
}

// recording returns a function that keeps a record and hands it on. Two workers may tell of one
// attempt, and the first counts: so the order over all workers is kept.
func (k *factsKeeper) recording(next accountFunc) accountFunc {
	if k == nil {
		return next
	}
	return func(w *servers.Worker, r journal.Record) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.records = append(k.records, workerRecord{w.ID, r})
		next(w, r)
	}
}

// judged describes a trial that was judged: what the judge saw beside samples and records, and its
// verdicts.
func (k *factsKeeper) judged(t *trialRun, m *measured, r *results.Trial) {
	if k == nil {
		return
	}
	k.begin, k.trial = int64(t.books.begin), r
	k.lines = append(k.lines, factsLine{Setup: setupOf(t)}, factsLine{Counters: countersOf(t)})
	for _, w := range t.group.Workers() {
		k.lines = append(k.lines, factsLine{Worker: k.worker(w)})
	}
	for _, c := range m.judge.closings {
		f := &closingFact{Worker: c.worker, From: c.from, To: c.to, Queue: c.queue, Killed: c.killed}
		k.lines = append(k.lines, factsLine{Closing: f})
	}
	for _, s := range t.line.fired {
		k.lines = append(k.lines, factsLine{Step: k.step(s)})
	}
	k.routes(m.judge.routes)
	k.pods(t.cluster)
	k.kernelEvents(&t.losses)
	for _, i := range slices.Sorted(maps.Keys(m.verdicts)) {
		k.last = append(k.last, factsLine{Verdict: verdictOf(m, i)})
	}
}

// instant is an instant in facts; nil for 0, which is no instant.
func (k *factsKeeper) instant(at clock.Instant) *int64 {
	if at == 0 {
		return nil
	}
	ns := int64(at) - k.begin
	return &ns
}

// bounded is an instant that counts from the first scheduled attempt already; nil for never and
// -never.
func bounded(ns int64) *int64 {
	if ns == never || ns == -never {
		return nil
	}
	return &ns
}

func setupOf(t *trialRun) *setupFact {
	s, cfg := t.variant.Setup, t.servers
	return &setupFact{
		Begin: t.books.begin, Network: s.Network, Family: s.Family, Path: s.Path, Stop: s.Stop,
		Kind: cfg.Kind, Sockets: cfg.Sockets, Listener: t.listener,
		Accept: cfg.Accept, Passing: cfg.Handover,
		Fault: s.Server.Fault, Kube: s.Kube, Validity: s.Validity,
		Duration: s.Load.Duration, Load: t.load,
		Proxied: t.books.proxied, Kubelets: t.books.kubelets, CPUs: t.plan.ServerCPUs,
	}
}

// countersOf leaves out the hundreds of counters that stayed 0, but not those for which a 0 says
// something.
func countersOf(t *trialRun) *countersFact {
	f := &countersFact{Before: kernel.Counters{}, After: kernel.Counters{}, ResetsSent: t.resetsSent}
	for name, after := range t.after {
		before := t.before[name]
		if before != 0 || after != 0 || slices.Contains(shownCounters, name) {
			f.Before[name], f.After[name] = before, after
		}
	}
	return f
}

func (k *factsKeeper) worker(w *servers.Worker) *workerFact {
	c := w.Closing()
	f := &workerFact{
		ID: w.ID, Generation: w.Generation, Place: w.Index, Acceptor: w.Acceptor,
		PID: w.PID(), Listener: w.Listener(), Ready: k.instant(w.ReadyAt()),
		Closed: c.Mode, From: k.instant(c.From), To: k.instant(c.To), Missed: w.Missed(),
	}
	if errno := w.BindError(); errno != 0 {
		f.BindError = unix.ErrnoName(errno)
	}
	return f
}

func (k *factsKeeper) step(s *fired) *stepFact {
	return &stepFact{
		Do: s.step.Do, For: s.step.For, Target: s.target,
		At: k.instant(s.at), Began: k.instant(s.began), Trigger: k.instant(s.trigger),
		Ready: k.instant(s.ready), Closed: k.instant(s.closed),
		Stopped: ids(s.stopped), Started: ids(s.started), Silenced: ids(s.silenced),
		Held: s.held, Serving: s.serving, Endpoints: s.endpoints,
	}
}

func ids(workers []*servers.Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.ID)
	}
	return all
}

func (k *factsKeeper) routes(r *routes) {
	if r == nil {
		return
	}
	k.lines = append(k.lines, factsLine{Routes: &routesFact{Service: r.service, Shared: r.shared}})
	for _, p := range r.pods {
		f := &routeFact{
			Addr: p.addr, Worker: p.worker,
			Listens: bounded(p.listens), Gone: bounded(p.gone), Silent: bounded(p.silent),
		}
		for _, s := range p.routed {
			f.Routed = append(f.Routed, spanFact{bounded(s.from), bounded(s.until)})
		}
		k.lines = append(k.lines, factsLine{Route: f})
	}
	for _, source := range slices.SortedFunc(maps.Keys(r.translations), netip.AddrPort.Compare) {
		f := &translationFact{Source: source, To: r.translations[source]}
		k.lines = append(k.lines, factsLine{Translation: f})
	}
}

func (k *factsKeeper) pods(c *cluster) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.order {
		f := &podFact{
			Name: p.name, Node: c.lab.Node(p.Node).Name, Addr: p.Addr,
			Workers: ids(p.workers), Silenced: k.instant(p.silenced),
		}
		k.lines = append(k.lines, factsLine{Pod: f})
	}
	for _, e := range c.events {
		f := &podEventFact{At: int64(e.At) - k.begin, Kind: e.Kind, Pod: e.Pod, Node: e.Node}
		for _, x := range e.Endpoints {
			f.Endpoints = append(f.Endpoints, endpointFact{x.Pod, x.Serving, x.Terminating})
		}
		if e.Err != nil {
			f.Err = e.Err.Error()
		}
		k.lines = append(k.lines, factsLine{PodEvent: f})
	}
}

// kernelEvents are in the order of their coming for each client, which is all that the judge sees.
func (k *factsKeeper) kernelEvents(l *lossWatch) {
	if l.result == nil {
		return
	}
	result := *l.result
	result.Agreement, result.Unheard = nil, 0
	k.lines = append(k.lines, factsLine{Trace: &traceFact{&result, l.events != nil}})
	for _, client := range slices.SortedFunc(maps.Keys(l.events), netip.AddrPort.Compare) {
		for _, e := range l.events[client] {
			k.lines = append(k.lines, factsLine{KernelEvent: &kernelEventFact{
				Client: client, At: e.At - k.begin, Kind: e.Kind.String(), Reason: e.Reason,
				Source: e.Source, Destination: e.Destination,
				Flags: e.Flags, Sequence: e.Sequence, Socket: e.Socket, State: e.State, PID: e.PID,
			}})
		}
	}
}

func verdictOf(m *measured, i int) *verdictFact {
	v := m.verdicts[i]
	f := &verdictFact{
		Attempt: i, Server: m.books.attempts[i].state.String(),
		Cause: v.cause, Evidence: v.evidence.String(),
		Worker: v.worker, Explained: v.explained, Kernel: m.kernel[i],
	}
	if s, ok := m.stepOf[i]; ok {
		f.Step = &s
	}
	return f
}

func (k *factsKeeper) sample(s *results.Sample) *sampleFact {
	at := func(ns int64) *int64 { return k.instant(clock.Instant(ns)) }
	f := &sampleFact{
		Process: s.Process, Sequence: s.Sequence, Scheduled: s.Scheduled - k.begin,
		Sent: at(s.Sent), Connected: at(s.Connected), FirstByte: at(s.FirstByte), Done: at(s.Done),
		LastSent: at(s.LastSent), Source: s.Source, Status: s.Status,
		Phase: s.Phase.String(), Class: s.Class.String(),
		Worker: s.Worker, Generation: s.Generation, GaveUp: s.GaveUp,
	}
	for _, failed := range s.Failed {
		f.Failed = append(f.Failed, failedFact{failed.Failure.String(), failed.Opened})
	}
	return f
}

func (k *factsKeeper) record(r *workerRecord) *recordFact {
	return &recordFact{
		Worker: r.worker, At: int64(r.At) - k.begin, Conn: r.Conn,
		Kind: recordKinds[r.Kind], Peer: r.Peer,
		Process: r.Attempt.Process, Sequence: r.Attempt.Sequence, Try: r.Attempt.Try,
		Identified: r.Identified, End: recordEnds[r.End], Errno: uint16(r.Errno),
	}
}

// write writes the header and every line.
func (k *factsKeeper) write(w io.Writer, header factsHeader) error {
	out := json.NewEncoder(w)
	if err := out.Encode(header); err != nil {
		return err
	}
	for line := range k.all() {
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// all yields the lines. Those of samples and records are made one at a time: there are many.
func (k *factsKeeper) all() func(yield func(factsLine) bool) {
	return func(yield func(factsLine) bool) {
		more := true
		each := func(n int, line func(i int) factsLine) {
			for i := 0; i < n && more; i++ {
				more = yield(line(i))
			}
		}
		each(len(k.lines), func(i int) factsLine { return k.lines[i] })
		each(len(k.samples), func(i int) factsLine { return factsLine{Sample: k.sample(&k.samples[i])} })
		each(len(k.records), func(i int) factsLine { return factsLine{Record: k.record(&k.records[i])} })
		each(len(k.last), func(i int) factsLine { return k.last[i] })
		each(1, func(int) factsLine { return factsLine{Trial: k.trial} })
	}
}

// factsDir is the folder of a run directory that facts are in.
const factsDir = "facts"

// save writes the facts of a trial into a run directory, in one step: a file that is there is
// whole.
func (k *factsKeeper) save(dir, name string, header factsHeader) (err error) {
	dir = filepath.Join(dir, factsDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name+".tmp"))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	buffer := bufio.NewWriter(f)
	packed := gzip.NewWriter(buffer)
	err = k.write(packed, header)
	if err = cmp.Or(err, packed.Close(), buffer.Flush()); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// factsName is the file of a trial: by scenario, variant and block, the repeat of an invalid one
// with its number.
func factsName(scenario string, variant, block, repeat int) string {
	name := fmt.Sprintf("%s-%02d-%02d", scenario, variant, block)
	if repeat > 0 {
		name += fmt.Sprintf("-repeat%d", repeat)
	}
	return name + ".jsonl.gz"
}

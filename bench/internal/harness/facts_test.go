package harness

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// factsFile is a file of facts as it was read.
type factsFile struct {
	header       factsHeader
	setup        *setupFact
	counters     *countersFact
	workers      []*workerFact
	closings     []closing
	steps        []*stepFact
	routes       *routesFact
	pods         []routedPod
	translations map[netip.AddrPort]netip.Addr
	trace        *traceFact
	events       map[netip.AddrPort][]kernel.LossEvent
	samples      []*sampleFact
	records      []*recordFact
	verdicts     []*verdictFact
	trial        *results.Trial
	trialJSON    json.RawMessage // as it was written: with the names that there were then
}

// readFacts reads a file that factsKeeper.save has written.
func readFacts(path string) (*factsFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := decodeFacts(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func decodeFacts(r io.Reader) (*factsFile, error) {
	packed, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(packed)
	f := &factsFile{
		translations: map[netip.AddrPort]netip.Addr{}, events: map[netip.AddrPort][]kernel.LossEvent{},
	}
	for n := 1; ; n++ {
		text, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && f.trial == nil, errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("it ends before its trial; record it again")
		case errors.Is(err, io.EOF):
			return f, nil
		case err != nil:
			return nil, err
		case n == 1:
			err = f.begin(text)
		default:
			err = f.line(text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// begin reads the header, and refuses what is of another version.
func (f *factsFile) begin(text []byte) error {
	if err := json.Unmarshal(text, &f.header); err != nil || f.header.Format != factsFormat {
		return errors.New("these are no facts of a trial")
	}
	if f.header.Version != factsVersion {
		return fmt.Errorf("facts of version %d, and this program reads version %d: "+
			"record them again with 'run --keep-facts'", f.header.Version, factsVersion)
	}
	return nil
}

func (f *factsFile) line(text []byte) error {
	var l factsLine
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	switch {
	case l.Setup != nil:
		f.setup = l.Setup
	case l.Counters != nil:
		f.counters = l.Counters
	case l.Worker != nil:
		f.workers = append(f.workers, l.Worker)
	case l.Closing != nil:
		c := closing{l.Closing.Worker, l.Closing.From, l.Closing.To, l.Closing.Queue, l.Closing.Killed}
		f.closings = append(f.closings, c)
	case l.Step != nil:
		f.steps = append(f.steps, l.Step)
	case l.Routes != nil:
		f.routes = l.Routes
	case l.Route != nil:
		f.pods = append(f.pods, l.Route.pod())
	case l.Translation != nil:
		f.translations[l.Translation.Source] = l.Translation.To
	case l.Trace != nil:
		f.trace = l.Trace
	case l.KernelEvent != nil:
		e := l.KernelEvent
		f.events[e.Client] = append(f.events[e.Client], kernel.LossEvent{
			At: e.At, Kind: named(e.Kind, kernel.LossKind.String), Reason: e.Reason,
			Source: e.Source, Destination: e.Destination,
			Flags: e.Flags, Sequence: e.Sequence, Socket: e.Socket, State: e.State, PID: e.PID,
		})
	case l.Sample != nil:
		f.samples = append(f.samples, l.Sample)
	case l.Record != nil:
		f.records = append(f.records, l.Record)
	case l.Verdict != nil:
		f.verdicts = append(f.verdicts, l.Verdict)
	case l.Trial != nil:
		f.trial = l.Trial
		f.trialJSON = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte(`{"trial":`)), []byte("}\n"))
	case l.Pod == nil && l.PodEvent == nil: // what today's judge does not see, and its successor may
		return fmt.Errorf("nothing known in %.80s", text)
	}
	return nil
}

func (f *routeFact) pod() routedPod {
	or := func(ns *int64, otherwise int64) int64 {
		if ns == nil {
			return otherwise
		}
		return *ns
	}
	p := routedPod{
		addr: f.Addr, worker: f.Worker,
		listens: or(f.Listens, never), gone: or(f.Gone, never), silent: or(f.Silent, never),
	}
	for _, s := range f.Routed {
		p.routed = append(p.routed, span{or(s.From, -never), or(s.Until, never)})
	}
	return p
}

// named is the value with a name.
func named[T ~uint8](name string, text func(T) string) T {
	for i := range math.MaxUint8 {
		if text(T(i)) == name {
			return T(i)
		}
	}
	panic("facts: nothing is called " + name)
}

// at is the instant of the monotonic clock; 0 for one that was not reached.
func (f *factsFile) at(ns *int64) clock.Instant {
	if ns == nil {
		return 0
	}
	return f.setup.Begin + clock.Instant(*ns)
}

// judge judges the trial again by the code as it is.
func (f *factsFile) judge() (*measured, error) {
	b, err := f.books()
	if err != nil {
		return nil, err
	}
	var steps []*fired
	for _, s := range f.steps {
		steps = append(steps, f.step(s))
	}
	moved := f.counters.After.Since(f.counters.Before)
	j := &judge{
		closings: f.closings, overflows: moved["TcpExtListenOverflows"],
		proxied: b.proxied, held: b.held(steps),
	}
	if r := f.routes; r != nil {
		j.routes = &routes{
			translations: f.translations, shared: r.Shared, service: r.Service, pods: f.pods,
		}
	}
	return measure(b, j, f.kernelView(b), int64(f.setup.Duration), steps), nil
}

// books are the trial's, told all that they were told, and closed.
func (f *factsFile) books() (*books, error) {
	b, err := newBooks(f.setup.Load)
	if err != nil {
		return nil, err
	}
	b.proxied, b.kubelets = f.setup.Proxied, f.setup.Kubelets
	b.start(f.setup.Begin)
	for _, s := range f.samples {
		b.sample(f.sample(s))
	}
	workers := map[int]*servers.Worker{}
	for _, w := range f.workers {
		workers[w.ID] = &servers.Worker{ID: w.ID, Generation: w.Generation}
	}
	for _, r := range f.records {
		b.record(workers[r.Worker], f.record(r))
	}
	b.close()
	return b, nil
}

func (f *factsFile) sample(s *sampleFact) *results.Sample {
	at := func(ns *int64) int64 { return int64(f.at(ns)) }
	out := &results.Sample{
		Process: s.Process, Sequence: s.Sequence,
		Scheduled: at(&s.Scheduled), Sent: at(s.Sent), Connected: at(s.Connected),
		FirstByte: at(s.FirstByte), Done: at(s.Done), LastSent: at(s.LastSent), Source: s.Source,
		Phase: named(s.Phase, results.Phase.String), Class: named(s.Class, results.Class.String),
		Status: s.Status, Worker: s.Worker, Generation: s.Generation, GaveUp: s.GaveUp,
	}
	for _, failed := range s.Failed {
		failure := named(failed.Failure, results.Failure.String)
		out.Failed = append(out.Failed, results.FailedTry{Failure: failure, Opened: failed.Opened})
	}
	return out
}

func (f *factsFile) record(r *recordFact) journal.Record {
	return journal.Record{
		At: f.at(&r.At), Conn: r.Conn, Peer: r.Peer, Errno: unix.Errno(r.Errno), Identified: r.Identified,
		Kind:    journal.Kind(slices.Index(recordKinds[:], r.Kind)),
		End:     journal.End(slices.Index(recordEnds[:], r.End)),
		Attempt: wire.Attempt{Process: r.Process, Sequence: r.Sequence, Try: r.Try},
	}
}

func (f *factsFile) step(s *stepFact) *fired {
	workers := func(ids []int) (all []*servers.Worker) {
		for _, id := range ids {
			all = append(all, &servers.Worker{ID: id})
		}
		return all
	}
	return &fired{
		step: scenarios.Step{Do: s.Do, For: s.For}, target: s.Target,
		at: f.at(s.At), began: f.at(s.Began), trigger: f.at(s.Trigger),
		ready: f.at(s.Ready), closed: f.at(s.Closed),
		stopped: workers(s.Stopped), started: workers(s.Started), silenced: workers(s.Silenced),
		held: s.Held, serving: s.Serving, endpoints: s.Endpoints,
	}
}

// heard says that the kernel was asked about the losses.
func (f *factsFile) heard() bool { return f.trace != nil && f.trace.Heard }

func (f *factsFile) kernelView(b *books) *kernelView {
	if !f.heard() {
		return nil
	}
	events := map[netip.AddrPort][]kernel.LossEvent{}
	for client, all := range f.events {
		for _, e := range all {
			e.At = int64(f.at(&e.At))
			events[client] = append(events[client], e)
		}
	}
	k := &kernelView{
		watch: &lossWatch{server: f.setup.Load[0].Target, events: events}, books: b,
		closings: f.closings, workers: map[int]int{},
	}
	for _, w := range f.workers {
		k.workers[w.PID] = w.ID
	}
	return k
}

// figures are those of a trial that follow from the account, as trialRun.result has them. What was
// measured besides is taken from the trial as it is.
func (f *factsFile) figures(m *measured) *results.Trial {
	r := *f.trial
	r.LostByCause, r.LostByPhase = map[string]int64{}, map[string]int64{}
	r.Evidence = results.Evidence{}
	r.Attempts, r.Residual, r.Lost = int64(len(m.books.attempts)), m.books.strays, 0
	for i, v := range m.verdicts {
		if !v.explained {
			r.Residual++
		}
		if v.cause == "" {
			continue
		}
		r.Lost++
		r.LostByCause[v.cause]++
		r.LostByPhase[m.books.attempts[i].phase.String()]++
		count(&r.Evidence, v.evidence)
	}
	r.Served, r.Dropped = r.Attempts-r.Lost, r.Lost-r.LostByCause[cause.Client]
	r.LostSentAfterClose = m.sentAfterClose()
	r.AchievedPerSecond, r.ScheduleLagP99NS = m.achieved(), 0
	if lag := m.lag.Percentiles(); lag != nil {
		r.ScheduleLagP99NS = lag.P99
	}
	r.ResponseNS, r.ServiceNS = m.response.Percentiles(), m.service.Percentiles()
	r.Histogram = m.response.Encode()
	r.Ledger, r.Retries = m.ledger(), m.books.retries()
	r.Losses, r.LossesOmitted = m.listed()
	r.Workers = slices.Clone(r.Workers)
	for i := range r.Workers {
		w := &r.Workers[i]
		w.Accepted, w.Served = 0, 0
		if wb := m.books.workers[w.ID]; wb != nil {
			w.Accepted, w.Served = wb.accepted, wb.served
		}
	}
	if f.routes == nil && !m.books.proxied {
		moved := f.counters.After.Since(f.counters.Before)
		r.Equalities = m.equalities(moved, f.counters.ResetsSent, &r)
	}
	if f.trace != nil {
		t := &trialRun{losses: lossWatch{result: f.trace.Result}, books: m.books}
		t.resetsSent = f.counters.ResetsSent
		r.Trace = t.traceResult(m)
	}
	r.Steps = slices.Clone(r.Steps)
	for k := range r.Steps {
		r.Steps[k] = f.stepFigures(m, k)
	}
	return &r
}

// stepFigures are those of a step; what is known of the machine and of the pods is taken as it is.
func (f *factsFile) stepFigures(m *measured, k int) results.Step {
	s, was := m.step(k), f.trial.Steps[k]
	s.EndpointsNS, s.RulesNS = was.EndpointsNS, was.RulesNS
	s.Endpoints, s.Pods = was.Endpoints, was.Pods
	s.WindowNS, s.StealNS = was.WindowNS, was.StealNS
	s.Pressure, s.RunQueueDelayNS = was.Pressure, was.RunQueueDelayNS
	if was.DeadNS != nil {
		from, to := m.window(k)
		dead := int64(m.judge.routes.expect(from, to, f.setup.Load[0].Timeout).dead)
		s.DeadNS = &dead
	}
	return s
}

package ledger

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/stats"
	"reuseport-bench/scenarios/vocabulary"
)

// A process is one process of a third-party server, in one generation. Only a process that is named
// by its answers, or that the witness saw read a request, is known. In a cluster, all processes in
// a pod count as one, which has the pod's number and is known from the start.
type process struct {
	id          int
	name        string // the name in its answers, or its PID
	generation  int
	first, last Time // of its answers or, if there are none, of the requests that it read
	answered    bool
	accepted    int64 // connections on which no other process answered or read before it
	served      int64
	overTime    []int64 // part of accepted in each window of results.FairnessWindowNS
}

// processKey identifies a process. If a server only reloads its configuration, the same operating
// system process counts as a new process in each generation.
type processKey struct{ name, generation string }

// findProcesses finds the processes. It sets Attempt.Server to the process that answered the
// attempt; without an answer, to the process that read it or that ended its connection
// (responsible).
func (s *foreign) findProcesses() {
	if s.inPods() {
		s.findPods()
		return
	}
	b := s.book
	all := map[processKey]*process{}
	order := []*process{}
	find := func(k processKey, at Time) *process {
		p := all[k]
		if p == nil {
			p = &process{name: k.name, first: at, last: at, generation: -1}
			if n, err := strconv.Atoi(k.generation); err == nil && n >= 0 && n < math.MaxInt32 {
				p.generation = n
			}
			all[k], order = p, append(order, p)
		}
		p.first, p.last = min(p.first, at), max(p.last, at)
		return p
	}
	named := slices.ContainsFunc(s.facts.Identities,
		func(x load.Identities) bool { return len(x.Workers) > 0 })
	of := make([]*process, len(b.attempts)) // by attempt
	seen := map[uint64]bool{}               // connections
	for i := range b.attempts {
		x := &b.attempts[i]
		if !x.answered() {
			continue
		}
		name, generation := s.identity(i)
		pid := 0
		if e := s.endOf(i); e != nil && e.Known.Has(witness.KnowsReader) {
			pid = e.Reader
		}
		if !named && pid != 0 {
			name = pidName(pid)
		}
		if name == "" {
			continue
		}
		p := find(processKey{name, generation}, x.Done)
		p.answered, of[i] = true, p
		if x.Served() {
			p.served++
		}
		if pid != 0 {
			s.pids[pid] = p
		}
		if opener := s.opener(i); !seen[opener] {
			seen[opener] = true
			p.accept(b.lastTry(i).Sent)
		}
	}
	if !named {
		for i := range b.attempts { // processes that read requests and answered none
			e := s.endOf(i)
			if e == nil || e.Reader == 0 || !e.Known.Has(witness.KnowsReader) {
				continue
			}
			p := s.pids[e.Reader]
			if p == nil {
				p = find(processKey{name: pidName(e.Reader)}, s.maybe(e.FirstRead))
				s.pids[e.Reader] = p
			}
			if opener := s.opener(i); !seen[opener] {
				seen[opener] = true
				p.accept(b.lastTry(i).Sent)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b *process) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.name, b.name))
	})
	for n, p := range order {
		if p.id = n; p.generation < 0 {
			p.generation = s.generationAt(p.first)
		}
	}
	s.processes = order
	for i := range b.attempts {
		x := &b.attempts[i]
		if p := of[i]; p != nil {
			x.Server = int32(p.id)
		} else if e := s.endOf(i); e != nil {
			x.Server = int32(s.responsible(x, e))
		}
	}
}

// inPods reports whether the servers are in pods.
func (s *foreign) inPods() bool {
	return slices.ContainsFunc(s.facts.Workers, func(w Worker) bool { return w.Pod.IsValid() })
}

// findPods is like findProcesses for servers in pods. Without a witness, it is not known which pod
// served an attempt.
func (s *foreign) findPods() {
	if s.clientOnly != "" {
		return
	}
	for _, w := range s.facts.Workers {
		p := &process{id: w.ID, name: "pod " + strconv.Itoa(w.ID), generation: w.Generation + 1}
		if w.Ready != nil {
			p.first, p.last = *w.Ready, *w.Ready
		}
		s.processes = append(s.processes, p)
		s.pods[w.Pod] = p
	}
	b := s.book
	seen := map[uint64]bool{} // connections
	for i := range b.attempts {
		x, e := &b.attempts[i], s.endOf(i)
		if e == nil {
			continue
		}
		p := s.pods[e.Server.Addr().Unmap()]
		if p == nil {
			continue
		}
		x.Server = int32(p.id)
		if x.answered() {
			if !p.answered {
				p.first, p.last, p.answered = x.Done, x.Done, true
			}
			p.first, p.last = min(p.first, x.Done), max(p.last, x.Done)
		}
		if x.Served() {
			p.served++
		}
		if opener := s.opener(i); !seen[opener] && (x.answered() || e.Accepted) {
			seen[opener] = true
			p.accept(b.lastTry(i).Sent)
		}
	}
}

// opener returns the number of the try that opened the connection of attempt i.
func (s *foreign) opener(i int) uint64 {
	if s.book.openers != nil {
		return uint64(s.book.openers[i])
	}
	return s.book.last(i)
}

func pidName(pid int) string { return "PID " + strconv.Itoa(pid) }

// identity returns the name and the generation of the process that answered attempt i, as the
// response headers give them; "" if the headers do not.
func (s *foreign) identity(i int) (name, generation string) {
	x, process := &s.book.attempts[i], i%s.book.load.Processes
	if process >= len(s.facts.Identities) {
		return "", ""
	}
	names := &s.facts.Identities[process]
	if n := int(x.Worker); n >= 0 && n < len(names.Workers) {
		name = names.Workers[n]
	}
	if n := int(x.Generation); n >= 0 && n < len(names.Generations) {
		generation = names.Generations[n]
	}
	return name, generation
}

// generationAt returns the generation of a process that first answered at the given instant, if its
// answers do not name one. Generations are numbered from 1, as {{generation}} is, and each restart
// begins one.
func (s *foreign) generationAt(at Time) int {
	n := 1
	for i := range s.facts.Steps {
		if x := &s.facts.Steps[i]; x.Do == vocabulary.StepRestart && x.From() <= at {
			n++
		}
	}
	return n
}

// accept counts a connection that was first used at the given instant.
func (p *process) accept(at Time) {
	p.accepted++
	window := int64(at) / results.FairnessWindowNS
	if at < 0 || window >= maxWindows {
		return
	}
	for int64(len(p.overTime)) <= window {
		p.overTime = append(p.overTime, 0)
	}
	p.overTime[window]++
}

// process returns the process with the given PID, which read from or closed the connection with
// the given end. It returns nil if the process is not known. In a cluster, it is the pod.
func (s *foreign) process(e *witness.SocketEnd, pid int) *process {
	if len(s.pods) > 0 {
		return s.pods[e.Server.Addr().Unmap()]
	}
	return s.pids[pid]
}

// worker returns the id of the process that process returns, or noWorker if it is not known.
func (s *foreign) worker(e *witness.SocketEnd, pid int) int {
	if p := s.process(e, pid); p != nil {
		return p.id
	}
	return noWorker
}

// responsible returns the id of the process to blame for an attempt without an answer: the process
// that read its request or, if no process read it, the process that ended its connection.
func (s *foreign) responsible(x *Attempt, e *witness.SocketEnd) int {
	reader, closer := noWorker, noWorker
	if e.Known.Has(witness.KnowsReader) {
		reader = s.worker(e, e.Reader)
	}
	if e.Known.Has(witness.KnowsCloser) {
		closer = s.worker(e, e.Closer)
	}
	if x.State.read() || x.State == PartRead || x.State == PartAnswered || closer == noWorker {
		return reader
	}
	return closer
}

// workers returns the stored form of the processes.
func (s *foreign) workers() (all []results.Worker) {
	for _, p := range s.processes {
		all = append(all, results.Worker{
			ID: p.id, Name: p.name, Generation: p.generation,
			Accepted: p.accepted, Served: p.served,
		})
	}
	return all
}

// newcomers returns the set, by id, of the processes that first answered in a step's window and
// belong to a generation of which no process had answered before.
func (s *foreign) newcomers(trigger, to Time) map[int32]bool {
	old := map[int]bool{}
	for _, p := range s.processes {
		if p.answered && p.first < trigger {
			old[p.generation] = true
		}
	}
	fresh := map[int32]bool{}
	for _, p := range s.processes {
		if p.answered && p.first < to && !old[p.generation] {
			fresh[int32(p.id)] = true
		}
	}
	return fresh
}

// tail returns the time from a step's trigger until an old process, one that had answered before
// the trigger, last read the first request of a connection in the step's window. It returns nil if
// that time is not known, or if no newcomer answered.
func (s *foreign) tail(trigger, to Time) *int64 {
	if !s.traced || len(s.newcomers(trigger, to)) == 0 {
		return nil
	}
	last := trigger
	for _, e := range s.ends {
		p, at := s.process(e, e.Reader), s.maybe(e.FirstRead)
		if p != nil && p.first < trigger && at < to {
			last = max(last, at)
		}
	}
	return new(int64(last - trigger))
}

// fairness returns the fairness of the generation with the longest time between its first and its
// last answer. Processes that never answered or read are not included, because they are not known.
func (s *foreign) fairness() *results.Fairness {
	type span struct{ first, last Time }
	lives := map[int]span{}
	for _, p := range s.processes {
		life, known := lives[p.generation]
		if !known {
			life = span{p.first, p.last}
		}
		lives[p.generation] = span{min(life.first, p.first), max(life.last, p.last)}
	}
	longest, generation := time.Duration(-1), 0
	for n, life := range lives {
		d := life.last.Sub(life.first)
		if d > longest || d == longest && n < generation {
			longest, generation = d, n
		}
	}
	var counts, requests []int64
	var overTime [][]int64
	for _, p := range s.processes {
		if p.generation == generation {
			counts, requests = append(counts, p.accepted), append(requests, p.served)
			overTime = append(overTime, p.overTime)
		}
	}
	if len(counts) == 0 {
		return nil
	}
	f := stats.Fairness(generation, counts)
	if f != nil {
		f.Requests = stats.Spread(requests)
		f.Windows = stats.FairnessWindows(overTime)
	}
	return f
}

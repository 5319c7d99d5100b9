package harness

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers"
)

// measured is a trial's attempts after the books are closed, with the judgement of each. It reads
// them in the order of the schedule.
type measured struct {
	books    *books
	judge    *judge
	duration int64 // ns, of the schedule
	steps    []*fired
	verdicts map[int]judgement   // of lost and of unexplained attempts, by index
	kernel   map[int]string      // what the kernel said of a lost attempt, by index
	agreed   map[[2]string]int64 // lost attempts by cause as inferred and as traced

	response, service, lag *results.Histogram
	stepOf                 map[int]int // lost attempt → step that it is put down to
	lostIn                 [][]int     // the same, by step, in the order of the schedule
}

// measure judges every attempt; kv, where the kernel was asked, has the last word. nil: it was not.
func measure(b *books, j *judge, kv *kernelView, duration int64, steps []*fired) *measured {
	m := &measured{
		books: b, judge: j, duration: duration, steps: steps,
		verdicts: map[int]judgement{}, kernel: map[int]string{}, agreed: map[[2]string]int64{}, stepOf: map[int]int{}, lostIn: make([][]int, len(steps)),
		response: results.NewHistogram(), service: results.NewHistogram(), lag: results.NewHistogram(),
	}
	inferred := map[int]string{} // causes
	for i := range b.attempts {
		a := &b.attempts[i]
		at := b.scheduled(i)
		if a.class != results.ClassUnsent {
			m.lag.Record(max(0, a.sent-at))
		}
		last := b.lastTry(i)
		v := m.routed(i, j.judge(last))
		if v.cause != "" && kv != nil {
			traced, event := kv.judge(i, last, v)
			inferred[i] = v.cause
			if v = traced; event != nil {
				m.kernel[i] = event.Kind.String() + ": " + event.Reason
			}
		}
		if a.class == results.ClassNone {
			m.response.Record(a.done - at)
			m.service.Record(a.done - a.sent)
		}
		if v.cause != "" || !v.explained {
			m.verdicts[i] = v
		}
		// What an old entry of connection tracking costs, the client's reuse of ports costs, whenever a step was.
		if v.cause != "" && v.cause != cause.StaleConntrack {
			if s, ok := m.attribute(i); ok {
				m.stepOf[i] = s
				m.lostIn[s] = append(m.lostIn[s], i)
			}
		}
	}
	m.limitOverflows()
	for i, name := range inferred {
		m.agreed[[2]string{name, m.verdicts[i].cause}]++
	}
	return m
}

// routed is a judgement with regard to where the attempt's connection was sent.
func (m *measured) routed(i int, v judgement) judgement {
	if v.cause == "" {
		return v
	}
	return m.judge.routed(m.books.connection(i), m.books.lastTry(i), v, m.books.reused(i))
}

// limitOverflows puts no more attempts down to full accept queues than the kernel has counted: the counter moves once for each
// SYN that such a queue refuses, and for each last ACK, of which the kernel tells besides.
func (m *measured) limitOverflows() {
	left := m.judge.overflows
	var counted []int
	for _, i := range m.lost() {
		switch v := m.verdicts[i]; {
		case v.cause == cause.AcceptOverflow && v.evidence == evidenceCounter:
			counted = append(counted, i)
		case v.cause == cause.AcceptOverflow:
			left--
		}
	}
	for n, i := range counted {
		if int64(n) >= left {
			m.verdicts[i] = m.routed(i, m.judge.synTimeout(m.books.lastTry(i)))
		}
	}
}

// lost are the indexes of the lost attempts, in the order of the schedule.
func (m *measured) lost() []int {
	var all []int
	for i, v := range m.verdicts {
		if v.cause != "" {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	return all
}

// attribute puts a lost attempt down to a step: the last one triggered before the instant of the
// loss. A timeout's instant says nothing of its cause, so there it is the last step triggered before
// the attempt was sent or, if there is none, the first after. What was never sent has the instant at which it was due.
func (m *measured) attribute(i int) (step int, ok bool) {
	a := &m.books.attempts[i]
	at := a.done
	switch a.class {
	case results.ClassTimeout:
		at = a.sent
	case results.ClassUnsent:
		at = m.books.scheduled(i)
	}
	n, found := slices.BinarySearchFunc(m.steps, at, func(s *fired, at int64) int {
		return cmp.Compare(m.books.since(int64(s.from())), at)
	})
	switch {
	case found:
		return n, true
	case n > 0:
		return n - 1, true
	case a.class == results.ClassTimeout && len(m.steps) > 0 && m.books.since(int64(m.steps[0].from())) <= a.done:
		return 0, true
	}
	return 0, false
}

// window is the stretch of the schedule from a step's begin, which is its trigger but where it starts pods before, to the next one's, or to the end.
// Losses in it are put down to the step.
func (m *measured) window(step int) (from, to int64) {
	from, to = m.books.since(int64(m.steps[step].from())), m.duration
	if step+1 < len(m.steps) {
		to = m.books.since(int64(m.steps[step+1].from()))
	}
	return from, to
}

// first is the index of the first attempt due at or after the instant.
func (m *measured) first(at int64) int {
	return sort.Search(len(m.books.attempts), func(i int) bool { return m.books.scheduled(i) >= at })
}

func (m *measured) step(k int) results.Step {
	s := m.steps[k]
	from, to := m.window(k)
	r := results.Step{
		Do: s.step.Do, Target: s.target,
		AtNS:    m.books.since(int64(s.at)),
		ReadyNS: m.books.instant(s.ready), StopNS: m.books.instant(s.trigger), ClosedNS: m.books.instant(s.closed),
	}
	lo, hi := m.first(from), m.first(to)
	r.ResolutionNS = m.spacing(lo, hi)
	m.losses(k, &r)
	m.served(k, lo, hi, &r)
	neverSent := int64(0)
	for i := lo; i < hi; i++ {
		if a := &m.books.attempts[i]; a.class == results.ClassUnsent {
			neverSent++
		} else {
			r.ScheduleLagMaxNS = max(r.ScheduleLagMaxNS, a.sent-m.books.scheduled(i))
		}
	}
	r.NeverSent = &neverSent
	if len(s.stopped) > 0 {
		r.TailNS = m.tail(s)
	}
	switch s.step.Do {
	case stepAdd, stepCold, stepScale:
		if len(s.stopped) == 0 {
			r.StopNS = nil // it stops nobody
		}
	}
	if s.step.Do == stepCold {
		r.ColdStart = m.coldStart(s)
	}
	if len(s.held) > 0 {
		r.HalfOpen = m.halfOpen(s)
	}
	return r
}

// spacing is the local spacing of attempts: the mean over a window.
func (m *measured) spacing(lo, hi int) int64 {
	if hi-lo < 2 {
		return m.books.scheduled(1) - m.books.scheduled(0)
	}
	return (m.books.scheduled(hi-1) - m.books.scheduled(lo)) / int64(hi-1-lo)
}

// losses fills in lost and dropped, and gap, outage and lost share, which are of the dropped: what the
// attempts put down to the step say.
func (m *measured) losses(k int, r *results.Step) {
	first, last, end := -1, -1, 0
	dropped := int64(0)
	r.Dropped = &dropped
	for _, i := range m.lostIn[k] {
		r.Lost++
		if m.verdicts[i].cause == cause.Client {
			continue
		}
		dropped++
		if first < 0 {
			first = i
		}
		if i >= end {
			var gap int64
			gap, end, r.Censored = m.gap(i)
			r.GapNS = max(r.GapNS, gap)
		}
		last = i
	}
	if first < 0 {
		return
	}
	r.OutageNS = m.books.scheduled(last) - m.books.scheduled(first) + r.ResolutionNS
	r.LostShare = float64(dropped) / float64(last-first+1)
}

// gap is the length of the unbroken run of lost attempts around attempt i, from the due instant of
// the first to that of the next served one, and the index of that one; censored if the schedule
// ends before.
func (m *measured) gap(i int) (ns int64, end int, censored bool) {
	isLost := func(i int) bool { return m.books.attempts[i].class != results.ClassNone }
	lo, hi := i, i
	for lo > 0 && isLost(lo-1) {
		lo--
	}
	for hi < len(m.books.attempts) && isLost(hi) {
		hi++
	}
	if hi == len(m.books.attempts) {
		return m.duration - m.books.scheduled(lo), hi, true
	}
	return m.books.scheduled(hi) - m.books.scheduled(lo), hi, false
}

// served fills in stall and takeover from the served attempts: those due in the window, and those
// due before that were still waiting at the trigger.
func (m *measured) served(k, lo, hi int, r *results.Step) {
	s := m.steps[k]
	trigger := m.books.since(int64(s.trigger))
	stall, takeover := int64(-1), int64(math.MaxInt64)
	started := map[int32]bool{}
	for _, w := range s.started {
		started[int32(w.ID)] = true
	}
	// Whatever is older than this cannot have been waiting: the timeout had passed.
	for i := m.first(trigger - m.longest()); i < hi; i++ {
		a := &m.books.attempts[i]
		if a.class != results.ClassNone {
			continue
		}
		if i >= lo || a.done >= trigger {
			stall = max(stall, a.done-m.books.scheduled(i))
		}
		if started[a.worker] {
			// It may answer before an old one is told to stop: then there is nothing to wait for.
			takeover = min(takeover, max(0, a.done-trigger))
		}
	}
	if stall >= 0 {
		r.StallNS = &stall
	}
	if takeover < math.MaxInt64 {
		r.TakeoverNS = &takeover
	}
}

// longest bounds how long an attempt can have been under way.
func (m *measured) longest() int64 {
	p := m.response.Percentiles()
	if p == nil {
		return 0
	}
	return p.Max + p.Max/256 // the histogram's resolution
}

// halfOpen is what became of the connections whose handshakes were held up.
func (m *measured) halfOpen(s *fired) *results.HalfOpen {
	h := &results.HalfOpen{}
	for a := range m.books.held([]*fired{s}) {
		h.Held++
		if a.class != results.ClassNone {
			h.Lost++
		}
	}
	return h
}

// coldStart is what the newcomer's first attempts were like, until it was warm.
func (m *measured) coldStart(s *fired) *results.ColdStart {
	ready := m.books.since(int64(s.ready))
	newcomer := int32(s.started[0].ID)
	until := min(m.duration, ready+int64(s.step.For))
	c := &results.ColdStart{}
	mine, others := results.NewHistogram(), results.NewHistogram()
	fair := newShareWatch(s.serving)
	for i := m.first(ready); i < len(m.books.attempts); i++ {
		a := &m.books.attempts[i]
		if a.class != results.ClassNone {
			continue
		}
		at := m.books.scheduled(i)
		if served := a.done - ready; a.worker == newcomer && (c.FirstServedNS == nil || served < *c.FirstServedNS) {
			c.FirstServedNS = &served
		}
		if fair.add(a.worker == newcomer) && c.FairShareNS == nil {
			ns := at - ready
			c.FairShareNS = &ns
		}
		switch {
		case at >= until:
		case a.worker == newcomer:
			mine.Record(a.done - at)
		default:
			others.Record(a.done - at)
		}
	}
	c.NewcomerNS, c.OthersNS = mine.Percentiles(), others.Percentiles()
	if n := mine.Count() + others.Count(); n > 0 {
		c.Share = float64(mine.Count()) / float64(n)
	}
	return c
}

// A shareWatch finds when a newcomer's share of what is served has become fair: 0.9/n of the last 50 n attempts,
// where n workers serve.
type shareWatch struct {
	last   []bool
	at     int
	filled bool
	mine   int
	enough int
}

func newShareWatch(workers int) *shareWatch {
	return &shareWatch{last: make([]bool, 50*workers), enough: int(math.Ceil(0.9 * 50))}
}

// add takes the next attempt in, and says whether the share is fair now.
func (s *shareWatch) add(mine bool) bool {
	if s.last[s.at] {
		s.mine--
	}
	if s.last[s.at] = mine; mine {
		s.mine++
	}
	if s.at++; s.at == len(s.last) {
		s.at, s.filled = 0, true
	}
	return s.filled && s.mine >= s.enough
}

// tail is the time from the trigger to the last connection that a stopped worker accepted.
func (m *measured) tail(s *fired) *int64 {
	tail := int64(0)
	for _, w := range s.stopped {
		if wb := m.books.workers[w.ID]; wb != nil && wb.lastAccept > s.trigger {
			tail = max(tail, int64(wb.lastAccept-s.trigger))
		}
	}
	return &tail
}

// sentAfterClose counts the dropped attempts that were sent when a step's old listeners had all been
// closed, and that no worker answers for: not one that closed or died on them, nor a later close. It is nil
// when no step closed a listener; a shared socket is never closed.
func (m *measured) sentAfterClose() *int64 {
	first := int64(math.MaxInt64)
	for _, s := range m.steps {
		if s.closed != 0 && len(s.stopped) > 0 {
			first = min(first, m.books.since(int64(s.closed)))
		}
	}
	if first == math.MaxInt64 || !slices.ContainsFunc(m.judge.closings, func(c closing) bool { return c.queue }) {
		return nil
	}
	n := int64(0)
	for i, v := range m.verdicts {
		if v.cause != "" && v.cause != cause.Client && v.worker < 0 && m.books.attempts[i].sent > first {
			n++
		}
	}
	return &n
}

// ledger is the client × server table, largest rows first.
func (m *measured) ledger() []results.LedgerRow {
	type key struct {
		client, server, cause string
		explained             bool
	}
	rows := map[key]int64{}
	for i := range m.books.attempts {
		a := &m.books.attempts[i]
		k := key{client: "served", server: a.state.String(), explained: true}
		if v, ok := m.verdicts[i]; ok {
			k.cause, k.explained = v.cause, v.explained
		}
		if a.class != results.ClassNone {
			k.client = a.phase.String() + ": " + a.class.String()
		}
		rows[k]++
	}
	var out []results.LedgerRow
	for k, n := range rows {
		out = append(out, results.LedgerRow{Client: k.client, Server: k.server, Cause: k.cause, Attempts: n, Explained: k.explained})
	}
	slices.SortFunc(out, func(a, b results.LedgerRow) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Cause, b.Cause))
	})
	return out
}

// lostOverTime counts lost attempts by the window in which they were over.
func (m *measured) lostOverTime(s *results.Series) []int64 {
	var lost []int64
	for _, i := range m.lost() {
		window := int((m.books.attempts[i].done - s.FromNS) / s.WindowNS)
		if window < 0 || window >= 2*maxWindowsInSeries {
			continue
		}
		for len(lost) <= window {
			lost = append(lost, 0)
		}
		lost[window]++
	}
	return lost
}

// equalities hold the kernel's counters against the trial's books.
func (m *measured) equalities(moved kernel.Counters, resetsSent int64, r *results.Trial) []results.Equality {
	opened, reset := m.books.openedByTries()
	accepted := int64(0)
	for i := range m.books.attempts {
		a := &m.books.attempts[i]
		unsent := a.class == results.ClassUnsent || a.class == results.ClassLocal
		if own := m.books.via == nil || uint64(m.books.via[i]) == m.books.last(i); own && !unsent {
			opened++
		}
	}
	for _, w := range r.Workers {
		accepted += w.Accepted
	}
	all := []results.Equality{
		{Counter: "TcpActiveOpens", Books: opened, What: "connections that the load opened"},
		{Counter: "TcpPassiveOpens", Books: accepted + r.LostByCause[cause.ResetAtClose] + reset, What: "accepted, or reset in a queue"},
		{Counter: "TcpExtListenOverflows", Books: r.LostByCause[cause.AcceptOverflow], What: "lost by accept_overflow"},
	}
	if r.Trace != nil && r.Trace.Unavailable == "" {
		all = append(all, results.Equality{Counter: "TcpOutRsts", Books: r.Trace.Resets, What: "resets that the trace has seen"})
	}
	for i := range all {
		if all[i].Kernel = moved[all[i].Counter]; all[i].Counter == "TcpOutRsts" {
			all[i].Kernel = resetsSent
		}
	}
	return all
}

// maxLosses bounds the lost attempts that are stored one by one with a trial.
const maxLosses = 2000

// listed are the first lost attempts, one by one, and how many more there were.
func (m *measured) listed() (list []results.Loss, omitted int64) {
	lost := m.lost()
	omitted = int64(max(0, len(lost)-maxLosses))
	for _, i := range lost[:min(len(lost), maxLosses)] {
		a, v := &m.books.attempts[i], m.verdicts[i]
		l := results.Loss{
			LoadProcess: i % int(m.books.processes), Sequence: int64(i / int(m.books.processes)),
			ScheduledNS: m.books.scheduled(i), SentNS: a.sent, DoneNS: a.done,
			Source: m.books.connection(i).String(),
			Phase:  a.phase.String(), Error: a.class.String(), Server: a.state.String(),
			Cause: v.cause, Evidence: v.evidence.String(), Kernel: m.kernel[i],
		}
		if failed := m.books.again[uint64(i)].failed; len(failed) > 0 {
			l.Tries = 1 + len(failed)
		}
		if v.worker >= 0 {
			l.Worker = &v.worker
		}
		if s, ok := m.stepOf[i]; ok {
			l.Step = &s
		}
		list = append(list, l)
	}
	return list, omitted
}

// workers are the group's processes as the trial saw them. atBegin and atEnd are what the scheduler had done with
// those that were there when the load began and ended: what a worker costs to start before, and to end after, is not the load's.
func (m *measured) workers(all []*servers.Worker, atBegin, atEnd map[int]kernel.Sched) []results.Worker {
	var out []results.Worker
	for _, w := range all {
		r := results.Worker{ID: w.ID, Generation: w.Generation, Acceptor: w.Acceptor}
		if errno := w.BindError(); errno != 0 {
			r.BindError = unix.ErrnoName(errno)
			out = append(out, r)
			continue
		}
		if wb := m.books.workers[w.ID]; wb != nil {
			r.Accepted, r.Served = wb.accepted, wb.served
		}
		end, outlived := atEnd[w.ID]
		if cpu, exited := w.CPU(); !outlived && exited {
			end.Run = cpu
		}
		if end.Run > 0 {
			ns := int64(end.Run - atBegin[w.ID].Run)
			r.CPUNS = &ns
		}
		if outlived {
			n := end.Timeslices - atBegin[w.ID].Timeslices
			r.ContextSwitches = &n
		}
		out = append(out, r)
	}
	return out
}

package ledger

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// An Account is a judged trial. Attempts are numbered from 0 in the order of the schedule; this
// number is an attempt's index.
type Account struct {
	book     *Book
	facts    *Facts
	foreign  *foreign        // nil if the servers are this program's workers
	verdicts map[int]Verdict // by attempt index; only lost and unexplained attempts have one
	agreed   map[agreement]int64
	lost     []int       // indexes of the lost attempts, ascending
	stepOf   map[int]int // lost attempt → the step that caused it
	lostIn   [][]int     // for each step, the losses that it caused, in the order of the schedule

	response, service, lag *results.Histogram
	longest                time.Duration // the longest response time of a served attempt
}

type agreement struct{ inferred, traced string }

// Close closes the book and judges every attempt. The book then accepts no more samples and
// records. Close may be called again, with other facts: each call judges the attempts by its own
// facts. But with a third-party server, Attempt.State and Attempt.Server are always those of the
// latest call, even for earlier accounts.
func (b *Book) Close(f *Facts) *Account {
	b.close()
	side := b.join(f)
	a := &Account{
		book: b, facts: f, foreign: side, verdicts: judge(b, f, f.Trace, side),
		agreed: map[agreement]int64{}, stepOf: map[int]int{}, lostIn: make([][]int, len(f.Steps)),
		response: results.NewHistogram(), service: results.NewHistogram(),
		lag: results.NewHistogram(),
	}
	for i, v := range a.verdicts {
		if v.Cause != "" {
			a.lost = append(a.lost, i)
		}
	}
	slices.Sort(a.lost)
	if f.Trace != nil {
		inferred := judge(b, f, nil, side)
		for _, i := range a.lost {
			a.agreed[agreement{inferred[i].Cause, a.verdicts[i].Cause}]++
		}
	}
	a.attributeAll()
	a.record()
	return a
}

// record fills the histograms.
func (a *Account) record() {
	for i := range a.book.attempts {
		x := &a.book.attempts[i]
		at := a.book.scheduled(i)
		if !x.neverSent() && !a.book.load.closed() {
			a.lag.Record(max(0, int64(x.Sent-at)))
		}
		if !x.Served() {
			continue
		}
		a.longest = max(a.longest, x.Done.Sub(at))
		if !a.book.initial(uint64(i)) {
			a.response.Record(int64(x.Done - at))
			a.service.Record(int64(x.Done - x.Sent))
		}
	}
}

// attributeAll assigns each loss to the step that caused it. Losses by stale conntrack entries
// belong to no step: clients cause them by reusing ports.
func (a *Account) attributeAll() {
	for _, i := range a.lost {
		if a.verdicts[i].Cause == cause.StaleConntrack {
			continue
		}
		if s, ok := a.attribute(i); ok {
			a.stepOf[i] = s
			a.lostIn[s] = append(a.lostIn[s], i)
		}
	}
}

// attribute returns the step that caused the loss of attempt i: the last step that had begun at the
// time of the loss. That time is the end of the attempt, with two exceptions. For an attempt that
// was never sent, it is the time at which the attempt was due. For a timeout, it is the time at
// which the attempt was sent, because the time at which the timeout fires says nothing about its
// cause. If no step had begun when the attempt was sent, the first step that began before the
// timeout fired is the cause.
func (a *Account) attribute(i int) (step int, ok bool) {
	x, steps := &a.book.attempts[i], a.facts.Steps
	at := x.Done
	switch x.Class {
	case results.ClassTimeout:
		at = x.Sent
	case results.ClassUnsent:
		at = a.book.scheduled(i)
	}
	n := sort.Search(len(steps), func(s int) bool { return steps[s].From() > at })
	switch {
	case n > 0 && steps[n-1].Over != nil && *steps[n-1].Over < at.Add(-clockSlack):
		return 0, false
	case n > 0:
		return n - 1, true
	case x.Class == results.ClassTimeout && len(steps) > 0 && steps[0].From() <= x.Done:
		return 0, true
	}
	return 0, false
}

// Attempts returns the number of attempts in the schedule.
func (a *Account) Attempts() int { return len(a.book.attempts) }

// Verdict returns the verdict of attempt i, where i is its index in the schedule of all load
// processes. If the attempt was served, and the client's and the servers' accounts agree, only
// Worker and Explained are set.
func (a *Account) Verdict(i int) Verdict {
	if v, ok := a.verdicts[i]; ok {
		return v
	}
	return a.foreign.servedVerdict(a.book.lastTry(i))
}

// Fill copies the account into r. r.Workers must already be filled in (see Book.Count). Fill does
// not set the fields that come from measurements of the machine.
func (a *Account) Fill(r *results.Trial) {
	b := a.book
	r.LostByCause, r.LostByPhase = map[string]int64{}, map[string]int64{}
	r.Attempts = int64(len(b.attempts))
	r.Residual = b.unmatched
	r.AchievedPerSecond = a.achieved()
	r.ResponseNS, r.ServiceNS = a.response.Percentiles(), a.service.Percentiles()
	r.ConnectNS, r.FirstByteNS = b.connect.Percentiles(), b.firstByte.Percentiles()
	r.Histogram = a.response.Encode()
	if r.Concurrency = b.load.Shape.Clients; r.Concurrency > 0 {
		r.ServedPerSecond = new(a.servedPerSecond())
	} else {
		r.OfferedPerSecond = new(float64(len(b.attempts)) / a.facts.Duration.Seconds())
	}
	if lag := a.lag.Percentiles(); lag != nil {
		r.ScheduleLagP99NS = &lag.P99
	}
	r.Stages = a.stages()
	for i, v := range a.verdicts {
		if !v.Explained {
			r.Residual++
		}
		if v.Cause == "" {
			continue
		}
		r.Lost++
		r.LostByCause[v.Cause]++
		r.LostByPhase[b.attempts[i].Phase.String()]++
		countEvidence(&r.Evidence, v.Evidence)
		if v.Cause == cause.ErrorAnswer {
			if r.ErrorAnswers == nil {
				r.ErrorAnswers = map[string]int64{}
			}
			r.ErrorAnswers[strconv.Itoa(int(b.attempts[i].Status))]++
		}
	}
	r.Residual += a.foreign.residual(a.verdicts)
	r.Served = r.Attempts - r.Lost
	r.Dropped = r.Lost - r.LostByCause[cause.Client]
	r.NeverSent, r.LocalErrors = new(a.neverSent(0, len(b.attempts))), b.localErrors
	r.Unverified = b.unverified
	if b.load.Reuses {
		r.Retriable = new(b.retriable)
	}
	r.LostSentAfterClose = a.sentAfterClose()
	if n, ok := a.facts.Moved["TcpExtTCPSynRetrans"]; ok {
		r.SYNRetransmits = &n
	}
	r.Ledger = a.rows()
	r.Losses, r.LossesOmitted = a.listed()
	r.Retries = a.retries()
	r.Fairness = a.fairness()
	r.Windows, r.AroundStops = a.windows(), a.aroundStops()
	a.foreign.fill(a, r)
}

func countEvidence(e *results.Evidence, kind Evidence) {
	switch kind {
	case ByKernel:
		e.Kernel++
	case ByCounter:
		e.Counter++
	case ByWorker:
		e.Worker++
	case ByClient:
		e.Client++
	}
}

// neverSent returns the number of attempts from lo to hi−1 that the load never sent.
func (a *Account) neverSent(lo, hi int) (n int64) {
	for i := lo; i < hi; i++ {
		if a.book.attempts[i].neverSent() {
			n++
		}
	}
	return n
}

// servedPerSecond returns, for a closed loop, the number of responses per second that clients
// received before the end of the schedule.
func (a *Account) servedPerSecond() float64 {
	n := 0
	for i := range a.book.attempts {
		if x := &a.book.attempts[i]; x.Served() && x.Done <= Time(a.facts.Duration) {
			n++
		}
	}
	return float64(n) / a.facts.Duration.Seconds()
}

// stages returns the results of each stage of the schedule. An attempt belongs to the stage in
// which it was due.
func (a *Account) stages() (all []results.Stage) {
	from := Time(0)
	for _, stage := range a.book.load.Shape.Stages {
		to := from.Add(stage.Duration)
		s := results.Stage{
			FromNS: int64(from), DurationNS: int64(stage.Duration),
			FromPerSecond: stage.From, ToPerSecond: stage.Rate,
		}
		responses := results.NewHistogram()
		for i := a.first(from); i < a.first(to); i++ {
			s.Attempts++
			if x := &a.book.attempts[i]; x.Served() {
				responses.Record(int64(x.Done - a.book.scheduled(i)))
				continue
			}
			s.Lost++
			if a.verdicts[i].Cause != cause.Client {
				s.Dropped++
			}
		}
		s.ResponseNS = responses.Percentiles()
		all = append(all, s)
		from = to
	}
	return all
}

// achieved returns the rate at which attempts were sent. In an open loop, the rate is the number of
// sent attempts divided by a time: from the instant at which the first attempt was due to the
// instant at which the last one was due or sent, whichever is later, plus one spacing. In a closed
// loop, that time is the duration of the schedule.
func (a *Account) achieved() float64 {
	attempts := a.book.attempts
	n, last := 0, Time(0)
	for i := range attempts {
		if x := &attempts[i]; !x.neverSent() {
			n++
			last = max(last, x.Sent)
		}
	}
	switch {
	case n == 0:
		return 0
	case a.book.load.closed():
		return float64(n) / a.facts.Duration.Seconds()
	}
	end := max(last, a.book.scheduled(len(attempts)-1)).Add(a.spacing(0, len(attempts)))
	return float64(n) / time.Duration(end).Seconds()
}

// spacing returns the mean time between the instants at which successive attempts from lo to hi−1
// were due.
func (a *Account) spacing(lo, hi int) time.Duration {
	if hi-lo < 2 {
		return a.book.scheduled(1).Sub(a.book.scheduled(0))
	}
	return a.book.scheduled(hi-1).Sub(a.book.scheduled(lo)) / time.Duration(hi-1-lo)
}

// rows returns the table of outcomes: the number of attempts for each combination of the client's
// account, the servers' account and the cause. The row with the most attempts comes first.
func (a *Account) rows() []results.LedgerRow {
	type key struct {
		client, server string
		cause          string
		explained      bool
	}
	count := map[key]int64{}
	for i := range a.book.attempts {
		x := &a.book.attempts[i]
		k := key{client: "served", server: x.State.String(), explained: true}
		if v, ok := a.verdicts[i]; ok {
			k.cause, k.explained = v.Cause, v.Explained
		}
		if !x.Served() {
			k.client = x.Phase.String() + ": " + x.outcome()
		}
		count[k]++
	}
	var out []results.LedgerRow
	for k, n := range count {
		out = append(out, results.LedgerRow{
			Client: k.client, Server: k.server, Cause: k.cause, Attempts: n, Explained: k.explained,
		})
	}
	slices.SortFunc(out, func(a, b results.LedgerRow) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Server, b.Server), cmp.Compare(a.Cause, b.Cause))
	})
	return out
}

// maxLosses is the maximum number of lost attempts that are stored one by one with a trial.
const maxLosses = 2000

// listed returns the first maxLosses lost attempts, and the number of lost attempts that it omits.
func (a *Account) listed() (list []results.Loss, omitted int64) {
	b := a.book
	omitted = int64(max(0, len(a.lost)-maxLosses))
	for _, i := range a.lost[:min(len(a.lost), maxLosses)] {
		x, v := &b.attempts[i], a.verdicts[i]
		l := results.Loss{
			LoadProcess: i % b.load.Processes, Sequence: int64(i / b.load.Processes),
			ScheduledNS: int64(b.scheduled(i)), SentNS: int64(x.Sent), DoneNS: int64(x.Done),
			Phase: x.Phase.String(), Error: x.outcome(), Server: x.State.String(),
			Cause: v.Cause, Evidence: v.Evidence.String(),
		}
		if source := b.connection(i); source.IsValid() {
			l.Source = source.String()
		}
		if e := v.Kernel; e != nil {
			l.Kernel = e.String()
		}
		if failed := b.retried[uint64(i)].failed; len(failed) > 0 {
			l.Tries = 1 + len(failed)
		}
		if v.Worker >= 0 {
			l.Worker = &v.Worker
		}
		if s, ok := a.stepOf[i]; ok {
			l.Step = &s
		}
		list = append(list, l)
	}
	return list, omitted
}

// LostOverTime returns the number of attempts that ended as lost in each of n windows of the given
// length, the first of which starts at from. Windows after the last element have no losses.
func (a *Account) LostOverTime(from Time, window time.Duration, n int) []int64 {
	var lost []int64
	for _, i := range a.lost {
		w := int(a.book.attempts[i].Done.Sub(from) / window)
		if w < 0 || w >= n {
			continue
		}
		for len(lost) <= w {
			lost = append(lost, 0)
		}
		lost[w]++
	}
	return lost
}

// Agreement counts the lost attempts by pairs of causes: the cause that was found by means of the
// kernel's events, and the cause that would have been found without them. It returns nil if no
// kernel events were recorded.
func (a *Account) Agreement() (all []results.Agreement) {
	for k, n := range a.agreed {
		all = append(all, results.Agreement{
			Inferred: k.inferred, Traced: k.traced, Attempts: n,
		})
	}
	slices.SortFunc(all, func(a, b results.Agreement) int {
		return cmp.Or(cmp.Compare(a.Inferred, b.Inferred), cmp.Compare(a.Traced, b.Traced))
	})
	return all
}

// Equalities compares some of the kernel's counters with the numbers that follow from the account.
// r must already be filled in, including its workers and trace.
func (a *Account) Equalities(r *results.Trial) []results.Equality {
	b := a.book
	if a.foreign != nil {
		return a.foreign.equalities()
	}
	opened, reset := b.openedByTries()
	var accepted, left int64 // left: still queued at the end of the load
	for i := range b.attempts {
		x := &b.attempts[i]
		if x.neverSent() || x.Class == results.ClassLocal || b.reused(i) {
			continue
		}
		opened++
		if !x.Served() && a.Verdict(i).Cause == cause.QueuedUnaccepted {
			left++
		}
	}
	for _, w := range r.Workers {
		accepted += w.Accepted
	}
	passive := results.Equality{
		Counter: "TcpPassiveOpens",
		Ledger:  accepted - b.kept + r.LostByCause[cause.ResetAtClose] + reset,
		What:    "accepted, or reset in a queue",
	}
	if left > 0 {
		passive.Ledger += left
		passive.What = "accepted, reset in a queue, or left in one"
	}
	all := []results.Equality{
		{Counter: "TcpActiveOpens", Ledger: opened, What: "connections that the load opened"},
		passive,
		{
			Counter: "TcpExtListenOverflows", Ledger: r.LostByCause[cause.AcceptOverflow],
			What: "lost by accept_overflow",
		},
	}
	if r.Trace != nil && r.Trace.Unavailable == "" {
		all = append(all, results.Equality{
			Counter: "TcpOutRsts", Ledger: r.Trace.Resets, What: "resets that the trace has seen",
		})
	}
	for i := range all {
		if all[i].Kernel = a.facts.Moved[all[i].Counter]; all[i].Counter == "TcpOutRsts" {
			all[i].Kernel = a.facts.ResetsSent
		}
	}
	return all
}

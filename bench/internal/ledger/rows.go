package ledger

import "iter"

// A Row is the outcome of one attempt, in the form in which it is printed.
type Row struct {
	Process  int    // load process, from 0
	Sequence uint64 // within the load process, from 0
	// Scheduled is the instant at which the attempt was due, Sent the instant at which its first
	// try began, and Done the instant at which it ended.
	Scheduled, Sent, Done Time
	Worker                int // the worker that answered, closed or crashed; -1: no single worker
	Tries                 int // the number of tries, the first included; 0: it was never sent
	Status                int // of the response, or 0
	Served                bool
	// of a lost attempt: how far the client got, and the client's error
	Phase, Error string
	Verdict      Verdict
	Step         int // index of the step that caused the loss, or -1
}

// Rows yields the outcome of every attempt, in the order of the schedule.
func (a *Account) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		b := a.book
		for i := range b.attempts {
			x := &b.attempts[i]
			r := Row{
				Process: i % b.load.Processes, Sequence: uint64(i / b.load.Processes),
				Scheduled: b.scheduled(i), Sent: x.Sent, Done: x.Done,
				Tries: 1 + len(b.retried[uint64(i)].failed), Status: int(x.Status),
				Served: x.Served(), Verdict: a.Verdict(i), Step: -1,
			}
			r.Worker = r.Verdict.Worker
			if !r.Served {
				r.Phase, r.Error = x.Phase.String(), x.outcome()
			}
			if x.neverSent() {
				r.Tries = 0
			}
			if s, ok := a.stepOf[i]; ok {
				r.Step = s
			}
			if !yield(r) {
				return
			}
		}
	}
}

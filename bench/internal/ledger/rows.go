package ledger

import "iter"

// A Row is what became of one attempt, as a reader wants it.
type Row struct {
	Process  int    // load process, from 0
	Sequence uint64 // within the load process, from 0
	// Scheduled is when it was due, Sent when its first try began, Done when it was over.
	Scheduled, Sent, Done Time
	Worker                int // whose answer, close or crash it was; -1: no single worker's
	Tries                 int // that it made, the first included; 0: it was never sent
	Status                int // of the response, or 0
	Served                bool
	Phase, Error          string // of a loss: where, and what the client met
	Verdict               Verdict
	Step                  int // index of the step that it was lost because of, or -1
}

// Rows returns what became of every attempt, in the order of the schedule.
func (a *Account) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		b := a.book
		for i := range b.attempts {
			x := &b.attempts[i]
			r := Row{
				Process: i % b.load.Processes, Sequence: uint64(i / b.load.Processes),
				Scheduled: b.scheduled(i), Sent: x.Sent, Done: x.Done,
				Tries: 1 + len(b.again[uint64(i)].failed), Status: int(x.Status), Served: x.Served(),
				Verdict: a.Verdict(i), Step: -1,
			}
			r.Worker = r.Verdict.Worker
			if !r.Served {
				r.Phase, r.Error = x.Phase.String(), x.Class.String()
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

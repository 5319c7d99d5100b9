package metrics

import (
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A Count is a total over a variant's trials. It is exact: it has no interval.
type Count struct {
	Name  string
	Doc   string
	Needs Need
	// Of returns how much a trial adds to the count, and whether the trial measured that quantity
	// at all.
	Of func(*results.Trial) (int64, bool)
	// Invalid: the count includes trials that are not usable.
	Invalid bool
}

// Counts returns every count, in the order of reports.
func Counts() []Count {
	always := func(of func(*results.Trial) int64) func(*results.Trial) (int64, bool) {
		return func(t *results.Trial) (int64, bool) { return of(t), true }
	}
	retries := func(of func(*results.Retries) (int64, bool)) func(*results.Trial) (int64, bool) {
		return func(t *results.Trial) (int64, bool) {
			if t.Retries == nil {
				return 0, false
			}
			return of(t.Retries)
		}
	}
	all := []Count{
		{Name: "attempts", Doc: "attempts that the schedule called for",
			Of: always(func(t *results.Trial) int64 { return t.Attempts })},
		{Name: "served", Doc: "attempts that were served",
			Of: always(func(t *results.Trial) int64 { return t.Served })},
		{Name: "lost", Doc: "attempts lost for any cause",
			Of: always(func(t *results.Trial) int64 { return t.Lost })},
		{Name: "dropped", Doc: "attempts lost for any cause except client (a failure of the " +
			"load)",
			Of: always(func(t *results.Trial) int64 { return t.Dropped })},
	}
	for _, c := range cause.Names() {
		all = append(all, Count{Name: "lost_by_cause." + c, Doc: "attempts lost for this cause",
			Of: always(func(t *results.Trial) int64 { return t.LostByCause[c] })})
	}
	for _, phase := range results.Phases() {
		all = append(all, Count{Name: "lost_by_phase." + phase,
			Doc: "attempts lost in the phase " + phase,
			Of:  always(func(t *results.Trial) int64 { return t.LostByPhase[phase] })})
	}
	return append(all,
		// A trial with a residual other than 0 is not usable, so this count includes such trials.
		Count{Name: "residual", Doc: "attempts that no row of the ledger explains", Invalid: true,
			Of: always(func(t *results.Trial) int64 { return t.Residual })},
		Count{
			Name: SentAfterClose, Needs: Ends,
			Doc: "lost attempts that were sent after the last old listener had been closed",
			Of: func(t *results.Trial) (int64, bool) {
				if t.LostSentAfterClose == nil {
					return 0, false
				}
				return *t.LostSentAfterClose, true
			},
		},
		Count{Name: "masked", Doc: "attempts that were served only after a failed try",
			Of: retries(func(r *results.Retries) (int64, bool) { return r.Masked, true })},
		Count{Name: "repeated", Doc: "attempts whose request a server read more than once",
			Of: retries(func(r *results.Retries) (int64, bool) { return r.Repeated, true })},
		Count{Name: "handled_twice", Doc: "attempts whose request was given to a handler more " +
			"than once",
			Of: retries((*results.Retries).HandledTwice)},
	)
}

// FindCount returns the count with this name.
func FindCount(name string) (Count, bool) {
	for _, c := range Counts() {
		if c.Name == name {
			return c, true
		}
	}
	return Count{}, false
}

// Total sums the count over the variant's trials. counted is false if no usable trial measured it.
func (c Count) Total(v *results.Variant) (total int64, counted bool) {
	for _, t := range v.Trials {
		if !c.Invalid && !t.Usable() {
			continue
		}
		if n, ok := c.Of(t); ok {
			total += n
			counted = counted || t.Usable()
		}
	}
	return total, counted
}

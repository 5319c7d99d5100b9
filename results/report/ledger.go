package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// Ledger prints the ledger of each variant: the client's outcomes against the server's, the
// balance, and the kernel's counters. All are sums over the trials that count. Invalid trials whose
// ledger does not balance are listed separately.
func Ledger(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	d := &document.Document{}
	for _, s := range scenarios {
		d.Heading(1, "Ledger of "+s.Name)
		for _, v := range s.Variants {
			if v.SkippedReason == nil {
				ledgerBlocks(d, v)
			}
		}
	}
	return d.Text(w, opts.look())
}

func ledgerBlocks(d *document.Document, v *results.Variant) {
	d.Heading(2, loopText(v))
	valid := v.ValidTrials()
	if len(valid) > 0 {
		d.Paragraph(balance(valid))
		d.Table(ledgerTable(valid))
		if tries := triesLine(valid); tries != "" {
			d.Paragraph(tries)
		}
		for _, line := range slices.Concat(answerLines(valid), witnessLines(valid)) {
			d.Paragraph(line)
		}
		equalityBlock(d, valid)
		if counters := counterLine(valid); counters != "" {
			d.Paragraph("Kernel counters: " + counters)
		}
		agreementBlock(d, valid)
	}
	invalid := slices.DeleteFunc(slices.Clone(v.Trials), (*results.Trial).Usable)
	if len(invalid) == 0 {
		return
	}
	d.Paragraph(fmt.Sprintf("Left out: %s, not valid.", unit.Plural(len(invalid), "trial")))
	odd := slices.DeleteFunc(invalid, func(t *results.Trial) bool { return t.Residual == 0 })
	if len(odd) == 0 {
		return
	}
	d.Paragraph("Of those, " + does(len(odd), "trial") + " not balance:")
	d.Table(ledgerTable(odd))
	for _, line := range witnessLines(odd) {
		d.Paragraph(line)
	}
	equalityBlock(d, odd)
}

// does writes a number of things followed by "does" or "do".
func does(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " does"
	}
	return unit.Plural(n, thing) + " do"
}

// triesLine returns a line about the tries of clients that retry, summed over the trials, or "" if
// clients do not retry. The ledger above the line counts each attempt by its last try.
func triesLine(trials []*results.Trial) string {
	var sum results.Retries
	failed := map[string]int64{}
	known, handledTwice, told := false, int64(0), true
	for _, t := range trials {
		r := t.Retries
		if r == nil {
			continue
		}
		known = true
		sum.Tries, sum.TriedAgain = sum.Tries+r.Tries, sum.TriedAgain+r.TriedAgain
		sum.Masked += r.Masked
		sum.Repeated += r.Repeated
		n, tells := r.HandledTwice()
		handledTwice, told = handledTwice+n, told && tells
		sum.Exhausted, sum.NoTime, sum.OverBudget = sum.Exhausted+r.Exhausted, sum.NoTime+r.NoTime,
			sum.OverBudget+r.OverBudget
		for failure, n := range r.Failed {
			failed[failure] += n
		}
	}
	if !known {
		return ""
	}
	var met []string
	for _, failure := range slices.Sorted(maps.Keys(failed)) {
		met = append(met, count(failed[failure])+" "+failure)
	}
	line := fmt.Sprintf("Tries: %s; %s tried again, of which %s were served, and %s read more "+
		"than once",
		count(sum.Tries), unit.Plural(sum.TriedAgain, "attempt"), count(sum.Masked),
		count(sum.Repeated))
	if told {
		line += fmt.Sprintf(" (%s given to a handler more than once)", count(handledTwice))
	}
	line += "."
	if len(met) > 0 {
		line += " Followed by another try: " + strings.Join(met, ", ") + "."
	}
	return fmt.Sprintf("%s Lost where the policy would have gone on: %s for the number of tries, "+
		"%s for the timeout, %s for the budget.",
		line, count(sum.Exhausted), count(sum.NoTime), count(sum.OverBudget))
}

// answerLines returns a sentence for each fact about responses that the table does not show: the
// statuses of error answers, the losses that many clients would have hidden, and the responses that
// may have been truncated.
func answerLines(trials []*results.Trial) (lines []string) {
	statuses := map[string]int64{}
	var lost, retriable, unverified int64
	known := false
	for _, t := range trials {
		for status, n := range t.ErrorAnswers {
			statuses[status] += n
		}
		if unverified += t.Unverified; t.Retriable != nil {
			known = true
			retriable, lost = retriable+*t.Retriable, lost+t.Lost
		}
	}
	var by []string
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		by = append(by, count(statuses[status])+" × "+status)
	}
	if len(by) > 0 {
		lines = append(lines, "Answered by an error: "+strings.Join(by, ", ")+".")
	}
	if known && lost > 0 {
		lines = append(lines, fmt.Sprintf("Of %s, %s on a kept connection that ended before any "+
			"byte of an answer, with a request that may be sent twice: many clients send it once "+
			"more by themselves (RFC 9110, 9.2.2).", unit.Plural(lost, "lost attempt"),
			were(retriable)))
	}
	if unverified > 0 {
		lines = append(lines, fmt.Sprintf("Of the served attempts, %s answered by a body that the "+
			"end of the connection ends: one that is cut short looks the same.",
			were(unverified)))
	}
	return lines
}

// witnessLines returns sentences about how the server's side is known for servers that keep no
// journal. It returns none for workers of this program.
func witnessLines(trials []*results.Trial) (lines []string) {
	seen, alone := map[string]int{}, map[string]int{}
	var connections, strangers, background int64
	for _, t := range trials {
		w := t.Witness
		if w == nil {
			continue
		}
		if connections, strangers = connections+w.Connections, strangers+w.Strangers; w.By != "" {
			seen[knownBy(t)]++
		} else {
			alone[w.ClientOnly]++
		}
		if t.Background != nil {
			background += *t.Background
		}
	}
	for _, how := range slices.Sorted(maps.Keys(seen)) {
		lines = append(lines, fmt.Sprintf("The servers keep no journal. In %s their side is "+
			"known by %s.", unit.Plural(seen[how], "trial"), how))
	}
	for _, why := range slices.Sorted(maps.Keys(alone)) {
		lines = append(lines, fmt.Sprintf("Client only: in %s causes are what the clients saw, "+
			"because %s.", unit.Plural(alone[why], "trial"), why))
	}
	if strangers > 0 {
		lines = append(lines, fmt.Sprintf("Of %s, %s not the load's: readiness probes, and the "+
			"server's own.", unit.Plural(connections, "connection"), were(strangers)))
	}
	if background > 0 {
		lines = append(lines, fmt.Sprintf("Background: %s lost outside every step's window.",
			were(background)))
	}
	return lines
}

// knownBy says how the server's side is known in a trial whose servers keep no journal.
func knownBy(t *results.Trial) string {
	const records = "the kernel's records of ended sockets, which name no process; "
	switch {
	case t.Witness.By == results.ByTrace:
		return "a trace of every connection"
	case strings.HasPrefix(t.ControlPlane, "Kubernetes "):
		return records + "beside a real Kubernetes, a trace would miss connections"
	}
	return records + "run as root to trace connections"
}

// were writes a number followed by "was" or "were".
func were(n int64) string {
	if n == 1 {
		return "1 was"
	}
	return count(n) + " were"
}

// equalityBlock compares the kernel's counters with the ledger.
func equalityBlock(d *document.Document, trials []*results.Trial) {
	var all []results.Equality
	for _, t := range trials {
		for _, e := range t.Equalities {
			i := slices.IndexFunc(all,
				func(have results.Equality) bool { return have.Counter == e.Counter })
			if i < 0 {
				i = len(all)
				all = append(all, results.Equality{Counter: e.Counter, What: e.What})
			}
			all[i].Kernel += e.Kernel
			all[i].Ledger += e.Ledger
		}
	}
	if len(all) == 0 {
		return
	}
	t := &document.Table{Columns: []document.Column{document.Left("the kernel's counter"),
		document.Right("kernel"), document.Right("ledger"), document.Right("difference"),
		document.Left("what the ledger counted")}}
	for _, e := range all {
		t.Add(e.Counter, count(e.Kernel), count(e.Ledger), fmt.Sprintf("%+d", e.Kernel-e.Ledger),
			e.What)
	}
	d.Table(t)
}

// agreementBlock compares the inferred causes with those from the kernel's events.
func agreementBlock(d *document.Document, trials []*results.Trial) {
	attempts := map[results.Agreement]int64{}
	for _, t := range trials {
		if t.Trace == nil {
			continue
		}
		for _, a := range t.Trace.Agreement {
			attempts[results.Agreement{Inferred: a.Inferred, Traced: a.Traced}] += a.Attempts
		}
	}
	if len(attempts) == 0 {
		return
	}
	t := &document.Table{Columns: []document.Column{document.Left("cause, inferred"),
		document.Left("by the kernel's word"), document.Right("attempts")}}
	for _, a := range slices.SortedFunc(maps.Keys(attempts), func(a, b results.Agreement) int {
		return cmp.Or(cmp.Compare(a.Inferred, b.Inferred), cmp.Compare(a.Traced, b.Traced))
	}) {
		traced := "the same"
		if a.Traced != a.Inferred {
			traced = a.Traced
		}
		t.Add(a.Inferred, traced, count(attempts[a]))
	}
	d.Table(t)
}

// balance writes the equation that the ledger must satisfy.
func balance(trials []*results.Trial) string {
	all := results.Total(trials)
	terms := []string{count(all.Served) + " served"}
	sum := all.Served
	for _, cause := range slices.Sorted(maps.Keys(all.LostByCause)) {
		if n := all.LostByCause[cause]; n != 0 {
			terms = append(terms, count(n)+" "+cause)
			sum += n
		}
	}
	sign := "="
	if sum != all.Attempts {
		sign = "≠"
	}
	return fmt.Sprintf("%s: %s attempts %s %s; residual %s",
		unit.Plural(len(trials), "valid trial"),
		count(all.Attempts), sign, strings.Join(terms, " + "), count(all.Residual))
}

// ledgerTable returns a table of the ledger's rows, summed over the trials. The largest sum comes
// first.
func ledgerTable(trials []*results.Trial) *document.Table {
	attempts := map[results.LedgerRow]int64{}
	for _, t := range trials {
		for _, row := range t.Ledger {
			cell := row
			cell.Attempts = 0
			attempts[cell] += row.Attempts
		}
	}
	rows := slices.SortedFunc(maps.Keys(attempts), func(a, b results.LedgerRow) int {
		return cmp.Or(cmp.Compare(attempts[b], attempts[a]), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Server, b.Server), cmp.Compare(a.Cause, b.Cause))
	})
	t := &document.Table{Columns: []document.Column{document.Left("client"),
		document.Left("server"), document.Left("cause"), document.Right("attempts")}}
	for _, row := range rows {
		cause := cmp.Or(row.Cause, missing)
		if !row.Explained {
			cause += t.Note("not allowed by the ledger: these attempts are the residual")
		}
		t.Add(row.Client, row.Server, cause, count(attempts[row]))
	}
	return t
}

// counterLine lists the kernel's counters that changed, summed over the trials.
func counterLine(trials []*results.Trial) string {
	sums := map[string]int64{}
	for _, t := range trials {
		for name, change := range t.Kernel {
			sums[name] += change
		}
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if sums[name] != 0 {
			parts = append(parts, fmt.Sprintf("%s %+d", name, sums[name]))
		}
	}
	return strings.Join(parts, ", ")
}

// Losses lists every lost attempt that the run recorded, by trial, including invalid trials.
// Instants are measured from the trial's first scheduled attempt. Blocks and steps are counted from
// 1, unlike in run.json.
func Losses(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	d := &document.Document{}
	for _, s := range scenarios {
		d.Heading(1, "Lost attempts of "+s.Name)
		none := true
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				if len(t.Losses) > 0 || t.LossesOmitted > 0 {
					lossBlocks(d, v, t)
					none = false
				}
			}
		}
		if none {
			d.Paragraph("None was recorded.")
		}
	}
	return d.Text(w, opts.look())
}

func lossBlocks(d *document.Document, v *results.Variant, t *results.Trial) {
	title := fmt.Sprintf("%s, block %d", loopText(v), t.Block+1)
	if t.Target != "" {
		title += ", to " + t.Target
	}
	if !t.Usable() {
		title += " (invalid: " + strings.Join(t.Reasons(), "; ") + ")"
	}
	d.Heading(2, title)
	out := lossTable()
	for _, row := range lossRows(t) {
		out.Add(row...)
	}
	d.Table(out)
	seriesBlock(d, t)
	if t.LossesOmitted > 0 {
		d.Paragraph(fmt.Sprintf("%s more, not recorded one by one.", count(t.LossesOmitted)))
	}
}

// lossTable returns a table for the rows of lossRows.
func lossTable() *document.Table {
	return &document.Table{Columns: []document.Column{
		document.Right("due\n[ms]"), document.Right("took\n[ms]"), document.Left("source"),
		document.Left("phase: error"), document.Left("server"),
		document.Left("cause\n(known from)"), document.Right("worker"), document.Right("step"),
	}}
}

// lossRows describes the trial's lost attempts, in the order in which they were due.
func lossRows(t *results.Trial) (rows [][]string) {
	losses := slices.SortedFunc(slices.Values(t.Losses), func(a, b results.Loss) int {
		return cmp.Or(cmp.Compare(a.ScheduledNS, b.ScheduledNS),
			cmp.Compare(a.LoadProcess, b.LoadProcess), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, l := range losses {
		worker, step := missing, missing
		if l.Worker != nil {
			worker = strconv.Itoa(*l.Worker)
		}
		if l.Step != nil {
			step = strconv.Itoa(*l.Step + 1)
		}
		cause := l.Cause + "\n(" + l.Evidence + ")"
		if l.Kernel != "" {
			cause += "\n" + l.Kernel
		}
		rows = append(rows, []string{milliseconds(l.ScheduledNS),
			milliseconds(l.DoneNS - l.ScheduledNS), l.Source, lastError(l), l.Server, cause,
			worker, step})
	}
	return rows
}

// lastError describes the way in which a lost attempt's last try failed.
func lastError(l results.Loss) string {
	text := l.Phase + ": " + l.Error
	if l.Tries > 1 {
		text += fmt.Sprintf("\n(try %d)", l.Tries)
	}
	return text
}

// seriesBlock adds the windows of a trial in which attempts were lost, with the queues and steps of
// these windows. It also adds the times at which the kernel's counters of refused and moved
// connections changed.
func seriesBlock(d *document.Document, t *results.Trial) {
	s := t.Series
	if s == nil {
		return
	}
	columns := []document.Column{document.Right("from\n[ms]"), document.Right("lost")}
	byWindow := len(s.Overflows)+len(s.Migrations) > 0 // only older runs have these
	if byWindow {
		columns = append(columns, document.Right("overflows"), document.Right("migrations"))
	}
	out := &document.Table{Columns: append(columns, document.Right("longest\nqueue"),
		document.Left("steps"))}
	at := func(values []int64, i int) int64 {
		if i < len(values) {
			return values[i]
		}
		return 0
	}
	for i := range max(len(s.Lost), len(s.Overflows), len(s.Migrations)) {
		lost, overflows, migrations := at(s.Lost, i), at(s.Overflows, i), at(s.Migrations, i)
		if lost+overflows+migrations == 0 {
			continue
		}
		longest := int64(0)
		for _, q := range s.Queues {
			longest = max(longest, q.At(i))
		}
		from := s.FromNS + int64(i)*s.WindowNS
		var steps []string
		for n, step := range t.Steps {
			if when := step.StopNS; when != nil && *when >= from && *when < from+s.WindowNS {
				steps = append(steps, fmt.Sprintf("%d (%s)", n+1, step.Do))
			}
		}
		cells := []string{milliseconds(from), count(lost)}
		if byWindow {
			cells = append(cells, count(overflows), count(migrations))
		}
		out.Add(append(cells, count(longest), strings.Join(steps, ", "))...)
	}
	if len(out.Rows) > 0 {
		d.Table(out)
	}
	var counted []string
	for _, c := range s.Counted {
		counted = append(counted, fmt.Sprintf("%s to %s ms: %s, %s", milliseconds(c.FromNS),
			milliseconds(c.ToNS),
			unit.Plural(c.Overflows, "overflow"), unit.Plural(c.Migrations, "migration")))
	}
	if len(counted) > 0 {
		d.Paragraph("By the kernel's counters, read around the steps: " +
			strings.Join(counted, "; ") + ".")
	}
}

// milliseconds writes an instant in ms with three decimals. It always writes all three, because
// readers compare instants with each other.
func milliseconds(ns int64) string { return strconv.FormatFloat(float64(ns)/1e6, 'f', 3, 64) }

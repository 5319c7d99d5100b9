package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/command"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// ScreenLines is the largest number of lines that Brief prints for a run of few scenarios.
const ScreenLines = 40

// Brief prints one screen about the run: for each scenario, its decision and a table of its
// variants; the trials that do not count; gates and claims; and where to find the rest. If there
// are many scenarios, it prints only their sentences, which may take more than a screen.
func Brief(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	sentences := make([][]string, len(scenarios))
	for i, s := range scenarios {
		sentences[i] = briefSentences(s)
	}
	claimed := newClaimLines(run)
	print := func(r room) ([]byte, bool, error) {
		var page bytes.Buffer
		d := briefDocument(run, scenarios, sentences, claimed, opts, r)
		err := d.Text(&page, opts.look())
		return page.Bytes(), bytes.Count(page.Bytes(), []byte("\n")) <= ScreenLines, err
	}
	var screen []byte
	for _, r := range rooms {
		var fits bool
		if screen, fits, err = print(r); err != nil {
			return err
		}
		if !fits {
			continue
		}
		r.advice = true
		if advised, fits, err := print(r); err == nil && fits {
			screen = advised
		}
		break
	}
	_, err = w.Write(screen)
	return err
}

// A room is the space that each part of a screen may take.
type room struct {
	sentences int  // sentences about one scenario
	rows      int  // rows of a table; 0: no table
	main      bool // only the scenario with the most variants has a table
	notes     bool // tables have notes
	lines     int  // lines about gates, and as many about reasons and claims
	whole     bool // lines are not shortened
	advice    bool // the advice in short; Brief adds it if it fits
}

// Brief tries these rooms in this order, until the screen fits.
var rooms = []room{
	{sentences: 12, rows: 24, notes: true, lines: 12, whole: true},
	{sentences: 12, rows: 24, notes: true, lines: 3, whole: true},
	{sentences: 12, rows: 24, lines: 8, whole: true},
	{sentences: 10, rows: 20, lines: 6, whole: true},
	{sentences: 8, rows: 18, lines: 5, whole: true},
	{sentences: 8, rows: 16, lines: 4},
	{sentences: 7, rows: 16, lines: 3},
	{sentences: 6, rows: 16, lines: 3},
	{sentences: 5, rows: 16, lines: 3},
	{sentences: 4, rows: 16, lines: 3},
	{sentences: 3, rows: 16, lines: 3},
	{sentences: 4, rows: 14, lines: 3},
	{sentences: 4, rows: 12, lines: 3},
	{sentences: 4, rows: 10, lines: 2},
	{sentences: 4, rows: 8, lines: 2},
	{sentences: 3, rows: 6, lines: 2},
	{sentences: 3, rows: 4, lines: 2},
	{sentences: 3, rows: 12, main: true, lines: 2},
	{sentences: 2, rows: 12, main: true, lines: 2},
	{sentences: 2, rows: 8, main: true, lines: 2},
	{sentences: 2, rows: 6, main: true, lines: 2},
	{sentences: 2, rows: 4, main: true, lines: 2},
	{sentences: 4, lines: 2},
	{sentences: 3, lines: 2},
	{sentences: 2, lines: 1},
}

// briefDocument returns the screen that fits into the room.
func briefDocument(
	run *results.Run, scenarios []*results.Scenario, sentences [][]string, claimed claimLines,
	opts Options, r room,
) *document.Document {
	d := &document.Document{}
	if run.FinishedAt == nil {
		d.Paragraph(interruptedText(scenarios))
	}
	most := 0
	for _, s := range scenarios {
		most = max(most, len(s.Variants))
	}
	for i, s := range scenarios {
		table := r
		if r.main && len(s.Variants) < most {
			table.rows = 0
		}
		briefScenario(d, s, sentences[i], table)
	}
	t := &document.Table{Plain: true, Columns: []document.Column{
		document.Left("").Toned(verdictTone), document.Left(""),
	}}
	lines := append(briefLines(run, scenarios, r), claimed.first(r.lines)...)
	if r.advice {
		lines = append(lines, adviceLines(run)...)
	}
	more := moreLines(run, opts)
	words := 0
	for _, line := range slices.Concat(lines, more) {
		words = max(words, document.DisplayWidth(line.word))
	}
	for _, line := range lines {
		if room := opts.textWidth() - words - document.Between; !r.whole && room > 0 {
			line.text = document.Shorten(line.text, room)
		}
		t.Add(line.word, line.text)
	}
	for _, line := range more {
		t.Add(line.word, line.text)
	}
	d.Table(t)
	return d
}

func (o Options) textWidth() int {
	if o.Width == 0 {
		return document.DefaultWidth
	}
	return max(document.MinWidth, min(o.Width, document.MaxWidth))
}

// briefSentences returns the sentences about a scenario's decision, or the reason why it decided
// nothing.
func briefSentences(s *results.Scenario) []string {
	lines := answers(s)
	if look := s.QuickLook(); look != "" && len(lines) > 0 {
		lines = append([]string{sentence(look) + "."}, lines...)
	}
	switch {
	case s.Void != "":
		lines = []string{"Void, so nothing follows: " + s.Void + "."}
	case s.Stopped != "":
		lines = []string{"Stopped before its end: " + s.Stopped + "."}
	case len(lines) == 0:
		lines = []string{noDecision(s)}
	}
	return lines
}

// noDecision returns the reason why a scenario has decided nothing.
func noDecision(s *results.Scenario) string {
	var reasons []string
	for _, v := range s.Variants {
		if v.SkippedReason == nil {
			return "Nothing is decided: no variant has enough valid trials."
		}
		if !slices.Contains(reasons, *v.SkippedReason) {
			reasons = append(reasons, *v.SkippedReason)
		}
	}
	text := "Nothing was run: every variant is skipped"
	if len(reasons) == 1 {
		return text + " (" + reasons[0] + ")."
	}
	return text + ", for the reasons below."
}

// briefScenario adds the sentences and the table of a scenario.
func briefScenario(d *document.Document, s *results.Scenario, lines []string, r room) {
	head := s.Name
	if s.About != "" {
		head += ": " + s.About
	}
	d.Lead(head)
	where := "report --full"
	if r.rows > 0 && len(s.Variants) <= r.rows {
		where = "see the table"
	}
	if left := len(lines) - r.sentences; left > 1 {
		// Keep the first sentences, about the best variants, and the last, about the worst.
		last := lines[len(lines)-1]
		lines = append(slices.Clone(lines[:r.sentences-1]),
			fmt.Sprintf("(%d more sentences between these: %s)", left, where), last)
	}
	d.List(lines)
	if r.rows > 0 {
		d.Table(briefTable(s, r))
	}
}

// The columns of a screen's table. Which list is used depends on what the scenario measured.
// Columns in which no variant has a figure are left out.
var (
	briefRestartColumns = []figureColumn{
		{
			head: "dropped/restart [95 %]", metric: metrics.DroppedPerRestart, interval: true,
			unnoted: true,
		},
		{head: "gap", metric: metrics.Gap},
		{head: "p99 of\nserved", metric: metrics.ResponseP99},
	}
	briefStepColumns = []figureColumn{
		{head: "dropped", text: droppedCount},
		{head: "dropped/step [95 %]", metric: metrics.DroppedPerStep, interval: true},
		{head: "outage", metric: metrics.Outage},
		{head: "gap", metric: metrics.Gap},
		{head: "fair share after", metric: metrics.FairShare},
		{head: "its p99", metric: metrics.NewcomerP99},
		{head: "others' p99", metric: metrics.OthersP99},
		{head: "p99", metric: metrics.ResponseP99},
	}
	briefSteadyColumns = []figureColumn{
		{head: "highest rate [1/s]", metric: metrics.HighestRate, interval: true},
		{head: "p50", metric: metrics.ResponseP50},
		{head: "p99 [95 %]", metric: metrics.ResponseP99, interval: true},
		{head: "dropped", text: droppedCount},
		{head: "spread,\nmax/mean", metric: metrics.MaxOverMean},
	}
)

// briefTable returns the table of a scenario for the screen.
func briefTable(s *results.Scenario, r room) *document.Table {
	var shown []*results.Variant
	for _, v := range ordered(s) {
		if v.SkippedReason == nil && !v.IsAA() && len(v.ValidTrials()) > 0 {
			shown = append(shown, v)
		}
	}
	columns := briefSteadyColumns
	switch restarts, steps := kinds(shown); {
	case restarts:
		columns = briefRestartColumns
	case steps:
		columns = briefStepColumns
	}
	columns = slices.DeleteFunc(slices.Clone(columns), func(c figureColumn) bool {
		return saysNothing(c, shown)
	})
	if len(s.Gates) > 0 {
		columns = append(slices.Clone(columns), figureColumn{
			head: "gates", text: gateCount, tone: verdictTone,
		})
	}
	t := &document.Table{Unnoted: !r.notes}
	fillFigures(t, s, shown, columns)
	t.Caption = briefCaption(s, shown, t)
	if left := len(t.Rows) - r.rows; left > 0 {
		// Keep the first rows, of the best variants, and the last, of the worst.
		first := (r.rows + 1) / 2
		between := make([]string, len(t.Columns))
		between[0] = fmt.Sprintf("… %s", unit.Plural(left+1, "more variant"))
		t.Rows = slices.Concat(t.Rows[:first], [][]string{between}, t.Rows[first+left+1:])
	}
	return t
}

// briefCaption describes what the rows of the table have in common, names the baseline, and
// explains bounds.
func briefCaption(s *results.Scenario, shown []*results.Variant, t *document.Table) string {
	n := newNames(s)
	var parts []string
	for _, part := range []string{n.sharedText(), n.loadText(shown)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if b := s.BaselineVariant(); len(shown) > 1 && slices.Contains(shown, b) {
		parts = append(parts, "Baseline: "+n.of(b))
	}
	bound := func(row []string) bool { return slices.ContainsFunc(row, isBound) }
	if slices.ContainsFunc(t.Rows, bound) {
		parts = append(parts, "≤ 3/N: none lost in N restarts, so at most 3 in N lose any (95 %)")
	}
	return strings.Join(parts, ". ")
}

// loadText describes the load that the variants were offered or, for a closed loop, the number of
// clients. It returns "" if the variants' names or sharedText contain it, or if the scenario
// searches for the highest rate.
func (n names) loadText(variants []*results.Variant) string {
	var texts []string
	for _, kind := range []struct{ metric, label, unit string }{
		{metrics.Offered, "load.rate", "/s"},
		{metrics.Concurrency, "load.concurrency", " clients"},
	} {
		_, said := n.shared[kind.label]
		if said && n.sharedText() != "" || slices.Contains(n.varying, kind.label) {
			continue
		}
		var all []float64
		for _, v := range variants {
			if _, searched := v.Summary[metrics.HighestRate]; searched {
				return ""
			}
			if offered, ok := v.Summary[kind.metric]; ok {
				all = append(all, offered.Center)
			}
		}
		if len(all) == 0 || len(all) < len(variants) {
			continue
		}
		text := unit.Roughly(slices.Min(all))
		if slices.Max(all) > unit.SameRate*slices.Min(all) {
			text += " to " + unit.Roughly(slices.Max(all))
		}
		texts = append(texts, text+kind.unit)
	}
	if len(texts) == 0 {
		return ""
	}
	return "Load: " + strings.Join(texts, ", ")
}

// saysNothing reports whether a screen can do without a column: a gap or an outage that is 0 for
// every variant, or a count that another column shows per step.
func saysNothing(c figureColumn, variants []*results.Variant) bool {
	every := func(is func(*results.Variant) bool) bool {
		return !slices.ContainsFunc(variants, func(v *results.Variant) bool { return !is(v) })
	}
	switch {
	case c.metric == metrics.Gap || c.metric == metrics.Outage:
		return every(func(v *results.Variant) bool { return v.Summary[c.metric].Center == 0 })
	case c.head == "dropped":
		return every(func(v *results.Variant) bool {
			_, ok := v.Summary[metrics.DroppedPerStep]
			return ok
		})
	}
	return false
}

// isBound reports whether a cell is an upper bound on the share of restarts that lose attempts.
func isBound(cell string) bool { return strings.HasPrefix(cell, "≤ 3/") }

// droppedCount writes the number of dropped attempts and the number of all attempts.
func droppedCount(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	sum := results.Total(v.ValidTrials())
	return fmt.Sprintf("%d of %s", sum.Dropped, thousands(sum.Attempts))
}

// gateCount writes the outcomes of a variant's gates.
func gateCount(_ *document.Table, s *results.Scenario, v *results.Variant) string {
	n := map[string]int{}
	for _, g := range s.Gates {
		if results.Includes(v.Labels, g.Labels) && results.Includes(g.Labels, v.Labels) {
			n[g.Outcome]++
		}
	}
	var parts []string
	for _, outcome := range []string{results.GateFail, results.GateUndecided, results.GatePass} {
		if n[outcome] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[outcome], outcome))
		}
	}
	if len(parts) == 0 {
		return missing
	}
	return strings.Join(parts, ", ")
}

// A line is one of the last lines of a screen: a word, often a verdict, and the text beside it.
type line struct{ word, text string }

// briefLines returns the lines about trials that do not count, and about gates.
func briefLines(run *results.Run, scenarios []*results.Scenario, r room) (lines []line) {
	several := len(scenarios) > 1
	var failed, undecided, trouble []line
	gates, passed := 0, 0
	for _, s := range scenarios {
		prefix := ""
		if several {
			prefix = s.Name + ": "
		}
		n := newNames(s)
		for _, g := range s.Gates {
			gates++
			text := fmt.Sprintf("%s%s: %s: %s", prefix, n.ofLabels(g.Labels), g.Expect, g.Note)
			switch {
			case g.Outcome == results.GatePass:
				passed++
			case g.Outcome == results.GateFail:
				failed = append(failed, line{"gate fail", text})
			case g.Soft:
				undecided = append(undecided, line{"gate undecided", text + " (soft)"})
			default:
				undecided = append(undecided, line{"gate undecided", text})
			}
		}
		trouble = append(trouble, invalidLines(s, prefix, r.lines)...)
	}
	lines = append(lines, trialsLine(run, scenarios))
	lines = append(lines, loweredLines(scenarios)...)
	lines = append(lines, trouble...)
	for _, kind := range [][]line{failed, undecided} {
		lines = append(lines, firstLines(kind, r.lines, "gate")...)
	}
	if passed > 0 {
		lines = append(lines, line{"gates pass", fmt.Sprintf("%d of %s that the %s", passed,
			unit.Plural(gates, "check"), scenariosMake(scenarios))})
	}
	return lines
}

// scenariosMake returns "scenario makes" or "scenarios make".
func scenariosMake(scenarios []*results.Scenario) string {
	if len(scenarios) > 1 {
		return "scenarios make"
	}
	return "scenario makes"
}

// trialsLine gives the number of valid trials, and describes the machine.
func trialsLine(run *results.Run, scenarios []*results.Scenario) line {
	valid, all := 0, 0
	for _, s := range scenarios {
		for _, v := range s.Variants {
			valid, all = valid+len(v.ValidTrials()), all+len(v.Trials)
		}
	}
	e := run.Environment
	return line{"trials", fmt.Sprintf("%d of %d valid; Linux %s, %s", valid, all, e.Kernel,
		unit.Plural(e.CPUs, "CPU"))}
}

// loweredLines names the scenarios whose min_valid was lowered.
func loweredLines(scenarios []*results.Scenario) (lines []line) {
	var notes []string
	names := map[string][]string{} // note → names of the scenarios that have it
	for _, s := range scenarios {
		if note := s.LoweredMinValid(); note != "" {
			if names[note] == nil {
				notes = append(notes, note)
			}
			names[note] = append(names[note], s.Name)
		}
	}
	for _, note := range notes {
		text := strings.TrimPrefix(note, "min_valid ")
		if len(names[note]) < len(scenarios) {
			text = strings.Join(names[note], ", ") + ": " + text
		}
		lines = append(lines, line{"min_valid", text})
	}
	return lines
}

// firstLines returns the first most lines and, if lines are left out, a line with their number.
func firstLines(lines []line, most int, noun string) []line {
	left := len(lines) - most
	if left <= 0 {
		return lines
	}
	last := line{lines[0].word, fmt.Sprintf("… %s: report --full", unit.Plural(left, "more "+noun))}
	return append(slices.Clone(lines[:most]), last)
}

// invalidLines lists the trials and variants that do not count, with a line for each reason. A
// line counts the trials that it adds to those of the lines before, so that the sum is the number
// of invalid trials.
func invalidLines(s *results.Scenario, prefix string, most int) (lines []line) {
	n := newNames(s)
	trials := 0
	spoilt := map[string]map[*results.Trial]bool{} // reason → trials
	skipped := map[string][]string{}               // reason → names of variants
	var reasons, why []string
	for _, v := range s.Variants {
		if v.SkippedReason != nil {
			if skipped[*v.SkippedReason] == nil {
				why = append(why, *v.SkippedReason)
			}
			skipped[*v.SkippedReason] = append(skipped[*v.SkippedReason], n.of(v))
			continue
		}
		trials += len(v.Trials)
		for _, t := range v.Trials {
			for _, reason := range t.Reasons() {
				reason = results.ShortReason(reason)
				same := func(known string) bool { return document.SameButNumbers(known, reason) }
				if at := slices.IndexFunc(reasons, same); at >= 0 {
					reason = reasons[at]
				} else {
					reasons = append(reasons, reason)
					spoilt[reason] = map[*results.Trial]bool{}
				}
				spoilt[reason][t] = true
			}
		}
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return len(spoilt[b]) - len(spoilt[a]) })
	counted := map[*results.Trial]bool{} // the trials of the lines so far
	for _, reason := range reasons {
		before := len(counted)
		maps.Copy(counted, spoilt[reason])
		var text string
		switch added, all := len(counted)-before, len(spoilt[reason]); {
		case added == all:
			text = fmt.Sprintf("%d of %s", all, unit.Plural(trials, "trial"))
		case added == 0:
			text = fmt.Sprintf("%d of these also", all)
		default:
			text = fmt.Sprintf("%d of %s, and %d of these", added, unit.Plural(trials, "trial"),
				all-added)
		}
		lines = append(lines, line{"invalid", prefix + text + ": " + reason})
	}
	lines = firstLines(lines, most, "reason")
	for _, reason := range why {
		lines = append(lines, line{"skipped", prefix + strings.Join(skipped[reason], ", ") + ": " +
			reason})
	}
	if s.Stopped == "" {
		for _, v := range s.Variants {
			if valid := len(v.ValidTrials()); v.SkippedReason == nil && valid < neededTrials(s) {
				lines = append(lines, line{"too few", fmt.Sprintf("%s%s has %s and needs %d",
					prefix, n.of(v), unit.Plural(valid, "valid trial"), neededTrials(s))})
			}
		}
	}
	return lines
}

// claimLines has the lines about the claims that the run tests, and the number of other claims.
type claimLines struct {
	tested []line
	others int
}

// newClaimLines returns the lines about the verdicts on claims.
func newClaimLines(run *results.Run) (l claimLines) {
	if run.Claims == nil {
		return l
	}
	rules := claims.Rules()
	touched, others := touchedClaims(run)
	l.others = others
	for _, c := range touched {
		text := c.ID
		condition := ""
		if i := slices.IndexFunc(rules, func(r claims.Rule) bool { return r.ID == c.ID }); i >= 0 {
			text, condition = rules[i].Short, rules[i].ShortCondition
		}
		word := "claim " + c.Verdict
		switch {
		case c.Verdict == claims.VerdictNotTested:
			word = "claim undecided"
			if len(c.Evidence) > 0 { // the first line gives the reason
				text = strings.TrimSuffix(text, ".") + ": " + c.Evidence[0]
			}
		case c.Verdict == claims.VerdictConditional && condition != "":
			word = "claim in part"
			text = strings.TrimSuffix(text, ".") + ": " + condition + "."
		}
		l.tested = append(l.tested, line{word, text})
	}
	return l
}

// first returns the lines about tested claims and a line about the others. If there are more lines
// than most, one line has the number of claims with each verdict.
func (l claimLines) first(most int) []line {
	if len(l.tested) <= most {
		lines := slices.Clone(l.tested)
		if l.others > 0 {
			lines = append(lines, line{"claims", untouchedText(len(l.tested), l.others)})
		}
		return lines
	}
	n := map[string]int{}
	for _, claim := range l.tested {
		n[claim.word]++
	}
	n["claim in part"] += n["claim conditional"]
	var parts []string
	for _, kind := range []struct{ word, one, several string }{
		{"claim holds", "holds", "hold"}, {"claim in part", "in part", "in part"},
		{"claim fails", "fails", "fail"}, {"claim undecided", "undecided", "undecided"},
	} {
		if count := n[kind.word]; count == 1 {
			parts = append(parts, "1 "+kind.one)
		} else if count > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", count, kind.several))
		}
	}
	if l.others > 0 {
		parts = append(parts, fmt.Sprintf("%d not tested", l.others))
	}
	return []line{{"claims", strings.Join(parts, ", ") + ": " + command.Line("claims")}}
}

// adviceLines returns a line for each piece of advice: what to do, without the figures.
func adviceLines(run *results.Run) (lines []line) {
	for _, text := range adviceOf(run) {
		do, _, _ := strings.Cut(text, ": ")
		lines = append(lines, line{"advice", strings.TrimSuffix(do, ".") + "."})
	}
	return lines
}

// moreLines returns the lines that say where the results are, and with which commands to see more.
func moreLines(run *results.Run, opts Options) (lines []line) {
	var args []string
	if opts.Path != "" {
		where := opts.Path
		if filepath.Ext(where) != ".json" && filepath.Ext(where) != ".gz" {
			where = filepath.Join(where, "run.json")
		}
		if opts.Page != "" {
			where += " and " + filepath.Base(opts.Page)
		}
		lines = append(lines, line{"results", where})
		args = []string{command.Path(opts.Path)}
	}
	full := "all tables"
	if n := len(adviceOf(run)); n > 0 {
		full = "tables, advice"
	}
	return append(lines,
		line{full, command.Line(append([]string{"report", "--full"}, args...)...)},
		line{"each loss", command.Line(append([]string{"report", "--losses"}, args...)...)},
	)
}

package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// maxSummary is the size limit for the job summary of a step, in bytes. GitHub refuses a larger
// summary as a whole
// (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits).
const maxSummary = 1 << 20

// The signs in a job summary. Each stands beside the word with the same meaning.
const (
	signGood = "✅"
	signBad  = "❌"
	signOpen = "⚠️"
)

// GitHub prints the run as a job summary for GitHub Actions ($GITHUB_STEP_SUMMARY): the verdict in
// one line, the gates, and the figures in folded sections. It prints at most 1 MiB. If the summary
// is larger, it leaves out whole scenarios, first those whose gates passed, from the last to the
// first.
func GitHub(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	page := func(shown []*results.Scenario, left string) (*summaryPage, error) {
		p := &summaryPage{}
		p.put(runHead(run, scenarios, left))
		gatePart(p, shown)
		for _, s := range shown {
			scenarioPart(p, s)
		}
		return p, p.err
	}
	return writeSummary(w, scenarios, isGood, func(s *results.Scenario) string { return s.Name },
		page)
}

// CompareGitHub prints the comparison as a job summary; see GitHub.
func CompareGitHub(w io.Writer, c *compare.Comparison) error {
	page := func(shown []*compare.ScenarioComparison, left string) (*summaryPage, error) {
		p := &summaryPage{}
		p.put(compareHead(c, left))
		for _, s := range shown {
			comparedPart(p, c, s)
		}
		return p, p.err
	}
	good := func(s *compare.ScenarioComparison) bool {
		return len(s.Void)+len(s.Unmeasured)+countOutcomes(s)[results.DeltaWorse] == 0
	}
	return writeSummary(w, c.Scenarios, good,
		func(s *compare.ScenarioComparison) string { return s.Name }, page)
}

// writeSummary prints as many scenarios as fit.
func writeSummary[S any](
	w io.Writer,
	all []S,
	good func(S) bool,
	name func(S) string,
	page func([]S, string) (*summaryPage, error),
) error {
	// Leave out scenarios in this order: those that need no attention before the others, later ones
	// before earlier ones.
	var victims, others []int
	for i, s := range slices.Backward(all) {
		if good(s) {
			victims = append(victims, i)
		} else {
			others = append(others, i)
		}
	}
	victims = append(victims, others...)
	without := func(n int) (*summaryPage, error) {
		var shown []S
		var left []string
		for i, s := range all {
			if !slices.Contains(victims[:n], i) {
				shown = append(shown, s)
			}
		}
		for _, i := range victims[:n] {
			left = append(left, name(all[i]))
		}
		return page(shown, leftText(left))
	}
	var failed error
	n := sort.Search(len(all), func(n int) bool {
		p, err := without(n)
		failed = errors.Join(failed, err)
		return err != nil || p.Len() <= maxSummary
	})
	p, err := without(n)
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	_, err = w.Write(p.Bytes())
	return err
}

func leftText(left []string) string {
	const named = 20
	if len(left) == 0 {
		return ""
	}
	names := strings.Join(left[:min(named, len(left))], ", ")
	if len(left) > named {
		names += fmt.Sprintf(" and %d more", len(left)-named)
	}
	return fmt.Sprintf("%s left out, because a job summary holds 1 MiB: %s. 'report --format "+
		"markdown' prints all.", unit.Plural(len(left), "scenario"), names)
}

// A summaryPage is a Markdown page with folded sections.
type summaryPage struct {
	bytes.Buffer
	err error // the first error
}

func (p *summaryPage) put(d *document.Document) {
	if p.err != nil || d.Empty() {
		return
	}
	if p.Len() > 0 {
		p.WriteByte('\n')
	}
	p.err = d.Markdown(p)
}

// fold adds the document as a folded section. The reader sees only line until opening it.
func (p *summaryPage) fold(line string, d *document.Document) {
	if d.Empty() {
		return
	}
	fmt.Fprintf(p, "\n<details><summary>%s</summary>\n",
		strings.ReplaceAll(document.EscapeMarkdown(document.Clean(line)), "\n", " "))
	p.put(d)
	fmt.Fprint(p, "\n</details>\n")
}

// runHead returns the verdict, where the run was measured, and what is wrong with the run as a
// whole.
func runHead(run *results.Run, scenarios []*results.Scenario, left string) *document.Document {
	d := &document.Document{}
	d.Heading(1, runVerdict(run, scenarios))
	d.Paragraph(fmt.Sprintf("%s %s, %s, kernel %s", run.Program, run.Version,
		run.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"), run.Environment.Kernel))
	var lines []string
	for _, s := range scenarios {
		for _, line := range scenarioTrouble(s) {
			lines = append(lines, s.Name+": "+line)
		}
	}
	d.List(lines)
	d.List(run.Warnings)
	if left != "" {
		d.Paragraph(left)
	}
	return d
}

// Verdict describes in one line the outcomes of the gates and what could not be measured, without
// signs.
func Verdict(run *results.Run, opts Options) (string, error) {
	scenarios, err := opts.Select(run)
	if err != nil {
		return "", err
	}
	return plainVerdict(run, scenarios), nil
}

// plainVerdict returns the text of runVerdict without signs.
func plainVerdict(run *results.Run, scenarios []*results.Scenario) string {
	return unsigned(runVerdict(run, scenarios))
}

// unsigned removes the signs from a verdict. Not every reader of a page has a font with them.
func unsigned(verdict string) string {
	return strings.NewReplacer(signGood+" ", "", signBad+" ", "", signOpen+" ", "").Replace(verdict)
}

// runVerdict describes the outcomes of the gates. If something could not be measured, it says that
// first, because it also decides the exit status of 'run'.
func runVerdict(run *results.Run, scenarios []*results.Scenario) string {
	var gates, failed, undecided, soft, few, void, stopped int
	for _, s := range scenarios {
		for _, g := range s.Gates {
			gates++
			switch {
			case g.Outcome == results.GateFail:
				failed++
			case g.Outcome == results.GatePass:
			case g.Soft:
				soft++
			case s.Stopped == "":
				undecided++
			}
		}
		if s.Stopped != "" {
			stopped++
		}
		few += len(tooFew(s))
		if s.Void != "" {
			void++
		}
	}
	var open, parts []string
	add := func(n int, what, how string) {
		if n > 0 {
			open = append(open, unit.Plural(n, what)+how)
		}
	}
	if run.FinishedAt == nil {
		open = append(open, "interrupted, or still running: "+Progress(scenarios))
	}
	add(void, "scenario", " void")
	add(stopped, "scenario", " stopped, without a valid trial")
	add(few, "variant", " with too few valid trials")
	add(undecided, "gate", " undecided")
	if len(open) > 0 {
		parts = append(parts, signOpen+" could not measure: "+strings.Join(open, ", "))
	}
	switch {
	case failed > 0:
		parts = append(parts, fmt.Sprintf("%s %d of %s failed", signBad, failed,
			unit.Plural(gates, "gate")))
	case len(open) > 0:
	case gates == 0:
		parts = append(parts, signGood+" measured; there are no gates")
	case soft > 0:
		parts = append(parts, fmt.Sprintf("%s no gate failed; %s undecided, which is no failure",
			signGood, unit.Plural(soft, "soft gate")))
	default:
		parts = append(parts, fmt.Sprintf("%s %s passed", signGood, unit.Plural(gates, "gate")))
	}
	return strings.Join(parts, "; ")
}

// scenarioTrouble lists the reasons why a scenario decides nothing, or less than it should.
func scenarioTrouble(s *results.Scenario) (lines []string) {
	if s.Void != "" {
		lines = append(lines, "void: "+s.Void)
	}
	if s.Stopped != "" {
		lines = append(lines, "stopped: "+s.Stopped)
	}
	return append(lines, tooFew(s)...)
}

// isGood reports whether the scenario was measured and its gates passed.
func isGood(s *results.Scenario) bool {
	return len(scenarioTrouble(s)) == 0 &&
		!slices.ContainsFunc(s.Gates,
			func(g results.GateResult) bool { return g.Outcome != results.GatePass })
}

// tooFew lists the variants that have fewer valid trials than the scenario needs, with the reason.
// It lists nothing for a scenario that was stopped: none of its trials was valid.
func tooFew(s *results.Scenario) (lines []string) {
	if s.Stopped != "" {
		return nil
	}
	n := newNames(s)
	for _, v := range s.Variants {
		valid, need := len(v.ValidTrials()), max(1, s.MinValid)
		if v.SkippedReason != nil || valid >= need {
			continue
		}
		line := fmt.Sprintf("%s has %s and needs %d",
			n.of(v), unit.Plural(valid, "valid trial"), need)
		lines = append(lines, strings.Join(append([]string{line}, InvalidTexts(v)...), "; "))
	}
	return lines
}

// gatePart adds the gates that did not pass, failed ones first, and a folded section of the gates
// that passed.
func gatePart(p *summaryPage, scenarios []*results.Scenario) {
	newTable := func() *document.Table {
		t := &document.Table{}
		for _, head := range []string{"gate", "scenario", "variant", "expected", "figures"} {
			t.Columns = append(t.Columns, document.Left(head))
		}
		return t
	}
	failed, open, passed := newTable(), newTable(), newTable()
	for _, s := range scenarios {
		n := newNames(s)
		for _, g := range s.Gates {
			t, sign := open, signOpen
			switch g.Outcome {
			case results.GateFail:
				t, sign = failed, signBad
			case results.GatePass:
				t, sign = passed, signGood
			}
			what := sign + " " + g.Outcome
			if g.Soft {
				what += ", soft"
			}
			t.Add(what, s.Name, n.ofLabels(g.Labels), g.Expect, g.Note)
		}
	}
	failed.Rows = append(failed.Rows, open.Rows...)
	d, folded := &document.Document{}, &document.Document{}
	if len(failed.Rows)+len(passed.Rows) > 0 {
		d.Heading(2, "Gates")
	}
	d.Table(failed)
	p.put(d)
	folded.Table(passed)
	p.fold(unit.Plural(len(passed.Rows), "gate")+" passed", folded)
}

// scenarioPart adds the scenario's description and decisions, and a folded section of its figures.
func scenarioPart(p *summaryPage, s *results.Scenario) {
	d, figures := &document.Document{}, &document.Document{}
	aboutBlocks(d, s)
	p.put(d)
	tableBlocks(figures, s)
	outsideBlocks(figures, s)
	p.fold("losses and response time of "+unit.Plural(len(s.Variants), "variant"), figures)
}

// compareHead returns the verdict and a description of what was compared.
func compareHead(c *compare.Comparison, left string) *document.Document {
	d := &document.Document{}
	d.Heading(1, compareVerdict(c))
	d.List([]string{"base: " + sideText(c.Base), "head: " + sideText(c.Head)})
	d.List(c.Warnings)
	if left != "" {
		d.Paragraph(left)
	}
	return d
}

// compareVerdict describes in one line the finding that determines the exit status of 'compare'.
func compareVerdict(c *compare.Comparison) string {
	all, better, unknown := 0, 0, 0
	for _, s := range c.Scenarios {
		all, unknown = all+len(deltasOf(s)), unknown+countUnknown(s)
		if len(s.Void) == 0 {
			better += countOutcomes(s)[results.DeltaBetter]
		}
	}
	var parts []string
	if n := len(c.Worse()); n > 0 {
		parts = append(parts, fmt.Sprintf("%s worse in %d of %s", signBad, n,
			unit.Plural(all, "comparison")))
	}
	if n := len(c.Unmeasured()); n > 0 {
		parts = append(parts, fmt.Sprintf("%s could not measure, for %s", signOpen,
			unit.Plural(n, "reason")))
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%s nothing worse in %s", signGood,
			unit.Plural(all, "comparison")))
	}
	if better > 0 {
		parts = append(parts, fmt.Sprintf("better in %d", better))
	}
	if unknown > 0 {
		parts = append(parts, fmt.Sprintf("too wide to tell in %d", unknown))
	}
	return strings.Join(parts, "; ")
}

// unchangedText describes what is known about the metrics for which no change was found.
func unchangedText(s *compare.ScenarioComparison) string {
	if n := countUnknown(s); n > 0 {
		return fmt.Sprintf("No change that matters was found; %d of %s too wide to tell.", n,
			unit.Plural(len(deltasOf(s)), "comparison"))
	}
	return "No change that matters."
}

func countUnknown(s *compare.ScenarioComparison) (n int) {
	for _, d := range deltasOf(s) {
		if d.Verdict == results.VerdictUnknown {
			n++
		}
	}
	return n
}

func countOutcomes(s *compare.ScenarioComparison) map[string]int {
	n := map[string]int{}
	for _, d := range deltasOf(s) {
		n[d.Outcome]++
	}
	return n
}

// comparedPart adds what changed, and a folded section of everything that was compared.
func comparedPart(p *summaryPage, c *compare.Comparison, s *compare.ScenarioComparison) {
	d := &document.Document{}
	d.Heading(2, s.Name)
	missingBlocks(d, s)
	d.Paragraph(methodText(c, s))
	changed := deltaTable(s, layoutWide,
		func(d *results.Delta) bool { return d.Outcome != results.DeltaNone })
	d.Table(changed)
	if len(changed.Rows) == 0 && len(s.Unmeasured) == 0 {
		d.Paragraph(unchangedText(s))
	}
	p.put(d)
	all := &document.Document{}
	all.Table(deltaTable(s, layoutWide, func(*results.Delta) bool { return true }))
	all.Paragraph(thresholdText(s))
	p.fold("all "+unit.Plural(len(deltasOf(s)), "comparison"), all)
	responses := &document.Document{}
	responseBlock(responses, s)
	p.fold("response time over all attempts", responses)
}

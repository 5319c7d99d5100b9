package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// pageDocument returns the page of a run. The answer comes first, then its proof in charts. Tables,
// single losses and the scenario's text are folded away.
func pageDocument(run *results.Run, opts Options) (*document.Document, error) {
	scenarios, err := opts.Select(run)
	if err != nil {
		return nil, err
	}
	d := &document.Document{}
	d.Heading(1, question(scenarios))
	d.Paragraph(title(scenarios) + ": " + plainVerdict(run, scenarios) + ".\n" + measuredOn(run))
	if run.FinishedAt == nil {
		d.Paragraph(interruptedText(scenarios))
	}
	d.List(run.Warnings)
	if len(scenarios) > 1 {
		adviceBlocks(d, run)
	}
	for _, s := range scenarios {
		if len(scenarios) > 1 {
			aboutBlocks(d, s)
		} else {
			decidedBlocks(d, s)
			adviceBlocks(d, run)
		}
		chartBlocks(d, s)
		if summary := gateSummary(s); summary != "" {
			d.Fold(summary)
			gateBlocks(d, s)
			d.EndFold()
		} else {
			gateBlocks(d, s)
		}
		outsideBlocks(d, s)
		d.Fold("All tables of " + s.Name)
		tableBlocks(d, s)
		d.EndFold()
		pageLosses(d, s, opts)
	}
	claimBlocks(d, run)
	d.Heading(2, "Where it was measured")
	d.List(environment(run))
	d.Heading(2, "How to repeat it")
	d.Code(repeatLine(run, scenarios))
	for _, s := range scenarios {
		if s.YAML != "" {
			d.Fold("The scenario " + s.Name)
			d.Code(s.YAML)
			d.EndFold()
		}
	}
	return d, nil
}

// question returns the title of the page: the question that the scenarios answer.
func question(scenarios []*results.Scenario) string {
	if len(scenarios) == 1 && scenarios[0].About != "" {
		return scenarios[0].About
	}
	if len(scenarios) > fewScenarios {
		return "What is lost in " + title(scenarios) + "?"
	}
	var all []string
	for _, s := range scenarios {
		all = append(all, s.Name)
	}
	return "What is lost in " + enumerate(all) + "?"
}

// gateSummary returns the outcomes of the scenario's gates in short, or "" if their table must not
// be folded away: because a gate failed, the scenario is void, or there are no gates.
func gateSummary(s *results.Scenario) string {
	passed, undecided := 0, 0
	for _, g := range s.Gates {
		switch {
		case g.Outcome == results.GateFail || s.Void != "":
			return ""
		case g.Outcome == results.GatePass:
			passed++
		default:
			undecided++
		}
	}
	var parts []string
	if undecided > 0 {
		parts = append(parts, unit.Plural(undecided, "gate")+" undecided")
	}
	if passed > 0 {
		parts = append(parts, unit.Plural(passed, "gate")+" passed")
	}
	return strings.Join(parts, ", ")
}

// A ChartFile is a chart as a file of its own.
type ChartFile struct {
	Name string // such as restart-matrix-dropped.svg
	SVG  string
}

// Charts returns the charts of the page.
func Charts(run *results.Run, opts Options) (files []ChartFile, err error) {
	d, err := pageDocument(run, opts)
	if err != nil {
		return nil, err
	}
	for _, c := range d.Charts() {
		files = append(files, ChartFile{Name: c.File(), SVG: c.Drawing.File()})
	}
	return files, nil
}

// measuredOn says when and where the run was made, in one line.
func measuredOn(run *results.Run) string {
	e := run.Environment
	return fmt.Sprintf("Measured %s on Linux %s, %s, with %s %s, seed %d.", startText(run),
		e.Kernel, unit.Plural(e.CPUs, "CPU"), run.Program, run.Version, run.Seed)
}

// repeatLine returns the command line that repeats the run.
func repeatLine(run *results.Run, scenarios []*results.Scenario) string {
	args := []string{"run"}
	for _, s := range scenarios {
		args = append(args, cmp.Or(s.File, s.Name))
	}
	return command.Line(append(args, "--seed", strconv.FormatUint(run.Seed, 10))...)
}

// maxPageLosses is the maximum number of losses that a page lists for a scenario.
const maxPageLosses = 100

// pageLosses adds the first lost attempts of each variant of a scenario, folded away.
func pageLosses(d *document.Document, s *results.Scenario, opts Options) {
	var lost, lossy int64
	for _, v := range s.Variants {
		n := results.Total(v.Trials).Lost
		if lost += n; n > 0 {
			lossy++
		}
	}
	if lossy == 0 {
		return
	}
	each := int(max(1, maxPageLosses/lossy))
	n := newNames(s)
	t := lossTable()
	t.Columns = append([]document.Column{document.Left("variant")}, t.Columns...)
	for _, v := range s.Variants {
		room := min(each, maxPageLosses-len(t.Rows))
		for _, trial := range v.Trials {
			rows := lossRows(trial)
			rows = rows[:min(room, len(rows))]
			room -= len(rows)
			for _, row := range rows {
				first := fmt.Sprintf("%s, block %d", n.of(v), trial.Block+1)
				t.Add(append([]string{first}, row...)...)
			}
		}
	}
	if len(t.Rows) == 0 {
		return
	}
	d.Fold(fmt.Sprintf("%d of the %s lost attempts, one by one", len(t.Rows), thousands(lost)))
	if int64(len(t.Rows)) < lost {
		args := []string{"report", "--losses"}
		if opts.Path != "" {
			args = append(args, opts.Path)
		}
		d.Paragraph("The others: " + command.Line(args...) + ".")
	}
	d.Table(t)
	d.EndFold()
}

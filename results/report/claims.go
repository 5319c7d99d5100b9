package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// Claims prints the claims ledger with the run's decisions. For each claim it prints a sentence,
// the scenario that tests it, the verdict, the figures on which the verdict is based, and how to
// read them. Of the options it uses only Width and Colour.
func Claims(w io.Writer, run *results.Run, opts Options) error {
	d := &document.Document{}
	d.Heading(1, "Claims")
	d.Paragraph(fmt.Sprintf("As the run of %s decides them, on kernel %s.",
		startText(run), run.Environment.Kernel))
	if run.Claims == nil {
		d.Paragraph(undecided)
		return d.Text(w, opts.look())
	}
	rules := claims.Rules()
	t := &document.Table{Ruled: true, Columns: []document.Column{
		document.Left("claim"), document.Left("verdict").Toned(verdictTone),
		document.Left("what it says, and what decides it here"),
	}}
	for _, c := range run.Claims {
		lines := c.Evidence
		if i := slices.IndexFunc(rules, func(r claims.Rule) bool { return r.ID == c.ID }); i >= 0 {
			lines = slices.Concat([]string{rules[i].Sentence}, bullets(c.Evidence),
				[]string{rules[i].Note})
		}
		for _, text := range c.Advice {
			lines = append(lines, "Advice: "+text)
		}
		t.Add(c.ID, c.Verdict, strings.Join(lines, "\n"))
	}
	d.Table(t)
	return d.Text(w, opts.look())
}

// adviceBlocks adds the advice that follows from the run's claims, if there is any.
func adviceBlocks(d *document.Document, run *results.Run) {
	all := adviceOf(run)
	if len(all) == 0 {
		return
	}
	d.Heading(2, "Advice")
	d.Paragraph("What follows from the figures of this run, for the load that it had; " +
		"brackets are 95 % intervals:")
	d.Points(all)
}

// adviceOf returns the advice that follows from the run's claims, in the order of the ledger.
func adviceOf(run *results.Run) (all []string) {
	for _, c := range run.Claims {
		all = append(all, c.Advice...)
	}
	return all
}

const undecided = "Not decided: the run has not finished."

// claimBlocks adds the verdicts on the claims that the run could decide, with their evidence.
func claimBlocks(d *document.Document, run *results.Run) {
	d.Heading(2, "Claims")
	if run.Claims == nil {
		d.Paragraph(undecided)
		return
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("claim"), document.Left("verdict").Toned(verdictTone),
		document.Left("evidence"),
	}}
	touched, others := touchedClaims(run)
	for _, c := range touched {
		t.Add(c.ID, c.Verdict, strings.Join(c.Evidence, "\n"))
	}
	d.Table(t)
	if others > 0 {
		d.Paragraph(sentence(untouchedText(len(touched), others)) + ".")
	}
}

// touchedClaims returns the claims that the run tested at least in part, and the number of the
// remaining claims.
func touchedClaims(run *results.Run) (touched []results.Claim, others int) {
	tested := claims.Tested(run)
	for _, c := range run.Claims {
		if c.Verdict != claims.VerdictNotTested || tested[c.ID] {
			touched = append(touched, c)
		} else {
			others++
		}
	}
	return touched, others
}

// untouchedText gives the number of claims that the run does not test.
func untouchedText(touched, others int) string {
	if touched == 0 {
		return fmt.Sprintf("none of %s is tested: %s",
			unit.Plural(others, "common claim"), command.Line("claims"))
	}
	return fmt.Sprintf("%s not tested: %s",
		unit.Plural(others, "other common claim"), command.Line("claims"))
}

func bullets(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "- " + line
	}
	return out
}

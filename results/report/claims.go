package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/report/document"
)

// Claims prints the claims ledger as the run decided it: each claim in a sentence, the scenario
// that tests it, the verdict, the figures behind it, and how to read them. Of the options it needs
// the width.
func Claims(w io.Writer, run *results.Run, opts Options) error {
	d := &document.Document{}
	d.Heading(1, "Claims")
	d.Paragraph(fmt.Sprintf("As the run of %s decides them, on kernel %s.", run.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"), run.Environment.Kernel))
	if run.Claims == nil {
		d.Paragraph(undecided)
		return d.Text(w, opts.Width)
	}
	rules := claims.Rules()
	t := &document.Table{Columns: []document.Column{document.Left("claim"), document.Left("verdict"), document.Left("what it says, and what decides it here")}, Ruled: true}
	for _, c := range run.Claims {
		lines := c.Evidence
		if i := slices.IndexFunc(rules, func(r claims.Rule) bool { return r.ID == c.ID }); i >= 0 {
			lines = slices.Concat([]string{rules[i].Sentence}, bullets(c.Evidence), []string{rules[i].Note})
		}
		t.Add(c.ID, c.Verdict, strings.Join(lines, "\n"))
	}
	d.Table(t)
	return d.Text(w, opts.Width)
}

const undecided = "Not decided: the run has not finished."

// claimBlocks is the verdicts with their evidence.
func claimBlocks(d *document.Document, run *results.Run) {
	d.Heading(2, "Claims")
	if run.Claims == nil {
		d.Paragraph(undecided)
		return
	}
	t := &document.Table{Columns: []document.Column{document.Left("claim"), document.Left("verdict"), document.Left("evidence")}}
	for _, c := range run.Claims {
		t.Add(c.ID, c.Verdict, strings.Join(c.Evidence, "\n"))
	}
	d.Table(t)
}

func bullets(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "- " + line
	}
	return out
}

package main

import (
	"github.com/spf13/cobra"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/report"
	"reuseport-bench/scenarios"
)

func newClaims(s *session) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "claims [RUN]",
		Short: "Print the claims ledger: what a run decides, and what it does not",
		Long: `Claims prints what is widely said about SO_REUSEPORT, zero-downtime restarts and Kubernetes, each
with the verdict of a run on its machine and the figures that decide it. Without RUN it takes the
newest under ` + runsDir + `.`,
		Args: takes(0, 1, "one run"),
		RunE: func(c *cobra.Command, args []string) error {
			run, err := loadRun(c, args)
			if err != nil {
				return usage(err)
			}
			run.Claims = claims.Decide(run, scenarios.Names())
			if asJSON {
				return writeJSON(c.OutOrStdout(), map[string]any{"claims": described(run.Claims)})
			}
			return report.Claims(c.OutOrStdout(), run, s.reportOptions())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: results/README.md has its form")
	completeRuns(c, 1)
	return c
}

// A describedClaim is a claim with its verdict. Other programs read its JSON form.
type describedClaim struct {
	ID       string   `json:"id"`
	Sentence string   `json:"sentence"`
	Scenario string   `json:"scenario"`
	Verdict  string   `json:"verdict"` // "holds", "fails", "conditional" or "not tested"
	Evidence []string `json:"evidence"`
	Advice   []string `json:"advice,omitempty"` // as in run.json
	Note     string   `json:"note"`
}

// described adds the text of each claim to its verdict in a run.
func described(verdicts []results.Claim) []describedClaim {
	all := []describedClaim{}
	for _, rule := range claims.Rules() {
		for _, v := range verdicts {
			if v.ID == rule.ID {
				all = append(all, describedClaim{
					v.ID, rule.Sentence, rule.Scenario, v.Verdict, v.Evidence, v.Advice, rule.Note,
				})
			}
		}
	}
	return all
}

package main

import (
	"github.com/spf13/cobra"

	"reuseport-bench/results/claims"
	"reuseport-bench/results/report"
	"reuseport-bench/scenarios"
)

func newClaims(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "claims [RUN]",
		Short: "Print the claims ledger: what a run decides, and what it does not",
		Long: `Claims prints what is widely said about SO_REUSEPORT, zero-downtime restarts and Kubernetes, each with
the verdict of a run on its machine and the figures that decide it. Without RUN it takes the newest
under ` + runsDir + `.`,
		Args: takes(0, 1, "one run"),
		RunE: func(c *cobra.Command, args []string) error {
			run, err := loadRun(args)
			if err != nil {
				return usage(err)
			}
			run.Claims = claims.Decide(run, scenarios.Names())
			return report.Claims(c.OutOrStdout(), run, s.reportOptions())
		},
	}
}

package main

import (
	"fmt"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/kernel"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel can and cannot do, by trying",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_ = tablewriter.NewTable
			for _, r := range kernel.Probes(c.Context(), kernel.Options{UserNamespaceChild: []string{"/proc/self/exe", roleProbe}}) {
				fmt.Fprintf(c.OutOrStdout(), "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Status, r.Detail, r.Hint, r.What)
			}
			return nil
		},
	}
}

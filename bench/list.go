package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"reuseport-bench/results/report/document"
	"reuseport-bench/scenarios"
)

func newList(s *session) *cobra.Command {
	var namesOnly bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios",
		Args:  takes(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			var rows [][]string
			for _, name := range scenarios.Names() {
				scenario, err := scenarios.Load(name)
				if err != nil {
					return err
				}
				about := scenario.About
				if slices.Contains(scenarios.Default(), name) {
					about += " (default suite)"
				}
				rows = append(rows, []string{name, about})
				if namesOnly {
					fmt.Fprintln(c.OutOrStdout(), name)
				}
			}
			if namesOnly {
				return nil
			}
			heads := []string{"scenario", "about"}
			return document.WriteTable(c.OutOrStdout(), s.width, heads, rows)
		},
	}
	c.Flags().BoolVar(&namesOnly, "names", false, "print the names alone, one a line")
	return c
}

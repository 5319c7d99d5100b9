package main

import (
	"github.com/spf13/cobra"

	"reuseport-bench/scenarios"
)

func newShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|FILE.yaml",
		Short: "Show a scenario fully expanded: every default, every variant",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := scenarios.Load(args[0])
			if err != nil {
				return usage(err)
			}
			return s.Explain(c.OutOrStdout())
		},
	}
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			schema, err := scenarios.Schema()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(schema)
			return err
		},
	}
}

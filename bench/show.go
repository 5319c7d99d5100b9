package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"reuseport-bench/results/report/document"
	"reuseport-bench/scenarios"
)

func newShow(s *session) *cobra.Command {
	c := &cobra.Command{
		Use:   "show NAME|FILE.yaml",
		Short: "Show a scenario fully expanded: every default, every variant",
		Args:  takes(1, 1, "one scenario"),
		RunE: func(c *cobra.Command, args []string) error {
			scenario, err := scenarios.Load(args[0])
			if err != nil {
				return usage(err)
			}
			sayRenamed(c.ErrOrStderr(), args)
			return show(c.OutOrStdout(), s.width, scenario)
		},
	}
	completeScenarios(c, 1)
	return c
}

// show prints the scenario's file, and then its variants in lines of at most width columns. It does
// not wrap lines of the file, because that may change their meaning.
func show(w io.Writer, width int, s *scenarios.Scenario) error {
	var b strings.Builder
	if err := s.Explain(&b); err != nil {
		return err
	}
	file, variants, _ := strings.Cut(b.String(), "\n#")
	if _, err := fmt.Fprintln(w, file); err != nil {
		return err
	}
	return document.Fold(w, width, "#"+variants)
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Args:  takes(0, 0, ""),
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

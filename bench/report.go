package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reuseport-bench/results"
	"reuseport-bench/results/report"
	"reuseport-bench/scenarios"
)

type reportFunc func(io.Writer, *results.Run, report.Options) error

var formats = map[string]reportFunc{
	"text": report.Text, "markdown": report.Markdown, "html": report.HTML, "csv": report.CSV, "json": report.JSON,
	"junit": report.JUnit, "benchfmt": report.Benchfmt, "github": report.GitHub, "annotations": report.Annotations,
}

func newReport() *cobra.Command {
	var format string
	var ledger, losses bool
	var only []string
	c := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Print the report of a run",
		Long: `Report prints the report of a run: a run directory, finished or not, or a run.json file. Without
RUN it takes the newest under ` + runsDir + `.

--format junit is JUnit XML, for CI systems: a test case for each variant, an error when it has too few valid
trials, and one for each gate, a failure when it failed and an error when it is undecided.

--format github is a job summary for GitHub Actions: the verdict, the gates, and the figures folded away; at most 1 MiB,
GitHub's limit, which may leave out whole scenarios. --format annotations is its workflow commands, which put every gate that did
not pass at its line of the scenario's file: an error, or a warning for a soft gate that is undecided; at most ten of each.

--format benchfmt is the Go benchmark format, for benchstat (golang.org/x/perf/cmd/benchstat): one line for each valid
trial. benchstat's medians are over trials, so that of a loss in one trial of eight is 0: rare losses are in the other
formats.

The exit status is 0 however the gates came out; it is 'run' that fails.`,
		Example: `  reuseport-bench report --format github >> "$GITHUB_STEP_SUMMARY"
  reuseport-bench report --format benchfmt OLD > old.txt
  reuseport-bench report --format benchfmt NEW > new.txt
  benchstat -filter '.unit:(dropped/restart OR response-p99-sec)' old.txt new.txt
  benchstat -col /stop new.txt`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			print, ok := formats[format]
			switch {
			case !ok:
				return usage(fmt.Errorf("--format %s: must be one of %s", format, strings.Join(slices.Sorted(maps.Keys(formats)), ", ")))
			case ledger:
				print = report.Ledger
			case losses:
				print = report.Losses
			}
			run, err := loadRun(args)
			if err != nil {
				return usage(err)
			}
			if run.FinishedAt != nil { // by this version's rules, as 'claims' does
				run.Claims = results.DecideClaims(run, scenarios.Names())
			}
			return print(c.OutOrStdout(), run, report.Options{Scenarios: only})
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, markdown, html, csv, json, junit, benchfmt, github or annotations")
	c.Flags().BoolVar(&ledger, "ledger", false, "print what became of every attempt, as the client and as the servers saw it")
	c.Flags().BoolVar(&losses, "losses", false, "list the lost attempts one by one")
	c.Flags().StringArrayVar(&only, "scenario", nil, "only this scenario; may be repeated")
	c.MarkFlagsMutuallyExclusive("ledger", "losses", "format")
	return c
}

// loadRun reads the run that is named, or the newest.
func loadRun(args []string) (*results.Run, error) {
	path := ""
	if len(args) > 0 {
		path = args[0]
	} else {
		var err error
		if path, err = results.Latest(runsDir); err != nil {
			return nil, err
		}
	}
	return results.Load(path)
}

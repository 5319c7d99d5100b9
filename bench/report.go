package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/formats"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

type reportFunc func(io.Writer, *results.Run, report.Options) error

var reportFormats = map[string]reportFunc{
	"text": report.Brief, "markdown": report.Markdown, "html": report.HTML, "csv": formats.CSV,
	"json": report.JSON, "junit": formats.JUnit, "benchfmt": formats.Benchfmt,
	"github": report.GitHub, "annotations": report.Annotations,
}

func newReport(s *session) *cobra.Command {
	var format, chartsDir string
	var full, ledger, losses, rejudge bool
	var only []string
	var trial string
	c := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Print the report of a run",
		Long: `Report prints the report of a run: a run directory, finished or not, or a run.json file.
Without RUN it takes the newest under ` + runsDir + `.

As text it is one screen: what the run decided, a table of the variants, what does not count, gates
and claims. --full prints every table, and so does --format markdown. --format html is one page with
charts, which needs no other file. --charts DIR writes the charts as SVG files.

--format junit is JUnit XML, for CI systems: a test case for each variant, an error when it has too
few valid trials, and one for each gate, a failure when it failed and an error when it is undecided.

--format github is a job summary for GitHub Actions: the verdict, the gates, and the figures folded
away. GitHub takes at most 1 MiB, so whole scenarios may be left out. --format annotations is its
workflow commands, which put every gate that did not pass at its line of the scenario's file: an
error, or a warning for a soft gate that is undecided; at most ten of each.

--format benchfmt is the Go benchmark format, for benchstat (golang.org/x/perf/cmd/benchstat): one
line for each valid trial. benchstat takes medians over trials, so a loss in one trial of eight
becomes 0: rare losses are in the other formats.

Of a run with --keep-facts: --format attempts is a line of CSV for each attempt. --format vegeta is
vegeta's own encoding, for its 'report', 'plot' and 'encode': of one trial, --trial, with latencies
that count from the schedule. --rejudge judges every trial again by the rules of this version, and
lists what comes out differently. It says where facts are missing, or belong to another trial than
the one in run.json.

The exit status is 0 however the gates came out; 'run' is what fails. With --rejudge it is 1 when
anything differs, and 3 when facts are missing.`,
		Example: `  reuseport-bench report --format github >> "$GITHUB_STEP_SUMMARY"
  reuseport-bench report --format benchfmt OLD > old.txt
  reuseport-bench report --format benchfmt NEW > new.txt
  benchstat -filter '.unit:(dropped/restart OR response-p99-sec)' old.txt new.txt
  benchstat -col /stop new.txt
  reuseport-bench report --format vegeta --trial restart-00-00 RUN | vegeta plot > plot.html`,
		Args: takes(0, 1, "one run"),
		RunE: func(c *cobra.Command, args []string) error {
			facts, ofFacts := factsFormats[format]
			print, ok := reportFormats[format]
			err := exclusive(c, "each is a report of its own",
				"full", "ledger", "losses", "format", "rejudge")
			switch {
			case err != nil:
				return err
			case rejudge:
				facts = rejudgeFacts
			case !ok && !ofFacts:
				return usagef(c, "--format %s: there is none; %s",
					quoted(format), instead(format, formatNames()))
			case trial != "" && !ofFacts:
				return usagef(c, "--trial goes with --format attempts or vegeta, or with --rejudge")
			}
			if facts != nil {
				return printFacts(c, args, only, trial, facts)
			}
			switch {
			case full:
				print = report.Text
			case ledger:
				print = report.Ledger
			case losses:
				print = report.Losses
			}
			path, err := runPath(c, args)
			if err != nil {
				return usage(err)
			}
			run, err := stored.Load(path)
			if err != nil {
				return usage(err)
			}
			for i, name := range only {
				s := run.Scenario(name)
				if s == nil {
					return usagef(c, "--scenario %s: the run has none of that name; %s",
						quoted(name), instead(name, scenarioNames(run)))
				}
				only[i] = s.Name
			}
			if run.FinishedAt != nil { // apply this version's rules, as the command claims does
				run.Claims = claims.Decide(part(run, only), scenarios.Names())
			}
			if chartsDir != "" {
				if err := writeCharts(c, chartsDir, run, only); err != nil {
					return err
				}
			}
			options := s.reportOptions()
			options.Scenarios, options.Path, options.Page = only, path, pageOf(path)
			return print(c.OutOrStdout(), run, options)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, markdown, html, csv, json, junit, "+
		"benchfmt, github or annotations; of kept facts attempts or vegeta")
	c.Flags().StringVar(&chartsDir, "charts", "",
		"write the charts of the page into this directory, too, as SVG files")
	c.Flags().BoolVar(&full, "full", false, "print every table")
	c.Flags().BoolVar(&ledger, "ledger", false,
		"print what became of every attempt, as the client and as the servers saw it")
	c.Flags().BoolVar(&losses, "losses", false, "list the lost attempts one by one")
	c.Flags().BoolVar(&rejudge, "rejudge", false,
		"judge kept facts again, and list what comes out differently")
	c.Flags().StringVar(&trial, "trial", "",
		"of kept facts, only this trial: SCENARIO-VARIANT-BLOCK, as its file is called")
	c.Flags().StringArrayVar(&only, "scenario", nil, "only this scenario; may be repeated")
	completeRuns(c, 1)
	completeFlag(c, "format", always(formatNames))
	completeFlag(c, "scenario", scenariosOfRuns)
	completeFlag(c, "trial", trialsOfRun)
	return toFile(s, c)
}

// part returns the run with only the scenarios of these names, or the whole run without names.
func part(run *results.Run, names []string) *results.Run {
	if len(names) == 0 {
		return run
	}
	p := *run
	p.Scenarios = slices.DeleteFunc(slices.Clone(run.Scenarios), func(s *results.Scenario) bool {
		return !slices.Contains(names, s.Name)
	})
	return &p
}

// reportOptions returns the options for reports on standard output.
func (s *session) reportOptions() report.Options {
	look := s.look()
	return report.Options{Width: look.Width, Colour: look.Colour}
}

// pageName is the file in a run directory that contains the report as an HTML page.
const pageName = "report.html"

// pageOf returns the path of the page of the run at path, or "" if the run has none.
func pageOf(path string) string {
	page := filepath.Join(path, pageName)
	if info, err := os.Stat(page); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return page
}

// writeCharts writes the charts of the run's page into a directory, which it makes if necessary.
func writeCharts(c *cobra.Command, dir string, run *results.Run, only []string) error {
	files, err := report.Charts(run, report.Options{Scenarios: only})
	if err != nil {
		return usage(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usage(err)
	}
	for _, f := range files {
		err := replaceFile(filepath.Join(dir, f.Name), func(w io.Writer) error {
			_, err := io.WriteString(w, f.SVG)
			return err
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "wrote %s to %s\n", unit.Plural(len(files), "chart"),
		command.Quote(dir))
	return nil
}

// writePage writes the report of the run into its directory and returns the path.
func writePage(dir string, run *results.Run) (page string, err error) {
	page = filepath.Join(dir, pageName)
	f, err := os.Create(page)
	if err != nil {
		return "", err
	}
	err = report.HTML(f, run, report.Options{})
	return page, errors.Join(err, f.Close())
}

func formatNames() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(reportFormats)), maps.Keys(factsFormats))
	slices.Sort(names)
	return names
}

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

type compareFunc func(io.Writer, *compare.Comparison) error

// compareFormats returns the formats of a comparison. Only the text format uses look.
func compareFormats(look document.Look) map[string]compareFunc {
	return map[string]compareFunc{
		"text": func(w io.Writer, c *compare.Comparison) error {
			return report.CompareText(w, c, look)
		},
		"markdown": report.CompareMarkdown, "html": report.CompareHTML,
		"json":   report.CompareJSON,
		"github": report.CompareGitHub, "annotations": report.CompareAnnotations,
	}
}

type compareFlags struct {
	format     string
	metrics    []string
	thresholds []string
	only       []string
	scenarios  []string
	allow      []string
}

func newCompare(s *session) *cobra.Command {
	var f compareFlags
	asJSON := false
	c := &cobra.Command{
		Use:   "compare BASE HEAD",
		Short: "Say what changed from one run, or several, to another",
		Long: `Compare says what got worse from BASE to HEAD, what got better, and what cannot be told. Each is
a run directory, a run.json file (also run.json.gz), or a directory whose subdirectories are runs.

Two runs, one after the other, are two samples: each variant's trials of the base are compared with
those of the head by the Mann-Whitney test. If the machine was slower in the second hour, that looks
like a change of the program. So let base and head take turns: many runs of a single block (run
--trials 1), base and head, head and base. Runs that took turns are compared in pairs, and what both
of a pair have in common cancels out. scripts/bench-compare.sh does this for two revisions.

For each pair compare takes the ratio head ÷ base, or the difference where a figure may well be 0
(losses, gaps). The change is the middle of these (Hodges and Lehmann), its interval what Wilcoxon's
signed-rank test does not reject. Lost attempts are counted. Where losses come one by one, their
rates are compared exactly; where they come in clusters, each trial has its rate, and those are
ranked like other figures.

Every variant and metric of a scenario is one comparison, and one in twenty would seem to change
where nothing did. So the p values are adjusted by Holm's method over all comparisons of a scenario:
with 97 % probability none of those that did not change is reported as changed. Fewer comparisons
can each show smaller changes: --only, --scenario and --metric leave out what is not the question.
Choose before you look, not after.

A change counts when p is at most 0.032 and the change is one that matters: 5 % of the median
response time, 0.05 dropped per restart. The report names the thresholds; --threshold replaces them.
"=" means that the whole interval is less than a change that matters: shown to be the same. "?" means
that the interval is too wide to tell, and "? +40" that about 40 more pairs, or trials of each side,
would tell. Neither is "worse". In JSON that is the verdict (same, unknown) beside the outcome
(none).

Figures of sides that were offered rates more than 5 % apart are compared, and marked: they are not
like for like.

A scenario with gates measures its baseline twice. Where the baseline differs from itself, the
machine did not repeat itself, and the scenario's comparisons are void. Each variant needs at least
6 valid trials, or pairs, and more when there are more comparisons: compare says how many.

Exit status: 0 nothing is known to have got worse, even if a "?" leaves it open; 1 something did,
whatever else could not be compared; 2 bad input, or runs that cannot be compared, see --allow;
3 something could not be compared, and nothing is known to be worse. Except with status 2 the report
is printed.`,
		Example: `  # The working tree against main: 16 blocks of each, by turns.
  scripts/bench-compare.sh main 16
  # Two stored runs.
  reuseport-bench compare results/runs/OLD results/runs/NEW
  # One question: the p99 of one stop mode, changes of 5 % or more.
  reuseport-bench compare OLD NEW --metric response_p99_ns --only stop=drain \
    --threshold response_p99_ns=5%
  # In a job of GitHub Actions.
  reuseport-bench compare OLD NEW --format github >> "$GITHUB_STEP_SUMMARY"`,
		Args: takes(2, 2, "two runs, BASE and HEAD"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := exclusive(c, "JSON is a format", "json", "format"); err != nil {
				return err
			}
			if asJSON {
				f.format = "json"
			}
			formats := compareFormats(s.look())
			print, ok := formats[f.format]
			if !ok {
				return usagef(c, "--format %s: there is none; %s", quoted(f.format),
					instead(f.format, slices.Sorted(maps.Keys(formats))))
			}
			comparison, err := f.compare(args[0], args[1])
			if err != nil {
				return usage(err)
			}
			comparison.Base.Name, comparison.Head.Name = sideNames(args[0], args[1])
			if err := print(c.OutOrStdout(), comparison); err != nil {
				return err
			}
			return compareVerdict(comparison)
		},
	}
	c.Flags().StringVar(&f.format, "format", "text",
		"text, markdown, html, json, github (a job summary) or annotations (workflow commands)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, as --format json does")
	c.Flags().StringArrayVar(&f.metrics, "metric", nil, fmt.Sprintf("decide by this metric; "+
		"may be repeated, at most %d (default: what the scenario is about)", metrics.MaxGating))
	c.Flags().StringArrayVar(&f.thresholds, "threshold", nil, "METRIC=VALUE, the least change "+
		"that matters: a share of the base (0.1 or 10%), or for differences the metric's unit "+
		"(2ms); may be repeated")
	c.Flags().StringArrayVar(&f.only, "only", nil,
		"only variants with this label, KEY=VALUE, or of this name, \"reuseport · close\"; "+
			"may be repeated")
	c.Flags().StringArrayVar(&f.scenarios, "scenario", nil, "only this scenario; may be repeated")
	c.Flags().StringArrayVar(&f.allow, "allow", nil, "compare although this differs: "+
		strings.Join(compare.Allowances(), ", ")+"; may be repeated")
	completeRuns(c, 2)
	completeFlag(c, "format", always(func() []string {
		return slices.Sorted(maps.Keys(compareFormats(document.Look{})))
	}))
	completeFlag(c, "metric", always(metrics.Compared))
	completeFlag(c, "threshold", always(func() (all []string) {
		for _, metric := range metrics.Compared() {
			all = append(all, metric+"=")
		}
		return all
	}))
	completeFlag(c, "only", labelsOfRuns)
	completeFlag(c, "scenario", scenariosOfRuns)
	completeFlag(c, "allow", always(compare.Allowances))
	return toFile(s, c)
}

func (f compareFlags) compare(base, head string) (*compare.Comparison, error) {
	thresholds, err := parseThresholds(f.thresholds)
	if err != nil {
		return nil, err
	}
	for _, m := range f.metrics {
		if _, ok := metrics.FindCompared(m); !ok {
			return nil, notCompared("metric", m)
		}
	}
	for _, a := range f.allow {
		if may := compare.Allowances(); !slices.Contains(may, a) {
			return nil, fmt.Errorf("--allow %s: nothing of that name can differ; %s",
				quoted(a), instead(a, may))
		}
	}
	baseRuns, baseErr := stored.LoadAll(base)
	headRuns, headErr := stored.LoadAll(head)
	if err := errors.Join(baseErr, headErr); err != nil {
		return nil, err
	}
	only, err := f.names(slices.Concat(baseRuns, headRuns))
	if err != nil {
		return nil, err
	}
	return compare.Runs(baseRuns, headRuns, compare.Options{
		Scenarios: f.scenarios, Only: only, Metrics: f.metrics, Thresholds: thresholds,
		Allow: f.allow,
	})
}

// names checks --scenario and --only. It replaces former scenario names in f.scenarios by the
// current ones, and returns the labels that --only selects. It returns an error for a scenario or a
// label that no run has.
func (f compareFlags) names(runs []*results.Run) (map[string]string, error) {
	var names []string
	var labels []map[string]string
	for _, run := range runs {
		names = append(names, scenarioNames(run)...)
		for _, s := range run.Scenarios {
			for _, v := range s.Variants {
				labels = append(labels, v.Labels)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for i, name := range f.scenarios {
		if !slices.Contains(names, name) {
			f.scenarios[i] = vocabulary.ScenarioName(name)
		}
		if !slices.Contains(names, f.scenarios[i]) {
			return nil, fmt.Errorf("--scenario %s: no run has one of that name; %s",
				quoted(name), instead(name, names))
		}
	}
	return parseOnly(f.only, labels)
}

// notCompared returns the error for a metric that cannot be compared.
func notCompared(flag, metric string) error {
	return fmt.Errorf("--%s %s: cannot be compared; %s",
		flag, quoted(metric), instead(metric, metrics.Compared()))
}

// parseThresholds parses METRIC=VALUE.
func parseThresholds(list []string) (map[string]float64, error) {
	thresholds := map[string]float64{}
	for _, text := range list {
		metric, value, ok := strings.Cut(text, "=")
		if !ok || metric == "" || value == "" {
			return nil, fmt.Errorf("--threshold %s: must be METRIC=VALUE, "+
				"for example response_p99_ns=10%%", quoted(text))
		}
		if _, twice := thresholds[metric]; twice {
			return nil, fmt.Errorf("--threshold: %s is given twice; a metric has one",
				quoted(metric))
		}
		m, ok := metrics.FindCompared(metric)
		if !ok {
			return nil, notCompared("threshold", metric)
		}
		x, err := parseThreshold(m, value)
		if err != nil {
			return nil, fmt.Errorf("--threshold %s: %w", quoted(text), err)
		}
		thresholds[metric] = x
	}
	return thresholds, nil
}

// parseThreshold parses a threshold: a share of the base if the metric is compared by ratio,
// otherwise a number in the metric's unit.
func parseThreshold(m metrics.Metric, value string) (float64, error) {
	what, factor := "a number of the metric's unit, for example 0.05", 1.0
	var x float64
	var err error
	switch {
	case m.Scale == results.ScaleRatio:
		what = "a share of the base, for example 0.1 or 10%"
		if share, percent := strings.CutSuffix(value, "%"); percent {
			value, factor = strings.TrimSpace(share), 0.01
		}
		x, err = strconv.ParseFloat(value, 64)
	case m.Unit == unit.Nanoseconds:
		what = "a duration, for example 2ms: the metric is compared by difference"
		var d time.Duration
		d, err = time.ParseDuration(value)
		x = float64(d)
	default:
		x, err = strconv.ParseFloat(value, 64)
	}
	x *= factor
	if err != nil || !(x >= 0) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("must be %s, and not negative", what)
	}
	return x, nil
}

// compareVerdict returns nil if everything was compared and nothing got worse.
func compareVerdict(c *compare.Comparison) error {
	unmeasured, worse := c.Unmeasured(), c.Worse()
	var lists []string
	list := func(head string, items []string) {
		if len(items) == 0 {
			return
		}
		for i, item := range items {
			items[i] = document.Clean(item)
		}
		lists = append(lists, head+":\n  "+strings.Join(firstOf(items), "\n  "))
	}
	list("got worse", worse)
	list("could not be compared", unmeasured)
	err := errors.New(strings.Join(lists, "\n"))
	switch {
	case len(worse) > 0: // this is certain even if other metrics could not be compared
		return &exitError{exitFailed, err}
	case len(unmeasured) > 0:
		return notMeasured(err)
	}
	return nil
}

// sideNames returns display names for the runs at two paths. A run is named after its directory or,
// if its file is not called run.json, after the file. If the two names are equal, sideNames returns
// the paths.
func sideNames(base, head string) (string, string) {
	if b, h := sideName(base), sideName(head); b != h {
		return b, h
	}
	return base, head
}

func sideName(path string) string {
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if name := filepath.Base(whole); name != results.RunFile && name != results.RunFile+".gz" {
		return name
	}
	return filepath.Base(filepath.Dir(whole))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

func newDoctor(s *session) *cobra.Command {
	measure, trials := false, ""
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel can and cannot do, by trying",
		Long: `Doctor tries each thing that the program may need, in namespaces of its own, and says what it found: yes,
no, or unknown where trying was not possible. What is missing is a hint, not an error; only a machine on which
no lab can be made at all ends with status 3.

With --measure it measures what the program's own instrument costs instead: the same load with the tracing of losses off and
on, in turn.`,
		Args: takes(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if trials != "" && !measure {
				return usagef(c, "--trials goes with --measure")
			}
			ctx, done := s.begin(c.Context())
			defer done()
			found, err := examine(ctx)
			switch {
			case err != nil:
				return err
			case measure:
				return measureTracing(ctx, c, s, found, trials)
			}
			done()
			return diagnose(c.OutOrStdout(), s.width, found)
		},
	}
	c.Flags().BoolVar(&measure, "measure", false, "measure what tracing costs: about a minute, as root")
	c.Flags().StringVar(&trials, "trials", "", "with --measure: number of pairs, instead of 12")
	return c
}

// costMetrics are what an instrument may change.
var costMetrics = []struct{ name, metric string }{
	{"the load's CPU per attempt", metrics.LoadCPUPerAttempt},
	{"the servers' CPU per attempt", metrics.ServersCPUPerAttempt},
	{"response time, median", "response_p50_ns"},
	{"response time, p99", "response_p99_ns"},
}

// measureTracing runs the scenario tracing-cost and prints its ratios. The run is not kept.
func measureTracing(
	ctx context.Context, c *cobra.Command, s *session, found []doctor.Result, trials string,
) (err error) {
	if !netlab.AsRoot() {
		return document.Fold(c.OutOrStdout(), s.width,
			"Without root the kernel is not asked about losses: there is nothing to measure, "+
				"and nothing is spent.")
	}
	f := runFlags{trials: trials}
	planned, err := f.plan([]string{"tracing-cost"}, found)
	if err != nil {
		return usage(err)
	}
	path, err := os.MkdirTemp("", "reuseport-bench-")
	if err != nil {
		return notMeasured(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(path)) }()
	dir, err := harness.VacantDirectory(path)
	if err != nil {
		return notMeasured(err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	stderr := c.ErrOrStderr()
	fmt.Fprintln(stderr, planned.Summary())
	p := newProgress(stderr)
	run, err := harness.Run(ctx, planned, harness.RunConfig{
		Roles: roles(), Version: version(), Directory: dir, Capabilities: capabilities(found),
		Progress: p.show,
	})
	p.close()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return notMeasured(err)
	}
	return printCost(c.OutOrStdout(), s.width, run.Scenarios[0])
}

// printCost holds the variant with tracing against the one without.
func printCost(w io.Writer, width int, s *results.Scenario) error {
	off := s.BaselineVariant()
	on := s.Variants[slices.IndexFunc(s.Variants, func(v *results.Variant) bool { return v != off })]
	var events, dropped int64
	for _, t := range on.ValidTrials() {
		if t.Trace == nil || t.Trace.Unavailable != "" {
			return notMeasured(fmt.Errorf("the kernel was not asked: %s", unavailable(t)))
		}
		events, dropped = events+t.Trace.Events, dropped+t.Trace.Dropped
	}
	if len(on.ValidTrials()) < s.MinValid || len(off.ValidTrials()) < s.MinValid {
		return notMeasured(fmt.Errorf("%d and %d valid trials, and %d are needed: the machine is too busy", len(off.ValidTrials()), len(on.ValidTrials()), s.MinValid))
	}
	var rows [][]string
	for _, m := range costMetrics {
		d, ok := compare.Variants(on, off, m.metric, stats.Confidence)
		if !ok {
			continue
		}
		ratio := d.Change
		text := fmt.Sprintf("%.3f", ratio.Center)
		if ratio.Lo != nil && ratio.Hi != nil {
			text += fmt.Sprintf(" [%.3f, %.3f]", *ratio.Lo, *ratio.Hi)
		}
		rows = append(rows, []string{m.name, centerMicroseconds(off, m.metric), centerMicroseconds(on, m.metric), text})
	}
	heads := []string{"tracing of losses", "off [µs]", "on [µs]", "on ÷ off, paired [95 %]"}
	if err := document.WriteTable(w, width, heads, rows); err != nil {
		return err
	}
	pairs := min(len(on.ValidTrials()), len(off.ValidTrials()))
	return document.Fold(w, width, fmt.Sprintf("%s of trials; %s, of which %d found no room.",
		unit.Plural(pairs, "pair"), unit.Plural(events, "event"), dropped))
}

func unavailable(t *results.Trial) string {
	if t.Trace == nil {
		return "no reason recorded"
	}
	return t.Trace.Unavailable
}

func centerMicroseconds(v *results.Variant, metric string) string {
	s, ok := v.Summary[metric]
	if !ok {
		return "–"
	}
	return unit.Digits(s.Center/1e3, 4)
}

// probeOptions lets the probes use a child in a user namespace.
func probeOptions() doctor.Options {
	return doctor.Options{UserNamespaceChild: []string{"/proc/self/exe", roleProbe}}
}

func diagnose(w io.Writer, width int, found []doctor.Result) error {
	var rows [][]string
	lab := false
	for _, r := range found {
		detail := r.Detail
		if r.Hint != "" && r.Status != doctor.Yes {
			detail += "; " + r.Hint
		}
		rows = append(rows, []string{r.Name, string(r.Status), r.What, detail})
		if r.Status == doctor.Yes && (r.Name == doctor.NetNamespace || r.Name == doctor.UserNamespace) {
			lab = true
		}
	}
	heads := []string{"probe", "works", "for", "found"}
	if err := document.WriteTable(w, width, heads, rows); err != nil {
		return err
	}
	if !lab {
		return notMeasured(fmt.Errorf("no lab can be made here: neither root's network namespaces nor user namespaces are allowed"))
	}
	return nil
}

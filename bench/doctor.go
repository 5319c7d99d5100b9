package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

func newDoctor(s *session) *cobra.Command {
	measure, asJSON, trials := false, false, ""
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel can and cannot do, by trying",
		Long: `Doctor tries each thing that the program may need, in namespaces of its own, and says what it
found: yes, no, or unknown where it could not be tried. What is missing is a hint, not an error; only
a machine on which no trial can be run at all ends with status 3.

With --measure it measures what the program's own instrument costs instead: the same load with the
tracing of losses off and on, in turn.`,
		Args: takes(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if trials != "" && !measure {
				return usagef(c, "--trials goes with --measure")
			}
			if err := exclusive(c, "what it measures is a table", "measure", "json"); err != nil {
				return err
			}
			ctx, done := s.begin(c.Context())
			defer done()
			found, err := examine(ctx, nil)
			switch {
			case err != nil:
				return err
			case measure:
				return measureTracing(ctx, c, s, found, trials)
			}
			done()
			if asJSON {
				return diagnoseJSON(c.OutOrStdout(), found)
			}
			return diagnose(c.OutOrStdout(), s.width, found)
		},
	}
	c.Flags().BoolVar(&measure, "measure", false,
		"measure what tracing costs: about a minute, as root")
	c.Flags().StringVar(&trials, "trials", "", "with --measure: number of pairs, instead of 12")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: results/README.md has its form")
	return c
}

// costMetrics are the metrics that tracing may change.
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
	p := newProgress(stderr, planned)
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

// printCost compares the variant with tracing to the one without.
func printCost(w io.Writer, width int, s *results.Scenario) error {
	off := s.BaselineVariant()
	isOn := func(v *results.Variant) bool { return v != off }
	on := s.Variants[slices.IndexFunc(s.Variants, isOn)]
	var events, dropped int64
	for _, t := range on.ValidTrials() {
		if t.Trace == nil || t.Trace.Unavailable != "" {
			return notMeasured(fmt.Errorf("the kernel was not asked: %s", unavailable(t)))
		}
		events, dropped = events+t.Trace.Events, dropped+t.Trace.Dropped
	}
	if n, m := len(off.ValidTrials()), len(on.ValidTrials()); min(n, m) < s.MinValid {
		return notMeasured(fmt.Errorf("%d and %d valid trials, and %d are needed: the machine is "+
			"too busy", n, m, s.MinValid))
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
		rows = append(rows, []string{
			m.name, centerMicroseconds(off, m.metric), centerMicroseconds(on, m.metric), text,
		})
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

// probeOptions returns options that let probes start this program as a child in a user namespace.
func probeOptions() doctor.Options {
	return doctor.Options{UserNamespaceChild: []string{"/proc/self/exe", roleProbe}}
}

// programs lists the programs that scenarios start, installed and missing. Other programs read its
// JSON form.
type programs struct {
	Installed []string          `json:"installed"`
	Missing   map[string]string `json:"missing"` // how to install each missing program
}

// serverPrograms looks for the programs that the scenarios start.
func serverPrograms() (found []doctor.Result, s programs, err error) {
	s = programs{Installed: []string{}, Missing: map[string]string{}}
	machine, err := thisMachine(nil)
	if err != nil {
		return nil, s, err
	}
	p, err := planAll(machine)
	if err != nil {
		return nil, s, err
	}
	found = findCommands(p)
	for i, name := range p.Commands() {
		if found[i].Status == doctor.Yes {
			s.Installed = append(s.Installed, name)
		} else {
			s.Missing[name] = found[i].Hint
		}
	}
	return found, s, nil
}

// String describes the programs in one line. It returns "" if no scenario starts any.
func (s programs) String() string {
	text := ""
	if len(s.Installed) > 0 {
		text = "Servers installed: " + strings.Join(s.Installed, ", ") + ". "
	}
	if len(s.Missing) > 0 {
		var missing []string
		for _, name := range slices.Sorted(maps.Keys(s.Missing)) {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, s.Missing[name]))
		}
		text += "Not installed: " + strings.Join(missing, ", ") + "."
	}
	return strings.TrimSpace(text)
}

// runnable counts the scenarios that can run here. Other programs read its JSON form.
type runnable struct {
	Scenarios int      `json:"scenarios"`
	CanRun    int      `json:"can_run"` // scenarios of which at least one variant can run
	InPart    int      `json:"in_part"` // how many of CanRun also have variants that cannot run
	Missing   []string `json:"missing"` // what the other scenarios need, and why it is missing
	// NeedRoot is the number of variants that are skipped here and need root.
	NeedRoot int `json:"variants_needing_root"`
	// MayNotCount names the probes that warn that trials may be invalid here.
	MayNotCount []string `json:"may_not_count"`

	// others lists the elements of Missing that running as root would not provide.
	others []string
}

// whatCanRun returns how many of the scenarios can run here, and what the other scenarios need.
func whatCanRun(found []doctor.Result) (runnable, error) {
	can := runnable{Scenarios: len(scenarios.Names()), Missing: []string{}, MayNotCount: []string{}}
	if why := noTrial(found); why != "" {
		can.Missing = append(can.Missing, why)
		can.others = can.Missing
		return can, nil
	}
	machine, err := thisMachine(found)
	if err != nil {
		return can, err
	}
	all, err := loadScenarios(scenarios.Names())
	if err != nil {
		return can, err
	}
	missing, others := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{})
		if err != nil {
			missing[err.Error()], others[err.Error()] = true, true
			continue
		}
		skipped, variants := 0, p.Scenarios[0].Variants
		for _, v := range variants {
			if v.Skipped != "" {
				skipped++
				why := strings.TrimSuffix(v.Skipped, "; see 'doctor'")
				missing[why] = true
				if slices.ContainsFunc(v.Needs(), vocabulary.Capability.NeedsRoot) {
					can.NeedRoot++
				} else {
					others[why] = true
				}
			}
		}
		if skipped < len(variants) {
			can.CanRun++
		}
		if skipped > 0 && skipped < len(variants) {
			can.InPart++
		}
	}
	can.Missing = slices.AppendSeq(can.Missing, slices.Values(slices.Sorted(maps.Keys(missing))))
	can.others = slices.Sorted(maps.Keys(others))
	busy := []string{doctor.IdleCPUs, doctor.WholeCPUs, doctor.CPUs}
	for _, r := range found {
		if r.Status == doctor.No && slices.Contains(busy, r.Name) {
			can.MayNotCount = append(can.MayNotCount, r.Name)
		}
	}
	return can, nil
}

// text describes what can run here, what root would add (unless asRoot), which probes warn that
// trials may be invalid, and the command to use next.
func (can runnable) text(asRoot bool) string {
	text := fmt.Sprintf("%d of %d scenarios can run", can.CanRun, can.Scenarios)
	if can.InPart > 0 {
		text += fmt.Sprintf(", %d of them in part", can.InPart)
	}
	missing := slices.Clone(can.others)
	if asRoot {
		missing = slices.Clone(can.Missing)
	}
	// Leave out missing programs: the line about servers lists them.
	isProgram := func(why string) bool { return strings.HasPrefix(why, plan.MissingCommand("")) }
	if missing = slices.DeleteFunc(missing, isProgram); len(missing) > 0 {
		text += "; missing: " + strings.Join(missing, "; ")
	}
	text += "."
	if can.NeedRoot > 0 && !asRoot {
		text += fmt.Sprintf(" Root would add %s, which use eBPF or several user ids, and the "+
			"kernel's reasons for losses.", unit.Plural(can.NeedRoot, "variant"))
	}
	if len(can.MayNotCount) > 0 {
		text += " Trials may not count: see " + strings.Join(can.MayNotCount, ", ") + "."
	}
	if can.CanRun > 0 {
		text += " Next, run the default suite: " + command.Line("run")
	}
	return text
}

// noTrial returns the reason why no trial can run here, or "" if trials can.
func noTrial(found []doctor.Result) string {
	status := map[string]doctor.Status{}
	for _, r := range found {
		status[r.Name] = r.Status
	}
	switch {
	case status[doctor.NetNamespace] != doctor.Yes && status[doctor.UserNamespace] != doctor.Yes:
		return "a lab: neither root's network namespaces nor user namespaces are allowed (in a " +
			"container see docs/containers.md)"
	case status[doctor.NetSysctl] == doctor.No:
		return "the sysctls of a lab cannot be set, see " + doctor.NetSysctl
	}
	return ""
}

// diagnose prints what was found, which servers are installed and, in the last line, what can run.
func diagnose(w io.Writer, width int, found []doctor.Result) error {
	var rows [][]string
	for _, r := range found {
		detail := r.Detail
		if r.Hint != "" && r.Status != doctor.Yes {
			detail += "; " + r.Hint
		}
		rows = append(rows, []string{r.Name, string(r.Status), r.What, detail})
	}
	heads := []string{"probe", "works", "for", "found"}
	if err := document.WriteTable(w, width, heads, rows); err != nil {
		return err
	}
	commands, servers, err := serverPrograms()
	if err != nil {
		return err
	}
	can, err := whatCanRun(slices.Concat(found, commands))
	if err != nil {
		return err
	}
	if text := servers.String(); text != "" {
		if err := document.Fold(w, width, "\n"+text+"\n"); err != nil {
			return err
		}
	}
	if err := document.Fold(w, width, "\n"+can.text(netlab.AsRoot())+"\n"); err != nil {
		return err
	}
	return diagnosis(found)
}

// diagnoseJSON prints what diagnose prints, as JSON.
func diagnoseJSON(w io.Writer, found []doctor.Result) error {
	commands, servers, err := serverPrograms()
	if err != nil {
		return err
	}
	can, err := whatCanRun(slices.Concat(found, commands))
	if err != nil {
		return err
	}
	err = writeJSON(w, map[string]any{"probes": found, "servers": servers, "scenarios": can})
	if err != nil {
		return err
	}
	return diagnosis(found)
}

// diagnosis returns an error if no trial can run here.
func diagnosis(found []doctor.Result) error {
	if why := noTrial(found); why != "" {
		return notMeasured(errors.New("no trial can be run here; missing: " + why))
	}
	return nil
}

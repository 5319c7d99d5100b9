package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/input"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// scenarioList names the run's scenarios.
func scenarioList(run *results.Run) string {
	if len(run.Scenarios) == 0 {
		return "none"
	}
	var out []string
	for _, s := range run.Scenarios {
		out = append(out, input.Name(s.Name))
	}
	return strings.Join(out, ", ")
}

// runDocument returns the whole report: the verdict, each scenario, the claims, and the environment
// of the measurement.
func runDocument(run *results.Run, opts Options) (*document.Document, error) {
	scenarios, err := opts.Select(run)
	if err != nil {
		return nil, err
	}
	d := &document.Document{}
	d.Heading(1, title(scenarios)+": "+plainVerdict(run, scenarios))
	d.Paragraph(fmt.Sprintf("%s %s, %s", run.Program, run.Version, startText(run)))
	if run.FinishedAt == nil {
		d.Paragraph(interruptedText(scenarios))
	}
	d.List(run.Warnings)
	adviceBlocks(d, run)
	for _, s := range scenarios {
		scenarioBlocks(d, s)
	}
	claimBlocks(d, run)
	d.Heading(2, "Where it was measured")
	d.List(environment(run))
	return d, nil
}

// fewScenarios is the largest number of scenarios that a title names. For more scenarios, the title
// gives their number.
const fewScenarios = 3

// title names the scenarios in the title of the report.
func title(scenarios []*results.Scenario) string {
	if len(scenarios) == 0 || len(scenarios) > fewScenarios {
		return unit.Plural(len(scenarios), "scenario")
	}
	var all []string
	for _, s := range scenarios {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}

// startText gives the time at which a run began.
func startText(run *results.Run) string {
	return run.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC")
}

// interruptedText describes the progress of an unfinished run.
func interruptedText(scenarios []*results.Scenario) string {
	return "INTERRUPTED, or still running: " + Progress(scenarios) + ". All figures are of " +
		"those alone."
}

// Progress gives the number of trials that an unfinished run has done, and the number that were
// planned.
func Progress(scenarios []*results.Scenario) string {
	done, planned := 0, 0
	for _, s := range scenarios {
		blocks := s.Trials
		if len(s.Looks) > 0 { // blocks were added while gates were undecided
			for _, v := range s.Variants {
				for _, t := range v.Trials {
					blocks = max(blocks, t.Block+1)
				}
			}
		}
		for _, v := range s.Variants {
			if v.SkippedReason == nil {
				done += len(v.Trials)
				planned += blocks
			}
		}
	}
	return fmt.Sprintf("%d of %s done", done, unit.Plural(planned, "planned trial"))
}

// environment lists what may have influenced a figure, one line each.
func environment(run *results.Run) []string {
	e := run.Environment
	where := "inside a user namespace (unprivileged)"
	if e.Privileged {
		where = "privileged"
	}
	items := []string{
		fmt.Sprintf("kernel %s, %s, %s", e.Kernel, e.Go, where),
		fmt.Sprintf("%s (%s): load on %s, servers on %s%s", unit.Plural(e.CPUs, "CPU"), e.CPUModel,
			cpuSet(e.LoadCPUs), cpuSet(e.ServerCPUs), harnessPlace(run)),
	}
	if m := e.Machine; m != nil {
		items = append(items, cpuFacts(m))
	}
	items = append(items, "seed "+strconv.FormatUint(run.Seed, 10))
	if run.FinishedAt != nil {
		items[len(items)-1] += ", took " +
			run.FinishedAt.Sub(run.StartedAt).Round(time.Second).String()
	}
	if e.HAProxy != "" {
		items = append(items, "HAProxy "+e.HAProxy)
	}
	var sysctls, lacking []string
	if others, no := strings.CutPrefix(e.Capabilities[idleCPUs], "no: "); no {
		items = append(items, "before the run "+others)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Sysctls)) {
		sysctls = append(sysctls, name+"="+e.Sysctls[name])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Capabilities)) {
		if reason := e.Capabilities[name]; reason != "yes" && !slices.Contains(states, name) {
			lacking = append(lacking, fmt.Sprintf("%s (%s)", name, reason))
		}
	}
	if len(sysctls) > 0 {
		items = append(items, "sysctls in the lab: "+strings.Join(sysctls, " "))
	}
	if len(lacking) > 0 {
		items = append(items, "not available here: "+strings.Join(lacking, ", "))
	}
	return items
}

// idleCPUs is the name of the probe of 'doctor' for the CPU time used by other programs.
const idleCPUs = "idle_cpus"

// states are the probes that describe the machine, not what it can do. cpuFacts reports the same
// facts.
var states = []string{idleCPUs, "cores", "cpu_governor", "whole_cpus"}

// cpuFacts describes the groups of CPUs, and what else determines their speed.
func cpuFacts(m *results.Machine) string {
	facts := []string{unit.Plural(m.Cores, "physical core")}
	if len(m.Capacities) > 1 {
		facts[0] += fmt.Sprintf(" of %d kinds", len(m.Capacities))
	}
	if m.Nodes > 1 {
		facts[0] += fmt.Sprintf(" on %d memory nodes", m.Nodes)
	}
	if m.QuotaCPUs != nil {
		facts = append(facts, fmt.Sprintf("a quota of %.4g CPUs", *m.QuotaCPUs))
	}
	if len(m.Governors) > 0 {
		facts = append(facts, "frequency governor "+strings.Join(m.Governors, ", "))
	}
	switch m.Virtual {
	case "":
	case "yes":
		facts = append(facts, "in a virtual machine")
	default:
		facts = append(facts, "in a virtual machine ("+m.Virtual+")")
	}
	return strings.Join(facts, ", ")
}

// harnessPlace names the CPUs to which the harness was bound during the load, and the CPUs on which
// its threads had last run when the load ended. It returns "" if the harness was not bound.
func harnessPlace(run *results.Run) string {
	e := run.Environment
	if len(e.HarnessCPUs) == 0 {
		return ""
	}
	place := ", the harness on " + cpuSet(e.HarnessCPUs)
	switch {
	case e.CPUs == 1:
		place += " (the only one: they disturb each other)"
	case slices.Equal(e.HarnessCPUs, e.LoadCPUs):
		place += " (the load's)"
	}
	trials, elsewhere := 0, 0
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				if t.Threads == nil {
					continue
				}
				trials++
				other := func(cpu int) bool { return !slices.Contains(e.HarnessCPUs, cpu) }
				if slices.ContainsFunc(t.Threads.Ran, other) {
					elsewhere++
				}
			}
		}
	}
	switch {
	case trials == 0:
	case elsewhere == 0:
		place += ", as read back after each trial"
	default:
		place += fmt.Sprintf(", but after %d of %s one of its threads had run elsewhere",
			elsewhere, unit.Plural(trials, "trial"))
	}
	return place
}

// cpuSet writes CPU numbers in the syntax of the kernel's lists: "0-2,5".
func cpuSet(cpus []int) string {
	if len(cpus) == 0 {
		return "any"
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(cpus)))
	var parts []string
	for first := 0; first < len(sorted); {
		last := first
		for last+1 < len(sorted) && sorted[last+1] == sorted[last]+1 {
			last++
		}
		part := strconv.Itoa(sorted[first])
		if last > first {
			part += "-" + strconv.Itoa(sorted[last])
		}
		parts = append(parts, part)
		first = last + 1
	}
	return strings.Join(parts, ",")
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results/report/document"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

func newList(s *session) *cobra.Command {
	var namesOnly, asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios: what each asks, how long it takes, what it needs",
		Long: `List prints the scenarios by what you run: the question that each answers, how long it takes
without repeats of invalid trials, how many of its variants need root, and what is missing here.`,
		Args: takes(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := exclusive(c, "names are text", "names", "json"); err != nil {
				return err
			}
			w := c.OutOrStdout()
			if namesOnly {
				_, err := fmt.Fprintln(w, strings.Join(scenarios.Names(), "\n"))
				return err
			}
			ctx, done := s.begin(c.Context())
			defer done()
			all, err := listScenarios(ctx)
			if err != nil {
				return err
			}
			done()
			if asJSON {
				return writeJSON(w, map[string]any{"scenarios": all})
			}
			return printList(w, s.width, all)
		},
	}
	c.Flags().BoolVar(&namesOnly, "names", false, "print the names alone, one a line")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: results/README.md has its form")
	return c
}

// A listed value describes a scenario in the output of the subcommand list. Other programs read its
// JSON form.
type listed struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	Question string `json:"question"`
	Default  bool   `json:"default_suite"`
	Variants int    `json:"variants"`
	Trials   int    `json:"trials"` // total of all variants
	// ExpectedNS is the expected duration of the run, as --dry-run computes it.
	ExpectedNS int64 `json:"expected_ns"`
	// NeedRoot is the number of variants that need root.
	NeedRoot int `json:"variants_needing_root"`
	// Skipped is the number of variants that would be skipped here. Missing lists the capabilities
	// that those variants need and this machine lacks, by the names of doctor's probes.
	Skipped int      `json:"variants_skipped_here"`
	Missing []string `json:"missing_here"`
}

// listScenarios probes what the scenarios need, and then describes them group by group.
func listScenarios(ctx context.Context) ([]listed, error) {
	machine, err := thisMachine(nil)
	if err != nil {
		return nil, err
	}
	p, err := planAll(machine)
	if err != nil {
		return nil, err
	}
	options := probeOptions()
	options.Only = neededProbes(p)
	found := doctor.Examine(ctx, options)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	for _, r := range append(found, findCommands(p)...) {
		missing[r.Name] = r.Status == doctor.No
	}
	return describeScenarios(p, missing), nil
}

// planAll plans every scenario for a machine.
func planAll(machine plan.Machine) (*plan.Plan, error) {
	all, err := loadScenarios(scenarios.Names())
	if err != nil {
		return nil, err
	}
	return plan.New(all, 1, machine, plan.Options{})
}

// neededProbes returns the names of the probes for everything that any variant needs.
func neededProbes(p *plan.Plan) (names []string) {
	for _, s := range p.Scenarios {
		for _, v := range s.Variants {
			for _, c := range slices.Concat(v.Needs(), tripNeeds(v)) {
				if !slices.Contains(names, string(c)) {
					names = append(names, string(c))
				}
			}
		}
	}
	return names
}

// tripNeeds returns the capabilities for delaying packets if the variant has a round trip. Any one
// of them is enough.
func tripNeeds(v *plan.Variant) []vocabulary.Capability {
	if v.RoundTrip == nil {
		return nil
	}
	return []vocabulary.Capability{vocabulary.Netem, vocabulary.TUN}
}

// describeScenarios describes the scenarios of a plan in the order of their groups.
func describeScenarios(p *plan.Plan, missing map[string]bool) (all []listed) {
	planned := map[string]*plan.Scenario{}
	for _, s := range p.Scenarios {
		planned[s.Spec.Name] = s
	}
	for _, group := range scenarios.Groups() {
		for _, name := range group.Names {
			s := planned[name]
			l := listed{
				Name: name, Group: group.Title, Question: s.Spec.About,
				Default:  slices.Contains(scenarios.Default(), name),
				Variants: len(s.Variants), Trials: len(s.Trials),
				ExpectedNS: int64(s.Duration()), Missing: []string{},
			}
			for _, v := range s.Variants {
				l.add(v, missing)
			}
			slices.Sort(l.Missing)
			l.Missing = slices.Compact(l.Missing)
			all = append(all, l)
		}
	}
	return all
}

// add counts a variant in NeedRoot and Skipped, and adds the capabilities that it lacks to Missing.
func (l *listed) add(v *plan.Variant, missing map[string]bool) {
	if slices.ContainsFunc(v.Needs(), vocabulary.Capability.NeedsRoot) {
		l.NeedRoot++
	}
	var needs []string
	for _, c := range v.Needs() {
		needs = append(needs, string(c))
	}
	for _, program := range v.Commands() {
		needs = append(needs, plan.MissingCommand(program))
	}
	lacks := slices.DeleteFunc(needs, func(name string) bool { return !missing[name] })
	if trip := tripNeeds(v); len(trip) > 0 && missing[string(trip[0])] && missing[string(trip[1])] {
		lacks = append(lacks, string(trip[0]), string(trip[1]))
	}
	if len(lacks) > 0 {
		l.Skipped++
	}
	l.Missing = append(l.Missing, lacks...)
}

// takes formats the expected duration, rounded to seconds.
func (l *listed) takes() string {
	return strictyaml.FormatDuration(time.Duration(l.ExpectedNS).Round(time.Second))
}

// needs describes how many variants need root, and what else is missing here.
func (l *listed) needs() string {
	byRoot := func(name string) bool { return vocabulary.Capability(name).NeedsRoot() }
	others := slices.DeleteFunc(slices.Clone(l.Missing), byRoot)
	switch {
	case len(others) > 0:
		text := fmt.Sprintf("%s: missing here, %s skipped", strings.Join(others, ", "),
			l.share(l.Skipped))
		if l.NeedRoot > 0 {
			text = fmt.Sprintf("root for %s; %s", l.share(l.NeedRoot), text)
		}
		return text
	case l.Skipped > 0:
		return fmt.Sprintf("root: %s skipped here", l.share(l.Skipped))
	case l.NeedRoot > 0:
		return "root for " + l.share(l.NeedRoot)
	}
	return ""
}

// share formats n, a number of variants, as "all n" or as "n of" the scenario's variants.
func (l *listed) share(n int) string {
	if n == l.Variants {
		return fmt.Sprintf("all %d", n)
	}
	return fmt.Sprintf("%d of %d", n, l.Variants)
}

// about returns the scenario's question, and marks scenarios of the default suite.
func (l *listed) about() string {
	if l.Default {
		return l.Question + " (default suite)"
	}
	return l.Question
}

// byGroup returns the scenarios group by group.
func byGroup(all []listed) (groups [][]listed) {
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(l listed) bool { return l.Group != all[0].Group })
		if n < 0 {
			n = len(all)
		}
		groups, all = append(groups, all[:n]), all[n:]
	}
	return groups
}

// printList prints a table for each group, and the commands to use next.
func printList(w io.Writer, width int, all []listed) error {
	skipped := 0
	for _, group := range byGroup(all) {
		var rows [][]string
		for _, l := range group {
			rows = append(rows, []string{l.Name, l.takes(), l.about(), l.needs()})
			skipped += l.Skipped
		}
		heads := []string{group[0].Group, "takes", "question", "needs"}
		if err := document.WriteTable(w, width, heads, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	hint := "'run NAME' runs a scenario, 'show NAME' has its settings and variants, " +
		"'init' writes one of your own."
	if skipped > 0 {
		hint += " 'doctor' says why something is missing, and how to get it."
	}
	return document.Fold(w, width, hint+"\n")
}

// scenariosMarkdown returns the tables of scenarios for the documents, for a machine that lacks
// nothing: servers has the scenarios for real servers, and own the others, with a heading for each
// group.
func scenariosMarkdown() (own, servers string, err error) {
	p, err := planAll(plan.Machine{CPUs: []int{0, 1}})
	if err != nil {
		return "", "", err
	}
	var tables []string
	for _, group := range byGroup(describeScenarios(p, nil)) {
		if title := group[0].Group; title == scenarios.ServerGroup {
			servers = groupMarkdown(group)
		} else {
			tables = append(tables, "**"+title+"**\n\n"+groupMarkdown(group))
		}
	}
	return strings.Join(tables, "\n"), servers, nil
}

// groupMarkdown returns the table of a group.
func groupMarkdown(group []listed) string {
	var b strings.Builder
	b.WriteString("| scenario | question | takes |\n|---|---|---|\n")
	for _, l := range group {
		question := l.about()
		if l.NeedRoot > 0 {
			question += fmt.Sprintf(" Needs root: %s.", l.share(l.NeedRoot))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n",
			l.Name, document.EscapeMarkdown(question), l.takes())
	}
	return b.String()
}

// writeJSON prints a value as indented JSON.
func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

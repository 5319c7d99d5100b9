package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// runsDir is the default directory for runs, relative to the current directory.
const runsDir = "results/runs"

// quickBudget is the time that --quick allows a scenario, including repeats of invalid trials.
const quickBudget = 40 * time.Second

// autoBudget is the default time that a scenario may take with --trials auto.
const autoBudget = 5 * time.Minute

// trialsAuto is the value of --trials that adds blocks until the gates are decided.
const trialsAuto = "auto"

// maxTrials is the maximum of --trials. Scenario files have the same maximum.
const maxTrials = 1000

type runFlags struct {
	trials string
	budget time.Duration
	// budgetSet reports whether --budget was given.
	budgetSet bool
	seed      uint64
	quick     bool
	only      []string
	out       string
	dryRun    bool
	json      bool
	resume    string
	keepFacts bool
	cpus      string
	keepGoing bool
	server    serverFlags
}

func newRun(s *session) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [NAME|FILE.yaml …]",
		Short: "Run scenarios, print the report, and keep the results",
		Long: `Run runs the named scenarios (see 'list'), or YAML files of your own, or without any the
default suite. Trials are run in blocks, one trial of each variant in random order. Invalid trials
are shown with their reasons and repeated, at most three for eight that were planned.

Standard output gets one screen: what was found, in sentences and a table. 'report --full' prints
all tables. The results, and the report as a page, go to a new directory under ` + runsDir + `.
An interrupted run keeps every trial that had ended: 'report' reads it, --resume continues it.

With --server it needs no scenario. It starts the command here, in a private network, restarts it
under load, and says what that loses. The scenario is kept with the results.`,
		Example: `  reuseport-bench run
  reuseport-bench run restart stall --quick
  reuseport-bench run --server 'python3 app.py' --restart stop-start --ready /health
  reuseport-bench run --server 'gunicorn -b {{address}} app:app' --restart HUP`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := cmp.Or(
				exclusive(c, "a run goes on in its own directory", "out", "resume"),
				exclusive(c, "the plan is text", "json", "dry-run"),
				exclusive(c, "a run goes on with its own seed", "resume", "seed"),
				exclusive(c, "a run goes on with its own number of blocks", "resume", "quick"),
				exclusive(c, "a resumed run keeps its CPUs", "resume", "cpus"),
				exclusive(c, "a resumed run has its scenario", "resume", "server"),
				f.server.check(c, args),
			); err != nil {
				return err
			}
			f.budgetSet = c.Flags().Changed("budget")
			// If the run to resume kept facts, continue to keep them.
			if f.resume != "" && !c.Flags().Changed("keep-facts") {
				f.keepFacts = harness.HasFacts(f.resume)
			}
			if auto := f.trials == trialsAuto; f.budgetSet && !auto && f.resume == "" {
				return usagef(c, "--budget: how long to add trials; it needs --trials auto")
			} else if auto && f.quick {
				return usagef(c, "--quick and --trials auto: one bounds the time, the other adds "+
					"to it; use --budget")
			}
			return runScenarios(c, s, args, f)
		},
	}
	c.Flags().StringVar(&f.trials, "trials", "",
		"number of blocks, instead of the scenarios' own; auto: as many as the gates need")
	c.Flags().DurationVar(&f.budget, "budget", autoBudget,
		"with --trials auto, how long a scenario may take")
	c.Flags().Uint64Var(&f.seed, "seed", 0,
		"seed of the order of trials (default: random, and recorded)")
	c.Flags().BoolVar(&f.quick, "quick", false, "at most a minute per scenario: fewer blocks, "+
		"wider intervals; gates need as many as ever; a run that is shorter, as --server's "+
		"usually is, stays as it is")
	c.Flags().StringArrayVar(&f.only, "only", nil,
		"only variants with this label, KEY=VALUE, or of this name, \"reuseport · close\"; "+
			"may be repeated")
	c.Flags().StringVar(&f.out, "out", "",
		"run directory, new or empty (default: "+runsDir+"/TIME)")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the plan and do nothing")
	c.Flags().BoolVar(&f.json, "json", false, "print run.json instead of the report")
	c.Flags().BoolVar(&f.keepFacts, "keep-facts", false, "keep what each trial is judged by; "+
		"takes 1.2 MB per 1000 attempts; --resume continues as the run began")
	c.Flags().StringVar(&f.cpus, "cpus", "", "CPUs of load, servers and this program: "+
		"load=LIST,servers=LIST[,harness=LIST], for example load=0,servers=2-5 "+
		"(default: whole cores, of one kind and one memory node; see --dry-run)")
	c.Flags().BoolVar(&f.keepGoing, "keep-going", false,
		"do not stop a scenario whose first two blocks have no valid trial")
	f.server.add(c)
	c.Flags().StringVar(&f.resume, "resume", "", "go on with the unfinished run in this directory")
	completeScenarios(c, math.MaxInt)
	completeFlag(c, "only", labelsOfScenarios)
	completeFlag(c, "resume", always(unfinishedRuns))
	completeFlag(c, "trials", always(func() []string { return []string{trialsAuto} }))
	return c
}

func runScenarios(c *cobra.Command, s *session, names []string, f runFlags) (err error) {
	// Report bad input before anything is started.
	planned, err := f.plan(names, nil)
	if err != nil {
		return usage(err)
	}
	if f.dryRun {
		sayRenamed(c.ErrOrStderr(), names)
		return describe(c.OutOrStdout(), s.width, planned)
	}
	// From here on the lab needs namespaces. If the user is not root, a child process creates them.
	ctx, done := s.begin(c.Context())
	defer done()
	if here, err := enter(ctx); err != nil || !here {
		return err
	}
	dir, err := f.directory()
	if err != nil {
		return usage(err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	used := planned.CPUs
	found, err := examine(ctx, slices.Concat(used.Load, used.Servers, used.Harness))
	if err != nil {
		return err
	}
	found = append(found, findCommands(planned)...)
	f.seed = planned.Seed
	if planned, err = f.plan(names, found); err != nil {
		return usage(err)
	}
	stderr := c.ErrOrStderr()
	var text []byte
	if f.server.given() {
		if err := f.server.rehearse(ctx, stderr, planned, dir.Path()); err != nil {
			return err
		}
		if planned, err = f.plan(names, found); err != nil {
			return usage(err)
		}
		if _, text, err = f.server.scenario(); err != nil {
			return err
		}
	}
	sayRenamed(stderr, names)
	fmt.Fprintf(stderr, "%s; results go to %s\n", planned.Summary(), command.Quote(dir.Path()))
	for _, note := range planned.CPUs.Notes {
		fmt.Fprintln(stderr, "CPUs: "+note)
	}
	if text := doctor.Surroundings(found); text != "" {
		fmt.Fprintln(stderr, "this machine: "+text)
	}
	p := newProgress(stderr, planned)
	run, err := harness.Run(ctx, planned, harness.RunConfig{
		Roles: roles(), Version: version(), Directory: dir, KeepFacts: f.keepFacts,
		Capabilities: capabilities(found), Scenarios: scenarios.Names(), Progress: p.show,
		KeepGoing: f.keepGoing, Scenario: text,
	})
	p.close()
	if err != nil {
		return f.unfinished(ctx, stderr, run, dir.Path(), err)
	}
	done()
	// Even if the reader of standard output has exited, print the rest to standard error.
	signal.Ignore(syscall.SIGPIPE)
	page, pageErr := writePage(dir.Path(), run)
	if pageErr != nil {
		fmt.Fprintf(stderr, "the report as a page: %v\n", pageErr)
	}
	judged := verdict(run, planned)
	if f.json {
		err = report.JSON(c.OutOrStdout(), run, report.Options{})
	} else {
		options := s.reportOptions()
		options.Path, options.Page = dir.Path(), page
		err = report.Brief(c.OutOrStdout(), run, options)
		judged = inShort(judged, run, planned)
	}
	if f.json || err != nil { // otherwise Brief has printed the directory
		fmt.Fprintf(stderr, "results are in %s; to print them: %s\n", command.Quote(dir.Path()),
			command.Line("report", command.Path(dir.Path())))
	}
	if f.server.given() {
		fmt.Fprintf(stderr, "the scenario is in %s; change it and run it: %s\n",
			command.Quote(f.server.file), command.Line("run", command.Path(f.server.file)))
	}
	if errors.Is(err, syscall.EPIPE) {
		err = nil
	}
	return errors.Join(err, judged)
}

// inShort shortens the error that verdict returned: it leaves out what Brief has printed, and keeps
// the verdict in one line and the advice.
func inShort(err error, run *results.Run, p *plan.Plan) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	text, failed := report.Verdict(run, report.Options{})
	stopped := func(s *results.Scenario) bool { return s.Stopped != "" }
	// Return the whole error if the gates do not explain it, as when all variants were skipped, or
	// if a scenario was stopped: only the whole error says what to do.
	said := strings.Contains(text, "could not measure") || strings.Contains(text, "failed")
	if failed != nil || !said || slices.ContainsFunc(run.Scenarios, stopped) {
		return err
	}
	return &exitError{exit.status, errors.New(text + quickHint(run) + advice(run, p))}
}

// enter calls netlab.Enter, so that labs can be made. It reports whether to continue in this
// process. If a child process did the work and failed, the error has the exit status of that
// process.
func enter(ctx context.Context) (here bool, err error) {
	status, entered, err := netlab.Enter(ctx)
	switch {
	case errors.Is(err, errInterrupted):
		return false, err
	case err != nil:
		return false, notMeasured(err)
	case status != 0:
		return false, &exitError{status: status}
	}
	return !entered, nil
}

// examine probes this machine and measures the load of cpus. If cpus is nil, it measures all usable
// CPUs.
func examine(ctx context.Context, cpus []int) ([]doctor.Result, error) {
	options := probeOptions()
	options.CPUs = slices.Compact(slices.Sorted(slices.Values(cpus)))
	found := doctor.Examine(ctx, options)
	return found, context.Cause(ctx)
}

// findCommands looks for the programs that the servers of a plan need.
func findCommands(p *plan.Plan) (found []doctor.Result) {
	for _, program := range p.Commands() {
		r := doctor.FindCommand(program)
		r.Name, r.What = plan.MissingCommand(program), "scenarios that start it"
		found = append(found, r)
	}
	return found
}

// directory makes the run directory, or opens the directory of the run to resume.
func (f *runFlags) directory() (*harness.Directory, error) {
	switch {
	case f.resume != "":
		return harness.OpenDirectory(f.resume)
	case f.out != "":
		return harness.VacantDirectory(f.out)
	}
	return harness.NewDirectory(filepath.Join(runsDir, time.Now().Format("2006-01-02T15-04-05")))
}

// unfinished prints how many trials of an unfinished run were kept, and how to continue.
func (f *runFlags) unfinished(
	ctx context.Context, stderr io.Writer, run *results.Run, dir string, err error,
) error {
	if run == nil {
		fmt.Fprintln(stderr, "no trial had ended: nothing is kept")
	} else {
		again := []string{"run", "--resume", dir}
		if f.keepFacts {
			again = append(again, "--keep-facts")
		}
		if f.keepGoing {
			again = append(again, "--keep-going")
		}
		if f.json {
			again = append(again, "--json")
		}
		fmt.Fprintf(stderr, "kept: %s; to print them: %s; to go on: %s\n",
			unit.Plural(countTrials(run), "finished trial"),
			command.Line("report", command.Path(dir)), command.Line(again...))
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	return notMeasured(err)
}

func scenarioNames(run *results.Run) (names []string) {
	for _, s := range run.Scenarios {
		names = append(names, s.Name)
	}
	return names
}

func countTrials(run *results.Run) (n int) {
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			n += len(v.Trials)
		}
	}
	return n
}

// describe prints the plan in lines of at most width columns.
func describe(w io.Writer, width int, p *plan.Plan) error {
	var b strings.Builder
	if err := p.Describe(&b); err != nil {
		return err
	}
	return document.Fold(w, width, b.String())
}

// plan loads the scenarios and plans them for this machine. It skips the variants that need a
// capability which is missing according to found. If found is nil, it skips none.
func (f *runFlags) plan(names []string, found []doctor.Result) (*plan.Plan, error) {
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	machine, err := thisMachine(found)
	if err != nil {
		return nil, err
	}
	if f.cpus != "" {
		if machine.Wanted, err = plan.ParsePlacement(f.cpus, machine.CPUs); err != nil {
			return nil, fmt.Errorf("--cpus %s: %w", quoted(f.cpus), err)
		}
	}
	if f.resume != "" {
		return f.planAgain(names, machine, o)
	}
	all, err := f.scenarios(names)
	if err != nil {
		return nil, err
	}
	if o.Only, err = f.labels(all, machine); err != nil {
		return nil, err
	}
	seed := f.seed
	if seed == 0 {
		seed = rand.Uint64()>>12 + 1 // 52 bits, which a JSON number holds exactly
	}
	return plan.New(all, seed, machine, o)
}

// scenarios returns the scenarios to run: the scenario for --server, the named scenarios or, if
// neither is given, the default suite.
func (f *runFlags) scenarios(names []string) ([]*scenarios.Scenario, error) {
	switch {
	case f.server.given():
		s, _, err := f.server.scenario()
		return []*scenarios.Scenario{s}, err
	case len(names) == 0:
		names = scenarios.Default()
	}
	return loadScenarios(names)
}

// labels returns the labels that --only selects.
func (f *runFlags) labels(
	all []*scenarios.Scenario, machine plan.Machine,
) (scenarios.Labels, error) {
	if len(f.only) == 0 {
		return nil, nil
	}
	whole, err := plan.New(all, 1, machine, plan.Options{})
	if err != nil {
		return nil, err
	}
	return parseOnly(f.only, labelsOf(whole))
}

func thisMachine(found []doctor.Result) (plan.Machine, error) {
	cpus, err := kernel.UsableCPUs()
	machine := plan.Machine{
		CPUs: cpus, Topology: kernel.ReadTopology(cpus), Missing: map[string]string{},
	}
	for _, r := range found {
		if r.Status == doctor.No {
			machine.Missing[r.Name] = r.Detail
		}
	}
	return machine, err
}

// options returns the plan options that are set by flags.
func (f *runFlags) options() (o plan.Options, err error) {
	if f.quick {
		o.Budget = quickBudget
	}
	if f.budgetSet && f.budget <= 0 {
		return o, fmt.Errorf("--budget %v: must be more than 0", f.budget)
	}
	o.AutoBudget = f.budget
	switch {
	case f.trials == trialsAuto:
		o.Auto = true
	case f.trials != "":
		o.Trials, err = strconv.Atoi(f.trials)
		if err != nil || o.Trials < 1 || o.Trials > maxTrials {
			return o, fmt.Errorf("--trials %s: must be at least 1 and at most %d, or auto",
				quoted(f.trials), maxTrials)
		}
	}
	return o, nil
}

// capabilities returns the results of the probes in the form of run.json.
func capabilities(found []doctor.Result) map[string]string {
	out := map[string]string{}
	for _, r := range found {
		out[r.Name] = string(r.Status)
		if r.Status != doctor.Yes {
			out[r.Name] += ": " + r.Detail
		}
	}
	return out
}

// loadScenarios loads the named scenarios. A scenario that is named twice is an error. The error
// lists the problems of all scenarios, up to maxListed.
func loadScenarios(names []string) (all []*scenarios.Scenario, err error) {
	var problems []string
	seen := map[string]bool{}
	for _, name := range names {
		s, err := scenarios.Load(name)
		switch {
		case err != nil:
			problems = append(problems, err.Error())
		case seen[s.Name]:
			problems = append(problems,
				fmt.Sprintf("scenario %q is named twice; name it once", s.Name))
		default:
			seen[s.Name] = true
			all = append(all, s)
		}
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(firstOf(problems), "\n"))
	}
	return all, nil
}

// verdict returns nil if everything was measured and every gate passed. p is the plan of the run.
// If p is nil, the error contains no advice.
func verdict(run *results.Run, p *plan.Plan) error {
	var unmeasured, failed, left []string
	for _, s := range run.Scenarios {
		skipped := 0
		if s.Stopped != "" {
			unmeasured = append(unmeasured, fmt.Sprintf(
				"%s was stopped: %s; use --keep-going to run it anyway", s.Name, s.Stopped))
		}
		for _, v := range s.Variants {
			if v.SkippedReason != nil {
				skipped++
			}
			if s.Stopped != "" {
				continue
			}
			// With --quick a scenario has fewer trials, so fewer are needed here. Gates that need
			// more are undecided.
			needed := min(s.MinValid, max(1, s.Trials))
			if n := len(v.ValidTrials()); v.SkippedReason == nil && n < needed {
				unmeasured = append(unmeasured, fmt.Sprintf("%s %s has %s and needs %d%s",
					s.Name, results.LabelString(v.Labels), unit.Plural(n, "valid trial"), needed,
					firstReason(v)))
			}
		}
		if skipped == len(s.Variants) {
			left = append(left, fmt.Sprintf("%s: every variant asked for was skipped: %s",
				s.Name, *s.Variants[0].SkippedReason))
		}
		for _, g := range s.Gates {
			text := fmt.Sprintf("%s %s: %s: %s",
				s.Name, results.LabelString(g.Labels), g.Expect, g.Note)
			switch g.Outcome {
			case results.GateFail:
				failed = append(failed, text)
			case results.GateUndecided:
				if !g.Soft && s.Stopped == "" {
					unmeasured = append(unmeasured, "undecided: "+text)
				}
			}
		}
		if s.Void != "" {
			unmeasured = append(unmeasured, fmt.Sprintf("%s is void: %s", s.Name, s.Void))
		}
	}
	// It is an error if all scenarios were skipped, but not if only some were.
	if len(left) == len(run.Scenarios) {
		unmeasured = append(unmeasured, left...)
	}
	switch {
	case len(unmeasured) > 0:
		all := firstOf(append(unmeasured, failed...))
		return notMeasured(fmt.Errorf("could not measure:\n  %s%s",
			strings.Join(all, "\n  "), quickHint(run)+advice(run, p)))
	case len(failed) > 0:
		all := strings.Join(firstOf(failed), "\n  ")
		return &exitError{exitFailed, fmt.Errorf("gates failed:\n  %s", all)}
	}
	return nil
}

// quickHint returns a hint if the trials of a --quick run are too few for a scenario's gates.
func quickHint(run *results.Run) string {
	for _, s := range run.Scenarios {
		if s.QuickLook() != "" && len(s.Gates) > 0 {
			return "\nfor a verdict run it without --quick"
		}
	}
	return ""
}

// advice returns, for each scenario with more than a third of its trials invalid, what would have
// made more of them valid.
func advice(run *results.Run, p *plan.Plan) (text string) {
	if p == nil {
		return ""
	}
	for _, planned := range p.Scenarios {
		s := run.Scenario(planned.Spec.Name)
		if s == nil || s.Stopped != "" {
			continue
		}
		invalid, trials := 0, []*results.Trial(nil)
		for _, v := range s.Variants {
			n, _ := v.InvalidTrials()
			invalid, trials = invalid+n, append(trials, v.Trials...)
		}
		limits, same := planned.Validity()
		if invalid*3 <= len(trials) || !same {
			continue
		}
		text += fmt.Sprintf("\n%s: %s", s.Name, ledger.Advice(limits, len(p.CPUs.Servers), trials))
	}
	return text
}

// firstReason returns the most common reason why the variant's trials were invalid.
func firstReason(v *results.Variant) string {
	if _, reasons := v.InvalidTrials(); len(reasons) > 0 {
		return ": invalid: " + reasons[0].Reason
	}
	return ""
}

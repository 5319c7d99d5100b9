package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/generators"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
)

type engineFlags struct {
	repeat      int
	seconds     int
	generators  []string
	connections []string
	out         string // a file to write
	from        string // a file to read instead of measuring
}

func newBenchEngine(s *session) *cobra.Command {
	var f engineFlags
	c := &cobra.Command{
		Use:   "bench-engine",
		Short: "Measure the load generator itself, beside others",
		Long: `Bench-engine measures load generators in turn, each on a CPU of its own, against one worker on another that
only answers: our own; the stock vegeta command, where 'make bench-engine' has built it; wrk, hey and h2load,
where they are installed; and a floor, one thread with an epoll set and nothing else.

It is a benchmark and decides nothing. --out writes what was measured to a file, as JSON; --from
prints the tables of such a file again.`,
		Args:   takes(0, 0, ""),
		Hidden: true,
		RunE:   func(c *cobra.Command, _ []string) error { return benchEngine(c, s, f) },
	}
	c.Flags().IntVar(&f.repeat, "repeat", 3,
		"how many quiet rounds are wanted; it makes up to three times as many")
	c.Flags().IntVar(&f.seconds, "seconds", 2, "length of one measurement")
	c.Flags().StringSliceVar(&f.generators, "generator", generators.Names(),
		"which generators: "+strings.Join(generators.Names(), ", "))
	c.Flags().StringSliceVar(&f.connections, "connections", generators.Connections(),
		"which connections: "+strings.Join(generators.Connections(), ", "))
	completeFlag(c, "generator", always(generators.Names))
	completeFlag(c, "connections", always(generators.Connections))
	c.Flags().StringVar(&f.out, "out", "", "write what was measured to this file, as JSON")
	c.Flags().StringVar(&f.from, "from", "", "print the tables of such a file, and measure nothing")
	return c
}

// printRecord prints the tables of a record.
func printRecord(c *cobra.Command, s *session, r *generators.Record) error {
	var b strings.Builder
	if err := printEngines(&b, s.width, r.Generators, r.Rounds, r.CPUs); err != nil {
		return err
	}
	return document.Fold(c.OutOrStdout(), s.width, b.String())
}

// writeRecord writes a record to a temporary file and renames the file to path.
func writeRecord(path string, r *generators.Record) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = errors.Join(r.Write(f), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func benchEngine(c *cobra.Command, s *session, f engineFlags) error {
	if err := exclusive(c, "one writes what is measured, the other measures nothing",
		"out", "from"); err != nil {
		return err
	}
	if f.from != "" {
		record, err := generators.ReadRecord(f.from)
		if err != nil {
			return usage(err)
		}
		return printRecord(c, s, record)
	}
	if f.repeat < 1 || f.seconds < 1 {
		return usagef(c, "--repeat %d, --seconds %d: both must be at least 1", f.repeat, f.seconds)
	}
	for flag, names := range map[string][2][]string{
		"generator": {f.generators, generators.Names()}, "connections": {f.connections, generators.Connections()},
	} {
		for _, name := range names[0] {
			if !slices.Contains(names[1], name) {
				return usagef(c, "--%s %s: there is none; %s",
					flag, quoted(name), instead(name, names[1]))
			}
		}
	}
	ctx, done := s.begin(c.Context())
	defer done()
	if here, err := enter(ctx); err != nil || !here {
		return err
	}
	machine, err := thisMachine(nil)
	if err != nil {
		return err
	}
	stderr := c.ErrOrStderr()
	started := time.Now().UTC()
	engines, rounds, err := generators.Measure(ctx, generators.Config{
		Roles: roles(), Floor: self(roleFloor), Tools: engineTools(),
		Generators: f.generators, Connections: f.connections,
		Repeat: f.repeat, Duration: time.Duration(f.seconds) * time.Second, Machine: machine,
		Progress: func(what string) { fmt.Fprintln(stderr, what) },
	})
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return notMeasured(err)
	}
	done()
	record := &generators.Record{
		Version: generators.RecordVersion, Program: version(), StartedAt: started,
		Kernel: kernel.Release(), Go: runtime.Version(), CPUModel: kernel.CPUModel(),
		CPUs: len(machine.CPUs), Seconds: f.seconds, Rounds: rounds, Generators: engines,
	}
	if f.out != "" {
		if err := writeRecord(f.out, record); err != nil {
			return notMeasured(fmt.Errorf("--out: %w", err))
		}
	}
	return printRecord(c, s, record)
}

// engineTools returns the paths of the other load generators that are installed. Vegeta's is in the
// directory of this program, built from the module version that this program uses. The others are
// looked up in PATH.
func engineTools() map[string]string {
	tools := map[string]string{}
	if exe, err := os.Executable(); err == nil {
		vegeta := filepath.Join(filepath.Dir(exe), generators.Vegeta)
		if _, err := os.Stat(vegeta); err == nil {
			tools[generators.Vegeta] = vegeta
		}
	}
	for _, name := range []string{generators.Wrk, generators.Hey, generators.H2load} {
		if path, err := exec.LookPath(name); err == nil {
			tools[name] = path
		}
	}
	return tools
}

// engineFigure is a column of a table. ok is false if the run has no value for the column.
type engineFigure struct {
	heading string
	of      func(generators.Run) (value float64, ok bool)
}

// flatFigures returns the columns of the table in which the generators run flat out.
func flatFigures() []engineFigure {
	flat := func(heading string, of func(*generators.Flat) float64) engineFigure {
		return engineFigure{heading, func(r generators.Run) (float64, bool) {
			if r.Flat == nil {
				return 0, false
			}
			return of(r.Flat), true
		}}
	}
	return []engineFigure{
		flat("attempts/s", func(f *generators.Flat) float64 { return f.PerSecond }),
		flat("CPU µs/attempt", func(f *generators.Flat) float64 { return microseconds(f.CPU) }),
		flat("generator busy %", func(f *generators.Flat) float64 {
			return 100 * f.PerSecond * f.CPU.Seconds()
		}),
		flat("worker busy %", func(f *generators.Flat) float64 { return 100 * f.WorkerBusy }),
		{"stolen %", func(r generators.Run) (float64, bool) { return 100 * r.Stolen, r.Flat != nil }},
	}
}

// pacedFigures returns the columns of the table in which the generators run at generators.Pace.
func pacedFigures() []engineFigure {
	paced := func(heading string, of func(*generators.Paced) (float64, bool)) engineFigure {
		return engineFigure{heading, func(r generators.Run) (float64, bool) {
			if r.Paced == nil {
				return 0, false
			}
			return of(r.Paced)
		}}
	}
	response := func(name string, of func(*results.Percentiles) int64) engineFigure {
		return paced("response "+name+" µs", func(p *generators.Paced) (float64, bool) {
			if p.Response == nil {
				return 0, false
			}
			return microseconds(time.Duration(of(p.Response))), true
		})
	}
	return []engineFigure{
		paced("CPU µs/attempt", func(p *generators.Paced) (float64, bool) {
			return microseconds(p.CPU), true
		}),
		paced("schedule lag p99 µs", func(p *generators.Paced) (float64, bool) {
			if p.Lag == nil {
				return 0, false
			}
			return microseconds(*p.Lag), true
		}),
		response("p50", func(p *results.Percentiles) int64 { return p.P50 }),
		response("p90", func(p *results.Percentiles) int64 { return p.P90 }),
		response("p99", func(p *results.Percentiles) int64 { return p.P99 }),
		{"stolen %", func(r generators.Run) (float64, bool) { return 100 * r.Stolen, r.Paced != nil }},
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// printEngines prints the figures and their ratios, first for new connections and then for reused
// ones.
func printEngines(w io.Writer, width int, all []*generators.Generator, rounds, cpus int) error {
	for _, connections := range generators.Connections() {
		var some []*generators.Generator
		for _, e := range all {
			if e.Connections == connections {
				some = append(some, e)
			}
		}
		if len(some) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s connections, median [least–most] of the rounds\n\n", connections)
		for _, table := range []struct {
			name    string
			figures []engineFigure
			beside  []string // the generators with which the first two figures are compared
		}{
			{fmt.Sprintf("Flat out, %d under way at once", generators.InFlight), flatFigures(),
				[]string{generators.Vegeta, generators.Wrk}},
			{fmt.Sprintf("At %d/s", generators.Pace), pacedFigures(),
				[]string{generators.Vegeta, generators.Floor}},
		} {
			measured := withFigure(some, table.figures[0])
			if len(measured) == 0 {
				continue
			}
			fmt.Fprintf(w, "%s\n\n", table.name)
			if err := printFigures(w, width, measured, table.figures); err != nil {
				return err
			}
			fmt.Fprintln(w)
			if err := printRatios(w, width, measured, table.figures[:2], table.beside); err != nil {
				return err
			}
		}
	}
	for _, e := range all {
		if e.Problem != "" {
			fmt.Fprintf(w, "%s, %s connections: %s\n", e.Name, e.Connections, e.Problem)
		}
	}
	kept := 0
	for _, e := range all {
		kept = max(kept, len(e.Runs))
	}
	if kept < rounds {
		fmt.Fprintf(w, "Of %d rounds, the %d from which the host took the least CPU time "+
			"(stolen).\n", rounds, kept)
	}
	fmt.Fprintln(w, "A generator's CPU time includes its start and its end. Where, flat out, "+
		"neither it nor the worker was busy nearly all the time, something else was the limit: "+
		"do not use those figures.")
	if cpus == 1 {
		fmt.Fprintln(w, "Generators and worker shared the only CPU.")
	}
	return nil
}

// withFigure returns the generators that have the figure.
func withFigure(all []*generators.Generator, f engineFigure) (some []*generators.Generator) {
	for _, g := range all {
		if len(values(g, f)) > 0 {
			some = append(some, g)
		}
	}
	return some
}

func printFigures(
	w io.Writer, width int, all []*generators.Generator, figures []engineFigure,
) error {
	headings := []string{"generator"}
	for _, f := range figures {
		headings = append(headings, f.heading)
	}
	var rows [][]string
	for _, g := range all {
		row := []string{g.Name}
		for _, f := range figures {
			row = append(row, spread(values(g, f)))
		}
		rows = append(rows, row)
	}
	return document.WriteTable(w, width, headings, rows)
}

// printRatios compares each round of a generator with the same round of each generator named in
// beside. It prints nothing if no generator in beside was measured.
func printRatios(
	w io.Writer, width int, all []*generators.Generator, figures []engineFigure, beside []string,
) error {
	headings := []string{"generator"}
	var rows [][]string
	for _, g := range all {
		rows = append(rows, []string{g.Name})
	}
	for _, f := range figures {
		for _, other := range all {
			if !slices.Contains(beside, other.Name) || len(values(other, f)) == 0 {
				continue
			}
			headings = append(headings, f.heading+" ÷ "+other.Name)
			for k, g := range all {
				rows[k] = append(rows[k], spread(ratios(values(g, f), values(other, f))))
			}
		}
	}
	if len(headings) == 1 {
		return nil
	}
	if err := document.WriteTable(w, width, headings, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func values(e *generators.Generator, f engineFigure) (all []float64) {
	for _, r := range e.Runs {
		if v, ok := f.of(r); ok {
			all = append(all, v)
		}
	}
	return all
}

func ratios(a, b []float64) (all []float64) {
	for i := range min(len(a), len(b)) {
		all = append(all, a[i]/b[i])
	}
	return all
}

// spread formats the median of the values with their minimum and maximum.
func spread(all []float64) string {
	if len(all) == 0 {
		return "–"
	}
	slices.Sort(all)
	n := len(all)
	median := (all[(n-1)/2] + all[n/2]) / 2
	if n == 1 {
		return brief(median)
	}
	return fmt.Sprintf("%s [%s–%s]", brief(median), brief(all[0]), brief(all[n-1]))
}

func brief(x float64) string {
	switch {
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

package formats

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// Benchfmt prints the run in the Go benchmark format
// (https://golang.org/design/14313-benchmark-format), for benchstat: one line per valid trial, so
// that benchstat's medians and intervals are over trials, like ours. benchstat has no rates: if
// most trials lose nothing, its median of dropped/restart is 0, whatever the others lose, and it
// has no bound like our "≤ 3/R".
//
//	BenchmarkRollingRestart/sockets=reuseport/stop=close 1 0.4 dropped/restart 0.0005 gap-sec
//
// A scenario is a benchmark, named in camel case. A label is a part of the benchmark's name, for
// -col, -row and -filter: "benchstat -col /stop". In labels, characters with a meaning in the
// format are percent-encoded (url.PathUnescape reverses it): load.rate=2000%2Fs. A scenario's
// baseline comes first, so that -col compares with it.
//
// Configuration lines show what benchstat must not mix by default. benchstat prints a table for
// each kernel and each CPU, or compares kernels with "-col kernel". Seed, version and time of the
// run are in a comment, because runs that differ only in these are comparable.
//
// Units are base units. Times are in "sec", not "ns": benchstat's reader converts "ns" to "sec",
// but not if the value is 0, and many gaps are 0.
func Benchfmt(w io.Writer, run *results.Run, opts report.Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w) // Flush returns the first error
	benchHead(out, run, scenarios)
	for _, m := range unitsOf(scenarios) {
		if m.Better != "" {
			fmt.Fprintf(out, "Unit %s better=%s\n", m.Bench, m.Better)
		}
	}
	for _, s := range scenarios {
		fmt.Fprintln(out)
		benchOutside(out, s)
		for _, v := range baselineFirst(s) {
			name := benchName(s.Name, v.Labels)
			for _, t := range v.ValidTrials() {
				benchLine(out, name, t)
			}
		}
	}
	return out.Flush()
}

// benchUnits returns the metrics that are printed: those with columns in the text report. They are
// in the order of benchstat's tables.
func benchUnits() []metrics.Metric {
	return slices.DeleteFunc(metrics.All(), func(m metrics.Metric) bool { return m.Bench == "" })
}

// benchFigure returns the trial's value of the metric, in base units, or false if the trial has
// none.
func benchFigure(m metrics.Metric, t *results.Trial) (float64, bool) {
	x, ok := m.Of(t)
	switch {
	case !ok, math.IsNaN(x), math.IsInf(x, 0):
		return 0, false
	case m.Name == metrics.Offered && x == 0:
		return 0, false // nothing was offered, so there is no rate
	case m.Unit == unit.Nanoseconds:
		x /= unit.Seconds().Factor
	}
	return x, true
}

// unitsOf returns the metrics for which at least one valid trial has a figure.
func unitsOf(scenarios []*results.Scenario) []metrics.Metric {
	return slices.DeleteFunc(benchUnits(), func(m metrics.Metric) bool {
		has := func(t *results.Trial) bool { _, ok := benchFigure(m, t); return ok }
		return !slices.ContainsFunc(scenarios, func(s *results.Scenario) bool {
			return slices.ContainsFunc(s.Variants, func(v *results.Variant) bool {
				return slices.ContainsFunc(v.ValidTrials(), has)
			})
		})
	})
}

// benchHead writes lines that say where and when the run was made.
func benchHead(out io.Writer, run *results.Run, scenarios []*results.Scenario) {
	about := []string{
		strings.TrimSpace(run.Program + " " + run.Version),
		"seed " + strconv.FormatUint(run.Seed, 10),
	}
	if !run.StartedAt.IsZero() {
		about = append(about, "started "+run.StartedAt.UTC().Format(time.RFC3339))
	}
	comment(out, strings.Join(about, ", "))
	if run.FinishedAt == nil {
		comment(out, "INTERRUPTED, or still running: "+report.Progress(scenarios))
	}
	for _, warning := range run.Warnings {
		comment(out, warning)
	}
	e := run.Environment
	for _, c := range []struct{ key, value string }{
		{"goos", "linux"}, {"pkg", "reuseport-bench"}, {"kernel", e.Kernel}, {"go", e.Go},
		{"cpu", e.CPUModel}, {"cpus", known(e.CPUs)},
	} {
		if c.value != "" {
			fmt.Fprintf(out, "%s: %s\n", c.key, oneLine(c.value))
		}
	}
}

// benchOutside writes comments about what the scenario's lines leave out or show only in part.
func benchOutside(out io.Writer, s *results.Scenario) {
	for _, v := range s.Variants {
		name := s.Name + " " + results.LabelString(v.Labels)
		if v.SkippedReason != nil {
			comment(out, name+", skipped: "+*v.SkippedReason)
		}
		for _, text := range report.InvalidTexts(v) {
			comment(out, name+", "+text)
		}
		censored := 0
		for _, t := range v.ValidTrials() {
			if slices.ContainsFunc(t.Steps, func(s results.Step) bool { return s.Censored }) {
				censored++
			}
		}
		if censored > 0 {
			comment(out, name+", gap and outage are lower bounds in "+
				unit.Plural(censored, "trial")+" that ended before serving resumed")
		}
	}
}

// known returns n as text. It returns "" for 0, which means that the run lacks the number.
func known(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// comment writes a line that readers of the format ignore.
func comment(out io.Writer, text string) { fmt.Fprintf(out, "# %s\n", oneLine(text)) }

func oneLine(text string) string { return strings.ReplaceAll(document.Clean(text), "\n", " ") }

// baselineFirst returns the scenario's variants, with the baseline first.
func baselineFirst(s *results.Scenario) []*results.Variant {
	baseline := s.BaselineVariant()
	if baseline == nil {
		return s.Variants
	}
	others := slices.DeleteFunc(slices.Clone(s.Variants), func(v *results.Variant) bool {
		return v == baseline
	})
	return slices.Insert(others, 0, baseline)
}

// benchLine writes a trial. It writes nothing if the trial has no figure: the format requires one.
func benchLine(out io.Writer, name string, t *results.Trial) {
	var fields strings.Builder
	for _, m := range benchUnits() {
		if x, ok := benchFigure(m, t); ok {
			fmt.Fprintf(&fields, " %s %s", strconv.FormatFloat(x, 'g', -1, 64), m.Bench)
		}
	}
	if fields.Len() > 0 {
		fmt.Fprintf(out, "%s 1%s\n", name, fields.String())
	}
}

// benchName returns the name of a variant's benchmark. Different variants have different names.
func benchName(scenario string, labels map[string]string) string {
	var name strings.Builder
	name.WriteString("Benchmark" + benchTitle(scenario))
	for _, key := range results.LabelKeys(labels) {
		key, value := strings.ReplaceAll(percentEncoded(key), "=", "%3D"), benchValue(labels[key])
		name.WriteString("/" + key + "=" + value)
	}
	return name.String()
}

// benchTitle turns rolling-restart into RollingRestart, because "Benchmark" must be followed by a
// capital letter in a benchmark's name. It percent-encodes a hyphen before a digit, because a digit
// has no capital form.
func benchTitle(scenario string) string {
	var title strings.Builder
	for i, word := range strings.Split(percentEncoded(scenario), "-") {
		switch {
		case word != "" && 'a' <= word[0] && word[0] <= 'z':
			word = strings.ToUpper(word[:1]) + word[1:]
		case i > 0:
			word = "%2D" + word
		}
		title.WriteString(word)
	}
	return title.String()
}

// benchValue encodes the value of a label. If the value ends like "-2", it escapes the hyphen,
// because benchstat would read the 2 as GOMAXPROCS.
func benchValue(value string) string {
	value = percentEncoded(value)
	rest := strings.TrimRight(value, "0123456789")
	if rest != value && strings.HasSuffix(rest, "-") {
		value = strings.TrimSuffix(rest, "-") + "%2D" + value[len(rest):]
	}
	return value
}

// percentEncoded encodes slashes, spaces, percent signs and characters that are not printable.
func percentEncoded(s string) string {
	var out strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		c := s[i : i+size]
		if !strings.ContainsRune("/% ", r) && unicode.IsPrint(r) && r != utf8.RuneError {
			out.WriteString(c)
			continue
		}
		for _, b := range []byte(c) {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

package scenarios

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Explain writes the scenario with every default written out. Comments at the end list the
// variants, the differences of each from the baseline, and the meanings of the values in the
// matrix. The output can be loaded as a scenario file unless it exceeds maxFileSize. s must be
// valid, as returned by Load.
func (s *Scenario) Explain(w io.Writer) error {
	file, err := strictyaml.Marshal(*s)
	if err != nil {
		return fmt.Errorf("explain %s: %w", s.Name, err)
	}
	var out bytes.Buffer
	out.Write(file)
	s.explainVariants(&out)
	s.explainValues(&out)
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("explain %s: %w", s.Name, err)
	}
	return nil
}

// tableWidth is the maximum width of the table of variants, in columns.
const tableWidth = 100

func (s *Scenario) explainVariants(out *bytes.Buffer) {
	variants := s.Variants
	var load time.Duration
	width := 0
	for _, v := range variants {
		load += time.Duration(s.Trials) * v.Setup.Load.Lasts()
		width = max(width, len(v.Labels.String()))
	}
	fmt.Fprintf(out, "\n# %s, %s each, %s of load in all.\n",
		count(len(variants), "variant"), count(s.Trials, "trial"), strictyaml.FormatDuration(load))
	base := slices.IndexFunc(variants, func(v Variant) bool { return v.Labels.Equal(s.Baseline) })
	if len(variants) == 1 || base < 0 {
		return
	}
	fmt.Fprintf(out, "# Each variant, and how it differs from the baseline:\n")
	differences, longest := make([]string, len(variants)), 0
	for i, v := range variants {
		differences[i] = "(the baseline)"
		if i != base {
			differences[i] = s.difference(variants[base].Setup, v.Setup)
		}
		longest = max(longest, len(differences[i]))
	}
	between := "  "
	if len("#   ")+width+len(between)+longest > tableWidth { // too wide for a table
		width, between = 0, "\n#       "
	}
	for i, v := range variants {
		fmt.Fprintf(out, "#   %-*s%s%s\n", width, v.Labels, between, differences[i])
	}
}

// explainValues writes the meanings of the values in the matrix.
func (s *Scenario) explainValues(out *bytes.Buffer) {
	var lines []string
	for _, block := range s.Matrix {
		for _, axis := range block {
			for _, v := range vocabulary.Values(axis.Key) {
				line := fmt.Sprintf("#   %s: %s: %s\n", axis.Key, v.Name, v.Doc)
				if slices.Contains(axis.Values, v.Name) && !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	if len(lines) > 0 {
		out.WriteString("#\n# What the values mean:\n" + strings.Join(lines, ""))
	}
}

// difference lists the settings in the matrix whose values in base and other differ, for example
// "stop: close -> drain".
func (s *Scenario) difference(base, other Setup) string {
	keys := Labels{} // a map, from which results.LabelKeys makes a sorted list
	for _, block := range s.Matrix {
		for _, axis := range block {
			keys[axis.Key] = ""
		}
	}
	var differences []string
	for _, key := range results.LabelKeys(keys) {
		from, to := settingText(base, key), settingText(other, key)
		if from != to {
			differences = append(differences, fmt.Sprintf("%s: %s -> %s", key, from, to))
		}
	}
	return strings.Join(differences, ", ")
}

// settingText formats the value at a dotted path as in a scenario file. It returns "none" if the
// value is empty.
func settingText(s Setup, path string) string {
	if name, is := variableName(path); is {
		return cmp.Or(s.Server.Vars[name], "none")
	}
	v, ok := strictyaml.Lookup(&s, path)
	if !ok {
		return "none"
	}
	if text := strictyaml.Text(v); text != "" {
		return text
	}
	return "none"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

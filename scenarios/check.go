package scenarios

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"reuseport-bench/scenarios/strictyaml"
)

var namePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
})

// checkScenario checks the scenario and its variants, records problems with d, and stores the
// variants in s. d is the decoder that decoded s.
func checkScenario(s *Scenario, d *strictyaml.Decoder) {
	switch {
	case !d.Trusts("name"):
	case s.Name == "":
		d.Fail(d.Line(""), "", "name is missing", "for example name: my-scenario")
	case len(s.Name) > 64 || !namePattern().MatchString(s.Name):
		d.Fail(d.Line("name"), "name", fmt.Sprintf("%q is not a valid name", s.Name),
			"use lower-case words joined by hyphens, at most 64 characters")
	}
	if n := len(s.About); n > maxAbout {
		d.Fail(d.Line("about"), "about", fmt.Sprintf("%d bytes", n),
			fmt.Sprintf("at most %d: a sentence or two", maxAbout))
	}
	if d.Trusts("trials", "min_valid") && s.MinValid > s.Trials {
		d.Fail(d.Line("min_valid"), "min_valid",
			fmt.Sprintf("%d is more than trials, %d", s.MinValid, s.Trials),
			"lower it, or raise trials")
	}

	all, ok := points(s.Matrix)
	if !ok {
		d.Fail(d.Line("matrix"), "matrix", fmt.Sprintf("more than %d variants", maxVariants),
			"split the scenario, or list fewer values")
	}
	clean := len(all) > 0 && d.TrustsAll("matrix")
	if !clean && len(s.Matrix) == 0 || d.Found() > maxListLen {
		all, clean = nil, false // without the whole setup, variants cannot be checked
	}
	s.Variants = checkVariants(s, d, all)
	if clean {
		checkDuplicates(d, all, s.Variants)
		checkBaseline(s, d, all)
	}
	for i := range s.Gates {
		checkGate(s, d, i, all, clean)
	}
	checkGates(s, d)
}

// checkVariants checks all variants and returns them. If every variant has a problem, and the setup
// outside the matrix has the same problem, checkVariants reports it at the line of the setting. It
// reports any other problem at the matrix, once per block, with the labels of the block's first
// variant that has the problem.
func checkVariants(s *Scenario, d *strictyaml.Decoder, all []point) []Variant {
	type place struct {
		finding
		block int
	}
	var (
		variants []Variant
		order    []place
		where    = map[place][]Labels{}
		count    = map[finding]int{}
	)
	for _, p := range all {
		setup := p.setup(s.Setup, d.Format)
		variants = append(variants, Variant{Labels: p.labels, Setup: setup})
		found := checkSetup(&setup, d)
		if searched := setup.Search.Setting; searched != "" && p.labels[searched] != "" {
			found = append(found, finding{searched, "search.setting: " + searched +
				" is in the matrix, too",
				"a search finds its value; remove it from the matrix, or remove search"})
		}
		for _, f := range found {
			at := place{f, p.block}
			if where[at] == nil {
				order = append(order, at)
			}
			where[at] = append(where[at], p.labels)
			count[f]++
		}
	}
	inFile := map[finding]bool{}
	base := point{}.setup(s.Setup, d.Format)
	for _, f := range checkSetup(&base, d) {
		if len(all) > 0 && count[f] == len(all) {
			inFile[f] = true
			d.Add(Problem{Line: d.Line(f.path), What: f.what, Hint: f.hint})
		}
	}
	for _, at := range order {
		if inFile[at.finding] {
			continue
		}
		variant := "in variant " + where[at][0].String()
		if more := len(where[at]) - 1; more > 0 {
			variant += fmt.Sprintf(" (and %d more)", more)
		}
		line := matrixLine(s, d, at.block, at.path)
		d.Add(Problem{Line: line, What: variant + ": " + at.what, Hint: at.hint})
	}
	return variants
}

// matrixLine returns the line of the axis that varies path in a block. If no axis varies it,
// matrixLine returns the line of the block.
func matrixLine(s *Scenario, d *strictyaml.Decoder, block int, path string) int {
	for _, axis := range s.Matrix[block] {
		if axis.Key == path {
			return axis.Line
		}
	}
	return d.Line(fmt.Sprintf("matrix[%d]", block))
}

// checkDuplicates records a problem for each variant that has the same setup as an earlier one.
func checkDuplicates(d *strictyaml.Decoder, all []point, variants []Variant) {
	for i, p := range all {
		for j := range i {
			if !reflect.DeepEqual(variants[i].Setup, variants[j].Setup) {
				continue
			}
			what := fmt.Sprintf("variant %s is listed twice", p.labels)
			if !p.labels.Equal(all[j].labels) {
				what = fmt.Sprintf("variant %s is the same setup as variant "+
					"%s", p.labels, all[j].labels)
			}
			path := fmt.Sprintf("matrix[%d]", p.block)
			d.Fail(d.Line(path), path, what, "remove one of them")
			break
		}
	}
}

// checkBaseline replaces s.Baseline, which must select exactly one variant, by all labels of that
// variant. By default the baseline is the first variant.
func checkBaseline(s *Scenario, d *strictyaml.Decoder, all []point) {
	if !d.Trusts("baseline") {
		return
	}
	if s.Baseline == nil {
		s.Baseline = maps.Clone(all[0].labels)
		return
	}
	var selected []Labels
	for _, p := range all {
		if p.labels.Includes(s.Baseline) {
			selected = append(selected, p.labels)
		}
	}
	switch len(selected) {
	case 0:
		d.Fail(d.Line("baseline"), "baseline", s.Baseline.String()+" names no variant",
			labelsHint(s.Baseline, all))
	case 1:
		s.Baseline = maps.Clone(selected[0])
	default:
		what := fmt.Sprintf("%q names %d variants", s.Baseline.String(), len(selected))
		d.Fail(d.Line("baseline"), "baseline", what,
			fmt.Sprintf("name one, for example %s", selected[0]))
	}
}

// labelsHint returns the hint for labels that no variant has. The hint names the key or value that
// the user probably meant, and lists the variants.
func labelsHint(labels Labels, all []point) string {
	values := map[string][]string{} // the values that variants have for each key
	for _, p := range all {
		for key, value := range p.labels {
			values[key] = append(values[key], value)
		}
	}
	keys := slices.Sorted(maps.Keys(values))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		word, words := key, keys
		if slices.Contains(keys, key) {
			word, words = labels[key], values[key]
		}
		if near := strictyaml.Nearest(word, words); near != "" && near != word {
			return fmt.Sprintf("did you mean %q? (%s)", near, variantsHint(all))
		}
	}
	return variantsHint(all)
}

// variantsHint lists the variants, up to eight of them.
func variantsHint(all []point) string {
	const most = 8
	var names []string
	for i, p := range all {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(all)-most))
			break
		}
		names = append(names, p.labels.String())
	}
	if len(all) == 1 && len(all[0].labels) == 0 {
		return "the scenario has no matrix, so its only variant has no labels"
	}
	return "the variants are " + strings.Join(names, ", ")
}

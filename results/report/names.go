package report

import (
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// A names names the variants of a scenario in tables, by the labels in which they differ. Labels
// that all variants share are printed once, in a caption.
type names struct {
	scenario *results.Scenario
	varying  []string // keys of labels that differ, in the order of reports
	shared   map[string]string
}

// newNames returns the names of the scenario's variants.
func newNames(s *results.Scenario) names {
	n := names{scenario: s, shared: map[string]string{}}
	all := map[string]string{}
	for _, v := range s.Variants {
		for key, value := range v.Labels {
			all[key] = value
		}
	}
	for _, key := range results.LabelKeys(all) {
		same := func(v *results.Variant) bool {
			value, ok := v.Labels[key]
			return ok && value == all[key]
		}
		if slices.ContainsFunc(s.Variants, func(v *results.Variant) bool { return !same(v) }) {
			n.varying = append(n.varying, key)
		} else {
			n.shared[key] = all[key]
		}
	}
	return n
}

// VariantNames returns the names that tables give to variants with these labels.
func VariantNames(labels []map[string]string) (all []string) {
	s := &results.Scenario{}
	for _, l := range labels {
		s.Variants = append(s.Variants, &results.Variant{Labels: l})
	}
	n := newNames(s)
	for _, l := range labels {
		all = append(all, n.ofLabels(l))
	}
	return all
}

// of returns the name of a variant.
func (n names) of(v *results.Variant) string { return n.ofLabels(v.Labels) }

// ofLabels returns the name of the variant with these labels. If the variant has no label that
// varies, the name is all its labels or, without labels, the scenario's name.
func (n names) ofLabels(labels map[string]string) string {
	var parts []string
	for _, key := range n.varying {
		if value, ok := labels[key]; ok {
			parts = append(parts, n.label(key, value))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, results.NameSeparator)
	case len(n.varying) == 0 && len(labels) == 0:
		return n.scenario.Name
	}
	return results.LabelString(labels)
}

// sharedText returns the labels that all variants share, for a caption. It returns "" if there are
// none, or if the variants' names contain them.
func (n names) sharedText() string {
	if len(n.varying) == 0 || len(n.shared) == 0 {
		return ""
	}
	return "All: " + results.LabelString(n.shared)
}

// tellingKeys are the settings whose values are clear without the name of the setting.
var tellingKeys = []string{
	"sockets", "stop", "selector", "accept", "server.kind", "path", "network", "load.rate",
	"load.pace", results.LabelArm,
}

// label writes a label. It leaves out the key if the value is clear without it.
func (n names) label(key, value string) string {
	_, isWord := wordOf(key, value)
	if slices.Contains(tellingKeys, key) || key == connectionsKey && isWord {
		return results.LabelValue(value)
	}
	return n.shortKey(key) + "=" + results.LabelValue(value)
}

// shortKey returns the shortest ending of a setting's path that distinguishes the setting from the
// other settings that vary.
func (n names) shortKey(key string) string {
	parts := strings.Split(key, ".")
	for i := len(parts) - 1; i > 0; i-- {
		short := strings.Join(parts[i:], ".")
		others := func(other string) bool {
			return other != key &&
				strings.HasSuffix(other, "."+short)
		}
		// Of a path with three parts keep at least two: "retry.max", because "max" alone is not
		// clear.
		if len(parts)-i >= len(parts)-1 && !slices.ContainsFunc(n.varying, others) {
			return short
		}
	}
	return key
}

// wordOf returns the phrase for a value, and whether the value is a word in the table of the
// setting.
func wordOf(key, value string) (phrase string, ok bool) {
	for _, v := range vocabulary.Values(key) {
		if v.Name == value {
			return v.Phrase, true
		}
	}
	return "", false
}

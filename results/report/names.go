package report

import (
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// names gives the variants of a scenario their names in tables: the labels in which they differ.
// Labels that all variants share are printed once.
type names struct {
	scenario *results.Scenario
	varying  []string // keys, in the order of reports
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
// none, or if the names contain them.
func (n names) sharedText() string {
	if len(n.varying) == 0 || len(n.shared) == 0 {
		return ""
	}
	return "All: " + results.LabelString(n.shared)
}

// tellingKeys are settings whose values are clear without the setting's name.
var tellingKeys = []string{
	"sockets", "stop", "selector", "accept", "server.kind", "path", "network", "load.rate",
	"load.pace", results.LabelArm,
}

// label writes a label. It writes only the value if that is clear by itself.
func (n names) label(key, value string) string {
	_, isWord := wordOf(key, value)
	if slices.Contains(tellingKeys, key) || key == "load.connections" && isWord {
		return value
	}
	return n.shortKey(key) + "=" + value
}

// shortKey returns the shortest end of a setting's path that distinguishes it from other varying
// settings.
func (n names) shortKey(key string) string {
	parts := strings.Split(key, ".")
	for i := len(parts) - 1; i > 0; i-- {
		short := strings.Join(parts[i:], ".")
		others := func(other string) bool {
			return other != key &&
				strings.HasSuffix(other, "."+short)
		}
		// In a path of three parts the last part alone is not clear: retry.max.
		if len(parts)-i >= len(parts)-1 && !slices.ContainsFunc(n.varying, others) {
			return short
		}
	}
	return key
}

// wordOf returns the phrase for a value, and whether the value is one of the setting's words.
func wordOf(key, value string) (phrase string, ok bool) {
	for _, v := range vocabulary.Values(key) {
		if v.Name == value {
			return v.Phrase, true
		}
	}
	return "", false
}

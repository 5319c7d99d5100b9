package results

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"reuseport-bench/scenarios/vocabulary"
)

// LabelString writes labels as "sockets=reuseport stop=close", in the order of LabelKeys. It is a
// variant's name in every report.
func LabelString(labels map[string]string) string {
	if len(labels) == 0 {
		return "(no labels)"
	}
	keys := LabelKeys(labels)
	for i, key := range keys {
		keys[i] = key + "=" + LabelValue(labels[key])
	}
	return strings.Join(keys, " ")
}

// EmptyValue is how an empty value is written.
const EmptyValue = `""`

// LabelValue writes a label's value.
func LabelValue(value string) string { return cmp.Or(value, EmptyValue) }

// NameSeparator is between the parts of a variant's short name: "reuseport · close".
const NameSeparator = " · "

// LabelKeys returns the labels' keys in the order of reports: sockets first, then stop, then the
// others in alphabetical order.
func LabelKeys(labels map[string]string) []string {
	first := []string{"stop", "sockets"} // in reverse; the index of other keys is -1
	rank := func(key string) int { return -slices.Index(first, key) }
	return slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// Includes reports whether every label of other is also one of labels.
func Includes(labels, other map[string]string) bool {
	for key, value := range other {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// Scenario returns the scenario with that name. If there is none and the name has changed, it
// returns the scenario with the older or newer name, or nil.
func (r *Run) Scenario(name string) *Scenario {
	for _, s := range r.Scenarios {
		if s.Name == name {
			return s
		}
	}
	for _, s := range r.Scenarios {
		if vocabulary.ScenarioName(s.Name) == vocabulary.ScenarioName(name) {
			return s
		}
	}
	return nil
}

// Variant returns the variant with exactly these labels, or nil.
func (s *Scenario) Variant(labels map[string]string) *Variant {
	for _, v := range s.Variants {
		if maps.Equal(v.Labels, labels) {
			return v
		}
	}
	return nil
}

package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// A condition selects the variants that have all its labels. The value "" means that a variant
// lacks the label.
type condition map[string]string

// selects reports whether the variant has all labels of the condition.
func (c condition) selects(v *results.Variant) bool {
	for key, value := range c {
		if v.Labels[key] != value {
			return false
		}
	}
	return true
}

// mostVarying is the largest number of labels that conditions takes into account. It tries every
// subset of them.
const mostVarying = 8

// conditions returns a few short conditions that together select exactly the variants of the group.
// Each condition has all varying labels that its variants share, except labels that follow from its
// other labels.
func (n names) conditions(group, all []*results.Variant) []condition {
	// If variants differ in how workers stop, every condition has that label, because it is the
	// subject of the sentence.
	var always, keys []string
	for _, key := range n.varying[:min(len(n.varying), mostVarying)] {
		if key == "stop" {
			always = []string{key}
		} else {
			keys = append(keys, key)
		}
	}
	left := slices.Clone(group)
	outside := slices.DeleteFunc(slices.Clone(all), func(v *results.Variant) bool {
		return slices.Contains(group, v)
	})
	var found []condition
	for size := 0; size <= len(keys) && len(left) > 0; size++ {
		for len(left) > 0 {
			best, most := condition(nil), 0
			for _, v := range left {
				for _, subset := range subsets(keys, size) {
					c := condition{}
					for _, key := range slices.Concat(always, subset) {
						c[key] = v.Labels[key]
					}
					if covers := countSelected(c, left); covers > most &&
						countSelected(c, outside) == 0 {
						best, most = c, covers
					}
				}
			}
			if best == nil {
				break
			}
			found = append(found, best)
			left = slices.DeleteFunc(left, best.selects)
		}
	}
	for _, c := range found {
		n.complete(c, all)
	}
	return found
}

// complete adds to the condition the varying labels that all its variants share.
func (n names) complete(c condition, all []*results.Variant) {
	selected := slices.DeleteFunc(slices.Clone(all), func(v *results.Variant) bool {
		return !c.selects(v)
	})
	for _, key := range n.varying {
		_, has := c[key]
		value := selected[0].Labels[key]
		differs := func(v *results.Variant) bool { return v.Labels[key] != value }
		if !has && value != "" && !follows(key, c) && !slices.ContainsFunc(selected, differs) {
			c[key] = value
		}
	}
}

// follows reports whether the label with this key follows from the condition's other labels. For
// example, the stop mode or the selector determines the sockets.
func follows(key string, c condition) bool {
	switch key {
	case "sockets":
		return c["stop"] != "" || c["selector"] != ""
	case "server.kind", "workers":
		return c["stop"] != ""
	case "network":
		return c["path"] != ""
	}
	return false
}

func countSelected(c condition, variants []*results.Variant) (n int) {
	for _, v := range variants {
		if c.selects(v) {
			n++
		}
	}
	return n
}

// subsets returns all subsets that have size keys.
func subsets(keys []string, size int) (all [][]string) {
	if size == 0 {
		return [][]string{nil}
	}
	for i, key := range keys {
		for _, rest := range subsets(keys[i+1:], size-1) {
			all = append(all, append([]string{key}, rest...))
		}
	}
	return all
}

// with writes labels as the end of a sentence's subject, such as "with one shared socket at
// 2000/s". It returns "" if there is nothing to write.
func (n names) with(labels map[string]string) string {
	var parts []string
	end := ""
	for _, key := range results.LabelKeys(labels) {
		value := labels[key]
		phrase, _ := wordOf(key, value)
		switch {
		case value == "" || key == "stop":
		case key == "load.rate":
			end += " at " + strings.Replace(value, "*capacity", " of capacity", 1)
		case key == connectionsKey:
			end += " on " + connectionsText(value)
		case key == "workers" && value == "1":
			parts = append(parts, "1 worker")
		case key == "workers":
			parts = append(parts, value+" workers")
		case phrase != "":
			parts = append(parts, phrase)
		default:
			parts = append(parts, n.shortKey(key)+" "+value)
		}
	}
	if len(parts) > 0 {
		return "with " + enumerate(parts) + end
	}
	return strings.TrimSpace(end)
}

// connectionsKey is the label for the way in which attempts get a connection.
const connectionsKey = "load.connections"

// connectionsText writes a value of connectionsKey: "new connections", "200 kept connections".
func connectionsText(value string) string {
	if phrase, _ := wordOf(connectionsKey, value); phrase != "" {
		return phrase
	}
	if value == "1" {
		return "1 kept connection"
	}
	return value + " kept connections"
}

// doing returns the subject of a sentence for a condition: the way in which workers are stopped, or
// what the step does. If the variants differ in nothing but their connections, the subject always
// names these.
func (n names) doing(c condition, step string) string {
	stop := cmp.Or(c["stop"], n.shared["stop"])
	subject := cmp.Or(vocabulary.Phrase("stop", stop), stop, step)
	others := func(key string) bool { return key != connectionsKey }
	if c[connectionsKey] != "" || slices.ContainsFunc(n.varying, others) {
		return strings.TrimSpace(subject + " " + n.with(c))
	}
	var on []string
	for _, v := range n.scenario.Variants {
		value := v.Labels[connectionsKey]
		if text := connectionsText(value); value != "" && !slices.Contains(on, text) {
			on = append(on, text)
		}
	}
	if len(on) > 0 {
		subject += " on " + enumerate(on)
	}
	return strings.TrimSpace(subject + " " + n.with(c))
}

// mostSubjects is the largest number of subjects that a sentence names. For more subjects, the
// sentence gives their number.
const mostSubjects = 6

// enumerate joins parts as in a sentence: "a, b and c". If a part is itself such a list, it uses
// semicolons: "a; b; c".
func enumerate(parts []string) string {
	last := len(parts) - 1
	isList := func(part string) bool { return strings.Contains(part, " and ") }
	switch {
	case last < 1:
		return strings.Join(parts, "")
	case slices.ContainsFunc(parts, isList):
		return strings.Join(parts, "; ")
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// sentence returns the text with a capital letter at the start.
func sentence(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[size:]
}

// labelsWith returns those labels of the variant for whose keys keep returns true.
func labelsWith(v *results.Variant, keep func(key string) bool) map[string]string {
	labels := maps.Clone(v.Labels)
	maps.DeleteFunc(labels, func(key, _ string) bool { return !keep(key) })
	return labels
}

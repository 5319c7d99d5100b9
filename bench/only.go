package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// parseOnly reads the values of --only as labels of the variants. A value is KEY=VALUE, or a
// variant's name as it is printed: "reuseport · close", or "sockets=reuseport stop=close". Each key
// has one value. It is an error if no variant has all labels.
func parseOnly(list []string, variants []map[string]string) (scenarios.Labels, error) {
	only := scenarios.Labels{}
	for _, text := range list {
		for _, part := range partsOf(text, variants) {
			key, value, err := labelOf(part, variants)
			if err != nil {
				return nil, err
			}
			if _, twice := only[key]; twice {
				return nil, fmt.Errorf("--only: %s is given twice; a variant has one value for a "+
					"key", quoted(key))
			}
			only[key] = value
		}
	}
	return only, checkOnly(only, variants)
}

// partsOf returns the labels that a value of --only consists of.
func partsOf(text string, variants []map[string]string) (parts []string) {
	for _, labels := range variants {
		if results.LabelString(labels) == text { // values may contain spaces
			for _, key := range results.LabelKeys(labels) {
				parts = append(parts, key+"="+results.LabelValue(labels[key]))
			}
			return parts
		}
	}
	for part := range strings.SplitSeq(text, results.NameSeparator) {
		words := strings.Fields(part)
		plain := func(word string) bool { return !strings.Contains(word, "=") }
		if len(words) > 1 && !slices.ContainsFunc(words, plain) {
			parts = append(parts, words...)
		} else {
			parts = append(parts, part)
		}
	}
	return parts
}

// labelOf returns the label that text stands for. text is KEY=VALUE, where KEY may be only the end
// of a label's key, or it is only a label's value.
func labelOf(text string, variants []map[string]string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if ok && key != "" && value != "" {
		ends := func(k, v string) bool { return strings.HasSuffix(k, "."+key) }
		if found := keysWith(variants, ends); len(found) == 1 && !hasKey(variants, key) {
			key = found[0]
		}
		if value == results.EmptyValue {
			value = ""
		}
		return key, value, nil
	}
	found := keysWith(variants, func(_, v string) bool { return v == text })
	switch len(found) {
	case 0:
		return "", "", fmt.Errorf("--only %s: must be KEY=VALUE, for example stop=close, or a "+
			"variant's name as reports print it", quoted(text))
	case 1:
		return found[0], text, nil
	}
	return "", "", fmt.Errorf("--only %s: is a value of %s; write KEY=VALUE", quoted(text),
		strings.Join(found, " and "))
}

func hasKey(variants []map[string]string, key string) bool {
	return len(keysWith(variants, func(k, _ string) bool { return k == key })) > 0
}

// keysWith returns the keys of the variants' labels that match.
func keysWith(variants []map[string]string, match func(key, value string) bool) []string {
	found := map[string]bool{}
	for _, labels := range variants {
		for key, value := range labels {
			if match(key, value) {
				found[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// checkOnly returns an error if no variant has all labels in only. The error names the labels that
// exist.
func checkOnly(only scenarios.Labels, variants []map[string]string) error {
	has := func(v map[string]string) bool { return results.Includes(v, only) }
	if len(only) == 0 || slices.ContainsFunc(variants, has) {
		return nil
	}
	there := map[string]map[string]bool{} // the existing values of each key
	for _, labels := range variants {
		for k, v := range labels {
			if there[k] == nil {
				there[k] = map[string]bool{}
			}
			there[k][v] = true
		}
	}
	for _, k := range results.LabelKeys(only) {
		asked := quoted(k + "=" + results.LabelValue(only[k]))
		switch names := slices.Sorted(maps.Keys(there)); {
		case len(names) == 0:
			return fmt.Errorf("--only %s: there is one variant, without labels; leave --only out",
				asked)
		case there[k] == nil:
			return fmt.Errorf("--only %s: no variant has the label %s; %s",
				asked, quoted(k), instead(k, names))
		case !there[k][only[k]]:
			return fmt.Errorf("--only %s: no variant has that value; %s",
				asked, instead(only[k], slices.Sorted(maps.Keys(there[k]))))
		}
	}
	return fmt.Errorf("--only: no variant has all of %s; leave one out", quoted(only.String()))
}

// labelsOf returns the labels of a plan's variants.
func labelsOf(p *plan.Plan) (all []map[string]string) {
	for _, s := range p.Scenarios {
		for _, v := range s.Variants {
			all = append(all, v.Labels)
		}
	}
	return all
}

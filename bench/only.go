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

// parseLabels parses the values of --only: KEY=VALUE, each key once.
func parseLabels(list []string) (scenarios.Labels, error) {
	labels := scenarios.Labels{}
	for _, kv := range list {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" || v == "" {
			return nil, fmt.Errorf("--only %s: must be KEY=VALUE, for example stop=close",
				quoted(kv))
		}
		if _, twice := labels[k]; twice {
			return nil, fmt.Errorf("--only: %s is given twice; a variant has one value for a key",
				quoted(k))
		}
		labels[k] = v
	}
	return labels, nil
}

// checkOnly returns an error that names the existing labels if no variant has those in only.
func checkOnly(only scenarios.Labels, variants []map[string]string) error {
	has := func(v map[string]string) bool { return results.Includes(v, only) }
	if len(only) == 0 || slices.ContainsFunc(variants, has) {
		return nil
	}
	there := map[string]map[string]bool{} // values by key
	for _, labels := range variants {
		for k, v := range labels {
			if there[k] == nil {
				there[k] = map[string]bool{}
			}
			there[k][v] = true
		}
	}
	for _, k := range results.LabelKeys(only) {
		asked := quoted(k + "=" + only[k])
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

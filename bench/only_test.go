package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/report"
	"reuseport-bench/scenarios"
)

// --only accepts every name by which progress lines and reports call a variant.
func TestOnlyNames(t *testing.T) {
	machine := plan.Machine{CPUs: []int{0, 1, 2, 3}}
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		variants := labelsOf(p)
		for i, name := range report.VariantNames(variants) {
			if len(variants[i]) == 0 {
				continue
			}
			for _, printed := range []string{name, results.LabelString(variants[i])} {
				only, err := parseOnly([]string{printed}, variants)
				if err != nil {
					t.Errorf("%s: %q: %v", s.Name, printed, err)
				} else if !results.Includes(variants[i], only) {
					t.Errorf("%s: %q selects %v, not %v", s.Name, printed, only, variants[i])
				}
			}
		}
	}
}

func TestParseOnly(t *testing.T) {
	variants := []map[string]string{
		{"sockets": "reuseport", "stop": "close", "load.retry.max": "0", "x": "a b=c"},
		{"sockets": "reuseport", "stop": "drain", "load.retry.max": "3", "x": "twice"},
		{"sockets": "shared", "stop": "handoff", "y": "twice"},
		{"restart": "reload", "server.vars.mode": "-W -D"},
		{"restart": "reload", "server.vars.mode": ""},
	}
	for _, test := range []struct {
		only []string
		want scenarios.Labels // nil if an error is expected
	}{
		{[]string{"stop=close"}, scenarios.Labels{"stop": "close"}},
		{[]string{"drain"}, scenarios.Labels{"stop": "drain"}},
		{[]string{`mode=""`}, scenarios.Labels{"server.vars.mode": ""}},
		{[]string{`restart=reload server.vars.mode=""`},
			scenarios.Labels{"restart": "reload", "server.vars.mode": ""}},
		{[]string{"reuseport · close"}, scenarios.Labels{"sockets": "reuseport", "stop": "close"}},
		{[]string{"sockets=shared stop=handoff"},
			scenarios.Labels{"sockets": "shared", "stop": "handoff"}},
		{[]string{"reuseport · retry.max=3"},
			scenarios.Labels{"sockets": "reuseport", "load.retry.max": "3"}},
		{[]string{"x=a b=c"}, nil},
		{[]string{"restart=reload server.vars.mode=-W -D"},
			scenarios.Labels{"restart": "reload", "server.vars.mode": "-W -D"}},
		{[]string{"sockets=reuseport", "drain"},
			scenarios.Labels{"sockets": "reuseport", "stop": "drain"}},
		{[]string{"close", "stop=drain"}, nil},
		{[]string{"twice"}, nil},
		{[]string{"shared · close"}, nil},
		{[]string{"="}, nil},
	} {
		got, err := parseOnly(test.only, variants)
		if (err != nil) != (test.want == nil) {
			t.Errorf("%q: got %v, error %v; want %v", test.only, got, err, test.want)
		} else if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.only, diff)
		}
	}
}

package main

import (
	"strings"
	"testing"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/starter"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// The documents contain the current tables; -update (make generate) rewrites the tables.
func TestTables(t *testing.T) {
	own, servers, err := scenariosMarkdown()
	if err != nil {
		t.Fatal(err)
	}
	testkit.Tables(t, testkit.Documents(t, ".."), map[string]string{
		"scenarios": own, "servers": servers, "programs": starter.Markdown(),
	})
}

// list counts the variants that need root and those that are skipped here, and names the missing
// capabilities.
func TestListed(t *testing.T) {
	p, err := planAll(plan.Machine{CPUs: []int{0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		missing  []vocabulary.Capability
		scenario string
		want     string
	}{
		{nil, "steady", ""},
		{nil, "roll", "root for 1 of 7"},
		{[]vocabulary.Capability{vocabulary.SKReuseport}, "roll", "root: 1 of 7 skipped here"},
		{[]vocabulary.Capability{vocabulary.HAProxyCommand}, "roll", "root for 1 of 7"},
		{[]vocabulary.Capability{vocabulary.HAProxyCommand}, "load-balancer",
			"haproxy: missing here, all 12 skipped"},
		{[]vocabulary.Capability{vocabulary.TUN}, "round-trip", ""}, // not missing: netem is enough
		{[]vocabulary.Capability{vocabulary.TUN, vocabulary.Netem}, "round-trip",
			"netem, tun: missing here, 6 of 8 skipped"},
	} {
		missing := map[string]bool{}
		for _, c := range test.missing {
			missing[string(c)] = true
		}
		for _, l := range describeScenarios(p, missing) {
			if l.Name == test.scenario && l.needs() != test.want {
				t.Errorf("%s without %q: %q, want %q", l.Name, test.missing, l.needs(), test.want)
			}
			if l.ExpectedNS <= 0 || !strings.Contains(l.Question, "?") {
				t.Errorf("%s: expected to take %d ns, asks %q", l.Name, l.ExpectedNS, l.Question)
			}
		}
	}
}

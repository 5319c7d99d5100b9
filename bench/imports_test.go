package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "reuseport-bench/"

// allowed is the graph of ARCHITECTURE.md: what each package may import of this module, besides
// the standard library and other modules. Arrows point one way, so there are no cycles.
var allowed = map[string][]string{
	"scenarios":               {"results/cause", "scenarios/strictyaml"},
	"scenarios/strictyaml":    {},
	"scenarios/vocabulary":    {},
	"results":                 {"results/cause"},
	"results/cause":           {},
	"servers/clock":           {},
	"servers/sys":             {},
	"servers/wire":            {},
	"servers/socket":          {},
	"servers/child":           {"servers/sys"},
	"servers/journal":         {"servers/sys", "servers/clock", "servers/wire"},
	"servers/selector":        {"servers/sys"},
	"bench/internal/netlab":   {"servers/sys", "servers/child"},
	"bench/internal/kernel":   {"servers/sys"},
	"bench/internal/haproxy":  {"servers/sys", "servers/child"},
	"bench/internal/dns":      {},
	"bench/internal/kube":     {"bench/internal/netlab", "servers/clock"},
	"bench/internal/doctor":   {"bench/internal/kernel", "bench/internal/loopback", "bench/internal/netlab", "servers/clock", "servers/sys"},
	"bench/internal/loopback": {"servers/socket"}, // also for the tests of kernel
	"results/report":          {"results", "results/cause"},
	"servers":                 {"servers/child", "servers/clock", "servers/journal", "servers/selector", "servers/socket"},
	"servers/worker":          {"servers", "servers/child", "servers/clock", "servers/journal", "servers/selector", "servers/socket", "servers/sys", "servers/wire"},
	"bench/internal/load":     {"results", "servers/child", "servers/clock", "servers/sys", "servers/wire", "servers/socket", "bench/internal/dns"},
	// What a run is made of, in the order in which data flows.
	"bench/internal/gates": {"scenarios", "results", "results/cause"},
	"bench/internal/plan": {"scenarios", "results", "servers", "bench/internal/gates", "bench/internal/load",
		"bench/internal/netlab", "bench/internal/kube", "bench/internal/dns"},
	"bench/internal/ledger": {"scenarios", "results", "results/cause", "servers/clock", "servers/journal", "servers/wire",
		"bench/internal/load"},
	"bench/internal/watch": {"results", "servers", "servers/clock", "servers/selector", "bench/internal/ledger",
		"bench/internal/kernel", "bench/internal/netlab"},
	"bench/internal/cluster": {"results", "servers", "servers/clock", "servers/socket", "servers/sys", "bench/internal/plan",
		"bench/internal/ledger", "bench/internal/kube", "bench/internal/dns", "bench/internal/kernel", "bench/internal/netlab"},
	"bench/internal/trial": {"results", "servers", "servers/clock", "servers/journal", "bench/internal/plan",
		"bench/internal/cluster", "bench/internal/watch", "bench/internal/ledger", "bench/internal/load",
		"bench/internal/haproxy", "bench/internal/kernel", "bench/internal/netlab"},
	"bench/internal/generators": {"scenarios", "results", "servers", "servers/clock", "servers/journal",
		"bench/internal/plan", "bench/internal/trial", "bench/internal/load", "bench/internal/kernel"},
	"bench/internal/harness": {"results", "servers", "servers/clock", "servers/journal", "servers/sys",
		"bench/internal/plan", "bench/internal/gates", "bench/internal/trial", "bench/internal/ledger",
		"bench/internal/load", "bench/internal/haproxy", "bench/internal/kernel", "bench/internal/netlab"},
	// The command. From servers/worker on: the child roles, doctor, and what reads kept facts.
	"bench": {"scenarios", "results", "results/report", "bench/internal/plan", "bench/internal/trial",
		"bench/internal/harness", "bench/internal/generators", "bench/internal/doctor", "servers/worker", "bench/internal/load",
		"bench/internal/netlab", "bench/internal/kernel", "bench/internal/ledger"},

	"bench/internal/gates/gatestest": {"scenarios", "results"}, // for tests
	"servers/testkit":                {"servers/sys"},          // for tests alone: no package may import it
}

// words is the words that all packages have in common: any may import it, and it none.
const words = "scenarios/vocabulary"

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		may, known := allowed[pkg]
		if !known {
			t.Errorf("%s: a new package; put it into the graph here and in ARCHITECTURE.md", pkg)
		}
		for _, name := range may {
			if !slices.Contains(fields[1:], module+name) {
				t.Errorf("%s does not import %s any more; take the arrow out of the graph", pkg, name)
			}
		}
		for _, imported := range fields[1:] {
			if name, ours := strings.CutPrefix(imported, module); ours && name != words && !slices.Contains(may, name) {
				t.Errorf("%s imports %s, against the graph in ARCHITECTURE.md", pkg, name)
			}
		}
	}
}

package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "reuseport-bench/"

// allowed is the graph in ARCHITECTURE.md: for each package, the packages of this module that it
// may import.
var allowed = map[string][]string{
	// Packages without imports, and packages that import only these.
	"results/cause":    {},
	"results/terms":    {},
	"results/command":  {},
	"results/unit":     {},
	"results/input":    {},
	"results/jsonfile": {"results/input"},
	"results": {
		"results/cause", "results/command", "results/input", "results/jsonfile", "results/unit",
	},
	"scenarios/strictyaml": {"results/input"},
	"scenarios/vocabulary": {},
	"servers/clock":        {},
	"servers/sys":          {},
	"servers/wire":         {},
	"servers/socket":       {},
	"servers/child":        {"servers/sys"},
	"servers/journal":      {"servers/clock", "servers/sys", "servers/wire"},
	"servers/selector":     {"servers/sys"},
	// The packages under results.
	"results/stats":   {"results", "results/unit"},
	"results/metrics": {"results", "results/cause", "results/unit"},
	"results/summary": {
		"results", "results/cause", "results/metrics", "results/stats", "results/unit",
	},
	"results/compare": {
		"results", "results/input", "results/metrics", "results/stats", "results/summary",
		"results/unit",
	},
	"results/claims":          {"results", "results/metrics", "results/unit"},
	"results/stored":          {"results", "results/compare", "results/summary"},
	"results/report/chart":    {},
	"results/report/document": {"results/report/chart"},
	"results/report": {
		"results", "results/cause", "results/claims", "results/command", "results/compare",
		"results/input", "results/jsonfile", "results/metrics", "results/report/chart",
		"results/report/document", "results/stats", "results/summary", "results/unit",
	},
	"results/report/formats": {
		"results", "results/metrics", "results/report", "results/report/document", "results/unit",
	},
	"scenarios": {
		"results", "results/command", "results/input", "results/metrics", "scenarios/strictyaml",
	},
	// Servers, and the tools that measure them.
	"servers": {
		"servers/child", "servers/clock", "servers/journal", "servers/selector", "servers/socket",
		"servers/sys",
	},
	"servers/worker": {
		"servers", "servers/child", "servers/clock", "servers/journal", "servers/selector",
		"servers/socket", "servers/sys", "servers/wire",
	},
	"bench/internal/netlab":   {"servers/child", "servers/sys"},
	"bench/internal/kernel":   {"servers/sys"},
	"bench/internal/loopback": {"servers/socket"},
	"bench/internal/witness":  {"bench/internal/kernel", "servers/clock", "servers/sys"},
	"bench/internal/haproxy":  {"servers/child", "servers/sys"},
	"bench/internal/foreign": {
		"bench/internal/kernel", "servers", "servers/child", "servers/clock", "servers/socket",
	},
	"bench/internal/relay": {
		"results", "servers/child", "servers/clock", "servers/socket", "servers/sys",
	},
	"bench/internal/dns":  {},
	"bench/internal/kube": {"bench/internal/netlab", "servers/clock"},
	"bench/internal/kubernetes": {
		"bench/internal/netlab", "servers/child", "servers/clock", "servers/sys",
	},
	"bench/internal/doctor": {
		"bench/internal/kernel", "bench/internal/kubernetes", "bench/internal/loopback",
		"bench/internal/netlab", "results/unit", "servers/clock", "servers/sys",
	},
	"bench/internal/load": {
		"bench/internal/dns", "results", "servers/child", "servers/clock", "servers/socket",
		"servers/sys", "servers/wire",
	},
	// The parts of a run, in the order of the data flow.
	"bench/internal/gates": {
		"results", "results/cause", "results/compare", "results/metrics", "results/stats",
		"results/summary", "results/unit", "scenarios",
	},
	"bench/internal/plan": {
		"bench/internal/dns", "bench/internal/foreign", "bench/internal/gates",
		"bench/internal/kernel", "bench/internal/kube", "bench/internal/load",
		"bench/internal/netlab", "results", "results/compare", "results/unit", "scenarios",
		"servers", "servers/wire",
	},
	"bench/internal/ledger": {
		"bench/internal/load", "bench/internal/witness", "results", "results/cause",
		"results/input", "results/jsonfile", "results/stats", "results/unit", "scenarios",
		"servers/clock", "servers/journal", "servers/wire",
	},
	"bench/internal/watch": {
		"bench/internal/kernel", "bench/internal/ledger", "bench/internal/netlab", "results",
		"servers", "servers/clock", "servers/selector", "servers/sys",
	},
	"bench/internal/cluster": {
		"bench/internal/dns", "bench/internal/kernel", "bench/internal/kube",
		"bench/internal/kubernetes", "bench/internal/ledger", "bench/internal/netlab",
		"bench/internal/plan", "results", "servers", "servers/clock", "servers/socket",
	},
	"bench/internal/trial": {
		"bench/internal/cluster", "bench/internal/foreign", "bench/internal/haproxy",
		"bench/internal/kernel", "bench/internal/kubernetes", "bench/internal/ledger",
		"bench/internal/load", "bench/internal/netlab", "bench/internal/plan",
		"bench/internal/relay", "bench/internal/watch", "bench/internal/witness", "results",
		"results/stats", "servers",
		"servers/clock", "servers/journal",
	},
	"bench/internal/starter": {"results/unit", "scenarios/strictyaml"},
	"bench/internal/generators": {
		"bench/internal/kernel", "bench/internal/load", "bench/internal/plan",
		"bench/internal/trial", "results", "results/input", "results/jsonfile", "scenarios",
		"servers", "servers/clock", "servers/journal",
	},
	"bench/internal/harness": {
		"bench/internal/gates", "bench/internal/haproxy", "bench/internal/kernel",
		"bench/internal/kubernetes", "bench/internal/ledger", "bench/internal/load",
		"bench/internal/netlab", "bench/internal/plan", "bench/internal/trial", "results",
		"results/claims",
		"results/input", "results/summary", "results/unit", "servers", "servers/clock",
		"servers/journal", "servers/sys",
	},
	"bench/internal/reference": {
		"results/cause", "results/claims", "results/metrics", "results/report",
		"results/report/document", "results/terms", "results/unit", "scenarios",
	},
	// The command. It imports servers/worker, load and netlab for its child roles.
	"bench": {
		"bench/internal/doctor", "bench/internal/foreign", "bench/internal/generators",
		"bench/internal/harness", "bench/internal/kubernetes",
		"bench/internal/kernel", "bench/internal/ledger", "bench/internal/load",
		"bench/internal/netlab", "bench/internal/plan", "bench/internal/reference",
		"bench/internal/relay", "bench/internal/starter", "bench/internal/trial", "results",
		"results/claims", "results/command", "results/compare",
		"results/input", "results/metrics", "results/report",
		"results/report/document", "results/report/formats", "results/stats", "results/stored",
		"results/unit", "scenarios", "scenarios/strictyaml", "servers/worker",
	},
	// For tests.
	"bench/internal/gates/gatestest": {"results", "results/summary", "scenarios"},
	"results/resultstest":            {"results", "results/cause"},
	"results/report/reporttest": {
		"results", "results/cause", "results/claims", "results/metrics", "results/summary",
	},
	"servers/testkit": {"servers/sys"},
}

// words is a package that any package may import. It imports no package of this module.
const words = "scenarios/vocabulary"

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}",
		module+"...").Output()
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
				t.Errorf("%s no longer imports %s; delete that arrow from the graph", pkg, name)
			}
		}
		for _, imported := range fields[1:] {
			statistics := strings.HasPrefix(imported, "gonum.org/") ||
				strings.Contains(imported, "go-moremath")
			if statistics && pkg != "results/stats" {
				t.Errorf("%s imports %s: only results/stats imports statistics libraries", pkg,
					imported)
			}
			if name, ours := strings.CutPrefix(imported, module); ours && name != words &&
				!slices.Contains(may, name) {
				t.Errorf("%s imports %s, against the graph in ARCHITECTURE.md", pkg, name)
			}
		}
	}
}

package report

import (
	"os"
	"path/filepath"
	"testing"

	"reuseport-bench/results/stored"
	"reuseport-bench/servers/testkit"
)

// documentCharts are the charts in README and docs, by the run in results/baseline from which they
// are drawn.
var documentCharts = map[string][]string{
	"default":        {"restart-when"},
	"restart-matrix": {"restart-matrix-dropped"},
	"endpoint-lag":   {"endpoint-lag-outage"},
}

// The files in docs/charts are drawn from committed runs. With -update they are drawn again.
func TestDocumentCharts(t *testing.T) {
	const dir = "../../docs/charts"
	wanted := map[string]bool{}
	for run, names := range documentCharts {
		r, err := stored.Load(filepath.Join("../baseline", run))
		if err != nil {
			t.Fatal(err)
		}
		files, err := Charts(r, Options{})
		if err != nil {
			t.Fatal(err)
		}
		drawn := map[string]string{}
		for _, f := range files {
			drawn[f.Name] = f.SVG
		}
		for _, name := range names {
			file := name + ".svg"
			wanted[file] = true
			if drawn[file] == "" {
				t.Errorf("the page of %s has no chart %s", run, name)
				continue
			}
			path := filepath.Join(dir, file)
			if testkit.Updating() {
				if err := os.WriteFile(path, []byte(drawn[file]), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != drawn[file] {
				t.Errorf("%s is not what is drawn from results/baseline/%s (%v); rewrite it with "+
					"'make generate'", path, run, err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !wanted[e.Name()] {
			t.Errorf("%s/%s is drawn from no run", dir, e.Name())
		}
	}
}

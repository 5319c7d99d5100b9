package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseThresholds(t *testing.T) {
	got, err := parseThresholds([]string{"response_p50_ns=10%", "response_p99_ns=0.2", "gap_ns=2ms",
		"lost_per_restart=0.5", "tail_ns=0"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"response_p50_ns": 0.1, "response_p99_ns": 0.2, "gap_ns": 2e6,
		"lost_per_restart": 0.5, "tail_ns": 0}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "gap_ns", "gap_ns=", "=1", "p99=1", "gap_ns=2",
		"response_p50_ns=NaN", "response_p50_ns=Inf", "lost_per_restart=1%"} {
		if got, err := parseThresholds([]string{bad}); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
	if _, err := parseThresholds([]string{"gap_ns=1ms", "gap_ns=2ms"}); err == nil {
		t.Error("a metric given twice was taken")
	}
}

// Each side of a comparison is named after its directory or file. If the two names are equal, the
// paths are used instead.
func TestSideNames(t *testing.T) {
	for _, test := range []struct{ base, head, wantBase, wantHead string }{
		{"results/runs/old", "results/runs/new/", "old", "new"},
		{"old/run.json", "new/run.json.gz", "old", "new"},
		{"a.json", "b/c.json.gz", "a.json", "c.json.gz"},
		{"x/base", "y/base", "x/base", "y/base"},
		{"/", "new", "/", "new"},
	} {
		base, head := sideNames(test.base, test.head)
		if base != test.wantBase || head != test.wantHead {
			t.Errorf("%s, %s: got %s, %s; want %s, %s", test.base, test.head, base, head,
				test.wantBase, test.wantHead)
		}
	}
}

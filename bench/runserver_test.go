package main

import (
	"slices"
	"testing"

	"reuseport-bench/bench/internal/starter"
)

// The load keeps as many connections as the server can keep for it, and each is used often.
func TestKeep(t *testing.T) {
	const closes = "new ones only: the server keeps none after its answer"
	for name, test := range map[string]struct {
		flag      string
		kept      int
		perSecond float64
		want      []string
		note      string
	}{
		"all": {"", 200, 400, []string{"new", "200"}, "new ones, and 200 kept"},
		"few": {"", 8, 400, []string{"new", "4"},
			"new ones, and 4 kept, half of the 8 that the server kept"},
		"slow": {"", 200, 7.5, []string{"new", "7"},
			"new ones, and 7 kept, so that each is used once a second"},
		"one":      {"", 1, 400, []string{"new"}, ""},
		"closes":   {"", 0, 400, []string{"new"}, closes},
		"closes 9": {"9", 0, 400, []string{"new"}, closes},
		"9":        {"9", 1, 400, []string{"9"}, "9 kept"},
	} {
		f := serverFlags{connections: test.flag, perSecond: test.perSecond}
		if most := f.mostKept(); test.kept > most {
			t.Errorf("%s: at most %d are tried", name, most)
		}
		f.keep(test.kept)
		if !slices.Equal(f.Connections, test.want) || test.note != "" && f.KeptNote != test.note {
			t.Errorf("%s: %v, %q; want %v, %q", name, f.Connections, f.KeptNote, test.want,
				test.note)
		}
	}
	if most := (&serverFlags{connections: starter.NewConnections}).mostKept(); most != 0 {
		t.Errorf("--connections new tries to keep %d", most)
	}
}

func TestRoundDown(t *testing.T) {
	for rate, want := range map[float64]float64{
		0: 1, 0.3: 1, 1: 1, 1.29: 1.2, 9.99: 9.9, 10: 10, 437: 430, 1000: 1000, 12_999: 12_000,
	} {
		if got := roundDown(rate); got != want {
			t.Errorf("%v: got %v, want %v", rate, got, want)
		}
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/generators"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   string
	}{
		{nil, "–"},
		{[]float64{1234.4}, "1234"},
		{[]float64{3, 1, 2}, "2.00 [1.00–3.00]"},
		{[]float64{40, 10, 20, 30}, "25.0 [10.0–40.0]"},
	} {
		if got := spread(tt.values); got != tt.want {
			t.Errorf("spread(%v) = %q, want %q", tt.values, got, tt.want)
		}
	}
}

// A ratio compares two generators within one round, because a disturbance of the machine affects
// all generators of the round.
func TestPrintEngines(t *testing.T) {
	run := func(perSecond float64) generators.Run {
		return generators.Run{Flat: &generators.Flat{PerSecond: perSecond,
			CPU: 50 * time.Microsecond, WorkerBusy: 0.5}}
	}
	var out strings.Builder
	err := printEngines(&out, 100, []*generators.Generator{
		{Name: generators.Ours, Connections: "new", Runs: []generators.Run{run(2000), run(30000)}},
		{Name: generators.Vegeta, Connections: "new", Runs: []generators.Run{run(1000), run(10000)}},
		{Name: generators.Hey, Connections: "new", Problem: "exit status 7"},
	}, 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.50 [2.00–3.00]", "[1000–10000]",
		"hey, new connections: exit status 7", "Of 5 rounds, the 2 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, not := range []string{"÷ wrk", "reused"} {
		if strings.Contains(out.String(), not) {
			t.Errorf("%q, which was not measured, is in\n%s", not, &out)
		}
	}
}

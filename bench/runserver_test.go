package main

import "testing"

func TestRoundDown(t *testing.T) {
	for rate, want := range map[float64]float64{
		0: 1, 0.3: 1, 1: 1, 1.29: 1.2, 9.99: 9.9, 10: 10, 437: 430, 1000: 1000, 12_999: 12_000,
	} {
		if got := roundDown(rate); got != want {
			t.Errorf("%v: got %v, want %v", rate, got, want)
		}
	}
}

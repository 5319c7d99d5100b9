package kube

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDistributions compares quantiles of many samples with those of the distributions.
func TestDistributions(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name   string
		of     Distribution
		median time.Duration
		p99    time.Duration
	}{
		{"fixed", Fixed(time.Second), time.Second, time.Second},
		{"uniform", Uniform{time.Second, 3 * time.Second}, 2 * time.Second, 2980 * time.Millisecond},
		// The exponential distribution's quantiles are mean × −ln(1 − p): 0.6931 and 4.6052.
		{"exponential", Exponential{time.Second}, 693 * time.Millisecond, 4605 * time.Millisecond},
		{"lognormal", LogNormal{100 * time.Millisecond, time.Second}, 100 * time.Millisecond, time.Second},
		{"lognormal without spread", LogNormal{time.Second, time.Second}, time.Second, time.Second},
		// 0.99 is 0.98 of the way from the second to the third.
		{"quantiles", Quantiles{0, time.Second, 3 * time.Second}, time.Second,
			2960 * time.Millisecond},
		{"one quantile", Quantiles{time.Second}, time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.of.Validate(); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			samples := make([]time.Duration, n)
			for i := range samples {
				samples[i] = c.of.Sample(r)
			}
			slices.Sort(samples)
			for _, q := range []struct {
				p    float64
				want time.Duration
			}{{0.5, c.median}, {0.99, c.p99}} {
				got := samples[int(q.p*n)]
				if off := math.Abs(float64(got)/float64(q.want) - 1); off > 0.03 {
					t.Errorf("quantile %v is %v, want %v", q.p, got, q.want)
				}
			}
			if samples[0] < 0 {
				t.Errorf("the smallest lag is %v, want none below 0", samples[0])
			}
		})
	}
}

func TestLagsValidate(t *testing.T) {
	for want, l := range map[string]Lags{
		"lag from ready to endpoint: -1s is negative": {ReadyToEndpoint: Fixed(-time.Second)},
		"lag from endpoint to rules: uniform":         {EndpointToRules: Uniform{2, 1}},
		"lag from endpoint to rules: lognormal":       {EndpointToRules: LogNormal{2, 1}},
		"lag from endpoint to rules: quantiles: no":   {EndpointToRules: Quantiles{}},
		"lag from endpoint to rules: quantiles: want": {EndpointToRules: Quantiles{1, -1}},
		"lag from endpoint to rules: -1ns":            {EndpointToRules: Quantiles{-1, 1}},
		"lag from ready to endpoint: -1ns":            {ReadyToEndpoint: Exponential{-1}},
		"min sync period":                             {MinSyncPeriod: -1},
	} {
		if err := l.validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (Lags{}).validate(); err != nil {
		t.Errorf("no lags: %v", err)
	}
}

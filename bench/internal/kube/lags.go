package kube

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Lags determines the delays of the stages of an Embedded control plane. With the zero value there
// are no delays.
type Lags struct {
	// ReadyToEndpoint is the lag between what a pod's kubelet reports (its address, ready or
	// unready) and the update of its service's EndpointSlice. DeletedToEndpoint is the lag between
	// the beginning or the end of a pod's deletion and that update. nil: no lag.
	ReadyToEndpoint, DeletedToEndpoint Distribution
	// EndpointToRules is the lag until a node receives a change of endpoints, drawn for each node.
	// nil: no lag. The node then syncs its rules, which takes additional time.
	EndpointToRules Distribution
	// MinSyncPeriod is the minimum time from the end of a node's sync of its rules to the start of
	// the next sync. A change after this period is synced at once. Changes within the period wait
	// until it ends, and are synced together. kube-proxy does the same; its default is 1 s
	// (pkg/proxy/runner, BoundedFrequencyRunner, since Kubernetes 1.34).
	MinSyncPeriod time.Duration
}

func (l Lags) validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		of   Distribution
	}{
		{"ready to endpoint", l.ReadyToEndpoint}, {"deleted to endpoint", l.DeletedToEndpoint},
		{"endpoint to rules", l.EndpointToRules},
	} {
		if d.of == nil {
			continue
		}
		if err := d.of.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("lag from %s: %w", d.name, err))
		}
	}
	if l.MinSyncPeriod < 0 {
		errs = append(errs, fmt.Errorf("min sync period %v is negative: want 0 or more",
			l.MinSyncPeriod))
	}
	return errors.Join(errs...)
}

// A Distribution is a distribution of lags. No lag is negative.
type Distribution interface {
	// Sample draws a lag. Validate must have returned nil.
	Sample(*rand.Rand) time.Duration
	Validate() error
}

// Fixed is a constant lag.
type Fixed time.Duration

// Sample implements Distribution.
func (f Fixed) Sample(*rand.Rand) time.Duration { return time.Duration(f) }

// Validate implements Distribution.
func (f Fixed) Validate() error { return notNegative(time.Duration(f)) }

// Uniform is the uniform distribution from Min (included) to Max.
type Uniform struct{ Min, Max time.Duration }

// Sample implements Distribution.
func (u Uniform) Sample(r *rand.Rand) time.Duration {
	return u.Min + time.Duration(r.Float64()*float64(u.Max-u.Min))
}

// Validate implements Distribution.
func (u Uniform) Validate() error {
	if u.Max < u.Min {
		return fmt.Errorf("uniform from %v to %v: want the first to be at most the second",
			u.Min, u.Max)
	}
	return notNegative(u.Min)
}

// Exponential is the exponential distribution with the given mean.
type Exponential struct{ Mean time.Duration }

// Sample implements Distribution.
func (e Exponential) Sample(r *rand.Rand) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(e.Mean))
}

// Validate implements Distribution.
func (e Exponential) Validate() error { return notNegative(e.Mean) }

// LogNormal is the log-normal distribution with the given median, which must be above 0, and 99th
// percentile, which must be at least the median.
type LogNormal struct{ Median, P99 time.Duration }

// Sample implements Distribution. The logarithm of the lag is normal: its mean is the logarithm of
// the median, and its 99th percentile is 2.3263 standard deviations above that mean.
func (l LogNormal) Sample(r *rand.Rand) time.Duration {
	const z99 = 2.3263478740408408 // 99th percentile of the standard normal distribution
	sigma := math.Log(float64(l.P99)/float64(l.Median)) / z99
	return time.Duration(min(float64(l.Median)*math.Exp(sigma*r.NormFloat64()), math.MaxInt64/2))
}

// Validate implements Distribution.
func (l LogNormal) Validate() error {
	if l.Median <= 0 || l.P99 < l.Median {
		return fmt.Errorf("lognormal with median %v and p99 %v: want 0 < median ≤ p99",
			l.Median, l.P99)
	}
	return nil
}

// Quantiles is a distribution of measured lags. Its values are quantiles at equal distances, in
// ascending order. The first is the shortest lag and the last the longest. It may list all measured
// lags.
type Quantiles []time.Duration

// Sample implements Distribution. It interpolates linearly between quantiles (inverse transform).
func (q Quantiles) Sample(r *rand.Rand) time.Duration {
	i, part := math.Modf(r.Float64() * float64(len(q)-1))
	low := q[int(i)]
	high := q[min(int(i)+1, len(q)-1)]
	return low + time.Duration(part*float64(high-low))
}

// Validate implements Distribution.
func (q Quantiles) Validate() error {
	switch {
	case len(q) == 0:
		return errors.New("quantiles: no values")
	case !slices.IsSorted(q):
		return errors.New("quantiles: want ascending values")
	}
	return notNegative(q[0])
}

func notNegative(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%v is negative: want 0 or more", d)
	}
	return nil
}

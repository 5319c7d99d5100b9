package kube

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Lags are how long an Embedded control plane takes over each stage. The zero value takes no time.
type Lags struct {
	// ReadyToEndpoint is from a pod's becoming ready, unready, terminating or gone to its service's
	// EndpointSlice. nil: at once.
	ReadyToEndpoint Distribution
	// EndpointToRules is from a change of endpoints to the node's hearing of it, drawn for each
	// node. nil: at once. The sync of the rules comes after that, and takes the time it takes.
	EndpointToRules Distribution
	// MinSyncPeriod is the least time from the end of a node's sync of its rules to the start of
	// the next. A change that comes later than that is synced at once; those that come sooner wait
	// for the period's end, and are synced together. So does kube-proxy, whose default is 1 s
	// (pkg/proxy/runner, BoundedFrequencyRunner, since Kubernetes 1.34).
	MinSyncPeriod time.Duration
}

func (l Lags) validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		of   Distribution
	}{{"ready to endpoint", l.ReadyToEndpoint}, {"endpoint to rules", l.EndpointToRules}} {
		if d.of == nil {
			continue
		}
		if err := d.of.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("lag from %s: %w", d.name, err))
		}
	}
	if l.MinSyncPeriod < 0 {
		errs = append(errs, fmt.Errorf("min sync period %v is negative", l.MinSyncPeriod))
	}
	return errors.Join(errs...)
}

// A Distribution is what a lag is drawn from. No lag is negative.
type Distribution interface {
	// Sample draws one. Only what Validate has no error for may be drawn from.
	Sample(*rand.Rand) time.Duration
	Validate() error
}

// Fixed is always the same.
type Fixed time.Duration

// Sample implements Distribution.
func (f Fixed) Sample(*rand.Rand) time.Duration { return time.Duration(f) }

// Validate implements Distribution.
func (f Fixed) Validate() error { return notNegative(time.Duration(f)) }

// Uniform is from Min, included, to Max.
type Uniform struct{ Min, Max time.Duration }

// Sample implements Distribution.
func (u Uniform) Sample(r *rand.Rand) time.Duration {
	return u.Min + time.Duration(r.Float64()*float64(u.Max-u.Min))
}

// Validate implements Distribution.
func (u Uniform) Validate() error {
	if u.Max < u.Min {
		return fmt.Errorf("uniform from %v to %v: the end is before the beginning", u.Min, u.Max)
	}
	return notNegative(u.Min)
}

// Exponential has the given mean.
type Exponential struct{ Mean time.Duration }

// Sample implements Distribution.
func (e Exponential) Sample(r *rand.Rand) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(e.Mean))
}

// Validate implements Distribution.
func (e Exponential) Validate() error { return notNegative(e.Mean) }

// LogNormal is given by two of its quantiles: Median, above 0, and P99, at least that.
type LogNormal struct{ Median, P99 time.Duration }

// Sample implements Distribution. The logarithm is normal: its mean is that of the median, and its
// 99th percentile is 2.3263 standard deviations above.
func (l LogNormal) Sample(r *rand.Rand) time.Duration {
	const z99 = 2.3263478740408408 // of the standard normal distribution
	sigma := math.Log(float64(l.P99)/float64(l.Median)) / z99
	return time.Duration(min(float64(l.Median)*math.Exp(sigma*r.NormFloat64()), math.MaxInt64/2))
}

// Validate implements Distribution.
func (l LogNormal) Validate() error {
	if l.Median <= 0 || l.P99 < l.Median {
		return fmt.Errorf("lognormal with median %v and p99 %v: want 0 < median ≤ p99", l.Median, l.P99)
	}
	return nil
}

// Empirical draws from measured values, each as likely as the others.
type Empirical []time.Duration

// Sample implements Distribution.
func (e Empirical) Sample(r *rand.Rand) time.Duration { return e[r.IntN(len(e))] }

// Validate implements Distribution.
func (e Empirical) Validate() error {
	if len(e) == 0 {
		return errors.New("empirical: no values")
	}
	var errs []error
	for _, d := range e {
		errs = append(errs, notNegative(d))
	}
	return errors.Join(errs...)
}

func notNegative(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%v is negative", d)
	}
	return nil
}

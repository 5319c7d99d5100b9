package results

import "slices"

// The scales on which a metric of two variants is compared.
const (
	ScaleRatio      = "ratio"      // head ÷ base
	ScaleDifference = "difference" // head − base: of what may well be 0
)

// Which way a metric is better.
const (
	Lower  = "lower"
	Higher = "higher"
)

// A MetricKind says how a metric is compared.
type MetricKind struct {
	Name   string
	Better string // Lower, Higher, or "": neither is
	Scale  string
	// Threshold is the least change that matters in practice: a share of the base, or for differences the metric's own unit.
	Threshold float64
	counts    bool // events per exposure, see Rate
}

// metricKinds are the metrics that can be compared. What is left out only describes a trial.
var metricKinds = []MetricKind{
	{MetricHighestRate, Higher, ScaleRatio, 0.05, false},
	{MetricDroppedPerRestart, Lower, ScaleDifference, 0.05, true},
	{MetricDroppedPerAttempt, Lower, ScaleDifference, 1e-4, true},
	{MetricLostPerRestart, Lower, ScaleDifference, 0.05, true},
	{MetricLostPerAttempt, Lower, ScaleDifference, 1e-4, true},
	{MetricResetAtClosePer, Lower, ScaleDifference, 0.05, true},
	{MetricHalfOpenLost, Lower, ScaleDifference, 0.01, false},
	{MetricGap, Lower, ScaleDifference, 1e6, false},
	{MetricOutage, Lower, ScaleDifference, 1e6, false},
	{MetricDroppedPerStep, Lower, ScaleDifference, 1, false},
	{MetricLostPerStep, Lower, ScaleDifference, 1, false},
	{MetricStaleNS, Lower, ScaleRatio, 0.1, false},
	{MetricEndpointsLag, Lower, ScaleRatio, 0.1, false},
	{MetricRulesLag, Lower, ScaleRatio, 0.1, false},
	{MetricPodReady, Lower, ScaleDifference, 1e6, false},
	{MetricPodRouted, Lower, ScaleDifference, 1e6, false},
	{MetricStall, Lower, ScaleRatio, 0.25, false},
	{MetricTakeover, Lower, ScaleDifference, 1e6, false},
	{MetricTail, Lower, ScaleDifference, 1e6, false},
	{MetricFirstServed, Lower, ScaleRatio, 0.1, false},
	{MetricFairShare, Lower, ScaleRatio, 0.1, false},
	{MetricNewcomerP50, Lower, ScaleRatio, 0.1, false},
	{MetricNewcomerP99, Lower, ScaleRatio, 0.1, false},
	{MetricOthersP99, Lower, ScaleRatio, 0.1, false},
	{"response_p50_ns", Lower, ScaleRatio, 0.05, false},
	{"response_p90_ns", Lower, ScaleRatio, 0.05, false},
	{"response_p99_ns", Lower, ScaleRatio, 0.1, false},
	{"response_p999_ns", Lower, ScaleRatio, 0.2, false},
	{"response_max_ns", Lower, ScaleRatio, 0.25, false},
	{"response_mean_ns", Lower, ScaleRatio, 0.05, false},
	{"response_sd_ns", Lower, ScaleRatio, 0.2, false},
	{"service_p50_ns", Lower, ScaleRatio, 0.05, false},
	{"service_p90_ns", Lower, ScaleRatio, 0.05, false},
	{"service_p99_ns", Lower, ScaleRatio, 0.1, false},
	{"service_p999_ns", Lower, ScaleRatio, 0.2, false},
	{"service_max_ns", Lower, ScaleRatio, 0.25, false},
	{"service_mean_ns", Lower, ScaleRatio, 0.05, false},
	{"service_sd_ns", Lower, ScaleRatio, 0.2, false},
	{MetricWait, Lower, ScaleRatio, 0.1, false},
	{MetricTries, Lower, ScaleRatio, 0.01, false},
	{MetricRepeated, Lower, ScaleDifference, 1e-4, false},
	{MetricMaskedP50, Lower, ScaleRatio, 0.1, false},
	{MetricMaskedP99, Lower, ScaleRatio, 0.1, false},
	{MetricJain, Higher, ScaleDifference, 0.02, false},
	{MetricMaxOverMean, Lower, ScaleRatio, 0.05, false},
	{MetricQueueMax, Lower, ScaleDifference, 1, false},
	{MetricLoadCPUPerAttempt, Lower, ScaleRatio, 0.05, false},
	{MetricServersCPUPerAttempt, Lower, ScaleRatio, 0.05, false},
	{MetricSwitches, Lower, ScaleRatio, 0.05, false},
	{MetricSelection, Lower, ScaleRatio, 0.1, false},
}

// KindOf is how the metric is compared; false: it cannot be.
func KindOf(metric string) (MetricKind, bool) {
	i := slices.IndexFunc(metricKinds, func(k MetricKind) bool { return k.Name == metric })
	if i < 0 {
		return MetricKind{}, false
	}
	return metricKinds[i], true
}

// ComparedMetrics are the names of all that can be compared.
func ComparedMetrics() []string {
	names := make([]string, len(metricKinds))
	for i, k := range metricKinds {
		names[i] = k.Name
	}
	return names
}

// MaxGating is how many metrics may decide a comparison of two variants: each more costs all of them power.
const MaxGating = 4

// GatingMetrics are what a comparison is decided by where nothing else is asked for: what the trials that count have been made to
// find out.
func GatingMetrics(trials []*Trial) []string {
	has := func(what func(*Trial) bool) bool { return slices.ContainsFunc(trials, what) }
	switch {
	case has(func(t *Trial) bool { return t.Search != nil }):
		return []string{MetricHighestRate}
	case has(func(t *Trial) bool { return len(t.Restarts()) > 0 }):
		return []string{MetricDroppedPerRestart, MetricGap, "response_p50_ns", "response_p99_ns"}
	}
	return []string{MetricDroppedPerAttempt, "response_p50_ns", "response_p99_ns", MetricServersCPUPerAttempt}
}

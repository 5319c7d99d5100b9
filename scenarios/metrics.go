package scenarios

import (
	"iter"
	"reflect"
	"slices"
	"strings"

	"reuseport-bench/results/cause"
)

// Metrics is what a gate's expression can speak of: the figures of the variant under their own
// names, and those of the scenario's baseline variant behind "baseline.".
type Metrics struct {
	Figures
	Baseline Figures `expr:"baseline"`
}

// Figures are the figures of one variant over its valid trials. The counts are totals, the others
// centres over trials; NaN stands for what was not measured.
type Figures struct {
	Attempts int64 `expr:"attempts"`
	Served   int64 `expr:"served"`
	Lost     int64 `expr:"lost"`
	Dropped  int64 `expr:"dropped"` // lost for any cause but client
	// LostByCause has the causes of package cause. It and LostByPhase may omit what did not occur.
	LostByCause map[string]int64 `expr:"lost_by_cause"`
	LostByPhase map[string]int64 `expr:"lost_by_phase"`
	Residual    int64            `expr:"residual"`
	// LostSentAfterClose counts lost attempts sent after the last old listener had been closed.
	LostSentAfterClose int64 `expr:"lost_sent_after_close" needs:"ends"`

	GapNS      float64 `expr:"gap_ns" needs:"step"`
	OutageNS   float64 `expr:"outage_ns" needs:"step"`
	StallNS    float64 `expr:"stall_ns" needs:"step"`
	TakeoverNS float64 `expr:"takeover_ns" needs:"starts"`
	TailNS     float64 `expr:"tail_ns" needs:"ends"`

	Response Percentiles `expr:"response"`
	Service  Percentiles `expr:"service"`

	DroppedPerRestart float64 `expr:"dropped_per_restart" needs:"restarts"`
	DroppedPerAttempt float64 `expr:"dropped_per_attempt"`

	LostPerRestart float64 `expr:"lost_per_restart" needs:"restarts"`
	LostPerAttempt float64 `expr:"lost_per_attempt"`

	// Where clients try again (load.retry.max): attempts that were served, but not by the first try, and those that a server has read more than
	// once.
	Masked          int64   `expr:"masked"`
	Repeated        int64   `expr:"repeated"`
	TriesPerAttempt float64 `expr:"tries_per_attempt"`

	// Of the connections of the generation that listened longest.
	Jain        float64 `expr:"jain"`
	MaxOverMean float64 `expr:"max_over_mean"`
	Chi2P       float64 `expr:"chi2_p" alone:"true"` // a p is not compared with another

	ContextSwitches float64 `expr:"context_switches_per_connection"`
	ServersCPUNS    float64 `expr:"servers_cpu_per_attempt_ns"`
}

// Percentiles of response or service time, in nanoseconds.
type Percentiles struct {
	P50  float64 `expr:"p50"`
	P90  float64 `expr:"p90"`
	P99  float64 `expr:"p99"`
	P999 float64 `expr:"p999"`
	Max  float64 `expr:"max"`
}

// phases are the keys of LostByPhase.
func phases() []string { return []string{"connect", "send", "wait", "body"} }

// metric is one figure as an expression names it.
type metric struct {
	name  string
	value float64
	needs need  // what the timeline must do for it to exist
	exact bool  // a count: it has no interval
	alone bool  // it means nothing beside the baseline's
	field []int // where in Metrics it is; of a count in a map, the map
}

// all yields every metric of m, in the order of the fields.
func (m Metrics) all() iter.Seq[metric] {
	return func(yield func(metric) bool) { eachMetric(reflect.ValueOf(m), metric{}, yield) }
}

// eachMetric yields the metrics below v, which is at the place and has the needs of at, until yield says stop, and reports whether it did
// not.
func eachMetric(v reflect.Value, at metric, yield func(metric) bool) bool {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			tag := v.Type().Field(i).Tag
			below := metric{
				name:  strings.Trim(at.name+"."+tag.Get("expr"), "."),
				needs: need(tag.Get("needs")),
				alone: tag.Get("alone") != "",
				field: append(slices.Clone(at.field), i),
			}
			if !eachMetric(v.Field(i), below, yield) {
				return false
			}
		}
		return true
	case reflect.Map:
		keys := cause.Names()
		if strings.HasSuffix(at.name, "lost_by_phase") {
			keys = phases()
		}
		for _, key := range keys {
			one := at
			one.name, one.exact = at.name+"."+key, true
			if entry := v.MapIndex(reflect.ValueOf(key)); entry.IsValid() {
				one.value = float64(entry.Int())
			}
			if !yield(one) {
				return false
			}
		}
		return true
	case reflect.Int64:
		at.value, at.exact = float64(v.Int()), true
	default:
		at.value = v.Float()
	}
	return yield(at)
}

// Set gives a figure that the expectation speaks of a value, by its name; other names are ignored.
func (e *Expectation) Set(m *Metrics, name string, value float64) {
	if field, ok := e.figures[name]; ok {
		reflect.ValueOf(m).Elem().FieldByIndex(field).SetFloat(value)
	}
}

// metricNames lists every name that an expression may use.
func metricNames() []string {
	var names []string
	for m := range (Metrics{}).all() {
		names = append(names, m.name)
	}
	return names
}

package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

// clients returns the number of clients in the variant's closed loop, or 0 for an open loop.
func clients(v *results.Variant) int {
	for _, t := range v.Trials {
		if t.Concurrency > 0 {
			return t.Concurrency
		}
	}
	return 0
}

// clientCount writes the number of clients.
func clientCount(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	if n := clients(v); n > 0 {
		return strconv.Itoa(n)
	}
	return missing
}

// loopText writes a variant's labels and, if its load was a closed loop, adds that.
func loopText(v *results.Variant) string {
	text := results.LabelString(v.Labels)
	if n := clients(v); n > 0 {
		text += ", a closed loop of " + unit.Plural(n, "client")
	}
	return text
}

// closedBlock names the variants with closed loops, and lists what is unknown for those variants.
func closedBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	n := newNames(s)
	var closed []string
	for _, v := range measured {
		if clients(v) > 0 {
			closed = append(closed, n.of(v))
		}
	}
	if len(closed) == 0 {
		return
	}
	which := "CLOSED LOOP"
	if len(closed) < len(measured) {
		which += " in " + unit.Plural(len(closed), "variant")
		if len(closed) <= fewVariants {
			which += " (" + strings.Join(closed, "; ") + ")"
		}
	}
	d.Paragraph(which + ": each client sends its next attempt when its last one has ended. So " +
		"nothing is sent to servers that stand still, and what attempts would have met meanwhile " +
		"is in no figure: response times count from when attempts were sent, not corrected for " +
		"coordinated omission. Those that the clients begin with, all at once, are left out.\n" +
		"There is no schedule: no offered rate and no schedule lag; gap, outage and drop window " +
		"are not known.")
}

// A stageRow summarizes the attempts in one stage of a variant's load, over its trials.
type stageRow struct {
	variant, name     string
	attempts, dropped int64
	median, high      []float64 // response times in ns: p50 and p99 of each trial
}

// stageBlock adds a table of the stages of the variants' loads, if there are any. The percentiles
// are medians over trials.
func stageBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	n := newNames(s)
	var rows []stageRow
	for _, v := range measured {
		rows = append(rows, stageRows(v, n.of(v))...)
	}
	if len(rows) == 0 {
		return
	}
	var medians, highs []float64
	for _, r := range rows {
		medians, highs = append(medians, center(r.median)), append(highs, center(r.high))
	}
	inMedian, inHigh := unit.Nanoseconds.Scale(medians...), unit.Nanoseconds.Scale(highs...)
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Left("stage"),
		document.Right("attempts"), document.Right("dropped"),
		document.Right(headIn("p50", inMedian)), document.Right(headIn("p99", inHigh)),
	}}
	for _, r := range rows {
		t.Add(r.variant, r.name, count(r.attempts), count(r.dropped),
			medianText(r.median, inMedian), medianText(r.high, inHigh))
	}
	d.Heading(3, "Stages of the load, and response time of what was due in each")
	d.Table(t)
}

// stageRows returns the stages of a variant's load.
func stageRows(v *results.Variant, name string) (rows []stageRow) {
	for _, t := range v.ValidTrials() {
		for k := range t.Stages {
			s := &t.Stages[k]
			if k == len(rows) {
				rows = append(rows, stageRow{variant: name, name: stageName(s)})
			}
			r := &rows[k]
			r.attempts, r.dropped = r.attempts+s.Attempts, r.dropped+s.Dropped
			if p := s.ResponseNS; p != nil {
				r.median, r.high = append(r.median, float64(p.P50)), append(r.high, float64(p.P99))
			}
		}
	}
	return rows
}

// stageName describes the start, the duration and the rate of a stage.
func stageName(s *results.Stage) string {
	rate := unit.Digits(s.ToPerSecond, 6) + "/s"
	if s.FromPerSecond != s.ToPerSecond {
		rate = unit.Digits(s.FromPerSecond, 6) + " to " + rate
	}
	at, length := time.Duration(s.FromNS), time.Duration(s.DurationNS)
	return fmt.Sprintf("at %v for %v: %s", at, length, rate)
}

// center returns the median of values, or 0 if there are none.
func center(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return stats.Median(values, stats.Confidence).Center
}

// medianText writes the median of values with its interval.
func medianText(values []float64, in unit.Scale) string {
	if len(values) == 0 {
		return missing
	}
	return figure(stats.Median(values, stats.Confidence), unit.Nanoseconds, in, true)
}

// A phase is the part of an attempt from when it is sent until it reaches a certain point.
type phase struct {
	name string
	of   string // the prefix of the names of its metrics
}

// metric returns the name of the metric for a percentile of the time until the end of the phase.
func (p phase) metric(percentile string) string { return p.of + "_" + percentile + "_ns" }

var phases = []phase{{"connected", "connect"}, {"first byte", "first_byte"}, {"whole", "service"}}

// phaseBlock adds the times at which served attempts reached the end of each phase. It adds nothing
// for runs that did not measure phases.
func phaseBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	known := func(v *results.Variant) bool {
		_, ok := v.Summary[phases[0].metric("p50")]
		return ok
	}
	if !slices.ContainsFunc(measured, known) {
		return
	}
	percentiles := []string{"p50", "p90", "p99"}
	t := &document.Table{Columns: []document.Column{document.Left("variant"), document.Left("")}}
	scales := make([]unit.Scale, len(phases))
	for i, p := range phases {
		var values []float64
		for _, v := range measured {
			for _, percentile := range percentiles {
				values = append(values, v.Summary[p.metric(percentile)].Center)
			}
		}
		scales[i] = unit.Nanoseconds.Scale(values...)
		t.Columns = append(t.Columns, document.Right(headIn(p.name, scales[i])))
	}
	n := newNames(s)
	for _, v := range measured {
		for _, percentile := range percentiles {
			cells := []string{n.of(v), percentile}
			for i, p := range phases {
				c := figureColumn{metric: p.metric(percentile), interval: true}
				cells = append(cells, c.cell(t, s, v, scales[i]))
			}
			t.Add(cells...)
		}
	}
	d.Heading(3, "Phases of served attempts, each from the instant an attempt was sent")
	d.Table(t)
}

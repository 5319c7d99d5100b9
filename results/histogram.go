package results

import (
	"errors"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of every histogram. Merging histograms that differ in them would lose
// counts.
const (
	histogramUnitNS  = 1
	histogramMaxNS   = int64(10 * time.Minute)
	histogramFigures = 3
)

// A Histogram counts durations from 0 to 10 minutes in units of 1 ns, with three significant
// figures: a value read back is at most 0.1 % above the one recorded. It takes 254 kB, full or
// empty. It is not safe for concurrent use.
type Histogram struct {
	counts  *hdr.Histogram
	clamped int64
}

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{counts: hdr.New(histogramUnitNS, histogramMaxNS, histogramFigures)}
}

// Record counts one duration, in nanoseconds. A value outside 0 to 10 minutes is counted as the
// nearest value in that range, and also by Clamped.
func (h *Histogram) Record(ns int64) {
	inside := min(max(ns, 0), histogramMaxNS)
	if inside != ns {
		h.clamped++
	}
	// This cannot fail: the value is in range, and counts overflow only after 2⁶³ values.
	_ = h.counts.RecordValue(inside)
}

// Merge adds all counts of other, clamped values included. Use it to compute percentiles over the
// load processes of a trial: averages of percentiles are meaningless.
func (h *Histogram) Merge(other *Histogram) {
	h.counts.Merge(other.counts) // drops nothing: both have the same range and precision
	h.clamped += other.clamped
}

// Count returns the number of values that were recorded.
func (h *Histogram) Count() int64 { return h.counts.TotalCount() }

// Clamped returns the number of recorded values that were outside the range. Encode does not store
// it.
func (h *Histogram) Clamped() int64 { return h.clamped }

// Percentiles returns the percentiles, or nil if nothing was recorded.
func (h *Histogram) Percentiles() *Percentiles {
	if h.Count() == 0 {
		return nil
	}
	at := h.counts.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return &Percentiles{P50: at[0], P90: at[1], P99: at[2], P999: at[3], Max: h.counts.Max(),
		Mean: int64(h.counts.Mean()), SD: int64(h.counts.StdDev())}
}

// Encode returns the histogram in the form of run.json: HdrHistogram V2, compressed, base64. Every
// HdrHistogram library reads it.
func (h *Histogram) Encode() string {
	encoded, err := h.counts.EncodeV2()
	if err != nil { // cannot happen: it writes a known version to memory
		panic(fmt.Sprintf("encoding a histogram in memory: %v", err))
	}
	return string(encoded)
}

// DecodeHistogram reads what Encode wrote. It refuses histograms of another range or precision.
func DecodeHistogram(encoded string) (*Histogram, error) {
	if encoded == "" {
		return nil, errors.New("histogram: empty")
	}
	counts, err := hdr.Decode([]byte(encoded))
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	lowest, highest := counts.LowestTrackableValue(), counts.HighestTrackableValue()
	figures := counts.SignificantFigures()
	if lowest != histogramUnitNS || highest != histogramMaxNS || figures != histogramFigures {
		return nil, fmt.Errorf("histogram: %d to %d at %d figures; want %d to %d ns at %d",
			lowest, highest, figures, histogramUnitNS, histogramMaxNS, histogramFigures)
	}
	return &Histogram{counts: counts}, nil
}

// A Bar is a range of values that a histogram does not tell apart, and how many were recorded.
type Bar struct {
	NS int64 // the greatest value of the range
	N  int64
}

// Values returns the recorded values in ascending order.
func (h *Histogram) Values() (all []Bar) {
	for _, bar := range h.counts.Distribution() {
		if bar.Count > 0 {
			all = append(all, Bar{NS: bar.To, N: bar.Count})
		}
	}
	return all
}

// At returns the smallest value that at least this percentage of the values did not exceed, in
// nanoseconds.
func (h *Histogram) At(percentile float64) int64 { return h.counts.ValueAtPercentile(percentile) }

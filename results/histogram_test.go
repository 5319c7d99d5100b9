package results

import (
	"math"
	"slices"
	"strings"
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

// withinFigures reports whether got equals want to three significant figures and is not smaller
// than want.
func withinFigures(got, want int64) bool {
	return got >= want && float64(got-want) <= float64(want)/1000
}

func TestHistogramPercentiles(t *testing.T) {
	h := NewHistogram()
	if got := h.Percentiles(); got != nil {
		t.Errorf("empty: got %+v, want nil", got)
	}
	for us := int64(1); us <= 10_000; us++ {
		h.Record(us * 1000)
	}
	p := h.Percentiles()
	for _, test := range []struct {
		name      string
		got, want int64
	}{
		{"p50", p.P50, 5_000_000}, {"p90", p.P90, 9_000_000}, {"p99", p.P99, 9_900_000},
		{"p99.9", p.P999, 9_990_000}, {"max", p.Max, 10_000_000},
	} {
		if !withinFigures(test.got, test.want) {
			t.Errorf("%s: got %d, want %d within 0.1 %%", test.name, test.got, test.want)
		}
	}
}

func TestHistogramSmallValuesAreExact(t *testing.T) {
	h := NewHistogram()
	h.Record(1234)
	if p := h.Percentiles(); p.P50 != 1234 || p.Max != 1234 {
		t.Errorf("got %+v, want 1234", p)
	}
}

func TestHistogramClamps(t *testing.T) {
	h := NewHistogram()
	inside := []int64{0, histogramMaxNS}
	outside := []int64{-1, math.MinInt64, histogramMaxNS + 1, math.MaxInt64}
	for _, ns := range slices.Concat(inside, outside) {
		h.Record(ns)
	}
	if h.Count() != 6 || h.Clamped() != 4 {
		t.Errorf("got %d counted, %d clamped; want 6, 4", h.Count(), h.Clamped())
	}
	if p := h.Percentiles(); p.P50 != 0 || !withinFigures(p.Max, histogramMaxNS) {
		t.Errorf("got %+v", p)
	}
}

func TestHistogramMerge(t *testing.T) {
	one, other, both := NewHistogram(), NewHistogram(), NewHistogram()
	for ns := int64(1); ns < 1e9; ns = ns*3/2 + 1 {
		one.Record(ns)
		other.Record(7 * ns)
		both.Record(ns)
		both.Record(7 * ns)
	}
	other.Record(-5)
	both.Record(-5)
	one.Merge(other)
	if one.Encode() != both.Encode() || one.Count() != both.Count() || one.Clamped() != 1 {
		t.Errorf("merged: %+v of %d, %d clamped; recorded at once: %+v of %d",
			one.Percentiles(), one.Count(), one.Clamped(), both.Percentiles(), both.Count())
	}
}

func TestHistogramEncode(t *testing.T) {
	h := NewHistogram()
	for ns := int64(20_000); ns < 5e9; ns = ns * 11 / 10 {
		h.Record(ns)
	}
	encoded := h.Encode()
	back, err := DecodeHistogram(encoded)
	if err != nil {
		t.Fatal(err)
	}
	diff := cmp.Diff(h.Percentiles(), back.Percentiles())
	if diff != "" || back.Count() != h.Count() {
		t.Errorf("count %d, want %d; percentiles (-want +got):\n%s", back.Count(), h.Count(), diff)
	}
	// Every V2 compressed histogram begins with "HISTFAAA" in base64.
	if !strings.HasPrefix(encoded, "HISTFAAA") {
		t.Errorf("not V2: %.20s…", encoded)
	}
}

func TestDecodeHistogramRefuses(t *testing.T) {
	encoded := func(h *hdr.Histogram) string {
		out, err := h.EncodeV2()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, test := range []struct{ name, encoded, want string }{
		{"empty", "", "empty"},
		{"not base64", "…", "illegal base64"},
		{"cut off", NewHistogram().Encode()[:12], "histogram: "},
		{"another range", encoded(hdr.New(1, 1000, 3)), "1 to 1000 at 3 figures"},
		{"another precision", encoded(hdr.New(1, histogramMaxNS, 2)), "at 2 figures"},
	} {
		_, err := DecodeHistogram(test.encoded)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want …%s…", test.name, err, test.want)
		}
	}
}

func TestHistogramSize(t *testing.T) {
	if size := NewHistogram().counts.ByteSize(); size > 256<<10 {
		t.Errorf("%d bytes, want at most 256 KiB", size)
	}
}

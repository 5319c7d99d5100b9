package results

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results/jsonfile"
)

// The percentiles of 1 to n are the nearest ranks. An unknown time is null in JSON.
func TestWindowTimes(t *testing.T) {
	var w WindowTimes
	for _, n := range []int64{0, 1, 2, 200} {
		var times []int64
		for i := range n {
			times = append(times, n-i)
		}
		w.Record(times)
	}
	want := WindowTimes{
		P50: Times{-1, 1, 1, 100}, P99: Times{-1, 1, 2, 198}, Max: Times{-1, 1, 2, 200},
	}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text := encoded(t, w)
	if want := `{"p50":[null,1,1,100],"p99":[null,1,2,198],"max":[null,1,2,200]}`; text != want {
		t.Errorf("in JSON: %s, want %s", text, want)
	}
	var again WindowTimes
	d := jsonfile.NewDecoder(strings.NewReader(text), jsonfile.Limits{Bytes: 1 << 10})
	if err := d.Decode(&again); err != nil || !cmp.Equal(w, again) {
		t.Errorf("read again: %+v, %v", again, err)
	}
	d = jsonfile.NewDecoder(strings.NewReader(`{"p50":["x"]}`), jsonfile.Limits{Bytes: 1 << 10})
	if err := d.Decode(&again); err == nil {
		t.Error("a text is a time")
	}
}

// Each loss is in the bin of its time after the stop.
func TestAroundStops(t *testing.T) {
	s := NewAroundStops()
	for _, after := range []time.Duration{
		-50*time.Millisecond - 1, -50 * time.Millisecond, -time.Millisecond, -1, 0,
		time.Millisecond - 1, time.Millisecond, 50*time.Millisecond - 1, 50 * time.Millisecond,
	} {
		s.Add("refused", after)
	}
	s.Add("timeout", time.Second)
	want := &AroundStops{
		BinNS: 1e6, Bins: 50, Lost: Counts{"refused": {-50: 1, -1: 2, 0: 2, 1: 1, 49: 1}},
		Before: map[string]int64{"refused": 1}, After: map[string]int64{"refused": 1, "timeout": 1},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const stored = `{"stops":0,"bin_ns":1000000,"bins":50,` +
		`"lost":{"refused":{"-1":2,"-50":1,"0":2,"1":1,"49":1}},` +
		`"before":{"refused":1},"after":{"refused":1,"timeout":1}}`
	if got := encoded(t, s); got != stored {
		t.Errorf("in JSON: %s, want %s", got, stored)
	}
}

// A variant's losses around the stops are the sum over its valid trials. A resumed run gives the
// same sum, because each trial is stored with its own.
func TestAroundStopsOfVariant(t *testing.T) {
	trial := func(stops int64, after ...time.Duration) *Trial {
		t := restartTrial(int64(len(after)), 0, 0)
		t.AroundStops = NewAroundStops()
		t.AroundStops.Stops = stops
		for _, d := range after {
			t.AroundStops.Add("reset_at_close", d)
		}
		return t
	}
	invalid := trial(3, 0, 0)
	invalid.Valid = false
	other := trial(3, 0)
	other.AroundStops.Bins = 60
	v := &Variant{Trials: []*Trial{
		trial(1, -1, 0, time.Second), invalid, trial(2, 0, -time.Second), other, restartTrial(1),
	}}
	want := &AroundStops{
		Stops: 3, BinNS: 1e6, Bins: 50, Lost: Counts{"reset_at_close": {-1: 1, 0: 2}},
		Before: map[string]int64{"reset_at_close": 1}, After: map[string]int64{"reset_at_close": 1},
	}
	if diff := cmp.Diff(want, v.AroundStops()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s := create(t)
	for i, trial := range v.Trials {
		if trial = inBlock(i, trial); trial == invalid {
			trial.InvalidReasons = []string{"busy"}
		}
		appendTrial(t, s, closeLabels, trial)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	resumed, run, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	if diff := cmp.Diff(want, run.Scenarios[0].Variants[0].AroundStops()); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}
	older := &Variant{Trials: slices.Repeat([]*Trial{restartTrial(1)}, 2)}
	if sum := older.AroundStops(); sum != nil {
		t.Errorf("an older run has %+v", sum)
	}
}

package results

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Counts are numbers of attempts by cause and by the index of a window or bin. Zeros are left out.
type Counts map[string]map[int]int64

// Add adds n attempts.
func (c Counts) Add(cause string, index int, n int64) {
	if c[cause] == nil {
		c[cause] = map[int]int64{}
	}
	c[cause][index] += n
}

// Total returns the number of all attempts.
func (c Counts) Total() (sum int64) {
	for _, byIndex := range c {
		for _, n := range byIndex {
			sum += n
		}
	}
	return sum
}

// Times are durations in nanoseconds. A negative one is unknown, and null in JSON. A list of
// pointers would take three times the memory.
type Times []int64

// MarshalJSON implements json.Marshaler.
func (t Times) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, ns := range t {
		if i > 0 {
			text = append(text, ',')
		}
		if ns < 0 {
			text = append(text, "null"...)
		} else {
			text = strconv.AppendInt(text, ns, 10)
		}
	}
	return append(text, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Times) UnmarshalJSON(text []byte) error {
	all := make([]*int64, 0, 1+bytes.Count(text, []byte{','}))
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*t = make(Times, len(all))
	for i, ns := range all {
		if (*t)[i] = -1; ns != nil {
			(*t)[i] = *ns
		}
	}
	return nil
}

// Record appends the percentiles of a window's response times. It sorts them.
func (w *WindowTimes) Record(times []int64) {
	slices.Sort(times)
	at := func(share float64) int64 {
		if len(times) == 0 {
			return -1
		}
		return times[int(math.Ceil(share*float64(len(times))))-1]
	}
	w.P50, w.P99, w.Max = append(w.P50, at(0.5)), append(w.P99, at(0.99)), append(w.Max, at(1))
}

// Len returns the number of windows.
func (w *Windows) Len() int { return max(0, len(w.EdgesNS)-1) }

// EndNS returns the end of the last window, or 0 if there are no windows.
func (w *Windows) EndNS() int64 {
	if w.Len() == 0 {
		return 0
	}
	return w.EdgesNS[w.Len()]
}

// contradiction describes how the windows contradict themselves or the trial, or returns "".
func (w *Windows) contradiction(t *Trial) string {
	n := w.Len()
	lengths := []int{len(w.Served), len(w.ResponseNS.P50), len(w.ResponseNS.P99),
		len(w.ResponseNS.Max)}
	last := 0
	for _, byWindow := range w.Lost {
		for i := range byWindow {
			if i < 0 {
				return "windows.lost has a negative window"
			}
			last = max(last, i+1)
		}
	}
	for _, q := range w.Queues {
		last = max(last, q.First+len(q.Longest))
	}
	machine := false
	if m := w.Machine; m != nil {
		pieces := max(0, len(m.EdgesNS)-1)
		machine = len(m.StealNS) > pieces || len(m.RunQueueDelayNS) > pieces
	}
	served := int64(0)
	for _, n := range w.Served {
		served += n
	}
	switch {
	case !slices.IsSorted(w.EdgesNS) || w.Len() > 0 && w.EdgesNS[0] < 0:
		return "windows has edges that are not in order"
	case slices.ContainsFunc(lengths, func(l int) bool { return l != n }), last > n, machine:
		return "windows has lists of different lengths"
	case served > t.Served || w.Lost.Total() > t.Lost:
		return "windows counts more attempts than there were"
	}
	return ""
}

// The bins of AroundStops.
const (
	stopBin  = time.Millisecond
	stopBins = 50 // on each side of the stop
)

// NewAroundStops returns an AroundStops without stops.
func NewAroundStops() *AroundStops {
	return &AroundStops{
		BinNS: int64(stopBin), Bins: stopBins,
		Lost: Counts{}, Before: map[string]int64{}, After: map[string]int64{},
	}
}

// Add adds an attempt that was due at an instant after the stop, or before it if after is negative.
func (s *AroundStops) Add(cause string, after time.Duration) {
	bin := int(math.Floor(float64(after) / float64(s.BinNS)))
	switch {
	case bin < -s.Bins:
		s.Before[cause]++
	case bin >= s.Bins:
		s.After[cause]++
	default:
		s.Lost.Add(cause, bin, 1)
	}
}

// AroundStops returns the sum over the variant's valid trials, or nil if none has such losses
// recorded. It leaves out trials whose bins differ from those of the first.
func (v *Variant) AroundStops() (sum *AroundStops) {
	for _, t := range v.ValidTrials() {
		s := t.AroundStops
		switch {
		case s == nil:
			continue
		case sum == nil:
			sum = NewAroundStops()
			sum.BinNS, sum.Bins = s.BinNS, s.Bins
		case sum.BinNS != s.BinNS || sum.Bins != s.Bins:
			continue
		}
		sum.Stops += s.Stops
		for cause, byBin := range s.Lost {
			for bin, n := range byBin {
				sum.Lost.Add(cause, bin, n)
			}
		}
		for cause, n := range s.Before {
			sum.Before[cause] += n
		}
		for cause, n := range s.After {
			sum.After[cause] += n
		}
	}
	return sum
}

// contradiction describes how the losses contradict themselves or the trial, or returns "".
func (s *AroundStops) contradiction(t *Trial) string {
	total := s.Lost.Total()
	for _, outside := range []map[string]int64{s.Before, s.After} {
		for _, n := range outside {
			total += n
		}
	}
	switch {
	case s.BinNS <= 0:
		return "around_stops has bins without length"
	case s.Stops > int64(len(t.Steps)):
		return "around_stops counts more stops than there were steps"
	case total > t.Lost:
		return "around_stops counts more losses than there were"
	}
	for _, byBin := range s.Lost {
		for bin := range byBin {
			if bin < -s.Bins || bin >= s.Bins {
				return "around_stops has a bin outside of its range"
			}
		}
	}
	return ""
}

// NewQueueSeries returns the series of a queue with the given lengths by window. worker is null for
// the shared socket. It returns false if nothing ever waited.
func NewQueueSeries(worker *int, longest []int64) (_ QueueSeries, waited bool) {
	first := slices.IndexFunc(longest, func(n int64) bool { return n > 0 })
	if first < 0 {
		return QueueSeries{}, false
	}
	return QueueSeries{Worker: worker, First: first, Longest: longest[first:]}, true
}

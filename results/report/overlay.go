package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// overlay lays all restarts of a variant over each other, with the stop at time 0.
func (c *charting) overlay() *document.Chart {
	var shown []*results.Variant
	var sums []*results.AroundStops
	dropped := map[string]int64{}
	for _, v := range c.variants {
		sum := v.AroundStops()
		// Bins differ only in a run that was resumed by a program with other bins.
		if sum == nil || len(sums) > 0 && (sum.BinNS != sums[0].BinNS || sum.Bins != sums[0].Bins) {
			continue
		}
		delete(sum.Lost, cause.Client) // the client's own failures are not dropped
		if sum.Lost.Total() == 0 {
			continue
		}
		shown, sums = append(shown, v), append(sums, sum)
		for name, byBin := range sum.Lost {
			for _, n := range byBin {
				dropped[name] += n
			}
		}
	}
	if len(sums) == 0 {
		return nil
	}
	keys, causes := causeKeys(dropped)
	from, to := binsWithLosses(sums)
	width := float64(sums[0].BinNS) / 1e6
	f := chart.OverlayChart{
		Title:  c.s.Name + ": dropped around the stop, all restarts laid over each other",
		Axis:   "ms after the stop signal",
		Counts: "dropped per ms", Unit: "ms", From: float64(from) * width, Bin: width, Keys: keys,
	}
	if width != 1 {
		f.Counts = fmt.Sprintf("dropped per %g ms", width)
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Left("cause"), document.Right("dropped"),
		document.Right("the first due [ms]"), document.Right("half by [ms]"),
		document.Right("all by [ms]"), document.Right("outside of the chart"),
	}}
	var tallest []float64
	for i, v := range shown {
		p, most := overlayPanel(sums[i], causes, from, to)
		p.Label = c.of(v)
		f.Panels = append(f.Panels, p)
		tallest = append(tallest, most)
		for _, name := range causes {
			addOverlayRow(t, c.of(v), name, sums[i])
		}
	}
	// With one scale, a panel a hundred times smaller than another would be flat.
	f.Own = slices.Max(tallest) > 20*slices.Min(tallest)
	sentence := "When requests were dropped: all restarts laid over each other, with the stop " +
		"signal at 0. A bar has the dropped requests that were due in one millisecond."
	if width != 1 {
		sentence = "When requests were dropped: all restarts laid over each other, with the stop " +
			"signal at 0."
	}
	if f.Own {
		sentence += " Each variant has a scale of its own."
	}
	return &document.Chart{Name: "when", Sentence: sentence, Drawing: chart.Overlay(f), Table: t}
}

// binsWithLosses returns the range of bins that a chart shows: all bins with losses, rounded, and
// at least ten on each side of the stop.
func binsWithLosses(sums []*results.AroundStops) (from, to int) {
	for _, sum := range sums {
		for _, byBin := range sum.Lost {
			for bin := range byBin {
				from, to = min(from, bin), max(to, bin+1)
			}
		}
	}
	rounded := func(n int) int { return min(sums[0].Bins, max(10, (n+4)/5*5)) }
	return -rounded(-from), rounded(to)
}

// overlayPanel returns the panel of a sum, and the height of its tallest bar.
func overlayPanel(sum *results.AroundStops, causes []string, from, to int) (
	p chart.OverlayPanel, tallest float64,
) {
	heights := make([]float64, to-from)
	outside := int64(0)
	for _, name := range causes {
		lost := make([]float64, to-from)
		for bin, n := range sum.Lost[name] {
			lost[bin-from] = float64(n)
			heights[bin-from] += float64(n)
		}
		p.Lost = append(p.Lost, lost)
		outside += sum.Before[name] + sum.After[name]
	}
	p.Figure = thousands(sum.Lost.Total()) + " dropped"
	p.More = "in " + unit.Plural(int(sum.Stops), "stop")
	if outside > 0 {
		p.More += fmt.Sprintf(", %s more outside", thousands(outside))
	}
	return p, slices.Max(heights)
}

// addOverlayRow adds the losses with a cause to the table, if there are any.
func addOverlayRow(t *document.Table, variant, name string, sum *results.AroundStops) {
	all := results.Counts{name: sum.Lost[name]}.Total()
	outside := sum.Before[name] + sum.After[name]
	if all+outside == 0 {
		return
	}
	at := func(bin int) string {
		return strconv.FormatFloat(float64(bin)*float64(sum.BinNS)/1e6, 'g', 6, 64)
	}
	first, half, last := missing, missing, missing
	before := int64(0)
	for _, bin := range slices.Sorted(maps.Keys(sum.Lost[name])) {
		if before == 0 {
			first = at(bin)
		}
		if before < (all+1)/2 && before+sum.Lost[name][bin] >= (all+1)/2 {
			half = at(bin + 1)
		}
		before += sum.Lost[name][bin]
		last = at(bin + 1)
	}
	t.Add(variant, name, count(all), first, half, last, count(outside))
}

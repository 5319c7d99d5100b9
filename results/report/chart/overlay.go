package chart

import (
	"fmt"
	"math"
)

// An OverlayChart lays all restarts of a variant over each other: what was lost in each bin of time
// around the stop, by cause. The stop is at time 0.
type OverlayChart struct {
	Title  string
	Axis   string  // what the time is: "ms after the stop signal"
	Counts string  // what the heights are: "lost per millisecond"
	Unit   string  // of From and Bin
	From   float64 // where the first bin begins; negative: before the stop
	Bin    float64 // the width of a bin
	Keys   []Key
	Panels []OverlayPanel
	// Own gives each panel an axis of its own. Otherwise all panels have the same.
	Own bool
}

// An OverlayPanel is a variant. All panels have the same time axis.
type OverlayPanel struct {
	Label  string
	Figure string
	More   string      // after the figure; narrow charts omit it
	Lost   [][]float64 // for each key, for each bin
}

const panelHeight = 48

// Overlay draws the panels in which something was lost.
func Overlay(f OverlayChart) Drawing {
	var panels []OverlayPanel
	var rows [][]float64
	var tallest []float64
	bins := 0
	for _, p := range f.Panels {
		heights := stackHeights(p.Lost)
		if total(heights) == 0 {
			continue
		}
		panels = append(panels, p)
		tallest = append(tallest, largest(heights))
		bins = max(bins, len(heights))
		var sums []float64
		for _, counts := range p.Lost {
			sums = append(sums, total(counts))
		}
		rows = append(rows, sums)
	}
	if len(panels) == 0 || !(f.Bin > 0) {
		return Drawing{}
	}
	shared := linear(tallest...)
	left := 0.0
	for _, x := range tallest {
		left = max(left, linear(x).axisWidth(), shared.axisWidth())
	}
	time := scale{low: f.From, high: f.From + f.Bin*float64(bins)}

	var c canvas
	keys := used(f.Keys, rows)
	y := c.legend(keys, 0, left)
	c.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(-left), num(y+10), escape(f.Counts))
	y += 18
	top := y
	for i, p := range panels {
		scale := shared
		if f.Own {
			scale = linear(tallest[i])
		}
		plot := narrow - left - margin
		lines := wrap(p.Label, plot-textWidth(p.Figure, textSize)-12, textSize)
		for j, line := range lines {
			c.text("halo", 0, 0, y+12+lineHeight*float64(j), start, line)
		}
		c.figure(p.Figure, p.More, "", y+12)
		y += lineHeight*float64(len(lines)) + 4
		c.yAxis(scale, y, y+panelHeight)
		c.stretched(y, panelHeight, func() {
			c.stacks(f.Keys, p.Lost, units/float64(bins), scale, panelHeight, func(bin int) string {
				from := f.From + f.Bin*float64(bin)
				return figure(from) + " to " + figure(from+f.Bin) + " " + f.Unit
			})
		})
		y += panelHeight + 10
	}
	if time.low <= 0 && time.high >= 0 {
		c.line("at", time.at(0), top+lineHeight, time.at(0), y-10)
	}
	height := c.xAxis(time.labelled(xTicks), top+lineHeight, y-10, narrow-left-margin, f.Axis)
	return Drawing{
		Title: f.Title, body: c.String(), height: height, left: left, right: margin,
	}
}

// stackHeights returns the sums over all keys, for each bin.
func stackHeights(lost [][]float64) []float64 {
	var out []float64
	for _, counts := range lost {
		for i, n := range counts {
			if i >= len(out) {
				out = append(out, 0)
			}
			if finite(n) && n > 0 {
				out[i] += n
			}
		}
	}
	return out
}

// stacks draws the counts of windows of this width above each other, in stretched. If when is not
// nil, each stack has a title, which begins with the name of its window.
func (c *canvas) stacks(keys []Key, lost [][]float64, width float64, s scale, height float64,
	when func(window int) string,
) {
	for window, whole := range stackHeights(lost) {
		if whole == 0 {
			continue
		}
		counts := column(lost, window)
		// The smallest stack is still visible.
		tall := max(s.at(whole)*height, 1.5)
		x, to := math.Round(float64(window)*width), math.Round(float64(window+1)*width)
		draw := func() {
			y := height
			for i, k := range keys {
				n := at(counts, i)
				if !finite(n) || n <= 0 {
					continue
				}
				part := n / whole * tall
				c.path(k.class(), fmt.Sprintf("M%s %sv%sh%sv%sz", num(x), num(y), num(-part),
					num(to-x), num(part)))
				y -= part
			}
		}
		if when == nil {
			draw()
			continue
		}
		c.titled(when(window)+": "+parts(keys, counts), draw)
	}
}

// column returns the counts of a window, for each key.
func column(lost [][]float64, window int) []float64 {
	counts := make([]float64, len(lost))
	for i, all := range lost {
		counts[i] = at(all, window)
	}
	return counts
}

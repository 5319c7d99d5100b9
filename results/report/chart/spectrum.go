package chart

import (
	"math"
	"strconv"
)

// A SpectrumChart shows how long attempts took: for each share of the attempts, the time that this
// share did not exceed. Both axes are logarithmic; the shares are 1/(1−q), so that 90 %, 99 % and
// 99.9 % are equally far apart.
type SpectrumChart struct {
	Title   string
	Axis    string  // what is measured, with its unit: "response time, ms"
	Timeout float64 // lost attempts count as longer than this
	Lines   []SpectrumLine
}

// A SpectrumLine is a variant.
type SpectrumLine struct {
	Label  string
	Figure string  // beside the name below the chart
	Values []Count // in ascending order
	Lost   float64 // attempts that have no value
	Strong bool    // the baseline
}

// A Count is a value and how often it was measured.
type Count struct{ Value, N float64 }

// fewest is the number of values right of the end of a line. A percentile with fewer values beyond
// it says little.
const fewest = 10

// points returns the ends of the line's steps: the odds N/(N−rank), and the value. The line rises
// to the timeout where the lost attempts begin. It ends where fewer than ten attempts are left.
func (l SpectrumLine) points(timeout float64) []point {
	var values []Count
	n := total([]float64{l.Lost})
	for _, v := range l.Values {
		if finite(v.Value) && v.Value > 0 && finite(v.N) && v.N > 0 {
			values, n = append(values, v), n+v.N
		}
	}
	var out []point
	rank := 0.0
	for _, v := range values {
		if len(out) == 0 {
			out = append(out, point{1, v.Value})
		}
		if n-rank-v.N < fewest {
			if rank < n-fewest {
				out = append(out, point{n / fewest, v.Value})
			}
			return out
		}
		rank += v.N
		out = append(out, point{n / (n - rank), v.Value})
	}
	if l.Lost >= fewest && timeout > 0 {
		if len(out) == 0 {
			out = append(out, point{1, timeout})
		}
		out = append(out, point{out[len(out)-1].x, timeout}, point{n / fewest, timeout})
	}
	return out
}

const (
	spectrumHeight = 260
	signRoom       = 18 // pixels right of the plot, for the signs of lines
)

// rises reports whether the line rises to the timeout.
func (l SpectrumLine) rises(timeout float64) bool { return l.Lost >= fewest && timeout > 0 }

// spectrum is a SpectrumChart that is being drawn.
type spectrum struct {
	SpectrumChart
	canvas
	lines       [][]point // for each line, in the units of the axes
	x, y        scale
	left        float64
	top, bottom float64
}

// Spectrum draws the chart.
func Spectrum(f SpectrumChart) Drawing {
	s := &spectrum{SpectrumChart: f, lines: make([][]point, len(f.Lines))}
	most, lost := 1.0, false
	var values []float64
	for i, l := range f.Lines {
		s.lines[i] = l.points(f.Timeout)
		for _, p := range s.lines[i] {
			most = max(most, p.x)
			values = append(values, p.y)
		}
		lost = lost || l.rises(f.Timeout)
	}
	if most <= 1 {
		return Drawing{}
	}
	s.x, s.y = scale{1, most, true}, logarithmic(values...).tight(values)
	s.left = s.y.axisWidth()
	s.writef(`<text class="small" x="%s" y="10">%s</text>`, num(-s.left), escape(s.y.axis(f.Axis)))
	signs := s.signs()
	s.yAxis(s.y, s.top, s.bottom)
	if lost {
		y := s.top + s.down(f.Timeout)
		s.line("at", 0, y, 1, y)
		s.text("small halo", 0, 4, y+14, start, "timeout: dropped")
	}
	height := s.xAxis(quantiles(s.x), s.top, s.bottom, s.plot(),
		"share of the attempts, log scale")
	for i := range s.lines {
		if len(s.lines[i]) > 0 {
			height = s.curve(i, signs[i], height)
		}
	}
	return Drawing{
		Title: f.Title, body: s.String(), height: height, left: s.left, right: signRoom,
	}
}

// plot returns the width of the plot of a narrow chart.
func (s *spectrum) plot() float64 { return narrow - s.left - signRoom }

// down returns the distance of a value from the top of the plot.
func (s *spectrum) down(value float64) float64 { return spectrumHeight * (1 - s.y.at(value)) }

// signs places the signs of the lines, and the plot. A line that rises to the timeout has its sign
// above the plot, another one at its end.
func (s *spectrum) signs() []sign {
	var above, ends []sign
	for i, line := range s.lines {
		switch last := len(line) - 1; {
		case last < 0:
		case s.Lines[i].rises(s.Timeout):
			above = append(above, sign{x: s.x.at(line[last-1].x)})
		default:
			ends = append(ends, sign{s.x.at(line[last].x), s.down(line[last].y)})
		}
	}
	apart(above, s.plot(), -200, 0)
	apart(ends, s.plot(), 6, spectrumHeight-2)
	s.top = 24
	highest := 0.0
	for _, a := range above {
		highest = min(highest, a.y)
	}
	if len(above) > 0 {
		s.top += 16 - highest
	}
	s.bottom = s.top + spectrumHeight

	out := make([]sign, len(s.lines))
	for i, line := range s.lines {
		switch {
		case len(line) == 0:
		case s.Lines[i].rises(s.Timeout):
			out[i], above = sign{above[0].x, s.top - 5 + above[0].y}, above[1:]
		default:
			out[i], ends = sign{ends[0].x, s.top + ends[0].y}, ends[1:]
		}
	}
	return out
}

// curve draws line i, and its name at y. It returns the next free y.
func (s *spectrum) curve(i int, at sign, y float64) float64 {
	l := s.Lines[i]
	scaled := make([]point, len(s.lines[i]))
	for j, p := range s.lines[i] {
		scaled[j] = point{s.x.at(p.x) * units, s.down(p.y)}
	}
	class := "curve"
	if l.Strong {
		class = "curve strong"
	}
	s.writef(`<g class="series"><title>%s</title>`, escape(l.Label+": "+l.Figure))
	s.stretched(s.top, spectrumHeight, func() { s.path(class, polyline(simplified(scaled))) })
	if l.rises(s.Timeout) {
		s.text("sign halo", at.x, 0, at.y+4, middle, letter(i))
	} else {
		s.text("sign halo", at.x, 4, at.y+4, start, letter(i))
	}
	y = s.named(letter(i), l.Label, l.Figure, y, s.left)
	s.WriteString("</g>")
	return y
}

// tight returns the scale between the round numbers 1, 2 and 5 that are just outside of the values.
func (s scale) tight(values []float64) scale {
	low := math.Inf(1)
	for _, x := range values {
		if x > 0 {
			low = min(low, x)
		}
	}
	if high := niceStep(largest(values)); high > s.low {
		s.high = min(s.high, high)
	}
	for _, f := range []float64{5, 2} {
		if x := f * s.low; x <= low && x < s.high {
			s.low = x
			break
		}
	}
	return s
}

// quantiles returns the ticks of a scale of 1/(1−q).
func quantiles(s scale) []tick {
	var out []tick
	for _, text := range []string{
		"50", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999",
	} {
		q, _ := strconv.ParseFloat(text, 64)
		if x := 100 / (100 - q); x <= s.high*(1+1e-6) {
			out = append(out, tick{s.at(x), text + " %"})
		}
	}
	return out
}

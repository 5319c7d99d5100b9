package chart

import (
	"math"
	"strconv"
	"strings"
)

// A scale says where values are on an axis.
type scale struct {
	low, high   float64
	logarithmic bool
}

// linear returns a scale from 0 to a round number that is at least as large as all values.
func linear(values ...float64) scale {
	high := largest(values)
	if high < 1e-12 {
		high = 1
	}
	step := niceStep(high / 4)
	return scale{0, step * math.Ceil(high/step*(1-1e-9)), false}
}

// decades is the largest number of decades that a logarithmic scale has.
const decades = 8

// logarithmic returns a scale between powers of ten that contains all positive values, except
// those more than eight decades below the largest.
func logarithmic(values ...float64) scale {
	low, high := math.Inf(1), 0.0
	for _, x := range values {
		if finite(x) && x > 0 {
			low, high = min(low, x), max(high, x)
		}
	}
	if high == 0 {
		return scale{1, 10, true}
	}
	s := scale{power(math.Floor(math.Log10(low))), power(math.Ceil(math.Log10(high))), true}
	if s.high <= s.low {
		s.high = s.low * 10
	}
	s.low = max(s.low, s.high/power(decades))
	return s
}

// power returns 10 to the power x. The result is exact for whole numbers and never infinite or 0.
func power(x float64) float64 {
	p, _ := strconv.ParseFloat("1e"+strconv.Itoa(int(min(max(x, -300), 300))), 64)
	return p
}

// at returns the position of x as a share of the axis. Values beyond the ends are at the ends.
func (s scale) at(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	share := (x - s.low) / (s.high - s.low)
	if s.logarithmic {
		if x <= 0 {
			return 0
		}
		share = math.Log(x/s.low) / math.Log(s.high/s.low)
	}
	return min(max(share, 0), 1)
}

// ticks returns round numbers on the scale, in ascending order. On a linear scale there are about
// so many.
func (s scale) ticks(many int) []float64 {
	var out []float64
	if !s.logarithmic {
		step := niceStep((s.high - s.low) / float64(many))
		for i := math.Ceil(s.low/step - 1e-9); i*step <= s.high+step*1e-9; i++ {
			out = append(out, i*step+0) // + 0: no "-0"
		}
		return out
	}
	factors := []float64{1}
	if s.high/s.low <= 1000 {
		factors = []float64{1, 2, 5}
	}
	from := math.Floor(math.Log10(s.low) + 1e-9)
	for e := from; power(e) <= s.high*(1+1e-9); e++ {
		for _, f := range factors {
			x := f * power(e)
			if x >= s.low*(1-1e-9) && x <= s.high*(1+1e-9) {
				out = append(out, x)
			}
		}
	}
	return out
}

// axis adds the words "log scale" to an axis's name if the scale is logarithmic.
func (s scale) axis(name string) string {
	if s.logarithmic {
		return name + ", log scale"
	}
	return name
}

// niceStep returns the smallest of the numbers 1, 2 and 5 times a power of ten that is at least x.
func niceStep(x float64) float64 {
	p := power(math.Floor(math.Log10(x)))
	for _, f := range []float64{1, 2, 5} {
		if f*p >= x*(1-1e-9) {
			return f * p
		}
	}
	return 10 * p
}

func largest(values []float64) float64 {
	high := 0.0
	for _, x := range values {
		if finite(x) {
			high = max(high, x)
		}
	}
	return high
}

// tickText writes a tick's value. From 10,000 on it separates thousands.
func tickText(x float64) string {
	text := strconv.FormatFloat(x, 'g', 6, 64)
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(x, 'f', -1, 64)
	}
	if x < 1e4 || strings.ContainsRune(text, '.') {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// figure writes a number for a title, with at most three significant digits if it is not whole.
func figure(x float64) string {
	switch {
	case !finite(x):
		return "–"
	case x == math.Trunc(x) && math.Abs(x) < 1e15:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	size := math.Floor(math.Log10(math.Abs(x)))
	return strconv.FormatFloat(x, 'f', int(min(max(0, 2-size), 12)), 64)
}

// A tick is a labelled position on an axis.
type tick struct {
	at   float64 // share of the axis
	text string
}

func (s scale) labelled(many int) []tick {
	var out []tick
	for _, x := range s.ticks(many) {
		out = append(out, tick{s.at(x), tickText(x)})
	}
	return out
}

// xAxis draws grid lines from top to bottom, their labels and the axis's name, and returns the
// height that the chart has then. It omits labels that would overlap in a narrow chart, whose plot
// has plot pixels.
func (c *canvas) xAxis(ticks []tick, top, bottom, plot float64, name string) float64 {
	free := math.Inf(-1) // the end of the label before, in pixels
	for _, t := range ticks {
		c.line("grid", t.at, top, t.at, bottom)
		width := textWidth(t.text, smallSize)
		from, a := t.at*plot-width/2, middle
		switch {
		case from < -margin:
			from, a = t.at*plot, start
		case from+width > plot+margin:
			from, a = t.at*plot-width, end
		}
		if from >= free {
			c.text("small", t.at, 0, bottom+17, a, t.text)
			free = from + width + 8
		}
	}
	lines := wrap(name, plot, smallSize)
	for i, line := range lines {
		c.text("small", 1, 0, bottom+33+15*float64(i), end, line)
	}
	return bottom + 24 + 15*float64(len(lines))
}

// yAxis draws grid lines, and their labels left of the plot. The scale's upper end is at top.
func (c *canvas) yAxis(s scale, top, bottom float64) {
	free := math.Inf(1)
	for _, t := range s.labelled(yTicks(bottom - top)) {
		y := bottom - t.at*(bottom-top)
		c.line("grid", 0, y, 1, y)
		if y <= free {
			c.text("small", 0, -6, y+4, end, t.text)
			free = y - 14
		}
	}
}

// xTicks is the number of ticks of a linear axis across the plot, about.
const xTicks = 8

// yTicks returns the number of ticks of a linear axis of this height, about.
func yTicks(height float64) int {
	if height < 100 {
		return 2
	}
	return 5
}

// axisWidth returns the width of the labels of yAxis, with the space beside them.
func (s scale) axisWidth() float64 {
	widest := 0.0
	for _, t := range append(s.labelled(yTicks(0)), s.labelled(yTicks(1000))...) {
		widest = max(widest, textWidth(t.text, smallSize))
	}
	return math.Ceil(widest) + 8
}

package chart

import (
	"math"
	"slices"
)

// A ForestChart compares figures with intervals: a row for each variant, on a logarithmic axis.
type ForestChart struct {
	Title string
	Axis  string // what the figures are: "lost per restart [95 %]"
	Rows  []ForestRow
	// Low and High are the ends of a band through all rows, the baseline's interval. If High is
	// 0, there is no band. BandName names it.
	Low, High float64
	BandName  string
	// At is the position of a dashed line, which AtName names. 0: no line.
	At     float64
	AtName string
	// Filled and Hollow name the two kinds of marks if a row can have both.
	Filled, Hollow string
}

// A ForestRow is a variant. Its first mark is on top.
type ForestRow struct {
	Label    string
	Figure   string // the figure as text
	Interval string // the interval as text; narrow charts omit it
	Marks    []Mark
}

// A Mark is a figure with its interval. Its bounds may be NaN if there is no interval.
type Mark struct {
	Value, Low, High float64
	// None says that nothing was seen: Value is unknown, and High is its upper bound. If High is
	// NaN, there is no bound.
	None   bool
	Hollow bool // the mark is of the run that the chart compares with
	Title  string
}

// Forest draws the chart. Its axis covers the marks and the dashed line.
func Forest(f ForestChart) Drawing {
	var labels []label
	most, drawn := 1, false
	for _, r := range f.Rows {
		for _, m := range r.Marks {
			drawn = drawn || finite(m.Value) || m.None
		}
		most = max(most, len(r.Marks))
		labels = append(labels, label{r.Label, r.Figure, r.Interval})
	}
	if !drawn {
		return Drawing{}
	}
	s := forestScale(f)
	var c, marks canvas
	y := c.forestKeys(f)
	top := y
	d, y := marks.rows(labels, y+4, markHeight*float64(most), func(row int, y float64) {
		for i, m := range f.Rows[row].Marks {
			marks.titled(m.Title, func() { marks.mark(m, s, y+markHeight*(float64(i)+0.5)) })
		}
	})
	if f.High > 0 {
		c.titled(f.BandName, func() { c.rect("band", s.at(f.Low), top, s.at(f.High), y-top) })
	}
	height := c.xAxis(s.labelled(xTicks), top, y, narrow-2*margin, s.axis(f.Axis))
	if f.At > 0 {
		c.line("at", s.at(f.At), top, s.at(f.At), y)
	}
	d.Title, d.body, d.height = f.Title, c.String()+marks.String(), height
	return d
}

// forestScale returns the scale of a forest plot. The lower end of an interval may be 0 or
// arbitrarily close to it, so the scale ends a factor of 30 below the smallest figure or bound.
func forestScale(f ForestChart) scale {
	values := []float64{f.At}
	least, toZero := math.Inf(1), false
	for _, r := range f.Rows {
		for _, m := range r.Marks {
			for _, x := range []float64{m.Value, m.High} {
				if finite(x) && x > 0 && !(m.None && x == m.Value) {
					least = min(least, x)
					values = append(values, x)
				}
			}
			if !m.None {
				values = append(values, m.Low)
				toZero = toZero || m.Low <= 0 && m.Value > 0
			}
		}
	}
	s := logarithmic(values...)
	if finite(least) {
		lowest := power(math.Floor(math.Log10(least / 30)))
		if s.low = max(s.low, lowest); toZero {
			s.low = lowest
		}
	}
	return s
}

const markHeight = 14

// forestKeys explains the line, the band and the two kinds of marks, and returns the next free y.
func (c *canvas) forestKeys(f ForestChart) float64 {
	x, y := 0.0, 0.0
	key := func(name string, width float64, draw func(x, y float64)) {
		if name == "" {
			return
		}
		need := width + 6 + textWidth(name, smallSize)
		if x > 0 && x+need > narrow-2*margin {
			x, y = 0, y+18
		}
		draw(x, y+5)
		c.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(x+width+6), num(y+9.5),
			escape(name))
		x += need + 14
	}
	circle := func(class string) func(x, y float64) {
		return func(x, y float64) {
			c.writef(`<circle class="%s" cx="%s" cy="%s" r="4"/>`, class, num(x+5), num(y))
		}
	}
	hollow := slices.ContainsFunc(f.Rows, func(r ForestRow) bool {
		return slices.ContainsFunc(r.Marks, func(m Mark) bool { return m.Hollow })
	})
	if hollow {
		key(f.Filled, 10, circle("mark"))
		key(f.Hollow, 10, circle("hollow"))
	}
	if f.At > 0 {
		key(f.AtName, 18, func(x, y float64) {
			c.writef(`<path class="at" d="M%s %sh18"/>`, num(x), num(y))
		})
	}
	if f.High > 0 {
		key(f.BandName, 18, func(x, y float64) {
			c.writef(`<rect class="band" x="%s" y="%s" width="18" height="10"/>`, num(x), num(y-5))
		})
	}
	bound := slices.ContainsFunc(f.Rows, func(r ForestRow) bool {
		return slices.ContainsFunc(r.Marks, func(m Mark) bool { return m.None && finite(m.High) })
	})
	if bound {
		key("none seen: at most the bar's end", 18, func(x, y float64) {
			c.writef(`<path class="open" d="M%s %sh14m0 -4v8"/>`, num(x+4), num(y))
			c.writef(`<path class="mark" d="M%s %sl6 -4v8z"/>`, num(x), num(y))
		})
	}
	if x == 0 && y == 0 {
		return 0
	}
	return y + 20
}

// mark draws a figure and its interval. If nothing was seen, it draws an open bar from the left
// edge to the bound, or only the arrow if there is no bound.
func (c *canvas) mark(m Mark, s scale, y float64) {
	dot, bar := "mark", "interval"
	if m.Hollow {
		dot, bar = "hollow", "interval thin"
	}
	c.hit(y)
	if m.None {
		if finite(m.High) {
			x := s.at(m.High)
			c.line("open", 0, y, x, y)
			c.line("open", x, y-4, x, y+4)
		}
		c.arrow(dot, y)
		return
	}
	if !finite(m.Value) {
		return
	}
	if finite(m.Low) && finite(m.High) {
		c.line(bar, s.at(m.Low), y, s.at(m.High), y)
	}
	if s.logarithmic && m.Value <= 0 {
		c.arrow(dot, y)
		return
	}
	c.dot(dot, s.at(m.Value), y, 4.5)
}

// arrow points to the left from the left edge, to values that a logarithmic axis cannot have.
func (c *canvas) arrow(class string, y float64) {
	c.writef(`<path class="%s" d="M0 %sl8 -4.5v9z"/>`, class, num(y))
}

// hit draws an invisible bar, so that the title of a mark appears anywhere in its row.
func (c *canvas) hit(y float64) { c.rect("hit", 0, y-markHeight/2, 1, markHeight) }

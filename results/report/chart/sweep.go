package chart

import (
	"slices"
	"strings"
)

// A SweepChart shows a figure over the values of a numeric setting.
type SweepChart struct {
	Title string
	X, Y  string // the axes, with their unit
	LogX  bool
	Lines []SweepLine
}

// A SweepLine is a combination of the other settings.
type SweepLine struct {
	Label  string       // may be empty if there is one line
	Points []SweepPoint // in ascending order of X
}

// A SweepPoint is a variant.
type SweepPoint struct {
	X float64
	Mark
}

const (
	sweepHeight = 240
	// apartX is the number of pixels between the marks of two lines, and mostApart the largest
	// number between those of the first and the last line.
	apartX    = 3
	mostApart = 24
)

// sweep is a SweepChart that is being drawn.
type sweep struct {
	SweepChart
	canvas
	x, y        scale
	left        float64
	top, bottom float64
	apart       float64 // pixels between the marks of two lines
}

// Sweep draws the chart.
func Sweep(f SweepChart) Drawing {
	var xs, ys []float64
	for _, l := range f.Lines {
		for _, p := range l.Points {
			if !f.drawn(p) {
				continue
			}
			xs, ys = append(xs, p.X), append(ys, p.upper(), p.High)
		}
	}
	if len(xs) == 0 {
		return Drawing{}
	}
	s := &sweep{SweepChart: f, x: linear(xs...), y: linear(ys...), top: 24}
	s.bottom = s.top + sweepHeight
	if f.LogX {
		s.x = logarithmic(xs...).tight(xs)
	}
	s.left = s.y.axisWidth()
	s.apart = min(apartX, mostApart/float64(len(f.Lines)))
	right := signRoom + s.apart*float64(len(f.Lines))/2
	plot := narrow - s.left - right
	s.writef(`<text class="small" x="%s" y="10">%s</text>`, num(-s.left), escape(f.Y))
	s.yAxis(s.y, s.top, s.bottom)
	height := s.xAxis(s.x.labelled(xTicks), s.top, s.bottom, plot, s.x.axis(f.X))
	signs := s.signs(plot)
	for i, l := range f.Lines {
		if slices.ContainsFunc(l.Points, f.drawn) {
			height = s.curve(i, signs[0], height)
			signs = signs[1:]
		}
	}
	return Drawing{Title: f.Title, body: s.String(), height: height, left: s.left, right: right}
}

// down returns the position of a value down the chart.
func (s *sweep) down(value float64) float64 { return s.bottom - s.y.at(value)*sweepHeight }

// signs returns the places of the signs of the lines that have a point.
func (s *sweep) signs(plot float64) []sign {
	var out []sign
	for _, l := range s.Lines {
		for _, p := range slices.Backward(l.Points) {
			if s.drawn(p) {
				out = append(out, sign{s.x.at(p.X), s.down(p.upper())})
				break
			}
		}
	}
	apart(out, plot, s.top+6, s.bottom-4)
	return out
}

// curve draws line i, and its name at y. It returns the next free y. The line connects figures; a
// point where nothing was seen interrupts it. Lines are a little apart, so that their marks do not
// hide each other.
func (s *sweep) curve(i int, at sign, y float64) float64 {
	l := s.Lines[i]
	var path strings.Builder
	var run []point
	for _, p := range l.Points {
		if s.drawn(p) && !p.None {
			run = append(run, point{s.x.at(p.X) * units, s.down(p.Value) - s.top})
			continue
		}
		path.WriteString(polyline(run))
		run = nil
	}
	path.WriteString(polyline(run))
	aside := s.apart * (float64(i) - float64(len(s.Lines)-1)/2)
	s.writef(`<g class="series"><title>%s</title><g transform="translate(%s)">`, escape(l.Label),
		num(aside))
	s.stretched(s.top, sweepHeight, func() { s.path("curve", path.String()) })
	for _, p := range l.Points {
		if s.drawn(p) {
			s.titled(p.Title, func() { s.upright(p.Mark, s.x.at(p.X)) })
		}
	}
	s.WriteString("</g>")
	if l.Label != "" {
		s.text("sign halo", at.x, 8+aside, at.y+4, start, letter(i))
		y = s.named(letter(i), l.Label, "", y, s.left)
	}
	s.WriteString("</g>")
	return y
}

// upper returns the mark's figure or, if nothing was seen, its bound.
func (m Mark) upper() float64 {
	if m.None {
		return m.High
	}
	return m.Value
}

// drawn reports whether the point has a place on the chart.
func (f SweepChart) drawn(p SweepPoint) bool {
	return finite(p.X) && finite(p.upper()) && (!f.LogX || p.X > 0)
}

// upright draws a mark with a vertical interval. If nothing was seen, it draws an open bar from the
// bottom to the bound.
func (s *sweep) upright(m Mark, x float64) {
	if m.None {
		s.line("open", x, s.bottom, x, s.down(m.High))
		s.writef(`<svg x="%s" y="%s"><path class="mark" d="M0 0l-4.5 -8h9z"/>`+
			`<path class="open" d="M-4 %sh8"/></svg>`, share(x), num(s.bottom),
			num(s.down(m.High)-s.bottom))
		return
	}
	if finite(m.Low) && finite(m.High) {
		s.line("interval", x, s.down(m.Low), x, s.down(m.High))
	}
	class := "mark"
	if m.Hollow {
		class = "hollow"
	}
	s.dot(class, x, s.down(m.Value), 4.5)
}

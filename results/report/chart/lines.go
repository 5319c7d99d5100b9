package chart

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A point is a position in stretched: x from 0 to units, y in pixels.
type point struct{ x, y float64 }

// simplified returns the points of a line without those that are less than half a unit away from
// the line that remains (Douglas and Peucker).
func simplified(points []point) []point {
	if len(points) < 3 {
		return points
	}
	first, last := points[0], points[len(points)-1]
	length := math.Hypot(last.x-first.x, last.y-first.y)
	farthest, worst := 0.0, 0
	for i, p := range points[1 : len(points)-1] {
		away := math.Hypot(p.x-first.x, p.y-first.y)
		if length > 0 {
			away = math.Abs((last.x-first.x)*(first.y-p.y)-(first.x-p.x)*(last.y-first.y)) / length
		}
		if away > farthest {
			farthest, worst = away, i+1
		}
	}
	if farthest < 0.5 {
		return []point{first, last}
	}
	before := simplified(points[:worst+1])
	return append(before[:len(before)-1:len(before)-1], simplified(points[worst:])...)
}

// polyline returns the path through the points.
func polyline(points []point) string {
	var d strings.Builder
	for i, p := range points {
		switch i {
		case 0:
			d.WriteString("M")
		case 1:
			d.WriteString("L")
		default:
			d.WriteString(" ")
		}
		d.WriteString(num(math.Round(p.x)) + " " + num(p.y))
	}
	return d.String()
}

// curves returns the path through the values of windows of this width, for stretched. A value that
// is not known interrupts the path.
func curves(values []float64, width float64, y func(value float64) float64) string {
	var d strings.Builder
	var run []point
	flush := func() {
		if len(run) == 1 { // so short a line is visible because its ends are round
			run = append(run, point{run[0].x + 1, run[0].y})
		}
		d.WriteString(polyline(simplified(run)))
		run = nil
	}
	for i, v := range values {
		if !finite(v) || !finite(y(v)) {
			flush()
			continue
		}
		run = append(run, point{(float64(i) + 0.5) * width, y(v)})
	}
	flush()
	return d.String()
}

// dots returns a path of lines without length. Drawn with round ends, they are dots.
func dots(values []float64, width float64, y func(value float64) float64) string {
	var d strings.Builder
	for i, v := range values {
		if finite(v) && finite(y(v)) {
			d.WriteString("M" + num((float64(i)+0.5)*width) + " " + num(y(v)) + "h0")
		}
	}
	return d.String()
}

// letter returns the sign of a line: a to z, then a2 to z2.
func letter(i int) string {
	sign := string(rune('a' + i%26))
	if i >= 26 {
		sign += tickText(float64(i/26 + 1))
	}
	return sign
}

// A sign is the letter of a line at its end.
type sign struct{ x, y float64 } // share of the plot, pixels

// apart moves signs down, or up if there is no room, until none overlaps another in a plot of the
// given pixels. They stay between top and bottom, and the upper ones stay above the lower ones.
func apart(all []sign, plot, top, bottom float64) {
	const width, height = 12, 13
	signs := make([]*sign, len(all))
	for i := range all {
		signs[i] = &all[i]
	}
	slices.SortStableFunc(signs, func(a, b *sign) int { return cmp.Compare(a.y, b.y) })
	for i := range signs {
		free := func(y float64) bool {
			for _, s := range signs[:i] {
				if math.Abs(s.x-signs[i].x)*plot < width && math.Abs(s.y-y) < height {
					return false
				}
			}
			return true
		}
		y := signs[i].y
		for away := 0.0; away < bottom-top; away++ {
			if y+away <= bottom && free(y+away) {
				signs[i].y = y + away
				break
			}
			if y-away >= top && free(y-away) {
				signs[i].y = y - away
				break
			}
		}
	}
}

// named writes the sign, name and figure of a line below the plot, and returns the next free y.
// The left end of the text is offset pixels left of the plot.
func (c *canvas) named(sign, name, figure string, y, offset float64) float64 {
	const indent = 20
	c.writef(`<text class="sign" x="%s" y="%s">%s</text>`, num(-offset), num(y+12), sign)
	room := narrow - indent - textWidth(figure, textSize) - 12
	lines := wrap(name, room, textSize)
	for i, line := range lines {
		c.writef(`<text x="%s" y="%s">%s</text>`, num(indent-offset),
			num(y+12+lineHeight*float64(i)), escape(line))
	}
	c.writef(`<text class="figure" x="%s" y="%s">%s</text>`, num(narrow-offset), num(y+12),
		escape(figure))
	return y + lineHeight*float64(len(lines)) + 2
}

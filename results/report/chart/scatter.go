package chart

// A ScatterChart compares two figures of the same unit: a point for each trial, the line on which
// both are equal, and a fitted line.
type ScatterChart struct {
	Title  string
	X, Y   string // the axes, with their unit
	Points []ScatterPoint
	Equal  string // names the line y = x; "": no such line
	Fit    Fit
}

// A ScatterPoint is a trial.
type ScatterPoint struct {
	X, Y  float64
	Title string
}

// A Fit is the line Intercept + Slope·x. Name describes it; "" means that there is no line.
type Fit struct {
	Slope, Intercept float64
	Name             string
}

const scatterHeight = 280

// Scatter draws the chart. Both axes begin at 0.
func Scatter(f ScatterChart) Drawing {
	var xs, ys []float64
	for _, p := range f.Points {
		if finite(p.X) && finite(p.Y) {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if len(xs) == 0 {
		return Drawing{}
	}
	x, y := linear(xs...), linear(ys...)
	left := y.axisWidth()
	var c canvas
	top := 0.0
	key := func(class, name string) {
		if name == "" {
			return
		}
		c.writef(`<path class="%s" d="M%s %sh18"/>`, class, num(-left), num(top+6))
		for _, line := range wrap(name, narrow-24, smallSize) {
			c.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(24-left), num(top+10),
				escape(line))
			top += 16
		}
	}
	key("at", f.Equal)
	key("curve", f.Fit.Name)
	c.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(-left), num(top+10), escape(f.Y))
	top += 20
	bottom := top + scatterHeight
	c.yAxis(y, top, bottom)
	height := c.xAxis(x.labelled(xTicks), top, bottom, narrow-left-margin, f.X)
	if f.Equal != "" {
		c.straight("at", x, y, Fit{Slope: 1}, top, bottom)
	}
	if f.Fit.Name != "" {
		c.straight("curve", x, y, f.Fit, top, bottom)
	}
	for _, p := range f.Points {
		if finite(p.X) && finite(p.Y) {
			c.titled(p.Title, func() {
				c.dot("faint", x.at(p.X), bottom-y.at(p.Y)*scatterHeight, 4.5)
			})
		}
	}
	return Drawing{Title: f.Title, body: c.String(), height: height, left: left, right: margin}
}

// straight draws the part of a line that is inside of the plot.
func (c *canvas) straight(class string, x, y scale, f Fit, top, bottom float64) {
	from, to := x.low, x.high
	switch {
	case !finite(f.Slope) || !finite(f.Intercept):
		return
	case f.Slope == 0:
		if f.Intercept < y.low || f.Intercept > y.high {
			return
		}
	default:
		a, b := (y.low-f.Intercept)/f.Slope, (y.high-f.Intercept)/f.Slope
		from, to = max(from, min(a, b)), min(to, max(a, b))
	}
	if from >= to {
		return
	}
	at := func(v float64) float64 {
		return bottom - y.at(f.Intercept+f.Slope*v)*(bottom-top)
	}
	c.line(class, x.at(from), at(from), x.at(to), at(to))
}

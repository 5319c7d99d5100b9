package chart

// A label is what a row says beside its marks.
type label struct {
	name   string // left
	figure string // right
	more   string // after figure, only in wide charts
}

// figure writes a figure at the right end of the plot. Narrow charts omit more.
func (c *canvas) figure(figure, more, attributes string, y float64) {
	c.writef(`<text class="figure"%s x="100%%" y="%s">%s`, attributes, num(y), escape(figure))
	if more != "" {
		c.writef(`<tspan class="more"> %s</tspan>`, escape(more))
	}
	c.WriteString("</text>")
}

// The heights of rows, in pixels.
const (
	lineHeight = 16
	rowGap     = 8
)

// rows draws a row for each label from y on. The marks of a row take height pixels: draw draws them
// from its y on. In narrow charts the label is above the marks, in wide ones beside them. rows
// returns the drawing with its sides, and the next free y.
func (c *canvas) rows(labels []label, y, height float64, draw func(row int, y float64)) (Drawing,
	float64,
) {
	d := Drawing{rows: true}
	for i, l := range labels {
		figureWidth := textWidth(l.figure, textSize)
		lines := wrap(l.name, min(260, narrow-figureWidth-12), textSize)
		above := lineHeight * float64(len(lines))
		shift := ""
		if len(lines) > 1 {
			shift = ` style="--down:` + num(above) + `px"`
		}
		for j, line := range lines {
			c.writef(`<text class="label"%s y="%s">%s</text>`, shift,
				num(y+12+lineHeight*float64(j)), escape(line))
			d.left = max(d.left, textWidth(line, textSize)+2*margin)
		}
		if l.figure != "" {
			c.figure(l.figure, l.more, shift, y+12)
			d.right = max(d.right, figureWidth+textWidth(" "+l.more, textSize)+2*margin)
		}
		draw(i, y+above)
		// A wide chart has the label's lines beside the marks, so they need as much room.
		y += above + max(height, above) + rowGap
	}
	d.left, d.right = max(d.left, 4*margin), max(d.right, 4*margin)
	return d, y
}

package chart

// A CausesChart shows of what parts each row consists: a bar of 100 % for each row.
type CausesChart struct {
	Title string
	Keys  []Key // the parts, in their order from left to right
	Rows  []CausesRow
}

// A CausesRow is the bar of a variant.
type CausesRow struct {
	Label  string
	Figure string    // the whole as text: "425 lost", "none"
	Counts []float64 // for each key; all 0: the row has no bar
}

const barHeight = 16

// Causes draws the chart.
func Causes(f CausesChart) Drawing {
	var counts [][]float64
	var labels []label
	for _, r := range f.Rows {
		counts = append(counts, r.Counts)
		labels = append(labels, label{name: r.Label, figure: r.Figure})
	}
	keys := used(f.Keys, counts)
	if len(keys) == 0 {
		return Drawing{}
	}
	var c canvas
	y := c.legend(keys, 0, 0) + 6
	d, y := c.rows(labels, y, barHeight, func(row int, y float64) {
		r := f.Rows[row]
		whole, x := total(r.Counts), 0.0
		c.rect("strip", 0, y, 1, barHeight)
		for i, k := range f.Keys {
			n := at(r.Counts, i)
			if whole == 0 || !finite(n) || n <= 0 {
				continue
			}
			part := n / whole
			c.titled(r.Label+": "+figure(n)+" of "+figure(whole)+" "+k.Name+" ("+
				figure(100*part)+" %)", func() {
				c.rect(k.class(), x, y, x+part, barHeight)
				if textWidth(k.Name, smallSize)+8 < part*(narrow-2*margin) {
					c.text("inside on-"+k.class(), x, 5, y+12, start, k.Name)
				}
			})
			x += part
		}
	})
	d.Title, d.body, d.height = f.Title, c.String(), y
	return d
}

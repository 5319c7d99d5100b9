package chart

import (
	"fmt"
	"math"
	"strings"
)

// A SpreadChart shows how evenly a whole is shared among workers: a dot for each worker, and the
// band in which 95 % of the dots would be if a fair die chose the worker.
type SpreadChart struct {
	Title string
	Whole string // what is shared: "connections"
	Rows  []SpreadRow
}

// A SpreadRow is a variant.
type SpreadRow struct {
	Label  string
	Figure string    // max ÷ mean and p, as text
	Counts []float64 // for each worker
}

// mostShare is the largest multiple of a fair share that the axis can have. A single worker that
// got everything would otherwise squeeze all others into one place.
const mostShare = 5

// Spread draws the chart. Its axis has shares as multiples of a fair share.
func Spread(f SpreadChart) Drawing {
	shares := []float64{1.2}
	var labels []label
	for _, r := range f.Rows {
		if mean, half := r.fair(); mean > 0 {
			shares = append(shares, 1+half, largest(r.Counts)/mean)
		}
		labels = append(labels, label{name: r.Label, figure: r.Figure})
	}
	if len(shares) == 1 {
		return Drawing{}
	}
	s := linear(min(mostShare, largest(shares)))
	var c, marks canvas
	c.writef(`<rect class="band" width="18" height="10"/>`)
	c.writef(`<text class="small" x="24" y="9.5">a fair die: 95 %% of the workers</text>`)
	top := 20.0
	if largest(shares) > s.high {
		c.writef(`<path class="mark" d="M14 %sl-8 -4.5v9z"/>`, num(top+5))
		c.writef(`<text class="small" x="24" y="%s">more than %s × a fair share</text>`,
			num(top+9.5), tickText(s.high))
		top += 18
	}
	d, y := marks.rows(labels, top+4, markHeight, func(row int, y float64) {
		marks.workers(f, f.Rows[row], s, y)
	})
	d.height = c.xAxis(s.labelled(xTicks), top, y, narrow-2*margin,
		"multiple of a fair share of the "+f.Whole)
	d.Title, d.body = f.Title, c.String()+marks.String()
	return d
}

// fair returns a worker's fair share of the whole, and by which part of it 95 % of the workers
// would differ at most if a fair die chose among them. A worker's count is then binomial.
func (r SpreadRow) fair() (mean, half float64) {
	whole, workers := total(r.Counts), float64(len(r.Counts))
	if whole == 0 {
		return 0, 0
	}
	mean = whole / workers
	return mean, 1.96 * math.Sqrt((1-1/workers)/mean)
}

// workers draws the band and the dots of a row. Workers whose dots would be at the same place share
// one dot.
func (c *canvas) workers(f SpreadChart, r SpreadRow, s scale, y float64) {
	mean, half := r.fair()
	if mean == 0 {
		return
	}
	c.titled(fmt.Sprintf("%s: a fair die gives %s to %s %s to a worker", r.Label,
		figure(math.Round(mean*max(0, 1-half))), figure(math.Round(mean*(1+half))), f.Whole),
		func() { c.rect("band", s.at(1-half), y, s.at(1+half), markHeight) })
	c.WriteString(`<g class="faint">`)
	const beyond = "beyond" // the axis
	var places []string
	workers := map[string][]string{}
	where := map[string]float64{}
	for i, n := range r.Counts {
		if !finite(n) || n < 0 {
			continue
		}
		x := math.Round(s.at(n/mean)*400) / 400
		place := share(x)
		if n/mean > s.high {
			place = beyond
		}
		if workers[place] == nil {
			places = append(places, place)
		}
		workers[place] = append(workers[place], fmt.Sprintf("worker %d: %s, %s × fair", i,
			figure(n), figure(n/mean)))
		where[place] = x
	}
	for _, place := range places {
		all := workers[place]
		const most = 4
		text := strings.Join(all[:min(most, len(all))], "; ")
		if len(all) > most {
			text += fmt.Sprintf(" and %d more", len(all)-most)
		}
		c.titled(text, func() {
			if place == beyond {
				c.writef(`<svg x="100%%" y="%s"><path class="mark" d="M0 0l-8 -4.5v9z"/></svg>`,
					num(y+markHeight/2))
				return
			}
			c.dot("", where[place], y+markHeight/2, 4)
		})
	}
	c.WriteString("</g>")
}

// Package chart draws charts as SVG, without scripts. Each chart is a function from a plain struct
// to a Drawing. The package knows nothing of results.
//
// A chart has the same text at every width: positions across the plot are percentages, and only
// the plot is stretched. Wide charts have their labels beside the rows, narrow ones above (see
// wide.css). Every mark has a <title> with its figures. A chart without data is an empty Drawing.
package chart

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed style.css
var style string

// wide has the rules that Style applies from wideFrom pixels on, and that a file always applies.
//
//go:embed wide.css
var wide string

const (
	wideFrom = 640 // the least width of a page, in pixels, that has labels beside the rows
	narrow   = 340 // the width, in pixels, into which all text fits
	fileWide = 760 // the width of a chart in a file of its own, in pixels
	margin   = 8   // free pixels beside the plot
)

// Style returns the style sheet of the charts of a page.
func Style() string {
	return fmt.Sprintf("%s@media (min-width: %dpx) {\n%s}\n", style, wideFrom, wide)
}

// A Drawing is a chart. The zero value is empty.
type Drawing struct {
	Title string // what the chart shows, for people who cannot see it

	body        string
	height      float64
	left, right float64 // pixels beside the plot
	rows        bool    // left and right apply only to wide charts
}

// Empty reports whether there is nothing to draw.
func (d Drawing) Empty() bool { return d.body == "" }

// Inline returns the chart as an element of an HTML page that has Style. Its width is that of the
// page.
func (d Drawing) Inline() string {
	class, property := "chart", `padding:0 %spx 0 %spx`
	if d.rows {
		class, property = "chart rows", `--right:%spx;--left:%spx`
	}
	return fmt.Sprintf(`<svg class="%s" role="img" aria-label="%s" height="%s" style="`+property+
		`">%s</svg>`, class, escape(d.Title), num(d.height), num(d.right), num(d.left),
		d.body)
}

// File returns the chart as a file of its own, with its title and its style.
func (d Drawing) File() string {
	class, left, top := "plot", d.left+margin, 32.0
	if d.rows {
		class, left = "rows", d.left
	}
	titled := &canvas{}
	for i, line := range wrap(d.Title, fileWide-2*margin, headSize) {
		if i > 0 {
			top += 20
		}
		titled.writef(`<text class="head" x="%d" y="%s">%s</text>`, margin, num(top-12),
			escape(line))
	}
	size := fmt.Sprintf(`width="%d" height="%s"`, fileWide, num(d.height+top))
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="chart file" role="img" `+
		`aria-label="%s" %s viewBox="0 0 %d %s">`+"\n<style>\n%s%s</style>\n",
		escape(d.Title), size, fileWide, num(d.height+top), style, wide) +
		titled.String() +
		fmt.Sprintf(`<svg class="%s" x="%s" y="%s" width="%s" height="%s">%s</svg>`+"\n</svg>\n",
			class, num(left), num(top), num(fileWide-left-d.right), num(d.height), d.body)
}

// A Colour is one of Wong's eight colours, which colour-blind people can tell apart, or grey.
// Blue is the colour of figures, whatever they measure. The others are for keys.
type Colour int

// The colours. Grey is for what is not worth a colour of its own.
const (
	Grey Colour = iota
	Vermilion
	Orange
	Yellow
	Green
	Sky
	Purple
	Ink // black, or white on a dark page
	Blue
)

// class returns the colour's class in the style sheet.
func (c Colour) class() string {
	names := []string{
		"grey", "vermilion", "orange", "yellow", "green", "sky", "purple", "ink", "blue",
	}
	if c < 0 || int(c) >= len(names) {
		c = Grey
	}
	return "c-" + names[c]
}

// A Key names a part of a whole and its colour. Parts are drawn in the order of their keys.
type Key struct {
	Name   string
	Colour Colour
	Shade  int // of the colour: 0 is full, 1 and 2 are lighter
}

// class returns the key's classes in the style sheet.
func (k Key) class() string {
	if k.Shade > 0 {
		return fmt.Sprintf("%s shade-%d", k.Colour.class(), min(k.Shade, 2))
	}
	return k.Colour.class()
}

// legend draws the keys in lines from y on and returns the next free y. Its left end is offset
// pixels left of the plot.
func (c *canvas) legend(keys []Key, y, offset float64) float64 {
	const swatch, gap = 10, 14
	x := 0.0
	for _, k := range keys {
		need := swatch + 5 + textWidth(k.Name, smallSize)
		if x > 0 && x+need > narrow {
			x, y = 0, y+18
		}
		c.writef(`<rect class="%s" x="%s" y="%s" width="%d" height="%d"/>`, k.class(),
			num(x-offset), num(y), swatch, swatch)
		c.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(x-offset+swatch+5), num(y+9.5),
			escape(k.Name))
		x += need + gap
	}
	if len(keys) == 0 {
		return y
	}
	return y + 18
}

// used returns the keys that have a part in any of the rows.
func used(keys []Key, rows [][]float64) []Key {
	var out []Key
	for i, k := range keys {
		if slices.ContainsFunc(rows, func(row []float64) bool { return at(row, i) > 0 }) {
			out = append(out, k)
		}
	}
	return out
}

// parts writes the parts of a whole: "312 reset_at_close, 12 refused".
func parts(keys []Key, counts []float64) string {
	var out []string
	for i, k := range keys {
		if i < len(counts) && counts[i] > 0 {
			out = append(out, figure(counts[i])+" "+k.Name)
		}
	}
	return strings.Join(out, ", ")
}

// at returns all[i], or 0 if there is no such element.
func at(all []float64, i int) float64 {
	if i < 0 || i >= len(all) {
		return 0
	}
	return all[i]
}

// total adds the numbers that are finite and positive.
func total(all []float64) float64 {
	sum := 0.0
	for _, x := range all {
		if finite(x) && x > 0 {
			sum += x
		}
	}
	return sum
}

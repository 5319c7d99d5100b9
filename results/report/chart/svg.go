package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// A canvas collects SVG elements. Positions across the plot are shares of its width, 0 to 1;
// positions and heights down the plot are pixels.
type canvas struct{ strings.Builder }

func (c *canvas) writef(format string, args ...any) { fmt.Fprintf(c, format, args...) }

// titled draws what draw draws, as one group with a title.
func (c *canvas) titled(title string, draw func()) {
	c.writef("<g><title>%s</title>", escape(title))
	draw()
	c.WriteString("</g>")
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.writef(`<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, share(x1), num(y1),
		share(x2), num(y2))
}

// rect draws a rectangle from x1 to x2.
func (c *canvas) rect(class string, x1, y, x2, height float64) {
	c.writef(`<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, share(x1), num(y),
		share(max(0, x2-x1)), num(height))
}

func (c *canvas) dot(class string, x, y, radius float64) {
	c.writef(`<circle%s cx="%s" cy="%s" r="%s"/>`, attribute("class", class), share(x), num(y),
		num(radius))
}

// An anchor says which point of a text is at its position. Its values are those of SVG.
type anchor string

const (
	start  anchor = "start"
	middle anchor = "middle"
	end    anchor = "end"
)

// text draws a text whose anchor is dx pixels right of x.
func (c *canvas) text(class string, x, dx, y float64, a anchor, s string) {
	c.writef(`<text%s x="%s"`, attribute("class", class), share(x))
	if dx != 0 {
		c.writef(` dx="%s"`, num(dx))
	}
	if a != start {
		c.writef(` text-anchor="%s"`, a)
	}
	c.writef(` y="%s">%s</text>`, num(y), escape(s))
}

// units is the width of the plot in the coordinates of stretched.
const units = 1000

// stretched draws paths. They have x from 0 to units and y from 0 to height, in pixels.
func (c *canvas) stretched(y, height float64, draw func()) {
	c.writef(`<svg y="%s" width="100%%" height="%s" viewBox="0 0 %d %s" `+
		`preserveAspectRatio="none">`, num(y), num(height), units, num(height))
	draw()
	c.WriteString("</svg>")
}

// path draws a path in stretched.
func (c *canvas) path(class, d string) {
	if d != "" {
		c.writef(`<path class="%s" d="%s"/>`, class, d)
	}
}

func attribute(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + `="` + value + `"`
}

// num writes a coordinate with at most one decimal.
func num(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10+0, 'f', -1, 64) // + 0: no "-0"
}

// share writes a share of the plot's width as a percentage.
func share(x float64) string {
	if x == 0 {
		return "0"
	}
	return strconv.FormatFloat(math.Round(x*1e4)/100+0, 'f', -1, 64) + "%"
}

// finite reports whether x can be drawn: it is a number and not absurdly large.
func finite(x float64) bool { return math.Abs(x) <= 1e18 }

// escape returns s as text for XML. Characters that cannot be printed become "�".
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(s)) // a Builder's writes cannot fail
	return out.String()
}

// The sizes of text, in pixels, as in style.css.
const (
	textSize  = 13
	smallSize = 12
	headSize  = 15
)

// textWidth estimates the width of a text in pixels, for a wide font (DejaVu Sans).
func textWidth(s string, size float64) float64 {
	em := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijl.,:;'|![]()·", r):
			em += 0.35
		case strings.ContainsRune("frt -/◂\u00a0", r):
			em += 0.42
		case strings.ContainsRune("mwMW%@", r):
			em += 0.95
		case r > 0x2e80: // the scripts of East Asia
			em++
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("≤≥±+=<>–", r):
			em += 0.68
		default:
			em += 0.6
		}
	}
	return em * size
}

// wrap breaks s between words into lines of at most width pixels. It cuts off the end of a word
// that is too long.
func wrap(s string, width, size float64) []string {
	var lines []string
	line := ""
	// A dot between words stays with the word before it.
	blank := func(r rune) bool { return r == ' ' || r == '\n' }
	for _, word := range strings.FieldsFunc(strings.ReplaceAll(s, " ·", "\u00a0·"), blank) {
		for textWidth(word, size) > width && len([]rune(word)) > 2 {
			r := []rune(strings.TrimSuffix(word, "…"))
			word = string(r[:len(r)-1]) + "…"
		}
		if line != "" && textWidth(line+" "+word, size) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

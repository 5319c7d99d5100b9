package chart

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"reuseport-bench/servers/testkit"
)

var unknown = math.NaN()

var testKeys = []Key{
	{"reset_at_close", Vermilion, 0}, {"refused", Sky, 0}, {"timeout", Orange, 1},
}

// examples are small charts that use every field.
func examples() map[string]Drawing {
	return map[string]Drawing{
		"forest":   Forest(testForest()),
		"compare":  Forest(testCompare()),
		"causes":   Causes(testCauses()),
		"overlay":  Overlay(testOverlay()),
		"timeline": Timeline(testTimeline()),
		"spectrum": Spectrum(testSpectrum()),
		"spread":   Spread(testSpread()),
		"scatter":  Scatter(testScatter()),
		"sweep":    Sweep(testSweep()),
	}
}

func testForest() ForestChart {
	return ForestChart{
		Title: "Dropped per restart", Axis: "dropped per restart [95 %]",
		Low: 0.2, High: 0.32, BandName: "interval of the baseline, reuseport · close",
		At: 1, AtName: "1 per restart",
		Rows: []ForestRow{
			{"shared · handoff", "≤ 3/320", "", []Mark{
				{Value: unknown, High: 3. / 320, None: true, Title: "none in 320 restarts"},
			}},
			{"reuseport · close", "0.256", "[0.204, 0.318]", []Mark{
				{Value: 0.256, Low: 0.204, High: 0.318, Title: "82 in 320 restarts"},
			}},
			{"exclusive · bind-after-close · workers=1", "19.4", "[18.9, 19.9]", []Mark{
				{Value: 19.4, Low: 18.9, High: 19.9, Title: "6,212 in 320 restarts"},
			}},
			{"one <trial> & no interval", "0", "", []Mark{{Low: unknown, High: unknown}}},
		},
	}
}

func testCompare() ForestChart {
	return ForestChart{
		Title: "Dropped per restart, new and old", Axis: "dropped per restart [95 %]",
		Filled: "feature", Hollow: "main",
		Rows: []ForestRow{
			{"shared · handoff", "0.0219", "was ≤ 3/320", []Mark{
				{Value: 0.0219, Low: 0.00879, High: 0.0451, Title: "feature: 7 in 320 restarts"},
				{High: 3. / 320, None: true, Hollow: true, Title: "main: none in 320 restarts"},
			}},
			{"reuseport · close", "0.256", "was 0.303", []Mark{
				{Value: 0.256, Low: 0.204, High: 0.318, Title: "feature"},
				{Value: 0.303, Low: 0.242, High: 0.375, Hollow: true, Title: "main"},
			}},
		},
	}
}

func testCauses() CausesChart {
	return CausesChart{
		Title: "Causes of loss", Keys: testKeys,
		Rows: []CausesRow{
			{"shared · handoff", "none", nil},
			{"reuseport · close", "82 lost", []float64{81, 1}},
			{"exclusive · bind-after-close · workers=1", "6,212 lost", []float64{62, 6150, 0}},
		},
	}
}

func testOverlay() OverlayChart {
	return OverlayChart{
		Title: "All restarts laid over each other", Axis: "ms after the stop signal",
		Counts: "lost per ms, all restarts", Unit: "ms", From: -2, Bin: 1, Keys: testKeys,
		Own: true,
		Panels: []OverlayPanel{
			{Label: "shared · handoff", Figure: "none"},
			{
				Label: "reuseport · close", Figure: "82 lost", More: "in 320 restarts",
				Lost: [][]float64{{0, 0, 60, 21, 0, 0}, {0, 0, 0, 1, 0, 0}},
			},
			{
				Label: "exclusive · bind-after-close · workers=1", Figure: "6,212 lost",
				More: "in 320 restarts", Lost: [][]float64{nil, {0, 1, 3000, 3000, 150, 61}},
			},
		},
	}
}

func testTimeline() TimelineChart {
	return TimelineChart{
		Title: "One trial of reuseport · close", Axis: "ms after the start of the load", Unit: "ms",
		To: 100, Window: 10, Keys: testKeys,
		Workers: []TimelineWorker{
			{"worker 0", 0, unknown, unknown, 50, 52, 60},
			{"worker 1", 1, unknown, unknown, 51, 54, 61},
			{"worker 2", 0, 20, 45, unknown, unknown, unknown},
			{"worker 3", 1, 21, 46, unknown, unknown, unknown},
		},
		Steps: []TimelineStep{{"replace", 50}},
		Lost:  [][]float64{{0, 0, 0, 0, 0, 4, 1}, {0, 0, 0, 0, 0, 2}},
		Queue: []float64{0, 1, 0, 2, 0, 18, 3, 0, 1, 0},
		Max:   []float64{2, 3, 2, 4, 2, 40, 12, 3, 2, unknown},
		P99:   []float64{1, 1, 1, 2, 1, 9, 5, 1, 1, unknown},
		P50:   []float64{0.5, 0.5, 0.6, 0.5, 0.5, 0.7, 0.5, 0.5, 0.5, unknown},
		Host: []HostSeries{
			{"steal", make([]float64, 10)},
			{"run-queue delay", []float64{0, 0, 0.02, 0.02, 0, 0.2, 0.1, unknown, 0, 0.05}},
		},
	}
}

func testSpectrum() SpectrumChart {
	values := func(slow float64) []Count {
		return []Count{
			{0.2, 50_000}, {0.5, 40_000}, {1, 9_000}, {2 * slow, 900}, {5 * slow, 90},
			{9 * slow, 9}, {12 * slow, 1},
		}
	}
	return SpectrumChart{
		Title: "Response times", Axis: "response time, ms", Timeout: 900,
		Lines: []SpectrumLine{
			{Label: "shared · handoff", Figure: "p99 1.00 ms", Values: values(1)},
			{
				Label: "reuseport · close", Figure: "p99 1.00 ms", Values: values(2), Lost: 82,
				Strong: true,
			},
			{
				Label: "exclusive · bind-after-close · workers=1", Figure: "p99 > timeout",
				Values: values(1), Lost: 6212,
			},
		},
	}
}

func testSpread() SpreadChart {
	return SpreadChart{
		Title: "Connections per worker", Whole: "connections",
		Rows: []SpreadRow{
			{"shared", "max/mean 1.60", []float64{1600, 1100, 800, 500}},
			{"reuseport", "max/mean 1.02", []float64{1020, 1020, 980, 980}},
			{"epoll-exclusive", "max/mean 7.98", []float64{3, 3190, 2, 1, 1, 1, 1, 1}},
		},
	}
}

func testScatter() ScatterChart {
	return ScatterChart{
		Title: "Outage over endpoint lag", X: "endpoint lag, ms", Y: "outage, ms",
		Equal: "outage = lag", Fit: Fit{1.05, 10, "fitted: 10 ms + 1.05 · lag [0.98, 1.1]"},
		Points: []ScatterPoint{
			{50, 70, "lag 50 ms, outage 70 ms"}, {100, 110, "lag 100 ms, outage 110 ms"},
			{80_000, 84_600, "lag 80 s, outage 84.6 s"}, {unknown, 1, "unknown"},
		},
	}
}

func testSweep() SweepChart {
	mark := func(x float64) Mark { return Mark{Value: x, Low: x / 2, High: x * 2, Title: "title"} }
	none := Mark{None: true, High: 3. / 320, Title: "none in 320 restarts"}
	return SweepChart{
		Title: "Dropped per restart over the rate", X: "load.rate, 1/s",
		Y: "dropped per restart [95 %]", LogX: true,
		Lines: []SweepLine{
			{"reuseport · close", []SweepPoint{
				{500, mark(0.25)}, {1000, mark(0.5)}, {2000, mark(1)}, {4000, mark(2)},
			}},
			{"reuseport · drain", []SweepPoint{
				{500, none}, {1000, mark(0.02)}, {2000, mark(0.05)}, {4000, mark(0.07)},
			}},
		},
	}
}

// The golden files have one element per line, and no style sheet.
func TestGolden(t *testing.T) {
	for name, d := range examples() {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(d.File(), style+wide, "", 1)
			testkit.Golden(t, name+".svg", strings.ReplaceAll(text, "><", ">\n<"))
		})
	}
}

func TestStyle(t *testing.T) {
	if got := Forest(testForest()).File(); !strings.Contains(got, style+wide) {
		t.Errorf("the style sheet is not in the file:\n%s", got)
	}
	if got := Style(); !strings.Contains(got, "(min-width: 640px) {\n"+wide) {
		t.Errorf("the rules of wide charts are not in a media query:\n%s", got)
	}
}

// Each chart, drawn from little or strange data, is well-formed and has only finite coordinates. If
// there is nothing to draw, it is empty.
func TestDegenerate(t *testing.T) {
	mark := func(value, low, high float64) ForestChart {
		return ForestChart{Rows: []ForestRow{{Marks: []Mark{{Value: value, Low: low, High: high}}}}}
	}
	line := func(lost float64, values ...Count) SpectrumChart {
		return SpectrumChart{Timeout: 900, Lines: []SpectrumLine{{Values: values, Lost: lost}}}
	}
	point := func(p SweepPoint) SweepChart {
		return SweepChart{Lines: []SweepLine{{Points: []SweepPoint{p}}}}
	}
	logarithmicPoint := func(p SweepPoint) SweepChart {
		c := point(p)
		c.LogX = true
		return c
	}
	panel := func(lost ...float64) OverlayChart {
		return OverlayChart{
			Bin: 1, Keys: testKeys, Panels: []OverlayPanel{{Lost: [][]float64{lost}}},
		}
	}
	inf := math.Inf(1)
	for _, test := range []struct {
		name  string
		d     Drawing
		empty bool
	}{
		{"forest without rows", Forest(ForestChart{At: 1}), true},
		{"forest without marks", Forest(ForestChart{Rows: []ForestRow{{}}}), true},
		{"forest of an unknown value", Forest(mark(unknown, unknown, unknown)), true},
		{"forest of zeros", Forest(mark(0, 0, 0)), false},
		{"forest of one value", Forest(mark(1, 1, 1)), false},
		{"forest of an infinite interval", Forest(mark(1, -inf, inf)), false},
		{"forest of extremes", Forest(mark(1e18, 5e-324, 1e300)), false},
		{"forest of a tiny value", Forest(mark(5e-324, 5e-324, 5e-324)), false},
		{"forest of negative values", Forest(mark(-1, -2, -0.5)), false},
		{"forest of none seen", Forest(ForestChart{Rows: []ForestRow{{Marks: []Mark{
			{Value: unknown, High: 0.01, None: true},
		}}}}), false},
		{"forest of none seen, no bound", Forest(ForestChart{Rows: []ForestRow{{Marks: []Mark{
			{Value: unknown, High: unknown, None: true},
		}}}}), false},

		{"causes without rows", Causes(CausesChart{Keys: testKeys}), true},
		{"causes of zeros", Causes(CausesChart{Keys: testKeys, Rows: []CausesRow{
			{Counts: []float64{0, 0}},
		}}), true},
		{"causes without keys", Causes(CausesChart{Rows: []CausesRow{
			{Counts: []float64{1}},
		}}), true},
		{"causes that are strange", Causes(CausesChart{Keys: testKeys, Rows: []CausesRow{
			{Counts: []float64{unknown, inf, 1, 5}}, {Counts: []float64{-1}},
		}}), false},

		{"overlay without panels", Overlay(OverlayChart{Bin: 1}), true},
		{"overlay of zeros", Overlay(panel(0, 0)), true},
		{"overlay without a bin", Overlay(OverlayChart{Panels: panel(1).Panels}), true},
		{"overlay of one bin", Overlay(panel(1)), false},
		{"overlay that is strange", Overlay(panel(unknown, -1, inf, 1)), false},

		{"timeline without data", Timeline(TimelineChart{To: 1}), true},
		{"timeline without time", Timeline(TimelineChart{Workers: testTimeline().Workers}), true},
		{"timeline of unknown time", Timeline(TimelineChart{
			From: unknown, To: 1, Workers: testTimeline().Workers,
		}), true},
		{"timeline of workers", Timeline(TimelineChart{
			To: 1, Workers: []TimelineWorker{{"w", 0, unknown, unknown, unknown, unknown, unknown}},
		}), false},
		{"timeline of zeros", Timeline(TimelineChart{
			To: 1, Window: 1, Lost: [][]float64{{0}}, Queue: []float64{0}, Max: []float64{0},
			Host: []HostSeries{{"steal", []float64{0}}},
		}), false},
		{"timeline of unknown values", Timeline(TimelineChart{
			To: 1, Window: 1, P50: []float64{unknown}, Queue: []float64{inf},
		}), false},
		{"timeline beyond its end", Timeline(TimelineChart{
			To: 1, Window: 1, Keys: testKeys, Lost: [][]float64{{1, 2, 3}}, Max: []float64{1},
			Workers: []TimelineWorker{{"w", -1, 0, 0, 0, 0, 0}, {"w", 99, 5, 6, 7, 8, 9}},
			Steps:   []TimelineStep{{"late", 9}, {"unknown", unknown}},
		}), false},

		{"spectrum without lines", Spectrum(SpectrumChart{}), true},
		{"spectrum of one value", Spectrum(line(0, Count{1, 1})), true},
		{"spectrum of ten values", Spectrum(line(0, Count{1, 10})), true},
		{"spectrum of one value, often", Spectrum(line(0, Count{1, 1000})), false},
		{"spectrum of zeros", Spectrum(line(0, Count{0, 1000})), true},
		{"spectrum of losses", Spectrum(line(1000)), false},
		{"spectrum without a timeout", Spectrum(SpectrumChart{Lines: line(1000).Lines}), true},
		{"spectrum that is strange", Spectrum(line(unknown, Count{unknown, 9},
			Count{1, -5})), true},
		{"spectrum of unknown losses", Spectrum(line(unknown, Count{1, 900},
			Count{2, inf})), false},

		{"spread without rows", Spread(SpreadChart{}), true},
		{"spread of zeros", Spread(SpreadChart{Rows: []SpreadRow{
			{Counts: []float64{0, 0}},
		}}), true},
		{"spread of one worker", Spread(SpreadChart{Rows: []SpreadRow{
			{Counts: []float64{9}},
		}}), false},
		{"spread that is strange", Spread(SpreadChart{Rows: []SpreadRow{
			{Counts: []float64{unknown, inf, -1, 3}}, {},
		}}), false},

		{"scatter without points", Scatter(ScatterChart{Equal: "y = x"}), true},
		{"scatter of unknown points", Scatter(ScatterChart{Points: []ScatterPoint{
			{X: unknown}, {Y: inf},
		}}), true},
		{"scatter of zeros", Scatter(ScatterChart{Points: make([]ScatterPoint, 2)}), false},
		{"scatter with a level line", Scatter(ScatterChart{
			Points: []ScatterPoint{{X: 1, Y: 1}}, Fit: Fit{0, 0.5, "level"},
		}), false},
		{"scatter with a line outside", Scatter(ScatterChart{
			Points: []ScatterPoint{{X: 1, Y: 1}}, Fit: Fit{0, 9, "outside"}, Equal: "y = x",
		}), false},
		{"scatter with an unknown line", Scatter(ScatterChart{
			Points: []ScatterPoint{{X: 1, Y: 1}}, Fit: Fit{unknown, inf, "unknown"},
		}), false},

		{"sweep without lines", Sweep(SweepChart{}), true},
		{"sweep of an unknown point", Sweep(point(SweepPoint{unknown, Mark{}})), true},
		{"sweep of one point", Sweep(point(SweepPoint{1, Mark{Value: 1, Low: 1, High: 1}})), false},
		{"sweep of zeros", Sweep(point(SweepPoint{})), false},
		{"sweep of zeros, log scale", Sweep(logarithmicPoint(SweepPoint{})), true},
		{"sweep of a zero, log scale", Sweep(logarithmicPoint(SweepPoint{X: 1})), false},
		{"sweep of none seen", Sweep(logarithmicPoint(SweepPoint{1, Mark{
			None: true, High: 0.01,
		}})), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.d.Empty(); got != test.empty {
				t.Errorf("empty: got %t, want %t", got, test.empty)
			}
			if !test.d.Empty() {
				elements(t, test.d.Inline())
				elements(t, test.d.File())
			}
		})
	}
}

// A label cannot end its element or its attribute.
func TestEscaping(t *testing.T) {
	const label = "<script>\"'&\x1b\u202e"
	f := testForest()
	f.Title, f.Rows[0].Label = label, label
	for _, text := range []string{Forest(f).Inline(), Forest(f).File()} {
		for _, e := range elements(t, text) {
			if e.name == "script" || strings.ContainsAny(e.text, "\x1b\u202e") {
				t.Errorf("the label is not escaped:\n%s", text)
			}
		}
	}
}

// In a narrow chart no text overlaps another, or is cut off.
func TestTextFits(t *testing.T) {
	for name, d := range examples() {
		t.Run(name, func(t *testing.T) {
			left, right := d.left, d.right
			if d.rows {
				left, right = margin, margin
			}
			plot := narrow - left - right
			var boxes []box
			for _, e := range elements(t, d.Inline()) {
				if e.name == "text" {
					boxes = append(boxes, e.box(t, plot))
				}
			}
			for i, b := range boxes {
				if b.left < -left-1 || b.right > plot+right+1 || b.top < -2 || b.bottom > d.height {
					t.Errorf("%q is cut off: %+v in a plot of %g", b.text, b, plot)
				}
				for _, other := range boxes[:i] {
					if b.overlaps(other) {
						t.Errorf("%q overlaps %q: %+v, %+v", b.text, other.text, b, other)
					}
				}
			}
		})
	}
}

type box struct {
	text                     string
	left, right, top, bottom float64
}

func (b box) overlaps(other box) bool {
	return b.left < other.right && other.left < b.right && b.top < other.bottom &&
		other.top < b.bottom
}

// An element is an SVG element, without its children.
type element struct {
	name       string
	attributes map[string]string
	text       string // without what narrow charts omit
}

// box returns the box of a text, as an estimate.
func (e element) box(t *testing.T, plot float64) box {
	t.Helper()
	pixels := func(name string) float64 {
		text := e.attributes[name]
		if text == "" {
			return 0
		}
		number, percent := strings.CutSuffix(text, "%")
		x, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if percent {
			x *= plot / 100
		}
		return x
	}
	class := strings.Fields(e.attributes["class"] + " -")
	size := 13.0
	if class[0] == "small" || class[0] == "inside" {
		size = 12
	}
	width := textWidth(e.text, size)
	x, y := pixels("x")+pixels("dx"), pixels("y")
	switch {
	case e.attributes["text-anchor"] == "end", class[0] == "figure":
		x -= width
	case e.attributes["text-anchor"] == "middle":
		x -= width / 2
	}
	return box{e.text, x, x + width, y - size*0.75, y + size*0.2}
}

// elements returns the elements of an SVG. The test fails if the SVG is not well-formed, or if an
// attribute has a number that is not finite.
func elements(t *testing.T, svg string) []element {
	t.Helper()
	var all []element
	var open []int
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attributes: map[string]string{}}
			for _, a := range token.Attr {
				e.attributes[a.Name.Local] = a.Value
				if a.Name.Local != "aria-label" &&
					(strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf")) {
					t.Errorf("%s has %s=%q", e.name, a.Name.Local, a.Value)
				}
			}
			open = append(open, len(all))
			all = append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				all[open[len(open)-1]].text += string(token)
			}
		}
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		s     scale
		ticks string
	}{
		{linear(), "0 0.5 1"},
		{linear(0, 0), "0 0.5 1"},
		{linear(7), "0 5"},
		{linear(95), "0 50 100"},
		{linear(25_000), "0 20,000"},
		{logarithmic(), "1 2 5 10"},
		{logarithmic(0.3, 20), "0.1 0.2 0.5 1 2 5 10 20 50 100"},
		{logarithmic(0.001, 20), "0.001 0.01 0.1 1 10 100"},
		{logarithmic(1e-20, 1), "0.00000001 0.0000001 0.000001 0.00001 0.0001 0.001 0.01 0.1 1"},
		{logarithmic(10, 10), "10 20 50 100"},
		{logarithmic(3, 40).tight([]float64{3, 40}), "2 5 10 20 50"},
		{logarithmic(600, 700).tight([]float64{600, 700}), "500 1000"},
	} {
		var ticks []string
		for _, x := range test.s.ticks(2) {
			ticks = append(ticks, tickText(x))
			if at := test.s.at(x); at < 0 || at > 1 {
				t.Errorf("%v: %g is at %g", test.s, x, at)
			}
		}
		if got := strings.Join(ticks, " "); got != test.ticks {
			t.Errorf("%+v: got %s, want %s", test.s, got, test.ticks)
		}
	}
}

func TestAt(t *testing.T) {
	for _, test := range []struct {
		s       scale
		x, want float64
	}{
		{linear(100), 25, 0.25}, {linear(100), -5, 0}, {linear(100), 500, 1},
		{logarithmic(1, 100), 10, 0.5}, {logarithmic(1, 100), 0, 0},
		{logarithmic(1, 100), math.Inf(1), 1}, {linear(100), math.NaN(), 0},
	} {
		if got := test.s.at(test.x); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%+v at %g: got %g, want %g", test.s, test.x, got, test.want)
		}
	}
}

// If a fair die chose the worker, 95 of 100 workers are in the band: of two workers that share 100
// connections, each has 50 with a standard deviation of 5.
func TestFair(t *testing.T) {
	for _, test := range []struct {
		counts     []float64
		mean, half float64
	}{
		{[]float64{45, 55}, 50, 1.96 * 5 / 50},
		{[]float64{90, 110, 100, 100}, 100, 1.96 * 8.660254 / 100},
		{[]float64{9}, 9, 0},
		{nil, 0, 0},
	} {
		mean, half := SpreadRow{Counts: test.counts}.fair()
		if mean != test.mean || math.Abs(half-test.half) > 1e-6 {
			t.Errorf("%v: got %g ± %g, want ± %g", test.counts, mean, half, test.half)
		}
	}
}

// The axis of a forest plot goes on beyond an interval that ends at 0, so that one sees it end. A
// variant that dropped nothing has no bar if the bar has no end.
func TestForestEnds(t *testing.T) {
	m := Mark{Value: 1, Low: 0, High: 3}
	if got := forestScale(ForestChart{Rows: []ForestRow{{Marks: []Mark{m}}}}).at(1); got < 0.2 {
		t.Errorf("1 [0, 3] is at %g of the axis", got)
	}
	m = Mark{None: true, High: unknown}
	if got := Forest(ForestChart{Rows: []ForestRow{{Marks: []Mark{m}}}}).body; strings.Contains(got,
		`<line class="open"`) {
		t.Errorf("a bar without an end:\n%s", got)
	}
}

// A spectrum's line is exact at the ends of its steps, rises to the timeout at 1 − the loss share,
// and ends where fewer than ten attempts are left.
func TestSpectrumPoints(t *testing.T) {
	for _, test := range []struct {
		line SpectrumLine
		want []point
	}{
		{SpectrumLine{}, nil},
		{SpectrumLine{Values: []Count{{1, 900}, {2, 90}, {3, 10}}},
			[]point{{1, 1}, {10, 1}, {100, 2}}},
		{SpectrumLine{Values: []Count{{1, 900}, {2, 95}, {3, 5}}},
			[]point{{1, 1}, {10, 1}, {100, 2}}},
		{SpectrumLine{Values: []Count{{1, 900}}, Lost: 100},
			[]point{{1, 1}, {10, 1}, {10, 800}, {100, 800}}},
		{SpectrumLine{Values: []Count{{1, 995}}, Lost: 5}, []point{{1, 1}, {100, 1}}},
		{SpectrumLine{Lost: 100}, []point{{1, 800}, {1, 800}, {10, 800}}},
	} {
		got := test.line.points(800)
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%+v: got %v, want %v", test.line, got, test.want)
		}
	}
}

func TestSimplified(t *testing.T) {
	straight := []point{{0, 0}, {1, 0.1}, {2, -0.1}, {3, 0}, {3, 9}, {3, 10}}
	if got, want := polyline(simplified(straight)), "M0 0L3 0 3 10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A legend explains only what is drawn, and a step that is repeated has its name once.
func TestOnlyDrawnKeys(t *testing.T) {
	unknown := math.NaN()
	trial := TimelineChart{To: 100, Workers: []TimelineWorker{
		{Started: unknown, Ready: unknown, Told: unknown, Closed: unknown, Gone: unknown},
	}}
	for _, at := range []float64{10, 40, 70} {
		trial.Steps = append(trial.Steps, TimelineStep{Name: "replace", At: at})
	}
	body := Timeline(trial).body
	for text, want := range map[string]int{
		">serving<": 1, ">starting<": 0, ">told to stop<": 0, ">listener closed<": 0,
		">replace<": 1,
	} {
		if got := strings.Count(body, text); got != want {
			t.Errorf("%s is there %d times, want %d", text, got, want)
		}
	}
	for high, want := range map[float64]bool{0.1: true, unknown: false} {
		f := ForestChart{Rows: []ForestRow{{Marks: []Mark{{None: true, High: high}}}}}
		if got := strings.Contains(Forest(f).body, "none seen"); got != want {
			t.Errorf("a bound of %g: the legend explains a bar: %t, want %t", high, got, want)
		}
	}
}

// A window without a known value interrupts a line and has no dot.
func TestUnknownWindows(t *testing.T) {
	values := []float64{1, 2, unknown, 5, math.Inf(1)}
	y := scale{low: 0, high: 10}.at // at(NaN) is 0
	if got, want := curves(values, 10, y), "M5 0.1L15 0.2M35 0.5L36 0.5"; got != want {
		t.Errorf("curves: got %s, want %s", got, want)
	}
	if got, want := dots(values, 10, y), "M5 0.1h0M15 0.2h0M35 0.5h0"; got != want {
		t.Errorf("dots: got %s, want %s", got, want)
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width float64
		want  string
	}{
		{"reuseport · close", 300, "reuseport · close"},
		{"reuseport · close", 90, "reuseport ·|close"},
		{"", 90, ""},
		{"bind-after-close", 60, "bind-aft…"},
	} {
		got := strings.ReplaceAll(strings.Join(wrap(test.text, test.width, 13), "|"), "\u00a0", " ")
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

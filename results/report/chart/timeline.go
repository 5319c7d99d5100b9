package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A TimelineChart shows one trial: workers and steps, and below them what the clients, the queues
// and the machine saw, on one time axis. Lanes without data are omitted. Series have one value for
// each window; NaN is a value that is not known.
type TimelineChart struct {
	Title   string
	Axis    string // "ms after the start of the load"
	Unit    string // of all times, and of Max, P99 and P50
	From    float64
	To      float64
	Workers []TimelineWorker
	Steps   []TimelineStep
	Window  float64 // the width of a window; the first begins at From
	Keys    []Key
	Lost    [][]float64 // for each key, for each window
	Queue   []float64   // the longest accept queue, in connections
	Max     []float64   // response times
	P99     []float64
	P50     []float64
	Host    []HostSeries
}

// A TimelineWorker is a worker's life. An instant that is not known, or was not in the trial, is
// NaN.
type TimelineWorker struct {
	Name string
	Lane int // workers that replace each other have the same lane, from 0 on
	// A worker starts, is ready, is told to stop, has closed its listener, and is gone.
	Started, Ready, Told, Closed, Gone float64
}

// A TimelineStep is a step, drawn as a line through all lanes.
type TimelineStep struct {
	Name string
	At   float64
}

// A HostSeries is what other programs took from the trial, as a share of each window, 0 to 1.
type HostSeries struct {
	Name   string
	Shares []float64
}

// timeline is a TimelineChart that is being drawn.
type timeline struct {
	TimelineChart
	canvas
	time scale
	left float64
	y    float64
}

// Timeline draws the chart.
func Timeline(f TimelineChart) Drawing {
	windows := f.windows()
	f.To = max(f.To, f.From+f.Window*float64(windows))
	if !(f.To > f.From) || !finite(f.From) || !finite(f.To) || len(f.Workers)+windows == 0 {
		return Drawing{}
	}
	t := &timeline{TimelineChart: f, time: scale{low: f.From, high: f.To}}
	t.left = max(f.lossScale().axisWidth(), linear(f.Queue...).axisWidth(),
		f.responseScale().axisWidth())
	t.workerKeys()
	top := t.steps()
	t.workers()
	t.losses()
	t.queue()
	t.responses()
	t.host()
	bottom := t.y - 6
	t.columns(top, bottom, windows)
	axis := &canvas{}
	height := axis.xAxis(t.time.labelled(xTicks), top, bottom, narrow-t.left-margin, f.Axis)
	behind := &canvas{}
	for _, s := range f.Steps {
		if s.At >= f.From && s.At <= f.To {
			behind.line("at", t.time.at(s.At), top, t.time.at(s.At), bottom)
		}
	}
	return Drawing{
		Title: f.Title, body: behind.String() + axis.String() + t.String(), height: height,
		left: t.left, right: margin,
	}
}

// windows returns the number of windows.
func (f TimelineChart) windows() int {
	if !(f.Window > 0) {
		return 0
	}
	n := 0
	for _, series := range f.Lost {
		n = max(n, len(series))
	}
	for _, h := range f.Host {
		n = max(n, len(h.Shares))
	}
	return max(n, len(f.Queue), len(f.Max), len(f.P99), len(f.P50))
}

func (f TimelineChart) lossScale() scale { return linear(stackHeights(f.Lost)...) }

func (f TimelineChart) responseScale() scale {
	all := slices.Concat(f.Max, f.P99, f.P50)
	return logarithmic(all...).tight(all)
}

// head writes the name of a lane above it.
func (t *timeline) head(text string) {
	t.writef(`<text class="small halo" x="%s" y="%s">%s</text>`, num(-t.left), num(t.y+12),
		escape(text))
	t.y += 22
}

// width returns the width of a window in stretched.
func (t *timeline) width() float64 { return t.Window / (t.To - t.From) * units }

// workerKeys explains how the periods of a worker's life are drawn.
func (t *timeline) workerKeys() {
	if len(t.Workers) == 0 {
		return
	}
	x := -t.left
	drawn := map[string]bool{}
	for _, w := range t.Workers {
		t.periods(w, func(k lifeKey, _, _ float64) { drawn[k.name] = true })
	}
	for _, k := range lifeKeys {
		if !drawn[k.name] {
			continue
		}
		need := 23 + textWidth(k.name, smallSize)
		if x > -t.left && x+need > narrow-t.left {
			x, t.y = -t.left, t.y+18
		}
		t.writef(`<rect class="%s" x="%s" y="%s" width="18" height="%s"/>`, k.class, num(x),
			num(t.y+5-k.height*5), num(k.height*10))
		t.writef(`<text class="small" x="%s" y="%s">%s</text>`, num(x+23), num(t.y+9.5), k.name)
		x += need + 12
	}
	t.y += 22
}

// A lifeKey is a kind of period in a worker's life. Its height is a share of a lane's.
type lifeKey struct {
	name, class string
	height      float64
}

var lifeKeys = []lifeKey{
	{"starting", "life starting", 0.4},
	{"serving", "life serving", 1},
	{"told to stop", "life told", 1},
	{"listener closed", "life closed", 0.3},
}

// steps writes the names of the steps where there is room, and returns the y below them. It does
// not repeat the name of the step before.
func (t *timeline) steps() float64 {
	plot := narrow - t.left - margin
	free := math.Inf(-1)
	named, last := false, ""
	for _, s := range t.Steps {
		if !finite(s.At) || s.At < t.From || s.At > t.To {
			continue
		}
		named = true
		width := textWidth(s.Name, smallSize)
		x, a, from := t.time.at(s.At), start, t.time.at(s.At)*plot
		if from+width > plot+margin {
			a, from = end, from-width
		}
		if from >= free && s.Name != last {
			t.text("small", x, 0, t.y+10, a, s.Name)
			free, last = from+width+8, s.Name
		}
	}
	if named {
		t.y += 14
	}
	return t.y
}

// workers draws the lanes of the workers. Workers that replace each other are in the upper and the
// lower half of their lane, in turn.
func (t *timeline) workers() {
	if len(t.Workers) == 0 {
		return
	}
	t.head("workers")
	lanes := 0
	seen := map[int]int{} // the number of workers of each lane that are drawn
	for _, w := range t.Workers {
		lanes = max(lanes, w.Lane+1)
	}
	half := min(max(math.Floor(160/float64(lanes))/2, 1), 8) - 1
	for _, w := range t.Workers {
		if w.Lane < 0 {
			continue
		}
		y := t.y + float64(w.Lane)*2*(half+1) + float64(seen[w.Lane]%2)*(half+0.5)
		seen[w.Lane]++
		t.titled(t.life(w), func() { t.worker(w, y, half) })
	}
	t.y += float64(lanes)*2*(half+1) + 6
}

// worker draws the periods of a worker's life.
func (t *timeline) worker(w TimelineWorker, y, height float64) {
	t.periods(w, func(k lifeKey, from, to float64) {
		t.rect(k.class, t.time.at(from), y+height*(1-k.height)/2, t.time.at(to), height*k.height)
	})
}

// periods calls draw for each period of a worker's life that is in the chart.
func (t *timeline) periods(w TimelineWorker, draw func(k lifeKey, from, to float64)) {
	instants := []float64{w.Started, w.Ready, w.Told, w.Closed, w.Gone}
	if !finite(instants[0]) {
		instants[0] = t.From // it was there before the trial
	}
	if !finite(instants[1]) {
		instants[1] = instants[0]
	}
	for i, k := range lifeKeys {
		from := instants[i]
		to := t.To
		for _, later := range instants[i+1:] {
			if finite(later) {
				to = later
				break
			}
		}
		if !finite(from) || to <= from || to < t.From || from > t.To {
			continue
		}
		draw(k, from, to)
	}
}

// life returns the instants of a worker as text.
func (t *timeline) life(w TimelineWorker) string {
	text := []string{w.Name}
	for _, x := range []struct {
		what string
		at   float64
	}{
		{"started", w.Started}, {"ready", w.Ready}, {"told to stop", w.Told},
		{"listener closed", w.Closed}, {"gone", w.Gone},
	} {
		if finite(x.at) {
			text = append(text, x.what+" "+figure(x.at)+" "+t.Unit)
		}
	}
	return strings.Join(text, ", ")
}

const (
	lossHeight     = 56
	queueHeight    = 44
	responseHeight = 90
	hostHeight     = 12
	laneGap        = 8
)

// losses draws what was dropped in each window, by cause.
func (t *timeline) losses() {
	var sums []float64
	for _, counts := range t.Lost {
		sums = append(sums, total(counts))
	}
	keys := used(t.Keys, [][]float64{sums})
	if len(keys) == 0 {
		return
	}
	t.head("dropped, by cause")
	t.y = t.legend(keys, t.y, t.left) + 4
	s := t.lossScale()
	t.yAxis(s, t.y, t.y+lossHeight)
	t.stretched(t.y, lossHeight, func() {
		t.stacks(t.Keys, t.Lost, t.width(), s, lossHeight, nil)
	})
	t.y += lossHeight + laneGap
}

// queue draws the longest accept queue in each window.
func (t *timeline) queue() {
	if total(t.Queue) == 0 {
		return
	}
	t.head("longest accept queue, connections")
	s := linear(t.Queue...)
	t.yAxis(s, t.y, t.y+queueHeight)
	t.stretched(t.y, queueHeight, func() {
		t.path("curve", curves(t.Queue, t.width(), func(v float64) float64 {
			return queueHeight * (1 - s.at(v))
		}))
	})
	t.y += queueHeight + laneGap
}

// responses draws the response times of each window: the longest as dots, two percentiles as lines.
func (t *timeline) responses() {
	if total(slices.Concat(t.Max, t.P99, t.P50)) == 0 {
		return
	}
	s := t.responseScale()
	t.head(s.axis("response time, " + t.Unit + ": · max, – – p99, — p50"))
	t.yAxis(s, t.y, t.y+responseHeight)
	y := func(v float64) float64 {
		if v <= 0 {
			return math.NaN()
		}
		return responseHeight * (1 - s.at(v))
	}
	t.stretched(t.y, responseHeight, func() {
		t.path("curve dashed", curves(t.P99, t.width(), y))
		t.path("curve", curves(t.P50, t.width(), y))
		t.path("dots", dots(t.Max, t.width(), y))
	})
	t.y += responseHeight + laneGap
}

// host draws what the machine took as strips, darker where it took more.
func (t *timeline) host() {
	for _, h := range t.Host {
		most := largest(h.Shares)
		if most == 0 {
			continue
		}
		t.head(fmt.Sprintf("%s: at most %s %% of a window", h.Name, figure(100*most)))
		t.rect("strip", 0, t.y, 1, hostHeight)
		levels := t.levels(h.Shares, max(most, leastHeat))
		t.stretched(t.y, hostHeight, func() {
			for i := range levels {
				t.path(fmt.Sprintf("heat-%d", i), levels[i])
			}
		})
		t.y += hostHeight + laneGap
	}
}

// leastHeat is the least share of a window that is drawn as hot. Without it, the hottest window
// would look like a disturbance where there was none.
const leastHeat = 0.2

// levels returns, for each level of heat, the path through the windows that have it.
func (t *timeline) levels(shares []float64, most float64) [heat + 1]string {
	var out [heat + 1]string
	level := func(i int) int {
		if share := at(shares, i); finite(share) && share > 0 {
			return min(int(math.Ceil(share/most*heat)), heat)
		}
		return 0
	}
	for i := 0; i < len(shares); {
		from, l := i, level(i)
		for i < len(shares) && level(i) == l {
			i++
		}
		if l > 0 {
			x, to := num(float64(from)*t.width()), num(float64(i)*t.width())
			out[l] += fmt.Sprintf("M%s 0H%sv%dH%sz", x, to, hostHeight, x)
		}
	}
	return out
}

// heat is the number of levels of the strips in style.css.
const heat = 4

// mostColumns is the largest number of windows that all have a title. If there are more, only
// windows with losses have one.
const mostColumns = 60

// columns gives the windows their titles.
func (t *timeline) columns(top, bottom float64, windows int) {
	if windows == 0 {
		return
	}
	lost := stackHeights(t.Lost)
	t.writef(`<svg class="hit" y="%s" width="100%%" height="%s" viewBox="0 0 %d 1" `+
		`preserveAspectRatio="none">`, num(top), num(bottom-top), units)
	for i := range windows {
		if windows > mostColumns && at(lost, i) == 0 {
			continue
		}
		x, to := num(float64(i)*t.width()), num(float64(i+1)*t.width())
		t.writef(`<path d="M%s 0H%sV1H%sz"><title>%s</title></path>`, x, to, x, escape(t.column(i)))
	}
	t.WriteString("</svg>")
}

// column returns the figures of a window as text.
func (t *timeline) column(i int) string {
	from := t.From + t.Window*float64(i)
	when := figure(from) + " to " + figure(from+t.Window) + " " + t.Unit
	var text []string
	if counts := column(t.Lost, i); total(counts) > 0 {
		text = append(text, "dropped "+parts(t.Keys, counts))
	}
	if n := at(t.Queue, i); finite(n) && n > 0 {
		text = append(text, "longest queue "+figure(n))
	}
	for _, x := range []struct {
		name   string
		series []float64
	}{{"max", t.Max}, {"p99", t.P99}, {"p50", t.P50}} {
		if v := at(x.series, i); finite(v) && v > 0 {
			text = append(text, x.name+" "+figure(v)+" "+t.Unit)
		}
	}
	for _, h := range t.Host {
		if v := at(h.Shares, i); finite(v) && v > 0 {
			text = append(text, h.Name+" "+figure(100*v)+" %")
		}
	}
	return when + ": " + strings.Join(text, ", ")
}

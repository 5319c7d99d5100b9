package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
)

// progress shows the progress of a run. On a terminal it rewrites one line after each trial.
// Otherwise it prints a line for each trial.
type progress struct {
	w        io.Writer
	terminal bool
	names    map[*plan.Variant]string // names of the variants, as in reports
	planned  int                      // the largest number of planned trials so far
	left     countdown
	// scenario is the current scenario. lost has an element for each of its variants that has run.
	scenario string
	lost     []dropped
}

// dropped is a variant and the number of attempts that it dropped so far.
type dropped struct {
	variant string
	n       int64
}

func newProgress(w io.Writer, p *plan.Plan) *progress {
	f, ok := w.(*os.File)
	shown := &progress{w: w, names: map[*plan.Variant]string{}}
	shown.terminal = ok && term.IsTerminal(int(f.Fd()))
	for _, s := range p.Scenarios {
		var labels []map[string]string
		for _, v := range s.Variants {
			labels = append(labels, v.Labels)
		}
		for i, name := range report.VariantNames(labels) {
			shown.names[s.Variants[i]] = name
		}
	}
	return shown
}

// show shows the state of the run after a trial.
func (p *progress) show(s harness.Progress) {
	p.count(s)
	if !p.terminal {
		fmt.Fprintln(p.w, document.Shorten(p.fileLine(s), maxLine))
		return
	}
	// Ignore errors of the terminal: they must not end the run.
	_, _ = fmt.Fprint(p.w, "\r"+p.line(s, textWidth(p.w)-1)+eraseLine)
}

// eraseLine erases the line from the cursor to its end (ECMA-48, EL).
const eraseLine = "\x1b[K"

// close erases the line.
func (p *progress) close() {
	if p.terminal {
		_, _ = fmt.Fprint(p.w, "\r"+eraseLine)
	}
}

// count updates p's figures after a trial.
func (p *progress) count(s harness.Progress) {
	p.planned = max(p.planned, s.Planned)
	p.left.update(s.Left, time.Now())
	if s.Scenario != p.scenario {
		p.scenario, p.lost = s.Scenario, nil
	}
	if s.Variant == nil || s.Attempts == 0 {
		return
	}
	name := p.names[s.Variant]
	for i, d := range p.lost {
		if d.variant == name {
			p.lost[i].n = s.Dropped
			return
		}
	}
	p.lost = append(p.lost, dropped{name, s.Dropped})
}

// The widths of the parts of the line on a terminal, in columns.
const (
	widestBar   = 20
	reasonWidth = 30  // the reason why trials were invalid
	wide        = 110 // the least width of a terminal that shows the reason
	leastRoom   = 10  // the least room for the scenario and variant
)

// line writes the state in at most width columns: a bar, the planned trials that have ended, the
// number and reason of those that were invalid, the time left, the scenario and variant of the last
// trial, and the attempts that each variant has dropped so far. Each part keeps its width from
// trial to trial, except for the last.
func (p *progress) line(s harness.Progress, width int) string {
	bar := max(4, min(widestBar, width/8))
	full := 0
	if p.planned > 0 {
		full = min(bar, bar*s.Done/p.planned)
	}
	digits := len(strconv.Itoa(p.planned))
	text := fmt.Sprintf("[%s%s] %*d/%d", strings.Repeat("█", full), strings.Repeat("·", bar-full),
		digits, s.Done, p.planned)
	invalid := fmt.Sprintf("  %*d invalid", digits, s.Invalid)
	if width >= wide {
		reason := ""
		if s.Invalid > 0 {
			reason = "(" + document.Shorten(s.Reason, reasonWidth-len("()")) + ")"
		}
		invalid += " " + pad(reason, reasonWidth)
	}
	left := fmt.Sprintf("  %7v left", p.left.shown)
	fits := func(s string) bool { return document.DisplayWidth(s) <= width }
	switch {
	case fits(text + invalid + left):
		text += invalid + left
	case fits(text + left):
		text += left
	}
	if room := width - document.DisplayWidth(text) - len("  "); room >= leastRoom {
		text += "  " + document.Shorten(p.doing(s, room), room)
	}
	return text
}

// doing describes the last trial: its variant, and the number of attempts that the variant has
// dropped so far. It adds these numbers for the scenario's other variants as far as they fit in
// room columns.
func (p *progress) doing(s harness.Progress, room int) string {
	if s.Note != "" {
		return s.Scenario + ": " + s.Note
	}
	text := s.Scenario
	if s.Repeat {
		text = fmt.Sprintf("repeating %d of %d: %s", s.Repeated, s.Repeats, text)
	}
	name := p.names[s.Variant]
	if name != "" {
		text += "  " + name
	}
	if s.Attempts > 0 {
		text += fmt.Sprintf(": %d dropped", s.Dropped)
	}
	others := ""
	for _, d := range p.lost {
		more := strings.TrimPrefix(fmt.Sprintf("%s, %s: %d", others, d.variant, d.n), ", ")
		if d.variant != name && document.DisplayWidth(text+"  ("+more+")") <= room {
			others = more
		}
	}
	if others != "" {
		text += "  (" + others + ")"
	}
	return text
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-document.DisplayWidth(s)))
}

// maxLine is the maximum width of a line about a trial, in columns. The reason why a trial is
// invalid may be long.
const maxLine = 1000

// fileLine returns the state of the run and the outcome of the last trial.
func (p *progress) fileLine(s harness.Progress) string {
	digits := len(strconv.Itoa(p.planned))
	line := fmt.Sprintf("%*d/%d  %*d invalid  %7v left  %s", digits, s.Done, p.planned,
		digits, s.Invalid, p.left.shown, s.Scenario)
	if s.Note != "" {
		return line + ": " + s.Note
	}
	block := fmt.Sprintf("block %d", s.Block+1)
	if s.Repeat {
		block = "repeating " + block
	}
	if name := p.names[s.Variant]; name != "" {
		line += "  " + name
	}
	return fmt.Sprintf("%s  %s: %s", line, block, outcome(s))
}

func outcome(s harness.Progress) string {
	t := s.Trial
	switch {
	case t == nil:
		return "done before"
	case !t.Valid:
		return "invalid: " + t.InvalidReasons[0]
	}
	text := fmt.Sprintf("%d of %d dropped", t.Dropped, t.Attempts)
	if s.Attempts > t.Attempts {
		text += fmt.Sprintf(", %d of %d so far", s.Dropped, s.Attempts)
	}
	if n, _ := t.Unsent(); n > 0 {
		text += fmt.Sprintf(", %d never sent", n)
	}
	return text
}

// A countdown is the time left, shown in seconds. Each new estimate moves it by a quarter of the
// difference, so it jumps less than the estimates do.
type countdown struct {
	left  time.Duration
	at    time.Time // the time at which left was set; zero before the first estimate
	shown time.Duration
}

func (c *countdown) update(estimate time.Duration, now time.Time) {
	if c.at.IsZero() {
		c.left = estimate
	} else {
		c.left = max(0, c.left-now.Sub(c.at))
		c.left += (estimate - c.left) / 4
	}
	if estimate == 0 {
		c.left = 0
	}
	c.at, c.shown = now, c.left.Round(time.Second)
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/results/report/document"
)

// progress shows how far a run is: a bar on a terminal, a line per trial elsewhere.
type progress struct {
	w      io.Writer
	bar    *progressbar.ProgressBar // nil: lines
	saucer int                      // columns of the bar itself
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.saucer = min(20, textWidth(w)/5)
		p.bar = progressbar.NewOptions(1,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetWidth(p.saucer),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), // the pace of the trials knows better
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

func (p *progress) show(s harness.Progress) {
	left := fmt.Sprintf("%9v left", s.Left.Round(time.Second))
	if p.bar == nil {
		line := fmt.Sprintf("%3d/%-3d %2d repeats %3d invalid %s  %s", s.Done, s.Planned, s.Repeated, s.Invalid, left, s.Scenario)
		if s.Note != "" {
			line += ": " + s.Note
		} else {
			line += fmt.Sprintf(" %s %s: %s", s.Variant.Labels, block(s), outcome(s))
		}
		fmt.Fprintln(p.w, document.Shorten(line, maxLine))
		return
	}
	// The line must fit, or each one leaves another behind. After the description come " 100% |",
	// the bar, "| (8/16) ", and the cursor. It always has the same width, so that the bar stays
	// where it is.
	most := s.Planned + s.Repeats
	room := textWidth(p.w) - len(", ") - len(left) - len(" 100% |") - p.saucer -
		len(fmt.Sprintf("| (%d/%[1]d) ", most)) - 1
	description := strings.TrimSpace(left)
	if room >= leastRoom {
		what := document.Shorten(briefly(s), room)
		description = what + strings.Repeat(" ", room-document.DisplayWidth(what)) + "  " + left
	}
	p.bar.ChangeMax(most)
	p.bar.Describe(description)
	// An error of the terminal is no reason to end a run.
	_ = p.bar.Set(min(s.Done+s.Repeated, most-1)) // a full bar is never drawn again
}

// leastRoom is how many columns it takes to say what is done.
const leastRoom = 10

// maxLine bounds a line about a trial, in columns: the reason why one was invalid may be long.
const maxLine = 1000

// block says which of a variant's trials has ended.
func block(s harness.Progress) string {
	if s.Repeat {
		return fmt.Sprintf("repeat of block %d", s.Block+1)
	}
	return fmt.Sprintf("block %d", s.Block+1)
}

// briefly says what is done, on a terminal: what is bad first.
func briefly(s harness.Progress) string {
	if s.Note != "" {
		return s.Scenario + ": " + s.Note
	}
	text := ""
	if s.Invalid > 0 {
		text = fmt.Sprintf("%d invalid (%s), ", s.Invalid, s.Reason)
	}
	if s.Repeat {
		text += "repeating "
	}
	text += fmt.Sprintf("%s %s", s.Scenario, s.Variant.Labels)
	if s.Attempts > 0 {
		text += fmt.Sprintf(": %d dropped so far", s.Dropped)
	}
	return text
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

// close removes the bar.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

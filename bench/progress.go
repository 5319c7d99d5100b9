package main

import (
	"fmt"
	"io"
	"os"
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
			progressbar.OptionSetPredictTime(false), // the plan knows better
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

func (p *progress) show(s harness.Progress) {
	what := s.Scenario + ": " + s.Note
	if s.Note == "" {
		what = fmt.Sprintf("%s %s block %d", s.Scenario, s.Variant.Labels, s.Block+1)
	}
	left := fmt.Sprintf("%v left", s.Left.Round(time.Second))
	if p.bar == nil {
		if s.Note == "" {
			what += ": " + outcome(s)
		}
		line := fmt.Sprintf("%d/%d  %s; %s", s.Done, s.Total, what, left)
		fmt.Fprintln(p.w, document.Shorten(line, maxLine))
		return
	}
	// The line must fit, or each one leaves another behind. After the description come " 100% |",
	// the bar, "| (8/16) ", and the cursor.
	room := textWidth(p.w) - len(", ") - len(left) - len(" 100% |") - p.saucer -
		len(fmt.Sprintf("| (%d/%[1]d) ", s.Total)) - 1
	description := left
	if room >= leastRoom {
		description = document.Shorten(what, room) + ", " + left
	}
	p.bar.ChangeMax(s.Total)
	p.bar.Describe(description)
	// An error of the terminal is no reason to end a run.
	_ = p.bar.Set(s.Done)
}

// leastRoom is how many columns it takes to say what is done.
const leastRoom = 10

// maxLine bounds a line about a trial, in columns: the reason why one was invalid may be long.
const maxLine = 1000

func outcome(s harness.Progress) string {
	t := s.Trial
	switch {
	case t == nil:
		return "done before"
	case !t.Valid:
		return "invalid: " + t.InvalidReasons[0]
	}
	text := fmt.Sprintf("%d of %d dropped", t.Dropped, t.Attempts)
	if n, _ := t.Unsent(); n > 0 {
		text += fmt.Sprintf(", %d never sent", n)
	}
	return text
}

func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

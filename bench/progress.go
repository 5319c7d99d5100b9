package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"reuseport-bench/bench/internal/harness"
)

// progress shows how far a run is: a bar on a terminal, a line per trial elsewhere.
type progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar // nil: lines
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(1,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetWidth(20),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), // the plan knows better
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

func (p *progress) show(s harness.Progress) {
	left := s.Left.Round(time.Second)
	what := s.Scenario + ": " + s.Note
	if s.Note == "" {
		what = fmt.Sprintf("%s %s block %d", s.Scenario, s.Variant.Labels, s.Block+1)
	}
	if p.bar != nil {
		p.bar.ChangeMax(s.Total)
		p.bar.Describe(fmt.Sprintf("%s, %v left", what, left))
		// An error of the terminal is no reason to end a run.
		_ = p.bar.Set(s.Done)
		return
	}
	if s.Note != "" {
		fmt.Fprintf(p.w, "%d/%d  %s; %v left\n", s.Done, s.Total, what, left)
		return
	}
	fmt.Fprintf(p.w, "%d/%d  %s: %s; %v left\n", s.Done, s.Total, what, outcome(s), left)
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

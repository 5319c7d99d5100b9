package results

import (
	"fmt"
	"sort"

	"reuseport-bench/results/jsonfile"
)

// A size is what a trial, or all of a run's, takes of a run's bounds, in bytes.
type size struct {
	text   int64 // in RunFile, indented; in TrialsFile it takes less
	memory int64 // once it is decoded
}

// trialDepth is how deep a trial is in RunFile: in lists of trials, variants and scenarios.
const trialDepth = 6

func sizeOf(t *Trial) (size, error) {
	text, err := jsonfile.IndentedSize(t, trialDepth)
	return size{text, jsonfile.Memory(t)}, err
}

// maxSize bounds all trials of a run: what Load takes, less a part for what else there is.
func maxSize() size { return size{maxBytes - maxBytes/8, maxMemory - maxMemory/16} }

// A room watches that a run can be read again.
type room struct {
	planned int // trials, repeats of invalid ones aside
	block   int // trials of each block
	// alike: those that are planned are of one scenario and will be run, so that the first say how
	// large the rest will be.
	alike  bool
	trials int // that there are
	used   size
}

// newRoom returns the room of a run that has no trials yet.
func newRoom(run *Run) (r room) {
	r.alike = len(run.Scenarios) == 1
	for _, s := range run.Scenarios {
		blocks := s.Trials
		for _, look := range s.Looks {
			blocks, r.alike = max(blocks, look), false // so many may be added
		}
		for _, v := range s.Variants {
			if v.SkippedReason == nil {
				r.block++
				r.planned += blocks
			}
		}
	}
	return r
}

// add takes the size of a trial.
func (r *room) add(s size) {
	r.trials++
	r.used.text += s.text
	r.used.memory += s.memory
}

// addRun takes the sizes of a run's trials.
func (r *room) addRun(run *Run) error {
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				size, err := sizeOf(t)
				if err != nil {
					return err
				}
				r.add(size)
			}
		}
	}
	return nil
}

// fit returns the size of one more trial, whose list of losses it cuts short if it takes more than
// its share. It is an error that the run would become too large: at once, or when there is a block
// and the run has as many trials of that size as are planned, which are alike.
func (r *room) fit(t *Trial) (size, error) {
	s, err := sizeOf(t)
	if err != nil {
		return s, err
	}
	limit := maxSize()
	// Invalid trials are repeated, at most three for eight.
	share := int64(max(1, r.planned) + r.planned/2)
	if s.text > limit.text/share || s.memory > limit.memory/share {
		// Not by proportion: what a list takes grows in steps.
		listed := t.Losses
		keep := sort.Search(len(listed), func(n int) bool {
			t.Losses = listed[:n+1]
			s, err := sizeOf(t)
			return err != nil || s.text > limit.text/share || s.memory > limit.memory/share
		})
		t.Losses, t.LossesOmitted = listed[:keep], t.LossesOmitted+int64(len(listed)-keep)
		if s, err = sizeOf(t); err != nil {
			return s, err
		}
	}
	with := *r
	with.add(s)
	if r.alike && with.trials >= r.block {
		more := int64(max(0, r.planned-with.trials))
		with.used.text += with.used.text / int64(with.trials) * more
		with.used.memory += with.used.memory / int64(with.trials) * more
	}
	if with.used.text > limit.text || with.used.memory > limit.memory {
		return s, fmt.Errorf("with %d trials like those so far the run would have more than %d MiB, "+
			"or take more than %d MiB of memory, and could not be read again; plan fewer trials, "+
			"or variants",
			max(with.trials, r.planned), limit.text>>20, limit.memory>>20)
	}
	return s, nil
}

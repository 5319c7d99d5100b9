package results

import (
	"fmt"
	"sort"

	"reuseport-bench/results/jsonfile"
)

// A size is the size of one trial, or of all trials of a run, in bytes.
type size struct {
	text   int64 // in RunFile, where it is indented; in TrialsFile it is smaller
	memory int64 // after decoding
}

// trialDepth is the depth of a trial in RunFile: inside lists of trials, variants and scenarios.
const trialDepth = 6

func sizeOf(t *Trial) (size, error) {
	text, err := jsonfile.IndentedSize(t, trialDepth)
	return size{text, jsonfile.Memory(t)}, err
}

// maxSize returns the bound for all trials of a run: what Load accepts, minus a reserve for
// everything else in the run.
func maxSize() size { return size{maxBytes - maxBytes/8, maxMemory - maxMemory/16} }

// A room keeps a run small enough for Load to read.
type room struct {
	planned int // trials, without repeats of invalid ones
	block   int // number of trials in one block
	// alike: all planned trials belong to one scenario and will be run, so the sizes of the first
	// trials predict the sizes of the rest.
	alike  bool
	trials int // number of trials added so far
	used   size
}

// newRoom returns the room for a run without trials.
func newRoom(run *Run) (r room) {
	r.alike = len(run.Scenarios) == 1
	for _, s := range run.Scenarios {
		blocks := s.Trials
		for _, look := range s.Looks {
			blocks, r.alike = max(blocks, look), false // up to this many blocks may be run
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

// add counts a trial with this size.
func (r *room) add(s size) {
	r.trials++
	r.used.text += s.text
	r.used.memory += s.memory
}

// addRun counts the trials of a run.
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

// fit returns the size of one more trial. It shortens the trial's list of losses if the trial would
// take more than an equal share of the bounds. It returns an error if the run would become too
// large with this trial. Once a block is complete, it also does so if the trials are alike and all
// planned ones would be too large.
func (r *room) fit(t *Trial) (size, error) {
	s, err := sizeOf(t)
	if err != nil {
		return s, err
	}
	limit := maxSize()
	// Leave room for repeats of invalid trials: at most three for every eight.
	share := int64(max(1, r.planned) + r.planned/2)
	if s.text > limit.text/share || s.memory > limit.memory/share {
		// Search for the longest list that fits. Its length cannot be computed, because memory
		// grows in steps.
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
		return s, fmt.Errorf("with %d trials like those so far the run would have more than %d "+
			"MiB, or take more than %d MiB of memory, and could not be read again; plan fewer "+
			"trials, or variants",
			max(with.trials, r.planned), limit.text>>20, limit.memory>>20)
	}
	return s, nil
}

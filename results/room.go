package results

import (
	"fmt"

	"reuseport-bench/results/jsonfile"
)

// A size is the size of one trial, or of all trials of a run, in bytes.
type size struct {
	text   int64 // in RunFile and TrialsFile
	memory int64 // after decoding
}

// trialDepth is the depth of a trial in RunFile: inside lists of trials, variants and scenarios. A
// trial is on one line: indented, it would take more than twice the space.
const trialDepth = 6

func sizeOf(t *Trial) (size, error) {
	text, err := jsonfile.EncodedSize(t)
	return size{text, jsonfile.Memory(t)}, err
}

// maxListed is the maximum number of losses that are listed in a run, some 300 bytes each. The
// planned trials have equal shares, but each may list minListed losses.
const (
	maxListed = 5000
	minListed = 20
)

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

// fit returns the size of one more trial. It shortens the trial's list of losses to an equal share
// of maxListed. If the trial would still take more than an equal share of the bounds, it removes
// the trial's windows and, if that does not suffice, the list. It returns an error if the run would
// become too large with this trial. Once a block is complete, it also does so if the trials are
// alike and all planned ones would be too large.
func (r *room) fit(t *Trial) (size, error) {
	t.list(max(minListed, maxListed/max(1, r.planned)))
	s, err := sizeOf(t)
	if err != nil {
		return s, err
	}
	limit := maxSize()
	// Leave room for repeats of invalid trials: at most three for every eight.
	share := int64(max(1, r.planned) + r.planned/2)
	large := func(s size) bool { return s.text > limit.text/share || s.memory > limit.memory/share }
	for _, shorten := range []func(){func() { t.Windows = nil }, func() { t.list(0) }} {
		if !large(s) {
			break
		}
		shorten()
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

// list shortens the trial's list of losses to at most n.
func (t *Trial) list(n int) {
	if more := len(t.Losses) - n; more > 0 {
		t.Losses, t.LossesOmitted = t.Losses[:n], t.LossesOmitted+int64(more)
	}
}

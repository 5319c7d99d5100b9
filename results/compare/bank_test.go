package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
)

// bankDir holds runs of variants that differ only in name: any two trials of the same block are an
// A/A pair.
const bankDir = "../baseline/bank"

// A bank is the recorded valid trials of each stop mode, by block.
type bank map[string][][]*results.Trial

// loadBank reads the bank. It leaves out blocks with fewer than two valid trials, from which no
// pair can be drawn.
func loadBank(t *testing.T) bank {
	t.Helper()
	runs, err := results.LoadAll(bankDir)
	if err != nil {
		t.Fatal(err)
	}
	all := bank{}
	trials := 0
	for _, run := range runs {
		s := run.Scenarios[0]
		blocks := map[string]map[int][]*results.Trial{}
		for _, v := range s.Variants {
			stop := v.Labels["stop"]
			if blocks[stop] == nil {
				blocks[stop] = map[int][]*results.Trial{}
			}
			for _, trial := range v.ValidTrials() {
				blocks[stop][trial.Block] = append(blocks[stop][trial.Block], trial)
				trials++
			}
		}
		for stop, of := range blocks {
			for block := range s.Trials {
				if len(of[block]) > 1 {
					all[stop] = append(all[stop], of[block])
				}
			}
		}
	}
	if least := 200; trials < least {
		t.Fatalf("%s holds %d valid trials, want at least %d", bankDir, trials, least)
	}
	return all
}

// A fault returns a copy of a recorded trial, changed in a way that a comparison should find.
type fault func(results.Trial) results.Trial

func noFault(t results.Trial) results.Trial { return t }

// slower multiplies every response time of the trial.
func slower(factor float64) fault {
	return func(t results.Trial) results.Trial {
		p := *t.ResponseNS
		for _, x := range []*int64{&p.P50, &p.P90, &p.P99, &p.P999, &p.Max, &p.Mean, &p.SD} {
			*x = int64(float64(*x) * factor)
		}
		t.ResponseNS = &p
		return t
	}
}

// oneMoreLost adds one lost attempt to every restart.
func oneMoreLost(t results.Trial) results.Trial {
	t.Steps = slices.Clone(t.Steps)
	for i := range t.Steps {
		t.Steps[i].Lost++
		if d := t.Steps[i].Dropped; d != nil {
			t.Steps[i].Dropped = new(*d + 1)
		}
		t.Lost++
		t.Dropped++
	}
	return t
}

// gapOf makes the gap of every restart at least ns.
func gapOf(ns int64) fault {
	return func(t results.Trial) results.Trial {
		t.Steps = slices.Clone(t.Steps)
		for i := range t.Steps {
			t.Steps[i].GapNS = new(max(*t.Steps[i].GapNS, ns))
		}
		return t
	}
}

// pairs draws n blocks at random, and two trials from each. The second trial gets the fault. A
// block is drawn repeatedly only if n is greater than the number of blocks.
func (b bank) pairs(random *rand.Rand, stop string, n int, f fault) (base, head *results.Variant) {
	blocks := b[stop]
	order := random.Perm(len(blocks))
	base, head = &results.Variant{}, &results.Variant{}
	for i := range n {
		block := blocks[order[i%len(order)]]
		if n > len(blocks) {
			block = blocks[random.IntN(len(blocks))]
		}
		pick := random.Perm(len(block))
		one, other := *block[pick[0]], f(*block[pick[1]])
		one.Block, other.Block = i, i
		base.Trials, head.Trials = append(base.Trials, &one), append(head.Trials, &other)
	}
	return base, head
}

// outcomes compares two variants as Runs compares a scenario with one variant.
func outcomes(t *testing.T, base, head *results.Variant) map[string]string {
	t.Helper()
	var family []*results.Delta
	for _, metric := range metrics.Gating(base.Trials) {
		d, ok := Variants(head, base, metric, stats.Confidence)
		if !ok {
			t.Fatalf("%s cannot be compared", metric)
		}
		family = append(family, &d)
	}
	Decide(family)
	of := map[string]string{}
	for _, d := range family {
		of[d.Metric] = d.Outcome
	}
	return of
}

// TestSelfBankFalseAlarms compares recorded trials of the same setup. At most 2 % of the
// comparisons may report a difference.
func TestSelfBankFalseAlarms(t *testing.T) {
	b := loadBank(t)
	rounds := 120 // for each stop mode and size: 1,080 comparisons
	if *selftest {
		rounds = 2000
	}
	random := rand.New(rand.NewPCG(1, 2))
	all, alarms := 0, 0
	for _, stop := range []string{"close", "drain", "handoff"} {
		for _, n := range []int{8, 12, 20} {
			alarmed, by := 0, map[string]int{}
			for range rounds {
				base, head := b.pairs(random, stop, n, noFault)
				said := false
				for metric, outcome := range outcomes(t, base, head) {
					if outcome != results.DeltaNone {
						by[metric]++
						said = true
					}
				}
				if said {
					alarmed++
				}
			}
			t.Logf("stop=%-5s %2d blocks (of %d): %d of %d A/A comparisons alarmed (%.2f %%) %v",
				stop, n, len(b[stop]), alarmed, rounds, 100*float64(alarmed)/float64(rounds), by)
			all, alarms = all+rounds, alarms+alarmed
		}
	}
	if share := float64(alarms) / float64(all); share > 0.02 {
		t.Errorf("%d of %d comparisons of trials that do not differ reported a difference: "+
			"%.2f %%, want at most 2 %%", alarms, all, 100*share)
	}
}

// TestSelfBankPower puts faults of known size into recorded trials, and counts how many of the
// faults the comparisons find.
func TestSelfBankPower(t *testing.T) {
	b := loadBank(t)
	rounds := 60
	var sizes []int // without -selftest, only the size that must suffice
	if *selftest {
		rounds, sizes = 1000, []int{8, 12, 16, 20, 30, 40, 60, 90, 120, 160, 240}
	}
	tests := []struct {
		name   string
		fault  fault
		stop   string
		metric string
		blocks int // with this many, 95 % of the faults must be found
	}{
		{"2 ms response time + 10 %", slower(1.1), "handoff", "response_p50_ns", 8},
		{"0.2 ms response time + 10 %", slower(1.1), "drain", "response_p50_ns", 12},
		{"0 + 1 lost per restart", oneMoreLost, "handoff", metrics.DroppedPerRestart, 8},
		{"0.02 + 1 lost per restart", oneMoreLost, "drain", metrics.DroppedPerRestart, 8},
		{"0.5 + 1 lost per restart", oneMoreLost, "close", metrics.DroppedPerRestart, 12},
		{"a gap of 20 ms", gapOf(20e6), "handoff", metrics.Gap, 8},
		{"a gap of 20 ms", gapOf(20e6), "close", metrics.Gap, 12},
	}
	for _, test := range tests {
		random := rand.New(rand.NewPCG(3, 4))
		line, enough := "", 0
		if !*selftest {
			sizes = []int{test.blocks}
		}
		for _, n := range sizes {
			found := 0
			for range rounds {
				base, head := b.pairs(random, test.stop, n, test.fault)
				if outcomes(t, base, head)[test.metric] == results.DeltaWorse {
					found++
				}
			}
			line += fmt.Sprintf(" %d: %.0f %%", n, 100*float64(found)/float64(rounds))
			if float64(found) >= 0.95*float64(rounds) {
				enough = n
				break
			}
		}
		t.Logf("%s, stop=%s, found by number of blocks:%s", test.name, test.stop, line)
		if enough == 0 || enough > test.blocks {
			t.Errorf("%s, stop=%s: found in 95 %% with %d blocks (0: never), want at most %d",
				test.name, test.stop, enough, test.blocks)
		}
	}
}

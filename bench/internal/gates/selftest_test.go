package gates

import (
	"flag"
	"math/rand/v2"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios"
)

var selftest = flag.Bool("selftest", false, "run 1000 rounds of judging gates, not 20")

// bankGates are three gates. If the variant equals the baseline, the first two hold, and the third
// has its bound exactly at the true value. The third can then fail only by chance, so its failures
// must be rare.
const bankGates = `name: bank
about: Gates on recorded trials.
load: {rate: 1000/s, duration: 1s}
timeline: [{at: 100ms, every: 200ms, do: replace}]
stop: close
matrix: [{workers: [1, 2]}]
gates:
  - {when: {workers: 2}, expect: response.p50 < 1.1 * baseline.response.p50}
  - {when: {workers: 2}, expect: lost_per_restart < baseline.lost_per_restart + 0.5}
  - {when: {workers: 2}, expect: response.p50 <= baseline.response.p50}
`

// recorded returns the blocks of the bank with the given stop mode. Each block holds its valid
// trials, which all have the same setup.
func recorded(t *testing.T, stop string) (blocks [][]*results.Trial) {
	t.Helper()
	runs, err := stored.LoadAll("../../../results/baseline/bank")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		of := map[int][]*results.Trial{}
		for _, v := range run.Scenarios[0].Variants {
			if v.Labels["stop"] == stop {
				for _, trial := range v.ValidTrials() {
					of[trial.Block] = append(of[trial.Block], trial)
				}
			}
		}
		for block := range run.Scenarios[0].Trials {
			if len(of[block]) == 3 {
				blocks = append(blocks, of[block])
			}
		}
	}
	return blocks
}

// TestSelfGates judges gates on recorded trials: a baseline, its A/A arm and a variant of the same
// setup, then a variant that is slower by a quarter.
func TestSelfGates(t *testing.T) {
	s, err := scenarios.Parse("bank.yaml", []byte(bankGates))
	if err != nil {
		t.Fatal(err)
	}
	rounds := 20
	if *selftest {
		rounds = 1000
	}
	random := rand.New(rand.NewPCG(5, 6))
	all, wrong := 0, 0
	for _, stop := range []string{"drain", "handoff"} {
		blocks := recorded(t, stop)
		for _, n := range []int{8, 12, 20} {
			if len(blocks) < n {
				t.Fatalf("stop=%s: %d complete blocks, want %d", stop, len(blocks), n)
			}
			var void, failed, open, found, missed int
			for range rounds {
				out := drawn(random, blocks, n, 1)
				if err := Evaluate(s, out, compare.Alpha); err != nil {
					t.Fatal(err)
				}
				fails := 0
				for _, g := range out.Gates {
					if g.Outcome == results.GateFail {
						fails++
					}
					if g.Outcome == results.GateUndecided {
						open++
					}
				}
				switch {
				case out.Void != "":
					void++
				case fails > 0:
					failed++
				}
				slow := drawn(random, blocks, n, 1.25)
				if err := Evaluate(s, slow, compare.Alpha); err != nil {
					t.Fatal(err)
				}
				switch slow.Gates[0].Outcome {
				case results.GateFail:
					found++
				case results.GatePass:
					missed++
				}
			}
			t.Logf("stop=%-7s %2d blocks, %d runs: "+
				"the same: %d void, %d others with a failed gate, %d of %d gates undecided; "+
				"+25 %%: %d failed, %d passed p50 < 1.1 × baseline",
				stop, n, rounds, void, failed, open, 3*rounds, found, missed)
			all, wrong = all+rounds, wrong+failed
			if missed > rounds/50 {
				t.Errorf("stop=%s, %d blocks: a quarter slower passed in %d of %d runs",
					stop, n, missed, rounds)
			}
		}
	}
	if share := float64(wrong) / float64(all); share > 0.02 {
		t.Errorf("a gate failed in %d of %d runs without a difference: %.2f %%, want at most 2 %%",
			wrong, all, 100*share)
	}
}

// drawn returns n random blocks. Each has a baseline, its A/A arm and a variant whose response
// times are multiplied by factor.
func drawn(random *rand.Rand, blocks [][]*results.Trial, n int, factor float64) *results.Scenario {
	out := &results.Scenario{Name: "bank", MinValid: 6, Baseline: map[string]string{"workers": "1"}}
	out.Variants = []*results.Variant{
		{Labels: map[string]string{"workers": "1"}},
		{Labels: map[string]string{"workers": "1", results.LabelArm: results.ArmControl}},
		{Labels: map[string]string{"workers": "2"}},
	}
	for i, block := range random.Perm(len(blocks))[:n] {
		for arm, of := range random.Perm(3) {
			trial := *blocks[block][of]
			trial.Block = i
			if arm == 2 {
				p := *trial.ResponseNS
				p.P50 = int64(float64(p.P50) * factor)
				trial.ResponseNS = &p
			}
			out.Variants[arm].Trials = append(out.Variants[arm].Trials, &trial)
		}
	}
	for _, v := range out.Variants {
		summary.Fill(v)
	}
	return out
}

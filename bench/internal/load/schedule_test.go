package load

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

func TestScheduleLengthAndOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape Shape
		want  uint64
	}{
		{"constant", Shape{Pace: vocabulary.PaceConstant, Rate: 2000,
			Duration: 1500 * time.Millisecond}, 3000},
		{"fractional rate",
			Shape{Pace: vocabulary.PaceConstant, Rate: 0.1, Duration: 10 * time.Second}, 1},
		{"ramp", Shape{Pace: vocabulary.PaceRamp, From: 100, Rate: 300, Duration: 10 * time.Second},
			2000},
		{"ramp down", Shape{Pace: vocabulary.PaceRamp, From: 300, Rate: 100,
			Duration: 10 * time.Second}, 2000},
		{"flat ramp", Shape{Pace: vocabulary.PaceRamp, From: 200, Rate: 200,
			Duration: 10 * time.Second}, 2000},
		{"burst", Shape{Pace: vocabulary.PaceBurst, Rate: 1000, Burst: 100, Duration: time.Second},
			1000},
		{"ramp from zero",
			Shape{Pace: vocabulary.PaceRamp, Rate: 200, Duration: 10 * time.Second}, 1000},
		{"stages", stages(vocabulary.PaceConstant, Stage{100, 100, time.Second},
			Stage{0, 1000, 2 * time.Second}, Stage{1000, 200, time.Second}), 100 + 1000 + 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSchedule(tt.shape)
			if s.Len() != tt.want {
				t.Errorf("%d attempts, want %d", s.Len(), tt.want)
			}
			last := time.Duration(-1)
			for i := range s.Len() {
				at := s.At(i)
				if at < last || at < 0 || at >= tt.shape.Duration {
					t.Fatalf("attempt %d is due at %v, want from %v to %v",
						i, at, last, tt.shape.Duration)
				}
				last = at
			}
		})
	}
}

func TestScheduleInstants(t *testing.T) {
	// On a ramp from 0 to 200/s over 10 s, 10·t² attempts are due by t.
	ramp := NewSchedule(Shape{Pace: vocabulary.PaceRamp, Rate: 200, Duration: 10 * time.Second})
	if got, want := ramp.At(250), 5*time.Second; (got - want).Abs() > time.Microsecond {
		t.Errorf("attempt 250 of the ramp is due at %v, want %v", got, want)
	}
	burst := NewSchedule(Shape{Pace: vocabulary.PaceBurst, Rate: 1000, Burst: 100,
		Duration: time.Second})
	const next = 100 * time.Millisecond // when the second burst is due
	for i, want := range map[uint64]time.Duration{0: 0, 99: 0, 100: next, 199: next} {
		if got := burst.At(i); got != want {
			t.Errorf("attempt %d of the bursts is due at %v, want %v", i, got, want)
		}
	}
}

// stages returns a shape with the given stages.
func stages(pace vocabulary.Pace, all ...Stage) Shape {
	s := Shape{Pace: pace, Stages: all, Seed: 7}
	for _, stage := range all {
		s.Duration += stage.Duration
	}
	s.Rate = s.Expected() / s.Duration.Seconds()
	return s
}

// TestStages checks that the attempts of a stage are due at its rate, from the end of the previous
// stage. Attempt i of a ramp is due when the integral of the rate is i.
func TestStages(t *testing.T) {
	const second = time.Second
	shape := stages(vocabulary.PaceConstant, Stage{100, 100, second}, Stage{100, 300, second},
		Stage{400, 400, second}, Stage{200, 0.5, second})
	if err := shape.Validate(); err != nil {
		t.Error(err)
	}
	if shape.Peak() != 400 || shape.Rate != (100+200+400+100.25)/4 {
		t.Errorf("peak %v/s, mean %v/s", shape.Peak(), shape.Rate)
	}
	s := NewSchedule(shape)
	for i, want := range map[uint64]time.Duration{
		0: 0, 99: 990 * time.Millisecond,
		100: second, // 100·t + 100·t² attempts of the ramp are due by t
		124: second + 200*time.Millisecond, 175: second + 500*time.Millisecond, 300: 2 * second,
		301: 2*second + 2500*time.Microsecond, 700: 3 * second,
		// 200·t − 99.75·t²
		762: 3*second + 383260815, s.Len(): 4 * second,
	} {
		if got := s.At(i); (got - want).Abs() > time.Microsecond {
			t.Errorf("attempt %d is due at %v, want %v", i, got, want)
		}
	}
}

// TestPoissonStages checks that random arrivals have the expected rate in each stage, and in each
// half of a ramp.
func TestPoissonStages(t *testing.T) {
	const second = time.Second
	s := NewSchedule(stages(vocabulary.PacePoisson, Stage{1000, 1000, 10 * second},
		Stage{0, 2000, 20 * second}))
	edges := []time.Duration{10 * second, 20 * second, 30 * second}
	counts, last := make([]float64, len(edges)), time.Duration(0)
	for i := range s.Len() {
		at := s.At(i)
		if at < last || at > edges[2] {
			t.Fatalf("attempt %d is due at %v, after %v", i, at, last)
		}
		last = at
		for k, edge := range edges {
			if at < edge {
				counts[k]++
				break
			}
		}
	}
	for k, want := range []float64{10_000, 5_000, 15_000} {
		if within := 5 * math.Sqrt(want); math.Abs(counts[k]-want) > within { // Poisson: sd √want
			t.Errorf("part %d has %v attempts, want %v ± %.0f", k, counts[k], want, within)
		}
	}
}

// TestClosedSchedule checks that all attempts of a closed loop are due at the start, and that their
// number is limited.
func TestClosedSchedule(t *testing.T) {
	shape := Shape{Pace: vocabulary.PaceConstant, Clients: 3, Duration: 100 * time.Millisecond}
	s := NewSchedule(shape)
	if s.Len() != flatOut/10 || s.At(0) != 0 || s.At(s.Len()) != 0 || shape.Peak() != 0 {
		t.Errorf("%d attempts, due from %v to %v, peak %v/s; want %d, due at 0, peak 0",
			s.Len(), s.At(0), s.At(s.Len()), shape.Peak(), flatOut/10)
	}
	shape.Duration = time.Hour
	if n := NewSchedule(shape).Len(); n != MaxAttempts {
		t.Errorf("%d attempts in an hour, want %d", n, MaxAttempts)
	}
}

func TestShapeValidate(t *testing.T) {
	good := map[string]Shape{
		"closed": {Clients: 1, Duration: time.Second},
		"stages": stages(vocabulary.PaceConstant, Stage{0, 5, time.Second},
			Stage{5, 5, time.Second}),
	}
	for name, s := range good {
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(closed, staged *Shape){
		"a rate":            func(closed, _ *Shape) { closed.Rate = 5 },
		"no clients":        func(closed, _ *Shape) { closed.Clients = -1 },
		"no duration":       func(closed, _ *Shape) { closed.Duration = 0 },
		"stages":            func(closed, staged *Shape) { closed.Stages = staged.Stages },
		"a longer schedule": func(_, staged *Shape) { staged.Duration++ },
		"a stage to 0":      func(_, staged *Shape) { staged.Stages[1].Rate = 0 },
		"a stage from NaN":  func(_, staged *Shape) { staged.Stages[0].From = math.NaN() },
		"an empty stage": func(_, staged *Shape) {
			staged.Stages[0].Duration, staged.Stages[1].Duration = 0, staged.Duration
		},
		"too many": func(_, staged *Shape) { staged.Stages[1].Rate = 2*MaxAttempts + 1 },
	} {
		closed, staged := good["closed"], good["stages"]
		staged.Stages = slices.Clone(staged.Stages)
		change(&closed, &staged)
		if closed.Validate() == nil && staged.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPoisson(t *testing.T) {
	shape := Shape{Pace: vocabulary.PacePoisson, Rate: 1000, Duration: 20 * time.Second, Seed: 7}
	s := NewSchedule(shape)
	// The number of attempts is Poisson with mean 20,000: standard deviation 141. The intervals are
	// exponential: their standard deviation equals their mean.
	if n := float64(s.Len()); math.Abs(n-20000) > 5*141 {
		t.Errorf("%v attempts, want 20,000 ± 705", n)
	}
	var sum, squares float64
	for i := uint64(1); i < s.Len(); i++ {
		d := (s.At(i) - s.At(i-1)).Seconds()
		sum, squares = sum+d, squares+d*d
	}
	n := float64(s.Len() - 1)
	mean := sum / n
	if cv := math.Sqrt(squares/n-mean*mean) / mean; math.Abs(cv-1) > 0.03 {
		t.Errorf("coefficient of variation %.3f, want 1", cv)
	}
	again := NewSchedule(shape)
	if again.Len() != s.Len() || again.At(100) != s.At(100) {
		t.Error("the same seed gives a different schedule")
	}
	shape.Seed = 8
	if other := NewSchedule(shape); other.At(100) == s.At(100) {
		t.Error("another seed gives the same schedule")
	}
}

func TestSources(t *testing.T) {
	for _, prefix := range []string{"127.64.0.0/10", "198.18.64.0/18", "2001:2:0:1::/64"} {
		p := netip.MustParsePrefix(prefix)
		s, err := NewSources(p, 10_000_000)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[netip.AddrPort]bool{}
		for _, i := range []uint64{
			0, 1, ports - 1, ports, 2*ports + 3, 255 * ports, 256 * ports, 9_999_999,
		} {
			at := s.At(i)
			if !p.Contains(at.Addr()) || at.Addr() == p.Addr() || seen[at] {
				t.Errorf("%s: attempt %d is sent from %v", prefix, i, at)
			}
			seen[at] = true
			if back, ok := s.Of(at); !ok || back != i {
				t.Errorf("%s: %v belongs to attempt %d, %v; want %d", prefix, at, back, ok, i)
			}
		}
		for _, stranger := range []string{"127.0.0.1:10000", "[::1]:10000"} {
			if i, ok := s.Of(netip.MustParseAddrPort(stranger)); ok && i < 10_000_000 {
				t.Errorf("%s: %s is taken for attempt %d", prefix, stranger, i)
			}
		}
	}
	all, err := NewSources(netip.MustParsePrefix("198.18.64.0/18"), 1000)
	turn := all.InTurn(300)
	if err != nil || turn.At(901) != all.At(1) || all.InTurn(0).At(901) != all.At(901) {
		t.Errorf("300 in turn: attempt 901 is sent from %v, want %v; %v",
			turn.At(901), all.At(1), err)
	}
	if _, err := NewSources(netip.MustParsePrefix("198.18.0.0/30"), 1_000_000); err == nil {
		t.Error("no error for a million attempts from a range of four addresses")
	}
}

package load

import (
	"math"
	"net/netip"
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
		{"a rate that is no whole number",
			Shape{Pace: vocabulary.PaceConstant, Rate: 0.1, Duration: 10 * time.Second}, 1},
		{"ramp", Shape{Pace: vocabulary.PaceRamp, From: 100, Rate: 300, Duration: 10 * time.Second},
			2000},
		{"ramp down", Shape{Pace: vocabulary.PaceRamp, From: 300, Rate: 100,
			Duration: 10 * time.Second}, 2000},
		{"flat ramp", Shape{Pace: vocabulary.PaceRamp, From: 200, Rate: 200,
			Duration: 10 * time.Second}, 2000},
		{"burst", Shape{Pace: vocabulary.PaceBurst, Rate: 1000, Burst: 100, Duration: time.Second},
			1000},
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
					t.Fatalf("attempt %d is due at %v, after %v, in %v", i, at, last, tt.shape.Duration)
				}
				last = at
			}
		})
	}
}

func TestScheduleInstants(t *testing.T) {
	// A ramp from 0 to 200/s over 10 s has sent 10·t² attempts at t.
	ramp := NewSchedule(Shape{Pace: vocabulary.PaceRamp, Rate: 200, Duration: 10 * time.Second})
	if got, want := ramp.At(250), 5*time.Second; (got - want).Abs() > time.Microsecond {
		t.Errorf("attempt 250 of the ramp is due at %v, want %v", got, want)
	}
	burst := NewSchedule(Shape{Pace: vocabulary.PaceBurst, Rate: 1000, Burst: 100,
		Duration: time.Second})
	for i, want := range map[uint64]time.Duration{0: 0, 99: 0, 100: 100 * time.Millisecond, 199: 100 * time.Millisecond} {
		if got := burst.At(i); got != want {
			t.Errorf("attempt %d of the bursts is due at %v, want %v", i, got, want)
		}
	}
}

func TestPoisson(t *testing.T) {
	shape := Shape{Pace: vocabulary.PacePoisson, Rate: 1000, Duration: 20 * time.Second, Seed: 7}
	s := NewSchedule(shape)
	// The count is Poisson with mean 20,000: standard deviation 141. The intervals are exponential:
	// their standard deviation is their mean.
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
		t.Error("the same seed gives another schedule")
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
		for _, i := range []uint64{0, 1, ports - 1, ports, 2*ports + 3, 255 * ports, 256 * ports, 9_999_999} {
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
	if turn := all.InTurn(300); err != nil || turn.At(901) != all.At(1) || all.InTurn(0).At(901) != all.At(901) {
		t.Errorf("300 in turn: attempt 901 is sent from %v, want %v; %v", turn.At(901), all.At(1), err)
	}
	if _, err := NewSources(netip.MustParsePrefix("198.18.0.0/30"), 1_000_000); err == nil {
		t.Error("a range of four addresses is enough for a million attempts")
	}
}

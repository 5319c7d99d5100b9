package load

import (
	"net/netip"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// TestPace: every attempt of this process is in one tick, in order; a tick is released no more than
// earliest before any of its attempts is due, and has more than one only where they are due by
// then.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape Shape
		late  time.Duration // of the first tick
		ticks int           // 0: as many as it takes
	}{
		{"on time", Shape{Pace: vocabulary.PaceConstant, Rate: 400,
			Duration: 100 * time.Millisecond}, 0, 0},
		// 67 of 200, 8 at most each
		{"late", Shape{Pace: vocabulary.PaceConstant, Rate: 4000, Duration: 50 * time.Millisecond},
			60 * time.Millisecond, 9},
		// 10 of each burst of 30: 8 and 2
		{"bursts", Shape{Pace: vocabulary.PaceBurst, Burst: 30, Rate: 1000,
			Duration: 60 * time.Millisecond}, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, finish := newTestTransport(t, Config{
				Process: 1, Processes: 3, Target: netip.MustParseAddrPort("127.0.0.1:1"),
				Timeout: time.Second, Shape: tt.shape,
			})
			tr.begins = tr.clock.Now().Add(-tt.late)
			p := newPacer(tr)
			next, ticks := uint64(0), 0
			for ; ; ticks++ {
				if _, stop := p.Pace(0, uint64(ticks)); stop {
					break
				}
				now := tr.clock.Now()
				k := <-tr.ticks
				if k.from != next || k.to <= k.from || k.to > k.from+tickLimit {
					t.Fatalf("tick %d: attempts %d to %d, want up to %d from %d", ticks, k.from, k.to, tickLimit, next)
				}
				next = k.to
				first, _ := tr.due(k.from)
				if now < first.Add(-earliest) {
					t.Errorf("tick %d came %v before attempt %d was due", ticks, first.Sub(now), k.from)
				}
				if last, _ := tr.due(k.to - 1); last > max(now, first) {
					t.Errorf("tick %d: attempt %d is due %v after it", ticks, k.to-1, last.Sub(now))
				}
				tr.begun <- struct{}{}
			}
			if _, more := tr.due(next); more || p.err != nil {
				t.Errorf("it ended at attempt %d of %d: %v", next, tr.attempts(), p.err)
			}
			if tt.ticks > 0 && ticks != tt.ticks {
				t.Errorf("%d ticks, want %d", ticks, tt.ticks)
			}
			finish()
		})
	}
}

// TestTrack: early settles where one tick in ten is late, within its bounds, whatever else delays
// an attempt.
func TestTrack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		timed  bool
		takes  func(i int) time.Duration // from the tick to the attempt
		lo, hi time.Duration
	}{
		{"10 to 30 µs", true, func(i int) time.Duration { return 10*time.Microsecond + time.Duration(i*8%21)*time.Microsecond },
			26 * time.Microsecond, 31 * time.Microsecond},
		{"no time at all", true, func(int) time.Duration { return 0 }, 0, earlyStep},
		{"more than there may be", true, func(int) time.Duration { return earliest + time.Microsecond }, earliest - earlyStep, earliest},
		{"a CPU that is not there", true, func(int) time.Duration { return time.Second }, earliest / 2, earliest / 2},
		{"behind", false, func(int) time.Duration { return earliest }, earliest / 2, earliest / 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pacer{transport: &transport{}, early: earliest / 2, timed: tt.timed}
			for i := range 10_000 {
				p.spare = p.early - tt.takes(i)
				p.track()
			}
			if p.early < tt.lo || p.early > tt.hi {
				t.Errorf("%v early, want %v to %v", p.early, tt.lo, tt.hi)
			}
		})
	}
}

package load

import (
	"net/netip"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// TestPace: every attempt of this process is in one tick's span, in order; a tick is released no more than early before any of its
// attempts is due, and has more than one only where they are due by then.
func TestPace(t *testing.T) {
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
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
			begin := clk.Now().Add(-tt.late)
			cfg := Config{
				Process: 1, Processes: 3, Target: netip.MustParseAddrPort("127.0.0.1:1"), Timeout: time.Second,
				Sources: netip.MustParsePrefix("127.5.0.0/24"), Shape: tt.shape,
			}
			tr, err := newTransport(cfg, clk, begin, nil)
			if err != nil {
				t.Fatal(err)
			}
			timer, err := clock.NewTimer()
			if err != nil {
				t.Fatal(err)
			}
			p := &pacer{transport: tr, timer: timer}
			next, ticks := uint64(0), 0
			for ; ; ticks++ {
				if _, stop := p.Pace(0, uint64(ticks)); stop {
					break
				}
				now := clk.Now()
				s := <-tr.spans
				if s.from != next || s.to <= s.from || s.to > s.from+spanLimit {
					t.Fatalf("tick %d: attempts %d to %d, want up to %d from %d", ticks, s.from, s.to, spanLimit, next)
				}
				next = s.to
				first, _ := tr.due(s.from)
				if now < first.Add(-early) {
					t.Errorf("tick %d came %v before attempt %d was due", ticks, first.Sub(now), s.from)
				}
				if last, _ := tr.due(s.to - 1); last > max(now, first) {
					t.Errorf("tick %d: attempt %d is due %v after it", ticks, s.to-1, last.Sub(now))
				}
			}
			if _, more := tr.due(next); more || p.err != nil {
				t.Errorf("it ended at attempt %d of %d: %v", next, tr.schedule.Len()/3, p.err)
			}
			if tt.ticks > 0 && ticks != tt.ticks {
				t.Errorf("%d ticks, want %d", ticks, tt.ticks)
			}
			if err := tr.close(); err != nil {
				t.Error(err)
			}
			if err := timer.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

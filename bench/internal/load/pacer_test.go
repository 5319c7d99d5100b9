package load

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// TestPace checks that every attempt of this process is in exactly one tick, in order; that no tick
// is released more than earliest before its first attempt is due; and that a tick contains further
// attempts only if they are due by then.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape Shape
		late  time.Duration // delay of the first tick
		ticks int           // number of ticks; 0: any number
	}{
		{"on time", Shape{Pace: vocabulary.PaceConstant, Rate: 400,
			Duration: 100 * time.Millisecond}, 0, 0},
		// 67 of the 200 attempts, at most 8 per tick
		{"late", Shape{Pace: vocabulary.PaceConstant, Rate: 4000, Duration: 50 * time.Millisecond},
			60 * time.Millisecond, 9},
		// 10 of the 30 attempts of each burst, in ticks of 8 and 2
		{"bursts", Shape{Pace: vocabulary.PaceBurst, Burst: 30, Rate: 75,
			Duration: 800 * time.Millisecond}, 0, 4},
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
					t.Fatalf("tick %d: attempts %d to %d, want up to %d from %d",
						ticks, k.from, k.to, tickLimit, next)
				}
				next = k.to
				first, _ := tr.due(k.from)
				if now < first.Add(-earliest) {
					t.Errorf("tick %d came %v before attempt %d was due",
						ticks, first.Sub(now), k.from)
				}
				if last, _ := tr.due(k.to - 1); last > max(now, first) {
					t.Errorf("tick %d: attempt %d is due %v after it", ticks, k.to-1, last.Sub(now))
				}
				tr.begun <- struct{}{}
			}
			if _, more := tr.due(next); more || p.err != nil {
				t.Errorf("the ticks ended at attempt %d of %d: %v", next, tr.attempts(), p.err)
			}
			if tt.ticks > 0 && ticks != tt.ticks {
				t.Errorf("%d ticks, want %d", ticks, tt.ticks)
			}
			finish()
		})
	}
}

// TestTrack checks that early converges to the value at which one tick in ten is late, and stays
// within its bounds even if something else delays attempts.
func TestTrack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		timed  bool
		takes  func(i int) time.Duration // time from the release of tick i to its attempt
		lo, hi time.Duration
	}{
		{"10 to 30 µs", true, func(i int) time.Duration {
			return time.Duration(10+i*8%21) * time.Microsecond
		}, 26 * time.Microsecond, 31 * time.Microsecond},
		{"no time", true, func(int) time.Duration { return 0 }, 0, earlyStep},
		{"more than earliest", true, func(int) time.Duration { return earliest + time.Microsecond }, earliest - earlyStep, earliest},
		{"waits for a CPU", true, func(int) time.Duration { return time.Second }, earliest / 2, earliest / 2},
		{"behind", false, func(int) time.Duration { return earliest }, earliest / 2, earliest / 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pacer{transport: &transport{}, early: earliest / 2, timed: tt.timed}
			for i := range 10_000 {
				p.spare = p.early - tt.takes(i)
				p.track()
			}
			if p.early < tt.lo || p.early > tt.hi {
				t.Errorf("early is %v, want %v to %v", p.early, tt.lo, tt.hi)
			}
		})
	}
}

// TestClosedLoop checks that every client sends at the start, and again only when its last attempt
// has ended. Each attempt is due when it is sent.
func TestClosedLoop(t *testing.T) {
	const clients, duration = 3, 400 * time.Millisecond
	at, _, _ := scripted(t, nil)
	tr, finish := newTestTransport(t, Config{
		Processes: 1, Target: at, Timeout: 5 * time.Second, Connections: vocabulary.ConnectionsNew,
		Shape: Shape{Pace: vocabulary.PaceConstant, Clients: clients, Duration: duration},
	})
	begins := tr.clock.Now().Add(time.Millisecond)
	if err := tr.attack(begins); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	slices.SortFunc(samples, func(a, b results.Sample) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	var ended []int64
	for i, s := range samples {
		if s.Sequence != uint64(i) || !s.Served() || s.Scheduled != s.Sent {
			t.Errorf("attempt %d: %+v", i, s)
		}
		ended = append(ended, s.Done)
	}
	slices.Sort(ended)
	if len(samples) <= clients {
		t.Fatalf("%d attempts, want more than %d", len(samples), clients)
	}
	for i, s := range samples {
		// When attempt i is sent, all earlier attempts but clients−1 have ended.
		if i >= clients && s.Sent < ended[i-clients] {
			early := time.Duration(ended[i-clients] - s.Sent)
			t.Errorf("attempt %d was sent %v before a client was free", i, early)
		}
	}
	first, last := clock.Instant(samples[0].Sent), samples[clients-1].Sent
	if first < begins || last > ended[0] {
		t.Errorf("the clients began from %v to %v, and the first attempt ended at %v; want all to "+
			"begin after %v and before that end", first, last, ended[0], begins)
	}
}

// TestClientsOfProcess checks that the processes of a closed loop share its clients.
func TestClientsOfProcess(t *testing.T) {
	for _, clients := range []int{1, 2, 64, 67} {
		sum := 0
		for process := range 3 {
			n := Config{Process: process, Processes: 3, Shape: Shape{Clients: clients}}.inFlight()
			if n < clients/3 || n > clients/3+1 {
				t.Errorf("process %d has %d of %d clients", process, n, clients)
			}
			sum += n
		}
		if sum != clients {
			t.Errorf("%d clients in all, want %d", sum, clients)
		}
	}
}

package load

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/wire"
)

// sequences returns the sequence numbers of the samples, in order.
func sequences(samples []results.Sample) (all []uint64) {
	for _, s := range samples {
		all = append(all, s.Sequence)
	}
	return all
}

// sequence returns the numbers from 0 to n−1.
func sequence(n uint64) (all []uint64) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// atOnce returns a schedule whose n attempts are all due at its start.
func atOnce(n int) Shape {
	return Shape{Pace: vocabulary.PaceBurst, Burst: n, Rate: float64(n), Duration: time.Second}
}

// TestAlarms checks that alarms go off in the order of their instants, after any sequence of
// setting, moving and cancelling alarms.
func TestAlarms(t *testing.T) {
	l, random := &loop{}, rand.New(rand.NewPCG(1, 2))
	all := make([]*attempt, 100)
	for i := range all {
		all[i] = &attempt{}
	}
	want := map[*attempt]clock.Instant{}
	for range 1000 {
		a, at := all[random.IntN(len(all))], clock.Instant(random.IntN(1000))
		if random.IntN(3) == 0 {
			l.cancel(a)
			delete(want, a)
		} else {
			l.setAlarm(a, at)
			want[a] = at
		}
	}
	before := clock.Instant(0)
	for now := clock.Instant(0); now <= 1000; now += 100 {
		for a := l.nextDue(now); a != nil; a = l.nextDue(now) {
			if at, set := want[a]; !set || at != a.alarm || at < before || at > now {
				t.Errorf("at %d: an alarm for %d after one for %d; it was set: %t, for %d",
					now, a.alarm, before, set, at)
			}
			before = a.alarm
			delete(want, a)
		}
	}
	if len(want) > 0 || len(l.alarms) > 0 {
		t.Errorf("%d alarms did not go off, and the heap holds %d attempts; want none",
			len(want), len(l.alarms))
	}
}

// TestTimeouts checks that attempts with the same timeout time out in the order in which they were
// sent, even if there are many.
func TestTimeouts(t *testing.T) {
	const n, timeout = 5 * loopBatch, 50 * time.Millisecond
	tr, finish := newTestTransport(t, Config{
		Processes: 1, Target: silent(t), Timeout: timeout, Shape: atOnce(n),
		Connections: vocabulary.ConnectionsNew,
	})
	for i := range uint64(n) {
		tr.begin(i)
	}
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	if diff := cmp.Diff(sequence(n), sequences(samples)); diff != "" {
		t.Errorf("attempts in the order of their timeouts (-want +got):\n%s", diff)
	}
	for _, s := range samples {
		took := time.Duration(s.Done - s.Sent)
		if s.Class != results.ClassTimeout || took < timeout {
			t.Errorf("attempt %d: %v after %v; want a timeout after %v",
				s.Sequence, s.Class, took, timeout)
		}
	}
	if len(tr.loop.alarms) > 0 || tr.underWay > 0 {
		t.Errorf("at the end: %d alarms, %d attempts under way; want none",
			len(tr.loop.alarms), tr.underWay)
	}
}

// TestTimeoutsOfDifferentKinds checks that a short timeout is not delayed by a longer one that
// began earlier. Attempts 1 and 2 are tried twice: their handshakes' timeouts and the pauses
// between their tries end while attempt 0, sent earlier, still waits for an answer.
func TestTimeoutsOfDifferentKinds(t *testing.T) {
	at, _, _ := scripted(t, script{mute})
	retry := Retry{
		Max: 1, On: safe,
		ConnectTimeout: 20 * time.Millisecond, Backoff: 10 * time.Millisecond,
	}
	tr, finish := newTestTransport(t, Config{
		Processes: 1, Target: at, Timeout: 500 * time.Millisecond, Shape: atOnce(3), Retry: retry,
		Connections: vocabulary.ConnectionsNew,
	})
	tr.begin(0)
	tr.cfg.Target = silent(t)
	tr.begin(1)
	tr.begin(2)
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	if diff := cmp.Diff([]uint64{1, 2, 0}, sequences(samples)); diff != "" {
		t.Fatalf("attempts in the order they ended (-want +got):\n%s", diff)
	}
	for _, s := range samples {
		least, tries := 50*time.Millisecond, 1 // two handshake timeouts and the pause
		if s.Sequence == 0 {
			least, tries = 500*time.Millisecond, 0
		}
		took := time.Duration(s.Done - s.Sent)
		if took < least || len(s.Failed) != tries || s.Class != results.ClassTimeout {
			t.Errorf("attempt %d: %v after %v and %d failed tries; want a timeout after %v and %d",
				s.Sequence, s.Class, took, len(s.Failed), least, tries)
		}
	}
}

// mute, an entry of a script, answers nothing and keeps the connection open until the client closes
// it.
func mute(c *net.TCPConn) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// TestLateLoop checks a loop that turns only after all attempts should have timed out, as after a
// long spin. Attempts whose answers have arrived are served, even if there are many; the others
// time out.
func TestLateLoop(t *testing.T) {
	const n, timeout = 2 * loopBatch, 50 * time.Millisecond
	answered := make(chan struct{}, n)
	answering, _, _ := scripted(t, slices.Repeat(script{func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, wire.MaxHead))
		_, _ = c.Write(wire.AppendResponse(nil, 3, 4, wire.Close))
		_ = c.Close()
		answered <- struct{}{}
	}}, n))
	for _, tt := range []struct {
		name    string
		target  netip.AddrPort
		answers int
		class   results.Class
	}{
		{"answered", answering, n, results.ClassNone},
		{"unanswered", silent(t), 0, results.ClassTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, finish := newTestTransport(t, Config{
				Processes: 1, Target: tt.target, Timeout: timeout, Shape: atOnce(n),
				Connections: vocabulary.ConnectionsNew,
			})
			for i := range uint64(n) {
				tr.begin(i)
			}
			late := tr.clock.Now().Add(timeout)
			for range tt.answers {
				<-answered
			}
			tr.awaitDue(late)
			if err := tr.awaitAttempts(); err != nil {
				t.Fatal(err)
			}
			samples, _ := finish()
			for _, s := range samples {
				if s.Class != tt.class || s.Done < int64(late) {
					t.Errorf("attempt %d: %v, %v after its timeout; want %v",
						s.Sequence, s.Class, time.Duration(s.Done-int64(late)), tt.class)
				}
			}
		})
	}
}

// TestLoopLetsCollect checks that a goroutine that must stop the world, such as the garbage
// collector, does not have to wait for the next event of the loop.
func TestLoopLetsCollect(t *testing.T) {
	tr, finish := newTestTransport(t, Config{
		Processes: 1, Target: silent(t), Timeout: 50 * longestWait, Shape: atOnce(1),
		Connections: vocabulary.ConnectionsNew,
	})
	tr.begin(0)
	collected := make(chan clock.Instant, 1)
	go func() {
		runtime.GC()
		collected <- tr.clock.Now()
	}()
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	if at := <-collected; at > clock.Instant(samples[0].Done) {
		t.Errorf("the collection ended %v after the attempt, want it before",
			at.Sub(clock.Instant(samples[0].Done)))
	}
}

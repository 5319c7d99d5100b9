package clock

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClocksAgree(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	x, y, z := a.Now(), b.Now(), a.Now()
	if d := y.Sub(x); d < -20*time.Microsecond || y.Sub(z) > 20*time.Microsecond {
		t.Errorf("two clocks disagree: readings a, b, a are %d, %d, %d", x, y, z)
	}
	until := a.Now().Add(2 * time.Millisecond)
	BlockUntil(until)
	if now := a.Now(); now < until {
		t.Errorf("woke %v early", until.Sub(now))
	}
}

func TestSleepUntil(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	due := c.Now().Add(5 * time.Millisecond)
	if err := c.SleepUntil(t.Context(), due); err != nil || c.Now() < due {
		t.Errorf("SleepUntil: error %v, returned %v early", err, due.Sub(c.Now()))
	}
	if err := c.SleepUntil(t.Context(), due); err != nil {
		t.Errorf("SleepUntil an instant in the past: %v", err)
	}
	cause := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := c.SleepUntil(ctx, c.Now().Add(time.Hour)); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

// TestAlarm checks that an alarm becomes readable at the instant that was set last, and not before.
func TestAlarm(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	readable := func(timeout int) bool {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(a.FD()), Events: unix.POLLIN}}, timeout)
			if err == nil {
				return n > 0
			}
			if !errors.Is(err, unix.EINTR) {
				t.Fatal(err)
			}
		}
	}
	set := func(at Instant) {
		t.Helper()
		if err := a.Set(at); err != nil {
			t.Fatal(err)
		}
	}
	if set(c.Now()); !readable(-1) {
		t.Error("an alarm set to an instant in the past does not go off")
	}
	if set(c.Now().Add(time.Hour)); readable(0) {
		t.Error("an alarm that was set again is still readable")
	}
	due := c.Now().Add(5 * time.Millisecond)
	// The clock's own error is allowed for: see Clock.
	if set(due); !readable(-1) || c.Now() < due.Add(-10*time.Microsecond) {
		t.Errorf("the alarm went off %v early", due.Sub(c.Now()))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

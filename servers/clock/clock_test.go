package clock

import (
	"context"
	"errors"
	"testing"
	"time"
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
		t.Errorf("two clocks of one machine differ: %d, %d, %d", x, y, z)
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
		t.Errorf("error %v, %v early", err, due.Sub(c.Now()))
	}
	if err := c.SleepUntil(t.Context(), due); err != nil {
		t.Errorf("an instant that has passed: %v", err)
	}
	why := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := c.SleepUntil(ctx, c.Now().Add(time.Hour)); !errors.Is(err, why) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

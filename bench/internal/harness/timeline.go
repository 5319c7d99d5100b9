package harness

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/wire"
)

// The kinds of step; package scenarios says which exist and what they need.
const (
	stepReplace = "replace"
	stepStall   = "stall"
)

// fired is one step as it was carried out.
type fired struct {
	step    scenarios.Step
	target  string
	at      wire.Instant
	ready   wire.Instant // the new generation was ready, or stopped workers went on; 0: neither
	trigger wire.Instant
	closed  wire.Instant // 0: closes nothing
	// previous and next are the generations that a replacement stopped and started.
	previous, next *servers.Generation
}

// timeline carries a trial's steps out, one after the other.
type timeline struct {
	group   *servers.Group
	way     servers.Way
	clock   *wire.Clock
	current *servers.Generation
	fired   []*fired
}

// run fires every step when it is due, or as soon after as the one before it is done. It stops at
// the first that fails.
func (t *timeline) run(ctx context.Context, begin wire.Instant, firings []Firing) error {
	for i, f := range firings {
		if err := sleepUntil(ctx, t.clock, begin.Add(f.At)); err != nil {
			return err
		}
		s := &fired{step: f.Step, at: t.clock.Now()}
		if err := t.fire(ctx, s); err != nil {
			return fmt.Errorf("step %d (%s at %v): %w", i, f.Step.Do, f.At, err)
		}
		t.fired = append(t.fired, s)
	}
	return nil
}

func (t *timeline) fire(ctx context.Context, s *fired) error {
	s.target = fmt.Sprintf("generation %d", t.current.Number)
	switch s.step.Do {
	case stepReplace:
		return t.replace(ctx, s)
	case stepStall:
		return t.stall(ctx, s)
	}
	return fmt.Errorf("unknown kind of step")
}

// replace starts a generation, waits until it is ready, and stops the one before.
func (t *timeline) replace(ctx context.Context, s *fired) (err error) {
	s.previous = t.current
	if s.next, err = t.group.StartGeneration(ctx); err != nil {
		return err
	}
	t.current, s.ready = s.next, s.next.Ready
	s.trigger, s.closed, err = t.group.Stop(ctx, s.previous, t.way)
	return err
}

// stall stops every worker of the generation for a while. The workers go on whatever happens meanwhile.
func (t *timeline) stall(ctx context.Context, s *fired) error {
	s.trigger = t.clock.Now()
	if err := t.current.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	interrupted := sleepUntil(ctx, t.clock, s.trigger.Add(s.step.For))
	if err := t.current.Signal(unix.SIGCONT); err != nil {
		return err
	}
	s.ready = t.clock.Now()
	s.ready = t.clock.Now()
	return interrupted
}

func sleepUntil(ctx context.Context, clock *wire.Clock, i wire.Instant) error {
	timer := time.NewTimer(i.Sub(clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

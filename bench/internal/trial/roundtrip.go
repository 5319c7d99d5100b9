package trial

import (
	"context"
	"os/exec"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/relay"
	"reuseport-bench/results"
)

// startRelay starts the relay that delays packets, where the kernel does not. It runs where this
// program does, which sleeps while the load runs: where there are three cores, on one of its own.
func (s *stage) startRelay(ctx context.Context, roles Roles, c *cleanup) (err error) {
	delay := s.variant.RoundTrip.Delay()
	if !delay.Relayed {
		return nil
	}
	s.relay, err = relay.Start(ctx, relay.Config{OneWay: delay.OneWay}, relay.Env{
		Command: roles.Relay, Devices: s.lab.TUN(),
		Start: func(c *exec.Cmd) error {
			return s.lab.Start(s.lab.Clients(), c, s.plan.CPUs.Harness)
		},
	})
	if err != nil {
		return err
	}
	c.add(s.relay.Close)
	return nil
}

// relaySched returns what the scheduler has done with the relay; nil without one, or where the
// kernel does not say.
func (s *stage) relaySched() *kernel.Sched {
	if s.relay == nil {
		return nil
	}
	if sched, err := kernel.Schedstat(s.relay.PID()); err == nil {
		return &sched
	}
	return nil
}

// endRelay ends the relay when the workers have ended, and keeps what it measured. atEnd is what
// the scheduler had done with it when the load had ended. A relay that failed, and packets that
// found no room before it, make the trial invalid.
func (s *stage) endRelay(atEnd *kernel.Sched) error {
	if s.relay == nil {
		return nil
	}
	_, dropped, err := s.lab.TUNCounts()
	if err != nil {
		return err
	}
	report, err := s.relay.End()
	if err != nil {
		s.problem("%v", err)
		return nil
	}
	if dropped > 0 {
		s.problem("%d packets were dropped before the relay read them; lower load.rate", dropped)
	}
	r := &results.Relay{
		Packets: report.Packets, Dropped: dropped, HeldMax: report.HeldMax, ExcessNS: report.Excess,
	}
	if began := s.seen.relayAtStart; began != nil && atEnd != nil {
		r.CPUNS = new(int64(atEnd.Run - began.Run))
		if n := atEnd.Timeslices - began.Timeslices; n > 0 {
			r.WaitNS = new(int64(atEnd.Delay-began.Delay) / n)
		}
	}
	s.seen.relay = r
	return nil
}

// roundTrip returns the round trip that was added, as it is stored; nil: none was.
func (s *stage) roundTrip() *results.RoundTrip {
	trip := s.variant.RoundTrip
	if trip == nil {
		return nil
	}
	return &results.RoundTrip{AskedNS: int64(trip.Time), By: trip.By, Relay: s.seen.relay}
}

// inTransit is for how long an attempt that opens a connection is on its way: the handshake and the
// request take a round trip each.
func (s *stage) inTransit() time.Duration { return 2 * s.variant.RoundTrip.Whole() }

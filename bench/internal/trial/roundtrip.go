package trial

import (
	"context"
	"os/exec"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/relay"
	"reuseport-bench/results"
)

// startRelay starts the relay if the variant has a delay that the kernel cannot add. The relay runs
// on the harness's CPUs, because the harness sleeps most of the time while the load runs. On a
// machine with at least three cores, no load or server process uses these CPUs.
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

// relaySched returns the relay's scheduler statistics, or nil if there is no relay or the kernel
// keeps none.
func (s *stage) relaySched() *kernel.Sched {
	if s.relay == nil {
		return nil
	}
	if sched, err := kernel.Schedstat(s.relay.PID()); err == nil {
		return &sched
	}
	return nil
}

// endRelay ends the relay and stores its report. The workers must have ended. atEnd holds the
// relay's scheduler statistics at the end of the load. The trial is invalid if the relay failed, or
// if packets were dropped because the relay did not read them in time.
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

// roundTrip returns the stored form of the added round trip, or nil if none was added.
func (s *stage) roundTrip() *results.RoundTrip {
	trip := s.variant.RoundTrip
	if trip == nil {
		return nil
	}
	return &results.RoundTrip{AskedNS: int64(trip.Time), By: trip.By, Relay: s.seen.relay}
}

// inTransit returns the time that an attempt with a new connection spends in transit: one round
// trip for the handshake, and one for the request.
func (s *stage) inTransit() time.Duration { return 2 * s.variant.RoundTrip.Whole() }

package watch

import (
	"net/netip"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/servers/clock"
)

// Unaccepted reads, when it is told to, which connections to the server wait to be accepted on the
// servers' host. One that is nil reads nothing. Its methods belong to one goroutine at a time.
type Unaccepted struct {
	Clock *clock.Clock
	// Do runs a function in the servers' network namespace.
	Do   func(func() error) error
	Port uint16
	// Families are those of the listeners: unix.AF_INET, unix.AF_INET6.
	Families []int
	Meter    *Meter // adds up what reading costs

	readings []queueReading
}

// A queueReading is what Unaccepted read once.
type queueReading struct {
	at      clock.Instant
	waiting []netip.AddrPort // the clients' ends
}

// Read reads once. What the kernel does not tell is missing from Facts.
func (u *Unaccepted) Read() {
	if u == nil {
		return
	}
	r := queueReading{at: u.Clock.Now()}
	err := u.Do(func() error {
		_, err := u.Meter.Do(func() (err error) {
			r.waiting, err = kernel.Unaccepted(u.Port, u.Families...)
			return err
		})
		return err
	})
	if err == nil {
		u.readings = append(u.readings, r)
	}
}

// Facts returns the readings as the ledger wants them. at places an instant in the trial.
func (u *Unaccepted) Facts(at func(clock.Instant) ledger.Time) (all []ledger.QueueReading) {
	if u == nil {
		return nil
	}
	for _, r := range u.readings {
		all = append(all, ledger.QueueReading{At: at(r.at), Waiting: r.waiting})
	}
	return all
}

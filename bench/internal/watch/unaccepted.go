package watch

import (
	"net/netip"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/servers/clock"
)

// Unaccepted reads, on demand, the connections that wait to be accepted on the servers' host. A nil
// Unaccepted reads nothing. It is not safe for concurrent use.
type Unaccepted struct {
	Clock *clock.Clock
	// Do runs a function in the servers' network namespace.
	Do   func(func() error) error
	Port uint16
	// Families are the listeners' address families: unix.AF_INET, unix.AF_INET6, or both.
	Families []int
	Meter    *Meter // adds up the cost of reading

	readings []queueReading
}

// A queueReading is one reading of Unaccepted.
type queueReading struct {
	at      clock.Instant
	waiting []netip.AddrPort // the clients' addresses
}

// Read takes one reading. If that fails, the reading is missing from Facts.
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

// Facts returns the readings in the ledger's form. at converts an instant to a time of the trial.
func (u *Unaccepted) Facts(at func(clock.Instant) ledger.Time) (all []ledger.QueueReading) {
	if u == nil {
		return nil
	}
	for _, r := range u.readings {
		all = append(all, ledger.QueueReading{At: at(r.at), Waiting: r.waiting})
	}
	return all
}

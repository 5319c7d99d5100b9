// Package load drives open-loop load: it sends each attempt when the schedule calls for it, however
// slow the servers are, and accounts for every one. The other kind is a closed loop: so many
// clients send, each when its last attempt has ended (Shape.Clients).
//
// The work is done in child processes (Main), so that the harness never measures inside its own
// process. In each, a vegeta Attacker makes the loop: it begins what is due at each tick of our
// Pacer (pacer.go). What vegeta calls the HTTP client is our own RoundTripper (transport.go): it
// sends and returns. While the Pacer waits for the next attempt to be due, it advances those whose
// answers have come (loop.go, attempt.go). So one thread does everything, and nothing is handed
// over. We do all of that by ourselves, because we must
//
//   - choose source address and port: they are the key to the kernel's events, and one address
//     pair would run out of ephemeral ports after 28,232 connections;
//   - take the instants ourselves: vegeta's timestamps begin when a goroutine picked a tick up;
//   - repeat a request only where a policy says so (retry.go), and count it, while http.Transport does
//     it silently on a reused connection;
//   - know the phase and errno of a loss, which vegeta reports as a string.
package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// Config describes the part of the load that one process drives.
type Config struct {
	Process   int `json:"process"`   // from 0
	Processes int `json:"processes"` // that share the schedule: process p sends attempts p, p+n, p+2n …

	Target netip.AddrPort `json:"target"`
	// Lookup, where it is not nil, finds the address for each connection by name; Target gives the
	// port.
	Lookup  *Lookup       `json:"lookup,omitempty"`
	Shape   Shape         `json:"shape"`      // of the schedule of all processes together
	Timeout time.Duration `json:"timeout_ns"` // of one attempt with all its tries, from sent
	// Retry says when an attempt is tried again.
	Retry Retry `json:"retry,omitzero"`
	// Connections is how attempts come by one, and Keep what becomes of those that are kept.
	Connections vocabulary.Connections `json:"connections"`
	Keep        Keep                   `json:"keep,omitzero"`
	// Body, in bytes: attempts are POST requests with a body of that length. 0: GET.
	Body int `json:"body_bytes"`
	// Aborts, a defect of known size: attempts with sequence in [AbortFrom, AbortFrom+Aborts) of
	// process 0 are reset by the load itself when the request is sent.
	AbortFrom uint64 `json:"abort_from"`
	Aborts    uint64 `json:"aborts"`
	// Ports is how many of the sources the attempts take in turn, as a client with one address
	// comes round its ports; 0: each connection has one of its own. Attempts that have the same
	// must be further apart than Timeout.
	Ports uint64 `json:"ports,omitzero"`
	// Sources is the range that source addresses are taken from. Without Ports, every connection of
	// a trial has its own address and port, so it must have room: see NewSources.
	Sources netip.Prefix `json:"sources"`
}

// share returns how many of n things that the processes take in turn are this process's.
func (c Config) share(n uint64) uint64 {
	before, all := uint64(c.Process), uint64(c.Processes)
	return (n + all - 1 - before) / all
}

// start is the second line on the control pipe.
type start struct {
	At clock.Instant `json:"at"` // of the first scheduled attempt
}

// Ports that attempts are sent from: unprivileged, and many.
const (
	firstPort = 10_000
	ports     = 50_000
)

// Sources gives every attempt an address and port of its own: the key that joins it to what the
// kernel and the workers say of the connection.
type Sources struct {
	base netip.Addr
	turn uint64 // how many there are, which are taken in turn; 0: no end of them
}

// InTurn are the first n of the sources, taken again and again; 0: all, taken once.
func (s Sources) InTurn(n uint64) Sources {
	s.turn = n
	return s
}

// NewSources checks that the range has an address for every 50,000 attempts.
func NewSources(p netip.Prefix, attempts uint64) (Sources, error) {
	need := attempts/ports + 2 // the first address names the network
	if bits := p.Addr().BitLen() - p.Bits(); bits < 63 && uint64(1)<<bits < need {
		return Sources{}, fmt.Errorf("source range %v: %d attempts need %d addresses of it", p, attempts, need)
	}
	return Sources{base: p.Masked().Addr()}, nil
}

// At is the source of attempt i, counted over all processes. Of n attempts, that of the connection
// opened for a later try, counted from 0, is the one of attempt i + try·n; those of Keep.Count
// connections come after that of the last try.
func (s Sources) At(i uint64) netip.AddrPort {
	if s.turn > 0 {
		i %= s.turn
	}
	return netip.AddrPortFrom(addAddr(s.base, i/ports+1), uint16(firstPort+i%ports))
}

// addAddr is the address n after a. In one of IPv6, the last eight bytes vary only.
func addAddr(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+n)
	return netip.AddrFrom16(b)
}

// Of is the attempt that a source belongs to, the first of those that have it in turn, or false if
// it is none of the range's.
func (s Sources) Of(source netip.AddrPort) (uint64, bool) {
	a, b := s.base.AsSlice(), source.Addr().Unmap().AsSlice()
	if len(a) != len(b) || source.Port() < firstPort || source.Port() >= firstPort+ports {
		return 0, false
	}
	high := len(a) - min(len(a), 8) // the range varies in its last eight bytes only
	if !bytes.Equal(a[:high], b[:high]) {
		return 0, false
	}
	var n uint64
	for i := high; i < len(a); i++ {
		n = n<<8 + uint64(b[i]) - uint64(a[i])
	}
	return (n-1)*ports + uint64(source.Port()-firstPort), n > 0
}

// Package load generates the load. An open loop sends each attempt when the schedule calls for it,
// however slow the servers are, and accounts for every attempt. A closed loop (Shape.Clients) has a
// fixed number of clients; each sends its next attempt when its last one has ended.
//
// Child processes (Main) do the work, so that the harness never measures inside its own process. In
// each, a vegeta Attacker is the outer loop: it starts the attempts due at each tick of our Pacer
// (pacer.go). Its HTTP client is our own RoundTripper (transport.go), which sends a request and
// returns without waiting for the answer. While the Pacer waits for the next attempt to be due, it
// advances the attempts whose answers have arrived (loop.go, attempt.go). So one thread does
// everything, and no goroutine waits for another. We need our own RoundTripper to
//
//   - choose source addresses and ports: they are the key to the kernel's events, and one address
//     pair would run out of ephemeral ports after 28,232 connections;
//   - take timestamps ourselves, because vegeta's start when a goroutine picks up a tick;
//   - repeat a request only where a policy says so (retry.go), and count it: http.Transport repeats
//     silently on a reused connection;
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

// Config describes the part of the load that one process generates.
type Config struct {
	Process int `json:"process"` // from 0
	// Processes is the number of processes that share the schedule. With n processes, process p
	// sends attempts p, p+n, p+2n …
	Processes int `json:"processes"`

	Target netip.AddrPort `json:"target"`
	// Lookup, if not nil, describes how each connection finds its address by name. Target is then
	// used only for its port.
	Lookup  *Lookup       `json:"lookup,omitempty"`
	Shape   Shape         `json:"shape"`      // the schedule of all processes together
	Timeout time.Duration `json:"timeout_ns"` // from Sent, for all tries of an attempt together
	// Retry is the policy for retrying failed attempts.
	Retry Retry `json:"retry,omitzero"`
	// Connections determines whether attempts open connections or reuse them. Keep determines how
	// many connections are kept, and for how long.
	Connections vocabulary.Connections `json:"connections"`
	Keep        Keep                   `json:"keep,omitzero"`
	// Body is the length of the request body, in bytes. If it is not 0, attempts are POST requests.
	Body int `json:"body_bytes"`
	// Request describes the requests. Identify names the response headers that identify the server.
	Request  Request  `json:"request,omitzero"`
	Identify Identify `json:"identify,omitzero"`
	// Aborts is the number of losses that the load causes on purpose. Process 0 resets the
	// connection after sending the request if the attempt's sequence number is in [AbortFrom,
	// AbortFrom+Aborts).
	AbortFrom uint64 `json:"abort_from"`
	Aborts    uint64 `json:"aborts"`
	// Ports is the number of sources (address and port) that the attempts use in turn, like a
	// client that has one address and reuses its ports. 0 gives each connection a source of its
	// own. Two attempts with the same source must be more than Timeout apart.
	Ports uint64 `json:"ports,omitzero"`
	// Sources is the range of source addresses. Without Ports every connection of a trial has its
	// own address and port, so the range must be large enough: see NewSources.
	Sources netip.Prefix `json:"sources"`
}

// share returns the number of those of n things that belong to this process if the processes take
// turns.
func (c Config) share(n uint64) uint64 {
	before, all := uint64(c.Process), uint64(c.Processes)
	return (n + all - 1 - before) / all
}

// start is the second line on the control pipe.
type start struct {
	At clock.Instant `json:"at"` // when the first attempt is due
}

// Attempts are sent from these ports: they are many, and need no privilege.
const (
	firstPort = 10_000
	ports     = 50_000
)

// Sources gives every attempt its own address and port. This pair identifies the attempt in the
// kernel's and the workers' reports about its connection.
type Sources struct {
	base netip.Addr
	turn uint64 // attempts use only the first turn sources, in turn; 0: all, each once
}

// InTurn returns s limited to its first n sources, which attempts then use in turn. 0 means no
// limit: every source is used once.
func (s Sources) InTurn(n uint64) Sources {
	s.turn = n
	return s
}

// NewSources returns the sources within a range. It fails unless the range has an address for every
// 50,000 attempts.
func NewSources(p netip.Prefix, attempts uint64) (Sources, error) {
	need := attempts/ports + 2 // the first address names the network
	if bits := p.Addr().BitLen() - p.Bits(); bits < 63 && uint64(1)<<bits < need {
		return Sources{}, fmt.Errorf("source range %v is too small: %d attempts need %d addresses",
			p, attempts, need)
	}
	return Sources{base: p.Masked().Addr()}, nil
}

// At returns the source of attempt i, counted over all processes. If the schedule has n attempts, a
// connection opened for try k of attempt i, with k counted from 0, has the source At(i + k·n). The
// Keep.Count connections have the sources that follow those of the last try.
func (s Sources) At(i uint64) netip.AddrPort {
	if s.turn > 0 {
		i %= s.turn
	}
	return netip.AddrPortFrom(addAddr(s.base, i/ports+1), uint16(firstPort+i%ports))
}

// addAddr returns the address a + n. In IPv6 only the last eight bytes vary.
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

// Of returns the number of the attempt that uses a source, and false if the source is outside the
// range. With InTurn, several attempts use a source; Of returns the first of them.
func (s Sources) Of(source netip.AddrPort) (uint64, bool) {
	a, b := s.base.AsSlice(), source.Addr().Unmap().AsSlice()
	if len(a) != len(b) || source.Port() < firstPort || source.Port() >= firstPort+ports {
		return 0, false
	}
	high := len(a) - min(len(a), 8) // only the last eight bytes vary
	if !bytes.Equal(a[:high], b[:high]) {
		return 0, false
	}
	var n uint64
	for i := high; i < len(a); i++ {
		n = n<<8 + uint64(b[i]) - uint64(a[i])
	}
	return (n-1)*ports + uint64(source.Port()-firstPort), n > 0
}

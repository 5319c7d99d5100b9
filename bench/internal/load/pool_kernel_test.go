package load

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// TestKernelFewConnections shows that a few connections do not spread evenly over SO_REUSEPORT
// sockets: the kernel's hash gives each connection to a random socket. The test opens the load's
// kept connections many times, and compares the results with the exact probabilities.
func TestKernelFewConnections(t *testing.T) {
	choose := func(n, k int) float64 {
		c := 1.
		for i := range k {
			c *= float64(n-i) / float64(i+1)
		}
		return c
	}
	// someIdle returns the probability that k connections leave at least one of n sockets without a
	// connection, by inclusion and exclusion over the sets of such sockets.
	someIdle := func(n, k int) (p float64) {
		for idle := 1; idle < n; idle++ {
			none := math.Pow(1-float64(idle)/float64(n), float64(k))
			p -= math.Pow(-1, float64(idle)) * choose(n, idle) * none
		}
		return p
	}
	for _, tt := range []struct {
		sockets, connections int
		idle                 float64 // mean number of sockets without a connection: n·(1−1/n)^k
		some                 float64 // probability that some socket has none
		one                  float64 // probability that one socket has all: n^(1−k)
		rounds               int
	}{
		{3, 2, 4. / 3, 1, 1. / 3, 3000},
		{4, 8, 0.400452, 0.377075, math.Pow(4, -7), 1500},
	} {
		n, k := tt.sockets, tt.connections
		if p := someIdle(n, k); math.Abs(p-tt.some) > 1e-6 {
			t.Fatalf("%d in %d: a socket is idle with probability %v, want %v", k, n, p, tt.some)
		}
		idle, some, one := 0, 0, 0
		spread := openings(t, n, k, tt.rounds)
		for _, counts := range spread {
			without, all := 0, false
			for _, c := range counts {
				if c == 0 {
					without++
				}
				all = all || c == k
			}
			idle += without
			if without > 0 {
				some++
			}
			if all {
				one++
			}
		}
		// Five standard deviations: one false alarm in a million.
		within := func(what string, got, want, sd float64) {
			t.Logf("%d in %d: %s %.4f, want %.4f ± %.4f", k, n, what, got, want, 5*sd)
			if math.Abs(got-want) > 5*sd {
				t.Errorf("%d in %d: %s %v, want %v ± %v", k, n, what, got, want, 5*sd)
			}
		}
		rounds := float64(tt.rounds)
		binomial := func(p float64) float64 { return math.Sqrt(p * (1 - p) / rounds) }
		within("some socket is idle in", float64(some)/rounds, tt.some, binomial(tt.some))
		within("one socket has all in", float64(one)/rounds, tt.one, binomial(tt.one)+1/rounds)
		// Among variables from 0 to n with this mean, one that is always 0 or n has the largest
		// variance.
		sd := math.Sqrt(tt.idle * (float64(n) - tt.idle) / rounds)
		within("idle sockets", float64(idle)/rounds, tt.idle, sd)
	}
}

// openings opens k connections to n SO_REUSEPORT sockets, in each of several rounds and always from
// new sources. It returns the numbers of connections that the sockets got in each round.
func openings(t *testing.T, n, k, rounds int) (all [][]int) {
	t.Helper()
	at := netip.MustParseAddrPort("127.0.0.1:0")
	var listeners []int
	for range n {
		fd, err := socket.Listen(at, socket.ListenOptions{Backlog: k, ReusePort: true})
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		at, listeners = socket.AddrPort(name), append(listeners, fd)
	}
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	first := rand.Uint32N(1 << 19)
	for round := range uint32(rounds) {
		// The sources are networks of four addresses within 127.64.0.0/10.
		var addr [4]byte
		binary.BigEndian.PutUint32(addr[:], 127<<24|64<<16|(first+round)<<2)
		tr, err := newTransport(Config{
			Processes: 1, Target: at, Timeout: time.Second, Shape: atOnce(1), Keep: Keep{Count: k},
			Connections: vocabulary.ConnectionsReused,
			Sources:     netip.PrefixFrom(netip.AddrFrom4(addr), 30),
		}, clk, w)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.fill(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		counts := make([]int, n)
		for i, l := range listeners {
			counts[i] = acceptAll(t, l)
		}
		if err := tr.close(); err != nil {
			t.Fatal(err)
		}
		all = append(all, counts)
	}
	return all
}

// acceptAll accepts and resets all connections in a listener's queue, and returns their number. The
// reset leaves no TIME_WAIT.
func acceptAll(t *testing.T, listener int) (n int) {
	t.Helper()
	for ; ; n++ {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		reset := unix.Linger{Onoff: 1}
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &reset)
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
	}
}

package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

const (
	roleRelay = "relay-test-relay"
	roleInit  = "relay-test-init"
)

func TestMain(m *testing.M) {
	roles := map[string]func() error{roleRelay: Main, roleInit: netlab.Init}
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func self() *exec.Cmd { return exec.Command("/proc/self/exe", roleRelay) }

// devices returns two stand-ins for TUN devices, and their far ends: sockets that preserve packet
// boundaries.
func devices(t *testing.T) (near, far [2]*os.File) {
	t.Helper()
	for i := range near {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		near[i] = os.NewFile(uintptr(fds[0]), "device")
		far[i] = os.NewFile(uintptr(fds[1]), "far end")
		t.Cleanup(func() {
			if err := errors.Join(near[i].Close(), far[i].Close()); err != nil {
				t.Error(err)
			}
		})
	}
	return near, far
}

// TestRelayDelays checks that every packet arrives whole, in order, and not before it is due, in
// both directions at once.
func TestRelayDelays(t *testing.T) {
	const oneWay, packets = 30 * time.Millisecond, 100 // a socket's buffers hold that many
	near, far := devices(t)
	env := Env{Command: self, Start: (*exec.Cmd).Start, Devices: near}
	p, err := Start(t.Context(), Config{OneWay: oneWay}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error, 2)
	for i := range far {
		go func() { received <- receive(clk, far[i], 1-i, oneWay, packets) }()
	}
	sent := make(chan error, 2)
	for i := range far {
		go func() { sent <- send(clk, far[i], i, packets) }()
	}
	if err := errors.Join(<-sent, <-sent, <-received, <-received); err != nil {
		t.Error(err)
	}
	r, err := p.End()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, excess %+v", r, r.Excess)
	if r.Packets != 2*packets || r.HeldMax < 1 || r.HeldMax > packets || r.Excess == nil {
		t.Errorf("the relay reports %+v; want %d packets", r, 2*packets)
	}
}

// send sends packets of different lengths from one end. Each contains its name and the current
// time.
func send(clk *clock.Clock, to *os.File, end, packets int) error {
	for i := range packets {
		b := binary.BigEndian.AppendUint64(nil, name(end, i))
		b = binary.BigEndian.AppendUint64(b, uint64(clk.Now()))
		if _, err := to.Write(append(b, make([]byte, i)...)); err != nil {
			return err
		}
	}
	return nil
}

// name returns a packet's name, which is unique among the packets of both ends.
func name(end, number int) uint64 { return uint64(end)<<32 | uint64(number) }

// receive receives the packets that send sends from the given end, and checks them.
func receive(clk *clock.Clock, from *os.File, end int, oneWay time.Duration, packets int) error {
	b := make([]byte, maxPacket)
	for i := range packets {
		n, err := from.Read(b)
		if err != nil {
			return err
		}
		got, sent := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		took := clk.Now().Sub(clock.Instant(sent))
		const tolerance = 10 * time.Microsecond // for differences between readings of the clock
		if n != 16+i || got != name(end, i) || took < oneWay-tolerance {
			return fmt.Errorf("packet %x of end %d arrived as %x with %d bytes after %v; "+
				"want %d bytes after %v or more", i, end, got, n, took, 16+i, oneWay)
		}
	}
	return nil
}

// TestRelayFails checks that a relay that fails reports the reason.
func TestRelayFails(t *testing.T) {
	near, far := devices(t)
	env := Env{Command: self, Start: (*exec.Cmd).Start, Devices: near}
	p, err := Start(t.Context(), Config{}, env)
	if err != nil {
		t.Fatal(err)
	}
	// The other far end accepts no data after the shutdown, so the relay cannot pass packets on.
	if err := unix.Shutdown(int(far[1].Fd()), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	if _, err := far[0].Write([]byte("a packet")); err != nil {
		t.Fatal(err)
	}
	<-p.process.Exited()
	const want = "relay: exit status 1: relay: pass on a packet of 8 bytes: broken pipe"
	if _, err := p.End(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestQueue checks that a queue returns its packets in order, however often its ring wraps around
// and grows.
func TestQueue(t *testing.T) {
	var q queue
	given, taken := clock.Instant(0), clock.Instant(0)
	for round := range 200 {
		for range round {
			p := q.next()
			p.due, p.data = given, append(p.data[:0], byte(given))
			q.add()
			given++
		}
		for range round - round/3 {
			if p := q.first(); p.due != taken || len(p.data) != 1 || p.data[0] != byte(taken) {
				t.Fatalf("got %d (%v), want %d", p.due, p.data, taken)
			}
			q.drop()
			taken++
		}
	}
	if q.n != int(given-taken) || len(q.ring) > 4*q.n {
		t.Errorf("%d are left in a ring of %d; want %d", q.n, len(q.ring), given-taken)
	}
}

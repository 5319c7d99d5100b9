package relay

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// newLab makes a lab whose clients and servers are joined by two TUN devices.
func newLab(t *testing.T) *netlab.Lab {
	t.Helper()
	testkit.RequireRoot(t)
	l, err := netlab.New(t.Context(), netlab.Options{
		Network: vocabulary.NetworkVeth, Delay: netlab.Delay{Relayed: true},
		Init: func() *exec.Cmd { return exec.Command("/proc/self/exe", roleInit) },
	})
	var refused *netlab.Refusal
	if errors.As(err, &refused) {
		testkit.Skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestKernelRelayBetweenHosts checks that a handshake through a relay takes a round trip, over IPv4
// and IPv6, and that the relay passes on every packet of the devices.
func TestKernelRelayBetweenHosts(t *testing.T) {
	const oneWay = 15 * time.Millisecond
	l := newLab(t)
	p, err := Start(t.Context(), Config{OneWay: oneWay}, Env{
		Command: self, Devices: l.TUN(),
		Start: func(c *exec.Cmd) error { return l.Start(l.Clients(), c, nil) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []vocabulary.Family{vocabulary.IPv4, vocabulary.IPv6} {
		took, err := connect(l, family)
		if err != nil {
			t.Fatalf("%s: %v", family, err)
		}
		t.Logf("%s: %v", family, took)
		if took < 2*oneWay {
			t.Errorf("%s: connected after %v, want %v or more", family, took, 2*oneWay)
		}
	}
	read, dropped, err := l.TUNCounts()
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.End()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packets were read, and %d dropped; %+v, excess %+v", read, dropped, r, r.Excess)
	// Each connection has at least SYN, SYN-ACK and ACK.
	if r.Packets < 6 || read < r.Packets || dropped != 0 {
		t.Errorf("%d packets passed on of %d, %d dropped; want 6 or more, none dropped",
			r.Packets, read, dropped)
	}
}

// connect connects from the clients to the servers, and returns the time that the client's connect
// took. It returns after the server has received the last ACK.
func connect(l *netlab.Lab, family vocabulary.Family) (took time.Duration, err error) {
	a := netlab.AddressesOf(vocabulary.NetworkVeth, family)
	var listener net.Listener
	err = l.Do(l.Servers(), func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(a.Servers, 8080).String())
		return err
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	dialer := net.Dialer{
		Timeout:   10 * time.Second,
		LocalAddr: &net.TCPAddr{IP: a.Sources.Addr().Next().AsSlice(), Port: 10001},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			if family == vocabulary.IPv4 {
				return nil
			}
			_ = c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			})
			return err
		},
	}
	err = l.Do(l.Clients(), func() error {
		began := time.Now()
		c, err := dialer.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		took = time.Since(began)
		return c.Close()
	})
	if err != nil {
		return 0, err
	}
	c, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	return took, c.Close()
}

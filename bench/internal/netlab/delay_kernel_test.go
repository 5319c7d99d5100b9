package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// TestKernelNetem checks that with netem a handshake takes at least the sum of the delays in both
// directions.
func TestKernelNetem(t *testing.T) {
	err := Private(func() error { return AddNetem("lo", time.Millisecond) })
	if err != nil {
		t.Skipf("%v", err) // even with REQUIRE_KERNEL: a relay replaces netem
	}
	const oneWay = 15 * time.Millisecond
	l := newLabOf(t, Options{Network: vocabulary.NetworkVeth, Delay: Delay{OneWay: oneWay}})
	a := AddressesOf(vocabulary.NetworkVeth, vocabulary.IPv4)
	listenOn(t, l, l.Servers(), a.Servers)
	took, err := connect(l, l.Clients(), netip.AddrPort{}, netip.AddrPortFrom(a.Servers, 8080))
	if err != nil || took < 2*oneWay {
		t.Errorf("connected after %v: %v; want %v or more", took, err, 2*oneWay)
	}
}

// TestKernelOpenTUN checks that a packet that a host sends through a TUN device can be read from
// the device's file, and that closing the file removes the device.
func TestKernelOpenTUN(t *testing.T) {
	testkit.RequireRoot(t)
	err := Private(func() error {
		device, err := OpenTUN("tun-test")
		if err != nil {
			return err
		}
		if err := configure("tun-test", netip.MustParsePrefix("192.0.2.1/30")); err != nil {
			return errors.Join(err, device.Close())
		}
		got, err := readPacket(device.Fd(), "192.0.2.2")
		if want := []byte{192, 0, 2, 2}; err == nil && !slices.Equal(got, want) {
			t.Errorf("read a packet to %v, want %v", got, want)
		}
		if err := errors.Join(err, device.Close()); err != nil {
			return err
		}
		if _, err := netlink.LinkByName("tun-test"); !errors.As(err, &netlink.LinkNotFoundError{}) {
			t.Errorf("link after the close: %v, want it not found", err)
		}
		return nil
	})
	var refused *Refusal
	if errors.As(err, &refused) {
		testkit.Skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readPacket sends a packet to an address and returns the destination of the first IPv4 packet read
// from the device.
func readPacket(device uintptr, to string) ([]byte, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	address := &unix.SockaddrInet4{Addr: netip.MustParseAddr(to).As4(), Port: 9}
	if err := unix.Sendto(socket, []byte("x"), 0, address); err != nil {
		return nil, err
	}
	for b := make([]byte, 2048); ; {
		ready := []unix.PollFd{{Fd: int32(device), Events: unix.POLLIN}}
		if n, err := unix.Poll(ready, 5000); n == 0 || err != nil {
			return nil, fmt.Errorf("poll for a packet: %d, %w", n, err)
		}
		n, err := unix.Read(int(device), b)
		if err != nil {
			return nil, err
		}
		if n >= 20 && b[0]>>4 == 4 { // skip the kernel's IPv6 packets
			return slices.Clone(b[16:20]), nil
		}
	}
}

// TestExplainTUN checks that the error from opening tunPath suggests a remedy.
func TestExplainTUN(t *testing.T) {
	const absent = "in a container, add --device /dev/net/tun (see docs/containers.md); " +
		"elsewhere, as root: modprobe tun"
	for err, hint := range map[error]string{
		unix.EACCES: "as root: chmod 666 /dev/net/tun, as most distributions have it",
		unix.ENOENT: absent,
		unix.EPERM:  absent,
		unix.ENODEV: "as root: modprobe tun; without that module there are no TUN devices",
		unix.EMFILE: "",
	} {
		r := explainTUN(&fs.PathError{Op: "open", Path: tunPath, Err: err})
		if r.Hint != hint || !errors.Is(r, err) {
			t.Errorf("%v: %q, want %q", err, r.Hint, hint)
		}
	}
}

package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Delay determines the time by which each packet between clients and servers is delayed.
type Delay struct {
	OneWay time.Duration
	// Relayed joins the hosts by two TUN devices instead of a veth pair. The process that has their
	// files forwards each packet after the delay: see Lab.TUN. If Relayed is false, the kernel
	// delays packets (netem).
	Relayed bool
}

// AddNetem makes the kernel delay every packet that leaves by a link of the thread's network
// namespace (tc-netem(8)). The delay is rounded down to whole microseconds.
func AddNetem(link string, oneWay time.Duration) error {
	on, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	err = netlink.QdiscAdd(netlink.NewNetem(
		netlink.QdiscAttrs{LinkIndex: on.Attrs().Index, Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{
			Latency: uint32(oneWay.Microseconds()),
			Limit:   math.MaxInt32, // packets held; more are dropped (default 1000)
		}))
	if err != nil {
		return fmt.Errorf("netem on %s: %w", link, err)
	}
	return nil
}

const (
	tunPath = "/dev/net/tun"
	// tunQueue is the number of packets that may wait to be read from a TUN device, which drops any
	// more. The default is 500 (drivers/net/tun.c).
	tunQueue = 16384
)

// OpenTUN makes a TUN device in the thread's network namespace. The device is removed when every
// descriptor of the file is closed. A read from the file returns a packet that the host sends
// through the device; a write to the file makes the host receive a packet.
//
// The file is blocking, so that Go's poller does not watch it: every packet would wake the poller.
// The device has no offloads, so no packet is larger than its MTU.
func OpenTUN(name string) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunPath, explainTUN(err))
	}
	file := os.NewFile(uintptr(fd), tunPath)
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TUN device %s: %w", name, err), file.Close())
	}
	return file, nil
}

// explainTUN explains an error from opening tunPath and suggests a remedy.
func explainTUN(err error) *Refusal {
	r := &Refusal{Err: err}
	switch {
	case errors.Is(err, unix.EACCES):
		r.Hint = "as root: chmod 666 " + tunPath + ", as most distributions have it"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EPERM): // EPERM: by a device cgroup
		r.Hint = "in a container, add --device " + tunPath + " (see docs/containers.md); " +
			"elsewhere, as root: modprobe tun"
	case errors.Is(err, unix.ENODEV):
		r.Hint = "as root: modprobe tun; without that module there are no TUN devices"
	}
	return r
}

// addTUN makes one of the lab's two TUN devices, in the thread's network namespace.
func (l *Lab) addTUN(name string) error {
	file, err := OpenTUN(name)
	if err != nil {
		return err
	}
	l.tun = append(l.tun, file)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.LinkSetTxQLen(link, tunQueue); err != nil {
		return fmt.Errorf("link %s: txqueuelen %d: %w", name, tunQueue, err)
	}
	return nil
}

// TUN returns the files of the two TUN devices that join clients and servers in a lab with
// Delay.Relayed, the clients' device first. The lab closes the files.
func (l *Lab) TUN() [2]*os.File { return [2]*os.File(l.tun) }

// TUNCounts returns the number of packets that were read from the lab's TUN devices, and the number
// of packets that the devices dropped because their queues were full.
func (l *Lab) TUNCounts() (read, dropped int64, err error) {
	for host, name := range map[*Host]string{l.clients: clientLink, l.servers: serverLink} {
		err := l.Do(host, func() error {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("link %s of %s: %w", name, host.Name, err)
			}
			if s := link.Attrs().Statistics; s != nil {
				read, dropped = read+int64(s.TxPackets), dropped+int64(s.TxDropped)
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return read, dropped, nil
}

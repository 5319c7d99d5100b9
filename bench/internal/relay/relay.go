// Package relay delays packets where the kernel cannot. It stands in for netem (tc-netem(8)), which
// many kernels are built without. A relay is a process between two TUN devices, one for each of two
// hosts. It reads a host's packets from its device, and writes them to the device of the other
// host: each after the same delay, in order and without loss.
//
// A relay measures how much longer than the configured delay it held each packet. It cannot measure
// the time for which a packet waited to be read. The scheduler statistics of its process
// (kernel.Schedstat) show the time for which the process waited for its CPU.
package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
)

// A Config configures a relay.
type Config struct {
	OneWay time.Duration `json:"one_way_ns"` // delay of each packet
}

// A Report is a relay's measurement of itself.
type Report struct {
	Packets int64 `json:"packets"` // passed on, in both directions
	// HeldMax is the largest number of packets held at a time in one direction.
	HeldMax int64 `json:"held_max"`
	// Excess is the time that packets were held beyond the configured delay, from the end of the
	// read to just before the write. It is nil if there was no packet.
	Excess *results.Percentiles `json:"excess_ns"`
}

// batch is the largest number of packets that are read from a lane, or passed on, in one turn.
const batch = 32

// These numbers identify members of a relay's epoll set. A lane is identified by its index.
const (
	alarmName int32 = 2 + iota
	controlName
)

// Main runs a relay process. It reads the configuration from the control pipe, and returns at EOF
// on that pipe. The devices are the first files after the pipes.
func Main() error {
	control := os.NewFile(child.ControlFD, "control")
	defer control.Close() // run reads it until EOF
	var cfg Config
	if err := json.NewDecoder(control).Decode(&cfg); err != nil {
		return fmt.Errorf("relay: configuration: %w", err)
	}
	if err := run(cfg, os.NewFile(child.EventsFD, "events")); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// run passes packets on until it reads EOF from the control pipe. Then it writes its report to
// events.
func run(cfg Config, events *os.File) error {
	r, err := newRelay(cfg, [2]int{child.FilesFD, child.FilesFD + 1}, child.ControlFD)
	if err != nil {
		return err
	}
	_ = sys.ReleaseProgram() // failure only costs memory
	runtime.GC()
	if _, err := events.Write([]byte{'r'}); err != nil {
		return errors.Join(fmt.Errorf("ready: %w", err), r.close())
	}
	for more := true; more; {
		if more, err = r.turn(); err != nil {
			return errors.Join(err, r.close())
		}
	}
	return errors.Join(json.NewEncoder(events).Encode(r.report()), r.close())
}

// A relay passes packets on. It uses one thread, and waits in a system call that is hidden from
// Go's scheduler (package socket).
type relay struct {
	clock  *clock.Clock
	oneWay time.Duration
	lanes  [2]lane
	epoll  int
	alarm  clock.Alarm
	set    clock.Instant // the instant for which the alarm is set; 0: not set
	events [4]unix.EpollEvent

	heldMax int
	excess  *results.Histogram
}

// A lane is one direction: packets are read from one device and written to the other.
type lane struct {
	from, to int // descriptors
	held     queue
}

// newRelay makes a relay between two devices. The relay stops at EOF on control. newRelay makes the
// devices non-blocking, and closes none of the descriptors. The caller closes the relay.
func newRelay(cfg Config, devices [2]int, control int) (*relay, error) {
	r := &relay{oneWay: cfg.OneWay, excess: results.NewHistogram()}
	for i := range r.lanes {
		r.lanes[i].from, r.lanes[i].to = devices[i], devices[1-i]
		if err := unix.SetNonblock(devices[i], true); err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
	}
	var err error
	if r.clock, err = clock.New(); err != nil {
		return nil, err
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if r.alarm, err = clock.NewAlarm(); err != nil {
		return nil, errors.Join(err, unix.Close(r.epoll))
	}
	const edge = uint32(unix.EPOLLET & 0xffffffff)
	for _, w := range []struct {
		fd     int
		events uint32
		name   int32
	}{
		{devices[0], unix.EPOLLIN, 0},
		{devices[1], unix.EPOLLIN, 1},
		{r.alarm.FD(), unix.EPOLLIN | edge, alarmName},
		{control, unix.EPOLLIN, controlName},
	} {
		if err := socket.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, w.fd, w.events, w.name); err != nil {
			return nil, errors.Join(fmt.Errorf("epoll_ctl: %w", err), r.close())
		}
	}
	return r, nil
}

func (r *relay) close() error { return errors.Join(r.alarm.Close(), unix.Close(r.epoll)) }

// turn waits for an event, then reads at most a batch of packets from each lane, and passes on at
// most a batch. more is false once the control pipe is at EOF.
func (r *relay) turn() (more bool, err error) {
	n, err := socket.EpollWait(r.epoll, r.events[:], -1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("epoll_pwait2 (since Linux 5.11): %w", err)
	}
	for _, e := range r.events[:n] {
		switch e.Fd {
		case controlName:
			return false, nil
		case alarmName:
			r.set = 0
		default:
			if err := r.read(&r.lanes[e.Fd]); err != nil {
				return false, err
			}
		}
	}
	return true, r.passOn()
}

// read reads packets that are waiting at the device of a lane, at most a batch.
func (r *relay) read(l *lane) error {
	for range batch {
		p := l.held.next()
		n, errno := call(unix.SYS_READ, l.from, p.data[:maxPacket])
		switch errno {
		case 0:
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("read a packet: %w", errno)
		}
		p.data, p.due = p.data[:n], r.clock.Now().Add(r.oneWay)
		l.held.add()
		r.heldMax = max(r.heldMax, l.held.n)
	}
	return nil
}

// passOn passes on the packets that are due, at most a batch. It sets the alarm for the next
// packet.
func (r *relay) passOn() error {
	for range batch {
		l := r.first()
		if l == nil {
			return nil
		}
		p, now := l.held.first(), r.clock.Now()
		if p.due > now {
			return r.wakeAt(p.due)
		}
		r.excess.Record(int64(now.Sub(p.due)))
		if _, errno := call(unix.SYS_WRITE, l.to, p.data); errno != 0 {
			return fmt.Errorf("pass on a packet of %d bytes: %w", len(p.data), errno)
		}
		l.held.drop()
	}
	if l := r.first(); l != nil {
		return r.wakeAt(l.held.first().due) // goes off at once if the packet is due
	}
	return nil
}

// first returns the lane whose packet is due first, or nil if no lane holds a packet.
func (r *relay) first() (first *lane) {
	for i := range r.lanes {
		l := &r.lanes[i]
		if l.held.n > 0 && (first == nil || l.held.first().due < first.held.first().due) {
			first = l
		}
	}
	return first
}

// wakeAt sets the alarm, unless it is set to that instant already.
func (r *relay) wakeAt(at clock.Instant) error {
	if at == r.set {
		return nil
	}
	r.set = at
	return r.alarm.Set(at)
}

// report returns what the relay has measured so far.
func (r *relay) report() Report {
	return Report{
		Packets: r.excess.Count(), HeldMax: int64(r.heldMax), Excess: r.excess.Percentiles(),
	}
}

// call calls read(2) or write(2) for a device, hidden from Go's scheduler like the calls of package
// socket. It never blocks, since the devices are non-blocking.
func call(number uintptr, fd int, b []byte) (n int, errno unix.Errno) {
	done, _, errno := unix.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&b[0])),
		uintptr(len(b)))
	return int(done), errno
}

package selector

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A Member is the worker's side: one listener in one slot. Accepted, Begin and Done may be called
// from any goroutine and cost no system call. Turn and Idle may be called from one goroutine at a
// time. Only LeastLoaded uses the published values; with other selectors only Selector.Stats reads
// them.
type Member struct {
	slot    uint32
	cookie  uint64 // socket cookie of the listener
	sockets *ebpf.Map
	memory  []byte // nil once closed
	beat    time.Duration
	decay   int64 // Config.Decay, in ns

	// published points to the slot in the shared state or, once another worker may have the slot,
	// to unused.
	published atomic.Pointer[selectorSlot]
	unused    selectorSlot

	// Turn needs these: seen is the number of accepted connections. since is the last time at which
	// that number changed or Turn wrote off waiting connections.
	seen  uint64
	since int64
}

// Join attaches the program to the listener's group, puts the listener into the slot, and resets
// the slot: nothing waits, nothing is in flight. fds are the inherited Selector.Files, in that
// order. The caller still owns them and may close them once Join has returned. The listener must be
// of IPPROTO_TCP (not MPTCP), bound with SO_REUSEPORT, and listening.
//
// Since Linux 5.19 Join needs no capability, only the descriptors. The program does not choose the
// slot until Selector.Add lists it. If the slot is still listed, because its last worker died
// unnoticed, the program may choose it at once.
//
// If another listener holds the slot, the error is ebpf.ErrKeyExist. The caller calls Leave, then
// Close.
func Join(fds []int, slot, listener int) (_ *Member, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("selector: join slot %d: %w", slot, err)
		}
	}()
	if len(fds) != 3 {
		return nil, fmt.Errorf("got %d descriptors, want 3", len(fds))
	}
	m := &Member{slot: uint32(slot)}
	m.cookie, err = unix.GetsockoptUint64(listener, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return nil, fmt.Errorf("SO_COOKIE: %w", err)
	}
	fd, err := duplicate(fds[1])
	if err != nil {
		return nil, err
	}
	if m.sockets, err = ebpf.NewMapFromFD(fd); err != nil { // owns fd, even if it fails
		return nil, fmt.Errorf("socket array: %w", err)
	}
	if slots := int(m.sockets.MaxEntries()); slot < 0 || slot >= slots {
		return nil, errors.Join(fmt.Errorf("must be 0 to %d", slots-1), m.sockets.Close())
	}
	if err := m.enter(fds[0], fds[2], listener); err != nil {
		return nil, errors.Join(err, m.release())
	}
	return m, nil
}

// enter attaches the program and takes the slot, which is the last step that can fail. The member
// then owns the slot's part of the shared state, and enter resets that part.
func (m *Member) enter(program, state, listener int) error {
	memory, shared, err := mapState(state)
	if err != nil {
		return err
	}
	m.memory = memory
	m.published.Store(&m.unused)
	const option = unix.SO_ATTACH_REUSEPORT_EBPF
	if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, option, program); err != nil {
		return fmt.Errorf("SO_ATTACH_REUSEPORT_EBPF: %w", err)
	}
	now, err := monotonic()
	if err != nil {
		return err
	}
	if err := m.sockets.Update(m.slot, uint64(listener), ebpf.UpdateNoExist); err != nil {
		return explainArray(err)
	}
	m.beat, m.decay = time.Duration(shared.BeatNs), int64(shared.DecayNs)
	slot := (*selectorSlot)(&shared.Slots[m.slot])
	atomic.StoreInt64(&slot.InFlight, 0)
	atomic.StoreUint64(&slot.Turn, uint64(now))
	m.published.Store(slot)
	m.Idle()
	m.seen, m.since = atomic.LoadUint64(&slot.Accepted), now
	return nil
}

// explainArray explains the errors of reuseport_array_update_check (kernel/bpf/reuseport_array.c).
func explainArray(err error) error {
	const errnoNotSupported = unix.Errno(524) // ENOTSUPP, which is not in userspace headers
	switch {
	case errors.Is(err, ebpf.ErrKeyExist):
		return fmt.Errorf("another listener holds it: %w", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("the listener is already in a slot: %w", err)
	case errors.Is(err, errnoNotSupported):
		return fmt.Errorf("the listener is not of IPPROTO_TCP; is it MPTCP? %w", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the socket does not listen, or was bound without SO_REUSEPORT: %w", err)
	}
	return err
}

func monotonic() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("CLOCK_MONOTONIC: %w", err)
	}
	return ts.Nano(), nil
}

// Beat returns the maximum time that a worker may wait for events. After that time, the worker must
// call Turn, and Idle if the accept queue is empty, even if there was no event. Otherwise a
// handshake that was never completed would make an idle worker look stuck. 0: the selector does not
// need these calls.
func (m *Member) Beat() time.Duration { return m.beat }

// Accepted reports that one connection was accepted.
func (m *Member) Accepted() { atomic.AddUint64(&m.published.Load().Accepted, 1) }

// Begin reports that one more unit of load is in flight: a request or a connection, as the worker
// chooses.
func (m *Member) Begin() { atomic.AddInt64(&m.published.Load().InFlight, 1) }

// Done reports the end of what Begin reported.
func (m *Member) Done() { atomic.AddInt64(&m.published.Load().InFlight, -1) }

// Turn reports that the loop starts its next iteration at now, in nanoseconds of CLOCK_MONOTONIC.
// It also corrects drift (see the package documentation).
func (m *Member) Turn(now int64) {
	slot := m.published.Load()
	atomic.StoreUint64(&slot.Turn, uint64(now))
	accepted := atomic.LoadUint64(&slot.Accepted)
	waiting := slot.waiting()
	switch {
	case waiting < 0:
		slot.writeOff(waiting)
		fallthrough
	case waiting == 0, accepted != m.seen:
		m.seen, m.since = accepted, now
	case now-m.since >= m.decay:
		slot.writeOff((waiting + 1) / 2)
		m.since = now
	}
}

// Idle reports that the accept queue was just seen empty: accept returned EAGAIN, or epoll_wait
// returned and did not report the listener. Idle sets the number of waiting connections to 0.
func (m *Member) Idle() {
	slot := m.published.Load()
	if waiting := slot.waiting(); waiting != 0 {
		slot.writeOff(waiting)
	}
}

// waiting returns the estimated number of connections that were assigned and not yet accepted. It
// may be negative. It loads Assigned last, because Assigned may grow during the call and the result
// must not be too low.
func (s *selectorSlot) waiting() int64 {
	gone := atomic.LoadUint64(&s.Accepted) + uint64(atomic.LoadInt64(&s.WrittenOff))
	return int64(atomic.LoadUint64(&s.Assigned) - gone)
}

// writeOff reduces the number of waiting connections by n. Only the worker calls it.
func (s *selectorSlot) writeOff(n int64) { atomic.AddInt64(&s.WrittenOff, n) }

// Leave takes the listener out of its slot. The program then finds the slot empty, and another
// worker may take it. A worker calls Leave after the parent's Remove and before it closes its
// listener. It can still accept the connections in its queue, but reports made after Leave have no
// effect. If the listener is closed or no longer in its slot, Leave does nothing.
func (m *Member) Leave() error {
	m.published.Store(&m.unused)
	var cookie uint64 // identifies the listener: another worker may have the slot by now
	err := m.sockets.Lookup(m.slot, &cookie)
	if err == nil && cookie == m.cookie {
		err = m.sockets.Delete(m.slot)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("selector: leave slot %d: %w", m.slot, err)
	}
	return nil
}

// Close calls Leave and releases everything that the member holds, except the listener. Further
// calls do nothing. No other method may be called after Close.
func (m *Member) Close() error {
	if m.memory == nil {
		return nil
	}
	return errors.Join(m.Leave(), m.release())
}

func (m *Member) release() error {
	var unmap error
	if m.memory != nil {
		unmap = unix.Munmap(m.memory)
		m.memory = nil
	}
	return errors.Join(unmap, m.sockets.Close())
}

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
// from any goroutine, and cost no system call; Turn and Idle from one at a time. With selectors
// other than LeastLoaded nobody reads what they publish but Selector.Stats.
type Member struct {
	slot    uint32
	cookie  uint64 // of the listener
	sockets *ebpf.Map
	memory  []byte // nil once closed
	beat    time.Duration
	decay   int64 // ns

	// published is the slot in the shared state, and aside once the slot may be somebody else's.
	published atomic.Pointer[selectorSlot]
	aside     selectorSlot

	// Of Turn: the count of accepted connections when it last changed or something was last taken
	// off what waits, and when that was.
	seen  uint64
	since int64
}

// Join attaches the program to the listener's group, puts the listener into the slot, and makes the
// slot's past the past: nothing waits, nothing is in flight. fds are the inherited Selector.Files,
// in that order; they stay the caller's, who may close them once Join has returned. The listener
// must be of IPPROTO_TCP (not MPTCP), bound with SO_REUSEPORT, and listening.
//
// Join needs no capability since Linux 5.19, only the descriptors. It does not make the slot be
// chosen: Selector.Add does. But a slot that is listed because its last worker died unnoticed is
// open at once.
//
// A slot that another listener holds is ebpf.ErrKeyExist. The caller calls Leave, then Close.
func Join(fds []int, slot, listener int) (_ *Member, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("selector: join slot %d: %w", slot, err)
		}
	}()
	if len(fds) != 3 {
		return nil, fmt.Errorf("%d descriptors instead of 3", len(fds))
	}
	m := &Member{slot: uint32(slot)}
	if m.cookie, err = unix.GetsockoptUint64(listener, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return nil, fmt.Errorf("SO_COOKIE: %w", err)
	}
	fd, err := duplicate(fds[1])
	if err != nil {
		return nil, err
	}
	if m.sockets, err = ebpf.NewMapFromFD(fd); err != nil { // owns fd, also when it fails
		return nil, fmt.Errorf("socket array: %w", err)
	}
	if slot < 0 || slot >= int(m.sockets.MaxEntries()) {
		return nil, errors.Join(fmt.Errorf("must be 0 to %d", m.sockets.MaxEntries()-1), m.sockets.Close())
	}
	if err := m.enter(fds[0], fds[2], listener); err != nil {
		return nil, errors.Join(err, m.release())
	}
	return m, nil
}

// enter takes the slot, the last step that can fail, and then, being the only one there, its part
// of the shared state.
func (m *Member) enter(program, state, listener int) error {
	memory, shared, err := mapState(state)
	if err != nil {
		return err
	}
	m.memory = memory
	m.published.Store(&m.aside)
	if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program); err != nil {
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

// explainArray says what the errors of reuseport_array_update_check (kernel/bpf/reuseport_array.c)
// mean.
func explainArray(err error) error {
	const errnoNotSupported = unix.Errno(524) // ENOTSUPP, which no header for user space has
	switch {
	case errors.Is(err, ebpf.ErrKeyExist):
		return fmt.Errorf("another listener holds it: %w", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("the listener is in a slot already: %w", err)
	case errors.Is(err, errnoNotSupported):
		return fmt.Errorf("the listener is not of IPPROTO_TCP; is it MPTCP? %w", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the listener does not listen, or was bound without SO_REUSEPORT: %w", err)
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

// Beat is how long a worker may wait for events at most: then it calls Turn, and Idle if nothing is
// to be accepted, although nothing has happened. Without, a handshake that never completed would
// make a worker with nothing to do look stuck. 0 means that this selector does not care.
func (m *Member) Beat() time.Duration { return m.beat }

// Accepted says that one connection was accepted.
func (m *Member) Accepted() { atomic.AddUint64(&m.published.Load().Accepted, 1) }

// Begin says that one more of whatever the worker counts as its load, requests or connections, is
// in flight.
func (m *Member) Begin() { atomic.AddInt64(&m.published.Load().InFlight, 1) }

// Done ends what Begin began.
func (m *Member) Done() { atomic.AddInt64(&m.published.Load().InFlight, -1) }

// Turn says that the loop begins another turn, at now, in nanoseconds of CLOCK_MONOTONIC. It also
// corrects what has drifted (see the package's documentation).
func (m *Member) Turn(now int64) {
	slot := m.published.Load()
	atomic.StoreUint64(&slot.Turn, uint64(now))
	accepted := atomic.LoadUint64(&slot.Accepted)
	waiting := slot.waiting()
	switch {
	case waiting < 0:
		slot.settle(waiting)
		fallthrough
	case waiting == 0, accepted != m.seen:
		m.seen, m.since = accepted, now
	case now-m.since >= m.decay:
		slot.settle((waiting + 1) / 2)
		m.since = now
	}
}

// Idle says that the accept queue was just seen empty: accept gave EAGAIN, or epoll_wait returned
// and did not report the listener. So nothing waits, whatever the counts say.
func (m *Member) Idle() {
	slot := m.published.Load()
	if waiting := slot.waiting(); waiting != 0 {
		slot.settle(waiting)
	}
}

// waiting is how many connections were assigned and not yet accepted, as far as is known. It may be
// negative. Assigned comes last: it grows meanwhile, and a queue must not seem shorter than it is.
func (s *selectorSlot) waiting() int64 {
	gone := atomic.LoadUint64(&s.Accepted) + uint64(atomic.LoadInt64(&s.Settled))
	return int64(atomic.LoadUint64(&s.Assigned) - gone)
}

// settle takes n off what waits, by the worker only.
func (s *selectorSlot) settle(n int64) { atomic.AddInt64(&s.Settled, n) }

// Leave takes the listener out of its slot, which the program then finds empty and another worker
// may take. A worker leaves before it closes its listener, after the parent's Remove. It goes on
// accepting what is queued; what it says after Leave goes nowhere. If the listener is closed or out
// of its slot already, Leave does nothing.
func (m *Member) Leave() error {
	m.published.Store(&m.aside)
	var cookie uint64 // whose listener it is: the slot may be somebody else's by now
	err := m.sockets.Lookup(m.slot, &cookie)
	if err == nil && cookie == m.cookie {
		err = m.sockets.Delete(m.slot)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("selector: leave slot %d: %w", m.slot, err)
	}
	return nil
}

// Close leaves, and releases what the member holds, except for the listener. No other method may be
// called any more, but for Close itself, which then does nothing.
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

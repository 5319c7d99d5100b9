package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
)

//go:generate ../../../scripts/bpf2go.sh -type life ends ends.c

// A trace reports the ends of connections. It consists of eBPF programs (ends.c) at the tracepoints
// inet_sock_set_state, tcp_rcv_space_adjust and tcp_destroy_sock.
type trace struct {
	collection *ebpf.Collection
	marks      *link.Iter // creates a struct life for each existing listener
	links      []link.Link
	reader     *ringbuf.Reader

	reading sync.Mutex // held by read while it runs
	births  uint64     // valid once stopped
	lost    uint64     // valid once stopped
}

// again is the suffix of the name of a program's second copy: see ends.c.
const again = "_again"

// lifeRecord is the number of bytes that an end takes in the ring: a header (BPF_RINGBUF_HDR_SZ in
// include/uapi/linux/bpf.h) and a struct life.
const lifeRecord = 8 + 128

// The ring has room for the ends of the planned connections, but has at most maxRing bytes. If it
// is too small for all ends, it must be read while the load runs.
const (
	minRing = 1 << 20
	maxRing = 64 << 20
)

// newTrace starts a trace that watches no namespace yet. The caller ends it with stop and close.
// newTrace needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the initial user namespace;
// otherwise the error is unix.EPERM and names the missing capabilities. The error is
// kernel.ErrNotSupported if the kernel lacks type information or a tracepoint, or is older than
// Linux 5.12: tracing programs may use socket storage since 5.11, and version 3 of the instruction
// set exists since 5.12.
//
// The trace reports the numbers that processes have in the PID namespace with the inode pids or, if
// that is 0, in this process's.
func newTrace(connections int, pids uint32, types *btf.Cache) (*trace, error) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		return nil, fmt.Errorf("ends of connections: needs %s; run as root: %w",
			strings.Join(missing, " and "), unix.EPERM)
	}
	t := &trace{}
	if err := t.load(connections, pids, types); err != nil {
		if kernel.LacksTracing(err) {
			err = fmt.Errorf("%w: %w", kernel.ErrNotSupported, err)
		}
		return nil, errors.Join(fmt.Errorf("ends of connections: %w", err), t.close())
	}
	return t, nil
}

func (t *trace) load(connections int, pids uint32, types *btf.Cache) error {
	spec, err := loadEnds()
	if err != nil {
		return err
	}
	if pids == 0 {
		var own unix.Stat_t
		if err := unix.Stat("/proc/self/ns/pid", &own); err != nil {
			return fmt.Errorf("/proc/self/ns/pid: %w", err)
		}
		pids = uint32(own.Ino)
	}
	if err := spec.Variables[endsVarPidNamespace].Set(pids); err != nil {
		return err
	}
	spec.Maps[endsMapEnds].MaxEntries = ringSize(connections)
	spec.Programs[endsProgDestroyed+again] = spec.Programs[endsProgDestroyed].Copy()
	t.collection, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return err
	}
	if t.reader, err = ringbuf.NewReader(t.collection.Maps[endsMapEnds]); err != nil {
		return err
	}
	mark := t.collection.Programs[endsProgMarkListeners]
	if t.marks, err = link.AttachIter(link.IterOptions{Program: mark}); err != nil {
		return fmt.Errorf("attach %s: %w", endsProgMarkListeners, err)
	}
	for _, name := range []string{
		endsProgDestroyed, endsProgDestroyed + again, endsProgDataRead, endsProgStateChanged,
	} {
		if err := t.attach(name); err != nil {
			return err
		}
	}
	return nil
}

func (t *trace) attach(name string) error {
	attached, err := link.AttachTracing(link.TracingOptions{Program: t.collection.Programs[name]})
	if err != nil {
		return fmt.Errorf("attach %s: %w", name, err)
	}
	t.links = append(t.links, attached)
	return nil
}

// ringSize returns the size of a ring for that many ends. It is a power of two.
func ringSize(connections int) uint32 {
	need := min(max(minRing, uint64(max(0, connections))*lifeRecord), maxRing)
	return 1 << bits.Len64(need-1)
}

// watch adds the calling thread's network namespace to the trace, with its existing and future
// listeners. From then on, the trace reports the connections that these listeners make.
func (t *trace) watch() error {
	var here unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil {
		return fmt.Errorf("/proc/thread-self/ns/net: %w", err)
	}
	if err := t.collection.Maps[endsMapWatched].Put(uint32(here.Ino), true); err != nil {
		return fmt.Errorf("ends of connections: watch: %w", err)
	}
	// Open determines the namespace (bpf_iter_init_seq_net in fs/proc/proc_net.c).
	walk, err := t.marks.Open()
	if err != nil {
		return fmt.Errorf("ends of connections: listeners: %w", err)
	}
	_, err = io.Copy(io.Discard, walk)
	if err := errors.Join(err, walk.Close()); err != nil {
		return fmt.Errorf("ends of connections: listeners: %w", err)
	}
	return nil
}

// read calls f for each connection that ends, and returns after stop.
func (t *trace) read(f func(SocketEnd)) error {
	t.reading.Lock()
	defer t.reading.Unlock()
	if err := kernel.ReadRing(t.reader, func(l *endsLife) { f(l.end()) }); err != nil {
		return fmt.Errorf("ends of connections: %w", err)
	}
	return nil
}

// readLiving returns the connections that have not ended, by their cookies.
func (t *trace) readLiving() (map[uint64]SocketEnd, error) {
	iterator, err := link.AttachIter(link.IterOptions{
		Program: t.collection.Programs[endsProgWriteLives], Map: t.collection.Maps[endsMapLives],
	})
	if err != nil {
		return nil, err
	}
	walk, err := iterator.Open()
	if err != nil {
		return nil, errors.Join(err, iterator.Close())
	}
	lives, err := io.ReadAll(walk)
	if err := errors.Join(err, walk.Close(), iterator.Close()); err != nil {
		return nil, err
	}
	living := map[uint64]SocketEnd{}
	for len(lives) > 0 {
		var l endsLife
		n, err := binary.Decode(lives, binary.NativeEndian, &l)
		if err != nil {
			return nil, err
		}
		living[l.Cookie] = l.end()
		lives = lives[n:]
	}
	return living, nil
}

// stop detaches the programs, so that read returns. It returns the connections that had not ended,
// by their cookies. If a connection ends during the call, read's f gets it as well.
func (t *trace) stop() (living map[uint64]SocketEnd, err error) {
	if living, err = t.readLiving(); err != nil {
		err = fmt.Errorf("open connections: %w", err)
	}
	variables := t.collection.Variables
	return living, errors.Join(err, t.detach(), variables[endsVarBirths].Get(&t.births),
		variables[endsVarLost].Get(&t.lost), t.reader.Flush())
}

func (t *trace) detach() (err error) {
	for _, attached := range t.links {
		err = errors.Join(err, attached.Close())
	}
	t.links = nil
	return err
}

// close unloads the programs once read has returned.
func (t *trace) close() error {
	t.reading.Lock()
	defer t.reading.Unlock()
	err := t.detach()
	if t.marks != nil {
		err = errors.Join(err, t.marks.Close())
	}
	if t.reader != nil {
		err = errors.Join(err, t.reader.Close())
	}
	if t.collection != nil {
		t.collection.Close()
	}
	return err
}

// The flags of a struct life (enum flag in ends.c).
const (
	flagAccepted = 1 << iota
	flagPeerClosed
	flagExiting
	flagResetLater
	flagOrphaned
)

func (l *endsLife) end() SocketEnd {
	e := SocketEnd{
		Server:   addrPort(l.Server, l.ServerPort),
		Client:   addrPort(l.Client, l.ClientPort),
		Cookie:   l.Cookie,
		Listener: l.Listener,
		State:    l.State,
		Way:      Way(l.Way),
		Received: l.Received, Unread: uint64(l.Unread), Sent: l.Sent, Acknowledged: l.Acknowledged,
		PeerClosed: l.Flags&flagPeerClosed != 0,
		Accepted:   l.Flags&flagAccepted != 0,
		ResetLater: l.Flags&flagResetLater != 0,
		Reader:     int(l.Reader), Closer: int(l.Closer),
		Exiting: l.Flags&flagExiting != 0, Signal: unix.Signal(l.Signal),
		Born: clock.Instant(l.Born), FirstRead: clock.Instant(l.FirstRead),
		Closed: clock.Instant(l.Closed), Ended: clock.Instant(l.Ended),
		Known: KnowsAll,
	}
	switch {
	case e.Way != UnknownWay:
	case e.Accepted:
		e.Way = StillOpen
	default:
		e.Way = StillQueued
	}
	return e
}

func addrPort(address [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
}

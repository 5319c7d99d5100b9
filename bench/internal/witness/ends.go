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
	links      []link.Link
	reader     *ringbuf.Reader
	several    bool // it watches several network namespaces

	reading sync.Mutex // held by read while it runs
	births  uint64     // valid once stopped
	lost    uint64     // valid once stopped
}

// lifeRecord is the number of bytes that an end takes in the ring: a header (BPF_RINGBUF_HDR_SZ in
// include/uapi/linux/bpf.h) and a struct life.
const lifeRecord = 8 + 120

// The ring has room for the ends of the planned connections, but has at most maxRing bytes. If it
// is too small for all ends, it must be read while the load runs.
const (
	minRing = 1 << 20
	maxRing = 64 << 20
)

// maxLives is the maximum number of connections that the trace follows at the same time. They take
// about 200 bytes each.
const maxLives = 1 << 18

// newTrace starts a trace that watches no namespace yet. The caller ends it with stop and close.
// newTrace needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the initial user namespace;
// otherwise the error is unix.EPERM and names the missing capabilities. The error is
// kernel.ErrNotSupported if the kernel lacks type information or a tracepoint, or is older than
// Linux 5.12, in which version 3 of the instruction set appeared.
//
// Without Options.Do, the trace can watch several namespaces, which takes a little more time for
// each connection.
func newTrace(o Options) (*trace, error) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		return nil, fmt.Errorf("ends of connections: needs %s; run as root: %w",
			strings.Join(missing, " and "), unix.EPERM)
	}
	t := &trace{several: o.Do == nil}
	if err := t.load(o.Connections, o.PIDs, o.Types); err != nil {
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
	if err := spec.Variables[endsVarSeveral].Set(t.several); err != nil {
		return err
	}
	spec.Maps[endsMapEnds].MaxEntries = ringSize(connections)
	spec.Maps[endsMapLives].MaxEntries = tableSize(connections)
	t.collection, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return err
	}
	if t.reader, err = ringbuf.NewReader(t.collection.Maps[endsMapEnds]); err != nil {
		return err
	}
	for _, name := range []string{endsProgDestroyed, endsProgDataRead, endsProgStateChanged} {
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

// tableSize returns the size of a table for the lives of that many connections.
func tableSize(connections int) uint32 {
	return uint32(min(max(0, connections)+slack, maxLives))
}

// watch adds the calling thread's network namespace to the trace. From then on, the trace reports
// the connections that listeners in that namespace make.
func (t *trace) watch() error {
	here, err := networkNamespace()
	if err != nil {
		return err
	}
	if t.several {
		err = t.collection.Maps[endsMapNetworks].Put(here, true)
	} else {
		err = t.collection.Variables[endsVarNetwork].Set(here)
	}
	if err != nil {
		return fmt.Errorf("ends of connections: watch: %w", err)
	}
	if _, err := t.walk(endsProgMarkEarlier); err != nil {
		return fmt.Errorf("ends of connections: earlier connections: %w", err)
	}
	return nil
}

// walk calls a program for each TCP socket of the calling thread's network namespace. It returns
// what the program writes.
func (t *trace) walk(program string) ([]byte, error) {
	iterator, err := link.AttachIter(link.IterOptions{Program: t.collection.Programs[program]})
	if err != nil {
		return nil, err
	}
	// Open determines the namespace (bpf_iter_init_seq_net in fs/proc/proc_net.c).
	walk, err := iterator.Open()
	if err != nil {
		return nil, errors.Join(err, iterator.Close())
	}
	written, err := io.ReadAll(walk)
	return written, errors.Join(err, walk.Close(), iterator.Close())
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

// leave returns the connections in the calling thread's network namespace that have not ended, and
// removes the namespace from the trace. If a connection ends during the call, read's f gets it as
// well. The kernel may give the number of a namespace that has ended to a new one.
func (t *trace) leave() (living []SocketEnd, err error) {
	lives, err := t.walk(endsProgWriteLives)
	for len(lives) > 0 && err == nil {
		var l endsLife
		var n int
		n, err = binary.Decode(lives, binary.NativeEndian, &l)
		living, lives = append(living, l.end()), lives[n:]
	}
	if t.several {
		here, hereErr := networkNamespace()
		if hereErr == nil {
			hereErr = t.collection.Maps[endsMapNetworks].Delete(here)
		}
		err = errors.Join(err, hereErr)
	}
	if err != nil {
		err = fmt.Errorf("ends of connections: open connections: %w", err)
	}
	return living, err
}

// held returns, by their cookies, the connections whose end was not reported. A connection that has
// reached CLOSE is in no list of the kernel's while a process has it. The numbers of bytes of the
// other connections are those that leave returns.
func (t *trace) held() (map[uint64]SocketEnd, error) {
	held := map[uint64]SocketEnd{}
	var socket uint64
	var l endsLife
	all := t.collection.Maps[endsMapLives].Iterate()
	for all.Next(&socket, &l) {
		if l.Flags&flagEarlier == 0 {
			held[l.Cookie] = l.end()
		}
	}
	return held, all.Err()
}

// networkNamespace returns the inode of the calling thread's network namespace.
func networkNamespace() (uint32, error) {
	var here unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil {
		return 0, fmt.Errorf("/proc/thread-self/ns/net: %w", err)
	}
	return uint32(here.Ino), nil
}

// stop detaches the programs, so that read returns.
func (t *trace) stop() error {
	variables := t.collection.Variables
	return errors.Join(t.detach(), variables[endsVarBirths].Get(&t.births),
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
	flagEarlier
)

func (l *endsLife) end() SocketEnd {
	e := SocketEnd{
		Server:   addrPort(l.Server, l.ServerPort),
		Client:   addrPort(l.Client, l.ClientPort),
		Cookie:   l.Cookie,
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

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

//go:generate ../../../scripts/bpf2go.sh -type event -type endpoint losses losses.c

// LossKind is what the kernel did.
type LossKind uint8

// The kinds of LossEvent, as losses.c numbers them.
const (
	// ResetSent: the kernel sent a RST, in answer to a segment or to end a connection.
	ResetSent LossKind = iota + 1
	// SegmentDropped: the kernel threw a TCP segment away, and did not answer it with a RST.
	SegmentDropped
	// ListenerClosed: a socket ceased to listen. The resets of what was queued there come after it.
	ListenerClosed
)

func (k LossKind) String() string {
	switch k {
	case ResetSent:
		return "reset sent"
	case SegmentDropped:
		return "segment dropped"
	case ListenerClosed:
		return "listener closed"
	}
	return "LossKind(" + strconv.Itoa(int(k)) + ")"
}

// A LossEvent is one thing the kernel did that ends or refuses a connection, or may.
type LossEvent struct {
	At   int64 // CLOCK_MONOTONIC, ns
	Kind LossKind
	// Reason is the kernel's own name for why, in lower case and without its prefix: from enum
	// sk_rst_reason for ResetSent, from enum skb_drop_reason for SegmentDropped. ListenerClosed has
	// none. A number without a name is "reason_" and it.
	Reason string
	// Source and Destination are those of the segment that was answered or dropped. Of a reset that
	// answers none, Destination is the end that sent it, and Source its peer. ListenerClosed has no
	// Source.
	Source, Destination netip.AddrPort
	Flags               uint8  // of that segment: byte 13 of its header (RFC 9293, 3.1); 0 without a segment
	Sequence            uint32 // of that segment
	// Socket is the inode of the socket that the kernel had in hand (stat(2)): who received the
	// segment, or, where it was dropped on its way out, who sent it. It is 0 without a socket, and
	// for one that was not accepted yet, was closed by its process, is a connection request, or is
	// in TIME_WAIT. That tells a connection that was reset in the accept queue from one that its
	// server reset (SO_LINGER of 0 s): the reason of both is tcp_state. Beware: the final ACK of a
	// handshake whose listener is gone is received by another listener of its group, which has
	// nothing to do with why it is reset.
	Socket uint64
	// State is the TCP state of that socket (include/net/tcp_states.h), 0 without one. What is
	// reset when it, or its listener, is closed is in TCP_CLOSE by then; what ceases to listen is
	// still in TCP_LISTEN.
	State uint8
	// PID is the process on whose time it happened, as the PID namespace of this process numbers
	// it: 0 for one that is not in it, and for an idle CPU. Listeners are closed, and what they had
	// queued is reset, on the time of who closed them. But what has Flags happens while segments
	// are received, and that is on anybody's time: on loopback often the sender's.
	PID int
}

// LossTraceOptions says what is reported.
type LossTraceOptions struct {
	// Namespaces are the network namespaces, by their inodes as stat(2) of /proc/PID/ns/net has
	// them. Nil: Servers alone decide.
	Namespaces []uint32
	// Servers are where servers listen. What cannot be told to be in any namespace is reported if
	// one of its ends is among them; without Namespaces that is so for everything. An unspecified
	// address stands for all, of either family.
	Servers []netip.AddrPort
	// BufferBytes is the size of the ring where events wait to be read, 80 bytes each: a power of
	// two, and a multiple of the page size. 0: 4 MiB.
	BufferBytes int
	// Types are this kernel's, to which the programs are fitted. Reading them is most of what a
	// start takes, so whoever starts several traces keeps them. Nil: they are read for this trace
	// alone.
	Types *btf.Cache
}

const defaultLossBuffer = 4 << 20

// A LossTrace reports why the kernel ended or refused TCP connections, by eBPF programs (losses.c)
// at the tracepoints tcp_send_reset, kfree_skb and inet_sock_set_state. The caller closes it. It is
// safe for concurrent use.
//
// Each occurrence is one event: a segment that is answered with a RST is dropped after that, which
// is not reported again. Nor is what is no loss for certain: segments that were used up, a RST for
// a connection that is gone, what arrives in TIME_WAIT (but a SYN), the FIN that a closed socket
// had not read yet, and the ACK of a handshake at a listener with TCP_DEFER_ACCEPT. So an ordinary
// connection causes no event, whichever end closes it first; but before Linux 6.11, which does not
// say who received a segment, the FIN in TIME_WAIT and such an ACK are reported.
//
// Some losses cause none either. A SYN that meets a full accept queue is freed as if it had been of
// use (tcp_rcv_state_process in net/ipv4/tcp_input.c): see the counter ListenOverflows; only of the
// final ACK that does it is said. RSTs that are made by netfilter's reject are not TCP's, but the
// segment that they answer is dropped. A segment behind IPv6 extension headers is not recognised,
// nor a fragment but the first.
type LossTrace struct {
	collection *ebpf.Collection
	links      []link.Link
	missing    []string
	reasons    map[LossKind]map[uint32]string

	reading sync.Mutex // held by Read as long as it runs
	reader  *ringbuf.Reader

	state  sync.Mutex
	closed bool
	drops  uint64 // final, once closed
}

// NewLossTrace begins to trace. It takes CAP_BPF and CAP_PERFMON in the initial user namespace, or
// CAP_SYS_ADMIN there; without, the error says what is missing and is unix.EPERM. A kernel without
// ring buffers (before Linux 5.8) or without type information is ErrNotSupported. One that merely
// lacks a tracepoint, or passes too little to it, is no error: see Missing.
func NewLossTrace(o LossTraceOptions) (*LossTrace, error) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		return nil, fmt.Errorf("losses: needs %s; run as root: %w",
			strings.Join(missing, " and "), unix.EPERM)
	}
	t, err := newLossTrace(o)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", explainTracing(err))
	}
	return t, nil
}

func newLossTrace(o LossTraceOptions) (*LossTrace, error) {
	if o.Types == nil {
		o.Types = btf.NewCache()
	}
	types, err := o.Types.Kernel()
	if err != nil {
		return nil, err
	}
	spec, err := loadLosses()
	if err != nil {
		return nil, err
	}
	if err := configureLossTrace(spec, types, o); err != nil {
		return nil, err
	}
	t := &LossTrace{
		missing: dropMissing(spec, types),
		reasons: map[LossKind]map[uint32]string{
			ResetSent:      reasonNames(types, "sk_rst_reason", "SK_RST_REASON_"),
			SegmentDropped: reasonNames(types, "skb_drop_reason", "SKB_DROP_REASON_"),
		},
	}
	if t.collection, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: o.Types}); err != nil {
		return nil, err
	}
	if err := t.start(o); err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t, nil
}

// configureLossTrace sets what is fixed once the programs are loaded.
func configureLossTrace(spec *ebpf.CollectionSpec, types *btf.Spec, o LossTraceOptions) error {
	if len(o.Namespaces) == 0 && len(o.Servers) == 0 {
		return errors.New("neither namespaces nor servers were given")
	}
	if o.BufferBytes < 0 || o.BufferBytes > math.MaxInt32 {
		return fmt.Errorf("a buffer of %d bytes", o.BufferBytes)
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = defaultLossBuffer
	}
	var pids unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &pids); err != nil {
		return fmt.Errorf("/proc/self/ns/pid: %w", err)
	}
	spec.Maps[lossesMapEvents].MaxEntries = uint32(o.BufferBytes)
	spec.Maps[lossesMapNamespaces].MaxEntries = uint32(max(len(o.Namespaces), 1))
	spec.Maps[lossesMapServers].MaxEntries = uint32(max(len(o.Servers), 1))
	return errors.Join(
		spec.Variables[lossesVarPidNamespace].Set(uint32(pids.Ino)),
		spec.Variables[lossesVarAnyNamespace].Set(len(o.Namespaces) == 0),
		spec.Variables[lossesVarDropHasReceiver].Set(tracepointArguments(types, "kfree_skb") > 3),
	)
}

// dropMissing takes the programs out of spec that this kernel has no tracepoint for, or one that is
// handed no reason, and returns the names of those tracepoints.
func dropMissing(spec *ebpf.CollectionSpec, types *btf.Spec) (missing []string) {
	const needed = 3
	for name, program := range spec.Programs {
		if tracepointArguments(types, program.AttachTo) < needed {
			missing = append(missing, program.AttachTo)
			delete(spec.Programs, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// tracepointArguments is how many arguments the kernel hands to programs at a tracepoint, 0 if
// there is no such. Source: the type btf_trace_NAME, a pointer to a function that has one argument
// before those (include/trace/bpf_probe.h).
func tracepointArguments(types *btf.Spec, name string) int {
	var t *btf.Typedef
	if err := types.TypeByName("btf_trace_"+name, &t); err != nil {
		return 0
	}
	pointer, _ := t.Type.(*btf.Pointer)
	if pointer == nil {
		return 0
	}
	function, _ := pointer.Target.(*btf.FuncProto)
	if function == nil {
		return 0
	}
	return len(function.Params) - 1
}

// reasonNames are those of an enum of this kernel, without prefix. Where there is no such enum,
// there are no names.
func reasonNames(types *btf.Spec, enum, prefix string) map[uint32]string {
	names := map[uint32]string{}
	var t *btf.Enum
	if err := types.TypeByName(enum, &t); err != nil {
		return names
	}
	for _, v := range t.Values {
		names[uint32(v.Value)] = strings.ToLower(strings.TrimPrefix(v.Name, prefix))
	}
	return names
}

// start fills the maps and attaches the programs.
func (t *LossTrace) start(o LossTraceOptions) (err error) {
	for _, inode := range o.Namespaces {
		if err := t.collection.Maps[lossesMapNamespaces].Put(inode, true); err != nil {
			return fmt.Errorf("namespaces: %w", err)
		}
	}
	for _, server := range o.Servers {
		endpoint := lossesEndpoint{Port: server.Port()}
		if !server.Addr().IsUnspecified() {
			endpoint.Address = server.Addr().As16()
		}
		if err := t.collection.Maps[lossesMapServers].Put(endpoint, true); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
	}
	if t.reader, err = ringbuf.NewReader(t.collection.Maps[lossesMapEvents]); err != nil {
		return err
	}
	for name, program := range t.collection.Programs {
		attached, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		t.links = append(t.links, attached)
	}
	return nil
}

// Missing names the tracepoints that this kernel lacks, or to which it passes no reason:
// tcp_send_reset before Linux 6.10, kfree_skb before 5.17. Nothing is reported from there.
func (t *LossTrace) Missing() []string { return slices.Clone(t.missing) }

// Read calls f for each event, one at a time and in the order of the ring, until Close; then, once
// all that happened before has been delivered, it returns nil. Events wait in the ring until it is
// half full, or until Close. f must not call Close.
func (t *LossTrace) Read(f func(LossEvent)) error {
	t.reading.Lock()
	defer t.reading.Unlock()
	var record ringbuf.Record
	for {
		err := t.reader.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("losses: %w", err)
		}
		var raw lossesEvent
		if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &raw); err != nil {
			return fmt.Errorf("losses: an event of %d bytes: %w", len(record.RawSample), err)
		}
		f(t.event(&raw))
	}
}

func (t *LossTrace) event(raw *lossesEvent) LossEvent {
	e := LossEvent{
		At: int64(raw.At), Kind: LossKind(raw.Kind),
		Destination: addrPort(raw.Destination, raw.DestinationPort),
		Flags:       raw.Flags, Sequence: raw.Sequence,
		Socket: raw.Inode, State: raw.State, PID: int(raw.Process),
	}
	if e.Kind == ListenerClosed {
		return e
	}
	e.Source = addrPort(raw.Source, raw.SourcePort)
	if e.Reason = t.reasons[e.Kind][raw.Reason]; e.Reason == "" {
		e.Reason = fmt.Sprintf("reason_%d", raw.Reason)
	}
	return e
}

func addrPort(address [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
}

// Drops returns how many events found no room, and so were lost; after Close, how many there were
// in all.
func (t *LossTrace) Drops() (uint64, error) {
	t.state.Lock()
	defer t.state.Unlock()
	if t.closed {
		return t.drops, nil
	}
	return t.readDrops()
}

func (t *LossTrace) readDrops() (n uint64, err error) {
	if err := t.collection.Variables[lossesVarLost].Get(&n); err != nil {
		return 0, fmt.Errorf("losses: %w", err)
	}
	return n, nil
}

// Close ends the trace, waits until a Read in progress has delivered the rest, and unloads the
// programs. Without one the rest is gone. A second call does nothing.
func (t *LossTrace) Close() error {
	first, err := t.stop()
	if !first {
		return nil
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	return errors.Join(err, t.release())
}

// stop lets no more events come, and Read end. It reports whether it was called for the first time.
func (t *LossTrace) stop() (first bool, err error) {
	t.state.Lock()
	defer t.state.Unlock()
	if t.closed {
		return false, nil
	}
	t.closed = true
	detached := t.detach()
	t.drops, err = t.readDrops()
	return true, errors.Join(detached, err, t.reader.Flush())
}

func (t *LossTrace) detach() (err error) {
	for _, attached := range t.links {
		err = errors.Join(err, attached.Close())
	}
	t.links = nil
	return err
}

func (t *LossTrace) release() error {
	err := t.detach()
	if t.reader != nil {
		err = errors.Join(err, t.reader.Close())
	}
	t.collection.Close()
	return err
}

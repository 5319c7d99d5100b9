package kernel

import (
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

// LossKind is the kind of action that a LossEvent describes.
type LossKind uint8

// The kinds of LossEvent, with the same numbers as in losses.c.
const (
	// ResetSent: the kernel sent a RST, in answer to a segment or to end a connection.
	ResetSent LossKind = iota + 1
	// SegmentDropped: the kernel dropped a TCP segment, and did not answer it with a RST.
	SegmentDropped
	// ListenerClosed: a socket stopped listening. The resets of the connections in its queue
	// follow.
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

// A LossEvent is an action of the kernel that ends or refuses a connection, or may do so.
type LossEvent struct {
	At   int64 // CLOCK_MONOTONIC, ns
	Kind LossKind
	// Reason is the kernel's name for the reason, in lower case and without its prefix: from enum
	// sk_rst_reason for ResetSent, from enum skb_drop_reason for SegmentDropped. A number without a
	// name becomes "reason_" and the number. ListenerClosed has no reason.
	Reason string
	// Source and Destination are the addresses of the segment that was answered or dropped. If a
	// reset answers no segment, Destination is the end that sent the reset and Source is its peer.
	// ListenerClosed has no Source.
	Source, Destination netip.AddrPort
	// Flags is byte 13 of the segment's header (RFC 9293, 3.1), or 0 if there is no segment.
	Flags    uint8
	Sequence uint32 // sequence number of the segment
	// Socket is the inode (stat(2)) of the socket that received the segment or, if the segment was
	// dropped on its way out, of the socket that sent the segment. It is 0 if there is no socket,
	// or if the socket was not accepted yet, was closed by its process, is a connection request, or
	// is in TIME_WAIT. So Socket distinguishes a connection that was reset in the accept queue from
	// one that its server reset (SO_LINGER of 0 s). Both have the same reason, tcp_state. Beware:
	// if a listener is closed during a handshake, another listener of the group receives the final
	// ACK. Socket is then that other listener, which has nothing to do with the reset.
	Socket uint64
	// State is the TCP state of that socket (include/net/tcp_states.h), or 0 if there is no socket.
	// A connection that is reset because the connection itself or its listener was closed is
	// already in TCP_CLOSE. A socket that stops listening is still in TCP_LISTEN.
	State uint8
	// PID is the number of the process that was running, in this process's PID namespace. It is 0
	// for a process outside that namespace and for an idle CPU. When a listener is closed, PID is
	// the process that closed the listener, also in the events for the resets of the queued
	// connections. An event with Flags happens while a segment is received. At that time any
	// process may be running; on loopback it is often the sender.
	PID int
}

// LossTraceOptions selects the events that a LossTrace reports.
type LossTraceOptions struct {
	// Namespaces are the inodes of the network namespaces to report on, as stat(2) of
	// /proc/PID/ns/net returns them. If it is nil, only Servers selects events.
	Namespaces []uint32
	// Servers are the addresses at which servers listen. An event whose namespace is unknown is
	// reported if its source or destination is one of them. Without Namespaces, that rule applies
	// to every event. An unspecified address matches all addresses of either family.
	Servers []netip.AddrPort
	// BufferBytes is the size of the ring in which events wait to be read, 80 bytes each. It must
	// be a power of two and a multiple of the page size. 0 means 4 MiB.
	BufferBytes int
	// Types are this kernel's types, to which the programs are adapted. Reading the types takes
	// most of the time of a start, so a caller that starts several traces should share a cache. If
	// it is nil, the types are read for this trace only.
	Types *btf.Cache
}

const defaultLossBuffer = 4 << 20

// A LossTrace reports why the kernel ended or refused TCP connections. It uses eBPF programs
// (losses.c) at the tracepoints tcp_send_reset, kfree_skb and inet_sock_set_state. It is safe for
// concurrent use. The caller closes it.
//
// A reset and the drop of the segment that it answers are reported as one event, ResetSent. A
// LossTrace does not report drops that are certainly no loss: segments that were consumed, a RST
// for a connection that is gone, any segment but a SYN that arrives in TIME_WAIT, a FIN that a
// closed socket had not read, and the ACK of a handshake at a listener with TCP_DEFER_ACCEPT. So an
// ordinary connection causes no event, whichever end closes it first. Kernels before 6.11 do not
// report the socket that received a segment; on those kernels the FIN in TIME_WAIT and the ACK at a
// listener with TCP_DEFER_ACCEPT cause events.
//
// Some losses cause no event. A SYN that meets a full accept queue is freed as if it had been
// consumed (tcp_rcv_state_process in net/ipv4/tcp_input.c); the counter ListenOverflows counts it.
// A final ACK that meets a full queue is reported. A RST that netfilter's reject sends is not
// reported, because TCP does not send it, but the drop of the segment that it answers is reported.
// Segments behind IPv6 extension headers and fragments other than the first are not recognised.
type LossTrace struct {
	collection *ebpf.Collection
	links      []link.Link
	missing    []string
	reasons    map[LossKind]map[uint32]string

	reading sync.Mutex // held by Read while it runs
	reader  *ringbuf.Reader

	state  sync.Mutex
	closed bool
	drops  uint64 // valid once closed
}

// NewLossTrace starts a trace. It needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the initial
// user namespace; otherwise the error is unix.EPERM and names the missing capabilities. The error
// is ErrNotSupported if the kernel has no ring buffers (before Linux 5.8) or no type information.
// If the kernel only lacks a tracepoint, or passes too few arguments to it, NewLossTrace returns no
// error: see Missing.
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
	options := ebpf.CollectionOptions{Cache: o.Types}
	if t.collection, err = ebpf.NewCollectionWithOptions(spec, options); err != nil {
		return nil, err
	}
	if err := t.start(o); err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t, nil
}

// configureLossTrace sets the variables and sizes that cannot change once the programs are loaded.
func configureLossTrace(spec *ebpf.CollectionSpec, types *btf.Spec, o LossTraceOptions) error {
	if len(o.Namespaces) == 0 && len(o.Servers) == 0 {
		return errors.New("neither namespaces nor servers were given")
	}
	if o.BufferBytes < 0 || o.BufferBytes > math.MaxInt32 {
		return fmt.Errorf("the size of the buffer, %d bytes, is out of range", o.BufferBytes)
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

// dropMissing removes the programs from spec whose tracepoint this kernel lacks, or has without the
// reason argument. It returns the names of those tracepoints.
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

// tracepointArguments returns the number of arguments that the kernel passes to programs at a
// tracepoint, or 0 if the kernel lacks the tracepoint. Source: the type btf_trace_NAME, a pointer
// to a function that has one additional argument before those (include/trace/bpf_probe.h).
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

// reasonNames returns the names of an enum of this kernel by number, in lower case and without
// prefix. It returns no names if the kernel lacks the enum.
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

// Missing returns the tracepoints that this kernel lacks, or has without the reason argument:
// tcp_send_reset before Linux 6.10, kfree_skb before 5.17. The trace has no events from them.
func (t *LossTrace) Missing() []string { return slices.Clone(t.missing) }

// Read calls f for each event, one at a time and in the order of the ring. After Close it delivers
// the remaining events and returns nil. Events are not delivered until the ring is half full, or
// until Close. f must not call Close.
func (t *LossTrace) Read(f func(LossEvent)) error {
	t.reading.Lock()
	defer t.reading.Unlock()
	if err := ReadRing(t.reader, func(raw *lossesEvent) { f(t.event(raw)) }); err != nil {
		return fmt.Errorf("losses: %w", err)
	}
	return nil
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

// Drops returns the number of events that were lost so far because the ring had no room. After
// Close it returns the final number.
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

// Close ends the trace, waits until a Read in progress has delivered the remaining events, and
// unloads the programs. If no Read is in progress, those events are lost. A second call does
// nothing.
func (t *LossTrace) Close() error {
	first, err := t.stop()
	if !first {
		return nil
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	return errors.Join(err, t.release())
}

// stop detaches the programs and lets Read end. It reports whether this was the first call.
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

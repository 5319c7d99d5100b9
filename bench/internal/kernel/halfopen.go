package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

//go:generate ../../../scripts/bpf2go.sh halfopen halfopen.c

// A HalfOpenReader counts each listener's half-open connections: those whose SYN was answered and
// whose final ACK has not arrived. The kernel calls them connection requests (TCP_NEW_SYN_RECV).
// With TCP_DEFER_ACCEPT a connection stays a request until data follows the ACK. SYN cookies and
// TCP Fast Open leave no request.
//
// A HalfOpenReader is not safe for concurrent use. The caller closes it.
//
// It uses an eBPF iterator over TCP sockets (halfopen.c), because sock_diag(7) and /proc/net/tcp do
// not tell which listener a request belongs to: they show the request's inode as 0
// (inet_req_diag_fill in net/ipv4/inet_diag.c, get_openreq4 in net/ipv4/tcp_ipv4.c).
type HalfOpenReader struct {
	iterator *link.Iter
	buffer   []byte // its length is a multiple of recordSize
}

// recordSize is the size of the record that the program writes for each request, in bytes.
const recordSize = 8

// NewHalfOpenReader loads the program and adapts it to the kernel's types. If types is nil, it
// reads the types itself. NewHalfOpenReader needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the
// initial user namespace; otherwise the error is unix.EPERM and names the missing capabilities. The
// error is ErrNotSupported if the kernel has no such iterator (before Linux 5.9) or no type
// information.
func NewHalfOpenReader(types *btf.Cache) (*HalfOpenReader, error) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		return nil, fmt.Errorf("half-open connections: needs %s; run as root: %w",
			strings.Join(missing, " and "), unix.EPERM)
	}
	var objects halfopenObjects
	if err := loadHalfopenObjects(&objects, &ebpf.CollectionOptions{Cache: types}); err != nil {
		return nil, fmt.Errorf("half-open connections: %w", explainTracing(err))
	}
	defer objects.Close() // the iterator keeps the program loaded
	iterator, err := link.AttachIter(link.IterOptions{Program: objects.HalfOpen})
	if err != nil {
		return nil, fmt.Errorf("half-open connections: %w", explainTracing(err))
	}
	return &HalfOpenReader{iterator: iterator, buffer: make([]byte, 32<<10)}, nil
}

// explainTracing returns ErrNotSupported if err means that the kernel lacks a feature that the
// program needs. Otherwise it returns err.
func explainTracing(err error) error {
	if LacksTracing(err) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

// LacksTracing reports whether err means that the kernel lacks something that this package's BPF
// programs need: type information (BTF), or the tracepoint or iterator to which a program attaches.
// It returns false if the kernel has them but refuses permission.
func LacksTracing(err error) bool {
	return errors.Is(err, btf.ErrNotFound) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EPERM)
}

// Read walks the TCP sockets of the calling thread's network namespace, IPv4 and IPv6. It returns
// the number of connection requests of each listener, by the listener's inode (stat(2)). Listeners
// without requests are absent. Requests of closed listeners are counted under 0 until the final ACK
// arrives or the timer of the SYN-ACK expires (after 1 s at first). At that time the kernel ends
// these requests or, with net.ipv4.tcp_migrate_req, moves them to another listener.
//
// The result is not a snapshot: requests that come or go during the walk may or may not be counted.
// A walk is expensive. The kernel looks into every bucket of a hash table
// (net.ipv4.tcp_ehash_entries). All namespaces share that table, unless
// net.ipv4.tcp_child_ehash_entries was set when this namespace was made. The kernel also locks each
// listener and connection of the namespace for an instant (bpf_iter_tcp_seq_show in
// net/ipv4/tcp_ipv4.c).
func (r *HalfOpenReader) Read() (map[uint64]int, error) {
	// Open determines the namespace (bpf_iter_init_seq_net in fs/proc/proc_net.c).
	records, err := r.iterator.Open()
	if err != nil {
		return nil, fmt.Errorf("half-open connections: %w", err)
	}
	byListener, err := countInodes(records, r.buffer)
	if err := errors.Join(err, records.Close()); err != nil {
		return nil, fmt.Errorf("half-open connections: %w", err)
	}
	return byListener, nil
}

// countInodes returns the number of times that each inode occurs in records.
func countInodes(records io.Reader, buffer []byte) (map[uint64]int, error) {
	counts := map[uint64]int{}
	for {
		n, err := io.ReadFull(records, buffer)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return nil, err
		}
		if n%recordSize != 0 {
			return nil, errors.New("record cut off")
		}
		for i := 0; i < n; i += recordSize {
			counts[binary.NativeEndian.Uint64(buffer[i:])]++
		}
		if ended {
			return counts, nil
		}
	}
}

// Close unloads the program.
func (r *HalfOpenReader) Close() error { return r.iterator.Close() }

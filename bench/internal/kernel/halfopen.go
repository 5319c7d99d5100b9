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

// A HalfOpenReader counts connection requests (TCP_NEW_SYN_RECV: SYN answered, final ACK
// outstanding) by listener. With TCP_DEFER_ACCEPT also a connection that sent its ACK, but no data
// yet, is such a request. SYN cookies leave none, nor does TCP Fast Open. It is not safe for
// concurrent use; the caller closes it.
//
// It is an eBPF iterator over TCP sockets (halfopen.c), because sock_diag(7) and /proc/net/tcp show
// connection requests without saying whose they are: their inode is 0 (inet_req_diag_fill in
// net/ipv4/inet_diag.c, get_openreq4 in net/ipv4/tcp_ipv4.c).
type HalfOpenReader struct {
	iterator *link.Iter
	buffer   []byte // a multiple of recordSize
}

// recordSize is that of what the program writes for each connection request, in bytes.
const recordSize = 8

// NewHalfOpenReader loads the program and fits it to the kernel's types; nil: it reads them itself.
// It takes CAP_BPF and CAP_PERFMON in the initial user namespace, or CAP_SYS_ADMIN there; without,
// the error says what is missing and is unix.EPERM. A kernel without such an iterator (before Linux
// 5.9) or without type information is ErrNotSupported.
func NewHalfOpenReader(types *btf.Cache) (*HalfOpenReader, error) {
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		return nil, fmt.Errorf("half-open connections: needs %s; run as root: %w",
			strings.Join(missing, " and "), unix.EPERM)
	}
	var objects halfopenObjects
	if err := loadHalfopenObjects(&objects, &ebpf.CollectionOptions{Cache: types}); err != nil {
		return nil, fmt.Errorf("half-open connections: %w", explainTracing(err))
	}
	defer objects.Close() // the iterator keeps the program
	iterator, err := link.AttachIter(link.IterOptions{Program: objects.HalfOpen})
	if err != nil {
		return nil, fmt.Errorf("half-open connections: %w", explainTracing(err))
	}
	return &HalfOpenReader{iterator: iterator, buffer: make([]byte, 32<<10)}, nil
}

// explainTracing makes the error of a kernel that has not what the program needs ErrNotSupported.
func explainTracing(err error) error {
	if LacksTracing(err) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

// LacksTracing reports whether err says that the kernel lacks what is to be traced, or type
// information, rather than that it refuses.
func LacksTracing(err error) bool {
	return errors.Is(err, btf.ErrNotFound) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EPERM)
}

// Read walks the TCP sockets of the calling thread's network namespace, of either family, and
// returns how many connection requests each listener holds, by the listener's inode (stat(2)). A
// listener that holds none is absent. Those of listeners that were closed are under 0, until the
// final ACK or the timer of the SYN-ACK (1 s at first) comes: then they end, or with
// net.ipv4.tcp_migrate_req go to another listener.
//
// It is no snapshot: requests that come or go during the walk may be in it or not. And it is not
// for free: the kernel looks into every bucket of a hash table (net.ipv4.tcp_ehash_entries), which
// all namespaces share unless net.ipv4.tcp_child_ehash_entries was set when this one was made, and
// it locks each listener and connection of the namespace for an instant (bpf_iter_tcp_seq_show in
// net/ipv4/tcp_ipv4.c).
func (r *HalfOpenReader) Read() (map[uint64]int, error) {
	records, err := r.iterator.Open() // from here on the namespace is fixed (bpf_iter_init_seq_net in fs/proc/proc_net.c)
	if err != nil {
		return nil, fmt.Errorf("half-open connections: %w", err)
	}
	byListener, err := countInodes(records, r.buffer)
	if err := errors.Join(err, records.Close()); err != nil {
		return nil, fmt.Errorf("half-open connections: %w", err)
	}
	return byListener, nil
}

// countInodes counts how often each inode occurs in records.
func countInodes(records io.Reader, buffer []byte) (map[uint64]int, error) {
	counts := map[uint64]int{}
	for {
		n, err := io.ReadFull(records, buffer)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return nil, err
		}
		if n%recordSize != 0 {
			return nil, errors.New("a record that is cut off")
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

// Package journal is a worker's account of its connections, in memory that it shares with its
// parent.
//
// A journal is a single-producer, single-consumer ring in a memfd that both processes map. It costs
// the worker no system call, and it survives SIGKILL: what a killed worker had accepted, read and
// answered is still there. It is meant to be read when nothing is measured any longer; a worker
// whose ring fills before that says so.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/wire"
)

// A Record is one entry of a worker's journal.
type Record struct {
	At   clock.Instant
	Conn uint32 // counts the worker's connections, from 0
	Kind Kind
	End  End // with Ended
	// Errno, with Ended, is the error that the connection ended with; 0: none.
	Errno unix.Errno
	Peer  netip.AddrPort // with Accepted
	// Attempt, with Requested and Answered; Identified is false for a client that sent none.
	Attempt    wire.Attempt
	Identified bool
}

// Kind is what happened to a connection.
type Kind uint8

// The kinds of record, in the order of a connection's life.
const (
	Accepted  Kind = iota + 1
	Requested      // a whole request was read
	Answered       // the whole response was handed to the kernel
	Ended
)

// End is why a connection ended, as its worker sees it.
type End uint8

// The ends of a connection.
const (
	EndServed     End = iota + 1 // closed by the worker after its last response
	EndPeer                      // closed by the client, in order
	EndPeerReset                 // reset by the client, or a socket error
	EndUnanswered                // closed by the worker while a request was under way or none had come
	EndAborted                   // reset by the worker, on purpose (Fault)
	EndWriteError                // the response could not be handed to the kernel
	EndUnhandled                 // as EndUnanswered, of a request that no handler was given
)

// PerRequest is how many records a connection with one request takes: one of each kind.
const PerRequest = 4

// The layout is a header page, then records of recordSize bytes, little endian.
const (
	recordSize  = 32
	headerSize  = 4096
	pageRecords = 4096 / recordSize
	// chunk is how many records Drain reads before it gives their memory back: 1 MiB.
	chunk = 1 << 15
)

// header is the start of the header page. The counters only grow.
type header struct {
	written uint64 // records, by the worker
	_       [56]byte
	read    uint64 // records, by the parent
	_       [56]byte
	missed  uint64 // records the worker could not write because the ring was full
	_       [56]byte
	mark    uint64 // unread records at which the worker asks to be read; set once
}

// A Journal is one process's mapping of the ring: the worker Appends, the parent Drains.
type Journal struct {
	mem     []byte
	header  *header
	records uint64 // that the ring has room for
	// asked is, in the worker, what the parent had read when it was asked to read, plus one; 0: it
	// was not asked yet.
	asked uint64
}

// Create makes a journal and returns the parent's mapping, to be ended by Close, and the file that
// the worker is to Map, which the caller closes when the worker has it. The worker asks to be read
// once that many records, at least 1, are unread; there is room for as many again. Room that is not
// used takes no memory.
func Create(mark int) (*Journal, *os.File, error) {
	records := (2*int64(mark) + pageRecords - 1) / pageRecords * pageRecords
	f, err := sys.SizedMemoryFile("reuseport-bench-journal", headerSize+records*recordSize)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j, err := Map(int(f.Fd()))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	j.header.mark = uint64(mark)
	return j, f, nil
}

// Map maps the journal in a file; the file may be closed then. The caller ends the mapping by
// Close.
func Map(fd int) (*Journal, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("journal: fstat: %w", err)
	}
	if st.Size <= headerSize {
		return nil, fmt.Errorf("journal: a file of %d bytes is none", st.Size)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("journal: mmap: %w", err)
	}
	records := uint64(st.Size-headerSize) / recordSize
	return &Journal{mem: mem, header: (*header)(unsafe.Pointer(&mem[0])), records: records}, nil
}

// Close ends the mapping. Records that the other process has yet to drain stay.
func (j *Journal) Close() error { return unix.Munmap(j.mem) }

// at returns the bytes of record n.
func (j *Journal) at(n uint64) []byte {
	return j.mem[headerSize+n%j.records*recordSize:][:recordSize]
}

// Append writes a record, by the worker only. Where the ring is full it counts a missed one
// instead. It returns true when the worker is to ask its parent to Drain: more is unread than the
// mark, and the parent has not been asked since it read last.
func (j *Journal) Append(r Record) (ask bool) {
	n, read := j.header.written, atomic.LoadUint64(&j.header.read)
	if n-read >= j.records {
		atomic.AddUint64(&j.header.missed, 1)
		return false
	}
	b := j.at(n)
	le := binary.LittleEndian
	le.PutUint64(b, uint64(r.At))
	le.PutUint32(b[8:], r.Conn)
	b[12] = byte(r.Kind)
	switch r.Kind {
	case Accepted:
		addr := r.Peer.Addr().As16()
		b[13] = 0
		le.PutUint16(b[14:], r.Peer.Port())
		copy(b[16:], addr[:])
	case Requested, Answered:
		b[13] = r.Attempt.Try << 1
		if r.Identified {
			b[13] |= 1
		}
		le.PutUint16(b[14:], r.Attempt.Process)
		le.PutUint64(b[16:], r.Attempt.Sequence)
	case Ended:
		b[13] = byte(r.End)
		le.PutUint16(b[14:], uint16(r.Errno))
	}
	atomic.StoreUint64(&j.header.written, n+1) // publishes the record
	if n+1-read < j.header.mark || j.asked == read+1 {
		return false
	}
	j.asked = read + 1
	return true
}

// Unread returns how many records wait to be drained.
func (j *Journal) Unread() uint64 {
	return atomic.LoadUint64(&j.header.written) - atomic.LoadUint64(&j.header.read)
}

// Drain hands every unread record to f, by the parent only, gives back the memory that they took,
// and returns how many records the worker has missed so far.
func (j *Journal) Drain(f func(Record)) (missed uint64) {
	for from := j.header.read; ; {
		to := min(atomic.LoadUint64(&j.header.written), from+chunk)
		if from == to {
			return atomic.LoadUint64(&j.header.missed)
		}
		for n := from; n < to; n++ {
			f(j.record(n))
		}
		j.release(from, to)
		atomic.StoreUint64(&j.header.read, to) // the worker may write there again
		from = to
	}
}

func (j *Journal) record(n uint64) Record {
	b, le := j.at(n), binary.LittleEndian
	r := Record{At: clock.Instant(le.Uint64(b)), Conn: le.Uint32(b[8:]), Kind: Kind(b[12])}
	switch r.Kind {
	case Accepted:
		addr := netip.AddrFrom16([16]byte(b[16:32])).Unmap()
		r.Peer = netip.AddrPortFrom(addr, le.Uint16(b[14:]))
	case Requested, Answered:
		r.Identified = b[13]&1 == 1
		r.Attempt = wire.Attempt{Process: le.Uint16(b[14:]), Sequence: le.Uint64(b[16:]), Try: b[13] >> 1}
	case Ended:
		r.End, r.Errno = End(b[13]), unix.Errno(le.Uint16(b[14:]))
	}
	return r
}

// release gives back the whole pages among records [from, to), which both processes see as zeros
// from then on (madvise(2), MADV_REMOVE). A kernel that refuses leaves the memory where it is.
func (j *Journal) release(from, to uint64) {
	first := from % j.records
	last := first + to - from
	for _, span := range [][2]uint64{{first, min(last, j.records)}, {0, max(last, j.records) - j.records}} {
		a := (span[0] + pageRecords - 1) / pageRecords * pageRecords
		if b := span[1] / pageRecords * pageRecords; a < b {
			_ = unix.Madvise(j.mem[headerSize+a*recordSize:headerSize+b*recordSize], unix.MADV_REMOVE)
		}
	}
}

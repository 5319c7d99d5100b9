// Package journal implements a worker's record of its connections, in memory shared with its
// parent.
//
// A journal is a single-producer, single-consumer ring in a memfd that both processes map. Writing
// it costs the worker no system call. It survives SIGKILL, so it shows what a killed worker had
// accepted, read and answered. The parent should read the journal when nothing is being measured.
// If the ring fills up earlier, the worker asks its parent to read it.
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
	Conn uint32 // the number of the connection within the worker, from 0
	Kind Kind
	End  End // valid with Ended
	// Errno, with Ended, is the error that ended the connection; 0: none.
	Errno unix.Errno
	Peer  netip.AddrPort // valid with Accepted
	// Attempt, with Requested and Answered, is valid if Identified is set. A client may send no
	// attempt identity.
	Attempt    wire.Attempt
	Identified bool
}

// Kind is the kind of event that a record describes.
type Kind uint8

// The kinds of record, in the order of a connection's life.
const (
	Accepted  Kind = iota + 1
	Requested      // a whole request was read
	Answered       // the whole response was handed to the kernel
	Ended
)

// End is the reason that a connection ended, as far as its worker knows.
type End uint8

// The ends of a connection.
const (
	EndServed     End = iota + 1 // closed by the worker after its last response
	EndPeer                      // closed by the client with a FIN
	EndPeerReset                 // reset by the client, or a socket error
	EndUnanswered                // closed by the worker before a response, or before any request
	EndAborted                   // reset by the worker, deliberately (Fault)
	EndWriteError                // the response could not be handed to the kernel
	EndUnhandled                 // like EndUnanswered, but no handler got the request
)

// PerRequest is the number of records for a connection with one request: one of each kind.
const PerRequest = 4

// The layout is a header page, then records of recordSize bytes, little endian.
const (
	recordSize  = 32
	headerSize  = 4096
	pageRecords = 4096 / recordSize
	// chunk is the number of records that Drain reads before it releases their memory, 1 MiB.
	chunk = 1 << 15
)

// header is the start of the header page. The counters only grow.
type header struct {
	written uint64 // number of records that the worker has written
	_       [56]byte
	read    uint64 // number of records that the parent has read
	_       [56]byte
	missed  uint64 // number of records dropped because the ring was full
	_       [56]byte
	mark    uint64 // number of unread records at which the worker asks for a read; set once
}

// A Journal is one process's mapping of the ring. The worker calls Append, the parent Drain.
type Journal struct {
	mem     []byte
	header  *header
	records uint64 // capacity of the ring
	// asked, in the worker, is the value of header.read when the worker last asked for a read, plus
	// one; 0: the worker has not asked yet.
	asked uint64
}

// Create makes a journal. It returns the parent's mapping, which the caller ends with Close, and a
// file that the worker passes to Map. The caller closes the file once the worker has inherited it.
// The worker asks for a read when mark records are unread. mark is at least 1, and the ring holds
// at least twice as many records. Unused room takes no memory.
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

// Map maps the journal in a file. The caller may close the file afterwards, and ends the mapping
// with Close.
func Map(fd int) (*Journal, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("journal: fstat: %w", err)
	}
	if st.Size <= headerSize {
		return nil, fmt.Errorf("journal: a file of %d bytes is too small for a journal", st.Size)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("journal: mmap: %w", err)
	}
	records := uint64(st.Size-headerSize) / recordSize
	return &Journal{mem: mem, header: (*header)(unsafe.Pointer(&mem[0])), records: records}, nil
}

// Close ends the mapping. The other process can still read the unread records.
func (j *Journal) Close() error { return unix.Munmap(j.mem) }

// at returns the bytes of record n.
func (j *Journal) at(n uint64) []byte {
	return j.mem[headerSize+n%j.records*recordSize:][:recordSize]
}

// Append writes a record. Only the worker may call it. If the ring is full, Append drops the record
// and counts it as missed. It returns true if the worker must ask its parent to call Drain: the
// number of unread records has reached the mark, and the worker has not asked since the last Drain.
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

// Unread returns the number of records that have not been drained.
func (j *Journal) Unread() uint64 {
	return atomic.LoadUint64(&j.header.written) - atomic.LoadUint64(&j.header.read)
}

// Drain passes every unread record to f and releases the memory of the records. It returns the
// number of records that Append has dropped so far. Only the parent may call it.
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
		atomic.StoreUint64(&j.header.read, to) // lets the worker reuse the room
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
		r.Attempt = wire.Attempt{
			Process: le.Uint16(b[14:]), Sequence: le.Uint64(b[16:]), Try: b[13] >> 1,
		}
	case Ended:
		r.End, r.Errno = End(b[13]), unix.Errno(le.Uint16(b[14:]))
	}
	return r
}

// release frees the pages that lie wholly within records [from, to). Both processes read them as
// zeros afterwards (madvise(2), MADV_REMOVE). If the kernel refuses, the memory stays allocated.
func (j *Journal) release(from, to uint64) {
	first := from % j.records
	last := first + to - from
	spans := [][2]uint64{{first, min(last, j.records)}, {0, max(last, j.records) - j.records}}
	for _, span := range spans {
		a := (span[0] + pageRecords - 1) / pageRecords * pageRecords
		if b := span[1] / pageRecords * pageRecords; a < b {
			pages := j.mem[headerSize+a*recordSize : headerSize+b*recordSize]
			_ = unix.Madvise(pages, unix.MADV_REMOVE)
		}
	}
}

package servers

import (
	"encoding/binary"
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
	Kind RecordKind
	End  End // with RecordEnd
	// Errno, with RecordEnd, is the error that the connection ended with; 0: none.
	Errno unix.Errno
	Peer  netip.AddrPort // with RecordAccept
	// Attempt, with RecordRequest and RecordResponse; Identified is false for a client that sent none.
	Attempt    wire.Attempt
	Identified bool
}

// RecordKind is what happened to a connection.
type RecordKind uint8

// The kinds of record, in the order of a connection's life.
const (
	RecordAccept   RecordKind = iota + 1
	RecordRequest             // a whole request was read
	RecordResponse            // the whole response was handed to the kernel
	RecordEnd
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
)

// The journal is a single-producer, single-consumer ring in a memfd that both processes map. It
// costs the worker no system call, and it survives SIGKILL: what a killed worker had accepted,
// read and answered is still there.
//
// Layout: a header page, then journalRecords records of recordSize bytes, little endian.
const (
	journalRecords = 1 << 15 // 32768 records, 1 MiB: more than a second at 8,000 connections/s
	recordSize     = 32
	headerSize     = 4096
	journalSize    = headerSize + journalRecords*recordSize
)

// journalHeader is the start of the header page. The counters only grow.
type journalHeader struct {
	written uint64 // records, by the worker
	_       [56]byte
	read    uint64 // records, by the parent
	_       [56]byte
	missed  uint64 // records the worker could not write because the ring was full
}

type journal struct {
	mem    []byte
	header *journalHeader
}

func createJournal() (*journal, *os.File, error) {
	f, err := sys.SizedMemoryFile("reuseport-bench-journal", journalSize)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j, err := mapJournal(int(f.Fd()))
	if err != nil {
		return nil, nil, joinClose(err, f)
	}
	return j, f, nil
}

func mapJournal(fd int) (*journal, error) {
	mem, err := unix.Mmap(fd, 0, journalSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("journal: mmap: %w", err)
	}
	return &journal{mem: mem, header: (*journalHeader)(unsafe.Pointer(&mem[0]))}, nil
}

func (j *journal) close() error { return unix.Munmap(j.mem) }

// append writes a record, by the worker only.
func (j *journal) append(r Record) {
	n := j.header.written
	if n-atomic.LoadUint64(&j.header.read) >= journalRecords {
		atomic.AddUint64(&j.header.missed, 1)
		return
	}
	b := j.mem[headerSize+n%journalRecords*recordSize:][:recordSize]
	le := binary.LittleEndian
	le.PutUint64(b, uint64(r.At))
	le.PutUint32(b[8:], r.Conn)
	b[12] = byte(r.Kind)
	switch r.Kind {
	case RecordAccept:
		addr := r.Peer.Addr().As16()
		b[13] = 0
		le.PutUint16(b[14:], r.Peer.Port())
		copy(b[16:], addr[:])
	case RecordRequest, RecordResponse:
		b[13] = r.Attempt.Try << 1
		if r.Identified {
			b[13] |= 1
		}
		le.PutUint16(b[14:], r.Attempt.Process)
		le.PutUint64(b[16:], r.Attempt.Sequence)
	case RecordEnd:
		b[13] = byte(r.End)
		le.PutUint16(b[14:], uint16(r.Errno))
	}
	atomic.StoreUint64(&j.header.written, n+1) // publishes the record
}

// drain hands every unread record to f, by the parent only, and returns how many records the
// worker has missed so far.
func (j *journal) drain(f func(Record)) (missed uint64) {
	le := binary.LittleEndian
	for n := j.header.read; n < atomic.LoadUint64(&j.header.written); n++ {
		b := j.mem[headerSize+n%journalRecords*recordSize:][:recordSize]
		r := Record{At: clock.Instant(le.Uint64(b)), Conn: le.Uint32(b[8:]), Kind: RecordKind(b[12])}
		switch r.Kind {
		case RecordAccept:
			addr := netip.AddrFrom16([16]byte(b[16:32])).Unmap()
			r.Peer = netip.AddrPortFrom(addr, le.Uint16(b[14:]))
		case RecordRequest, RecordResponse:
			r.Identified = b[13]&1 == 1
			r.Attempt = wire.Attempt{Process: le.Uint16(b[14:]), Sequence: le.Uint64(b[16:]), Try: b[13] >> 1}
		case RecordEnd:
			r.End, r.Errno = End(b[13]), unix.Errno(le.Uint16(b[14:]))
		}
		atomic.StoreUint64(&j.header.read, n+1)
		f(r)
	}
	return atomic.LoadUint64(&j.header.missed)
}

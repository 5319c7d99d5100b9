// Package journal is a worker's account of its connections, in memory that it shares with its
// parent.
//
// A journal is a single-producer, single-consumer ring in a memfd that both processes map. It costs
// the worker no system call, and it survives SIGKILL: what a killed worker had accepted, read and
// answered is still there.
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
)

// The layout is a header page, then ringRecords records of recordSize bytes, little endian.
const (
	ringRecords = 1 << 15 // 32768 records, 1 MiB: more than a second at 8,000 connections/s
	recordSize  = 32
	headerSize  = 4096
	size        = headerSize + ringRecords*recordSize
)

// header is the start of the header page. The counters only grow.
type header struct {
	written uint64 // records, by the worker
	_       [56]byte
	read    uint64 // records, by the parent
	_       [56]byte
	missed  uint64 // records the worker could not write because the ring was full
}

// A Journal is one process's mapping of the ring: the worker Appends, the parent Drains.
type Journal struct {
	mem    []byte
	header *header
}

// Create makes a journal and returns the parent's mapping, to be ended by Close, and the file that
// the worker is to Map, which the caller closes when the worker has it.
func Create() (*Journal, *os.File, error) {
	f, err := sys.SizedMemoryFile("reuseport-bench-journal", size)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j, err := Map(int(f.Fd()))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return j, f, nil
}

// Map maps the journal in a file; the file may be closed then. The caller ends the mapping by
// Close.
func Map(fd int) (*Journal, error) {
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("journal: mmap: %w", err)
	}
	return &Journal{mem: mem, header: (*header)(unsafe.Pointer(&mem[0]))}, nil
}

// Close ends the mapping. Records that the other process has yet to drain stay.
func (j *Journal) Close() error { return unix.Munmap(j.mem) }

// Append writes a record, by the worker only. Where the ring is full it counts a missed one
// instead.
func (j *Journal) Append(r Record) {
	n := j.header.written
	if n-atomic.LoadUint64(&j.header.read) >= ringRecords {
		atomic.AddUint64(&j.header.missed, 1)
		return
	}
	b := j.mem[headerSize+n%ringRecords*recordSize:][:recordSize]
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
}

// Drain hands every unread record to f, by the parent only, and returns how many records the
// worker has missed so far.
func (j *Journal) Drain(f func(Record)) (missed uint64) {
	le := binary.LittleEndian
	for n := j.header.read; n < atomic.LoadUint64(&j.header.written); n++ {
		b := j.mem[headerSize+n%ringRecords*recordSize:][:recordSize]
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
		atomic.StoreUint64(&j.header.read, n+1)
		f(r)
	}
	return atomic.LoadUint64(&j.header.missed)
}

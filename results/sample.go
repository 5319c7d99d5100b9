package results

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"reuseport-bench/scenarios/vocabulary"
)

// A Sample is the client's record of one attempt. Instants are CLOCK_MONOTONIC nanoseconds, or 0 if
// the attempt did not get that far.
type Sample struct {
	Process  int
	Sequence uint64 // within the load process

	Scheduled, Sent, Connected, FirstByte, Done int64

	Source netip.AddrPort // local address of the connection
	Phase  Phase          // the phase in which the attempt was lost
	Class  Class          // ClassNone: the attempt was served
	Errno  int            // for ClassLocal; 0 if no system call failed
	// Status is the HTTP status, or 0 without a response head. In PhaseWait no response to the
	// request has begun: it is then the status of a response by which the server closed an idle
	// connection (RFC 9110, 15.5.9).
	Status int
	// Worker and Generation say who answered: the numbers in the response or, if headers of a
	// third-party server name them, indices into load.Identities. They are -1 if unknown.
	Worker, Generation int
	// Written is the number of bytes of the request that the kernel accepted. Received is the
	// number of bytes of the response that arrived.
	Written, Received int
	// Unverified: the attempt was served, but only the end of the connection marked the end of the
	// body, so a truncated response would look the same.
	Unverified bool
	// Retriable: the attempt was lost, but many HTTP clients would have silently sent its request
	// once more.
	Retriable bool

	// Failed lists, in order, the tries that were followed by another; at most MaxFailed. Scheduled
	// and Sent describe the first try, the other fields the last. LastSent is when the last try
	// began, or 0 if Failed is empty.
	Failed   []FailedTry
	LastSent int64
	GaveUp   GaveUp
}

// MaxFailed is the maximum length of Sample.Failed. The length is encoded in four bits, so
// MaxFailed cannot exceed 15.
const MaxFailed = 10

// A FailedTry is a try that was followed by another.
type FailedTry struct {
	Failure Failure
	Opened  bool // true: it opened a connection; false: it used an idle one
}

// Failure is the way in which a try failed, if a client may retry after it.
type Failure uint8

// The failures. If the connection is reset or closed, the failure is one of the last two.
const (
	FailureNone           Failure = iota // never retried
	FailureRefused                       // the connection was refused
	FailureUnreachable                   // no route to the address
	FailureConnectTimeout                // no connection within a try's limit
	// FailureUnsent: the try ended before any byte of the request was handed to the kernel.
	FailureUnsent
	// FailureUnanswered: the try ended after the request, or a part of it, was sent, and before the
	// first byte of a response.
	FailureUnanswered
)

// failureCauses are the names of the failures in a scenario's retry policy.
var failureCauses = [...]vocabulary.RetryCause{
	FailureNone:           "",
	FailureRefused:        vocabulary.RetryRefused,
	FailureUnreachable:    vocabulary.RetryUnreachable,
	FailureConnectTimeout: vocabulary.RetryConnectTimeout,
	FailureUnsent:         vocabulary.RetryUnsent,
	FailureUnanswered:     vocabulary.RetryUnanswered,
}

func (f Failure) String() string { return string(nameOf(failureCauses[:], int(f))) }

// GaveUp is the reason why a client did not try again after a failure that its policy retries.
type GaveUp uint8

// The reasons to give up.
const (
	GaveUpNot       GaveUp = iota
	GaveUpExhausted        // the number of tries reached the policy's limit
	GaveUpNoTime           // the attempt's timeout would have passed before the next try
	GaveUpBudget           // too many recent tries had failed
)

// Served reports whether the attempt got its full, valid response in time.
func (s *Sample) Served() bool { return s.Class == ClassNone }

// Phase is the part of an attempt in which it was lost.
type Phase uint8

// The phases, in the order of an attempt's life.
const (
	PhaseNone    Phase = iota // served
	PhaseConnect              // until a connection is established, or a kept one is free
	PhaseSend                 // until the request is handed to the kernel
	PhaseWait                 // until the first byte of the response
	PhaseBody                 // until the last byte of the response
)

var phaseNames = [...]string{"", "connect", "send", "wait", "body"}

func (p Phase) String() string { return nameOf(phaseNames[:], int(p)) }

// Phases returns the names of the phases in which an attempt can be lost.
func Phases() []string { return slices.Clone(phaseNames[PhaseConnect:]) }

// Class is the kind of error that ended a lost attempt.
type Class uint8

// The classes.
const (
	ClassNone        Class = iota // served
	ClassReset                    // ECONNRESET, EPIPE
	ClassRefused                  // ECONNREFUSED
	ClassEOF                      // FIN before the response was complete
	ClassTimeout                  // the attempt's timeout
	ClassUnreachable              // EHOSTUNREACH, ENETUNREACH
	ClassInvalid                  // malformed response; in old recordings, also any status but 200
	ClassLocal                    // the client's own error: EADDRINUSE, EMFILE, …
	ClassUnsent                   // the generator never reached the attempt
	ClassAborted                  // the load reset the connection on purpose
	ClassErrorAnswer              // a complete response whose status counts as an error
)

var classNames = [...]string{
	"served", "reset", "refused", "eof", "timeout", "unreachable", "invalid", "local", "unsent",
	"aborted", "error answer",
}

func (c Class) String() string { return nameOf(classNames[:], int(c)) }

func nameOf[T ~string](names []T, i int) T {
	if i < len(names) {
		return names[i]
	}
	return T(fmt.Sprintf("unknown(%d)", i))
}

// MaxSample is the maximum size of an encoded sample, in bytes. A sample has eight varints for
// instants and numbers, five short varints, an address, and a few single bytes.
const MaxSample = 144

// Append appends the sample's encoding to dst: a length byte, then the fields. Instants are encoded
// as differences, most of which fit in three bytes.
func (s *Sample) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	dst = binary.AppendUvarint(dst, uint64(s.Process))
	dst = binary.AppendUvarint(dst, s.Sequence)
	dst = binary.AppendVarint(dst, s.Scheduled)
	for _, i := range [...]int64{s.Sent, s.Connected, s.FirstByte, s.Done} {
		dst = s.appendInstant(dst, i)
	}
	// The phase shares a byte with the number of failed tries (four bits) and a flag, and the class
	// (four bits) shares one with a flag and GaveUp.
	phase, class := byte(s.Phase)|byte(len(s.Failed))<<4, byte(s.Class)|byte(s.GaveUp)<<5
	if s.Retriable {
		phase |= retriableBit
	}
	if s.Unverified {
		class |= unverifiedBit
	}
	dst = append(dst, phase, class)
	for _, f := range s.Failed {
		b := byte(f.Failure)
		if f.Opened {
			b |= openedBit
		}
		dst = append(dst, b)
	}
	if len(s.Failed) > 0 {
		dst = s.appendInstant(dst, s.LastSent)
	}
	if s.Class == ClassLocal {
		dst = binary.AppendUvarint(dst, uint64(s.Errno))
	}
	dst = binary.AppendUvarint(dst, uint64(s.Status))
	dst = binary.AppendVarint(dst, int64(s.Worker))
	dst = binary.AppendVarint(dst, int64(s.Generation))
	dst = binary.AppendUvarint(dst, uint64(s.Written))
	dst = binary.AppendUvarint(dst, uint64(s.Received))
	addr := s.Source.Addr().AsSlice()
	dst = binary.LittleEndian.AppendUint16(dst, s.Source.Port())
	dst = append(dst, addr...)
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

const (
	retriableBit  = 1 << 3 // Retriable, in the byte of the phase
	unverifiedBit = 1 << 4 // Unverified, in the byte of the class
	openedBit     = 1 << 7 // FailedTry.Opened, in an encoded FailedTry
)

// appendInstant appends an instant as its difference from Scheduled. It adds 1 to differences that
// are not negative, because 0 stands for "not reached".
func (s *Sample) appendInstant(dst []byte, i int64) []byte {
	if i == 0 {
		return append(dst, 0)
	}
	d := i - s.Scheduled
	if d >= 0 {
		d++
	}
	return binary.AppendVarint(dst, d)
}

// ErrSample is the error for a malformed stream of samples.
var ErrSample = errors.New("malformed sample")

// A SampleReader decodes a stream of samples.
type SampleReader struct {
	R interface {
		io.Reader
		io.ByteReader
	}
	buf [MaxSample]byte
}

// Next decodes the next sample into s, and reuses the memory of s.Failed. It returns io.EOF at the
// end of the stream, and io.ErrUnexpectedEOF if the stream ends inside a sample.
func (r *SampleReader) Next(s *Sample) error {
	n, err := r.R.ReadByte()
	if err != nil {
		return err
	}
	b := r.buf[:min(int(n), MaxSample)]
	if int(n) > MaxSample {
		return ErrSample
	}
	if _, err := io.ReadFull(r.R, b); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	d := sampleDecoder{b: b}
	s.Process = int(d.uvarint())
	s.Sequence = d.uvarint()
	s.Scheduled = d.varint()
	for _, i := range [...]*int64{&s.Sent, &s.Connected, &s.FirstByte, &s.Done} {
		*i = d.instant(s.Scheduled)
	}
	phase, class := d.byte(), d.byte()
	s.Phase, s.Class, s.GaveUp = Phase(phase&0x7), Class(class&0xf), GaveUp(class>>5)
	s.Retriable, s.Unverified = phase&retriableBit != 0, class&unverifiedBit != 0
	s.Failed, s.LastSent = s.Failed[:0], 0
	for range min(phase>>4, MaxFailed) {
		b := d.byte()
		failed := FailedTry{Failure: Failure(b &^ openedBit), Opened: b&openedBit != 0}
		s.Failed = append(s.Failed, failed)
	}
	if len(s.Failed) > 0 {
		s.LastSent = d.instant(s.Scheduled)
	}
	if s.Errno = 0; s.Class == ClassLocal {
		s.Errno = int(d.uvarint())
	}
	s.Status = int(d.uvarint())
	s.Worker, s.Generation = int(d.varint()), int(d.varint())
	s.Written, s.Received = int(d.uvarint()), int(d.uvarint())
	port := uint16(d.byte()) | uint16(d.byte())<<8
	addr, ok := netip.AddrFromSlice(d.b)
	if d.bad || (!ok && len(d.b) != 0) {
		return ErrSample
	}
	s.Source = netip.AddrPortFrom(addr, port)
	return nil
}

type sampleDecoder struct {
	b   []byte
	bad bool
}

func (d *sampleDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return take(d, v, n)
}

func (d *sampleDecoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return take(d, v, n)
}

// instant reads what appendInstant wrote.
func (d *sampleDecoder) instant(scheduled int64) int64 {
	v := d.varint()
	switch {
	case v == 0:
		return 0
	case v > 0:
		v--
	}
	return scheduled + v
}

func (d *sampleDecoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func take[T int64 | uint64](d *sampleDecoder, v T, n int) T {
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

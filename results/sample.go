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

// A Sample is the client's account of one attempt. Instants are CLOCK_MONOTONIC nanoseconds; one
// that was not reached is 0.
type Sample struct {
	Process  int
	Sequence uint64 // within the load process

	Scheduled, Sent, Connected, FirstByte, Done int64

	Source netip.AddrPort // local address of the connection
	Phase  Phase          // where it was lost
	Class  Class          // ClassNone: served
	Errno  int            // of ClassLocal; 0 where no system call failed
	Status int            // HTTP status, 0 without a response head
	// Worker and Generation are what the response said; -1 without one.
	Worker, Generation int

	// Failed are the tries that another one followed, in order, at most MaxFailed. What else is
	// said here is of the last try; but Scheduled and Sent are those of the first, and LastSent, 0
	// without Failed, is when the last began.
	Failed   []FailedTry
	LastSent int64
	GaveUp   GaveUp
}

// MaxFailed bounds Sample.Failed: their number has four bits.
const MaxFailed = 10

// A FailedTry is what is kept of a try that another one followed.
type FailedTry struct {
	Failure Failure
	Opened  bool // a connection was opened for it; else it was sent on an idle one
}

// Failure is what a try met after which a client may make another.
type Failure uint8

// The failures. A reset, or an end, of the connection is one of the last two.
const (
	FailureNone           Failure = iota // none after which there ever is another
	FailureRefused                       // the connection was refused
	FailureUnreachable                   // there was no way to the address
	FailureConnectTimeout                // no connection in the time that a try has for it
	FailureUnsent                        // ended before a byte of the request was handed to the kernel
	FailureUnanswered                    // ended when the request, or a part of it, had been sent and nothing had been answered
)

// failureCauses are what the failures are called where a scenario says what is tried again.
var failureCauses = [...]vocabulary.RetryCause{
	FailureNone:           "",
	FailureRefused:        vocabulary.RetryRefused,
	FailureUnreachable:    vocabulary.RetryUnreachable,
	FailureConnectTimeout: vocabulary.RetryConnectTimeout,
	FailureUnsent:         vocabulary.RetryUnsent,
	FailureUnanswered:     vocabulary.RetryUnanswered,
}

func (f Failure) String() string { return string(nameOf(failureCauses[:], int(f))) }

// GaveUp is why there was no try after the last one, though the policy names what it met.
type GaveUp uint8

// The reasons to give up.
const (
	GaveUpNot       GaveUp = iota
	GaveUpExhausted        // as many tries as the policy allows were made
	GaveUpNoTime           // the attempt's timeout would have passed before the next
	GaveUpBudget           // too many tries have failed of late
)

// Served says whether the attempt got its full, valid response in time.
func (s *Sample) Served() bool { return s.Class == ClassNone }

// Phase is the part of an attempt in which it was lost.
type Phase uint8

// The phases, in the order of an attempt's life.
const (
	PhaseNone    Phase = iota // served
	PhaseConnect              // until the connection is established, or a kept one is free
	PhaseSend                 // until the request is handed to the kernel
	PhaseWait                 // until the first byte of the response
	PhaseBody                 // until the last byte of the response
)

var phaseNames = [...]string{"", "connect", "send", "wait", "body"}

func (p Phase) String() string { return nameOf(phaseNames[:], int(p)) }

// Phases returns the names of the phases in which an attempt can be lost.
func Phases() []string { return slices.Clone(phaseNames[PhaseConnect:]) }

// Class is the class of the error that an attempt was lost with.
type Class uint8

// The classes.
const (
	ClassNone        Class = iota // served
	ClassReset                    // ECONNRESET, EPIPE
	ClassRefused                  // ECONNREFUSED
	ClassEOF                      // the server closed in order, before its response was complete
	ClassTimeout                  // the attempt's timeout
	ClassUnreachable              // EHOSTUNREACH, ENETUNREACH
	ClassInvalid                  // a response that is none: malformed, or not 200
	ClassLocal                    // the client could not: EADDRINUSE, EMFILE, …
	ClassUnsent                   // the generator never came to it
	ClassAborted                  // the load reset the connection on purpose
)

var classNames = [...]string{"served", "reset", "refused", "eof", "timeout", "unreachable", "invalid", "local", "unsent", "aborted"}

func (c Class) String() string { return nameOf(classNames[:], int(c)) }

func nameOf[T ~string](names []T, i int) T {
	if i < len(names) {
		return names[i]
	}
	return T(fmt.Sprintf("unknown(%d)", i))
}

// MaxSample bounds an encoded sample, in bytes: eight varints of instants and numbers, three short
// ones, an address, and single bytes.
const MaxSample = 128

// Append appends the sample's encoding: a length byte, then the fields; instants as differences,
// most of which fit three bytes.
func (s *Sample) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	dst = binary.AppendUvarint(dst, uint64(s.Process))
	dst = binary.AppendUvarint(dst, s.Sequence)
	dst = binary.AppendVarint(dst, s.Scheduled)
	for _, i := range [...]int64{s.Sent, s.Connected, s.FirstByte, s.Done} {
		dst = s.appendInstant(dst, i)
	}
	// Phases and classes have four bits each; what retries add costs nothing where there are none.
	dst = append(dst, byte(s.Phase)|byte(len(s.Failed))<<4, byte(s.Class)|byte(s.GaveUp)<<4)
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
	addr := s.Source.Addr().AsSlice()
	dst = binary.LittleEndian.AppendUint16(dst, s.Source.Port())
	dst = append(dst, addr...)
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// openedBit of an encoded FailedTry.
const openedBit = 1 << 7

// appendInstant appends an instant as its difference from Scheduled, moved out of the way of 0,
// which stands for "not reached".
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

// ErrSample is the error of a stream of samples that is not one.
var ErrSample = errors.New("malformed sample")

// A SampleReader decodes a stream of samples.
type SampleReader struct {
	R interface {
		io.Reader
		io.ByteReader
	}
	buf [MaxSample]byte
}

// Next decodes the next sample into s, whose Failed it uses again. It returns io.EOF at the end of
// the stream, and io.ErrUnexpectedEOF if the stream ends inside a sample.
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
	s.Phase, s.Class, s.GaveUp = Phase(phase&0xf), Class(class&0xf), GaveUp(class>>4)
	s.Failed, s.LastSent = s.Failed[:0], 0
	for range min(phase>>4, MaxFailed) {
		b := d.byte()
		s.Failed = append(s.Failed, FailedTry{Failure: Failure(b &^ openedBit), Opened: b&openedBit != 0})
	}
	if len(s.Failed) > 0 {
		s.LastSent = d.instant(s.Scheduled)
	}
	if s.Errno = 0; s.Class == ClassLocal {
		s.Errno = int(d.uvarint())
	}
	s.Status = int(d.uvarint())
	s.Worker, s.Generation = int(d.varint()), int(d.varint())
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

// instant reads what appendInstant has written.
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

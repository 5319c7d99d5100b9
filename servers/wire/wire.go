// Package wire writes and reads the messages between the load and the servers. They are short
// HTTP/1.1 messages that carry the identity of an attempt.
//
// The parser reads only the parts of a head that a worker or the load needs. Package net/http would
// also work, but takes 2 to 3 µs and a dozen allocations per request, in a process whose latency is
// being measured. Its garbage collections would be charged to the socket under test.
package wire

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// MaxHead is the maximum size of a request head, in bytes. nginx's default header buffer also has 8
// KiB.
const MaxHead = 8 << 10

// Errors of the parsers. An incomplete head is no error: the parsers report 0 bytes used.
var (
	ErrMalformed = errors.New("malformed HTTP head")
	ErrTooLarge  = errors.New("HTTP head or body too large")
)

// Body is the body of every response.
const Body = "ok\n"

// An Attempt is the identity of one request that the schedule called for.
type Attempt struct {
	Process  uint16 // load process, from 0
	Sequence uint64 // within the load process, from 0
	// Try is the number of the try, from 0 up to MaxTry.
	Try uint8
}

// MaxTry is the highest try number: a journal record has seven bits for it.
const MaxTry = 127

// A Request contains the parts of a request head that a worker needs.
type Request struct {
	// Attempt is valid if Identified is set. Other clients (wrk, curl) send no identity.
	Attempt    Attempt
	Identified bool
	// Close is set if the client will send no further request on this connection.
	Close bool
	// BodyLen is the Content-Length, in bytes.
	BodyLen int
}

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
	http10  = []byte("HTTP/1.0")
	http1   = []byte("HTTP/1.")
)

// A Field is a field of a request's head.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Template is a request without the parts that differ between attempts.
type Template struct {
	start  []byte // the request up to the attempt's identity
	length []byte // the Content-Length field, or empty
	body   []byte
}

// NewTemplate returns a template with the given fields. A Host field with the value host comes
// first, unless fields contains a Host field. A nil body makes a request without a body. The
// template keeps body.
func NewTemplate(method, target, host string, fields []Field, body []byte) *Template {
	t := &Template{body: body}
	t.start = append(t.start, method+" "+target+" HTTP/1.1\r\n"...)
	isHost := func(f Field) bool { return strings.EqualFold(f.Name, "Host") }
	if !slices.ContainsFunc(fields, isHost) {
		fields = append([]Field{{"Host", host}}, fields...)
	}
	for _, f := range fields {
		t.start = append(t.start, f.Name+": "+f.Value+"\r\n"...)
	}
	t.start = append(t.start, "Attempt: "...)
	if body != nil {
		t.length = append(t.length, "\r\nContent-Length: "...)
		t.length = strconv.AppendInt(t.length, int64(len(body)), 10)
	}
	return t
}

// Append appends the request of an attempt to dst. With closing = Close the request asks the server
// to close the connection after its response.
func (t *Template) Append(dst []byte, a Attempt, closing Closing) []byte {
	dst = append(dst, t.start...)
	dst = strconv.AppendUint(dst, uint64(a.Process), 10)
	dst = append(dst, '-')
	dst = strconv.AppendUint(dst, a.Sequence, 10)
	if a.Try > 0 {
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, uint64(a.Try), 10)
	}
	dst = append(dst, t.length...)
	if closing == Close {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, headEnd...)
	return append(dst, t.body...)
}

// Closing indicates whether a message is the last one on its connection.
type Closing uint8

// The values of Closing.
const (
	KeepAlive Closing = iota
	Close
)

// ParseRequest reads a request head from the start of buf. It returns the length of the head, or 0
// if the head is incomplete. After ErrMalformed or ErrTooLarge the connection cannot be used.
func ParseRequest(buf []byte) (Request, int, error) {
	var r Request
	n, err := headLen(buf)
	if n == 0 || err != nil {
		return r, 0, err
	}
	line, rest := cutLine(buf[:n-2])
	// request-line = method SP request-target SP HTTP-version (RFC 9112 §3)
	i, j := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if i <= 0 || j <= i || !bytes.HasPrefix(line[j+1:], http1) {
		return r, 0, ErrMalformed
	}
	r.Close = bytes.Equal(line[j+1:], http10)
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		name, value, ok := cutField(line)
		if !ok {
			return r, 0, ErrMalformed
		}
		switch {
		case isName(name, "Attempt"):
			if r.Attempt, r.Identified = parseAttempt(value); !r.Identified {
				return r, 0, ErrMalformed
			}
		case isName(name, "Content-Length"):
			v, ok := parseUint(value, 1<<20)
			if !ok {
				return r, 0, ErrTooLarge
			}
			r.BodyLen = int(v)
		case isName(name, "Connection"):
			eachOption(value, func(option []byte) {
				r.Close = r.Close || isName(option, "close")
			})
		case isName(name, "Transfer-Encoding"):
			return r, 0, ErrMalformed // the load never sends chunked requests
		}
	}
	return r, n, nil
}

// parseAttempt reads process-sequence or, after the first try, process-sequence-try.
func parseAttempt(value []byte) (Attempt, bool) {
	p, rest, ok := bytes.Cut(value, []byte{'-'})
	s, n, hasTry := bytes.Cut(rest, []byte{'-'})
	process, ok1 := parseUint(p, 1<<16-1)
	sequence, ok2 := parseUint(s, 1<<63-1)
	try := uint64(0)
	if hasTry {
		var ok3 bool
		try, ok3 = parseUint(n, MaxTry)
		ok = ok && ok3
	}
	return Attempt{Process: uint16(process), Sequence: sequence, Try: uint8(try)}, ok && ok1 && ok2
}

// headLen returns the length of the head at the start of buf, including its empty line, or 0 if the
// head is incomplete.
func headLen(buf []byte) (int, error) {
	i := bytes.Index(buf[:min(len(buf), MaxHead)], headEnd)
	if i < 0 {
		if len(buf) >= MaxHead {
			return 0, ErrTooLarge
		}
		return 0, nil
	}
	return i + len(headEnd), nil
}

func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, crlf)
	return line, rest
}

// parseUint parses a decimal number up to the limit.
func parseUint(b []byte, limit uint64) (uint64, bool) {
	var v uint64
	for _, c := range b {
		if !digit(c) || v > limit/10 {
			return 0, false
		}
		if v = v*10 + uint64(c-'0'); v > limit {
			return 0, false
		}
	}
	return v, len(b) > 0
}

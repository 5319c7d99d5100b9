// Package wire is what the load and the servers say to each other: the identity of an attempt, in
// the few bytes of HTTP/1.1 that carry it.
//
// The parser reads only what a worker or the load needs from a head. Package net/http would also
// work, but takes 2 to 3 µs and a dozen allocations per request in a process whose latency is
// measured. Its garbage collections would count against the socket under test.
package wire

import (
	"bytes"
	"errors"
	"strconv"
)

// MaxHead is the maximum size of a request or response head, in bytes. nginx's default header
// buffer is 8 KiB, too.
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

// A Request is what a worker needs from a request head.
type Request struct {
	// Attempt is valid if Identified. Other clients (wrk, curl) send none.
	Attempt    Attempt
	Identified bool
	// Close is set if the client will send no further request on this connection.
	Close bool
	// BodyLen is the Content-Length, in bytes.
	BodyLen int
}

var (
	crlf       = []byte("\r\n")
	headEnd    = []byte("\r\n\r\n")
	nameID     = []byte("attempt")
	nameLen    = []byte("content-length")
	nameConn   = []byte("connection")
	nameWorker = []byte("worker")
	nameGen    = []byte("generation")
	nameTE     = []byte("transfer-encoding")
	tokClose   = []byte("close")
	http10     = []byte("HTTP/1.0")
	http1      = []byte("HTTP/1.")
)

// AppendRequest appends a request for the attempt to dst. host is the value of the Host header. A
// nil body makes a GET, any other a POST. With closing = Close the request asks the server to close
// the connection after its response.
func AppendRequest(dst []byte, host string, a Attempt, body []byte, closing Closing) []byte {
	if body != nil {
		dst = append(dst, "POST / HTTP/1.1\r\nHost: "...)
	} else {
		dst = append(dst, "GET / HTTP/1.1\r\nHost: "...)
	}
	dst = append(dst, host...)
	dst = append(dst, "\r\nAttempt: "...)
	dst = strconv.AppendUint(dst, uint64(a.Process), 10)
	dst = append(dst, '-')
	dst = strconv.AppendUint(dst, a.Sequence, 10)
	if a.Try > 0 {
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, uint64(a.Try), 10)
	}
	if body != nil {
		dst = append(dst, "\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
	}
	if closing == Close {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, headEnd...)
	return append(dst, body...)
}

// Closing says whether a message is the last one on its connection.
type Closing uint8

// What happens to the connection after the message.
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
		name, value, err := cutField(line)
		if err != nil {
			return r, 0, err
		}
		switch {
		case bytes.EqualFold(name, nameID):
			if r.Attempt, r.Identified = parseAttempt(value); !r.Identified {
				return r, 0, ErrMalformed
			}
		case bytes.EqualFold(name, nameLen):
			v, ok := parseUint(value, 1<<20)
			if !ok {
				return r, 0, ErrTooLarge
			}
			r.BodyLen = int(v)
		case bytes.EqualFold(name, nameConn):
			if bytes.EqualFold(value, tokClose) {
				r.Close = true
			}
		case bytes.EqualFold(name, nameTE):
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

// A Response is what the load needs from a response head.
type Response struct {
	Status     int
	Worker     int // -1 if the server did not say
	Generation int // -1 if the server did not say
	BodyLen    int
	Close      bool
}

// AppendResponse appends a complete 200 response of worker id, in the given generation, to dst.
func AppendResponse(dst []byte, id, generation int, closing Closing) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(Body)), 10)
	dst = append(dst, "\r\nWorker: "...)
	dst = strconv.AppendInt(dst, int64(id), 10)
	dst = append(dst, "\r\nGeneration: "...)
	dst = strconv.AppendInt(dst, int64(generation), 10)
	if closing == Close {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, headEnd...)
	return append(dst, Body...)
}

// ParseResponse reads a response head from the start of buf, as ParseRequest reads a request head.
// A response without Content-Length is malformed: only the end of the connection would end it, and
// a reset would look like success.
func ParseResponse(buf []byte) (Response, int, error) {
	r := Response{Worker: -1, Generation: -1, BodyLen: -1}
	n, err := headLen(buf)
	if n == 0 || err != nil {
		return r, 0, err
	}
	line, rest := cutLine(buf[:n-2])
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, http1) || line[8] != ' ' {
		return r, 0, ErrMalformed
	}
	status, ok := parseUint(line[9:12], 999)
	if !ok || status < 100 || (len(line) > 12 && line[12] != ' ') {
		return r, 0, ErrMalformed
	}
	r.Status = int(status)
	r.Close = bytes.HasPrefix(line, http10)
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		name, value, err := cutField(line)
		if err != nil {
			return r, 0, err
		}
		var into *int
		limit := uint64(1<<16 - 1)
		switch {
		case bytes.EqualFold(name, nameWorker):
			into = &r.Worker
		case bytes.EqualFold(name, nameGen):
			into = &r.Generation
		case bytes.EqualFold(name, nameLen):
			into, limit = &r.BodyLen, 1<<30
		case bytes.EqualFold(name, nameConn):
			r.Close = r.Close || bytes.EqualFold(value, tokClose)
		}
		if into != nil {
			v, ok := parseUint(value, limit)
			if !ok {
				return r, 0, ErrMalformed
			}
			*into = int(v)
		}
	}
	if r.BodyLen < 0 {
		return r, 0, ErrMalformed
	}
	return r, n, nil
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

// cutField splits a field line (RFC 9112 §5) at the colon. It accepts space around the value, but
// none before the colon.
func cutField(line []byte) (name, value []byte, err error) {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || name[len(name)-1] == ' ' || name[len(name)-1] == '\t' {
		return nil, nil, ErrMalformed
	}
	return name, bytes.TrimSpace(value), nil
}

func parseUint(b []byte, limit uint64) (uint64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v <= limit
}

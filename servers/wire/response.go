package wire

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// MaxResponseHead is the maximum size of a response head, and of the trailer of a chunked body, in
// bytes.
const MaxResponseHead = 32 << 10

// maxChunkLine is the maximum size of the line before a chunk, with its extensions, in bytes.
// net/http has the same limit.
const maxChunkLine = 4 << 10

// AppendResponse appends to dst a complete 200 response from worker id of the given generation.
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

// A Response contains the parts of a response's head that the load needs.
type Response struct {
	Status int // 0: the head is incomplete
	// Worker and Generation are the values of the fields that Expect names, or nil. They point into
	// the buffer from which the head was read.
	Worker, Generation []byte
	// Close is set if the connection will carry no further response.
	Close bool
	// IdleTimeout is the time for which the server keeps an idle connection open, according to its
	// Keep-Alive field. 0: the response does not say.
	IdleTimeout time.Duration
}

// Expect holds what a ResponseReader must know about a request, and the fields that it must look
// for in the response.
type Expect struct {
	// NoBody is set if the request's method was HEAD.
	NoBody bool
	// Worker and Generation are the names of the fields by which servers identify themselves. "":
	// there is no such field.
	Worker, Generation string
}

// Own returns what to expect of this program's own workers. The fields' values are numbers, see
// Number.
func Own() Expect { return Expect{Worker: "Worker", Generation: "Generation"} }

// A ResponseReader reads one response from the bytes of a connection, in pieces of any size. It
// keeps the head's values and discards the body.
//
// It skips interim (1xx) responses. It reads bodies that have a given length, are chunked, or end
// with the connection (RFC 9112, 6.3). Unlike net/http, it refuses line folding, transfer encodings
// other than a single "chunked", every transfer encoding in HTTP/1.0, and the status 101, which the
// load never asks for.
type ResponseReader struct {
	Response
	expect  *Expect
	part    part
	left    int64 // bytes of the body or chunk that are still to come
	trailer int   // bytes of the trailer read so far
}

// part is the part of a response that comes next.
type part uint8

const (
	head       part = iota // the head of this response, or of an interim one before it
	body                   // a body of a given length
	chunkSize              // the line before a chunk
	chunkData              // the data of a chunk
	chunkEnd               // the line end after a chunk
	trailer                // the fields after the last chunk, and their empty line
	untilClose             // a body that ends with the connection
	ended
)

// Start prepares the reader for the next response. The reader keeps e.
func (r *ResponseReader) Start(e *Expect) { *r = ResponseReader{expect: e} }

// Next reads from b, which must start where the last call stopped. It returns the number of bytes
// that it has used. The next call must get the unused bytes again, followed by new ones. done is
// set once the response is complete. After ErrMalformed or ErrTooLarge the connection cannot be
// used.
func (r *ResponseReader) Next(b []byte) (used int, done bool, err error) {
	for r.part != ended {
		n, err := r.step(b[used:])
		if used += n; err != nil || n == 0 {
			return used, false, err
		}
	}
	return used, true, nil
}

// EndsWithConnection reports whether the response is complete if the connection ends now. Nothing
// then shows whether the body was cut short.
func (r *ResponseReader) EndsWithConnection() bool { return r.part == untilClose }

// step reads all or some of the next part from b. It returns 0 if it needs more bytes.
func (r *ResponseReader) step(b []byte) (n int, err error) {
	switch r.part {
	case head:
		return r.readHead(b)
	case body:
		return r.skip(b, ended), nil
	case chunkSize:
		return r.readChunkSize(b)
	case chunkData:
		return r.skip(b, chunkEnd), nil
	case chunkEnd:
		switch {
		case len(b) > 0 && b[0] != '\r', len(b) > 1 && b[1] != '\n':
			return 0, ErrMalformed
		case len(b) < len(crlf):
			return 0, nil
		}
		r.part = chunkSize
		return len(crlf), nil
	case trailer:
		return r.readTrailer(b)
	}
	return len(b), nil // untilClose: all of b belongs to the body
}

// skip discards the bytes of b that belong to the body or chunk. next is the part that follows.
func (r *ResponseReader) skip(b []byte, next part) int {
	n := min(r.left, int64(len(b)))
	if r.left -= n; r.left == 0 {
		r.part = next
	}
	return int(n)
}

// fields collects what the fields of a head say about the response.
type fields struct {
	Response
	keepAlive bool  // Connection: keep-alive
	length    int64 // Content-Length, or -1
	encodings int   // number of Transfer-Encoding fields
	chunked   bool  // the last transfer encoding is chunked
}

// readHead reads a whole head.
func (r *ResponseReader) readHead(b []byte) (int, error) {
	short := len(b) < MaxResponseHead
	b = b[:min(len(b), MaxResponseHead)]
	incomplete := func() (int, error) {
		if short {
			return 0, nil
		}
		return 0, ErrTooLarge
	}
	line, n := nextLine(b)
	if n == 0 {
		return incomplete()
	}
	// status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112, 4). Servers omit
	// the second space together with the phrase.
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, http1) || !digit(line[7]) ||
		line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return 0, ErrMalformed
	}
	status, ok := parseUint(line[9:12], 999)
	if !ok || status < 100 || status == 101 {
		return 0, ErrMalformed
	}
	old := line[7] == '0'
	f := fields{length: -1}
	for {
		line, size := nextLine(b[n:])
		if size == 0 {
			return incomplete()
		}
		n += size
		if len(line) == 0 {
			break
		}
		if !f.add(line, r.expect) {
			return 0, ErrMalformed
		}
	}
	// A transfer encoding in HTTP/1.0 makes the framing faulty (RFC 9112, 6.1).
	if f.encodings > 1 || f.encodings == 1 && (!f.chunked || old) {
		return 0, ErrMalformed
	}
	if status < 200 {
		return n, nil // an interim response: the next head follows
	}
	f.Status = int(status)
	f.Close = f.Close || old && !f.keepAlive
	switch {
	case r.expect.NoBody, status == 204, status == 304, f.encodings == 0 && f.length == 0:
		r.part = ended
	case f.encodings > 0:
		r.part = chunkSize
		f.Close = f.Close || f.length >= 0 // a proxy in between may use Content-Length instead
	case f.length > 0:
		r.part, r.left = body, f.length
	default:
		r.part, f.Close = untilClose, true
	}
	r.Response = f.Response
	return n, nil
}

// add evaluates a field line. It returns false if the line is malformed.
func (f *fields) add(line []byte, e *Expect) bool {
	name, value, ok := cutField(line)
	if !ok {
		return false
	}
	switch {
	case isName(name, "Content-Length"):
		// Several lengths are allowed if they agree (RFC 9110, 8.6).
		length, ok := parseUint(value, math.MaxInt64)
		if !ok || f.length >= 0 && f.length != int64(length) {
			return false
		}
		f.length = int64(length)
	case isName(name, "Transfer-Encoding"):
		f.encodings++
		f.chunked = isName(value, "chunked")
	case isName(name, "Connection"):
		eachOption(value, func(option []byte) {
			f.Close = f.Close || isName(option, "close")
			f.keepAlive = f.keepAlive || isName(option, "keep-alive")
		})
	case isName(name, "Keep-Alive"):
		eachOption(value, f.keep)
	case isName(name, e.Worker):
		f.Worker = value
	case isName(name, e.Generation):
		f.Generation = value
	}
	return true
}

// keep evaluates a parameter of the Keep-Alive field: timeout, in seconds, or max, the number of
// requests that may follow (RFC 2068, 19.7.1.1, and draft-thomson-hybi-http-timeout). It ignores
// other parameters.
func (f *fields) keep(option []byte) {
	name, value, _ := bytes.Cut(option, []byte{'='})
	n, ok := parseUint(value, math.MaxInt32)
	switch {
	case !ok:
	case isName(name, "timeout"):
		f.IdleTimeout = time.Duration(n) * time.Second
		f.Close = f.Close || n == 0
	case isName(name, "max"):
		f.Close = f.Close || n == 0
	}
}

// eachOption calls do for each member of a comma-separated list.
func eachOption(list []byte, do func(option []byte)) {
	for more := true; more; {
		var option []byte
		option, list, more = bytes.Cut(list, []byte{','})
		do(trim(option))
	}
}

// readChunkSize reads the line before a chunk (RFC 9112, 7.1). It ignores extensions.
func (r *ResponseReader) readChunkSize(b []byte) (int, error) {
	i := bytes.IndexByte(b[:min(len(b), maxChunkLine)], '\n')
	switch {
	case i < 0 && len(b) >= maxChunkLine:
		return 0, ErrTooLarge
	case i < 0:
		return 0, nil
	case i == 0 || bytes.IndexByte(b[:i], '\r') != i-1: // only CRLF ends a line here
		return 0, ErrMalformed
	}
	line, digits := b[:i-1], 0
	for r.left = 0; digits < len(line); digits++ {
		d, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		if r.left > math.MaxInt64>>4 {
			return 0, ErrTooLarge
		}
		r.left = r.left<<4 | int64(d)
	}
	rest := trim(line[digits:])
	if digits == 0 || len(rest) > 0 && rest[0] != ';' {
		return 0, ErrMalformed
	}
	if r.part = chunkData; r.left == 0 {
		r.part = trailer
	}
	return i + 1, nil
}

// readTrailer reads a line of the trailer. Only the empty line at the trailer's end matters.
func (r *ResponseReader) readTrailer(b []byte) (int, error) {
	room := MaxResponseHead - r.trailer
	line, n := nextLine(b[:min(len(b), room)])
	switch {
	case n == 0 && len(b) >= room:
		return 0, ErrTooLarge
	case n == 0:
		return 0, nil
	case len(line) == 0:
		r.part = ended
	default:
		if _, _, ok := cutField(line); !ok {
			return 0, ErrMalformed
		}
	}
	r.trailer += n
	return n, nil
}

// nextLine returns the first line of b without its line end, and the length including the line end.
// The length is 0 if the line is incomplete. A line ends with CRLF or, as RFC 9112, 2.2 allows, LF.
func nextLine(b []byte) (line []byte, n int) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0
	}
	n = i + 1
	if i > 0 && b[i-1] == '\r' {
		i--
	}
	return b[:i], n
}

// cutField splits a field line (RFC 9112, 5) at the colon. The name must be a token, so a line that
// continues the previous line is refused.
func cutField(line []byte) (name, value []byte, ok bool) {
	for i, c := range line {
		if c == ':' {
			return line[:i], trim(line[i+1:]), i > 0
		}
		if !token(c) {
			break
		}
	}
	return nil, nil, false
}

// token reports whether a character may be part of a token (RFC 9110, 5.6.2).
func token(c byte) bool {
	// A set of 128 bits, as in net/textproto.
	const set = 0 |
		(1<<10-1)<<'0' | (1<<26-1)<<'a' | (1<<26-1)<<'A' |
		1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' |
		1<<'.' | 1<<'^' | 1<<'_' | 1<<'`' | 1<<'|' | 1<<'~'
	return uint64(1)<<c&(set&(1<<64-1))|uint64(1)<<(c-64)&(set>>64) != 0
}

// IsToken reports whether s is a token: a method, or the name of a field.
func IsToken(s string) bool {
	for i := range len(s) {
		if !token(s[i]) {
			return false
		}
	}
	return s != ""
}

// trim removes spaces and tabs from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// isName reports whether b equals name, ignoring case. An empty name equals nothing.
func isName(b []byte, name string) bool {
	if len(b) != len(name) || name == "" {
		return false
	}
	for i, c := range b {
		if c != name[i] && lower(c) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func hexDigit(c byte) (int, bool) {
	switch c = lower(c); {
	case digit(c):
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	}
	return 0, false
}

// Number parses b as the number of a worker or generation. It returns -1 if b is not a number.
func Number(b []byte) int {
	n, ok := parseUint(b, math.MaxUint16)
	if !ok {
		return -1
	}
	return int(n)
}

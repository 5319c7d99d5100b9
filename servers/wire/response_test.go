package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ownResponse is a response of a worker.
var ownResponse = string(AppendResponse(nil, 7, 12, KeepAlive))

// An outcome is the result of reading a whole stream with a ResponseReader.
type outcome struct {
	Status             int
	Worker, Generation string
	Close              bool
	IdleTimeout        time.Duration
	Size               int  // bytes of the response
	Unverified         bool // the end of the stream completed the response
	Incomplete         bool // the stream ended too early
	Err                error
}

// read passes the stream to a reader in pieces. next returns the size of each piece.
func read(e *Expect, stream []byte, next func() int) outcome {
	var r ResponseReader
	r.Start(e)
	var o outcome
	var held []byte
	for done := false; !done; {
		if len(stream) == 0 {
			o.Unverified = r.EndsWithConnection()
			o.Incomplete = !o.Unverified
			break
		}
		n := min(next(), len(stream))
		held, stream = append(held, stream[:n]...), stream[n:]
		var used int
		used, done, o.Err = r.Next(held)
		if o.Status == 0 && r.Status != 0 {
			o.Worker, o.Generation = string(r.Worker), string(r.Generation)
		}
		held = append([]byte(nil), held[used:]...) // r must not need the old buffer
		o.Size += used
		o.Status, o.Close, o.IdleTimeout = r.Status, r.Close, r.IdleTimeout
		if o.Err != nil {
			return outcome{Err: o.Err}
		}
	}
	return o
}

func whole() int      { return 1 << 30 }
func byteByByte() int { return 1 }

// sameInPieces checks that the outcome of a stream does not depend on how it is split, and returns
// the outcome.
func sameInPieces(t *testing.T, e *Expect, stream []byte) outcome {
	t.Helper()
	want := read(e, stream, whole)
	check := func(how string, next func() int) {
		t.Helper()
		if diff := cmp.Diff(read(e, stream, next), want, compareErrors); diff != "" {
			t.Errorf("%s: got -, whole +:\n%s", how, diff)
		}
	}
	check("byte by byte", byteByByte)
	if len(stream) <= 4096 {
		for i := 1; i < len(stream); i++ {
			sizes := []int{i, len(stream)}
			check(fmt.Sprintf("split after %d bytes", i), func() (n int) {
				n, sizes = sizes[0], sizes[1:]
				return n
			})
		}
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		most := 1 + random.IntN(1+len(stream)/2)
		check(fmt.Sprintf("random pieces %d", seed), func() int { return 1 + random.IntN(most) })
	}
	return want
}

var compareErrors = cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })

// TestResponses reads responses that servers send, and streams that are not responses.
func TestResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("x", 100_000)
	cookies := func(head int) string { // a head of that size, without a body
		const start, end = "HTTP/1.1 204 \r\nSet-Cookie: ", "\r\n\r\n"
		return start + strings.Repeat("c", head-len(start)-len(end)) + end
	}
	trailer := func(size int) string {
		return "0\r\nT: " + strings.Repeat("t", size-len("T: \r\n\r\n")) + "\r\n\r\n"
	}
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	served := func(status int) outcome { return outcome{Status: status} }
	closes := outcome{Status: 200, Close: true}
	malformed, tooLarge := outcome{Err: ErrMalformed}, outcome{Err: ErrTooLarge}
	own := Own()
	for _, tt := range []struct {
		name, stream string
		more         string // bytes after the response that do not belong to it
		want         outcome
	}{
		{"a worker's", ownResponse, "", outcome{Status: 200, Worker: "7", Generation: "12"}},
		{"a worker's last", string(AppendResponse(nil, 7, 12, Close)), "", outcome{Status: 200,
			Worker: "7", Generation: "12", Close: true}},
		{"no length, but a body of 0", ok + "Content-Length: 0\r\n\r\n", "HTTP", served(200)},
		{"nothing of the body", ok + "Content-Length: 5\r\n\r\n", "",
			outcome{Status: 200, Size: 38, Incomplete: true}},
		{"more than the body", ok + "Content-Length: 2\r\n\r\nab", "cd", served(200)},
		{"a long body", ok + "Content-Length: 100000\r\n\r\n" + long, "", served(200)},
		{"equal lengths", ok + "Content-Length: 2\r\nContent-Length: 02\r\n\r\nab", "",
			served(200)},
		{"lengths that differ", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "",
			malformed},
		{"a list of lengths", ok + "Content-Length: 2, 2\r\n\r\nab", "", malformed},
		{"a negative length", ok + "Content-Length: -2\r\n\r\nab", "", malformed},
		{"no number", ok + "Content-Length: \r\n\r\n", "", malformed},
		{"a length without end", ok + "Content-Length: 9223372036854775808\r\n\r\n", "", malformed},

		{"no reason phrase", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "", served(200)},
		{"no space, either", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", served(200)},
		{"LF alone", "HTTP/1.1 200 OK\nContent-Length: 2\n\nab", "", served(200)},
		{"spaces and tabs", ok + "Content-Length:\t 2 \t\r\n\r\nab", "", served(200)},
		{"folded", ok + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "", malformed},
		{"folded at once", ok + " c\r\nContent-Length: 0\r\n\r\n", "", malformed},
		{"a space before the colon", ok + "Content-Length : 0\r\n\r\n", "", malformed},
		{"no colon", ok + "Content-Length 0\r\n\r\n", "", malformed},
		{"no name", ok + ": 0\r\n\r\n", "", malformed},
		{"not HTTP", "220 smtp.example.org ESMTP\r\n\r\n", "", malformed},
		{"another version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", malformed},
		{"an empty line first", "\r\n" + ok + "\r\n", "", malformed},
		{"half a status", "HTTP/1.1 20\r\n\r\n", "", malformed},
		{"a status without meaning", "HTTP/1.1 099 OK\r\n\r\n", "", malformed},
		{"a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "", malformed},
		{"half a head", ok + "Content-Le", "", outcome{Incomplete: true}},
		{"nothing", "", "", outcome{Incomplete: true}},

		{"a head of 32 kB", cookies(MaxResponseHead), "", served(204)},
		{"a larger head", cookies(MaxResponseHead + 1), "", tooLarge},
		{"a head without end", "HTTP/1.1 200 " + long, "", tooLarge},

		{"204", "HTTP/1.1 204 No Content\r\n\r\n", "", served(204)},
		{"304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "",
			served(304)},
		{"103, then 200", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok +
			"Content-Length: 0\r\n\r\n", "", served(200)},
		{"100, twice", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 2) + ownResponse, "",
			outcome{Status: 200, Worker: "7", Generation: "12"}},
		{"100, and nothing else", "HTTP/1.1 100 Continue\r\n\r\n", "",
			outcome{Size: 25, Incomplete: true}},
		{"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "", malformed},
		{"503", "HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\n!", "", served(503)},

		{"to the end of the connection", ok + "\r\nab", "",
			outcome{Status: 200, Close: true, Unverified: true}},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nab", "", outcome{Status: 200, Close: true,
			Unverified: true}},
		{"HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "",
			closes},
		{"HTTP/1.0 that keeps", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" +
			"Content-Length: 0\r\n\r\n", "", served(200)},
		{"close, in capitals", ok + "CONNECTION: CLOSE\r\nContent-Length: 0\r\n\r\n", "",
			closes},
		{"close, in a list", ok + "Connection: te ,close\r\nContent-Length: 0\r\n\r\n", "",
			closes},
		{"close, in a second field", ok + "Connection: keep-alive\r\nConnection: close\r\n" +
			"Content-Length: 0\r\n\r\n", "", closes},
		{"closed", ok + "Connection: closed\r\nContent-Length: 0\r\n\r\n", "", served(200)},
		{"Node's timeout", ok + "Keep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n", "",
			outcome{Status: 200, IdleTimeout: 5 * time.Second}},
		{"Apache's timeout", ok + "Keep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n", "",
			outcome{Status: 200, IdleTimeout: 5 * time.Second}},
		{"no further request", ok + "Keep-Alive: max=0, timeout=5\r\nContent-Length: 0\r\n\r\n", "",
			outcome{Status: 200, Close: true, IdleTimeout: 5 * time.Second}},
		{"no time", ok + "Keep-Alive: TIMEOUT=0\r\nContent-Length: 0\r\n\r\n", "", closes},
		{"a timeout that says nothing", ok + "Keep-Alive: 300, timeout=x\r\n" +
			"Content-Length: 0\r\n\r\n", "", served(200)},

		{"chunked", chunked + "2\r\nab\r\n0\r\n\r\n", "HTTP", served(200)},
		{"chunks", chunked + "1\r\na\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "",
			served(200)},
		{"a long chunk", chunked + "186a0 \r\n" + long + "\r\n0\r\n\r\n", "", served(200)},
		{"no chunk but the last", chunked + "0\r\n\r\n", "0\r\n", served(200)},
		{"a trailer", chunked + "0 ;x\r\nA: b\r\nC: d\r\n\r\n", "", served(200)},
		{"a trailer of 32 kB", chunked + trailer(MaxResponseHead), "",
			served(200)},
		{"a larger trailer", chunked + trailer(MaxResponseHead+1), "", tooLarge},
		{"a bad trailer", chunked + "0\r\nA\r\n\r\n", "", malformed},
		{"chunked and a length", ok + "Content-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n" +
			"0\r\n\r\n", "", closes},
		{"cut between chunks", chunked + "2\r\nab\r\n", "",
			outcome{Status: 200, Size: 54, Incomplete: true}},
		{"cut before the last line", chunked + "0\r\n", "",
			outcome{Status: 200, Size: 50, Incomplete: true}},
		{"no size", chunked + "\r\n\r\n", "", malformed},
		{"only an extension", chunked + ";x\r\n\r\n", "", malformed},
		{"a size of nonsense", chunked + "2x\r\nab\r\n", "", malformed},
		{"a space before the size", chunked + " 2\r\nab\r\n", "", malformed},
		{"a size with a sign", chunked + "+2\r\nab\r\n", "", malformed},
		{"LF alone after the size", chunked + "2\nab\r\n0\r\n\r\n", "", malformed},
		{"CR in an extension", chunked + "2;\rx\r\nab\r\n0\r\n\r\n", "", malformed},
		{"LF alone after a chunk", chunked + "2\r\nab\n0\r\n\r\n", "", malformed},
		{"a chunk that is longer", chunked + "2\r\nabc\r\n0\r\n\r\n", "", malformed},
		{"a chunk without end", chunked + "8000000000000000\r\n", "", tooLarge},
		{"an extension without end", chunked + "2;" + long, "", tooLarge},
		{"another encoding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "",
			malformed},
		{"chunked twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"0\r\n\r\n", "", malformed},
		{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"", malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sameInPieces(t, &own, []byte(tt.stream+tt.more))
			if tt.want.Err == nil && !tt.want.Incomplete {
				tt.want.Size = len(tt.stream)
			}
			if diff := cmp.Diff(got, tt.want, compareErrors); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// TestResponseToHEAD reads a response that has a length and no body.
func TestResponseToHEAD(t *testing.T) {
	for _, field := range []string{"Content-Length: 9", "Transfer-Encoding: chunked", "A: b"} {
		head := "HTTP/1.1 200 OK\r\n" + field + "\r\n\r\n"
		got := sameInPieces(t, &Expect{NoBody: true}, []byte(head+"HTTP"))
		if diff := cmp.Diff(got, outcome{Status: 200, Size: len(head)}); diff != "" {
			t.Errorf("%s: got -, want +:\n%s", field, diff)
		}
	}
}

// TestResponseNames reads the identity of the server from the fields that other servers use.
func TestResponseNames(t *testing.T) {
	e := Expect{Worker: "X-Pid", Generation: "build"}
	stream := "HTTP/1.1 204 \r\nx-pid: web-7.example \r\nWorker: 3\r\nBuild: 5\r\n\r\n"
	got := sameInPieces(t, &e, []byte(stream))
	want := outcome{Status: 204, Worker: "web-7.example", Generation: "5", Size: len(stream)}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	for text, want := range map[string]int{"7": 7, "65535": 65535, "65536": -1, "a": -1, "": -1} {
		if got := Number([]byte(text)); got != want {
			t.Errorf("Number(%q) = %d, want %d", text, got, want)
		}
	}
}

// FuzzResponse compares the reader with net/http. If both accept a response, they must agree where
// it ends. If only one of them accepts it, theDifference must know the reason. The result must not
// depend on how the stream is split.
func FuzzResponse(f *testing.F) {
	f.Add([]byte(ownResponse), uint64(1))
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nT: a\r\n\r\n",
		"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5, max=2\r\n\r\nab",
		"HTTP/1.1 304 \nContent-Length: 5\n\n",
	} {
		f.Add([]byte(s), uint64(len(s)))
	}
	own := Own()
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		got := read(&own, stream, whole)
		random := rand.New(rand.NewPCG(seed, 0))
		for _, next := range []func() int{byteByByte, func() int { return 1 + random.IntN(40) }} {
			if diff := cmp.Diff(read(&own, stream, next), got, compareErrors); diff != "" {
				t.Fatalf("in pieces: got -, whole +:\n%s", diff)
			}
		}
		want, err := oracle(stream)
		// The reader and net/http may have different reasons to refuse a response. If the response
		// is cut short, net/http also judges the incomplete last line.
		served := got.Err == nil && !got.Incomplete
		agree := served == (err == nil && !want.Incomplete)
		if agree && served {
			agree = cmp.Equal(got, want,
				cmpopts.IgnoreFields(outcome{}, "Worker", "Generation", "IdleTimeout"))
		}
		if !agree && theDifference(stream) == "" {
			t.Errorf("got %+v, net/http %+v, %v", got, want, err)
		}
	})
}

// theDifference returns the reason that net/http and the reader may disagree about a stream, or "".
func theDifference(stream []byte) string {
	text := strings.ToLower(string(stream))
	for _, d := range []struct{ pattern, why string }{
		// The reader refuses these, and net/http accepts them.
		{`\n[ \t]`, "a line that continues the one before (obs-fold)"},
		{`\n[^:\n]*[ \t][^:\n]*:`, "a space in a field's name"},
		{`(^|\n)http/\d+\.\d+ {2}`, "more than one space before the status"},
		{`(^|\n)http/(\d\d|[^1]|1\.\d\d)`, "a version that is not HTTP/1.x"},
		{`(^|\n)http/1\.\d (0|101)`, "a status without meaning, or 101"},
		{`(?s)http/1\.0 .*\ntransfer-encoding:`, "a transfer encoding in HTTP/1.0"},
		// net/http refuses these, and the reader accepts them.
		{`[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]`, "control characters"},
		{`\ncontent-length:\s*0`, "leading zeros of a length"},
		{`[0-9a-f]{17}`, "leading zeros of a chunk's size"},
		{`[0-9a-f][ \t]+;`, "space before a chunk's extension"},
		{`(?s)\n0+[ \t]*(;[^\n]*)?\r\n.*[^\r]\n`, "LF alone in a trailer"},
		{`\ntrailer:`, "a field that no trailer may have"},
		// The reader and net/http disagree about whether the connection can be used again.
		{`(?s)\ntransfer-encoding:.*content-length:|content-length:.*\ntransfer-encoding:`,
			"a length and chunks"},
		{`\nkeep-alive:`, "no further request"},
	} {
		if regexp.MustCompile(d.pattern).MatchString(text) {
			return d.why
		}
	}
	if len(stream) > 4<<10 {
		return "limits"
	}
	return ""
}

// oracle returns the outcome of reading a stream with net/http.
func oracle(stream []byte) (outcome, error) {
	in := bytes.NewReader(stream)
	b := bufio.NewReaderSize(in, 64<<10)
	var o outcome
	size := func() int { return len(stream) - in.Len() - b.Buffered() }
	for {
		before := size()
		r, err := http.ReadResponse(b, nil)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return outcome{Size: before, Incomplete: true}, nil
		}
		if err != nil {
			return o, err
		}
		if r.StatusCode < 200 {
			continue
		}
		o.Status, o.Close = r.StatusCode, r.Close
		_, err = io.Copy(io.Discard, r.Body)
		o.Size = size()
		o.Unverified = r.ContentLength < 0 && r.TransferEncoding == nil && r.Body != http.NoBody
		if o.Incomplete = errors.Is(err, io.ErrUnexpectedEOF); o.Incomplete {
			err = nil
		}
		return o, err
	}
}

// BenchmarkResponse reads responses that have arrived completely: those of a worker and of other
// servers.
func BenchmarkResponse(b *testing.B) {
	own := Own()
	for name, stream := range map[string]string{
		"worker": ownResponse,
		"nginx": "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n" +
			"Date: Mon, 30 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n" +
			"Content-Length: 3\r\nConnection: keep-alive\r\n" +
			"Worker: 1234\r\nGeneration: 1\r\n\r\nok\n",
		"chunked": "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"3\r\nok\n\r\n0\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			var r ResponseReader
			in := []byte(stream)
			b.ReportAllocs()
			for b.Loop() {
				r.Start(&own)
				if used, done, err := r.Next(in); used != len(in) || !done || err != nil {
					b.Fatal(used, done, err)
				}
			}
		})
	}
}

// TestResponseAllocations checks that reading a response allocates nothing.
func TestResponseAllocations(t *testing.T) {
	own, in := Own(), []byte(ownResponse)
	var r ResponseReader
	if n := testing.AllocsPerRun(100, func() {
		r.Start(&own)
		_, _, _ = r.Next(in)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

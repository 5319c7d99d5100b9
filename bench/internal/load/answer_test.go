package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/wire"
)

// A reply serves one connection of a test server, which closes the connection when the reply
// returns.
type reply func(c *net.TCPConn)

// says returns a reply that reads a request and answers it with the pieces, one at a time.
func says(pieces ...string) reply {
	return func(c *net.TCPConn) {
		readRequest(c)
		write(c, pieces...)
	}
}

// keeps returns a reply that answers the requests on the connection with texts, in order.
func keeps(texts ...string) reply {
	return func(c *net.TCPConn) {
		for _, text := range texts {
			readRequest(c)
			write(c, text)
		}
		readRequest(c) // returns when the client closes the connection
	}
}

// resetting returns a reply that does the same as r and then resets the connection.
func (r reply) resetting() reply {
	return func(c *net.TCPConn) {
		r(c)
		_ = c.SetLinger(0)
	}
}

// readRequest reads a request without a body.
func readRequest(c *net.TCPConn) { _, _ = c.Read(make([]byte, wire.MaxHead)) }

// write writes the pieces. It pauses after each, so that the client probably, but not certainly,
// reads them one by one.
func write(c *net.TCPConn, pieces ...string) {
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(time.Millisecond)
		}
		_, _ = io.WriteString(c, piece)
	}
}

// foreign starts a server that serves its connections with the replies, in order.
func foreign(t *testing.T, replies ...reply) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, r := range replies {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r(c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

const (
	okHead   = "HTTP/1.1 200 OK\r\n"
	okAnswer = okHead + "Content-Length: 3\r\n\r\nok\n"
	// close408 is the response that servers send on an idle connection before they close it.
	close408 = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

// TestAnswers sends an attempt to servers that answer in the many ways of third-party servers.
func TestAnswers(t *testing.T) {
	const lost = results.PhaseBody
	long := strings.Repeat("x", 5_000_000)
	for _, tt := range []struct {
		name       string
		reply      reply
		request    Request
		class      results.Class
		phase      results.Phase
		status     int
		unverified bool
	}{
		{"in three pieces", says(okHead, "Content-Length: 3\r\n\r", "\nok\n"), Request{},
			results.ClassNone, 0, 200, false},
		{"chunked", says(okHead+"Transfer-Encoding: chunked\r\n\r\n", "3\r\nok\n\r\n",
			"0\r\n\r\n"), Request{}, results.ClassNone, 0, 200, false},
		{"chunked, cut short", says(okHead + "Transfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n"),
			Request{}, results.ClassEOF, lost, 200, false},
		{"interim, then final", says("HTTP/1.1 103 \r\n\r\n", okAnswer), Request{},
			results.ClassNone, 0, 200, false},
		{"a body of 5 MB", says(okHead + "Content-Length: 5000000\r\n\r\n" + long), Request{},
			results.ClassNone, 0, 200, false},
		{"5 MB, and one more", says(okHead + "Content-Length: 5000001\r\n\r\n" + long), Request{},
			results.ClassEOF, lost, 200, false},
		{"a head of 30 kB", says(okHead+"Set-Cookie: "+long[:30_000], "\r\n"+okAnswer[17:]),
			Request{}, results.ClassNone, 0, 200, false},
		{"a head of 33 kB", says(okHead + "Set-Cookie: " + long[:33_000] + "\r\n\r\n"), Request{},
			results.ClassInvalid, lost, 0, false},
		{"to the end of the connection", says("HTTP/1.0 200 OK\r\n\r\n", long), Request{},
			results.ClassNone, 0, 200, true},
		{"500 to the end of the connection", says("HTTP/1.0 500 Oops\r\n\r\nsorry"), Request{},
			results.ClassErrorAnswer, lost, 500, false},
		{"to its reset", says("HTTP/1.0 200 OK\r\n\r\n", "ok").resetting(), Request{},
			results.ClassReset, lost, 200, false},
		{"a reset after the answer", says(okAnswer).resetting(), Request{}, results.ClassNone, 0,
			200, false},
		{"HEAD", says(okHead + "Content-Length: 3\r\n\r\n"), Request{Method: "HEAD"},
			results.ClassNone, 0, 200, false},
		{"a folded line", says(okHead + "A: b\r\n c\r\n\r\n"), Request{}, results.ClassInvalid,
			lost, 0, false},
		{"503", says("HTTP/1.1 503 \r\nContent-Length: 4\r\n\r\n", "busy"), Request{},
			results.ClassErrorAnswer, lost, 503, false},
		{"503, cut short", says("HTTP/1.1 503 \r\nContent-Length: 5\r\n\r\nbusy"), Request{},
			results.ClassEOF, lost, 503, false},
		{"204, accepted", says("HTTP/1.1 204 \r\n\r\n"),
			Request{Status: []StatusRange{{200, 203}, {204, 299}}}, results.ClassNone, 0, 204,
			false},
		{"200, not accepted", says(okAnswer), Request{Status: []StatusRange{{204, 299}}},
			results.ClassErrorAnswer, lost, 200, false},
		{"408 on a connection of its own", says("HTTP/1.1 408 \r\nConnection: close\r\n" +
			"Content-Length: 0\r\n\r\n"), Request{}, results.ClassErrorAnswer, lost, 408, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := oneAttempt(t, Config{Target: foreign(t, tt.reply), Timeout: 5 * time.Second,
				Connections: vocabulary.ConnectionsNew, Request: tt.request})
			if s.Class != tt.class || s.Phase != tt.phase {
				t.Errorf("%v: %v, want %v: %v", s.Phase, s.Class, tt.phase, tt.class)
			}
			if s.Status != tt.status || s.Unverified != tt.unverified {
				t.Errorf("status %d, unverified %t; want %d, %t", s.Status, s.Unverified,
					tt.status, tt.unverified)
			}
			if s.Retriable {
				t.Error("retriable, on a connection of its own")
			}
		})
	}
}

// TestEarlyAnswers sends a body that is too large for the socket buffers. The servers answer before
// they have read the whole body.
func TestEarlyAnswers(t *testing.T) {
	const body = 32 << 20
	whole := func(c *net.TCPConn) { _, _ = io.CopyN(io.Discard, c, body) }
	tooLong := "HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		name  string
		reply reply
		class results.Class
		phase results.Phase
		early bool
	}{
		{"read, then answered", func(c *net.TCPConn) { whole(c); write(c, okAnswer) },
			results.ClassNone, 0, false},
		{"413", func(c *net.TCPConn) { write(c, tooLong); whole(c) }, results.ClassErrorAnswer,
			results.PhaseBody, true},
		{"413, and a reset", func(c *net.TCPConn) { readRequest(c); write(c, tooLong) },
			results.ClassErrorAnswer, results.PhaseBody, true},
		{"a reset", func(c *net.TCPConn) { readRequest(c) }, results.ClassReset,
			results.PhaseSend, true},
		{"half an answer, and a reset", func(c *net.TCPConn) { readRequest(c); write(c, "HTTP") },
			results.ClassReset, results.PhaseBody, true},
		{"an answer that the reset ends", func(c *net.TCPConn) {
			readRequest(c)
			write(c, "HTTP/1.0 200 OK\r\n\r\nok")
		}, results.ClassReset, results.PhaseBody, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := oneAttempt(t, Config{Target: foreign(t, tt.reply), Timeout: 5 * time.Second,
				Connections: vocabulary.ConnectionsNew, Body: body})
			if s.Class != tt.class || s.Phase != tt.phase {
				t.Errorf("%v: %v, want %v: %v", s.Phase, s.Class, tt.phase, tt.class)
			}
		})
	}
}

// TestAnswersOnKept sends attempts one after the other, and checks which of them used the same
// connection.
func TestAnswersOnKept(t *testing.T) {
	sent := func(status string) string {
		return "HTTP/1.1 " + status + " \r\nContent-Length: 0\r\n\r\n"
	}
	type end struct {
		conn      int // number of the connection
		class     results.Class
		retriable bool
	}
	served := func(conn int) end { return end{conn: conn} }
	again := keeps(okAnswer, okAnswer)
	for _, tt := range []struct {
		name    string
		replies []reply
		method  string
		want    []end
	}{
		{"kept", []reply{again}, "", []end{served(0), served(0)}},
		{"kept after an error", []reply{keeps(sent("500"), okAnswer)}, "",
			[]end{{0, results.ClassErrorAnswer, false}, served(0)}},
		{"Connection: close", []reply{keeps(okHead +
			"Connection: x, Close\r\nContent-Length: 0\r\n\r\n"), again}, "",
			[]end{served(0), served(1)}},
		{"HTTP/1.0", []reply{keeps("HTTP/1.0 200 \r\nContent-Length: 0\r\n\r\n"), again}, "",
			[]end{served(0), served(1)}},
		{"bytes after the answer", []reply{keeps(okAnswer + "more"), again}, "",
			[]end{served(0), served(1)}},
		{"408 that crosses the request", []reply{keeps(okAnswer, close408), again}, "",
			[]end{served(0), {0, results.ClassEOF, true}}},
		{"408 by the application", []reply{keeps(okAnswer, sent("408"))}, "",
			[]end{served(0), {0, results.ClassErrorAnswer, false}}},
		{"reset before an answer", []reply{keeps(okAnswer).resetting()}, "",
			[]end{served(0), {0, results.ClassReset, true}}},
		{"end before an answer", []reply{keeps(okAnswer)}, "",
			[]end{served(0), {0, results.ClassEOF, true}}},
		{"end within an answer", []reply{func(c *net.TCPConn) {
			readRequest(c)
			write(c, okAnswer)
			says(okHead)(c)
		}}, "",
			[]end{served(0), {0, results.ClassEOF, false}}},
		{"end before an answer to POST", []reply{keeps(okAnswer)}, "POST",
			[]end{served(0), {0, results.ClassEOF, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, finish := newTestTransport(t, Config{Processes: 1, Shape: atOnce(2),
				Target: foreign(t, tt.replies...), Timeout: 5 * time.Second,
				Connections: vocabulary.ConnectionsReused, Request: Request{Method: tt.method}})
			oneByOne(t, tr, 0, 2)
			samples, _ := finish()
			var got []end
			for _, s := range samples {
				conn := 0
				if s.Source != tr.sources.At(0) {
					conn = 1
				}
				got = append(got, end{conn, s.Class, s.Retriable})
				idle := tt.name == "408 that crosses the request" && s.Class == results.ClassEOF
				if idle != (s.Phase == results.PhaseWait && s.Status == 408) {
					t.Errorf("lost in the phase %v with status %d", s.Phase, s.Status)
				}
				checkSizes(t, tr, &s, tt.name == "kept")
			}
			if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(end{})); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// checkSizes checks the numbers of bytes written and received in the sample. ok reports whether the
// answer was okAnswer.
func checkSizes(t *testing.T, tr *transport, s *results.Sample, ok bool) {
	t.Helper()
	request := tr.template.Append(nil, wire.Attempt{Sequence: s.Sequence}, wire.KeepAlive)
	if s.Written != len(request) || ok && s.Received != len(okAnswer) {
		t.Errorf("attempt %d: %d bytes written, %d received; want %d, %d", s.Sequence, s.Written,
			s.Received, len(request), len(okAnswer))
	}
}

// TestEarlyAnswerOnKept checks that an answer to a request that the server does not read to its end
// completes the attempt, and that the connection is not used again.
func TestEarlyAnswerOnKept(t *testing.T) {
	var replies []reply
	var release []func() // each function lets the server close one connection
	for range 2 {
		hold := make(chan struct{})
		replies = append(replies, func(c *net.TCPConn) { write(c, okAnswer); <-hold })
		release = append(release, sync.OnceFunc(func() { close(hold) }))
	}
	tr, finish := newTestTransport(t, Config{Processes: 1, Target: foreign(t, replies...),
		Timeout: 5 * time.Second, Shape: atOnce(2), Connections: vocabulary.ConnectionsReused,
		Body: 32 << 20})
	for i := range release {
		t.Cleanup(release[i])
		oneByOne(t, tr, uint64(i), uint64(i+1))
		release[i]()
	}
	if tr.pool.open != 0 {
		t.Errorf("%d connections are open, want 0", tr.pool.open)
	}
	samples, _ := finish()
	for i, s := range samples {
		if !s.Served() || s.Source != tr.sources.At(uint64(i)) {
			t.Errorf("attempt %d: %v from %v, want it served, from %v", i, s.Class, s.Source,
				tr.sources.At(uint64(i)))
		}
	}
}

// TestReadsInTurns checks that an attempt reads only part of a large answer in one turn of the
// loop, and reads the rest in later turns even if no more data arrives.
func TestReadsInTurns(t *testing.T) {
	const size, body = 512, 60_000
	at := foreign(t, func(c *net.TCPConn) {
		readRequest(c)
		write(c, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okHead, body,
			strings.Repeat("x", body)))
		readRequest(c) // returns when the client closes the connection
	})
	tr, finish := newTestTransport(t, Config{Processes: 1, Target: at, Timeout: 5 * time.Second,
		Shape: atOnce(1), Connections: vocabulary.ConnectionsReused})
	tr.in = tr.in[:size]
	tr.begin(0)
	fd, a := tr.loop.conns[0].fd, tr.loop.conns[0].attempt
	for n := 0; n < body; {
		wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, 5000); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		var err error
		if n, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
	}
	turns := 0
	for ; tr.underWay > 0; turns++ {
		if _, err := tr.loop.turn(never); err != nil {
			t.Fatal(err)
		}
	}
	if want := body/(maxReads*size) + 1; turns != want || a.got < body {
		t.Errorf("%d bytes in %d turns, want %d turns", a.got, turns, want)
	}
	if samples, _ := finish(); !samples[0].Served() {
		t.Errorf("%v, want it served", samples[0].Class)
	}
}

// TestFlood checks that an attempt that waits for the server to close its connection ends at its
// deadline, even if the server sends faster than the load receives.
func TestFlood(t *testing.T) {
	const timeout, flood = 50 * time.Millisecond, 2 * time.Second
	at := foreign(t, func(c *net.TCPConn) {
		readRequest(c)
		write(c, okAnswer)
		_ = c.SetWriteDeadline(time.Now().Add(flood))
		for sent := make([]byte, 1<<16); ; {
			if _, err := c.Write(sent); err != nil {
				return
			}
		}
	})
	tr, finish := newTestTransport(t, Config{Processes: 1, Target: at, Timeout: timeout,
		Shape: atOnce(1), Connections: vocabulary.ConnectionsNew, Ports: 1})
	tr.in = tr.in[:len(okAnswer)]
	began := time.Now()
	oneByOne(t, tr, 0, 1)
	if took := time.Since(began); took < timeout || took > flood/2 {
		t.Errorf("took %v, want about %v", took, timeout)
	}
	if samples, _ := finish(); !samples[0].Served() {
		t.Errorf("%v, want it served", samples[0].Class)
	}
}

// TestUnsolicited checks that data that the server sends on an idle connection are not taken as the
// answer to the next request, which is sent on another connection.
func TestUnsolicited(t *testing.T) {
	at := foreign(t, func(c *net.TCPConn) {
		readRequest(c)
		write(c, okAnswer)
		time.Sleep(20 * time.Millisecond) // normally the client has read the answer by then
		write(c, close408)
		readRequest(c) // returns when the client closes the connection
	}, keeps(okAnswer))
	tr, finish := newTestTransport(t, Config{Processes: 1, Target: at, Timeout: 5 * time.Second,
		Shape: atOnce(2), Connections: vocabulary.ConnectionsReused})
	oneByOne(t, tr, 0, 1)
	if len(tr.pool.idle) > 0 {
		wait := []unix.PollFd{{Fd: int32(tr.pool.idle[0].fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, 5000); err != nil {
			t.Fatal(err)
		}
	}
	oneByOne(t, tr, 1, 2)
	samples, _ := finish()
	for i, s := range samples {
		if !s.Served() || s.Status != 200 || s.Source != tr.sources.At(uint64(i)) {
			t.Errorf("attempt %d: %v, status %d, from %v; want it served, from %v", i, s.Class,
				s.Status, s.Source, tr.sources.At(uint64(i)))
		}
	}
}

// TestServersTimeout checks that the client closes an idle connection shortly before its server's
// timeout, although no setting of the load limits its idle time.
func TestServersTimeout(t *testing.T) {
	at := foreign(t, keeps(okHead+"Keep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n", okAnswer))
	cfg := Config{Processes: 1, Target: at, Timeout: 5 * time.Second, Shape: atOnce(2),
		Connections: vocabulary.ConnectionsReused}
	tr, finish := newTestTransport(t, cfg)
	begin := tr.clock.Now()
	oneByOne(t, tr, 0, 1)
	c := tr.pool.idle[0]
	if early := c.expires.Sub(begin); early < 500*time.Millisecond || early >= time.Second {
		t.Errorf("it expires after %v, want half a second and the time of the attempt", early)
	}
	tr.pool.wakeBy(c.expires) // put has done the same
	for tr.pool.open > 0 {
		if _, err := tr.loop.turn(never); err != nil {
			t.Fatal(err)
		}
	}
	if now := tr.clock.Now(); now < c.expires {
		t.Errorf("closed %v early", c.expires.Sub(now))
	}
	finish()

	tr, finish = newTestTransport(t, Config{Processes: 1, Timeout: 5 * time.Second,
		Target: foreign(t, keeps(okHead+"Keep-Alive: timeout=3600\r\nContent-Length: 0\r\n\r\n",
			okAnswer)), Shape: atOnce(2), Connections: vocabulary.ConnectionsReused})
	oneByOne(t, tr, 0, 2)
	if c := tr.pool.idle[0]; tr.pool.open != 1 || c.expires != never {
		t.Errorf("%d open, the first until %d; want one that the last answer does not limit",
			tr.pool.open, c.expires)
	}
	finish()
}

// TestIdentities checks that the values of the configured headers identify the process that
// answered, and that each value is listed once. Without configured headers only numbers identify
// the process.
func TestIdentities(t *testing.T) {
	answer := func(worker, generation string) string {
		return fmt.Sprintf("%sX-Pid: %s\r\nWorker: %s\r\nGeneration: %s\r\n"+
			"Content-Length: 0\r\n\r\n", okHead, worker, worker, generation)
	}
	long := strings.Repeat("p", 2*maxIdentity)
	replies := []string{answer("web-1", "1"), answer("web-2", "2"), answer("web-1", "2"),
		answer(long, ""), okAnswer}
	for _, tt := range []struct {
		name     string
		identify Identify
		want     [][2]int // pairs of worker and generation
		names    Identities
	}{
		{"numbers", Identify{}, [][2]int{{-1, 1}, {-1, 2}, {-1, 2}, {-1, -1}, {-1, -1}},
			Identities{}},
		{"names", Identify{Worker: "x-pid", Generation: "Generation"},
			[][2]int{{0, 0}, {1, 1}, {0, 1}, {2, -1}, {-1, -1}},
			Identities{[]string{"web-1", "web-2", long[:maxIdentity]}, []string{"1", "2"}}},
		{"one name", Identify{Worker: "X-Pid"},
			[][2]int{{0, -1}, {1, -1}, {0, -1}, {2, -1}, {-1, -1}},
			Identities{Workers: []string{"web-1", "web-2", long[:maxIdentity]}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Processes: 1, Target: foreign(t, keeps(replies...)),
				Timeout: 5 * time.Second, Shape: atOnce(len(replies)),
				Connections: vocabulary.ConnectionsReused, Identify: tt.identify}
			tr, finish := newTestTransport(t, cfg)
			oneByOne(t, tr, 0, uint64(len(replies)))
			names := tr.identities()
			samples, _ := finish()
			var got [][2]int
			for _, s := range samples {
				got = append(got, [2]int{s.Worker, s.Generation})
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			if diff := cmp.Diff(names, tt.names); diff != "" {
				t.Errorf("names: got -, want +:\n%s", diff)
			}
		})
	}
	var x index
	for i := range maxIdentities + 1 {
		want := i
		if i == maxIdentities {
			want = -1
		}
		if n := x.add(fmt.Append(nil, i)); n != want {
			t.Fatalf("value %d has number %d, want %d", i, n, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { x.add([]byte("7")) }); n != 0 {
		t.Errorf("%v allocations for a value that is known, want 0", n)
	}
}

// TestRequestValidate checks that Validate refuses requests that no server would understand, and
// requests whose answers the load could not handle.
func TestRequestValidate(t *testing.T) {
	header := func(name, value string) Request {
		return Request{Headers: []wire.Field{{Name: name, Value: value}}}
	}
	for _, tt := range []struct {
		name    string
		request Request
		want    string // part of the error; "" if there is no error
	}{
		{"zero", Request{}, ""},
		{"all", Request{Method: "PUT", Path: "/a?b=%20",
			Headers: []wire.Field{{Name: "Host", Value: "example.org"}, {Name: "Accept"}},
			Status:  []StatusRange{{200, 399}}}, ""},
		{"method", Request{Method: "GET /"}, `method "GET /"`},
		{"CONNECT", Request{Method: "CONNECT"}, "method CONNECT"},
		{"relative path", Request{Path: "a"}, "starts with /"},
		{"space in path", Request{Path: "/a b"}, "write spaces"},
		{"line end in path", Request{Path: "/a\r\nb"}, "write spaces"},
		{"header name", header("a b", ""), `header "a b"`},
		{"header value", header("A", "b\r\nC: d"), "header A: value"},
		{"own header", header("content-length", "3"), "header content-length: the load sets it"},
		{"status", Request{Status: []StatusRange{{100, 200}}}, "status 100 to 200"},
		{"range", Request{Status: []StatusRange{{300, 200}}}, "status 300 to 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.request.Validate()
			text := fmt.Sprint(err)
			if (err == nil) != (tt.want == "") || !strings.Contains(text, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := newTransport(Config{Request: Request{Path: "a"}}, nil, nil); err == nil {
		t.Error("a transport takes an invalid request")
	}
}

// TestEndlessAnswer checks that an endless answer does not delay other attempts, and that its own
// attempt ends with a timeout.
func TestEndlessAnswer(t *testing.T) {
	endless := func(c *net.TCPConn) {
		readRequest(c)
		write(c, "HTTP/1.0 200 OK\r\n\r\n")
		for piece := make([]byte, 256<<10); ; {
			if _, err := c.Write(piece); err != nil {
				if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
					t.Error(err)
				}
				return
			}
		}
	}
	timeout := 200 * time.Millisecond
	cfg := Config{Processes: 1, Target: foreign(t, endless), Timeout: timeout, Shape: atOnce(2),
		Connections: vocabulary.ConnectionsNew}
	tr, finish := newTestTransport(t, cfg)
	tr.begin(0)
	tr.cfg.Target = foreign(t, says(okAnswer))
	tr.begin(1)
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	if diff := cmp.Diff(sequences(samples), []uint64{1, 0}); diff != "" || !samples[0].Served() {
		t.Errorf("the second was %v; in the order of their ends: got -, want +:\n%s",
			samples[0].Class, diff)
	}
	if s := samples[1]; s.Class != results.ClassTimeout || s.Phase != results.PhaseBody {
		t.Errorf("the first: %v in %v, want a timeout in the body", s.Class, s.Phase)
	}
}

package witness

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A client is the client of one connection. It records what it did and saw on that connection.
type client struct {
	number    int // the connection's number, from 0
	from      netip.AddrPort
	connected bool
	requests  []int // the number of bytes sent up to the end of each request that was sent whole
	sent      int   // bytes that the kernel accepted
	got       int   // bytes received
	reset     bool  // the client reset the connection
	keep      bool  // leave the connection open
	conn      *net.TCPConn
	err       error
}

// clients makes connections to a target, several at a time. Each connection has its own source
// address.
type clients struct {
	target  netip.AddrPort
	habits  []habit
	first   int // number of the first connection
	mu      sync.Mutex
	all     []*client
	timeout time.Duration
}

// A habit is the way in which a client behaves.
type habit struct {
	name string
	do   func(c *client, conn *net.TCPConn, r *rand.Rand)
}

var habits = []habit{
	{"one request", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, true, 0)
		c.await(conn)
	}},
	{"one request", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, true, 0)
		c.await(conn)
	}},
	{"one request", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, true, 0)
		c.await(conn)
	}},
	{"a request late", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
		c.request(conn, true, 0)
		c.await(conn)
	}},
	{"a request in two parts", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		c.request(conn, true, time.Duration(1+r.IntN(5))*time.Millisecond)
		c.await(conn)
	}},
	{"several requests", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		for range 1 + r.IntN(4) {
			c.request(conn, false, 0)
			c.answer(conn)
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		}
	}},
	{"idle until the server closes", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		c.request(conn, false, 0)
		c.answer(conn)
		_ = conn.SetReadDeadline(time.Now().Add(time.Duration(20+r.IntN(60)) * time.Millisecond))
		c.await(conn)
	}},
	{"half closed", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, true, 0)
		_ = conn.CloseWrite()
		c.await(conn)
	}},
	{"no request", func(_ *client, _ *net.TCPConn, r *rand.Rand) {
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
	}},
	{"part of a request", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		c.send(conn, request(c.number, true)[:9])
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
	}},
	{"reset before an answer", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, true, 0)
		c.abort(conn)
	}},
	{"reset without a request", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.abort(conn)
	}},
	{"reset after part of a request", func(c *client, conn *net.TCPConn, r *rand.Rand) {
		c.send(conn, request(c.number, true)[:9])
		time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		c.abort(conn)
	}},
	{"two requests at once", func(c *client, conn *net.TCPConn, _ *rand.Rand) {
		c.request(conn, false, 0)
		c.request(conn, true, 0)
		c.await(conn)
	}},
}

// request returns a request in the same form as the load's.
func request(number int, closing bool) string {
	last := ""
	if closing {
		last = "Connection: close\r\n"
	}
	return fmt.Sprintf("GET / HTTP/1.1\r\nHost: x\r\nAttempt: 0-%08d\r\n%s\r\n", number, last)
}

// run makes n connections, atATime of them at a time, and returns when all have ended.
func (cs *clients) run(n, atATime int, seed uint64) {
	numbers := make(chan int)
	var wait sync.WaitGroup
	for i := range atATime {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for number := range numbers {
				c := cs.one(number, r)
				cs.mu.Lock()
				cs.all = append(cs.all, c)
				cs.mu.Unlock()
			}
		})
	}
	for i := range n {
		numbers <- cs.first + i
	}
	close(numbers)
	wait.Wait()
}

// Each connection has its own source: a port from firstPort on.
const (
	firstPort       = 10_000
	portsPerAddress = 20_000
)

func (cs *clients) one(number int, r *rand.Rand) *client {
	i := number / portsPerAddress
	ip := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i) + 1})
	c := &client{
		number: number,
		from:   netip.AddrPortFrom(ip, uint16(firstPort+number%portsPerAddress)),
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(c.from), Timeout: cs.timeout}
	conn, err := d.Dial("tcp4", cs.target.String())
	if err != nil {
		c.err = err
		return c
	}
	c.connected = true
	tcp := conn.(*net.TCPConn)
	_ = tcp.SetDeadline(time.Now().Add(cs.timeout))
	cs.habits[r.IntN(len(cs.habits))].do(c, tcp, r)
	if c.conn = tcp; !c.keep {
		c.close()
	}
	return c
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// request sends a request, with a pause in the middle.
func (c *client) request(conn *net.TCPConn, closing bool, pause time.Duration) {
	text := request(c.number, closing)
	if pause > 0 {
		if c.send(conn, text[:9]); c.err != nil {
			return
		}
		text = text[9:]
		time.Sleep(pause)
	}
	if c.send(conn, text); c.err == nil {
		c.requests = append(c.requests, c.sent)
	}
}

func (c *client) send(conn *net.TCPConn, text string) {
	n, err := io.WriteString(conn, text)
	c.sent += n
	if err != nil && c.err == nil {
		c.err = err
	}
}

// answer reads one answer from the server.
func (c *client) answer(conn *net.TCPConn) {
	var text strings.Builder
	b := make([]byte, 1)
	for c.err == nil && !strings.HasSuffix(text.String(), "\r\n\r\nok\n") {
		n, err := conn.Read(b)
		c.got += n
		text.Write(b[:n])
		if err != nil {
			c.err = err
		}
	}
}

// await reads until the server closes its end.
func (c *client) await(conn *net.TCPConn) {
	n, err := io.Copy(io.Discard, conn)
	c.got += int(n)
	if err != nil && c.err == nil {
		c.err = err
	}
}

func (c *client) abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	c.reset = true
}

// wasReset reports whether the server's host has reset the connection.
func (c *client) wasReset() bool {
	return errors.Is(c.err, unix.ECONNRESET) || errors.Is(c.err, unix.EPIPE)
}

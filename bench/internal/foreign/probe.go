package foreign

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// probeLimit is the maximum time for one request that finds out whether the server is ready.
const probeLimit = time.Second

// An answer is the server's response to a request that this program, not the load, has sent.
type answer struct {
	status     int
	worker     int    // from Identify.Worker; 0: unknown
	generation string // from Identify.Generation; "": unknown
	text       string // the first line of the body
}

// ok reports whether the answer has a status that Ready accepts.
func (a answer) ok(r Ready) bool {
	if r.Status != 0 {
		return a.status == r.Status
	}
	return a.status >= 200 && a.status < 400
}

func (a answer) String() string {
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if a.text != "" {
		text += fmt.Sprintf(" (%q)", a.text)
	}
	return text
}

// ask sends a request on a new connection, and returns the answer.
func (s *Server) ask(ctx context.Context, path string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return a, err
	}
	request, err := s.request(ctx, path)
	if err != nil {
		return a, err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return a, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return a, fmt.Errorf("the answer: %w", err)
	}
	defer response.Body.Close()
	const limit = 256
	body, _ := io.ReadAll(io.LimitReader(response.Body, limit))
	a = answer{status: response.StatusCode, text: strings.Join(firstLine(body), "")}
	if name := s.cfg.Identify.Worker; name != "" {
		a.worker, _ = strconv.Atoi(strings.TrimSpace(response.Header.Get(name)))
	}
	if name := s.cfg.Identify.Generation; name != "" {
		a.generation = strings.TrimSpace(response.Header.Get(name))
	}
	return a, nil
}

func (s *Server) request(ctx context.Context, path string) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.cfg.Address.String()+path,
		nil)
}

// keepLimit is the maximum time for which Keeps tests the server.
const keepLimit = time.Second

// Keeps opens connections one after another, at most the given number, and sends a request on each.
// It returns the number of connections that the server answered and kept open, up to the first that
// it did not. Finally it closes all connections.
func (s *Server) Keeps(ctx context.Context, path string, most int) (n int) {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	for ; n < most; n++ {
		conn, err := s.connect(ctx)
		if err != nil {
			break
		}
		defer conn.Close()
		if !s.keeps(ctx, conn, path) {
			break
		}
	}
	return n
}

// keeps reports whether the server answers a request on the connection and keeps the connection.
func (s *Server) keeps(ctx context.Context, conn net.Conn, path string) bool {
	deadline, _ := ctx.Deadline()
	request, err := s.request(ctx, path)
	err = errors.Join(err, conn.SetDeadline(deadline))
	if err != nil || request.Write(conn) != nil {
		return false
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if response.Close { // also with HTTP/1.0, and for a body that the end of the connection ends
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil
}

func firstLine(b []byte) []string {
	line, _, _ := strings.Cut(string(b), "\n")
	return lastLines([]byte(line), 1)
}

// connect opens a connection to the server in the server's network namespace. A socket belongs to
// the namespace of the thread that creates it, so only the creation and the start of the connection
// run on a thread in that namespace.
func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	fd, connectErr := -1, error(nil)
	err := s.env.Do(func() (err error) {
		if fd, err = socket.Open(s.cfg.Address.Addr()); err != nil {
			return err
		}
		if s.cfg.Probe.IsValid() {
			connectErr = socket.Bind(fd, netip.AddrPortFrom(s.cfg.Probe, 0))
		}
		if connectErr == nil {
			connectErr = socket.Connect(fd, s.cfg.Address)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "probe")
	defer f.Close()
	if connectErr != nil && !errors.Is(connectErr, unix.EINPROGRESS) {
		return nil, fmt.Errorf("connect: %w", connectErr)
	}
	if err := awaitConnected(ctx, fd); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return net.FileConn(f)
}

// awaitConnected waits until a connection is established or has failed.
func awaitConnected(ctx context.Context, fd int) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return errors.New("no deadline")
	}
	for ctx.Err() == nil {
		const step = 50 * time.Millisecond // how often it checks whether ctx has ended
		wait := min(step, max(time.Until(deadline), 0))
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(wait.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR), n == 0 && err == nil:
			continue
		case err != nil:
			return err
		}
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		return err
	}
	return cmp.Or(context.Cause(ctx), error(unix.ETIMEDOUT))
}

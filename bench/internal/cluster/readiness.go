package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// awaitStarted waits until the container of a pod that was made at an instant counts as started.
// With readiness "listening" it waits until the pod's processes listen.
func (c *Cluster) awaitStarted(ctx context.Context, p *pod, made clock.Instant) {
	if at := made.Add(c.plan.ContainerStart); c.clock.SleepUntil(ctx, at) != nil ||
		c.plan.Readiness != vocabulary.ReadinessListening {
		return
	}
	for _, w := range p.workers {
		select {
		case <-w.Ready():
		case <-w.Exited():
		case <-ctx.Done():
		}
	}
}

// probeOf returns the readiness probe of a pod, or nil if it has none.
func (c *Cluster) probeOf(p *pod) func(context.Context) error {
	if c.plan.Readiness != vocabulary.ReadinessProbe {
		return nil
	}
	if c.plan.Command {
		return func(context.Context) error { return p.ready() }
	}
	return func(ctx context.Context) error { return c.probe(ctx, p) }
}

// ready returns nil if the third-party server in the pod has become ready, and has not exited
// since. The server was asked while it started (foreign.Ready), and is not asked again.
func (p *pod) ready() error {
	for _, w := range p.workers {
		select {
		case <-w.Exited():
			return errors.New("the server has exited")
		default:
		}
		select {
		case <-w.Ready():
		default:
			return errors.New("the server is not ready")
		}
	}
	return nil
}

// probe sends an HTTP request to a pod from the pod's node, as a kubelet does. Any status from 200
// to 399 is a success (kubernetes.io, "Configure Liveness, Readiness and Startup Probes").
func (c *Cluster) probe(ctx context.Context, p *pod) (err error) {
	conn, err := c.dial(ctx, c.lab.Node(p.Node), netip.AddrPortFrom(p.Addr, plan.ServerPort))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // fails if the connection is already closed
	})
	defer stop()
	const request = "GET /readyz HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n"
	if _, err := fmt.Fprintf(conn, request, p.Addr); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if r.StatusCode < http.StatusOK || r.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("status %s", r.Status)
	}
	return errors.Join(err, r.Body.Close())
}

// dial starts to connect from a host of the lab, and does not wait for the handshake. Only making
// the socket needs the lab's thread: a socket stays in the network namespace in which it was made.
func (c *Cluster) dial(
	ctx context.Context, from *netlab.Host, to netip.AddrPort,
) (net.Conn, error) {
	var fd int
	err := c.lab.Do(from, func() (err error) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
		fd, err = unix.Socket(unix.AF_INET, kind, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "readiness probe")
	err = unix.Connect(fd, socket.Sockaddr(to))
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, errors.Join(err, file.Close())
	}
	conn, err := net.FileConn(file)
	return conn, errors.Join(err, file.Close())
}

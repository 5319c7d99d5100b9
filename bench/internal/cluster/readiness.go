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
	"reuseport-bench/servers/socket"
)

// awaitStarted returns when a pod counts as started: when its processes listen or, where a probe
// asks for that or none is to, at once.
func (c *Cluster) awaitStarted(ctx context.Context, p *pod) {
	if c.plan.Readiness != vocabulary.ReadinessListening {
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

// probeOf returns the readiness probe of a pod; nil: it has none.
func (c *Cluster) probeOf(p *pod) func(context.Context) error {
	if c.plan.Readiness != vocabulary.ReadinessProbe {
		return nil
	}
	return func(ctx context.Context) error { return c.probe(ctx, p) }
}

// probe asks a pod over HTTP, from its node, as a kubelet does: any status from 200 to 399 is a
// success (kubernetes.io, "Configure Liveness, Readiness and Startup Probes").
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
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a connection that is closed already
	defer stop()
	if _, err := fmt.Fprintf(conn, "GET /readyz HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", p.Addr); err != nil {
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

// dial connects from a host of the lab, without waiting for the handshake: a socket stays in the
// network namespace that it was made in, so only making it takes the lab's thread.
func (c *Cluster) dial(ctx context.Context, from *netlab.Host, to netip.AddrPort) (net.Conn, error) {
	var fd int
	err := c.lab.Do(from, func() (err error) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "readiness probe")
	if err := unix.Connect(fd, socket.Sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, errors.Join(err, file.Close())
	}
	conn, err := net.FileConn(file)
	return conn, errors.Join(err, file.Close())
}

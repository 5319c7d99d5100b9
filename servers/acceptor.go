package servers

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// channels holds the socket pairs between an acceptor and its workers, one pair per worker index.
// close closes this process's descriptors of both ends of every pair.
type channels struct{ acceptor, workers []*os.File }

var errAcceptorStarted = errors.New(
	"the acceptor knows only the workers that it was started with")

func (g *Group) openChannels() (c channels, err error) {
	if !g.cfg.Accept.Row().Passes {
		return c, nil
	}
	if g.acceptor != nil {
		return c, errAcceptorStarted
	}
	for range g.cfg.Workers {
		// One message is one connection, so message boundaries must be kept (unix(7)).
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return c, fmt.Errorf("channel to a worker: %w", err)
		}
		c.acceptor = append(c.acceptor, os.NewFile(uintptr(pair[0]), "acceptor"))
		c.workers = append(c.workers, os.NewFile(uintptr(pair[1]), "worker"))
	}
	return c, nil
}

func (c channels) close() {
	for _, f := range append(c.acceptor, c.workers...) {
		_ = f.Close() // this process does not use the socket
	}
}

// startAcceptor starts the process that accepts connections and passes them to the workers over c.
func (g *Group) startAcceptor(ctx context.Context, c channels) (ready clock.Instant, err error) {
	a := g.newWorker(0)
	a.Acceptor = true
	g.number(a)
	l, err := duplicate(g.listener)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	cfg := g.workerConfig(a)
	cfg.Inherited = true
	cfg.Channels = len(c.acceptor)
	err = a.start(g.env.Command(), nil, append([]*os.File{l}, c.acceptor...))
	if err == nil {
		err = g.configure(a, cfg)
	}
	if err != nil {
		return 0, fmt.Errorf("worker %d: %w", a.ID, a.abandon(err))
	}
	g.acceptor = a
	if err := a.awaitReady(ctx); err != nil {
		return 0, errors.Join(err, kill([]*Worker{a}))
	}
	return a.readyAt, nil
}

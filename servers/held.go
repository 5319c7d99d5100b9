package servers

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// A heldSocket is a listening socket that the parent holds and that is not shared.
type heldSocket struct {
	fd    int
	inode uint64
	index int // index of the workers that get the socket, or noIndex
}

// noIndex marks a socket that is given to no worker, so that its connections are never accepted.
const noIndex = -1

// hold opens a listening socket in the parent, at the address of the workers with that index.
func (g *Group) hold(index int) error {
	return g.env.Do(func() error {
		fd, err := g.cfg.Listen(g.address(max(0, index)))
		if err != nil {
			return err
		}
		inode, err := socket.Inode(fd)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		g.heldSockets = append(g.heldSockets, heldSocket{fd, inode, index})
		return nil
	})
}

// heldFor returns the position in heldSockets of the socket for workers with that index, or -1.
func (g *Group) heldFor(index int) int {
	return slices.IndexFunc(g.heldSockets, func(h heldSocket) bool { return h.index == index })
}

// heldListener returns a duplicate of the socket that the parent holds for workers with that index.
// It opens the socket on first use.
func (g *Group) heldListener(index int) (*os.File, error) {
	if g.heldFor(index) < 0 {
		if err := g.hold(index); err != nil {
			return nil, err
		}
	}
	return duplicate(g.heldSockets[g.heldFor(index)].fd)
}

// Join adds a listening socket to the workers' SO_REUSEPORT group and returns when the socket
// listens. Connections to it are never accepted. The parent holds the socket until DropSocket or
// Close. Calls must not overlap with each other or with the start of a worker.
func (g *Group) Join() (ready clock.Instant, err error) {
	if g.cfg.Sockets != vocabulary.SocketsReuseport {
		return 0, fmt.Errorf("no socket can join a group with sockets: %s", g.cfg.Sockets)
	}
	if err := g.hold(noIndex); err != nil {
		return 0, fmt.Errorf("join the group: %w", err)
	}
	return g.env.Clock.Now(), g.updateCount()
}

// Held returns the inodes of the sockets that the group holds and that are not shared, in order of
// creation.
func (g *Group) Held() (listeners []uint64) {
	for _, h := range g.heldSockets {
		listeners = append(listeners, h.inode)
	}
	return listeners
}

// A Dropped describes a socket that DropSocket closed.
type Dropped struct {
	Listener uint64 // its inode
	// The kernel began to close it after From, and had closed it by To.
	From, To clock.Instant
	// Last is true if no worker had the socket, so that the connections in its queue were lost.
	Last bool
}

// DropSocket closes the nth of the sockets that Held returns. Workers that have the socket keep it.
// Calls must not overlap with each other or with the start of a worker.
func (g *Group) DropSocket(n int) (Dropped, error) {
	if n < 0 || n >= len(g.heldSockets) {
		return Dropped{}, fmt.Errorf(
			"target %d: the supervisor holds %d sockets now, counted from 0", n, len(g.heldSockets))
	}
	h := g.heldSockets[n]
	g.heldSockets = slices.Delete(g.heldSockets, n, n+1)
	d := Dropped{Listener: h.inode, Last: !slices.ContainsFunc(g.Workers(), func(w *Worker) bool {
		return w.listens() && w.listener == h.inode
	})}
	d.From = g.env.Clock.Now()
	err := unix.Close(h.fd)
	d.To = g.env.Clock.Now()
	if err != nil {
		return d, fmt.Errorf("drop socket %d: %w", n, err)
	}
	return d, g.updateCount()
}

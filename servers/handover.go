package servers

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Handover is how a worker's successor comes by its listening socket.
type Handover string

// The ways to pass a listening socket on.
const (
	// NoHandover: each worker binds its own, and a shared one is inherited from the parent at fork(2), as prefork servers have it.
	NoHandover Handover = ""
	// SocketActivation: a supervisor, which is the parent, holds the sockets for good and gives them to each worker at
	// execve(2), by systemd's convention: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (sd_listen_fds(3)).
	SocketActivation Handover = "socket-activation"
	// SCMRights: a worker asks its predecessor, to which it is not related, for the socket over a Unix socket and gets it as
	// SCM_RIGHTS (unix(7)). HAProxy's expose-fd listeners and -x, and Meta's Zero Downtime Release, do it so.
	SCMRights Handover = "scm-rights"
	// Tableflip, with HTTP only: the predecessor starts its successor and passes it the socket, by cloudflare/tableflip.
	Tableflip Handover = "tableflip"
)

// predecessor is whom the worker gets its listening socket from, or nil: nobody has it.
func (g *Group) predecessor(w *Worker) (from *Worker) {
	if g.cfg.Handover != SCMRights && g.cfg.Handover != Tableflip {
		return nil
	}
	for _, other := range g.Workers() {
		// An upgrade ends who starts it, so there only the one with its index will do.
		stranger := g.cfg.Sockets == Shared && g.cfg.Handover == SCMRights && (from == nil || from.Index != w.Index)
		if (other.Index == w.Index || stranger) && other.Serves() {
			from = other
		}
	}
	return from
}

// offerName is the abstract address at which a worker passes its listener on.
func (g *Group) offerName(w *Worker) string { return fmt.Sprintf("%s-%d", g.name, w.ID) }

// duplicate is a duplicate of a listener for a child; the caller closes it.
func duplicate(listener int) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(listener), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listener: dup: %w", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// heldListener is a duplicate of the socket that the parent holds for an index, made when it is first needed.
func (g *Group) heldListener(index int) (*os.File, error) {
	if _, made := g.held[index]; !made {
		err := g.env.Do(func() error {
			l, err := g.cfg.Listen(g.address(index))
			if err == nil {
				g.held[index] = l
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return duplicate(g.held[index])
}

// letGo closes the shared socket once it is the workers' alone to pass on.
func (g *Group) letGo() error {
	if g.listener < 0 || g.cfg.Handover != SCMRights && g.cfg.Handover != Tableflip {
		return nil
	}
	err := unix.Close(g.listener)
	g.listener = -1
	return err
}

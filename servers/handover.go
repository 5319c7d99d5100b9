package servers

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

// predecessor returns the worker from which w gets its listening socket, or nil if no worker has
// that socket.
func (g *Group) predecessor(w *Worker) (from *Worker) {
	if g.cfg.Handover != vocabulary.SCMRights && g.cfg.Handover != vocabulary.Tableflip {
		return nil
	}
	for _, other := range g.Workers() {
		// With SCMRights any worker can pass a shared socket on; prefer one with the same index.
		// With Tableflip a worker exits after it has started its successor, so both must have the
		// same index.
		passesAny := g.cfg.Sockets == vocabulary.SocketsShared &&
			g.cfg.Handover == vocabulary.SCMRights && (from == nil || from.Index != w.Index)
		if (other.Index == w.Index || passesAny) && other.Serves() {
			from = other
		}
	}
	return from
}

// offerName returns the abstract address at which a worker passes its listener on.
func (g *Group) offerName(w *Worker) string { return fmt.Sprintf("%s-%d", g.name, w.ID) }

// duplicate returns a duplicate of a listener for a child. The caller closes it.
func duplicate(listener int) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(listener), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listener: dup: %w", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// closeShared closes the group's descriptor of the shared socket if workers pass the socket on
// among themselves.
func (g *Group) closeShared() error {
	passes := g.cfg.Handover == vocabulary.SCMRights || g.cfg.Handover == vocabulary.Tableflip
	if g.listener < 0 || !passes {
		return nil
	}
	err := unix.Close(g.listener)
	g.listener = -1
	return err
}

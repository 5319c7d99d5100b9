package servers

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

// predecessor is whom the worker gets its listening socket from, or nil: nobody has it.
func (g *Group) predecessor(w *Worker) (from *Worker) {
	if g.cfg.Handover != vocabulary.SCMRights && g.cfg.Handover != vocabulary.Tableflip {
		return nil
	}
	for _, other := range g.Workers() {
		// An upgrade ends who starts it, so there only the one with its index will do.
		stranger := g.cfg.Sockets == vocabulary.SocketsShared && g.cfg.Handover == vocabulary.SCMRights && (from == nil || from.Index != w.Index)
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

// letGo closes the shared socket once it is the workers' alone to pass on.
func (g *Group) letGo() error {
	if g.listener < 0 || g.cfg.Handover != vocabulary.SCMRights && g.cfg.Handover != vocabulary.Tableflip {
		return nil
	}
	err := unix.Close(g.listener)
	g.listener = -1
	return err
}

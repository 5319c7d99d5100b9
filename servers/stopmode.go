package servers

// StopMode is how a worker ends.
type StopMode string

// The stop modes.
const (
	Kill    StopMode = "kill"    // SIGKILL
	Close   StopMode = "close"   // close the listener, finish what was accepted, exit
	Drain   StopMode = "drain"   // accept until the queue is empty, then as Close
	Migrate StopMode = "migrate" // as Close, in a namespace where tcp_migrate_req=1 saves the queue
	// BPFMigrate is Close, in a group whose program moves the queue to the workers that are listed.
	BPFMigrate StopMode = "bpf-migrate"
	// BPFDrain takes the worker off its selector's list, lets it go on until no handshake is under
	// way at its listener, and is then as Drain.
	BPFDrain StopMode = "bpf-drain"
	// Inherit and Handoff leave the socket to the successor, finish what was accepted, and exit: with
	// SocketActivation, and with SCMRights.
	Inherit StopMode = "inherit"
	Handoff StopMode = "handoff"
	// Upgrade, with HTTP and Tableflip, is Shutdown once the successor is ready, as tableflip's
	// documentation has it.
	Upgrade StopMode = "tableflip"
	// BindAfterClose, with Exclusive only, is Close; the successor has been trying to bind meanwhile.
	BindAfterClose StopMode = "bind-after-close"
	// Shutdown, with HTTP only, is http.Server.Shutdown: what was accepted and is read only after it
	// began is closed without an answer.
	Shutdown StopMode = "shutdown"
	// LBDrain is BindAfterClose, of a worker that the load balancer in front of it sends nothing to.
	LBDrain StopMode = "lb-drain"
)

// ClosesAtOnce reports whether a worker that is told to end so closes its listener before anything
// else.
func (m StopMode) ClosesAtOnce() bool {
	switch m {
	case Close, Migrate, BPFMigrate, Inherit, Handoff, BindAfterClose, LBDrain:
		return true
	}
	return false
}

// DrainsQueue reports whether a worker that is told to end so accepts until its queue is empty before
// it closes its listener.
func (m StopMode) DrainsQueue() bool { return m == Drain || m == BPFDrain }

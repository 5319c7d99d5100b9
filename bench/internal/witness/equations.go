package witness

// An Equation compares a count of the kernel's with what the witness saw.
type Equation struct {
	Name         string // of the kernel's counter, or "births"
	Kernel, Seen int64
}

// Residual returns how many the witness missed; it is negative if the witness saw too many.
func (e Equation) Residual() int64 { return e.Kernel - e.Seen }

// passiveOpens counts the sockets that handshakes made (tcp_create_openreq_child in
// net/ipv4/tcp_minisocks.c).
const passiveOpens = "TcpPassiveOpens"

// Equations compares the account with the kernel's counters. A counter that the kernel lacks gives
// no equation.
//
//   - TcpPassiveOpens: each handshake that made a socket is one end. Connections to other ports
//     count, too, and are seen only with a trace.
//   - TcpExtTCPAbortOnClose: each close with unread data is one. Those of clients in the same
//     namespace count, too. Without a trace call Complete first.
//   - births, with a trace: each connection that a listener made is one end.
func (a *Account) Equations() (all []Equation) {
	ends, unread := int64(len(a.Ends))+a.Lost, int64(0)
	for i := range a.Ends {
		if e := &a.Ends[i]; e.Known.Has(KnowsWay) && e.Way == ClosedUnread {
			unread++
		}
	}
	for _, e := range []Equation{
		{Name: passiveOpens, Seen: ends}, {Name: "TcpExtTCPAbortOnClose", Seen: unread},
	} {
		var counted bool
		if e.Kernel, counted = a.Moved[e.Name]; counted {
			all = append(all, e)
		}
	}
	if a.Untraced == "" {
		all = append(all, Equation{"births", a.Births, ends})
	}
	return all
}

package witness

// An Equation compares the kernel's count of some event with the witness's count.
type Equation struct {
	Name         string // name of the kernel's counter, or "births"
	Kernel, Seen int64
}

// Residual returns the number of events that the witness missed. It is negative if the witness saw
// too many.
func (e Equation) Residual() int64 { return e.Kernel - e.Seen }

// passiveOpens is the kernel's counter of sockets that handshakes made (tcp_create_openreq_child in
// net/ipv4/tcp_minisocks.c).
const passiveOpens = "TcpPassiveOpens"

// abortOnClose is the kernel's counter of closes with unread data (tcp_close in net/ipv4/tcp.c).
const abortOnClose = "TcpExtTCPAbortOnClose"

// OthersListen removes the counters that also count connections to listeners at other ports, which
// the obituaries of one port do not include. Call it if the servers' network namespace has such
// listeners. A trace includes the connections of every port, so with a trace it does nothing.
func (a *Account) OthersListen() {
	if a.Untraced != "" {
		delete(a.Moved, passiveOpens)
		delete(a.Moved, abortOnClose)
	}
}

// Equations compares the account with the kernel's counters. If the kernel lacks a counter, its
// equation is omitted.
//   - TcpPassiveOpens counts handshakes that made a socket. The witness must report one end for
//     each. Connections to other ports count, too; the witness sees those only with a trace.
//   - TcpExtTCPAbortOnClose counts closes with unread data, including those of clients in the same
//     namespace. Without a trace, call Complete first.
//   - births, which needs a trace, counts connections that listeners made. The witness must report
//     one end for each.
func (a *Account) Equations() (all []Equation) {
	ends, unread := int64(len(a.Ends))+a.Lost, int64(0)
	for i := range a.Ends {
		if e := &a.Ends[i]; e.Known.Has(KnowsWay) && e.Way == ClosedUnread {
			unread++
		}
	}
	for _, e := range []Equation{
		{Name: passiveOpens, Seen: ends}, {Name: abortOnClose, Seen: unread},
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

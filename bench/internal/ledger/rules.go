package ledger

import (
	"net/http"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// Evidence is what a cause rests on.
type Evidence uint8

// The kinds of evidence, strongest first.
const (
	NoEvidence Evidence = iota // of a served attempt
	ByKernel                   // an event or a record of the kernel about this connection
	ByCounter                  // the change of a kernel counter
	ByWorker                   // a worker's journal, or the instants of its listener's end
	ByClient                   // the client's view alone
)

var evidenceNames = [...]string{"", "kernel", "counter", "worker", "client"}

func (e Evidence) String() string { return evidenceNames[e] }

// A rule names the cause of the lost attempts that it matches.
type rule struct {
	name     string
	cause    string
	evidence Evidence
	// match returns whose close, crash or answer it was, or noWorker.
	match func(v *view) (worker int, ok bool)
	// rests names what the match rests on, where that explains a limited number of attempts, best
	// first. Nil: there is no limit.
	rests func(v *view) []event
	// spends names the event that this attempt is one of, so that rules that rest on it have one
	// fewer; the event of the rule's worker, where it is of one.
	spends eventName
	// why says how the attempt comes to look like this, with its source in the kernel where that is
	// not obvious.
	why string
}

// noWorker: the loss is no single worker's.
const noWorker = -1

// An event is something that happened a known number of times, and so explains at most as many
// losses: a worker's kill, or an overflow of an accept queue.
type event struct {
	what   eventName
	worker int // whose kill it was, or noWorker
}

type eventName string

const (
	listenOverflow eventName = "ListenOverflows" // a SYN or a last ACK met a full accept queue
	embryonicReset eventName = "EmbryonicRsts"   // a handshake ended by a reset, of either side
	unnotedAccept  eventName = "unnoted accept"  // a worker died between accept(2) and noting it
)

// rules are tried from the first to the last; the first that matches decides, and a later one may
// take for granted that no earlier one has matched. They are in groups: what only the client can
// know, what the kernel said of this very connection, what a worker's journal says of it, what fits
// in time, where a Service sent it, and at last how it looked. Within a group the narrower rule
// comes first.
var rules = []rule{
	{
		name: "the load's own doing", cause: cause.Client, evidence: ByClient,
		match: func(v *view) (int, bool) {
			switch v.Class {
			case results.ClassUnsent, results.ClassLocal, results.ClassAborted:
				return noWorker, true
			}
			return noWorker, false
		},
		why: "The load process did not come to it, could not open a socket, or ended it on purpose.",
	},

	{
		name: "no connection was free", cause: cause.Timeout, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.starved },
		why:   "Earlier attempts had all connections that the load keeps, until its time was over.",
	},

	// The kernel's word on a connection that no worker has noted.
	{
		name: "ACK reset at a full queue", cause: cause.AcceptOverflow, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.unnotedReset() && v.reset.Reason == reasonAborted &&
				v.reset.Flags&flagSYN == 0
		},
		spends: listenOverflow,
		why: "With tcp_abort_on_overflow=1 tcp_check_req (net/ipv4/tcp_minisocks.c) resets a " +
			"handshake whose last ACK finds the accept queue full. It gives the reason of a bad SYN, " +
			"and this segment is none.",
	},
	{
		name: "left in an accept queue", cause: cause.QueuedUnaccepted, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.leftQueued() {
				return noWorker, false
			}
			return v.queued.Worker, true
		},
		why: "sock_diag shows the connection, and no process has it; which listener's queue it is in, " +
			"it does not say. Or the kernel reset it in the queue after its client had given up.",
	},
	{
		name: "reset answers the client", cause: cause.ResetHalfOpen, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.suspect(), v.unnotedReset() && v.reset.Flags != 0 },
		why: "The reset answers a segment of the client's, so the kernel no longer knew of the " +
			"handshake. The socket it names is another listener of the group, which is not to blame.",
	},
	{
		name: "reset in the queue", cause: cause.ResetAtClose, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.resetter(), v.unnotedReset() && v.reset.Socket == 0 },
		why: "inet_csk_listen_stop (net/ipv4/inet_connection_sock.c) resets what a closing listener " +
			"had queued, on the time of whoever closes it, and no process has such a connection.",
	},
	{
		name: "reset of an accepted connection, worker killed", cause: cause.WorkerCrash, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return v.resetter(), v.unnotedReset() && v.killed(v.resetter())
		},
		spends: unnotedAccept,
		why:    "A process had the connection, and was killed before it could note it.",
	},
	{
		name: "reset of an accepted connection", cause: cause.ClosedByWorker, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.resetter(), v.unnotedReset() },
		why:   "A process had the connection: an acceptor closed it before it passed it on.",
	},
	{
		name: "ACK dropped at a full queue", cause: cause.AcceptOverflow, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.unnotedDrop() && v.dropped.Reason == reasonQueueFull
		},
		spends: listenOverflow,
		why: "tcp_v4_syn_recv_sock (net/ipv4/tcp_ipv4.c) drops the last ACK of a handshake whose " +
			"listener's accept queue is full, with this reason.",
	},
	{
		name: "SYN dropped", cause: cause.SYNTimeout, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.unnotedDrop() || v.Phase != results.PhaseConnect {
				return noWorker, false
			}
			_, worker := v.closingAt()
			if v.overflows {
				worker = int(v.Server) // or a full queue's: it is nobody's doing for certain
			}
			return worker, true
		},
		why: "The kernel dropped the SYN, and not for a full queue: of that it says nothing.",
	},

	// What a worker's journal says of the connection.
	{
		name: "closed unanswered", cause: cause.ClosedByWorker, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() &&
				v.in(ReadUnanswered, ReadUnhandled, ReadAborted, UnreadClosed)
		},
		why: "The worker noted that it closed or reset the connection.",
	},
	{
		name: "worker died", cause: cause.WorkerCrash, evidence: ByWorker,
		match: func(v *view) (int, bool) { return int(v.Server), v.ended() && v.in(ReadDied, UnreadDied) },
		why:   "The worker had accepted the connection, and its journal ends there.",
	},

	// A proxy stands between clients and workers: their connections are its own.
	{
		name: "proxy met a closing listener", cause: cause.ResetAtClose, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.byProxy() && v.Status == http.StatusBadGateway
		},
		why: "The proxy answers 502 (Bad Gateway) when its connection is reset in a queue.",
	},
	{
		name: "proxy's own error", cause: cause.ProxyError, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.byProxy() },
		why:   "No worker has seen the request, and the proxy gave up: it found none to connect to.",
	},

	// What fits in time with the end of a listener or a worker.
	{
		name: "handshake at a closing listener", cause: cause.ResetHalfOpen, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			_, worker := v.closing()
			return worker, v.halfOpen() && v.cutOff()
		},
		why: "The listener closed while the handshake was under way. A client is connected when " +
			"the SYN-ACK is there; behind a round trip its ACK is at the listener only later.",
	},
	{
		name: "in the queue of a closing listener", cause: cause.ResetAtClose, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.cutOff()
		},
		why: "A close resets what is queued. A child made while its listener is being closed copies " +
			"sk_shutdown, which __tcp_close sets before it leaves TCP_LISTEN; once established it sends " +
			"a FIN and is thrown away all the same (net/ipv4/tcp.c; tcp_rcv_state_process in " +
			"net/ipv4/tcp_input.c), so its client may read an end of file.",
	},
	{
		name: "accepted by a worker that was killed", cause: cause.WorkerCrash, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return noWorker, v.ended() && v.State == NeverAccepted && len(v.kills()) > 0
		},
		rests: func(v *view) []event { return v.kills() },
		why: "A worker that is killed between accept(2) and noting it takes one connection along " +
			"that nothing else explains; one, because one thread accepts.",
	},
	{
		name: "accepted after a closing listener let go", cause: cause.ResetAtClose, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.ended() && v.State == UnreadPeerGone
		},
		why: "The worker read an end of file that the client had not sent: seen once in some 9,000 " +
			"migrating restarts, with TCPAbortOnData +1. Likely a child as above that migration let live.",
	},

	// Behind a Service: where the connection was sent.
	{
		name: "kept connection to a silent node", cause: cause.StaleConnection, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			p := v.sentTo
			if p == nil || !v.reused || v.Class != results.ClassTimeout || p.Silent > v.Done {
				return noWorker, false
			}
			return p.Worker, true
		},
		why: "A pod that is stopped closes its connections, and the kernel of a killed one resets " +
			"them: only a silent node leaves silence.",
	},
	{
		name: "kept the Service's address", cause: cause.Untranslated, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			r := v.routes
			return noWorker, v.misrouted() && r.Service.IsValid() && r.Translations[v.source] == r.Service
		},
		why: "Connection tracking shows no translation. Seen just before commits, once in some " +
			"hundreds: likely a rule of the generation before, which looks its verdict up in a set whose " +
			"elements are no longer in force (nft_do_chain in net/netfilter/nf_tables_core.c reads the " +
			"generation once; nft_set_elem_active compares with the one of the moment).",
	},
	{
		name: "old entry of connection tracking", cause: cause.StaleConntrack, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			p := v.sentTo
			if !v.misrouted() || p == nil || len(p.Routed) == 0 || p.Routed[0].From >= v.Sent || p.RoutedAt(v.Sent) {
				return noWorker, false
			}
			return p.Worker, true
		},
		why: "An unanswered SYN leaves an entry (SYN_SENT, 120 s: nf_conntrack_proto_tcp.c), and a " +
			"SYN from the same address and port follows it whatever the rules say. Each renews it.",
	},
	{
		name: "sent to a pod that was gone", cause: cause.StaleEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.misrouted() || v.sentTo == nil || v.sentTo.Gone > v.Done {
				return noWorker, false
			}
			return v.sentTo.Worker, true
		},
		why: "Connection tracking names the pod, and its listener had closed.",
	},
	{
		name: "sent to a pod that did not listen yet", cause: cause.EarlyEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.misrouted() || v.sentTo == nil || v.Sent > v.sentTo.Listens {
				return noWorker, false
			}
			return v.sentTo.Worker, true
		},
		why: "Connection tracking names the pod, and it had not begun to listen.",
	},
	{
		name: "no pod to be sent to", cause: cause.NoEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return noWorker, v.misrouted() && v.sentTo == nil && !v.ended() && v.routes.Count(v.Sent) == 0
		},
		why: "A rule rejected it by ICMP. On the clients' own node the message comes while the client " +
			"is in connect(2), is taken for a hint only (tcp_v4_err in net/ipv4/tcp_ipv4.c: the socket is " +
			"owned by its user), and the SYN is repeated after a second: it looks like silence.",
	},
	{
		name: "refused by a pod that was gone", cause: cause.StaleEndpoint, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return v.refusedBy(func(p *Pod) bool { return p.Gone <= v.Done.Add(clockSlack) })
		},
		why: "Connection tracking forgets an entry whose only answer is a reset (tcp_packet in " +
			"net/netfilter/nf_conntrack_proto_tcp.c), so this is by time alone; where a stale and an " +
			"early pod could both have refused, the stale one is blamed.",
	},
	{
		name: "refused by a pod that did not listen yet", cause: cause.EarlyEndpoint, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return v.refusedBy(func(p *Pod) bool { return v.Sent <= p.Listens.Add(clockSlack) })
		},
		why: "As above.",
	},

	// How it looked to the client.
	{
		name: "unreachable", cause: cause.NoRoute, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.Class == results.ClassUnreachable },
		why:   "The network said so: EHOSTUNREACH or ENETUNREACH.",
	},
	{
		name: "accepted too late", cause: cause.Timeout, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout && v.State != NeverAccepted
		},
		why: "A worker accepted the connection, perhaps long after the client had given up.",
	},
	{
		name: "last ACK at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout &&
				v.Phase != results.PhaseConnect && v.overflows && v.neverQueued()
		},
		rests: func(*view) []event { return []event{{listenOverflow, noWorker}} },
		why: "The client has the SYN-ACK, and the kernel knows no such connection: while the accept " +
			"queue is full it drops the last ACK of a handshake, and what comes after it, and counts " +
			"each (tcp_v4_syn_recv_sock in net/ipv4/tcp_ipv4.c).",
	},
	{
		name: "connected, and never accepted", cause: cause.Timeout, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout && v.Phase != results.PhaseConnect
		},
		why: "It waited in an accept queue, or its last ACK was lost: the kernel was not asked, or " +
			"does not know the connection any more.",
	},
	{
		name: "SYN at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout && v.overflows
		},
		rests: func(*view) []event { return []event{{listenOverflow, noWorker}} },
		why: "A full accept queue refuses a SYN in silence (tcp_conn_request in net/ipv4/tcp_input.c); " +
			"ListenOverflows moves once for each, and for each last ACK, of which the kernel also tells.",
	},
	{
		name: "last ACK reset at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.cutOff() && v.overflows && v.embryonic
		},
		rests:  func(*view) []event { return []event{{embryonicReset, noWorker}} },
		spends: listenOverflow,
		why: "With tcp_abort_on_overflow=1 a last ACK that finds the accept queue full is reset " +
			"(tcp_check_req in net/ipv4/tcp_minisocks.c): EmbryonicRsts and ListenOverflows move.",
	},
	{
		name: "SYN at a closing listener", cause: cause.SYNTimeout, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closingAt()
			return worker, ok && v.Class == results.ClassTimeout
		},
		why: "tcp_v4_rcv (net/ipv4/tcp_ipv4.c) finds the listener, already in TCP_CLOSE, and drops " +
			"the SYN without an answer.",
	},
	{
		name: "SYN unanswered", cause: cause.SYNTimeout, evidence: ByClient,
		match: func(v *view) (int, bool) { return int(v.Server), v.Class == results.ClassTimeout },
		why:   "No answer came.",
	},
	{
		name: "refused", cause: cause.Refused, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.refused() },
		why:   "No listener was there.",
	},
	{
		name: "unexplained", cause: cause.Unknown, evidence: ByClient,
		match: func(*view) (int, bool) { return noWorker, true },
		why:   "No account explains it. It counts into the residual, and the trial is invalid.",
	},
}

package ledger

import (
	"net/http"

	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// Evidence is the kind of source from which a cause is known.
type Evidence uint8

// The kinds of evidence, strongest first.
const (
	NoEvidence Evidence = iota // for a served attempt
	ByKernel                   // an event or a record of the kernel about this very connection
	// the change of a kernel counter, which may count other connections, too
	ByCounter
	ByWorker // a worker's journal, or the instants at which listeners were closed
	ByClient // the client's sample alone
)

var evidenceNames = [...]string{"", "kernel", "counter", "worker", "client"}

func (e Evidence) String() string { return evidenceNames[e] }

// A rule names the cause of the lost attempts that it matches.
type rule struct {
	name     string
	cause    string
	evidence Evidence
	// match reports whether the rule matches. If it matches, worker is the worker whose close,
	// crash or answer caused the loss, or noWorker.
	match func(v *view) (worker int, ok bool)
	// limitedBy is set if the rule can explain only as many attempts as certain events happened. It
	// returns these events, the most likely first. Each match uses up one of them.
	limitedBy func(v *view) []event
	// consumes names an event that does not limit this rule. Each match uses up one such event
	// nevertheless, so fewer remain for the rules that are limited by it. If the event belongs to a
	// worker, it is the worker that match returned.
	consumes eventName
	// why explains how such a loss comes about, with the place in the kernel's source if that is
	// not obvious.
	why string
}

// The names of the rules whose matches use up an anonymous end.
const (
	ruleEmptiedAtClose = "emptied in the queue of a closing listener"
	ruleEmptied        = "reset and emptied"
)

// noWorker stands for a loss that no single worker caused.
const noWorker = -1

// An event is something that happened a known number of times and explains at most that many
// losses: the kill of a worker, or an overflow of an accept queue.
type event struct {
	what   eventName
	worker int // the worker that was killed, or noWorker
}

type eventName string

const (
	// a SYN or a last ACK arrived while the accept queue was full
	listenOverflow eventName = "ListenOverflows"
	embryonicReset eventName = "EmbryonicRsts" // either side ended a handshake by a reset
	killBlamed     eventName = "kill blamed"   // a worker died between accept(2) and its journal
	anonymousEnd   eventName = "anonymous end" // an end without the client's port
)

// rules are tried in order. The first match decides, so a rule may assume that no earlier one
// matched. They are grouped by the source of the knowledge: the load process, the kernel's events
// on the connection, a worker's journal, the witness, coincidence in time, the routes of a Service,
// and finally the client's sample. Within a group, the rule that matches fewer attempts comes
// first.
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
		why: "The load process never sent it, could not open a socket, or aborted it on purpose.",
	},

	{
		name: "no connection was free", cause: cause.Timeout, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.starved },
		why:   "Earlier attempts used all kept connections until its timeout.",
	},

	// Kernel events about a connection that is in no worker's journal.
	{
		name: "ACK reset at a full queue", cause: cause.AcceptOverflow, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.unjournaledReset() && v.reset.Reason == reasonAborted &&
				v.reset.Flags&flagSYN == 0
		},
		consumes: listenOverflow,
		why: "With tcp_abort_on_overflow=1 tcp_check_req (net/ipv4/tcp_minisocks.c) resets a " +
			"handshake whose last ACK finds the accept queue full. It gives the reason of a bad " +
			"SYN, but this segment is no SYN.",
	},
	{
		name: "left in an accept queue", cause: cause.QueuedUnaccepted, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.leftQueued() {
				return noWorker, false
			}
			return v.queued.Worker, true
		},
		why: "sock_diag lists the connection without an owner, and does not say in which queue. " +
			"Or the kernel reset it in the queue after its client had given up.",
	},
	{
		name: "reset answers the client", cause: cause.ResetHalfOpen, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return v.suspect(), v.unjournaledReset() && v.reset.Flags != 0
		},
		why: "The reset answers a segment of the client, so the kernel had forgotten the " +
			"handshake. It names another listener of the group, which is not to blame.",
	},
	{
		name: "reset in the queue", cause: cause.ResetAtClose, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return v.resetter(), v.unjournaledReset() && v.reset.Socket == 0
		},
		why: "inet_csk_listen_stop (net/ipv4/inet_connection_sock.c) resets the connections in " +
			"the queue of a closing listener, in the context of the process that closes it. No " +
			"process owns such a connection.",
	},
	{
		name:  "reset of an accepted connection, worker killed",
		cause: cause.WorkerCrash, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return v.resetter(), v.unjournaledReset() && v.killed(v.resetter())
		},
		consumes: killBlamed,
		why:      "A process owned the connection, and was killed before it could journal it.",
	},
	{
		name: "reset of an accepted connection", cause: cause.ClosedByWorker, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.resetter(), v.unjournaledReset() },
		why:   "A process owned the connection: an acceptor closed it before passing it on.",
	},
	{
		name: "ACK dropped at a full queue", cause: cause.AcceptOverflow, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.unjournaledDrop() && v.dropped.Reason == reasonQueueFull
		},
		consumes: listenOverflow,
		why: "tcp_v4_syn_recv_sock (net/ipv4/tcp_ipv4.c) drops the last ACK of a handshake whose " +
			"listener's accept queue is full, with this reason.",
	},
	{
		name: "SYN dropped", cause: cause.SYNTimeout, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.unjournaledDrop() || v.Phase != results.PhaseConnect {
				return noWorker, false
			}
			_, worker := v.closingAt()
			if v.overflows {
				// a full queue may have dropped the SYN: blame no closing worker
				worker = int(v.Server)
			}
			return worker, true
		},
		why: "The kernel dropped the SYN. A full queue is not the reason: that drop has no event.",
	},

	// Entries of a worker's journal about the connection, or the witness's record of it.
	{
		name: "closed unanswered", cause: cause.ClosedByWorker, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() && v.endedByServer() &&
				v.in(ReadUnanswered, ReadUnhandled, ReadAborted, UnreadClosed)
		},
		why: "The worker journaled that it closed or reset the connection. Or the witness saw " +
			"it: the bytes that were read and sent by then say how far the request was " +
			"(witness.SocketEnd.Progress).",
	},
	{
		name: "worker died", cause: cause.WorkerCrash, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() && v.endedByServer() && v.in(ReadDied, UnreadDied)
		},
		why: "The worker had accepted the connection, and its journal ends there. Or a signal " +
			"killed the process that closed it.",
	},

	// The witness's record of a connection to a third-party server.
	{
		name: "process killed in the middle", cause: cause.WorkerCrash, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() && v.endedByServer() && v.in(PartRead, PartAnswered) &&
				died(v.end)
		},
		why: "do_exit (kernel/exit.c) closes the files of a killed process, in its context: " +
			"PF_EXITING is set, and exit_code holds the signal.",
	},
	{
		name: "closed with a part of the request read", cause: cause.ClosedByWorker,
		evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() && v.endedByServer() && v.in(PartRead)
		},
		why: "Data were unread at the close, so the kernel sent a reset in place of a FIN " +
			"(__tcp_close in net/ipv4/tcp.c; RFC 2525, 2.17).",
	},
	{
		name: "closed with a part of the response sent", cause: cause.CutOff, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.ended() && v.endedByServer() && v.in(PartAnswered)
		},
		why: "More bytes were sent than earlier responses on the connection have. What was sent " +
			"before a reset may never reach the client: its kernel discards unread data, too " +
			"(tcp_reset in net/ipv4/tcp_input.c).",
	},
	{
		name: "held to the end", cause: cause.Timeout, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			_, silent := v.silenced()
			return int(v.Server), v.Class == results.ClassTimeout && v.end != nil &&
				v.end.Way == witness.StillOpen && !silent
		},
		why: "A process still had the connection when the trial ended: it hangs, or has lost the " +
			"descriptor. sock_diag lists the connection with an inode.",
	},
	{
		name: ruleEmptiedAtClose, cause: cause.ResetAtClose, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.unseen() && !v.carried
		},
		limitedBy: func(*view) []event { return []event{{anonymousEnd, noWorker}} },
		why: "The kernel empties a queued connection before its obituary (inet_child_forget in " +
			"net/ipv4/inet_connection_sock.c), so that names nobody. There are as many of those " +
			"as connections that no other obituary names, and a listener was being closed.",
	},
	{
		name: ruleEmptied, cause: cause.ClosedByWorker, evidence: ByCounter,
		match:     func(v *view) (int, bool) { return noWorker, v.unseen() },
		limitedBy: func(*view) []event { return []event{{anonymousEnd, noWorker}} },
		why: "As above, and no listener was being closed: a process closed the connection with " +
			"SO_LINGER 0, which empties it, too (tcp_disconnect in net/ipv4/tcp.c).",
	},

	// Errors of a proxy between clients and workers. The proxy has its own connections to the
	// workers.
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
		why:   "No worker read the request: the proxy found none to connect to, and gave up.",
	},

	// Losses that coincide with the end of a listener or a worker.
	{
		name: "handshake at a closing listener", cause: cause.ResetHalfOpen, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			_, worker := v.closing()
			return worker, v.halfOpen() && v.cutOff()
		},
		why: "The listener closed while the handshake was under way. A client is connected when " +
			"the SYN-ACK arrives; with a round trip its ACK reaches the listener only later.",
	},
	{
		name: "in the queue of a closing listener", cause: cause.ResetAtClose, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.cutOff() && !v.unborn()
		},
		why: "A close resets queued connections. A child socket that is created during the close " +
			"copies sk_shutdown, which __tcp_close sets before it leaves TCP_LISTEN. Once " +
			"established, the child sends a FIN and is discarded (net/ipv4/tcp.c; " +
			"tcp_rcv_state_process in net/ipv4/tcp_input.c), so its client may read EOF.",
	},
	{
		name: "accepted by a worker that was killed", cause: cause.WorkerCrash, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return noWorker, v.ended() && v.State == NeverAccepted && len(v.kills()) > 0 &&
				!v.foreign
		},
		limitedBy: func(v *view) []event { return v.kills() },
		why: "A worker that is killed between accept(2) and its journal entry takes a connection " +
			"with it that nothing else explains: at most one, because one thread accepts.",
	},
	{
		name:  "accepted after a closing listener let go",
		cause: cause.ResetAtClose, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closing()
			return worker, ok && v.ended() && v.State == UnreadPeerGone && !v.foreign
		},
		why: "The worker read an end of file that the client had not sent: seen once in some " +
			"9,000 migrating restarts, with TCPAbortOnData +1. Probably a child socket as above " +
			"that was migrated instead of discarded.",
	},

	// The routes of a Service.
	{
		name: "kept connection to a silent node", cause: cause.StaleConnection, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.silenced() },
		why: "A stopped pod closes its connections, and the kernel resets those of a killed one. " +
			"Only a node that fell silent leaves them unanswered.",
	},
	{
		name: "kept the Service's address", cause: cause.Untranslated, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			r := v.routes
			return noWorker, v.misrouted() && r.Service.IsValid() &&
				r.Translations[v.source] == r.Service
		},
		why: "Connection tracking shows no translation. Seen just before commits of rules, once " +
			"in some hundreds. Probably a rule of the old generation looks up its verdict in a " +
			"set whose elements are no longer active: nft_do_chain in " +
			"net/netfilter/nf_tables_core.c reads the generation once, nft_set_elem_active " +
			"compares with the current one.",
	},
	{
		name: "old entry of connection tracking", cause: cause.StaleConntrack, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			p := v.sentTo
			if !v.misrouted() || p == nil || len(p.Routed) == 0 ||
				p.Routed[0].From >= v.Sent || p.RoutedAt(v.Sent) {
				return noWorker, false
			}
			return p.Worker, true
		},
		why: "An unanswered SYN leaves an entry (SYN_SENT, 120 s: nf_conntrack_proto_tcp.c). A " +
			"SYN from the same address and port follows and renews it, whatever the rules say.",
	},
	{
		name: "sent to a pod that was gone", cause: cause.StaleEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.misrouted() || v.sentTo == nil || v.sentTo.Gone > v.Done {
				return noWorker, false
			}
			return v.sentTo.Worker, true
		},
		why: "Connection tracking names the pod, whose listener had closed.",
	},
	{
		name:  "sent to a pod that did not listen yet",
		cause: cause.EarlyEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			if !v.misrouted() || v.sentTo == nil || v.Sent > v.sentTo.Listens {
				return noWorker, false
			}
			return v.sentTo.Worker, true
		},
		why: "Connection tracking names the pod, which did not listen yet.",
	},
	{
		name: "no pod to be sent to", cause: cause.NoEndpoint, evidence: ByKernel,
		match: func(v *view) (int, bool) {
			return noWorker, v.misrouted() && v.sentTo == nil && !v.ended() &&
				v.routes.Count(v.Sent) == 0
		},
		why: "A rule rejected it by ICMP. On the clients' own node the message arrives while the " +
			"client is in connect(2), so it is only a soft error (tcp_v4_err in " +
			"net/ipv4/tcp_ipv4.c: the socket is owned by its user). The SYN is repeated after a " +
			"second, and the client sees silence.",
	},
	{
		name: "refused by a pod that was gone", cause: cause.StaleEndpoint, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return v.refusedBy(func(p *Pod) bool { return p.Gone <= v.Done.Add(clockSlack) })
		},
		why: "Connection tracking forgets an entry whose only answer is a reset (tcp_packet in " +
			"net/netfilter/nf_conntrack_proto_tcp.c), so this is known by time alone. If a stale " +
			"and an early pod could both have refused, the stale one is blamed.",
	},
	{
		name:  "refused by a pod that did not listen yet",
		cause: cause.EarlyEndpoint, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return v.refusedBy(func(p *Pod) bool { return v.Sent <= p.Listens.Add(clockSlack) })
		},
		why: "As above.",
	},

	// What the client saw.
	{
		name: "answered by an error", cause: cause.ErrorAnswer, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassErrorAnswer
		},
		why: "The response is whole, and its status is none of those that the scenario accepts.",
	},
	{
		name: "unreachable", cause: cause.NoRoute, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.Class == results.ClassUnreachable },
		why:   "The client got EHOSTUNREACH or ENETUNREACH.",
	},
	{
		name: "accepted too late", cause: cause.Timeout, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout &&
				!v.in(NeverAccepted, Unwitnessed)
		},
		why: "A worker accepted the connection, perhaps long after the client had given up.",
	},
	{
		name: "last ACK at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout &&
				v.Phase != results.PhaseConnect && v.overflows && v.neverQueued()
		},
		limitedBy: func(*view) []event { return []event{{listenOverflow, noWorker}} },
		why: "The client has the SYN-ACK, but the servers' kernel has no such connection. While " +
			"the accept queue is full, it drops the last ACK of a handshake and the segments " +
			"after it, and counts each (tcp_v4_syn_recv_sock in net/ipv4/tcp_ipv4.c).",
	},
	{
		name: "connected, and never accepted", cause: cause.Timeout, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout && v.Phase != results.PhaseConnect
		},
		why: "It waited in an accept queue, or its last ACK was lost. The kernel was not asked, " +
			"or has forgotten the connection. Of a server without a witness, a process may as " +
			"well have had it.",
	},
	{
		name: "SYN at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.Class == results.ClassTimeout && v.overflows
		},
		limitedBy: func(*view) []event { return []event{{listenOverflow, noWorker}} },
		why: "If the accept queue is full, the kernel drops a SYN without an event " +
			"(tcp_conn_request in net/ipv4/tcp_input.c). ListenOverflows counts these, and the " +
			"dropped last ACKs, which also have events.",
	},
	{
		name: "last ACK reset at a full queue", cause: cause.AcceptOverflow, evidence: ByCounter,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.cutOff() && v.overflows && v.embryonic
		},
		limitedBy: func(*view) []event { return []event{{embryonicReset, noWorker}} },
		consumes:  listenOverflow,
		why: "With tcp_abort_on_overflow=1 a last ACK that finds the accept queue full is reset " +
			"(tcp_check_req in net/ipv4/tcp_minisocks.c). EmbryonicRsts and ListenOverflows " +
			"count it.",
	},
	{
		name: "no socket was made for it", cause: cause.ResetHalfOpen, evidence: ByKernel,
		match: func(v *view) (int, bool) { return v.suspect(), v.unborn() && v.traced },
		why: "The client got the SYN-ACK, but the servers' kernel made no socket: the last ACK " +
			"of the handshake found no listener and was answered by a reset (tcp_v4_send_reset " +
			"in net/ipv4/tcp_ipv4.c).",
	},
	{
		name: "no obituary is left for it", cause: cause.ResetHalfOpen, evidence: ByWorker,
		match: func(v *view) (int, bool) { return v.suspect(), v.unborn() },
		why: "As above, but known by elimination: other connections account for all obituaries, " +
			"and a listener was being closed.",
	},
	{
		name: "SYN at a closing listener", cause: cause.SYNTimeout, evidence: ByWorker,
		match: func(v *view) (int, bool) {
			ok, worker := v.closingAt()
			return worker, ok && v.Class == results.ClassTimeout
		},
		why: "tcp_v4_rcv (net/ipv4/tcp_ipv4.c) finds the listener already in TCP_CLOSE, and " +
			"drops the SYN without an answer.",
	},
	{
		name: "SYN unanswered", cause: cause.SYNTimeout, evidence: ByClient,
		match: func(v *view) (int, bool) { return int(v.Server), v.Class == results.ClassTimeout },
		why:   "The client got no answer.",
	},
	{
		name: "refused", cause: cause.Refused, evidence: ByClient,
		match: func(v *view) (int, bool) { return noWorker, v.refused() },
		why:   "There was no listener.",
	},
	{
		name: "malformed answer", cause: cause.InvalidAnswer, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return int(v.Server), v.foreign && v.Class == results.ClassInvalid
		},
		why: "The load's parser (servers/wire) refused what came.",
	},

	// The client's sample of an attempt of which the servers' account is not known.
	{
		name: "ended inside the response", cause: cause.CutOff, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return noWorker, v.clientOnly && v.ended() && v.Phase == results.PhaseBody
		},
		why: "The client had the first byte of the response.",
	},
	{
		name: "reset before a response", cause: cause.Reset, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return noWorker, v.clientOnly && v.Class == results.ClassReset
		},
		why: "ECONNRESET or EPIPE, and nothing tells who caused it. The phase says whether the " +
			"request had been sent.",
	},
	{
		name: "end of file before a response", cause: cause.Closed, evidence: ByClient,
		match: func(v *view) (int, bool) {
			return noWorker, v.clientOnly && v.Class == results.ClassEOF
		},
		why: "A FIN. A process that dies with nothing unread sends the same as one that closes.",
	},
	{
		name: "unexplained", cause: cause.Unknown, evidence: ByClient,
		match: func(*view) (int, bool) { return noWorker, true },
		why:   "No rule explains it. It is part of the residual, and the trial is invalid.",
	},
}

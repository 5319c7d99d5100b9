// Package cause names the causes of lost attempts, and says what each means and what to do about
// it. The harness decides them; run.json stores them; gates and reports name them.
package cause

// The names of the causes in run.json.
const (
	ResetAtClose     = "reset_at_close"
	ResetHalfOpen    = "reset_half_open"
	AcceptOverflow   = "accept_overflow"
	QueuedUnaccepted = "queued_unaccepted"
	SYNTimeout       = "syn_timeout"
	Refused          = "refused"
	ClosedByWorker   = "closed_by_worker"
	WorkerCrash      = "worker_crash"
	NoRoute          = "no_route"
	NoEndpoint       = "no_endpoint"
	Untranslated     = "untranslated"
	StaleEndpoint    = "stale_endpoint"
	EarlyEndpoint    = "early_endpoint"
	StaleConntrack   = "stale_conntrack"
	StaleConnection  = "stale_connection"
	ProxyError       = "proxy_error"
	ErrorAnswer      = "error_answer"
	InvalidAnswer    = "invalid_answer"
	CutOff           = "cut_off"
	Reset            = "reset"
	Closed           = "closed"
	Timeout          = "timeout"
	Client           = "client"
	Unknown          = "unknown"
)

// A Cause is one row of All.
type Cause struct {
	Name string // the name in run.json
	Doc  string // a phrase: what happened to the attempt
	// Means says in sentences where the attempt was, and what ended it.
	Means string
	// Do says what a user can do about it.
	Do string
	// Source is where the kernel, a manual or an RFC describes the cause; "" if there is no single
	// place.
	Source string
}

// All returns every cause.
func All() []Cause {
	return []Cause{
		{
			Name: ResetAtClose,
			Doc:  "reset in its accept queue when the listener was closed",
			Means: "The connection was established and waited in the accept queue of a listener. " +
				"The listener was closed, so the kernel reset the connection. The client was " +
				"already connected, and had usually sent its request.",
			Do: "Keep the socket open in another process (stop: inherit, handoff), let the " +
				"kernel move the queue (stop: migrate), or empty the queue before the close " +
				"(stop: drain).",
			Source: "inet_csk_listen_stop, net/ipv4/inet_connection_sock.c",
		},
		{
			Name: ResetHalfOpen,
			Doc:  "its handshake was in flight when the listener was closed",
			Means: "The kernel had answered the SYN, but the listener was closed before the " +
				"client's ACK arrived. So the kernel answered the ACK with a reset. A longer " +
				"round trip means that more handshakes are in flight.",
			Do: "Keep the socket open in another process (stop: inherit, handoff), or let the " +
				"kernel move unfinished handshakes, too (stop: migrate). Emptying the accept " +
				"queue (stop: drain) does not help.",
			Source: "tcp_v4_send_reset, net/ipv4/tcp_ipv4.c; RFC 9293, 3.10.7.1",
		},
		{
			Name: AcceptOverflow,
			Doc:  "the accept queue was full",
			Means: "The accept queue of the listener already held as many connections as the " +
				"backlog allows. So the kernel dropped or reset the connection.",
			Do: "Accept faster, add workers, or raise the backlog and net.core.somaxconn. If " +
				"each worker has its own socket, each worker also has its own queue. A slow " +
				"worker then fills its own queue.",
			Source: "tcp_conn_request, net/ipv4/tcp_input.c; ListenOverflows in /proc/net/netstat",
		},
		{
			Name: QueuedUnaccepted,
			Doc:  "left in an accept queue from which no process accepted",
			Means: "The connection was established, and no process accepted it before the trial " +
				"ended. Its listening socket was still open, perhaps in a process that no longer " +
				"accepts.",
			Do: "Look for a process that holds a socket of the group and does not accept: a " +
				"stuck worker, or a supervisor that kept the socket of a dead worker (ss -ltnp).",
			Source: "sock_diag(7)",
		},
		{
			Name: SYNTimeout,
			Doc:  "no answer to the SYN",
			Means: "The SYN was dropped without an answer. The client's kernel repeats a SYN " +
				"after one second, but the attempt's timeout ended before that.",
			Do: "If the loss happens at a step, the SYN arrived while a listener was being " +
				"closed. Keep the socket open in another process. With a longer client timeout, " +
				"the attempt is not lost but delayed by a second.",
			Source: "tcp_v4_rcv, net/ipv4/tcp_ipv4.c; RFC 6298, 2.1",
		},
		{
			Name: Refused,
			Doc:  "no process listened",
			Means: "No socket listened at the address, so the kernel answered the SYN with a " +
				"reset (ECONNREFUSED).",
			Do: "Start listening in the new process before the old process closes its socket. " +
				"Use SO_REUSEPORT, or pass the socket on.",
			Source: "connect(2)",
		},
		{
			Name: ClosedByWorker,
			Doc:  "a worker closed the connection without a response",
			Means: "A worker had accepted the connection. It closed or reset the connection " +
				"without a response to the request.",
			Do: "Finish accepted connections before you exit. Go's http.Server.Shutdown closes a " +
				"connection if it reads the request only after the call. So drain before you " +
				"call Shutdown. A server that closes idle kept connections at a reload, as " +
				"nginx does, also closes those on which a request is arriving: let clients " +
				"retry idempotent requests.",
			Source: "https://pkg.go.dev/net/http#Server.Shutdown; RFC 9112, 9.3.1 and 9.5",
		},
		{
			Name: WorkerCrash,
			Doc:  "the worker that had accepted it died",
			Means: "A worker had accepted the connection. The worker died by SIGKILL or a crash " +
				"before it responded.",
			Do: "Let clients retry, because no way of listening saves the connections that a " +
				"dead process had accepted. If restarts kill workers, give the workers time to " +
				"finish first (server.grace).",
			Source: "signal(7)",
		},
		{
			Name:  NoRoute,
			Doc:   "the network reported that the address is unreachable",
			Means: "The client got EHOSTUNREACH or ENETUNREACH.",
			Do: "Check routes and addresses. Behind a Service, check whether the pod still " +
				"exists.",
			Source: "connect(2)",
		},
		{
			Name: NoEndpoint,
			Doc:  "rejected by a Service's rules, because the Service had no pod",
			Means: "The Service had no endpoint, so the node's rules rejected the connection. A " +
				"client on that node sees no error at first, because its kernel repeats the SYN " +
				"after a second.",
			Do: "Keep at least one pod ready. Add a replica, raise kube.max_surge, or set a " +
				"preStop delay that is longer than the start of the next pod.",
			Source: "tcp_v4_err, net/ipv4/tcp_ipv4.c",
		},
		{
			Name: Untranslated,
			Doc:  "no rule sent its connection to a pod, although there were pods",
			Means: "The connection arrived while the rules were being replaced. It kept the " +
				"Service's own address, where no process listens.",
			Do: "Let clients retry. The loss is rare: about one in a hundred thousand " +
				"connections, if rules are replaced all the time.",
			Source: "nft_do_chain, net/netfilter/nf_tables_core.c",
		},
		{
			Name: StaleEndpoint,
			Doc:  "sent to a pod that no longer listened",
			Means: "The pod had closed its listener, but the rules or a cached DNS answer still " +
				"sent traffic to it.",
			Do: "Use a preStop delay (kube.pre_stop), so that the pod keeps serving until " +
				"endpoints and rules have been updated.",
			Source: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/",
		},
		{
			Name:   EarlyEndpoint,
			Doc:    "sent to a pod that did not listen yet",
			Means:  "The pod counted as ready before its process listened.",
			Do:     "Give the pod a readiness probe (kube.readiness: probe).",
			Source: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/",
		},
		{
			Name: StaleConntrack,
			Doc:  "sent by an old connection-tracking entry to a pod that no rule uses any longer",
			Means: "An earlier connection from the same source port went unanswered, and its pod " +
				"is gone. The node still had the connection-tracking entry of that earlier " +
				"connection. So the node sent the new connection to the same pod. Each try " +
				"renews the entry, which lasts for two minutes.",
			Do: "Use more source ports or addresses per client, or delete the entries (conntrack " +
				"-D).",
			Source: "SYN_SENT, net/netfilter/nf_conntrack_proto_tcp.c",
		},
		{
			Name: StaleConnection,
			Doc:  "sent on a kept connection to a node that has gone down",
			Means: "The kept connection went to a pod on a node that no longer answers. The " +
				"request on this connection got no response before its timeout.",
			Do:     "Limit the age and the idle time of kept connections, or set TCP_USER_TIMEOUT.",
			Source: "tcp(7)",
		},
		{
			Name:  ProxyError,
			Doc:   "a proxy answered with an error of its own, or closed the connection",
			Means: "The proxy found no server that took the request.",
			Do: "Tell the proxy before a server stops (stop: lb-drain), or let the proxy retry " +
				"at another server (haproxy.redispatch: on).",
			Source: "HAProxy configuration manual, \"option redispatch\"",
		},
		{
			Name: ErrorAnswer,
			Doc:  "answered by an error status",
			Means: "The response was complete, but its status does not count as served. Only " +
				"status 200 counts, unless the scenario names other statuses.",
			Do: "Find the status in run.json (error_answers), and search the server's log for " +
				"it. Around a restart, statuses 502 to 504 come from a proxy, or from a server " +
				"that still answers but has no worker left. Let the server drain first.",
			Source: "RFC 9110, 15",
		},
		{
			Name: InvalidAnswer,
			Doc:  "answered by something that is not HTTP/1.1",
			Means: "The client received bytes that are not a valid response: a malformed head or " +
				"chunk, or a head of more than 32 kB.",
			Do: "Look at the bytes (curl --raw -v). The port may belong to another program, or " +
				"the server may speak TLS or HTTP/2 there.",
			Source: "RFC 9112, 2.2",
		},
		{
			Name: CutOff,
			Doc:  "the connection ended inside the response",
			Means: "The client received only a part of the response. The server closed or reset " +
				"the connection, or a reset destroyed the rest of the response on its way.",
			Do: "Finish responses before you exit, and read the whole request before you close " +
				"(lingering_close in nginx). If unread bytes remain at the close, the kernel " +
				"resets the connection. The reset may destroy the end of the response.",
			Source: "RFC 9112, 9.6",
		},
		{
			Name: Reset,
			Doc:  "reset before a response; what the server did is not known",
			Means: "The client's connection was reset before the first byte of a response. No " +
				"record shows the server's side. The connection may have waited in an accept " +
				"queue, or a process may have closed it.",
			Do: "Run as root, and without a proxy in between, so that the program can record the " +
				"server's side. The phase shows how far the client had come.",
			Source: "RFC 9293, 3.10.7",
		},
		{
			Name: Closed,
			Doc:  "closed before a response; what the server did is not known",
			Means: "The client's connection was closed before the first byte of a response. No " +
				"record shows the server's side. A server process may have closed the " +
				"connection, or died.",
			Do: "Run as root, and without a proxy in between, so that the program can record the " +
				"server's side. The phase shows how far the client had come.",
			Source: "RFC 9293, 3.6",
		},
		{
			Name: Timeout,
			Doc:  "connected, and no full response in time",
			Means: "The client was connected, and got no full response within load.timeout. " +
				"Possible reasons: the connection waited in an accept queue, a worker was too " +
				"slow, a worker held the connection until the end, or no kept connection was " +
				"free.",
			Do: "Look at the lengths of the accept queues and at busy workers. Lower the rate, " +
				"add workers, or raise load.timeout.",
		},
		{
			Name: Client,
			Doc:  "the load process itself failed or aborted the attempt",
			Means: "The load process did not send the attempt before the trial ended, could not " +
				"open a socket, or aborted the attempt on purpose (load.aborts). Such an attempt " +
				"is lost but not dropped, because its loss says nothing about the servers.",
			Do: "Lower load.rate, or give the load more CPUs (--cpus).",
		},
		{
			Name: Unknown,
			Doc:  "no rule explains the loss",
			Means: "No record of client, server or kernel explains the loss. The attempt counts " +
				"as residual (unexplained), and the trial is invalid.",
			Do: "Run as root, so that the program can record the kernel's events. If a trial " +
				"still has such a loss, report a bug and attach the run (--keep-facts).",
		},
	}
}

// Names returns the name of every cause, in the order of All.
func Names() []string {
	var names []string
	for _, c := range All() {
		names = append(names, c.Name)
	}
	return names
}

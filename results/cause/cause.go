// Package cause names the causes of lost attempts. The harness decides them, run.json stores them,
// gates and reports speak of them.
package cause

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
	Timeout          = "timeout"
	Client           = "client"
	Unknown          = "unknown"
)

// A Cause is one row of All.
type Cause struct {
	Name string // as in run.json
	Doc  string
}

// All returns every cause.
func All() []Cause {
	return []Cause{
		{ResetAtClose, "cut off in its accept queue by the close of a listener"},
		{ResetHalfOpen, "its handshake was under way at a listener that was closed"},
		{AcceptOverflow, "the accept queue was full"},
		{QueuedUnaccepted, "left in an accept queue from which nobody accepted it"},
		{SYNTimeout, "no answer to the SYN"},
		{Refused, "nobody listened"},
		{ClosedByWorker, "a worker closed or reset the connection without an answer"},
		{WorkerCrash, "the worker that had accepted it died"},
		{NoRoute, "the network said unreachable"},
		{NoEndpoint, "rejected by a Service's rules, which led to no pod"},
		{Untranslated, "no rule gave its connection a pod, though there were some"},
		{StaleEndpoint, "sent to a pod that no longer listened"},
		{EarlyEndpoint, "sent to a pod that did not listen yet"},
		{StaleConntrack, "sent by a remembered connection from the same port to a pod without a rule"},
		{StaleConnection, "sent on a kept connection to a pod that has vanished"},
		{ProxyError, "a proxy answered with an error of its own, or hung up"},
		{Timeout, "connected, and no full response in time; or no kept connection was free"},
		{Client, "the load process itself"},
		{Unknown, "no account explains it"},
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

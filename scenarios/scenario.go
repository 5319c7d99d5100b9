// Package scenarios loads, validates and explains scenarios: YAML files that say what to
// start, what load to drive at it, what to do to it meanwhile, and which variants to compare.
//
// A scenario is data. This package knows the vocabulary and which combinations make sense; it
// starts nothing and measures nothing.
package scenarios

import (
	"strings"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// A Scenario is one YAML file, decoded and valid.
type Scenario struct {
	// Name is unique among the embedded scenarios, whose files are spelled like it: lower-case
	// words and numbers joined by hyphens, at most 64 characters.
	Name string `yaml:"name"`
	// About says in a sentence or two which question the scenario answers, in at most 2000 bytes.
	About string `yaml:"about"`

	// Setup is what the matrix varies; its keys stand at the top level of the file.
	Setup `yaml:",inline"`

	// Matrix is a list of product blocks. Each block's keys are dotted paths into Setup, each
	// with a list of values; the block contributes the product of its lists. Empty: one variant
	// without labels. At most 256 variants in all.
	Matrix []Block `yaml:"matrix"`
	// Baseline names the variant that comparisons start from, by labels that select exactly one.
	// After Load it holds all labels of that variant. Default the first.
	Baseline Labels `yaml:"baseline,omitempty"`
	// Gates are expectations that make the run fail when a variant does not meet them.
	Gates []Gate `yaml:"gates"`

	// Trials is how many blocks to run, 1 to 1000. Default 8.
	Trials int `yaml:"trials"`
	// MinValid is how many valid trials a variant needs before its figures count, 1 to Trials.
	// Default half of Trials, rounded up.
	MinValid int `yaml:"min_valid"`

	// Variants are the points of the matrix in the order of the file: block by block, and inside a
	// block as the product of its lists, the last key varying fastest. There is at least one, and
	// all are valid.
	Variants []Variant `yaml:"-"`
	// SHA256 is the hex digest of the file.
	SHA256 string `yaml:"-"`
	// File is where it was read from, for messages.
	File string `yaml:"-"`
}

// Setup is everything a variant can change.
type Setup struct {
	// Network is what the lab is made of.
	Network vocabulary.Network `yaml:"network"`
	// RoundTrip is the round trip time that the lab adds between clients and servers, 0 to 900 ms:
	// half of it for each packet, in either direction, and none is lost. It needs network: veth,
	// and two of it must be less than load.timeout. The kernel delays packets (netem) or, where it
	// cannot, a relay of this program. Default 0: none.
	RoundTrip time.Duration `yaml:"round_trip,omitempty"`
	// Family is the IP version.
	Family vocabulary.Family `yaml:"family"`
	// Path is what stands between the load and the workers.
	Path vocabulary.Path `yaml:"path"`
	// HAProxy says how the HAProxy of path haproxy is configured.
	HAProxy HAProxy `yaml:"haproxy,omitempty"`
	// DNS is how clients find the pods of path dns and, where it is given, the address of path
	// service.
	DNS DNS `yaml:"dns,omitempty"`
	// Kube is how the embedded control plane behaves that stands behind path service, dns and pod.
	Kube Kube `yaml:"kube,omitempty"`
	// Workers is the number of processes in a generation, 1 to 1024. Default 2.
	Workers int `yaml:"workers"`
	// WorkersPerCPU, 1 to 64, sets Workers to that many for each of the servers' CPUs. Default 0:
	// Workers is as it says.
	WorkersPerCPU int `yaml:"workers_per_cpu,omitempty"`
	// Pin is which CPUs a worker may run on.
	Pin vocabulary.Pin `yaml:"pin"`
	// Sockets is how the workers of a generation listen.
	Sockets vocabulary.Sockets `yaml:"sockets"`
	// Accept is how a worker gets the connections of its socket. Default epoll, or netpoll for
	// server.kind http.
	Accept vocabulary.AcceptMode `yaml:"accept,omitempty"`
	// Selector is who decides which socket of a reuseport group gets a connection.
	Selector vocabulary.Selector `yaml:"selector"`
	// Canary is the share of the connections, more than 0 and less than 1, that the selector
	// weighted gives to the last worker of a generation; the others share the rest. Needed there.
	Canary float64 `yaml:"canary,omitempty"`
	// Stop is how a worker ends when a step stops it. Needed once the timeline has a replace, roll
	// or remove step.
	Stop vocabulary.StopMode `yaml:"stop,omitempty"`
	// Stall is how a worker stands still when a step stalls it.
	Stall vocabulary.Stall `yaml:"stall"`
	// Trace is whether the kernel is asked about losses.
	Trace vocabulary.Switch `yaml:"trace"`
	// QueueDepth is where the lengths of accept queues come from. With path haproxy they are always
	// sampled: the workers' connections are the proxy's.
	QueueDepth vocabulary.QueueDepth `yaml:"queue_depth"`
	// Sysctl sets kernel parameters of the lab's network namespaces. Nothing outside them changes.
	Sysctl Sysctl `yaml:"sysctl,omitempty"`
	// Server describes the process under test.
	Server Server `yaml:"server"`
	// Load is the load that the scenario drives.
	Load LoadSpec `yaml:"load"`
	// Search, where it has a bound, looks for the highest rate that the servers are up to, instead
	// of measuring at one.
	Search Search `yaml:"search,omitempty"`
	// Timeline is what happens while the load runs: at most 256 entries, and 20,000 steps in all
	// with those that are repeated.
	Timeline []Step `yaml:"timeline"`
	// Validity bounds what a trial may show before it counts as a measurement of the servers.
	Validity Validity `yaml:"validity"`
}

// InPods reports whether the workers are pods.
func (s *Setup) InPods() bool { return s.Path.Row().InPods }

// DNS says how names are answered and kept.
type DNS struct {
	// Cache is what a client keeps of an answer. Default ttl.
	Cache vocabulary.DNSCache `yaml:"cache,omitempty"`
	// TTL of answers, in whole seconds, 0 to 1 h. Default 0: 5 s, as CoreDNS's plugin kubernetes.
	TTL time.Duration `yaml:"ttl,omitempty"`
	// Clients share the attempts, each with a cache of its own, 0 to 1024. Default 0: 16.
	Clients int `yaml:"clients,omitempty"`
}

// Kube says how the embedded control plane behaves: a stand-in for Kubernetes' own, with lags that
// can be set. Default: none.
type Kube struct {
	// Placement is where the pods are. Default pods.
	Placement vocabulary.Placement `yaml:"placement,omitempty"`
	// Users are the user ids of the workers. Default one.
	Users vocabulary.Users `yaml:"users,omitempty"`
	// EndpointLag is the time from a pod's being ready, or deleted, to the change of its Service's
	// endpoints, 0 to 1 min, or what it is drawn from for each change: uniform(10ms..1s),
	// exponential(100ms) by its mean, lognormal(100ms..1s) by its median and 99th percentile.
	EndpointLag Lag `yaml:"endpoint_lag,omitempty"`
	// RulesLag is the time from changed endpoints to the begin of the node's sync of its rules, as
	// EndpointLag.
	RulesLag Lag `yaml:"rules_lag,omitempty"`
	// MinSyncPeriod is how far apart two syncs of a node's rules are at least, 0 to 1 min, as
	// kube-proxy's minSyncPeriod (its default is 1 s).
	MinSyncPeriod time.Duration `yaml:"min_sync_period,omitempty"`
	// Readiness is when a pod counts as ready. Default listening.
	Readiness vocabulary.Readiness `yaml:"readiness,omitempty"`
	// ProbePeriod is how far apart the readiness probes of one pod are, with readiness: probe; the
	// first comes when its process has been started. 0 to 1 min. Default 0: 1 s, the least that
	// Kubernetes allows (its default is 10 s).
	ProbePeriod time.Duration `yaml:"probe_period,omitempty"`
	// MinReady is how long a new pod must have been ready before a rolling update or a drain goes
	// on, 0 to 1 min (minReadySeconds).
	MinReady time.Duration `yaml:"min_ready,omitempty"`
	// MaxSurge is how many pods more than there were a rolling update may have, 0 to 1024. Default
	// 0: 1 where MaxUnavailable is 0, because something has to give.
	MaxSurge int `yaml:"max_surge,omitempty"`
	// MaxUnavailable is how many pods fewer than there were may be ready during a rolling update, 0
	// to 1024. Default 0.
	MaxUnavailable int `yaml:"max_unavailable,omitempty"`
	// MinAvailable is how many pods must be ready before a drain evicts another one, 0 to 1024: a
	// PodDisruptionBudget. Default 0: none need be.
	MinAvailable int `yaml:"min_available,omitempty"`
	// PreStop is how long a deleted pod goes on before it is told to stop, 0 to 1 min: a preStop
	// hook that sleeps.
	PreStop time.Duration `yaml:"pre_stop,omitempty"`
	// Grace is how long after its deletion a pod is killed that has not ended, 0 to 1 min, but not
	// sooner than 2 s after it was told to end. 0: 30 s, as in Kubernetes, or 5 s after PreStop
	// where that is later. See server.grace, too.
	Grace time.Duration `yaml:"grace,omitempty"`
	// NodeLag is how long after a node has fallen silent its pods are unready, 0 to 1 min
	// (Kubernetes' default is 50 s, 40 s before 1.32: node-monitor-grace-period).
	NodeLag time.Duration `yaml:"node_lag,omitempty"`
	// Teardown is how long after the end of its processes a pod's network goes, 0 to 1 min: until
	// then it refuses connections, from then on nobody answers. Default 0: 200 ms, about what
	// containerd takes.
	Teardown time.Duration `yaml:"teardown,omitempty"`
}

// HAProxy says how HAProxy is configured.
type HAProxy struct {
	// Checks are its health checks of the workers. Default default.
	Checks vocabulary.HealthChecks `yaml:"checks,omitempty"`
	// Redispatch is whether a connection that a worker refused is tried again at another one.
	// Default off.
	Redispatch vocabulary.Switch `yaml:"redispatch,omitempty"`
}

// Sysctl is values of kernel parameters, for every host and pod of the lab. Those that are not
// given have the kernel's default for a new network namespace, but where it says otherwise. What
// each does is in Documentation/networking/ip-sysctl.rst.
type Sysctl struct {
	// Somaxconn is net.core.somaxconn, the most that a socket's backlog may be, 1 to 65535:
	// listen(2) cuts server.backlog to it. Default 65535.
	Somaxconn *int `yaml:"somaxconn,omitempty"`
	// AbortOnOverflow is net.ipv4.tcp_abort_on_overflow: 1 answers the last ACK of a handshake by a
	// reset when the accept queue is full, 0 drops it.
	AbortOnOverflow *int `yaml:"abort_on_overflow,omitempty"`
	// SYNCookies is net.ipv4.tcp_syncookies: 0 drops SYNs that find as many handshakes under way as
	// the backlog allows, 1 answers those with cookies, 2 answers all with cookies.
	SYNCookies *int `yaml:"syncookies,omitempty"`
	// MaxSYNBacklog is net.ipv4.tcp_max_syn_backlog, 1 to 65535: without cookies, SYNs are dropped
	// once handshakes under way leave less than a quarter of it. Default 65535.
	MaxSYNBacklog *int `yaml:"max_syn_backlog,omitempty"`
	// SYNACKRetries is net.ipv4.tcp_synack_retries, how often the answer to a SYN is sent again, 0
	// to 255.
	SYNACKRetries *int `yaml:"synack_retries,omitempty"`
	// SYNRetries is net.ipv4.tcp_syn_retries, how often a client's SYN is sent again, 1 to 127.
	SYNRetries *int `yaml:"syn_retries,omitempty"`
	// MigrateReq is net.ipv4.tcp_migrate_req: 1 moves what a closing listener has queued to another
	// one of its group. Default 0; stop: migrate sets it to 1.
	MigrateReq *int `yaml:"migrate_req,omitempty"`
	// FinTimeout is net.ipv4.tcp_fin_timeout, for how many seconds a connection that its end has
	// closed waits for the other's FIN, 1 to 120.
	FinTimeout *int `yaml:"fin_timeout,omitempty"`
	// TWReuse is net.ipv4.tcp_tw_reuse: 1 lets new connections take ports that are in TIME_WAIT, 2
	// on loopback only, 0 never.
	TWReuse *int `yaml:"tw_reuse,omitempty"`
}

// Server describes the process under test.
type Server struct {
	// Kind is the architecture of a worker.
	Kind vocabulary.ServerKind `yaml:"kind"`
	// Start is when the processes are started for the workers that steps start. Default parked;
	// with stop: tableflip it is cold, because there the old worker starts its successor.
	Start vocabulary.Start `yaml:"start,omitempty"`
	// Work is the service time of one request.
	Work Work `yaml:"work"`
	// Startup is how long a worker takes until it listens, beyond what its process needs, 0 to 10
	// s: a program that loads its data first. It counts from the start of the process or, where
	// that was parked, from the step. Default 0.
	Startup time.Duration `yaml:"startup,omitempty"`
	// Grace is how long a worker that is told to stop may take to finish what it has, 1 ms to 10
	// min. Then it closes what is left; one that is too busy for that is killed a second later. It
	// is over when the trial is. Default 30 s, as servers and Kubernetes have it.
	Grace time.Duration `yaml:"grace"`
	// Cold is how much longer a request takes at a worker that a cold-start has just added, 0 to 1
	// min, of the kind of time that work uses. It falls evenly to nothing within the step's for.
	// Default 0.
	Cold time.Duration `yaml:"cold,omitempty"`
	// Backlog is the listen(2) backlog of each socket, 1 to 65535. Default 4096, the kernel's
	// default for net.core.somaxconn since 5.4; sysctl.somaxconn bounds it.
	Backlog int `yaml:"backlog"`
	// Listen is what listening sockets are bound to. Two names joined by + are of the workers that
	// there are when the load begins, and of those that steps start, as any+specific. Default
	// specific.
	Listen string `yaml:"listen"`
	// DeferAccept keeps connections from being accepted before they have sent something
	// (TCP_DEFER_ACCEPT), for so many whole seconds, 0 to 1 min. Default 0: not at all.
	DeferAccept time.Duration `yaml:"defer_accept,omitempty"`
	// Users are the user ids of workers that are in no pods; those have kube.users.
	Users vocabulary.Users `yaml:"users"`
	// IdleTimeout is how long a worker waits for the next request on a connection that it has
	// answered, 1 ms to 1 h, before it closes it. Default 0: for ever.
	IdleTimeout time.Duration `yaml:"idle_timeout,omitempty"`
	// MaxRequests is after how many requests a worker closes a connection, 0 to 1,000,000; it says
	// so with the last answer (Connection: close). Default 0: it does not.
	MaxRequests int `yaml:"max_requests,omitempty"`
	// Fault is a defect built in on purpose, to see whether it is reported at its size.
	Fault Fault `yaml:"fault,omitempty"`
}

// Listens returns what Listen names.
func (s *Server) Listens() (all []vocabulary.Listen) {
	for name := range strings.SplitSeq(s.Listen, "+") {
		all = append(all, vocabulary.Listen(name))
	}
	return all
}

// Fault is a known defect of known size. Zero: none.
type Fault struct {
	// Resets is how many attempts the workers answer with a RST, of each the first try, 0 to
	// 100,000. Default 0.
	Resets int `yaml:"resets"`
	// ResetEvery is the distance between those attempts, 0 to 1,000,000: with that between two
	// restarts, each loses one more. Default 0: they are consecutive, as with 1.
	ResetEvery int `yaml:"reset_every,omitempty"`
	// HalfOpen is for how many connections, at each step that stops workers, the handshake is held
	// up while the listeners are closed: their SYN is answered, and what the client says next comes
	// 50 ms after the stop. 0 to 1000. Default 0.
	HalfOpen int `yaml:"half_open,omitempty"`
	// DroppedSYNs is of how many connections, the first of the trial, a firewall drops the SYN. 0
	// to 100,000. Default 0.
	DroppedSYNs int `yaml:"dropped_syns,omitempty"`
	// RejectedSYNs is of how many connections, the first of the trial, a firewall answers the SYN
	// by a RST. 0 to 100,000. Default 0.
	RejectedSYNs int `yaml:"rejected_syns,omitempty"`
	// TimeWait is how many connections the lab may have in TIME_WAIT, 1 to 100,000, so few that
	// they overflow. Default 0: enough for any trial.
	TimeWait int `yaml:"time_wait,omitempty"`
}

// Work is the service time of one request. At most one of Sleep and Burn is not zero; all zero:
// answer at once.
type Work struct {
	// Sleep waits without using the CPU, as a server waiting for a database does. 0 to 1 min.
	Sleep time.Duration `yaml:"sleep"`
	// Burn uses the thread's CPU time (CLOCK_THREAD_CPUTIME_ID), never wall time. 0 to 1 min.
	Burn time.Duration `yaml:"burn"`
	// Distribution is how the time varies from request to request. Each worker draws from a stream
	// of its own, the same for every variant of a block.
	Distribution vocabulary.Distribution `yaml:"distribution"`
	// Slow is how long a slow request of a bimodal distribution takes, of the kind of time that is
	// set. Needed there.
	Slow time.Duration `yaml:"slow,omitempty"`
	// SlowShare is the probability that a request of a bimodal distribution is slow, 0 to 1. Needed
	// there.
	SlowShare float64 `yaml:"slow_share,omitempty"`
}

// LoadSpec is the setting load. It is an open loop unless Concurrency says otherwise: attempts are
// sent when the schedule says so, whether or not earlier ones have been answered. A schedule has at
// least 1 and at most 10 million attempts. It has a Rate and a Duration, or Stages.
type LoadSpec struct {
	// Rate is attempts per second, written "2000/s"; more than 0, at most 1,000,000/s. Or a share,
	// up to 2, of what the servers are found to answer, written "0.7*capacity". Required without
	// concurrency or stages.
	Rate Rate `yaml:"rate,omitempty"`
	// Concurrency, 1 to 10,000, makes the load a closed loop of so many clients: each sends its
	// next attempt when its last one has ended. It takes the place of rate, pace and stages. A
	// closed loop has no schedule: no schedule lag, nothing that is known by the spacing of
	// attempts (gap, outage, drop window). Response times count from when an attempt was sent. The
	// first attempt of each client is in no percentile: they are all sent at once and meet empty
	// queues. Default 0: an open loop.
	Concurrency int `yaml:"concurrency,omitempty"`
	// Stages take the place of rate and duration: the rate of the first for its duration, then that
	// of the next.
	Stages []Stage `yaml:"stages,omitempty"`
	// Duration is how long attempts are scheduled or, in a closed loop, sent, 100 ms to 1 h.
	// Required without stages.
	Duration time.Duration `yaml:"duration,omitempty"`
	// Pace is how the attempts are spread over the duration; constant or poisson with stages.
	Pace vocabulary.Pace `yaml:"pace"`
	// From is the rate that a ramp starts at; it ends at Rate. With stages it is where a ramp of
	// the first stage starts.
	From Rate `yaml:"from,omitempty"`
	// Burst is how many attempts of a bursty pace are due at once, 2 to 100,000. The rate is that
	// of all attempts.
	Burst int `yaml:"burst,omitempty"`
	// Body is the length of each request's body, in bytes, up to 4096: POST requests. Default 0:
	// GET.
	Body int `yaml:"body,omitempty"`
	// Aborts is how many attempts, from the hundredth on, the load itself resets when it has sent
	// the request: a defect of known size, to see it reported. 0 to 100,000. Default 0.
	Aborts int `yaml:"aborts,omitempty"`
	// Processes is how many load processes share the schedule, 1 to 64. Default 0: as many as the
	// rate needs and the machine has CPUs for.
	Processes int `yaml:"processes,omitempty"`
	// Ports is how many ports new connections are made from, one after the other and over again, 0
	// to 50,000: as many as a client with one address has. For path service, where the clients'
	// node remembers what came from each. Default 0: every connection has one of its own.
	Ports int `yaml:"ports,omitempty"`
	// Connections is how attempts come by a connection; or a number, 1 to 10,000: so many are kept,
	// opened before the load begins and shared by the load processes, and an attempt goes over the
	// one that has been free longest. While none is free it waits, and while there are fewer it
	// opens one.
	Connections Connections `yaml:"connections"`
	// MaxRequests is after how many requests the client closes a kept connection, 0 to 1,000,000.
	// Default 0: it does not.
	MaxRequests int `yaml:"max_requests,omitempty"`
	// Lifetime is how old a kept connection gets, 1 ms to 1 h: then the client closes it, but not
	// before it is answered. Default 0: any age.
	Lifetime time.Duration `yaml:"lifetime,omitempty"`
	// IdleTimeout is how long a kept connection may be idle, 1 ms to 1 h, before the client closes
	// it. Default 0: for ever.
	IdleTimeout time.Duration `yaml:"idle_timeout,omitempty"`
	// Retry is when clients try an attempt again that has failed. Default: never.
	Retry Retry `yaml:"retry,omitempty"`
	// Timeout bounds one attempt with all its tries, from its sent instant, 1 ms to 1 min. Default
	// 900 ms: under the first SYN retransmission (1 s), so that a SYN dropped at a full queue is a
	// loss and not a latency.
	Timeout time.Duration `yaml:"timeout"`
}

// Stage is a part of the schedule.
type Stage struct {
	// Rate is attempts per second, more than 0, at most 1,000,000/s. Required.
	Rate Rate `yaml:"rate"`
	// Duration is how long the stage lasts, 1 ms to 1 h. Required.
	Duration time.Duration `yaml:"duration"`
	// Ramp makes the rate change evenly to Rate from that of the stage before, or load.from in the
	// first stage, as k6's ramping-arrival-rate does. Default false: it is Rate from the start.
	Ramp bool `yaml:"ramp,omitempty"`
}

// Closed reports whether the load is a closed loop.
func (l *LoadSpec) Closed() bool { return l.Concurrency > 0 }

// Lasts returns how long attempts are sent: Duration, or that of all Stages.
func (l *LoadSpec) Lasts() time.Duration {
	sum := l.Duration
	for _, s := range l.Stages {
		sum += s.Duration
	}
	return sum
}

// StageFrom returns the rate at which stage i starts, in attempts per second.
func (l *LoadSpec) StageFrom(i int) float64 {
	switch {
	case !l.Stages[i].Ramp:
		return l.Stages[i].Rate.PerSecond
	case i == 0:
		return l.From.PerSecond
	}
	return l.Stages[i-1].Rate.PerSecond
}

// Retry is a client's policy: an attempt makes one try or more, until one is served. Nothing is
// tried again once a response has begun, and what a server may have read only if that does no harm:
// of attempts without a body (GET), unless on names non-idempotent.
type Retry struct {
	// Max is how many tries an attempt may make after its first, 0 to 10. Default 0: none.
	Max int `yaml:"max,omitempty"`
	// On is after what there is another try, names joined by +, as refused+unsent. Default safe.
	On string `yaml:"on,omitempty"`
	// Backoff is the wait before the second try, 0 to 1 min; before each later one it is twice as
	// long. Default 0: none.
	Backoff time.Duration `yaml:"backoff,omitempty"`
	// MaxBackoff bounds the waits, 0 to 1 min. Default 0: they are not bounded.
	MaxBackoff time.Duration `yaml:"max_backoff,omitempty"`
	// Jitter is how the waits are spread. Default none.
	Jitter vocabulary.Jitter `yaml:"jitter,omitempty"`
	// ConnectTimeout bounds the handshake of each try, less than load.timeout. Default 0: a third
	// of that, where on has connect-timeout.
	ConnectTimeout time.Duration `yaml:"connect_timeout,omitempty"`
	// Budget bounds the tries of all clients of a load process, 0 to 1000 tokens, as gRPC's
	// throttle does: a try that fails costs a token, one that is served gives BudgetRatio, and
	// while no more than half of them are left nothing is tried again. Default 0: no bound.
	Budget float64 `yaml:"budget,omitempty"`
	// BudgetRatio is what a served try gives back, 0 to 1 token. Default 0: 0.1.
	BudgetRatio float64 `yaml:"budget_ratio,omitempty"`
}

// Causes returns what On names, written out.
func (r Retry) Causes() []vocabulary.RetryCause {
	if r.On == "" {
		return vocabulary.SafeRetries()
	}
	var causes []vocabulary.RetryCause
	for name := range strings.SplitSeq(r.On, "+") {
		if cause := vocabulary.RetryCause(name); cause == vocabulary.RetrySafe {
			causes = append(causes, vocabulary.SafeRetries()...)
		} else {
			causes = append(causes, cause)
		}
	}
	return causes
}

// Search is for the highest rate at which nothing is dropped and response times stay within a
// bound. Each trial is then a bisection, of which each try is a trial of its own; load.rate is not
// given.
type Search struct {
	// P99 is the bound of the 99th percentile of response time, up to 1 min. Default 0: no search.
	P99 time.Duration `yaml:"p99,omitempty"`
	// Precision ends the search when the lowest rate that failed is at most this share above the
	// highest that did not, 0.005 to 0.5. Default 0: 0.03.
	Precision float64 `yaml:"precision,omitempty"`
}

// Rate is a number of attempts per second. At most one of its fields is not zero; a zero Rate is
// none.
type Rate struct {
	PerSecond float64
	// OfCapacity is a share of the capacity: the rate at which the servers answer when there is
	// always something to do, measured before the trials.
	OfCapacity float64
}

// Step is an event of the timeline.
type Step struct {
	// At is when the step is first due, from the first scheduled attempt. 0 up to the load's end.
	At time.Duration `yaml:"at"`
	// Every repeats the step until the load ends, at least 10 ms apart. 0: once.
	Every time.Duration `yaml:"every,omitempty"`
	// Do is the kind of step. Required.
	Do vocabulary.StepName `yaml:"do"`
	// Target is the worker that a remove, kill, crash or stall is for, counted from 0 among those
	// there are at that time. Default the first; of a stall, all. Of a drop-socket it is the
	// socket, among those that the supervisor holds.
	Target *int `yaml:"target,omitempty"`
	// Replicas is how many pods there are to be after a scale.
	Replicas *int `yaml:"replicas,omitempty"`
	// For is the length of a step that lasts, more than 0 there and absent elsewhere: of a stall,
	// or from a crash until the supervisor starts another worker, or of a cold-start until the
	// worker is warm.
	For time.Duration `yaml:"for,omitempty"`
}

// Node is the node that a node-down or a drain-node is for: its Target, or 0.
func (s *Step) Node() int {
	if s.Target == nil {
		return 0
	}
	return *s.Target
}

// Validity bounds what a trial may show before it counts as a measurement of the servers.
type Validity struct {
	// LagFloor: p99 schedule lag below it never makes a trial invalid, nor does lag below a tenth
	// of p99 response time. Default 30 ms: what is lost is known in spite of it, and latencies of
	// which lag is a tenth are marked in reports.
	LagFloor time.Duration `yaml:"lag_floor"`
	// StepLag bounds the schedule lag of any attempt inside a step's window. Default 100 ms.
	StepLag time.Duration `yaml:"step_lag"`
	// Achieved is the smallest share of the offered rate that was sent on schedule, more than 0
	// and at most 1. Default 0.99.
	Achieved float64 `yaml:"achieved"`
	// Steal is the largest share of a step's window, and of the trial, that the hypervisor may take
	// from the servers' CPUs, 0 to 1. Default 0.5.
	Steal float64 `yaml:"steal"`
	// RunQueue is the largest share of a step's window, and of the trial, for which a worker may
	// have to wait for a CPU that something other than the workers is using, 0 to 1. Default 0.3.
	RunQueue float64 `yaml:"run_queue"`
	// Harness is the largest share of the servers' CPU time that this program itself may use while
	// the load runs, 0 to 1; up to 1 % of one CPU's time is allowed in any case. What it does in
	// place of a control plane does not count. Default 0.02.
	Harness float64 `yaml:"harness"`
}

// Block is one product block of a matrix: dotted path → values, in the order of the file.
type Block []Axis

// Axis is one key of a product block.
type Axis struct {
	Key    string   // dotted path of a single value in Setup
	Values []string // as written in the file
	Line   int      // where the key stands in the file
}

// Labels identify a variant: the matrix keys that apply to it and their values.
type Labels map[string]string

// Gate is an expectation over the metrics of the variants it selects.
type Gate struct {
	// When selects variants whose labels include all of these. Empty: every variant.
	When Labels `yaml:"when"`
	// Expect is an expression over the variant's metrics that must be true, for example
	// "lost_by_cause.reset_at_close == 0", in at most 1000 bytes. Metrics are named as in run.json;
	// a duration such as 5ms stands for nanoseconds. A comparison that comes out the same whatever
	// is measured is refused. Required.
	Expect string `yaml:"expect"`
	// Soft: a run in which the gate stays undecided, because its intervals are too wide, does not
	// fail for that. Default false.
	Soft bool `yaml:"soft,omitempty"`
	// Line is where Expect stands in the file.
	Line int `yaml:"-"`
}

// Variant is one point of the matrix.
type Variant struct {
	Labels Labels
	Setup  Setup
}

// Package scenarios loads, validates and explains scenarios. A scenario is a YAML file that says
// what to start, what load to send, what to do during the load, and which variants to compare.
//
// This package checks that the values of settings are valid and compatible with each other. It
// starts no process and measures nothing.
package scenarios

import (
	"strings"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// A Scenario is the decoded and valid content of one YAML file. The meaning, range and default of
// each key are in settings.go. The comments here say only what code needs to know in addition.
type Scenario struct {
	Name  string `yaml:"name"`
	About string `yaml:"about"`

	// Setup holds the settings that the matrix can vary. Its keys are at the top level of the file.
	Setup `yaml:",inline"`

	Matrix []Block `yaml:"matrix"`
	// Baseline holds all labels of the baseline variant after Load.
	Baseline Labels `yaml:"baseline,omitempty"`
	Gates    []Gate `yaml:"gates"`

	Trials   int `yaml:"trials"`
	MinValid int `yaml:"min_valid"`

	// Variants are the points of the matrix, block by block in the order of the file. The variants
	// of a block are the Cartesian product of its lists, in which the last key varies fastest.
	// There is at least one variant, and all variants are valid.
	Variants []Variant `yaml:"-"`
	// SHA256 is the hex digest of the file.
	SHA256 string `yaml:"-"`
	// Text is the text of the file.
	Text string `yaml:"-"`
	// File is the name of the file from which the scenario was read, for messages.
	File string `yaml:"-"`
}

// Setup holds the settings that can differ between variants.
type Setup struct {
	Network       vocabulary.Network `yaml:"network"`
	RoundTrip     time.Duration      `yaml:"round_trip,omitempty"`
	Family        vocabulary.Family  `yaml:"family"`
	Path          vocabulary.Path    `yaml:"path"`
	HAProxy       HAProxy            `yaml:"haproxy,omitempty"`
	DNS           DNS                `yaml:"dns,omitempty"`
	Kube          Kube               `yaml:"kube,omitempty"`
	Workers       int                `yaml:"workers"`
	WorkersPerCPU int                `yaml:"workers_per_cpu,omitempty"`
	Pin           vocabulary.Pin     `yaml:"pin"`
	// Sockets is SocketsReuseport by default, or SocketsServer if Server.Kind is ServerCommand.
	Sockets    vocabulary.Sockets    `yaml:"sockets"`
	Accept     vocabulary.AcceptMode `yaml:"accept,omitempty"`
	Selector   vocabulary.Selector   `yaml:"selector"`
	Canary     float64               `yaml:"canary,omitempty"`
	Stop       vocabulary.StopMode   `yaml:"stop,omitempty"`
	Restart    string                `yaml:"restart,omitempty"` // a name in Server.Restarts
	Stall      vocabulary.Stall      `yaml:"stall"`
	Trace      vocabulary.Switch     `yaml:"trace"`
	QueueDepth vocabulary.QueueDepth `yaml:"queue_depth"`
	Sysctl     Sysctl                `yaml:"sysctl,omitempty"`
	Server     Server                `yaml:"server"`
	Request    Request               `yaml:"request,omitempty"`
	Load       LoadSpec              `yaml:"load"`
	Search     Search                `yaml:"search,omitempty"`
	Step       string                `yaml:"step,omitempty"` // a StepName, for steps without Do
	Timeline   []Step                `yaml:"timeline"`
	Validity   Validity              `yaml:"validity"`
}

// InPods reports whether the workers are pods.
func (s *Setup) InPods() bool { return s.Path.Row().InPods }

// ByCommand reports whether the server under test is a third-party server, started by a command.
func (s *Setup) ByCommand() bool { return s.Server.Kind == vocabulary.ServerCommand }

// DNS configures how names are resolved and how clients cache the answers.
type DNS struct {
	Cache   vocabulary.DNSCache `yaml:"cache,omitempty"`
	TTL     time.Duration       `yaml:"ttl,omitempty"`     // 0 means 5 s
	Clients int                 `yaml:"clients,omitempty"` // 0 means 16
}

// Kube configures the control plane and its pods. The lags, NodeLag and Teardown are those of the
// embedded control plane. The durations have whole seconds with the real one.
type Kube struct {
	Control       vocabulary.Control   `yaml:"control,omitempty"`
	Placement     vocabulary.Placement `yaml:"placement,omitempty"`
	Users         vocabulary.Users     `yaml:"users,omitempty"`
	EndpointLag   Lag                  `yaml:"endpoint_lag,omitempty"`
	RulesLag      Lag                  `yaml:"rules_lag,omitempty"`
	KubeletLag    Lag                  `yaml:"kubelet_lag,omitempty"`
	ReadyLag      Lag                  `yaml:"ready_lag,omitempty"` // zero means EndpointLag
	ControllerLag Lag                  `yaml:"controller_lag,omitempty"`
	RelistPeriod  time.Duration        `yaml:"relist_period,omitempty"`
	RelistOffset  time.Duration        `yaml:"relist_offset,omitempty"`
	// ContainerStart is the time from a pod's creation until its container has started.
	ContainerStart time.Duration        `yaml:"container_start,omitempty"`
	ProxyMode      vocabulary.ProxyMode `yaml:"proxy_mode,omitempty"`
	MinSyncPeriod  time.Duration        `yaml:"min_sync_period,omitempty"` // real: 0 means 1 s
	Readiness      vocabulary.Readiness `yaml:"readiness,omitempty"`
	ProbePeriod    time.Duration        `yaml:"probe_period,omitempty"` // 0 means 1 s
	MinReady       time.Duration        `yaml:"min_ready,omitempty"`
	// A MaxSurge of 0 means 1 if MaxUnavailable is 0.
	MaxSurge       int           `yaml:"max_surge,omitempty"`
	MaxUnavailable int           `yaml:"max_unavailable,omitempty"`
	MinAvailable   int           `yaml:"min_available,omitempty"`
	PreStop        time.Duration `yaml:"pre_stop,omitempty"`
	// If Grace is 0, the grace is 30 s, or PreStop plus 5 s if that is longer.
	Grace    time.Duration `yaml:"grace,omitempty"`
	NodeLag  time.Duration `yaml:"node_lag,omitempty"` // real: 0 means 50 s
	Churn    int           `yaml:"churn,omitempty"`    // per second
	Teardown time.Duration `yaml:"teardown,omitempty"` // 0 means 200 ms
}

// HAProxy configures HAProxy.
type HAProxy struct {
	Checks     vocabulary.HealthChecks `yaml:"checks,omitempty"`
	Redispatch vocabulary.Switch       `yaml:"redispatch,omitempty"`
}

// Sysctl holds the values of kernel parameters for every host and pod of the lab. Nil means the
// kernel's default for a new network namespace, except that nil means 65535 for Somaxconn and
// MaxSYNBacklog.
type Sysctl struct {
	Somaxconn       *int `yaml:"somaxconn,omitempty"`
	AbortOnOverflow *int `yaml:"abort_on_overflow,omitempty"`
	SYNCookies      *int `yaml:"syncookies,omitempty"`
	MaxSYNBacklog   *int `yaml:"max_syn_backlog,omitempty"`
	SYNACKRetries   *int `yaml:"synack_retries,omitempty"`
	SYNRetries      *int `yaml:"syn_retries,omitempty"`
	MigrateReq      *int `yaml:"migrate_req,omitempty"` // the stop mode migrate sets it to 1
	FinTimeout      *int `yaml:"fin_timeout,omitempty"` // seconds
	TWReuse         *int `yaml:"tw_reuse,omitempty"`
}

// Server describes the process under test.
type Server struct {
	Kind    vocabulary.ServerKind `yaml:"kind"`
	Start   Start                 `yaml:"start,omitempty"`
	Work    Work                  `yaml:"work"`
	Startup time.Duration         `yaml:"startup,omitempty"`
	Grace   time.Duration         `yaml:"grace"`
	Cold    time.Duration         `yaml:"cold,omitempty"`
	Backlog int                   `yaml:"backlog"`
	// Listen is one or two names of vocabulary.Listen, joined by +. See Listens.
	Listen      string           `yaml:"listen"`
	DeferAccept time.Duration    `yaml:"defer_accept,omitempty"` // whole seconds; 0 means off
	Users       vocabulary.Users `yaml:"users"`
	IdleTimeout time.Duration    `yaml:"idle_timeout,omitempty"` // 0 means no limit
	MaxRequests int              `yaml:"max_requests,omitempty"` // 0 means no limit
	Fault       Fault            `yaml:"fault,omitempty"`

	ServerCommand `yaml:",inline"`
}

// Listens returns the addresses to which workers bind their sockets. The first is for the workers
// that are started before the load. If there is a second, it is for the workers that steps start.
func (s *Server) Listens() (all []vocabulary.Listen) {
	for name := range strings.SplitSeq(s.Listen, "+") {
		all = append(all, vocabulary.Listen(name))
	}
	return all
}

// Fault holds faults of known size that a trial injects. The zero value injects none.
type Fault struct {
	Resets       int `yaml:"resets"`
	ResetEvery   int `yaml:"reset_every,omitempty"` // 0 means 1
	HalfOpen     int `yaml:"half_open,omitempty"`
	DroppedSYNs  int `yaml:"dropped_syns,omitempty"`
	RejectedSYNs int `yaml:"rejected_syns,omitempty"`
	TimeWait     int `yaml:"time_wait,omitempty"` // 0 means enough for any trial
}

// Work is the service time of a request. At most one of Sleep and Burn is not zero. If both are
// zero, the server answers at once.
type Work struct {
	Sleep        time.Duration           `yaml:"sleep"`
	Burn         time.Duration           `yaml:"burn"` // CPU time (CLOCK_THREAD_CPUTIME_ID)
	Distribution vocabulary.Distribution `yaml:"distribution"`
	Slow         time.Duration           `yaml:"slow,omitempty"`       // bimodal only
	SlowShare    float64                 `yaml:"slow_share,omitempty"` // bimodal only
}

// LoadSpec is the value of the key load. If Concurrency is not 0, the load is a closed loop.
// Otherwise it is an open loop, which has a Rate and a Duration, or Stages.
type LoadSpec struct {
	Rate        Rate            `yaml:"rate,omitempty"`
	Concurrency int             `yaml:"concurrency,omitempty"`
	Stages      []Stage         `yaml:"stages,omitempty"`
	Duration    time.Duration   `yaml:"duration,omitempty"`
	Pace        vocabulary.Pace `yaml:"pace"`
	From        Rate            `yaml:"from,omitempty"`
	Burst       int             `yaml:"burst,omitempty"`
	Body        int             `yaml:"body,omitempty"` // bytes; 0 means GET
	Aborts      int             `yaml:"aborts,omitempty"`
	Processes   int             `yaml:"processes,omitempty"` // 0 means as the rate requires
	Ports       int             `yaml:"ports,omitempty"`     // 0 means any
	Connections Connections     `yaml:"connections"`
	MaxRequests int             `yaml:"max_requests,omitempty"` // 0 means no limit
	Lifetime    time.Duration   `yaml:"lifetime,omitempty"`     // 0 means no limit
	IdleTimeout time.Duration   `yaml:"idle_timeout,omitempty"` // 0 means no limit
	Retry       Retry           `yaml:"retry,omitempty"`
	Timeout     time.Duration   `yaml:"timeout"`
}

// Stage is a part of the schedule of an open loop.
type Stage struct {
	Rate     Rate          `yaml:"rate"`
	Duration time.Duration `yaml:"duration"`
	Ramp     bool          `yaml:"ramp,omitempty"`
}

// Closed reports whether the load is a closed loop.
func (l *LoadSpec) Closed() bool { return l.Concurrency > 0 }

// Lasts returns the time during which attempts are sent: Duration, or the total of Stages.
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

// Retry is a client's retry policy. An attempt makes up to 1 + Max tries, until one is served. A
// try whose response has begun is not retried. A request that a server may have read is retried
// only if it has no body (GET) or On contains non-idempotent.
type Retry struct {
	Max            int               `yaml:"max,omitempty"`
	On             string            `yaml:"on,omitempty"` // failures joined by +; see Causes
	Backoff        time.Duration     `yaml:"backoff,omitempty"`
	MaxBackoff     time.Duration     `yaml:"max_backoff,omitempty"` // 0 means no limit
	Jitter         vocabulary.Jitter `yaml:"jitter,omitempty"`
	ConnectTimeout time.Duration     `yaml:"connect_timeout,omitempty"` // 0 means Timeout/3
	Budget         float64           `yaml:"budget,omitempty"`          // tokens; 0 means no limit
	BudgetRatio    float64           `yaml:"budget_ratio,omitempty"`    // tokens; 0 means 0.1
}

// Causes returns the failures that On names. It replaces safe, the default, by the failures for
// which it stands.
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

// Rate is a number of attempts per second. At most one of its fields is not zero. The zero Rate
// means that no rate is set.
type Rate struct {
	PerSecond float64
	// OfCapacity is the rate as a share of the servers' capacity. The capacity, measured before the
	// trials, is the rate at which the servers answer while they always have work.
	OfCapacity float64
}

// Step is an event of the timeline.
type Step struct {
	At    time.Duration       `yaml:"at"` // time since the first scheduled attempt
	Every time.Duration       `yaml:"every,omitempty"`
	Do    vocabulary.StepName `yaml:"do,omitempty"` // empty means Setup.Step
	// Target is the number of a worker, node or socket (see StepKind.Targets), counted from 0 among
	// those that exist at the time of the step. Nil means the first; for a stall, all workers.
	Target   *int          `yaml:"target,omitempty"`
	Replicas *int          `yaml:"replicas,omitempty"`
	For      time.Duration `yaml:"for,omitempty"`
}

// Node returns the number of the node on which a step node-down or drain-node acts: Target, or 0 if
// Target is nil.
func (s *Step) Node() int {
	if s.Target == nil {
		return 0
	}
	return *s.Target
}

// Validity holds limits. A trial that exceeds one does not count as a measurement of the servers.
type Validity struct {
	// A trial is invalid if the p99 of its schedule lag exceeds both LagFloor and a tenth of the
	// p99 of response time. Smaller lags do not affect the counts of losses. Reports mark a latency
	// of which a tenth or more is lag.
	LagFloor time.Duration `yaml:"lag_floor"`
	StepLag  time.Duration `yaml:"step_lag"`
	Achieved float64       `yaml:"achieved"`
	Steal    float64       `yaml:"steal"`
	RunQueue float64       `yaml:"run_queue"`
	Harness  float64       `yaml:"harness"`
}

// Block is one block of a matrix: its axes, in the order of the file. The block's variants are the
// Cartesian product of the axes.
type Block []Axis

// Axis is one key of a block with the values that it takes.
type Axis struct {
	Key    string   // dotted path of a single value in Setup
	Values []string // as written in the file
	Line   int      // the line of the key in the file
}

// Labels identify a variant: the matrix keys that apply to it and their values.
type Labels map[string]string

// Gate is an expectation about the metrics of the variants that When selects.
type Gate struct {
	When   Labels `yaml:"when"` // empty selects every variant
	Expect string `yaml:"expect"`
	// If Soft, the gate may stay undecided: intervals that are too wide do not fail the run.
	Soft bool `yaml:"soft,omitempty"`
	// Line is the line of Expect in the file.
	Line int `yaml:"-"`
}

// Variant is one point of the matrix.
type Variant struct {
	Labels Labels
	Setup  Setup
}

// Package results is the model of what was measured (runs, scenarios, variants, trials) and its
// storage in a run directory. It does not depend on how a trial is carried out: labels are plain
// strings, instants are nanoseconds.
//
// Conventions of run.json: values are in base units, and the name of a field ends with its unit.
// null means that a value does not apply or could not be measured; such a value is never written as
// 0.
package results

import (
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// SchemaVersion is written to run.json. It changes if a reader of the previous version could
// misread the file. Added fields do not change it.
const SchemaVersion = 1

// Run is the record of one invocation of the program.
type Run struct {
	SchemaVersion int         `json:"schema_version"`
	Program       string      `json:"program"` // "reuseport-bench"
	Version       string      `json:"version"` // module version or VCS revision
	Seed          uint64      `json:"seed"`
	StartedAt     time.Time   `json:"started_at"`
	FinishedAt    *time.Time  `json:"finished_at"` // null: interrupted, or still running
	Environment   Environment `json:"environment"`
	Scenarios     []*Scenario `json:"scenarios"`
	Claims        []Claim     `json:"claims"` // null until the run has finished
	// Warnings say what is wrong with the files from which the run was read, for example a last
	// line that a crash cut off. Warnings about a single figure are in its Summary.
	Warnings []string `json:"warnings"`
}

// Environment describes everything outside the scenario that could have influenced a figure.
type Environment struct {
	Kernel       string            `json:"kernel"` // uname -r
	Go           string            `json:"go"`
	CPUs         int               `json:"cpus"` // usable by this process
	CPUModel     string            `json:"cpu_model"`
	Sysctls      map[string]string `json:"sysctls"`      // as set inside the lab
	Capabilities map[string]string `json:"capabilities"` // probe → "yes" or the reason why not
	// Machine describes the CPUs, and the share of them that the program was allowed to use. It is
	// null in older runs.
	Machine    *Machine `json:"machine,omitempty"`
	LoadCPUs   []int    `json:"load_cpus"`
	ServerCPUs []int    `json:"server_cpus"`
	// HarnessCPUs are the CPUs on which this program itself runs during the load. They are absent
	// in older runs, where it ran on any CPU.
	HarnessCPUs []int `json:"harness_cpus,omitempty"`
	Privileged  bool  `json:"privileged"` // false: inside a user namespace
	// HAProxy is the version of HAProxy, if the connections of a variant go through it.
	HAProxy string `json:"haproxy,omitempty"`
}

// Machine describes the CPUs that the program was allowed to use.
type Machine struct {
	Cores      int   `json:"cores"`      // physical cores
	Nodes      int   `json:"nodes"`      // NUMA nodes
	Capacities []int `json:"capacities"` // relative speed by kind of core; the fastest has 1024
	// QuotaCPUs is the CPU quota of the program's cgroups, in CPUs. It is null without a quota.
	QuotaCPUs *float64 `json:"quota_cpus"`
	Governors []string `json:"governors"` // CPU frequency governors; empty if the kernel has none
	Virtual   string   `json:"virtual"`   // kind of virtual machine; "" on bare metal or unknown
}

// Scenario holds the variants of one scenario.
type Scenario struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	File   string `json:"file,omitempty"` // the file from which it was read
	SHA256 string `json:"sha256"`
	// YAML is the text of the scenario. It is absent in older runs.
	YAML     string            `json:"yaml,omitempty"`
	Baseline map[string]string `json:"baseline"`
	MinValid int               `json:"min_valid"`
	// ScenarioMinValid is the min_valid in the scenario's file, if the run used a lower one because
	// fewer trials were requested. Otherwise it is 0.
	ScenarioMinValid int          `json:"scenario_min_valid,omitempty"`
	Trials           int          `json:"trials"` // planned per variant
	Variants         []*Variant   `json:"variants"`
	Gates            []GateResult `json:"gates"`
	// AA compares the baseline with its second measurement, in the metrics that gates use. It is
	// empty if no gate needs it.
	AA []*Delta `json:"aa,omitempty"`
	// Void is the reason why the gates decide nothing: the two measurements of the baseline differ.
	// It is empty if the gates decide.
	Void string `json:"void,omitempty"`
	// Looks has the numbers of blocks at which the gates were to be judged, if blocks were added
	// until the gates were decided. It is empty if the number of blocks was fixed.
	Looks []int `json:"looks,omitempty"`
	// Stopped is the reason why the scenario ended before all its trials were run. It is empty if
	// all were run.
	Stopped string `json:"stopped,omitempty"`
	// BudgetNS is the longest time that the scenario was allowed to take.
	BudgetNS int64 `json:"budget_ns,omitempty"`
}

// The outcomes of a gate.
const (
	GatePass      = "pass"
	GateFail      = "fail"
	GateUndecided = "undecided" // the trials do not decide the gate
)

// GateResult is the outcome of one gate on one variant.
type GateResult struct {
	Labels  map[string]string `json:"labels"`
	Expect  string            `json:"expect"`
	Outcome string            `json:"outcome"` // pass | fail | undecided
	Note    string            `json:"note"`    // the figures that decided it
	// MoreTrials estimates how many more trials of each variant are needed to decide the gate, if
	// they vary like those measured. It is null if the gate is decided or nothing can be estimated.
	MoreTrials *int `json:"more_trials,omitempty"`
	// Undecidable: no number of trials would decide the gate.
	Undecidable bool `json:"undecidable,omitempty"`
	// Soft: the run does not fail if the gate is undecided.
	Soft bool   `json:"soft,omitempty"`
	File string `json:"file,omitempty"` // the scenario's file
	Line int    `json:"line,omitempty"` // the gate's line in File
}

// Variant is one point of a scenario's matrix.
type Variant struct {
	Labels map[string]string `json:"labels"`
	// SkippedReason is the reason why the variant was not run, or null if it was run.
	SkippedReason *string `json:"skipped_reason"`
	// CapacityPerSecond is the number of attempts per second that the servers answered under full
	// load. It is null if the scenario's load is not given as a share of the capacity.
	CapacityPerSecond *float64           `json:"capacity_per_second"`
	Trials            []*Trial           `json:"trials"`
	Summary           map[string]Summary `json:"summary"` // metric → value over valid trials
}

// Summary is one metric over the valid trials of a variant.
type Summary struct {
	Center     float64  `json:"center"`
	Lo         *float64 `json:"lo"` // null: too few trials for the confidence asked for
	Hi         *float64 `json:"hi"`
	Confidence float64  `json:"confidence"` // the level reached, 0 to 1; 0 without an interval
	N          int      `json:"n"`          // trials, or restarts for *_per_restart
	// Method names the way in which lo and hi were computed; it is one of the Method constants. It
	// is MethodNone if lo and hi are null.
	Method string `json:"method"`
	// TooFew: there were too few restarts for a meaningful lo and hi. Reports do not print them.
	TooFew bool `json:"too_few,omitempty"`
	// Warnings qualify the figure; reports print them as footnotes. If an expected interval is
	// missing, the first warning says why.
	Warnings []string `json:"warnings"`
}

// Trial is one timed execution of one variant.
type Trial struct {
	Valid          bool     `json:"valid"`
	InvalidReasons []string `json:"invalid_reasons"`
	Block          int      `json:"block"` // 0-based
	Order          int      `json:"order"` // position among the scenario's trials, 0-based

	Attempts int64 `json:"attempts"`
	Served   int64 `json:"served"`
	Lost     int64 `json:"lost"`
	Dropped  int64 `json:"dropped"` // lost for any cause but client
	// NeverSent is the number of attempts that the load had not reached when the trial ended. They
	// count as lost, with cause client. Older runs lack it; Unsent computes it for them.
	NeverSent *int64 `json:"never_sent,omitempty"`
	// LocalErrors counts attempts that failed in the load process itself, by errno: {"EMFILE": 3}.
	LocalErrors map[string]int64 `json:"local_errors,omitempty"`
	// ErrorAnswers counts attempts lost with cause error_answer, by HTTP status: {"503": 3}.
	ErrorAnswers map[string]int64 `json:"error_answers,omitempty"`
	// Retriable is the number of lost attempts that many HTTP clients would have silently sent once
	// more: idempotent requests on a kept connection that ended before any byte of a response (RFC
	// 9110, 9.2.2). It is null if no connections are kept, and absent in older runs.
	Retriable *int64 `json:"retriable,omitempty"`
	// Unverified is the number of served attempts for which only the end of the connection marked
	// the end of the response. A truncated response would look the same.
	Unverified int64 `json:"unverified,omitempty"`
	// Witness describes how the servers' side of connections was observed, if the servers keep no
	// journal. It is null for workers of this program.
	Witness *Witness `json:"witness,omitempty"`
	// Background is the number of dropped attempts that were lost outside every step's window. It
	// is null for workers of this program.
	Background  *int64           `json:"background,omitempty"`
	LostByCause map[string]int64 `json:"lost_by_cause"`
	LostByPhase map[string]int64 `json:"lost_by_phase"`
	Evidence    Evidence         `json:"evidence"`
	Residual    int64            `json:"residual"`
	// LostSentAfterClose counts dropped attempts that were sent after a step had closed all
	// listeners that it had to close, and for which no worker is responsible. It is null if no step
	// closed a listener with its own queue.
	LostSentAfterClose *int64 `json:"lost_sent_after_close"`
	SYNRetransmits     *int64 `json:"syn_retransmits"`

	// CapacityPerSecond is the variant's capacity. It is stored here so that a resumed run can
	// reuse it.
	CapacityPerSecond *float64 `json:"capacity_per_second"`

	// Concurrency is the number of clients in a closed loop. Each client sends an attempt when its
	// previous one has ended. It is 0 or absent in an open loop.
	Concurrency int `json:"concurrency,omitempty"`

	OfferedPerSecond  *float64 `json:"offered_per_second"` // null in a closed loop
	AchievedPerSecond float64  `json:"achieved_per_second"`
	// ServedPerSecond is the number of attempts served per second while the clients of a closed
	// loop were sending. It is null in an open loop.
	ServedPerSecond  *float64 `json:"served_per_second,omitempty"`
	TimeoutNS        int64    `json:"timeout_ns"`
	ScheduleLagP99NS *int64   `json:"schedule_lag_p99_ns"` // null in a closed loop

	// ResponseNS and ServiceNS cover served attempts. They are null if no attempt was served.
	// ResponseNS starts when an attempt is due, ServiceNS when it is sent; in a closed loop, these
	// are the same. In a closed loop, the percentiles leave out each client's first attempt,
	// because all first attempts are sent at once.
	ResponseNS *Percentiles `json:"response_ns"`
	ServiceNS  *Percentiles `json:"service_ns"`
	// Parts of ServiceNS. ConnectNS ends when the request has been handed to the kernel, and covers
	// only attempts that opened a connection. FirstByteNS ends with the first byte of the response.
	// If clients retry, both start with the last try. Both are absent in older runs.
	ConnectNS   *Percentiles `json:"connect_ns,omitempty"`
	FirstByteNS *Percentiles `json:"first_byte_ns,omitempty"`
	// Stages are the stages of the load's schedule. They are absent if the schedule has none.
	Stages []Stage `json:"stages,omitempty"`
	// Histogram is the histogram of ResponseNS: HdrHistogram V2, compressed, base64; 1 ns unit, 3
	// significant figures.
	Histogram string `json:"histogram"`

	Steps []Step `json:"steps"`
	// StepsLate is the number of steps that were not carried out, because the load had ended before
	// the steps ahead of them were complete.
	StepsLate int       `json:"steps_late,omitempty"`
	Workers   []Worker  `json:"workers"`
	Fairness  *Fairness `json:"fairness"` // of the longest-lived generation
	Queues    *Queues   `json:"queues"`   // null where they are unknown
	// Series has queues, overflows, migrations and losses over time. It is null if they are
	// unknown.
	Series *Series `json:"series,omitempty"`
	// Windows has responses, losses, queues and the machine over time, in windows that are short
	// around the steps. It is null in older runs, and where a run has so many trials that there is
	// no room for it.
	Windows *Windows `json:"windows,omitempty"`
	// AroundStops has the losses of all steps that ended workers, laid over each other around the
	// stop. It is null if no step ended workers, and in older runs.
	AroundStops *AroundStops `json:"around_stops,omitempty"`
	// Kernel maps each kernel counter to its change during the trial, in the lab's namespaces.
	Kernel map[string]int64 `json:"kernel"`
	CPU    CPU              `json:"cpu"`
	Memory Memory           `json:"memory"`
	// Threads describes where this program's own threads ran during the load. It is absent in older
	// runs.
	Threads *Threads `json:"threads,omitempty"`
	// EarlyReads is the number of times that journals were read while the load was running, because
	// they had grown too large to be read only at its end.
	EarlyReads int64 `json:"early_reads,omitempty"`
	// Selector describes what an eBPF selector did. It is null without one.
	Selector *Selector `json:"selector"`
	// Occupancy describes the times for which connections kept a worker busy, from accept to end.
	// It is null if a worker handles several connections at a time.
	Occupancy *Occupancy `json:"occupancy"`
	// Search describes how the trial's rate was found. It is null if the rate was given.
	Search *Search `json:"search"`
	// StartNS is the time from the start of the first worker until all workers of the first
	// generation were ready.
	StartNS int64 `json:"start_ns"`

	// Starts counts the workers that steps started, by when their processes were started. It is
	// null if steps started none. It is absent in older runs, where all workers started cold.
	Starts *Starts `json:"starts,omitempty"`

	// RoundTrip is the round trip that the lab added between clients and servers. It is null if the
	// lab added none, and in older runs.
	RoundTrip *RoundTrip `json:"round_trip,omitempty"`

	// Retries counts the clients' retries. It is null if clients do not retry.
	Retries *Retries `json:"retries,omitempty"`

	// Trace summarizes the kernel's events about lost attempts.
	Trace *Trace `json:"trace,omitempty"`

	// Ledger is the client × server table, one row per pair that occurred.
	Ledger []LedgerRow `json:"ledger"`
	// Equalities compare the kernel's counters with the ledger. There are none behind a proxy,
	// because a proxy opens connections of its own.
	Equalities []Equality `json:"equalities,omitempty"`
	// ControlPlane is the kind of control plane behind a Service. "embedded" is this program's own,
	// with configured delays. It is empty without a Service.
	ControlPlane string `json:"control_plane,omitempty"`
	// Target is the address to which the load connected.
	Target string `json:"target,omitempty"`
	// Losses lists lost attempts one by one, as far as the bounds of a run allow. LossesOmitted is
	// the number of lost attempts that are not listed.
	Losses        []Loss `json:"losses"`
	LossesOmitted int64  `json:"losses_omitted"`
}

// Evidence counts lost attempts by the evidence for their cause.
type Evidence struct {
	Kernel  int64 `json:"kernel"`  // a kernel event
	Counter int64 `json:"counter"` // a kernel counter's change
	Worker  int64 `json:"worker"`  // a worker's report
	Client  int64 `json:"client"`  // the client's view alone
}

// Witness describes how the ends of connections were observed at servers that keep no journal.
type Witness struct {
	// By is the means by which the servers' side was observed, one of the constants below. It is
	// empty if causes were derived from the clients alone. ClientOnly is then the reason, and an
	// unknown cause does not make the trial invalid.
	By         string `json:"by,omitempty"`
	ClientOnly string `json:"client_only,omitempty"`
	// Untraced is the reason why connections were not traced, or empty.
	Untraced string `json:"untraced,omitempty"`
	// Connections is the number of connections that were observed. It includes Strangers, which are
	// not the load's: readiness probes, and health checks of the server itself. It also includes
	// Anonymous, of whose clients only the address is known.
	Connections int64 `json:"connections"`
	Anonymous   int64 `json:"anonymous,omitempty"`
	Strangers   int64 `json:"strangers,omitempty"`
}

// The means of observing the servers' side of connections.
const (
	ByTrace      = "trace"      // eBPF programs
	ByObituaries = "obituaries" // the kernel's records of ended sockets (SKNLGRP_INET_TCP_DESTROY)
)

// A Stage is a part of the load's schedule. FromNS is measured from the first scheduled attempt.
type Stage struct {
	FromNS     int64 `json:"from_ns"`
	DurationNS int64 `json:"duration_ns"`
	// The rates at the start and at the end of the stage, in attempts per second.
	FromPerSecond float64 `json:"from_per_second"`
	ToPerSecond   float64 `json:"to_per_second"`

	// Attempts is the number of attempts that were due in the stage. The next three fields describe
	// these attempts.
	Attempts   int64        `json:"attempts"`
	Lost       int64        `json:"lost"`
	Dropped    int64        `json:"dropped"`
	ResponseNS *Percentiles `json:"response_ns"` // null if none of them was served
}

// Percentiles of a histogram, in nanoseconds.
type Percentiles struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
	Mean int64 `json:"mean"`
	SD   int64 `json:"sd"` // standard deviation
}

// Step is one execution of a step of the timeline. Instants are measured from the first scheduled
// attempt.
type Step struct {
	Do     vocabulary.StepName `json:"do"`
	Target string              `json:"target"` // what the step acted on: "generation 1", "worker 3"

	AtNS int64 `json:"at_ns"` // when the step began
	// LateNS is AtNS minus the earliest possible start: when the step was due, or when the step
	// before it had ended, whichever is later. It is absent in older runs.
	LateNS   *int64 `json:"late_ns,omitempty"`
	ReadyNS  *int64 `json:"ready_ns"`  // the last new worker said ready, or stalled workers resumed
	StopNS   *int64 `json:"stop_ns"`   // the trigger: the first stop signal was sent
	ClosedNS *int64 `json:"closed_ns"` // the last old listener was closed
	// BindError is EADDRINUSE if workers that the step started could not bind their address. The
	// step then stopped no old worker. It is empty if they could bind it.
	BindError string `json:"bind_error,omitempty"`
	// EndpointsNS and RulesNS exist only behind a Service. EndpointsNS is when the pod of the last
	// stopped worker left the ready endpoints. RulesNS is when the clients' node stopped sending
	// connections to that pod. Each is null if its event did not happen in the trial.
	EndpointsNS *int64 `json:"endpoints_ns,omitempty"`
	RulesNS     *int64 `json:"rules_ns,omitempty"`
	// Endpoints is the number of pods that the Service had before a step that removed one. It is 0
	// for other steps and without a Service. Clients that connect to a pod's own address cannot use
	// the other pods.
	Endpoints int `json:"endpoints,omitempty"`

	// DeadNS is the time from the step to the next step or the end of the schedule, weighted by the
	// share of dead pods. A pod is dead if the rules of the clients' node lead to it but nothing
	// listens there. While the rules lead to no pod, the weight is 1. DeadNS is null unless every
	// attempt opens its own connection.
	DeadNS *int64 `json:"dead_ns,omitempty"`
	// PredictedLost is the number of attempts that are expected to be lost in the time that DeadNS
	// covers. It is computed from the offered rate, the instants at which rules and listeners
	// changed, and the clients' timeouts. It is null if it cannot be computed; behind a Service,
	// Unpredicted says why.
	PredictedLost *float64 `json:"predicted_lost,omitempty"`
	Unpredicted   string   `json:"unpredicted,omitempty"`
	// Pods lists, behind a Service, the pods that the step removed, then those that it started.
	Pods []Pod `json:"pods,omitempty"`

	// GapNS, OutageNS, LostShare and Censored are computed from dropped attempts. They and
	// ResolutionNS need a schedule; in a closed loop they are null, or false.
	GapNS        *int64   `json:"gap_ns"`
	OutageNS     *int64   `json:"outage_ns"`
	LostShare    *float64 `json:"lost_share"` // within the outage, 0 to 1
	ResolutionNS *int64   `json:"resolution_ns"`
	Censored     bool     `json:"censored"` // the trial ended before serving resumed
	StallNS      *int64   `json:"stall_ns"`
	TakeoverNS   *int64   `json:"takeover_ns"`
	TailNS       *int64   `json:"tail_ns"`
	Lost         int64    `json:"lost"` // for any cause
	// Dropped is Lost without the losses whose cause is client. Older runs lack it; StepDropped
	// computes it for them.
	Dropped *int64 `json:"dropped,omitempty"`
	// NeverSent is the number of attempts due in the step's window that the load never reached. It
	// is absent in older runs.
	NeverSent        *int64 `json:"never_sent,omitempty"`
	ScheduleLagMaxNS *int64 `json:"schedule_lag_max_ns"` // null in a closed loop

	// Queued is the number of connections in the accept queues of the listeners that the step was
	// about to close, read from the kernel (sock_diag) just before the stop signal. For a stall, it
	// is the number in the queues of the stalled workers just before they resumed. It is null if
	// the queues were not read.
	Queued *int64 `json:"queued,omitempty"`

	// HalfOpen counts the connections whose handshakes were delayed on purpose. It is null if none
	// were.
	HalfOpen *HalfOpen `json:"half_open,omitempty"`
	// ColdStart is set for a cold-start step.
	ColdStart *ColdStart `json:"cold_start,omitempty"`

	// WindowNS is the part of the step's window that the next three fields cover: from its trigger
	// to the next one or the end of the schedule, but at most 200 ms.
	WindowNS *int64 `json:"window_ns"`
	// StealNS is the time that the hypervisor took from the servers' CPUs. It is counted in ticks
	// of usually 10 ms (/proc/stat).
	StealNS *int64 `json:"steal_ns"`
	// Pressure is the share of the window in which some task on the machine waited for a CPU, 0 to
	// 1.
	Pressure *float64 `json:"pressure"`
	// RunQueueDelayNS is the longest time that a worker's thread waited for a CPU while something
	// other than a worker ran, or a lower bound of that time. It is null if unknown, and with more
	// than 64 workers at a time.
	RunQueueDelayNS *int64 `json:"run_queue_delay_ns"`
}

// Pod describes what a step did to one pod. Instants are measured as in Step; null means that the
// event did not happen in the trial.
type Pod struct {
	Worker  int    `json:"worker"`
	Node    string `json:"node"`
	Started bool   `json:"started"` // true: by the step; false: the step removed it

	ListenNS *int64 `json:"listen_ns,omitempty"` // its process began to listen
	ReadyNS  *int64 `json:"ready_ns,omitempty"`  // its kubelet reported it ready

	DeletedNS *int64 `json:"deleted_ns,omitempty"` // its deletion began
	TermNS    *int64 `json:"sigterm_ns,omitempty"` // SIGTERM was sent to its process
	ClosedNS  *int64 `json:"closed_ns,omitempty"`  // its listener closed, or its node fell silent

	// EndpointsNS is when the pod joined or left the Service's ready endpoints. RulesNS is when the
	// rules of the clients' node were updated accordingly.
	EndpointsNS *int64 `json:"endpoints_ns,omitempty"`
	RulesNS     *int64 `json:"rules_ns,omitempty"`
	// NodeRulesNS is when the rules of the other hosts were updated, by the name of the host. The
	// embedded control plane has no rules there.
	NodeRulesNS map[string]int64 `json:"node_rules_ns,omitempty"`
	// LastAcceptNS is when the pod's process accepted its last connection.
	LastAcceptNS *int64 `json:"last_accept_ns,omitempty"`
	// ServedDeleted is the number of attempts that the pod served, of those that were sent after
	// its deletion had begun. It is absent for a pod that was not deleted, for a third-party
	// server, and in older runs.
	ServedDeleted *int64 `json:"served_deleted,omitempty"`
	// Endpoints is the number of pods to which the rules of the clients' node led when this pod's
	// listener was closed, this pod included. It is 0 if no rule led to this pod then.
	Endpoints int `json:"endpoints,omitempty"`
}

// HalfOpen counts connections that were half-open when a step closed listeners: the SYN was
// answered, but the client's ACK was delayed on purpose.
type HalfOpen struct {
	Held int64 `json:"held"`
	Lost int64 `json:"lost"` // of the held connections
}

// ColdStart describes how a worker that starts cold came into service.
type ColdStart struct {
	// FirstServedNS is the time from when the newcomer was ready until its first response. It is
	// null if the newcomer gave none.
	FirstServedNS *int64 `json:"first_served_ns"`
	// FairShareNS is the time from when the newcomer was ready until it had served a fair share: at
	// least 0.9/n of the last 50·n attempts, for n workers. These attempts alone take some time, so
	// it is never shorter than that. It is null if the load ended earlier.
	FairShareNS *int64 `json:"fair_share_ns"`
	// Share is the newcomer's share of the served attempts, 0 to 1. It and the next two fields
	// cover the time until the newcomer was warm.
	Share float64 `json:"share"`
	// NewcomerNS has the response times of attempts served by the newcomer, and OthersNS those of
	// attempts served by the other workers. Each is null if there are none.
	NewcomerNS *Percentiles `json:"newcomer_ns"`
	OthersNS   *Percentiles `json:"others_ns"`
}

// Worker describes one listener process.
type Worker struct {
	ID         int `json:"id"`
	Generation int `json:"generation"`
	// Name is the name by which the process identifies itself in its responses or, without one, its
	// PID. It is empty for workers of this program.
	Name string `json:"name,omitempty"`
	// Accepted is the number of connections that the worker accepted. For a server without a
	// journal, it is the number of connections on which this process was the first to answer or to
	// read.
	Accepted int64  `json:"accepted"`
	Served   int64  `json:"served"` // responses written in full
	CPUNS    *int64 `json:"cpu_ns"` // user + system, during the load; null if unknown
	// BindError is "EADDRINUSE" if the worker could not bind its address. Such a worker exited
	// without listening. It is empty if the worker listened.
	BindError string `json:"bind_error,omitempty"`
	// Acceptor: the worker served no connection, but accepted connections for the other workers.
	Acceptor bool `json:"acceptor,omitempty"`
	// ContextSwitches is the number of times that the worker's threads were put on a CPU during the
	// load. It is null for a worker that ended before the load did.
	ContextSwitches *int64 `json:"context_switches"`
	QueueMax        *int64 `json:"queue_max"`

	// The instants of the worker's life, measured from the first scheduled attempt. Each is null if
	// it is unknown or did not happen; all are null in older runs, and for a server that is not
	// this program's. A worker that was not told to stop exited by itself.
	//
	// StartedNS is just before its process was started or, if the process had been parked, just
	// before it became this worker. StopNS is just before the worker was told to stop, or killed.
	// ClosedNS is when its listener was closed. GoneNS is when this program noticed that its
	// process had exited.
	StartedNS *int64 `json:"started_ns,omitempty"`
	ReadyNS   *int64 `json:"ready_ns,omitempty"`
	StopNS    *int64 `json:"stop_ns,omitempty"`
	ClosedNS  *int64 `json:"closed_ns,omitempty"`
	GoneNS    *int64 `json:"gone_ns,omitempty"`
}

// Starts counts the workers that steps started.
type Starts struct {
	Start       vocabulary.Start `json:"start"`        // the value of server.start
	Parked      int64            `json:"parked"`       // process started before the load
	ParkedLater int64            `json:"parked_later"` // … during the load, before the step
	Cold        int64            `json:"cold"`         // … by the step
}

// RoundTrip is a round trip added between clients and servers: each packet, in either direction, is
// delayed by half of it.
type RoundTrip struct {
	AskedNS int64  `json:"asked_ns"`
	By      string `json:"by"` // what delays the packets, one of the constants
	// Relay is what a relay measured about itself. It is null if the kernel delays packets.
	Relay *Relay `json:"relay,omitempty"`
}

// What delays packets.
const (
	ByNetem = "netem" // the kernel (tc-netem(8))
	ByRelay = "relay" // a relay of this program, which stands in for netem
)

// Relay describes what a relay did from when it was ready until the workers had ended, and its cost
// during the load.
type Relay struct {
	Packets int64 `json:"packets"` // passed on, in both directions
	// Dropped is the number of packets that were lost because too many were waiting to be read by
	// the relay. If it is not 0, the trial is invalid.
	Dropped int64 `json:"dropped"`
	HeldMax int64 `json:"held_max"` // the most packets held at a time, in one direction
	// ExcessNS is how much longer than half of AskedNS the relay held each packet, from reading it
	// until just before passing it on. It is null if there were no packets.
	ExcessNS *Percentiles `json:"excess_ns"`
	// WaitNS is the relay's mean wait for its CPU after a wake-up. Packets that arrive during this
	// wait are read late; ExcessNS does not include that delay. WaitNS is null if the kernel does
	// not report it.
	WaitNS *int64 `json:"wait_ns"`
	CPUNS  *int64 `json:"cpu_ns"` // null where the kernel does not report it
}

// Retries counts the tries in a trial. An attempt is one request that the schedule called for; it
// consists of one or more tries.
type Retries struct {
	Tries      int64 `json:"tries"`       // of all attempts, the first included
	TriedAgain int64 `json:"tried_again"` // attempts with more than one try
	Masked     int64 `json:"masked"`      // attempts served after more than one try
	// Repeated is the number of attempts whose request a server read more than once.
	Repeated int64 `json:"repeated"`
	// RepeatedUnhandled is the number of Repeated attempts whose request reached a handler at most
	// once, because servers discarded the other copies, as http.Server does after Shutdown. The
	// requests of the other Repeated attempts may have been carried out twice, which does harm if
	// they are not idempotent. It is absent in older runs.
	RepeatedUnhandled *int64 `json:"repeated_unhandled,omitempty"`
	// Failed counts the tries that were followed by another try, by the kind of failure.
	Failed map[string]int64 `json:"failed,omitempty"`
	// The number of attempts whose last try failed in a way that the policy retries, by the reason
	// why no other try followed: the limit of tries, the attempt's timeout, the budget.
	Exhausted  int64 `json:"exhausted"`
	NoTime     int64 `json:"no_time"`
	OverBudget int64 `json:"over_budget"`
	// MaskedNS has the response times of the masked attempts, including failed tries and the waits
	// between tries. It is null if there are no masked attempts.
	MaskedNS *Percentiles `json:"masked_ns,omitempty"`
}

// Fairness describes how evenly connections, and the work they brought, were spread over the
// workers of one generation.
type Fairness struct {
	Generation  int     `json:"generation"`
	Jain        float64 `json:"jain"`          // (Σx)²/(n·Σx²), 1/n to 1
	MaxOverMean float64 `json:"max_over_mean"` // 1 to n
	// TopShare is the largest share of the connections that one worker got, 1/n to 1. It is absent
	// in older runs.
	TopShare float64 `json:"top_share,omitempty"`
	Chi2P    float64 `json:"chi2_p"` // p of Pearson's χ² against equal shares
	// Requests is the spread of answered requests. BusyTime is the spread of the time from reading
	// a request to handing over its response. Each is null if there was nothing to spread, and
	// absent in older runs.
	Requests *Spread `json:"requests,omitempty"`
	BusyTime *Spread `json:"busy_time,omitempty"`
	// Windows is the spread of connections over time, from the first scheduled attempt. Windows in
	// which nothing was accepted are left out.
	Windows []FairnessWindow `json:"windows"`
}

// Spread describes how evenly something was spread over the workers of one generation, as in
// Fairness.
type Spread struct {
	Jain        float64 `json:"jain"`
	MaxOverMean float64 `json:"max_over_mean"`
	TopShare    float64 `json:"top_share"`
}

// FairnessWindow is the fairness of the connections accepted within FairnessWindowNS.
type FairnessWindow struct {
	FromNS      int64   `json:"from_ns"`
	Connections int64   `json:"connections"`
	Jain        float64 `json:"jain"`
	MaxOverMean float64 `json:"max_over_mean"`
}

// FairnessWindowNS is the length of a FairnessWindow.
const FairnessWindowNS = int64(100 * time.Millisecond)

// Queues describes the lengths of the accept queues during the load.
type Queues struct {
	// Source says how Max and Mean of the listeners were determined. It is one of the constants
	// below. It is empty in older runs, which sampled the queues.
	Source string `json:"source,omitempty"`
	// Unplaced is the number of the load's connections that waited in an unknown queue, because no
	// worker accepted them. No figure includes them. Only runs with QueuesComputed have it.
	Unplaced int64 `json:"unplaced,omitempty"`

	// The number of samples, the mean interval between them, and the mean CPU time of one.
	Samples    int64 `json:"samples,omitempty"`
	IntervalNS int64 `json:"interval_ns,omitempty"`
	CostNS     int64 `json:"cost_ns,omitempty"`

	Listeners []ListenerQueue `json:"listeners"`
}

// The sources of a queue's length.
const (
	// QueuesComputed: a connection of the load counts as queued from when its client has sent the
	// request until a worker records its accept.
	QueuesComputed = "computed"
	// QueuesSampled: the lengths were read from the kernel (sock_diag), Samples times.
	QueuesSampled = "sampled"
)

// ListenerQueue is the accept queue of one listener, in connections. The mean is over time, or over
// samples.
type ListenerQueue struct {
	Worker *int    `json:"worker"` // null: the queue of the shared socket
	Max    int64   `json:"max"`
	Mean   float64 `json:"mean"`
	// SampledMax and SampledMean are the sampled values, if Max and Mean are computed. They are
	// null without samples.
	SampledMax  *int64   `json:"sampled_max,omitempty"`
	SampledMean *float64 `json:"sampled_mean,omitempty"`
}

// Series shows what happened over time, with one value for each window of WindowNS. A list may end
// early: it has the value 0 in all later windows.
type Series struct {
	FromNS   int64         `json:"from_ns"` // start of the first window
	WindowNS int64         `json:"window_ns"`
	Queues   []QueueSeries `json:"queues"` // listeners at which connections waited
	// Overflows and Migrations exist only in older runs, which read the kernel's counters at the
	// end of each window. They are null in newer runs.
	Overflows  []int64 `json:"overflows"`
	Migrations []int64 `json:"migrations"`
	// Counted lists the intervals between readings of the kernel's counters in which a counter
	// changed. The counters are read before and after the steps, and at the end.
	Counted []Counted `json:"counted,omitempty"`
	// Lost are the lost attempts, by the instant at which they ended. An attempt that timed out is
	// in the window in which its timeout fired. Windows.Lost counts by the instant of the schedule.
	Lost []int64 `json:"lost"`
}

// Counted is the change of the kernel's counters from one reading to the next.
type Counted struct {
	FromNS int64 `json:"from_ns"`
	ToNS   int64 `json:"to_ns"`
	// Overflows are connections that were refused because an accept queue was full. Migrations are
	// queued or half-open connections that the kernel moved to another listener.
	Overflows  int64 `json:"overflows"`
	Migrations int64 `json:"migrations"`
}

// QueueSeries has the greatest length of one accept queue in each window, in connections.
type QueueSeries struct {
	Worker  *int    `json:"worker"` // null: the queue of the shared socket
	First   int     `json:"first"`  // the window of the first value
	Longest []int64 `json:"longest"`
}

// At returns the greatest length in a window. Windows are numbered from 0.
func (q QueueSeries) At(window int) int64 {
	if window < q.First || window >= q.First+len(q.Longest) {
		return 0
	}
	return q.Longest[window-q.First]
}

// Windows shows what happened over time, in windows of different lengths: 5 ms near the steps, and
// elsewhere a hundredth of the trial, but at least 5 ms. With more than 16 steps, fewer windows are
// short. Window i is from EdgesNS[i] to EdgesNS[i+1]. A step's trigger is an edge, unless that of
// another step, or the end, is within 5 ms. An attempt belongs to the window in which it was due
// or, in a closed loop, sent.
type Windows struct {
	EdgesNS []int64 `json:"edges_ns"`
	Served  []int64 `json:"served"` // attempts, by window
	// ResponseNS has the response times of the served attempts, by window.
	ResponseNS WindowTimes `json:"response_ns"`
	// Lost are the lost attempts, by cause and window. Windows without losses are left out.
	Lost Counts `json:"lost"`
	// Queues has the accept queues that were computed. It is null if they were not.
	Queues []QueueSeries `json:"queues"`
	// Machine is null if the machine was not watched.
	Machine *MachineWindows `json:"machine,omitempty"`
}

// WindowTimes has percentiles of the response times in each window, in nanoseconds. A percentile is
// the smallest time that at least this share of the attempts did not exceed.
type WindowTimes struct {
	P50 Times `json:"p50"`
	P99 Times `json:"p99"`
	Max Times `json:"max"`
}

// MachineWindows has what the servers had to wait for, between readings of the machine's counters.
// Window i is from EdgesNS[i] to EdgesNS[i+1]. The readings are around each step, and otherwise up
// to 100 ms apart.
type MachineWindows struct {
	EdgesNS []int64 `json:"edges_ns"`
	// StealNS and RunQueueDelayNS are defined as in Step. Each is null if it is unknown.
	StealNS         []int64 `json:"steal_ns"`
	RunQueueDelayNS []int64 `json:"run_queue_delay_ns"`
}

// AroundStops has the losses that steps caused, by the time from the step's stop to the instant at
// which the attempt was due. It covers the steps that ended workers. The stop is Step.StopNS.
type AroundStops struct {
	Stops int64 `json:"stops"`  // the number of steps
	BinNS int64 `json:"bin_ns"` // the length of a bin
	Bins  int   `json:"bins"`   // on each side of the stop
	// Lost are the lost attempts, by cause and bin. Bin b, from −Bins to Bins−1, is from b·BinNS to
	// (b+1)·BinNS after the stop. Bins without losses are left out. Before and After are the losses
	// outside the bins, by cause.
	Lost   Counts           `json:"lost"`
	Before map[string]int64 `json:"before"`
	After  map[string]int64 `json:"after"`
}

// CPU is the processor time used in a trial.
type CPU struct {
	LoadNS *int64 `json:"load_ns"`
	// LoadDriveNS is the part of LoadNS that was used while attempts were in flight. It is absent
	// in older runs.
	LoadDriveNS *int64 `json:"load_drive_ns,omitempty"`
	ServersNS   *int64 `json:"servers_ns"`
	// ProxyNS is the time used by HAProxy. It is null without HAProxy.
	ProxyNS *int64 `json:"proxy_ns,omitempty"`
	// HarnessNS is the time that this program itself used within WatchedNS, without its children.
	// WatchNS is the part spent observing the trial. StandInNS is the part spent in place of a real
	// system: of a supervisor that carries out the steps and, in a cluster, of the control plane,
	// kubelets and DNS server. The rest is bookkeeping. HarnessNS is absent in older runs.
	HarnessNS *int64 `json:"harness_ns,omitempty"`
	WatchNS   *int64 `json:"watch_ns,omitempty"`
	StandInNS *int64 `json:"stand_in_ns,omitempty"`
	// KubernetesNS is the part spent as a client of a real Kubernetes: on the calls and the events
	// of its API. It includes bookkeeping. It takes the place of StandInNS.
	KubernetesNS *int64 `json:"kubernetes_ns,omitempty"`
	// WatchedNS is the duration of the load. HarnessNS and the fields below cover this time.
	WatchedNS   *int64 `json:"watched_ns"`
	StealNS     *int64 `json:"steal_ns"`      // taken from the servers' CPUs by the hypervisor
	LoadStealNS *int64 `json:"load_steal_ns"` // taken from the load's CPUs
	// Pressure is the growth of "some" in /proc/pressure/cpu during that time, as a share, 0 to 1.
	Pressure *float64 `json:"pressure"`
	// RunQueueDelayNS is defined as in Step.
	RunQueueDelayNS *int64 `json:"run_queue_delay_ns"`
	// ThrottledNS is the total time for which this program and everything that it had started were
	// throttled for exhausting a CPU quota, summed over the CPUs. It is absent if the kernel does
	// not report it, and in older runs.
	ThrottledNS *int64 `json:"throttled_ns,omitempty"`
}

// Threads lists the CPUs on which the threads of a process were allowed to run, and the CPU on
// which each ran last (/proc/self/task).
type Threads struct {
	N       int   `json:"n"`
	Allowed []int `json:"allowed"` // CPUs, over all threads
	Ran     []int `json:"ran"`
}

// Memory is the peak resident memory of processes (VmHWM), including the program text that they
// share. Values are null if they could not be read.
type Memory struct {
	LoadBytes    *int64 `json:"load_bytes"`    // all load processes
	HarnessBytes *int64 `json:"harness_bytes"` // since the run began
	// WorkerBytes is the peak of the largest worker of the last generation. Just before listening,
	// a worker gives back the pages of program text that its start touched, and resets its peak, if
	// the kernel allows it (servers/sys/program.go).
	WorkerBytes *int64 `json:"worker_bytes"`
	// WorkerProportionalBytes is the memory of the largest worker of the last generation at the
	// end, with the size of each shared page divided by the number of processes that share it
	// (Pss).
	WorkerProportionalBytes *int64 `json:"worker_proportional_bytes"`
	// SampleFlushes is the number of times that a load process wrote samples before its last
	// attempt had ended, because it had more than it can keep. It is null in older runs, which
	// wrote samples continuously.
	SampleFlushes *int64 `json:"sample_flushes,omitempty"`
}

// Selector describes what an eBPF program that chooses among a group's sockets did in the trial,
// according to the kernel's statistics and its own.
type Selector struct {
	Runs     int64 `json:"runs"`       // includes runs for segments that open no connection
	NSPerRun int64 `json:"ns_per_run"` // including the two clock readings that measure it
	Selected int64 `json:"selected"`   // connections that the program gave to a worker
	Fallback int64 `json:"fallback"`   // connections that it left to the kernel's hash
	// Avoided is the number of selected connections that went to a worker marked as one to avoid,
	// because all workers were.
	Avoided int64 `json:"avoided"`
}

// Occupancy describes how long connections kept a worker that serves one at a time busy, from
// accept to end, and the wait that queueing theory predicts from this.
type Occupancy struct {
	MeanNS int64 `json:"mean_ns"`
	SDNS   int64 `json:"sd_ns"`
	// Load is the share of the time in which the workers were occupied, 0 to 1.
	Load float64 `json:"load"`
	// WaitNS is the mean response time of served attempts minus MeanNS and, if a round trip was
	// added, minus two round trips. It is the wait for a worker plus the client's own time.
	WaitNS int64 `json:"wait_ns"`
	// PredictedWaitNS is the mean wait for a worker that theory predicts for independent arrivals
	// at that load. It is null if arrivals were not independent, or if no formula is known. See
	// stats.WaitOwnQueues and stats.WaitOneQueue.
	PredictedWaitNS *int64 `json:"predicted_wait_ns"`
}

// Search is a search for the highest rate at which nothing is dropped and p99 stays within a bound
// or, if Setting is set, for the value of a setting with which nothing is dropped.
type Search struct {
	P99BoundNS int64 `json:"p99_bound_ns"` // 0: no bound
	// PerSecond is the highest rate that passed. It is 0 if none did, and in a search for a
	// setting.
	PerSecond float64 `json:"per_second"`

	// Setting is the path of the setting that was searched for, or empty. Greatest: the greatest
	// value that passes was searched for, not the least.
	Setting  string `json:"setting,omitempty"`
	Greatest bool   `json:"greatest,omitempty"`
	// Value is the value that was found: nanoseconds if Unit is "ns", else a number. Failed is the
	// nearest value that failed. It is null if all values that were tried passed. Both are null
	// without Setting, and Value is null if none passed.
	Value  *float64 `json:"value,omitempty"`
	Failed *float64 `json:"failed,omitempty"`
	Unit   string   `json:"unit,omitempty"`

	Tries []Try `json:"tries"` // in order
}

// Try is one rate of a search, or one value of a setting.
type Try struct {
	PerSecond float64 `json:"per_second"` // 0 in a search for a setting
	// Value is the setting's value, in the unit of the search. It is null in a search for a rate.
	Value   *float64 `json:"value,omitempty"`
	Outcome string   `json:"outcome"` // passed | failed | invalid
	Note    string   `json:"note"`    // the reason why it did not pass
}

// The outcomes of a Try.
const (
	TryPassed  = "passed"
	TryFailed  = "failed"
	TryInvalid = "invalid"
)

// Equality compares a counter of the kernel with the value that follows from the ledger. They may
// differ: the counter also counts events that no attempt notices. The difference is the number of
// these events.
type Equality struct {
	Counter string `json:"counter"`
	Kernel  int64  `json:"kernel"`
	Ledger  int64  `json:"books"`
	What    string `json:"what"` // what the ledger counted
}

// LedgerRow is one cell of the client × server table.
type LedgerRow struct {
	Client   string `json:"client"`
	Server   string `json:"server"`
	Cause    string `json:"cause"` // "" for served attempts
	Attempts int64  `json:"attempts"`
	// Explained is false for a combination that no rule of the ledger explains: its attempts are
	// the residual.
	Explained bool `json:"explained"`
}

// Trace holds the kernel's events about the losses. eBPF programs observe the places where the
// kernel resets connections and drops segments.
type Trace struct {
	// Unavailable is the reason why no events were observed. Causes are then inferred without them.
	Unavailable string   `json:"unavailable,omitempty"`
	Missing     []string `json:"missing,omitempty"` // tracepoints that this kernel lacks
	Events      int64    `json:"events"`
	Resets      int64    `json:"resets"`  // events that are RSTs sent by the kernel
	Dropped     int64    `json:"dropped"` // events lost because a buffer was full
	// Unheard is the number of resets that the kernel counted (TcpOutRsts) but for which no event
	// was observed.
	Unheard int64 `json:"unheard,omitempty"`
	// Agreement compares the inferred causes with those from the kernel's events.
	Agreement []Agreement `json:"agreement,omitempty"`
}

// Agreement counts lost attempts by their inferred cause and their cause according to the kernel's
// events.
type Agreement struct {
	Inferred string `json:"inferred"`
	Traced   string `json:"traced"`
	Attempts int64  `json:"attempts"`
}

// Loss is one lost attempt.
type Loss struct {
	LoadProcess int    `json:"load_process"`
	Sequence    int64  `json:"sequence"`
	ScheduledNS int64  `json:"scheduled_ns"`
	SentNS      int64  `json:"sent_ns"`
	DoneNS      int64  `json:"done_ns"`
	Source      string `json:"source"` // address:port; empty without a connection
	Phase       string `json:"phase"`
	Error       string `json:"error"`
	Server      string `json:"server"` // the server side's outcome
	Cause       string `json:"cause"`
	Evidence    string `json:"evidence"`
	// Kernel is the event that decided the cause, a reset or a drop, with the reason that the
	// kernel gave for it. It is empty without such an event.
	Kernel string `json:"kernel,omitempty"`
	Worker *int   `json:"worker"` // the worker that closed, crashed or answered; null if unknown
	Step   *int   `json:"step"`   // index into Steps
	// Tries is the number of the attempt's tries, if more than one. SentNS is when the first try
	// was sent; the other fields describe the last try.
	Tries int `json:"tries,omitempty"`
}

// Claim is one row of the claims ledger, as decided by this run.
type Claim struct {
	ID       string   `json:"id"`
	Verdict  string   `json:"verdict"`  // holds | fails | conditional | not tested
	Evidence []string `json:"evidence"` // figures that decided it, or why it was not tested
	// Advice says what to do about it, with figures and the load at which they were measured. It
	// has one element for each verdict at the settings of the run.
	Advice []string `json:"advice,omitempty"`
}

// Package doctor finds out what this kernel, this machine and this user can do.
//
// Each probe finds out whether a feature works by using it, never by comparing versions:
// distributions backport features, containers forbid them, and the worst bug with migrated
// connections was fixed in some stable kernel series and not in others. A probe that needs a
// network makes a private network namespace, which no longer exists when the probe returns.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
)

// Status is a probe's answer.
type Status string

const (
	Yes     Status = "yes"     // the probe did it
	No      Status = "no"      // the probe tried and failed
	Unknown Status = "unknown" // the probe could not try; Detail says why
)

// Result is the finding of a probe. The child process in a user namespace sends its results as
// JSON.
type Result struct {
	Name   string `json:"name"` // one of the constants below
	What   string `json:"what"` // the feature of this program that needs it
	Status Status `json:"status"`
	// Detail describes the probe's observation: figures, or the error and its likely reason.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"` // what the user can do about it
}

// The names of the probes. If the kernel has a name for what is probed, the probe has that name. A
// probe of a capability that a scenario may need is named like the constant in package vocabulary.
const (
	NetNamespace    = "net_namespace"
	UserNamespace   = "user_namespace"
	PIDNamespace    = "pid_namespace"
	NetSysctl       = "net_sysctl"
	Veth            = string(vocabulary.Veth)
	Netem           = string(vocabulary.Netem)
	TUN             = string(vocabulary.TUN)
	NFTables        = string(vocabulary.NFTables)
	Conntrack       = string(vocabulary.Conntrack)
	TCPMigrateReq   = string(vocabulary.TCPMigrateReq)
	MigrationWakes  = "tcp_migrate_req/wakes"
	QueueDepth      = "tcp_info_queue"
	EpollExclusive  = string(vocabulary.EpollExclusive)
	IncomingCPU     = string(vocabulary.IncomingCPU)
	MPTCP           = "mptcp"
	BPF             = "bpf"
	BPFJIT          = "bpf_jit"
	BTF             = "btf"
	SockArray       = string(vocabulary.SockArray)
	RingBuffer      = "ringbuf"
	SKReuseport     = string(vocabulary.SKReuseport)
	SKMigrate       = string(vocabulary.SKMigrate)
	TraceSendReset  = "tp_btf/tcp_send_reset"
	TraceKfreeSKB   = "tp_btf/kfree_skb"
	TraceSockState  = "tp_btf/inet_sock_set_state"
	TraceIterTCP    = string(vocabulary.TraceIterTCP)
	CPUs            = "cpus"
	WholeCPUs       = "whole_cpus"
	Cores           = "cores"
	Governor        = "cpu_governor"
	IdleCPUs        = "idle_cpus"
	Pressure        = "psi"
	Timer           = "timer"
	HAProxyCommand  = string(vocabulary.HAProxyCommand)
	NFTablesCommand = string(vocabulary.NFTablesCommand)
	Kubernetes      = string(vocabulary.Kubernetes)
	Cgroups         = string(vocabulary.Cgroups)
	Overlayfs       = string(vocabulary.Overlayfs)
	UserIDs         = string(vocabulary.UserIDs)
)

// Options are the options of Examine. The zero value runs all probes that need no child process.
type Options struct {
	// UserNamespaceChild is the command line of a child process that calls ServeNamespace on its
	// standard input and output and exits, such as {"/proc/self/exe", "probe-namespace"}. The child
	// is started in new user and network namespaces, because a process with more than one thread
	// cannot enter a new user namespace. If the command line is empty, the user namespace is not
	// probed and, without root, neither is anything that needs a private network.
	UserNamespaceChild []string

	// Only names the probes to run, in any order. If it is empty, all probes run.
	Only []string

	// CPUs are the CPUs that the probe IdleCPUs watches. Nil means all CPUs that this process may
	// use.
	CPUs []int

	// Timeout limits the time of all probes together. Probes not started by then get the status
	// Unknown. 0 means 3.5 s.
	Timeout time.Duration
}

// A probe tests one feature. run returns a result with Status, Detail and Hint set.
type probe struct {
	name, what string
	// If inside, the probe runs in a private network namespace. If this process may not make such a
	// namespace, the child in a user namespace runs the probe instead.
	inside bool
	run    func(context.Context, Options) Result
}

// simple adapts a probe that needs neither context nor options. Because the probe cannot be
// cancelled, its waits must be short and bounded.
func simple(run func() Result) func(context.Context, Options) Result {
	return func(context.Context, Options) Result { return run() }
}

// probes returns the table of all probes, in the order in which they run.
func probes() []probe {
	return []probe{
		// IdleCPUs comes first, so that it does not observe the CPU time of other probes.
		{IdleCPUs, "trials that count", false, probeIdleCPUs},
		{NetNamespace, "every lab, as root", false, simple(probeNetNamespace)},
		{UserNamespace, "every lab, without root", false, probeUserNamespace},
		{
			PIDNamespace, "clearing away a lab's grandchildren (HAProxy, kubelets)", true,
			simple(probePIDNamespace),
		},
		{NetSysctl, "every trial", true, simple(probeSysctl)},
		{Veth, "network: veth and network: cluster", true, simple(probeVeth)},
		{Netem, "round_trip, delayed by the kernel", true, simple(probeNetem)},
		{TUN, "round_trip, delayed by a relay of this program", true, simple(probeTUN)},
		{
			NFTables, "pods (path: service, dns, pod), and faults of handshakes", true,
			simple(probeNFTables),
		},
		{
			Conntrack, "pods: a Service's addresses, and which pod a connection was sent to", true,
			simple(probeConntrack),
		},
		{TCPMigrateReq, "stop: migrate", true, simple(probeMigrateReq)},
		{MigrationWakes, "stop: migrate, at low rates", true, simple(probeMigrationWakes)},
		{QueueDepth, "draining before close, and queue_max", true, simple(probeQueueDepth)},
		{EpollExclusive, "sharing one socket without a herd", true, simple(probeEpollExclusive)},
		{
			IncomingCPU, "spreading by the CPU that received the SYN", true,
			simple(probeIncomingCPU),
		},
		{MPTCP, "nothing; Go's listeners become MPTCP where it is on", true, simple(probeMPTCP)},
		{BPF, "every eBPF selector and loss tracing", false, simple(probeBPF)},
		{BPFJIT, "selectors at full speed", false, simple(probeBPFJIT)},
		{BTF, "loss tracing", false, simple(probeBTF)},
		{SockArray, "every eBPF selector", false, simple(probeSockArray)},
		{RingBuffer, "loss tracing", false, simple(probeRingBuffer)},
		{SKReuseport, "every eBPF selector", false, simple(probeSKReuseport)},
		{SKMigrate, "moving queued connections by eBPF on close", false, simple(probeSKMigrate)},
		{TraceSendReset, "the cause of a reset", false, simple(probeTraceSendReset)},
		{TraceKfreeSKB, "the cause of a dropped segment", false, simple(probeTraceKfreeSKB)},
		{TraceSockState, "the instant a listener closed", false, simple(probeTraceSockState)},
		{TraceIterTCP, "half-open connections per listener", false, simple(probeTraceIterTCP)},
		{CPUs, "load and servers on CPUs of their own", false, simple(probeCPUs)},
		{WholeCPUs, "times that no CPU limit lengthens", false, simple(probeWholeCPUs)},
		{Cores, "load and servers on cores of their own", false, simple(probeTopology)},
		{Governor, "a CPU that is as fast after a pause", false, simple(probeGovernor)},
		{Pressure, "telling a stalled machine from a stalled server", false, simple(probePressure)},
		{Timer, "a schedule finer than 1 ms", false, simple(probeTimer)},
		{HAProxyCommand, "path: haproxy", false, simple(probeHAProxyCommand)},
		{
			NFTablesCommand, "pods: rules as kube-proxy writes them", false,
			simple(probeNFTablesCommand),
		},
		{Kubernetes, "kube.control: real", false, simple(probeKubernetes)},
		{Cgroups, "kube.control: real", false, simple(probeCgroups)},
		{Overlayfs, "kube.control: real", false, simple(probeOverlayfs)},
		{UserIDs, "server.users, kube.users", false, simple(probeUserIDs)},
	}
}

// Examine runs the probes. It returns one result for each probe, in a fixed order, and one with
// status Unknown for each name in Options.Only that is not a probe. It takes about 1.5 seconds, and
// never much longer than Options.Timeout. When ctx is done it returns early, with Unknown for the
// remaining probes.
//
// It tests network, firewall and sysctls only in private network namespaces, and leaves nothing
// behind, with one exception: the kernel may load modules that the probes need (nf_tables, veth,
// nf_conntrack).
func Examine(ctx context.Context, options Options) []Result {
	if options.Timeout == 0 {
		options.Timeout = 3500 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()

	chosen, unmatched := choose(probes(), options.Only)
	answers := sync.OnceValue(func() map[string]Result { return askChild(ctx, chosen, options) })
	var results []Result
	for _, p := range chosen {
		var result Result
		answered := false
		if p.inside {
			result, answered = answers()[p.name]
		}
		if !answered {
			result = runProbe(ctx, p, options)
		}
		result.Name, result.What = p.name, p.what
		results = append(results, result)
	}
	return append(results, unmatched...)
}

// choose returns the probes named in only, or all probes if only is empty. unmatched has a result
// for each name that matches no probe.
func choose(all []probe, only []string) (chosen []probe, unmatched []Result) {
	if len(only) == 0 {
		return all, nil
	}
	for _, p := range all {
		if slices.Contains(only, p.name) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(p probe) bool { return p.name == name }) {
			unmatched = append(unmatched, Result{
				Name: name, Status: Unknown, Detail: "no probe of that name",
			})
		}
	}
	return chosen, unmatched
}

// runProbe runs p, in a private network namespace if it needs one.
func runProbe(ctx context.Context, p probe, options Options) Result {
	if err := ctx.Err(); err != nil {
		return unknown("not reached: "+err.Error(), "")
	}
	if !p.inside {
		return p.run(ctx, options)
	}
	var result Result
	err := netlab.Private(func() error {
		result = p.run(ctx, options)
		return nil
	})
	if err != nil {
		return noNetwork(err)
	}
	return result
}

// noNetwork returns the result of a probe for which no private network could be made.
func noNetwork(err error) Result {
	return unknown(err.Error(), "see "+NetNamespace+" and "+UserNamespace)
}

// askChild starts the child in a user namespace, which runs those chosen probes that need a private
// network. It returns their results by name. It returns nil if this process can make a private
// network itself, if Options has no child, or if the child failed. It takes at most half of
// Options.Timeout.
func askChild(ctx context.Context, chosen []probe, options Options) map[string]Result {
	var names []string
	for _, p := range chosen {
		if p.inside {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 || len(options.UserNamespaceChild) == 0 || ctx.Err() != nil {
		return nil
	}
	if err := netlab.Private(func() error { return nil }); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, options.Timeout/2)
	defer cancel()
	results, err := runInUserNamespace(ctx, options.UserNamespaceChild, names)
	if err != nil {
		return nil // the probe of the user namespace reports why
	}
	answers := make(map[string]Result, len(results))
	for _, r := range results {
		r.Detail = joinDetail(r.Detail, "in a user namespace")
		answers[r.Name] = r
	}
	return answers
}

func joinDetail(detail, more string) string {
	if detail == "" {
		return more
	}
	return detail + "; " + more
}

func yes(format string, args ...any) Result {
	return Result{Status: Yes, Detail: fmt.Sprintf(format, args...)}
}

func no(detail, hint string) Result { return Result{Status: No, Detail: detail, Hint: hint} }

func unknown(detail, hint string) Result {
	return Result{Status: Unknown, Detail: detail, Hint: hint}
}

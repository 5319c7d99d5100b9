package plan

import (
	"cmp"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

const (
	// defaultGrace is the default of Kubernetes' terminationGracePeriodSeconds. If the scenario
	// does not set the grace, it is raised, if need be, to the preStop delay plus afterHook.
	defaultGrace = 30 * time.Second
	afterHook    = 5 * time.Second
	// defaultTeardown is the default time from the end of a pod's processes to the removal of its
	// network.
	defaultTeardown = 200 * time.Millisecond
	// defaultProbePeriod is the shortest period that Kubernetes allows.
	defaultProbePeriod = time.Second

	// realMinSyncPeriod is kube-proxy's default. It also replaces a minSyncPeriod of 0
	// (pkg/proxy/apis/config/v1alpha1/defaults.go).
	realMinSyncPeriod = time.Second
	// realLags is a time within which a real Kubernetes of this size lets nearly every change of a
	// pod reach kube-proxy.
	realLags = 10 * time.Second
	// realPods is about the time that a real Kubernetes takes to start the pods of a trial and to
	// remove them.
	realPods = 10 * time.Second
)

// A Cluster configures how the pods of a trial start and end, and how clients find them.
type Cluster struct {
	// Control is the control plane. The real one decides the lags, Teardown and NodeLag, which are
	// then 0, except Lags.MinSyncPeriod.
	Control vocabulary.Control
	Path    vocabulary.Path
	// ProxyMode is the mode of the real control plane's kube-proxy. "" means its default.
	ProxyMode vocabulary.ProxyMode
	// Service is the Service's address. It is the zero value if clients do not connect to the
	// Service.
	Service netip.AddrPort
	// FirstPod is the first pod's address, to which clients connect with path pod.
	FirstPod netip.AddrPort
	// Names configures the resolution of the Service's name. It is nil if clients connect to an
	// address.
	Names *Names

	Lags kube.Lags
	// KubeletLag is the time from a pod's deletion until its kubelet acts on it. ControllerLag is
	// the time from a pod's becoming available until the controller of its Deployment acts on it.
	KubeletLag, ControllerLag kube.Distribution
	// RelistPeriod and RelistOffset determine when kubelets look at their containers: 0 means at
	// once. The kubelet of the second node looks RelistOffset later than that of the first.
	RelistPeriod, RelistOffset time.Duration
	// ContainerStart is the time from a pod's creation until its container has started.
	ContainerStart time.Duration
	// LongestLags is a time within which nearly every change of a pod reaches the rules.
	LongestLags time.Duration

	Placement vocabulary.Placement
	Readiness vocabulary.Readiness
	// Command is true if pods run third-party servers. A readiness probe then succeeds once the
	// server is ready.
	Command bool
	// Startup is the time from a worker's start until it listens or, with a third-party server, the
	// maximum time until it is ready.
	Startup time.Duration

	PreStop, Grace, Teardown, ProbePeriod, MinReady, NodeLag time.Duration
	MaxSurge, MaxUnavailable, MinAvailable                   int
	Churn                                                    int // changes per second
}

// Names configures the resolution of a Service's name.
type Names struct {
	Server netip.AddrPort // the DNS server
	Name   string
	TTL    time.Duration // time to live of the server's answers
}

// newCluster returns the cluster of a setup, or nil if the workers are not in pods.
func newCluster(s scenarios.Setup) *Cluster {
	if !s.InPods() {
		return nil
	}
	k := s.Kube
	c := &Cluster{
		Control: k.Control, Path: s.Path, ProxyMode: k.ProxyMode,
		FirstPod: firstPodAddress(k.Placement),
		Lags: kube.Lags{
			ReadyToEndpoint:   distribution(readyLag(k)),
			DeletedToEndpoint: distribution(k.EndpointLag),
			EndpointToRules:   distribution(k.RulesLag), MinSyncPeriod: k.MinSyncPeriod,
		},
		KubeletLag: distribution(k.KubeletLag), ControllerLag: distribution(k.ControllerLag),
		RelistPeriod: k.RelistPeriod, RelistOffset: k.RelistOffset,
		ContainerStart: k.ContainerStart,
		LongestLags: max(k.EndpointLag.Long(), k.ReadyLag.Long()) + k.RulesLag.Long() +
			k.MinSyncPeriod,
		Placement: k.Placement,
		Readiness: cmp.Or(k.Readiness, vocabulary.ReadinessListening),
		Startup:   k.ContainerStart + s.Server.Startup,
		PreStop:   k.PreStop, Grace: cmp.Or(k.Grace, max(defaultGrace, k.PreStop+afterHook)),
		Teardown:    cmp.Or(k.Teardown, defaultTeardown),
		ProbePeriod: cmp.Or(k.ProbePeriod, defaultProbePeriod),
		MinReady:    k.MinReady, NodeLag: k.NodeLag, Churn: k.Churn,
		MaxSurge: k.MaxSurge, MaxUnavailable: k.MaxUnavailable, MinAvailable: k.MinAvailable,
	}
	if s.ByCommand() {
		c.Command = true
		c.Readiness = cmp.Or(k.Readiness, vocabulary.ReadinessProbe)
		c.Startup = cmp.Or(s.Server.Ready.Within, foreign.ReadyWithin)
	}
	if c.Control == vocabulary.ControlReal {
		c.Readiness = cmp.Or(k.Readiness, vocabulary.ReadinessProbe)
		c.Lags = kube.Lags{MinSyncPeriod: cmp.Or(k.MinSyncPeriod, realMinSyncPeriod)}
		c.LongestLags = realLags + c.Lags.MinSyncPeriod
		c.Teardown = 0
	}
	if c.MaxSurge == 0 && c.MaxUnavailable == 0 {
		c.MaxSurge = 1 // if MaxUnavailable is 0, too, no pod could be replaced
	}
	if c.Path == vocabulary.PathService {
		c.Service = serviceAddress()
	}
	if l := lookup(s); l != nil {
		c.Names = &Names{Server: l.Server, Name: l.Name, TTL: cmp.Or(s.DNS.TTL, dnsTTL)}
	}
	return c
}

// OnePod reports whether the workers share one pod, in which they can replace each other. It is
// false for nil.
func (c *Cluster) OnePod() bool { return c != nil && c.Placement.Row().OnePod }

// readyLag returns the lag of what a kubelet reports.
func readyLag(k scenarios.Kube) scenarios.Lag {
	if k.ReadyLag == (scenarios.Lag{}) {
		return k.EndpointLag
	}
	return k.ReadyLag
}

// distribution converts a lag of a scenario to the distribution from which kube draws it.
func distribution(l scenarios.Lag) kube.Distribution {
	switch l.Distribution {
	case "uniform":
		return kube.Uniform{Min: l.A, Max: l.B}
	case "exponential":
		return kube.Exponential{Mean: l.A}
	case "lognormal":
		return kube.LogNormal{Median: l.A, P99: l.B}
	case "measured":
		return kube.Quantiles(l.Measured.Lags)
	}
	return kube.Fixed(l.A)
}

// leastRealQueue is the share of a window for which the workers of a real Kubernetes may wait for a
// CPU: its own parts run on the servers' CPUs, and are busy for a second when they start a pod.
// That wait is a part of what an update costs.
const leastRealQueue = 0.8

// validity returns the limits that decide whether a trial is valid.
func validity(s scenarios.Setup) scenarios.Validity {
	v := s.Validity
	if s.InPods() && s.Kube.Control == vocabulary.ControlReal {
		v.RunQueue = max(v.RunQueue, leastRealQueue)
	}
	return v
}

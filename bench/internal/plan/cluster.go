package plan

import (
	"cmp"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

const (
	// defaultGrace is the default of Kubernetes' terminationGracePeriodSeconds. If the scenario
	// does not set the grace, it is made long enough to leave at least afterHook after preStop.
	defaultGrace = 30 * time.Second
	afterHook    = 5 * time.Second
	// defaultTeardown is the default time from the end of a pod's processes to the removal of its
	// network.
	defaultTeardown = 200 * time.Millisecond
	// defaultProbePeriod is the shortest period that Kubernetes allows.
	defaultProbePeriod = time.Second
)

// A Cluster says how the pods of a trial start and end, and how clients find them.
type Cluster struct {
	Path vocabulary.Path
	// Service is the Service's address. It is the zero value if clients do not use it.
	Service netip.AddrPort
	// FirstPod is the first pod's address, which clients know in advance with path pod.
	FirstPod netip.AddrPort
	// Names says how the Service is found by name. It is nil if clients know an address.
	Names *Names

	Lags kube.Lags
	// LongestLags is longer than nearly every change of a pod takes to reach the rules.
	LongestLags time.Duration

	Placement vocabulary.Placement
	Readiness vocabulary.Readiness
	Startup   time.Duration // how long a worker takes before it listens

	PreStop, Grace, Teardown, ProbePeriod, MinReady, NodeLag time.Duration
	MaxSurge, MaxUnavailable, MinAvailable                   int
}

// Names says how a Service is found by name.
type Names struct {
	Server netip.AddrPort // the DNS server
	Name   string
	TTL    time.Duration // of an answer
}

// newCluster returns the cluster of a setup, or nil if the workers are not in pods.
func newCluster(s scenarios.Setup) *Cluster {
	if !s.InPods() {
		return nil
	}
	k := s.Kube
	c := &Cluster{
		Path: s.Path, FirstPod: firstPodAddress(k.Placement),
		Lags: kube.Lags{
			ReadyToEndpoint: distribution(k.EndpointLag), EndpointToRules: distribution(k.RulesLag),
			MinSyncPeriod: k.MinSyncPeriod,
		},
		LongestLags: k.EndpointLag.Long() + k.RulesLag.Long() + k.MinSyncPeriod,
		Placement:   k.Placement,
		Readiness:   cmp.Or(k.Readiness, vocabulary.ReadinessListening), Startup: s.Server.Startup,
		PreStop: k.PreStop, Grace: cmp.Or(k.Grace, max(defaultGrace, k.PreStop+afterHook)),
		Teardown:    cmp.Or(k.Teardown, defaultTeardown),
		ProbePeriod: cmp.Or(k.ProbePeriod, defaultProbePeriod),
		MinReady:    k.MinReady, NodeLag: k.NodeLag,
		MaxSurge: k.MaxSurge, MaxUnavailable: k.MaxUnavailable, MinAvailable: k.MinAvailable,
	}
	if c.MaxSurge == 0 && c.MaxUnavailable == 0 {
		c.MaxSurge = 1 // with both 0, no pod could be replaced
	}
	if c.Path == vocabulary.PathService {
		c.Service = serviceAddress()
	}
	if l := lookup(s); l != nil {
		c.Names = &Names{Server: l.Server, Name: l.Name, TTL: cmp.Or(s.DNS.TTL, dnsTTL)}
	}
	return c
}

// distribution returns the distribution from which a lag of a scenario is drawn.
func distribution(l scenarios.Lag) kube.Distribution {
	switch l.Distribution {
	case "uniform":
		return kube.Uniform{Min: l.A, Max: l.B}
	case "exponential":
		return kube.Exponential{Mean: l.A}
	case "lognormal":
		return kube.LogNormal{Median: l.A, P99: l.B}
	}
	return kube.Fixed(l.A)
}

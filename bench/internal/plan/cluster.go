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
	// defaultGrace is Kubernetes' terminationGracePeriodSeconds; afterHook is what is left of it
	// after preStop, where the scenario does not say.
	defaultGrace = 30 * time.Second
	afterHook    = 5 * time.Second
	// defaultTeardown is from the end of a pod's processes to that of its network, where the
	// scenario does not say.
	defaultTeardown = 200 * time.Millisecond
	// defaultProbePeriod is Kubernetes' least.
	defaultProbePeriod = time.Second
)

// A Cluster is how the pods of a trial live, and how clients find them.
type Cluster struct {
	Path vocabulary.Path
	// Service is the Service's address; the zero value where clients need none.
	Service netip.AddrPort
	// FirstPod is where the first pod is, which path pod tells the clients beforehand.
	FirstPod netip.AddrPort
	// Names is how the Service is found by name; nil where clients know an address.
	Names *Names

	Lags kube.Lags
	// LongestLags is longer than all but a few changes take from a pod to the rules.
	LongestLags time.Duration

	Placement vocabulary.Placement
	Readiness vocabulary.Readiness
	Startup   time.Duration // what a worker takes before it listens

	PreStop, Grace, Teardown, ProbePeriod, MinReady, NodeLag time.Duration
	MaxSurge, MaxUnavailable, MinAvailable                   int
}

// Names is how a Service is found by name.
type Names struct {
	Server netip.AddrPort // that answers
	Name   string
	TTL    time.Duration // of an answer
}

// newCluster returns the cluster of a setup; nil where workers are in no pods.
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
		Teardown: cmp.Or(k.Teardown, defaultTeardown), ProbePeriod: cmp.Or(k.ProbePeriod, defaultProbePeriod),
		MinReady: k.MinReady, NodeLag: k.NodeLag,
		MaxSurge: k.MaxSurge, MaxUnavailable: k.MaxUnavailable, MinAvailable: k.MinAvailable,
	}
	if c.MaxSurge == 0 && c.MaxUnavailable == 0 {
		c.MaxSurge = 1 // something has to give
	}
	if c.Path == vocabulary.PathService {
		c.Service = serviceAddress()
	}
	if l := lookup(s); l != nil {
		c.Names = &Names{Server: l.Server, Name: l.Name, TTL: cmp.Or(s.DNS.TTL, dnsTTL)}
	}
	return c
}

// distribution returns what a lag of a scenario is drawn from.
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

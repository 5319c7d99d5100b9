package kubernetes

import (
	"net/netip"

	"reuseport-bench/bench/internal/netlab"
)

// Lab returns the cluster's lab.
func (c *Cluster) Lab() *netlab.Lab { return c.options.Lab }

// Name names the cluster in results: its version, and the mode of kube-proxy.
func (c *Cluster) Name() string {
	return "Kubernetes " + c.versions["kubernetes"] + ", kube-proxy " + string(c.proxy.Mode)
}

// Gateways returns the addresses from which kubelets probe pods: those that the CNI plugins give
// the nodes' ends of the pods' links, the first of each node's range.
func (c *Cluster) Gateways() (all []netip.Addr) {
	for _, pods := range netlab.AddressesOfCluster().Pods {
		all = append(all, pods.Addr().Next())
	}
	return all
}

// NextTrial begins a trial, and returns its number, from 1.
func (c *Cluster) NextTrial() int {
	c.trial++
	return c.trial
}

// Sources returns the trial's part of the range that the load sends from: a /24, each in turn.
// Trials share the clients' host, where a source stays in use for a minute after its connection has
// ended (TIME_WAIT, and connection tracking). A part has 12 million sources.
func (c *Cluster) Sources() netip.Prefix {
	all := netlab.AddressesOfCluster().Sources
	first := all.Addr().As4()
	first[2] += byte(c.trial % (1 << (24 - all.Bits())))
	return netip.PrefixFrom(netip.AddrFrom4(first), 24)
}

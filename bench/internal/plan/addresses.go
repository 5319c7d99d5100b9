package plan

import (
	"cmp"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// ServerPort is where workers listen; every lab has all ports to itself.
const ServerPort = 8080

// backendPort is where workers listen behind a proxy, which has ServerPort; from there on where
// each has a port of its own.
const backendPort = 9001

// ServiceName is the one Service of a trial, and serviceDNSName its name in DNS.
const ServiceName = "web"

var serviceDNSName = dns.Name(ServiceName, "default")

const (
	dnsPort    = 53
	dnsClients = 16              // that look names up, where the scenario does not say
	dnsTTL     = 5 * time.Second // of an answer, where it does not say
)

// serviceAddress returns the Service's ClusterIP, and its port.
func serviceAddress() netip.AddrPort {
	return netip.AddrPortFrom(netlab.AddressesOfCluster().Services.Addr().Next(), 80)
}

// firstPodAddress returns the address of the first pod of a trial, and its port. The first pod is
// on node A, whose pods are given its addresses in order or, with the host's network, have its own.
func firstPodAddress(p vocabulary.Placement) netip.AddrPort {
	a := netlab.AddressesOfCluster()
	if p == vocabulary.PlacementHostNetwork {
		return netip.AddrPortFrom(a.Nodes[0], ServerPort)
	}
	return netip.AddrPortFrom(a.Pods[0].Addr().Next(), ServerPort)
}

// lookup returns how the load finds the pods, or the Service, by name; nil when it knows an
// address.
func lookup(s scenarios.Setup) *load.Lookup {
	if s.Path != vocabulary.PathDNS &&
		(s.Path != vocabulary.PathService || s.DNS == scenarios.DNS{}) {
		return nil
	}
	return &load.Lookup{
		Server: netip.AddrPortFrom(netlab.AddressesOfCluster().Client, dnsPort), Name: serviceDNSName,
		Policy: s.DNS.Cache, Clients: cmp.Or(s.DNS.Clients, dnsClients),
	}
}

// target returns where the load connects to.
func target(s scenarios.Setup, addresses netlab.Addresses) netip.AddrPort {
	switch s.Path {
	case vocabulary.PathService:
		return serviceAddress()
	case vocabulary.PathPod:
		return firstPodAddress(s.Kube.Placement)
	}
	return netip.AddrPortFrom(addresses.Servers, ServerPort)
}

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

// ServerPort is the port on which workers listen. A lab has its own network namespaces, so all
// ports are free in it.
const ServerPort = 8080

// backendPort is the port on which workers behind a proxy listen. The proxy itself listens on
// ServerPort. If each worker has its own port, backendPort is the port of the first worker.
const backendPort = 9001

// ServiceName is the name of a trial's only Service. serviceDNSName is its name in DNS.
const ServiceName = "web"

var serviceDNSName = dns.Name(ServiceName, "default")

const (
	dnsPort    = 53
	dnsClients = 16              // default number of clients that resolve names
	dnsTTL     = 5 * time.Second // default TTL of the answers
)

// serviceAddress returns the Service's ClusterIP and port. A real Kubernetes gives the first
// address of the range to the Service of its own API.
func serviceAddress() netip.AddrPort {
	api := netlab.AddressesOfCluster().Services.Addr().Next()
	return netip.AddrPortFrom(api.Next(), 80)
}

// firstPodAddress returns the address and port of the first pod of a trial. The pod is on node A.
// Its address is the first of node A's addresses for pods or, with placement host-network, the
// address of node A itself.
func firstPodAddress(p vocabulary.Placement) netip.AddrPort {
	a := netlab.AddressesOfCluster()
	if p.Row().OnHost {
		return netip.AddrPortFrom(a.Nodes[0], ServerPort)
	}
	return netip.AddrPortFrom(a.Pods[0].Addr().Next(), ServerPort)
}

// lookup returns the configuration with which the load resolves the name of the pods or of the
// Service. It returns nil if the load connects to a given address.
func lookup(s scenarios.Setup) *load.Lookup {
	if s.Path != vocabulary.PathDNS &&
		(s.Path != vocabulary.PathService || s.DNS == scenarios.DNS{}) {
		return nil
	}
	return &load.Lookup{
		Server: netip.AddrPortFrom(netlab.AddressesOfCluster().Client, dnsPort),
		Name:   serviceDNSName,
		Policy: s.DNS.Cache, Clients: cmp.Or(s.DNS.Clients, dnsClients),
	}
}

// target returns the address to which the load connects.
func target(s scenarios.Setup, addresses netlab.Addresses) netip.AddrPort {
	switch s.Path {
	case vocabulary.PathService:
		return serviceAddress()
	case vocabulary.PathPod:
		return firstPodAddress(s.Kube.Placement)
	}
	return netip.AddrPortFrom(addresses.Servers, ServerPort)
}

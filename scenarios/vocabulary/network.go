package vocabulary

import "slices"

// Network is the kind of network in a lab.
type Network string

// The networks.
const (
	NetworkLoopback Network = "loopback"
	NetworkVeth     Network = "veth"
	NetworkCluster  Network = "cluster"
)

// A NetworkRow is the row of a network.
type NetworkRow struct {
	Name   Network
	Doc    string
	Phrase string // see Value.Phrase
	Needs  []Capability
}

var networks = []NetworkRow{
	{Name: NetworkLoopback, Phrase: "the loopback interface",
		Doc: "the loopback interface of a private network namespace"},
	{Name: NetworkVeth, Phrase: "a veth pair",
		Needs: []Capability{Veth},
		Doc: "one namespace for the servers and one for the load, joined by a veth pair, so " +
			"that every segment crosses a network device"},
	{Name: NetworkCluster, Phrase: "a cluster",
		Needs: []Capability{Veth},
		Doc: "one node for the clients and two nodes for pods, joined by veth pairs and " +
			"routes, and a namespace for each pod; IPv4 only"},
}

func (r NetworkRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase,
		Needs: capabilityNeeds(r.Needs)}
}

// Networks returns the table of networks.
func Networks() []NetworkRow { return slices.Clone(networks) }

// Row returns the row of n, or the zero row if n has none.
func (n Network) Row() NetworkRow { return rowOf(networks, n) }

// Family is the IP version of a lab's addresses.
type Family string

// The families.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

var families = []Row[Family]{
	{IPv4, "IPv4 addresses"},
	{IPv6, "IPv6 addresses"},
}

// Path is the way in which clients reach the workers.
type Path string

// The paths.
const (
	PathDirect  Path = "direct"
	PathService Path = "service"
	PathDNS     Path = "dns"
	PathPod     Path = "pod"
	PathHAProxy Path = "haproxy"
)

// A PathRow is the row of a path.
type PathRow struct {
	Name   Path
	Doc    string
	Phrase string // see Value.Phrase
	InPods bool   // the workers are pods of a cluster
	ByName bool   // clients may resolve a name
	Needs  []Capability
}

var podsNeed = []Capability{NFTables, Conntrack, NFTablesCommand}

var paths = []PathRow{
	{Name: PathDirect, Phrase: "the workers' own address",
		Doc: "the load connects to the workers' own address"},
	{Name: PathService, Phrase: "a Kubernetes Service",
		InPods: true, ByName: true, Needs: podsNeed,
		Doc: "a Kubernetes Service: the clients' node rewrites the Service's address to a " +
			"pod's address by nftables and connection tracking, as kube-proxy does; each worker " +
			"is a pod"},
	{Name: PathDNS, Phrase: "pods found by DNS",
		InPods: true, ByName: true, Needs: podsNeed,
		Doc: "a headless Kubernetes Service: clients look up its name and connect to a pod's own " +
			"address"},
	{Name: PathPod, Phrase: "one pod's own address",
		InPods: true, Needs: podsNeed,
		Doc: "clients connect to the first worker's pod by the pod's own address, and look " +
			"for no other pod when it is gone"},
	{Name: PathHAProxy, Phrase: "HAProxy in front",
		Needs: []Capability{HAProxyCommand},
		Doc: "HAProxy is in front of the workers; with sockets: reuseport, the workers have " +
			"one address together, and with sockets: exclusive, each worker has its own"},
}

func (r PathRow) value() Value {
	var network []string
	if r.InPods {
		network = []string{"network: " + string(NetworkCluster)}
	}
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase,
		Needs: slices.Concat(network, capabilityNeeds(r.Needs))}
}

// Paths returns the table of paths.
func Paths() []PathRow { return slices.Clone(paths) }

// Row returns the row of p, or the zero row if p has none.
func (p Path) Row() PathRow { return rowOf(paths, p) }

// HealthChecks is the way in which HAProxy itself detects that a worker is gone or back: by
// periodic TCP connections (configuration manual 5.2, "check").
type HealthChecks string

// The health checks.
const (
	// ChecksDefault configures "check" and no other option, so that HAProxy's defaults apply (5.2,
	// "inter", "fall", "rise").
	ChecksDefault HealthChecks = "default"
	// ChecksFast checks about as often as real installations do. A worker is down after two
	// failures, because one may be an accident, and up after one success, because a single
	// connection proves that the worker listens.
	ChecksFast HealthChecks = "fast"
	// ChecksOff configures no checks.
	ChecksOff HealthChecks = "off"
)

var healthChecks = []Row[HealthChecks]{
	{ChecksDefault, "HAProxy's own defaults: a check every 2 s; a worker is down after 3 " +
		"failures and up after 2 successes"},
	{ChecksFast, "a check every 100 ms; a worker is down after 2 failures and up after 1 success"},
	{ChecksOff, "no checks: a worker counts as up until a command tells HAProxy otherwise"},
}

// Switch turns something on or off.
type Switch string

// The positions of a switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

var redispatches = []Row[Switch]{
	{Off, "HAProxy's own default: three retries at the same worker, one second apart"},
	{On, `"option redispatch": a retry at another worker, at once`},
}

// DNSCache is the way in which a client caches answers of the DNS server.
type DNSCache string

// The caches.
const (
	// DNSCacheTTL keeps an answer, including "no such name" (RFC 2308), until its TTL expires.
	// Concurrent lookups of a name share one query. systemd-resolved, dnsmasq and a node's DNS
	// cache do the same. The first answer for a name is treated as if it had been cached before,
	// with an age drawn from [0, TTL). Otherwise it would expire at the same point of the timeline
	// in all trials.
	DNSCacheTTL DNSCache = "ttl"
	// DNSCacheNone sends a query for every lookup, like Go, and like glibc's getaddrinfo(3) without
	// nscd.
	DNSCacheNone DNSCache = "none"
	// DNSCacheForever keeps the first answer forever, and a failure for ten seconds. JVMs with a
	// security manager did so: with one, networkaddress.cache.ttl is -1 (java.security; documented
	// at java.net.InetAddress, "InetAddress Caching"), and networkaddress.cache.negative.ttl is 10.
	// Without a security manager a JVM keeps answers for 30 s whatever their TTL; JEP 486 removed
	// security managers in JDK 24.
	DNSCacheForever DNSCache = "forever"
	// DNSCachePool models a client that resolves the name when it fills its pool of connections,
	// and again only when the pool has become empty. It keeps an answer as long as a connection to
	// its address is open. It does not keep failures.
	DNSCachePool DNSCache = "pool"
)

var dnsCaches = []Row[DNSCache]{
	{DNSCacheTTL, "an answer is kept until its TTL has passed; its age at the start of the " +
		"trial is random"},
	{DNSCacheNone, "nothing is kept: the name is looked up for every connection"},
	{DNSCacheForever, "the first answer is kept forever, as in older JVMs"},
	{DNSCachePool, "an answer is kept as long as a connection that was opened with it is open"},
}

// DNSCaches returns the table of caches.
func DNSCaches() []Row[DNSCache] { return slices.Clone(dnsCaches) }

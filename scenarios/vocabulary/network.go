package vocabulary

import "slices"

// Network is what a lab is made of.
type Network string

// The networks.
const (
	NetworkLoopback Network = "loopback"
	NetworkVeth     Network = "veth"
	NetworkCluster  Network = "cluster"
)

// A NetworkRow is the row of a network.
type NetworkRow struct {
	Name  Network
	Doc   string
	Needs []Capability
}

var networks = []NetworkRow{
	{Name: NetworkLoopback, Doc: "the loopback interface of a private network namespace"},
	{Name: NetworkVeth, Needs: []Capability{Veth},
		Doc: "a namespace for the servers and one for the load, joined by a veth pair, so that " +
			"every " +
			"segment crosses a device"},
	{Name: NetworkCluster, Needs: []Capability{Veth},
		Doc: "a clients' node and two more, joined by veth pairs and routed, and a namespace for " +
			"each " +
			"pod (IPv4)"},
}

func (r NetworkRow) value() Value { return Value{string(r.Name), r.Doc} }

// Networks returns the table of networks.
func Networks() []NetworkRow { return slices.Clone(networks) }

// Row returns the row of n; the zero row if there is none.
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

// Path is how clients get to the workers.
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
	InPods bool // the workers are pods of a cluster
	// ByName: clients may look a name up.
	ByName bool
	Needs  []Capability
}

var podsNeed = []Capability{NFTables, Conntrack, NFTablesCommand}

var paths = []PathRow{
	{Name: PathDirect, Doc: "the load connects to the workers' own address"},
	{Name: PathService, InPods: true, ByName: true, Needs: podsNeed,
		Doc: "a Kubernetes Service, in a cluster: the clients' node rewrites its address to that " +
			"of a " +
			"pod (nftables and conntrack, as kube-proxy's); each worker is in a pod of its own"},
	{Name: PathDNS, InPods: true, ByName: true, Needs: podsNeed,
		Doc: "a headless Kubernetes Service, in a cluster: clients look its name up and connect " +
			"to a " +
			"pod's own address; with service and dns they look up the Service's"},
	{Name: PathPod, InPods: true, Needs: podsNeed,
		Doc: "in a cluster: clients know one pod's own address, that of the first worker's, and " +
			"ask " +
			"for no other when it has gone"},
	{Name: PathHAProxy, Needs: []Capability{HAProxyCommand},
		Doc: "HAProxy stands in front: of one address with sockets reuseport, of one address for " +
			"each " +
			"worker with sockets exclusive"},
}

func (r PathRow) value() Value { return Value{string(r.Name), r.Doc} }

// Paths returns the table of paths.
func Paths() []PathRow { return slices.Clone(paths) }

// Row returns the row of p; the zero row if there is none.
func (p Path) Row() PathRow { return rowOf(paths, p) }

// HealthChecks is how HAProxy finds out by itself that a worker is gone or back: a TCP connection
// every so often (configuration manual 5.2, "check").
type HealthChecks string

// The health checks.
const (
	// ChecksDefault are those of a server line that says "check" and no more (5.2, "inter", "fall",
	// "rise").
	ChecksDefault HealthChecks = "default"
	// ChecksFast are about as fast as anybody dares. One failure may be an accident; one success
	// shows that somebody listens, which is what a TCP check asks.
	ChecksFast HealthChecks = "fast"
	// ChecksOff: every worker counts as up, always.
	ChecksOff HealthChecks = "off"
)

var healthChecks = []Row[HealthChecks]{
	{ChecksDefault, "HAProxy's own defaults: every 2 s, down after 3 failures, up after 2 " +
		"successes"},
	{ChecksFast, "every 100 ms, down after 2 failures, up after 1 success"},
	{ChecksOff, "none: a worker is taken for up until HAProxy is told otherwise"},
}

// Switch turns something on or off.
type Switch string

// The positions of a switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

var redispatches = []Row[Switch]{
	{Off, "HAProxy's own default: three retries at the same worker, a second apart"},
	{On, `"option redispatch": at another worker, at once`},
}

// DNSCache is what a client keeps of an answer.
type DNSCache string

// The caches.
const (
	// DNSCacheTTL: an answer is kept for as long as it says, "no such name" too (RFC 2308), and
	// whoever wants it meanwhile waits for the one question under way. So do systemd-resolved,
	// dnsmasq and a node's DNS cache. A name's first answer is taken to have been in the cache for
	// a
	// while: its age is drawn from [0, TTL), or all trials would expire in step with their
	// timelines.
	DNSCacheTTL DNSCache = "ttl"
	// DNSCacheNone: every lookup asks. So do glibc's getaddrinfo(3) without nscd, and Go.
	DNSCacheNone DNSCache = "none"
	// DNSCacheForever: the first answer is kept for good, a failure for ten seconds. The JVM's
	// habit
	// of old: networkaddress.cache.ttl is -1 where a security manager is installed (the default in
	// java.security; documented at java.net.InetAddress, "InetAddress Caching"),
	// networkaddress.cache.negative.ttl is 10. Without one it keeps answers for 30 s, whatever
	// their
	// TTL; JEP 486 ended security managers in JDK 24.
	DNSCacheForever DNSCache = "forever"
	// DNSCachePool: an answer is kept while any connection is open that was opened with it: names
	// are looked up when the pool is filled, and again only when it has become empty. Failures are
	// not kept.
	DNSCachePool DNSCache = "pool"
)

var dnsCaches = []Row[DNSCache]{
	{DNSCacheTTL, "an answer is kept for as long as it says; its age at the begin is random"},
	{DNSCacheNone, "every connection asks"},
	{DNSCacheForever, "the first answer is kept for good, as JVMs did"},
	{DNSCachePool, "an answer is kept for as long as a connection is open that was opened with it"},
}

// DNSCaches returns the table of caches.
func DNSCaches() []Row[DNSCache] { return slices.Clone(dnsCaches) }

package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ClusterAddresses are those of a cluster lab, the same in every one. They are IPv4 only: the lab
// has no IPv6 but on lo.
type ClusterAddresses struct {
	Client   netip.Addr
	Nodes    [2]netip.Addr   // of node A and node B themselves, and of what runs on a node without a network of its own
	Pods     [2]netip.Prefix // what the pods of each node have their addresses from
	Services netip.Prefix    // for ClusterIPs: nobody has them, rules on the clients' host translate them
	Sources  netip.Prefix    // what the load may send from
}

// AddressesOfCluster are the addresses of a lab with the network Cluster, of the ranges reserved
// for benchmarking (RFC 2544).
func AddressesOfCluster() ClusterAddresses {
	return ClusterAddresses{
		Client:   netip.MustParseAddr("198.18.0.3"),
		Nodes:    [2]netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")},
		Pods:     [2]netip.Prefix{netip.MustParsePrefix("198.18.10.0/24"), netip.MustParsePrefix("198.18.20.0/24")},
		Services: netip.MustParsePrefix("198.19.0.0/16"),
		Sources:  netip.MustParsePrefix("198.18.64.0/18"),
	}
}

// clusterRange is all that a pod has a way to.
var clusterRange = netip.MustParsePrefix("198.18.0.0/16")

// The ends of the links: a pod has one, of the name that pods' devices have, and a node one to each
// of the others.
const (
	podLink    = "eth0"
	clientsEnd = "to-clients"
)

// A node of a cluster lab. What is in it belongs to the lab's thread.
type node struct {
	host  *Host
	addr  netip.Addr
	pods  netip.Prefix
	last  netip.Addr // the address given last
	links []string   // to the clients and to the other node
	down  bool
}

// A Pod is a host of its own behind a node. RemovePod ends it, or the lab's Close.
type Pod struct {
	*Host
	Addr netip.Addr
	Node int // 0: node A, 1: node B

	link string // the node's end
}

// setupCluster makes the hosts of a cluster and joins each to each: routed point-to-point links, no
// bridge. Every host has one address, which all its links share (as with unnumbered links), so no
// link needs a range of its own. It runs on the lab's thread, in the first of the lab's namespaces,
// which becomes node A.
func (l *Lab) setupCluster(receiveCPUs []int) error {
	a := AddressesOfCluster()
	l.servers.Name = "node-a"
	other, err := l.addHost("node-b")
	if err != nil {
		return err
	}
	if l.clients, err = l.addHost("clients"); err != nil {
		return err
	}
	l.pods = map[netip.Addr]*Pod{}
	for i, host := range []*Host{l.servers, other} {
		l.nodes = append(l.nodes, &node{host: host, addr: a.Nodes[i], pods: a.Pods[i], last: a.Pods[i].Addr()})
		if err := l.prepare(host, true); err != nil {
			return err
		}
		if err := steerReceived(receiveCPUs); err != nil {
			return err
		}
	}
	if err := l.prepare(l.clients, false); err != nil {
		return err
	}
	for i, n := range l.nodes {
		if err := l.join(end{n.host, clientsEnd, n.addr}, end{l.clients, "to-" + n.host.Name, a.Client}); err != nil {
			return err
		}
		n.links = []string{clientsEnd, "to-" + l.nodes[1-i].host.Name}
	}
	nodeA, nodeB := l.nodes[0], l.nodes[1]
	if err := l.join(end{nodeA.host, nodeA.links[1], nodeA.addr}, end{nodeB.host, nodeB.links[1], nodeB.addr}); err != nil {
		return err
	}
	return l.routeCluster(a)
}

func (l *Lab) routeCluster(a ClusterAddresses) error {
	for i, n := range l.nodes {
		there := l.nodes[1-i]
		// What is for no pod is dropped without a word: see RemovePod. A pod's own route is longer
		// and goes first.
		err := l.route(n.host,
			netlink.Route{Dst: ipNet(a.Sources), Gw: a.Client.AsSlice()},
			netlink.Route{Dst: ipNet(there.pods), Gw: there.addr.AsSlice()},
			netlink.Route{Dst: ipNet(n.pods), Type: unix.RTN_BLACKHOLE})
		if err != nil {
			return err
		}
		if err := l.route(l.clients, netlink.Route{Dst: ipNet(n.pods), Gw: n.addr.AsSlice()}); err != nil {
			return err
		}
	}
	// connect(2) asks for a route before any rule has translated the address; that of the
	// translated one is looked up again (ip_route_me_harder in net/ipv4/netfilter.c). As on a node
	// whose default route leads out, this one leads over a link, to node A, which drops what no
	// rule has translated. A route over lo would silence the rules that reject: the ICMP message
	// would have the service for its source, an address that no host has (__icmp_send in
	// net/ipv4/icmp.c, RTCF_LOCAL).
	err := l.route(l.nodes[0].host, netlink.Route{Dst: ipNet(a.Services), Type: unix.RTN_BLACKHOLE})
	if err != nil {
		return err
	}
	return l.route(l.clients, netlink.Route{
		Dst: ipNet(a.Services), Gw: l.nodes[0].addr.AsSlice(), Src: a.Client.AsSlice(),
	})
}

// prepare sets what the links of a host are to be born with: IPv4 only, or the kernel would send
// router solicitations and multicast reports over every new one; and forwarding or not, which is
// otherwise inherited from the machine (devinet_init_net in net/ipv4/devinet.c).
func (l *Lab) prepare(h *Host, forwards bool) error {
	if err := l.enter(h); err != nil {
		return err
	}
	err := WriteSysctl("net.ipv6.conf.default.disable_ipv6", "1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	forward := "0"
	if forwards {
		forward = "1"
	}
	if err := WriteSysctl("net.ipv4.ip_forward", forward); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// end is one end of a link.
type end struct {
	host *Host
	link string
	addr netip.Addr
}

// join makes a veth pair between two hosts, with a route at each end to the address of the other
// (that of a peer address: ip-address(8)). Both ends are up when it returns, and neither ever asks
// for its neighbour. It leaves the thread at a.
func (l *Lab) join(a, b end) error {
	if err := l.enter(a.host); err != nil {
		return err
	}
	pair := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: a.link, HardwareAddr: hardwareAddr(a.addr)},
		PeerName:         b.link,
		PeerHardwareAddr: hardwareAddr(b.addr),
		PeerNamespace:    netlink.NsFd(b.host.ns.Fd()),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("veth pair %s of %s: %w; see 'doctor'", a.link, a.host.Name, err)
	}
	if err := a.configure(b.addr); err != nil {
		return err
	}
	if err := l.enter(b.host); err != nil {
		return err
	}
	if err := b.configure(a.addr); err != nil {
		return err
	}
	if err := l.enter(a.host); err != nil {
		return err
	}
	return a.settle()
}

// configure gives an end its address and its only neighbour, in its namespace, and takes it up.
func (e end) configure(peer netip.Addr) error {
	link, err := netlink.LinkByName(e.link)
	if err != nil {
		return fmt.Errorf("link %s of %s: %w", e.link, e.host.Name, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(e.addr, 32)), Peer: ipNet(netip.PrefixFrom(peer, 32))}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %v on %s of %s: %w", e.addr, e.link, e.host.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s of %s up: %w", e.link, e.host.Name, err)
	}
	neighbour := &netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: peer.AsSlice(), HardwareAddr: hardwareAddr(peer),
	}
	if err := netlink.NeighSet(neighbour); err != nil {
		return fmt.Errorf("neighbour %v on %s of %s: %w", peer, e.link, e.host.Name, err)
	}
	return nil
}

// settle has the kernel notice at once that the end of a pair that was taken up first has a carrier
// now. Otherwise a work queue does (net/core/link_watch.c), and what is sent until then is dropped
// by the queueing discipline of a device that is down: without this, 12 of 15 runs of 20 pods lost
// a first SYN. Asking for the state of the link does that work (ethtool_op_get_link in
// net/ethtool/ioctl.c).
func (e end) settle() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	var state struct{ cmd, up uint32 } // struct ethtool_value
	state.cmd = unix.ETHTOOL_GLINK
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], e.link)
	request.data = unsafe.Pointer(&state)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("link %s of %s: ETHTOOL_GLINK: %w", e.link, e.host.Name, errno)
	}
	if state.up == 0 {
		return fmt.Errorf("link %s of %s: no carrier", e.link, e.host.Name)
	}
	return nil
}

// hardwareAddr is the locally administered address of every device that has the address.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x00}, addr.AsSlice()...)
}

// route adds routes on a host.
func (l *Lab) route(h *Host, routes ...netlink.Route) error {
	if err := l.enter(h); err != nil {
		return err
	}
	for _, r := range routes {
		if err := netlink.RouteAdd(&r); err != nil {
			return fmt.Errorf("route %v on %s: %w", r.Dst, h.Name, err)
		}
	}
	return nil
}

// Node is a node of a cluster: 0 is node A, 1 is node B, and any other panics. What Kubernetes
// calls a pod of the host's network runs on it as it is, at the node's address.
func (l *Lab) Node(i int) *Host { return l.nodes[i].host }

// AddPod adds a pod to a node: a network namespace of its own with one link to the node. Its
// address is one that no pod of the lab has had, until the range is used up: then that of the pod
// that has been gone for longest. The pod can be reached from everywhere when AddPod returns, and
// has a way to everybody but services: no rules are on its node.
func (l *Lab) AddPod(ctx context.Context, node int, name string) (*Pod, error) {
	var p *Pod
	err := l.call(func() (err error) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		p, err = l.addPod(node, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	return p, nil
}

func (l *Lab) addPod(i int, name string) (*Pod, error) {
	n, err := l.node(i)
	if err != nil {
		return nil, err
	}
	if n.down {
		return nil, fmt.Errorf("%s is down", n.host.Name)
	}
	addr, ok := n.next(l.pods)
	if !ok {
		return nil, fmt.Errorf("%s: every address of %v has a pod", n.host.Name, n.pods)
	}
	n.last = addr
	host, err := l.addHost(name)
	if err != nil {
		return nil, err
	}
	p := &Pod{Host: host, Addr: addr, Node: i, link: fmt.Sprintf("pod%d", addr.As4()[3])}
	l.pods[addr] = p
	if err := l.connectPod(n, p); err != nil {
		return nil, errors.Join(err, l.removePod(p))
	}
	return p, nil
}

func (l *Lab) connectPod(n *node, p *Pod) error {
	if err := l.prepare(p.Host, false); err != nil {
		return err
	}
	if err := l.join(end{n.host, p.link, n.addr}, end{p.Host, podLink, p.Addr}); err != nil {
		return err
	}
	if err := l.route(p.Host, netlink.Route{Dst: ipNet(clusterRange), Gw: n.addr.AsSlice()}); err != nil {
		return err
	}
	// A thread that stayed would keep the namespace when the pod has gone.
	return l.enter(n.host)
}

func (l *Lab) node(i int) (*node, error) {
	if i < 0 || i >= len(l.nodes) {
		return nil, fmt.Errorf("no node %d: the lab has %d", i, len(l.nodes))
	}
	return l.nodes[i], nil
}

// next is the first free address after the last one given; the first and the last of the range are
// nobody's.
func (n *node) next(used map[netip.Addr]*Pod) (netip.Addr, bool) {
	first := n.pods.Addr().Next()
	addr := n.last
	for range 1 << (32 - n.pods.Bits()) {
		if addr = addr.Next(); !n.pods.Contains(addr.Next()) {
			addr = first
		}
		if used[addr] == nil {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// RemovePod takes a pod's link and route away and lets go of its namespace, which lives on, cut
// off, while processes are left in it. Doing it again does nothing.
//
// Nothing answers for the pod from then on: whoever connects waits for a timeout, and what is under
// way on connections that it had is dropped. It is what most clusters do. Calico has a blackhole
// route on each node for its range, as here (projectcalico/felix issue 210): silence for other
// hosts, EINVAL for the node itself (projectcalico/calico issue 13570). Cilium drops as "Stale or
// unroutable IP" (cilium/cilium issue 13451), unless --enable-unreachable-routes, off by default,
// has it answer by ICMP (cilium/cilium pull request 18505). With the plugins ptp and host-local the
// packet follows the node's default route, out of the cluster. Where a pod's process ends before
// its link, which is the rule, there is a time in which its kernel still refuses.
func (l *Lab) RemovePod(p *Pod) error {
	if err := l.call(func() error { return l.removePod(p) }); err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	return nil
}

func (l *Lab) removePod(p *Pod) error {
	if l.pods[p.Addr] != p {
		return nil
	}
	n := l.nodes[p.Node]
	if err := l.enter(n.host); err != nil {
		return err
	}
	link, err := netlink.LinkByName(p.link)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) { // a process in the pod may have deleted its own end
		return fmt.Errorf("link %s of %s: %w", p.link, n.host.Name, err)
	}
	delete(l.pods, p.Addr)
	return l.dropHost(p.Host)
}

// NodeDown silences a node for good: nothing gets in or out any more, neither its own nor its
// pods', and nothing says so, as when a machine loses its power behind a router. What runs there
// goes on, unheard. (On a network that the client shares with the node the client's kernel would in
// time miss the neighbour, and say EHOSTUNREACH; here it never asks.) Doing it again does nothing.
func (l *Lab) NodeDown(node int) error {
	return l.call(func() error {
		n, err := l.node(node)
		if err != nil {
			return err
		}
		if err := l.enter(n.host); err != nil {
			return err
		}
		n.down = true
		// At the node's end: at the other the routes would go with the link, and connect(2) would
		// fail at once. There the link now lacks a carrier, which leaves the routes in force
		// (net.ipv4.conf.*.ignore_routes_with_linkdown=0: ip-sysctl.rst).
		for _, name := range n.links {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("link %s of %s: %w", name, n.host.Name, err)
			}
			if err := netlink.LinkSetDown(link); err != nil {
				return fmt.Errorf("link %s of %s down: %w", name, n.host.Name, err)
			}
		}
		return nil
	})
}

// FlushConntrack forgets the connections that the host's connection tracking knows of. An entry
// outlives the rule that made it: a new connection from the same address and port goes where the
// last one went, however long that has been gone.
func (l *Lab) FlushConntrack(h *Host) error {
	err := l.Do(h, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("flush connection tracking in %s: %w", h.Name, err)
	}
	return nil
}

// Translations returns where the host has sent each IPv4 connection to, by the client's end: what
// its connection tracking remembers.
func (l *Lab) Translations(h *Host) (map[netip.AddrPort]netip.Addr, error) {
	of := map[netip.AddrPort]netip.Addr{}
	err := l.Do(h, func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range flows {
			from, ok := netip.AddrFromSlice(f.Forward.SrcIP)
			to, ok2 := netip.AddrFromSlice(f.Reverse.SrcIP)
			if ok && ok2 {
				of[netip.AddrPortFrom(from.Unmap(), f.Forward.SrcPort)] = to.Unmap()
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connection tracking of %s: %w", h.Name, err)
	}
	return of, nil
}

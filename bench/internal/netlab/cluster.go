package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ClusterAddresses are the addresses in a cluster lab. Every cluster lab has the same addresses.
// They are IPv4 only: in such a lab only lo has IPv6.
type ClusterAddresses struct {
	Client netip.Addr
	// Control is the address of the control plane's host, in a lab with Options.Control.
	Control netip.Addr
	// Nodes are the addresses of node A and node B. Pods on a node's host network use them, too.
	Nodes [2]netip.Addr
	Pods  [2]netip.Prefix // the range for the pods of each node
	// Services is the range for ClusterIPs. No host has such an address; rules on the clients' host
	// translate it.
	Services netip.Prefix
	Sources  netip.Prefix // the range that the load sends from
}

// AddressesOfCluster returns the addresses of a lab with NetworkCluster, from the ranges reserved
// for benchmarking (RFC 2544).
func AddressesOfCluster() ClusterAddresses {
	return ClusterAddresses{
		Client:  netip.MustParseAddr("198.18.0.3"),
		Control: netip.MustParseAddr("198.18.0.4"),
		Nodes: [2]netip.Addr{
			netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"),
		},
		Pods: [2]netip.Prefix{
			netip.MustParsePrefix("198.18.10.0/24"), netip.MustParsePrefix("198.18.20.0/24"),
		},
		Services: netip.MustParsePrefix("198.19.0.0/16"),
		Sources:  netip.MustParsePrefix("198.18.64.0/18"),
	}
}

// clusterRange is the range of addresses that pods have a route to.
var clusterRange = netip.MustParsePrefix("198.18.0.0/16")

// Names of links. A pod has one link, named as a pod's device usually is. A node has one link to
// the clients and one to the other node.
const (
	podLink    = "eth0"
	clientsEnd = "to-clients"
	controlEnd = "to-control"
)

// A node is a node of a cluster lab. The lab's thread owns it.
type node struct {
	host  *Host
	addr  netip.Addr
	pods  netip.Prefix
	last  netip.Addr // the last address assigned to a pod
	links []string   // names of the links to the other hosts that are no pods
	down  bool
}

// A Pod is a host behind a node. AddPod makes it; AdoptPod takes one that others have made. The
// caller removes it with RemovePod, or Lab.Close does.
type Pod struct {
	*Host
	Addr netip.Addr
	Node int // 0: node A, 1: node B

	link    string // name of the node's end
	adopted bool   // AdoptPod returned it, and it has not been removed
}

// setupCluster makes the hosts of a cluster and joins each pair of them by a routed point-to-point
// link, without a bridge. Every host has one address, which all its links share (as with unnumbered
// links), so links need no address ranges. It runs on the lab's thread in the first of the lab's
// namespaces, which becomes node A.
func (l *Lab) setupCluster(o Options) error {
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
		l.nodes = append(l.nodes, &node{
			host: host, addr: a.Nodes[i], pods: a.Pods[i], last: a.Pods[i].Addr(),
		})
		if err := l.prepare(host, true); err != nil {
			return err
		}
		if err := steerReceived(o.ReceiveCPUs); err != nil {
			return err
		}
	}
	if err := l.prepare(l.clients, false); err != nil {
		return err
	}
	for i, n := range l.nodes {
		err := l.join(end{n.host, clientsEnd, n.addr},
			end{l.clients, "to-" + n.host.Name, a.Client})
		if err != nil {
			return err
		}
		n.links = []string{clientsEnd, "to-" + l.nodes[1-i].host.Name}
	}
	nodeA, nodeB := l.nodes[0], l.nodes[1]
	err = l.join(end{nodeA.host, nodeA.links[1], nodeA.addr},
		end{nodeB.host, nodeB.links[1], nodeB.addr})
	if err != nil {
		return err
	}
	if o.Control {
		if err := l.addControl(); err != nil {
			return err
		}
	}
	return l.routeCluster(a)
}

// addControl makes the control plane's host and joins it to the clients and the nodes.
func (l *Lab) addControl() (err error) {
	if l.control, err = l.addHost("control"); err != nil {
		return err
	}
	if err := l.prepare(l.control, false); err != nil {
		return err
	}
	a := AddressesOfCluster()
	err = l.join(end{l.clients, controlEnd, a.Client}, end{l.control, clientsEnd, a.Control})
	if err != nil {
		return err
	}
	for _, n := range l.nodes {
		err := l.join(end{n.host, controlEnd, n.addr},
			end{l.control, "to-" + n.host.Name, a.Control})
		if err != nil {
			return err
		}
		n.links = append(n.links, controlEnd)
	}
	return nil
}

// routeNode adds the routes of a node that lead over its links.
func (l *Lab) routeNode(i int) error {
	there := l.nodes[1-i]
	a := AddressesOfCluster()
	return l.route(l.nodes[i].host,
		netlink.Route{Dst: ipNet(a.Sources), Gw: a.Client.AsSlice()},
		netlink.Route{Dst: ipNet(there.pods), Gw: there.addr.AsSlice()})
}

func (l *Lab) routeCluster(a ClusterAddresses) error {
	for i, n := range l.nodes {
		if err := l.routeNode(i); err != nil {
			return err
		}
		// Packets to an address without a pod are dropped silently: see RemovePod. A pod's own
		// route has a longer prefix and takes precedence.
		blackhole := netlink.Route{Dst: ipNet(n.pods), Type: unix.RTN_BLACKHOLE}
		if err := l.route(n.host, blackhole); err != nil {
			return err
		}
		toPods := netlink.Route{Dst: ipNet(n.pods), Gw: n.addr.AsSlice()}
		if err := l.route(l.clients, toPods); err != nil {
			return err
		}
	}
	// connect(2) looks a route up before any rule has translated the address, so there must be a
	// route to services; the route to the translated address is looked up later (ip_route_me_harder
	// in net/ipv4/netfilter.c). Like the default route of a node, this one leads over a link, to
	// node A, which drops untranslated packets. With a route over lo, a client would not be
	// notified when a rule rejects its packet: the source of the ICMP message would be the
	// service's address, which no host has (__icmp_send in net/ipv4/icmp.c, RTCF_LOCAL).
	err := l.route(l.nodes[0].host, netlink.Route{Dst: ipNet(a.Services), Type: unix.RTN_BLACKHOLE})
	if err != nil {
		return err
	}
	return l.route(l.clients, netlink.Route{
		Dst: ipNet(a.Services), Gw: l.nodes[0].addr.AsSlice(), Src: a.Client.AsSlice(),
	})
}

// prepare configures a host before it gets links. It disables IPv6, because the kernel would send
// router solicitations and multicast reports over every new link. It also sets whether the host
// forwards packets. Otherwise the host would inherit that setting from the machine
// (devinet_init_net in net/ipv4/devinet.c).
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

// join makes a veth pair between two hosts. Each end has the other's address as its peer address,
// which gives it a route to that address (ip-address(8)). When join returns, both ends are up and
// have static neighbour entries, and the thread is in a's namespace.
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
	return a.awaitCarrier()
}

// configure gives an end its address and the neighbour entry of its peer, and sets the link up. The
// thread must be in the end's namespace.
func (e end) configure(peer netip.Addr) error {
	link, err := netlink.LinkByName(e.link)
	if err != nil {
		return fmt.Errorf("link %s of %s: %w", e.link, e.host.Name, err)
	}
	addr := &netlink.Addr{
		IPNet: ipNet(netip.PrefixFrom(e.addr, 32)), Peer: ipNet(netip.PrefixFrom(peer, 32)),
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %v on %s of %s: %w", e.addr, e.link, e.host.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s of %s up: %w", e.link, e.host.Name, err)
	}
	return e.addNeighbour(link, peer)
}

// addNeighbour gives an end, which is up, the neighbour entry of its peer.
func (e end) addNeighbour(link netlink.Link, peer netip.Addr) error {
	neighbour := &netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: peer.AsSlice(), HardwareAddr: hardwareAddr(peer),
	}
	if err := netlink.NeighSet(neighbour); err != nil {
		return fmt.Errorf("neighbour %v on %s of %s: %w", peer, e.link, e.host.Name, err)
	}
	return nil
}

// restore sets an end up that was set down, and gives it its peer's neighbour entry. The thread
// must be in the end's namespace.
func (e end) restore() error {
	link, err := netlink.LinkByName(e.link)
	if err != nil {
		return fmt.Errorf("link %s of %s: %w", e.link, e.host.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s of %s up: %w", e.link, e.host.Name, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("link %s of %s: %w", e.link, e.host.Name, err)
	}
	if len(addrs) != 1 || addrs[0].Peer == nil {
		return fmt.Errorf("link %s of %s has the addresses %v, want one with a peer",
			e.link, e.host.Name, addrs)
	}
	peer, _ := netip.AddrFromSlice(addrs[0].Peer.IP)
	if err := e.addNeighbour(link, peer.Unmap()); err != nil {
		return err
	}
	return e.awaitCarrier()
}

// awaitCarrier makes the kernel notice at once that an end that was set up before its peer now has
// a carrier. Otherwise a work queue notices it later (net/core/link_watch.c), and the device's
// queueing discipline drops all packets until then: in 12 of 15 runs of 20 pods, a first SYN was
// lost. Querying the state of the link makes the kernel run that work (ethtool_op_get_link in
// net/ethtool/ioctl.c).
func (e end) awaitCarrier() error {
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
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL,
		uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("link %s of %s: ETHTOOL_GLINK: %w", e.link, e.host.Name, errno)
	}
	if state.up == 0 {
		return fmt.Errorf("link %s of %s: no carrier", e.link, e.host.Name)
	}
	return nil
}

// hardwareAddr returns the locally administered MAC address for an IP address. All devices with
// that IP address share it.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x00}, addr.AsSlice()...)
}

// route adds routes to a host.
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

// Node returns a node of a cluster: node A for 0, node B for 1. It panics for other indices. A pod
// on the host's network, in the sense of Kubernetes, runs directly on the node, at the node's
// address.
func (l *Lab) Node(i int) *Host { return l.nodes[i].host }

// Control returns the host of a control plane, or nil. It has links to the clients and the nodes.
func (l *Lab) Control() *Host { return l.control }

// AddPod adds a pod to a node: a network namespace with one link to the node. The pod gets the next
// unused address of the node's range; once all have been used, addresses are reused in order. When
// AddPod returns, the pod and every host can reach each other. The pod cannot reach services,
// because its node has no rules for them.
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
		return nil, fmt.Errorf("%s is down: add the pod to the other node", n.host.Name)
	}
	addr, ok := n.next(l.pods)
	if !ok {
		return nil, fmt.Errorf("%s: every address of %v has a pod: remove one first",
			n.host.Name, n.pods)
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
	toCluster := netlink.Route{Dst: ipNet(clusterRange), Gw: n.addr.AsSlice()}
	if err := l.route(p.Host, toCluster); err != nil {
		return err
	}
	// Leave the pod's namespace: a thread in it would keep the namespace after the pod is removed.
	return l.enter(n.host)
}

// AdoptPod returns a pod that others have made: the network and PID namespaces of the process with
// that PID, which must be alive. The pod is on that node and has that address already. Start starts
// processes in both namespaces; they end when the first process of the PID namespace does.
// RemovePod only closes the lab's descriptors of the namespaces.
func (l *Lab) AdoptPod(pid, node int, name string, addr netip.Addr) (*Pod, error) {
	p := &Pod{Host: &Host{Name: name}, Addr: addr, Node: node, adopted: true}
	err := l.call(func() (err error) {
		if _, err := l.node(node); err != nil {
			return err
		}
		if p.ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
			return err
		}
		if p.pids, err = os.Open(fmt.Sprintf("/proc/%d/ns/pid", pid)); err != nil {
			return errors.Join(err, p.ns.Close())
		}
		l.hosts = append(l.hosts, p.Host)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	return p, nil
}

func (l *Lab) node(i int) (*node, error) {
	if i < 0 || i >= len(l.nodes) {
		return nil, fmt.Errorf("no node %d: the lab has %d", i, len(l.nodes))
	}
	return l.nodes[i], nil
}

// next returns the first free address after the last one assigned, and false if all addresses are
// in use. The first and the last address of the range are never assigned.
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

// RemovePod removes a pod's link and route and closes the lab's descriptor of its namespace. The
// namespace remains, without a connection to other hosts, until its last process exits. Further
// calls do nothing.
//
// After RemovePod nothing answers for the pod: new connections time out, and packets of existing
// connections are dropped. Most clusters behave in this way. Calico, as here, has a blackhole route
// on each node for the node's range (projectcalico/felix issue 210): other hosts get no answer, and
// the node itself gets EINVAL (projectcalico/calico issue 13570). Cilium drops the packet as "Stale
// or unroutable IP" (cilium/cilium issue 13451), unless the option --enable-unreachable-routes, off
// by default, makes it answer with ICMP (cilium/cilium pull request 18505). With the plugins ptp
// and host-local the packet follows the node's default route, out of the cluster. Usually a pod's
// process exits before the pod's link is removed; between these events the pod's kernel refuses
// connections.
func (l *Lab) RemovePod(p *Pod) error {
	if err := l.call(func() error { return l.removePod(p) }); err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	return nil
}

func (l *Lab) removePod(p *Pod) error {
	if l.pods[p.Addr] != p && !p.adopted {
		return nil
	}
	n := l.nodes[p.Node]
	if err := l.enter(n.host); err != nil { // a thread in the namespace would keep it
		return err
	}
	if p.adopted {
		p.adopted = false
		return l.dropHost(p.Host)
	}
	link, err := netlink.LinkByName(p.link)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	// The link is missing if a process in the pod deleted its end.
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return fmt.Errorf("link %s of %s: %w", p.link, n.host.Name, err)
	}
	delete(l.pods, p.Addr)
	return l.dropHost(p.Host)
}

// NodeDown silences a node: no packets of the node or its pods get in or out, and no host
// is notified, as when a machine behind a router loses power. The node's processes keep running.
// (If the clients were on one network segment with the node, their kernel would find that this
// neighbour no longer answers and return EHOSTUNREACH; here it has static neighbour entries and
// never asks.) Further calls do nothing. NodeUp ends the silence.
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
		// Take the links down at the node's end. Taking them down at the other end would remove the
		// routes there, and connect(2) would fail at once. In this way the other end only loses its
		// carrier, which leaves the routes in force (net.ipv4.conf.*.ignore_routes_with_linkdown=0:
		// ip-sysctl.rst).
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

// NodeUp takes the links of a node that is down up again.
func (l *Lab) NodeUp(node int) error {
	return l.call(func() error {
		n, err := l.node(node)
		if err != nil || !n.down {
			return err
		}
		if err := l.enter(n.host); err != nil {
			return err
		}
		for _, name := range n.links {
			// The kernel has removed the neighbour entry and the routes over the link, but has kept
			// its address (neigh_ifdown in net/core/neighbour.c, fib_disable_ip in
			// net/ipv4/fib_frontend.c).
			if err := (end{host: n.host, link: name}).restore(); err != nil {
				return err
			}
		}
		n.down = false
		return l.routeNode(node)
	})
}

// removeDevices removes the devices of a host whose names have the prefix.
func removeDevices(prefix string) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	for _, link := range links {
		if !strings.HasPrefix(link.Attrs().Name, prefix) {
			continue
		}
		err := netlink.LinkDel(link)
		if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) &&
			!errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove link %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// RemoveDevices removes the devices of a host whose names begin with prefix: what a program that
// was killed has left there.
func (l *Lab) RemoveDevices(h *Host, prefix string) error {
	if err := l.Do(h, func() error { return removeDevices(prefix) }); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// FlushConntrack deletes all connections from the host's connection tracking. Otherwise an entry
// outlives the rule that created it: a new connection from the same address and port goes to the
// same pod as the last one, even if that pod is gone.
func (l *Lab) FlushConntrack(h *Host) error {
	err := l.Do(h, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("flush connection tracking in %s: %w", h.Name, err)
	}
	return nil
}

// Translations returns, from the host's connection tracking, the address that each IPv4 connection
// was translated to. The keys of the map are the clients' addresses and ports.
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

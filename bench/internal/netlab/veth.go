package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

// Addresses are the addresses of a lab's hosts. They are the same in every lab, since labs have
// separate networks.
type Addresses struct {
	Servers netip.Addr   // where workers listen
	Sources netip.Prefix // the range that the load sends from
}

// AddressesOf returns the addresses of a lab. IPv4 loopback has 127.0.0.0/8 by default; all other
// addresses are from the ranges reserved for benchmarking: 198.18.0.0/15 (RFC 2544) and 2001:2::/48
// (RFC 5180). In a cluster, which has no IPv6 addresses, Servers is node A; AddressesOfCluster
// returns the other addresses.
func AddressesOf(network vocabulary.Network, family vocabulary.Family) Addresses {
	switch {
	case family == vocabulary.IPv6 && network == vocabulary.NetworkCluster:
		return Addresses{}
	case network == vocabulary.NetworkCluster:
		a := AddressesOfCluster()
		return Addresses{a.Nodes[0], a.Sources}
	case family == vocabulary.IPv6 && network == vocabulary.NetworkLoopback:
		return Addresses{netip.IPv6Loopback(), netip.MustParsePrefix("2001:2:0:1::/64")}
	case family == vocabulary.IPv6:
		return Addresses{netip.MustParseAddr("2001:2::1"), netip.MustParsePrefix("2001:2:0:1::/64")}
	case network == vocabulary.NetworkLoopback:
		return Addresses{netip.MustParseAddr("127.0.0.1"), netip.MustParsePrefix("127.64.0.0/10")}
	}
	return Addresses{netip.MustParseAddr("198.18.0.1"), netip.MustParsePrefix("198.18.64.0/18")}
}

// The ends of the pair. The clients' end is the next hop on the servers' route to the sources.
var (
	clientIPv4 = netip.MustParsePrefix("198.18.0.2/30")
	serverIPv4 = netip.MustParsePrefix("198.18.0.1/30")
	clientIPv6 = netip.MustParsePrefix("2001:2::2/64")
	serverIPv6 = netip.MustParsePrefix("2001:2::1/64")
)

const (
	clientLink = "to-servers"
	serverLink = "to-clients"
)

// steerReceived makes devices that are added to the thread's network namespace after it spread
// received packets over the CPUs. It does nothing if cpus is empty, or before Linux 6.3, which
// introduced net.core.rps_default_mask.
func steerReceived(cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	// The mask is in words of 32 bits, the highest first, separated by commas
	// (bitmap_print_to_pagebuf in lib/bitmap-str.c).
	words := make([]uint32, slices.Max(cpus)/32+1)
	for _, c := range cpus {
		words[len(words)-1-c/32] |= 1 << (c % 32)
	}
	var mask []string
	for _, w := range words {
		mask = append(mask, fmt.Sprintf("%08x", w))
	}
	err := WriteSysctl("net.core.rps_default_mask", strings.Join(mask, ","))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// addClients makes a second network namespace for the clients and joins it to the first by a veth
// pair or by two TUN devices, so that every segment crosses a device. It runs on the lab's thread
// and leaves that thread in the servers' namespace.
func (l *Lab) addClients(delay Delay) error {
	var err error
	if l.clients, err = l.addHost("clients"); err != nil {
		return err
	}
	if !delay.Relayed {
		pair := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: clientLink},
			PeerName:      serverLink,
			PeerNamespace: netlink.NsFd(l.servers.ns.Fd()),
		}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("veth pair: %w; see 'doctor'", err)
		}
	}
	if err := l.addEnd(clientLink, delay, clientIPv4, clientIPv6); err != nil {
		return err
	}
	if err := l.enter(l.servers); err != nil {
		return err
	}
	if err := l.addEnd(serverLink, delay, serverIPv4, serverIPv6); err != nil {
		return err
	}
	// The routes back to the sources use the clients' own address as the next hop, so sources need
	// no neighbour entries.
	for _, via := range []struct {
		sources netip.Prefix
		gateway netip.Addr
	}{
		{AddressesOf(vocabulary.NetworkVeth, vocabulary.IPv4).Sources, clientIPv4.Addr()},
		{AddressesOf(vocabulary.NetworkVeth, vocabulary.IPv6).Sources, clientIPv6.Addr()},
	} {
		link, err := netlink.LinkByName(serverLink)
		if err != nil {
			return fmt.Errorf("link %s: %w", serverLink, err)
		}
		route := &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(via.sources), Gw: via.gateway.AsSlice(),
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route %v via %v: %w", via.sources, via.gateway, err)
		}
	}
	return nil
}

// addEnd configures one end of the link between clients and servers, in the thread's network
// namespace. With Delay.Relayed it also makes the end.
func (l *Lab) addEnd(name string, delay Delay, addrs ...netip.Prefix) error {
	if delay.Relayed {
		if err := l.addTUN(name); err != nil {
			return fmt.Errorf("%w; see 'doctor'", err)
		}
	}
	if err := configure(name, addrs...); err != nil {
		return err
	}
	if delay.Relayed || delay.OneWay == 0 {
		return nil
	}
	if err := AddNetem(name, delay.OneWay); err != nil {
		return fmt.Errorf("%w; see 'doctor'", err)
	}
	return nil
}

// addSources makes the whole range of sources local to the clients (an AnyIP route: ip-route(8),
// type local). IPv4 loopback addresses are local by default.
func (l *Lab) addSources(network vocabulary.Network) error {
	if err := l.enter(l.clients); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("link lo: %w", err)
	}
	var ranges []netip.Prefix
	if network != vocabulary.NetworkCluster {
		ranges = append(ranges, AddressesOf(network, vocabulary.IPv6).Sources)
	}
	if network != vocabulary.NetworkLoopback {
		ranges = append(ranges, AddressesOf(network, vocabulary.IPv4).Sources)
	}
	for _, sources := range ranges {
		route := &netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: ipNet(sources), Type: unix.RTN_LOCAL,
			Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
		}
		if err := netlink.RouteAdd(route); err != nil {
			if sources.Addr().Is6() && errors.Is(err, unix.EOPNOTSUPP) {
				continue // a kernel without IPv6; variants with IPv6 will fail to bind
			}
			return fmt.Errorf("local route %v: %w", sources, err)
		}
	}
	return nil
}

// configure gives a link its addresses and sets it up.
func configure(name string, addrs ...netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // no other host can have the address
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %v on %s: %w", a, name, err)
		}
	}
	// With duplicate address detection the link-local address would be tentative for a second,
	// during which neighbours cannot be resolved.
	err = WriteSysctl("net.ipv6.conf."+name+".accept_dad", "0")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}

// ipNet converts a prefix. It keeps the host bits, which an interface address needs; the prefix of
// a route has none.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

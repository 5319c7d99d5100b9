package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

func addPod(t *testing.T, l *Lab, node int, name string) *Pod {
	t.Helper()
	p, err := l.AddPod(t.Context(), node, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listenOn listens on a host's address. The kernel completes handshakes although no process
// accepts.
func listenOn(t *testing.T, l *Lab, h *Host, addr netip.Addr) *net.TCPListener {
	t.Helper()
	var listener net.Listener
	err := l.Do(h, func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(addr, 8080).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

// connect connects from a host within half a second and returns the time that this took. A zero
// source means any source.
func connect(l *Lab, from *Host, source, to netip.AddrPort) (took time.Duration, err error) {
	c, took, err := dial(l, from, source, to)
	if err == nil {
		err = c.Close()
	}
	return took, err
}

func dial(
	l *Lab, from *Host, source, to netip.AddrPort,
) (c net.Conn, took time.Duration, err error) {
	err = l.Do(from, func() (err error) {
		d := net.Dialer{Timeout: 500 * time.Millisecond}
		if source.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(source)
		}
		began := time.Now()
		c, err = d.Dial("tcp4", to.String())
		took = time.Since(began)
		return err
	})
	return c, took, err
}

var anySource netip.AddrPort

func port8080(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 8080) }

// accepted accepts a connection and returns its source.
func accepted(t *testing.T, l *net.TCPListener) netip.AddrPort {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.RemoteAddr().String())
}

// TestKernelAdoptPod checks that the lab reaches the network of a process that made it itself, and
// that RemovePod leaves no descriptor of it.
func TestKernelAdoptPod(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	owner := exec.Command("sleep", "60")
	owner.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := l.Start(l.Node(1), owner, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = owner.Process.Kill(), owner.Wait() }()
	addr := AddressesOfCluster().Pods[1].Addr().Next()
	p, err := l.AdoptPod(owner.Process.Pid, 1, "adopted", addr)
	if err != nil {
		t.Fatal(err)
	}
	var ns unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", owner.Process.Pid), &ns); err != nil {
		t.Fatal(err)
	}
	inode, err := p.Inode()
	if err != nil || uint64(inode) != ns.Ino || p.Addr != addr || p.Node != 1 {
		t.Errorf("pod %v on node %d in namespace %d, error %v; want %v on node 1 in namespace %d",
			p.Addr, p.Node, inode, err, addr, ns.Ino)
	}
	var links []netlink.Link
	err = l.Do(p.Host, func() (err error) { links, err = netlink.LinkList(); return err })
	if err != nil || len(links) != 1 {
		t.Errorf("%d links in the pod's network, error %v; want only lo", len(links), err)
	}
	for range 2 {
		if err := l.RemovePod(p); err != nil {
			t.Error(err)
		}
	}
	if err := l.Do(p.Host, func() error { return nil }); err == nil {
		t.Error("no error for a call in a removed pod")
	}
	// The node is still reachable: RemovePod closed no descriptor of another host.
	if err := l.Do(l.Node(1), func() error { return nil }); err != nil {
		t.Error(err)
	}
	const nobody = 1 << 22 // the greatest PID is less (PID_MAX_LIMIT in include/linux/threads.h)
	if _, err := l.AdoptPod(nobody, 0, "gone", addr); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a process: %v, want %v", err, fs.ErrNotExist)
	}
}

func TestKernelClusterReachesPods(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	sources := AddressesOfCluster().Sources
	for node := range 2 {
		p := addPod(t, l, node, fmt.Sprint("pod of ", l.Node(node).Name))
		if !AddressesOfCluster().Pods[node].Contains(p.Addr) {
			t.Errorf("%s has the address %v, outside its node's range", p.Name, p.Addr)
		}
		listener := listenOn(t, l, p.Host, p.Addr)
		// Any address of the range can be used, from the first to the last.
		for i, source := range []netip.Addr{
			sources.Addr().Next(), netip.MustParseAddr("198.18.100.7"),
			netip.MustParseAddr("198.18.127.254"),
		} {
			// Use another port for each node: TIME_WAIT blocks the port used before.
			from := netip.AddrPortFrom(source, uint16(12345+node))
			took, err := connect(l, l.Clients(), from, port8080(p.Addr))
			if err != nil {
				t.Fatalf("%s from %v: %v", p.Name, from, err)
			}
			if got := accepted(t, listener); got != from {
				t.Errorf("%s: the connection came from %v, want %v", p.Name, got, from)
			}
			t.Logf("%s, connection %d: %v", p.Name, i, took)
		}
	}
}

// TestKernelClusterReaches checks that every host can reach every other host, which sees the first
// host's own address.
func TestKernelClusterReaches(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	a := AddressesOfCluster()
	type place struct {
		host *Host
		addr netip.Addr
	}
	places := []place{{l.Clients(), a.Client}, {l.Node(0), a.Nodes[0]}, {l.Node(1), a.Nodes[1]}}
	for i := range 4 {
		p := addPod(t, l, i%2, fmt.Sprint("pod ", i))
		places = append(places, place{p.Host, p.Addr})
	}
	for _, to := range places {
		listener := listenOn(t, l, to.host, to.addr)
		for _, from := range places {
			if _, err := connect(l, from.host, anySource, port8080(to.addr)); err != nil {
				t.Errorf("%s → %s: %v", from.host.Name, to.host.Name, err)
				continue
			}
			if got := accepted(t, listener).Addr(); got != from.addr {
				t.Errorf("%s → %s: the connection came from %v, want %v",
					from.host.Name, to.host.Name, got, from.addr)
			}
		}
	}
}

// TestKernelClusterPodIsUp checks that no connection is delayed by a lost SYN, not even the first
// to a new pod. A lost SYN is repeated after a second; a limit of 500 ms distinguishes this from a
// slow machine.
func TestKernelClusterPodIsUp(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	var slowest, adding time.Duration
	const pods = 20
	for i := range pods {
		began := time.Now()
		p := addPod(t, l, i%2, fmt.Sprint("pod ", i))
		adding += time.Since(began)
		listenOn(t, l, p.Host, p.Addr)
		source := AddressesOfCluster().Sources.Addr().Next()
		from := netip.AddrPortFrom(source, uint16(20000+i))
		took, err := connect(l, l.Clients(), from, port8080(p.Addr))
		if err != nil {
			t.Errorf("%s: its first connection: %v", p.Name, err)
		}
		slowest = max(slowest, took)
	}
	t.Logf("%d pods added in %v; the slowest first connection took %v", pods, adding, slowest)
	if adding > 20*time.Second {
		t.Errorf("%d pods were added in %v, want at most 20s", pods, adding)
	}
	for _, h := range []*Host{l.Clients(), l.Node(0), l.Node(1)} {
		err := l.Do(h, func() error {
			all, err := netlink.NeighList(0, netlink.FAMILY_V4)
			for _, n := range all {
				if n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) == 0 {
					t.Errorf("%s resolved its neighbour %v, want a static entry", h.Name, n)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestKernelClusterRemovedPod(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	p := addPod(t, l, 0, "pod")
	neighbour, other := addPod(t, l, 0, "its neighbour"), addPod(t, l, 1, "another")
	listener := listenOn(t, l, p.Host, p.Addr)
	c, _, err := dial(l, l.Clients(), anySource, port8080(p.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := listener.Accept() // if it stayed queued, closing the listener would reset it
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	// While the pod exists but has no listener, the kernel refuses connections to its address.
	_, err = connect(l, l.Clients(), anySource, port8080(p.Addr))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("without a listener: %v, want %v", err, unix.ECONNREFUSED)
	}
	began := time.Now()
	if err := l.RemovePod(p); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed in %v", time.Since(began))
	checkSilence(t, c)
	for _, from := range []*Host{l.Clients(), l.Node(1), neighbour.Host, other.Host} {
		took, err := connect(l, from, anySource, port8080(p.Addr))
		if !isTimeout(err) {
			t.Errorf("%s → removed pod: %v after %v, want silence", from.Name, err, took)
		}
	}
	if _, err := connect(l, l.Node(0), anySource, port8080(p.Addr)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("its node → removed pod: %v, want %v", err, unix.EINVAL)
	}
	if err := l.RemovePod(p); err != nil {
		t.Errorf("second removal: %v", err)
	}
	if err := l.Do(p.Host, func() error { return nil }); err == nil {
		t.Error("no error for a call in a removed pod")
	}
	// The next pod has another address, and can be reached.
	next := addPod(t, l, 0, "next")
	if next.Addr == p.Addr {
		t.Errorf("the next pod has the same address %v", p.Addr)
	}
	listenOn(t, l, next.Host, next.Addr)
	if _, err := connect(l, l.Clients(), anySource, port8080(next.Addr)); err != nil {
		t.Error(err)
	}
}

// checkSilence checks that nothing answers a write on an established connection.
func checkSilence(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("still there?")); err != nil {
		t.Error(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("an established connection: %d bytes, %v, want silence", n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestKernelClusterPodMoves checks that a pod removed from one node can be added on the other, with
// the same name and another address.
func TestKernelClusterPodMoves(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	before := addPod(t, l, 0, "web")
	if err := l.RemovePod(before); err != nil {
		t.Fatal(err)
	}
	after := addPod(t, l, 1, "web")
	if after.Addr == before.Addr || after.Node != 1 {
		t.Errorf("moved from %v to %v on node %d, want another address on node 1",
			before.Addr, after.Addr, after.Node)
	}
	listenOn(t, l, after.Host, after.Addr)
	if _, err := connect(l, l.Clients(), anySource, port8080(after.Addr)); err != nil {
		t.Error(err)
	}
}

func TestKernelClusterNodeDown(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	lost, kept := addPod(t, l, 1, "lost"), addPod(t, l, 0, "kept")
	for _, p := range []*Pod{lost, kept} {
		listenOn(t, l, p.Host, p.Addr)
	}
	c, _, err := dial(l, l.Clients(), anySource, port8080(lost.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := l.NodeDown(1); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []*Host{l.Clients(), l.Node(0), kept.Host} {
		for _, to := range []netip.Addr{lost.Addr, AddressesOfCluster().Nodes[1]} {
			if took, err := connect(l, from, anySource, port8080(to)); !isTimeout(err) {
				t.Errorf("%s → %v: %v after %v, want silence", from.Name, to, err, took)
			}
		}
	}
	checkSilence(t, c)
	// No packet gets out of the node.
	listenOn(t, l, l.Clients(), AddressesOfCluster().Client)
	for _, from := range []*Host{l.Node(1), lost.Host} {
		_, err := connect(l, from, anySource, port8080(AddressesOfCluster().Client))
		if err == nil {
			t.Errorf("%s reaches the clients' host", from.Name)
		}
	}
	// The other node is unaffected.
	if _, err := connect(l, l.Clients(), anySource, port8080(kept.Addr)); err != nil {
		t.Error(err)
	}
	if _, err := l.AddPod(t.Context(), 1, "late"); err == nil {
		t.Error("no error for a new pod on a node that is down")
	}
	for range 2 {
		if err := l.NodeUp(1); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []*Host{l.Clients(), l.Node(0), kept.Host} {
		for _, to := range []netip.Addr{lost.Addr, AddressesOfCluster().Nodes[1]} {
			_, err := connect(l, from, anySource, port8080(to))
			if want := to != lost.Addr; errors.Is(err, unix.ECONNREFUSED) != want {
				t.Errorf("after NodeUp, %s → %v: %v", from.Name, to, err)
			}
		}
	}
	for _, from := range []*Host{l.Node(1), lost.Host} {
		_, err := connect(l, from, anySource, port8080(AddressesOfCluster().Client))
		if err != nil {
			t.Errorf("after NodeUp, %s → clients: %v", from.Name, err)
		}
	}
	if err := l.RemovePod(lost); err != nil {
		t.Error(err)
	}
}

// TestKernelClusterControl checks that the host of a control plane and the other hosts reach each
// other, and that a node that is down does not reach it.
func TestKernelClusterControl(t *testing.T) {
	l := newLabOf(t, Options{Network: vocabulary.NetworkCluster, Control: true})
	a := AddressesOfCluster()
	listenOn(t, l, l.Control(), a.Control)
	hosts := map[*Host]netip.Addr{
		l.Clients(): a.Client, l.Node(0): a.Nodes[0], l.Node(1): a.Nodes[1],
	}
	for h, addr := range hosts {
		if _, err := connect(l, h, anySource, port8080(a.Control)); err != nil {
			t.Errorf("%s → control: %v", h.Name, err)
		}
		listenOn(t, l, h, addr)
		if _, err := connect(l, l.Control(), anySource, port8080(addr)); err != nil {
			t.Errorf("control → %s: %v", h.Name, err)
		}
	}
	if err := l.NodeDown(0); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(l, l.Control(), anySource, port8080(a.Nodes[0])); !isTimeout(err) {
		t.Errorf("control → a node that is down: %v, want silence", err)
	}
	if err := l.NodeUp(0); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(l, l.Control(), anySource, port8080(a.Nodes[0])); err != nil {
		t.Errorf("control → a node that is up again: %v", err)
	}
}

func TestKernelClusterHasNoWayOut(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	p := addPod(t, l, 0, "pod")
	for _, h := range []*Host{l.Clients(), l.Node(0), l.Node(1), p.Host} {
		err := l.Do(h, func() error {
			// TEST-NET-1 is unassigned. A UDP connect only looks up this host's route.
			c, err := net.Dial("udp4", "192.0.2.1:9")
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		if !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("%s → 192.0.2.1: %v, want %v", h.Name, err, unix.ENETUNREACH)
		}
	}
	// The clients' host has a route to services, so that its rules can translate them. As long as
	// there are no rules, nothing answers.
	service := netip.MustParseAddr("198.19.0.10")
	if took, err := connect(l, l.Clients(), anySource, port8080(service)); !isTimeout(err) {
		t.Errorf("%s → %v: %v after %v, want silence", l.Clients().Name, service, err, took)
	}
	_, err := connect(l, p.Host, anySource, port8080(service))
	if !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("%s → %v: %v, want %v", p.Name, service, err, unix.ENETUNREACH)
	}
}

// TestKernelClusterService checks that a connection to a service's address is translated in the
// OUTPUT hook of the clients' host and keeps its source address. It also checks that new
// connections follow a new rule once the translation is deleted from connection tracking.
func TestKernelClusterService(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	service := netip.MustParseAddrPort("198.19.0.10:80")
	from := netip.MustParseAddrPort("198.18.64.9:23456")
	for node := range 2 {
		p := addPod(t, l, node, fmt.Sprint("pod ", node))
		listener := listenOn(t, l, p.Host, p.Addr)
		err := l.Do(l.Clients(), func() error { return translate(service, port8080(p.Addr)) })
		if err != nil {
			t.Fatal(err)
		}
		c, took, err := dial(l, l.Clients(), from, service)
		if err != nil {
			t.Fatalf("%s by %v: %v", p.Name, service, err)
		}
		if got := accepted(t, listener); got != from {
			t.Errorf("%s by %v: the connection came from %v, want %v", p.Name, service, got, from)
		}
		t.Logf("%s by %v: %v", p.Name, service, took)
		mss, err := segmentSize(c)
		if err != nil || mss > 1460 {
			t.Errorf("%s by %v: segments of %d bytes, want at most 1460; error %v",
				p.Name, service, mss, err)
		}
		if err := c.(*net.TCPConn).SetLinger(0); err != nil { // close by RST: no TIME_WAIT
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := tracked(t, l, from); got != 1 {
			t.Errorf("%d connections tracked from %v, want 1", got, from)
		}
		if err := l.FlushConntrack(l.Clients()); err != nil {
			t.Fatal(err)
		}
		if got := tracked(t, l, from); got != 0 {
			t.Errorf("%d connections tracked after the flush, want 0", got)
		}
	}
}

// TestKernelClusterRejects checks that a client gets an error when a rule on its host rejects its
// connection. For this, the ICMP message needs a route back from the service.
func TestKernelClusterRejects(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	service := netip.MustParseAddrPort("198.19.0.10:80")
	from := netip.MustParseAddrPort("198.18.64.9:23456")
	if err := l.Do(l.Clients(), rejectAll); err != nil {
		t.Fatal(err)
	}
	if _, took, err := dial(l, l.Clients(), from, service); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("error %v after %v, want %v", err, took, unix.ECONNREFUSED)
	}
}

// rejectAll adds a rule that answers all TCP segments that leave the namespace with an ICMP error.
func rejectAll() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Name: "test", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		// Port unreachable, the default of nft's "reject".
		&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3},
	}})
	return c.Flush()
}

// translate replaces all rules of the namespace by one rule that replaces the destination address
// from by to.
func translate(from, to netip.AddrPort) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.FlushRuleset()
	table := c.AddTable(&nftables.Table{Name: "test", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: from.Addr().AsSlice()},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(from.Port())},
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}})
	return c.Flush()
}

// segmentSize returns the maximum segment size that the client has advertised to the server.
func segmentSize(c net.Conn) (advertised int, err error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	err = errors.Join(err, raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil {
			advertised = int(info.Advmss)
		}
	}))
	return advertised, err
}

// tracked returns the number of connections from an address and port that the clients' host tracks.
func tracked(t *testing.T, l *Lab, from netip.AddrPort) (n int) {
	t.Helper()
	err := l.Do(l.Clients(), func() error {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, flow := range all {
			source := flow.Forward
			if source.SrcIP.Equal(from.Addr().AsSlice()) && source.SrcPort == from.Port() {
				n++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKernelClusterRefuses(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	for _, node := range []int{-1, 2} {
		if _, err := l.AddPod(t.Context(), node, "pod"); err == nil {
			t.Errorf("no error for a pod on node %d", node)
		}
		if err := l.NodeDown(node); err == nil {
			t.Errorf("no error for NodeDown(%d)", node)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.AddPod(ctx, 0, "pod"); !errors.Is(err, context.Canceled) {
		t.Errorf("AddPod with an ended context: %v, want %v", err, context.Canceled)
	}
	veth := newLab(t, vocabulary.NetworkVeth)
	if _, err := veth.AddPod(t.Context(), 0, "pod"); err == nil {
		t.Error("no error for a pod in a lab without a cluster")
	}
}

// TestKernelClusterCloseEndsPods starts one process in a pod, one in a removed pod and one on a
// node. It checks that Close leaves neither a process nor a namespace.
func TestKernelClusterCloseEndsPods(t *testing.T) {
	l := newLab(t, vocabulary.NetworkCluster)
	p, removed := addPod(t, l, 0, "pod"), addPod(t, l, 1, "removed")
	namespaces := map[uint32]string{}
	waited := make(chan error, 3)
	for _, h := range []*Host{p.Host, removed.Host, l.Node(1), l.Node(0), l.Clients()} {
		inode, err := h.Inode()
		if err != nil {
			t.Fatal(err)
		}
		namespaces[inode] = h.Name
	}
	if len(namespaces) != 5 {
		t.Errorf("the hosts' namespaces: %v, want 5", namespaces)
	}
	for _, h := range []*Host{p.Host, removed.Host, l.Node(1)} {
		c := exec.Command("sh", "-c", "echo started; exec sleep 60")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(h, c, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
		go func() { waited <- c.Wait() }()
	}
	if err := l.RemovePod(removed); err != nil {
		t.Fatal(err)
	}
	if held := holders(t, namespaces); len(held) < 5 {
		t.Errorf("namespaces held before Close: %v, want all five", held)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case <-waited:
		case <-time.After(2 * time.Second):
			t.Fatal("a process still exists 2 s after Close")
		}
	}
	if held := holders(t, namespaces); len(held) > 0 {
		t.Errorf("namespaces held after Close: %v, want none", held)
	}
	if _, err := l.AddPod(t.Context(), 0, "late"); err == nil {
		t.Error("no error for a new pod in a closed lab")
	}
}

// holders returns those of the given namespaces that a thread of the machine is in or that this
// process has a descriptor of. In /proc, both appear as links to net:[inode].
func holders(t *testing.T, namespaces map[uint32]string) map[string]bool {
	t.Helper()
	held := map[string]bool{}
	for _, pattern := range []string{"/proc/[0-9]*/task/[0-9]*/ns/net", "/proc/self/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			var inode uint32
			to, err := os.Readlink(link)
			if err != nil || !strings.HasPrefix(to, "net:[") { // gone, or cannot be read
				continue
			}
			if _, err := fmt.Sscanf(to, "net:[%d]", &inode); err != nil {
				t.Fatalf("%s: %v", to, err)
			}
			if name, ok := namespaces[inode]; ok {
				held[name] = true
			}
		}
	}
	return held
}

package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
)

func probeVeth() Result {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}, PeerName: "probe1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return no("veth pair: "+err.Error(), moduleHint(err, "veth"))
	}
	if err := netlink.LinkDel(pair); err != nil {
		return no("veth pair: remove: "+err.Error(), "")
	}
	return yes("made a pair and removed it")
}

func probeNetem() Result {
	if err := netlab.AddNetem("lo", time.Millisecond); err != nil {
		return no(err.Error(), moduleHint(err, "sch_netem"))
	}
	return yes("delayed packets on lo")
}

func probeTUN() Result {
	device, err := netlab.OpenTUN("probe0")
	var refused *netlab.Refusal
	switch {
	case errors.As(err, &refused):
		return no("open /dev/net/tun: "+refused.Err.Error(), refused.Hint)
	case err != nil:
		return no(err.Error(), "")
	}
	if err := device.Close(); err != nil {
		return no("TUN device: remove: "+err.Error(), "")
	}
	return yes("made a device and removed it")
}

// moduleHint returns a hint to load the modules if err means that the kernel lacks a feature, and
// otherwise "".
func moduleHint(err error, modules string) string {
	for _, unknown := range []error{
		unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOENT, unix.ENODEV,
	} {
		if errors.Is(err, unknown) {
			return "as root: modprobe -a " + modules +
				"; a kernel without these modules cannot do it"
		}
	}
	return ""
}

func probeNFTables() Result {
	connection, err := nftables.New()
	if err != nil {
		return no("netlink: "+err.Error(), moduleHint(err, "nf_tables"))
	}
	table := connection.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyIPv4})
	if err := connection.Flush(); err != nil {
		return no("add table: "+err.Error(), moduleHint(err, "nf_tables"))
	}
	connection.DelTable(table)
	if err := connection.Flush(); err != nil {
		return no("delete table: "+err.Error(), "")
	}
	return yes("added a table and deleted it")
}

// probeConntrack tests what a Service needs: it rewrites the destination of a connection and finds
// the connection's conntrack entry.
func probeConntrack() Result {
	const modules = "nft_nat nft_chain_nat nf_conntrack_netlink"
	var s loopback.Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		return unknown(err.Error(), "")
	}
	front := netip.AddrPortFrom(s.Address.Addr().Next(), s.Address.Port()) // nothing listens
	if err := addDNAT(front, s.Address); err != nil {
		return no("NAT rule: "+err.Error(), moduleHint(err, modules))
	}
	if _, err := s.Connect(1, front); err != nil {
		return no("through the NAT rule: "+err.Error(), "")
	}
	accepted, err := s.Accept(1, listener)
	if err != nil || len(accepted[0]) != 1 {
		return no(fmt.Sprintf("a connection through the NAT rule did not arrive (%v)", err), "")
	}
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		return no("list conntrack entries: "+err.Error(), moduleHint(err, modules))
	}
	for _, flow := range flows {
		to := flow.Forward
		if to.DstIP.Equal(front.Addr().AsSlice()) && to.DstPort == front.Port() {
			return yes("a connection through a NAT rule left its conntrack entry")
		}
	}
	return no(fmt.Sprintf("none of %d conntrack entries is the connection's", len(flows)), "")
}

// addDNAT adds a rule to the calling thread's network namespace that changes the destination of
// local connections from front to back.
func addDNAT(front, back netip.AddrPort) error {
	connection, err := nftables.New()
	if err != nil {
		return err
	}
	table := connection.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyIPv4})
	chain := connection.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	const register, second = 1, 2
	frontPort := binary.BigEndian.AppendUint16(nil, front.Port())
	backPort := binary.BigEndian.AppendUint16(nil, back.Port())
	const ip, tcp = expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	connection.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
		// destination address
		&expr.Payload{DestRegister: register, Base: ip, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: front.Addr().AsSlice()},
		// destination port
		&expr.Payload{DestRegister: register, Base: tcp, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: frontPort},
		&expr.Immediate{Register: register, Data: back.Addr().AsSlice()},
		&expr.Immediate{Register: second, Data: backPort},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4,
			RegAddrMin: register, RegProtoMin: second,
		},
	}})
	return connection.Flush()
}

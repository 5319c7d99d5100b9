package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Filter is an nftables rule for the next n connections to the servers. Release removes it.
type Filter struct {
	conn  *nftables.Conn
	table *nftables.Table
	hit   *nftables.Set
	ipv6  bool
}

// The first register that the rules use. nftables has sixteen of 32 bits, from NFT_REG32_00
// (linux/netfilter/nf_tables.h).
const firstRegister = unix.NFT_REG32_00

// HoldHandshakes delays the handshakes of the next n connections: on the clients' host it drops
// every segment of these connections after the SYN, so that they stay half-open at the server
// (TCP_NEW_SYN_RECV). After Release a handshake continues when the client sends again, about 200 ms
// later. HoldHandshakes needs CAP_NET_ADMIN. A lab can have only one Filter at a time.
func (l *Lab) HoldHandshakes(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Clients(), nftables.ChainHookOutput, target, n, noSYN,
		&expr.Verdict{Kind: expr.VerdictDrop})
}

// DropSYNs drops all segments of the next n connections on the servers' host, from their SYNs on.
func (l *Lab) DropSYNs(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Servers(), nftables.ChainHookInput, target, n, anySegment,
		&expr.Verdict{Kind: expr.VerdictDrop})
}

// RejectSYNs answers the SYNs of the next n connections with a RST, on the servers' host.
func (l *Lab) RejectSYNs(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Servers(), nftables.ChainHookInput, target, n, anySegment,
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

// filter installs a filter on a host. The filter's verdict applies to the given segments of the
// next n connections.
func (l *Lab) filter(
	host *Host, hook *nftables.ChainHook, target netip.AddrPort, n int, segments segment,
	verdict expr.Any,
) (*Filter, error) {
	f := &Filter{ipv6: target.Addr().Is6()}
	err := l.Do(host, func() (err error) {
		// The socket stays in the namespace in which it is opened, whatever thread uses it.
		if f.conn, err = nftables.New(nftables.AsLasting()); err != nil {
			return err
		}
		return f.install(hook, target, n, segments, verdict)
	})
	if err != nil {
		if f.conn != nil {
			err = errors.Join(err, f.conn.CloseLasting())
		}
		return nil, fmt.Errorf("nftables: %w; see 'doctor'", err)
	}
	return f, nil
}

func (f *Filter) install(
	hook *nftables.ChainHook, target netip.AddrPort, n int, segments segment, verdict expr.Any,
) error {
	address := nftables.TypeIPAddr
	if f.ipv6 {
		address = nftables.TypeIP6Addr
	}
	f.table = f.conn.AddTable(&nftables.Table{
		Name: "reuseport-bench", Family: nftables.TableFamilyINet,
	})
	f.hit = &nftables.Set{
		Table: f.table, Name: "hit", Dynamic: true, Concatenation: true, Size: uint32(n),
		KeyType: nftables.MustConcatSetType(address, nftables.TypeInetService),
	}
	if err := f.conn.AddSet(f.hit, nil); err != nil {
		return err
	}
	chain := f.conn.AddChain(&nftables.Chain{
		Name: "filter", Table: f.table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	// Add the source of each SYN to the set, up to n sources. Adding to a full set fails, and the
	// rule then has no effect.
	f.conn.AddRule(&nftables.Rule{
		Table: f.table, Chain: chain, Exprs: append(f.match(target, syn), &expr.Dynset{
			SrcRegKey: firstRegister, SetName: f.hit.Name, SetID: f.hit.ID,
			Operation: uint32(unix.NFT_DYNSET_OP_ADD),
		}),
	})
	// The verdict applies to segments from a source in the set.
	f.conn.AddRule(&nftables.Rule{
		Table: f.table, Chain: chain, Exprs: append(f.match(target, segments), &expr.Lookup{
			SourceRegister: firstRegister, SetName: f.hit.Name, SetID: f.hit.ID,
		}, verdict),
	})
	return f.conn.Flush()
}

// segment is the kind of segments that a rule matches.
type segment int

const (
	anySegment segment = iota
	syn                // segments that open a connection
	noSYN              // all other segments
)

// match returns expressions that match the given segments to the target and load the segments'
// source address and port into the registers.
func (f *Filter) match(target netip.AddrPort, which segment) []expr.Any {
	version, at, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(4)
	if f.ipv6 {
		version, at, size = unix.NFPROTO_IPV6, 8, 16
	}
	r := uint32(firstRegister)
	const network, transport = expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	compare := func(op expr.CmpOp, data []byte) expr.Any {
		return &expr.Cmp{Op: op, Register: r, Data: data}
	}
	all := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: r},
		compare(expr.CmpOpEq, []byte{version}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r},
		compare(expr.CmpOpEq, []byte{unix.IPPROTO_TCP}),
		// In IPv4 and IPv6, the destination address follows the source address.
		&expr.Payload{DestRegister: r, Base: network, Offset: at + size, Len: size},
		compare(expr.CmpOpEq, target.Addr().AsSlice()),
		&expr.Payload{DestRegister: r, Base: transport, Offset: 2, Len: 2},
		compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(target.Port())),
	}
	if which != anySegment {
		op := expr.CmpOpEq
		if which == noSYN {
			op = expr.CmpOpNeq
		}
		all = append(all,
			// Byte 13 has the flags (RFC 9293, section 3.1): SYN without ACK.
			&expr.Payload{DestRegister: r, Base: transport, Offset: 13, Len: 1},
			&expr.Bitwise{
				SourceRegister: r, DestRegister: r, Len: 1, Mask: []byte{0x12}, Xor: []byte{0},
			},
			compare(op, []byte{0x02}))
	}
	return append(all,
		&expr.Payload{DestRegister: r, Base: network, Offset: at, Len: size},
		&expr.Payload{DestRegister: r + size/4, Base: transport, Offset: 0, Len: 2})
}

// Hit returns the sources of the connections to which the filter has applied so far.
func (f *Filter) Hit() ([]netip.AddrPort, error) {
	elements, err := f.conn.GetSetElements(f.hit)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	var all []netip.AddrPort
	// A set that grows while it is listed may return an element twice.
	listed := map[netip.AddrPort]bool{}
	for _, e := range elements {
		size := 4
		if f.ipv6 {
			size = 16
		}
		addr, ok := netip.AddrFromSlice(e.Key[:min(size, len(e.Key))])
		if !ok || len(e.Key) < size+2 {
			return nil, fmt.Errorf("nftables: set element of %d bytes: want %d or more",
				len(e.Key), size+2)
		}
		source := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(e.Key[size:]))
		if !listed[source] {
			listed[source] = true
			all = append(all, source)
		}
	}
	return all, nil
}

// Release removes the filter.
func (f *Filter) Release() error {
	f.conn.DelTable(f.table)
	err := errors.Join(f.conn.Flush(), f.conn.CloseLasting())
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

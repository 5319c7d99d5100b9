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

// A Filter is an nftables rule about the next n connections to the servers. Release takes it away.
type Filter struct {
	conn  *nftables.Conn
	table *nftables.Table
	hit   *nftables.Set
	ipv6  bool
}

// The registers that the rules use: nftables has sixteen of 32 bits, from NFT_REG32_00 on
// (linux/netfilter/nf_tables.h).
const firstRegister = unix.NFT_REG32_00

// HoldHandshakes begins to hold up handshakes, on the clients' host: nothing that the clients of
// the next n connections say after their SYN gets out, so that at the server they stay half-open
// (TCP_NEW_SYN_RECV). Once released, they go on when the client sends again, 200 ms later or so. It
// takes CAP_NET_ADMIN, and one Filter per lab at a time.
func (l *Lab) HoldHandshakes(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Clients(), nftables.ChainHookOutput, target, n, true, &expr.Verdict{Kind: expr.VerdictDrop})
}

// DropSYNs begins to drop what comes from the next n connections, on the servers' host, their SYNs
// to begin with.
func (l *Lab) DropSYNs(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Servers(), nftables.ChainHookInput, target, n, false, &expr.Verdict{Kind: expr.VerdictDrop})
}

// RejectSYNs begins to answer the SYNs of the next n connections by a RST, on the servers' host.
func (l *Lab) RejectSYNs(target netip.AddrPort, n int) (*Filter, error) {
	return l.filter(l.Servers(), nftables.ChainHookInput, target, n, false, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

func (l *Lab) filter(host *Host, hook *nftables.ChainHook, target netip.AddrPort, n int, afterSYN bool, verdict expr.Any) (*Filter, error) {
	f := &Filter{ipv6: target.Addr().Is6()}
	err := l.Do(host, func() (err error) {
		// The socket stays in the namespace that it is opened in, whoever uses it.
		if f.conn, err = nftables.New(nftables.AsLasting()); err != nil {
			return err
		}
		return f.install(hook, target, n, afterSYN, verdict)
	})
	if err != nil {
		if f.conn != nil {
			err = errors.Join(err, f.conn.CloseLasting())
		}
		return nil, fmt.Errorf("nftables: %w; see 'doctor'", err)
	}
	return f, nil
}

func (f *Filter) install(hook *nftables.ChainHook, target netip.AddrPort, n int, afterSYN bool, verdict expr.Any) error {
	address := nftables.TypeIPAddr
	if f.ipv6 {
		address = nftables.TypeIP6Addr
	}
	f.table = f.conn.AddTable(&nftables.Table{Name: "reuseport-bench", Family: nftables.TableFamilyINet})
	f.hit = &nftables.Set{
		Table: f.table, Name: "hit", Dynamic: true, Concatenation: true, Size: uint32(n),
		KeyType: nftables.MustConcatSetType(address, nftables.TypeInetService),
	}
	if err := f.conn.AddSet(f.hit, nil); err != nil {
		return err
	}
	chain := f.conn.AddChain(&nftables.Chain{
		Name: "filter", Table: f.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	// A SYN is remembered, while there is room: a full set takes no more, and the rule is passed
	// over.
	f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: append(f.match(target, syn),
		&expr.Dynset{SrcRegKey: firstRegister, SetName: f.hit.Name, SetID: f.hit.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD)})})
	// What comes from those who are remembered meets the verdict.
	from := anySegment
	if afterSYN {
		from = noSYN
	}
	f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: append(f.match(target, from),
		&expr.Lookup{SourceRegister: firstRegister, SetName: f.hit.Name, SetID: f.hit.ID}, verdict)})
	return f.conn.Flush()
}

// segment says which segments a rule is about.
type segment int

const (
	anySegment segment = iota
	syn                // that open a connection
	noSYN
)

// match is such a segment to the target, and leaves where it comes from in the registers.
func (f *Filter) match(target netip.AddrPort, which segment) []expr.Any {
	version, at, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(4)
	if f.ipv6 {
		version, at, size = unix.NFPROTO_IPV6, 8, 16
	}
	r := uint32(firstRegister)
	compare := func(op expr.CmpOp, data []byte) expr.Any { return &expr.Cmp{Op: op, Register: r, Data: data} }
	all := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: r}, compare(expr.CmpOpEq, []byte{version}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r}, compare(expr.CmpOpEq, []byte{unix.IPPROTO_TCP}),
		// The destination's address follows the source's, in either version.
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: at + size, Len: size},
		compare(expr.CmpOpEq, target.Addr().AsSlice()),
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(target.Port())),
	}
	if which != anySegment {
		op := expr.CmpOpEq
		if which == noSYN {
			op = expr.CmpOpNeq
		}
		all = append(all,
			// The flags are in byte 13 (RFC 9293, section 3.1): SYN without ACK.
			&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: r, DestRegister: r, Len: 1, Mask: []byte{0x12}, Xor: []byte{0}},
			compare(op, []byte{0x02}))
	}
	return append(all,
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: size},
		&expr.Payload{DestRegister: r + size/4, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2})
}

// Hit are the sources of the connections that the filter has met so far.
func (f *Filter) Hit() ([]netip.AddrPort, error) {
	elements, err := f.conn.GetSetElements(f.hit)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	var all []netip.AddrPort
	listed := map[netip.AddrPort]bool{} // a table that grows while it is listed may give an element twice
	for _, e := range elements {
		size := 4
		if f.ipv6 {
			size = 16
		}
		addr, ok := netip.AddrFromSlice(e.Key[:min(size, len(e.Key))])
		if !ok || len(e.Key) < size+2 {
			return nil, fmt.Errorf("nftables: an element of %d bytes", len(e.Key))
		}
		if source := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(e.Key[size:])); !listed[source] {
			listed[source] = true
			all = append(all, source)
		}
	}
	return all, nil
}

// Release takes the filter away.
func (f *Filter) Release() error {
	f.conn.DelTable(f.table)
	err := errors.Join(f.conn.Flush(), f.conn.CloseLasting())
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

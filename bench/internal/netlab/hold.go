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

// A Hold holds up handshakes: of some connections that are begun while it lasts, nothing that the client says after
// its SYN gets out, so that at the server they stay half-open (TCP_NEW_SYN_RECV). Once released, they go on when the client
// sends again, 200 ms later or so. Release ends it.
type Hold struct {
	conn  *nftables.Conn
	table *nftables.Table
	held  *nftables.Set
	ipv6  bool
}

// The registers that the rules use: nftables has sixteen of 32 bits, from NFT_REG32_00 on (linux/netfilter/nf_tables.h).
const firstRegister = unix.NFT_REG32_00

// HoldHandshakes begins to hold up the handshakes of the next n connections to an address, by an nftables rule on the
// clients' host. It takes CAP_NET_ADMIN, and one Hold per lab at a time.
func (l *Lab) HoldHandshakes(target netip.AddrPort, n int) (*Hold, error) {
	h := &Hold{ipv6: target.Addr().Is6()}
	err := l.Do(l.Clients(), func() (err error) {
		// The socket stays in the namespace that it is opened in, whoever uses it.
		if h.conn, err = nftables.New(nftables.AsLasting()); err != nil {
			return err
		}
		return h.install(target, n)
	})
	if err != nil {
		if h.conn != nil {
			err = errors.Join(err, h.conn.CloseLasting())
		}
		return nil, fmt.Errorf("hold up handshakes: nftables: %w; see 'doctor'", err)
	}
	return h, nil
}

func (h *Hold) install(target netip.AddrPort, n int) error {
	address := nftables.TypeIPAddr
	if h.ipv6 {
		address = nftables.TypeIP6Addr
	}
	h.table = h.conn.AddTable(&nftables.Table{Name: "reuseport-bench-hold", Family: nftables.TableFamilyINet})
	h.held = &nftables.Set{
		Table: h.table, Name: "held", Dynamic: true, Concatenation: true, Size: uint32(n),
		KeyType: nftables.MustConcatSetType(address, nftables.TypeInetService),
	}
	if err := h.conn.AddSet(h.held, nil); err != nil {
		return err
	}
	chain := h.conn.AddChain(&nftables.Chain{
		Name: "output", Table: h.table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	// A SYN is remembered, while there is room: a full set takes no more, and the rule is passed over.
	h.conn.AddRule(&nftables.Rule{Table: h.table, Chain: chain, Exprs: append(h.match(target, true),
		&expr.Dynset{SrcRegKey: firstRegister, SetName: h.held.Name, SetID: h.held.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD)})})
	// Whatever else comes from those who are remembered is dropped.
	h.conn.AddRule(&nftables.Rule{Table: h.table, Chain: chain, Exprs: append(h.match(target, false),
		&expr.Lookup{SourceRegister: firstRegister, SetName: h.held.Name, SetID: h.held.ID},
		&expr.Verdict{Kind: expr.VerdictDrop})})
	return h.conn.Flush()
}

// match is a segment to the target that is a SYN, or is not, and leaves where it comes from in the registers.
func (h *Hold) match(target netip.AddrPort, syn bool) []expr.Any {
	version, at, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(4)
	if h.ipv6 {
		version, at, size = unix.NFPROTO_IPV6, 8, 16
	}
	op := expr.CmpOpEq
	if !syn {
		op = expr.CmpOpNeq
	}
	r := uint32(firstRegister)
	compare := func(op expr.CmpOp, data []byte) expr.Any { return &expr.Cmp{Op: op, Register: r, Data: data} }
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: r}, compare(expr.CmpOpEq, []byte{version}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r}, compare(expr.CmpOpEq, []byte{unix.IPPROTO_TCP}),
		// The destination's address follows the source's, in either version.
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: at + size, Len: size},
		compare(expr.CmpOpEq, target.Addr().AsSlice()),
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(target.Port())),
		// The flags are in byte 13 (RFC 9293, section 3.1): SYN without ACK.
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: r, DestRegister: r, Len: 1, Mask: []byte{0x12}, Xor: []byte{0}},
		compare(op, []byte{0x02}),
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: size},
		&expr.Payload{DestRegister: r + size/4, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
	}
}

// Held are the sources of the connections that are held up so far.
func (h *Hold) Held() ([]netip.AddrPort, error) {
	elements, err := h.conn.GetSetElements(h.held)
	if err != nil {
		return nil, fmt.Errorf("hold up handshakes: nftables: %w", err)
	}
	var all []netip.AddrPort
	listed := map[netip.AddrPort]bool{} // a table that grows while it is listed may give an element twice
	for _, e := range elements {
		size := 4
		if h.ipv6 {
			size = 16
		}
		addr, ok := netip.AddrFromSlice(e.Key[:min(size, len(e.Key))])
		if !ok || len(e.Key) < size+2 {
			return nil, fmt.Errorf("hold up handshakes: nftables: an element of %d bytes", len(e.Key))
		}
		if source := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(e.Key[size:])); !listed[source] {
			listed[source] = true
			all = append(all, source)
		}
	}
	return all, nil
}

// Release lets the connections go on.
func (h *Hold) Release() error {
	h.conn.DelTable(h.table)
	err := errors.Join(h.conn.Flush(), h.conn.CloseLasting())
	if err != nil {
		return fmt.Errorf("hold up handshakes: nftables: %w", err)
	}
	return nil
}

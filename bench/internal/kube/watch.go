package kube

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

// A RulesWatch watches the rules that a kube-proxy programs on a host. The kube-proxy is in
// nftables mode, or in iptables mode with an iptables that writes to nftables (iptables-nft). The
// watch needs no help from it: the kernel announces each commit, and shows the rules in force.
type RulesWatch struct {
	node    string
	emit    func(Event)
	commits *commits
	rules   *nftables.Conn
	queries *netlink.Conn
	reached map[netip.AddrPort]bool // the addresses that services lead to

	close   sync.Once
	closing chan struct{}
	ended   chan struct{}
	err     error // set before ended is closed
}

// WatchRules watches the tables kube-proxy and nat of a host of the lab. They need not exist. emit
// is called for each of these events:
//
//   - RulesCommitted: a commit changed one of the tables.
//   - EndpointAdded, EndpointRemoved: since that commit, services lead to the Address, or no longer
//     do. Event.Pod and Event.Service are empty.
//
// All have the instant at which the kernel announced the commit. WatchRules itself emits
// EndpointAdded for each address that services lead to at the start, with the present instant.
// Later events are emitted by a goroutine of the watch. emit must not call Close.
//
// WatchRules needs CAP_NET_ADMIN in the host's network namespace. The caller closes the RulesWatch
// before the lab.
func WatchRules(
	lab *netlab.Lab, host *netlab.Host, clk *clock.Clock, emit func(Event),
) (*RulesWatch, error) {
	w := &RulesWatch{
		node: host.Name, emit: emit, closing: make(chan struct{}), ended: make(chan struct{}),
	}
	// A socket keeps the network namespace in which it was made.
	err := lab.Do(host, func() (err error) {
		if w.commits, err = watchCommits(clk); err != nil {
			return err
		}
		if w.queries, err = netlink.Dial(unix.NETLINK_NETFILTER, nil); err != nil {
			return err
		}
		w.rules, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err == nil {
		err = w.update(commit{at: clk.Now()})
	}
	if err != nil {
		close(w.ended)
		return nil, errors.Join(fmt.Errorf("watch the rules of %s: %w", host.Name, err), w.Close())
	}
	go func() {
		defer close(w.ended)
		w.err = w.run()
	}()
	return w, nil
}

// Close stops the watch. It returns the error that ended the watch earlier, if any. Further calls
// do nothing.
func (w *RulesWatch) Close() (err error) {
	w.close.Do(func() {
		close(w.closing)
		<-w.ended
		err = w.err
		if w.commits != nil {
			err = errors.Join(err, w.commits.Close())
		}
		if w.queries != nil {
			err = errors.Join(err, w.queries.Close())
		}
		if w.rules != nil {
			err = errors.Join(err, w.rules.CloseLasting())
		}
	})
	return err
}

func (w *RulesWatch) run() error {
	for {
		select {
		case <-w.commits.seen:
			for _, one := range w.commits.take() {
				if one.ours {
					w.emit(Event{At: one.at, Kind: RulesCommitted, Node: w.node})
				}
				if err := w.update(one); err != nil {
					return fmt.Errorf("watch the rules of %s: %w", w.node, err)
				}
			}
		case <-w.commits.done:
			return fmt.Errorf("watch the rules of %s: %w", w.node, w.commits.err)
		case <-w.closing:
			return nil
		}
	}
}

// update reads the rules and emits events for what has changed since the last call. It does nothing
// if they are no longer those of the commit, because the announcement of the later commit follows.
func (w *RulesWatch) update(one commit) error {
	reached, generation, err := w.read()
	if err != nil || one.generation != 0 && generation != one.generation {
		return err
	}
	emit := func(kind EventKind, in, from map[netip.AddrPort]bool) {
		for _, a := range slices.SortedFunc(maps.Keys(in), netip.AddrPort.Compare) {
			if !from[a] {
				w.emit(Event{At: one.at, Kind: kind, Node: w.node, Address: a})
			}
		}
	}
	emit(EndpointRemoved, w.reached, reached)
	emit(EndpointAdded, reached, w.reached)
	w.reached = reached
	return nil
}

// read returns the addresses that services lead to, and the generation of these rules. It starts
// again if another commit comes between.
func (w *RulesWatch) read() (map[netip.AddrPort]bool, uint32, error) {
	for {
		before, err := w.generation()
		if err != nil {
			return nil, 0, err
		}
		reached, failed := w.follow()
		after, err := w.generation()
		if err != nil {
			return nil, 0, err
		}
		if before == after {
			return reached, after, failed
		}
	}
}

// generation returns the generation of the rules in force.
func (w *RulesWatch) generation() (uint32, error) {
	replies, err := w.queries.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN,
			Flags: netlink.Request,
		},
		Data: make([]byte, 4), // struct nfgenmsg
	})
	if err != nil {
		return 0, fmt.Errorf("generation of the rules: %w", err)
	}
	if len(replies) != 1 || replies[0].Header.Type != newGeneration {
		return 0, fmt.Errorf("generation of the rules: the kernel answered %v", replies)
	}
	return generationOf(replies[0]), nil
}

// A chain is a chain of nftables.
type chain struct {
	table, name string
}

// The table and the chain in which kube-proxy's iptables mode looks for the destinations of
// services (kubernetes, pkg/proxy/iptables/proxier.go).
const (
	natTableName     = "nat"
	natServicesChain = "KUBE-SERVICES"
)

// follow returns the destinations of DNAT in the chains of services and in all chains that they
// lead to. It does not depend on the names of these chains, or on how kube-proxy distributes
// connections.
func (w *RulesWatch) follow() (map[netip.AddrPort]bool, error) {
	reached := map[netip.AddrPort]bool{}
	queue := []chain{{tableName, servicesChain}, {natTableName, natServicesChain}}
	known := map[chain]bool{queue[0]: true, queue[1]: true}
	for ; len(queue) > 0; queue = queue[1:] {
		in := queue[0]
		rules, err := w.rules.GetRules(table(in.table), &nftables.Chain{Name: in.name})
		if err != nil {
			return nil, fmt.Errorf("rules of chain %s: %w", in.name, err)
		}
		for _, r := range rules {
			if to, ok := destination(r); ok {
				reached[to] = true
			}
			names, err := w.next(in.table, r)
			if err != nil {
				return nil, fmt.Errorf("chain %s: %w", in.name, err)
			}
			for _, name := range names {
				if next := (chain{in.table, name}); !known[next] {
					known[next] = true
					queue = append(queue, next)
				}
			}
		}
	}
	return reached, nil
}

func table(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4}
}

// destination returns the address and port to which the rule sends connections by DNAT, if it does.
// iptables-nft writes DNAT as an extension of iptables (xt_nat), in its revision 2.
func destination(r *nftables.Rule) (to netip.AddrPort, ok bool) {
	registers := map[uint32][]byte{}
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Immediate:
			registers[e.Register] = e.Data
		case *expr.NAT:
			addr, valid := netip.AddrFromSlice(registers[e.RegAddrMin])
			port := registers[e.RegProtoMin]
			if e.Type == expr.NATTypeDestNAT && valid && len(port) == 2 {
				return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port)), true
			}
		case *expr.Target:
			info, known := e.Info.(*xt.NatRange2)
			if e.Name != "DNAT" || !known {
				continue
			}
			if addr, valid := netip.AddrFromSlice(info.MinIP); valid {
				return netip.AddrPortFrom(addr.Unmap(), info.MinPort), true
			}
		}
	}
	return to, false
}

// next returns the names of the chains that a rule of the table jumps or goes to, by itself or by a
// map.
func (w *RulesWatch) next(in string, r *nftables.Rule) (chains []string, err error) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Verdict:
			if e.Chain != "" {
				chains = append(chains, e.Chain)
			}
		case *expr.Lookup:
			if !e.IsDestRegSet || e.DestRegister != unix.NFT_REG_VERDICT {
				continue
			}
			set := &nftables.Set{Table: table(in), Name: e.SetName}
			elements, err := w.rules.GetSetElements(set)
			if err != nil {
				return nil, fmt.Errorf("map %s: %w", e.SetName, err)
			}
			for _, element := range elements {
				if name := chainOf(element); name != "" {
					chains = append(chains, name)
				}
			}
		}
	}
	return chains, nil
}

// chainOf returns the chain that an element of a verdict map leads to, or "" if its verdict is of
// another kind. The library leaves the verdict's attributes undecoded (NFTA_DATA_VERDICT).
func chainOf(e nftables.SetElement) string {
	ad, err := netlink.NewAttributeDecoder(e.Val)
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_VERDICT_CHAIN {
			return ad.String()
		}
	}
	return ""
}

package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/servers/clock"
)

// A Syncer makes one node's rules those of the services, as Rules do.
type Syncer interface {
	// Sync returns the instant since which they are in force. It is not called twice at a time. It
	// must end with its context.
	Sync(context.Context, []Service) (clock.Instant, error)
}

// A proxy is one node's programmer of rules. All but work belongs to the control plane's goroutine.
type proxy struct {
	node    string
	syncer  Syncer
	jobs    chan []Service // to work; one at a time, so that sending never blocks
	updates stream         // from slices to this node

	heard map[string]Service // what has arrived
	dirty bool               // something of it is not in the rules
	busy  bool               // a sync is under way
	free  time.Time          // the end of the min sync period

	inForce clock.Instant
	routes  map[route]bool // of the rules in force
}

// A route is a way that new connections may take.
type route struct {
	service, pod string
	address      netip.AddrPort
}

type syncResult struct {
	proxy    *proxy
	services []Service
	at       clock.Instant
	err      error
}

func newProxies(nodes map[string]Syncer) []*proxy {
	var all []*proxy
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		all = append(all, &proxy{node: name, syncer: nodes[name], jobs: make(chan []Service, 1), heard: map[string]Service{}})
	}
	return all
}

// work syncs one job after the other. There is room for its result.
func (p *proxy) work(ctx context.Context, results chan<- syncResult) {
	for services := range p.jobs {
		at, err := p.syncer.Sync(ctx, services)
		results <- syncResult{p, services, at, err}
	}
}

// sync begins a sync if there is a reason to, none under way, and the min sync period over; or sees
// to it that it is begun then. Whatever arrives until it begins is part of it.
func (p *proxy) sync(due *agenda) {
	now := time.Now()
	switch {
	case !p.dirty || p.busy:
	case now.Before(p.free):
		due.add(p.free, func() { p.sync(due) }) // of several, all but the first find nothing to do
	default:
		p.dirty, p.busy = false, true
		services := slices.SortedFunc(maps.Values(p.heard), func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
		p.jobs <- services
	}
}

// synced records the result of a sync and reports it.
func (p *proxy) synced(r syncResult, minSyncPeriod time.Duration, now clock.Instant, tell func(Event)) error {
	p.busy = false
	p.free = time.Now().Add(minSyncPeriod)
	if r.err != nil {
		tell(Event{At: now, Kind: SyncFailed, Node: p.node, Err: r.err})
		return fmt.Errorf("node %s: sync of the rules: %w", p.node, r.err)
	}
	if r.at != p.inForce { // else nothing had to be changed
		p.inForce = r.at
		tell(Event{At: r.at, Kind: RulesCommitted, Node: p.node})
	}
	routes := map[route]bool{}
	for _, s := range r.services {
		if s.Address.IsValid() {
			for _, e := range s.Used() {
				routes[route{s.Name, e.Pod, e.Address}] = true
			}
		}
	}
	p.tellMissing(EndpointRemoved, p.routes, routes, tell)
	p.tellMissing(EndpointAdded, routes, p.routes, tell)
	p.routes = routes
	return nil
}

// tellMissing tells of the routes in one set that are not in the other.
func (p *proxy) tellMissing(kind EventKind, in, from map[route]bool, tell func(Event)) {
	for _, r := range slices.SortedFunc(maps.Keys(in), func(a, b route) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.pod, b.pod), a.address.Compare(b.address))
	}) {
		if !from[r] {
			tell(Event{At: p.inForce, Kind: kind, Node: p.node, Service: r.service, Pod: r.pod})
		}
	}
}

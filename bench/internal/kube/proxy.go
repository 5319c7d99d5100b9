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

// A Syncer programs the rules of one node. Rules is a Syncer.
type Syncer interface {
	// Sync makes the node's rules match the services. It returns the instant at which these rules
	// came into force. The control plane never calls it again before it has returned. Sync must
	// return when its context ends.
	Sync(context.Context, []Service) (clock.Instant, error)
}

// A proxy programs one node's rules, like kube-proxy. The control plane's goroutine owns it and
// calls its methods, except work.
type proxy struct {
	node    string
	syncer  Syncer
	jobs    chan []Service // for work; holds at most one, so that sending never blocks
	updates stream         // the changes on their way from EndpointSlices to this node

	received map[string]Service // the services that have arrived, by name
	dirty    bool               // some received changes are not in the rules yet
	busy     bool               // a sync is under way
	free     time.Time          // the end of the min sync period

	inForce clock.Instant
	routes  map[route]bool // the routes in the rules that are in force
}

// A route is a service and an endpoint that rules send its new connections to.
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
		all = append(all, &proxy{
			node: name, syncer: nodes[name],
			jobs: make(chan []Service, 1), received: map[string]Service{},
		})
	}
	return all
}

// work syncs one job after the other. results has room for each result.
func (p *proxy) work(ctx context.Context, results chan<- syncResult) {
	for services := range p.jobs {
		at, err := p.syncer.Sync(ctx, services)
		results <- syncResult{p, services, at, err}
	}
}

// sync begins a sync if something has changed, no sync is under way and the min sync period has
// ended. Within the period, it postpones the sync to the period's end. The sync includes every
// change that arrives before it begins.
func (p *proxy) sync(due *agenda) {
	now := time.Now()
	switch {
	case !p.dirty || p.busy:
	case now.Before(p.free):
		due.add(p.free, func() { p.sync(due) }) // if called twice, the second finds nothing to do
	default:
		p.dirty, p.busy = false, true
		byName := func(a, b Service) int { return cmp.Compare(a.Name, b.Name) }
		p.jobs <- slices.SortedFunc(maps.Values(p.received), byName)
	}
}

// synced records the result of a sync and emits its events.
func (p *proxy) synced(
	r syncResult, minSyncPeriod time.Duration, now clock.Instant, emit func(Event),
) error {
	p.busy = false
	p.free = time.Now().Add(minSyncPeriod)
	if r.err != nil {
		emit(Event{At: now, Kind: SyncFailed, Node: p.node, Err: r.err})
		return fmt.Errorf("node %s: sync rules: %w", p.node, r.err)
	}
	if r.at != p.inForce { // equal if there was nothing to change
		p.inForce = r.at
		emit(Event{At: r.at, Kind: RulesCommitted, Node: p.node})
	}
	routes := map[route]bool{}
	for _, s := range r.services {
		if s.Address.IsValid() {
			for _, e := range s.Used() {
				routes[route{s.Name, e.Pod, e.Address}] = true
			}
		}
	}
	p.emitMissing(EndpointRemoved, p.routes, routes, emit)
	p.emitMissing(EndpointAdded, routes, p.routes, emit)
	p.routes = routes
	return nil
}

// emitMissing emits an event for each route that is an element of in and not of from.
func (p *proxy) emitMissing(kind EventKind, in, from map[route]bool, emit func(Event)) {
	sorted := slices.SortedFunc(maps.Keys(in), func(a, b route) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.pod, b.pod),
			a.address.Compare(b.address))
	})
	for _, r := range sorted {
		if !from[r] {
			emit(Event{At: p.inForce, Kind: kind, Node: p.node, Service: r.service, Pod: r.pod})
		}
	}
}

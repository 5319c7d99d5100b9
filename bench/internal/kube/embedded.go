package kube

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"reuseport-bench/servers/clock"
)

// EmbeddedOptions are what an Embedded control plane is made of.
type EmbeddedOptions struct {
	Lags Lags
	// Seed of what is drawn from the lags. The same change of the same pod draws the same, whatever
	// else has changed meanwhile.
	Seed uint64
	// Nodes are those whose rules follow the services, by name. A node may be without pods.
	Nodes map[string]Syncer
	// Clock is required.
	Clock *clock.Clock
	// Events is called for each event, in order, on the control plane's own goroutine: it must be
	// quick, and must not call the control plane (Kubelet.Delete it may). nil: nobody wants to
	// know.
	Events func(Event)
}

// An Embedded control plane does in this process what the EndpointSlice controller and every node's
// kube-proxy do, with the lags that it is given.
//
// One goroutine owns the state. Changes travel as they do through watches: in order, each with its
// own lag, so a late one holds up those behind it. What arrives is the state at the time of the
// change, not at that of its arrival.
type Embedded struct {
	options EmbeddedOptions
	calls   chan func()
	end     context.CancelFunc
	done    chan struct{}
	err     error // to be read after done

	// The goroutine's own.
	drawn    map[string]int      // how often a lag was drawn for each kind of change
	services map[string]*Service // with their endpoints as the slices list them
	pods     map[string]*record
	status   stream // from pods to slices
	proxies  []*proxy
	due      agenda
}

var _ ControlPlane = (*Embedded)(nil)

// A record is a pod as it is, whoever has heard of it.
type record struct {
	Pod
	ready, terminating, gone bool
}

// NewEmbedded starts a control plane without services and pods. The caller closes it, and the
// Syncers after it.
func NewEmbedded(o EmbeddedOptions) (*Embedded, error) {
	if err := o.Lags.validate(); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	ctx, end := context.WithCancel(context.Background())
	e := &Embedded{
		options: o, calls: make(chan func()), end: end, done: make(chan struct{}),
		drawn:    map[string]int{},
		services: map[string]*Service{},
		pods:     map[string]*record{},
		proxies:  newProxies(o.Nodes),
	}
	go func() {
		defer close(e.done)
		e.err = e.run(ctx)
	}()
	return e, nil
}

// run is the life of the goroutine that owns the state, and of those that sync.
func (e *Embedded) run(ctx context.Context) error {
	results := make(chan syncResult, len(e.proxies))
	var workers sync.WaitGroup
	defer workers.Wait()
	for _, p := range e.proxies {
		defer close(p.jobs)
		workers.Go(func() { p.work(ctx, results) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var errs []error
	for {
		e.due.run(time.Now())
		if next, ok := e.due.next(); ok {
			timer.Reset(time.Until(next))
		}
		select {
		case f := <-e.calls:
			f()
		case r := <-results:
			errs = append(errs, r.proxy.synced(r, e.options.Lags.MinSyncPeriod, e.options.Clock.Now(), e.options.Events))
			r.proxy.sync(&e.due)
		case <-timer.C:
		case <-ctx.Done():
			return errors.Join(errs...)
		}
	}
}

// Close implements ControlPlane. A sync that is under way is cut off.
func (e *Embedded) Close() error {
	e.end()
	<-e.done
	return e.err
}

// call has the goroutine do something.
func (e *Embedded) call(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case e.calls <- func() { result <- f() }:
		return <-result
	case <-e.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// CreateService implements ControlPlane.
func (e *Embedded) CreateService(ctx context.Context, name string, address netip.AddrPort) error {
	return e.call(ctx, func() error {
		if err := checkName(name); err != nil {
			return fmt.Errorf("service: %w", err)
		}
		if address != (netip.AddrPort{}) {
			if err := checkAddress(address); err != nil {
				return fmt.Errorf("service %s: %w", name, err)
			}
		}
		if e.services[name] != nil {
			return fmt.Errorf("service %s: %w", name, ErrExists)
		}
		s := &Service{Name: name, Address: address}
		e.services[name] = s
		e.publish(s, s.Name)
		return nil
	})
}

// AddPod implements ControlPlane. Its service must be there.
func (e *Embedded) AddPod(ctx context.Context, pod Pod) error {
	return e.call(ctx, func() error {
		if err := checkAddress(pod.Address); err != nil {
			return fmt.Errorf("pod %s: %w", pod.Name, err)
		}
		if e.pods[pod.Name] != nil {
			return fmt.Errorf("pod %s: %w", pod.Name, ErrExists)
		}
		if e.services[pod.Service] == nil {
			return fmt.Errorf("pod %s: service %q: %w", pod.Name, pod.Service, ErrUnknown)
		}
		r := &record{Pod: pod}
		e.pods[pod.Name] = r
		e.changed(r, PodAdded)
		return nil
	})
}

// MarkReady implements ControlPlane.
func (e *Embedded) MarkReady(ctx context.Context, pod string) error {
	return e.change(ctx, pod, PodReady, func(r *record) bool {
		was := r.ready
		r.ready = true
		return !was
	})
}

// MarkUnready implements ControlPlane.
func (e *Embedded) MarkUnready(ctx context.Context, pod string) error {
	return e.change(ctx, pod, PodUnready, func(r *record) bool {
		was := r.ready
		r.ready = false
		return was
	})
}

// DeletePod implements ControlPlane.
func (e *Embedded) DeletePod(ctx context.Context, pod string) error {
	return e.change(ctx, pod, DeletionBegun, func(r *record) bool {
		was := r.terminating
		r.terminating = true
		return !was
	})
}

// RemovePod implements ControlPlane.
func (e *Embedded) RemovePod(ctx context.Context, pod string) error {
	return e.change(ctx, pod, PodGone, func(r *record) bool {
		r.gone = true
		delete(e.pods, r.Name)
		return true
	})
}

// change makes a change of a pod, which says whether it is one.
func (e *Embedded) change(ctx context.Context, pod string, kind EventKind, f func(*record) bool) error {
	return e.call(ctx, func() error {
		r := e.pods[pod]
		if r == nil {
			return fmt.Errorf("pod %s: %w", pod, ErrUnknown)
		}
		if f(r) {
			e.changed(r, kind)
		}
		return nil
	})
}

// changed tells of what has become of a pod, and sends it on its way to the endpoints.
func (e *Embedded) changed(r *record, kind EventKind) {
	e.options.Events(Event{At: e.options.Clock.Now(), Kind: kind, Pod: r.Name, Service: r.Service, Node: r.Node})
	now, what := *r, r.Name+" "+string(kind)
	e.due.add(e.status.arrival(time.Now(), e.sample(e.options.Lags.ReadyToEndpoint, "endpoints "+what)), func() { e.reconcile(now, what) })
}

// reconcile puts a pod into its service's endpoints as the controller has heard of it. One that is
// not ready is listed too, without that condition; one that is gone is not. What says which change
// that is.
func (e *Embedded) reconcile(r record, what string) {
	s := e.services[r.Service]
	i := slices.IndexFunc(s.Endpoints, func(x Endpoint) bool { return x.Pod == r.Name })
	endpoints := slices.Clone(s.Endpoints) // what was told before stays as it was
	is := Endpoint{Pod: r.Name, Node: r.Node, Address: r.Address, Serving: r.ready, Terminating: r.terminating}
	switch {
	case r.gone:
		endpoints = slices.Delete(endpoints, i, i+1)
	case i < 0:
		endpoints = append(endpoints, is)
	default:
		endpoints[i] = is
	}
	s.Endpoints = endpoints
	e.options.Events(Event{At: e.options.Clock.Now(), Kind: EndpointsChanged, Service: s.Name, Endpoints: endpoints})
	e.publish(s, what)
}

// publish sends a service to every node, because of a change.
func (e *Embedded) publish(s *Service, what string) {
	now := *s
	for _, p := range e.proxies {
		e.due.add(p.updates.arrival(time.Now(), e.sample(e.options.Lags.EndpointToRules, "rules "+p.node+" "+what)), func() {
			p.heard[now.Name] = now
			p.dirty = true
			p.sync(&e.due)
		})
	}
}

// sample draws a lag, from a stream of its own for each change.
func (e *Embedded) sample(d Distribution, what string) time.Duration {
	if d == nil {
		return 0
	}
	e.drawn[what]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", what, e.drawn[what])
	return d.Sample(rand.New(rand.NewPCG(e.options.Seed, h.Sum64())))
}

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

// EmbeddedOptions configures an Embedded control plane.
type EmbeddedOptions struct {
	Lags Lags
	// Seed determines the lags drawn from distributions. A given change of a given pod always draws
	// the same lag, whatever other changes there are.
	Seed uint64
	// Nodes maps the name of each node to the Syncer of its rules. A node may have no pods.
	Nodes map[string]Syncer
	// Clock is required.
	Clock *clock.Clock
	// Events, if not nil, is called for each event, in order, on the control plane's goroutine. It
	// must return quickly and must not call the control plane, but may call Kubelet.Delete.
	Events func(Event)
}

// An Embedded is a control plane in this process. It does what the EndpointSlice controller and
// every node's kube-proxy do, with the given lags.
//
// One goroutine owns the state. As in Kubernetes watches, changes arrive in the order in which they
// were made. Each has its own lag, so a change with a long lag delays the changes after it. A
// change carries the state of the pod or service at the time of the change.
type Embedded struct {
	options EmbeddedOptions
	calls   chan func()
	end     context.CancelFunc
	done    chan struct{}
	err     error // set before done is closed

	// The fields below are owned by the goroutine.
	drawn    map[string]int      // number of lags drawn for each change
	services map[string]*Service // with the endpoints in the services' EndpointSlices
	pods     map[string]*record
	status   stream // the changes on their way from pods to EndpointSlices
	proxies  []*proxy
	due      agenda
}

var _ ControlPlane = (*Embedded)(nil)

// A record is the current state of a pod, before any lag.
type record struct {
	Pod
	// started means that the pod's kubelet has reported its address.
	started, ready, terminating, gone bool
}

// NewEmbedded starts a control plane without services and pods. The caller closes the control
// plane, and after that the Syncers.
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

// run owns the state until ctx ends. It also starts a goroutine for each node's syncs and waits for
// them.
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
			errs = append(errs, r.proxy.synced(r, e.options.Lags.MinSyncPeriod,
				e.options.Clock.Now(), e.options.Events))
			r.proxy.sync(&e.due)
		case <-timer.C:
		case <-ctx.Done():
			return errors.Join(errs...)
		}
	}
}

// Close implements ControlPlane. It interrupts any sync under way.
func (e *Embedded) Close() error {
	e.end()
	<-e.done
	return e.err
}

// call runs f on the control plane's goroutine and returns its error.
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

// AddPod implements ControlPlane. The pod's service must exist.
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
		e.report(r, PodAdded)
		return nil
	})
}

// MarkStarted implements ControlPlane.
func (e *Embedded) MarkStarted(ctx context.Context, pod string) error {
	return e.change(ctx, pod, PodStarted, func(r *record) bool {
		was := r.started
		r.started = true
		return !was
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

// change applies f to a pod. If f reports that the pod has changed, change publishes that.
func (e *Embedded) change(
	ctx context.Context, pod string, kind EventKind, f func(*record) (changed bool),
) error {
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

func (e *Embedded) report(r *record, kind EventKind) {
	e.options.Events(Event{
		At: e.options.Clock.Now(), Kind: kind, Pod: r.Name, Service: r.Service, Node: r.Node,
	})
}

// changed emits an event for a changed pod and sends its state to the endpoints.
func (e *Embedded) changed(r *record, kind EventKind) {
	e.report(r, kind)
	now, id := *r, r.Name+" "+string(kind)
	of := e.options.Lags.ReadyToEndpoint
	if kind == DeletionBegun || kind == PodGone {
		of = e.options.Lags.DeletedToEndpoint
	}
	lag := e.sample(of, "endpoints "+id)
	e.due.add(e.status.arrival(time.Now(), lag), func() { e.reconcile(now, id) })
}

// reconcile updates the endpoints of a pod's service with the pod's state that has arrived. It
// lists an unready pod as not serving, and omits a pod that has not started or is gone. id
// identifies the change.
func (e *Embedded) reconcile(r record, id string) {
	s := e.services[r.Service]
	i := slices.IndexFunc(s.Endpoints, func(x Endpoint) bool { return x.Pod == r.Name })
	endpoints := slices.Clone(s.Endpoints) // earlier events share the old slice
	endpoint := Endpoint{
		Pod: r.Name, Node: r.Node, Address: r.Address,
		Serving: r.ready, Terminating: r.terminating,
	}
	switch {
	case i < 0 && (!r.started || r.gone):
		return
	case r.gone:
		endpoints = slices.Delete(endpoints, i, i+1)
	case i < 0:
		endpoints = append(endpoints, endpoint)
	default:
		endpoints[i] = endpoint
	}
	s.Endpoints = endpoints
	e.options.Events(Event{
		At: e.options.Clock.Now(), Kind: EndpointsChanged, Service: s.Name, Endpoints: endpoints,
	})
	e.publish(s, id)
}

// publish sends a changed service to every node. id identifies the change.
func (e *Embedded) publish(s *Service, id string) {
	now := *s
	for _, p := range e.proxies {
		lag := e.sample(e.options.Lags.EndpointToRules, "rules "+p.node+" "+id)
		e.due.add(p.updates.arrival(time.Now(), lag), func() {
			p.received[now.Name] = now
			p.dirty = true
			p.sync(&e.due)
		})
	}
}

// sample draws a lag from d for the change that id identifies. Each change has its own random
// stream.
func (e *Embedded) sample(d Distribution, id string) time.Duration {
	if d == nil {
		return 0
	}
	e.drawn[id]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", id, e.drawn[id])
	return d.Sample(rand.New(rand.NewPCG(e.options.Seed, h.Sum64())))
}

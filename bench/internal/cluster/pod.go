package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// A pod is a worker in a network of its own, or several, or one in its node's.
type pod struct {
	*netlab.Pod
	name    string
	workers []*servers.Worker // its containers
	kubelet *kube.Kubelet
	exited  chan struct{} // the last of its workers has; nil without a kubelet
	ended   chan struct{} // it is gone, and its network

	silenced clock.Instant // its node fell silent; 0: it did not. The cluster's mu guards it
	removed  bool          // its network is gone, or was never its own. The cluster's counting guards it

	terminating sync.WaitGroup // what waits until workers that were told to end have closed

	mu      sync.Mutex
	once    sync.Once     // of stopped
	stopped chan struct{} // its listener is closed
	closed  clock.Instant // when; 0: it is not
	err     error
}

// Place returns where a worker runs: in its pod, which it makes if need be.
func (c *Cluster) Place(ctx context.Context, w *servers.Worker) (servers.Placement, error) {
	p, err := c.podFor(ctx, w)
	if err != nil {
		return servers.Placement{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := netip.AddrPortFrom(p.Addr, plan.ServerPort)
	if first := c.plan.FirstPod; len(c.order) == 0 && c.plan.Path == vocabulary.PathPod &&
		at != first {
		return servers.Placement{}, fmt.Errorf("pod %s is at %v, and clients were told %v", p.name, at, first)
	}
	if len(p.workers) == 0 {
		c.order = append(c.order, p)
	}
	p.workers = append(p.workers, w)
	c.pods[w.ID] = p
	return servers.Placement{
		Address: at, Start: c.lab.Starter(p.Host, c.CPUs), Network: p.Host.Path(),
	}, nil
}

// podFor returns a new pod for the worker, on the nodes in turn where nothing else is said, or the
// one pod of all workers.
func (c *Cluster) podFor(ctx context.Context, w *servers.Worker) (*pod, error) {
	place := c.plan.Placement
	if place == vocabulary.PlacementContainers && len(c.order) > 0 {
		return c.order[0], nil
	}
	p := &pod{name: fmt.Sprintf("%s-%d", plan.ServiceName, w.ID), ended: make(chan struct{}), stopped: make(chan struct{})}
	if place == vocabulary.PlacementHostNetwork {
		// This network is the node's, and so are its counters.
		p.Pod, p.removed = &netlab.Pod{Host: c.lab.Node(0), Addr: netlab.AddressesOfCluster().Nodes[0]}, true
		return p, nil
	}
	node := c.next
	if c.cordoned[node] {
		node = 1 - node
	}
	if c.cordoned[node] {
		return nil, errors.New("neither node takes pods: they are drained, or down")
	}
	var err error
	if p.Pod, err = c.lab.AddPod(ctx, node, p.name); err != nil {
		return nil, err
	}
	if c.next = 1 - node; place == vocabulary.PlacementOneNode {
		c.next = 0
	}
	for _, s := range c.Sysctls {
		if err := c.lab.SetSysctl(p.Host, s.Name, s.Value); err != nil {
			return nil, errors.Join(err, c.lab.RemovePod(p.Pod))
		}
	}
	return p, nil
}

func (c *Cluster) podOf(w *servers.Worker) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pods[w.ID]
}

// serve puts a pod behind the Service. Its kubelet says when it is ready. A pod with a container
// that could not bind never is.
func (c *Cluster) serve(ctx context.Context, p *pod) error {
	if p.kubelet != nil || slices.ContainsFunc(p.workers, func(w *servers.Worker) bool { return w.BindError() != 0 }) {
		return nil
	}
	err := c.plane.AddPod(ctx, kube.Pod{Name: p.name, Service: plan.ServiceName, Node: c.lab.Node(p.Node).Name, Address: netip.AddrPortFrom(p.Addr, plan.ServerPort)})
	if err != nil {
		return err
	}
	p.watch()
	p.kubelet = kube.RunPod(c.ctx, kube.KubeletOptions{
		Pod: p.name, ControlPlane: c.plane, Clock: c.clock, Events: c.event,
		Lifecycle: kube.Lifecycle{PreStop: c.plan.PreStop, Grace: c.plan.Grace, Period: c.plan.ProbePeriod},
		Container: kube.Container{
			Start:     func(ctx context.Context) (<-chan struct{}, error) { c.awaitStarted(ctx, p); return p.exited, nil },
			Probe:     c.probeOf(p),
			Terminate: func() error { c.terminate(p); return nil },
			Kill:      func() error { return c.stop(p, vocabulary.StopKill) },
		},
	})
	go func() {
		defer close(p.ended)
		err := p.kubelet.Wait()
		p.terminating.Wait()
		// At the end of the trial the lab sees to the networks.
		if c.clock.SleepUntil(c.ctx, c.clock.Now().Add(c.plan.Teardown)) == nil {
			err = errors.Join(err, c.remove(p))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = errors.Join(p.err, err)
	}()
	return nil
}

// watch closes exited when the last of its workers has ended.
func (p *pod) watch() {
	p.exited = make(chan struct{})
	go func() {
		defer close(p.exited)
		for _, w := range p.workers {
			<-w.Exited()
		}
	}()
}

// terminate tells a pod's workers to end. It does not wait for them: the kubelet's grace counts
// from here.
func (c *Cluster) terminate(p *pod) {
	p.terminating.Go(func() {
		err := c.stop(p, c.Stop)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = errors.Join(p.err, err)
	})
}

// stop stops a pod's workers, and returns when their listeners are closed.
func (c *Cluster) stop(p *pod, way vocabulary.StopMode) error {
	_, closed, err := c.group.Stop(c.ctx, p.workers, way)
	p.once.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = closed
		close(p.stopped)
	})
	return err
}

// remove takes a pod's network away; what its counters were is kept.
func (c *Cluster) remove(p *pod) error {
	c.counting.Lock()
	defer c.counting.Unlock()
	if p.removed {
		return nil
	}
	last, err := c.countersOf(p)
	if err == nil {
		c.moved.Add(last)
		p.removed = true
	}
	return errors.Join(err, c.lab.RemovePod(p.Pod))
}

func (c *Cluster) countersOf(p *pod) (kernel.Counters, error) {
	counters, err := kernel.CountersIn(func(f func() error) error { return c.lab.Do(p.Host, f) })
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", p.Host.Name, err)
	}
	return counters, nil
}

// Counters returns the sums over all pods, also those that are gone; nothing without a cluster.
func (c *Cluster) Counters() (kernel.Counters, error) {
	sum := kernel.Counters{}
	if c == nil {
		return sum, nil
	}
	c.mu.Lock()
	pods := slices.Clone(c.order)
	c.mu.Unlock()
	c.counting.Lock()
	defer c.counting.Unlock()
	sum.Add(c.moved)
	for _, p := range pods {
		if p.removed {
			continue
		}
		now, err := c.countersOf(p)
		if err != nil {
			return nil, err
		}
		sum.Add(now)
	}
	return sum, nil
}

// gone returns when a pod ceased to serve, because its listener closed or its node fell silent; 0:
// it has not.
func (c *Cluster) gone(p *pod) clock.Instant {
	from := p.closing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.silenced != 0 && (from == 0 || p.silenced < from) {
		from = p.silenced
	}
	return from
}

// closing returns when the last of its listeners began to close; 0: one has not.
func (p *pod) closing() (last clock.Instant) {
	for _, w := range p.workers {
		at := w.Closing().From
		switch {
		case w.BindError() != 0: // it had none
		case at == 0:
			return 0
		default:
			last = max(last, at)
		}
	}
	return last
}

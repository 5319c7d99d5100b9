package cluster

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

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// A pod has one or more workers in a network of its own, or one worker in its node's network.
type pod struct {
	*netlab.Pod
	name    string
	workers []*servers.Worker // the workers that run as the pod's containers
	kubelet *kube.Kubelet
	exited  chan struct{} // closed when all the pod's workers have exited; nil without a kubelet
	ended   chan struct{} // closed when the pod and its network are gone

	leave    func() error  // from Options.Watch
	silenced clock.Instant // when its node fell silent, or 0; guarded by the cluster's mu
	// removed means that the pod's own network no longer exists or never did. The cluster's
	// counting guards this field.
	removed bool

	terminating sync.WaitGroup // waits for goroutines that stop the pod's workers

	mu      sync.Mutex
	once    sync.Once     // guards the close of stopped
	stopped chan struct{} // closed when the pod's listener is closed
	closed  clock.Instant // when the pod's listener was closed, or 0
	err     error
}

// Place returns the placement of a worker, which is in its pod. It makes the pod if necessary.
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
		return servers.Placement{}, fmt.Errorf("pod %s is at %v, but clients connect to %v",
			p.name, at, first)
	}
	if len(p.workers) == 0 {
		c.order = append(c.order, p)
	}
	p.workers = append(p.workers, w)
	c.pods[w.ID] = p
	return servers.Placement{
		Address: at, Start: c.lab.Starter(p.Host, c.CPUs), Network: p.Host.Path(), Do: c.in(p),
	}, nil
}

// podFor returns a new pod for the worker or, with containers, the one pod of all workers. It
// places pods on the two nodes in turn, unless the plan or PlaceNext says otherwise.
func (c *Cluster) podFor(ctx context.Context, w *servers.Worker) (*pod, error) {
	place := c.plan.Placement
	switch {
	case c.real != nil:
		return c.real.holder, nil // DeployPod has made it
	case c.plan.OnePod() && len(c.order) > 0:
		return c.order[0], nil
	}
	p := &pod{
		name:  fmt.Sprintf("%s-%d", plan.ServiceName, w.ID),
		ended: make(chan struct{}), stopped: make(chan struct{}),
	}
	if place.Row().OnHost {
		p.Pod = &netlab.Pod{Host: c.lab.Node(0), Addr: netlab.AddressesOfCluster().Nodes[0]}
		p.removed = true // the network and its counters belong to the node
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
	if c.Watch != nil {
		if p.leave, err = c.Watch(c.in(p)); err != nil {
			return nil, errors.Join(err, c.lab.RemovePod(p.Pod))
		}
	}
	return p, nil
}

// in returns a function that runs its argument in a pod's network.
func (c *Cluster) in(p *pod) func(func() error) error {
	return func(f func() error) error { return c.lab.Do(p.Host, f) }
}

func (c *Cluster) podOf(w *servers.Worker) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pods[w.ID]
}

// serve adds a pod to the Service, and starts the pod's kubelet, which reports when the pod is
// ready. It does nothing for a pod in which a container could not bind: such a pod is never ready.
func (c *Cluster) serve(ctx context.Context, p *pod) error {
	unbound := func(w *servers.Worker) bool { return w.BindError() != 0 }
	if p.kubelet != nil || slices.ContainsFunc(p.workers, unbound) {
		return nil
	}
	err := c.plane.AddPod(ctx, kube.Pod{
		Name: p.name, Service: plan.ServiceName, Node: c.lab.Node(p.Node).Name,
		Address: netip.AddrPortFrom(p.Addr, plan.ServerPort),
	})
	if err != nil {
		return err
	}
	c.watchExit(p)
	made := c.clock.Now()
	p.kubelet = kube.RunPod(c.ctx, kube.KubeletOptions{
		Pod: p.name, ControlPlane: c.plane, Clock: c.clock, Events: c.event,
		Lifecycle: kube.Lifecycle{
			PreStop: c.plan.PreStop, Grace: c.plan.Grace, Period: c.plan.ProbePeriod,
			DeletionLag:  c.sample(c.plan.KubeletLag, p.name),
			RelistPeriod: c.plan.RelistPeriod, RelistPhase: c.relistPhase(p.Node),
		},
		Container: kube.Container{
			Start: func(ctx context.Context) (<-chan struct{}, error) {
				c.awaitStarted(ctx, p, made)
				return p.exited, nil
			},
			Probe:     c.probeOf(p),
			Terminate: func() error { c.terminate(p); return nil },
			Kill:      func() error { return c.stop(p, vocabulary.StopKill) },
		},
	})
	go func() {
		defer close(p.ended)
		err := p.kubelet.Wait()
		p.terminating.Wait()
		// If c.ctx has ended, so has the trial, and the lab removes the networks.
		if c.clock.SleepUntil(c.ctx, c.clock.Now().Add(c.plan.Teardown)) == nil {
			err = errors.Join(err, c.remove(p))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = errors.Join(p.err, err)
	}()
	return nil
}

// sample draws a lag. Variants of a block draw the same lag for the same name.
func (c *Cluster) sample(from kube.Distribution, name string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return from.Sample(rand.New(rand.NewPCG(c.Seed, h.Sum64())))
}

// ControllerLag draws the time from the moment at which the worker's pod is available until the
// controller acts on it.
func (c *Cluster) ControllerLag(w *servers.Worker) time.Duration {
	return c.sample(c.plan.ControllerLag, "controller "+c.podOf(w).name)
}

// relistPhase returns when the kubelet of a node looks at its containers: how long after each
// multiple of the period. It is drawn for the trial.
func (c *Cluster) relistPhase(node int) time.Duration {
	period := c.plan.RelistPeriod
	if period == 0 {
		return 0
	}
	phase := c.sample(kube.Uniform{Max: period}, "relist")
	return (phase + time.Duration(node)*c.plan.RelistOffset) % period
}

// watchExit makes the channel exited of a pod, and closes it when the last of the pod's workers has
// exited. A worker's successor in the same pod is in the list before the worker exits.
func (c *Cluster) watchExit(p *pod) {
	worker := func(i int) *servers.Worker {
		c.mu.Lock()
		defer c.mu.Unlock()
		if i == len(p.workers) {
			return nil
		}
		return p.workers[i]
	}
	p.exited = make(chan struct{})
	go func() {
		defer close(p.exited)
		for i := 0; worker(i) != nil; i++ {
			<-worker(i).Exited()
		}
	}()
}

// terminate tells a pod's workers to exit. It does not wait until they have exited, because the
// kubelet's grace period starts when terminate returns.
func (c *Cluster) terminate(p *pod) {
	p.terminating.Go(func() {
		err := c.stop(p, c.Stop)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = errors.Join(p.err, err)
	})
}

// stop stops a pod's workers, and returns when their listeners are closed.
func (c *Cluster) stop(p *pod, mode vocabulary.StopMode) error {
	_, closed, err := c.group.Stop(c.ctx, p.workers, mode)
	p.once.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = closed
		close(p.stopped)
	})
	return err
}

// remove removes a pod's network, and keeps its final counters.
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
	if p.leave != nil {
		err = errors.Join(err, p.leave())
	}
	return errors.Join(err, c.lab.RemovePod(p.Pod))
}

func (c *Cluster) countersOf(p *pod) (kernel.Counters, error) {
	counters, err := kernel.CountersIn(c.in(p))
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", p.Host.Name, err)
	}
	return counters, nil
}

// Counters returns the kernel's counters, summed over all pods, including removed ones. On a nil
// Cluster it returns no counters.
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

// gone returns the time at which a pod stopped serving, because its listener closed or its node
// fell silent. It returns 0 if the pod still serves.
func (c *Cluster) gone(p *pod) clock.Instant {
	from := p.closing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.silenced != 0 && (from == 0 || p.silenced < from) {
		from = p.silenced
	}
	return from
}

// closing returns the time at which the last of the pod's listeners began to close, or 0 if one is
// open.
func (p *pod) closing() (last clock.Instant) {
	for _, w := range p.workers {
		at := w.Closing().From
		switch {
		case w.BindError() != 0: // such a worker had no listener
		case at == 0:
			return 0
		default:
			last = max(last, at)
		}
	}
	return last
}

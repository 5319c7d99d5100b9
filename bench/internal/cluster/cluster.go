// Package cluster runs the pods of a trial behind a Service. It decides where the pods run and when
// they are ready, makes the rules that send connections to them, and records the times of all these
// changes. A stand-in in this program replaces the control plane of Kubernetes (kube.Embedded), or
// a real Kubernetes decides all this, and the package only asks it and watches (real.go). Packet
// filter rules and connection tracking are the kernel's own.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// Embedded is the name, in results, of this program's stand-in for a control plane.
const Embedded = "embedded"

// rulesLimit is the maximum time in which the rules must change, in addition to the configured
// lags.
const rulesLimit = 10 * time.Second

// closeTimeout is the sysctl for the lifetime of the conntrack entry of a refused connection. The
// entry must last until the end of the trial, when it is read.
const closeTimeout = "net.netfilter.nf_conntrack_tcp_timeout_close"

// Options are the options of New.
type Options struct {
	Lab   *netlab.Lab
	Clock *clock.Clock
	Plan  *plan.Cluster
	// Seed is the seed of the block. All variants of a block draw the same lags; every block draws
	// its own.
	Seed uint64
	CPUs []int // the servers' CPUs
	// Sysctls are set in each pod's network.
	Sysctls []plan.Sysctl
	// Stop is the stop mode of the workers.
	Stop vocabulary.StopMode
	// Command is the third-party server in each pod, or nil.
	Command *plan.Command
	// Watch, if not nil, is called for the network of each new pod, before a server runs in it. do
	// runs a function in the network. leave is called before the network is removed.
	Watch func(do func(func() error) error) (leave func() error, err error)
}

// A Cluster holds the pods of a trial, and sends connections to them.
type Cluster struct {
	Options
	lab    *netlab.Lab
	clock  *clock.Clock
	plan   *plan.Cluster
	group  *servers.Group // set by Serve
	rules  *kube.Rules
	plane  *kube.Embedded
	names  *dns.Server     // nil: clients know an address and need no name
	ctx    context.Context // the context of the kubelets
	cancel context.CancelFunc

	mu       sync.Mutex
	events   []kube.Event
	failed   error
	changed  chan struct{} // closed and replaced by a new channel at every event
	pods     map[int]*pod  // by worker ID
	order    []*pod        // in start order
	next     int           // the node of the next pod
	cordoned map[int]bool  // nodes on which no new pods are placed
	real     *real         // nil: the control plane is Embedded
	closed   bool

	translations map[netip.AddrPort]netip.Addr

	counting sync.Mutex
	moved    kernel.Counters // final counters of the pods that were removed
}

// New makes the control plane and, on the clients' node, the Service's rules. Place makes the pods
// as workers start. The caller closes the Cluster, even after an error.
func New(ctx context.Context, o Options) (c *Cluster, err error) {
	c = &Cluster{
		Options: o, lab: o.Lab, clock: o.Clock, plan: o.Plan,
		changed: make(chan struct{}), pods: map[int]*pod{}, cordoned: map[int]bool{},
		moved: kernel.Counters{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if c.rules, err = kube.NewRules(ctx, c.lab, c.lab.Clients(), c.clock); err != nil {
		return c, err
	}
	if err := c.lab.SetSysctl(c.lab.Clients(), closeTimeout, "300"); err != nil {
		return c, err
	}
	c.plane, err = kube.NewEmbedded(kube.EmbeddedOptions{
		Lags: c.plan.Lags, Seed: o.Seed, Nodes: map[string]kube.Syncer{"clients": c.rules},
		Clock: c.clock, Events: c.event,
	})
	if err != nil {
		return c, err
	}
	if c.plan.Names != nil {
		if err := c.serveNames(); err != nil {
			return c, err
		}
	}
	return c, c.plane.CreateService(ctx, plan.ServiceName, c.plan.Service)
}

// Serve sets the group whose workers the pods run. It must be called before the first worker
// starts.
func (c *Cluster) Serve(g *servers.Group) { c.group = g }

// serveNames starts the DNS server on the clients' node.
func (c *Cluster) serveNames() error {
	at := c.plan.Names.Server.String()
	var packets net.PacketConn
	var listener net.Listener
	err := c.lab.Do(c.lab.Clients(), func() (err error) {
		if packets, err = net.ListenPacket("udp4", at); err == nil {
			listener, err = net.Listen("tcp4", at)
		}
		return err
	})
	if err != nil {
		if packets != nil {
			err = errors.Join(err, packets.Close())
		}
		return fmt.Errorf("DNS server: %w", err)
	}
	c.names, err = dns.Serve(packets, listener, c.Seed)
	return err
}

// publish sets the addresses that the Service's name resolves to: the Service's own address or, for
// path dns, those of the ready endpoints.
func (c *Cluster) publish(endpoints []kube.Endpoint) error {
	var addrs []netip.Addr
	if c.plan.Path == vocabulary.PathService {
		addrs = []netip.Addr{c.plan.Service.Addr()}
	}
	for _, e := range endpoints {
		if e.Ready() && c.plan.Path == vocabulary.PathDNS {
			addrs = append(addrs, e.Address.Addr())
		}
	}
	_, err := c.names.Set(c.plan.Names.Name, addrs, c.plan.Names.TTL)
	return err
}

// event records an event. If the endpoints have changed, it publishes them.
func (c *Cluster) event(e kube.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind == kube.EndpointsChanged && c.names != nil {
		c.failed = errors.Join(c.failed, c.publish(e.Endpoints))
	}
	c.events = append(c.events, e)
	close(c.changed)
	c.changed = make(chan struct{})
}

// Cordon stops new pods from being placed on a node.
func (c *Cluster) Cordon(node int) { c.cordoned[node] = true }

// Cordoned reports whether Cordon or NodeDown was called for the node.
func (c *Cluster) Cordoned(node int) bool { return c.cordoned[node] }

// PlaceNext chooses the node of the next pod.
func (c *Cluster) PlaceNext(node int) { c.next = node }

// NodeOf returns the node of a worker's pod.
func (c *Cluster) NodeOf(w *servers.Worker) int { return c.podOf(w).Node }

// Register adds the workers' pods to the Service. It does not wait until the rules have changed;
// AwaitRules does. On a nil Cluster it does nothing.
func (c *Cluster) Register(ctx context.Context, workers []*servers.Worker) error {
	if c == nil || c.real != nil {
		return nil
	}
	for _, w := range workers {
		if err := c.serve(ctx, c.podOf(w)); err != nil {
			return err
		}
	}
	return nil
}

// AwaitRules waits until clients' connections can reach the pods of all these workers: until the
// rules lead to the pods or, for path dns, the name resolves to them. With path pod, clients know a
// pod's own address, and AwaitRules returns at once.
func (c *Cluster) AwaitRules(ctx context.Context, workers []*servers.Worker) error {
	if c.plan.Path == vocabulary.PathPod {
		return nil
	}
	reachable := func(w *servers.Worker) bool {
		p := c.pods[w.ID]
		return slices.ContainsFunc(c.events, func(e kube.Event) bool {
			if c.plan.Path == vocabulary.PathDNS {
				return hasReady(e, p.name)
			}
			return e.Kind == kube.EndpointAdded && c.isForClients(e, p)
		})
	}
	const late = "the Service's rules did not come into force in time"
	return c.await(ctx, c.plan.LongestLags+c.plan.RelistPeriod+rulesLimit, late, func() bool {
		return !slices.ContainsFunc(workers, func(w *servers.Worker) bool { return !reachable(w) })
	})
}

// AwaitReady waits until the kubelet of the worker's pod has reported the pod ready.
func (c *Cluster) AwaitReady(ctx context.Context, w *servers.Worker) error {
	name := c.podOf(w).name
	ready := func(e kube.Event) bool { return e.Kind == kube.PodReady && e.Pod == name }
	limit := c.plan.Startup + c.plan.RelistPeriod + 2*c.plan.ProbePeriod + rulesLimit
	return c.await(ctx, limit, "pod "+name+" was not ready in time", func() bool {
		return slices.ContainsFunc(c.events, ready)
	})
}

// await waits until holds returns true. It calls holds at once and after each event, with the
// cluster's lock held. If limit passes first, it returns an error with the message late.
func (c *Cluster) await(
	ctx context.Context, limit time.Duration, late string, holds func() bool,
) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New(late))
	defer cancel()
	for {
		c.mu.Lock()
		ok, changed, failed := holds(), c.changed, c.failed
		c.mu.Unlock()
		if ok {
			return nil
		}
		if failed != nil && c.real != nil { // with the embedded control plane Close returns it
			return failed
		}
		select {
		case <-changed:
		case err := <-c.failures():
			return c.broke(err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hasReady reports whether the pod is among the ready endpoints of the event.
func hasReady(e kube.Event, pod string) bool {
	return slices.ContainsFunc(e.Endpoints, func(x kube.Endpoint) bool {
		return x.Pod == pod && x.Ready()
	})
}

// Delete deletes the workers' pods. It notifies their kubelets and the control plane at the same
// time, and returns when the pods' listeners are closed.
func (c *Cluster) Delete(
	ctx context.Context, workers []*servers.Worker,
) (trigger, closed clock.Instant, err error) {
	trigger = c.clock.Now()
	for _, w := range workers {
		p := c.podOf(w)
		if p.silenced != 0 {
			return trigger, 0, fmt.Errorf("pod %s is on a node that is down, so its kubelet does "+
				"not learn of its deletion; delete a pod on another node", p.name)
		}
		if err := c.plane.DeletePod(ctx, p.name); err != nil {
			return trigger, 0, err
		}
		p.kubelet.Delete()
	}
	for _, w := range workers {
		p := c.podOf(w)
		select {
		case <-p.stopped:
		case <-p.ended:
		case <-ctx.Done():
			return trigger, 0, context.Cause(ctx)
		}
		p.mu.Lock()
		closed, err = max(closed, p.closed), errors.Join(err, p.err)
		p.mu.Unlock()
	}
	return trigger, closed, err
}

// NodeDown silences a node, and cordons it.
func (c *Cluster) NodeDown(node int) error {
	c.Cordon(node)
	at := c.clock.Now()
	c.mu.Lock()
	for _, p := range c.order {
		if p.Node == node && p.silenced == 0 {
			p.silenced = at
		}
	}
	c.mu.Unlock()
	return c.lab.NodeDown(node)
}

// Unready marks the workers' pods as not ready, as the node controller does for the pods of a node
// that has been silent for too long.
func (c *Cluster) Unready(ctx context.Context, workers []*servers.Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, c.plane.MarkUnready(ctx, c.podOf(w).name))
	}
	return errors.Join(errs...)
}

// Close ends the kubelets, the control plane and the rules. The workers must have exited before. It
// returns the errors of the pods. It may be called twice.
func (c *Cluster) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	if c.real != nil {
		return c.closeReal()
	}
	for _, p := range c.order {
		if p.exited != nil {
			<-p.exited // otherwise the kubelet would kill a process that has exited
		}
	}
	c.cancel()
	var errs []error
	for _, p := range c.order {
		if p.kubelet == nil {
			continue
		}
		<-p.ended
		p.mu.Lock()
		if p.err != nil {
			errs = append(errs, p.err)
			p.err = nil // so that it is reported only once
		}
		p.mu.Unlock()
	}
	if c.plane != nil {
		errs = append(errs, c.plane.Close(), c.failed)
	}
	if c.names != nil {
		errs = append(errs, c.names.Close())
	}
	if c.rules != nil {
		errs = append(errs, c.rules.Close())
	}
	c.plane, c.rules, c.names = nil, nil, nil
	return errors.Join(errs...)
}

package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/wire"
)

// The paths to the pods of a cluster: through a Service's address, by its name to their own, and to the first one's own address.
const (
	pathService = "service"
	pathDNS     = "dns"
	pathPod     = "pod"
)

// Where pods are, of package scenarios; by default each worker is a pod of its own, on the nodes in turn.
const (
	placeOneNode     = "one-node"     // on node A
	placeContainers  = "containers"   // the workers are containers of one pod
	placeHostNetwork = "host-network" // pods that have no network but node A's
)

// usersEach gives every worker a user id of its own.
const usersEach = "each"

// sharesNetwork says that all workers have one network namespace, and so compete for one port.
func sharesNetwork(s scenarios.Setup) bool {
	return s.Kube.Placement == placeContainers || s.Kube.Placement == placeHostNetwork
}

// serviceDNSName is the name of the Service, dnsPort where it is answered, dnsClients how many clients ask where the scenario does not say,
// dnsTTL how long they may keep it.
var serviceDNSName = dns.Name(serviceName, "default")

const (
	dnsPort    = 53
	dnsClients = 16
	dnsTTL     = 5 * time.Second
)

// behindService says that the workers of the setup are pods.
func behindService(s scenarios.Setup) bool {
	return s.Path == pathService || s.Path == pathDNS || s.Path == pathPod
}

// lookup is how the load finds the pods; nil when it need not.
func lookup(s scenarios.Setup) *load.Lookup {
	if s.Path != pathDNS {
		return nil
	}
	return &load.Lookup{
		Server: netip.AddrPortFrom(netlab.AddressesOfCluster().Client, dnsPort), Name: serviceDNSName,
		Policy: dns.Policy(s.DNS.Cache), Clients: cmp.Or(s.DNS.Clients, dnsClients),
	}
}

// controlPlaneEmbedded says in the results that the control plane was a stand-in of this program's.
const controlPlaneEmbedded = "embedded"

// serviceName is the one Service of a trial.
const serviceName = "web"

// serviceAddress is its ClusterIP, and its port.
func serviceAddress() netip.AddrPort {
	return netip.AddrPortFrom(netlab.AddressesOfCluster().Services.Addr().Next(), 80)
}

// firstPodAddress is that of the first pod of a trial, and its port: newCluster starts at node A, whose pods are given its addresses in order
// or, with the host's network, have its own. home checks it.
func firstPodAddress(s scenarios.Setup) netip.AddrPort {
	a := netlab.AddressesOfCluster()
	if s.Kube.Placement == placeHostNetwork {
		return netip.AddrPortFrom(a.Nodes[0], serverPort)
	}
	return netip.AddrPortFrom(a.Pods[0].Addr().Next(), serverPort)
}

// defaultGrace is how long after preStop a pod is killed, where the scenario does not say.
const defaultGrace = 5 * time.Second

// defaultTeardown is from the end of a pod's processes to that of its network, where the scenario does not say.
const defaultTeardown = 200 * time.Millisecond

// rulesLimit bounds how long the rules may take, beyond the lags that were asked for.
const rulesLimit = 10 * time.Second

// closeTimeout keeps what the clients' node remembers of a refused connection until the trial's end, when it is read.
const closeTimeout = "net.netfilter.nf_conntrack_tcp_timeout_close"

// A cluster is the pods of a trial, and who sends connections to them.
type cluster struct {
	lab     *netlab.Lab
	clock   *wire.Clock
	setup   scenarios.Setup
	cpus    []int    // the servers'
	sysctls []Sysctl // of each pod
	group   *servers.Group
	rules   *kube.Rules
	plane   *kube.Embedded
	names   *dns.Server     // nil: a Service's address does
	ctx     context.Context // of the kubelets
	cancel  context.CancelFunc

	mu     sync.Mutex
	events []kube.Event
	failed error
	told   chan struct{} // closed, and made anew, with every event
	pods   map[int]*pod  // by worker
	order  []*pod
	next   int          // the node of the next pod
	closed map[int]bool // nodes that get no new pods

	counting sync.Mutex
	moved    kernel.Counters // of pods whose networks are gone
}

// A pod is a worker in a network of its own, or several, or one in its node's.
type pod struct {
	*netlab.Pod
	name    string
	workers []*servers.Worker // its containers
	kubelet *kube.Kubelet
	exited  chan struct{} // the last of its workers has; nil without a kubelet
	ended   chan struct{} // it is gone, and its network

	silenced wire.Instant // its node fell silent; 0: it did not. The cluster's mu guards it
	removed  bool         // its network is gone, or was never its own. The cluster's counting guards it

	mu      sync.Mutex
	once    sync.Once     // of stopped
	stopped chan struct{} // its listener is closed
	closed  wire.Instant  // when; 0: it is not
	err     error
}

// newCluster makes the Service's rules on the clients' node, and the control plane. The pods come with the workers.
func newCluster(ctx context.Context, t *trialRun) (c *cluster, err error) {
	c = &cluster{
		lab: t.lab, clock: t.clock, setup: t.variant.Setup, cpus: t.plan.ServerCPUs,
		told: make(chan struct{}), pods: map[int]*pod{}, closed: map[int]bool{}, moved: kernel.Counters{}, sysctls: t.variant.Sysctls,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if c.rules, err = kube.NewRules(ctx, t.lab, t.lab.Clients(), t.clock); err != nil {
		return c, err
	}
	if err := t.lab.SetSysctl(t.lab.Clients(), closeTimeout, "300"); err != nil {
		return c, err
	}
	k := c.setup.Kube
	c.plane, err = kube.NewEmbedded(kube.EmbeddedOptions{
		Lags:  kube.Lags{ReadyToEndpoint: distribution(k.EndpointLag), EndpointToRules: distribution(k.RulesLag), MinSyncPeriod: k.MinSyncPeriod},
		Seed:  t.plan.Seed,
		Nodes: map[string]kube.Syncer{"clients": c.rules},
		Clock: t.clock, Events: c.event,
	})
	if err != nil {
		return c, err
	}
	var address netip.AddrPort // none: no rule leads to the pods
	switch c.setup.Path {
	case pathService:
		address = serviceAddress()
	case pathDNS:
		if err := c.serveNames(t.plan.Seed); err != nil {
			return c, err
		}
	}
	return c, c.plane.CreateService(ctx, serviceName, address)
}

// serveNames starts the DNS server, on the clients' node.
func (c *cluster) serveNames(seed uint64) error {
	at := lookup(c.setup).Server.String()
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
	c.names, err = dns.Serve(packets, listener, seed)
	return err
}

// publish has the name answered by the ready endpoints.
func (c *cluster) publish(endpoints []kube.Endpoint) error {
	var addrs []netip.Addr
	for _, e := range endpoints {
		if e.Ready() {
			addrs = append(addrs, e.Address.Addr())
		}
	}
	_, err := c.names.Set(serviceDNSName, addrs, cmp.Or(c.setup.DNS.TTL, dnsTTL))
	return err
}

func (c *cluster) event(e kube.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind == kube.EndpointsChanged && c.names != nil {
		c.failed = errors.Join(c.failed, c.publish(e.Endpoints))
	}
	c.events = append(c.events, e)
	close(c.told)
	c.told = make(chan struct{})
}

// home is the pod of a worker.
func (c *cluster) home(ctx context.Context, w *servers.Worker) (servers.Home, error) {
	p, err := c.podFor(ctx, w)
	if err != nil {
		return servers.Home{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := netip.AddrPortFrom(p.Addr, serverPort)
	if first := firstPodAddress(c.setup); len(c.order) == 0 && c.setup.Path == pathPod && at != first {
		return servers.Home{}, fmt.Errorf("pod %s is at %v, and clients were told %v", p.name, at, first)
	}
	if len(p.workers) == 0 {
		c.order = append(c.order, p)
	}
	p.workers = append(p.workers, w)
	c.pods[w.ID] = p
	start := starter(c.lab, p.Host, c.cpus)
	if c.setup.Kube.Users == usersEach {
		start = asUser(kernel.FirstOtherUser+uint32(w.Place), start)
	}
	return servers.Home{Address: at, Start: start}, nil
}

// podFor is a new pod for the worker, on the nodes in turn where nothing else is said, or the one that there is for all of them.
func (c *cluster) podFor(ctx context.Context, w *servers.Worker) (*pod, error) {
	place := c.setup.Kube.Placement
	if place == placeContainers && len(c.order) > 0 {
		return c.order[0], nil
	}
	p := &pod{name: fmt.Sprintf("%s-%d", serviceName, w.ID), ended: make(chan struct{}), stopped: make(chan struct{})}
	if place == placeHostNetwork {
		// Nobody gives or takes this network, and its counters are the node's.
		p.Pod, p.removed = &netlab.Pod{Host: c.lab.Node(0), Addr: netlab.AddressesOfCluster().Nodes[0]}, true
		return p, nil
	}
	node := c.next
	if c.closed[node] {
		node = 1 - node
	}
	var err error
	if p.Pod, err = c.lab.AddPod(ctx, node, p.name); err != nil {
		return nil, err
	}
	if c.next = 1 - node; place == placeOneNode {
		c.next = 0
	}
	for _, s := range c.sysctls {
		if err := c.lab.SetSysctl(p.Host, s.Name, s.Value); err != nil {
			return nil, errors.Join(err, c.lab.RemovePod(p.Pod))
		}
	}
	return p, nil
}

// asUser starts a worker under that user and group id. It need not be able to reach this program's file: what /proc/self/exe leads to is not
// found by its path.
func asUser(id uint32, start func(*exec.Cmd, []int) error) func(*exec.Cmd, []int) error {
	return func(cmd *exec.Cmd, cpus []int) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
		err := start(cmd, cpus)
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; this program's file must be executable by others: chmod o+x", err)
		}
		return err
	}
}

func (c *cluster) podOf(w *servers.Worker) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pods[w.ID]
}

// cordon has a node get no more pods.
func (c *cluster) cordon(node int) { c.closed[node] = true }

// serve puts a pod behind the Service. Its kubelet says when it is ready. A pod with a container that could not bind never is.
func (c *cluster) serve(ctx context.Context, p *pod) error {
	if p.kubelet != nil || slices.ContainsFunc(p.workers, func(w *servers.Worker) bool { return w.BindError() != 0 }) {
		return nil
	}
	err := c.plane.AddPod(ctx, kube.Pod{Name: p.name, Service: serviceName, Node: c.lab.Node(p.Node).Name, Address: netip.AddrPortFrom(p.Addr, serverPort)})
	if err != nil {
		return err
	}
	k := c.setup.Kube
	grace := k.Grace
	if grace == 0 {
		grace = k.PreStop + defaultGrace
	}
	p.watch()
	p.kubelet = kube.RunPod(c.ctx, kube.KubeletOptions{
		Pod: p.name, ControlPlane: c.plane, Clock: c.clock, Events: c.event,
		Lifecycle: kube.Lifecycle{PreStop: k.PreStop, Grace: grace, Period: cmp.Or(k.ProbePeriod, defaultProbePeriod)},
		Container: kube.Container{
			Start:     func(ctx context.Context) (<-chan struct{}, error) { c.awaitStarted(ctx, p); return p.exited, nil },
			Probe:     c.probeOf(p),
			Terminate: func() error { return c.terminate(p, servers.Way(c.setup.Stop)) },
			Kill:      func() error { return c.terminate(p, servers.Kill) },
		},
	})
	go func() {
		defer close(p.ended)
		err := p.kubelet.Wait()
		// At the end of the trial the lab sees to the networks.
		if sleepUntil(c.ctx, c.clock, c.clock.Now().Add(cmp.Or(k.Teardown, defaultTeardown))) == nil {
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

// terminate stops a pod's workers, and returns when they have been told.
func (c *cluster) terminate(p *pod, way servers.Way) error {
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
func (c *cluster) remove(p *pod) error {
	c.counting.Lock()
	defer c.counting.Unlock()
	if p.removed {
		return nil
	}
	last, err := readCounters(c.lab, p.Host)
	if err == nil {
		c.moved.Add(last)
		p.removed = true
	}
	return errors.Join(err, c.lab.RemovePod(p.Pod))
}

// counters are the sums over all pods, also those that are gone.
func (c *cluster) counters() (kernel.Counters, error) {
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
		now, err := readCounters(c.lab, p.Host)
		if err != nil {
			return nil, err
		}
		sum.Add(now)
	}
	return sum, nil
}

// begin puts workers behind the Service, which nobody waits for but before the load. It does nothing without a Service.
func (c *cluster) begin(ctx context.Context, workers []*servers.Worker) error {
	if c == nil {
		return nil
	}
	for _, w := range workers {
		if err := c.serve(ctx, c.podOf(w)); err != nil {
			return err
		}
	}
	return nil
}

// awaitRules waits until the clients' node sends connections to the pods of all these workers. Who knows a pod's own address needs no rule.
func (c *cluster) awaitRules(ctx context.Context, workers []*servers.Worker) error {
	if c.setup.Path == pathPod {
		return nil
	}
	k := c.setup.Kube
	return c.await(ctx, k.EndpointLag.Long()+k.RulesLag.Long()+k.MinSyncPeriod+rulesLimit, "the Service's rules did not come into force in time", func() bool {
		return !slices.ContainsFunc(workers, func(w *servers.Worker) bool {
			name := c.pods[w.ID].name
			return !slices.ContainsFunc(c.events, func(e kube.Event) bool {
				if c.names != nil {
					return hasReady(e, name)
				}
				return e.Kind == kube.EndpointAdded && e.Pod == name
			})
		})
	})
}

// awaitReady waits until the worker's kubelet has said that its pod is ready.
func (c *cluster) awaitReady(ctx context.Context, w *servers.Worker) error {
	name := c.podOf(w).name
	limit := c.setup.Server.Startup + 2*cmp.Or(c.setup.Kube.ProbePeriod, defaultProbePeriod) + rulesLimit
	return c.await(ctx, limit, "pod "+name+" was not ready in time", func() bool {
		return slices.ContainsFunc(c.events, func(e kube.Event) bool { return e.Kind == kube.PodReady && e.Pod == name })
	})
}

// await waits until the events so far are as they should be. The condition is asked under the cluster's lock.
func (c *cluster) await(ctx context.Context, limit time.Duration, otherwise string, is func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New(otherwise))
	defer cancel()
	for {
		c.mu.Lock()
		ok, told := is(), c.told
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hasReady says that the pod is among the ready endpoints that the event tells of.
func hasReady(e kube.Event, pod string) bool {
	return slices.ContainsFunc(e.Endpoints, func(x kube.Endpoint) bool { return x.Pod == pod && x.Ready() })
}

// delete deletes the workers' pods: their kubelets and the control plane hear of it at the same time. It returns when their listeners are
// closed.
func (c *cluster) delete(ctx context.Context, workers []*servers.Worker) (trigger, closed wire.Instant, err error) {
	trigger = c.clock.Now()
	for _, w := range workers {
		p := c.podOf(w)
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

// nodeDown silences a node.
func (c *cluster) nodeDown(node int) error {
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

// unready is what the node controller does to the pods of a node that it has not heard of for too long.
func (c *cluster) unready(ctx context.Context, workers []*servers.Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, c.plane.MarkUnready(ctx, c.podOf(w).name))
	}
	return errors.Join(errs...)
}

// since is the instant of the first event of that kind about the pod at or after another; 0: there was none. Endpoints have changed for it when it
// is among the ready ones, or is so no more.
func (c *cluster) since(p *pod, kind kube.EventKind, from wire.Instant, listed bool) wire.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case e.Kind != kind || e.At < from:
		case kind == kube.EndpointsChanged && hasReady(e, p.name) == listed:
			return e.At
		case kind != kube.EndpointsChanged && e.Pod == p.name:
			return e.At
		}
	}
	return 0
}

// routed is how many pods the rules of the clients' node lead to at an instant.
func (c *cluster) routed(at wire.Instant) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case e.At >= at:
		case e.Kind == kube.EndpointAdded:
			n++
		case e.Kind == kube.EndpointRemoved:
			n--
		}
	}
	return n
}

// nowhere is for how long the rules of the clients' node led to no pod, from one instant to another.
func (c *cluster) nowhere(from, to wire.Instant) (total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, since := 0, from
	for _, e := range c.events {
		at := min(max(e.At, from), to)
		switch {
		case e.Kind == kube.EndpointAdded:
			if n == 0 {
				total += int64(at.Sub(since))
			}
			n++
		case e.Kind == kube.EndpointRemoved:
			if n--; n == 0 {
				since = at
			}
		}
	}
	if n == 0 {
		total += int64(to.Sub(since))
	}
	return total
}

// gone is when a pod was there for nobody any more, its listener closed or its node silent; 0: it is.
func (c *cluster) gone(p *pod) wire.Instant {
	from := p.closing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.silenced != 0 && (from == 0 || p.silenced < from) {
		from = p.silenced
	}
	return from
}

// instants adds to a step, whose window lasts until an instant, what happened to its pods, and when the endpoints and the rules had
// followed the last of those it took away.
func (c *cluster) instants(b *books, f *fired, until int64, s *results.Step) {
	if c == nil {
		return
	}
	s.Endpoints = f.endpoints
	if c.setup.Path == pathService {
		s.NowhereNS = c.nowhere(f.trigger, b.begin.Add(time.Duration(until)))
	}
	for _, w := range slices.Concat(f.stopped, f.silenced) {
		p := c.lost(b, c.podOf(w), f.trigger)
		s.Pods = append(s.Pods, p)
		s.EndpointsNS, s.RulesNS = p.EndpointsNS, p.RulesNS
	}
	for _, w := range f.started {
		s.Pods = append(s.Pods, c.added(b, c.podOf(w)))
	}
}

// lost is a pod that a step took away.
func (c *cluster) lost(b *books, p *pod, trigger wire.Instant) results.Pod {
	gone := c.gone(p)
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name,
		DeletedNS:   b.instant(c.since(p, kube.DeletionBegun, trigger, false)),
		TermNS:      b.instant(c.since(p, kube.TermSent, trigger, false)),
		ClosedNS:    b.instant(gone),
		EndpointsNS: b.instant(c.since(p, kube.EndpointsChanged, trigger, false)),
	}
	if c.setup.Path == pathService { // elsewhere no rule leads to it
		r.RulesNS = b.instant(c.since(p, kube.EndpointRemoved, trigger, false))
		r.Endpoints = c.routed(gone)
	}
	return r
}

// added is a pod that a step started.
func (c *cluster) added(b *books, p *pod) results.Pod {
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name, Started: true,
		ListenNS: b.instant(p.workers[0].ReadyAt()),
		ReadyNS:  b.instant(c.since(p, kube.PodReady, 0, true)), EndpointsNS: b.instant(c.since(p, kube.EndpointsChanged, 0, true)),
	}
	if c.setup.Path == pathService {
		r.RulesNS = b.instant(c.since(p, kube.EndpointAdded, 0, true))
	}
	return r
}

// end stops looking after the pods: what they ran is the group's to end, and has ended. It returns what went wrong with them.
func (c *cluster) end() error {
	if c == nil {
		return nil
	}
	for _, p := range c.order {
		if p.exited != nil {
			<-p.exited // or its kubelet would kill what has ended
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
			p.err = nil // said once
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

// translations are which pod the clients' node has sent each connection to, by the client's end: what its connection tracking
// remembers.
func (c *cluster) translations() (of map[netip.AddrPort]netip.Addr, err error) {
	of = map[netip.AddrPort]netip.Addr{}
	err = c.lab.Do(c.lab.Clients(), func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range flows {
			from, ok := netip.AddrFromSlice(f.Forward.SrcIP)
			to, ok2 := netip.AddrFromSlice(f.Reverse.SrcIP)
			if ok && ok2 {
				of[netip.AddrPortFrom(from.Unmap(), f.Forward.SrcPort)] = to.Unmap()
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connection tracking of the clients' node: %w", err)
	}
	return of, nil
}

// closing is when the last of its listeners began to close; 0: one has not.
func (p *pod) closing() (last wire.Instant) {
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

// routes are the pods that clients have been sent to.
func (c *cluster) routes(b *books, translations map[netip.AddrPort]netip.Addr) *routes {
	const never = math.MaxInt64 - clockSlack
	since := func(i wire.Instant, otherwise int64) int64 {
		if i == 0 {
			return otherwise
		}
		return b.since(int64(i))
	}
	r := &routes{translations: translations}
	for _, p := range c.order {
		if c.setup.Path == pathPod && p.Addr != firstPodAddress(c.setup).Addr() {
			continue // nobody asks for it
		}
		pod := routedPod{
			addr: p.Addr, worker: p.workers[0].ID, removed: never,
			listens: since(p.workers[0].ReadyAt(), never), gone: since(c.gone(p), never),
		}
		kind := kube.EndpointsChanged
		if c.setup.Path == pathService {
			kind = kube.EndpointAdded
			// Who knows a pod by name goes there for as long as the name is cached, and who knows its address for ever.
			pod.removed = since(c.since(p, kube.EndpointRemoved, 0, false), never)
		}
		if pod.added = since(c.since(p, kind, 0, true), never); c.setup.Path == pathPod {
			pod.added = -never // clients need not be told
		}
		r.pods = append(r.pods, pod)
	}
	return r
}

package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
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

// lookup is how the load finds the pods, or the Service, by name; nil when it knows an address.
func lookup(s scenarios.Setup) *load.Lookup {
	if s.Path != pathDNS && (s.Path != pathService || s.DNS == scenarios.DNS{}) {
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
	clock   *clock.Clock
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
		Seed:  t.servers.Seed, // the block's: its variants draw the same lags, other blocks others
		Nodes: map[string]kube.Syncer{"clients": c.rules},
		Clock: t.clock, Events: c.event,
	})
	if err != nil {
		return c, err
	}
	if lookup(c.setup) != nil {
		if err := c.serveNames(t.servers.Seed); err != nil {
			return c, err
		}
	}
	var address netip.AddrPort // none: no rule leads to the pods
	if c.setup.Path == pathService {
		address = serviceAddress()
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

// publish has the name answered: by the Service's address or, of a headless one, by the ready endpoints'.
func (c *cluster) publish(endpoints []kube.Endpoint) error {
	var addrs []netip.Addr
	if c.setup.Path == pathService {
		addrs = []netip.Addr{serviceAddress().Addr()}
	}
	for _, e := range endpoints {
		if e.Ready() && c.setup.Path == pathDNS {
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

// cordon has a node get no more pods.
func (c *cluster) cordon(node int) { c.closed[node] = true }

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
				if c.setup.Path == pathDNS {
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
func (c *cluster) delete(ctx context.Context, workers []*servers.Worker) (trigger, closed clock.Instant, err error) {
	trigger = c.clock.Now()
	for _, w := range workers {
		p := c.podOf(w)
		if p.silenced != 0 {
			return trigger, 0, fmt.Errorf("pod %s is on a node that is down: its kubelet does not hear of its deletion; aim at another", p.name)
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

// nodeDown silences a node, which gets no more pods.
func (c *cluster) nodeDown(node int) error {
	c.cordon(node)
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

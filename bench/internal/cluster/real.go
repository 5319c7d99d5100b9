package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// A real is the part of a Cluster whose pods a real Kubernetes runs. The Cluster's events come from
// watches of the API and from the kernels of the hosts: nothing here decides when a pod starts, is
// ready, or ends.
type real struct {
	kubernetes *kubernetes.Cluster
	name       string // of the Deployment and the Service; every trial has its own
	socket     string // where the processes in the pods ask for their pipes
	args       []string
	adopter    *servers.Adopter
	rules      []*kube.RulesWatch
	replicas   int            // at the start
	ended      sync.WaitGroup // waits for the goroutine that adopts workers
	churning   sync.WaitGroup // waits for the calls of the churn
	endChurn   func()         // nil: there is none
	churnBegan clock.Instant
	run        context.Context // ends with the run, or with the trial if that is earlier

	// The fields below are guarded by the cluster's mu.
	states  map[string]*podState
	slices  map[string][]kube.Endpoint // by name of the EndpointSlice
	arrived []*servers.Worker          // in the order in which their processes asked
	// holder is the one pod of all workers, which DeployPod has made, or nil. holding is its first
	// process.
	holder  *pod
	holding *servers.Applicant
	changes int   // of objects, by the churn
	crashed []int // the nodes that CrashNode ended
	broken  error // a process of Kubernetes has ended
	adopts  bool  // processes that ask become workers
}

// A podState is what the API last said about a pod.
type podState struct {
	ready, deleting, gone bool
	status                string // why it is not ready, for messages
}

// podsLimit is the maximum time in which the pods of a Deployment must be ready, in addition to
// their startup, and in which they must be gone.
const podsLimit = 60 * time.Second

// Settle is the age that pods of a real Kubernetes have at least when they are deleted. The kubelet
// learns of the state of a new pod by looking once a second, and a younger pod gets SIGTERM as much
// as a second late.
const Settle = 5 * time.Second

// NewReal makes the Service of a trial in a real Kubernetes, which outlives the trial. Deploy then
// makes the pods. args start a worker in the container or, with Options.Command, the process that
// runs the third-party server. The caller closes the Cluster, even after an error.
func NewReal(
	ctx context.Context, o Options, k *kubernetes.Cluster, args []string,
) (c *Cluster, err error) {
	c = &Cluster{
		Options: o, lab: o.Lab, clock: o.Clock, plan: o.Plan,
		changed: make(chan struct{}), pods: map[int]*pod{}, cordoned: map[int]bool{},
		moved: map[string]int64{},
		real: &real{
			kubernetes: k, args: args, states: map[string]*podState{},
			slices: map[string][]kube.Endpoint{}, adopts: true, run: ctx,
		},
	}
	c.real.name = fmt.Sprintf("%s-%d", plan.ServiceName, k.NextTrial())
	c.real.socket = filepath.Join(k.Shared(), c.real.name+".sock")
	c.ctx, c.cancel = context.WithCancel(context.Background())
	// An entry of an earlier trial would send a connection from the same port to a pod that is
	// gone.
	if err := c.lab.FlushConntrack(c.lab.Clients()); err != nil {
		return c, err
	}
	if err := c.lab.SetSysctl(c.lab.Clients(), closeTimeout, "300"); err != nil {
		return c, err
	}
	for node := range 2 { // one that an earlier trial has crashed
		if err := k.NodeUp(ctx, node); err != nil {
			return c, err
		}
	}
	err = k.SetProxy(ctx, kubernetes.Proxy{
		Mode: c.plan.ProxyMode, MinSyncPeriod: c.plan.Lags.MinSyncPeriod,
	})
	if err != nil {
		return c, err
	}
	for _, h := range []*netlab.Host{c.lab.Clients(), c.lab.Node(0), c.lab.Node(1)} {
		w, err := kube.WatchRules(c.lab, h, c.clock, c.ruleEvent)
		if err != nil {
			return c, err
		}
		c.real.rules = append(c.real.rules, w)
	}
	if c.real.adopter, err = servers.NewAdopter(c.real.socket); err != nil {
		return c, err
	}
	if err := c.watch(ctx, endpointSlices, c.sliceChanged); err != nil {
		return c, err
	}
	if err := c.watch(ctx, pods, c.podChanged); err != nil {
		return c, err
	}
	if c.plan.MinAvailable > 0 {
		if err := c.create(ctx, budgets, c.budgetObject()); err != nil {
			return c, err
		}
	}
	return c, c.create(ctx, services, c.serviceObject())
}

// watch begins a watch of the objects of a resource, which lasts until the cluster is closed. It
// waits for the API until ctx ends.
func (c *Cluster) watch(
	ctx context.Context, resource string, event func(kubernetes.WatchEvent),
) error {
	lasting, end := context.WithCancelCause(c.ctx)
	stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	defer stop()
	return c.real.kubernetes.Watch(lasting, resource, namespace, event)
}

// Real reports whether a real Kubernetes runs the pods.
func (c *Cluster) Real() bool { return c != nil && c.real != nil }

// create creates an object.
func (c *Cluster) create(ctx context.Context, resource string, o object) error {
	return c.do(ctx, kubernetes.Request{
		Verb: "create", Resource: resource, Namespace: namespace, Body: o,
	})
}

func (c *Cluster) do(ctx context.Context, r kubernetes.Request) error {
	_, err := c.real.kubernetes.Do(ctx, r)
	return err
}

// Deploy creates the Deployment of the first generation, and returns when clients can reach all of
// its pods and the youngest is old enough.
func (c *Cluster) Deploy(ctx context.Context, gen *servers.Generation, replicas int) error {
	c.real.replicas = replicas
	c.real.ended.Go(c.adopt)
	if err := c.create(ctx, deployments, c.deploymentObject(replicas, gen.Number)); err != nil {
		return err
	}
	limit := c.plan.Startup + c.plan.MinReady + podsLimit
	err := c.await(ctx, limit, "the pods were not ready in time", func() bool {
		ready, _ := c.workers()
		gen.Workers = ready
		return len(ready) == replicas
	})
	if err != nil {
		return c.explain(err)
	}
	for _, w := range gen.Workers {
		gen.Ready = max(gen.Ready, w.ReadyAt())
	}
	if err := c.AwaitRules(ctx, gen.Workers); err != nil {
		return err
	}
	if c.plan.Churn > 0 {
		if err := c.churn(ctx, c.plan.Churn); err != nil {
			return err
		}
	}
	return c.clock.SleepUntil(ctx, gen.Ready.Add(Settle))
}

// DeployPod creates a Deployment of one pod, whose process only holds the pod's namespaces. It
// returns when workers can be started in the pod.
func (c *Cluster) DeployPod(ctx context.Context) error {
	c.real.replicas = 1
	c.real.ended.Go(c.adopt)
	if err := c.create(ctx, deployments, c.deploymentObject(1, 0)); err != nil {
		return err
	}
	err := c.await(ctx, podsLimit, "the pod did not start in time", func() bool {
		return c.real.holder != nil
	})
	if err != nil {
		return c.explain(err)
	}
	for _, s := range c.Sysctls {
		if err := c.lab.SetSysctl(c.real.holder.Host, s.Name, s.Value); err != nil {
			return err
		}
	}
	return nil
}

// hold makes p the pod of all workers, as long as the applicant, its first process, is alive.
func (c *Cluster) hold(p *pod, a *servers.Applicant) error {
	c.mu.Lock()
	again := c.real.holder != nil
	if !again {
		c.real.holder, c.real.holding = p, a
	}
	c.mu.Unlock()
	if again {
		return errors.Join(fmt.Errorf("pod %s has started again, so its workers are gone", p.name),
			a.Close(), c.lab.RemovePod(p.Pod))
	}
	c.signal()
	return nil
}

// Arrived returns the workers of all pods that have started, in order.
func (c *Cluster) Arrived() []*servers.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.real.arrived)
}

// workers returns the workers whose pods are ready, and those whose pods' deletion has begun. c.mu
// is held. A pod without a probe can be ready before its worker is.
func (c *Cluster) workers() (ready, deleted []*servers.Worker) {
	for _, w := range c.real.arrived {
		state := c.real.states[c.pods[w.ID].name]
		switch {
		case state == nil:
		case state.deleting:
			deleted = append(deleted, w)
		case state.ready && w.Serves():
			ready = append(ready, w)
		}
	}
	return ready, deleted
}

// explain adds to err why pods are not ready, and what has failed in Kubernetes.
func (c *Cluster) explain(err error) error {
	if failed := c.Failed(); failed != nil {
		return failed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, state := range c.real.states {
		if !state.ready && !state.gone && state.status != "" {
			err = fmt.Errorf("%w: pod %s: %s", err, name, state.status)
		}
	}
	return err
}

// Failed returns an error if a process of Kubernetes has ended, or nil.
func (c *Cluster) Failed() error {
	if !c.Real() {
		return nil
	}
	select {
	case err := <-c.real.kubernetes.Failed():
		return c.broke(err)
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.real.broken
}

// broke records the failure of Kubernetes, and returns it.
func (c *Cluster) broke(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real.broken = err
	return err
}

// failures returns a channel that gets an error when a process of Kubernetes has ended. It is nil
// with the embedded control plane.
func (c *Cluster) failures() <-chan error {
	if c.real == nil {
		return nil
	}
	return c.real.kubernetes.Failed()
}

// adopt makes a worker of each process that asks for its pipes, until the cluster is closed.
func (c *Cluster) adopt() {
	const most = 10 // failures in a row, after which the socket itself must be at fault
	for failures := 0; failures < most; failures++ {
		applicant, err := c.real.adopter.Accept(c.ctx)
		if c.ctx.Err() != nil {
			return
		}
		if err == nil {
			if err = c.adoptOne(applicant); err == nil {
				failures = -1
				continue
			}
		}
		c.fail(fmt.Errorf("a process in a pod: %w", err))
	}
}

// fail records an error that makes the trial invalid.
func (c *Cluster) fail(err error) {
	c.mu.Lock()
	c.failed = errors.Join(c.failed, err)
	c.mu.Unlock()
	c.signal()
}

// EndAdoption refuses processes that ask from now on: their pods are about to be deleted.
func (c *Cluster) EndAdoption() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real.adopts = false
}

// adoptOne makes a worker of the process, or of the third-party server that the process is to run.
// It returns nil if the process has exited meanwhile.
func (c *Cluster) adoptOne(a *servers.Applicant) error {
	p, err := c.podOfApplicant(a)
	if p == nil {
		return errors.Join(err, a.Close())
	}
	if c.plan.OnePod() {
		return c.hold(p, a)
	}
	if c.Watch != nil {
		if p.leave, err = c.Watch(c.in(p)); err != nil {
			return errors.Join(err, a.Close(), c.lab.RemovePod(p.Pod))
		}
	}
	w, err := c.group.AdoptWorker(c.ctx, a.Generation, c.freeIndex(), a, servers.Placement{
		Address: netip.AddrPortFrom(p.Addr, plan.ServerPort), Do: c.in(p),
	})
	if err != nil {
		if p.leave != nil {
			err = errors.Join(ignoreExited(err), p.leave())
		}
		return errors.Join(ignoreExited(err), c.lab.RemovePod(p.Pod))
	}
	p.workers = []*servers.Worker{w}
	c.mu.Lock()
	c.order = append(c.order, p)
	c.pods[w.ID] = p
	c.real.arrived = append(c.real.arrived, w)
	if slices.Contains(c.real.crashed, p.Node) {
		w.Expect()
	}
	c.mu.Unlock()
	c.signal()
	c.real.ended.Go(func() {
		err := c.group.AwaitWorker(c.ctx, w)
		c.mu.Lock()
		state := c.real.states[p.name]
		ended := state != nil && state.deleting || !c.real.adopts
		c.mu.Unlock()
		if err != nil && c.ctx.Err() == nil && !ended {
			c.fail(err)
		}
		c.signal()
	})
	return nil
}

// podOfApplicant returns the pod that a process runs in, as its environment says. It returns nil if
// the process has exited or is refused.
func (c *Cluster) podOfApplicant(a *servers.Applicant) (*pod, error) {
	c.mu.Lock()
	adopts := c.real.adopts
	c.mu.Unlock()
	if !adopts {
		return nil, nil
	}
	env, err := environmentOf(a.PID)
	if err != nil {
		return nil, ignoreExited(err)
	}
	addr, err := netip.ParseAddr(env[envPodIP])
	if err != nil {
		return nil, fmt.Errorf("pod %s: %s: %w", a.Pod, envPodIP, err)
	}
	p := &pod{name: a.Pod, ended: make(chan struct{}), stopped: make(chan struct{})}
	node := 0
	if env[envNode] == c.lab.Node(1).Name {
		node = 1
	}
	p.removed = c.plan.Placement.Row().OnHost // the network and its counters belong to the node
	if c.plan.Placement == vocabulary.PlacementHostNetwork {
		p.Pod = &netlab.Pod{Host: c.lab.Node(node), Addr: addr, Node: node}
		return p, nil
	}
	if p.Pod, err = c.lab.AdoptPod(a.PID, node, p.name, addr); err != nil {
		return nil, ignoreExited(err)
	}
	return p, nil
}

// ignoreExited returns nil for an error that says that a process has exited.
func ignoreExited(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// environmentOf returns the environment with which a process was started.
func environmentOf(pid int) (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for pair := range bytes.SplitSeq(text, []byte{0}) {
		name, value, _ := strings.Cut(string(pair), "=")
		env[name] = value
	}
	return env, nil
}

// freeIndex returns the least index that no worker has whose listener is open.
func (c *Cluster) freeIndex() int {
	used := map[int]bool{}
	for _, w := range c.Arrived() {
		if w.Closing().To == 0 {
			used[w.Index] = true
		}
	}
	for i := 0; ; i++ {
		if !used[i] {
			return i
		}
	}
}

// signal tells those who wait that something has changed without an event.
func (c *Cluster) signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// podChanged turns a change of a pod into events.
func (c *Cluster) podChanged(e kubernetes.WatchEvent) {
	var o podObject
	if !c.decode(e, &o) || o.Metadata.Labels["app"] != c.real.name {
		return
	}
	c.mu.Lock()
	state := c.real.states[o.Metadata.Name]
	isNew := state == nil
	if isNew {
		state = &podState{}
		c.real.states[o.Metadata.Name] = state
	}
	was := *state
	state.gone = e.Type == kubernetes.Deleted
	state.deleting = state.deleting || state.gone || o.Metadata.DeletionTimestamp != ""
	state.ready = o.ready() && !state.deleting
	state.status = o.why()
	ready := o.ready()
	c.mu.Unlock()
	emit := func(when bool, kind kube.EventKind) {
		if when {
			c.event(kube.Event{At: e.At, Kind: kind, Pod: o.Metadata.Name})
		}
	}
	emit(isNew, kube.PodAdded)
	emit(state.ready && !was.ready, kube.PodReady)
	emit(was.ready && !ready, kube.PodUnready)
	emit(state.deleting && !was.deleting, kube.DeletionBegun)
	emit(state.gone && !was.gone, kube.PodGone)
}

// why returns why a pod is not ready, in the API's words, or "".
func (p *podObject) why() string {
	for _, c := range p.Status.Conditions {
		if c.Status == "False" && c.Message != "" {
			return p.Status.Phase + ": " + c.Message
		}
	}
	return p.Status.Phase
}

// sliceChanged turns a change of an EndpointSlice into an event with all of the Service's
// endpoints.
func (c *Cluster) sliceChanged(e kubernetes.WatchEvent) {
	var o sliceObject
	if !c.decode(e, &o) ||
		o.Metadata.Labels["kubernetes.io/service-name"] != c.real.name {
		return
	}
	var endpoints []kube.Endpoint
	for _, x := range o.Endpoints {
		for _, address := range x.Addresses {
			addr, err := netip.ParseAddr(address)
			if err != nil {
				continue // a name, which this Service does not have
			}
			// An absent condition means true, but for terminating (discovery/v1,
			// EndpointConditions).
			endpoints = append(endpoints, kube.Endpoint{
				Pod: x.TargetRef.Name, Node: x.NodeName,
				Address:     netip.AddrPortFrom(addr, plan.ServerPort),
				Serving:     x.Conditions.Serving == nil || *x.Conditions.Serving,
				Terminating: x.Conditions.Terminating != nil && *x.Conditions.Terminating,
			})
		}
	}
	c.mu.Lock()
	c.real.slices[o.Metadata.Name] = endpoints
	if e.Type == kubernetes.Deleted {
		delete(c.real.slices, o.Metadata.Name)
	}
	var all []kube.Endpoint
	for _, part := range c.real.slices {
		all = append(all, part...)
	}
	c.mu.Unlock()
	c.event(kube.Event{
		At: e.At, Kind: kube.EndpointsChanged, Service: plan.ServiceName, Endpoints: all,
	})
}

// decode decodes the object of an event. It returns false for an event without an object.
func (c *Cluster) decode(e kubernetes.WatchEvent, into any) bool {
	switch e.Type {
	case kubernetes.Added, kubernetes.Modified, kubernetes.Deleted:
	case kubernetes.Lost:
		c.fail(fmt.Errorf("the connection to the API was lost, so instants are unknown: %s",
			e.Error))
		return false
	default:
		return false
	}
	err := json.Unmarshal(e.Object, into)
	if err != nil {
		c.fail(fmt.Errorf("an object of the API: %w", err))
	}
	return err == nil
}

// ruleEvent records a change of the rules of a host. The rules name a pod by its address.
func (c *Cluster) ruleEvent(e kube.Event) {
	c.mu.Lock()
	for _, p := range c.order {
		if p.Addr == e.Address.Addr() {
			e.Pod = p.name // the latest pod with that address
		}
	}
	c.mu.Unlock()
	c.event(e)
}

// Update makes the Deployment replace all of its pods by pods of the given generation.
func (c *Cluster) Update(ctx context.Context, generation int) error {
	return c.patch(ctx, object{"spec": object{"template": c.templateObject(generation)}})
}

// Scale sets the number of replicas.
func (c *Cluster) Scale(ctx context.Context, replicas int) error {
	return c.patch(ctx, object{"spec": object{"replicas": replicas}})
}

func (c *Cluster) patch(ctx context.Context, change object) error {
	return c.do(ctx, kubernetes.Request{
		Verb: "patch", Resource: deployments, Namespace: namespace, Name: c.real.name,
		Patch: "merge", Body: change,
	})
}

// DeletePod deletes the pod of a worker. Its ReplicaSet makes another one at once.
func (c *Cluster) DeletePod(ctx context.Context, w *servers.Worker) error {
	return c.do(ctx, kubernetes.Request{
		Verb: "delete", Resource: pods, Namespace: namespace, Name: c.podOf(w).name,
	})
}

// Evict asks for the eviction of the pod of a worker, as 'kubectl drain' does. While the
// PodDisruptionBudget forbids it, Evict asks again every interval.
func (c *Cluster) Evict(ctx context.Context, w *servers.Worker) error {
	const interval = 100 * time.Millisecond
	for {
		err := c.do(ctx, kubernetes.Request{
			Verb: "evict", Resource: pods, Namespace: namespace, Name: c.podOf(w).name,
		})
		var refused *kubernetes.APIError
		if !errors.As(err, &refused) || refused.Code != 429 {
			return err
		}
		if err := c.clock.SleepUntil(ctx, c.clock.Now().Add(interval)); err != nil {
			return fmt.Errorf("%w: %w", err, refused)
		}
	}
}

// SetCordon stops new pods from being scheduled on a node, or allows them again.
func (c *Cluster) SetCordon(ctx context.Context, node int, on bool) error {
	c.cordoned[node] = true // until the call has succeeded
	err := c.do(ctx, kubernetes.Request{
		Verb: "patch", Resource: nodes, Name: c.lab.Node(node).Name, Patch: "merge",
		Body: object{"spec": object{"unschedulable": on}},
	})
	if err == nil {
		c.cordoned[node] = on
	}
	return err
}

// CrashNode ends all processes of a node, and cuts it off from the network.
func (c *Cluster) CrashNode(node int) error {
	at := c.clock.Now()
	c.mu.Lock()
	c.real.crashed = append(c.real.crashed, node)
	for _, p := range c.order {
		if p.Node == node && p.silenced == 0 {
			p.silenced = at
			p.workers[0].Expect()
		}
	}
	c.mu.Unlock()
	return c.real.kubernetes.NodeDown(node)
}

// Await waits until holds returns true for the workers that arrived. It calls holds with those
// whose pods are ready, and those whose pods' deletion has begun, in that order.
func (c *Cluster) Await(
	ctx context.Context, limit time.Duration, late string,
	holds func(ready, deleted []*servers.Worker) bool,
) error {
	return c.await(ctx, limit, late, func() bool { return holds(c.workers()) })
}

// DeletedAt returns when the deletion of the worker's pod began, or 0.
func (c *Cluster) DeletedAt(w *servers.Worker) clock.Instant {
	return c.since(c.podOf(w), kube.DeletionBegun, 0, false)
}

// Undeploy begins to delete the Deployment and its pods, without their grace. Their workers may
// then exit. Further calls delete the pods that are left.
func (c *Cluster) Undeploy(ctx context.Context) error {
	c.EndAdoption()
	for _, w := range c.Arrived() {
		w.Expect()
	}
	err := ignoreGone(c.do(ctx, kubernetes.Request{
		Verb: "delete", Resource: deployments, Namespace: namespace, Name: c.real.name,
		Options: object{"propagationPolicy": "Background"},
	}))
	for _, name := range c.podsLeft() {
		err = errors.Join(err, ignoreGone(c.do(ctx, kubernetes.Request{
			Verb: "delete", Resource: pods, Namespace: namespace, Name: name,
			Options: object{"gracePeriodSeconds": 1},
		})))
	}
	return err
}

// ignoreGone returns nil for the API's error that an object does not exist.
func ignoreGone(err error) error {
	var failed *kubernetes.APIError
	if errors.As(err, &failed) && failed.Code == 404 {
		return nil
	}
	return err
}

// podsLeft returns the names of the pods that are not gone.
func (c *Cluster) podsLeft() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left()
}

// left is like podsLeft. c.mu is held.
func (c *Cluster) left() (names []string) {
	for name, state := range c.real.states {
		if !state.gone {
			names = append(names, name)
		}
	}
	return names
}

// abortLimit is the maximum time for which closeReal waits once the run has ended. An API that
// works needs less. A user who has pressed Ctrl-C waits for at most this time.
const abortLimit = 3 * time.Second

// closeReal removes what the trial made in Kubernetes, which goes on running.
func (c *Cluster) closeReal() error {
	ctx, cancel := context.WithTimeout(context.Background(), podsLimit)
	defer cancel()
	ended := context.AfterFunc(c.real.run, func() { time.AfterFunc(abortLimit, cancel) })
	defer ended()
	var errs []error
	if c.plan.Churn > 0 {
		errs = append(errs, c.removeChurned(ctx))
	}
	for node := range 2 {
		if c.cordoned[node] {
			errs = append(errs, c.SetCordon(ctx, node, false))
		}
	}
	errs = append(errs, c.Undeploy(ctx))
	for _, resource := range []string{services, budgets} {
		errs = append(errs, ignoreGone(c.do(ctx, kubernetes.Request{
			Verb: "delete", Resource: resource, Namespace: namespace, Name: c.real.name,
		})))
	}
	c.mu.Lock()
	errs = append(errs, c.failed)
	c.failed = nil
	crashed := len(c.real.crashed) > 0
	c.mu.Unlock()
	// The pods of a crashed node stay until the node is up again, and the API may be gone.
	if !crashed && c.Failed() == nil {
		const late = "the pods were not deleted in time"
		errs = append(errs, c.await(ctx, podsLimit, late, func() bool {
			return len(c.left()) == 0
		}))
	}
	c.cancel()
	if c.real.adopter != nil {
		errs = append(errs, c.real.adopter.Close())
	}
	c.real.ended.Wait()
	for _, w := range c.real.rules {
		errs = append(errs, w.Close())
	}
	for _, p := range c.order {
		errs = append(errs, c.remove(p))
	}
	if c.real.holder != nil {
		errs = append(errs, c.real.holding.Close(), c.lab.RemovePod(c.real.holder.Pod))
	}
	return errors.Join(errs...)
}

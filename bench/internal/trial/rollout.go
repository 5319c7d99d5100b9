package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// A rollout starts and deletes pods, several at a time. Like Kubernetes' controllers, it does not
// wait until a deleted pod is gone. Its methods must be called from one goroutine.
type rollout struct {
	*timeline
	step *step
	ctx  context.Context
	end  context.CancelFunc

	pending  int // outcomes still to come
	outcomes chan outcome
	// available is the number of available pods: old pods that were not deleted, and new pods that
	// have been ready for long enough.
	available int
}

// An outcome is a result of starting or deleting a pod. A start has two: the worker is ready, and
// the pod is available.
type outcome struct {
	available       bool          // a new pod became available
	trigger, closed clock.Instant // set for a deletion only
	err             error
}

func (t *timeline) newRollout(ctx context.Context, s *step) *rollout {
	r := &rollout{
		timeline: t, step: s, available: len(t.current.Workers), outcomes: make(chan outcome),
	}
	r.ctx, r.end = context.WithCancel(ctx)
	return r
}

// run calls act, which starts and deletes as many pods as are allowed at that moment. It calls act
// again after each outcome, until no outcome is pending. After an error it no longer calls act.
func (r *rollout) run(act func() error) error {
	defer r.end()
	err := act()
	for r.pending > 0 {
		// After errTooLate the new pods stay, because they may still have attempts to answer.
		if err != nil && !errors.Is(err, errTooLate) {
			r.end()
		}
		o := <-r.outcomes
		r.pending--
		if o.available {
			r.available++
		}
		if o.trigger != 0 && (r.step.trigger == 0 || o.trigger < r.step.trigger) {
			r.step.trigger = o.trigger
		}
		r.step.closed = max(r.step.closed, o.closed)
		switch {
		case err == nil && o.err == nil:
			err = act()
		case err == nil:
			err = o.err
		}
	}
	for _, w := range r.step.started {
		r.step.ready = max(r.step.ready, w.ReadyAt())
	}
	return err
}

// start starts a pod with the given index in the generation. The pod becomes available when it has
// been ready for kube.min_ready, and the controller learns that after kube.controller_lag.
func (r *rollout) start(generation, index int) (*servers.Worker, error) {
	if r.step.began == 0 {
		r.step.began = r.clock.Now()
	}
	w, err := r.group.LaunchWorker(r.ctx, generation, index, 0)
	if err != nil {
		return nil, err
	}
	r.step.started = append(r.step.started, w)
	if err := r.cluster.Register(r.ctx, []*servers.Worker{w}); err != nil {
		return nil, err
	}
	r.pending += 2
	go func() { r.outcomes <- outcome{err: r.group.AwaitWorker(r.ctx, w)} }()
	go func() {
		err := r.cluster.AwaitReady(r.ctx, w)
		wait := r.variant.Cluster.MinReady + r.cluster.ControllerLag(w)
		if err == nil && wait > 0 {
			err = r.clock.SleepUntil(r.ctx, r.clock.Now().Add(wait))
		}
		r.outcomes <- outcome{available: err == nil, err: err}
	}()
	return w, nil
}

// delete begins the deletion of a pod, and does not wait for it. The pod no longer counts as
// available.
func (r *rollout) delete(w *servers.Worker) {
	r.step.stopped, r.step.endpoints = append(r.step.stopped, w), r.endpoints()
	r.available--
	r.pending++
	go func() {
		var o outcome
		o.trigger, o.closed, o.err = r.stop(r.ctx, r.step, []*servers.Worker{w}, r.variant.Stop)
		r.outcomes <- o
	}()
}

// rollingUpdate replaces all pods as a Deployment does. It starts a new pod if at most max_surge
// pods more than wanted will then exist, and deletes an old pod if at most max_unavailable pods
// will then be missing (kubernetes.io, "Deployments", "Rolling Update Deployment"). Terminating
// pods count neither as existing nor as available. rollingUpdate waits until a new pod is ready,
// but not until the rules lead to it.
func (t *timeline) rollingUpdate(ctx context.Context, s *step) error {
	k := t.variant.Cluster
	r := t.newRollout(ctx, s)
	old := slices.Clone(t.current.Workers)
	replaced, want := old, len(old)
	next := t.nextGeneration()
	err := r.run(func() error {
		for acted := true; acted; {
			acted = false
			for n := len(s.started); n < want && len(old)+n < want+k.MaxSurge; n = len(s.started) {
				if _, err := r.start(next.Number, replaced[n].Index); err != nil {
					return err
				}
				acted = true
			}
			for len(old) > 0 && r.available-1 >= want-k.MaxUnavailable {
				r.delete(old[0])
				old, acted = old[1:], true
			}
		}
		return nil
	})
	next.Workers = slices.Concat(s.started, old)
	return err
}

// scale starts pods, or deletes the newest ones, to reach the number that the step asks for.
func (t *timeline) scale(ctx context.Context, s *step) error {
	r := t.newRollout(ctx, s)
	now := slices.Clone(t.current.Workers)
	want := *s.Replicas
	s.what = fmt.Sprintf("%d to %d pods", len(now), want)
	if want >= len(now) {
		s.trigger = t.clock.Now()
	}
	err := r.run(func() error {
		for len(now) < want {
			w, err := r.start(t.current.Number, plan.FreeIndex(indexes(now)))
			if err != nil {
				return err
			}
			now = append(now, w)
		}
		byAge := func(a, b *servers.Worker) int { return cmp.Compare(a.ID, b.ID) }
		slices.SortStableFunc(now, byAge)
		for len(now) > want {
			r.delete(now[len(now)-1])
			now = now[:len(now)-1]
		}
		return nil
	})
	t.current.Workers = now
	return err
}

// movePod deletes a pod, and at the same time starts a replacement on the other one of the two
// nodes.
func (t *timeline) movePod(ctx context.Context, s *step) error {
	index, old, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	always := func(*rollout) bool { return true }
	return t.move(ctx, s, []int{index}, always, 1-t.cluster.NodeOf(old))
}

// drainNode evicts every pod of a node, as 'kubectl drain' does. It evicts a pod only if enough
// others are available (a PodDisruptionBudget). From the beginning of the drain, no new pod is
// placed on the node.
func (t *timeline) drainNode(ctx context.Context, s *step) error {
	node := s.Node()
	s.what = fmt.Sprintf("node %d", node)
	t.cluster.Cordon(node)
	var indexes []int
	for i, w := range t.current.Workers {
		if t.cluster.NodeOf(w) == node {
			indexes = append(indexes, i)
		}
	}
	if len(indexes) == 0 {
		return fmt.Errorf("there is no pod on node %d", node)
	}
	needed := t.variant.Cluster.MinAvailable
	enough := func(r *rollout) bool { return r.available-1 >= needed }
	return t.move(ctx, s, indexes, enough, 1-node)
}

// move deletes the pods with the given indexes, each as soon as may returns true. Together with
// each deletion, it starts a replacement on the given node. A ReplicaSet also starts the
// replacement at once, because it does not count terminating pods.
func (t *timeline) move(
	ctx context.Context, s *step, indexes []int, may func(*rollout) bool, node int,
) error {
	if t.cluster.Cordoned(node) {
		return fmt.Errorf("node %d takes no pods: it is drained, or down", node)
	}
	r := t.newRollout(ctx, s)
	t.current.Workers = slices.Clone(t.current.Workers)
	err := r.run(func() error {
		for len(indexes) > 0 && may(r) {
			i := indexes[0]
			indexes = indexes[1:]
			old := t.current.Workers[i]
			r.delete(old)
			t.cluster.PlaceNext(node)
			w, err := r.start(old.Generation, old.Index)
			if err != nil {
				return err
			}
			t.current.Workers[i] = w
		}
		return nil
	})
	if err == nil && len(indexes) > 0 {
		err = fmt.Errorf("%d of the node's pods may not be evicted: kube.min_available is %d",
			len(indexes), t.variant.Cluster.MinAvailable)
	}
	return err
}

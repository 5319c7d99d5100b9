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

// A rollout starts and deletes pods, several at a time, as Kubernetes' controllers do: none waits
// until the pod that it has deleted is gone. Its methods belong to one goroutine.
type rollout struct {
	*timeline
	step *step
	ctx  context.Context
	end  context.CancelFunc

	pending   int // outcomes that are still to come
	outcomes  chan outcome
	available int // pods that count as available: those there were, less the deleted, and the new ones by and by
}

// An outcome is what has come of something that a rollout has begun.
type outcome struct {
	available       bool          // a new pod is
	trigger, closed clock.Instant // of a deletion
	err             error
}

func (t *timeline) newRollout(ctx context.Context, s *step) *rollout {
	r := &rollout{timeline: t, step: s, available: len(t.current.Workers), outcomes: make(chan outcome)}
	r.ctx, r.end = context.WithCancel(ctx)
	return r
}

// run does what act can do at the time, and again whenever a pod has become available or is closed,
// until nothing is under way. After an error it begins nothing more.
func (r *rollout) run(act func() error) error {
	defer r.end()
	err := act()
	for r.pending > 0 {
		if err != nil && !errors.Is(err, errTooLate) { // what has been started then may still have something to answer
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

// start starts a pod in the place of a generation, which becomes available when it has been ready
// for long enough.
func (r *rollout) start(generation, place int) (*servers.Worker, error) {
	if r.step.began == 0 {
		r.step.began = r.clock.Now()
	}
	w, err := r.group.LaunchWorker(r.ctx, generation, place, 0)
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
		if min := r.variant.Cluster.MinReady; err == nil && min > 0 {
			err = r.clock.SleepUntil(r.ctx, r.clock.Now().Add(min))
		}
		r.outcomes <- outcome{available: err == nil, err: err}
	}()
	return w, nil
}

// delete begins a pod's deletion. It counts as available no more.
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

// rollingUpdate replaces all pods as a Deployment does: it starts new ones while there are no more
// than max_surge too many, and deletes old ones while no more than max_unavailable are missing
// (kubernetes.io, "Deployments", "Rolling Update Deployment"). Pods that are being deleted count as
// neither. That a pod is ready is all it waits for, not that rules lead to it.
func (t *timeline) rollingUpdate(ctx context.Context, s *step) error {
	k := t.variant.Cluster
	r := t.newRollout(ctx, s)
	old := slices.Clone(t.current.Workers)
	places, want := old, len(old)
	next := t.nextGeneration()
	err := r.run(func() error {
		for acted := true; acted; {
			acted = false
			for n := len(s.started); n < want && len(old)+n < want+k.MaxSurge; n = len(s.started) {
				if _, err := r.start(next.Number, places[n].Index); err != nil {
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

// scale starts pods, or deletes the newest, until there are as many as the step says.
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
		slices.SortStableFunc(now, func(a, b *servers.Worker) int { return cmp.Compare(a.ID, b.ID) })
		for len(now) > want {
			r.delete(now[len(now)-1])
			now = now[:len(now)-1]
		}
		return nil
	})
	t.current.Workers = now
	return err
}

// movePod deletes a pod while another is started on the other node.
func (t *timeline) movePod(ctx context.Context, s *step) error {
	index, old, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	return t.move(ctx, s, []int{index}, func(*rollout) bool { return true }, 1-t.cluster.NodeOf(old))
}

// drainNode evicts every pod of a node, as 'kubectl drain' does, one after the other where
// otherwise too few would be available (a PodDisruptionBudget). The node gets no pod any more.
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
	least := t.variant.Cluster.MinAvailable
	return t.move(ctx, s, indexes, func(r *rollout) bool { return r.available-1 >= least }, 1-node)
}

// move deletes pods, each when it may be, and has a new one started on another node for each at the
// same time: so does a ReplicaSet, which does not count pods that are being deleted.
func (t *timeline) move(ctx context.Context, s *step, indexes []int, may func(*rollout) bool, node int) error {
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
		err = fmt.Errorf("%d of the node's pods may not be evicted: kube.min_available is %d", len(indexes), t.variant.Cluster.MinAvailable)
	}
	return err
}

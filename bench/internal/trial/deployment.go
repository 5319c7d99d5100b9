package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"reuseport-bench/bench/internal/cluster"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// realActions holds the implementation of each step on the pods of a real Kubernetes. Each makes
// the calls of the API that an operator would make, and waits for what comes of them.
var realActions = map[vocabulary.StepName]func(*timeline, context.Context, *step) error{
	vocabulary.StepDeletePod:     (*timeline).realDelete,
	vocabulary.StepRollingUpdate: (*timeline).realUpdate,
	vocabulary.StepScale:         (*timeline).realScale,
	vocabulary.StepMovePod:       (*timeline).realMove,
	vocabulary.StepDrainNode:     (*timeline).realDrain,
	vocabulary.StepNodeDown:      (*timeline).realNodeDown,
}

// realUpdate changes the Deployment's template, so that its controller replaces every pod.
func (t *timeline) realUpdate(ctx context.Context, s *step) error {
	if err := t.settle(ctx, t.current.Workers); err != nil {
		return err
	}
	next := t.nextGeneration()
	n := len(next.Workers)
	return t.change(ctx, s, n, n, func(ctx context.Context) error {
		return t.cluster.Update(ctx, next.Number)
	})
}

// realScale sets the Deployment's number of replicas. Its controller chooses the pods to delete.
func (t *timeline) realScale(ctx context.Context, s *step) error {
	now, want := len(t.current.Workers), *s.Replicas
	s.what = fmt.Sprintf("%d to %d pods", now, want)
	if err := t.settle(ctx, t.current.Workers); err != nil {
		return err
	}
	return t.change(ctx, s, max(0, now-want), max(0, want-now), func(ctx context.Context) error {
		return t.cluster.Scale(ctx, want)
	})
}

// realDelete deletes a pod. Its ReplicaSet replaces it.
func (t *timeline) realDelete(ctx context.Context, s *step) error {
	_, w, err := t.single(ctx, s)
	if err == nil {
		err = t.settle(ctx, []*servers.Worker{w})
	}
	if err != nil {
		return err
	}
	return t.change(ctx, s, 1, 1, func(ctx context.Context) error {
		return t.cluster.DeletePod(ctx, w)
	})
}

// realMove deletes a pod while its node takes no new ones, so that the replacement goes to the
// other node.
func (t *timeline) realMove(ctx context.Context, s *step) error {
	_, w, err := t.single(ctx, s)
	if err == nil {
		err = t.settle(ctx, []*servers.Worker{w})
	}
	if err != nil {
		return err
	}
	node := t.cluster.NodeOf(w)
	err = t.change(ctx, s, 1, 1, func(ctx context.Context) error {
		if err := t.cluster.SetCordon(ctx, node, true); err != nil {
			return err
		}
		return t.cluster.DeletePod(ctx, w)
	})
	return errors.Join(err, t.cluster.SetCordon(ctx, node, false))
}

// realDrain cordons a node and evicts its pods, as 'kubectl drain' does. The node takes pods again
// once the step is over.
func (t *timeline) realDrain(ctx context.Context, s *step) error {
	node := s.Node()
	s.what = fmt.Sprintf("node %d", node)
	var there []*servers.Worker
	for _, w := range t.current.Workers {
		if t.cluster.NodeOf(w) == node {
			there = append(there, w)
		}
	}
	if len(there) == 0 {
		return fmt.Errorf("there is no pod on node %d", node)
	}
	if err := t.settle(ctx, there); err != nil {
		return err
	}
	err := t.change(ctx, s, len(there), len(there), func(ctx context.Context) error {
		if err := t.cluster.SetCordon(ctx, node, true); err != nil {
			return err
		}
		for _, w := range there {
			if err := t.cluster.Evict(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, t.cluster.SetCordon(ctx, node, false))
}

// realNodeDown ends every process of a node and its network. The rest is up to Kubernetes.
func (t *timeline) realNodeDown(ctx context.Context, s *step) error {
	node := s.Node()
	s.what, s.endpoints = fmt.Sprintf("node %d", node), t.endpoints()
	s.trigger = t.clock.Now()
	for _, w := range t.current.Workers {
		if t.cluster.NodeOf(w) == node {
			s.silenced = append(s.silenced, w)
		}
	}
	return t.cluster.CrashNode(node)
}

// change makes a change by the API with call, and waits until Kubernetes has deleted the number of
// pods in removed and has started the number in added: until the listeners of the former are closed
// and the latter are ready. It does not wait for endpoints or rules.
func (t *timeline) change(
	ctx context.Context, s *step, removed, added int, call func(context.Context) error,
) error {
	if t.clock.Now() >= t.end {
		return errTooLate
	}
	left := t.end.Add(t.variant.Timeout).Sub(t.clock.Now()) + t.variant.Cluster.PreStop
	ctx, cancel := context.WithTimeoutCause(ctx, left, errTooLate)
	defer cancel()
	old, before := slices.Clone(t.current.Workers), t.cluster.Arrived()
	s.began, s.endpoints = t.clock.Now(), len(old)
	isOver := func(ready, deleted []*servers.Worker) bool {
		s.started = only(ready, func(w *servers.Worker) bool { return !slices.Contains(before, w) })
		s.stopped = only(deleted, func(w *servers.Worker) bool { return slices.Contains(old, w) })
		closed := func(w *servers.Worker) bool { return w.Closing().To != 0 }
		return len(s.started) == added && len(only(s.stopped, closed)) == removed
	}
	err := call(ctx)
	if err == nil && removed == 0 {
		s.trigger = s.began
	}
	if err == nil {
		err = t.cluster.Await(ctx, left, errTooLate.Error(), isOver)
	} else { // the call may have deleted some of the pods
		once := func(ready, deleted []*servers.Worker) bool { isOver(ready, deleted); return true }
		err = errors.Join(err, t.cluster.Await(ctx, left, "", once))
	}
	t.finish(s, old)
	if err != nil && context.Cause(ctx) == errTooLate {
		return errTooLate
	}
	return err
}

// settle waits until the pods of all these workers are old enough to be deleted (cluster.Settle).
func (t *timeline) settle(ctx context.Context, workers []*servers.Worker) error {
	var at clock.Instant
	for _, w := range workers {
		at = max(at, w.ReadyAt().Add(cluster.Settle))
	}
	if at >= t.end {
		return errTooLate
	}
	return t.clock.SleepUntil(ctx, at)
}

// finish completes the record of a step from what its pods went through.
func (t *timeline) finish(s *step, old []*servers.Worker) {
	began := func(w *servers.Worker) clock.Instant { return t.cluster.DeletedAt(w) }
	slices.SortStableFunc(s.stopped, func(a, b *servers.Worker) int {
		return cmp.Compare(began(a), began(b))
	})
	for _, w := range s.stopped {
		if at := began(w); at != 0 && (s.trigger == 0 || at < s.trigger) {
			s.trigger = at
		}
		s.closed = max(s.closed, w.Closing().To)
	}
	for _, w := range s.started {
		s.ready = max(s.ready, w.ReadyAt())
	}
	kept := only(old, func(w *servers.Worker) bool { return !slices.Contains(s.stopped, w) })
	t.current.Workers = slices.Concat(kept, s.started)
}

// only returns the workers for which keep returns true.
func only(all []*servers.Worker, keep func(*servers.Worker) bool) (kept []*servers.Worker) {
	for _, w := range all {
		if keep(w) {
			kept = append(kept, w)
		}
	}
	return kept
}

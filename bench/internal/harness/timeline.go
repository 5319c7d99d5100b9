package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// The kinds of step; package scenarios says which exist and what they need.
const (
	stepReplace = "replace"
	stepRoll    = "roll"
	stepAdd     = "add"
	stepRemove  = "remove"
	stepKill    = "kill"
	stepStall   = "stall"
	stepCrash   = "crash"
	stepCold    = "cold-start"

	stepDeletePod     = "delete-pod"
	stepRollingUpdate = "rolling-update"
	stepScale         = "scale"
	stepMovePod       = "move-pod"
	stepDrainNode     = "drain-node"
	stepNodeDown      = "node-down"
)

// fired is one step as it was carried out.
type fired struct {
	step    scenarios.Step
	target  string
	at      clock.Instant
	ready   clock.Instant // the last new worker was ready, or stopped ones went on; 0: neither
	trigger clock.Instant // just before the first signal; for a step that sends none, before the new worker was started
	began   clock.Instant // a rollout started its first pod; 0: it is none
	closed  clock.Instant // 0: closes nothing
	// stopped and started are the workers whose lives the step ended and began.
	stopped, started []*servers.Worker
	// held are the connections whose handshakes were held up when it stopped workers.
	held []netip.AddrPort
	// serving is how many workers serve when the step has added one.
	serving int
	// endpoints is how many pods the Service had before the step took one away.
	endpoints int
	// silenced are the workers whose node it silenced.
	silenced []*servers.Worker
}

// told are those of the workers that have been told to stop. The slice that it is given is somebody else's as well, and stays as it is.
func told(workers []*servers.Worker) []*servers.Worker {
	return slices.DeleteFunc(slices.Clone(workers), func(w *servers.Worker) bool { return w.Closing().Mode == "" })
}

// from is when a step begins to have consequences: with the trigger or, where rules may lead to a new pod before that, with its start.
func (s *fired) from() clock.Instant {
	if s.began != 0 && (s.trigger == 0 || s.began < s.trigger) {
		return s.began
	}
	return s.trigger
}

// timeline carries a trial's steps out, one after the other.
type timeline struct {
	group    *servers.Group
	stopMode servers.StopMode
	stalls   string // how, of package scenarios
	clock    *clock.Clock
	proxy    *haproxy.Process // nil without one
	cluster  *cluster         // nil without a Service
	holder   *holder          // nil: no handshake is held up
	current  *servers.Generation
	fired    []*fired
	end      clock.Instant // of the load
	late     int           // steps that were not carried out, because the load would have ended before
}

// errTooLate is the end of a timeline whose next step would only be carried out when nobody asks any more.
var errTooLate = errors.New("the load has ended")

// run fires every step when it is due, or as soon after as the one before it is done. It stops at
// the first that fails.
func (t *timeline) run(ctx context.Context, begin clock.Instant, duration time.Duration, firings []Firing) error {
	t.end = begin.Add(duration)
	for i, f := range firings {
		if err := t.clock.SleepUntil(ctx, begin.Add(f.At)); err != nil {
			return err
		}
		s := &fired{step: f.Step, at: t.clock.Now()}
		err := t.fire(ctx, s)
		if errors.Is(err, errTooLate) {
			t.late = len(firings) - i
			// What it had done by then has its consequences all the same.
			s.stopped = told(s.stopped)
			if len(s.stopped) > 0 && s.trigger != 0 {
				t.fired = append(t.fired, s)
			}
			t.current.Workers = slices.DeleteFunc(t.group.Workers(), func(w *servers.Worker) bool { return !w.Serves() || w.Acceptor })
			break
		}
		if err != nil {
			return fmt.Errorf("step %d (%s at %v): %w", i, f.Step.Do, f.At, err)
		}
		t.fired = append(t.fired, s)
	}
	return t.holder.settle()
}

func (t *timeline) fire(ctx context.Context, s *fired) error {
	s.target = fmt.Sprintf("generation %d", t.current.Number)
	switch s.step.Do {
	case stepReplace:
		return t.replace(ctx, s)
	case stepRoll:
		return t.roll(ctx, s)
	case stepRollingUpdate:
		return t.rollingUpdate(ctx, s)
	case stepScale:
		return t.scale(ctx, s)
	case stepMovePod:
		return t.movePod(ctx, s)
	case stepDrainNode:
		return t.drainNode(ctx, s)
	case stepNodeDown:
		return t.nodeDown(ctx, s)
	case stepAdd:
		return t.add(ctx, s, 0)
	case stepCold:
		return t.add(ctx, s, s.step.For)
	case stepRemove, stepDeletePod:
		return t.remove(ctx, s, t.stopMode)
	case stepKill:
		return t.remove(ctx, s, servers.Kill)
	case stepStall:
		return t.stall(ctx, s)
	case stepCrash:
		return t.crash(ctx, s)
	}
	return fmt.Errorf("unknown kind of step")
}

// aim picks the step's worker.
func (t *timeline) aim(s *fired, index int) (*servers.Worker, error) {
	if index >= len(t.current.Workers) {
		return nil, fmt.Errorf("target %d: there are %d workers now, counted from 0", index, len(t.current.Workers))
	}
	w := t.current.Workers[index]
	s.target = fmt.Sprintf("worker %d", w.ID)
	return w, nil
}

// replace starts a generation, waits until it is ready, and stops the one before.
func (t *timeline) replace(ctx context.Context, s *fired) error {
	if t.rebinds() {
		return t.rebind(ctx, s)
	}
	if err := t.hold(ctx, s); err != nil {
		return err
	}
	next, err := t.group.StartGeneration(ctx)
	if err != nil {
		return err
	}
	s.stopped, s.started = t.current.Workers, next.Workers
	t.current, s.ready = next, next.Ready
	s.trigger, s.closed, err = t.stop(ctx, s.stopped, t.stopMode)
	return err
}

// rebind starts a generation that cannot bind until the one before has closed, and stops that one at once.
func (t *timeline) rebind(ctx context.Context, s *fired) error {
	if err := t.hold(ctx, s); err != nil {
		return err
	}
	next, err := t.group.Launch(ctx)
	if err != nil {
		return err
	}
	s.stopped, s.started = t.current.Workers, next.Workers
	t.current = next
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.trigger, s.closed, err = t.stop(ctx, s.stopped, t.stopMode); errors.Is(err, errTooLate) {
		cancel() // nobody will make room for them
	}
	awaitErr := t.group.Await(ctx, next)
	if awaitErr == nil {
		s.ready = next.Ready
	}
	return errors.Join(err, awaitErr)
}

// rebinds says that a successor cannot bind before its predecessor has closed.
func (t *timeline) rebinds() bool {
	return t.stopMode == servers.BindAfterClose || t.stopMode == servers.LBDrain
}

// nextGeneration becomes the current one, with the workers of the one before for now.
func (t *timeline) nextGeneration() *servers.Generation {
	next := t.group.NextGeneration()
	next.Workers = slices.Clone(t.current.Workers)
	t.current = next
	return next
}

// roll replaces the workers one by one: it starts one, waits until it is ready, stops one, and goes on.
// Midway the generation is of both.
func (t *timeline) roll(ctx context.Context, s *fired) error {
	if t.proxy != nil && t.rebinds() {
		return t.rollBehindProxy(ctx, s)
	}
	next := t.nextGeneration()
	for i, old := range next.Workers {
		if err := t.hold(ctx, s); err != nil {
			return err
		}
		w, err := t.group.StartWorker(ctx, next.Number, old.Index, 0)
		if err != nil {
			return err
		}
		s.ready, next.Workers[i] = w.ReadyAt(), w
		s.started, s.stopped = append(s.started, w), append(s.stopped, old)
		trigger, closed, err := t.stop(ctx, []*servers.Worker{old}, t.stopMode)
		if i == 0 {
			s.trigger = trigger
		}
		s.closed = closed
		if err != nil {
			return err
		}
	}
	return nil
}

// endpoints is how many pods the Service has; 0: there is none.
func (t *timeline) endpoints() int {
	if t.cluster == nil {
		return 0
	}
	return len(t.current.Workers)
}

// nodeDown silences a node. Its pods' workers go on, unheard.
func (t *timeline) nodeDown(ctx context.Context, s *fired) error {
	node := s.step.Node()
	s.target, s.endpoints = fmt.Sprintf("node %d", node), t.endpoints()
	s.trigger = t.clock.Now()
	for _, w := range t.current.Workers {
		if t.cluster.podOf(w).Node == node {
			s.silenced = append(s.silenced, w)
		}
	}
	if err := t.cluster.nodeDown(node); err != nil {
		return err
	}
	if err := t.clock.SleepUntil(ctx, s.trigger.Add(t.cluster.setup.Kube.NodeLag)); err != nil {
		return err
	}
	return t.cluster.unready(ctx, s.silenced)
}

// add starts one more worker, which gets warm within cold; 0: it is warm.
func (t *timeline) add(ctx context.Context, s *fired, cold time.Duration) error {
	s.trigger = t.clock.Now()
	w, err := t.group.LaunchWorker(ctx, t.current.Number, freeIndex(t.current.Workers), cold)
	if err != nil {
		return err
	}
	if err := t.cluster.begin(ctx, []*servers.Worker{w}); err != nil {
		return err
	}
	if err := t.group.AwaitWorker(ctx, w); err != nil {
		return err
	}
	s.target = fmt.Sprintf("worker %d", w.ID)
	s.ready, s.started = w.ReadyAt(), []*servers.Worker{w}
	t.current.Workers = append(t.current.Workers, w)
	s.serving = len(t.current.Workers)
	return nil
}

// single is the one worker that a step is about to end, and where it stands in the generation: the target, by default the first.
func (t *timeline) single(ctx context.Context, s *fired) (index int, w *servers.Worker, err error) {
	if s.step.Target != nil {
		index = *s.step.Target
	}
	if w, err = t.aim(s, index); err == nil {
		err = t.hold(ctx, s)
	}
	return index, w, err
}

// freeIndex returns the lowest that none of the workers has.
func freeIndex(workers []*servers.Worker) int {
	for index := 0; ; index++ {
		if !slices.ContainsFunc(workers, func(w *servers.Worker) bool { return w.Index == index }) {
			return index
		}
	}
}

// remove stops one worker; nobody takes its place.
func (t *timeline) remove(ctx context.Context, s *fired, mode servers.StopMode) error {
	index, w, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	if t.proxy != nil && mode == servers.LBDrain {
		if err := t.drainBehindProxy(ctx, w); err != nil {
			return err
		}
	}
	s.stopped, s.endpoints = []*servers.Worker{w}, t.endpoints()
	t.current.Workers = slices.Delete(slices.Clone(t.current.Workers), index, index+1)
	s.trigger, s.closed, err = t.stop(ctx, s.stopped, mode)
	return err
}

// crash kills one worker, and starts another in its place a while later, as a supervisor does.
func (t *timeline) crash(ctx context.Context, s *fired) error {
	index, w, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	s.stopped = []*servers.Worker{w}
	s.trigger, s.closed, err = t.stop(ctx, s.stopped, servers.Kill)
	if err != nil {
		return err
	}
	if err := t.clock.SleepUntil(ctx, s.trigger.Add(s.step.For)); err != nil {
		return err
	}
	next, err := t.group.StartWorker(ctx, w.Generation, w.Index, 0)
	if err != nil {
		return err
	}
	s.ready, s.started = next.ReadyAt(), []*servers.Worker{next}
	t.current.Workers = slices.Clone(t.current.Workers)
	t.current.Workers[index] = next
	return nil
}

// stall stops every worker of the generation, or its target, for a while. They go on whatever happens meanwhile.
func (t *timeline) stall(ctx context.Context, s *fired) error {
	workers := t.current.Workers
	if s.step.Target != nil {
		w, err := t.aim(s, *s.step.Target)
		if err != nil {
			return err
		}
		workers = []*servers.Worker{w}
	}
	s.trigger = t.clock.Now()
	if t.stalls == stallSpin {
		if err := servers.BusyLoop(workers, s.step.For); err != nil {
			return err
		}
		err := t.clock.SleepUntil(ctx, s.trigger.Add(s.step.For))
		s.ready = t.clock.Now()
		return err
	}
	if err := servers.Signal(workers, unix.SIGSTOP); err != nil {
		return err
	}
	interrupted := t.clock.SleepUntil(ctx, s.trigger.Add(s.step.For))
	if err := servers.Signal(workers, unix.SIGCONT); err != nil {
		return err
	}
	s.ready = t.clock.Now()
	return interrupted
}

// stallSpin is the way to stall workers that keeps them busy instead of stopping them.
const stallSpin = "spin"

package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/cluster"
	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/watch"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// A step is one step of the timeline as it was carried out.
type step struct {
	plan.PlannedStep
	what string        // target, such as "generation 1" or "worker 3"
	at   clock.Instant // when it began
	late time.Duration // the time from when it was due until it began
	// queued is the number of connections that waited in the listeners' accept queues just before
	// the step closed these listeners, or resumed the stalled workers; nil: unknown.
	queued *int64
	// ready is the instant at which the last new worker was ready, or at which the stalled workers
	// were resumed. 0 means that neither happened.
	ready clock.Instant
	// trigger is the instant just before the first signal or, if the step sends no signal, just
	// before the start of the new worker.
	trigger clock.Instant
	began   clock.Instant // when a rollout started its first pod; 0: it started none
	closed  clock.Instant // when the last listener was closed; 0: it closed none
	// when a restart of a third-party server was over; 0: unknown, or another kind of step
	over clock.Instant
	// stopped and started are the workers that the step stopped and started.
	stopped, started []*servers.Worker
	// heldHandshakes are the connections whose handshakes were held up while the step stopped
	// workers.
	heldHandshakes []netip.AddrPort
	// serving is the number of workers that serve after the step has added one.
	serving int
	// endpoints is the number of pods that the Service had before the step removed one.
	endpoints int
	// silenced are the workers on the node that the step silenced.
	silenced []*servers.Worker
	// taken is true if the new workers could not bind because their address was in use.
	taken bool
	// dropped is the socket that the supervisor closed; nil: none.
	dropped *servers.Dropped
}

// stopping returns the workers that were told to stop. It does not modify its argument, which may
// be a generation's own list.
func stopping(workers []*servers.Worker) []*servers.Worker {
	serving := func(w *servers.Worker) bool { return w.Closing().Mode == "" }
	return slices.DeleteFunc(slices.Clone(workers), serving)
}

// A timeline carries out the steps of a trial, one after the other.
type timeline struct {
	variant *plan.Variant
	group   *servers.Group
	command *commandServer // nil: the servers are workers of this program
	clock   *clock.Clock
	proxy   *haproxy.Process // nil: no proxy
	cluster *cluster.Cluster // nil: no Service
	queues  *watch.Queues    // nil: accept queues are not read
	meter   *watch.Meter
	used    time.Duration // CPU time of this process for carrying out steps
	holder  *holder       // nil: no handshakes are held up
	parking *parking      // nil: a step starts the processes of its workers itself
	current *servers.Generation
	steps   []*step       // carried out so far
	end     clock.Instant // of the load
	late    int           // number of steps that stopped no worker because the load had ended

	unaccepted *watch.Unaccepted // nil: connections in accept queues are not read
}

// errTooLate is the error of a step that would have acted after the end of the load. It ends the
// timeline.
var errTooLate = errors.New("the load has ended")

// run carries out each step when it is due, but not before the previous step is done. If a restart
// of a third-party server is not over when the next restart is due, the next one begins one
// interval (Every) after the end of the previous one, so that the server can settle in between. run
// stops at the first error.
func (t *timeline) run(ctx context.Context, begin clock.Instant) error {
	t.end = begin.Add(t.variant.Duration)
	done := begin // when the previous step was done
	for i, f := range t.variant.Steps {
		due := max(begin.Add(f.At), done)
		if t.command != nil && i > 0 && due == done {
			due = min(done.Add(f.Every), max(done, t.end))
		}
		if err := t.clock.SleepUntil(ctx, due); err != nil {
			return err
		}
		s := &step{PlannedStep: f, at: t.clock.Now()}
		s.late = s.at.Sub(due)
		used, err := t.meter.Uncounted(func() error { return t.carryOut(ctx, s) })
		t.used += used
		done = t.clock.Now()
		if errors.Is(err, errTooLate) {
			t.late = len(t.variant.Steps) - i
			// The step still counts if it has told workers to stop.
			s.stopped = stopping(s.stopped)
			if len(s.stopped) > 0 && s.trigger != 0 {
				t.steps = append(t.steps, s)
				t.late--
			}
			idle := func(w *servers.Worker) bool { return !w.Serves() || w.Acceptor }
			t.current.Workers = slices.DeleteFunc(t.group.Workers(), idle)
			break
		}
		if err != nil {
			if t.command != nil && s.trigger != 0 { // it may have caused losses
				t.steps = append(t.steps, s)
			}
			return fmt.Errorf("step %d (%s at %v): %w", i+1, f.Do, f.At, err)
		}
		t.steps = append(t.steps, s)
		used, err = t.meter.Uncounted(t.parking.fill)
		t.used += used
		if err != nil {
			return fmt.Errorf("after step %d: %w", i+1, err)
		}
	}
	return t.holder.finish()
}

// actions holds the implementation of each step on workers of this program.
var actions = map[vocabulary.StepName]func(*timeline, context.Context, *step) error{
	vocabulary.StepReplace:       (*timeline).replace,
	vocabulary.StepRoll:          (*timeline).roll,
	vocabulary.StepAdd:           (*timeline).add,
	vocabulary.StepRemove:        (*timeline).remove,
	vocabulary.StepKill:          (*timeline).remove,
	vocabulary.StepColdStart:     (*timeline).add,
	vocabulary.StepStall:         (*timeline).stall,
	vocabulary.StepDeletePod:     (*timeline).remove,
	vocabulary.StepRollingUpdate: (*timeline).rollingUpdate,
	vocabulary.StepScale:         (*timeline).scale,
	vocabulary.StepMovePod:       (*timeline).movePod,
	vocabulary.StepDrainNode:     (*timeline).drainNode,
	vocabulary.StepNodeDown:      (*timeline).nodeDown,
	vocabulary.StepCrash:         (*timeline).crash,
	vocabulary.StepJoin:          (*timeline).join,
	vocabulary.StepDropSocket:    (*timeline).dropSocket,
}

// carryOut carries out one step.
func (t *timeline) carryOut(ctx context.Context, s *step) error {
	if t.command != nil {
		return commandActions[s.Do](t, ctx, s)
	}
	s.what = fmt.Sprintf("generation %d", t.current.Number)
	if act := realActions[s.Do]; act != nil && t.cluster.Real() {
		return act(t, ctx, s)
	}
	return actions[s.Do](t, ctx, s)
}

// aim returns the worker with an index in the current generation, and names it as the step's
// target.
func (t *timeline) aim(s *step, index int) (*servers.Worker, error) {
	if n := len(t.current.Workers); index >= n {
		return nil, fmt.Errorf("target %d: there are %d workers now, counted from 0", index, n)
	}
	w := t.current.Workers[index]
	s.what = fmt.Sprintf("worker %d", w.ID)
	return w, nil
}

// replace starts a generation, waits until it is ready, and stops the previous one.
func (t *timeline) replace(ctx context.Context, s *step) error {
	if t.rebinds() {
		return t.rebind(ctx, s)
	}
	if err := t.hold(ctx, s); err != nil {
		return err
	}
	next, err := t.group.StartGeneration(ctx)
	if err != nil {
		if t.holder != nil {
			t.holder.letGo() // the step stops no worker
		}
		return s.unlessTaken(err)
	}
	s.stopped, s.started = t.current.Workers, next.Workers
	t.current, s.ready = next, next.Ready
	s.trigger, s.closed, err = t.stop(ctx, s, s.stopped, t.variant.Stop)
	return err
}

// unlessTaken returns err, which is the result of starting workers. If err says that the workers'
// address is in use, it sets s.taken and returns nil. The step has not failed then: the old workers
// keep serving, as they do after a failed deployment.
func (s *step) unlessTaken(err error) error {
	if s.taken = errors.Is(err, servers.ErrTaken); s.taken {
		return nil
	}
	return err
}

// rebind starts a generation and at once stops the previous one. The new generation can bind only
// after the previous one has closed its listeners.
func (t *timeline) rebind(ctx context.Context, s *step) error {
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
	s.trigger, s.closed, err = t.stop(ctx, s, s.stopped, t.variant.Stop)
	if errors.Is(err, errTooLate) {
		cancel() // the old workers will not close, so the new ones cannot bind
	}
	awaitErr := t.group.Await(ctx, next)
	if awaitErr == nil {
		s.ready = next.Ready
	}
	return errors.Join(err, awaitErr)
}

// rebinds reports whether a successor cannot bind before its predecessor has closed.
func (t *timeline) rebinds() bool {
	return t.variant.Stop.Row().Rebinds
}

// nextGeneration makes a new generation current. At first the new generation has the workers of the
// previous one.
func (t *timeline) nextGeneration() *servers.Generation {
	next := t.group.NextGeneration()
	next.Workers = slices.Clone(t.current.Workers)
	t.current = next
	return next
}

// roll replaces the workers one by one: it starts one, waits until it is ready, and stops an old
// one. Until it returns, the current generation has old and new workers.
func (t *timeline) roll(ctx context.Context, s *step) error {
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
			return s.unlessTaken(err)
		}
		s.ready, next.Workers[i] = w.ReadyAt(), w
		s.started, s.stopped = append(s.started, w), append(s.stopped, old)
		trigger, closed, err := t.stop(ctx, s, []*servers.Worker{old}, t.variant.Stop)
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

// endpoints returns the number of pods that the Service has, or 0 if there is no Service.
func (t *timeline) endpoints() int {
	if t.cluster == nil {
		return 0
	}
	return len(t.current.Workers)
}

// nodeDown cuts a node off from the network. The workers in the node's pods keep running, but
// receive and send no packets.
func (t *timeline) nodeDown(ctx context.Context, s *step) error {
	node := s.Node()
	s.what, s.endpoints = fmt.Sprintf("node %d", node), t.endpoints()
	s.trigger = t.clock.Now()
	for _, w := range t.current.Workers {
		if t.cluster.NodeOf(w) == node {
			s.silenced = append(s.silenced, w)
		}
	}
	if err := t.cluster.NodeDown(node); err != nil {
		return err
	}
	if err := t.clock.SleepUntil(ctx, s.trigger.Add(t.variant.Cluster.NodeLag)); err != nil {
		return err
	}
	return t.cluster.Unready(ctx, s.silenced)
}

// add starts one more worker. The step's For is its warm-up time; 0 starts it warm.
func (t *timeline) add(ctx context.Context, s *step) error {
	s.trigger = t.clock.Now()
	index := plan.FreeIndex(indexes(t.current.Workers))
	w, err := t.group.LaunchWorker(ctx, t.current.Number, index, s.For)
	if err != nil {
		return err
	}
	if err := t.cluster.Register(ctx, []*servers.Worker{w}); err != nil {
		return err
	}
	if err := t.group.AwaitWorker(ctx, w); err != nil {
		return s.unlessTaken(err)
	}
	s.what = fmt.Sprintf("worker %d", w.ID)
	s.ready, s.started = w.ReadyAt(), []*servers.Worker{w}
	t.current.Workers = append(t.current.Workers, w)
	s.serving = len(t.current.Workers)
	return nil
}

// single returns the worker that a step is about to end, and its index in the generation. The index
// is the step's target, by default 0. single also holds up handshakes, as hold does.
func (t *timeline) single(ctx context.Context, s *step) (index int, w *servers.Worker, err error) {
	if s.Target != nil {
		index = *s.Target
	}
	if w, err = t.aim(s, index); err == nil {
		err = t.hold(ctx, s)
	}
	return index, w, err
}

// indexes returns the workers' indexes.
func indexes(workers []*servers.Worker) (all []int) {
	for _, w := range workers {
		all = append(all, w.Index)
	}
	return all
}

// remove stops one worker, or kills it, without a replacement.
func (t *timeline) remove(ctx context.Context, s *step) error {
	mode := t.variant.Stop
	if s.Do.Kind().Kills {
		mode = vocabulary.StopKill
	}
	index, w, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	if t.proxy != nil && mode == vocabulary.StopLBDrain {
		if err := t.drainBehindProxy(ctx, w); err != nil {
			return err
		}
	}
	s.stopped, s.endpoints = []*servers.Worker{w}, t.endpoints()
	t.current.Workers = slices.Delete(slices.Clone(t.current.Workers), index, index+1)
	s.trigger, s.closed, err = t.stop(ctx, s, s.stopped, mode)
	return err
}

// crash kills one worker. After the step's For has passed, it starts a replacement, as a supervisor
// does.
func (t *timeline) crash(ctx context.Context, s *step) error {
	index, w, err := t.single(ctx, s)
	if err != nil {
		return err
	}
	s.stopped = []*servers.Worker{w}
	s.trigger, s.closed, err = t.stop(ctx, s, s.stopped, vocabulary.StopKill)
	if err != nil {
		return err
	}
	if err := t.clock.SleepUntil(ctx, s.trigger.Add(s.For)); err != nil {
		return err
	}
	next, err := t.group.StartWorker(ctx, w.Generation, w.Index, 0)
	t.current.Workers = slices.Clone(t.current.Workers)
	if err != nil {
		t.current.Workers = slices.Delete(t.current.Workers, index, index+1)
		return s.unlessTaken(err)
	}
	s.ready, s.started = next.ReadyAt(), []*servers.Worker{next}
	t.current.Workers[index] = next
	return nil
}

// join adds to the group a listening socket from which no process accepts.
func (t *timeline) join(_ context.Context, s *step) (err error) {
	s.what = fmt.Sprintf("socket %d", len(t.group.Held()))
	s.trigger = t.clock.Now()
	s.ready, err = t.group.Join()
	return err
}

// dropSocket closes one of the sockets that the supervisor holds. Before that, it reads which
// connections wait in the socket's accept queue: if the client of such a connection has given up,
// nothing shows after the close that the connection was queued.
func (t *timeline) dropSocket(_ context.Context, s *step) error {
	n := 0
	if s.Target != nil {
		n = *s.Target
	}
	s.what = fmt.Sprintf("socket %d", n)
	if held := t.group.Held(); n < len(held) {
		t.unaccepted.Read()
		t.readQueues(s, held[n:n+1])
	}
	dropped, err := t.group.DropSocket(n)
	if err != nil {
		return err
	}
	s.dropped, s.trigger = &dropped, dropped.From
	if dropped.Last {
		s.closed = dropped.To
	}
	return nil
}

// stall stalls every worker of the generation, or the step's target, for the duration s.For. The
// workers resume even if ctx ends first.
func (t *timeline) stall(ctx context.Context, s *step) error {
	workers := t.current.Workers
	if s.Target != nil {
		w, err := t.aim(s, *s.Target)
		if err != nil {
			return err
		}
		workers = []*servers.Worker{w}
	}
	s.trigger = t.clock.Now()
	if t.variant.Stall == vocabulary.StallSpin {
		if err := servers.BusyLoop(workers, s.For); err != nil {
			return err
		}
		err := t.clock.SleepUntil(ctx, s.trigger.Add(s.For))
		s.ready = t.clock.Now()
		return err
	}
	if err := servers.Signal(workers, unix.SIGSTOP); err != nil {
		return err
	}
	interrupted := t.clock.SleepUntil(ctx, s.trigger.Add(s.For))
	t.readQueues(s, t.listeners(workers))
	if err := servers.Signal(workers, unix.SIGCONT); err != nil {
		return err
	}
	s.ready = t.clock.Now()
	return interrupted
}

// hold holds up handshakes for a step that is about to stop workers, if the variant asks for that.
// It must be called before the successors of these workers listen, so that every such handshake is
// at a listener that the step will close.
func (t *timeline) hold(ctx context.Context, s *step) error {
	if t.holder == nil {
		return nil
	}
	held, err := t.holder.hold(ctx)
	s.heldHandshakes = append(s.heldHandshakes, held...)
	return err
}

// listeners returns the inodes of the workers' listeners.
func (t *timeline) listeners(workers []*servers.Worker) (all []uint64) {
	for _, w := range workers {
		all = append(all, cmp.Or(w.Listener(), t.group.Listener()))
	}
	return all
}

// readQueues reads the number of connections that wait in the listeners' accept queues, and adds it
// to s.queued.
func (t *timeline) readQueues(s *step, listeners []uint64) {
	queued := t.queues.Read()
	seen := map[uint64]bool{}
	for _, listener := range listeners {
		n, known := queued[listener]
		if !known || seen[listener] {
			continue
		}
		seen[listener] = true
		if s.queued == nil {
			s.queued = new(int64)
		}
		*s.queued += int64(n)
	}
}

// stop stops workers for a step, or deletes their pods, and waits until their listeners are closed.
// It also schedules the release of the handshakes that are held up.
func (t *timeline) stop(
	ctx context.Context, s *step, workers []*servers.Worker, mode vocabulary.StopMode,
) (trigger, closed clock.Instant, err error) {
	if t.holder != nil && t.holder.current != nil {
		t.holder.letGo()
	}
	if t.clock.Now() >= t.end {
		return 0, 0, errTooLate
	}
	t.readQueues(s, t.listeners(workers))
	// A busy worker closes its listener late. stop waits for the close, but only until the last
	// attempt is over.
	left := t.end.Add(t.variant.Timeout).Sub(t.clock.Now())
	if t.cluster != nil {
		left += t.variant.Cluster.PreStop
	}
	ctx, cancel := context.WithTimeoutCause(ctx, left, errTooLate)
	defer cancel()
	if t.cluster != nil && mode != vocabulary.StopKill && !t.variant.Cluster.OnePod() {
		return t.cluster.Delete(ctx, workers)
	}
	return t.group.Stop(ctx, workers, mode)
}

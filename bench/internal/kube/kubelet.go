package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reuseport-bench/servers/clock"
)

// A Container controls a pod's processes on behalf of a kubelet.
type Container struct {
	// Start starts the processes. The channel is closed when the last process has exited.
	Start func(context.Context) (exited <-chan struct{}, err error)
	// Probe returns nil if the pod is ready. It must return when its context ends. A nil Probe
	// means that the pod is ready as soon as it has started.
	Probe func(context.Context) error
	// Terminate sends SIGTERM, and Kill sends SIGKILL. Neither may return an error if the processes
	// have just exited. Terminate must not wait until they have exited, because the grace period
	// starts when Terminate returns.
	Terminate, Kill func() error
}

// A Lifecycle configures how a kubelet starts, probes and ends a pod. The defaults are those of the
// Kubernetes API (kubernetes.io, "Pod Lifecycle", "Configure Liveness, Readiness and Startup
// Probes").
type Lifecycle struct {
	// RelistPeriod is the time between two looks of the kubelet at its containers, at which it
	// learns that one has started. The looks are RelistPhase after the multiples of RelistPeriod on
	// Clock; RelistPhase is shorter than RelistPeriod. With 0 the kubelet learns at once.
	RelistPeriod, RelistPhase time.Duration
	// InitialDelay is the time from the moment at which the kubelet learns that the container has
	// started to the first probe.
	InitialDelay time.Duration
	// Period is the time from one probe to the next. 0 means 10 s.
	Period time.Duration
	// Timeout is the time after which a probe fails. 0 means 1 s.
	Timeout time.Duration
	// FailureThreshold is the number of probes in a row that must fail before a ready pod becomes
	// unready. 0 means 3. One successful probe makes the pod ready again.
	FailureThreshold int

	// DeletionLag is the time from a pod's deletion until its kubelet is notified. With 0 the
	// kubelet is notified at once, while the endpoints are being changed. SIGTERM and the change of
	// the endpoints may then come in either order ("Pod Lifecycle", "Termination of Pods": "at the
	// same time as the kubelet is starting graceful shutdown of the Pod, the control plane
	// evaluates whether to remove that Pod from EndpointSlice").
	DeletionLag time.Duration
	// PreStop is the time that the preStop hook sleeps before SIGTERM (KEP-3960). 0 means no hook.
	PreStop time.Duration
	// Grace is the time from the notification of the kubelet to SIGKILL, including the preStop hook
	// ("Container Lifecycle Hooks"). A hook that takes longer is cut short. SIGKILL follows SIGTERM
	// after at least 2 s (killContainer, pkg/kubelet/kuberuntime/kuberuntime_container.go,
	// minimumGracePeriodInSeconds). 0 means 30 s.
	Grace time.Duration
}

func (l Lifecycle) withDefaults() Lifecycle {
	l.Period = cmp.Or(l.Period, 10*time.Second)
	l.Timeout = cmp.Or(l.Timeout, time.Second)
	l.FailureThreshold = cmp.Or(l.FailureThreshold, 3)
	l.Grace = cmp.Or(l.Grace, 30*time.Second)
	return l
}

const (
	leastGrace = 2 * time.Second  // the minimum time from SIGTERM to SIGKILL
	goneLimit  = 10 * time.Second // the maximum time from SIGKILL to the exit of the processes
)

// KubeletOptions configures a Kubelet. Lifecycle and Events are optional.
type KubeletOptions struct {
	Pod          string // the pod's name, known to the control plane
	Container    Container
	Lifecycle    Lifecycle
	ControlPlane ControlPlane
	Clock        *clock.Clock
	// Events is called for TermSent and Killed, on the kubelet's goroutine, just before the signal.
	Events func(Event)
}

// A Kubelet does for one pod what a node's kubelet does: it starts the pod, reports its readiness
// to the control plane, and ends the pod when its deletion has begun. It does not restart processes
// that exit by themselves; the pod is then unready.
type Kubelet struct {
	KubeletOptions
	deleted chan struct{}
	once    sync.Once
	done    chan struct{}
	err     error // set before done is closed
}

// RunPod starts the pod and manages it until it is gone. If ctx ends first, it kills the pod
// without notifying the control plane. The caller calls Delete when the deletion begins, and then
// Wait.
func RunPod(ctx context.Context, o KubeletOptions) *Kubelet {
	o.Lifecycle = o.Lifecycle.withDefaults()
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	k := &Kubelet{KubeletOptions: o, deleted: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(k.done)
		if err := k.run(ctx); err != nil {
			k.err = fmt.Errorf("pod %s: %w", k.Pod, err)
		}
	}()
	return k
}

// Delete notifies the kubelet that the pod's deletion has begun. It returns at once and may be
// called twice.
func (k *Kubelet) Delete() { k.once.Do(func() { close(k.deleted) }) }

// Wait waits until the pod is gone and returns all errors.
func (k *Kubelet) Wait() error {
	<-k.done
	return k.err
}

// run runs the pod from start to removal. Once ctx has ended, it only waits until the killed
// processes have exited.
func (k *Kubelet) run(ctx context.Context) error {
	exited, err := k.Container.Start(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	probes := k.startProbes(ctx)
	errs := []error{
		k.live(ctx, exited, probes),
		k.terminate(ctx, exited),
		k.kill(exited),
		// Readiness is probed until the processes have exited, even during termination, so a
		// terminating endpoint may be serving or not (KEP-1669; syncTerminatingPod in
		// pkg/kubelet/kubelet.go stops only the other probes).
		probes.stop(),
	}
	return errors.Join(append(errs, report(ctx, k.ControlPlane.RemovePod, k.Pod))...)
}

// report calls a method of the control plane for the pod. If ctx has ended, report does nothing and
// returns nil.
func report(ctx context.Context, call func(context.Context, string) error, pod string) error {
	if ctx.Err() != nil {
		return nil
	}
	if err := call(ctx, pod); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// live waits until the kubelet is notified of the pod's deletion.
func (k *Kubelet) live(ctx context.Context, exited <-chan struct{}, p *probes) (err error) {
	select {
	case <-k.deleted:
	case <-ctx.Done():
	case <-exited:
		if p.stop() == nil {
			err = report(ctx, k.ControlPlane.MarkUnready, k.Pod)
		}
		select {
		case <-k.deleted:
		case <-ctx.Done():
		}
	}
	pause(ctx, k.Lifecycle.DeletionLag, nil)
	return err
}

// terminate sends SIGTERM after the preStop hook, and waits until the processes have exited or the
// grace period has ended.
func (k *Kubelet) terminate(ctx context.Context, exited <-chan struct{}) error {
	hook := min(k.Lifecycle.PreStop, k.Lifecycle.Grace)
	pause(ctx, hook, exited)
	if ended(exited) || ctx.Err() != nil {
		return nil
	}
	k.emit(TermSent)
	if err := k.Container.Terminate(); err != nil {
		return fmt.Errorf("terminate: %w", err)
	}
	pause(ctx, max(k.Lifecycle.Grace-hook, leastGrace), exited)
	return nil
}

// kill kills the processes that are left and waits until they have exited.
func (k *Kubelet) kill(exited <-chan struct{}) error {
	if ended(exited) {
		return nil
	}
	k.emit(Killed)
	if err := k.Container.Kill(); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	pause(context.Background(), goneLimit, exited)
	if !ended(exited) {
		return fmt.Errorf("kill: the processes have not ended after %v", goneLimit)
	}
	return nil
}

func (k *Kubelet) emit(kind EventKind) {
	k.Events(Event{At: k.Clock.Now(), Kind: kind, Pod: k.Pod})
}

// pause waits for d, or until the processes exit or ctx ends. If exited is nil, it ignores the
// processes.
func pause(ctx context.Context, d time.Duration, exited <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-exited:
	case <-ctx.Done():
	}
}

func ended(exited <-chan struct{}) bool {
	select {
	case <-exited:
		return true
	default:
		return false
	}
}

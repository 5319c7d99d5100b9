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

// A Container is what a kubelet can do to a pod's processes.
type Container struct {
	// Start starts them. The channel is closed when the last of them has ended.
	Start func(context.Context) (exited <-chan struct{}, err error)
	// Probe asks whether the pod is ready: nil means yes. It must end with its context. nil: ready
	// as soon as started.
	Probe func(context.Context) error
	// Terminate sends SIGTERM, Kill SIGKILL. They must not fail because the processes have just
	// ended, and Terminate must not wait for that: the grace counts from when it returns.
	Terminate, Kill func() error
}

// A Lifecycle is how a kubelet treats a pod. The defaults are the API's (kubernetes.io, "Pod
// Lifecycle", "Configure Liveness, Readiness and Startup Probes").
type Lifecycle struct {
	// InitialDelay from start to the first probe; 0 is none.
	InitialDelay time.Duration
	// Period of the probes. 0 means 10 s.
	Period time.Duration
	// Timeout of one probe, which then has failed. 0 means 1 s.
	Timeout time.Duration
	// FailureThreshold is how many probes in a row must fail to make a ready pod unready. 0 means
	// 3. One success makes it ready again.
	FailureThreshold int

	// DeletionLag from a pod's deletion to its kubelet's hearing of it. 0: at once, while the
	// endpoints are being changed; nothing orders the two ("Pod Lifecycle", "Termination of Pods":
	// "at the same time as the kubelet is starting graceful shutdown of the Pod, the control plane
	// evaluates whether to remove that Pod from EndpointSlice").
	DeletionLag time.Duration
	// PreStop is how long the preStop hook sleeps (KEP-3960); SIGTERM comes after it. 0: no hook.
	PreStop time.Duration
	// Grace from the kubelet's hearing of the deletion to SIGKILL, the hook's time included
	// ("Container Lifecycle Hooks"). A hook that would last longer is cut off. SIGKILL never comes
	// sooner than 2 s after SIGTERM (killContainer,
	// pkg/kubelet/kuberuntime/kuberuntime_container.go, minimumGracePeriodInSeconds). 0 means 30 s.
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
	leastGrace = 2 * time.Second  // between SIGTERM and SIGKILL
	goneLimit  = 10 * time.Second // from SIGKILL until the processes must have ended
)

// KubeletOptions are what a Kubelet is made of. Lifecycle and Events may be left out.
type KubeletOptions struct {
	Pod          string // on the control plane's record
	Container    Container
	Lifecycle    Lifecycle
	ControlPlane ControlPlane
	Clock        *clock.Clock
	// Events is called for TermSent and Killed, on the kubelet's goroutine, just before the signal.
	Events func(Event)
}

// A Kubelet is what a node's kubelet does with one pod: it starts it, tells the control plane
// whether it is ready, and ends it when its deletion has begun. Processes that end by themselves
// are not started again; the pod is unready from then on.
type Kubelet struct {
	KubeletOptions
	deleted chan struct{}
	once    sync.Once
	done    chan struct{}
	err     error // to be read after done
}

// RunPod starts the pod and looks after it until it is gone, or until ctx ends: then it is killed,
// and the control plane is not told. The caller calls Delete when the deletion begins, and Wait.
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

// Delete says that the pod's deletion has begun. It returns at once, and does nothing when called
// again.
func (k *Kubelet) Delete() { k.once.Do(func() { close(k.deleted) }) }

// Wait waits until the pod is gone and returns what went wrong.
func (k *Kubelet) Wait() error {
	<-k.done
	return k.err
}

// run is the life of the pod. When ctx has ended, what waits no longer waits.
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
		// Readiness is probed as long as there is something to be asked, during termination too: so
		// an endpoint that is terminating serves or does not (KEP-1669; syncTerminatingPod in
		// pkg/kubelet/kubelet.go stops the other probes only).
		probes.stop(),
	}
	return errors.Join(append(errs, say(ctx, k.ControlPlane.RemovePod, k.Pod))...)
}

// say tells the control plane something about the pod. Once ctx has ended it is not told, and that
// is no error.
func say(ctx context.Context, what func(context.Context, string) error, pod string) error {
	if ctx.Err() != nil {
		return nil
	}
	if err := what(ctx, pod); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// live waits until the kubelet hears of the pod's deletion.
func (k *Kubelet) live(ctx context.Context, exited <-chan struct{}, p *probes) (err error) {
	select {
	case <-k.deleted:
	case <-ctx.Done():
	case <-exited:
		if p.stop() == nil {
			err = say(ctx, k.ControlPlane.MarkUnready, k.Pod)
		}
		select {
		case <-k.deleted:
		case <-ctx.Done():
		}
	}
	pause(ctx, k.Lifecycle.DeletionLag, nil)
	return err
}

// terminate asks the processes to end, after the preStop hook, and waits until they have or must.
func (k *Kubelet) terminate(ctx context.Context, exited <-chan struct{}) error {
	hook := min(k.Lifecycle.PreStop, k.Lifecycle.Grace)
	pause(ctx, hook, exited)
	if ended(exited) || ctx.Err() != nil {
		return nil
	}
	k.tell(TermSent)
	if err := k.Container.Terminate(); err != nil {
		return fmt.Errorf("terminate: %w", err)
	}
	pause(ctx, max(k.Lifecycle.Grace-hook, leastGrace), exited)
	return nil
}

// kill ends what is still there.
func (k *Kubelet) kill(exited <-chan struct{}) error {
	if ended(exited) {
		return nil
	}
	k.tell(Killed)
	if err := k.Container.Kill(); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	pause(context.Background(), goneLimit, exited)
	if !ended(exited) {
		return fmt.Errorf("kill: its processes have not ended after %v", goneLimit)
	}
	return nil
}

func (k *Kubelet) tell(kind EventKind) {
	k.Events(Event{At: k.Clock.Now(), Kind: kind, Pod: k.Pod})
}

// pause lasts as long as it says, but ends with the processes (nil: they do not matter) and with
// ctx.
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

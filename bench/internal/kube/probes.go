package kube

import (
	"context"
	"fmt"
	"time"
)

// probes runs the readiness probes of a pod, one after the other, and notifies the control plane
// when the result changes.
type probes struct {
	end  context.CancelFunc
	done chan struct{}
	err  error // set before done is closed
}

// startProbes starts the probes. The caller must end them with stop.
func (k *Kubelet) startProbes(ctx context.Context) *probes {
	ctx, end := context.WithCancel(ctx)
	p := &probes{end: end, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if err := k.probe(ctx); err != nil && ctx.Err() == nil {
			p.err = fmt.Errorf("readiness: %w", err)
		}
	}()
	return p
}

// stop interrupts the probe under way, waits until it has ended and returns the error. It may be
// called twice.
func (p *probes) stop() error {
	p.end()
	<-p.done
	return p.err
}

// probe runs the pod's probes until ctx ends. A pod is unready until a probe succeeds ("Pod
// Lifecycle", "Container probes": "The default state of readiness before the initial delay is
// Failure"). A pod without a probe is ready at once.
func (k *Kubelet) probe(ctx context.Context) error {
	if !k.look(ctx) {
		return nil
	}
	if err := report(ctx, k.ControlPlane.MarkStarted, k.Pod); err != nil {
		return err
	}
	if k.Container.Probe == nil {
		return k.mark(ctx, true)
	}
	pause(ctx, k.Lifecycle.InitialDelay, nil)
	ticker := time.NewTicker(k.Lifecycle.Period)
	defer ticker.Stop()
	ready, failed := false, 0
	for {
		err := k.ask(ctx)
		if ctx.Err() != nil {
			return nil // interrupted, so there is no result
		}
		is := ready
		if err == nil {
			is, failed = true, 0
		} else if failed++; failed >= k.Lifecycle.FailureThreshold {
			is = false
		}
		if is != ready {
			if err := k.mark(ctx, is); err != nil {
				return err
			}
			ready = is
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look waits until the kubelet looks at its containers the next time, and so learns that this pod's
// container has started (relist, pkg/kubelet/pleg/generic.go). It returns false if ctx ends first.
func (k *Kubelet) look(ctx context.Context) bool {
	if period := k.Lifecycle.RelistPeriod; period > 0 {
		since := time.Duration(k.Clock.Now()) - k.Lifecycle.RelistPhase
		pause(ctx, period-since%period, nil)
	}
	return ctx.Err() == nil
}

func (k *Kubelet) mark(ctx context.Context, ready bool) error {
	if ready {
		return report(ctx, k.ControlPlane.MarkReady, k.Pod)
	}
	return report(ctx, k.ControlPlane.MarkUnready, k.Pod)
}

func (k *Kubelet) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.Lifecycle.Timeout)
	defer cancel()
	return k.Container.Probe(ctx)
}

package kube

import (
	"context"
	"fmt"
	"time"
)

// probes ask a pod's processes whether they are ready, one after the other, and tell the control
// plane when the answer changes.
type probes struct {
	end  context.CancelFunc
	done chan struct{}
	err  error // to be read after done
}

// startProbes starts them. They end with stop, which must be called.
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

// stop cuts off the one that is under way, waits, and returns what went wrong. Calling it again
// does nothing more.
func (p *probes) stop() error {
	p.end()
	<-p.done
	return p.err
}

// probe goes on until ctx ends. A pod is unready until a probe succeeds ("Pod Lifecycle",
// "Container probes": "The default state of readiness before the initial delay is Failure");
// without a probe it is ready at once.
func (k *Kubelet) probe(ctx context.Context) error {
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
			return nil // cut off: no answer
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

func (k *Kubelet) mark(ctx context.Context, ready bool) error {
	if ready {
		return say(ctx, k.ControlPlane.MarkReady, k.Pod)
	}
	return say(ctx, k.ControlPlane.MarkUnready, k.Pod)
}

func (k *Kubelet) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.Lifecycle.Timeout)
	defer cancel()
	return k.Container.Probe(ctx)
}

package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeContainer ends a while after SIGTERM, or not at all; what it is asked to do is in the
// journal by the kubelet's events.
type fakeContainer struct {
	drains time.Duration // from SIGTERM to its end; negative: it takes no notice
	answer func() error  // to probes; nil: ready
	exited chan struct{}
}

func (f *fakeContainer) container() Container {
	f.exited = make(chan struct{})
	return Container{
		Start: func(context.Context) (<-chan struct{}, error) { return f.exited, nil },
		Probe: func(context.Context) error {
			if f.answer == nil {
				return nil
			}
			return f.answer()
		},
		Terminate: func() error {
			if f.drains >= 0 {
				time.AfterFunc(f.drains, func() { close(f.exited) })
			}
			return nil
		},
		Kill: func() error { close(f.exited); return nil },
	}
}

// run has a kubelet run a pod "p" of the cluster; the control plane's events tell it of the
// deletion.
func (c *cluster) run(l Lifecycle, container Container) *Kubelet {
	c.t.Helper()
	c.restart()
	c.add("p")
	k := RunPod(c.t.Context(), KubeletOptions{
		Pod: "p", Container: container, Lifecycle: l, ControlPlane: c, Clock: c.clock, Events: c.tell,
	})
	c.mu.Lock()
	c.then = func(e Event) {
		if e.Kind == DeletionBegun {
			k.Delete()
		}
	}
	c.mu.Unlock()
	return k
}

var life = []EventKind{PodReady, PodUnready, DeletionBegun, TermSent, Killed, PodGone}

// TestKubeletEnds: the order and the times of a deletion, which begins after 1 s.
func TestKubeletEnds(t *testing.T) {
	const s = time.Second
	for _, x := range []struct {
		name   string
		l      Lifecycle
		drains time.Duration
		want   string
	}{
		{"at once", Lifecycle{}, 0, "1s sigterm_sent p, 1s gone a web p"},
		{"drains", Lifecycle{Grace: 10 * s}, 3 * s, "1s sigterm_sent p, 4s gone a web p"},
		{"preStop", Lifecycle{PreStop: 2 * s}, s, "3s sigterm_sent p, 4s gone a web p"},
		{"default grace", Lifecycle{}, -1, "1s sigterm_sent p, 31s killed p, 31s gone a web p"},
		{"grace counts the hook", Lifecycle{PreStop: 3 * s, Grace: 10 * s}, -1, "4s sigterm_sent p, 11s killed p, 11s gone a web p"},
		{"two seconds after all", Lifecycle{PreStop: 9 * s, Grace: 10 * s}, -1, "10s sigterm_sent p, 12s killed p, 12s gone a web p"},
		{"hook longer than grace", Lifecycle{PreStop: 60 * s, Grace: 10 * s}, -1, "11s sigterm_sent p, 13s killed p, 13s gone a web p"},
		{"hears late", Lifecycle{DeletionLag: s, Grace: 10 * s}, -1, "2s sigterm_sent p, 12s killed p, 12s gone a web p"},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, Lags{}, 0)
				defer c.Close()
				f := &fakeContainer{drains: x.drains}
				k := c.run(x.l, f.container())
				time.Sleep(s)
				c.must(c.DeletePod(t.Context(), "p"))
				c.must(k.Wait())
				synctest.Wait()
				c.want(t, life, append([]string{"0s pod_ready a web p", "1s deletion_begun a web p"}, strings.Split(x.want, ", ")...)...)
			})
		})
	}
}

// TestKubeletAndEndpoints: SIGTERM and the endpoint's removal are concurrent: either may be first.
func TestKubeletAndEndpoints(t *testing.T) {
	for _, x := range []struct {
		name          string
		kubelet, path time.Duration
		want          []string
	}{
		{"SIGTERM first", 0, 20 * time.Millisecond, []string{"1s deletion_begun a web p", "1s sigterm_sent p", "1.02s endpoint_removed a web p"}},
		{"endpoint first", 30 * time.Millisecond, 20 * time.Millisecond, []string{"1s deletion_begun a web p", "1.02s endpoint_removed a web p", "1.03s sigterm_sent p"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, Lags{ReadyToEndpoint: Fixed(x.path)}, 0)
				defer c.Close()
				f := &fakeContainer{drains: time.Second}
				k := c.run(Lifecycle{DeletionLag: x.kubelet}, f.container())
				c.must(c.AddPod(t.Context(), Pod{Name: "other", Service: "web", Address: ready("", 9000).Address}))
				c.must(c.MarkReady(t.Context(), "other"))
				time.Sleep(time.Second)
				c.must(c.DeletePod(t.Context(), "p"))
				c.must(k.Wait())
				c.want(t, []EventKind{DeletionBegun, TermSent, EndpointRemoved}, x.want...)
			})
		})
	}
}

// TestKubeletProbes: initial delay, period, threshold, and probes during termination.
func TestKubeletProbes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		const s = time.Second
		// By time: not ready before 3 s, well until 10 s, one slip at 12 s, down from 20 s on.
		f := &fakeContainer{drains: 30 * s}
		f.answer = func() error {
			switch now := c.clock.Now().Sub(c.start); {
			case now < 3*s, 12*s <= now && now < 13*s, now >= 20*s:
				return errors.New("not ready")
			}
			return nil
		}
		k := c.run(Lifecycle{InitialDelay: s / 2, Period: s, FailureThreshold: 3, Grace: 60 * s}, f.container())
		time.Sleep(15 * s)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		c.want(t, life, "3.5s pod_ready a web p", "15s deletion_begun a web p", "15s sigterm_sent p",
			"22.5s pod_unready a web p", "45s gone a web p")
	})
}

// TestKubeletProbeHangs: a probe that does not answer has failed after its timeout.
func TestKubeletProbeHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		f := &fakeContainer{}
		container := f.container()
		asked := 0
		container.Probe = func(ctx context.Context) error {
			if asked++; asked == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		k := c.run(Lifecycle{Period: 5 * time.Second, FailureThreshold: 1}, container)
		time.Sleep(9 * time.Second)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		c.want(t, []EventKind{PodReady, PodUnready}, "0s pod_ready a web p", "6s pod_unready a web p")
	})
}

// TestKubeletCrash: processes that end by themselves make the pod unready, and its deletion has
// nothing left to do.
func TestKubeletCrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		f := &fakeContainer{}
		container := f.container()
		container.Probe = nil
		k := c.run(Lifecycle{}, container)
		time.Sleep(time.Second)
		close(f.exited)
		time.Sleep(time.Second)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		c.want(t, life, "0s pod_ready a web p", "1s pod_unready a web p", "2s deletion_begun a web p", "2s gone a web p")
	})
}

// TestKubeletContextEnds: the pod is killed, and nobody is told.
func TestKubeletContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		f := &fakeContainer{}
		ctx, cancel := context.WithCancel(t.Context())
		c.add("p")
		c.restart()
		k := RunPod(ctx, KubeletOptions{Pod: "p", Container: f.container(), ControlPlane: c, Clock: c.clock, Events: c.tell})
		time.Sleep(time.Second)
		cancel()
		c.must(k.Wait())
		c.want(t, life, "0s pod_ready a web p", "1s killed p")
	})
}

// A lastWord ends a kubelet's context while it is being told of a pod.
type lastWord struct {
	ControlPlane
	end context.CancelFunc
}

func (l lastWord) MarkUnready(ctx context.Context, _ string) error {
	l.end()
	return context.Cause(ctx)
}

func (l lastWord) RemovePod(ctx context.Context, _ string) error {
	l.end()
	return context.Cause(ctx)
}

// TestKubeletContextEndsMeanwhile: what the control plane was being told is no failure of the
// pod's.
func TestKubeletContextEndsMeanwhile(t *testing.T) {
	for name, crashes := range map[string]bool{"a crash": true, "a deletion": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, Lags{}, 0)
				defer c.Close()
				f := &fakeContainer{}
				ctx, cancel := context.WithCancel(t.Context())
				c.add("p")
				c.restart()
				k := RunPod(ctx, KubeletOptions{Pod: "p", Container: f.container(), ControlPlane: lastWord{c, cancel}, Clock: c.clock, Events: c.tell})
				time.Sleep(time.Second)
				if crashes {
					close(f.exited)
				} else {
					k.Delete()
				}
				if err := k.Wait(); err != nil || ctx.Err() == nil {
					t.Errorf("%v; context: %v", err, ctx.Err())
				}
			})
		})
	}
}

// TestKubeletErrors come out of Wait, and the pod is ended all the same.
func TestKubeletErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		boom := errors.New("boom")
		f := &fakeContainer{}
		container := f.container()
		container.Start = func(context.Context) (<-chan struct{}, error) { return nil, boom }
		if err := c.run(Lifecycle{}, container).Wait(); !errors.Is(err, boom) || err.Error() != "pod p: start: boom" {
			t.Errorf("start: %v", err)
		}
		c.must(c.RemovePod(t.Context(), "p"))

		f = &fakeContainer{}
		container = f.container()
		container.Terminate = func() error { return boom }
		k := c.run(Lifecycle{}, container)
		time.Sleep(time.Second)
		c.must(c.DeletePod(t.Context(), "p"))
		if err := k.Wait(); !errors.Is(err, boom) || !ended(f.exited) {
			t.Errorf("terminate: %v; ended: %v", err, ended(f.exited))
		}
	})
}

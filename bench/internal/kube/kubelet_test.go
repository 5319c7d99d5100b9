package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeContainer exits some time after SIGTERM, or ignores SIGTERM. The kubelet's events show the
// signals that it gets.
type fakeContainer struct {
	drains time.Duration // time from SIGTERM to its exit; negative: it ignores SIGTERM
	answer func() error  // returns the result of a probe; nil: ready
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

// run starts a kubelet for pod "p" of the cluster. The control plane's events notify the kubelet of
// the deletion.
func (c *cluster) run(l Lifecycle, container Container) *Kubelet {
	c.t.Helper()
	c.restart()
	c.addPod("p", 8001)
	k := RunPod(c.t.Context(), KubeletOptions{
		Pod: "p", Container: container, Lifecycle: l,
		ControlPlane: c, Clock: c.clock, Events: c.emit,
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

var podEvents = []EventKind{PodReady, PodUnready, DeletionBegun, TermSent, Killed, PodGone}

// TestKubeletEnds checks the order and the times of the steps of a deletion that begins after 1 s.
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
		{"two seconds at least", Lifecycle{PreStop: 9 * s, Grace: 10 * s}, -1, "10s sigterm_sent p, 12s killed p, 12s gone a web p"},
		{"hook longer than grace", Lifecycle{PreStop: 60 * s, Grace: 10 * s}, -1, "11s sigterm_sent p, 13s killed p, 13s gone a web p"},
		{"deletion lag", Lifecycle{DeletionLag: s, Grace: 10 * s}, -1, "2s sigterm_sent p, 12s killed p, 12s gone a web p"},
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
				want := []string{"0s pod_ready a web p", "1s deletion_begun a web p"}
				c.want(t, podEvents, append(want, strings.Split(x.want, ", ")...)...)
			})
		})
	}
}

// TestKubeletAndEndpoints checks that SIGTERM and the endpoint's removal do not wait for each
// other: either may come first.
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
				c := newCluster(t, Lags{DeletedToEndpoint: Fixed(x.path)}, 0)
				defer c.Close()
				f := &fakeContainer{drains: time.Second}
				k := c.run(Lifecycle{DeletionLag: x.kubelet}, f.container())
				other := Pod{Name: "other", Service: "web", Address: ready("", 9000).Address}
				c.must(c.AddPod(t.Context(), other))
				c.must(c.MarkStarted(t.Context(), "other"))
				c.must(c.MarkReady(t.Context(), "other"))
				time.Sleep(time.Second)
				c.must(c.DeletePod(t.Context(), "p"))
				c.must(k.Wait())
				c.want(t, []EventKind{DeletionBegun, TermSent, EndpointRemoved}, x.want...)
			})
		})
	}
}

// A kubelet that looks at its containers from time to time learns only then that one has started:
// the pod's address joins the endpoints, and the first probe follows at once.
func TestKubeletLooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		const s = time.Second
		f := &fakeContainer{}
		f.answer = func() error {
			if c.clock.Now().Sub(c.start) < s/2 {
				return errors.New("not ready")
			}
			return nil
		}
		// The first look is 300 ms after the pod's start.
		c.restart()
		phase := (time.Duration(c.clock.Now()) + 300*time.Millisecond) % s
		k := c.run(Lifecycle{RelistPeriod: s, RelistPhase: phase, Period: s}, f.container())
		time.Sleep(2 * s)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		c.want(t, []EventKind{PodAdded, PodStarted, EndpointsChanged, PodReady, PodGone},
			"0s pod_added a web p",
			"300ms pod_started a web p",
			"300ms endpoints_changed web p(serving=false terminating=false)",
			"1.3s pod_ready a web p",
			"1.3s endpoints_changed web p(serving=true terminating=false)",
			"2s endpoints_changed web p(serving=true terminating=true)",
			"2s gone a web p",
			"2s endpoints_changed web",
		)
	})
}

// A pod that is deleted before its kubelet has looked never becomes an endpoint.
func TestKubeletNeverLooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		c.restart()
		phase := (time.Duration(c.clock.Now()) + 900*time.Millisecond) % time.Second
		f := &fakeContainer{}
		k := c.run(Lifecycle{RelistPeriod: time.Second, RelistPhase: phase}, f.container())
		time.Sleep(100 * time.Millisecond)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		time.Sleep(2 * time.Second)
		c.want(t, []EventKind{PodStarted, EndpointsChanged, PodGone}, "100ms gone a web p")
	})
}

// TestKubeletProbes checks initial delay, period, threshold, and probes during termination.
func TestKubeletProbes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		const s = time.Second
		// The pod is not ready before 3 s, fails one probe at 12 s, and fails all probes from 20 s
		// on.
		f := &fakeContainer{drains: 30 * s}
		f.answer = func() error {
			switch now := c.clock.Now().Sub(c.start); {
			case now < 3*s, 12*s <= now && now < 13*s, now >= 20*s:
				return errors.New("not ready")
			}
			return nil
		}
		k := c.run(Lifecycle{
			InitialDelay: s / 2, Period: s, FailureThreshold: 3, Grace: 60 * s,
		}, f.container())
		time.Sleep(15 * s)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(k.Wait())
		c.want(t, podEvents,
			"3.5s pod_ready a web p", "15s deletion_begun a web p", "15s sigterm_sent p",
			"22.5s pod_unready a web p", "45s gone a web p")
	})
}

// TestKubeletProbeHangs checks that a probe without a result fails after its timeout.
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
		c.want(t, []EventKind{PodReady, PodUnready},
			"0s pod_ready a web p", "6s pod_unready a web p")
	})
}

// TestKubeletCrash checks that a pod whose processes exit by themselves becomes unready, and that
// its deletion sends no signal.
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
		c.want(t, podEvents, "0s pod_ready a web p", "1s pod_unready a web p",
			"2s deletion_begun a web p", "2s gone a web p")
	})
}

// TestKubeletContextEnds checks that, when the context ends, the pod is killed and the control
// plane is not notified.
func TestKubeletContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		f := &fakeContainer{}
		ctx, cancel := context.WithCancel(t.Context())
		c.add("p")
		c.restart()
		k := RunPod(ctx, KubeletOptions{
			Pod: "p", Container: f.container(), ControlPlane: c, Clock: c.clock, Events: c.emit,
		})
		time.Sleep(time.Second)
		cancel()
		c.must(k.Wait())
		c.want(t, podEvents, "0s pod_ready a web p", "1s killed p")
	})
}

// A cancellingPlane cancels a kubelet's context during a call.
type cancellingPlane struct {
	ControlPlane
	end context.CancelFunc
}

func (p cancellingPlane) MarkUnready(ctx context.Context, _ string) error {
	p.end()
	return context.Cause(ctx)
}

func (p cancellingPlane) RemovePod(ctx context.Context, _ string) error {
	p.end()
	return context.Cause(ctx)
}

// TestKubeletContextEndsMeanwhile checks that Wait returns no error if the context ends during a
// call to the control plane.
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
				k := RunPod(ctx, KubeletOptions{
					Pod: "p", Container: f.container(), ControlPlane: cancellingPlane{c, cancel},
					Clock: c.clock, Events: c.emit,
				})
				time.Sleep(time.Second)
				if crashes {
					close(f.exited)
				} else {
					k.Delete()
				}
				if err := k.Wait(); err != nil || ctx.Err() == nil {
					t.Errorf("Wait: %v; context: %v; want no error and an ended context",
						err, ctx.Err())
				}
			})
		})
	}
}

// TestKubeletErrors checks that Wait returns the errors of the container, and that the pod ends in
// spite of them.
func TestKubeletErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		boom := errors.New("boom")
		f := &fakeContainer{}
		container := f.container()
		container.Start = func(context.Context) (<-chan struct{}, error) { return nil, boom }
		err := c.run(Lifecycle{}, container).Wait()
		if !errors.Is(err, boom) || err.Error() != "pod p: start: boom" {
			t.Errorf("start: %v, want pod p: start: boom", err)
		}
		c.must(c.RemovePod(t.Context(), "p"))

		f = &fakeContainer{}
		container = f.container()
		container.Terminate = func() error { return boom }
		k := c.run(Lifecycle{}, container)
		time.Sleep(time.Second)
		c.must(c.DeletePod(t.Context(), "p"))
		if err := k.Wait(); !errors.Is(err, boom) || !ended(f.exited) {
			t.Errorf("terminate: %v, ended: %v; want boom, true", err, ended(f.exited))
		}
	})
}

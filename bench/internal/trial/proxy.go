package trial

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// proxyLimit is the maximum time for HAProxy to drain a backend, or to find that a backend is up
// again, which takes two health checks, by default 2 s apart.
const proxyLimit = 10 * time.Second

// startProxy starts HAProxy in front of the first generation, if the variant has a proxy. HAProxy
// is part of what is measured, so it runs on the servers' CPUs.
func (s *stage) startProxy(ctx context.Context, c *cleanup) (err error) {
	if s.variant.HAProxy == nil {
		return nil
	}
	cfg := haproxy.Config{
		Listen: s.load[0].Target, Threads: len(s.plan.CPUs.Servers),
		Checks: s.variant.HAProxy.Checks, Redispatch: s.variant.HAProxy.Redispatch,
		Backends: []haproxy.Backend{{Name: "workers", Address: s.servers.Address}},
	}
	if s.servers.PortPerIndex {
		cfg.Backends = nil
		for _, w := range s.timeline.current.Workers {
			cfg.Backends = append(cfg.Backends, haproxy.Backend{
				Name: backendOf(w.Index), Address: s.group.Address(w),
			})
		}
	}
	s.proxy, err = haproxy.Start(ctx, cfg, haproxy.Env{
		Start: func(c *exec.Cmd) error {
			return s.lab.Start(s.lab.Servers(), c, s.plan.CPUs.Servers)
		},
		Do: s.onServers,
	})
	if err != nil {
		return err
	}
	c.add(s.proxy.Close)
	s.timeline.proxy = s.proxy
	return nil
}

// backendOf returns HAProxy's name for the worker with this index.
func backendOf(index int) string { return fmt.Sprintf("worker-%d", index) }

// endProxy ends HAProxy after the load. If HAProxy died earlier, the trial is invalid.
func (s *stage) endProxy() error {
	if s.proxy == nil {
		return nil
	}
	if err := s.proxy.Err(); err != nil {
		s.problem("%v", err)
	}
	if err := s.proxy.Close(); err != nil {
		return err
	}
	s.seen.proxyCPU = s.proxy.CPU()
	return nil
}

// rollBehindProxy replaces the workers one by one. Each worker has an address of its own. Before a
// worker is stopped, its successor is started; the successor binds the address once the worker has
// closed its listener. With stop mode lb-drain, HAProxy sends no requests to that address until the
// successor is ready.
func (t *timeline) rollBehindProxy(ctx context.Context, s *step) error {
	next := t.nextGeneration()
	for i, old := range next.Workers {
		if err := t.rebindBehindProxy(ctx, s, next, i, old); err != nil {
			return err
		}
	}
	return nil
}

// drainBehindProxy makes HAProxy send no more requests to a worker, and waits until the worker has
// none in progress.
func (t *timeline) drainBehindProxy(ctx context.Context, w *servers.Worker) error {
	ctx, cancel := context.WithTimeout(ctx, proxyLimit)
	defer cancel()
	return t.proxy.Drain(ctx, backendOf(w.Index))
}

// rebindBehindProxy replaces one worker. It is a part of rollBehindProxy.
func (t *timeline) rebindBehindProxy(
	ctx context.Context, s *step, next *servers.Generation, index int, old *servers.Worker,
) error {
	ctx, cancel := context.WithTimeout(ctx, proxyLimit)
	defer cancel()
	drain := t.variant.Stop == vocabulary.StopLBDrain
	trigger := t.clock.Now() // the command to HAProxy counts as the first signal
	if drain {
		if err := t.drainBehindProxy(ctx, old); err != nil {
			return err
		}
	}
	w, err := t.group.LaunchWorker(ctx, next.Number, old.Index, 0)
	if err != nil {
		return err
	}
	next.Workers[index] = w
	s.started, s.stopped = append(s.started, w), append(s.stopped, old)
	signal, closed, err := t.stop(ctx, s, []*servers.Worker{old}, t.variant.Stop)
	if !drain {
		trigger = signal
	}
	if s.closed = closed; s.trigger == 0 {
		s.trigger = trigger
	}
	if err != nil {
		return err
	}
	if err := t.group.AwaitWorker(ctx, w); err != nil {
		return err
	}
	s.ready = w.ReadyAt()
	if drain {
		return t.proxy.Ready(ctx, backendOf(old.Index))
	}
	return nil
}

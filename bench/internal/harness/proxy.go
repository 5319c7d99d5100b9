package harness

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/servers"
)

// proxyLimit bounds how long HAProxy may take to drain a backend, or to find it up again: longer than its default
// checks take, which are 2 s apart, twice.
const proxyLimit = 10 * time.Second

// startProxy starts the HAProxy of path haproxy in front of the first generation, on the servers' CPUs, which it shares
// with them: it is part of what is measured.
func (t *trialRun) startProxy(ctx context.Context) (err error) {
	cfg := haproxy.Config{
		Listen: t.load[0].Target, Threads: len(t.plan.ServerCPUs),
		Checks: haproxy.Checks(t.variant.Setup.HAProxy.Checks), Redispatch: t.variant.Setup.HAProxy.Redispatch == "on",
		Backends: []haproxy.Backend{{Name: "workers", Address: t.servers.Address}},
	}
	if t.servers.PortPerIndex {
		cfg.Backends = nil
		for _, w := range t.line.current.Workers {
			cfg.Backends = append(cfg.Backends, haproxy.Backend{Name: backendOf(w.Index), Address: t.group.Address(w)})
		}
	}
	t.proxy, err = haproxy.Start(ctx, cfg, haproxy.Env{
		Start: func(c *exec.Cmd) error { return t.lab.Start(t.lab.Servers(), c, t.plan.ServerCPUs) },
		Do:    func(f func() error) error { return t.lab.Do(t.lab.Servers(), f) },
	})
	t.line.proxy = t.proxy
	return err
}

// backendOf is HAProxy's name for the worker with an index.
func backendOf(index int) string { return fmt.Sprintf("worker-%d", index) }

// endProxy ends HAProxy when the load has ended. One that died meanwhile makes the trial invalid.
func (t *trialRun) endProxy() error {
	if t.proxy == nil {
		return nil
	}
	if err := t.proxy.Err(); err != nil {
		t.problem("%v", err)
	}
	if err := t.proxy.Close(); err != nil {
		return err
	}
	t.proxyCPU = t.proxy.CPU()
	return nil
}

// rollBehindProxy replaces workers with an address each, one by one: the successor, started before, binds when its
// predecessor has closed. With lb-drain HAProxy sends a worker nothing while it is replaced.
func (t *timeline) rollBehindProxy(ctx context.Context, s *fired) error {
	next := t.nextGeneration()
	for i, old := range next.Workers {
		if err := t.rebindBehindProxy(ctx, s, next, i, old); err != nil {
			return err
		}
	}
	return nil
}

// drainBehindProxy has HAProxy send a worker nothing any more.
func (t *timeline) drainBehindProxy(ctx context.Context, w *servers.Worker) error {
	ctx, cancel := context.WithTimeout(ctx, proxyLimit)
	defer cancel()
	return t.proxy.Drain(ctx, backendOf(w.Index))
}

func (t *timeline) rebindBehindProxy(ctx context.Context, s *fired, next *servers.Generation, index int, old *servers.Worker) error {
	ctx, cancel := context.WithTimeout(ctx, proxyLimit)
	defer cancel()
	drain := t.stopMode == servers.LBDrain
	trigger := t.clock.Now() // what HAProxy is told is the first signal
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
	signal, closed, err := t.stop(ctx, []*servers.Worker{old}, t.stopMode)
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

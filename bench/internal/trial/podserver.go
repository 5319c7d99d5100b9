package trial

import (
	"context"
	"errors"
	"os/exec"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/servers"
)

// A podServer is the third-party server in a pod, with the processes beside it. The group of
// workers runs it in the place of a worker's process.
type podServer struct {
	*commandServer
	env  foreign.Env
	ends cleanup // ends the server and the processes beside it
}

// newPodServer returns the third-party server of a worker, in the worker's pod.
func (s *stage) newPodServer(roles Roles, w *servers.Worker) (servers.ThirdParty, error) {
	place := w.Placement()
	p := &podServer{
		commandServer: &commandServer{plan: s.variant.Command.At(place.Address, w.Generation+1)},
		env: foreign.Env{
			Agent: roles.Agent, Clock: s.clock, Do: place.Do,
			Start: func(cmd *exec.Cmd) error { return place.Start(cmd, nil) },
		},
	}
	s.third.add(p.commandServer)
	return p, nil
}

func (p *podServer) Start(ctx context.Context) error {
	if err := p.start(ctx, p.env, &p.ends); err != nil {
		return err
	}
	return p.noteListeners()
}

func (p *podServer) Listens() bool {
	p.mu.Lock()
	server := p.Server
	p.mu.Unlock()
	if server == nil {
		return false
	}
	at, _, err := server.Listeners()
	return err == nil && len(at) > 0
}

func (p *podServer) Stop(ctx context.Context) error {
	failure := p.failure()
	_, err := p.Server.Stop(ctx)
	if ctx.Err() != nil { // it was killed
		err = nil
	}
	return errors.Join(failure, err)
}

func (p *podServer) Close() error {
	p.mu.Lock()
	if p.Server != nil && !p.ended {
		p.cpu, _ = p.Server.CPU() // unknown if the lab has ended
	}
	p.ended = true
	p.mu.Unlock()
	return p.ends.run()
}

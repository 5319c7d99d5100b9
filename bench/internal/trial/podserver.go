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
		env:           foreign.Env{Clock: s.clock, Do: place.Do},
	}
	if place.Applicant != nil {
		var err error
		if p.env.Adopted, err = foreign.AdoptAgent(place.Applicant.Adopt); err != nil {
			return nil, err
		}
		p.env.Terminated = w.Terminated
	} else {
		p.env.Agent = roles.Agent
		p.env.Start = func(cmd *exec.Cmd) error { return place.Start(cmd, nil) }
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

// Gone implements servers.ThirdParty.
func (p *podServer) Gone() <-chan struct{} { return p.server().Gone() }

// server returns the server, or nil if it has not been made.
func (p *podServer) server() *foreign.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Server
}

func (p *podServer) Listens() bool {
	server := p.server()
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
		// If others have ended it, or the lab has ended, nothing knows what it has used.
		p.cpu, p.cpuErr = p.Server.CPU()
	}
	p.ended = true
	p.mu.Unlock()
	return p.ends.run()
}

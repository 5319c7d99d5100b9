package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"reuseport-bench/servers/child"
)

const (
	// readyLimit is the maximum time from the start of a relay until it is ready.
	readyLimit = 10 * time.Second
	// endLimit is the maximum time for a relay to report and exit.
	endLimit = 5 * time.Second
)

// A Process is the parent's side of a relay.
type Process struct{ process *child.Process }

// Env holds what Start needs to run a relay.
type Env struct {
	Command func() *exec.Cmd      // makes the command that runs Main
	Start   func(*exec.Cmd) error // starts a command whose process dies with the caller
	Devices [2]*os.File           // two TUN devices, which the caller closes
}

// Start starts a relay, and returns when it is ready. The caller ends it with End or Close.
func Start(ctx context.Context, cfg Config, env Env) (*Process, error) {
	c, err := child.Start(child.Options{
		Command: env.Command(), Start: env.Start, Control: true, Events: true,
		Files: env.Devices[:],
	})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err = c.Send(cfg); err == nil {
		err = c.AwaitReady(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("relay: %w", errors.Join(err, c.Close()))
	}
	return &Process{c}, nil
}

// PID returns the process's number in the caller's PID namespace.
func (p *Process) PID() int { return p.process.PID() }

// End asks the process to exit, and returns its report. It fails if the process had already exited,
// because packets were then lost.
func (p *Process) End() (r Report, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	events := p.process.Events()
	err = errors.Join(p.process.CloseControl(), events.SetReadDeadline(time.Now().Add(endLimit)))
	if err == nil {
		err = json.NewDecoder(events).Decode(&r)
	}
	if ended := p.process.Wait(ctx); ended != nil {
		err = ended // the error includes what the process wrote to standard error
	}
	if err = errors.Join(err, p.process.Close()); err != nil {
		return Report{}, fmt.Errorf("relay: %w", err)
	}
	return r, nil
}

// Close kills the process if it is still running, and waits until it has exited. It may be called
// twice, and after End.
func (p *Process) Close() error {
	if err := p.process.Close(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

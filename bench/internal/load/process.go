package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
)

// readyLimit is the maximum time in which a load process must become ready.
const readyLimit = 10 * time.Second

// exitLimit is the maximum time in which a load process must exit after its last sample.
const exitLimit = 10 * time.Second

// A Process is the parent's side of one load process.
type Process struct {
	cfg     Config
	process *child.Process
	samples *bufio.Reader
	end     end
}

// Start starts a load process and returns when it is ready for Begin. command makes the command
// that runs Main. start starts that command in the clients' network, so that it dies with the
// caller. The caller ends the process with Wait or Kill.
func Start(
	ctx context.Context, cfg Config, command func() *exec.Cmd, start func(*exec.Cmd) error,
) (*Process, error) {
	c, err := child.Start(child.Options{
		Command: command(), Start: start, Control: true, Events: true,
	})
	if err != nil {
		return nil, fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	err = c.Send(cfg)
	if err == nil {
		err = c.AwaitReady(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("load %d: %w", cfg.Process, errors.Join(err, c.Close()))
	}
	return &Process{cfg: cfg, process: c, samples: bufio.NewReaderSize(c.Events(), 64<<10)}, nil
}

// PID returns the process ID in the caller's PID namespace.
func (p *Process) PID() int { return p.process.PID() }

// Begin tells the process the time at which the first attempt of the schedule is due.
func (p *Process) Begin(at clock.Instant) error {
	if err := p.process.Send(start{At: at}); err != nil {
		return fmt.Errorf("load %d: begin: %w", p.cfg.Process, err)
	}
	return nil
}

// Samples calls f with every sample as it arrives, and returns after the last one. Most samples
// arrive only after the last attempt has ended. f must not keep the sample.
func (p *Process) Samples(f func(*results.Sample)) error {
	r := results.SampleReader{R: p.samples}
	var s results.Sample
	for {
		next, err := p.samples.Peek(1)
		switch {
		case err == nil && next[0] == 0: // the end line follows
			_, _ = p.samples.Discard(1)
			err = json.NewDecoder(p.samples).Decode(&p.end)
		case err == nil:
			if err = r.Next(&s); err == nil {
				if p.cfg.Shape.Clients > 0 {
					s.Scheduled = s.Sent // a closed loop has no schedule
				}
				f(&s)
				continue
			}
		case errors.Is(err, io.EOF): // the process exited too early; Wait returns the reason
			err = nil
		}
		if err != nil {
			return fmt.Errorf("load %d: samples: %w", p.cfg.Process, err)
		}
		return nil
	}
}

// EarlyFlushes returns the number of times that the process wrote samples before its last attempt
// had ended, because they did not all fit in memory. It is valid once Samples has returned.
func (p *Process) EarlyFlushes() int { return p.end.EarlyFlushes }

// DriveCPU returns the CPU time that the process used while attempts were under way. It is valid
// once Samples has returned.
func (p *Process) DriveCPU() time.Duration { return p.end.DriveCPU }

// Identities returns the header values that the Worker and Generation of samples refer to, if
// Config.Identify names headers. Each process numbers the values differently. The result is valid
// once Samples has returned.
func (p *Process) Identities() Identities { return p.end.Identities }

// Wait waits for the process to exit after its last sample and returns its user and system time.
func (p *Process) Wait() (cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), exitLimit)
	defer cancel()
	err = p.process.Wait(ctx)
	cpu, _ = p.process.CPU()
	if err = errors.Join(err, p.process.Close()); err != nil {
		err = fmt.Errorf("load %d: %w", p.cfg.Process, err)
	}
	return cpu, err
}

// Interrupt kills the process, which makes Samples and Wait return. It may be called while they
// run.
func (p *Process) Interrupt() {
	_ = p.process.Kill() // fails only if the process has already exited
}

// Kill kills the process and waits for it. Its samples are lost.
func (p *Process) Kill() error {
	if err := p.process.Close(); err != nil {
		return fmt.Errorf("load %d: %w", p.cfg.Process, err)
	}
	return nil
}

package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
)

// readyLimit bounds how long a load process may take to be ready.
const readyLimit = 10 * time.Second

// A Process is the parent's side of one load process.
type Process struct {
	cfg     Config
	cmd     *exec.Cmd
	control *os.File
	out     *os.File
	samples *bufio.Reader
	stderr  bytes.Buffer
}

// Start starts a load process and returns when it is ready to begin. command makes the command
// that runs Main; start starts it in the clients' network, so that it dies with the caller.
// The caller ends the process with Wait or Kill.
func Start(ctx context.Context, cfg Config, command func() *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	controlR, controlW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	defer controlR.Close()
	samplesR, samplesW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("load %d: %w", cfg.Process, errors.Join(err, controlW.Close()))
	}
	p := &Process{cfg: cfg, cmd: command(), control: controlW, out: samplesR, samples: bufio.NewReaderSize(samplesR, 64<<10)}
	p.cmd.ExtraFiles = []*os.File{controlR, samplesW}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	err = start(p.cmd)
	err = errors.Join(err, samplesW.Close())
	if err != nil {
		return nil, fmt.Errorf("load %d: %w", cfg.Process, errors.Join(err, controlW.Close(), samplesR.Close()))
	}
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load %d: %w", cfg.Process, err), p.Kill())
	}
	return p, nil
}

func (p *Process) ready(ctx context.Context) error {
	if err := p.send(p.cfg); err != nil {
		return err
	}
	limit := time.Now().Add(readyLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	if err := p.out.SetReadDeadline(limit); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.out.SetReadDeadline(time.Now()) })
	defer stop()
	if _, err := p.samples.ReadByte(); err != nil {
		return fmt.Errorf("was not ready: %w", err)
	}
	return p.out.SetReadDeadline(time.Time{})
}

func (p *Process) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	_, err = p.control.Write(append(line, '\n'))
	return err
}

// PID is the number of the process, as the caller's PID namespace has it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Begin tells the process when the first attempt of the schedule is due.
func (p *Process) Begin(at clock.Instant) error {
	if err := p.send(start{At: at}); err != nil {
		return fmt.Errorf("load %d: begin: %w", p.cfg.Process, err)
	}
	return nil
}

// Samples hands every sample to f, as they come, until the process has sent its last. The sample
// is f's only until it returns.
func (p *Process) Samples(f func(*results.Sample)) error {
	r := results.SampleReader{R: p.samples}
	var s results.Sample
	for {
		switch err := r.Next(&s); {
		case err == nil:
			f(&s)
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("load %d: samples: %w", p.cfg.Process, err)
		}
	}
}

// Wait waits for the process to exit after its last sample and returns its user and system time.
func (p *Process) Wait() (cpu time.Duration, err error) {
	err = p.cmd.Wait()
	if s := strings.TrimSpace(p.stderr.String()); err != nil && s != "" {
		err = fmt.Errorf("%w: %s", err, s)
	}
	if ps := p.cmd.ProcessState; ps != nil {
		cpu = ps.UserTime() + ps.SystemTime()
	}
	if err = errors.Join(err, p.control.Close(), p.out.Close()); err != nil {
		err = fmt.Errorf("load %d: %w", p.cfg.Process, err)
	}
	return cpu, err
}

// Interrupt ends the process early; Samples and Wait then return. It may be called beside them.
func (p *Process) Interrupt() {
	_ = p.cmd.Process.Kill() // it has ended already, or is about to
}

// Kill ends the process and waits for it. It is for a process whose samples are of no use any more.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_, _ = p.Wait() // "signal: killed"
	if err != nil {
		return fmt.Errorf("load %d: kill: %w", p.cfg.Process, err)
	}
	return nil
}

package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
)

// A sweepConfig is the first message to the sweeper: what to remove.
type sweepConfig struct {
	Directory string   `json:"directory"`
	Cgroup    string   `json:"cgroup"`
	Lent      []string `json:"lent,omitempty"` // see cgroups.lent
}

// labGone is the maximum time for which the sweeper waits for the end of the lab.
const labGone = 10 * time.Second

// The sweeper's descriptor of the lab's init. It has both pipes, too.
const labInitFD = child.FilesFD

// SweepMain is the main function of the sweeper, which outlives this program. At EOF of its control
// pipe it removes the cluster's directory and cgroups. If the parent has not said before that the
// cluster is closed, the parent was killed, and the sweeper first waits until the lab has ended.
func SweepMain() error {
	// A Ctrl-C in the terminal does not reach the sweeper, which has its own session. A container's
	// engine or a service manager may signal every process.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	control := json.NewDecoder(os.NewFile(child.ControlFD, "control"))
	var c sweepConfig
	if err := control.Decode(&c); err != nil {
		return fmt.Errorf("sweeper's configuration: %w", err)
	}
	if _, err := os.NewFile(child.EventsFD, "events").Write([]byte{'r'}); err != nil {
		return err
	}
	var closed bool
	var err error
	if control.Decode(&closed) != nil {
		err = awaitExit(labInitFD, labGone)
	}
	err = errors.Join(err, os.RemoveAll(c.Directory), removeCgroup(c.Cgroup))
	returnControllers(c.Lent)
	return err
}

// awaitExit waits until the process of a pidfd has exited.
func awaitExit(pidfd int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		left := int(time.Until(deadline).Milliseconds())
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, max(0, left))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("poll of the lab's init: %w", err)
		case n == 0:
			return fmt.Errorf("the lab's init has not ended after %v", limit)
		default:
			return nil
		}
	}
}

// startSweeper starts the sweeper. Whatever the configuration names may be made afterwards.
func startSweeper(
	ctx context.Context, sweep func() *exec.Cmd, labInit int, c sweepConfig,
) (*child.Process, error) {
	fd, err := unix.PidfdOpen(labInit, 0)
	if err != nil {
		return nil, fmt.Errorf("the lab's init: pidfd_open: %w", err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	cmd := sweep()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, err := child.Start(child.Options{
		Command: cmd, Control: true, Events: true, Files: []*os.File{pidfd},
	})
	if err != nil {
		return nil, fmt.Errorf("sweeper: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, labGone)
	defer cancel()
	if err = p.Send(c); err == nil {
		err = p.AwaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sweeper: %w", err), p.Close())
	}
	return p, nil
}

// endSweeper lets the sweeper remove everything now, and waits until it has.
func endSweeper(p *child.Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), labGone)
	defer cancel()
	err := errors.Join(p.Send(true), p.CloseControl(), p.Wait(ctx))
	if err != nil {
		err = fmt.Errorf("sweeper: %w", err)
	}
	return errors.Join(err, p.Close())
}

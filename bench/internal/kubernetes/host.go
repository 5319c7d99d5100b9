package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/child"
)

// A host is one of the lab's hosts with the supervisor that runs on it. Its methods may be called
// from several goroutines.
type host struct {
	hostOptions
	process *child.Process
	ready   chan struct{} // closed when the supervisor is ready
	ended   chan struct{} // closed when no more reports can come

	sending sync.Mutex // held while a request is written
	mu      sync.Mutex // guards the fields below
	parts   map[string]*running
	closing bool
}

type hostOptions struct {
	lab       *netlab.Lab
	at        *netlab.Host
	supervise func() *exec.Cmd
	config    superviseConfig
	cpus      []int
	files     []*os.File
	// failed is called for each part that exits without having been told to, and for a supervisor
	// that does.
	failed func(error)
}

// running is a part that was started. It may have exited since.
type running struct {
	name   string
	ready  chan struct{} // closed when the part has reported that it is ready
	exited chan struct{}
	status string // valid once exited
	once   bool   // the part is expected to exit
}

// startHost starts a supervisor. The caller closes the host.
func startHost(ctx context.Context, o hostOptions) (*host, error) {
	h := &host{
		hostOptions: o, ready: make(chan struct{}), ended: make(chan struct{}),
		parts: map[string]*running{},
	}
	cmd := o.supervise()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	var err error
	h.process, err = child.Start(child.Options{
		Command: cmd, Start: func(c *exec.Cmd) error { return o.lab.Start(o.at, c, o.cpus) },
		Control: true, Events: true, Files: o.files,
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w; see 'doctor'", o.at.Name, err)
	}
	go h.readReports()
	if err = h.process.Send(o.config); err == nil {
		err = await(ctx, h.ready, h.ended)
	}
	if err != nil {
		if errors.Is(err, errEnded) {
			<-h.process.Exited()
			err = h.process.Err()
		}
		return nil, errors.Join(fmt.Errorf("host %s: %w", o.at.Name, err), h.close())
	}
	return h, nil
}

var errEnded = errors.New("it has ended")

// await waits until done is closed. It fails if the context ends, or ended is closed, first.
func await(ctx context.Context, done, ended <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-ended:
	}
	select {
	case <-done:
		return nil
	default:
		return errEnded
	}
}

func (h *host) readReports() {
	defer close(h.ended)
	reports := json.NewDecoder(h.process.Events())
	for {
		var r superviseReport
		if reports.Decode(&r) != nil { // the supervisor has ended
			break
		}
		if r.Part == "" {
			close(h.ready)
			continue
		}
		h.mu.Lock()
		p := h.parts[r.Part]
		if p == nil { // it has ended before the report that it was ready
			h.mu.Unlock()
			continue
		}
		expected := p.once || h.closing
		if r.Exited {
			p.status = r.Status
			close(p.exited)
			delete(h.parts, r.Part)
		}
		h.mu.Unlock()
		switch {
		case r.Ready:
			close(p.ready)
		case !expected:
			h.failed(h.explain(r.Part, errors.New(said(r.Status))))
		}
	}
	h.mu.Lock()
	closing := h.closing
	for _, p := range h.parts {
		p.status = "its host has ended"
		close(p.exited)
	}
	clear(h.parts)
	h.mu.Unlock()
	select {
	case <-h.ready:
	default:
		return // startHost reports it
	}
	if !closing {
		<-h.process.Exited()
		h.failed(fmt.Errorf("host %s: its first process: %w", h.at.Name,
			cmp.Or(h.process.Err(), errEnded)))
	}
}

func said(status string) string {
	if status == "" {
		return "exit status 0"
	}
	return status
}

// explain adds the part, and the last lines of its log, to an error.
func (h *host) explain(part string, err error) error {
	err = fmt.Errorf("%s on %s: %w", part, h.at.Name, err)
	text, logErr := os.ReadFile(h.path(logOf(part)))
	switch last := lastLines(string(text)); {
	case logErr != nil:
		return fmt.Errorf("%w (its log is lost: %w)", err, logErr)
	case last == "":
		return fmt.Errorf("%w; its log is empty", err)
	default:
		return fmt.Errorf("%w; its log ends with:\n%s", err, last)
	}
}

// path returns the path by which this program reaches an absolute path of the host.
func (h *host) path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.process.PID(), path)
}

// lastLines returns the last lines of a log, at most ten of at most 400 bytes each.
func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	lines = lines[max(0, len(lines)-10):]
	for i, line := range lines {
		if len(line) > 400 {
			lines[i] = line[:400] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// start starts a part. once says that the part is expected to exit.
func (h *host) start(p part, once bool) (*running, error) {
	r := &running{
		name: p.Name, ready: make(chan struct{}), exited: make(chan struct{}), once: once,
	}
	h.mu.Lock()
	h.parts[p.Name] = r
	h.mu.Unlock()
	return r, h.send(superviseRequest{Start: &p})
}

func (h *host) send(r superviseRequest) error {
	h.sending.Lock()
	defer h.sending.Unlock()
	if err := h.process.Send(r); err != nil {
		return fmt.Errorf("host %s: %w", h.at.Name, err)
	}
	return nil
}

// run runs a part to its end, which must be a success.
func (h *host) run(ctx context.Context, p part) error {
	r, err := h.start(p, true)
	if err != nil {
		return err
	}
	if err := await(ctx, r.exited, h.ended); err != nil {
		return h.explain(p.Name, err)
	}
	if r.status != "" {
		return h.explain(p.Name, errors.New(r.status))
	}
	return nil
}

// kill kills a part and waits until it is gone.
func (h *host) kill(ctx context.Context, name string) error {
	h.mu.Lock()
	r := h.parts[name]
	if r != nil {
		r.once = true
	}
	h.mu.Unlock()
	if r == nil {
		return nil
	}
	if err := h.send(superviseRequest{Kill: name}); err != nil {
		return err
	}
	return await(ctx, r.exited, h.ended)
}

// hostGone is the maximum time in which a host ends by itself.
const hostGone = 2 * time.Second

// close ends everything on the host at once, and waits until it is gone. A second call does
// nothing.
func (h *host) close() error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	err := h.process.CloseControl()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	// The process exits once all processes of the host have. If it has to be killed, they may
	// outlive it for a moment.
	select {
	case <-h.process.Exited():
	case <-time.After(hostGone):
	}
	return errors.Join(err, h.process.Close())
}

// client returns an HTTP client whose connections begin on the host.
func (h *host) client(t *http.Transport) *http.Client {
	t.DisableKeepAlives = true
	t.DialContext = func(_ context.Context, network, addr string) (c net.Conn, err error) {
		err = h.lab.Do(h.at, func() error {
			c, err = net.DialTimeout(network, addr, time.Second)
			return err
		})
		return c, err
	}
	return &http.Client{Transport: t, Timeout: 5 * time.Second}
}

// pollInterval is the time between two questions whether a part is ready, for parts that do not
// report it themselves.
const pollInterval = 25 * time.Millisecond

// poll asks until the answer is nil. If the context ends first, the error has the last answer.
func poll(ctx context.Context, ask func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pollInterval is the time between two polls in Drain and Ready, because HAProxy 2.6 has no command
// that waits. A poll takes 0.1 ms of HAProxy's CPU time.
const pollInterval = 10 * time.Millisecond

// ServerStats holds HAProxy's statistics of one backend. Counts are since HAProxy's start
// (management manual 9.1).
type ServerStats struct {
	Name string
	// Status is "UP", "UP 1/3" on the way down, "DOWN", "DOWN 1/2" on the way up, "DRAIN", "MAINT"
	// or "no check".
	Status           string
	CurrentSessions  int64 // scur: requests in progress; idle connections do not count
	Sessions         int64 // stot: requests sent to the backend; each retry counts again
	ConnectionErrors int64 // econ: requests that failed because it accepted no connection
	ResponseErrors   int64 // eresp: unanswered requests, except on reused connections
	Retries          int64 // wretr: connections retried
	Redispatches     int64 // wredis: requests moved to another backend
	FailedChecks     int64 // chkfail: failed checks while the backend was up
	Downs            int64 // chkdown: changes from up to down
}

// Up reports whether HAProxy sends new requests to the backend.
func (s ServerStats) Up() bool {
	return s.Status == "no check" || strings.HasPrefix(s.Status, "UP")
}

// Stats returns the statistics of all backends, in the order of Config.
func (p *Process) Stats(ctx context.Context) ([]ServerStats, error) {
	const servers = 4 // the type; -1 selects all of them (management manual 9.3, "show stat")
	answer, err := p.command(ctx, fmt.Sprintf("show stat %s %d -1", backendName, servers))
	if err != nil {
		return nil, err
	}
	stats, err := readStats(strings.NewReader(answer))
	if err != nil {
		return nil, fmt.Errorf("haproxy: show stat: %w", err)
	}
	return stats, nil
}

// Drain takes a backend out of the rotation and returns when the backend has no request in
// progress, or when ctx ends. A request that pauses before a retry is not in progress; it fails.
// Idle connections to the backend stay open, unused. Checks continue: if the backend then stops, it
// goes down, and Ready waits until it is up.
func (p *Process) Drain(ctx context.Context, backend string) error {
	err := p.setState(ctx, backend, "drain")
	if err == nil {
		// until waits for one interval before it polls. By then, a request that another thread has
		// just sent to the backend is counted.
		err = p.until(ctx, backend, func(s ServerStats) bool { return s.CurrentSessions == 0 })
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", backend, err)
	}
	return nil
}

// Ready brings a backend back into the rotation and returns when HAProxy sends requests to it, or
// when ctx ends. If checks have found the backend down, it waits until they find it up.
func (p *Process) Ready(ctx context.Context, backend string) error {
	err := p.setState(ctx, backend, "ready")
	if err == nil {
		err = p.until(ctx, backend, ServerStats.Up)
	}
	if err != nil {
		return fmt.Errorf("ready %s: %w", backend, err)
	}
	return nil
}

func (p *Process) setState(ctx context.Context, backend, state string) error {
	line := fmt.Sprintf("set server %s/%s state %s", backendName, backend, state)
	answer, err := p.command(ctx, line)
	if err != nil {
		return err
	}
	if complaint := strings.TrimSpace(answer); complaint != "" {
		return fmt.Errorf("haproxy: %s: %s", line, complaint)
	}
	return nil
}

// until polls the backend until wanted returns true for it, or ctx ends.
func (p *Process) until(ctx context.Context, backend string, wanted func(ServerStats) bool) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	seen := "unknown"
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("haproxy: %w; the last state was %s", context.Cause(ctx), seen)
		}
		stats, err := p.Stats(ctx)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return err
		}
		i := slices.IndexFunc(stats, func(s ServerStats) bool { return s.Name == backend })
		if i < 0 {
			return errors.New("haproxy: show stat does not list this server")
		}
		if wanted(stats[i]) {
			return nil
		}
		seen = fmt.Sprintf("%s with %d sessions", stats[i].Status, stats[i].CurrentSessions)
	}
}

// command runs one command of the runtime API on a new connection and returns the answer
// (management manual 9.3).
func (p *Process) command(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit,
		fmt.Errorf("no answer within %v", answerLimit))
	defer cancel()
	var c *net.UnixConn
	err := p.env.Do(func() (err error) {
		c, err = net.DialUnix("unix", nil, p.runtime)
		return err
	})
	var answer string
	if err == nil {
		answer, err = exchange(ctx, c, line)
	}
	if err == nil {
		return answer, nil
	}
	err = fmt.Errorf("haproxy: %s: %w", line, err)
	select {
	case <-p.Exited():
		return "", errors.Join(err, p.Err())
	default:
		return "", err
	}
}

func exchange(ctx context.Context, c net.Conn, line string) (string, error) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	_, err := io.WriteString(c, line+"\n")
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(c)
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err == nil && len(answer) == 0: // a complete answer has at least an empty line
		return "", io.ErrUnexpectedEOF
	}
	return string(answer), err
}

// readStats reads the CSV that "show stat" prints (management manual 9.1): a header, and a line for
// each server.
func readStats(r io.Reader) ([]ServerStats, error) {
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || lines[0][0] != "# pxname" {
		return nil, errors.New("not CSV with a header")
	}
	stats := make([]ServerStats, 0, len(lines)-1)
	for _, line := range lines[1:] {
		row := row{names: lines[0], values: line}
		stats = append(stats, ServerStats{
			Name:             row.text("svname"),
			Status:           row.text("status"),
			CurrentSessions:  row.count("scur"),
			Sessions:         row.count("stot"),
			ConnectionErrors: row.count("econ"),
			ResponseErrors:   row.count("eresp"),
			Retries:          row.count("wretr"),
			Redispatches:     row.count("wredis"),
			FailedChecks:     row.count("chkfail"),
			Downs:            row.count("chkdown"),
		})
		if row.err != nil {
			return nil, row.err
		}
	}
	return stats, nil
}

// A row is one line of the CSV. err joins the errors of reading its fields.
type row struct {
	names, values []string
	err           error
}

func (r *row) text(name string) string {
	i := slices.Index(r.names, name)
	if i < 0 {
		r.err = errors.Join(r.err, fmt.Errorf("no column %s", name))
		return ""
	}
	return r.values[i]
}

// count returns the number in a field. It is 0 if the field is empty, as are chkfail and chkdown of
// a server without checks.
func (r *row) count(name string) int64 {
	text := r.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("%s: %w", name, err))
	}
	return n
}

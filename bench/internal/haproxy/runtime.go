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

// lookEvery is how often Drain and Ready look. HAProxy 2.6 has no command that waits. A look costs
// it 0.1 ms of CPU.
const lookEvery = 10 * time.Millisecond

// ServerStats is what HAProxy says of one backend. Counts are since its start (management manual
// 9.1).
type ServerStats struct {
	Name             string
	Status           string // "UP", "UP 1/3" on the way down, "DOWN", "DOWN 1/2" on the way up, "DRAIN", "MAINT", "no check"
	CurrentSessions  int64  // scur: requests that it is answering; idle connections are none
	Sessions         int64  // stot: requests that it was given; one that is retried counts again each time
	ConnectionErrors int64  // econ: requests given up because it could not be connected to
	ResponseErrors   int64  // eresp: requests that it did not answer, but for those on a reused connection
	Retries          int64  // wretr: connections tried again
	Redispatches     int64  // wredis: requests taken from it to another
	FailedChecks     int64  // chkfail: while it was up
	Downs            int64  // chkdown: from up to down
}

// Up reports whether HAProxy gives the backend new requests.
func (s ServerStats) Up() bool { return s.Status == "no check" || strings.HasPrefix(s.Status, "UP") }

// Stats asks for all backends, in the order of Config.
func (p *Process) Stats(ctx context.Context) ([]ServerStats, error) {
	const servers = 4 // the type; -1 is for all of them (management manual 9.3, "show stat")
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

// Drain takes a backend out of the rotation and returns when it answers no request any more. It
// waits as long as ctx lets it. A request that is in the pause before a retry is answered by
// nobody, and not waited for. Idle connections to the backend remain, unused. Checks go on: a
// backend that is stopped then goes down, and Ready waits until it is back.
func (p *Process) Drain(ctx context.Context, backend string) error {
	err := p.setState(ctx, backend, "drain")
	if err == nil {
		// The first look is a moment later, so a request that another thread has just given to the
		// backend is counted by then.
		err = p.until(ctx, backend, func(s ServerStats) bool { return s.CurrentSessions == 0 })
	}
	if err != nil {
		return fmt.Errorf("drain %s: %w", backend, err)
	}
	return nil
}

// Ready brings a backend back into the rotation and returns when HAProxy gives it requests: at once
// if checks have not found it down meanwhile, else when they have found it up. It waits as long as
// ctx lets it.
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

// until returns when the backend is as wanted.
func (p *Process) until(ctx context.Context, backend string, wanted func(ServerStats) bool) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := "not looked at yet"
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("haproxy: %w; it is still %s", context.Cause(ctx), seen)
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
			return errors.New("haproxy: show stat does not list it")
		}
		if wanted(stats[i]) {
			return nil
		}
		seen = fmt.Sprintf("%s with %d sessions", stats[i].Status, stats[i].CurrentSessions)
	}
}

// command has one command of the runtime API answered, over a connection of its own (management
// manual 9.3).
func (p *Process) command(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("no answer within %v", answerLimit))
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
	case err == nil && len(answer) == 0: // even a command with nothing to say is answered by an empty line
		return "", io.ErrUnexpectedEOF
	}
	return string(answer), err
}

// readStats reads the CSV of "show stat" (management manual 9.1): a line of names, and one for each
// server.
func readStats(r io.Reader) ([]ServerStats, error) {
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || lines[0][0] != "# pxname" {
		return nil, errors.New("not CSV with a line of names")
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

// A row is one line of CSV; err is the first thing wrong with it.
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

// count is 0 for an empty field: chkfail and chkdown of a server without checks.
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

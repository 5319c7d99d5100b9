package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/wire"
)

// A Command is a third-party server that is started by a command. In a cluster, each pod has one;
// see At.
type Command struct {
	Server  foreign.Config
	Restart []foreign.Action
	Beside  []Beside // sorted by name
}

// A Beside is a process that runs beside the server.
type Beside struct {
	Name   string
	Server foreign.Config
}

// newCommand returns the third-party server of a setup, configured to listen at the address.
// Relative paths in the setup are relative to dir.
func newCommand(s scenarios.Setup, address netip.AddrPort, dir string) *Command {
	c := s.Server
	server := foreign.Config{
		Start: command(c.Start.Command), Forks: c.Forks, PIDFile: c.PIDFile,
		Directory: c.Directory, Base: dir, User: c.User,
		Files: files(c.Files), Env: c.Env, Vars: c.Vars,
		Address: address, Workers: s.Workers, Backlog: c.Backlog,
		Ready: ready(c.Ready), Stop: stop(c.Stop), RestartWithin: c.RestartWithin,
		Identify: foreign.Identify(c.Identify),
	}
	if s.Sockets != vocabulary.SocketsServer {
		server.Sockets = s.Sockets
	}
	p := &Command{Server: server, Restart: actions(c.Restarts[s.Restart])}
	for _, name := range slices.Sorted(maps.Keys(c.Beside)) {
		b := c.Beside[name]
		p.Beside = append(p.Beside, Beside{name, foreign.Config{
			Start: command(b.Start), Base: dir, User: c.User,
			Files: files(b.Files), Env: b.Env, Vars: c.Vars,
			Address: netip.AddrPortFrom(address.Addr(), uint16(b.Port)), Workers: s.Workers,
			Ready: ready(b.Ready), Stop: stop(b.Stop),
		}})
	}
	return p
}

// At returns the server and the processes beside it as they are in a pod with the given address.
// generation is the value of {{generation}}.
func (c *Command) At(pod netip.AddrPort, generation int) *Command {
	p := *c
	p.Server.Address, p.Server.Generation = pod, generation
	p.Beside = slices.Clone(c.Beside)
	for i := range p.Beside {
		b := &p.Beside[i].Server
		b.Address = netip.AddrPortFrom(pod.Addr(), b.Address.Port())
	}
	return &p
}

// inPods sets what is different in pods: each has one of the workers, and its kubelet decides how
// long it may take to stop.
func (c *Command) inPods(grace time.Duration) {
	c.Server.Workers, c.Server.Stop.Grace = 1, grace+afterHook
	for i := range c.Beside {
		c.Beside[i].Server.Workers = 1
	}
}

// check returns an error if a template in the server's settings cannot be executed or a command
// line cannot be split into arguments.
func (c *Command) check() error {
	if err := c.Server.Check(); err != nil {
		return fmt.Errorf("server.%w", err)
	}
	if err := c.Server.CheckRestart(c.Restart); err != nil {
		return fmt.Errorf("server.restarts: %w", err)
	}
	for _, b := range c.Beside {
		if err := b.Server.Check(); err != nil {
			return fmt.Errorf("server.beside.%s.%w", b.Name, err)
		}
	}
	return nil
}

func command(c scenarios.Command) foreign.Command { return foreign.Command(c) }

func files(all map[string]scenarios.File) (files []foreign.File) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		files = append(files, foreign.File{Name: name, Text: all[name].Text, Copy: all[name].Copy})
	}
	return files
}

func ready(r scenarios.Ready) foreign.Ready {
	return foreign.Ready{
		HTTP: r.HTTP, Status: r.Status, Listening: r.Listening, Notify: r.Notify,
		Stdout: pattern(r.Stdout), Run: command(r.Run), Within: r.Within,
	}
}

func stop(s scenarios.ServerStop) foreign.Stop {
	return foreign.Stop{Signal: s.Signal.Number(), Grace: s.Grace}
}

// pattern compiles a regular expression that package scenarios has checked. It returns nil for "".
func pattern(text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	return regexp.MustCompile(text)
}

func actions(all []scenarios.Action) (actions []foreign.Action) {
	for _, a := range all {
		action := foreign.Action{
			Signal: a.Signal.Number(), To: foreign.Target(a.To), Run: command(a.Run), Exit: a.Exit,
			Start: a.Start != "", Stop: a.Stop != "", Write: a.Write != "", Set: a.Set,
			Within: a.Within,
		}
		if w := a.Wait; w != (scenarios.Condition{}) {
			action.Wait = &foreign.Condition{
				Ready: w.Ready != "", Listening: w.Listening, HTTP: w.HTTP,
				Generation: w.Generation != "", File: w.File, PIDFile: w.PIDFile != "",
				Gone: foreign.Target(w.Gone), Stdout: pattern(w.Stdout),
			}
		}
		actions = append(actions, action)
	}
	return actions
}

// request returns the request that the load sends.
func request(r scenarios.Request) load.Request {
	all := load.Request{Method: r.Method, Path: r.Path}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		all.Headers = append(all.Headers, wire.Field{Name: name, Value: r.Headers[name]})
	}
	for _, status := range r.Status.Ranges() {
		all.Status = append(all.Status, load.StatusRange{From: status[0], To: status[1]})
	}
	return all
}

func identify(i scenarios.Identify) load.Identify { return load.Identify(i) }

// commandStart is an estimate of the time that a third-party server takes to start.
const commandStart = time.Second

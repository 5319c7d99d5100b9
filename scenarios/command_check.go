package scenarios

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// command checks the settings of a third-party server.
func (c *setupCheck) command() {
	c.noWorkers()
	c.cluster()
	c.commandPods()
	c.realControl()
	if c.d.Trusts("server.start") {
		switch s := c.Server.Start; {
		case s.When != "":
			c.add("server.start", ": with kind: command it is the command that starts the server",
				commandHint)
		case s.Command.IsZero():
			c.add("server.start", " is missing", commandHint)
		}
	}
	c.ready("server.ready", c.Server.Ready)
	c.restarts()
	for _, name := range slices.Sorted(maps.Keys(c.Server.Beside)) {
		path, b := "server.beside."+name, c.Server.Beside[name]
		switch {
		case !c.d.Trusts(path):
		case b.Start.IsZero():
			c.add(path+".start", " is missing", commandHint)
		case b.Port == 0 && b.Ready.conditions() == 0:
			c.add(path+".ready", " is missing", "say at which port it listens, or when it is ready")
		}
		c.ready(path+".ready", b.Ready)
	}
	c.commandSockets()
}

// noWorkers refuses settings that apply only to workers of this program.
func (c *setupCheck) noWorkers() {
	var fresh Setup
	format().SetDefaults(&fresh)
	s, own := c.Server, fresh.Server
	grace := "use server.stop.grace"
	if c.InPods() {
		grace = "use kube.grace"
	}
	const mine = "it is for the workers of this program; "
	for _, of := range []struct {
		path string
		set  bool
		hint string
	}{
		{"accept", c.Accept != "", "your server decides how it accepts"},
		{"selector", c.Selector != fresh.Selector, "your server attaches a program to its sockets"},
		{"canary", c.Canary != 0, "your server decides which worker gets a connection"},
		{"pin", c.Pin != fresh.Pin, "configure your server's affinity"},
		{"stop", c.Stop != "", "say how your server restarts in server.restarts, and name it by restart"},
		{"stall", c.Stall != fresh.Stall, "use stall: sigstop"},
		{"server.work", s.Work != own.Work, "the time of a request is your server's"},
		{"server.startup", s.Startup != 0, "the time of a start is your server's"},
		{"server.cold", s.Cold != 0, "the time of a request is your server's"},
		{"server.grace", s.Grace != own.Grace, grace},
		{"server.listen", s.Listen != own.Listen, "your server listens at {{address}}"},
		{"server.defer_accept", s.DeferAccept != 0, "configure your server"},
		{"server.users", s.Users != own.Users, "use server.user"},
		{"server.idle_timeout", s.IdleTimeout != 0, "configure your server"},
		{"server.max_requests", s.MaxRequests != 0, "configure your server"},
		{"server.fault.resets", s.Fault.Resets != 0, "your server decides what it resets"},
		{"server.fault.time_wait", s.Fault.TimeWait != 0, "remove it"},
		{"queue_depth", c.QueueDepth != fresh.QueueDepth,
			"accept queues of your server are always sampled"},
	} {
		if of.set && c.d.Trusts(of.path) {
			c.add(of.path, ": does not go with server.kind: command", mine+of.hint)
		}
	}
	for i, step := range c.Timeline {
		path := fmt.Sprintf("timeline[%d].do", i)
		if step.Do == "" || c.allows(step.Do.Kind()) || !c.d.Trusts(path, "path") {
			continue
		}
		kinds := "use " + strings.Join(stepNames(c.allows), ", ")
		switch k := step.Do.Kind(); {
		case k.Pods && !k.Plain: // cluster says so
		case c.InPods() && step.Do == vocabulary.StepRestart:
			c.add(path, ": restart does not work with pods",
				"Kubernetes replaces a pod rather than restarting the server in it; "+kinds)
		case c.InPods() && k.Command:
			c.add(path, ": "+string(step.Do)+" does not work with pods", kinds)
		default:
			c.add(path, ": "+string(step.Do)+" does not go with server.kind: command", kinds)
		}
	}
	switch {
	case c.Path == vocabulary.PathHAProxy && c.d.Trusts("path"):
		c.add("path", ": haproxy does not go with server.kind: command yet", "use path: direct")
	case c.Network == vocabulary.NetworkCluster && !c.InPods() && c.d.Trusts("network", "path"):
		c.add("network", ": cluster with path: direct does not go with server.kind: command",
			"use path: service, dns or pod")
	}
}

// commandPods checks the settings of third-party servers in pods.
func (c *setupCheck) commandPods() {
	if !c.InPods() {
		return
	}
	k := c.Kube
	for _, of := range []struct {
		path string
		set  bool
		what string
		hint string
	}{
		{"sockets", c.passesSockets(),
			": " + string(c.Sockets) + " does not work with pods and server.kind: command",
			"no socket is passed to the server in a pod; use server"},
		{"server.stop.grace", c.Server.Stop.Grace > 0, ": a pod has its own grace period",
			"use kube.grace"},
		{"kube.placement", k.Placement.Row().SharesNetwork,
			": " + string(k.Placement) + " does not go with server.kind: command",
			"each server needs a network of its own; use pods or one-node"},
		{"kube.container_start", k.ContainerStart > 0,
			": does not go with server.kind: command", "the server starts with its pod; remove it"},
		{"kube.users", k.otherUsers() && !k.real(), ": does not go with server.kind: command",
			"use server.user"},
		{"kube.readiness", k.Readiness == vocabulary.ReadinessListening && !k.real(),
			": listening does not go with server.kind: command",
			"use probe, and say when the server is ready by server.ready"},
	} {
		if of.set && c.d.Trusts(of.path, "path") {
			c.add(of.path, of.what, of.hint)
		}
	}
	c.commandContainers()
}

// commandContainers checks the settings of third-party servers in pods of a real Kubernetes, whose
// kubelets find out whether they are ready.
func (c *setupCheck) commandContainers() {
	if !c.Kube.real() || !c.d.Trusts("path", "kube") {
		return
	}
	probed := c.Kube.Readiness != vocabulary.ReadinessStarted
	r := c.Server.Ready
	const orStarted = ", or use kube.readiness: started, with which the kubelet does not ask"
	for _, of := range []struct {
		path string
		set  bool
		what string
		hint string
	}{
		{"server.beside", len(c.Server.Beside) > 0, ": does not go with kube.control: real yet",
			"start it in the server's command, or use embedded"},
		{"server.ready", probed && r.conditions() > 0 && r.HTTP == "" && !r.Listening,
			": a kubelet asks only by http, or whether it listens",
			"say http or listening" + orStarted},
		{"server.ready.status", probed && r.Status > 0,
			": to a kubelet, every status from 200 to 399 means ready", "remove it" + orStarted},
	} {
		if of.set && c.d.TrustsAll(of.path) {
			c.add(of.path, of.what, of.hint)
		}
	}
}

// commandSockets checks the settings of the sockets that are passed to a third-party server.
func (c *setupCheck) commandSockets() {
	if !c.d.Trusts("sockets") {
		return
	}
	switch {
	case c.Sockets == vocabulary.SocketsExclusive:
		c.add("sockets", ": exclusive does not go with server.kind: command",
			"use server, or shared or reuseport for sockets that this program passes")
	case c.passesSockets() && (c.Server.Ready.conditions() == 0 || c.Server.Ready.Listening):
		c.add("server.ready", ": a passed socket listens from the start",
			"say when the server is ready by http, notify, stdout or run")
	}
}

// passesSockets reports whether this program opens the third-party server's sockets.
func (c *setupCheck) passesSockets() bool {
	return c.Sockets == vocabulary.SocketsShared || c.Sockets == vocabulary.SocketsReuseport
}

// conditions returns the number of conditions in r that are set.
func (r Ready) conditions() int {
	return set(r.HTTP != "", r.Listening, r.Notify, r.Stdout != "", !r.Run.IsZero())
}

// set returns the number of arguments that are true.
func set(all ...bool) (n int) {
	for _, s := range all {
		if s {
			n++
		}
	}
	return n
}

func (c *setupCheck) ready(path string, r Ready) {
	if !c.d.TrustsAll(path) {
		return
	}
	switch n := r.conditions(); {
	case n > 1:
		c.add(path, fmt.Sprintf(": %d conditions", n),
			"keep one of http, listening, notify, stdout and run")
	case r.Status > 0 && r.HTTP == "":
		c.add(path+".status", ": there is no http", "add http: /, or remove status")
	}
	c.regexp(path+".stdout", r.Stdout)
	c.path(path+".http", r.HTTP)
}

func (c *setupCheck) regexp(path, text string) {
	if _, err := regexp.Compile(text); err != nil {
		c.add(path, ": "+err.Error(), "see https://golang.org/s/re2syntax")
	}
}

func (c *setupCheck) path(path, text string) {
	if text != "" && text[0] != '/' {
		c.add(path, ": "+strictyaml.Quote(text)+" is not a path",
			"begin with /, for example /health")
	}
}

// restarts checks all of server.restarts, and the key restart, which chooses one of them.
func (c *setupCheck) restarts() {
	all := c.Server.Restarts
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names {
		path := "server.restarts." + name
		switch {
		case !c.d.TrustsAll(path):
		case len(all[name]) == 0:
			c.add(path, " has no action", "for example [{signal: HUP}]")
		case !slices.ContainsFunc(all[name], Action.acts):
			c.add(path, ": only waits",
				"add an action that restarts the server, for example {signal: HUP}")
		}
		for i, a := range all[name] {
			c.action(fmt.Sprintf("%s[%d]", path, i), a)
		}
	}
	if !c.d.Trusts("restart", "server.restarts", "timeline") {
		return
	}
	_, known := all[c.Restart]
	restarts := c.has(vocabulary.StepRestart)
	switch {
	case len(all) == 0 && (restarts || c.Restart != ""):
		c.add("server.restarts", " is missing",
			"say how to restart the server, for example restarts: {reload: [{signal: HUP}]}")
	case restarts && c.Restart == "":
		c.add("restart", " is missing", "name one of "+strings.Join(names, ", "))
	case c.Restart != "" && !known:
		c.add("restart", fmt.Sprintf(": server.restarts has no %s", strictyaml.Quote(c.Restart)),
			strictyaml.DidYouMean(c.Restart, names, "it has "+strings.Join(names, ", ")))
	}
}

// acts reports whether the action does something besides waiting. It returns true for an empty
// action, which is reported as such.
func (a Action) acts() bool {
	return a.Wait == Condition{} ||
		set(a.Signal != "", !a.Run.IsZero(), a.Start != "", a.Stop != "", a.Write != "") > 0
}

// action checks one action of a restart.
func (c *setupCheck) action(path string, a Action) {
	if !c.d.TrustsAll(path) {
		return
	}
	w := a.Wait
	waits := set(w.Ready != "", w.Listening, w.HTTP != "", w.Generation != "", w.File != "",
		w.PIDFile != "", w.Gone != "", w.Stdout != "")
	switch n := set(a.Signal != "", !a.Run.IsZero(), a.Start != "", a.Stop != "", a.Write != "",
		waits > 0); {
	case n == 0:
		c.add(path, ": does nothing", "use one of signal, run, start, stop, write and wait")
	case n > 1:
		c.add(path, fmt.Sprintf(": %d things to do", n), "make each an action of its own")
	case waits > 1:
		c.add(path+".wait", fmt.Sprintf(": %d conditions", waits), "make each a wait of its own")
	case a.To != "" && a.Signal == "":
		c.add(path+".to", ": there is no signal", "remove it, or add signal")
	case a.Exit != 0 && a.Run.IsZero():
		c.add(path+".exit", ": there is no run", "remove it, or add run")
	case len(a.Set) > 0 && a.Write == "":
		c.add(path+".set", ": only write: files uses new values", "add write: files")
	case a.Within > 0 && a.Run.IsZero() && waits == 0:
		c.add(path+".within", ": only run and wait take time", "remove it")
	case w.PIDFile != "" && c.Server.PIDFile == "":
		c.add(path+".wait.pid_file", ": there is no server.pid_file",
			"add it, or wait for another thing")
	case w.Generation != "" && c.Server.Identify.Generation == "":
		c.add(path+".wait.generation", ": there is no server.identify.generation",
			"make the server send {{generation}} in a response header, and name the header")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		c.setName(path+".set", name)
	}
	c.regexp(path+".wait.stdout", w.Stdout)
	c.path(path+".wait.http", w.HTTP)
}

// setName checks the name of a variable that an action sets.
func (c *setupCheck) setName(path, name string) {
	variable, isVar := strings.CutPrefix(name, "vars.")
	_, known := c.Server.Vars[variable]
	if isVar && known || name == "workers" {
		return
	}
	hint := "set workers, or vars.NAME of server.vars"
	if known {
		hint = "write vars." + name
	}
	c.add(path, ": unknown variable "+strictyaml.Quote(name), hint)
}

// withoutCommand refuses settings that apply only to third-party servers.
func (c *setupCheck) withoutCommand() {
	s := &c.Server.ServerCommand
	for _, of := range []struct {
		path string
		set  bool
	}{
		{"server.forks", s.Forks}, {"server.pid_file", s.PIDFile != ""},
		{"server.directory", s.Directory != ""}, {"server.user", s.User != ""},
		{"server.files", len(s.Files) > 0}, {"server.env", len(s.Env) > 0},
		{varsPath, len(s.Vars) > 0}, {"server.ready", s.Ready.conditions() > 0},
		{"server.stop", s.Stop != ServerStop{}}, {"server.identify", s.Identify != Identify{}},
		{"server.restarts", len(s.Restarts) > 0}, {"server.restart_within", s.RestartWithin > 0},
		{"server.beside", len(s.Beside) > 0}, {"request", !c.Request.isZero()},
		{"restart", c.Restart != "" && len(s.Restarts) == 0},
	} {
		if of.set && c.d.Trusts(of.path, "server.kind") {
			c.add(of.path, ": needs server.kind: command",
				"it is for a server of your own; add kind: command, or remove it")
		}
	}
	if c.Sockets == vocabulary.SocketsServer && c.d.Trusts("sockets", "server.kind") {
		c.add("sockets", ": server needs server.kind: command", "use reuseport or shared")
	}
}

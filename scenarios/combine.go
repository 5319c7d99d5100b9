package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// finding is a problem with the combination of values in a setup. It has a path, but no line yet.
type finding struct{ path, what, hint string }

// setupCheck collects the findings of one setup. It skips a rule if the decoder has already found a
// problem with a value that the rule reads, so that each mistake is reported only once.
type setupCheck struct {
	*Setup
	d     *strictyaml.Decoder
	found []finding
}

// checkSetup returns a finding for each value that is missing or contradicts another value of the
// setup.
func checkSetup(s *Setup, d *strictyaml.Decoder) []finding {
	c := &setupCheck{Setup: s, d: d}
	if s.ByCommand() && d.Trusts("server.kind") {
		c.command()
	} else {
		c.ownWorkers()
	}
	c.roundTrip()
	c.count()
	c.ports()
	c.connections()
	if c.filters() > 1 && c.d.Trusts("server.fault") {
		c.add("server.fault", ": more than one of half_open, dropped_syns and rejected_syns",
			"one firewall rule at a time, so that each loss has one cause")
	}
	c.load()
	c.retry()
	if c.commonStep() {
		for i := range s.Timeline {
			c.step(i)
		}
	}
	c.search()
	return c.found
}

// ownWorkers checks the settings that apply to workers of this program.
func (c *setupCheck) ownWorkers() {
	c.stopAndSockets()
	c.exclusive()
	c.proxy()
	c.cluster()
	c.placement()
	c.realControl()
	c.coldStart()
	c.start()
	c.steps()
	c.sysctl()
	c.accept()
	c.listen()
	c.users()
	c.selector()
	if only := c.Stall.Row().Kind; !only.Allows(c.Server.Kind) &&
		c.d.Trusts("stall", "server.kind") {
		needs(c, "stall", c.Stall, "server.kind", only)
	}
	c.work()
	c.withoutCommand()
}

func (c *setupCheck) add(path, what, hint string) {
	c.found = append(c.found, finding{path, path + what, hint})
}

// stopAndSockets checks that the stop mode works with the path, the sockets, the selector and the
// kind of server.
func (c *setupCheck) stopAndSockets() {
	if !c.d.Trusts("stop", "sockets") {
		return
	}
	stop := c.Stop.Row()
	if !stop.Path.Allows(c.Path) && c.d.Trusts("path") {
		needs(c, "stop", c.Stop, "path", stop.Path)
	}
	switch {
	case !stop.Sockets.Allows(c.Sockets):
		needs(c, "stop", c.Stop, "sockets", forMany(stop.Sockets))
	case stop.Unlists && !c.Selector.Row().LeavesOut && c.d.Trusts("selector"):
		c.add("selector", ": "+string(c.Selector)+" cannot leave out the old workers",
			"for stop: "+string(c.Stop)+" use hash, round-robin, weighted or least-loaded")
	case stop.Handover != vocabulary.NoHandover && !c.Selector.Row().Inherits &&
		c.d.Trusts("selector"):
		c.add("selector", ": "+string(c.Selector)+" needs sockets that each worker binds itself",
			"for stop: "+string(c.Stop)+" use hash or cpu")
	}
	if !stop.Kind.Allows(c.Server.Kind) && c.d.Trusts("server.kind") {
		needs(c, "stop", c.Stop, "server.kind", stop.Kind)
	}
}

// needs adds a finding if the value at path does not work with the setup's value of another
// setting.
func needs[V, T ~string](c *setupCheck, path string, value V, setting string,
	only vocabulary.Only[T]) {
	values := vocabulary.Join(only.Values, " or ")
	c.add(path, fmt.Sprintf(": %s needs %s: %s", value, setting, values), only.Why)
}

// forMany removes SocketsExclusive, which is for a single worker, from only.Values, unless there
// are no other values.
func forMany(only vocabulary.Only[vocabulary.Sockets]) vocabulary.Only[vocabulary.Sockets] {
	many := slices.DeleteFunc(slices.Clone(only.Values), func(s vocabulary.Sockets) bool {
		return s == vocabulary.SocketsExclusive
	})
	if len(many) > 0 {
		only.Values = many
	}
	return only
}

// exclusive checks the settings that sockets: exclusive rules out. No second socket can be bound to
// the address of an exclusive socket.
func (c *setupCheck) exclusive() {
	if c.Sockets != vocabulary.SocketsExclusive ||
		!c.d.Trusts("sockets", "workers", "workers_per_cpu", "timeline", "stop") {
		return
	}
	// Behind HAProxy each worker has a port of its own, so there may be several workers.
	proxied := c.Path == vocabulary.PathHAProxy && c.d.Trusts("path")
	if !proxied && (c.Workers != 1 || c.WorkersPerCPU != 0) {
		c.add("workers", ": sockets: exclusive is for one worker",
			"a second worker could not bind the address; set workers: 1")
	}
	rebinds := c.Stop == "" || c.Stop.Row().Rebinds
	for i, s := range c.Timeline {
		switch {
		case s.Do == vocabulary.StepRoll && !proxied || s.Do == vocabulary.StepAdd ||
			s.Do == vocabulary.StepColdStart:
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": "+string(s.Do)+" needs an address that two workers can bind",
				"use replace, or sockets: reuseport")
		case s.Do == vocabulary.StepReplace && proxied:
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": workers with an address each can only be replaced one by one", "use roll")
		case (s.Do == vocabulary.StepReplace || s.Do == vocabulary.StepRoll) && !rebinds:
			c.add("stop", ": an exclusive socket can be replaced by bind-after-close only",
				"the successor cannot be ready before the old worker is gone")
		}
	}
}

// roundTrip checks that the other settings allow an added round trip, and that an attempt can
// complete within its timeout despite the round trip.
func (c *setupCheck) roundTrip() {
	if c.RoundTrip == 0 ||
		!c.d.Trusts("round_trip", "network", "load.timeout", "load.retry") {
		return
	}
	trip, timeout := strictyaml.FormatDuration(c.RoundTrip), c.Load.Timeout
	retry := c.Load.Retry
	connect := cmp.Or(retry.ConnectTimeout, timeout/3)
	switch {
	case c.RoundTrip%twoHalves != 0:
		c.add("round_trip", ": "+trip+" is not an even number of microseconds",
			"the kernel delays each direction by half of it, in whole microseconds")
	case c.Network != vocabulary.NetworkVeth:
		c.add("round_trip", ": needs network: veth",
			"packets are delayed between two hosts; use network: veth, or remove "+
				"round_trip")
	case 2*c.RoundTrip >= timeout:
		c.add("round_trip", fmt.Sprintf(": the handshake and the request take %s each, which "+
			"leaves no time of load.timeout, %s", trip, strictyaml.FormatDuration(timeout)),
			"lower it, or raise load.timeout")
	case retry.Max > 0 && c.RoundTrip >= connect &&
		slices.Contains(retry.Causes(), vocabulary.RetryConnectTimeout):
		c.add("load.retry.connect_timeout", fmt.Sprintf(
			": no handshake ends within %s, because a round trip takes %s",
			strictyaml.FormatDuration(connect), trip),
			"raise it above round_trip")
	}
}

// proxy checks the settings that need a proxy, and those that do not work behind one.
func (c *setupCheck) proxy() {
	if !c.d.Trusts("path", "haproxy.checks", "haproxy.redispatch") {
		return
	}
	switch {
	case c.Path != vocabulary.PathHAProxy && c.HAProxy.Checks != "":
		c.add("haproxy.checks", ": only path: haproxy has health checks",
			"use path: haproxy, or remove haproxy")
	case c.Path != vocabulary.PathHAProxy && c.HAProxy.Redispatch != "":
		c.add("haproxy.redispatch", ": only path: haproxy retries at another worker",
			"use path: haproxy, or remove haproxy; for retries by clients use load.retry")
	case c.Path == vocabulary.PathHAProxy && c.filters() > 0 && c.d.Trusts("server.fault"):
		c.add("server.fault", ": half_open, dropped_syns and rejected_syns need path: direct",
			"behind a proxy the workers see the proxy's connections")
	case c.Path == vocabulary.PathHAProxy && (c.Load.Rate.OfCapacity > 0 || c.Search.OfRate()) &&
		c.d.Trusts("load.rate") && c.d.TrustsAll("search"):
		c.add("load.rate", ": a share of the capacity, and a search, need path: direct",
			"give load.rate in attempts per second, for example 1000/s")
	case c.Path == vocabulary.PathHAProxy && c.Network == vocabulary.NetworkVeth &&
		c.d.Trusts("network"):
		c.add("path", ": haproxy needs network: loopback",
			"it runs beside the workers; use network: loopback")
	case c.Path == vocabulary.PathHAProxy && c.Accept.Row().Passes && c.d.Trusts("accept"):
		c.add("accept", ": "+string(c.Accept)+" needs path: direct",
			"connections that the acceptor passes on could not be told from those that HAProxy "+
				"drops")
	}
}

// forPods reports whether pods can be stopped in the mode m.
func forPods(m vocabulary.StopModeRow) bool { return m.Pods }

// podStops returns the names of the stop modes for which is returns true: first those that ask the
// worker to stop, then those that do not ask.
func podStops(is func(vocabulary.StopModeRow) bool) []string {
	var asked, unasked []string
	for _, m := range vocabulary.StopModes() {
		switch {
		case is(m) && m.Closes == vocabulary.ClosesNever:
			unasked = append(unasked, string(m.Name))
		case is(m):
			asked = append(asked, string(m.Name))
		}
	}
	return append(asked, unasked...)
}

// placement checks that the placement and the users of pods are compatible with the path and the
// timeline.
func (c *setupCheck) placement() {
	if !c.d.Trusts("path", "kube", "timeline") || !c.InPods() {
		return
	}
	place := c.Kube.Placement
	switch {
	case place == vocabulary.PlacementHostNetwork && c.Path != vocabulary.PathPod:
		c.add("kube.placement", ": host-network needs path: pod",
			"for the nodes' rules, pods with the same address and port are one endpoint")
	case c.Kube.otherUsers() && c.Path != vocabulary.PathPod:
		c.add("kube.users", ": "+string(c.Kube.Users)+" needs path: pod",
			"a pod whose container cannot bind its port is not ready, and so no endpoint")
	}
	if !place.Row().SharesNetwork {
		return
	}
	for i, s := range c.Timeline {
		path := fmt.Sprintf("timeline[%d].do", i)
		switch {
		case !place.Row().OnePod:
			c.add(path, ": with kube.placement: "+string(place)+" a timeline is not allowed",
				"steps need pods with a network namespace each; use pods or one-node")
		case !c.allows(s.Do.Kind()):
			c.add(path, ": "+string(s.Do)+" does not work inside one pod", "with kube.placement: "+
				string(place)+" use "+strings.Join(stepNames(c.allows), ", ")+
				"; steps that change pods need pods or one-node")
		}
	}
}

// inOnePod reports whether all workers are in one pod.
func (s Setup) inOnePod() bool { return s.InPods() && s.Kube.Placement.Row().OnePod }

// cluster checks the settings that need a cluster, and those that do not work in one.
func (c *setupCheck) cluster() {
	if !c.d.Trusts("network", "path", "kube", "family", "sockets", "timeline", "trace") {
		return
	}
	service := c.InPods()
	if c.d.Trusts("dns") {
		switch {
		case c.DNS != (DNS{}) && !c.Path.Row().ByName:
			c.add("dns", ": only with path: dns or service do clients look names up",
				"use path: dns, or remove dns")
		case c.DNS.TTL%oneSecond != 0:
			c.add("dns.ttl", ": "+strictyaml.FormatDuration(c.DNS.TTL)+" is not in whole seconds",
				"the TTL of DNS is in whole seconds; for example 5s")
		}
	}
	for i, s := range c.Timeline {
		if k := s.Do.Kind(); !service && k.Pods && !k.Plain {
			instead := "replace, roll or remove"
			if c.ByCommand() {
				instead = string(vocabulary.StepRestart)
			}
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": "+string(s.Do)+" needs path: service, dns or pod",
				"other paths have no pods; use "+instead)
		}
	}
	switch {
	case service && c.Network != vocabulary.NetworkCluster:
		c.add("path", ": "+string(c.Path)+" needs network: cluster",
			"each of its pods is a network namespace")
		return
	case c.Kube != (Kube{}) && !service:
		c.add("kube", ": only path: service, dns or pod has a control plane",
			"use path: service, or remove kube")
	case c.Network != vocabulary.NetworkCluster:
		return
	}
	switch {
	case c.Path == vocabulary.PathHAProxy:
		c.add("path", ": haproxy needs network: loopback",
			"it runs beside the workers; use network: loopback")
	case c.Family == vocabulary.IPv6:
		c.add("family", ": a cluster has IPv4 only", "use family: ipv4")
	case c.filters() > 0 && c.d.Trusts("server.fault"):
		c.add("server.fault",
			": half_open, dropped_syns and rejected_syns need network: loopback or veth",
			"in a cluster the node's own rules would interfere")
	case (c.Load.Rate.OfCapacity > 0 || c.Search.OfRate()) && c.d.Trusts("load.rate") &&
		c.d.TrustsAll("search"):
		c.add("load.rate",
			": a share of the capacity, and a search, need network: loopback or veth",
			"give load.rate in attempts per second, for example 1000/s")
	case service && c.Sockets == vocabulary.SocketsShared && !c.ByCommand():
		c.add("sockets", ": shared needs workers on one host",
			"each pod has its own network namespace; use sockets: reuseport")
	case service && c.Selector != vocabulary.SelectorHash && c.d.Trusts("selector"):
		c.add("selector", ": "+string(c.Selector)+" selects among the sockets of one host",
			"behind a Service the node's rules choose a pod at random; use hash")
	}
	for i, s := range c.Timeline {
		if k := s.Do.Kind(); service && k.Plain && !k.Pods && !c.ByCommand() && !c.inOnePod() {
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": "+string(s.Do)+" does not work with pods behind a Service",
				"use "+strings.Join(stepNames(c.allows), ", "))
		}
	}
	if service {
		c.rollout()
		c.drains()
	}
	if service && c.d.Trusts("stop") {
		switch stop := c.Stop.Row(); {
		case c.Stop == "" || stop.Pods || c.inOnePod() && stop.OnePod:
		case c.inOnePod():
			c.add("stop", ": "+string(c.Stop)+" does not work inside one pod yet",
				"use "+strings.Join(podStops(func(m vocabulary.StopModeRow) bool {
					return m.Pods || m.OnePod
				}), ", "))
		default:
			c.add("stop", ": "+string(c.Stop)+" works between workers on one host",
				"pods are hosts of their own; use "+strings.Join(podStops(forPods), ", "))
		}
	}
}

// ports checks load.ports. Two attempts from the same port must be further apart than the timeout,
// so that their packets can be distinguished.
func (c *setupCheck) ports() {
	l := c.Load
	if l.Ports == 0 || !c.d.Trusts("load", "path") {
		return
	}
	apart := time.Duration(float64(l.Ports) / l.Rate.PerSecond * float64(time.Second))
	const least = 100 * time.Millisecond
	switch {
	case l.Closed() || len(l.Stages) > 0:
		c.add("load.ports", ": needs load.rate",
			"attempts from one port must be further apart than the timeout; "+
				"remove ports, or give a rate and a duration")
	case c.Path != vocabulary.PathService:
		c.add("load.ports", ": only path: service has source ports to choose",
			"they show what the clients' node remembers; use path: service, or remove ports")
	case l.Connections.How != vocabulary.ConnectionsNew:
		c.add("load.ports", ": needs load.connections: new",
			"a kept connection keeps its port")
	case l.Retry.Max > 0:
		c.add("load.ports", ": does not go with load.retry", "every try uses a port of its own")
	case l.Pace != vocabulary.PaceConstant:
		c.add("load.ports", ": needs load.pace: constant",
			"attempts from one port must be further apart than the timeout")
	case l.Rate.PerSecond > 0 && apart < l.Timeout+least:
		round := strictyaml.FormatDuration(apart.Round(time.Millisecond))
		c.add("load.ports",
			fmt.Sprintf(": %d ports at %s are reused every %s, which is less than load.timeout "+
				"and %s",
				l.Ports, l.Rate, round, strictyaml.FormatDuration(least)),
			fmt.Sprintf("at least %.0f", math.Ceil((l.Timeout+least).Seconds()*l.Rate.PerSecond)))
	}
}

// connections checks the settings that need kept connections, and the number of connections.
func (c *setupCheck) connections() {
	l, s := c.Load, c.Server
	if !c.d.Trusts("load.connections") {
		return
	}
	for _, of := range []struct {
		path string
		set  bool
	}{
		{"load.max_requests", l.MaxRequests > 0}, {"load.lifetime", l.Lifetime > 0},
		{"load.idle_timeout", l.IdleTimeout > 0}, {"server.idle_timeout", s.IdleTimeout > 0},
		{"server.max_requests", s.MaxRequests > 0},
	} {
		if of.set && l.Connections.How == vocabulary.ConnectionsNew && c.d.Trusts(of.path) {
			c.add(of.path, ": with load.connections: new no connection is kept",
				"use load.connections: reused or a number, or remove "+of.path)
		}
	}
	n := l.Connections.Count
	switch {
	case n > 0 && l.Processes > n && c.d.Trusts("load.processes"):
		c.add("load.processes", fmt.Sprintf(": %d load processes cannot share load.connections: %d",
			l.Processes, n), "each needs at least one; use fewer processes, or more connections")
	case n > 0 && s.Fault.DroppedSYNs+s.Fault.RejectedSYNs > 0 && c.d.Trusts("server.fault"):
		c.add("load.connections", fmt.Sprintf(": %d connections cannot be opened before the load "+
			"with server.fault.dropped_syns or rejected_syns", n),
			"use new or reused, or remove the fault")
	case n > 0 && s.Fault.HalfOpen > 0 && c.d.Trusts("server.fault"):
		c.add("load.connections", fmt.Sprintf(": %d connections are kept, so "+
			"server.fault.half_open has no handshakes to hold up", n),
			"use new, or remove the fault")
	}
}

// rollout checks the settings of the control plane that only some steps use.
func (c *setupCheck) rollout() {
	k := c.Kube
	update, drain := c.has(vocabulary.StepRollingUpdate), c.has(vocabulary.StepDrainNode)
	awaits := c.doesAny(func(k vocabulary.StepKind) bool { return k.Pods && !k.Plain && k.Starts })
	deletes := c.doesAny(func(k vocabulary.StepKind) bool { return k.Pods && k.Stops })
	switch {
	case k.ProbePeriod > 0 && k.Readiness != vocabulary.ReadinessProbe && !c.ByCommand() &&
		!k.real() &&
		k.Readiness != vocabulary.ReadinessStarted: // a matrix may vary between the two
		c.add("kube.probe_period", ": only readiness: probe has a probe period",
			"use kube.readiness: probe, or remove probe_period")
	case (k.MaxSurge > 0 || k.MaxUnavailable > 0) && !update:
		c.add("kube", ": only a rolling-update uses max_surge and max_unavailable",
			"add a step rolling-update, or remove them")
	case k.MinReady > 0 && !awaits:
		c.add("kube.min_ready", ": no step waits for a new pod",
			"add a step rolling-update, drain-node, move-pod or scale, or remove min_ready")
	case (k.PreStop > 0 || k.Grace > 0) && !deletes:
		c.add("kube", ": no step deletes a pod, which pre_stop and grace are for",
			"add a step such as delete-pod, or remove them")
	case k.Grace > 0 && k.Grace < k.PreStop:
		c.add("kube.grace", fmt.Sprintf(": %s cuts a preStop delay of %s short",
			strictyaml.FormatDuration(k.Grace), strictyaml.FormatDuration(k.PreStop)),
			"it counts from the deletion: raise it, or remove it to get 5s after pre_stop")
	case k.NodeLag > 0 && !c.has(vocabulary.StepNodeDown):
		c.add("kube.node_lag", ": no step is a node-down",
			"add a step node-down, or remove node_lag")
	case k.ControllerLag != Lag{} && !awaits:
		c.add("kube.controller_lag", ": no step waits for a new pod",
			"add a step rolling-update, drain-node, move-pod or scale, or remove controller_lag")
	case k.RelistOffset > 0 && k.RelistOffset >= k.RelistPeriod && !k.real():
		c.add("kube.relist_offset", ": "+strictyaml.FormatDuration(k.RelistOffset)+
			" is not shorter than the relist period",
			"set kube.relist_period to more, such as Kubernetes' 1s")
	case k.RelistOffset > 0 && k.Placement != vocabulary.PlacementPods:
		c.add("kube.relist_offset", ": all pods are on one node", "use kube.placement: pods, or "+
			"remove relist_offset")
	case k.ContainerStart > 0 && c.inOnePod():
		c.add("kube.container_start", ": the workers are in one pod, which starts before the load",
			"say how long a worker takes by server.startup")
	case k.Churn > 0 && c.inOnePod():
		c.add("kube.churn", ": does not go with kube.placement: "+string(k.Placement)+" yet",
			"use pods or one-node, or remove churn")
	case k.Churn > 0 && !k.real():
		c.add("kube.churn", ": the embedded control plane has no API server to keep busy",
			"add control: real, or remove churn")
	case k.ProxyMode != "" && !k.real():
		c.add("kube.proxy_mode", ": the embedded control plane has no kube-proxy",
			"its rules are those of the nftables mode; add control: real, or remove proxy_mode")
	case k.ProxyMode != "" && c.Path != vocabulary.PathService:
		c.add("kube.proxy_mode", ": is for path: service",
			"clients that know pods by name or address use no rules; remove it")
	case (k.RulesLag != Lag{} || k.MinSyncPeriod > 0) && c.Path != vocabulary.PathService:
		c.add("kube", ": rules_lag and min_sync_period are for path: service",
			"clients that know pods by name or address use no rules; use endpoint_lag")
	case k.MinAvailable > 0 && !drain:
		c.add("kube.min_available", ": no step is a drain-node",
			"add a step drain-node, or remove min_available")
	case drain && k.MinAvailable >= c.Workers && c.WorkersPerCPU == 0 && c.d.Trusts("workers") &&
		!c.has(vocabulary.StepAdd, vocabulary.StepColdStart, vocabulary.StepScale):
		c.add("kube.min_available",
			fmt.Sprintf(": with %d of %d pods none may ever be evicted", k.MinAvailable, c.Workers),
			"set it below workers")
	}
}

// drains checks that after each step at least one node remains for the pods.
func (c *setupCheck) drains() {
	left := map[int]bool{0: true, 1: true}
	down := false
	for i, s := range c.Timeline {
		if down && s.Do == vocabulary.StepRollingUpdate {
			c.add(fmt.Sprintf("timeline[%d]", i),
				": a rolling-update would delete pods on the node that is down",
				"their kubelet cannot be reached; update before the node-down")
		}
		if s.Do.Kind().Targets != vocabulary.TargetNode {
			continue
		}
		down = down || s.Do == vocabulary.StepNodeDown
		if delete(left, s.Node()); len(left) == 0 {
			c.add(fmt.Sprintf("timeline[%d]", i), ": no node remains for the pods",
				"an earlier step drains the other node, or takes it down")
		}
	}
}

// filters counts the faults that need a firewall rule.
func (c *setupCheck) filters() (n int) {
	f := c.Server.Fault
	for _, k := range []int{f.HalfOpen, f.DroppedSYNs, f.RejectedSYNs} {
		if k > 0 {
			n++
		}
	}
	return n
}

// coldStart checks the settings that a step cold-start needs, and the settings that need such a
// step.
func (c *setupCheck) coldStart() {
	if !c.d.Trusts("timeline", "server.cold", "selector") {
		return
	}
	cold := c.has(vocabulary.StepColdStart)
	switch {
	case cold && c.Server.Cold == 0:
		c.add("server.cold", " is missing",
			"say how much longer requests take at a cold worker, for example cold: 5ms")
	case !cold && c.Server.Cold > 0:
		c.add("server.cold", ": no step starts a cold worker",
			"add a step cold-start, or remove cold")
	case !cold && c.Selector == vocabulary.SelectorSlowStart:
		c.add("selector", ": slow-start needs a step cold-start",
			"it raises the share of workers that a cold-start adds; add one, or use hash")
	}
}

// start checks that server.start is compatible with the timeline and the stop mode.
func (c *setupCheck) start() {
	if c.Server.Start.IsZero() || !c.d.Trusts("timeline", "server.start", "stop", "server.kind") {
		return
	}
	only := c.Stop.Row().Start
	switch {
	case c.Server.Start.When == "":
		c.add("server.start", ": unknown value "+
			strictyaml.Quote(c.Server.Start.String()),
			strictyaml.DidYouMean(c.Server.Start.String(), startWords(),
				"use parked or cold; a command needs server.kind: command"))
	case !c.starts():
		c.add("server.start", ": no step starts a worker",
			"add a step such as replace, or remove start")
	case !only.Allows(c.Server.Start.When):
		needs(c, "stop", c.Stop, "server.start", only)
	case c.InPods() && c.Kube.otherUsers() && c.Server.Start.When == vocabulary.StartParked &&
		c.d.Trusts("path", "kube"):
		c.add("server.start", ": parked needs kube.users: one",
			"another user's process may not enter a pod's network namespace; use cold")
	case c.InPods() && c.Kube.real() && c.Server.Start.When == vocabulary.StartParked &&
		c.d.Trusts("path", "kube"):
		c.add("server.start", ": parked needs kube.control: embedded",
			"a kubelet starts the process of a new pod itself; use cold")
	}
}

// listen checks that server.listen is compatible with the way in which workers get their sockets.
// It also checks server.defer_accept.
func (c *setupCheck) listen() {
	const path = "server.listen"
	if !c.d.Trusts(path, "server.defer_accept", "sockets", "stop", "selector", "timeline") {
		return
	}
	stop, differ := c.Stop.Row(), len(c.Server.Listens()) > 1
	passedOn := c.Sockets == vocabulary.SocketsShared || stop.Handover != vocabulary.NoHandover
	switch {
	case len(c.Server.Listens()) > 2:
		c.add(path, ": "+c.Server.Listen+" names more than two addresses",
			"the first is for the workers before the load, the second for those that steps start")
	case differ && !c.starts():
		c.add(path, ": no step starts a worker that would listen at the second address",
			"add a step such as replace, or name one address")
	case differ && passedOn:
		c.add(path, ": a socket that is handed on keeps its address",
			"use sockets: reuseport with stop: close, drain or migrate")
	case differ && (c.Selector.Row().BPF || stop.Unlists):
		c.add(path, ": an eBPF program chooses among sockets with the same address",
			"use selector: hash, or name one address")
	case differ && c.Selector == vocabulary.SelectorCPU:
		c.add(path, ": selector: cpu counts the sockets of one group, and those that are bound "+
			"otherwise are in another", "use selector: hash, or name one address")
	}
	if c.Server.DeferAccept%oneSecond != 0 {
		c.add("server.defer_accept", ": "+strictyaml.FormatDuration(c.Server.DeferAccept)+
			" is not in whole seconds", "the kernel takes whole seconds only; for example 1s")
	}
}

// users checks that the user ids of workers are compatible with the other settings.
func (c *setupCheck) users() {
	users := c.Server.Users
	if users == vocabulary.UsersOne || !c.d.Trusts("server.users", "path", "stop", "timeline") {
		return
	}
	switch {
	case c.InPods():
		c.add("server.users", ": with pods use kube.users",
			"move the value to kube.users, or use path: direct")
	case c.Stop == vocabulary.StopTableflip:
		c.add("server.users", ": "+string(users)+" does not work with tableflip",
			"the old worker starts its successor itself, as the same user")
	case users == vocabulary.UsersEach && c.has(vocabulary.StepJoin) &&
		c.Stop.Row().Handover != vocabulary.SocketActivation:
		c.add("server.users", ": the supervisor's socket cannot join a group of other users' "+
			"sockets",
			"use users: one, or stop: inherit, where every socket is the supervisor's")
	case users == vocabulary.UsersOther && !c.starts():
		c.add("server.users", ": no step starts a worker as another user",
			"add a step such as replace, or use each")
	}
}

// steps checks that each step works with the stop mode, the sockets and the faults.
func (c *setupCheck) steps() {
	if !c.d.Trusts("timeline", "stop", "sockets", "server.fault") {
		return
	}
	c.dropped()
	for i, s := range c.Timeline {
		path := fmt.Sprintf("timeline[%d].do", i)
		single := s.Do == vocabulary.StepAdd || s.Do == vocabulary.StepColdStart ||
			s.Do == vocabulary.StepRemove
		switch {
		case c.Stop == vocabulary.StopTableflip &&
			(single || s.Do == vocabulary.StepCrash || s.Do == vocabulary.StepKill):
			c.add(path, ": "+string(s.Do)+" does not work with tableflip",
				"the old worker starts its successor itself; use replace or roll")
		case c.Stop == vocabulary.StopInherit && c.Sockets == vocabulary.SocketsReuseport && single:
			c.add(path, ": "+string(s.Do)+" does not work with stop: inherit and a socket each",
				"the supervisor holds every socket, with or without a worker; use sockets: "+
					"shared, or stop: handoff")
		case !s.Do.Kind().Sockets.Allows(c.Sockets):
			needs(c, path, s.Do, "sockets", s.Do.Kind().Sockets)
		case c.Server.Fault.HalfOpen > 0 && s.Do != vocabulary.StepReplace && s.Do != "" &&
			s.Do != vocabulary.StepStall:
			c.add(path, ": server.fault.half_open is for replace only",
				"with other steps some handshakes would be at listeners that stay open; "+
					"use replace")
		}
	}
}

// sysctl checks that the given kernel parameters do not contradict the stop mode.
func (c *setupCheck) sysctl() {
	given := c.Sysctl.MigrateReq
	if given != nil && *given == 0 && c.Stop == vocabulary.StopMigrate &&
		c.d.Trusts("sysctl.migrate_req", "stop") {
		c.add("sysctl.migrate_req", ": stop: migrate needs 1",
			"remove it, or use stop: close")
	}
}

// dropped checks that for each step drop-socket, the supervisor holds a socket that the step can
// close.
func (c *setupCheck) dropped() {
	drops := slices.IndexFunc(c.Timeline, func(s Step) bool {
		return s.Do == vocabulary.StepDropSocket
	})
	if drops < 0 {
		return
	}
	path := fmt.Sprintf("timeline[%d].do", drops)
	held := c.Stop.Row().Handover == vocabulary.SocketActivation
	switch {
	case !held && !c.has(vocabulary.StepJoin):
		c.add(path, ": the supervisor holds no socket",
			"use stop: inherit, where it holds every worker's socket, or add an earlier step join")
	case held && c.Server.Start.When == vocabulary.StartParked && c.d.Trusts("server.start"):
		c.add(path, ": drop-socket needs server.start: cold, with stop: "+string(c.Stop),
			"a parked process has its socket before the load begins")
	}
}

// count checks the number of steps in a trial.
func (c *setupCheck) count() {
	if !c.d.Trusts("timeline", "load.duration") || !c.d.TrustsAll("load.stages") {
		return
	}
	if n := c.occurrences(); n > maxSteps {
		c.add("timeline", fmt.Sprintf(": %d steps in a trial", n), fmt.Sprintf(
			"at most %d: fewer entries, a longer every, or a shorter load.duration", maxSteps))
	}
}

// accept checks that the accept mode works with the workers, their connections and the timeline.
func (c *setupCheck) accept() {
	if !c.d.Trusts("accept", "sockets", "server.kind") {
		return
	}
	row := c.Accept.Row()
	switch {
	case !row.Kind.Allows(c.Server.Kind):
		needs(c, "accept", c.Accept, "server.kind", row.Kind)
	case !row.Sockets.Allows(c.Sockets):
		needs(c, "accept", c.Accept, "sockets", row.Sockets)
	case !row.Connections.Allows(c.Load.Connections.How) && c.d.Trusts("load.connections"):
		needs(c, "accept", c.Accept, "load.connections", row.Connections)
	}
	if !row.Passes || !c.d.Trusts("timeline") {
		return
	}
	for i, s := range c.Timeline {
		if s.Do != "" && s.Do != vocabulary.StepStall && s.Do != vocabulary.StepKill &&
			c.d.Trusts(fmt.Sprintf("timeline[%d].do", i)) {
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": "+string(s.Do)+" does not work behind an acceptor",
				"the acceptor knows only the workers of its start; use stall or kill")
		}
	}
}

// selector checks that the selector works with the sockets, the pinning and the kind of server. It
// also checks canary.
func (c *setupCheck) selector() {
	if !c.d.Trusts("selector", "sockets") {
		return
	}
	row := c.Selector.Row()
	switch {
	case !row.Sockets.Allows(c.Sockets):
		needs(c, "selector", c.Selector, "sockets", row.Sockets)
	case !row.Pin.Allows(c.Pin) && c.d.Trusts("pin"):
		needs(c, "selector", c.Selector, "pin", row.Pin)
	case c.Selector == vocabulary.SelectorLeastLoaded &&
		(c.Server.Kind != vocabulary.ServerLoop || c.Accept == vocabulary.AcceptBlocking) &&
		c.d.Trusts("server.kind", "accept"):
		c.add("selector", ": least-loaded needs server.kind: loop and accept by epoll",
			"only such a loop says how busy it is")
	}
	if !c.d.Trusts("canary") {
		return
	}
	switch {
	case c.Selector == vocabulary.SelectorWeighted && c.Canary == 0:
		c.add("canary", " is missing", "for example canary: 0.1, the share of the last worker")
	case c.Selector == vocabulary.SelectorWeighted && c.Canary == 1:
		c.add("canary", ": 1 leaves nothing to the other workers",
			"use less than 1, for example canary: 0.1")
	case c.Selector != vocabulary.SelectorWeighted && c.Canary != 0:
		c.add("canary", ": only selector: weighted has a canary",
			"use selector: weighted, or remove canary")
	}
}

func (c *setupCheck) work() {
	w := c.Server.Work
	if c.d.Trusts("server.work.sleep", "server.work.burn") && w.Sleep > 0 && w.Burn > 0 {
		c.add("server.work", ": both sleep and burn are set", "use one of them")
	}
	const path = "server.work"
	if !c.d.Trusts(path+".sleep", path+".burn", path+".distribution", path+".slow",
		path+".slow_share") {
		return
	}
	bimodal := w.Distribution == vocabulary.DistributionBimodal
	switch {
	case w.Distribution != vocabulary.DistributionFixed && w.Sleep == 0 && w.Burn == 0:
		c.add(path+".distribution", ": "+string(w.Distribution)+" needs sleep or burn",
			"the distribution is of their time")
	case bimodal && w.Slow == 0:
		c.add(path+".slow", " is missing", "for example slow: 10ms")
	case bimodal && w.SlowShare == 0:
		c.add(path+".slow_share", " is missing", "for example slow_share: 0.05")
	case !bimodal && w.Slow > 0:
		c.add(path+".slow", ": only a bimodal distribution has slow requests",
			"use distribution: bimodal, or remove slow")
	case !bimodal && w.SlowShare > 0:
		c.add(path+".slow_share", ": only a bimodal distribution has slow requests",
			"use distribution: bimodal, or remove slow_share")
	}
}

func (c *setupCheck) load() {
	l := c.Load
	if !c.d.Trusts("load.concurrency") || !c.d.TrustsAll("load.stages") {
		return
	}
	switch {
	case l.Closed():
		c.closedLoop()
		return
	case len(l.Stages) > 0:
		c.stages()
		return
	}
	if c.d.Trusts("load.rate") && c.d.TrustsAll("search") {
		searched := c.Search.OfRate() || c.Search.Setting == theRate
		switch {
		case searched && l.Rate != (Rate{}):
			c.add("load.rate", ": a search finds the rate itself", "remove load.rate, or search")
		case !searched && l.Rate == (Rate{}):
			c.add("load.rate", " is missing",
				"for example rate: 2000/s; or concurrency for a closed loop, or stages")
		}
	}
	c.duration()
	c.pace()
	// The number of attempts is unknown if the rate is a share of a capacity, which is measured
	// later.
	if l.Rate.PerSecond == 0 || l.Duration == 0 || !c.d.Trusts("load.rate", "load.duration") {
		return
	}
	c.attempts(fmt.Sprintf("%s for %s schedules", l.Rate, strictyaml.FormatDuration(l.Duration)),
		l.Rate.PerSecond*l.Duration.Seconds())
}

// attempts checks n, the number of attempts. The message of a finding begins with the text what.
func (c *setupCheck) attempts(what string, n float64) {
	n = math.Round(n*1e6) / 1e6 // so that 0.1/s over 10 s is exactly one attempt
	switch {
	case n < 1:
		c.add("load", ": "+what+" no attempt", "raise the rate or the duration")
	case n > maxAttempts:
		c.add("load", fmt.Sprintf(": %s %.0f attempts", what, n),
			fmt.Sprintf("at most %d; lower the rate or the duration", maxAttempts))
	}
}

func (c *setupCheck) duration() {
	if c.Load.Duration == 0 && c.d.Trusts("load.duration") {
		c.add("load.duration", " is missing", "for example duration: 3s")
	}
}

// closedLoop checks that a closed loop has no settings that need a schedule.
func (c *setupCheck) closedLoop() {
	l := c.Load
	const why = "in a closed loop each client sends when its last attempt has ended; remove "
	switch path := "load.concurrency"; {
	case l.Rate != (Rate{}) && c.d.Trusts("load.rate"):
		c.add(path, ": does not go with load.rate", why+"one of them")
	case len(l.Stages) > 0:
		c.add(path, ": does not go with load.stages", why+"one of them")
	case l.Pace != vocabulary.PaceConstant && c.d.Trusts("load.pace"):
		c.add(path, ": does not go with load.pace: "+string(l.Pace), why+"pace, or concurrency")
	case l.Processes > 1 && c.d.Trusts("load.processes"):
		c.add(path, ": does not go with more than one load process",
			"the ledger keeps a closed loop's attempts in the order in which one process sent "+
				"them; remove load.processes")
	case c.Search.OfRate() && c.d.TrustsAll("search"):
		c.add(path, ": does not go with a search",
			"a search finds the rate of an open loop; remove search, or concurrency")
	}
	held := c.Server.Fault.HalfOpen
	if held > l.Concurrency && c.d.Trusts("server.fault") {
		c.add("server.fault.half_open", fmt.Sprintf(": %d clients cannot open %d connections at a "+
			"time", l.Concurrency, held), "raise load.concurrency, or lower half_open")
	}
	if len(l.Stages) == 0 {
		c.duration()
	}
	c.pace()
}

// stages checks each stage, and the duration and number of attempts of all stages together.
func (c *setupCheck) stages() {
	l := c.Load
	const path = "load.stages"
	complete := true
	for i, s := range l.Stages {
		if s.Rate == (Rate{}) {
			c.add(fmt.Sprintf("%s[%d].rate", path, i), " is missing", "for example rate: 2000/s")
		}
		if s.Duration == 0 {
			c.add(fmt.Sprintf("%s[%d].duration", path, i), " is missing",
				"for example duration: 3s")
		}
		complete = complete && s.Rate != (Rate{}) && s.Duration > 0
	}
	switch {
	case l.Rate != (Rate{}) && c.d.Trusts("load.rate"):
		c.add(path, ": does not go with load.rate", "each stage has a rate; remove load.rate")
	case l.Duration != 0 && c.d.Trusts("load.duration"):
		c.add(path, ": does not go with load.duration",
			"each stage has a duration; remove load.duration")
	case c.Search.OfRate() && c.d.TrustsAll("search"):
		c.add(path, ": does not go with a search",
			"a search finds the rate itself; remove search, or stages")
	case l.Pace != vocabulary.PaceConstant && l.Pace != vocabulary.PacePoisson &&
		c.d.Trusts("load.pace"):
		c.add(path, ": does not go with load.pace: "+string(l.Pace),
			"use pace: constant or poisson; ramp: true makes a stage a ramp")
	case l.From != (Rate{}) && !l.Stages[0].Ramp && c.d.Trusts("load.from"):
		c.add("load.from", ": the first stage is not a ramp",
			"add ramp: true to it, or remove from")
	case l.Burst > 0 && c.d.Trusts("load.burst"):
		c.add("load.burst", ": does not go with load.stages", "remove it")
	}
	if !complete {
		return
	}
	if sum := l.Lasts() - l.Duration; sum > maxDuration {
		c.add(path, ": the stages last "+strictyaml.FormatDuration(sum),
			"at most "+strictyaml.FormatDuration(maxDuration)+" in all; shorten some of them")
	}
	n := 0.
	for i, s := range l.Stages {
		n += (l.StageFrom(i) + s.Rate.PerSecond) / 2 * s.Duration.Seconds()
	}
	c.attempts("the stages schedule", n)
}

// retry checks that the settings of retries are compatible with each other and with the load.
func (c *setupCheck) retry() {
	r := c.Load.Retry
	const path = "load.retry"
	if r == (Retry{}) || !c.d.Trusts(path+".max", path+".on", path+".backoff",
		path+".max_backoff", path+".jitter", path+".connect_timeout", path+".budget",
		path+".budget_ratio", "load.timeout") {
		return
	}
	causes := r.Causes()
	switch {
	case r.Max == 0:
		c.add(path+".max", ": 0 means no retries",
			"set it, for example max: 3, or remove the rest of load.retry")
	case slices.Contains(causes, vocabulary.RetryNonIdempotent) &&
		!slices.Contains(causes, vocabulary.RetryUnanswered):
		c.add(path+".on", ": non-idempotent extends unanswered",
			"name both: unanswered+non-idempotent")
	case r.Backoff == 0 && r.Jitter == vocabulary.JitterFull:
		c.add(path+".jitter", ": full needs a backoff", "for example backoff: 50ms")
	case r.MaxBackoff > 0 && r.Backoff == 0:
		c.add(path+".max_backoff", ": there is no backoff",
			"for example backoff: 50ms, or remove max_backoff")
	case slices.Equal(causes, []vocabulary.RetryCause{vocabulary.RetryUnanswered}) &&
		c.Load.Body > 0 && c.d.Trusts("load.body"):
		c.add(path+".on", ": an unanswered request with a body is not retried",
			"add non-idempotent to allow it, or name other failures")
	case r.MaxBackoff > 0 && r.MaxBackoff < r.Backoff:
		c.add(path+".max_backoff", fmt.Sprintf(": %s is less than the backoff, %s",
			strictyaml.FormatDuration(r.MaxBackoff), strictyaml.FormatDuration(r.Backoff)),
			"raise it, or lower the backoff")
	case r.Backoff > 0 && r.Backoff >= c.Load.Timeout:
		c.add(path+".backoff", fmt.Sprintf(": after %s nothing is left of load.timeout, %s",
			strictyaml.FormatDuration(r.Backoff), strictyaml.FormatDuration(c.Load.Timeout)),
			"lower it, or raise load.timeout")
	case r.ConnectTimeout > 0 && !slices.Contains(causes, vocabulary.RetryConnectTimeout):
		c.add(path+".connect_timeout", ": nothing is retried after it unless on has "+
			"connect-timeout",
			"add connect-timeout to on, or remove connect_timeout")
	case r.ConnectTimeout > 0 && r.ConnectTimeout >= c.Load.Timeout:
		c.add(path+".connect_timeout", fmt.Sprintf(": %s leaves no time of load.timeout, %s",
			strictyaml.FormatDuration(r.ConnectTimeout), strictyaml.FormatDuration(c.Load.Timeout)),
			"lower it, or raise load.timeout")
	case r.BudgetRatio > 0 && r.Budget == 0:
		c.add(path+".budget_ratio", ": there is no budget",
			"for example budget: 10, or remove budget_ratio")
	case c.Server.Fault.HalfOpen > 0 && c.d.Trusts("server.fault"):
		c.add(path, ": does not go with server.fault.half_open",
			"in an attempt with several tries the held-up handshake could be any of them")
	case c.Search.OfRate() && c.d.TrustsAll("search"):
		c.add(path, ": does not go with a search",
			"a search looks for a rate that loses nothing, and retries would hide losses")
	}
}

// pace checks the settings that apply to only one pace.
func (c *setupCheck) pace() {
	l := c.Load
	if !c.d.Trusts("load.pace", "load.from", "load.burst") {
		return
	}
	switch {
	case l.From != (Rate{}) && l.Pace != vocabulary.PaceRamp:
		c.add("load.from", ": only a ramp starts at another rate", "use pace: ramp, or remove from")
	case l.Pace == vocabulary.PaceBurst && l.Burst == 0:
		c.add("load.burst", " is missing", "for example burst: 100")
	case l.Burst > 0 && l.Pace != vocabulary.PaceBurst:
		c.add("load.burst", ": only pace: burst has a burst", "use pace: burst, or remove burst")
	}
}

// commonStep checks the setting step, and reports whether it is valid or absent.
func (c *setupCheck) commonStep() bool {
	if c.Step == "" || !c.d.Trusts("step", "timeline") {
		return true
	}
	all := stepNames(func(vocabulary.StepKind) bool { return true })
	switch {
	case !slices.Contains(all, c.Step):
		c.add("step", ": unknown value "+strictyaml.Quote(c.Step),
			strictyaml.DidYouMean(c.Step, all, "steps are "+strings.Join(all, ", ")))
		return false
	case len(c.Timeline) == 0:
		c.add("step", ": there is no timeline", "add one, such as timeline: [{at: 500ms}]")
	case !c.has(vocabulary.StepName(c.Step)):
		c.add("step", ": each step of the timeline has a do of its own",
			"remove step, or the do of the steps that it is for")
	}
	return true
}

func (c *setupCheck) step(i int) {
	step := c.Timeline[i]
	path := fmt.Sprintf("timeline[%d]", i)
	if !c.d.Trusts(path) {
		return
	}
	if end := c.Load.Lasts(); step.At >= end && end > 0 &&
		c.d.Trusts(path+".at", "load.duration") && c.d.TrustsAll("load.stages") {
		c.add(path+".at", fmt.Sprintf(": %s is not before the load's end at %s",
			strictyaml.FormatDuration(step.At), strictyaml.FormatDuration(end)),
			"make it earlier, or lengthen load.duration")
	}
	if !c.d.Trusts(path + ".do") {
		return
	}
	kind := step.Do.Kind()
	switch {
	case step.Do == "":
		kinds := c.d.Format.Setting("timeline[].do").Values()
		c.add(path+".do", " is missing", "steps are "+strings.Join(kinds, ", "))
	case !kind.Plain && !kind.Pods && !c.ByCommand() && c.d.Trusts("server.kind"):
		c.add(path+".do", ": "+string(step.Do)+" needs server.kind: command",
			"it restarts a server of your own; use replace or roll")
	case kind.Stops && c.Stop == "" && !c.ByCommand() && c.d.Trusts("stop", "server.kind"):
		modes := c.d.Format.Setting("stop").Values()
		if c.InPods() {
			modes = podStops(forPods)
		}
		c.add(path, ": "+string(step.Do)+" needs stop",
			"name how the old workers end: "+strings.Join(modes, ", "))
	}
	if c.d.Trusts(path + ".for") {
		c.length(path, step)
	}
	if c.d.Trusts(path + ".replicas") {
		switch {
		case kind.Replicas && step.Replicas == nil:
			c.add(path+".replicas", " is missing",
				"how many pods there are to be, for example replicas: 4")
		case !kind.Replicas && step.Do != "" && step.Replicas != nil:
			c.add(path+".replicas", ": only a scale has replicas",
				"remove replicas, or use do: scale")
		}
	}
	if step.Target != nil && c.d.Trusts(path+".target") {
		c.target(path+".target", step)
	}
}

// target checks the target of a step, as far as it can be known before the trial.
func (c *setupCheck) target(path string, step Step) {
	switch step.Do.Kind().Targets {
	case vocabulary.TargetNode:
		if *step.Target > 1 {
			c.add(path, fmt.Sprintf(": there is no node %d", *step.Target), "the nodes are 0 and 1")
		}
	case vocabulary.TargetWorker:
		if *step.Target >= c.Workers && c.WorkersPerCPU == 0 &&
			!c.has(vocabulary.StepAdd, vocabulary.StepColdStart, vocabulary.StepScale) &&
			c.d.Trusts("workers", "timeline") {
			c.add(path, fmt.Sprintf(": there is no worker %d", *step.Target),
				fmt.Sprintf("workers count from 0, so the last is %d", c.Workers-1))
		}
	case vocabulary.TargetSocket: // known only when the step runs
	default:
		c.add(path, ": "+string(step.Do)+" has no target",
			"remove target, or use remove, kill, crash or stall")
	}
}

// length checks the length of a step.
func (c *setupCheck) length(path string, step Step) {
	lasts := step.Do.Kind().Lasts
	switch {
	case lasts && step.For == 0:
		c.add(path+".for", ": a "+string(step.Do)+" needs a length", "for example for: 50ms")
	case lasts && step.Do != vocabulary.StepColdStart && step.Every > 0 && step.Every <= step.For &&
		c.d.Trusts(path+".every"):
		c.add(path+".every", fmt.Sprintf(": a %s of %s every %s never ends", step.Do,
			strictyaml.FormatDuration(step.For), strictyaml.FormatDuration(step.Every)),
			"make for shorter than every")
	case !lasts && step.Do != "" && step.For > 0:
		c.add(path+".for", ": only a stall, a crash or a cold-start has a length",
			"remove for, or use do: stall")
	}
}

package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// head is the least a scenario needs; what a case is about follows on line 3.
const head = "name: x\nload: {rate: 100/s, duration: 1s}\n"

// cluster is what pods need: two lines.
const cluster = "network: cluster\npath: service\n"

func TestParseProblems(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"unknown key", head + `sokets: shared
`, []string{
			`f:3: unknown key "sokets"; did you mean "sockets"?`,
		}},
		{"unknown key like no other", head + `server: {colour: red}
`, []string{
			`f:3: server: unknown key "colour"; known here: kind, work, startup, cold, backlog, fault`,
		}},
		{"unknown key is not also missing", `name: x
load: {rte: 100/s, duration: 1s}
`, []string{
			`f:2: load: unknown key "rte"; did you mean "rate"?`,
		}},
		{"unknown key inside", head + `server: {work: {slep: 1ms}}
`, []string{
			`f:3: server.work: unknown key "slep"; did you mean "sleep"?`,
		}},
		{"duplicate key", head + `workers: 2
workers: 3
`, []string{
			`f:4: key "workers" is given twice; first on line 3`,
		}},
		{"wrong types", head + `workers: two
sockets: [shared]
server: loop
timeline: {at: 1s}
stop:
`, []string{
			`f:3: workers: expected a whole number, found the text "two"`,
			`f:4: sockets: expected a single value, found a list; allowed: shared, reuseport, exclusive`,
			`f:5: server: expected a mapping, found the text "loop"; write {key: value}, or indented lines of key: value`,
			`f:6: timeline: expected a list, found a mapping; write [...], or lines that start with a hyphen`,
			`f:7: stop: expected a single value, found nothing; allowed: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown`,
		}},
		{"wrong numbers", head + `workers: 1.5
server: {backlog: "8"}
validity: {achieved: most}
`, []string{
			`f:3: workers: expected a whole number, found the number 1.5`,
			`f:4: server.backlog: expected a whole number, found the text "8"`,
			`f:5: validity.achieved: expected a number, found the text "most"`,
		}},
		{"key that is a list", head + `? [a, b]
: 1
`, []string{
			`f:3: a key is a list; keys are plain words`,
		}},
		{"integer overflow", head + `workers: 99999999999999999999
`, []string{
			`f:3: workers: 99999999999999999999 is out of range; allowed: 1 to 1024`,
		}},
		{"bad durations", `name: x
load: {rate: 100/s, duration: 1000, timeout: 5 days}
server: {work: {sleep: -5ms}}
`, []string{
			`f:2: load.duration: 1000 has no unit; write 1000ms, say; units are ns, us, ms, s, m, h`,
			`f:2: load.timeout: "5 days" is not a duration; write a number and a unit (ns, us, ms, s, m, h), for example 900ms`,
			`f:3: server.work.sleep: -5ms is out of range; allowed: 0s to 1m`,
		}},
		{"durations out of range", `name: x
load: {rate: 100/s, duration: 99ms, timeout: 61s}
validity: {lag_floor: -1us, step_lag: 0s}
`, []string{
			`f:2: load.duration: 99ms is out of range; allowed: 100ms to 1h`,
			`f:2: load.timeout: 1m1s is out of range; allowed: 1ms to 1m`,
			`f:3: validity.lag_floor: -1us is out of range; allowed: 0s to 1m`,
			`f:3: validity.step_lag: 0s is out of range; allowed: more than 0s, up to 1m`,
		}},
		{"tries of which there are none", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {backoff: 50ms}}
`, []string{
			`f:2: load.retry.max: with none there is nothing to say of tries; for example max: 3, or remove the rest of load.retry`,
		}},
		{"too many tries", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 11}}
`, []string{
			`f:2: load.retry.max: 11 is out of range; allowed: 0 to 10`,
		}},
		{"tries on what is not known", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, on: refused+unsend}}
`, []string{
			`f:2: load.retry.on: unknown value "unsend"; did you mean "unsent"? (allowed: safe, refused, unreachable, connect-timeout, unsent, unanswered, non-idempotent); join several by +, for example refused+unsent`,
		}},
		{"tries on one thing twice", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, on: refused+refused}}
`, []string{
			`f:2: load.retry.on: "refused" is named twice`,
		}},
		{"POST on nothing", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, on: refused+non-idempotent}}
`, []string{
			`f:2: load.retry.on: non-idempotent extends unanswered; name that too: unanswered+non-idempotent`,
		}},
		{"jitter of nothing", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, jitter: full}}
`, []string{
			`f:2: load.retry.jitter: full needs a backoff; for example backoff: 50ms`,
		}},
		{"backoffs crossed", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, backoff: 1s, max_backoff: 50ms}}
`, []string{
			`f:2: load.retry.max_backoff: 50ms is less than the backoff, 1s; raise it, or lower the backoff`,
		}},
		{"a handshake that nobody tries again", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, on: refused, connect_timeout: 50ms}}
`, []string{
			`f:2: load.retry.connect_timeout: without connect-timeout nothing is tried again after it; add that to on, or remove connect_timeout`,
		}},
		{"a handshake that takes all the time", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, connect_timeout: 1s}}
`, []string{
			`f:2: load.retry.connect_timeout: 1s leaves no time of load.timeout, 900ms; make it less, or load.timeout more`,
		}},
		{"a ratio of no budget", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1, budget_ratio: 0.5}}
`, []string{
			`f:2: load.retry.budget_ratio: there is no budget; for example budget: 10, or remove budget_ratio`,
		}},
		{"tries of handshakes that are held up", "name: x\n" + `load: {rate: 1/s, duration: 1s, retry: {max: 1}}
server: {fault: {half_open: 3}}
timeline: [{at: 100ms, do: replace}]
stop: close
`, []string{
			`f:2: load.retry: not with server.fault.half_open; of an attempt with several tries nobody could tell whose handshake was held up`,
		}},
		{"tries in a search", "name: x\n" + `load: {duration: 1s, retry: {max: 1}}
search: {p99: 5ms}
`, []string{
			`f:2: load.retry: not with a search; that is for a rate at which nothing is lost, and tries would hide it`,
		}},
		{"settings of another pace", "name: x\n" + `load: {rate: 1/s, duration: 1s, from: 2/s, burst: 3}
`, []string{
			`f:2: load.from: only a ramp starts at another rate; use pace: ramp, or remove from`,
		}},
		{"a burst of unknown size", "name: x\n" + `load: {rate: 1/s, duration: 1s, pace: burst}
`, []string{
			`f:2: load.burst is missing; for example burst: 100`,
		}},
		{"a burst of another pace", "name: x\n" + `load: {rate: 1/s, duration: 1s, pace: poisson, burst: 3}
`, []string{
			`f:2: load.burst: only the pace burst has one; use pace: burst, or remove burst`,
		}},
		{"numbers out of range", head + `workers: 0
server: {backlog: 65536, fault: {resets: -1}}
trials: 1001
min_valid: 0
`, []string{
			`f:3: workers: 0 is out of range; allowed: 1 to 1024`,
			`f:4: server.backlog: 65536 is out of range; allowed: 1 to 65535`,
			`f:4: server.fault.resets: -1 is out of range; allowed: 0 to 100000`,
			`f:5: trials: 1001 is out of range; allowed: 1 to 1000`,
			`f:6: min_valid: 0 is out of range; allowed: 1 to 1000`,
		}},
		{"negative and not a number", head + `workers: -1
validity: {achieved: .nan}
`, []string{
			`f:3: workers: -1 is out of range; allowed: 1 to 1024`,
			`f:4: validity.achieved: .nan is out of range; allowed: more than 0, up to 1`,
		}},
		{"share above one", head + `validity: {achieved: 1.5}
`, []string{
			`f:3: validity.achieved: 1.5 is out of range; allowed: more than 0, up to 1`,
		}},
		{"min_valid above trials", head + `trials: 4
min_valid: 5
`, []string{
			`f:4: min_valid: 5 is more than trials, 4`,
		}},
		{"anchor and alias", head + `sockets: &s shared
stop: *s
`, []string{
			`f:3: anchor &s is not allowed; write the value where it is used`,
			`f:4: alias *s is not allowed; write the value where it is used`,
		}},
		{"merge key", head + `server: {<<: {kind: loop}}
`, []string{
			`f:3: merge key << is not allowed; write the value where it is used`,
		}},
		{"tags", head + `workers: !!int 2
about: !hello you
`, []string{
			`f:3: tag !!int is not allowed; write the value alone`,
			`f:4: tag !hello is not allowed; write the value alone`,
		}},
		{"unknown anchor", head + `stop: *nowhere
`, []string{
			`f:3: not YAML: unknown anchor 'nowhere' referenced`,
		}},
		{"second document", head + `---
name: y
`, []string{
			`f:3: a second document starts here; put each scenario in a file of its own`,
		}},
		{"broken second document", head + `---
[
`, []string{
			`f:5: not YAML: did not find expected node content while parsing a flow node`,
		}},
		{"empty", "", []string{
			`f:1: the file is empty; start from the output of: reuseport-bench show steady`,
		}},
		{"only a comment", `# nothing
`, []string{
			`f:1: the file is empty; start from the output of: reuseport-bench show steady`,
		}},
		{"null", `~
`, []string{
			`f:1: the file is empty; start from the output of: reuseport-bench show steady`,
		}},
		{"list at the top", `[1, 2]
`, []string{
			`f:1: a scenario is a mapping, this is a list; start with a line such as name: my-scenario`,
		}},
		{"unclosed bracket", `name: x
load: {rate: 100/s
`, []string{
			`f:3: not YAML: did not find expected ',' or '}' while parsing a flow mapping that starts on line 2`,
		}},
		{"tab", "name: x\n\tload: y\n", []string{
			`f:2: not YAML: found a tab character that violates indentation while scanning a plain scalar that starts on line 1`,
		}},
		{"not UTF-8", "name: x\nabout: \"\xff\"\n", []string{
			`f:2: the file is not UTF-8 text`,
		}},
		{"no name", `about: no name
load: {rate: 100/s, duration: 1s}
`, []string{
			`f:1: name is missing; for example name: my-scenario`,
		}},
		{"bad name", `name: Has Blanks
load: {rate: 100/s, duration: 1s}
`, []string{
			`f:1: name: "Has Blanks" is not a name; use lower-case words joined by hyphens, at most 64 characters`,
		}},
		{"long name", `name: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
load: {rate: 100/s, duration: 1s}
`, []string{
			`f:1: name: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is not a name; use lower-case words joined by hyphens, at most 64 characters`,
		}},
		{"no load", `name: x
`, []string{
			`f:1: load.rate is missing; for example rate: 2000/s`,
			`f:1: load.duration is missing; for example duration: 3s`,
		}},
		{"rate zero", `name: x
load: {rate: 0/s, duration: 1s}
`, []string{
			`f:2: load.rate: 0/s is out of range; allowed: more than 0/s, up to 1000000/s`,
		}},
		{"rate negative", `name: x
load: {rate: -5/s, duration: 1s}
`, []string{
			`f:2: load.rate: -5/s is out of range; allowed: more than 0/s, up to 1000000/s`,
		}},
		{"rate too high", `name: x
load: {rate: 1000001/s, duration: 1s}
`, []string{
			`f:2: load.rate: 1000001/s is out of range; allowed: more than 0/s, up to 1000000/s`,
		}},
		{"rate without unit", `name: x
load: {rate: 2000, duration: 1s}
`, []string{
			`f:2: load.rate: 2000 has no unit; write 2000/s`,
		}},
		{"rate per minute", `name: x
load: {rate: 2000/m, duration: 1s}
`, []string{
			`f:2: load.rate: "2000/m" is not a rate; write attempts per second, for example 2000/s, or a share of what the servers can do, 0.7*capacity`,
		}},
		{"rate of stray underscores", `name: x
load: {rate: 2__0/s, duration: 1s}
`, []string{
			`f:2: load.rate: "2__0/s" is not a rate; write attempts per second, for example 2000/s, or a share of what the servers can do, 0.7*capacity`,
		}},
		{"rate as a share of what", `name: x
load: {rate: 70%capacity, duration: 1s}
`, []string{
			`f:2: load.rate: "70%capacity" is not a share of the capacity; write a number, an asterisk and the word: 0.7*capacity`,
		}},
		{"rate as too much of a share", `name: x
load: {rate: 2.5*capacity, duration: 1s}
`, []string{
			`f:2: load.rate: 2.5*capacity is out of range; allowed: more than 0, up to 2*capacity`,
		}},
		{"a ramp from a share", `name: x
load: {rate: 2/s, duration: 1s, pace: ramp, from: 0.1*capacity}
`, []string{
			`f:2: load.from: only load.rate can be a share of the capacity; write attempts per second, for example 100/s`,
		}},
		{"too many attempts", `name: x
load: {rate: 1_000_000/s, duration: 11s}
`, []string{
			`f:2: load: 1000000/s for 11s schedules 11000000 attempts; at most 10000000; lower the rate or the duration`,
		}},
		{"no attempts", `name: x
load: {rate: 0.5/s, duration: 1s}
`, []string{
			`f:2: load: 0.5/s for 1s schedules no attempt; raise the rate or the duration`,
		}},
		{"unknown values", head + `network: bridge
path: nginx
sockets: share
server: {kind: threads}
stop: closed
`, []string{
			`f:3: network: unknown value "bridge"; allowed: loopback, veth, cluster`,
			`f:4: path: unknown value "nginx"; allowed: direct, service, dns, pod, haproxy`,
			`f:5: sockets: unknown value "share"; did you mean "shared"? (allowed: shared, reuseport, exclusive)`,
			`f:6: server.kind: unknown value "threads"; allowed: loop, http`,
			`f:7: stop: unknown value "closed"; did you mean "close"? (allowed: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown)`,
		}},
		{"unknown connections", `name: x
load: {rate: 100/s, duration: 1s, connections: old}
`, []string{
			`f:2: load.connections: unknown value "old"; allowed: new, reused, mixed`,
		}},
		{"unknown step", head + `stop: close
timeline: [{at: 0s, do: replce}]
`, []string{
			`f:4: timeline[0].do: unknown value "replce"; did you mean "replace"? (allowed: replace, roll, add, remove, kill, cold-start, stall, delete-pod, rolling-update, scale, move-pod, drain-node, node-down, crash)`,
		}},
		{"step that does nothing", head + `timeline: [{at: 0s}]
`, []string{
			`f:3: timeline[0].do is missing; steps are replace, roll, add, remove, kill, cold-start, stall, delete-pod, rolling-update, scale, move-pod, drain-node, node-down, crash`,
		}},
		{"replace without stop", head + `timeline: [{at: 0s, do: replace}]
`, []string{
			`f:3: timeline[0]: replace needs stop; say how the old workers end: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown`,
		}},
		{"step at the load's end", head + `timeline: [{at: 1s, do: stall, for: 10ms}]
`, []string{
			`f:3: timeline[0].at: 1s is not before the load's end at 1s; fire earlier, or lengthen load.duration`,
		}},
		{"step before the start", head + `timeline: [{at: -1ms, do: stall, for: 10ms}]
`, []string{
			`f:3: timeline[0].at: -1ms is out of range; allowed: 0s to 1h`,
		}},
		{"step too often", head + `timeline: [{at: 0s, every: 9ms, do: stall, for: 1ms}]
`, []string{
			`f:3: timeline[0].every: 9ms is out of range; allowed: 10ms to 1h, or 0`,
		}},
		{"stall without end", head + `timeline:
- {at: 0s, every: 100ms, do: stall, for: 100ms}
- {at: 0s, do: stall}
`, []string{
			`f:4: timeline[0].every: a stall of 100ms every 100ms never ends; make for shorter than every`,
			`f:5: timeline[1].for: a stall needs a length; for example for: 50ms`,
		}},
		{"replace with a length", head + `stop: close
timeline:
- {at: 0s, do: replace, for: 1s}
`, []string{
			`f:5: timeline[0].for: only a stall, a crash or a cold-start has a length; remove for, or use do: stall`,
		}},
		{"shared with drain", head + `sockets: shared
stop: drain
`, []string{
			`f:4: stop: drain needs sockets: reuseport; a shared socket stays open in the successor; use inherit or handoff`,
		}},
		{"shared with close", head + `sockets: shared
stop: close
`, []string{
			`f:4: stop: close needs sockets: reuseport; a shared socket stays open in the successor; use inherit or handoff`,
		}},
		{"shared with migrate", head + `sockets: shared
stop: migrate
`, []string{
			`f:4: stop: migrate needs sockets: reuseport; a shared socket stays open in the successor; use inherit or handoff`,
		}},
		{"passing a socket on", head + `workers: 1
matrix:
- {sockets: [exclusive], stop: [inherit, handoff]}
- {selector: [round-robin], stop: [handoff]}
- {server.kind: [loop], stop: [tableflip]}
`, []string{
			`f:5: in variant sockets=exclusive stop=inherit: stop: inherit needs sockets: shared or reuseport; the socket is passed on, so nobody has to bind it again`,
			`f:5: in variant sockets=exclusive stop=handoff: stop: handoff needs sockets: shared or reuseport; the socket is passed on, so nobody has to bind it again`,
			`f:6: in variant stop=handoff selector=round-robin: selector: round-robin needs sockets that are bound anew; for stop: handoff use hash or cpu`,
			`f:7: in variant stop=tableflip server.kind=loop: stop: tableflip needs server.kind: http; it is a library for Go servers; a loop has inherit and handoff`,
		}},
		{"programs that migrate and drain", head + `matrix:
- {sockets: [shared], stop: [bpf-drain]}
- {selector: [cpu], stop: [bpf-migrate]}
`, []string{
			`f:4: in variant sockets=shared stop=bpf-drain: stop: bpf-drain needs sockets: reuseport; an eBPF program chooses among the sockets of a reuseport group`,
			`f:5: in variant stop=bpf-migrate selector=cpu: selector: cpu cannot leave out the old workers; for stop: bpf-migrate use hash, round-robin, weighted or least-loaded`,
		}},
		{"a proxy", head + `stop: lb-drain
haproxy: {checks: fast}
`, []string{
			`f:3: stop: lb-drain needs path: haproxy; without a load balancer nobody can be told to send nothing any more; use drain`,
			`f:3: stop: lb-drain needs sockets: exclusive; others need not wait until the address is free; use close`,
			`f:4: haproxy.checks: only path: haproxy has health checks; use path: haproxy, or remove haproxy`,
		}},
		{"a proxy's own tries without it", head + `haproxy: {redispatch: on}
`, []string{
			`f:3: haproxy.redispatch: only path: haproxy tries again at another worker; use path: haproxy, or remove haproxy; clients' own tries are load.retry`,
		}},
		{"a pod's own address outside a cluster", head + `path: pod
`, []string{
			`f:3: path: pod needs network: cluster; its pods are network namespaces of their own`,
		}},
		{"a pod's own address", head + `path: pod
network: cluster
sockets: shared
dns: {cache: none}
kube: {pre_stop: 1s}
timeline: [{at: 100ms, do: replace}]
stop: handoff
`, []string{
			`f:5: sockets: shared needs workers on one host; each pod has a network of its own; use sockets: reuseport`,
			`f:6: dns: only path: dns and service look names up; use path: dns, or remove dns`,
			`f:7: kube: pre_stop and grace are for pods that are deleted; add a step such as delete-pod, or remove them`,
			`f:8: timeline[0].do: replace is not for pods behind a Service; there use add, remove, kill, cold-start, delete-pod, rolling-update, scale, move-pod, drain-node, node-down`,
			`f:9: stop: handoff is between workers on one host; a pod has its own; use close, drain, shutdown, kill`,
		}},
		{"pods of one network", head + `network: cluster
path: service
kube: {placement: host-network, users: each}
timeline: [{at: 100ms, do: delete-pod}]
stop: close
`, []string{
			`f:5: kube.placement: host-network needs path: pod; to the nodes' rules several pods with one address and port are one endpoint`,
			`f:6: timeline[0].do: with kube.placement: host-network there are no steps; they are for pods in networks of their own; use pods or one-node`,
		}},
		{"containers of several users behind a Service", head + `network: cluster
path: dns
kube: {placement: containers, users: each}
`, []string{
			`f:5: kube.users: each needs path: pod; a pod with a container that cannot have its port is not ready, and so no endpoint`,
		}},
		{"containers without pods", head + `kube: {placement: containers}
`, []string{
			`f:3: kube: only path: service, dns and pod have a control plane; use path: service, or remove kube`,
		}},
		{"pods where there are none", head + `timeline: [{at: 100ms, do: delete-pod}]
stop: close
kube: {pre_stop: 1s}
`, []string{
			`f:3: timeline[0].do: delete-pod needs path: service, dns or pod; elsewhere there are no pods; use replace, roll or remove`,
			`f:5: kube: only path: service, dns and pod have a control plane; use path: service, or remove kube`,
		}},
		{"behind a proxy", head + `path: haproxy
server: {fault: {half_open: 2}}
stop: bind-after-close
sockets: exclusive
timeline: [{at: 0s, do: replace}]
`, []string{
			`f:4: server.fault: half_open, dropped_syns and rejected_syns need path: direct; a proxy's connections are its own`,
			`f:7: timeline[0].do: workers with an address each are replaced one by one; use roll`,
		}},
		{"a cold start", head + `timeline: [{at: 0s, do: cold-start}]
`, []string{
			`f:1: server.cold is missing; how much longer requests take at a cold worker, for example cold: 5ms`,
			`f:3: timeline[0].for: a cold-start needs a length; for example for: 50ms`,
		}},
		{"steps that a way to pass a socket on has no place for", head + `server: {kind: http}
timeline: [{at: 0s, do: remove}]
matrix:
- {stop: [tableflip]}
- {sockets: [reuseport, shared], stop: [inherit]}
- {stop: [close], server.fault.half_open: [3]}
`, []string{
			`f:6: in variant stop=tableflip: timeline[0].do: remove is not for tableflip; there a worker is started by the one that it replaces; use replace or roll`,
			`f:7: in variant sockets=reuseport stop=inherit: timeline[0].do: remove is not for stop: inherit with a socket each; the supervisor holds every socket, with or without a worker; use sockets: shared, or stop: handoff`,
			`f:8: in variant stop=close server.fault.half_open=3: timeline[0].do: server.fault.half_open is for replace only; of other steps some of the handshakes would be at listeners that stay; use replace`,
		}},
		{"a proxy at a share of the capacity", strings.Replace(head, "100/s", "0.5*capacity", 1) + `path: haproxy
`, []string{
			`f:2: load.rate: a share of the capacity, and a search, need path: direct; give load.rate in attempts per second, for example 1000/s`,
		}},
		{"no cold start", head + `selector: slow-start
server: {cold: 1ms}
`, []string{
			`f:4: server.cold: no step starts a cold worker; add a step cold-start, or remove cold`,
		}},
		{"two kinds of work", head + `server: {work: {sleep: 1ms, burn: 1ms}}
`, []string{
			`f:3: server.work: both sleep and burn are set; use one of them`,
		}},
		{"shutdown of a loop", head + `stop: shutdown
matrix: [{server.kind: [loop, http]}]
`, []string{
			`f:4: in variant server.kind=loop: stop: shutdown needs server.kind: http; it is Go's http.Server.Shutdown; a loop has close and drain`,
		}},
		{"distributions", head + `server: {work: {sleep: 1ms, distribution: normal, slow: 2m, slow_share: 1.5}}
`, []string{
			`f:3: server.work.distribution: unknown value "normal"; allowed: fixed, exponential, bimodal`,
			`f:3: server.work.slow: 2m is out of range; allowed: 0s to 1m`,
			`f:3: server.work.slow_share: 1.5 is out of range; allowed: 0 to 1`,
		}},
		{"distribution of no work", head + `server: {work: {distribution: exponential}}
`, []string{
			`f:3: server.work.distribution: exponential needs sleep or burn; they say what is used up, and how much of it`,
		}},
		{"bimodal without slow", head + `server: {work: {burn: 1ms, distribution: bimodal, slow_share: 0.5}}
`, []string{
			`f:3: server.work.slow is missing; for example slow: 10ms`,
		}},
		{"bimodal without share", head + `server: {work: {burn: 1ms, distribution: bimodal, slow: 5ms}}
`, []string{
			`f:3: server.work.slow_share is missing; for example slow_share: 0.05`,
		}},
		{"slow without bimodal", head + `server: {work: {burn: 1ms, slow: 5ms}}
matrix: [{workers: [1, 2]}]
`, []string{
			`f:3: server.work.slow: only a bimodal distribution has it; use distribution: bimodal, or remove slow`,
		}},
		{"share without bimodal", head + `server: {work: {burn: 1ms, distribution: exponential, slow_share: 0.5}}
`, []string{
			`f:3: server.work.slow_share: only a bimodal distribution has it; use distribution: bimodal, or remove slow_share`,
		}},
		{"steps without stop", head + `timeline: [{at: 0s, do: roll}, {at: 0s, do: remove}, {at: 0s, do: kill}, {at: 0s, do: add}]
`, []string{
			`f:3: timeline[0]: roll needs stop; say how the old workers end: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown`,
			`f:3: timeline[1]: remove needs stop; say how the old workers end: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown`,
		}},
		{"ways to accept by kind", head + `server: {kind: http}
accept: epoll
`, []string{
			`f:4: accept: epoll needs server.kind: loop; Go's net/http accepts by netpoll`,
		}},
		{"ways to accept in a matrix", head + `matrix: [{server.kind: [loop, http], accept: [netpoll, blocking]}]
`, []string{
			`f:3: in variant accept=netpoll server.kind=loop: accept: netpoll needs server.kind: http; a loop has epoll, epoll-exclusive, epoll-edge, blocking and acceptor`,
			`f:3: in variant accept=blocking server.kind=http: accept: blocking needs server.kind: loop; Go's net/http accepts by netpoll`,
		}},
		{"acceptor of many sockets", head + `accept: acceptor
`, []string{
			`f:3: accept: acceptor needs sockets: shared; it accepts from one socket for all workers`,
		}},
		{"blocking with reused connections", head + `accept: blocking
matrix: [{load.connections: [new, reused, mixed]}]
`, []string{
			`f:4: in variant load.connections=reused (and 1 more): accept: blocking needs load.connections: new; such a worker is its one client's until the connection ends`,
		}},
		{"steps behind an acceptor", head + `sockets: shared
accept: acceptor
stop: handoff
timeline:
- {at: 0s, do: replace}
- {at: 0s, do: roll}
- {at: 0s, do: add}
- {at: 0s, do: remove}
- {at: 0s, do: kill}
- {at: 0s, do: stall, for: 1ms}
`, []string{
			`f:7: timeline[0].do: replace is not for workers behind an acceptor; the acceptor knows only the workers that it was started with; stall or kill them`,
			`f:8: timeline[1].do: roll is not for workers behind an acceptor; the acceptor knows only the workers that it was started with; stall or kill them`,
			`f:9: timeline[2].do: add is not for workers behind an acceptor; the acceptor knows only the workers that it was started with; stall or kill them`,
			`f:10: timeline[3].do: remove is not for workers behind an acceptor; the acceptor knows only the workers that it was started with; stall or kill them`,
		}},
		{"unknown ways", head + `accept: epol
selector: roundrobin
stall: spinning
`, []string{
			`f:3: accept: unknown value "epol"; did you mean "epoll"? (allowed: epoll, epoll-exclusive, epoll-edge, blocking, acceptor, netpoll)`,
			`f:4: selector: unknown value "roundrobin"; did you mean "round-robin"? (allowed: hash, cpu, incoming-cpu, round-robin, weighted, slow-start, least-loaded)`,
			`f:5: stall: unknown value "spinning"; allowed: sigstop, spin`,
		}},
		{"selection from one socket", head + `sockets: shared
matrix: [{selector: [hash, cpu, round-robin]}]
`, []string{
			`f:4: in variant selector=cpu: selector: cpu needs sockets: reuseport; with one shared socket there is nothing to select`,
			`f:4: in variant selector=round-robin: selector: round-robin needs sockets: reuseport; with one shared socket there is nothing to select`,
		}},
		{"incoming CPU of nobody", head + `selector: incoming-cpu
matrix: [{pin: [none, cpu]}]
`, []string{
			`f:4: in variant pin=none: selector: incoming-cpu needs pin: cpu; it gives each CPU's connections to the worker of that CPU`,
		}},
		{"load that nobody publishes", head + `selector: least-loaded
matrix:
- {server.kind: [http]}
- {accept: [epoll, blocking]}
`, []string{
			`f:5: in variant server.kind=http: selector: least-loaded needs server.kind: loop and accept by epoll; only such a loop says how busy it is`,
			`f:6: in variant accept=blocking: selector: least-loaded needs server.kind: loop and accept by epoll; only such a loop says how busy it is`,
		}},
		{"weighted without canary", head + `selector: weighted
`, []string{
			`f:1: canary is missing; for example canary: 0.1, the share of the last worker`,
		}},
		{"canary without weighted", head + `canary: 0.1
selector: round-robin
`, []string{
			`f:3: canary: only the selector weighted has one; use selector: weighted, or remove canary`,
		}},
		{"canary out of range", head + `selector: weighted
canary: 1.5
`, []string{
			`f:4: canary: 1.5 is out of range; allowed: 0 to 1`,
		}},
		{"what a stall is made of", head + `server: {kind: http}
matrix: [{stall: [sigstop, spin]}]
`, []string{
			`f:4: in variant stall=spin: stall: spin needs server.kind: loop; net/http has no one loop that could spin; use sigstop`,
		}},
		{"search at a rate", head + `search: {p99: 20ms}
`, []string{
			`f:2: load.rate: a search finds the rate itself; remove load.rate, or search`,
		}},
		{"targets", head + `stop: close
timeline:
- {at: 0s, do: kill, target: 1}
- {at: 0s, do: remove, target: 2}
- {at: 0s, do: stall, for: 1ms, target: 1.5}
- {at: 0s, do: stall, for: 1ms, target: -1}
- {at: 0s, do: roll, target: 0}
- {at: 0s, do: kill, target: }
`, []string{
			`f:6: timeline[1].target: there is no worker 2; workers count from 0, so the last is 1`,
			`f:7: timeline[2].target: expected a whole number, found the number 1.5`,
			`f:8: timeline[3].target: -1 is out of range; allowed: 0 to 1023`,
			`f:9: timeline[4].target: roll is for no single worker; remove target, or use remove, kill, crash or stall`,
			`f:10: timeline[5].target: expected a single value, found nothing`,
		}},
		{"target that an earlier step may add", head + `timeline: [{at: 0s, do: add}, {at: 500ms, do: kill, target: 2}, {at: 0s, do: add, target: 0}]
`, []string{
			`f:3: timeline[2].target: add is for no single worker; remove target, or use remove, kill, crash or stall`,
		}},
		{"matrix that is a mapping", head + `matrix: {sockets: [shared]}
`, []string{
			`f:3: matrix: expected a list, found a mapping; write [...], or lines that start with a hyphen`,
		}},
		{"matrix block that is text", head + `timeline: [{at: 0s, do: replace}]
matrix: [sockets]
`, []string{
			`f:4: matrix[0]: expected a mapping, found the text "sockets"; write {key: value}, or indented lines of key: value`,
		}},
		{"empty matrix block", head + `matrix: [{}]
`, []string{
			`f:3: matrix[0]: the block is empty; give it a key with a list of values, for example sockets: [shared, reuseport]`,
		}},
		{"matrix keys", head + `matrix:
- {sokets: [shared]}
- {load: [1]}
- {server.work.slip: [1s]}
`, []string{
			`f:4: matrix[0]: "sokets" is not a setting that can vary; did you mean "sockets"?`,
			`f:5: matrix[1]: "load" holds more than one value; vary load.rate, load.duration, load.pace, load.from, load.burst, load.body, load.aborts, load.ports, load.processes, load.connections, load.retry.max, load.retry.on, load.retry.backoff, load.retry.max_backoff, load.retry.jitter, load.retry.connect_timeout, load.retry.budget, load.retry.budget_ratio, load.timeout`,
			`f:6: matrix[2]: "server.work.slip" is not a setting that can vary; did you mean "server.work.sleep"?`,
		}},
		{"matrix key outside the setup", head + `matrix: [{trials: [1, 2]}]
`, []string{
			`f:3: matrix[0]: "trials" is not a setting that can vary; ` + ("these can: " + strings.Join(variable(format()), ", "))[:512] + "…",
		}},
		{"matrix values", head + `matrix:
- {sockets: shared}
- {sockets: []}
- {sockets: [share, reuseport]}
- {workers: [two]}
- {sockets: [[shared]]}
- {load.timeout: [5]}
`, []string{
			`f:4: matrix[0].sockets: expected a list of values, found the text "shared"; write [shared]`,
			`f:5: matrix[1].sockets: no values; remove the key, or list what it should be`,
			`f:6: matrix[2].sockets: unknown value "share"; did you mean "shared"? (allowed: shared, reuseport, exclusive)`,
			`f:7: matrix[3].workers: expected a whole number, found the text "two"`,
			`f:8: matrix[4].sockets: expected a single value, found a list; allowed: shared, reuseport, exclusive`,
			`f:9: matrix[5].load.timeout: 5 has no unit; write 5ms, say; units are ns, us, ms, s, m, h`,
		}},
		{"lags", head + cluster + `timeline: [{at: 1s, do: delete-pod}]
kube: {endpoint_lag: normal(1s..2s), rules_lag: uniform(2s..1s)}
matrix:
- {kube.endpoint_lag: [uniform(1s), exponential(1s..2s), lognormal(0s..1s), uniform(1..2s), lognormal(1s..2m), 1]}
`, []string{
			`f:6: kube.endpoint_lag: "normal(1s..2s)" is no lag; ` + lagExamples,
			`f:6: kube.rules_lag: uniform(2s..1s) ends before it begins; the smaller one comes first`,
			`f:8: matrix[0].kube.endpoint_lag: "uniform(1s)" is no lag; ` + lagExamples,
			`f:8: matrix[0].kube.endpoint_lag: "exponential(1s..2s)" is no lag; ` + lagExamples,
			`f:8: matrix[0].kube.endpoint_lag: lognormal(0s..1s) has a median of 0; all of its lags would be 0; give more than that, or 0s`,
			`f:8: matrix[0].kube.endpoint_lag: 1 has no unit; write 1ms, say; units are ns, us, ms, s, m, h`,
			`f:8: matrix[0].kube.endpoint_lag: 2m is out of range; allowed: 0s to 1m`,
			`f:8: matrix[0].kube.endpoint_lag: 1 has no unit; write 1ms, say; units are ns, us, ms, s, m, h`,
		}},
		{"settings of one way to update", head + cluster + `stop: close
timeline: [{at: 0s, do: delete-pod}]
kube: {max_surge: 2, min_ready: 1s, min_available: 1, probe_period: 1s}
matrix: [{kube.endpoint_lag: [0s]}]
`, []string{
			`f:7: kube.probe_period: only readiness: probe has one; use kube.readiness: probe, or remove probe_period`,
		}},
		{"settings of a rolling update", head + cluster + `stop: close
timeline: [{at: 0s, do: delete-pod}]
kube: {max_unavailable: 2}
`, []string{
			`f:7: kube: max_surge and max_unavailable are a rolling-update's; add a step rolling-update, or remove them`,
		}},
		{"a drain that must not", head + cluster + `stop: close
timeline: [{at: 0s, do: drain-node}]
kube: {min_available: 2}
`, []string{
			`f:7: kube.min_available: with 2 of 2 no pod may ever be evicted; make it less than workers`,
		}},
		{"no node left", head + cluster + `stop: close
timeline: [{at: 0s, do: drain-node}, {at: 100ms, do: node-down, target: 1}]
`, []string{
			`f:6: timeline[1]: no node is left for the pods; the other one was drained, or is down, before`,
		}},
		{"settings of nobody", head + `network: cluster
path: dns
stop: close
timeline: [{at: 0s, do: delete-pod}]
kube: {rules_lag: 1s}
`, []string{
			`f:7: kube: rules_lag and min_sync_period are for path: service; no rule leads to pods that are known by name or address; use endpoint_lag`,
		}},
		{"scale without a size", head + cluster + `stop: close
timeline: [{at: 0s, do: scale}, {at: 0s, do: delete-pod, replicas: 3}, {at: 0s, do: drain-node, target: 2}]
`, []string{
			`f:6: timeline[0].replicas is missing; how many pods there are to be, for example replicas: 4`,
			`f:6: timeline[1].replicas: only a scale has them; remove replicas, or use do: scale`,
			`f:6: timeline[2].target: there is no node 2; they are 0 and 1`,
		}},
		{"ports that come round too soon", `name: x
network: cluster
path: service
load: {rate: 500/s, duration: 1s, ports: 499}
matrix: [{load.connections: [new, reused]}, {load.retry.max: [1]}, {load.pace: [poisson]}, {path: [pod]}]
`, []string{
			`f:5: in variant load.connections=new: load.ports: 499 at 500/s come round every 998ms, which is less than load.timeout and 100ms; at least 500`,
			`f:5: in variant load.connections=reused: load.ports: needs load.connections: new; a connection that is kept keeps its port`,
			`f:5: in variant load.retry.max=1: load.ports: not with load.retry; every try has a port of its own`,
			`f:5: in variant load.pace=poisson: load.ports: needs load.pace: constant; attempts from one port must be further apart than the timeout`,
			`f:5: in variant path=pod: load.ports: only path: service has them; they are about what the clients' node remembers; use path: service, or remove ports`,
		}},
		{"matrix block without a readable key", head + `matrix: [{[workers]: [1]}]
`, []string{
			`f:3: matrix[0]: a key is a list; keys are plain words`,
		}},
		{"variant twice", head + `matrix:
- {sockets: [shared, shared]}
`, []string{
			`f:4: matrix[0]: variant sockets=shared is listed twice; remove one of them`,
		}},
		{"variants of one setup", head + `matrix:
- {sockets: [reuseport]}
- {workers: [2]}
`, []string{
			`f:5: matrix[1]: variant workers=2 is the same setup as variant sockets=reuseport; remove one of them`,
		}},
		{"variants that cannot be", head + `matrix:
- sockets: [shared, reuseport]
  stop: [close, kill, drain]
- {sockets: [reuseport], stop: [migrate]}
`, []string{
			`f:5: in variant sockets=shared stop=close: stop: close needs sockets: reuseport; a shared socket stays open in the successor; use inherit or handoff`,
			`f:5: in variant sockets=shared stop=drain: stop: drain needs sockets: reuseport; a shared socket stays open in the successor; use inherit or handoff`,
		}},
		{"variants that share a problem", head + `timeline: [{at: 0s, do: replace}]
matrix:
- {stop: [kill]}
- {workers: [1, 2, 3]}
`, []string{
			`f:6: in variant workers=1 (and 2 more): timeline[0]: replace needs stop; say how the old workers end: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown`,
		}},
		{"step after the end of some variants", head + `timeline: [{at: 500ms, do: stall, for: 1ms}]
matrix:
- {workers: [1, 2]}
- {load.duration: [200ms, 600ms]}
`, []string{
			`f:6: in variant load.duration=200ms: timeline[0].at: 500ms is not before the load's end at 200ms; fire earlier, or lengthen load.duration`,
		}},
		{"problem of the file in every variant", head + `timeline: [{at: 2s, do: stall, for: 1ms}]
matrix:
- {workers: [1, 2]}
`, []string{
			`f:3: timeline[0].at: 2s is not before the load's end at 1s; fire earlier, or lengthen load.duration`,
		}},
		{"misspelt matrix key is not also missing", head + `timeline: [{at: 0s, do: replace}]
matrix: [{workers: [1, 2], stpo: [close]}]
`, []string{
			`f:4: matrix[0]: "stpo" is not a setting that can vary; did you mean "stop"?`,
		}},
		{"too many variants", head + `matrix:
- workers: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
  server.backlog: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
`, []string{
			`f:4: matrix: more than 256 variants; split the scenario, or list fewer values`,
		}},
		{"baseline of no variant", head + `matrix: [{sockets: [shared, reuseport]}]
baseline: {sockets: share}
`, []string{
			`f:4: baseline: sockets=share names no variant; the variants are sockets=shared, sockets=reuseport`,
		}},
		{"baseline of two variants", head + `matrix: [{sockets: [shared, reuseport], workers: [1, 2]}]
baseline: {sockets: shared}
`, []string{
			`f:4: baseline: "sockets=shared" names 2 variants; name one, for example sockets=shared workers=1`,
		}},
		{"baseline without matrix", head + `baseline: {sockets: shared}
`, []string{
			`f:3: baseline: sockets=shared names no variant; the scenario has no matrix, so its only variant has no labels`,
		}},
		{"baseline that is text", head + `baseline: shared
`, []string{
			`f:3: baseline: expected a mapping, found the text "shared"; write {key: value}, or indented lines of key: value`,
		}},
		{"baseline with a list", head + `baseline: {sockets: [shared]}
`, []string{
			`f:3: baseline.sockets: expected a single value, found a list`,
		}},
		{"gate for no variant", head + `matrix: [{sockets: [shared, reuseport]}]
gates: [{when: {sockets: both}, expect: residual == 0}]
`, []string{
			`f:4: gates[0].when: sockets=both selects no variant; the variants are sockets=shared, sockets=reuseport`,
		}},
		{"gate that is soft in words", head + `gates: [{when: {}, expect: residual == 0, soft: very}, {when: {}, expect: residual == 0, soft: [true]}]
`, []string{
			`f:3: gates[0].soft: expected true or false, found the text "very"`,
			`f:3: gates[1].soft: expected a single value, found a list`,
		}},
		{"gate that can never be met", head + `gates: [{when: {}, expect: lost_per_attempt == 0}, {when: {}, expect: 0 != response.p50}, {when: {}, expect: lost == 0 && chi2_p > baseline.chi2_p}]
`, []string{
			`f:3: gates[0].expect: lost_per_attempt is a figure with an interval, which is never exactly one number; compare it with a bound by < or >; counts such as lost can be equal`,
			`f:3: gates[1].expect: response.p50 is a figure with an interval, which is never exactly one number; compare it with a bound by < or >; counts such as lost can be equal`,
			`f:3: gates[2].expect: baseline.chi2_p means nothing beside the variant's; give a bound, for example chi2_p > 0.001`,
		}},
		{"gate without expectation", head + `gates: [{when: {}}]
`, []string{
			`f:3: gates[0]: expect is missing; for example expect: lost_by_cause.reset_at_close == 0`,
		}},
		{"gate on unknown metrics", head + `gates:
- expect: lots == 0
- expect: lost_by_cause.reset_on_close == 0
- expect: throughput > 0
- expect: service == 0
`, []string{
			`f:4: gates[0].expect: unknown metric "lots"; did you mean "lost"?`,
			`f:5: gates[1].expect: unknown metric "lost_by_cause.reset_on_close"; did you mean "lost_by_cause.reset_at_close"?`,
			`f:6: gates[2].expect: unknown metric "throughput"; metrics are named as in run.json`,
			`f:7: gates[3].expect: "service" is not a single metric; add one of .p50, .p90, .p99, .p999, .max`,
		}},
		{"gate that is not a condition", head + `gates:
- expect: lost ==
- expect: lost + 1
- expect: "true"
- expect: lost == "0"
- expect: len("a") == lost
- expect: response.p99 < 99999999999h
- expect: "lost == 1; lost == 0"
- expect: "lost == 0 ? gap_ns < 5ms : lost < 3"
`, []string{
			`f:4: gates[0].expect: not an expression: unexpected token EOF; for example lost_by_cause.reset_at_close == 0`,
			`f:5: gates[1].expect: lost + 1 is a number, where a comparison must stand; for example lost_by_cause.reset_at_close == 0`,
			`f:6: gates[2].expect: true is not allowed here; ` + grammarHint,
			`f:7: gates[3].expect: "0" is not allowed here; ` + grammarHint,
			`f:8: gates[4].expect: len("a") is not allowed here; ` + grammarHint,
			`f:9: gates[5].expect: 99999999999h is not a duration; write a duration such as 5ms`,
			`f:10: gates[6].expect: a ";" is not allowed: an expectation is one expression; join them by and, or write a gate for each`,
			`f:11: gates[7].expect: lost == 0 ? gap_ns < 5000000 : lost < 3 is not allowed here; write it with and, or, not: lost == 0 or gap_ns < 5ms`,
		}},
		{"gate on what never happens", head + `timeline: [{at: 0s, do: stall, for: 1ms}]
gates:
- expect: gap_ns < 5ms
- expect: lost < baseline.takeover_ns
`, []string{
			`f:6: gates[1].expect: baseline.takeover_ns is never measured; the timeline has no replace or roll or add or cold-start or crash`,
		}},
		{"gate on steps without steps", head + `gates: [{expect: gap_ns < 5ms}]
`, []string{
			`f:3: gates[0].expect: gap_ns is never measured; the timeline has no step`,
		}},
		{"gates that are text", head + `gates: residual == 0
`, []string{
			`f:3: gates: expected a list, found the text "residual == 0"; write [...], or lines that start with a hyphen`,
		}},
		{"everything at once, by line", `nam: x
load: {rate: 100, duration: 1s}
workers: 0
sockets: shared
stop: close
matrix: [{stop: [klose]}]
gates: [{expect: losst == 0}]
about: &a text
`, []string{
			`f:1: unknown key "nam"; did you mean "name"?`,
			`f:2: load.rate: 100 has no unit; write 100/s`,
			`f:3: workers: 0 is out of range; allowed: 1 to 1024`,
			`f:6: matrix[0].stop: unknown value "klose"; did you mean "close"? (allowed: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown)`,
			`f:7: gates[0].expect: unknown metric "losst"; did you mean "lost"?`,
			`f:8: anchor &a is not allowed; write the value where it is used`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			var problems *Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse: %v, want *Problems", err)
			}
			if diff := cmp.Diff(strings.Split(err.Error(), "\n"), test.want); diff != "" {
				t.Errorf("problems (-got +want):\n%s", diff)
			}
		})
	}
}

// Limits that keep a hostile file from taking long.
func TestParseLimits(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"file", strings.Repeat("#", maxFileSize), "f: the file is larger than 1048575 bytes; a scenario fits a page"},
		{"message", head + "stop: " + strings.Repeat("ö", 1000) + "\n",
			"f:3: stop: unknown value \"" + strings.Repeat("ö", 245) + "…; allowed: kill, close, drain, migrate, bpf-migrate, bpf-drain, inherit, handoff, tableflip, bind-after-close, lb-drain, shutdown"},
		{"message of several lines", head + "baseline: {sockets: \"a\\nb\"}\n",
			"f:3: baseline: sockets=a b names no variant; the scenario has no matrix, so its only variant has no labels"},
		{"list", head + "timeline: [" + strings.Repeat("{}, ", maxListLen+1) + "]\n", "f:3: timeline: 257 entries; at most 256"},
		{"values", head + "matrix: [{workers: [" + strings.Repeat("1, ", maxVariants+1) + "]}]\n", "f:3: matrix[0].workers: 257 values; at most 256"},
		{"keys", head + "baseline: {" + numbered("k%d: 1, ", maxListLen+1) + "}\n", "f:3: baseline: 257 keys; at most 256"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			if diff := cmp.Diff(fmt.Sprint(err), test.want); diff != "" {
				t.Errorf("error (-got +want):\n%s", diff)
			}
		})
	}
}

// numbered repeats format n times, with the number put in.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

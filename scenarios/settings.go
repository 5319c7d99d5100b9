package scenarios

import (
	"time"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Bounds on a whole file, so that no input makes the loader work for long.
const (
	maxFileSize    = 128 << 10 // bytes; the largest scenario here has 2700
	maxDepth       = 20        // lists and mappings inside each other; a scenario needs 4
	maxAbout       = 2000      // bytes
	maxExpectation = 1000      // bytes
	maxVariants    = 256
	maxListLen     = 256 // steps, gates, stages, blocks of the matrix
	maxAttempts    = 10_000_000
	maxDuration    = time.Hour // of the stages of a load
	maxSteps       = 20_000    // of a trial: one every 100 ms for half an hour, and some
)

// settings lists every single value of a scenario file that is not free text. Those that are words
// have the choices of the vocabulary.
func settings() []strictyaml.Setting {
	all := ownSettings()
	for i := range all {
		for _, v := range vocabulary.Values(all[i].Path) {
			all[i].Choices = append(all[i].Choices, strictyaml.Choice{Value: v.Name, Doc: v.Doc})
		}
	}
	return all
}

// ownSettings lists the settings, without what the vocabulary says of them.
func ownSettings() []strictyaml.Setting {
	const (
		ms     = float64(time.Millisecond)
		minute = float64(time.Minute)
		hour   = float64(time.Hour)
	)
	return []strictyaml.Setting{
		{Path: "network", Default: string(vocabulary.NetworkLoopback)},
		{Path: "round_trip", Max: 900 * ms, Default: "0s", Example: "20ms"},
		{Path: "family", Default: string(vocabulary.IPv4)},
		{Path: "path", Default: string(vocabulary.PathDirect)},
		{Path: "haproxy.checks"},
		{Path: "haproxy.redispatch"},
		{Path: "dns.cache"},
		{Path: "dns.ttl", Max: hour, Default: "0s", Example: "5s"},
		{Path: "dns.clients", Max: 1024, Default: "0"},
		{Path: "kube.placement"},
		{Path: "kube.users"},
		{Path: "kube.endpoint_lag", Max: minute, Default: "0s", Example: "100ms"},
		{Path: "kube.rules_lag", Max: minute, Default: "0s", Example: "100ms"},
		{Path: "kube.min_sync_period", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.readiness"},
		{Path: "kube.probe_period", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.min_ready", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.max_surge", Max: 1024, Default: "0"},
		{Path: "kube.max_unavailable", Max: 1024, Default: "0"},
		{Path: "kube.min_available", Max: 1024, Default: "0"},
		{Path: "kube.pre_stop", Max: minute, Default: "0s", Example: "2s"},
		{Path: "kube.grace", Max: minute, Default: "0s", Example: "30s"},
		{Path: "kube.node_lag", Max: minute, Default: "0s", Example: "2s"},
		{Path: "kube.teardown", Max: minute, Default: "0s", Example: "200ms"},
		{Path: "workers", Min: 1, Max: 1024, Default: "2"},
		{Path: "workers_per_cpu", Max: 64, Default: "0"},
		{Path: "pin", Default: string(vocabulary.PinNone)},
		{Path: "sockets", Default: string(vocabulary.SocketsReuseport)},
		{Path: "accept"},
		{Path: "selector", Default: string(vocabulary.SelectorHash)},
		{Path: "canary", Max: 1, Default: "0"},
		{Path: "stop"},
		{Path: "stall", Default: string(vocabulary.StallSignal)},
		{Path: "trace", Default: string(vocabulary.On)},
		{Path: "queue_depth", Default: string(vocabulary.DepthComputed)},
		{Path: "sysctl.somaxconn", Min: 1, Max: 65535},
		{Path: "sysctl.abort_on_overflow", Max: 1},
		{Path: "sysctl.syncookies", Max: 2},
		{Path: "sysctl.max_syn_backlog", Min: 1, Max: 65535},
		{Path: "sysctl.synack_retries", Max: 255},
		{Path: "sysctl.syn_retries", Min: 1, Max: 127},
		{Path: "sysctl.migrate_req", Max: 1},
		{Path: "sysctl.fin_timeout", Min: 1, Max: 120},
		{Path: "sysctl.tw_reuse", Max: 2},
		{Path: "server.kind", Default: string(vocabulary.ServerLoop)},
		{Path: "server.start"},
		{Path: "server.work.sleep", Max: minute, Default: "0s", Example: "100us"},
		{Path: "server.work.burn", Max: minute, Default: "0s", Example: "100us"},
		{Path: "server.work.distribution", Default: string(vocabulary.DistributionFixed)},
		{Path: "server.work.slow", Max: minute, Default: "0s", Example: "10ms"},
		{Path: "server.work.slow_share", Max: 1, Default: "0"},
		{Path: "server.startup", Max: 10_000 * ms, Default: "0s", Example: "300ms"},
		{Path: "server.grace", Min: ms, Max: 10 * minute, Default: "30s", Example: "30s"},
		{Path: "server.cold", Max: minute, Default: "0s", Example: "5ms"},
		{Path: "server.backlog", Min: 1, Max: 65535, Default: "4096"},
		{Path: "server.listen", Joined: true, Default: string(vocabulary.ListenSpecific),
			Example: "any+specific"},
		{Path: "server.defer_accept", Max: minute, Default: "0s", Example: "1s"},
		{Path: "server.users", Default: string(vocabulary.UsersOne)},
		{Path: "server.idle_timeout", Min: ms, Max: hour, OrZero: true,
			Default: "0s", Example: "5s"},
		{Path: "server.max_requests", Max: 1_000_000, Default: "0"},
		{Path: "server.fault.resets", Max: 100_000, Default: "0"},
		{Path: "server.fault.reset_every", Max: 1_000_000, Default: "0"},
		{Path: "server.fault.half_open", Max: 1000, Default: "0"},
		{Path: "server.fault.dropped_syns", Max: 100_000, Default: "0"},
		{Path: "server.fault.rejected_syns", Max: 100_000, Default: "0"},
		{Path: "server.fault.time_wait", Max: 100_000, Default: "0"},
		{Path: "load.rate", Above: true, Max: 1e6, Example: "2000/s"},
		{Path: "load.concurrency", Max: 10_000, Default: "0"},
		{Path: "load.stages[].rate", Above: true, Max: 1e6, Example: "2000/s"},
		{Path: "load.stages[].duration", Min: ms, Max: hour, Example: "3s"},
		{Path: "load.stages[].ramp"},
		{Path: "load.duration", Min: 100 * ms, Max: hour, Example: "3s"},
		{Path: "load.pace", Default: string(vocabulary.PaceConstant)},
		{Path: "load.from", Max: 1e6, Default: "0/s", Example: "100/s"},
		{Path: "load.burst", Min: 2, Max: 100_000, OrZero: true, Default: "0"},
		{Path: "load.body", Max: 4096, Default: "0"},
		{Path: "load.aborts", Max: 100_000, Default: "0"},
		{Path: "load.ports", Max: 50_000, Default: "0"},
		{Path: "load.processes", Max: 64, Default: "0"},
		{Path: "load.connections", Min: 1, Max: 10_000, Default: string(vocabulary.ConnectionsNew)},
		{Path: "load.max_requests", Max: 1_000_000, Default: "0"},
		{Path: "load.lifetime", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s"},
		{Path: "load.idle_timeout", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s"},
		{Path: "load.retry.max", Max: 10, Default: "0"},
		{Path: "load.retry.on", Joined: true, Example: "refused+unsent"},
		{Path: "load.retry.backoff", Max: minute, Default: "0s", Example: "50ms"},
		{Path: "load.retry.max_backoff", Max: minute, Default: "0s", Example: "1s"},
		{Path: "load.retry.jitter"},
		{Path: "load.retry.connect_timeout", Max: minute, Default: "0s", Example: "300ms"},
		{Path: "load.retry.budget", Max: 1000, Default: "0"},
		{Path: "load.retry.budget_ratio", Max: 1, Default: "0"},
		{Path: "load.timeout", Min: ms, Max: minute, Default: "900ms", Example: "900ms"},
		{Path: "search.p99", Max: minute, Default: "0s", Example: "20ms"},
		{Path: "search.precision", Min: 0.005, Max: 0.5, OrZero: true, Default: "0"},
		{Path: "timeline[].at", Max: hour, Example: "500ms"},
		{Path: "timeline[].every", Min: 10 * ms, Max: hour, OrZero: true, Example: "200ms"},
		{Path: "timeline[].do"},
		{Path: "timeline[].target", Max: 1023},
		{Path: "timeline[].replicas", Min: 1, Max: 1024},
		{Path: "timeline[].for", Max: hour, Example: "50ms"},
		{Path: "validity.lag_floor", Max: minute, Default: "30ms", Example: "5ms"},
		{Path: "validity.step_lag", Above: true, Max: minute, Default: "100ms", Example: "20ms"},
		{Path: "validity.achieved", Above: true, Max: 1, Default: "0.99"},
		{Path: "validity.steal", Max: 1, Default: "0.5"},
		{Path: "validity.run_queue", Max: 1, Default: "0.3"},
		{Path: "validity.harness", Max: 1, Default: "0.02"},
		{Path: "trials", Min: 1, Max: 1000, Default: "8"},
		{Path: "min_valid", Min: 1, Max: 1000},
	}
}

// format describes scenario files to the decoder.
func format() *strictyaml.Format {
	return &strictyaml.Format{
		Noun:      "scenario",
		FirstLine: "name: my-scenario",
		Template:  "the output of: reuseport-bench show steady",
		MaxSize:   maxFileSize,
		MaxDepth:  maxDepth,
		MaxLen:    maxListLen,
		Settings:  settings(),
	}
}

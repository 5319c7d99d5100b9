package scenarios

import "slices"

// A Group lists the embedded scenarios for one kind of deployment.
type Group struct {
	Title string
	Names []string // in the recommended order of reading
}

// ServerGroup is the title of the group of scenarios for real servers, in servers/*.yaml.
const ServerGroup = "Your own server"

var groups = []Group{
	{"Go service on a VM", []string{
		"steady", "restart", "stall", "restart-matrix", "roll", "restart-without-reuseport",
		"long-requests", "crash", "silent-member", "other-user", "listen-address", "cold-start",
		"burst", "backlog-limit",
	}},
	{"nginx, HAProxy and other event loops", []string{
		"unequal-work", "equal-work", "burning-work", "closed-loop", "stages", "distribution",
		"stalled-worker", "acceptor-stuck", "idle-wakeups", "half-open", "round-trip",
		"joined-socket", "starved-newcomer",
	}},
	{"Behind a load balancer", []string{"load-balancer", "keepalive-race", "few-connections"}},
	{"Kubernetes", []string{
		"rolling-update", "pre-stop", "endpoint-lag", "rules-lag", "drain-node", "pod-move",
		"node-down", "no-endpoint", "scale-up", "service-shields", "dns-ttl", "retries",
		"stale-conntrack", "same-node-sharing", "pod-deletion", "pod-restart", "kube-latency",
		"kube-drain", "kube-agreement", "terminating-endpoints",
	}},
	{ServerGroup, []string{
		"nginx", "haproxy", "apache", "caddy", "gunicorn", "uvicorn", "node", "puma",
		"start-server", "socket-activation", "python", "pods",
	}},
	{"Method and CI", []string{
		"ci-restart", "ci-steady", "capacity", "scale", "selector-cost", "tracing-cost",
	}},
}

// Groups returns all groups. Each embedded scenario is in exactly one of them.
func Groups() []Group { return slices.Clone(groups) }

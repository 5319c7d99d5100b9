package haproxy

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"reuseport-bench/scenarios/vocabulary"
)

// Config configures a HAProxy.
type Config struct {
	Listen   netip.AddrPort // where clients connect
	Backends []Backend
	Checks   vocabulary.HealthChecks // "" is ChecksDefault
	// Redispatch makes HAProxy retry a refused connection at another backend, at once: with balance
	// roundrobin and more than one backend up, HAProxy does not wait for the last retry, although
	// the manual says that it does (4.2, "option redispatch"; stream_choose_redispatch in
	// include/haproxy/stream.h).
	Redispatch bool
	Threads    int // 0: HAProxy's default, one for each CPU it may use (3.2, "nbthread")
}

// A Backend is one server behind HAProxy.
type Backend struct {
	Name    string // letters, digits, and "-_.:"; unique
	Address netip.AddrPort
}

// Names in the configuration, and the first two descriptors that os/exec passes to a child.
const (
	frontendName = "fe"
	backendName  = "be"
	configFD     = 3
	runtimeFD    = 4
)

// template keeps HAProxy's defaults where it can, because most people run them. These defaults of
// 2.6 decide what a restart costs:
//
//   - "retries 3" and, without Config.Redispatch, no "option redispatch" (4.2;
//     proxy_preset_defaults in src/proxy.c): HAProxy retries a refused connection three times at
//     the same server, each after a pause of one second, even if checks find the server down
//     meanwhile. Then the client gets a 503 and keeps its connection. With no server up it gets
//     the 503 at once.
//   - "retry-on conn-failure": a request is sent only once. If the server closes the connection
//     instead of answering, the client gets a 502.
//   - Keep-alive on both sides (4.2, "option http-keep-alive") and "http-reuse safe": the first
//     request of a client's connection uses a new connection to a server; only later ones use idle
//     connections. If a server closes an idle connection instead of answering, the client gets no
//     502: HAProxy silently closes the client's connection, so that the client tries again, and
//     counts nothing (https://github.com/haproxy/haproxy/issues/2375).
//   - "maxconn" follows from the limit of descriptors, two for each client (3.2).
const template = `global
    # Bounds what HAProxy allocates on a system without a limit of descriptors
    # (3.1, "fd-hard-limit").
    fd-hard-limit 50000
    # "set server" needs level admin (5.1, "level").
    stats socket fd@%d level admin
%s
defaults
    mode http
    # As in the manual's examples (2.6) and Debian's haproxy.cfg. Without timeouts HAProxy warns,
    # and waits forever.
    timeout connect 5000ms
    timeout client 50000ms
    timeout server 50000ms

frontend %s
    bind %v
    default_backend %s

backend %s
    # The default, written here because it matters (4.2).
    balance roundrobin
%s`

// serverOptions maps health checks to the options of a server line.
var serverOptions = map[vocabulary.HealthChecks]string{
	vocabulary.ChecksDefault: " check",
	vocabulary.ChecksFast:    " check inter 100ms fall 2 rise 1",
	vocabulary.ChecksOff:     "",
}

// text returns the configuration file.
func (c Config) text() (string, error) {
	check, ok := serverOptions[cmp.Or(c.Checks, vocabulary.ChecksDefault)]
	if !ok {
		return "", fmt.Errorf("checks %q: want %s, %s or %s", c.Checks,
			vocabulary.ChecksDefault, vocabulary.ChecksFast, vocabulary.ChecksOff)
	}
	var redispatch string
	if c.Redispatch {
		redispatch = "    option redispatch\n"
	}
	var threads string
	if c.Threads > 0 {
		threads = fmt.Sprintf("    nbthread %d\n", c.Threads)
	}
	var b strings.Builder
	fmt.Fprintf(&b, template, runtimeFD, threads, frontendName, c.Listen, backendName,
		backendName, redispatch)
	for _, s := range c.Backends {
		fmt.Fprintf(&b, "    server %s %v%s\n", s.Name, s.Address, check)
	}
	return b.String(), nil
}

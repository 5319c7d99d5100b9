package plan

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// If a capability is missing, as some are for an ordinary user, the variants that need it are
// skipped with that reason, and all other variants are planned.
func TestPlanWithoutCapability(t *testing.T) {
	for _, test := range []struct {
		missing  string
		scenario string
		skipped  []string // labels of the skipped variants
	}{
		{doctor.SKReuseport,
			"matrix: [{sockets: [reuseport], selector: [cpu, round-robin, least-loaded]}, " +
				"{sockets: [reuseport], selector: [weighted], canary: [0.2]}]",
			[]string{
				"sockets=reuseport selector=round-robin", "sockets=reuseport selector=least-loaded",
				"sockets=reuseport canary=0.2 selector=weighted",
			}},
		{doctor.TCPMigrateReq, "matrix: [{sockets: [reuseport], stop: [close, migrate]}]",
			[]string{"sockets=reuseport stop=migrate"}},
		{doctor.SKMigrate, "matrix: [{sockets: [reuseport], stop: [close, bpf-migrate]}]",
			[]string{"sockets=reuseport stop=bpf-migrate"}},
		{doctor.TraceIterTCP, "matrix: [{sockets: [reuseport], stop: [close, bpf-drain]}]",
			[]string{"sockets=reuseport stop=bpf-drain"}},
		{doctor.EpollExclusive, "matrix: [{accept: [epoll, epoll-exclusive]}]",
			[]string{"accept=epoll-exclusive"}},
		{doctor.Veth, "matrix: [{network: [loopback, veth]}]", []string{"network=veth"}},
		{doctor.Kubernetes,
			"network: cluster\npath: service\nmatrix: [{kube.control: [embedded, real]}]",
			[]string{"kube.control=real"}},
	} {
		t.Run(test.missing, func(t *testing.T) {
			text := "name: x\nload: {rate: 100/s, duration: 1s}\n"
			s, err := scenarios.Parse("f", []byte(text+test.scenario+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			missing := map[string]string{test.missing: "not here"}
			machine := Machine{CPUs: []int{0, 1}, Missing: missing}
			p, err := New([]*scenarios.Scenario{s}, 1, machine, Options{})
			if err != nil {
				t.Fatal(err)
			}
			planned := map[int]bool{}
			for _, trial := range p.Scenarios[0].Trials {
				planned[trial.Variant] = true
			}
			var skipped []string
			for i, v := range p.Scenarios[0].Variants {
				if planned[i] != (v.Skipped == "") {
					t.Errorf("%s: skipped for %q, planned %v", v.Labels, v.Skipped, planned[i])
				}
				if v.Skipped == "" {
					continue
				}
				skipped = append(skipped, v.Labels.String())
				if want := test.missing + ": not here; see 'doctor'"; v.Skipped != want {
					t.Errorf("%s: skipped for %q, want %q", v.Labels, v.Skipped, want)
				}
			}
			slices.Sort(skipped)
			slices.Sort(test.skipped)
			if diff := cmp.Diff(skipped, test.skipped); diff != "" {
				t.Errorf("skipped (-got +want):\n%s", diff)
			}
		})
	}
}

// Package doctor has a probe for every capability that a value of a setting needs.
func TestNeedsAreProbes(t *testing.T) {
	needs := []string{string(vocabulary.Netem), string(vocabulary.TUN)} // for round_trip
	add := func(all []vocabulary.Capability) {
		for _, c := range all {
			needs = append(needs, string(c))
		}
	}
	for _, r := range vocabulary.Networks() {
		add(r.Needs)
	}
	for _, r := range vocabulary.Paths() {
		add(r.Needs)
	}
	for _, r := range vocabulary.Controls() {
		add(r.Needs)
	}
	for _, r := range vocabulary.AllUsers() {
		add(r.Needs)
	}
	for _, r := range vocabulary.AcceptModes() {
		add(r.Needs)
	}
	for _, r := range vocabulary.Selectors() {
		add(r.Needs)
	}
	for _, r := range vocabulary.StopModes() {
		add(r.Needs)
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	if len(needs) < 10 {
		t.Fatalf("the values need only %q", needs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the test needs only the names of the probes
	for _, r := range doctor.Examine(ctx, doctor.Options{Only: needs, Timeout: time.Minute}) {
		if strings.Contains(r.Detail, "no probe") {
			t.Errorf("%s is not a probe", r.Name)
		}
	}
}

// A variant is skipped if one of its values needs a capability that the machine lacks.
func TestSkipped(t *testing.T) {
	machine := Machine{Missing: map[string]string{"iter/tcp": "too old",
		"nftables": "not compiled in"}}
	setup := scenarios.Setup{Stop: vocabulary.StopBPFDrain}
	if got, want := skipped(setup, machine), "iter/tcp: too old; see 'doctor'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	setup = scenarios.Setup{Server: scenarios.Server{Fault: scenarios.Fault{DroppedSYNs: 1}}}
	if got, want := skipped(setup, machine),
		"nftables: not compiled in; see 'doctor'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := skipped(scenarios.Setup{Stop: vocabulary.StopDrain}, machine); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// A variant is skipped if its third-party server needs a program that is missing.
func TestSkippedWithoutProgram(t *testing.T) {
	for _, test := range []struct {
		server string
		needs  []string
	}{
		{`start: "nginx -c {{directory}}/nginx.conf"`, []string{"nginx"}},
		{"start: [nginx, -c, x]", []string{"nginx"}},
		{"start: ./service", nil},
		{`start: "{{vars.binary}} -x", vars: {binary: y}`, nil},
		{"start: nginx, env: {PATH: /opt/bin}", nil},
		{`start: nginx, ready: {run: "curl -fs http://{{address}}/"}`, []string{"curl", "nginx"}},
		{"start: nginx, restarts: {a: [{run: one}], b: [{run: other}]}", []string{"nginx", "one"}},
		{"start: ./x, beside: {database: {start: redis-server, port: 6379}}",
			[]string{"redis-server"}},
	} {
		restart := ""
		if strings.Contains(test.server, "restarts") {
			restart = "restart: a\n"
		}
		s, err := scenarios.Parse("f", []byte("name: x\nload: {rate: 100/s, duration: 1s}\n"+
			restart+"server: {kind: command, "+test.server+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Commands(); !slices.Equal(got, test.needs) {
			t.Errorf("%s: needs %q, want %q", test.server, got, test.needs)
		}
		for _, program := range test.needs {
			m := Machine{CPUs: []int{0, 1}, Missing: map[string]string{
				MissingCommand(program): "not found in PATH; install it: apt install it",
			}}
			p, err := New([]*scenarios.Scenario{s}, 1, m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := "command " + program + ": not found in PATH; install it: apt install it"
			if got := p.Scenarios[0].Variants[0].Skipped; got != want {
				t.Errorf("%s without %s: skipped for %q, want %q", test.server, program, got, want)
			}
		}
	}
}

// The parts of a real Kubernetes contain nft, so only the embedded control plane needs one.
func TestNeedsOfControl(t *testing.T) {
	for control, want := range map[string]bool{"embedded": true, "real": false} {
		s, err := scenarios.Parse("x.yaml", []byte("name: x\nload: {rate: 100/s, duration: 1s}\n"+
			"network: cluster\npath: service\nkube: {control: "+control+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Contains(needs(s.Variants[0].Setup), vocabulary.NFTablesCommand)
		if got != want {
			t.Errorf("%s needs nft: %t, want %t", control, got, want)
		}
	}
}

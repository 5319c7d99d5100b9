package scenarios

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

func TestEmbedded(t *testing.T) {
	if diff := cmp.Diff(Names(), []string{
		"acceptor-stuck", "apache", "backlog-limit", "burning-work", "burst", "caddy", "capacity",
		"ci-restart", "ci-steady", "closed-loop", "cold-start", "crash", "distribution",
		"dns-ttl", "drain-node", "endpoint-lag", "equal-work", "few-connections", "gunicorn",
		"half-open", "haproxy", "idle-wakeups", "joined-socket", "keepalive-race",
		"kube-agreement", "kube-drain", "kube-latency",
		"listen-address", "load-balancer", "long-requests", "nginx", "no-endpoint", "node",
		"node-down", "other-user", "pod-deletion", "pod-move", "pod-restart",
		"pods", "pre-stop", "puma",
		"python", "restart", "restart-matrix", "restart-without-reuseport", "retries", "roll",
		"rolling-update",
		"round-trip",
		"rules-lag", "same-node-sharing", "scale", "scale-up", "selector-cost", "service-shields",
		"silent-member", "socket-activation", "stages", "stale-conntrack", "stall",
		"stalled-worker", "start-server", "starved-newcomer", "steady", "terminating-endpoints",
		"tracing-cost",
		"unequal-work", "uvicorn",
	}); diff != "" {
		t.Errorf("Names (-got +want):\n%s", diff)
	}
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Errorf("Load(%q): %v", name, err)
			continue
		}
		if s.Name != name || s.About == "" {
			t.Errorf("%s: name %q, about %q; want the file's name and a sentence", name, s.Name,
				s.About)
		}
		_, text, _ := source(name)
		if got, want := s.SHA256, fmt.Sprintf("%x", sha256.Sum256(text)); got != want {
			t.Errorf("%s: SHA256 = %s, want %s", name, got, want)
		}
	}
	if diff := cmp.Diff(Default(), []string{"steady", "restart", "stall"}); diff != "" {
		t.Errorf("Default (-got +want):\n%s", diff)
	}
	for _, name := range Default() {
		if !slices.Contains(Names(), name) {
			t.Errorf("Default has %q, which is not embedded", name)
		}
	}
}

// defaults returns the setup of the scenario head, which has only the required keys.
func defaults() Setup {
	return Setup{
		Network: "loopback", Family: "ipv4", Path: "direct", Workers: 2, Pin: "none",
		Sockets: "reuseport", Selector: "hash", Stall: "sigstop", Trace: "on",
		QueueDepth: "computed",
		Server: Server{
			Kind: "loop", Work: Work{Distribution: "fixed"}, Grace: 30 * time.Second, Backlog: 4096,
			Listen: "specific", Users: "one",
		},
		Load: LoadSpec{
			Rate: Rate{PerSecond: 100}, Duration: time.Second, Pace: "constant",
			Connections: Connections{How: "new"}, Timeout: 900 * time.Millisecond,
		},
		Validity: Validity{LagFloor: 30 * time.Millisecond, StepLag: 100 * time.Millisecond, Achieved: 0.99, Steal: 0.5, RunQueue: 0.3, Harness: 0.02},
	}
}

func TestParse(t *testing.T) {
	least := Scenario{
		Name: "x", Setup: defaults(), Baseline: Labels{}, Trials: 8, MinValid: 4, File: "f",
	}
	full := least
	full.About, full.Trials, full.MinValid = "Everything said.", 9, 3
	full.Setup = Setup{
		Network: "veth", Family: "ipv6", Path: "direct", Workers: 3, WorkersPerCPU: 4, Pin: "cpu",
		Sockets: "shared", Accept: "netpoll", Selector: "hash", Stop: "handoff", Stall: "sigstop",
		Trace: "on", QueueDepth: "sampled", Search: Search{Precision: 0.1},
		Server: Server{
			Kind: "http",
			Work: Work{
				Burn: 1500 * time.Microsecond, Distribution: "bimodal", Slow: time.Second,
				SlowShare: 0.25,
			},
			Grace: 2 * time.Second, Backlog: 8, Listen: "dual", DeferAccept: time.Second,
			Users: "other", IdleTimeout: 5 * time.Second, MaxRequests: 7, Fault: Fault{Resets: 7},
		},
		Sysctl: Sysctl{
			Somaxconn: new(128), AbortOnOverflow: new(1), SYNCookies: new(0),
			MaxSYNBacklog: new(64), SYNACKRetries: new(1), SYNRetries: new(2), MigrateReq: new(0),
			FinTimeout: new(10), TWReuse: new(2),
		},
		Load: LoadSpec{Rate: Rate{PerSecond: 1500.5}, Duration: 2 * time.Minute, Pace: "ramp",
			From: Rate{PerSecond: 10}, Body: 64, Processes: 2, Timeout: time.Second,
			Connections: Connections{How: "mixed"}, MaxRequests: 9, Lifetime: time.Minute,
			IdleTimeout: time.Hour,
			Retry: Retry{
				Max: 3, On: "safe+non-idempotent", Backoff: 50 * time.Millisecond,
				MaxBackoff: time.Second, Jitter: "full", ConnectTimeout: 300 * time.Millisecond,
				Budget: 10, BudgetRatio: 0.2,
			}},
		Timeline: []Step{
			{At: 0, Every: 10 * time.Millisecond, Do: "replace"},
			{At: time.Second, Do: "stall", Target: new(int), For: 50 * time.Microsecond},
		},
		Validity: Validity{LagFloor: 0, StepLag: time.Nanosecond, Achieved: 1, Steal: 0.125, RunQueue: 1, Harness: 0.25},
	}
	full.Matrix = []Block{
		{{Key: "stop", Values: []string{"kill", "handoff"}, Line: 22}, {Key: "workers", Values: []string{"1", "2"}, Line: 23}},
		{{Key: "load.rate", Values: []string{"1_000/s"}, Line: 24}},
	}
	full.Baseline = Labels{"load.rate": "1_000/s"}
	full.Gates = []Gate{
		{When: Labels{"workers": "2"}, Expect: "residual == 0", Soft: true, Line: 28},
	}
	trials := least
	trials.Trials, trials.MinValid = 5, 3

	few, many, share := least, least, least
	share.Load.Rate = Rate{OfCapacity: 0.7}
	few.Load.Rate, few.Load.Duration = Rate{PerSecond: 0.1}, 10*time.Second
	many.Load.Rate, many.Load.Duration = Rate{PerSecond: 1e6}, 10*time.Second
	closed, staged := least, least
	closed.Load.Rate, closed.Load.Concurrency = Rate{}, 67
	staged.Load.Rate, staged.Load.Duration = Rate{}, 0
	staged.Load.From = Rate{PerSecond: 10}
	staged.Load.Stages = []Stage{
		{Rate: Rate{PerSecond: 50}, Duration: time.Second, Ramp: true},
		{Rate: Rate{PerSecond: 20}, Duration: time.Millisecond},
	}
	long := least
	long.Name = strings.Repeat("x", 64)

	tests := []struct {
		name string
		text string
		want Scenario
	}{
		{"one attempt", "name: x\nload: {rate: .1/s, duration: 10s}\n", few},
		{"share of the capacity", "name: x\nload: {rate: 0.7 * capacity, duration: 1s}\n", share},
		{"ten million attempts", "name: x\nload: {rate: 1_000_000/s, duration: 10s}\n", many},
		{"closed loop", "name: x\nload: {concurrency: 67, duration: 1s}\n", closed},
		{"stages", "name: x\nload:\n  from: 10/s\n  stages:\n" +
			"  - {rate: 50/s, duration: 1s, ramp: true}\n  - {rate: 20/s, duration: 1ms}\n",
			staged},
		{"long name", strings.Replace(head, "x", long.Name, 1), long},
		{"least", head, least},
		{"min_valid is half of trials, rounded up", head + "trials: 5\n", trials},
		{"full", `# Every key.
name: x
about: Everything said.
network: veth
family: ipv6
path: direct
workers: 3
workers_per_cpu: 4
pin: cpu
sockets: shared
accept: netpoll
selector: hash
stop: handoff
server: {kind: http, work: {sleep: 0, burn: 1.5ms, distribution: bimodal, slow: 1s, slow_share: 0.25}, grace: 2s, backlog: 0x8, listen: dual, defer_accept: 1s, users: other, idle_timeout: 5s, max_requests: 7, fault: {resets: 7}}
load: {rate: 1_500.5/s, duration: 2m, pace: ramp, from: 10/s, body: 64, processes: 2, connections: mixed, max_requests: 9, lifetime: 1m, idle_timeout: 1h, timeout: "1s", retry: {max: 3, on: safe+non-idempotent, backoff: 50ms, max_backoff: 1s, jitter: full, connect_timeout: 300ms, budget: 10, budget_ratio: 0.2}}
timeline: [{at: 0s, every: 10ms, do: replace}, {at: 1s, do: stall, target: 0, for: 50µs}]
search: {precision: 0.1}
validity: {lag_floor: 0ns, step_lag: 1ns, achieved: 1, steal: 0.125, run_queue: 1, harness: 0.25}
queue_depth: sampled
sysctl: {somaxconn: 128, abort_on_overflow: 1, syncookies: 0, max_syn_backlog: 64, synack_retries: 1, syn_retries: 2, migrate_req: 0, fin_timeout: 10, tw_reuse: 2}
matrix:
- stop: [kill, handoff]
  workers: [1, 2]
- load.rate: [1_000/s]
baseline: {load.rate: 1_000/s}
gates:
- when: {workers: 2}
  expect: residual == 0
  soft: true
trials: 9
min_valid: 3
`, full},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse("f", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			test.want.SHA256 = got.SHA256 // TestEmbedded checks it
			test.want.Text = test.text
			test.want.Variants = got.Variants // TestVariants checks them
			if diff := cmp.Diff(*got, test.want); diff != "" {
				t.Errorf("Parse (-got +want):\n%s", diff)
			}
		})
	}
}

// A file may name the baseline by some of its labels if only one variant has these.
func TestBaselineByFewerLabels(t *testing.T) {
	const matrix = "matrix: [{sockets: [shared, reuseport], workers: [1]}]\n"
	s, err := Parse("f", []byte(head+matrix+"baseline: {sockets: reuseport}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Baseline, Labels{"sockets": "reuseport", "workers": "1"}); diff != "" {
		t.Errorf("Baseline (-got +want):\n%s", diff)
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(head)
	s, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(head))); s.File != file || s.SHA256 != sum {
		t.Errorf("Load: file %q, SHA256 %s; want %q, %s", s.File, s.SHA256, file, sum)
	}

	write("")
	_, err = Load(file)
	if got, want := fmt.Sprint(err), file+":1: the file is empty"; !strings.HasPrefix(got, want) {
		t.Errorf("Load of an empty file: %s, want %s…", got, want)
	}
	largest := head + "#" + strings.Repeat("x", maxFileSize-len(head)-1)
	write(largest)
	if _, err = Load(file); err != nil {
		t.Errorf("Load of the largest file: %v", err)
	}
	write(largest + "x")
	_, err = Load(file)
	want := file + ": the file is larger than 131072 bytes; a scenario fits a page; split it, or " +
		"name another file"
	if got := fmt.Sprint(err); got != want {
		t.Errorf("Load of a large file: %s, want %s", got, want)
	}
}

// Load fails at once if a file is missing or not regular, with a hint. In the error it quotes names
// that contain characters on which a terminal could act.
func TestLoadNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const hint = "; name a YAML file, or a scenario of 'reuseport-bench list'"
	tests := []struct{ name, want string }{
		{"missing.yaml", "scenario: missing.yaml: no such file or directory" + hint},
		{"missing.yml", "scenario: missing.yml: no such file or directory" + hint},
		{dir + "/missing", "scenario: " + dir + "/missing: no such file or directory" + hint},
		{"./no\nfile\x1b[31m", `scenario: "./no\nfile\x1b[31m": no such file or directory` + hint},
		{dir + "/", fmt.Sprintf("scenario: %q is a directory, not a regular file", dir+"/") + hint},
		{pipe, fmt.Sprintf("scenario: %q is a named pipe, not a regular file", pipe) + hint},
		{"/dev/zero", `scenario: "/dev/zero" is a device, not a regular file` + hint},
	}
	for _, test := range tests {
		_, err := Load(test.name)
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("Load(%q): %s, want %s", test.name, got, test.want)
		}
		missing := strings.Contains(test.want, "no such file")
		if errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("Load(%q): %v; fs.ErrNotExist: want %t", test.name, err, missing)
		}
	}
}

// Load reads unnamed pipes, such as /dev/stdin and a shell's <(…), because they have a writer.
func TestLoadPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		_, _ = out.WriteString(head)
		_ = out.Close()
	}()
	if _, err := Load(fmt.Sprintf("/dev/fd/%d", in.Fd())); err != nil {
		t.Error(err)
	}
}

func TestLoadUnknownName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"stedy", `no scenario is called "stedy"; did you mean "steady"? (a file needs a name that ends in .yaml)`},
		{"", `no scenario is called ""; 'reuseport-bench list' prints their names (a file needs a name that ends in .yaml)`},
		{"\x1b", `no scenario is called "\x1b"; 'reuseport-bench list' prints their names (a file needs a name that ends in .yaml)`},
		{strings.Repeat("x", 100_000), `no scenario is called "` + strings.Repeat("x", 512) + `…"; 'reuseport-bench list' prints their names (a file needs a name that ends in .yaml)`},
	}
	for _, test := range tests {
		_, err := Load(test.name)
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("Load(%q): %s, want %s", test.name, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		_, text, _ := source(name)
		f.Add(text)
	}
	f.Add([]byte("name: x\nmatrix:\n- &a {stop: [kill, *a]}\n--- {\n"))
	f.Add([]byte(head + "gates: [{when: {a: b}, expect: 'lost_by_cause[0] < 5ms ?? $env'}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("f", data)
		if err != nil {
			var problems *Problems
			if !errors.As(err, &problems) || len(problems.Problems) == 0 {
				t.Fatalf("Parse: %v, want *Problems", err)
			}
			for _, p := range problems.Problems {
				if p.What == "" || p.Hint == "" {
					t.Fatalf("%s: no hint", p)
				}
			}
			return
		}
		if len(explain(t, s)) > maxFileSize {
			return // with every default written out, it exceeds maxFileSize
		}
		// A valid scenario can be written with Explain and parsed again without a change.
		again := explained(t, s)
		if diff := cmp.Diff(again.Variants, s.Variants, likeFile); diff != "" {
			t.Fatalf("variants after Explain (-got +want):\n%s", diff)
		}
		for _, g := range s.Gates {
			if _, err := g.Compile(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// In load.retry.on, safe stands for all safe causes, and every other name for one cause.
func TestRetryCauses(t *testing.T) {
	harmless := vocabulary.SafeRetries()
	for on, want := range map[string][]vocabulary.RetryCause{
		"":                    harmless,
		"safe":                harmless,
		"unsent+refused":      {"unsent", "refused"},
		"safe+non-idempotent": append(slices.Clone(harmless), "non-idempotent"),
	} {
		if diff := cmp.Diff(want, Retry{On: on}.Causes()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", on, diff)
		}
	}
}

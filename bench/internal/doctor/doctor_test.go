package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/servers/sys"
)

// With one of these as its first argument, the test binary acts as a child process of the tests.
const (
	childProbe   = "probe-namespace" // calls ServeNamespace
	childExamine = "examine"         // prints the results of Examine
	childHang    = "hang"            // never exits
	childSilent  = "silent"          // exits at once, without output
)

func TestMain(m *testing.M) {
	// By default, children built with -race take a second to exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case childProbe:
			exit(ServeNamespace(context.Background(), os.Stdin, os.Stdout))
		case childExamine:
			exit(json.NewEncoder(os.Stdout).Encode(Examine(context.Background(), withChild())))
		case childHang:
			time.Sleep(time.Hour) // the runtime would report an empty select as a deadlock
		case childSilent:
			exit(nil)
		}
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withChild returns the options of the doctor command, with a longer timeout for the race detector
// and busy machines.
func withChild() Options {
	return Options{UserNamespaceChild: []string{"/proc/self/exe", childProbe}, Timeout: time.Minute}
}

func TestChoose(t *testing.T) {
	all := []probe{{name: "a"}, {name: "b"}, {name: "c"}}
	for _, test := range []struct {
		name      string
		only      []string
		chosen    string
		unmatched []Result
	}{
		{"all", nil, "abc", nil},
		{"in the order of the table", []string{"c", "a"}, "ac", nil},
		{"an unknown name", []string{"b", "x"}, "b", []Result{
			{Name: "x", Status: Unknown, Detail: "no probe of that name"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			chosen, unmatched := choose(all, test.only)
			var names string
			for _, p := range chosen {
				names += p.name
			}
			if names != test.chosen {
				t.Errorf("chosen %q, want %q", names, test.chosen)
			}
			if diff := cmp.Diff(unmatched, test.unmatched); diff != "" {
				t.Errorf("unmatched (-got +want):\n%s", diff)
			}
		})
	}
}

func TestProbeTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range probes() {
		if p.name == "" || p.what == "" || p.run == nil || seen[p.name] {
			t.Errorf("probe %q (%q) is incomplete, or in the table twice", p.name, p.what)
		}
		seen[p.name] = true
	}
}

func TestProbesAfterTheEnd(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	hurried := withChild()
	hurried.Timeout = time.Nanosecond
	for _, test := range []struct {
		name    string
		ctx     context.Context
		options Options
		reason  error
	}{
		{"canceled", canceled, withChild(), context.Canceled},
		{"no time", context.Background(), hurried, context.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			results := Examine(test.ctx, test.options)
			if len(results) != len(probes()) {
				t.Errorf("%d results, want %d", len(results), len(probes()))
			}
			for _, r := range results {
				if r.Status != Unknown || !strings.Contains(r.Detail, test.reason.Error()) {
					t.Errorf("%s: got %s, %q; want unknown and why", r.Name, r.Status, r.Detail)
				}
			}
		})
	}
}

func TestJudgeMigration(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome migration
		err     error
		want    Status
		detail  string
	}{
		{"all served", migration{queued: 16, accepted: 16, served: 16}, nil, Yes, "16 of 16"},
		{
			"all reset", migration{queued: 16, reset: 16}, nil, No,
			"0 of 16 queued connections survived the close, 16 were reset, 0 got no answer",
		},
		{
			"one silent", migration{queued: 16, accepted: 15, served: 15, silent: 1}, nil, No,
			"15 of 16",
		},
		{
			"no sysctl", migration{},
			&fs.PathError{Op: "open", Path: migrateSysctl, Err: unix.ENOENT}, No,
			"no net.ipv4.tcp_migrate_req",
		},
		{"read-only /proc/sys", migration{}, unix.EROFS, No, "read-only"},
		{"AppArmor", migration{}, unix.EACCES, No, "permission denied"},
		{"something else", migration{}, unix.EMFILE, Unknown, "too many open files"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judgeMigration(test.outcome, test.err)
			if got.Status != test.want || !strings.Contains(got.Detail, test.detail) {
				t.Errorf("got %s, %q; want %s, %q", got.Status, got.Detail, test.want, test.detail)
			}
		})
	}
}

func TestJudgeWaking(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome migration
		err     error
		want    Status
	}{
		{"woken", migration{queued: 16, accepted: 16, woken: true}, nil, Yes},
		{"the bug", migration{queued: 16, accepted: 16}, nil, No},
		{"nothing migrated", migration{queued: 16, reset: 16}, nil, Unknown},
		{"not tried", migration{}, unix.EROFS, Unknown},
	} {
		if got := judgeWaking(test.outcome, test.err); got.Status != test.want {
			t.Errorf("%s: %s, want %s", test.name, got.Status, test.want)
		}
	}
}

func TestJudgeLateness(t *testing.T) {
	const us = time.Microsecond
	lateness := func(usual, worst time.Duration) []time.Duration {
		late := make([]time.Duration, 100)
		for i := range late {
			late[i] = usual
		}
		late[3], late[70] = worst, worst // two of 100, so that the p99 is one of them
		return late
	}
	for _, test := range []struct {
		name         string
		usual, worst time.Duration
		want         Status
		hint         bool
	}{
		{"quiet", 60 * us, 100 * us, Yes, false},
		{"noisy", 60 * us, 900 * us, Yes, true},
		{"no high-resolution timers", 900 * us, 4000 * us, No, true},
	} {
		got := judgeLateness(lateness(test.usual, test.worst))
		if got.Status != test.want || (got.Hint != "") != test.hint {
			t.Errorf("%s: got %s, hint %q; want %s, a hint: %v",
				test.name, got.Status, got.Hint, test.want, test.hint)
		}
		want := fmt.Sprintf("p50 %v, p99 %v late", test.usual, test.worst)
		if !strings.Contains(got.Detail, want) {
			t.Errorf("%s: got %q, want %q in it", test.name, got.Detail, want)
		}
	}
}

// TestRank uses the example of the nearest-rank method in https://en.wikipedia.org/wiki/Percentile.
func TestRank(t *testing.T) {
	values := []time.Duration{15, 20, 35, 40, 50}
	for percent, want := range map[int]time.Duration{5: 15, 30: 20, 40: 20, 50: 35, 100: 50} {
		if got := rank(values, percent); got != want {
			t.Errorf("rank %d: %d, want %d", percent, got, want)
		}
	}
}

func TestJudgeQuota(t *testing.T) {
	for _, test := range []struct {
		usable int
		quota  float64
		want   Status
		detail string
	}{
		{2, 0, Yes, "no CPU quota"},
		{64, 2, No, "a quota of 2 CPUs on 64"},
		{2, 0.5, No, "a quota of 0.5 CPUs on 2"},
		{2, 2, Yes, "cannot be used up on 2"},
		{1, 1.5, Yes, "cannot be used up on 1"},
	} {
		got := judgeQuota(test.usable, test.quota)
		hasHint := got.Hint != ""
		if got.Status != test.want || !strings.Contains(got.Detail, test.detail) ||
			hasHint != (test.want == No) {
			t.Errorf("quota %v of %d: got %+v; want %s, %q, and a hint only with no",
				test.quota, test.usable, got, test.want, test.detail)
		}
	}
}

// TestJudgeOthers checks what the probe and Surroundings say about other programs.
func TestJudgeOthers(t *testing.T) {
	programs := []kernel.Program{
		{Name: "cc1", CPUs: 0.92}, {Name: "make", CPUs: 0.31}, {Name: "sshd", CPUs: 0.01},
	}
	for _, test := range []struct {
		name string
		a    kernel.Activity
		want Status
		text string // the text that Surroundings should return
	}{
		{
			"quiet after a build",
			kernel.Activity{CPUs: 2, Online: 2, Others: 0.02, Load: 19, Load5: 24}, Yes, "",
		},
		{
			"a little after a build",
			kernel.Activity{CPUs: 2, Online: 2, Others: 0.2, Load: 19, Load5: 24}, No,
			"other programs use 0.2 of 2 CPUs; p99 will be longer; end them, or wait",
		},
		{"quiet", kernel.Activity{CPUs: 2, Online: 2, Others: 0.02, Runnable: 5}, Yes, ""},
		{
			"a little", kernel.Activity{CPUs: 2, Online: 2, Others: 0.2, Load: 0.3}, No,
			"other programs use 0.2 of 2 CPUs, load average 0.3; p99 will be longer; " +
				"end them, or wait",
		},
		{
			"two loops",
			kernel.Activity{CPUs: 2, Online: 2, Others: 2, Runnable: 2.9, Load: 1.19}, No,
			"other programs use 2 of 2 CPUs, 3 tasks want to run, load average 1.19; " +
				"p99 will be longer; end them, or wait",
		},
		{
			"some", kernel.Activity{CPUs: 2, Online: 2, Others: 2, Runnable: 5, Load: 1}, No,
			"other programs use 2 of 2 CPUs, 5 tasks want to run, load average 1; " +
				"some trials will be invalid, and p99 longer; end them, or wait",
		},
		{
			"a build",
			kernel.Activity{
				CPUs: 2, Online: 2, Others: 1.4, Runnable: 10.2, Load: 19.03, Programs: programs,
			}, No,
			"other programs use 1.4 of 2 CPUs (cc1 0.92, make 0.31), 10 tasks want to run, " +
				"load average 19; most trials will be invalid; end them, or wait",
		},
		{
			"many CPUs",
			kernel.Activity{CPUs: 64, Online: 64, Others: 1.4, Programs: programs}, Yes, "",
		},
		{
			"the host",
			kernel.Activity{CPUs: 2, Online: 2, Others: 0.01, Steal: 0.7, Load: 0.5}, No,
			"the host takes 0.7 of 2 CPUs, load average 0.5; most trials will be invalid; " +
				"use another machine, or wait",
		},
		{
			"a little of both",
			kernel.Activity{CPUs: 2, Online: 2, Others: 0.06, Steal: 0.06}, No,
			"other programs use 0.06 of 2 CPUs, load average 0; p99 will be longer; " +
				"end them, or wait",
		},
		{
			"a quota", kernel.Activity{CPUs: 2, Online: 2, Stopped: 120 * time.Millisecond}, No,
			"a CPU quota stopped everything for 120ms, load average 0; " +
				"some trials will be invalid, and p99 longer; see whole_cpus",
		},
		{"nothing watched", kernel.Activity{}, Unknown, ""},
	} {
		got := judgeOthers(test.a)
		got.Name = IdleCPUs
		if text := Surroundings([]Result{got}); got.Status != test.want || text != test.text {
			t.Errorf("%s: got %s, want %s\ngot  %s\nwant %s",
				test.name, got.Status, test.want, text, test.text)
		}
	}
}

func TestJudgeTopology(t *testing.T) {
	cpu := func(number, core, node, capacity int) kernel.CPU {
		return kernel.CPU{Number: number, Core: core, Node: node, Capacity: capacity}
	}
	for _, test := range []struct {
		cpus    []kernel.CPU
		virtual string
		want    Status
		detail  string
	}{
		{[]kernel.CPU{cpu(0, 0, 0, 1024), cpu(1, 1, 0, 1024)}, "", Yes, "2 physical cores"},
		{[]kernel.CPU{cpu(0, 0, 0, 1024), cpu(1, 0, 0, 1024)}, "", No, "1 physical core"},
		{
			[]kernel.CPU{cpu(0, 0, 0, 1024)}, "KVM", Yes,
			"1 physical core, in a virtual machine",
		},
		{
			[]kernel.CPU{cpu(0, 0, 0, 1024), cpu(1, 1, 1, 512)}, "", Yes,
			"2 physical cores of 2 kinds on 2 memory nodes",
		},
	} {
		topology := kernel.Topology{CPUs: test.cpus, Virtual: test.virtual}
		got := judgeTopology(topology)
		if got.Status != test.want || got.Detail != test.detail {
			t.Errorf("%+v: got %s, %q; want %s, %q",
				topology, got.Status, got.Detail, test.want, test.detail)
		}
	}
}

func TestRefusedBPF(t *testing.T) {
	if got := refusedBPF("x", ebpf.ErrNotSupported); got.Status != No || got.Hint != "" {
		t.Errorf("not supported: %+v", got)
	}
	want := "needs CAP_BPF"
	if len(sys.MissingForBPF()) == 0 {
		want = "although every capability is held"
	}
	got := refusedBPF("x", fmt.Errorf("load: %w", unix.EPERM))
	if got.Status != No || !strings.Contains(got.Detail, want) || got.Hint == "" {
		t.Errorf("refused: got %+v, want %q and a hint", got, want)
	}
}

func TestModuleHint(t *testing.T) {
	got := moduleHint(fmt.Errorf("x: %w", unix.EOPNOTSUPP), "veth")
	if !strings.Contains(got, "modprobe -a veth") {
		t.Errorf("got hint %q, want the module in it", got)
	}
	if got := moduleHint(unix.EPERM, "veth"); got != "" {
		t.Errorf("got hint %q for missing permission, want none", got)
	}
}

func TestProbeCommand(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("PATH", directory)
	got := probeCommand("reuseport-no-such-program", "pkg", true)
	if got.Status != No || got.Hint != "apt-get install pkg" {
		t.Errorf("missing: got %+v, want how to install it", got)
	}
	path := filepath.Join(directory, "reuseport-some-program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got = probeCommand("reuseport-some-program", "pkg", false)
	if got.Status != Yes || got.Detail != path {
		t.Errorf("present: got %+v, want %s", got, path)
	}
}

func TestLimitedBuffer(t *testing.T) {
	var b limitedBuffer
	for range 3 {
		n, err := b.Write(make([]byte, maxChildOutput/2+1))
		if n != maxChildOutput/2+1 || err != nil {
			t.Errorf("Write returned %d, %v; want %d and no error", n, err, maxChildOutput/2+1)
		}
	}
	if b.Len() != maxChildOutput {
		t.Errorf("%d bytes were kept, want %d", b.Len(), maxChildOutput)
	}
}

func TestServeNamespace(t *testing.T) {
	var out bytes.Buffer
	err := ServeNamespace(t.Context(), strings.NewReader(`["no such probe"]`), &out)
	if err != nil {
		t.Fatal(err)
	}
	var got []Result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []Result{{Name: "no such probe", Status: Unknown, Detail: "no probe of that name"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("results (-got +want):\n%s", diff)
	}
	out.Reset()
	err = ServeNamespace(t.Context(), strings.NewReader(`[]`), &out)
	if err != nil || out.String() != "[]\n" {
		t.Errorf("no names: got %q, error %v; want []", out.String(), err)
	}
	for _, request := range []string{"", "{}", "[1]"} {
		if err := ServeNamespace(t.Context(), strings.NewReader(request), &out); err == nil {
			t.Errorf("request %q: no error", request)
		}
	}
}

// The result for a missing program names the package that contains it.
func TestFindCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, test := range []struct {
		program      string
		apt          bool
		detail, hint string
	}{
		{"nginx", true, "not found in PATH; install it: apt install nginx-light",
			"apt install nginx-light"},
		{"nginx", false, "not found in PATH; install it: Debian's package is nginx-light",
			"Debian's package is nginx-light"},
		{"our-server", true, "not found in PATH; install it, or give its path",
			"install it, or give its path"},
	} {
		got := findCommand(test.program, test.apt)
		if got.Status != No || got.Detail != test.detail || got.Hint != test.hint {
			t.Errorf("%s, apt %v: got %+v", test.program, test.apt, got)
		}
	}
	t.Setenv("PATH", "/bin:/usr/bin")
	if got := FindCommand("sh"); got.Status != Yes {
		t.Errorf("sh: %+v", got)
	}
}

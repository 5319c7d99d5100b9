package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestChoose(t *testing.T) {
	all := []probe{{name: "a"}, {name: "b"}, {name: "c"}}
	for _, test := range []struct {
		name      string
		only      []string
		chosen    string
		strangers []Result
	}{
		{"all", nil, "abc", nil},
		{"in the order of the table", []string{"c", "a"}, "ac", nil},
		{"a stranger", []string{"b", "x"}, "b", []Result{{Name: "x", Status: Unknown, Detail: "no probe of that name"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			chosen, strangers := choose(all, test.only)
			var names string
			for _, p := range chosen {
				names += p.name
			}
			if names != test.chosen {
				t.Errorf("chosen %q, want %q", names, test.chosen)
			}
			if diff := cmp.Diff(strangers, test.strangers); diff != "" {
				t.Errorf("strangers (-got +want):\n%s", diff)
			}
		})
	}
}

func TestProbeTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range probes() {
		if p.name == "" || p.what == "" || p.run == nil || seen[p.name] {
			t.Errorf("probe %q (%q) is incomplete or there twice", p.name, p.what)
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
			results := Probes(test.ctx, test.options)
			if len(results) != len(probes()) {
				t.Errorf("%d results, want %d", len(results), len(probes()))
			}
			for _, r := range results {
				if r.Status != Unknown || !strings.Contains(r.Detail, test.reason.Error()) {
					t.Errorf("%s: %s, %q, want unknown and the reason", r.Name, r.Status, r.Detail)
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
		{"all reset", migration{queued: 16, reset: 16}, nil, No, "0 of 16 queued connections survived the close, 16 were reset, 0 got no answer"},
		{"one silent", migration{queued: 16, accepted: 15, served: 15, silent: 1}, nil, No, "15 of 16"},
		{"no sysctl", migration{}, &fs.PathError{Op: "open", Path: migrateSysctl, Err: unix.ENOENT}, No, "no net.ipv4.tcp_migrate_req"},
		{"read-only /proc/sys", migration{}, unix.EROFS, No, "read-only"},
		{"something else", migration{}, unix.EMFILE, Unknown, "too many open files"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judgeMigration(test.outcome, test.err)
			if got.Status != test.want || !strings.Contains(got.Detail, test.detail) {
				t.Errorf("%s, %q, want %s, %q", got.Status, got.Detail, test.want, test.detail)
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
		late[3], late[70] = worst, worst // two of 100: p99 is among them
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
			t.Errorf("%s: %s, hint %q, want %s, a hint: %v", test.name, got.Status, got.Hint, test.want, test.hint)
		}
		if want := fmt.Sprintf("p50 %v, p99 %v late", test.usual, test.worst); !strings.Contains(got.Detail, want) {
			t.Errorf("%s: %q, want %q in it", test.name, got.Detail, want)
		}
	}
}

// The example of the nearest-rank method in https://en.wikipedia.org/wiki/Percentile.
func TestRank(t *testing.T) {
	values := []time.Duration{15, 20, 35, 40, 50}
	for percent, want := range map[int]time.Duration{5: 15, 30: 20, 40: 20, 50: 35, 100: 50} {
		if got := rank(values, percent); got != want {
			t.Errorf("rank %d: %d, want %d", percent, got, want)
		}
	}
}

func TestExplainRefusal(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		files map[string]string
		want  string // in the reason
		hint  string // in the hint
	}{
		{"limit of user namespaces", unix.ENOSPC, map[string]string{"sys/user/max_user_namespaces": "0\n"}, "user.max_user_namespaces=0", "raise"},
		{"limit of network namespaces", unix.ENOSPC, map[string]string{"sys/user/max_user_namespaces": "9", "sys/user/max_net_namespaces": "0"},
			"user.max_net_namespaces=0", "raise"},
		{"nested", unix.EUSERS, nil, "too deeply", ""},
		{"AppArmor", unix.EPERM, map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"},
			"kernel.apparmor_restrict_unprivileged_userns=1", "AppArmor profile"},
		{"AppArmor, not restricting", unix.EPERM, map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"}, "security module", "root"},
		{"Debian", unix.EPERM, map[string]string{"sys/kernel/unprivileged_userns_clone": "0\n"}, "kernel.unprivileged_userns_clone=0", "to 1"},
		{"container", unix.EPERM, map[string]string{"self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"}, "seccomp", "--security-opt"},
		{"no filter", unix.EPERM, map[string]string{"self/status": "Seccomp:\t0\n"}, "chroot", "root"},
		{"not built in", unix.EINVAL, nil, "built without", "root"},
		{"wrapped", &fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: unix.ENOSPC},
			map[string]string{"sys/user/max_user_namespaces": "0"}, "user.max_user_namespaces=0", "raise"},
		{"something else", unix.ENOMEM, nil, "cannot allocate memory", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			proc := fstest.MapFS{}
			for path, text := range test.files {
				proc[path] = &fstest.MapFile{Data: []byte(text)}
			}
			why, hint := explainRefusal(test.err, proc)
			if !strings.Contains(why, test.want) || !strings.Contains(hint, test.hint) {
				t.Errorf("%q, %q, want %q and %q in them", why, hint, test.want, test.hint)
			}
		})
	}
}

func TestForUsersOtherThanRoot(t *testing.T) {
	restricted := fstest.MapFS{"sys/kernel/apparmor_restrict_unprivileged_userns": {Data: []byte("1\n")}}
	if got := forUsersOtherThanRoot(restricted); !strings.Contains(got, "forbids it to others") {
		t.Errorf("restricted: %q", got)
	}
	if got := forUsersOtherThanRoot(fstest.MapFS{}); got != "" {
		t.Errorf("unrestricted: %q", got)
	}
}

func TestRefusedBPF(t *testing.T) {
	if got := refusedBPF("x", ebpf.ErrNotSupported); got.Status != No || got.Hint != "" {
		t.Errorf("not supported: %+v", got)
	}
	want := "needs CAP_BPF"
	if bpfRoot() {
		want = "although every capability is held"
	}
	if got := refusedBPF("x", fmt.Errorf("load: %w", unix.EPERM)); got.Status != No || !strings.Contains(got.Detail, want) || got.Hint == "" {
		t.Errorf("refused: %+v, want %q and a hint", got, want)
	}
}

func TestModuleHint(t *testing.T) {
	if got := moduleHint(fmt.Errorf("x: %w", unix.EOPNOTSUPP), "veth"); !strings.Contains(got, "modprobe -a veth") {
		t.Errorf("hint %q, want the module in it", got)
	}
	if got := moduleHint(unix.EPERM, "veth"); got != "" {
		t.Errorf("hint %q for missing permission, want none", got)
	}
}

func TestProbeCommand(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("PATH", directory)
	if got := probeCommand("reuseport-no-such-program", "pkg", true); got.Status != No || got.Hint != "apt-get install pkg" {
		t.Errorf("missing: %+v, want how to install it", got)
	}
	path := filepath.Join(directory, "reuseport-some-program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := probeCommand("reuseport-some-program", "pkg", false); got.Status != Yes || got.Detail != path {
		t.Errorf("present: %+v, want %s", got, path)
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int{-time.Hour: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %d ms, want %d", d, got, want)
		}
	}
}

func TestLimitedBuffer(t *testing.T) {
	var b limitedBuffer
	for range 3 {
		if n, err := b.Write(make([]byte, maxChildOutput/2+1)); n != maxChildOutput/2+1 || err != nil {
			t.Errorf("Write: %d, %v: the child must not notice", n, err)
		}
	}
	if b.Len() != maxChildOutput {
		t.Errorf("%d bytes kept, want %d", b.Len(), maxChildOutput)
	}
}

func TestServeNamespace(t *testing.T) {
	var out bytes.Buffer
	if err := ServeNamespace(t.Context(), strings.NewReader(`["no such probe"]`), &out); err != nil {
		t.Fatal(err)
	}
	var got []Result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, []Result{{Name: "no such probe", Status: Unknown, Detail: "no probe of that name"}}); diff != "" {
		t.Errorf("results (-got +want):\n%s", diff)
	}
	out.Reset()
	if err := ServeNamespace(t.Context(), strings.NewReader(`[]`), &out); err != nil || out.String() != "[]\n" {
		t.Errorf("asked for nothing: %q, %v", out.String(), err)
	}
	for _, request := range []string{"", "{}", "[1]"} {
		if err := ServeNamespace(t.Context(), strings.NewReader(request), &out); err == nil {
			t.Errorf("request %q: no error", request)
		}
	}
}

// varies are the probes that say "no" on machines where nothing is wrong.
var varies = map[string]bool{
	ProbeCPUs: true, ProbeTimer: true, ProbePressure: true, ProbeMPTCP: true, ProbeHAProxyCommand: true, ProbeNFTablesCommand: true,
	ProbeIncomingCPU: true, // one CPU
}

func TestKernelProbes(t *testing.T) {
	if !networkRoot() || !bpfRoot() {
		skip(t, "needs root")
	}
	begin := time.Now()
	results := Probes(t.Context(), withChild())
	t.Logf("took %v; 0.4 s is usual", time.Since(begin)) // not judged: it is the machine's load that decides
	if len(results) != len(probes()) {
		t.Errorf("%d results, want %d", len(results), len(probes()))
	}
	for i, r := range results {
		t.Logf("%-28s %-8s %s | %s", r.Name, r.Status, r.Detail, r.Hint)
		if p := probes()[i]; r.Name != p.name || r.What != p.what {
			t.Errorf("result %d is of %q (%q), want %q (%q)", i, r.Name, r.What, p.name, p.what)
		}
		if r.Detail == "" {
			t.Errorf("%s: no detail", r.Name)
		}
		if r.Status != Yes && !varies[r.Name] && os.Getenv("REQUIRE_KERNEL") == "1" {
			t.Errorf("REQUIRE_KERNEL=1: %s: %s: %s", r.Name, r.Status, r.Detail)
		}
	}
}

// What the probes touch is theirs alone: descriptors, threads, links and sysctls are as before.
func TestKernelProbesLeaveNothing(t *testing.T) {
	if !networkRoot() {
		skip(t, "needs root")
	}
	Probes(t.Context(), withChild()) // what libraries open once and keep is open now
	before := traces(t)
	Probes(t.Context(), withChild())
	var diff string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // threads end unheard
		if diff = cmp.Diff(traces(t), before); diff == "" {
			return
		}
	}
	t.Errorf("left behind (-after +before):\n%s", diff)
}

// traces lists what a probe could leave behind in this process and in the network namespace it was started in.
func traces(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found["descriptors"] = fmt.Sprint(len(descriptors))
	namespaces := map[string]bool{}
	for _, kind := range []string{"net", "pid_for_children", "user"} {
		links, err := filepath.Glob("/proc/self/task/*/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil { // the thread may have just ended
				namespaces[name] = true
			}
		}
	}
	found["namespaces"] = fmt.Sprint(len(namespaces))
	for _, sysctl := range []string{migrateSysctl, "/proc/sys/net/ipv4/ip_local_port_range", "/proc/sys/kernel/bpf_stats_enabled"} {
		text, err := os.ReadFile(sysctl)
		if err != nil {
			t.Fatal(err)
		}
		found[sysctl] = string(text)
	}
	interfaces, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range interfaces {
		found["link "+link.Attrs().Name] = link.Attrs().Flags.String()
	}
	return found
}

func TestKernelMigrationBySysctl(t *testing.T) {
	for _, test := range []struct {
		setting string
		want    migration
	}{
		{"0", migration{queued: queuedForProbe, reset: queuedForProbe}},
		{"1", migration{queued: queuedForProbe, accepted: queuedForProbe, served: queuedForProbe, woken: true}},
	} {
		t.Run("tcp_migrate_req="+test.setting, func(t *testing.T) {
			inNetwork(t, func() error {
				got, err := migrateBySysctl(test.setting)
				if err == nil && got != test.want {
					t.Errorf("%+v, want %+v", got, test.want)
				}
				return err
			})
		})
	}
}

// The selector of the probes steers: where it points decides, and not the hash.
func TestKernelSelectorSteers(t *testing.T) {
	if !bpfRoot() || !networkRoot() {
		skip(t, "needs root")
	}
	const n = 16
	for _, pick := range []int32{0, 1} {
		r := withSelector(2, pick, pick, ebpf.AttachNone, func(r *rig, listeners []int) Result {
			if _, err := r.connect(n, r.address); err != nil {
				return no(err.Error(), "")
			}
			accepted, err := r.accept(n, listeners...)
			if err != nil {
				return no(err.Error(), "")
			}
			return yes("%d %d", len(accepted[0]), len(accepted[1]))
		})
		if want := []string{"16 0", "0 16"}[pick]; r.Status != Yes || r.Detail != want {
			t.Errorf("pointed at socket %d: %q (%s), want %q", pick, r.Detail, r.Status, want)
		}
	}
}

func TestKernelSelectorMigrates(t *testing.T) {
	if !bpfRoot() || !networkRoot() {
		skip(t, "needs root")
	}
	const old = 0
	for _, test := range []struct {
		name   string
		attach ebpf.AttachType
		heir   int32 // where the program sends what has to move
		watch  int   // where we look
		want   migration
	}{
		{"to the heir", ebpf.AttachSkReuseportSelectOrMigrate, 2, 2,
			migration{queued: queuedForProbe, accepted: queuedForProbe, served: queuedForProbe, woken: true}},
		{"not to the other", ebpf.AttachSkReuseportSelectOrMigrate, 2, 1, migration{queued: queuedForProbe, silent: queuedForProbe}},
		{"select only", ebpf.AttachSkReuseportSelect, 2, 2, migration{queued: queuedForProbe, reset: queuedForProbe}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := withSelector(3, old, test.heir, test.attach, func(r *rig, listeners []int) Result {
				clients, err := r.queue(queuedForProbe, listeners[old])
				if err != nil {
					return no(err.Error(), "")
				}
				got, err := r.closeAndWatch(listeners[old], listeners[test.watch], clients)
				if err != nil {
					return no(err.Error(), "")
				}
				if got != test.want {
					t.Errorf("%+v, want %+v", got, test.want)
				}
				return yes("")
			})
			if r.Status != Yes {
				t.Error(r.Detail)
			}
		})
	}
}

// A thread of a probe is never the main thread, which cannot end and stands for the whole process in /proc. The child sees to
// it that a goroutine would find itself there.
func TestKernelThrowawayThread(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 20 {
		output, err := exec.CommandContext(ctx, "/proc/self/exe", childMainThread).CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(output), errNotArranged.Error()) {
			t.Fatalf("%v: %s", err, output)
		}
	}
	t.Fatal(errNotArranged)
}

// errNotArranged says that the runtime moved the goroutine elsewhere, as it may: then the child proves nothing.
var errNotArranged = errors.New("no goroutine came to be on the main thread")

// startOnMainThread is the child's side. On the one processor that it leaves to the runtime, a new goroutine takes over the
// thread of the one that waits for it; at the beginning of a program that is the main thread.
func startOnMainThread() error {
	runtime.GOMAXPROCS(1)
	onMain := func() bool { return unix.Gettid() == os.Getpid() }
	began := make(chan bool)
	go func() { began <- onMain() }()
	if !<-began {
		return errNotArranged
	}
	return onThrowawayThread(func() error {
		if onMain() {
			return errors.New("on the main thread")
		}
		return nil
	})
}

func TestKernelUserNamespaceChild(t *testing.T) {
	only := []string{ProbeUserNamespace}
	for _, test := range []struct {
		name   string
		argv   []string
		limit  time.Duration
		want   Status
		detail string
	}{
		{"the real one", withChild().UserNamespaceChild, time.Minute, Yes, "made one"},
		{"none", nil, time.Minute, Unknown, "no child command"},
		{"no such command", []string{"/reuseport-no-such-command"}, time.Minute, Unknown, "no such file"},
		{"silent", []string{"/proc/self/exe", childSilent}, time.Minute, Unknown, "reported nothing"},
		{"hanging", []string{"/proc/self/exe", childHang}, 100 * time.Millisecond, Unknown, "killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			got := Probes(t.Context(), Options{UserNamespaceChild: test.argv, Only: only, Timeout: test.limit})[0]
			if got.Status == No {
				skip(t, "%s", got.Detail)
			}
			if got.Status != test.want || !strings.Contains(got.Detail, test.detail) {
				t.Errorf("%s, %q, want %s, %q", got.Status, got.Detail, test.want, test.detail)
			}
			if took := time.Since(begin); test.limit < time.Second && took > 10*time.Second {
				t.Errorf("took %v, with a limit of %v", took, test.limit)
			}
		})
	}
}

// An ordinary user gets the network from a user namespace, and a plain word about BPF.
func TestKernelOrdinaryUser(t *testing.T) {
	if !networkRoot() {
		skip(t, "needs root, to become somebody else")
	}
	report, err := reportOf(t, childAttributes{nobody: true})
	if err != nil {
		t.Fatal(err)
	}
	if report.NetworkRoot || report.BPFRoot {
		t.Errorf("privileged %v, for BPF %v, want neither", report.NetworkRoot, report.BPFRoot)
	}
	byName := map[string]Result{}
	for _, r := range report.Results {
		byName[r.Name] = r
		t.Logf("%-28s %-8s %s | %s", r.Name, r.Status, r.Detail, r.Hint)
	}
	for _, name := range []string{ProbeNetNamespace, ProbeBPF, ProbeSKReuseport, ProbeSKMigrate, ProbeTraceSendReset, ProbeTraceIterTCP} {
		if r := byName[name]; r.Status != No || r.Hint == "" {
			t.Errorf("%s: %s, hint %q, want no and a hint", name, r.Status, r.Hint)
		}
	}
	if r := byName[ProbeBPF]; !strings.Contains(r.Detail, "needs CAP_BPF") {
		t.Errorf("%s: %q, want the capability in it", r.Name, r.Detail)
	}
	if r := byName[ProbeUserNamespace]; r.Status != Yes {
		skip(t, "%s: %s", r.Name, r.Detail)
	}
	for _, name := range []string{ProbePIDNamespace, ProbeVeth, ProbeTCPMigrateReq, ProbeQueueDepth} {
		if r := byName[name]; r.Status != Yes || !strings.HasSuffix(r.Detail, "in a user namespace") {
			t.Errorf("%s: %s, %q, want yes, in a user namespace", name, r.Status, r.Detail)
		}
	}
}

// childAttributes says as whom a child reports.
type childAttributes struct{ userNamespace, nobody bool }

// reportOf runs this binary again and returns what it says of itself.
func reportOf(t *testing.T, as childAttributes) (selfReport, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childSelfReport)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if as.userNamespace {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if as.nobody {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	output, err := cmd.Output()
	if err != nil {
		return selfReport{}, err
	}
	var report selfReport
	return report, json.Unmarshal(output, &report)
}

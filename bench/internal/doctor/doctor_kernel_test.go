package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// inNetwork runs f in a private network namespace. f must not call FailNow or Skip, because it does
// not run on the test's goroutine.
func inNetwork(t *testing.T, f func() error) {
	t.Helper()
	testkit.RequireRoot(t)
	if err := netlab.Private(f); err != nil {
		t.Fatal(err)
	}
}

// varies lists the probes that may answer "no" on a machine that suits the tests.
var varies = map[string]bool{
	CPUs: true, WholeCPUs: true, Cores: true, Governor: true, IdleCPUs: true, Timer: true,
	Pressure: true, MPTCP: true, HAProxyCommand: true, NFTablesCommand: true,
	IncomingCPU: true, // needs two CPUs
	Netem:       true, // without it, a relay delays packets
	// Only kube.control: real needs them.
	Kubernetes: true, Cgroups: true, Overlayfs: true,
}

func TestKernelProbes(t *testing.T) {
	testkit.RequireRoot(t)
	begin := time.Now()
	results := Examine(t.Context(), withChild())
	t.Logf("took %v; 0.4 s is usual", time.Since(begin)) // unchecked: depends on other load
	if len(results) != len(probes()) {
		t.Errorf("%d results, want %d", len(results), len(probes()))
	}
	for i, r := range results {
		t.Logf("%-28s %-8s %s | %s", r.Name, r.Status, r.Detail, r.Hint)
		if p := probes()[i]; r.Name != p.name || r.What != p.what {
			t.Errorf("result %d is for %q (%q), want %q (%q)", i, r.Name, r.What, p.name, p.what)
		}
		if r.Detail == "" {
			t.Errorf("%s: no detail", r.Name)
		}
		if r.Status != Yes && !varies[r.Name] && testkit.Required() {
			t.Errorf("REQUIRE_KERNEL=1: %s: %s: %s", r.Name, r.Status, r.Detail)
		}
	}
}

// TestKernelProbesLeaveNothing checks that after the probes, the descriptors, threads, links and
// sysctls are the same as before.
func TestKernelProbesLeaveNothing(t *testing.T) {
	testkit.RequireRoot(t)
	Examine(t.Context(), withChild()) // opens descriptors that libraries keep open
	before := leftovers(t)
	Examine(t.Context(), withChild())
	var diff string
	// Poll, because the end of a thread causes no event.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if diff = cmp.Diff(leftovers(t), before); diff == "" {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("left behind (-after +before):\n%s", diff)
}

// leftovers lists everything that a probe could leave behind in this process and in its network
// namespace.
func leftovers(t *testing.T) map[string]string {
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
			if name, err := os.Readlink(link); err == nil { // fails if the thread has just ended
				namespaces[name] = true
			}
		}
	}
	found["namespaces"] = fmt.Sprint(len(namespaces))
	for _, sysctl := range []string{
		migrateSysctl, "/proc/sys/net/ipv4/ip_local_port_range",
		"/proc/sys/kernel/bpf_stats_enabled",
	} {
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

// TestKernelReadOnlySysctls makes /proc/sys read-only, as it may be in a container.
func TestKernelReadOnlySysctls(t *testing.T) {
	testkit.RequireRoot(t)
	var before, after Result
	err := sys.OnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			return err
		}
		before = probeSysctl()
		// Without MS_PRIVATE, the mount below would propagate to other mount namespaces
		// (mount_namespaces(7)).
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		err := unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		after = probeSysctl()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if before.Status != Yes {
		t.Errorf("writable: got %+v, want yes", before)
	}
	if after.Status != No || !strings.Contains(after.Hint, "systempaths=unconfined") {
		t.Errorf("read-only: got %+v, want no, and the container's option", after)
	}
}

// TestKernelUserIDsWithoutNice runs the probe UserIDs without some capabilities. Root in a
// container often lacks CAP_SYS_NICE: it may become any user, but may not set the CPU affinity of
// that user's processes.
func TestKernelUserIDsWithoutNice(t *testing.T) {
	testkit.RequireRoot(t)
	for _, test := range []struct {
		holds []int
		want  string
	}{
		{nil, "no CAP_SETUID"},
		{[]int{unix.CAP_SETUID, unix.CAP_SETGID}, "no CAP_SYS_NICE"},
		{[]int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_NICE}, "to"},
	} {
		var got Result
		err := testkit.WithCapabilities(func() error {
			got = probeUserIDs()
			return nil
		}, test.holds...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Detail, test.want) || (got.Status == No && got.Hint == "") {
			t.Errorf("with %v: %+v, want %q", test.holds, got, test.want)
		}
	}
}

// allMigrated is the result if the heir inherits every connection and is woken.
var allMigrated = migration{
	queued: queuedForProbe, accepted: queuedForProbe, served: queuedForProbe, woken: true,
}

func TestKernelMigrationBySysctl(t *testing.T) {
	for _, test := range []struct {
		setting string
		want    migration
	}{
		{"0", migration{queued: queuedForProbe, reset: queuedForProbe}},
		{"1", allMigrated},
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

// TestKernelSelectorSteers checks that the socket of a connection is chosen by the probes'
// selector, and not by the hash.
func TestKernelSelectorSteers(t *testing.T) {
	testkit.RequireRoot(t)
	const n = 16
	count := func(s *loopback.Sockets, listeners []int) Result {
		if _, err := s.Connect(n, s.Address); err != nil {
			return no(err.Error(), "")
		}
		accepted, err := s.Accept(n, listeners...)
		if err != nil {
			return no(err.Error(), "")
		}
		return yes("%d %d", len(accepted[0]), len(accepted[1]))
	}
	for _, pick := range []int32{0, 1} {
		r := withSelector(2, pick, pick, ebpf.AttachNone, count)
		if want := []string{"16 0", "0 16"}[pick]; r.Status != Yes || r.Detail != want {
			t.Errorf("picking socket %d: got %q (%s), want %q", pick, r.Detail, r.Status, want)
		}
	}
}

func TestKernelSelectorMigrates(t *testing.T) {
	testkit.RequireRoot(t)
	const old = 0
	const migrate, selectOnly = ebpf.AttachSkReuseportSelectOrMigrate, ebpf.AttachSkReuseportSelect
	for _, test := range []struct {
		name   string
		attach ebpf.AttachType
		heir   int32 // socket to which the program moves connections
		watch  int   // socket that the test watches
		want   migration
	}{
		{"to the heir", migrate, 2, 2, allMigrated},
		{"not to the other", migrate, 2, 1,
			migration{queued: queuedForProbe, silent: queuedForProbe}},
		{"select only", selectOnly, 2, 2, migration{queued: queuedForProbe, reset: queuedForProbe}},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := func(s *loopback.Sockets, listeners []int) Result {
				clients, err := s.Queue(queuedForProbe, listeners[old])
				if err != nil {
					return no(err.Error(), "")
				}
				got, err := closeAndWatch(s, listeners[old], listeners[test.watch], clients)
				if err != nil {
					return no(err.Error(), "")
				}
				if got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				return yes("")
			}
			r := withSelector(3, old, test.heir, test.attach, run)
			if r.Status != Yes {
				t.Error(r.Detail)
			}
		})
	}
}

func TestKernelUserNamespaceChild(t *testing.T) {
	only := []string{UserNamespace}
	for _, test := range []struct {
		name   string
		argv   []string
		limit  time.Duration
		want   Status
		detail string
	}{
		{"the real one", withChild().UserNamespaceChild, time.Minute, Yes, "made one"},
		{"none", nil, time.Minute, Unknown, "no child command"},
		{
			"no such command", []string{"/reuseport-no-such-command"}, time.Minute, Unknown,
			"no such file",
		},
		{
			"silent", []string{"/proc/self/exe", childSilent}, time.Minute, Unknown,
			"reported nothing",
		},
		{
			"hanging", []string{"/proc/self/exe", childHang}, 100 * time.Millisecond, Unknown,
			"killed",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			o := Options{UserNamespaceChild: test.argv, Only: only, Timeout: test.limit}
			got := Examine(t.Context(), o)[0]
			if got.Status == No {
				testkit.Skip(t, "%s", got.Detail)
			}
			if got.Status != test.want || !strings.Contains(got.Detail, test.detail) {
				t.Errorf("got %s, %q; want %s, %q", got.Status, got.Detail, test.want, test.detail)
			}
			if took := time.Since(begin); test.limit < time.Second && took > 10*time.Second {
				t.Errorf("took %v, with a limit of %v", took, test.limit)
			}
		})
	}
}

// TestKernelOrdinaryUser checks that for an ordinary user, network probes run in a user namespace,
// and BPF probes fail with a clear message.
func TestKernelOrdinaryUser(t *testing.T) {
	testkit.RequireRoot(t)
	results, err := examineAsNobody(t)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Result{}
	for _, r := range results {
		byName[r.Name] = r
		t.Logf("%-28s %-8s %s | %s", r.Name, r.Status, r.Detail, r.Hint)
	}
	for _, name := range []string{
		NetNamespace, BPF, SKReuseport, SKMigrate, TraceSendReset, TraceIterTCP,
	} {
		if r := byName[name]; r.Status != No || r.Hint == "" {
			t.Errorf("%s: %s, hint %q, want no and a hint", name, r.Status, r.Hint)
		}
	}
	if r := byName[BPF]; !strings.Contains(r.Detail, "needs CAP_BPF") {
		t.Errorf("%s: %q, want the capability in it", r.Name, r.Detail)
	}
	if r := byName[UserNamespace]; r.Status != Yes {
		testkit.Skip(t, "%s: %s", r.Name, r.Detail)
	}
	for _, name := range []string{PIDNamespace, NetSysctl, Veth, TCPMigrateReq, QueueDepth} {
		r := byName[name]
		if r.Status != Yes || !strings.HasSuffix(r.Detail, "in a user namespace") {
			t.Errorf("%s: got %s, %q; want yes, in a user namespace", name, r.Status, r.Detail)
		}
	}
}

// examineAsNobody runs Examine in a child process, as the user nobody.
func examineAsNobody(t *testing.T) (results []Result, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childExamine)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return results, json.Unmarshal(output, &results)
}

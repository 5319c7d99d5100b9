// Package testkit contains what the tests of several packages share: when to skip, golden files,
// and threads with limited capabilities. Only tests import it. It is not below bench/internal
// because the tests of scenarios, results and servers import it, too.
package testkit

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// Required reports whether a test that cannot run must fail instead of being skipped. This is so
// only for root with REQUIRE_KERNEL=1: an ordinary user lacks permissions on every machine.
func Required() bool {
	return os.Getenv("REQUIRE_KERNEL") == "1" && os.Geteuid() == 0 && sys.InInitialUserNamespace()
}

// Skip skips a test that this machine cannot run. If Required returns true, Skip fails the test
// instead.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf("REQUIRE_KERNEL=1: "+format, args...)
	}
	t.Skipf(format, args...)
}

// RequireRoot skips a test that makes network namespaces or loads eBPF programs, unless the calling
// thread holds CAP_SYS_ADMIN and CAP_NET_ADMIN in the initial user namespace.
func RequireRoot(t testing.TB) {
	t.Helper()
	if !sys.InInitialUserNamespace() || !sys.Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
		Skip(t, "needs root")
	}
}

// WithCapabilities calls f on a thread of its own that holds exactly the given capabilities. The
// process must hold them.
func WithCapabilities(f func() error, capabilities ...int) error {
	return sys.OnOwnThread(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range capabilities {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		if err := unix.Capset(&header, &data[0]); err != nil {
			return fmt.Errorf("capset: %w", err)
		}
		return f()
	})
}

// Tree returns the files of a recorded /proc and /sys. Each line of the recording is a path, a
// space, and the file's content. Lines that start with "#" are comments.
func Tree(t testing.TB, file string) fstest.MapFS {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := fstest.MapFS{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if path, content, ok := strings.Cut(lines.Text(), " "); ok && path != "#" {
			root[path] = &fstest.MapFile{Data: []byte(content + "\n")}
		}
	}
	return root
}

// UpTo returns the numbers 0 to n-1: the CPUs of a machine with n CPUs.
func UpTo(n int) (cpus []int) {
	for i := range n {
		cpus = append(cpus, i)
	}
	return cpus
}

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// Updating reports whether golden files are to be rewritten (-update).
func Updating() bool { return *update }

// Golden compares got with the named file in testdata. With -update it writes the file instead.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("%s differs; if intended, rewrite it with -update (-got +want):\n%s", file, diff)
	}
}

package witness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
	"reuseport-bench/servers/worker"
)

// connections is the total number of connections that the tests make to our own workers. With
// 100,000 the tests take some minutes.
var connections = flag.Int("connections", 3000, "connections of TestKernelOwnWorkers")

// With childWorker as its only argument, the test binary runs as a worker.
const childWorker = "worker"

// inLab is set in the environment of a test that is run again in its own namespaces.
const inLab = "REUSEPORT_BENCH_TEST_LAB"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or -race delays the exit of children
	if len(os.Args) == 2 && os.Args[1] == childWorker {
		if err := worker.Main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == childFaulty {
		if err := faultyServer(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// inLabs runs the calling test again, as root and as an ordinary user, each time in a network
// namespace of its own, and returns true. In these runs it returns false.
func inLabs(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inLab) != "" {
		return false
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	name := t.Name()
	for _, user := range []string{"root", "user"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			if user == "root" {
				testkit.RequireRoot(t)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v",
				fmt.Sprintf("-connections=%d", *connections))
			cmd.Env = append(os.Environ(), inLab+"="+user)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL,
			}
			if user == "user" {
				cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			}
			var out []byte
			err := sys.OnOwnThread(func() (err error) { // Pdeathsig refers to the thread
				out, err = cmd.CombinedOutput()
				return err
			})
			if cmd.ProcessState == nil {
				testkit.Skip(t, "%v", err)
			}
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	return true
}

// linkUp brings lo up in the process's network namespace.
func linkUp(t *testing.T) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

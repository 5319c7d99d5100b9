package haproxy

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

const roleInit = "haproxy-test-init"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleInit {
		if err := netlab.Init(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func requireHAProxy(t *testing.T) {
	t.Helper()
	if _, err := find(); err != nil {
		testkit.Skip(t, "%v", err)
	}
}

// TestConfigurationIsValid checks that the installed HAProxy accepts every configuration without a
// warning.
func TestConfigurationIsValid(t *testing.T) {
	requireHAProxy(t)
	path, err := find()
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("[::1]:8080")
	var configs []Config
	for _, checks := range []vocabulary.HealthChecks{
		"", vocabulary.ChecksDefault, vocabulary.ChecksFast, vocabulary.ChecksOff,
	} {
		for _, redispatch := range []bool{false, true} {
			configs = append(configs, Config{
				Listen: a, Backends: []Backend{{"w-1", a}, {"w-2", a}},
				Checks: checks, Redispatch: redispatch,
			})
		}
	}
	configs = append(configs, Config{Listen: b, Backends: []Backend{{"w-1", b}}},
		Config{Listen: a, Backends: []Backend{{"w-1", b}}, Threads: 2})
	for _, c := range configs {
		name := fmt.Sprintf("%v checks=%s redispatch=%v threads=%d",
			c.Listen, c.Checks, c.Redispatch, c.Threads)
		t.Run(name, func(t *testing.T) {
			text, err := c.text()
			if err != nil {
				t.Fatal(err)
			}
			config, err := sys.MemoryFile("haproxy.cfg", text)
			if err != nil {
				t.Fatal(err)
			}
			defer config.Close()
			socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			inherited, err := socket.File()
			if err != nil {
				t.Fatal(err)
			}
			defer inherited.Close()
			c := exec.CommandContext(t.Context(), path, "-c", "-dW", "-f", "/dev/fd/3")
			c.ExtraFiles = []*os.File{config, inherited}
			out, err := c.CombinedOutput()
			if err != nil || strings.Contains(string(out), "WARNING") {
				t.Errorf("%v:\n%s\n%s", err, out, text)
			}
		})
	}
}

// TestReadStats reads recorded statistics. Backend one was stopped, and one request to it failed.
// Backend two aborted one request and has one in progress.
func TestReadStats(t *testing.T) {
	f, err := os.Open("testdata/haproxy-2.6/show_stat")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := readStats(f)
	if err != nil {
		t.Fatal(err)
	}
	want := []ServerStats{
		{Name: "one", Status: "DOWN", Sessions: 7, ConnectionErrors: 1, Retries: 3, FailedChecks: 2, Downs: 1},
		{Name: "two", Status: "UP", Sessions: 6, CurrentSessions: 1, ResponseErrors: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
}

func TestReadStatsErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "not CSV"},
		{"an error message", "No such proxy.\n", "not CSV"},
		{"a missing column", "# pxname,svname\nbe,one\n", "no column status"},
		{"not a number", "# pxname,svname,status,scur,stot,econ,eresp,wretr,wredis,chkfail,chkdown\nbe,one,UP,x,0,0,0,0,0,0,0\n", "scur: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readStats(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	requireHAProxy(t)
	v, err := Version(t.Context())
	if err != nil || v == "" || v[0] < '0' || v[0] > '9' {
		t.Errorf("version %q, error %v; want it to begin with a digit", v, err)
	}
}

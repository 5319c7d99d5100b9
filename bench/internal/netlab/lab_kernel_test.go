package netlab

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// newLab makes a lab.
func newLab(t *testing.T, network vocabulary.Network) *Lab {
	t.Helper()
	return newLabOf(t, Options{Network: network})
}

// newLabOf makes a lab with the options. It sets Init.
func newLabOf(t *testing.T, o Options) *Lab {
	t.Helper()
	if !AsRoot() && !Entered() {
		testkit.Skip(t, "needs root or a user namespace")
	}
	o.Init = func() *exec.Cmd { return exec.Command("/proc/self/exe", roleInit) }
	l, err := New(t.Context(), o)
	if errors.Is(err, unix.EPERM) && !AsRoot() {
		testkit.Skip(t, "%v", err) // AppArmor may deny capabilities in user namespaces
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
	return l
}

func TestKernelLabReaches(t *testing.T) {
	for _, network := range []vocabulary.Network{vocabulary.NetworkLoopback, vocabulary.NetworkVeth,
		vocabulary.NetworkCluster} {
		for _, family := range []vocabulary.Family{vocabulary.IPv4, vocabulary.IPv6} {
			if network == vocabulary.NetworkCluster && family == vocabulary.IPv6 {
				continue
			}
			t.Run(string(network)+" "+string(family), func(t *testing.T) {
				l := newLab(t, network)
				a := AddressesOf(network, family)
				var listener net.Listener
				err := l.Do(l.Servers(), func() (err error) {
					listener, err = net.Listen("tcp", netip.AddrPortFrom(a.Servers, 0).String())
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				source := a.Sources.Addr().Next().Next().Next()
				err = l.Do(l.Clients(), func() error {
					d := net.Dialer{
						Timeout:   2 * time.Second,
						LocalAddr: &net.TCPAddr{IP: source.AsSlice(), Port: 12345},
						Control: func(_, _ string, c syscall.RawConn) (err error) {
							if family == vocabulary.IPv6 {
								_ = c.Control(func(fd uintptr) {
									err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6,
										unix.IPV6_FREEBIND, 1)
								})
							}
							return err
						},
					}
					c, err := d.Dial("tcp", listener.Addr().String())
					if err == nil {
						err = c.Close()
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				c, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := netip.MustParseAddrPort(c.RemoteAddr().String()).Addr(); got != source {
					t.Errorf("the connection came from %v, want %v", got, source)
				}
			})
		}
	}
}

func TestKernelLabHasNoWayOut(t *testing.T) {
	for _, network := range []vocabulary.Network{vocabulary.NetworkLoopback,
		vocabulary.NetworkVeth} {
		l := newLab(t, network)
		err := l.Do(l.Clients(), func() error {
			// TEST-NET-1 is unassigned. A UDP connect only looks up the route.
			c, err := net.DialTimeout("udp", "192.0.2.1:9", time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("%s: connect to 192.0.2.1: %v, want it unreachable", network, err)
		}
	}
}

// TestKernelStartOnCPUs checks that a process runs on the CPUs given to Start, and that the next
// process, started without CPUs, runs on all of them.
func TestKernelStartOnCPUs(t *testing.T) {
	l := newLab(t, vocabulary.NetworkLoopback)
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	last := 0
	for cpu, found := 0, 0; found < all.Count(); cpu++ {
		if all.IsSet(cpu) {
			last, found = cpu, found+1
		}
	}
	var alone unix.CPUSet
	alone.Set(last)
	for _, test := range []struct {
		cpus []int
		want unix.CPUSet
	}{{[]int{last}, alone}, {nil, all}} {
		c := exec.Command("sleep", "10")
		if err := l.Start(l.Servers(), c, test.cpus); err != nil {
			t.Fatal(err)
		}
		var got unix.CPUSet
		err := unix.SchedGetaffinity(c.Process.Pid, &got)
		if err := errors.Join(err, c.Process.Kill()); err != nil {
			t.Error(err)
		}
		_ = c.Wait()
		if got != test.want {
			t.Errorf("started on %v: %d CPUs, want %d", test.cpus, got.Count(), test.want.Count())
		}
	}
}

func TestKernelSysctlStaysInside(t *testing.T) {
	const name, path = "net.ipv4.tcp_migrate_req", "/proc/sys/net/ipv4/tcp_migrate_req"
	outside, err := os.ReadFile(path)
	if err != nil {
		testkit.Skip(t, "%v", err)
	}
	l := newLab(t, vocabulary.NetworkLoopback)
	if err := l.SetSysctl(l.Servers(), name, "1"); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Sysctl(l.Servers(), name); got != "1" || err != nil {
		t.Errorf("inside: %q, %v; want 1", got, err)
	}
	if after, err := os.ReadFile(path); string(after) != string(outside) || err != nil {
		t.Errorf("outside: %q, %v; want %q as before", after, err, outside)
	}
	for _, bad := range []string{"kernel.panic", "net/../kernel", "net...kernel"} {
		if err := l.SetSysctl(l.Servers(), bad, "1"); err == nil {
			t.Errorf("no error for %q, which is not in a network namespace", bad)
		}
	}
}

// TestKernelCloseEndsStoppedProcesses checks that the end of the PID namespace kills a process that
// SIGSTOP has suspended, and its children.
func TestKernelCloseEndsStoppedProcesses(t *testing.T) {
	l := newLab(t, vocabulary.NetworkLoopback)
	c := exec.Command("sh", "-c", "sleep 60 & echo started; wait")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.Servers(), c, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Wait() }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-waited:
	case <-time.After(2 * time.Second):
		t.Fatal("the process still exists after 2 s")
	}
}

// TestKernelClosedLab checks that a call to a closed lab fails.
func TestKernelClosedLab(t *testing.T) {
	l := newLab(t, vocabulary.NetworkLoopback)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := l.Do(l.Servers(), func() error { return nil }); err == nil {
			t.Fatal("no error for a call to a closed lab")
		}
	}
}

package witness

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// elsewhere makes a network namespace, and returns a function that runs its argument there.
func elsewhere(t *testing.T) func(func() error) error {
	t.Helper()
	var ns *os.File
	err := netlab.Private(func() (err error) {
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return func(f func() error) error {
		return sys.OnOwnThread(func() error {
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		})
	}
}

// TestKernelNamespaces checks that a witness sees the connections in each of the namespaces that it
// watches, from when the watch begins until it ends, and that its account agrees with the counters
// of all of them.
func TestKernelNamespaces(t *testing.T) {
	testkit.RequireRoot(t)
	at := netip.MustParseAddrPort("127.0.0.1:4711")
	serve := func(n int) error {
		own := loopback.Sockets{Address: at}
		defer own.Close()
		listener, err := own.Listen()
		if err != nil {
			return err
		}
		for range n {
			if _, err := own.Queue(1, listener); err != nil {
				return err
			}
			server, _, err := socket.Accept(listener)
			if err := errors.Join(err, unix.Close(server)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, test := range []struct {
		name  string
		begin func(Options) (*Witness, error)
	}{
		{"trace", start},
		{"obituaries", func(o Options) (*Witness, error) { return startObituaries(o, unix.EPERM) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := test.begin(Options{
				Port: at.Port(), Families: []int{unix.AF_INET}, Connections: 10, Types: kernelTypes,
			})
			if err != nil {
				t.Fatal(err)
			}
			first, second, unwatched := elsewhere(t), elsewhere(t), elsewhere(t)
			leave, err := w.Watch(first)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Watch(second)
			err = errors.Join(err, first(func() error { return serve(2) }),
				unwatched(func() error { return serve(1) }), leave(), leave(),
				first(func() error { return serve(1) }), // after its end
				second(func() error { return serve(3) }))
			time.Sleep(10 * time.Millisecond) // until the obituaries have arrived
			a, stopErr := w.Stop()
			if err := errors.Join(err, stopErr); err != nil {
				t.Fatal(err)
			}
			if got := len(a.Ends); got != 5 || a.Moved[passiveOpens] != 5 {
				t.Errorf("got %d ends and %d passive opens, want 5 each", got,
					a.Moved[passiveOpens])
			}
			for _, e := range a.Equations() {
				if e.Residual() != 0 {
					t.Errorf("%s: %+v", e.Name, e)
				}
			}
		})
	}
}

package kube

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"go.uber.org/goleak"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

const roleInit = "kube-test-init"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleInit {
		if err := netlab.Init(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	// An ordinary user's tests run in a user namespace, if the system allows one. Otherwise the
	// kernel tests are skipped.
	if status, entered, err := netlab.Enter(context.Background()); entered && err == nil {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

func newClock(t testing.TB) *clock.Clock {
	t.Helper()
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var serviceAddress = netip.MustParseAddrPort("198.19.0.1:80")

// ready returns a ready endpoint at 198.18.0.1 and a port.
func ready(pod string, port uint16) Endpoint {
	address := netip.AddrPortFrom(netip.MustParseAddr("198.18.0.1"), port)
	return Endpoint{Pod: pod, Node: "a", Address: address, Serving: true}
}

func terminating(pod string, port uint16) Endpoint {
	e := ready(pod, port)
	e.Terminating = true
	return e
}

func unready(pod string, port uint16) Endpoint {
	e := ready(pod, port)
	e.Serving = false
	return e
}

func web(endpoints ...Endpoint) []Service {
	return []Service{{Name: "web", Address: serviceAddress, Endpoints: endpoints}}
}

package kernel

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/loopback"
)

// TestKernelCountersOfClose checks the behaviour that the accounting of losses relies on: closing a
// listener increases OutRsts and EstabResets, but not ListenDrops.
func TestKernelCountersOfClose(t *testing.T) {
	for _, test := range []struct {
		setting string
		want    Counters
	}{
		{"0", Counters{
			"TcpOutRsts": 16, "TcpEstabResets": 32, "TcpExtListenDrops": 0,
			"TcpExtTCPAbortOnClose": 0, "TcpExtTCPMigrateReqSuccess": 0,
		}},
		{"1", Counters{
			"TcpOutRsts": 0, "TcpEstabResets": 0, "TcpExtListenDrops": 0,
			"TcpExtTCPAbortOnClose": 0, "TcpExtTCPMigrateReqSuccess": 16,
		}},
	} {
		t.Run("tcp_migrate_req="+test.setting, func(t *testing.T) {
			got := Counters{}
			inNetwork(t, func() error {
				before, err := ReadCounters("/proc/thread-self/net")
				if err != nil {
					return err
				}
				if err := closeQueued(16, test.setting); err != nil {
					return err
				}
				after, err := ReadCounters("/proc/thread-self/net")
				if err != nil {
					return err
				}
				moved := after.Since(before)
				for name := range test.want {
					got[name] = moved[name]
				}
				return nil
			})
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("moved (-got +want):\n%s", diff)
			}
		})
	}
}

// closeQueued closes a listener with n connections in its queue while its group has another
// listener, the heir. The setting of net.ipv4.tcp_migrate_req decides whether the heir inherits the
// connections.
func closeQueued(n int, setting string) error {
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte(setting), 0); err != nil {
		return err
	}
	var s loopback.Sockets
	defer s.Close()
	old, err := s.Listen()
	if err != nil {
		return err
	}
	clients, err := s.Queue(n, old) // before the heir exists, so that all are queued at old
	if err != nil {
		return err
	}
	heir, err := s.Listen()
	if err != nil {
		return err
	}
	s.CloseSocket(old)
	if setting == "0" {
		return awaitEnd(clients)
	}
	accepted, err := s.Accept(n, heir)
	if err == nil && len(accepted[0]) != n {
		err = fmt.Errorf("the heir inherited %d of %d connections", len(accepted[0]), n)
	}
	return err
}

package selector

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConfigMistakes(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"kind", Config{Kind: "fastest", Slots: 1}, `unknown kind "fastest"`},
		{"no slots", Config{Kind: RoundRobin}, "0 slots: must be 1 to 1024"},
		{"too many slots", Config{Kind: RoundRobin, Slots: 1025}, "1025 slots"},
		{"negative", Config{Kind: LeastLoaded, Slots: 1, Decay: -1}, "none may be negative"},
		{"several mistakes", Config{Stuck: -1}, "unknown kind \"\"\n0 slots: must be 1 to 1024\nstuck -1ns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestCapabilityErrors(t *testing.T) {
	refused := fmt.Errorf("map create: %w", unix.EPERM)
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"both missing", permitted([]string{"CAP_BPF", "CAP_PERFMON"}), "needs CAP_BPF and CAP_PERFMON; run as root: operation not permitted"},
		{"one missing", permitted([]string{"CAP_PERFMON"}), "needs CAP_PERFMON; run as root: operation not permitted"},
		{"refused", explain(refused), "refused by a seccomp filter or a security module, although every capability is held: map create: operation not permitted"},
	} {
		if test.err.Error() != test.want {
			t.Errorf("%s: got %q, want %q", test.name, test.err, test.want)
		}
		if !errors.Is(test.err, unix.EPERM) {
			t.Errorf("%s: %q is not EPERM", test.name, test.err)
		}
	}
	if err := permitted(nil); err != nil {
		t.Errorf("nothing missing: got error %v, want nil", err)
	}
	if err := explain(unix.E2BIG); err != unix.E2BIG {
		t.Errorf("error that is not EPERM: got %v, want it unchanged", err)
	}
}

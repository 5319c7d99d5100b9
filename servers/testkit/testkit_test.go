package testkit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// A recorder is a testing.TB that records how the test ended.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { r.end("failed", format, args) }
func (r *recorder) Skipf(format string, args ...any)  { r.end("skipped", format, args) }
func (r *recorder) Errorf(string, ...any)             { r.outcome = "failed" }

func (r *recorder) end(outcome, format string, args []any) {
	r.outcome = outcome + ": " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// outcome returns the way in which a test that calls f ends; "" means that it passed.
func outcome(t *testing.T, f func(testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.outcome
}

func TestSkip(t *testing.T) {
	skip := func(t testing.TB) { Skip(t, "needs %s", "much") }
	t.Setenv("REQUIRE_KERNEL", "")
	if got := outcome(t, skip); got != "skipped: needs much" {
		t.Errorf("without REQUIRE_KERNEL: got %q", got)
	}
	t.Setenv("REQUIRE_KERNEL", "1")
	want := "failed: REQUIRE_KERNEL=1: needs much"
	if os.Geteuid() != 0 || !sys.InInitialUserNamespace() {
		want = "skipped: needs much"
	}
	if got := outcome(t, skip); got != want {
		t.Errorf("with REQUIRE_KERNEL: got %q, want %q", got, want)
	}
}

func TestWithCapabilities(t *testing.T) {
	err := WithCapabilities(func() error {
		if sys.Holds(unix.CAP_NET_ADMIN) {
			t.Error("the thread holds CAP_NET_ADMIN")
		}
		return unix.EBADF
	})
	if !errors.Is(err, unix.EBADF) {
		t.Errorf("error %v, want f's error EBADF", err)
	}
}

func TestGolden(t *testing.T) {
	t.Chdir(t.TempDir())
	defer func(was bool) { *update = was }(*update)
	*update = false
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/name", []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, func(t testing.TB) { Golden(t, "name", "text\n") }); got != "" {
		t.Errorf("equal text: %s", got)
	}
	if got := outcome(t, func(t testing.TB) { Golden(t, "name", "another\n") }); got == "" {
		t.Error("different text passes")
	}
	*update = true
	if got := outcome(t, func(t testing.TB) { Golden(t, "name", "another\n") }); got != "" {
		t.Errorf("with -update: %s", got)
	}
	if text, err := os.ReadFile("testdata/name"); string(text) != "another\n" {
		t.Errorf("after -update the file is %q, error %v", text, err)
	}
}

package kernel

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseKilobytes(t *testing.T) {
	const status = "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   13492 kB\nVmRSS:\t   1 kB\n"
	if n, err := parseKilobytes(strings.NewReader(status), "VmHWM:"); err != nil || n != 13492<<10 {
		t.Errorf("got %d, %v; want %d", n, err, 13492<<10)
	}
	_, err := parseKilobytes(strings.NewReader("Name:\tx\n"), "VmHWM:")
	if !errors.Is(err, unix.ESRCH) {
		t.Errorf("exited process: got error %v, want ESRCH", err)
	}
	if _, err := parseKilobytes(strings.NewReader("VmHWM:\tmuch kB\n"), "VmHWM:"); err == nil {
		t.Error("no error for a value that is not a number")
	}
}

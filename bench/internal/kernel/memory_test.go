package kernel

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseKilobytes(t *testing.T) {
	const status = "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   13492 kB\nVmRSS:\t   1 kB\n"
	if n, err := parseKilobytes(strings.NewReader(status), "VmHWM:"); err != nil || n != 13492<<10 {
		t.Errorf("got %d, %v; want %d", n, err, 13492<<10)
	}
	if _, err := parseKilobytes(strings.NewReader("Name:\tx\n"), "VmHWM:"); !errors.Is(err, unix.ESRCH) {
		t.Errorf("of a process that has exited: %v, want ESRCH", err)
	}
	if _, err := parseKilobytes(strings.NewReader("VmHWM:\tmuch kB\n"), "VmHWM:"); err == nil {
		t.Error("no error for a value that is no number")
	}
}

// 32 MiB that are touched are resident, in the one process that has them.
func TestKernelMemory(t *testing.T) {
	before, err := ReadMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 32 << 20
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	for i := 0; i < size; i += 4096 {
		mem[i] = 1
	}
	after, err := ReadMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.Proportional - before.Proportional; grown < size*9/10 || after.Peak < size {
		t.Errorf("proportional grew by %d, peak is %d; want about %d more", grown, after.Peak, size)
	}
}

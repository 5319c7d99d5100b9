package kernel

import (
	"os"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// 32 MiB that are touched are resident, in the one process that has them.
func TestKernelMemory(t *testing.T) {
	debug.FreeOSMemory() // or the runtime gives back meanwhile what earlier tests have used
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

package kernel

import (
	"os"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKernelMemory touches 32 MiB of private memory, which thereby becomes resident and is not
// shared with another process.
func TestKernelMemory(t *testing.T) {
	debug.FreeOSMemory() // so that the runtime does not free earlier tests' memory during this one
	before, err := ReadMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 32 << 20
	const access, private = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANON
	mem, err := unix.Mmap(-1, 0, size, access, private)
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
		t.Errorf("proportional grew by %d, peak is %d; want at least about %d of each",
			grown, after.Peak, size)
	}
}

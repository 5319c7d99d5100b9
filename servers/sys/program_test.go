package sys

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadOnly(t *testing.T) {
	const maps = `00400000-00e6b000 r-xp 00000000 00:21 23                         /bin/reuseport-bench
00e6b000-01873000 r--p 00a6b000 00:21 23                         /bin/reuseport-bench
01873000-0193c000 rw-p 01473000 00:21 23                         /bin/reuseport-bench
7ff063c81000-7ff063ca7000 r--p 00000000 00:21 99                 /usr/lib/libc.so.6
7ff063d00000-7ff063d01000 r--p 00000000 00:00 0
`
	addresses := []uintptr{0x400000, 0xe6afff, 0xe6b000, 0x1873000, 0x7ff063d00000}
	got, err := readOnly(strings.NewReader(maps), addresses...)
	if err != nil {
		t.Fatal(err)
	}
	want := []mapping{{0x400000, 0xe6b000}, {0xe6b000, 0x1873000}}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-got +want):\n%s", diff)
	}
	const malformed = "00400000-zz r-xp 00000000 00:21 23 /bin/x\n"
	if _, err := readOnly(strings.NewReader(malformed), 0x400000); err == nil {
		t.Error("no error for a mapping with a malformed end")
	}
}

// TestReleaseProgram checks that less of the program is resident after ReleaseProgram, and that the
// process still runs.
func TestReleaseProgram(t *testing.T) {
	before, peak := resident(t, "RssFile"), resident(t, "VmHWM")
	if err := ReleaseProgram(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t, "RssFile"); after >= before {
		t.Errorf("RssFile is %d kB afterwards, was %d kB", after, before)
	}
	if after := resident(t, "VmHWM"); after >= peak {
		t.Errorf("VmHWM is %d kB afterwards, was %d kB", after, peak)
	}
}

// resident returns a value of /proc/self/status (proc(5)), in kB.
func resident(t *testing.T, name string) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+name+":")
	for _, c := range strings.Fields(rest)[0] {
		kB = 10*kB + int(c-'0')
	}
	return kB
}

func BenchmarkReleaseProgram(b *testing.B) {
	for range b.N {
		if err := ReleaseProgram(); err != nil {
			b.Fatal(err)
		}
	}
}

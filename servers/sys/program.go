// Package sys is what the program asks of the kernel for itself: its own memory, capabilities, CPU
// time, and files that exist in memory only.
package sys

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReleaseProgram gives back the pages of the program's code and constants that the process has
// touched so far. A process of this binary begins with the initialisation of all its packages; what
// it needs itself comes back from the page cache, a fault for every 64 KiB (do_fault_around in
// mm/memory.c). Processes share these pages, so resident sets become small; no memory becomes free.
//
// The peak of the resident set begins anew (proc(5), clear_refs): it is that of the work, not of a
// start. A process that cannot give pages back works as well without.
func ReleaseProgram() error {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	// A linker puts both where nothing is relocated, in whatever kind of executable, so that their
	// pages are the file's.
	code, constants := reflect.ValueOf(ReleaseProgram).Pointer(), uintptr(unsafe.Pointer(unsafe.StringData("a constant")))
	all, err := readOnly(f, code, constants)
	if err != nil {
		return fmt.Errorf("/proc/self/maps: %w", err)
	}
	for _, m := range all {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise %x-%x: %w", m.from, m.to, errno)
		}
	}
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

type mapping struct{ from, to uintptr }

// readOnly are the mappings of files that one of the addresses is in and that cannot be written
// (proc(5), maps).
func readOnly(maps io.Reader, addresses ...uintptr) (all []mapping, err error) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var m mapping
		var perms, offset, device string
		var inode uint64
		if _, err := fmt.Sscanf(strings.Replace(lines.Text(), "-", " ", 1), "%x %x %s %s %s %d", &m.from, &m.to, &perms, &offset, &device, &inode); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		within := func(a uintptr) bool { return m.from <= a && a < m.to }
		if perms[1] == '-' && inode != 0 && slices.ContainsFunc(addresses, within) {
			all = append(all, m)
		}
	}
	return all, lines.Err()
}

// Package sys reads and changes the kernel's state of the program itself: its memory, capabilities,
// CPU time, threads, and files that exist in memory only.
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

// ReleaseProgram releases the pages of the program's code and constants that the process has
// touched so far, most of them by initialising all packages of this binary. The pages that it needs
// later come back from the page cache, one fault per 64 KiB (do_fault_around in mm/memory.c).
// Processes share these pages, so resident sets become smaller but no memory becomes free.
//
// It also resets the peak of the resident set (proc(5), clear_refs), so that the peak does not
// include the start of the process. A process can go on if ReleaseProgram fails.
func ReleaseProgram() error {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	// In every kind of executable the linker puts code and constants where nothing is relocated, so
	// the content of their pages is that of the file.
	code := reflect.ValueOf(ReleaseProgram).Pointer()
	constants := uintptr(unsafe.Pointer(unsafe.StringData("a constant")))
	all, err := readOnly(f, code, constants)
	if err != nil {
		return fmt.Errorf("/proc/self/maps: %w", err)
	}
	for _, m := range all {
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
		if errno != 0 {
			return fmt.Errorf("madvise %x-%x: %w", m.from, m.to, errno)
		}
	}
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

type mapping struct{ from, to uintptr }

// readOnly returns the read-only file mappings that contain one of the addresses (proc(5), maps).
func readOnly(maps io.Reader, addresses ...uintptr) (all []mapping, err error) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var m mapping
		var perms, offset, device string
		var inode uint64
		line := strings.Replace(lines.Text(), "-", " ", 1)
		_, err := fmt.Sscanf(line, "%x %x %s %s %s %d",
			&m.from, &m.to, &perms, &offset, &device, &inode)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		within := func(a uintptr) bool { return m.from <= a && a < m.to }
		if perms[1] == '-' && inode != 0 && slices.ContainsFunc(addresses, within) {
			all = append(all, m)
		}
	}
	return all, lines.Err()
}

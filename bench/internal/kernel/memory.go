package kernel

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is the physical memory of a process, in bytes.
type Memory struct {
	// Peak is the largest resident size so far (VmHWM), including code shared with other processes.
	// getrusage's ru_maxrss cannot replace it: that value starts at the parent's resident size
	// (exec_mmap in fs/exec.c).
	Peak int64
	// Proportional is the current resident size, with the size of each shared page divided by the
	// number of processes that share the page (Pss).
	Proportional int64
}

// ReadMemory reads the memory of process pid. After the process has exited, even before its parent
// has waited for it, the error wraps fs.ErrNotExist or unix.ESRCH.
func ReadMemory(pid int) (m Memory, err error) {
	if m.Peak, err = ReadPeak(pid); err != nil {
		return m, err
	}
	m.Proportional, err = readKilobytes(pid, "smaps_rollup", "Pss:")
	return m, err
}

// ReadPeak reads Memory.Peak alone. This takes a few microseconds, whereas for Proportional the
// kernel must walk the page tables.
func ReadPeak(pid int) (int64, error) { return readKilobytes(pid, "status", "VmHWM:") }

func readKilobytes(pid int, file, key string) (int64, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), file)
	f, err := openProc(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	bytes, err := parseKilobytes(f, key)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return bytes, nil
}

// parseKilobytes finds the line "key  n kB" of a file in /proc, and returns n in bytes.
func parseKilobytes(r io.Reader, key string) (int64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), key)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		return n << 10, nil
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	// A process that has exited has no memory.
	return 0, fmt.Errorf("no line %q: %w", key, unix.ESRCH)
}

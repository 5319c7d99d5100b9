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

// Memory is what a process has in physical memory, in bytes.
type Memory struct {
	// Peak is the most that was resident so far (VmHWM), text that is shared with other processes
	// included. It is not getrusage's ru_maxrss, which begins with what the parent had resident
	// (exec_mmap in fs/exec.c).
	Peak int64
	// Proportional is what is resident now, with each shared page divided by the number of its
	// sharers (Pss).
	Proportional int64
}

// ReadMemory of process pid. After it has exited, but before somebody has waited for it, there is
// none: an error that wraps fs.ErrNotExist or unix.ESRCH.
func ReadMemory(pid int) (m Memory, err error) {
	if m.Peak, err = ReadPeak(pid); err != nil {
		return m, err
	}
	m.Proportional, err = readKilobytes(pid, "smaps_rollup", "Pss:")
	return m, err
}

// ReadPeak is Memory.Peak alone, which costs a few microseconds; the other takes a walk through the
// page tables.
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

// parseKilobytes finds the line "key  n kB" of a file in /proc.
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
	return 0, fmt.Errorf("no line %q: %w", key, unix.ESRCH) // a process that has exited has no memory
}

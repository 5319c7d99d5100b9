package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MemoryFile returns a memfd (memfd_create(2)) with the given content, positioned at its start. The
// name appears in /proc only. The caller closes it.
func MemoryFile(name, content string) (*os.File, error) {
	f, err := memfd(name, 0)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		return nil, fmt.Errorf("memfd %s: %w", name, errors.Join(err, f.Close()))
	}
	return f, nil
}

// SizedMemoryFile returns a memfd of the given size in bytes, filled with zeros, that cannot grow:
// a write past the end fails with EPERM (fcntl(2), F_SEAL_GROW). The name appears in /proc only.
// The caller closes it.
func SizedMemoryFile(name string, size int64) (*os.File, error) {
	f, err := memfd(name, unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(size)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd %s: %w", name, errors.Join(err, f.Close()))
	}
	return f, nil
}

func memfd(name string, flags int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|flags)
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

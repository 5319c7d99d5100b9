package kernel

import (
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A procFile is an open file of /proc. Unlike an os.File it is not registered with Go's poller:
// /proc files cannot be polled, and trying takes three system calls, as many as reading the file.
type procFile struct {
	fd   int
	path string
}

// openProc opens a file, with the errors of os.Open. The caller closes the file.
func openProc(path string) (*procFile, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return &procFile{fd, path}, nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (f *procFile) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(f.fd, b)
		switch {
		case err == nil && n == 0 && len(b) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EINTR):
			return 0, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
	}
}

func (f *procFile) Close() error { return unix.Close(f.fd) }

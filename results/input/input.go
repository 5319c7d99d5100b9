// Package input reads files that users name. The name may not be that of a regular file: it may
// name a pipe without a writer, an endless device, or a file too large for memory.
package input

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Open opens a file for reading; the caller closes it. It never blocks. It opens regular files,
// terminals, and unnamed pipes (/dev/stdin, a shell's <(…)), which need not wait for a writer. For
// any other file it returns an error that says what the file is. Errors name the file.
func Open(name string) (*os.File, error) {
	// Check before opening, because open(2) may block, and may have effects on devices. Use
	// O_NONBLOCK, because another file may have the name after the check.
	info, err := os.Stat(name)
	if err != nil {
		return nil, Named(name, err)
	}
	if err := refuse(name, info); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Named(name, err)
	}
	if info, err = f.Stat(); err == nil {
		err = refuse(name, info)
	}
	if err == nil && info.Mode()&fs.ModeCharDevice != 0 {
		err = refuseDevice(name, f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// refuse returns an error for a file that cannot be read to its end.
func refuse(name string, info fs.FileInfo) error {
	is := ""
	switch mode := info.Mode(); {
	case mode.IsRegular(), mode&fs.ModeCharDevice != 0: // see refuseDevice
		return nil
	case mode.IsDir():
		is = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		// An unnamed pipe is a link in /proc/self/fd that resolves to no path.
		if _, err := filepath.EvalSymlinks(name); err != nil {
			return nil
		}
		is = "a named pipe"
	case mode&fs.ModeSocket != 0:
		is = "a socket"
	default:
		is = "a device"
	}
	return notRegular(name, is)
}

// refuseDevice returns an error for devices other than terminals.
func refuseDevice(name string, f *os.File) error {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return notRegular(name, "a device")
	}
	return nil
}

func notRegular(name, is string) error {
	return fmt.Errorf("%q is %s, not a regular file", name, is)
}

// Named returns the error of a system call on a file, prefixed with the file's name instead of the
// call's.
func Named(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", Name(name), err)
}

// maxName is the number of bytes of a name that a message quotes: PATH_MAX, the longest path.
const maxName = 4096

// Name returns the name of a file, or of something in a file, in the form for messages. It quotes a
// name that is empty or has characters that are not printable, which could move a terminal's
// cursor. It shortens a name that is too long.
func Name(name string) string {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, hidden) {
		return strconv.Quote(name)
	}
	return name
}

// A TooLargeError is the error for input that exceeds a limit, in bytes.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// Limit returns a reader that reads r, and fails with a TooLargeError after limit bytes.
func Limit(r io.Reader, limit int64) io.Reader {
	return &limited{r: io.LimitReader(r, limit+1), left: limit, limit: limit}
}

// Line reads a line of at most limit bytes, including its newline. For a longer line it returns a
// TooLargeError. At the end of the input it returns io.EOF together with any text after the last
// newline.
func Line(r *bufio.Reader, limit int) (text []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if text = append(text, part...); len(text) > limit {
			return nil, &TooLargeError{int64(limit)}
		}
		if err != bufio.ErrBufferFull {
			return text, err
		}
	}
}

type limited struct {
	r           io.Reader
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, &TooLargeError{l.limit}
	}
	return n, err
}

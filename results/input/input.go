// Package input reads files that people name. What they name may be no file at all: a pipe that
// nobody writes to, a device without an end, or more than fits the memory.
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

// Open opens a file for reading; the caller closes it. It never waits: besides regular files it
// opens what has a writer, or somebody who types: pipes that have no name (/dev/stdin, the <(…) of
// a shell) and terminals. The error for anything else says what it is. Errors name the file.
func Open(name string) (*os.File, error) {
	// Looked at before it is opened, for that can wait, and has effects on devices. Opened without
	// waiting, for it may be something else by then.
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

// refuse returns the error for what cannot be read to its end.
func refuse(name string, info fs.FileInfo) error {
	is := ""
	switch mode := info.Mode(); {
	case mode.IsRegular(), mode&fs.ModeCharDevice != 0: // see refuseDevice
		return nil
	case mode.IsDir():
		is = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		// A pipe without a name is a link in /proc/self/fd that leads to no path.
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

// Named returns the error of a system call on a file, with the file in front instead of the call.
func Named(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", Name(name), err)
}

// maxName is how many bytes of a name a message repeats: PATH_MAX, the longest name of a file.
const maxName = 4096

// Name returns a name, of a file or of something in it, as messages have it: as it is, or quoted if
// it would not be seen as it is, or would move a terminal's cursor. What is too long is cut off.
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

// A TooLargeError is the error of a Limit that was exceeded.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// Limit returns a reader of r that fails with a TooLargeError instead of reading more than limit
// bytes.
func Limit(r io.Reader, limit int64) io.Reader {
	return &limited{r: io.LimitReader(r, limit+1), left: limit, limit: limit}
}

// Line reads a line with its end, of at most limit bytes: a longer one is a TooLargeError. At the
// end of what there is it returns io.EOF, and what there is of a line.
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

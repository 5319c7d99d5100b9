package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// An output is standard output, or a file in its place. It remembers the first write that failed,
// because some code that prints help and reports drops the error.
//
// It does not notice that standard output was closed before the program started: the Go runtime
// opens /dev/null in its place (checkfds in runtime/fds_unix.go).
type output struct {
	w    io.Writer
	what string // the file's name in quotes, or "" for standard output
	err  error
}

// Write writes to the output. Its errors have the exit status 3.
//
// If the reader exits early ("report | head"), SIGPIPE ends the program, as usual, and nothing
// fails. If SIGPIPE is ignored, Write returns EPIPE and does not remember it.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	switch {
	case err == nil || errors.Is(err, syscall.EPIPE):
		return n, err
	case o.err == nil:
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		o.err = notMeasured(fmt.Errorf("%s could not be written: %w; "+
			"free some space, or write to another place",
			cmp.Or(o.what, "standard output"), err))
	}
	return n, o.err
}

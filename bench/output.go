package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// An output is standard output. It remembers that something could not be written, which not every
// writer of help and reports passes on.
//
// One that was closed before the program began cannot be told: the Go runtime has opened /dev/null
// in its place (checkfds in runtime/fds_unix.go), just as the parents of many programs do that want
// to see nothing.
type output struct {
	w   io.Writer
	err error
}

// Write writes to standard output. Its error has the exit status 3.
//
// It is no failure that a reader has seen enough ("report | head"): SIGPIPE ends the program then,
// as it ends other programs, or, where that is ignored, the error is EPIPE and is not remembered.
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
		o.err = notMeasured(fmt.Errorf("standard output could not be written: %w; "+
			"free some space, or write to another place", err))
	}
	return n, o.err
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// replaceFile replaces a file atomically: an existing file stays until the new one is complete. It
// refuses a directory. It writes directly to anything else that is not a regular file, such as a
// pipe.
func replaceFile(path string, write func(io.Writer) error) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory; name a file in it", quoted(path))
	case err == nil && !info.Mode().IsRegular():
		return writeFile(path, path, os.O_WRONLY, write)
	}
	draft := path + ".tmp"
	if err := writeFile(draft, path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, write); err != nil {
		return errors.Join(err, removed(draft))
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(cannotWrite(path, err), removed(draft))
	}
	return nil
}

// writeFile writes the file at path. Its errors call it name.
func writeFile(path, name string, flag int, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return cannotWrite(name, err)
	}
	out := &output{w: f, what: quoted(name)}
	err = write(out)
	if err == nil {
		err = out.err
	}
	if closed := f.Close(); err == nil && closed != nil {
		err = cannotWrite(name, closed)
	}
	return err
}

// removed removes the file at path if it exists.
func removed(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	return os.Remove(path)
}

// cannotWrite adds path to err, a system call's error, in place of any path that err names.
func cannotWrite(path string, err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		err = at.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return usage(fmt.Errorf("%s cannot be written: %w; name another file", quoted(path), err))
}

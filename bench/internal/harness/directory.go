package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
)

// ScenarioFile is the name of the file in a run directory with a scenario that had no file.
const ScenarioFile = "scenario.yaml"

// A Directory is the run directory of one run. Close must be called.
type Directory struct {
	path  string
	made  []string // directories made for this one, outermost first
	store *results.Store
	run   *results.Run // the run to resume, or nil
}

// NewDirectory makes a new directory: path or, if that exists, path-2, path-3 and so on. Processes
// that call it at the same instant get different directories.
func NewDirectory(path string) (*Directory, error) {
	for i, free := 2, path; ; i++ {
		made, err := makeDirectory(free)
		switch {
		case err == nil:
			return &Directory{path: free, made: made}, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		}
		free = fmt.Sprintf("%s-%d", path, i)
	}
}

// VacantDirectory makes the directory path. If the directory exists, VacantDirectory checks that a
// run can start in it.
func VacantDirectory(path string) (*Directory, error) {
	made, err := makeDirectory(path)
	if errors.Is(err, fs.ErrExist) {
		err = results.Vacant(path)
	}
	if err != nil {
		return nil, err
	}
	return &Directory{path: path, made: made}, nil
}

// OpenDirectory opens the directory of an unfinished run, to resume the run. It fails if another
// process is working on that run.
func OpenDirectory(path string) (*Directory, error) {
	store, run, err := results.Open(path)
	if err != nil {
		return nil, err
	}
	return &Directory{path: path, store: store, run: run}, nil
}

// Path returns the path of the directory.
func (d *Directory) Path() string { return d.path }

// Close releases the directory, and removes it if it was made for this run and is empty.
func (d *Directory) Close() error {
	var err error
	if d.store != nil {
		err = d.store.Close()
	}
	removeEmpty(d.made)
	return err
}

// makeDirectory makes a directory and its missing parents, and returns those that it made,
// outermost first. The error is fs.ErrExist if the directory itself exists.
func makeDirectory(path string) (made []string, err error) {
	if made, err = makePath(path); err != nil {
		return nil, fmt.Errorf("run directory %q: %w; name another with --out", path, err)
	}
	return made, nil
}

// makePath is like makeDirectory, but returns the error of the system call unwrapped.
func makePath(path string) (made []string, err error) {
	err = unix.Mkdir(path, 0o777)
	parent, _ := filepath.Split(strings.TrimRight(path, "/"))
	if err == unix.ENOENT && parent != "" {
		if made, err = makePath(parent); err == nil || errors.Is(err, fs.ErrExist) {
			err = unix.Mkdir(path, 0o777)
		}
	}
	if err != nil {
		removeEmpty(made)
		return nil, err
	}
	return append(made, path), nil
}

// removeEmpty removes directories, beginning with the last, and stops at one that is not empty.
func removeEmpty(directories []string) {
	for _, directory := range slices.Backward(directories) {
		if unix.Rmdir(directory) != nil {
			return
		}
	}
}

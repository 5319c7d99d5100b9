package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// hidden are the directories in place of which a host gets empty ones, in memory. Containerd, the
// kubelet, runc, the CNI plugins and the shims have files at fixed paths below them.
var hidden = []string{"/run", "/var/lib", "/var/log"}

// prepare makes the mounts of a host.
func (c superviseConfig) prepare() error {
	visible, err := openAll(c.Visible)
	if err != nil {
		return err
	}
	// Mounts made in this namespace must not appear in others (mount_namespaces(7)).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// This /proc shows the processes of the host's own PID namespace.
	const noPrograms = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", noPrograms, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range hidden {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for _, dir := range []string{logDirectory, temporaryDirectory, "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, f := range visible {
		if err := errors.Join(show(f), f.Close()); err != nil {
			return fmt.Errorf("mount %s: %w", f.Name(), err)
		}
	}
	if err := c.coverSysctls(); err != nil {
		return err
	}
	// Containers with shared mounts need a shared root (mount_namespaces(7)).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	return nil
}

func openAll(paths []string) (all []*os.File, err error) {
	for _, path := range paths {
		f, err := os.OpenFile(path, unix.O_PATH, 0)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// show makes a file or directory that was opened before the mounts visible at its path.
func show(f *os.File) error {
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Stat(f.Name()); err == nil && os.SameFile(before, now) {
		return nil // not hidden
	}
	if before.IsDir() {
		err = os.MkdirAll(f.Name(), 0o755)
	} else {
		err = writeFile(f.Name(), "")
	}
	if err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	return unix.Mount(from, f.Name(), "", unix.MS_BIND|unix.MS_REC, "")
}

// coverSysctls lays a file of the host's own over each of the sysctls. A sysctl that this kernel
// does not have is skipped.
func (c superviseConfig) coverSysctls() error {
	for name, value := range c.Sysctls {
		path := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		cover := filepath.Join(stateDirectory, "sysctl", strings.ReplaceAll(name, "/", "."))
		if err := writeFile(cover, value+"\n"); err != nil {
			return err
		}
		if err := unix.Mount(cover, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
	}
	return nil
}

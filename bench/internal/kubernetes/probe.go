package kubernetes

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// TryCgroups makes a cgroup for a node and removes it. It returns the version of the cgroups.
func TryCgroups() (version string, err error) {
	g, err := findCgroups()
	if err != nil {
		return "", err
	}
	name := "/reuseport-bench-probe-" + rand.Text()
	err = errors.Join(g.make(name), removeCgroup(name))
	returnControllers(g.lent)
	if g.v2 {
		return "v2", err
	}
	return "v1", err
}

// TryOverlay mounts an overlay over directories in memory, as containerd does for a container, in a
// mount namespace that ends with the call.
func TryOverlay() error {
	return sys.OnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("mount namespace: %w", err)
		}
		const dir = "/run"
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mount tmpfs: %w", err)
		}
		for _, name := range []string{"lower", "upper", "work", "merged"} {
			if err := os.Mkdir(dir+"/"+name, 0o755); err != nil {
				return err
			}
		}
		const layers = "lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work"
		if err := unix.Mount("overlay", dir+"/merged", "overlay", 0, layers); err != nil {
			return fmt.Errorf("mount overlay: %w", err)
		}
		return nil
	})
}

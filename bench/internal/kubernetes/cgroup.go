package kubernetes

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CgroupMount is the directory below which cgroup file systems are mounted.
const CgroupMount = "/sys/fs/cgroup"

// A kubelet needs these controllers, and runc needs devices with v1 (validateSystemRequirements and
// getSupportedUnifiedControllers in pkg/kubelet/cm).
var (
	controllersV1 = []string{"cpu", "cpuacct", "cpuset", "devices", "memory"}
	controllersV2 = []string{"cpu", "cpuset", "memory", "pids"}
)

// cgroups are the machine's hierarchies of control groups.
type cgroups struct {
	v2  bool
	all []hierarchy
	// lent are the controllers, with v2, that the root cgroup does not give to its children yet.
	lent []string
}

// A hierarchy is a mount of a cgroup file system.
type hierarchy struct {
	path        string
	controllers []string // with v1
}

// findCgroups finds the hierarchies. The error says what a kubelet lacks.
func findCgroups() (*cgroups, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(CgroupMount, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", CgroupMount, err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		g := &cgroups{v2: true, all: []hierarchy{{path: CgroupMount}}}
		have, err := os.ReadFile(filepath.Join(CgroupMount, "cgroup.controllers"))
		if err != nil {
			return nil, err
		}
		if g.lent, err = notEnabled(CgroupMount); err != nil {
			return nil, err
		}
		return g, lacking(controllersV2, strings.Fields(string(have)))
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g := &cgroups{}
	if g.all, err = parseHierarchies(f); err != nil {
		return nil, err
	}
	var have []string
	for _, h := range g.all {
		have = append(have, h.controllers...)
	}
	return g, lacking(controllersV1, have)
}

func lacking(want, have []string) error {
	for _, name := range want {
		if !slices.Contains(have, name) {
			return fmt.Errorf("no cgroup controller %q below %s: kubelet needs %s",
				name, CgroupMount, strings.Join(want, ", "))
		}
	}
	return nil
}

// parseHierarchies reads the mounts of cgroup file systems below CgroupMount from a mountinfo file
// (proc_pid_mountinfo(5)).
func parseHierarchies(mountinfo io.Reader) (all []hierarchy, err error) {
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, kind, found := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(mount), strings.Fields(kind)
		if !found || len(fields) < 5 || len(super) < 3 ||
			!strings.HasPrefix(fields[4], CgroupMount) {
			continue
		}
		switch super[0] {
		case "cgroup":
			all = append(all, hierarchy{fields[4], strings.Split(super[2], ",")})
		case "cgroup2":
			all = append(all, hierarchy{path: fields[4]})
		}
	}
	return all, lines.Err()
}

// make makes a cgroup, and its parents, in every hierarchy.
func (g *cgroups) make(name string) error {
	for _, h := range g.all {
		dir := h.path
		for element := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
			if g.v2 {
				if err := enableControllers(dir); err != nil {
					return err
				}
			}
			parent := dir
			dir = filepath.Join(dir, element)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("cgroup: %w; see 'doctor'", err)
			}
			if g.v2 || !slices.Contains(h.controllers, "cpuset") {
				continue
			}
			// With v1 a new cpuset is empty (cgroup-v1/cpusets.rst).
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				text, err := os.ReadFile(filepath.Join(parent, file))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, file), text, 0)
				}
				if err != nil {
					return fmt.Errorf("cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

const subtreeControl = "cgroup.subtree_control"

// notEnabled returns the controllers that a cgroup v2 does not give to its children.
func notEnabled(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, subtreeControl))
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(controllersV2), func(name string) bool {
		return slices.Contains(strings.Fields(string(text)), name)
	}), nil
}

// enableControllers makes a cgroup v2 give the controllers to its children.
func enableControllers(dir string) error {
	missing, err := notEnabled(dir)
	if err != nil {
		return err
	}
	for _, name := range missing {
		err := os.WriteFile(filepath.Join(dir, subtreeControl), []byte("+"+name), 0)
		if err != nil {
			return fmt.Errorf("cgroup controller %s in %s: %w; see 'doctor'", name, dir, err)
		}
	}
	return nil
}

// returnControllers takes controllers back from the children of the root cgroup. A controller that
// another program uses by now stays: the kernel answers EBUSY.
func returnControllers(lent []string) {
	for _, name := range lent {
		_ = os.WriteFile(filepath.Join(CgroupMount, subtreeControl), []byte("-"+name), 0)
	}
}

// cgroupGone is the maximum time for which removeCgroup waits for processes that were killed.
const cgroupGone = 5 * time.Second

// removeCgroup removes a cgroup and those below it from every hierarchy. A process may remain in
// its cgroup for a moment after its parent has waited for it, and cgroups v1 do not say when it has
// left.
func removeCgroup(name string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := parseHierarchies(f)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(cgroupGone)
	var errs []error
	for _, h := range all {
		errs = append(errs, removeTree(filepath.Join(h.path, name), deadline))
	}
	return errors.Join(errs...)
}

func removeTree(dir string, deadline time.Time) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name()), deadline))
		}
	}
	for {
		err := unix.Rmdir(dir)
		if errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("cgroup %s: %w", dir, err))
		}
		return errors.Join(errs...)
	}
}

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
// getSupportedUnifiedControllers in pkg/kubelet/cm). With v2, a kubelet refuses a root cgroup that
// lacks one of its controllers, or hugetlb, if the machine's root has it.
var (
	controllersV1 = []string{"cpu", "cpuacct", "cpuset", "devices", "memory"}
	controllersV2 = []string{"cpu", "cpuset", "memory", "pids"}
)

const hugetlb = "hugetlb"

// cgroups are the machine's hierarchies of control groups.
type cgroups struct {
	v2  bool
	all []hierarchy
	// given are the controllers, with v2, that a node's cgroup needs. lent are those of them that
	// the root cgroup does not give to its children yet.
	given, lent []string
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
		g.given = givenOf(strings.Fields(string(have)))
		if g.lent, err = notEnabled(CgroupMount, g.given); err != nil {
			return nil, err
		}
		return g, lacking(controllersV2, g.given)
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

// givenOf returns the controllers that a node's cgroup needs, of those that a cgroup v2 has.
func givenOf(have []string) []string {
	return slices.DeleteFunc(append(slices.Clone(controllersV2), hugetlb), func(name string) bool {
		return !slices.Contains(have, name)
	})
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
				if err := enableControllers(dir, g.given); err != nil {
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

// notEnabled returns those of the controllers that a cgroup v2 does not give to its children.
func notEnabled(dir string, controllers []string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, subtreeControl))
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(controllers), func(name string) bool {
		return slices.Contains(strings.Fields(string(text)), name)
	}), nil
}

// enableControllers makes a cgroup v2 give the controllers to its children. Of the cgroups with
// processes, only the machine's root can do so ("No Internal Process Constraint",
// admin-guide/cgroup-v2.rst). In a container, what looks like the root is another cgroup.
func enableControllers(dir string, controllers []string) error {
	missing, err := notEnabled(dir, controllers)
	if err != nil {
		return err
	}
	for _, name := range missing {
		err := os.WriteFile(filepath.Join(dir, subtreeControl), []byte("+"+name), 0)
		if errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("%w: it has processes; in a container, move them to a cgroup below, "+
				"or start it with the machine's cgroup namespace", err)
		}
		if err != nil {
			return fmt.Errorf("cgroup controller %s in %s: %w; see 'doctor'", name, dir, err)
		}
	}
	return nil
}

// returnControllers takes controllers back from the children of the root cgroup. A controller that
// a child gives to its own children by now stays: the kernel answers EBUSY.
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
